-- With a key of the spine a refresh computes what can have changed, and the
-- target is what a full rebuild would give, whatever happened in between.
CREATE SCHEMA feature_incremental;
SET search_path = feature_incremental;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SELECT setseed(0.3);
-- Few rows fit on a page, so that many ranges of blocks are not read again.
CREATE TABLE spine (id int, k int, b text, t timestamptz, note text DEFAULT repeat('n', 1500));
CREATE TABLE events (k int, b text, t timestamptz, v int, num numeric, filler text DEFAULT repeat('f', 1500));
CREATE TABLE others (k int, b text, day date, flag boolean);
CREATE VIEW recent AS SELECT * FROM events WHERE v > 10;

CREATE FUNCTION rows_of(n int) RETURNS TABLE (k int, b text, t timestamptz) LANGUAGE sql VOLATILE AS $$
  SELECT (random() * 5)::int, chr(97 + (random() * 2)::int), '2024-03-01'::timestamptz + (random() * 60)::int * interval '12 hours' FROM generate_series(1, n) $$;
INSERT INTO spine SELECT row_number() OVER (), k, b, t FROM rows_of(150);
INSERT INTO events SELECT k, b, t, (random() * 100)::int, round((random() * 10)::numeric, 2) FROM rows_of(300);
INSERT INTO others SELECT k, b, t::date, random() < 0.5 FROM rows_of(100);
SELECT pipeline.create_feature_set('feature incremental', 'spine', '{k,b}', 't', target => 'target', spine_key => '{id}');
SELECT pipeline.add_feature('feature incremental', 'n', 'events', 'count', '3 days');
SELECT pipeline.add_feature('feature incremental', 'later', 'events', 'sum', '0', lookahead => '2 days', value => 'num');
SELECT pipeline.add_feature('feature incremental', 'days', 'others', 'count', '1 month', event_time => 'day', filter => 'flag', lookahead => '-1 day');
SELECT pipeline.add_feature('feature incremental', 'spread', 'events', 'max', '7 days', value => 'v', "by" => 'v % 3', align => 'day');

-- Rows that differ from those of a full rebuild.
CREATE FUNCTION wrong() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  result bigint;
  gone text[];
BEGIN
  DROP TABLE IF EXISTS rebuilt;
  PERFORM pipeline.materialize_features('feature incremental', 'spine', 'rebuilt');
  SELECT array_agg(attname) INTO gone FROM pg_attribute a WHERE attrelid = 'target'::regclass AND attnum > 0
    AND NOT EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = 'rebuilt'::regclass AND b.attname = a.attname);
  SELECT (SELECT count(*) FROM (SELECT to_jsonb(r)::text FROM rebuilt r EXCEPT ALL SELECT (to_jsonb(kept) - coalesce(gone, '{}'))::text FROM target kept) x)
       + (SELECT count(*) FROM target) - (SELECT count(*) FROM rebuilt) INTO result;
  RETURN result;
END $$;
CREATE TEMP TABLE outcome AS SELECT * FROM pipeline.refresh_features('feature incremental');
SELECT incremental, rows_computed, rows_unchanged, rows_deleted, rows_inserted FROM outcome;
SELECT wrong();
CREATE FUNCTION refreshed() RETURNS TABLE (incremental boolean, computed bigint, unchanged bigint, deleted bigint, inserted bigint, updated bigint) LANGUAGE sql AS $$
  SELECT incremental, rows_computed, rows_unchanged, rows_deleted, rows_inserted, rows_updated FROM pipeline.refresh_features('feature incremental') $$;
