-- features(): every aggregate and type, several sources and windows in one
-- call, what is left out, and as_of.
CREATE SCHEMA feature_basic;
SET search_path = feature_basic;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE TABLE prints (user_id int, prop text, ts timestamptz);
CREATE TABLE taps (user_id bigint, prop text, ts timestamptz);
CREATE TABLE pays (who int, what varchar(20), day date, small int2, cents int, wide int8, total numeric(10,2),
                   ratio float8, ratio4 float4, note text);
INSERT INTO prints VALUES
  (1, 'a', '2024-01-01 10:00+00'), (1, 'a', '2024-01-08 10:00+00'), (1, 'a', '2024-01-22 10:00+00'),
  (1, 'b', '2024-01-08 10:00+00'), (2, 'a', '2024-01-09 09:00+00'), (2, 'a', '2024-01-09 09:00+00');
INSERT INTO taps VALUES (1, 'a', '2024-01-01 10:00:05+00'), (1, 'a', '2024-01-22 10:00:05+00'), (3, 'a', '2024-01-02+00');
INSERT INTO pays VALUES
  (1, 'a', '2024-01-02', 3, 1000, 9223372036854775807, 10.50, 0.5, 0.25, 'zebra'),
  (1, 'a', '2024-01-03', 4, 2147483647, 9223372036854775807, 0.25, 1.5, 1.25, 'apple'),
  (1, 'a', '2024-01-04', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (2, 'a', '2024-01-08', 1, 1, 1, 1, 1, 1, 'pear');

-- Four features from three sources, with names that differ.
SELECT $$[
  {"feature": "views", "source": "prints", "aggregate": "count", "lookback": "21 days"},
  {"feature": "taps", "source": "taps", "aggregate": "count", "lookback": "21 days"},
  {"feature": "payments", "source": "pays", "aggregate": "count", "lookback": "21 days",
   "entity": ["who", "what"], "event_time": "day"},
  {"feature": "paid", "source": "pays", "aggregate": "sum", "value": "total", "lookback": "21 days",
   "entity": ["who", "what"], "event_time": "day", "default_value": 0},
  {"feature": "Tapped?", "source": "SELECT user_id, prop, ts - interval '10 seconds' AS ts FROM taps",
   "aggregate": "exists", "lookback": "10 seconds", "closed": "both"}
]$$ AS specs \gset
SELECT pipeline.features_columns('prints', '{user_id,prop}', 'ts', :'specs') AS columns \gset
\echo :columns
SELECT * FROM pipeline.features('prints', '{user_id,prop}', 'ts', :'specs') AS (:columns)
ORDER BY user_id, prop, ts;

-- Every aggregate over every type of number, with PostgreSQL's own types.
SELECT jsonb_agg(jsonb_build_object('feature', a || '_' || v, 'source', 'pays', 'aggregate', a, 'value', v,
                                    'lookback', '10 days', 'entity', '["who", "what"]'::jsonb, 'event_time', 'day')) AS specs
FROM unnest('{sum,avg,min,max,count}'::text[]) a, unnest('{small,cents,wide,total,ratio,ratio4}'::text[]) v \gset
SELECT pipeline.features_columns('prints', '{user_id,prop}', 'ts', :'specs') AS columns \gset
\echo :columns
\x on
SELECT * FROM pipeline.features('prints', '{user_id,prop}', 'ts', :'specs') AS (:columns)
WHERE user_id = 1 AND ts = '2024-01-08 10:00+00' AND prop = 'a';
SELECT sum(small) AS sum_small, sum(cents) AS sum_cents, sum(wide) AS sum_wide, sum(total) AS sum_total, sum(ratio) AS sum_ratio,
       sum(ratio4) AS sum_ratio4, avg(small) AS avg_small, avg(cents) AS avg_cents, avg(wide) AS avg_wide, avg(total) AS avg_total,
       avg(ratio) AS avg_ratio, avg(ratio4) AS avg_ratio4
FROM pays WHERE who = 1;
\x off

-- Least and greatest of what has an order: text, dates, arrays, intervals.
SELECT user_id, ts, first_note, last_note, last_day, pair, gap
FROM pipeline.features('prints', '{user_id,prop}', 'ts', $$[
  {"feature": "first_note", "source": "pays", "aggregate": "min", "value": "note", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "last_note", "source": "pays", "aggregate": "max", "value": "upper(note)", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day", "default_value": "none"},
  {"feature": "last_day", "source": "pays", "aggregate": "max", "value": "day", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "pair", "source": "pays", "aggregate": "max", "value": "ARRAY[small, cents]", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "gap", "source": "pays", "aggregate": "min", "value": "age(day)", "filter": "false", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"}
]$$) AS (user_id int, prop text, ts timestamptz, first_note text, last_note text, last_day date, pair int[], gap interval)
ORDER BY user_id, prop, ts;

-- A filter guards its value; count and exists with a value ask for one not NULL.
SELECT ts, inverse, known, any_known
FROM pipeline.features('prints', '{user_id,prop}', 'ts', $$[
  {"feature": "inverse", "source": "pays", "aggregate": "sum", "value": "1 / (cents - 1000)", "filter": "cents <> 1000", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "known", "source": "pays", "aggregate": "count", "value": "cents", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day", "default_value": "-1"},
  {"feature": "any_known", "source": "pays", "aggregate": "exists", "value": "cents", "filter": "day = '2024-01-04'", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"}
]$$) AS (user_id int, prop text, ts timestamptz, inverse bigint, known bigint, any_known boolean)
WHERE user_id = 1 AND prop = 'a' ORDER BY ts;

-- Different values, the first and the last, the time since, the spread. Of
-- events of one time, the first has the least value and the last the greatest.
SELECT pipeline.features_columns('prints', '{user_id,prop}', 'ts', $$[
  {"feature": "kinds", "source": "pays", "aggregate": "count_distinct", "value": "lower(note)", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "first_cents", "source": "pays", "aggregate": "first", "value": "cents", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "last_cents", "source": "pays", "aggregate": "last", "value": "cents", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "since_first", "source": "pays", "aggregate": "time_since_first", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "since_last", "source": "pays", "aggregate": "time_since_last", "value": "cents", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day", "default_value": "1 year"},
  {"feature": "spread", "source": "pays", "aggregate": "stddev", "value": "cents", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"},
  {"feature": "var", "source": "pays", "aggregate": "variance", "value": "ratio", "lookback": "10 days", "entity": ["who", "what"], "event_time": "day"}]$$);
SELECT g, kinds, first_n, last_n, since_first, since_last, until_next, spread, var
FROM pipeline.features($$SELECT 1 AS k, g, timestamp '2024-01-01' + g * interval '12 hours' AS t FROM generate_series(0, 6) g$$, '{k}', 't', $$[
  {"feature": "kinds", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "count_distinct", "value": "n % 4", "lookback": "2 days"},
  {"feature": "first_n", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "first", "value": "n", "lookback": "2 days", "default_value": "-1"},
  {"feature": "last_n", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "last", "value": "n", "filter": "n % 3 < 2", "lookback": "2 days"},
  {"feature": "since_first", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "time_since_first", "lookback": "2 days"},
  {"feature": "since_last", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "time_since_last", "filter": "n < 5", "lookback": "2 days", "default_value": "1 year"},
  {"feature": "until_next", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "time_since_first", "lookback": "0", "lookahead": "2 days", "closed": "right"},
  {"feature": "spread", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "stddev", "value": "n", "lookback": "2 days"},
  {"feature": "var", "source": "SELECT 1 AS k, date '2024-01-01' + n / 3 AS t, n FROM generate_series(0, 8) n", "aggregate": "variance", "value": "n::float8 / 4", "filter": "n > 1", "lookback": "2 days"}]$$)
  AS (k int, g int, t timestamp, kinds bigint, first_n int, last_n int, since_first interval, since_last interval, until_next interval, spread numeric, var float8)
ORDER BY g;

-- The spine may be a query, a view, a partition; entities of any hashable type.
CREATE VIEW "Odd ""View""" AS SELECT user_id AS "it's me", ts AS "When" FROM prints;
SELECT * FROM pipeline.features('"Odd ""View"""', ARRAY['it''s me'], 'When', $$[
  {"feature": "é \" n", "source": "SELECT user_id::numeric AS \"it's me\", ts AS \"When\" FROM taps -- all", "aggregate": "count", "lookback": "1 year"}]$$)
  AS ("it's me" int, "When" timestamptz, "n" bigint) ORDER BY 1, 2;
SELECT * FROM pipeline.features($$SELECT '10.0.0.1'::inet AS ip, ARRAY[1] AS a, 1.50 AS n, 'x'::char(3) AS c, timestamp '2024-01-02' AS t$$, '{ip,a,n,c}', 't', $$[
  {"feature": "f", "source": "SELECT '10.0.0.1/32'::inet AS ip, ARRAY[1] AS a, 1.5 AS n, 'x'::char(5) AS c, timestamp '2024-01-01' AS t", "aggregate": "count", "lookback": "1 day"}]$$)
  AS (ip inet, a int[], n numeric, c char(3), t timestamp, f bigint);

SELECT g, n FROM pipeline.features($$SELECT md5((g % 300)::text)::uuid AS u, ('n' || g % 7)::name AS m, g % 2 = 0 AS b, g, timestamp '2024-01-02' AS t FROM generate_series(0, 2099) g$$, '{u,m,b}', 't', $$[
  {"feature": "n", "source": "SELECT md5((g % 300)::text)::uuid AS u, ('n' || g % 7)::name AS m, g % 2 = 0 AS b, timestamp '2024-01-01' AS t FROM generate_series(0, 4199) g", "aggregate": "count", "lookback": "1 day"}]$$)
  AS (u uuid, m name, b boolean, g int, t timestamp, n bigint) WHERE n <> 2;

-- The narrower side is widened: no value fails to be cast.
SELECT * FROM pipeline.features('SELECT 1::int2 AS k, now() AS t', '{k}', 't', $$[
  {"feature": "f", "source": "SELECT k, now() - interval '1 hour' AS t FROM (VALUES (1::int8), (9223372036854775807)) v (k)", "aggregate": "count", "lookback": "1 day"},
  {"feature": "g", "source": "SELECT k, now() - interval '1 hour' AS t FROM (VALUES (1.0), (1e30)) v (k)", "aggregate": "count", "lookback": "1 day"}]$$)
  AS (k smallint, t timestamptz, f bigint, g bigint) WHERE (f, g) = (1, 1) IS NOT TRUE;

-- Integers of functions that do not extend their sign, and large oids: as in
-- the columns of a table.
CREATE TABLE hashes AS SELECT hashtext(n::text) AS k, (n::bigint * 200000000)::oid AS o, n FROM generate_series(1, 20) n;
SELECT n, c, mn, mx
FROM pipeline.features($$SELECT hashtext(n::text) AS k, (n::bigint * 200000000)::oid AS o, n, timestamp '2024-01-02' AS t FROM generate_series(1, 20) n$$, '{k,o}', 't', $$[
  {"feature": "c", "source": "SELECT k, o, timestamp '2024-01-01' AS t FROM hashes", "aggregate": "count", "lookback": "1 day"},
  {"feature": "mn", "source": "SELECT s.k, s.o, h.n, timestamp '2024-01-01' AS t FROM hashes s, hashes h", "aggregate": "min", "value": "hashtext(n::text)", "lookback": "1 day"},
  {"feature": "mx", "source": "SELECT s.k, s.o, h.n, timestamp '2024-01-01' AS t FROM hashes s, hashes h", "aggregate": "max", "value": "hashtext(n::text)", "lookback": "1 day"}]$$)
  AS (k int, o oid, n int, t timestamp, c bigint, mn int, mx int)
WHERE (c, mn, mx) <> (SELECT 1, min(k), max(k) FROM hashes);

-- Names that read alike when put together are not the same columns.
CREATE TABLE lines ("a
b" int, c int, a int, "b
c" int, t timestamp);
INSERT INTO lines VALUES (1, 2, 3, 4, '2024-01-01');
SELECT * FROM pipeline.features('SELECT x, y, timestamp ''2024-01-02'' AS t FROM (VALUES (1, 2), (3, 4)) v (x, y)', '{x,y}', 't', $$[
  {"feature": "f", "source": "lines", "aggregate": "count", "lookback": "1 day", "entity": ["a\nb", "c"]},
  {"feature": "g", "source": "lines", "aggregate": "count", "lookback": "1 day", "entity": ["a", "b\nc"]}]$$)
  AS (x int, y int, t timestamp, f bigint, g bigint) ORDER BY x;

-- NULLs in the entity or the time are kept out and counted; nothing to do is fine.
SELECT * FROM pipeline.features('SELECT * FROM (VALUES (1, ''a'', timestamptz ''2024-01-08''), (NULL, ''a'', now()), (1, NULL, now()), (1, ''a'', NULL)) v (user_id, prop, ts)',
  '{user_id,prop}', 'ts', $$[{"feature": "n", "source": "SELECT * FROM taps UNION ALL VALUES (1::bigint, NULL, timestamptz '2024-01-02'), (NULL, 'a', NULL)", "aggregate": "count", "lookback": "21 days"}]$$)
  AS (user_id int, prop text, ts timestamptz, n bigint);
SELECT * FROM pipeline.features('SELECT * FROM prints WHERE false', '{user_id,prop}', 'ts', $$[
  {"feature": "n", "source": "taps", "aggregate": "count", "lookback": "21 days"}]$$) AS (user_id int, prop text, ts timestamptz, n bigint);
SELECT * FROM pipeline.features('SELECT * FROM prints LIMIT 1', '{user_id,prop}', 'ts', $$[
  {"feature": "n", "source": "SELECT * FROM taps WHERE false", "aggregate": "sum", "value": "1", "lookback": "21 days"}]$$) AS (user_id int, prop text, ts timestamptz, n bigint);

-- as_of: rows and events at or after it do not exist.
SELECT * FROM pipeline.features('prints', '{user_id,prop}', 'ts', $$[
  {"feature": "n", "source": "pays", "aggregate": "count", "lookback": "21 days", "entity": ["who", "what"], "event_time": "day"}]$$, as_of => '2024-01-08 10:00:00.000001+00')
  AS (user_id int, prop text, ts timestamptz, n bigint) ORDER BY user_id, prop, ts;
SELECT * FROM pipeline.features('prints', '{user_id,prop}', 'ts', $$[
  {"feature": "n", "source": "pays", "aggregate": "count", "lookback": "21 days", "entity": ["who", "what"], "event_time": "day"}]$$, as_of => '2024-01-08 10:00+00')
  AS (user_id int, prop text, ts timestamptz, n bigint) ORDER BY user_id, prop, ts;

-- More inputs than one word of presence bits.
SELECT jsonb_agg(jsonb_build_object('feature', 'f' || i, 'source', 'pays', 'aggregate', CASE WHEN i % 3 = 0 THEN 'count' ELSE 'sum' END,
   'value', 'cents * 0 + ' || i, 'lookback', '10 days', 'entity', '["who", "what"]'::jsonb, 'event_time', 'day') ORDER BY i) AS specs
FROM generate_series(1, 100) i \gset
SELECT pipeline.features_columns('prints', '{user_id,prop}', 'ts', :'specs') AS columns \gset
SELECT f1, f2, f3, f31, f32, f34, f64, f65, f97, f99, f100
FROM pipeline.features('prints', '{user_id,prop}', 'ts', :'specs') AS (:columns) WHERE user_id = 1 AND prop = 'a' ORDER BY ts;

-- The bound on the time of events reaches indexes and partitions.
CREATE TABLE log (k int, t timestamptz NOT NULL) PARTITION BY RANGE (t);
CREATE TABLE log_old PARTITION OF log FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE log_new PARTITION OF log FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
INSERT INTO log VALUES (1, '2023-12-31'), (1, '2024-01-02'), (1, '2024-01-03');
ALTER TABLE log_old ADD CHECK (k > 0);
CREATE FUNCTION touchy(t timestamptz) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF t < '2024-01-01' THEN RAISE 'read what no window reaches'; END IF;
  RETURN 1;
END $$;
SELECT * FROM pipeline.features('SELECT 1 AS k, timestamptz ''2024-01-10'' AS t', '{k}', 't', $$[
  {"feature": "n", "source": "log", "aggregate": "sum", "value": "touchy(t)", "lookback": "8 days", "closed": "both"}]$$) AS (k int, t timestamptz, n bigint);
SET client_min_messages = error;
DROP SCHEMA feature_basic CASCADE;
