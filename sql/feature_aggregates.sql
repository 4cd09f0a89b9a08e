-- Aggregates with options, aggregate functions by name, and features that are
-- spread over the values of a column.
CREATE SCHEMA feature_aggregates;
SET search_path = feature_aggregates;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE TABLE s (k int, t timestamptz);
INSERT INTO s VALUES (1, '2024-01-02'), (1, '2024-01-05'), (2, '2024-01-05');
CREATE TABLE e (k int, t timestamptz, shop text, n int, price numeric, ok boolean);
INSERT INTO e VALUES
  (1, '2024-01-01 00:00', 'b', 3, 1.50, true), (1, '2024-01-01 06:00', 'a', 5, 2.25, true), (1, '2024-01-01 12:00', 'b', 1, 0.25, false),
  (1, '2024-01-03 00:00', 'c', 7, NULL, true), (1, '2024-01-03 00:00', 'a', NULL, 4, NULL), (1, '2024-01-04 18:00', NULL, 9, 8, true);
-- One feature over e, as a column f.
CREATE FUNCTION one(change jsonb, returns text) RETURNS TABLE (k int, day text, f text) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT k, to_char(t, ''DD''), f::text FROM pipeline.features(''s'', ''{k}'', ''t'', %L) AS (k int, t timestamptz, f %s) ORDER BY 1, 2',
    jsonb_build_array('{"feature": "f", "source": "e", "lookback": "3 days"}'::jsonb || change), returns);
END $$;
SELECT * FROM one('{"aggregate": "last_k", "value": "shop", "args": {"k": 2}}', 'text[]');
SELECT * FROM one('{"aggregate": "last_k", "value": "n", "args": {"k": 10}}', 'int[]');
SELECT * FROM one('{"aggregate": "top_k", "value": "shop", "args": {"k": 2}}', 'text[]');
SELECT * FROM one('{"aggregate": "rate", "args": {"per": "1 day"}}', 'float8');
SELECT * FROM one('{"aggregate": "rate", "lookback": "50 seconds", "closed": "both"}', 'float8');
SELECT * FROM one('{"aggregate": "rate", "lookback": "0", "closed": "both"}', 'float8');
SELECT * FROM one('{"aggregate": "rate", "default_value": "-1"}', 'float8') WHERE k = 2;
SELECT * FROM one('{"aggregate": "percentile", "value": "n", "args": {"fraction": 0.5}}', 'float8');
SELECT * FROM one('{"aggregate": "percentile", "value": "shop", "args": {"fraction": 0.5, "method": "disc"}}', 'text');
SELECT * FROM one('{"aggregate": "percentile", "value": "n * interval ''1 hour''", "args": {"fraction": 0.5}}', 'interval');
-- Intervals between two are PostgreSQL's own.
WITH w AS (SELECT s.*, (SELECT percentile_cont(0.3) WITHIN GROUP (ORDER BY n * interval '1 day 7 minutes') FROM e WHERE e.k = s.k AND e.t >= s.t - interval '10 days' AND e.t < s.t) AS p FROM s)
SELECT count(*), count(f.p) AS values, count(*) FILTER (WHERE w.p IS DISTINCT FROM f.p) AS wrong
FROM pipeline.features('s', '{k}', 't', $$[{"feature": "p", "source": "e", "aggregate": "percentile", "lookback": "10 days", "value": "n * interval '1 day 7 minutes'", "args": {"fraction": 0.3}}]$$) AS f (k int, t timestamptz, p interval)
JOIN w USING (k, t);
SELECT * FROM one('{"aggregate": "decayed_sum", "value": "n", "args": {"half_life": "12 hours"}}', 'float8');
SELECT * FROM one('{"aggregate": "approx_count_distinct", "value": "shop"}', 'bigint');
SELECT * FROM one('{"aggregate": "bool_and", "value": "ok"}', 'boolean');
SELECT * FROM one('{"aggregate": "pg_catalog.stddev_pop", "value": "n"}', 'numeric');
SELECT * FROM one('{"aggregate": "regr_count", "value": "n", "args": {"arguments": ["length(shop)"]}}', 'bigint');
SELECT * FROM one('{"aggregate": "corr", "value": "n", "args": {"arguments": ["2 * n + 1"]}}', 'double precision');
SELECT * FROM one('{"aggregate": "max", "value": "price", "default_value": "0"}', 'numeric');
-- An aggregate function of one's own.
CREATE AGGREGATE "Product of" (numeric) (sfunc = numeric_mul, stype = numeric, initcond = 1, combinefunc = numeric_mul);
SELECT * FROM one('{"aggregate": "\"Product of\"", "value": "n"}', 'numeric');
-- Polymorphic states.
CREATE FUNCTION later(anyelement, anyelement) RETURNS anyelement LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $2';
CREATE AGGREGATE latest(anyelement) (sfunc = later, stype = anyelement, combinefunc = later);
SELECT * FROM one('{"aggregate": "latest", "value": "shop"}', 'text');

