/*
 * start.c
 *	  How a scheduler starts workers, and what it does when it cannot.
 *
 * A slot is reserved first and the worker takes it when it begins.  When the
 * server has no place for another process the tasks stay ready and it is tried
 * again every second; when a role's workers end before they could connect,
 * after a wait that grows, until its pipelines are paused.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "runner/process.h"
#include "runner/runner.h"

#define RETRY_MS 1000

/* A worker that this process has started. */
typedef struct StartedWorker
{
	BackgroundWorkerHandle *handle;
	int			slot;
	WorkerStart start;
} StartedWorker;

/* A role whose last workers could not connect. */
typedef struct StartFailures
{
	Oid			role;
	int			count;
	TimestampTz not_before;
} StartFailures;

static List *workers = NIL;		/* of StartedWorker */
static List *failures = NIL;	/* of StartFailures */
static bool warned = false;		/* that the server has no place left */

static StartFailures *
find_failures(Oid role)
{
	ListCell   *lc;

	foreach(lc, failures)
	{
		if (((StartFailures *) lfirst(lc))->role == role)
			return lfirst(lc);
	}
	return NULL;
}

/* How often in a row did workers of this role fail to connect? */
int
runner_start_failures(Oid role)
{
	StartFailures *f = find_failures(role);

	return f ? f->count : 0;
}

/* Begin to count anew. */
void
runner_forget_start_failures(Oid role)
{
	StartFailures *f = find_failures(role);

	if (f)
		failures = list_delete_ptr(failures, f);
}

static void
note_failure(Oid role)
{
	StartFailures *f = find_failures(role);
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (f == NULL)
	{
		f = palloc0_object(StartFailures);
		f->role = role;
		failures = lappend(failures, f);
	}
	MemoryContextSwitchTo(old);
	f->count++;
	f->not_before = GetCurrentTimestamp() + (INT64CONST(100000) << Min(f->count, 6));
}

/* Notice the workers that have ended, and how; true when any has. */
bool
runner_reap_workers(void)
{
	ListCell   *lc;
	bool		any = false;

	foreach(lc, workers)
	{
		StartedWorker *w = lfirst(lc);
		WorkerSlot *slot = &runner_shared->slots[w->slot];
		pid_t		pid;
		bool		ours;
		bool		connected;

		if (GetBackgroundWorkerPid(w->handle, &pid) != BGWH_STOPPED)
			continue;
		LWLockAcquire(runner_shared->lock, LW_SHARED);
		ours = slot->generation == w->start.generation;
		connected = slot->connected;
		LWLockRelease(runner_shared->lock);
		if (ours && connected)
			runner_forget_start_failures(w->start.role);
		else if (ours)
			note_failure(w->start.role);
		/* A worker that never ran leaves its reservation behind. */
		runner_release_slot(w->slot, w->start.generation);
		pfree(w->handle);
		pfree(w);
		workers = foreach_delete_current(workers, lc);
		any = true;
	}
	return any;
}

static bool
start_worker(int slot, WorkerStart start)
{
	BackgroundWorker worker = {0};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	StartedWorker *w = palloc0_object(StartedWorker);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pipeline", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pipeline_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pipeline worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pipeline worker", BGW_MAXLEN);
	worker.bgw_main_arg = Int32GetDatum(slot);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &start, sizeof(start));
	w->slot = slot;
	w->start = start;
	if (RegisterDynamicBackgroundWorker(&worker, &w->handle))
		workers = lappend(workers, w);
	else
	{
		pfree(w);
		w = NULL;
	}
	MemoryContextSwitchTo(old);
	return w != NULL;
}

/*
 * Find workers for a role's ready tasks: wake idle ones, start new ones.
 * Returns milliseconds after which to try again, or -1.
 */
long
runner_start_workers(Oid database, Oid role, int tasks)
{
	StartFailures *f = find_failures(role);
	TimestampTz now = GetCurrentTimestamp();

	tasks -= runner_wake_idle_workers(database, role, tasks);
	if (tasks > 0 && f && f->not_before > now)
		return TimestampDifferenceMilliseconds(now, f->not_before) + 1;
	for (; tasks > 0; tasks--)
	{
		WorkerStart start = {.database = database, .role = role};
		int			slot = runner_reserve_slot(database, role, &start.generation);

		if (slot < 0)
		{
			/*
			 * Busy workers look for more when they end; idle ones make room.
			 * A role without any worker would wait for ever for one that
			 * always finds more.
			 */
			return runner_ask_to_leave(role, tasks, !runner_has_worker(database, role)) ? -1 : RETRY_MS;
		}
		if (!start_worker(slot, start))
		{
			runner_release_slot(slot, start.generation);
			if (!warned)
				ereport(WARNING,
						(errmsg("no place for a pipeline worker: max_worker_processes (%d) is reached",
								max_worker_processes),
						 errdetail("Ready tasks stay ready; it is tried again every second."),
						 errhint("Raise max_worker_processes and restart the server.")));
			warned = true;
			return RETRY_MS;
		}
		warned = false;
	}
	return -1;
}
