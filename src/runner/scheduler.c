/*
 * scheduler.c
 *	  The process that minds the clock of one database.
 *
 * It lets queued runs begin, readies tasks whose wait is over, finds attempts
 * whose worker is gone, stops those that overran, and starts workers.  It runs
 * constant SQL on our tables and never user SQL.  It has nothing to poll:
 * it wakes when somebody sets its latch, or at the next time that stands in a
 * table.
 *
 * It serves everybody, so it waits for nobody: a row that a user's transaction
 * has locked is left for the next look, a second later, and a run whose lost
 * attempt cannot be ended has its pipeline paused.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "runner/process.h"
#include "runner/runner.h"

/* A worker that ignores SIGINT for that long gets SIGTERM. */
#define PATIENCE "interval '10 seconds'"
#define RETRY_MS 1000
/* Nor is a row that stays overdue, being locked, a reason to spin. */
#define OVERDUE_MS 50

static DatabaseSlot *my_slot;
static bool passed_over = false;	/* locked rows, in this look */
static List *overran = NIL;		/* ids of attempts ended for their timeout */

static void
forget_scheduler(int code, Datum arg)
{
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->pid = 0;
	my_slot->proc = NULL;
	LWLockRelease(runner_shared->lock);
	runner_wake_launcher();
}

/* ---- attempts whose worker is gone ------------------------------------------------ */

typedef struct OpenAttempt
{
	int64		attempt_id;
	int64		run_id;
	char	   *task;
} OpenAttempt;

/* The attempts that the tables say are running and that no process owns. */
static List *
orphans(void)
{
	List	   *list = NIL;
	uint64		n;

	n = pipeline_sql("SELECT attempt_id, run_id, task FROM pipeline.attempts"
					 " WHERE state = 'running' ORDER BY run_id, attempt_id", SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		OpenAttempt *a;

		if (runner_attempt_alive(pipeline_sql_int8(i, 1)))
			continue;
		a = SPI_palloc(sizeof(OpenAttempt));
		a->attempt_id = pipeline_sql_int8(i, 1);
		a->run_id = pipeline_sql_int8(i, 2);
		a->task = pipeline_sql_text(i, 3);
		list = lappend(list, a);
	}
	return list;
}

/* Was the attempt's worker ended because it did not mind its timeout? */
static bool
forget_overrun(int64 attempt_id)
{
	ListCell   *lc;

	foreach(lc, overran)
	{
		if (*(int64 *) lfirst(lc) != attempt_id)
			continue;
		pfree(lfirst(lc));
		overran = foreach_delete_current(overran, lc);
		return true;
	}
	return false;
}

/* Remember that an attempt's worker is ended because of its timeout. */
static void
note_overrun(int64 attempt_id)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	int64	   *id;

	(void) forget_overrun(attempt_id);
	id = palloc_object(int64);
	*id = attempt_id;
	overran = lappend(overran, id);
	MemoryContextSwitchTo(old);
}

/* End one attempt that seems to have no process, if that is still so. */
static void
end_lost_attempt(const OpenAttempt *a)
{
	ErrorData	error = {.sqlerrcode = ERRCODE_QUERY_CANCELED,
	.message = "the task did not end within its timeout, and its worker had to be ended"};
	AttemptEnd	end = {.outcome = OUTCOME_LOST};

	/*
	 * Our snapshot may be older than the worker's last commit.  With the run
	 * locked nobody is between the two, so look again.
	 */
	if (pipeline_sql("SELECT 1 FROM pipeline.runs WHERE run_id = $1 FOR NO KEY UPDATE SKIP LOCKED",
					 SPI_OK_SELECT, sql_int8(a->run_id)) == 0)
	{
		passed_over = true;
		return;
	}
	if (runner_attempt_alive(a->attempt_id) ||
		pipeline_sql("SELECT 1 FROM pipeline.attempts WHERE attempt_id = $1 AND state = 'running'",
					 SPI_OK_SELECT, sql_int8(a->attempt_id)) == 0)
		return;
	if (forget_overrun(a->attempt_id))
	{
		end.outcome = OUTCOME_ERROR;
		end.error = &error;
	}
	ereport(LOG,
			(errmsg("attempt " INT64_FORMAT " at task \"%s\" of run " INT64_FORMAT " was %s",
					a->attempt_id, a->task, a->run_id,
					end.outcome == OUTCOME_LOST ? "lost" : "ended for its timeout")));
	runner_end_attempt(a->run_id, a->task, a->attempt_id, &end);
}

