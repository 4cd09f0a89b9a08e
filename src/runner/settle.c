/*
 * settle.c
 *	  What follows when a task has ended: its successors, the mapped task that
 *	  it is a run of, and the end of the run.
 *
 * A success under the shared lock on the run changes only its direct
 * successors, which it locks in the order of (level, task); so two such ends
 * cannot wait for each other in a circle.  Whatever may go further, because
 * something is held back or skipped, is done with the run locked alone; then
 * order does not matter.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "runner/runner.h"
#include "runner/tables.h"

/* A task that has ended, for those that depend on it. */
typedef struct Ended
{
	List	   *successors;
	char	   *mapped_task;
	char	   *state;
} Ended;

/* Open the tables of the state machine; until runner_close_tables(). */
void
runner_open_tables(void)
{
	pipeline_rows_open(&runner_task_runs);
	pipeline_rows_open(&runner_attempts);
	pipeline_rows_open(&runner_runs);
	pipeline_rows_open(&runner_pipelines);
	pipeline_rows_open(&runner_pools);
}

/* Close them. */
void
runner_close_tables(void)
{
	pipeline_rows_close(&runner_pools);
	pipeline_rows_close(&runner_pipelines);
	pipeline_rows_close(&runner_runs);
	pipeline_rows_close(&runner_attempts);
	pipeline_rows_close(&runner_task_runs);
}

/* The successors of the current task, in the order of their locks. */
static List *
successors(void)
{
	bool		isnull;
	Datum		value = pipeline_row_get(&runner_task_runs, TR_successors, &isnull);

	return isnull ? NIL : pipeline_array_list(DatumGetArrayTypeP(value), "successors");
}

/*
 * Set the current task ready, from now.  The workers of our role cannot run that
 * of another one, which the pipeline has got meanwhile: the scheduler finds one.
 */
static void
set_ready(void)
{
	bool		isnull;
	TimestampTz now = GetCurrentTimestamp();
	int			priority = pipeline_row_int4(&runner_task_runs, TR_priority);

	pipeline_row_set_text(&runner_task_runs, TR_state, "ready");
	pipeline_row_set(&runner_task_runs, TR_ready_at, TimestampTzGetDatum(now), false);
	pipeline_row_set(&runner_task_runs, TR_rank,
					 TimestampTzGetDatum(runner_rank(now, priority)), false);
	if (DatumGetObjectId(pipeline_row_get(&runner_task_runs, TR_owner, &isnull)) != GetSessionUserId())
		runner_at_commit_wake();
}

/* Write the final state of the current, locked task. */
static void
close_current(const char *state, const char *error)
{
	RowTable   *t = &runner_task_runs;

	pipeline_row_set_text(t, TR_state, state);
	pipeline_row_set(t, TR_finished_at, TimestampTzGetDatum(GetCurrentTimestamp()), false);
	pipeline_row_set_text(t, TR_error, error);
	pipeline_row_set(t, TR_next_attempt_at, (Datum) 0, true);
	pipeline_row_set(t, TR_deadline_due, (Datum) 0, true);
	pipeline_row_update(t);
}

/* Count one predecessor's end in the current, locked, waiting task. */
static void
count_end(const char *how, List **more)
{
	RowTable   *t = &runner_task_runs;
	int			pending = pipeline_row_int4(t, TR_pending) - 1;
	int			succeeded = pipeline_row_int4(t, TR_up_succeeded);
	int			failed = pipeline_row_int4(t, TR_up_failed);
	int			skipped = pipeline_row_int4(t, TR_up_skipped);
	const char *state;

	if (strcmp(how, "succeeded") == 0)
		succeeded++;
	else if (strcmp(how, "skipped") == 0)
		skipped++;
	else
		failed++;
	state = runner_trigger_state(pipeline_row_text(t, TR_trigger_rule), pending,
								 succeeded, failed, skipped);
	pipeline_row_set(t, TR_pending, Int32GetDatum(pending), false);
	pipeline_row_set(t, TR_up_succeeded, Int32GetDatum(succeeded), false);
	pipeline_row_set(t, TR_up_failed, Int32GetDatum(failed), false);
	pipeline_row_set(t, TR_up_skipped, Int32GetDatum(skipped), false);
	if (strcmp(state, "waiting") == 0)
		pipeline_row_update(t);
	else if (strcmp(state, "ready") == 0)
	{
		set_ready();
		pipeline_row_update(t);
	}
	else
	{
		Ended	   *e = palloc0_object(Ended);

		e->state = pstrdup(state);
		e->successors = successors();
		*more = lappend(*more, e);
		close_current(state, NULL);
	}
}

