-- Change is detected by each type's own equality, NULL-safe.
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_types;
SET search_path = scd_types;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);

-- For each type: a value, one equal to it, one that differs. The first column
-- says what a change from value to equal and to different must be.
CREATE TABLE cases (type text, value text, same text, other text);
INSERT INTO cases VALUES
  ('numeric', '1.0', '1.00', '1.01'), ('numeric(10,2)', '1.00', '1.001', '1.01'), ('numeric', 'NaN', 'NaN', '0'),
  ('float8', '0', '-0', '1e-300'), ('float8', 'NaN', 'NaN', 'Infinity'),
  ('text', 'a', 'a', 'A'), ('text', '', '', ' '), ('text COLLATE ci', 'a', 'A', 'b'), ('char(4)', 'a', 'a   ', 'b'),
  ('varchar(3)', 'abc', 'abc   ', 'abd'), ('bytea', '\x00', '\x00', '\x0000'), ('name', 'a', 'a', 'b'),
  ('bool', 'true', 't', 'false'), ('date', '2024-01-01', '2024-01-01', '2024-01-02'),
  ('timestamptz', '2024-01-01 00:00+00', '2024-01-01 01:00+01', '2024-01-01 00:00+01'), ('timestamptz', 'infinity', 'infinity', '-infinity'),
  ('interval', '1 day', '24 hours', '1 day 1 second'), ('time', '24:00', '24:00', '00:00'),
  ('jsonb', '{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}', '{"a": 1}'), ('json', '{"a": 1}', '{"a": 1}', '{"a":1}'), ('xml', '<a/>', '<a/>', '<a></a>'),
  ('int[]', '{1,2}', '{1,2}', '{2,1}'), ('numeric[]', '{1.0,NULL}', '{1.00,NULL}', '{1,0}'), ('json[]', '{"{}"}', '{"{}"}', '{"[]"}'),
  ('text[]', '{}', '{}', '{NULL}'), ('int4range', '[1,3)', '[1,2]', '[1,4)'), ('int4multirange', '{[1,3)}', '{[1,2),[2,3)}', '{}'),
  ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'),
  ('mood', 'sad', 'sad', 'ok'), ('pair', '(1,a)', '(1,a)', '(1,)'), ('positive', '1', '1', '2'), ('inet', '10.0.0.1', '10.0.0.1/32', '10.0.0.1/31'),
  ('point', '(1,2)', '(1,2)', '(2,1)'), ('tsvector', 'a b', 'b a', 'a'), ('bit(3)', '101', '101', '100'), ('oid', '1', '1', '2'), ('macaddr', '08:00:2b:01:02:03', '08-00-2b-01-02-03', '08:00:2b:01:02:04');

CREATE FUNCTION check_type(c cases) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  bare text = split_part((c).type, ' COLLATE', 1);
  col text = CASE WHEN (c).type LIKE '% COLLATE %' THEN ' COLLATE scd_types.ci' ELSE '' END;
  query text = format('SELECT id, v%s AS v FROM (SELECT 1 AS id, %%s::%s AS v) q', col, bare);
  loads text[] = ARRAY[(c).value, (c).same, (c).other, NULL, NULL, (c).value];
  expected text[] = ARRAY['inserted', 'unchanged', 'versioned', 'versioned', 'unchanged', 'versioned'];
  r pipeline.merge_result;
  got text;
BEGIN
  PERFORM pipeline.create_dimension('scd_types.d', format(query, 'NULL'), '{id}', 'snapshot');
  FOR i IN 1..6 LOOP
    r = pipeline.merge_dimension('scd_types.d', timestamptz '2024-01-01' + i * interval '1 day', 'b' || i,
                                 source => format(query, quote_nullable(loads[i])));
    got = CASE 1 WHEN r.inserted THEN 'inserted' WHEN r.versioned THEN 'versioned' WHEN r.unchanged THEN 'unchanged' END;
    IF got IS DISTINCT FROM expected[i] THEN
      RETURN format('load %s, %s: %s, not %s', i, loads[i], got, expected[i]);
    END IF;
  END LOOP;
  -- A batch equal by the type's equality has the same fingerprint.
  SET LOCAL client_min_messages = warning;
  r = pipeline.merge_dimension('scd_types.d', '2025-01-01', 'b1', source => format(query, quote_nullable((c).same)));
  RESET client_min_messages;
  PERFORM pipeline.drop_dimension('scd_types.d', true);
  RETURN 'ok';
END $$;
SELECT type, value, check_type(cases) FROM cases ORDER BY ctid;

