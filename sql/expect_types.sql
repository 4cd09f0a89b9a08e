-- Values of many types, at their edges.
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA expect_types;
SET search_path = expect_types, pg_catalog;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN word AS varchar(20);
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, b boolean, s text, v varchar(9), c char(5), w word, p positive,
  d date, ts timestamp, tz timestamptz, tm time, iv interval, u uuid, m mood, a int[], j json, nm name, nc text COLLATE nocase);
INSERT INTO t VALUES
 (-32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity', '-Infinity', false, '', '', '', 'a', 1,
  '-infinity', '-infinity', '-infinity', '00:00', '-1 day', '00000000-0000-0000-0000-000000000000', 'sad', '{}', '{}', '', 'ABC'),
 (0, 0, 0, 0, '-0', 0, true, 'äöü€', 'abc', 'ab', 'abc', 5,
  '2024-02-29', '2024-02-29 12:00', '2024-02-29 12:00+00', '12:00', '1 month', '11111111-1111-1111-1111-111111111111', 'ok', '{1,2}', '[1]', 'abc', 'abc'),
 (32767, 2147483647, 9223372036854775807, 'NaN', 'NaN', 'NaN', NULL, repeat('x', 5000), 'ABC', 'abcde', 'abcd', 7,
  'infinity', 'infinity', 'infinity', '24:00', '1 year', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'happy', '{3}', 'null', 'x', 'abd');
CREATE FUNCTION n(type text, VARIADIC kwargs jsonb[]) RETURNS TABLE (kwargs jsonb, unexpected bigint, missing bigint, list text, error text)
LANGUAGE sql AS $$
  SELECT k, r.unexpected_count, r.missing_count, left(r.partial_unexpected_list::text, 60), r.error
  FROM unnest(kwargs) WITH ORDINALITY AS x(k, i),
  pipeline.check_now('t', jsonb_build_array(jsonb_build_object('type', 'expect_column_' || type, 'kwargs', k))) AS r ORDER BY i $$;
SELECT * FROM n('values_to_be_between',
 '{"column": "i2", "min_value": -32768.5, "max_value": 32766.5}', '{"column": "i2", "min_value": 1e30}', '{"column": "i2", "max_value": 1e30}',
 '{"column": "i4", "min_value": -2147483648, "strict_min": true}', '{"column": "i4", "min_value": 0.5, "max_value": 0.6}', '{"column": "i4", "min_value": "0"}',
 '{"column": "i8", "min_value": 9223372036854775807, "strict_min": true}', '{"column": "i8", "max_value": -9223372036854775808, "strict_max": true}',
 '{"column": "i8", "max_value": -9223372036854775809}', '{"column": "i8", "min_value": -9223372036854775809, "max_value": 9223372036854775808}',
 '{"column": "i8", "min_value": 9223372036854775808}', '{"column": "i4", "min_value": "0.5"}',
 '{"column": "f4", "min_value": 0}', '{"column": "f8", "min_value": 0, "max_value": 1}', '{"column": "f8", "min_value": 0, "strict_min": true}', '{"column": "f8", "max_value": "NaN", "strict_max": true}', '{"column": "f8", "min_value": "Infinity"}', '{"column": "f8", "min_value": 1e400}',
 '{"column": "n", "min_value": 0, "max_value": 0}', '{"column": "n", "max_value": "NaN"}', '{"column": "n", "max_value": 0, "strict_max": true}',
 '{"column": "b", "min_value": "true"}', '{"column": "b", "min_value": 1}',
 '{"column": "s", "min_value": "a", "max_value": "y"}', '{"column": "s", "min_value": 1}', '{"column": "c", "min_value": "ab", "max_value": "ab"}', '{"column": "v", "max_value": "abc", "strict_max": true}',
 '{"column": "p", "min_value": 5}', '{"column": "w", "min_value": "b"}', '{"column": "nc", "min_value": "ABC", "max_value": "ABC"}',
 '{"column": "d", "min_value": "2024-02-29"}', '{"column": "d", "min_value": "2024-02-29", "strict_min": true}', '{"column": "d", "max_value": "infinity", "strict_max": true}', '{"column": "d", "min_value": 1}',
 '{"column": "ts", "max_value": "2024-02-29 12:00:00"}', '{"column": "ts", "max_value": "2024-02-29 12:00:00+05"}', '{"column": "ts", "max_value": "2024-02-29 12:00:00+05", "parse_strings_as_datetimes": true}',
 '{"column": "tz", "min_value": "2024-02-29 12:00:00+05"}', '{"column": "tm", "max_value": "12:00"}', '{"column": "iv", "min_value": "30 days"}', '{"column": "u", "min_value": "11111111-1111-1111-1111-111111111111"}',
 '{"column": "m", "min_value": "ok"}', '{"column": "m", "min_value": "angry"}', '{"column": "a", "min_value": "{1}"}', '{"column": "j", "min_value": "1"}');
