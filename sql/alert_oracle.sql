-- Random sequences of events against a naive model of Alertmanager's dispatcher
-- and notification pipeline, with the digests and escalations that are ours:
-- groups that look at everything at every tick.
-- \set cases N and \set first N for more of them than usual.
\set VERBOSITY terse
\if :{?cases} \else \set cases 15 \endif
\if :{?first} \else \set first 1 \endif
SET client_min_messages = warning;
SET max_stack_depth = '2MB';
-- What the model knows; times are seconds from the beginning.
CREATE TEMP TABLE m_route (name text PRIMARY KEY, owner text, parent text, priority int, label text, op text, value text, channels text[], goes_on boolean,
  group_by text[], wait int, ivl int, rep int, send_resolved boolean, mute text[], active text[], escalation text, repeats int);
CREATE TEMP TABLE m_step (escalation text, n int, on_call boolean, channels text[], wait int);
CREATE TEMP TABLE m_interval (name text, from_time int, to_time int);
CREATE TEMP TABLE m_subject (fp text PRIMARY KEY, owner text, labels jsonb, severity text);
CREATE TEMP TABLE m_alert (id bigint PRIMARY KEY, fp text, owner text, labels jsonb, severity text, state text, until int, started int, epoch int);
-- A digest takes no new alerts; woken: something happened to an alert since the last look.
CREATE TEMP TABLE m_group (id int PRIMARY KEY, route text, labels jsonb, next int, last int, woken boolean DEFAULT true, muted boolean DEFAULT false, digest boolean DEFAULT false,
  says_digest boolean DEFAULT false, step int DEFAULT 0, repeat int DEFAULT 0, step_at int, escalated text[] DEFAULT '{}');
CREATE TEMP TABLE m_member (gid int, fp text, id bigint, key text, gone boolean DEFAULT false, told boolean DEFAULT false, was_silent boolean DEFAULT false, PRIMARY KEY (gid, fp));
CREATE TEMP TABLE m_held (gid int, fp text);
CREATE TEMP TABLE m_log (gid int, channel text, firing text[], resolved text[], at int, escalation boolean, PRIMARY KEY (gid, channel));
CREATE TEMP TABLE m_silence (id int PRIMARY KEY, owner text, label text, value text, starts int, ends int, until_resolved boolean, real bigint);
CREATE TEMP TABLE m_inhibition (owner text, source text, target text, equal text[]);
CREATE TEMP TABLE m_sent (at int, channel text, event text, what text);
CREATE TEMP TABLE m_now (fp text, key text, over boolean, gone boolean, silent boolean, told boolean, was boolean, acked boolean, shown text);
-- And what the engine sends.
CREATE TEMP TABLE o_sent (at int, channel text, event text, what text);
GRANT ALL ON m_route, m_inhibition, m_step TO PUBLIC;
-- The naive functions.
CREATE FUNCTION pg_temp.true_of(label text, op text, value text, labels jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE op WHEN '=' THEN coalesce(labels ->> label, '') = value WHEN '!=' THEN coalesce(labels ->> label, '') <> value
    WHEN '=~' THEN coalesce(labels ->> label, '') ~ ('^(?:' || value || ')$') WHEN '!~' THEN coalesce(labels ->> label, '') !~ ('^(?:' || value || ')$') ELSE true END $$;
CREATE FUNCTION pg_temp.labels_of(a m_alert) RETURNS jsonb LANGUAGE sql AS $$ SELECT a.labels || jsonb_build_object('severity', a.severity) $$;
CREATE FUNCTION pg_temp.key_of(a m_alert) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws('/', a.fp, a.severity, a.epoch) $$;
-- Alertmanager's Route.Match, below a route or (NULL) among those of an owner.
CREATE FUNCTION pg_temp.match(whose text, above text, l jsonb) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  r record; found text[]; taken text[] := '{}';
BEGIN
  FOR r IN SELECT * FROM m_route m WHERE m.owner = whose AND m.parent IS NOT DISTINCT FROM above ORDER BY priority, name COLLATE "C" LOOP
    IF NOT pg_temp.true_of(r.label, r.op, r.value, l) THEN CONTINUE; END IF;
    found := pg_temp.match(whose, r.name, l);
    taken := taken || CASE WHEN found = '{}' THEN ARRAY[r.name] ELSE found END;
    EXIT WHEN NOT r.goes_on;
  END LOOP;
  RETURN taken;
END $$;
CREATE FUNCTION pg_temp.silent(a m_alert, t int) RETURNS boolean LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM m_silence s WHERE s.owner IN (a.owner, 'root') AND s.starts <= t AND s.ends > t AND pg_temp.true_of(s.label, '=', s.value, pg_temp.labels_of(a)))
    OR EXISTS (SELECT FROM m_inhibition i, m_alert x WHERE i.owner IN (a.owner, 'root') AND a.labels ->> 'kind' = i.target AND x.state <> 'resolved' AND x.labels ->> 'kind' = i.source
      AND (x.owner = a.owner OR i.owner = 'root' AND x.owner = 'root') AND NOT i.source = i.target
      AND NOT EXISTS (SELECT FROM unnest(i.equal) e WHERE coalesce(x.labels ->> e, '') <> coalesce(a.labels ->> e, ''))) $$;
