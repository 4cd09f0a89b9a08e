-- Validation: verdicts, counts, samples, severities, alerts, history.
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA expect_validate;
SET search_path = expect_validate, pg_catalog;
CREATE TABLE customers (id int, "E Mail" text, segment text, credit numeric(8,2), since date, rank int);
INSERT INTO customers SELECT i, CASE WHEN i % 10 <> 0 THEN 'user' || i || '@example.org' END,
  CASE WHEN i % 25 = 0 THEN 'größe' ELSE 'retail' END, i * 10, date '2024-01-01' + i, nullif(i % 4, 0)
FROM generate_series(1, 100) i;
SELECT pipeline.create_suite('expect_validate', 'customers', sample_limit => 3, row_key => '{id,since}', labels => '{"team": "crm"}');
CREATE FUNCTION e(type text, kwargs jsonb, severity text DEFAULT 'error', name text DEFAULT NULL, row_condition text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$ SELECT pipeline.expect('expect_validate', type, kwargs, severity, name, row_condition) $$;
SELECT e('expect_column_values_to_not_be_null', '{"column": "E Mail", "mostly": 0.9}');
SELECT e('expect_column_values_to_match_regex', '{"column": "E Mail", "regex": "^[^@]+@example\\.org$"}');
SELECT e('expect_column_values_to_be_in_set', '{"column": "segment", "value_set": ["retail"], "mostly": 0.97}', 'critical');
SELECT e('expect_column_values_to_be_between', '{"column": "credit", "min_value": 0, "max_value": 995.5}', 'warning');
SELECT e('expect_column_values_to_be_unique', '{"column": "id"}');
SELECT e('expect_column_values_to_be_unique', '{"column": "segment"}', 'info');
SELECT e('expect_column_value_lengths_to_be_between', '{"column": "segment", "max_value": 5}', 'warning', 'short where not retail', 'segment <> ''retail''');
SELECT e('expect_table_row_count_to_be_between', '{"min_value": 100, "max_value": 100}');
SELECT e('expect_table_row_count_to_equal', '{"value": 25}', name => 'quarter', row_condition => 'rank IS NULL');
SELECT e('expect_column_to_exist', '{"column": "since", "column_index": 4}');
SELECT e('expect_column_values_to_be_of_type', '{"column": "credit", "type_": "numeric(8,2)"}');

CREATE VIEW last AS SELECT r.* FROM pipeline.expectation_results r
WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations WHERE suite = 'expect_validate');
SELECT success, evaluated, failed, warned, errored, rows, quarantined, total_ms > 0 AS timed FROM pipeline.validate('expect_validate');
SELECT ordinal, name, severity, success, element_count AS elements, missing_count AS missing, unexpected_count AS unexpected,
       unexpected_percent AS percent, unexpected_percent_total AS of_total FROM last ORDER BY ordinal;
SELECT name, observed_value, partial_unexpected_list, details FROM last ORDER BY ordinal;
SELECT name, partial_unexpected_keys FROM last WHERE unexpected_count > 0 AND name NOT LIKE '%unique%' ORDER BY ordinal;
-- A failing check raises an alert, with the suite's labels.
SELECT severity, source, CASE WHEN source LIKE '%unique%' THEN left(summary, 70) ELSE summary END AS summary, labels FROM pipeline.firing_alerts WHERE source LIKE 'expect\_validate/%' ORDER BY source COLLATE "C";
SELECT detail FROM pipeline.alerts WHERE source = 'expect_validate/expect_column_values_to_be_in_set(segment)';

-- Again: the same alerts, another occurrence.
SELECT success, failed, warned FROM pipeline.validate('expect_validate');
SELECT count(*), min(occurrences), max(occurrences) FROM pipeline.firing_alerts WHERE source LIKE 'expect\_validate/%';
-- Mended: it passes, and its alert is resolved.
UPDATE customers SET segment = 'retail' WHERE segment <> 'retail';
SELECT success, evaluated, failed, warned FROM pipeline.validate('expect_validate');
SELECT severity, source, occurrences FROM pipeline.firing_alerts WHERE source LIKE 'expect\_validate/%' ORDER BY source COLLATE "C";
-- Only some rows.
SELECT success, evaluated, failed, warned, rows FROM pipeline.validate('expect_validate', 'id <= 50 -- the first half');
SELECT name, success, element_count FROM last WHERE NOT success ORDER BY ordinal;
SELECT where_clause, success, rows FROM pipeline.validations WHERE suite = 'expect_validate' ORDER BY validation_id;
-- History and health.
SELECT suite, name, success, unexpected_count FROM pipeline.expectation_history
WHERE suite = 'expect_validate' AND name LIKE '%in_set%' ORDER BY validation_id;
SELECT suite, target, expectations, success, evaluated, failed, warned, errored, rows, last_validated_at > last_success_at AS since_success, owner = session_user::regrole AS mine
FROM pipeline.suite_health WHERE suite = 'expect_validate';

