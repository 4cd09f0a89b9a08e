/*
 * claim.c
 *	  Take a ready task: which one, and from which pool.
 *
 * A claim locks one ready task with SKIP LOCKED and waits for nobody.  The
 * order is that of "rank": since when a task is ready, less what its priority
 * is worth, so that nothing waits for ever behind a stream of urgent tasks.
 *
 * A task of a pool is claimed under the lock on the pool, which lasts until the
 * claim commits; the slots in use are those of the running tasks, counted each
 * time, so that no slot can leak.  A pool that somebody is claiming from is
 * passed over: he looks for more when he has claimed.  Within a pool nobody
 * overtakes: a task that needs many slots waits at the head until they are
 * free.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "runner/runner.h"
#include "runner/tables.h"

typedef struct Candidate
{
	int64		run_id;
	char	   *task;
	char	   *pipeline;
	TimestampTz rank;
	int32		pool_id;		/* 0: the default pool */
	int			slots;
} Candidate;

/* Candidates that one claim looks at, at most. */
#define MOST_CANDIDATES 256

/* The pipelines that were looked up in this claim. */
typedef struct KnownPipeline
{
	char	   *name;
	bool		runs;
} KnownPipeline;

/* Is the pipeline there and not paused?  Asked once for each. */
static bool
may_run(List **known, const char *pipeline)
{
	ListCell   *lc;
	KnownPipeline *k;
	bool		isnull;

	foreach(lc, *known)
	{
		k = lfirst(lc);
		if (strcmp(k->name, pipeline) == 0)
			return k->runs;
	}
	k = palloc_object(KnownPipeline);
	k->name = pstrdup(pipeline);
	k->runs = runner_find_pipeline(pipeline) &&
		!DatumGetBool(pipeline_row_get(&runner_pipelines, PIPE_paused, &isnull));
	*known = lappend(*known, k);
	return k->runs;
}

/* Ready tasks of a role in a pool, the first `most` that may run. */
static List *
ready_tasks(Oid role, const char *pool, int most, List **known)
{
	TimestampTz *start = runner_pool_start(pool);
	Datum		key[] = {ObjectIdGetDatum(role), CStringGetTextDatum(pool), TimestampTzGetDatum(*start)};
	TimestampTz first = DT_NOEND;
	RowScan		scan;
	List	   *list = NIL;
	bool		isnull;

	pipeline_rows_begin_from(&runner_task_runs, &scan, "task_runs_ready", 3, key);
	while (list_length(list) < most && pipeline_rows_next(&runner_task_runs, &scan))
	{
		Candidate  *c;
		char	   *pipeline = pipeline_row_text(&runner_task_runs, TR_pipeline);
		TimestampTz rank = DatumGetTimestampTz(pipeline_row_get(&runner_task_runs, TR_rank, &isnull));

		first = Min(first, rank);
		if (!may_run(known, pipeline))
			continue;
		c = palloc0_object(Candidate);
		c->run_id = DatumGetInt64(pipeline_row_get(&runner_task_runs, TR_run_id, &isnull));
		c->task = pipeline_row_text(&runner_task_runs, TR_task);
		c->pipeline = pipeline;
		c->rank = rank;
		c->slots = pipeline_row_int4(&runner_task_runs, TR_pool_slots);
		list = lappend(list, c);
	}
	pipeline_rows_end(&runner_task_runs, &scan);
	*start = first;
	return list;
}

/* Slots of a pool that running tasks take. */
static int
slots_in_use(const char *pool)
{
	Datum		key[] = {CStringGetTextDatum(pool)};
	RowScan		scan;
	int			used = 0;

	pipeline_rows_begin(&runner_task_runs, &scan, "task_runs_running", 1, key);
	while (pipeline_rows_next(&runner_task_runs, &scan))
		used += pipeline_row_int4(&runner_task_runs, TR_pool_slots);
	pipeline_rows_end(&runner_task_runs, &scan);
	return used;
}

