-- Runs: order, modes, results, errors, retries, timeouts, cancel, retry.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.run_log (n int GENERATED ALWAYS AS IDENTITY, line text);
CREATE VIEW alice.last_tasks AS
  SELECT pipeline, task, state, attempts, error FROM pipeline.task_status
  WHERE run_id = (SELECT max(run_id) FROM pipeline.runs r WHERE r.pipeline = task_status.pipeline);
-- A diamond, with everything that a task can ask.
SELECT pipeline.create_pipeline('run diamond', timezone => 'America/New_York', params => '{"who": "nobody", "none": null, "n": 7, "o": {"a": [1]}}');
SELECT pipeline.create_task('run diamond', 'top', $$INSERT INTO alice.run_log (line) VALUES ('top');
  SELECT pipeline.param('who') AS who, pipeline.param('none', 'fallback') AS none, pipeline.param('n')::int AS n, pipeline.param('o')::jsonb -> 'a' AS o$$);
SELECT pipeline.create_task('run diamond', 'left', $$INSERT INTO alice.run_log (line) VALUES ('side')$$, '{top}');
SELECT pipeline.create_task('run diamond', 'right', $$INSERT INTO alice.run_log (line) VALUES ('side')$$, '{top}');
SELECT pipeline.create_task('run diamond', 'bottom', $$INSERT INTO alice.run_log (line) VALUES ('bottom');
  SELECT pipeline.run_id() IS NOT NULL AS run_id, pipeline.task_name() AS task, pipeline.attempt() AS attempt,
    pipeline.interval_start() = pipeline.interval_end() AS empty, current_setting('TimeZone') AS tz,
    session_user AS me, current_user AS also_me$$, '{left,right}');
