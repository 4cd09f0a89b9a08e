-- Compound keys and foreign keys, which the first scan looks at, against plain SQL
-- over random tables. Prints mismatches only.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA expect_keys AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_keys;
CREATE TABLE t (id int, a int, b text, n numeric, d date);
CREATE TABLE r (k int, l text, m numeric);

-- How many rows, of those that are looked at, are judged, and how many are wrong.
CREATE FUNCTION wanted(cols text[], rule text, condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE w text; c text := array_to_string(cols, ', '); missing text := CASE rule WHEN 'never' THEN 'false' WHEN 'any_value_is_missing' THEN format('num_nulls(%s) > 0', c) ELSE format('num_nonnulls(%s) = 0', c) END;
BEGIN
  EXECUTE format('SELECT concat_ws('' '', sum(n), coalesce(sum(n) FILTER (WHERE miss), 0), coalesce(sum(n) FILTER (WHERE n > 1 AND NOT miss), 0)) FROM (SELECT count(*) AS n, %s AS miss FROM t WHERE %s GROUP BY %s) g', missing, condition, c) INTO w;
  RETURN w;
END $$;
CREATE FUNCTION orphans(cols text[], keys text[], condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE w text; c text := array_to_string(cols, ', ');
BEGIN
  EXECUTE format('SELECT concat_ws('' '', count(*), count(*) FILTER (WHERE num_nulls(%s) > 0), count(*) FILTER (WHERE num_nulls(%1$s) = 0 AND NOT EXISTS (SELECT FROM r WHERE (%1$s) = (%s)))) FROM t WHERE %s', c, array_to_string(keys, ', '), condition) INTO w;
  RETURN w;
END $$;
CREATE FUNCTION mismatches(seed float8) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE cols text[]; rule text; condition text; got text; want text; n int; keys text[];
BEGIN
  PERFORM setseed(seed);
  TRUNCATE t, r;
  n := (ARRAY[0, 1, 7, 300, 3000])[1 + (random() * 4)::int];
  INSERT INTO t SELECT i, nullif((random() * n)::int, 0), CASE WHEN random() > 0.05 THEN 'b' || (random() * 20)::int END, round((random() * 10)::numeric, (random() * 2)::int), CASE WHEN random() > 0.1 THEN date '2024-01-01' + (random() * n)::int END FROM generate_series(1, n) i;
  INSERT INTO r SELECT (random() * n)::int, 'b' || (random() * 20)::int, round((random() * 10)::numeric, 1) FROM generate_series(1, n / 2) UNION ALL SELECT NULL, 'b1', NULL;
  FOREACH condition IN ARRAY ARRAY['true', 'id % 3 = 0'] LOOP
    FOREACH rule IN ARRAY ARRAY['never', 'any_value_is_missing', 'all_values_are_missing'] LOOP
      cols := (ARRAY['{a,b}', '{a,n}', '{d,a,b}', '{id,b}', '{n,b}'])[1 + (random() * 4)::int]::text[];
      SELECT concat_ws(' ', element_count, missing_count, unexpected_count, error) INTO got FROM pipeline.check_now('t', jsonb_build_array(jsonb_build_object('type', 'expect_compound_columns_to_be_unique', 'row_condition', condition,
        'kwargs', jsonb_build_object('column_list', to_jsonb(cols), 'ignore_row_if', rule))));
      want := coalesce(nullif(wanted(cols, rule, condition), '0 0'), '0 0 0');
      IF got <> want THEN RETURN NEXT format('seed %s: %s %s %s: %s instead of %s', seed, cols, rule, condition, got, want); END IF;
    END LOOP;
    FOR cols, keys IN VALUES ('{a}'::text[], '{k}'::text[]), ('{a,b}', '{k,l}'), ('{n}', '{m}') LOOP
      want := orphans(cols, keys, condition);
      FOREACH rule IN ARRAY ARRAY['64kB', '4MB'] LOOP
        PERFORM set_config('work_mem', rule, true);
        SELECT concat_ws(' ', element_count, missing_count, unexpected_count, error) INTO got FROM pipeline.check_now('t', jsonb_build_array(jsonb_build_object('type', 'expect_foreign_key', 'row_condition', condition,
          'kwargs', jsonb_build_object('column_list', to_jsonb(cols), 'references', 'r', 'referenced_columns', to_jsonb(keys)))));
        IF got <> want THEN RETURN NEXT format('seed %s: %s %s %s: %s instead of %s', seed, cols, rule, condition, got, want); END IF;
      END LOOP;
    END LOOP;
  END LOOP;
END $$;
SELECT m FROM generate_series(0.01, 0.16, 0.01) s, mismatches(s) m;

-- Both with others in one scan, in a parallel one too; samples and keys are there.
SELECT setseed(0.5) \g /dev/null
TRUNCATE t, r;
INSERT INTO t SELECT i, i % 1000, 'b' || i % 7, i, '2024-01-01' FROM generate_series(1, 5000) i;
INSERT INTO r SELECT i, 'b1', i FROM generate_series(0, 997) i;
ANALYZE t, r;
CREATE VIEW found AS SELECT type, success, element_count, missing_count, unexpected_count, jsonb_array_length(partial_unexpected_list) AS sampled, error FROM pipeline.check_now('t', '[
  {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["id", "a"]}}, {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["a", "b"]}},
  {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["a", "b"]}, "row_condition": "id <= 900"}, {"type": "expect_foreign_key", "kwargs": {"column_list": ["a"], "references": "r", "referenced_columns": ["k"]}},
  {"type": "expect_foreign_key", "kwargs": {"column_list": ["id"], "references": "SELECT generate_series(1, 100000) AS g", "referenced_columns": ["g"]}}, {"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "max_value": 900}}]');
TABLE found;
CREATE TABLE serial AS TABLE found;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
TABLE serial EXCEPT TABLE found;
-- Equal is what the types and collations of the columns say.
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE odd (id int, b text COLLATE any_case, n numeric, f float8, c char(5), i interval, g text[], d text);
INSERT INTO odd VALUES (1, 'Abc', 1.0, 0, 'x', '1 day', '{a,b}', 'Abc'), (1, 'aBC', 1.000, '-0', 'x ', '24 hours', '{a,b}', 'aBC'), (2, NULL, 'NaN', 'NaN', NULL, NULL, NULL, NULL), (2, NULL, 'NaN', 'NaN', NULL, NULL, NULL, NULL);
SELECT c, (SELECT concat_ws(' ', success, unexpected_count, error) FROM pipeline.check_now('odd', jsonb_build_array(jsonb_build_object('type', 'expect_compound_columns_to_be_unique', 'kwargs', jsonb_build_object('column_list', jsonb_build_array('id', c), 'ignore_row_if', 'never'))))) FROM unnest('{b,n,f,c,i,g,d}'::text[]) c;
SELECT "column", distinct_count FROM pipeline.profile('odd');
SELECT pipeline._key_twice(0, true, 'x'::tsvector);
SELECT pipeline._key_twice(0, NULL, i), pipeline._key_twice(0, true, i) AS twice, pipeline._key_twice(2, true, nullif(i, 1), i) AS missing FROM unnest('{1,2,1}'::int[]) i;
RESET SESSION AUTHORIZATION;
DROP SCHEMA expect_keys CASCADE;
