-- Faults of the second day, as they come from a source system: payments with
-- the sign of a refund, one without an amount, a value proposition that was
-- renamed on one side only.
-- psql -v pays=FILE -f dirty.sql
\set ON_ERROR_STOP on
CREATE TEMP TABLE dirty (line text);
SELECT format('COPY dirty FROM %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\x02'')', :'pays') \gexec
INSERT INTO dirty
SELECT format('2020-11-30,%s,%s,%s', CASE WHEN n = 7 THEN '' ELSE (-10.5 * n)::text END, 100 + n,
              CASE WHEN n > 8 THEN 'cell_recharge' ELSE 'prepaid' END)
FROM generate_series(1, 12) n;
SELECT format('COPY dirty TO %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\x02'')', :'pays') \gexec
