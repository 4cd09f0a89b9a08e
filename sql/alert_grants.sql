-- On-call schedules and escalations that others may use; and what is old goes.
\set VERBOSITY terse
SET ROLE pipeline_alice;
SELECT count(pipeline.create_channel('g ' || c, 'log')) FROM unnest('{ann,ben,boss}'::text[]) c;
SELECT pipeline.create_on_call('g weekly', '{"people": [{"name": "Ann", "channels": ["g ann"]}, {"name": "Ben", "channels": ["g ben"]}], "start": "2026-01-05 09:00"}');
SELECT pipeline.create_escalation('g page', '[{"on_call": "g weekly", "wait": "5 minutes"}, {"channels": ["g boss"]}]');
SELECT pipeline.override_on_call('g weekly', 'Ben', '2026-01-06 09:00', '2026-01-06 10:00') > 0 AS overridden;
-- Not his to use, or to grant.
SET ROLE pipeline_bob;
SELECT public.raises('SELECT pipeline.' || call) AS error FROM unnest(ARRAY['create_escalation(''g b'', ''[{"on_call": "g weekly"}]'')', 'create_route(''g b'', ''{}'', escalation => ''g page'')',
  'who_is_on_call(''g weekly'')', 'grant_on_call(''g weekly'', ''pipeline_bob'')', 'grant_escalation(''g page'', ''pipeline_bob'')', 'revoke_on_call(''g weekly'', ''pipeline_bob'')',
  'grant_on_call(''g nowhere'', ''pipeline_bob'')', 'grant_escalation(''g nowhere'', ''pipeline_bob'')', 'grant_escalation(NULL, ''pipeline_bob'')', 'grant_on_call(''g weekly'', NULL)']) call;
SELECT (SELECT count(*) FROM pipeline.on_calls) AS on_calls, (SELECT count(*) FROM pipeline.on_call_overrides) AS overrides, (SELECT count(*) FROM pipeline.escalations) AS escalations;
-- Now he may name both, see them, and no more.
SET ROLE pipeline_alice;
SELECT pipeline.grant_on_call('g weekly', 'pipeline_bob'), pipeline.grant_on_call('g weekly', 'pipeline_bob'), pipeline.grant_escalation('g page', 'pipeline_bob');
SELECT public.raises('SELECT pipeline.' || call) AS error FROM unnest(ARRAY['grant_on_call(''g weekly'', 0::regrole)']) call;
SET ROLE pipeline_bob;
SELECT o.name, g.role, (SELECT count(*) FROM pipeline.on_call_overrides) AS overrides, (SELECT string_agg(e.name, ', ') FROM pipeline.escalations e JOIN pipeline.escalation_grants ON escalation = e.name) AS escalations
FROM pipeline.on_calls o JOIN pipeline.on_call_grants g ON on_call = o.name;
SELECT person, is_override FROM unnest('{2026-01-06 08:00,2026-01-06 09:30}'::timestamptz[]) t, LATERAL pipeline.who_is_on_call('g weekly', t) w (person, channels, since, until_time, is_override);
SELECT public.raises('SELECT pipeline.' || call) AS error FROM unnest(ARRAY['override_on_call(''g weekly'', ''Ann'', now(), now() + interval ''1 day'')', 'alter_on_call(''g weekly'', ''{"description": "mine"}'')',
  'drop_on_call(''g weekly'')', 'alter_escalation(''g page'', ''{"repeats": 3}'')', 'drop_escalation(''g page'')', 'grant_escalation(''g page'', ''pipeline_bob'')',
  'create_escalation(''g b'', ''[{"channels": ["g boss"]}]'')', 'create_route(''g b'', ''{}'', ''{g boss}'')', 'test_channel(''g ann'')']) call;
