-- temporal_key: no two versions of a key overlap, whoever writes them. And a
-- change feed merged into a table that is not registered.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
CREATE SCHEMA scd_temporal;
GRANT USAGE, CREATE ON SCHEMA scd_temporal TO pipeline_alice, pipeline_bob;
SET search_path = scd_temporal;
CREATE EXTENSION btree_gist;
CREATE TABLE people (id int, name text);
INSERT INTO people VALUES (1, 'a'), (2, 'b');
SELECT pipeline.create_dimension('d', 'people', '{id}', 'snapshot', temporal_key => true, hard_deletes => 'invalidate', max_delete_fraction => 1);
SELECT inserted FROM pipeline.merge_dimension('d', '2024-01-01');
UPDATE people SET name = 'x' WHERE id = 1;
DELETE FROM people WHERE id = 2;
SELECT versioned, closed FROM pipeline.merge_dimension('d', '2024-02-01');
INSERT INTO people VALUES (2, 'again');
SELECT reopened, unchanged FROM pipeline.merge_dimension('d', '2024-03-01');
SELECT id, name, valid_period FROM d ORDER BY id, valid_from;
SELECT id, name FROM d WHERE valid_period @> timestamptz '2024-01-15' ORDER BY id;
SELECT left(public.raises($$INSERT INTO d (id, name, valid_from, valid_to, is_current) VALUES (1, 'y', '2024-01-15', '2024-01-16', false)$$), 5);
-- The executor's path says the same, and so does replaying events, which moves and splits versions.
SET pipeline.direct_access = off;
UPDATE people SET name = 'y' WHERE id = 1;
SELECT versioned FROM pipeline.merge_dimension('d', '2024-04-01');
RESET pipeline.direct_access;
CREATE TABLE feed (a int, b text COLLATE "C", v text, at timestamptz, op text);
INSERT INTO feed VALUES (1, 'x', 'a', '2024-01-01', 'I'), (1, 'x', 'c', '2024-03-01', 'U'), (1, 'y', 'a', '2024-03-01', 'I');
SELECT pipeline.create_dimension('e', 'feed', '{a,b}', 'cdc', effective_at => 'at', operation => 'op', temporal_key => true, open_end => 'null');
SELECT inserted, versioned FROM pipeline.merge_dimension('e');
TRUNCATE feed;
INSERT INTO feed VALUES (1, 'x', 'b', '2024-02-01', 'U'), (1, 'x', '0', '2023-12-01', 'I'), (1, 'x', NULL, '2024-03-15', 'D'), (1, 'x', NULL, '2024-02-15', 'D');
SELECT late, deleted FROM pipeline.merge_dimension('e');
SELECT a, b, v, valid_period FROM e WHERE a = 1 ORDER BY b, valid_from;
SELECT left(public.raises($$UPDATE e SET valid_to = '2024-01-15' WHERE v = '0'$$), 5);
-- It applies to tables that are made; one that has such a constraint is adopted as it stands.
SELECT pipeline.drop_dimension('d');
SELECT pipeline.create_dimension('d', 'people', '{id}', 'snapshot');
SELECT versioned, unchanged FROM pipeline.merge_dimension('d', '2024-05-01');
SELECT pipeline.drop_dimension('d', true), pipeline.drop_dimension('e', true);
DROP EXTENSION btree_gist;

-- merge_scd2() with a change feed: the events that versions do not tell are kept beside the table.
CREATE TABLE t (id int, v text, valid_from timestamptz, valid_to timestamptz, is_current boolean, close_reason text, merge_id bigint, UNIQUE (id, valid_from));
CREATE TABLE r (LIKE t);
SET search_path = scd_temporal, public;
CREATE FUNCTION merge(target regclass, events text) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', 'inserted', inserted, 'versioned', versioned, 'late', late, 'deleted', deleted, 'unchanged', unchanged, 'duplicate', duplicate)
  FROM pipeline.merge_scd2(target, events, '{id}', 'cdc', effective_at => 'at', operation => 'op', unknown_member => false, names => '{"surrogate_key": null}') $$;
