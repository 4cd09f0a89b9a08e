-- Rules: defined, evaluated by a worker that is their owner, pending, firing, resolved.
SET timezone = 'UTC';
SET client_min_messages = warning;
\set VERBOSITY terse
-- Evaluate a rule now, as the notifier would.
CREATE PROCEDURE public.evaluate(wanted text) LANGUAGE plpgsql AS $$
DECLARE before timestamptz;
BEGIN
  -- Not while one is going on, which may have seen less.
  FOR i IN 1..2000 LOOP
    UPDATE pipeline.rule_states SET next_at = clock_timestamp() WHERE rule = wanted AND next_at < 'infinity'
      AND coalesce(started_at, '-infinity') <= coalesce(evaluated_at, '-infinity') RETURNING clock_timestamp() INTO before;
    COMMIT;
    EXIT WHEN NOT EXISTS (SELECT FROM pipeline.rule_states WHERE rule = wanted AND started_at > coalesce(evaluated_at, '-infinity') AND before IS NULL);
    PERFORM pg_sleep(0.01);
  END LOOP;
  FOR i IN 1..2000 LOOP
    PERFORM pipeline._mind_rules();
    COMMIT;
    EXIT WHEN EXISTS (SELECT FROM pipeline.rule_states WHERE rule = wanted AND evaluated_at > before AND coalesce(started_at < evaluated_at, true));
    PERFORM pg_sleep(0.01);
    IF i = 2000 THEN RAISE 'rule % was not evaluated', wanted; END IF;
  END LOOP;
END $$;
CREATE ROLE alert_rule_carl LOGIN;
GRANT USAGE ON SCHEMA pipeline TO alert_rule_carl;
CREATE TABLE alice.stock (branch text, boxes int, how text);
ALTER TABLE alice.stock OWNER TO pipeline_alice;
SET ROLE pipeline_alice;
SET search_path = alice, public;
INSERT INTO stock VALUES ('berlin', 3, 'critical'), ('zürich', 900, 'info'), (NULL, 5, 'warning');
SELECT pipeline.create_rule('alert_rule low', 'SELECT * FROM stock WHERE boxes < 10', for_interval => '1 hour', severity => '{{how}}',
  annotations => '{"summary": "only {{boxes}} boxes in {{ branch }}", "runbook": "https://wiki/stock#{{branch}}", "odd": "{{ and }} {{boxes"}',
  label_columns => '{branch}', evaluation_interval => '1 day', labels => '{"team": "stock"}', description => 'too few');
-- Nobody evaluates it before this commits.
BEGIN;
SELECT pipeline.create_rule('alert_rule low', 'SELECT * FROM stock WHERE boxes < 10', for_interval => '1 hour', severity => '{{how}}',
  annotations => '{"summary": "only {{boxes}} boxes in {{ branch }}", "runbook": "https://wiki/stock#{{branch}}", "odd": "a {{ b"}',
  label_columns => '{branch}', evaluation_interval => '1 day', labels => '{"team": "stock"}', description => 'too few');
