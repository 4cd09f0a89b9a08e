-- Every refusal: SQLSTATE, message, DETAIL and HINT.
\set VERBOSITY verbose
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_errors;
SET search_path = scd_errors;
-- Messages without the place in the C source.
CREATE FUNCTION try(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; msg text; det text; hin text;
BEGIN
  EXECUTE sql;
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, msg = MESSAGE_TEXT, det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT;
  RETURN concat_ws(E'\n  ', state || ': ' || msg, nullif(det, ''), nullif(hin, ''));
END $$;
\pset format unaligned
\pset tuples_only on
CREATE TABLE src AS SELECT g AS id, 'n' || g AS name, 'p' || g AS phone FROM generate_series(1, 3) g;
CREATE VIEW src_view AS TABLE src;
SELECT try(format('SELECT pipeline.create_dimension(%s)', args)) FROM (VALUES
  -- names, sources, columns
  (1, $$NULL, 'src', '{id}', 'snapshot'$$),
  (2, $$'d', NULL, '{id}', 'snapshot'$$),
  (3, $$'d', 'src', NULL, 'snapshot'$$),
  (4, $$'d', 'src', '{id}', NULL$$),
  (5, $$'', 'src', '{id}', 'snapshot'$$),
  (6, $$'no_schema.d', 'src', '{id}', 'snapshot'$$),
  (7, $$'pg_temp.d', 'src', '{id}', 'snapshot'$$),
  (8, $$'d', 'nothing', '{id}', 'snapshot'$$),
  (9, $$'d', 'SELECT 1; SELECT 2', '{id}', 'snapshot'$$),
  (10, $$'d', 'INSERT INTO src VALUES (1) RETURNING id', '{id}', 'snapshot'$$),
  (11, $$'d', 'WITH w AS (DELETE FROM src RETURNING id) SELECT * FROM w', '{id}', 'snapshot'$$),
  (12, $$'d', 'SELECT * FROM src FOR UPDATE', '{id}', 'snapshot'$$),
  (13, $$'d', 'SELEC id', '{id}', 'snapshot'$$),
  (14, $$'d', '', '{id}', 'snapshot'$$),
  (15, $$'d', 'src', '{}', 'snapshot'$$),
  (16, $$'d', 'src', '{id,id}', 'snapshot'$$),
  (17, $$'d', 'src', '{id,NULL}', 'snapshot'$$),
  (18, $$'d', 'src', '{ID}', 'snapshot', type1 => '{tel}'$$),
  (19, $$'d', 'src', '{id}', 'snapshot', type1 => '{name}', type2 => '{name,phone}'$$),
  (20, $$'d', 'src', '{id}', 'snapshot', type1 => '{id}'$$),
  (21, $$'d', 'src', '{id}', 'snapshot', type2 => '{id}'$$),
  (22, $$'d', 'src', '{id}', 'snapshot', type2 => '{name}'$$),
  (23, $$'d', 'SELECT 1 AS id, 2 AS a, 3 AS a', '{id}', 'snapshot'$$),
  (24, $$'d', 'SELECT 1 AS id, now() AS valid_from', '{id}', 'snapshot'$$),
  (25, $$'d', 'SELECT ''{}''::json AS id', '{id}', 'snapshot'$$),
  (26, $$'d', 'SELECT 1 AS id, ROW(1, 2) AS r', '{id}', 'snapshot'$$),
  (27, $$'src_view', 'src', '{id}', 'snapshot'$$),
  (28, $$'src', 'src', '{id}', 'snapshot'$$),
  -- choices
  (30, $$'d', 'src', '{id}', 'full'$$),
  (31, $$'d', 'src', '{id}', 'cdc'$$),
  (32, $$'d', 'src', '{id}', 'scoped_snapshot'$$),
  (34, $$'d', 'src', '{id}', 'snapshot', hard_deletes => 'delete'$$),
  (35, $$'d', 'src', '{id}', 'delta', hard_deletes => 'invalidate'$$),
  (37, $$'d', 'src', '{id}', 'snapshot', on_tie => 'last'$$),
  (39, $$'d', 'src', '{id}', 'snapshot', on_new_column => 'x'$$),
  (44, $$'d', 'src', '{id}', 'snapshot', operation => 'name'$$),
  (46, $$'d', 'src', '{id}', 'snapshot', scope => '{name}'$$),
  (49, $$'d', 'src', '{id}', 'snapshot', names => '{"valid_form": "x"}'$$),
  (51, $$'d', 'src', '{id}', 'snapshot', names => '{"valid_from": 1}'$$),
  (52, $$'d', 'src', '{id}', 'snapshot', names => '{"valid_from": ""}'$$),
  (53, $$'d', 'src', '{id}', 'snapshot', names => '{"valid_from": "valid_to"}'$$),
  (54, $$'d', 'src', '{id}', 'snapshot', type2 => '{phone,name}', names => '{"valid_from": "name"}'$$),
  (55, $$'d', 'src', '{id}', 'snapshot', names => '[]'$$),
  (56, $$'d', 'src', '{id}', 'snapshot', names => NULL$$),
  (57, $$'d', 'src', '{id}', 'snapshot', open_end => 'never'$$),
  (58, $$'d', 'src', '{id}', 'snapshot', open_end => '-infinity'$$),
  (59, $$'d', 'src', '{id}', 'snapshot', max_delete_fraction => 2$$),
  (60, $$'d', 'src', '{id}', 'snapshot', max_delete_fraction => 'NaN'$$),
  (61, $$'d', 'src', '{id}', 'snapshot', max_rejected_fraction => -1$$),
  (62, $$'d', 'src', '{id}', 'snapshot', max_rejected_fraction => NULL$$),
  (63, $$'d', 'src', '{id}', 'snapshot', unknown_member => NULL$$),
  (64, $$'d', 'src', '{id}', 'snapshot', exact => NULL$$),
  (65, $$'d', 'src', '{id}', 'snapshot', labels => '[]'$$),
  (66, $$'d', 'src', '{id}', 'snapshot', labels => NULL$$),
  (67, $$'d', 'src', '{id}', 'snapshot', or_replace => NULL$$)
  ) a(n, args) ORDER BY n;
-- Nothing of it is left.
SELECT count(*) FROM pg_class WHERE relnamespace = 'scd_errors'::regnamespace AND relkind = 'r' AND relname <> 'src';
SELECT count(*) FROM pipeline.dimensions WHERE source LIKE '%scd_errors%' OR search_path = 'scd_errors';

-- Merging: unknown, not a dimension, not a table.
SELECT try($$SELECT pipeline.merge_dimension('nothing')$$);
SELECT try($$SELECT pipeline.merge_dimension('src')$$);
SELECT try($$SELECT pipeline.merge_dimension(NULL)$$);
SELECT try($$SELECT pipeline.drop_dimension('src')$$);
SELECT try($$SELECT pipeline.drop_dimension(NULL)$$);
SELECT try($$SELECT pipeline.drop_dimension('src', NULL)$$);
SELECT try($$SELECT pipeline.merge_scd2('src_view', 'src', '{id}', 'snapshot')$$);
SELECT try($$SELECT pipeline.merge_scd2('src', 'src', '{id}', 'snapshot')$$);
SELECT try($$SELECT pipeline.merge_scd2(NULL, 'src', '{id}', 'snapshot')$$);
SELECT try($$SELECT pipeline.merge_scd2('src', 'src', '{id}', 'cdc')$$);

-- The arguments of a merge.
SELECT pipeline.create_dimension('d', 'src', '{id}', 'snapshot', type1 => '{phone}', hard_deletes => 'invalidate',
                                 open_end => '2100-01-01', initial_valid_from => '2000-01-01');
SELECT try($$SELECT pipeline.merge_dimension('d', on_replay => 'again')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', on_replay => NULL)$$);
SELECT try($$SELECT pipeline.merge_dimension('d', max_delete_fraction => 1.5)$$);
SELECT try($$SELECT pipeline.merge_dimension('d', batch_id => '')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', effective => 'infinity')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '2100-01-01')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '1999-01-01')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT 1 AS id')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'DELETE FROM src')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT id, name, 1 AS phone FROM src')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT *, 1 AS age, 2 AS "Größe" FROM src')$$);

