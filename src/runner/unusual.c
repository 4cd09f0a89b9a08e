/*
 * unusual.c
 *	  What is not as usual: a task that runs longer than it used to (TaskSlow),
 *	  a dataset that is not published any more (SourceStale).
 *
 * Usual is what the thing's own history says, and only where there is enough
 * of it.  Nothing of this is on the way of a task: the scheduler looks once a
 * minute, at tasks that have been running for a while and at datasets with a
 * new event; the history of each is read once.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "runner/process.h"
#include "runner/runner.h"

/* Fewer than these are no history. */
#define LEAST_HISTORY "10"

/* A running attempt whose history has been read. */
typedef struct Watched
{
	int64		attempt_id;
	double		usual;			/* seconds; the median */
	TimestampTz slow_at;		/* DT_NOEND: it has no history */
	bool		seen;			/* in this look */
} Watched;

static List *watched = NIL;		/* of Watched, in TopMemoryContext */
static TimestampTz last_look = 0;
static bool events_dispatched = true;

typedef struct SlowTask
{
	Watched    *w;
	int64		attempt_id;
	int64		run_id;
	char	   *pipeline;
	char	   *task;
	Oid			owner;
	Jsonb	   *labels;
	TimestampTz started_at;
} SlowTask;

/* ---- tasks ---------------------------------------------------------------------- */

static Watched *
find_watched(int64 attempt_id)
{
	ListCell   *lc;

	foreach(lc, watched)
	{
		if (((Watched *) lfirst(lc))->attempt_id == attempt_id)
			return lfirst(lc);
	}
	return NULL;
}

static Watched *
watch(int64 attempt_id)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Watched    *w = palloc0_object(Watched);

	w->attempt_id = attempt_id;
	w->slow_at = DT_NOEND;
	watched = lappend(watched, w);
	MemoryContextSwitchTo(old);
	return w;
}

static void
forget_unseen(void)
{
	ListCell   *lc;

	foreach(lc, watched)
	{
		Watched    *w = lfirst(lc);

		if (w->seen)
			continue;
		watched = foreach_delete_current(watched, lc);
		pfree(w);
	}
}

/*
 * From when on an attempt is slow: after the most of factor times the median
 * of its last successes, the median and five standard deviations, as their
 * median absolute deviation tells them, and the median and the minimum.  Of
 * one long run among many neither median nor deviation know.
 */
static void
read_history(SlowTask *t)
{
	if (pipeline_sql("WITH last AS MATERIALIZED ("
					 "   SELECT r.run_id FROM pipeline.runs r WHERE r.pipeline = $1 ORDER BY r.run_id DESC LIMIT 100),"
					 " h AS MATERIALIZED (SELECT extract(epoch FROM a.finished_at - a.started_at)::float8 AS s"
					 "   FROM last l JOIN pipeline.attempts a ON a.run_id = l.run_id AND a.task = $2 AND a.state = 'succeeded'"
					 "   ORDER BY l.run_id DESC LIMIT 30),"
					 " m AS (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) AS median FROM h HAVING count(*) >= " LEAST_HISTORY ")"
					 " SELECT m.median, greatest($3 * m.median, m.median + $4, m.median + 5 * 1.4826 *"
					 "   (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(h.s - m.median)) FROM h))"
					 " FROM m", SPI_OK_SELECT, sql_text(t->pipeline), sql_text(t->task),
					 sql_float8(pipeline_slow_task_factor), sql_float8(pipeline_slow_task_minimum)) > 0)
	{
		bool		isnull;

		t->w->usual = DatumGetFloat8(pipeline_sql_datum(0, 1, &isnull));
		t->w->slow_at = t->started_at + (int64) (DatumGetFloat8(pipeline_sql_datum(0, 2, &isnull)) * USECS_PER_SEC);
	}
}

static bool
say_slow(void *arg)
{
	SlowTask   *t = arg;

	if (pipeline_sql("UPDATE pipeline.attempts SET slow_since = clock_timestamp() WHERE attempt_id = $1 AND state = 'running'",
					 SPI_OK_UPDATE, sql_int8(t->w->attempt_id)) > 0)
		runner_alert_slow(t->owner, t->pipeline, t->run_id, t->task, t->labels,
						  (GetCurrentTimestamp() - t->started_at) / (double) USECS_PER_SEC, t->w->usual);
	return true;
}

