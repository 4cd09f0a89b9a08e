/*
 * plan.c
 *	  plan(): what a run would do, without a run.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "runner/runner.h"

/*
 * The interval of the schedule that starts at `start`; NULL: the last complete
 * one.  Raises 22023 when none starts there.  Without a schedule it has no
 * length.
 */
void
runner_interval_from(const PipelineDef *def, const TimestampTz *start,
					 TimestampTz *from, TimestampTz *to)
{
	TimestampTz due;
	CronExpr	expr;
	pg_tz	   *tz = pipeline_timezone(def->timezone);

	*from = *to = start ? *start : GetCurrentTimestamp();
	if (def->schedule == NULL)
		return;
	if (start == NULL)
	{
		runner_last_interval(def->schedule, def->timezone, def->interval_align, *to, from, to);
		return;
	}
	due = *start;
	runner_cron_parse(def->schedule, &expr);
	do
	{
		if (!runner_cron_next(&expr, tz, due, &due))
			break;
		runner_last_interval(def->schedule, def->timezone, def->interval_align, due, from, to);
	} while (*from < *start);
	if (*from != *start)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no interval of pipeline \"%s\" starts at %s", def->name, pstrdup(timestamptz_to_str(*start))),
				 errdetail("The next one starts at %s.", pstrdup(timestamptz_to_str(*from)))));
}

PG_FUNCTION_INFO_V1(pipeline_plan);

/* SQL: plan(pipeline, params, interval_start) */
Datum
pipeline_plan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PipelineDef *def;
	TimestampTz start;
	TimestampTz from;
	TimestampTz to;
	UserScope	scope;
	uint64		n;

	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "params");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	def = runner_load_pipeline(pipeline_arg_text(fcinfo, 0));
	if (!runner_may(def->owner, def->name, false))
		runner_check_operator(def->owner, def->name);
	(void) runner_merge_params(def, PG_GETARG_JSONB_P(1));
	if (!PG_ARGISNULL(2))
		start = PG_GETARG_TIMESTAMPTZ(2);
	runner_interval_from(def, PG_ARGISNULL(2) ? NULL : &start, &from, &to);
	pipeline_extension_begin(&scope);
	n = pipeline_sql("WITH RECURSIVE levels AS ("
					 "  SELECT t.task, 1 AS level FROM pipeline.tasks t WHERE t.pipeline = $1 AND t.depends_on = '{}'"
					 "  UNION SELECT t.task, l.level + 1 FROM levels l JOIN pipeline.tasks t"
					 "  ON t.pipeline = $1 AND l.task = ANY (t.depends_on))"
					 " SELECT max(l.level), t.task, t.command,"
					 "   CASE WHEN t.depends_on = '{}' THEN"
					 "     format('at the start of the run over [%s, %s)', $2::timestamptz, $3::timestamptz)"
					 "   WHEN t.trigger_rule = 'always' THEN 'at the start, whatever becomes of ' || d.names"
					 "   WHEN t.trigger_rule = 'all_success' THEN"
					 "     format('when %s %s succeeded', d.names, CASE cardinality(t.depends_on) WHEN 1 THEN 'has' ELSE 'have' END)"
					 "   ELSE format('when, of %s, %s', d.names, CASE t.trigger_rule"
					 "     WHEN 'all_failed' THEN 'all have failed'"
					 "     WHEN 'all_done' THEN 'all have ended'"
					 "     WHEN 'one_success' THEN 'one has succeeded'"
					 "     WHEN 'one_failed' THEN 'one has failed'"
					 "     WHEN 'one_done' THEN 'one has succeeded or failed'"
					 "     WHEN 'none_failed' THEN 'all have ended and none failed'"
					 "     WHEN 'none_failed_min_one_success' THEN 'all have ended, none failed and one succeeded'"
					 "     WHEN 'none_skipped' THEN 'all have ended and none was skipped'"
					 "     WHEN 'all_skipped' THEN 'all were skipped'"
					 "     ELSE t.trigger_rule END) END"
					 "   || coalesce('; when this has become true: ' || t.wait_for, '')"
					 "   || coalesce('; if ' || t.condition, '')"
					 "   || coalesce('; once for each row of ' || (to_jsonb(t) ->> 'foreach'), '')"
					 " FROM pipeline.tasks t JOIN levels l USING (task),"
					 "   LATERAL (SELECT string_agg(n, ', ' ORDER BY n) AS names FROM unnest(t.depends_on) n) d"
					 " WHERE t.pipeline = $1"
					 " GROUP BY t.pipeline, t.task, d.names ORDER BY 1, t.priority DESC, t.task COLLATE \"C\"",
					 SPI_OK_SELECT, sql_text(def->name), sql_time(from), sql_time(to));
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[4];
		bool		nulls[4];

		for (int column = 0; column < 4; column++)
			values[column] = pipeline_sql_datum(i, column + 1, &nulls[column]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	return (Datum) 0;
}