/* One bad run stops its own pipeline and touches nothing else. */
static bool
pause_pipeline_of(int64 run_id, const char *reason)
{
	return pipeline_sql("UPDATE pipeline.pipelines p SET paused = true, paused_reason = $2"
				 " FROM (SELECT pipeline FROM pipeline.pipelines"
				 "       WHERE pipeline = (SELECT pipeline FROM pipeline.runs WHERE run_id = $1)"
				 "       AND NOT paused FOR NO KEY UPDATE SKIP LOCKED) l"
				 " WHERE p.pipeline = l.pipeline", SPI_OK_UPDATE,
				 sql_int8(run_id), sql_text(reason)) > 0;
}

/* Say what went wrong with an attempt, once, and pause its pipeline. */
static void
give_up(const OpenAttempt *a, const ErrorData *edata)
{
	bool		locked = edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;

	passed_over = true;
	if (!locked &&
		!pause_pipeline_of(a->run_id, psprintf("the scheduler could not end an attempt at task \"%s\": %s",
											   a->task, edata->message)))
		return;
	ereport(locked ? LOG : WARNING,
			(errmsg("could not end attempt " INT64_FORMAT " at task \"%s\" of run " INT64_FORMAT ": %s",
					a->attempt_id, a->task, a->run_id, edata->message)));
}

/* End one in a subtransaction, so that it cannot keep us from the others. */
static void
try_to_end(const OpenAttempt *a)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		end_lost_attempt(a);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (edata != NULL)
		give_up(a, edata);
}

