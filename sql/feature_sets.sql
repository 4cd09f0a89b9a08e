-- Registered sets: create, add, refresh, replace, drop; rights; what is left
-- behind.
\set VERBOSITY default
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE SCHEMA feature_alice AUTHORIZATION pipeline_alice;
SET ROLE pipeline_alice;
SET search_path = feature_alice;
CREATE TABLE prints (user_id int, prop text, ts timestamptz);
CREATE TABLE pays (user_id int, prop text, ts timestamptz, total numeric);
INSERT INTO prints SELECT u, 'p' || u % 2, '2024-03-01'::timestamptz + d * interval '1 day' + u * interval '1 minute'
FROM generate_series(1, 5) u, generate_series(0, 30) d;
INSERT INTO prints VALUES (NULL, 'p', '2024-03-05'), (1, 'p1', NULL);
INSERT INTO pays SELECT u, 'p' || u % 2, '2024-02-20'::timestamptz + d * interval '1 day', u + d / 100.0
FROM generate_series(1, 7) u, generate_series(0, 40) d;
INSERT INTO pays VALUES (NULL, 'p1', '2024-03-05', 1);

SELECT pipeline.create_feature_set('feature carousel', 'prints', '{user_id,prop}', 'ts', target => 'carousel',
  timezone => 'Europe/Madrid', labels => '{"team": "payments"}', description => 'what a print is worth');
SELECT pipeline.add_feature('feature carousel', 'views', 'prints', 'count', '21 days');
SELECT pipeline.add_feature('feature carousel', 'paid', 'pays', 'sum', '21 days', value => 'total', default_value => '0');
SELECT feature, aggregate, value, source, lookback, closed, entity, event_time, default_value, result_type, target,
       timezone, labels, description, last_rows
FROM pipeline.feature_catalog WHERE feature_set = 'feature carousel' ORDER BY position;

-- A refresh: what it read adds up, and the target is what features() says.
CREATE VIEW last_refresh AS
SELECT features, rows_read, rows_computed, rows_rejected, rows_beyond_as_of, rows_deleted, events_read, events_used,
       events_rejected, events_unknown, events_unreached, events_filtered, from_time, to_time, as_of,
       rows_read = rows_computed + rows_rejected + rows_beyond_as_of
       AND events_read = events_used + events_rejected + events_unknown + events_unreached + events_filtered AS adds_up
FROM pipeline.feature_refreshes WHERE feature_set = 'feature carousel' ORDER BY refresh_id DESC LIMIT 1;
CREATE VIEW expected AS
SELECT p.*, (SELECT count(*) FROM prints e WHERE (e.user_id, e.prop) = (p.user_id, p.prop) AND e.ts >= p.ts - interval '21 days' AND e.ts < p.ts) AS views,
  (SELECT coalesce(sum(total), 0) FROM pays e WHERE (e.user_id, e.prop) = (p.user_id, p.prop) AND e.ts >= p.ts - interval '21 days' AND e.ts < p.ts) AS paid
FROM prints p WHERE user_id IS NOT NULL AND ts IS NOT NULL;
SET check_function_bodies = off;	-- the target is yet to come
CREATE FUNCTION wrong() RETURNS bigint LANGUAGE sql SET timezone = 'Europe/Madrid' AS $$
  SELECT (SELECT count(*) FROM (TABLE expected EXCEPT ALL SELECT user_id, prop, ts, views, paid FROM carousel) x)
       + (SELECT count(*) FROM (SELECT user_id, prop, ts, views, paid FROM carousel EXCEPT ALL TABLE expected) x) $$;
\x on
SELECT feature_set, target, features, rows_read, rows_computed, rows_rejected, rows_deleted, spilled_bytes, from_time, to_time, as_of,
       read_ms >= 0 AND compute_ms >= 0 AND write_ms >= 0 AND total_ms >= read_ms + compute_ms + write_ms AS times
FROM pipeline.refresh_features('feature carousel');
SELECT * FROM last_refresh;
\x off
SELECT wrong();
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required
FROM pg_attribute a WHERE attrelid = 'feature_alice.carousel'::regclass AND attnum > 0 ORDER BY attnum;

-- Again, and an interval of it: the same rows.
SELECT rows_computed, rows_deleted FROM pipeline.refresh_features('feature carousel');
SELECT rows_computed, rows_deleted FROM pipeline.refresh_features('feature carousel', from_time => '2024-03-10', to_time => '2024-03-12');
SELECT rows_computed, rows_deleted FROM pipeline.refresh_features('feature carousel', '2024-03-10', '2024-03-12');
SELECT wrong();

