/*
 * runner.h
 *	  What the files of this room share.  No other room includes it.
 *
 * README.md beside this file has the vocabulary, the states and the order of
 * locks.
 */
#ifndef PIPELINE_RUNNER_H
#define PIPELINE_RUNNER_H

#include "base/base.h"

#include "datatype/timestamp.h"
#include "nodes/parsenodes.h"
#include "pgtime.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

/* ---- settings.c ----------------------------------------------------------- */

extern int	pipeline_max_workers;
extern int	pipeline_max_lost_attempts;
extern int	pipeline_worker_idle_timeout;
extern int	pipeline_schedule_grace;
extern int	pipeline_history_days;
extern int	pipeline_history_runs;
extern void runner_define_settings(void);

/* ---- shmem.c: hints in shared memory; the truth is in the tables ---------- */

typedef enum SlotState
{
	SLOT_FREE = 0,
	SLOT_STARTING,				/* reserved by a scheduler for a new worker */
	SLOT_IDLE,
	SLOT_BUSY					/* owns attempt_id */
} SlotState;

typedef enum StopReason
{
	STOP_NONE = 0,
	STOP_CANCEL,				/* cancel() */
	STOP_TIMEOUT				/* the scheduler, after the worker's own timer */
} StopReason;

typedef struct WorkerSlot
{
	SlotState	state;
	uint32		generation;		/* tells a late worker from the slot's user */
	Oid			database;
	Oid			role;
	pid_t		pid;
	struct PGPROC *proc;
	int64		attempt_id;		/* when busy */
	int64		next_attempt_id;	/* claimed in the transaction that ends it */
	StopReason	stop;
	TimestampTz reserved_at;	/* when starting */
	bool		connected;		/* it could connect; stays until reserved again */
	bool		leave;			/* asked to make room after its task */
} WorkerSlot;

/* Databases that the launcher knows of at one time. */
#define MAX_DATABASES 64

typedef struct DatabaseSlot
{
	Oid			database;		/* InvalidOid: free */
	bool		wanted;			/* the launcher is to keep a scheduler there */
	bool		settled;		/* a scheduler has looked there */
	bool		starved;		/* its scheduler found no free slot */
	bool		held;			/* no workers may run: it is being dropped */
	pid_t		pid;			/* of the scheduler, or 0 */
	struct PGPROC *proc;
} DatabaseSlot;

typedef struct RunnerShared
{
	LWLock	   *lock;			/* protects everything below */
	struct PGPROC *launcher;
	ConditionVariable changed;	/* a run or task changed state */
	DatabaseSlot databases[MAX_DATABASES];
	int			nslots;
	WorkerSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} RunnerShared;

extern RunnerShared *runner_shared;

extern void runner_shmem_install(void);
extern bool runner_is_preloaded(void);
extern void runner_require_preload(void);
extern DatabaseSlot *runner_database_slot(Oid database, bool create);
extern void runner_wake_launcher(void);
extern void runner_wake_scheduler(Oid database);
extern int	runner_wake_idle_workers(Oid database, Oid role, int most);
extern bool runner_stop_attempt(int64 attempt_id, StopReason reason,
								int signal);
extern bool runner_attempt_alive(int64 attempt_id);
extern bool runner_has_worker(Oid database, Oid role);
extern void runner_ask_to_leave(Oid role, int most, bool urgent);
extern int	runner_reserve_slot(Oid database, Oid role, uint32 *generation);
extern void runner_release_slot(int slot, uint32 generation);

/* Things to do when the current transaction has committed. */
extern void runner_at_commit_wake(void);
extern void runner_at_commit_stop(int64 attempt_id);
extern void runner_at_commit_tell(void);
extern void runner_at_commit_help(Oid role, int tasks);

/* ---- cron.c --------------------------------------------------------------- */

typedef struct CronExpr
{
	uint64		minutes;
	uint32		hours;
	uint32		days;			/* of the month, bit 1..31 */
	bool		last_day;
	uint16		months;			/* bit 1..12 */
	uint8		weekdays;		/* bit 0..6, Sunday first */
	bool		any_day;		/* the day-of-month field begins with a star */
	bool		any_weekday;
} CronExpr;

extern void runner_cron_parse(const char *text, CronExpr *expr);
extern bool runner_cron_next(const CronExpr *expr, pg_tz *tz,
							 TimestampTz after, TimestampTz *next);
extern bool runner_cron_last(const CronExpr *expr, pg_tz *tz,
							 TimestampTz at, TimestampTz *last);
extern pg_tz *runner_timezone(const char *name);

/* ---- schedule.c ------------------------------------------------------------ */

/* The interval that ends at the latest due time at or before `at`. */
extern void runner_last_interval(const char *schedule, const char *timezone,
								 const char *align, TimestampTz at,
								 TimestampTz *from, TimestampTz *to);
extern void runner_check_align(const char *align);