/* Find a waiting task of the run and lock it; false when it does not wait. */
static bool
lock_waiting(int64 run_id, const char *task)
{
	RowTable   *t = &runner_task_runs;

	return runner_find_task_run(run_id, task) &&
		pipeline_row_is(t, TR_state, "waiting") &&
		pipeline_row_lock(t, false) && pipeline_row_is(t, TR_state, "waiting");
}

/* Tell those that depend on an ended task; false when one did not wait. */
static bool
tell(int64 run_id, const Ended *e, List **more)
{
	ListCell   *lc;
	bool		all_waited = true;

	foreach(lc, e->successors)
	{
		if (lock_waiting(run_id, lfirst(lc)))
			count_end(e->state, more);
		else
			all_waited = false;
	}
	if (e->mapped_task && runner_mapped_run_ended(run_id, e->mapped_task) == 0)
		all_waited = false;
	return all_waited;
}

/*
 * Would a success of the current task, whose run is locked in shared mode,
 * change more than the tasks that directly depend on it, or end its mapped task
 * or the run?  *sink is set when nothing waits for it.
 */
bool
runner_success_goes_further(int64 run_id, const char *task, bool *sink)
{
	RowTable   *t = &runner_task_runs;
	List	   *names = successors();
	char	   *mapped_task = pipeline_row_text(t, TR_mapped_task);
	ListCell   *lc;
	bool		further = false;
	RowScan		scan;
	Datum		key[] = {Int64GetDatum(run_id)};

	*sink = names == NIL && mapped_task == NULL;
	if (mapped_task)
		return runner_find_task_run(run_id, mapped_task) &&
			pipeline_row_int4(t, TR_pending) <= 1;
	foreach(lc, names)
	{
		if (!runner_find_task_run(run_id, lfirst(lc)) ||
			!pipeline_row_is(t, TR_state, "waiting"))
			continue;
		if (!runner_trigger_is_simple(pipeline_row_text(t, TR_trigger_rule),
									  pipeline_row_int4(t, TR_up_failed),
									  pipeline_row_int4(t, TR_up_skipped)))
			further = true;
	}
	if (!*sink)
		return further;
	/* Is it the last one? */
	further = true;
	pipeline_rows_begin(t, &scan, "task_runs_pkey", 1, key);
	while (further && pipeline_rows_next(t, &scan))
		further = !runner_task_is_open() || pipeline_row_is(t, TR_task, task);
	pipeline_rows_end(t, &scan);
	return further;
}

/* Has the current task not ended? */
bool
runner_task_is_open(void)
{
	RowTable   *t = &runner_task_runs;

	return !(pipeline_row_is(t, TR_state, "succeeded") || pipeline_row_is(t, TR_state, "failed") ||
			 pipeline_row_is(t, TR_state, "skipped") || pipeline_row_is(t, TR_state, "upstream_failed") ||
			 pipeline_row_is(t, TR_state, "cancelled"));
}

/*
 * Make a task of the run the current row, locked, if it has not ended and does
 * not run: as a mapped task it may, for then it ends with its runs.
 */
bool
runner_lock_open_task(int64 run_id, const char *task)
{
	return runner_find_task_run(run_id, task) &&
		pipeline_row_lock(&runner_task_runs, false) && runner_task_is_open() &&
		!pipeline_row_is(&runner_task_runs, TR_state, "running");
}

/*
 * End the current, locked task for good, and all that follows from it but the
 * end of the run.  Returns false when a task that depends on it did not wait
 * for it, so that the run may have nothing left.
 */
