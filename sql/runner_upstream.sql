-- One failure, one alert that is told: what it holds back is muted.
SET timezone = 'UTC';
-- Then it looks each second.
ALTER SYSTEM SET pipeline.slow_task_minimum = '1s';
SELECT pg_reload_conf();
SET SESSION AUTHORIZATION pipeline_alice;
CREATE VIEW alice.upstream AS
SELECT a.alertname, a.source, a.labels - 'alertname' - 'severity' AS labels, s.name AS muted_by, b.alertname || ' ' || b.source AS while_open
FROM pipeline.firing_alerts a LEFT JOIN pipeline.suppressed_alerts s USING (alert_id) LEFT JOIN pipeline.alerts b ON b.alert_id = s.by_alert
WHERE a.source ~ '^up' ORDER BY a.source, a.alertname, s.name;
-- Late, because of one task that is late: those after it, and those after them.
SELECT pipeline.create_pipeline('up late');
RESET SESSION AUTHORIZATION;
SELECT pg_advisory_lock(4713);
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_task('up late', 'a', 'SELECT pg_advisory_xact_lock(4713)', deadline => '10 ms');
SELECT pipeline.create_task('up late', 'b', 'SELECT 1', '{a}', deadline => '10 ms'), pipeline.create_task('up late', 'c', 'SELECT 1', '{b}', deadline => '10 ms');
SELECT pipeline.create_task('up late', 'alone', 'SELECT pg_advisory_xact_lock(4713)', deadline => '10 ms');
SELECT pipeline.run('up late') AS run \gset
CALL public.wait_until('SELECT count(DISTINCT source) = 4 FROM alice.upstream');
SELECT * FROM alice.upstream;
SELECT pipeline.cancel(:run);
CALL public.wait_until(format('SELECT state = ''cancelled'' FROM pipeline.runs WHERE run_id = %s', :run));
SELECT pipeline.drop_pipeline('up late');
SELECT count(*) FROM alice.upstream;
RESET SESSION AUTHORIZATION;
SELECT pg_advisory_unlock(4713);
-- A pipeline fails: its dataset grows stale, and those of the pipelines that wait for it.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT count(pipeline.create_dataset('up ' || i)) FROM generate_series(1, 4) i;
SELECT pipeline.create_pipeline('up one'), pipeline.create_pipeline('up two', on_datasets => '{up 1}'), pipeline.create_pipeline('up three', on_datasets => '{up 2}');
SELECT pipeline.create_task('up one', 'a', $$SELECT pipeline.publish('up 1')$$), pipeline.create_task('up two', 'a', $$SELECT pipeline.publish('up 2')$$),
  pipeline.create_task('up three', 'a', $$SELECT pipeline.publish('up 3')$$), pipeline.create_task('up one', 'b', 'SELECT 1', '{a}');
SELECT pipeline.run('up one') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
CALL public.wait_until('SELECT count(*) = 3 FROM pipeline.dataset_events WHERE dataset ~ ''^up''');
SELECT pipeline.publish('up 4') > 0 AS published;
SELECT pipeline.alter_task('up one', 'a', '{"command": "SELECT 1 / 0"}');
SELECT pipeline.run('up one') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT count(pipeline.alter_dataset('up ' || i, '{"stale_after": "10 ms"}')) FROM generate_series(1, 4) i;
CALL public.wait_until('SELECT count(DISTINCT (source, alertname)) = 6 FROM alice.upstream');
SELECT * FROM alice.upstream;
SELECT count(pipeline.drop_pipeline('up ' || p)) FROM unnest('{one,two,three}'::text[]) p;
SELECT count(pipeline.drop_dataset('up ' || i)) FROM generate_series(1, 4) i;
SELECT count(*) FROM alice.upstream;
DROP VIEW alice.upstream;
RESET SESSION AUTHORIZATION;
ALTER SYSTEM RESET pipeline.slow_task_minimum;
SELECT pg_reload_conf();
