-- What Great Expectations has not: freshness, history, schema, keys, tables that
-- must agree, drift, anomalies, outliers, dependencies, queries.
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA expect_beyond AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_beyond;
CREATE FUNCTION n(target text, VARIADIC checks jsonb[]) RETURNS TABLE (success boolean, observed jsonb, unexpected bigint, list jsonb, details jsonb, error text)
LANGUAGE sql AS $$ SELECT success, observed_value, unexpected_count, partial_unexpected_list, details, error FROM pipeline.check_now(target, to_jsonb(checks)) $$;
CREATE FUNCTION c(type text, kwargs jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('type', 'expect_' || type, 'kwargs', kwargs) $$;

-- Freshness, to the date that is given.
CREATE TABLE loads (id int, at timestamptz, day date, note text);
INSERT INTO loads VALUES (1, '2024-05-01 10:00', '2024-05-01', 'x'), (2, NULL, NULL, NULL);
SELECT * FROM n('loads', c('table_freshness', '{"column": "at", "max_age": "2 hours", "as_of": "2024-05-01 12:00"}'),
  c('table_freshness', '{"column": "at", "max_age": "1 hour", "as_of": "2024-05-01 12:00"}'),
  c('table_freshness', '{"column": "day", "max_age": "1 day", "as_of": "2024-05-01 12:00"}'),
  c('table_freshness', '{"column": "note", "max_age": "1 hour"}'));
SELECT success FROM n('loads', c('table_freshness', '{"column": "at", "max_age": "1 hour"}'), c('table_freshness', '{"column": "at", "max_age": "1000 years"}'));
SELECT * FROM n('SELECT NULL::timestamptz AS at', c('table_freshness', '{"column": "at", "max_age": "1 hour"}'));
\set VERBOSITY terse
SELECT * FROM n('loads', c('table_freshness', '{"column": "at", "max_age": "soon"}'));
\set VERBOSITY default

-- A suite and its history.
CREATE TABLE facts (id int, state text, amount float8);
INSERT INTO facts SELECT i, (ARRAY['open', 'paid'])[1 + i % 2], i % 100 FROM generate_series(1, 1000) i;
SELECT pipeline.create_suite('beyond', 'facts');
SELECT count(pipeline.expect('beyond', 'expect_' || t, k::jsonb, name => name)) FROM (VALUES
  ('rows', 'row_count_to_be_near_history', '{"tolerance": 0.2, "min_history": 2}'),
  ('schema', 'schema_unchanged', '{}'),
  ('drift psi', 'column_drift', '{"column": "amount", "threshold": 0.1}'),
  ('drift state', 'column_drift', '{"column": "state", "method": "chi_square", "threshold": 0.1}'),
  ('anomaly', 'metric_not_anomalous', '{"min_history": 3}'),
  ('mean', 'metric_not_anomalous', '{"metric": "mean", "column": "amount", "min_history": 3}'),
  ('nulls', 'metric_not_anomalous', '{"metric": "null_fraction", "column": "state", "min_history": 3, "season": "weekday"}')) AS e(name, t, k);
CREATE VIEW last AS SELECT name, success, observed_value, details - 'columns' - 'partition' - 'observed_partition' - 'expected_partition' AS details, error
FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations WHERE suite = 'beyond') ORDER BY ordinal;
SELECT success, failed, errored FROM pipeline.validate('beyond');
SELECT * FROM last;
DO $$ BEGIN PERFORM pipeline.validate('beyond'); PERFORM pipeline.validate('beyond'); PERFORM pipeline.validate('beyond'); END $$;
SELECT name, success, round(observed_value::numeric, 6) AS observed, details FROM last;
-- Now all of it changes.
DELETE FROM facts WHERE id % 3 > 0;
UPDATE facts SET amount = amount + 60, state = CASE WHEN id % 10 > 0 THEN 'paid' END;
ALTER TABLE facts ADD COLUMN extra int;
ALTER TABLE facts ALTER COLUMN id TYPE bigint;
SELECT success, failed, errored FROM pipeline.validate('beyond');
SELECT name, success, round(observed_value::numeric, 6) AS observed, details FROM last;
-- The schema stays wrong until it is accepted, by saying so again.
SELECT success, failed, errored FROM pipeline.validate('beyond');
SELECT success, details FROM last WHERE name = 'schema';
SELECT pipeline.expect('beyond', 'expect_schema_unchanged', name => 'schema') > 0 AS ok;
SELECT success IS NOT NULL AS done FROM pipeline.validate('beyond');
SELECT success, details FROM last WHERE name = 'schema';
-- A schema that was agreed on.
SELECT * FROM n('facts', c('schema_unchanged', '{"columns": ["id bigint", "state", "amount double precision"]}'),
  c('schema_unchanged', '{"columns": ["id integer", "state text", "amount", "gone date"], "allow_new_columns": true}'));
