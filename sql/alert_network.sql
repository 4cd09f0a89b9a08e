-- Channels over the network: what create_channel() refuses, and who may use
-- one.  That they deliver is tested with peers, in test/t/.
SET client_min_messages = warning;
\set VERBOSITY terse
SET ROLE pipeline_alice;
-- Nothing is allowed unless a superuser says so.
\set VERBOSITY default
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x"}');
\set VERBOSITY terse
RESET ROLE;
-- What is malformed is refused.
SELECT format('ALTER SYSTEM SET pipeline.allowed_hosts = %L', bad)
FROM unnest(ARRAY['a b', 'https://x', 'x:0', 'x:70000', 'x/24', '10.0.0.0/33', '1.2.3', '*.com:x', '*', '*.com', 'x:', '[::1', 'user@x', 'http://', '10.0.0.0/8:80', 'ex_ämple', 'a.example, b.']) bad \gexec
ALTER SYSTEM SET pipeline.allowed_hosts = 'hooks.example.com, *.corp.example:8443, http://plain.example:80, 10.0.0.0/8, [fd00::1]:9093, smtp://mail.example:25, 192.0.2.7';
SELECT pg_reload_conf();
-- A session that begins now knows of it.
\c -
SHOW pipeline.allowed_hosts;
SET client_min_messages = warning;
SET ROLE pipeline_alice;
CREATE TEMP TABLE urls (i int GENERATED ALWAYS AS IDENTITY, url text);
INSERT INTO urls (url) VALUES
  ('https://hooks.example.com/x?y=z#w'), ('https://hooks.example.com:8443/'), ('HTTPS://HOOKS.EXAMPLE.COM'),
  ('http://hooks.example.com/'), ('https://evil.example/'), ('https://hooks.example.com.evil.example/'), ('https://xhooks.example.com/'),
  ('https://a.corp.example:8443/'), ('https://a.b.corp.example:8443/'), ('https://corp.example:8443/'), ('https://a.corp.example/'), ('https://a.corp.example:8443.evil.example/'),
  ('http://plain.example/'), ('http://plain.example:81/'), ('https://plain.example/'),
  ('https://10.1.2.3/'), ('https://11.1.2.3/'), ('http://10.1.2.3/'), ('https://[fd00::1]:9093/'), ('https://[fd00:0::1]:9093/'), ('https://[fd00::2]:9093/'), ('https://[fd00::1]/'),
  ('https://192.0.2.7:1/'), ('https://0xa.1.2.3/'), ('https://167838211/'), ('https://10.1.2/'), ('https://010.1.2.3/'), ('https://127.0.0.1/'), ('https://[::ffff:10.1.2.3]/'), ('https://[::1]/'), ('https://localhost/'),
  ('https://user@hooks.example.com/'), ('https://hooks.example.com@evil.example/'), ('https://hooks.example.com\@evil.example/'), (E'https://hooks.example.com/\r\nx: y'), ('https://hooks.example.com /'),
  ('https://hooks.example.com./'), ('https://hooks..example.com/'), ('https:///x'), ('https://'), ('//hooks.example.com/'), ('ftp://hooks.example.com/'), ('file:///etc/passwd'), ('gopher://hooks.example.com/'), ('https://hooks.example.com:0/'), ('https://hooks.example.com:99999/'), ('https://hooks.example.com:443x/'), ('https://hôoks.example.com/'),
  ('https://hooks.example.com/' || repeat('x', 2100)), ('https://[fd00::1/'), ('https://[hooks.example.com]/'), (''), ('x');
CREATE FUNCTION pg_temp.try(url text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text;
BEGIN
  PERFORM pipeline.create_channel('alert_network try', 'webhook', jsonb_build_object('url', url), or_replace => true);
  RETURN 'allowed';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ' ' || right(regexp_replace(coalesce(nullif(d, ''), SQLERRM), '^.*: ', ''), 90);
END $$;
SELECT left(url, 60) AS url, pg_temp.try(url) FROM urls ORDER BY i;

-- The other arguments.
SELECT pipeline.create_channel('alert_network', 'webhook');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "uri": "x"}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": 5}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "smtp://mail.example:25/"}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "headers": {"Authorization": "x"}}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "headers": {"webhook-id": "x"}}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "headers": {"X-Team": "a\r\nb: c"}}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "headers": {"X: y\r\nTeam": "a"}}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "headers": []}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "heartbeat": "soon"}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x", "heartbeat": "1 month"}');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x"}', rate_per_minute => -1);
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/x"}', max_attempts => 0);
SELECT pipeline.create_channel('alert_network', 'webhook', '{}', secret_ref => '../bob/token');
SELECT pipeline.create_channel('alert_network', 'webhook', '{}', secret_ref => 'https://hooks.example.com/services/T0/B0/secret');
SELECT pipeline.create_channel('alert_network', 'webhook', '{}', secret_ref => '');
BEGIN;
SELECT pipeline.create_channel('alert_network', 'webhook', '{"heartbeat": "1 minute"}', secret_ref => 'token_1');
ROLLBACK;
SELECT pipeline.create_channel('alert_network', 'webhook', secret_ref => 'token_1', rate_per_minute => 0, max_attempts => 3, labels => '{"team": "x"}');
SELECT name, kind, config, secret_ref, rate_per_minute, max_attempts FROM pipeline.channels WHERE name = 'alert_network';
SELECT pipeline.alter_channel('alert_network', '{"config": {"url": "https://hooks.example.com/y"}, "max_attempts": null}');
SELECT name, kind, config, secret_ref, rate_per_minute, max_attempts FROM pipeline.channels WHERE name = 'alert_network';
SELECT line FROM pipeline.export() AS line WHERE line LIKE '%alert_network''%' ;

