/*
 * mapping.c
 *	  Tasks that run once for each row of a query.
 *
 * A task with foreach is claimed like any other; its worker runs the query,
 * and each row becomes a task run of its own, task[key], which is claimed,
 * retried and counted against pools like any other.  The task itself stays
 * "running", without an attempt, with "pending" mapped runs; whoever ends the
 * last of them ends it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "alert/alert.h"
#include "runner/runner.h"
#include "runner/tables.h"

/* Mapped runs that one task may have in one run. */
#define MOST_MAPPED 100000
/* Keys that a message names. */
#define KEYS_NAMED 20

/* ---- the rows of foreach ------------------------------------------------------ */

typedef struct MapReceiver
{
	DestReceiver pub;
	MemoryContext context;		/* of the attempt */
	MemoryContext row_context;
	const char *map_column;
	CommandResult *result;
	TupleDesc	desc;
	int			key;			/* attribute number */
	Oid			key_output;
	HTAB	   *seen;
} MapReceiver;

static void
map_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	MapReceiver *r = (MapReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	HASHCTL		ctl = {.keysize = 1024, .entrysize = 1024, .hcxt = r->context};
	bool		varlena;

	r->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	r->key = 0;
	for (int i = 0; i < desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), r->map_column) == 0)
			r->key = i + 1;
	if (r->key == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("foreach returns no column \"%s\", which map_key names", r->map_column),
				 errhint("Let the query return it, or name another column in map_key.")));
	getTypeOutputInfo(TupleDescAttr(desc, r->key - 1)->atttypid, &r->key_output, &varlena);
	r->seen = hash_create("pipeline map keys", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	MemoryContextSwitchTo(old);
}

/* The key of a row, which must be one and unique. */
static char *
row_key(MapReceiver *r, TupleTableSlot *slot)
{
	char	   *key;
	bool		found;

	if (slot->tts_isnull[r->key - 1])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("foreach returns a row whose key \"%s\" is null", r->map_column),
				 errhint("Every mapped run needs a key.")));
	key = OidOutputFunctionCall(r->key_output, slot->tts_values[r->key - 1]);
	pipeline_check_name("mapped run", key);
	(void) hash_search(r->seen, key, HASH_ENTER, &found);
	if (found)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("foreach returns two rows with the key \"%s\"", key),
				 errhint("Column \"%s\" must tell the rows apart: retries and clear() go by it.", r->map_column)));
	return key;
}

static bool
map_receive(TupleTableSlot *slot, DestReceiver *self)
{
	MapReceiver *r = (MapReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->row_context);
	Datum		row;
	char	   *key;
	MappedRow  *m;
	Datum		json;

	slot_getallattrs(slot);
	key = row_key(r, slot);
	row = HeapTupleGetDatum(heap_form_tuple(r->desc, slot->tts_values, slot->tts_isnull));
	json = DirectFunctionCall1(row_to_json, row);
	if (list_length(r->result->mapped) >= MOST_MAPPED)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("foreach returns more than %d rows", MOST_MAPPED),
				 errhint("Let each mapped run take a range of them.")));
	MemoryContextSwitchTo(r->context);
	m = palloc_object(MappedRow);
	m->key = pstrdup(key);
	m->item = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												 CStringGetDatum(TextDatumGetCString(json))));
	r->result->mapped = lappend(r->result->mapped, m);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
}

static void
map_shutdown(DestReceiver *self)
{
}

static void
map_destroy(DestReceiver *self)
{
	MemoryContextDelete(((MapReceiver *) self)->row_context);
	pfree(self);
}

/* Make a receiver that keeps the rows of foreach in result->mapped. */
DestReceiver *
runner_map_receiver(MemoryContext context, const char *map_column,
					CommandResult *result)
{
	MapReceiver *r = MemoryContextAllocZero(context, sizeof(MapReceiver));

	r->pub.receiveSlot = map_receive;
	r->pub.rStartup = map_startup;
	r->pub.rShutdown = map_shutdown;
	r->pub.rDestroy = map_destroy;
	r->pub.mydest = DestNone;
	r->context = context;
	r->row_context = AllocSetContextCreate(context, "pipeline foreach row",
										   ALLOCSET_DEFAULT_SIZES);
	r->map_column = map_column;
	r->result = result;
	return (DestReceiver *) r;
}

/* ---- the mapped runs ------------------------------------------------------------ */

static ArrayType *
items_array(const List *mapped)
{
	Datum	   *items = palloc_array(Datum, list_length(mapped) + 1);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, mapped)
		items[n++] = JsonbPGetDatum(((MappedRow *) lfirst(lc))->item);
	return construct_array(items, n, JSONBOID, -1, false, TYPALIGN_INT);
}

static ArrayType *
keys_array(const List *mapped)
{
	List	   *keys = NIL;
	ListCell   *lc;

	foreach(lc, mapped)
		keys = lappend(keys, ((MappedRow *) lfirst(lc))->key);
	return pipeline_list_array(keys);
}

/*
 * Turn a running task, which its worker holds, into its mapped runs; with no
 * rows it is skipped.  The caller holds the run alone.
 */
