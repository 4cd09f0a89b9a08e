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
extern int	pipeline_priority_ageing;
extern double pipeline_slow_task_factor;
extern int	pipeline_slow_task_minimum;
extern double pipeline_stale_dataset_factor;
extern int	pipeline_max_active_workers_per_role;
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
	STOP_TIMEOUT,				/* the scheduler, after the worker's own timer */
	STOP_DEADLINE				/* the scheduler: on_deadline is fail */
} StopReason;

#define PROGRESS_MESSAGE 200

/* What a task has said of itself with report_progress(). */
typedef struct Progress
{
	TimestampTz at;				/* 0: nothing yet */
	double		done;
	double		total;			/* NaN: unknown */
	char		message[PROGRESS_MESSAGE];
} Progress;

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
	Progress	progress;		/* of attempt_id */
	pg_atomic_uint64 readied;	/* least rank of tasks readied since it looked */
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
	ConditionVariable ended;	/* a run ended */
	DatabaseSlot databases[MAX_DATABASES];
	int			nslots;
	WorkerSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} RunnerShared;

extern RunnerShared *runner_shared;

/* ---- doctor.c ---------------------------------------------------------------- */

extern void runner_look(void);

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
extern int	runner_count_workers(Oid role);
extern int	runner_workers_to_find(Oid role);
extern bool runner_ask_to_leave(Oid role, int most, bool urgent);
extern int	runner_reserve_slot(Oid database, Oid role, uint32 *generation);
extern void runner_tell_starved(void);
extern void runner_release_slot(int slot, uint32 generation);

/* ---- at_commit.c: when the current transaction has committed ------------- */

extern void runner_at_commit_wake(void);
extern void runner_at_commit_stop(int64 attempt_id);
extern void runner_at_commit_tell(void);
extern void runner_at_commit_ready(TimestampTz rank);
extern TimestampTz runner_readied_here(void);
extern void runner_at_commit_run_ended(void);
extern void runner_at_commit_help(Oid role, int tasks);

/* ---- cron.c --------------------------------------------------------------- */

