-- create_dimension() and drop_dimension(): the table that is made, the one
-- that is adopted, rights.
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_create;
SET search_path = scd_create;

-- A table is made in the source's types and collations.
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE customers (id int, region varchar(10), name text COLLATE "C", balance numeric(10,2),
                        mood mood, mail email, tags text[]);
INSERT INTO customers VALUES (1, 'north', 'Ann', 1.50, 'ok', 'a@b', '{x,y}');
SELECT pipeline.create_dimension('dim_customer', 'customers', '{id,region}', 'snapshot', type1 => '{mail}',
                                 labels => '{"team": "crm"}', description => 'people');
\d dim_customer
SELECT reloptions FROM pg_class WHERE oid = 'dim_customer'::regclass;
TABLE dim_customer;
SELECT dimension, owner, search_path, source, business_key, feed, type2, type1, hard_deletes, unknown_member,
       initial_valid_from, on_new_column, open_end, names, max_delete_fraction, max_rejected_fraction, exact,
       labels, description
FROM pipeline.dimensions WHERE dimension = 'dim_customer'::regclass;
SELECT success, rows_read, inserted FROM pipeline.merge_dimension('dim_customer');
SELECT surrogate_key, id, region, name, balance, mood, mail, tags, valid_to, is_current FROM dim_customer ORDER BY 1;

-- Again: a duplicate, unless it replaces the definition. The table stays.
SELECT pipeline.create_dimension('dim_customer', 'customers', '{id,region}', 'snapshot');
SELECT pipeline.create_dimension('dim_customer', 'TABLE customers', '{id,region}', 'delta', or_replace => true);
SELECT source, feed, type2, type1 FROM pipeline.dimensions WHERE dimension = 'dim_customer'::regclass;
SELECT success, rows_read, unchanged FROM pipeline.merge_dimension('dim_customer');
SELECT pipeline.create_dimension('dim_customer', 'customers', '{id,region}', 'delta', open_end => NULL, or_replace => true);
SELECT action, kind, name, before IS NULL AS new, note FROM pipeline.changes
WHERE kind = 'dimension' AND name LIKE 'scd_create.%' ORDER BY change_id;

-- Forget it; the table stays, and can be adopted with its history.
SELECT pipeline.drop_dimension('dim_customer');
SELECT pipeline.merge_dimension('dim_customer');
SELECT pipeline.create_dimension('dim_customer', 'customers', '{id,region}', 'snapshot', type1 => '{mail}');
UPDATE customers SET name = 'Anna';
SELECT success, rows_read, versioned, closed FROM pipeline.merge_dimension('dim_customer');
SELECT count(*) FROM pipeline.merges WHERE dimension = 'dim_customer'::regclass;
SELECT pipeline.drop_dimension('dim_customer', drop_table => true);
SELECT to_regclass('dim_customer');
SELECT count(*) FROM pipeline.dimensions WHERE search_path = 'scd_create';

-- Names of a house style, no unknown member, an open end of NULL.
SELECT pipeline.create_dimension('"Dim ""Kunde"""', 'SELECT id AS "Kunden Nr", name AS "Straße" FROM customers', '{Kunden Nr}',
  'delta', unknown_member => false, open_end => NULL,
  names => '{"surrogate_key": "Schlüssel", "valid_from": "gültig ab", "valid_to": "bis", "is_current": "aktuell", "close_reason": "Grund", "merge_id": "Lauf"}');
\d "Dim ""Kunde"""
SELECT (m).success, (m).inserted FROM pipeline.merge_dimension('"Dim ""Kunde"""', '2024-01-01') m;
UPDATE customers SET name = 'Bea';
SELECT (m).success, (m).versioned FROM pipeline.merge_dimension('"Dim ""Kunde"""', '2024-02-01') m;
SELECT "Schlüssel", "Kunden Nr", "Straße", "gültig ab", bis, aktuell, "Grund" FROM "Dim ""Kunde""" ORDER BY 1;
SELECT open_end FROM pipeline.dimensions WHERE dimension = '"Dim ""Kunde"""'::regclass;

