-- A payments app's last eight weeks, written to files as its systems would:
-- prints.jsonl (a carousel showed a value proposition), taps.jsonl (it was
-- tapped), pays.csv (a payment), customers.csv (the customer extract of the
-- day).  Two days of delivery: the first brings eight weeks, the second one
-- more day, with faults.  Everything follows from hashes: the same each time.
--
-- psql -v dir=DIRECTORY -v prints=500000 -f generate.sql
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS generator;
SET search_path = generator, pg_catalog;

-- A number from 0 to 1 that depends on n and on what it is for.
CREATE OR REPLACE FUNCTION chance(n bigint, purpose int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (hashint8extended(n, purpose) & 9007199254740991) / 9007199254740992.0;

CREATE OR REPLACE FUNCTION value_prop(n bigint, purpose int) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (ARRAY['cellphone_recharge', 'credits_consumer', 'link_cobro', 'point', 'prepaid',
                'send_money', 'transport'])[1 + floor(7 * chance(n, purpose) ^ 1.3)::int];

-- Fifty-six days from Monday 2020-10-05, and the Monday after.  A few users
-- are shown far more than most.
CREATE TABLE prints AS
SELECT n,
       CASE WHEN n > :prints THEN date '2020-11-30'
            ELSE date '2020-10-05' + ((n - 1) * 56 / :prints)::int END AS day,
       1 + floor(20000 * chance(n, 1) ^ 1.5)::bigint AS user_id,
       value_prop(n, 2) AS value_prop,
       floor(4 * chance(n, 3))::int AS position
FROM generate_series(1, (:prints * 57.0 / 56)::bigint) n;

CREATE TABLE taps AS
SELECT n, day, user_id, value_prop, position FROM prints WHERE chance(n, 4) < 0.11 - 0.02 * position;

CREATE TABLE pays AS
SELECT n, day AS pay_date, round((5 + 195 * chance(n, 5) ^ 2)::numeric, 2) AS total, user_id, value_prop
FROM prints WHERE chance(n, 6) < 0.08;

-- Customers as of a day: some move, some change segment, some disappear.
CREATE OR REPLACE FUNCTION customers(day int)
RETURNS TABLE (customer_id bigint, name text, city text, segment text)
LANGUAGE sql AS $$
  SELECT u,
         (ARRAY['Ana','Bruno','Carla','Diego','Elena','Facundo','Gisela','Hernán','Inés','Joaquín'])[1 + floor(10 * chance(u, 7))::int]
           || ' ' || (ARRAY['Acosta','Benítez','Castro','Díaz','Espósito','Fernández','Gómez','Herrera'])[1 + floor(8 * chance(u, 8))::int],
         (ARRAY['Buenos Aires','Córdoba','Rosario','Mendoza','La Plata','Tucumán','Salta'])
           [1 + floor(7 * chance(u + CASE WHEN chance(u, 9) < 0.01 THEN day * 100000 ELSE 0 END, 10))::int],
         (ARRAY['new','active','premium'])
           [1 + floor(3 * chance(u + CASE WHEN chance(u, 11) < 0.02 THEN day * 100000 ELSE 0 END, 12))::int]
  FROM generate_series(1, 20000 + 150 * day) u
  WHERE day = 0 OR chance(u, 13) >= 0.005
$$;

-- The files.  No value holds a character that COPY would escape.
\set day1 :dir '/2020-11-29'
\set day2 :dir '/2020-11-30'
SELECT format('COPY (SELECT format(''{"day":"%%s","event_data":{"position":%%s,"value_prop":"%%s"},"user_id":%%s}'', day, position, value_prop, user_id) FROM generator.%I WHERE (day > ''2020-11-29'') = %L ORDER BY n) TO %L',
              what, second, folder || '/' || what || '.jsonl')
FROM unnest(ARRAY['prints', 'taps']) what, (VALUES (false, :'day1'), (true, :'day2')) d(second, folder)
\gexec
SELECT format('COPY (SELECT pay_date, total, user_id, value_prop FROM generator.pays WHERE (pay_date > ''2020-11-29'') = %L ORDER BY n) TO %L (FORMAT csv, HEADER)',
              second, folder || '/pays.csv')
FROM (VALUES (false, :'day1'), (true, :'day2')) d(second, folder)
\gexec
SELECT format('COPY (SELECT * FROM generator.customers(%s) ORDER BY 1) TO %L (FORMAT csv, HEADER)', day, folder || '/customers.csv')
FROM (VALUES (0, :'day1'), (1, :'day2')) d(day, folder)
\gexec
DROP SCHEMA generator CASCADE;