-- Stored history: each kind of change must come after it.
SELECT (pipeline.merge_dimension('d', effective => '2024-01-01')).inserted;
UPDATE src SET name = 'N' WHERE id = 1;
SELECT (pipeline.merge_dimension('d', effective => '2024-02-01')).versioned;
UPDATE src SET name = 'M' WHERE id = 1;
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '2024-02-01')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '2024-01-15')$$);
UPDATE src SET name = 'N' WHERE id = 1;
UPDATE src SET phone = 'new' WHERE id = 2;
SELECT (pipeline.merge_dimension('d', effective => '2024-03-01')).updated_type1;
UPDATE src SET phone = 'newer' WHERE id = 2;
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '2024-03-01')$$);
UPDATE src SET phone = 'new' WHERE id = 2;
DELETE FROM src WHERE id = 1;
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '2024-02-01')$$);
SELECT (pipeline.merge_dimension('d', effective => '2024-04-01')).closed;
INSERT INTO src VALUES (1, 'back', 'p1');
SELECT try($$SELECT pipeline.merge_dimension('d', effective => '2024-04-01')$$);
SELECT (pipeline.merge_dimension('d', effective => '2024-05-01')).reopened;

-- Two different rows for one key: of a changed key, of a new one, of an
-- unchanged one, in type 1 only.
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'TABLE src UNION ALL SELECT 2, ''a'', ''new'' UNION ALL SELECT 2, ''b'', ''new''')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'TABLE src UNION ALL SELECT 7, ''a'', ''p'' UNION ALL SELECT 7, ''a'', ''q''')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'TABLE src UNION ALL SELECT 3, ''n3'', ''other''')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT id, name, ''q'' AS phone FROM src UNION ALL SELECT 3, ''n3'', ''r''')$$);

-- Somebody else broke the table: two current versions, a trigger that skips.
INSERT INTO d (id, name, phone, valid_from, valid_to, is_current) VALUES (3, 'n3', 'p3', '2024-06-01', '2100-01-01', true);
SELECT try($$SELECT pipeline.merge_dimension('d')$$);
DELETE FROM d WHERE valid_from = '2024-06-01';
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER skip BEFORE INSERT ON d FOR EACH ROW EXECUTE FUNCTION skip();
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'TABLE src UNION ALL SELECT 9, ''i'', ''p''')$$);
DROP TRIGGER skip ON d;

