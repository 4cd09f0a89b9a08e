/*
 * check_history.c
 *	  Checks against what earlier validations of the suite found.
 *
 * Only validations since the expectation was last defined count for it: to
 * call expect() again is to accept what is there now.  Without a suite, or
 * without enough history, there is nothing to compare with, and they pass.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "expect/distribution.h"

/* A spread smaller than this part of the median is none. */
#define LEAST_SPREAD 0.01
/* Makes a median absolute deviation one standard deviation of a normal one. */
#define MAD_SCALE 1.4826
#define MAX_VALUES 1000

/* The details of the last result of an expectation, or NULL. */
Jsonb *
pipeline_previous_details(const ScanTarget *target, const Check *check)
{
	UserScope	scope;
	Jsonb	   *details = NULL;
	bool		isnull;
	Datum		value;

	if (target->suite == NULL || check->name == NULL)
		return NULL;
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT r.details FROM pipeline.expectations e"
					 " JOIN pipeline.validations v ON v.suite = e.suite AND v.owner = e.owner AND v.started_at >= e.defined_at"
					 " JOIN pipeline.expectation_results r ON r.validation_id = v.validation_id AND r.name = e.name"
					 " WHERE e.suite = $1 AND e.name = $2 AND r.error IS NULL AND r.details IS NOT NULL"
					 " ORDER BY v.validation_id DESC LIMIT 1", SPI_OK_SELECT,
					 sql_text(target->suite->name), sql_text(check->name)) > 0)
	{
		value = pipeline_sql_datum(0, 1, &isnull);
		details = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	}
	SPI_freetuptable(SPI_tuptable);
	pipeline_scope_end(&scope);
	return details;
}

/* ---- numbers of the past ----------------------------------------------------------- */

typedef struct History
{
	int			n;
	double		median;
	double		mad;			/* median absolute deviation */
} History;

/*
 * The values of the past, newest first, at most `window`.  `season` is NULL,
 * "weekday" or "hour": then only those of the same one.  *what is the rows of
 * the validations, or what the expectation observed.
 */
