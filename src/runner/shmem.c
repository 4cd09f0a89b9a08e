/*
 * shmem.c
 *	  The runner's shared memory: who is alive, and how to wake it.
 *
 * It holds hints only; runs and tasks live in tables.  One fact is exact: an
 * attempt whose id stands in no slot of its database has no process.  A worker writes the id
 * into its slot before it commits the claim, and the slot is cleared by
 * before_shmem_exit() after the transaction has ended; a crash of the server
 * clears all of it.
 *
 * One LWLock protects everything.  Nothing is done under it but reading,
 * writing and signalling, so that a signal cannot reach a process that has
 * moved on to another attempt.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "runner/runner.h"

RunnerShared *runner_shared = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(RunnerShared, slots),
					mul_size(pipeline_max_workers, sizeof(WorkerSlot)));
}

static void
request_shmem(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("pipeline", 1);
}

static void
startup_shmem(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	runner_shared = ShmemInitStruct("pipeline runner", shared_size(), &found);
	if (!found)
	{
		memset(runner_shared, 0, shared_size());
		runner_shared->lock = &GetNamedLWLockTranche("pipeline")->lock;
		runner_shared->nslots = pipeline_max_workers;
		ConditionVariableInit(&runner_shared->changed);
		ConditionVariableInit(&runner_shared->ended);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for shared memory; called while shared libraries are preloaded. */
void
runner_shmem_install(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/* Was the library preloaded, so that there can be workers? */
bool
runner_is_preloaded(void)
{
	return runner_shared != NULL;
}

/* Raise 55000 when it was not. */
void
runner_require_preload(void)
{
	if (!runner_is_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline is not in shared_preload_libraries"),
				 errhint("Add pipeline to shared_preload_libraries and restart the server: runs need its background workers.")));
}

/*
 * Find the slot of a database, or take a free one.  NULL when there is none.
 * The caller holds the lock, in exclusive mode to create.
 */
DatabaseSlot *
runner_database_slot(Oid database, bool create)
{
	DatabaseSlot *free_slot = NULL;

	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseSlot *slot = &runner_shared->databases[i];

		if (slot->database == database)
			return slot;
		if (!OidIsValid(slot->database) && free_slot == NULL)
			free_slot = slot;
	}
	if (create && free_slot != NULL)
	{
		memset(free_slot, 0, sizeof(DatabaseSlot));
		free_slot->database = database;
		return free_slot;
	}
	return NULL;
}

/* Wake the launcher, so that it looks at the databases again. */
void
runner_wake_launcher(void)
{
	LWLockAcquire(runner_shared->lock, LW_SHARED);
	if (runner_shared->launcher)
		SetLatch(&runner_shared->launcher->procLatch);
	LWLockRelease(runner_shared->lock);
}

/*
 * Wake the scheduler of a database, having the launcher start it if need be,
 * and everybody who waits for a change.
 */
void
runner_wake_scheduler(Oid database)
{
	DatabaseSlot *slot;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	slot = runner_database_slot(database, true);
	if (slot != NULL)
		slot->wanted = true;
	if (slot != NULL && slot->proc != NULL)
		SetLatch(&slot->proc->procLatch);
	else if (runner_shared->launcher)
		SetLatch(&runner_shared->launcher->procLatch);
	LWLockRelease(runner_shared->lock);
	ConditionVariableBroadcast(&runner_shared->changed);
}

/* Wake idle workers of a role, `most` at most; returns how many. */
int
runner_wake_idle_workers(Oid database, Oid role, int most)
{
	int			woken = 0;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < runner_shared->nslots && woken < most; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];

		if (slot->database != database || slot->role != role || slot->leave)
			continue;
		if (slot->state == SLOT_IDLE && slot->proc != NULL)
			SetLatch(&slot->proc->procLatch);
		else if (slot->state != SLOT_STARTING)
			continue;
		woken++;
	}
	LWLockRelease(runner_shared->lock);
	return woken;
}

/*
 * Send a signal to the process of an attempt of this database, and note why.
 * The lock keeps the process from moving on in between.  Each database numbers
 * its attempts from 1, so the number alone does not tell them apart.
 */
bool
runner_stop_attempt(int64 attempt_id, StopReason reason, int signal)
{
	bool		found = false;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < runner_shared->nslots && !found; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];

		if (slot->state != SLOT_BUSY || slot->database != MyDatabaseId ||
			slot->attempt_id != attempt_id)
			continue;
		slot->stop = reason;
		kill(slot->pid, signal);
		found = true;
	}
	LWLockRelease(runner_shared->lock);
	return found;
}

/* Does a process own the attempt of this database? */
bool
runner_attempt_alive(int64 attempt_id)
{
	bool		found = false;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < runner_shared->nslots && !found; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];

		found = slot->state == SLOT_BUSY && slot->database == MyDatabaseId &&
			(slot->attempt_id == attempt_id || slot->next_attempt_id == attempt_id);
	}
	LWLockRelease(runner_shared->lock);
	return found;
}

/* What the attempt of this database has said of itself; false: nothing. */
bool
runner_read_progress(int64 attempt_id, Progress *progress)
{
	bool		found = false;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < runner_shared->nslots && !found; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];

		found = slot->state == SLOT_BUSY && slot->database == MyDatabaseId &&
			slot->attempt_id == attempt_id && slot->progress.at != 0;
		if (found)
			*progress = slot->progress;
	}
	LWLockRelease(runner_shared->lock);
	return found;
}

