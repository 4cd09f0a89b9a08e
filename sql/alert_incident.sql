-- Incidents: opened, worked on, resolved, reviewed, merged.
SET timezone = 'UTC';
SET client_min_messages = warning;
SET ROLE pipeline_alice;
SELECT pipeline.raise_alert('IncTest', 'orders are late', 'error', '{"pipeline": "inc_sales", "team": "pay", "x": "1"}', 'inc/1') AS a1 \gset
SELECT pipeline.raise_alert('IncTest', 'items are late', 'critical', '{"pipeline": "inc_stock", "team": "pay", "x": "2"}', 'inc/2') AS a2 \gset
SELECT pipeline.raise_alert('IncTest', 'nobody knows', 'error', '{}', 'inc/3') AS a3 \gset

-- What is not given comes from the alerts.
SELECT pipeline.open_incident('inc one', 'critical', ARRAY[:a1, :a2]::bigint[], '{"y": "z"}', note => 'seen on the wall') AS i1 \gset
SELECT title, severity, state, pipeline, labels, assignee, started_at = (SELECT min(started_at) FROM pipeline.alerts WHERE alert_id IN (:a1, :a2)) AS from_alerts,
       opened_by, acknowledged_at, owner FROM pipeline.incidents WHERE incident_id = :i1;
SELECT alert_id - :a1 AS nth, owner, is_open FROM pipeline.incident_alerts WHERE incident_id = :i1 ORDER BY 1;
-- An alert belongs to one open incident.
\set VERBOSITY terse
SELECT public.raises(format('SELECT pipeline.open_incident(%L, alert_ids => ARRAY[%s, %s]::bigint[])', 'inc two', :a3, :a1));
SELECT pipeline.open_incident('inc two', labels => '{"pipeline": "inc_stock"}', started_at => '2020-03-01 10:00', assignee => 'Zoë') AS i2 \gset
SELECT state, assignee, pipeline, started_at, acknowledged_at > now() - interval '1 hour' AS acknowledged FROM pipeline.incidents WHERE incident_id = :i2;
SELECT public.raises(format('SELECT pipeline.add_to_incident(%s, ARRAY[%s]::bigint[])', :i2, :a1));
SELECT pipeline.add_to_incident(:i2, ARRAY[:a3]::bigint[], 'this too');
SELECT pipeline.add_to_incident(:i2, ARRAY[:a3]::bigint[]);

-- The life of one.
SELECT pipeline.assign_incident(:i1);
SELECT pipeline.assign_incident(:i1, 'pipeline_alice'), pipeline.assign_incident(:i1, 'ann', 'your turn');
SELECT pipeline.assign_incident(:i1, 'ann');
SELECT state, assignee, acknowledged_at IS NOT NULL AS acknowledged FROM pipeline.incidents WHERE incident_id = :i1;
SELECT pipeline.note_incident(:i1, E'the extract\nis empty');
SELECT pipeline.alter_incident(:i1, severity => 'warning', note => 'not that bad'), pipeline.alter_incident(:i1, 'inc one!', 'warning');
SELECT pipeline.alter_incident(:i1, 'inc one!', 'warning');
SELECT public.raises(format('SELECT pipeline.review_incident(%s, %L)', :i1, 'x'));
SELECT pipeline.mitigate_incident(:i1, 'loaded by hand');
SELECT pipeline.mitigate_incident(:i1);
SELECT pipeline.resolve_incident(:i1, 'the disk was full'), pipeline.resolve_incident(:i1, 'again');
SELECT public.raises(format('SELECT pipeline.mitigate_incident(%s)', :i1));
SELECT public.raises(format('SELECT pipeline.add_to_incident(%s, ARRAY[%s]::bigint[])', :i1, :a3));
SELECT pipeline.reopen_incident(:i1, 'no'), pipeline.reopen_incident(:i1);
SELECT state, resolved_at, mitigated_at, (SELECT bool_and(is_open) FROM pipeline.incident_alerts m WHERE m.incident_id = i.incident_id) AS alerts_open
FROM pipeline.incidents i WHERE incident_id = :i1;
SELECT pipeline.resolve_incident(:i1);
SELECT pipeline.review_incident(:i1, 'a disk of the extractor was full', '["watch the disk", {"action": "alert on size", "assignee": "ann", "due": "2030-01-31"}]', 'two reports were late');
SELECT pipeline.review_incident(:i1, 'the disk of the extractor was full', '[{"action": "alert on size", "done": true}]');
SELECT state, cause, impact, actions, reviewed_at >= resolved_at AND resolved_at >= acknowledged_at AND acknowledged_at >= started_at AS in_order
FROM pipeline.incidents WHERE incident_id = :i1;
SELECT event, role, note, detail - 'alert_ids' AS detail FROM pipeline.incident_events WHERE incident_id = :i1 ORDER BY event_id;
SELECT action, note, before ->> 'state' AS before, after ->> 'state' AS after FROM pipeline.changes WHERE kind = 'incident' AND name = :'i1' ORDER BY change_id;
-- Its alerts had their incident.
SELECT is_open FROM pipeline.incident_alerts WHERE incident_id = :i1;

