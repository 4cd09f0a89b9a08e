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

#include "alert/alert.h"
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
 * exists already.  Raises 55000 when the pipeline has no tasks.  Deadlines
 * count from the end of the interval, or from now where the interval does not
 * say when the run was to be.
 */
int64
runner_create_run(const RunSpec *spec)
{
	UserScope	scope;
	int64		run_id = 0;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("INSERT INTO pipeline.runs (pipeline, owner, run_type, params, interval_start, interval_end,"
					 "   triggered_by, datasets, deadline_at, deadline_due)"
					 " SELECT p.pipeline, p.owner, $2, $3, $4, $5, $6, $7, d.at, d.at - coalesce(p.deadline_warning, '0')"
					 " FROM pipeline.pipelines p, LATERAL (SELECT p.deadline +"
					 "     CASE $2 WHEN 'scheduled' THEN $5 ELSE clock_timestamp() END AS at) d"
					 " WHERE p.pipeline = $1"
					 " ON CONFLICT (pipeline, interval_end, interval_start)"
					 "   WHERE run_type = 'scheduled' DO NOTHING"
					 " RETURNING run_id, queued_at, (SELECT p.labels FROM pipeline.pipelines p WHERE p.pipeline = $1)",
					 SPI_OK_INSERT_RETURNING, sql_text(spec->pipeline), sql_text(spec->run_type),
					 sql_jsonb(spec->params), sql_time(spec->interval_start), sql_time(spec->interval_end),
					 sql_role(GetSessionUserId()), sql_jsonb(spec->datasets)) > 0)
	{
		bool		isnull;
		TimestampTz deadline_from = strcmp(spec->run_type, "scheduled") == 0 ? spec->interval_end :
			DatumGetTimestampTz(pipeline_sql_datum(0, 2, &isnull));
		Jsonb	   *labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 3, &isnull));

		run_id = pipeline_sql_int8(0, 1);
		if (runner_create_task_runs(run_id, spec->pipeline, spec->tasks, labels, deadline_from) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("pipeline \"%s\" has no tasks", spec->pipeline),
					 errhint("Add one with pipeline.create_task().")));
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
	RunSpec		spec = {.run_type = "manual"};

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
	spec.pipeline = def->name;
	spec.params = runner_merge_params(def, params);
	spec.interval_start = from;
	spec.interval_end = to;
	return runner_create_run(&spec);
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

/* The state, pipeline and owner of a run; raises 42704. */
static char *
read_run(int64 run_id, char **pipeline, Oid *owner)
{
	bool		isnull;

	if (pipeline_sql("SELECT r.pipeline, p.owner::oid, r.state"
					 " FROM pipeline.runs r JOIN pipeline.pipelines p USING (pipeline)"
					 " WHERE r.run_id = $1", SPI_OK_SELECT, sql_int8(run_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id),
				 errhint("View pipeline.run_status lists those that you may see.")));
	*pipeline = pipeline_sql_text(0, 1);
	*owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	return pipeline_sql_text(0, 3);
}

/*
 * Lock a run that the caller may operate, alone, inside an SPI connection;
 * returns its state.  Raises 42704 and 42501; the rights are checked before
 * too, so that nobody can hold what is not theirs.
 */
char *
runner_lock_run(int64 run_id, char **pipeline)
{
	UserScope	scope;
	char	   *state;
	Oid			owner;

	pipeline_extension_begin(&scope);
	(void) read_run(run_id, pipeline, &owner);
	pipeline_scope_end(&scope);
	runner_check_run(owner, *pipeline, run_id, true);
	runner_run_lock(run_id, true);
	pipeline_extension_begin(&scope);
	state = read_run(run_id, pipeline, &owner);
	/* A run cannot be changed under a snapshot that does not see its state. */
	pipeline_sql("SELECT 1 FROM pipeline.runs WHERE run_id = $1 FOR NO KEY UPDATE",
				 SPI_OK_SELECT, sql_int8(run_id));
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
	/* A mapped task has no attempt: it ends with its runs. */
	pipeline_sql("UPDATE pipeline.task_runs t SET state = 'cancelled', finished_at = clock_timestamp(), deadline_due = NULL"
				 " WHERE run_id = $1 AND state IN ('waiting', 'ready', 'up_for_retry')",
				 SPI_OK_UPDATE, sql_int8(run_id));
	pipeline_sql("UPDATE pipeline.task_runs t SET pending = (SELECT count(*) FROM pipeline.task_runs m"
				 "   WHERE m.run_id = $1 AND m.mapped_task = t.task AND m.state = 'running')"
				 " WHERE run_id = $1 AND state = 'running' AND expanded", SPI_OK_UPDATE, sql_int8(run_id));
	pipeline_sql("UPDATE pipeline.runs SET"
				 " cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())"
				 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(run_id));
	/* A new snapshot: it sees a claim that the first statement waited for. */
	n = pipeline_sql("SELECT attempt_id FROM pipeline.attempts"
					 " WHERE run_id = $1 AND state = 'running'",
					 SPI_OK_SELECT, sql_int8(run_id));
	for (uint64 i = 0; i < n; i++)
		runner_at_commit_stop(pipeline_sql_int8(i, 1));
	runner_open_tables();
	runner_finish_run_if_done(run_id);
	runner_close_tables();
	runner_record_change(pipeline, "cancel", "run", psprintf("%s " INT64_FORMAT, pipeline, run_id),
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
	pipeline_sql("UPDATE pipeline.task_runs SET state = 'cancelled', finished_at = clock_timestamp(), deadline_due = NULL"
				 " WHERE state IN ('waiting', 'ready', 'running', 'up_for_retry')", SPI_OK_UPDATE);
	pipeline_sql("UPDATE pipeline.dataset_events SET dispatched = true WHERE NOT dispatched", SPI_OK_UPDATE);
	n = pipeline_sql("UPDATE pipeline.runs SET state = 'cancelled', finished_at = clock_timestamp(), deadline_due = NULL"
					 " WHERE state IN ('queued', 'running')", SPI_OK_UPDATE);
	pipeline_notifier_drop_unsent("this database is a copy of the one that wrote it");
	/* Due times of while this was a copy are not missed ones. */
	pipeline_sql("UPDATE pipeline.pipelines SET scheduled_since = now()", SPI_OK_UPDATE);
	pipeline_identity_claim();
	pipeline_record_change("resume_schedules", "database", "this", NULL, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	runner_at_commit_wake();
	PG_RETURN_INT32((int32) n);
}
