/*
 * events.c
 *	  Read a batch of events, then for each key that it names the versions and
 *	  the events that were kept, and replay them key by key.  events.h tells
 *	  how.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "scd/events.h"

/* Kinds of rows of the ordered query, in their order. */
#define KIND_VERSION 0
#define KIND_KEPT 1
#define KIND_BATCH 2
#define KIND_MISSING 3

/* Looking a key up costs as much as scanning so many rows. */
#define PROBE_COST 20

/* Where the statistics do not tell. */
#define ROWS_PER_BLOCK 60

/* Places in the ordered query's result; columns and companions follow. */
enum
{
	OUT_KIND,
	OUT_N,
	OUT_REL,
	OUT_TID,
	OUT_FROM,
	OUT_TO,
	OUT_DELETED,
	OUT_REASON,
	OUT_SEQUENCE,
	OUT_FIRST
};

static Replay *
init_replay(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	Replay	   *r = palloc0(sizeof(Replay));
	MergeColumn *sequence = plan->event[EVENT_SEQUENCE];

	r->plan = plan;
	r->delta = delta;
	r->counts = counts;
	r->result_context = CurrentMemoryContext;
	r->key_context = AllocSetContextCreate(CurrentMemoryContext, "pipeline events of a key",
										   ALLOCSET_DEFAULT_SIZES);
	r->snapshot = DIMENSION_IS_SNAPSHOT(plan->dimension);
	r->keeps_events = OidIsValid(plan->dimension->events);
	r->by_time = plan->event[EVENT_AT] != NULL;
	if (sequence != NULL)
	{
		TypeCacheEntry *type = lookup_type_cache(sequence->type, TYPECACHE_CMP_PROC_FINFO);

		fmgr_info_copy(&r->sequence_compare, &type->cmp_proc_finfo, CurrentMemoryContext);
		r->sequence_collation = sequence->collation;
	}
	pipeline_scd_event_descs(r);
	r->batch_rows = tuplestore_begin_heap(false, false, work_mem);
	r->missing_rows = tuplestore_begin_heap(false, false, work_mem);
	r->changed = tuplestore_begin_heap(false, false, work_mem);
	r->opened = tuplestore_begin_heap(false, false, work_mem);
	r->gone = tuplestore_begin_heap(false, false, work_mem);
	r->remember = tuplestore_begin_heap(false, false, work_mem);
	return r;
}

/* ---- both sides, ordered by key -------------------------------------------------- */

/* " AND t is not the unknown member" */
void
pipeline_scd_append_known(StringInfo sql, const MergePlan *plan)
{
	if (plan->dimension->unknown_member)
		appendStringInfo(sql, " AND t.%s OPERATOR(pg_catalog.<>) %d",
						 plan->meta[META_SURROGATE_KEY], UNKNOWN_MEMBER);
}

/* "t.key = e.c1 AND ..." */
void
pipeline_scd_append_key_join(StringInfo sql, const MergePlan *plan, const char *table,
				const char *rows)
{
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(sql, "%s%s.%s %s %s.c%d", i ? " AND " : "", table,
						 quote_identifier(plan->columns[i].name),
						 plan->columns[i].operator, rows, i + 1);
}

/* Is it cheaper to scan the table than to look up so many keys in it? */
static bool
is_large(const Replay *r, int64 named)
{
	Relation	rel = table_open(r->plan->dimension->relid, NoLock);
	double		rows = rel->rd_rel->reltuples;

	if (rows <= 0 && rel->rd_rel->relkind == RELKIND_RELATION)
		rows = (double) RelationGetNumberOfBlocks(rel) * ROWS_PER_BLOCK;
	table_close(rel, NoLock);
	return rows > 0 && (double) named * PROBE_COST >= rows;
}

/*
 * Stream a query of both sides.  A small batch finds its keys by the index of
 * the table; for a large one a scan is cheaper.  The planner cannot know which
 * it is: it takes a tuplestore for a few keys, each many times.
 */
