-- Parameters in kwargs: a small language, evaluated at each validation.
\set VERBOSITY terse
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'German';
CREATE SCHEMA expect_parameters AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_parameters;
CREATE TABLE t AS SELECT i AS id, i % 5 AS a, timestamp '2024-01-01' + i * interval '1 hour' AS at FROM generate_series(1, 100) i;
SELECT pipeline.create_suite('parameters', 't', parameters => '{"rows": 90, "word": "abc", "list": [0, 1, 2, 3, 4], "low": "0", "half": "0.5", "day": "2024-01-01", "yes": true, "nothing": null}');

-- What an expression comes to: it is the kwarg in the result.
CREATE FUNCTION value(expression text, parameters jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v pipeline.validation_result; r pipeline.expectation_results;
BEGIN
  PERFORM pipeline.expect('parameters', 'expect_column_values_to_be_between', jsonb_build_object('column', 'id', 'min_value', jsonb_build_object('$PARAMETER', expression)), name => 'x');
  v := pipeline.validate('parameters', parameters => value.parameters);
  SELECT * INTO r FROM pipeline.expectation_results x WHERE x.validation_id = v.validation_id AND name = 'x';
  PERFORM pipeline.drop_expectation('parameters', 'x');
  RETURN CASE WHEN r.kwargs -> 'min_value' ? '$PARAMETER' THEN r.error ELSE (r.kwargs -> 'min_value')::text END;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- Beside each what the tool (0.18.21) makes of it, which writes 3.0 for a float.
SELECT e, value(e) AS value, tool FROM (VALUES
  ('1 + 2 * 3', '7'), ('(1 + 2) * 3', '9'), ('2 ^ 3 ^ 2', '512'), ('-2 ^ 2', '4'), ('2 ^ -1', '0.5'), ('7 / 2', '3.5'), ('6 / 2', '3.0'), ('-(3 - 5)', '2'), ('2 - -3', '5'), ('1.1 * 100', '110.00000000000001'), ('.5 + 1e2', '100.5'),
  ('rows * 1.1', '99.00000000000001'), ('rows', '90'), ('rows-1', '89'), ('rows + low', '90'), ('half * rows', '45.0'), ('trunc(rows * 1.1)', '99'), ('round(2.5)', '2'), ('round(3.5)', '4'), ('round(2.675, 2)', '2.67'), ('round(12345, -2)', '12300'), ('round(7)', '7'),
  ('trunc(-1.9)', '-1'), ('abs(-3)', '3'), ('abs(-3.5)', '3.5'), ('sgn(-2.5)', '-1'), ('sgn(0)', '0'), ('sin(0)', '0.0'), ('cos(PI)', '-1.0'), ('exp(1) - E', '0.0'), ('pi + 0', '3.141592653589793'), ('tan(0) + 1', '1.0'), ('word', '"abc"'),
  ('datetime(2024, 2, 29)', '"2024-02-29T00:00:00"'), ('datetime(2024, 2, 28) + timedelta(days=1, hours=2)', '"2024-02-29T02:00:00"'), ('datetime(2024, 1, 1, 10, 30) - timedelta(weeks=2)', '"2023-12-18T10:30:00"'), ('day + timedelta(1)', '"2024-01-02T00:00:00"'),
  ('timedelta(days=1) / timedelta(hours=1)', '24.0'), ('(day - datetime(2023, 12, 31)) / timedelta(days=1)', '1.0'), ('2 ^ 62', '4611686018427387904')) AS x(e, tool) WHERE value(e)::jsonb IS DISTINCT FROM tool::jsonb;
-- What the tool cannot do, though its grammar has it.
SELECT e, value(e) FROM unnest('{PI,9223372036854775807,"datetime(year=2024, month=3, day=1) - 2 * timedelta(days=1)",+-3,list,yes}'::text[]) e;
SELECT e, value(e) FROM unnest('{"","1 +","(1","1 2","rows +* 2","f(1)","now(1)","sin(1, 2)","missing","missing + 1","word + 1","yes + 1","nothing","list * 2","1 / 0","0 ^ -1","2 ^ 64","1e400","9223372036854775808","day + 1","day + day","day * 2","timedelta(1)","timedelta(moons=1)",
  "datetime(2024, 13, 1)","datetime(2024, 2, 30)","datetime(2024)","round(1, 2.5)","1; DROP TABLE t","''a''","urn:great_expectations:validations:my_suite:expect_column_mean_to_be_between.result.observed_value:column=a","1 + urn:great_expectations:stores:s:m","abs(","abs(1","abs(x=1)","round(day)","0x10 + 1","1.2.3"}'::text[]) e;
SELECT value(repeat('(', 100000)) LIKE '54001%' AS deep, value('0' || repeat(' + 1', 5000)) AS long, value('now()') ~ '^"20\d\d-\d\d-\d\dT' AS now, value('now() - timedelta(weeks=52)') < value('now()') AS earlier;
SELECT value('rows', '{"rows": 95}') AS given, value('rows * more', '{"more": 2}') AS merged, value('more') AS gone;

-- They hold at each validation, and what has no value is that check's error.
SELECT pipeline.expect('parameters', 'expect_table_row_count_to_be_between', '{"min_value": {"$PARAMETER": "trunc(rows * 1.1)"}}') > 0 AS defined;
SELECT pipeline.expect('parameters', 'expect_column_values_to_be_in_set', '{"column": "a", "value_set": {"$PARAMETER": "list"}, "mostly": {"$PARAMETER": "half"}}') > 0 AS defined;
SELECT pipeline.expect('parameters', 'expect_column_values_to_be_between', '{"column": {"$PARAMETER": "which"}, "max_value": 100}', name => 'which') > 0 AS defined;
SELECT success, evaluated, failed, errored FROM pipeline.validate('parameters');
SELECT name, success, error FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations) ORDER BY ordinal;
SELECT success, evaluated, failed, errored FROM pipeline.validate('parameters', parameters => '{"which": "id", "rows": 91}');
SELECT name, kwargs, success, error FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations) ORDER BY ordinal;
SELECT parameters FROM pipeline.validations WHERE suite = 'parameters' ORDER BY validation_id DESC LIMIT 1;
SELECT pipeline.validation_report(max(validation_id)) -> 'suite_parameters' AS new, pipeline.validation_report(max(validation_id), '0.18') -> 'evaluation_parameters' AS old FROM pipeline.validations;
SELECT success, errored FROM pipeline.validate('parameters', parameters => '{"which": 5}');
SELECT error FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations) AND name = 'which';

