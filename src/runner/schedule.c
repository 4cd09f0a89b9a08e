/*
 * schedule.c
 *	  What is due: run_due() and the logical intervals of scheduled runs.
 *
 * The clock (pg_cron, or anything else) only calls run_due(); what is due is
 * computed from the tables, so that a missed tick loses nothing and a double
 * one does nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "runner/runner.h"

/* Runs that one call of run_due() makes for one pipeline. */
#define MOST_RUNS 1000

static const char *const align_units[] = {
	"hour", "day", "week", "month", "quarter", "year", NULL
};

/* Raise 22023 unless it is a unit that intervals can be aligned to. */
void
runner_check_align(const char *align)
{
	pipeline_check_choice("interval_align", align, align_units);
}

static TimestampTz
truncate_time(const char *unit, TimestampTz t, const char *timezone)
{
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_trunc_zone,
												   CStringGetTextDatum(unit),
												   TimestampTzGetDatum(t),
												   CStringGetTextDatum(timezone)));
}

/* The interval of the run that is due at `due`; `before` is the due time before. */
static void
interval_of(TimestampTz before, TimestampTz due, const char *align,
			const char *timezone, TimestampTz *from, TimestampTz *to)
{
	*from = before;
	*to = due;
	if (align == NULL)
		return;
	/* The whole unit that was complete at the due time. */
	*to = truncate_time(align, due, timezone);
	*from = truncate_time(align, *to - 1, timezone);
}

static void
no_due_time(const char *schedule)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("cron text \"%s\" has no earlier due time", schedule),
			 errdetail("Nothing in the last 28 years fits it, so there is no complete interval."),
			 errhint("Give pipeline.run() an interval_start and an interval_end.")));
}

/* See runner.h. */
void
runner_last_interval(const char *schedule, const char *timezone,
					 const char *align, TimestampTz at,
					 TimestampTz *from, TimestampTz *to)
{
	CronExpr	expr;
	pg_tz	   *tz = pipeline_timezone(timezone);
	TimestampTz due,
				before;

	runner_cron_parse(schedule, &expr);
	if (!runner_cron_last(&expr, tz, at, &due) ||
		!runner_cron_last(&expr, tz, due - 1, &before))
		no_due_time(schedule);
	interval_of(before, due, align, timezone, from, to);
}

typedef struct DuePipeline
{
	char	   *name;
	Oid			owner;
	char	   *schedule;
	char	   *timezone;
	char	   *align;
	char	   *catchup;
	Jsonb	   *params;
	TimestampTz since;			/* due times at or before this are done */
} DuePipeline;

/*
 * Create the runs of one pipeline that are due at `now`; add their ids to the
 * result.
 */
static void
create_due_runs(const DuePipeline *p, TimestampTz now, ReturnSetInfo *rsinfo)
{
	CronExpr	expr;
	pg_tz	   *tz = pipeline_timezone(p->timezone);
	TimestampTz before,
				due = p->since;
	int			made = 0;

	runner_cron_parse(p->schedule, &expr);
	if (strcmp(p->catchup, "all") != 0)
	{
		/* Only the latest due time counts: start right before it. */
		if (!runner_cron_last(&expr, tz, now, &due) || due <= p->since)
			return;
		if (strcmp(p->catchup, "none") == 0 &&
			due < now - (int64) pipeline_schedule_grace * USECS_PER_SEC)
			return;
		due--;
	}
	while (made < MOST_RUNS && runner_cron_next(&expr, tz, due, &due) && due <= now)
	{
		RunSpec		spec = {.pipeline = p->name, .run_type = "scheduled", .params = p->params};
		int64		run_id;

		if (!runner_cron_last(&expr, tz, due - 1, &before))
			no_due_time(p->schedule);
		interval_of(before, due, p->align, p->timezone,
					&spec.interval_start, &spec.interval_end);
		run_id = runner_create_run(&spec);
		if (run_id != 0)
		{
			Datum		value = Int64GetDatum(run_id);
			bool		isnull = false;

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
			made++;
		}
	}
}

/*
 * Lock a pipeline against another run_due().  When it is one of many and some
 * transaction is changing it, it is left for the next call: nobody can hold up
 * the schedules of all the others.
 */
static bool
lock_schedule(const char *pipeline, bool wait)
{
	UserScope	scope;
	bool		locked;

	pipeline_extension_begin(&scope);
	locked = (wait ?
			  pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1"
						   " FOR NO KEY UPDATE", SPI_OK_SELECT, sql_text(pipeline)) :
			  pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1"
						   " FOR NO KEY UPDATE SKIP LOCKED", SPI_OK_SELECT, sql_text(pipeline))) > 0;
	pipeline_scope_end(&scope);
	return locked;
}

