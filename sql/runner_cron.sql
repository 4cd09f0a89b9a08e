-- Cron text: due times, changes of clocks, and what is wrong with bad text.
\set VERBOSITY default
SET TimeZone = 'UTC';
SET search_path = pipeline, public;
CREATE FUNCTION pg_temp.due(expr text, after timestamptz, tz text DEFAULT 'UTC', n int DEFAULT 3) RETURNS SETOF timestamptz
  LANGUAGE sql AS 'SELECT pipeline.cron_next($1, $2, $3, $4)';
SELECT pg_temp.due('* * * * *', '2024-02-28 23:58:30');
SELECT pg_temp.due('0 0 29 2 *', '2023-03-01');
SELECT pg_temp.due('*/20 9-10 * * mon-fri', '2024-06-14 10:30');
SELECT pg_temp.due('0 12 L * *', '2024-01-15');
SELECT pg_temp.due('0 12 $ 2 *', '2024-01-15');
SELECT pg_temp.due('0 0 13 * 5', '2024-09-01');
SELECT pg_temp.due('0 0 1,15 jan,Jul *', '2024-01-02', 'UTC', 4);
SELECT pg_temp.due('5 0 * * 7', '2024-09-01'), pg_temp.due('5 0 * * 0', '2024-09-01');
SELECT pg_temp.due('10-30/10 3 * * *', '2024-09-01', 'UTC', 4);
SELECT e, n FROM unnest('{@hourly,@daily,@midnight,@weekly,@monthly,@yearly,@annually,@DAILY}'::text[]) e,
  pipeline.cron_next(e, '2024-05-15 13:30') n;
SELECT pg_temp.due('30 seconds', '2024-09-01 00:00:00', 'Asia/Kathmandu'), pg_temp.due(' 7  SECONDS ', '1969-12-31 23:59:57');
SELECT pg_temp.due('1 second', '2024-03-10 06:59:59.5', 'America/New_York');
-- New York skips 02:00-03:00 on 2024-03-10 and repeats 01:00-02:00 on 2024-11-03.
SELECT pg_temp.due('30 2 * * *', '2024-03-09 12:00', 'America/New_York');
SELECT pg_temp.due('0 * * * *', '2024-03-10 05:30', 'America/New_York');
SELECT pg_temp.due('30 1 * * *', '2024-11-02 12:00', 'America/New_York');
SELECT pg_temp.due('*/30 * * * *', '2024-11-03 04:45', 'America/New_York', 5);
-- Half an hour is skipped on Lord Howe, a whole day on Samoa.
SELECT pg_temp.due('*/15 2 * * *', '2024-10-05 12:00', 'Australia/Lord_Howe', 4);
SELECT pg_temp.due('0 9 * * *', '2011-12-29 12:00', 'Pacific/Apia');
-- The oracle: every minute of some days of changes, tried one by one.
CREATE FUNCTION pg_temp.oracle(minutes int[], hours int[], days int[], tz text, from_time timestamptz, to_time timestamptz)
RETURNS SETOF timestamptz LANGUAGE sql AS $$
  -- Each wall-clock minute that matches: the first instant that shows it, or
  -- the instant at which the clocks jump over it.
  WITH walls AS (
    SELECT w FROM generate_series((from_time AT TIME ZONE tz)::date - 2, (to_time AT TIME ZONE tz)::date + 2, interval '1 day') d,
      unnest(hours) h, unnest(minutes) m, LATERAL (SELECT d + make_interval(hours => h, mins => m) AS w) x
    WHERE extract(day FROM d) = ANY (days)),
  instants AS (
    SELECT i, i AT TIME ZONE tz AS wall, lead(i AT TIME ZONE tz) OVER (ORDER BY i) AS next_wall
    FROM generate_series(from_time - interval '2 days', to_time + interval '2 days', interval '1 minute') i)
  SELECT DISTINCT coalesce(
      (SELECT min(i) FROM instants WHERE wall = w),
      (SELECT min(i) + interval '1 minute' FROM instants WHERE wall < w AND next_wall > w)) AS due
  FROM walls ORDER BY 1
$$;
CREATE TABLE pg_temp.cases AS
SELECT n, tz, t AS from_time, t + interval '1 day' AS to_time,
       ARRAY(SELECT DISTINCT (hashint4(n * 7 + i) & 63) % 60 FROM generate_series(1, 1 + n % 3) i) AS minutes,
       ARRAY(SELECT DISTINCT CASE WHEN i = 1 THEN 1 + n % 3 ELSE (hashint4(n * 13 + i) & 31) % 24 END FROM generate_series(1, 1 + n % 4) i) AS hours
FROM generate_series(1, 60) n,
  LATERAL (SELECT (ARRAY['America/New_York', 'Europe/Madrid', 'Australia/Lord_Howe', 'America/Sao_Paulo', 'Asia/Kathmandu', 'Africa/Cairo'])[1 + n % 6] AS tz,
                  (ARRAY['2024-03-09 18:00', '2024-03-30 18:00', '2024-04-06 06:00', '2018-11-03 18:00', '2024-01-01', '2024-04-25 12:00',
                         '2024-11-02 18:00', '2024-10-26 18:00', '2024-10-05 06:00', '2018-02-17 12:00', '1986-01-01', '2024-10-31 12:00']::timestamptz[])[1 + n % 12] AS t) x;
SELECT count(*) AS cases, count(*) FILTER (WHERE good) AS equal FROM (
  SELECT c.n, ARRAY(SELECT o FROM pg_temp.oracle(minutes, hours, ARRAY(SELECT generate_series(1, 31)), tz, from_time, to_time) o
             WHERE o > from_time AND o <= to_time ORDER BY o)
     = ARRAY(SELECT d FROM pipeline.cron_next(format('%s %s * * *', array_to_string(minutes, ','), array_to_string(hours, ',')), from_time, tz, 300) d
             WHERE d <= to_time) AS good
  FROM pg_temp.cases c) x;
-- What is wrong with it.
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.wrong(expr text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text;
BEGIN
  PERFORM pipeline.cron_next(expr, now());
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
  RETURN sqlstate || ' ' || sqlerrm || ' | ' || d;
END $$;
SELECT pg_temp.wrong(e) FROM unnest(ARRAY['', '* * * *', '* * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *',
  '* * * 13 *', '* * * * 8', '5-1 * * * *', '*/0 * * * *', '5/2 * * * *', '1,,2 * * * *', ',1 * * * *', 'a * * * *',
  '* * * foo *', '@often', '@daily 5', '0 0 30 2 *', '0 seconds', '60 seconds', '10 seconds ago', '10 sec', '* * * * mon-', '*/x * * * *', '1;2 * * * *', '* L * * *']) e;
\set VERBOSITY default
SELECT pipeline.cron_next('* * * * *', now(), 'Mars/Olympus');
SELECT pipeline.cron_next('* * * * *', 'infinity');
SELECT count(*) FROM pipeline.cron_next('* * * * *', '294276-12-31 23:57:00+00', 'UTC', 5);
SELECT count(*) FROM pipeline.cron_next('20 seconds', '294276-12-31 23:59:00+00', 'UTC', 5);
SELECT pipeline.cron_next('* * * * *', now(), 'UTC', -1);
SELECT count(*) FROM pipeline.cron_next(NULL, now());
