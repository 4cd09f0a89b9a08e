-- On-call schedules and escalations.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET ROLE pipeline_alice;
SELECT pipeline.create_channel('e ' || c, 'log') FROM unnest('{ann,ann2,ben,cy,boss,chat}'::text[]) c;
SELECT pipeline.create_on_call('e weekly', '{"people": [{"name": "Ann", "channels": ["e ann", "e ann2"]}, {"name": "Ben", "channels": ["e ben"]}, {"name": "Cy", "channels": ["e cy"]}], "start": "2026-01-05 09:00"}', 'Europe/Berlin');
SELECT pipeline.create_on_call('e halves', '{"people": [{"name": "Ann", "channels": ["e ann"]}, {"name": "Ben", "channels": ["e ben"]}], "start": "2026-01-05 02:30", "shift": "12 hours"}', 'America/New_York');
SELECT * FROM pipeline.who_is_on_call('e weekly', '2026-01-05 08:00+00');
SELECT * FROM pipeline.who_is_on_call('e weekly', '2026-01-05 07:59:59+00');
SELECT person FROM pipeline.who_is_on_call('e weekly', '2001-05-05');
-- Against SQL, every third hour of two years, through every change of the clock.
WITH hours AS (SELECT h FROM generate_series('2025-06-01'::timestamptz, '2027-06-01', '3 hours') h),
naive AS (SELECT h, floor(extract(epoch FROM (h AT TIME ZONE 'Europe/Berlin') - '2026-01-05 09:00') / 604800)::bigint AS n FROM hours)
SELECT count(*) AS hours, count(*) FILTER (WHERE w.person <> (ARRAY['Ann', 'Ben', 'Cy'])[(n % 3 + 3) % 3 + 1]) AS wrong,
  count(*) FILTER (WHERE w.since <> ('2026-01-05 09:00'::timestamp + n * interval '7 days') AT TIME ZONE 'Europe/Berlin'
    OR w.until_time <> ('2026-01-05 09:00'::timestamp + (n + 1) * interval '7 days') AT TIME ZONE 'Europe/Berlin') AS wrong_times,
  count(DISTINCT w.until_time - w.since) AS lengths
FROM naive, pipeline.who_is_on_call('e weekly', h) w;
-- A handover in the hour that is there twice, or not at all: each shift once.
WITH RECURSIVE shifts AS (SELECT w.* FROM pipeline.who_is_on_call('e halves', '2026-03-01') w
  UNION ALL SELECT w.* FROM shifts s, pipeline.who_is_on_call('e halves', s.until_time) w WHERE s.until_time < '2026-12-01')
SELECT count(*) AS shifts, count(*) FILTER (WHERE since = before) AS joined, count(*) FILTER (WHERE person <> last) AS alternating,
  array_agg(DISTINCT until_time - since ORDER BY until_time - since) AS lengths
