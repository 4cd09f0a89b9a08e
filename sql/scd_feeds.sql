-- Feeds, types, times, orders and ties by example; alter, rebuild, changes.
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_feeds;
SET search_path = scd_feeds;
CREATE FUNCTION counts(r pipeline.merge_result) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', CASE WHEN (r).success THEN 'ok' ELSE 'FAILED' END, 'read', (r).rows_read) || coalesce(': ' ||
    (SELECT string_agg(key || ' ' || value, ', ' ORDER BY n) FROM json_each_text(row_to_json(r)) WITH ORDINALITY j(key, value, n)
     WHERE key NOT IN ('success', 'merge_id', 'rows_read', 'hot_updates', 'read_ms', 'write_ms', 'total_ms') AND value <> '0'), '') $$;

-- Types 0 to 6 in a snapshot.
CREATE TABLE src (id int, joined date, phone text, city text, region text, tier text);
INSERT INTO src VALUES (1, '2020-01-01', '11', 'Rome', 'south', 'a');
SELECT pipeline.create_dimension('types', 'src', '{id}', 'snapshot', type0 => '{joined}', type1 => '{phone}', type3 => '{region}', type6 => '{tier}', unknown_member => false, hard_deletes => 'invalidate');
\d types
SELECT counts(pipeline.merge_dimension('types', '2024-01-01'));
UPDATE src SET joined = '2021-01-01', phone = '12', region = 'north';
SELECT counts(pipeline.merge_dimension('types', '2024-02-01'));
UPDATE src SET city = 'Oslo', region = 'west';
SELECT counts(pipeline.merge_dimension('types', '2024-03-01'));
UPDATE src SET tier = 'b';
SELECT counts(pipeline.merge_dimension('types', '2024-04-01'));
UPDATE src SET joined = '2022-01-01';
SELECT counts(pipeline.merge_dimension('types', '2024-05-01'));
DELETE FROM src;
SELECT counts(pipeline.merge_dimension('types', '2024-06-01'));
INSERT INTO src VALUES (1, '2020-01-01', '11', 'Rome', 'east', 'c');
SELECT counts(pipeline.merge_dimension('types', '2024-07-01'));
SELECT id, joined, phone, city, region, previous_region, tier, current_tier, valid_from::date, valid_to::date, close_reason FROM types ORDER BY valid_from;

-- hard_deletes new_record, in a snapshot: again and again.
CREATE TABLE nr (id int, v text);
INSERT INTO nr VALUES (1, 'a'), (2, 'b');
SELECT pipeline.create_dimension('deleted', 'nr', '{id}', 'snapshot', hard_deletes => 'new_record', unknown_member => false);
SELECT counts(pipeline.merge_dimension('deleted', '2024-01-01'));
DELETE FROM nr WHERE id = 1;
SELECT counts(pipeline.merge_dimension('deleted', '2024-02-01'));
SELECT counts(pipeline.merge_dimension('deleted', '2024-02-02'));
INSERT INTO nr VALUES (1, 'a');
SELECT counts(pipeline.merge_dimension('deleted', '2024-03-01'));
DELETE FROM nr WHERE id = 1;
SELECT counts(pipeline.merge_dimension('deleted', '2024-04-01'));
SELECT id, v, is_deleted, valid_from::date, valid_to::date, is_current, close_reason FROM deleted ORDER BY id, valid_from;
SELECT key, change, valid_from::date, changed_columns, old, new FROM pipeline.dimension_changes('deleted', '2024-01-15') ORDER BY valid_from, key;

