-- backfill(): runs for a stretch of time.
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.filled (n serial, task text, interval_start timestamptz, interval_end timestamptz, p text);
SELECT pipeline.create_pipeline('fill', '@daily', params => '{"p": "declared"}');
SELECT pipeline.create_task('fill', 'a', $$INSERT INTO alice.filled (task, interval_start, interval_end, p)
  VALUES ('a', pipeline.interval_start(), pipeline.interval_end(), pipeline.param('p'))$$);
SELECT pipeline.create_task('fill', 'b', $$INSERT INTO alice.filled (task, interval_start, interval_end, p)
  SELECT 'b', pipeline.interval_start(), pipeline.interval_end(), 1 / (pipeline.interval_start()::date - date '2024-03-02')$$, depends_on => '{a}');
SELECT pipeline.create_task('fill', 'c', $$INSERT INTO alice.filled (task, interval_start, interval_end) VALUES ('c', pipeline.interval_start(), pipeline.interval_end())$$, depends_on => '{b}');
-- Ends are whole intervals inside; nothing is made by looking.
SELECT * FROM pipeline.backfill('fill', '2024-03-01 00:00', '2024-03-04 12:00', dry_run => true);
SELECT * FROM pipeline.backfill('fill', '2024-03-01 00:01', '2024-03-02', dry_run => true);
SELECT count(*) FROM pipeline.runs WHERE pipeline = 'fill';
SELECT interval_start, interval_end, action, run_id IS NOT NULL AS made FROM pipeline.backfill('fill', '2024-03-01', '2024-03-04', params => '{"p": "given"}');
SELECT interval_start, pipeline.wait_for_run(run_id) AS state, run_type, params FROM pipeline.runs WHERE pipeline = 'fill' ORDER BY run_id;
SELECT task, interval_start, p FROM alice.filled ORDER BY n;
-- Runs that are there are left, or run again.
UPDATE alice.filled SET p = 'before';
SELECT interval_start, action FROM pipeline.backfill('fill', '2024-02-29', '2024-03-04');
SELECT pipeline.wait_for_run(max(run_id)) FROM pipeline.runs WHERE pipeline = 'fill';
SELECT run_type, count(DISTINCT backfill) FROM pipeline.runs WHERE pipeline = 'fill' GROUP BY 1;
SELECT pipeline.create_task('fill', 'b', 'SELECT 1', depends_on => '{a}', or_replace => true);
SELECT r.interval_start, b.action, pipeline.wait_for_run(r.run_id) AS before FROM pipeline.runs r, pipeline.backfill('fill', '2024-02-29', '2024-03-04', 'failed', dry_run => true) b WHERE b.run_id = r.run_id ORDER BY 1;
SELECT count(*) FROM pipeline.backfill('fill', '2024-02-29', '2024-03-04', 'failed', params => '{"p": "again"}');
SELECT interval_start, pipeline.wait_for_run(run_id) AS state, params FROM pipeline.runs WHERE pipeline = 'fill' ORDER BY interval_start;
TRUNCATE alice.filled;
SELECT interval_start, action FROM pipeline.backfill('fill', '2024-02-29', '2024-03-02', 'completed', '{c}', run_backwards => true);
SELECT interval_start, pipeline.wait_for_run(run_id) AS state FROM pipeline.runs WHERE pipeline = 'fill' ORDER BY interval_start;
SELECT task, interval_start FROM alice.filled ORDER BY n;
-- Some tasks only, of new runs, as if there were no others.
SELECT count(*) FROM pipeline.backfill('fill', '2024-04-01', '2024-04-03', tasks => '{a,c}', run_backwards => true);
SELECT r.interval_start, t.task, t.pending FROM pipeline.runs r JOIN pipeline.task_runs t USING (run_id) WHERE r.pipeline = 'fill' AND r.interval_start >= '2024-04-01' AND t.pending > 0;
SELECT interval_start, pipeline.wait_for_run(run_id) AS state FROM pipeline.runs WHERE pipeline = 'fill' AND interval_start >= '2024-04-01' ORDER BY run_id;
SELECT interval_start, array_agg(task ORDER BY task) FROM alice.filled WHERE interval_start >= '2024-04-01' GROUP BY 1 ORDER BY min(n);
-- One run over all.
SELECT interval_start, interval_end, action FROM pipeline.backfill('fill', '2024-05-01', '2024-06-01 10:00', merge_intervals => true);
SELECT interval_start, interval_end, action FROM pipeline.backfill('fill', '2024-05-01', '2024-06-01 10:00', merge_intervals => true);
-- What runs is left alone, and a pause holds.
SELECT pipeline.wait_for_run(max(run_id)) FROM pipeline.runs WHERE pipeline = 'fill';
SELECT pipeline.pause('fill', 'test');
SELECT interval_start, action FROM pipeline.backfill('fill', '2024-07-01', '2024-07-03');
SELECT interval_start, action FROM pipeline.backfill('fill', '2024-07-01', '2024-07-03', 'completed');
SELECT pipeline.cancel(run_id) FROM pipeline.runs WHERE pipeline = 'fill' AND state = 'queued';
SELECT interval_start, action FROM pipeline.backfill('fill', '2024-07-01', '2024-07-03', 'failed', dry_run => true);
-- Only what is complete by now; the schedule goes on as it was.
SELECT count(*), max(interval_end) <= now() AS complete FROM pipeline.backfill('fill', now() - interval '3 days', now() + interval '3 days', dry_run => true);
SELECT count(*) FROM pipeline.run_due('fill');
-- Its own number of runs at once, beside those of the pipeline.
SELECT pipeline.create_pipeline('fill at once', '@daily', max_active_runs => 1);
SELECT pipeline.create_task('fill at once', 'a', $x$DO $d$ BEGIN
  FOR i IN 1 .. 1000 LOOP
    IF (SELECT count(*) >= 3 OR bool_or(finished_at IS NOT NULL) FROM pipeline.runs WHERE pipeline = 'fill at once' AND started_at IS NOT NULL) THEN RETURN; END IF;
    PERFORM pg_sleep(0.01);
  END LOOP;
  RAISE 'not three at once'; END $d$ $x$);
