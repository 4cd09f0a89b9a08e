/*
 * runner_alerts.c
 *	  The alerts of runs and tasks: TaskFailed, MappedRunsFailed, RunFailed,
 *	  DeadlineNear, DeadlineMissed and TaskSlow; and of datasets: SourceStale.
 *
 * A task's alerts have the source "pipeline/task", a run's the name of the
 * pipeline; the next success of the same resolves them.  Labels carry names,
 * never ids: an alert is one thing however many runs it comes from.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "alert/alert.h"
#include "runner/runner.h"

static char *
task_source(const char *pipeline, const char *task)
{
	return psprintf("%s/%s", pipeline, task);
}

/* The labels of a task or, with task NULL, of a run, over `labels`. */
static Jsonb *
with_names(const Jsonb *labels, const char *pipeline, const char *task)
{
	Jsonb	   *names = pipeline_jsonb_object(2, (const char *[]) {"pipeline", "task"},
											  (const char *[]) {pipeline, task});

	if (labels == NULL)
		return names;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(labels),
											  JsonbPGetDatum(names)));
}

/* A task has failed for good. */
void
runner_alert_task_failed(Oid owner, const char *pipeline, int64 run_id,
						 const char *task, int attempt, const Jsonb *labels,
						 const char *error)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "TaskFailed",
		.severity = "error",
		.source = task_source(pipeline, task),
		.summary = psprintf("task \"%s\" of pipeline \"%s\" failed: %s",
							task, pipeline, error),
	};

	spec.labels = with_names(labels, pipeline, task);
	spec.detail = pipeline_jsonb_object(3, (const char *[]) {"run_id", "attempt", "error"},
										(const char *[]) {psprintf(INT64_FORMAT, run_id),
										psprintf("%d", attempt), error});
	pipeline_raise_alert(&spec);
}

/* Some mapped runs of a task have failed, but not too many of them. */
void
runner_alert_mapped_failed(Oid owner, const char *pipeline, int64 run_id,
						   const char *task, const Jsonb *labels,
						   const char *error)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "MappedRunsFailed",
		.severity = "warning",
		.source = task_source(pipeline, task),
		.summary = psprintf("task \"%s\" of pipeline \"%s\" succeeded in part: %s",
							task, pipeline, error),
	};

	spec.labels = with_names(labels, pipeline, task);
	spec.detail = pipeline_jsonb_object(2, (const char *[]) {"run_id", "error"},
										(const char *[]) {psprintf(INT64_FORMAT, run_id), error});
	pipeline_raise_alert(&spec);
}

/* A run has failed, because of these tasks. */
void
runner_alert_run_failed(Oid owner, const char *pipeline, int64 run_id,
						const char *tasks)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "RunFailed",
		.severity = "error",
		.source = pipeline,
		.summary = psprintf("run " INT64_FORMAT " of pipeline \"%s\" failed: %s",
							run_id, pipeline, tasks),
	};

	spec.labels = with_names(NULL, pipeline, NULL);
	spec.detail = pipeline_jsonb_object(2, (const char *[]) {"run_id", "tasks"},
										(const char *[]) {psprintf(INT64_FORMAT, run_id), tasks});
	pipeline_raise_alert(&spec);
}

/*
 * A deadline is near, or has passed; task NULL: that of the run.  `what` says
 * how far it has come.
 */
void
runner_alert_deadline(Oid owner, const char *pipeline, int64 run_id,
					  const char *task, const Jsonb *labels, bool missed,
					  const char *what)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = missed ? "DeadlineMissed" : "DeadlineNear",
		.severity = missed ? "error" : "warning",
		.source = task ? task_source(pipeline, task) : pipeline,
	};
	char	   *subject = task ? psprintf("task \"%s\" of pipeline \"%s\"", task, pipeline) :
		psprintf("pipeline \"%s\"", pipeline);

	spec.summary = psprintf("%s %s its deadline: %s", subject, missed ? "has missed" : "may miss", what);
	spec.labels = with_names(labels, pipeline, task);
	if (run_id != 0)
		spec.detail = pipeline_jsonb_object(1, (const char *[]) {"run_id"},
											(const char *[]) {psprintf(INT64_FORMAT, run_id)});
	pipeline_raise_alert(&spec);
}

