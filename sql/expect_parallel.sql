-- Parallel and serial scans give the same; and more arguments than one call
-- of the aggregate takes.
SET client_min_messages = warning;
CREATE SCHEMA expect_parallel;
SET search_path = expect_parallel, pg_catalog;
CREATE TABLE t AS SELECT i AS id, i % 97 AS a, CASE WHEN i % 11 > 0 THEN 'c' || i % 13 END AS b, (i * 7 % 1000)::numeric / 10 AS c, repeat('x', i % 5) AS d
FROM generate_series(1, 20000) i;
ANALYZE t;
CREATE TABLE checks (doc jsonb);
INSERT INTO checks VALUES ('[
 {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 20000}},
 {"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "min_value": 1, "max_value": 95}},
 {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "b", "value_set": ["c0", "c1", "c2"]}},
 {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "b"}, "row_condition": "id % 2 = 0"},
 {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "b", "regex": "^c1"}},
 {"type": "expect_column_values_to_be_between", "kwargs": {"column": "c", "min_value": 3.3, "strict_min": true}},
 {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "d", "min_value": 1}},
 {"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "max_value": 19990}},
 {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}}]');
CREATE VIEW result AS SELECT c.doc ->> 'x' AS x, r.type, r.success, r.observed_value, r.element_count, r.missing_count, r.unexpected_count,
  jsonb_array_length(r.partial_unexpected_list) AS sampled,
  (SELECT bool_and(v IN (SELECT to_jsonb(id) FROM t WHERE id > 19990)) FROM jsonb_array_elements(r.partial_unexpected_list) v WHERE r."column" = 'id') AS right_sample,
  r.error FROM checks c, pipeline.check_now('t', c.doc) r;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE serial_result AS SELECT * FROM result;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT pipeline._check('{"limit": 1, "keys": [], "checks": []}', a, b) FROM t;
CREATE TABLE parallel_result AS SELECT * FROM result;
TABLE serial_result EXCEPT ALL TABLE parallel_result;
TABLE parallel_result EXCEPT ALL TABLE serial_result;
SELECT type, success, observed_value, element_count, missing_count, unexpected_count, sampled, right_sample FROM parallel_result;
-- With the leader idle, the states that arrive are all received ones.
SET parallel_leader_participation = off;
TRUNCATE parallel_result;
INSERT INTO parallel_result SELECT * FROM result;
TABLE serial_result EXCEPT ALL TABLE parallel_result;
-- An error in a worker is the error of its check.
SELECT success, element_count, error FROM pipeline.check_now('t', '[
 {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}, "row_condition": "1 / (id - 15000) >= 0"},
 {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}}]');
RESET parallel_leader_participation;

-- Distributions: the same JSON from one process and from several, whatever they
-- send: a hash, a sort, bins.
CREATE TABLE v AS SELECT i AS id, i * 7919 % 20000 AS many, i % 50 AS few, CASE WHEN i % 9 > 0 THEN (i * 31 % 700)::numeric / 7 END AS n, 'k' || i % 1500 AS t, md5((i % 15000)::text) AS hash,
  CASE i % 400 WHEN 3 THEN 'NaN' WHEN 4 THEN '-Infinity' ELSE (i * 13 % 977) / 3.0 END AS f, date '2024-01-01' + i % 365 AS d, ARRAY[i % 30] AS a, B'101' | (i % 8)::bit(3) AS b FROM generate_series(1, 20000) i;