SELECT count(*) FROM pipeline.backfill('fill at once', '2024-03-01', '2024-03-06', max_active_runs => 3);
SELECT pipeline.wait_for_run(run_id) FROM pipeline.runs WHERE pipeline = 'fill at once' ORDER BY run_id;
SELECT max(n) <= 3 AS never_more FROM (SELECT (SELECT count(*) FROM pipeline.runs o WHERE o.pipeline = r.pipeline AND o.started_at <= r.started_at AND o.finished_at > r.started_at) AS n
  FROM pipeline.runs r WHERE pipeline = 'fill at once') x;
-- Without a schedule the stretch is the interval.
SELECT pipeline.create_pipeline('fill by hand');
SELECT pipeline.create_task('fill by hand', 'a', 'SELECT pipeline.interval_start(), pipeline.interval_end()');
SELECT interval_start, interval_end, action FROM pipeline.backfill('fill by hand', '2024-01-01 10:00', '2024-02-02 11:00');
SELECT interval_start, interval_end, action FROM pipeline.backfill('fill by hand', '2024-01-01 10:00', '2024-02-02 11:00');
-- Errors.
SELECT pipeline.backfill(NULL, '2024-03-01', '2024-03-02');
SELECT pipeline.backfill('nothing', '2024-03-01', '2024-03-02');
SELECT pipeline.backfill('fill', '2024-03-02', '2024-03-02');
SELECT pipeline.backfill('fill', '-infinity', '2024-03-02');
SELECT pipeline.backfill('fill', '2024-03-01', '2024-03-02', 'all');
SELECT pipeline.backfill('fill', '2024-03-01', '2024-03-02', tasks => '{a,x}');
SELECT pipeline.backfill('fill', '2024-03-01', '2024-03-02', tasks => '{}');
SELECT pipeline.backfill('fill', '2024-03-01', '2024-03-02', params => '{"x": 1}');
SELECT pipeline.backfill('fill', '2024-03-01', '2024-03-02', max_active_runs => 0);
SELECT pipeline.create_pipeline('fill often', '* * * * *');
SELECT pipeline.backfill('fill often', '2024-01-01', '2024-03-02');
SELECT pipeline.create_task('fill often', 'a', 'SELECT 1');
SELECT interval_start, interval_end, action FROM pipeline.backfill('fill often', '2024-01-01 00:00:30', '2024-03-02', merge_intervals => true, dry_run => true);
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.backfill('fill', '2024-03-01', '2024-03-02');
-- Whoever may operate it may backfill it, as the owner.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.grant_pipeline('fill by hand', 'pipeline_bob', 'operate');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT action FROM pipeline.backfill('fill by hand', '2024-01-01', '2024-03-02');
SELECT DISTINCT owner, triggered_by FROM pipeline.runs WHERE pipeline = 'fill by hand' ORDER BY 2;
SET SESSION AUTHORIZATION pipeline_alice;
SELECT role, name, note, after - 'backfill' AS after FROM pipeline.changes WHERE action = 'backfill' AND name = 'fill' ORDER BY change_id LIMIT 3;
-- Against the plain way to say it, over schedules, zones and changes of clocks.
DO $$
DECLARE seed float8 := random(); expr text; zone text; f timestamptz; t timestamptz; wrong int;
BEGIN
  PERFORM setseed(seed);
  FOR i IN 1 .. 60 LOOP
    expr := (ARRAY['@hourly', '@daily', '30 2 * * *', '0 */7 * * *', '15 4 * * 1', '@weekly', '0 0,12 1-7 * 3'])[1 + floor(random() * 7)::int];
    zone := (ARRAY['UTC', 'Europe/Madrid', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata'])[1 + floor(random() * 5)::int];
    f := timestamptz '2023-01-01' + random() * interval '500 days';
    t := f + random() * interval '40 days';
    IF random() < 0.3 THEN f := pipeline.cron_next(expr, f, zone); t := pipeline.cron_next(expr, t, zone); END IF;
    CONTINUE WHEN f >= t;
    PERFORM pipeline.create_pipeline('fill often', expr, zone, or_replace => true);
    WITH plain AS (SELECT p AS interval_start, n AS interval_end FROM (SELECT n, lag(n) OVER (ORDER BY n) AS p
        FROM pipeline.cron_next(expr, f - interval '40 days', zone, 3000) n) x WHERE p >= f AND n <= t),
      ours AS (SELECT interval_start, interval_end FROM pipeline.backfill('fill often', f, t, dry_run => true))
    SELECT count(*) INTO wrong FROM ((TABLE plain EXCEPT ALL TABLE ours) UNION ALL (TABLE ours EXCEPT ALL TABLE plain)) d;
    IF wrong > 0 THEN RAISE '% wrong: % % from % to % (seed %)', wrong, expr, zone, f, t, seed; END IF;
  END LOOP;
END $$;
-- Aligned: each whole week once.
SELECT pipeline.create_pipeline('fill often', '0 4 * * *', 'Europe/Madrid', 'week', or_replace => true);
SET timezone = 'Europe/Madrid';
SELECT interval_start, interval_end, action FROM pipeline.backfill('fill often', '2024-03-18', '2024-04-08', dry_run => true);
RESET timezone;
SELECT pipeline.wait_for_run(run_id) IS NOT NULL AS ended, pipeline.cancel(run_id) FROM pipeline.runs WHERE state IN ('queued', 'running') AND pipeline = 'fill by hand';
SELECT pipeline.drop_pipeline(pipeline) FROM pipeline.pipelines WHERE pipeline LIKE 'fill%';
