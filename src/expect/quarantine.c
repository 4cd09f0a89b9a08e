/*
 * quarantine.c
 *	  After the verdict: the rows that failed, kept with every reason.
 *
 * What is kept are the rows that fail a row-level check of severity error or
 * critical that did not hold everywhere, even where mostly let it pass.  They
 * are fetched from where the first scan has met them and judged again one by
 * one, by the same compiled checks and under its snapshot; where it cannot tell,
 * or they are very many, they are found by a second scan; the verdict is on the table as it was.  Checks of the order of
 * rows say nothing of single rows, and quarantine none.
 *
 * To move a row is to delete it from the target as the suite's owner and to
 * keep it in one transaction.  A row that somebody changed meanwhile, or whose
 * deletion a trigger refused, is kept as a copy.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "expect/check.h"
#include "expect/check_places.h"

#define BATCH_ROWS 1000

/* What the search for rows carries along. */
typedef struct Search
{
	const Suite *suite;
	const ScanTarget *target;
	int64		validation_id;
	bool		move;
	bool		by_place;		/* or by a second scan */
	List	   *members;		/* of each call: its checks */
	int64		kept;
} Search;

/* Raise 22023 unless rows of the source can be quarantined so. */
void
pipeline_quarantine_check(const Source *source, const char *quarantine)
{
	char		relkind = OidIsValid(source->relid) ? get_rel_relkind(source->relid) : 0;

	if (strcmp(quarantine, "move") == 0 && relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"quarantine\" cannot be \"move\" for a target that is no table"),
				 errhint("Use \"copy\".")));
}

/* A check in the form in which it judges a row of the target; NULL if it cannot. */
static Check *
judge(const ScanTarget *target, const Check *check)
{
	Check	   *copy = palloc(sizeof(Check));

	*copy = *check;
	copy->shown = NIL;
	if (check->type->kind == CHECK_WINDOW || check->type->sub == SUB_UNIQUE)
	{
		copy->expression = pipeline_row_expression(target, check);
		return copy->expression ? copy : NULL;
	}
	return copy;
}

/* The checks whose rows are to be kept. */
static List *
judges(const ScanTarget *target, const List *checks)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);
		Check	   *copy;

		if (!check->type->per_row || check->result.error || check->result.unexpected == 0 ||
			!pipeline_check_is_grave(check))
			continue;
		copy = judge(target, check);
		if (copy)
			list = lappend(list, copy);
	}
	return list;
}

/* An expression of type jsonb for the key of a row. */
static char *
key_expression(const ScanTarget *target)
{
	StringInfoData buf;
	ListCell   *lc;

	if (target->row_key == NIL)
		return "NULL::pg_catalog.jsonb";
	initStringInfo(&buf);
	foreach(lc, target->row_key)
		appendStringInfo(&buf, "%s%s::pg_catalog.text, %s", buf.len ? ", " : "",
						 quote_literal_cstr(lfirst(lc)), pipeline_column_reference(target, lfirst(lc)));
	return psprintf("pg_catalog.jsonb_build_object(%s)", buf.data);
}

/* The query of the rows: row, key, ctid and tableoid if they move, one array of numbers per call. */
static char *
search_query(Search *s, const List *calls)
{
	StringInfoData inner;
	StringInfoData failed;
	StringInfoData any;
	ListCell   *lc;

	initStringInfo(&inner);
	initStringInfo(&failed);
	initStringInfo(&any);
	foreach(lc, calls)
	{
		int			n = foreach_current_index(lc);

		appendStringInfo(&inner, ", %s AS \"?f%d\"", (char *) lfirst(lc), n);
		appendStringInfo(&failed, ", s.\"?f%d\"", n);
		appendStringInfo(&any, "%ss.\"?f%d\" IS NOT NULL", n ? " OR " : "", n);
	}
	return psprintf("SELECT pg_catalog.to_jsonb(s.\"?row\"), s.\"?key\", s.\"?ctid\", s.\"?table\"%s"
					" FROM (SELECT %s AS \"?row\", %s AS \"?key\", %s AS \"?ctid\", %s AS \"?table\"%s %s) AS s WHERE %s",
					failed.data, s->target->alias, key_expression(s->target),
					s->move ? psprintf("%s.ctid", s->target->alias) : "NULL::pg_catalog.tid",
					s->move ? psprintf("%s.tableoid", s->target->alias) : "NULL::pg_catalog.oid",
					inner.data,
					pipeline_from_where(s->target, s->by_place ? psprintf("%s.ctid OPERATOR(pg_catalog.=) ANY ($1)", s->target->alias) : NULL),
					any.data);
}

/* ---- by place ---------------------------------------------------------------------- */