bool
runner_end_task(int64 run_id, const char *state, const char *error)
{
	Ended		first = {.state = pstrdup(state)};
	List	   *queue = list_make1(&first);
	bool		all_waited = true;

	first.successors = successors();
	first.mapped_task = pipeline_row_text(&runner_task_runs, TR_mapped_task);
	close_current(state, error);
	while (queue != NIL)
	{
		Ended	   *e = linitial(queue);

		queue = list_delete_first(queue);
		all_waited = tell(run_id, e, &queue) && all_waited;
	}
	return all_waited;
}

/*
 * Go on from tasks that a repair held back or skipped, until no more are.  The
 * caller holds the run alone and acts as the owner of the extension.
 */
void
runner_settle_successors(int64 run_id, List *held_back, List *skipped)
{
	List	   *queue = NIL;
	ListCell   *lc;

	runner_open_tables();
	foreach(lc, list_concat_copy(held_back, skipped))
	{
		Ended	   *e = palloc0_object(Ended);

		if (!runner_find_task_run(run_id, lfirst(lc)))
			continue;
		e->state = pipeline_row_text(&runner_task_runs, TR_state);
		e->successors = successors();
		queue = lappend(queue, e);
	}
	while (queue != NIL)
	{
		Ended	   *e = linitial(queue);

		queue = list_delete_first(queue);
		(void) tell(run_id, e, &queue);
	}
	runner_close_tables();
}

/* ---- the end of a run ------------------------------------------------------ */

/*
 * End what only those can end who hold the run alone: mapped tasks whose runs
 * have all ended, and the run if no task is left.  The caller holds it so.
 */
void
runner_finish_run_if_done(int64 run_id)
{
	char	   *pipeline;
	char	   *failed;
	bool		isnull;
	Oid			owner;

	runner_end_mapped_tasks(run_id);
	if (pipeline_sql("SELECT r.pipeline, r.owner::oid,"
					 " (SELECT string_agg(format('%s (%s)', t.task, t.state), ', '"
					 "         ORDER BY t.state, t.task)"
					 "  FROM pipeline.task_runs t WHERE t.run_id = r.run_id AND t.mapped_task IS NULL"
					 "  AND t.state IN ('failed', 'upstream_failed') AND NOT t.allow_failure),"
					 " r.cancel_requested_at IS NOT NULL OR EXISTS (SELECT FROM pipeline.task_runs c"
					 "   WHERE c.run_id = r.run_id AND c.state = 'cancelled')"
					 " FROM pipeline.runs r WHERE r.run_id = $1"
					 " AND r.state IN ('queued', 'running') AND NOT EXISTS (SELECT FROM pipeline.task_runs t"
					 "   WHERE t.run_id = r.run_id AND t.state IN ('waiting', 'ready', 'running', 'up_for_retry'))",
					 SPI_OK_SELECT, sql_int8(run_id)) == 0)
		return;
	/* The scheduler may let the next run of the pipeline begin. */
	runner_at_commit_run_ended();
	pipeline = pipeline_sql_text(0, 1);
	owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	failed = pipeline_sql_text(0, 3);
	if (pipeline_sql_bool(0, 4))
	{
		pipeline_sql("UPDATE pipeline.runs SET state = 'cancelled', finished_at = clock_timestamp(), deadline_due = NULL"
					 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(run_id));
		return;
	}
	pipeline_sql("UPDATE pipeline.runs SET state = $2, finished_at = clock_timestamp(), deadline_due = NULL,"
				 " degraded = $2 = 'succeeded' AND EXISTS (SELECT FROM pipeline.task_runs"
				 "   WHERE run_id = $1 AND mapped_task IS NULL AND state IN ('failed', 'upstream_failed'))"
				 " WHERE run_id = $1", SPI_OK_UPDATE,
				 sql_int8(run_id), sql_text(failed ? "failed" : "succeeded"));
	if (failed)
		runner_alert_run_failed(owner, pipeline, run_id, failed);
	else
		runner_resolve_run(owner, pipeline);
}
