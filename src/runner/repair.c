/*
 * repair.c
 *	  What a person does to a run that did not go well: retry, clear, mark.
 *
 * All three put tasks back to waiting, with their current definitions, count
 * anew what their predecessors came to, and queue the run again if it had
 * ended.  The lock on the run's row keeps its workers out meanwhile.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "alert/alert.h"
#include "runner/runner.h"

/*
 * Put tasks back to waiting.  A task that the pipeline no longer has stays as
 * it is.  What foreach gave is forgotten: it is asked again.  Returns how many.
 */
static int
reset_tasks(int64 run_id, const ArrayType *tasks)
{
	int			n;

	n = (int) pipeline_sql("UPDATE pipeline.task_runs r SET state = 'waiting', failures = 0, lost = 0, error = NULL,"
						   "   ready_at = NULL, finished_at = NULL, next_attempt_at = NULL, owner = p.owner,"
						   "   command = t.command, depends_on = t.depends_on, mode = t.mode, retries = t.retries,"
						   "   trigger_rule = t.trigger_rule, condition = t.condition, wait_for = t.wait_for,"
						   "   poke_interval = t.poke_interval, wait_timeout = t.wait_timeout,"
						   "   on_wait_timeout = t.on_wait_timeout, waiting_since = NULL,"
						   "   retry_delay = t.retry_delay, retry_backoff = t.retry_backoff, retry_on = t.retry_on,"
						   "   timeout = t.timeout, allow_failure = t.allow_failure, priority = t.priority,"
						   "   pool = t.pool, pool_slots = t.pool_slots, on_deadline = t.on_deadline,"
						   "   foreach = t.foreach, map_column = t.map_key, max_active_mapped = t.max_active_mapped,"
						   "   min_success = t.min_success, expanded = false, deadline_missed = false,"
						   "   labels = p.labels || t.labels"
						   " FROM pipeline.tasks t JOIN pipeline.pipelines p USING (pipeline)"
						   " WHERE r.run_id = $1 AND t.pipeline = r.pipeline AND t.task = r.task AND r.task = ANY ($2)",
						   SPI_OK_UPDATE, sql_int8(run_id), sql_array(tasks));
	pipeline_sql("UPDATE pipeline.task_runs m SET state = 'skipped', item = NULL, next_attempt_at = NULL"
				 " FROM pipeline.task_runs t WHERE t.run_id = $1 AND t.task = ANY ($2) AND t.state = 'waiting'"
				 " AND m.run_id = $1 AND m.mapped_task = t.task",
				 SPI_OK_UPDATE, sql_int8(run_id), sql_array(tasks));
	return n;
}

/*
 * Have mapped runs of tasks run again, those that have failed or been
 * cancelled, or the one with the key, whatever became of it.  Their tasks are
 * running again.  Returns how many.
 */