-- Nothing new; a new row; a late event; an event for nobody.
SELECT * FROM refreshed();
INSERT INTO spine VALUES (1000, 1, 'a', '2024-03-10', 'new');
SELECT incremental, computed, inserted FROM refreshed();
SELECT wrong();
INSERT INTO events VALUES (1, 'a', '2024-03-10 00:00', 1, 1.5);
SELECT incremental, computed BETWEEN 2 AND 30 AS few, computed + unchanged AS rows, deleted > 0 AS some FROM refreshed();
SELECT wrong();
INSERT INTO events VALUES (99, 'a', '2024-03-10 00:00', 1, 1.5), (1, NULL, '2024-03-10', 1, 1), (1, 'a', NULL, 1, 1);
SELECT incremental, computed FROM refreshed();
-- What was there is updated or deleted: all is computed, and what differs is written.
UPDATE events SET num = 100 WHERE ctid = (SELECT min(ctid) FROM events WHERE k = 2);
SELECT incremental, computed, deleted < 20 AND deleted = inserted AS few_written FROM refreshed();
SELECT wrong();
DELETE FROM spine WHERE id = 1000;
SELECT incremental, deleted, inserted FROM refreshed();
SELECT * FROM refreshed();
-- A feature that is added or replaced is computed for every row, and only it.
SELECT pipeline.add_feature('feature incremental', 'total', 'events', 'sum', '20 days', value => 'v');
SELECT incremental, computed, inserted, updated FROM refreshed();
SELECT wrong();
SELECT pipeline.drop_feature('feature incremental', 'n');
SELECT pipeline.add_feature('feature incremental', 'n', 'recent', 'count', '5 days', closed => 'both');
INSERT INTO spine VALUES (1001, 2, 'b', '2024-03-20', 'new');
SELECT incremental, inserted, updated > 50 AS most FROM refreshed();
SELECT wrong();
-- Another table for it, which nothing read before.
CREATE TABLE fresh AS SELECT * FROM events;
SELECT pipeline.drop_feature('feature incremental', 'n');
SELECT pipeline.add_feature('feature incremental', 'n', 'fresh', 'count', '5 days', closed => 'right');
SELECT incremental, inserted FROM refreshed();
SELECT wrong();
-- An interval of it, with rows that moved into it; as_of.
UPDATE spine SET t = '2024-03-15 06:00' WHERE id <= 5;
SELECT rows_computed > 5 AS some, incremental FROM pipeline.refresh_features('feature incremental', from_time => '2024-03-15', to_time => '2024-03-17');
SELECT count(*), count(DISTINCT id) FROM target WHERE id <= 5;
SELECT incremental FROM refreshed();
SELECT wrong();
SELECT incremental, rows_beyond_as_of > 0 AS beyond FROM pipeline.refresh_features('feature incremental', as_of => '2024-03-15');
SELECT count(*) > 0 AS rows, count(*) FILTER (WHERE as_of IS DISTINCT FROM '2024-03-15') AS otherwise FROM target;
SELECT incremental FROM refreshed();
SELECT wrong();
-- Expressions that depend on more than the row, and sources that are more than a table.
SELECT pipeline.add_feature('feature incremental', 'young', 'events', 'count', '5 days', filter => 't < now()');
SELECT incremental FROM refreshed();
SELECT incremental FROM refreshed();
SELECT pipeline.drop_feature('feature incremental', 'young');
SELECT pipeline.add_feature('feature incremental', 'joined', 'SELECT e.* FROM events e JOIN others o USING (k, b)', 'count', '5 days');
SELECT incremental FROM refreshed();
INSERT INTO others VALUES (1, 'a', '2024-03-03', true);
SELECT incremental FROM refreshed();
SELECT wrong();
SELECT pipeline.drop_feature('feature incremental', 'joined');
SELECT incremental FROM refreshed();
-- The target was emptied behind the set's back; a table was written anew.
TRUNCATE target;
SELECT incremental, inserted = computed AS all_rows FROM refreshed();
DROP VIEW recent;
ALTER TABLE events ALTER num TYPE numeric(12,4);
SELECT pipeline.drop_feature('feature incremental', 'total');
SELECT incremental FROM refreshed();
SELECT wrong();
-- The key must be one.
INSERT INTO spine SELECT * FROM spine WHERE id = 7;
SELECT refreshed();
DELETE FROM spine WHERE id = 7;
INSERT INTO spine VALUES (7, 1, 'a', '2024-03-11');
SELECT refreshed();
INSERT INTO spine VALUES (8, 1, 'a', '2024-03-11');
SELECT refreshed();
DELETE FROM spine WHERE id = 8;
INSERT INTO spine VALUES (NULL, 1, 'a', '2024-03-10');
\set VERBOSITY terse
SELECT refreshed();
\set VERBOSITY default
DELETE FROM spine WHERE id IS NULL;
SELECT pipeline.create_feature_set('feature keyless', 'spine', '{k,b}', 't', spine_key => '{nothing}');

