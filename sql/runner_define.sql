-- Definitions of pipelines and tasks, and every error that they raise.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_pipeline('define 1', '30 4 * * *', 'Europe/Madrid', 'week', labels => '{"team": "core"}',
  params => '{"day": null}', description => 'Ünïcode "quoted" name''s');
SELECT pipeline.create_pipeline('define 1');
SELECT pipeline.create_pipeline('define 1', or_replace => true);
SELECT pipeline, owner, schedule, timezone, interval_align, max_active_runs, catchup, params, labels, paused
FROM pipeline.pipelines WHERE pipeline = 'define 1';
SELECT pipeline.create_pipeline(NULL);
SELECT pipeline.create_pipeline('');
SELECT pipeline.create_pipeline('a/b');
SELECT pipeline.create_pipeline(E'a\nb');
SELECT pipeline.create_pipeline('define 2', 'every day');
SELECT pipeline.create_pipeline('define 2', timezone => 'Nowhere');
SELECT pipeline.create_pipeline('define 2', '@daily', interval_align => 'fortnight');
SELECT pipeline.create_pipeline('define 2', interval_align => 'week');
SELECT pipeline.create_pipeline('define 2', max_active_runs => 0);
SELECT pipeline.create_pipeline('define 2', catchup => 'some');
SELECT pipeline.create_pipeline('define 2', params => '[1]');
SELECT pipeline.create_pipeline('define 2', labels => '"x"');
SELECT pipeline.create_pipeline('define 2', deadline => '-1 hour');
SELECT pipeline.create_pipeline('define 2', deadline_warning => '1 hour');
SELECT pipeline.create_pipeline('define 2', on_datasets => '{d}');
SELECT pipeline.create_pipeline('define 2', run_as => 'pipeline_bob');
SELECT pipeline.create_pipeline('define 2', paused => NULL);
RESET SESSION AUTHORIZATION;
-- Tasks never run as a superuser.
SELECT pipeline.create_pipeline('define 2');
CREATE ROLE pipeline_nologin;
DO $$ BEGIN
  PERFORM pipeline.create_pipeline('define 2', run_as => 'pipeline_nologin');
  IF current_setting('server_version_num')::int >= 170000 THEN
    RAISE 'a pipeline cannot run as role "pipeline_nologin"'; END IF;
END $$;
REVOKE CONNECT ON DATABASE :DBNAME FROM PUBLIC;
CREATE ROLE pipeline_noconnect LOGIN;
SELECT pipeline.create_pipeline('define 2', run_as => 'pipeline_noconnect');
GRANT CONNECT ON DATABASE :DBNAME TO PUBLIC;
DROP ROLE pipeline_nologin, pipeline_noconnect;
SELECT pipeline.create_pipeline('define 2', run_as => 'pipeline_alice');
SELECT owner FROM pipeline.pipelines WHERE pipeline = 'define 2';

SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_task('define 1', 'a', 'SELECT 1');
SELECT pipeline.create_task('define 1', 'b', 'SELECT 1', depends_on => '{a}');
SELECT pipeline.create_task('define 1', 'c "C" ñ', 'SELECT 1;; SELECT 2 -- end', depends_on => '{b}', mode => 'autocommit');
SELECT pipeline.create_task('define 1', 'a', 'SELECT 1');
SELECT pipeline.create_task('define 1', 'a', 'SELECT 1', depends_on => ARRAY['c "C" ñ'], or_replace => true);
SELECT pipeline.create_task('define 1', 'a', 'SELECT 1', depends_on => '{a}', or_replace => true);
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', depends_on => '{a,x,y}');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', depends_on => '{a,a}');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', depends_on => '{a,NULL}');
SELECT pipeline.create_task('nothing', 'd', 'SELECT 1');
SELECT pipeline.create_task('define 1', '', 'SELECT 1');
SELECT pipeline.create_task('define 1', 'd', '');
SELECT pipeline.create_task('define 1', 'd', ' ; -- nothing');
SELECT pipeline.create_task('define 1', 'd', 'SELEC 1; SELECT 2');
SELECT pipeline.create_task('define 1', 'd', 'BEGIN; SELECT 1; COMMIT');
SELECT pipeline.create_task('define 1', 'd', 'COMMIT', mode => 'autocommit');
SELECT pipeline.create_task('define 1', 'd', 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
SELECT pipeline.create_task('define 1', 'd', 'COPY alice.t FROM STDIN');
SELECT pipeline.create_task('define 1', 'd', 'COPY alice.t TO STDOUT');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', mode => 'eager');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', retries => -1);
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', retry_delay => '-1 s');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', retry_delay => '2 days');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', retry_backoff => 'NaN');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', retry_on => 'luck');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', timeout => '0');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', labels => '[]');
SELECT pipeline.create_task('define 1', 'd', NULL);
-- What needs something else is refused without it.
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', pool => 'p');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', pool_slots => 2);
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', deadline => '0');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', foreach => 'SELECT 1 AS k');
SELECT pipeline.create_task('define 1', 'd', 'SELECT 1', min_success => 0.5);
SELECT task, depends_on, mode, retries, retry_delay, timeout, labels FROM pipeline.tasks WHERE pipeline = 'define 1' ORDER BY task;
SELECT pipeline.drop_task('define 1', 'a');
SELECT pipeline.drop_task('define 1', 'x');
SELECT pipeline.drop_task('define 1', 'c "C" ñ');
SELECT pipeline.run('define 2');
SELECT pipeline.run('define 1', '{"dya": 1}');
SELECT pipeline.run('define 1', '[]');
SELECT pipeline.run('define 1', interval_start => now());
SELECT pipeline.run('define 1', interval_start => '2024-01-02', interval_end => '2024-01-01');
SELECT pipeline.run('define 1', interval_start => '-infinity', interval_end => '2024-01-01');
SELECT pipeline.run('nothing');
SELECT pipeline.run(NULL);
SELECT pipeline.cancel(-1);
SELECT pipeline.cancel(NULL);
SELECT pipeline.retry(-1);
SELECT pipeline.wait_for_run(-1);
SELECT pipeline.drop_pipeline('nothing');
-- Outside a task there is no run to speak of.
SELECT pipeline.run_id();
SELECT pipeline.param('x');
SELECT pipeline.interval_start(), pipeline.interval_end();
SELECT pipeline.attempt();
SELECT pipeline.task_name();
-- The next due times.
SELECT pipeline, schedule, next_due > now() AS coming FROM pipeline.schedules WHERE pipeline = 'define 1';
SELECT pipeline.create_pipeline('define 1', '@daily', or_replace => true);
SELECT pipeline, schedule, next_due > now() AS coming FROM pipeline.schedules WHERE pipeline = 'define 1';
SELECT pipeline.pause('define 1', 'holidays');
SELECT schedule, next_due, paused, paused_reason FROM pipeline.schedules WHERE pipeline = 'define 1';
-- A new definition does not resume it.
SELECT pipeline.create_pipeline('define 1', '@daily', or_replace => true);
SELECT paused, paused_reason FROM pipeline.schedules WHERE pipeline = 'define 1';
SELECT pipeline.resume('define 1');
SELECT pipeline.pause('define 1', NULL);
-- Others see nothing and may do nothing.
SET SESSION AUTHORIZATION pipeline_bob;
SELECT count(*) FROM pipeline.pipelines WHERE pipeline LIKE 'define%';
SELECT count(*) FROM pipeline.tasks WHERE pipeline LIKE 'define%';
SELECT pipeline.create_pipeline('define 1', or_replace => true);
SELECT pipeline.create_task('define 1', 'evil', 'SELECT 1');
SELECT pipeline.drop_task('define 1', 'b');
SELECT pipeline.drop_pipeline('define 1');
SELECT pipeline.run('define 1');
SELECT pipeline.pause('define 1', 'mine');
SELECT pipeline.resume('define 1');
SELECT pipeline.run_due('define 1');
SELECT pipeline.enable_schedules();
SELECT pipeline.resume_schedules();
INSERT INTO pipeline.pipelines DEFAULT VALUES;
UPDATE pipeline.task_runs SET state = 'succeeded';
DELETE FROM pipeline.runs;
RESET SESSION AUTHORIZATION;
-- Every change is on record.
SELECT role, action, kind, name, before IS NOT NULL AS before, after IS NOT NULL AS after, note
FROM pipeline.changes WHERE name LIKE 'define%' ORDER BY change_id;
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_pipeline('define 1');
SELECT pipeline.drop_pipeline('define 2');
