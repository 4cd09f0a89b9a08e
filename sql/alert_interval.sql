-- Time intervals: what they contain, what is refused, what a route holds back.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET ROLE pipeline_alice;
SELECT pipeline.create_time_interval('i ' || name, times::jsonb, tz) FROM (VALUES
  ('office', '{"times": [{"start_time": "09:00", "end_time": "17:00"}], "weekdays": "monday:friday"}', 'Europe/Berlin'),
  ('night', '{"times": [{"start_time": "22:00", "end_time": "24:00"}, {"start_time": "00:00", "end_time": "06:30"}]}', 'UTC'),
  ('month ends', '{"days_of_month": ["1:2", "-2:-1"], "months": ["January:march", 4, "12"]}', 'UTC'),
  ('years', '[{"years": ["2027:2028", 2030], "weekdays": ["Sunday", "friday:saturday"]}, {"days_of_month": 31, "location": "Asia/Tokyo"}]', 'UTC')) v (name, times, tz);
-- Against what SQL says, by the hour, over two years with their changes of the clock.
CREATE TEMP TABLE hours AS SELECT h FROM generate_series('2026-12-25'::timestamptz, '2028-12-31', '30 min') h;
SELECT count(*) AS hours,
  count(*) FILTER (WHERE pipeline.in_time_interval('i office', h) <>
    (extract(isodow FROM h AT TIME ZONE 'Europe/Berlin') < 6 AND (h AT TIME ZONE 'Europe/Berlin')::time >= '09:00' AND (h AT TIME ZONE 'Europe/Berlin')::time < '17:00')) AS office,
  count(*) FILTER (WHERE pipeline.in_time_interval('i night', h) <> (h::time >= '22:00' OR h::time < '06:30')) AS night,
  count(*) FILTER (WHERE pipeline.in_time_interval('i month ends', h) <>
    ((extract(day FROM h) <= 2 OR extract(day FROM h) >= extract(day FROM date_trunc('month', h) + '1 month - 1 day') - 1) AND extract(month FROM h) IN (1, 2, 3, 4, 12))) AS ends,
  count(*) FILTER (WHERE pipeline.in_time_interval('i years', h) <>
    ((extract(year FROM h) IN (2027, 2028, 2030) AND extract(isodow FROM h) IN (5, 6, 7)) OR extract(day FROM h AT TIME ZONE 'Asia/Tokyo') = 31)) AS years
FROM hours WHERE extract(day FROM h) IN (1, 2, 3, 13, 26, 27, 28, 29, 30, 31);
-- Refused, as Alertmanager refuses it.
SELECT times, regexp_replace(public.raises(format('SELECT pipeline.create_time_interval(''i x'', %L)', times)), ' \| .*? \| ', ' | ') AS error FROM (VALUES
  ('1'), ('[]'), ('{"weekday": "monday"}'), ('{"weekdays": "friday:monday"}'), ('{"weekdays": 1}'), ('{"weekdays": []}'), ('{"weekdays": "noday"}'),
  ('{"days_of_month": 0}'), ('{"days_of_month": 32}'), ('{"days_of_month": "-1:1"}'), ('{"days_of_month": "28:-5"}'), ('{"days_of_month": "3:-29"}'), ('{"days_of_month": "1:2:3"}'),
  ('{"months": "march:january"}'), ('{"months": 13}'), ('{"months": "0"}'), ('{"years": "2028:2027"}'), ('{"years": 0}'), ('{"years": {}}'),
  ('{"times": {"start_time": "9:00", "end_time": "17:00"}}'), ('{"times": {"start_time": "09:00", "end_time": "24:01"}}'),
  ('{"times": {"start_time": "09:00"}}'), ('{"times": {"start_time": "17:00", "end_time": "09:00"}}'), ('{"times": {"from": "17:00"}}'),
  ('{"times": "09:00"}'), ('{"location": "Nowhere/Land"}')) v (times);
