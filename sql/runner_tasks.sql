-- What tasks, users and definitions may do at the edges.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.edge_log (n int);
CREATE FUNCTION alice.edge(pipeline text) RETURNS TABLE (task text, attempt int, state text, sqlstate text, error text, length int, result jsonb)
LANGUAGE sql AS $$
  SELECT task, attempt, state, sqlstate, left(error, 40), length(error), result FROM pipeline.attempts
  WHERE run_id = (SELECT max(run_id) FROM pipeline.runs r WHERE r.pipeline = edge.pipeline) ORDER BY task, attempt
$$;
-- A procedure that commits in a loop and fails: an error, not a lost worker.
SELECT pipeline.create_pipeline('edge');
SELECT pipeline.create_task('edge', 'held', $$DO $do$DECLARE r record; BEGIN
  FOR r IN SELECT n FROM generate_series(1, 100) n LOOP
    INSERT INTO alice.edge_log VALUES (r.n); COMMIT;
    IF r.n = 20 THEN RAISE 'boom'; END IF;
  END LOOP; END$do$ $$, mode => 'autocommit');
-- Errors and notices of any size; JSON that jsonb cannot hold.
SELECT pipeline.create_task('edge', 'huge error', $$DO $do$BEGIN RAISE '%', repeat('x', 300000000); END$do$ $$);
SELECT pipeline.create_task('edge', 'huge notices', $$DO $do$BEGIN FOR i IN 1..3 LOOP RAISE NOTICE '%', repeat('x', 1000000); END LOOP; END$do$ $$);
SELECT pipeline.create_task('edge', 'json', $$SELECT '"\u0000"'::json AS nul$$);
SELECT pipeline.create_task('edge', 'huge row', $$SELECT repeat(chr(1), 180000000) AS a, true AS success$$);
SELECT pipeline.create_task('edge', 'huge record', $$SELECT ROW(repeat(chr(1), 180000000))$$);
-- What a task leaves behind does not reach the next, nor the bookkeeping.
SELECT pipeline.create_task('edge', 'leave', $$SET lock_timeout = '1ms'; SET default_transaction_read_only = on; SELECT 1$$);
SELECT pipeline.create_task('edge', 'isolation', $$SELECT current_setting('transaction_isolation') AS isolation$$, mode => 'autocommit');
SELECT pipeline.run('edge') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.edge('edge');
SELECT max(n) FROM alice.edge_log;
SELECT max(length(n)) FROM pipeline.attempts a, unnest(a.notices) n WHERE run_id = :run;
-- The isolation level of its transaction is not an atomic task's to set.
SELECT pipeline.create_task('edge', 'set', 'SET transaction_isolation = ''serializable''; SELECT 1');
SELECT pipeline.create_task('edge', 'set', 'SET LOCAL "TRANSACTION_ISOLATION" TO DEFAULT; SELECT 1');
-- A cancel that is rolled back to a savepoint did not happen.
SELECT pipeline.create_pipeline('edge sleep');
SELECT pipeline.create_task('edge sleep', 'a', 'SELECT pg_sleep(0.7)');
SELECT pipeline.run('edge sleep') AS run \gset
DO $$BEGIN WHILE NOT EXISTS (SELECT FROM pipeline.attempts a JOIN pipeline.runs USING (run_id) WHERE pipeline = 'edge sleep') LOOP PERFORM pg_sleep(0.01); END LOOP; END$$;
BEGIN;
SAVEPOINT s;
SELECT pipeline.cancel(:run);
ROLLBACK TO s;
COMMIT;
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.edge('edge sleep');
-- Labels are those of the alerts.
SELECT pipeline.create_pipeline('edge labels', labels => '{"team": {"name": "x"}}');
SELECT pipeline.create_pipeline('edge labels', labels => '{"no label": "x"}');
SELECT pipeline.create_task('edge', 'labels', 'SELECT 1', labels => '{"n": 1}');
SELECT pipeline.create_task('edge', 'labels', 'SELECT 1', labels => '[]');
-- Many paths lead from one task to another; a cycle is found nevertheless.
SELECT pipeline.create_pipeline('edge layers');
DO $$BEGIN
  FOR l IN 1..14 LOOP FOR i IN 1..6 LOOP
    PERFORM pipeline.create_task('edge layers', format('t%s_%s', l, i), 'SELECT 1',
      CASE WHEN l > 1 THEN ARRAY(SELECT format('t%s_%s', l - 1, j) FROM generate_series(1, 6) j) ELSE '{}' END);
  END LOOP; END LOOP;
END$$;
SELECT pipeline.create_task('edge layers', 't1_1', 'SELECT 1', '{t4_2}', or_replace => true);
SELECT pipeline.create_task('edge layers', 't1_1', 'SELECT 1', '{t1_1}', or_replace => true);
SELECT pipeline.create_task('edge layers', 't1_1', 'SELECT 1', or_replace => true);
-- A schedule that fits a day in many years still has a last interval.
SELECT pipeline.create_pipeline('edge leap', '0 0 */28 2 */7');
SELECT pipeline.create_task('edge leap', 'a', 'SELECT 1');
SELECT pipeline.run('edge leap') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
-- Who replaces a definition does not become its owner, unless run_as says so.
RESET SESSION AUTHORIZATION;
GRANT pipeline_alice TO pipeline_bob;
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.create_pipeline('edge sleep', description => 'by bob', or_replace => true);
SELECT pipeline, owner, description FROM pipeline.pipelines WHERE pipeline = 'edge sleep';
SELECT pipeline.create_pipeline('edge sleep', run_as => 'pipeline_bob', or_replace => true);
SELECT pipeline, owner, description FROM pipeline.pipelines WHERE pipeline = 'edge sleep';
SELECT pipeline.create_pipeline('edge sleep', run_as => 'pipeline_alice', or_replace => true);
RESET SESSION AUTHORIZATION;
REVOKE pipeline_alice FROM pipeline_bob;
-- The number of somebody's run tells nothing about it.
SET SESSION AUTHORIZATION pipeline_bob;
SELECT set_config('edge.run', :'run', false) IS NOT NULL AS set;
DO $$
DECLARE
  call text;
  said text;
BEGIN
  FOREACH call IN ARRAY '{cancel,retry,wait_for_run}'::text[] LOOP
    BEGIN
      EXECUTE format('SELECT pipeline.%I(%s)', call, current_setting('edge.run'));
    EXCEPTION WHEN insufficient_privilege THEN
      GET STACKED DIAGNOSTICS said = MESSAGE_TEXT;
      RAISE NOTICE '%: %', call, replace(said, current_setting('edge.run'), 'N');
    END;
  END LOOP;
END
$$;
SET SESSION AUTHORIZATION pipeline_alice;
-- What is dropped alerts nobody any more.
SELECT alertname, source FROM pipeline.firing_alerts WHERE source LIKE 'edge%' ORDER BY 1, 2;
SELECT pipeline.drop_task('edge', 'held');
SELECT alertname, source FROM pipeline.firing_alerts WHERE source LIKE 'edge%' ORDER BY 1, 2;
SELECT count(pipeline.drop_pipeline(pipeline)) FROM pipeline.pipelines WHERE pipeline LIKE 'edge%';
SELECT count(*) FROM pipeline.firing_alerts WHERE source LIKE 'edge%';
DROP FUNCTION alice.edge;
DROP TABLE alice.edge_log;
RESET SESSION AUTHORIZATION;
