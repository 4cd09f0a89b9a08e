-- Why a task waits, in words; what failed, with everything about it.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE VIEW alice.waiting AS
SELECT task, state, since <= clock_timestamp() AS since,
  regexp_replace(regexp_replace(why, 'run [0-9]+', 'run N'), 'at [A-Z][a-z]{2} .*', 'at T') AS why
FROM pipeline.waiting WHERE pipeline = 'waiting' ORDER BY run_id, task;
SELECT pipeline.create_pipeline('waiting');
SELECT acts, workers > 0 AS workers, busy + idle + starting <= workers AS within FROM pipeline.worker_status();
SELECT pipeline.create_task('waiting', 'slow', 'SELECT pg_advisory_xact_lock(4713)');
SELECT pipeline.create_task('waiting', 'failing', 'SELECT 1/0', retries => 1, retry_delay => '1 hour');
SELECT pipeline.create_task('waiting', 'next', 'SELECT 1', '{slow,failing}', trigger_rule => 'all_done');
SELECT pipeline.create_task('waiting', 'last', 'SELECT 1', '{next}');
SELECT pg_advisory_lock(4713) IS NULL AS locked;
SELECT pipeline.run('waiting') AS run \gset
CALL public.wait_until('SELECT count(*) = 1 FROM pipeline.task_runs WHERE pipeline = ''waiting'' AND state = ''up_for_retry''
  AND EXISTS (SELECT FROM pipeline.task_runs WHERE pipeline = ''waiting'' AND state = ''running'')');
SELECT * FROM alice.waiting;
-- A second run waits for the first.
SELECT pipeline.run('waiting') AS run2 \gset
SELECT DISTINCT why FROM alice.waiting WHERE why LIKE '%max_active_runs%';
SELECT pipeline.pause('waiting', 'holidays');
SELECT DISTINCT why FROM alice.waiting;
SELECT pipeline.resume('waiting');
SELECT pipeline.cancel(:run2);
SELECT task, attempt, state, sqlstate, error, statement, task_state, run_state, held_back, command, owner FROM pipeline.failures WHERE run_id = :run;
SELECT pg_advisory_unlock(4713);
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT * FROM alice.waiting;
SET SESSION AUTHORIZATION pipeline_bob;
SELECT count(*) FROM pipeline.waiting WHERE pipeline = 'waiting';
SELECT count(*) FROM pipeline.failures WHERE pipeline = 'waiting';
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_pipeline('waiting');
