-- Rows that fail, kept or moved, with every reason; repaired and released.
SET client_min_messages = warning;
CREATE SCHEMA expect_quarantine AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_quarantine;
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers VALUES (1), (2);
CREATE TABLE orders (id int, customer int, "am ount" numeric, note text, twice numeric GENERATED ALWAYS AS ("am ount" * 2) STORED);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql BEGIN ATOMIC
  DELETE FROM orders;
  INSERT INTO orders (id, customer, "am ount", note) VALUES (1, 1, 10, 'a'), (2, 2, -5, 'b'), (3, NULL, -1, 'c'), (4, 9, 3, 'd'), (5, 1, 4, 'e'), (5, 2, 6, 'f'), (6, 1, 1, NULL);
END;
SELECT fill();
CREATE FUNCTION define(mode text) RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
BEGIN
  PERFORM pipeline.create_suite('orders', 'orders', row_key => '{id}', quarantine => mode, or_replace => true);
  PERFORM pipeline.expect('orders', 'expect_column_values_to_not_be_null', '{"column": "customer", "mostly": 0.5}', name => 'has customer');
  PERFORM pipeline.expect('orders', 'expect_column_values_to_be_between', '{"column": "am ount", "min_value": 0}', name => 'positive');
  PERFORM pipeline.expect('orders', 'expect_column_values_to_be_unique', '{"column": "id"}', name => 'unique', severity => 'critical');
  PERFORM pipeline.expect('orders', 'expect_foreign_key', '{"column_list": ["customer"], "references": "customers", "referenced_columns": ["id"]}', name => 'known customer');
  PERFORM pipeline.expect('orders', 'expect_column_values_to_not_be_null', '{"column": "note"}', name => 'noted', severity => 'warning');
  PERFORM pipeline.expect('orders', 'expect_column_values_to_be_increasing', '{"column": "id", "order_by": ["note"]}', name => 'order');
END $$;
CREATE VIEW held AS SELECT row_key, "row" - 'twice' AS "row", reasons, moved, released_into FROM pipeline.quarantined_rows
WHERE suite = 'orders' ORDER BY quarantine_id;

-- Copied: the table stays as it is; a failure of severity warning is no reason.
SELECT define('copy');
SELECT success, failed, warned, rows, quarantined, validation_id FROM pipeline.validate('orders') \gset
SELECT :'success' AS success, :failed AS failed, :warned AS warned, :rows AS rows, :quarantined AS quarantined;
SELECT * FROM held;
SELECT count(*) FROM orders;
SELECT quarantined FROM pipeline.validations WHERE validation_id = :validation_id;
-- Nothing passes, as nothing was mended; then all are let go as they are.
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id, recheck => false);
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);

-- Moved: out of the table.
SELECT define('move');
SELECT success, quarantined, validation_id FROM pipeline.validate('orders') \gset
SELECT :'success' AS success, :quarantined AS quarantined;
SELECT id FROM orders ORDER BY id;
SELECT row_key, reasons, moved FROM held WHERE moved;
-- The table is clean now, and says so.
SELECT success, rows, quarantined FROM pipeline.validate('orders');
-- Repair, and release what passes. Two rows of one key keep each other back.
SELECT quarantine_id FROM pipeline.quarantined_rows WHERE validation_id = :validation_id AND row_key = '{"id": 2}' \gset
SELECT pipeline.repair_quarantined(:quarantine_id, '{"am ount": 5}');
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
SELECT * FROM orders ORDER BY id;
SELECT quarantine_id FROM pipeline.quarantined_rows WHERE validation_id = :validation_id AND "row" ->> 'note' = 'f' \gset
SELECT pipeline.repair_quarantined(:quarantine_id, '{"id": 2}');
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
SELECT pipeline.repair_quarantined(:quarantine_id, '{"id": 7}');
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
SELECT id, note, twice FROM orders ORDER BY id;
-- What is released and what is held is what was quarantined.
SELECT count(*), count(*) FILTER (WHERE released_at IS NOT NULL) AS released, count(*) FILTER (WHERE released_at IS NULL) AS held
FROM pipeline.quarantined_rows WHERE validation_id = :validation_id;
-- Into another table: all of them.
CREATE TABLE rejects (LIKE orders);
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id, 'rejects', false);
SELECT id, note, twice FROM rejects ORDER BY id;
SELECT row_key, released_into FROM held WHERE moved ORDER BY row_key;

