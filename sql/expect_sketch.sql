-- profile() and suggest() by sketches, against exact SQL over random data: what
-- is said to be exact is, and what is estimated is within the bounds that the
-- documentation states. Prints what is beyond them only.
\set VERBOSITY terse
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA sketch AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = sketch;
SELECT setseed(0.25) \g /dev/null
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN short AS text;
CREATE TABLE t AS SELECT i AS id, CASE WHEN random() > 0.1 THEN (random() * 8000)::int END AS many, (1 / (0.00001 + random()))::int AS zipf,
  (random() * 1e6)::numeric(12, 2) AS n, (random() * 100 - 50)::float8 * exp(random() * 10) AS f, round(random()::numeric * 100, (i % 4)) AS scales,
  CASE i % 5000 WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-Infinity' ELSE random() END AS odd, 'user' || (random() * 20000)::int || '@example.org' AS mail,
  md5(i::text) AS hash, CASE WHEN i % 3 = 0 THEN 'A-' || i ELSE 'Ünïx-' || i % 100 END COLLATE "C" AS mixed, date '2020-01-01' + (random() * 3000)::int AS d,
  timestamptz '2024-01-01' + random() * interval '300 days' AS at, md5(random()::text)::uuid AS u, (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood AS m,
  ('s' || i % 4000)::short AS dom, i % 2 = 0 AS b, jsonb_build_object('a', i % 5000) AS j, ARRAY[i % 60, i % 70] AS a, (i % 5000) * interval '1 hour' AS iv,
  CASE WHEN i % 9000 = 0 THEN repeat('long ', 20000) WHEN i % 12 = 0 THEN repeat('x', 1000 + i % 4000) END AS big, int4range(i % 100, i % 100 + i % 50 + 1) AS r, i / 12000 AS few, NULL::int AS nothing
FROM generate_series(1, 24000) i ORDER BY CASE WHEN i < 12000 THEN i END, random();
ANALYZE t;

-- Bounds: distinct values 2.5 percent; common values a thousandth of the rows.
CREATE TABLE p AS SELECT s.*, to_jsonb(e) AS e FROM pipeline.profile('t') s JOIN pipeline.profile('t', exact => true) e USING (ordinal);
SELECT "column", exact, distinct_count, e ->> 'distinct_count' AS truth FROM p WHERE abs(distinct_count - (e ->> 'distinct_count')::bigint) > 0.025 * (e ->> 'distinct_count')::bigint
  OR (exact AND distinct_count <> (e ->> 'distinct_count')::bigint) OR NOT (e ->> 'exact')::boolean ORDER BY ordinal;
SELECT string_agg("column", ', ' ORDER BY ordinal) FILTER (WHERE exact) AS exact, string_agg("column", ', ' ORDER BY ordinal) FILTER (WHERE NOT exact) AS estimated FROM p;
-- All the rest is the same, moments but for rounding.
SELECT "column", min, max, mean, stddev, min_length, max_length, null_percent, e FROM p
WHERE (min, max, min_length, max_length, null_percent, rows) IS DISTINCT FROM (e ->> 'min', e ->> 'max', (e ->> 'min_length')::bigint, (e ->> 'max_length')::bigint, (e ->> 'null_percent')::float8, (e ->> 'rows')::bigint)
  OR abs(mean - (e ->> 'mean')::float8) > 1e-9 * abs(mean) OR abs(stddev - (e ->> 'stddev')::float8) > 1e-9 * stddev OR (mean IS NULL) <> (e ->> 'mean' IS NULL) ORDER BY ordinal;
SELECT "column", quantiles, top_values, e FROM p WHERE exact AND (quantiles, top_values, patterns) IS DISTINCT FROM (nullif(e -> 'quantiles', 'null'), nullif(e -> 'top_values', 'null'), nullif(e -> 'patterns', 'null')) ORDER BY ordinal;
SELECT "column", patterns, e -> 'patterns' FROM p WHERE patterns IS DISTINCT FROM nullif(e -> 'patterns', 'null') AND "column" IN ('mail', 'mixed', 'dom') ORDER BY ordinal;

-- A quantile's rank is within one percent of the rows.
CREATE FUNCTION rank_error(tab text, col text, q float8, v text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE e float8;
BEGIN
  EXECUTE format('SELECT greatest(count(*) FILTER (WHERE %1$I < %2$s)::float8 / count(%1$I) - %3$s, %3$s - count(*) FILTER (WHERE %1$I <= %2$s)::float8 / count(%1$I), 0) FROM %4$I',
    col, format('%L::%s', v, (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = tab::regclass AND attname = col)), q, tab) INTO e;
  RETURN e;
END $$;
SELECT "column", q.key, round(rank_error('t', "column", q.key::float8, q.value)::numeric, 3) AS error FROM p, jsonb_each_text(quantiles) q
WHERE "column" IN ('many', 'n', 'f', 'odd', 'mail', 'mixed', 'at', 'u') AND rank_error('t', "column", q.key::float8, q.value) > 0.01 ORDER BY 1, 2;
SELECT count(*) AS quantiles_looked_at FROM p, jsonb_each_text(quantiles) q WHERE "column" IN ('many', 'n', 'f', 'odd', 'mail', 'mixed', 'at', 'u');

-- Common values: none that is listed counts more than there are, nor less by over
-- a thousandth of the rows; none that is more common than a fiftieth is missing.
CREATE FUNCTION listed(tab text, col text, tops jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('WITH c AS (SELECT to_jsonb(%1$I) AS v, count(*) AS n FROM %2$I WHERE %1$I IS NOT NULL GROUP BY %1$I),
    l AS (SELECT x -> ''value'' AS v, (x ->> ''count'')::bigint AS n FROM jsonb_array_elements($1) x)
    SELECT format(''%%s: %%s of %%s'', v, l.n, c.n) FROM c FULL JOIN l USING (v) WHERE c.n IS NULL OR l.n > c.n OR l.n < c.n - 24 OR (l.n IS NULL AND c.n > 480)', col, tab) USING tops;
END $$;
SELECT "column", listed('t', "column", top_values) FROM p WHERE "column" IN ('many', 'zipf', 'n', 'scales', 'mail', 'mixed', 'd', 'dom', 'iv', 'a') ORDER BY 1, 2;

-- A parallel scan finds the same, but for estimates.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE FUNCTION plan(q text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || q; END $$;
SELECT plan($$SELECT pipeline._sketch('[{"type": "profile", "kwargs": {}}]', id, true) FROM t$$);
CREATE TABLE parallel AS SELECT s.* FROM pipeline.profile('t') s;
SELECT "column" FROM p JOIN parallel s USING (ordinal, "column", type, rows) WHERE (s.min, s.max, s.min_length, s.max_length, s.null_percent) IS DISTINCT FROM (p.min, p.max, p.min_length, p.max_length, p.null_percent)
  OR (p.exact AND s.exact AND (s.distinct_count, s.quantiles, s.patterns) IS DISTINCT FROM (p.distinct_count, p.quantiles, p.patterns))
  OR abs(s.distinct_count - (e ->> 'distinct_count')::bigint) > 0.025 * (e ->> 'distinct_count')::bigint OR abs(s.mean - p.mean) > 1e-9 * abs(p.mean) OR abs(s.stddev - p.stddev) > 1e-9 * p.stddev ORDER BY 1;
SELECT "column", q.key FROM parallel, jsonb_each_text(quantiles) q WHERE "column" IN ('many', 'n', 'f', 'odd', 'mail', 'mixed', 'at', 'u') AND rank_error('t', "column", q.key::float8, q.value) > 0.01 ORDER BY 1, 2;
SELECT "column", listed('t', "column", top_values) FROM parallel WHERE "column" IN ('many', 'zipf', 'n', 'scales', 'mail', 'mixed', 'd', 'dom', 'iv', 'a') ORDER BY 1, 2;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- The sketch alone: any number of distinct values, in any order.
CREATE TABLE sizes AS SELECT n, o, s -> 0 AS s FROM unnest('{3072,4097,20000,45000,300000}'::int[]) n, unnest('{up,down,mixed}'::text[]) o,
  LATERAL (SELECT pipeline._sketch('[{"type": "expect_column_quantile_values_to_be_between", "kwargs": {"column": "x", "quantile_ranges": {"quantiles": [0, 0.001, 0.1, 0.5, 0.9, 1], "value_ranges": [[null, 0], [null, 0], [null, 0], [null, 0], [null, 0], [null, 0]]}}}]',
    CASE o WHEN 'up' THEN i WHEN 'down' THEN n + 1 - i ELSE 1 + (i::bigint * 7919 % n)::int END, true) AS s FROM generate_series(1, n) i) AS x;
SELECT n, o, s -> 'distinct' AS "distinct", q, (s -> 'values' ->> (i::int - 1))::float8 / n - q AS error FROM sizes, unnest('{0,0.001,0.1,0.5,0.9,1}'::float8[]) WITH ORDINALITY AS x(q, i)
WHERE abs((s ->> 'distinct')::float8 / n - 1) > 0.025 OR abs((s -> 'values' ->> (i::int - 1))::float8 / n - q) > 0.01 OR (q IN (0, 1) AND (s -> 'values' ->> (i::int - 1))::int <> greatest(q * n, 1));
SELECT count(*) FROM sizes WHERE s ? 'approximate' AND (s ->> 'elements')::int = n AND s ->> 'missing' = '0';

-- Equal numbers are equal however many digits they show; a numeric becomes the
-- double that the server makes of it.
SELECT pipeline._sketch('[{"type": "profile", "kwargs": {}}]', v, true) -> 0 ->> 'distinct' AS "distinct" FROM unnest('{1.0,1,1.000,-1,0,-0.00,1e100,1.0e100,NaN,Infinity,-Infinity,10000,1000,1e-20,0.0001,0.00010}'::numeric[]) v;
SELECT x FROM (SELECT x, pipeline._sketch('[{"type": "profile", "kwargs": {}}]', x, true) -> 0 ->> 'mean' AS mean FROM (
  SELECT (random()::numeric - 0.5) * 10::numeric ^ (random() * 40 - 20)::int AS x FROM generate_series(1, 1500)
  UNION ALL SELECT round(((random() - 0.5) * 10 ^ (random() * 12))::numeric, (random() * 8)::int) FROM generate_series(1, 1500)
  UNION ALL SELECT v FROM unnest('{9007199254740993,9007199254740992,9999999999999999,0.1,123456789012345678,1e22,1e23,-1e-22,4.35,0}'::numeric[]) v) AS n GROUP BY x) AS y
WHERE mean::float8 <> x::float8;

-- What suggest() learns holds, and it knows what is unique.
SELECT e -> 'kwargs' ->> 'column' AS "column" FROM jsonb_array_elements(pipeline.suggest('SELECT id, many, hash, mail, d, few, n FROM t') -> 'expectations') e WHERE e ->> 'type' = 'expect_column_values_to_be_unique' ORDER BY 1;
SELECT e -> 'kwargs' ->> 'column' AS "column" FROM jsonb_array_elements(pipeline.suggest('SELECT nullif(id, 7) AS id, hash, CASE WHEN id = 23000 THEN 1 ELSE id END AS twice FROM t') -> 'expectations') e WHERE e ->> 'type' = 'expect_column_values_to_be_unique' ORDER BY 1;
SELECT bool_and(r.success) AS holds, count(*) > 60 AS many FROM pipeline.check_now('t', pipeline.suggest('t') -> 'expectations') r;
SELECT bool_and(r.success) AS holds FROM pipeline.check_now('t', pipeline.suggest('t', exact => true) -> 'expectations') r;
-- Checks that allow an error: by a sketch where that is good enough, and where
-- nothing else sorts the column anyway.
CREATE FUNCTION near(kwargs text, type text DEFAULT 'unique_value_count_to_be_between', more jsonb DEFAULT '[]') RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', r.success, r.details ->> 'approximate', coalesce(r.error, '')) FROM pipeline.check_now('t', jsonb_build_array(jsonb_build_object('type', 'expect_column_' || type, 'kwargs', kwargs::jsonb)) || more) r LIMIT 1 $$;
SELECT e, near(format('{"column": "hash", "min_value": 23400, "max_value": 24600, "allow_relative_error": %s}', e)) AS count, near(format('{"column": "hash", "min_value": 0.97, "allow_relative_error": %s}', e), 'proportion_of_unique_values_to_be_between') AS proportion,
  near(format('{"column": "id", "min_value": 11700, "max_value": 12300, "allow_relative_error": %s}', e), 'median_to_be_between') AS median,
  near(format('{"column": "id", "quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[2160, 2640], [21360, 21840]]}, "allow_relative_error": %s}', e), 'quantile_values_to_be_between') AS quantiles
FROM unnest('{false,true,0,0.009,0.01,0.024,0.025,1,"\"lower\""}'::text[]) AS e;
SELECT near('{"column": "hash", "allow_relative_error": 2}');
SELECT near('{"column": "hash", "allow_relative_error": -0.1}');
SELECT near('{"column": "hash", "allow_relative_error": []}');
SELECT near('{"column": "hash", "min_value": 1, "allow_relative_error": true}', more => '[{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "hash"}}]') AS sorted_anyway,
  near('{"column": "few", "min_value": 3, "max_value": 3, "allow_relative_error": true}') AS few, near('{"column": "nothing", "allow_relative_error": true}') AS nothing,
  near('{"column": "hash", "min_value": 11700, "max_value": 12300, "allow_relative_error": true, "row_condition": "id % 2 = 0"}') AS condition;
SELECT near('{"column": "d", "allow_relative_error": true, "min_value": "2019-01-01"}', 'median_to_be_between') AS d;
SELECT s.observed_value IS NOT DISTINCT FROM p.observed_value AS same, p.details FROM pipeline.check_now('t', '[{"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "u", "allow_relative_error": true}}]') s,
  (SELECT set_config('parallel_setup_cost', '0', true), set_config('parallel_tuple_cost', '0', true), set_config('min_parallel_table_scan_size', '0', true)) c,
  LATERAL (SELECT * FROM pipeline.check_now('t', '[{"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "u", "allow_relative_error": true}}]')) p;

-- No rows, no columns' worth, errors.
SELECT "column", distinct_count, exact FROM pipeline.profile('SELECT * FROM t WHERE false') WHERE ordinal < 3;
SELECT * FROM pipeline.profile(NULL);
SELECT * FROM pipeline.profile('t', NULL);
SELECT pipeline.suggest('t', NULL);
SELECT pipeline._sketch('{}', 1, true);
SELECT pipeline._sketch(NULL, 1, true);
SELECT pipeline._sketch('[{"type": "profile", "kwargs": {}}]', 'x'::tsvector, true);
RESET SESSION AUTHORIZATION;
DROP SCHEMA sketch CASCADE;
