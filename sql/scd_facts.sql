-- Facts: lookups at the time of the fact, roles, unknown, inferred and rejected
-- members, loads that can be repeated, facts pointed right.
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA scd_facts;
SET search_path = scd_facts;
CREATE FUNCTION counts(r pipeline.fact_result) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', CASE WHEN (r).success THEN 'ok' ELSE 'FAILED' END, 'read', (r).rows_read) || coalesce(': ' ||
    (SELECT string_agg(key || ' ' || value, ', ' ORDER BY n) FROM json_each_text(row_to_json(r)) WITH ORDINALITY j(key, value, n)
     WHERE key NOT IN ('success', 'load_id', 'rows_read', 'total_ms') AND value <> '0'), '') $$;
CREATE TABLE customers (id int, city text);
INSERT INTO customers VALUES (1, 'Rome'), (2, 'Oslo');
SELECT pipeline.create_dimension('dim_customer', 'customers', '{id}', 'snapshot');
SELECT inserted FROM pipeline.merge_dimension('dim_customer', '2024-01-01');
UPDATE customers SET city = 'Paris' WHERE id = 1;
SELECT versioned FROM pipeline.merge_dimension('dim_customer', '2024-02-01');
SELECT pipeline.create_date_dimension('dim_date', '2023-12-30', '2024-03-05', 'VALUES (date ''2024-01-01'', ''New Year''), (date ''2024-01-01'', ''Solemnity'')', 'es', 7);
SELECT pipeline.create_date_dimension('dim_date', '2023-12-30', '2024-03-05', 'VALUES (date ''2024-01-01'', ''New Year''), (date ''2024-01-01'', ''Solemnity'')', 'es', 7);
SELECT * FROM dim_date WHERE date IN ('2023-12-31', '2024-01-01', '2024-02-29', '9999-12-31') ORDER BY date \gx
SELECT count(*), count(*) FILTER (WHERE date_sk <> to_char(date, 'YYYYMMDD')::int) FROM dim_date;
SELECT pipeline.create_date_dimension('dim_date', '2024-02-01', '2024-01-01');
SELECT pipeline.create_date_dimension('dim_date', '2024-01-01', '2024-02-01', language => 'xx');
SELECT pipeline.create_date_dimension('dim_date', '2024-01-01', '2024-02-01', 'SELECT 1 AS x');

-- Append, with a key; the same customer in two roles; before the first version.
CREATE TABLE orders (id int, cust int, payer int, at timestamptz, amount numeric);
INSERT INTO orders VALUES (1, 1, 2, '2024-01-15', 10), (2, 1, 1, '2024-02-01', 20), (3, 9, 1, '2024-02-05', 30), (4, 2, NULL, '2023-06-01', 40);
SELECT pipeline.create_fact('fact_order', 'orders', '{
  "customer_sk": {"dimension": "dim_customer", "key": {"id": "cust"}, "at": "at", "before_first": "first_version"},
  "payer_sk": {"dimension": "dim_customer", "key": {"id": "payer"}}}', fact_key => '{id}');
SELECT counts(pipeline.load_fact('fact_order'));
SELECT counts(pipeline.load_fact('fact_order'));
SELECT o.id, o.cust, c.city, c.valid_from::date, o.customer_sk = -1 AS unknown, p.city AS payer, o.payer_sk = -1 AS payer_unknown
FROM fact_order o LEFT JOIN dim_customer c ON c.surrogate_key = o.customer_sk LEFT JOIN dim_customer p ON p.surrogate_key = o.payer_sk ORDER BY 1;
-- The member comes later: the fact is pointed right.
INSERT INTO customers VALUES (9, 'Bern');
SELECT inserted FROM pipeline.merge_dimension('dim_customer', '2024-02-02');
SELECT counts(pipeline.repair_fact('fact_order', (SELECT max(merge_id) FROM pipeline.merges WHERE dimension = 'dim_customer'::regclass)));
SELECT counts(pipeline.repair_fact('fact_order'));
SELECT o.id, c.city FROM fact_order o JOIN dim_customer c ON c.surrogate_key = o.customer_sk WHERE o.id = 3;