-- Health.
SELECT suite, success, validations, round(pass_rate::numeric, 2) AS pass_rate, trend, changes, flapping, held_rows FROM pipeline.suite_health;

-- Tables that must agree.
CREATE TABLE legacy (id int, region text, amount numeric, note text);
INSERT INTO legacy SELECT i, 'r' || i % 3, i * 1.5, 'n' || i FROM generate_series(1, 9) i;
CREATE TABLE mart (LIKE legacy);
INSERT INTO mart SELECT * FROM legacy;
SELECT success, observed, unexpected, list FROM n('mart', c('tables_to_reconcile', '{"other_table": "legacy"}'), c('tables_to_reconcile', '{"other_table": "legacy", "key_columns": ["id"]}'),
  c('tables_to_reconcile', '{"other_table": "legacy", "sum_columns": ["amount"], "group_by": ["region"]}'), c('tables_to_reconcile', '{"other_table": "legacy", "sum_columns": ["amount", "id"]}'));
DELETE FROM mart WHERE id = 2; UPDATE mart SET amount = 7 WHERE id = 4; UPDATE mart SET note = NULL WHERE id = 5; INSERT INTO mart VALUES (99, 'r9', 1, 'x');
SELECT success, observed, unexpected, list, error FROM n('mart', c('tables_to_reconcile', '{"other_table": "legacy"}'), c('tables_to_reconcile', '{"other_table": "legacy", "key_columns": ["id"]}'),
  c('tables_to_reconcile', '{"other_table": "legacy", "key_columns": ["id"], "compare_columns": ["amount"], "tolerance": 1}'),
  c('tables_to_reconcile', '{"other_table": "legacy", "sum_columns": ["amount"], "group_by": ["region"], "tolerance": 0.5}'),
  c('tables_to_reconcile', '{"other_table": "nowhere"}'), c('tables_to_reconcile', '{"other_table": "legacy", "key_columns": ["nope"]}'));

-- Drift against another table, four ways; the same rows do not drift.
CREATE TABLE before AS SELECT i AS id, sin(i)::float8 * 10 AS v, (ARRAY['a', 'b', 'c'])[1 + i % 3] AS k FROM generate_series(1, 2000) i;
CREATE TABLE after AS SELECT id, v + 3 AS v, CASE WHEN id % 2 = 0 THEN k ELSE 'z' END AS k FROM before;
SELECT m, t, success, round(observed::numeric, 4) AS observed, error FROM unnest('{psi,kl,ks,chi_square}'::text[]) m, unnest('{before,after}'::text[]) t,
  n(t, c('column_drift', jsonb_build_object('column', 'v', 'method', m, 'threshold', 0.05, 'reference_table', 'before')));
SELECT m, success, round(observed::numeric, 4) AS observed, error FROM unnest('{psi,kl,ks,chi_square}'::text[]) m,
  n('after', c('column_drift', jsonb_build_object('column', 'k', 'method', m, 'threshold', 0.05, 'reference_table', 'before')));
-- By plain SQL: the index over deciles of the reference.
WITH e AS (SELECT percentile_disc(ARRAY[.1,.2,.3,.4,.5,.6,.7,.8,.9]) WITHIN GROUP (ORDER BY v) AS b FROM before),
  x AS (SELECT width_bucket(v, (SELECT b FROM e)) w, count(*)::float8 / 2000 s FROM before GROUP BY 1),
  y AS (SELECT width_bucket(v, (SELECT b FROM e)) w, count(*)::float8 / 2000 s FROM after GROUP BY 1)
SELECT round(sum((greatest(coalesce(y.s, 0), 1e-4) - greatest(coalesce(x.s, 0), 1e-4)) * ln(greatest(coalesce(y.s, 0), 1e-4) / greatest(coalesce(x.s, 0), 1e-4)))::numeric, 4) AS psi FROM x FULL JOIN y USING (w);
SELECT * FROM n('after', c('column_drift', '{"column": "v", "threshold": 0.05, "reference_table": "before", "bins": 1}'), c('column_drift', '{"column": "v", "threshold": 0.05, "reference_table": "before", "reference_column": "nope"}'),
  c('column_drift', '{"column": "k", "threshold": 0.05}'));

