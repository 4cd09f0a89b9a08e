/*
 * transition.c
 *	  The state machine of runs and tasks, as SQL on our tables.
 *
 * Every transition of a run's tasks, but the claim, is made under a lock on
 * the run's row, taken first; so two predecessors that end together ready
 * their successor exactly once, and the counters need no other care.  A claim
 * locks one ready task with SKIP LOCKED and waits for nobody.  An attempt can
 * end once: the row's state must still be "running".
 *
 * All functions run inside the caller's transaction and SPI connection, act as
 * the owner of the extension and assume READ COMMITTED.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "alert/alert.h"
#include "runner/runner.h"

/* ---- claims ---------------------------------------------------------------- */

/* A jsonb column of the first row, copied; a short header is unpacked too. */
static Jsonb *
copy_jsonb(int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

/*
 * Take the most urgent ready task of a role, if there is one, and open an
 * attempt at it.  The claim is allocated in `context`; NULL when there is
 * nothing to do.  The caller publishes claim->attempt_id in its slot before it
 * commits.
 */
Claim *
runner_claim_task(Oid role, MemoryContext context)
{
	UserScope	scope;
	Claim	   *claim = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("WITH next AS (SELECT t.run_id, t.task, p.timezone"
					 "   FROM pipeline.task_runs t JOIN pipeline.pipelines p USING (pipeline)"
					 "   WHERE t.state = 'ready' AND t.owner = $1 AND NOT p.paused"
					 "   ORDER BY t.priority DESC, t.ready_at, t.run_id"
					 "   LIMIT 1 FOR UPDATE OF t SKIP LOCKED),"
					 " taken AS (UPDATE pipeline.task_runs t"
					 "   SET state = 'running', attempts = t.attempts + 1, next_attempt_at = NULL,"
					 "       started_at = clock_timestamp(), finished_at = NULL"
					 "   FROM next WHERE t.run_id = next.run_id AND t.task = next.task"
					 "   RETURNING t.*, next.timezone),"
					 " opened AS (INSERT INTO pipeline.attempts"
					 "   (run_id, task, attempt, owner, pid, timeout, command, params)"
					 "   SELECT t.run_id, t.task, t.attempts, t.owner, $2, t.timeout, t.command, r.params"
					 "   FROM taken t JOIN pipeline.runs r USING (run_id)"
					 "   RETURNING attempt_id, params)"
					 " SELECT o.attempt_id, t.run_id, t.attempts, t.pipeline, t.task, t.command,"
					 "        t.mode = 'atomic', t.timezone, o.params, t.labels, t.timeout,"
					 "        r.interval_start, r.interval_end, t.condition, t.wait_for"
					 " FROM taken t, opened o, pipeline.runs r WHERE r.run_id = t.run_id",
					 SPI_OK_SELECT, sql_role(role), sql_int4(MyProcPid)) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Datum		timeout;

		claim = palloc0_object(Claim);
		claim->attempt_id = pipeline_sql_int8(0, 1);
		claim->run_id = pipeline_sql_int8(0, 2);
		claim->attempt = (int) pipeline_sql_int8(0, 3);
		claim->owner = role;
		claim->pipeline = pipeline_sql_text(0, 4);
		claim->task = pipeline_sql_text(0, 5);
		claim->command = pipeline_sql_text(0, 6);
		claim->atomic = pipeline_sql_bool(0, 7);
		claim->timezone = pipeline_sql_text(0, 8);
		claim->params = copy_jsonb(9);
		claim->labels = copy_jsonb(10);
		timeout = pipeline_sql_datum(0, 11, &isnull);
		if (!isnull)
			claim->timeout = DatumGetIntervalP(datumCopy(timeout, false, sizeof(Interval)));
		claim->interval_start = DatumGetTimestampTz(pipeline_sql_datum(0, 12, &isnull));
		claim->interval_end = DatumGetTimestampTz(pipeline_sql_datum(0, 13, &isnull));
		claim->condition = pipeline_sql_text(0, 14);
		claim->wait_for = pipeline_sql_text(0, 15);
		MemoryContextSwitchTo(old);
	}
	pipeline_scope_end(&scope);
	return claim;
}

