-- One entity served; how a set is computed; the target computed again in SQL.
CREATE SCHEMA feature_serve;
SET search_path = feature_serve;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SELECT setseed(0.6);
CREATE TABLE prints AS
SELECT n AS id, n % 50 AS user_id, chr(97 + n % 3) AS prop, '2024-03-01'::timestamptz + (n * 7919 % 3000) * interval '10 minutes' AS ts FROM generate_series(1, 2000) n;
CREATE TABLE pays AS
SELECT n % 60 AS user_id, chr(97 + n % 3) AS prop, date '2024-02-20' + (n * 31) % 40 AS day, (n * 13 % 100)::numeric / 4 AS total, (n * 13 % 100)::float8 / 3 AS score FROM generate_series(1, 1500) n;
CREATE INDEX ON prints (user_id, prop, ts);
ANALYZE;
SELECT pipeline.create_feature_set('feature serve', 'prints', '{user_id,prop}', 'ts', target => 'target', timezone => 'Europe/Madrid', spine_key => '{id}');
SELECT count(pipeline.add_feature('feature serve', feature, source, aggregate, lookback::interval, lookahead => lookahead::interval, value => value, event_time => CASE source WHEN 'prints' THEN 'ts' ELSE 'day' END,
  filter => filter, args => args::jsonb, "by" => spread, align => align))
FROM (VALUES
  ('views', 'prints', 'count', '5 days', '0', NULL, NULL, '{}', NULL, NULL),
  ('seen', 'prints', 'exists', '0', '1 day', NULL, NULL, '{}', NULL, NULL),
  ('rate', 'prints', 'rate', '36 hours', '0', NULL, NULL, '{"per": "1 hour"}', NULL, NULL),
  ('paid', 'pays', 'sum', '21 days', '0', 'total', NULL, '{}', NULL, NULL),
  ('score', 'pays', 'avg', '21 days', '0', 'score', 'total > 3 -- not all', '{}', NULL, NULL),
  ('spread', 'pays', 'stddev', '14 days', '0', 'total', NULL, '{}', NULL, 'week'),
  ('kinds', 'pays', 'count_distinct', '30 days', '0', 'total', NULL, '{}', NULL, NULL),
  ('about', 'pays', 'approx_count_distinct', '30 days', '0', 'total', NULL, '{}', NULL, NULL),
  ('median', 'pays', 'percentile', '30 days', '0', 'total', NULL, '{"fraction": 0.5}', NULL, NULL),
  ('lasts', 'pays', 'last_k', '30 days', '0', 'total', NULL, '{"k": 3}', NULL, NULL),
  ('tops', 'pays', 'top_k', '30 days', '0', 'total', NULL, '{"k": 2}', NULL, NULL),
  ('decayed', 'pays', 'decayed_sum', '30 days', '0', 'score', NULL, '{"half_life": "5 days"}', NULL, NULL),
  ('since', 'pays', 'time_since_last', '30 days', '0', NULL, NULL, '{}', NULL, NULL),
  ('first', 'pays', 'first', '30 days', '0', 'total', NULL, '{}', NULL, NULL),
  ('any', 'pays', 'bool_or', '3 days', '0', 'total > 20', NULL, '{}', NULL, NULL),
  ('map', 'pays', 'sum', '30 days', '0', 'total', NULL, '{}', 'total > 10', NULL),
  ('map_about', 'pays', 'avg', '30 days', '0', 'score', NULL, '{}', 'total > 10', NULL),
  ('cols', 'pays', 'count', '30 days', '0', NULL, NULL, '{"values": ["true", "false"]}', 'total > 10', NULL))
  x (feature, source, aggregate, lookback, lookahead, value, filter, args, spread, align);
SELECT pipeline.latest_features('feature serve', '{"user_id": 7, "prop": "b"}');
SELECT rows_computed FROM pipeline.refresh_features('feature serve');
SELECT * FROM pipeline.verify_features('feature serve', 60);
UPDATE target SET paid = coalesce(paid, 0) + 1;
SELECT feature, rows_checked, rows_wrong, example->'want' IS NOT NULL AS shown FROM pipeline.verify_features('feature serve', 5) WHERE rows_wrong > 0;
SELECT rows_inserted FROM pipeline.refresh_features('feature serve', from_time => '-infinity');
SELECT sum(rows_wrong) FROM pipeline.verify_features('feature serve', 5);

-- As stored, and as of now: the same for a moment at which there is a row.
SET timezone = 'Europe/Madrid';	-- as the set
SET intervalstyle = 'postgres';
SELECT pipeline.latest_features('feature serve', '{"user_id": 7, "prop": "b"}') = (SELECT to_jsonb(t) FROM target t WHERE user_id = 7 AND prop = 'b' ORDER BY ts DESC LIMIT 1) AS same;
SELECT pipeline.latest_features('feature serve', '{"user_id": 7, "prop": "nobody"}') IS NULL AS none;
SELECT count(*), count(*) FILTER (WHERE to_jsonb(t) @> (pipeline.current_features('feature serve', jsonb_build_object('user_id', user_id, 'prop', prop), ts) - '{decayed,score,map_about}'::text[])) AS same
FROM (SELECT * FROM target ORDER BY id LIMIT 10) t;
SELECT jsonb_object_keys(pipeline.current_features('feature serve', '{"user_id": -1, "prop": "x"}')) LIMIT 3;
SELECT pipeline.current_features('feature serve', '{"user_id": 7}');
SELECT pipeline.current_features('feature serve', '{"user_id": 7, "prop": "b", "x": 1}');
\set VERBOSITY terse
SELECT pipeline.current_features('feature serve', '{"user_id": "many", "prop": "b"}');
\set VERBOSITY default
SELECT pipeline.current_features('feature serve', '[]');
SELECT pipeline.latest_features('feature nowhere', '{}');
SELECT pipeline.latest_features('feature serve', NULL);
-- Fast enough to serve: the best of many.
DO $$
DECLARE
  started timestamptz; best interval := '1 hour';
BEGIN
  FOR i IN 1 .. 200 LOOP
    started := clock_timestamp();
    PERFORM pipeline.latest_features('feature serve', '{"user_id": 7, "prop": "b"}');
    best := least(best, clock_timestamp() - started);
  END LOOP;
  IF best > '1 millisecond' THEN RAISE WARNING 'took %', best; END IF;
END $$;
SELECT step, source, regexp_replace(way, ', \d+ groups', ', n groups') AS way, rows_read, rows_kept, ms >= 0 AS ms FROM pipeline.explain_features('feature serve');
SELECT pipeline.verify_features('feature serve', 0);
SET ROLE pipeline_bob;
SELECT pipeline.latest_features('feature serve', '{"user_id": 7, "prop": "b"}');
SELECT pipeline.current_features('feature serve', '{"user_id": 7, "prop": "b"}');
SELECT pipeline.verify_features('feature serve');
SELECT pipeline.explain_features('feature serve');
RESET ROLE;
SELECT pipeline.drop_feature_set('feature serve', drop_target => true);
SET client_min_messages = error;
DROP SCHEMA feature_serve CASCADE;