/* Fetching by place asks every partition for every place. */
#define MAX_FETCHES 1000000

/* Should the scan tell where the rows lie that fail? */
bool
pipeline_quarantine_wants_places(const Suite *suite, const ScanTarget *target)
{
	char		relkind;

	if (strcmp(suite->quarantine, "none") == 0 || !OidIsValid(target->source->relid))
		return false;
	relkind = get_rel_relkind(target->source->relid);
	return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE ||
		relkind == RELKIND_MATVIEW;
}

/* Is it known where all rows lie that one of the checks failed? */
static bool
places_are_known(const ScanTarget *target, const List *checks)
{
	ListCell   *lc;
	int64		tables;

	if (target->places == NULL || target->places->overflow)
		return false;
	foreach(lc, checks)
	{
		if (!((Check *) lfirst(lc))->placed)
			return false;
	}
	tables = list_length(find_all_inheritors(target->source->relid, NoLock, NULL));
	return tables * target->places->n <= MAX_FETCHES;
}

/* The places, as an array of tid. */
static ArrayType *
places_array(Places *places)
{
	Datum	   *tids;

	pipeline_places_sort(places);
	tids = palloc_array(Datum, places->n + 1);
	for (int i = 0; i < places->n; i++)
		tids[i] = PointerGetDatum(&places->list[i].tid);
	return construct_array(tids, places->n, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
}

/* The names of the checks that a row of the batch fails, as the text of an array. */
static char *
reasons(Search *s, HeapTuple tuple, TupleDesc desc, FmgrInfo *array_out)
{
	List	   *names = NIL;

	for (int call = 0; call < list_length(s->members); call++)
	{
		List	   *checks = list_nth(s->members, call);
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, desc, 5 + call, &isnull);
		Datum	   *numbers;
		int			n;

		if (isnull)
			continue;
		deconstruct_array(DatumGetArrayTypeP(value), INT4OID, sizeof(int32), true, TYPALIGN_INT,
						  &numbers, NULL, &n);
		for (int i = 0; i < n; i++)
			names = lappend(names, ((Check *) list_nth(checks, DatumGetInt32(numbers[i]) - 1))->name);
	}
	return OutputFunctionCall(array_out, PointerGetDatum(pipeline_list_array(names)));
}

/* Delete the rows of a batch; *gone says which of them are. */
static void
delete_rows(Search *s, SPITupleTable *table, uint64 n, bool *gone)
{
	Datum	   *tids = palloc_array(Datum, n);
	Datum	   *tables = palloc_array(Datum, n);
	Datum		values[2];
	Oid			types[2] = {TIDARRAYOID, OIDARRAYOID};
	bool		isnull;
	char	   *sql = psprintf("DELETE FROM %s AS t USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS d(tid, tab)"
							   " WHERE t.ctid OPERATOR(pg_catalog.=) d.tid AND t.tableoid OPERATOR(pg_catalog.=) d.tab"
							   " RETURNING d.tid, d.tab", s->target->source->from);

	for (uint64 i = 0; i < n; i++)
	{
		tids[i] = SPI_getbinval(table->vals[i], table->tupdesc, 3, &isnull);
		tables[i] = SPI_getbinval(table->vals[i], table->tupdesc, 4, &isnull);
	}
	values[0] = PointerGetDatum(construct_array(tids, n, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	values[1] = PointerGetDatum(construct_array(tables, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	if (SPI_execute_with_args(sql, 2, types, values, NULL, false, 0) != SPI_OK_DELETE_RETURNING)
		elog(ERROR, "rows for the quarantine could not be deleted");
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		ItemPointer tid = (ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[r], SPI_tuptable->tupdesc, 1, &isnull));
		Oid			tab = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[r], SPI_tuptable->tupdesc, 2, &isnull));

		for (uint64 i = 0; i < n; i++)
			if (!gone[i] && ItemPointerEquals(tid, (ItemPointer) DatumGetPointer(tids[i])) &&
				DatumGetObjectId(tables[i]) == tab)
			{
				gone[i] = true;
				break;
			}
	}
	SPI_freetuptable(SPI_tuptable);
}

static SqlArg
sql_values(Oid type, Datum *values, bool *nulls, int n)
{
	int16		len;
	bool		byval;
	char		align;
	int			lower = 1;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return sql_datum(get_array_type(type),
					 PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, type, len, byval, align)), false);
}