-- Late events change only what is refreshed.
INSERT INTO pays VALUES (1, 'p1', '2024-03-10 12:00+00', 1000);
SELECT wrong();
SELECT rows_computed, rows_deleted FROM pipeline.refresh_features('feature carousel', from_time => '2024-03-11');
SELECT wrong();

-- as_of cuts rows and events, and is kept.
SELECT rows_computed, rows_beyond_as_of, rows_deleted, as_of FROM pipeline.refresh_features('feature carousel', from_time => '2024-03-20', as_of => '2024-03-21');
SELECT as_of, count(*) FROM carousel GROUP BY 1 ORDER BY 1;
\x on
SELECT * FROM last_refresh;
\x off
SELECT rows_computed FROM pipeline.refresh_features('feature carousel');

-- Another feature: a partial refresh would leave its column half empty.
SELECT pipeline.add_feature('feature carousel', 'any "pay"', 'SELECT * FROM pays WHERE total > 5', 'exists', '1 month', closed => 'both');
SELECT pipeline.refresh_features('feature carousel', from_time => '2024-03-20');
SELECT rows_computed FROM pipeline.refresh_features('feature carousel');
SELECT "any ""pay""", count(*) FROM carousel GROUP BY 1 ORDER BY 1;
SELECT pipeline.drop_feature('feature carousel', 'any "pay"');
SELECT rows_computed FROM pipeline.refresh_features('feature carousel', from_time => '2024-03-20');
SELECT "any ""pay""" IS NULL AS gone, count(*) FROM carousel GROUP BY 1 ORDER BY 1;
SELECT wrong();

-- Refused: names, duplicates, options that come later, types of the target.
SELECT pipeline.create_feature_set('feature carousel', 'prints', '{user_id,prop}', 'ts');
SELECT pipeline.create_feature_set('', 'prints', '{user_id}', 'ts');
SELECT pipeline.create_feature_set('feature x', 'prints', '{user_id}', 'ts', timezone => 'Mars');
SELECT pipeline.create_feature_set('feature x', 'prints', '{user_id}', 'ts', target => 'a.b.c');
SELECT pipeline.create_feature_set('feature x', 'prints', '{user_id}', 'ts', target => 'nowhere.x');
SELECT pipeline.create_feature_set('feature x', 'prints', '{user_id}', 'ts', labels => '[]');
SELECT pipeline.create_feature_set('feature x', 'prints', '{user_id}', 'ts', spine_key => '{a,b}');
SELECT pipeline.create_feature_set('feature x', 'SELECT *, 1 AS as_of FROM prints', '{user_id}', 'ts');
SELECT pipeline.create_feature_set('feature x', 'prints', '{user_id}', 'prop');
SELECT pipeline.create_feature_set(NULL, 'prints', '{user_id}', 'ts');
SELECT pipeline.create_feature_set(repeat('x', 70), 'prints', '{user_id}', 'ts');
SELECT pipeline.add_feature('feature carousel', 'views', 'prints', 'count', '1 day');
SELECT pipeline.add_feature('feature carousel', 'user_id', 'prints', 'count', '1 day');
SELECT pipeline.add_feature('feature carousel', 'as_of', 'prints', 'count', '1 day');
SELECT pipeline.add_feature('feature carousel', 'x', 'prints', 'count', '1 day', lookahead => '-2 days');
SELECT pipeline.add_feature('feature carousel', 'x', 'prints', 'count', '1 day', "by" => 'nothing');
SELECT pipeline.add_feature('feature carousel', 'x', 'prints', 'count', NULL);
SELECT pipeline.add_feature('feature nowhere', 'x', 'prints', 'count', '1 day');
SELECT pipeline.drop_feature('feature carousel', 'x');
SELECT pipeline.drop_feature('feature nowhere', 'x');
SELECT pipeline.drop_feature_set('feature nowhere');
SELECT pipeline.refresh_features('feature nowhere');
SELECT pipeline.refresh_features(NULL);
SELECT pipeline.refresh_features('feature carousel', '2024-03-10', '2024-03-10');
SELECT pipeline.create_feature_set('feature empty', 'prints', '{user_id}', 'ts');
SELECT pipeline.refresh_features('feature empty');
CREATE VIEW "feature empty" AS SELECT 1;
SELECT pipeline.add_feature('feature empty', 'n', 'prints', 'count', '1 day');
SELECT pipeline.refresh_features('feature empty');
DROP VIEW "feature empty";
CREATE TABLE "feature empty" (user_id int, prop text, ts timestamptz, n int, as_of timestamptz);
SELECT pipeline.refresh_features('feature empty');
ALTER TABLE "feature empty" ALTER n TYPE bigint, DROP prop;
SELECT pipeline.refresh_features('feature empty');
-- A target of one's own, with more columns, in another order.
ALTER TABLE "feature empty" ADD prop text, ADD loaded text DEFAULT 'yes';
SELECT rows_computed FROM pipeline.refresh_features('feature empty');
SELECT count(*), min(loaded) FROM "feature empty" WHERE n IS NOT NULL;
-- Nothing is half done when the target refuses a row.
ALTER TABLE "feature empty" ADD CHECK (n < 1) NOT VALID;
SELECT pipeline.refresh_features('feature empty');
SELECT count(*) FROM "feature empty";