-- Outliers by three methods, and queries.
SELECT success, unexpected, list, details FROM n('SELECT unnest(ARRAY[1, 2, 2, 3, 3, 3, 4, 4, 5, 100, NULL]) AS v', c('column_values_without_outliers', '{"column": "v"}'),
  c('column_values_without_outliers', '{"column": "v", "method": "mad"}'), c('column_values_without_outliers', '{"column": "v", "method": "z_score", "threshold": 2}'),
  c('column_values_without_outliers', '{"column": "v", "mostly": 0.8}'));
SELECT success, observed, unexpected, list, error FROM n('mart', c('sql', '{"query": "SELECT id FROM {batch} b WHERE b.id > 8"}'), c('sql', '{"query": "SELECT count(*) = 9 FROM {batch}"}'),
  c('sql', '{"query": "SELECT count(*) = 8 AS \"it is\" FROM {batch}"}'), c('sql', '{"query": "SELECT 1 / (id - 1) FROM {batch}"}'), c('sql', '{"query": "SELECT nope FROM {batch}"}'), c('sql', '{"query": "SELECT 1 FROM legacy WHERE false"}'));
\set VERBOSITY terse
SELECT * FROM n('mart', c('sql', '{"query": "DELETE FROM mart"}'));
SELECT * FROM n('mart', c('sql', '{"query": "SELECT 1; SELECT 2"}'));
SELECT * FROM n('mart', c('sql', '{"query": "WITH d AS (DELETE FROM mart RETURNING 1) SELECT * FROM d"}'));
SELECT count(*) FROM mart;

-- Great Expectations' JSON: out and in, in both versions.
\set VERBOSITY default
SELECT pipeline.create_suite('json', 'legacy', row_key => '{id}');
SELECT count(pipeline.expect('json', 'expect_column_' || t, k::jsonb, s, n, r)) FROM (VALUES
  ('values_to_not_be_null', '{"column": "id"}', 'critical', NULL, NULL),
  ('values_to_be_between', '{"column": "amount", "max_value": 6, "result_format": {"result_format": "COMPLETE"}}', 'error', 'big', 'id > 1'),
  ('values_to_be_between', '{"column": "amount", "max_value": 6, "result_format": "BASIC", "row_condition": "col(\"id\") > 5 and col(\"note\").notNull()", "condition_parser": "great_expectations"}', 'warning', 'basic', NULL),
  ('values_to_be_between', '{"column": "amount", "max_value": 6, "result_format": "BOOLEAN_ONLY"}', 'info', 'boolean', NULL),
  ('mean_to_be_between', '{"column": "amount", "max_value": 6}', 'info', 'mean', NULL),
  ('values_to_be_unique', '{"column": "nope"}', 'info', 'nope', NULL)) AS e(t, k, s, n, r);
SELECT validation_id FROM pipeline.validate('json') \gset
SELECT jsonb_pretty(pipeline.validation_report(:validation_id) #- '{meta,run_id}' #- '{meta,validation_id}' #- '{meta,validation_time}');
SELECT pipeline.validation_report(:validation_id, '0.18') -> 'results' -> 0 -> 'expectation_config';
SELECT jsonb_pretty(pipeline.export_suite('json', '0.18'));
SELECT v, pipeline.import_suite('json ' || v, 'legacy', pipeline.export_suite('json', v)) FROM unnest('{0.18,1.0}'::text[]) v;
SELECT suite, count(*), string_agg(name, ', ' ORDER BY name) FROM pipeline.expectations WHERE suite LIKE 'json%' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS differ FROM pipeline.expectations a JOIN pipeline.expectations b USING (name) WHERE a.suite = 'json' AND b.suite LIKE 'json %' AND (a.type, a.severity, a.row_condition) IS DISTINCT FROM (b.type, b.severity, b.row_condition);
-- As the tool writes it, with what only runs it, parameters and two of a kind.
SELECT pipeline.import_suite('json', 'legacy', '{"expectation_suite_name": "x", "evaluation_parameters": {"top": 20}, "ge_cloud_id": null, "data_asset_type": null, "meta": {}, "expectations": [
  {"expectation_type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "max_value": {"$PARAMETER": "top"}, "batch_id": "b", "auto": false}, "meta": {"notes": "n"}},
  {"expectation_type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0, "row_condition": "region == \"r1\"", "condition_parser": "pandas"}}]}', or_replace => true);