-- Inside of a transaction that rolls back nothing stays.
BEGIN;
UPDATE customers SET id = 1 WHERE id = 2;
SELECT success, failed FROM pipeline.validate('expect_validate');
SELECT name, partial_unexpected_list, jsonb_array_length(partial_unexpected_keys) AS keys FROM last WHERE name LIKE '%unique(id)';
ROLLBACK;
SELECT count(*) FROM pipeline.validations WHERE suite = 'expect_validate';
SELECT count(*) FROM pipeline.alerts WHERE source = 'expect_validate/expect_column_values_to_be_unique(id)';

-- raise_on_failure.
SELECT pipeline.validate('expect_validate', 'id > 50', raise_on_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pipeline.validations WHERE suite = 'expect_validate';
SELECT pipeline.drop_expectation('expect_validate', 'quarter');
SELECT success, failed, warned FROM pipeline.validate('expect_validate', raise_on_failure => true);

-- What cannot be evaluated is the error of its check; the others still run.
SELECT e('expect_column_values_to_not_be_null', '{"column": "nope"}', 'info');
SELECT e('expect_column_values_to_be_between', '{"column": "segment", "min_value": 1}', 'info', 'number for text');
SELECT e('expect_column_values_to_be_between', '{"column": "since", "min_value": "yesteryear"}', 'info', 'no date');
SELECT e('expect_column_values_to_be_between', '{"column": "since", "min_value": "2024-02-01", "max_value": "2024-01-01"}', 'info', 'dates the wrong way round');
SELECT e('expect_column_values_to_be_in_set', '{"column": "id", "value_set": ["one"]}', 'info');
SELECT e('expect_column_values_to_match_regex', '{"column": "id", "regex": "1"}', 'info');
SELECT e('expect_column_value_lengths_to_be_between', '{"column": "id", "min_value": 1}', 'info');
SELECT e('expect_column_values_to_be_between', '{"column": "credit", "min_value": 1, "parse_strings_as_datetimes": true}', 'info', 'no datetimes');
SELECT e('expect_column_values_to_not_be_null', '{"column": "id"}', 'info', 'divides by zero', '1 / (id - 50) >= 0');
SELECT e('expect_column_values_to_not_be_null', '{"column": "id"}', 'info', 'condition names no column', 'nope = 1');
SELECT e('expect_column_values_to_not_be_null', '{"column": "id"}', 'info', 'condition is no boolean', 'id');
SELECT e('expect_column_values_to_not_be_null', '{"column": "id"}', 'info', 'condition aggregates', 'count(*) > 1');
SELECT e('expect_column_values_to_be_unique', '{"column": "id"}', 'info', 'unique and divides', '1 / (id - 50) >= 0');
SELECT e('expect_column_values_to_be_of_type', '{"column": "nope", "type_": "TEXT"}', 'info');
SELECT success, evaluated, failed, warned, errored, rows FROM pipeline.validate('expect_validate');
SELECT name, success, element_count, error FROM last WHERE error IS NOT NULL ORDER BY ordinal;
SELECT count(*) FILTER (WHERE success), count(*) FILTER (WHERE NOT success), count(*) FILTER (WHERE success IS NULL) FROM last;
SELECT summary FROM pipeline.firing_alerts WHERE source = 'expect_validate/divides by zero';
SELECT pipeline.validate('expect_validate', raise_on_failure => true);

-- check_now: in order, with the caller's rights, nothing stored.
SELECT type, "column", severity, success, observed_value, element_count, missing_count, unexpected_count, unexpected_percent, partial_unexpected_list, partial_unexpected_keys, proved, error
FROM pipeline.check_now('customers', '[
  {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 100}},
  {"type": "expect_column_values_to_be_null", "kwargs": {"column": "rank"}, "severity": "warning"},
  {"type": "expect_column_to_exist", "kwargs": {"column": "nope"}},
  {"type": "expect_column_values_to_be_between", "kwargs": {"column": "nope", "min_value": 1}},
  {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "rank"}, "row_condition": "id % 4 > 0"}]');