-- Spread over a column: a map, or a column a value.
SELECT * FROM one('{"aggregate": "count", "by": "shop"}', 'jsonb');
SELECT * FROM one('{"aggregate": "last", "value": "price", "by": "shop", "filter": "price > 1"}', 'jsonb');
SELECT * FROM one('{"aggregate": "last_k", "value": "n", "by": "n % 2", "args": {"k": 2}}', 'jsonb');
SELECT * FROM one('{"aggregate": "sum", "value": "n", "by": "shop", "default_value": {"none": true}}', 'jsonb');
SELECT pipeline.features_columns('s', '{k}', 't', '[{"feature": "at", "source": "e", "aggregate": "sum", "value": "n", "lookback": "3 days", "by": "shop", "args": {"values": ["a", "b", "It''s"]}}]');
SELECT * FROM pipeline.features('s', '{k}', 't', '[{"feature": "at", "source": "e", "aggregate": "sum", "value": "n", "filter": "n <> 5 -- no", "lookback": "3 days", "by": "shop", "args": {"values": ["a", "b", "It''s"]}}]')
  AS (k int, t timestamptz, at_a bigint, at_b bigint, "at_It's" bigint) ORDER BY 1, 2;
-- Kept by a set.
SELECT pipeline.create_feature_set('feature spread', 's', '{k}', 't', target => 'spread');
SELECT pipeline.add_feature('feature spread', 'shops', 'e', 'count', '3 days', "by" => 'shop');
SELECT pipeline.add_feature('feature spread', 'at', 'e', 'count', '3 days', "by" => 'shop', args => '{"values": ["a", "b"]}');
SELECT pipeline.add_feature('feature spread', 'often', 'e', 'top_k', '3 days', value => 'shop', args => '{"k": 1}');
SELECT rows_computed FROM pipeline.refresh_features('feature spread');
SELECT k, shops, at_a, at_b, often FROM spread ORDER BY k, t;
SELECT feature, "by", args, result_type FROM pipeline.feature_catalog WHERE feature_set = 'feature spread' ORDER BY position;
SELECT pipeline.drop_feature_set('feature spread', drop_target => true);

-- What is counted about is what a window by itself would give, and near the truth.
CREATE TABLE visits AS
SELECT 1 AS k, '2024-01-01'::timestamptz + n * interval '1 minute' AS t, (n * 7919) % 3001 AS page, md5((n % 997)::text) AS txt FROM generate_series(1, 6000) n;
SELECT $$[{"feature": "a", "source": "visits", "aggregate": "approx_count_distinct", "value": "page", "lookback": "1 day"},
          {"feature": "b", "source": "visits", "aggregate": "approx_count_distinct", "value": "txt", "lookback": "2 days", "args": {"precision": 14}},
          {"feature": "exact", "source": "visits", "aggregate": "count_distinct", "value": "page", "lookback": "1 day"},
          {"feature": "exact_b", "source": "visits", "aggregate": "count_distinct", "value": "txt", "lookback": "2 days"}]$$ AS specs \gset
CREATE TABLE approximate AS
SELECT * FROM pipeline.features('SELECT k, t FROM visits WHERE page % 10 = 0', '{k}', 't', :'specs') AS (k int, t timestamptz, a bigint, b bigint, exact bigint, exact_b bigint);
SELECT count(*) AS rows, max(abs(a - exact) / exact::float8) < 0.1 AS a_near, max(abs(b - exact_b) / exact_b::float8) < 0.03 AS b_near FROM approximate WHERE exact > 0;
SELECT count(*) AS rows, count(*) FILTER (WHERE (x.a, x.b) IS DISTINCT FROM (f.a, f.b)) AS wrong
FROM (SELECT * FROM approximate ORDER BY md5(t::text) LIMIT 20) x,
  LATERAL pipeline.features(format('SELECT 1 AS k, %L::timestamptz AS t', x.t), '{k}', 't', :'specs') AS f (k int, t timestamptz, a bigint, b bigint, exact bigint, exact_b bigint);

