/*
 * events_missing.c
 *	  The current keys that a snapshot lacks: of the whole table, or of the
 *	  scopes that the batch contains.  To a replay each is an event.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "scd/events.h"

/* The scope columns of the batch, as places of the plan. */
static List *
scope_columns(const MergePlan *plan)
{
	List	   *columns = NIL;

	for (int i = 0; DIMENSION_IS_SCOPED(plan->dimension) && i < plan->ncolumns; i++)
	{
		if (pipeline_list_has(plan->dimension->scope, plan->columns[i].name))
			columns = lappend_int(columns, i);
	}
	return columns;
}

/*
 * "The scope of t is one that the batch contains", for the scopes of which
 * just these columns are NULL ("tf..."): so each is an equality that can be
 * hashed, which one that treats NULLs as equal is not.
 */
static void
append_in_scope(StringInfo sql, const MergePlan *plan, const List *columns,
				const char *are_null)
{
	const char *and = "";
	ListCell   *lc;

	appendStringInfoString(sql, " AND EXISTS (SELECT 1 FROM " BATCH_ROWS " x WHERE ");
	foreach(lc, columns)
	{
		const MergeColumn *c = &plan->columns[lfirst_int(lc)];
		int			n = lfirst_int(lc) + 1;
		const char *name = quote_identifier(c->name);

		if (are_null[foreach_current_index(lc)] == 't')
			appendStringInfo(sql, "%s(x.c%d IS NOT DISTINCT FROM NULL)", and, n);
		else
			appendStringInfo(sql, "%sx.c%d %s t.%s", and, n, c->operator, name);
		and = " AND ";
	}
	appendStringInfoChar(sql, ')');
	foreach(lc, columns)
	{
		if (are_null[foreach_current_index(lc)] == 't')
			appendStringInfo(sql, " AND (t.%s IS NOT DISTINCT FROM NULL)",
							 quote_identifier(plan->columns[lfirst_int(lc)].name));
	}
}

/* Which columns are NULL together in the scopes of the batch: "tf", ... */
static List *
null_scopes(const List *columns)
{
	StringInfoData sql;
	List	   *patterns = NIL;
	ListCell   *lc;
	uint64		n;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT DISTINCT pg_catalog.concat(''");
	foreach(lc, columns)
		appendStringInfo(&sql, ", c%d IS NOT DISTINCT FROM NULL", lfirst_int(lc) + 1);
	appendStringInfoString(&sql, ") FROM " BATCH_ROWS);
	n = pipeline_sql_generated(sql.data, SPI_OK_SELECT, false);
	for (uint64 i = 0; i < n; i++)
		patterns = lappend(patterns, pipeline_sql_text(i, 1));
	return patterns;
}

static bool
receive_missing(TupleTableSlot *slot, DestReceiver *self)
{
	ReplayReceiver *receiver = (ReplayReceiver *) self;
	Replay	   *r = receiver->r;
	MergePlan  *plan = r->plan;
	Datum	   *values = palloc0_array(Datum, BATCH_FIRST + plan->ncolumns);
	bool	   *nulls = palloc_array(bool, BATCH_FIRST + plan->ncolumns);

	slot_getallattrs(slot);
	memset(nulls, true, (BATCH_FIRST + plan->ncolumns) * sizeof(bool));
	nulls[BATCH_AT] = nulls[BATCH_DELETE] = false;
	values[BATCH_AT] = TimestampTzGetDatum(plan->effective);
	values[BATCH_DELETE] = BoolGetDatum(true);
	for (int i = 0; i < plan->nkeys; i++)
	{
		values[BATCH_FIRST + i] = slot->tts_values[i];
		nulls[BATCH_FIRST + i] = slot->tts_isnull[i];
	}
	tuplestore_putvalues(r->missing_rows, r->batch_desc, values, nulls);
	pfree(values);
	pfree(nulls);
	return true;
}

/* "SELECT key FROM live versions that the batch does not contain" */
static char *
missing_sql(Replay *r, const char *live)
{
	MergePlan  *plan = r->plan;
	List	   *columns = scope_columns(plan);
	StringInfoData one;
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&one);
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&one, "%s t.%s", i ? "," : "SELECT",
						 quote_identifier(plan->columns[i].name));
	appendStringInfo(&one, "%s AND NOT EXISTS (SELECT 1 FROM " BATCH_ROWS " e WHERE ", live);
	pipeline_scd_append_key_join(&one, plan, "t", "e");
	appendStringInfoChar(&one, ')');
	if (columns == NIL)
		return one.data;
	initStringInfo(&sql);
	foreach(lc, null_scopes(columns))
	{
		appendStringInfo(&sql, "%s%s", sql.len > 0 ? " UNION ALL " : "", one.data);
		append_in_scope(&sql, plan, columns, lfirst(lc));
	}
	return sql.len > 0 ? sql.data : NULL;
}

/* Find the current keys that the batch does not contain. */
void
pipeline_scd_find_missing(Replay *r)
{
	MergePlan  *plan = r->plan;
	ReplayReceiver receiver = {.r = r};
	StringInfoData live;
	char	   *sql;

	initStringInfo(&live);
	appendStringInfo(&live, " FROM %s t WHERE %s", plan->dimension->name,
					 pipeline_scd_live_condition(plan, "t"));
	if (plan->meta[META_IS_DELETED] != NULL)
		appendStringInfo(&live, " AND t.%s::pg_catalog.bool IS NOT TRUE", plan->meta[META_IS_DELETED]);
	pipeline_scd_append_known(&live, plan);
	(void) pipeline_sql_generated(psprintf("SELECT pg_catalog.count(*)%s", live.data),
								  SPI_OK_SELECT, false);
	r->delta->live_keys = pipeline_sql_int8(0, 1);
	sql = missing_sql(r, live.data);
	pipeline_scd_receiver(&receiver.pub, receive_missing);
	if (sql != NULL)
		pipeline_scd_stream_both(r, r->delta->live_keys, sql, &receiver.pub);
	r->counts->missing = tuplestore_tuple_count(r->missing_rows);
	if (!DIMENSION_INVALIDATES(plan->dimension))
	{
		tuplestore_end(r->missing_rows);
		r->missing_rows = tuplestore_begin_heap(false, false, work_mem);
	}
}
