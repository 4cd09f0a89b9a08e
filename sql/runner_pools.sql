-- Pools: slots that tasks share; and who goes first.
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.pool_log (n int GENERATED ALWAYS AS IDENTITY, line text, together int);
CREATE FUNCTION alice.pool_work() RETURNS int LANGUAGE plpgsql AS $$
DECLARE together int;
BEGIN
  -- A shared lock that others count: how many are in here at once?
  PERFORM pg_advisory_xact_lock_shared(4711);
  PERFORM pg_sleep(0.02);
  SELECT count(*) INTO together FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711;
  INSERT INTO alice.pool_log (line, together) VALUES (pipeline.task_name(), together);
  RETURN together;
END $$;
SELECT pipeline.create_pool('alice db', 2, description => 'the source has two connections');
SELECT pipeline.create_pool('alice db', 2);
SELECT pipeline.create_pool('default', 2);
SELECT pipeline.create_pool('p', -1);
SELECT pipeline.create_pool('p', 1, users => '{nobody_of_that_name}');
SELECT pool, owner, slots, users, description FROM pipeline.pools;
SELECT pipeline.create_pipeline('pools');
SELECT pipeline.create_task('pools', 'x', 'SELECT 1', pool => 'no pool');
SELECT pipeline.create_task('pools', 'x', 'SELECT 1', pool => 'alice db', pool_slots => 3);
SELECT pipeline.create_task('pools', 'x', 'SELECT 1', pool => 'alice db', pool_slots => 0);
SELECT pipeline.create_task('pools', 'x', 'SELECT 1', priority => 40000);
SELECT count(pipeline.create_task('pools', 't' || n, 'SELECT alice.pool_work()', pool => 'alice db')) FROM generate_series(1, 12) n;
SELECT pipeline.run('pools') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT count(*), max(together) FROM alice.pool_log;
SELECT slots, used, free, holders FROM pipeline.pool_status('alice db');
-- A task that needs both waits until both are free, and is not overtaken.
TRUNCATE alice.pool_log;
SELECT pipeline.create_task('pools', 't7', 'SELECT alice.pool_work()', pool => 'alice db', pool_slots => 2, priority => 1, or_replace => true);
SELECT pipeline.run('pools') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT count(*), max(together) FROM alice.pool_log;
SELECT line, together FROM alice.pool_log ORDER BY n LIMIT 1;
-- No slots: they wait, and say for what; others run meanwhile.
SELECT pipeline.create_pool('alice db', 0, or_replace => true);
SELECT pipeline.create_task('pools', 'free', 'SELECT 1');
SELECT pipeline.run('pools') AS run \gset
CALL public.wait_until(format('SELECT state = ''succeeded'' FROM pipeline.task_runs WHERE run_id = %s AND task = ''free''', :run));
SELECT why, count(*) FROM pipeline.waiting WHERE run_id = :run GROUP BY why ORDER BY why;
-- One that asks for more than there is now says so, and does not stop the others.
SELECT pipeline.create_pool('alice db', 1, or_replace => true);
CALL public.wait_until(format('SELECT count(*) = 1 FROM pipeline.waiting WHERE run_id = %s', :run));
SELECT task, why FROM pipeline.waiting WHERE run_id = :run ORDER BY task;
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT pipeline.create_task('pools', 't1', 'SELECT pg_sleep(600)', pool => 'alice db', priority => 5, or_replace => true);
SELECT pipeline.create_task('pools', 't7', 'SELECT 1', pool => 'alice db', or_replace => true);
SELECT pipeline.run('pools') AS run \gset
CALL public.wait_until(format('SELECT state = ''running'' FROM pipeline.task_runs WHERE run_id = %s AND task = ''t1''', :run));
CALL public.wait_until(format('SELECT state = ''succeeded'' FROM pipeline.task_runs WHERE run_id = %s AND task = ''free''', :run));
SELECT regexp_replace(why, 'run \d+', 'run N') AS why, count(*) FROM pipeline.waiting WHERE run_id = :run GROUP BY 1 ORDER BY 1;
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT slots, used, free, holders FROM pipeline.pool_status('alice db');
-- Another's pool: not seen, not used, not changed, unless he says so.
SET SESSION AUTHORIZATION pipeline_bob;
SELECT count(*) FROM pipeline.pools;
SELECT * FROM pipeline.pool_status('alice db');
SELECT pipeline.create_pipeline('pools of bob');
SELECT pipeline.create_task('pools of bob', 'a', 'SELECT 1', pool => 'alice db');
SELECT pipeline.create_pool('alice db', 100, or_replace => true);
SELECT pipeline.drop_pool('alice db');
SELECT pipeline.drop_pool('no pool');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_pool('alice db', 1, users => '{pipeline_bob}', or_replace => true);
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pool, slots FROM pipeline.pools;
SELECT pipeline.create_task('pools of bob', 'a', 'SELECT 1', pool => 'alice db');
SELECT pipeline.run('pools of bob') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_pool('alice db');
-- Priorities, and ageing: who waits long enough goes before the urgent.
SELECT pipeline.create_pool('alice one', 1);
SELECT pipeline.create_pipeline('urgent', max_active_runs => 3);
SELECT pipeline.create_task('urgent', 'gate', 'SELECT pg_sleep(0.2)', pool => 'alice one', priority => 100);
SELECT pipeline.create_task('urgent', 'p' || p, 'INSERT INTO alice.pool_log (line) VALUES (pipeline.task_name())', pool => 'alice one', priority => p)
FROM unnest('{0,-1,3,2,1}'::int[]) p;
TRUNCATE alice.pool_log;
SELECT pipeline.run('urgent') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT string_agg(line, ' ' ORDER BY n) FROM alice.pool_log;
SELECT extract(epoch FROM a.rank - b.rank) BETWEEN -61 AND -59 AS a_point_is_a_minute
FROM pipeline.task_runs a, pipeline.task_runs b WHERE a.run_id = :run AND b.run_id = :run AND a.task = 'p3' AND b.task = 'p2';
-- An urgent successor is found by the worker that readied it, before another.
SELECT pipeline.create_pipeline('urgent next');
SELECT pipeline.create_task('urgent next', 'first', 'SELECT 1');
SELECT pipeline.create_task('urgent next', 'slow', 'SELECT pg_sleep(600)', depends_on => '{first}');
SELECT pipeline.create_task('urgent next', 'urgent', 'SELECT 1', depends_on => '{first}', priority => 10);
SELECT pipeline.run('urgent next') AS run \gset
CALL public.wait_until(format('SELECT state = ''succeeded'' FROM pipeline.task_runs WHERE run_id = %s AND task = ''urgent''', :run));
SELECT pipeline.cancel(:run);
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT pipeline.drop_pipeline('urgent next');
SELECT pipeline.drop_pipeline('urgent'), pipeline.drop_pool('alice one'), pipeline.drop_pipeline('pools');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.drop_pipeline('pools of bob');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_pool('alice db');
SELECT count(*) FROM pipeline.pools;
DROP TABLE alice.pool_log;
DROP FUNCTION alice.pool_work;
