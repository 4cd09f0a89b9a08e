-- Random sequences of events against a naive model of Alertmanager's dispatcher
-- and notification pipeline: groups that look at everything at every tick.
-- \set cases N and \set first N for more of them than usual.
\set VERBOSITY terse
\if :{?cases} \else \set cases 40 \endif
\if :{?first} \else \set first 1 \endif
SET client_min_messages = warning;
SET max_stack_depth = '2MB';
-- What the model knows.
CREATE TEMP TABLE m_route (name text PRIMARY KEY, owner text, parent text, priority int, label text, op text, value text, channels text[], goes_on boolean,
  group_by text[], wait int, ivl int, rep int, send_resolved boolean);
CREATE TEMP TABLE m_alert (fp text PRIMARY KEY, owner text, labels jsonb, severity text, state text, until int, started int, epoch int);
CREATE TEMP TABLE m_group (id int PRIMARY KEY, route text, labels jsonb, next int);
CREATE TEMP TABLE m_member (gid int, fp text, key text, gone boolean, told boolean, was_silent boolean, PRIMARY KEY (gid, fp));
CREATE TEMP TABLE m_log (gid int, channel text, firing text[], resolved text[], at int, PRIMARY KEY (gid, channel));
CREATE TEMP TABLE m_silence (id int PRIMARY KEY, owner text, label text, value text, starts int, ends int, until_resolved boolean, real bigint);
CREATE TEMP TABLE m_inhibition (owner text, source text, target text, equal text);
CREATE TEMP TABLE m_sent (at int, channel text, event text, what text);
CREATE TEMP TABLE m_now (fp text, key text, over boolean, gone boolean, silent boolean, told boolean, was boolean, acked boolean, shown text);
-- And what the engine sends.
CREATE TEMP TABLE o_sent (at int, channel text, event text, what text);
GRANT ALL ON m_route, m_inhibition TO PUBLIC;
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
      AND x.owner = a.owner AND coalesce(x.labels ->> i.equal, '') = coalesce(a.labels ->> i.equal, '') AND NOT (i.source = i.target)) $$;
CREATE PROCEDURE pg_temp.place(a m_alert, t int) LANGUAGE plpgsql AS $$
DECLARE
  l jsonb := pg_temp.labels_of(a); r record; gl jsonb; g int; stay int[] := '{}';
BEGIN
  FOR r IN SELECT m.* FROM unnest(pg_temp.match(a.owner, NULL, l) || pg_temp.match('root', NULL, l)) n JOIN m_route m ON m.name = n LOOP
    SELECT coalesce(jsonb_object_agg(b, l ->> b) FILTER (WHERE l ? b), '{}') INTO gl FROM unnest(r.group_by) b;
    SELECT id INTO g FROM m_group WHERE route = r.name AND labels = gl;
    IF g IS NULL THEN
      SELECT coalesce(max(id), 0) + 1 INTO g FROM m_group;
      INSERT INTO m_group VALUES (g, r.name, gl, CASE WHEN a.started + r.wait < t THEN t ELSE t + r.wait END);
    END IF;
    stay := stay || g;
    INSERT INTO m_member VALUES (g, a.fp, pg_temp.key_of(a), false, false, false)
      ON CONFLICT (gid, fp) DO UPDATE SET key = excluded.key, gone = false;
  END LOOP;
  UPDATE m_member SET gone = true WHERE fp = a.fp AND NOT gid = ANY (stay);
END $$;
CREATE PROCEDURE pg_temp.flush(g m_group, t int) LANGUAGE plpgsql AS $$
DECLARE
  r m_route; c text; e m_log; f text[]; o text[]; event text; acked boolean;