/* Count a role's ready tasks, up to the number of slots. */
int
runner_count_ready(Oid role)
{
	UserScope	scope;
	int			n;

	pipeline_extension_begin(&scope);
	n = (int) pipeline_sql("SELECT 1 FROM pipeline.task_runs t JOIN pipeline.pipelines p USING (pipeline)"
						   " WHERE t.state = 'ready' AND t.owner = $1 AND NOT p.paused LIMIT $2",
						   SPI_OK_SELECT, sql_role(role),
						   sql_int8(pipeline_max_workers));
	pipeline_scope_end(&scope);
	return n;
}

/* ---- alerts ------------------------------------------------------------------ */

static void
alert_task(Oid owner, const char *pipeline, int64 run_id, const char *task,
		   int attempt, const Jsonb *labels, const char *error)
{
	char	   *source = psprintf("%s/%s", pipeline, task);
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "TaskFailed",
		.severity = "error",
		.source = source,
		.summary = psprintf("task \"%s\" of pipeline \"%s\" failed: %s",
							task, pipeline, error),
	};

	spec.labels = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
													 JsonbPGetDatum(labels),
													 JsonbPGetDatum(pipeline_jsonb_object(2, (const char *[]) {"pipeline", "task"},
																						  (const char *[]) {pipeline, task}))));
	spec.detail = pipeline_jsonb_object(3,
										(const char *[]) {"run_id", "attempt", "error"},
										(const char *[]) {psprintf(INT64_FORMAT, run_id),
										psprintf("%d", attempt), error});
	pipeline_raise_alert(&spec);
}

static void
alert_run(Oid owner, const char *pipeline, int64 run_id, const char *tasks)
{
	AlertSpec	spec = {
		.owner = owner,
		.alertname = "RunFailed",
		.severity = "error",
		.source = pipeline,
		.summary = psprintf("run " INT64_FORMAT " of pipeline \"%s\" failed: %s",
							run_id, pipeline, tasks),
	};

	spec.labels = pipeline_jsonb_object(1, (const char *[]) {"pipeline"},
										(const char *[]) {pipeline});
	spec.detail = pipeline_jsonb_object(2, (const char *[]) {"run_id", "tasks"},
										(const char *[]) {psprintf(INT64_FORMAT, run_id), tasks});
	pipeline_raise_alert(&spec);
}

/*
 * Resolve what a task, or with NULL a pipeline and all its tasks, has left
 * open; it is being dropped and will never succeed again.
 */
void
runner_resolve_dropped(const char *pipeline, const char *task)
{
	UserScope	scope;
	uint64		n;
	List	   *names = NIL;
	List	   *owners = NIL;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT DISTINCT owner::oid, task FROM pipeline.task_runs"
					 " WHERE pipeline = $1 AND ($2 IS NULL OR task = $2)"
					 " AND state IN ('failed', 'upstream_failed', 'cancelled')",
					 SPI_OK_SELECT, sql_text(pipeline), sql_text(task));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		owners = lappend_oid(owners, DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull)));
		names = lappend(names, pipeline_sql_text(i, 2));
	}
	for (uint64 i = 0; i < n; i++)
	{
		pipeline_resolve_alerts(list_nth_oid(owners, i), "TaskFailed",
								psprintf("%s/%s", pipeline, (char *) list_nth(names, i)));
		if (task == NULL)
			pipeline_resolve_alerts(list_nth_oid(owners, i), "RunFailed", pipeline);
	}
	pipeline_scope_end(&scope);
}

/* ---- the end of a run --------------------------------------------------------- */

