/*
 * at_commit.c
 *	  What is to be done when the current transaction has committed.
 *
 * Nobody is woken, and no worker stopped, for what may yet be rolled back.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "runner/runner.h"

/* A subtransaction that is rolled back takes its requests with it. */
typedef struct StopRequest
{
	int64		attempt_id;
	int			nest_level;		/* of the transaction that asked */
} StopRequest;

/* What the current transaction wants done when it has committed. */
static bool tell_at_commit = false; /* those who wait for a change */
static bool wake_at_commit = false; /* the scheduler too */
static TimestampTz ready_at_commit = DT_NOEND;	/* least rank of tasks made ready */
static bool ended_at_commit = false;	/* those who wait for the end of a run */
static Oid	help_role = InvalidOid;
static int	help_tasks = 0;		/* ready tasks of help_role for other workers */
static List *stop_at_commit = NIL;	/* of StopRequest */
static bool callback_registered = false;

/* Tell the workers of this database of a ready task of that rank. */
static void
tell_readied(TimestampTz rank)
{
	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < runner_shared->nslots; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];
		uint64		least;

		if (slot->state == SLOT_FREE || slot->database != MyDatabaseId)
			continue;
		least = pg_atomic_read_u64(&slot->readied);
		while ((TimestampTz) least > rank &&
			   !pg_atomic_compare_exchange_u64(&slot->readied, &least, (uint64) rank))
			;
	}
	LWLockRelease(runner_shared->lock);
}

/*
 * All slots are busy: the scheduler is to look when that changes.  False when it
 * has changed meanwhile.
 */
static bool
note_starved(Oid role)
{
	DatabaseSlot *slot;
	bool		noted;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	slot = runner_database_slot(MyDatabaseId, false);
	noted = slot == NULL || slot->starved;
	LWLockRelease(runner_shared->lock);
	if (noted)
		return true;
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	slot = runner_database_slot(MyDatabaseId, false);
	if (slot != NULL)
		slot->starved = true;
	LWLockRelease(runner_shared->lock);
	return runner_workers_to_find(role) == 0;
}

/* Do what the committed transaction asked for. */
static void
act_on_commit(void)
{
	ListCell   *lc;

	/* Before anybody is woken to look. */
	if (ready_at_commit != DT_NOEND)
		tell_readied(ready_at_commit);
	/* The list lives in TopTransactionContext, which is still there. */
	foreach(lc, stop_at_commit)
		runner_stop_attempt(((StopRequest *) lfirst(lc))->attempt_id,
							STOP_CANCEL, SIGINT);
	/* With every slot busy the scheduler could do nothing for them, yet. */
	if (help_tasks > 0 && (runner_workers_to_find(help_role) > 0 || !note_starved(help_role)) &&
		runner_wake_idle_workers(MyDatabaseId, help_role, help_tasks) < help_tasks)
		wake_at_commit = true;
	if (wake_at_commit)
		runner_wake_scheduler(MyDatabaseId);
	else if (tell_at_commit)
		ConditionVariableBroadcast(&runner_shared->changed);
	if (ended_at_commit)
		ConditionVariableBroadcast(&runner_shared->ended);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	/* COMMIT PREPARED, in whatever session, would wake nobody. */
	if (event == XACT_EVENT_PRE_PREPARE && (wake_at_commit || stop_at_commit != NIL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has started, changed or cancelled runs or pipelines"),
				 errhint("Commit it in one phase.")));
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		act_on_commit();
	tell_at_commit = wake_at_commit = ended_at_commit = false;
	ready_at_commit = DT_NOEND;
	help_role = InvalidOid;
	help_tasks = 0;
	stop_at_commit = NIL;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	ListCell   *lc;

	foreach(lc, stop_at_commit)
	{
		StopRequest *request = lfirst(lc);

		if (request->nest_level < level)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			request->nest_level = level - 1;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			stop_at_commit = foreach_delete_current(stop_at_commit, lc);
	}
}

/* Wake those who wait for a change when this transaction commits. */
void
runner_at_commit_tell(void)
{
	if (!runner_is_preloaded())
		return;
	if (!callback_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
	}
	callback_registered = true;
	tell_at_commit = true;
}

/* A task of that rank is ready when this transaction commits. */
void
runner_at_commit_ready(TimestampTz rank)
{
	runner_at_commit_tell();
	ready_at_commit = Min(ready_at_commit, rank);
}

/* The least rank of the tasks that this transaction has made ready. */
TimestampTz
runner_readied_here(void)
{
	return ready_at_commit;
}

/* Wake the scheduler as well. */
void
runner_at_commit_wake(void)
{
	runner_at_commit_tell();
	wake_at_commit = tell_at_commit;
}

/* Wake those who wait for the end of a run, and the scheduler. */
void
runner_at_commit_run_ended(void)
{
	runner_at_commit_wake();
	ended_at_commit = tell_at_commit;
}

/* Find workers for that many ready tasks of a role when it commits. */
void
runner_at_commit_help(Oid role, int tasks)
{
	runner_at_commit_tell();
	help_role = role;
	help_tasks = tasks;
}

/* Stop an attempt's worker when this transaction commits. */
void
runner_at_commit_stop(int64 attempt_id)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	StopRequest *request = palloc_object(StopRequest);

	request->attempt_id = attempt_id;
	request->nest_level = GetCurrentTransactionNestLevel();
	stop_at_commit = lappend(stop_at_commit, request);
	MemoryContextSwitchTo(old);
	runner_at_commit_tell();
}