CREATE FUNCTION pg_temp.muted(r m_route, t int) RETURNS boolean LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM m_interval WHERE name = ANY (r.mute) AND t >= from_time AND t < to_time)
    OR r.active <> '{}' AND NOT EXISTS (SELECT FROM m_interval WHERE name = ANY (r.active) AND t >= from_time AND t < to_time) $$;
CREATE FUNCTION pg_temp.mute_end(r m_route, t int) RETURNS int LANGUAGE sql AS $$
  SELECT min(m) FROM generate_series(t / 60 * 60 + 60, t + 3600, 60) m WHERE NOT pg_temp.muted(r, m) $$;
-- What is true of the members of a group now.
CREATE PROCEDURE pg_temp.members_now(g m_group, t int) LANGUAGE sql AS $$
  DELETE FROM m_now;
  INSERT INTO m_now SELECT m.fp, m.key, a.state = 'resolved' OR m.gone, m.gone, NOT m.gone AND pg_temp.silent(a, t), m.told, m.was_silent,
    a.state = 'acknowledged' AND coalesce(a.until, 1000000) > t, CASE WHEN a.state = 'resolved' OR m.gone THEN 'resolved' WHEN a.until <= t THEN 'firing' ELSE a.state END
  FROM m_member m JOIN m_alert a USING (id) WHERE m.gid = g.id $$;
-- The groups in which an alert belongs; a digest that has it keeps it.
CREATE PROCEDURE pg_temp.place(a m_alert, t int) LANGUAGE plpgsql AS $$
DECLARE
  l jsonb := pg_temp.labels_of(a); r record; gl jsonb; g int; stay int[] := '{}';
BEGIN
  FOR r IN SELECT m.* FROM (SELECT DISTINCT n FROM unnest(pg_temp.match(a.owner, NULL, l) || pg_temp.match('root', NULL, l)) n) x JOIN m_route m ON m.name = n LOOP
    SELECT CASE WHEN r.group_by = '{...}' THEN l ELSE coalesce(jsonb_object_agg(b, l ->> b) FILTER (WHERE l ? b), '{}') END INTO gl FROM unnest(r.group_by) b;
    SELECT gid INTO g FROM m_member m JOIN m_group ON m_group.id = gid WHERE m.id = a.id AND NOT gone AND digest AND route = r.name;
    IF g IS NULL THEN SELECT id INTO g FROM m_group WHERE route = r.name AND labels = gl AND NOT digest; END IF;
    IF g IS NULL THEN
      SELECT coalesce(max(id), 0) + 1 INTO g FROM m_group;
      INSERT INTO m_group VALUES (g, r.name, gl, CASE WHEN a.started + r.wait < t THEN t ELSE t + r.wait END, t);
    END IF;
    stay := stay || g;
    INSERT INTO m_member VALUES (g, a.fp, a.id, pg_temp.key_of(a)) ON CONFLICT (gid, fp) DO UPDATE SET id = a.id, key = excluded.key, gone = false;
  END LOOP;
  UPDATE m_member SET gone = true WHERE id = a.id AND NOT gid = ANY (stay);
END $$;
-- Alertmanager's pipeline for one channel of a group: deduplicate, send, log.
CREATE PROCEDURE pg_temp.tell(g m_group, r m_route, c text, t int) LANGUAGE plpgsql AS $$
DECLARE
  e m_log; f text[]; o text[]; event text; acked boolean;