-- His alerts reach them, through Alice's channels.
BEGIN;
SELECT pipeline.create_escalation('g b', '[{"on_call": "g weekly"}]');
SELECT pipeline.create_route('g b1', '{team=a}', escalation => 'g page', group_wait => '0'), pipeline.create_route('g b2', '{team=b}', escalation => 'g b', group_wait => '0');
SELECT pipeline.raise_alert('Shared', 'one', labels => '{"team": "a"}') IS NOT NULL AS one, pipeline.raise_alert('Shared', 'two', labels => '{"team": "b"}') IS NOT NULL AS two;
RESET ROLE;
UPDATE pipeline.alerts SET started_at = '2026-01-06 09:30' WHERE alertname = 'Shared';
SELECT pipeline._dispatch_alerts('2026-01-06 09:30') > 0 AS goes_on;
SELECT pipeline._dispatch_alerts('2026-01-06 09:36') > 0 AS goes_on;
SELECT n.owner, n.route, n.channel, n.event, n.message #>> '{escalation,to}' AS "to", n.message ->> 'title' AS title FROM pipeline.notifications n WHERE route LIKE 'g %' ORDER BY route, notification_id;
-- Taken back: nobody is told by it any more, though the route still names it.
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.revoke_on_call('g weekly', 'pipeline_bob'), pipeline.revoke_on_call('g weekly', 'pipeline_bob'), pipeline.revoke_escalation('g page', 'pipeline_bob');
SELECT action, kind, name, before, after FROM pipeline.changes WHERE name LIKE 'g %' AND action ~ 'grant|revoke' ORDER BY change_id;
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.raise_alert('Shared', 'three', labels => '{"team": "a", "n": "3"}') IS NOT NULL AS three, pipeline.raise_alert('Shared', 'four', labels => '{"team": "b", "n": "4"}') IS NOT NULL AS four;
RESET ROLE;
SELECT pipeline._dispatch_alerts('2026-01-06 11:00') > 0 AS goes_on;
SELECT count(*) FROM pipeline.notifications WHERE route LIKE 'g %' AND message ->> 'title' ~ 'three|four';
ROLLBACK;
SET ROLE pipeline_alice;
SELECT pipeline.drop_escalation('g page'), pipeline.drop_on_call('g weekly');
SELECT count(pipeline.drop_channel('g ' || c)) FROM unnest('{ann,ben,boss}'::text[]) c;
RESET ROLE;

-- What is old and over goes: silences, overrides, alerts that no incident has.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT pipeline._trim_alerts(1000, 90, 30) >= 0 AS trimmed;
SELECT pipeline.create_channel('g old', 'log'), pipeline.create_on_call('g old', '{"people": [{"name": "Ann", "channels": ["g old"]}], "start": "2026-01-05"}');
SELECT count(pipeline.override_on_call('g old', 'Ann', now() - a * interval '1 day', now() - b * interval '1 day')) FROM (VALUES (100, 95), (100, 85), (1, -1)) x (a, b);
INSERT INTO pipeline.silences (owner, created_by, matchers, starts_at, ends_at, until_resolved)
SELECT current_user::regrole, current_user::regrole, 'a=b', now() - interval '100 days', e, false FROM unnest(ARRAY[now() - interval '95 days', now() - interval '85 days', 'infinity']) e;
SELECT count(pipeline.raise_alert('Old', 'x', source => s)) FROM unnest('{alone,incident,open,new}'::text[]) s;
SELECT pipeline.open_incident('old', alert_ids => ARRAY[alert_id]) > 0 AS opened FROM pipeline.alerts WHERE alertname = 'Old' AND source = 'incident';
SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.alerts WHERE alertname = 'Old' AND source <> 'open';
UPDATE pipeline.alerts SET resolved_at = now() - interval '40 days' WHERE alertname = 'Old' AND source IN ('alone', 'incident');
SELECT pipeline._trim_alerts(1000, 0, 0) AS none, pipeline._trim_alerts(1, 90, 0) AS old, pipeline._trim_alerts(1000, 90, 0) AS again, pipeline._trim_alerts(1000, 0, 30) AS alerts;
SELECT (SELECT count(*) FROM pipeline.on_call_overrides WHERE on_call = 'g old') AS overrides, (SELECT count(*) FROM pipeline.silences WHERE matchers = 'a=b') AS silences,
  (SELECT string_agg(source || ' ' || state, ', ' ORDER BY source) FROM pipeline.alerts WHERE alertname = 'Old') AS alerts;
ROLLBACK;
