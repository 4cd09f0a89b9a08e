-- Deadlines of runs and tasks, and what a running task says of itself.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE VIEW alice.deadline_alerts AS
SELECT alertname, severity, source, regexp_replace(regexp_replace(summary, 'run \d+', 'run N'), '\d{4}-[^ ,)]* [^ ,)]*', 'T', 'g') AS summary, state
FROM pipeline.alerts WHERE labels ->> 'pipeline' LIKE 'deadline%' AND state <> 'resolved' ORDER BY alertname, source;
-- A run that takes too long: a warning, then an alert, while it runs; its success resolves them.
SELECT pipeline.create_pipeline('deadline', deadline => '400 ms', deadline_warning => '300 ms', labels => '{"team": "t"}');
SELECT pipeline.create_task('deadline', 'slow', 'SELECT pg_sleep(1)');
SELECT pipeline.run('deadline') AS run \gset
CALL public.wait_until('SELECT count(*) = 1 FROM alice.deadline_alerts');
SELECT * FROM alice.deadline_alerts;
CALL public.wait_until('SELECT count(*) = 2 FROM alice.deadline_alerts');
SELECT * FROM alice.deadline_alerts;
SELECT state, deadline_missed, deadline_due FROM pipeline.runs WHERE run_id = :run;
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT state, deadline_missed FROM pipeline.run_status WHERE run_id = :run;
SELECT count(*) FROM alice.deadline_alerts;
-- A run that never started.
SELECT pipeline.pause('deadline', 'no power');
SELECT pipeline.run('deadline') AS run \gset
CALL public.wait_until('SELECT count(*) = 2 FROM alice.deadline_alerts');
SELECT * FROM alice.deadline_alerts WHERE alertname = 'DeadlineMissed';
SELECT pipeline.cancel(:run);
SELECT pipeline.drop_pipeline('deadline');
SELECT count(*) FROM alice.deadline_alerts;
-- Tasks: one only alerts, one is stopped, one had not begun; retries do not help.
SELECT pipeline.create_pipeline('deadline tasks');
SELECT pipeline.create_task('deadline tasks', 'alerts', 'SELECT pg_sleep(0.5)', deadline => '200 ms', retries => 1);
SELECT pipeline.create_task('deadline tasks', 'stops', 'SELECT pg_sleep(600)', deadline => '200 ms', on_deadline => 'fail', retries => 5, retry_delay => '0');
SELECT pipeline.create_task('deadline tasks', 'waits', 'SELECT 1', '{alerts}', deadline => '100 ms', on_deadline => 'fail');
SELECT pipeline.create_task('deadline tasks', 'mapped', 'SELECT pg_sleep(600)', deadline => '300 ms', on_deadline => 'fail',
  foreach => 'SELECT generate_series(1, 3) AS n', map_key => 'n', max_active_mapped => 1);
SELECT pipeline.create_task('deadline tasks', 'after', 'SELECT 1', '{stops,waits,mapped}');
SELECT pipeline.run('deadline tasks') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error, deadline_missed FROM pipeline.task_runs
WHERE run_id = :run ORDER BY task;
SELECT alertname, severity, source, summary FROM alice.deadline_alerts WHERE alertname <> 'RunFailed';
SELECT pipeline.drop_pipeline('deadline tasks');
SELECT count(*) FROM alice.deadline_alerts;
-- A due time for which nobody made a run.
SELECT pipeline.create_pipeline('deadline clock', schedule => '* * * * *', deadline => '1 s');
SELECT pipeline.create_task('deadline clock', 'a', 'SELECT 1');
SELECT pipeline.create_task('deadline clock', 'b', 'SELECT 1', on_deadline => 'fail');
SELECT pipeline.create_pipeline('deadline bad', deadline_warning => '1 s');
SELECT pipeline.drop_pipeline('deadline clock');
DROP VIEW alice.deadline_alerts;
-- Progress is seen at once, before the task commits, by those who may.
SELECT pipeline.create_pipeline('progress');
SELECT pipeline.create_task('progress', 'load', $$SELECT pipeline.report_progress(40, 100, 'days of March');
  SELECT pg_advisory_xact_lock(815)$$);
SELECT pipeline.create_task('progress', 'bad', $$SELECT pipeline.report_progress(1, 0)$$, allow_failure => true);
SELECT pg_advisory_lock(815);
SELECT pipeline.run('progress') AS run \gset
CALL public.wait_until('SELECT count(*) = 1 FROM pipeline.task_status WHERE pipeline = ''progress'' AND reported_at IS NOT NULL AND task = ''load''');
SELECT task, state, progress_done, progress_total, progress_message FROM pipeline.task_status WHERE run_id = :run AND task = 'load';
SELECT progress, eta FROM pipeline.run_status WHERE run_id = :run;
SELECT attempt_id AS attempt FROM pipeline.attempts WHERE run_id = :run AND task = 'load' \gset
SET SESSION AUTHORIZATION pipeline_bob;
SELECT * FROM pipeline.progress(:attempt);
SET SESSION AUTHORIZATION pipeline_alice;
SELECT done, total, message FROM pipeline.progress(:attempt);
SELECT pg_advisory_unlock(815);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, error FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
SELECT * FROM pipeline.progress(:attempt);
SELECT pipeline.report_progress(1);
-- The usual duration, once there is history.
SELECT usual_duration IS NULL AS none FROM pipeline.run_status WHERE run_id = :run;
SELECT pipeline.run('progress') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT usual_duration > '0' AS some FROM pipeline.run_status WHERE run_id = :run;
SELECT task, usual_duration > '0' AS some FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT pipeline.drop_pipeline('progress');
