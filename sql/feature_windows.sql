-- Windows: which ends count, time zones where clocks change, months, times
-- without a zone, infinite times.
CREATE SCHEMA feature_windows;
SET search_path = feature_windows;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE TABLE e (k int, t timestamptz);
INSERT INTO e SELECT 1, '2024-01-01'::timestamptz + n * interval '1 day' FROM generate_series(0, 9) n;
INSERT INTO e VALUES (1, '2024-01-05'), (1, '2024-01-08');

SELECT t, "left", "right", "both", "none", zero_left, zero_both
FROM pipeline.features('SELECT DISTINCT k, t FROM e', '{k}', 't', $$[
  {"feature": "left", "source": "e", "aggregate": "count", "lookback": "3 days"},
  {"feature": "right", "source": "e", "aggregate": "count", "lookback": "3 days", "closed": "right"},
  {"feature": "both", "source": "e", "aggregate": "count", "lookback": "3 days", "closed": "both"},
  {"feature": "none", "source": "e", "aggregate": "count", "lookback": "3 days", "closed": "none"},
  {"feature": "zero_left", "source": "e", "aggregate": "count", "lookback": "0"},
  {"feature": "zero_both", "source": "e", "aggregate": "count", "lookback": "0", "closed": "both"}]$$)
  AS (k int, t timestamptz, "left" bigint, "right" bigint, "both" bigint, "none" bigint, zero_left bigint, zero_both bigint)
ORDER BY t;

-- Windows that end after the row, begin with it, or end before it.
SELECT t, around, after, after_right, gap, of_day, instant
FROM pipeline.features('SELECT DISTINCT k, t FROM e', '{k}', 't', $$[
  {"feature": "around", "source": "e", "aggregate": "count", "lookback": "2 days", "lookahead": "2 days"},
  {"feature": "after", "source": "e", "aggregate": "count", "lookback": "0", "lookahead": "1 day"},
  {"feature": "after_right", "source": "e", "aggregate": "exists", "lookback": "0", "lookahead": "1 day", "closed": "right"},
  {"feature": "gap", "source": "e", "aggregate": "max", "value": "t::date", "lookback": "4 days", "lookahead": "-2 days"},
  {"feature": "of_day", "source": "e", "aggregate": "max", "value": "t::date", "lookback": "0", "lookahead": "24 hours", "closed": "both"},
  {"feature": "instant", "source": "e", "aggregate": "count", "lookback": "1 day", "lookahead": "-1 day", "closed": "both"}]$$)
  AS (k int, t timestamptz, around bigint, after bigint, after_right boolean, gap date, of_day date, instant bigint)
ORDER BY t;
-- Whole weeks, Monday first, and months, whatever the day of the row.
SELECT to_char(t, 'Dy') AS day, t, last_week, this_week, last_month, since
FROM pipeline.features('SELECT DISTINCT k, t FROM e UNION ALL VALUES (1, timestamptz ''2024-02-29 23:59+00'')', '{k}', 't', $$[
  {"feature": "last_week", "source": "e", "aggregate": "count", "lookback": "1 week", "align": "week"},
  {"feature": "this_week", "source": "e", "aggregate": "count", "lookback": "0", "lookahead": "1 week", "align": "week"},
  {"feature": "last_month", "source": "e", "aggregate": "count", "lookback": "1 month", "align": "month"},
  {"feature": "since", "source": "e", "aggregate": "max", "value": "t::date", "lookback": "1 month", "lookahead": "-7 days", "align": "day"}]$$)
  AS (k int, t timestamptz, last_week bigint, this_week bigint, last_month bigint, since date)
ORDER BY t;
-- as_of hides what a label would see after it.
SELECT t, after
FROM pipeline.features('SELECT DISTINCT k, t FROM e', '{k}', 't', $$[
  {"feature": "after", "source": "e", "aggregate": "count", "lookback": "0", "lookahead": "3 days", "closed": "right"}]$$, as_of => '2024-01-05')
  AS (k int, t timestamptz, after bigint) ORDER BY t;

-- A day is 24 hours in UTC and a calendar day where clocks change.
CREATE TABLE hours AS SELECT 1 AS k, t FROM generate_series(timestamptz '2024-03-30 00:00+00', '2024-04-01 00:00+00', '1 hour') t;
SET timezone = 'Europe/Madrid';
SELECT t, a_day, a_day_of_hours
FROM pipeline.features('SELECT 1 AS k, timestamptz ''2024-03-31 12:00+02'' AS t', '{k}', 't', $$[
  {"feature": "a_day", "source": "hours", "aggregate": "count", "lookback": "1 day"},
  {"feature": "a_day_of_hours", "source": "hours", "aggregate": "count", "lookback": "24 hours"}]$$)
  AS (k int, t timestamptz, a_day bigint, a_day_of_hours bigint);