ANALYZE v;
CREATE FUNCTION found(column_name text, work text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE r jsonb; bins text := CASE WHEN column_name IN ('id', 'many', 'few', 'n', 'f') THEN ', {"type": "expect_column_drift", "kwargs": {"partition_object": {"bins": ["-Infinity", 3, 10.5, 200, 10000], "weights": [0.25, 0.25, 0.25, 0.25]}}}' ELSE '' END;
BEGIN
  PERFORM set_config('work_mem', work, true);
  EXECUTE format('SELECT pipeline._distribution(%L, %I, id %% 3 > 0) || CASE WHEN %L <> '''' THEN pipeline._distribution(%L, %2$I, true) ELSE ''[]'' END FROM v',
    '[{"type": "expect_column_values_to_be_unique", "limit": 3, "collation": 100, "kwargs": {}}, {"type": "expect_column_median_to_be_between", "kwargs": {"column": "x"}}, {"type": "profile", "kwargs": {}},
      {"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "x", "value_set": null}}, {"type": "expect_column_most_common_value_to_be_in_set", "kwargs": {"column": "x", "value_set": null}}' || bins || ']',
    column_name, bins, '[' || substr(bins, 3) || ']') INTO r;
  RETURN jsonb_path_query_array(r, '$[*]') #- '{2,mean}' #- '{2,stddev}';
END $$;
CREATE TABLE columns AS SELECT c, w FROM unnest('{id,many,few,n,t,hash,f,d,a,b}'::text[]) c, unnest('{64kB,4MB}'::text[]) w;
EXPLAIN (COSTS OFF) SELECT pipeline._distribution('[]', hash, true) FROM v;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE serial_found AS SELECT c, w, found(c, w) AS f FROM columns;
SET max_parallel_workers_per_gather = 2;
CREATE TABLE parallel_found AS SELECT c, w, found(c, w) AS f FROM columns;
SELECT c, w, s.f, p.f FROM serial_found s JOIN parallel_found p USING (c, w) WHERE s.f IS DISTINCT FROM p.f;
SET parallel_leader_participation = off;
SELECT c, w FROM serial_found s WHERE s.f IS DISTINCT FROM found(c, w);
RESET parallel_leader_participation;
SELECT count(*), count(f) FROM serial_found;
-- The checks: bins, and columns that have few values by their statistics, take
-- part in the parallel scan; the results are those of a serial one.
TRUNCATE checks;
INSERT INTO checks SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_' || t, 'kwargs', jsonb_build_object('column', c) || k::jsonb)) FROM unnest('{id,few,n,many}'::text[]) c, (VALUES
  ('median_to_be_between', '{}'), ('unique_value_count_to_be_between', '{"max_value": 60}'), ('proportion_of_unique_values_to_be_between', '{}'), ('quantile_values_to_be_between', '{"quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[0, 10], [5, 90]]}}'),
  ('distinct_values_to_equal_set', '{"value_set": [1, 2]}'), ('most_common_value_to_be_in_set', '{"value_set": [0]}'), ('kl_divergence_to_be_less_than', '{"threshold": 1, "partition_object": {"bins": [0, 10, 30, 50], "weights": [0.2, 0.4, 0.3], "tail_weights": [0.05, 0.05]}}'),
  ('drift', '{"threshold": 0.1, "reference_table": "v"}'), ('drift', '{"threshold": 0.1, "reference_table": "v", "method": "ks", "bins": 20}'), ('drift', '{"threshold": 0.1, "reference_table": "v", "method": "chi_square"}'), ('values_to_be_unique', '{}')) AS x(t, k);
CREATE VIEW distributions AS SELECT r.* FROM checks c, pipeline.check_now('v', c.doc) r;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE serial_checks AS TABLE distributions;
SET max_parallel_workers_per_gather = 2;
CREATE TABLE parallel_checks AS TABLE distributions;
TABLE serial_checks EXCEPT ALL TABLE parallel_checks;
SELECT count(*), count(*) FILTER (WHERE success), count(error) FROM parallel_checks;

-- 250 columns, each with a condition of its own: several calls, one scan.
DO $$ BEGIN
  EXECUTE 'CREATE TABLE wide AS SELECT ' || (SELECT string_agg(format('(g + %s) %% 10 AS c%s', i, i), ', ') FROM generate_series(1, 250) i) || ' FROM generate_series(1, 100) g';
END $$;
SELECT count(*), bool_and(unexpected_count = 10), bool_and(element_count = 100), bool_and(error IS NULL)
FROM pipeline.check_now('wide', (SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_values_to_not_be_in_set', 'kwargs', jsonb_build_object('column', 'c' || i, 'value_set', jsonb_build_array(i % 10)), 'row_condition', format('c%s >= 0', i)) ORDER BY i) FROM generate_series(1, 250) i));
DROP SCHEMA expect_parallel CASCADE;
