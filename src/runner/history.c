/*
 * history.c
 *	  Old runs are deleted: by age (pipeline.history_days) and by number a
 *	  pipeline (pipeline.history_runs), with their tasks and attempts; and old
 *	  entries of the change log and events of datasets, by age.
 *
 * The scheduler does it now and then, a small batch a transaction, passing
 * over what somebody has locked.  Only ended runs go.  The newest run of a
 * pipeline always stays, and so does its newest scheduled one: what is due is
 * computed from that.
 *
 * What is too old is looked for at the old end of each pipeline's runs, by the
 * index; what is too many only where runs were added.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "runner/process.h"
#include "runner/runner.h"

/* Runs, and entries of the change log, that one transaction deletes. */
#define BATCH 200
/* After a batch; after activity that left nothing to do; and without any. */
#define AGAIN_MS 200
#define PAUSE_MS 60000
#define IDLE_MS 3600000

/* Of runs `r` of pipeline `p`: those that must stay. */
#define MAY_GO \
	" r.state NOT IN ('queued', 'running')" \
	" AND r.run_id < (SELECT max(x.run_id) FROM pipeline.runs x WHERE x.pipeline = p.pipeline)" \
	" AND (r.run_type <> 'scheduled' OR r.interval_end <" \
	"   (SELECT max(x.interval_end) FROM pipeline.runs x WHERE x.pipeline = p.pipeline AND x.run_type = 'scheduled')" \
	"   AND r.run_id < (SELECT max(x.run_id) FROM pipeline.runs x WHERE x.pipeline = p.pipeline AND x.run_type = 'scheduled'))"

static int64 counted_run = 0;	/* runs up to this were counted */

