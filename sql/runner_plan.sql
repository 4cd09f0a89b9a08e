-- plan() and test_task(): what would happen.
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.plan_orders (id int NOT NULL, day date, amount numeric CHECK (amount > 0));
INSERT INTO alice.plan_orders VALUES (1, '2024-03-01', 10), (2, '2024-03-02', 20);
CREATE VIEW alice.plan_view AS SELECT day, sum(amount) AS total FROM alice.plan_orders GROUP BY 1;
CREATE TABLE alice.plan_totals (day date PRIMARY KEY, total numeric);
SELECT pipeline.create_pipeline('plan', '@daily', params => '{"factor": "2", "note": null}');
SELECT pipeline.create_task('plan', 'extract', $$SELECT count(*) FROM alice.plan_orders$$);
SELECT pipeline.create_task('plan', 'total', $$INSERT INTO alice.plan_totals SELECT day, sum(amount) * pipeline.param('factor')::int FROM alice.plan_orders
  WHERE day = pipeline.interval_start()::date GROUP BY 1 RETURNING day, total$$, depends_on => '{extract}');
SELECT pipeline.create_task('plan', 'report', 'SELECT 1', depends_on => '{total,extract}', trigger_rule => 'all_done', condition => $$pipeline.param('note') IS NOT NULL$$);
SELECT pipeline.create_task('plan', 'files', 'SELECT 1', wait_for => 'EXISTS (SELECT FROM alice.plan_totals)', priority => 5);
SELECT pipeline.create_task('plan', 'alarm', 'SELECT 1', depends_on => '{report,files}', trigger_rule => 'one_failed');
SELECT pipeline.create_task('plan', 'now', 'SELECT 1', depends_on => '{files}', trigger_rule => 'always');
SELECT level, task, why FROM pipeline.plan('plan', interval_start => '2024-03-01');
SELECT command FROM pipeline.plan('plan') WHERE task = 'files';
SELECT why LIKE 'at the start of the run over [' || date_trunc('day', now()) - interval '1 day' || ', ' || date_trunc('day', now()) || ')' AS yesterday FROM pipeline.plan('plan') WHERE task = 'extract';
SELECT count(*) FROM pipeline.runs WHERE pipeline = 'plan';
SELECT pipeline.plan('nothing');
SELECT pipeline.plan(NULL);
SELECT pipeline.plan('plan', '{"x": 1}');
\set VERBOSITY default
SELECT pipeline.plan('plan', interval_start => '2024-03-01 01:00');
\set VERBOSITY terse
-- A task, tried: in its context, with everything taken back.
SELECT * FROM pipeline.test_task('plan', 'total', interval_start => '2024-03-01');
SELECT * FROM pipeline.test_task('plan', 'total', '{"factor": "3"}', '2024-03-02', expected => '[{"day": "2024-03-02", "total": 60.0}]');
SELECT * FROM pipeline.test_task('plan', 'total', '{"factor": "3"}', '2024-03-02', expected => '[{"day": "2024-03-02", "total": 61}]');
SELECT count(*) FROM alice.plan_totals;
-- Given rows stand in place of the real ones, by any name.
SELECT * FROM pipeline.test_task('plan', 'total', interval_start => '2024-03-01', given => '{"alice.plan_orders": [{"day": "2024-03-01", "amount": 1}, {"day": "2024-03-01", "amount": -5}, {"id": 7}]}',
  expected => '{"day": "2024-03-01", "total": -8}');
