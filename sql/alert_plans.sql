-- What a dispatch reads grows with the alerts, whatever the planner was told of
-- the tables: plans that were made while they were empty, or counted as empty,
-- do not read all of a table for each alert.  All rolled back.
\set VERBOSITY terse
BEGIN;
SET LOCAL client_min_messages = warning;
TRUNCATE pipeline.alerts, pipeline.alert_events, pipeline.alert_groups, pipeline.alert_group_members, pipeline.alert_group_channels, pipeline.routes,
  pipeline.notifications, pipeline.deliveries, pipeline.incidents, pipeline.incident_alerts, pipeline.incident_events, pipeline.route_changes CASCADE;
ANALYZE pipeline.alerts, pipeline.alert_events, pipeline.alert_groups, pipeline.alert_group_members, pipeline.alert_group_channels, pipeline.routes,
  pipeline.notifications, pipeline.deliveries, pipeline.incidents, pipeline.incident_alerts, pipeline.incident_events, pipeline.route_changes;
-- Rows that this transaction has read of our tables.
CREATE FUNCTION pg_temp.touched() RETURNS bigint LANGUAGE sql AS
$$ SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint FROM pg_stat_xact_user_tables WHERE schemaname = 'pipeline' $$;
CREATE TEMP TABLE step (n int GENERATED ALWAYS AS IDENTITY, what text, rows_of_alert numeric);
-- Do something with 600 alerts; how many rows are read for each?
CREATE PROCEDURE pg_temp.step(what text, command text) LANGUAGE plpgsql AS $$
DECLARE
  before bigint := pg_temp.touched();
BEGIN
  EXECUTE command;
  INSERT INTO step (what, rows_of_alert) SELECT step.what, (pg_temp.touched() - before) / 600.0;
END $$;
SELECT count(pipeline.create_channel('pl ' || i, 'log')) FROM generate_series(0, 4) i;
SELECT pipeline.create_escalation('pl up', '[{"channels": ["pl 4"], "wait": "1 minute"}, {"channels": ["pl 3"]}]');
SELECT count(pipeline.create_route('pl ' || i, ARRAY[format('team="t%s"', i)], ARRAY['pl ' || i % 3], group_wait => '0', opens_incident => i % 4 = 0,
  escalation => CASE WHEN i % 3 = 0 THEN 'pl up' END)) FROM generate_series(0, 99) i;
-- The plans are made now.
SELECT pipeline._dispatch_alerts(now()) <> 0 AS dispatched;
CALL pg_temp.step('raise', $$SELECT count(pipeline.raise_alert('Plan' || i, 'x', labels => jsonb_build_object('team', 't' || i % 100, 'pipeline', 'p' || i % 200))) FROM generate_series(1, 600) i$$);
CALL pg_temp.step('dispatch', $$SELECT pipeline._dispatch_alerts(clock_timestamp())$$);
CALL pg_temp.step('follow', $$SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '2 minutes')$$);
CALL pg_temp.step('worse', $$SELECT count(pipeline.raise_alert('Plan' || i, 'x', 'critical', labels => jsonb_build_object('team', 't' || i % 100, 'pipeline', 'p' || i % 200))) FROM generate_series(1, 600) i$$);
CALL pg_temp.step('dispatch', $$SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '6 minutes')$$);
SELECT pipeline.alter_route('pl 7', '{"priority": 7}');
CALL pg_temp.step('route again', $$SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '7 minutes')$$);
CALL pg_temp.step('acknowledge', $$SELECT count(pipeline.acknowledge(alert_id)) FROM pipeline.alerts$$);
CALL pg_temp.step('dispatch', $$SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '8 minutes')$$);
CALL pg_temp.step('resolve', $$SELECT count(pipeline.resolve_alert(alert_id)) FROM pipeline.alerts$$);
CALL pg_temp.step('dispatch', $$SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '20 minutes')$$);
SELECT (SELECT count(*) FROM pipeline.notifications) > 600 AS sent, (SELECT count(*) FROM pipeline.incidents) AS incidents,
  (SELECT count(*) FROM pipeline.alert_groups) AS groups_left;
-- A table read in full for each alert would be 600 rows.
SELECT what, CASE WHEN rows_of_alert < 100 THEN 'few' ELSE round(rows_of_alert)::text END AS rows_of_alert FROM step ORDER BY n;
ROLLBACK;