-- A scoped snapshot: what is missing counts only where the batch is complete.
CREATE TABLE branch (store text, id int, v text);
INSERT INTO branch VALUES ('A', 1, 'x'), ('A', 2, 'x'), ('B', 1, 'x'), (NULL, 3, 'x');
SELECT pipeline.create_dimension('scoped', 'branch', '{id}', 'scoped_snapshot', scope => '{store}', hard_deletes => 'invalidate', unknown_member => false);
SELECT public.raises($$SELECT pipeline.merge_dimension('scoped', '2024-01-01')$$);
UPDATE branch SET id = 4 WHERE store = 'B';
SELECT counts(pipeline.merge_dimension('scoped', '2024-01-01'));
SELECT counts(pipeline.merge_dimension('scoped', '2024-02-01', source => 'SELECT ''A'' AS store, 1 AS id, ''y'' AS v'));
SELECT counts(pipeline.merge_dimension('scoped', '2024-03-01', source => 'SELECT NULL::text AS store, 9 AS id, ''y'' AS v'));
SELECT counts(pipeline.merge_dimension('scoped', '2024-04-01', source => 'SELECT ''A'' AS store, 1 AS id, ''y'' AS v WHERE false'));
-- A member that moves into the scope is no new one.
SELECT counts(pipeline.merge_dimension('scoped', '2024-05-01', source => 'VALUES (''A'', 1, ''y''), (''A'', 4, ''x'')') ) FROM (SELECT 1) x WHERE false;
SELECT counts(pipeline.merge_dimension('scoped', '2024-05-01', source => 'SELECT * FROM (VALUES (''A'', 1, ''y''), (''A'', 4, ''x'')) v(store, id, v)'));
SELECT id, store, v, valid_from::date, valid_to::date, close_reason FROM scoped ORDER BY id, valid_from;

-- Scopes of two columns with NULLs, against what the words say, in 60 random batches.
CREATE TABLE region (a int, b text, id int);
SELECT pipeline.create_dimension('regional', 'region', '{id}', 'scoped_snapshot', scope => '{a,b}', hard_deletes => 'invalidate', unknown_member => false, max_delete_fraction => 1);
DO $$
DECLARE wanted text; found text;
BEGIN
  FOR seed IN 1..60 LOOP
    PERFORM setseed(seed / 100.0);
    TRUNCATE region;
    INSERT INTO region SELECT DISTINCT ON (id) nullif(floor(random() * 3)::int, 0), nullif(chr(97 + floor(random() * 3)::int), 'a'), id
      FROM (SELECT floor(random() * 40)::int AS id FROM generate_series(1, 6)) k ORDER BY id;
    SELECT string_agg(id::text, ' ' ORDER BY id) INTO wanted FROM (
      SELECT id FROM region UNION SELECT id FROM regional d WHERE is_current
        AND NOT EXISTS (SELECT FROM region r WHERE r.a IS NOT DISTINCT FROM d.a AND r.b IS NOT DISTINCT FROM d.b)) w;
    PERFORM pipeline.merge_dimension('regional', timestamptz '2024-01-01' + seed * interval '1 day');
    SELECT string_agg(id::text, ' ' ORDER BY id) INTO found FROM regional WHERE is_current;
    IF wanted IS DISTINCT FROM found THEN RAISE 'seed %: current are %, not %', seed, found, wanted; END IF;
  END LOOP;
END $$;

