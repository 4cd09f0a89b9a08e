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
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "runner/runner.h"

static const Claim *current = NULL;
static TaskContext context;

/* The name in the definition, which its mapped runs share. */
static const char *
context_task(const Claim *claim)
{
	return claim->mapped_task ? claim->mapped_task : claim->task;
}

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
	context.task = context_task(claim);
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

/* Raise 55000 outside a task. */
void
runner_require_task(const char *function)
{
	(void) require_claim(function);
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
	PG_RETURN_TEXT_P(cstring_to_text(context_task(require_claim("task_name"))));
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
task_value(FunctionCallInfo fcinfo, const char *function, const char *map_key,
		   int column, bool *isnull)
{
	const Claim *claim = require_claim(function);
	char	   *task;
	UserScope	scope;
	Datum		value;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;

	pipeline_not_null(fcinfo, 0, "task");
	task = pipeline_arg_text(fcinfo, 0);
	if (map_key)
		task = psprintf("%s[%s]", task, map_key);
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

	PG_RETURN_DATUM(task_value(fcinfo, "task_state", NULL, 1, &isnull));
}

/* SQL: task_result(task, map_key) */
Datum
pipeline_task_result(PG_FUNCTION_ARGS)
{
	bool		isnull;
	Datum		result;

	result = task_value(fcinfo, "task_result", pipeline_arg_text(fcinfo, 1), 2, &isnull);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

PG_FUNCTION_INFO_V1(pipeline_item);

/* SQL: item(name) */
Datum
pipeline_item(PG_FUNCTION_ARGS)
{
	const Claim *claim = require_claim("item");
	char	   *name;
	char	   *value;
	JsonbValue	buf;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	if (claim->item == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("task \"%s\" is not mapped", claim->task),
				 errhint("item() is for the command of a task with foreach.")));
	if (getKeyJsonValueFromContainer((JsonbContainer *) &claim->item->root,
									 name, strlen(name), &buf) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("foreach of task \"%s\" returns no column \"%s\"", claim->mapped_task, name)));
	value = pipeline_jsonb_key(claim->item, name);
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(value));
}

PG_FUNCTION_INFO_V1(pipeline_mapped_results);

/* SQL: mapped_results(task) */
Datum
pipeline_mapped_results(PG_FUNCTION_ARGS)
{
	const Claim *claim = require_claim("mapped_results");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		isnull;
	UserScope	scope;
	uint64		n;
	char	   *task;

	/* The task must be one of this run. */
	(void) task_value(fcinfo, "mapped_results", NULL, 1, &isnull);
	task = pipeline_arg_text(fcinfo, 0);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	pipeline_extension_begin(&scope);
	n = pipeline_sql_read("SELECT t.map_key, t.state, a.result FROM pipeline.task_runs t"
						  " LEFT JOIN pipeline.attempts a ON a.run_id = t.run_id AND a.task = t.task"
						  "   AND a.attempt = t.attempts AND t.state IN ('succeeded', 'failed')"
						  " WHERE t.run_id = $1 AND t.mapped_task = $2 AND t.item IS NOT NULL ORDER BY t.map_key",
						  sql_int8(claim->run_id), sql_text(task));
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[3];
		bool		nulls[3];

		for (int c = 0; c < 3; c++)
			values[c] = pipeline_sql_datum(i, c + 1, &nulls[c]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	return (Datum) 0;
}
