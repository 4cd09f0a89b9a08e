-- Matchers: the cases of Alertmanager's own tests of its two readers, what its
-- fallback mode makes of the two, and what they match.
\set VERBOSITY terse
SET standard_conforming_strings = on;
CREATE TEMP TABLE cases (reader text, matchers text, expected text[]);
INSERT INTO cases VALUES
('classic', '{}', ARRAY[]::text[]),
('classic', ',', NULL),
('classic', '{,}', NULL),
('classic', '{foo=''}', ARRAY['foo=''']::text[]),
('classic', '{foo=`}', ARRAY['foo=`']::text[]),
('classic', '{foo=\"}', ARRAY['foo="']::text[]),
('classic', '{foo=bar}', ARRAY['foo=bar']::text[]),
('classic', '{foo="bar"}', ARRAY['foo=bar']::text[]),
('classic', '{foo=~bar.*}', ARRAY['foo=~bar.*']::text[]),
('classic', '{foo=~"bar.*"}', ARRAY['foo=~bar.*']::text[]),
('classic', '{foo!=bar}', ARRAY['foo!=bar']::text[]),
('classic', '{foo!="bar"}', ARRAY['foo!=bar']::text[]),
('classic', '{foo!~bar.*}', ARRAY['foo!~bar.*']::text[]),
('classic', '{foo!~"bar.*"}', ARRAY['foo!~bar.*']::text[]),
('classic', '{foo="bar", baz!="quux"}', ARRAY['foo=bar', 'baz!=quux']::text[]),
('classic', '{foo="bar", baz!~"quux.*"}', ARRAY['foo=bar', 'baz!~quux.*']::text[]),
('classic', '{foo="bar",baz!~".*quux", derp="wat"}', ARRAY['foo=bar', 'baz!~.*quux', 'derp=wat']::text[]),
('classic', '{foo="bar", baz!="quux", derp="wat"}', ARRAY['foo=bar', 'baz!=quux', 'derp=wat']::text[]),
('classic', '{foo="bar", baz!~".*quux.*", derp="wat"}', ARRAY['foo=bar', 'baz!~.*quux.*', 'derp=wat']::text[]),
('classic', '{foo="bar", instance=~"some-api.*"}', ARRAY['foo=bar', 'instance=~some-api.*']::text[]),
('classic', '{foo=""}', ARRAY['foo=']::text[]),
('classic', '{foo="bar,quux", job="job1"}', ARRAY['foo=bar,quux', 'job=job1']::text[]),
('classic', '{foo = "bar", dings != "bums", }', ARRAY['foo=bar', 'dings!=bums']::text[]),
('classic', 'foo=bar,dings!=bums', ARRAY['foo=bar', 'dings!=bums']::text[]),
('classic', '{quote="She said: \"Hi, ladies! That''s gender-neutral…\""}', ARRAY['quote=She said: "Hi, ladies! That''s gender-neutral…"']::text[]),
('classic', 'statuscode=~"5.."', ARRAY['statuscode=~5..']::text[]),
('classic', 'tricky=~~~', ARRAY['tricky=~~~']::text[]),
('classic', 'trickier==\\=\=\"', ARRAY['trickier==\=\="']::text[]),
('classic', 'contains_quote != "\"" , contains_comma !~ "foo,bar" , ', ARRAY['contains_quote!="', 'contains_comma!~foo,bar']::text[]),
('classic', '{foo=bar}}', ARRAY['foo=bar}']::text[]),
('classic', '{foo=bar}},}', ARRAY['foo=bar}}']::text[]),
('classic', '{foo=,bar=}}', ARRAY['foo=', 'bar=}']::text[]),
('classic', '{foo=bar\t}', ARRAY['foo=bar\t']::text[]),
('classic', '{foo=bar\n}', ARRAY[E'foo=bar\n']::text[]),
('classic', '{foo=bar\}', ARRAY['foo=bar\']::text[]),
('classic', '{foo=bar\\}', ARRAY['foo=bar\']::text[]),
('classic', '{foo=bar\"}', ARRAY['foo=bar"']::text[]),
('classic', 'job=', ARRAY['job=']::text[]),
('classic', 'job="value', NULL),
('classic', 'job=value"', NULL),
('classic', 'trickier==\\=\=\""', NULL),
('classic', 'contains_unescaped_quote = foo"bar', NULL),
('classic', '{invalid-name = "valid label"}', NULL),
('classic', '"{foo=\"bar"}', NULL),
('classic', '"foo=\"bar"', NULL),
('classic', '"foo=\"bar\""', NULL),
('classic', '"foo=\"bar\"', NULL),
('classic', '"{foo=\"bar\"}"', NULL),
('classic', '"foo="bar""', NULL),
('classic', '{{foo=', NULL),
('classic', '{foo=', ARRAY['foo=']::text[]),
('classic', '{foo=}b', ARRAY['foo=}b']::text[]),
('utf8', '', ARRAY[]::text[]),
('utf8', '{}', ARRAY[]::text[]),
('utf8', '{foo=bar}', ARRAY['foo=bar']::text[]),
('utf8', '{foo=bar,}', ARRAY['foo=bar']::text[]),
('utf8', '{foo!=bar}', ARRAY['foo!=bar']::text[]),
('utf8', '{foo=~[a-z]+}', ARRAY['foo=~[a-z]+']::text[]),
('utf8', '{foo!~[a-z]+}', ARRAY['foo!~[a-z]+']::text[]),
('utf8', '{foo=🙂}', ARRAY['foo=🙂']::text[]),
('utf8', '{foo=🙂bar}', ARRAY['foo=🙂bar']::text[]),
('utf8', 'foo=bar', ARRAY['foo=bar']::text[]),
('utf8', 'foo=bar,', ARRAY['foo=bar']::text[]),
('utf8', 'foo!=bar', ARRAY['foo!=bar']::text[]),
('utf8', 'foo=~[a-z]+', ARRAY['foo=~[a-z]+']::text[]),
('utf8', 'foo!~[a-z]+', ARRAY['foo!~[a-z]+']::text[]),
('utf8', '{"foo"="bar"}', ARRAY['foo=bar']::text[]),
('utf8', '{"foo"="bar",}', ARRAY['foo=bar']::text[]),
('utf8', '{"foo"!="bar"}', ARRAY['foo!=bar']::text[]),
('utf8', '{"foo"=~"[a-z]+"}', ARRAY['foo=~[a-z]+']::text[]),
('utf8', '{"foo"=~"\\d+"}', ARRAY['foo=~\d+']::text[]),
('utf8', '{"foo"!~"[a-z]+"}', ARRAY['foo!~[a-z]+']::text[]),
('utf8', '{"foo"="🙂"}', ARRAY['foo=🙂']::text[]),
('utf8', '{"foo"="\xf0\x9f\x99\x82"}', ARRAY['foo=🙂']::text[]),
('utf8', '{"foo"="\U0001f642"}', ARRAY['foo=🙂']::text[]),
('utf8', '{"foo"="🙂bar"}', ARRAY['foo=🙂bar']::text[]),
('utf8', '{"foo"="bar\n"}', ARRAY[E'foo=bar\n']::text[]),
('utf8', '{"foo"="bar\t"}', ARRAY[E'foo=bar\t']::text[]),
('utf8', '{"foo"="\"bar\""}', ARRAY['foo="bar"']::text[]),
('utf8', '{"foo"="bar\\"}', ARRAY['foo=bar\']::text[]),
('utf8', '"foo"="bar"', ARRAY['foo=bar']::text[]),
('utf8', '"foo"="bar",', ARRAY['foo=bar']::text[]),
('utf8', '{foo=bar,bar!=baz}', ARRAY['foo=bar', 'bar!=baz']::text[]),
('utf8', '{foo="bar",bar!="baz"}', ARRAY['foo=bar', 'bar!=baz']::text[]),
('utf8', 'foo=bar,bar!=baz', ARRAY['foo=bar', 'bar!=baz']::text[]),
('utf8', 'foo="bar",bar!="baz"', ARRAY['foo=bar', 'bar!=baz']::text[]),
('utf8', ',', NULL),
('utf8', '{,}', NULL),
('utf8', '{', NULL),
('utf8', '}', NULL),
('utf8', 'foo=bar}', NULL),
('utf8', '{foo=bar', NULL),
('utf8', '{foo=:"bar"}', NULL),
('utf8', '{foo="bar\w"}', NULL),
('utf8', '{"foo"=~"\d+"}', NULL),
('utf8', '{foo=bar\n}', NULL),
('utf8', '{"foo"="\xf0\x9f"}', NULL);
SELECT reader, count(*), count(expected) FROM cases GROUP BY 1 ORDER BY 1;
SELECT reader, matchers, expected, pipeline._read_matchers(matchers, reader) AS got FROM cases
WHERE pipeline._read_matchers(matchers, reader) IS DISTINCT FROM expected;
-- Both together: what only one reads is what that one reads, and where they
-- disagree the classic one is right.
SELECT matchers, pipeline._read_matchers(matchers, 'classic') AS classic, pipeline._read_matchers(matchers, 'utf8') AS utf8,
  pipeline._read_matchers(matchers, '') AS both
FROM (VALUES ('{"foo"="bar"}'), ('foo=bar}'), ('{foo="bar\w"}'), ('{foo="bar\t"}'), (' foo = bar , baz="" '), ('foo=a b'),
  ('a:b=c'), ('ünï="x"'), ('{}'), ('')) v (matchers);
SELECT pipeline._read_matchers('{foo=~"invalid[regexp"}', '');
SELECT pipeline._read_matchers('foo', '');
SELECT pipeline._read_matchers(',', '');
\set VERBOSITY default
SELECT pipeline.match_labels('{severity=~"error|critical" team="payments"}', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.match_labels('a=~"(b)\1"', '{}');
SELECT pipeline.match_labels('a=~"(?=b)b"', '{}');
SELECT pipeline.match_labels('a=~"' || repeat('x', 1001) || '"', '{}');
SELECT pipeline.match_labels('a=b', '{"a": 1}');
\set VERBOSITY terse
-- What they match.
SELECT matchers, labels, pipeline.match_labels(matchers, labels::jsonb) AS matches FROM (VALUES
  ('severity="error"', '{"severity": "error"}'), ('severity="error"', '{"severity": "errors"}'),
  ('severity!="error"', '{"severity": "error"}'), ('severity!="error"', '{}'),
  ('team=""', '{}'), ('team=""', '{"team": ""}'), ('team=""', '{"team": "x"}'), ('team!=""', '{}'), ('team!=""', '{"team": "x"}'),
  ('a=~"b.*"', '{"a": "abc"}'), ('a=~"b.*"', '{"a": "bcd"}'), ('a=~"b|c"', '{"a": "c"}'), ('a=~"b|c"', '{"a": "cc"}'),
  ('a=~".*"', '{}'), ('a=~".+"', '{}'), ('a!~".+"', '{}'), ('a!~"b.*"', '{"a": "bcd"}'), ('a!~"b.*"', '{"a": "x"}'),
  ('a=b,c=d', '{"a": "b"}'), ('a=b,c=d', '{"a": "b", "c": "d"}'), ('{}', '{"a": "b"}'), ('', '{}'),
  ('a=~"(?i)ERROR"', '{"a": "error"}'), ('a=~"a.b"', '{"a": "a\nb"}'), ('a=~"(?s)a.b"', '{"a": "a\nb"}'),
  ('a=~"\\bfoo\\b.*"', '{"a": "foo bar"}'), ('a=~"\\bfoo\\b.*"', '{"a": "foobar"}'), ('a=~"\\d{3}"', '{"a": "503"}'),
  ('a=~"ü+"', '{"a": "üü"}'), ('a="ü"', '{"a": "u"}')) v (matchers, labels);
SELECT pipeline.match_labels(NULL, '{}') IS NULL AS null_matchers, pipeline.match_labels('a=b', NULL) IS NULL AS null_labels;
-- Parsed once for a query.
SELECT count(*) FROM generate_series(1, 2000) i WHERE pipeline.match_labels('{n=~"1.*", m!="x"}', jsonb_build_object('n', i::text));
-- Each value of a parameter anew.
DO $$ DECLARE m text; found text := ''; BEGIN FOREACH m IN ARRAY '{a=b,a=c,"a=~\"b|c\"",a!=b}'::text[] LOOP found := found || ' ' || pipeline.match_labels(m, '{"a": "b"}'); END LOOP; RAISE NOTICE '%', found; END $$;
-- Regular expressions are Go's.
SELECT re, value, pipeline.match_labels('a=~"' || replace(replace(re, '\', '\\'), '"', '\"') || '"', jsonb_build_object('a', value)) AS matches FROM (VALUES
  ('(?i:err)or', 'ERRor'), ('(?i:err)or', 'ERROR'), ('a(?i)b|c', 'aB'), ('a(?i)b|c', 'C'), ('(a(?i)b)c', 'aBC'), ('(?i)a(?-i:b)', 'Ab'), ('(?i)a(?-i:b)', 'AB'),
  ('(?i)[a-c]+', 'aBC'), ('(?i)[^a-c]', 'B'), ('(?i)[[:lower:]]', 'X'), ('(?i)\x61', 'A'), ('(?P<level>err|warn)\d', 'warn1'), ('(?<level>err|warn)', 'err'),
  ('\x41\x{42}\x{FC}', 'ABü'), ('\x41b', 'Ab'), ('\Qa.b|c\E', 'a.b|c'), ('\Qa.b|c\E', 'axb|c'), ('\Qa.b', 'a.b'), ('a\.b\_\ c', 'a.b_ c'), ('[]a]+', ']a'), ('[\]\-^]+', '-^]'), ('[a\-c]', 'b'),
  ('[^x]', E'\n'), ('.', E'\n'), ('(?s:.)', E'\n'), ('\D', E'\n'), ('a$', E'a\n'), ('\s', E'\v'), ('[[:space:]]', E'\v'), ('[\s]', ' '), ('[\d_]+', '1_2'), ('a{,2}', 'a{,2}'), ('a{2}', 'aa'), ('a|', ''),
  ('(?U)a+', 'aaa'), ('a+?', 'aaa'), ('\Aa\z', 'a'), ('\w', 'é'), ('(?i)é', 'É'), ('(a|b)*c|(d|e)*f', 'abac')) v (re, value);
SELECT re, substring(public.raises(format('SELECT pipeline.match_labels(%L, ''{}'')', 'a=~"' || replace(re, '\', '\\') || '"')) FROM 'is (invalid: .*) \| A matcher') AS why FROM unnest(ARRAY['a)|(b', '(a', 'a)', '[a', '[b-a]', '\pL', '\p{Greek}', '(?m)^a$', '(?=a)', '(?<=a)b', '(?<!a)b',
  '(?#x)', '(?x)a', '(?i', '(a)\1', 'a\', '\y', '\xZ', '\x{}', '\x{110000}', '\x00', '[[:nothing:]]', '[\S]', '[a-\d]', '*', 'a**', 'a{2,1}', 'a{1,300}', '***=a']) re;
SET ROLE pipeline_alice;
SELECT pipeline.match_labels('{a="b"}', '{"a": "b"}');
SELECT pipeline._read_matchers('a=b', '');
RESET ROLE;