static int
reset_mapped(int64 run_id, const ArrayType *tasks, const char *map_key)
{
	int			n;

	n = (int) pipeline_sql("UPDATE pipeline.task_runs m SET failures = 0, lost = 0,"
						   "   state = CASE WHEN o.n <= coalesce(t.max_active_mapped, o.n) THEN 'ready' ELSE 'waiting' END,"
						   "   pending = CASE WHEN o.n <= coalesce(t.max_active_mapped, o.n) THEN 0 ELSE 1 END,"
						   "   error = NULL, finished_at = NULL, next_attempt_at = NULL, owner = p.owner,"
						   "   command = t.command, mode = t.mode, retries = t.retries, retry_delay = t.retry_delay,"
						   "   retry_backoff = t.retry_backoff, retry_on = t.retry_on, timeout = t.timeout,"
						   "   pool = t.pool, pool_slots = t.pool_slots, priority = t.priority,"
						   "   labels = p.labels || t.labels, ready_at = clock_timestamp(), rank = pipeline._rank(t.priority)"
						   " FROM pipeline.tasks t JOIN pipeline.pipelines p USING (pipeline),"
						   "   (SELECT task, row_number() OVER (PARTITION BY mapped_task ORDER BY task) AS n"
						   "    FROM pipeline.task_runs WHERE run_id = $1 AND mapped_task = ANY ($2) AND item IS NOT NULL"
						   "    AND CASE WHEN $3 IS NULL THEN state IN ('failed', 'cancelled') ELSE map_key = $3 END) o"
						   " WHERE m.run_id = $1 AND m.task = o.task"
						   " AND t.pipeline = m.pipeline AND t.task = m.mapped_task",
						   SPI_OK_UPDATE, sql_int8(run_id), sql_array(tasks), sql_text(map_key));
	if (n > 0)
		pipeline_sql("UPDATE pipeline.task_runs t SET state = 'running', error = NULL, finished_at = NULL,"
					 "   pending = (SELECT count(*) FROM pipeline.task_runs m WHERE m.run_id = $1 AND m.mapped_task = t.task"
					 "     AND m.state IN ('waiting', 'ready', 'running', 'up_for_retry'))"
					 " WHERE run_id = $1 AND task = ANY ($2) AND expanded"
					 " AND EXISTS (SELECT FROM pipeline.task_runs m WHERE m.run_id = $1 AND m.mapped_task = t.task AND m.state = 'ready')",
					 SPI_OK_UPDATE, sql_int8(run_id), sql_array(tasks));
	return n;
}

/*
 * Count anew what the predecessors of waiting tasks came to, and decide those
 * that need not wait: a predecessor that the run does not have holds nothing
 * back.
 */
static void
recount(int64 run_id)
{
	List	   *held_back = NIL;
	List	   *skipped = NIL;
	uint64		n;

	n = pipeline_sql("UPDATE pipeline.task_runs r SET up_succeeded = c.s, up_failed = c.f, up_skipped = c.k,"
					 "   pending = CASE v.state WHEN 'ready' THEN 0 ELSE c.n - c.s - c.f - c.k END,"
					 "   state = CASE WHEN v.state IN ('upstream_failed', 'skipped') THEN v.state ELSE 'waiting' END,"
					 "   finished_at = CASE WHEN v.state IN ('upstream_failed', 'skipped') THEN clock_timestamp() END"
					 " FROM (SELECT w.task, w.trigger_rule, count(d.task)::int AS n,"
					 "         (count(*) FILTER (WHERE d.state = 'succeeded'))::int AS s,"
					 "         (count(*) FILTER (WHERE d.state IN ('failed', 'upstream_failed', 'cancelled')))::int AS f,"
					 "         (count(*) FILTER (WHERE d.state = 'skipped'))::int AS k"
					 "       FROM pipeline.task_runs w LEFT JOIN pipeline.task_runs d"
					 "         ON d.run_id = $1 AND d.task = ANY (w.depends_on)"
					 "       WHERE w.run_id = $1 AND w.state = 'waiting' AND w.mapped_task IS NULL GROUP BY w.task, w.trigger_rule) c,"
					 "   LATERAL (SELECT CASE c.n WHEN 0 THEN 'ready'"
					 "     ELSE pipeline._trigger_state(c.trigger_rule, c.n - c.s - c.f - c.k, c.s, c.f, c.k) END AS state) v"
					 " WHERE r.run_id = $1 AND r.task = c.task RETURNING r.task, r.state",
					 SPI_OK_UPDATE_RETURNING, sql_int8(run_id));
	for (uint64 i = 0; i < n; i++)
	{
		char	   *state = pipeline_sql_text(i, 2);

		if (strcmp(state, "upstream_failed") == 0)
			held_back = lappend(held_back, pipeline_sql_text(i, 1));
		else if (strcmp(state, "skipped") == 0)
			skipped = lappend(skipped, pipeline_sql_text(i, 1));
	}
	runner_settle_successors(run_id, held_back, skipped);
}

/*
 * Let the run go on: ready what need not wait if it is running, queue it if it
 * had ended, end it if nothing is left.
 */
