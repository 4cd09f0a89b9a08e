-- doctor(): each finding, provoked and taken back. The rest of this server is not of this test's making.
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE FUNCTION public.finds(wanted text) RETURNS TABLE (severity text, detail text, fix text) LANGUAGE sql AS $$
  SELECT severity, regexp_replace(regexp_replace(detail, '\d{4}-[^ ]* [^ ]*', 'T'), '\d+', 'N', 'g'), regexp_replace(fix, '\(\d+\)', '(N)') FROM pipeline.doctor() WHERE finding = wanted $$;
CREATE ROLE doctor_ann LOGIN;
CREATE ROLE doctor_bob;
GRANT USAGE ON SCHEMA pipeline TO doctor_ann, doctor_bob;
SELECT count(*) FROM pipeline.doctor() WHERE finding = 'look_failed';
SELECT bool_and(severity IN ('critical', 'error', 'warning', 'info') AND detail LIKE '%.' AND fix <> '' AND finding ~ '^[a-z_]+$') FROM pipeline.doctor();

-- The server.
SELECT * FROM public.finds('not_preloaded');
BEGIN;
UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'pipeline';
SELECT severity, regexp_replace(detail, '[\d.]+ *$', 'N') AS detail, fix FROM pipeline.doctor() WHERE finding = 'version_mismatch';
ROLLBACK;
SELECT * FROM public.finds('version_mismatch');
SET ROLE doctor_ann;
SELECT pipeline.create_pipeline('doctor');
SELECT pipeline.create_task('doctor', 't', 'SELECT 1');
RESET ROLE;
BEGIN;
UPDATE pipeline.identity SET database = 0;
SELECT * FROM public.finds('copy_not_resumed');
ROLLBACK;
SELECT * FROM public.finds('copy_not_resumed');
SELECT count(*) FROM public.finds('standby');
SELECT * FROM public.finds('scheduler_not_running');
-- Nobody looks at the clock in here, but the tables remember.
BEGIN;
SET LOCAL allow_system_table_mods = on;
UPDATE pg_class SET reltuples = 200000 WHERE oid = 'pipeline.runs'::regclass;
SELECT * FROM public.finds('history_unbounded');
ROLLBACK;

-- The clock.
SET ROLE doctor_ann;
SELECT pipeline.create_pipeline('doctor clock', schedule => '* * * * *');
SELECT pipeline.create_task('doctor clock', 't', 'SELECT 1');
RESET ROLE;
-- With pg_cron or without.
SELECT count(*) FROM pipeline.doctor() WHERE finding IN ('schedules_not_enabled', 'no_pg_cron', 'pg_cron_elsewhere');
SELECT * FROM public.finds('schedule_overdue');
BEGIN;
UPDATE pipeline.pipelines SET scheduled_since = now() - interval '1 hour' WHERE pipeline = 'doctor clock';
SELECT * FROM public.finds('schedule_overdue');
ROLLBACK;

-- Pipelines.
SET ROLE doctor_ann;
SELECT pipeline.pause('doctor clock', 'the source is down');
SELECT * FROM public.finds('pipeline_paused');
SELECT pipeline.create_pool('doctor pool', 0);
SELECT pipeline.create_task('doctor', 'p', 'SELECT 1', pool => 'doctor pool');
SELECT * FROM public.finds('pool_stopped');
SELECT pipeline.run('doctor') > 0 AS run;
RESET ROLE;
BEGIN;
SELECT count(*) FROM public.finds('tasks_starve');
UPDATE pipeline.task_runs SET ready_at = now() - interval '2 hours' WHERE pipeline = 'doctor' AND task = 'p';
-- Once the scheduler has looked, and without an end of the transaction.
DO $$ BEGIN
  FOR i IN 1..500 LOOP
    EXIT WHEN (SELECT count(*) = 1 FROM public.finds('tasks_starve'));
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT count(*) FROM public.finds('tasks_starve');
ROLLBACK;
REVOKE CONNECT ON DATABASE :DBNAME FROM PUBLIC;
SELECT * FROM public.finds('owner_cannot_run') WHERE detail ~ 'doctor';
-- He sees his own, another nothing of it.
SET ROLE doctor_ann;
SELECT count(*) FROM public.finds('owner_cannot_run');
SET ROLE doctor_bob;
SELECT count(*) FROM public.finds('owner_cannot_run');
SELECT count(*) FROM pipeline.doctor() WHERE detail ~ 'doctor';
RESET ROLE;
GRANT CONNECT ON DATABASE :DBNAME TO PUBLIC;