BEGIN
  SELECT coalesce(array_agg(key), '{}'), coalesce(bool_and(n.acked), true) INTO f, acked FROM m_now n WHERE NOT over AND NOT silent;
  SELECT * INTO e FROM m_log WHERE gid = g.id AND channel = c;
  SELECT coalesce(array_agg(key), '{}') INTO o FROM m_now
  WHERE over AND NOT (NOT told AND (was OR g.muted)) AND ((NOT gone AND NOT silent) OR key = ANY (e.firing));
  event := CASE
    WHEN NOT c = ANY (r.channels) THEN CASE WHEN f = '{}' AND e.firing <> '{}' AND o <> '{}' THEN 'resolved' END
    WHEN e.gid IS NULL THEN CASE WHEN f <> '{}' THEN 'firing' END
    WHEN NOT f <@ e.firing THEN 'firing'
    WHEN f = '{}' THEN CASE WHEN e.firing <> '{}' AND o <> '{}' THEN 'resolved' END
    WHEN r.send_resolved AND NOT o <@ e.resolved THEN 'firing'
    WHEN e.at + r.rep <= t AND NOT acked THEN 'repeat' END;
  IF event IS NULL THEN RETURN; END IF;
  IF event <> 'resolved' OR r.send_resolved THEN
    INSERT INTO m_sent SELECT t, c, CASE WHEN event = 'firing' AND g.says_digest THEN 'digest' ELSE event END, string_agg(fp || ' ' || shown, ', ' ORDER BY fp) FROM m_now
    WHERE key = ANY (f) AND NOT over OR r.send_resolved AND over AND key = ANY (o);
    UPDATE m_now SET told = true WHERE key = ANY (f) AND NOT over;
  END IF;
  INSERT INTO m_log VALUES (g.id, c, f, o, t, NOT c = ANY (r.channels)) ON CONFLICT (gid, channel) DO UPDATE SET firing = f, resolved = o, at = t;
END $$;
-- Begin, go on with or stop the escalation of a group; m_now is of now.
CREATE PROCEDURE pg_temp.escalate(INOUT g m_group, r m_route, t int) LANGUAGE plpgsql AS $$
DECLARE
  open text[]; pending text[]; s m_step; c text; n int := (SELECT count(*) FROM m_step WHERE escalation = r.escalation);
BEGIN
  IF r.escalation IS NULL THEN RETURN; END IF;
  SELECT coalesce(array_agg(key), '{}'), coalesce(array_agg(key) FILTER (WHERE NOT silent), '{}') INTO open, pending FROM m_now WHERE NOT over AND NOT acked;
  g.escalated := ARRAY(SELECT unnest(g.escalated) INTERSECT SELECT unnest(open));
  IF open = '{}' THEN g.step := 0; g.repeat := 0; g.step_at := NULL; RETURN; END IF;
  -- What is silent waits.
  IF pending = '{}' THEN g.step_at := CASE WHEN g.step_at <= t THEN CASE WHEN g.next > t THEN g.next ELSE t + r.ivl END ELSE g.step_at END; RETURN; END IF;
  IF g.step_at > t OR g.step_at IS NULL AND pending <@ g.escalated THEN RETURN; END IF;
  IF g.step_at IS NULL THEN g.step := 0; g.repeat := 0; END IF;
  IF g.step >= n THEN g.step := 0; g.repeat := g.repeat + 1; END IF;
  g.step := g.step + 1;
  SELECT * INTO s FROM m_step WHERE escalation = r.escalation AND m_step.n = g.step;
  -- On call: two people, three minutes each; the second instead of the first for a while.
  FOR c IN SELECT DISTINCT unnest(s.channels || CASE WHEN s.on_call THEN ARRAY['o ' || r.owner || CASE WHEN t / 180 % 2 = 1 OR t >= 400 AND t < 700 THEN ' 4' ELSE ' 3' END] END) LOOP
    INSERT INTO m_sent SELECT t, c, 'escalation', string_agg(fp || ' ' || shown, ', ' ORDER BY fp) FROM m_now WHERE key = ANY (pending) AND NOT over;
    IF NOT c = ANY (r.channels) THEN
      INSERT INTO m_log VALUES (g.id, c, pending, '{}', t, true) ON CONFLICT (gid, channel) DO UPDATE SET firing = pending, resolved = '{}', at = t;
    END IF;
  END LOOP;
  UPDATE m_now SET told = true WHERE key = ANY (pending) AND NOT over;
  IF g.step < n OR g.repeat < r.repeats THEN g.step_at := t + s.wait; ELSE g.step_at := NULL; g.escalated := g.escalated || pending; END IF;
END $$;
-- What several groups of a route held back becomes one group; of one it is called a digest.
CREATE PROCEDURE pg_temp.make_digest(r m_route, t int) LANGUAGE plpgsql AS $$
DECLARE
  held int[] := ARRAY(SELECT id FROM m_group WHERE route = r.name AND muted AND next = t); new int := (SELECT max(id) + 1 FROM m_group);
BEGIN
  DELETE FROM m_held;
  INSERT INTO m_held SELECT m.gid, m.fp FROM m_member m JOIN m_alert a USING (id)
  WHERE m.gid = ANY (held) AND NOT m.gone AND NOT m.told AND a.state <> 'resolved' AND NOT pg_temp.silent(a, t);
  IF (SELECT count(DISTINCT gid) FROM m_held) > 1 THEN
    INSERT INTO m_group (id, route, next, muted, digest) VALUES (new, r.name, t, true, true);
    UPDATE m_member m SET gid = new FROM m_held h WHERE m.gid = h.gid AND m.fp = h.fp;
    UPDATE m_held SET gid = new;
  END IF;
  UPDATE m_group SET says_digest = true WHERE id IN (SELECT gid FROM m_held);
