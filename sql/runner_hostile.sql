-- A hostile role with USAGE on the schema tries everything.  Alice has what he
-- wants.
\set VERBOSITY terse
CREATE ROLE pipeline_mallory LOGIN;
GRANT USAGE ON SCHEMA pipeline TO pipeline_mallory;
CREATE SCHEMA mallory AUTHORIZATION pipeline_mallory;
SET SESSION AUTHORIZATION pipeline_alice;
CREATE TABLE alice.secret_rows (secret text);
INSERT INTO alice.secret_rows VALUES ('of alice');
SELECT pipeline.create_pipeline('alices', '@daily', params => '{"secret": "x"}');
SELECT pipeline.create_task('alices', 'a', 'SELECT secret FROM alice.secret_rows');
SELECT pipeline.create_channel('alices', 'notify', '{"channel": "secret"}');
SELECT pipeline.create_suite('alices', 'alice.secret_rows');
SELECT pipeline.create_pool('alices', 1), pipeline.create_dataset('alices');
SELECT pipeline.run('alices') AS run \gset
SELECT pipeline.wait_for_run(:run);
SELECT pipeline.raise_alert('Secret', 'of alice') AS alert \gset
RESET SESSION AUTHORIZATION;
SELECT pid AS scheduler FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler' AND datname = current_database() \gset
SELECT pid AS launcher FROM pg_stat_activity WHERE backend_type = 'pipeline launcher' \gset
SET SESSION AUTHORIZATION pipeline_mallory;
-- What is hers he does not see, nor does he learn it by functions that leak.
CREATE FUNCTION mallory.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
DO $$
DECLARE r record; n int; seen text := '';
BEGIN
  FOR r IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = 'pipeline'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname <> 'inhibitions' ORDER BY 1 LOOP
    BEGIN
      -- The inhibitions that come with the extension act on everybody's alerts, and everybody sees them.
      EXECUTE format('SELECT count(*) FROM %s t WHERE mallory.leak(t::text)', CASE r.name WHEN 'pipeline.inhibitions'::regclass
        THEN '(SELECT * FROM pipeline.inhibitions WHERE NOT predefined OFFSET 0)' ELSE r.name::text END) INTO n;
      IF n > 0 THEN seen := seen || format('%s: %s ', r.name, n); END IF;
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
  END LOOP;
  RAISE INFO 'seen: %', seen;
END $$;
-- The predefined inhibitions are everybody's.
SELECT count(*) FROM pipeline.inhibitions WHERE NOT predefined;
SELECT pipeline.export();
-- Nor can he write, lock, watch or redirect any table of ours.
DO $$
DECLARE r record; verb text; worked text := '';
BEGIN
  FOR r IN SELECT c.oid::regclass AS name, (SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum DESC LIMIT 1) AS col
      FROM pg_class c WHERE c.relnamespace = 'pipeline'::regnamespace AND c.relkind = 'r' LOOP
    FOREACH verb IN ARRAY ARRAY['INSERT INTO %1$s DEFAULT VALUES', 'UPDATE %1$s SET %2$s = NULL', 'DELETE FROM %1$s', 'TRUNCATE %1$s',
        'SELECT FROM %1$s FOR KEY SHARE', 'LOCK TABLE %1$s IN ROW SHARE MODE', 'ALTER TABLE %1$s DISABLE ROW LEVEL SECURITY',
        'CREATE TRIGGER t BEFORE INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
        'CREATE RULE r AS ON INSERT TO %1$s DO INSTEAD NOTHING', 'CREATE POLICY p ON %1$s USING (true)', 'DROP TABLE %1$s',
        'CREATE INDEX ON %1$s ((mallory.leak(1)))', 'COMMENT ON TABLE %1$s IS NULL',
        'CREATE TABLE mallory.f (x text REFERENCES %1$s)', 'ALTER TABLE %1$s OWNER TO pipeline_mallory'] LOOP
      BEGIN
        EXECUTE format(verb, r.name, r.col);
        worked := worked || format(verb, r.name, r.col) || '; ';
      EXCEPTION WHEN insufficient_privilege OR undefined_object OR invalid_foreign_key THEN NULL;
      END;
    END LOOP;
  END LOOP;
  RAISE INFO 'worked: %', worked;
