-- What the channels are told.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE alert_deliver_alice;
CREATE ROLE alert_deliver_bob;
GRANT USAGE ON SCHEMA pipeline TO alert_deliver_alice, alert_deliver_bob;
CREATE SCHEMA alert_deliver;
CREATE EXTENSION dblink SCHEMA alert_deliver;
CREATE FUNCTION alert_deliver.heard() RETURNS TABLE (on_channel text, message jsonb)
LANGUAGE sql AS $$
  -- The listener sends what it has heard before it is ready again.
  SELECT alert_deliver.dblink_exec('listener', 'SET application_name = ''listener''');
  SELECT notify_name, extra::jsonb FROM alert_deliver.dblink_get_notify('listener') WITH ORDINALITY AS n(notify_name, be_pid, extra, i) ORDER BY i;
$$;
SELECT alert_deliver.dblink_connect('listener', format('host=%s port=%s dbname=%L user=%L',
  split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
SELECT alert_deliver.dblink_exec('listener', 'LISTEN alert_deliver_a');
SELECT alert_deliver.dblink_exec('listener', 'LISTEN alert_deliver_b');
SELECT alert_deliver.dblink_exec('listener', 'LISTEN alert_deliver_root');

SET ROLE alert_deliver_alice;
SELECT pipeline.create_channel('alert_deliver a', 'notify', '{"channel": "alert_deliver_a"}');
SET ROLE alert_deliver_bob;
SELECT pipeline.create_channel('alert_deliver b', 'notify', '{"channel": "alert_deliver_b"}');
RESET ROLE;

-- Alice's alert goes to Alice's channel, not to Bob's.
SET ROLE alert_deliver_alice;
SELECT pipeline.raise_alert('AlertDeliver', 'it broke', labels => '{"team": "payments"}', source => 'alert_deliver/1', detail => '{"rows": 3}') AS a \gset
RESET ROLE;
SELECT on_channel, message - '{alert_id,at,started_at,fingerprint}'::text[] AS message, (message ->> 'alert_id')::bigint = :a AS id FROM alert_deliver.heard();
-- Another occurrence says nothing; every transition does.
SET ROLE alert_deliver_alice;
SELECT pipeline.raise_alert('AlertDeliver', 'it broke', labels => '{"team": "payments"}', source => 'alert_deliver/1') = :a AS same;
RESET ROLE;
SELECT count(*) FROM alert_deliver.heard();
SET ROLE alert_deliver_alice;
SELECT pipeline.raise_alert('AlertDeliver', 'worse', 'critical', labels => '{"team": "payments"}', source => 'alert_deliver/1') = :a AS same;
SELECT pipeline.acknowledge(:a, 'on it');
SELECT pipeline.resolve_alert(:a);
RESET ROLE;
SELECT on_channel, message ->> 'event' AS event, message ->> 'state' AS state, message ->> 'severity' AS severity, message ->> 'note' AS note FROM alert_deliver.heard();
SELECT event, channels FROM pipeline.alert_events WHERE alert_id = :a ORDER BY event_id;

-- Rolled back, in whole or in part: nothing is told.
SET ROLE alert_deliver_alice;
BEGIN;
SELECT pipeline.raise_alert('AlertDeliver', 'kept', source => 'alert_deliver/kept') > 0 AS raised;
SAVEPOINT s;
SELECT pipeline.raise_alert('AlertDeliver', 'gone', source => 'alert_deliver/gone') > 0 AS raised;
ROLLBACK TO s;
COMMIT;
RESET ROLE;
SELECT message ->> 'summary' AS summary FROM alert_deliver.heard();

-- A superuser's channel hears all.
SELECT pipeline.create_channel('alert_deliver root', 'notify', '{"channel": "alert_deliver_root"}');
SET ROLE alert_deliver_bob;
SELECT pipeline.raise_alert('AlertDeliver', 'of Bob', source => 'alert_deliver/2') AS b \gset
SELECT channels FROM pipeline.alert_events WHERE alert_id = :b;
RESET ROLE;
SELECT on_channel, message ->> 'owner' AS owner, message ->> 'summary' AS summary FROM alert_deliver.heard()
WHERE message ->> 'alertname' = 'AlertDeliver';
SELECT pipeline.drop_channel('alert_deliver root');

-- A message that is too long loses its detail, then its labels, then the ends
-- of its texts; it stays JSON.
SET ROLE alert_deliver_alice;
SELECT pipeline.raise_alert('AlertDeliver', 'long detail', source => 'alert_deliver/3', detail => jsonb_build_object('x', repeat('x', 10000))) > 0 AS raised;
SELECT pipeline.raise_alert('AlertDeliver', 'long label', source => 'alert_deliver/4', labels => jsonb_build_object('x', repeat('x', 10000))) > 0 AS raised;
SELECT pipeline.raise_alert('AlertDeliver', repeat(E'\u0001\u20ac', 5000), source => 'alert_deliver/' || repeat(E'"', 9000), fingerprint => repeat('"', 200)) > 0 AS raised;
RESET ROLE;
SELECT message ->> 'truncated' AS truncated, message -> 'detail' AS detail, message -> 'labels' ->> 'alertname' AS alertname,
       length(message ->> 'summary') AS summary, length(message ->> 'source') AS source FROM alert_deliver.heard();

-- The line in the log.
SET ROLE alert_deliver_alice;
SELECT pipeline.create_channel('alert_deliver log', 'log');
RESET ROLE;
\setenv PGDATABASE :DBNAME
\! psql -qXAt -v VERBOSITY=terse -c "SET client_min_messages = log" -c "SET ROLE alert_deliver_alice" -c "SELECT pipeline.raise_alert('AlertDeliver', E'two\nlines', source => 'alert_deliver/log') > 0" -c "SELECT pipeline.acknowledge(alert_id, 'a note') FROM pipeline.firing_alerts WHERE source = 'alert_deliver/log'" 2>&1 | sed 's/alert [0-9]* /alert N /'
-- More than one line, and none for what rolled back.
\! psql -qXAt -v VERBOSITY=terse -c "SET client_min_messages = log" -c "SET ROLE alert_deliver_alice" -c "BEGIN; SELECT pipeline.raise_alert('AlertDeliver', 'line ' || i, source => 'alert_deliver/log' || i) > 0 FROM generate_series(1, 3) i; COMMIT" -c "BEGIN; SELECT pipeline.raise_alert('AlertDeliver', 'gone', source => 'alert_deliver/gone') > 0; ROLLBACK" 2>&1 | sed 's/alert [0-9]* /alert N /'
-- A client that cannot be told in its encoding is not told, and all is well.
\! PGCLIENTENCODING=LATIN1 psql -qXAt -v VERBOSITY=terse -c "SET client_min_messages = log" -c "SET ROLE alert_deliver_alice" -c "SELECT pipeline.raise_alert('AlertDeliver', 'Z' || chr(252) || 'rich ' || chr(28450), source => 'alert_deliver/log latin1') > 0" -c "SELECT count(*) FROM pipeline.firing_alerts WHERE source = 'alert_deliver/log latin1'" 2>&1

SELECT alert_deliver.dblink_disconnect('listener');
SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.firing_alerts WHERE alertname = 'AlertDeliver';
SELECT pipeline.drop_channel(name) FROM pipeline.channels WHERE name LIKE 'alert_deliver %';
DROP SCHEMA alert_deliver CASCADE;
REVOKE USAGE ON SCHEMA pipeline FROM alert_deliver_alice, alert_deliver_bob;
DELETE FROM pipeline.alerts WHERE alertname = 'AlertDeliver';
DROP ROLE alert_deliver_alice, alert_deliver_bob;
