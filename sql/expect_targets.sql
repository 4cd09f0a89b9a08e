-- Whatever the target is, the same rows give the same answers: a table, one with
-- partitions, with children, with row security, a view, a materialized view, a
-- foreign table, a query. Prints what differs from the table only.
\set VERBOSITY terse
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA expect_targets;
SET search_path = expect_targets;
CREATE TABLE plain (id int, part int, amount numeric(8, 2), name text, at timestamptz, gone int, ref int);
ALTER TABLE plain DROP COLUMN gone;
INSERT INTO plain SELECT i, i % 3, CASE WHEN i % 17 > 0 THEN (i * 37 % 1000) / 7.0 END, CASE WHEN i % 11 > 0 THEN 'n' || i % 40 END, timestamptz '2024-01-01' + i * interval '1 hour', i % 50 FROM generate_series(1, 2000) i;
CREATE TABLE keys AS SELECT i AS ref FROM generate_series(0, 48) i;
CREATE TABLE parts (name text, gone text, ref int, amount numeric(8, 2), at timestamptz, part int, id int) PARTITION BY LIST (part);
CREATE TABLE parts_0 (id int, dropped int, name text, at timestamptz, ref int, amount numeric(8, 2), part int);
ALTER TABLE parts DROP COLUMN gone;
ALTER TABLE parts_0 DROP COLUMN dropped;
ALTER TABLE parts ATTACH PARTITION parts_0 FOR VALUES IN (0);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT PARTITION BY HASH (id);
CREATE TABLE parts_1_0 PARTITION OF parts_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_1_1 PARTITION OF parts_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts (id, part, amount, name, at, ref) TABLE plain;
CREATE TABLE parent (LIKE plain);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT * FROM plain WHERE id <= 500;
INSERT INTO child SELECT * FROM plain WHERE id > 500;
CREATE TABLE secured (LIKE plain, secret boolean);
INSERT INTO secured SELECT *, false FROM plain UNION ALL SELECT *, true FROM plain WHERE id < 100;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON secured FOR SELECT USING (NOT secret);
CREATE VIEW viewed AS SELECT ref, at, name || '' AS name, amount, part, id FROM plain;
CREATE MATERIALIZED VIEW stored AS TABLE plain;
CREATE EXTENSION postgres_fdw;
DO $$ BEGIN
  EXECUTE format('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname %L, port %L, host %L)', current_database(), current_setting('port'), split_part(current_setting('unix_socket_directories'), ',', 1));
END $$;
CREATE USER MAPPING FOR PUBLIC SERVER loop OPTIONS (user 'postgres');
CREATE USER MAPPING FOR pipeline_alice SERVER loop OPTIONS (user 'postgres', password_required 'false');
CREATE FOREIGN TABLE far (id int, part int, amount numeric(8, 2), name text, at timestamptz, ref int) SERVER loop OPTIONS (schema_name 'expect_targets', table_name 'plain');
GRANT USAGE ON SCHEMA expect_targets TO pipeline_alice;
GRANT SELECT ON ALL TABLES IN SCHEMA expect_targets TO pipeline_alice;
CREATE TABLE targets (n int GENERATED ALWAYS AS IDENTITY, target text, sql text);
INSERT INTO targets (target) VALUES ('plain'), ('parts'), ('parent'), ('viewed'), ('stored'), ('far'), ('SELECT * FROM plain'), ('WITH w AS (TABLE plain) SELECT w.id, part, amount, name, at, ref FROM w JOIN (VALUES (1)) x ON true'), ('SELECT id, part, amount, name, at, ref FROM secured');
GRANT SELECT ON targets TO pipeline_alice;
CREATE TABLE checks AS SELECT jsonb_agg(jsonb_build_object('type', 'expect_' || t, 'kwargs', k::jsonb) || CASE WHEN r IS NULL THEN '{}' ELSE jsonb_build_object('row_condition', r) END ORDER BY i) AS doc FROM (VALUES
  (1, 'table_row_count_to_equal', '{"value": 2000}', NULL), (2, 'column_values_to_not_be_null', '{"column": "amount"}', NULL), (3, 'column_values_to_be_between', '{"column": "amount", "min_value": 5}', 'part > 0'), (4, 'column_values_to_be_in_set', '{"column": "name", "value_set": ["n1", "n2"]}', NULL),
  (5, 'column_values_to_match_regex', '{"column": "name", "regex": "^n[0-9]$"}', NULL), (6, 'column_value_lengths_to_equal', '{"column": "name", "value": 3}', NULL), (7, 'column_values_to_be_unique', '{"column": "id"}', NULL), (8, 'column_values_to_be_unique', '{"column": "name"}', 'id < 30'),
  (9, 'column_median_to_be_between', '{"column": "amount"}', NULL), (10, 'column_unique_value_count_to_be_between', '{"column": "amount"}', NULL), (11, 'column_mean_to_be_between', '{"column": "amount", "max_value": 1}', NULL), (12, 'column_max_to_be_between', '{"column": "at", "max_value": "2024-02-01"}', NULL),
  (13, 'column_most_common_value_to_be_in_set', '{"column": "ref", "value_set": [1], "ties_okay": true}', NULL), (14, 'column_quantile_values_to_be_between', '{"column": "amount", "quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[0, 20], [100, 140]]}}', NULL),
  (15, 'compound_columns_to_be_unique', '{"column_list": ["id", "part"]}', NULL), (16, 'compound_columns_to_be_unique', '{"column_list": ["name", "part"]}', NULL), (17, 'foreign_key', '{"column_list": ["ref"], "references": "keys"}', NULL), (18, 'functional_dependency', '{"determinant": ["ref"], "dependent": ["name"]}', NULL),
  (19, 'column_values_to_be_increasing', '{"column": "at", "order_by": ["id"]}', NULL), (20, 'column_values_without_outliers', '{"column": "id"}', NULL), (21, 'column_pair_values_a_to_be_greater_than_b', '{"column_A": "id", "column_B": "ref", "or_equal": true}', NULL), (22, 'multicolumn_sum_to_equal', '{"column_list": ["id", "part"], "sum_total": 3}', NULL),
  (23, 'column_drift', '{"column": "amount", "reference_table": "plain", "threshold": 0.1}', NULL), (24, 'column_drift', '{"column": "amount", "reference_table": "plain", "method": "ks", "threshold": 0.1}', NULL), (25, 'tables_to_reconcile', '{"other_table": "plain", "key_columns": ["id"], "sum_columns": ["amount"]}', NULL),
  (26, 'sql', '{"query": "SELECT id FROM {batch} WHERE amount > 142"}', NULL), (27, 'column_kl_divergence_to_be_less_than', '{"column": "part", "partition_object": {"values": [0, 1, 2], "weights": [0.3, 0.3, 0.4]}, "threshold": 0.1}', NULL), (28, 'column_pair_cramers_phi_value_to_be_less_than', '{"column_A": "part", "column_B": "ref"}', NULL)) AS x(i, t, k, r);