-- Merge: changed facts are brought up to date.
SELECT pipeline.alter_fact('fact_order', '{"mode": "merge", "description": "orders"}');
UPDATE orders SET amount = 21 WHERE id = 2;
INSERT INTO orders VALUES (5, 2, 2, '2024-02-20', NULL), (5, 2, 2, '2024-02-20', NULL);
SELECT counts(pipeline.load_fact('fact_order'));
SELECT counts(pipeline.load_fact('fact_order'));
INSERT INTO orders VALUES (5, 2, 2, '2024-02-20', 1);
SELECT counts(pipeline.load_fact('fact_order'));
DELETE FROM orders WHERE id = 5;

-- Inferred members are filled in by the merge that brings them: facts stay as they are.
CREATE TABLE people (k text COLLATE "C", name text);
SELECT pipeline.create_dimension('dim_person', 'people', '{k}', 'delta', type1 => '{}');
CREATE TABLE visits (who text, at date);
INSERT INTO visits VALUES ('x', '2024-01-05'), ('x', '2024-01-06'), (NULL, '2024-01-07');
SELECT pipeline.create_fact('fact_visit', 'SELECT * FROM visits', '{"person_sk": {"dimension": "dim_person", "key": {"k": "who"}, "at": "at", "on_missing": "inferred"}}',
                            mode => 'replace_interval', event_time => 'at');
SELECT counts(pipeline.load_fact('fact_visit'));
SELECT v.who, v.at, p.name, p.valid_from, v.person_sk = -1 AS unknown FROM fact_visit v JOIN dim_person p ON p.surrogate_key = v.person_sk ORDER BY 2;
INSERT INTO people VALUES ('x', 'Xavier'), ('y', 'Yann');
SELECT rows_read, inserted, versioned, closed FROM pipeline.merge_dimension('dim_person', '2024-03-01');
SELECT v.who, v.at, p.name, p.valid_from, p.is_current FROM fact_visit v JOIN dim_person p ON p.surrogate_key = v.person_sk WHERE v.who = 'x' ORDER BY 2;
SELECT k, name, valid_from, valid_to, is_current FROM dim_person WHERE k IS NOT NULL ORDER BY 1;
SELECT count(*) FROM pipeline.inferred_members WHERE dimension = 'dim_person'::regclass;
-- The interval of the batch is replaced.
DELETE FROM visits WHERE at = '2024-01-06';
SELECT counts(pipeline.load_fact('fact_visit'));
SELECT who, at FROM fact_visit ORDER BY at;

-- Rejected members are kept with their reason.
SELECT pipeline.alter_fact('fact_visit', '{"lookups": {"person_sk": {"dimension": "dim_person", "key": {"k": "who"}, "on_missing": "reject"}}, "mode": null, "event_time": null}');
SELECT counts(pipeline.load_fact('fact_visit'));
INSERT INTO visits VALUES ('z', '2024-01-09');
SELECT counts(pipeline.load_fact('fact_visit', 'b1'));
SET client_min_messages = warning;
SELECT counts(pipeline.load_fact('fact_visit', 'b1'));
RESET client_min_messages;
SELECT row, reason FROM pipeline.rejects WHERE dimension = 'fact_visit'::regclass ORDER BY reject_id;
INSERT INTO visits VALUES ('x', '2024-01-10');
\set VERBOSITY terse
SELECT counts(pipeline.load_fact('fact_visit', 'b1'));
SELECT feed, batch_id, rows_read, inserted, rejected FROM pipeline.merges WHERE dimension = 'fact_visit'::regclass ORDER BY merge_id;

-- A version that arrives late splits another: facts are pointed right.
CREATE TABLE feed (id int, at timestamptz, v text);
INSERT INTO feed VALUES (1, '2024-01-01', 'a');
SELECT pipeline.create_dimension('dim_cdc', 'feed', '{id}', 'cdc', effective_at => 'at');
SELECT inserted FROM pipeline.merge_dimension('dim_cdc');
SELECT pipeline.create_fact('fact_cdc', 'SELECT 1 AS n, 1 AS id, timestamptz ''2024-06-01'' AS at', '{"sk": {"dimension": "dim_cdc", "key": {"id": "id"}, "at": "at"}}', '{n}');
SELECT counts(pipeline.load_fact('fact_cdc'));
INSERT INTO feed VALUES (1, '2024-07-01', 'c');
SELECT versioned FROM pipeline.merge_dimension('dim_cdc');
SELECT late FROM pipeline.merge_dimension('dim_cdc', source => 'SELECT 1 AS id, timestamptz ''2024-05-01'' AS at, ''b'' AS v');
SELECT counts(pipeline.repair_fact('fact_cdc'));
SELECT d.v FROM fact_cdc f JOIN dim_cdc d ON d.surrogate_key = f.sk;