SELECT merge('t', $$SELECT * FROM (VALUES (1, 'a', timestamptz '2024-01-01', 'I'), (1, 'a', '2024-02-01', 'U'), (1, 'b', '2024-03-01', 'U'), (2, 'x', '2024-01-01', 'D')) x (id, v, at, op)$$);
SELECT merge('t', $$SELECT 1 AS id, 'c' AS v, timestamptz '2024-01-15' AS at, 'U' AS op$$);
SELECT merge('t', $$SELECT 2 AS id, 'c' AS v, timestamptz '2023-01-15' AS at, 'U' AS op$$);
-- The same in one batch, in another order.
SELECT merge('r', $$SELECT * FROM (VALUES (2, 'c', timestamptz '2023-01-15', 'U'), (1, 'b', '2024-03-01', 'U'), (1, 'c', '2024-01-15', 'U'), (1, 'a', '2024-02-01', 'U'), (2, 'x', '2024-01-01', 'D'), (1, 'a', '2024-01-01', 'I')) x (id, v, at, op)$$);
SELECT id, v, valid_from, valid_to, is_current, close_reason FROM t ORDER BY id, valid_from;
SELECT count(*) AS differ FROM ((SELECT id, v, valid_from, valid_to, is_current FROM t EXCEPT ALL SELECT id, v, valid_from, valid_to, is_current FROM r)
                                UNION ALL (SELECT id, v, valid_from, valid_to, is_current FROM r EXCEPT ALL SELECT id, v, valid_from, valid_to, is_current FROM t)) x;
SELECT id, v, pipeline_at, pipeline_delete FROM t_events ORDER BY 1, 3;
-- A temporary table.
CREATE TEMP TABLE tt (LIKE t);
SELECT merge('tt', $$SELECT 1 AS id, 'c' AS v, timestamptz '2024-01-15' AS at, 'U' AS op$$);
SELECT merge('tt', $$SELECT 1 AS id, 'b' AS v, timestamptz '2024-01-10' AS at, 'U' AS op$$);
SELECT v, valid_from, valid_to FROM tt ORDER BY 2;
-- A column that is new goes to both tables.
SELECT inserted FROM pipeline.merge_scd2('t', $$SELECT 3 AS id, 'c' AS v, 7 AS n, timestamptz '2023-01-15' AS at, 'U' AS op$$, '{id}', 'cdc', type2 => '{v}', effective_at => 'at', operation => 'op', on_new_column => 'add',
  unknown_member => false, names => '{"surrogate_key": null}');
SELECT unchanged FROM pipeline.merge_scd2('t', $$SELECT 3 AS id, 'c' AS v, 7 AS n, timestamptz '2023-01-16' AS at, 'U' AS op$$, '{id}', 'cdc', type2 => '{v,n}', effective_at => 'at', operation => 'op',
  unknown_member => false, names => '{"surrogate_key": null}');
SELECT id, v, n, pipeline_at FROM t_events WHERE id = 3;
-- Somebody else's table is not trusted; that of the owner of the target is.
GRANT SELECT, INSERT, UPDATE ON t TO pipeline_bob;
GRANT SELECT, INSERT, UPDATE ON r TO pipeline_bob;
GRANT EXECUTE ON FUNCTION merge(regclass, text) TO pipeline_bob;
DROP TABLE r_events;
SET ROLE pipeline_alice;
CREATE TABLE scd_temporal.r_events (id int, v text, pipeline_at timestamptz, pipeline_delete boolean, pipeline_merge bigint);
SET ROLE pipeline_bob;
SELECT public.raises($$SELECT merge('r', 'SELECT 9 AS id, ''c'' AS v, now() AS at, ''U'' AS op')$$);
RESET ROLE;
DROP TABLE r_events;
SET ROLE pipeline_bob;
SELECT merge('r', 'SELECT 9 AS id, ''c'' AS v, timestamptz ''2024-01-01'' AS at, ''U'' AS op');
SELECT public.raises($$SELECT pipeline.merge_scd2('t', 'SELECT 9 AS id, ''c'' AS v, 1 AS n, now() AS at, ''U'' AS op', '{id}', 'cdc', effective_at => 'at', operation => 'op', unknown_member => false, names => '{"surrogate_key": null}')$$);
RESET ROLE;
SELECT tableowner FROM pg_tables WHERE tablename = 'r_events';
DROP SCHEMA scd_temporal CASCADE;
