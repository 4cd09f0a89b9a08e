-- Write the cases of expect_cases.jsonl anew: "expect" is what the SQL of a case
-- says on the tables of expect_cases.sql. To add cases, append lines with a new
-- "id", "table", "type", "kwargs", perhaps "row_condition", and either "bad" (SQL
-- that is true for the rows that are to fail) and "missing" (for those that are not
-- judged), or "value" (SQL of the value observed, as jsonb) and "ok" (of the
-- verdict); then, in any database and without a trace in it,
--   psql -XqAt -f test/data/expect_cases_fill.sql <test/data/expect_cases.jsonl >new
-- and read the difference before it takes the place of the old one.
\set ON_ERROR_STOP 1
SET timezone = 'UTC';
SET intervalstyle = postgres;
BEGIN;
CREATE SCHEMA expect_cases_fill;
SET LOCAL search_path = expect_cases_fill;
CREATE TABLE lines (n int GENERATED ALWAYS AS IDENTITY, line text);
-- A line as it is: these are characters that JSON does not hold.
\copy lines (line) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
\ir expect_cases.sql
SELECT '{' || string_agg(format('%s: %s', to_json(k), CASE k WHEN 'expect' THEN plain(c) ELSE c -> k END), ', ' ORDER BY i) || '}'
FROM lines, LATERAL (SELECT line::jsonb AS c) x,
  unnest('{id,table,type,kwargs,row_condition,expect,value,ok,bad,missing}'::text[]) WITH ORDINALITY AS y(k, i)
WHERE k = 'expect' OR c ? k
GROUP BY n ORDER BY n;
ROLLBACK;
