/*
 * task.c
 *	  Tasks: create and drop.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "alert/alert.h"
#include "runner/runner.h"

/* The arguments of create_task, in order. */
enum
{
	ARG_PIPELINE, ARG_TASK, ARG_COMMAND, ARG_DEPENDS_ON, ARG_MODE,
	ARG_TRIGGER_RULE, ARG_CONDITION, ARG_RETRIES, ARG_RETRY_DELAY,
	ARG_RETRY_BACKOFF, ARG_RETRY_ON, ARG_TIMEOUT, ARG_ALLOW_FAILURE, ARG_POOL,
	ARG_POOL_SLOTS, ARG_PRIORITY, ARG_WAIT_FOR, ARG_POKE_INTERVAL,
	ARG_WAIT_TIMEOUT, ARG_ON_WAIT_TIMEOUT, ARG_DEADLINE, ARG_ON_DEADLINE,
	ARG_FOREACH, ARG_MAP_KEY, ARG_MAX_ACTIVE_MAPPED, ARG_MIN_SUCCESS,
	ARG_LABELS, ARG_OR_REPLACE, ARG_DESCRIPTION
};

/* Point a syntax error into the command, not into the calling statement. */
static void
command_error_callback(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
}

static void
check_command(const char *command, bool atomic, const char *task)
{
	ErrorContextCallback callback = {
		.callback = command_error_callback,
		.arg = (void *) command,
		.previous = error_context_stack
	};

	error_context_stack = &callback;
	(void) runner_parse_command(command, atomic, task);
	error_context_stack = callback.previous;
}

/*
 * Raise 22023 unless the interval, if there is one, is within bounds: a wait may
 * be nothing, a timeout may not; neither grows past its bound.
 */
void
runner_check_interval(const Interval *value, const char *argument, bool zero_ok,
					  int most_days)
{
	Interval	zero = {0};
	Interval	most = {.day = most_days};

	if (value == NULL ||
		(pipeline_compare_intervals(value, &most) <= 0 &&
		 pipeline_compare_intervals(value, &zero) >= (zero_ok ? 0 : 1)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for argument \"%s\": %s", argument,
					DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(value)))),
			 errhint("Give an interval %s zero, of at most %d days.",
					 zero_ok ? "not below" : "above", most_days)));
}

static void
check_retries(FunctionCallInfo fcinfo)
{
	static const char *const retry_ons[] = {"error", "any", NULL};
	float8		backoff = PG_GETARG_FLOAT8(ARG_RETRY_BACKOFF);

	if (PG_GETARG_INT32(ARG_RETRIES) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"retries\": %d", PG_GETARG_INT32(ARG_RETRIES)),
				 errhint("Give a number of at least zero.")));
	if (isnan(backoff) || backoff < 1 || backoff > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"retry_backoff\": %g", backoff),
				 errhint("Give a factor from 1 to 1000.")));
	runner_check_interval(PG_GETARG_INTERVAL_P(ARG_RETRY_DELAY), "retry_delay", true, 1);
	pipeline_check_choice("retry_on", pipeline_arg_text(fcinfo, ARG_RETRY_ON), retry_ons);
}

/* What a task waits for, and for how long. */
static void
check_wait(FunctionCallInfo fcinfo)
{
	static const char *const outcomes[] = {"fail", "skip", NULL};

	pipeline_check_choice("on_wait_timeout", pipeline_arg_text(fcinfo, ARG_ON_WAIT_TIMEOUT), outcomes);
	runner_check_interval(PG_GETARG_INTERVAL_P(ARG_POKE_INTERVAL), "poke_interval", false, 20);
	if (!PG_ARGISNULL(ARG_WAIT_TIMEOUT))
		runner_check_interval(PG_GETARG_INTERVAL_P(ARG_WAIT_TIMEOUT), "wait_timeout", false, 10000);
	if (!PG_ARGISNULL(ARG_WAIT_FOR))
		(void) pipeline_expression(pipeline_arg_text(fcinfo, ARG_WAIT_FOR), "wait_for");
	else if (!PG_ARGISNULL(ARG_WAIT_TIMEOUT))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"wait_timeout\" needs \"wait_for\""),
				 errhint("It says how long wait_for may take to become true; timeout is for the command.")));
}

