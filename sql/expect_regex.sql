-- Patterns against the operator ~, on random text: the automaton for ASCII,
-- the server's own matcher for the rest.
SET client_min_messages = warning;
CREATE SCHEMA expect_regex;
SET search_path = expect_regex, pg_catalog;
CREATE TABLE patterns (p text);
INSERT INTO patterns VALUES (''), ('a'), ('^a'), ('a$'), ('^a$'), ('^$'), ('^'), ('$'), ('.'), ('^.$'), ('^..$'), ('.*'), ('^.*$'), ('a|b|c1'), ('^(ab|cd)+$'),
 ('[^@]+@[^@]+'), ('^[a-c]{2,3}[0-9]?$'), ('(?i)AB'), ('(?i)^[A-C]+$'), ('(?n)^b$'), ('(?n)a.b'), ('(?p)a.b'), ('(?w)^b$'), ('(?x) a b # c'), ('\n'), ('\s'), ('\S\s\S'), ('\w+'), ('\W'), ('\d{2}'), ('\D$'),
 ('\y'), ('\ma'), ('c\M'), ('\Aa'), ('c\Z'), ('[[:alpha:]]+$'), ('[[:space:]]'), ('^[^[:alnum:]]'), ('(a)\1'), ('a(?=b)'), ('a(?!b)'), ('(?<=a)b'), ('(?<!a)b'), ('a{0}'), ('(a|)+b'), ('(a*)*c'), ('((a|b)*c){2}'),
 ('a.{5}b'), ('(a|b).{8}$'), ('(a|b).{12}(c|1)'), ('ä'), ('[ä-ü]'), ('^[^ä]*$'), ('[^a]'), ('***=a.b'), ('***:^a'), ('\x61'), ('\u0062'), ('a*?b'), ('^a+?$'), ('x{100}|ab'), ('.{3,}'), ('^.{0,2}$'), ('(^|b)a'), ('a($|b)'), ('[[:<:]]a'), ('[\w@]{4}');
SELECT setseed(0.7);
CREATE FUNCTION random_text(length int, alphabet text) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(string_agg(substr(alphabet, 1 + floor(random() * length(alphabet))::int, 1), ''), '') FROM generate_series(1, length)
$$;
CREATE TABLE texts AS SELECT i, random_text(i % 18, CASE WHEN i % 4 = 0 THEN E'aabbcc11@ .\näüAB€' ELSE E'aabbcc11@ .\n\tABC' END) AS t
FROM generate_series(1, 1500) i;
INSERT INTO texts VALUES (0, ''), (0, 'a'), (0, 'b'), (0, 'ab'), (0, E'a\nb'), (0, E'\n'), (0, 'a.b'), (0, repeat('x', 300)), (0, 'ä'), (0, repeat('ab', 3000));
SELECT count(DISTINCT t) > 1000 AS many, count(*) FILTER (WHERE t ~ '[^\x01-\x7f]') > 100 AS beyond FROM texts;
SELECT p, r.unexpected_count, (SELECT count(*) FROM texts WHERE t !~ p) AS wanted, r.error
FROM patterns, pipeline.check_now('texts', jsonb_build_array(jsonb_build_object('type', 'expect_column_values_to_match_regex', 'kwargs', jsonb_build_object('column', 't', 'regex', p)))) r
WHERE r.unexpected_count IS DISTINCT FROM (SELECT count(*) FROM texts WHERE t !~ p);
-- Row by row, too: what is unexpected of each text alone.
SELECT p, count(*) FROM patterns, (SELECT t FROM texts WHERE i < 60) x, pipeline.check_now(format('SELECT %L::text AS t', t), jsonb_build_array(jsonb_build_object('type', 'expect_column_values_to_not_match_regex', 'kwargs', jsonb_build_object('column', 't', 'regex', p)))) r
WHERE r.success IS DISTINCT FROM (t !~ p) GROUP BY p;
SELECT count(*) AS patterns FROM patterns;
DROP SCHEMA expect_regex CASCADE;
