-- Two owners who do not trust each other.
\set VERBOSITY terse
SET ROLE pipeline_alice;
SELECT pipeline.create_channel('alert_rights a', 'log');
SELECT pipeline.raise_alert('AlertRights', 'of Alice', fingerprint => 'alert_rights') AS a \gset
SET ROLE pipeline_bob;
-- The same fingerprint is another alert for another owner.
SELECT pipeline.raise_alert('AlertRights', 'of Bob', fingerprint => 'alert_rights') AS b \gset
SELECT :a <> :b AS apart;
SELECT summary, owner FROM pipeline.alerts WHERE alertname = 'AlertRights';
SELECT count(*) FROM pipeline.alert_events WHERE alert_id IN (:a, :b);
SELECT count(*) FROM pipeline.firing_alerts WHERE alertname = 'AlertRights';
SELECT count(*) FROM pipeline.channels WHERE name = 'alert_rights a';
-- What Bob must not do.
\set VERBOSITY sqlstate
SELECT pipeline.resolve_alert(:a);
SELECT pipeline.acknowledge(:a);
\set VERBOSITY terse
SELECT pipeline.drop_channel('alert_rights a');
SELECT pipeline.test_channel('alert_rights a');
SELECT pipeline.create_channel('alert_rights a', 'log', or_replace => true);
SELECT pipeline.create_channel('alert_rights a', 'log');
INSERT INTO pipeline.alerts (owner, fingerprint, alertname, severity, summary, labels, detail) VALUES ('pipeline_bob', 'x', 'x', 'info', 'x', '{}', '{}');
UPDATE pipeline.alerts SET state = 'firing';
DELETE FROM pipeline.alert_events;
DELETE FROM pipeline.channels;
TRUNCATE pipeline.alerts;
-- Traps in a schema of Bob's, first in the path, are not stepped on.
CREATE FUNCTION bob.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2001-01-01'::timestamptz $$;
CREATE FUNCTION bob.left(text, int) RETURNS text LANGUAGE sql AS $$ SELECT current_user::text $$;
SET search_path = bob, pg_catalog;
SELECT pipeline.raise_alert('AlertRights', 'trap', source => 'trap') AS t \gset
SELECT length(fingerprint) = 32 AS hash, started_at > '2020-01-01' AS time FROM pipeline.alerts WHERE alert_id = :t;
RESET search_path;
-- By fingerprint only one's own.
SELECT pipeline.resolve_alert('alert_rights');
RESET ROLE;
SELECT owner, state FROM pipeline.alerts WHERE alertname = 'AlertRights' AND fingerprint = 'alert_rights' ORDER BY owner::text;
-- A superuser may.
SELECT pipeline.acknowledge(:a);
SELECT role = session_user::regrole AS by_me FROM pipeline.alert_events WHERE alert_id = :a AND event = 'acknowledged';
-- A member of the owner may.
CREATE ROLE alert_rights_team;
GRANT pipeline_alice TO alert_rights_team;
SET ROLE alert_rights_team;
SELECT count(*) FROM pipeline.alerts WHERE alert_id = :a;
SELECT pipeline.resolve_alert(:a);
SELECT pipeline.drop_channel('alert_rights a');
RESET ROLE;
SELECT pipeline.resolve_alert(:t);
DROP ROLE alert_rights_team;
-- Without USAGE on the schema there is nothing.
CREATE ROLE alert_rights_none;
SET ROLE alert_rights_none;
SELECT pipeline.raise_alert('x', 'x');
RESET ROLE;
DROP ROLE alert_rights_none;
DROP FUNCTION bob.clock_timestamp(), bob.left(text, int);