/* Attempts that have run for a while: is one of them slow by now? */
static void
mind_slow_tasks(void)
{
	List	   *tasks = NIL;
	ListCell   *lc;
	uint64		n;

	if (pipeline_slow_task_factor == 0)
		return;
	n = pipeline_sql("SELECT a.attempt_id, a.run_id, t.pipeline, t.task, t.owner::oid, t.labels, a.started_at"
					 " FROM pipeline.task_runs t JOIN pipeline.attempts a"
					 "   ON a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempts"
					 " WHERE t.state = 'running' AND a.state = 'running' AND a.slow_since IS NULL"
					 "   AND a.started_at <= clock_timestamp() - make_interval(secs => $1)", SPI_OK_SELECT,
					 sql_float8(pipeline_slow_task_minimum));
	for (uint64 i = 0; i < n; i++)
	{
		SlowTask   *t = SPI_palloc(sizeof(SlowTask));
		bool		isnull;

		t->w = find_watched(pipeline_sql_int8(i, 1));
		if (t->w == NULL)
			t->w = watch(pipeline_sql_int8(i, 1));
		else if (t->w->slow_at == DT_NOEND)
		{
			t->w->seen = true;
			continue;
		}
		t->w->seen = true;
		t->run_id = pipeline_sql_int8(i, 2);
		t->pipeline = pipeline_sql_text(i, 3);
		t->task = pipeline_sql_text(i, 4);
		t->owner = DatumGetObjectId(pipeline_sql_datum(i, 5, &isnull));
		t->labels = DatumGetJsonbPCopy(pipeline_sql_datum(i, 6, &isnull));
		t->started_at = DatumGetTimestampTz(pipeline_sql_datum(i, 7, &isnull));
		tasks = lappend(tasks, t);
	}
	foreach(lc, tasks)
	{
		SlowTask   *t = lfirst(lc);
		ErrorData  *edata = NULL;

		if (t->w->usual == 0)
			read_history(t);
		if (t->w->slow_at <= GetCurrentTimestamp())
			edata = runner_try_briefly(say_slow, t);
		/* What somebody holds is looked at again. */
		if (edata != NULL && edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ereport(LOG, (errmsg("could not say that task \"%s\" of pipeline \"%s\" is slow: %s",
								 t->task, t->pipeline, edata->message)));
	}
	forget_unseen();
	foreach(lc, watched)
		((Watched *) lfirst(lc))->seen = false;
}

static bool
resolve_slow(void *arg)
{
	uint64		n = pipeline_sql("SELECT a.attempt_id, t.pipeline, t.task, t.owner::oid"
								 " FROM pipeline.attempts a JOIN pipeline.task_runs t ON t.run_id = a.run_id AND t.task = a.task"
								 " WHERE a.slow_since IS NOT NULL AND a.state <> 'running' FOR NO KEY UPDATE OF a SKIP LOCKED", SPI_OK_SELECT);
	List	   *tasks = NIL;
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
	{
		SlowTask   *t = SPI_palloc(sizeof(SlowTask));
		bool		isnull;

		t->attempt_id = pipeline_sql_int8(i, 1);
		t->pipeline = pipeline_sql_text(i, 2);
		t->task = pipeline_sql_text(i, 3);
		t->owner = DatumGetObjectId(pipeline_sql_datum(i, 4, &isnull));
		tasks = lappend(tasks, t);
	}
	foreach(lc, tasks)
	{
		SlowTask   *t = lfirst(lc);

		runner_resolve_slow(t->owner, t->pipeline, t->task);
		pipeline_sql("UPDATE pipeline.attempts SET slow_since = NULL WHERE attempt_id = $1", SPI_OK_UPDATE,
					 sql_int8(t->attempt_id));
	}
	return true;
}

/* ---- datasets --------------------------------------------------------------------- */

typedef struct StaleDataset
{
	char	   *dataset;
	Oid			owner;
	char	   *since;
	bool		asked;			/* stale_after says so, and not its history */
	char	   *limit;
} StaleDataset;

/* The result's datasets. */
static List *
collect(uint64 n)
{
	List	   *list = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		StaleDataset *d = SPI_palloc(sizeof(StaleDataset));
		bool		isnull;

		d->dataset = pipeline_sql_text(i, 1);
		d->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		d->asked = pipeline_sql_bool(i, 3);
		d->limit = pipeline_sql_text(i, 4);
		d->since = pipeline_sql_text(i, 5);
		list = lappend(list, d);
	}
	return list;
}

/*
 * Datasets with a new event, or a new definition: when are they stale?  After
 * stale_after, or else after factor times the longest of the last pauses
 * between events: a source that comes in bursts has long ones.
 */