/* End the run if no task is left; the caller holds the lock on its row. */
void
runner_finish_run_if_done(int64 run_id)
{
	char	   *pipeline;
	char	   *failed;
	bool		isnull;
	Oid			owner;

	if (pipeline_sql("SELECT r.pipeline, r.owner::oid,"
					 " (SELECT string_agg(format('%s (%s)', t.task, t.state), ', '"
					 "         ORDER BY t.state, t.task)"
					 "  FROM pipeline.task_runs t WHERE t.run_id = r.run_id"
					 "  AND t.state IN ('failed', 'upstream_failed') AND NOT t.allow_failure),"
					 " r.cancel_requested_at IS NOT NULL OR EXISTS (SELECT FROM pipeline.task_runs c"
					 "   WHERE c.run_id = r.run_id AND c.state = 'cancelled')"
					 " FROM pipeline.runs r WHERE r.run_id = $1"
					 " AND r.state IN ('queued', 'running') AND r.open_tasks = 0",
					 SPI_OK_SELECT, sql_int8(run_id)) == 0)
		return;
	/* The scheduler may let the next run of the pipeline begin. */
	runner_at_commit_wake();
	pipeline = pipeline_sql_text(0, 1);
	owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	failed = pipeline_sql_text(0, 3);
	if (pipeline_sql_bool(0, 4))
	{
		pipeline_sql("UPDATE pipeline.runs SET state = 'cancelled', finished_at = clock_timestamp()"
					 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(run_id));
		return;
	}
	pipeline_sql("UPDATE pipeline.runs SET state = $2, finished_at = clock_timestamp(),"
				 " degraded = $2 = 'succeeded' AND EXISTS (SELECT FROM pipeline.task_runs"
				 "   WHERE run_id = $1 AND state IN ('failed', 'upstream_failed'))"
				 " WHERE run_id = $1", SPI_OK_UPDATE,
				 sql_int8(run_id), sql_text(failed ? "failed" : "succeeded"));
	if (failed)
		alert_run(owner, pipeline, run_id, failed);
	else
		pipeline_resolve_alerts(owner, "RunFailed", pipeline);
}

/* ---- the end of an attempt ----------------------------------------------------- */

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

static void
load_task(int64 run_id, const char *task, int64 attempt_id, TaskRow *row)
{
	bool		isnull;

	if (pipeline_sql("SELECT t.pipeline, t.owner::oid, t.attempts, t.failures, t.lost, t.retries,"
					 " t.mode = 'atomic', t.retry_on = 'any', r.cancel_requested_at IS NOT NULL, t.labels"
					 " FROM pipeline.task_runs t JOIN pipeline.runs r USING (run_id)"
					 " WHERE t.run_id = $1 AND t.task = $2 AND t.state = 'running'",
					 SPI_OK_SELECT, sql_int8(run_id), sql_text(task)) != 1)
		attempt_is_over(attempt_id);
	row->pipeline = pipeline_sql_text(0, 1);
	row->owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	row->attempt = (int) pipeline_sql_int8(0, 3);
	row->failures = (int) pipeline_sql_int8(0, 4);
	row->lost = (int) pipeline_sql_int8(0, 5);
	row->retries = (int) pipeline_sql_int8(0, 6);
	row->atomic = pipeline_sql_bool(0, 7);
	row->retry_any = pipeline_sql_bool(0, 8);
	row->cancelling = pipeline_sql_bool(0, 9);
	row->labels = copy_jsonb(10);
}

/* Write the end of the attempt itself.  It can end only once. */
static void
close_attempt(int64 attempt_id, const char *state, const AttemptEnd *end,
			  const char *error)
{
	const CommandResult *result = end->result;
	const ErrorData *edata = end->error;

	if (pipeline_sql("UPDATE pipeline.attempts SET state = $2, finished_at = clock_timestamp(),"
					 " result = $3, rows = $4, wal_bytes = $5, notices = $6, sqlstate = $7, error = $8,"
					 " error_detail = $9, error_hint = $10, error_context = $11, statement = $12"
					 " WHERE attempt_id = $1 AND state = 'running'",
					 SPI_OK_UPDATE, sql_int8(attempt_id), sql_text(state),
					 sql_jsonb(result ? result->result : NULL),
					 sql_datum(INT8OID, Int64GetDatum(result ? (int64) result->rows : 0), result == NULL),
					 sql_datum(INT8OID, Int64GetDatum(result ? (int64) result->wal_bytes : 0), result == NULL),
					 sql_array(result && result->notices ? pipeline_list_array(result->notices) : NULL),
					 sql_text(edata ? unpack_sql_state(edata->sqlerrcode) : NULL),
					 sql_text(error),
					 sql_text(edata ? edata->detail : NULL),
					 sql_text(edata ? edata->hint : NULL),
					 sql_text(edata ? edata->context : NULL),
					 sql_text(edata && result ? result->statement : NULL)) != 1)
		attempt_is_over(attempt_id);
}

