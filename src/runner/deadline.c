/*
 * deadline.c
 *	  Deadlines: of runs, of tasks, and of runs that were never created.
 *
 * When a deadline is to be looked at stands in the run's and the task's row
 * (deadline_due); the scheduler's clock wakes for the first of them.  A run
 * that has not even begun misses its deadline like any other.  One that was
 * due by the schedule and does not exist, because nothing calls run_due(), is
 * found by the schedule itself, each minute.
 */
#include "postgres.h"

#include <signal.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "runner/process.h"
#include "runner/runner.h"

typedef struct DueDeadline
{
	int64		run_id;
	char	   *pipeline;
	char	   *task;			/* NULL: of the run */
	char	   *what;
	Oid			owner;
	Jsonb	   *labels;
	bool		missed;			/* else it is the warning */
	bool		fail;
} DueDeadline;

static List *
collect(uint64 n)
{
	List	   *list = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		DueDeadline *d = SPI_palloc(sizeof(DueDeadline));
		bool		isnull;
		Datum		labels;

		d->run_id = pipeline_sql_int8(i, 1);
		d->pipeline = pipeline_sql_text(i, 2);
		d->task = pipeline_sql_text(i, 3);
		d->what = pipeline_sql_text(i, 4);
		d->owner = DatumGetObjectId(pipeline_sql_datum(i, 5, &isnull));
		labels = pipeline_sql_datum(i, 6, &isnull);
		d->labels = isnull ? NULL : DatumGetJsonbPCopy(labels);
		d->missed = pipeline_sql_bool(i, 7);
		d->fail = pipeline_sql_bool(i, 8);
		list = lappend(list, d);
	}
	return list;
}

/* Runs whose warning or deadline is due; each is set to its next look. */
static List *
due_runs(void)
{
	return collect(pipeline_sql("UPDATE pipeline.runs r SET"
								"   deadline_due = CASE WHEN clock_timestamp() < r.deadline_at THEN r.deadline_at END,"
								"   deadline_missed = clock_timestamp() >= r.deadline_at"
								" FROM (SELECT run_id FROM pipeline.runs WHERE deadline_due IS NOT NULL AND deadline_due <= clock_timestamp()"
								"       AND state IN ('queued', 'running') FOR NO KEY UPDATE SKIP LOCKED) due"
								" WHERE r.run_id = due.run_id"
								" RETURNING r.run_id, r.pipeline, NULL::text,"
								"   format('run %s of [%s, %s) is %s, with %s of %s tasks ended; the deadline %s %s', r.run_id,"
								"     r.interval_start, r.interval_end, r.state,"
								"     (SELECT count(*) FROM pipeline.task_runs t WHERE t.run_id = r.run_id AND t.mapped_task IS NULL"
								"      AND t.state NOT IN ('waiting', 'ready', 'running', 'up_for_retry')),"
								"     (SELECT count(*) FROM pipeline.task_runs t WHERE t.run_id = r.run_id AND t.mapped_task IS NULL),"
								"     CASE WHEN r.deadline_missed THEN 'was' ELSE 'is' END, r.deadline_at),"
								"   r.owner::oid, (SELECT labels FROM pipeline.pipelines p WHERE p.pipeline = r.pipeline),"
								"   r.deadline_missed, false", SPI_OK_UPDATE_RETURNING));
}

/* The same for tasks; one that is to fail is told so by its error. */
static List *
due_tasks(void)
{
	return collect(pipeline_sql("UPDATE pipeline.task_runs t SET deadline_due = NULL, deadline_missed = true"
								" FROM (SELECT run_id, task FROM pipeline.task_runs WHERE deadline_due IS NOT NULL AND deadline_due <= clock_timestamp()"
								"       FOR NO KEY UPDATE SKIP LOCKED) due"
								" WHERE t.run_id = due.run_id AND t.task = due.task"
								" RETURNING t.run_id, t.pipeline, t.task,"
								"   format('in run %s it is %s; the deadline was %s', t.run_id, t.state, t.deadline_at),"
								"   t.owner::oid, t.labels, true, t.on_deadline = 'fail'", SPI_OK_UPDATE_RETURNING));
}

/* Somebody holds the alert, or what is to fail: it stays due. */
static void
put_back(const DueDeadline *d)
{
	if (d->task)
		pipeline_sql("UPDATE pipeline.task_runs SET deadline_due = clock_timestamp()"
					 " WHERE run_id = $1 AND task = $2", SPI_OK_UPDATE,
					 sql_int8(d->run_id), sql_text(d->task));
	else
		pipeline_sql("UPDATE pipeline.runs SET deadline_due = clock_timestamp()"
					 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(d->run_id));
	runner_pass_over();
}