-- A definition means the same whatever the style of dates of the session.
SELECT pipeline.create_feature_set('feature dates', 'prints', '{user_id}', 'ts', target => 'dates');
SELECT pipeline.add_feature('feature dates', 'd', 'SELECT user_id, ts, ts::date AS d FROM prints', 'max', '0', value => 'd', default_value => '31/12/2024');
SET datestyle = 'SQL, DMY';
SELECT pipeline.add_feature('feature dates', 'd', 'SELECT user_id, ts, ts::date AS d FROM prints', 'max', '0', value => 'd', default_value => '31/12/2024');
SELECT pipeline.add_feature('feature dates', 'd', 'SELECT user_id, ts, ts::date AS d FROM prints', 'max', '0', value => 'd::text', default_value => '2024-12-31');
SELECT pipeline.add_feature('feature dates', 'next', 'prints', 'count', '0', lookahead => '1 day', closed => 'right');
SELECT pipeline.add_feature('feature dates', 'week', 'prints', 'count', '7 days', align => 'week');
SELECT pipeline.add_feature('feature dates', 'e', 'SELECT user_id, ts, ts::date AS d FROM prints', 'max', '1 year', value => 'd::text');
SELECT rows_computed FROM pipeline.refresh_features('feature dates');
SELECT DISTINCT d FROM dates;
SELECT max(e) FROM dates;
SELECT week, count(*) FROM dates GROUP BY 1 ORDER BY 1;
SELECT next, count(*) FROM dates GROUP BY 1 ORDER BY 1;
SELECT feature, lookback, lookahead, align, closed FROM pipeline.feature_catalog WHERE feature_set = 'feature dates' ORDER BY position;
SET datestyle = 'ISO, YMD';
-- Events count once they are known: payments that arrive later than made.
CREATE TABLE arrivals AS SELECT user_id, ts, total, ts + total * interval '1 hour' AS known FROM pays WHERE user_id <= 2;
INSERT INTO arrivals VALUES (1, '2024-03-02', 1, NULL);
SELECT pipeline.create_feature_set('feature known', 'SELECT 1 AS user_id, d AS ts FROM generate_series(timestamptz ''2024-03-01'', ''2024-03-04'', ''12 hours'') d',
  '{user_id}', 'ts', target => 'known', knowledge_time => 'known');
SELECT pipeline.add_feature('feature known', 'x', 'prints', 'count', '1 day');
SELECT pipeline.add_feature('feature known', 'x', 'SELECT *, 7 AS known FROM prints', 'count', '1 day');
SELECT pipeline.add_feature('feature known', 'n', 'arrivals', 'count', '2 days', closed => 'right');
SELECT pipeline.add_feature('feature known', 'n_open', 'arrivals', 'count', '2 days');
SELECT pipeline.add_feature('feature known', 'early', 'SELECT user_id, ts, ts - interval ''1 day'' AS known FROM arrivals', 'count', '2 days');
SELECT pipeline.add_feature('feature known', 'late', 'SELECT user_id, ts, ts + interval ''1 day'' AS known FROM arrivals', 'count', '2 days');
SELECT pipeline.add_feature('feature known', 'label', 'SELECT user_id, ts, ts + interval ''1 day'' AS known FROM arrivals', 'count', '0', lookahead => '2 days');
SELECT rows_read, rows_computed, events_read, events_used, events_rejected, events_unknown, events_unreached FROM pipeline.refresh_features('feature known');
SELECT ts, n, n_open, early, late, label FROM known ORDER BY ts;
SELECT rows_computed, events_read, events_rejected FROM pipeline.refresh_features('feature known', as_of => '2024-03-03');
SELECT ts, n, n_open, early, late, label FROM known ORDER BY ts;
SELECT feature, knowledge_time FROM pipeline.feature_catalog WHERE feature_set = 'feature known' AND feature = 'n';
SELECT pipeline.drop_feature_set('feature known', drop_target => true);
-- A target is one set's alone.
SELECT pipeline.create_feature_set('feature other', 'prints', '{user_id}', 'ts', target => 'dates');
SELECT pipeline.drop_feature_set('feature dates', drop_target => true);

