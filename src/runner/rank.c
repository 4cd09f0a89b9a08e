/*
 * rank.c
 *	  The order of ready tasks.
 *
 * All ready tasks grow older at the same pace, so priority with ageing needs no
 * clock: whoever has the least (ready_at - priority * ageing) goes first, now
 * and later.
 *
 * Each claim takes the least rank of an index whose lower end is full of entries
 * of tasks that were claimed before, and while somebody holds an old snapshot,
 * as a report of an hour does, they cannot be removed.  So a worker remembers,
 * for each pool, below which rank it found nothing, and begins there.  Whoever
 * readies a task lowers that, in the slots of shared memory, when he has
 * committed; a worker takes what it says before it looks, so that what it does
 * not see yet it is told of before it looks again.  What its own transaction has
 * readied it sees at once, and is told of by nobody yet.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

/* Forget now and then what was found, for those who repair our tables by hand. */
#define REMEMBER (10 * USECS_PER_SEC)

typedef struct PoolStart
{
	char	   *pool;
	TimestampTz rank;			/* no ready task has less */
} PoolStart;

static List *starts = NIL;		/* in TopMemoryContext */
static TimestampTz forgotten_at = 0;
static bool callbacks = false;

/* The rank of a task that is ready since then: it becomes ready now. */
TimestampTz
runner_rank(TimestampTz ready_at, int priority)
{
	TimestampTz rank = ready_at - (int64) priority * pipeline_priority_ageing * USECS_PER_SEC;

	runner_at_commit_ready(rank);
	return rank;
}

static void
forget_starts(void)
{
	ListCell   *lc;

	foreach(lc, starts)
		((PoolStart *) lfirst(lc))->rank = DT_NOBEGIN;
}

/* What an aborted transaction saw itself do was never done. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		forget_starts();
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
					  SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_starts();
}

/*
 * Before a look at the ready tasks: take note of those that became ready since
 * the last, the least of which has that rank, and of those that this transaction
 * has readied.
 */
void
runner_begin_look(TimestampTz readied)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	if (!callbacks)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		callbacks = true;
	}
	if (now - forgotten_at > REMEMBER)
	{
		forgotten_at = now;
		readied = DT_NOBEGIN;
	}
	readied = Min(readied, runner_readied_here());
	foreach(lc, starts)
	{
		PoolStart  *start = lfirst(lc);

		start->rank = Min(start->rank, readied);
	}
}

/*
 * Where to begin to look in a pool; valid until the next call.  What is set there
 * is where to begin the next time.
 */
TimestampTz *
runner_pool_start(const char *pool)
{
	MemoryContext old;
	PoolStart  *start;
	ListCell   *lc;

	foreach(lc, starts)
	{
		start = lfirst(lc);
		if (strcmp(start->pool, pool) == 0)
			return &start->rank;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	start = palloc_object(PoolStart);
	start->pool = pstrdup(pool);
	start->rank = DT_NOBEGIN;
	starts = lappend(starts, start);
	MemoryContextSwitchTo(old);
	return &start->rank;
}

PG_FUNCTION_INFO_V1(pipeline_rank);

/* SQL: _rank(priority): of a task that becomes ready now. */
Datum
pipeline_rank(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(runner_rank(GetCurrentTimestamp(), PG_GETARG_INT32(0)));
}