RESET search_path;
SELECT name, owner, query, search_path, for_interval, severity, label_columns, timeout, keep_firing_for, max_alerts, enabled, labels FROM pipeline.rules;
SELECT labels, severity, summary, annotations - 'summary' AS annotations, state FROM pipeline.test_rule('alert_rule low') ORDER BY summary;
SELECT rule, state, firing, pending, evaluated_at, error FROM pipeline.rule_status WHERE rule = 'alert_rule low' AND state <> 'new';
COMMIT;
-- Pending, for an hour.
RESET ROLE;
CALL public.evaluate('alert_rule low');
SELECT state, firing, pending, error, failures FROM pipeline.rule_status WHERE rule = 'alert_rule low';
SELECT labels, state, summary, alert_id FROM pipeline.rule_alerts ORDER BY summary;
SELECT count(*) FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
-- The hour is over for one, and the other is gone.
UPDATE pipeline.rule_alerts SET since = since - interval '1 hour' WHERE labels ->> 'branch' = 'berlin';
DELETE FROM alice.stock WHERE branch IS NULL;
CALL public.evaluate('alert_rule low');
SELECT labels, state, since < last_seen AS since FROM pipeline.rule_alerts;
SELECT alertname, severity, state, summary, source, labels, occurrences, owner FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SELECT detail FROM pipeline.alerts WHERE alertname = 'alert_rule low';
-- It is still so: another occurrence, and what is so now.
UPDATE alice.stock SET boxes = 2, how = 'error' WHERE branch = 'berlin';
CALL public.evaluate('alert_rule low');
SELECT severity, summary, occurrences FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SET ROLE pipeline_alice;
SELECT state, since < now() AS since FROM pipeline.test_rule('alert_rule low');
SELECT pipeline.alter_rule('alert_rule low', '{"keep_firing_for": "1 hour", "for_interval": "0"}');
SELECT search_path, keep_firing_for FROM pipeline.rules WHERE name = 'alert_rule low';
RESET ROLE;
-- Gone, but kept; back; gone for good.
DELETE FROM alice.stock;
CALL public.evaluate('alert_rule low');
SELECT state FROM pipeline.rule_alerts;
SELECT count(*) FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
INSERT INTO alice.stock VALUES ('berlin', 1, 'critical');
CALL public.evaluate('alert_rule low');
SELECT state FROM pipeline.rule_alerts;
DELETE FROM alice.stock;
CALL public.evaluate('alert_rule low');
UPDATE pipeline.rule_alerts SET last_seen = last_seen - interval '2 hours';
CALL public.evaluate('alert_rule low');
SELECT state FROM pipeline.rule_alerts;
SELECT count(*) FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SELECT event, e.severity FROM pipeline.alert_events e JOIN pipeline.alerts a USING (alert_id) WHERE alertname LIKE 'alert\_rule%' ORDER BY event_id;
SELECT state FROM pipeline.rule_status;

-- Whoever resolves it by hand while it holds hears of it again; disabling resolves.
INSERT INTO alice.stock VALUES ('berlin', 1, 'critical');
CALL public.evaluate('alert_rule low');
SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
CALL public.evaluate('alert_rule low');
SELECT state, occurrences FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SET ROLE pipeline_alice;
SELECT pipeline.alter_rule('alert_rule low', '{"enabled": false}');
SELECT count(*) FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SELECT state, next_at FROM pipeline.rule_status;
SELECT pipeline.alter_rule('alert_rule low', '{"enabled": true}');
RESET ROLE;
CALL public.evaluate('alert_rule low');
SELECT state FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SET ROLE pipeline_alice;
SELECT pipeline.drop_rule('alert_rule low');
SELECT count(*) FROM pipeline.firing_alerts WHERE alertname LIKE 'alert\_rule%';
SELECT (SELECT count(*) FROM pipeline.rule_states) AS states, (SELECT count(*) FROM pipeline.rule_alerts) AS alerts;
SELECT action, before ->> 'for_interval' AS before, after ->> 'for_interval' AS after FROM pipeline.changes WHERE kind = 'rule' ORDER BY change_id;

