/*
 * alert_shmem.c
 *	  Which databases have a notifier, in shared memory, and how it is woken,
 *	  started and kept away.
 *
 * The notifier of a database is started by the runner's scheduler, which
 * exists once per database and knows of copies.  Whoever raises an alert wakes
 * the notifier at commit; where there is none, a hook of the runner's sees to
 * it that there will be one.  All that is exact here is that a database has at
 * most one notifier: it takes the slot before it looks at a table.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "alert/alert_notify.h"

#define MAX_DATABASES 64
#define RETRY_MS 1000
/* A notifier that ended sooner is waited with. */
#define SOUND_MS 10000

typedef struct NotifierSlot
{
	Oid			database;		/* InvalidOid: free */
	bool		held;			/* none may run: the database is needed alone */
	bool		prepared;		/* there may be a transaction with something for it */
	pid_t		pid;			/* of the notifier, or 0 */
	struct PGPROC *proc;
} NotifierSlot;

typedef struct NotifierShared
{
	LWLock	   *lock;			/* protects everything below */
	NotifierSlot slots[MAX_DATABASES];
} NotifierShared;

static NotifierShared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static bool wake_at_commit = false;

void		(*pipeline_notifier_absent_hook) (Oid database) = NULL;

/* ---- shared memory ------------------------------------------------------------- */

static void
request_shmem(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(sizeof(NotifierShared));
	RequestNamedLWLockTranche("pipeline_notifier", 1);
}