-- The bus matrix.
SELECT * FROM pipeline.bus_matrix WHERE fact::text NOT LIKE '%.%' ORDER BY fact::text, "column";

-- As a document and back: nothing changes; what is missing is made.
CREATE TABLE saved AS SELECT pipeline.export() AS script, jsonb_build_object('facts', d->'facts', 'dimensions', d->'dimensions') AS spec,
  (SELECT count(*) FROM pipeline.changes) AS changes FROM (SELECT pipeline.export(format => 'jsonb')::jsonb AS d) x;
SELECT jsonb_pretty(f) FROM saved, jsonb_array_elements(spec->'facts') f WHERE f->>'fact' = 'scd_facts.fact_order';
SELECT object, name, action FROM saved, pipeline.apply(spec) WHERE name LIKE 'scd_facts.%' ORDER BY 1, 2;
SELECT count(*) = (SELECT changes FROM saved) AS no_record FROM pipeline.changes;
BEGIN;
SELECT pipeline.drop_fact('fact_visit'), pipeline.drop_fact('fact_cdc', true), pipeline.drop_dimension('dim_cdc', true);
SELECT object, name, action FROM saved, pipeline.apply(spec) WHERE name LIKE 'scd_facts.%' AND action <> 'unchanged' ORDER BY 1, 2;
SELECT object, name, action FROM saved, pipeline.apply('{"facts": []}', '{facts}') WHERE name LIKE 'scd_facts.%' ORDER BY 1, 2;
DO $$ BEGIN EXECUTE (SELECT script FROM scd_facts.saved); END $$;
SELECT pipeline.export() = script AS same FROM scd_facts.saved;
ROLLBACK;
SELECT action, name FROM pipeline.changes WHERE kind = 'fact' AND name LIKE 'scd_facts.%' ORDER BY change_id;

-- Refusals.
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '[]')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": 1}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "nothing"}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "orders"}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "dim_customer"}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "dim_customer", "key": {"x": "cust"}}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "dim_customer", "key": {"id": "nothing"}}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "dim_customer", "key": {"id": "cust"}, "on_missing": "x"}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"a": {"dimension": "dim_customer", "key": {"id": "cust"}, "x": "x"}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{"cust": {"dimension": "dim_customer", "key": {"id": "cust"}}}')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{}', mode => 'x')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{}', mode => 'merge')$$);
SELECT public.raises($$SELECT pipeline.create_fact('f', 'orders', '{}', mode => 'replace_interval')$$);
SELECT public.raises($$SELECT pipeline.create_fact('fact_order', 'orders', '{}')$$);
SELECT public.raises($$SELECT pipeline.load_fact('orders')$$);
SELECT public.raises($$SELECT pipeline.alter_fact('fact_order', '{"x": 1}')$$);
GRANT USAGE ON SCHEMA scd_facts TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT public.raises($$SELECT pipeline.load_fact('scd_facts.fact_order')$$);
SELECT public.raises($$SELECT pipeline.repair_fact('scd_facts.fact_order')$$);
SELECT public.raises($$SELECT pipeline.drop_fact('scd_facts.fact_order')$$);
SELECT count(*) FROM pipeline.facts;
RESET ROLE;
SELECT pipeline.drop_fact('fact_order', true), pipeline.drop_fact('fact_visit'), pipeline.drop_fact('fact_cdc', true);
SELECT to_regclass('fact_order'), to_regclass('fact_visit');
SELECT pipeline.drop_dimension('dim_customer', true), pipeline.drop_dimension('dim_person', true), pipeline.drop_dimension('dim_cdc', true);
SELECT to_regclass('dim_cdc_events');
SET client_min_messages = warning;
DROP SCHEMA scd_facts CASCADE;
