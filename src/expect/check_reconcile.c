/*
 * check_reconcile.c
 *	  expect_tables_to_reconcile: is the target what another table says?
 *
 * Counts of rows; sums of columns per group; and row by row, by a key, or as
 * two bags of rows where there is no key.  Keys are compared by =, so that a
 * row without one has no partner.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "expect/check.h"

typedef struct Reconciliation
{
	const ScanTarget *target;
	Check	   *check;
	Source	   *other;
	char	   *here;			/* FROM ... of the target, with its conditions */
	char	   *there;
	char	   *tolerance;		/* a numeric literal */
	StringInfoData observed;
	StringInfoData samples;
	int64		differences;
	bool		success;
} Reconciliation;

static int64
run_count(const char *sql)
{
	int64		count;

	pipeline_sql_generated(sql, SPI_OK_SELECT, true);
	count = pipeline_sql_int8(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return count;
}

static void
observe(Reconciliation *r, const char *name, int64 count, bool is_difference)
{
	appendStringInfo(&r->observed, "%s\"%s\": " INT64_FORMAT, r->observed.len ? ", " : "", name, count);
	if (is_difference)
	{
		r->differences += count;
		r->success = r->success && count == 0;
	}
}

static bool
other_has(const Source *other, const char *column)
{
	for (int i = 0; i < other->columns->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(other->columns, i)->attname), column) == 0)
			return true;
	return false;
}

/* The columns to compare: those given, or all that both have, but the keys. */
static List *
compared(Reconciliation *r, const List *keys)
{
	List	   *columns = pipeline_kwarg_list(r->check->kwargs, "compare_columns");

	if (columns != NIL)
		return columns;
	for (int i = 0; i < r->target->source->columns->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(r->target->source->columns, i)->attname);

		if (other_has(r->other, name) && !pipeline_list_has(keys, name))
			columns = lappend(columns, name);
	}
	return columns;
}

/* The columns by the names c0, c1, ... of a side. */
static char *
named(const List *columns, const char *prefix, const char *alias)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
		appendStringInfo(&buf, "%s%s.%s AS %s%d", buf.len ? ", " : "", alias, quote_identifier(lfirst(lc)),
						 prefix, foreach_current_index(lc));
	return buf.data;
}

/* Do numbers differ by more than the tolerance, or other values at all? */
static char *
differs(Reconciliation *r, const char *column, int number)
{
	Oid			typid = getBaseType(pipeline_column_attribute(r->target, column)->atttypid);
	char		category;
	bool		preferred;

	get_type_category_preferred(typid, &category, &preferred);
	if (category != TYPCATEGORY_NUMERIC)
		return psprintf("a.c%d IS DISTINCT FROM b.c%d", number, number);
	return psprintf("(a.c%d IS DISTINCT FROM b.c%d AND (pg_catalog.abs(a.c%d - b.c%d) <= %s) IS NOT TRUE)",
					number, number, number, number, r->tolerance);
}

static void
keep_samples(Reconciliation *r, int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);

	if (!isnull)
	{
		Jsonb	   *list = DatumGetJsonbP(value);

		for (int i = 0; i < JB_ROOT_COUNT(list); i++)
		{
			Jsonb	   *one = JsonbValueToJsonb(getIthJsonbValueFromContainer(&list->root, i));

			appendStringInfo(&r->samples, "%s%s", r->samples.len ? ", " : "",
							 JsonbToCString(NULL, &one->root, VARSIZE(one)));
		}
	}
}

/* An object of a side's columns, for a sample. */
static char *
as_object(const List *columns, const char *side, const char *prefix)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
		appendStringInfo(&buf, "%s%s::pg_catalog.text, %s.%s%d", buf.len ? ", " : "",
						 quote_literal_cstr(lfirst(lc)), side, prefix, foreach_current_index(lc));
	return psprintf("pg_catalog.jsonb_build_object(%s)", buf.data);
}