/* Write a task's final state. */
static void
close_task(int64 run_id, const char *task, const char *state, const char *error)
{
	pipeline_sql("UPDATE pipeline.task_runs SET state = $3, finished_at = clock_timestamp(), error = $4"
				 " WHERE run_id = $1 AND task = $2", SPI_OK_UPDATE,
				 sql_int8(run_id), sql_text(task), sql_text(state), sql_text(error));
}

/*
 * Tell the waiting successors of tasks that have ended in one way; each
 * decides by its rule.  Adds those that this ends to the two lists.
 */
static void
tell_successors(int64 run_id, List *tasks, bool succeeded, bool failed,
				bool skipped, List **held_back, List **now_skipped)
{
	uint64		n;

	if (tasks == NIL)
		return;
	n = pipeline_sql("UPDATE pipeline.task_runs t"
					 " SET (pending, up_succeeded, up_failed, up_skipped, state, ready_at, finished_at) ="
					 "  (SELECT c.pending, c.succeeded, c.failed, c.skipped, v.state,"
					 "     CASE v.state WHEN 'ready' THEN clock_timestamp() END,"
					 "     CASE WHEN v.state IN ('upstream_failed', 'skipped') THEN clock_timestamp() END"
					 "   FROM (SELECT t.pending - o.n AS pending, t.up_succeeded + $3 * o.n AS succeeded,"
					 "           t.up_failed + $4 * o.n AS failed, t.up_skipped + $5 * o.n AS skipped"
					 "         FROM (SELECT count(*)::int AS n FROM unnest(t.depends_on) d WHERE d = ANY ($2)) o) c,"
					 "     LATERAL (SELECT pipeline._trigger_state(t.trigger_rule, c.pending, c.succeeded, c.failed, c.skipped) AS state) v)"
					 " WHERE t.run_id = $1 AND t.state = 'waiting' AND t.depends_on && $2"
					 " RETURNING t.task, t.state",
					 SPI_OK_UPDATE_RETURNING, sql_int8(run_id),
					 sql_array(pipeline_list_array(tasks)), sql_int4(succeeded),
					 sql_int4(failed), sql_int4(skipped));
	for (uint64 i = 0; i < n; i++)
	{
		char	   *state = pipeline_sql_text(i, 2);

		if (strcmp(state, "upstream_failed") == 0)
			*held_back = lappend(*held_back, pipeline_sql_text(i, 1));
		else if (strcmp(state, "skipped") == 0)
			*now_skipped = lappend(*now_skipped, pipeline_sql_text(i, 1));
	}
}

/*
 * Go on from tasks that were held back or skipped until no more are; returns
 * how many followed.  The caller holds the lock on the run and acts as the
 * owner of the extension.
 */
int64
runner_settle_successors(int64 run_id, List *held_back, List *skipped)
{
	int64		total = 0;

	while (held_back != NIL || skipped != NIL)
	{
		List	   *next_held_back = NIL;
		List	   *next_skipped = NIL;

		tell_successors(run_id, held_back, false, true, false, &next_held_back, &next_skipped);
		tell_successors(run_id, skipped, false, false, true, &next_held_back, &next_skipped);
		total += list_length(next_held_back) + list_length(next_skipped);
		held_back = next_held_back;
		skipped = next_skipped;
	}
	return total;
}

