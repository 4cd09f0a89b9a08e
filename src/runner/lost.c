/*
 * lost.c
 *	  Attempts whose worker is gone, and what they leave behind.
 *
 * The tables say that they run and no slot in shared memory owns them.  A run
 * that somebody holds is left for the next look; one whose attempt cannot be
 * ended has its pipeline paused.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "runner/process.h"
#include "runner/runner.h"

static List *overran = NIL;		/* ids of attempts ended for their timeout */

/* ---- attempts whose worker is gone ------------------------------------------------ */

typedef struct OpenAttempt
{
	int64		attempt_id;
	int64		run_id;
	char	   *task;
} OpenAttempt;

/* The attempts that the tables say are running and that no process owns. */
static List *
orphans(void)
{
	List	   *list = NIL;
	uint64		n;

	n = pipeline_sql("SELECT a.attempt_id, a.run_id, a.task FROM pipeline.task_runs t JOIN pipeline.attempts a"
					 "   ON a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempts"
					 " WHERE t.state = 'running' AND a.state = 'running' ORDER BY run_id, attempt_id", SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		OpenAttempt *a;

		if (runner_attempt_alive(pipeline_sql_int8(i, 1)))
			continue;
		a = SPI_palloc(sizeof(OpenAttempt));
		a->attempt_id = pipeline_sql_int8(i, 1);
		a->run_id = pipeline_sql_int8(i, 2);
		a->task = pipeline_sql_text(i, 3);
		list = lappend(list, a);
	}
	return list;
}

/* Was the attempt's worker ended because it did not mind its timeout? */
static bool
forget_overrun(int64 attempt_id)
{
	ListCell   *lc;

	foreach(lc, overran)
	{
		if (*(int64 *) lfirst(lc) != attempt_id)
			continue;
		pfree(lfirst(lc));
		overran = foreach_delete_current(overran, lc);
		return true;
	}
	return false;
}

/* Remember that an attempt's worker is ended because of its timeout. */
void
runner_note_overrun(int64 attempt_id)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	int64	   *id;

	(void) forget_overrun(attempt_id);
	id = palloc_object(int64);
	*id = attempt_id;
	overran = lappend(overran, id);
	MemoryContextSwitchTo(old);
}

/* End one attempt that seems to have no process, if that is still so. */
static bool
end_lost_attempt(void *arg)
{
	const OpenAttempt *a = arg;
	ErrorData	error = {.sqlerrcode = ERRCODE_QUERY_CANCELED,
	.message = "the task did not end within its timeout, and its worker had to be ended"};
	AttemptEnd	end = {.outcome = OUTCOME_LOST};

	/*
	 * Our snapshot may be older than the worker's last commit.  With the run
	 * locked nobody is between the two, so look again.
	 */
	if (!runner_run_try_lock(a->run_id))
	{
		runner_pass_over();
		return true;
	}
	if (runner_attempt_alive(a->attempt_id) ||
		pipeline_sql("SELECT 1 FROM pipeline.attempts WHERE attempt_id = $1 AND state = 'running'",
					 SPI_OK_SELECT, sql_int8(a->attempt_id)) == 0)
		return true;
	if (forget_overrun(a->attempt_id))
	{
		end.outcome = OUTCOME_ERROR;
		end.error = &error;
	}
	ereport(LOG,
			(errmsg("attempt " INT64_FORMAT " at task \"%s\" of run " INT64_FORMAT " was %s",
					a->attempt_id, a->task, a->run_id,
					end.outcome == OUTCOME_LOST ? "lost" : "ended for its timeout")));
	runner_open_tables();
	(void) runner_end_attempt(a->run_id, a->task, a->attempt_id, &end);
	runner_close_tables();
	return true;
}

/* Say what went wrong with an attempt, once, and pause its pipeline. */
static void
give_up(const OpenAttempt *a, const ErrorData *edata)
{
	bool		locked = edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;

	runner_pass_over();
	if (!locked &&
		pipeline_sql("SELECT pipeline FROM pipeline.runs WHERE run_id = $1", SPI_OK_SELECT, sql_int8(a->run_id)) > 0 &&
		!runner_pause_pipeline(pipeline_sql_text(0, 1),
							   psprintf("the scheduler could not end an attempt at task \"%s\": %s",
										a->task, edata->message)))
		return;
	ereport(locked ? LOG : WARNING,
			(errmsg("could not end attempt " INT64_FORMAT " at task \"%s\" of run " INT64_FORMAT ": %s",
					a->attempt_id, a->task, a->run_id, edata->message)));
}

/* End what was lost; for the scheduler, inside its transaction. */
void
runner_end_lost_attempts(void)
{
	ListCell   *lc;

	/* An alert that somebody is acknowledging must not hold us up. */
	foreach(lc, orphans())
	{
		ErrorData  *edata = runner_try_briefly(end_lost_attempt, lfirst(lc));

		if (edata != NULL)
			give_up(lfirst(lc), edata);
	}
}

typedef struct LostRun
{
	int64		run_id;
	bool		done;			/* or there is no use in trying again */
} LostRun;

static bool
finish_lost_run(void *arg)
{
	LostRun    *run = arg;

	run->done = runner_finish_run(run->run_id, false);
	return true;
}

static void
finish_or_say(LostRun *run)
{
	ErrorData  *edata = runner_try_briefly(finish_lost_run, run);

	if (edata == NULL)
		return;
	run->done = edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	ereport(run->done ? WARNING : LOG,
			(errmsg("could not end run " INT64_FORMAT ": %s", run->run_id, edata->message)));
}

/*
 * End runs whose last task has ended without their end: their worker, which
 * ends a run right after its last task, was gone in between.  False when one is
 * left for the next look.
 */
bool
runner_finish_lost_runs(void)
{
	uint64		n;
	LostRun    *runs;
	bool		all_done = true;

	n = pipeline_sql("SELECT run_id FROM pipeline.runs r WHERE state = 'running' AND NOT EXISTS"
					 " (SELECT FROM pipeline.task_runs t WHERE t.run_id = r.run_id AND NOT expanded"
					 "  AND t.state IN ('waiting', 'ready', 'running', 'up_for_retry'))", SPI_OK_SELECT);
	runs = palloc0_array(LostRun, n + 1);
	for (uint64 i = 0; i < n; i++)
		runs[i].run_id = pipeline_sql_int8(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		finish_or_say(&runs[i]);
		all_done = all_done && runs[i].done;
	}
	if (!all_done)
		runner_pass_over();
	return all_done;
}
