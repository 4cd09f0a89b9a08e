-- From events to notifications, in a time that the test moves.  All in
-- transactions that are rolled back: the notifier sees nothing of it.
\set VERBOSITY terse
CREATE FUNCTION pg_temp.raise(t interval, alertname text, labels jsonb, severity text DEFAULT 'error') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  id bigint;
BEGIN
  SET LOCAL ROLE pipeline_alice;
  id := pipeline.raise_alert(alertname, alertname || ' is bad', severity, labels);
  RESET ROLE;
  UPDATE pipeline.alerts SET started_at = now() + t WHERE alert_id = id AND occurrences = 1;
  RETURN id;
END $$;
-- What a dispatch at that time sends.
CREATE FUNCTION pg_temp.dispatch(t interval) RETURNS TABLE (sent text, "to" text, route text, what text, next text) LANGUAGE plpgsql AS $$
DECLARE
  before bigint := (SELECT coalesce(max(notification_id), 0) FROM pipeline.notifications);
  due timestamptz;
BEGIN
  PERFORM pipeline._dispatch_alerts(now() + t);
  SELECT least(min(g.next_flush_at), min(g.escalate_at)) INTO due FROM pipeline.alert_groups g WHERE g.route LIKE 'd %';
  RETURN QUERY
  SELECT n.event || CASE WHEN n.message ->> 'status' <> n.event THEN ' (' || (n.message ->> 'status') || ')' ELSE '' END,
    n.channel, n.route, (n.message ->> 'title') || ' [' ||
    (SELECT string_agg(format('%s%s', a ->> 'alertname', CASE a ->> 'state' WHEN 'firing' THEN '' ELSE ' ' || (a ->> 'state') END), ', ' ORDER BY o)
     FROM jsonb_array_elements(n.message -> 'alerts') WITH ORDINALITY x (a, o)) || ']', NULL::text
  FROM pipeline.notifications n WHERE n.notification_id > before AND n.channel LIKE 'd %' ORDER BY n.notification_id;
  RETURN QUERY SELECT 'next', NULL::text, NULL::text, NULL::text, coalesce((due - now() - t)::text, 'never');
END $$;

-- A group waits, then is told at its ticks what changed; then repeats.
BEGIN;
SELECT pipeline.create_channel('d chat', 'log');
SELECT pipeline.create_route('d all', '{}', '{d chat}');
SELECT pg_temp.raise('0', 'A', '{"pipeline": "p"}') AS a \gset
SELECT * FROM pg_temp.dispatch('0');
SELECT pg_temp.raise('10 s', 'B', '{"pipeline": "p"}', 'critical') AS b \gset
SELECT * FROM pg_temp.dispatch('10 s');
SELECT * FROM pg_temp.dispatch('30 s');
SELECT message - 'alerts' AS message, owner, state, alert_ids = ARRAY[:a, :b]::bigint[] AS ids,
  (SELECT jsonb_object_agg(key, jsonb_typeof(value)) FROM jsonb_each(message -> 'alerts' -> 0)) AS alert