-- Without labels there is one alert; the worker is the owner, and only reads.
CREATE FUNCTION alice.who() RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ', session_user, current_user, current_setting('transaction_read_only'), current_schemas(false)) $$;
CREATE FUNCTION alice.writes() RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO alice.stock VALUES ('x', 1); RETURN 'wrote'; END $$;
CREATE FUNCTION alice.opens() RETURNS text LANGUAGE plpgsql AS $$ BEGIN SET transaction_read_only = off; RETURN 'opened'; END $$;
CREATE FUNCTION alice.stays() RETURNS text LANGUAGE sql AS $$ SELECT set_config('statement_timeout', '7', false) || set_config('search_path', 'bob', false) || pg_advisory_lock(4711) $$;
SET search_path = alice;
SELECT pipeline.create_rule('alert_rule who', 'SELECT who(), i FROM generate_series(1, 100000) i', annotations => '{"summary": "{{who}}"}', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule writes', 'SELECT alice.writes()', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule opens', 'SELECT alice.opens()', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule stays', 'SELECT alice.stays()', evaluation_interval => '1 day', annotations => '{"summary": "stays"}');
SELECT pipeline.create_rule('alert_rule slow', 'SELECT pg_sleep(60)', timeout => '1 second', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule many', 'SELECT i FROM generate_series(1, 100000) i', label_columns => '{i}', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule divides', 'SELECT 1 / (SELECT count(*) FROM stock WHERE boxes < 0)', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule severe', 'SELECT ''bad'' AS how', severity => '{{how}}', evaluation_interval => '1 day');
SELECT pipeline.create_rule('alert_rule same', 'SELECT ''x'' AS a, i FROM generate_series(1, 3) i ORDER BY i', label_columns => '{a}', annotations => '{"summary": "{{i}}"}', evaluation_interval => '1 day');
RESET search_path;
RESET ROLE;
CALL public.evaluate('alert_rule stays');
CALL public.evaluate('alert_rule who');
CALL public.evaluate('alert_rule writes');
CALL public.evaluate('alert_rule opens');
CALL public.evaluate('alert_rule slow');
CALL public.evaluate('alert_rule many');
CALL public.evaluate('alert_rule divides');
CALL public.evaluate('alert_rule severe');
CALL public.evaluate('alert_rule same');
SELECT rule, state, firing, error, failures > 0 AS failed FROM pipeline.rule_status ORDER BY rule COLLATE "C";
SELECT alertname, severity, summary, labels - 'alertname' - 'severity' AS labels, source FROM pipeline.firing_alerts
WHERE source LIKE 'rule/alert\_rule%' ORDER BY source COLLATE "C";
SELECT count(*) FROM alice.stock WHERE branch = 'x';
-- Mended: the alert that it failed is resolved, and nothing else was touched.
SET ROLE pipeline_alice;
SELECT pipeline.alter_rule('alert_rule many', '{"query": "SELECT i FROM generate_series(1, 3) i"}');
RESET ROLE;
CALL public.evaluate('alert_rule many');
SELECT alertname, labels ->> 'i' AS i FROM pipeline.firing_alerts WHERE source = 'rule/alert_rule many' ORDER BY i;
-- It fails now: its alerts stay.
UPDATE pipeline.rules SET query = 'SELECT i FROM no_such_table' WHERE name = 'alert_rule many';
CALL public.evaluate('alert_rule many');
SELECT alertname, count(*), max(left(summary, 90)) AS summary FROM pipeline.firing_alerts WHERE source = 'rule/alert_rule many' GROUP BY 1 ORDER BY 1;

-- An owner that no worker can be: the alert says so, and the others are evaluated.
BEGIN;
SET ROLE alert_rule_carl;
SELECT pipeline.create_rule('alert_rule carl', 'SELECT 1', evaluation_interval => '1 day');
RESET ROLE;
REVOKE CONNECT ON DATABASE :DBNAME FROM PUBLIC;
COMMIT;
CALL public.evaluate('alert_rule carl');
GRANT CONNECT ON DATABASE :DBNAME TO PUBLIC;
SELECT state, error FROM pipeline.rule_status WHERE rule = 'alert_rule carl';
CALL public.evaluate('alert_rule who');
CALL public.evaluate('alert_rule carl');
SELECT state, error FROM pipeline.rule_status WHERE rule = 'alert_rule carl';
SELECT count(*) FROM pipeline.firing_alerts WHERE source = 'rule/alert_rule carl' AND alertname = 'RuleFailed';
-- A worker that cannot start.
SELECT current_database() AS database \gset
\setenv PIPELINE_DB :database
UPDATE pipeline.rule_states SET next_at = 'infinity' WHERE rule <> 'alert_rule carl';
\! psql -qX -d postgres -c "ALTER DATABASE \"$PIPELINE_DB\" ALLOW_CONNECTIONS false"
CALL public.evaluate('alert_rule carl');
\! psql -qX -d postgres -c "ALTER DATABASE \"$PIPELINE_DB\" ALLOW_CONNECTIONS true"
SELECT state, error FROM pipeline.rule_status WHERE rule = 'alert_rule carl';
CALL public.evaluate('alert_rule carl');
SELECT state, error FROM pipeline.rule_status WHERE rule = 'alert_rule carl';
-- One that takes its worker down is left alone after a while, until it is altered.
UPDATE pipeline.rule_states SET unfinished = 5 WHERE rule = 'alert_rule carl';
CALL public.evaluate('alert_rule carl');
SELECT state, error, next_at FROM pipeline.rule_status WHERE rule = 'alert_rule carl';
SELECT pipeline.drop_rule('alert_rule carl');
SELECT count(*) FROM pipeline.firing_alerts WHERE source = 'rule/alert_rule carl';

-- A rule is evaluated as soon as it is due, and again when it is due again; one that hangs holds up its owner's only.
SET ROLE pipeline_alice;
SELECT pipeline.create_rule('alert_rule hangs', 'SELECT pg_sleep(60)', timeout => '30 seconds', evaluation_interval => '1 day');
SET ROLE pipeline_bob;
SELECT pipeline.create_rule('alert_rule ticks', 'SELECT 1', evaluation_interval => '1 second');
RESET ROLE;
CALL public.wait_until('SELECT (SELECT pipeline._mind_rules() IS NOT NULL) AND count(*) = 1 FROM pg_stat_activity WHERE application_name = ''pipeline rule: alert_rule hangs''');
CALL public.wait_until('SELECT (SELECT pipeline._mind_rules() IS NOT NULL) AND count(*) = 1 FROM pipeline.firing_alerts WHERE source = ''rule/alert_rule ticks'' AND occurrences >= 2');
SELECT state FROM pipeline.rule_status WHERE rule = 'alert_rule hangs';
SET ROLE pipeline_alice;
SELECT pipeline.drop_rule('alert_rule hangs');
-- What was dropped meanwhile is not recorded.
RESET ROLE;
SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pipeline rule: alert_rule hangs';
CALL public.wait_until('SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = ''pipeline rule: alert_rule hangs''');
SELECT count(*) FROM pipeline.firing_alerts WHERE source = 'rule/alert_rule hangs';

-- Two owners who do not trust each other.
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.rules WHERE owner <> 'pipeline_bob'::regrole;
SELECT count(*) FROM pipeline.rule_states WHERE owner <> 'pipeline_bob'::regrole;
SELECT count(*) FROM pipeline.rule_alerts WHERE owner <> 'pipeline_bob'::regrole;
SELECT rule FROM pipeline.rule_status;
SELECT pipeline.drop_rule('alert_rule who');
SELECT * FROM pipeline.test_rule('alert_rule who');
SELECT pipeline.create_rule('alert_rule who', 'SELECT 1', or_replace => true);
SELECT pipeline.create_rule('alert_rule who', 'SELECT 1');
SELECT pipeline.create_rule('alert_rule bob', 'SELECT * FROM alice.stock');
UPDATE pipeline.rules SET query = 'SELECT 1';
SELECT pipeline._mind_rules();
SELECT pipeline.drop_rule('alert_rule ticks');
-- What no rule may be.
RESET ROLE;
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1')$$);
SET ROLE pipeline_alice;
SELECT public.raises($$SELECT pipeline.create_rule('', 'SELECT 1')$$);
SELECT public.raises($$SELECT pipeline.create_rule(NULL, 'SELECT 1')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', NULL)$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'DELETE FROM alice.stock')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'WITH d AS (DELETE FROM alice.stock RETURNING 1) SELECT * FROM d')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1; SELECT 2')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1) x; DROP TABLE alice.stock; --')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT nothing')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', severity => 'fatal')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', severity => '{{b}}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', annotations => '[]')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', annotations => '{"summary": 1}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', annotations => '{"summary": "{{ b }}"}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', label_columns => '{b}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS "a b"', label_columns => '{a b}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS severity', label_columns => '{severity}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', labels => '{"severity": "x"}')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', for_interval => '-1 second')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', evaluation_interval => '0')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', timeout => '1 hour')$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', max_alerts => 0)$$);
SELECT public.raises($$SELECT pipeline.create_rule('alert_rule x', 'SELECT 1 AS a', max_alerts => 100000)$$);
SELECT public.raises($$SELECT pipeline.drop_rule('no such rule')$$);
SELECT public.raises($$SELECT pipeline.test_rule('no such rule')$$);
SELECT public.raises($$SELECT * FROM pipeline.test_rule('alert_rule divides')$$);

-- As a document.
SELECT substring(pipeline.export() FROM E'SELECT pipeline\\.create_rule\\(name => .alert_rule same.*?\\);');
SELECT pipeline.drop_rule('alert_rule many');
SELECT object, name, action FROM pipeline.apply(jsonb_build_object('rules', pipeline.export(format => 'jsonb')::jsonb -> 'rules')) WHERE action <> 'unchanged';
SELECT count(pipeline.drop_rule(name)) FROM pipeline.rules;
SELECT count(*) FROM pipeline.firing_alerts WHERE source LIKE 'rule/%';
DROP TABLE alice.stock;
DROP FUNCTION alice.who(), alice.writes(), alice.opens(), alice.stays();
RESET ROLE;
DROP PROCEDURE public.evaluate(text);
DELETE FROM pipeline.alerts WHERE owner = 'alert_rule_carl'::regrole;
REVOKE USAGE ON SCHEMA pipeline FROM alert_rule_carl;
DROP ROLE alert_rule_carl;