static void
go_on(int64 run_id)
{
	runner_rearrange_run(run_id);
	recount(run_id);
	pipeline_sql("UPDATE pipeline.runs r SET degraded = false, cancel_requested_at = NULL, finished_at = NULL,"
				 "   state = CASE r.state WHEN 'running' THEN r.state ELSE 'queued' END,"
				 "   owner = (SELECT p.owner FROM pipeline.pipelines p WHERE p.pipeline = r.pipeline)"
				 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(run_id));
	/* Until the run begins again its mapped runs are not ready either. */
	pipeline_sql("UPDATE pipeline.task_runs t SET state = 'waiting', ready_at = NULL"
				 " FROM pipeline.runs r WHERE r.run_id = $1 AND r.state = 'queued' AND t.run_id = $1"
				 " AND t.state = 'ready'", SPI_OK_UPDATE, sql_int8(run_id));
	pipeline_sql("UPDATE pipeline.task_runs t SET state = 'ready', ready_at = clock_timestamp(), rank = pipeline._rank(priority)"
				 " FROM pipeline.runs r WHERE r.run_id = $1 AND r.state = 'running' AND t.run_id = $1"
				 " AND t.state = 'waiting' AND t.pending = 0 AND t.next_attempt_at IS NULL", SPI_OK_UPDATE, sql_int8(run_id));
	runner_open_tables();
	runner_finish_run_if_done(run_id);
	runner_close_tables();
	runner_at_commit_wake();
}

/* The names in the first column of the last result. */
static ArrayType *
result_names(uint64 n)
{
	List	   *names = NIL;

	for (uint64 i = 0; i < n; i++)
		names = lappend(names, pipeline_sql_text(i, 1));
	return pipeline_list_array(names);
}

/*
 * Have tasks of an ended run (NULL: all) run again, `only_failed` those that
 * failed, were held back or were cancelled; of a task that was mapped then only
 * its runs that failed, not foreach.  Returns how many.  The caller has locked
 * the run and acts as the owner of the extension.
 */
int
runner_run_again(int64 run_id, const ArrayType *tasks, bool only_failed)
{
	int			n = 0;

	if (only_failed)
		n = reset_mapped(run_id,
						 result_names(pipeline_sql("SELECT task FROM pipeline.task_runs WHERE run_id = $1 AND expanded"
												   " AND ($2 IS NULL OR task = ANY ($2))",
												   SPI_OK_SELECT, sql_int8(run_id), sql_array(tasks))), NULL);
	n += reset_tasks(run_id,
					 result_names(pipeline_sql("SELECT task FROM pipeline.task_runs WHERE run_id = $1 AND mapped_task IS NULL"
											   " AND (NOT $3 OR state IN ('failed', 'upstream_failed', 'cancelled'))"
											   " AND ($2 IS NULL OR task = ANY ($2))",
											   SPI_OK_SELECT, sql_int8(run_id), sql_array(tasks),
											   sql_bool(only_failed))));
	if (n > 0)
		go_on(run_id);
	return n;
}

static void
record(const char *action, int64 run_id, const char *pipeline,
	   const char *task, const char *state, const char *note)
{
	Jsonb	   *after = pipeline_jsonb_object(2, (const char *[]) {"task", "state"},
											  (const char *[]) {task, state});

	runner_record_change(pipeline, action, "run", psprintf("%s " INT64_FORMAT, pipeline, run_id),
						   NULL, task ? after : NULL, note);
}

/* Raise 42704 unless the run has the task; returns the task's state. */
static char *
task_state(int64 run_id, const char *task)
{
	if (pipeline_sql("SELECT state FROM pipeline.task_runs WHERE run_id = $1 AND task = $2",
					 SPI_OK_SELECT, sql_int8(run_id), sql_text(task)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " has no task \"%s\"", run_id, task),
				 errhint("View pipeline.task_status lists a run's tasks.")));
	return pipeline_sql_text(0, 1);
}

static void
refuse_running(int64 run_id, const char *task)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("task \"%s\" of run " INT64_FORMAT " is running", task, run_id),
			 errhint("Wait for it, or cancel the run first.")));
}