FROM pipeline.notifications WHERE channel = 'd chat';
-- Told again what it knows: nothing.
SELECT pg_temp.raise('1 min', 'A', '{"pipeline": "p"}') = :a AS same;
SELECT * FROM pg_temp.dispatch('1 min');
-- Another pipeline is another group; a new alert of this one waits for the tick.
SELECT pg_temp.raise('2 min', 'C', '{"pipeline": "q"}') > 0 AS raised, pg_temp.raise('2 min', 'C', '{"pipeline": "p"}') > 0 AS raised;
SELECT * FROM pg_temp.dispatch('2 min');
SELECT * FROM pg_temp.dispatch('2 min 30 s');
SELECT * FROM pg_temp.dispatch('5 min 30 s');
-- One is resolved, the others fire.
SELECT pipeline.resolve_alert(:b);
SELECT * FROM pg_temp.dispatch('6 min');
SELECT * FROM pg_temp.dispatch('10 min 30 s');
-- Nothing changes until the repetition.
SELECT * FROM pg_temp.dispatch('11 min');
SELECT * FROM pg_temp.dispatch('4 h 2 min 30 s');
SELECT * FROM pg_temp.dispatch('4 h 10 min 30 s');
-- All is resolved; then the group is gone, and the next is another.
SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' IN ('p', 'q') AND alertname IN ('A', 'B', 'C');
SELECT * FROM pg_temp.dispatch('5 h');
SELECT * FROM pg_temp.dispatch('5 h 5 min');
SELECT count(*) AS groups FROM pipeline.alert_groups WHERE route = 'd all';
SELECT pg_temp.raise('5 h 5 min', 'A', '{"pipeline": "p"}') > :a AS again;
SELECT * FROM pg_temp.dispatch('5 h 6 min');
SELECT count(DISTINCT group_key) AS keys, count(DISTINCT idempotency_key) = count(*) AS distinct_messages FROM pipeline.notifications
WHERE message @> '{"group_labels": {"pipeline": "p"}}' AND channel = 'd chat';
-- Fires, is resolved and fires again between two ticks: nothing changed.
SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.firing_alerts WHERE alertname = 'A' AND labels ->> 'pipeline' = 'p';
SELECT pg_temp.raise('5 h 7 min', 'A', '{"pipeline": "p"}') > :a AS again;
SELECT * FROM pg_temp.dispatch('5 h 7 min');
SELECT * FROM pg_temp.dispatch('5 h 11 min');
ROLLBACK;

