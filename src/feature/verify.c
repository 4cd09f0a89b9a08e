/*
 * verify.c
 *	  SQL: verify_features(): compute rows of the target again in plain SQL,
 *	  one correlated subquery a feature, and say which differ.
 *
 * This is the definition of a feature, written out: it shares no code with the
 * computation, and looks at one row of the target at a time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "feature/refresh.h"

/* What the text of one feature is made of. */
typedef struct Oracle
{
	const FeaturePlan *plan;
	const Feature *feature;
	const FeatureSpec *spec;
	const Stream *stream;
	const char *at;				/* the row's time, aligned */
	const char *time;			/* the event's */
	const char *from;			/* the source */
	const char *within;			/* is the event in the window? */
	const char *counted;		/* FILTER clause: does it count? */
} Oracle;

static char *
interval_literal(const Interval *interval)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(interval_out,
														   IntervalPGetDatum(interval)));

	return psprintf("%s::pg_catalog.interval", quote_literal_cstr(text));
}

static char *
as_time(const char *column, bool epoch)
{
	return epoch ? psprintf("pg_catalog.to_timestamp(%s)", column) : pstrdup(column);
}

/* The row's time; a date is its midnight. */
static char *
row_time(const Oracle *o)
{
	const FeaturePlan *plan = o->plan;
	char	   *time = as_time(psprintf("pipeline_row.%s", quote_identifier(plan->event_time)),
							   plan->epoch);

	if (plan->local)
		time = psprintf("%s::pg_catalog.timestamp", time);
	return o->spec->align ? psprintf("pg_catalog.date_trunc(%s, %s)",
									 quote_literal_cstr(o->spec->align), time) : time;
}

static char *
window_condition(const Oracle *o)
{
	const FeatureSpec *spec = o->spec;
	StringInfoData sql;
	char	   *known;

	initStringInfo(&sql);
	for (int i = 0; i < o->plan->nkeys; i++)
		appendStringInfo(&sql, "%s = pipeline_row.%s AND ",
						 quote_identifier(list_nth(o->stream->entity, i)),
						 quote_identifier(list_nth(o->plan->entity, i)));
	appendStringInfo(&sql, "%s %s %s - %s AND %s %s %s + %s", o->time,
					 spec->closed_left ? ">=" : ">", o->at, interval_literal(spec->lookback),
					 o->time, spec->closed_right ? "<=" : "<", o->at,
					 interval_literal(spec->lookahead));
	appendStringInfo(&sql, " AND (pipeline_row.as_of IS NULL OR %s < pipeline_row.as_of)", o->time);
	if (o->stream->knowledge_time == NULL)
		return sql.data;
	known = as_time(quote_identifier(o->stream->knowledge_time), o->stream->known_epoch);
	appendStringInfo(&sql, " AND %s IS NOT NULL AND (pipeline_row.as_of IS NULL OR %s < pipeline_row.as_of)",
					 known, known);
	if (!spec->looks_ahead)
		appendStringInfo(&sql, " AND %s %s %s", known, spec->closed_right ? "<=" : "<", o->at);
	return sql.data;
}

static char *
value_of(const Oracle *o)
{
	return o->spec->value ? pipeline_expression(o->spec->value, "value") : pstrdup("1");
}

static char *
filter_of(const Oracle *o)
{
	return o->spec->filter ? pipeline_expression(o->spec->filter, "filter") : pstrdup("true");
}

/* The arguments that follow the value in a call, each between the two. */
static char *
arguments_of(const Oracle *o, const char *before, const char *after)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, o->spec->arguments)
		appendStringInfo(&sql, "%s%s%s", before, pipeline_expression(lfirst(lc), "args"), after);
	return sql.data;
}

static char *
window_length(const Oracle *o)
{
	const char *cast = o->stream->local ? "" : "::pg_catalog.timestamptz";

	return psprintf("CASE WHEN pg_catalog.isfinite(%s) THEN extract(epoch FROM (%s + %s)%s - (%s - %s)%s)::float8 END",
					o->at, o->at, interval_literal(o->spec->lookahead), cast, o->at,
					interval_literal(o->spec->lookback), cast);
}

