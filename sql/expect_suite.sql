-- Suites and expectations: definition, replacement, removal, every error.
SET client_min_messages = warning;
CREATE SCHEMA expect_suite AUTHORIZATION pipeline_alice;
SET ROLE pipeline_alice;
SET search_path = expect_suite, pg_catalog;
CREATE TABLE "Or ders" ("I""d" int, "größe" text);

SELECT pipeline.create_suite('expect_suite 1', '"Or ders"', sample_limit => 5, row_key => '{"I\"d"}', labels => '{"team": "ops"}', description => 'the orders');
SELECT name, owner, target, search_path, sample_limit, row_key, quarantine, labels, description FROM pipeline.suites WHERE name = 'expect_suite 1';
SELECT pipeline.expect('expect_suite 1', 'expect_column_values_to_not_be_null', '{"column": "I\"d"}') AS id \gset
SELECT pipeline.expect('expect_suite 1', 'expect_column_values_to_not_be_null', '{"column": "I\"d", "mostly": 0.5}', 'warning') = :id AS same;
SELECT pipeline.expect('expect_suite 1', 'expect_table_row_count_to_equal', '{"value": 3}', name => 'drei Stück', row_condition => '"größe" > ''m'' -- comment') > :id AS new;
SELECT name, type, kwargs, severity, row_condition FROM pipeline.expectations WHERE suite = 'expect_suite 1' ORDER BY name;
-- Replacing a suite keeps its expectations.
SELECT pipeline.create_suite('expect_suite 1', 'TABLE "Or ders"', or_replace => true, row_key => '{}', labels => NULL);
SELECT target, row_key, labels, (SELECT count(*) FROM pipeline.expectations WHERE suite = s.name) FROM pipeline.suites s WHERE name = 'expect_suite 1';
SELECT suite, expectations, last_validation_id, success FROM pipeline.suite_health WHERE suite = 'expect_suite 1';
SELECT pipeline.drop_expectation('expect_suite 1', 'drei Stück');
SELECT name FROM pipeline.expectations WHERE suite = 'expect_suite 1';
RESET ROLE;
SELECT action, kind, name, before IS NULL AS made, after IS NULL AS dropped FROM pipeline.changes
WHERE name LIKE 'expect_suite 1%' ORDER BY change_id;
SET ROLE pipeline_alice;

-- create_suite: errors.
CREATE FUNCTION fails(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
  EXECUTE command;
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
  RETURN concat_ws(E'\n  ', SQLSTATE || ': ' || SQLERRM, nullif(d, ''), nullif(h, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT fails($$SELECT pipeline.create_suite(NULL, 't')$$);
SELECT fails($$SELECT pipeline.create_suite('x', NULL)$$);
SELECT fails($$SELECT pipeline.create_suite('', '"Or ders"')$$);
SELECT fails($$SELECT pipeline.create_suite(repeat('x', 201), '"Or ders"')$$) LIKE '22023: invalid name of a suite%';
SELECT fails($$SELECT pipeline.create_suite('x', 'no_such_table')$$);
SELECT fails($$SELECT pipeline.create_suite('x', 'SELECT 1; SELECT 2')$$);
SELECT fails($$SELECT pipeline.create_suite('x', 'INSERT INTO "Or ders" VALUES (1)')$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', sample_limit => -1)$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', sample_limit => 10001)$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', sample_limit => NULL)$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', row_key => '{id}')$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', row_key => (SELECT array_agg('c' || i) FROM generate_series(1, 33) i))$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', row_key => '{NULL}')$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', quarantine => 'away')$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', quarantine => 'burn')$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', labels => '{"a": 1}')$$);
SELECT fails($$SELECT pipeline.create_suite('x', '"Or ders"', or_replace => NULL)$$);
SELECT fails($$SELECT pipeline.create_suite('expect_suite 1', '"Or ders"')$$);
SELECT fails($$SELECT pipeline.drop_suite('no such suite')$$);
SELECT fails($$SELECT pipeline.drop_suite(NULL)$$);
SELECT count(*) FROM pipeline.suites WHERE name = 'x';

