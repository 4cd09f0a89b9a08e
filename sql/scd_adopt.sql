-- Tables of other tools and houses, adopted as they stand.
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_adopt;
SET search_path = scd_adopt;
CREATE FUNCTION counts(r pipeline.merge_result) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', CASE WHEN (r).success THEN 'ok' ELSE 'FAILED' END, 'read', (r).rows_read) || coalesce(': ' ||
    (SELECT string_agg(key || ' ' || value, ', ' ORDER BY n) FROM json_each_text(row_to_json(r)) WITH ORDINALITY j(key, value, n)
     WHERE key NOT IN ('success', 'merge_id', 'rows_read', 'hot_updates', 'read_ms', 'write_ms', 'total_ms') AND value <> '0'), '') $$;

-- A dbt snapshot: timestamps without a zone, no surrogate key, no is_current;
-- its identifiers go on.
CREATE TABLE source (id int, name text);
CREATE TABLE snapshot AS
SELECT 1 AS id, 'old'::text AS name, md5('1|2024-01-01 00:00:00') AS dbt_scd_id, timestamp '2024-01-01' AS dbt_updated_at,
       timestamp '2024-01-01' AS dbt_valid_from, timestamp '2024-01-15' AS dbt_valid_to
UNION ALL SELECT 1, 'now', md5('1|2024-01-15 00:00:00'), '2024-01-15', '2024-01-15', NULL
UNION ALL SELECT 2, 'gone', md5('2|2024-01-01 00:00:00'), '2024-01-01', '2024-01-01', NULL;
SELECT pipeline.create_dimension('snapshot', 'source', '{id}', 'snapshot', hard_deletes => 'invalidate', open_end => NULL, unknown_member => false,
  names => '{"surrogate_key": null, "is_current": null, "close_reason": null, "merge_id": null, "valid_from": "dbt_valid_from", "valid_to": "dbt_valid_to", "scd_id": "dbt_scd_id", "updated_at": "dbt_updated_at"}');
INSERT INTO source VALUES (1, 'next'), (3, 'new');
SELECT counts(pipeline.merge_dimension('snapshot', '2024-02-01'));
SELECT counts(pipeline.merge_dimension('snapshot', '2024-02-02'));
SELECT id, name, dbt_updated_at, dbt_valid_from, dbt_valid_to, length(dbt_scd_id) FROM snapshot ORDER BY id, dbt_valid_from;
SELECT count(DISTINCT dbt_scd_id) = count(*) AS unique_ids FROM snapshot;
SELECT * FROM pipeline.explain_merge('snapshot');
-- The same with its own clock: dbt's timestamp strategy, new_record, replayed by events.
CREATE TABLE stamped (id int, name text, updated_at timestamp);
CREATE TABLE snapshot2 (id int, name text, updated_at timestamp, dbt_scd_id text, dbt_updated_at timestamp, dbt_valid_from timestamp, dbt_valid_to timestamp, is_gone boolean);
INSERT INTO snapshot2 VALUES (1, 'a', '2024-01-01', md5('x'), '2024-01-01', '2024-01-01', NULL, false);
SELECT pipeline.create_dimension('snapshot2', 'stamped', '{id}', 'snapshot', type2 => '{name,updated_at}', effective_at => 'updated_at', hard_deletes => 'new_record', open_end => NULL, unknown_member => false, on_tie => 'keep',
  names => '{"surrogate_key": null, "is_current": null, "close_reason": null, "merge_id": null, "valid_from": "dbt_valid_from", "valid_to": "dbt_valid_to", "scd_id": "dbt_scd_id", "updated_at": "dbt_updated_at", "is_deleted": "is_gone"}');
INSERT INTO stamped VALUES (1, 'b', '2024-01-05'), (2, 'c', '2024-01-06');
SELECT counts(pipeline.merge_dimension('snapshot2', '2024-02-01'));
DELETE FROM stamped WHERE id = 1;
SELECT counts(pipeline.merge_dimension('snapshot2', '2024-02-02'));
SELECT id, name, dbt_updated_at, dbt_valid_from, dbt_valid_to, is_gone, length(dbt_scd_id) FROM snapshot2 ORDER BY id, dbt_valid_from;

-- A house style in Spanish: days, a flag that is a number, an end of 9999-12-31.
CREATE TABLE clientes (cliente int, nombre text);
INSERT INTO clientes VALUES (1, 'Ana'), (2, 'Beto');
CREATE TABLE "DimCliente" ("IdCliente" serial PRIMARY KEY, cliente int, nombre text, "Alta" date, "Baja" date DEFAULT '9999-12-31', "Version_Actual" smallint DEFAULT 1);
INSERT INTO "DimCliente" VALUES (DEFAULT, 1, 'Anita', '2023-01-01', '2023-06-01', 0), (DEFAULT, 1, 'Ana', '2023-06-01', DEFAULT, DEFAULT), (-1, NULL, 'Desconocido', '0001-01-01', DEFAULT, DEFAULT);
SELECT pipeline.create_dimension('"DimCliente"', 'clientes', '{cliente}', 'snapshot', open_end => '9999-12-31', hard_deletes => 'invalidate',
  names => '{"surrogate_key": "IdCliente", "valid_from": "Alta", "valid_to": "Baja", "is_current": "Version_Actual", "close_reason": null, "merge_id": null}');
