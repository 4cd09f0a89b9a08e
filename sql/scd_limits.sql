-- As many columns as a table can have, and values that are stored out of line.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET statement_timeout = '120s';
CREATE SCHEMA scd_limits;
SET search_path = scd_limits;

-- 1,600 columns with those of the dimension itself.
SELECT format('CREATE TABLE wide (%s)', string_agg('c' || i || CASE i % 3 WHEN 0 THEN ' int' WHEN 1 THEN ' boolean' ELSE ' "char"' END, ', ' ORDER BY i)) FROM generate_series(1, 1593) i \gexec
INSERT INTO wide (c3, c6, c1593) SELECT g, g, 1 FROM generate_series(1, 100) g;
SELECT pipeline.create_dimension('dim_wide', 'wide', '{c3}', 'snapshot', hard_deletes => 'invalidate', unknown_member => false);
SELECT count(*) FROM pg_attribute WHERE attrelid = 'dim_wide'::regclass AND attnum > 0;
SELECT inserted, unchanged FROM pipeline.merge_dimension('dim_wide', '2024-01-01');
UPDATE wide SET c1593 = 2 WHERE c3 <= 10;
UPDATE wide SET c1000 = true WHERE c3 = 50;
SELECT versioned, unchanged FROM pipeline.merge_dimension('dim_wide', '2024-02-01');
-- The executor reads both sides at once.
SET pipeline.direct_access = off;
UPDATE wide SET c2 = 'x' WHERE c3 = 60;
SELECT versioned, unchanged FROM pipeline.merge_dimension('dim_wide', '2024-03-01');
RESET pipeline.direct_access;
SELECT count(*), count(*) FILTER (WHERE is_current), sum(c1593) FROM dim_wide;
ALTER TABLE wide ADD c1594 int, ADD c1595 int;
SELECT public.raises($$SELECT pipeline.create_dimension('dim_wider', 'wide', '{c3}', 'snapshot')$$);

-- Values that are compressed, or stored out of line, in the source and in the table.
CREATE FUNCTION long(seed int, kb int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((seed * 1000 + i)::text), '') FROM generate_series(1, kb * 32) i $$;
CREATE TABLE big (id int, txt text, doc jsonb, arr int[]);
ALTER TABLE big ALTER txt SET STORAGE EXTERNAL;
INSERT INTO big SELECT g, long(g, 10), jsonb_build_object('k', long(g, 4), 'flat', repeat('a', 20000)), ARRAY(SELECT i * g FROM generate_series(1, 5000) i) FROM generate_series(1, 40) g;
SELECT pipeline.create_dimension('dim_big', 'big', '{id}', 'snapshot', unknown_member => false);
SELECT pipeline.create_dimension('dim_by_txt', 'SELECT txt, id FROM big', '{txt}', 'snapshot', unknown_member => false);
SELECT public.raises($$SELECT inserted FROM pipeline.merge_dimension('dim_by_txt', '2024-01-01')$$);
SELECT inserted FROM pipeline.merge_dimension('dim_big', '2024-01-01');
-- The same values in other forms are no change.
CREATE TABLE other (LIKE big);
INSERT INTO other SELECT id, txt || '', doc || '{}', arr || '{}'::int[] FROM big;
UPDATE other SET txt = txt || '.' WHERE id = 1;
UPDATE other SET doc = doc || '{"k": 1}' WHERE id = 2;
UPDATE other SET arr[5000] = 0 WHERE id = 3;
SELECT versioned, unchanged FROM pipeline.merge_dimension('dim_big', '2024-02-01', source => 'other');
SELECT versioned, unchanged FROM pipeline.merge_dimension('dim_big', '2024-03-01', source => 'SELECT * FROM other');
-- What was written does not lean on the tables that it came from.
CREATE TABLE sums AS SELECT id, md5(txt) AS t, md5(doc::text) AS d, md5(arr::text) AS a FROM other;
DROP TABLE other, big CASCADE;
SELECT count(*) AS same FROM dim_big d JOIN sums USING (id) WHERE d.is_current AND md5(d.txt) = t AND md5(d.doc::text) = sums.d AND md5(d.arr::text) = a;
SELECT count(*) AS versions, sum(length(txt)) AS characters FROM dim_big;
SELECT count(*) FROM pipeline.dimension_changes('dim_big', '2024-01-15');
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path = 'scd_limits';
DROP SCHEMA scd_limits CASCADE;