END $$;
-- Is there anything that a look would be for?  Else the engine does not look, and a mute has nothing to hold back.
CREATE FUNCTION pg_temp.worth_a_look(g m_group, r m_route, t int) RETURNS boolean LANGUAGE sql AS $$
  SELECT g.woken OR g.muted OR EXISTS (SELECT FROM m_now WHERE over OR was)
    OR EXISTS (SELECT FROM m_log WHERE gid = g.id AND NOT escalation AND at + r.rep <= t) AND EXISTS (SELECT FROM m_now WHERE NOT acked)
    OR r.escalation IS NOT NULL AND EXISTS (SELECT FROM m_member m JOIN m_alert a USING (id) WHERE gid = g.id AND a.state = 'acknowledged' AND a.until > g.last AND a.until <= t) $$;
-- A tick of a group.
CREATE PROCEDURE pg_temp.look(g m_group, t int) LANGUAGE plpgsql AS $$
DECLARE
  r m_route; c text; worth boolean;
BEGIN
  SELECT * INTO r FROM m_route WHERE name = g.route;
  CALL pg_temp.members_now(g, t);
  worth := pg_temp.worth_a_look(g, r, t);
  IF pg_temp.muted(r, t) THEN
    IF NOT worth THEN UPDATE m_group SET next = t + r.ivl, last = t WHERE id = g.id; RETURN; END IF;
    DELETE FROM m_member m USING m_now n WHERE m.gid = g.id AND n.fp = m.fp AND n.over AND NOT n.told;
    UPDATE m_member SET was_silent = true WHERE gid = g.id;
    UPDATE m_group SET muted = true, woken = false, next = pg_temp.mute_end(r, t), last = t WHERE id = g.id;
    DELETE FROM m_group x WHERE id = g.id AND NOT EXISTS (SELECT FROM m_member m WHERE m.gid = g.id);
    RETURN;
  END IF;
  IF g.muted THEN
    CALL pg_temp.make_digest(r, t);
    SELECT * INTO g FROM m_group WHERE id = g.id;
    CALL pg_temp.members_now(g, t);
  END IF;
  FOR c IN SELECT unnest(r.channels) UNION SELECT channel FROM m_log WHERE gid = g.id LOOP CALL pg_temp.tell(g, r, c, t); END LOOP;
  CALL pg_temp.escalate(g, r, t);
  DELETE FROM m_member m USING m_now n WHERE m.gid = g.id AND n.fp = m.fp AND n.over;
  UPDATE m_member m SET told = n.told, was_silent = CASE WHEN worth THEN n.silent ELSE m.was_silent END FROM m_now n WHERE m.gid = g.id AND n.fp = m.fp;
  UPDATE m_group SET next = t + r.ivl, last = t, woken = false, muted = false, says_digest = false,
    step = g.step, repeat = g.repeat, step_at = g.step_at, escalated = g.escalated WHERE id = g.id;
  DELETE FROM m_group x WHERE id = g.id AND NOT EXISTS (SELECT FROM m_member m WHERE m.gid = g.id);
  DELETE FROM m_log l WHERE NOT EXISTS (SELECT FROM m_group x WHERE x.id = l.gid);
END $$;
-- A step that is due; in a mute it waits.
CREATE PROCEDURE pg_temp.step(g m_group, t int) LANGUAGE plpgsql AS $$
DECLARE
  r m_route;
BEGIN
  SELECT * INTO r FROM m_route WHERE name = g.route;
  IF pg_temp.muted(r, t) THEN
    g.step_at := pg_temp.mute_end(r, t);
  ELSE
    CALL pg_temp.members_now(g, t);
    CALL pg_temp.escalate(g, r, t);
    UPDATE m_member m SET told = n.told FROM m_now n WHERE m.gid = g.id AND n.fp = m.fp;
  END IF;
  UPDATE m_group SET step = g.step, repeat = g.repeat, step_at = g.step_at, escalated = g.escalated WHERE id = g.id;
END $$;
-- All ticks and steps before a time, or up to it.
CREATE PROCEDURE pg_temp.advance(t int, upto boolean) LANGUAGE plpgsql AS $$
DECLARE
  g m_group; due int;
BEGIN
  LOOP
    SELECT min(least(next, step_at)) INTO due FROM m_group;
    EXIT WHEN due IS NULL OR due > t OR (due = t AND NOT upto);
    LOOP
      SELECT * INTO g FROM m_group WHERE next = due ORDER BY id LIMIT 1;
      EXIT WHEN NOT FOUND;
      CALL pg_temp.look(g, due);
    END LOOP;
    FOR g IN SELECT * FROM m_group WHERE step_at = due ORDER BY id LOOP CALL pg_temp.step(g, due); END LOOP;
  END LOOP;