SELECT counts(pipeline.merge_dimension('"DimCliente"', '2024-01-01'));
UPDATE clientes SET nombre = 'Alberto' WHERE cliente = 2;
SELECT counts(pipeline.merge_dimension('"DimCliente"', '2024-02-01 15:00'));
-- Twice in a day: the version would end when it begins.
UPDATE clientes SET nombre = 'Tito' WHERE cliente = 2;
SELECT public.raises($$SELECT pipeline.merge_dimension('"DimCliente"', '2024-02-01 18:00')$$);
DELETE FROM clientes WHERE cliente = 1;
SELECT counts(pipeline.merge_dimension('"DimCliente"', '2024-03-01'));
SELECT * FROM "DimCliente" ORDER BY cliente, "Alta";
-- A fact by it.
SELECT pipeline.create_fact('hechos', 'SELECT 1 AS id, 2 AS cliente, date ''2024-02-15'' AS dia', '{"cliente_sk": {"dimension": "\"DimCliente\"", "key": {"cliente": "cliente"}, "at": "dia"}}', '{id}');
SELECT inserted, unknown FROM pipeline.load_fact('hechos');
SELECT d.nombre FROM hechos h JOIN "DimCliente" d ON d."IdCliente" = h.cliente_sk;
-- What cannot be.
SELECT public.raises($$SELECT pipeline.create_dimension('snapshot', 'source', '{id}', 'snapshot', unknown_member => true, open_end => NULL, or_replace => true,
  names => '{"surrogate_key": null, "is_current": null, "close_reason": null, "merge_id": null, "valid_from": "dbt_valid_from", "valid_to": "dbt_valid_to"}')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('x', 'source', '{id}', 'snapshot', names => '{"valid_from": null}')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('x', 'source', '{id}', 'snapshot', current_index => true, names => '{"is_current": null}')$$);
UPDATE clientes SET nombre = 'Alberto';
UPDATE "DimCliente" SET "Version_Actual" = 1;
SELECT public.raises($$SELECT pipeline.create_dimension('"DimCliente"', 'clientes', '{cliente}', 'snapshot', open_end => '9999-12-31', unknown_member => false, or_replace => true,
  names => '{"surrogate_key": "IdCliente", "valid_from": "Alta", "valid_to": "Baja", "is_current": "Version_Actual", "close_reason": null, "merge_id": null}')$$);
-- Type 3 and type 6 need their companions.
CREATE TABLE old (sk serial, id int, a text, b text, valid_from timestamptz, valid_to timestamptz, is_current boolean, close_reason text, merge_id bigint);
SELECT public.raises($$SELECT pipeline.create_dimension('old', 'SELECT 1 AS id, ''x''::text AS a, ''y''::text AS b', '{id}', 'snapshot', type3 => '{a}', type6 => '{b}', names => '{"surrogate_key": "sk"}')$$);
ALTER TABLE old ADD previous_a text, ADD current_b text;
SELECT pipeline.create_dimension('old', 'SELECT 1 AS id, ''x''::text AS a, ''y''::text AS b', '{id}', 'snapshot', type3 => '{a}', type6 => '{b}', names => '{"surrogate_key": "sk"}');
SELECT counts(pipeline.merge_dimension('old', '2024-01-01'));
SELECT counts(pipeline.merge_dimension('old', '2024-02-01', source => 'SELECT 1 AS id, ''X''::text AS a, ''Y''::text AS b'));
SELECT id, a, previous_a, b, current_b FROM old WHERE id = 1 ORDER BY valid_from;
-- A source of cdc whose events table has a name that is taken.
CREATE TABLE feed_events (x int);
SELECT public.raises($$SELECT pipeline.create_dimension('feed', 'SELECT 1 AS id, now() AS at', '{id}', 'cdc', effective_at => 'at')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('f2', 'SELECT 1 AS id, 1 AS at', '{id}', 'cdc', effective_at => 'at')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('f2', 'SELECT 1 AS id, now() AS at, json ''1'' AS seq', '{id}', 'cdc', effective_at => 'at', sequence_by => 'seq')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('f2', 'SELECT 1 AS id, now() AS at', '{id}', 'cdc', effective_at => 'at', operation => '{"column": "op"}')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('f2', 'SELECT 1 AS id, now() AS at', '{id}', 'cdc', effective_at => 'at', operation => '{"column": "op", "delete": "D"}')$$);
SELECT public.raises($$SELECT pipeline.create_dimension('f2', 'SELECT 1 AS id, 2 AS a, 3 AS previous_a', '{id}', 'snapshot', type3 => '{a}')$$);
SELECT pipeline.drop_fact('hechos', true);
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path = 'scd_adopt' ORDER BY dimension::text;
SET client_min_messages = warning;
DROP SCHEMA scd_adopt CASCADE;