-- Errors.
\set VERBOSITY terse
SELECT pipeline.repair_quarantined(:quarantine_id, '{"id": 8}');
SELECT pipeline.repair_quarantined(-1, '{}');
SELECT pipeline.release_quarantine(-1);
SELECT pipeline.release_quarantine(NULL);
SELECT fill();
SELECT (pipeline.validate('orders')).validation_id \gset
SELECT quarantine_id FROM pipeline.quarantined_rows WHERE validation_id = :validation_id LIMIT 1 \gset
SELECT pipeline.repair_quarantined(:quarantine_id, '{"nope": 8}');
SELECT pipeline.repair_quarantined(:quarantine_id, '[]');
SELECT pipeline.repair_quarantined(:quarantine_id, '{"am ount": "lots"}');
SELECT pipeline.release_quarantine(:validation_id);
CREATE VIEW orders_view AS SELECT * FROM orders;
SELECT pipeline.create_suite('orders view', 'orders_view', quarantine => 'move');
SELECT pipeline.create_suite('orders view', 'orders_view', quarantine => 'away');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.release_quarantine(:validation_id);
SELECT pipeline.repair_quarantined(:quarantine_id, '{}');
SELECT count(*) FROM pipeline.quarantined_rows;
SET SESSION AUTHORIZATION pipeline_alice;
\set VERBOSITY default

