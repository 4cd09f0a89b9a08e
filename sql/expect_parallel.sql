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

-- 250 columns, each with a condition of its own: several calls, one scan.
DO $$ BEGIN
  EXECUTE 'CREATE TABLE wide AS SELECT ' || (SELECT string_agg(format('(g + %s) %% 10 AS c%s', i, i), ', ') FROM generate_series(1, 250) i) || ' FROM generate_series(1, 100) g';
END $$;
SELECT count(*), bool_and(unexpected_count = 10), bool_and(element_count = 100), bool_and(error IS NULL)
FROM pipeline.check_now('wide', (SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_values_to_not_be_in_set', 'kwargs', jsonb_build_object('column', 'c' || i, 'value_set', jsonb_build_array(i % 10)), 'row_condition', format('c%s >= 0', i)) ORDER BY i) FROM generate_series(1, 250) i));
DROP SCHEMA expect_parallel CASCADE;