static void
end_lost_attempts(void)
{
	ListCell   *lc;
	int			guc_level = NewGUCNestLevel();

	/* An alert that somebody is acknowledging must not hold us up. */
	(void) set_config_option("lock_timeout", "500ms", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	foreach(lc, orphans())
		try_to_end(lfirst(lc));
	AtEOXact_GUC(false, guc_level);
}

/* ---- the clock ------------------------------------------------------------------------ */

static void
ready_retries(void)
{
	pipeline_sql("UPDATE pipeline.task_runs t SET state = 'ready', ready_at = clock_timestamp()"
				 " FROM (SELECT run_id, task FROM pipeline.task_runs"
				 "       WHERE state IN ('up_for_retry', 'waiting') AND next_attempt_at <= clock_timestamp()"
				 "       FOR NO KEY UPDATE SKIP LOCKED) due"
				 " WHERE t.run_id = due.run_id AND t.task = due.task",
				 SPI_OK_UPDATE);
}

/*
 * Let queued runs begin, the earliest first, as many as may.  One that a user
 * is cancelling keeps its place until that is settled.
 */
static void
begin_runs(void)
{
	/* A backfill with a limit of its own has places of its own. */
	uint64		n = pipeline_sql("WITH places AS ("
								 "  SELECT r.run_id, coalesce(r.max_active_runs, p.max_active_runs)"
								 "    - (SELECT count(*) FROM pipeline.runs a"
								 "       WHERE a.pipeline = p.pipeline AND a.state = 'running'"
								 "       AND CASE WHEN r.max_active_runs IS NULL THEN a.max_active_runs IS NULL"
								 "         ELSE a.max_active_runs IS NOT NULL AND a.backfill = r.backfill END) AS places,"
								 "    row_number() OVER (PARTITION BY r.pipeline, r.max_active_runs IS NULL,"
								 "      CASE WHEN r.max_active_runs IS NOT NULL THEN r.backfill END"
								 "      ORDER BY r.run_id) AS place"
								 "  FROM pipeline.runs r JOIN pipeline.pipelines p USING (pipeline)"
								 "  WHERE r.state = 'queued' AND NOT p.paused)"
								 " SELECT run_id FROM pipeline.runs"
								 " WHERE run_id IN (SELECT run_id FROM places WHERE place <= places)"
								 "   AND state = 'queued'"
								 " FOR NO KEY UPDATE SKIP LOCKED", SPI_OK_SELECT);
	int64	   *runs = palloc_array(int64, n + 1);

	for (uint64 i = 0; i < n; i++)
		runs[i] = pipeline_sql_int8(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		pipeline_sql("UPDATE pipeline.runs SET state = 'running',"
					 "   started_at = coalesce(started_at, clock_timestamp())"
					 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(runs[i]));
		pipeline_sql("UPDATE pipeline.task_runs SET state = 'ready', ready_at = clock_timestamp()"
					 " WHERE run_id = $1 AND state = 'waiting' AND pending = 0",
					 SPI_OK_UPDATE, sql_int8(runs[i]));
	}
	if (n > 0)
		runner_at_commit_tell();
	if (pipeline_sql("SELECT 1 FROM pipeline.runs r JOIN pipeline.pipelines p USING (pipeline)"
					 " WHERE r.state = 'queued' AND NOT p.paused AND coalesce(r.max_active_runs, p.max_active_runs) >"
					 " (SELECT count(*) FROM pipeline.runs a"
					 "  WHERE a.pipeline = p.pipeline AND a.state = 'running'"
					 "  AND CASE WHEN r.max_active_runs IS NULL THEN a.max_active_runs IS NULL"
					 "    ELSE a.max_active_runs IS NOT NULL AND a.backfill = r.backfill END) LIMIT 1",
					 SPI_OK_SELECT) > 0)
		passed_over = true;
}

/*
 * Stop what overran or was cancelled.  The worker minds its own timeout and
 * cancel() sends its own signal; this is for those that did not listen.
 */
static void
stop_attempts(void)
{
	uint64		n;

	n = pipeline_sql("SELECT a.attempt_id,"
					 "  r.cancel_requested_at IS NOT NULL AS cancelled,"
					 "  least(r.cancel_requested_at, a.started_at + a.timeout) + " PATIENCE
					 "    <= clock_timestamp() AS impatient"
					 " FROM pipeline.attempts a JOIN pipeline.runs r USING (run_id)"
					 " WHERE a.state = 'running' AND (r.cancel_requested_at IS NOT NULL"
					 "   OR a.started_at + a.timeout + " PATIENCE " <= clock_timestamp())",
					 SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		int64		attempt_id = pipeline_sql_int8(i, 1);
		bool		cancelled = pipeline_sql_bool(i, 2);

		if (runner_stop_attempt(attempt_id, cancelled ? STOP_CANCEL : STOP_TIMEOUT,
								pipeline_sql_bool(i, 3) ? SIGTERM : SIGINT) &&
			!cancelled)
			note_overrun(attempt_id);
	}
}

/* Milliseconds until something is due by the clock; -1 when nothing is. */
static long
until_next(void)
{
	bool		isnull;
	TimestampTz next;
	long		ms;

	pipeline_sql("SELECT least("
				 " (SELECT min(next_attempt_at) FROM pipeline.task_runs"
				 "  WHERE state IN ('up_for_retry', 'waiting') AND next_attempt_at IS NOT NULL),"
				 /* What is overdue already was passed over, or takes its time to die. */
				 " (SELECT min(CASE WHEN r.cancel_requested_at IS NOT NULL"
				 "     THEN clock_timestamp() + interval '1 second'"
				 "     ELSE greatest(a.started_at + a.timeout + " PATIENCE ","
				 "                   clock_timestamp() + interval '1 second') END)"
				 "  FROM pipeline.attempts a JOIN pipeline.runs r USING (run_id)"
				 "  WHERE a.state = 'running'))", SPI_OK_SELECT);
	next = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	if (isnull)
		return passed_over ? RETRY_MS : -1;
	ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next) + 1;
	ms = Max(ms, OVERDUE_MS);
	return passed_over ? Min(ms, RETRY_MS) : ms;
}

/* ---- owners and their ready tasks ---------------------------------------------------------- */

typedef struct Demand
{
	Oid			role;
	int			tasks;
} Demand;

static void
pause_owner(Oid role, const char *reason)
{
	uint64		n = pipeline_sql("UPDATE pipeline.pipelines p SET paused = true, paused_reason = $2"
								 " FROM (SELECT pipeline FROM pipeline.pipelines"
								 "       WHERE owner = $1 AND NOT paused"
								 "       FOR NO KEY UPDATE SKIP LOCKED) l"
								 " WHERE p.pipeline = l.pipeline", SPI_OK_UPDATE,
								 sql_role(role), sql_text(reason));

	if (n > 0)
		ereport(WARNING,
				(errmsg("paused %llu pipelines of one owner: %s", (unsigned long long) n, reason)));
	else
		passed_over = true;
}

/* Who has ready tasks, and how many; in `context`. */
static List *
demands(MemoryContext context)
{
	List	   *list = NIL;
	uint64		n;

	n = pipeline_sql("SELECT t.owner::oid, count(*) FROM pipeline.task_runs t"
					 " JOIN pipeline.pipelines p USING (pipeline)"
					 " WHERE t.state = 'ready' AND NOT p.paused GROUP BY 1 ORDER BY min(t.ready_at)",
					 SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Demand	   *d = palloc_object(Demand);
		bool		isnull;

		d->role = DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull));
		d->tasks = (int) Min(pipeline_sql_int8(i, 2), (int64) pipeline_max_workers);
		list = lappend(list, d);
		MemoryContextSwitchTo(old);
	}
	return list;
}