FROM (SELECT *, lag(until_time) OVER (ORDER BY since) AS before, lag(person) OVER (ORDER BY since) AS last FROM shifts) s;
-- Overrides: the later made holds, and only while it lasts.
SELECT pipeline.override_on_call('e weekly', 'Cy', '2026-01-06 00:00', '2026-01-08 00:00') AS o1, pipeline.override_on_call('e weekly', 'Ben', '2026-01-07 00:00', '2026-01-07 12:00') AS o2 \gset
SELECT at, w.* FROM unnest('{2026-01-05 12:00,2026-01-06 12:00,2026-01-07 06:00,2026-01-07 12:00,2026-01-08 00:00}'::timestamptz[]) at, pipeline.who_is_on_call('e weekly', at) w;
SELECT pipeline.drop_on_call_override(:o2);
SELECT person FROM pipeline.who_is_on_call('e weekly', '2026-01-07 06:00');
-- Escalations, and what is refused.
SELECT pipeline.create_escalation('e page', '[{"on_call": "e weekly", "wait": "5 min"}, {"channels": ["e boss", "e ann2"], "on_call": "e halves"}]', 1);
SELECT name, steps, repeats, channels, on_calls FROM pipeline.escalations WHERE name = 'e page';
SELECT public.raises('SELECT pipeline.' || call) AS error FROM unnest(ARRAY[
  'create_on_call(''e x'', ''{}'')', 'create_on_call(''e x'', ''{"people": []}'')', 'create_on_call(''e x'', ''{"people": [{"name": "A"}], "start": "2026-01-01"}'')',
  'create_on_call(''e x'', ''{"people": [{"channels": ["e ann"]}], "start": "2026-01-01"}'')', 'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e ann"]}]}'')',
  'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e ann"]}, {"name": "A", "channels": ["e ann"]}], "start": "2026-01-01"}'')',
  'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e ann"]}], "start": "2026-01-01", "shift": "1 month"}'')',
  'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e ann"]}], "start": "2026-01-01", "shift": "10 s"}'')',
  'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e nowhere"]}], "start": "2026-01-01"}'')',
  'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e ann"]}], "start": "someday"}'')',
  'create_on_call(''e x'', ''{"persons": []}'')', 'create_on_call(''e x'', ''{"people": ["ann"]}'')', 'create_on_call(''e weekly'', ''{"people": [{"name": "A", "channels": ["e ann"]}], "start": "2026-01-01"}'')',
  'create_on_call(''e x'', ''{"people": [{"name": "A", "channels": ["e ann"]}], "start": "2026-01-01"}'', ''Mars/Base'')',
  'override_on_call(''e weekly'', ''Dee'', now(), now() + interval ''1 day'')', 'override_on_call(''e weekly'', ''Ann'', now(), now())', 'override_on_call(''e nowhere'', ''Ann'', now(), now() + interval ''1 day'')',
  'drop_on_call_override(-1)', 'who_is_on_call(''e nowhere'')', 'drop_on_call(''e weekly'')', 'drop_on_call(''e nowhere'')',
  'create_escalation(''e x'', ''[]'')', 'create_escalation(''e x'', ''{}'')', 'create_escalation(''e x'', ''[{}]'')', 'create_escalation(''e x'', ''[{"wait": "1 min"}]'')',
  'create_escalation(''e x'', ''[{"channels": ["e chat"], "wait": "0"}]'')', 'create_escalation(''e x'', ''[{"channels": ["e nowhere"]}]'')', 'create_escalation(''e x'', ''[{"on_call": "e nowhere"}]'')',
  'create_escalation(''e x'', ''[{"channels": ["e chat"]}]'', -1)', 'create_escalation(''e x'', ''[{"channel": "e chat"}]'')', 'create_escalation(''e page'', ''[{"channels": ["e chat"]}]'')',
  'create_route(''e x'', ''{}'', escalation => ''e nowhere'')', 'drop_escalation(''e nowhere'')', 'drop_channel(''e boss'')', 'drop_channel(''e cy'')']) call;
SELECT pipeline.alter_on_call('e halves', '{"timezone": "UTC", "description": "two halves"}'), pipeline.alter_escalation('e page', '{"repeats": null}');
SELECT object, name, action FROM pipeline.apply(pipeline.export(format => 'jsonb')::jsonb) WHERE name LIKE 'e %' ORDER BY 1, 2;
-- Bob can use none of it.
SET ROLE pipeline_bob;
SELECT public.raises('SELECT pipeline.' || call) AS error FROM unnest(ARRAY['who_is_on_call(''e weekly'')', 'override_on_call(''e weekly'', ''Ann'', now(), now() + interval ''1 day'')',
  format('drop_on_call_override(%s)', :o1), 'create_escalation(''e b'', ''[{"on_call": "e weekly"}]'')', 'create_escalation(''e b'', ''[{"channels": ["e chat"]}]'')',
  'create_on_call(''e b'', ''{"people": [{"name": "A", "channels": ["e ann"]}], "start": "2026-01-01"}'')', 'create_route(''e b'', ''{}'', escalation => ''e page'')', 'drop_escalation(''e page'')',
  'create_escalation(''e page'', ''[{"channels": ["e chat"]}]'', or_replace => true)', 'drop_on_call(''e weekly'')']) call;
SELECT (SELECT count(*) FROM pipeline.on_calls) AS on_calls, (SELECT count(*) FROM pipeline.on_call_overrides) AS overrides, (SELECT count(*) FROM pipeline.escalations) AS escalations;
RESET ROLE;

