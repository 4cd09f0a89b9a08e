/*
 * wait.c
 *	  Wait for a run: wait_for_run() and the procedure execute().
 *
 * Waiting is on a condition variable in shared memory that every committed
 * transition broadcasts.  execute() holds no snapshot meanwhile; a query that
 * calls wait_for_run() does, so that VACUUM and CREATE INDEX CONCURRENTLY in
 * the run may have to wait for it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "runner/runner.h"

/* How long a missed broadcast can delay an answer. */
#define WAIT_SLICE_MS 1000

static uint32
wait_event(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = WaitEventExtensionNew("PipelineWaitForRun");
	return event;
}

/* The time at which a wait of that length ends; NULL: never. */
static TimestampTz
wait_until(const Interval *timeout)
{
	if (timeout == NULL)
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   IntervalPGetDatum(timeout)));
}

/* Sleep until something changes; false when the time is over. */
static bool
wait_for_change(ConditionVariable *change, TimestampTz until)
{
	long		ms = WAIT_SLICE_MS;
	TimestampTz now = GetCurrentTimestamp();

	if (now >= until)
		return false;
	if (until != DT_NOEND)
		ms = Min(ms, Max(1, TimestampDifferenceMilliseconds(now, until)));
	(void) ConditionVariableTimedSleep(change, ms, wait_event());
	return true;
}

/*
 * Read a run's state; raises 42704, and 42501 for those who may not see it.
 * Inside an SPI connection that ends before the next wait: results live until
 * then, and a wait can be long and see every change in the server.
 */
static char *
read_state(int64 run_id)
{
	UserScope	scope;
	bool		isnull;
	char	   *state;
	char	   *pipeline;
	Oid			owner;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT state, owner::oid, pipeline FROM pipeline.runs WHERE run_id = $1",
					 SPI_OK_SELECT, sql_int8(run_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id),
				 errhint("View pipeline.run_status lists those that you may see.")));
	state = pipeline_sql_text(0, 1);
	owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	pipeline = pipeline_sql_text(0, 3);
	pipeline_scope_end(&scope);
	runner_check_run(owner, pipeline, run_id, false);
	return state;
}

static bool
has_ended(const char *state)
{
	return strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

/*
 * Was the run created or changed by this very transaction?  Then nobody can act
 * on that before the transaction commits, and the wait would never end.
 */
static void
check_committed(int64 run_id)
{
	UserScope	scope;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT xmin, state FROM pipeline.runs WHERE run_id = $1 AND state IN ('queued', 'running')",
					 SPI_OK_SELECT, sql_int8(run_id)) > 0 &&
		TransactionIdIsCurrentTransactionId(DatumGetTransactionId(pipeline_sql_datum(0, 1, &isnull))))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 strcmp(pipeline_sql_text(0, 2), "queued") == 0 ?
				 errmsg("run " INT64_FORMAT " was created by this transaction and cannot start before it commits", run_id) :
				 errmsg("run " INT64_FORMAT " was changed by this transaction, which takes effect when it commits", run_id),
				 errhint("Commit first, or use CALL pipeline.execute().")));
	pipeline_scope_end(&scope);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for a run under isolation level REPEATABLE READ or SERIALIZABLE"),
				 errhint("Such a transaction never sees the run change; use READ COMMITTED.")));
}

PG_FUNCTION_INFO_V1(pipeline_wait_for_run);

/* SQL: wait_for_run(run_id, timeout) */
Datum
pipeline_wait_for_run(PG_FUNCTION_ARGS)
{
	int64		run_id;
	TimestampTz until;
	char	   *state;

	pipeline_not_null(fcinfo, 0, "run_id");
	runner_require_preload();
	run_id = PG_GETARG_INT64(0);
	until = wait_until(PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1));
	SPI_connect();
	check_committed(run_id);
	SPI_finish();
	ConditionVariablePrepareToSleep(&runner_shared->ended);
	for (;;)
	{
		SPI_connect();
		state = read_state(run_id);
		SPI_finish();
		if (has_ended(state) || !wait_for_change(&runner_shared->ended, until))
			break;
		pfree(state);
	}
	ConditionVariableCancelSleep();
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/*
 * Print the task states that have changed since `seen`, a JSON object of task
 * and state; returns the new one, in `context`.
 */
