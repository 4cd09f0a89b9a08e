#!/usr/bin/env bash
# The shared scan against count(*), one query per check, and one hand-written
# query with count(*) FILTER: CPU seconds of the backend (/proc/PID/stat) in one
# session without parallel workers, medians of RUNS.
#   test/bench/expect.sh PSQL-ARGUMENTS     e.g. -h /tmp/pipeline.x -U postgres dev
# ROWS=5000000; RUNS=5. REPORT=FILE gets the table as Markdown.
set -euo pipefail
ROWS=${ROWS:-5000000}
RUNS=${RUNS:-5}
REPORT=${REPORT:-/dev/null}

psql -qXAt -v ON_ERROR_STOP=1 -v rows="$ROWS" -v runs="$RUNS" "$@" <<'SQL' | tee >(grep '^|' >"$REPORT")
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET work_mem = '64MB';
DROP SCHEMA IF EXISTS expect_bench CASCADE;
CREATE SCHEMA expect_bench;
SET search_path = expect_bench;
SELECT setseed(0.5) \g /dev/null
CREATE TABLE t AS
SELECT i AS id, i % 1000 AS customer, (random() * 1000)::numeric(10,2) AS amount, random() * 100 AS price,
  (ARRAY['open', 'paid', 'sent', 'done'])[1 + i % 4] AS state, (ARRAY['DE', 'FR', 'IT', 'ES', 'PL'])[1 + i % 5] AS country,
  'user' || i || '@example.org' AS email, 'SKU-' || lpad((i % 50000)::text, 6, '0') AS sku,
  timestamptz '2024-01-01 00:00+00' + i * interval '10 s' AS at, date '2024-01-01' + i % 365 AS day,
  (i % 7)::smallint AS weekday, md5(i::text) AS note
FROM generate_series(1, :rows) i;
VACUUM (FREEZE, ANALYZE) t;

-- 24 row-level checks over 12 columns, the SQL of what is unexpected beside each.
CREATE TABLE checks (n int GENERATED ALWAYS AS IDENTITY, type text, kwargs jsonb, bad text);
INSERT INTO checks (type, kwargs, bad) VALUES
  ('values_to_not_be_null', '{"column": "id"}', 'id IS NULL'), ('values_to_not_be_null', '{"column": "customer"}', 'customer IS NULL'),
  ('values_to_not_be_null', '{"column": "amount"}', 'amount IS NULL'), ('values_to_not_be_null', '{"column": "price"}', 'price IS NULL'),
  ('values_to_not_be_null', '{"column": "state"}', 'state IS NULL'), ('values_to_not_be_null', '{"column": "email"}', 'email IS NULL'),
  ('values_to_be_in_set', '{"column": "state", "value_set": ["open", "paid", "sent", "done"]}', $$state NOT IN ('open', 'paid', 'sent', 'done')$$),
  ('values_to_be_in_set', '{"column": "country", "value_set": ["DE", "FR", "IT", "ES", "PL"]}', $$country NOT IN ('DE', 'FR', 'IT', 'ES', 'PL')$$),
  ('values_to_be_between', '{"column": "id", "min_value": 1}', 'id < 1'),
  ('values_to_be_between', '{"column": "customer", "min_value": 0, "max_value": 999}', 'customer NOT BETWEEN 0 AND 999'),
  ('values_to_be_between', '{"column": "amount", "min_value": 0, "max_value": 1000}', 'amount NOT BETWEEN 0 AND 1000'),
  ('values_to_be_between', '{"column": "price", "min_value": 0, "max_value": 100}', 'price NOT BETWEEN 0 AND 100'),
  ('values_to_be_between', '{"column": "price", "max_value": 90, "mostly": 0.5}', 'price > 90'),
  ('values_to_be_between', '{"column": "at", "min_value": "2024-01-01"}', $$at < '2024-01-01'$$),
  ('values_to_be_between', '{"column": "day", "min_value": "2024-01-01", "max_value": "2024-12-31"}', $$day NOT BETWEEN '2024-01-01' AND '2024-12-31'$$),
  ('values_to_be_between', '{"column": "weekday", "min_value": 0, "max_value": 6}', 'weekday NOT BETWEEN 0 AND 6'),
  ('values_to_be_between', '{"column": "customer", "min_value": 100, "mostly": 0.5}', 'customer < 100'),
  ('pair_values_a_to_be_greater_than_b', '{"column_A": "id", "column_B": "weekday", "or_equal": true, "mostly": 0.9}', 'id < weekday'),
  ('value_lengths_to_be_between', '{"column": "note", "min_value": 32, "max_value": 32}', 'length(note) <> 32'),
  ('value_lengths_to_equal', '{"column": "sku", "value": 10}', 'length(sku) <> 10'),
  ('values_to_match_like_pattern', '{"column": "email", "like_pattern": "%@example.org"}', $$email NOT LIKE '%@example.org'$$),
  ('values_to_match_regex', '{"column": "sku", "regex": "^SKU-[0-9]{6}$"}', $$sku !~ '^SKU-[0-9]{6}$'$$),
  ('values_to_match_regex', '{"column": "email", "regex": "^[^@]+@[^@]+\\.[a-z]+$"}', $$email !~ '^[^@]+@[^@]+\.[a-z]+$'$$),
  ('values_to_not_be_in_set', '{"column": "sku", "value_set": ["SKU-x", "SKU-y"]}', $$sku IN ('SKU-x', 'SKU-y')$$);