/* The first of a pool's ready tasks, if the pool has the slots; it is locked. */
static void
offer_pool(Oid role, List **known, int most, Candidate **best, List **rest)
{
	char	   *pool = pipeline_row_text(&runner_pools, POOL_pool);
	int32		pool_id = pipeline_row_int4(&runner_pools, POOL_pool_id);
	int			total = pipeline_row_int4(&runner_pools, POOL_slots);
	int			available = total;
	List	   *ready = ready_tasks(role, pool, most, known);
	ListCell   *lc;
	bool		chosen = false;
	bool		first = true;

	if (ready == NIL || !runner_pool_try_lock(pool_id))
		return;
	available -= slots_in_use(pool);
	foreach(lc, ready)
	{
		Candidate  *c = lfirst(lc);

		/* One that asks for more than there is does not stop the others. */
		if (c->slots > total)
			continue;
		if (c->slots > available)
			break;
		available -= c->slots;
		c->pool_id = pool_id;
		if (first && (*best == NULL || c->rank < (*best)->rank))
		{
			if (*best)
			{
				runner_pool_unlock((*best)->pool_id);
				*rest = lappend(*rest, *best);
			}
			*best = c;
			chosen = true;
		}
		else
			*rest = lappend(*rest, c);
		first = false;
	}
	if (!chosen)
		runner_pool_unlock(pool_id);
}

/*
 * What a role could run now, the best first.  At most one is of a pool that
 * is locked; those of other pools only count.
 */
static List *
candidates(Oid role, int most, int *others)
{
	List	   *known = NIL;
	List	   *rest = NIL;
	List	   *list = ready_tasks(role, "default", most, &known);
	Candidate  *pooled = NULL;
	RowScan		scan;

	pipeline_rows_begin(&runner_pools, &scan, "pools_pkey", 0, NULL);
	while (pipeline_rows_next(&runner_pools, &scan))
		offer_pool(role, &known, most, &pooled, &rest);
	pipeline_rows_end(&runner_pools, &scan);
	*others = list_length(rest);
	if (pooled)
	{
		int			place = 0;

		while (place < list_length(list) &&
			   ((Candidate *) list_nth(list, place))->rank <= pooled->rank)
			place++;
		list = list_insert_nth(list, place, pooled);
	}
	return list;
}