-- As keys: 1.0 and 1.00 are one key, and a and A are under ci; keys are never
-- concatenated. Types without equality cannot be keys.
CREATE FUNCTION check_key(type text, value text, same text, other text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  query text = 'SELECT k' || CASE WHEN type LIKE '% COLLATE %' THEN ' COLLATE scd_types.ci' ELSE '' END
               || ' AS k, k2, %s AS v FROM (SELECT %L::' || split_part(type, ' COLLATE', 1) || ' AS k, %L AS k2) q';
  r pipeline.merge_result; out text = '';
BEGIN
  PERFORM pipeline.create_dimension('scd_types.d', format(query, 1, value, 'b'), '{k,k2}', 'delta');
  PERFORM pipeline.merge_dimension('scd_types.d', '2024-01-01', source => format(query, 1, value, 'b'));
  r = pipeline.merge_dimension('scd_types.d', '2024-02-01', source => format(query, 2, same, 'b'));
  out = out || ' versioned ' || r.versioned;
  r = pipeline.merge_dimension('scd_types.d', '2024-03-01', source => format(query, 2, other, 'b'));
  out = out || ' inserted ' || r.inserted;
  r = pipeline.merge_dimension('scd_types.d', '2024-04-01',
    source => format(query, 2, other, 'c') || ' UNION ALL ' || format(query, 2, other, 'c'));
  out = out || ' inserted ' || r.inserted || ' duplicate ' || r.duplicate;
  PERFORM pipeline.drop_dimension('scd_types.d', true);
  RETURN out;
END $$;
SELECT type, check_key(type, value, same, other) FROM cases
WHERE type IN ('numeric', 'text COLLATE ci', 'timestamptz', 'jsonb', 'numeric[]', 'int4range', 'uuid', 'mood', 'pair', 'char(4)', 'positive', 'inet', 'float8')
  AND value NOT IN ('NaN', 'infinity')
ORDER BY cases.ctid;
SELECT check_key('point', '(1,2)', '(1,2)', '(2,1)');
SELECT check_key('xid', '1', '1', '2');
-- 'a,b' || 'c' is not 'a' || ',bc'
SELECT pipeline.create_dimension('d', 'SELECT ''''::text AS k1, ''''::text AS k2', '{k1,k2}', 'delta');
SELECT inserted FROM pipeline.merge_dimension('d', source => 'SELECT * FROM (VALUES (''a,b'', ''c''), (''a'', ''b,c''), ('''', ''a,b,c'')) v(k1, k2)') ;
SELECT pipeline.drop_dimension('d', true);

-- The operator of another schema: neither search_path nor a same-named
-- operator in front of it matters.
CREATE FUNCTION never(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR = (LEFTARG = int, RIGHTARG = int, FUNCTION = never, HASHES, MERGES);
SET search_path = scd_types, pg_catalog;
SELECT pipeline.create_dimension('d', 'SELECT 1 AS id, 2 AS v', '{id}', 'snapshot', hard_deletes => 'invalidate');
SELECT inserted FROM pipeline.merge_dimension('d', '2024-01-01');
SELECT unchanged FROM pipeline.merge_dimension('d', '2024-02-01');
SELECT versioned FROM pipeline.merge_dimension('d', '2024-02-01', source => 'SELECT 1 AS id, 3 AS v');
SELECT pipeline.drop_dimension('d', true);
RESET search_path;

-- A source under another collation; large values, out of line on both sides.
SET search_path = scd_types;
SELECT pipeline.create_dimension('d', 'SELECT 1 AS id, ''x''::text COLLATE "C" AS v', '{id}', 'snapshot');
SELECT inserted FROM pipeline.merge_dimension('d', '2024-01-01', source => 'SELECT 1 AS id, string_agg(md5(g::text), '''' ORDER BY g) COLLATE "POSIX" AS v FROM generate_series(1, 2000) g');
SELECT unchanged FROM pipeline.merge_dimension('d', '2024-02-01', source => 'SELECT 1 AS id, string_agg(md5(g::text), '''' ORDER BY g) AS v FROM generate_series(1, 2000) g');
SELECT versioned FROM pipeline.merge_dimension('d', '2024-03-01', source => 'SELECT 1 AS id, string_agg(md5(g::text), '''' ORDER BY g DESC) AS v FROM generate_series(1, 2000) g');
SELECT length(v), is_current FROM d WHERE id = 1 ORDER BY surrogate_key;
SELECT pipeline.drop_dimension('d', true);
SET client_min_messages = warning;
DROP SCHEMA scd_types CASCADE;