SELECT pipeline.run('diamond');
SELECT pipeline.run('run diamond', '{"who": "you"}') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT line FROM alice.run_log ORDER BY n;
SELECT task, state, attempts, result, rows FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT state, degraded, tasks, succeeded, failed, held_back, triggered_by FROM pipeline.run_status WHERE run_id = :run;
-- Failure: what it says, what it holds back, and that its writes are gone.
SELECT pipeline.create_pipeline('run fail');
SELECT pipeline.create_task('run fail', 'good', 'SELECT 1');
SELECT pipeline.create_task('run fail', 'bad', $$INSERT INTO alice.run_log (line) VALUES ('never'); SELECT 1/0 AS "x y"; SELECT 2$$);
SELECT pipeline.create_task('run fail', 'next', 'SELECT 1', '{good,bad}');
SELECT pipeline.create_task('run fail', 'last', 'SELECT 1', '{next}');
SELECT pipeline.run('run fail') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT state, sqlstate, error, error_detail, error_hint, statement FROM pipeline.attempts WHERE run_id = :run AND task = 'bad';
SELECT count(*) FROM alice.run_log WHERE line = 'never';
SELECT alertname, severity, labels->>'task' AS task, state, occurrences FROM pipeline.alerts WHERE labels->>'pipeline' = 'run fail' ORDER BY alert_id;
-- Mend the task and retry: only what failed and what it held back.
SELECT pipeline.create_task('run fail', 'bad', $$SELECT 'mended' AS state$$, or_replace => true);
SELECT pipeline.retry(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error, result FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT alertname, state FROM pipeline.alerts WHERE labels->>'pipeline' = 'run fail' ORDER BY alert_id;
SELECT pipeline.retry(:run);
-- A false success: the task fails, its writes stay, and it is final.
SELECT pipeline.create_pipeline('run success');
CREATE TYPE alice.verdict AS (success boolean, why text);
CREATE FUNCTION alice.judge(v boolean) RETURNS alice.verdict LANGUAGE sql AS $$SELECT v, 'because'$$;
CREATE FUNCTION alice.no_verdict() RETURNS alice.verdict LANGUAGE sql AS $$SELECT NULL::alice.verdict$$;
SELECT pipeline.create_task('run success', 'composite', $$INSERT INTO alice.run_log (line) VALUES ('kept'); SELECT alice.judge(false); SELECT 1$$, retries => 3);
SELECT pipeline.create_task('run success', 'expanded', $$SELECT * FROM alice.judge(false)$$);
SELECT pipeline.create_task('run success', 'null', $$SELECT alice.judge(NULL)$$);
SELECT pipeline.create_task('run success', 'null row', $$SELECT alice.no_verdict()$$);
SELECT pipeline.create_task('run success', 'one of many', $$SELECT n <> 3 AS success FROM generate_series(1, 5) n$$);
SELECT pipeline.create_task('run success', 'true', $$SELECT alice.judge(true); SELECT true AS success, n FROM generate_series(1, 3) n$$);
SELECT pipeline.create_task('run success', 'no rows', $$SELECT false AS success WHERE false$$);
SELECT pipeline.create_task('run success', 'returning', $$INSERT INTO alice.run_log (line) VALUES ('returned') RETURNING false AS success$$);
SELECT pipeline.create_task('run success', 'wrong type', $$SELECT 'yes' AS success$$);
SELECT pipeline.create_task('run success', 'retry any', $$SELECT pipeline.attempt() = 2 AS success$$, retries => 1, retry_on => 'any', retry_delay => '0');
SELECT pipeline.run('run success') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error, result FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT line, count(*) FROM alice.run_log WHERE line IN ('kept', 'returned') GROUP BY 1 ORDER BY 1;
-- Retries with backoff, until they are used up or one succeeds.
SELECT pipeline.create_pipeline('run retry');
SELECT pipeline.create_task('run retry', 'third time', $$SELECT 1 / (pipeline.attempt() / 3)$$, retries => 2, retry_delay => '10 ms', retry_backoff => 2);
SELECT pipeline.create_task('run retry', 'never', $$SELECT 1/0$$, retries => 1, retry_delay => '10 ms', allow_failure => true);
SELECT pipeline.run('run retry') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, attempts, error FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT state, degraded FROM pipeline.run_status WHERE run_id = :run;
SELECT task, attempt, state, sqlstate FROM pipeline.attempts WHERE run_id = :run ORDER BY task, attempt;
-- Transactions: what atomic refuses at run time, what autocommit allows.
SELECT pipeline.create_pipeline('run modes');
CREATE PROCEDURE alice.committing() LANGUAGE plpgsql AS $$BEGIN INSERT INTO alice.run_log (line) VALUES ('proc 1'); COMMIT; INSERT INTO alice.run_log (line) VALUES ('proc 2'); END$$;
CREATE TABLE alice.deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
SELECT pipeline.create_task('run modes', 'vacuum atomic', 'VACUUM alice.run_log');
SELECT pipeline.create_task('run modes', 'commit atomic', 'CALL alice.committing()');
SELECT pipeline.create_task('run modes', 'vacuum', 'VACUUM alice.run_log; SELECT 1 AS after', mode => 'autocommit');
SELECT pipeline.create_task('run modes', 'index', 'CREATE INDEX CONCURRENTLY run_log_line ON alice.run_log (line)', '{vacuum}', mode => 'autocommit');
SELECT pipeline.create_task('run modes', 'commit', 'CALL alice.committing(); SELECT 1/0', '{index}', mode => 'autocommit');
SELECT pipeline.create_task('run modes', 'deferred', 'INSERT INTO alice.deferred VALUES (1), (1)');
SELECT pipeline.create_task('run modes', 'read only', 'SET TRANSACTION_READ_ONLY = on; SELECT 1');
SELECT pipeline.create_task('run modes', 'session', $$SET SESSION search_path = alice; SET statement_timeout = '1 s'; CREATE TEMP TABLE t (x int); PREPARE q AS SELECT 1; SELECT pg_advisory_lock(4711) IS NULL AS x$$);
SELECT pipeline.run('run modes') AS run \gset
-- Not wait_for_run(): CREATE INDEX CONCURRENTLY waits for its snapshot.
DO $$ BEGIN
  FOR i IN 1..3000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pipeline.runs WHERE pipeline = 'run modes' AND state IN ('queued', 'running'));
    COMMIT;
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT task, a.state, sqlstate, error, error_hint, statement FROM pipeline.attempts a WHERE run_id = :run ORDER BY task;
SELECT line FROM alice.run_log WHERE line LIKE 'proc%' ORDER BY n;
SELECT count(*) AS advisory_locks FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711;
-- The next task of the same worker finds a clean session.
SELECT pipeline.create_pipeline('run clean');
SELECT pipeline.create_task('run clean', 'a', $$SET SESSION search_path = alice; CREATE TEMP TABLE t (x int); PREPARE q AS SELECT 1; SET ROLE pipeline_alice$$);
SELECT pipeline.create_task('run clean', 'b', $$SELECT current_setting('search_path') AS path, to_regclass('pg_temp.t') AS t,
  (SELECT count(*) FROM pg_prepared_statements WHERE name = 'q') AS prepared, current_setting('role') AS role$$, '{a}');
SELECT pipeline.run('run clean') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT result FROM pipeline.task_status WHERE run_id = :run AND task = 'b';
-- Timeout: also for a task that swallows the cancel.
SELECT pipeline.create_pipeline('run timeout');
SELECT pipeline.create_task('run timeout', 'slow', 'SELECT pg_sleep(60)', timeout => '50 ms');
SELECT pipeline.create_task('run timeout', 'stubborn', $c$DO $x$BEGIN
  BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; PERFORM pg_sleep(60); END$x$ $c$, timeout => '50 ms');
