-- When a table is read or written past the executor: one table per condition.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA base_direct;
GRANT USAGE, CREATE ON SCHEMA base_direct TO pipeline_alice, pipeline_bob;
SET search_path = base_direct;
GRANT EXECUTE ON FUNCTION pipeline._direct_obstacles(regclass, text[]) TO pipeline_alice, pipeline_bob;
CREATE TABLE plain (id int, v text, w text);
SELECT * FROM pipeline._direct_obstacles('plain', '{id,v}');

-- Kinds of relations.
CREATE VIEW a_view AS TABLE plain;
CREATE MATERIALIZED VIEW a_matview AS TABLE plain;
CREATE MATERIALIZED VIEW b_unpopulated AS TABLE plain WITH NO DATA;
CREATE TABLE c_partitioned (id int, v text) PARTITION BY LIST (id);
CREATE TABLE d_partition PARTITION OF c_partitioned DEFAULT;
CREATE TABLE e_parent (id int, v text);
CREATE TABLE f_child () INHERITS (e_parent);
-- It is the routines that count, not the name of the access method.
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE g_heap_too (id int, v text) USING heap_too;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nothing FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE h_foreign (id int, v text) SERVER nothing;
CREATE TEMP TABLE i_temporary (id int, v text);
CREATE UNLOGGED TABLE j_unlogged (id int, v text);
SELECT c.relname, o.* FROM pg_class c, pipeline._direct_obstacles(c.oid, '{id,v}') o
WHERE c.relnamespace IN ('base_direct'::regnamespace, pg_my_temp_schema()) AND c.relkind IN ('r', 'v', 'm', 'p', 'f') ORDER BY 1;
-- Children that are gone are no obstacle.
DROP TABLE f_child;
SELECT * FROM pipeline._direct_obstacles('e_parent', '{id}');

-- What fires: triggers, rules, foreign keys on either side, deferrable constraints.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE k_row_trigger (id int, v text);
CREATE TRIGGER t BEFORE UPDATE ON k_row_trigger FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE l_statement_trigger (id int, v text);
CREATE TRIGGER t AFTER INSERT ON l_statement_trigger EXECUTE FUNCTION nothing();
CREATE TABLE m_disabled_trigger (id int, v text);
CREATE TRIGGER t AFTER INSERT ON m_disabled_trigger EXECUTE FUNCTION nothing();
ALTER TABLE m_disabled_trigger DISABLE TRIGGER t;
CREATE TABLE n_delete_trigger (id int, v text);
CREATE TRIGGER t AFTER DELETE ON n_delete_trigger FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE o_rule (id int, v text);
CREATE RULE r AS ON INSERT TO o_rule DO ALSO NOTIFY x;
CREATE TABLE p_referenced (id int PRIMARY KEY, v text UNIQUE);
CREATE TABLE q_referring (id int, v text REFERENCES p_referenced (v));
CREATE TABLE r_deferrable (id int UNIQUE DEFERRABLE, v text);
CREATE TABLE s_exclusion (id int, v text, EXCLUDE USING btree (id WITH =));
SELECT c.relname, o.* FROM pg_class c, pipeline._direct_obstacles(c.oid, '{id,v}') o
WHERE c.relnamespace = 'base_direct'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^[k-s]_' ORDER BY 1;
-- A key that is referred to is no obstacle where it is not written.
SELECT * FROM pipeline._direct_obstacles('p_referenced', '{id}');
SELECT * FROM pipeline._direct_obstacles('pg_class', '{relname}');

-- Rights, by table and by column; row security.
CREATE TABLE rights (id int, v text, w text);
SET ROLE pipeline_bob;
SELECT * FROM pipeline._direct_obstacles('rights', '{id,v}');
RESET ROLE;
GRANT SELECT (id, v) ON rights TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT * FROM pipeline._direct_obstacles('rights', '{id,v}');
SELECT * FROM pipeline._direct_obstacles('rights', '{id,w}');
RESET ROLE;
GRANT INSERT ON rights TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT * FROM pipeline._direct_obstacles('rights', '{id,v}');
RESET ROLE;
GRANT UPDATE (v) ON rights TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT * FROM pipeline._direct_obstacles('rights', '{v}');
RESET ROLE;
ALTER TABLE rights ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON rights USING (id = 1);
SELECT * FROM pipeline._direct_obstacles('rights', '{v}');
SET ROLE pipeline_bob;
SELECT * FROM pipeline._direct_obstacles('rights', '{v}');
RESET ROLE;

-- A publication that needs an identity raises as the executor does.
CREATE PUBLICATION base_direct FOR TABLE plain;
SELECT * FROM pipeline._direct_obstacles('plain', '{v}');
ALTER TABLE plain REPLICA IDENTITY FULL;
SELECT * FROM pipeline._direct_obstacles('plain', '{v}');
DROP PUBLICATION base_direct;

-- A table whose rows Citus keeps elsewhere: it lists them in this catalogue.
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
INSERT INTO pg_catalog.pg_dist_partition VALUES ('plain');
SELECT * FROM pipeline._direct_obstacles('plain', '{v}');
SELECT * FROM pipeline._direct_obstacles('rights', '{v}');
DROP TABLE pg_catalog.pg_dist_partition;
RESET allow_system_table_mods;
SELECT * FROM pipeline._direct_obstacles('plain', '{nothing}');

REVOKE EXECUTE ON FUNCTION pipeline._direct_obstacles(regclass, text[]) FROM pipeline_alice, pipeline_bob;
DROP SCHEMA base_direct CASCADE;
DROP FOREIGN DATA WRAPPER nothing CASCADE;
DROP ACCESS METHOD heap_too;