void
pipeline_scd_stream_both(const Replay *r, int64 named, const char *sql, DestReceiver *receiver)
{
	int			level = NewGUCNestLevel();

	if (is_large(r, named))
		(void) set_config_option("enable_nestloop", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	pipeline_scd_stream(sql, receiver);
	AtEOXact_GUC(false, level);
}

static void
append_where_named(StringInfo sql, const Replay *r, const char *alias)
{
	if (r->plan->rebuild)
		return;
	appendStringInfoString(sql, " AND EXISTS (SELECT 1 FROM ");
	if (tuplestore_tuple_count(r->missing_rows) > 0)
	{
		for (int rows = 0; rows < 2; rows++)
		{
			appendStringInfoString(sql, rows ? " UNION ALL SELECT " : "(SELECT ");
			for (int i = 0; i < r->plan->nkeys; i++)
				appendStringInfo(sql, "%sc%d", i ? ", " : "", i + 1);
			appendStringInfo(sql, " FROM %s", rows ? MISSING_ROWS : BATCH_ROWS);
		}
		appendStringInfoString(sql, ") e WHERE ");
	}
	else
		appendStringInfoString(sql, BATCH_ROWS " e WHERE ");
	pipeline_scd_append_key_join(sql, r->plan, alias, "e");
	appendStringInfoChar(sql, ')');
}

static void
append_companions(StringInfo sql, const MergePlan *plan, bool from_table)
{
	int			p = 0;

	for (int i = 0; i < plan->ncolumns; i++)
	{
		const MergeColumn *c = &plan->columns[i];

		if (c->companion == NULL)
			continue;
		p++;
		if (from_table)
			appendStringInfo(sql, ", t.%s AS p%d", quote_identifier(c->companion), p);
		else
			appendStringInfo(sql, ", NULL::%s", pipeline_scd_type_name(c->type, c->typmod));
	}
}

static void
append_versions(StringInfo sql, const Replay *r)
{
	const MergePlan *plan = r->plan;
	const MergeColumn *sequence = plan->event[EVENT_SEQUENCE];
	char	   *to = pipeline_scd_meta_time(plan, META_VALID_TO, "t");

	appendStringInfo(sql, "SELECT %d::pg_catalog.int2 AS kind, NULL::pg_catalog.int8 AS n, t.tableoid AS rel, t.ctid AS tid, %s AS valid_from",
					 KIND_VERSION, pipeline_scd_meta_time(plan, META_VALID_FROM, "t"));
	if (plan->dimension->open_end_null)
		appendStringInfo(sql, ", %s AS valid_to", to);
	else
		appendStringInfo(sql, ", CASE WHEN %s OPERATOR(pg_catalog.<>) %s THEN %s END AS valid_to", to,
						 quote_literal_cstr(timestamptz_to_str(plan->dimension->open_end)), to);
	appendStringInfo(sql, ", %s AS del, %s AS reason, NULL::%s AS seq",
					 plan->meta[META_IS_DELETED] ?
					 psprintf("t.%s::pg_catalog.bool IS TRUE", plan->meta[META_IS_DELETED]) : "false",
					 plan->meta[META_CLOSE_REASON] ?
					 psprintf("t.%s::pg_catalog.text", plan->meta[META_CLOSE_REASON]) : "NULL::pg_catalog.text",
					 sequence ? pipeline_scd_type_name(sequence->type, -1) : "pg_catalog.int8");
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(sql, ", t.%s AS c%d", quote_identifier(plan->columns[i].name), i + 1);
	append_companions(sql, plan, true);
	appendStringInfo(sql, " FROM %s t WHERE true", plan->dimension->name);
	pipeline_scd_append_known(sql, plan);
	append_where_named(sql, r, "t");
}

static void
append_kept(StringInfo sql, const Replay *r)
{
	const MergePlan *plan = r->plan;

	if (!r->keeps_events)
		return;
	appendStringInfo(sql, " UNION ALL SELECT %d, NULL, s.tableoid, s.ctid, s." EVENTS_AT ", NULL, s." EVENTS_DELETE ", NULL, %s",
					 KIND_KEPT, plan->event[EVENT_SEQUENCE] ? "s." EVENTS_SEQUENCE : "NULL");
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(sql, ", s.%s", quote_identifier(plan->columns[i].name));
	append_companions(sql, plan, false);
	appendStringInfo(sql, " FROM %s s WHERE true", pipeline_qualified_name(plan->dimension->events));
	append_where_named(sql, r, "s");
}

static void
append_batch(StringInfo sql, const MergePlan *plan, const char *rows, int kind)
{
	appendStringInfo(sql, " UNION ALL SELECT %d, e.n, NULL, NULL, e.at, NULL, e.del, NULL, e.seq", kind);
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(sql, ", e.c%d", i + 1);
	append_companions(sql, plan, false);
	appendStringInfo(sql, " FROM %s e", rows);
}

static char *
ordered_sql(const Replay *r)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT * FROM (");
	append_versions(&sql, r);
	append_kept(&sql, r);
	append_batch(&sql, r->plan, BATCH_ROWS, KIND_BATCH);
	append_batch(&sql, r->plan, MISSING_ROWS, KIND_MISSING);
	appendStringInfoString(&sql, ") u ORDER BY ");
	for (int i = 0; i < r->plan->nkeys; i++)
		appendStringInfo(&sql, "u.c%d, ", i + 1);
	appendStringInfoString(&sql, "u.kind, u.valid_from");
	return sql.data;
}

/* ---- key by key ---------------------------------------------------------------- */

/* Replay the key at hand and make room for the next. */
static void
finish_key(Replay *r)
{
	MemoryContext old;

	if (!r->has_key)
		return;
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(r->key_context);
	pipeline_scd_resolve_events(r);
	pipeline_scd_replay(r);
	pipeline_scd_count_events(r);
	pipeline_scd_diff(r);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->key_context);
	r->stored = r->kept = r->batch = NIL;
	r->has_key = false;
}

