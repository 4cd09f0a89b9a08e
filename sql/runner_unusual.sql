-- What is not as usual: slow tasks, stale datasets.
SET timezone = 'UTC';
ALTER SYSTEM SET pipeline.slow_task_minimum = '1s';
SELECT pg_reload_conf();
SET SESSION AUTHORIZATION pipeline_alice;
CREATE VIEW alice.unusual AS
SELECT alertname, severity, source, regexp_replace(regexp_replace(summary, 'for \d+ s', 'for N s'), 'since .* UTC', 'since then') AS summary, labels - 'alertname' - 'severity' AS labels
FROM pipeline.firing_alerts WHERE alertname IN ('TaskSlow', 'SourceStale') ORDER BY alertname, source;
SELECT pipeline.create_pipeline('unusual', labels => '{"team": "t"}');
SELECT pipeline.create_task('unusual', 'load', 'SELECT pg_advisory_xact_lock(4712)');
SELECT pipeline.create_task('unusual', 'new', 'SELECT pg_advisory_xact_lock(4712)');
SELECT count(pipeline.run('unusual')) FROM generate_series(1, 20);
CALL public.wait_until('SELECT count(*) = 20 FROM pipeline.runs WHERE pipeline = ''unusual'' AND state = ''succeeded''');
RESET SESSION AUTHORIZATION;
-- A history of about 0.2 s, and once of an hour; the other task has none.
UPDATE pipeline.attempts a SET started_at = finished_at - CASE WHEN r.n = 7 THEN interval '1 hour' ELSE interval '200 ms' + r.n * interval '1 ms' END
FROM (SELECT run_id, row_number() OVER (ORDER BY run_id) AS n FROM pipeline.runs WHERE pipeline = 'unusual') r
WHERE a.run_id = r.run_id AND a.task = 'load';
DELETE FROM pipeline.attempts WHERE task = 'new' AND run_id IN (SELECT run_id FROM pipeline.runs WHERE pipeline = 'unusual');
SELECT pg_advisory_lock(4712);
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.run('unusual') AS run \gset
CALL public.wait_until('SELECT count(*) = 1 FROM alice.unusual');
SELECT * FROM alice.unusual;
SELECT task, slow_since IS NOT NULL AS slow FROM pipeline.attempts WHERE run_id = :run ORDER BY task;
RESET SESSION AUTHORIZATION;
SELECT pg_advisory_unlock(4712);
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.wait_for_run(:run, '30 s');
CALL public.wait_until('SELECT count(*) = 0 FROM alice.unusual');
SELECT task, slow_since IS NOT NULL AS slow FROM pipeline.attempts WHERE run_id = :run ORDER BY task;
-- Dropped while it is slow.
RESET SESSION AUTHORIZATION;
SELECT pg_advisory_lock(4712);
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.run('unusual') AS run \gset
CALL public.wait_until('SELECT count(*) = 1 FROM alice.unusual');
SELECT pipeline.cancel(:run);
CALL public.wait_until(format('SELECT state = ''cancelled'' FROM pipeline.runs WHERE run_id = %s', :run));
SELECT pipeline.drop_pipeline('unusual');
SELECT count(*) FROM alice.unusual;
RESET SESSION AUTHORIZATION;
SELECT pg_advisory_unlock(4712);

-- Datasets: as their definition says, and as their history says.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_dataset('unusual bad', stale_after => '0');
SELECT pipeline.create_dataset('unusual asked', stale_after => '1 s'), pipeline.create_dataset('unusual daily'), pipeline.create_dataset('unusual new');
CALL public.wait_until('SELECT count(*) = 1 FROM alice.unusual');
SELECT * FROM alice.unusual;
SELECT pipeline.alter_dataset('unusual asked', '{"stale_after": "1 day"}');
CALL public.wait_until('SELECT count(*) = 0 FROM alice.unusual');
SELECT stale_after, last_event, stale_at - created_at AS after FROM pipeline.datasets WHERE dataset = 'unusual asked';
RESET SESSION AUTHORIZATION;
-- Each working day, two days' pause at the weekend; nine pauses are no history.
INSERT INTO pipeline.dataset_events (dataset, owner, role, published_at)
SELECT 'unusual daily', 'pipeline_alice', 'pipeline_alice', now() - i * interval '1 day' FROM generate_series(30, 7, -1) i WHERE i % 7 NOT IN (1, 2);
INSERT INTO pipeline.dataset_events (dataset, owner, role, published_at)
SELECT 'unusual new', 'pipeline_alice', 'pipeline_alice', now() - i * interval '1 day' FROM generate_series(30, 21, -1) i;
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.publish('unusual asked') > 0 AS published;
CALL public.wait_until('SELECT count(*) = 1 FROM alice.unusual');
SELECT * FROM alice.unusual;
SELECT dataset, stale_at FROM pipeline.datasets WHERE dataset IN ('unusual daily', 'unusual new') ORDER BY dataset;
SELECT pipeline.publish('unusual daily') > 0 AS published;
CALL public.wait_until('SELECT count(*) = 0 FROM alice.unusual');
SELECT d.stale_at - e.published_at > interval '13 days' AS later FROM pipeline.datasets d JOIN pipeline.dataset_events e ON e.event_id = d.last_event WHERE d.dataset = 'unusual daily';
-- Dropped while it is stale.
SELECT pipeline.alter_dataset('unusual asked', '{"stale_after": "10 ms"}');
CALL public.wait_until('SELECT count(*) = 1 FROM alice.unusual');
SELECT severity, summary FROM alice.unusual;
SELECT substring(pipeline.export() FROM E'SELECT pipeline\\.create_dataset\\(dataset => .unusual asked.*?\\);');
SELECT pipeline.drop_dataset(dataset) FROM pipeline.datasets WHERE dataset LIKE 'unusual%';
SELECT count(*) FROM alice.unusual;
DROP VIEW alice.unusual;
RESET SESSION AUTHORIZATION;
ALTER SYSTEM RESET pipeline.slow_task_minimum;
SELECT pg_reload_conf();