SELECT pipeline.create_time_interval('i x', '{}', 'Nowhere/Land');
SELECT pipeline.create_time_interval('i office', '{}');
SELECT pipeline.create_time_interval(NULL, '{}');
SELECT pipeline.create_time_interval('i x', NULL);
SELECT pipeline.in_time_interval('i nowhere');
SELECT pipeline.drop_time_interval('i nowhere');
SELECT pipeline.create_route('i r', '{}', mute_time_intervals => '{i nowhere}');
SELECT pipeline.create_route('i r', '{}', active_time_intervals => '{i office}');
SELECT pipeline.drop_time_interval('i office');
SELECT pipeline.alter_time_interval('i office', '{"timezone": null, "description": "at work"}');
SELECT name, timezone, description FROM pipeline.time_intervals WHERE name = 'i office';
SELECT name, action FROM pipeline.apply(jsonb_build_object('time_intervals', pipeline.export(format => 'jsonb')::jsonb -> 'time_intervals')) ORDER BY 1;
-- Of others one may use those of administrators only.
RESET ROLE;
SELECT pipeline.create_time_interval('i holidays', '{"months": "december", "days_of_month": "24:26"}');
SET ROLE pipeline_bob;
SELECT name FROM pipeline.time_intervals WHERE name LIKE 'i %';
SELECT pipeline.in_time_interval('i holidays', '2026-12-24'), pipeline.in_time_interval('i holidays', '2026-12-27');
SELECT pipeline.in_time_interval('i office');
SELECT pipeline.create_route('i b', '{}', mute_time_intervals => '{i office}');
SELECT pipeline.create_route('i b', '{}', mute_time_intervals => '{i holidays}');
SELECT pipeline.alter_time_interval('i holidays', '{"timezone": "Asia/Tokyo"}');
SELECT pipeline.drop_time_interval('i office');
SELECT pipeline.drop_route('i b');
RESET ROLE;
SELECT pipeline.drop_time_interval('i holidays');
SET ROLE pipeline_alice;
SELECT pipeline.drop_route('i r');
SELECT pipeline.drop_time_interval(name) FROM pipeline.time_intervals WHERE name LIKE 'i %' ORDER BY name;
RESET ROLE;