static History
read_history(const ScanTarget *target, const Check *check, bool rows, int64 window, const char *season)
{
	History		h = {0};
	UserScope	scope;
	bool		isnull;

	if (target->suite == NULL || check->name == NULL)
		return h;
	pipeline_extension_begin(&scope);
	pipeline_sql("WITH past AS (SELECT CASE WHEN $3 THEN v.rows::float8 ELSE (r.observed_value #>> '{}')::float8 END AS x"
				 " FROM pipeline.expectations e"
				 " JOIN pipeline.validations v ON v.suite = e.suite AND v.owner = e.owner AND v.started_at >= e.defined_at"
				 " LEFT JOIN pipeline.expectation_results r ON r.validation_id = v.validation_id AND r.name = e.name"
				 " WHERE e.suite = $1 AND e.name = $2 AND v.where_clause IS NOT DISTINCT FROM $6"
				 " AND CASE WHEN $3 THEN v.rows IS NOT NULL ELSE jsonb_typeof(r.observed_value) = 'number' END"
				 " AND CASE $5 WHEN 'weekday' THEN extract(isodow FROM v.started_at) = extract(isodow FROM now())"
				 " WHEN 'hour' THEN extract(hour FROM v.started_at) = extract(hour FROM now()) ELSE true END"
				 " ORDER BY v.validation_id DESC LIMIT $4),"
				 " m AS (SELECT count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS median FROM past)"
				 " SELECT m.n, m.median, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(x - m.median)) FROM past) FROM m",
				 SPI_OK_SELECT, sql_text(target->suite->name), sql_text(check->name), sql_bool(rows),
				 sql_int8(window), sql_text(season), sql_text(target->where_text));
	h.n = (int) pipeline_sql_int8(0, 1);
	if (h.n > 0)
	{
		h.median = DatumGetFloat8(pipeline_sql_datum(0, 2, &isnull));
		h.mad = DatumGetFloat8(pipeline_sql_datum(0, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	pipeline_scope_end(&scope);
	return h;
}

static int64
kwarg_int_or(const Check *check, const char *name, int64 otherwise)
{
	int64		value = otherwise;

	pipeline_kwarg_int(check->kwargs, name, &value);
	return value;
}

/* Is the number of rows within a part of the median of the last ones? */
void
pipeline_near_history(const ScanTarget *target, Check *check, int64 rows)
{
	CheckResult *r = &check->result;
	double		tolerance = pipeline_kwarg_number(check->kwargs, "tolerance", 0.5);
	History		h = read_history(target, check, true, kwarg_int_or(check, "window", 10),
								 pipeline_kwarg_bool(check->kwargs, "same_weekday") ? "weekday" : NULL);

	if (rows < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the rows of the target could not be counted")));
	r->observed = pipeline_jsonb_from(psprintf(INT64_FORMAT, rows));
	r->success = h.n < kwarg_int_or(check, "min_history", 3) ||
		fabs(rows - h.median) <= tolerance * h.median;
	r->details = pipeline_jsonb_from(h.n == 0 ? "{\"history\": 0}" :
									 psprintf("{\"history\": %d, \"median\": %s, \"min\": %s, \"max\": %s}", h.n,
											  float8out_internal(h.median),
											  float8out_internal(h.median * Max(1 - tolerance, 0)),
											  float8out_internal(h.median * (1 + tolerance))));
}

/* The metric of the column, or the number of rows; false when there is none. */
static bool
metric_now(const ScanTarget *target, const Check *check, const char *metric, int64 rows, double *value)
{
	static const struct
	{
		const char *metric;
		const char *format;
	}			metrics[] = {
		{"mean", "pg_catalog.avg(%s::pg_catalog.float8)"}, {"sum", "pg_catalog.sum(%s::pg_catalog.float8)"},
		{"min", "pg_catalog.min(%s::pg_catalog.float8)"}, {"max", "pg_catalog.max(%s::pg_catalog.float8)"},
		{"stdev", "pg_catalog.stddev_samp(%s::pg_catalog.float8)"},
		{"distinct_count", "pg_catalog.count(DISTINCT %s)::pg_catalog.float8"},
		{"null_fraction", "1 - pg_catalog.count(%s)::pg_catalog.float8 / nullif(pg_catalog.count(*), 0)"}
	};
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	const char *format = NULL;
	bool		isnull;
	Datum		datum;

	if (strcmp(metric, "row_count") == 0)
	{
		*value = rows;
		return rows >= 0;
	}
	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("metric \"%s\" needs the key \"column\" in argument \"kwargs\"", metric)));
	for (int i = 0; i < lengthof(metrics); i++)
		if (strcmp(metrics[i].metric, metric) == 0)
			format = metrics[i].format;
	Assert(format != NULL);
	pipeline_sql_generated(psprintf("SELECT %s %s", psprintf(format, pipeline_column_reference(target, column)),
									pipeline_from_where(target, pipeline_check_condition(check))),
						   SPI_OK_SELECT, true);
	datum = pipeline_sql_datum(0, 1, &isnull);
	*value = isnull ? 0 : DatumGetFloat8(datum);
	SPI_freetuptable(SPI_tuptable);
	return !isnull;
}

/* How many (scaled) deviations is the metric from the median of its past? */
void
pipeline_anomaly(const ScanTarget *target, Check *check, int64 rows)
{
	CheckResult *r = &check->result;
	char	   *metric = pipeline_kwarg_text(check->kwargs, "metric");
	char	   *season = pipeline_kwarg_text(check->kwargs, "season");
	double		threshold = pipeline_kwarg_number(check->kwargs, "threshold", 3.5);
	int64		window = kwarg_int_or(check, "window", 30);
	int64		needed = kwarg_int_or(check, "min_history", 5);
	bool		of_rows = metric == NULL || strcmp(metric, "row_count") == 0;
	History		h = read_history(target, check, of_rows && check->row_condition == NULL, window, season);
	double		value;
	double		spread;
	double		score;

	/* A season too young to tell leaves the whole past. */
	if (season && h.n < needed)
		h = read_history(target, check, of_rows && check->row_condition == NULL, window, NULL);
	if (!metric_now(target, check, metric ? metric : "row_count", rows, &value))
	{
		r->success = h.n < needed;
		return;
	}
	r->observed = pipeline_jsonb_from(isfinite(value) ? float8out_internal(value) : psprintf("\"%s\"", float8out_internal(value)));
	if (h.n < needed)
	{
		r->success = true;
		r->details = pipeline_jsonb_from(psprintf("{\"history\": %d}", h.n));
		return;
	}
	spread = Max(h.mad * MAD_SCALE, LEAST_SPREAD * fabs(h.median));
	score = value == h.median ? 0 : spread == 0 ? get_float8_infinity() : fabs(value - h.median) / spread;
	r->success = score <= threshold;
	r->details = pipeline_jsonb_from(psprintf("{\"history\": %d, \"median\": %s, \"mad\": %s, \"score\": %s}", h.n,
											  float8out_internal(h.median), float8out_internal(h.mad),
											  isfinite(score) ? float8out_internal(score) : "\"Infinity\""));
}

/* ---- what a drift is measured against ------------------------------------------------- */

/* Bins of about as many rows each, open at both ends. */
static Jsonb *
numeric_partition(const char *column, const char *from, int64 bins)
{
	StringInfoData quantiles;
	Jsonb	   *partition = NULL;
	bool		isnull;
	Datum		value;

	initStringInfo(&quantiles);
	for (int64 i = 1; i < bins; i++)
		appendStringInfo(&quantiles, "%s%g", i > 1 ? ", " : "", (double) i / bins);
	pipeline_sql_generated(psprintf("WITH e AS (SELECT pg_catalog.array_agg(DISTINCT q ORDER BY q) AS edges FROM pg_catalog.unnest("
									"(SELECT pg_catalog.percentile_disc(ARRAY[%s]::pg_catalog.float8[]) WITHIN GROUP (ORDER BY %s::pg_catalog.float8) %s)) AS q),"
									" c AS (SELECT pg_catalog.width_bucket(%s::pg_catalog.float8, (SELECT edges FROM e)) AS b, pg_catalog.count(*)::pg_catalog.float8 AS n"
									" FROM (SELECT %s AS \"?v\" %s) AS v WHERE \"?v\" IS NOT NULL GROUP BY 1)"
									" SELECT pg_catalog.jsonb_build_object('bins', pg_catalog.jsonb_build_array('-Infinity') || pg_catalog.to_jsonb(e.edges) || pg_catalog.jsonb_build_array('Infinity'),"
									" 'weights', (SELECT pg_catalog.jsonb_agg(coalesce(c.n, 0) / (SELECT pg_catalog.sum(n) FROM c) ORDER BY i)"
									" FROM pg_catalog.generate_series(0, pg_catalog.cardinality(e.edges)) AS i LEFT JOIN c ON c.b = i)) FROM e WHERE e.edges IS NOT NULL",
									quantiles.data, column, from, "\"?v\"", column, from),
						   SPI_OK_SELECT, true);
	if (SPI_processed > 0)
	{
		value = pipeline_sql_datum(0, 1, &isnull);
		partition = isnull ? NULL : (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	}
	SPI_freetuptable(SPI_tuptable);
	return partition;
}

/* The share of each value, if they are not too many. */
static Jsonb *
value_partition(const char *column, const char *from)
{
	Jsonb	   *partition;
	bool		isnull;
	Datum		value;

	pipeline_sql_generated(psprintf("WITH c AS (SELECT %s AS v, pg_catalog.count(*)::pg_catalog.float8 AS n %s GROUP BY 1)"
									" SELECT pg_catalog.count(*), pg_catalog.jsonb_build_object('values', pg_catalog.jsonb_agg(v ORDER BY v),"
									" 'weights', pg_catalog.jsonb_agg(n / (SELECT pg_catalog.sum(n) FROM c WHERE v IS NOT NULL) ORDER BY v))"
									" FROM c WHERE v IS NOT NULL", column, from), SPI_OK_SELECT, true);
	if (pipeline_sql_int8(0, 1) > MAX_VALUES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the column has more than %d distinct values and is not of numbers", MAX_VALUES)));
	value = pipeline_sql_datum(0, 2, &isnull);
	partition = pipeline_sql_int8(0, 1) == 0 ? NULL : (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	SPI_freetuptable(SPI_tuptable);
	return partition;
}

/*
 * The kwargs that stand for the check's in the scan: {"partition_object"} of
 * the reference table, of the validation before, or of the target itself the
 * first time; {} where there are no values.
 */
Jsonb *
pipeline_drift_reference(const ScanTarget *target, const Check *check)
{
	char	   *table = pipeline_kwarg_text(check->kwargs, "reference_table");
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	char	   *other_column = pipeline_kwarg_text(check->kwargs, "reference_column");
	char	   *method = pipeline_kwarg_text(check->kwargs, "method");
	int64		bins = kwarg_int_or(check, "bins", method && strcmp(method, "ks") == 0 ? 100 : 10);
	Oid			typid = pipeline_column_attribute(target, column)->atttypid;
	Jsonb	   *previous = table ? NULL : pipeline_previous_details(target, check);
	Jsonb	   *partition = previous ? pipeline_kwarg_json(previous, "partition") : NULL;
	char	   *from;
	char	   *reference;

	if (bins < 2 || bins > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"bins\" in argument \"kwargs\" must be from 2 to 1000")));
	if (partition == NULL)
	{
		from = pipeline_from_where(target, pipeline_check_condition(check));
		reference = pipeline_column_reference(target, column);
		if (table)
		{
			Source	   *source = pipeline_source(table, "reference_table");

			(void) pipeline_source_column(source, other_column ? other_column : column, "reference_table");
			from = psprintf("FROM %s AS \"?reference\"", source->from);
			reference = psprintf("\"?reference\".%s", quote_identifier(other_column ? other_column : column));
		}
		partition = pipeline_is_number_type(getBaseType(typid)) ?
			numeric_partition(reference, from, bins) : value_partition(reference, from);
	}
	if (partition == NULL)
		return pipeline_jsonb_object(0, NULL, NULL);
	return pipeline_jsonb_from(psprintf("{\"partition_object\": %s}",
										JsonbToCString(NULL, &partition->root, VARSIZE(partition))));
}