SELECT * FROM n('values_to_be_in_set',
 '{"column": "i2", "value_set": [0, 32767, 1.5, 99999]}', '{"column": "i4", "value_set": ["0"]}', '{"column": "i4", "value_set": ["x"]}', '{"column": "i8", "value_set": [9223372036854775807, 1e40, -9223372036854775808]}',
 '{"column": "i4", "value_set": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -2147483648]}', '{"column": "i4", "value_set": [true]}', '{"column": "i4", "value_set": null}',
 '{"column": "f8", "value_set": [0, "NaN"]}', '{"column": "f4", "value_set": ["-Infinity"]}', '{"column": "n", "value_set": [0.00, "NaN"]}',
 '{"column": "b", "value_set": [true, null]}', '{"column": "b", "value_set": [false, true]}', '{"column": "s", "value_set": ["äöü€", ""]}', '{"column": "s", "value_set": [1]}',
 '{"column": "v", "value_set": ["abc"]}', '{"column": "c", "value_set": ["ab"]}', '{"column": "w", "value_set": ["abc"]}', '{"column": "p", "value_set": [5]}', '{"column": "nc", "value_set": ["aBc"]}',
 '{"column": "d", "value_set": ["2024-02-29", "infinity"]}', '{"column": "ts", "value_set": ["2024-02-29 12:00"]}', '{"column": "tz", "value_set": ["2024-02-29 13:00+01"]}', '{"column": "tm", "value_set": ["24:00"]}',
 '{"column": "iv", "value_set": ["30 days"]}', '{"column": "u", "value_set": ["11111111-1111-1111-1111-111111111111"]}', '{"column": "m", "value_set": ["sad", "ok"]}', '{"column": "m", "value_set": ["glad"]}', '{"column": "a", "value_set": ["{1,2}"]}', '{"column": "j", "value_set": ["1"]}');
SELECT * FROM n('values_to_not_be_in_set', '{"column": "i4", "value_set": [0]}', '{"column": "s", "value_set": ["äöü€"]}', '{"column": "b", "value_set": []}', '{"column": "m", "value_set": ["sad"]}');
SELECT * FROM n('values_to_match_regex', '{"column": "s", "regex": "^.{4}$"}', '{"column": "s", "regex": "^[äöü]+€$"}', '{"column": "s", "regex": "x{200}$"}', '{"column": "v", "regex": "(?i)^ABC$"}', '{"column": "c", "regex": "^ab"}',
 '{"column": "w", "regex": "d$"}', '{"column": "nm", "regex": "^abc$"}', '{"column": "nc", "regex": "a"}', '{"column": "m", "regex": "a"}', '{"column": "s", "regex": ""}', '{"column": "s", "regex": "\\y(ä)\\1"}');
SELECT * FROM n('values_to_not_match_regex', '{"column": "s", "regex": "x"}', '{"column": "b", "regex": "x"}');
SELECT * FROM n('value_lengths_to_be_between', '{"column": "s", "min_value": 4, "max_value": 4}', '{"column": "c", "min_value": 2, "max_value": 4}', '{"column": "w", "min_value": 3, "strict_min": true}', '{"column": "s", "max_value": 5000, "strict_max": true}', '{"column": "nm", "min_value": 1}', '{"column": "a", "min_value": 1}');
SELECT * FROM n('values_to_be_unique', '{"column": "s"}', '{"column": "nc"}', '{"column": "b"}', '{"column": "a"}', '{"column": "j"}');
SELECT * FROM n('values_to_be_null', '{"column": "b"}', '{"column": "j"}');
-- Types by the names of GE (SQLAlchemy) and of PostgreSQL.
SELECT a.attname, format_type(a.atttypid, a.atttypmod), r.observed_value, r.success
FROM pg_attribute a, pipeline.check_now('t', jsonb_build_array(jsonb_build_object('type', 'expect_column_values_to_be_of_type',
  'kwargs', jsonb_build_object('column', a.attname, 'type_', format_type(a.atttypid, a.atttypmod))))) r
WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum;
-- Uniqueness of what can be grouped but not sorted, and of what has neither.
CREATE TABLE unsorted (x xid, y xid, p point);
INSERT INTO unsorted VALUES ('1', '1', '(1,1)'), ('2', '1', '(2,2)'), (NULL, NULL, NULL);
SELECT u.* FROM pipeline.check_now('unsorted', '[{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "x"}},
 {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "y"}}, {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "p"}}]') AS r,
 LATERAL (SELECT r.success, r.element_count, r.missing_count, r.unexpected_count, r.partial_unexpected_list, r.error) AS u;
-- The order of columns and rows that comparisons need not agree with.
SELECT * FROM n('to_exist', '{"column": "i2", "column_index": 0}', '{"column": "i2", "column_index": 1}', '{"column": "I2"}');
-- Compressed and out-of-line values.
CREATE TABLE wide (id int, s text); ALTER TABLE wide ALTER s SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, repeat('ab', 5000 + i) FROM generate_series(1, 3) i;
SELECT success, unexpected_count, length(partial_unexpected_list ->> 0) FROM pipeline.check_now('wide', '[
 {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "s", "max_value": 10004}},
 {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "s", "regex": "^(ab)+$"}},
 {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "s", "value_set": ["ab"]}},
 {"type": "expect_column_values_to_be_between", "kwargs": {"column": "s", "min_value": "ab", "max_value": "ac"}}]');
-- Samples stay small: what is long is cut; they are jsonb, which not all json can be.
CREATE TABLE huge (id int, s text, a text[], j json);
INSERT INTO huge SELECT i, repeat('€', 10000), ARRAY[repeat('x', 30000)], '"\u0000"' FROM generate_series(1, 2) i;
SELECT success, unexpected_count, octet_length(partial_unexpected_list ->> 0) AS bytes, right(partial_unexpected_list ->> 0, 5) AS ending
FROM pipeline.check_now('huge', '[
 {"type": "expect_column_values_to_be_null", "kwargs": {"column": "s"}}, {"type": "expect_column_values_to_be_null", "kwargs": {"column": "a"}},
 {"type": "expect_column_values_to_be_null", "kwargs": {"column": "j"}}, {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "s"}},
 {"type": "expect_column_values_to_be_null", "kwargs": {"column": "id"}}]');
DROP SCHEMA expect_types CASCADE;