static void
bad_number(const char *argument, const char *given, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for argument \"%s\": %s", argument, given),
			 errhint("%s", hint)));
}

/* Pools, priorities and deadlines. */
static void
check_places(FunctionCallInfo fcinfo)
{
	static const char *const on_deadlines[] = {"alert", "fail", NULL};
	int			priority = PG_GETARG_INT32(ARG_PRIORITY);
	int			slots = PG_GETARG_INT32(ARG_POOL_SLOTS);

	if (priority < PG_INT16_MIN || priority > PG_INT16_MAX)
		bad_number("priority", psprintf("%d", priority), "Give a number from -32768 to 32767.");
	if (slots < 1)
		bad_number("pool_slots", psprintf("%d", slots), "Give a number above zero.");
	pipeline_check_choice("on_deadline", pipeline_arg_text(fcinfo, ARG_ON_DEADLINE), on_deadlines);
	if (!PG_ARGISNULL(ARG_DEADLINE))
		runner_check_interval(PG_GETARG_INTERVAL_P(ARG_DEADLINE), "deadline", false, 3660);
	else if (strcmp(pipeline_arg_text(fcinfo, ARG_ON_DEADLINE), "alert") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"on_deadline\" needs \"deadline\"")));
}

/* What a task is mapped over. */
static void
check_mapping(FunctionCallInfo fcinfo)
{
	static const int others[] = {ARG_MAP_KEY, ARG_MAX_ACTIVE_MAPPED};
	static const char *const names[] = {"map_key", "max_active_mapped"};
	double		min_success = PG_GETARG_FLOAT8(ARG_MIN_SUCCESS);

	if (isnan(min_success) || min_success < 0 || min_success > 1)
		bad_number("min_success", psprintf("%g", min_success), "Give a share from 0 to 1.");
	if (!PG_ARGISNULL(ARG_MAX_ACTIVE_MAPPED) && PG_GETARG_INT32(ARG_MAX_ACTIVE_MAPPED) < 1)
		bad_number("max_active_mapped", psprintf("%d", PG_GETARG_INT32(ARG_MAX_ACTIVE_MAPPED)),
				   "Give a number above zero, or null for no bound.");
	if (!PG_ARGISNULL(ARG_FOREACH))
	{
		(void) pipeline_query(pipeline_arg_text(fcinfo, ARG_FOREACH), "foreach");
		if (PG_ARGISNULL(ARG_MAP_KEY))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"foreach\" needs \"map_key\""),
					 errhint("Name the column of foreach that tells its rows apart: retries and pipeline.clear() go by it.")));
		pipeline_check_name("column", pipeline_arg_text(fcinfo, ARG_MAP_KEY));
		return;
	}
	for (int i = 0; i < lengthof(others); i++)
	{
		if (!PG_ARGISNULL(others[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"%s\" needs \"foreach\"", names[i])));
	}
	if (min_success != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"min_success\" needs \"foreach\""),
				 errhint("It is the share of mapped runs that must succeed; allow_failure is for one task.")));
}

