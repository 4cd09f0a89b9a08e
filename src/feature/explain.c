/*
 * explain.c
 *	  SQL: explain_features(): compute a set, write nothing, and say how it
 *	  went.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "feature/feature.h"

static void
put_step(ReturnSetInfo *rsinfo, const char *step, const char *source,
		 const char *way, int64 rows_read, int64 rows_kept, double ms)
{
	Datum		values[6];
	bool		nulls[6] = {false, source == NULL, false, rows_read < 0, rows_kept < 0, false};

	values[0] = CStringGetTextDatum(step);
	values[1] = source ? CStringGetTextDatum(source) : (Datum) 0;
	values[2] = CStringGetTextDatum(way);
	values[3] = Int64GetDatum(rows_read);
	values[4] = Int64GetDatum(rows_kept);
	values[5] = Float8GetDatum(ms);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_steps(ReturnSetInfo *rsinfo, const FeaturePlan *plan,
		  const FeatureReport *report, const FeatureCounts *counts)
{
	ListCell   *lc;

	foreach(lc, report->scans)
	{
		const ScanReport *scan = lfirst(lc);

		put_step(rsinfo, scan->stream ? "events" : "spine",
				 scan->stream ? scan->stream->source->text : plan->spine->text,
				 scan->way, scan->rows_read, scan->rows_kept, scan->ms);
	}
	put_step(rsinfo, "compute", NULL,
			 psprintf("%d features in %d windows, %u entities, %lld groups sorted again, %lld bytes spilled",
					  list_length(plan->features), list_length(plan->windows),
					  report->entities, (long long) report->sorted_again,
					  (long long) counts->spilled_bytes),
			 counts->rows_computed, counts->rows_computed, counts->compute_ms);
}

PG_FUNCTION_INFO_V1(pipeline_explain_features);

/* SQL: explain_features(set). */
Datum
pipeline_explain_features(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	FeatureSet *set;
	FeaturePlan *plan;
	FeatureRange range = {0};
	FeatureReport report = {0};
	FeatureCounts counts;
	Tuplestorestate *rows;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "set");
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	set = feature_set_load(pipeline_arg_text(fcinfo, 0));
	feature_set_begin(set, &scope);
	plan = feature_plan(set->spine, set->entity, set->event_time,
						set->knowledge_time, set->specs);
	report.context = CurrentMemoryContext;
	range.report = &report;
	rows = tuplestore_begin_heap(false, false, work_mem);
	PushActiveSnapshot(GetTransactionSnapshot());
	features_run(plan, &range, NULL, rows, &counts, NULL);
	PopActiveSnapshot();
	tuplestore_end(rows);
	pipeline_scope_end(&scope);
	put_steps(rsinfo, plan, &report, &counts);
	SPI_finish();
	return (Datum) 0;
}
