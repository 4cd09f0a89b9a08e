/*
 * transition.c
 *	  The end of an attempt, and what becomes of its task.
 *
 * An attempt can end once: its row must still be "running".  A success locks
 * the run in shared mode, so that workers of one run do not wait for each
 * other's commits, unless it could decide more than its direct successors; any
 * other end locks the run alone.  README.md has the order of the locks.
 *
 * All functions run inside the caller's transaction and SPI connection, act as
 * the owner of the extension and assume READ COMMITTED.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "alert/alert.h"
#include "runner/runner.h"
#include "runner/tables.h"

typedef struct TaskRow
{
	char	   *pipeline;
	Oid			owner;
	int			attempt;
	int			failures;
	int			lost;
	int			retries;
	bool		atomic;
	bool		retry_any;
	bool		cancelling;
	bool		mapped;
	bool		deadline_missed;
	Jsonb	   *labels;
} TaskRow;

/* Somebody else has ended the attempt. */
static void
attempt_is_over(int64 attempt_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("attempt " INT64_FORMAT " is no longer running", attempt_id),
			 errdetail("Its run was removed, or it was taken for lost.")));
}

/* Lock the task's row, which then is the current one. */
static void
lock_task(int64 run_id, const char *task, int64 attempt_id)
{
	if (!runner_find_task_run(run_id, task) ||
		!pipeline_row_lock(&runner_task_runs, false) ||
		!pipeline_row_is(&runner_task_runs, TR_state, "running"))
		attempt_is_over(attempt_id);
}

static void
load_task(int64 run_id, TaskRow *row)
{
	RowTable   *t = &runner_task_runs;
	bool		isnull;

	row->pipeline = pipeline_row_text(t, TR_pipeline);
	row->owner = DatumGetObjectId(pipeline_row_get(t, TR_owner, &isnull));
	row->attempt = pipeline_row_int4(t, TR_attempts);
	row->failures = pipeline_row_int4(t, TR_failures);
	row->lost = pipeline_row_int4(t, TR_lost);
	row->retries = pipeline_row_int4(t, TR_retries);
	row->atomic = pipeline_row_is(t, TR_mode, "atomic");
	row->retry_any = pipeline_row_is(t, TR_retry_on, "any");
	row->mapped = pipeline_row_text(t, TR_mapped_task) != NULL;
	row->deadline_missed = DatumGetBool(pipeline_row_get(t, TR_deadline_missed, &isnull)) &&
		pipeline_row_is(t, TR_on_deadline, "fail");
	row->labels = DatumGetJsonbPCopy(pipeline_row_get(t, TR_labels, &isnull));
	row->cancelling = runner_find_run(run_id);
	if (row->cancelling)
	{
		(void) pipeline_row_get(&runner_runs, RUN_cancel_requested_at, &isnull);
		row->cancelling = !isnull;
	}
}

static void
set_jsonb(RowTable *t, int column, const Jsonb *value)
{
	pipeline_row_set(t, column, JsonbPGetDatum(value), value == NULL);
}

/* Write the end of the attempt itself.  It can end only once. */
static void
close_attempt(int64 attempt_id, const char *state, const AttemptEnd *end,
			  const char *error)
{
	RowTable   *t = &runner_attempts;
	const CommandResult *result = end->result;
	const ErrorData *edata = end->error;

	if (!runner_find_attempt(attempt_id) || !pipeline_row_lock(t, false) ||
		!pipeline_row_is(t, AT_state, "running"))
		attempt_is_over(attempt_id);
	pipeline_row_set_text(t, AT_state, state);
	pipeline_row_set(t, AT_finished_at, TimestampTzGetDatum(GetCurrentTimestamp()), false);
	if (result)
	{
		set_jsonb(t, AT_result, result->result);
		pipeline_row_set(t, AT_rows, Int64GetDatum((int64) result->rows), false);
		pipeline_row_set(t, AT_wal_bytes,
						 DirectFunctionCall1(int8_numeric, Int64GetDatum((int64) result->wal_bytes)), false);
		if (result->notices)
			pipeline_row_set(t, AT_notices, PointerGetDatum(pipeline_list_array(result->notices)), false);
	}
	pipeline_row_set_text(t, AT_error, error);
	if (edata)
	{
		pipeline_row_set_text(t, AT_sqlstate, unpack_sql_state(edata->sqlerrcode));
		pipeline_row_set_text(t, AT_error_detail, edata->detail);
		pipeline_row_set_text(t, AT_error_hint, edata->hint);
		pipeline_row_set_text(t, AT_error_context, edata->context);
		pipeline_row_set_text(t, AT_statement, result ? result->statement : NULL);
	}
	pipeline_row_update(t);
}