/* Drop the demands of roles that workers cannot be, pausing their pipelines. */
static List *
check_roles(List *list)
{
	ListCell   *lc;

	foreach(lc, list)
	{
		Demand	   *d = lfirst(lc);
		char	   *problem = runner_role_problem(d->role);

		if (problem == NULL && runner_start_failures(d->role) >= RUNNER_MAX_START_FAILURES)
			problem = "its workers could not start; the server's log has the reason";
		if (problem == NULL)
			continue;
		pause_owner(d->role, psprintf("tasks cannot run as their owner: %s", problem));
		runner_forget_start_failures(d->role);
		list = foreach_delete_current(list, lc);
	}
	return list;
}

/*
 * One look at the tables.  Returns false when the extension is not there;
 * sets the demands (in `context`) and the time of the next look.
 */
static bool
look(MemoryContext context, List **list, long *timeout)
{
	bool		there;
	UserScope	scope;

	*list = NIL;
	*timeout = -1;
	runner_begin_transaction("pipeline: schedule");
	there = OidIsValid(pipeline_extension_owner(true));
	if (there)
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (pipeline_identity_matches())
		{
			passed_over = false;
			pipeline_extension_begin(&scope);
			end_lost_attempts();
			ready_retries();
			begin_runs();
			stop_attempts();
			*list = check_roles(demands(context));
			*timeout = until_next();
			pipeline_scope_end(&scope);
		}
		PopActiveSnapshot();
		SPI_finish();
	}
	runner_commit_transaction();
	return there;
}

/* ---- the process ------------------------------------------------------------------------------ */

static bool
take_database(Oid database)
{
	bool		ours;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot = runner_database_slot(database, false);
	ours = my_slot != NULL && my_slot->pid == 0 && !my_slot->held;
	if (ours)
	{
		my_slot->pid = MyProcPid;
		my_slot->proc = MyProc;
	}
	LWLockRelease(runner_shared->lock);
	if (ours)
		before_shmem_exit(forget_scheduler, (Datum) 0);
	return ours;
}

static void
set_wanted(bool wanted)
{
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->wanted = wanted;
	my_slot->settled = true;
	LWLockRelease(runner_shared->lock);
}

static void
start_workers(Oid role, int tasks, long *timeout)
{
	long		again = runner_start_workers(MyDatabaseId, role, tasks);

	if (again > 0 && (*timeout < 0 || again < *timeout))
		*timeout = again;
}

/* Look, and start workers for what is ready.  False: no extension here. */
static bool
schedule(long *timeout)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pipeline schedule",
												  ALLOCSET_DEFAULT_SIZES);
	List	   *list;
	ListCell   *lc;
	bool		there;

	/*
	 * Unwanted until the extension is seen: a create_pipeline() that commits
	 * after our look then finds the launcher willing to start another.
	 */
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->wanted = false;
	LWLockRelease(runner_shared->lock);
	there = look(context, &list, timeout);
	if (there)
		set_wanted(true);
	/* Roles that have no worker first; then each what it can use. */
	foreach(lc, list)
	{
		Demand	   *d = lfirst(lc);

		if (!runner_has_worker(MyDatabaseId, d->role))
			start_workers(d->role, 1, timeout);
	}
	foreach(lc, list)
	{
		Demand	   *d = lfirst(lc);

		start_workers(d->role, d->tasks, timeout);
	}
	if (there)
	{
		long		again = runner_trim_history();

		if (again > 0 && (*timeout < 0 || again < *timeout))
			*timeout = again;
	}
	MemoryContextDelete(context);
	return there;
}

/* Entry point; the argument is the database. */
void
pipeline_scheduler_main(Datum arg)
{
	uint32		event;
	long		timeout;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!take_database(DatumGetObjectId(arg)))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	SetConfigOption("application_name", "pipeline scheduler", PGC_USERSET, PGC_S_SESSION);
	event = WaitEventExtensionNew("PipelineSchedulerMain");

	for (;;)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		runner_reap_workers();
		if (!schedule(&timeout))
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout > 0 ? WL_TIMEOUT : 0),
						 timeout, event);
	}
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->settled = true;
	LWLockRelease(runner_shared->lock);
	proc_exit(0);
}
