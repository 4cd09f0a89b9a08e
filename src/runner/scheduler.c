/*
 * scheduler.c
 *	  The process that minds the clock of one database.
 *
 * It lets queued runs begin, readies tasks whose wait is over, finds attempts
 * whose worker is gone, stops those that overran, and starts workers.  It runs
 * constant SQL on our tables and never user SQL.  It has nothing to poll:
 * it wakes when somebody sets its latch, or at the next time that stands in a
 * table.
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "runner/process.h"
#include "runner/runner.h"

/* A worker that ignores SIGINT for that long gets SIGTERM. */
#define PATIENCE "interval '10 seconds'"
#define RETRY_MS 1000

static DatabaseSlot *my_slot;

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

static void
end_lost_attempts(void)
{
	AttemptEnd	end = {.outcome = OUTCOME_LOST};
	ListCell   *lc;

	foreach(lc, orphans())
	{
		OpenAttempt *a = lfirst(lc);

		/*
		 * Our snapshot may be older than the worker's last commit.  With the
		 * run locked nobody is between the two, so look again.
		 */
		pipeline_sql("SELECT 1 FROM pipeline.runs WHERE run_id = $1 FOR NO KEY UPDATE",
					 SPI_OK_SELECT, sql_int8(a->run_id));
		if (runner_attempt_alive(a->attempt_id) ||
			pipeline_sql("SELECT 1 FROM pipeline.attempts WHERE attempt_id = $1 AND state = 'running'",
						 SPI_OK_SELECT, sql_int8(a->attempt_id)) == 0)
			continue;
		ereport(LOG,
				(errmsg("attempt " INT64_FORMAT " at task \"%s\" of run " INT64_FORMAT " was lost",
						a->attempt_id, a->task, a->run_id)));
		runner_end_attempt(a->run_id, a->task, a->attempt_id, &end);
	}
}

/* ---- the clock ------------------------------------------------------------------------ */

static void
ready_retries(void)
{
	pipeline_sql("UPDATE pipeline.task_runs SET state = 'ready', ready_at = clock_timestamp()"
				 " WHERE state = 'up_for_retry' AND next_attempt_at <= clock_timestamp()",
				 SPI_OK_UPDATE);
}

/* Let queued runs begin, the earliest interval first, as many as may. */
static void
begin_runs(void)
{
	if (pipeline_sql("WITH places AS ("
					 "  SELECT r.run_id, p.max_active_runs"
					 "    - (SELECT count(*) FROM pipeline.runs a"
					 "       WHERE a.pipeline = p.pipeline AND a.state = 'running') AS places,"
					 "    row_number() OVER (PARTITION BY r.pipeline ORDER BY r.run_id) AS place"
					 "  FROM pipeline.runs r JOIN pipeline.pipelines p USING (pipeline)"
					 "  WHERE r.state = 'queued' AND NOT p.paused)"
					 " UPDATE pipeline.runs r SET state = 'running',"
					 "   started_at = coalesce(r.started_at, clock_timestamp())"
					 " FROM places WHERE places.run_id = r.run_id AND place <= places"
					 "   AND r.state = 'queued' RETURNING r.run_id",
					 SPI_OK_UPDATE_RETURNING) == 0)
		return;
	pipeline_sql("UPDATE pipeline.task_runs t SET state = 'ready', ready_at = clock_timestamp()"
				 " FROM pipeline.runs r WHERE r.run_id = t.run_id AND r.state = 'running'"
				 " AND t.state = 'waiting' AND t.pending = 0", SPI_OK_UPDATE);
	runner_at_commit_tell();
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
		runner_stop_attempt(pipeline_sql_int8(i, 1),
							pipeline_sql_bool(i, 2) ? STOP_CANCEL : STOP_TIMEOUT,
							pipeline_sql_bool(i, 3) ? SIGTERM : SIGINT);
}

/* Milliseconds until something is due by the clock; -1 when nothing is. */
static long
until_next(void)
{
	bool		isnull;
	TimestampTz next;

	pipeline_sql("SELECT least("
				 " (SELECT min(next_attempt_at) FROM pipeline.task_runs WHERE state = 'up_for_retry'),"
				 " (SELECT min(CASE WHEN r.cancel_requested_at IS NOT NULL"
				 "     THEN clock_timestamp() + interval '1 second'"
				 "     ELSE a.started_at + a.timeout + " PATIENCE " END)"
				 "  FROM pipeline.attempts a JOIN pipeline.runs r USING (run_id)"
				 "  WHERE a.state = 'running'))", SPI_OK_SELECT);
	next = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	if (isnull)
		return -1;
	return Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next) + 1);
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
	uint64		n = pipeline_sql("UPDATE pipeline.pipelines SET paused = true, paused_reason = $2"
								 " WHERE owner = $1 AND NOT paused", SPI_OK_UPDATE,
								 sql_role(role), sql_text(reason));

	if (n > 0)
		ereport(WARNING,
				(errmsg("paused %llu pipelines of one owner: %s", (unsigned long long) n, reason)));
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
	foreach(lc, list)
	{
		Demand	   *d = lfirst(lc);
		long		again = runner_start_workers(MyDatabaseId, d->role, d->tasks);

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