/* Every predecessor must exist, and none may lead back to the task. */
static void
check_dependencies(const char *pipeline, const char *task, List *depends_on)
{
	ArrayType  *array = pipeline_list_array(depends_on);

	if (pipeline_sql("SELECT string_agg(quote_ident(d), ', ' ORDER BY n)"
					 " FROM unnest($2) WITH ORDINALITY u(d, n)"
					 " WHERE d <> $3 AND NOT EXISTS (SELECT FROM pipeline.tasks"
					 "   WHERE pipeline = $1 AND task = d) HAVING count(*) > 0",
					 SPI_OK_SELECT, sql_text(pipeline), sql_array(array), sql_text(task)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" depends on tasks that do not exist in pipeline \"%s\"", task, pipeline),
				 errdetail("They are: %s.", pipeline_sql_text(0, 1)),
				 errhint("Create a task after those that it depends on.")));
	/*
	 * First the tasks that lead here, each once: there are far more paths than
	 * tasks.  Then one path among them, from the task back to itself.
	 */
	if (pipeline_sql("WITH RECURSIVE followers AS ("
					 "  SELECT $3 AS task UNION"
					 "  SELECT t.task FROM followers f JOIN pipeline.tasks t"
					 "  ON t.pipeline = $1 AND f.task = ANY (t.depends_on)),"
					 " path AS ("
					 "  SELECT ARRAY[$3, (SELECT d FROM unnest($2) d WHERE d IN (SELECT task FROM followers)"
					 "                    ORDER BY d <> $3, d LIMIT 1)] AS steps"
					 "  UNION ALL"
					 "  SELECT p.steps || (SELECT d FROM pipeline.tasks t, unnest(t.depends_on) d"
					 "                     WHERE t.pipeline = $1 AND t.task = p.steps[cardinality(p.steps)]"
					 "                     AND d IN (SELECT task FROM followers) ORDER BY d <> $3, d LIMIT 1)"
					 "  FROM path p WHERE p.steps[cardinality(p.steps)] <> $3)"
					 " SELECT array_to_string(steps, ' -> ') FROM path WHERE steps[cardinality(steps)] = $3",
					 SPI_OK_SELECT, sql_text(pipeline), sql_array(array), sql_text(task)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task \"%s\" would depend on itself", task),
				 errdetail("The cycle is: %s.", pipeline_sql_text(0, 1)),
				 errhint("An arrow reads \"depends on\"; leave one of them out of depends_on.")));
}

static Jsonb *
task_as_jsonb(const char *pipeline, const char *task)
{
	bool		isnull;

	if (pipeline_sql("SELECT to_jsonb(t) - 'created_at' FROM pipeline.tasks t"
					 " WHERE pipeline = $1 AND task = $2",
					 SPI_OK_SELECT, sql_text(pipeline), sql_text(task)) == 0)
		return NULL;
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

/* Raise 22023 unless a task can have that name. */
void
runner_check_task_name(const char *name)
{
	pipeline_check_name("task", name);
	if (strchr(name, '[') && name[strlen(name) - 1] == ']')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a task: \"%s\"", name),
				 errhint("Names of the form task[key] are those of mapped runs.")));
}

/* Is all SQL that the call gives what the task has already? */
static bool
has_same_sql(const Jsonb *before, FunctionCallInfo fcinfo)
{
	static const struct
	{
		int			argument;
		const char *name;
	}			given[] = {
		{ARG_COMMAND, "command"}, {ARG_CONDITION, "condition"},
		{ARG_WAIT_FOR, "wait_for"}, {ARG_FOREACH, "foreach"}
	};

	if (before == NULL)
		return false;
	for (int i = 0; i < lengthof(given); i++)
	{
		char	   *now = pipeline_arg_text(fcinfo, given[i].argument);
		char	   *was = pipeline_jsonb_key(before, given[i].name);

		if (now && (was == NULL || strcmp(now, was) != 0))
			return false;
	}
	return true;
}

PG_FUNCTION_INFO_V1(pipeline_create_task);

