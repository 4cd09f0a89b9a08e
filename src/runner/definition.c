/*
 * definition.c
 *	  Pipelines: create, drop, pause, resume.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "alert/alert.h"
#include "runner/runner.h"

/* ---- roles --------------------------------------------------------------- */

/*
 * Choose and check the owner of a pipeline: run_as, or else whoever owns it
 * already, or else the caller.  Replacing a definition alone must not make the
 * tasks that others wrote run as the caller.
 */
static Oid
choose_owner(FunctionCallInfo fcinfo, int argument, Oid present)
{
	Oid			owner = PG_ARGISNULL(argument) ? present : PG_GETARG_OID(argument);
	char	   *problem;

	if (!OidIsValid(owner))
		owner = GetUserId();
	if (owner != GetUserId() && owner != present && !member_can_set_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be able to SET ROLE \"%s\"", GetUserNameFromId(owner, false)),
				 errdetail("The pipeline would run as that role.")));
	problem = pipeline_role_problem(owner, "tasks");
	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("a pipeline cannot run as role \"%s\"",
						SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner)) ?
						GetUserNameFromId(owner, false) : psprintf("%u", owner)),
				 errdetail_internal("The %s.", problem),
				 errhint("Choose another role with run_as.")));
	return owner;
}

/* A deadline is not a decision about the next decade. */
#define MOST_DEADLINE_DAYS 3660

/* ---- the definition ------------------------------------------------------------ */

/*
 * Load what runs need to know of a pipeline.  Raises 42704 when there is none
 * of that name.  Inside an SPI connection; checks no rights.
 */
PipelineDef *
runner_load_pipeline(const char *name)
{
	PipelineDef *def = palloc0_object(PipelineDef);
	UserScope	scope;
	bool		isnull;
	Datum		params;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, schedule, timezone, interval_align, params"
					 " FROM pipeline.pipelines WHERE pipeline = $1",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", name),
				 errhint("Table pipeline.pipelines lists those that you may see.")));
	def->name = pstrdup(name);
	def->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	def->schedule = pipeline_sql_text(0, 2);
	def->timezone = pipeline_sql_text(0, 3);
	def->interval_align = pipeline_sql_text(0, 4);
	params = pipeline_sql_datum(0, 5, &isnull);
	def->params = DatumGetJsonbPCopy(params);
	pipeline_scope_end(&scope);
	return def;
}

/*
 * Lock a pipeline's definition and load it.  The rights of the current user
 * are checked before, so that nobody can lock what is not theirs, and again
 * after the wait, in which the owner may have changed.  The lock does not keep
 * runs from being created.
 */
static PipelineDef *
lock_pipeline(const char *name, void (*check) (Oid owner, const char *name))
{
	UserScope	scope;
	PipelineDef *def;

	check(runner_load_pipeline(name)->owner, name);
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1 FOR NO KEY UPDATE",
				 SPI_OK_SELECT, sql_text(name));
	pipeline_scope_end(&scope);
	def = runner_load_pipeline(name);
	check(def->owner, name);
	return def;
}

static void
check_owner(Oid owner, const char *name)
{
	pipeline_check_owner(owner, "pipeline", name);
}

/* The same for who is to change the definition: its owner. */
PipelineDef *
runner_lock_pipeline(const char *name)
{
	return lock_pipeline(name, check_owner);
}

/* The same for who is to operate it. */
PipelineDef *
runner_lock_operated(const char *name)
{
	return lock_pipeline(name, runner_check_operator);
}

/* Raise 22023 unless a pipeline can have that name. */
void
runner_check_pipeline_name(const char *name)
{
	pipeline_check_name("pipeline", name);
	if (strchr(name, '/'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a pipeline: \"%s\"", name),
				 errhint("A slash would make \"pipeline/task\" ambiguous.")));
}

static Jsonb *
pipeline_as_jsonb(const char *name)
{
	bool		isnull;

	if (pipeline_sql("SELECT to_jsonb(p) - 'created_at' - 'scheduled_since'"
					 " FROM pipeline.pipelines p WHERE pipeline = $1",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		return NULL;
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

static void
check_schedule(const char *schedule, const char *timezone, const char *align)
{
	CronExpr	expr;

	(void) pipeline_timezone(timezone);
	if (schedule)
	{
		runner_cron_parse(schedule, &expr);
		if (expr.seconds > 0)
			ereport(NOTICE,
					(errmsg("a schedule in seconds needs a clock that ticks as often"),
					 errhint("Afterwards an administrator calls pipeline.enable_schedules() again.")));
	}
	if (align)
		runner_check_align(align);
	if (align && !schedule)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"interval_align\" needs a schedule"),
				 errhint("An unscheduled pipeline's runs take their interval from run().")));
}

