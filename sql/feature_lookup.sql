-- A few entities are looked up by an index of the source, if there is one: the
-- same answers, and the plan says so.
CREATE SCHEMA feature_lookup;
SET search_path = feature_lookup;
SET timezone = 'UTC';
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET enable_indexonlyscan = off;	-- depends on vacuum
CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT setseed(0.6);
CREATE TABLE events AS
SELECT n % 2000 AS a, md5((n % 2000)::text) AS b, md5((n % 2000)::text)::uuid AS u, decode(md5((n % 2000)::text), 'hex') AS y, '2020-01-01'::date + n % 2000 AS d,
       md5((n % 2000)::text) COLLATE "C" AS c, md5((n % 2000)::text) COLLATE no_case AS i, (n % 2000)::bigint AS l, (n % 2000)::numeric AS "N um", n % 2000 + 1 AS pipeline_key_1,
       '2024-01-01'::timestamptz + n * interval '1 minute' AS t, n AS v
FROM generate_series(1, 60000) n;
CREATE INDEX ON events (a, t);
CREATE INDEX ON events (b, t);
CREATE INDEX ON events (u, t);
CREATE INDEX ON events (y, t);
CREATE INDEX ON events (d, t);
CREATE INDEX ON events (c, t);
CREATE INDEX ON events (i, t);
CREATE INDEX ON events (l, t);
CREATE INDEX ON events ("N um", t);
CREATE TABLE parts (LIKE events) PARTITION BY RANGE (t);
CREATE TABLE "parts' first" PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2024-01-20');
CREATE TABLE parts_rest PARTITION OF parts FOR VALUES FROM ('2024-01-20') TO (MAXVALUE);
INSERT INTO parts SELECT * FROM events;
CREATE INDEX ON parts (a, t);
CREATE VIEW shown AS SELECT a, t, v + 1 AS v FROM events WHERE v % 2 = 0;
CREATE TABLE spine AS SELECT *, t + interval '5 days' AS at FROM events WHERE v IN (31000, 32111, 33222, 33223);
ANALYZE;

-- How the events were read, and whether the answer is that of reading them all.
CREATE FUNCTION read(source text, VARIADIC entity text[]) RETURNS TABLE (way text, same boolean) LANGUAGE plpgsql AS $$
DECLARE
  spec jsonb := jsonb_build_array(jsonb_build_object('feature', 'n', 'source', source, 'aggregate', 'count', 'event_time', 't', 'lookback', '30 days'),
    jsonb_build_object('feature', 's', 'source', source, 'aggregate', 'sum', 'value', 'v', 'filter', 'v <> 32111', 'event_time', 't', 'lookback', '7 days', 'closed', 'both'));
  columns text := pipeline.features_columns('TABLE spine', entity, 'at', spec);
  looked_up text;
  scanned text;
  statement text := format('SELECT string_agg(f::text, '';'' ORDER BY f::text) FROM pipeline.features(''TABLE spine'', $1, ''at'', $2) AS f (%s)', columns);
BEGIN
  PERFORM pipeline.create_feature_set('feature lookup', 'TABLE spine', entity, 'at', target => 'feature_lookup.target', or_replace => true);
  PERFORM pipeline.add_feature('feature lookup', 'n', source, 'count', '30 days', event_time => 't');
  SELECT e.way INTO way FROM pipeline.explain_features('feature lookup') e WHERE step = 'events';
  EXECUTE statement USING entity, spec INTO looked_up;
  SET LOCAL enable_nestloop = off;
  EXECUTE statement USING entity, spec INTO scanned;
  SET LOCAL enable_nestloop = on;
  same := looked_up = scanned;
  RETURN NEXT;
END $$;
SELECT source, entity, way, same
FROM (VALUES ('events', '{a}'::text[]), ('events', '{a,b}'), ('events', '{b}'), ('events', '{u}'), ('events', '{y}'), ('events', '{d}'), ('events', '{c}'),
             -- Types whose equality is their own, though an index has it.
             ('events', '{i}'), ('events', '{"N um"}'),
             ('parts', '{a}'), ('shown', '{a}'), ('SELECT * FROM events WHERE v > 5', '{a}'),
             -- Without an index it is not worth it.
             ('SELECT a + 0 AS a, t, v FROM events', '{a}')) x (source, entity), LATERAL read(source, VARIADIC entity);
-- Of another type of integers, or of strings, it serves as well; else a cast is in the way.
ALTER TABLE spine ALTER a TYPE bigint, ALTER l TYPE smallint, ALTER b TYPE varchar, ALTER d TYPE timestamp;
SELECT entity, way, same FROM (VALUES ('a'), ('l'), ('b'), ('d')) x (entity), LATERAL read('events', entity);

-- Columns may have any names.
ALTER TABLE spine ADD want int DEFAULT 0;
SELECT * FROM read('events', 'pipeline_key_1', 'a');
SELECT v, n FROM pipeline.features('SELECT a, pipeline_key_1, v, at FROM spine', '{pipeline_key_1,a}', 'at',
  '[{"feature": "n", "source": "events", "aggregate": "count", "event_time": "t", "lookback": "30 days"}]') AS f (a bigint, pipeline_key_1 int, v int, at timestamptz, n bigint) ORDER BY v;