/* Keep the rows of a batch. */
static void
keep_rows(Search *s, SPITupleTable *table, uint64 n, const bool *gone)
{
	const TaskContext *task = pipeline_task_context();
	UserScope	scope;
	Datum	   *values[4];
	bool	   *nulls[4];
	FmgrInfo	array_out;

	fmgr_info(F_ARRAY_OUT, &array_out);
	for (int c = 0; c < 4; c++)
	{
		values[c] = palloc_array(Datum, n);
		nulls[c] = palloc0_array(bool, n);
	}
	for (uint64 i = 0; i < n; i++)
	{
		values[0][i] = SPI_getbinval(table->vals[i], table->tupdesc, 1, &nulls[0][i]);
		values[1][i] = SPI_getbinval(table->vals[i], table->tupdesc, 2, &nulls[1][i]);
		values[2][i] = CStringGetTextDatum(reasons(s, table->vals[i], table->tupdesc, &array_out));
		values[3][i] = BoolGetDatum(gone[i]);
	}
	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.quarantined_rows (validation_id, suite, owner, run_id, row_key, \"row\", reasons, moved)"
				 " SELECT $1, $2, $3, $4, u.k, u.r, u.reasons::text[], u.moved"
				 " FROM ROWS FROM (unnest($5), unnest($6), unnest($7), unnest($8)) AS u (r, k, reasons, moved)", SPI_OK_INSERT,
				 sql_int8(s->validation_id), sql_text(s->suite->name), sql_role(s->suite->owner),
				 sql_datum(INT8OID, Int64GetDatum(task ? task->run_id : 0), task == NULL),
				 sql_values(JSONBOID, values[0], nulls[0], n), sql_values(JSONBOID, values[1], nulls[1], n),
				 sql_values(TEXTOID, values[2], nulls[2], n), sql_values(BOOLOID, values[3], nulls[3], n));
	pipeline_scope_end(&scope);
	s->kept += n;
}

/*
 * Quarantine the rows of a suite that failed, as its owner, and return how
 * many they are.  Inside the caller's SPI connection.
 */
int64
pipeline_quarantine(const Suite *suite, const ScanTarget *target, List *checks,
					int64 validation_id)
{
	Search		s = {.suite = suite, .target = target, .validation_id = validation_id};
	List	   *list;
	List	   *calls;
	Portal		portal;
	SPIPlanPtr	plan;
	char	   *sql;
	Oid			tid_array = TIDARRAYOID;
	Datum		places = (Datum) 0;

	if (strcmp(suite->quarantine, "none") == 0)
		return 0;
	list = judges(target, checks);
	if (list == NIL)
		return 0;
	pipeline_quarantine_check(target->source, suite->quarantine);
	s.move = strcmp(suite->quarantine, "move") == 0;
	s.by_place = places_are_known(target, list);
	if (s.by_place)
		places = PointerGetDatum(places_array(target->places));
	calls = pipeline_unexpected_calls(target, list, &s.members);
	sql = search_query(&s, calls);
	plan = SPI_prepare(sql, s.by_place ? 1 : 0, &tid_array);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, s.by_place ? &places : NULL, NULL, true);
	for (;;)
	{
		SPITupleTable *table;
		uint64		n;
		bool	   *gone;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, BATCH_ROWS);
		table = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		gone = palloc0_array(bool, n);
		if (s.move)
			delete_rows(&s, table, n, gone);
		keep_rows(&s, table, n, gone);
		SPI_freetuptable(table);
		pfree(gone);
	}
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	return s.kept;
}

/*
 * A check that moved rows of this run into the quarantine has failed in it,
 * until they are released: that they are gone must not turn a retry green.
 */
void
pipeline_quarantine_held(const Suite *suite, List *checks)
{
	const TaskContext *task = pipeline_task_context();
	UserScope	scope;
	uint64		n;

	if (task == NULL)
		return;
	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT reason, count(*) FROM pipeline.quarantined_rows q CROSS JOIN unnest(q.reasons) AS reason"
					 " JOIN pipeline.expectation_results r ON r.validation_id = q.validation_id AND r.name = reason AND NOT r.success"
					 " WHERE q.run_id = $1 AND q.suite = $2 AND q.owner = $3 AND q.moved AND q.released_at IS NULL GROUP BY 1",
					 SPI_OK_SELECT, sql_int8(task->run_id), sql_text(suite->name), sql_role(suite->owner));
	for (uint64 i = 0; i < n; i++)
	{
		char	   *reason = pipeline_sql_text(i, 1);
		int64		count = pipeline_sql_int8(i, 2);
		ListCell   *lc;

		foreach(lc, checks)
		{
			Check	   *check = lfirst(lc);

			if (strcmp(check->name, reason) != 0 || check->result.error)
				continue;
			check->result.success = false;
			check->result.details = pipeline_jsonb_from(psprintf("{\"held_in_quarantine\": " INT64_FORMAT "}", count));
		}
	}
	pipeline_scope_end(&scope);
}