/* What became of a mapped task is what became of its runs. */
static void
refuse_mapped(int64 run_id, const char *task)
{
	if (pipeline_sql("SELECT mapped_task, map_key FROM pipeline.task_runs WHERE run_id = $1 AND task = $2"
					 " AND mapped_task IS NOT NULL",
					 SPI_OK_SELECT, sql_int8(run_id), sql_text(task)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot mark mapped run \"%s\" of task \"%s\" alone",
						pipeline_sql_text(0, 2), pipeline_sql_text(0, 1)),
				 errhint("Mark the task, or have the mapped run run again with pipeline.clear(map_key => ...).")));
}

PG_FUNCTION_INFO_V1(pipeline_retry);

/* SQL: retry(run_id); returns how many tasks run again. */
Datum
pipeline_retry(PG_FUNCTION_ARGS)
{
	int64		run_id;
	UserScope	scope;
	char	   *pipeline;
	char	   *state;
	int			n;

	pipeline_not_null(fcinfo, 0, "run_id");
	run_id = PG_GETARG_INT64(0);
	runner_require_preload();
	SPI_connect();
	state = runner_lock_run(run_id, &pipeline);
	if (strcmp(state, "queued") == 0 || strcmp(state, "running") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("run " INT64_FORMAT " has not ended: it is %s", run_id, state),
				 errhint("Wait for it, cancel it first, or have one task run again with pipeline.clear().")));
	pipeline_extension_begin(&scope);
	n = runner_run_again(run_id, NULL, true);
	if (n > 0)
		record("retry", run_id, pipeline, NULL, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT32(n);
}

PG_FUNCTION_INFO_V1(pipeline_clear);

