-- Silences and inhibitions: definition, what they keep from being told, whose.
\set VERBOSITY terse
CREATE FUNCTION pg_temp.raise(t interval, alertname text, labels jsonb, role text DEFAULT 'pipeline_alice', severity text DEFAULT 'error') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  id bigint;
BEGIN
  EXECUTE format('SET LOCAL ROLE %I', role);
  id := pipeline.raise_alert(alertname, alertname || ' is bad', severity, labels);
  RESET ROLE;
  UPDATE pipeline.alerts SET started_at = now() + t WHERE alert_id = id AND occurrences = 1;
  RETURN id;
END $$;
CREATE FUNCTION pg_temp.dispatch(t interval) RETURNS TABLE (sent text, "to" text, what text, next text) LANGUAGE plpgsql AS $$
DECLARE
  before bigint := (SELECT coalesce(max(notification_id), 0) FROM pipeline.notifications);
  due timestamptz;
BEGIN
  PERFORM pipeline._dispatch_alerts(now() + t);
  SELECT least(min(g.next_flush_at), min(g.escalate_at)) INTO due FROM pipeline.alert_groups g WHERE g.route LIKE 's %';
  RETURN QUERY
  SELECT n.event, n.channel, (SELECT string_agg(format('%s%s', a ->> 'alertname', CASE a ->> 'state' WHEN 'firing' THEN '' ELSE ' ' || (a ->> 'state') END), ', ' ORDER BY o)
     FROM jsonb_array_elements(n.message -> 'alerts') WITH ORDINALITY x (a, o)), NULL::text
  FROM pipeline.notifications n WHERE n.notification_id > before AND n.channel LIKE 's %' ORDER BY n.notification_id;
  RETURN QUERY SELECT 'next', NULL::text, NULL::text, coalesce((due - now() - t)::text, 'never');
END $$;
CREATE FUNCTION pg_temp.reasons(ids bigint[]) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT array_position(ids, a.alert_id) || ' ' || a.alertname || ': ' || regexp_replace(m.suppressed_by, '(alert|silence) \d+', '\1 N')
  FROM pipeline.alert_group_members m JOIN pipeline.alerts a USING (alert_id) WHERE m.suppressed_by IS NOT NULL AND a.alert_id = ANY (ids) ORDER BY 1 $$;

-- Definition.
SELECT setval('pipeline.silences_silence_id_seq', 1000, false);
SET ROLE pipeline_alice;
SELECT pipeline.create_silence('{pipeline="silence x"}', ends_at => now() + interval '1 hour', comment => 'being repaired') AS s \gset
SELECT state, matchers, ends_at - starts_at AS lasts, until_resolved, comment, owner, created_by = session_user::regrole AS by_me FROM pipeline.silence_status WHERE silence_id = :s;
SELECT pipeline.alter_silence(:s, '{"comment": "still"}');
SELECT pipeline.alter_silence(:s, jsonb_build_object('ends_at', now() + interval '2 hours'));
SELECT state, date_trunc('hour', ends_at - starts_at) AS lasts, comment FROM pipeline.silence_status WHERE silence_id = :s;
SELECT pipeline.create_silence('a=b', now() + interval '1 hour', now() + interval '2 hours') AS later \gset
SELECT pipeline.alter_silence(:later, jsonb_build_object('ends_at', now() + interval '30 min'));
SELECT pipeline.alter_silence(:s, '{"ends_at": "infinity"}');
SELECT pipeline.expire_silence(:later);
SELECT state, starts_at = ends_at AS never_was FROM pipeline.silence_status WHERE silence_id = :later;
SELECT pipeline.expire_silence(:s);
SELECT state, ended_by FROM pipeline.silences JOIN pipeline.silence_status USING (silence_id) WHERE silence_id = :s;
\set VERBOSITY sqlstate
SELECT pipeline.expire_silence(:s);
SELECT pipeline.alter_silence(:s, '{"comment": "x"}');
\set VERBOSITY terse
SELECT pipeline.alter_silence(:s, '{"matchers": "x"}');
SELECT pipeline.create_silence('{}', ends_at => now() + interval '1 hour');
SELECT pipeline.create_silence('a=~".*",b!="c"', ends_at => now() + interval '1 hour');
SELECT pipeline.create_silence('a', ends_at => now() + interval '1 hour');
SELECT pipeline.create_silence('a=b');
SELECT pipeline.create_silence('a=b', ends_at => 'infinity');
SELECT pipeline.create_silence('a=b', now(), now());
SELECT pipeline.create_silence('a=b', now() - interval '2 days', now() - interval '1 day');
SELECT pipeline.create_silence('a=b', until_resolved => true);
SELECT pipeline.create_silence(NULL, ends_at => now() + interval '1 hour');
SELECT pipeline.drop_silence(-1);
SELECT pipeline.create_inhibition('{alertname="Source"}', '{alertname=~"Target.*"}', '{site}');
SELECT pipeline.create_inhibition('{alertname="Source"}', '{alertname=~"Target.*"}', '{site}');
SELECT pipeline.create_inhibition('a=b', 'c=d', name => 'inhibit', description => 'to be replaced');
SELECT pipeline.create_inhibition('a=b', 'c=e', '{x,y}', 'inhibit', or_replace => true);
SELECT pipeline.alter_inhibition('inhibit', '{"equal_labels": ["z"]}');
SELECT name, source_matchers, target_matchers, equal_labels, description FROM pipeline.inhibitions WHERE owner = 'pipeline_alice'::regrole ORDER BY name;
SELECT object, name, action FROM pipeline.apply(jsonb_build_object('inhibitions', pipeline.export(format => 'jsonb')::jsonb -> 'inhibitions')) ORDER BY 2;
SELECT pipeline.create_inhibition('{}', 'a=b');
SELECT pipeline.create_inhibition('a=b', '');
SELECT pipeline.create_inhibition('a=b', 'c', '{}');
SELECT pipeline.create_inhibition('a=b', 'c=d', '{a-b}');
SELECT pipeline.create_inhibition('a=b', 'c=d', '{a=b-c}');
SELECT pipeline.create_inhibition('a=b', 'c=d', '{a=}');
-- Different labels of the two.
BEGIN;
SELECT pipeline.create_inhibition('{alertname="Down"}', '{alertname="Late"}', '{site,host=needs}', 'pairs');
SELECT pipeline.raise_alert('Down', 'x', labels => '{"site": "s", "host": "h"}') IS NOT NULL AS down,
  count(pipeline.raise_alert('Late', n, labels => jsonb_build_object('site', s, 'needs', n, 'host', 'h'))) FROM (VALUES ('s', 'h'), ('s', 'i'), ('t', 'h'), ('s', 's')) x (s, n);