/* Is the row of another key than the one at hand? */
static bool
is_new_key(Replay *r, TupleTableSlot *slot)
{
	const Datum *values;
	const bool *nulls;

	if (!r->has_key)
		return true;
	if (r->stored != NIL)
	{
		values = ((Version *) linitial(r->stored))->values;
		nulls = ((Version *) linitial(r->stored))->nulls;
	}
	else
	{
		Event	   *event = r->kept ? linitial(r->kept) : linitial(r->batch);

		values = event->values;
		nulls = event->nulls;
	}
	for (int i = 0; i < r->plan->nkeys; i++)
	{
		if (!pipeline_scd_equal(&r->plan->columns[i], values[i], nulls[i],
								slot->tts_values[OUT_FIRST + i], slot->tts_isnull[OUT_FIRST + i]))
			return true;
	}
	return false;
}

/* Copy the columns of a row. */
static void
copy_columns(Replay *r, TupleTableSlot *slot, Datum **values, bool **nulls)
{
	MergePlan  *plan = r->plan;

	*values = palloc0_array(Datum, plan->ncolumns);
	*nulls = palloc_array(bool, plan->ncolumns);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		(*nulls)[i] = slot->tts_isnull[OUT_FIRST + i];
		if (!(*nulls)[i])
			(*values)[i] = datumCopy(slot->tts_values[OUT_FIRST + i],
									 plan->columns[i].byval, plan->columns[i].len);
	}
}

static void
take_version(Replay *r, TupleTableSlot *slot)
{
	MergePlan  *plan = r->plan;
	Version    *v = palloc0(sizeof(Version));
	int			p = OUT_FIRST + plan->ncolumns;

	copy_columns(r, slot, &v->values, &v->nulls);
	v->from = DatumGetTimestampTz(slot->tts_values[OUT_FROM]);
	v->open = slot->tts_isnull[OUT_TO];
	v->to = v->open ? 0 : DatumGetTimestampTz(slot->tts_values[OUT_TO]);
	v->is_deleted = DatumGetBool(slot->tts_values[OUT_DELETED]);
	if (!slot->tts_isnull[OUT_REASON])
		v->reason = TextDatumGetCString(slot->tts_values[OUT_REASON]);
	v->rel = DatumGetObjectId(slot->tts_values[OUT_REL]);
	v->tid = *(ItemPointer) DatumGetPointer(slot->tts_values[OUT_TID]);
	v->companions = palloc0_array(Datum, plan->ncolumns);
	v->no_companion = palloc_array(bool, plan->ncolumns);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		v->no_companion[i] = plan->columns[i].companion == NULL || slot->tts_isnull[p];
		if (plan->columns[i].companion == NULL)
			continue;
		if (!v->no_companion[i])
			v->companions[i] = datumCopy(slot->tts_values[p], plan->columns[i].byval,
										 plan->columns[i].len);
		p++;
	}
	r->stored = lappend(r->stored, v);
}