static void
startup_shmem(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pipeline notifier", sizeof(NotifierShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(NotifierShared));
		shared->lock = &GetNamedLWLockTranche("pipeline_notifier")->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for shared memory; called while shared libraries are preloaded. */
void
pipeline_notifier_shmem_install(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/* Was the library preloaded, so that there can be a notifier? */
bool
pipeline_notifier_is_preloaded(void)
{
	return shared != NULL;
}

/* The slot of a database, or a free one, or NULL; the caller holds the lock. */
static NotifierSlot *
slot_of(Oid database, bool create)
{
	NotifierSlot *free_slot = NULL;

	for (int i = 0; i < MAX_DATABASES; i++)
	{
		NotifierSlot *slot = &shared->slots[i];

		if (slot->database == database)
			return slot;
		if (!OidIsValid(slot->database) && free_slot == NULL)
			free_slot = slot;
	}
	if (create && free_slot != NULL)
	{
		memset(free_slot, 0, sizeof(NotifierSlot));
		free_slot->database = database;
		return free_slot;
	}
	return NULL;
}

/* ---- the notifier's own -------------------------------------------------------- */

/* Give the slot up, and have the scheduler look whether another is needed. */
static void
give_up_slot(int code, Datum database)
{
	NotifierSlot *slot;
	bool		held = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = slot_of(DatumGetObjectId(database), false);
	if (slot != NULL)
	{
		held = slot->held;
		slot->pid = 0;
		slot->proc = NULL;
		if (!held)
			slot->database = InvalidOid;
	}
	LWLockRelease(shared->lock);
	if (!held && pipeline_notifier_absent_hook)
		pipeline_notifier_absent_hook(DatumGetObjectId(database));
}

/* Become the notifier of a database; false when it has one or may have none. */
bool
pipeline_notifier_take(Oid database)
{
	NotifierSlot *slot;
	bool		ours;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = slot_of(database, true);
	ours = slot != NULL && slot->pid == 0 && !slot->held;
	if (ours)
	{
		slot->pid = MyProcPid;
		slot->proc = MyProc;
		/* One that was prepared before the server was started is known to nobody. */
		slot->prepared = true;
	}
	LWLockRelease(shared->lock);
	if (ours)
		before_shmem_exit(give_up_slot, ObjectIdGetDatum(database));
	return ours;
}

/* ---- waking ---------------------------------------------------------------------- */

/* Wake the notifier of a database, or have one started. */
void
pipeline_notifier_wake(Oid database)
{
	NotifierSlot *slot;
	bool		there;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_SHARED);
	slot = slot_of(database, false);
	there = slot != NULL && slot->proc != NULL;
	if (there)
		SetLatch(&slot->proc->procLatch);
	LWLockRelease(shared->lock);
	if (!there && pipeline_notifier_absent_hook)
		pipeline_notifier_absent_hook(database);
}

/*
 * Note whether there may be a prepared transaction with something for the
 * notifier of this database; returns what was noted before.
 */
bool
pipeline_notifier_note_prepared(bool prepared)
{
	NotifierSlot *slot;
	bool		before = false;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = slot_of(MyDatabaseId, false);
	if (slot != NULL)
	{
		before = slot->prepared;
		slot->prepared = prepared;
	}
	LWLockRelease(shared->lock);
	return before;
}

/*
 * Wake it when the current transaction commits.  One that is prepared is
 * committed by whom we hear nothing of: the notifier is told to look more often.
 */
void
pipeline_notifier_wake_at_commit(void)
{
	wake_at_commit = true;
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	bool		wake = wake_at_commit;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	wake_at_commit = false;
	if (wake && event == XACT_EVENT_PREPARE)
		(void) pipeline_notifier_note_prepared(true);
	if (wake && event != XACT_EVENT_ABORT)
		pipeline_notifier_wake(MyDatabaseId);
}

/* At load of the library. */
void
pipeline_notifier_wake_init(void)
{
	RegisterXactCallback(at_end_of_transaction, NULL);
}

/* ---- the door, for the runner ------------------------------------------------------ */

/* Has the database a notifier? */
bool
pipeline_notifier_runs(Oid database)
{
	NotifierSlot *slot;
	bool		runs;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	slot = slot_of(database, false);
	runs = slot != NULL && slot->pid != 0;
	LWLockRelease(shared->lock);
	return runs;
}

/*
 * Keep notifiers away from a database, and stop the one that is there; or let
 * them again.  True when one is there.
 */
bool
pipeline_notifier_hold(Oid database, bool held)
{
	NotifierSlot *slot;
	bool		runs;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = slot_of(database, held);
	runs = slot != NULL && slot->pid != 0;
	if (slot != NULL)
	{
		slot->held = held;
		if (runs && held)
			kill(slot->pid, SIGTERM);
		else if (!runs && !held)
			slot->database = InvalidOid;
	}
	LWLockRelease(shared->lock);
	return runs;
}

static BackgroundWorkerHandle *
register_notifier(void)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle = NULL;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pipeline", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pipeline_notifier_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pipeline notifier of database %u", MyDatabaseId);
	strlcpy(worker.bgw_type, "pipeline notifier", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		handle = NULL;
	MemoryContextSwitchTo(old);
	return handle;
}

/*
 * Start the notifier of this database unless it runs.  For the scheduler, which
 * keeps the handle of the last; outside a transaction.  Returns in how many
 * milliseconds to call again, or -1.
 */
long
pipeline_notifier_start(void)
{
	static BackgroundWorkerHandle *handle = NULL;
	static TimestampTz started = 0;
	static TimestampTz not_before = 0;
	static int	failures = 0;
	TimestampTz now = GetCurrentTimestamp();
	pid_t		pid;

	if (shared == NULL || pipeline_notifier_runs(MyDatabaseId))
		return -1;
	if (handle != NULL)
	{
		/* Its end wakes us; its start is none of our business. */
		if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
			return -1;
		pfree(handle);
		handle = NULL;
		failures = TimestampDifferenceExceeds(started, now, SOUND_MS) ? 0 : Min(failures + 1, 8);
		if (failures > 1)
			not_before = now + (INT64CONST(50000) << failures);
	}
	if (not_before > now)
		return TimestampDifferenceMilliseconds(now, not_before) + 1;
	handle = register_notifier();
	started = now;
	return handle ? -1 : RETRY_MS;
}