-- A source can be a view, a query, a VALUES list; a comment at its end is its own.
CREATE VIEW v AS SELECT id, name FROM customers;
SELECT pipeline.create_dimension('from_view', 'v', '{id}', 'snapshot');
SELECT pipeline.create_dimension('from_values', 'VALUES (1, ''a''), (2, ''b'') -- two', '{column1}', 'snapshot');
SELECT success, inserted FROM pipeline.merge_dimension('from_view');
SELECT success, inserted FROM pipeline.merge_dimension('from_values');

-- A table without attributes, and one whose column is called like the alias.
SELECT pipeline.create_dimension('keys_only', 'SELECT id FROM customers', '{id}', 'snapshot', hard_deletes => 'invalidate');
SELECT success, inserted FROM pipeline.merge_dimension('keys_only');
SELECT pipeline.create_dimension('alias', 'SELECT 1 AS x, 2 AS xx, 3 AS r, NULL::int AS t', '{x}', 'snapshot', max_rejected_fraction => 1);
SELECT success, inserted FROM pipeline.merge_dimension('alias');
SELECT success, unchanged FROM pipeline.merge_dimension('alias');

-- Adopting: the history must be one that a merge could have written.
CREATE TABLE old (k serial PRIMARY KEY, id int, name text, dbt_valid_from timestamptz, dbt_valid_to timestamptz);
CREATE FUNCTION adopt() RETURNS regclass LANGUAGE sql AS $$
  SELECT pipeline.create_dimension('scd_create.old', 'SELECT id, name FROM scd_create.customers', '{id}', 'snapshot', open_end => NULL,
    names => '{"surrogate_key": "k", "valid_from": "dbt_valid_from", "valid_to": "dbt_valid_to"}') $$;
SELECT adopt();
ALTER TABLE old ADD is_current boolean GENERATED ALWAYS AS (dbt_valid_to IS NULL) STORED;
SELECT adopt();
ALTER TABLE old DROP is_current, ADD is_current boolean, ADD close_reason text, ADD merge_id text;
SELECT adopt();
ALTER TABLE old ALTER merge_id TYPE bigint USING NULL;
INSERT INTO old VALUES (DEFAULT, NULL, 'x', '2020-01-01', NULL, true);
SELECT adopt();
UPDATE old SET id = 1, dbt_valid_to = '2019-01-01', is_current = false;
SELECT adopt();
UPDATE old SET dbt_valid_to = '2021-01-01', is_current = true;
SELECT adopt();
UPDATE old SET is_current = false;
INSERT INTO old VALUES (DEFAULT, 1, 'y', '2020-06-01', NULL, true);
SELECT adopt();
UPDATE old SET dbt_valid_from = '2021-01-01' WHERE name = 'y';
ALTER TABLE old ADD note text;
SELECT adopt();
ALTER TABLE old ALTER note SET DEFAULT '-';
ALTER TABLE old ALTER k DROP DEFAULT;
SELECT adopt();
ALTER TABLE old ALTER k SET DEFAULT nextval('old_k_seq');
ALTER TABLE old ALTER id TYPE bigint;
SELECT adopt();
ALTER TABLE old ALTER id TYPE int, DROP name;
SELECT adopt();
ALTER TABLE old ADD name text;
UPDATE old SET name = 'y';
SELECT adopt();
SELECT success, versioned, closed FROM pipeline.merge_dimension('old', '2024-01-01');
SELECT k, id, name, dbt_valid_from, dbt_valid_to, is_current, close_reason, note FROM old ORDER BY k;

-- NOT NULL columns leave no room for an unknown member.
CREATE TABLE strict (surrogate_key int GENERATED BY DEFAULT AS IDENTITY, id int NOT NULL, valid_from timestamptz,
                     valid_to timestamptz, is_current boolean, close_reason text, merge_id bigint);
SELECT pipeline.create_dimension('strict', 'SELECT 1 AS id', '{id}', 'snapshot');
INSERT INTO strict VALUES (-1, 0, '-infinity', 'infinity', true);
SELECT pipeline.create_dimension('strict', 'SELECT 1 AS id', '{id}', 'snapshot');
SELECT success, inserted, missing FROM pipeline.merge_dimension('strict');

