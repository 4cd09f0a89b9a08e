-- merge_dimension() and merge_scd2() by example.
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_merge;
SET search_path = scd_merge;
-- The counts of a merge, without numbers and times.
CREATE FUNCTION counts(r pipeline.merge_result) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', CASE WHEN (r).success THEN 'ok' ELSE 'FAILED' END, 'read', (r).rows_read) || coalesce(': ' ||
    (SELECT string_agg(key || ' ' || value, ', ' ORDER BY n)
     FROM json_each_text(row_to_json(r)) WITH ORDINALITY j(key, value, n)
     WHERE key NOT IN ('success', 'merge_id', 'rows_read', 'read_ms', 'write_ms', 'total_ms') AND value <> '0'), '') $$;

CREATE TABLE src (id int, name text, city text, phone text);
INSERT INTO src VALUES (1, 'Ann', 'Rome', '11'), (2, 'Bob', 'Oslo', '22'), (3, 'Cid', NULL, NULL);
SELECT pipeline.create_dimension('dim', 'src', '{id}', 'snapshot', type1 => '{phone}', hard_deletes => 'invalidate');
CREATE VIEW history AS SELECT surrogate_key AS sk, id, name, city, phone, valid_from::date, valid_to::date AS valid_to, is_current AS cur, close_reason FROM dim;

-- First load, and the same again: nothing is written but the row in merges.
SELECT counts(pipeline.merge_dimension('dim', '2024-01-01'));
SELECT counts(pipeline.merge_dimension('dim', '2024-01-02'));
-- The time does not matter where nothing changed.
SELECT counts(pipeline.merge_dimension('dim', '2023-01-01'));
-- A type 2 change, a type 1 change, both in one row, NULL to value and back.
UPDATE src SET city = 'Paris' WHERE id = 1;
UPDATE src SET phone = '23' WHERE id = 2;
UPDATE src SET city = 'Bern', phone = '33' WHERE id = 3;
SELECT counts(pipeline.merge_dimension('dim', '2024-02-01'));
UPDATE src SET city = NULL WHERE id = 3;
SELECT counts(pipeline.merge_dimension('dim', '2024-03-01'));
-- A key disappears, and comes back.
DELETE FROM src WHERE id = 2;
SELECT counts(pipeline.merge_dimension('dim', '2024-04-01'));
SELECT counts(pipeline.merge_dimension('dim', '2024-04-02'));
INSERT INTO src VALUES (2, 'Bob', 'Oslo', '23'), (4, 'Dan', 'Kiev', '44'), (4, 'Dan', 'Kiev', '44');
SELECT counts(pipeline.merge_dimension('dim', '2024-05-01'));
-- Exact duplicates of a changed row, of an unchanged one.
UPDATE src SET city = 'Graz' WHERE id = 4;
INSERT INTO src SELECT * FROM src WHERE id = 1;
SELECT counts(pipeline.merge_dimension('dim', '2024-06-01'));
UPDATE src SET phone = '99';
SELECT counts(pipeline.merge_dimension('dim', '2024-07-01'));
SELECT * FROM history ORDER BY id NULLS FIRST, valid_from;
-- merge_id is that of the merge that wrote the row last.
SELECT count(*) FROM dim WHERE merge_id IN (SELECT max(merge_id) FROM pipeline.merges WHERE dimension = 'dim'::regclass);
SELECT effective::date, feed, path, source, success, rows_read, inserted, versioned, updated_type1, reopened, unchanged, duplicate, closed, missing
FROM pipeline.merges WHERE dimension = 'dim'::regclass ORDER BY merge_id;
-- An empty snapshot of fewer than ten keys closes them; an empty delta nothing.
SELECT counts(pipeline.merge_dimension('dim', '2024-08-01', source => 'SELECT * FROM src WHERE false'));
SELECT count(*) FROM dim WHERE is_current AND surrogate_key <> -1;

-- The clock is the default, and later than what was merged before in the same transaction.
BEGIN;
SELECT counts(pipeline.merge_dimension('dim'));
UPDATE src SET city = 'x';
SELECT counts(pipeline.merge_dimension('dim'));
SELECT count(*) FROM dim WHERE valid_from >= transaction_timestamp();
ROLLBACK;

-- A delta: absence means nothing.
CREATE TABLE delta (id int, name text);
INSERT INTO delta VALUES (1, 'a'), (2, 'b');
SELECT pipeline.create_dimension('dim_delta', 'delta', '{id}', 'delta', initial_valid_from => '1900-01-01');
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-01-01'));
TRUNCATE delta;
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-02-01'));
INSERT INTO delta VALUES (2, 'B'), (3, 'c');
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-03-01'));
SELECT id, name, valid_from, valid_to, is_current, close_reason FROM dim_delta ORDER BY id, valid_from;