-- expect: errors.
SELECT fails($$SELECT pipeline.expect('no such suite', 'expect_table_row_count_to_equal', '{"value": 1}')$$);
SELECT fails($$SELECT pipeline.expect(NULL, 'expect_table_row_count_to_equal', '{"value": 1}')$$);
SELECT fails($$SELECT pipeline.expect('expect_suite 1', 'expect_the_unexpected')$$);
SELECT fails($$SELECT pipeline.expect('expect_suite 1', 'expect_table_row_count_to_equal', '{"value": 1}', 'fatal')$$);
SELECT fails($$SELECT pipeline.expect('expect_suite 1', 'expect_table_row_count_to_equal', '{"value": 1}', name => '')$$);
SELECT fails($$SELECT pipeline.expect('expect_suite 1', 'expect_table_row_count_to_equal', '{"value": 1}', row_condition => '1) OR (1')$$);
SELECT fails($$SELECT pipeline.expect('expect_suite 1', 'expect_table_row_count_to_equal', '{"value": 1}', row_condition => 'true; DROP TABLE x')$$);
SELECT fails($$SELECT pipeline.drop_expectation('expect_suite 1', 'no such')$$);
SELECT fails($$SELECT pipeline.drop_expectation('expect_suite 1', NULL)$$);

-- kwargs: errors.
CREATE FUNCTION bad(type text, kwargs jsonb) RETURNS text LANGUAGE sql AS
$$SELECT fails(format('SELECT pipeline.expect(''expect_suite 1'', %L, %L)', type, kwargs))$$;
SELECT bad('expect_column_values_to_not_be_null', '[]');
SELECT bad('expect_column_values_to_not_be_null', '{}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": null}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": 1}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": ""}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": "a", "colour": "red"}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": "a", "mostly": "most"}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": "a", "mostly": 1.01}');
SELECT bad('expect_column_values_to_not_be_null', '{"column": "a", "mostly": -0.1}');
SELECT bad('expect_column_values_to_be_between', '{"column": "a"}');
SELECT bad('expect_column_values_to_be_between', '{"column": "a", "min_value": null, "max_value": null}');
SELECT bad('expect_column_values_to_be_between', '{"column": "a", "min_value": 2, "max_value": 1}');
SELECT bad('expect_column_values_to_be_between', '{"column": "a", "min_value": true}');
SELECT bad('expect_column_values_to_be_between', '{"column": "a", "min_value": {"$PARAMETER": "now()"}}');
SELECT bad('expect_column_values_to_be_between', '{"column": "a", "min_value": 1, "strict_min": "yes"}');
SELECT bad('expect_column_values_to_be_in_set', '{"column": "a", "value_set": "a"}');
SELECT bad('expect_column_values_to_be_in_set', '{"column": "a", "value_set": {"a": 1}}');
SELECT bad('expect_column_values_to_be_in_set', '{"column": "a", "value_set": [[1]]}');
SELECT bad('expect_column_values_to_not_be_in_set', '{"column": "a"}');
SELECT bad('expect_column_values_to_match_regex', '{"column": "a"}');
SELECT bad('expect_column_values_to_match_regex', '{"column": "a", "regex": "(("}');
SELECT bad('expect_column_values_to_match_regex', '{"column": "a", "regex": 1}');
SELECT bad('expect_column_value_lengths_to_be_between', '{"column": "a"}');
SELECT bad('expect_column_value_lengths_to_be_between', '{"column": "a", "min_value": 1.5}');
SELECT bad('expect_column_value_lengths_to_be_between', '{"column": "a", "min_value": "1"}');
SELECT bad('expect_table_row_count_to_be_between', '{"min_value": "quack"}');
SELECT bad('expect_table_row_count_to_be_between', '{"min_value": 1e30}');
SELECT bad('expect_table_row_count_to_equal', '{}');
SELECT bad('expect_table_row_count_to_equal', '{"value": 1.5}');
SELECT bad('expect_table_row_count_to_equal', '{"value": 1, "column": "a"}');
SELECT bad('expect_column_to_exist', '{"column": "a", "column_index": "first"}');
SELECT bad('expect_column_values_to_be_of_type', '{"column": "a"}');
SELECT bad('expect_column_values_to_be_of_type', '{"column": "a", "type_": ["a"]}');