/* A jsonb column of a table's current row, copied and unpacked. */
static Jsonb *
row_jsonb(RowTable *t, int column)
{
	bool		isnull;
	Datum		value = pipeline_row_get(t, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static Interval *
row_interval(RowTable *t, int column)
{
	bool		isnull;
	Datum		value = pipeline_row_get(t, column, &isnull);

	return isnull ? NULL : DatumGetIntervalP(datumCopy(value, false, sizeof(Interval)));
}

/* Open the attempt; the task's and the run's rows are the current ones. */
static void
open_attempt(Claim *claim, TimestampTz now)
{
	RowTable   *t = &runner_attempts;
	Oid			sequence = get_relname_relid("attempts_attempt_id_seq",
											 get_namespace_oid("pipeline", false));

	claim->attempt_id = nextval_internal(sequence, false);
	pipeline_row_new(t);
	pipeline_row_set(t, AT_attempt_id, Int64GetDatum(claim->attempt_id), false);
	pipeline_row_set(t, AT_run_id, Int64GetDatum(claim->run_id), false);
	pipeline_row_set_text(t, AT_task, claim->task);
	pipeline_row_set(t, AT_attempt, Int32GetDatum(claim->attempt), false);
	pipeline_row_set(t, AT_owner, ObjectIdGetDatum(claim->owner), false);
	pipeline_row_set_text(t, AT_state, "running");
	pipeline_row_set(t, AT_pid, Int32GetDatum(MyProcPid), false);
	pipeline_row_set(t, AT_started_at, TimestampTzGetDatum(now), false);
	pipeline_row_set(t, AT_timeout, IntervalPGetDatum(claim->timeout), claim->timeout == NULL);
	pipeline_row_set_text(t, AT_command, claim->foreach ? claim->foreach : claim->command);
	pipeline_row_set(t, AT_params, JsonbPGetDatum(claim->params), false);
	pipeline_row_insert(t);
}

/* Take the task that is the current, locked row. */
static Claim *
take(Oid role, MemoryContext context)
{
	RowTable   *t = &runner_task_runs;
	MemoryContext old = MemoryContextSwitchTo(context);
	Claim	   *claim = palloc0_object(Claim);
	TimestampTz now = GetCurrentTimestamp();
	bool		isnull;

	claim->owner = role;
	claim->run_id = DatumGetInt64(pipeline_row_get(t, TR_run_id, &isnull));
	claim->attempt = pipeline_row_int4(t, TR_attempts) + 1;
	claim->pipeline = pipeline_row_text(t, TR_pipeline);
	claim->task = pipeline_row_text(t, TR_task);
	claim->command = pipeline_row_text(t, TR_command);
	claim->condition = pipeline_row_text(t, TR_condition);
	claim->wait_for = pipeline_row_text(t, TR_wait_for);
	claim->atomic = pipeline_row_is(t, TR_mode, "atomic");
	claim->pooled = !pipeline_row_is(t, TR_pool, "default");
	claim->labels = row_jsonb(t, TR_labels);
	claim->timeout = row_interval(t, TR_timeout);
	claim->mapped_task = pipeline_row_text(t, TR_mapped_task);
	claim->item = row_jsonb(t, TR_item);
	if (claim->mapped_task == NULL)
		claim->foreach = pipeline_row_text(t, TR_foreach);
	claim->map_column = pipeline_row_text(t, TR_map_column);

	if (!runner_find_run(claim->run_id) || !runner_find_pipeline(claim->pipeline))
		elog(ERROR, "run " INT64_FORMAT " or its pipeline is gone", claim->run_id);
	claim->params = row_jsonb(&runner_runs, RUN_params);
	claim->interval_start = DatumGetTimestampTz(pipeline_row_get(&runner_runs, RUN_interval_start, &isnull));
	claim->interval_end = DatumGetTimestampTz(pipeline_row_get(&runner_runs, RUN_interval_end, &isnull));
	claim->timezone = pipeline_row_text(&runner_pipelines, PIPE_timezone);

	pipeline_row_set_text(t, TR_state, "running");
	pipeline_row_set(t, TR_attempts, Int32GetDatum(claim->attempt), false);
	pipeline_row_set(t, TR_next_attempt_at, (Datum) 0, true);
	pipeline_row_set(t, TR_started_at, TimestampTzGetDatum(now), false);
	pipeline_row_set(t, TR_finished_at, (Datum) 0, true);
	pipeline_row_update(t);
	open_attempt(claim, now);
	MemoryContextSwitchTo(old);
	return claim;
}

/*
 * Take the most urgent ready task of a role that may run now, if there is
 * one, and open an attempt at it; allocated in `context`.  NULL when there is
 * nothing to do.  Sets *more to how many others may run now, as far as that
 * matters: `want` at most.  `readied`: see runner_begin_look().  The caller
 * publishes claim->attempt_id in its slot before it commits, and has opened the
 * tables.
 */
Claim *
runner_claim_task(Oid role, int want, TimestampTz readied,
				  MemoryContext context, int *more)
{
	Claim	   *claim = NULL;
	int			others;
	List	   *list;
	ListCell   *lc;

	runner_begin_look(readied);
	/* Some may be locked by others who claim now. */
	list = candidates(role, Min(want + 1 + pipeline_max_workers, MOST_CANDIDATES), &others);
	*more = others;
	foreach(lc, list)
	{
		Candidate  *c = lfirst(lc);

		if (claim == NULL &&
			runner_find_task_run(c->run_id, c->task) &&
			pipeline_row_is(&runner_task_runs, TR_state, "ready") &&
			pipeline_row_lock(&runner_task_runs, true) &&
			pipeline_row_is(&runner_task_runs, TR_state, "ready"))
		{
			claim = take(role, context);
			continue;
		}
		if (c->pool_id != 0)
			runner_pool_unlock(c->pool_id);
		if (claim != NULL)
			(*more)++;
	}
	*more = Min(*more, want);
	return claim;
}
