/*
 * check_verdict.c
 *	  From aggregates and distributions to verdicts.
 *
 * Where there is no value to look at, an aggregate is NULL: a check with
 * bounds fails, as no value is within them, and one without passes.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "expect/check.h"

#define RELATIVE_TOLERANCE 1e-4

static bool
has_bounds(const Jsonb *kwargs)
{
	JsonbValue	buf;

	return pipeline_kwarg(kwargs, "min_value", &buf) != NULL ||
		pipeline_kwarg(kwargs, "max_value", &buf) != NULL;
}

static Jsonb *
value_jsonb(Datum value, Oid typid)
{
	FmgrInfo	to_json;

	pipeline_prepare_to_json(&to_json, typid);
	return pipeline_jsonb_from(pipeline_value_json(&to_json, value, false, typid));
}

/* How old is the newest value?  A column of times without zone has the session's. */
static void
freshness(Check *check, Datum newest, Oid typid)
{
	CheckResult *r = &check->result;
	char	   *as_of = pipeline_kwarg_text(check->kwargs, "as_of");
	Interval   *limit = DatumGetIntervalP(DirectFunctionCall3(interval_in,
															  CStringGetDatum(pipeline_kwarg_text(check->kwargs, "max_age")),
															  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	Datum		now = as_of == NULL ? TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()) :
		DirectFunctionCall3(timestamptz_in, CStringGetDatum(as_of),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	Datum		age;

	if (typid == DATEOID)
		newest = DirectFunctionCall1(date_timestamptz, newest);
	else if (typid == TIMESTAMPOID)
		newest = DirectFunctionCall1(timestamp_timestamptz, newest);
	else if (typid != TIMESTAMPTZOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("freshness needs a column of dates or timestamps, and this one is of type %s",
						format_type_be(typid))));
	age = DirectFunctionCall2(timestamp_mi, now, newest);
	r->success = pipeline_compare_intervals(DatumGetIntervalP(age), limit) <= 0;
	r->observed = value_jsonb(newest, TIMESTAMPTZOID);
	r->details = pipeline_jsonb_from(psprintf("{\"age\": \"%s\"}",
											  DatumGetCString(DirectFunctionCall1(interval_out, age))));
}

/*
 * The verdict of an aggregate, from the row of the statement that is in
 * SPI_tuptable.  In the context that keeps the result.
 */
void
pipeline_aggregate_verdict(Check *check)
{
	CheckResult *r = &check->result;
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, check->columns[0], &isnull);
	Oid			typid = SPI_gettypeid(SPI_tuptable->tupdesc, check->columns[0]);

	r->done = true;
	r->has_counts = r->has_missing = true;
	r->elements = pipeline_sql_int8(0, check->columns[1]);
	r->missing = r->elements - pipeline_sql_int8(0, check->columns[2]);
	if (check->type->sub == SUB_STDEV)
	{
		bool		no_mean;
		Datum		mean = pipeline_sql_datum(0, check->columns[3], &no_mean);

		check->parameters[0] = no_mean ? 0 : DatumGetFloat8(mean);
	}
	if (isnull)
		r->success = check->type->sub != SUB_FRESHNESS && !has_bounds(check->kwargs);
	else if (check->type->sub == SUB_FRESHNESS)
		freshness(check, value, getBaseType(typid));
	else
	{
		r->observed = value_jsonb(value, typid);
		r->success = pipeline_bounds_hold(check->kwargs, value, typid);
	}
}

/* ---- distributions ------------------------------------------------------------------- */

static int64
count_of(const Jsonb *found, const char *key)
{
	int64		value = 0;

	pipeline_kwarg_int(found, key, &value);
	return value;
}

/* Does what was found come from a sketch? */
static bool
is_estimate(const Jsonb *found)
{
	return found != NULL && pipeline_kwarg_bool(found, "approximate");
}

/* The i-th value of an array, or NULL. */
static JsonbValue *
ith(const Jsonb *array, int i)
{
	JsonbValue *v = array ? getIthJsonbValueFromContainer((JsonbContainer *) &array->root, i) : NULL;

	return v == NULL || v->type == jbvNull ? NULL : v;
}