CREATE FUNCTION list(from_n int, to_n int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_' || type, 'kwargs', kwargs) ORDER BY n) FROM expect_bench.checks WHERE n BETWEEN from_n AND to_n $$;
-- 40 over 10 columns: without note and at, with 16 more; 200: five of each, with other bounds.
CREATE TABLE forty AS SELECT row_number() OVER (ORDER BY n, k) AS n, type, kwargs, bad FROM (
  SELECT n, 0 AS k, type, kwargs, bad FROM checks WHERE NOT kwargs ->> 'column' IN ('note', 'at') OR kwargs ? 'column_A'
  UNION ALL SELECT 100, i, 'values_to_be_between', jsonb_build_object('column', c, 'min_value', i, 'mostly', 0), format('%I < %s', c, i)
  FROM unnest('{id,customer,amount,price,weekday,id,customer,amount,price,weekday,customer,id,price,weekday,amount,id,customer,price,id}'::text[]) WITH ORDINALITY AS x(c, i)) AS u LIMIT 40;
CREATE TABLE two_hundred AS SELECT row_number() OVER () AS n, type, CASE WHEN kwargs ? 'min_value' AND type = 'values_to_be_between' AND jsonb_typeof(kwargs -> 'min_value') = 'number'
  THEN kwargs || jsonb_build_object('min_value', -i) ELSE kwargs END AS kwargs, bad FROM forty, generate_series(1, 5) i;
SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_' || type, 'kwargs', kwargs) ORDER BY n) AS forty,
  string_agg(format('count(*) FILTER (WHERE %s)', bad), ', ') AS filters FROM forty \gset
SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_' || type, 'kwargs', kwargs) ORDER BY n) AS two_hundred FROM two_hundred \gset
SELECT list(1, 24) AS twenty_four, string_agg(format('count(*) FILTER (WHERE %s)', bad), ', ') AS filters24 FROM checks \gset

CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql VOLATILE AS $$
  SELECT (s[12]::float8 + s[13]::float8) / 100 FROM string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', ''), ' ') s $$;
CREATE TABLE figures (n int GENERATED ALWAYS AS IDENTITY, what text, cpu float8);
CREATE PROCEDURE measure(what text, command text, runs int) LANGUAGE plpgsql AS $$
DECLARE before float8;
BEGIN
  FOR i IN 0..runs LOOP
    before := expect_bench.cpu();
    EXECUTE command;
    IF i > 0 OR runs = 0 THEN INSERT INTO expect_bench.figures (what, cpu) VALUES (what, expect_bench.cpu() - before); END IF;
  END LOOP;
END $$;
CALL measure('count(*)', 'SELECT count(*) FROM t', :runs);
CALL measure('one check (not null)', $$SELECT count(*) FROM pipeline.check_now('t', '[{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "note"}}]')$$, :runs);
CALL measure('24 checks', format('SELECT count(*) FROM pipeline.check_now(''t'', %L)', :'twenty_four'), :runs);
CALL measure('24 checks, one query each', format($$SELECT count(*) FROM jsonb_array_elements(%L) c, pipeline.check_now('t', jsonb_build_array(c))$$, :'twenty_four'), 1);
SELECT string_agg(format('SELECT count(*) FROM t WHERE %s', bad), ' UNION ALL ') AS each FROM checks \gset
CALL measure('24 checks, plain SQL each', :'each', 1);
CALL measure('24 checks, one SELECT with FILTER', 'SELECT count(*), ' || :'filters24' || ' FROM t', :runs);
CALL measure('40 checks', format('SELECT count(*) FROM pipeline.check_now(''t'', %L)', :'forty'), :runs);
CALL measure('40 checks, one query each', format($$SELECT count(*) FROM jsonb_array_elements(%L) c, pipeline.check_now('t', jsonb_build_array(c))$$, :'forty'), 1);
CALL measure('40 checks, one SELECT with FILTER', 'SELECT count(*), ' || :'filters' || ' FROM t', :runs);
CALL measure('200 checks', format('SELECT count(*) FROM pipeline.check_now(''t'', %L)', :'two_hundred'), :runs);
CALL measure('uniqueness of an integer', $$SELECT count(*) FROM pipeline.check_now('t', '[{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}}]')$$, :runs);
CALL measure('uniqueness of a text', $$SELECT count(*) FROM pipeline.check_now('t', '[{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "email"}}]')$$, :runs);
CALL measure('five checks of one distribution', $$SELECT count(*) FROM pipeline.check_now('t', '[{"type": "expect_column_median_to_be_between", "kwargs": {"column": "price"}}, {"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "price"}},
  {"type": "expect_column_quantile_values_to_be_between", "kwargs": {"column": "price", "quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[0, 100], [0, 100]]}}},
  {"type": "expect_column_proportion_of_unique_values_to_be_between", "kwargs": {"column": "price"}}, {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "price", "mostly": 0}}]')$$, :runs);
CALL measure('the same by two ordered aggregates', 'SELECT percentile_cont(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY price), count(DISTINCT price) FROM t', :runs);
CALL measure('distinct values of a few', $$SELECT count(*) FROM pipeline.check_now('t', '[{"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "state", "value_set": ["open", "paid", "sent", "done"]}}]')$$, :runs);
SELECT format('SELECT count(*) FROM pipeline.check_now(''t'', %L)', jsonb_agg(jsonb_build_object('type', format('expect_column_%s_to_be_between', f), 'kwargs', jsonb_build_object('column', c)))) AS aggregates
  FROM unnest('{min,max,mean,sum}'::text[]) f, unnest('{id,customer,price,weekday}'::text[]) c \gset
CALL measure('min, max, mean, sum of four columns', :'aggregates', :runs);
CALL measure('profile of 12 columns', $$SELECT count(*) FROM pipeline.profile('t')$$, :runs);
CALL measure('profile of 12 columns, exact', $$SELECT count(*) FROM pipeline.profile('t', exact => true)$$, 0);
CALL measure('a suite suggested for 12 columns', $$SELECT pipeline.suggest('t')$$, 0);

SELECT pipeline.create_suite('expect_bench', 't', row_key => '{id}', or_replace => true) \g /dev/null
SELECT pipeline.expect('expect_bench', c ->> 'type', c -> 'kwargs', 'error', 'c' || n) FROM jsonb_array_elements(:'twenty_four') WITH ORDINALITY AS x(c, n) \g /dev/null
SELECT pipeline.expect('expect_bench', 'expect_column_values_to_be_between', '{"column": "customer", "min_value": 1}', 'error', 'fails') \g /dev/null
-- One row of a thousand fails; those that only mostly hold would quarantine a fifth.
SELECT pipeline.alter_expectation('expect_bench', name, '{"severity": "warning"}') FROM pipeline.expectations WHERE suite = 'expect_bench' AND kwargs ? 'mostly' \g /dev/null
CALL measure('25 checks of a suite, one fails', $$SELECT success FROM pipeline.validate('expect_bench')$$, :runs);
SELECT pipeline.create_suite('expect_bench', 't', row_key => '{id}', quarantine => 'copy', or_replace => true) \g /dev/null
CALL measure('the same, its rows copied', $$SELECT success FROM pipeline.validate('expect_bench')$$, :runs);
SELECT pipeline.create_suite('expect_bench', 't', or_replace => true) \g /dev/null
SELECT count(*) FROM (SELECT pipeline.drop_expectation('expect_bench', 'fails')) AS x \g /dev/null

-- 1 % new rows, by the watermark.
CREATE INDEX ON t (id);
SELECT pipeline.create_suite('expect_bench', 't', watermark => 'id', or_replace => true) \g /dev/null
CALL measure('24 checks, incremental, all rows new', $$SELECT success FROM pipeline.validate('expect_bench', incremental => true)$$, 0);
INSERT INTO t SELECT id + :rows, customer, amount, price, state, country, email, sku, at, day, weekday, note FROM t WHERE id <= :rows / 100;
ANALYZE t;
CALL measure('24 checks, incremental, 1 % new', $$SELECT success FROM pipeline.validate('expect_bench', incremental => true)$$, 0);

SELECT '| what | CPU s | of count(*) |' UNION ALL SELECT '|---|---|---|';
SELECT format('| %s | %s | %s |', what, round(cpu::numeric, 2), round((cpu / min(cpu) FILTER (WHERE what = 'count(*)') OVER ())::numeric, 1))
FROM (SELECT what, min(n) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu FROM figures GROUP BY what) AS f ORDER BY n;
SELECT '';
SELECT format('%s: %s (target <= %s)', what, round(ratio::numeric, 3), target) FROM (
  WITH f AS (SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu FROM figures GROUP BY what)
  SELECT 1 AS n, '24 checks of count(*)' AS what, (SELECT cpu FROM f WHERE what = '24 checks') / (SELECT cpu FROM f WHERE what = 'count(*)') AS ratio, '8' AS target
  UNION ALL SELECT 2, '24 checks of one query each', (SELECT cpu FROM f WHERE what = '24 checks') / (SELECT cpu FROM f WHERE what = '24 checks, one query each'), '0.15'
  UNION ALL SELECT 3, '40 checks of one query each', (SELECT cpu FROM f WHERE what = '40 checks') / (SELECT cpu FROM f WHERE what = '40 checks, one query each'), '0.15'
  UNION ALL SELECT 3, '24 checks of plain SQL, a query each', (SELECT cpu FROM f WHERE what = '24 checks') / (SELECT cpu FROM f WHERE what = '24 checks, plain SQL each'), '0.15'
  UNION ALL SELECT 5, '1 % new of all', (SELECT cpu FROM f WHERE what = '24 checks, incremental, 1 % new') / (SELECT cpu FROM f WHERE what = '24 checks, incremental, all rows new'), '0.05'
  UNION ALL SELECT 6, 'the rows that fail copied, to not copied', (SELECT cpu FROM f WHERE what = 'the same, its rows copied') / (SELECT cpu FROM f WHERE what = '25 checks of a suite, one fails'), '1.1'
  UNION ALL SELECT 4, 'uniqueness of count(*)', (SELECT cpu FROM f WHERE what = 'uniqueness of an integer') / (SELECT cpu FROM f WHERE what = 'count(*)'), '8'
) AS r ORDER BY n;
SELECT pipeline.drop_suite('expect_bench') \g /dev/null
DROP SCHEMA expect_bench CASCADE;
SQL
