-- Four raw extracts of a distributor, where they are at hand: customers,
-- products, branches and employees, with their BOMs, separators and decimal
-- commas, merged as dimensions; then a second extract with changes.
\getenv data PIPELINE_TEST_DATA
SET client_min_messages = warning;
CREATE SCHEMA scd_retail;
SET search_path = scd_retail;
SET timezone = 'UTC';
CREATE TABLE raw_customers (id text, province text, name text, address text, age text, place text, x text, y text, col10 text);
CREATE TABLE raw_products (id text, name text, price text, type_id text);
CREATE TABLE raw_branches (id text, name text, address text, place text, province text, latitude text, longitude text);
CREATE TABLE raw_employees (id text, last_name text, first_name text, branch text, sector text, title text, salary text);
-- An Argentine number: "-58,81850307"; some cells hold no number, or two halves of one.
CREATE FUNCTION number(t text) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$ SELECT CASE WHEN t ~ '^-?[0-9]+([,.][0-9]*)?$' THEN replace(t, ',', '.')::numeric END $$;
CREATE VIEW customers AS SELECT id::int, name, address, place, province, number(x) AS x, number(y) AS y, age::int FROM raw_customers;
CREATE VIEW products AS SELECT id::int, name, type_id::int, number(price) AS price FROM raw_products;
CREATE VIEW branches AS SELECT id::int, name, address, place, province, number(latitude) AS latitude, number(longitude) AS longitude FROM raw_branches;
CREATE VIEW employees AS SELECT id::int, branch, first_name, last_name, sector, title, number(salary) AS salary FROM raw_employees;
CREATE FUNCTION expect(what text, r pipeline.merge_result, expected jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  got jsonb = to_jsonb(r) - ARRAY['merge_id', 'hot_updates', 'read_ms', 'write_ms', 'total_ms'];
  want jsonb = '{"success": true, "inserted": 0, "versioned": 0, "updated_type1": 0, "reopened": 0, "late": 0, "deleted": 0, "unchanged": 0,
                 "duplicate": 0, "rejected": 0, "closed": 0, "missing": 0}'::jsonb || expected;
BEGIN
  IF got <> want THEN RAISE EXCEPTION '%: % but expected %', what, got, want; END IF;
END $$;
\if :{?data}
\o /dev/null
\set load '\\copy raw_customers FROM ' :data '/retail/Clientes.csv (FORMAT csv, HEADER)'
:load
\set load '\\copy raw_products FROM ' :data '/retail/producto.csv (FORMAT csv, HEADER)'
:load
\set load '\\copy raw_branches FROM ' :data '/retail/Sucursales.csv (FORMAT csv, HEADER, DELIMITER E''\\x3b'')'
:load
\set load '\\copy raw_employees FROM ' :data '/retail/Empleado.csv (FORMAT csv, HEADER, DELIMITER E''\\x3b'')'
:load
SELECT pipeline.create_dimension('dim_customer', 'customers', '{id}', 'snapshot', type1 => '{age}', hard_deletes => 'invalidate', initial_valid_from => '2015-01-01');
SELECT pipeline.create_dimension('dim_product', 'products', '{id}', 'snapshot', hard_deletes => 'invalidate');
SELECT pipeline.create_dimension('dim_branch', 'branches', '{id}', 'snapshot', type1 => '{latitude,longitude}');
SELECT pipeline.create_dimension('dim_employee', 'employees', '{id,branch}', 'snapshot', hard_deletes => 'invalidate');
-- Employee numbers are unique only within a branch: as the key they are refused.
DO $$ BEGIN
  PERFORM pipeline.create_dimension('wrong', 'employees', '{id}', 'snapshot');
  PERFORM pipeline.merge_dimension('wrong');
  RAISE 'two employees were taken for one';
