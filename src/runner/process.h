/*
 * process.h
 *	  What the runner's processes share: entry points and how they are started.
 */
#ifndef PIPELINE_RUNNER_PROCESS_H
#define PIPELINE_RUNNER_PROCESS_H

#include "postgres.h"

/* How a worker is started: what stands in bgw_extra. */
typedef struct WorkerStart
{
	Oid			database;
	Oid			role;
	uint32		generation;
} WorkerStart;

extern PGDLLEXPORT void pipeline_launcher_main(Datum arg);
extern PGDLLEXPORT void pipeline_scheduler_main(Datum arg);
extern PGDLLEXPORT void pipeline_worker_main(Datum arg);

extern void runner_begin_transaction(const char *activity);
extern void runner_commit_transaction(void);

/* ---- history.c: for schedulers ---------------------------------------------- */

extern long runner_trim_history(void);

/* ---- start.c: for schedulers ------------------------------------------------ */

#define RUNNER_MAX_START_FAILURES 5

extern void runner_reap_workers(void);
extern long runner_start_workers(Oid database, Oid role, int tasks);
extern int	runner_start_failures(Oid role);
extern void runner_forget_start_failures(Oid role);

#endif							/* PIPELINE_RUNNER_PROCESS_H */
