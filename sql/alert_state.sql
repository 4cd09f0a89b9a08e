SET timezone = 'UTC';
-- The states of an alert, its occurrences and its history.
SET client_min_messages = warning;
SET ROLE pipeline_alice;

SELECT pipeline.raise_alert('AlertState', 'first', source => 'alert_state/a') AS a \gset
SELECT alertname, severity, state, summary, source, labels, detail, occurrences, owner, resolved_at IS NULL AS open
FROM pipeline.alerts WHERE alert_id = :a;
-- Again: the same alert.
SELECT pipeline.raise_alert('AlertState', 'second', source => 'alert_state/a', detail => '{"x": 1}') = :a AS same;
-- The severity is no part of the fingerprint; a label and the source are.
SELECT pipeline.raise_alert('AlertState', 'third', 'critical', source => 'alert_state/a') = :a AS same;
SELECT pipeline.raise_alert('AlertState', 'other', source => 'alert_state/b') AS b \gset
SELECT pipeline.raise_alert('AlertState', 'other', source => 'alert_state/a', labels => '{"team": "payments"}') AS c \gset
SELECT count(DISTINCT id) FROM (VALUES (:a), (:b), (:c)) AS v(id);
SELECT severity, state, summary, labels, detail, occurrences FROM pipeline.alerts WHERE alert_id = :a;
SELECT length(fingerprint) FROM pipeline.alerts WHERE alert_id = :a;

-- Acknowledge; raising it meanwhile changes no state.
SELECT pipeline.acknowledge(:a, 'on it');
SELECT pipeline.acknowledge(:a, 'still on it', now() + interval '1 day');
SELECT pipeline.raise_alert('AlertState', 'fourth', 'critical', source => 'alert_state/a') = :a AS same;
SELECT state, occurrences, acknowledged_by, acknowledged_until > now() AS until_later FROM pipeline.alerts WHERE alert_id = :a;
SELECT state, acknowledged_by FROM pipeline.firing_alerts WHERE alert_id = :a;
-- The acknowledgement runs out: a new raise fires again.
SELECT pipeline.acknowledge(:a, 'back in a moment', clock_timestamp() + interval '500 ms');
DO $$ BEGIN
  WHILE clock_timestamp() <= (SELECT acknowledged_until FROM pipeline.alerts
    WHERE source = 'alert_state/a' AND labels ->> 'team' IS NULL) LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT state FROM pipeline.alerts WHERE alert_id = :a;
SELECT pipeline.raise_alert('AlertState', 'fifth', 'critical', source => 'alert_state/a') = :a AS same;
SELECT state FROM pipeline.alerts WHERE alert_id = :a;

-- Resolve; the second time says that it was.
SELECT pipeline.resolve_alert(:a);
SELECT pipeline.resolve_alert(:a);
SELECT state, resolved_at IS NULL AS open FROM pipeline.alerts WHERE alert_id = :a;
SELECT count(*) FROM pipeline.firing_alerts WHERE alert_id = :a;
-- Raised again it is a new one.
SELECT pipeline.raise_alert('AlertState', 'sixth', source => 'alert_state/a') AS d \gset
SELECT :d > :a AS new;
SELECT event, state, severity, role, note FROM pipeline.alert_events WHERE alert_id IN (:a, :d) ORDER BY event_id;

-- A fingerprint of one's own.
SELECT pipeline.raise_alert('AlertState', 'own', fingerprint => 'alert_state own') AS e \gset
SELECT pipeline.raise_alert('AlertOther', 'own', 'critical', '{"x": "y"}', 'elsewhere', fingerprint => 'alert_state own') = :e AS same;
-- The alert keeps its name, its source and its labels, but for the severity.
SELECT alertname, severity, source, labels FROM pipeline.alerts WHERE alert_id = :e;
SELECT pipeline.resolve_alert('alert_state own');
SELECT pipeline.resolve_alert('alert_state own');
SELECT pipeline.resolve_alert('no such fingerprint');

-- In a transaction that rolls back nothing happened.
BEGIN;
SELECT pipeline.raise_alert('AlertState', 'gone', source => 'alert_state/gone') > 0 AS raised;
SAVEPOINT s;
SELECT pipeline.resolve_alert(:b);
ROLLBACK TO s;
SELECT state FROM pipeline.alerts WHERE alert_id = :b;
ROLLBACK;
SELECT count(*) FROM pipeline.alerts WHERE source = 'alert_state/gone';

-- Unicode and quotes.
SELECT pipeline.raise_alert('Prüfung "ö"', E'it''s\nbroken ✗', labels => '{"where_1": "Köln \"Süd\""}', source => 'alert_state/ü') AS f \gset
SELECT alertname, summary, labels FROM pipeline.alerts WHERE alert_id = :f;

-- Errors.
SELECT pipeline.raise_alert(NULL, 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('', 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', '');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', 'fatal');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', fingerprint => '');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '[1]');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '{"a b": "1"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '{"1a": "1"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '{"a": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '{"a": {"b": "c"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '{"severity": "info"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.raise_alert('x', 'x', labels => '{"alertname": "y"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.acknowledge(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.acknowledge(-1);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.acknowledge(:b, until_time => '2001-02-03 04:05:06+00');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.resolve_alert(-1);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.resolve_alert(NULL::bigint);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.resolve_alert(NULL::text);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
DO $$
BEGIN
  PERFORM pipeline.acknowledge(alert_id) FROM pipeline.alerts
  WHERE source = 'alert_state/a' AND state = 'resolved';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  RAISE WARNING '%', regexp_replace(SQLERRM, '\d+', 'N');
END $$;
-- NULL labels and detail are the empty ones.
SELECT pipeline.raise_alert('AlertState', 'nulls', labels => NULL, detail => NULL, source => 'alert_state/n') AS n \gset
SELECT labels, detail FROM pipeline.alerts WHERE alert_id = :n;
SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.firing_alerts WHERE source LIKE 'alert_state/%';