-- Alerts are followed: acknowledged, all resolved; the timeline shows them.
SELECT pipeline.raise_alert('IncTest', 'one', source => 'inc/4') AS a4 \gset
SELECT pipeline.raise_alert('IncTest', 'two', source => 'inc/5') AS a5 \gset
SELECT pipeline.open_incident('inc three', alert_ids => ARRAY[:a4, :a5]::bigint[]) AS i3 \gset
SELECT pipeline.acknowledge(:a5, 'mine');
RESET ROLE;
SELECT pipeline._mind_incidents();
SELECT i.state, i.assignee, i.acknowledged_at = e.at AS same_time, i.alerts_resolved_at FROM pipeline.incidents i, pipeline.alert_events e
WHERE i.incident_id = :i3 AND e.alert_id = :a5 AND e.event = 'acknowledged';
SELECT pipeline.resolve_alert(:a4);
SELECT pipeline._mind_incidents();
SELECT alerts_resolved_at FROM pipeline.incidents WHERE incident_id = :i3;
SELECT pipeline.resolve_alert(:a5);
SELECT pipeline._mind_incidents(), pipeline._mind_incidents();
SELECT alerts_resolved_at = (SELECT resolved_at FROM pipeline.alerts WHERE alert_id = :a5) AS at_the_last FROM pipeline.incidents WHERE incident_id = :i3;
SET ROLE pipeline_alice;
SELECT event, role, note, alert_id - :a4 AS nth, detail - 'alert_ids' - 'alert_id' AS detail FROM pipeline.incident_timeline WHERE incident_id = :i3 ORDER BY at, event_id;
-- One more alert: not all are resolved.
SELECT pipeline.add_to_incident(:i3, ARRAY[pipeline.raise_alert('IncTest', 'three', source => 'inc/6')]);
SELECT alerts_resolved_at FROM pipeline.incidents WHERE incident_id = :i3;

