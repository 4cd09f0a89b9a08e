/*
 * doctor.c
 *	  What doctor() looks for in the runner: why something might not run at
 *	  night.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

/* Findings of one kind that are listed. */
#define MOST 20
/* Workers that evaluate rules at once; see docs/alert_rule.md. */
#define RULE_WORKERS 4
/* A due time that is over by more than this has been missed. */
#define LATE_US (5 * USECS_PER_MINUTE)

static Oid
owner_of(uint64 row, int column)
{
	bool		isnull;

	return DatumGetObjectId(pipeline_sql_datum(row, column, &isnull));
}

/* ---- processes ------------------------------------------------------------------------ */

/* Databases with a scheduler, this one among them; *here: has it one? */
static int
databases(bool *here)
{
	int			n = 0;

	*here = false;
	if (runner_shared == NULL)
		return 1;
	LWLockAcquire(runner_shared->lock, LW_SHARED);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseSlot *slot = &runner_shared->databases[i];

		n += OidIsValid(slot->database) && slot->pid != 0;
		*here |= slot->database == MyDatabaseId && slot->pid != 0;
	}
	LWLockRelease(runner_shared->lock);
	return *here ? n : n + 1;
}

static void
look_at_processes(void)
{
	bool		here;
	int			n = databases(&here);
	int64		others;
	int			needed;

	if (runner_shared != NULL && !here && !RecoveryInProgress() && pipeline_identity_matches() &&
		pipeline_sql("SELECT 1 FROM pipeline.pipelines LIMIT 1", SPI_OK_SELECT) > 0)
		pipeline_finding(InvalidOid, "error", "scheduler_not_running",
						 "No scheduler runs in this database: no run begins.",
						 "The launcher starts one: see the server's log, and max_worker_processes.");
	pipeline_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type NOT LIKE 'pipeline%' AND backend_type NOT IN"
				 " ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer', 'checkpointer',"
				 "  'archiver', 'startup', 'walreceiver', 'walsender', 'walwriter', 'walsummarizer', 'slotsync worker',"
				 "  'io worker', 'logger', 'standalone backend', 'parallel worker')", SPI_OK_SELECT);
	others = pipeline_sql_int8(0, 1);
	needed = 1 + pipeline_max_workers + 2 * n + RULE_WORKERS + (int) others;
	if (max_worker_processes < needed)
		pipeline_finding(InvalidOid, "warning", "too_few_worker_processes",
						 psprintf("max_worker_processes is %d; a launcher, pipeline.max_workers (%d), a scheduler and a notifier in %d database(s), %d workers for rules and %lld of others need %d, and parallel queries take from it, too.",
								  max_worker_processes, pipeline_max_workers, n, RULE_WORKERS, (long long) others, needed),
						 psprintf("ALTER SYSTEM SET max_worker_processes = %d; then restart the server.", needed + 8));
}

/* ---- the clock ------------------------------------------------------------------------- */

static void
look_at_cron(void)
{
	const char *home = GetConfigOption("cron.database_name", true, false);
	const char *here = get_database_name(MyDatabaseId);

	if (pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE schedule IS NOT NULL AND NOT paused LIMIT 1", SPI_OK_SELECT) == 0)
		return;
	if (home == NULL)
		pipeline_finding(InvalidOid, "warning", "no_pg_cron",
						 "Pipelines have schedules, and pg_cron is not in shared_preload_libraries: another clock must call run_due().",
						 "Install pg_cron, add it to shared_preload_libraries and restart; then SELECT pipeline.enable_schedules();");
	else if (strcmp(home, here) != 0)
		pipeline_finding(InvalidOid, "info", "pg_cron_elsewhere",
						 psprintf("pg_cron lives in database \"%s\": whether a job there calls run_due() for this database cannot be seen from here.", home),
						 psprintf("There: SELECT cron.schedule_in_database('pipeline run_due %s', '* * * * *', 'SELECT pipeline.run_due()', %s);",
								  here, quote_literal_cstr(here)));
	else if (!OidIsValid(get_extension_oid("pg_cron", true)))
		pipeline_finding(InvalidOid, "error", "schedules_not_enabled",
						 "Pipelines have schedules, and the extension pg_cron is not installed in this database.",
						 "CREATE EXTENSION pg_cron; SELECT pipeline.enable_schedules();");
	else if (pipeline_sql_generated("SELECT 1 FROM cron.job WHERE active AND command ~ 'run_due' AND database = pg_catalog.current_database()",
									SPI_OK_SELECT, true) == 0)
		pipeline_finding(InvalidOid, "error", "schedules_not_enabled",
						 "Pipelines have schedules, and no job of pg_cron calls run_due() in this database.",
						 "SELECT pipeline.enable_schedules();");
	if (pipeline_sql("SELECT e.extversion FROM pg_extension e WHERE extname = 'pg_cron'"
					 " AND string_to_array(substring(extversion, '^[0-9]+[.][0-9]+'), '.')::int[] < '{1,5}'"
					 " AND EXISTS (SELECT FROM pipeline.pipelines WHERE schedule ~* 'second' AND NOT paused)", SPI_OK_SELECT) > 0)
		pipeline_finding(InvalidOid, "warning", "pg_cron_old",
						 psprintf("Pipelines have schedules in seconds, and pg_cron %s knows minutes only: their runs begin each minute.",
								  pipeline_sql_text(0, 1)),
						 "Install pg_cron 1.5 or later and SELECT pipeline.enable_schedules();");
}

typedef struct Clocked
{
	char	   *pipeline;
	char	   *schedule;
	char	   *timezone;
	Oid			owner;
	TimestampTz since;
} Clocked;

/* Due times that are over and have no run: whatever the clock is, it does not call. */
static void
look_at_due_times(void)
{
	TimestampTz late = GetCurrentTimestamp() - LATE_US;
	uint64		n = pipeline_sql("SELECT p.pipeline, p.schedule, p.timezone, p.owner::oid,"
								 "   greatest(p.scheduled_since, (SELECT max(r.queued_at) FROM pipeline.runs r"
								 "     WHERE r.pipeline = p.pipeline AND r.run_type = 'scheduled'))"
								 " FROM pipeline.pipelines p WHERE p.schedule IS NOT NULL AND NOT p.paused"
								 " AND EXISTS (SELECT FROM pipeline.tasks t WHERE t.pipeline = p.pipeline)"
								 " ORDER BY p.pipeline LIMIT 1000", SPI_OK_SELECT);
	Clocked    *list = palloc0_array(Clocked, n + 1);

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		list[i].pipeline = pipeline_sql_text(i, 1);
		list[i].schedule = pipeline_sql_text(i, 2);
		list[i].timezone = pipeline_sql_text(i, 3);
		list[i].owner = owner_of(i, 4);
		list[i].since = DatumGetTimestampTz(pipeline_sql_datum(i, 5, &isnull));
		if (isnull)
			list[i].since = DT_NOBEGIN;
	}
	for (uint64 i = 0; i < n; i++)
	{
		CronExpr	expr;
		TimestampTz due;

		runner_cron_parse(list[i].schedule, &expr);
		if (!runner_cron_last(&expr, pipeline_timezone(list[i].timezone), late, &due) || due <= list[i].since)
			continue;
		pipeline_finding(list[i].owner, "error", "schedule_overdue",
						 psprintf("Pipeline \"%s\" was due at %s and has no run: nothing calls run_due().",
								  list[i].pipeline, timestamptz_to_str(due)),
						 "SELECT pipeline.enable_schedules(); or see that your clock calls pipeline.run_due() each minute.");
	}
}

