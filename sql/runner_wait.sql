-- wait_for: a task runs when a condition has become true, and holds nothing
-- until then.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.wait_flag (name text PRIMARY KEY);
SELECT pipeline.create_pipeline('wait', max_active_runs => 5);
SELECT pipeline.create_task('wait', 'atomic', 'SELECT pipeline.attempt() AS attempt',
  wait_for => 'EXISTS (SELECT FROM alice.wait_flag WHERE name = pipeline.task_name())', poke_interval => '20 ms');
SELECT pipeline.create_task('wait', 'autocommit', 'SELECT pipeline.attempt() AS attempt', mode => 'autocommit',
  wait_for => 'EXISTS (SELECT FROM alice.wait_flag WHERE name = pipeline.task_name())', poke_interval => '20 ms');
SELECT pipeline.create_task('wait', 'after', 'SELECT 1', '{atomic,autocommit}');
SELECT pipeline.create_task('wait', 'true at once', 'SELECT 1', wait_for => 'true', poke_interval => '1 hour', wait_timeout => '1 hour');
SELECT pipeline.create_task('wait', 'condition', 'SELECT 1', wait_for => 'true', condition => 'false');
SELECT pipeline.run('wait') AS run \gset
CALL public.wait_until('SELECT count(*) = 2 FROM pipeline.task_runs WHERE pipeline = ''wait'' AND waiting_since IS NOT NULL
  AND 2 = (SELECT count(*) FROM pipeline.task_runs WHERE pipeline = ''wait'' AND state IN (''skipped'', ''succeeded''))');
-- No attempt is left of the answers that were not true.
SELECT task, state FROM pipeline.task_runs WHERE run_id = :run AND state NOT IN ('waiting', 'ready', 'running') ORDER BY task;
INSERT INTO alice.wait_flag VALUES ('atomic'), ('autocommit');
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, result FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT count(*) FROM pipeline.attempts WHERE run_id = :run;
-- In vain: failed for good, in spite of retries, or skipped; NULL is not true; an error is one.
SELECT pipeline.create_pipeline('wait vain');
SELECT pipeline.create_task('wait vain', 'fail', 'SELECT 1', wait_for => 'false', poke_interval => '20 ms', wait_timeout => '50 ms', retries => 5);
SELECT pipeline.create_task('wait vain', 'skip', 'SELECT 1', wait_for => 'NULL', poke_interval => '1 hour', wait_timeout => '50 ms', on_wait_timeout => 'skip');
SELECT pipeline.create_task('wait vain', 'error', 'SELECT 1', wait_for => '1 / 0 = 1');
SELECT pipeline.create_task('wait vain', 'after fail', 'SELECT 1', '{fail}');
SELECT pipeline.create_task('wait vain', 'after skip', 'SELECT 1', '{skip}');
SELECT pipeline.run('wait vain') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
SELECT task, a.state, error, statement FROM pipeline.attempts a WHERE run_id = :run ORDER BY task;
-- Two hundred wait and hold no worker; another pipeline runs meanwhile.
SELECT pipeline.create_pipeline('wait many');
SELECT count(pipeline.create_task('wait many', 't' || n, 'SELECT 1', wait_for => 'EXISTS (SELECT FROM alice.wait_flag WHERE name = ''many'')'))
FROM generate_series(1, 200) n;
SELECT pipeline.run('wait many') AS many \gset
CALL public.wait_until('SELECT count(*) = 200 FROM pipeline.task_runs WHERE pipeline = ''wait many'' AND state = ''waiting'' AND next_attempt_at IS NOT NULL');
SELECT count(*) AS running FROM pipeline.attempts WHERE run_id = :many;
SELECT count(DISTINCT why) > 0 AS said, bool_and(why LIKE 'for its wait_for to become true; it is asked again at %') AS why FROM pipeline.waiting WHERE run_id = :many;
SELECT pipeline.run('wait') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT pipeline.cancel(:many);
SELECT pipeline.wait_for_run(:many, '30 s');
SELECT state, count(*) FROM pipeline.task_runs WHERE run_id = :many GROUP BY 1;
-- Bad calls.
SELECT pipeline.create_task('wait', 'x', 'SELECT 1', wait_for => 'true; DROP TABLE x');
SELECT pipeline.create_task('wait', 'x', 'SELECT 1', wait_for => 'true', poke_interval => '0');
SELECT pipeline.create_task('wait', 'x', 'SELECT 1', wait_for => 'true', wait_timeout => '-1 s');
SELECT pipeline.create_task('wait', 'x', 'SELECT 1', wait_for => 'true', on_wait_timeout => 'cry');
SELECT pipeline.create_task('wait', 'x', 'SELECT 1', wait_timeout => '1 s');
SELECT count(pipeline.drop_pipeline(pipeline)) FROM pipeline.pipelines WHERE pipeline IN ('wait', 'wait vain', 'wait many');
DROP TABLE alice.wait_flag;