/* Have the task run again: at once, or after the wait that its retries ask. */
static void
run_again(int64 run_id, const char *task, bool at_once, bool lost,
		  const char *error)
{
	if (at_once)
		pipeline_sql("UPDATE pipeline.task_runs SET state = 'ready', ready_at = clock_timestamp(),"
					 " rank = pipeline._rank(priority),"
					 " finished_at = clock_timestamp(), lost = lost + 1, error = $3"
					 " WHERE run_id = $1 AND task = $2", SPI_OK_UPDATE,
					 sql_int8(run_id), sql_text(task), sql_text(error));
	else
		pipeline_sql("UPDATE pipeline.task_runs SET state = 'up_for_retry', finished_at = clock_timestamp(),"
					 " failures = failures + 1, lost = lost + $4, error = $3,"
					 " next_attempt_at = clock_timestamp() + LEAST(interval '1 day',"
					 "   retry_delay * LEAST(power(retry_backoff, LEAST(failures, 60)), 1e6))"
					 " WHERE run_id = $1 AND task = $2", SPI_OK_UPDATE,
					 sql_int8(run_id), sql_text(task), sql_text(error),
					 sql_int4(lost ? 1 : 0));
}

/*
 * wait_for is not true yet: forget the attempt and ask again later.  False
 * when it has waited for too long; then *skip tells what that means.
 */
static bool
wait_longer(int64 run_id, const char *task, int64 attempt_id, bool *skip)
{
	if (pipeline_sql("SELECT on_wait_timeout = 'skip' FROM pipeline.task_runs"
					 " WHERE run_id = $1 AND task = $2 AND waiting_since + wait_timeout <= clock_timestamp()",
					 SPI_OK_SELECT, sql_int8(run_id), sql_text(task)) > 0)
	{
		*skip = pipeline_sql_bool(0, 1);
		return false;
	}
	if (pipeline_sql("DELETE FROM pipeline.attempts WHERE attempt_id = $1 AND state = 'running'",
					 SPI_OK_DELETE, sql_int8(attempt_id)) != 1)
		attempt_is_over(attempt_id);
	pipeline_sql("UPDATE pipeline.task_runs SET state = 'waiting', attempts = attempts - 1, ready_at = NULL,"
				 "   waiting_since = coalesce(waiting_since, started_at), started_at = NULL,"
				 "   next_attempt_at = least(clock_timestamp() + poke_interval,"
				 "     coalesce(waiting_since, started_at) + wait_timeout)"
				 " WHERE run_id = $1 AND task = $2", SPI_OK_UPDATE,
				 sql_int8(run_id), sql_text(task));
	/* The scheduler minds the clock. */
	runner_at_commit_wake();
	return true;
}

/* What is recorded as the error of an attempt that ended so. */
static const char *
error_of(Outcome outcome, const AttemptEnd *end)
{
	switch (outcome)
	{
		case OUTCOME_ERROR:
			return end->error->message;
		case OUTCOME_UNSUCCESSFUL:
			return "the command returned a row whose \"success\" is not true";
		case OUTCOME_WAITING:
			return "what the task waits for did not become true within its wait_timeout";
		case OUTCOME_LOST:
			return "the worker was lost: it ended without a word";
		case OUTCOME_CANCELLED:
			return "cancelled";
		case OUTCOME_SUCCEEDED:
		case OUTCOME_MAPPED:
		case OUTCOME_SKIPPED:
			break;
	}
	return NULL;
}

/* Make the task the current row again, after SQL changed it. */
static void
end_task(int64 run_id, const char *task, const char *state, const char *error)
{
	if (!runner_find_task_run(run_id, task))
		elog(ERROR, "task \"%s\" of run " INT64_FORMAT " is gone", task, run_id);
	(void) runner_end_task(run_id, state, error);
}

/* Have a task that failed run again if it may, and else fail for good. */
static void
retry_or_fail(int64 run_id, const char *task, const TaskRow *row,
			  Outcome outcome, const char *error)
{
	bool		lost = outcome == OUTCOME_LOST;
	bool		again = row->failures < row->retries && outcome != OUTCOME_WAITING &&
		!row->deadline_missed;

	if (outcome == OUTCOME_UNSUCCESSFUL)
		again = again && row->retry_any;
	if (lost)
		again = row->lost < pipeline_max_lost_attempts && (row->atomic || again);
	/* The scheduler minds the wait, or finds another worker. */
	runner_at_commit_wake();
	if (again)
	{
		run_again(run_id, task, lost && row->atomic, lost, error);
		return;
	}
	end_task(run_id, task, "failed", error);
	/* Of mapped runs their task tells, once, when it ends. */
	if (!row->mapped)
		runner_alert_task_failed(row->owner, row->pipeline, run_id, task, row->attempt,
								 row->labels, error);
}