/* Row by row: only here, only there, different. */
static void
by_key(Reconciliation *r, const List *keys)
{
	List	   *columns = compared(r, keys);
	StringInfoData on;
	StringInfoData different;
	char	   *sql;

	initStringInfo(&on);
	initStringInfo(&different);
	for (int i = 0; i < list_length(keys); i++)
	{
		(void) pipeline_source_column(r->other, list_nth(keys, i), "other_table");
		appendStringInfo(&on, "%sa.k%d = b.k%d", i ? " AND " : "", i, i);
	}
	appendStringInfoString(&different, "false");
	for (int i = 0; i < list_length(columns); i++)
		appendStringInfo(&different, " OR %s", differs(r, list_nth(columns, i), i));
	sql = psprintf("SELECT pg_catalog.count(*) FILTER (WHERE s.side = 1), pg_catalog.count(*) FILTER (WHERE s.side = 2),"
				   " pg_catalog.count(*) FILTER (WHERE s.side = 3),"
				   " pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('difference', (ARRAY['only here', 'only there', 'different'])[s.side],"
				   " 'here', CASE WHEN s.side <> 2 THEN %s || %s END, 'there', CASE WHEN s.side <> 1 THEN %s || %s END)) FILTER (WHERE s.n <= %d)"
				   " FROM (SELECT j.*, pg_catalog.row_number() OVER () AS n FROM"
				   " (SELECT a, b, CASE WHEN b.p IS NULL THEN 1 WHEN a.p IS NULL THEN 2 WHEN %s THEN 3 END AS side"
				   " FROM (SELECT %s%s%s, true AS p %s) AS a FULL JOIN (SELECT %s%s%s, true AS p %s) AS b ON %s) AS j"
				   " WHERE j.side IS NOT NULL) AS s",
				   as_object(keys, "(s.a)", "k"), as_object(columns, "(s.a)", "c"),
				   as_object(keys, "(s.b)", "k"), as_object(columns, "(s.b)", "c"), Max(r->check->limit, 0),
				   different.data,
				   named(keys, "k", r->target->alias), columns ? ", " : "", named(columns, "c", r->target->alias), r->here,
				   named(keys, "k", "\"?other\""), columns ? ", " : "", named(columns, "c", "\"?other\""), r->there, on.data);
	pipeline_sql_generated(sql, SPI_OK_SELECT, true);
	observe(r, "only_here", pipeline_sql_int8(0, 1), true);
	observe(r, "only_there", pipeline_sql_int8(0, 2), true);
	observe(r, "different", pipeline_sql_int8(0, 3), true);
	keep_samples(r, 4);
	SPI_freetuptable(SPI_tuptable);
}

/* As bags of rows: how many rows has one that the other has not? */
static void
by_bag(Reconciliation *r)
{
	List	   *columns = compared(r, NIL);
	char	   *here = psprintf("SELECT %s %s", named(columns, "c", r->target->alias), r->here);
	char	   *there = psprintf("SELECT %s %s", named(columns, "c", "\"?other\""), r->there);

	for (int i = 0; i < 2; i++)
	{
		pipeline_sql_generated(psprintf("SELECT pg_catalog.count(*), pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('difference', '%s'::pg_catalog.text, '%s', %s))"
										" FILTER (WHERE s.n <= %d) FROM (SELECT e.*, pg_catalog.row_number() OVER () AS n FROM (%s EXCEPT ALL %s) AS e) AS s",
										i ? "only there" : "only here", i ? "there" : "here",
										as_object(columns, "s", "c"), Max(r->check->limit, 0),
										i ? there : here, i ? here : there), SPI_OK_SELECT, true);
		observe(r, i ? "only_there" : "only_here", pipeline_sql_int8(0, 1), true);
		keep_samples(r, 2);
		SPI_freetuptable(SPI_tuptable);
	}
}

