-- Random snapshots and deltas against a naive oracle that replays them row by
-- row.  After each merge: the same history, the same counts, no overlaps, one
-- current version a key, and merging again writes nothing.
SET client_min_messages = warning;
CREATE SCHEMA scd_property;
SET search_path = scd_property;

CREATE TABLE model (k1 int, k2 text, a int, b text, c numeric,
                    vf timestamptz, vt timestamptz, reason text);
CREATE TABLE src (n int, k1 int, k2 text, a int, b text, c numeric);

-- A batch: some keys of a small space, values of a small domain with NULLs,
-- some rows twice, some with a NULL in the key.
CREATE FUNCTION make_batch(density float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  TRUNCATE src;
  INSERT INTO src
  SELECT row_number() OVER (), k1, k2,
         nullif(floor(random() * 4)::int, 0), (ARRAY['x', 'y', 'Y', NULL])[1 + floor(random() * 4)::int],
         (ARRAY[1.0, 1.00, 2, NULL])[1 + floor(random() * 4)::int]
  FROM generate_series(1, 5) k1, unnest(ARRAY['', 'a', 'a,b']) k2
  WHERE random() < density;
  INSERT INTO src SELECT 100 + n, k1, k2, a, b, c FROM src WHERE random() < 0.1;
  INSERT INTO src SELECT 200 + n, CASE WHEN n % 2 = 0 THEN k1 END, CASE WHEN n % 4 = 1 THEN k2 END, a, b, c
  FROM src WHERE random() < 0.05 AND n < 100;
END $$;

-- Replay one batch on the model; returns the counts.
CREATE FUNCTION replay(eff timestamptz, feed text, invalidate boolean, open_end timestamptz,
                       first_from timestamptz)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  r src; m model;
  inserted int = 0; versioned int = 0; updated int = 0; reopened int = 0; unchanged int = 0;
  duplicate int = 0; rejected int = 0; closed int = 0; missing int = 0;
  vf timestamptz = CASE WHEN EXISTS (SELECT FROM model) THEN eff ELSE coalesce(first_from, eff) END;
BEGIN
  FOR r IN SELECT * FROM src ORDER BY n LOOP
    IF r.k1 IS NULL OR r.k2 IS NULL THEN rejected = rejected + 1; CONTINUE; END IF;
    IF EXISTS (SELECT FROM src s WHERE s.k1 = r.k1 AND s.k2 = r.k2 AND s.n < r.n) THEN
      duplicate = duplicate + 1; CONTINUE;
    END IF;
    SELECT * INTO m FROM model o WHERE o.k1 = r.k1 AND o.k2 = r.k2 AND o.reason IS NULL;
    IF NOT FOUND THEN
      IF EXISTS (SELECT FROM model o WHERE o.k1 = r.k1 AND o.k2 = r.k2) THEN
        reopened = reopened + 1;
      ELSE
        inserted = inserted + 1;
      END IF;
      INSERT INTO model VALUES (r.k1, r.k2, r.a, r.b, r.c, vf, open_end, NULL);
    ELSIF m.a IS DISTINCT FROM r.a OR m.b IS DISTINCT FROM r.b THEN
      versioned = versioned + 1; closed = closed + 1;
      UPDATE model o SET vt = eff, reason = 'versioned'
      WHERE o.k1 = r.k1 AND o.k2 = r.k2 AND o.reason IS NULL;
      INSERT INTO model VALUES (r.k1, r.k2, r.a, r.b, r.c, eff, open_end, NULL);
    ELSIF m.c IS DISTINCT FROM r.c THEN
      updated = updated + 1;
      UPDATE model o SET c = r.c WHERE o.k1 = r.k1 AND o.k2 = r.k2 AND o.reason IS NULL;
    ELSE
      unchanged = unchanged + 1;
    END IF;
  END LOOP;
  IF feed = 'snapshot' THEN
    FOR m IN SELECT * FROM model o WHERE o.reason IS NULL LOOP
      IF NOT EXISTS (SELECT FROM src s WHERE s.k1 = m.k1 AND s.k2 = m.k2) THEN
        missing = missing + 1;
        IF invalidate THEN
          closed = closed + 1;
          UPDATE model o SET vt = eff, reason = 'missing'
          WHERE o.k1 = m.k1 AND o.k2 = m.k2 AND o.reason IS NULL;
        END IF;
      END IF;
    END LOOP;
  END IF;
  RETURN jsonb_build_object('success', true, 'rows_read', (SELECT count(*) FROM src),
    'inserted', inserted, 'versioned', versioned, 'updated_type1', updated, 'reopened', reopened,
    'late', 0, 'deleted', 0, 'unchanged', unchanged, 'duplicate', duplicate, 'rejected', rejected,
    'closed', closed, 'missing', missing);
END $$;

-- What differs between the model and the dimension, if anything.
CREATE FUNCTION difference() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (WITH d AS (SELECT k1, k2, a, b, c, valid_from, valid_to, close_reason FROM dim WHERE surrogate_key <> -1)
  SELECT concat_ws('; ',
    (SELECT 'only in the model: ' || string_agg(x::text, ' ') FROM (SELECT * FROM model EXCEPT ALL SELECT * FROM d) x),
    (SELECT 'only in the dimension: ' || string_agg(x::text, ' ') FROM (SELECT * FROM d EXCEPT ALL SELECT * FROM model) x),
    (SELECT 'overlap: ' || string_agg(x::text, ' ') FROM dim x JOIN dim y
       ON x.k1 = y.k1 AND x.k2 = y.k2 AND x.surrogate_key < y.surrogate_key
       AND tstzrange(x.valid_from, x.valid_to) && tstzrange(y.valid_from, y.valid_to)),
    (SELECT 'is_current: ' || string_agg(x::text, ' ') FROM dim x WHERE is_current <> (close_reason IS NULL)),
    (SELECT 'two current: ' || string_agg(x::text, ' ') FROM
       (SELECT k1, k2 FROM dim WHERE is_current AND surrogate_key <> -1 GROUP BY 1, 2 HAVING count(*) > 1) x),
    (SELECT 'unknown member: ' || count(*) FROM dim WHERE surrogate_key = -1
       AND (k1, k2, a, b, c) IS NULL AND is_current HAVING count(*) <> 1)));
END $$;

CREATE FUNCTION counts(r pipeline.merge_result) RETURNS jsonb LANGUAGE sql AS
$$ SELECT to_jsonb(r) - ARRAY['merge_id', 'hot_updates', 'read_ms', 'write_ms', 'total_ms'] $$;

-- One history of eight batches; returns how many merges were checked.
CREATE FUNCTION check_history(seed int, feed text, hard_deletes text, open_end timestamptz, first_from timestamptz)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  eff timestamptz = '2024-01-01 00:00+00';
  expected jsonb; got jsonb; r pipeline.merge_result; before text; wrong text; n int = 0;
BEGIN
  PERFORM setseed(seed / 1000.0);
  TRUNCATE model;
  PERFORM pipeline.create_dimension('scd_property.dim', 'SELECT k1, k2, a, b, c FROM scd_property.src',
    '{k1,k2}', feed, type1 => '{c}', hard_deletes => hard_deletes, open_end => open_end::text,
    initial_valid_from => first_from, max_delete_fraction => 1, max_rejected_fraction => 1);
  FOR i IN 1..8 LOOP
    eff = eff + interval '1 day';
    PERFORM make_batch((ARRAY[0.5, 0.8, 0.2, 0, 1])[1 + floor(random() * 5)::int]);
    expected = replay(eff, feed, hard_deletes = 'invalidate', open_end, first_from);
    r = pipeline.merge_dimension('scd_property.dim', eff);
    got = counts(r);
    IF got <> expected THEN
      RAISE EXCEPTION 'seed %, %, %, batch %: counts % but expected %', seed, feed, hard_deletes, i, got, expected;
    END IF;
    wrong = difference();
    IF wrong <> '' THEN
      RAISE EXCEPTION 'seed %, %, %, batch %: %', seed, feed, hard_deletes, i, wrong;
    END IF;
    IF (SELECT count(*) FROM pipeline.rejects j WHERE j.merge_id = r.merge_id) <> r.rejected THEN
      RAISE EXCEPTION 'seed %, %, %, batch %: rejects were not kept', seed, feed, hard_deletes, i;
    END IF;
    -- The same again, and a moment later: nothing is written, not even in place.
    before = (SELECT string_agg(concat(ctid, xmin), ' ' ORDER BY ctid) FROM dim);
    r = pipeline.merge_dimension('scd_property.dim', eff + interval '1 hour');
    IF r.unchanged + r.duplicate + r.rejected <> r.rows_read OR r.closed <> 0
       OR before <> (SELECT string_agg(concat(ctid, xmin), ' ' ORDER BY ctid) FROM dim) THEN
      RAISE EXCEPTION 'seed %, %, %, batch %: merging again changed something: %', seed, feed, hard_deletes, i, r;
    END IF;
    n = n + 2;
  END LOOP;
  PERFORM pipeline.drop_dimension('scd_property.dim', drop_table => true);
  RETURN n;
END $$;

SELECT feed, hard_deletes, sum(check_history(seed, feed, hard_deletes,
         (ARRAY['infinity', NULL, '9999-12-31 00:00+00'])[1 + seed % 3]::timestamptz,
         CASE WHEN seed % 2 = 0 THEN '2000-01-01 00:00+00'::timestamptz END)) AS merges
FROM generate_series(1, 24) seed,
     (VALUES ('snapshot', 'ignore'), ('snapshot', 'invalidate'), ('delta', 'ignore')) f(feed, hard_deletes)
GROUP BY 1, 2 ORDER BY 1, 2;

SET client_min_messages = error;
DROP SCHEMA scd_property CASCADE;