-- Too many keys missing: only from ten keys on, and the argument overrides.
INSERT INTO src SELECT g, 'n', 'p' FROM generate_series(11, 20) g;
SELECT (pipeline.merge_dimension('d', '2025-01-01')).inserted;
DELETE FROM src WHERE id IN (11, 12);
SELECT try($$SELECT pipeline.merge_dimension('d', '2025-02-01')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', '2025-02-01', source => 'SELECT * FROM src WHERE false')$$);
SELECT count(*) FROM d WHERE is_current;
SELECT (pipeline.merge_dimension('d', '2025-02-01', max_delete_fraction => 0.2)).closed;

-- Batches.
SELECT (pipeline.merge_dimension('d', '2025-03-01', batch_id => 'march')).unchanged;
SELECT try($$SELECT pipeline.merge_dimension('d', batch_id => 'march', on_replay => 'error')$$) ~ '^42710: batch "march" was merged into dimension scd_errors.d before\n  It was merge \d+.\n  Use on_replay';
UPDATE src SET name = 'other' WHERE id = 2;
SELECT try($$SELECT pipeline.merge_dimension('d', batch_id => 'march')$$) ~ '^42710: batch "march" was merged into dimension scd_errors.d before, with other content\n  It was merge \d+, with 11 rows; now it has 11 rows.\n  Give';

-- The table changed since: a column dropped, retyped, added; row security.
ALTER TABLE d ADD extra text;
SELECT try($$SELECT pipeline.merge_dimension('d')$$);
ALTER TABLE d DROP extra;
ALTER TABLE d RENAME phone TO tel;
SELECT try($$SELECT pipeline.merge_dimension('d')$$);
ALTER TABLE d RENAME tel TO phone;
ALTER TABLE d ALTER phone TYPE varchar(4);
SELECT try($$SELECT pipeline.merge_dimension('d')$$);
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT id, name, phone::varchar FROM src UNION ALL SELECT 50, ''x'', ''too long''')$$);
SELECT (pipeline.merge_dimension('d', '2025-04-01', source => 'SELECT id, name, phone::varchar FROM src')).versioned;
ALTER TABLE d DROP COLUMN merge_id;
SELECT try($$SELECT pipeline.merge_dimension('d')$$);
SELECT pipeline.drop_dimension('d', true);

-- A rule that writes nothing is noticed; what cannot be merged is not made.
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id, 2 AS a', '{id}', 'delta')$$);
SELECT (pipeline.merge_dimension('d')).inserted;
CREATE RULE d_keep AS ON UPDATE TO d DO INSTEAD NOTHING;
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT 1 AS id, 3 AS a')$$);
SELECT pipeline.drop_dimension('d', true);
SELECT try(format($$SELECT pipeline.create_dimension('d', 'SELECT %s', '{c1}', 'delta')$$, string_agg(i || ' AS c' || i, ',')))
FROM generate_series(1, 1700) i;
SELECT to_regclass('d');
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id', '{id}', 'delta', labels => '{"a b": "c"}')$$);

-- A generated column takes no value; a table that is gone is said to be gone.
CREATE TABLE d (surrogate_key int GENERATED ALWAYS AS IDENTITY, id int, a text GENERATED ALWAYS AS ('x') STORED, valid_from timestamptz,
                valid_to timestamptz, is_current boolean, close_reason text, merge_id bigint);
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id, ''y'' AS a', '{id}', 'delta')$$);
DROP TABLE d;
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id', '{id}', 'delta')$$);
SELECT 'd'::regclass::oid AS gone \gset
DROP TABLE d;
SELECT try('SELECT pipeline.merge_dimension(' || :gone || ')') ~ '^42P01: the table of dimension \d+ does not exist\n  It was dropped; use drop_dimension';
SELECT pipeline.drop_dimension(:gone);
SELECT try('SELECT pipeline.merge_dimension(' || :gone || ')') ~ '^42704: relation with OID \d+ is not a registered dimension';

-- A domain that takes no NULL leaves no room for the unknown member.
CREATE DOMAIN filled AS text NOT NULL;
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id, ''x''::scd_errors.filled AS a', '{id}', 'delta')$$);
SELECT to_regclass('d');
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id, ''x''::scd_errors.filled AS a', '{id}', 'delta', unknown_member => false)$$);
SELECT (pipeline.merge_dimension('d')).inserted;
SELECT pipeline.drop_dimension('d', true);

-- Whoever only administers may merge, but not another source: it would be read
-- with the rights of the owner.
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 1 AS id', '{id}', 'delta')$$);
CREATE ROLE scd_errors_admin;
GRANT USAGE ON SCHEMA pipeline, scd_errors TO scd_errors_admin;
ALTER SYSTEM SET pipeline.admin_role = 'scd_errors_admin';
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SET ROLE scd_errors_admin;
SELECT (pipeline.merge_dimension('d')).inserted;
SELECT try($$SELECT pipeline.merge_dimension('d', source => 'SELECT 2 AS id')$$);
SELECT try($$SELECT pipeline.create_dimension('d', 'SELECT 2 AS id', '{id}', 'delta', or_replace => true)$$);
RESET ROLE;
ALTER SYSTEM RESET pipeline.admin_role;
SELECT pg_reload_conf();
REVOKE USAGE ON SCHEMA pipeline, scd_errors FROM scd_errors_admin;
DROP ROLE scd_errors_admin;
SELECT pipeline.drop_dimension('d', true);

-- A one-shot merge needs the rights itself, and sees every row or none.
CREATE SCHEMA scd_errors_alice AUTHORIZATION pipeline_alice;
SET ROLE pipeline_alice;
CREATE TABLE scd_errors_alice.t (surrogate_key int GENERATED ALWAYS AS IDENTITY, id int, valid_from timestamptz,
                valid_to timestamptz, is_current boolean, close_reason text, merge_id bigint);
GRANT SELECT, INSERT ON scd_errors_alice.t TO pipeline_bob;
GRANT USAGE ON SCHEMA scd_errors_alice TO pipeline_bob;
SET ROLE pipeline_bob;
SET search_path = pg_catalog;
\set try 'SELECT pipeline.merge_scd2(''scd_errors_alice.t'', ''SELECT 1 AS id'', ''{id}'', ''snapshot'')'
\set VERBOSITY default
:try;
SET ROLE pipeline_alice;
GRANT UPDATE ON scd_errors_alice.t TO pipeline_bob;
ALTER TABLE scd_errors_alice.t ENABLE ROW LEVEL SECURITY;
SET ROLE pipeline_bob;
:try;
RESET ROLE;
SELECT count(*) FROM scd_errors_alice.t;
DROP TABLE scd_errors_alice.t;
SET client_min_messages = warning;
DROP SCHEMA scd_errors, scd_errors_alice CASCADE;