GRANT SELECT ON checks TO pipeline_alice;
ANALYZE;
SET SESSION AUTHORIZATION pipeline_alice;
-- Lists of samples come in the order in which rows are read: their lengths are compared.
CREATE TEMP VIEW found AS SELECT t.n, t.target, r.i, r.type, r.success, r.observed_value, r.element_count, r.missing_count, r.unexpected_count, jsonb_array_length(r.partial_unexpected_list) AS sampled, r.error
FROM targets t, checks c, pipeline.check_now(t.target, c.doc) WITH ORDINALITY AS r(type, "column", severity, success, observed_value, element_count, missing_count, unexpected_count, unexpected_percent, unexpected_percent_total, partial_unexpected_list, partial_unexpected_keys, details, proved, error, i);
CREATE TEMP TABLE serial AS TABLE found;
SELECT type, success, observed_value, element_count AS elements, missing_count AS missing, unexpected_count AS unexpected, sampled, error FROM serial WHERE n = 1 ORDER BY i;
SELECT f.target, f.type, f.success, f.observed_value, f.element_count, f.missing_count, f.unexpected_count, f.sampled, f.error FROM serial f JOIN serial p USING (i) WHERE p.n = 1
  AND (f.success, f.observed_value, f.element_count, f.missing_count, f.unexpected_count, f.sampled, f.error) IS DISTINCT FROM (p.success, p.observed_value, p.element_count, p.missing_count, p.unexpected_count, p.sampled, p.error) ORDER BY f.n, f.i;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT f.target, f.type, f.success, f.observed_value, f.element_count, f.missing_count, f.unexpected_count, f.sampled, f.error FROM found f JOIN serial p USING (i) WHERE p.n = 1
  AND (f.success, f.observed_value, f.element_count, f.missing_count, f.unexpected_count, f.sampled, f.error) IS DISTINCT FROM (p.success, p.observed_value, p.element_count, p.missing_count, p.unexpected_count, p.sampled, p.error) ORDER BY f.n, f.i;
SELECT t.target, p."column" FROM targets t, pipeline.profile(t.target) p JOIN pipeline.profile('plain') o USING ("column") WHERE (p.type, p.rows, p.null_percent, p.distinct_count, p.min, p.max, p.quantiles, p.exact, round(p.mean::numeric, 6)) IS DISTINCT FROM (o.type, o.rows, o.null_percent, o.distinct_count, o.min, o.max, o.quantiles, o.exact, round(o.mean::numeric, 6));
RESET SESSION AUTHORIZATION;
DROP EXTENSION postgres_fdw CASCADE;
DROP SCHEMA expect_targets CASCADE;