void
runner_expand_task(int64 run_id, const char *task, const CommandResult *result)
{
	List	   *mapped = result->mapped;

	if (mapped == NIL)
	{
		if (!runner_find_task_run(run_id, task))
			elog(ERROR, "task \"%s\" of run " INT64_FORMAT " is gone", task, run_id);
		(void) runner_end_task(run_id, "skipped", NULL);
		return;
	}
	pipeline_sql("INSERT INTO pipeline.task_runs AS old (run_id, task, pipeline, owner, state, pending, ready_at, rank,"
				 "   level, successors, command, depends_on, mode, trigger_rule, poke_interval, on_wait_timeout,"
				 "   retries, retry_delay, retry_backoff, retry_on, timeout, allow_failure, pool, pool_slots, priority,"
				 "   on_deadline, map_column, min_success, mapped_task, map_key, item, labels)"
				 " SELECT p.run_id, format('%s[%s]', p.task, m.key), p.pipeline, p.owner, s.state,"
				 "   CASE s.state WHEN 'ready' THEN 0 ELSE 1 END,"
				 "   CASE s.state WHEN 'ready' THEN clock_timestamp() END, CASE s.state WHEN 'ready' THEN pipeline._rank(p.priority) END,"
				 "   p.level, '{}', p.command, '{}', p.mode, 'all_success', p.poke_interval, p.on_wait_timeout,"
				 "   p.retries, p.retry_delay, p.retry_backoff, p.retry_on, p.timeout, true, p.pool, p.pool_slots, p.priority,"
				 "   p.on_deadline, p.map_column, p.min_success, p.task, m.key, m.item, p.labels"
				 " FROM pipeline.task_runs p, unnest($3, $4) WITH ORDINALITY m(key, item, n),"
				 "   LATERAL (SELECT CASE WHEN n <= coalesce(p.max_active_mapped, n) THEN 'ready' ELSE 'waiting' END AS state) s"
				 " WHERE p.run_id = $1 AND p.task = $2 ORDER BY m.n"
				 " ON CONFLICT (run_id, task) DO UPDATE SET state = excluded.state, pending = excluded.pending,"
				 "   ready_at = excluded.ready_at, rank = excluded.rank, command = excluded.command, mode = excluded.mode,"
				 "   owner = excluded.owner, retries = excluded.retries, retry_delay = excluded.retry_delay,"
				 "   retry_backoff = excluded.retry_backoff, retry_on = excluded.retry_on, timeout = excluded.timeout,"
				 "   pool = excluded.pool, pool_slots = excluded.pool_slots, priority = excluded.priority,"
				 "   map_column = excluded.map_column, item = excluded.item, labels = excluded.labels,"
				 "   failures = 0, lost = 0, error = NULL, started_at = NULL, finished_at = NULL, next_attempt_at = NULL",
				 SPI_OK_INSERT, sql_int8(run_id), sql_text(task), sql_array(keys_array(mapped)),
				 sql_datum(JSONBARRAYOID, PointerGetDatum(items_array(mapped)), false));
	pipeline_sql("UPDATE pipeline.task_runs SET expanded = true, pending = $3 WHERE run_id = $1 AND task = $2",
				 SPI_OK_UPDATE, sql_int8(run_id), sql_text(task), sql_int4(list_length(mapped)));
	runner_at_commit_wake();
}

/*
 * A mapped run of the task has ended: count it, and let the next begin where
 * only some may at once.  Returns how many are left.
 */
int
runner_mapped_run_ended(int64 run_id, const char *task)
{
	RowTable   *t = &runner_task_runs;
	int			pending;
	bool		unlimited;

	if (!runner_find_task_run(run_id, task) || !pipeline_row_lock(t, false) ||
		!pipeline_row_is(t, TR_state, "running"))
		return 0;
	pending = pipeline_row_int4(t, TR_pending) - 1;
	(void) pipeline_row_get(t, TR_max_active_mapped, &unlimited);
	pipeline_row_set(t, TR_pending, Int32GetDatum(pending), false);
	pipeline_row_update(t);
	if (!unlimited)
		/* Materialized: executed once, or it would lock another one each time. */
		pipeline_sql("WITH next AS MATERIALIZED (SELECT task FROM pipeline.task_runs WHERE run_id = $1 AND mapped_task = $2"
					 "   AND state = 'waiting' ORDER BY task LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)"
					 " UPDATE pipeline.task_runs t SET state = 'ready', pending = 0, ready_at = clock_timestamp(),"
					 "   rank = pipeline._rank(priority)"
					 " FROM next n WHERE t.run_id = $1 AND t.task = n.task",
					 SPI_OK_UPDATE, sql_int8(run_id), sql_text(task));
	return pending;
}

/* What became of a task's mapped runs. */
typedef struct MappedCounts
{
	int64		total;
	int64		succeeded;
	int64		failed;
	int64		skipped;
	int64		cancelled;
	char	   *failed_keys;	/* the first of them, for people */
	Jsonb	   *result;
} MappedCounts;