-- A trigger that keeps its row: kept as a copy. Partitions: moved.
CREATE TABLE parts (id int, v int) PARTITION BY LIST (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts VALUES (1, 1), (1, NULL), (2, NULL), (2, NULL);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON parts2 FOR EACH ROW EXECUTE FUNCTION keep();
SELECT pipeline.create_suite('parts', 'parts', quarantine => 'move');
SELECT pipeline.expect('parts', 'expect_column_values_to_not_be_null', '{"column": "v"}') > 0 AS ok;
SELECT success, rows, quarantined FROM pipeline.validate('parts');
SELECT * FROM parts ORDER BY 1, 2;
SELECT "row", row_key, moved FROM pipeline.quarantined_rows WHERE suite = 'parts' ORDER BY quarantine_id;
-- Confined by where_clause, and a query.
SELECT pipeline.create_suite('parts', 'SELECT id AS "I d", v FROM expect_quarantine.parts', row_key => '{I d}', quarantine => 'copy', or_replace => true);
SELECT success, rows, quarantined FROM pipeline.validate('parts', '"I d" = 2');
SELECT success, rows, quarantined FROM pipeline.validate('parts', '"I d" = 1');
-- Many checks, many rows.
CREATE TABLE many AS SELECT i AS id, CASE WHEN i % 10 > 0 THEN i END AS v FROM generate_series(1, 5000) i;
SELECT pipeline.create_suite('many', 'many', quarantine => 'move');
SELECT count(pipeline.expect('many', 'expect_column_values_to_not_be_null', '{"column": "v"}', name => 'n' || i, row_condition => 'id > ' || i)) FROM generate_series(1, 150) i;
SELECT success, rows, quarantined FROM pipeline.validate('many');
SELECT count(*), min(cardinality(reasons)), max(cardinality(reasons)) FROM pipeline.quarantined_rows WHERE suite = 'many';
SELECT count(*) FROM many;
SELECT released, held, inserted FROM (SELECT max(validation_id) AS id FROM pipeline.validations WHERE suite = 'many') v, pipeline.release_quarantine(id, recheck => false);
SELECT count(*) FROM many;

-- Rows are fetched from where the scan has met them: the same, with the same
-- reasons, as by a second scan, which a view needs; in 40 random tables.
CREATE TABLE placed (id int, a int, b int, t text) PARTITION BY RANGE (id);
CREATE TABLE placed_1 PARTITION OF placed FOR VALUES FROM (0) TO (150);
CREATE TABLE placed_2 (t text, gone int, b int, a int, id int);
ALTER TABLE placed_2 DROP gone;
ALTER TABLE placed ATTACH PARTITION placed_2 FOR VALUES FROM (150) TO (100000000);
CREATE VIEW placed_view AS TABLE placed;
CREATE FUNCTION suites(unique_too boolean) RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE s text;
BEGIN
  FOREACH s IN ARRAY '{placed,placed_view}'::text[] LOOP
    PERFORM pipeline.create_suite(s, s, row_key => '{id}', quarantine => 'copy', or_replace => true);
    PERFORM pipeline.expect(s, 'expect_column_values_to_be_between', '{"column": "a", "max_value": 90, "mostly": 0.1}', name => 'a');
    PERFORM pipeline.expect(s, 'expect_column_values_to_not_be_null', '{"column": "b"}', name => 'b', row_condition => 'a % 2 = 0');
    PERFORM pipeline.expect(s, 'expect_column_pair_values_a_to_be_greater_than_b', '{"column_A": "a", "column_B": "b", "or_equal": true}', name => 'pair', severity => 'critical');
    PERFORM pipeline.expect(s, 'expect_column_values_to_match_regex', '{"column": "t", "regex": "^x"}', name => 't', severity => 'warning');
    PERFORM pipeline.expect(s, 'expect_column_values_without_outliers', '{"column": "a", "method": "z_score", "threshold": 1.9}', name => 'z');
    IF unique_too THEN PERFORM pipeline.expect(s, 'expect_column_values_to_be_unique', '{"column": "t"}', name => 'u'); END IF;
  END LOOP;
END $$;
CREATE FUNCTION quarantined_of(suite_name text, where_clause text) RETURNS TABLE (id text, reasons text[]) LANGUAGE plpgsql AS $$
DECLARE v bigint;
BEGIN
  SELECT validation_id INTO v FROM pipeline.validate(suite_name, where_clause);
  RETURN QUERY SELECT q.row_key ->> 'id', q.reasons FROM pipeline.quarantined_rows q WHERE q.validation_id = v;
END $$;
CREATE FUNCTION try_places() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE n bigint; differences bigint; clause text;
BEGIN
  FOR seed IN 1..40 LOOP
    PERFORM setseed(seed / 100.0), suites(seed % 4 = 0);
    TRUNCATE placed;
    INSERT INTO placed SELECT i, (random() * 100)::int, CASE WHEN random() < 0.9 THEN (random() * 120)::int END, CASE WHEN random() < 0.95 THEN 'x' ELSE 'y' END || i % 290
      FROM generate_series(0, 299) i;
    -- Versions that are dead, and updated in place.
    UPDATE placed SET a = a + 1 WHERE random() < 0.1;
    PERFORM set_config('min_parallel_table_scan_size', CASE WHEN seed % 8 = 0 THEN '0' ELSE '8MB' END, true), set_config('parallel_setup_cost', '0', true);
    clause := CASE WHEN seed % 3 = 0 THEN 'id % 3 <> 1' END;
    WITH t AS MATERIALIZED (SELECT * FROM quarantined_of('placed', clause)), v AS MATERIALIZED (SELECT * FROM quarantined_of('placed_view', clause))
    SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE v) x) + (SELECT count(*) FROM (TABLE v EXCEPT ALL TABLE t) x) INTO n, differences;
    IF differences > 0 OR n = 0 THEN RETURN NEXT format('seed %s: %s rows, %s differences', seed, n, differences); END IF;
  END LOOP;
END $$;
SELECT * FROM try_places();
-- More rows than are remembered.
TRUNCATE placed;
INSERT INTO placed SELECT i, 95, 0, 'x' FROM generate_series(1, 100050) i;
SELECT suites(false);
SELECT rows, quarantined FROM pipeline.validate('placed');
SELECT pipeline.drop_suite(s) FROM unnest('{placed,placed_view}'::text[]) s;