PG_FUNCTION_INFO_V1(pipeline_create_pipeline);

/* SQL: create_pipeline(name, schedule, timezone, ...) */
Datum
pipeline_create_pipeline(PG_FUNCTION_ARGS)
{
	static const char *const required[] = {"name", NULL, "timezone", NULL,
		"max_active_runs", "catchup", NULL, NULL, "on_datasets", "params", NULL,
		"paused", "labels", "or_replace", NULL
	};
	static const char *const catchups[] = {"none", "last", "all", NULL};
	char	   *name = pipeline_arg_text(fcinfo, 0);
	char	   *schedule = pipeline_arg_text(fcinfo, 1);
	char	   *timezone = pipeline_arg_text(fcinfo, 2);
	char	   *align = pipeline_arg_text(fcinfo, 3);
	char	   *catchup = pipeline_arg_text(fcinfo, 5);
	Interval   *deadline = PG_ARGISNULL(6) ? NULL : PG_GETARG_INTERVAL_P(6);
	Interval   *warning = PG_ARGISNULL(7) ? NULL : PG_GETARG_INTERVAL_P(7);
	List	   *datasets;
	Jsonb	   *params = pipeline_arg_jsonb(fcinfo, 9);
	Jsonb	   *labels = pipeline_arg_jsonb(fcinfo, 12);
	Jsonb	   *before;
	UserScope	scope;
	Oid			owner;
	bool		replace;

	for (int i = 0; i < lengthof(required); i++)
		if (required[i])
			pipeline_not_null(fcinfo, i, required[i]);
	replace = PG_GETARG_BOOL(13);
	runner_check_pipeline_name(name);
	runner_check_interval(deadline, "deadline", false, MOST_DEADLINE_DAYS);
	runner_check_interval(warning, "deadline_warning", false, MOST_DEADLINE_DAYS);
	if (warning && !deadline)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"deadline_warning\" needs \"deadline\""),
				 errhint("It says how long before the deadline an alert warns of it.")));
	datasets = pipeline_array_list(PG_GETARG_ARRAYTYPE_P(8), "on_datasets");
	if (PG_GETARG_INT32(4) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"max_active_runs\": %d", PG_GETARG_INT32(4)),
				 errhint("Give a number above zero.")));
	pipeline_check_choice("catchup", catchup, catchups);
	check_schedule(schedule, timezone, align);
	if (!JB_ROOT_IS_OBJECT(params))
		pipeline_check_keys(params, "params", NULL);
	/* The alerts of its runs will carry them. */
	pipeline_check_labels(labels, "labels");

	SPI_connect();
	pipeline_extension_begin(&scope);
	before = pipeline_as_jsonb(name);
	pipeline_scope_end(&scope);
	if (before && !replace)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already exists", name),
				 errhint("With or_replace => true its definition is replaced; its tasks and history stay.")));
	owner = choose_owner(fcinfo, 10, before ? runner_lock_pipeline(name)->owner : InvalidOid);

	pipeline_extension_begin(&scope);
	runner_check_datasets(datasets, owner);
	pipeline_identity_mind();
	if (before)
		before = pipeline_as_jsonb(name);
	if (pipeline_sql("INSERT INTO pipeline.pipelines AS p (pipeline, owner, schedule, timezone, interval_align,"
					 "   max_active_runs, catchup, params, labels, description, paused, paused_reason,"
					 "   deadline, deadline_warning, on_datasets)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
					 "   CASE WHEN $11 THEN 'created paused' END, $13, $14, $15)"
					 " ON CONFLICT (pipeline) DO UPDATE SET owner = $2, schedule = $3, timezone = $4,"
					 "   interval_align = $5, max_active_runs = $6, catchup = $7, params = $8,"
					 "   labels = $9, description = $10, deadline = $13, deadline_warning = $14, on_datasets = $15,"
					 "   paused = p.paused OR $11,"
					 "   paused_reason = CASE WHEN p.paused THEN p.paused_reason WHEN $11 THEN 'replaced paused' END,"
					 "   scheduled_since = CASE WHEN (p.schedule, p.timezone, p.interval_align)"
					 "     IS DISTINCT FROM ($3, $4, $5) THEN now() ELSE p.scheduled_since END"
					 " WHERE $12",
					 SPI_OK_INSERT, sql_text(name), sql_role(owner), sql_text(schedule),
					 sql_text(timezone), sql_text(align), sql_int4(PG_GETARG_INT32(4)),
					 sql_text(catchup), sql_jsonb(params), sql_jsonb(labels),
					 sql_text(pipeline_arg_text(fcinfo, 14)),
					 sql_bool(PG_GETARG_BOOL(11)), sql_bool(before != NULL),
					 sql_interval(deadline), sql_interval(warning),
					 sql_array(pipeline_list_array(datasets))) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already exists", name),
				 errhint("Another session has just created it.")));
	pipeline_sql("UPDATE pipeline.tasks SET owner = $2 WHERE pipeline = $1 AND owner <> $2",
				 SPI_OK_UPDATE, sql_text(name), sql_role(owner));
	pipeline_sql("UPDATE pipeline.pipeline_grants SET owner = $2 WHERE pipeline = $1 AND owner <> $2",
				 SPI_OK_UPDATE, sql_text(name), sql_role(owner));
	pipeline_sql("DELETE FROM pipeline.dataset_updates WHERE pipeline = $1 AND dataset <> ALL ($2)",
				 SPI_OK_DELETE, sql_text(name), sql_array(pipeline_list_array(datasets)));
	pipeline_sql("UPDATE pipeline.dataset_updates SET owner = $2 WHERE pipeline = $1 AND owner <> $2",
				 SPI_OK_UPDATE, sql_text(name), sql_role(owner));
	pipeline_record_change("create_pipeline", "pipeline", name, before,
						   pipeline_as_jsonb(name), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	runner_at_commit_wake();
	if (!runner_is_preloaded())
		ereport(WARNING,
				(errmsg("pipeline is not in shared_preload_libraries, so nothing will run"),
				 errhint("Add it and restart the server.")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_pipeline);

/* SQL: drop_pipeline(pipeline) */
Datum
pipeline_drop_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name;
	UserScope	scope;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "pipeline");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	(void) runner_lock_pipeline(name);
	pipeline_extension_begin(&scope);
	/* Now against runs, too: none is created between the look and the end. */
	pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
	if (pipeline_sql("SELECT run_id FROM pipeline.runs WHERE pipeline = $1"
					 " AND state IN ('queued', 'running') ORDER BY run_id LIMIT 1",
					 SPI_OK_SELECT, sql_text(name)) > 0)
	{
		int64		run_id = pipeline_sql_int8(0, 1);

		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("pipeline \"%s\" has a run that has not ended", name),
				 errdetail("It is run " INT64_FORMAT ".", run_id),
				 errhint("Wait for it, or call pipeline.cancel(" INT64_FORMAT ").", run_id)));
	}
	before = pipeline_as_jsonb(name);
	runner_resolve_dropped(name, NULL);
	pipeline_sql("DELETE FROM pipeline.pipelines WHERE pipeline = $1", SPI_OK_DELETE,
				 sql_text(name));
	pipeline_record_change("drop_pipeline", "pipeline", name, before, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

/* Record what was done to a pipeline or something of it; its owner sees it. */
void
runner_record_change(const char *pipeline, const char *action, const char *kind,
					 const char *name, const Jsonb *before,
					 const Jsonb *after, const char *note)
{
	bool		isnull = true;
	Datum		owner = (Datum) 0;

	if (pipeline_sql("SELECT owner::oid FROM pipeline.pipelines WHERE pipeline = $1",
					 SPI_OK_SELECT, sql_text(pipeline)) > 0)
		owner = pipeline_sql_datum(0, 1, &isnull);
	pipeline_record_change_of(isnull ? InvalidOid : DatumGetObjectId(owner),
							  action, kind, name, before, after, note);
}

/* Pause or resume, with the change recorded. */
static void
set_paused(const char *name, bool paused, const char *reason)
{
	UserScope	scope;

	SPI_connect();
	(void) runner_lock_operated(name);
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.pipelines SET paused = $2, paused_reason = $3,"
				 " scheduled_since = CASE WHEN NOT $2 AND catchup = 'none'"
				 "   THEN now() ELSE scheduled_since END"
				 " WHERE pipeline = $1", SPI_OK_UPDATE, sql_text(name), sql_bool(paused),
				 sql_text(reason));
	runner_record_change(name, paused ? "pause" : "resume", "pipeline", name, NULL,
						   NULL, reason);
	pipeline_scope_end(&scope);
	SPI_finish();
	runner_at_commit_wake();
}

PG_FUNCTION_INFO_V1(pipeline_pause);

/* SQL: pause(pipeline, reason) */
Datum
pipeline_pause(PG_FUNCTION_ARGS)
{
	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "reason");
	set_paused(pipeline_arg_text(fcinfo, 0), true, pipeline_arg_text(fcinfo, 1));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_resume);

/* SQL: resume(pipeline) */
Datum
pipeline_resume(PG_FUNCTION_ARGS)
{
	pipeline_not_null(fcinfo, 0, "pipeline");
	set_paused(pipeline_arg_text(fcinfo, 0), false, NULL);
	PG_RETURN_VOID();
}
