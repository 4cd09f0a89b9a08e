/*
 * check_query.c
 *	  Checks that are queries of their own: another table's count, queries that
 *	  must return nothing, the association of two columns.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"

#include "expect/check.h"

#define BATCH "{batch}"
#define BATCH_NAME "\"?batch\""

/* The text with every {batch} replaced. */
static char *
with_batch(const char *text, const char *name)
{
	StringInfoData buf;
	const char *at;

	initStringInfo(&buf);
	while ((at = strstr(text, BATCH)) != NULL)
	{
		appendBinaryStringInfo(&buf, text, at - text);
		appendStringInfoString(&buf, name);
		text = at + strlen(BATCH);
	}
	appendStringInfoString(&buf, text);
	return buf.data;
}

/* Check that the query of such a check is one read-only query. */
void
pipeline_check_query_kwarg(const ExpectationType *type, const Jsonb *kwargs)
{
	const char *name = type->sub == SUB_ROWS ? "unexpected_rows_query" : "query";

	(void) pipeline_query(with_batch(pipeline_kwarg_text(kwargs, name), BATCH_NAME), name);
}

/* A jsonb of the first row of the last result, copied, or NULL. */
static Jsonb *
result_jsonb(int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);

	return isnull ? NULL : (Jsonb *) PG_DETOAST_DATUM_COPY(value);
}

static int64
count_rows(const char *from)
{
	int64		count;

	pipeline_sql_generated(psprintf("SELECT pg_catalog.count(*) %s", from), SPI_OK_SELECT, true);
	count = pipeline_sql_int8(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return count;
}

static void
other_count(const ScanTarget *target, Check *check)
{
	Source	   *other = pipeline_source(pipeline_kwarg_text(check->kwargs, "other_table_name"), "other_table_name");
	int64		here = count_rows(pipeline_from_where(target, pipeline_check_condition(check)));
	int64		there = count_rows(psprintf("FROM %s AS \"?other\"", other->from));

	check->result.success = here == there;
	check->result.observed = pipeline_jsonb_from(psprintf("{\"self\": " INT64_FORMAT ", \"other\": " INT64_FORMAT "}",
														  here, there));
}

/* The user's query over the target, as what follows FROM, after WITH. */
static char *
batch_query(const ScanTarget *target, const Check *check, const char *kwarg, char **with)
{
	char	   *text = with_batch(pipeline_kwarg_text(check->kwargs, kwarg), BATCH_NAME);

	*with = psprintf("WITH " BATCH_NAME " AS NOT MATERIALIZED (SELECT %s.* %s) ", target->alias,
					 pipeline_from_where(target, pipeline_check_condition(check)));
	return pipeline_query(text, kwarg);
}

/* Does the query return one column of booleans? */
static bool
returns_boolean(const char *with, const char *query)
{
	TupleDesc	columns = pipeline_query_columns(psprintf("%sSELECT * FROM %s AS \"?q\"", with, query));

	return columns->natts == 1 && TupleDescAttr(columns, 0)->atttypid == BOOLOID;
}

/* A query whose rows are unexpected; of booleans, those that are not true. */
static void
rows_of_query(const ScanTarget *target, Check *check)
{
	CheckResult *r = &check->result;
	bool		ge = check->type->sub == SUB_ROWS;
	char	   *with;
	char	   *query = batch_query(target, check, ge ? "unexpected_rows_query" : "query", &with);
	char	   *filter = "";

	if (!ge && returns_boolean(with, query))
	{
		TupleDesc	columns = pipeline_query_columns(psprintf("%sSELECT * FROM %s AS \"?q\"", with, query));

		filter = psprintf(" WHERE \"?q\".%s IS NOT TRUE", quote_identifier(NameStr(TupleDescAttr(columns, 0)->attname)));
	}
	pipeline_sql_generated(psprintf("%sSELECT pg_catalog.count(*), pg_catalog.jsonb_agg(pg_catalog.to_jsonb(\"?s\".\"?r\"))"
									" FILTER (WHERE \"?s\".\"?n\" OPERATOR(pg_catalog.<=) %d)"
									" FROM (SELECT \"?q\" AS \"?r\", pg_catalog.row_number() OVER () AS \"?n\" FROM %s AS \"?q\"%s) AS \"?s\"",
									with, Max(check->limit, 0), query, filter),
						   SPI_OK_SELECT, true);
	r->unexpected = pipeline_sql_int8(0, 1);
	r->has_unexpected = true;
	r->values = result_jsonb(2);
	if (r->values == NULL)
		r->values = pipeline_jsonb_from("[]");
	SPI_freetuptable(SPI_tuptable);
	r->success = r->unexpected == 0;
	r->observed = pipeline_jsonb_from(ge ?
									  psprintf("\"" INT64_FORMAT " unexpected row%s\"", r->unexpected, r->unexpected == 1 ? "" : "s") :
									  psprintf(INT64_FORMAT, r->unexpected));
}

/* Cramer's V of the table of contingency, without Yates' correction. */
static void
cramers_phi(const ScanTarget *target, Check *check)
{
	char	   *a = pipeline_column_reference(target, pipeline_kwarg_text(check->kwargs, "column_A"));
	char	   *b = pipeline_column_reference(target, pipeline_kwarg_text(check->kwargs, "column_B"));
	char	   *condition = psprintf("pg_catalog.num_nulls(%s, %s) OPERATOR(pg_catalog.=) 0%s%s", a, b,
									 check->row_condition ? " AND " : "",
									 check->row_condition ? pipeline_check_condition(check) : "");
	bool		isnull;
	Datum		value;
	double		threshold = pipeline_kwarg_number(check->kwargs, "threshold", 0.1);

	pipeline_sql_generated(psprintf("WITH c AS (SELECT %s AS a, %s AS b, pg_catalog.count(*)::pg_catalog.float8 AS n %s GROUP BY 1, 2),"
									" m AS (SELECT n, pg_catalog.sum(n) OVER (PARTITION BY a) AS ra, pg_catalog.sum(n) OVER (PARTITION BY b) AS cb FROM c),"
									" s AS (SELECT pg_catalog.sum(n * n / (ra * cb)) - 1 AS x FROM m)"
									" SELECT pg_catalog.sqrt(greatest(x, 0) / nullif(least((SELECT pg_catalog.count(DISTINCT a) FROM c),"
									" (SELECT pg_catalog.count(DISTINCT b) FROM c)) - 1, 0)) FROM s",
									a, b, pipeline_from_where(target, condition)), SPI_OK_SELECT, true);
	value = pipeline_sql_datum(0, 1, &isnull);
	check->result.success = isnull || DatumGetFloat8(value) <= threshold;
	if (!isnull)
		check->result.observed = pipeline_jsonb_from(float8out_internal(DatumGetFloat8(value)));
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Evaluate a check that is a query of its own.  `rows` are those of the
 * target.  In the context that keeps the result, in the caller's SPI.
 */
void
pipeline_query_verdict(const ScanTarget *target, Check *check, int64 rows)
{
	check->result.done = true;
	switch (check->type->sub)
	{
		case SUB_OTHER_COUNT:
			other_count(target, check);
			break;
		case SUB_CRAMER:
			cramers_phi(target, check);
			break;
		case SUB_RECONCILE:
			pipeline_reconcile(target, check);
			break;
		case SUB_NEAR_HISTORY:
			pipeline_near_history(target, check, rows);
			break;
		case SUB_ANOMALY:
			pipeline_anomaly(target, check, rows);
			break;
		default:
			rows_of_query(target, check);
	}
}