SELECT summary, name FROM pipeline.suppressed_alerts WHERE alertname = 'Late';
ROLLBACK;
SELECT pipeline.create_inhibition('a=b', 'c=d', name => 'failed check');
SELECT pipeline.create_inhibition('a=b', repeat('c', 200) || '=d');
SELECT pipeline.drop_inhibition('nothing');
SELECT pipeline.drop_inhibition('{alertname="Source"} -> {alertname=~"Target.*"}'), pipeline.drop_inhibition('inhibit');
RESET ROLE;
SELECT pipeline.drop_inhibition('failed check');
SELECT pipeline.create_inhibition('a=b', 'c=d', name => 'failed check', or_replace => true);
SELECT name, source_matchers, target_matchers, equal_labels FROM pipeline.inhibitions WHERE predefined ORDER BY name;

-- A silence: nothing is told while it lasts; then what still fires.
BEGIN;
SELECT pipeline.create_channel('s chat', 'log');
SELECT pipeline.create_route('s all', '{}', '{s chat}', group_by => '{}', group_wait => '0', group_interval => '1 min');
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_silence('{team="a"}', ends_at => now() + interval '150 seconds', comment => 'repair') AS s \gset
RESET ROLE;
SELECT pg_temp.raise('0', 'Silent', '{"team": "a"}') AS silent, pg_temp.raise('0', 'Loud', '{"team": "b"}') AS loud, pg_temp.raise('0', 'OfBob', '{"team": "a"}', 'pipeline_bob') AS bob \gset
SELECT * FROM pg_temp.dispatch('1 s');
SELECT * FROM pg_temp.reasons(ARRAY[:silent, :loud, :bob]);
SELECT alertname, kind, by_alert, until_time - now() AS until_time, comment, owner FROM pipeline.suppressed_alerts WHERE alert_id IN (:silent, :loud, :bob);
SELECT * FROM pg_temp.dispatch('1 min 1 s');
SELECT * FROM pg_temp.dispatch('2 min 31 s');
SELECT count(*) FROM pg_temp.reasons(ARRAY[:silent]);
-- It fires on while it is silent: the end is told all the same.
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_silence('{team="a"}', ends_at => now() + interval '1 hour') AS s \gset
SELECT pipeline.resolve_alert(:silent);
RESET ROLE;
SELECT * FROM pg_temp.dispatch('3 min 31 s');
SELECT pipeline.resolve_alert(:loud), pipeline.resolve_alert(:bob);
SELECT * FROM pg_temp.dispatch('4 min 31 s');
-- What came and went in silence is not told.
SELECT pg_temp.raise('5 min', 'Silent', '{"team": "a"}') AS silent \gset
SELECT * FROM pg_temp.dispatch('5 min');
SELECT pipeline.resolve_alert(:silent);
SELECT * FROM pg_temp.dispatch('6 min');
ROLLBACK;

