-- The shared scan of 24 checks over 12 columns against count(*), on 1M rows.
-- CPU seconds of the backend, median of five; run it as superuser on Linux, in
-- a database with the extension.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
DROP SCHEMA IF EXISTS expect_bench CASCADE;
CREATE SCHEMA expect_bench;
SET search_path = expect_bench;
SELECT setseed(0.5);
CREATE TABLE t AS
SELECT i AS id, i % 1000 AS customer, (random() * 1000)::numeric(10,2) AS amount, random() * 100 AS price,
  (ARRAY['open', 'paid', 'sent', 'done'])[1 + i % 4] AS state, (ARRAY['DE', 'FR', 'IT', 'ES', 'PL'])[1 + i % 5] AS country,
  'user' || i || '@example.org' AS email, 'SKU-' || lpad((i % 50000)::text, 6, '0') AS sku,
  timestamptz '2024-01-01 00:00+00' + i * interval '10 s' AS at, date '2024-01-01' + i % 365 AS day,
  (i % 7)::smallint AS weekday, md5(i::text) AS note
FROM generate_series(1, 1000000) i;
VACUUM (FREEZE, ANALYZE) t;
SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_' || type, 'kwargs', kwargs)) AS checks FROM (VALUES
  ('values_to_not_be_null', jsonb_build_object('column', 'id')),
  ('values_to_not_be_null', '{"column": "customer"}'), ('values_to_not_be_null', '{"column": "amount"}'),
  ('values_to_not_be_null', '{"column": "price"}'), ('values_to_not_be_null', '{"column": "state"}'),
  ('values_to_not_be_null', '{"column": "email"}'),
  ('values_to_be_in_set', '{"column": "state", "value_set": ["open", "paid", "sent", "done"]}'),
  ('values_to_be_in_set', '{"column": "country", "value_set": ["DE", "FR", "IT", "ES", "PL"]}'),
  ('values_to_not_be_in_set', '{"column": "sku", "value_set": ["SKU-x", "SKU-y"]}'),
  ('values_to_be_between', '{"column": "id", "min_value": 1}'),
  ('values_to_be_between', '{"column": "customer", "min_value": 0, "max_value": 999}'),
  ('values_to_be_between', '{"column": "amount", "min_value": 0, "max_value": 1000}'),
  ('values_to_be_between', '{"column": "price", "min_value": 0, "max_value": 100}'),
  ('values_to_be_between', '{"column": "price", "max_value": 90, "mostly": 0.5}'),
  ('values_to_be_between', '{"column": "at", "min_value": "2024-01-01"}'),
  ('values_to_be_between', '{"column": "day", "min_value": "2024-01-01", "max_value": "2024-12-31"}'),
  ('values_to_be_between', '{"column": "weekday", "min_value": 0, "max_value": 6}'),
  ('values_to_be_between', '{"column": "customer", "min_value": 100, "mostly": 0.5}'),
  ('values_to_be_null', '{"column": "note", "mostly": 0}'),
  ('value_lengths_to_be_between', '{"column": "note", "min_value": 32, "max_value": 32}'),
  ('value_lengths_to_be_between', '{"column": "sku", "min_value": 10, "max_value": 10}'),
  ('values_to_match_regex', '{"column": "sku", "regex": "^SKU-[0-9]{6}$"}'),
  ('values_to_match_regex', '{"column": "email", "regex": "^[^@]+@[^@]+\\.[a-z]+$"}'),
  ('values_to_match_regex', '{"column": "state", "regex": "^[a-z]+$"}')) AS c(type, kwargs) \gset
CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql AS $$
  SELECT (f[14]::float8 + f[15]::float8) / 100 FROM regexp_split_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/stat', 0, 10000), ' ') AS f
$$;
CREATE TABLE figures (what text, cpu float8);
CREATE PROCEDURE measure(what text, command text) LANGUAGE plpgsql AS $$
DECLARE before float8;
BEGIN
  EXECUTE command;
  FOR i IN 1..5 LOOP
    before := cpu();
    FOR j IN 1..2 LOOP EXECUTE command; END LOOP;
    INSERT INTO figures VALUES (what, (cpu() - before) / 2);
  END LOOP;
END $$;
CALL measure('count(*)', 'SELECT count(*) FROM t');
CALL measure('24 checks', format('SELECT count(*) FROM pipeline.check_now(''t'', %L)', :'checks'));
CALL measure('24 checks without patterns', format('SELECT count(*) FROM pipeline.check_now(''t'', (SELECT jsonb_agg(c) FROM jsonb_array_elements(%L) c WHERE c ->> ''type'' NOT LIKE ''%%regex''))', :'checks'));
CALL measure('24 queries', format($$SELECT count(*) FROM jsonb_array_elements(%L) c, pipeline.check_now('t', jsonb_build_array(c))$$, :'checks'));
CALL measure('uniqueness', $$SELECT count(*) FROM pipeline.check_now('t', '[{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}}]')$$);
SELECT what, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu)::numeric, 3) AS cpu_seconds,
  round((percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) / (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) FROM figures WHERE what = 'count(*)'))::numeric, 1) AS of_count
FROM figures GROUP BY what ORDER BY 2;
DROP SCHEMA expect_bench CASCADE;
