-- Great Expectations' own test cases of the types that we have, with the
-- answers of the real tool. Prints mismatches only; without the data, none.
\set VERBOSITY terse
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA expect_ge;
SET search_path = expect_ge;
CREATE TABLE expect_ge.datasets (doc jsonb);
CREATE TABLE expect_ge.cases (doc jsonb);
\getenv data PIPELINE_TEST_DATA
\if :{?data}
INSERT INTO expect_ge.datasets SELECT line::jsonb
FROM string_to_table(pg_read_file(:'data' || '/ge/datasets.jsonl', 0, 100000000, true), E'\n') AS line WHERE line <> '';
INSERT INTO expect_ge.cases SELECT line::jsonb
FROM unnest(ARRAY['cases_core_pg', 'cases_core_ported']) AS f,
     string_to_table(pg_read_file(:'data' || '/ge/' || f || '.jsonl', 0, 100000000, true), E'\n') AS line WHERE line <> '';
\endif

CREATE FUNCTION expect_ge.load(d jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE expect_ge.%I (%s)', d ->> 'dataset',
    (SELECT string_agg(format('%I %s', c ->> 'name', c ->> 'type'), ', ' ORDER BY i)
     FROM jsonb_array_elements(d -> 'columns') WITH ORDINALITY AS x(c, i)));
  EXECUTE format('INSERT INTO expect_ge.%I SELECT %s FROM jsonb_array_elements($1 -> ''rows'') WITH ORDINALITY AS r(row, n) ORDER BY n', d ->> 'dataset',
    (SELECT string_agg(format('(row ->> %s)::%s', i - 1, c ->> 'type'), ', ' ORDER BY i)
     FROM jsonb_array_elements(d -> 'columns') WITH ORDINALITY AS x(c, i))) USING d;
END $$;

-- What Python computes for an evaluation parameter.
CREATE FUNCTION expect_ge.parameter(p text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT to_jsonb(CASE
    WHEN p = 'now()' THEN now()::timestamp
    WHEN p LIKE 'now() - timedelta(weeks=%' THEN now()::timestamp - interval '1 week' * substring(p FROM '(\d+)\*')::int * substring(p FROM '\*(\d+)')::int
    WHEN p LIKE 'datetime(%' THEN make_timestamp(substring(p FROM '\((\d+)')::int, substring(p FROM ', (\d+),')::int, substring(p FROM '(\d+)\)')::int, 0, 0, 0)
  END)
$$;

CREATE FUNCTION expect_ge.kwargs(k jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_object_agg(key, CASE WHEN value ? '$PARAMETER' THEN expect_ge.parameter(value ->> '$PARAMETER') ELSE value END), '{}')
  FROM jsonb_each(k)
$$;

CREATE FUNCTION expect_ge.sorted(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM jsonb_array_elements(a) AS e
$$;

-- The result in the terms of the cases.
CREATE FUNCTION expect_ge.observe(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  pk text := (SELECT d.doc ->> 'pk' FROM expect_ge.datasets d WHERE d.doc ->> 'dataset' = c ->> 'dataset');
  v pipeline.validation_result;
  r pipeline.expectation_results;
BEGIN
  PERFORM pipeline.create_suite('expect_ge', c ->> 'dataset', sample_limit => 1000, row_key => CASE WHEN pk IS NOT NULL THEN ARRAY[pk] END);
  PERFORM pipeline.expect('expect_ge', c ->> 'expectation_type', expect_ge.kwargs(c -> 'kwargs'), row_condition => regexp_replace(c ->> 'row_condition_sql', '^y = 9$', 'y = ''9'''));
  v := pipeline.validate('expect_ge');
  SELECT * INTO STRICT r FROM pipeline.expectation_results e WHERE e.validation_id = v.validation_id;
  PERFORM pipeline.drop_suite('expect_ge');
  IF r.error IS NOT NULL THEN
    RETURN jsonb_build_object('raises', r.error);
  END IF;
  RETURN jsonb_build_object('success', r.success, 'observed_value', r.observed_value,
    'element_count', r.element_count, 'missing_count', r.missing_count, 'unexpected_count', r.unexpected_count,
    'unexpected_percent', r.unexpected_percent, 'unexpected_percent_nonmissing', r.unexpected_percent,
    'unexpected_percent_total', r.unexpected_percent_total,
    'missing_percent', 100.0 * r.missing_count / nullif(r.element_count, 0),
    'unexpected_list', expect_ge.sorted(r.partial_unexpected_list),
    'partial_unexpected_list', expect_ge.sorted(r.partial_unexpected_list),
    'unexpected_pk', expect_ge.sorted((SELECT jsonb_agg(k -> pk) FROM jsonb_array_elements(r.partial_unexpected_keys) AS k)));
EXCEPTION WHEN OTHERS THEN
  RETURN jsonb_build_object('raises', SQLERRM);
END $$;

CREATE FUNCTION expect_ge.mismatches(c jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  got jsonb := expect_ge.observe(c);
  k text;
  want jsonb;
BEGIN
  IF (got ? 'raises') <> (c -> 'raises' <> 'null') THEN
    RETURN NEXT format('%s: %s instead of %s', c ->> 'id', got ->> 'raises', c -> 'raises');
    RETURN;
  END IF;
  IF got ? 'raises' THEN RETURN; END IF;
  FOR k, want IN SELECT * FROM jsonb_each(c -> 'expect') LOOP
    CONTINUE WHEN k = 'unexpected_index_list';
    IF jsonb_typeof(want) = 'array' THEN want := expect_ge.sorted(want); END IF;
    IF NOT got ? k OR got -> k IS DISTINCT FROM want THEN
      RETURN NEXT format('%s: %s is %s instead of %s', c ->> 'id', k, got -> k, want);
    END IF;
  END LOOP;
END $$;

DO $$ BEGIN PERFORM expect_ge.load(doc) FROM expect_ge.datasets; END $$;

-- The types that we have. One case is about GE's choice of parsers for row
-- conditions; and where pandas compares a column of mixed types with 9, the
-- column is text here.
CREATE VIEW expect_ge.ours AS SELECT doc FROM expect_ge.cases
WHERE doc ->> 'raises' IS DISTINCT FROM 'not a valid enumeration member' AND doc ->> 'expectation_type' IN (
  'expect_column_values_to_not_be_null', 'expect_column_values_to_be_null', 'expect_column_values_to_be_unique',
  'expect_column_values_to_be_between', 'expect_column_values_to_be_in_set', 'expect_column_values_to_not_be_in_set',
  'expect_column_values_to_match_regex', 'expect_column_values_to_not_match_regex',
  'expect_column_value_lengths_to_be_between', 'expect_table_row_count_to_be_between',
  'expect_table_row_count_to_equal', 'expect_column_to_exist', 'expect_column_values_to_be_of_type');
SELECT m FROM expect_ge.ours, expect_ge.mismatches(doc) AS m ORDER BY 1;
SELECT CASE WHEN count(*) IN (0, 247) THEN 'all' ELSE count(*)::text END AS cases FROM expect_ge.ours;
DROP SCHEMA expect_ge CASCADE;
