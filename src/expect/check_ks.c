/*
 * check_ks.c
 *	  The Kolmogorov-Smirnov distance of a column from a reference table, exactly.
 *
 * It is the greatest distance of the two cumulative shares over all values that
 * either has, so that both are sorted: a statement of its own.  With "bins", or
 * against the validation before, the shares are compared at the edges of bins only
 * (partition.c), which cannot be too high, nor too low by more than the share of
 * the reference that is in one bin.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "expect/distribution.h"

/* Is the distance to be exact? */
bool
pipeline_is_exact_ks(const Check *check)
{
	char	   *method = pipeline_kwarg_text(check->kwargs, "method");
	JsonbValue	buf;

	return check->type->sub == SUB_DRIFT && method != NULL && strcmp(method, "ks") == 0 &&
		pipeline_kwarg_text(check->kwargs, "reference_table") != NULL &&
		pipeline_kwarg(check->kwargs, "bins", &buf) == NULL;
}

/* The verdict; in the context that keeps the result. */
void
pipeline_exact_ks(const ScanTarget *target, Check *check)
{
	CheckResult *r = &check->result;
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	char	   *other_column = pipeline_kwarg_text(check->kwargs, "reference_column");
	Source	   *source = pipeline_source(pipeline_kwarg_text(check->kwargs, "reference_table"), "reference_table");
	const char *cast = pipeline_is_number_type(getBaseType(pipeline_column_attribute(target, column)->atttypid)) ?
		"::pg_catalog.float8" : "";
	double		distance;
	bool		isnull;
	Datum		value;
	int64		present;
	int64		reference;
	char	   *at;

	(void) pipeline_source_column(source, other_column ? other_column : column, "reference_table");
	pipeline_sql_generated(psprintf("WITH v AS (SELECT %s%s AS v, 1 AS a, 0 AS b %s UNION ALL SELECT \"?reference\".%s%s, 0, 1 FROM %s AS \"?reference\"),"
									" g AS (SELECT v, pg_catalog.sum(a)::pg_catalog.float8 AS a, pg_catalog.sum(b)::pg_catalog.float8 AS b FROM v WHERE v IS NOT NULL GROUP BY v),"
									" c AS (SELECT v, pg_catalog.sum(a) OVER w AS a, pg_catalog.sum(b) OVER w AS b FROM g WINDOW w AS (ORDER BY v)),"
									" n AS (SELECT nullif(pg_catalog.sum(a), 0) AS a, nullif(pg_catalog.sum(b), 0) AS b FROM g)"
									" SELECT d.d, d.v::pg_catalog.text, (SELECT coalesce(a, 0)::pg_catalog.int8 FROM n), (SELECT coalesce(b, 0)::pg_catalog.int8 FROM n),"
									" (SELECT pg_catalog.count(*) FROM v WHERE a OPERATOR(pg_catalog.=) 1)"
									" FROM (SELECT 1) AS one LEFT JOIN (SELECT c.v, pg_catalog.abs((c.a OPERATOR(pg_catalog./) n.a) OPERATOR(pg_catalog.-) (c.b OPERATOR(pg_catalog./) n.b)) AS d"
									"  FROM c, n ORDER BY d DESC NULLS LAST, v LIMIT 1) AS d ON true",
									pipeline_column_reference(target, column), cast, pipeline_from_where(target, pipeline_check_condition(check)),
									quote_identifier(other_column ? other_column : column), cast, source->from),
						   SPI_OK_SELECT, true);
	value = pipeline_sql_datum(0, 1, &isnull);
	distance = isnull ? 0 : DatumGetFloat8(value);
	at = pipeline_sql_text(0, 2);
	present = pipeline_sql_int8(0, 3);
	reference = pipeline_sql_int8(0, 4);
	r->elements = pipeline_sql_int8(0, 5);
	r->missing = r->elements - present;
	r->done = r->has_counts = r->has_missing = true;
	if (present == 0 || reference == 0)
	{
		r->success = reference == 0;
		return;
	}
	r->observed = pipeline_jsonb_from(float8out_internal(distance));
	{
		const char *const keys[] = {"at"};
		const char *values[] = {at};

		r->details = pipeline_jsonb_object(1, keys, values);
	}
	r->success = distance <= pipeline_kwarg_number(check->kwargs, "threshold", 0);
}
