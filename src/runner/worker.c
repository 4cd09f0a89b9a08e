/*
 * worker.c
 *	  The process that runs tasks.
 *
 * A worker connects as the role that owns the pipelines it serves: the session
 * is that role, so RESET ROLE gains nothing.  It claims a task, runs it, and
 * in the transaction that ends it claims the next; when there is none it waits
 * a little and exits.
 *
 * Its slot in shared memory is its life.  The exit callback that frees it is
 * registered before the connection is made, so that it runs after the
 * transaction was aborted: an attempt without a slot has surely stopped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "runner/process.h"
#include "runner/runner.h"

static WorkerSlot *my_slot;
static int	my_slot_number;
static WorkerStart my_start;
static TimeoutId task_timeout;
static volatile sig_atomic_t timed_out = false;
/* A task's own SQL can be cancelled; our bookkeeping after it cannot. */
static volatile sig_atomic_t cancellable = false;
static bool role_problem = false;	/* our role may not run tasks any more */
static int64 run_to_finish = 0; /* its last tasks ended side by side */

/* ---- the slot ---------------------------------------------------------------- */

static void
free_my_slot(int code, Datum arg)
{
	runner_release_slot(my_slot_number, my_start.generation);
	runner_wake_scheduler(my_start.database);
}

/* Take the slot that the scheduler reserved; false when it gave up on us. */
static bool
take_slot(void)
{
	bool		ours;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	ours = my_slot->state == SLOT_STARTING &&
		my_slot->generation == my_start.generation;
	if (ours)
	{
		my_slot->state = SLOT_IDLE;
		my_slot->pid = MyProcPid;
		my_slot->proc = MyProc;
	}
	LWLockRelease(runner_shared->lock);
	if (ours)
		before_shmem_exit(free_my_slot, (Datum) 0);
	return ours;
}

/* Say which attempts this process answers for. */
static void
own_attempts(int64 attempt_id, int64 next_attempt_id)
{
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->state = attempt_id ? SLOT_BUSY : SLOT_IDLE;
	if (my_slot->attempt_id != attempt_id)
	{
		my_slot->stop = STOP_NONE;
		my_slot->progress.at = 0;
	}
	my_slot->attempt_id = attempt_id;
	my_slot->next_attempt_id = next_attempt_id;
	LWLockRelease(runner_shared->lock);
}

/* Say how far the running task is; for report_progress(). */
void
runner_note_progress(const Progress *progress)
{
	/* A task can be tried in a session that is no worker. */
	if (my_slot == NULL)
		return;
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->progress = *progress;
	LWLockRelease(runner_shared->lock);
	ConditionVariableBroadcast(&runner_shared->changed);
}

/* ---- transactions of our own ----------------------------------------------------- */

/* Commit; `asynchronous` when losing it in a crash costs nothing. */
static void
commit(bool asynchronous)
{
	if (asynchronous)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	runner_commit_transaction();
}

/* Begin; exits when the extension is gone. */
static void
begin(const char *activity)
{
	runner_begin_transaction(activity);
	if (OidIsValid(pipeline_extension_owner(true)))
		return;
	AbortCurrentTransaction();
	proc_exit(0);
}

/*
 * Whatever the role or the task has set, our own work waits for a lock as long
 * as it must: a run that somebody is looking at is no failure of the task.
 */
