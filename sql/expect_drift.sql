-- The Kolmogorov-Smirnov distance against its definition: the greatest distance of
-- two cumulative shares. Exact against a table; at the edges of bins it is never
-- too high, nor too low by more than the greatest share of a bin.
\set VERBOSITY terse
SET client_min_messages = warning;
SET extra_float_digits = 1;
CREATE SCHEMA expect_drift AUTHORIZATION pipeline_alice;
SET SESSION AUTHORIZATION pipeline_alice;
SET search_path = expect_drift;
CREATE TABLE a (v numeric, t text COLLATE "C", ok boolean);
CREATE TABLE b (v numeric, t text COLLATE "C");
CREATE FUNCTION defined(col text, condition text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE d float8;
BEGIN
  EXECUTE format('SELECT max(abs((SELECT count(*) FILTER (WHERE %1$I <= x.v)::float8 / count(*) FROM a WHERE %1$I IS NOT NULL AND %2$s) - (SELECT count(*) FILTER (WHERE %1$I <= x.v)::float8 / count(*) FROM b WHERE %1$I IS NOT NULL)))
    FROM (SELECT %1$I AS v FROM a WHERE %2$s UNION SELECT %1$I FROM b) x WHERE x.v IS NOT NULL', col, condition) INTO d;
  RETURN d;
END $$;
CREATE FUNCTION measured(col text, bins int, condition text) RETURNS float8 LANGUAGE sql AS $$
  SELECT (observed_value #>> '{}')::float8 FROM pipeline.check_now('a', jsonb_build_array(jsonb_build_object('type', 'expect_column_drift', 'row_condition', condition,
    'kwargs', jsonb_strip_nulls(jsonb_build_object('column', col, 'method', 'ks', 'threshold', 0.1, 'reference_table', 'b', 'bins', bins))))) $$;
CREATE FUNCTION mismatches(seed float8) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE n int; kinds int := 1 + (seed * 100)::int % 4; condition text; d float8; m float8; bins int; widest float8;
BEGIN
  PERFORM setseed(seed);
  TRUNCATE a, b;
  n := 5 + (random() * 150)::int;
  -- Few values, many, ties in the middle, nothing in common.
  INSERT INTO a SELECT CASE kinds WHEN 1 THEN (random() * 4)::int WHEN 2 THEN random()::numeric * 100 WHEN 3 THEN CASE WHEN random() < 0.5 THEN 7 ELSE (random() * 10)::int END ELSE 1000 + (random() * 9)::int END,
    'k' || (random() * 9)::int, random() < 0.7 FROM generate_series(1, n) UNION ALL SELECT NULL, NULL, true;
  INSERT INTO b SELECT CASE kinds WHEN 1 THEN (random() * 6)::int WHEN 2 THEN random()::numeric * 120 ELSE (random() * 10)::int END, 'k' || (random() * 12)::int FROM generate_series(1, n + 20) UNION ALL SELECT NULL, NULL;
  FOREACH condition IN ARRAY ARRAY['true', 'ok'] LOOP
    d := defined('v', condition);
    m := measured('v', NULL, condition);
    IF abs(d - m) > 1e-12 OR m IS NULL THEN RETURN NEXT format('seed %s: %s instead of %s', seed, m, d); END IF;
    IF abs(defined('t', condition) - measured('t', NULL, condition)) > 1e-12 THEN RETURN NEXT format('seed %s: text', seed); END IF;
    FOREACH bins IN ARRAY ARRAY[4, 20, 100] LOOP
      m := measured('v', bins, condition);
      SELECT max(c) INTO widest FROM (SELECT count(*)::float8 / (SELECT count(v) FROM b) AS c FROM b, (SELECT array_agg(DISTINCT q ORDER BY q) AS e FROM unnest((SELECT percentile_disc(ARRAY(SELECT i::float8 / bins FROM generate_series(1, bins - 1) i)) WITHIN GROUP (ORDER BY v::float8) FROM b)) q) x
        WHERE v IS NOT NULL GROUP BY width_bucket(v::float8, e)) y;
      IF m > d + 1e-12 OR m < d - widest - 1e-12 THEN RETURN NEXT format('seed %s: %s bins: %s, of %s, widest %s', seed, bins, m, d, widest); END IF;
    END LOOP;
  END LOOP;
END $$;
SELECT m FROM generate_series(0.01, 0.24, 0.01) s, mismatches(s) m;

-- Nothing on one side, other columns, types and errors.
TRUNCATE a, b;
CREATE FUNCTION drift(target text, kwargs jsonb) RETURNS TABLE (success boolean, observed jsonb, elements bigint, missing bigint, details jsonb, error text) LANGUAGE sql AS $$
  SELECT success, observed_value, element_count, missing_count, details, error FROM pipeline.check_now(target, jsonb_build_array(jsonb_build_object('type', 'expect_column_drift', 'kwargs', '{"method": "ks", "threshold": 0.2}' || kwargs))) $$;
SELECT * FROM drift('a', '{"column": "v", "reference_table": "b"}');
INSERT INTO b VALUES (1, 'x'), (2, 'y'), (3, NULL);
SELECT * FROM drift('a', '{"column": "v", "reference_table": "b"}');
INSERT INTO a VALUES (2, 'x'), (2, 'y'), (NULL, 'z');
SELECT * FROM drift('a', '{"column": "v", "reference_table": "b"}');
SELECT * FROM drift('a', '{"column": "t", "reference_table": "b"}');
SELECT * FROM drift('b', '{"column": "v", "reference_table": "SELECT 2.0::float8 AS w FROM generate_series(1, 3)", "reference_column": "w"}');
SELECT * FROM drift('a', '{"column": "v", "reference_table": "b", "reference_column": "nope"}');
SELECT * FROM drift('a', '{"column": "v", "reference_table": "b", "reference_column": "t"}');
SELECT * FROM drift('SELECT ''NaN''::float8 AS v UNION ALL SELECT 1', '{"column": "v", "reference_table": "b"}');
RESET SESSION AUTHORIZATION;
DROP SCHEMA expect_drift CASCADE;