static bool
note_events(void *arg)
{
	ListCell   *lc;

	foreach(lc, collect(pipeline_sql("UPDATE pipeline.datasets d SET last_event = n.event_id,"
									 "   stale_at = n.since + coalesce(d.stale_after, CASE WHEN $1 > 0 THEN $1 *"
									 "     (SELECT max(g.gap) FROM ("
									 "       SELECT e.published_at - lag(e.published_at) OVER (ORDER BY e.event_id) AS gap FROM ("
									 "         SELECT * FROM pipeline.dataset_events h WHERE h.dataset = d.dataset"
									 "         ORDER BY h.event_id DESC LIMIT 31) e) g"
									 "      HAVING count(g.gap) >= " LEAST_HISTORY ") END)"
									 " FROM (SELECT d.dataset, coalesce(e.event_id, 0) AS event_id, coalesce(e.published_at, d.created_at) AS since"
									 "   FROM pipeline.datasets d LEFT JOIN LATERAL (SELECT * FROM pipeline.dataset_events h"
									 "     WHERE h.dataset = d.dataset ORDER BY h.event_id DESC LIMIT 1) e ON true"
									 "   WHERE d.last_event IS DISTINCT FROM coalesce(e.event_id, 0)"
									 "   FOR NO KEY UPDATE OF d SKIP LOCKED) n"
									 " WHERE d.dataset = n.dataset RETURNING d.dataset, d.owner::oid, false, NULL, NULL",
									 SPI_OK_UPDATE_RETURNING, sql_float8(pipeline_stale_dataset_factor))))
	{
		StaleDataset *d = lfirst(lc);

		runner_resolve_stale(d->owner, d->dataset);
	}
	return true;
}

/* Those that are stale by now. */
static bool
say_stale(void *arg)
{
	ListCell   *lc;

	foreach(lc, collect(pipeline_sql("UPDATE pipeline.datasets d SET stale_at = 'infinity'"
									 " FROM (SELECT s.dataset, s.stale_at, coalesce(e.published_at, s.created_at) AS since, e.published_at"
									 "   FROM pipeline.datasets s LEFT JOIN pipeline.dataset_events e ON e.event_id = s.last_event"
									 "   WHERE s.stale_at IS NOT NULL AND s.stale_at <= clock_timestamp() FOR NO KEY UPDATE OF s SKIP LOCKED) due"
									 " WHERE d.dataset = due.dataset RETURNING d.dataset, d.owner::oid, d.stale_after IS NOT NULL,"
									 "   date_trunc('milliseconds', due.stale_at - due.since)::text,"
									 "   to_char(due.published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')",
									 SPI_OK_UPDATE_RETURNING)))
	{
		StaleDataset *d = lfirst(lc);

		runner_alert_stale(d->owner, d->dataset, d->since, d->asked, d->limit);
	}
	return true;
}

/* ---- the scheduler's part ------------------------------------------------------------ */

static void
try_unusual(bool (*work) (void *arg), const char *what)
{
	ErrorData  *edata = runner_try_briefly(work, NULL);

	if (edata == NULL)
		return;
	runner_pass_over();
	if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ereport(LOG, (errmsg("could not look for %s: %s", what, edata->message)));
}

/* The settings count from when they are changed. */
static TimestampTz
next_look(void)
{
	return TimestampTzPlusMilliseconds(last_look, Min(60, Max(pipeline_slow_task_minimum, 1)) * 1000);
}

/* Events were dispatched: look at their datasets at once. */
void
runner_note_dispatched(void)
{
	events_dispatched = true;
}

/* One look, if it is time; inside the scheduler's transaction. */
void
runner_mind_unusual(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (events_dispatched || now >= next_look())
	{
		events_dispatched = false;
		try_unusual(note_events, "published datasets");
	}
	if (now < next_look())
		return;
	last_look = now;
	mind_slow_tasks();
	try_unusual(resolve_slow, "tasks that were slow");
	try_unusual(say_stale, "stale datasets");
}

/*
 * Milliseconds until the next look, or -1: nothing runs, and no dataset is
 * watched, so that there is nothing to look at.
 */
long
runner_until_unusual(void)
{
	if (pipeline_sql("SELECT 1 WHERE EXISTS (SELECT FROM pipeline.runs WHERE state = 'running')"
					 " OR EXISTS (SELECT FROM pipeline.attempts WHERE slow_since IS NOT NULL)"
					 " OR EXISTS (SELECT FROM pipeline.datasets WHERE stale_at < 'infinity')"
					 " OR EXISTS (SELECT FROM pipeline.datasets WHERE last_event IS NULL)", SPI_OK_SELECT) == 0)
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_look()) + 1;
}