/* SQL: create_task(pipeline, task, command, ...) */
Datum
pipeline_create_task(PG_FUNCTION_ARGS)
{
	static const struct
	{
		int			argument;
		const char *name;
	}			required[] = {
		{ARG_PIPELINE, "pipeline"}, {ARG_TASK, "task"}, {ARG_COMMAND, "command"},
		{ARG_DEPENDS_ON, "depends_on"}, {ARG_MODE, "mode"},
		{ARG_TRIGGER_RULE, "trigger_rule"},
		{ARG_POKE_INTERVAL, "poke_interval"},
		{ARG_ON_WAIT_TIMEOUT, "on_wait_timeout"},
		{ARG_RETRIES, "retries"}, {ARG_RETRY_DELAY, "retry_delay"},
		{ARG_RETRY_BACKOFF, "retry_backoff"}, {ARG_RETRY_ON, "retry_on"},
		{ARG_ALLOW_FAILURE, "allow_failure"}, {ARG_PRIORITY, "priority"},
		{ARG_POOL, "pool"}, {ARG_POOL_SLOTS, "pool_slots"},
		{ARG_ON_DEADLINE, "on_deadline"}, {ARG_MIN_SUCCESS, "min_success"},
		{ARG_LABELS, "labels"}, {ARG_OR_REPLACE, "or_replace"},
	};
	static const char *const modes[] = {"atomic", "autocommit", NULL};
	char	   *pipeline,
			   *task,
			   *command,
			   *mode;
	List	   *depends_on;
	Interval   *timeout;
	Jsonb	   *before;
	PipelineDef *def;
	UserScope	scope;

	for (int i = 0; i < lengthof(required); i++)
		pipeline_not_null(fcinfo, required[i].argument, required[i].name);
	pipeline = pipeline_arg_text(fcinfo, ARG_PIPELINE);
	task = pipeline_arg_text(fcinfo, ARG_TASK);
	command = pipeline_arg_text(fcinfo, ARG_COMMAND);
	mode = pipeline_arg_text(fcinfo, ARG_MODE);
	depends_on = pipeline_array_list(PG_GETARG_ARRAYTYPE_P(ARG_DEPENDS_ON), "depends_on");
	timeout = PG_ARGISNULL(ARG_TIMEOUT) ? NULL : PG_GETARG_INTERVAL_P(ARG_TIMEOUT);
	runner_check_task_name(task);
	pipeline_check_choice("mode", mode, modes);
	pipeline_check_choice("trigger_rule", pipeline_arg_text(fcinfo, ARG_TRIGGER_RULE), runner_trigger_rules);
	if (!PG_ARGISNULL(ARG_CONDITION))
		(void) pipeline_expression(pipeline_arg_text(fcinfo, ARG_CONDITION), "condition");
	check_wait(fcinfo);
	check_retries(fcinfo);
	check_places(fcinfo);
	check_mapping(fcinfo);
	runner_check_interval(timeout, "timeout", false, 20);
	pipeline_check_labels(PG_GETARG_JSONB_P(ARG_LABELS), "labels");
	check_command(command, strcmp(mode, "atomic") == 0, task);

	SPI_connect();
	/* One change of a pipeline's tasks at a time, or two could close a cycle. */
	def = runner_lock_pipeline(pipeline);
	pipeline_extension_begin(&scope);
	before = task_as_jsonb(pipeline, task);
	pipeline_scope_end(&scope);
	/* Whoever only administers may change how it runs, not what. */
	if (!has_same_sql(before, fcinfo))
		pipeline_check_author(def->owner, "pipeline", pipeline, "command");
	pipeline_extension_begin(&scope);
	if (before && !PG_GETARG_BOOL(ARG_OR_REPLACE))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("task \"%s\" of pipeline \"%s\" already exists", task, pipeline),
				 errhint("With or_replace => true its definition is replaced; runs that have begun keep the old one.")));
	check_dependencies(pipeline, task, depends_on);
	runner_check_pool(pipeline_arg_text(fcinfo, ARG_POOL), PG_GETARG_INT32(ARG_POOL_SLOTS), def->owner);
	pipeline_sql("INSERT INTO pipeline.tasks (pipeline, task, owner, command, depends_on, mode, retries,"
				 "   retry_delay, retry_backoff, retry_on, timeout, allow_failure, priority, labels, description,"
				 "   trigger_rule, condition, wait_for, poke_interval, wait_timeout, on_wait_timeout,"
				 "   pool, pool_slots, deadline, on_deadline, foreach, map_key, max_active_mapped, min_success)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,"
				 "   $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)"
				 " ON CONFLICT (pipeline, task) DO UPDATE SET owner = $3, command = $4, depends_on = $5,"
				 "   mode = $6, retries = $7, retry_delay = $8, retry_backoff = $9, retry_on = $10,"
				 "   timeout = $11, allow_failure = $12, priority = $13, labels = $14, description = $15,"
				 "   trigger_rule = $16, condition = $17, wait_for = $18, poke_interval = $19,"
				 "   wait_timeout = $20, on_wait_timeout = $21, pool = $22, pool_slots = $23, deadline = $24,"
				 "   on_deadline = $25, foreach = $26, map_key = $27, max_active_mapped = $28, min_success = $29",
				 SPI_OK_INSERT, sql_text(pipeline), sql_text(task), sql_role(def->owner),
				 sql_text(command), sql_array(pipeline_list_array(depends_on)),
				 sql_text(mode), sql_int4(PG_GETARG_INT32(ARG_RETRIES)),
				 sql_interval(PG_GETARG_INTERVAL_P(ARG_RETRY_DELAY)),
				 sql_float8(PG_GETARG_FLOAT8(ARG_RETRY_BACKOFF)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_RETRY_ON)), sql_interval(timeout),
				 sql_bool(PG_GETARG_BOOL(ARG_ALLOW_FAILURE)),
				 sql_int4(PG_GETARG_INT32(ARG_PRIORITY)),
				 sql_jsonb(PG_GETARG_JSONB_P(ARG_LABELS)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_DESCRIPTION)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_TRIGGER_RULE)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_CONDITION)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_WAIT_FOR)),
				 sql_interval(PG_GETARG_INTERVAL_P(ARG_POKE_INTERVAL)),
				 sql_interval(PG_ARGISNULL(ARG_WAIT_TIMEOUT) ? NULL : PG_GETARG_INTERVAL_P(ARG_WAIT_TIMEOUT)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_ON_WAIT_TIMEOUT)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_POOL)),
				 sql_int4(PG_GETARG_INT32(ARG_POOL_SLOTS)),
				 sql_interval(PG_ARGISNULL(ARG_DEADLINE) ? NULL : PG_GETARG_INTERVAL_P(ARG_DEADLINE)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_ON_DEADLINE)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_FOREACH)),
				 sql_text(pipeline_arg_text(fcinfo, ARG_MAP_KEY)),
				 sql_datum(INT4OID, PG_GETARG_DATUM(ARG_MAX_ACTIVE_MAPPED), PG_ARGISNULL(ARG_MAX_ACTIVE_MAPPED)),
				 sql_float8(PG_GETARG_FLOAT8(ARG_MIN_SUCCESS)));
	pipeline_record_change("create_task", "task", psprintf("%s/%s", pipeline, task),
						   before, task_as_jsonb(pipeline, task), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_task);