-- Merge: timelines stay and show as one, without chains; the worst severity, the first start.
SELECT pipeline.open_incident('inc four', 'info', note => 'four') AS i4 \gset
SELECT pipeline.open_incident('inc five', 'critical', note => 'five', started_at => '2020-01-01') AS i5 \gset
SELECT public.raises(format('SELECT pipeline.merge_incidents(%s, ARRAY[%s]::bigint[])', :i4, :i4));
SELECT public.raises(format('SELECT pipeline.merge_incidents(%s, ARRAY[%s]::bigint[])', :i1, :i4));
SELECT public.raises(format('SELECT pipeline.merge_incidents(%s, ARRAY[NULL]::bigint[])', :i1));
SELECT pipeline.merge_incidents(:i4, '{}');
SELECT pipeline.merge_incidents(:i4, ARRAY[:i3, :i5, :i3]::bigint[], 'the same');
SELECT title, state, severity, merged_into = :i4 AS into_four FROM pipeline.incidents WHERE incident_id IN (:i3, :i4, :i5) ORDER BY incident_id;
SELECT started_at, state, assignee FROM pipeline.incidents WHERE incident_id = :i4;
SELECT public.raises(format('SELECT pipeline.note_incident(%s, %L)', :i3, 'x'));
SELECT public.raises(format('SELECT pipeline.merge_incidents(%s, ARRAY[%s]::bigint[])', :i2, :i3));
SELECT pipeline.merge_incidents(:i2, ARRAY[:i4]::bigint[]);
SELECT count(*) FROM pipeline.incidents WHERE merged_into = :i2;
SELECT DISTINCT incident_id = :i2 AS of_two, origin - :i2 AS origin FROM pipeline.incident_timeline WHERE origin IN (:i2, :i3, :i4, :i5) ORDER BY 2;
SELECT event, count(*) FROM pipeline.incident_timeline WHERE incident_id = :i2 GROUP BY event ORDER BY event;
SELECT count(*), count(*) FILTER (WHERE is_open) AS open FROM pipeline.incident_alerts WHERE incident_id = :i2;
SELECT count(*) FILTER (WHERE is_open) AS open FROM pipeline.incident_alerts WHERE incident_id IN (:i3, :i4, :i5);

-- For routes: alerts join, and each opens an incident once.
RESET ROLE;
SELECT pipeline.resolve_alert(alert_id) FROM pipeline.firing_alerts WHERE alertname = 'IncTest' AND source = 'inc/3';
SET ROLE pipeline_alice;
SELECT pipeline.raise_alert('IncRoute', 'r1', source => 'inc/r1') AS r1 \gset
SELECT pipeline.raise_alert('IncRoute', 'r2', source => 'inc/r2') AS r2 \gset
SELECT pipeline.raise_alert('IncRoute', 'r3', source => 'inc/r3') AS r3 \gset
SET ROLE pipeline_bob;
SELECT pipeline.raise_alert('IncRoute', 'bob', source => 'inc/r1') AS rb \gset
RESET ROLE;
SELECT pipeline._open_incident_for('pipeline_alice', ARRAY[:r1, :r2, :rb]::bigint[], E'inc\nroute', 'warning') AS o1 \gset
SELECT title, severity, state, owner, opened_by, (SELECT count(*) FROM pipeline.incident_alerts m WHERE m.incident_id = i.incident_id) AS alerts
FROM pipeline.incidents i WHERE incident_id = :o1;
SELECT pipeline._open_incident_for('pipeline_alice', ARRAY[:r2]::bigint[], 'again', 'warning') = :o1 AS same;
SELECT pipeline._open_incident_for('pipeline_alice', ARRAY[:r2, :r3]::bigint[], 'again', 'critical') = :o1 AS same;
SELECT event, role, detail - 'alert_ids' AS detail FROM pipeline.incident_events WHERE incident_id = :o1 ORDER BY event_id;
SELECT pipeline.resolve_incident(:o1);
SELECT pipeline._open_incident_for('pipeline_alice', ARRAY[:r1, :r2, :r3]::bigint[], 'again', 'critical');
SELECT pipeline._open_incident_for('pipeline_alice', ARRAY[:rb]::bigint[], 'again', 'critical');
SELECT pipeline._open_incident_for('pipeline_alice', '{}', 'again', 'critical');