/* ---- pipelines ------------------------------------------------------------------------------ */

static void
look_at_pipelines(void)
{
	uint64		n = pipeline_sql("SELECT pipeline, owner::oid, paused_reason FROM pipeline.pipelines WHERE paused"
								 " ORDER BY pipeline LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));

	for (uint64 i = 0; i < n; i++)
	{
		char	   *name = pipeline_sql_text(i, 1);
		char	   *reason = pipeline_sql_text(i, 3);

		pipeline_finding(owner_of(i, 2), "warning", "pipeline_paused",
						 psprintf("Pipeline \"%s\" is paused%s%s.", name, reason ? ": " : "", reason ? reason : ""),
						 psprintf("When the reason is gone: SELECT pipeline.resume(%s);", quote_literal_cstr(name)));
	}
	n = pipeline_sql("SELECT t.pipeline, t.owner::oid, count(*)::text, date_trunc('second', clock_timestamp() - min(t.ready_at))::text"
					 " FROM pipeline.task_runs t JOIN pipeline.pipelines p USING (pipeline)"
					 " WHERE t.state = 'ready' AND NOT p.paused AND t.ready_at < clock_timestamp() - interval '1 hour'"
					 " GROUP BY t.pipeline, t.owner ORDER BY t.pipeline LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));
	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "error", "tasks_starve",
						 psprintf("%s tasks of pipeline \"%s\" are ready and wait for a worker, the longest for %s.",
								  pipeline_sql_text(i, 3), pipeline_sql_text(i, 1), pipeline_sql_text(i, 4)),
						 "See the view waiting; pipeline.max_workers, max_worker_processes and the slots of pools say how many may run.");
	n = pipeline_sql("SELECT l.pool, l.owner::oid FROM pipeline.pools l WHERE l.slots = 0"
					 " AND EXISTS (SELECT FROM pipeline.tasks t WHERE t.pool = l.pool) ORDER BY l.pool LIMIT $1", SPI_OK_SELECT,
					 sql_int4(MOST));
	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "warning", "pool_stopped",
						 psprintf("Pool \"%s\" has no slots: its tasks do not run.", pipeline_sql_text(i, 1)),
						 psprintf("SELECT pipeline.alter_pool(%s, '{\"slots\": 1}');", quote_literal_cstr(pipeline_sql_text(i, 1))));
}

static void
look_at_owners(void)
{
	uint64		n = pipeline_sql("SELECT DISTINCT owner::oid FROM pipeline.pipelines", SPI_OK_SELECT);
	Oid		   *owners = palloc_array(Oid, n + 1);

	for (uint64 i = 0; i < n; i++)
		owners[i] = owner_of(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *problem = pipeline_role_problem(owners[i], "tasks");

		if (problem != NULL)
			pipeline_finding(owners[i], "error", "owner_cannot_run",
							 psprintf("Tasks cannot run as the owner of their pipelines: %s.", problem),
							 "Give the role LOGIN and CONNECT, or the pipelines another owner, by run_as.");
	}
}

static void
look_at_history(void)
{
	if (pipeline_history_days == 0 && pipeline_history_runs == 0 &&
		pipeline_sql("SELECT reltuples::bigint::text FROM pg_class WHERE oid = 'pipeline.runs'::regclass AND reltuples > 100000", SPI_OK_SELECT) > 0)
		pipeline_finding(InvalidOid, "info", "history_unbounded",
						 psprintf("About %s runs are kept, and all that come.", pipeline_sql_text(0, 1)),
						 "ALTER SYSTEM SET pipeline.history_days = 90; SELECT pg_reload_conf();");
}

/* What the runner looks for. */
void
runner_look(void)
{
	look_at_processes();
	look_at_cron();
	look_at_due_times();
	look_at_pipelines();
	look_at_owners();
	look_at_history();
}
