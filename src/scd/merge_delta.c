/*
 * merge_delta.c
 *	  What one pass cannot know: repeated keys among the rows to be written,
 *	  keys that had closed versions, and changes that do not come after stored
 *	  history.
 *
 * All of it reads the deltas, never the source again.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "scd/scd.h"

/* Drops each row that equals the one before it; the input is ordered by key. */
typedef struct Deduper
{
	DestReceiver pub;
	MergePlan  *plan;
	MergeDelta *delta;
	MergeCounts *counts;
	Tuplestorestate *kept;
	TupleTableSlot *previous;	/* empty at first */
	MemoryContext result_context;
} Deduper;

static bool
same_columns(Deduper *d, TupleTableSlot *slot, int from, int to)
{
	for (int i = from; i < to; i++)
	{
		int			n = DELTA_COLUMNS + i;

		if (!pipeline_scd_equal(&d->plan->columns[i],
								d->previous->tts_values[n], d->previous->tts_isnull[n],
								slot->tts_values[n], slot->tts_isnull[n]))
			return false;
	}
	return true;
}

static bool
receive_ordered(TupleTableSlot *slot, DestReceiver *self)
{
	Deduper    *d = (Deduper *) self;
	int			nkeys = d->plan->nkeys;

	slot_getallattrs(slot);
	if (TTS_EMPTY(d->previous) || !same_columns(d, slot, 0, nkeys))
	{
		tuplestore_puttupleslot(d->kept, slot);
		ExecCopySlot(d->previous, slot);
		slot_getallattrs(d->previous);
		return true;
	}
	if (same_columns(d, slot, nkeys, d->plan->ncolumns))
	{
		d->counts->duplicate++;
		if (DatumGetChar(slot->tts_values[DELTA_CLASS]) == CLASS_NEW)
			d->delta->new_rows--;
	}
	else if (d->delta->conflict == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(d->result_context);

		d->delta->conflict =
			psprintf("Key %s.", pipeline_scd_key_text(d->plan,
													  slot->tts_values + DELTA_COLUMNS,
													  slot->tts_isnull + DELTA_COLUMNS));
		MemoryContextSwitchTo(old);
	}
	return true;
}

static char *
key_columns(const MergePlan *plan)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, "%sc%d", i ? ", " : "", i + 1);
	return sql.data;
}

/* Drop repeated rows from one delta; most have none, and then it stays. */
static void
dedupe(MergePlan *plan, MergeDelta *delta, MergeCounts *counts,
	   const char *name, Tuplestorestate **rows)
{
	Deduper		d = {.plan = plan,.delta = delta,.counts = counts};
	char	   *keys = key_columns(plan);

	pipeline_scd_delta_register(name, delta->row_desc, *rows);
	if (pipeline_sql_generated(psprintf("SELECT 1 FROM %s GROUP BY %s"
										" HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 LIMIT 1",
										name, keys), SPI_OK_SELECT, false) == 0)
		return;
	pipeline_scd_receiver(&d.pub, receive_ordered);
	d.result_context = CurrentMemoryContext;
	d.kept = tuplestore_begin_heap(false, false, work_mem);
	d.previous = MakeSingleTupleTableSlot(delta->row_desc, &TTSOpsMinimalTuple);
	pipeline_scd_stream(psprintf("SELECT * FROM %s ORDER BY %s, seq", name, keys),
						&d.pub);
	ExecDropSingleTupleTableSlot(d.previous);
	(void) SPI_unregister_relation(name);
	tuplestore_end(*rows);
	*rows = d.kept;
	pipeline_scd_delta_register(name, delta->row_desc, *rows);
}

/*
 * Drop repeated rows from the deltas, counting them as duplicates, and notice
 * two different rows for one key.  The deltas can be read by name afterwards.
 */
void
pipeline_scd_dedupe(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	if ((delta->new_rows > 0 && !delta->new_unique) || delta->repeats)
		dedupe(plan, delta, counts, OPEN_ROWS, &delta->open);
	else
		pipeline_scd_delta_register(OPEN_ROWS, delta->row_desc, delta->open);
	if (delta->repeats)
		dedupe(plan, delta, counts, OVERWRITE_ROWS, &delta->overwrite);
	else
		pipeline_scd_delta_register(OVERWRITE_ROWS, delta->row_desc, delta->overwrite);
	pipeline_scd_delta_register(CLOSE_ROWS, delta->close_desc, delta->close);
}