-- SLA targets.
SET ROLE pipeline_alice;
SELECT public.raises($$SELECT pipeline.create_sla_target('inc t', 'bad', '1 hour')$$);
SELECT public.raises($$SELECT pipeline.create_sla_target('inc t', 'critical')$$);
SELECT public.raises($$SELECT pipeline.create_sla_target('inc t', 'critical', '-1 hour')$$);
SELECT public.raises($$SELECT pipeline.create_sla_target('inc t', 'critical', '1 hour', warn_at => 'NaN')$$);
SELECT public.raises($$SELECT pipeline.create_sla_target('', 'critical', '1 hour')$$);
SELECT public.raises($$SELECT pipeline.drop_sla_target('no such target')$$);
SELECT pipeline.create_sla_target('inc critical', 'critical', '15 minutes', '4 hours', '5 days', 0.5, '{"team": "pay"}', description => 'as agreed');
SELECT public.raises($$SELECT pipeline.create_sla_target('inc critical', 'critical', '1 hour')$$);
SELECT public.raises($$SELECT pipeline.create_sla_target('inc critical 2', 'critical', '1 hour')$$);
SELECT pipeline.create_sla_target('inc error', 'error', resolve_within => '1 day');
SELECT public.raises($$SELECT pipeline.create_sla_target('inc error', 'critical', '1 hour', or_replace => true)$$);
SELECT pipeline.alter_sla_target('inc error', '{"acknowledge_within": "2 hours", "warn_at": 1}');
SELECT name, owner, severity, acknowledge_within, resolve_within, review_within, warn_at, labels, description FROM pipeline.sla_targets ORDER BY name;
SELECT substring(pipeline.export() FROM E'SELECT pipeline\\.create_sla_target\\(\\s*name => .inc critical.*?\\);');
SELECT object, name, action FROM pipeline.apply(jsonb_build_object('sla_targets', pipeline.export(format => 'jsonb')::jsonb -> 'sla_targets'));

-- An incident is due by the target of its severity, and says so when it is late.
SELECT pipeline.open_incident('inc due', 'critical', started_at => clock_timestamp() - interval '10 minutes', labels => '{"pipeline": "inc_sales"}') AS d \gset
SELECT acknowledge_due - started_at AS acknowledge, resolve_due - started_at AS resolve, review_within, warn_at, sla_due = acknowledge_due AS next
FROM pipeline.incidents WHERE incident_id = :d;
SELECT target, status, due_at - near_at AS near_for, remaining BETWEEN '0' AND '4 hours' AS remains FROM pipeline.incident_sla WHERE incident_id = :d ORDER BY due_at;
SELECT alertname, severity, regexp_replace(summary, '[\d:-]+ [\d:]+ UTC|\d+', 'N', 'g') AS summary, labels, source = 'incident ' || :d AS source FROM pipeline.firing_alerts WHERE alertname LIKE 'IncidentSla%' ORDER BY alert_id;
SELECT pipeline.assign_incident(:d, 'ann');
SELECT alertname FROM pipeline.firing_alerts WHERE alertname LIKE 'IncidentSla%';
SELECT target, status FROM pipeline.incident_sla WHERE incident_id = :d ORDER BY due_at;
-- With another severity, by another target.
SELECT pipeline.alter_incident(:d, severity => 'error');
SELECT acknowledge_due - started_at AS acknowledge, resolve_due - started_at AS resolve, review_within FROM pipeline.incidents WHERE incident_id = :d;
SELECT pipeline.alter_incident(:d, severity => 'info');
SELECT acknowledge_due, resolve_due, review_within, sla_due FROM pipeline.incidents WHERE incident_id = :d;
SELECT pipeline.alter_incident(:d, severity => 'critical');
-- Time goes by: the notifier looks when something is due.
RESET ROLE;
UPDATE pipeline.incidents SET started_at = started_at - interval '5 hours', resolve_due = resolve_due - interval '5 hours', sla_due = sla_due - interval '5 hours' WHERE incident_id = :d;
SELECT pipeline._mind_incidents(), pipeline._mind_incidents();
SET ROLE pipeline_alice;
SELECT alertname, severity, occurrences FROM pipeline.firing_alerts WHERE alertname LIKE 'IncidentSla%' ORDER BY alert_id;
SELECT target, status, remaining < '0' AS late FROM pipeline.incident_sla WHERE incident_id = :d;
SELECT sla_due FROM pipeline.incidents WHERE incident_id = :d;
-- The alert that it is late opens no incident.
RESET ROLE;
SELECT pipeline._open_incident_for('pipeline_alice', array_agg(alert_id), 'again', 'critical') FROM pipeline.firing_alerts WHERE alertname = 'IncidentSlaMissed';
SET ROLE pipeline_alice;
SELECT pipeline.resolve_incident(:d);
SELECT alertname FROM pipeline.firing_alerts WHERE alertname LIKE 'IncidentSla%';
SELECT target, status FROM pipeline.incident_sla WHERE incident_id = :d;
SELECT sla_due BETWEEN now() + interval '2 days' AND now() + interval '3 days' AS at_half FROM pipeline.incidents WHERE incident_id = :d;
SELECT pipeline.review_incident(:d, 'nobody looked');
SELECT event, note IS NULL AS no_note FROM pipeline.incident_events WHERE incident_id = :d ORDER BY event_id;
SELECT count(*) FROM pipeline.incident_sla WHERE incident_id = :d;