SELECT pipeline.add_feature('feature lookup', 'no length', 'events', 'rate', '0', event_time => 't');
SELECT rows_computed FROM pipeline.refresh_features('feature lookup');
SELECT feature, rows_checked, rows_wrong FROM pipeline.verify_features('feature lookup');

-- Events without a time are not looked for.
INSERT INTO events (a, v) SELECT a, 1 FROM spine;
SELECT * FROM read('events', 'b');

-- Row security holds.
GRANT USAGE ON SCHEMA feature_lookup TO pipeline_bob;
GRANT SELECT ON events, spine TO pipeline_bob;
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON events FOR SELECT TO pipeline_bob USING (v % 3 = 0);
SET ROLE pipeline_bob;
SELECT b = md5((v % 2000)::text) AS right, n FROM pipeline.features('SELECT b::text AS b, v, at FROM spine', '{b}', 'at',
  '[{"feature": "n", "source": "events", "aggregate": "count", "event_time": "t", "lookback": "30 days"}]') AS f (b text, v int, at timestamptz, n bigint) ORDER BY v;
RESET ROLE;
SELECT v, (SELECT count(*) FROM events e WHERE e.b = s.b AND e.t >= s.at - interval '30 days' AND e.t < s.at AND v % 3 = 0) AS n FROM spine s ORDER BY v;

-- A narrow time is read by an index on the time, btree or BRIN, where all entities are wanted; of partitions only those within.
CREATE TABLE log AS SELECT (n % 3) AS "x y", '2024-01-01'::timestamptz + n * interval '1 minute' AS t, n AS v FROM generate_series(1, 100000) n;
CREATE TABLE log_parts (LIKE log) PARTITION BY RANGE (t);
CREATE TABLE log_old PARTITION OF log_parts FOR VALUES FROM (MINVALUE) TO ('2024-02-01');
CREATE TABLE log_new PARTITION OF log_parts FOR VALUES FROM ('2024-02-01') TO (MAXVALUE);
INSERT INTO log_parts SELECT * FROM log;
CREATE TABLE rows AS SELECT * FROM log WHERE v BETWEEN 90000 AND 90060;
ALTER TABLE log ALTER t SET NOT NULL;
ALTER TABLE log_parts ALTER t SET NOT NULL;
ANALYZE log, log_parts, rows;
CREATE FUNCTION narrow(source text) RETURNS TABLE (by_index boolean, same boolean) LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  PERFORM pipeline.create_feature_set('feature narrow', 'rows', '{x y}', 't', target => 'feature_lookup.narrow_of', or_replace => true);
  PERFORM pipeline.add_feature('feature narrow', 'n', source, 'sum', '1 hour', value => 'v');
  SELECT e.way LIKE 'executor: %Scan' INTO by_index FROM pipeline.explain_features('feature narrow') e WHERE step = 'events';
  PERFORM pipeline.refresh_features('feature narrow');
  EXECUTE format('SELECT count(*) FROM narrow_of r WHERE n IS DISTINCT FROM (SELECT sum(v) FROM %s e WHERE e."x y" = r."x y" AND e.t >= r.t - interval ''1 hour'' AND e.t < r.t)', source) INTO wrong;
  same := wrong = 0;
  RETURN NEXT;
END $$;
SELECT by_index, same FROM narrow('log');
CREATE INDEX log_brin ON log USING brin (t) WITH (pages_per_range = 4);
SELECT by_index, same FROM narrow('log');
DROP INDEX log_brin;
CREATE INDEX ON log (t);
SELECT by_index, same FROM narrow('log');
SELECT by_index, same FROM narrow('log_parts');
SELECT sum(rows_read) < 5000 AS only_within FROM pipeline.explain_features('feature narrow') WHERE step = 'events';
SELECT pipeline.drop_feature_set('feature narrow', drop_target => true);

-- Equal numbers with other digits are equal.
CREATE TABLE digits AS SELECT 1 AS k, '2024-01-01'::timestamptz + n * interval '1 hour' AS t, ('{1.00,1.0,1.000}'::numeric[])[1 + n % 3] AS v FROM generate_series(0, 30) n;
SELECT pipeline.create_feature_set('feature digits', 'digits', '{k}', 't', target => 'feature_lookup.digits_of');
SELECT pipeline.add_feature('feature digits', a, 'digits', a, '5 hours', value => 'v', args => args::jsonb)
FROM (VALUES ('min', '{}'), ('max', '{}'), ('percentile', '{"fraction": 0.5, "method": "disc"}'), ('top_k', '{"k": 2}'), ('last_k', '{"k": 2}'), ('sum', '{}')) x (a, args);
SELECT rows > 0 AS refreshed FROM (SELECT rows_computed AS rows FROM pipeline.refresh_features('feature digits')) r;
SELECT sum(rows_checked), sum(rows_wrong) FROM pipeline.verify_features('feature digits', 31);
SELECT pipeline.drop_feature_set('feature digits');

SELECT pipeline.drop_feature_set('feature lookup');
DROP SCHEMA feature_lookup CASCADE;