-- Any sequence of changes: the same as a full rebuild. A failure prints its seed.
CREATE FUNCTION change() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  kind int := floor(random() * 9);
BEGIN
  CASE kind
    WHEN 0 THEN INSERT INTO spine SELECT 2000 + coalesce((SELECT max(id) FROM spine), 0) + row_number() OVER (), k, b, t FROM rows_of(3);
    WHEN 1, 2 THEN INSERT INTO events SELECT k, b, t, (random() * 100)::int, 1 FROM rows_of(1 + (random() * 3)::int);
    WHEN 3 THEN INSERT INTO others SELECT k, b, t::date, true FROM rows_of(2);
    WHEN 4 THEN UPDATE events SET v = v + 1 WHERE ctid = (SELECT ctid FROM events ORDER BY random() LIMIT 1);
    WHEN 5 THEN DELETE FROM events WHERE ctid = (SELECT ctid FROM events ORDER BY random() LIMIT 1);
    WHEN 6 THEN UPDATE spine SET t = t + interval '1 day' WHERE id = (SELECT id FROM spine ORDER BY random() LIMIT 1);
    WHEN 7 THEN
      PERFORM pipeline.drop_feature('feature incremental', 'days');
      PERFORM pipeline.add_feature('feature incremental', 'days', 'others', (ARRAY['count', 'exists'])[1 + (random() * 1)::int], '1 month', event_time => 'day', filter => CASE WHEN random() < 0.5 THEN 'flag' END);
      EXECUTE 'ALTER TABLE target DROP COLUMN days';
    ELSE DELETE FROM spine WHERE id = (SELECT id FROM spine ORDER BY random() LIMIT 1);
  END CASE;
  RETURN kind;
END $$;
CREATE TABLE failures (failure text);
CREATE PROCEDURE try_changes(first int, last int) LANGUAGE plpgsql AS $$
DECLARE
  done text;
  differences bigint;
BEGIN
  FOR seed IN first .. last LOOP
    PERFORM setseed(seed / 10000.0);
    done := '';
    FOR i IN 1 .. 1 + floor(random() * 3) LOOP done := done || ' ' || change(); END LOOP;
    COMMIT;
    PERFORM pipeline.refresh_features('feature incremental');
    COMMIT;
    differences := wrong();
    IF differences <> 0 THEN INSERT INTO failures VALUES (format('seed %s: %s differences after%s', seed, differences, done)); END IF;
    COMMIT;
  END LOOP;
END $$;
CALL try_changes(1, 40);
VACUUM spine, events, others;
CALL try_changes(41, 80);
SELECT * FROM failures;
-- What the transaction of a refresh wrote itself, before it and after.
BEGIN;
INSERT INTO events VALUES (1, 'a', '2024-03-10', 50, 1);
SELECT incremental FROM refreshed();
INSERT INTO events VALUES (1, 'a', '2024-03-10', 51, 1);
DELETE FROM events WHERE v = 50;
SELECT incremental FROM refreshed();
SELECT wrong();
COMMIT;
SELECT incremental FROM refreshed();
SELECT incremental FROM refreshed();
SELECT wrong();
SELECT count(*) FILTER (WHERE incremental) > 10 AS incremental, count(*) FILTER (WHERE NOT incremental) > 10 AS full FROM pipeline.feature_refreshes WHERE feature_set = 'feature incremental' AND target ~ 'target' AND rows_read > 20;
SELECT feature, last_rows > 0 AS rows, null_rate BETWEEN 0 AND 1 AS nulls, drift >= 0 AS drift, freshness < '1 hour' AS fresh FROM pipeline.feature_catalog WHERE feature_set = 'feature incremental' ORDER BY feature;

-- Of another system, as after a restore, a watermark says nothing.
UPDATE pipeline.feature_refreshes SET watermark = jsonb_set(watermark, '{system}', '"1"') WHERE feature_set = 'feature incremental' AND watermark IS NOT NULL;
SELECT incremental FROM refreshed();
SELECT incremental FROM refreshed();

-- The same definitions over other rows.
SELECT features, incremental, rows_computed FROM pipeline.materialize_features('feature incremental', $$SELECT 1 AS x, 1 AS k, 'a' AS b, timestamptz '2024-03-10' AS t$$, 'training');
SELECT x, k, b, t, n IS NOT NULL AS n FROM training;
SELECT pipeline.materialize_features('feature incremental', 'spine', 'target');
SELECT pipeline.materialize_features('feature incremental', 'events', 'spine');
SELECT pipeline.materialize_features('feature incremental', 'others', 'training2');
SET ROLE pipeline_bob;
SELECT pipeline.materialize_features('feature incremental', 'spine', 'training');
RESET ROLE;
SELECT pipeline.last_complete('week', '2024-03-13 12:00+00'), pipeline.last_complete('month', '2024-03-31 23:30+00', 'Europe/Madrid'), pipeline.last_complete('quarter', '2024-04-01');
SELECT pipeline.last_complete('fortnight', now());
SELECT pipeline.drop_feature_set('feature incremental', drop_target => true);
SET client_min_messages = error;
DROP SCHEMA feature_incremental CASCADE;