END $$;
CREATE FUNCTION pipeline.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- Every function, asked for what is hers.
CREATE TABLE mallory.tries (n serial, query text);
INSERT INTO mallory.tries (query) SELECT replace(replace(q, ':run', :'run'), ':alert', :'alert') FROM unnest(ARRAY[
  $$pipeline.run('alices')$$, $$pipeline.run_due('alices')$$, $$pipeline.cancel(:run)$$, $$pipeline.retry(:run)$$, $$pipeline.clear(:run, 'a')$$,
  $$pipeline.mark(:run, 'a', 'failed')$$, $$pipeline.wait_for_run(:run)$$, $$pipeline.pause('alices', 'x')$$, $$pipeline.resume('alices')$$,
  $$pipeline.plan('alices')$$, $$pipeline.test_task('alices', 'a')$$, $$pipeline.backfill('alices', '2024-01-01', '2024-01-02')$$,
  $$pipeline.create_pipeline('alices', or_replace => true)$$, $$pipeline.alter_pipeline('alices', '{"run_as": "pipeline_mallory"}')$$, $$pipeline.drop_pipeline('alices')$$,
  $$pipeline.create_task('alices', 'evil', 'SELECT 1')$$, $$pipeline.alter_task('alices', 'a', '{"command": "SELECT 1"}')$$, $$pipeline.drop_task('alices', 'a')$$,
  $$pipeline.grant_pipeline('alices', 'pipeline_mallory', 'operate')$$, $$pipeline.revoke_pipeline('alices', 'pipeline_bob')$$,
  $$pipeline.export('alices')$$, $$pipeline.apply('{"pipelines": [{"name": "alices"}]}')$$,
  $$pipeline.apply('{"pipelines": [{"name": "new", "run_as": "pipeline_alice", "tasks": [{"task": "a", "command": "TABLE alice.secret_rows"}]}]}')$$,
  $$pipeline.create_pipeline('new', run_as => 'pipeline_alice')$$, $$pipeline.create_pipeline('new', run_as => 'postgres')$$,
  $$pipeline.test_channel('alices')$$, $$pipeline.alter_channel('alices', '{"config": {"channel": "mine"}}')$$, $$pipeline.drop_channel('alices')$$,
  $$pipeline.create_channel('alices', 'log', or_replace => true)$$, $$pipeline.resolve_alert(:alert)$$, $$pipeline.acknowledge(:alert)$$,
  $$pipeline.validate('alices')$$, $$pipeline.expect('alices', 'expect_table_row_count_to_equal', '{"value": 1}')$$, $$pipeline.drop_suite('alices')$$,
  $$pipeline.check_now('alice.secret_rows', '[{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}]')$$,
  $$pipeline.resume_schedules()$$, $$pipeline.enable_schedules()$$, $$pipeline.drop_schedules()$$,
  $$pipeline.create_pool('alices', 9, or_replace => true)$$, $$pipeline.alter_pool('alices', '{"users": ["public"]}')$$, $$pipeline.drop_pool('alices')$$,
  $$pipeline.publish('alices')$$, $$pipeline.alter_dataset('alices', '{"publishers": ["public"]}')$$, $$pipeline.drop_dataset('alices')$$, $$pipeline.create_pipeline('mine', on_datasets => '{alices}')$$,
  $$pipeline.run_id()$$, $$pipeline.task_result('a')$$]) q;
