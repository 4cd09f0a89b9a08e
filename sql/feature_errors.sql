-- Every way to say it wrong, one feature or one argument at a time.
CREATE SCHEMA feature_errors;
SET search_path = feature_errors;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE TABLE s (k int, t timestamptz, n int);
CREATE TABLE e (k int, t timestamptz, v int, txt text, j json, epoch bigint, b box);
INSERT INTO s VALUES (1, '2024-01-02', 1);
INSERT INTO e VALUES (1, '2024-01-01', 1, 'x', '{}', 1, '(1,1),(0,0)');
\set VERBOSITY verbose
\set SHOW_CONTEXT errors
-- Show an error without the place in the program.
CREATE FUNCTION fails(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text; detail text; hint text; context text;
BEGIN
  EXECUTE command;
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
  RETURN concat_ws(E'\n  ', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, ''),
                   substring(context from '^(?:argument|feature) [^\n]*'));
END $$;
-- One feature over e, changed by the given keys.
CREATE FUNCTION one(change jsonb, spine text = 's', entity text[] = '{k}', event_time text = 't') RETURNS text LANGUAGE sql AS $$
  SELECT fails(format('SELECT pipeline.features_columns(%L, %L, %L, %L)', spine, entity, event_time,
    jsonb_build_array('{"feature": "f", "source": "e", "aggregate": "count", "lookback": "1 day"}'::jsonb || change)))
$$;
\pset format unaligned
\pset tuples_only on

-- Keys and values of a feature.
SELECT one('{"agregate": "count"}');
SELECT one('{"feature": null}');
SELECT one('{"feature": ""}');
SELECT one('{"feature": 7}');
SELECT one(jsonb_build_object('feature', repeat('x', 64)));
SELECT one('{"source": null}');
SELECT one('{"aggregate": null}');
SELECT one('{"aggregate": "median"}');
SELECT one('{"aggregate": "sum"}');
SELECT one('{"aggregate": "last"}');
SELECT one('{"lookback": null}');
SELECT one('{"lookback": "soon"}');
SELECT one('{"lookback": "-1 day"}');
SELECT one('{"lookback": "1 month -31 days"}');
SELECT one('{"lookback": 21}');
SELECT one('{"lookahead": "late"}');
SELECT one('{"lookback": "1 day", "lookahead": "-25 hours"}');
SELECT one('{"lookback": "1 day", "lookahead": "-1 day"}');
SELECT one('{"align": "fortnight"}');
SELECT one('{"align": "week"}');
SELECT one('{"align": "day", "lookback": "24 hours"}');
SELECT one('{"align": "day", "lookback": "1 month 2 days"}');
SELECT one('{"align": "month", "lookback": "1 month", "lookahead": "1 day"}');
SELECT one('{"align": "quarter", "lookback": "4 months"}');
SELECT one('{"align": "year", "lookback": "18 months"}');
SELECT one('{"align": "minute", "lookback": "90 seconds"}');
SELECT one('{"align": "hour", "lookback": "3 days 2 hours", "lookahead": "-1 hour"}');
SELECT one('{"closed": "LEFT"}');
SELECT one('{"default_value": "x"}');
SELECT one('{"entity": []}');
SELECT one('{"entity": ["k", 1]}');
SELECT one('{"entity": {"k": 1}}');
SELECT one('{"entity": ["k", "v"]}');
SELECT one('{"feature": "n"}');
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', 't', '{}')$$);
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', 't', '[]')$$);
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', 't', '"x"')$$);
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', 't', '[1]')$$);
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', 't', '[[{}]]')$$);

-- Options that mean nothing for the aggregate.
SELECT one('{"lookahead": "1 day", "args": {}, "by": null}');
SELECT one('{"args": {"k": 3}}');
SELECT one('{"aggregate": "percentile", "value": "v"}');

-- Sources.
SELECT one('{"source": "nowhere"}');
SELECT one('{"source": "SELECT 1; SELECT 2"}');
SELECT one('{"source": "INSERT INTO e VALUES (1) RETURNING *"}');
SELECT one('{"source": "WITH d AS (DELETE FROM e RETURNING *) SELECT * FROM d"}');
SELECT one('{"source": "SELECT * FROM e FOR UPDATE"}');
SELECT one('{"source": "SELECT * FROM"}');
SELECT one('{"source": "SELECT * FROM e) x, (SELECT 1"}');
SELECT one('{"source": "SELECT t FROM e"}');
SELECT one('{"source": "SELECT k, t, t FROM e"}');
SELECT one('{"source": "SELECT k, epoch AS t FROM e"}');
SELECT one('{"source": "SELECT k, NULL AS t FROM e"}');
SELECT one('{"source": "SELECT txt AS k, t FROM e"}');
SELECT one('{"event_time": "nothing"}');
SELECT one('{}', spine => 'nowhere');
SELECT one('{}', entity => '{}');
SELECT one('{}', entity => '{k,k}');
SELECT one('{}', entity => '{k,NULL}');
SELECT one('{}', entity => '{missing}');
SELECT one('{}', event_time => 'n');
SELECT one('{}', spine => 'SELECT k, t, 1 AS x, 2 AS x FROM s');
SELECT one('{}', spine => 'SELECT j AS k, t FROM e');
SELECT one('{"source": "SELECT b AS k, t FROM e"}', spine => 'SELECT b AS k, t FROM e');