/* SQL: clear(run_id, task, downstream, only_failed, map_key, note) */
Datum
pipeline_clear(PG_FUNCTION_ARGS)
{
	int64		run_id;
	UserScope	scope;
	char	   *pipeline;
	char	   *task;
	char	   *map_key;
	ArrayType  *tasks;
	int			n;

	pipeline_not_null(fcinfo, 0, "run_id");
	pipeline_not_null(fcinfo, 1, "task");
	pipeline_not_null(fcinfo, 2, "downstream");
	pipeline_not_null(fcinfo, 3, "only_failed");
	run_id = PG_GETARG_INT64(0);
	task = pipeline_arg_text(fcinfo, 1);
	map_key = pipeline_arg_text(fcinfo, 4);
	runner_require_preload();
	SPI_connect();
	(void) runner_lock_run(run_id, &pipeline);
	pipeline_extension_begin(&scope);
	(void) task_state(run_id, task);
	if (map_key)
		(void) task_state(run_id, psprintf("%s[%s]", task, map_key));
	tasks = result_names(pipeline_sql("WITH RECURSIVE cleared AS (SELECT $2 AS task UNION"
									  "  SELECT t.task FROM cleared c JOIN pipeline.task_runs t"
									  "  ON $3 AND t.run_id = $1 AND c.task = ANY (t.depends_on))"
									  " SELECT t.task FROM cleared JOIN pipeline.task_runs t USING (task)"
									  " WHERE t.run_id = $1 AND (NOT $4 OR t.state IN ('failed', 'upstream_failed', 'cancelled'))"
									  " ORDER BY 1",
									  SPI_OK_SELECT, sql_int8(run_id), sql_text(task),
									  sql_bool(PG_GETARG_BOOL(2)), sql_bool(PG_GETARG_BOOL(3))));
	/* Wait for a claim of one of them, then see what came of it. */
	pipeline_sql("SELECT 1 FROM pipeline.task_runs WHERE run_id = $1 AND (task = ANY ($2) OR mapped_task = ANY ($2))"
				 " ORDER BY task FOR UPDATE",
				 SPI_OK_SELECT, sql_int8(run_id), sql_array(tasks));
	if (pipeline_sql("SELECT task FROM pipeline.task_runs WHERE run_id = $1 AND state = 'running' AND NOT expanded"
					 " AND (task = ANY ($2) OR mapped_task = ANY ($2))"
					 " AND ($3 IS NULL OR mapped_task IS DISTINCT FROM $4 OR map_key = $3) ORDER BY 1 LIMIT 1",
					 SPI_OK_SELECT, sql_int8(run_id), sql_array(tasks),
					 sql_text(map_key), sql_text(task)) > 0)
		refuse_running(run_id, pipeline_sql_text(0, 1));
	if (map_key)
	{
		/* The task itself only goes on with that one run. */
		List	   *after = pipeline_array_list(tasks, "task");

		n = reset_mapped(run_id, pipeline_list_array(list_make1(task)), map_key);
		for (int i = list_length(after) - 1; i >= 0; i--)
			if (strcmp(list_nth(after, i), task) == 0)
				after = list_delete_nth_cell(after, i);
		n += reset_tasks(run_id, pipeline_list_array(after));
	}
	else
		n = reset_tasks(run_id, tasks);
	if (n > 0)
	{
		go_on(run_id);
		record("clear", run_id, pipeline, task, NULL, pipeline_arg_text(fcinfo, 5));
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT32(n);
}

PG_FUNCTION_INFO_V1(pipeline_mark);

/* SQL: mark(run_id, task, state, note) */
Datum
pipeline_mark(PG_FUNCTION_ARGS)
{
	static const char *const states[] = {"succeeded", "failed", "skipped", NULL};
	int64		run_id;
	UserScope	scope;
	char	   *pipeline;
	char	   *task;
	char	   *state;
	bool		isnull;
	int			n;

	pipeline_not_null(fcinfo, 0, "run_id");
	pipeline_not_null(fcinfo, 1, "task");
	pipeline_not_null(fcinfo, 2, "state");
	run_id = PG_GETARG_INT64(0);
	task = pipeline_arg_text(fcinfo, 1);
	state = pipeline_arg_text(fcinfo, 2);
	pipeline_check_choice("state", state, states);
	runner_require_preload();
	SPI_connect();
	(void) runner_lock_run(run_id, &pipeline);
	pipeline_extension_begin(&scope);
	refuse_mapped(run_id, task);
	/* The row's lock waits for a claim of it. */
	if (pipeline_sql("UPDATE pipeline.task_runs SET state = $3, finished_at = clock_timestamp(),"
					 "   error = CASE $3 WHEN 'failed' THEN 'marked as failed' END, next_attempt_at = NULL, deadline_due = NULL"
					 " WHERE run_id = $1 AND task = $2 AND state <> 'running' RETURNING owner::oid",
					 SPI_OK_UPDATE_RETURNING, sql_int8(run_id), sql_text(task), sql_text(state)) == 0)
	{
		(void) task_state(run_id, task);
		refuse_running(run_id, task);
	}
	if (strcmp(state, "failed") != 0)
		pipeline_resolve_alerts(DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull)),
								"TaskFailed", psprintf("%s/%s", pipeline, task));
	n = reset_tasks(run_id,
					result_names(pipeline_sql("WITH RECURSIVE after AS ("
											  "  SELECT t.task, t.state FROM pipeline.task_runs t"
											  "  WHERE t.run_id = $1 AND $2 = ANY (t.depends_on)"
											  "  UNION SELECT t.task, t.state FROM after a JOIN pipeline.task_runs t"
											  "  ON t.run_id = $1 AND a.task = ANY (t.depends_on))"
											  " SELECT task FROM after WHERE state = 'upstream_failed' ORDER BY 1",
											  SPI_OK_SELECT, sql_int8(run_id), sql_text(task))));
	go_on(run_id);
	record("mark", run_id, pipeline, task, state, pipeline_arg_text(fcinfo, 3));
	pipeline_sql("SELECT count(*) FROM pipeline.task_runs WHERE run_id = $1 AND mapped_task IS NULL"
				 " AND state IN ('waiting', 'ready')", SPI_OK_SELECT, sql_int8(run_id));
	n = (int) pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT32(n);
}