-- A mute: nothing is sent within, and what still fires comes as one digest.
CREATE FUNCTION pg_temp.raise(t timestamptz, alertname text, labels jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  id bigint;
BEGIN
  SET LOCAL ROLE pipeline_alice;
  id := pipeline.raise_alert(alertname, alertname || ' is bad', labels => labels);
  RESET ROLE;
  UPDATE pipeline.alerts SET started_at = t WHERE alert_id = id AND occurrences = 1;
  RETURN id;
END $$;
CREATE FUNCTION pg_temp.dispatch(t timestamptz) RETURNS TABLE (sent text, what text, digest text, next text) LANGUAGE plpgsql AS $$
DECLARE
  before bigint := (SELECT coalesce(max(notification_id), 0) FROM pipeline.notifications);
  due timestamptz;
BEGIN
  PERFORM pipeline._dispatch_alerts(t);
  SELECT least(min(g.next_flush_at), min(g.escalate_at)) INTO due FROM pipeline.alert_groups g WHERE g.route LIKE 'i %';
  RETURN QUERY
  SELECT n.event, (SELECT string_agg(format('%s%s', a ->> 'alertname', CASE a ->> 'state' WHEN 'firing' THEN '' ELSE ' ' || (a ->> 'state') END), ', ' ORDER BY o)
     FROM jsonb_array_elements(n.message -> 'alerts') WITH ORDINALITY x (a, o)), n.message #>> '{digest,muted_since}', NULL::text
  FROM pipeline.notifications n WHERE n.notification_id > before AND n.channel LIKE 'i %' ORDER BY n.notification_id;
  RETURN QUERY SELECT 'next', NULL::text, NULL::text, coalesce(due::text, 'never');
END $$;
BEGIN;
SELECT pipeline.create_channel('i chat', 'log');
SELECT pipeline.create_time_interval('i night', '{"times": [{"start_time": "22:00", "end_time": "24:00"}, {"start_time": "00:00", "end_time": "06:00"}]}', 'Europe/Berlin');
SELECT pipeline.create_route('i muted', '{}', '{i chat}', mute_time_intervals => '{i night}', group_wait => '0');
SELECT pg_temp.raise('2030-03-30 20:50', 'Before', '{"pipeline": "a"}') AS before \gset
SELECT * FROM pg_temp.dispatch('2030-03-30 20:50');
-- In the night, in which the clock is put forward.
SELECT pg_temp.raise('2030-03-30 21:05', 'A1', '{"pipeline": "a"}') AS a1, pg_temp.raise('2030-03-30 21:05', 'A2', '{"pipeline": "a"}') AS a2,
  pg_temp.raise('2030-03-30 21:05', 'B', '{"pipeline": "b"}') AS b, pg_temp.raise('2030-03-30 21:05', 'C', '{"pipeline": "c"}') AS c \gset
SELECT * FROM pg_temp.dispatch('2030-03-30 21:05');
SELECT route, group_labels ->> 'pipeline' AS pipeline, muted_since, muted_by, next_flush_at FROM pipeline.alert_groups WHERE route = 'i muted' ORDER BY 2;
SELECT pipeline.acknowledge(:b), pipeline.resolve_alert(:a2), pipeline.resolve_alert(:before);
SELECT * FROM pg_temp.dispatch('2030-03-30 22:05');
SELECT pipeline.resolve_alert(:c);
SELECT * FROM pg_temp.dispatch('2030-03-31 03:59');
SELECT * FROM pg_temp.dispatch('2030-03-31 04:00');
-- The digest is a group: what becomes of its alerts is told in its thread.
SELECT digest, group_labels, lookup IS NULL AS takes_no_more FROM pipeline.alert_groups WHERE route = 'i muted';
SELECT pg_temp.raise('2030-03-31 04:01', 'A1', '{"pipeline": "a"}') = :a1 AS same, pg_temp.raise('2030-03-31 04:01', 'New', '{"pipeline": "a"}') AS new \gset
SELECT * FROM pg_temp.dispatch('2030-03-31 04:05');
SELECT pipeline.resolve_alert(:a1);
SELECT * FROM pg_temp.dispatch('2030-03-31 04:10');
SELECT pipeline.resolve_alert(:b);
SELECT * FROM pg_temp.dispatch('2030-03-31 04:15');
SELECT count(DISTINCT group_key) AS threads, array_agg(event ORDER BY notification_id) AS events FROM pipeline.notifications WHERE message @> '{"group_labels": {}}' AND route = 'i muted' AND message -> 'group_labels' = '{}';
ROLLBACK;
-- One group only: the digest is its message.  The interval is altered: it ends.
BEGIN;
SELECT pipeline.create_channel('i chat', 'log');
SELECT pipeline.create_time_interval('i weekend', '{"weekdays": ["saturday", "sunday"]}');
SELECT pipeline.create_route('i muted', '{}', '{i chat}', mute_time_intervals => '{i weekend}', group_wait => '0');
SELECT pg_temp.raise('2030-03-30 12:00', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('2030-03-30 12:00');
SELECT * FROM pg_temp.dispatch('2030-03-31 12:00');
SELECT pipeline.alter_time_interval('i weekend', '{"times": {"weekdays": ["saturday"]}}');
SELECT * FROM pg_temp.dispatch('2030-03-31 13:00');
ROLLBACK;
-- Active in office hours only.
BEGIN;
SELECT pipeline.create_channel('i chat', 'log');
SELECT pipeline.create_time_interval('i office', '{"times": [{"start_time": "09:00", "end_time": "17:00"}], "weekdays": "monday:friday"}');
SELECT pipeline.create_time_interval('i noon', '{"times": [{"start_time": "09:00", "end_time": "10:00"}]}');
SELECT pipeline.create_route('i active', '{}', '{i chat}', mute_time_intervals => '{i noon}', active_time_intervals => '{i office}', group_wait => '0');
SELECT pg_temp.raise('2030-03-29 18:00', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('2030-03-29 18:00');
SELECT muted_by FROM pipeline.alert_groups WHERE route = 'i active';
SELECT * FROM pg_temp.dispatch('2030-03-30 18:00');
SELECT * FROM pg_temp.dispatch('2030-03-31 18:00');
SELECT * FROM pg_temp.dispatch('2030-04-01 10:00');
ROLLBACK;
-- An acknowledgement does not break a mute, though the group was told before it.
BEGIN;
SELECT pipeline.create_channel('i chat', 'log'), pipeline.create_time_interval('i night', '{"times": [{"start_time": "22:00", "end_time": "24:00"}]}');
SELECT pipeline.create_route('i muted', '{}', '{i chat}', mute_time_intervals => '{i night}', group_wait => '0');
SELECT pg_temp.raise('2030-03-29 21:00', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('2030-03-29 21:00');
SELECT pipeline.acknowledge(:a);
SELECT * FROM pg_temp.dispatch('2030-03-29 22:30');
SELECT pipeline.acknowledge(:a, 'again');
SELECT * FROM pg_temp.dispatch('2030-03-30 00:00');
ROLLBACK;