/* A value that went out as JSON, back as a Datum of its type. */
static Datum
value_datum(const JsonbValue *v, Oid typid)
{
	bool		never;

	return pipeline_kwarg_datum(v, getBaseType(typid), false, "observed_value", &never);
}

static void
count_verdict(Check *check, int64 count)
{
	check->result.observed = pipeline_jsonb_from(psprintf(INT64_FORMAT, count));
	check->result.success = pipeline_bounds_hold(check->kwargs, Int64GetDatum(count), INT8OID);
}

static void
proportion_verdict(Check *check, const Jsonb *found)
{
	CheckResult *r = &check->result;
	int64		present = r->elements - r->missing;
	double		proportion;

	if (present == 0)
	{
		r->success = !has_bounds(check->kwargs);
		return;
	}
	proportion = (double) count_of(found, "distinct") / present;
	r->observed = value_jsonb(Float8GetDatum(proportion), FLOAT8OID);
	r->success = pipeline_bounds_hold(check->kwargs, Float8GetDatum(proportion), FLOAT8OID);
}

static void
median_verdict(Check *check, const Jsonb *found, Oid typid)
{
	CheckResult *r = &check->result;
	JsonbValue *v = found ? ith(pipeline_kwarg_json(found, "values"), 0) : NULL;
	Oid			base = getBaseType(typid);

	if (v == NULL)
	{
		r->success = !has_bounds(check->kwargs);
		return;
	}
	/* Of whole numbers it may lie between two of them. */
	if (base == INT2OID || base == INT4OID || base == INT8OID)
		base = FLOAT8OID;
	r->observed = JsonbValueToJsonb(v);
	r->success = pipeline_bounds_hold(check->kwargs, value_datum(v, base), base);
}

/* The values of an array of {"value", "count"}. */
static Jsonb *
just_values(const Jsonb *list)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < JB_ROOT_COUNT(list); i++)
	{
		Jsonb	   *entry = JsonbValueToJsonb(getIthJsonbValueFromContainer((JsonbContainer *) &list->root, i));
		JsonbValue	v;
		Jsonb	   *value;

		getKeyJsonValueFromContainer(&entry->root, "value", 5, &v);
		value = JsonbValueToJsonb(&v);
		appendStringInfo(&buf, "%s%s", i ? ", " : "", JsonbToCString(NULL, &value->root, VARSIZE(value)));
	}
	appendStringInfoChar(&buf, ']');
	return pipeline_jsonb_from(buf.data);
}

static char *
json_string(const Jsonb *value)
{
	return JsonbToCString(NULL, (JsonbContainer *) &value->root, VARSIZE(value));
}

/* Without rows no value was seen, and whatever set was given is missing. */
static void
distinct_verdict(Check *check, const Jsonb *found)
{
	CheckResult *r = &check->result;
	Jsonb	   *values;
	bool		contains;

	if (found == NULL)
	{
		Jsonb	   *set = pipeline_kwarg_json(check->kwargs, "value_set");

		r->observed = pipeline_jsonb_from("[]");
		r->success = check->type->sub == SUB_DISTINCT_IN || set == NULL || JB_ROOT_COUNT(set) == 0;
		return;
	}
	values = pipeline_kwarg_json(found, "values");
	contains = pipeline_kwarg_bool(found, "all") || count_of(found, "hits") == count_of(found, "size");
	r->success = check->type->sub == SUB_DISTINCT_IN ? count_of(found, "misses") == 0 :
		check->type->sub == SUB_DISTINCT_CONTAIN ? contains :
		contains && count_of(found, "misses") == 0;
	r->observed = just_values(values);
	r->details = pipeline_jsonb_from(psprintf("{\"distinct_count\": " INT64_FORMAT ", \"value_counts\": %s, \"unexpected_values\": %s}",
											  count_of(found, "distinct"), json_string(values),
											  json_string(pipeline_kwarg_json(found, "others"))));
}

static void
most_common_verdict(Check *check, const Jsonb *found)
{
	CheckResult *r = &check->result;

	if (found == NULL || count_of(found, "ties") == 0)
	{
		r->observed = pipeline_jsonb_from("[]");
		r->success = false;
		return;
	}
	r->observed = pipeline_kwarg_json(found, "values");
	r->success = count_of(found, "hits") > 0 &&
		(count_of(found, "ties") == 1 || pipeline_kwarg_bool(check->kwargs, "ties_okay"));
	r->details = pipeline_jsonb_from(psprintf("{\"count\": " INT64_FORMAT "}", count_of(found, "count")));
}

