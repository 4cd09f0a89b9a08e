-- Every way of a merge gives the same: past the executor, in memory and in
-- partitions; read directly but written by the executor; by the executor; by
-- replaying events. And what sends a merge which way.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
CREATE SCHEMA scd_paths;
SET search_path = scd_paths;
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE src (k1 numeric, k2 text COLLATE ci, a text, b jsonb, c float8, d int);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE ways (way text, ord int, dimension text, source text);
INSERT INTO ways VALUES ('direct', 1, 'd_direct', 'src'), ('direct, source a query', 2, 'd_query', 'SELECT * FROM src'), ('direct read', 3, 'd_trigger', 'src'),
  ('executor', 4, 'd_executor', 'src'), ('events', 5, 'd_events', 'src'), ('exact', 6, 'd_exact', 'src'),
  ('partitions', 7, 'd_parts', 'src'), ('partitions, source too', 8, 'd_parts2', 'src_parts');
-- Partitions of partitions, whose columns have places of their own; a version that is closed moves.
CREATE TABLE src_parts (LIKE src) PARTITION BY LIST (d);
CREATE TABLE src_part0 (d int, gone int, c float8, b jsonb, a text, k2 text COLLATE ci, k1 numeric);
ALTER TABLE src_part0 DROP gone;
ALTER TABLE src_parts ATTACH PARTITION src_part0 FOR VALUES IN (0);
CREATE TABLE src_part1 PARTITION OF src_parts DEFAULT;
CREATE SEQUENCE keys;
CREATE FUNCTION make_parts(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE %1$I (surrogate_key bigint NOT NULL DEFAULT nextval(''scd_paths.keys''), LIKE src, valid_from timestamptz NOT NULL, valid_to timestamptz NOT NULL,'
    ' is_current boolean NOT NULL, close_reason text, merge_id bigint) PARTITION BY LIST (is_current);'
    'CREATE TABLE %1$s_open (gone int, is_current boolean NOT NULL, merge_id bigint, close_reason text, valid_to timestamptz NOT NULL, valid_from timestamptz NOT NULL, LIKE src,'
    ' surrogate_key bigint NOT NULL); ALTER TABLE %1$s_open DROP gone; ALTER TABLE %1$I ATTACH PARTITION %1$s_open FOR VALUES IN (true);'
    'CREATE TABLE %1$s_closed PARTITION OF %1$I FOR VALUES IN (false) PARTITION BY RANGE (valid_from);'
    'CREATE TABLE %1$s_empty PARTITION OF %1$s_closed FOR VALUES FROM (''1990-01-01'') TO (''1991-01-01'');'
    'CREATE TABLE %1$s_early PARTITION OF %1$s_closed FOR VALUES FROM (''2000-01-01'') TO (''2024-01-03'');'
    'CREATE TABLE %1$s_late PARTITION OF %1$s_closed DEFAULT', name);
END $$;

-- A random step: some keys appear, vanish, change, are repeated, are NULL;
-- values equal by type that differ in their image.
CREATE FUNCTION step(keys int, seed float8) RETURNS void LANGUAGE sql AS $$
  SELECT setseed(seed);
  TRUNCATE src;
  INSERT INTO src
  SELECT CASE WHEN random() < 0.01 THEN NULL WHEN random() < 0.5 THEN g::numeric ELSE g + 0.00 END,
         CASE WHEN random() < 0.5 THEN 'k' ELSE 'K' END, CASE WHEN random() < 0.1 THEN NULL ELSE 'v' || floor(random() * 2) END,
         CASE WHEN random() < 0.5 THEN '{"x": 1, "y": 2}' ELSE '{"y": 2.0, "x": 1.0}' END::jsonb,
         CASE WHEN random() < 0.5 THEN 0 ELSE '-0'::float8 END, floor(random() * 3)::int
  FROM generate_series(1, keys) g WHERE random() < 0.8;
  INSERT INTO src SELECT * FROM src WHERE random() < 0.05;
  TRUNCATE src_parts;
  INSERT INTO src_parts TABLE src $$;
CREATE FUNCTION history(dimension text) RETURNS TABLE (h text) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT concat_ws(''|'', trim_scale(k1), lower(k2), a, b, abs(c), d, valid_from, valid_to, is_current, close_reason) FROM %I', dimension);
END $$;
CREATE FUNCTION run(keys int, seed float8, feed text, deletes text) RETURNS TABLE (n bigint, result text) LANGUAGE plpgsql AS $$
DECLARE w ways; r pipeline.merge_result; summary text; first text; digest text; ways_said text; fault text;
BEGIN
  FOR w IN SELECT * FROM ways ORDER BY ord LOOP
    IF w.way LIKE 'partitions%' THEN PERFORM make_parts(w.dimension); END IF;
    PERFORM pipeline.create_dimension('scd_paths.' || w.dimension, w.source, '{k1,k2}', feed, type1 => '{d}', hard_deletes => deletes, max_rejected_fraction => 1, max_delete_fraction => 1,
      on_tie => CASE w.way WHEN 'events' THEN 'keep' ELSE 'error' END, exact => w.way = 'exact');
    IF w.way = 'direct read' THEN EXECUTE format('CREATE TRIGGER t BEFORE INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION scd_paths.nothing()', w.dimension); END IF;
  END LOOP;
  FOR i IN 1..4 LOOP
    PERFORM step(keys, seed + i * 0.01);
    first = NULL;
    FOR w IN SELECT * FROM ways ORDER BY ord LOOP
      PERFORM set_config('pipeline.direct_access', CASE w.way WHEN 'executor' THEN 'off' ELSE 'on' END, true);
      r = pipeline.merge_dimension('scd_paths.' || w.dimension, timestamptz '2024-01-01' + i * interval '1 day', 'b' || i);
      summary = concat_ws(' ', r.rows_read, r.inserted, r.versioned, r.updated_type1, r.reopened, r.unchanged, r.duplicate, r.rejected, r.closed, r.missing);
      first = coalesce(first, summary);
      IF summary <> first THEN fault = format('seed %s, step %s, %s: %s, not %s', seed, i, w.way, summary, first); END IF;
      IF w.ord = 1 THEN SELECT md5(string_agg(h, ' ' ORDER BY h COLLATE "C")) INTO digest FROM history('d_direct'); END IF;
      IF digest IS DISTINCT FROM (SELECT md5(string_agg(h, ' ' ORDER BY h COLLATE "C")) FROM history(w.dimension)) THEN
        fault = format('seed %s, step %s, %s: another history: %s', seed, i, w.way, (SELECT min(h) FROM (SELECT * FROM history('d_direct') EXCEPT ALL SELECT * FROM history(w.dimension)) x));
      END IF;
      EXIT WHEN fault IS NOT NULL;
    END LOOP;
    EXIT WHEN fault IS NOT NULL;
  END LOOP;
  n = (SELECT count(*) FROM d_direct);
  IF fault IS NULL THEN
    SELECT string_agg(DISTINCT format('%s: %s', w2.way, m.path), ', ') INTO ways_said FROM pipeline.merges m JOIN ways w2 ON m.dimension = ('scd_paths.' || w2.dimension)::regclass;
  END IF;
  FOR w IN SELECT * FROM ways LOOP PERFORM pipeline.drop_dimension('scd_paths.' || w.dimension, true); END LOOP;
  result = coalesce(fault, ways_said);
  RETURN NEXT;
END $$;
SELECT feed, deletes, result FROM (VALUES ('snapshot', 'invalidate', 0.1), ('snapshot', 'ignore', 0.2), ('delta', 'ignore', 0.3)) v(feed, deletes, seed), run(200, seed, feed, deletes);
-- In partitions on disk, by both kinds of source.
DELETE FROM ways WHERE way NOT IN ('direct', 'direct, source a query', 'executor', 'partitions, source too');
SET work_mem = '64kB';
SELECT n > 6000 AS many, result FROM run(6000, 0.5, 'snapshot', 'invalidate');
RESET work_mem;

-- What sends a merge which way, one condition each.
CREATE TABLE people (id int, name text);
INSERT INTO people VALUES (1, 'a');
CREATE FUNCTION way(dimension regclass) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(l, E'\n' ORDER BY n) FROM pipeline.explain_merge(dimension) WITH ORDINALITY e(l, n) WHERE l NOT LIKE 'memory%' $$;
\pset format unaligned
\pset tuples_only on
SELECT pipeline.create_dimension('d', 'people', '{id}', 'snapshot');
SELECT way('d');
SELECT regexp_replace(l, '\d+ MB \(', 'N MB (') FROM pipeline.explain_merge('d') l WHERE l LIKE 'memory%';
SET pipeline.direct_access = off;
SELECT way('d');
RESET pipeline.direct_access;
CREATE TABLE refers (sk bigint REFERENCES d (surrogate_key));
SELECT way('d');
CREATE TRIGGER t AFTER UPDATE ON d EXECUTE FUNCTION nothing();
SELECT way('d');
DROP TRIGGER t ON d;
CREATE RULE r AS ON INSERT TO d DO ALSO NOTIFY x;
SELECT way('d');
DROP RULE r ON d;
ALTER TABLE d ADD FOREIGN KEY (surrogate_key) REFERENCES d (surrogate_key);
SELECT way('d');
ALTER TABLE d DROP CONSTRAINT d_surrogate_key_fkey;
ALTER TABLE d ADD UNIQUE (merge_id, surrogate_key) DEFERRABLE;
SELECT way('d');
SELECT pipeline.alter_dimension('d', '{"source": "SELECT * FROM people"}');
SELECT way('d');
CREATE VIEW people_view AS TABLE people;
SELECT pipeline.alter_dimension('d', '{"source": "people_view"}');
SELECT way('d');
CREATE TABLE people_parts (id int, name text) PARTITION BY LIST (id);
SELECT pipeline.alter_dimension('d', '{"source": "people_parts"}');
SELECT way('d');
CREATE TABLE people_short (id int, name varchar(9));
SELECT pipeline.create_dimension('short', 'SELECT 1 AS id, ''x''::varchar(5) AS name', '{id}', 'snapshot');
SELECT pipeline.alter_dimension('short', '{"source": "people_short"}');
SELECT way('short');
SELECT pipeline.alter_dimension('d', '{"on_tie": "keep"}');
SELECT way('d');
CREATE TABLE part (surrogate_key bigint GENERATED BY DEFAULT AS IDENTITY, id int, name text, valid_from timestamptz, valid_to timestamptz,
                   is_current boolean, close_reason text, merge_id bigint) PARTITION BY LIST (is_current);
CREATE TABLE part_all PARTITION OF part DEFAULT;
SELECT pipeline.create_dimension('part', 'people', '{id}', 'snapshot');
SELECT way('part');
SELECT versioned, inserted, closed FROM pipeline.merge_dimension('part', '2024-01-01');
-- A few versions among many, in leaves: they are found by their places, with a type 1 change and a delete.
CREATE TABLE crowd AS SELECT g AS id, 'n' || g AS name, 0 AS size FROM generate_series(1, 3000) g;
CREATE TABLE leaves (surrogate_key bigint GENERATED BY DEFAULT AS IDENTITY, id int, name text, size int, valid_from timestamptz, valid_to timestamptz,
                     is_current boolean, close_reason text, merge_id bigint) PARTITION BY HASH (id);
SELECT format('CREATE TABLE leaves_%1$s PARTITION OF leaves FOR VALUES WITH (MODULUS 4, REMAINDER %1$s)', g) FROM generate_series(0, 3) g \gexec
SELECT pipeline.create_dimension('leaves', 'crowd', '{id}', 'snapshot', type1 => '{size}', hard_deletes => 'invalidate');
SELECT inserted FROM pipeline.merge_dimension('leaves', '2024-01-01');
ANALYZE leaves;
UPDATE crowd SET name = 'x' WHERE id IN (7, 1500, 2999);
UPDATE crowd SET size = 1 WHERE id IN (8, 1501);
DELETE FROM crowd WHERE id = 9;
SELECT rows_read, versioned, updated_type1, unchanged, closed FROM pipeline.merge_dimension('leaves', '2024-02-01');
SELECT id, name, size, is_current, close_reason FROM leaves WHERE merge_id = (SELECT max(merge_id) FROM leaves) ORDER BY id, valid_from;
SELECT count(*), count(*) FILTER (WHERE is_current) FROM leaves WHERE id IS NOT NULL;
-- Generated columns, defaults and constraints are kept past the executor too.
CREATE SEQUENCE special;
CREATE TABLE full_house (sk int DEFAULT nextval('special') PRIMARY KEY, id int, name text CHECK (name <> 'bad'), valid_from timestamptz, valid_to timestamptz,
  is_current boolean, close_reason text, merge_id bigint, valid_days int GENERATED ALWAYS AS (extract(day FROM least(valid_to, '2100-01-01'::timestamp at time zone 'UTC') - valid_from)) STORED,
  loaded timestamptz NOT NULL DEFAULT '2024-01-01', UNIQUE (id, valid_from));
CREATE INDEX ON full_house (lower(name)) WHERE is_current;
SELECT pipeline.create_dimension('full_house', 'people', '{id}', 'snapshot', names => '{"surrogate_key": "sk"}', unknown_member => false);
SELECT way('full_house');
SELECT inserted FROM pipeline.merge_dimension('full_house', '2024-01-01');
UPDATE people SET name = 'b';
SELECT versioned FROM pipeline.merge_dimension('full_house', '2024-01-11');
SELECT sk, id, name, valid_days, loaded FROM full_house ORDER BY sk;
SET enable_seqscan = off;
SELECT sk FROM full_house WHERE lower(name) = 'b' AND is_current;
RESET enable_seqscan;
UPDATE people SET name = 'bad';
SELECT split_part(public.raises($$SELECT pipeline.merge_dimension('full_house', '2024-01-21')$$), ' | Failing', 1);
ALTER TABLE full_house ADD CONSTRAINT short CHECK (valid_to > '2024-01-25') NOT VALID;
UPDATE people SET name = 'c';
SELECT split_part(public.raises($$SELECT pipeline.merge_dimension('full_house', '2024-01-21')$$), ' | Failing', 1);
CREATE UNIQUE INDEX ON full_house (name);
UPDATE people SET name = 'a';
SELECT public.raises($$SELECT pipeline.merge_dimension('full_house', '2024-01-31')$$);
SELECT count(*) FROM full_house;
SELECT pipeline.drop_dimension(dimension, false) FROM pipeline.dimensions WHERE search_path = 'scd_paths';
DROP SCHEMA scd_paths CASCADE;
