-- Features computed with the help of other processes: the same rows, counts and
-- statistics as by one, and when others may not help.
CREATE SCHEMA feature_parallel;
SET search_path = feature_parallel;
SET statement_timeout = '120s';
SET client_min_messages = warning;
SELECT setseed(0.3);
CREATE TABLE spine AS
SELECT g AS n, (random() * 300)::int AS a, 'key ' || (random() * 5)::int AS b, timestamptz '2024-01-01' + random() * interval '60 days' AS t,
       CASE WHEN g % 7 = 0 THEN repeat('long ', 50) END AS note
FROM generate_series(1, 6000) g;
INSERT INTO spine VALUES (0, NULL, 'key 1', '2024-01-01'), (0, 1, 'key 1', NULL);
CREATE TABLE events (a int, b text, t timestamptz, v int, f float8, txt text) PARTITION BY RANGE (t);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2024-01-20');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-01-20') TO ('2030-01-01');
INSERT INTO events
SELECT (random() * 350)::int, 'key ' || (random() * 6)::int, timestamptz '2023-12-01' + random() * interval '90 days',
       (random() * 100)::int, random() * 1000, repeat(md5(g::text), 1 + g % 3)
FROM generate_series(1, 40000) g;
CREATE VIEW joined AS SELECT e.a, e.b, e.t, e.v FROM events e JOIN (VALUES (1), (2), (3)) x (v) ON e.v % 10 = x.v;
ANALYZE;
SELECT pipeline.create_feature_set('parallel', 'feature_parallel.spine', '{a,b}', 't', target => 'feature_parallel.out');
SELECT pipeline.add_feature('parallel', 'c', 'events', 'count', '7 days');
SELECT pipeline.add_feature('parallel', 's', 'events', 'sum', '21 days', value => 'v', filter => 'v > 3');
SELECT pipeline.add_feature('parallel', 'm', 'events', 'max', '30 days', value => 'txt');
SELECT pipeline.add_feature('parallel', 'l', 'events', 'last', '30 days', value => 'txt');
SELECT pipeline.add_feature('parallel', 'k', 'events', 'count', '10 days', "by" => 'v % 4');
SELECT pipeline.add_feature('parallel', 'w', 'joined', 'count_distinct', '8 weeks', value => 'v', align => 'week');
SELECT pipeline.add_feature('parallel', 'x', 'SELECT * FROM events_1 WHERE v < 50', 'percentile', '30 days', value => 'f', args => '{"fraction": 0.5}');
SELECT pipeline.add_feature('parallel', 'o', 'events', 'bool_or', '2 days', value => 'v > 90');

CREATE FUNCTION way() RETURNS TABLE (step text, source text, way text) LANGUAGE sql AS
$$ SELECT step, source, regexp_replace(way, '\d+ (entities|groups|bytes)', 'N \1', 'g') FROM pipeline.explain_features('parallel') WHERE step <> 'compute' $$;
CREATE FUNCTION counts() RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', rows_read, rows_computed, rows_rejected, rows_beyond_as_of, events_read, events_used, events_rejected, events_unknown, events_unreached, events_filtered)
   FROM pipeline.refresh_features('parallel', as_of => '2024-02-25') $$;
CREATE FUNCTION statistics() RETURNS TABLE (column_name text, rows bigint, nulls bigint, mean numeric, stddev numeric) LANGUAGE sql AS
$$ SELECT column_name, rows, nulls, round(mean::numeric, 9), round(stddev::numeric, 9) FROM pipeline.feature_statistics
   WHERE refresh_id = (SELECT max(refresh_id) FROM pipeline.feature_refreshes WHERE feature_set = 'parallel') $$;

