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
/* ---- parts of a scheduler's look ---------------------------------------------- */

extern ErrorData *runner_try_briefly(bool (*work) (void *arg), void *arg);
extern bool runner_pause_pipeline(const char *pipeline, const char *reason);
extern void runner_end_lost_attempts(void);
extern bool runner_finish_lost_runs(void);
extern void runner_note_overrun(int64 attempt_id);
extern void runner_pass_over(void);
extern void runner_ready_retries(void);
extern void runner_begin_runs(void);
extern void runner_stop_attempts(void);
extern long runner_until_next(void);
extern void runner_mind_deadlines(void);
extern void runner_dispatch_datasets(void);
extern void runner_mind_unusual(void);
extern long runner_until_unusual(void);
extern void runner_note_dispatched(void);

/* ---- start.c: for schedulers ------------------------------------------------ */

#define RUNNER_MAX_START_FAILURES 5

extern bool runner_reap_workers(void);
extern long runner_start_workers(Oid database, Oid role, int tasks);
extern int	runner_start_failures(Oid role);
extern void runner_forget_start_failures(Oid role);

#endif							/* PIPELINE_RUNNER_PROCESS_H */