-- A snapshot whose rows say since when (dbt's timestamp strategy).
CREATE TABLE stamped (id int, v text, updated_at timestamp);
INSERT INTO stamped VALUES (1, 'a', '2024-01-05'), (2, 'b', '2024-01-06');
SELECT pipeline.create_dimension('stamp', 'stamped', '{id}', 'snapshot', effective_at => 'updated_at', hard_deletes => 'invalidate', on_tie => 'keep', unknown_member => false);
SELECT counts(pipeline.merge_dimension('stamp', '2024-02-01'));
UPDATE stamped SET v = 'A', updated_at = '2024-02-10' WHERE id = 1;
-- changed, but no later: the first stays
UPDATE stamped SET v = 'B' WHERE id = 2;
SELECT counts(pipeline.merge_dimension('stamp', '2024-03-01'));
DELETE FROM stamped WHERE id = 2;
SELECT counts(pipeline.merge_dimension('stamp', '2024-04-01'));
INSERT INTO stamped VALUES (2, 'b', '2024-01-06');
SELECT counts(pipeline.merge_dimension('stamp', '2024-05-01'));
SELECT counts(pipeline.merge_dimension('stamp', '2024-06-01'));
SELECT id, v, valid_from::date, valid_to::date, close_reason FROM stamp ORDER BY id, valid_from;
UPDATE stamped SET v = 'z', updated_at = '2024-01-07' WHERE id = 1;
SELECT public.raises($$SELECT pipeline.merge_dimension('stamp', '2024-07-01')$$);

-- A delta with several rows for a key, by time and by order.
SELECT pipeline.create_dimension('ordered', 'SELECT 1 AS id, ''a''::text AS v, now() AS at, 1 AS seq', '{id}', 'delta', effective_at => 'at', sequence_by => 'seq', unknown_member => false);
SELECT counts(pipeline.merge_dimension('ordered', source => $$SELECT * FROM (VALUES (1, 'c', timestamptz '2024-01-03', 9), (1, 'a', '2024-01-01', 1), (1, 'b', '2024-01-02', 2), (1, 'B', '2024-01-02', 3), (1, 'B', '2024-01-02', 3)) x(id, v, at, seq)$$));
SELECT id, v, valid_from::date, valid_to::date FROM ordered ORDER BY id, valid_from;
SELECT public.raises($q$SELECT pipeline.merge_dimension('ordered', source => $$SELECT 1 AS id, 'x' AS v, timestamptz '2024-01-02' AS at, 9 AS seq$$)$q$);
SELECT public.raises($q$SELECT pipeline.merge_dimension('ordered', source => $$SELECT * FROM (VALUES (2, 'x', timestamptz '2024-01-02', 9), (2, 'y', '2024-01-02', 9)) x(id, v, at, seq)$$)$q$);

-- A feed: operations by mapping, rejects, late and tied events.
CREATE TABLE feed (id int, v text, op text, at timestamptz);
INSERT INTO feed VALUES (1, 'a', 'c', '2024-01-01'), (1, 'b', 'u', '2024-01-05'), (2, 'x', 'c', '2024-01-01'), (2, NULL, 'gone', '2024-01-09'),
  (3, 'y', '?', '2024-01-01'), (4, 'z', 'c', NULL), (5, 'z', 'c', 'infinity'), (NULL, 'z', 'c', '2024-01-01'), (6, 'z', NULL, '2024-01-01');
SELECT pipeline.create_dimension('cdc', 'feed', '{id}', 'cdc', effective_at => 'at', operation => '{"column": "op", "delete": ["gone"], "upsert": ["c", "u"]}', max_rejected_fraction => 0.6, unknown_member => false);
SELECT counts(pipeline.merge_dimension('cdc', batch_id => 'one'));
SELECT row, reason FROM pipeline.rejects WHERE dimension = 'cdc'::regclass ORDER BY reject_id;
SELECT counts(pipeline.merge_dimension('cdc', source => $$SELECT * FROM (VALUES (1, 'late', 'u', timestamptz '2024-01-03'), (2, 'x', 'u', '2024-01-05'), (2, NULL, 'gone', '2024-01-20')) v(id, v, op, at)$$));
SELECT id, v, valid_from::date, valid_to::date, close_reason FROM cdc ORDER BY id, valid_from;
SELECT id, v, pipeline_at::date, pipeline_delete FROM cdc_events ORDER BY id, pipeline_at;
SELECT public.raises($q$SELECT pipeline.merge_dimension('cdc', source => $$SELECT 1 AS id, 'other' AS v, 'u' AS op, timestamptz '2024-01-03' AS at$$)$q$);
-- The same batch with other content: in place of what it said.
SET client_min_messages = warning;
SELECT counts(pipeline.merge_dimension('cdc', batch_id => 'one'));
RESET client_min_messages;
UPDATE feed SET v = 'B' WHERE v = 'b';
SELECT regexp_replace(public.raises($$SELECT pipeline.merge_dimension('cdc', batch_id => 'one')$$), 'merge \d+', 'merge N');
SELECT counts(pipeline.merge_dimension('cdc', batch_id => 'one', on_replay => 'replace'));
SELECT v, valid_from::date, valid_to::date FROM cdc WHERE id = 1 ORDER BY valid_from;
SELECT batch_id, path, late FROM pipeline.merges WHERE dimension = 'cdc'::regclass ORDER BY merge_id;
-- Rebuilt from its events: keys that stay keep their surrogate keys.
CREATE TABLE keys AS SELECT surrogate_key, id, valid_from FROM cdc;
SELECT counts(pipeline.rebuild_dimension('cdc', $$SELECT * FROM (VALUES (1, 'a', 'c', timestamptz '2024-01-01'), (1, 'b', 'u', '2024-01-05'), (7, 'n', 'c', '2024-01-01')) v(id, v, op, at)$$));
SELECT id, v, valid_from::date, valid_to::date, k.surrogate_key IS NOT NULL AS kept FROM cdc LEFT JOIN keys k USING (surrogate_key, id, valid_from) ORDER BY id, valid_from;
SELECT count(*) FROM cdc_events;
SELECT public.raises($$SELECT pipeline.rebuild_dimension('types', 'src')$$);

-- A snapshot batch that is replaced, as of the same time.
CREATE TABLE snap (id int, v text);
INSERT INTO snap VALUES (1, 'a'), (2, 'b');
SELECT pipeline.create_dimension('replaced', 'snap', '{id}', 'snapshot', hard_deletes => 'invalidate', unknown_member => false);
SELECT counts(pipeline.merge_dimension('replaced', '2024-01-01', 'b1'));
UPDATE snap SET v = 'A' WHERE id = 1;
SELECT counts(pipeline.merge_dimension('replaced', batch_id => 'b1', on_replay => 'replace'));
DELETE FROM snap WHERE id = 2;
SELECT counts(pipeline.merge_dimension('replaced', batch_id => 'b1', on_replay => 'replace', max_delete_fraction => 1));
SELECT id, v, valid_from::date, valid_to::date FROM replaced ORDER BY id;

-- A column that is new in the source: fail, ignore, add. It versions nothing.
ALTER TABLE snap ADD note text;
UPDATE snap SET note = 'n';
SELECT public.raises($$SELECT pipeline.merge_dimension('replaced', '2024-02-01')$$);
SELECT pipeline.alter_dimension('replaced', '{"on_new_column": "ignore"}');
SELECT counts(pipeline.merge_dimension('replaced', '2024-02-01'));
SELECT pipeline.alter_dimension('replaced', '{"on_new_column": "add"}');
SELECT counts(pipeline.merge_dimension('replaced', '2024-03-01'));
UPDATE snap SET note = 'm';
SELECT counts(pipeline.merge_dimension('replaced', '2024-04-01'));
SELECT id, v, note, valid_from::date, valid_to::date FROM replaced ORDER BY id, valid_from;
SELECT type2, on_new_column FROM pipeline.dimensions WHERE dimension = 'replaced'::regclass;

-- alter_dimension: what moves to another list leaves type2; null is the default; unknown keys.
SELECT pipeline.alter_dimension('replaced', '{"type1": ["note"], "on_new_column": null, "description": "x"}');
SELECT type2, type1, on_new_column, description, batch FROM pipeline.dimensions, (SELECT count(*) AS batch FROM pipeline.merges WHERE dimension = 'replaced'::regclass) m WHERE dimension = 'replaced'::regclass;
SELECT action, kind, name FROM pipeline.changes WHERE name = 'scd_feeds.replaced' ORDER BY change_id;
SELECT public.raises($$SELECT pipeline.alter_dimension('replaced', '{"type9": []}')$$);
SELECT public.raises($$SELECT pipeline.alter_dimension('replaced', '{"type1": "note"}')$$);
SELECT public.raises($$SELECT pipeline.alter_dimension('replaced', '{"feed": "cdc"}')$$);
GRANT USAGE ON SCHEMA scd_feeds TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT public.raises($$SELECT pipeline.alter_dimension('replaced', '{}')$$);
SELECT public.raises($$SELECT pipeline.rebuild_dimension('cdc', 'feed')$$);
SELECT public.raises($$SELECT * FROM pipeline.explain_merge('cdc')$$);
SELECT public.raises($$SELECT * FROM pipeline.dimension_changes('cdc', '2024-01-01')$$);
RESET ROLE;

-- A unique index on what is current; a range with an exclusion constraint.
SELECT pipeline.create_dimension('with_index', 'snap', '{id}', 'snapshot', current_index => true);
SELECT indexdef FROM pg_indexes WHERE tablename = 'with_index' AND indexdef LIKE '%WHERE%';
SELECT counts(pipeline.merge_dimension('with_index', '2024-01-01'));
UPDATE snap SET v = 'Q';
SELECT counts(pipeline.merge_dimension('with_index', '2024-02-01'));
SELECT public.raises($$SELECT pipeline.create_dimension('temporal', 'snap', '{id}', 'snapshot', temporal_key => true)$$)
WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist');
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path = 'scd_feeds' ORDER BY dimension::text;
SET client_min_messages = warning;
DROP SCHEMA scd_feeds CASCADE;