-- The target of an administrator is everybody's who has none.
RESET ROLE;
SELECT pipeline.create_sla_target('inc all', 'critical', '1 minute'), pipeline.create_sla_target('inc all warning', 'warning', '3 minutes');
SET ROLE pipeline_bob;
SELECT pipeline.open_incident('inc bob', 'critical') AS b \gset
SELECT acknowledge_due - started_at AS acknowledge FROM pipeline.incidents WHERE incident_id = :b;
SET ROLE pipeline_alice;
SELECT pipeline.open_incident('inc hers', 'critical') AS h \gset
SELECT pipeline.open_incident('inc hers too', 'warning') AS h2 \gset
SELECT severity, acknowledge_due - started_at AS acknowledge FROM pipeline.incidents WHERE incident_id IN (:h, :h2) ORDER BY 1;

-- MTTA and MTTR, against what they mean.
RESET ROLE;
INSERT INTO pipeline.incidents (owner, title, severity, state, pipeline, started_at, acknowledged_at, resolved_at, acknowledge_due, resolve_due, merged_into)
SELECT 'pipeline_alice', 'inc stat', 'error', CASE WHEN i % 7 = 0 THEN 'merged' WHEN i % 5 = 0 THEN 'acknowledged' ELSE 'resolved' END,
  'inc_p' || i % 3, t, t + i * interval '1 minute', CASE WHEN i % 7 = 0 OR i % 5 > 0 THEN t + i * interval '1 hour' END,
  t + interval '20 minutes', t + interval '20 hours', CASE WHEN i % 7 = 0 THEN 1 END
FROM generate_series(1, 40) i, LATERAL (SELECT timestamptz '2021-01-10' + i * interval '3 days' AS t) x;
SET ROLE pipeline_alice;
SELECT pipeline, month, incidents, acknowledged, resolved, mtta, mttr, median_tta, acknowledged_late, resolved_late FROM pipeline.mtta_mttr WHERE month < '2021-04-01' AND month > '2020-12-01' ORDER BY 1, 2;
WITH i AS (SELECT * FROM pipeline.incidents WHERE merged_into IS NULL),
  m AS (SELECT DISTINCT pipeline, extract(year FROM started_at) AS y, extract(month FROM started_at) AS m FROM i)
SELECT count(*) FROM m JOIN pipeline.mtta_mttr v ON v.pipeline IS NOT DISTINCT FROM m.pipeline AND v.month = make_date(m.y::int, m.m::int, 1), LATERAL (
  SELECT extract(epoch FROM sum(resolved_at - started_at)) / nullif(count(*) FILTER (WHERE resolved_at IS NOT NULL), 0) AS mttr FROM i
  WHERE i.pipeline IS NOT DISTINCT FROM m.pipeline AND extract(year FROM started_at) = m.y AND extract(month FROM started_at) = m.m) o
WHERE abs(extract(epoch FROM v.mttr) - o.mttr) > 0.01 OR (v.mttr IS NULL) <> (o.mttr IS NULL);