/*
 * A task has succeeded.  Returns whether the caller is to look, when it has
 * committed, if the run has nothing left.
 */
static bool
succeed(int64 run_id, const char *task, int64 attempt_id, const AttemptEnd *end)
{
	RowTable   *t = &runner_task_runs;
	bool		alone = false;
	bool		sink;
	bool		all_waited;
	char	   *pipeline;
	bool		isnull;
	Oid			owner;

	runner_run_lock(run_id, false);
	if (!runner_find_task_run(run_id, task))
		attempt_is_over(attempt_id);
	if (runner_success_goes_further(run_id, task, &sink))
	{
		runner_run_lock_alone(run_id);
		alone = true;
	}
	lock_task(run_id, task, attempt_id);
	pipeline = pipeline_row_text(t, TR_pipeline);
	owner = DatumGetObjectId(pipeline_row_get(t, TR_owner, &isnull));
	close_attempt(attempt_id, "succeeded", end, NULL);
	all_waited = runner_end_task(run_id, "succeeded", NULL);
	runner_resolve_task(owner, pipeline, task);
	if (!alone)
		return sink || !all_waited;
	runner_finish_run_if_done(run_id);
	return false;
}

/* An attempt has ended in any other way. */
static void
end_otherwise(int64 run_id, const char *task, int64 attempt_id,
			  const AttemptEnd *end)
{
	static const char *const states[] = {
		[OUTCOME_SUCCEEDED] = "succeeded",
		[OUTCOME_MAPPED] = "succeeded",
		[OUTCOME_UNSUCCESSFUL] = "failed",
		[OUTCOME_ERROR] = "failed",
		[OUTCOME_SKIPPED] = "skipped",
		[OUTCOME_WAITING] = "failed",
		[OUTCOME_CANCELLED] = "cancelled",
		[OUTCOME_LOST] = "lost",
	};
	TaskRow		row;
	const char *error;
	Outcome		outcome = end->outcome;
	bool		skip = false;

	runner_run_lock(run_id, true);
	lock_task(run_id, task, attempt_id);
	load_task(run_id, &row);
	if ((outcome == OUTCOME_WAITING || outcome == OUTCOME_MAPPED) && row.cancelling)
		outcome = OUTCOME_CANCELLED;
	if (outcome == OUTCOME_WAITING && wait_longer(run_id, task, attempt_id, &skip))
		return;
	if (skip)
		outcome = OUTCOME_SKIPPED;
	error = error_of(outcome, end);
	close_attempt(attempt_id, states[outcome], end, error);

	if (outcome == OUTCOME_MAPPED)
		runner_expand_task(run_id, task, end->result);
	else if (outcome == OUTCOME_SKIPPED)
		end_task(run_id, task, "skipped", NULL);
	else if (outcome == OUTCOME_CANCELLED || row.cancelling)
		end_task(run_id, task, "cancelled", error);
	else
		retry_or_fail(run_id, task, &row, outcome, error);
	runner_finish_run_if_done(run_id);
}

/*
 * End a running attempt and make every transition that follows from it: its
 * task, its successors, its run, its alerts.  Raises 55000 when the attempt
 * was ended by somebody else.  Wakes at commit whom it concerns; readied
 * successors are the caller's to claim or to find workers for.  Returns true
 * when the run may have nothing left but could not be ended: the caller calls
 * runner_finish_run() once it has committed.  The tables are open.
 */
bool
runner_end_attempt(int64 run_id, const char *task, int64 attempt_id,
				   const AttemptEnd *end)
{
	UserScope	scope;
	bool		look_again = false;

	runner_at_commit_tell();
	pipeline_extension_begin(&scope);
	if (end->outcome == OUTCOME_SUCCEEDED)
		look_again = succeed(run_id, task, attempt_id, end);
	else
		end_otherwise(run_id, task, attempt_id, end);
	pipeline_scope_end(&scope);
	return look_again;
}

/*
 * End a run that has nothing left, in the current transaction; nothing when it
 * has, or when `wait` is false and somebody holds it (then false).
 */
bool
runner_finish_run(int64 run_id, bool wait)
{
	UserScope	scope;

	if (wait)
		runner_run_lock(run_id, true);
	else if (!runner_run_try_lock(run_id))
		return false;
	pipeline_extension_begin(&scope);
	runner_open_tables();
	runner_finish_run_if_done(run_id);
	runner_close_tables();
	pipeline_scope_end(&scope);
	return true;
}