/* End a task for good, and all that follows from it. */
static void
end_task(int64 run_id, const char *task, const char *state, const char *error)
{
	bool		succeeded = strcmp(state, "succeeded") == 0;
	bool		skipped = strcmp(state, "skipped") == 0;
	List	   *held_back = NIL;
	List	   *now_skipped = NIL;
	int64		ended;

	close_task(run_id, task, state, error);
	tell_successors(run_id, list_make1((char *) task), succeeded,
					!succeeded && !skipped, skipped, &held_back, &now_skipped);
	ended = 1 + list_length(held_back) + list_length(now_skipped) +
		runner_settle_successors(run_id, held_back, now_skipped);
	pipeline_sql("UPDATE pipeline.runs SET open_tasks = open_tasks - $2 WHERE run_id = $1",
				 SPI_OK_UPDATE, sql_int8(run_id), sql_int4((int32) ended));
}

/* Have the task run again: at once, or after the wait that its retries ask. */
static void
run_again(int64 run_id, const char *task, bool at_once, bool lost,
		  const char *error)
{
	if (at_once)
		pipeline_sql("UPDATE pipeline.task_runs SET state = 'ready', ready_at = clock_timestamp(),"
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
		case OUTCOME_SKIPPED:
			break;
	}
	return NULL;
}

/* Have a task that failed run again if it may, and else fail for good. */
static void
retry_or_fail(int64 run_id, const char *task, const TaskRow *row,
			  Outcome outcome, const char *error)
{
	bool		lost = outcome == OUTCOME_LOST;
	bool		again = row->failures < row->retries && outcome != OUTCOME_WAITING;

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
	alert_task(row->owner, row->pipeline, run_id, task, row->attempt,
			   row->labels, error);
}

/*
 * End a running attempt and make every transition that follows from it: its
 * task, its successors, its run, its alerts.  Raises 55000 when the attempt
 * was ended by somebody else.  Wakes at commit whom it concerns; readied
 * successors are the caller's to claim or to find workers for.
 */
void
runner_end_attempt(int64 run_id, const char *task, int64 attempt_id,
				   const AttemptEnd *end)
{
	static const char *const states[] = {
		[OUTCOME_SUCCEEDED] = "succeeded",
		[OUTCOME_UNSUCCESSFUL] = "failed",
		[OUTCOME_ERROR] = "failed",
		[OUTCOME_SKIPPED] = "skipped",
		[OUTCOME_WAITING] = "failed",
		[OUTCOME_CANCELLED] = "cancelled",
		[OUTCOME_LOST] = "lost",
	};
	UserScope	scope;
	TaskRow		row;
	const char *error;
	Outcome		outcome = end->outcome;
	bool		skip = false;

	runner_at_commit_tell();
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT 1 FROM pipeline.runs WHERE run_id = $1 FOR NO KEY UPDATE",
				 SPI_OK_SELECT, sql_int8(run_id));
	load_task(run_id, task, attempt_id, &row);
	if (outcome == OUTCOME_WAITING && row.cancelling)
		outcome = OUTCOME_CANCELLED;
	if (outcome == OUTCOME_WAITING && wait_longer(run_id, task, attempt_id, &skip))
	{
		pipeline_scope_end(&scope);
		return;
	}
	if (skip)
		outcome = OUTCOME_SKIPPED;
	error = error_of(outcome, end);
	close_attempt(attempt_id, states[outcome], end, error);

	if (outcome == OUTCOME_SUCCEEDED)
	{
		end_task(run_id, task, "succeeded", NULL);
		pipeline_resolve_alerts(row.owner, "TaskFailed",
								psprintf("%s/%s", row.pipeline, task));
	}
	else if (outcome == OUTCOME_SKIPPED)
		end_task(run_id, task, "skipped", NULL);
	else if (outcome == OUTCOME_CANCELLED || row.cancelling)
		end_task(run_id, task, "cancelled", error);
	else
		retry_or_fail(run_id, task, &row, outcome, error);
	runner_finish_run_if_done(run_id);
	pipeline_scope_end(&scope);
}