SELECT name, kwargs FROM pipeline.expectations WHERE suite = 'json' ORDER BY name;
SELECT success, evaluated FROM pipeline.validate('json');
\set VERBOSITY terse
SELECT pipeline.import_suite('json', 'legacy', '{"expectations": []}');
SELECT pipeline.import_suite('json x', 'legacy', '{}');
SELECT pipeline.import_suite('json x', 'legacy', '{"expectations": [1]}');
SELECT pipeline.import_suite('json x', 'legacy', '{"expectations": [{"kwargs": {}}]}');
SELECT pipeline.import_suite('json x', 'legacy', '{"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": {"$PARAMETER": "p +"}}}]}');
SELECT pipeline.import_suite('json x', 'legacy', '{"expectations": [{"type": "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than", "kwargs": {}}]}');
SELECT pipeline.export_suite('nope');
SELECT pipeline.export_suite('json', '0.7');
SELECT pipeline.validation_report(-1);
SELECT pipeline.validation_report(:validation_id, '2');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.validation_report(:validation_id);
SELECT pipeline.export_suite('json');
SET SESSION AUTHORIZATION pipeline_alice;
-- Row conditions that cannot be translated.
CREATE FUNCTION translate(c text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT success::text || ' ' || element_count FROM pipeline.check_now('legacy', jsonb_build_array(jsonb_build_object('type', 'expect_column_values_to_not_be_null', 'kwargs', jsonb_build_object('column', 'id', 'row_condition', c, 'condition_parser', 'pandas')))));
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT c, translate(c) FROM unnest(ARRAY['col("id") > 1 ; drop', 'col("id" > 1', 'col(id) > 1', 'id > "x', 'id @ 1', 'id >= 3 & (region != "r1" | note.isnull())', '`id` in [1, 2, 99] and not (note == "n1")', 'id == 1 or id == -1', 'note == "it''s"', 'True']) c;
SELECT count(*) FROM n('legacy', '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id", "row_condition": "col(\"id\" > 1", "condition_parser": "great_expectations"}}');

-- Profile and suggest.
CREATE TABLE wares AS SELECT i AS id, (ARRAY['open', 'paid', 'lost'])[1 + i % 3] AS state, 'SKU-' || lpad((i % 50)::text, 4, '0') AS sku, (i % 97) / 8.0 AS amount, date '2024-01-01' + i % 30 AS d,
  CASE WHEN i % 10 > 0 THEN 'Ünser' || i || '@x.org' END AS mail, i % 2 = 0 AS b, '{"a": 1}'::json AS j, NULL::int AS nothing, CASE WHEN i = 1 THEN 'NaN' ELSE i::float8 END AS f FROM generate_series(1, 1000) i;
SELECT ordinal, "column", type, rows, null_percent, distinct_count, min, max, round(mean::numeric, 3) AS mean, round(stddev::numeric, 3) AS stddev, min_length, max_length FROM pipeline.profile('wares');
SELECT "column", quantiles, top_values -> 0 AS top, patterns -> 0 AS pattern FROM pipeline.profile('wares');
SELECT "column", rows, null_percent, distinct_count, min FROM pipeline.profile('SELECT 1 AS a, NULL::text AS b WHERE false');
SELECT e ->> 'type' AS type, e -> 'kwargs' AS kwargs FROM jsonb_array_elements(pipeline.suggest('wares') -> 'expectations') e;
-- For the eye.
SELECT * FROM pipeline.describe('wares');
SELECT name, nulls, distinct_values, common FROM pipeline.describe('SELECT CASE WHEN i > 1 THEN repeat(''ä'', 30) || i % 3 END AS a, i AS "all Differ", 1 AS one, NULL::int AS "no", i % 5000 AS many, CASE WHEN i = 7 THEN NULL ELSE ''x'' END AS x FROM generate_series(1, 12000) i');
SELECT * FROM pipeline.describe('wares', NULL);
SELECT * FROM pipeline.describe('SELECT 1 AS a WHERE false', exact => true);
-- It holds for what it was learned from.
SELECT pipeline.import_suite('suggested', 'wares', pipeline.suggest('wares'));
SELECT success, failed, warned, errored FROM pipeline.validate('suggested');
SELECT count(*) FROM (SELECT 1 FROM pipeline.profile('SELECT * FROM wares')) x;
SELECT pipeline.profile('nope');

-- Retention: old validations go, save those whose rows are held.
RESET SESSION AUTHORIZATION;
UPDATE pipeline.validations SET started_at = started_at - interval '40 days' WHERE suite = 'beyond';
SET pipeline.validation_days = 30;
SET SESSION AUTHORIZATION pipeline_alice;
SELECT count(*) > 1 AS many FROM pipeline.validations WHERE suite = 'beyond';
SELECT success IS NOT NULL AS done FROM pipeline.validate('beyond');
SELECT count(*) FROM pipeline.validations WHERE suite = 'beyond';
RESET SESSION AUTHORIZATION;
RESET pipeline.validation_days;
SELECT pipeline.drop_suite(name) FROM pipeline.suites WHERE name IN ('beyond', 'suggested') OR name LIKE 'json%' ORDER BY name;
DROP SCHEMA expect_beyond CASCADE;
