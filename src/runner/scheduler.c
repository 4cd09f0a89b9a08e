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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "alert/alert.h"
#include "runner/process.h"
#include "runner/runner.h"

static DatabaseSlot *my_slot;
/* Workers have ended, or others' processes before us: look for what they left. */
static bool look_for_lost_runs = true;

static void
forget_scheduler(int code, Datum arg)
{
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->pid = 0;
	my_slot->proc = NULL;
	LWLockRelease(runner_shared->lock);
	runner_wake_launcher();
}

/*
 * Do one piece of the work, for one pipeline, as pipeline_try() does it; but it
 * waits for a lock only so long, and then fails with 55P03: what one user's
 * transaction holds is not to hold up the others.
 */
ErrorData *
runner_try_briefly(bool (*work) (void *arg), void *arg)
{
	int			guc_level = NewGUCNestLevel();
	ErrorData  *edata;

	(void) set_config_option("lock_timeout", "200ms", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	edata = pipeline_try(work, arg);
	AtEOXact_GUC(false, guc_level);
	return edata;
}

/*
 * Pause a pipeline that the scheduler cannot serve, with the reason; false
 * when it is paused already, or somebody holds it.
 */
bool
runner_pause_pipeline(const char *pipeline, const char *reason)
{
	if (pipeline_sql("UPDATE pipeline.pipelines p SET paused = true, paused_reason = $2"
					 " FROM (SELECT pipeline FROM pipeline.pipelines WHERE pipeline = $1"
					 "       AND NOT paused FOR NO KEY UPDATE SKIP LOCKED) l"
					 " WHERE p.pipeline = l.pipeline", SPI_OK_UPDATE,
					 sql_text(pipeline), sql_text(reason)) == 0)
		return false;
	ereport(WARNING, (errmsg("paused pipeline \"%s\": %s", pipeline, reason)));
	return true;
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
								 "       WHERE NOT paused AND (owner = $1 OR pipeline IN"
								 /* Of runs that began before it had another owner. */
								 "         (SELECT t.pipeline FROM pipeline.task_runs t WHERE t.owner = $1 AND t.state = 'ready'))"
								 "       FOR NO KEY UPDATE SKIP LOCKED) l"
								 " WHERE p.pipeline = l.pipeline", SPI_OK_UPDATE,
								 sql_role(role), sql_text(reason));

	if (n > 0)
		ereport(WARNING,
				(errmsg("paused %llu pipelines of one owner: %s", (unsigned long long) n, reason)));
	else
		runner_pass_over();
}

/* Who has ready tasks, and how many; in `context`. */
static List *
demands(MemoryContext context)
{
	List	   *list = NIL;
	uint64		n;

	/* No more of each than there can be workers, however many are ready. */
	n = pipeline_sql("WITH RECURSIVE queues AS ("
					 "  (SELECT owner, pool FROM pipeline.task_runs WHERE state = 'ready' ORDER BY owner, pool LIMIT 1)"
					 "  UNION ALL"
					 "  SELECT n.owner, n.pool FROM queues q, LATERAL ("
					 "    SELECT t.owner, t.pool FROM pipeline.task_runs t"
					 "    WHERE t.state = 'ready' AND (t.owner, t.pool) > (q.owner, q.pool)"
					 "    ORDER BY t.owner, t.pool LIMIT 1) n),"
					 " ready AS ("
					 "  SELECT q.owner::oid AS owner, q.pool, count(*) AS n, min(f.pool_slots) AS least, min(f.ready_at) AS since"
					 "  FROM queues q, LATERAL ("
					 "    SELECT t.pool_slots, t.ready_at FROM pipeline.task_runs t JOIN pipeline.pipelines p USING (pipeline)"
					 "    WHERE t.state = 'ready' AND t.owner = q.owner AND t.pool = q.pool AND NOT p.paused"
					 "    ORDER BY t.rank LIMIT $1) f"
					 "  GROUP BY 1, 2),"
					 " able AS ("
					 "  SELECT r.owner, r.since, CASE WHEN r.pool = 'default' THEN r.n ELSE"
					 "    (SELECT least(r.n, greatest(0, (l.slots - (SELECT coalesce(sum(u.pool_slots), 0) FROM pipeline.task_runs u"
					 "       WHERE u.pool = r.pool AND u.pool <> 'default' AND u.state = 'running')) / r.least))"
					 "     FROM pipeline.pools l WHERE l.pool = r.pool) END AS n FROM ready r)"
					 " SELECT owner, sum(n)::bigint FROM able GROUP BY owner HAVING sum(n) >= 1 ORDER BY min(since)",
					 SPI_OK_SELECT, sql_int8(pipeline_max_workers));
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
		char	   *problem = pipeline_role_problem(d->role, "tasks");

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

/* Something is to be called again in so many milliseconds, or never: -1. */
static void
call_again(long *timeout, long again)
{
	if (again > 0 && (*timeout < 0 || again < *timeout))
		*timeout = again;
}

/*
 * One look at the tables.  Returns false when the extension is not there;
 * sets the demands (in `context`), whether a notifier is to be started, and the
 * time of the next look.
 */
static bool
look(MemoryContext context, List **list, bool *notify, long *timeout)
{
	bool		there;
	UserScope	scope;

	*list = NIL;
	*notify = false;
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
			runner_end_lost_attempts();
			if (look_for_lost_runs)
				look_for_lost_runs = !runner_finish_lost_runs();
			runner_ready_retries();
			runner_dispatch_datasets();
			runner_begin_runs();
			runner_stop_attempts();
			runner_mind_deadlines();
			runner_mind_unusual();
			*list = check_roles(demands(context));
			*timeout = runner_until_next();
			call_again(timeout, runner_until_unusual());
			*notify = !pipeline_notifier_runs(MyDatabaseId) && pipeline_notifier_needed();
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
	call_again(timeout, runner_start_workers(MyDatabaseId, role, tasks));
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
	bool		notify;

	/*
	 * Unwanted until the extension is seen: a create_pipeline() that commits
	 * after our look then finds the launcher willing to start another.
	 */
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	my_slot->wanted = false;
	LWLockRelease(runner_shared->lock);
	there = look(context, &list, &notify, timeout);
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
		call_again(timeout, runner_trim_history());
	if (notify)
		call_again(timeout, pipeline_notifier_start());
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
		if (runner_reap_workers())
			look_for_lost_runs = true;
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
