-- Every type against its definition in plain SQL: test/data/expect_cases.jsonl
-- holds, case by case, a check of one of the tables of expect_cases.sql, what is
-- to come out, and the SQL that says so: of the rows that are missing and bad,
-- or of the value observed and the verdict. Both are compared. All cases of a
-- table are one suite, validated at once. Prints mismatches only. New cases get
-- what is to come out from test/data/expect_cases_fill.sql.
\set VERBOSITY terse
SET client_min_messages = warning;
SET timezone = 'UTC';
SET intervalstyle = postgres;
CREATE SCHEMA expect_cases;
SET search_path = expect_cases;
\getenv srcdir PG_ABS_SRCDIR
\set setup :srcdir '/test/data/expect_cases.sql'
\set ECHO none
\i :setup
\set ECHO all
\set cases :srcdir '/test/data/expect_cases.jsonl'
\setenv CASES :cases
\set lines `cat "$CASES"`
CREATE TABLE cases AS SELECT line::jsonb AS c FROM string_to_table(:'lines', E'\n') AS line WHERE line <> '';

CREATE FUNCTION define() RETURNS void LANGUAGE plpgsql AS $$
DECLARE c jsonb;
BEGIN
  PERFORM pipeline.create_suite('cases ' || t, t, sample_limit => 100, row_key => '{id}') FROM unnest('{va,vempty,vnull}'::text[]) AS t;
  FOR c IN SELECT cases.c FROM cases LOOP
    PERFORM pipeline.expect('cases ' || (c ->> 'table'), c ->> 'type', c -> 'kwargs', name => c ->> 'id', row_condition => c ->> 'row_condition', severity => 'info');
  END LOOP;
END $$;

-- Numbers by value to one part in 1e9, "NaN" as it is.
CREATE FUNCTION same(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql AS $$
  SELECT CASE WHEN jsonb_typeof(a) = 'number' AND jsonb_typeof(b) = 'number' THEN abs(a::numeric - b::numeric) <= 1e-9 * greatest(abs(a::numeric), 1)
         ELSE coalesce(a, 'null') = coalesce(b, 'null') END
$$;

CREATE FUNCTION mismatch(c jsonb, r pipeline.expectation_results) RETURNS text LANGUAGE plpgsql AS $$
DECLARE want jsonb := c -> 'expect'; sql jsonb := plain(c); got jsonb;
BEGIN
  got := jsonb_build_object('success', r.success, 'observed', r.observed_value);
  IF c ? 'bad' THEN
    got := got || jsonb_build_object('elements', r.element_count, 'missing', coalesce(r.missing_count, 0), 'unexpected', r.unexpected_count,
      'rows', (SELECT coalesce(jsonb_agg(k -> 'id' ORDER BY k -> 'id'), '[]') FROM jsonb_array_elements(r.partial_unexpected_keys) AS k));
  END IF;
  IF r.error IS NOT NULL OR EXISTS (SELECT FROM jsonb_each(want) w WHERE NOT same(w.value, got -> w.key)) OR EXISTS (SELECT FROM jsonb_each(sql) w WHERE NOT same(w.value, got -> w.key)) THEN
    RETURN format('%s %s %s: %s, not %s, nor SQL''s %s %s', c ->> 'id', c ->> 'type', c -> 'kwargs', got, want, sql, r.error);
  END IF;
  RETURN NULL;
END $$;

DO $$ BEGIN PERFORM define(); END $$;
CREATE TABLE v AS SELECT t, (pipeline.validate('cases ' || t)).validation_id FROM unnest('{va,vempty,vnull}'::text[]) AS t;
SELECT m FROM cases, v, pipeline.expectation_results r, mismatch(c, r) AS m
WHERE v.t = c ->> 'table' AND r.validation_id = v.validation_id AND r.name = c ->> 'id' AND m IS NOT NULL ORDER BY (c -> 'id')::int;
SELECT count(*) = (SELECT count(*) FROM cases) AS every_case FROM cases, v, pipeline.expectation_results r
WHERE v.t = c ->> 'table' AND r.validation_id = v.validation_id AND r.name = c ->> 'id';
SELECT count(*) >= 600 AS enough, count(DISTINCT c ->> 'type') AS types FROM cases;
-- What is written for Great Expectations has the members, and the types of them,
-- that the tool's own schemas allow, and no others: test/data/ge_schemas.jsonl.
\set schemas :srcdir '/test/data/ge_schemas.jsonl'
\setenv SCHEMAS :schemas
\set lines `cat "$SCHEMAS"`
CREATE TABLE documents AS SELECT s.line::jsonb ->> 'document' AS document, s.line::jsonb ->> 'version' AS version, s.line::jsonb -> 'schema' AS schema, t,
  CASE s.line::jsonb ->> 'document' WHEN 'report' THEN pipeline.validation_report(v.validation_id, s.line::jsonb ->> 'version') ELSE pipeline.export_suite('cases ' || t, s.line::jsonb ->> 'version') END AS doc
FROM v, string_to_table(:'lines', E'\n') AS s(line) WHERE s.line <> '';
CREATE FUNCTION follows(document text, version text, schema jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT success || ' ' || element_count FROM pipeline.check_now(format('SELECT doc FROM expect_cases.documents WHERE document = %L AND version = %L', document, version),
    jsonb_build_array(jsonb_build_object('type', 'expect_column_values_to_match_json_schema', 'kwargs', jsonb_build_object('column', 'doc', 'json_schema', schema))))
$$;
SELECT document, version, follows(document, version, schema), sum(jsonb_array_length(doc -> CASE document WHEN 'report' THEN 'results' ELSE 'expectations' END)) AS checks
FROM documents GROUP BY document, version, schema ORDER BY 1, 2;
-- The schemas do look: a document of the other version is refused.
SELECT document, version, follows(document, CASE version WHEN '1.0' THEN '0.18' ELSE '1.0' END, schema) FROM documents GROUP BY document, version, schema ORDER BY 1, 2;
DO $$ BEGIN PERFORM pipeline.drop_suite('cases ' || t) FROM unnest('{va,vempty,vnull}'::text[]) AS t; END $$;
DROP SCHEMA expect_cases CASCADE;
