/*
 * backfill.c
 *	  backfill(): runs for the intervals of a stretch of time, past ones again
 *	  if that is asked.
 *
 * The intervals are those that the schedule makes, whole and complete ones; a
 * pipeline without a schedule has one, the stretch itself.  The definition's
 * row is locked, so that two backfills do not make the same run twice.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "runner/runner.h"

/* Runs that one call makes. */
#define MOST_RUNS 10000

typedef struct BackfillInterval
{
	TimestampTz from;
	TimestampTz to;
	int64		run_id;			/* of the latest run of it, or 0 */
	const char *state;			/* of that run */
	const char *action;
} BackfillInterval;

typedef struct Backfill
{
	PipelineDef *def;
	TimestampTz from;
	TimestampTz to;
	const char *reprocess;
	ArrayType  *tasks;			/* NULL: all */
	Jsonb	   *params;
	int			max_active_runs;	/* 0: the pipeline's */
	bool		merge;
	int64		first_run;		/* names the backfill */
} Backfill;

/* ---- intervals ------------------------------------------------------------------- */

static BackfillInterval *
new_interval(TimestampTz from, TimestampTz to)
{
	BackfillInterval *interval = palloc0_object(BackfillInterval);

	interval->from = from;
	interval->to = to;
	return interval;
}

static void
too_many(const char *pipeline)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("pipeline \"%s\" has more than %d intervals from from_time to to_time", pipeline, MOST_RUNS),
			 errhint("Backfill a shorter time, or with merge_intervals => true make one run of it.")));
}

/* Those that the schedule makes from `from` to `to`, complete by now. */
static List *
scheduled_intervals(const Backfill *backfill)
{
	const PipelineDef *def = backfill->def;
	TimestampTz until = Min(backfill->to, GetCurrentTimestamp());
	TimestampTz due = backfill->from - 1;
	List	   *intervals = NIL;
	BackfillInterval *last = NULL;
	CronExpr	expr;
	pg_tz	   *tz = pipeline_timezone(def->timezone);

	runner_cron_parse(def->schedule, &expr);
	/*
	 * The interval of a due time ends at it, or, aligned, some time before: go
	 * on until one ends too late.
	 */
	while (runner_cron_next(&expr, tz, due, &due) && due <= GetCurrentTimestamp())
	{
		TimestampTz from,
					to;

		CHECK_FOR_INTERRUPTS();
		runner_last_interval(def->schedule, def->timezone, def->interval_align, due, &from, &to);
		if (to > until)
			break;
		if (from < backfill->from || (last && last->from == from && last->to == to))
			continue;
		if (backfill->merge && last)
		{
			last->to = to;
			continue;
		}
		if (list_length(intervals) == MOST_RUNS)
			too_many(def->name);
		last = new_interval(from, to);
		intervals = lappend(intervals, last);
	}
	return intervals;
}

/* Find the latest run of each interval, of whatever type; both are in order. */
static void
find_runs(const Backfill *backfill, List *intervals)
{
	UserScope	scope;
	uint64		n;
	uint64		row = 0;
	bool		isnull;
	ListCell   *lc;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT DISTINCT ON (interval_start, interval_end) interval_start, interval_end, run_id, state"
					 " FROM pipeline.runs WHERE pipeline = $1 AND interval_start >= $2 AND interval_end <= $3"
					 " ORDER BY interval_start, interval_end, run_id DESC", SPI_OK_SELECT,
					 sql_text(backfill->def->name), sql_time(backfill->from), sql_time(backfill->to));
	foreach(lc, intervals)
	{
		BackfillInterval *i = lfirst(lc);

		for (; row < n; row++)
		{
			TimestampTz from = DatumGetTimestampTz(pipeline_sql_datum(row, 1, &isnull));
			TimestampTz to = DatumGetTimestampTz(pipeline_sql_datum(row, 2, &isnull));

			if (from > i->from || (from == i->from && to > i->to))
				break;
			if (from != i->from || to != i->to)
				continue;
			i->run_id = pipeline_sql_int8(row, 3);
			i->state = pipeline_sql_text(row, 4);
		}
	}
	pipeline_scope_end(&scope);
}

