/*
 * check_deviation.c
 *	  How far values lie from their center: outliers and z-scores.
 *
 * The center and the spread are constants of a first scan; the values are judged
 * against them in a second.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "expect/check.h"

/* The median of the distances from the median. */
static double
median_distance(const ScanTarget *target, const Check *check, const char *value)
{
	bool		isnull;
	Datum		datum;

	pipeline_sql_generated(psprintf("SELECT pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY pg_catalog.abs(%s OPERATOR(pg_catalog.-) %s)) %s",
									value, float8out_internal(check->parameters[2]),
									pipeline_from_where(target, pipeline_check_condition(check))),
						   SPI_OK_SELECT, true);
	datum = pipeline_sql_datum(0, 1, &isnull);
	SPI_freetuptable(SPI_tuptable);
	return isnull ? 0 : DatumGetFloat8(datum);
}

/* A double as an SQL literal. */
static char *
literal(double value)
{
	return psprintf("'%s'::pg_catalog.float8", float8out_internal(value));
}

/*
 * Further from a center than a distance?  A spread of nothing excludes no one.
 * Makes the check's expression of the parameters that the first scan found, in
 * `context`.
 */
void
pipeline_prepare_deviation(const ScanTarget *target, MemoryContext context,
						   Check *check)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	char	   *value = psprintf("%s::pg_catalog.float8", pipeline_column_reference(target, column));
	char	   *method = pipeline_kwarg_text(check->kwargs, "method");
	bool		z_scores = check->type->sub == SUB_Z_SCORE || (method && strcmp(method, "z_score") == 0);
	bool		mad = method != NULL && strcmp(method, "mad") == 0;
	double		threshold = pipeline_kwarg_number(check->kwargs, "threshold", z_scores ? 3 : mad ? 3.5 : 1.5);
	double		low;
	double		high;

	check->shown = list_make1(column);
	if (!check->has_parameters)
		check->expression = psprintf("(%s IS NULL OR NULL::pg_catalog.bool)", value);
	else if (z_scores)
	{
		char	   *score = psprintf("((%s OPERATOR(pg_catalog.-) %s) OPERATOR(pg_catalog./) nullif(%s, 0))", value,
									 literal(check->parameters[0]), literal(check->parameters[1]));

		if (check->type->sub == SUB_OUTLIERS || pipeline_kwarg_bool(check->kwargs, "double_sided"))
			score = psprintf("pg_catalog.abs(%s)", score);
		check->expression = psprintf("CASE WHEN %s IS NOT NULL THEN coalesce(%s OPERATOR(pg_catalog.<) %s, true) END",
									 value, score, literal(threshold));
	}
	else
	{
		if (mad)
		{
			/* 0.6745: a deviation of a normal distribution in units of its MAD. */
			double		reach = threshold * median_distance(target, check, value) / 0.6745;

			low = check->parameters[2] - reach;
			high = check->parameters[2] + reach;
		}
		else
		{
			double		reach = threshold * (check->parameters[1] - check->parameters[0]);

			low = check->parameters[0] - reach;
			high = check->parameters[1] + reach;
		}
		check->expression = psprintf("(%s BETWEEN %s AND %s)", value, literal(low), literal(high));
		check->result.details = pipeline_jsonb_from(psprintf("{\"low\": \"%s\", \"high\": \"%s\"}",
															 float8out_internal(low), float8out_internal(high)));
	}
	MemoryContextSwitchTo(old);
}