-- Rights. The caller must own the table that is adopted, and be able to make
-- one that is missing; a definition is its owner's.
CREATE SCHEMA scd_create_alice AUTHORIZATION pipeline_alice;
GRANT USAGE ON SCHEMA scd_create TO pipeline_alice;
SET ROLE pipeline_alice;
SET search_path = scd_create_alice, scd_create;
SELECT pipeline.create_dimension('scd_create.nothing', 'SELECT 1 AS id', '{id}', 'snapshot');
SELECT pipeline.create_dimension('scd_create.strict', 'SELECT 1 AS id', '{id}', 'snapshot');
SELECT pipeline.create_dimension('scd_create_alice.d', 'SELECT id FROM scd_create.customers', '{id}', 'snapshot');
SELECT to_regclass('scd_create_alice.d');
CREATE TABLE people AS SELECT 1 AS id, 'a' AS name;
SELECT pipeline.create_dimension('scd_create_alice.d', 'people', '{id}', 'snapshot');
SELECT pipeline.create_dimension('d', 'people', '{id}', 'snapshot');
SELECT dimension, owner, search_path, source FROM pipeline.dimensions WHERE search_path LIKE '%scd_create%' ORDER BY 1;
RESET ROLE;
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.dimensions WHERE search_path LIKE '%scd_create%';
SELECT pipeline.merge_dimension('scd_create_alice.d');
SELECT pipeline.drop_dimension('scd_create_alice.d');
RESET ROLE;
GRANT USAGE ON SCHEMA scd_create_alice TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT pipeline.merge_dimension('scd_create_alice.d');
SELECT pipeline.drop_dimension('scd_create_alice.d');
SELECT pipeline.create_dimension('scd_create_alice.d', 'SELECT 1 AS id', '{id}', 'snapshot', or_replace => true);
RESET ROLE;
-- The source is read, and the table written, as the owner with its search_path.
SET search_path = pg_catalog;
SELECT success, inserted FROM pipeline.merge_dimension('scd_create_alice.d');
SELECT owner, success, inserted FROM pipeline.merges WHERE dimension = 'scd_create_alice.d'::regclass;
SELECT success, versioned FROM pipeline.merge_dimension('scd_create_alice.d', source => 'SELECT 1 AS id, current_user::text AS name');
SELECT id, name, is_current FROM scd_create_alice.d WHERE id = 1 ORDER BY surrogate_key;
SELECT pipeline.drop_dimension('scd_create_alice.d', drop_table => true);
DROP TABLE scd_create_alice.people;

-- A table dropped by hand leaves a definition that can be dropped.
SET search_path = scd_create;
SELECT 'strict'::regclass::oid AS relid \gset
DROP TABLE strict;
\set VERBOSITY sqlstate
SELECT pipeline.merge_dimension(:relid::regclass);
\set VERBOSITY default
SELECT replace(pipeline.drop_dimension(:relid::regclass)::text, :'relid', 'OID') AS dropped;
SELECT count(*) FROM pipeline.dimensions WHERE dimension = :relid;
-- Something depends on the table.
CREATE VIEW w AS TABLE keys_only;
SELECT pipeline.drop_dimension('keys_only', drop_table => true);
SELECT count(*) FROM pipeline.dimensions WHERE dimension = 'keys_only'::regclass;

-- The operators of the owner's search_path have no say in what is checked.
CREATE FUNCTION never(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = text, FUNCTION = never);
CREATE TABLE indexed (surrogate_key bigint GENERATED ALWAYS AS IDENTITY, id int, valid_from timestamptz, valid_to timestamptz,
                      is_current boolean, close_reason text, merge_id bigint, UNIQUE (id, valid_from));
SET search_path = scd_create, pg_catalog;
SELECT pipeline.create_dimension('indexed', 'SELECT 1 AS id', '{id}', 'delta');
SET search_path = scd_create;

-- Clean up.
SELECT count(pipeline.drop_dimension(dimension)) FROM pipeline.dimensions WHERE search_path = 'scd_create' OR source LIKE '%scd_create.%';
SET client_min_messages = warning;
DROP SCHEMA scd_create, scd_create_alice CASCADE;