/* What is to be done about an interval. */
static const char *
choose_action(const Backfill *backfill, const BackfillInterval *interval)
{
	bool		failed;

	if (interval->run_id == 0)
		return "create";
	failed = strcmp(interval->state, "failed") == 0 || strcmp(interval->state, "cancelled") == 0;
	if (strcmp(backfill->reprocess, "failed") == 0 && failed)
		return "retry";
	if (strcmp(backfill->reprocess, "completed") == 0 &&
		(failed || strcmp(interval->state, "succeeded") == 0))
		return "clear";
	return "skip";
}

/* ---- doing it ----------------------------------------------------------------------- */

/* Create the run of an interval. */
static void
create_run(const Backfill *backfill, BackfillInterval *interval)
{
	RunSpec		spec = {
		.pipeline = backfill->def->name,
		.run_type = "backfill",
		.params = runner_merge_params(backfill->def, backfill->params),
		.interval_start = interval->from,
		.interval_end = interval->to,
		.tasks = pipeline_array_list(backfill->tasks, "tasks")
	};

	interval->run_id = runner_create_run(&spec);
}

/*
 * Have the run of an interval run again; false when somebody has done so
 * meanwhile.
 */
static bool
run_again(const Backfill *backfill, const BackfillInterval *interval)
{
	UserScope	scope;
	char	   *pipeline;
	char	   *state = runner_lock_run(interval->run_id, &pipeline);

	if (strcmp(state, interval->state) != 0)
		return false;
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.runs SET params = params || $2 WHERE run_id = $1",
				 SPI_OK_UPDATE, sql_int8(interval->run_id), sql_jsonb(backfill->params));
	runner_run_again(interval->run_id, backfill->tasks,
					 strcmp(interval->action, "retry") == 0);
	pipeline_scope_end(&scope);
	return true;
}

/* Do what is to be done about an interval; false when that was nothing. */
static bool
process_interval(Backfill *backfill, BackfillInterval *interval)
{
	UserScope	scope;

	if (strcmp(interval->action, "skip") == 0)
		return false;
	if (strcmp(interval->action, "create") == 0)
		create_run(backfill, interval);
	else if (!run_again(backfill, interval))
	{
		interval->action = "skip";
		return false;
	}
	if (backfill->first_run == 0)
		backfill->first_run = interval->run_id;
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.runs SET backfill = $2, max_active_runs = nullif($3, 0) WHERE run_id = $1",
				 SPI_OK_UPDATE, sql_int8(interval->run_id), sql_int8(backfill->first_run),
				 sql_int4(backfill->max_active_runs));
	pipeline_scope_end(&scope);
	return true;
}

static void
record(const Backfill *backfill, int n)
{
	static const char *const keys[] = {"from_time", "to_time", "reprocess", "runs", "backfill"};
	const char *values[] = {
		pstrdup(timestamptz_to_str(backfill->from)), pstrdup(timestamptz_to_str(backfill->to)),
		backfill->reprocess, psprintf("%d", n), psprintf(INT64_FORMAT, backfill->first_run)
	};

	runner_record_change(backfill->def->name, "backfill", "pipeline", backfill->def->name, NULL,
						   pipeline_jsonb_object(lengthof(keys), keys, values), NULL);
}

