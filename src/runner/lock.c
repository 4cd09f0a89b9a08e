/*
 * lock.c
 *	  Locks on runs and pools that are not locks on rows.
 *
 * Workers that end tasks of one run must not wait for each other's commits, so
 * they share the lock on the run, and only those who need the run to stand
 * still take it alone.  They are locks of the server's lock manager on an
 * object, so that pg_locks shows them, deadlocks are found, and user SQL, which
 * can drop an advisory lock, cannot drop these.  All last until the
 * transaction ends, unless released before.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"

#include "runner/runner.h"

static void
object_tag(LOCKTAG *tag, const char *table, uint64 id)
{
	Oid			relid = get_relname_relid(table, get_namespace_oid("pipeline", false));

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, relid, (uint32) id, (uint16) (id >> 32));
}

/*
 * Take the lock on a run.  Alone: nothing of the run changes but by the
 * caller, except that a ready task may be claimed.
 */
void
runner_run_lock(int64 run_id, bool alone)
{
	LOCKTAG		tag;

	object_tag(&tag, "runs", (uint64) run_id);
	(void) LockAcquire(&tag, alone ? ExclusiveLock : ShareLock, false, false);
}

/* The same alone, without waiting; false when somebody has it. */
bool
runner_run_try_lock(int64 run_id)
{
	LOCKTAG		tag;

	object_tag(&tag, "runs", (uint64) run_id);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Exchange the shared lock for the other.  In between the run may change, so
 * only before anything was written.
 */
void
runner_run_lock_alone(int64 run_id)
{
	LOCKTAG		tag;

	object_tag(&tag, "runs", (uint64) run_id);
	LockRelease(&tag, ShareLock, false);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Take the lock on a pool, which whoever claims from it has; false: taken. */
bool
runner_pool_try_lock(int32 pool_id)
{
	LOCKTAG		tag;

	object_tag(&tag, "pools", (uint64) pool_id);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Give it back: nothing was claimed. */
void
runner_pool_unlock(int32 pool_id)
{
	LOCKTAG		tag;

	object_tag(&tag, "pools", (uint64) pool_id);
	LockRelease(&tag, ExclusiveLock, false);
}