-- Two owners who do not trust each other.
SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.incidents WHERE owner <> 'pipeline_bob'::regrole;
SELECT count(*) FROM pipeline.incident_events WHERE owner <> 'pipeline_bob'::regrole;
SELECT count(*) FROM pipeline.incident_alerts WHERE owner <> 'pipeline_bob'::regrole;
SELECT count(*) FROM pipeline.incident_timeline WHERE incident_id <> :b;
SELECT count(*) FROM pipeline.incident_sla WHERE incident_id <> :b;
SELECT count(*) FROM pipeline.mtta_mttr WHERE pipeline LIKE 'inc%';
SELECT count(*) FROM pipeline.sla_targets;
\set VERBOSITY sqlstate
SELECT pipeline.assign_incident(:h);
SELECT pipeline.note_incident(:h, 'x');
SELECT pipeline.alter_incident(:h, 'x');
SELECT pipeline.mitigate_incident(:h);
SELECT pipeline.resolve_incident(:h);
SELECT pipeline.reopen_incident(:h);
SELECT pipeline.review_incident(:h, 'x');
SELECT pipeline.add_to_incident(:h, '{}');
SELECT pipeline.merge_incidents(:h, '{}');
SELECT pipeline.merge_incidents(:b, ARRAY[:h]::bigint[]);
SELECT pipeline.open_incident('x', alert_ids => ARRAY[:r1]::bigint[]);
SELECT pipeline.add_to_incident(:b, ARRAY[:r1]::bigint[]);
SELECT pipeline.drop_sla_target('inc critical');
SELECT pipeline.create_sla_target('inc critical', 'critical', '1 hour', or_replace => true);
SELECT pipeline.alter_sla_target('inc critical', '{"severity": "info"}');
UPDATE pipeline.incidents SET state = 'open';
DELETE FROM pipeline.incident_events;
SELECT pipeline._mind_incidents();
-- What is missing or of the wrong form.
SET ROLE pipeline_alice;
SELECT pipeline.open_incident(NULL);
SELECT pipeline.open_incident('');
SELECT pipeline.open_incident(E'two\nlines');
SELECT pipeline.open_incident('x', 'fatal');
SELECT pipeline.open_incident('x', NULL);
SELECT pipeline.open_incident('x', alert_ids => NULL);
SELECT pipeline.open_incident('x', alert_ids => '{NULL}');
SELECT pipeline.open_incident('x', alert_ids => '{-1}');
SELECT pipeline.open_incident('x', labels => '{"a-b": "c"}');
SELECT pipeline.open_incident('x', labels => '[]');
SELECT pipeline.open_incident('x', started_at => 'infinity');
SELECT pipeline.open_incident('x', assignee => '');
SELECT pipeline.assign_incident(-1);
SELECT pipeline.assign_incident(NULL);
SELECT pipeline.note_incident(:h, NULL);
SELECT pipeline.alter_incident(:h, severity => 'fatal');
SELECT pipeline.merge_incidents(:h, NULL);
SELECT pipeline.resolve_incident(:h);
SELECT pipeline.review_incident(:h, NULL);
\set VERBOSITY terse
SELECT pipeline.review_incident(:h, 'x', '"x"');
SELECT pipeline.review_incident(:h, 'x', '{}');
SELECT pipeline.review_incident(:h, 'x', '[1]');
SELECT pipeline.review_incident(:h, 'x', '[["x"]]');
SELECT pipeline.review_incident(:h, 'x', '[{"assignee": "ann"}]');
SELECT pipeline.review_incident(:h, 'x', '[{"action": "x", "who": "ann"}]');
SELECT pipeline.review_incident(:h, 'x', '[{"action": "x", "due": "soon"}]');
SELECT pipeline.drop_sla_target(name) FROM pipeline.sla_targets ORDER BY name;
RESET ROLE;
SELECT pipeline.drop_sla_target(name) FROM pipeline.sla_targets ORDER BY name;
SELECT count(pipeline.resolve_alert(alert_id)) > 0 AS resolved FROM pipeline.firing_alerts WHERE alertname LIKE 'Inc%';
DELETE FROM pipeline.incidents;