static void
forbid_lock_timeout(void)
{
	SetConfigOption("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION);
}

/* Take back what the task did to the session. */
static void
reset_session(void)
{
	pipeline_reset_session();
	forbid_lock_timeout();
}

/* ---- one task --------------------------------------------------------------------- */

static void
on_task_timeout(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* SIGINT: from cancel(), the scheduler, or pg_cancel_backend(). */
static void
on_cancel(SIGNAL_ARGS)
{
	int			save_errno = errno;

	if (cancellable)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

static int64
interval_ms(const Interval *interval)
{
	return interval->time / 1000 +
		(interval->day + interval->month * (int64) DAYS_PER_MONTH) * SECS_PER_DAY * 1000;
}

static void
prepare_session(const Claim *claim)
{
	char	   *name = psprintf("pipeline: %s/%s " INT64_FORMAT, claim->pipeline,
								claim->task, claim->run_id);

	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("TimeZone", claim->timezone, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
	/* Back to what the role has set. */
	(void) set_config_option("lock_timeout", NULL, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SET, true, 0, false);
	timed_out = false;
	QueryCancelPending = false;
	runner_set_claim(claim);
	cancellable = true;
	/* A cancel may have come between the claim and here. */
	if (my_slot->stop != STOP_NONE)
		InterruptPending = QueryCancelPending = true;
	if (claim->timeout)
		enable_timeout_every(task_timeout,
							 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 interval_ms(claim->timeout)),
							 1000);
}

static void
stop_watching(void)
{
	cancellable = false;
	runner_release_notices();
	disable_timeout(task_timeout, false);
	runner_set_claim(NULL);
	QueryCancelPending = false;
}

/*
 * Claim the task to run next, within the current transaction.  The tables are
 * open.
 */
static Claim *
claim_next(const Claim *current, MemoryContext context)
{
	Claim	   *next = NULL;
	UserScope	scope;
	int			more = 0;

	/*
	 * A role that may no longer run tasks, say because it has become a
	 * superuser, claims none; the scheduler then pauses its pipelines.
	 */
	role_problem = pipeline_role_problem(my_start.role, "tasks") != NULL;
	if (!role_problem && !my_slot->leave)
	{
		pipeline_extension_begin(&scope);
		/* Also when all are busy somebody must know that there is more. */
		next = runner_claim_task(my_start.role, Max(1, runner_workers_to_find(my_start.role)),
								 (TimestampTz) pg_atomic_exchange_u64(&my_slot->readied, (uint64) DT_NOEND),
								 context, &more);
		pipeline_scope_end(&scope);
	}
	own_attempts(current ? current->attempt_id : (next ? next->attempt_id : 0),
				 current && next ? next->attempt_id : 0);
	/*
	 * The scheduler minds a timeout too, once it knows of the attempt; and the
	 * slots of a pool that are free now may be for others.
	 */
	if (role_problem || my_slot->leave || (next && next->timeout) || (current && current->pooled))
		runner_at_commit_wake();
	/* What is left over is for others. */
	if (more > 0)
		runner_at_commit_help(my_start.role, more);
	return next;
}

/*
 * End an attempt and claim the next, allocated in `context`.  *look_again is
 * set as runner_end_attempt() says.
 */
static Claim *
end_and_claim(const Claim *claim, const AttemptEnd *end, MemoryContext context,
			  bool *look_again)
{
	Claim	   *next;
	MemoryContext old = MemoryContextSwitchTo(context);

	/* What SPI hands out is allocated where it was connected. */
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	runner_open_tables();
	*look_again = runner_end_attempt(claim->run_id, claim->task, claim->attempt_id, end);
	next = claim_next(claim, context);
	runner_close_tables();
	PopActiveSnapshot();
	SPI_finish();
	MemoryContextSwitchTo(old);
	/* As long as we go on in the run it has not ended. */
	if (next && next->run_id == claim->run_id)
		*look_again = false;
	return next;
}

/*
 * End a run whose last tasks ended side by side, in a transaction of its own.
 * Should that fail, the scheduler does it when this process has ended.
 */
static void
finish_run(int64 run_id)
{
	run_to_finish = 0;
	begin("pipeline: end of run");
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) runner_finish_run(run_id, true);
	PopActiveSnapshot();
	SPI_finish();
	commit(false);
}

/* Run the command, and if it is atomic end the attempt in its transaction. */
static Claim *
run_claim(const Claim *claim, MemoryContext context, CommandResult *result,
		  MemoryContext next_context)
{
	AttemptEnd	end = {.result = result};
	Claim	   *next;
	bool		look_again;

	runner_capture_notices(context, &result->notices);
	if (claim->atomic)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		XactIsoLevel = XACT_READ_COMMITTED;
		runner_run_command(claim, context, result);
	}
	else
		runner_run_command(claim, context, result);
	stop_watching();
	forbid_lock_timeout();

	end.outcome = result->waiting ? OUTCOME_WAITING :
		result->skipped ? OUTCOME_SKIPPED :
		claim->foreach ? OUTCOME_MAPPED :
		result->success ? OUTCOME_SUCCEEDED : OUTCOME_UNSUCCESSFUL;
	if (claim->atomic)
	{
		/* The task may have made its transaction read-only; we write. */
		XactReadOnly = false;
		pgstat_report_activity(STATE_RUNNING, "pipeline: end of task");
	}
	else
	{
		reset_session();
		begin("pipeline: end of task");
	}
	next = end_and_claim(claim, &end, next_context, &look_again);
	commit(false);
	own_attempts(next ? next->attempt_id : 0, 0);
	if (look_again)
		run_to_finish = claim->run_id;
	return next;
}

/* An error of any size is recorded, but not all of it. */
static void
clip_error(ErrorData *edata)
{
	char	  **parts[] = {&edata->message, &edata->detail, &edata->hint, &edata->context};

	for (int i = 0; i < lengthof(parts); i++)
	{
		if (*parts[i])
			*parts[i] = runner_clip(*parts[i]);
	}
}

/* Record a failure, in a transaction of its own. */
static Claim *
record_failure(const Claim *claim, ErrorData *edata, CommandResult *result,
			   MemoryContext context)
{
	AttemptEnd	end = {.outcome = OUTCOME_ERROR, .result = result, .error = edata};
	Claim	   *next;
	bool		look_again;

	own_attempts(claim->attempt_id, 0);
	clip_error(edata);
	if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED && my_slot->stop == STOP_CANCEL)
		end.outcome = OUTCOME_CANCELLED;
	else if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED && timed_out)
		edata->message = psprintf("the task did not end within its timeout of %s",
								  DatumGetCString(DirectFunctionCall1(interval_out,
																	  IntervalPGetDatum(claim->timeout))));
	else if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED && my_slot->stop == STOP_DEADLINE)
		edata->message = "the task did not end before its deadline";
	else if (claim->atomic &&
			 (edata->sqlerrcode == ERRCODE_ACTIVE_SQL_TRANSACTION ||
			  edata->sqlerrcode == ERRCODE_INVALID_TRANSACTION_TERMINATION))
		edata->hint = "With mode => 'autocommit' each statement of the task is a transaction of its own.";
	ereport(LOG,
			(errmsg("task \"%s\" of pipeline \"%s\", run " INT64_FORMAT ", attempt %d: %s",
					claim->task, claim->pipeline, claim->run_id, claim->attempt,
					edata->message)));
	reset_session();
	begin("pipeline: end of failed task");
	next = end_and_claim(claim, &end, context, &look_again);
	commit(false);
	own_attempts(next ? next->attempt_id : 0, 0);
	return next;
}

