-- A verdict on all rows from the new ones: what comes out is what a validation
-- of everything says. By watermark, by slices; when definitions change.
SET client_min_messages = warning;
CREATE SCHEMA expect_incremental AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_incremental;
SET datestyle = ISO;
CREATE TABLE events (id int, day date, v float8, n numeric, s text, k int);
CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql BEGIN ATOMIC
  INSERT INTO events SELECT i, date '2024-01-01' + i / 100, CASE WHEN i % 7 > 0 THEN sin(i) * 100 END, (i % 13) * 1.25, CASE WHEN i % 5 > 0 THEN 'x' || i % 3 END, i % 4 FROM generate_series(first, last) i;
END;
SELECT pipeline.create_suite('inc', 'events', watermark => 'id', row_key => '{id}');
SELECT pipeline.create_suite('all', 'events', row_key => '{id}');
SELECT count(pipeline.expect(s, 'expect_' || t, k::jsonb, 'info', n, c)) FROM unnest('{inc,all}'::text[]) s, (VALUES
  ('rows', 'table_row_count_to_be_between', '{"min_value": 150}', NULL), ('not null', 'column_values_to_not_be_null', '{"column": "s", "mostly": 0.79}', NULL),
  ('range', 'column_values_to_be_between', '{"column": "v", "min_value": -90}', 'k > 0'), ('regex', 'column_values_to_match_regex', '{"column": "s", "regex": "[01]$", "mostly": 0.5}', NULL),
  ('pair', 'column_pair_values_a_to_be_greater_than_b', '{"column_A": "id", "column_B": "k"}', NULL),
  ('min', 'column_min_to_be_between', '{"column": "v", "min_value": -99}', NULL), ('max', 'column_max_to_be_between', '{"column": "s", "max_value": "x1"}', NULL), ('max day', 'column_max_to_be_between', '{"column": "day", "max_value": "2024-01-03"}', NULL),
  ('sum', 'column_sum_to_be_between', '{"column": "n", "max_value": 2000}', NULL), ('sum v', 'column_sum_to_be_between', '{"column": "v", "max_value": 100}', NULL), ('mean', 'column_mean_to_be_between', '{"column": "v", "min_value": 0}', 'k < 3'), ('stdev', 'column_stdev_to_be_between', '{"column": "v", "max_value": 70.9}', NULL),
  ('stdev of few', 'column_stdev_to_be_between', '{"column": "v"}', 'id % 100 = 1'), ('unique', 'column_values_to_be_unique', '{"column": "id"}', NULL), ('median', 'column_median_to_be_between', '{"column": "v"}', NULL)) AS e(n, t, k, c);
-- Compare with a validation of everything; numbers to one part in 1e9.
CREATE FUNCTION differ(v bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE w bigint;
BEGIN
  w := (pipeline.validate('all')).validation_id;
  RETURN QUERY SELECT format('%s: %s instead of %s', a.name, to_jsonb(a), to_jsonb(b)) FROM pipeline.expectation_results a JOIN pipeline.expectation_results b USING (name)
  WHERE a.validation_id = v AND b.validation_id = w AND ((a.success, a.element_count, a.missing_count, a.unexpected_count, a.error) IS DISTINCT FROM (b.success, b.element_count, b.missing_count, b.unexpected_count, b.error)
    OR CASE WHEN jsonb_typeof(a.observed_value) = 'number' AND jsonb_typeof(b.observed_value) = 'number' THEN abs(a.observed_value::numeric - b.observed_value::numeric) > 1e-9 * greatest(abs(b.observed_value::numeric), 1) ELSE a.observed_value IS DISTINCT FROM b.observed_value END);
  IF (SELECT a.rows <> b.rows FROM pipeline.validations a, pipeline.validations b WHERE a.validation_id = v AND b.validation_id = w) THEN RETURN NEXT 'rows differ'; END IF;
END $$;
CREATE FUNCTION new() RETURNS TABLE (rows bigint, warned int, differs text) LANGUAGE plpgsql AS $$
DECLARE r pipeline.validation_result;
BEGIN
  r := pipeline.validate('inc', incremental => true);
  RETURN QUERY SELECT r.rows, r.warned, (SELECT string_agg(d, E'\n') FROM differ(r.validation_id) d);
END $$;
SELECT * FROM new();
SELECT fill(1, 100);
SELECT * FROM new();
SELECT fill(101, 101);
SELECT * FROM new();
SELECT * FROM new();
SELECT fill(102, 350);
SELECT * FROM new();
SELECT fill(351, 1000);
SELECT * FROM new();
SELECT slice, high, rows FROM pipeline.validation_states;
SELECT name, element_count, unexpected_count, details FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations WHERE suite = 'inc') AND name IN ('not null', 'sum', 'unique') ORDER BY 1;
-- Another definition: all rows up to the watermark are looked at again.
SELECT count(pipeline.expect(s, 'expect_column_values_to_be_between', '{"column": "v", "min_value": -50}', 'info', 'range', 'k > 0')) FROM unnest('{inc,all}'::text[]) s;
SELECT fill(1001, 1010);
SELECT * FROM new();
SELECT fill(1011, 1020);
SELECT * FROM new();
-- Only the new rows are read: a change of an old one goes unseen, as is said.
UPDATE events SET s = NULL WHERE id = 1;
SELECT rows, warned, differs IS NOT NULL AS differs FROM new();
UPDATE events SET s = 'x1' WHERE id = 1;
SELECT * FROM new();
-- Slices: each partition under its name, again when it changed.
SELECT pipeline.create_suite('inc', 'events', row_key => '{id}', or_replace => true);
SELECT count(*) FROM pipeline.validation_states;
CREATE FUNCTION slice(d date) RETURNS TABLE (rows bigint, differs boolean) LANGUAGE plpgsql AS $$
DECLARE r pipeline.validation_result;
BEGIN
  r := pipeline.validate('inc', format('day = %L', d), slice => d::text);
  RETURN QUERY SELECT r.rows, EXISTS (SELECT FROM differ(r.validation_id));
END $$;
SELECT d::date, slice.* FROM generate_series(date '2024-01-01', '2024-01-11', interval '1 day') d, slice(d::date);
UPDATE events SET v = v + 1000 WHERE day = '2024-01-05' AND k = 1;
DELETE FROM events WHERE day = '2024-01-05' AND k = 2;
SELECT * FROM slice('2024-01-05');
-- A check that other slices do not know.
SELECT pipeline.expect('inc', 'expect_column_values_to_not_be_null', '{"column": "k"}', 'info', 'new') > 0 AS ok;
SELECT success, errored FROM pipeline.validate('inc', 'day = ''2024-01-05''', slice => '2024-01-05');
SELECT name, r.error FROM pipeline.expectation_results r JOIN pipeline.validations v USING (validation_id) WHERE v.suite = 'inc' AND r.error IS NOT NULL;
\set VERBOSITY terse
SELECT pipeline.validate('inc', incremental => true);
SELECT pipeline.validate('inc', 'id > 1', incremental => true);
SELECT pipeline.validate('inc', slice => 'x');
SELECT pipeline.validate('inc', 'true', slice => '');
SELECT pipeline.create_suite('x', 'events', watermark => 'nope');
SELECT pipeline.drop_suite(s) FROM unnest('{inc,all}'::text[]) s;
RESET SESSION AUTHORIZATION;
DROP SCHEMA expect_incremental CASCADE;