SET max_parallel_workers_per_gather = 0;
SELECT * FROM way();
SELECT counts() AS counts
\gset
CREATE TABLE alone AS TABLE out;
CREATE TABLE alone_statistics AS SELECT * FROM statistics();
SET max_parallel_workers_per_gather = 2;
-- Too small to be worth it.
SELECT * FROM way() WHERE step = 'events' LIMIT 1;
SET min_parallel_table_scan_size = 0;
SELECT * FROM way();
CREATE FUNCTION same(counts text) RETURNS TABLE (same_counts boolean, rows bigint, differences bigint, other_statistics bigint) LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
  found := counts();
  RETURN QUERY SELECT found = counts, (SELECT count(*) FROM out),
    (SELECT count(*) FROM (TABLE alone EXCEPT ALL TABLE out) d) + (SELECT count(*) FROM (TABLE out EXCEPT ALL TABLE alone) d),
    (SELECT count(*) FROM (TABLE alone_statistics EXCEPT SELECT * FROM statistics()) d);
END $$;
SELECT * FROM same(:'counts');
SET max_parallel_workers_per_gather = 1;
SELECT * FROM same(:'counts');
-- More than the memory holds: of the spine, of what is exchanged, of what is computed.
SET work_mem = '64kB';
SELECT * FROM same(:'counts');
SELECT spilled_bytes > 0 AS spilled FROM pipeline.feature_refreshes WHERE feature_set = 'parallel' ORDER BY refresh_id DESC LIMIT 1;
RESET work_mem;
-- Nobody can come.
SET max_parallel_workers = 0;
SELECT * FROM same(:'counts');
RESET max_parallel_workers;
-- What was written before by this transaction is seen by all.
BEGIN;
UPDATE events SET v = v + 1 WHERE a = 7;
SET LOCAL max_parallel_workers_per_gather = 0;
CREATE TEMP TABLE changed AS SELECT * FROM pipeline.features('spine', '{a,b}', 't', '[{"feature": "s", "source": "events", "aggregate": "sum", "value": "v", "lookback": "9 days"}]')
  AS (n int, a int, b text, t timestamptz, note text, s bigint);
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT count(*) FROM (TABLE changed EXCEPT ALL SELECT * FROM pipeline.features('spine', '{a,b}', 't', '[{"feature": "s", "source": "events", "aggregate": "sum", "value": "v", "lookback": "9 days"}]')
  AS (n int, a int, b text, t timestamptz, note text, s bigint)) d;
-- Writing goes on after it.
SELECT counts() IS NOT NULL AS refreshed;
ROLLBACK;

-- What others must not evaluate, or cannot see, is left to one.
CREATE FUNCTION ways(source text, value text, aggregate text DEFAULT 'sum') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pipeline.create_feature_set('one', 'feature_parallel.spine', '{a,b}', 't', or_replace => true);
  PERFORM pipeline.add_feature('one', 'f', source, aggregate, '7 days', value => value);
  RETURN QUERY SELECT way FROM pipeline.explain_features('one') WHERE step = 'events';
END $$;
CREATE FUNCTION unsafe(v int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL UNSAFE AS $$ SELECT v $$;
CREATE FUNCTION plunsafe(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL RESTRICTED AS $$ BEGIN RETURN v; END $$;
CREATE FUNCTION safe(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN RETURN v; END $$;
CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = int4pl, PARALLEL = SAFE);
CREATE FUNCTION add_slowly(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT a + b $$;
CREATE AGGREGATE slow_total (int) (SFUNC = add_slowly, STYPE = int, COMBINEFUNC = add_slowly);
CREATE TEMP TABLE here AS SELECT * FROM events LIMIT 10;
SELECT ways('events', 'safe(v)'), ways('events', 'plunsafe(v)'), ways('events', 'v', 'total'), ways('events', 'v', 'slow_total'), ways('pg_temp.here', 'v');
-- An error in one is the error of all, and nothing is left.
SELECT public.raises($$SELECT count(*) FROM pipeline.features('spine', '{a,b}', 't', '[{"feature": "s", "source": "events", "aggregate": "sum", "value": "1 / (v - 50)", "lookback": "9 days"}]')
  AS (n int, a int, b text, t timestamptz, note text, s bigint)$$);
SELECT * FROM same(:'counts');

SELECT pipeline.drop_feature_set('parallel', drop_target => true);
SELECT pipeline.drop_feature_set('one');
DROP SCHEMA feature_parallel CASCADE;