/* The aggregate over the events that count, of which there is one. */
static char *
aggregate_of(const Oracle *o)
{
	const FeatureSpec *spec = o->spec;
	char	   *value = value_of(o);

	switch (spec->aggregate)
	{
		case AGGREGATE_COUNT:
			return psprintf("count(*) %s", o->counted);
		case AGGREGATE_EXISTS:
			return pstrdup("true");
		case AGGREGATE_COUNT_DISTINCT:
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			return psprintf("count(DISTINCT %s) %s", value, o->counted);
		case AGGREGATE_FIRST:
			return psprintf("(array_agg(%s ORDER BY %s, %s) %s)[1]", value, o->time, value, o->counted);
		case AGGREGATE_LAST:
			return psprintf("(array_agg(%s ORDER BY %s DESC, %s DESC) %s)[1]", value, o->time, value, o->counted);
		case AGGREGATE_LAST_K:
			return psprintf("(array_agg(%s ORDER BY %s DESC, %s DESC) %s)[1:%d]", value, o->time, value,
							o->counted, spec->k);
		case AGGREGATE_TIME_SINCE_FIRST:
		case AGGREGATE_TIME_SINCE_LAST:
			return psprintf("%s - (%s(%s) %s)%s", o->at,
							spec->aggregate == AGGREGATE_TIME_SINCE_FIRST ? "min" : "max",
							o->time, o->counted,
							o->stream->local ? "::pg_catalog.timestamp" : "::pg_catalog.timestamptz");
		case AGGREGATE_RATE:
			return psprintf("count(*) %s * %.6f / nullif(%s, 0)", o->counted,
							(double) spec->per / USECS_PER_SEC, window_length(o));
		case AGGREGATE_PERCENTILE:
			return psprintf("percentile_%s(%.17g) WITHIN GROUP (ORDER BY %s%s) %s",
							spec->continuous ? "cont" : "disc", spec->fraction, value,
							spec->continuous && o->feature->value_type != INTERVALOID ? "::float8" : "", o->counted);
		case AGGREGATE_DECAYED_SUM:
			return psprintf("sum(%s::float8 * exp(greatest(-700, -ln(2::float8) * extract(epoch FROM %s - %s%s)::float8 / %.6f))) %s",
							value, o->at, o->time,
							o->stream->local ? "::pg_catalog.timestamp" : "::pg_catalog.timestamptz",
							(double) spec->half_life / USECS_PER_SEC, o->counted);
		case AGGREGATE_OTHER:
			return psprintf("%s(%s%s) %s", other_aggregate_name(spec->aggregate_name), value,
							arguments_of(o, ", ", ""), o->counted);
		default:
			return psprintf("%s(%s) %s", spec->aggregate_name, value, o->counted);
	}
}

static char *
empty_value(const Oracle *o)
{
	if (o->spec->default_value != NULL)
		return psprintf("%s::%s", quote_literal_cstr(o->spec->default_value),
						format_type_extended(o->feature->result_type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
											 FORMAT_TYPE_FORCE_QUALIFY));
	switch (o->spec->aggregate)
	{
		case AGGREGATE_COUNT:
		case AGGREGATE_COUNT_DISTINCT:
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			return pstrdup("0");
		case AGGREGATE_RATE:
			return psprintf("0 / nullif(%s, 0)", window_length(o));
		case AGGREGATE_EXISTS:
			return pstrdup("false");
		default:
			return pstrdup("NULL");
	}
}

/* The feature of the row `pipeline_row`, as SQL. */
static char *
oracle_sql(const Oracle *o)
{
	char	   *value = value_of(o);

	if (o->spec->aggregate == AGGREGATE_TOP_K)
		return psprintf("coalesce((SELECT array_agg(v ORDER BY n DESC, v) FROM (SELECT %s AS v, count(*) AS n FROM %s"
						" WHERE %s AND (%s) AND (%s) IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %d) x), %s)",
						value, o->from, o->within, filter_of(o), value, o->spec->k, empty_value(o));
	if (o->feature->by >= 0)
		return psprintf("(SELECT coalesce(jsonb_object_agg(k, v), %s) FROM (SELECT %s::text AS k, %s AS v FROM %s"
						" WHERE %s GROUP BY 1 HAVING count(*) %s > 0) x WHERE k IS NOT NULL AND v IS NOT NULL)",
						o->spec->default_value ? empty_value(o) : "'{}'",
						pipeline_expression(o->spec->by, "by"), aggregate_of(o), o->from,
						o->within, o->counted);
	return psprintf("(SELECT CASE WHEN count(*) %s = 0 THEN %s ELSE %s END FROM %s WHERE %s)",
					o->counted, empty_value(o), aggregate_of(o), o->from, o->within);
}