-- Batches are merged once; a failed one does not count.
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-04-01', batch_id => 'b1', source => 'SELECT * FROM (VALUES (7, ''x''), (NULL, ''y'')) v(id, name)'));
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-04-01', batch_id => 'b1', source => 'SELECT * FROM (VALUES (7, ''x''), (8, ''y'')) v(id, name)'));
SET client_min_messages = warning;
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-05-01', batch_id => 'b1', source => 'SELECT * FROM (VALUES (8, ''y''), (7, ''x'')) v(id, name)'));
RESET client_min_messages;
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-05-01', batch_id => 'b2', source => 'SELECT * FROM (VALUES (8, ''y''), (7, ''z'')) v(id, name)'));
-- The same values at other places are other content.
SELECT counts(pipeline.merge_scd2('dim_delta', 'SELECT 1 AS id, NULL::text AS name UNION ALL SELECT 2, ''x''', '{id}', 'delta', effective => '2024-05-02', batch_id => 'b3'));
\set VERBOSITY sqlstate
SELECT counts(pipeline.merge_scd2('dim_delta', 'SELECT 1 AS id, ''x'' AS name UNION ALL SELECT 2, NULL', '{id}', 'delta', effective => '2024-05-02', batch_id => 'b3'));
\set VERBOSITY default
SELECT batch_id, success, rows_read, content IS NOT NULL AS fingerprint FROM pipeline.merges
WHERE dimension = 'dim_delta'::regclass AND batch_id IS NOT NULL ORDER BY merge_id;

-- The source is read exactly once, and each of its rows is.
CREATE SEQUENCE reads;
SELECT counts(pipeline.merge_dimension('dim_delta', '2024-06-01',
  source => 'SELECT g AS id, ''n'' || nextval(''scd_merge.reads'') AS name FROM generate_series(1, 1000) g'));
SELECT last_value FROM reads;
SELECT count(DISTINCT name) FROM dim_delta WHERE is_current AND id BETWEEN 1 AND 1000;

-- Deltas larger than work_mem, with duplicates among them.
SET work_mem = '64kB';
SELECT rows_read, inserted, versioned, duplicate, closed FROM pipeline.merge_dimension('dim_delta', '2024-07-01', source =>
  'SELECT g AS id, ''m'' || g AS name FROM generate_series(1, 4000) g UNION ALL SELECT g, ''m'' || g FROM generate_series(100, 4000, 100) g');
RESET work_mem;

-- One shot: as the caller, into any table of the right shape, even a temporary one.
CREATE TEMP TABLE shot (k int GENERATED ALWAYS AS IDENTITY, id int, name text, valid_from timestamptz, valid_to timestamptz,
                        is_current boolean, close_reason text, merge_id bigint, loaded timestamptz DEFAULT now());
SELECT counts(pipeline.merge_scd2('shot', 'SELECT 1 AS id, ''a'' AS name', '{id}', 'snapshot', names => '{"surrogate_key": "k"}', effective => '2024-01-01'));
SELECT counts(pipeline.merge_scd2('shot', 'SELECT 2 AS id, ''b'' AS name', '{id}', 'snapshot', hard_deletes => 'invalidate',
                                  names => '{"surrogate_key": "k"}', effective => '2024-02-01', batch_id => 'x'));
SELECT k, id, name, valid_from, valid_to, is_current, close_reason FROM shot ORDER BY k;
SELECT dimension, batch_id, success FROM pipeline.merges WHERE dimension = 'shot'::regclass ORDER BY merge_id;
DROP TABLE shot;

-- A partitioned table.
CREATE TABLE part (surrogate_key bigint GENERATED BY DEFAULT AS IDENTITY, id int, name text, valid_from timestamptz, valid_to timestamptz,
                   is_current boolean, close_reason text, merge_id bigint, UNIQUE (id, valid_from)) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE part2 PARTITION OF part DEFAULT;
-- surrogate_key without a sequence of its own in a partition: give it one.
CREATE SEQUENCE part_sk;
ALTER TABLE part ALTER surrogate_key DROP IDENTITY, ALTER surrogate_key SET DEFAULT nextval('scd_merge.part_sk');
SELECT pipeline.create_dimension('part', 'SELECT g AS id, ''n'' AS name FROM generate_series(50, 150) g', '{id}', 'snapshot');
SELECT counts(pipeline.merge_dimension('part', '2024-01-01'));
SELECT counts(pipeline.merge_dimension('part', '2024-02-01', source => 'SELECT g AS id, CASE WHEN g % 10 = 0 THEN ''m'' ELSE ''n'' END AS name FROM generate_series(50, 150) g'));
SELECT tableoid::regclass, is_current, count(*) FROM part GROUP BY 1, 2 ORDER BY 1, 2;

-- Another source for once leaves the definition as it was.
SELECT source, feed FROM pipeline.dimensions WHERE dimension = 'dim_delta'::regclass;
SELECT count(pipeline.drop_dimension(dimension, true)) FROM pipeline.dimensions WHERE dimension IN ('dim_delta'::regclass, 'part'::regclass);
DROP VIEW history;
SELECT pipeline.drop_dimension('dim', true);
SET client_min_messages = warning;
DROP SCHEMA scd_merge CASCADE;
