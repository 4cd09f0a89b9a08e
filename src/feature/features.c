/*
 * features.c
 *	  SQL: features() and features_columns(), over any spine, nothing stored.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "feature/feature.h"

/* Analyse the arguments that the two functions share. */
static FeaturePlan *
plan_from_arguments(FunctionCallInfo fcinfo)
{
	pipeline_not_null(fcinfo, 0, "spine");
	pipeline_not_null(fcinfo, 1, "entity");
	pipeline_not_null(fcinfo, 2, "event_time");
	pipeline_not_null(fcinfo, 3, "features");
	return feature_plan(pipeline_arg_text(fcinfo, 0),
						pipeline_array_list(pipeline_arg_array(fcinfo, 1), "entity"),
						pipeline_arg_text(fcinfo, 2), NULL,
						feature_specs_from_jsonb(pipeline_arg_jsonb(fcinfo, 3)));
}

/* The caller's column definition list must be what comes out. */
static void
check_columns(const FeaturePlan *plan, TupleDesc wanted)
{
	bool		same = wanted->natts == plan->result->natts;

	for (int i = 0; same && i < wanted->natts; i++)
	{
		Form_pg_attribute has = TupleDescAttr(plan->result, i);
		Form_pg_attribute wants = TupleDescAttr(wanted, i);

		/* No value is coerced: a modifier must be one that values obey. */
		same = wants->atttypid == has->atttypid &&
			(wants->atttypmod < 0 || wants->atttypmod == has->atttypmod);
	}
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the column definition list does not match the features"),
				 errhint("Write AS (%s).", feature_column_list(plan))));
}

/* Say what was left out: nothing is silently lost. */
static void
report_rejects(const FeatureCounts *counts)
{
	if (counts->rows_rejected == 0 && counts->events_rejected == 0)
		return;
	ereport(NOTICE,
			(errmsg("left out for NULL in the entity or the event time: %lld of %lld rows of the spine, %lld of %lld events",
					(long long) counts->rows_rejected,
					(long long) counts->rows_read,
					(long long) counts->events_rejected,
					(long long) counts->events_read)));
}

PG_FUNCTION_INFO_V1(pipeline_features);

/* SQL: features(spine, entity, event_time, features, as_of). */
Datum
pipeline_features(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	FeaturePlan *plan;
	FeatureRange range = {0};
	FeatureCounts counts;
	TimestampTz as_of;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		(rsinfo->allowedModes & SFRM_Materialize) == 0 ||
		rsinfo->expectedDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("features() must be called in FROM"),
				 errhint("Write SELECT * FROM pipeline.features(...) AS (...); pipeline.features_columns(...) gives the list to follow AS.")));
	plan = plan_from_arguments(fcinfo);
	check_columns(plan, rsinfo->expectedDesc);
	if (!PG_ARGISNULL(4))
	{
		as_of = PG_GETARG_TIMESTAMPTZ(4);
		range.as_of = &as_of;
	}
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	features_run(plan, &range, NULL, rsinfo->setResult, &counts, NULL);
	report_rejects(&counts);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(pipeline_features_columns);

/* SQL: features_columns(spine, entity, event_time, features, as_of). */
Datum
pipeline_features_columns(PG_FUNCTION_ARGS)
{
	FeaturePlan *plan = plan_from_arguments(fcinfo);

	PG_RETURN_TEXT_P(cstring_to_text(feature_column_list(plan)));
}
