-- The timestamp strategy: since when a row is true says a column of it. What
-- the tests of dbt and SQLMesh expect of it, where their cases are at hand.
\getenv data PIPELINE_TEST_DATA
SET client_min_messages = warning;
CREATE SCHEMA scd_timestamp;
SET search_path = scd_timestamp;
SET timezone = 'UTC';
CREATE TABLE passed (id text);
-- dbt's: statements between snapshots. `statements`: for the steps that only
-- describe theirs. `at`: when a snapshot is taken, where it matters.
CREATE FUNCTION run_dbt(c jsonb, source text, statements text[] = '{}', at timestamptz[] = '{}', names jsonb = '{}', rows_expected int[] = '{}')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  keys text[] = ARRAY(SELECT jsonb_array_elements_text(c->'config'->'key'));
  by_time boolean = c->'config'->>'strategy' = 'timestamp';
  valid_to text = quote_ident(coalesce(names->>'valid_to', 'valid_to'));
  step jsonb; n int = 0; got text; expected text; expected_rows int;
BEGIN
  FOR step IN SELECT jsonb_array_elements(c->'steps') LOOP
    n = n + 1;
    EXECUTE coalesce(statements[n], step->>'sql');
    IF n = 1 THEN
      -- dbt keeps updated_at as an attribute.
      EXECUTE format('CREATE TEMP TABLE shape AS SELECT * FROM %s x LIMIT 0', CASE WHEN source LIKE 'SELECT%' THEN '(' || source || ')' ELSE source END);
      PERFORM pipeline.create_dimension('scd_timestamp.dim', source, keys, 'snapshot',
        type2 => ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = 'shape'::regclass AND attnum > 0 AND NOT attname = ANY (keys)), hard_deletes => c->'config'->>'hard_deletes',
        effective_at => CASE WHEN by_time THEN c->'config'->>'updated_at' END, on_tie => CASE WHEN by_time THEN 'keep' ELSE 'error' END,
        open_end => c->'config'->>'open_end', on_new_column => 'add', max_delete_fraction => 1, names => names);
    END IF;
    PERFORM pipeline.merge_dimension('scd_timestamp.dim', coalesce(at[n], timestamptz '2020-01-01' + n * interval '1 day'));
    IF step ? 'expect_current_ids' THEN
      EXECUTE format('SELECT string_agg(id::text, '','' ORDER BY id) FROM dim WHERE surrogate_key <> -1 AND %s IS NULL', valid_to) INTO got;
      expected = (SELECT string_agg(v, ',' ORDER BY v::int) FROM jsonb_array_elements_text(step->'expect_current_ids') v);
      IF got IS DISTINCT FROM expected THEN RAISE '%, step %: current % but expected %', c->>'id', n, got, expected; END IF;
      EXECUTE format('SELECT coalesce(string_agg(id::text, '','' ORDER BY id), '''') FROM dim WHERE surrogate_key <> -1 AND %s IS NOT NULL', valid_to) INTO got;
      expected = (SELECT coalesce(string_agg(v, ',' ORDER BY v::int), '') FROM jsonb_array_elements_text(step->'expect_closed_ids') v);
      IF got IS DISTINCT FROM expected THEN RAISE '%, step %: closed % but expected %', c->>'id', n, got, expected; END IF;
    END IF;
    expected_rows = coalesce(rows_expected[n], (step->>'expect_row_count')::int);
    IF expected_rows <> (SELECT count(*) FROM dim WHERE surrogate_key <> -1) THEN
      RAISE '%, step %: % rows', c->>'id', n, (SELECT count(*) FROM dim WHERE surrogate_key <> -1);
    END IF;
    IF step ? 'expect_rows_for_id1' AND (step->>'expect_rows_for_id1')::int <> (SELECT count(*) FROM dim d WHERE to_jsonb(d)->>'id' = '1') THEN
      RAISE '%, step %: % rows of key 1', c->>'id', n, (SELECT count(*) FROM dim WHERE id = 1);
    END IF;
    IF step->>'expect' LIKE 'one closed not-deleted%' THEN
      EXECUTE format('SELECT string_agg(concat(%s IS NULL, is_deleted), '' '' ORDER BY valid_from) FROM dim WHERE id = 1', valid_to) INTO got;
      IF got <> 'ff tt' THEN RAISE '%, step %: %', c->>'id', n, got; END IF;
    END IF;
    -- Each key has one open version that equals the source, and from its updated_at on; the one before it ends there.
    IF by_time AND step ? 'expect_sql' THEN
      EXECUTE format($q$
        SELECT count(*) FROM seed20 s LEFT JOIN dim d ON d.id = s.id AND d.is_current
          LEFT JOIN (SELECT id, max(%2$I) AS ends FROM dim WHERE NOT is_current GROUP BY id) p ON p.id = s.id
        WHERE (d.first_name, d.last_name, d.email, d.gender, d.ip_address, d.updated_at, d.%1$I, p.ends) IS DISTINCT FROM
              (s.first_name, s.last_name, s.email, s.gender, s.ip_address, s.updated_at, s.updated_at::timestamptz, CASE WHEN s.id >= 10 THEN s.updated_at::timestamptz END)
        $q$, coalesce(names->>'valid_from', 'valid_from'), coalesce(names->>'valid_to', 'valid_to')) INTO got;
      IF got <> '0' THEN RAISE '%, step %: % keys are wrong', c->>'id', n, got; END IF;
    END IF;
  END LOOP;
  PERFORM pipeline.drop_dimension('scd_timestamp.dim', true);
  DROP TABLE IF EXISTS fact, s, shape;
  TRUNCATE seed20;
  INSERT INTO seed20 TABLE kept20;
  RETURN c->>'id';
END $$;
-- SQLMesh's: whole snapshots, and the whole history expected. Ours differs in
-- two points: a key that is new after the first load starts when its row says,
-- and a member that comes back comes back when the snapshot saw it.
CREATE FUNCTION run_sqlmesh(c jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  columns text[] = ARRAY(SELECT jsonb_array_elements_text(c->'source_columns'));
  keys text[] = ARRAY(SELECT jsonb_array_elements_text(c->'config'->'key'));
  effective_at text = coalesce(c->'config'->>'updated_at', c->'config'->>'valid_from_column');
  is_attribute boolean = c->'config' ? 'updated_at';
  shown text[] = CASE WHEN is_attribute THEN columns ELSE array_remove(columns, effective_at) END;
  list text = (SELECT string_agg(quote_ident(x), ', ' ORDER BY n) FROM unnest(shown) WITH ORDINALITY u(x, n));
  attributes text[] = ARRAY(SELECT unnest(shown) EXCEPT SELECT unnest(keys));
  late_start boolean = c->'config'->>'new_key_valid_from' = c->'config'->>'first_valid_from';
  first_from timestamptz = nullif(c->'config'->>'first_valid_from', effective_at);
  step jsonb; n int = 0; wrong text;
BEGIN
  EXECUTE format('CREATE TABLE src (%s)', (SELECT string_agg(format('%I %s', x, CASE x WHEN effective_at THEN 'timestamptz' ELSE 'text' END), ', ' ORDER BY o) FROM unnest(columns) WITH ORDINALITY u(x, o)));
  PERFORM pipeline.create_dimension('scd_timestamp.dim', 'scd_timestamp.src', keys, 'snapshot', type2 => attributes, effective_at => effective_at, on_tie => 'keep',
    hard_deletes => c->'config'->>'hard_deletes', initial_valid_from => first_from, max_delete_fraction => 1, open_end => NULL);
  FOR step IN SELECT jsonb_array_elements(c->'steps') LOOP
    n = n + 1;
    TRUNCATE src;
    EXECUTE format('INSERT INTO src SELECT %s FROM jsonb_array_elements($1) r',
      (SELECT string_agg(format('(r->>%s)::%s', i - 1, CASE columns[i] WHEN effective_at THEN 'timestamptz' ELSE 'text' END), ', ' ORDER BY i) FROM generate_subscripts(columns, 1) i)) USING step->'source';
    PERFORM pipeline.merge_dimension('scd_timestamp.dim', (step->>'run_ts')::timestamptz);
    CONTINUE WHEN NOT step ? 'expect_target';
    EXECUTE format($q$
      WITH r AS (SELECT r, (r->>%1$s)::timestamptz AS vf, (r->>%2$s)::timestamptz AS vt, row_number() OVER (PARTITION BY r->>0 ORDER BY r->>%1$s) AS version FROM jsonb_array_elements($1) r),
           e AS (SELECT %3$s, CASE WHEN $3 AND vf = $4 AND NOT $2 @> jsonb_build_array(r->0) THEN (r->>%5$s)::timestamptz
                               WHEN $5 AND version = 2 THEN $6 ELSE vf END AS valid_from, vt AS valid_to FROM r),
           g AS (SELECT %4$s, valid_from, valid_to FROM dim WHERE surrogate_key <> -1)
      SELECT concat_ws('; ', (SELECT 'expected ' || string_agg(x::text, ' ') FROM (TABLE e EXCEPT ALL TABLE g) x),
                             (SELECT 'got ' || string_agg(x::text, ' ') FROM (TABLE g EXCEPT ALL TABLE e) x)) $q$,
      cardinality(columns), cardinality(columns) + 1,
      (SELECT string_agg(format(CASE x WHEN effective_at THEN '(r->>%s)::timestamptz' ELSE 'r->>%s' END, array_position(columns, x) - 1), ', ' ORDER BY o) FROM unnest(shown) WITH ORDINALITY u(x, o)),
      list, array_position(columns, effective_at) - 1)
    INTO wrong USING step->'expect_target', (SELECT jsonb_agg(r->0) FROM jsonb_array_elements(c->'steps'->0->'source') r), late_start, first_from,
      c->'config' ? 'reappear_valid_from', (step->>'run_ts')::timestamptz;
    IF wrong <> '' THEN RAISE '%, step %: %', c->>'id', n, wrong; END IF;
  END LOOP;
  PERFORM pipeline.drop_dimension('scd_timestamp.dim', true);
  DROP TABLE src;
  RETURN c->>'id';
END $$;
\if :{?data}
\o /dev/null
CREATE TABLE seed30 (id int, first_name varchar(50), last_name varchar(50), email varchar(50), gender varchar(50), ip_address varchar(20), updated_at timestamp);
CREATE TABLE kept20 (LIKE seed30);
\set copy '\\copy seed30 FROM ' :data '/scd/dbt_snapshot/seed30.tsv (HEADER, FORMAT csv, DELIMITER E''\\t'')'
:copy
\set copy '\\copy kept20 FROM ' :data '/scd/dbt_snapshot/seed20.tsv (HEADER, FORMAT csv, DELIMITER E''\\t'')'
:copy
CREATE TABLE seed20 AS TABLE kept20;
CREATE FUNCTION dbt(name text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_read_file(current_setting('scd_timestamp.data') || '/scd/dbt_snapshot/' || name || '.json')::jsonb $$;
SET scd_timestamp.data = :'data';
INSERT INTO passed SELECT run_dbt(dbt(name), 'scd_timestamp.fact') FROM unnest('{dbt-inserts,dbt-updates,dbt-deletes,dbt-revives,dbt-new-column}'::text[]) name;
INSERT INTO passed SELECT run_dbt(dbt('dbt-timestamp-counts'), 'scd_timestamp.fact', ARRAY[
  $$CREATE TABLE fact AS SELECT g AS id, 'name' || g AS name, timestamp '2019-01-01' + g * interval '1 day' AS some_date FROM generate_series(1, 10) g$$,
  $$INSERT INTO fact SELECT g, 'name' || g, timestamp '2019-01-01' + g * interval '1 day' FROM generate_series(11, 20) g$$,
  $$UPDATE fact SET some_date = some_date + interval '1 day' WHERE id > 10$$, $$UPDATE fact SET name = name || '_updated' WHERE id <= 10$$]);
SELECT $$UPDATE seed20 SET updated_at = updated_at + interval '1 hour', email = CASE WHEN id = 20 THEN 'pfoxj@creativecommons.org' ELSE 'new_' || email END WHERE id BETWEEN 10 AND 20$$ AS change \gset
INSERT INTO passed SELECT run_dbt(dbt('dbt-valid-to-current-2099'), 'scd_timestamp.seed20', ARRAY['SELECT 1', :'change']);
INSERT INTO passed SELECT run_dbt(dbt('dbt-column-names'), 'scd_timestamp.seed20', ARRAY['SELECT 1', :'change'],
  names => '{"valid_from": "test_valid_from", "valid_to": "test_valid_to", "scd_id": "test_scd_id", "updated_at": "test_updated_at"}');
INSERT INTO passed SELECT run_dbt(dbt('dbt-multi-key'), 'SELECT id AS id1, id * 100 AS id2, first_name, email, updated_at FROM scd_timestamp.seed20', ARRAY['SELECT 1', :'change']);
-- Deletes are as of the snapshot, which must come after the history.
SELECT ARRAY['SELECT 1', :'change', 'DELETE FROM seed20 WHERE id = 1', 'SELECT 1',
  $$INSERT INTO seed20 VALUES (1, 'Judith', 'Kennedy', '(not provided)', 'Female', '54.60.24.128', '2200-01-01 12:00:00')$$, 'DELETE FROM seed20 WHERE id = 1', 'SELECT 1'] AS changes \gset
INSERT INTO passed SELECT run_dbt(dbt('dbt-new-record-timestamp'), 'scd_timestamp.seed20', :'changes', ARRAY[NULL, NULL, NULL, NULL, NULL, '2200-02-01', '2200-02-02']::timestamptz[]);
INSERT INTO passed SELECT run_dbt(dbt('dbt-new-record-check'), 'scd_timestamp.seed20', :'changes');
INSERT INTO passed SELECT run_dbt(dbt('dbt-new-record-valid-to-current'), 'scd_timestamp.s', ARRAY[NULL, NULL, 'SELECT 1']);
-- A column that is new versions no row here: dbt has six.
INSERT INTO passed SELECT run_dbt(dbt('dbt-new-column-with-deletes'), 'scd_timestamp.s', ARRAY['CREATE TABLE s AS SELECT id, first_name FROM seed30 WHERE id <= 3',
  'ALTER TABLE s ADD COLUMN more int; UPDATE s SET more = 1; DELETE FROM s WHERE id = 3'], rows_expected => '{3,4}');
INSERT INTO passed SELECT run_sqlmesh(c) FROM (SELECT pg_read_file(:'data' || '/scd/sqlmesh/' || f)::jsonb AS c FROM pg_ls_dir(:'data' || '/scd/sqlmesh') f WHERE f LIKE '%.json') x
WHERE c->'config'->>'strategy' = 'timestamp' OR c->'config' ? 'valid_from_column';
DO $$ BEGIN
  IF (SELECT count(*) FROM scd_timestamp.passed) <> 20 THEN
    RAISE 'passed: %', (SELECT string_agg(id, ' ' ORDER BY id) FROM scd_timestamp.passed);
  END IF;
END $$;
\o
\endif
DROP SCHEMA scd_timestamp CASCADE;
SELECT 'ok' AS result;