/* The pipelines that the caller may run and that may have something due. */
static List *
due_pipelines(const char *only)
{
	UserScope	scope;
	List	   *list = NIL;
	uint64		n;
	ListCell   *lc;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT p.pipeline, p.schedule, p.timezone, p.interval_align, p.catchup, p.params,"
					 " greatest(p.scheduled_since,"
					 /* Aligned, several due times share an interval: go by when. */
					 "   (SELECT max(CASE WHEN p.interval_align IS NULL THEN r.interval_end ELSE r.queued_at END)"
					 "    FROM pipeline.runs r"
					 "    WHERE r.pipeline = p.pipeline AND r.run_type = 'scheduled')),"
					 " p.owner::oid"
					 " FROM pipeline.pipelines p"
					 " WHERE p.schedule IS NOT NULL AND NOT p.paused AND ($1 IS NULL OR p.pipeline = $1)"
					 " AND EXISTS (SELECT FROM pipeline.tasks t WHERE t.pipeline = p.pipeline)"
					 " ORDER BY p.pipeline", SPI_OK_SELECT, sql_text(only));
	for (uint64 i = 0; i < n; i++)
	{
		DuePipeline *p = SPI_palloc(sizeof(DuePipeline));
		bool		isnull;

		p->owner = DatumGetObjectId(pipeline_sql_datum(i, 8, &isnull));
		p->name = pipeline_sql_text(i, 1);
		p->schedule = pipeline_sql_text(i, 2);
		p->timezone = pipeline_sql_text(i, 3);
		p->align = pipeline_sql_text(i, 4);
		p->catchup = pipeline_sql_text(i, 5);
		p->params = DatumGetJsonbPCopy(pipeline_sql_datum(i, 6, &isnull));
		p->since = DatumGetTimestampTz(pipeline_sql_datum(i, 7, &isnull));
		list = lappend(list, p);
	}
	pipeline_scope_end(&scope);
	foreach(lc, list)
	{
		DuePipeline *p = lfirst(lc);

		if (!runner_may(p->owner, p->name, true))
			list = foreach_delete_current(list, lc);
	}
	return list;
}

PG_FUNCTION_INFO_V1(pipeline_run_due);

/* SQL: run_due(pipeline) */
Datum
pipeline_run_due(PG_FUNCTION_ARGS)
{
	char	   *only = pipeline_arg_text(fcinfo, 0);
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	runner_require_preload();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	if (only)
		runner_check_operator(runner_load_pipeline(only)->owner, only);
	foreach(lc, due_pipelines(only))
	{
		DuePipeline *p = lfirst(lc);

		if (lock_schedule(p->name, only != NULL))
			create_due_runs(p, now, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	SPI_finish();
	return (Datum) 0;
}

/*
 * Seconds between two ticks that make every run in time: what the schedules in
 * seconds have in common, or 0 when the minute does.
 */
static int
seconds_to_tick(void)
{
	uint64		n = pipeline_sql("SELECT schedule FROM pipeline.pipelines WHERE schedule ~* 'second'", SPI_OK_SELECT);
	int			common = 0;

	for (uint64 i = 0; i < n; i++)
	{
		CronExpr	expr;
		int			a;

		runner_cron_parse(pipeline_sql_text(i, 1), &expr);
		a = expr.seconds;
		while (a != 0)
		{
			int			rest = common % a;

			common = a;
			a = rest;
		}
	}
	return common;
}

/* The schedule of our job: as often as is needed and this pg_cron can. */
static char *
job_schedule(bool quiet)
{
	UserScope	scope;
	int			seconds;
	bool		can;

	SPI_connect();
	pipeline_extension_begin(&scope);
	seconds = seconds_to_tick();
	can = pipeline_sql("SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron'"
					   " AND pg_catalog.string_to_array(pg_catalog.substring(extversion, '^[0-9]+[.][0-9]+'), '.')::int[] >= '{1,5}'",
					   SPI_OK_SELECT) > 0;
	pipeline_scope_end(&scope);
	SPI_finish();
	if (seconds > 0 && !can && !quiet)
		ereport(WARNING,
				(errmsg("this pg_cron has no schedules in seconds: runs of such pipelines start each minute"),
				 errhint("Install pg_cron 1.5 or later, or call pipeline.run_due() every %d second%s from another clock.",
						 seconds, seconds == 1 ? "" : "s")));
	return seconds > 0 && can ? psprintf("%d seconds", seconds) : pstrdup("* * * * *");
}

PG_FUNCTION_INFO_V1(pipeline_schedule_job);

/*
 * SQL: schedule_job().  In C because only it may read pg_cron's setting for a
 * member of the admin role that is no superuser.
 */
Datum
pipeline_schedule_job(PG_FUNCTION_ARGS)
{
	const char *here = get_database_name(MyDatabaseId);
	const char *home = GetConfigOption("cron.database_name", true, false);
	char	   *job = psprintf("pipeline run_due %s", here);
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (!pipeline_is_admin(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to change the schedule job"),
				 errhint("Only superusers and members of the role named by \"pipeline.admin_role\" may.")));
	if (home == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is not loaded"),
				 errhint("Add pg_cron to shared_preload_libraries and restart the server, or call pipeline.run_due() each minute from another clock.")));
	if (strcmp(home, here) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron lives in database \"%s\"", home),
				 errhint("There, run: SELECT cron.schedule_in_database(%s, '* * * * *', 'SELECT pipeline.run_due()', %s);",
						 quote_literal_cstr(job), quote_literal_cstr(here))));
	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"pg_cron\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION pg_cron.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "schedule_job() returns a row");
	values[0] = CStringGetTextDatum(job);
	values[1] = CStringGetTextDatum(job_schedule(!PG_ARGISNULL(0) && PG_GETARG_BOOL(0)));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