/* Run one task to its end, whatever that is; returns the next one, if any. */
static Claim *
run_task(const Claim *claim, MemoryContext next_context)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pipeline task",
												  ALLOCSET_DEFAULT_SIZES);
	CommandResult *result = MemoryContextAllocZero(context, sizeof(CommandResult));
	volatile bool failed = false;
	ErrorData  *volatile edata = NULL;
	Claim	   *volatile next = NULL;

	PG_TRY();
	{
		prepare_session(claim);
		next = run_claim(claim, context, result, next_context);
	}
	PG_CATCH();
	{
		stop_watching();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		/* Cursors of a procedure that commits outlive its transactions. */
		PortalErrorCleanup();
		jit_reset_after_error();
		failed = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(next_context);
	if (failed)
		next = record_failure(claim, edata, result, next_context);
	else if (claim->atomic)
		reset_session();
	if (run_to_finish != 0)
		finish_run(run_to_finish);
	pgstat_report_stat(false);
	/* The caller deletes the other one. */
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
	return next;
}

/* Claim a task, and run it and what follows from it, until there is nothing. */
static bool
run_ready_tasks(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pipeline claim",
												  ALLOCSET_DEFAULT_SIZES);
	Claim	   *claim;
	bool		any;

	begin("pipeline: claim");
	MemoryContextSwitchTo(context);
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	runner_open_tables();
	claim = claim_next(NULL, context);
	runner_close_tables();
	PopActiveSnapshot();
	SPI_finish();
	commit(true);
	any = claim != NULL;
	while (claim)
	{
		MemoryContext next_context = AllocSetContextCreate(TopMemoryContext, "pipeline claim",
														   ALLOCSET_DEFAULT_SIZES);

		claim = run_task(claim, next_context);
		MemoryContextDelete(context);
		context = next_context;
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(context);
	return any;
}

/* ---- the process -------------------------------------------------------------------- */

/* Wait for a task; false when none came for long enough. */
static bool
wait_idle(void)
{
	static uint32 event = 0;
	int			rc;

	if (event == 0)
		event = WaitEventExtensionNew("PipelineWorkerIdle");
	SetConfigOption("application_name", "pipeline worker", PGC_USERSET, PGC_S_SESSION);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(true);
	rc = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
				   pipeline_worker_idle_timeout, event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return (rc & WL_LATCH_SET) != 0 && !my_slot->leave;
}

/* Entry point; the argument is the slot's number, bgw_extra a WorkerStart. */
void
pipeline_worker_main(Datum arg)
{
	bool		news = true;	/* it is idle, for the first time or again */

	my_slot_number = DatumGetInt32(arg);
	my_slot = &runner_shared->slots[my_slot_number];
	memcpy(&my_start, MyBgworkerEntry->bgw_extra, sizeof(my_start));

	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, on_cancel);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!take_slot())
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(my_start.database, my_start.role,
											  PIPELINE_WORKER_FLAGS);
	my_slot->connected = true;
	forbid_lock_timeout();
	task_timeout = RegisterTimeout(USER_TIMEOUT, on_task_timeout);
	do
	{
		while (run_ready_tasks())
			news = true;
		/*
		 * Who found nothing tells nobody, or he and a scheduler would wake
		 * each other for ever.
		 */
		if (news)
			runner_tell_starved();
		news = false;
	} while (!role_problem && !my_slot->leave && wait_idle());
	proc_exit(0);
}