EXCEPTION WHEN cardinality_violation THEN NULL; END $$;
SELECT expect('customers', pipeline.merge_dimension('dim_customer', '2020-01-01'), '{"rows_read": 2672, "inserted": 2672}');
SELECT expect('products', pipeline.merge_dimension('dim_product', '2020-01-01'), '{"rows_read": 291, "inserted": 291}');
SELECT expect('branches', pipeline.merge_dimension('dim_branch', '2020-01-01'), '{"rows_read": 31, "inserted": 31}');
SELECT expect('employees', pipeline.merge_dimension('dim_employee', '2020-01-01'), '{"rows_read": 267, "inserted": 267}');
SELECT expect('customers again', pipeline.merge_dimension('dim_customer', '2020-01-02'), '{"rows_read": 2672, "unchanged": 2672}');
-- A second extract: people move and have birthdays, some go, some come; a row
-- twice, one without its number; a decimal written otherwise is no change.
UPDATE raw_customers SET address = 'Calle Nueva ' || id WHERE id::int <= 40;
UPDATE raw_customers SET age = coalesce(age::int, 0) + 1 WHERE id::int BETWEEN 31 AND 100;
UPDATE raw_customers SET x = x || '0' WHERE id::int BETWEEN 200 AND 300 AND x IS NOT NULL;
DELETE FROM raw_customers WHERE id::int BETWEEN 500 AND 549;
INSERT INTO raw_customers SELECT id::int + 100000, province, name, address, age, place, x, y, col10 FROM raw_customers WHERE id::int BETWEEN 600 AND 624;
INSERT INTO raw_customers SELECT * FROM raw_customers WHERE id = '700';
INSERT INTO raw_customers (name) VALUES ('nobody');
SELECT expect('customers, one without a number', pipeline.merge_dimension('dim_customer', '2020-02-01'),
  '{"success": false, "rows_read": 2649, "unchanged": 2648, "rejected": 1}');
DELETE FROM raw_customers WHERE id IS NULL;
SELECT expect('customers, second extract', pipeline.merge_dimension('dim_customer', '2020-02-01'),
  '{"rows_read": 2648, "inserted": 25, "versioned": 40, "updated_type1": 60, "unchanged": 2522, "duplicate": 1, "closed": 90, "missing": 50}');
-- Prices rise; a branch is renamed and moved; employees change branch: the
-- old pair of the key goes, the new one comes.
UPDATE raw_products SET price = (number(price) * 1.1)::text WHERE type_id = '8';
UPDATE raw_branches SET latitude = '-34,5' WHERE id IN ('1', '2');
UPDATE raw_branches SET province = 'CABA' WHERE id = '2' OR id = '3';
UPDATE raw_employees SET branch = 'Nueva' WHERE branch = 'Caseros' AND title = 'Administrativo';
SELECT expect('products', pipeline.merge_dimension('dim_product', '2020-02-01'),
  jsonb_build_object('rows_read', 291, 'versioned', n, 'unchanged', 291 - n, 'closed', n)) FROM (SELECT count(*) AS n FROM raw_products WHERE type_id = '8') c;
SELECT expect('branches', pipeline.merge_dimension('dim_branch', '2020-02-01'), '{"rows_read": 31, "versioned": 1, "updated_type1": 2, "unchanged": 28, "closed": 1}');
SELECT expect('employees', pipeline.merge_dimension('dim_employee', '2020-02-01', max_delete_fraction => 0.2),
  jsonb_build_object('rows_read', 267, 'inserted', n, 'unchanged', 267 - n, 'closed', n, 'missing', n)) FROM (SELECT count(*) AS n FROM raw_employees WHERE branch = 'Nueva') c;
DO $$ BEGIN
  IF (SELECT count(*) FROM scd_retail.dim_customer WHERE is_current AND surrogate_key <> -1) <> 2647
     OR (SELECT count(*) FROM scd_retail.dim_customer WHERE valid_from = '2015-01-01') <> 2672
     OR (SELECT string_agg(row->>'name', ',') FROM pipeline.rejects WHERE dimension = 'scd_retail.dim_customer'::regclass) <> 'nobody'
     OR NOT EXISTS (SELECT FROM scd_retail.dim_employee WHERE sector = 'Administración')
     OR (SELECT count(*) FROM scd_retail.dim_customer WHERE name IS NULL AND surrogate_key <> -1) <> 24 THEN
    RAISE 'the dimensions are not as expected';
  END IF;
END $$;
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE dimension::text LIKE 'dim_%' AND search_path = 'scd_retail';
\o
\endif
DROP SCHEMA scd_retail CASCADE;
SELECT 'ok' AS result;
