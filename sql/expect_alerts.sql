-- Failing checks as notifications: one message per suite with all that fail, told
-- again when that changes, resolved when all pass. The time moves by hand, in a
-- transaction that is rolled back: the notifier sees nothing of it.
\set VERBOSITY terse
SET client_min_messages = warning;
BEGIN;
CREATE SCHEMA expect_alerts AUTHORIZATION pipeline_alice;
SET LOCAL search_path = expect_alerts, pg_temp;
SET LOCAL ROLE pipeline_alice;
CREATE TABLE expect_alerts.t (id int, amount int, note text);
INSERT INTO expect_alerts.t VALUES (1, -5, NULL), (1, 3, 'x'), (2, 7, 'y');
SELECT pipeline.create_suite('loads', 'expect_alerts.t', labels => '{"team": "sales"}');
SELECT pipeline.create_suite('other', 'expect_alerts.t', labels => '{"team": "sales"}');
SELECT count(pipeline.expect(s, 'expect_column_' || e, k::jsonb, v)) FROM (VALUES ('loads', 'values_to_be_unique', '{"column": "id"}', 'critical'), ('loads', 'values_to_be_between', '{"column": "amount", "min_value": 0}', 'error'),
  ('loads', 'values_to_not_be_null', '{"column": "note"}', 'warning'), ('loads', 'max_to_be_between', '{"column": "amount", "max_value": 100}', 'error'), ('other', 'values_to_not_be_null', '{"column": "note"}', 'error')) AS x(s, e, k, v);
RESET ROLE;
SELECT pipeline.create_channel('quality chat', 'log');
SELECT pipeline.create_route('quality', ARRAY['alertname="CheckFailed"', 'team="sales"'], '{quality chat}', group_by => '{suite}', group_wait => '30 s', group_interval => '5 min');
CREATE FUNCTION pg_temp.validate(s text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v pipeline.validation_result;
BEGIN
  SET LOCAL ROLE pipeline_alice;
  v := pipeline.validate(s);
  RESET ROLE;
  RETURN format('%s: %s, %s failed, %s warned', s, v.success, v.failed, v.warned);
END $$;
CREATE FUNCTION pg_temp.told(t interval) RETURNS TABLE (event text, title text, suite text, checks text) LANGUAGE plpgsql AS $$
DECLARE before bigint := (SELECT coalesce(max(notification_id), 0) FROM pipeline.notifications);
BEGIN
  PERFORM pipeline._dispatch_alerts(now() + t);
  RETURN QUERY SELECT n.event, n.message ->> 'title', n.message -> 'alerts' -> 0 -> 'labels' ->> 'suite',
    (SELECT string_agg(format('%s %s (%s)', a -> 'labels' ->> 'expectation', a ->> 'state', a ->> 'severity'), ', ' ORDER BY a -> 'labels' ->> 'expectation' COLLATE "C") FROM jsonb_array_elements(n.message -> 'alerts') a)
  FROM pipeline.notifications n WHERE n.notification_id > before AND n.channel = 'quality chat' ORDER BY 3;
END $$;

SELECT pg_temp.validate('loads'), pg_temp.validate('other');
SELECT * FROM pg_temp.told('0');
-- Two suites, two messages, whatever the number of checks.
SELECT * FROM pg_temp.told('30 s');
-- The same again: nothing new.
SELECT pg_temp.validate('loads'), pg_temp.validate('other');
SELECT * FROM pg_temp.told('5 min 30 s');
-- One is mended, another fails: the message says how the suite stands.
UPDATE expect_alerts.t SET amount = CASE WHEN amount < 0 THEN 5 ELSE 500 END, note = coalesce(note, 'z');
SELECT pg_temp.validate('loads'), pg_temp.validate('other');
SELECT * FROM pg_temp.told('10 min 30 s');
-- All pass: resolved.
UPDATE expect_alerts.t SET amount = 1, id = id + CASE WHEN note = 'x' THEN 7 ELSE 0 END;
SELECT pg_temp.validate('loads'), pg_temp.validate('other');
SELECT * FROM pg_temp.told('15 min 30 s');
SELECT * FROM pg_temp.told('30 min');
SELECT count(*) FROM pipeline.alerts WHERE alertname = 'CheckFailed' AND labels ->> 'suite' IN ('loads', 'other') AND state <> 'resolved';
ROLLBACK;
