-- foreach: a task that runs once for each row of a query.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.map_shop (code text, rows int, ok boolean);
INSERT INTO alice.map_shop VALUES ('ES', 3, true), ('AR', 5, true), ('pt "x" ñ', 0, true);
CREATE TABLE alice.map_log (n int GENERATED ALWAYS AS IDENTITY, line text);
CREATE FUNCTION alice.map_load(code text, rows int) RETURNS TABLE (shop text, loaded int) LANGUAGE plpgsql AS $$
BEGIN
  IF NOT (SELECT ok FROM alice.map_shop s WHERE s.code = map_load.code) THEN RAISE EXCEPTION 'shop % is closed', code; END IF;
  INSERT INTO alice.map_log (line) VALUES (code);
  RETURN QUERY SELECT code, rows;
END $$;
SELECT pipeline.create_pipeline('map', labels => '{"team": "shops"}');
SELECT pipeline.create_task('map', 'load', 'SELECT * FROM alice.map_load(pipeline.item(''code''), pipeline.item(''rows'')::int)',
  foreach => 'SELECT code, rows FROM alice.map_shop ORDER BY code', map_key => 'code', retries => 1, retry_delay => '0');
SELECT pipeline.create_task('map', 'sum', $$SELECT pipeline.task_result('load') AS counts, pipeline.task_result('load', 'AR') AS ar,
  (SELECT sum((result ->> 'loaded')::int) FROM pipeline.mapped_results('load')) AS total$$, '{load}');