-- Until it is resolved: then the next one is told.
BEGIN;
SELECT pipeline.create_channel('s chat', 'log');
SELECT pipeline.create_route('s all', '{}', '{s chat}', group_by => '{}', group_wait => '0', group_interval => '1 min');
SELECT pg_temp.raise('0', 'One', '{"team": "a"}') AS one, pg_temp.raise('0', 'Two', '{"team": "a"}') AS two, pg_temp.raise('0', 'One', '{"team": "a"}', 'pipeline_bob') AS bob \gset
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_silence('{team="a"}', until_resolved => true) AS s \gset
RESET ROLE;
SELECT * FROM pg_temp.dispatch('1 s');
SELECT pipeline.resolve_alert(:one), pipeline.resolve_alert(:bob);
SELECT * FROM pg_temp.dispatch('10 s');
SELECT ends_at, ended_by FROM pipeline.silences WHERE silence_id = :s;
SELECT pipeline.resolve_alert(:two);
SELECT * FROM pg_temp.dispatch('20 s');
SELECT ends_at - now() AS ends, ended_by FROM pipeline.silences WHERE silence_id = :s;
SELECT pg_temp.raise('30 s', 'One', '{"team": "a"}') > 0 AS raised;
SELECT * FROM pg_temp.dispatch('1 min 1 s');
ROLLBACK;

-- Inhibition: equal labels, missing ones, both sides, a source that is silent.
BEGIN;
SELECT pipeline.create_channel('s chat', 'log');
SELECT pipeline.create_route('s all', '{}', '{s chat}', group_by => '{}', group_wait => '0', group_interval => '1 min');
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_inhibition('{alertname=~"Down|Both"}', '{alertname=~"Slow|Both"}', '{site}', 'down');
SELECT pipeline.create_silence('{alertname="Down"}', ends_at => now() + interval '10 hours') AS s \gset
RESET ROLE;
SELECT pg_temp.raise('0', 'Down', '{"site": "x"}') AS down, pg_temp.raise('0', 'Slow', '{"site": "x"}') AS slow, pg_temp.raise('0', 'Slow', '{"site": "y"}') AS other,
  pg_temp.raise('0', 'Slow', '{"site": "x"}', 'pipeline_bob') AS bob, pg_temp.raise('0', 'Both', '{"site": "z"}') AS both1, pg_temp.raise('0', 'Both', '{"site": "z", "n": "2"}') AS both2 \gset
SELECT * FROM pg_temp.dispatch('1 s');
SELECT * FROM pg_temp.reasons(ARRAY[:down, :slow, :other, :bob, :both1, :both2]);
SELECT alertname, kind, name, by_alert = :down AS by_down FROM pipeline.suppressed_alerts WHERE alert_id IN (:slow, :other, :bob, :both1, :both2);
-- A source with no site mutes what has none.
SELECT pg_temp.raise('10 s', 'Down', '{"site": ""}') AS nowhere, pg_temp.raise('10 s', 'Slow', '{}') AS lost \gset
SELECT * FROM pg_temp.dispatch('1 min 1 s');
SELECT * FROM pg_temp.reasons(ARRAY[:lost, :slow]);
SELECT pipeline.resolve_alert(:down);
SELECT * FROM pg_temp.dispatch('2 min 1 s');
ROLLBACK;

