-- Definitions as one document: export(), apply(), alter_X().
\set VERBOSITY terse
CREATE ROLE pipeline_carol LOGIN;
GRANT USAGE ON SCHEMA pipeline TO pipeline_carol;
GRANT pipeline_carol TO pipeline_bob;
CREATE SCHEMA carol AUTHORIZATION pipeline_carol;
SET SESSION AUTHORIZATION pipeline_carol;
CREATE TABLE carol.events (id int, at timestamptz, v numeric, "Ünï ""q""" text);
CREATE TABLE carol.people (id int, name text, city text);
SET client_min_messages = warning;
SET search_path = carol, public;
SELECT pipeline.create_dimension('dim_people', 'SELECT * FROM people', '{id}', 'snapshot', names => '{"valid_from": "since"}', open_end => 'NULL');
SELECT pipeline.create_feature_set('carol set', 'events', '{id}', 'at', 'carol.kept');
SELECT pipeline.add_feature('carol set', 'n_week', 'events', 'count', '7 days');
SELECT pipeline.add_feature('carol set', 'a_week', 'events', 'sum', '7 days', value => 'v');
RESET search_path;
SELECT pipeline.create_channel('carol log', 'log');
SELECT pipeline.create_suite('carol suite', 'carol.events', row_key => '{id}');
SELECT pipeline.expect('carol suite', 'expect_column_values_to_not_be_null', '{"column": "id"}') IS NOT NULL AS made;
SELECT pipeline.expect('carol suite', 'expect_column_values_to_be_between', '{"column": "v", "min_value": 0}', 'warning', 'v is positive', row_condition => $$"Ünï ""q""" <> 'it''s'$$) IS NOT NULL AS made;
SELECT pipeline.create_pool('carol pool', 2, '{public,pipeline_bob}');
SELECT pipeline.create_dataset('carol data', publishers => '{pipeline_alice}', description => 'made');
SELECT pipeline.create_pipeline('carol night', '30 4 * * *', 'Europe/Madrid', params => '{"day": null}', labels => '{"team": "core"}');
SELECT pipeline.create_task('carol night', 'z first', $$SELECT 'it''s', $x$dollars$x$, 'and $sql$'$$, retries => 3, timeout => '20 minutes');
SELECT pipeline.create_task('carol night', 'a second', 'SELECT 1', depends_on => '{z first}', retry_backoff => 1.5, pool => 'carol pool', deadline => '2 hours', foreach => 'SELECT 1 AS k', map_key => 'k');
-- Both forms, complete and in order.
\pset format unaligned
\pset tuples_only on
SELECT pipeline.export();
SELECT pipeline.export(format => 'jsonb');
\pset format aligned
\pset tuples_only off
SELECT pipeline.export('carol night') LIKE '%create_task%', pipeline.export('carol night') LIKE '%create_suite%';
SELECT pipeline.export('nothing');
SELECT pipeline.export(format => 'yaml');
-- A round trip changes nothing, and leaves no record.
CREATE TABLE carol.saved AS SELECT pipeline.export() AS script, pipeline.export(format => 'jsonb')::jsonb AS spec, (SELECT count(*) FROM pipeline.changes) AS changes;
SELECT object, name, action FROM carol.saved, pipeline.apply(spec);
SELECT count(*) = (SELECT changes FROM carol.saved) AS no_record FROM pipeline.changes;
DO $$ BEGIN EXECUTE (SELECT script FROM carol.saved); END $$;
SELECT pipeline.export() = script AS same FROM carol.saved;
-- Applied by hand-written document: other spellings mean the same.
SELECT object, name, action FROM pipeline.apply($${"pipelines": [{"name": "carol night", "schedule": "30 4 * * *", "timezone": "Europe/Madrid",
  "params": {"day": null}, "labels": {"team": "core"}, "paused": false, "tasks": [
    {"task": "a second", "command": "SELECT 1", "depends_on": "{\"z first\"}", "retry_backoff": "1.50", "pool": "carol pool", "deadline": "120 min", "foreach": "SELECT 1 AS k", "map_key": "k"}]}],
  "channels": [{"name": "carol log", "kind": "log"}], "dimensions": [{"dimension": "carol.dim_people", "source": "SELECT * FROM people",
  "business_key": ["id"], "feed": "snapshot", "names": {"valid_from": "since"}, "open_end": null, "search_path": "carol, public"}]}$$);
