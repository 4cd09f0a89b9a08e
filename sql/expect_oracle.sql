-- Counts and verdicts against plain SQL, on random data. A mismatch prints the
-- seed that makes it.
SET client_min_messages = warning;
CREATE SCHEMA expect_oracle;
SET search_path = expect_oracle, pg_catalog;
CREATE TABLE cols (name text, type text, quoted boolean);
INSERT INTO cols VALUES ('i2', 'smallint', false), ('i4', 'integer', false), ('i8', 'bigint', false), ('f8', 'double precision', false),
  ('n', 'numeric', false), ('t', 'text', true), ('d', 'date', true), ('z', 'timestamptz', true);

CREATE FUNCTION fill(seed float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM setseed(seed);
  DROP TABLE IF EXISTS r;
  CREATE TABLE r AS SELECT i AS id,
    CASE WHEN random() < 0.9 THEN (random() * 20 - 10)::smallint END AS i2,
    CASE WHEN random() < 0.9 THEN (random() * 1000 - 500)::integer END AS i4,
    CASE WHEN random() < 0.8 THEN (random() * 1e12)::bigint END AS i8,
    CASE WHEN random() < 0.05 THEN 'NaN' WHEN random() < 0.9 THEN round((random() * 100)::numeric, 1)::float8 END AS f8,
    CASE WHEN random() < 0.9 THEN round((random() * 10)::numeric, 2) END AS n,
    CASE WHEN random() < 0.9 THEN translate(md5(random()::text), '0123456789', left('äbcdéfghi€', (random() * 10)::int)) END AS t,
    CASE WHEN random() < 0.9 THEN date '2024-01-01' + (random() * 60)::int END AS d,
    CASE WHEN random() < 0.9 THEN timestamptz '2024-01-01 00:00+00' + random() * interval '60 days' END AS z
  FROM generate_series(1, 400) i;
END $$;

-- A random value of a column as text, or NULL.
CREATE FUNCTION pick(col text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v text; k int := floor(random() * 400) + 1;
BEGIN
  EXECUTE format('SELECT %I::text FROM r WHERE id = $1', col) INTO v USING k;
  RETURN CASE WHEN v = 'NaN' THEN '50' ELSE v END;
END $$;

CREATE FUNCTION as_json(v text, quoted boolean) RETURNS jsonb LANGUAGE sql AS
$$ SELECT CASE WHEN v IS NULL THEN 'null' WHEN quoted THEN to_jsonb(v) ELSE v::jsonb END $$;

-- A random check and the SQL predicate of its unexpected values.
CREATE FUNCTION random_check(OUT definition jsonb, OUT col text, OUT unexpected text, OUT condition text) LANGUAGE plpgsql AS $$
DECLARE
  c cols := (SELECT x FROM cols x ORDER BY random() LIMIT 1);
  kind int := floor(random() * 9);
  a text := pick(c.name); b text := pick(c.name); lo text; hi text; x text;
  strict_min boolean := random() < 0.5; strict_max boolean := random() < 0.5;
  type text; k jsonb; n int := floor(random() * 20);
BEGIN
  col := quote_ident(c.name);
  condition := (ARRAY[NULL, 'i4 > 0', 't IS NOT NULL', 'id % 3 = 0 OR n > 5'])[1 + floor(random() * 4)];
  IF kind <= 2 THEN
    type := 'values_to_be_between';
    a := coalesce(a, b, (SELECT max(i4)::text FROM r));
    IF a = (SELECT max(i4)::text FROM r) AND c.quoted THEN kind := 8; END IF;
  END IF;
  IF kind <= 2 THEN
    EXECUTE format('SELECT least(%L::%2$s, %3$L::%2$s)::text, CASE WHEN %3$L IS NOT NULL THEN greatest(%1$L::%2$s, %3$L::%2$s)::text END', a, c.type, b) INTO lo, hi;
    k := jsonb_build_object('min_value', as_json(lo, c.quoted), 'max_value', as_json(hi, c.quoted), 'strict_min', strict_min, 'strict_max', strict_max);
    unexpected := format('NOT (%1$s %2$s %3$L::%4$s%5$s)', col, CASE WHEN strict_min THEN '>' ELSE '>=' END, lo, c.type,
      CASE WHEN hi IS NOT NULL THEN format(' AND %s %s %L::%s', col, CASE WHEN strict_max THEN '<' ELSE '<=' END, hi, c.type) ELSE '' END);
  ELSIF kind <= 4 THEN
    type := CASE WHEN kind = 3 THEN 'values_to_be_in_set' ELSE 'values_to_not_be_in_set' END;
    k := '[]'; x := 'NULL';
    FOR i IN 1..n LOOP
      a := pick(c.name);
      CONTINUE WHEN a IS NULL;
      k := k || jsonb_build_array(as_json(a, c.quoted)); x := x || format(', %L::%s', a, c.type);
    END LOOP;
    k := jsonb_build_object('value_set', k);
    unexpected := format('%s(%s IN (%s)) IS TRUE', CASE WHEN kind = 3 THEN 'NOT ' ELSE '' END, col, x);
  ELSIF kind = 5 THEN
    col := 't'; a := (ARRAY['^[a-f]', 'ä.*é', '(.)\1', '^.{10,30}$', '[[:digit:]]{2}'])[1 + floor(random() * 5)];
    type := CASE WHEN strict_min THEN 'values_to_match_regex' ELSE 'values_to_not_match_regex' END;
    k := jsonb_build_object('regex', a);
    unexpected := format('t %s %L', CASE WHEN strict_min THEN '!~' ELSE '~' END, a);
  ELSIF kind = 6 THEN
    col := 't'; type := 'value_lengths_to_be_between';
    k := jsonb_build_object('min_value', 24, 'max_value', 20 + n);
    unexpected := format('length(t) NOT BETWEEN 24 AND %s', 20 + n);
  ELSIF kind = 7 THEN
    type := 'values_to_be_unique'; k := '{}';
    unexpected := format('%s IN (SELECT %1$s FROM r %s GROUP BY 1 HAVING count(*) > 1)', col, 'WHERE ' || condition);
    unexpected := coalesce(unexpected, format('%s IN (SELECT %1$s FROM r GROUP BY 1 HAVING count(*) > 1)', col));
  ELSE
    type := CASE WHEN strict_min THEN 'values_to_be_null' ELSE 'values_to_not_be_null' END; k := '{}';
    unexpected := format('%s IS %s NULL', col, CASE WHEN strict_min THEN 'NOT' ELSE '' END);
  END IF;
  definition := jsonb_strip_nulls(jsonb_build_object('type', 'expect_column_' || type, 'row_condition', condition,
    'kwargs', k || jsonb_build_object('column', trim('"' FROM col), 'mostly', round(random()::numeric, 2))));
END $$;

CREATE FUNCTION mismatches(seed float8) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  defs jsonb := '[]'; oracle text[] := '{}'; c record; want text; i int := 0; res pipeline.expectation_result;
BEGIN
  PERFORM fill(seed);
  FOR j IN 1..60 LOOP
    c := random_check();
    defs := defs || jsonb_build_array(c.definition);
    EXECUTE format('SELECT concat_ws('' '', count(*), %s, coalesce(sum((%s)::int) FILTER (WHERE %s), 0), '
      'coalesce(sum((%2$s)::int) FILTER (WHERE %3$s), 0) = 0 OR (count(*) - %1$s - coalesce(sum((%2$s)::int) FILTER (WHERE %3$s), 0))::float8 / (count(*) - %1$s) >= %4$s) FROM r WHERE %5$s',
      CASE WHEN c.definition ->> 'type' LIKE '%null' THEN '0' ELSE format('count(*) FILTER (WHERE %s IS NULL)', c.col) END,
      c.unexpected, CASE WHEN c.definition ->> 'type' LIKE '%null' THEN 'true' ELSE c.col || ' IS NOT NULL' END,
      c.definition -> 'kwargs' ->> 'mostly', coalesce(c.condition, 'true')) INTO want;
    oracle := oracle || want;
  END LOOP;
  FOR res IN SELECT * FROM pipeline.check_now('r', defs) LOOP
    i := i + 1;
    want := concat_ws(' ', res.element_count, coalesce(res.missing_count, 0), res.unexpected_count, res.success);
    IF want IS DISTINCT FROM oracle[i] OR res.error IS NOT NULL
       OR jsonb_array_length(res.partial_unexpected_list) <> least(res.unexpected_count, 20) THEN
      RETURN NEXT format('seed %s: %s gives %s, SQL gives %s %s', seed, defs -> (i - 1), want, oracle[i], res.error);
    END IF;
  END LOOP;
  IF i <> 60 THEN RETURN NEXT format('seed %s: %s results', seed, i); END IF;
END $$;
SELECT m FROM generate_series(1, 12) AS s, mismatches(s / 100.0) AS m;
DROP SCHEMA expect_oracle CASCADE;