END $$;
-- The engine likewise: as often as it says that it is due.
CREATE PROCEDURE pg_temp.dispatch(origin timestamptz, at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  before bigint := (SELECT coalesce(max(notification_id), 0) FROM pipeline.notifications);
BEGIN
  PERFORM pipeline._dispatch_alerts(at);
  INSERT INTO o_sent SELECT extract(epoch FROM at - origin), n.channel, n.event,
    (SELECT string_agg((a ->> 'fingerprint') || ' ' || (a ->> 'state'), ', ' ORDER BY a ->> 'fingerprint') FROM jsonb_array_elements(n.message -> 'alerts') a)
  FROM pipeline.notifications n WHERE n.notification_id > before AND n.channel LIKE 'o %';
END $$;
CREATE PROCEDURE pg_temp.run(origin timestamptz, t int) LANGUAGE plpgsql AS $$
DECLARE
  due timestamptz;
BEGIN
  LOOP
    SELECT min(least(next_flush_at, escalate_at)) INTO due FROM pipeline.alert_groups WHERE route LIKE 'o %';
    EXIT WHEN due IS NULL OR due >= origin + t * interval '1 s';
    CALL pg_temp.dispatch(origin, due);
  END LOOP;
END $$;
CREATE FUNCTION pg_temp.pick(choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION pg_temp.chance(p float) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT random() < p $$;
CREATE PROCEDURE pg_temp.as_role(who text) LANGUAGE plpgsql AS $$ BEGIN IF who <> 'root' THEN EXECUTE format('SET LOCAL ROLE %I', 'pipeline_' || who); END IF; END $$;
-- Escalation and routes of somebody, in the model and in the engine.
CREATE PROCEDURE pg_temp.make_routes(whose text, n int) LANGUAGE plpgsql AS $$
DECLARE
  r m_route; parents text[] := '{}'; o text := 'o ' || whose; repeats int := floor(random() * 3);
BEGIN
  PERFORM pipeline.create_on_call(o, jsonb_build_object('start', '2030-01-01 00:00', 'shift', '3 minutes', 'people',
    jsonb_build_array(jsonb_build_object('name', 'A', 'channels', ARRAY[o || ' 3']), jsonb_build_object('name', 'B', 'channels', ARRAY[o || ' 4']))), 'UTC');
  PERFORM pipeline.override_on_call(o, 'B', '2030-01-01 00:06:40+00', '2030-01-01 00:11:40+00');
  INSERT INTO m_step SELECT o, i, pg_temp.chance(0.4), ARRAY[o || ' ' || pg_temp.pick('{1,2,3,4}')], pg_temp.pick('{15,40,100}')::int FROM generate_series(1, 1 + floor(random() * 3)::int) i;
  PERFORM pipeline.create_escalation(o, (SELECT jsonb_agg(jsonb_build_object('channels', s.channels, 'wait', s.wait || ' s') || CASE WHEN s.on_call THEN jsonb_build_object('on_call', o) ELSE '{}' END ORDER BY s.n)
    FROM m_step s WHERE s.escalation = o), repeats);
  FOR i IN 1..n LOOP
    r.name := o || i; r.owner := whose; r.parent := CASE WHEN i > 1 AND pg_temp.chance(0.6) THEN pg_temp.pick(parents) END;
    r.priority := floor(random() * 3); r.label := pg_temp.pick('{team,pipeline,severity,kind}'); r.op := pg_temp.pick('{all,=,=,!=,=~,!~}');
    r.value := CASE r.label WHEN 'team' THEN pg_temp.pick('{a,b,"a|b",".*",""}') WHEN 'pipeline' THEN pg_temp.pick('{p,q,"p|",".+"}')
      WHEN 'kind' THEN pg_temp.pick('{X,Y,"X|Y"}') ELSE pg_temp.pick('{error,critical,"error|critical"}') END;
    r.channels := CASE WHEN pg_temp.chance(0.3) THEN ARRAY[o || ' 1', o || ' 2'] ELSE ARRAY[o || ' ' || pg_temp.pick('{1,2}')] END;
    r.goes_on := pg_temp.chance(0.3);
    r.group_by := CASE floor(random() * 5)::int WHEN 0 THEN '{}'::text[] WHEN 1 THEN '{team}' WHEN 2 THEN '{pipeline}' WHEN 3 THEN '{...}' ELSE '{team,severity}' END;
    r.wait := pg_temp.pick('{0,5,20}'); r.ivl := pg_temp.pick('{10,30,60}'); r.rep := pg_temp.pick('{25,60,130}'); r.send_resolved := pg_temp.chance(0.8);
    r.mute := CASE WHEN pg_temp.chance(0.3) THEN ARRAY[pg_temp.pick('{o early,o late}')] ELSE '{}' END;
    r.active := CASE WHEN pg_temp.chance(0.15) THEN '{o open}' ELSE '{}' END::text[];
    r.escalation := CASE WHEN pg_temp.chance(0.35) THEN o END; r.repeats := repeats;
    INSERT INTO m_route SELECT r.*;
    parents := parents || r.name;
    PERFORM pipeline.create_route(r.name, CASE WHEN r.op = 'all' THEN '{}'::text[] ELSE ARRAY[format('%s%s"%s"', r.label, r.op, r.value)] END, r.channels, r.parent, r.priority, r.goes_on,
      r.group_by, r.wait * interval '1 s', r.ivl * interval '1 s', r.rep * interval '1 s', r.send_resolved, r.mute, r.active, r.escalation);
  END LOOP;
END $$;
CREATE PROCEDURE pg_temp.make_world() LANGUAGE plpgsql AS $$
DECLARE
  who text; i record;
BEGIN
  INSERT INTO m_interval VALUES ('o early', 60, 240), ('o early', 540, 660), ('o late', 180, 420), ('o late', 900, 1200), ('o open', 0, 300), ('o open', 480, 900), ('o open', 1080, 3600);
  PERFORM pipeline.create_time_interval(name, jsonb_build_object('times', jsonb_agg(jsonb_build_object('start_time', to_char(from_time * interval '1 s', 'HH24:MI'),
    'end_time', to_char(to_time * interval '1 s', 'HH24:MI')))), 'UTC') FROM m_interval GROUP BY name;
  FOREACH who IN ARRAY '{root,alice,bob}'::text[] LOOP
    CALL pg_temp.as_role(who);
    PERFORM pipeline.create_channel('o ' || who || ' ' || n, 'log') FROM generate_series(1, 4) n;
    CALL pg_temp.make_routes(who, floor(random() * 5)::int);
    IF pg_temp.chance(0.5) THEN
      INSERT INTO m_inhibition SELECT who, pg_temp.pick('{X,Y,Z}'), pg_temp.pick('{X,Y,Z}'), CASE WHEN pg_temp.chance(0.3) THEN '{team,pipeline}' ELSE ARRAY[pg_temp.pick('{team,pipeline,none}')] END;
      PERFORM pipeline.create_inhibition(format('kind="%s"', m.source), format('kind="%s"', m.target), m.equal, 'o ' || who) FROM m_inhibition m WHERE m.owner = who;
    END IF;
    RESET ROLE;
  END LOOP;
  FOR n IN 1..8 LOOP
    INSERT INTO m_subject SELECT 'f' || n, pg_temp.pick('{alice,alice,bob,bob,root}'), jsonb_strip_nulls(jsonb_build_object('team', pg_temp.pick('{a,b,NULL}'), 'pipeline', pg_temp.pick('{p,q,NULL}'),
      'kind', pg_temp.pick('{X,Y,Z}'), 'alertname', 'O' || n)), 'error';
  END LOOP;
END $$;
-- What can happen.
CREATE PROCEDURE pg_temp.raise(s m_subject, origin timestamptz, t int) LANGUAGE plpgsql AS $$
DECLARE
  a m_alert; before text; raised bigint;
BEGIN
  SELECT * INTO a FROM m_alert WHERE fp = s.fp AND state <> 'resolved';
  before := a.severity;
  s.severity := CASE WHEN pg_temp.chance(0.3) THEN pg_temp.pick('{warning,error,critical}') ELSE s.severity END;
  UPDATE m_subject SET severity = s.severity WHERE fp = s.fp;
  -- The engine asks the clock whether an acknowledgement has run out.
  UPDATE pipeline.alerts SET acknowledged_until = CASE WHEN coalesce(a.until, 1000000) <= t THEN '2000-01-01'::timestamptz ELSE 'infinity' END WHERE alert_id = a.id AND a.state = 'acknowledged';
  CALL pg_temp.as_role(s.owner);
  raised := pipeline.raise_alert('O' || substr(s.fp, 2), s.fp, s.severity, s.labels - 'alertname', fingerprint => s.fp);
  RESET ROLE;
  IF a.id IS NULL THEN
    INSERT INTO m_alert VALUES (raised, s.fp, s.owner, s.labels, s.severity, 'firing', NULL, t, 0);
    UPDATE pipeline.alerts SET started_at = origin + t * interval '1 s' WHERE alert_id = raised;
  ELSIF a.state = 'acknowledged' AND coalesce(a.until, 1000000) <= t THEN
    UPDATE m_alert SET state = 'firing', epoch = epoch + 1, until = NULL, severity = s.severity WHERE id = a.id;
    before := NULL;
  ELSE
    UPDATE pipeline.alerts SET acknowledged_until = origin + a.until * interval '1 s' WHERE alert_id = a.id AND a.state = 'acknowledged';
    UPDATE m_alert SET severity = s.severity WHERE id = a.id;
  END IF;
  SELECT * INTO a FROM m_alert WHERE id = raised;
  IF before IS DISTINCT FROM s.severity THEN
    CALL pg_temp.place(a, t);
    UPDATE m_group SET woken = true WHERE id IN (SELECT gid FROM m_member WHERE id = a.id);
  END IF;
END $$;
CREATE PROCEDURE pg_temp.resolve(a m_alert, t int) LANGUAGE plpgsql AS $$
DECLARE
  s m_silence;
BEGIN
  PERFORM pipeline.resolve_alert(a.id);
  UPDATE m_alert SET state = 'resolved' WHERE id = a.id;
  UPDATE m_group SET woken = true WHERE id IN (SELECT gid FROM m_member WHERE id = a.id);
  FOR s IN SELECT * FROM m_silence x WHERE x.until_resolved AND x.starts <= t AND x.ends > t AND x.owner IN (a.owner, 'root') AND pg_temp.true_of(x.label, '=', x.value, pg_temp.labels_of(a)) LOOP
    IF NOT EXISTS (SELECT FROM m_alert o WHERE o.state <> 'resolved' AND s.owner IN (o.owner, 'root') AND pg_temp.true_of(s.label, '=', s.value, pg_temp.labels_of(o))) THEN
      UPDATE m_silence SET ends = t WHERE id = s.id;
    END IF;
  END LOOP;
END $$;
CREATE PROCEDURE pg_temp.acknowledge(a m_alert, origin timestamptz, t int) LANGUAGE plpgsql AS $$
BEGIN
  a.until := CASE WHEN pg_temp.chance(0.5) THEN t + 1 + floor(random() * 200)::int END;
  PERFORM pipeline.acknowledge(a.id);
  UPDATE pipeline.alerts SET acknowledged_until = origin + a.until * interval '1 s' WHERE alert_id = a.id;
  UPDATE m_alert SET state = 'acknowledged', until = a.until WHERE id = a.id;
  UPDATE m_group SET woken = true WHERE id IN (SELECT gid FROM m_member WHERE id = a.id);
  INSERT INTO m_sent SELECT t, l.channel, 'acknowledged', a.fp || ' acknowledged' FROM m_log l JOIN m_member m ON m.gid = l.gid JOIN m_group g ON g.id = l.gid
    JOIN m_route r ON r.name = g.route
  WHERE m.id = a.id AND NOT m.gone AND m.key = ANY (l.firing) AND NOT pg_temp.muted(r, t);
END $$;
CREATE PROCEDURE pg_temp.silence(step int, origin timestamptz, t int) LANGUAGE plpgsql AS $$
BEGIN
  IF pg_temp.chance(0.2) THEN
    -- Expire one.
    UPDATE m_silence SET ends = t WHERE id = (SELECT id FROM m_silence WHERE starts <= t AND ends > t ORDER BY id LIMIT 1);
    UPDATE pipeline.silences p SET ends_at = origin + t * interval '1 s' FROM m_silence m WHERE m.real = p.silence_id AND m.ends = t;
    RETURN;
  END IF;
  INSERT INTO m_silence SELECT step, pg_temp.pick('{root,alice,bob}'), l, CASE l WHEN 'team' THEN pg_temp.pick('{a,b}') WHEN 'severity' THEN pg_temp.pick('{error,critical}') ELSE pg_temp.pick('{X,Y}') END,
    t + CASE WHEN pg_temp.chance(0.3) THEN floor(random() * 60)::int ELSE 0 END, CASE WHEN pg_temp.chance(0.3) THEN 1000000 ELSE t + 65 + floor(random() * 150)::int END, false FROM pg_temp.pick('{team,severity,kind}') l;
  UPDATE m_silence SET until_resolved = ends = 1000000 WHERE id = step;
  WITH made AS (INSERT INTO pipeline.silences (owner, created_by, matchers, starts_at, ends_at, until_resolved)
    SELECT CASE x.owner WHEN 'root' THEN current_user::regrole ELSE ('pipeline_' || x.owner)::regrole END, current_user::regrole, format('%s="%s"', x.label, x.value),
      origin + x.starts * interval '1 s', CASE WHEN x.ends = 1000000 THEN 'infinity' ELSE origin + x.ends * interval '1 s' END, x.until_resolved FROM m_silence x WHERE x.id = step RETURNING silence_id)
  UPDATE m_silence SET real = silence_id FROM made WHERE id = step;
END $$;
-- Routes of one owner change their order: all that is open is placed again.
CREATE PROCEDURE pg_temp.reorder(t int) LANGUAGE plpgsql AS $$
DECLARE
  r m_route; a m_alert;
BEGIN
  SELECT * INTO r FROM m_route ORDER BY random() LIMIT 1;
  IF NOT FOUND THEN RETURN; END IF;
  r.priority := (r.priority + 1 + floor(random() * 2)::int) % 3;
  UPDATE m_route SET priority = r.priority WHERE name = r.name;
  PERFORM pipeline.alter_route(r.name, jsonb_build_object('priority', r.priority));
  UPDATE m_group SET next = t WHERE muted AND route IN (SELECT name FROM m_route WHERE r.owner IN (owner, 'root'));
  FOR a IN SELECT * FROM m_alert WHERE state <> 'resolved' AND r.owner IN (owner, 'root') ORDER BY id LOOP
    CALL pg_temp.place(a, t);
    UPDATE m_group SET woken = true WHERE id IN (SELECT gid FROM m_member WHERE id = a.id);
  END LOOP;
END $$;
-- One case; returns what differs.
CREATE FUNCTION pg_temp.run_case(seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  origin timestamptz := '2030-01-01 00:00+00'; t int := 0; s m_subject; a m_alert; what float; difference text;
BEGIN
  PERFORM setseed(seed / 1000003.0);
  -- Or what the cases before left behind, rolled back, is read again and again.
  TRUNCATE m_group, m_member, m_log, m_now, m_alert, m_sent, o_sent;
  CALL pg_temp.make_world();
  FOR step IN 1 .. 10 + seed % 20 LOOP
    t := t + 1 + floor(random() * random() * 120)::int;
    CALL pg_temp.advance(t, false);
    CALL pg_temp.run(origin, t);
    SELECT * INTO s FROM m_subject ORDER BY random() LIMIT 1;
    SELECT * INTO a FROM m_alert WHERE fp = s.fp AND state <> 'resolved';
    what := random();
    IF what < 0.5 THEN CALL pg_temp.raise(s, origin, t);
    ELSIF what < 0.72 AND a.id IS NOT NULL THEN CALL pg_temp.resolve(a, t);
    ELSIF what < 0.83 AND a.id IS NOT NULL THEN CALL pg_temp.acknowledge(a, origin, t);
    ELSIF what < 0.93 THEN CALL pg_temp.silence(step, origin, t);
    ELSIF what < 0.97 THEN CALL pg_temp.reorder(t); END IF;
    CALL pg_temp.dispatch(origin, origin + t * interval '1 s');
    CALL pg_temp.advance(t, true);
  END LOOP;
  t := t + 400;
  CALL pg_temp.run(origin, t + 1);
  CALL pg_temp.advance(t, true);
  SELECT string_agg(format('%s at %s: %s to %s [%s]', side, at, event, channel, x.what), E'\n' ORDER BY at, channel, side) INTO difference FROM (
    (SELECT 'engine' AS side, * FROM (SELECT * FROM o_sent EXCEPT ALL SELECT * FROM m_sent) e)
    UNION ALL (SELECT 'model', * FROM (SELECT * FROM m_sent EXCEPT ALL SELECT * FROM o_sent) m)) x;
  RETURN format('%s sent, %s digests, %s escalations', (SELECT count(*) FROM m_sent), (SELECT count(*) FROM m_sent WHERE event = 'digest'), (SELECT count(*) FROM m_sent WHERE event = 'escalation'))
    || coalesce(E', but\n' || difference, '');
END $$;
-- In a subtransaction that is rolled back.
CREATE FUNCTION pg_temp.try_case(seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text;
BEGIN
  BEGIN
    result := pg_temp.run_case(seed);
    RAISE EXCEPTION USING ERRCODE = 'P9999';
  EXCEPTION WHEN SQLSTATE 'P9999' THEN NULL;
  END;
  RETURN result;
END $$;
BEGIN;
CREATE TEMP TABLE results AS SELECT seed, pg_temp.try_case(seed) AS result FROM generate_series(:first, :first + :cases - 1) seed;
SELECT count(*) AS cases, sum(substring(result FROM '^\d+')::int) > 10 * count(*) AS many_messages, sum(substring(result FROM '(\d+) digests')::int) > 0 AS digests,
  sum(substring(result FROM '(\d+) escalations')::int) > count(*) AS escalations, count(*) FILTER (WHERE result LIKE '%but%') AS wrong FROM results;
SELECT format('seed %s: %s', seed, result) FROM results WHERE result LIKE '%but%' ORDER BY seed LIMIT 3;
ROLLBACK;
