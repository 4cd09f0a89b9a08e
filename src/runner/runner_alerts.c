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

static Jsonb *
with_labels(const Jsonb *labels, Jsonb *more)
{
	if (labels == NULL)
		return more;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(labels),
											  JsonbPGetDatum(more)));
}

/* The labels of a task or, with task NULL, of a run, over `labels`. */
static Jsonb *
with_names(const Jsonb *labels, const char *pipeline, const char *task)
{
	return with_labels(labels, pipeline_jsonb_object(2, (const char *[]) {"pipeline", "task"},
													 (const char *[]) {pipeline, task}));
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
 * The task that a task of a run waits for in the end, NULL if it waits for
 * none: of those that could run, rather one that has failed before, or is late.
 */
static char *
held_back_by(int64 run_id, const char *task)
{
	if (pipeline_sql("WITH RECURSIVE up AS ("
					 "  SELECT t.task FROM pipeline.task_runs t WHERE t.run_id = $1 AND t.successors @> ARRAY[$2]"
					 "  AND t.state IN ('waiting', 'ready', 'running', 'up_for_retry')"
					 " UNION SELECT t.task FROM up JOIN pipeline.task_runs t ON t.run_id = $1 AND t.successors @> ARRAY[up.task]"
					 "  AND t.state IN ('waiting', 'ready', 'running', 'up_for_retry'))"
					 " SELECT t.task FROM up JOIN pipeline.task_runs t ON t.run_id = $1 AND t.task = up.task"
					 " ORDER BY t.state = 'waiting', t.state = 'up_for_retry' DESC, t.deadline_missed DESC, t.task COLLATE \"C\" LIMIT 1",
					 SPI_OK_SELECT, sql_int8(run_id), sql_text(task)) == 0)
		return NULL;
	return pipeline_sql_text(0, 1);
}

/*
 * A deadline is near, or has passed; task NULL: that of the run.  `what` says
 * how far it has come.  A task that waits for another carries its name in the
 * label upstream.
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
	if (task != NULL)
		spec.labels = with_labels(spec.labels, pipeline_jsonb_object(1, (const char *[]) {"upstream"},
																	 (const char *[]) {held_back_by(run_id, task)}));
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
 * Which pipeline published a dataset last, or NULL; *upstream: the pipeline
 * whose dataset that one waits for in the end, or NULL.  Those of the dataset's
 * owner only: he must not learn of others', whose alerts could not mute his.
 */
static char *
publisher_of(const char *dataset, Oid owner, char **upstream)
{
	char	   *publisher;

	*upstream = NULL;
	if (pipeline_sql("WITH RECURSIVE up AS ("
					 "  SELECT r.pipeline, 0 AS level FROM pipeline.datasets d JOIN pipeline.dataset_events e ON e.event_id = d.last_event"
					 "  JOIN pipeline.runs r ON r.run_id = e.run_id JOIN pipeline.pipelines q ON q.pipeline = r.pipeline AND q.owner = $2"
					 "  WHERE d.dataset = $1"
					 " UNION SELECT r.pipeline, up.level + 1 FROM up JOIN pipeline.pipelines p ON p.pipeline = up.pipeline"
					 "  CROSS JOIN unnest(p.on_datasets) o (dataset) JOIN pipeline.datasets d ON d.dataset = o.dataset"
					 "  JOIN pipeline.dataset_events e ON e.event_id = d.last_event JOIN pipeline.runs r ON r.run_id = e.run_id"
					 "  JOIN pipeline.pipelines q ON q.pipeline = r.pipeline AND q.owner = $2"
					 "  WHERE up.level < 20 AND NOT EXISTS (SELECT FROM pipeline.dataset_updates u"
					 "    WHERE u.pipeline = p.pipeline AND u.dataset = o.dataset))"
					 " SELECT (SELECT pipeline FROM up WHERE level = 0),"
					 "  (SELECT pipeline FROM up WHERE level > 0 ORDER BY level DESC, pipeline COLLATE \"C\" LIMIT 1)", SPI_OK_SELECT,
					 sql_text(dataset), sql_role(owner)) == 0)
		return NULL;
	publisher = pipeline_sql_text(0, 1);
	*upstream = pipeline_sql_text(0, 2);
	/* It may wait for itself. */
	if (publisher != NULL && *upstream != NULL && strcmp(publisher, *upstream) == 0)
		*upstream = NULL;
	return publisher;
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
	char	   *upstream;
	char	   *publisher = publisher_of(dataset, owner, &upstream);

	spec.summary = psprintf("dataset \"%s\" %s%s: %s %s", dataset,
							since ? "has not been published since " : "was never published", since ? since : "",
							asked ? "its stale_after is" : "by its history it should have been within", limit);
	spec.labels = pipeline_jsonb_object(3, (const char *[]) {"dataset", "pipeline", "upstream"},
										(const char *[]) {dataset, publisher, upstream});
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