-- Expressions.
SELECT one('{"value": "nothing"}');
SELECT one('{"value": "v, v"}');
SELECT one('{"value": "v)"}');
SELECT one('{"value": "v FROM e; DROP TABLE e"}');
SELECT one('{"value": "*"}');
SELECT one('{"value": "$1"}');
SELECT one('{"value": "sum(v)"}');
SELECT one('{"value": "rank() OVER ()"}');
SELECT one('{"value": "generate_series(1, 2)"}');
SELECT one('{"value": "now() +"}');
SELECT one('{"value": "(e).*"}');
SELECT one('{"source": "SELECT * FROM e", "value": "(source).*"}');
SELECT one('{"filter": "(SELECT true FROM s LIMIT 1 FOR UPDATE)"}');
SELECT one('{"source": "SELECT *, txt COLLATE \"C\" AS c, txt COLLATE \"POSIX\" AS p FROM e", "aggregate": "max", "value": "p || c"}');
SELECT one('{"filter": "v"}');
SELECT one('{"filter": "nothing > 1"}');
SELECT one('{"aggregate": "sum", "value": "txt"}');
SELECT one('{"aggregate": "avg", "value": "t"}');
SELECT one('{"aggregate": "min", "value": "j"}');
SELECT one('{"aggregate": "count_distinct", "value": "j"}');
SELECT one('{"aggregate": "first", "value": "b"}');
SELECT one('{"aggregate": "stddev", "value": "txt"}');
SELECT one('{"aggregate": "sum", "value": "v", "default_value": "none"}');

-- While it runs: errors of the user's expressions, and sums too large.
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "e", "aggregate": "sum", "value": "1 / (v - 1)", "lookback": "3 days"}]') AS (k int, t timestamptz, n int, f bigint)$$);
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "SELECT k, t, 1e308::float8 AS v FROM e, generate_series(1, 2)", "aggregate": "sum", "value": "v", "lookback": "3 days"}]') AS (k int, t timestamptz, n int, f float8)$$);
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "SELECT k, t, 3e38::float4 AS v FROM e, generate_series(1, 2)", "aggregate": "sum", "value": "v", "lookback": "3 days"}]') AS (k int, t timestamptz, n int, f real)$$);

-- The call itself.
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f f", "source": "e", "aggregate": "sum", "value": "v::numeric(8,2)", "lookback": "1 day"}]') AS (k int, t timestamptz)$$);
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "e", "aggregate": "count", "lookback": "1 day"}]') AS (k int, t timestamptz, n int, f int)$$);
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "e", "aggregate": "avg", "value": "v", "lookback": "1 day"}]') AS (k int, t timestamptz, n int, f numeric(8,2))$$);
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[]')$$);
SELECT fails($$SELECT pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "e", "aggregate": "count", "lookback": "1 day"}]')$$);
SELECT fails($$SELECT pipeline.features_columns(NULL, '{k}', 't', '[]')$$);
SELECT fails($$SELECT pipeline.features_columns('s', NULL, 't', '[]')$$);
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', NULL, '[]')$$);
SELECT fails($$SELECT pipeline.features_columns('s', '{k}', 't', NULL)$$);
SELECT fails(format('SELECT pipeline.features_columns(''s'', ''{k}'', ''t'', %L)',
  (SELECT jsonb_agg(jsonb_build_object('feature', 'f' || i, 'source', 'e', 'aggregate', 'count', 'lookback', '1 day')) FROM generate_series(1, 1600) i)));

-- Someone else's table.
GRANT USAGE ON SCHEMA feature_errors TO pipeline_bob;
GRANT SELECT ON s TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT fails($$SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "f", "source": "e", "aggregate": "count", "lookback": "1 day"}]') AS (k int, t timestamptz, n int, f bigint)$$);
RESET ROLE;
SELECT count(*) FROM e;
SET client_min_messages = error;
DROP SCHEMA feature_errors CASCADE;
