-- What is due, the intervals that it gets, and the pg_cron job.
SET TimeZone = 'UTC';
SET SESSION AUTHORIZATION pipeline_alice;
CREATE FUNCTION alice.make(name text, schedule text, catchup text, align text DEFAULT NULL, tz text DEFAULT 'UTC') RETURNS void
LANGUAGE sql AS $$
  SELECT pipeline.create_pipeline(name, schedule, tz, align, catchup => catchup, max_active_runs => 100);
  SELECT pipeline.create_task(name, 'a', 'SELECT pipeline.interval_start(), pipeline.interval_end()');
$$;
-- Due each day at the hour that was twelve hours ago, in UTC.
SELECT format('0 %s * * *', extract(hour FROM now() - interval '12 hours')) AS daily \gset
SELECT alice.make('sched all', :'daily', 'all');
SELECT alice.make('sched last', :'daily', 'last');
SELECT alice.make('sched none', :'daily', 'none');
SELECT alice.make('sched now', '* * * * *', 'none');
SELECT alice.make('sched week', :'daily', 'last', 'week', 'America/New_York');
SELECT alice.make('sched month', :'daily', 'all', 'month');
SELECT alice.make('sched paused', :'daily', 'all');
SELECT pipeline.create_pipeline('sched empty', :'daily');
-- What was due before they were created is not (a minute may have passed).
SELECT count(*) FROM pipeline.run_due() d JOIN pipeline.runs r ON r.run_id = d WHERE r.pipeline <> 'sched now';
RESET SESSION AUTHORIZATION;
UPDATE pipeline.pipelines SET scheduled_since = date_trunc('hour', now()) - interval '12 hours' - interval '3 days 1 minute'
WHERE pipeline LIKE 'sched %' AND pipeline <> 'sched now';
UPDATE pipeline.pipelines SET scheduled_since = now() - interval '10 minutes' WHERE pipeline = 'sched now';
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.pause('sched paused', 'test');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT count(*) FROM pipeline.run_due();
SET SESSION AUTHORIZATION pipeline_alice;
SELECT count(*) > 0 AS made FROM pipeline.run_due();
SELECT pipeline, count(*) AS runs FROM pipeline.runs WHERE pipeline LIKE 'sched %' AND pipeline NOT IN ('sched month', 'sched now') GROUP BY 1 ORDER BY 1;
SELECT count(*) BETWEEN 1 AND 2 AS latest_only FROM pipeline.runs WHERE pipeline = 'sched now';
-- Again: nothing is due (but what is due each minute may be).
SELECT count(*) FROM pipeline.run_due('sched all') a, pipeline.run_due('sched last') b, pipeline.run_due('sched week') c;
SELECT count(*) FROM pipeline.run_due('sched month');
-- The intervals: from due time to due time, without gaps.
SELECT bool_and(interval_end = interval_start + interval '1 day') AS a_day,
       bool_and(interval_start = before OR before IS NULL) AS no_gap,
       max(interval_end) = date_trunc('hour', now() - interval '12 hours') AS the_last
FROM (SELECT *, lag(interval_end) OVER (ORDER BY interval_end) AS before FROM pipeline.runs WHERE pipeline = 'sched all') r;
-- Whole weeks, Monday to Monday on the pipeline's own clock.
SELECT (interval_end AT TIME ZONE 'America/New_York') - (interval_start AT TIME ZONE 'America/New_York') AS length,
       to_char(interval_start AT TIME ZONE 'America/New_York', 'Dy HH24:MI') AS starts,
       interval_end <= date_trunc('hour', now() - interval '12 hours') AS complete
FROM pipeline.runs WHERE pipeline = 'sched week';
SELECT bool_and(extract(day FROM interval_start) = 1 AND interval_end = interval_start + interval '1 month') AS months
FROM pipeline.runs WHERE pipeline = 'sched month';
-- The tasks see it.
SELECT pipeline.wait_for_run(run_id, '30 s') FROM pipeline.runs WHERE pipeline = 'sched all';
SELECT bool_and((t.result->>'interval_start')::timestamptz = r.interval_start AND (t.result->>'interval_end')::timestamptz = r.interval_end) AS same
FROM pipeline.task_status t JOIN pipeline.runs r USING (run_id) WHERE r.pipeline = 'sched all';
-- A manual run gets the last complete interval.
SELECT pipeline.run('sched last') AS run \gset
SELECT r.interval_start = m.interval_start AND r.interval_end = m.interval_end AS same, m.run_type
FROM pipeline.runs r, pipeline.runs m WHERE r.pipeline = 'sched last' AND r.run_type = 'scheduled' AND m.run_id = :run;
-- Resumed, what was missed is due.
SELECT pipeline.resume('sched paused');
SELECT count(*) FROM pipeline.run_due('sched paused');
-- The job: for administrators, made once, dropped once.
\set SHOW_CONTEXT never
SELECT pipeline.enable_schedules();
SELECT pipeline.drop_schedules();
RESET SESSION AUTHORIZATION;
DROP EXTENSION IF EXISTS pg_cron;
SELECT pipeline.enable_schedules();
CREATE EXTENSION pg_cron;
SELECT pipeline.enable_schedules() AS job \gset
SELECT pipeline.enable_schedules() = :job AS same;
SELECT schedule, command, database = current_database() AS here, username, jobname LIKE 'pipeline run_due %' AS named FROM cron.job;
-- Schedules in seconds: the job ticks as often as pg_cron can (this one says what it thinks of it).
SELECT pipeline.create_pipeline('sched 45', '45 seconds', run_as => 'pipeline_alice');
SELECT pipeline.create_pipeline('sched 30', '30 seconds', run_as => 'pipeline_alice');
SELECT job = (SELECT jobname FROM cron.job) AS same, schedule FROM pipeline.schedule_job();
SELECT pipeline.enable_schedules() = :job AS same;
UPDATE pg_extension SET extversion = '1.6' WHERE extname = 'pg_cron';
SELECT schedule FROM pipeline.schedule_job();
UPDATE pg_extension SET extversion = '1.4-1' WHERE extname = 'pg_cron';
SELECT pipeline.create_task('sched 30', 'a', 'SELECT 1');
UPDATE pipeline.pipelines SET scheduled_since = now() - interval '10 minutes' WHERE pipeline = 'sched 30';
SELECT pipeline.run_due('sched 30') AS run \gset
SELECT interval_end - interval_start AS length, extract(second FROM interval_end)::int % 30 AS rest, now() - interval_end < interval '30 s' AS last
FROM pipeline.runs WHERE run_id = :run;
SELECT pipeline.drop_schedules();
SELECT pipeline.drop_schedules();
SELECT count(*) FROM cron.job;
DROP EXTENSION pg_cron;
SET SESSION AUTHORIZATION pipeline_alice;
SELECT count(pipeline.wait_for_run(run_id, '30 s')) >= 0 AS ended FROM pipeline.runs WHERE pipeline LIKE 'sched %' AND state IN ('queued', 'running');
SELECT count(pipeline.drop_pipeline(pipeline)) FROM pipeline.pipelines WHERE pipeline LIKE 'sched %';