BEGIN
  SELECT * INTO r FROM m_route WHERE name = g.route;
  DELETE FROM m_now;
  INSERT INTO m_now SELECT m.fp, m.key, a.state = 'resolved' OR m.gone, m.gone, NOT m.gone AND pg_temp.silent(a, t), m.told, m.was_silent,
    a.state = 'acknowledged' AND coalesce(a.until, 1000000) > t, CASE WHEN a.state = 'resolved' OR m.gone THEN 'resolved' ELSE a.state END
  FROM m_member m JOIN m_alert a USING (fp) WHERE m.gid = g.id;
  SELECT coalesce(array_agg(key), '{}'), coalesce(bool_and(n.acked), true) INTO f, acked FROM m_now n WHERE NOT over AND NOT silent;
  FOREACH c IN ARRAY r.channels LOOP
    SELECT * INTO e FROM m_log WHERE gid = g.id AND channel = c;
    SELECT coalesce(array_agg(key), '{}') INTO o FROM m_now
    WHERE over AND NOT (NOT told AND was) AND ((NOT gone AND NOT silent) OR key = ANY (e.firing));
    event := CASE
      WHEN e.gid IS NULL THEN CASE WHEN f <> '{}' THEN 'firing' END
      WHEN NOT f <@ e.firing THEN 'firing'
      WHEN f = '{}' THEN CASE WHEN e.firing <> '{}' AND o <> '{}' THEN 'resolved' END
      WHEN r.send_resolved AND NOT o <@ e.resolved THEN 'firing'
      WHEN e.at + r.rep <= t AND NOT acked THEN 'repeat' END;
    IF event IS NULL THEN CONTINUE; END IF;
    IF event <> 'resolved' OR r.send_resolved THEN
      INSERT INTO m_sent SELECT t, c, event, string_agg(fp || ' ' || shown, ', ' ORDER BY fp) FROM m_now
      WHERE key = ANY (f) AND NOT over OR r.send_resolved AND over AND key = ANY (o);
      UPDATE m_now SET told = true WHERE key = ANY (f) AND NOT over;
    END IF;
    INSERT INTO m_log VALUES (g.id, c, f, o, t) ON CONFLICT (gid, channel) DO UPDATE SET firing = f, resolved = o, at = t;
  END LOOP;
  DELETE FROM m_member m USING m_now n WHERE m.gid = g.id AND n.fp = m.fp AND n.over;
  UPDATE m_member m SET told = n.told, was_silent = n.silent FROM m_now n WHERE m.gid = g.id AND n.fp = m.fp;
  UPDATE m_group SET next = t + r.ivl WHERE id = g.id;
  DELETE FROM m_group x WHERE id = g.id AND NOT EXISTS (SELECT FROM m_member m WHERE m.gid = g.id);
  DELETE FROM m_log l WHERE NOT EXISTS (SELECT FROM m_group x WHERE x.id = l.gid);
END $$;
-- All ticks before a time, or up to it.
CREATE PROCEDURE pg_temp.advance(t int, upto boolean) LANGUAGE plpgsql AS $$
DECLARE
  g m_group;
BEGIN
  LOOP
    SELECT * INTO g FROM m_group WHERE next < t OR (upto AND next = t) ORDER BY next, id LIMIT 1;
    EXIT WHEN NOT FOUND;
    CALL pg_temp.flush(g, g.next);
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
    SELECT min(next_flush_at) INTO due FROM pipeline.alert_groups WHERE route LIKE 'o %';
    EXIT WHEN due IS NULL OR due >= origin + t * interval '1 s';
    CALL pg_temp.dispatch(origin, due);
  END LOOP;