/* Raise 42704 unless the pipeline has all of the tasks. */
static void
check_tasks(const Backfill *backfill)
{
	UserScope	scope;

	(void) pipeline_array_list(backfill->tasks, "tasks");
	if (backfill->tasks && ARR_NDIM(backfill->tasks) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"tasks\" is empty"),
				 errhint("Leave it null to run all tasks.")));
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT string_agg(quote_ident(n), ', ') FROM unnest($2) n"
					 " WHERE NOT EXISTS (SELECT FROM pipeline.tasks t WHERE t.pipeline = $1 AND t.task = n)"
					 " HAVING count(*) > 0", SPI_OK_SELECT,
					 sql_text(backfill->def->name), sql_array(backfill->tasks)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" has no such tasks", backfill->def->name),
				 errdetail("They are: %s.", pipeline_sql_text(0, 1)),
				 errhint("Table pipeline.tasks lists a pipeline's tasks.")));
	pipeline_scope_end(&scope);
}

static void
check_arguments(FunctionCallInfo fcinfo, Backfill *backfill)
{
	static const char *const choices[] = {"none", "failed", "completed", NULL};
	static const char *const required[] = {"pipeline", "from_time", "to_time", "reprocess",
		NULL, "params", NULL, "run_backwards", "merge_intervals", "dry_run"
	};

	for (int i = 0; i < lengthof(required); i++)
		if (required[i])
			pipeline_not_null(fcinfo, i, required[i]);
	backfill->from = PG_GETARG_TIMESTAMPTZ(1);
	backfill->to = PG_GETARG_TIMESTAMPTZ(2);
	backfill->reprocess = pipeline_arg_text(fcinfo, 3);
	backfill->tasks = pipeline_arg_array(fcinfo, 4);
	backfill->params = PG_GETARG_JSONB_P(5);
	backfill->merge = PG_GETARG_BOOL(8);
	pipeline_check_choice("reprocess", backfill->reprocess, choices);
	if (TIMESTAMP_NOT_FINITE(backfill->from) || TIMESTAMP_NOT_FINITE(backfill->to) ||
		backfill->from >= backfill->to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid time to backfill: it must be finite and end after it starts"),
				 errdetail("It is from %s to %s.", pstrdup(timestamptz_to_str(backfill->from)),
						   pstrdup(timestamptz_to_str(backfill->to)))));
	if (!PG_ARGISNULL(6) && PG_GETARG_INT32(6) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"max_active_runs\": %d", PG_GETARG_INT32(6)),
				 errhint("Give a number above zero, or null for the pipeline's own.")));
	backfill->max_active_runs = PG_ARGISNULL(6) ? 0 : PG_GETARG_INT32(6);
}

static void
return_interval(ReturnSetInfo *rsinfo, const BackfillInterval *interval)
{
	Datum		values[4] = {
		TimestampTzGetDatum(interval->from), TimestampTzGetDatum(interval->to),
		Int64GetDatum(interval->run_id), CStringGetTextDatum(interval->action)
	};
	bool		nulls[4] = {false, false, interval->run_id == 0, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(pipeline_backfill);

/* SQL: backfill(pipeline, from_time, to_time, ...) */
Datum
pipeline_backfill(PG_FUNCTION_ARGS)
{
	Backfill	backfill = {0};
	List	   *intervals;
	bool		dry_run;
	int			n;
	int			done = 0;

	check_arguments(fcinfo, &backfill);
	dry_run = PG_GETARG_BOOL(9);
	runner_require_preload();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	backfill.def = runner_lock_operated(pipeline_arg_text(fcinfo, 0));
	(void) runner_merge_params(backfill.def, backfill.params);
	check_tasks(&backfill);
	intervals = backfill.def->schedule ? scheduled_intervals(&backfill) :
		list_make1(new_interval(backfill.from, backfill.to));
	find_runs(&backfill, intervals);
	n = list_length(intervals);
	for (int i = 0; i < n; i++)
	{
		BackfillInterval *interval = list_nth(intervals, PG_GETARG_BOOL(7) ? n - 1 - i : i);

		interval->action = choose_action(&backfill, interval);
		if (!dry_run && process_interval(&backfill, interval))
			done++;
		return_interval((ReturnSetInfo *) fcinfo->resultinfo, interval);
	}
	if (done > 0)
		record(&backfill, done);
	SPI_finish();
	return (Datum) 0;
}