/* A task runs longer than it used to; both in seconds. */
void
runner_alert_slow(Oid owner, const char *pipeline, int64 run_id,
				  const char *task, const Jsonb *labels, double seconds,
				  double usual)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "TaskSlow",
		.severity = "warning",
		.source = task_source(pipeline, task),
		.summary = psprintf("task \"%s\" of pipeline \"%s\" has been running for %.0f s, usually it takes %.*f s",
							task, pipeline, seconds, usual < 10 ? 1 : 0, usual),
	};

	spec.labels = with_names(labels, pipeline, task);
	spec.detail = pipeline_jsonb_object(3, (const char *[]) {"run_id", "seconds", "usual_seconds"},
										(const char *[]) {psprintf(INT64_FORMAT, run_id),
										psprintf("%.0f", seconds), psprintf("%.1f", usual)});
	pipeline_raise_alert(&spec);
}

/* It has ended, whatever that end was. */
void
runner_resolve_slow(Oid owner, const char *pipeline, const char *task)
{
	pipeline_resolve_alerts(owner, "TaskSlow", task_source(pipeline, task));
}

/*
 * A dataset has not been published since then (NULL: never) for longer than
 * its definition (`asked`) or its history allows.
 */
void
runner_alert_stale(Oid owner, const char *dataset, const char *since,
				   bool asked, const char *limit)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "SourceStale",
		.severity = asked ? "error" : "warning",
		.source = dataset,
	};

	spec.summary = psprintf("dataset \"%s\" %s%s: %s %s", dataset,
							since ? "has not been published since " : "was never published", since ? since : "",
							asked ? "its stale_after is" : "by its history it should have been within", limit);
	spec.labels = pipeline_jsonb_object(1, (const char *[]) {"dataset"}, (const char *[]) {dataset});
	spec.detail = pipeline_jsonb_object(2, (const char *[]) {"published_at", "limit"},
										(const char *[]) {since, limit});
	pipeline_raise_alert(&spec);
}

/* It was published, or is being dropped. */
void
runner_resolve_stale(Oid owner, const char *dataset)
{
	pipeline_resolve_alerts(owner, "SourceStale", dataset);
}

/* A task has succeeded: what was wrong with it is over. */
void
runner_resolve_task(Oid owner, const char *pipeline, const char *task)
{
	char	   *source = task_source(pipeline, task);

	pipeline_resolve_alerts(owner, "TaskFailed", source);
	pipeline_resolve_alerts(owner, "DeadlineMissed", source);
}

/* A run has succeeded: what was wrong with its pipeline is over. */
void
runner_resolve_run(Oid owner, const char *pipeline)
{
	pipeline_resolve_alerts(owner, "RunFailed", pipeline);
	pipeline_resolve_alerts(owner, "DeadlineNear", pipeline);
	pipeline_resolve_alerts(owner, "DeadlineMissed", pipeline);
}

/*
 * Resolve what a task, or with NULL a pipeline and all its tasks, has left
 * open; it is being dropped and will never succeed again.
 */
void
runner_resolve_dropped(const char *pipeline, const char *task)
{
	UserScope	scope;
	uint64		n;
	List	   *names = NIL;
	List	   *owners = NIL;
	ListCell   *name;
	ListCell   *owner;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT DISTINCT owner::oid, task FROM pipeline.task_runs r"
					 " WHERE pipeline = $1 AND mapped_task IS NULL AND ($2 IS NULL OR task = $2)"
					 " AND (deadline_missed OR foreach IS NOT NULL OR state IN ('failed', 'upstream_failed', 'cancelled')"
					 "   OR EXISTS (SELECT FROM pipeline.attempts a WHERE a.run_id = r.run_id AND a.task = r.task AND a.slow_since IS NOT NULL))",
					 SPI_OK_SELECT, sql_text(pipeline), sql_text(task));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		owners = lappend_oid(owners, DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull)));
		names = lappend(names, pipeline_sql_text(i, 2));
	}
	forboth(name, names, owner, owners)
	{
		runner_resolve_task(lfirst_oid(owner), pipeline, lfirst(name));
		runner_resolve_slow(lfirst_oid(owner), pipeline, lfirst(name));
		pipeline_resolve_alerts(lfirst_oid(owner), "MappedRunsFailed",
								task_source(pipeline, lfirst(name)));
		if (task == NULL)
			runner_resolve_run(lfirst_oid(owner), pipeline);
	}
	if (task == NULL &&
		pipeline_sql("SELECT owner::oid FROM pipeline.pipelines WHERE pipeline = $1",
					 SPI_OK_SELECT, sql_text(pipeline)) > 0)
	{
		bool		isnull;

		runner_resolve_run(DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull)), pipeline);
	}
	pipeline_scope_end(&scope);
}