-- validate and check_now: errors.
SELECT fails($$SELECT pipeline.validate('no such suite')$$);
SELECT fails($$SELECT pipeline.validate(NULL)$$);
SELECT fails($$SELECT pipeline.validate('expect_suite 1', raise_on_failure => NULL)$$);
SELECT fails($$SELECT pipeline.validate('expect_suite 1', '1 +')$$);
SELECT fails($$SELECT pipeline.validate('expect_suite 1', 'nope > 1')$$);
SELECT fails($$SELECT pipeline.validate('expect_suite 1', '1')$$);
SELECT fails($$SELECT pipeline.validate('expect_suite 1', 'count(*) > 1')$$);
SELECT fails($$SELECT pipeline.validate('expect_suite 1', 'true) OR (true')$$);
SELECT fails($$SELECT * FROM pipeline.check_now(NULL, '[]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', NULL)$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '{}')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '1')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[1]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[[]]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[{"kwargs": {}}]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "name": "x"}]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "severity": "bad"}]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[{"type": "expect_column_to_exist", "kwargs": 1}]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('"Or ders"', '[{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "row_condition": "a b c"}]')$$);
SELECT fails($$SELECT * FROM pipeline.check_now('DELETE FROM "Or ders"', '[{"type": "expect_column_to_exist", "kwargs": {"column": "a"}}]')$$);
SELECT pipeline.drop_expectation('expect_suite 1', name) FROM pipeline.expectations WHERE suite = 'expect_suite 1';
SELECT fails($$SELECT pipeline.validate('expect_suite 1')$$);
-- A slash would make the source of an alert ambiguous.
SELECT fails($$SELECT pipeline.create_suite('expect/suite', '"Or ders"')$$);
-- The target is gone.
SELECT pipeline.expect('expect_suite 1', 'expect_table_row_count_to_equal', '{"value": 0}') > 0;
DROP TABLE "Or ders";
SELECT fails($$SELECT pipeline.validate('expect_suite 1')$$);
-- The internal aggregate trusts no plan.
SELECT fails($$SELECT pipeline._check(NULL, 1)$$);
SELECT fails($$SELECT pipeline._check('1', 1)$$);
SELECT fails($$SELECT pipeline._check('{}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [1]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"type": "x"}]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"type": "expect_column_values_to_be_null", "kwargs": {"column": "a"}, "arg": 1}]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"type": "expect_column_values_to_be_null", "kwargs": {"column": "a"}, "arg": 0, "condition": 0}]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "arg": 0}]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [{"name": "a", "arg": 7}], "checks": []}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"limit": 100000000, "type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"type": "expect_column_values_to_be_json_parseable", "kwargs": {"column": "a"}, "arg": 9}]}', 1)$$);
SELECT fails($$SELECT pipeline._check('{"keys": [], "checks": [{"type": "expect_column_pair_values_to_be_equal", "shown": [], "arg": 0}]}', 1)$$);
SELECT fails($$SELECT pipeline._unexpected(NULL, NULL, 1)$$);
SELECT fails($$SELECT pipeline._unexpected(NULL, '{"checks": 1}', 1)$$);
SELECT fails($$SELECT pipeline._distribution('{}', 1, true)$$);
SELECT fails($$SELECT pipeline._distribution('[1]', 1, true)$$);
SELECT fails($$SELECT pipeline._distribution('[{"type": "expect_column_to_exist", "kwargs": {"column": "a"}}]', 1, true)$$);
SELECT fails($$SELECT pipeline._distribution('[{"type": "expect_column_values_to_be_unique", "kwargs": {}}]', '1'::json, true)$$);
SELECT fails($$SELECT pipeline._distribution(NULL, 1, true)$$);
\pset format aligned
\pset tuples_only off
SELECT pipeline.drop_suite('expect_suite 1');
SELECT count(*) FROM pipeline.suites WHERE name LIKE 'expect_suite%';
DROP SCHEMA expect_suite CASCADE;