-- A failed gate stays red when it is tried again: the rows that it moved are
-- still held.
SELECT pipeline.drop_suite(s) FROM unnest('{many,parts}'::text[]) s;
SELECT fill();
SELECT pipeline.drop_expectation('orders', 'order');
SELECT pipeline.create_pipeline('gate');
SELECT pipeline.create_task('gate', 'check', $$SELECT success FROM pipeline.validate('orders')$$);
SELECT pipeline.run('gate') AS run_id \gset
SELECT pipeline.wait_for_run(:run_id, '30 s');
SELECT id FROM orders ORDER BY id;
SELECT pipeline.retry(:run_id) IS NOT NULL AS retried;
SELECT pipeline.wait_for_run(:run_id, '30 s');
SELECT v.attempt, v.success, v.quarantined, r.name, r.details FROM pipeline.validations v JOIN pipeline.expectation_results r USING (validation_id)
WHERE v.run_id = :run_id AND NOT r.success ORDER BY v.validation_id, r.ordinal;
SELECT released, held FROM (SELECT min(validation_id) AS id FROM pipeline.validations WHERE run_id = :run_id) v, pipeline.release_quarantine(id, 'rejects', false);
SELECT pipeline.retry(:run_id) IS NOT NULL AS retried;
SELECT pipeline.wait_for_run(:run_id, '30 s');
SELECT pipeline.drop_pipeline('gate');
SELECT pipeline.drop_suite('orders');
-- What a row says together with others is judged again at release: dependencies,
-- deviations, order, keys of a condition, keys of copies. Counts add up.
CREATE TABLE cities (id int, zip text, city text, height numeric, day date, n int);
CREATE FUNCTION refill() RETURNS void LANGUAGE sql BEGIN ATOMIC
  DELETE FROM cities;
  INSERT INTO cities SELECT i, 'z' || i % 4, 'c' || i % 4, 10 + i % 7, date '2024-01-01' + i, i FROM generate_series(1, 40) i;
END;
SELECT refill();
CREATE FUNCTION again(mode text, VARIADIC changes jsonb[]) RETURNS TABLE (quarantined bigint, released text) LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE v pipeline.validation_result; r pipeline.release_result; c jsonb;
BEGIN
  v := pipeline.validate('cities');
  RETURN QUERY SELECT v.quarantined, NULL::text;
  FOREACH c IN ARRAY changes LOOP
    PERFORM pipeline.repair_quarantined(q.quarantine_id, c - 'row') FROM pipeline.quarantined_rows q WHERE q.validation_id = v.validation_id AND q."row" -> 'id' = c -> 'row' AND q.released_at IS NULL;
    r := pipeline.release_quarantine(v.validation_id);
    RETURN QUERY SELECT count(*) FILTER (WHERE q.released_at IS NULL), format('%s released, %s held, %s inserted', r.released, r.held, r.inserted) FROM pipeline.quarantined_rows q WHERE q.validation_id = v.validation_id;
  END LOOP;
  RETURN QUERY SELECT NULL::bigint, format('%s rows, then %s', (SELECT count(*) FROM cities), (pipeline.validate('cities')).success);
EXCEPTION WHEN OTHERS THEN RETURN QUERY SELECT NULL::bigint, SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION one_check(type text, kwargs jsonb, mode text DEFAULT 'move', condition text DEFAULT NULL) RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
BEGIN
  PERFORM pipeline.drop_suite(name) FROM pipeline.suites WHERE name = 'cities';
  PERFORM pipeline.create_suite('cities', 'cities', row_key => '{id}', quarantine => mode);
  PERFORM pipeline.expect('cities', type, kwargs, row_condition => condition);