/* ---- definition.c, task.c --------------------------------------------------- */

typedef struct PipelineDef
{
	char	   *name;
	Oid			owner;
	char	   *schedule;
	char	   *timezone;
	char	   *interval_align;
	Jsonb	   *params;
} PipelineDef;

extern PipelineDef *runner_load_pipeline(const char *name);
extern PipelineDef *runner_lock_pipeline(const char *name);
extern PipelineDef *runner_lock_operated(const char *name);
extern char *runner_role_problem(Oid role);
extern void runner_check_pipeline_name(const char *name);

/* ---- grants.c ---------------------------------------------------------------- */

extern bool runner_may(Oid owner, const char *pipeline, bool operate);
extern void runner_check_operator(Oid owner, const char *pipeline);

/* ---- alter.c ----------------------------------------------------------------- */

extern void runner_register_kinds(void);

/* ---- command.c: parse, check and run the SQL of a task ---------------------- */

typedef struct CommandResult
{
	bool		success;		/* no row said otherwise */
	bool		skipped;		/* the condition was not true */
	bool		waiting;		/* what it waits for is not true yet */
	Jsonb	   *result;			/* of the last row-returning statement */
	uint64		rows;
	uint64		wal_bytes;
	char	   *statement;		/* that was running when an error came */
	List	   *notices;		/* strings */
} CommandResult;

extern List *runner_parse_command(const char *command, bool atomic,
								  const char *task);

/* result.c */
extern DestReceiver *runner_result_receiver(MemoryContext context,
											CommandResult *result);

/* notices.c */
extern void runner_capture_notices(MemoryContext context, List **notices);
extern void runner_release_notices(void);
extern char *runner_clip(const char *text);

/* ---- transition.c: the state machine, in SQL -------------------------------- */

typedef struct Claim
{
	int64		attempt_id;
	int64		run_id;
	int			attempt;
	Oid			owner;
	char	   *pipeline;
	char	   *task;
	char	   *command;
	char	   *condition;		/* NULL: none */
	char	   *wait_for;		/* NULL: nothing */
	bool		atomic;
	char	   *timezone;
	Jsonb	   *params;
	Jsonb	   *labels;
	Interval   *timeout;
	TimestampTz interval_start;
	TimestampTz interval_end;
} Claim;

typedef enum Outcome
{
	OUTCOME_SUCCEEDED,
	OUTCOME_UNSUCCESSFUL,		/* a row's "success" was not true */
	OUTCOME_ERROR,
	OUTCOME_SKIPPED,			/* its condition was not true */
	OUTCOME_WAITING,			/* its wait_for is not true yet */
	OUTCOME_CANCELLED,
	OUTCOME_LOST
} Outcome;

typedef struct AttemptEnd
{
	Outcome		outcome;
	const CommandResult *result;	/* may be NULL */
	const ErrorData *error;		/* for OUTCOME_ERROR */
} AttemptEnd;

/* command.c */
extern void runner_run_command(const Claim *claim, MemoryContext context,
							   CommandResult *result);

/* Called on each statement before it is analysed; NULL: nothing is. */
extern void runner_set_rewriter(void (*rewriter) (RawStmt *stmt));

extern Claim *runner_claim_task(Oid role, MemoryContext context);
extern int	runner_count_ready(Oid role);
extern void runner_end_attempt(int64 run_id, const char *task,
							   int64 attempt_id, const AttemptEnd *end);
extern void runner_finish_run_if_done(int64 run_id);
extern int64 runner_settle_successors(int64 run_id, List *held_back,
									   List *skipped);
extern void runner_resolve_dropped(const char *pipeline, const char *task);

/* ---- run.c ------------------------------------------------------------------- */

extern void runner_check_run(Oid owner, const char *pipeline, int64 run_id,
							 bool operate);
extern int64 runner_create_run(const char *pipeline, const char *run_type,
							   const Jsonb *params, TimestampTz from,
							   TimestampTz to);
extern char *runner_lock_run(int64 run_id, char **pipeline);
extern int64 runner_start_run(const char *pipeline, const Jsonb *params,
							  const TimestampTz *interval);
extern Jsonb *runner_merge_params(const PipelineDef *def, const Jsonb *given);

/* ---- repair.c ---------------------------------------------------------------- */

extern int	runner_run_again(int64 run_id, const ArrayType *tasks,
							 bool only_failed);

/* ---- plan.c ------------------------------------------------------------------- */

extern void runner_interval_from(const PipelineDef *def,
								 const TimestampTz *start,
								 TimestampTz *from, TimestampTz *to);

/* ---- context functions (task_functions.c) ------------------------------------ */

extern void runner_set_claim(const Claim *claim);

/* ---- processes ---------------------------------------------------------------- */

extern void runner_register_launcher(void);
extern void runner_install_database_hook(void);

#endif							/* PIPELINE_RUNNER_H */
