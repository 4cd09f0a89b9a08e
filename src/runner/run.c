/*
 * run.c
 *	  Runs: create, cancel, and what a copy of a database does with them.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

/*
 * Lay the given parameters over the declared ones.  Raises 22023 for one that
 * is not declared.
 */
Jsonb *
runner_merge_params(const PipelineDef *def, const Jsonb *given)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	List	   *names = NIL;
	const char **allowed;
	int			n = 0;
	ListCell   *lc;

	it = JsonbIteratorInit((JsonbContainer *) &def->params->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_KEY)
			names = lappend(names, pnstrdup(v.val.string.val, v.val.string.len));
	allowed = palloc0_array(const char *, list_length(names) + 1);
	foreach(lc, names)
		allowed[n++] = lfirst(lc);
	pipeline_check_keys(given, "params", allowed);
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
											  JsonbPGetDatum(def->params),
											  JsonbPGetDatum(given)));
}

/*
 * Create a run and its tasks, queued.  The caller has checked rights and is
 * inside an SPI connection.  Returns 0 when a scheduled run of that interval
 * exists already.  Raises 55000 when the pipeline has no tasks.
 */
int64
runner_create_run(const char *pipeline, const char *run_type,
				  const Jsonb *params, TimestampTz from, TimestampTz to)
{
	UserScope	scope;
	int64		run_id = 0;
	uint64		tasks;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("INSERT INTO pipeline.runs (pipeline, owner, run_type, params,"
					 "   interval_start, interval_end, triggered_by)"
					 " SELECT pipeline, owner, $2, $3, $4, $5, $6 FROM pipeline.pipelines"
					 " WHERE pipeline = $1"
					 " ON CONFLICT (pipeline, interval_end, interval_start)"
					 "   WHERE run_type = 'scheduled' DO NOTHING"
					 " RETURNING run_id",
					 SPI_OK_INSERT_RETURNING, sql_text(pipeline), sql_text(run_type),
					 sql_jsonb(params), sql_time(from), sql_time(to),
					 sql_role(GetSessionUserId())) > 0)
	{
		run_id = pipeline_sql_int8(0, 1);
		tasks = pipeline_sql("INSERT INTO pipeline.task_runs (run_id, task, pipeline, owner, pending, command,"
							 "   depends_on, mode, trigger_rule, condition, wait_for, poke_interval, wait_timeout,"
							 "   on_wait_timeout, retries, retry_delay, retry_backoff, retry_on,"
							 "   timeout, allow_failure, priority, labels)"
							 " SELECT $1, t.task, t.pipeline, t.owner,"
							 "   CASE t.trigger_rule WHEN 'always' THEN 0 ELSE cardinality(t.depends_on) END, t.command,"
							 "   t.depends_on, t.mode, t.trigger_rule, t.condition, t.wait_for, t.poke_interval, t.wait_timeout,"
							 "   t.on_wait_timeout, t.retries, t.retry_delay, t.retry_backoff, t.retry_on,"
							 "   t.timeout, t.allow_failure, t.priority, p.labels || t.labels"
							 " FROM pipeline.tasks t JOIN pipeline.pipelines p USING (pipeline)"
							 " WHERE t.pipeline = $2",
							 SPI_OK_INSERT, sql_int8(run_id), sql_text(pipeline));
		if (tasks == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("pipeline \"%s\" has no tasks", pipeline),
					 errhint("Add one with pipeline.create_task().")));
		pipeline_sql("UPDATE pipeline.runs SET open_tasks = $2 WHERE run_id = $1",
					 SPI_OK_UPDATE, sql_int8(run_id), sql_int4((int32) tasks));
	}
	pipeline_scope_end(&scope);
	runner_at_commit_wake();
	return run_id;
}

/*
 * Create a manual run as the current user, who must be allowed to operate it.
 * `interval` is two times, or NULL for the last complete interval.  Inside an
 * SPI connection.
 */
int64
runner_start_run(const char *pipeline, const Jsonb *params,
				 const TimestampTz *interval)
{
	PipelineDef *def = runner_load_pipeline(pipeline);
	TimestampTz from = GetCurrentTransactionStartTimestamp();
	TimestampTz to = from;

	runner_check_operator(def->owner, def->name);
	if (interval)
	{
		from = interval[0];
		to = interval[1];
		if (from > to || TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid interval: it must be finite and not end before it starts"),
					 errdetail("It is from %s to %s.", pstrdup(timestamptz_to_str(from)),
							   pstrdup(timestamptz_to_str(to)))));
	}
	else if (def->schedule)
		runner_last_interval(def->schedule, def->timezone, def->interval_align,
							 to, &from, &to);
	return runner_create_run(def->name, "manual", runner_merge_params(def, params),
							 from, to);
}

PG_FUNCTION_INFO_V1(pipeline_run);