-- A resolved alert that nobody was told of is not told; send_resolved.
BEGIN;
SELECT pipeline.create_channel('d chat', 'log'), pipeline.create_channel('d quiet', 'log');
SELECT pipeline.create_route('d all', '{}', '{d chat}', continue_matching => true, group_by => '{}');
SELECT pipeline.create_route('d quiet', '{}', '{d quiet}', send_resolved => false, group_by => '{}', group_wait => '0');
SELECT pg_temp.raise('0', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('1 s');
SELECT pg_temp.raise('5 s', 'B', '{}') AS b \gset
SELECT pipeline.resolve_alert(:b);
SELECT * FROM pg_temp.dispatch('10 s');
SELECT pipeline.resolve_alert(:a);
SELECT * FROM pg_temp.dispatch('20 s');
SELECT * FROM pg_temp.dispatch('30 s');
SELECT * FROM pg_temp.dispatch('5 min 1 s');
SELECT count(*) AS groups FROM pipeline.alert_groups WHERE route LIKE 'd %';
-- Fired again: told again, though the end was not told.
SELECT pg_temp.raise('6 min', 'A', '{}') > :a AS again;
SELECT * FROM pg_temp.dispatch('6 min');
ROLLBACK;

-- The tree: first match, continue, the default; an old alert does not wait.
BEGIN;
SELECT pipeline.create_channel('d ' || c, 'log') FROM unnest('{root,sales,night,critical}'::text[]) c;
SELECT pipeline.create_route('d root', '{severity!=info}', '{d root}', group_wait => '0');
SELECT pipeline.create_route('d critical', '{severity=critical}', '{d critical}', 'd root', 1, continue_matching => true);
SELECT pipeline.create_route('d sales', '{pipeline=sales}', '{d sales}', 'd root', 2, group_wait => '1 min');
SELECT pipeline.create_route('d night', '{task=night}', '{d night}', 'd root', 3);
SELECT pg_temp.raise('0', 'Other', '{"pipeline": "x"}'), pg_temp.raise('0', 'Info', '{"pipeline": "sales"}', 'info'),
  pg_temp.raise('0', 'Both', '{"pipeline": "sales", "task": "night"}', 'critical'), pg_temp.raise('-2 min', 'Old', '{"pipeline": "sales"}') \gset ignored
SELECT sent, "to", route, what FROM pg_temp.dispatch('1 s');
SELECT lower(labels ->> 'alertname') AS alert, array_agg(g.route ORDER BY g.route) AS routes FROM pipeline.alert_group_members m
JOIN pipeline.alerts a USING (alert_id) JOIN pipeline.alert_groups g USING (group_id) WHERE g.route LIKE 'd %' GROUP BY 1 ORDER BY 1;
-- Its severity moves an alert to another route: the old one hears of its end.
SELECT pg_temp.raise('2 s', 'Other', '{"pipeline": "x"}', 'critical') \gset ignored
SELECT sent, "to", route, what FROM pg_temp.dispatch('2 s');
SELECT sent, "to", route, what FROM pg_temp.dispatch('5 min 1 s');
SELECT message -> 'alerts' -> 0 ->> 'note' AS note FROM pipeline.notifications WHERE channel = 'd root' ORDER BY notification_id DESC LIMIT 1;
-- Routes that change: what is open is routed again.
SELECT pipeline.alter_route('d night', '{"matchers": ["{pipeline=x}"]}'), pipeline.alter_route('d critical', '{"matchers": ["{severity=none}"]}');
SELECT sent, "to", route, what FROM pg_temp.dispatch('6 min');
SELECT sent, "to", route, what FROM pg_temp.dispatch('10 min 2 s');
SELECT lower(labels ->> 'alertname') AS alert, array_agg(g.route ORDER BY g.route) AS routes FROM pipeline.alert_group_members m
JOIN pipeline.alerts a USING (alert_id) JOIN pipeline.alert_groups g USING (group_id) WHERE g.route LIKE 'd %' GROUP BY 1 ORDER BY 1;
-- A route that is dropped: those that were told hear of its end.
SELECT pipeline.drop_route('d sales');
SELECT sent, "to", route, what FROM pg_temp.dispatch('11 min');
SELECT sent, "to", route, what FROM pg_temp.dispatch('15 min 2 s');
ROLLBACK;

-- Acknowledged: whoever knows is told at once; it is not repeated until the
-- acknowledgement runs out.
BEGIN;
SELECT pipeline.create_channel('d chat', 'log');
SELECT pipeline.create_route('d all', '{}', '{d chat}', group_wait => '0', repeat_interval => '1 h');
SELECT pg_temp.raise('0', 'A', '{}') AS a \gset
SELECT * FROM pg_temp.dispatch('0');
SELECT pipeline.acknowledge(:a, 'mine', clock_timestamp() + interval '3 hours');
UPDATE pipeline.alerts SET acknowledged_until = now() + interval '3 hours' WHERE alert_id = :a;
SELECT * FROM pg_temp.dispatch('1 min');
SELECT message -> 'alerts' -> 0 ->> 'note' AS note FROM pipeline.notifications WHERE channel = 'd chat' AND event = 'acknowledged';
SELECT * FROM pg_temp.dispatch('2 h');
SELECT * FROM pg_temp.dispatch('3 h');
-- Raised after that it fires again, and is told anew.
UPDATE pipeline.alerts SET acknowledged_until = now() - interval '1 h' WHERE alert_id = :a;
SELECT pg_temp.raise('3 h 1 min', 'A', '{}') = :a AS same;
SELECT * FROM pg_temp.dispatch('3 h 1 min');
SELECT * FROM pg_temp.dispatch('3 h 5 min');
-- Acknowledged before anybody was told, or gone before: nothing to tell.
SELECT pg_temp.raise('4 h', 'B', '{"pipeline": "z"}') AS b \gset
SELECT pipeline.acknowledge(:b), pipeline.acknowledge(:a), pipeline.resolve_alert(:a);
SELECT * FROM pg_temp.dispatch('4 h');
ROLLBACK;

-- Two owners: neither hears of the other's; an administrator of both, in one
-- message.  The channels that a route names hear only what it sends.
BEGIN;
SELECT pipeline.create_channel('d root', 'log');
SELECT pipeline.create_route('d root', '{}', '{d root}', group_by => '{}', group_wait => '0');
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_channel('d alice', 'log');
SELECT pipeline.create_route('d alice', '{}', '{d alice}', group_by => '{}', group_wait => '0');
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.create_channel('d bob', 'log');
SELECT pipeline.create_route('d bob', '{}', '{d bob}', group_by => '{}', group_wait => '0');
SELECT pipeline.raise_alert('OfBob', 'of Bob', fingerprint => 'same') AS b \gset
RESET ROLE;
SELECT pg_temp.raise('0', 'OfAlice', '{}') AS a \gset
SELECT channels FROM pipeline.alert_events WHERE alert_id IN (:a, :b);
SELECT sent, "to", route, what FROM pg_temp.dispatch('1 s') ORDER BY "to";
SELECT channel, owner FROM pipeline.notifications WHERE route LIKE 'd %' ORDER BY 1;
SET LOCAL ROLE pipeline_bob;
SELECT channel FROM pipeline.notifications WHERE route LIKE 'd %';
SELECT route FROM pipeline.alert_groups WHERE route LIKE 'd %';
SELECT alert_id = :b AS mine, count(*) FROM pipeline.alert_group_members JOIN pipeline.alert_groups USING (group_id) WHERE alert_id IN (:a, :b) GROUP BY 1;
SELECT count(*) FROM pipeline.alert_group_members WHERE alert_id = :a;
SELECT channel FROM pipeline.alert_group_channels WHERE channel LIKE 'd %';
-- Taken away: the channel is not his any more, and nothing is sent there.
RESET ROLE;
UPDATE pipeline.channels SET owner = 'pipeline_alice' WHERE name = 'd bob';
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.raise_alert('OfBob2', 'of Bob') > 0 AS raised;
RESET ROLE;
SELECT sent, "to", route, what FROM pg_temp.dispatch('6 min') ORDER BY "to";
SELECT sent, "to", route, what FROM pg_temp.dispatch('10 min 1 s') ORDER BY "to";
ROLLBACK;

-- A channel that was granted; taken back, nothing is sent there.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_channel('d alice', 'log');
SELECT pipeline.grant_channel('d alice', 'pipeline_bob');
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.create_route('d bob', '{}', '{d alice}', group_by => '{}', group_wait => '0', group_interval => '1 min');
SELECT pipeline.raise_alert('OfBob', 'of Bob') AS b \gset
RESET ROLE;
-- That Bob names it keeps nothing from Alice: her channel still tells her.
SELECT pg_temp.raise('0', 'OfAlice', '{}') AS a \gset
SELECT alert_id = :a AS of_alice, channels FROM pipeline.alert_events WHERE alert_id IN (:a, :b) ORDER BY 1;
SELECT sent, "to", route, what FROM pg_temp.dispatch('1 s');
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.revoke_channel('d alice', 'pipeline_bob');
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.resolve_alert(:b);
RESET ROLE;
SELECT sent, "to", route, what FROM pg_temp.dispatch('1 min 1 s');
ROLLBACK;

-- The default route: channels over the network that nobody names, by pipeline, at once.
BEGIN;
SELECT pipeline.create_channel('d root', 'log');
SET LOCAL ROLE pipeline_alice;
SELECT count(pipeline.create_channel(c, 'log')) FROM unnest('{d hook,d named,d feed}'::text[]) c;
SELECT pipeline.create_route('d some', '{severity=critical}', '{d named}', group_wait => '0');
RESET ROLE;
UPDATE pipeline.channels SET kind = 'webhook' WHERE name IN ('d root', 'd hook', 'd named');
SELECT pg_temp.raise('0', 'A', '{"pipeline": "p"}') AS a, pg_temp.raise('0', 'B', '{"pipeline": "q"}') AS b, pg_temp.raise('0', 'C', '{"pipeline": "p"}', 'critical') AS c \gset
SELECT sent, "to", route, what FROM pg_temp.dispatch('0') ORDER BY "to", what;
SELECT pipeline.resolve_alert(:a), pipeline.resolve_alert(:b), pipeline.resolve_alert(:c);
SELECT sent, "to", route, what FROM pg_temp.dispatch('5 min') ORDER BY "to", what;
ROLLBACK;

-- A route that opens incidents: one for each owner, joined by what comes later.
BEGIN;
SELECT pipeline.create_channel('d chat', 'log');
SELECT pipeline.create_route('d all', '{}', '{d chat}', group_by => '{}', group_wait => '0', group_interval => '1 min', opens_incident => true);
SELECT pg_temp.raise('0', 'A', '{}', 'critical') AS a \gset
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.raise_alert('OfBob', 'of Bob') AS b \gset
RESET ROLE;
SELECT sent, what FROM pg_temp.dispatch('1 s');
SELECT pg_temp.raise('10 s', 'C', '{}') AS c \gset
SELECT sent, what FROM pg_temp.dispatch('1 min 1 s');
SELECT i.title, i.severity, i.owner, i.state, (SELECT count(*) FROM pipeline.incident_alerts x WHERE x.incident_id = i.incident_id) AS alerts
FROM pipeline.incidents i JOIN pipeline.incident_alerts ia USING (incident_id) WHERE ia.alert_id IN (:a, :b) ORDER BY 1;
ROLLBACK;

-- Names that have to be quoted, many alerts, long texts.
BEGIN;
SELECT pipeline.create_channel('d "ü" {,}', 'log');
SELECT pipeline.create_route('d "r" ''{}', ARRAY['alertname=~"ü.*"'], ARRAY['d "ü" {,}'], group_by => '{}', group_wait => '0');
DO $$ BEGIN FOR i IN 1..150 LOOP PERFORM pipeline.raise_alert('ü "' || i, repeat('x', 2000), labels => jsonb_build_object('n', i::text)); END LOOP; END $$;
SELECT pipeline._dispatch_alerts(now() + interval '1 s') > 0 AS next;
SELECT route, cardinality(alert_ids), jsonb_array_length(message -> 'alerts') AS shown, message -> 'omitted' AS omitted, left(message ->> 'title', 20) AS title, message -> 'common_labels' AS common
FROM pipeline.notifications WHERE channel LIKE 'd "%';
ROLLBACK;
SELECT count(*) FROM pipeline.alert_groups WHERE route LIKE 'd %';

-- An alert and the routes change before one dispatch: it is routed once, by the new ones.
BEGIN;
SELECT pipeline.create_channel('d old', 'log'), pipeline.create_channel('d new', 'log');
SELECT pipeline.create_route('d r', '{}', '{d old}', group_wait => '0', group_by => '{}');
SELECT pg_temp.raise('0', 'A', '{}') AS a, pg_temp.raise('0', 'B', '{}') AS b \gset
SELECT sent, "to", what FROM pg_temp.dispatch('1 s');
SELECT pg_temp.raise('2 s', 'A', '{}', 'critical'), pg_temp.raise('2 s', 'C', '{}'), pipeline.acknowledge(:b) \gset ignored
SELECT pipeline.create_route('d q', '{}', '{d new}', priority => -1, group_wait => '0', group_by => '{}');
SELECT sent, "to", what FROM pg_temp.dispatch('2 s');
SELECT sent, "to", what FROM pg_temp.dispatch('6 min');
ROLLBACK;

-- What is not taken up is found.
BEGIN;
SELECT pipeline.create_channel('d chat', 'log'), pg_temp.raise('0', 'A', '{}') > 0 AS raised;
SELECT count(*) FROM pipeline.doctor() WHERE finding = 'alerts_not_routed';
UPDATE pipeline.alert_events SET at = at - interval '2 minutes' WHERE dispatched_at IS NULL;
SELECT severity, regexp_replace(detail, 'for .*:', 'for a while:') AS detail FROM pipeline.doctor() WHERE finding = 'alerts_not_routed';
ROLLBACK;

-- An event that cannot be dispatched is put aside, and the others go on.
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.group_labels ->> 'n' = '2' THEN RAISE 'this group is not to be'; END IF;
  RETURN NEW;
END $$;
BEGIN;
SELECT pipeline.create_channel('d chat', 'log');
SELECT pipeline.create_route('d r', '{}', '{d chat}', group_by => '{n}', group_wait => '0');
DO $$ BEGIN FOR i IN 1..3 LOOP PERFORM pg_temp.raise('0', 'A' || i, jsonb_build_object('n', i::text)); END LOOP; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON pipeline.alert_groups FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SET LOCAL client_min_messages = error;
SELECT sent, what FROM pg_temp.dispatch('1 s');
SELECT a.alertname, e.event, e.error FROM pipeline.alert_events e JOIN pipeline.alerts a USING (alert_id) WHERE e.error IS NOT NULL AND a.alertname LIKE 'A_';
SELECT severity, detail, hint FROM (SELECT severity, detail, fix AS hint FROM pipeline.doctor() WHERE finding = 'alerts_put_aside') f;
-- Mended, and asked for again.
DROP TRIGGER refuse ON pipeline.alert_groups;
UPDATE pipeline.alert_events SET dispatched_at = NULL, error = NULL WHERE error IS NOT NULL;
SELECT sent, what FROM pg_temp.dispatch('2 s');
ROLLBACK;