-- Alerts that no channel hears.
SET ROLE doctor_ann;
SELECT pipeline.raise_alert('Doctor', 'x') > 0 AS raised;
SELECT * FROM public.finds('alerts_unheard');
SELECT pipeline.create_channel('doctor log', 'log');
SELECT * FROM public.finds('alerts_unheard');
SELECT pipeline.drop_channel('doctor log');
SELECT pipeline.resolve_alert(alert_id) FROM pipeline.firing_alerts;
RESET ROLE;
-- Channels over the network: as they stand in a table, however they came there.
BEGIN;
INSERT INTO pipeline.channels (name, owner, kind, config, secret_ref, rate_per_minute, max_attempts, labels)
VALUES ('doctor hook', 'doctor_ann', 'webhook', '{"url": "https://hooks.example.com/x"}', 'key', 30, 8, '{}');
SELECT * FROM public.finds('no_allowed_hosts');
SELECT * FROM public.finds('host_not_allowed');
SELECT * FROM public.finds('channel_never_tested');
SELECT * FROM public.finds('no_secrets_dir');
SELECT * FROM public.finds('no_heartbeat');
INSERT INTO pipeline.channel_health (channel, owner, failures, last_failure_at, last_error) VALUES ('doctor hook', 'doctor_ann', 7, now(), 'the peer answered 404');
SELECT * FROM public.finds('channel_never_tested');
SELECT * FROM public.finds('channel_failing');
INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message, state, last_error, created_at)
VALUES ('doctor_ann', 'doctor hook', 'firing', 'g', '{}', '{}', 'dead', 'the peer answered 404', now()),
       ('doctor_ann', 'doctor hook', 'firing', 'g', '{}', '{}', 'pending', NULL, now() - interval '1 hour');
SELECT * FROM public.finds('notifications_dead');
SELECT severity, fix FROM public.finds('notifications_wait');
SET LOCAL ROLE doctor_bob;
SELECT count(*) FROM pipeline.doctor() WHERE detail ~ 'doctor';
ROLLBACK;
-- Routes by which nobody is told.
SET ROLE doctor_ann;
SELECT pipeline.create_channel('doctor log', 'log');
SELECT pipeline.create_route('doctor route', '{}', '{"doctor log"}');
RESET ROLE;
BEGIN;
UPDATE pipeline.routes SET channels = '{}' WHERE name = 'doctor route';
SELECT * FROM public.finds('route_to_nobody');
UPDATE pipeline.routes SET channels = '{doctor gone}' WHERE name = 'doctor route';
SELECT * FROM public.finds('channel_missing');
INSERT INTO pipeline.silences (owner, created_by, matchers, starts_at, ends_at, until_resolved) VALUES ('doctor_ann', 'doctor_ann', '{team="x"}', now(), now() + interval '1 year', false);
SELECT * FROM public.finds('long_silence');
ROLLBACK;
SELECT count(*) FROM pipeline.doctor() WHERE finding IN ('route_to_nobody', 'channel_missing', 'long_silence') AND detail ~ 'doctor';
SET ROLE doctor_ann;
SELECT pipeline.drop_route('doctor route');
SELECT pipeline.drop_channel('doctor log');
RESET ROLE;
-- Rules.
SET ROLE doctor_ann;
SELECT pipeline.create_rule('doctor rule', 'SELECT 1', evaluation_interval => '1 day');
RESET ROLE;
CALL public.wait_until('SELECT evaluated_at IS NOT NULL FROM pipeline.rule_status WHERE rule = ''doctor rule''');
BEGIN;
UPDATE pipeline.rule_states SET error = 'division by zero' WHERE rule = 'doctor rule';
SELECT * FROM public.finds('rule_failing');
UPDATE pipeline.rules SET evaluation_interval = '1 minute' WHERE name = 'doctor rule';
UPDATE pipeline.rule_states SET next_at = now() - interval '1 hour' WHERE rule = 'doctor rule';
SELECT severity, regexp_replace(detail, 'evaluated .*', '...') AS detail FROM public.finds('rule_overdue');
ROLLBACK;
CALL public.wait_until('SELECT count(*) = 0 FROM public.finds(''notifier_not_running'')');
SET ROLE doctor_ann;
SELECT pipeline.drop_rule('doctor rule');
SELECT pipeline.cancel(run_id) FROM pipeline.runs WHERE pipeline = 'doctor';
RESET ROLE;
CALL public.wait_until('SELECT bool_and(state = ''cancelled'') FROM pipeline.runs WHERE pipeline = ''doctor''');
SET ROLE doctor_ann;
SELECT pipeline.drop_pipeline('doctor'), pipeline.drop_pipeline('doctor clock');
SELECT pipeline.drop_pool('doctor pool');
RESET ROLE;
DELETE FROM pipeline.alerts WHERE owner = 'doctor_ann'::regrole;
DROP FUNCTION public.finds(text);
REVOKE USAGE ON SCHEMA pipeline FROM doctor_ann, doctor_bob;
DROP ROLE doctor_ann, doctor_bob;
