-- Events: order independence, against a naive replay in plain SQL. Each key is
-- a case of its own, made from the seed that is printed when it fails.
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE SCHEMA scd_events;
SET search_path = scd_events;

CREATE FUNCTION day(n int) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2024-01-01' + n * interval '1 day' $$;
-- n: place in the order of its key; day: when; op; columns of each type.
CREATE TABLE events (key int, n int, day int, op text, v0 text, v1 int, v2 text, v3 text, v6 numeric);

-- The definition of what is right: of each instant the last event counts; a
-- version starts where a tracked value differs or a delete came before.
CREATE FUNCTION oracle(new_record boolean) RETURNS TABLE (key int, v0 text, v1 int, v2 text, v3 text, previous_v3 text, v6 numeric, current_v6 numeric,
  is_deleted boolean, valid_from timestamptz, valid_to timestamptz) LANGUAGE sql AS $$
  WITH winners AS (SELECT DISTINCT ON (key, day) * FROM events ORDER BY key, day, n DESC),
  ups AS (
    SELECT *, lag(v3) OVER k AS last3, lag(v2) OVER k AS last2, lag(v6) OVER k AS last6, lag(day) OVER k IS NULL AS first,
           first_value(v0) OVER k AS first0, last_value(v6) OVER (PARTITION BY key) AS last_of_6
    FROM winners WHERE op <> 'D' WINDOW k AS (PARTITION BY key ORDER BY day)),
  -- the deletes between two upserts are one
  dels AS (SELECT w.key, min(w.day) AS day, (SELECT max(u.day) FROM ups u WHERE u.key = w.key AND u.day < w.day) AS up
           FROM winners w WHERE op = 'D' GROUP BY w.key, up),
  flagged AS (SELECT u.*, (u.first OR d.day IS NOT NULL OR u.v2 IS DISTINCT FROM u.last2 OR u.v6 IS DISTINCT FROM u.last6) AS starts,
      (NOT u.first AND u.v3 IS DISTINCT FROM u.last3) AS moved3
    FROM ups u LEFT JOIN dels d ON d.key = u.key AND d.up = (SELECT max(x.day) FROM ups x WHERE x.key = u.key AND x.day < u.day)),
  grouped AS (SELECT *, count(*) FILTER (WHERE starts) OVER k AS run, count(*) FILTER (WHERE moved3) OVER k AS move FROM flagged WINDOW k AS (PARTITION BY key ORDER BY day)),
  carried AS (SELECT *, first_value(CASE WHEN moved3 THEN last3 END) OVER (PARTITION BY key, move ORDER BY day) AS prev3 FROM grouped),
  runs AS (
    SELECT DISTINCT ON (key, run) key, run, first0 AS v0, v1, v2, v3, prev3, v6, day AS last_day, min(day) OVER (PARTITION BY key, run) AS from_day
    FROM carried ORDER BY key, run, day DESC),
  versions AS (
    SELECT r.*, d.day AS deleted, lead(r.from_day) OVER (PARTITION BY r.key ORDER BY r.run) AS next_day
    FROM runs r LEFT JOIN dels d ON d.key = r.key AND d.up = r.last_day),
  rows AS (
    SELECT key, v0, v1, v2, v3, prev3, v6, false AS is_deleted, from_day, coalesce(deleted, next_day) AS to_day FROM versions
    UNION ALL
    SELECT key, v0, v1, v2, v3, prev3, v6, true, deleted, next_day FROM versions WHERE deleted IS NOT NULL AND new_record)
  SELECT key, v0, v1, v2, v3, prev3, v6, (SELECT DISTINCT last_of_6 FROM (SELECT u.key, (SELECT x.v6 FROM ups x WHERE x.key = u.key ORDER BY x.day DESC LIMIT 1) AS last_of_6 FROM ups u) l WHERE l.key = rows.key),
         is_deleted, day(from_day), coalesce(day(to_day), 'infinity')
  FROM rows $$;

CREATE FUNCTION make_events(cases int, seed float8, ordered boolean) RETURNS void LANGUAGE sql AS $$
  TRUNCATE events;
  SELECT setseed(seed);
  INSERT INTO events
  SELECT key, n, CASE WHEN ordered THEN 1 + floor(random() * 7)::int ELSE days[n] END, CASE WHEN random() < 0.25 THEN 'D' ELSE (ARRAY['I', 'U'])[1 + floor(random() * 2)::int] END,
         (ARRAY['p', 'q', NULL])[1 + floor(random() * 3)::int], floor(random() * 3)::int, (ARRAY['a', 'b', NULL])[1 + floor(random() * 3)::int],
         (ARRAY['x', 'y', NULL])[1 + floor(random() * 3)::int], CASE WHEN random() < 0.8 THEN 1.0 ELSE 2 END
  FROM (SELECT key, 1 + floor(random() * 8)::int AS most, ARRAY(SELECT d FROM generate_series(1, 9) d ORDER BY random() + key * 0) AS days FROM generate_series(1, cases) key) k,
       generate_series(1, most) n;
  -- what a delete says of attributes is of no account
  UPDATE events SET v0 = NULL WHERE op = 'D' AND random() < 0.5 $$;