/* SQL: drop_task(pipeline, task) */
Datum
pipeline_drop_task(PG_FUNCTION_ARGS)
{
	char	   *pipeline;
	char	   *task;
	Jsonb	   *before;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "task");
	pipeline = pipeline_arg_text(fcinfo, 0);
	task = pipeline_arg_text(fcinfo, 1);
	SPI_connect();
	(void) runner_lock_pipeline(pipeline);
	pipeline_extension_begin(&scope);
	before = task_as_jsonb(pipeline, task);
	if (before == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" of pipeline \"%s\" does not exist", task, pipeline),
				 errhint("Table pipeline.tasks lists a pipeline's tasks.")));
	if (pipeline_sql("SELECT string_agg(quote_ident(task), ', ' ORDER BY task) FROM pipeline.tasks"
					 " WHERE pipeline = $1 AND $2 = ANY (depends_on) HAVING count(*) > 0",
					 SPI_OK_SELECT, sql_text(pipeline), sql_text(task)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("other tasks depend on task \"%s\" of pipeline \"%s\"", task, pipeline),
				 errdetail("They are: %s.", pipeline_sql_text(0, 1)),
				 errhint("Replace or drop those first.")));
	runner_resolve_dropped(pipeline, task);
	pipeline_sql("DELETE FROM pipeline.tasks WHERE pipeline = $1 AND task = $2",
				 SPI_OK_DELETE, sql_text(pipeline), sql_text(task));
	pipeline_record_change("drop_task", "task", psprintf("%s/%s", pipeline, task),
						   before, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}