END $$;
SELECT one_check('expect_functional_dependency', '{"determinant": ["zip"], "dependent": ["city"]}');
UPDATE cities SET city = 'wrong' WHERE id = 3;
SELECT * FROM again('move', '{"row": 7, "city": "c3"}', '{"row": 3, "city": "c3"}');
SELECT refill();
SELECT one_check('expect_functional_dependency', '{"determinant": ["zip"], "dependent": ["city"]}', condition => 'id > 8');
UPDATE cities SET city = NULL WHERE id IN (3, 9);
UPDATE cities SET zip = NULL WHERE id = 10;
SELECT * FROM again('move', '{"row": 9, "zip": null}', '{"row": 9, "city": "c2"}');
SELECT refill();
SELECT one_check('expect_column_values_without_outliers', '{"column": "height"}');
UPDATE cities SET height = 1000 WHERE id IN (5, 6);
SELECT * FROM again('move', '{"row": 5, "height": 900}', '{"row": 5, "height": 12}', '{"row": 6, "height": null}');
SELECT refill();
SELECT one_check('expect_column_value_z_scores_to_be_less_than', '{"column": "height", "threshold": 4, "double_sided": true}');
UPDATE cities SET height = -1000 WHERE id = 5;
SELECT * FROM again('move', '{"row": 5, "height": 500}', '{"row": 5, "height": 12}');
SELECT refill();
SELECT one_check('expect_column_values_without_outliers', '{"column": "height", "method": "mad"}', 'copy');
UPDATE cities SET height = 1000 WHERE id = 5;
SELECT * FROM again('copy', '{"row": 5}', '{"row": 5, "height": 12}');
-- Order quarantines no row, and is looked at when others come back.
SELECT refill();
SELECT one_check('expect_column_values_to_be_between', '{"column": "height", "max_value": 100}');
SELECT pipeline.expect('cities', 'expect_column_values_to_be_increasing', '{"column": "n", "order_by": ["day"], "strictly": true}') > 0 AS defined;
UPDATE cities SET height = 1000 WHERE id IN (5, 40);
SELECT * FROM again('move', '{"row": 5, "height": 10, "n": 6}', '{"row": 5, "n": 4}', '{"row": 5, "n": 5}', '{"row": 40, "height": 10, "n": 30}', '{"row": 40, "n": null}');
SELECT refill();
SELECT one_check('expect_column_values_to_be_between', '{"column": "height", "max_value": 100}');
SELECT pipeline.expect('cities', 'expect_column_values_to_be_decreasing', '{"column": "height", "mostly": 0.1}') > 0 AS defined;
UPDATE cities SET height = 1000 WHERE id IN (5, 40);
SELECT success, quarantined, validation_id FROM pipeline.validate('cities') \gset
SELECT pipeline.release_quarantine(:validation_id);
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id, recheck => false);
SELECT count(*) FROM cities;
-- A copy is still in the table: its key may be there once.
SELECT refill();
SELECT one_check('expect_compound_columns_to_be_unique', '{"column_list": ["zip", "n"]}', 'copy');
UPDATE cities SET n = 1, zip = NULL WHERE id IN (5, 9);
SELECT success, quarantined, validation_id FROM pipeline.validate('cities') \gset
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
UPDATE cities SET n = 5 WHERE id = 5;
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
SELECT refill();
SELECT one_check('expect_compound_columns_to_be_unique', '{"column_list": ["zip", "n"]}', 'move', 'height < 100');
UPDATE cities SET n = 1, zip = NULL WHERE id IN (5, 9);
SELECT * FROM again('move', '{"row": 5, "n": 5}', '{"row": 9}');
-- A check that cannot be evaluated lets no row go.
SELECT refill();
SELECT one_check('expect_column_values_to_be_between', '{"column": "height", "max_value": {"$PARAMETER": "top"}}');
UPDATE cities SET height = 1000 WHERE id = 5;
SELECT success, quarantined, validation_id FROM pipeline.validate('cities', parameters => '{"top": 100}') \gset
SELECT released, held, inserted FROM pipeline.release_quarantine(:validation_id);
SELECT pipeline.expect('cities', 'expect_column_values_to_be_between', '{"column": "n", "max_value": {"$PARAMETER": "other"}}') > 0 AS defined;
SELECT pipeline.release_quarantine(:validation_id);
SELECT pipeline.drop_suite('cities');
RESET SESSION AUTHORIZATION;
DROP SCHEMA expect_quarantine CASCADE;