-- Functions may take over an array that they may write to, but not the states of others.
CREATE FUNCTION put(s int[], v int) RETURNS int[] LANGUAGE plpgsql IMMUTABLE AS $$BEGIN s := s || v; RETURN s; END$$;
CREATE FUNCTION take(s int[], v int) RETURNS int[] LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN s[2:]; END$$;
CREATE FUNCTION join_both(s int[], o int[]) RETURNS int[] LANGUAGE plpgsql IMMUTABLE AS $$BEGIN o[1] := o[1]; RETURN s || array_remove(o, NULL); END$$;
CREATE FUNCTION sealed(s int[]) RETURNS int[] LANGUAGE plpgsql IMMUTABLE AS $$BEGIN s[1] := -s[1]; RETURN s; END$$;
CREATE AGGREGATE joined(int) (sfunc = put, stype = int[], initcond = '{}', combinefunc = join_both, finalfunc = sealed);
CREATE AGGREGATE taken(int) (sfunc = put, stype = int[], initcond = '{}', finalfunc = sealed, msfunc = put, minvfunc = take, mstype = int[], minitcond = '{}', mfinalfunc = sealed);
SELECT count(*) AS rows, count(*) FILTER (WHERE f.joined IS DISTINCT FROM w.f OR f.taken IS DISTINCT FROM w.f) AS wrong
FROM pipeline.features('SELECT 1 AS k, ''2024-01-01''::timestamptz + n * interval ''1 hour'' AS t FROM generate_series(1, 99) n', '{k}', 't', '[
  {"feature": "joined", "source": "SELECT 1 AS k, n, ''2024-01-01''::timestamptz + n * interval ''1 hour'' AS t FROM generate_series(1, 90) n", "aggregate": "joined", "value": "n", "lookback": "8 hours"},
  {"feature": "taken", "source": "SELECT 1 AS k, n, ''2024-01-01''::timestamptz + n * interval ''1 hour'' AS t FROM generate_series(1, 90) n", "aggregate": "taken", "value": "n", "lookback": "8 hours"}]')
  AS f (k int, t timestamptz, joined int[], taken int[]),
  LATERAL (SELECT CASE WHEN count(*) > 0 THEN array_agg(CASE WHEN n = h THEN -n ELSE n END ORDER BY n) END AS f
           FROM (SELECT n, min(n) OVER () AS h FROM generate_series(1, 90) n WHERE n * interval '1 hour' + '2024-01-01'::timestamptz >= f.t - interval '8 hours'
                 AND n * interval '1 hour' + '2024-01-01'::timestamptz < f.t) x) w;