/* SQL: run(pipeline, params, interval_start, interval_end) */
Datum
pipeline_run(PG_FUNCTION_ARGS)
{
	TimestampTz interval[2];
	int64		run_id;

	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "params");
	runner_require_preload();
	if (PG_ARGISNULL(2) != PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only one end of the interval is given"),
				 errhint("Give both interval_start and interval_end, or neither.")));
	if (!PG_ARGISNULL(2))
	{
		interval[0] = PG_GETARG_TIMESTAMPTZ(2);
		interval[1] = PG_GETARG_TIMESTAMPTZ(3);
	}
	SPI_connect();
	run_id = runner_start_run(pipeline_arg_text(fcinfo, 0), PG_GETARG_JSONB_P(1),
							  PG_ARGISNULL(2) ? NULL : interval);
	SPI_finish();
	PG_RETURN_INT64(run_id);
}

/*
 * Raise 42501 unless the current user may see, or operate, a run.  Its
 * pipeline is not named: the number of somebody's run is easily guessed.
 */
void
runner_check_run(Oid owner, const char *pipeline, int64 run_id, bool operate)
{
	if (runner_may(owner, pipeline, operate))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of run " INT64_FORMAT, run_id),
			 errhint("Membership in the owning role, or in the role named by \"pipeline.admin_role\", counts; so does a grant by pipeline.grant_pipeline().")));
}

/*
 * Lock a run that the caller may operate, inside an SPI connection; returns its
 * state.  Raises 42704 and 42501.
 */
char *
runner_lock_run(int64 run_id, char **pipeline)
{
	UserScope	scope;
	bool		isnull;
	char	   *state;
	Oid			owner;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT r.pipeline, p.owner::oid, r.state"
					 " FROM pipeline.runs r JOIN pipeline.pipelines p USING (pipeline)"
					 " WHERE r.run_id = $1 FOR NO KEY UPDATE OF r",
					 SPI_OK_SELECT, sql_int8(run_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id),
				 errhint("View pipeline.run_status lists those that you may see.")));
	*pipeline = pipeline_sql_text(0, 1);
	owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	state = pipeline_sql_text(0, 3);
	pipeline_scope_end(&scope);
	runner_check_run(owner, *pipeline, run_id, true);
	return state;
}

PG_FUNCTION_INFO_V1(pipeline_cancel);

/* SQL: cancel(run_id); false when the run had ended. */
Datum
pipeline_cancel(PG_FUNCTION_ARGS)
{
	int64		run_id;
	UserScope	scope;
	char	   *pipeline;
	char	   *state;
	uint64		n;

	pipeline_not_null(fcinfo, 0, "run_id");
	run_id = PG_GETARG_INT64(0);
	SPI_connect();
	state = runner_lock_run(run_id, &pipeline);
	if (strcmp(state, "queued") != 0 && strcmp(state, "running") != 0)
	{
		SPI_finish();
		PG_RETURN_BOOL(false);
	}
	pipeline_extension_begin(&scope);
	n = pipeline_sql("UPDATE pipeline.task_runs SET state = 'cancelled', finished_at = clock_timestamp()"
					 " WHERE run_id = $1 AND state IN ('waiting', 'ready', 'up_for_retry')",
					 SPI_OK_UPDATE, sql_int8(run_id));
	pipeline_sql("UPDATE pipeline.runs SET open_tasks = open_tasks - $2,"
				 " cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())"
				 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(run_id), sql_int4((int32) n));
	/* A new snapshot: it sees a claim that the first statement waited for. */
	n = pipeline_sql("SELECT attempt_id FROM pipeline.attempts"
					 " WHERE run_id = $1 AND state = 'running'",
					 SPI_OK_SELECT, sql_int8(run_id));
	for (uint64 i = 0; i < n; i++)
		runner_at_commit_stop(pipeline_sql_int8(i, 1));
	runner_finish_run_if_done(run_id);
	pipeline_record_change("cancel", "run", psprintf("%s " INT64_FORMAT, pipeline, run_id),
						   NULL, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	runner_at_commit_wake();
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(pipeline_resume_schedules);

/*
 * SQL: resume_schedules().  Makes a copy of a database the one that acts:
 * what the original had in flight is ended here, so that nothing runs twice.
 */
Datum
pipeline_resume_schedules(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	uint64		n;

	if (!pipeline_is_admin(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function resume_schedules"),
				 errhint("Only superusers and members of the role named by \"pipeline.admin_role\" may.")));
	SPI_connect();
	if (pipeline_identity_matches())
	{
		SPI_finish();
		PG_RETURN_INT32(0);
	}
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.attempts SET state = 'cancelled', finished_at = clock_timestamp()"
				 " WHERE state = 'running'", SPI_OK_UPDATE);
	pipeline_sql("UPDATE pipeline.task_runs SET state = 'cancelled', finished_at = clock_timestamp()"
				 " WHERE state IN ('waiting', 'ready', 'running', 'up_for_retry')", SPI_OK_UPDATE);
	n = pipeline_sql("UPDATE pipeline.runs SET state = 'cancelled', finished_at = clock_timestamp(), open_tasks = 0"
					 " WHERE state IN ('queued', 'running')", SPI_OK_UPDATE);
	/* Due times of while this was a copy are not missed ones. */
	pipeline_sql("UPDATE pipeline.pipelines SET scheduled_since = now()", SPI_OK_UPDATE);
	pipeline_identity_claim();
	pipeline_record_change("resume_schedules", "database", "this", NULL, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	runner_at_commit_wake();
	PG_RETURN_INT32((int32) n);
}
