-- What the tests of other systems expect of a type 2 history, where their
-- cases are at hand: SQLMesh's and dlt's snapshots, and dbt's check strategy.
\getenv data PIPELINE_TEST_DATA
SET client_min_messages = warning;
CREATE SCHEMA scd_cases;
SET search_path = scd_cases;
SET timezone = 'UTC';
-- A time of a case: t1, t2, ... or a timestamp.
CREATE FUNCTION at(t text) RETURNS timestamptz LANGUAGE sql AS $$
  SELECT CASE WHEN t ~ '^t\d+$' THEN timestamptz '2024-01-01' + substr(t, 2)::int * interval '1 day' ELSE t::timestamptz END $$;
CREATE FUNCTION run_case(c jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  columns text[] = ARRAY(SELECT jsonb_array_elements_text(c->'source_columns'));
  keys text[] = ARRAY(SELECT jsonb_array_elements_text(c->'config'->'key'));
  tracked text[] = CASE WHEN jsonb_typeof(c->'config'->'track_history') = 'array'
                        THEN ARRAY(SELECT jsonb_array_elements_text(c->'config'->'track_history')) END;
  list text = (SELECT string_agg(quote_ident(x), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY u(x, n));
  step jsonb; steps int = 0; wrong text; first_from timestamptz;
BEGIN
  EXECUTE format('CREATE TABLE src (%s)', (SELECT string_agg(format('%I text', x), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY u(x, n)));
  IF c->'config'->>'first_valid_from' <> 'run_ts' THEN first_from = at(c->'config'->>'first_valid_from'); END IF;
  PERFORM pipeline.create_dimension('scd_cases.dim', 'scd_cases.src', keys,
    CASE c->'config'->>'feed' WHEN 'full_snapshot' THEN 'snapshot' ELSE 'delta' END,
    type2 => tracked, type1 => CASE WHEN tracked IS NULL THEN '{}' ELSE ARRAY(SELECT unnest(columns) EXCEPT SELECT unnest(keys || tracked)) END,
    hard_deletes => c->'config'->>'hard_deletes', initial_valid_from => first_from, max_delete_fraction => 1,
    open_end => at(c->'config'->>'open_end')::text);
  FOR step IN SELECT jsonb_array_elements(c->'steps') LOOP
    steps = steps + 1;
    TRUNCATE src;
    EXECUTE format('INSERT INTO src SELECT %s FROM jsonb_array_elements($1) r',
      (SELECT string_agg(format('r->>%s', i - 1), ', ' ORDER BY i) FROM generate_subscripts(columns, 1) i)) USING step->'source';
    PERFORM pipeline.merge_dimension('scd_cases.dim', at(step->>'run_ts'));
    IF step ? 'expect_target' THEN
      EXECUTE format($q$
        WITH e AS (SELECT %s, scd_cases.at(r->>%s) AS valid_from, scd_cases.at(r->>%s) AS valid_to FROM jsonb_array_elements($1) r),
             g AS (SELECT %s, valid_from, valid_to FROM dim WHERE surrogate_key <> -1)
        SELECT concat_ws('; ', (SELECT 'expected ' || string_agg(x::text, ' ') FROM (TABLE e EXCEPT ALL TABLE g) x),
                               (SELECT 'got ' || string_agg(x::text, ' ') FROM (TABLE g EXCEPT ALL TABLE e) x)) $q$,
        (SELECT string_agg(format('r->>%s AS %I', i - 1, columns[i]), ', ' ORDER BY i) FROM generate_subscripts(columns, 1) i),
        cardinality(columns), cardinality(columns) + 1, list) INTO wrong USING step->'expect_target';
      IF wrong <> '' THEN RAISE EXCEPTION '%, step %: %', c->>'id', steps, wrong; END IF;
    END IF;
  END LOOP;
  PERFORM pipeline.drop_dimension('scd_cases.dim', true);
  DROP TABLE src;
  RETURN c->>'id';
END $$;
-- A change feed; numbers are days.
CREATE FUNCTION day(n text) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2024-01-01' + n::int * interval '1 day' $$;
CREATE FUNCTION run_feed(c jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  columns text[] = ARRAY(SELECT jsonb_array_elements_text(c->'source_columns'));
  shown text[] = ARRAY(SELECT jsonb_array_elements_text(c->'config'->'target_columns'));
  keys text[] = ARRAY(SELECT jsonb_array_elements_text(c->'config'->'key'));
  tracked text[] = ARRAY(SELECT jsonb_array_elements_text(c->'config'->'track_history'));
  step jsonb; steps int = 0; wrong text; ok boolean; one jsonb; matched boolean;
BEGIN
  EXECUTE format('CREATE TABLE src (%s)', (SELECT string_agg(format('%I %s', x, CASE x WHEN 'seq' THEN 'timestamptz' WHEN 'is_delete' THEN 'boolean' ELSE 'text' END), ', ' ORDER BY n)
                                          FROM unnest(columns) WITH ORDINALITY u(x, n)));
  PERFORM pipeline.create_dimension('scd_cases.dim', 'scd_cases.src', keys, 'cdc', type2 => tracked,
    type1 => ARRAY(SELECT unnest(shown) EXCEPT SELECT unnest(keys || tracked)), effective_at => 'seq', operation => 'is_delete', on_tie => 'keep');
  FOR step IN SELECT jsonb_array_elements(c->'steps') LOOP
    steps = steps + 1;
    TRUNCATE src;
    EXECUTE format('INSERT INTO src SELECT %s FROM jsonb_array_elements($1) r',
      (SELECT string_agg(format(CASE columns[i] WHEN 'seq' THEN 'scd_cases.day(r->>%s)' WHEN 'is_delete' THEN '(r->>%s)::boolean' ELSE 'r->>%s' END, i - 1), ', ' ORDER BY i)
       FROM generate_subscripts(columns, 1) i)) USING step->'source';
    ok = (pipeline.merge_dimension('scd_cases.dim')).success;
    IF ok <> NOT step ? 'expect_error' THEN RAISE EXCEPTION '%, step %: success %', c->>'id', steps, ok; END IF;
    matched = NOT (step ? 'expect_target' OR step ? 'expect_one_of');
    FOR one IN SELECT jsonb_array_elements(coalesce(step->'expect_one_of', jsonb_build_array(step->'expect_target'))) LOOP
      CONTINUE WHEN one IS NULL OR jsonb_typeof(one) = 'null';
      EXECUTE format($q$
        WITH e AS (SELECT %s, scd_cases.day(r->>%s), coalesce(scd_cases.day(r->>%s), 'infinity') FROM jsonb_array_elements($1) r),
             g AS (SELECT %s, valid_from, valid_to FROM dim WHERE surrogate_key <> -1)
        SELECT concat_ws('; ', (SELECT 'expected ' || string_agg(x::text, ' ') FROM (TABLE e EXCEPT ALL TABLE g) x),
                               (SELECT 'got ' || string_agg(x::text, ' ') FROM (TABLE g EXCEPT ALL TABLE e) x)) $q$,
        (SELECT string_agg(format('r->>%s', i - 1), ', ' ORDER BY i) FROM generate_subscripts(shown, 1) i), cardinality(shown), cardinality(shown) + 1,
        (SELECT string_agg(quote_ident(x), ', ' ORDER BY n) FROM unnest(shown) WITH ORDINALITY u(x, n))) INTO wrong USING one;
      matched = matched OR wrong = '';
    END LOOP;
    IF NOT matched THEN RAISE EXCEPTION '%, step %: %', c->>'id', steps, wrong; END IF;
  END LOOP;
  PERFORM pipeline.drop_dimension('scd_cases.dim', true);
  DROP TABLE src;
  RETURN c->>'id';
END $$;
CREATE TABLE passed (id text);
\if :{?data}
SET scd_cases.data = :'data';
\o /dev/null
INSERT INTO passed
SELECT run_case(c)
FROM (SELECT pg_read_file(d || '/' || f)::jsonb AS c
      FROM unnest(ARRAY[:'data' || '/scd/sqlmesh', :'data' || '/scd/dlt']) d, pg_ls_dir(d) f WHERE f LIKE '%.json') x
WHERE c->>'kind' = 'snapshot_scd2' AND coalesce(c->'config'->>'strategy', 'check') = 'check'
  AND c->'config'->>'feed' IN ('full_snapshot', 'partial_snapshot')
  -- one pins a wrong result, one takes its time from a column
  AND c->>'id' NOT IN ('dlt-boundary-timestamp', 'sqlmesh-doc-daily-snapshots');
INSERT INTO passed
SELECT run_feed(pg_read_file(:'data' || '/scd/spark_autocdc/' || f)::jsonb) FROM pg_ls_dir(:'data' || '/scd/spark_autocdc') f
WHERE f LIKE 'spark-%.json' AND f <> 'spark-prop-convergence.json';
-- The wrong one: a time before history is refused.
DO $$
BEGIN
  PERFORM run_case(pg_read_file(current_setting('scd_cases.data') || '/scd/dlt/dlt-boundary-timestamp.json')::jsonb);
  RAISE 'a time before history was merged';
EXCEPTION WHEN invalid_parameter_value THEN
  INSERT INTO scd_cases.passed VALUES ('dlt-boundary-timestamp');
END $$;
-- dbt's counts of a check snapshot: 10 rows, 10 more, a date changed in ten, a name in ten.
CREATE TABLE fact AS SELECT g AS id, 'name' || g AS name, date '2020-01-01' + g AS some_date FROM generate_series(1, 10) g;
SELECT pipeline.create_dimension('dbt', 'SELECT * FROM scd_cases.fact', '{id}', 'snapshot', open_end => NULL);
CREATE TABLE counts AS SELECT 1 AS step, (pipeline.merge_dimension('dbt', '2024-01-01')).inserted AS n;
INSERT INTO fact SELECT g, 'name' || g, date '2020-01-01' + g FROM generate_series(11, 20) g;
INSERT INTO counts SELECT 2, (pipeline.merge_dimension('dbt', '2024-01-02')).inserted;
UPDATE fact SET some_date = some_date + 1 WHERE id > 10;
INSERT INTO counts SELECT 3, (pipeline.merge_dimension('dbt', '2024-01-03')).versioned;
UPDATE fact SET name = name || '_updated' WHERE id <= 10;
INSERT INTO counts SELECT 4, (pipeline.merge_dimension('dbt', '2024-01-04')).versioned;
INSERT INTO passed SELECT 'dbt-check-cols-counts' FROM dbt WHERE surrogate_key <> -1
HAVING count(*) = 40 AND count(DISTINCT name) = 30 AND count(DISTINCT (id, some_date)) = 30 AND (SELECT array_agg(n ORDER BY step) FROM counts) = '{10,10,10,10}';
SELECT pipeline.drop_dimension('dbt', true);
-- dbt's history of the tracked columns only, over its own seed.
CREATE TABLE seed30 (id int, first_name text, last_name text, email text, gender text, ip_address text, updated_at text);
\set copy '\\copy seed30 FROM ' :data '/scd/dbt_snapshot/seed30.tsv (HEADER, FORMAT csv, DELIMITER E''\\t'')'
:copy
CREATE TABLE tracked AS SELECT * FROM seed30 WHERE id <= 20;
SELECT pipeline.create_dimension('dbt', 'scd_cases.tracked', '{id}', 'snapshot', type2 => '{email}',
  type1 => '{first_name,last_name,gender,ip_address,updated_at}', open_end => '2099-12-31');
SELECT pipeline.merge_dimension('dbt', '2024-01-01');
UPDATE tracked SET last_name = left(last_name, 3) WHERE id <= 10;
UPDATE tracked SET email = left(email, 3) WHERE id BETWEEN 6 AND 15;
SELECT pipeline.merge_dimension('dbt', '2024-01-02');
INSERT INTO passed SELECT 'dbt-check-tracked-only' FROM dbt WHERE surrogate_key <> -1
HAVING array_agg(id ORDER BY id) FILTER (WHERE NOT is_current) = ARRAY(SELECT generate_series(6, 15))
   AND array_agg(id ORDER BY id) FILTER (WHERE is_current) = ARRAY(SELECT generate_series(1, 20));
SELECT pipeline.drop_dimension('dbt', true);
DO $$ BEGIN
  IF (SELECT count(*) FROM scd_cases.passed) < 55 THEN
    RAISE 'passed only: %', (SELECT string_agg(id, ' ' ORDER BY id) FROM scd_cases.passed);
  END IF;
END $$;
\o
\endif
DROP SCHEMA scd_cases CASCADE;
SELECT 'ok' AS result;
