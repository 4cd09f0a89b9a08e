-- merge_dimension() against the statements that dbt's check strategy runs: one
-- million keys of which 1 % changed, in a database with the extension.
--   psql -X -f test/bench/scd_merge.sql
-- Prints milliseconds; leaves nothing behind.
\set QUIET on
SET client_min_messages = warning;
SET work_mem = '64MB';
SET max_parallel_workers_per_gather = 0;
SET jit = off;
CREATE SCHEMA scd_bench;
SET search_path = scd_bench;
CREATE TABLE src AS
SELECT g AS id, 'name ' || g AS name, 'city ' || g % 1000 AS city, g % 90 AS age,
       (g * 1.25)::numeric(12,2) AS balance, date '2000-01-01' + g % 5000 AS since
FROM generate_series(1, 1000000) g;
CREATE TABLE snap AS
SELECT *, md5(id::text || '|2024-01-01') AS dbt_scd_id, timestamp '2024-01-01' AS dbt_updated_at,
       timestamp '2024-01-01' AS dbt_valid_from, NULL::timestamp AS dbt_valid_to FROM src;
CREATE TABLE timing (step int, what text, ms numeric);
CREATE FUNCTION ms(t timestamptz) RETURNS numeric LANGUAGE sql AS
$$ SELECT round(extract(epoch FROM clock_timestamp() - t)::numeric * 1000) $$;
-- As dbt spells "differs", for each checked column.
CREATE FUNCTION differs() RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(format('(d.%1$I != s.%1$I or ((d.%1$I is null and not s.%1$I is null) or (not d.%1$I is null and s.%1$I is null)))', c), ' or ')
  FROM unnest(ARRAY['name', 'city', 'age', 'balance', 'since']) c $$;
CREATE PROCEDURE dbt() LANGUAGE plpgsql AS $$
DECLARE start timestamptz = clock_timestamp();
BEGIN
  EXECUTE format($q$
    CREATE TEMP TABLE staging AS
    WITH snapshot_query AS (SELECT * FROM src),
    snapshotted_data AS (SELECT *, id AS dbt_unique_key FROM snap WHERE dbt_valid_to IS NULL),
    insertions_source_data AS (SELECT *, id AS dbt_unique_key, now()::timestamp AS dbt_updated_at, now()::timestamp AS dbt_valid_from,
      NULL::timestamp AS dbt_valid_to,
      md5(coalesce(id::varchar, '') || '|' || coalesce(now()::timestamp::varchar, '')) AS dbt_scd_id FROM snapshot_query),
    updates_source_data AS (SELECT *, id AS dbt_unique_key, now()::timestamp AS dbt_updated_at, now()::timestamp AS dbt_valid_from,
      now()::timestamp AS dbt_valid_to FROM snapshot_query),
    deletes_source_data AS (SELECT *, id AS dbt_unique_key FROM snapshot_query),
    insertions AS (SELECT 'insert' AS dbt_change_type, s.* FROM insertions_source_data s
      LEFT JOIN snapshotted_data d ON d.dbt_unique_key = s.dbt_unique_key
      WHERE d.dbt_unique_key IS NULL OR (d.dbt_unique_key IS NOT NULL AND (%1$s))),
    updates AS (SELECT 'update' AS dbt_change_type, s.*, d.dbt_scd_id FROM updates_source_data s
      JOIN snapshotted_data d ON d.dbt_unique_key = s.dbt_unique_key WHERE (%1$s)),
    deletes AS (SELECT 'delete' AS dbt_change_type, s.*, now()::timestamp AS dbt_updated_at, now()::timestamp AS dbt_valid_from,
      now()::timestamp AS dbt_valid_to, d.dbt_scd_id
      FROM snapshotted_data d LEFT JOIN deletes_source_data s ON d.dbt_unique_key = s.dbt_unique_key WHERE s.dbt_unique_key IS NULL)
    SELECT * FROM insertions UNION ALL SELECT * FROM updates UNION ALL SELECT * FROM deletes $q$, differs());
  UPDATE snap SET dbt_valid_to = i.dbt_valid_to FROM staging i
  WHERE i.dbt_scd_id = snap.dbt_scd_id AND i.dbt_change_type IN ('update', 'delete') AND snap.dbt_valid_to IS NULL;
  INSERT INTO snap SELECT id, name, city, age, balance, since, dbt_scd_id, dbt_updated_at, dbt_valid_from, dbt_valid_to
  FROM staging WHERE dbt_change_type = 'insert';
  INSERT INTO timing VALUES (2, 'dbt''s statements, 1 % changed', ms(start));
END $$;
SELECT pipeline.create_dimension('dim', 'src', '{id}', 'snapshot', hard_deletes => 'invalidate') \g /dev/null
INSERT INTO timing SELECT 1, 'merge_dimension(), first load', total_ms::int FROM pipeline.merge_dimension('dim', '2024-01-01');
UPDATE src SET city = 'X' WHERE id % 100 = 0;
VACUUM ANALYZE src, snap, dim;
CALL dbt();
INSERT INTO timing SELECT 3, 'merge_dimension(), 1 % changed', total_ms::int FROM pipeline.merge_dimension('dim', '2024-02-01');
INSERT INTO timing SELECT 4, 'merge_dimension(), nothing changed', total_ms::int FROM pipeline.merge_dimension('dim', '2024-03-01');
INSERT INTO timing SELECT 5, 'the bare join, count(*)', NULL;
DO $$
DECLARE start timestamptz = clock_timestamp();
BEGIN
  PERFORM count(*) FROM src s FULL JOIN (SELECT * FROM dim WHERE is_current) d USING (id);
  UPDATE timing SET ms = scd_bench.ms(start) WHERE step = 5;
END $$;
SELECT what, ms FROM timing ORDER BY step;
SELECT pipeline.drop_dimension('dim', true) \g /dev/null
DROP SCHEMA scd_bench CASCADE;
