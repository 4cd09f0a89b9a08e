/*
 * task_functions.c
 *	  What a task can ask of its run: run_id(), param(), interval_start(), ...
 *	  and what became of the tasks before it.
 *
 * The context is C state of the worker, which user SQL cannot forge.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

static const Claim *current = NULL;
static TaskContext context;

/* Set the task that this session runs; NULL when it is over. */
void
runner_set_claim(const Claim *claim)
{
	current = claim;
	pipeline_set_task_context(NULL);
	if (claim == NULL)
		return;
	context.run_id = claim->run_id;
	context.attempt = claim->attempt;
	context.pipeline = claim->pipeline;
	context.task = claim->task;
	context.labels = claim->labels;
	pipeline_set_task_context(&context);
}

static const Claim *
require_claim(const char *function)
{
	if (current == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s() can only be called inside a task", function),
				 errhint("It tells a running task about its run; put the call into a task's command.")));
	return current;
}

PG_FUNCTION_INFO_V1(pipeline_run_id);
PG_FUNCTION_INFO_V1(pipeline_task_name);
PG_FUNCTION_INFO_V1(pipeline_attempt);
PG_FUNCTION_INFO_V1(pipeline_interval_start);
PG_FUNCTION_INFO_V1(pipeline_interval_end);
PG_FUNCTION_INFO_V1(pipeline_param);

/* SQL: run_id() */
Datum
pipeline_run_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(require_claim("run_id")->run_id);
}

/* SQL: task_name() */
Datum
pipeline_task_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(require_claim("task_name")->task));
}

/* SQL: attempt() */
Datum
pipeline_attempt(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(require_claim("attempt")->attempt);
}

/* SQL: interval_start() */
Datum
pipeline_interval_start(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(require_claim("interval_start")->interval_start);
}

/* SQL: interval_end() */
Datum
pipeline_interval_end(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(require_claim("interval_end")->interval_end);
}

/* SQL: param(name, default_value) */
Datum
pipeline_param(PG_FUNCTION_ARGS)
{
	const Claim *claim = require_claim("param");
	char	   *name;
	char	   *value;
	JsonbValue	buf;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	if (getKeyJsonValueFromContainer((JsonbContainer *) &claim->params->root,
									 name, strlen(name), &buf) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pipeline \"%s\" declares no parameter \"%s\"", claim->pipeline, name),
				 errhint("Declare it with its default in create_pipeline(params => ...).")));
	value = pipeline_jsonb_key(claim->params, name);
	if (value)
		PG_RETURN_TEXT_P(cstring_to_text(value));
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(1));
}

/* A column of a task of this run; raises 22023 when the run has no such task. */
static Datum
task_value(FunctionCallInfo fcinfo, const char *function, int column, bool *isnull)
{
	const Claim *claim = require_claim(function);
	char	   *task;
	UserScope	scope;
	Datum		value;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;

	pipeline_not_null(fcinfo, 0, "task");
	task = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql_read("SELECT t.state, a.result FROM pipeline.task_runs t"
						  " LEFT JOIN pipeline.attempts a ON a.run_id = t.run_id AND a.task = t.task"
						  "   AND a.attempt = t.attempts AND t.state IN ('succeeded', 'failed')"
						  " WHERE t.run_id = $1 AND t.task = $2",
						  sql_int8(claim->run_id), sql_text(task)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pipeline \"%s\" has no task \"%s\" in this run", claim->pipeline, task),
				 errhint("Name a task of the same pipeline; one that depends_on names has ended.")));
	value = pipeline_sql_datum(0, column, isnull);
	old = MemoryContextSwitchTo(context);
	if (!*isnull)
		value = column == 1 ? PointerGetDatum(DatumGetTextPCopy(value)) :
			JsonbPGetDatum(DatumGetJsonbPCopy(value));
	MemoryContextSwitchTo(old);
	pipeline_scope_end(&scope);
	SPI_finish();
	return value;
}

PG_FUNCTION_INFO_V1(pipeline_task_state);
PG_FUNCTION_INFO_V1(pipeline_task_result);

/* SQL: task_state(task) */
Datum
pipeline_task_state(PG_FUNCTION_ARGS)
{
	bool		isnull;

	PG_RETURN_DATUM(task_value(fcinfo, "task_state", 1, &isnull));
}

/* SQL: task_result(task, map_key) */
Datum
pipeline_task_result(PG_FUNCTION_ARGS)
{
	bool		isnull;
	Datum		result;

	if (!PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("argument \"map_key\" is not supported yet"),
				 errhint("Leave it at its default, null.")));
	result = task_value(fcinfo, "task_result", 2, &isnull);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