/* Fail a task whose deadline has passed: at once, or by stopping its attempt. */
static void
fail_task(const DueDeadline *d)
{
	const char *error = "the task did not end before its deadline";
	uint64		n;

	if (!runner_run_try_lock(d->run_id))
	{
		put_back(d);
		return;
	}
	/* Of a mapped task: what has not begun never will. */
	pipeline_sql("UPDATE pipeline.task_runs SET deadline_missed = true, on_deadline = 'fail',"
				 "   state = CASE state WHEN 'running' THEN 'running' ELSE 'failed' END,"
				 "   error = $3, finished_at = clock_timestamp()"
				 " WHERE run_id = $1 AND mapped_task = $2 AND state IN ('waiting', 'ready', 'running', 'up_for_retry')",
				 SPI_OK_UPDATE, sql_int8(d->run_id), sql_text(d->task), sql_text(error));
	pipeline_sql("UPDATE pipeline.task_runs t SET pending = (SELECT count(*) FROM pipeline.task_runs m"
				 "   WHERE m.run_id = $1 AND m.mapped_task = $2 AND m.state = 'running')"
				 " WHERE run_id = $1 AND task = $2 AND expanded AND state = 'running'",
				 SPI_OK_UPDATE, sql_int8(d->run_id), sql_text(d->task));
	n = pipeline_sql("SELECT attempt_id FROM pipeline.attempts"
					 " WHERE run_id = $1 AND state = 'running' AND (task = $2 OR task IN"
					 "   (SELECT m.task FROM pipeline.task_runs m WHERE m.run_id = $1 AND m.mapped_task = $2))",
					 SPI_OK_SELECT, sql_int8(d->run_id), sql_text(d->task));
	for (uint64 i = 0; i < n; i++)
		(void) runner_stop_attempt(pipeline_sql_int8(i, 1), STOP_DEADLINE, SIGINT);
	if (n > 0)
		return;
	runner_open_tables();
	if (runner_lock_open_task(d->run_id, d->task))
	{
		(void) runner_end_task(d->run_id, "failed", error);
		runner_alert_task_failed(d->owner, d->pipeline, d->run_id, d->task, 0, d->labels, error);
	}
	runner_finish_run_if_done(d->run_id);
	runner_close_tables();
}

typedef struct Scheduled
{
	char	   *pipeline;
	char	   *schedule;
	char	   *timezone;
	char	   *paused_reason;
	bool		paused;
	Interval   *deadline;
	Oid			owner;
	Jsonb	   *labels;
	TimestampTz since;
} Scheduled;

/* Raise the alert if the last due time of the pipeline has no run by now. */
static bool
mind_missing_run(void *arg)
{
	Scheduled  *s = arg;
	TimestampTz now = GetCurrentTimestamp();
	CronExpr	expr;
	TimestampTz due;

	runner_cron_parse(s->schedule, &expr);
	if (!runner_cron_last(&expr, pipeline_timezone(s->timezone), now, &due) || due <= s->since ||
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(due),
												IntervalPGetDatum(s->deadline))) > now)
		return true;
	runner_alert_deadline(s->owner, s->pipeline, 0, NULL, s->labels, true,
						  psprintf("no run was created for the due time %s: %s", timestamptz_to_str(due),
								   s->paused ? psprintf("the pipeline is paused%s%s", s->paused_reason ? ": " : "",
														s->paused_reason ? s->paused_reason : "") :
								   "nothing calls pipeline.run_due(); see pipeline.enable_schedules()"));
	return true;
}

/*
 * Scheduled pipelines whose last due time is over by more than their deadline
 * and for which no run was made: whoever calls run_due() does not.
 */
static void
mind_missing_runs(void)
{
	static TimestampTz next_look = 0;
	TimestampTz now = GetCurrentTimestamp();
	uint64		n;
	List	   *list = NIL;
	ListCell   *lc;

	if (now < next_look)
		return;
	next_look = now + USECS_PER_MINUTE;
	n = pipeline_sql("SELECT p.pipeline, p.schedule, p.timezone, p.paused_reason, p.paused, p.deadline, p.owner::oid, p.labels,"
					 "   greatest(p.scheduled_since, (SELECT max(r.queued_at) FROM pipeline.runs r"
					 "     WHERE r.pipeline = p.pipeline AND r.run_type = 'scheduled'))"
					 " FROM pipeline.pipelines p WHERE p.deadline IS NOT NULL AND p.schedule IS NOT NULL"
					 " AND EXISTS (SELECT FROM pipeline.tasks t WHERE t.pipeline = p.pipeline)", SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		Scheduled  *s = SPI_palloc(sizeof(Scheduled));
		bool		isnull;

		s->pipeline = pipeline_sql_text(i, 1);
		s->schedule = pipeline_sql_text(i, 2);
		s->timezone = pipeline_sql_text(i, 3);
		s->paused_reason = pipeline_sql_text(i, 4);
		s->paused = pipeline_sql_bool(i, 5);
		s->deadline = DatumGetIntervalP(pipeline_sql_datum(i, 6, &isnull));
		s->owner = DatumGetObjectId(pipeline_sql_datum(i, 7, &isnull));
		s->labels = DatumGetJsonbPCopy(pipeline_sql_datum(i, 8, &isnull));
		s->since = DatumGetTimestampTz(pipeline_sql_datum(i, 9, &isnull));
		list = lappend(list, s);
	}
	foreach(lc, list)
	{
		ErrorData  *edata = runner_try_briefly(mind_missing_run, lfirst(lc));

		/* An alert that somebody holds is looked at again in a minute. */
		if (edata != NULL && edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			runner_pause_pipeline(((Scheduled *) lfirst(lc))->pipeline,
								  psprintf("its schedule cannot be read: %s", edata->message));
	}
}

static bool
mind_deadline(void *arg)
{
	DueDeadline *d = arg;

	runner_alert_deadline(d->owner, d->pipeline, d->run_id, d->task,
						  d->labels, d->missed, d->what);
	if (d->fail)
		fail_task(d);
	return true;
}

/* Look at the deadlines that are due; for the scheduler. */
void
runner_mind_deadlines(void)
{
	ListCell   *lc;

	foreach(lc, list_concat(due_runs(), due_tasks()))
	{
		DueDeadline *d = lfirst(lc);
		ErrorData  *edata = runner_try_briefly(mind_deadline, d);

		if (edata == NULL)
			continue;
		if (edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
			put_back(d);
		else
			(void) runner_pause_pipeline(d->pipeline, psprintf("its deadline could not be minded: %s", edata->message));
	}
	mind_missing_runs();
}