typedef struct CronExpr
{
	int			seconds;		/* every so many; 0: the fields below */
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

/* Why a run is created, and with what. */
typedef struct RunSpec
{
	const char *pipeline;
	const char *run_type;		/* manual, scheduled, dataset, backfill */
	const Jsonb *params;
	TimestampTz interval_start;
	TimestampTz interval_end;
	const List *tasks;			/* names; NIL: all */
	const Jsonb *datasets;		/* of a dataset run, or NULL */
} RunSpec;

extern PipelineDef *runner_load_pipeline(const char *name);
extern PipelineDef *runner_lock_pipeline(const char *name);
extern void runner_record_change(const char *pipeline, const char *action,
								 const char *kind, const char *name,
								 const Jsonb *before, const Jsonb *after,
								 const char *note);
extern PipelineDef *runner_lock_operated(const char *name);
extern void runner_check_pipeline_name(const char *name);
extern void runner_check_task_name(const char *name);
extern void runner_check_interval(const Interval *value, const char *argument,
								  bool zero_ok, int most_days);

/* ---- grants.c ---------------------------------------------------------------- */

extern bool runner_may(Oid owner, const char *pipeline, bool operate);
extern void runner_check_operator(Oid owner, const char *pipeline);

/* ---- alter.c ----------------------------------------------------------------- */

extern void runner_register_kinds(void);

/* ---- command.c: parse, check and run the SQL of a task ---------------------- */

/* A row of foreach. */
typedef struct MappedRow
{
	char	   *key;
	Jsonb	   *item;
} MappedRow;

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
	List	   *mapped;			/* MappedRows, when foreach ran */
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

/* ---- the state machine -------------------------------------------------------- */

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
	char	   *foreach;		/* to be mapped; NULL: not, or a mapped run */
	char	   *map_column;
	char	   *mapped_task;	/* of a mapped run: the task */
	Jsonb	   *item;			/* of a mapped run: its row of foreach */
	bool		atomic;
	bool		pooled;			/* takes slots of a pool */
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
	OUTCOME_MAPPED,				/* foreach has run; its rows are to run now */
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

/* lock.c */
extern void runner_run_lock(int64 run_id, bool alone);
extern bool runner_run_try_lock(int64 run_id);
extern void runner_run_lock_alone(int64 run_id);
extern bool runner_pool_try_lock(int32 pool_id);
extern void runner_pool_unlock(int32 pool_id);

/* trigger.c */
extern const char *const runner_trigger_rules[];
extern const char *runner_trigger_state(const char *rule, int pending,
										int succeeded, int failed, int skipped);
extern bool runner_trigger_is_simple(const char *rule, int failed, int skipped);

/* rank.c */
extern TimestampTz runner_rank(TimestampTz ready_at, int priority);
extern void runner_begin_look(TimestampTz readied);
extern TimestampTz *runner_pool_start(const char *pool);

/* claim.c */
extern Claim *runner_claim_task(Oid role, int want, TimestampTz readied,
								MemoryContext context, int *more);

/* graph.c */
extern int	runner_create_task_runs(int64 run_id, const char *pipeline,
									const List *only, const Jsonb *labels,
									TimestampTz deadline_from);
extern void runner_rearrange_run(int64 run_id);

/* settle.c */
extern void runner_open_tables(void);
extern void runner_close_tables(void);
extern bool runner_task_is_open(void);
extern bool runner_lock_open_task(int64 run_id, const char *task);
extern bool runner_success_goes_further(int64 run_id, const char *task,
										bool *sink);
extern bool runner_end_task(int64 run_id, const char *state, const char *error);
extern void runner_settle_successors(int64 run_id, List *held_back,
									 List *skipped);
extern void runner_finish_run_if_done(int64 run_id);

/* mapping.c */
extern DestReceiver *runner_map_receiver(MemoryContext context,
										 const char *map_column,
										 CommandResult *result);
extern void runner_expand_task(int64 run_id, const char *task,
							   const CommandResult *result);
extern int	runner_mapped_run_ended(int64 run_id, const char *task);
extern void runner_end_mapped_tasks(int64 run_id);

/* transition.c */
extern bool runner_end_attempt(int64 run_id, const char *task,
							   int64 attempt_id, const AttemptEnd *end);
extern bool runner_finish_run(int64 run_id, bool wait);

/* runner_alerts.c */
extern void runner_alert_task_failed(Oid owner, const char *pipeline,
									 int64 run_id, const char *task, int attempt,
									 const Jsonb *labels, const char *error);
extern void runner_alert_mapped_failed(Oid owner, const char *pipeline,
									   int64 run_id, const char *task,
									   const Jsonb *labels, const char *error);
extern void runner_alert_run_failed(Oid owner, const char *pipeline,
									int64 run_id, const char *tasks);
extern void runner_alert_deadline(Oid owner, const char *pipeline, int64 run_id,
								  const char *task, const Jsonb *labels,
								  bool missed, const char *what);
extern void runner_resolve_task(Oid owner, const char *pipeline,
								const char *task);
extern void runner_resolve_run(Oid owner, const char *pipeline);
extern void runner_resolve_dropped(const char *pipeline, const char *task);
extern void runner_alert_slow(Oid owner, const char *pipeline, int64 run_id,
							  const char *task, const Jsonb *labels,
							  double seconds, double usual);
extern void runner_resolve_slow(Oid owner, const char *pipeline,
								const char *task);
extern void runner_alert_stale(Oid owner, const char *dataset,
							   const char *since, bool asked,
							   const char *limit);
extern void runner_resolve_stale(Oid owner, const char *dataset);

/* ---- run.c ------------------------------------------------------------------- */

extern void runner_check_run(Oid owner, const char *pipeline, int64 run_id,
							 bool operate);
extern int64 runner_create_run(const RunSpec *spec);
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
/* ---- acl.c: roles that share pools and datasets --------------------------------- */

extern ArrayType *runner_role_array(const ArrayType *names, const char *argument);
extern bool runner_is_among(const ArrayType *roles, Oid role);

/* ---- pool.c, dataset.c ------------------------------------------------------------ */

extern void runner_check_pool(const char *pool, int slots, Oid owner);
extern void runner_check_datasets(const List *datasets, Oid owner);

/* ---- context functions (task_functions.c) ------------------------------------ */

extern void runner_set_claim(const Claim *claim);
extern void runner_require_task(const char *function);

/* ---- progress (progress.c, worker.c, shmem.c) --------------------------------- */

extern void runner_install_progress(void);
extern void runner_note_progress(const Progress *progress);
extern bool runner_read_progress(int64 attempt_id, Progress *progress);

/* ---- processes ---------------------------------------------------------------- */

extern void runner_register_launcher(void);
extern void runner_install_database_hook(void);

#endif							/* PIPELINE_RUNNER_H */