static void
count_mapped(int64 run_id, const char *task, MappedCounts *c)
{
	bool		isnull;

	/* Rows of an earlier expansion whose keys are gone count for nothing. */
	pipeline_sql("SELECT n, s, f, k, c,"
				 "   (SELECT string_agg(map_key, ', ' ORDER BY map_key) FROM (SELECT map_key FROM pipeline.task_runs"
				 "     WHERE run_id = $1 AND mapped_task = $2 AND state = 'failed' ORDER BY map_key LIMIT $3) x)"
				 "   || CASE WHEN f > $3 THEN format(', and %s more', f - $3) ELSE '' END,"
				 "   jsonb_build_object('mapped', n, 'succeeded', s, 'failed', f, 'skipped', k, 'cancelled', c, 'failed_keys',"
				 "     (SELECT coalesce(jsonb_agg(map_key ORDER BY map_key), '[]') FROM (SELECT map_key FROM pipeline.task_runs"
				 "       WHERE run_id = $1 AND mapped_task = $2 AND state = 'failed' ORDER BY map_key LIMIT 1000) x))"
				 " FROM (SELECT count(*) AS n, count(*) FILTER (WHERE state = 'succeeded') AS s,"
				 "   count(*) FILTER (WHERE state = 'failed') AS f, count(*) FILTER (WHERE state = 'skipped') AS k,"
				 "   count(*) FILTER (WHERE state = 'cancelled') AS c"
				 "   FROM pipeline.task_runs WHERE run_id = $1 AND mapped_task = $2 AND item IS NOT NULL) counts",
				 SPI_OK_SELECT, sql_int8(run_id), sql_text(task), sql_int8(KEYS_NAMED));
	c->total = pipeline_sql_int8(0, 1);
	c->succeeded = pipeline_sql_int8(0, 2);
	c->failed = pipeline_sql_int8(0, 3);
	c->skipped = pipeline_sql_int8(0, 4);
	c->cancelled = pipeline_sql_int8(0, 5);
	c->failed_keys = pipeline_sql_text(0, 6);
	c->result = DatumGetJsonbPCopy(pipeline_sql_datum(0, 7, &isnull));
}

/* End one task whose mapped runs have all ended. */
static void
end_mapped_task(int64 run_id, const char *task)
{
	RowTable   *t = &runner_task_runs;
	MappedCounts c;
	char	   *pipeline;
	char	   *error = NULL;
	Oid			owner;
	Jsonb	   *labels;
	double		min_success;
	int			attempt;
	bool		isnull;
	const char *state = "succeeded";

	count_mapped(run_id, task, &c);
	if (!runner_find_task_run(run_id, task) || !pipeline_row_lock(t, false))
		return;
	pipeline = pipeline_row_text(t, TR_pipeline);
	owner = DatumGetObjectId(pipeline_row_get(t, TR_owner, &isnull));
	labels = DatumGetJsonbPCopy(pipeline_row_get(t, TR_labels, &isnull));
	min_success = DatumGetFloat8(pipeline_row_get(t, TR_min_success, &isnull));
	attempt = pipeline_row_int4(t, TR_attempts);
	if (c.failed > 0)
		error = psprintf(INT64_FORMAT " of " INT64_FORMAT " mapped runs failed: %s",
						 c.failed, c.total, c.failed_keys);
	if (c.cancelled > 0)
		state = "cancelled";
	else if (c.failed > 0 && c.succeeded + c.skipped < min_success * c.total - 1e-6)
		state = "failed";
	(void) runner_end_task(run_id, state, strcmp(state, "failed") == 0 ? error : NULL);
	pipeline_sql("UPDATE pipeline.attempts SET result = $4 WHERE run_id = $1 AND task = $2 AND attempt = $3",
				 SPI_OK_UPDATE, sql_int8(run_id), sql_text(task), sql_int4(attempt),
				 sql_jsonb(c.result));
	if (strcmp(state, "failed") == 0)
		runner_alert_task_failed(owner, pipeline, run_id, task, attempt, labels, error);
	else if (strcmp(state, "succeeded") == 0)
	{
		runner_resolve_task(owner, pipeline, task);
		if (error)
			runner_alert_mapped_failed(owner, pipeline, run_id, task, labels, error);
		else
			pipeline_resolve_alerts(owner, "MappedRunsFailed", psprintf("%s/%s", pipeline, task));
	}
}

/*
 * End the tasks of a run whose mapped runs have all ended.  The caller holds
 * the run alone and acts as the owner of the extension.
 */
void
runner_end_mapped_tasks(int64 run_id)
{
	uint64		n;

	/* The end of one can skip another, but not end its mapped runs. */
	n = pipeline_sql("SELECT task FROM pipeline.task_runs WHERE run_id = $1 AND expanded"
					 " AND state = 'running' AND pending = 0 ORDER BY level, task",
					 SPI_OK_SELECT, sql_int8(run_id));
	if (n > 0)
	{
		char	  **tasks = palloc_array(char *, n);

		for (uint64 i = 0; i < n; i++)
			tasks[i] = pipeline_sql_text(i, 1);
		for (uint64 i = 0; i < n; i++)
			end_mapped_task(run_id, tasks[i]);
	}
}