static Jsonb *
print_progress(int64 run_id, const Jsonb *seen, MemoryContext context)
{
	UserScope	scope;
	uint64		n;
	Jsonb	   *now;
	bool		isnull;
	MemoryContext old;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT task, state, round(extract(epoch FROM finished_at - started_at), 3)::text,"
					 " attempts::text, error FROM pipeline.task_runs"
					 " WHERE run_id = $1 AND state NOT IN ('waiting', 'ready')"
					 " AND state || attempts IS DISTINCT FROM $2 ->> task"
					 " ORDER BY coalesce(finished_at, started_at), task",
					 SPI_OK_SELECT, sql_int8(run_id), sql_jsonb(seen));
	for (uint64 i = 0; i < n; i++)
	{
		char	   *task = pipeline_sql_text(i, 1);
		char	   *state = pipeline_sql_text(i, 2);
		char	   *seconds = pipeline_sql_text(i, 3);
		char	   *error = pipeline_sql_text(i, 5);

		if (error)
			ereport(INFO, (errmsg("%s: %s (attempt %s): %s", task, state, pipeline_sql_text(i, 4), error)));
		else if (seconds)
			ereport(INFO, (errmsg("%s: %s in %s s", task, state, seconds)));
		else
			ereport(INFO, (errmsg("%s: %s", task, state)));
	}
	pipeline_sql("SELECT coalesce(jsonb_object_agg(task, state || attempts), '{}')"
				 " FROM pipeline.task_runs WHERE run_id = $1", SPI_OK_SELECT, sql_int8(run_id));
	old = MemoryContextSwitchTo(context);
	now = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	MemoryContextSwitchTo(old);
	pipeline_scope_end(&scope);
	return now;
}

/* Raise what the run failed with. */
static void
raise_failure(int64 run_id, const char *pipeline, const char *state)
{
	UserScope	scope;
	char	   *tasks;

	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT string_agg(format('%s: %s%s', task, state, ': ' || error), E'\\n'"
				 "   ORDER BY state, finished_at, task)"
				 " FROM pipeline.task_runs WHERE run_id = $1"
				 " AND state IN ('failed', 'upstream_failed', 'cancelled')",
				 SPI_OK_SELECT, sql_int8(run_id));
	tasks = pipeline_sql_text(0, 1);
	pipeline_scope_end(&scope);
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("run " INT64_FORMAT " of pipeline \"%s\" %s", run_id, pipeline,
					strcmp(state, "failed") == 0 ? "failed" : "was cancelled"),
			 tasks ? errdetail_internal("%s", tasks) : 0,
			 errhint("Table pipeline.attempts has everything about each attempt; pipeline.retry(" INT64_FORMAT ") runs what failed again.", run_id)));
}

PG_FUNCTION_INFO_V1(pipeline_execute);

/* SQL: CALL execute(pipeline, params, timeout) */
Datum
pipeline_execute(PG_FUNCTION_ARGS)
{
	bool		atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext) &&
						   !castNode(CallContext, fcinfo->context)->atomic);
	char	   *name;
	TimestampTz until;
	int64		run_id;
	Jsonb	   *seen;
	char	   *state;
	MemoryContext context;
	MemoryContext look;

	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "params");
	runner_require_preload();
	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("execute cannot run inside a transaction block"),
				 errhint("The run can only start when it is committed: CALL it on its own, or use pipeline.run().")));

	/* The portal's memory survives the commits in between. */
	context = AllocSetContextCreate(PortalContext, "pipeline execute",
									ALLOCSET_SMALL_SIZES);
	name = MemoryContextStrdup(context, pipeline_arg_text(fcinfo, 0));
	until = wait_until(PG_ARGISNULL(2) ? NULL : PG_GETARG_INTERVAL_P(2));
	look = AllocSetContextCreate(context, "pipeline execute look",
								 ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(context);
	seen = pipeline_jsonb_object(0, NULL, NULL);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	run_id = runner_start_run(name, PG_GETARG_JSONB_P(1), NULL);
	SPI_commit();
	SPI_finish();
	ereport(INFO, (errmsg("run " INT64_FORMAT " of pipeline \"%s\"", run_id, name)));
	for (;;)
	{
		Jsonb	   *now;

		MemoryContextReset(look);
		MemoryContextSwitchTo(look);
		SPI_connect_ext(SPI_OPT_NONATOMIC);
		/* The state first: what is printed then is at least as new. */
		state = read_state(run_id);
		now = print_progress(run_id, seen, context);
		pfree(seen);
		seen = now;
		if (has_ended(state))
			break;
		SPI_commit();
		SPI_finish();
		if (!wait_for_change(&runner_shared->changed, until))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("run " INT64_FORMAT " of pipeline \"%s\" has not ended in time", run_id, name),
					 errdetail("It goes on."),
					 errhint("Wait with pipeline.wait_for_run(" INT64_FORMAT "), or stop it with pipeline.cancel(" INT64_FORMAT ").", run_id, run_id)));
	}
	ConditionVariableCancelSleep();
	if (strcmp(state, "succeeded") != 0)
		raise_failure(run_id, name, state);
	SPI_finish();
	MemoryContextSwitchTo(PortalContext);
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}