SELECT pipeline.run('map') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, mapped_task, map_key, attempts, result FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT task, state, mapped, waiting, running, succeeded, failed, cancelled, min_success, failed_keys FROM pipeline.mapped_status WHERE run_id = :run;
SELECT task, attempt, state, result FROM pipeline.attempts WHERE run_id = :run ORDER BY task, attempt;
SELECT tasks, succeeded, failed FROM pipeline.run_status WHERE run_id = :run;
-- One fails, in spite of its retry: below min_success the task fails, with one alert.
UPDATE alice.map_shop SET ok = false WHERE code = 'ES';
SELECT pipeline.run('map') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT alertname, severity, summary, labels FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' = 'map' AND alertname <> 'RunFailed' ORDER BY 1;
-- retry() repeats that one only, not foreach and not the others.
TRUNCATE alice.map_log;
UPDATE alice.map_shop SET ok = true;
INSERT INTO alice.map_shop VALUES ('FR', 1, true);
SELECT pipeline.retry(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT line FROM alice.map_log ORDER BY line;
SELECT task, state, attempts FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT count(*) FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' = 'map';
-- clear() of one key; of the task: foreach is asked again, and a key that is gone counts no more.
TRUNCATE alice.map_log;
SELECT pipeline.clear(:run, 'load', map_key => 'AR');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT line FROM alice.map_log ORDER BY line;
DELETE FROM alice.map_shop WHERE code = 'ES';
SELECT pipeline.clear(:run, 'load');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT line FROM alice.map_log ORDER BY line COLLATE "C";
SELECT task, state, attempts FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT result -> 'counts' AS counts FROM pipeline.task_status WHERE run_id = :run AND task = 'sum';
SELECT public.raises(format('SELECT pipeline.clear(%s, %L, map_key => %L)', :run, 'load', 'nobody'));
SELECT public.raises(format('SELECT pipeline.mark(%s, %L, %L)', :run, 'load[AR]', 'failed'));
-- While min_success holds, one warning names the keys.
SELECT pipeline.create_task('map', 'load', 'SELECT * FROM alice.map_load(pipeline.item(''code''), pipeline.item(''rows'')::int)',
  foreach => 'alice.map_shop', map_key => 'code', min_success => 0.6, or_replace => true);
UPDATE alice.map_shop SET ok = false WHERE code = 'FR';
SELECT pipeline.run('map') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, error FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT degraded FROM pipeline.runs WHERE run_id = :run;
SELECT alertname, severity, summary FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' = 'map';
UPDATE alice.map_shop SET ok = true;
SELECT pipeline.run('map') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT count(*) FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' = 'map';
-- No rows: skipped.  No condition: skipped before foreach is asked.
SELECT pipeline.create_pipeline('map none');
SELECT pipeline.create_task('map none', 'none', 'SELECT 1', foreach => 'SELECT 1 AS k WHERE false', map_key => 'k');
SELECT pipeline.create_task('map none', 'condition', 'SELECT 1', foreach => 'SELECT 1/0 AS k', map_key => 'k', condition => 'false');
SELECT pipeline.create_task('map none', 'after', 'SELECT 1', '{none}');
SELECT pipeline.run('map none') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
-- What foreach may not return; errors of its own; the pool of names.
SELECT pipeline.create_pipeline('map bad');
SELECT pipeline.create_task('map bad', 'null', 'SELECT 1', foreach => 'SELECT NULL::int AS k', map_key => 'k');
SELECT pipeline.create_task('map bad', 'twice', 'SELECT 1', foreach => 'VALUES (1), (2), (1)', map_key => 'column1');
SELECT pipeline.create_task('map bad', 'column', 'SELECT 1', foreach => 'SELECT 1 AS k', map_key => 'other');
SELECT pipeline.create_task('map bad', 'error', 'SELECT 1', foreach => 'SELECT 1/0 AS k', map_key => 'k');
SELECT pipeline.create_task('map bad', 'long', 'SELECT 1', foreach => 'SELECT repeat(''x'', 300) AS k', map_key => 'k');
SELECT pipeline.create_task('map bad', 'item', 'SELECT pipeline.item(''nothing'')', foreach => 'SELECT 1 AS k', map_key => 'k');
SELECT pipeline.create_task('map bad', 'not mapped', 'SELECT pipeline.item(''k'')');
SELECT pipeline.create_task('map bad', 'writes', 'SELECT 1', foreach => 'WITH w AS (INSERT INTO alice.map_log (line) VALUES (''w'') RETURNING n) SELECT n AS k FROM w', map_key => 'k');
SELECT pipeline.run('map bad') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, left(error, 90) AS error FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
SELECT pipeline.create_task('map bad', 'x', 'SELECT 1', foreach => 'DELETE FROM alice.map_log', map_key => 'k');
SELECT pipeline.create_task('map bad', 'x', 'SELECT 1', foreach => 'SELECT 1; SELECT 2', map_key => 'k');
SELECT pipeline.create_task('map bad', 'x', 'SELECT 1', map_key => 'k');
SELECT pipeline.create_task('map bad', 'x', 'SELECT 1', foreach => 'SELECT 1 AS k', map_key => 'k', max_active_mapped => 0);
SELECT pipeline.create_task('map bad', 'x', 'SELECT 1', foreach => 'SELECT 1 AS k', map_key => 'k', min_success => 'NaN');
SELECT pipeline.create_task('map bad', 'x[1]', 'SELECT 1');
-- Many, two at once; autocommit; each once.
TRUNCATE alice.map_log;
CREATE FUNCTION alice.map_two() RETURNS int LANGUAGE plpgsql AS $$
DECLARE now_running int := (SELECT count(*) FROM pipeline.task_runs WHERE run_id = pipeline.run_id() AND mapped_task IS NOT NULL AND state = 'running');
BEGIN
  IF now_running > 2 THEN RAISE EXCEPTION '% at once', now_running; END IF;
  INSERT INTO alice.map_log (line) VALUES (pipeline.item('n'));
  RETURN now_running;
END $$;
SELECT pipeline.create_pipeline('map many');
SELECT pipeline.create_task('map many', 'two', 'SELECT alice.map_two()', mode => 'autocommit',
  foreach => 'SELECT n FROM generate_series(1, 200) n', map_key => 'n', max_active_mapped => 2);
SELECT pipeline.run('map many') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT state, mapped, succeeded FROM pipeline.mapped_status WHERE run_id = :run;
SELECT count(*), count(DISTINCT line) FROM alice.map_log;
-- A run is cancelled while some run and some wait.
SELECT pipeline.create_task('map many', 'two', 'SELECT pg_sleep(600)',
  foreach => 'SELECT n FROM generate_series(1, 5) n', map_key => 'n', max_active_mapped => 2, or_replace => true);
SELECT pipeline.create_task('map many', 'after', 'SELECT 1', '{two}', trigger_rule => 'all_done');
SELECT pipeline.run('map many') AS run \gset
CALL public.wait_until(format('SELECT count(*) = 2 FROM pipeline.attempts WHERE run_id = %s AND state = ''running''', :run));
SELECT task, why FROM pipeline.waiting WHERE run_id = :run AND task LIKE 'two[%' ORDER BY task LIMIT 1;
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT state, count(*) FROM pipeline.task_runs WHERE run_id = :run GROUP BY state;
SELECT state, mapped, running, cancelled FROM pipeline.mapped_status WHERE run_id = :run;
-- Dropping leaves nothing behind.
SELECT pipeline.drop_pipeline(p) FROM unnest('{map,map none,map bad,map many}'::text[]) p;
SELECT count(*) FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' LIKE 'map%';
DROP TABLE alice.map_shop, alice.map_log;
DROP FUNCTION alice.map_load, alice.map_two;