static double
as_number(const JsonbValue *v)
{
	return v != NULL && v->type == jbvNumeric ? pipeline_json_number(v) : NAN;
}

/* Within the bounds, or as good as on one of them. */
static bool
quantile_fits(const JsonbValue *v, Oid typid, const JsonbContainer *range)
{
	JsonbValue *low = getIthJsonbValueFromContainer((JsonbContainer *) range, 0);
	JsonbValue *high = getIthJsonbValueFromContainer((JsonbContainer *) range, 1);
	StringInfoData kwargs;
	const JsonbValue *bounds[] = {low, high};

	initStringInfo(&kwargs);
	for (int i = 0; i < 2; i++)
	{
		Jsonb	   *bound = JsonbValueToJsonb((JsonbValue *) bounds[i]);

		if (fabs(as_number(v) - as_number(bounds[i])) <= RELATIVE_TOLERANCE * fabs(as_number(bounds[i])))
			return true;
		appendStringInfo(&kwargs, "%s\"%s\": %s", i ? ", " : "{", i ? "max_value" : "min_value",
						 json_string(bound));
	}
	appendStringInfoChar(&kwargs, '}');
	return pipeline_bounds_hold(pipeline_jsonb_from(kwargs.data), value_datum(v, typid), getBaseType(typid));
}

static void
quantiles_verdict(Check *check, const Jsonb *found, Oid typid)
{
	CheckResult *r = &check->result;
	Jsonb	   *ranges = pipeline_kwarg_json(check->kwargs, "quantile_ranges");
	Jsonb	   *quantiles = pipeline_kwarg_json(ranges, "quantiles");
	Jsonb	   *bounds = pipeline_kwarg_json(ranges, "value_ranges");
	Jsonb	   *values = found ? pipeline_kwarg_json(found, "values") : NULL;
	StringInfoData details;

	initStringInfo(&details);
	r->success = true;
	for (int i = 0; i < JB_ROOT_COUNT(quantiles); i++)
	{
		JsonbValue *v = ith(values, i);
		bool		fits = v != NULL &&
			quantile_fits(v, typid, getIthJsonbValueFromContainer(&bounds->root, i)->val.binary.data);

		r->success = r->success && fits;
		appendStringInfo(&details, "%s%s", i ? ", " : "", fits ? "true" : "false");
	}
	r->observed = pipeline_jsonb_from(psprintf("{\"quantiles\": %s, \"values\": %s}", json_string(quantiles),
											   values ? json_string(values) : "null"));
	r->details = pipeline_jsonb_from(psprintf("{\"success_details\": [%s]%s}", details.data,
											  is_estimate(found) ? ", \"approximate\": true" : ""));
}

/*
 * The verdict of a check of a column's values, from what the walk found for
 * it, or NULL when there were no rows.  In the context that keeps the result.
 */
void
pipeline_distribution_verdict(Check *check, const Jsonb *found, Oid typid)
{
	CheckResult *r = &check->result;

	r->done = true;
	r->has_counts = r->has_missing = true;
	r->elements = found ? count_of(found, "elements") : 0;
	r->missing = found ? count_of(found, "missing") : 0;
	if (is_estimate(found))
		r->details = pipeline_jsonb_from("{\"approximate\": true}");
	switch (check->type->sub)
	{
		case SUB_UNIQUE_COUNT:
			count_verdict(check, found ? count_of(found, "distinct") : 0);
			break;
		case SUB_PROPORTION:
			proportion_verdict(check, found);
			break;
		case SUB_MEDIAN:
			median_verdict(check, found, typid);
			break;
		case SUB_QUANTILES:
			quantiles_verdict(check, found, typid);
			break;
		case SUB_MOST_COMMON:
			most_common_verdict(check, found);
			break;
		case SUB_KL:
		case SUB_DRIFT:
			pipeline_divergence_verdict(check, found);
			break;
		default:
			distinct_verdict(check, found);
	}
}
