/*
 * database_hook.c
 *	  Let a database be dropped, renamed, moved or copied although we work
 *	  there.
 *
 * Those commands refuse while sessions are connected.  Ours leave first: the
 * hook marks the database as held, so that the launcher starts nothing there,
 * stops what runs and waits for it to be gone; the mark is taken back when the
 * command has ended, well or not.  Only for those who may do the command.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "alert/alert.h"
#include "runner/runner.h"

/* The commands themselves wait five seconds for sessions to leave. */
#define WAIT_MS 10000

static ProcessUtility_hook_type previous_hook = NULL;

/* The database that the statement needs for itself alone, or InvalidOid. */
static Oid
database_of(Node *stmt)
{
	const char *name = NULL;
	ListCell   *lc;

	if (IsA(stmt, DropdbStmt))
		name = ((DropdbStmt *) stmt)->dbname;
	else if (IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
		name = ((RenameStmt *) stmt)->subname;
	else if (IsA(stmt, AlterDatabaseStmt))
	{
		foreach(lc, ((AlterDatabaseStmt *) stmt)->options)
		{
			if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
				name = ((AlterDatabaseStmt *) stmt)->dbname;
		}
	}
	else if (IsA(stmt, CreatedbStmt))
	{
		name = "template1";
		foreach(lc, ((CreatedbStmt *) stmt)->options)
		{
			if (strcmp(((DefElem *) lfirst(lc))->defname, "template") == 0)
				name = defGetString(lfirst(lc));
		}
	}
	return name ? get_database_oid(name, true) : InvalidOid;
}

/* Mark the database, and stop our processes there; false when there are none. */
static bool
hold(Oid database)
{
	DatabaseSlot *slot;
	bool		any = pipeline_notifier_hold(database, true);

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	/* A worker can outlive the scheduler, after DROP EXTENSION. */
	for (int i = 0; i < runner_shared->nslots && !any; i++)
		any = runner_shared->slots[i].database == database &&
			runner_shared->slots[i].state != SLOT_FREE;
	slot = runner_database_slot(database, any);
	if (slot != NULL)
	{
		slot->held = true;
		any = true;
		if (slot->pid)
			kill(slot->pid, SIGTERM);
	}
	for (int i = 0; i < runner_shared->nslots; i++)
	{
		WorkerSlot *worker = &runner_shared->slots[i];

		if (worker->database != database || worker->state == SLOT_FREE)
			continue;
		if (worker->pid)
			kill(worker->pid, SIGTERM);
		else
			worker->state = SLOT_FREE;	/* it has not begun, and shall not */
	}
	LWLockRelease(runner_shared->lock);
	if (!any)
		(void) pipeline_notifier_hold(database, false);
	return any;
}

static bool
is_empty(Oid database)
{
	DatabaseSlot *slot;
	bool		busy;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	slot = runner_database_slot(database, false);
	busy = slot != NULL && slot->pid != 0;
	for (int i = 0; i < runner_shared->nslots && !busy; i++)
		busy = runner_shared->slots[i].database == database &&
			runner_shared->slots[i].state != SLOT_FREE &&
			runner_shared->slots[i].pid != 0;
	LWLockRelease(runner_shared->lock);
	return !busy && !pipeline_notifier_runs(database);
}

/* Also when the session ends in the middle. */
static void
release(int code, Datum arg)
{
	Oid			database = DatumGetObjectId(arg);
	DatabaseSlot *slot;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	slot = runner_database_slot(database, false);
	if (slot != NULL)
	{
		slot->held = false;
		slot->wanted = true;
	}
	LWLockRelease(runner_shared->lock);
	(void) pipeline_notifier_hold(database, false);
	runner_wake_launcher();
}

static void
wait_until_empty(Oid database)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_MS);

	while (!is_empty(database) && GetCurrentTimestamp() < until)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	ProcessUtility_hook_type next = previous_hook ? previous_hook : standard_ProcessUtility;
	Oid			database = InvalidOid;

	if (context == PROCESS_UTILITY_TOPLEVEL && runner_is_preloaded())
		database = database_of(pstmt->utilityStmt);
	/* The current database can be copied, and nothing else of these. */
	if (!OidIsValid(database) ||
		(database == MyDatabaseId && !IsA(pstmt->utilityStmt, CreatedbStmt)) ||
		!object_ownercheck(DatabaseRelationId, database, GetUserId()) ||
		!hold(database))
	{
		next(pstmt, query, read_only_tree, context, params, env, dest, qc);
		return;
	}
	PG_ENSURE_ERROR_CLEANUP(release, ObjectIdGetDatum(database));
	{
		wait_until_empty(database);
		next(pstmt, query, read_only_tree, context, params, env, dest, qc);
	}
	PG_END_ENSURE_ERROR_CLEANUP(release, ObjectIdGetDatum(database));
	release(0, ObjectIdGetDatum(database));
}

/* Hook into utility commands; while libraries are preloaded. */
void
runner_install_database_hook(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