CREATE AGGREGATE spoilt(int) (sfunc = put, stype = int[], initcond = '{}', msfunc = put, minvfunc = take, mstype = int[], minitcond = '{}', mfinalfunc = sealed, mfinalfunc_modify = read_write);
SELECT * FROM one('{"aggregate": "spoilt", "value": "n"}', 'int[]');
-- An expression that is not the same twice: its event counts or not, whole.
CREATE FUNCTION add_both(s text, a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT s || a || b';
CREATE AGGREGATE two_texts(text, text) (sfunc = add_both, stype = text, initcond = '', combinefunc = textcat);
SELECT count(*) AS rows, count(*) FILTER (WHERE f.f !~ '^(a+b+)*$') AS wrong
FROM pipeline.features('SELECT 1 AS k, ''2024-01-02''::timestamptz AS t', '{k}', 't', '[
  {"feature": "f", "source": "SELECT 1 AS k, ''2024-01-01''::timestamptz AS t FROM generate_series(1, 500)", "aggregate": "two_texts", "value": "repeat(''a'', 9)",
   "args": {"arguments": ["CASE WHEN random() < 0.5 THEN repeat(''b'', 9) END"]}, "lookback": "3 days"}]') AS f (k int, t timestamptz, f text);
-- A cast to character without a length keeps all of it.
CREATE FUNCTION later(s bpchar, v bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE STRICT AS 'SELECT greatest(s, v)';
CREATE AGGREGATE last_char(bpchar) (sfunc = later, stype = bpchar, combinefunc = later);
SELECT * FROM one('{"aggregate": "last_char", "value": "shop || ''and more''"}', 'bpchar');

-- Said wrong.
CREATE FUNCTION fails(change jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text; detail text; hint text;
BEGIN
  PERFORM pipeline.features_columns('s', '{k}', 't', jsonb_build_array('{"feature": "f", "source": "e", "aggregate": "count", "lookback": "1 day"}'::jsonb || change));
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN concat_ws(E'\n  ', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT fails('{"aggregate": "last_k", "value": "n"}');
SELECT fails('{"aggregate": "last_k", "value": "n", "args": {"k": 0}}');
SELECT fails('{"aggregate": "top_k", "value": "n", "args": {"k": "many"}}');
SELECT fails('{"aggregate": "top_k", "value": "n", "args": {"n": 3}}');
SELECT fails('{"aggregate": "top_k", "value": "row(n)", "args": {"k": 3}}');
SELECT fails('{"aggregate": "rate", "args": {"per": "1 month"}}');
SELECT fails('{"aggregate": "rate", "args": {"per": "soon"}}');
SELECT fails('{"aggregate": "percentile", "value": "n", "args": {"fraction": 50}}');
SELECT fails('{"aggregate": "percentile", "value": "shop", "args": {"fraction": 0.5}}');
SELECT fails('{"aggregate": "percentile", "value": "n", "args": {"fraction": 0.5, "method": "near"}}');
SELECT fails('{"aggregate": "decayed_sum", "value": "n"}');
SELECT fails('{"aggregate": "decayed_sum", "value": "shop", "args": {"half_life": "1 day"}}');
SELECT fails('{"aggregate": "decayed_sum", "value": "n", "args": {"half_life": "-1 day"}}');
SELECT fails('{"aggregate": "approx_count_distinct", "value": "n", "args": {"precision": 30}}');
SELECT fails('{"aggregate": "approx_count_distinct", "value": "point(1, 2)"}');
SELECT fails('{"args": []}');
SELECT fails('{"aggregate": "json_agg", "value": "n"}');
SELECT fails('{"aggregate": "bool_and", "value": "n"}');
SELECT fails('{"aggregate": "mode", "value": "n"}');
SELECT fails('{"aggregate": "corr", "value": "n"}');
SELECT fails('{"aggregate": "corr", "value": "n", "args": {"arguments": []}}');
SELECT fails('{"aggregate": "corr", "value": "n", "args": {"arguments": ["nothing"]}}');
SELECT fails('{"aggregate": "corr", "value": "n", "args": {"arguments": ["1), (2"]}}');
SELECT fails('{"aggregate": "sum", "value": "n", "args": {"arguments": ["n"]}}');
SELECT fails('{"aggregate": "bool_and"}');
SELECT fails('{"aggregate": "nowhere.bool_and", "value": "ok"}');
SELECT fails('{"aggregate": "lower", "value": "shop"}');
SELECT fails('{"by": "nothing"}');
SELECT fails('{"by": "sum(n)"}');
SELECT fails('{"by": "shop", "args": {"values": []}}');
SELECT fails('{"by": "shop", "args": {"values": "a"}}');
SELECT fails('{"by": "shop", "args": {"k": 1}}');
SELECT fails('{"by": "shop", "args": {"values": ["a", "a"]}}');
SELECT fails(jsonb_build_object('by', 'shop', 'args', jsonb_build_object('values', jsonb_build_array(repeat('x', 62)))));
-- Who may not execute the function may not aggregate by it.
REVOKE EXECUTE ON FUNCTION "Product of"(numeric) FROM PUBLIC;
GRANT USAGE ON SCHEMA feature_aggregates TO pipeline_bob;
GRANT SELECT ON s, e TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT fails('{"aggregate": "\"Product of\"", "value": "n"}');
RESET ROLE;
SET client_min_messages = error;
DROP SCHEMA feature_aggregates CASCADE;