SELECT pipeline.create_task('run timeout', 'quick', 'SELECT 1', timeout => '1 hour');
SELECT pipeline.run('run timeout') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, a.state, sqlstate, error FROM pipeline.attempts a WHERE run_id = :run ORDER BY task;
-- Cancel: what runs is stopped, what waits never starts.
SELECT pipeline.create_pipeline('run cancel');
SELECT pipeline.create_task('run cancel', 'running', 'INSERT INTO alice.run_log (line) VALUES (''cancelled''); SELECT pg_sleep(600)');
SELECT pipeline.create_task('run cancel', 'waiting', 'SELECT 1', '{running}');
SELECT pipeline.run('run cancel') AS run \gset
SELECT pipeline.wait_for_run(:run, '0.3 s') IN ('queued', 'running') AS goes_on;
SELECT public.raises($$SELECT pipeline.drop_pipeline('run cancel')$$);
SELECT public.raises(format('SELECT pipeline.retry(%s)', :run));
SET SESSION AUTHORIZATION pipeline_bob;
SELECT public.raises(format('SELECT pipeline.cancel(%s)', :run));
SELECT public.raises(format('SELECT pipeline.retry(%s)', :run));
SELECT public.raises(format('SELECT pipeline.wait_for_run(%s, ''1 s'')', :run));
SELECT count(*) FROM pipeline.runs WHERE run_id = :run;
SELECT count(*) FROM pipeline.task_status WHERE run_id = :run;
SELECT count(*) FROM pipeline.attempts WHERE run_id = :run;
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT pipeline.cancel(:run);
SELECT task, state, error FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT count(*) FROM alice.run_log WHERE line = 'cancelled';
SELECT count(*) FROM pipeline.alerts WHERE labels->>'pipeline' = 'run cancel';
-- A paused pipeline starts nothing; cancel works without a worker.
SELECT pipeline.pause('run cancel', 'test');
SELECT pipeline.run('run cancel') AS run \gset
SELECT pipeline.wait_for_run(:run, '0.1 s');
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run);
SELECT task, state, attempts FROM pipeline.task_status WHERE run_id = :run ORDER BY task;
SELECT pipeline.resume('run cancel');
-- Waiting where it cannot end.
BEGIN;
SELECT public.raises($$SELECT pipeline.wait_for_run(pipeline.run('run clean'))$$);
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pipeline.wait_for_run(:run);
ROLLBACK;
-- One run at a time; the interval that was given.
SELECT pipeline.create_pipeline('run queue');
SELECT pipeline.create_task('run queue', 'a', 'SELECT pipeline.interval_start(), pipeline.interval_end(), pg_sleep(0.05)');
SELECT array_agg(pipeline.run('run queue', interval_start => d, interval_end => d + interval '1 day') ORDER BY d) AS runs
FROM generate_series('2024-01-01'::timestamptz, '2024-01-03', '1 day') d \gset
SELECT pipeline.wait_for_run(r, '30 s') FROM unnest(:'runs'::bigint[]) r;
SELECT count(*) AS overlapping FROM pipeline.runs a, pipeline.runs b
WHERE a.pipeline = 'run queue' AND b.pipeline = 'run queue' AND a.run_id < b.run_id AND a.finished_at > b.started_at;
SELECT interval_start, interval_end, state FROM pipeline.runs WHERE pipeline = 'run queue' ORDER BY run_id;
-- Big and odd results.
SELECT pipeline.create_pipeline('run results');
SELECT pipeline.create_task('run results', 'many rows', 'SELECT n FROM generate_series(1, 1000) n');
SELECT pipeline.create_task('run results', 'big row', $$SELECT repeat('x', 100000) AS x$$);
SELECT pipeline.create_task('run results', 'no columns', 'SELECT');
SELECT pipeline.create_task('run results', 'odd names', $$SELECT 1 AS "a""b", 2 AS "a""b", NULL AS n, 'ñandú' AS "é"$$);
SELECT pipeline.create_task('run results', 'notices', $c$DO $x$BEGIN FOR i IN 1..200 LOOP RAISE NOTICE 'n %', i; END LOOP; RAISE WARNING 'w'; END$x$ $c$);
SELECT pipeline.run('run results') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, a.state, jsonb_typeof(result) AS type, CASE WHEN jsonb_typeof(result) = 'array' THEN jsonb_array_length(result) END AS length,
  CASE WHEN task = 'odd names' THEN result END AS result, rows, cardinality(notices) AS notices, notices[1]
FROM pipeline.attempts a WHERE run_id = :run ORDER BY task;
-- execute() prints and raises.
\set VERBOSITY terse
BEGIN;
CALL pipeline.execute('run clean');
ROLLBACK;
CALL pipeline.execute('nothing');
CALL pipeline.execute('run clean', '{"x": 1}');
-- Nor can one wait for what this very transaction asks for.
SELECT pipeline.create_pipeline('run asked');
SELECT pipeline.create_task('run asked', 'a', 'SELECT pg_sleep(600)');
SELECT pipeline.run('run asked') AS run \gset
CALL public.wait_until(format('SELECT state = ''running'' FROM pipeline.task_runs WHERE run_id = %s', :run));
SELECT public.raises(format('SELECT pipeline.cancel(%s), pipeline.wait_for_run(%1$s)', :run));
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
-- Everything can be dropped.
SELECT pipeline.drop_pipeline(pipeline) FROM pipeline.pipelines WHERE pipeline LIKE 'run %';
SELECT count(*) FROM pipeline.attempts a JOIN pipeline.runs r USING (run_id) WHERE r.pipeline LIKE 'run %';