SELECT regexp_replace(query, '\d+', 'N', 'g') AS query, split_part(e, ' | ', 1) AS state, split_part(e, ' | ', 2) AS error
FROM (SELECT n, query, public.raises('SELECT * FROM ' || query) AS e FROM mallory.tries WHERE query !~ 'alert\(|acknowledge') t ORDER BY n;
SELECT split_part(public.raises('SELECT ' || query), ' | ', 1) AS state FROM mallory.tries WHERE query ~ 'alert\(|acknowledge' ORDER BY n;
SELECT count(*) FROM pipeline.run_due();
SELECT count(*) FROM pipeline.apply('{}', '{pipelines,suites,channels}');
SELECT public.raises($$CALL pipeline.execute('alices')$$);
SET pipeline.admin_role = 'pipeline_mallory';
SET pipeline.history_days = 1;
-- His own names are only names.
SELECT pipeline.create_pipeline(n) FROM unnest(ARRAY[$$'; DROP TABLE pipeline.runs; --$$, '%s%n%s $1 {} \', '"; RESET ROLE; --', 'ẞ ☃ 雪']) n;
SELECT pipeline.create_task(pipeline, $$'); DELETE FROM pipeline.runs; -- "%n$$, 'SELECT pipeline.task_name(), session_user') FROM pipeline.pipelines;
SELECT pipeline.create_task(pipeline, '$1 \ {}', 'SELECT 1', depends_on => ARRAY[$$'); DELETE FROM pipeline.runs; -- "%n$$]) FROM pipeline.pipelines;
CREATE TABLE mallory.runs AS SELECT pipeline.run(pipeline) AS run_id FROM pipeline.pipelines;
SELECT pipeline.wait_for_run(run_id) FROM mallory.runs;
SELECT DISTINCT result FROM pipeline.attempts ORDER BY 1;
SELECT public.raises(format('SELECT pipeline.create_pipeline(%L)', n)) FROM unnest(ARRAY['', E'a\nb', 'a/b', repeat('x', 201)]) n;
-- Operators and functions of his own, before ours in search_path and in pg_temp, never run as anybody else.
CREATE TABLE mallory.caught (who text, what text);
GRANT INSERT ON mallory.caught TO PUBLIC;
GRANT USAGE ON SCHEMA mallory TO PUBLIC;
CREATE FUNCTION mallory.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.caught VALUES (current_user, '='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR mallory.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mallory.trap);
CREATE FUNCTION mallory.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.caught VALUES (current_user, 'now'); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION mallory.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.caught VALUES (current_user, 'clock'); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION mallory.count(anyelement) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.caught VALUES (current_user, 'count'); RETURN 1; END $$;
CREATE FUNCTION mallory.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.caught VALUES (current_user, 'format'); RETURN 'x'; END $$;
CREATE TEMP TABLE pipelines (pipeline text);
CREATE TEMP TABLE runs (run_id bigint);
CREATE TEMP TABLE pg_class (oid oid);
SET search_path = mallory, pg_temp, pg_catalog;
SELECT pipeline.create_pipeline('shadow', '@daily', params => '{"p": 1}');
SELECT pipeline.create_task('shadow', 'pooled', 'SELECT 1', pool => 'alices');
SELECT pipeline.create_task('shadow', 'a', 'SELECT 1');
SELECT pipeline.alter_task('shadow', 'a', '{"task": "b", "retries": 1}');
SELECT length(pipeline.export()) > 100 AS exported;
SELECT action FROM pipeline.apply(pipeline.export('shadow', 'jsonb')::jsonb);
SELECT action FROM pipeline.backfill('shadow', '2024-01-01 00:00+00', '2024-01-02 00:00+00');
SELECT level FROM pipeline.plan('shadow');
SELECT outcome FROM pipeline.test_task('shadow', 'b');
SELECT pipeline.grant_pipeline('shadow', 'pipeline_bob', 'view');
SELECT pipeline.revoke_pipeline('shadow', 'pipeline_bob');
SELECT pipeline.run('shadow') AS mine \gset
SELECT pipeline.wait_for_run(:mine);
SELECT pipeline.clear(:mine, 'b');
SELECT pipeline.wait_for_run(:mine);
SELECT pipeline.mark(:mine, 'b', 'failed', 'x');
SELECT pipeline.retry(:mine);
SELECT pipeline.wait_for_run(:mine);
SELECT pg_catalog.count(*) > 0 AS seen FROM pipeline.run_status;
SELECT pg_catalog.count(*) > 0 AS seen FROM pipeline.task_status;
SELECT pg_catalog.count(*) FROM pipeline.waiting;
SELECT pg_catalog.count(*) FROM pipeline.failures;
SELECT pg_catalog.count(*) FROM pipeline.schedules;
SELECT pipeline.drop_task('shadow', 'b');
SELECT pipeline.drop_pipeline('shadow');
RESET search_path;
SELECT who, what, count(*) FROM mallory.caught WHERE who <> 'pipeline_mallory' GROUP BY 1, 2;
-- Not even what he does to processes reaches others.
SELECT split_part(public.raises('SELECT pg_terminate_backend(' || :scheduler || ')'), ' | ', 1) AS state;
SELECT split_part(public.raises('SELECT pg_cancel_backend(' || :launcher || ')'), ' | ', 1) AS state;
DISCARD TEMP;
SELECT count(pipeline.drop_pipeline(pipeline)) FROM pipeline.pipelines;
-- Hers is as it was.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline, owner, schedule, paused FROM pipeline.pipelines WHERE pipeline = 'alices';
SELECT task, command FROM pipeline.tasks WHERE pipeline = 'alices';
SELECT count(*), min(state) FROM pipeline.runs WHERE pipeline = 'alices';
SELECT pool, slots, users FROM pipeline.pools WHERE pool = 'alices';
SELECT dataset, publishers FROM pipeline.datasets WHERE dataset = 'alices';
SELECT pipeline.drop_pool('alices'), pipeline.drop_dataset('alices');
SELECT pipeline.resolve_alert(:alert), pipeline.drop_suite('alices'), pipeline.drop_channel('alices'), pipeline.drop_pipeline('alices');
DROP TABLE alice.secret_rows;
RESET SESSION AUTHORIZATION;
DROP OWNED BY pipeline_mallory;
DROP ROLE pipeline_mallory;
