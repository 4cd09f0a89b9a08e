-- clear() and mark(): what a person does to a run.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.repair_log (n int GENERATED ALWAYS AS IDENTITY, line text);
CREATE TABLE alice.repair_switch (task text PRIMARY KEY);
CREATE FUNCTION alice.repair(task text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM alice.repair_switch s WHERE s.task = repair.task) THEN
    RAISE EXCEPTION '% is switched off', task;
  END IF;
  INSERT INTO alice.repair_log (line) VALUES (task);
  RETURN 1;
END $$;
CREATE VIEW alice.repair_states AS
SELECT (SELECT state FROM pipeline.runs WHERE run_id = t.run_id) AS run, string_agg(task || ':' || state, ' ' ORDER BY task) AS tasks
FROM pipeline.task_runs t WHERE pipeline = 'repair' AND run_id = (SELECT max(run_id) FROM pipeline.runs WHERE pipeline = 'repair') GROUP BY run_id;
-- a -> b -> d, a -> c -> d -> e
SELECT pipeline.create_pipeline('repair');
SELECT pipeline.create_task('repair', t, format('SELECT alice.repair(%L)', t), d)
FROM (VALUES ('a', '{}'::text[]), ('b', '{a}'), ('c', '{a}'), ('d', '{b,c}'), ('e', '{d}')) v(t, d);
INSERT INTO alice.repair_switch VALUES ('b');
SELECT pipeline.run('repair') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
-- Marked as succeeded, what it held back goes on.
SELECT pipeline.mark(:run, 'b', 'succeeded', 'loaded by hand');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
SELECT line FROM alice.repair_log ORDER BY n;
SELECT alertname, state FROM pipeline.alerts WHERE labels->>'pipeline' = 'repair' ORDER BY alert_id;
-- Cleared, it runs again, and everything after it.
DELETE FROM alice.repair_switch;
TRUNCATE alice.repair_log;
SELECT pipeline.clear(:run, 'b', note => 'again');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT string_agg(line, ' ' ORDER BY n) FROM alice.repair_log;
TRUNCATE alice.repair_log;
SELECT pipeline.clear(:run, 'c', downstream => false);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT string_agg(line, ' ' ORDER BY n) FROM alice.repair_log;
SELECT * FROM alice.repair_states;
-- Only what failed: nothing here; and with the current definition.
SELECT pipeline.clear(:run, 'a', only_failed => true);
SELECT * FROM alice.repair_states;
SELECT pipeline.create_task('repair', 'e', $$SELECT alice.repair('e anew')$$, '{d}', or_replace => true);
TRUNCATE alice.repair_log;
SELECT pipeline.clear(:run, 'd');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT string_agg(line, ' ' ORDER BY n) FROM alice.repair_log;
SELECT task, attempts FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
-- A task cleared under a failed predecessor is held back again, at once.
INSERT INTO alice.repair_switch VALUES ('a');
SELECT pipeline.clear(:run, 'a', downstream => false);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
SELECT pipeline.clear(:run, 'b', downstream => false);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
-- Marked as skipped, its followers are skipped; as failed, held back.
SELECT pipeline.mark(:run, 'a', 'skipped');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
SELECT pipeline.mark(:run, 'd', 'failed', 'known to be wrong');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
SELECT pipeline.mark(:run, 'd', 'succeeded');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.repair_states;
-- While it runs: a waiting task can be marked; a running one cannot.
SELECT pipeline.create_pipeline('repair running');
SELECT pipeline.create_task('repair running', 'slow', 'SELECT pg_advisory_xact_lock(4712)');
SELECT pipeline.create_task('repair running', 'next', 'SELECT 1', '{slow}');
SELECT pipeline.create_task('repair running', 'last', 'SELECT 1', '{next}');
SELECT pg_advisory_lock(4712) IS NULL AS locked;
SELECT pipeline.run('repair running') AS run2 \gset
DO $$ BEGIN
  FOR i IN 1..3000 LOOP
    EXIT WHEN EXISTS (SELECT FROM pipeline.task_runs WHERE pipeline = 'repair running' AND state = 'running');
    COMMIT;
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT public.raises(format('SELECT pipeline.mark(%s, %L, %L)', :run2, 'slow', 'succeeded'));
SELECT public.raises(format('SELECT pipeline.clear(%s, %L)', :run2, 'slow'));
SELECT pipeline.mark(:run2, 'next', 'succeeded');
SELECT pg_advisory_unlock(4712);
SELECT pipeline.wait_for_run(:run2, '30 s');
SELECT task, state, attempts FROM pipeline.task_runs WHERE run_id = :run2 ORDER BY task;
-- A cancelled run stays cancelled while a task of it is.
SELECT pg_advisory_lock(4712) IS NULL AS locked;
SELECT pipeline.run('repair running') AS run2 \gset
SELECT pipeline.cancel(:run2);
SELECT pg_advisory_unlock(4712);
SELECT pipeline.wait_for_run(:run2, '30 s');
SELECT pipeline.mark(:run2, 'last', 'succeeded');
SELECT state FROM pipeline.runs WHERE run_id = :run2;
SELECT pipeline.clear(:run2, 'slow');
SELECT pipeline.wait_for_run(:run2, '30 s');
-- Bad calls.
SELECT public.raises(format('SELECT pipeline.mark(%s, %L, %L)', :run, 'x', 'succeeded'));
SELECT public.raises(format('SELECT pipeline.mark(%s, %L, %L)', :run, 'a', 'done'));
SELECT public.raises(format('SELECT pipeline.clear(%s, %L)', :run, 'x'));
SELECT public.raises(format('SELECT pipeline.clear(%s, %L, map_key => %L)', :run, 'a', 'k'));
SELECT public.raises('SELECT pipeline.clear(NULL, NULL)');
SELECT public.raises('SELECT pipeline.mark(-1, ''a'', ''failed'')');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT public.raises(format('SELECT pipeline.mark(%s, %L, %L)', :run, 'a', 'succeeded'));
SELECT public.raises(format('SELECT pipeline.clear(%s, %L)', :run, 'a'));
SET SESSION AUTHORIZATION pipeline_alice;
SELECT action, after, note FROM pipeline.changes WHERE kind = 'run' AND name LIKE 'repair %' AND action IN ('mark', 'clear') ORDER BY change_id;
SELECT pipeline.drop_pipeline(pipeline) FROM pipeline.pipelines WHERE pipeline LIKE 'repair%';