-- Rights: others see nothing, change nothing, and read nothing through it.
SELECT count(*) AS seen_by_owner FROM pipeline.feature_sets WHERE name LIKE 'feature %';
RESET ROLE;
SET ROLE pipeline_bob;
SELECT count(*) AS seen_by_others FROM pipeline.feature_catalog WHERE feature_set LIKE 'feature %';
SELECT count(*) AS seen_by_others FROM pipeline.feature_sets WHERE name LIKE 'feature %';
SELECT count(*) AS seen_by_others FROM pipeline.feature_refreshes WHERE feature_set LIKE 'feature %';
SELECT pipeline.refresh_features('feature carousel');
SELECT pipeline.add_feature('feature carousel', 'x', 'feature_alice.prints', 'count', '1 day');
SELECT pipeline.drop_feature('feature carousel', 'views');
SELECT pipeline.drop_feature_set('feature carousel');
SELECT pipeline.create_feature_set('feature carousel', 'SELECT 1 AS k, now() AS t', '{k}', 't', or_replace => true);
SELECT pipeline.create_feature_set('feature theft', 'feature_alice.prints', '{user_id}', 'ts');
DELETE FROM pipeline.feature_sets;
INSERT INTO pipeline.features (feature_set, feature, position, owner, source, aggregate, lookback, closed, result_type)
  VALUES ('feature carousel', 'x', 9, 'pipeline_bob'::regrole, 'x', 'count', '1 day', 'left', 'bigint');
RESET ROLE;
-- Run by another role, it is still the owner who reads and writes, and the
-- caller's settings come back.
CREATE ROLE pipeline_feature_group;
GRANT pipeline_feature_group TO pipeline_alice, pipeline_bob;
GRANT USAGE ON SCHEMA pipeline TO pipeline_feature_group;
CREATE SCHEMA feature_group AUTHORIZATION pipeline_feature_group;
SET ROLE pipeline_feature_group;
SET search_path = feature_group;
CREATE TABLE log (k int, t timestamp);
INSERT INTO log VALUES (1, '2024-01-01'), (1, '2024-01-02');
SELECT pipeline.create_feature_set('feature group', 'log', '{k}', 't', timezone => 'Asia/Tokyo');
SELECT pipeline.add_feature('feature group', 'who', $$SELECT *, current_user || current_setting('TimeZone') AS me FROM log$$, 'max', '7 days', value => 'me');
RESET ROLE;
SET ROLE pipeline_bob;
SET search_path = bob;
SELECT rows_computed FROM pipeline.refresh_features('feature group');
SELECT current_user, current_setting('TimeZone') AS zone, current_setting('search_path') AS path;
SELECT k, t, who FROM feature_group."feature group" ORDER BY t;
SELECT tableowner FROM pg_tables WHERE tablename = 'feature group';
RESET ROLE;

-- Replace: the definition and its features go, the target and the history stay.
SET ROLE pipeline_alice;
SET search_path = feature_alice;
SELECT pipeline.create_feature_set('feature carousel', 'prints', '{user_id}', 'ts', target => 'carousel', or_replace => true);
SELECT pipeline.add_feature('feature carousel', 'views', 'prints', 'count', '1 hour', closed => 'both');
SELECT rows_computed FROM pipeline.refresh_features('feature carousel');
SELECT views, paid IS NULL AS no_paid, count(*) FROM carousel GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) > 8 AS history FROM pipeline.feature_refreshes WHERE feature_set = 'feature carousel';

-- Drop: the target only when asked.
SELECT pipeline.drop_feature_set('feature carousel');
SELECT to_regclass('carousel') IS NOT NULL AS target_stays, (SELECT count(*) FROM pipeline.features WHERE feature_set = 'feature carousel') AS features;
SELECT pipeline.drop_feature_set('feature empty', drop_target => true);
SELECT to_regclass('"feature empty"') AS target;
SELECT count(*) > 8 AS history_stays FROM pipeline.feature_refreshes WHERE feature_set = 'feature carousel';
RESET ROLE;
SELECT action, note, before IS NULL AS is_new, after IS NULL AS is_gone
FROM pipeline.changes WHERE kind = 'feature set' AND name IN ('feature carousel', 'feature empty') ORDER BY change_id;
-- An administrator may drop what others own.
SELECT pipeline.drop_feature_set('feature group', drop_target => true);
SET client_min_messages = error;
DROP SCHEMA feature_alice, feature_group CASCADE;
REVOKE ALL ON SCHEMA pipeline FROM pipeline_feature_group;
DROP ROLE pipeline_feature_group;