-- A query, an empty one, a view, a partitioned table, a table of no columns.
CREATE FUNCTION n(target text, VARIADIC checks jsonb[]) RETURNS TABLE (success boolean, observed jsonb, elements bigint, missing bigint, unexpected bigint, percent float8, list jsonb, error text)
LANGUAGE sql AS $$ SELECT success, observed_value, element_count, missing_count, unexpected_count, unexpected_percent, partial_unexpected_list, error FROM pipeline.check_now(target, to_jsonb(checks)) $$;
SELECT * FROM n('SELECT id AS "a b", rank FROM customers WHERE id < 5; ', '{"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "a b", "value_set": [1, 2]}, "row_condition": "target.rank > 1"}', '{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 4}}');
SELECT * FROM n('SELECT 1 AS a WHERE false', '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}}', '{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}}',
  '{"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "min_value": 1}}', '{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}');
CREATE VIEW v AS SELECT id, 10 / (id - 7) AS x FROM customers;
SELECT * FROM n('v', '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}', '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}}');
CREATE TABLE p (a int, b text) PARTITION BY LIST (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (b text, a int); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
INSERT INTO p VALUES (1, 'x'), (2, 'y');
SELECT * FROM n('p', '{"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "b", "value_set": ["x"]}, "row_condition": "p.a > 0"}');
CREATE TABLE dropped (a int, b int, c int); ALTER TABLE dropped DROP COLUMN b; INSERT INTO dropped VALUES (1, 2);
SELECT * FROM n('dropped', '{"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "c", "value_set": [2]}}', '{"type": "expect_column_to_exist", "kwargs": {"column": "c", "column_index": 1}}', '{"type": "expect_column_to_exist", "kwargs": {"column": "b"}}');
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
SELECT * FROM n('nothing', '{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}');
SELECT * FROM n('SELECT 1 AS a, 2 AS a', '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}}');

-- What constraints prove needs no look: NOT NULL, a unique index of one column.
CREATE TABLE proven (a int PRIMARY KEY, b int UNIQUE, c int UNIQUE DEFERRABLE, d int NOT NULL, e int);
CREATE UNIQUE INDEX ON proven (e) WHERE e > 0;
INSERT INTO proven VALUES (1, 1, 1, 1, 1), (2, NULL, NULL, 1, 0);
CREATE FUNCTION proofs(target text) RETURNS TABLE (col text, type text, success boolean, elements bigint, missing bigint, unexpected bigint, proved boolean) LANGUAGE sql AS $$
  SELECT "column", substr(type, 25), success, element_count, missing_count, unexpected_count, proved FROM pipeline.check_now(target,
    (SELECT jsonb_agg(jsonb_build_object('type', 'expect_column_values_to_' || t, 'kwargs', jsonb_build_object('column', c)) ORDER BY t, c) FROM unnest('{not_be_null,be_unique}'::text[]) t, unnest('{a,b,c,d,e}'::text[]) c)) $$;
SELECT * FROM proofs('proven');
SELECT count(*) FILTER (WHERE proved) FROM proofs('SELECT * FROM proven');
CREATE TABLE proven_child () INHERITS (proven);
INSERT INTO proven_child VALUES (1, 1, 1, 1, 1);
SELECT * FROM proofs('proven') WHERE NOT success OR proved;

-- A statement that is cancelled is no check that errs, and it is over: nothing
-- of it stays open.
\set VERBOSITY terse
SET statement_timeout = '100ms';
SELECT * FROM n('SELECT 1 AS a', '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}, "row_condition": "pg_sleep(60) IS NOT NULL"}');
SELECT * FROM n('SELECT 1 AS a', '{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}, "row_condition": "pg_sleep(60) IS NOT NULL"}');
RESET statement_timeout;
SELECT * FROM n('SELECT 1 AS a', '{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}');

-- No samples are asked for: the summary shows none.
SELECT pipeline.create_suite('expect_validate none', 'SELECT 1 AS a', 0);
SELECT pipeline.expect('expect_validate none', 'expect_column_values_to_be_null', '{"column": "a"}') > 0 AS ok;
SELECT success FROM pipeline.validate('expect_validate none');
SELECT summary FROM pipeline.firing_alerts WHERE source LIKE 'expect_validate none/%';
SELECT pipeline.drop_suite('expect_validate none');

-- Dropping an expectation, or the suite, resolves what it raised; the history
-- stays.
SELECT pipeline.drop_expectation('expect_validate', 'divides by zero');
SELECT state FROM pipeline.alerts WHERE source = 'expect_validate/divides by zero';
SELECT pipeline.drop_suite('expect_validate');
SELECT count(*) FROM pipeline.firing_alerts WHERE source LIKE 'expect\_validate/%';
SELECT count(*) FROM pipeline.validations WHERE suite = 'expect_validate';
DROP SCHEMA expect_validate CASCADE;