END $$;
CREATE FUNCTION pg_temp.pick(choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION pg_temp.chance(p float) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT random() < p $$;
-- Routes of somebody, in the model and in the engine.
CREATE PROCEDURE pg_temp.make_routes(whose text, n int) LANGUAGE plpgsql AS $$
DECLARE
  r m_route; parents text[] := '{}';
BEGIN
  FOR i IN 1..n LOOP
    r.name := 'o ' || whose || i; r.owner := whose; r.parent := CASE WHEN i > 1 AND pg_temp.chance(0.6) THEN pg_temp.pick(parents) END;
    r.priority := floor(random() * 3); r.label := pg_temp.pick('{team,pipeline,severity,kind}'); r.op := pg_temp.pick('{all,=,=,!=,=~,!~}');
    r.value := CASE r.label WHEN 'team' THEN pg_temp.pick('{a,b,"a|b",".*",""}') WHEN 'pipeline' THEN pg_temp.pick('{p,q,"p|",".+"}')
      WHEN 'kind' THEN pg_temp.pick('{X,Y,"X|Y"}') ELSE pg_temp.pick('{error,critical,"error|critical"}') END;
    r.channels := CASE WHEN pg_temp.chance(0.3) THEN ARRAY['o ' || whose || ' 1', 'o ' || whose || ' 2'] ELSE ARRAY['o ' || whose || ' ' || pg_temp.pick('{1,2}')] END;
    r.goes_on := pg_temp.chance(0.3); r.group_by := CASE floor(random() * 4)::int WHEN 0 THEN '{}'::text[] WHEN 1 THEN '{team}' WHEN 2 THEN '{pipeline}' ELSE '{team,severity}' END;
    r.wait := pg_temp.pick('{0,5,20}'); r.ivl := pg_temp.pick('{10,30,60}'); r.rep := pg_temp.pick('{25,60,130}'); r.send_resolved := pg_temp.chance(0.8);
    INSERT INTO m_route SELECT r.*;
    parents := parents || r.name;
    PERFORM pipeline.create_route(r.name, CASE WHEN r.op = 'all' THEN '{}'::text[] ELSE ARRAY[format('%s%s"%s"', r.label, r.op, r.value)] END, r.channels, r.parent, r.priority, r.goes_on,
      r.group_by, r.wait * interval '1 s', r.ivl * interval '1 s', r.rep * interval '1 s', r.send_resolved);
  END LOOP;
END $$;
-- One case; returns what differs.
CREATE FUNCTION pg_temp.run_case(seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  origin timestamptz := '2030-01-01'; t int := 0; roles jsonb := '{"alice": "pipeline_alice", "bob": "pipeline_bob"}';
  who text; a m_alert; ids jsonb := '{}'; what float; s record; before text; difference text; steps int := 10 + seed % 20;
BEGIN
  PERFORM setseed(seed / 1000003.0);
  FOREACH who IN ARRAY '{root,alice,bob}'::text[] LOOP
    IF who <> 'root' THEN EXECUTE format('SET LOCAL ROLE %I', roles ->> who); END IF;
    PERFORM pipeline.create_channel('o ' || who || ' 1', 'log'), pipeline.create_channel('o ' || who || ' 2', 'log');
    CALL pg_temp.make_routes(who, floor(random() * 5)::int);
    IF pg_temp.chance(0.5) THEN
      INSERT INTO m_inhibition SELECT who, x, pg_temp.pick('{X,Y,Z}'), pg_temp.pick('{team,pipeline,none}') FROM pg_temp.pick('{X,Y,Z}') x;
      PERFORM pipeline.create_inhibition(format('kind="%s"', i.source), format('kind="%s"', i.target), ARRAY[i.equal], 'o ' || who) FROM m_inhibition i WHERE i.owner = who;
    END IF;
    RESET ROLE;
  END LOOP;
  FOR i IN 1..8 LOOP
    INSERT INTO m_alert SELECT 'f' || i, pg_temp.pick('{alice,bob}'), jsonb_strip_nulls(jsonb_build_object('team', pg_temp.pick('{a,b,NULL}'), 'pipeline', pg_temp.pick('{p,q,NULL}'),
      'kind', pg_temp.pick('{X,Y,Z}'), 'alertname', 'O' || i)), 'error', 'resolved', NULL, 0, 0;
  END LOOP;
  FOR step IN 1..steps LOOP
    t := t + floor(random() * random() * 120)::int;
    CALL pg_temp.advance(t, false);
    CALL pg_temp.run(origin, t);
    SELECT * INTO a FROM m_alert ORDER BY random() LIMIT 1;
    what := random();
    IF what < 0.5 THEN
      -- Raise it, perhaps worse.
      before := a.severity;
      a.severity := CASE WHEN pg_temp.chance(0.3) THEN pg_temp.pick('{warning,error,critical}') ELSE a.severity END;
      IF a.state = 'acknowledged' THEN
        UPDATE pipeline.alerts SET acknowledged_until = CASE WHEN coalesce(a.until, 1000000) <= t THEN '2000-01-01'::timestamptz ELSE 'infinity' END WHERE alert_id = (ids ->> a.fp)::bigint;
      END IF;
      EXECUTE format('SET LOCAL ROLE %I', roles ->> a.owner);
      ids := ids || jsonb_build_object(a.fp, pipeline.raise_alert('O' || substr(a.fp, 2), a.fp, a.severity, a.labels - 'alertname', fingerprint => a.fp));
      RESET ROLE;
      IF a.state = 'resolved' THEN
        a.state := 'firing'; a.started := t; a.epoch := 0; a.until := NULL;
        UPDATE pipeline.alerts SET started_at = origin + t * interval '1 s' WHERE alert_id = (ids ->> a.fp)::bigint;
        before := '';
      ELSIF a.state = 'acknowledged' AND coalesce(a.until, 1000000) <= t THEN
        a.state := 'firing'; a.epoch := a.epoch + 1; before := '';
      ELSIF a.state = 'acknowledged' THEN
        UPDATE pipeline.alerts SET acknowledged_until = origin + a.until * interval '1 s' WHERE alert_id = (ids ->> a.fp)::bigint;
      END IF;
      UPDATE m_alert m SET severity = a.severity, state = a.state, started = a.started, epoch = a.epoch, until = a.until WHERE fp = a.fp;
      IF before <> a.severity THEN CALL pg_temp.place(a, t); END IF;
    ELSIF what < 0.75 AND a.state <> 'resolved' THEN
      PERFORM pipeline.resolve_alert((ids ->> a.fp)::bigint);
      UPDATE m_alert SET state = 'resolved' WHERE fp = a.fp;
      FOR s IN SELECT * FROM m_silence x WHERE x.until_resolved AND x.starts <= t AND x.ends > t AND x.owner IN (a.owner, 'root') AND pg_temp.true_of(x.label, '=', x.value, pg_temp.labels_of(a)) LOOP
        IF NOT EXISTS (SELECT FROM m_alert o WHERE o.state <> 'resolved' AND s.owner IN (o.owner, 'root') AND pg_temp.true_of(s.label, '=', s.value, pg_temp.labels_of(o))) THEN
          UPDATE m_silence SET ends = t WHERE id = s.id;
        END IF;
      END LOOP;
    ELSIF what < 0.85 AND a.state <> 'resolved' THEN
      a.until := CASE WHEN pg_temp.chance(0.5) THEN t + 1 + floor(random() * 200)::int END;
      PERFORM pipeline.acknowledge((ids ->> a.fp)::bigint);
      UPDATE pipeline.alerts SET acknowledged_until = origin + a.until * interval '1 s' WHERE alert_id = (ids ->> a.fp)::bigint;
      UPDATE m_alert SET state = 'acknowledged', until = a.until WHERE fp = a.fp;
      INSERT INTO m_sent SELECT t, l.channel, 'acknowledged', a.fp || ' acknowledged' FROM m_log l JOIN m_member m ON m.gid = l.gid WHERE m.fp = a.fp AND NOT m.gone AND m.key = ANY (l.firing);
    ELSIF what < 0.95 THEN
      INSERT INTO m_silence SELECT step, pg_temp.pick('{root,alice,bob}'), l, CASE l WHEN 'team' THEN pg_temp.pick('{a,b}') WHEN 'severity' THEN pg_temp.pick('{error,critical}') ELSE pg_temp.pick('{X,Y}') END,
        t, CASE WHEN pg_temp.chance(0.3) THEN 1000000 ELSE t + 5 + floor(random() * 150)::int END, false FROM pg_temp.pick('{team,severity,kind}') l;
      UPDATE m_silence SET until_resolved = ends = 1000000 WHERE id = step;
      INSERT INTO pipeline.silences (owner, created_by, matchers, starts_at, ends_at, until_resolved)
      SELECT CASE x.owner WHEN 'root' THEN current_user::regrole ELSE (roles ->> x.owner)::regrole END, current_user::regrole, format('%s="%s"', x.label, x.value),
        origin + t * interval '1 s', CASE WHEN x.ends = 1000000 THEN 'infinity' ELSE origin + x.ends * interval '1 s' END, x.until_resolved FROM m_silence x WHERE x.id = step;
    END IF;
    CALL pg_temp.dispatch(origin, origin + t * interval '1 s');
    CALL pg_temp.advance(t, true);
  END LOOP;
  t := t + 400;
  CALL pg_temp.run(origin, t + 1);
  CALL pg_temp.advance(t, true);
  SELECT string_agg(format('%s at %s: %s to %s [%s]', side, at, event, channel, x.what), E'\n' ORDER BY at, channel, side) INTO difference FROM (
    (SELECT 'engine' AS side, * FROM (SELECT * FROM o_sent EXCEPT ALL SELECT * FROM m_sent) e)
    UNION ALL (SELECT 'model', * FROM (SELECT * FROM m_sent EXCEPT ALL SELECT * FROM o_sent) m)) x;
  RETURN format('%s sent', (SELECT count(*) FROM m_sent)) || coalesce(E', but\n' || difference, '');
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
SELECT count(*) AS cases, sum(substring(result FROM '^\d+')::int) > 10 * count(*) AS many_messages, count(*) FILTER (WHERE result LIKE '%but%') AS wrong FROM results;
SELECT format('seed %s: %s', seed, result) FROM results WHERE result LIKE '%but%' ORDER BY seed LIMIT 3;
ROLLBACK;
