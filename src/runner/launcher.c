/*
 * launcher.c
 *	  The one static process: it keeps a scheduler running in each database
 *	  that has the extension.
 *
 * It starts when recovery has finished, so never on a standby.  At its start
 * it asks every connectable database once, by starting a scheduler there,
 * which leaves when it finds no extension; later the first create_pipeline()
 * of a database wakes it at commit.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
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

#define RETRY_MS 1000
/* Schedulers that may be starting, or finding nothing, at one time. */
#define PROBES_AT_ONCE 2

/* What the launcher itself knows of a database slot. */
typedef struct Started
{
	Oid			database;
	BackgroundWorkerHandle *handle;
	TimestampTz not_before;		/* after a failure */
	int			failures;
} Started;

static Started started[MAX_DATABASES];
static List *to_probe = NIL;	/* oids; in TopMemoryContext */

/* Begin a transaction of our own, in a known state whatever the settings. */
void
runner_begin_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	pgstat_report_activity(STATE_RUNNING, activity);
}

/* End it. */
void
runner_commit_transaction(void)
{
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Describe and register the launcher; while libraries are preloaded. */
void
runner_register_launcher(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "pipeline", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pipeline_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pipeline launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pipeline launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* List the databases that one can connect to; or ask whether one exists. */
static bool
scan_databases(Oid wanted)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	runner_begin_transaction("pipeline: list databases");
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (form->oid == wanted && form->datallowconn)
			found = true;
		if (OidIsValid(wanted) || !form->datallowconn || form->datistemplate)
			continue;
		old = MemoryContextSwitchTo(TopMemoryContext);
		to_probe = lappend_oid(to_probe, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	runner_commit_transaction();
	return found;
}

static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	runner_shared->launcher = NULL;
	LWLockRelease(runner_shared->lock);
}

/* Give databases that were never asked a slot, a few at a time. */
static void
admit_probes(void)
{
	int			probing = 0;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseSlot *slot = &runner_shared->databases[i];

		if (OidIsValid(slot->database) && !slot->settled)
			probing++;
	}
	while (to_probe != NIL && probing < PROBES_AT_ONCE)
	{
		DatabaseSlot *slot = runner_database_slot(linitial_oid(to_probe), true);

		if (slot == NULL)
			break;
		slot->wanted = true;
		to_probe = list_delete_first(to_probe);
		probing++;
	}
	LWLockRelease(runner_shared->lock);
}

static bool
start_scheduler(Oid database, Started *mine)
{
	BackgroundWorker worker = {0};
	MemoryContext old;
	bool		ok;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pipeline", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pipeline_scheduler_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pipeline scheduler of database %u", database);
	strlcpy(worker.bgw_type, "pipeline scheduler", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	old = MemoryContextSwitchTo(TopMemoryContext);
	ok = RegisterDynamicBackgroundWorker(&worker, &mine->handle);
	MemoryContextSwitchTo(old);
	return ok;
}

/* Notice a scheduler that has ended; it left its verdict in the slot. */
static void
reap(Started *mine, DatabaseSlot *slot)
{
	pid_t		pid;

	if (mine->handle == NULL ||
		GetBackgroundWorkerPid(mine->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(mine->handle);
	mine->handle = NULL;
	if (slot->settled && !slot->wanted)
		mine->failures = 0;
	else
	{
		/* It failed, or was ended by somebody. */
		mine->failures = Min(mine->failures + 1, 6);
		mine->not_before = GetCurrentTimestamp() +
			(INT64CONST(50000) << mine->failures);
	}
}

/* One look at a database; returns milliseconds until the next is due. */
static long
mind_database(int i)
{
	DatabaseSlot *slot = &runner_shared->databases[i];
	Started    *mine = &started[i];
	Oid			database;
	bool		start;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	database = slot->database;
	if (mine->database != database)
	{
		/* The slot was freed and taken by another database. */
		if (mine->handle)
			pfree(mine->handle);
		memset(mine, 0, sizeof(Started));
		mine->database = database;
	}
	reap(mine, slot);
	/* One that a launcher before us started may still be there. */
	start = OidIsValid(database) && slot->wanted && !slot->held &&
		mine->handle == NULL && slot->pid == 0;
	if (OidIsValid(database) && !slot->wanted && !slot->held && mine->handle == NULL && slot->settled)
		slot->database = InvalidOid;
	LWLockRelease(runner_shared->lock);

	if (!start)
		return -1;
	if (mine->not_before > now)
		return TimestampDifferenceMilliseconds(now, mine->not_before) + 1;
	if (!scan_databases(database))
	{
		LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
		slot->wanted = false;
		slot->settled = true;
		LWLockRelease(runner_shared->lock);
		return 0;
	}
	return start_scheduler(database, mine) ? -1 : RETRY_MS;
}

static long
sooner(long a, long b)
{
	if (a < 0 || b < 0)
		return Max(a, b);
	return Min(a, b);
}

/* Entry point. */
void
pipeline_launcher_main(Datum arg)
{
	uint32		event;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	runner_shared->launcher = MyProc;
	LWLockRelease(runner_shared->lock);
	before_shmem_exit(forget_launcher, (Datum) 0);
	event = WaitEventExtensionNew("PipelineLauncherMain");
	(void) scan_databases(InvalidOid);

	for (;;)
	{
		long		timeout = -1;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		admit_probes();
		for (int i = 0; i < MAX_DATABASES; i++)
			timeout = sooner(timeout, mind_database(i));
		if (timeout == 0)
			continue;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout > 0 ? WL_TIMEOUT : 0),
						 timeout, event);
	}
}
