-- Rollups: tumbling, hopping and session windows over a game's event stream,
-- late rows, the same as plain SQL says.
CREATE SCHEMA feature_rollup;
SET search_path = feature_rollup;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SELECT setseed(0.4);
CREATE TABLE stream (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, payload jsonb);
-- 33 types of events of 40 players on 5 maps.
CREATE FUNCTION play(n int, first timestamptz, minutes int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO stream (at, payload)
  SELECT first + random() * minutes * interval '1 minute',
         jsonb_build_object('type', 'event_' || (random() * 32)::int, 'player', jsonb_build_object('id', (random() * 39)::int),
                            'place', jsonb_build_object('map', chr(65 + (random() * 4)::int)), 'score', (random() * 100)::int)
  FROM generate_series(1, n) $$;
SELECT play(2000, '2024-03-01 10:00', 90);
INSERT INTO stream (at, payload) VALUES (NULL, '{}'), ('infinity', '{}');

SELECT pipeline.create_rollup('rollup online', 'stream', 'at', 'tumbling', '{"players": "count(DISTINCT payload->''player''->>''id'')", "events": "count(*)"}',
  width => '5 minutes', target => 'online', allowed_lateness => '2 minutes');
SELECT pipeline.create_rollup('rollup types', 'stream', 'at', 'tumbling', '{"n": "count(*)"}', width => '10 minutes', group_by => ARRAY['payload->>''type'' AS type'], target => 'types');
SELECT pipeline.create_rollup('rollup maps', 'stream', 'at', 'tumbling', '{"n": "count(*)", "best": "max((payload->>''score'')::int)"}', width => '15 minutes',
  group_by => ARRAY['payload #>> ''{place,map}'' AS map'], target => 'maps', allowed_lateness => '1 hour');
SELECT pipeline.create_rollup('rollup share', 'stream', 'at', 'hopping', '{"share": "round(avg((payload #>> ''{place,map}'' = ''B'')::int), 4)", "n": "count(*)"}',
  width => '5 minutes', slide => '1 minute', target => 'share', allowed_lateness => '2 minutes');
SELECT pipeline.create_rollup('rollup sessions', 'stream', 'at', 'session', '{"events": "count(*)", "score": "sum((payload->>''score'')::int)"}', gap => '4 minutes',
  group_by => ARRAY['(payload->''player''->>''id'')::int AS player'], target => 'sessions', allowed_lateness => '5 minutes');
CREATE FUNCTION refreshed(rollup text) RETURNS TABLE (read bigint, rejected bigint, late bigint, windows bigint, deleted bigint, inserted bigint, watermark text, closed text) LANGUAGE sql AS $$
  SELECT rows_read, rows_rejected, late_rows, windows, windows_deleted, windows_inserted, to_char(watermark, 'HH24:MI'), to_char(closed_before, 'HH24:MI') FROM pipeline.refresh_rollup(rollup) $$;
SELECT r, read, rejected, late, windows > 10 AS windows, deleted, inserted = windows AS inserted, watermark, closed
FROM unnest('{online,types,maps,share,sessions}'::text[]) r, LATERAL refreshed('rollup ' || r) ORDER BY r;
SELECT r, read, late, deleted, inserted FROM unnest('{online,types,maps,share,sessions}'::text[]) r, LATERAL refreshed('rollup ' || r) ORDER BY r;

-- What plain SQL says of events that were not late.
CREATE VIEW timely AS SELECT * FROM stream WHERE isfinite(at);
CREATE FUNCTION wrong() RETURNS TABLE (rollup text, differences bigint) LANGUAGE sql AS $$
  SELECT 'online', count(*) FROM (
    SELECT window_start, window_end, players, events FROM online FULL JOIN (
      SELECT date_bin('5 minutes', at, '2000-01-01') AS s, count(DISTINCT payload->'player'->>'id') AS p, count(*) AS n FROM timely t
      WHERE NOT EXISTS (SELECT FROM pipeline.late_rows l WHERE l.rollup = 'rollup online' AND (l.row->>'id')::bigint = t.id) GROUP BY 1) x
    ON s = window_start AND p = players AND n = events AND window_end = s + interval '5 minutes' WHERE s IS NULL OR window_start IS NULL) y
  UNION ALL SELECT 'types', count(*) FROM (
    SELECT 1 FROM types FULL JOIN (
      SELECT date_bin('10 minutes', at, '2000-01-01') AS s, payload->>'type' AS k, count(*) AS c FROM timely t
      WHERE NOT EXISTS (SELECT FROM pipeline.late_rows l WHERE l.rollup = 'rollup types' AND (l.row->>'id')::bigint = t.id) GROUP BY 1, 2) x
    ON s = window_start AND c = n AND k IS NOT DISTINCT FROM type WHERE s IS NULL OR window_start IS NULL) y
  UNION ALL SELECT 'maps', count(*) FROM (
    SELECT 1 FROM maps FULL JOIN (
      SELECT date_bin('15 minutes', at, '2000-01-01') AS s, payload->'place'->>'map' AS k, count(*) AS c, max((payload->>'score')::int) AS b FROM timely t
      WHERE NOT EXISTS (SELECT FROM pipeline.late_rows l WHERE l.rollup = 'rollup maps' AND (l.row->>'id')::bigint = t.id) GROUP BY 1, 2) x
    ON s = window_start AND c = n AND k IS NOT DISTINCT FROM map AND best IS NOT DISTINCT FROM b WHERE s IS NULL OR window_start IS NULL) y
  UNION ALL SELECT 'sessions', count(*) FROM (
    SELECT 1 FROM sessions FULL JOIN (
      SELECT p, min(at) AS s, max(at) + interval '4 minutes' AS e, count(*) AS c, sum(score) AS sum FROM (
        SELECT *, sum(new) OVER (PARTITION BY p ORDER BY at) AS nr FROM (
          SELECT at, (payload->'player'->>'id')::int AS p, (payload->>'score')::int AS score,
                 CASE WHEN at - lag(at) OVER (PARTITION BY payload->'player'->>'id' ORDER BY at) <= interval '4 minutes' THEN 0 ELSE 1 END AS new
          FROM timely t WHERE NOT EXISTS (SELECT FROM pipeline.late_rows l WHERE l.rollup = 'rollup sessions' AND (l.row->>'id')::bigint = t.id)) a) b
      GROUP BY p, nr) x
    ON s = window_start AND e = window_end AND c = events AND p IS NOT DISTINCT FROM player AND x.sum IS NOT DISTINCT FROM score WHERE s IS NULL OR window_start IS NULL) y $$;
SELECT * FROM wrong();
-- Sliding shares: every minute over five.
SELECT count(*) > 90 AS windows, count(*) FILTER (WHERE n <> (SELECT count(*) FROM timely WHERE at >= window_start AND at < window_end)
  OR share <> (SELECT round(avg((payload->'place'->>'map' = 'B')::int), 4) FROM timely WHERE at >= window_start AND at < window_end)) AS wrong FROM share;
SELECT complete, count(*), min(window_start), max(window_end) FROM online GROUP BY 1 ORDER BY 1;

-- Time goes on: open windows change, closed ones do not; what is late is kept.
SELECT play(500, '2024-03-01 11:29', 20);
SELECT r, late, windows > 0 AS windows, deleted > 0 AS deleted, inserted > 0 AS inserted FROM unnest('{online,types,maps,share,sessions}'::text[]) r, LATERAL refreshed('rollup ' || r) ORDER BY r;
SELECT rollup, differences > 0 AS differ FROM wrong();
INSERT INTO stream (at, payload) VALUES ('2024-03-01 10:07', '{"type": "late", "player": {"id": 3}, "score": 1}'), ('2024-03-01 11:48', '{"type": "in time", "player": {"id": 3}, "score": 1}');
SELECT r, late FROM unnest('{online,types,maps,share,sessions}'::text[]) r, LATERAL refreshed('rollup ' || r) ORDER BY r;
SELECT r, late, deleted, inserted FROM unnest('{online,types,maps,share,sessions}'::text[]) r, LATERAL refreshed('rollup ' || r) ORDER BY r;
SELECT rollup, differences FROM wrong() WHERE rollup <> 'sessions';
SELECT rollup, event_time, row->'payload'->>'type' AS type FROM pipeline.late_rows WHERE rollup IN ('rollup online', 'rollup maps', 'rollup share') AND row->'payload'->>'type' = 'late' ORDER BY 1;

-- In the transaction that writes: what it wrote before the refresh is no late row of the next.
BEGIN;
SELECT play(50, '2024-03-01 11:50', 5);
SELECT late FROM refreshed('rollup online');
SELECT play(50, '2024-03-01 12:00', 5);
SELECT late FROM refreshed('rollup online');
INSERT INTO stream (at, payload) VALUES ('2024-03-01 11:51', '{"type": "late"}');
COMMIT;
SELECT late FROM refreshed('rollup online');
SELECT late FROM refreshed('rollup online');

-- Days, weeks and months on the calendar of a time zone.
CREATE TABLE days AS SELECT d, d AS at FROM generate_series(timestamptz '2024-03-28 22:00+00', '2024-04-02 22:00+00', '6 hours') d;
SELECT pipeline.create_rollup('rollup days', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day', target => 'per_day', timezone => 'Europe/Madrid');
SELECT pipeline.create_rollup('rollup weeks', 'SELECT d::timestamp AS at FROM days', 'at', 'tumbling', '{"n": "count(*)"}', width => '7 days', target => 'per_week');
SELECT pipeline.create_rollup('rollup months', 'SELECT extract(epoch FROM d)::bigint AS at FROM days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 month', target => 'per_month');
SELECT pipeline.create_rollup('rollup quarter', 'days', 'at', 'hopping', '{"n": "count(*)"}', width => '3 months', slide => '1 month', target => 'per_quarter');
SELECT late, inserted FROM unnest('{days,weeks,months,quarter}'::text[]) r, LATERAL refreshed('rollup ' || r);
SELECT window_start, window_end, complete, n FROM per_day ORDER BY 1;
SELECT window_start, window_end, complete, n FROM per_week ORDER BY 1;
SELECT window_start, window_end, complete, n FROM per_month ORDER BY 1;
SELECT window_start, window_end, complete, n FROM per_quarter ORDER BY 1;

-- Altered, it starts anew; a target of other columns says so.
SELECT pipeline.alter_rollup('rollup days', '{"width": "2 days", "allowed_lateness": null, "description": "pairs"}');
SELECT windows, deleted, inserted FROM refreshed('rollup days');
SELECT width, allowed_lateness, description FROM pipeline.rollups WHERE name = 'rollup days';
SELECT pipeline.alter_rollup('rollup days', '{"aggregates": {"m": "count(*)"}}');
SELECT refreshed('rollup days');
DROP TABLE per_day;
SELECT inserted FROM refreshed('rollup days');
TRUNCATE days;
SELECT read, windows, inserted FROM refreshed('rollup weeks');
SELECT read, windows, inserted, watermark FROM refreshed('rollup quarter');

-- Said wrong.
\set VERBOSITY terse
SELECT pipeline.create_rollup('rollup days', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'sliding', '{"n": "count(*)"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'session', '{"n": "count(*)"}', gap => '1 hour', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'hopping', '{"n": "count(*)"}', width => '1 day', slide => '-1 hour');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 month 1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '[]', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": 1}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "d"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*) FROM days; DROP TABLE days"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"complete": "count(*)"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"d": "count(*)"}', width => '1 day', group_by => '{d}');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day', group_by => '{d + interval ''1 day''}');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day', group_by => '{"d, at"}');
SELECT pipeline.create_rollup('rollup x', 'days', 'nothing', 'tumbling', '{"n": "count(*)"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'nowhere', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day', target => 'online');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day', allowed_lateness => '-1 day');
SELECT pipeline.create_rollup('rollup x', 'days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day', timezone => 'Mars');
SELECT pipeline.alter_rollup('rollup days', '{"height": "2 days"}');
SELECT pipeline.alter_rollup('rollup days', '{"width": null}');
SELECT pipeline.alter_rollup('rollup nowhere', '{}');
SELECT pipeline.refresh_rollup('rollup nowhere');
SELECT pipeline.not_seen_by('3', '0', 'nonsense');
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.rollups WHERE name LIKE 'rollup %';
SELECT count(*) FROM pipeline.late_rows WHERE rollup LIKE 'rollup %';
SELECT pipeline.refresh_rollup('rollup days');
SELECT pipeline.alter_rollup('rollup days', '{"width": "1 day"}');
SELECT pipeline.drop_rollup('rollup days');
SELECT pipeline.create_rollup('rollup theft', 'feature_rollup.days', 'at', 'tumbling', '{"n": "count(*)"}', width => '1 day');
RESET ROLE;
SELECT count(pipeline.drop_rollup(name, drop_target => true)) FROM pipeline.rollups WHERE name LIKE 'rollup %';
SELECT to_regclass('online') IS NULL AS gone, count(*) FROM pipeline.rollups WHERE name LIKE 'rollup %';
SET client_min_messages = error;
DROP SCHEMA feature_rollup CASCADE;
