-- Wide tables, long suites, strange numbers, huge texts, names, columns that
-- go, and being told to stop.
SET client_min_messages = warning;
CREATE SCHEMA expect_limits AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_limits;
SET timezone = 'UTC';
SET statement_timeout = '60s';
CREATE FUNCTION n(target text, VARIADIC checks jsonb[]) RETURNS TABLE (success boolean, observed jsonb, elements bigint, missing bigint, unexpected bigint, list jsonb, error text)
LANGUAGE sql AS $$ SELECT success, observed_value, element_count, missing_count, unexpected_count, partial_unexpected_list, error FROM pipeline.check_now(target, to_jsonb(checks)) $$;
CREATE FUNCTION c(type text, kwargs jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('type', 'expect_' || type, 'kwargs', kwargs) $$;

-- 1,600 columns, a check on each, and of each kind of scan.
SELECT format('CREATE TABLE wide (%s)', string_agg(format('c%s int', i), ', ' ORDER BY i)) FROM generate_series(1, 1600) i \gexec
SELECT format('INSERT INTO wide SELECT %s FROM generate_series(1, 3) r', string_agg(CASE WHEN i % 100 = 0 THEN 'NULL' ELSE 'r' END, ', ' ORDER BY i)) FROM generate_series(1, 1600) i \gexec
SELECT count(*), count(*) FILTER (WHERE success), count(error) FROM pipeline.check_now('wide', (SELECT jsonb_agg(c('column_values_to_not_be_null', jsonb_build_object('column', 'c' || i))) FROM generate_series(1, 1600) i));
SELECT count(*), count(*) FILTER (WHERE success), count(error) FROM pipeline.check_now('wide', (SELECT jsonb_agg(c('column_mean_to_be_between', jsonb_build_object('column', 'c' || i, 'max_value', 2))) FROM generate_series(1, 1600) i));
SELECT count(*), count(*) FILTER (WHERE success), count(error) FROM pipeline.check_now('wide', (SELECT jsonb_agg(c('column_values_to_be_unique', jsonb_build_object('column', 'c' || i))) FROM generate_series(1, 1600) i));
SELECT count(*), sum(distinct_count) FROM pipeline.profile('wide');
SELECT jsonb_array_length(pipeline.suggest('wide') -> 'expectations') > 1600 AS many;

-- Lists of as many columns: 97 still fit into one call, 1,600 take their own way.
CREATE FUNCTION lists(n int) RETURNS TABLE (type text, success boolean, elements bigint, missing bigint, unexpected bigint, shown int, c2 text, error text) LANGUAGE sql AS $$
  WITH l AS (SELECT jsonb_agg('c' || i ORDER BY i) AS a FROM generate_series(1, n) i)
  SELECT replace(r.type, 'expect_', ''), success, element_count, missing_count, unexpected_count, CASE jsonb_typeof(partial_unexpected_list -> 0) WHEN 'object' THEN (SELECT count(*) FROM jsonb_object_keys(partial_unexpected_list -> 0))::int END, CASE jsonb_typeof(partial_unexpected_list -> 0) WHEN 'object' THEN partial_unexpected_list -> 0 ->> 'c2' ELSE left(partial_unexpected_list ->> 0, 9) END, left(r.error, 80)
  FROM l, pipeline.check_now('wide', jsonb_build_array(c('multicolumn_sum_to_equal', jsonb_build_object('column_list', a, 'sum_total', n, 'ignore_row_if', 'never')), c('multicolumn_sum_to_equal', jsonb_build_object('column_list', a - 'c100' - 'c200', 'sum_total', 2, 'ignore_row_if', 'any_value_is_missing')),
    c('select_column_values_to_be_unique_within_record', jsonb_build_object('column_list', a)), c('compound_columns_to_be_unique', jsonb_build_object('column_list', a)), c('compound_columns_to_be_unique', jsonb_build_object('column_list', a, 'ignore_row_if', 'any_value_is_missing')),
    c('functional_dependency', jsonb_build_object('determinant', a, 'dependent', '["c1"]'::jsonb)), c('foreign_key', jsonb_build_object('column_list', a - 'c100' - 'c200', 'references', 'wide')))) r $$;
SELECT n, l.* FROM unnest('{40,41,1600}'::int[]) n, lists(n) l;
INSERT INTO wide SELECT * FROM wide WHERE c1 = 2;
SELECT n, l.* FROM unnest('{97,98}'::int[]) n, lists(n) l WHERE type LIKE 'compound%';

-- 10,000 expectations.
CREATE TABLE long AS SELECT i AS a, -i AS b FROM generate_series(1, 100) i;
SELECT pipeline.create_suite('long', 'long', 1);
SELECT count(pipeline.expect('long', 'expect_column_values_to_be_between', jsonb_build_object('column', CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, 'min_value', i - 5000), 'info', 'n' || i)) FROM generate_series(1, 10000) i;
SELECT success, evaluated, failed, warned, errored, rows FROM pipeline.validate('long');
SELECT count(*) FILTER (WHERE NOT r.success) AS failed, min(unexpected_count), max(unexpected_count) FROM pipeline.expectation_results r JOIN pipeline.validations v USING (validation_id) WHERE suite = 'long';
SELECT jsonb_array_length(pipeline.export_suite('long') -> 'expectations');
SELECT jsonb_array_length(pipeline.validation_report(max(validation_id)) -> 'results') FROM pipeline.validations WHERE suite = 'long';
SELECT pipeline.drop_suite('long');

-- NaN and infinities: NaN is the greatest number and equals itself.
CREATE TABLE odd (f float8, n numeric, t timestamptz);
INSERT INTO odd VALUES ('NaN', 'NaN', 'infinity'), ('Infinity', 'Infinity', '-infinity'), ('-Infinity', '-Infinity', '2024-01-01'), (1, 1, NULL), ('NaN', 2, NULL), (NULL, NULL, NULL), ('-0', 0, NULL), (0, -0, NULL);
SELECT k ->> 'column' AS col, x.* FROM unnest(ARRAY['{"column": "f"}', '{"column": "n"}']::jsonb[]) k,
  n('odd', c('column_values_to_be_between', k || '{"max_value": 1e300}'), c('column_values_to_be_between', k || '{"min_value": "-Infinity", "max_value": "Infinity"}'), c('column_values_to_be_in_set', k || '{"value_set": ["NaN", "Infinity", "-Infinity", 0, 1, 2]}'),
    c('column_values_to_be_unique', k), c('column_min_to_be_between', k), c('column_max_to_be_between', k || '{"max_value": "NaN"}'), c('column_sum_to_be_between', k || '{"max_value": 1}'), c('column_mean_to_be_between', k), c('column_stdev_to_be_between', k),
    c('column_median_to_be_between', k), c('column_quantile_values_to_be_between', k || '{"quantile_ranges": {"quantiles": [0, 0.5, 1], "value_ranges": [["-Infinity", 0], [0, 1], [null, "NaN"]]}}'), c('column_unique_value_count_to_be_between', k),
    c('column_value_z_scores_to_be_less_than', k || '{"threshold": 3, "double_sided": true}'), c('column_values_without_outliers', k), c('column_distinct_values_to_contain_set', k || '{"value_set": ["NaN"]}'),
    c('column_kl_divergence_to_be_less_than', k || '{"partition_object": {"bins": [0, 1, 2], "weights": [0.5, 0.5]}, "threshold": 1}')) x;
SELECT * FROM n('odd', c('column_max_to_be_between', '{"column": "t"}'), c('table_freshness', '{"column": "t", "max_age": "1 day"}'), c('column_median_to_be_between', '{"column": "t"}'), c('column_values_to_be_increasing', '{"column": "t"}'));
SELECT "column", distinct_count, min, max, mean, stddev FROM pipeline.profile('odd');

-- Huge texts: a sample is their beginning.
CREATE TABLE huge AS SELECT 1 AS id, repeat('€', 2000000) AS t UNION ALL SELECT 2, repeat('x', 3000000) UNION ALL SELECT 3, repeat('x', 3000000);
SELECT success, unexpected, (SELECT array_agg(length(e #>> '{}')) FROM jsonb_array_elements(list) e) AS lengths, octet_length(observed::text) < 100000 AS short, error
FROM n('huge', c('column_value_lengths_to_be_between', '{"column": "t", "max_value": 2000000}'), c('column_values_to_be_unique', '{"column": "t"}'), c('column_values_to_match_regex', '{"column": "t", "regex": "y$"}'),
  c('column_distinct_values_to_be_in_set', '{"column": "t", "value_set": ["x"]}'), c('column_most_common_value_to_be_in_set', '{"column": "t", "value_set": ["x"]}'), c('column_max_to_be_between', '{"column": "t"}'),
  c('compound_columns_to_be_unique', '{"column_list": ["t", "t"]}'), c('column_values_to_be_json_parseable', '{"column": "t"}'), c('column_values_to_match_like_pattern', '{"column": "t", "like_pattern": "%€"}'));
SELECT "column", distinct_count, max_length, octet_length(max) < 100000 AS short FROM pipeline.profile('huge');

-- Names that need quotes.
CREATE TABLE "Tä""ble '$$ %s" ("se lect" int, "{""k"": 1}" text, "?verdict" int);
INSERT INTO "Tä""ble '$$ %s" VALUES (1, 'a', 1), (1, 'b', 2), (NULL, 'b', 3);
SELECT * FROM n('"Tä""ble ''$$ %s"', c('column_values_to_be_unique', '{"column": "se lect"}'), c('column_values_to_be_unique', '{"column": "{\"k\": 1}"}'), c('compound_columns_to_be_unique', '{"column_list": ["se lect", "{\"k\": 1}"]}'),
  c('column_pair_values_to_be_equal', '{"column_A": "se lect", "column_B": "?verdict"}'), c('column_values_to_be_increasing', '{"column": "?verdict", "order_by": ["{\"k\": 1}", "se lect"]}'),
  c('functional_dependency', '{"determinant": ["{\"k\": 1}"], "dependent": ["se lect"]}'), c('foreign_key', '{"column_list": ["se lect"], "references": "\"Tä\"\"ble ''$$ %s\"", "referenced_columns": ["?verdict"]}'),
  c('tables_to_reconcile', '{"other_table": "\"Tä\"\"ble ''$$ %s\"", "key_columns": ["?verdict"]}'), c('column_distinct_values_to_be_in_set', '{"column": "{\"k\": 1}", "value_set": ["a''b"]}'), c('sql', '{"query": "SELECT \"se lect\" FROM {batch} WHERE \"?verdict\" = 3"}'));

-- A column that goes is the error of its checks; a table that goes, of the call.
CREATE TABLE goes (a int, b int);
INSERT INTO goes VALUES (1, 1), (2, NULL);
SELECT pipeline.create_suite('goes', 'goes', row_key => '{a}');
SELECT count(pipeline.expect('goes', 'expect_' || t, k::jsonb)) FROM (VALUES ('column_values_to_not_be_null', '{"column": "a"}'), ('column_values_to_be_unique', '{"column": "b"}'), ('column_mean_to_be_between', '{"column": "b"}'),
  ('compound_columns_to_be_unique', '{"column_list": ["a", "b"]}'), ('column_pair_values_to_be_equal', '{"column_A": "a", "column_B": "b"}'), ('table_freshness', '{"column": "b", "max_age": "1 day"}'), ('column_drift', '{"column": "b", "threshold": 1}')) AS e(t, k);
ALTER TABLE goes DROP COLUMN b;
SELECT success, evaluated, errored FROM pipeline.validate('goes');
ALTER TABLE goes RENAME a TO z;
\set VERBOSITY terse
SELECT success, evaluated, errored FROM pipeline.validate('goes');
DROP TABLE goes;
SELECT success FROM pipeline.validate('goes');
SELECT pipeline.drop_suite('goes');

-- Told to stop, in each kind of statement: it stops, and nothing is left open.
CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN $1; END';
CREATE VIEW slowly AS SELECT slow(i) AS a, i AS b FROM generate_series(1, 1000) i;
SET statement_timeout = '60ms';
SELECT * FROM n('slowly', c('column_values_to_be_unique', '{"column": "a"}'));
SELECT * FROM n('slowly', c('column_mean_to_be_between', '{"column": "a"}'));
SELECT * FROM n('slowly', c('compound_columns_to_be_unique', '{"column_list": ["a", "b"]}'));
SELECT * FROM n('slowly', c('column_values_to_be_increasing', '{"column": "a"}'));
SELECT * FROM n('slowly', c('tables_to_reconcile', '{"other_table": "slowly"}'));
SELECT count(*) FROM pipeline.profile('slowly');
SET statement_timeout = '60s';
SELECT * FROM n('long', c('table_row_count_to_equal', '{"value": 100}'));
-- A sort that does not fit into memory.
SET work_mem = '64kB';
SELECT success, observed, unexpected FROM n('SELECT i % 15000 AS v, md5((i % 15000)::text) AS t FROM generate_series(1, 30001) i', c('column_values_to_be_unique', '{"column": "v"}'), c('column_values_to_be_unique', '{"column": "t"}'),
  c('column_median_to_be_between', '{"column": "v"}'), c('column_unique_value_count_to_be_between', '{"column": "t"}'), c('column_most_common_value_to_be_in_set', '{"column": "v", "value_set": [1]}'));
RESET work_mem;
-- Few values first, many later, and the other way round: the hash and the sort agree with SQL.
SELECT s, success, observed, unexpected FROM unnest(ARRAY['SELECT CASE WHEN i < 20000 THEN i % 7 ELSE i END AS v FROM generate_series(1, 60000) i', 'SELECT CASE WHEN i < 40000 THEN i ELSE i % 7 END AS v FROM generate_series(1, 60000) i']) s,
  n(s, c('column_values_to_be_unique', '{"column": "v"}'), c('column_unique_value_count_to_be_between', '{"column": "v"}'), c('column_median_to_be_between', '{"column": "v"}'));
SELECT count(DISTINCT v), percentile_cont(0.5) WITHIN GROUP (ORDER BY v), (SELECT sum(n) FROM (SELECT count(*) n FROM generate_series(1, 60000) i GROUP BY CASE WHEN i < 20000 THEN i % 7 ELSE i END) x WHERE n > 1) FROM (SELECT CASE WHEN i < 20000 THEN i % 7 ELSE i END AS v FROM generate_series(1, 60000) i) x;
SELECT count(DISTINCT v), percentile_cont(0.5) WITHIN GROUP (ORDER BY v), (SELECT sum(n) FROM (SELECT count(*) n FROM generate_series(1, 60000) i GROUP BY CASE WHEN i < 40000 THEN i ELSE i % 7 END) x WHERE n > 1) FROM (SELECT CASE WHEN i < 40000 THEN i ELSE i % 7 END AS v FROM generate_series(1, 60000) i) x;
RESET SESSION AUTHORIZATION;
DROP SCHEMA expect_limits CASCADE;
