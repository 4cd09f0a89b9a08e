-- Rows with a NULL in the key are rejected, kept and counted.
SET timezone = 'UTC';
CREATE SCHEMA scd_rejects;
SET search_path = scd_rejects;
CREATE TABLE src (id int, "Größe ""r""" text, r numeric, row text);
INSERT INTO src VALUES (1, 'a', 1.50, 'x'), (2, NULL, 2, 'y'), (NULL, NULL, 3, 'z'), (4, 'd', NULL, NULL);
SELECT pipeline.create_dimension('dim', 'src', '{id,"Größe \"r\""}', 'snapshot');
-- None may be rejected: the merge fails, only the rejects are kept.
SELECT success, rows_read, inserted, unchanged, rejected FROM pipeline.merge_dimension('dim');
SELECT count(*) FROM dim WHERE surrogate_key <> -1;
SELECT row, reason, owner FROM pipeline.rejects WHERE dimension = 'dim'::regclass ORDER BY reject_id;
SELECT success, rows_read, unchanged, rejected, closed, missing, write_ms FROM pipeline.merges WHERE dimension = 'dim'::regclass;
-- Up to half may be: the rest is merged.
SELECT pipeline.create_dimension('dim', 'src', '{id,"Größe \"r\""}', 'snapshot', max_rejected_fraction => 0.5, or_replace => true);
SELECT success, rows_read, inserted, unchanged, rejected FROM pipeline.merge_dimension('dim');
SELECT success, rows_read, inserted, unchanged, rejected FROM pipeline.merge_dimension('dim');
SELECT surrogate_key, id, "Größe ""r""", r, row FROM dim ORDER BY 1;
SELECT m.success, count(*) FROM pipeline.rejects j JOIN pipeline.merges m USING (merge_id)
WHERE j.dimension = 'dim'::regclass GROUP BY j.merge_id, m.success ORDER BY j.merge_id;
-- One more is too many.
INSERT INTO src VALUES (NULL, 'e', 5, NULL), (NULL, 'e', 5, NULL);
SELECT success, rows_read, inserted, unchanged, rejected FROM pipeline.merge_dimension('dim');
-- A failing merge does not trip over what it would not have written.
INSERT INTO src VALUES (1, 'a', 7, 'other');
SELECT success, rows_read, unchanged, rejected FROM pipeline.merge_dimension('dim');
-- Nothing to read, nothing to reject.
SELECT success, rows_read, rejected FROM pipeline.merge_dimension('dim', source => 'SELECT * FROM src WHERE false');
-- The fraction is inclusive: 29 of 100 are 0.29.
SELECT success, rows_read, rejected FROM pipeline.merge_scd2('dim', 'SELECT CASE WHEN g > 29 THEN g END AS id, ''f'' AS "Größe ""r""", 1.0 AS r, NULL::text AS row FROM generate_series(1, 100) g',
  '{id,"Größe \"r\""}', 'delta', max_rejected_fraction => 0.29);
-- The rejects are the owner's.
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.rejects WHERE row ? 'Größe "r"';
DELETE FROM pipeline.rejects;
INSERT INTO pipeline.merges DEFAULT VALUES;
UPDATE pipeline.dimensions SET source = 'x';
RESET ROLE;
-- Rejects go with their dimension.
SELECT pipeline.drop_dimension('dim', true);
SELECT count(*) FROM pipeline.rejects WHERE row ? 'Größe "r"';
SET client_min_messages = warning;
DROP SCHEMA scd_rejects CASCADE;
