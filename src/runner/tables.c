/*
 * tables.c
 *	  The tables of the state machine; see tables.h.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "runner/tables.h"

#define COLUMN_NAME(c) #c,
#define ROW_TABLE(variable, table, COLUMNS) \
	static const char *const variable##_names[] = {COLUMNS(COLUMN_NAME)}; \
	RowTable	variable = { \
		.name = table, \
		.columns = variable##_names, \
		.ncolumns = lengthof(variable##_names) \
	}

ROW_TABLE(runner_tasks, "tasks", TASK_COLUMNS);
ROW_TABLE(runner_task_runs, "task_runs", TASK_RUN_COLUMNS);
ROW_TABLE(runner_attempts, "attempts", ATTEMPT_COLUMNS);
ROW_TABLE(runner_runs, "runs", RUN_COLUMNS);
ROW_TABLE(runner_pipelines, "pipelines", PIPELINE_COLUMNS);
ROW_TABLE(runner_pools, "pools", POOL_COLUMNS);

/* Make a task of a run the current row; false when there is none. */
bool
runner_find_task_run(int64 run_id, const char *task)
{
	Datum		key[] = {Int64GetDatum(run_id), CStringGetTextDatum(task)};

	return pipeline_row_find(&runner_task_runs, "task_runs_pkey", 2, key);
}

/* The same for an attempt. */
bool
runner_find_attempt(int64 attempt_id)
{
	Datum		key[] = {Int64GetDatum(attempt_id)};

	return pipeline_row_find(&runner_attempts, "attempts_pkey", 1, key);
}

/* The same for a run. */
bool
runner_find_run(int64 run_id)
{
	Datum		key[] = {Int64GetDatum(run_id)};

	return pipeline_row_find(&runner_runs, "runs_pkey", 1, key);
}

/* The same for a pipeline. */
bool
runner_find_pipeline(const char *pipeline)
{
	Datum		key[] = {CStringGetTextDatum(pipeline)};

	return pipeline_row_find(&runner_pipelines, "pipelines_pkey", 1, key);
}