/* The key of row `seq` of a delta, for a DETAIL. */
static char *
key_of(const MergePlan *plan, const char *name, int64 seq)
{
	Datum	   *values = palloc_array(Datum, plan->nkeys);
	bool	   *nulls = palloc_array(bool, plan->nkeys);

	(void) pipeline_sql_generated(psprintf("SELECT %s FROM %s WHERE seq OPERATOR(pg_catalog.=) %lld",
										   key_columns(plan), name, (long long) seq),
								  SPI_OK_SELECT, false);
	for (int i = 0; i < plan->nkeys; i++)
		values[i] = pipeline_sql_datum(0, i + 1, &nulls[i]);
	return pipeline_scd_key_text(plan, values, nulls);
}

/*
 * Count the new rows whose key had versions before, all of them closed, and
 * notice one that was closed at or after the effective time.
 */
void
pipeline_scd_reopened(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	StringInfoData sql;
	char	   *effective = quote_literal_cstr(timestamptz_to_str(plan->effective));
	bool		isnull;
	int64		seq;

	if (delta->new_rows == 0 || delta->new_unseen)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pg_catalog.count(*), pg_catalog.min(h.seq) FILTER"
					 " (WHERE h.last OPERATOR(pg_catalog.>=) %s)"
					 " FROM (SELECT d.seq, pg_catalog.max(%s) AS last FROM " OPEN_ROWS " d JOIN %s t ON",
					 effective, pipeline_scd_meta_time(plan, META_VALID_TO, "t"), plan->dimension->name);
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, "%s t.%s %s d.c%d", i ? " AND" : "",
						 quote_identifier(plan->columns[i].name),
						 plan->columns[i].operator, i + 1);
	appendStringInfo(&sql, " WHERE d.class OPERATOR(pg_catalog.=) '%c'", CLASS_NEW);
	if (plan->dimension->unknown_member)
		appendStringInfo(&sql, " AND t.%s OPERATOR(pg_catalog.<>) %d",
						 plan->meta[META_SURROGATE_KEY], UNKNOWN_MEMBER);
	appendStringInfoString(&sql, " GROUP BY d.seq) h");
	(void) pipeline_sql_generated(sql.data, SPI_OK_SELECT, false);
	counts->reopened = pipeline_sql_int8(0, 1);
	seq = DatumGetInt64(pipeline_sql_datum(0, 2, &isnull));
	if (isnull || delta->stale != NULL)
		return;
	delta->stale = psprintf("Key %s has a version that ended at that time or later.",
							key_of(plan, OPEN_ROWS, seq));
}

/*
 * A type 1 change leaves no time in the row but that of the merge that wrote
 * it last: notice one that does not come after that.  As the extension, since
 * the role may see less of the merges than there is.
 */
void
pipeline_scd_check_overwrites(MergePlan *plan, MergeDelta *delta)
{
	UserScope	scope;
	bool		isnull;
	int64		seq;

	if (tuplestore_tuple_count(delta->overwrite) == 0 || delta->stale != NULL)
		return;
	pipeline_extension_begin(&scope);
	(void) pipeline_sql_generated(psprintf("SELECT min(o.seq) FROM " OVERWRITE_ROWS " o"
										   " JOIN pipeline.merges m ON m.merge_id = o.merge"
										   " WHERE m.dimension = %u AND m.effective >= %s",
										   plan->dimension->relid,
										   quote_literal_cstr(timestamptz_to_str(plan->effective))),
								  SPI_OK_SELECT, false);
	seq = DatumGetInt64(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	if (!isnull)
		delta->stale = psprintf("Key %s was written by a merge that is not before it.",
								key_of(plan, OVERWRITE_ROWS, seq));
}

/* Raise what was noticed, if anything. */
void
pipeline_scd_raise_problem(const MergePlan *plan, const MergeDelta *delta)
{
	if (delta->conflict != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("two different rows for one key%s in the source of dimension %s",
						delta->replay ? " and instant" : "", plan->dimension->name),
				 errdetail("%s", delta->conflict),
				 delta->replay ?
				 errhint("Give them an order by \"sequence_by\", or use on_tie => 'keep'.") :
				 errhint("Make the source return one row per key, for example by DISTINCT ON, or give them an order by \"sequence_by\".")));
	if (delta->stale != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 plan->event[EVENT_AT] == NULL ?
				 errmsg("effective time %s is not after the stored history of dimension %s",
						timestamptz_to_str(plan->effective), plan->dimension->name) :
				 errmsg("a row of the source is not after the stored history of dimension %s",
						plan->dimension->name),
				 errdetail("%s", delta->stale),
				 errhint("Merge in the order of time; changes that arrive late can be merged by feed => 'cdc'.")));
}
