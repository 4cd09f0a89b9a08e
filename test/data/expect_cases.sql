CREATE TYPE conf_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE va (id int, i2 smallint, i4 int, i8 bigint, f4 float4, f8 float8, n numeric, t text COLLATE "C", v varchar COLLATE "C", c char(4) COLLATE "C", "Ünï ""q""" text COLLATE "C",
  d date, ts timestamp, tz timestamptz, tm time, b boolean, u uuid, e conf_mood, iv interval, by bytea, j jsonb, a int[], x int, y int, z int, js text, dt text);
CREATE TABLE vempty (LIKE va);
CREATE TABLE vnull (LIKE va);
CREATE TABLE vref (k int, l int);
INSERT INTO vref VALUES (10, 1), (20, 2), (1, 1);
INSERT INTO vnull (id) VALUES (1), (2), (3);
INSERT INTO va VALUES
  (1, 1, 10, 1, 0.5, 0.5, 1.1, 'a', 'x', 'ab', '€', '2024-01-01', '2024-01-01 10:00', '2024-01-01 10:00+00', '08:00', true, '00000000-0000-0000-0000-000000000001', 'sad', '1 hour', '\x00', '{"a": 1}', '{1,2}', 1, 1, 4, '{"a": 1}', '2024-02-29'),
  (2, 2, 20, 2, 1.5, 1.5, 2.25, 'äb', 'y', 'b', 'q', '2024-02-29', '2024-02-29', '2024-03-01 00:00+00', '12:30', false, '00000000-0000-0000-0000-000000000002', 'ok', '2 hours', '\xff', '[1]', '{}', 1, 2, 3, '[1]', '2024-01-05'),
  (3, 3, 30, 5000000000, 2.5, 100, 3, 'zz', 'zz', 'cd', 'Ω', '2024-03-05', '2024-06-01', '2024-06-01 00:00+00', '23:59', true, '00000000-0000-0000-0000-000000000003', 'happy', '1 day', '\x0102', '"s"', '{3}', 2, 3, 1, '{bad', 'never'),
  (4, 3, 30, 5000000000, 2.5, 100, 3, 'zz', 'zz', 'cd', 'Ω', '2024-03-05', '2024-06-01', '2024-06-01 00:00+00', '23:59', true, '00000000-0000-0000-0000-000000000003', 'happy', '1 day', '\x0102', '"s"', '{3}', 2, 3, 1, '{"a": 5}', '2024-13-01'),
  (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, -1, 0, -7, -2, -3.25, -0.5, '', '', '', '', '1999-12-31', '1999-12-31 23:59:59', '1999-12-31 23:59:59+00', '00:00', false, NULL, NULL, '-1 day', '', 'null', '{NULL}', 6, NULL, NULL, 'nope', '05/01/2024'),
  (7, 1, 1, 1, 1, 1, 1, 'a', 'a', 'a', 'a', '2024-01-01', '2024-01-01', '2024-01-01', '01:00', NULL, '00000000-0000-0000-0000-000000000001', 'ok', NULL, NULL, '{"b": [1, 2]}', NULL, NULL, 3, 3, '"x"', NULL),
  (8, 2, 2, 2, 2, 2, 2.0, 'ab', 'ab', 'ab', 'ab', '2024-02-01', '2024-02-01', '2024-02-01', '02:00', true, NULL, 'sad', '25 hours', '\x00', '{"a": 1}', '{1,2}', 1, 1, 4, '{"a": 2.5}', ''),
  (9, 2, 2, 2, 2, 2, 2.00, 'AB', 'AB', 'AB', 'AB', '2024-02-01', '2024-02-01', '2024-02-01', '02:00', true, NULL, 'sad', '24 hours', '\x00', '{"a": 1}', '{2,1}', 4, 4, 4, NULL, 'infinity'),
  (10, 9, 999, 9, 9, 9, 9, 'b', 'bb', 'b7', 'a%', '2025-01-01', '2025-01-01', '2025-01-01', '09:00', false, NULL, 'ok', '9 days', '\x09', '9', '{9}', NULL, NULL, 6, 'true', '2024-02-29'),
  (11, NULL, 11, 11, NULL, 11, NULL, 'tab	', 'it''s', 'x', E'new\nline', NULL, '2024-11-11', NULL, '11:11', NULL, NULL, NULL, '11 min', NULL, NULL, '{}', 3, 2, 1, NULL, NULL),
  (12, 12, NULL, 12, 12, NULL, 12.5, 'a b c', NULL, NULL, 'zß', '2024-12-12', NULL, '2024-12-12', NULL, true, '00000000-0000-0000-0000-00000000000c', 'happy', NULL, '\x0c', '12', NULL, NULL, 12, NULL, '{"a": 5}', '2024-01-05');

-- What plain SQL says of a case.
CREATE FUNCTION plain(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE r jsonb; miss text := coalesce(c ->> 'missing', 'false'); bad text;
BEGIN
  IF c ? 'ok' THEN
    EXECUTE format('SELECT jsonb_build_object(''success'', %s %s)', c ->> 'ok', ', ''observed'', ' || (c ->> 'value')) INTO r;
    RETURN r;
  END IF;
  bad := format('(NOT (%s) AND (%s))', miss, c ->> 'bad');
  EXECUTE format('SELECT jsonb_build_object(''elements'', count(*), ''missing'', count(*) FILTER (WHERE %1$s), ''unexpected'', count(*) FILTER (WHERE %2$s),
    ''rows'', coalesce(jsonb_agg(id ORDER BY id) FILTER (WHERE %2$s), ''[]''), ''success'', coalesce(count(*) FILTER (WHERE %2$s) = 0
    OR (count(*) - count(*) FILTER (WHERE %1$s) - count(*) FILTER (WHERE %2$s))::float8 / nullif(count(*) - count(*) FILTER (WHERE %1$s), 0) >= %3$s, true))
    FROM (SELECT * FROM %4$I WHERE %5$s) AS %4$I', miss, bad, coalesce(c -> 'kwargs' ->> 'mostly', '1'), c ->> 'table', coalesce(c ->> 'row_condition', 'true')) INTO r;
  RETURN r;
END $$;