-- Changes are seen before they are made.
SELECT $${"feature_sets": [{"name": "carol set", "spine": "events", "entity": ["id"], "event_time": "at", "target": "carol.kept",
    "search_path": "carol, public", "description": "new", "features": [{"feature": "a_week", "source": "events", "aggregate": "sum", "lookback": "8 days", "value": "v"}]}],
  "pipelines": [{"name": "carol night", "tasks": [
    {"task": "z first", "command": "SELECT 2", "depends_on": ["a second"]},
    {"task": "new", "command": "SELECT 3", "depends_on": ["z first"], "timeout": "90 min"},
    {"task": "a second", "command": "SELECT 1"}]},
   {"name": "carol new", "tasks": [{"task": "b", "command": "SELECT 1", "depends_on": ["a"]}, {"task": "a", "command": "SELECT 1"}]}]}$$ AS spec \gset
SELECT * FROM pipeline.apply(:'spec', dry_run => true);
SELECT pipeline.export() = script AS same FROM carol.saved;
SELECT object, name, action FROM pipeline.apply(:'spec');
SELECT task, depends_on, timeout FROM pipeline.tasks WHERE pipeline LIKE 'carol%' ORDER BY pipeline, task;
SELECT feature, lookback FROM pipeline.features WHERE feature_set = 'carol set' ORDER BY position;
SELECT object, name, action FROM pipeline.apply(:'spec') WHERE action <> 'unchanged';
-- What the document does not have goes only when its kind is named; children, where the parent is there.
SELECT object, name, action FROM pipeline.apply('{"pipelines": [{"name": "carol night"}]}', '{tasks}');
SELECT count(*) FROM pipeline.tasks WHERE pipeline LIKE 'carol%';
SELECT object, name, action FROM pipeline.apply('{}', '{pipelines,expectations}');
SELECT object, name, action FROM pipeline.apply((SELECT spec FROM carol.saved), '{pipelines,tasks,features,feature_sets}');
SELECT pipeline.export() = script AS same FROM carol.saved;
-- A paused pipeline stays so, and says so.
SELECT pipeline.pause('carol night', 'holidays');
SELECT object, name, action FROM pipeline.apply((SELECT spec FROM carol.saved)) WHERE object = 'pipeline';
SELECT paused, paused_reason FROM pipeline.pipelines WHERE pipeline = 'carol night';
SELECT pipeline.export('carol night') LIKE '%paused => true%' AS shown;
SELECT pipeline.resume('carol night');
-- Errors name the place; nothing is half done.
SELECT pipeline.apply('[]');
SELECT pipeline.apply(NULL);
SELECT pipeline.apply('{"pipeline": []}');
SELECT pipeline.apply('{"tasks": []}');
SELECT pipeline.apply('{"pipelines": {}}');
SELECT pipeline.apply('{"pipelines": [1]}');
SELECT pipeline.apply('{"pipelines": [{"schedule": "@daily"}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "scedule": "@daily"}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "or_replace": true}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "tasks": [{"task": "t", "comand": "SELECT 1"}]}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "tasks": [{"task": "t"}]}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "tasks": [{"task": "t", "command": "SELECT 1", "pipeline": "y"}]}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "max_active_runs": [2]}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "schedule": {}}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "max_active_runs": "two"}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x"}, {"name": "x"}]}');
SELECT pipeline.apply('{"pipelines": [{"name": "x", "tasks": [{"task": "a", "command": "SELECT 1", "depends_on": ["b"]}, {"task": "b", "command": "SELECT 1", "depends_on": ["a"]}]}]}');
SELECT pipeline.apply('{"suites": [{"name": "x", "target": "carol.nothing"}]}');
SELECT pipeline.apply('{}', '{pipeline}');
SELECT pipeline.apply('{}', NULL);
\set VERBOSITY default
SELECT pipeline.apply('{"pipelines": [{"name": "x", "tasks": [{"task": "a", "command": "SELECT 1"}, {"task": "b", "command": "SELEC 1"}]}]}');
\set VERBOSITY terse
SELECT count(*) FROM pipeline.pipelines WHERE pipeline = 'x';
-- Of other roles one sees nothing, and prunes nothing.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT count(*) AS may_use FROM pipeline.pools WHERE pool = 'carol pool';
SELECT pipeline.export() LIKE '%carol%' AS exported;
SELECT count(*) FROM pipeline.apply('{}', '{pipelines,suites,channels,dimensions,feature_sets}', true) WHERE name LIKE 'carol%';
SELECT pipeline.apply('{"pipelines": [{"name": "carol night"}]}');
SELECT pipeline.alter_pipeline('carol night', '{"schedule": null}');
SELECT pipeline.export('carol night');
-- A member of the owning role says whose they are.
SET SESSION AUTHORIZATION pipeline_bob;
SELECT (regexp_matches(pipeline.export('carol night'), '-- of role \w+|run_as => ''\w+'''))[1];
SELECT action, count(*) FROM carol.saved, pipeline.apply(spec) GROUP BY 1;
SET SESSION AUTHORIZATION pipeline_carol;
-- alter_X: the keys are the arguments of create_X, null is the default.
SELECT pipeline.alter_pipeline('carol night', '{"schedule": null, "timezone": null, "params": {"n": 1}}');
SELECT schedule, timezone, params, labels FROM pipeline.pipelines WHERE pipeline = 'carol night';
SELECT pipeline.alter_task('carol night', 'a second', '{"retries": 7, "retry_backoff": null, "timeout": "1 min"}');
SELECT command, depends_on, retries, retry_backoff, timeout FROM pipeline.tasks WHERE pipeline = 'carol night' AND task = 'a second';
SELECT pipeline.alter_task('carol night', 'z first', '{"task": "the first", "retries": 1}');
SELECT task, depends_on, retries FROM pipeline.tasks WHERE pipeline = 'carol night' ORDER BY task;
SELECT pipeline.alter_pipeline('carol night', '{"name": "carol day"}');
SELECT pipeline, count(*) FROM pipeline.tasks WHERE pipeline LIKE 'carol%' GROUP BY 1;
SELECT pipeline.alter_suite('carol suite', '{"sample_limit": 5}');
SELECT pipeline.alter_expectation('carol suite', 'v is positive', '{"severity": "critical", "row_condition": null}');
SELECT severity, row_condition, kwargs FROM pipeline.expectations WHERE suite = 'carol suite' AND name = 'v is positive';
SELECT pipeline.alter_channel('carol log', '{"config": {"level": "warning"}}');
SELECT config FROM pipeline.channels WHERE name = 'carol log';
SELECT pipeline.alter_pool('carol pool', '{"slots": 3}');
SELECT pool, slots, users FROM pipeline.pools WHERE pool = 'carol pool';
SELECT pipeline.alter_dataset('carol data', '{"publishers": null, "subscribers": ["public"]}');
SELECT dataset, publishers, subscribers, description FROM pipeline.datasets WHERE dataset = 'carol data';
SELECT pipeline.alter_feature_set('carol set', '{"timezone": "Asia/Tokyo"}');
SELECT pipeline.alter_feature('carol set', 'n_week', '{"lookback": "6 days"}');
SELECT feature, lookback, s.timezone, s.search_path FROM pipeline.features JOIN pipeline.feature_sets s ON s.name = feature_set WHERE feature_set = 'carol set' ORDER BY position;
SELECT pipeline.alter_dimension('carol.dim_people', '{"max_delete_fraction": 0.5}');
SELECT max_delete_fraction, search_path FROM pipeline.dimensions WHERE dimension = 'carol.dim_people'::regclass;
SELECT pipeline.alter_pipeline('carol day', '{}');
SELECT pipeline.alter_pipeline('carol day', NULL);
SELECT pipeline.alter_pipeline('carol day', '[]');
SELECT pipeline.alter_pipeline('nothing', '{}');
SELECT pipeline.alter_task('carol day', 'nothing', '{}');
SELECT pipeline.alter_pipeline('carol day', '{"scedule": null}');
SELECT pipeline.alter_pipeline('carol day', '{"paused": true}');
SELECT pipeline.alter_pipeline('carol day', '{"name": "a/b"}');
SELECT pipeline.alter_pipeline('carol day', '{"name": null}');
SELECT pipeline.alter_task('carol day', 'the first', '{"task": "a second"}');
SELECT pipeline.alter_task('carol day', 'the first', '{"task": "first[1]"}');
SELECT pipeline.alter_task('carol day', 'the first', '{"command": null}');
SELECT pipeline.alter_task('carol day', 'the first', '{"depends_on": ["a second"]}');
SELECT pipeline.alter_suite('carol suite', '{"name": "other"}');
SELECT pipeline.alter_pipeline('carol day', '{"run_as": "pipeline_alice"}');
SELECT action, kind, name, before IS NOT NULL AS before, after IS NOT NULL AS after, note FROM pipeline.changes
WHERE role = 'pipeline_carol'::regrole AND action LIKE 'alter%' ORDER BY change_id;
-- Another owner, by whoever may be both.
RESET SESSION AUTHORIZATION;
SELECT pipeline.alter_pipeline('carol day', '{"run_as": "pipeline_bob"}');
SELECT p.owner, t.owner FROM pipeline.pipelines p JOIN pipeline.tasks t USING (pipeline) WHERE pipeline = 'carol day';
SELECT pipeline.alter_pipeline('carol day', '{"run_as": "pipeline_carol"}');
-- Any definitions, by both forms, dropped and made again: they are the same.
SET SESSION AUTHORIZATION pipeline_carol;
CREATE FUNCTION carol.word(n int) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(substr($w$abcÑé "'\$%,{}[]:$w$, 1 + floor(random() * 18)::int, 1), '') || 'x' FROM generate_series(1, n) $$;
DO $$
DECLARE seed float8 := random(); before_sql text; before_json text; n int;
BEGIN
  PERFORM setseed(seed);
  FOR i IN 1 .. 8 LOOP
    PERFORM pipeline.create_pipeline('carol ' || i, CASE WHEN random() < 0.5 THEN '@daily' END,
      max_active_runs => 1 + floor(random() * 3)::int, catchup => (ARRAY['none','last','all'])[1 + floor(random() * 3)::int],
      params => jsonb_build_object(carol.word(3), carol.word(3)), description => CASE WHEN random() < 0.5 THEN carol.word(9) END);
    FOR j IN 1 .. 6 LOOP
      PERFORM pipeline.create_task('carol ' || i, carol.word(4) || j, format('SELECT %L', carol.word(12)),
        depends_on => (SELECT coalesce(array_agg(task), '{}') FROM pipeline.tasks WHERE pipeline = 'carol ' || i AND random() < 0.4),
        mode => (ARRAY['atomic','autocommit'])[1 + floor(random() * 2)::int], retries => floor(random() * 3)::int,
        retry_delay => make_interval(secs => floor(random() * 5000)), retry_backoff => 1 + random() * 3,
        timeout => CASE WHEN random() < 0.5 THEN make_interval(secs => 1 + floor(random() * 100000)) END,
        condition => CASE WHEN random() < 0.3 THEN format('%L = ''''', carol.word(5)) END,
        allow_failure => random() < 0.5, priority => floor(random() * 9 - 4)::int, labels => jsonb_build_object('a', carol.word(4)));
    END LOOP;
  END LOOP;
  before_sql := pipeline.export();
  before_json := pipeline.export(format => 'jsonb');
  FOR form IN 1 .. 2 LOOP
    PERFORM pipeline.drop_pipeline(pipeline) FROM pipeline.pipelines;
    PERFORM pipeline.drop_pool(pool) FROM pipeline.pools WHERE pool LIKE 'carol%';
    PERFORM pipeline.drop_dataset(dataset) FROM pipeline.datasets WHERE dataset LIKE 'carol%';
    PERFORM pipeline.drop_suite(name) FROM pipeline.suites;
    PERFORM pipeline.drop_channel(name) FROM pipeline.channels;
    PERFORM pipeline.drop_feature_set(name) FROM pipeline.feature_sets;
    PERFORM pipeline.drop_dimension(dimension) FROM pipeline.dimensions;
    IF form = 1 THEN EXECUTE before_sql; ELSE PERFORM pipeline.apply(before_json::jsonb); END IF;
    IF pipeline.export() <> before_sql OR pipeline.export(format => 'jsonb') <> before_json THEN
      RAISE 'not the same (form %, seed %)', form, seed;
    END IF;
    SELECT count(*) INTO n FROM pipeline.apply(before_json::jsonb) WHERE action <> 'unchanged';
    IF n > 0 THEN RAISE '% not unchanged (form %, seed %)', n, form, seed; END IF;
  END LOOP;
END $$;
SELECT action, count(*) >= 8 AS many FROM pipeline.apply('{}', '{pipelines,tasks}', true) GROUP BY 1;
SELECT count(*) FROM pipeline.apply('{}', '{pipelines,suites,channels,dimensions,feature_sets,pools,datasets}');
SELECT pipeline.export();
RESET SESSION AUTHORIZATION;
DROP SCHEMA carol CASCADE;
REVOKE USAGE ON SCHEMA pipeline FROM pipeline_carol;
DROP ROLE pipeline_carol;