/* The sums of some columns, per group. */
static void
by_sums(Reconciliation *r, const List *sums)
{
	List	   *groups = pipeline_kwarg_list(r->check->kwargs, "group_by");
	StringInfoData here;
	StringInfoData there;
	StringInfoData on;
	StringInfoData different;
	StringInfoData by;

	initStringInfo(&here);
	initStringInfo(&there);
	initStringInfo(&on);
	initStringInfo(&different);
	initStringInfo(&by);
	for (int i = 0; i < list_length(groups); i++)
	{
		appendStringInfo(&by, "%s%d", i ? ", " : " GROUP BY ", i + 1);
		appendStringInfo(&on, "%sa.k%d = b.k%d", i ? " AND " : "", i, i);
	}
	appendStringInfoString(&different, "a.p IS NULL OR b.p IS NULL");
	for (int i = 0; i < list_length(sums); i++)
	{
		char	   *column = list_nth(sums, i);

		appendStringInfo(&here, ", sum(%s) AS c%d", pipeline_column_reference(r->target, column), i);
		appendStringInfo(&there, ", sum(\"?other\".%s) AS c%d", quote_identifier(column), i);
		appendStringInfo(&different, " OR (a.c%d IS DISTINCT FROM b.c%d AND (pg_catalog.abs(a.c%d - b.c%d) <= %s) IS NOT TRUE)",
						 i, i, i, i, r->tolerance);
	}
	pipeline_sql_generated(psprintf("SELECT pg_catalog.count(*), pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('difference', 'sum'::pg_catalog.text,"
									" 'group', %s, 'here', %s, 'there', %s)) FILTER (WHERE s.n <= %d)"
									" FROM (SELECT a, b, pg_catalog.row_number() OVER () AS n FROM"
									" (SELECT %s%strue AS p%s %s%s) AS a FULL JOIN (SELECT %s%strue AS p%s %s%s) AS b ON %s WHERE %s) AS s",
									groups ? psprintf("CASE WHEN (s.a).p THEN %s ELSE %s END", as_object(groups, "(s.a)", "k"), as_object(groups, "(s.b)", "k")) : "NULL",
									as_object(sums, "(s.a)", "c"), as_object(sums, "(s.b)", "c"), Max(r->check->limit, 0),
									named(groups, "k", r->target->alias), groups ? ", " : "", here.data, r->here, by.data,
									named(groups, "k", "\"?other\""), groups ? ", " : "", there.data, r->there, by.data,
									groups ? on.data : "true", different.data), SPI_OK_SELECT, true);
	observe(r, "groups_different", pipeline_sql_int8(0, 1), true);
	keep_samples(r, 2);
	SPI_freetuptable(SPI_tuptable);
}

/* Evaluate.  In the context that keeps the result. */
void
pipeline_reconcile(const ScanTarget *target, Check *check)
{
	List	   *keys = pipeline_kwarg_list(check->kwargs, "key_columns");
	List	   *sums = pipeline_kwarg_list(check->kwargs, "sum_columns");
	Reconciliation r = {.target = target, .check = check, .success = true};
	int64		here;
	int64		there;

	r.other = pipeline_source(pipeline_kwarg_text(check->kwargs, "other_table"), "other_table");
	r.here = pipeline_from_where(target, pipeline_check_condition(check));
	r.there = psprintf("FROM %s AS \"?other\"", r.other->from);
	r.tolerance = float8out_internal(pipeline_kwarg_number(check->kwargs, "tolerance", 0));
	initStringInfo(&r.observed);
	initStringInfo(&r.samples);
	here = run_count(psprintf("SELECT pg_catalog.count(*) %s", r.here));
	there = run_count(psprintf("SELECT pg_catalog.count(*) %s", r.there));
	observe(&r, "rows", here, false);
	observe(&r, "other_rows", there, false);
	r.success = here == there;
	if (sums != NIL)
		by_sums(&r, sums);
	if (keys != NIL)
		by_key(&r, keys);
	else if (sums == NIL)
		by_bag(&r);
	check->result.success = r.success;
	check->result.has_unexpected = true;
	check->result.unexpected = r.differences;
	check->result.observed = pipeline_jsonb_from(psprintf("{%s}", r.observed.data));
	check->result.values = pipeline_jsonb_from(psprintf("[%s]", r.samples.data));
}