-- The predefined ones, as the runner and the checks raise them.
BEGIN;
SELECT pipeline.create_channel('s chat', 'log');
SELECT pipeline.create_route('s all', '{}', '{s chat}', group_by => '{}', group_wait => '0', group_interval => '1 min');
SELECT pg_temp.raise('0', 'CheckFailed', '{"pipeline": "p", "task": "t", "suite": "s", "expectation": "e"}') AS ch, pg_temp.raise('0', 'TaskFailed', '{"pipeline": "p", "task": "t"}') AS tf,
  pg_temp.raise('0', 'TaskFailed', '{"pipeline": "p", "task": "u"}') AS uf, pg_temp.raise('0', 'RunFailed', '{"pipeline": "p"}') AS rf, pg_temp.raise('0', 'RunFailed', '{"pipeline": "q"}') AS qf,
  pg_temp.raise('0', 'DeadlineMissed', '{"pipeline": "p"}') AS dm, pg_temp.raise('0', 'DeadlineMissed', '{"pipeline": "p", "task": "t"}') AS dt, pg_temp.raise('0', 'DeadlineMissed', '{"pipeline": "p", "task": "v"}') AS dv,
  pg_temp.raise('0', 'CheckFailed', '{"pipeline": "p", "task": "w"}', severity => 'warning') AS cw, pg_temp.raise('0', 'TaskFailed', '{"pipeline": "p", "task": "w"}') AS tw,
  pg_temp.raise('0', 'RunFailed', '{"pipeline": "p"}', 'pipeline_bob') AS bob, pg_temp.raise('0', 'TaskFailed', '{"pipeline": "r", "task": "t"}', 'pipeline_bob') AS btf, pg_temp.raise('0', 'RunFailed', '{"pipeline": "r"}') AS arf \gset
SELECT * FROM pg_temp.dispatch('1 s');
SELECT * FROM pg_temp.reasons(ARRAY[:ch, :tf, :uf, :rf, :qf, :dm, :dt, :dv, :cw, :tw, :bob, :btf, :arf]);
ROLLBACK;

-- Hostile owners: what Bob makes covers what is his, and he sees nothing else.
BEGIN;
SELECT pipeline.create_channel('s chat', 'log');
SELECT pipeline.create_route('s all', '{}', '{s chat}', group_by => '{}', group_wait => '0', group_interval => '1 min');
SELECT pg_temp.raise('0', 'OfAlice', '{"team": "a"}') AS a, pg_temp.raise('0', 'Source', '{"team": "a"}', 'pipeline_bob') AS b \gset
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_silence('{team="z"}', ends_at => now() + interval '1 hour') AS of_alice \gset
SELECT pipeline.create_inhibition('x=y', 'z=y', name => 'of alice');
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.create_silence('{alertname="OfAlice"}', ends_at => now() + interval '1 hour') > 0 AS created;
SELECT pipeline.create_inhibition('{alertname="Source"}', '{alertname="OfAlice"}', name => 'of bob');
SELECT count(*) FROM pipeline.suppressed_alerts;
SELECT count(*) FROM pipeline.suppressions();
SELECT count(*) FROM pipeline.silences WHERE silence_id = :of_alice;
SELECT count(*) FROM pipeline.silence_status WHERE silence_id = :of_alice;
SELECT name FROM pipeline.inhibitions WHERE NOT predefined;
SELECT public.raises(format('SELECT pipeline.%s', call)) FROM unnest(ARRAY[format('expire_silence(%s)', :of_alice), format('alter_silence(%s, ''{}'')', :of_alice),
  format('drop_silence(%s)', :of_alice), 'drop_inhibition(''of alice'')', 'create_inhibition(''a=b'', ''c=d'', name => ''of alice'', or_replace => true)',
  'create_silence(''{alertname="OfAlice"}'', until_resolved => true)']) call;
RESET ROLE;
SELECT * FROM pg_temp.dispatch('1 s');
-- An administrator's cover everybody's, but the source is of the same owner, or his own.
SELECT pipeline.create_inhibition('{alertname=~"Source|Maintenance"}', '{alertname="OfAlice"}', name => 'of root');
SELECT * FROM pg_temp.dispatch('1 min 1 s');
SELECT count(*) FROM pg_temp.reasons(ARRAY[:a]);
SELECT pipeline.raise_alert('Maintenance', 'by the administrator') > 0 AS raised, pg_temp.raise('2 min', 'OfAlice', '{"n": "2"}') AS a2 \gset
SELECT * FROM pg_temp.dispatch('2 min 1 s');
SELECT * FROM pg_temp.reasons(ARRAY[:a2]);
SELECT pipeline.create_silence('{team="a"}', ends_at => now() + interval '1 hour', comment => 'by the administrator') > 0 AS created;
SET LOCAL ROLE pipeline_alice;
SELECT kind, name = 'of root' AS by_rule, comment FROM pipeline.suppressed_alerts WHERE alert_id = :a ORDER BY 1;
ROLLBACK;
-- Away with what was made.
SELECT count(pipeline.drop_silence(silence_id)) FROM pipeline.silences;
SELECT count(*) FROM pipeline.silences;
SELECT action, count(*) FROM pipeline.changes WHERE kind = 'silence' GROUP BY 1 ORDER BY 1;