-- Escalating.
CREATE FUNCTION pg_temp.raise(t interval, alertname text, labels jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  id bigint;
BEGIN
  SET LOCAL ROLE pipeline_alice;
  id := pipeline.raise_alert(alertname, alertname || ' is bad', labels => labels);
  RESET ROLE;
  UPDATE pipeline.alerts SET started_at = '2026-01-05 12:00'::timestamptz + t WHERE alert_id = id AND occurrences = 1;
  RETURN id;
END $$;
CREATE FUNCTION pg_temp.dispatch(t interval) RETURNS TABLE (sent text, "to" text, step text, what text, next text) LANGUAGE plpgsql AS $$
DECLARE
  before bigint := (SELECT coalesce(max(notification_id), 0) FROM pipeline.notifications);
  due timestamptz;
BEGIN
  PERFORM pipeline._dispatch_alerts('2026-01-05 12:00'::timestamptz + t);
  SELECT least(min(g.next_flush_at), min(g.escalate_at)) INTO due FROM pipeline.alert_groups g WHERE g.route LIKE 'e %';
  RETURN QUERY
  SELECT n.event, n.channel, concat_ws('/', n.message #>> '{escalation,step}', n.message #>> '{escalation,repeat}', n.message #>> '{escalation,to}'),
    (SELECT string_agg(format('%s%s', a ->> 'alertname', CASE a ->> 'state' WHEN 'firing' THEN '' ELSE ' ' || (a ->> 'state') END), ', ' ORDER BY o)
     FROM jsonb_array_elements(n.message -> 'alerts') WITH ORDINALITY x (a, o)), NULL::text
  FROM pipeline.notifications n WHERE n.notification_id > before AND n.channel LIKE 'e %' ORDER BY n.notification_id;
  RETURN QUERY SELECT 'next', NULL::text, NULL::text, NULL::text, coalesce((due - '2026-01-05 12:00'::timestamptz - t)::text, 'never');
END $$;
-- To its end, with a repeat; what is new begins it again.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.alter_escalation('e page', '{"repeats": 1}');
SELECT pipeline.create_route('e r', '{}', '{e chat}', escalation => 'e page', group_wait => '0', group_by => '{}', group_interval => '1 min', repeat_interval => '12 hours');
SELECT pg_temp.raise('0', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('1 s');
SELECT * FROM pg_temp.dispatch('5 min');
SELECT * FROM pg_temp.dispatch('5 min 1 s');
SELECT escalation_step, escalation_repeat, escalate_at FROM pipeline.alert_groups WHERE route = 'e r';
SELECT * FROM pg_temp.dispatch('20 min 1 s');
SELECT * FROM pg_temp.dispatch('25 min 1 s');
SELECT escalation_step, escalation_repeat, escalate_at FROM pipeline.alert_groups WHERE route = 'e r';
SELECT * FROM pg_temp.dispatch('3 h');
SELECT pg_temp.raise('3 h', 'B', '{}') AS b \gset
SELECT * FROM pg_temp.dispatch('3 h 10 s');
-- Another person's turn by now.
SELECT pipeline.override_on_call('e weekly', 'Cy', '2026-01-05 15:00', '2026-01-05 16:00') > 0 AS overridden;
SELECT * FROM pg_temp.dispatch('3 h 1 min 1 s');
SELECT * FROM pg_temp.dispatch('3 h 6 min 1 s');
-- All are told that it is over.
SELECT pipeline.resolve_alert(:a), pipeline.resolve_alert(:b);
SELECT * FROM pg_temp.dispatch('3 h 7 min 1 s');
SELECT count(*) FROM pipeline.alert_groups WHERE route = 'e r';
ROLLBACK;
-- Acknowledged it stops; when that runs out it begins again.  No channel of its own.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_route('e r', '{}', escalation => 'e page', group_wait => '0', group_by => '{}', group_interval => '1 min');
SELECT pg_temp.raise('0', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('1 s');
SELECT pipeline.acknowledge(:a, 'on it');
UPDATE pipeline.alerts SET acknowledged_until = '2026-01-05 13:00' WHERE alert_id = :a;
SELECT * FROM pg_temp.dispatch('2 min');
SELECT * FROM pg_temp.dispatch('6 min');
SELECT * FROM pg_temp.dispatch('59 min');
SELECT * FROM pg_temp.dispatch('1 h 1 s');
SELECT pipeline.resolve_alert(:a);
SELECT * FROM pg_temp.dispatch('1 h 1 min 1 s');
ROLLBACK;
-- Silent it stops; within a mute it waits; a step that can tell nobody is passed over.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_time_interval('e lunch', '{"times": {"start_time": "12:04", "end_time": "12:10"}}');
SELECT pipeline.create_route('e r', '{}', '{e chat}', escalation => 'e page', mute_time_intervals => '{e lunch}', group_wait => '0', group_by => '{}', group_interval => '1 min', repeat_interval => '12 hours');
SELECT pg_temp.raise('0', 'A', '{}') AS a \gset
RESET ROLE;
UPDATE pipeline.channels SET owner = 'pipeline_bob' WHERE name = 'e boss';
SELECT * FROM pg_temp.dispatch('1 s');
SELECT * FROM pg_temp.dispatch('5 min 1 s');
SELECT * FROM pg_temp.dispatch('10 min');
SELECT pg_temp.raise('11 min', 'B', '{}') AS b \gset
INSERT INTO pipeline.silences (owner, created_by, matchers, starts_at, ends_at, until_resolved) VALUES ('pipeline_alice', 'pipeline_alice', 'alertname=~"A|B"', '2026-01-05 12:11', '2026-01-05 12:20', false);
SELECT * FROM pg_temp.dispatch('11 min');
SELECT * FROM pg_temp.dispatch('12 min');
SELECT * FROM pg_temp.dispatch('20 min');
ROLLBACK;
-- One of two is acknowledged after the end, and that runs out: it begins again, also when another's has run out before.
-- Silent when a step is due: that waits for a look at which it is not.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.alter_escalation('e page', '{"steps": [{"channels": ["e boss"], "wait": "30 s"}, {"channels": ["e ann"], "wait": "30 s"}], "repeats": 0}');
SELECT pipeline.create_route('e r', '{}', '{e chat}', escalation => 'e page', group_wait => '0', group_by => '{}', group_interval => '1 min', repeat_interval => '12 hours');
SELECT pg_temp.raise('0', 'A', '{}') AS a, pg_temp.raise('0', 'B', '{}') AS b, pg_temp.raise('0', 'C', '{}') AS c \gset
SELECT * FROM pg_temp.dispatch('1 s');
RESET ROLE;
INSERT INTO pipeline.silences (owner, created_by, matchers, starts_at, ends_at, until_resolved) VALUES ('pipeline_alice', 'pipeline_alice', 'alertname=~"A|B|C"', '2026-01-05 12:00:20', '2026-01-05 12:01:30', false);
SELECT * FROM pg_temp.dispatch('31 s');
SELECT * FROM pg_temp.dispatch('1 min 1 s');
SELECT * FROM pg_temp.dispatch('2 min 1 s');
SELECT pipeline.acknowledge(:a), pipeline.acknowledge(:b);
UPDATE pipeline.alerts SET acknowledged_until = '2026-01-05 12:04' WHERE alert_id = :a;
UPDATE pipeline.alerts SET acknowledged_until = '2026-01-05 12:07' WHERE alert_id = :b;
SELECT * FROM pg_temp.dispatch('3 min 1 s');
SELECT * FROM pg_temp.dispatch('4 min 1 s');
SELECT * FROM pg_temp.dispatch('4 min 31 s');
SELECT * FROM pg_temp.dispatch('7 min 1 s');
ROLLBACK;
SET ROLE pipeline_alice;
SELECT pipeline.drop_escalation('e page'), pipeline.drop_on_call('e weekly'), pipeline.drop_on_call('e halves');
SELECT count(*) FROM pipeline.on_call_overrides;
SELECT count(pipeline.drop_channel(name)) FROM pipeline.channels WHERE name LIKE 'e %';
RESET ROLE;
