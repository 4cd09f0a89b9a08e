-- What a warehouse has before it has pipelines: a role, staging tables, and
-- functions that load a day's files into them.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE ROLE analyst LOGIN;
GRANT pg_read_server_files TO analyst;
GRANT USAGE ON SCHEMA pipeline TO analyst;
CREATE SCHEMA app AUTHORIZATION analyst;
CREATE SCHEMA dim AUTHORIZATION analyst;
CREATE SCHEMA mart AUTHORIZATION analyst;

SET SESSION AUTHORIZATION analyst;
CREATE TABLE app.prints (delivery date, day date, position int, value_prop text, user_id bigint);
CREATE TABLE app.taps (LIKE app.prints);
CREATE TABLE app.pays (delivery date, pay_date date, total numeric, user_id bigint, value_prop text);
CREATE TABLE app.customers (customer_id bigint, name text, city text, segment text);

-- Load one file of events, a JSON object a line.  Again: the same rows.
CREATE FUNCTION app.load_events(target regclass, delivery date, file text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  CREATE TEMP TABLE lines (event jsonb) ON COMMIT DROP;
  EXECUTE format('COPY lines FROM %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\x02'')', file);
  EXECUTE format('DELETE FROM %s WHERE delivery = $1', target) USING delivery;
  EXECUTE format('INSERT INTO %s SELECT $1, (event->>''day'')::date, (event->''event_data''->>''position'')::int,
    event->''event_data''->>''value_prop'', (event->>''user_id'')::bigint FROM lines', target) USING delivery;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;

CREATE FUNCTION app.load_pays(delivery date, file text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  CREATE TEMP TABLE lines (pay_date date, total numeric, user_id bigint, value_prop text) ON COMMIT DROP;
  EXECUTE format('COPY lines FROM %L (FORMAT csv, HEADER)', file);
  DELETE FROM app.pays p WHERE p.delivery = load_pays.delivery;
  INSERT INTO app.pays SELECT load_pays.delivery, l.* FROM lines l;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;

CREATE FUNCTION app.load_customers(file text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  TRUNCATE app.customers;
  EXECUTE format('COPY app.customers FROM %L (FORMAT csv, HEADER)', file);
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;

-- The prints of the last full week, Monday to Sunday, and whether each was
-- tapped.
CREATE VIEW app.last_week AS
SELECT p.day, p.user_id, p.value_prop, p.position,
       EXISTS (SELECT FROM app.taps t WHERE (t.day, t.user_id, t.value_prop, t.position)
                                          = (p.day, p.user_id, p.value_prop, p.position)) AS tapped
FROM app.prints p,
     (SELECT date_trunc('week', max(day) + interval '1 day')::date AS monday FROM app.prints) w
WHERE p.day >= w.monday - 7 AND p.day < w.monday;