-- Values give no SQL to run, and are checked.
SELECT pipeline.expect('parameters', 'expect_sql', '{"query": {"$PARAMETER": "q"}}');
SELECT pipeline.expect('parameters', 'unexpected_rows_expectation', '{"unexpected_rows_query": {"$PARAMETER": "q"}}');
SELECT pipeline.expect('parameters', 'expect_foreign_key', '{"column_list": ["a"], "references": {"$PARAMETER": "q"}}');
SELECT pipeline.expect('parameters', 'expect_column_values_to_not_be_null', '{"column": "a", "row_condition": {"$PARAMETER": "q"}}');
SELECT pipeline.expect('parameters', 'expect_column_values_to_not_be_null', '{"column": "a", "nope": {"$PARAMETER": "q"}}');
SELECT pipeline.expect('parameters', 'expect_column_values_to_not_be_null', '{"column": "a", "mostly": {"$PARAMETER": "1 +"}}');
SELECT * FROM pipeline.validate('parameters', parameters => '[]');
SELECT * FROM pipeline.validate('parameters', parameters => '{"which": "id", "row": 1}');
SELECT pipeline.create_suite('parameters', 't', parameters => '1', or_replace => true);
SELECT success, error FROM pipeline.check_now('t', '[{"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "max_value": {"$PARAMETER": "10 ^ 2"}}}]');
SELECT success, error FROM pipeline.check_now('t', '[{"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "max_value": {"$PARAMETER": "top"}}}]');

-- Out and in again, in both versions; and altered.
SELECT v, pipeline.export_suite('parameters', v) -> CASE v WHEN '0.18' THEN 'evaluation_parameters' ELSE 'suite_parameters' END -> 'rows' AS rows, pipeline.import_suite('again ' || v, 't', pipeline.export_suite('parameters', v)) FROM unnest('{0.18,1.0}'::text[]) v;
SELECT suite, count(*), bool_and((a.kwargs, a.name) = (b.kwargs, b.name)) AS same FROM pipeline.expectations a JOIN (SELECT name, kwargs FROM pipeline.expectations WHERE suite = 'parameters') b USING (name) WHERE suite LIKE 'again%' GROUP BY 1 ORDER BY 1;
SELECT pipeline.import_suite('inline', 't', '{"expectation_suite_name": "s", "evaluation_parameters": {"upstream_row_count": 90}, "expectations": [{"expectation_type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": {"$PARAMETER": "upstream_row_count * 1.1", "$PARAMETER.upstream_row_count * 1.1": 100}, "max_value": {"$PARAMETER": "trunc(upstream_row_count * 1.2)"}}}]}');
SELECT success, errored FROM pipeline.validate('inline');
SELECT success, errored FROM pipeline.validate('inline', parameters => '{"upstream_row_count": 95}');
SELECT pipeline.alter_suite('parameters', '{"parameters": {"rows": 80, "half": 0.5, "list": [0]}}');
SELECT success, failed, errored FROM pipeline.validate('parameters', parameters => '{"which": "id"}');
SELECT pipeline.alter_suite('parameters', '{"watermark": "id"}');
SELECT success, failed, errored FROM pipeline.validate('parameters', parameters => '{"which": "id"}', incremental => true);
SELECT success, failed, errored FROM pipeline.validate('parameters', parameters => '{"which": "id", "half": 0.1}', incremental => true);
SELECT pipeline.drop_suite(name) FROM pipeline.suites WHERE target = 't' AND owner = 'pipeline_alice'::regrole ORDER BY name;
RESET SESSION AUTHORIZATION;
DROP SCHEMA expect_parameters CASCADE;