/* Do the two differ by more than the order of summation can make them? */
static char *
differs(const Oracle *o, const char *column)
{
	if (o->spec->aggregate == AGGREGATE_APPROX_COUNT_DISTINCT)
		return psprintf("abs(%s - o.want) > 5.2 / sqrt(2 ^ %d) * o.want + 2", column, o->spec->precision);
	if (o->feature->result_type == FLOAT8OID || o->feature->result_type == FLOAT4OID)
		return psprintf("%s IS DISTINCT FROM o.want AND (%s IS NULL OR o.want IS NULL OR"
						" abs(%s - o.want) > 1e-6 * greatest(abs(%s), abs(o.want), 1e-6))",
						column, column, column, column);
	/* Of equal values with other digits any may be the least, or come first. */
	if (o->feature->result_type == NUMERICOID || o->feature->result_type == NUMERICARRAYOID)
		return psprintf("%s IS DISTINCT FROM o.want", column);
	return psprintf("%s::text IS DISTINCT FROM o.want::text", column);
}

/* Floats in a map, and the top of a map, have no exact text. */
static bool
can_verify(const Feature *feature)
{
	return feature->by < 0 ||
		(feature->spec->aggregate != AGGREGATE_TOP_K &&
		 feature->spec->aggregate != AGGREGATE_APPROX_COUNT_DISTINCT &&
		 feature->value_type != FLOAT8OID && feature->value_type != FLOAT4OID);
}

static char *
verification(const FeatureSet *set, const FeaturePlan *plan,
			 const Feature *feature, int sample)
{
	Oracle		o = {plan, feature, feature->spec, list_nth(plan->streams, feature->stream)};
	char	   *column = psprintf("pipeline_row.%s", quote_identifier(feature->spec->name));

	o.at = row_time(&o);
	o.time = as_time(quote_identifier(o.stream->event_time), o.stream->epoch);
	o.from = psprintf("%s%s", o.stream->source->from,
					  OidIsValid(o.stream->source->relid) ? "" : " AS source");
	o.within = window_condition(&o);
	o.counted = psprintf("FILTER (WHERE (%s) AND (%s) IS NOT NULL%s)", filter_of(&o), value_of(&o),
						 arguments_of(&o, " AND ", " IS NOT NULL"));
	return psprintf("SELECT count(*), count(*) FILTER (WHERE wrong), (array_agg(jsonb_build_object('row', shown, 'want', want)) FILTER (WHERE wrong))[1]"
					" FROM (SELECT to_jsonb(pipeline_row) AS shown, o.want, coalesce(%s, false) AS wrong"
					" FROM (SELECT * FROM %s AS target ORDER BY random() LIMIT %d) AS pipeline_row, LATERAL (SELECT %s AS want) o) x",
					differs(&o, column), set->target, sample, oracle_sql(&o));
}

static void
verify_feature(ReturnSetInfo *rsinfo, const FeatureSet *set,
			   const FeaturePlan *plan, const Feature *feature, int sample)
{
	const FeatureSpec *whole = feature->spec->whole ? feature->spec->whole : feature->spec;
	Datum		values[5];
	bool		nulls[5] = {false, false, true, true, true};

	values[0] = CStringGetTextDatum(whole->name);
	values[1] = CStringGetTextDatum(feature->spec->name);
	if (can_verify(feature))
	{
		pipeline_sql_generated(verification(set, plan, feature, sample), SPI_OK_SELECT, true);
		for (int i = 0; i < 3; i++)
			values[2 + i] = pipeline_sql_datum(0, i + 1, &nulls[2 + i]);
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(pipeline_verify_features);

/* SQL: verify_features(set, sample). */
Datum
pipeline_verify_features(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	FeatureSet *set;
	FeaturePlan *plan;
	UserScope	scope;
	ListCell   *lc;

	pipeline_not_null(fcinfo, 0, "set");
	pipeline_not_null(fcinfo, 1, "sample");
	if (PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"sample\" must be positive"),
				 errdetail("It is %d.", PG_GETARG_INT32(1))));
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	set = feature_set_load(pipeline_arg_text(fcinfo, 0));
	feature_set_begin(set, &scope);
	plan = feature_plan(set->spine, set->entity, set->event_time,
						set->knowledge_time, set->specs);
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(lc, plan->features)
		verify_feature(rsinfo, set, plan, lfirst(lc), PG_GETARG_INT32(1));
	PopActiveSnapshot();
	pipeline_scope_end(&scope);
	SPI_finish();
	return (Datum) 0;
}
