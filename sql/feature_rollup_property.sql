-- Random rollups over random events, in batches: the same as plain SQL says,
-- after every refresh.  A failure prints its seed.
CREATE SCHEMA feature_rollup_property;
SET search_path = feature_rollup_property;
SET timezone = 'Europe/Madrid';
SET client_min_messages = warning;
CREATE TABLE stream (at timestamptz, k int, v int);
CREATE TABLE failures (failure text);
-- What the rollup shall be: a query of window_start, window_end, k, n, total.
CREATE FUNCTION expected(kind text, width interval, slide interval, gap interval) RETURNS text LANGUAGE sql AS $$
  SELECT CASE
    WHEN kind = 'session' THEN format(
      'SELECT min(at) AS s, max(at) + %1$L::interval AS e, k, count(*) AS n, sum(v) AS total FROM (
         SELECT *, sum(new) OVER (PARTITION BY k ORDER BY at) AS nr FROM (
           SELECT *, CASE WHEN at <= lag(at) OVER (PARTITION BY k ORDER BY at) + %1$L::interval THEN 0 ELSE 1 END AS new FROM stream WHERE isfinite(at)) a) b
       GROUP BY k, nr', gap)
    WHEN width < '1 day' THEN format(
      'SELECT s, s + %1$L::interval AS e, k, count(*) AS n, sum(v) AS total
       FROM stream, generate_series(date_bin(%2$L, at, ''2000-01-03 00:00+00'') - %1$L::interval, date_bin(%2$L, at, ''2000-01-03 00:00+00''), %2$L) s
       WHERE isfinite(at) AND s <= at AND at < s + %1$L::interval GROUP BY s, k', width, coalesce(slide, width))
    ELSE format(
      'SELECT s, s + %1$L::interval AS e, k, count(*) AS n, sum(v) AS total
       FROM stream, generate_series(date_trunc(%2$L, at) - 7 * %3$L::interval, date_trunc(%2$L, at), %3$L) s
       WHERE isfinite(at) AND s <= at AND at < s + %1$L::interval GROUP BY s, k', width,
       CASE coalesce(slide, width) WHEN '1 month' THEN 'month' WHEN '7 days' THEN 'week' ELSE 'day' END, coalesce(slide, width))
  END $$;
CREATE PROCEDURE try(first int, last int) LANGUAGE plpgsql AS $$
DECLARE
  kind text;
  width interval;
  slide interval;
  gap interval;
  grouped boolean;
  differences bigint;
  what text;
BEGIN
  FOR seed IN first .. last LOOP
    PERFORM setseed(seed / 10000.0);
    DELETE FROM stream;
    width := NULL; slide := NULL; gap := NULL;
    kind := (ARRAY['tumbling', 'hopping', 'session'])[1 + floor(random() * 3)];
    IF kind = 'session' THEN gap := floor(1 + random() * 90) * interval '1 minute';
    ELSIF kind = 'tumbling' THEN width := (ARRAY['7 minutes', '1 hour', '5 hours', '1 day', '7 days', '1 month'])[1 + floor(random() * 6)];
    ELSE
      slide := (ARRAY['7 minutes', '1 hour', '1 day', '1 day', '7 days'])[1 + floor(random() * 5)];
      width := slide * floor(1 + random() * 4);
    END IF;
    grouped := random() < 0.7;
    what := format('seed %s: %s %s %s %s grouped %s', seed, kind, width, slide, gap, grouped);
    PERFORM pipeline.create_rollup('rollup property', 'stream', 'at', kind, '{"n": "count(*)", "total": "sum(v)"}', width, slide, gap,
      CASE WHEN grouped THEN '{k}'::text[] ELSE '{}' END, '1000 days', target => 'result', timezone => 'Europe/Madrid', or_replace => true);
    DROP TABLE IF EXISTS result;
    COMMIT;
    FOR batch IN 1 .. 3 LOOP
      -- Around a change of clocks, in bursts, on edges, without a time.
      INSERT INTO stream SELECT CASE WHEN random() < 0.03 THEN NULL WHEN random() < 0.3 THEN date_trunc('hour', at) ELSE at END, nullif(floor(random() * 4)::int, 3), (random() * 100)::int
      FROM (SELECT '2024-03-28 12:00'::timestamptz + floor(random() * 12) * interval '9 hours' + random() * random() * interval '5 hours' AS at FROM generate_series(1, 1 + floor(random() * 40)::int)) x;
      IF NOT grouped THEN UPDATE stream SET k = 0 WHERE k IS DISTINCT FROM 0; END IF;
      IF batch = 2 THEN DELETE FROM stream WHERE random() < 0.1; END IF;
      COMMIT;
      PERFORM pipeline.refresh_rollup('rollup property');
      COMMIT;
      EXECUTE format('SELECT count(*) FROM (
        (SELECT s, e, %1$s, n, total FROM (%2$s) x EXCEPT ALL SELECT window_start, window_end, %1$s, n, total FROM result)
        UNION ALL (SELECT window_start, window_end, %1$s, n, total FROM result EXCEPT ALL SELECT s, e, %1$s, n, total FROM (%2$s) x)) y',
        CASE WHEN grouped THEN 'k' ELSE '0' END, expected(kind, width, slide, gap)) INTO differences;
      IF differences <> 0 THEN INSERT INTO failures VALUES (format('%s, batch %s: %s differences', what, batch, differences)); END IF;
      COMMIT;
    END LOOP;
  END LOOP;
END $$;
CALL try(1, 60);
SELECT * FROM failures;
-- A definition travels.
SELECT pipeline.create_rollup('rollup property', 'stream', 'at', 'hopping', '{"n": "count(*)"}', '1 hour', '10 minutes', group_by => '{k}', target => 'result', or_replace => true);
SELECT jsonb_pretty(jsonb_path_query_first(pipeline.export(format => 'jsonb')::jsonb, '$.rollups[*] ? (@.name == "rollup property")'));
SELECT pipeline.apply('{"rollups": [{"name": "rollup property", "source": "stream", "event_time": "at", "kind": "session", "gap": "5 minutes", "aggregates": {"n": "count(*)"}, "group_by": ["k"], "target": "result"}]}');
SELECT kind, gap, slide, group_by FROM pipeline.rollups WHERE name = 'rollup property';
SELECT pipeline.drop_rollup('rollup property', drop_target => true);
DROP SCHEMA feature_rollup_property CASCADE;