SELECT * FROM pipeline.test_task('plan', 'extract', given => '{"alice.plan_orders": []}');
SET search_path = alice, public;
SELECT pipeline.create_task('plan', 'extract', 'SELECT * FROM plan_view ORDER BY 1; WITH plan_view AS (SELECT 7 AS n) SELECT n, (SELECT count(*) FROM alice.plan_view) AS v FROM plan_view', or_replace => true);
SELECT * FROM pipeline.test_task('plan', 'extract');
SELECT * FROM pipeline.test_task('plan', 'extract', given => '{"plan_view": [{"total": 1}, {"total": 2}, {"total": 3}]}');
RESET search_path;
SELECT count(*) FROM alice.plan_orders;
SELECT to_regclass('pg_temp.plan_orders');
-- Outcomes.
SELECT outcome FROM pipeline.test_task('plan', 'report');
SELECT outcome FROM pipeline.test_task('plan', 'report', '{"note": "x"}');
SELECT outcome FROM pipeline.test_task('plan', 'files');
SELECT outcome FROM pipeline.test_task('plan', 'files', given => '{"alice.plan_totals": [{}]}');
SELECT pipeline.create_task('plan', 'check', 'SELECT false AS success, 3 AS wrong');
SELECT * FROM pipeline.test_task('plan', 'check');
SELECT pipeline.create_task('plan', 'fails', 'INSERT INTO alice.plan_totals VALUES (''2024-01-01'', 1); SELECT 1 / 0');
SELECT pipeline.test_task('plan', 'fails');
SELECT pipeline.create_task('plan', 'context', $$SELECT pipeline.run_id(), pipeline.task_name(), pipeline.attempt(), pipeline.interval_end(), current_setting('TimeZone') AS zone$$);
SELECT pipeline.alter_pipeline('plan', '{"timezone": "Asia/Tokyo", "schedule": null}');
SELECT result - 'interval_end' AS result FROM pipeline.test_task('plan', 'context');
SELECT pipeline.run_id();
SHOW timezone;
SELECT count(*) FROM alice.plan_totals;
-- In a transaction that goes on; an owner can use temporary tables.
SELECT pipeline.create_task('plan', 'temporary', 'CREATE TEMP TABLE plan_temp AS SELECT 1 AS n; SELECT * FROM plan_temp');
BEGIN;
INSERT INTO alice.plan_orders VALUES (3, '2024-03-03', 1);
SELECT outcome, result FROM pipeline.test_task('plan', 'temporary');
SAVEPOINT s;
SELECT pipeline.test_task('plan', 'fails');
ROLLBACK TO s;
SELECT outcome, result FROM pipeline.test_task('plan', 'temporary');
COMMIT;
SELECT count(*) FROM alice.plan_orders;
-- Arguments.
SELECT pipeline.test_task('plan', 'nothing');
SELECT pipeline.test_task('plan', NULL);
SELECT pipeline.test_task('plan', 'check', '{"x": 1}');
SELECT pipeline.test_task('plan', 'check', map_key => 'k');
SELECT pipeline.create_task('plan', 'mapped', $$SELECT pipeline.item('id') AS id, pipeline.item('amount')::numeric * 2 AS twice, pipeline.task_name()$$, foreach => 'SELECT id, amount FROM alice.plan_orders', map_key => 'id');
SELECT outcome, result FROM pipeline.test_task('plan', 'mapped');
SELECT outcome, result FROM pipeline.test_task('plan', 'mapped', map_key => '2');
SELECT outcome, result FROM pipeline.test_task('plan', 'mapped', map_key => '9', given => '{"alice.plan_orders": [{"id": 9, "amount": 4}]}');
SELECT pipeline.test_task('plan', 'mapped', map_key => '77');
SELECT why LIKE '%; once for each row of SELECT id, amount%' AS told FROM pipeline.plan('plan') WHERE task = 'mapped';
SELECT pipeline.test_task('plan', 'check', given => '[]');
SELECT pipeline.test_task('plan', 'check', given => '{"alice.plan_orders": {}}');
SELECT pipeline.test_task('plan', 'check', given => '{"alice.plan_orders": [1]}');
SELECT pipeline.test_task('plan', 'check', given => '{"alice.plan_orders": [{"nothing": 1}]}');
SELECT pipeline.test_task('plan', 'check', given => '{"alice.plan_orders": [{"id": "x"}]}');
SELECT pipeline.test_task('plan', 'check', given => '{"alice.nothing": []}');
SELECT pipeline.test_task('plan', 'check', given => '{"SELECT 1": []}');
SELECT pipeline.create_task('plan', 'nested', $$SELECT pipeline.test_task('plan', 'check')$$);
SELECT pipeline.test_task('plan', 'nested');
-- Never more than the rights of the owner, and never for others.
CREATE FUNCTION alice.who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'type by %', current_user; RETURN true; END $$;
CREATE DOMAIN alice.trap AS int CHECK (alice.who());
CREATE TABLE alice.plan_trap (n alice.trap);
CREATE VIEW alice.plan_trap_view AS SELECT 1 / (alice.who()::int) AS n;
SELECT pipeline.create_task('plan', 'who', 'SELECT current_user, session_user, (SELECT count(*) FROM alice.plan_trap), (SELECT count(*) FROM alice.plan_trap_view)');
SELECT pipeline.create_task('plan', 'super', 'ALTER ROLE pipeline_alice SUPERUSER');
SELECT pipeline.create_task('plan', 'reset', 'RESET ROLE; ALTER ROLE pipeline_alice SUPERUSER');
SELECT pipeline.create_task('plan', 'session', 'SET SESSION AUTHORIZATION postgres; ALTER ROLE pipeline_alice SUPERUSER');
SELECT pipeline.create_task('plan', 'set', 'SET ROLE pipeline_bob');
SELECT pipeline.create_task('plan', 'prepare', 'PREPARE trap AS SELECT 1');
SELECT pipeline.create_task('plan', 'do', $$DO $d$ BEGIN EXECUTE 'RESET ROLE'; END $d$ $$);
RESET SESSION AUTHORIZATION;
SELECT outcome, result - 'session_user' AS result FROM pipeline.test_task('plan', 'who', given => '{"alice.plan_trap": [{"n": 1}], "alice.plan_trap_view": []}');
SELECT pipeline.test_task('plan', 'super');
SELECT pipeline.test_task('plan', 'reset');
SELECT pipeline.test_task('plan', 'session');
SELECT pipeline.test_task('plan', 'set');
SELECT pipeline.test_task('plan', 'prepare');
SELECT pipeline.test_task('plan', 'do');
SELECT pipeline.test_task('plan', 'temporary');
SET ROLE pipeline_alice;
SELECT pipeline.test_task('plan', 'reset');
SELECT pipeline.test_task('plan', 'session');
RESET ROLE;
SELECT current_user = session_user AS same, rolsuper FROM pg_roles WHERE rolname = 'pipeline_alice';
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.test_task('plan', 'check');
SELECT pipeline.plan('plan');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.grant_pipeline('plan', 'pipeline_bob', 'view');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT count(*) FROM pipeline.plan('plan');
SELECT pipeline.test_task('plan', 'check');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_pipeline('plan');
DROP VIEW alice.plan_view, alice.plan_trap_view;
DROP TABLE alice.plan_orders, alice.plan_totals, alice.plan_trap;
DROP DOMAIN alice.trap;
DROP FUNCTION alice.who;