static void
take_event(Replay *r, TupleTableSlot *slot, int kind)
{
	MergeColumn *sequence = r->plan->event[EVENT_SEQUENCE];
	Event	   *event = palloc0(sizeof(Event));

	copy_columns(r, slot, &event->values, &event->nulls);
	event->origin = kind == KIND_KEPT ? ORIGIN_KEPT :
		kind == KIND_BATCH ? ORIGIN_BATCH : ORIGIN_MISSING;
	event->n = slot->tts_isnull[OUT_N] ? 0 : DatumGetInt64(slot->tts_values[OUT_N]);
	event->at = DatumGetTimestampTz(slot->tts_values[OUT_FROM]);
	event->is_delete = DatumGetBool(slot->tts_values[OUT_DELETED]);
	event->reason = kind == KIND_MISSING ? CLOSED_MISSING : CLOSED_DELETED;
	event->no_sequence = slot->tts_isnull[OUT_SEQUENCE];
	if (!event->no_sequence)
		event->sequence = datumCopy(slot->tts_values[OUT_SEQUENCE], sequence->byval, sequence->len);
	if (kind == KIND_KEPT)
	{
		event->tid = *(ItemPointer) DatumGetPointer(slot->tts_values[OUT_TID]);
		r->kept = lappend(r->kept, event);
	}
	else
		r->batch = lappend(r->batch, event);
}

static bool
receive_ordered(TupleTableSlot *slot, DestReceiver *self)
{
	Replay	   *r = ((ReplayReceiver *) self)->r;
	MemoryContext old;
	int			kind;

	slot_getallattrs(slot);
	if (is_new_key(r, slot))
		finish_key(r);
	old = MemoryContextSwitchTo(r->key_context);
	r->has_key = true;
	kind = DatumGetInt16(slot->tts_values[OUT_KIND]);
	if (kind == KIND_VERSION)
		take_version(r, slot);
	else
		take_event(r, slot, kind);
	MemoryContextSwitchTo(old);
	return true;
}

/*
 * Read the batch and both sides, and find what must be written.  Inside an
 * SPI connection, as the owner, under the lock.  The caller raises the
 * problems that are left in `delta`, and guards, then applies.
 */
void
pipeline_scd_merge_events(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	Replay	   *r = init_replay(plan, delta, counts);
	ReplayReceiver receiver = {.r = r};

	delta->replay = r;
	pipeline_scd_reject_init(plan, delta);
	pipeline_scd_read_batch(r);
	if (counts->rejected > 0 &&
		(double) counts->rejected / counts->rows_read > plan->dimension->max_rejected_fraction)
		return;
	pipeline_scd_delta_register(BATCH_ROWS, r->batch_desc, r->batch_rows);
	r->initial = plan->dimension->has_initial && pipeline_scd_is_empty(plan);
	if (r->snapshot && !plan->rebuild)
		pipeline_scd_find_missing(r);
	pipeline_scd_delta_register(MISSING_ROWS, r->batch_desc, r->missing_rows);
	pipeline_scd_receiver(&receiver.pub, receive_ordered);
	pipeline_scd_stream_both(r, tuplestore_tuple_count(r->batch_rows) + tuplestore_tuple_count(r->missing_rows),
		   ordered_sql(r), &receiver.pub);
	finish_key(r);
}

/* Let go of what a merge of events read and found; NULL for none. */
void
pipeline_scd_end_events(Replay *r)
{
	if (r == NULL)
		return;
	tuplestore_end(r->batch_rows);
	tuplestore_end(r->missing_rows);
	tuplestore_end(r->changed);
	tuplestore_end(r->opened);
	tuplestore_end(r->gone);
	tuplestore_end(r->remember);
}
