/*
 * clock.c
 *	  What is due by the clock: retries, runs that may begin, attempts that
 *	  overran; and when to look again.
 *
 * All of it runs in the scheduler, inside its transaction, as the owner of the
 * extension.
 */
#include "postgres.h"

#include <signal.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "runner/process.h"
#include "runner/runner.h"

/* A worker that ignores SIGINT for that long gets SIGTERM. */
#define PATIENCE "interval '10 seconds'"
#define RETRY_MS 1000
/* Nor is a row that stays overdue, being locked, a reason to spin. */
#define OVERDUE_MS 50

static bool passed_over = false;	/* something, in this look */

/* Something could not be done now: look again in a second. */
void
runner_pass_over(void)
{
	passed_over = true;
}

/* Ready the tasks whose wait is over. */
void
runner_ready_retries(void)
{
	pipeline_sql("UPDATE pipeline.task_runs t SET state = 'ready', ready_at = clock_timestamp(),"
				 "   rank = pipeline._rank(t.priority)"
				 " FROM (SELECT run_id, task FROM pipeline.task_runs"
				 "       WHERE state IN ('up_for_retry', 'waiting') AND next_attempt_at <= clock_timestamp()"
				 "       FOR NO KEY UPDATE SKIP LOCKED) due"
				 " WHERE t.run_id = due.run_id AND t.task = due.task",
				 SPI_OK_UPDATE);
}

/*
 * Queued runs, each with its place in the queue and how many runs of the queue
 * may be active, and how many are.  A backfill with a limit of its own has a
 * queue of its own; 0 is that of the pipeline.
 */
#define QUEUED_AND_PLACES \
	"queued AS (" \
	"  SELECT run_id, pipeline, backfill, places," \
	"    row_number() OVER (PARTITION BY pipeline, backfill ORDER BY run_id) AS place" \
	"  FROM (SELECT r.run_id, r.pipeline, coalesce(r.max_active_runs, p.max_active_runs) AS places," \
	"          CASE WHEN r.max_active_runs IS NULL THEN 0 ELSE r.backfill END AS backfill" \
	"        FROM pipeline.runs r JOIN pipeline.pipelines p USING (pipeline)" \
	"        WHERE r.state = 'queued' AND NOT p.paused) r)," \
	" active AS (" \
	"  SELECT pipeline, CASE WHEN max_active_runs IS NULL THEN 0 ELSE backfill END AS backfill, count(*) AS n" \
	"  FROM pipeline.runs WHERE state = 'running' GROUP BY 1, 2)"

/*
 * Let queued runs begin, the earliest first, as many as may.  One that a user
 * is cancelling keeps its place until that is settled.
 */
void
runner_begin_runs(void)
{
	uint64		n = pipeline_sql("WITH " QUEUED_AND_PLACES
								 " SELECT run_id FROM pipeline.runs"
								 " WHERE run_id IN (SELECT q.run_id FROM queued q LEFT JOIN active a"
								 "     ON a.pipeline = q.pipeline AND a.backfill = q.backfill"
								 "   WHERE q.place <= q.places - coalesce(a.n, 0))"
								 "   AND state = 'queued'"
								 " FOR NO KEY UPDATE SKIP LOCKED", SPI_OK_SELECT);
	int64	   *runs = palloc_array(int64, n + 1);

	for (uint64 i = 0; i < n; i++)
		runs[i] = pipeline_sql_int8(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		pipeline_sql("UPDATE pipeline.runs SET state = 'running',"
					 "   started_at = coalesce(started_at, clock_timestamp())"
					 " WHERE run_id = $1", SPI_OK_UPDATE, sql_int8(runs[i]));
		pipeline_sql("UPDATE pipeline.task_runs SET state = 'ready', ready_at = clock_timestamp(),"
					 "   rank = pipeline._rank(priority)"
					 " WHERE run_id = $1 AND state = 'waiting' AND pending = 0",
					 SPI_OK_UPDATE, sql_int8(runs[i]));
	}
	if (n > 0)
		runner_at_commit_tell();
	if (pipeline_sql("WITH " QUEUED_AND_PLACES
					 " SELECT 1 FROM queued q LEFT JOIN active a"
					 "   ON a.pipeline = q.pipeline AND a.backfill = q.backfill"
					 " WHERE q.places > coalesce(a.n, 0) LIMIT 1", SPI_OK_SELECT) > 0)
		passed_over = true;
}

/*
 * Stop what overran or was cancelled.  The worker minds its own timeout and
 * cancel() sends its own signal; this is for those that did not listen.
 */
void
runner_stop_attempts(void)
{
	uint64		n;

	n = pipeline_sql("SELECT a.attempt_id,"
					 "  r.cancel_requested_at IS NOT NULL AS cancelled,"
					 "  least(r.cancel_requested_at, a.started_at + a.timeout) + " PATIENCE
					 "    <= clock_timestamp() AS impatient"
					 " FROM pipeline.task_runs t JOIN pipeline.attempts a"
					 "   ON a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempts JOIN pipeline.runs r ON r.run_id = t.run_id"
					 " WHERE t.state = 'running' AND a.state = 'running' AND (r.cancel_requested_at IS NOT NULL"
					 "   OR a.started_at + a.timeout + " PATIENCE " <= clock_timestamp())",
					 SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		int64		attempt_id = pipeline_sql_int8(i, 1);
		bool		cancelled = pipeline_sql_bool(i, 2);

		if (runner_stop_attempt(attempt_id, cancelled ? STOP_CANCEL : STOP_TIMEOUT,
								pipeline_sql_bool(i, 3) ? SIGTERM : SIGINT) &&
			!cancelled)
			runner_note_overrun(attempt_id);
	}
}

/*
 * Milliseconds until something is due by the clock; -1 when nothing is.  Takes
 * what was passed over into account, and forgets it.
 */
long
runner_until_next(void)
{
	bool		isnull;
	bool		again = passed_over;
	TimestampTz next;
	long		ms;

	passed_over = false;
	pipeline_sql("SELECT least("
				 " (SELECT min(next_attempt_at) FROM pipeline.task_runs"
				 "  WHERE state IN ('up_for_retry', 'waiting') AND next_attempt_at IS NOT NULL),"
				 " (SELECT min(deadline_due) FROM pipeline.task_runs WHERE deadline_due IS NOT NULL),"
				 " (SELECT min(deadline_due) FROM pipeline.runs WHERE deadline_due IS NOT NULL),"
				 " (SELECT clock_timestamp() + interval '1 minute'"
				 "  WHERE EXISTS (SELECT FROM pipeline.pipelines WHERE deadline IS NOT NULL AND schedule IS NOT NULL)),"
				 /* What is overdue already was passed over, or takes its time to die. */
				 " (SELECT min(CASE WHEN r.cancel_requested_at IS NOT NULL"
				 "     THEN clock_timestamp() + interval '1 second'"
				 "     ELSE greatest(a.started_at + a.timeout + " PATIENCE ","
				 "                   clock_timestamp() + interval '1 second') END)"
				 "  FROM pipeline.task_runs t JOIN pipeline.attempts a"
				 "    ON a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempts JOIN pipeline.runs r ON r.run_id = t.run_id"
				 "  WHERE t.state = 'running' AND a.state = 'running'))", SPI_OK_SELECT);
	next = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	if (isnull)
		return again ? RETRY_MS : -1;
	ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next) + 1;
	ms = Max(ms, OVERDUE_MS);
	return again ? Min(ms, RETRY_MS) : ms;
}