/* Has the role a worker here, or one that is starting? */
bool
runner_has_worker(Oid database, Oid role)
{
	bool		found = false;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < runner_shared->nslots && !found; i++)
		found = runner_shared->slots[i].state != SLOT_FREE &&
			runner_shared->slots[i].database == database &&
			runner_shared->slots[i].role == role;
	LWLockRelease(runner_shared->lock);
	return found;
}

/*
 * Does somebody have the slot?  A reservation that nobody took up for a minute
 * was forgotten.
 */
static bool
is_taken(const WorkerSlot *slot)
{
	return slot->state != SLOT_FREE &&
		!(slot->state == SLOT_STARTING &&
		  slot->reserved_at < GetCurrentTimestamp() - USECS_PER_MINUTE);
}

/* How many slots a role has, in all databases; the caller holds the lock. */
static int
slots_of(Oid role)
{
	int			n = 0;

	for (int i = 0; i < runner_shared->nslots; i++)
		n += runner_shared->slots[i].role == role && is_taken(&runner_shared->slots[i]);
	return n;
}

/* Has the role as many workers as it may have?  The caller holds the lock. */
static bool
has_all_it_may(Oid role)
{
	return pipeline_max_active_workers_per_role > 0 &&
		slots_of(role) >= pipeline_max_active_workers_per_role;
}

/* How many workers has the role, in all databases, with those that start? */
int
runner_count_workers(Oid role)
{
	int			n;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	n = slots_of(role);
	LWLockRelease(runner_shared->lock);
	return n;
}

/* How many slots are not busy, so that a task of the role could run there? */
int
runner_workers_to_find(Oid role)
{
	int			n = 0;
	int			busy = 0;

	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < runner_shared->nslots; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];

		n += slot->state != SLOT_BUSY;
		busy += slot->state == SLOT_BUSY && slot->role == role;
	}
	LWLockRelease(runner_shared->lock);
	if (pipeline_max_active_workers_per_role > 0)
		n = Min(n, Max(0, pipeline_max_active_workers_per_role - busy));
	return n;
}

/*
 * Ask idle workers that do not serve this role here to make room, `most` at
 * most.  Failing that, a busy one when it has ended its task, if `urgent`.  A
 * role that has all it may have gets a place only from its own workers in other
 * databases.  False when it is urgent and nobody could be asked: those who have
 * the places have not begun yet.
 */
bool
runner_ask_to_leave(Oid role, int most, bool urgent)
{
	bool		own;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	own = has_all_it_may(role);
	for (int i = 0; i < runner_shared->nslots && most > 0; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];

		if (own && slot->role != role)
			continue;
		/* One that was asked and has not gone yet is enough. */
		if ((slot->state == SLOT_BUSY || slot->state == SLOT_IDLE) && slot->leave)
			urgent = false;
		if (slot->state != SLOT_IDLE || slot->leave ||
			(slot->role == role && slot->database == MyDatabaseId))
			continue;
		slot->leave = true;
		SetLatch(&slot->proc->procLatch);
		urgent = false;
		most--;
	}
	for (int i = 0; i < runner_shared->nslots && urgent; i++)
	{
		if (runner_shared->slots[i].state != SLOT_BUSY ||
			(own && runner_shared->slots[i].role != role))
			continue;
		runner_shared->slots[i].leave = true;
		urgent = false;
	}
	LWLockRelease(runner_shared->lock);
	return !urgent;
}

/*
 * Reserve a slot for a new worker; returns its number, or -1 when there is none
 * or the role has all it may have.  In that case the scheduler of the database
 * is woken when a slot becomes free.
 */
int
runner_reserve_slot(Oid database, Oid role, uint32 *generation)
{
	int			found = -1;
	bool		may;

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	may = !has_all_it_may(role);
	for (int i = 0; may && i < runner_shared->nslots && found < 0; i++)
	{
		WorkerSlot *slot = &runner_shared->slots[i];
		uint32		next = slot->generation + 1;

		if (is_taken(slot))
			continue;
		memset(slot, 0, sizeof(WorkerSlot));
		pg_atomic_init_u64(&slot->readied, (uint64) DT_NOBEGIN);
		slot->state = SLOT_STARTING;
		slot->generation = next;
		slot->database = database;
		slot->role = role;
		slot->reserved_at = GetCurrentTimestamp();
		*generation = next;
		found = i;
	}
	if (found < 0)
	{
		DatabaseSlot *starved = runner_database_slot(database, false);

		if (starved != NULL)
			starved->starved = true;
	}
	LWLockRelease(runner_shared->lock);
	return found;
}

/* Tell the schedulers that wait for a slot; the caller holds the lock. */
static void
wake_starved(void)
{
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseSlot *slot = &runner_shared->databases[i];

		if (!OidIsValid(slot->database) || !slot->starved)
			continue;
		slot->starved = false;
		if (slot->proc != NULL)
			SetLatch(&slot->proc->procLatch);
	}
}

/* A worker has become idle: those who wait for a slot may ask for its own. */
void
runner_tell_starved(void)
{
	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	wake_starved();
	LWLockRelease(runner_shared->lock);
}

/* Free a slot, if it is still of that generation. */
void
runner_release_slot(int number, uint32 generation)
{
	WorkerSlot *slot = &runner_shared->slots[number];

	LWLockAcquire(runner_shared->lock, LW_EXCLUSIVE);
	if (slot->generation == generation)
	{
		slot->state = SLOT_FREE;
		slot->proc = NULL;
		slot->pid = 0;
		slot->attempt_id = 0;
		slot->next_attempt_id = 0;
		wake_starved();
	}
	LWLockRelease(runner_shared->lock);
}