-- The kinds have each their own.
SELECT pipeline.create_channel('alert_network kind', 'slack');
SELECT pipeline.create_channel('alert_network kind', 'slack', '{"url": "https://hooks.example.com/services/T0"}', secret_ref => 'x');
SELECT pipeline.create_channel('alert_network kind', 'slack', '{"heartbeat": "1 minute"}', secret_ref => 'x');
SELECT pipeline.create_channel('alert_network kind', 'teams');
SELECT pipeline.create_channel('alert_network kind', 'pagerduty', secret_ref => 'x');
SELECT pipeline.create_channel('alert_network kind', 'alertmanager');
SELECT pipeline.create_channel('alert_network kind', 'alertmanager', '{"url": "https://hooks.example.com/?x"}');
SELECT pipeline.create_channel('alert_network kind', 'alertmanager', '{"url": "https://hooks.example.com/", "ends_after": "1 second"}');
SELECT pipeline.create_channel('alert_network kind', 'alertmanager', '{"url": "https://hooks.example.com/"}');
SELECT config FROM pipeline.channels WHERE name = 'alert_network kind';
SELECT pipeline.create_channel('alert_network kind', 'slack', secret_ref => 'x', or_replace => true);
SELECT kind, config, secret_ref FROM pipeline.channels WHERE name = 'alert_network kind';
SELECT pipeline.drop_channel('alert_network kind');

-- A channel is its owner's; whom it is granted to may see it.
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.channels WHERE name = 'alert_network';
SELECT pipeline.grant_channel('alert_network', 'pipeline_bob');
SELECT pipeline.test_channel('alert_network');
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/bob"}', or_replace => true);
SET ROLE pipeline_alice;
SELECT pipeline.grant_channel('alert_network', 'pipeline_bob');
SELECT pipeline.grant_channel('alert_network', 'pipeline_bob');
SELECT pipeline.grant_channel('no such channel', 'pipeline_bob');
SELECT pipeline.grant_channel('alert_network', 0::regrole);
SELECT pipeline.grant_channel(NULL, 'pipeline_bob');
SET ROLE pipeline_bob;
SELECT name, secret_ref FROM pipeline.channels WHERE name = 'alert_network';
SELECT channel, owner, role, granted_by = session_user::regrole AS by_session FROM pipeline.channel_grants;
SELECT name, state, pending FROM pipeline.channel_status WHERE name = 'alert_network';
SELECT pipeline.test_channel('alert_network');
SELECT pipeline.revoke_channel('alert_network', 'pipeline_bob');
SET ROLE pipeline_alice;
SELECT pipeline.revoke_channel('alert_network', 'pipeline_bob');
SELECT pipeline.revoke_channel('alert_network', 'pipeline_bob');
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.channels WHERE name = 'alert_network';
RESET ROLE;
-- To administer is not enough to say where the secret of another goes.
CREATE ROLE alert_network_admin;
GRANT USAGE ON SCHEMA pipeline TO alert_network_admin;
ALTER SYSTEM SET pipeline.admin_role = 'alert_network_admin';
SELECT pg_reload_conf();
-- A session that begins now knows of it.
\c -
\set VERBOSITY terse
SET client_min_messages = warning;
SET ROLE alert_network_admin;
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/admin"}', secret_ref => 'token_1', or_replace => true);
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/admin"}', or_replace => true);
RESET ROLE;

-- redeliver() and what belongs to it.
SET ROLE pipeline_alice;
BEGIN;
SELECT pipeline.test_channel('alert_network') AS n \gset
SELECT event, state, attempts, message ->> 'test' AS test FROM pipeline.notifications WHERE notification_id = :n;
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT pipeline.redeliver(:n);
ROLLBACK TO s;
\set VERBOSITY terse
SELECT pipeline.drop_channel('alert_network');
SELECT state, last_error FROM pipeline.notifications WHERE notification_id = :n;
SAVEPOINT s;
\set VERBOSITY sqlstate
SELECT pipeline.redeliver(:n);
ROLLBACK TO s;
\set VERBOSITY terse
SELECT pipeline.create_channel('alert_network', 'webhook', '{"url": "https://hooks.example.com/y"}');
SELECT pipeline.redeliver(:n);
SELECT state, last_error FROM pipeline.notifications WHERE notification_id = :n;
SET ROLE pipeline_bob;
\set VERBOSITY sqlstate
SELECT pipeline.redeliver(:n);
ROLLBACK;
SET ROLE pipeline_bob;
SELECT pipeline.redeliver(-1);
SELECT pipeline.redeliver(NULL);
\set VERBOSITY terse
RESET ROLE;
SELECT pipeline.drop_channel(name) FROM pipeline.channels WHERE name LIKE 'alert_network%' ORDER BY name;
ALTER SYSTEM RESET pipeline.allowed_hosts;
ALTER SYSTEM RESET pipeline.admin_role;
SELECT pg_reload_conf();
REVOKE USAGE ON SCHEMA pipeline FROM alert_network_admin;
DROP ROLE alert_network_admin;
