/*
 * tables.h
 *	  The tables that the state machine reads and writes row by row, with the
 *	  columns that it uses; see base/rows.h.
 */
#ifndef PIPELINE_RUNNER_TABLES_H
#define PIPELINE_RUNNER_TABLES_H

#include "base/rows.h"

/* What a task run takes over from its task, under the same names. */
#define TASK_DEFINITION_COLUMNS(X) \
	X(command) X(depends_on) X(mode) X(trigger_rule) X(condition) \
	X(wait_for) X(poke_interval) X(wait_timeout) X(on_wait_timeout) \
	X(retries) X(retry_delay) X(retry_backoff) X(retry_on) X(timeout) \
	X(allow_failure) X(pool) X(pool_slots) X(priority) X(on_deadline) \
	X(foreach) X(max_active_mapped) X(min_success)

#define TASK_COLUMNS(X) \
	TASK_DEFINITION_COLUMNS(X) \
	X(pipeline) X(task) X(owner) X(labels) X(deadline) X(map_key)

#define TASK_RUN_COLUMNS(X) \
	TASK_DEFINITION_COLUMNS(X) \
	X(run_id) X(task) X(pipeline) X(owner) X(state) X(pending) \
	X(up_succeeded) X(up_failed) X(up_skipped) X(attempts) X(failures) \
	X(lost) X(next_attempt_at) X(ready_at) X(rank) X(started_at) \
	X(finished_at) X(error) X(level) X(successors) X(labels) \
	X(deadline_at) X(deadline_due) X(deadline_missed) X(map_column) \
	X(expanded) X(mapped_task) X(map_key) X(item) X(waiting_since)

#define ATTEMPT_COLUMNS(X) \
	X(attempt_id) X(run_id) X(task) X(attempt) X(owner) X(state) X(pid) \
	X(started_at) X(finished_at) X(timeout) X(command) X(params) X(result) \
	X(rows) X(wal_bytes) X(notices) X(sqlstate) X(error) X(error_detail) \
	X(error_hint) X(error_context) X(statement)

#define RUN_COLUMNS(X) \
	X(run_id) X(pipeline) X(owner) X(state) X(params) X(interval_start) \
	X(interval_end) X(cancel_requested_at)

#define PIPELINE_COLUMNS(X) \
	X(pipeline) X(owner) X(timezone) X(paused)

#define POOL_COLUMNS(X) \
	X(pool) X(pool_id) X(slots)

#define TASK_ENUM(c) TASK_##c,
#define TASK_RUN_ENUM(c) TR_##c,
#define ATTEMPT_ENUM(c) AT_##c,
#define RUN_ENUM(c) RUN_##c,
#define PIPELINE_ENUM(c) PIPE_##c,
#define POOL_ENUM(c) POOL_##c,

enum TaskColumn
{
	TASK_COLUMNS(TASK_ENUM) TASK_NCOLUMNS
};
enum TaskRunColumn
{
	TASK_RUN_COLUMNS(TASK_RUN_ENUM) TR_NCOLUMNS
};
enum AttemptColumn
{
	ATTEMPT_COLUMNS(ATTEMPT_ENUM) AT_NCOLUMNS
};
enum RunColumn
{
	RUN_COLUMNS(RUN_ENUM) RUN_NCOLUMNS
};
enum PipelineColumn
{
	PIPELINE_COLUMNS(PIPELINE_ENUM) PIPE_NCOLUMNS
};
enum PoolColumn
{
	POOL_COLUMNS(POOL_ENUM) POOL_NCOLUMNS
};

extern RowTable runner_tasks;
extern RowTable runner_task_runs;
extern RowTable runner_attempts;
extern RowTable runner_runs;
extern RowTable runner_pipelines;
extern RowTable runner_pools;

extern bool runner_find_task_run(int64 run_id, const char *task);
extern bool runner_find_attempt(int64 attempt_id);
extern bool runner_find_run(int64 run_id);
extern bool runner_find_pipeline(const char *pipeline);

#endif							/* PIPELINE_RUNNER_TABLES_H */
