-- Routes: definition, trees, what is refused, documents.
\set VERBOSITY terse
SET ROLE pipeline_alice;
SELECT pipeline.create_channel('route chat', 'log');
SELECT pipeline.create_channel('route pager', 'log');
SELECT pipeline.create_route('route a', '{severity=~error|critical}', '{route chat}', description => 'the rest');
SELECT pipeline.create_route('route a1', ARRAY['pipeline="sales"'], '{}', 'route a', 2, group_wait => '10 s', labels => '{"team": "x"}');
SELECT pipeline.create_route('route a2', ARRAY['{severity="critical"}', 'pipeline!="sales", task=~".+"'], '{route pager}', 'route a', 1,
  continue_matching => true, group_by => '{pipeline,task}', group_interval => '1 min', repeat_interval => '1 h', send_resolved => false);
SELECT pipeline.create_route('route a11', '{}', parent => 'route a1', group_by => '{...}', priority => -5);
SELECT route, priority, channels, continue_matching AS goes_on, group_by, group_wait, group_interval, repeat_interval AS repeat, send_resolved AS res
FROM pipeline.route_tree WHERE name LIKE 'route %' ORDER BY owner, place;
-- Errors.
\set VERBOSITY default
SELECT pipeline.create_route('route a', '{}');
SELECT pipeline.create_route('route x', '{severity}', '{route chat}');
SELECT pipeline.create_route('route x', '{}', '{route nowhere}');
SELECT pipeline.create_route('route x', '{}', parent => 'route nowhere');
SELECT pipeline.create_route('route x', '{}', parent => 'route x');
SELECT pipeline.alter_route('route a', '{"parent": "route a11"}');
SELECT pipeline.create_route('route x', '{}', '{route chat}', group_by => '{a-b}');
\set VERBOSITY terse
SELECT pipeline.create_route('route x', '{}', '{route chat}', group_wait => '-1 s');
SELECT pipeline.create_route('route x', '{}', '{route chat}', group_interval => '0 s');
SELECT pipeline.create_route('route x', '{}', '{route chat}', repeat_interval => '0.5 s');
SELECT pipeline.create_route('route x', '{}', '{route chat,route chat}');
SELECT pipeline.create_route('', '{}');
SELECT pipeline.create_route(NULL, '{}');
SELECT pipeline.create_route('route x', NULL);
SELECT pipeline.create_route('route x', ARRAY[NULL]::text[]);
SELECT pipeline.create_route('route x', '{}', labels => '[]');
SELECT pipeline.drop_route('route a');
SELECT pipeline.drop_route('route nowhere');
SELECT pipeline.drop_channel('route chat');
SELECT pipeline.alter_route('route a', '{"name": "b"}');
SELECT pipeline.alter_route('route a1', '{"group_wait": null, "priority": 7, "channels": ["route pager"]}');
SELECT route, priority, channels, group_wait FROM pipeline.route_tree WHERE name LIKE 'route a1%' ORDER BY place;
-- As a document: parents come first, children go first.
SELECT pipeline.export(format => 'jsonb')::jsonb -> 'routes' AS routes \gset
SELECT jsonb_pretty(:'routes');
SELECT object, name, action FROM pipeline.apply(jsonb_build_object('routes', :'routes'::jsonb)) ORDER BY 1, 2;
BEGIN;
SELECT object, name, action FROM pipeline.apply('{"routes": []}', prune => '{routes}');
SELECT object, name, action FROM pipeline.apply(jsonb_build_object('routes', :'routes'::jsonb));
SELECT :'routes'::jsonb = pipeline.export(format => 'jsonb')::jsonb -> 'routes' AS same;
ROLLBACK;
-- Bob has nothing to do with it.
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.routes;
SELECT count(*) FROM pipeline.route_tree;
SELECT pipeline.create_route('route b', '{}', parent => 'route a');
SELECT pipeline.create_route('route b', '{}', '{route chat}');
SELECT pipeline.create_route('route a', '{}', or_replace => true);
SELECT pipeline.alter_route('route a', '{"priority": 1}');
SELECT pipeline.drop_route('route a');
SELECT pipeline._dispatch_alerts(now());
INSERT INTO pipeline.route_changes (owner) VALUES ('pipeline_bob');
DELETE FROM pipeline.alert_groups;
-- Members and administrators may; what they replace stays whose it is.
RESET ROLE;
SELECT pipeline.create_route('route a', '{severity=~error|critical}', '{route chat}', or_replace => true);
SELECT owner FROM pipeline.routes WHERE name = 'route a';
SELECT pipeline.create_route('route root', '{}', '{route chat}');
SELECT action, name, role = session_user::regrole AS by_me, after ->> 'owner' AS owner FROM pipeline.changes
WHERE kind = 'route' AND name IN ('route a', 'route root') ORDER BY change_id;
SELECT pipeline.drop_route(name) FROM (SELECT name FROM pipeline.route_tree WHERE name LIKE 'route %' ORDER BY depth DESC, name) r;
SELECT pipeline.drop_channel(name) FROM pipeline.channels WHERE name LIKE 'route %' ORDER BY name;