/* The result's run_ids as an array. */
static Datum
run_ids(uint64 n)
{
	Datum	   *ids = palloc_array(Datum, n + 1);

	for (uint64 i = 0; i < n; i++)
		ids[i] = Int64GetDatum(pipeline_sql_int8(i, 1));
	return PointerGetDatum(construct_array(ids, (int) n, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Delete runs with what belongs to them; the locks keep a retry out.  Returns
 * how many; that may be fewer than were found.
 */
static uint64
delete_runs(uint64 n)
{
	SqlArg		ids;

	if (n == 0)
		return 0;
	ids = sql_datum(INT8ARRAYOID, run_ids(n), false);
	n = pipeline_sql("SELECT run_id FROM pipeline.runs WHERE run_id = ANY ($1)"
					 " AND state NOT IN ('queued', 'running') ORDER BY run_id FOR UPDATE SKIP LOCKED",
					 SPI_OK_SELECT, ids);
	ids = sql_datum(INT8ARRAYOID, run_ids(n), false);
	/* Rather than by one trigger a row. */
	pipeline_sql("DELETE FROM pipeline.attempts WHERE run_id = ANY ($1)", SPI_OK_DELETE, ids);
	pipeline_sql("DELETE FROM pipeline.task_runs WHERE run_id = ANY ($1)", SPI_OK_DELETE, ids);
	return pipeline_sql("DELETE FROM pipeline.runs WHERE run_id = ANY ($1)", SPI_OK_DELETE, ids);
}

static uint64
delete_old_runs(void)
{
	if (pipeline_history_days == 0)
		return 0;
	return delete_runs(pipeline_sql("SELECT r.run_id FROM pipeline.pipelines p CROSS JOIN LATERAL"
									" (SELECT * FROM pipeline.runs o WHERE o.pipeline = p.pipeline AND o.state NOT IN ('queued', 'running')"
									"  ORDER BY o.run_id LIMIT 100) r"
									" WHERE r.finished_at < now() - make_interval(days => $1) AND" MAY_GO
									" LIMIT $2", SPI_OK_SELECT,
									sql_int4(pipeline_history_days), sql_int8(BATCH)));
}

static uint64
delete_many_runs(void)
{
	int64		newest;
	uint64		found;

	if (pipeline_history_runs == 0)
		return 0;
	pipeline_sql("SELECT coalesce(max(run_id), 0) FROM pipeline.runs", SPI_OK_SELECT);
	newest = pipeline_sql_int8(0, 1);
	found = pipeline_sql("SELECT r.run_id FROM pipeline.pipelines p CROSS JOIN LATERAL"
						 " (SELECT * FROM pipeline.runs o WHERE o.pipeline = p.pipeline AND o.state NOT IN ('queued', 'running')"
						 "  ORDER BY o.run_id DESC OFFSET $1) r"
						 " WHERE p.pipeline IN (SELECT n.pipeline FROM pipeline.runs n WHERE n.run_id > $2) AND" MAY_GO
						 " LIMIT $3", SPI_OK_SELECT, sql_int4(pipeline_history_runs),
						 sql_int8(counted_run), sql_int8(BATCH));
	/* One that is open now is counted when it has ended. */
	if (found < BATCH)
	{
		uint64		deleted = delete_runs(found);

		pipeline_sql("SELECT coalesce(min(run_id) - 1, $1) FROM pipeline.runs WHERE state IN ('queued', 'running')",
					 SPI_OK_SELECT, sql_int8(newest));
		counted_run = Min(newest, pipeline_sql_int8(0, 1));
		return deleted;
	}
	return delete_runs(found);
}

static uint64
delete_changes(void)
{
	if (pipeline_history_days == 0)
		return 0;
	return pipeline_sql("DELETE FROM pipeline.changes WHERE change_id IN (SELECT o.change_id FROM"
						" (SELECT c.change_id, c.at FROM pipeline.changes c ORDER BY c.change_id LIMIT $2) o"
						" WHERE o.at < now() - make_interval(days => $1))",
						SPI_OK_DELETE, sql_int4(pipeline_history_days), sql_int8(BATCH));
}

/* Events of datasets, but the latest of each. */
static uint64
delete_events(void)
{
	if (pipeline_history_days == 0)
		return 0;
	return pipeline_sql("DELETE FROM pipeline.dataset_events WHERE event_id IN (SELECT o.event_id FROM"
						" (SELECT e.* FROM pipeline.dataset_events e WHERE e.dispatched"
						"  AND e.event_id < (SELECT max(x.event_id) FROM pipeline.dataset_events x WHERE x.dataset = e.dataset)"
						"  ORDER BY e.event_id LIMIT $2) o"
						" WHERE o.published_at < now() - make_interval(days => $1))",
						SPI_OK_DELETE, sql_int4(pipeline_history_days), sql_int8(BATCH));
}

/* One batch of each; says whether there may be more. */
static bool
delete_batch(void *arg)
{
	bool	   *more = arg;
	UserScope	scope;
	uint64		old;
	uint64		many;
	uint64		changes;
	uint64		events;

	pipeline_extension_begin(&scope);
	/* Nobody's lock on a row holds us up, and we hold up nobody for long. */
	(void) set_config_option("lock_timeout", "100ms", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	old = delete_old_runs();
	many = delete_many_runs();
	changes = delete_changes();
	events = delete_events();
	pipeline_scope_end(&scope);
	*more = old > 0 || many > 0 || changes >= BATCH || events >= BATCH;
	return true;
}

/* The same; what goes wrong is logged, and tried again later. */
static bool
try_batch(void)
{
	bool		more = false;
	ErrorData  *edata = pipeline_try(delete_batch, &more);

	if (edata == NULL)
		return more;
	ereport(LOG,
			(errmsg("could not delete old runs: %s", edata->message)));
	return false;
}

/*
 * Delete a batch of what is too old or too many, in a transaction of its own,
 * if it is time.  Returns milliseconds until it is time again; -1: never, as
 * set.  For the scheduler of a database that acts.
 */
long
runner_trim_history(void)
{
	static TimestampTz next = 0;
	static int	days = 0;
	static int	runs = 0;
	TimestampTz now = GetCurrentTimestamp();
	bool		more = false;

	if (days != pipeline_history_days || runs != pipeline_history_runs)
		next = counted_run = 0;
	days = pipeline_history_days;
	runs = pipeline_history_runs;
	if (days == 0 && runs == 0)
		return -1;
	if (now < next)
		return IDLE_MS;
	runner_begin_transaction("pipeline: delete old runs");
	if (OidIsValid(pipeline_extension_owner(true)))
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (pipeline_identity_matches())
			more = try_batch();
		PopActiveSnapshot();
		SPI_finish();
	}
	runner_commit_transaction();
	next = TimestampTzPlusMilliseconds(now, more ? AGAIN_MS : PAUSE_MS);
	return more ? AGAIN_MS : IDLE_MS;
}