-- Merge the events in a random order of batches; some come twice. Returns what
-- differs from the oracle.
CREATE TABLE batch (key int, n int, at timestamptz, op text, v0 text, v1 int, v2 text, v3 text, v6 numeric);
CREATE FUNCTION run(cases int, seed float8, batches int, ordered boolean, deletes text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE wrong text; r pipeline.merge_result; total bigint = 0; classes bigint = 0; new_record boolean = deletes = 'new_record';
BEGIN
  PERFORM make_events(cases, seed, ordered);
  PERFORM pipeline.create_dimension('scd_events.d', CASE WHEN ordered THEN 'scd_events.batch' ELSE 'SELECT key, at, op, v0, v1, v2, v3, v6 FROM scd_events.batch' END, '{key}', 'cdc',
    type0 => '{v0}', type1 => '{v1}', type2 => '{v2}', type3 => '{v3}', type6 => '{v6}', effective_at => 'at', operation => 'op',
    sequence_by => CASE WHEN ordered THEN 'n' END, hard_deletes => deletes);
  CREATE TEMP TABLE sent AS SELECT e.*, 1 + floor(random() * batches)::int AS b FROM events e;
  INSERT INTO sent SELECT key, n, day, op, v0, v1, v2, v3, v6, 1 + floor(random() * batches)::int FROM sent WHERE random() < 0.15;
  FOR round IN 1..batches LOOP
    TRUNCATE batch;
    INSERT INTO batch SELECT key, n, day(day), op, v0, v1, v2, v3, v6 FROM sent WHERE sent.b = round ORDER BY random();
    -- Past the executor and by it, in turn.
    PERFORM set_config('pipeline.direct_access', CASE WHEN round % 2 = 0 THEN 'off' ELSE 'on' END, true);
    r = pipeline.merge_dimension('scd_events.d');
    total = total + r.rows_read;
    classes = classes + r.inserted + r.versioned + r.updated_type1 + r.reopened + r.late + r.deleted + r.unchanged + r.duplicate;
  END LOOP;
  IF total <> (SELECT count(*) FROM sent) OR classes <> total THEN RETURN format('rows %s, counted %s', total, classes); END IF;
  EXECUTE format('CREATE TEMP TABLE got AS SELECT key, v0, v1, v2, v3, previous_v3, v6, current_v6, %s AS is_deleted, valid_from, valid_to FROM d WHERE surrogate_key <> -1',
    CASE WHEN new_record THEN 'is_deleted' ELSE 'false' END);
  CREATE TEMP TABLE want AS SELECT * FROM oracle(new_record);
  SELECT format('seed %s, key %s: wanted %s, got %s', seed, min(key), (SELECT array_agg(w ORDER BY valid_from) FROM want w WHERE w.key = min(x.key)), (SELECT array_agg(g ORDER BY valid_from) FROM got g WHERE g.key = min(x.key)))
    INTO wrong FROM ((TABLE want EXCEPT ALL TABLE got) UNION ALL (TABLE got EXCEPT ALL TABLE want)) x HAVING count(*) > 0;
  -- current exactly where open
  IF wrong IS NULL AND EXISTS (SELECT FROM d WHERE is_current IS DISTINCT FROM (valid_to = 'infinity')) THEN wrong = 'is_current'; END IF;
  -- The whole once more: nothing changes.
  TRUNCATE batch;
  INSERT INTO batch SELECT key, n, day(day), op, v0, v1, v2, v3, v6 FROM sent;
  r = pipeline.merge_dimension('scd_events.d');
  IF wrong IS NULL AND (r.duplicate + r.unchanged <> r.rows_read OR r.closed + r.hot_updates > 0) THEN wrong = 'replayed: ' || r::text; END IF;
  DROP TABLE sent, got, want;
  PERFORM pipeline.drop_dimension('scd_events.d', true);
  RETURN wrong;
END $$;
-- 200 keys, each with up to 8 events: in one batch, and in many.
SELECT ordered, deletes, batches, coalesce(run(200, s, batches, ordered, deletes), 'same') AS result
FROM (VALUES (0.1, 1), (0.2, 3), (0.3, 8)) v(s, batches), unnest('{t,f}'::boolean[]) ordered, unnest('{ignore,new_record}'::text[]) deletes
ORDER BY 1, 2, 3;
SET client_min_messages = warning;
DROP SCHEMA scd_events CASCADE;