SET timezone = 'UTC';
SELECT t, a_day, a_day_of_hours
FROM pipeline.features('SELECT 1 AS k, timestamptz ''2024-03-31 12:00+02'' AS t', '{k}', 't', $$[
  {"feature": "a_day", "source": "hours", "aggregate": "count", "lookback": "1 day"},
  {"feature": "a_day_of_hours", "source": "hours", "aggregate": "count", "lookback": "24 hours"}]$$)
  AS (k int, t timestamptz, a_day bigint, a_day_of_hours bigint);

-- Where the start of the window moves backwards, the cursor steps back, for
-- differences and for stacks: the clock change of autumn, row by row.
SET timezone = 'America/New_York';
CREATE TABLE autumn AS
SELECT 1 AS k, t, extract(epoch FROM t)::int % 97 AS v, (extract(epoch FROM t)::int % 97)::float8 AS f
FROM generate_series(timestamptz '2024-11-01 04:00+00', '2024-11-06 04:00+00', '20 minutes') t;
SELECT count(*) AS rows, count(*) FILTER (WHERE (n, s, least, greatest) IS DISTINCT FROM (o.n_, o.s_, o.least_, o.greatest_)) AS wrong
FROM pipeline.features('autumn', '{k}', 't', $$[
  {"feature": "n", "source": "autumn", "aggregate": "count", "lookback": "1 day"},
  {"feature": "s", "source": "autumn", "aggregate": "sum", "value": "f", "lookback": "1 day"},
  {"feature": "least", "source": "autumn", "aggregate": "min", "value": "v", "lookback": "1 day"},
  {"feature": "greatest", "source": "autumn", "aggregate": "max", "value": "f", "lookback": "1 day"}]$$)
  AS p (k int, t timestamptz, v int, f float8, n bigint, s float8, least int, greatest float8),
LATERAL (SELECT count(*) AS n_, sum(f) AS s_, min(v) AS least_, max(f) AS greatest_ FROM autumn e
         WHERE e.t >= p.t - interval '1 day' AND e.t < p.t) o;

-- Months: the start is clamped to the end of the month, and moves backwards.
SET timezone = 'UTC';
CREATE TABLE daily AS SELECT 1 AS k, d::date AS t FROM generate_series(timestamp '2024-01-01', '2024-04-30', '6 hours') d;
SELECT t, a_month, o.n = a_month AS right
FROM pipeline.features('SELECT 1 AS k, d::date AS t FROM unnest(''{2024-02-29,2024-03-01,2024-03-29,2024-03-30,2024-03-31,2024-04-01}''::date[]) d', '{k}', 't', $$[
  {"feature": "a_month", "source": "daily", "aggregate": "count", "lookback": "1 month"}]$$)
  AS p (k int, t date, a_month bigint),
LATERAL (SELECT count(*) AS n FROM daily e WHERE e.t >= p.t - interval '1 month' AND e.t < p.t) o
ORDER BY t;

-- Without a time zone on both sides, a day is a day whatever the session's zone.
SET timezone = 'Europe/Madrid';
SELECT * FROM pipeline.features('SELECT 1 AS k, timestamp ''2024-03-31 12:00'' AS t', '{k}', 't', $$[
  {"feature": "n", "source": "SELECT 1 AS k, t FROM generate_series(timestamp '2024-03-30', '2024-04-01', '1 hour') t", "aggregate": "count", "lookback": "1 day"},
  {"feature": "mixed", "source": "hours", "aggregate": "count", "lookback": "1 day"}]$$)
  AS (k int, t timestamp, n bigint, mixed bigint);
SET timezone = 'UTC';

-- Infinite times.
SELECT * FROM pipeline.features($$SELECT 1 AS k, t FROM unnest('{-infinity,2024-01-05,infinity}'::timestamptz[]) t$$, '{k}', 't', $$[
  {"feature": "n", "source": "SELECT 1 AS k, t FROM unnest('{-infinity,2024-01-04,infinity,infinity}'::timestamptz[]) t", "aggregate": "count", "lookback": "1 month"},
  {"feature": "b", "source": "SELECT 1 AS k, t FROM unnest('{-infinity,2024-01-04,infinity,infinity}'::timestamptz[]) t", "aggregate": "count", "lookback": "1 hour", "closed": "both"}]$$)
  AS (k int, t timestamptz, n bigint, b bigint) ORDER BY t;

-- Further back than time goes: PostgreSQL's own error.
\set VERBOSITY sqlstate
SELECT * FROM pipeline.features('e', '{k}', 't', $$[{"feature": "n", "source": "e", "aggregate": "count", "lookback": "10000 years"}]$$) AS (k int, t timestamptz, n bigint);
SELECT * FROM pipeline.features('e', '{k}', 't', $$[{"feature": "n", "source": "e", "aggregate": "count", "lookback": "100000000 hours"}]$$) AS (k int, t timestamptz, n bigint);
SELECT * FROM pipeline.features('e', '{k}', 't', $$[{"feature": "n", "source": "e", "aggregate": "count", "lookback": "0", "lookahead": "300000 years"}]$$) AS (k int, t timestamptz, n bigint);
\set VERBOSITY default
SET client_min_messages = error;
DROP SCHEMA feature_windows CASCADE;
