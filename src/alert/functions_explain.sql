/* alert: why somebody was told of an alert, or not. */

CREATE OR REPLACE FUNCTION pipeline.explain_alert(
  alert_id bigint, OUT route text, OUT channel text, OUT step integer, OUT event text,
  OUT told boolean, OUT at_time timestamptz, OUT reason text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_explain_alert';
COMMENT ON FUNCTION pipeline.explain_alert(bigint) IS
'Who was told of an alert, who was not, and why: a row for each message to a channel, and for each route, channel and escalation that did not tell of it. route: NULL for the default route, and where no route was involved; step: of an escalation; event: what was told; told: did the channel take it; at_time: when, or when it is tried next; reason: why not (which matcher is not true, which route took it before, silenced or inhibited by what, muted by which time interval, waiting for group_wait or group_interval until when, no right to the channel, send_resolved false, acknowledged, given up with which error). What was told is read from the history; why somebody was not told, from the routes as they are now. Of administrators'' routes others see those that take the alert. Errors: 42704 for an unknown alert, 42501 for someone else''s.';

CREATE OR REPLACE VIEW pipeline.undelivered WITH (security_invoker = true) AS
SELECT a.alert_id, n.notification_id, a.alertname, a.severity, n.channel, n.route,
  CASE n.state WHEN 'dead' THEN 'given up' ELSE 'pending too long' END AS problem, n.last_error AS error,
  coalesce(n.created_at, a.started_at) AS since, a.summary, a.owner
FROM pipeline.notifications n
CROSS JOIN LATERAL unnest(n.alert_ids) u (alert_id) JOIN pipeline.alerts a USING (alert_id)
WHERE (n.state = 'dead' AND n.progress -> 'told_on' IS NULL AND NOT EXISTS (
    SELECT FROM pipeline.notifications l WHERE l.channel = n.channel AND l.group_key = n.group_key
    AND l.notification_id > n.notification_id AND l.state = 'sent'))
  OR (n.state IN ('pending', 'sending') AND n.created_at < clock_timestamp() - interval '5 minutes')
UNION ALL
SELECT a.alert_id, NULL, a.alertname, a.severity, NULL, NULL,
  CASE WHEN EXISTS (SELECT FROM pipeline.alert_group_members m WHERE m.alert_id = a.alert_id AND m.left_at IS NULL)
    THEN 'not told yet' ELSE 'nobody told' END, NULL, a.started_at, a.summary, a.owner
FROM pipeline.alerts a
WHERE a.state <> 'resolved'
  AND NOT EXISTS (SELECT FROM pipeline.alert_group_members m WHERE m.alert_id = a.alert_id AND m.left_at IS NULL
    AND (m.told_at IS NOT NULL OR m.suppressed_by IS NOT NULL OR m.joined_at > clock_timestamp() - interval '5 minutes'))
  AND NOT EXISTS (SELECT FROM pipeline.alert_events e WHERE e.alert_id = a.alert_id AND (e.channels <> '{}' OR e.dispatched_at IS NULL));
GRANT SELECT ON pipeline.undelivered TO PUBLIC;
COMMENT ON VIEW pipeline.undelivered IS
'Alerts that did not arrive: open ones that no route took and that no channel of the default route and no feed was told of; those that a route took five minutes ago and has not told of, though nothing suppresses them; and those of notifications that were given up, or wait for more than five minutes. explain_alert() says more.';
COMMENT ON COLUMN pipeline.undelivered.alert_id IS 'Number of the alert.';
COMMENT ON COLUMN pipeline.undelivered.notification_id IS 'The notification, for redeliver(); NULL: there is none.';
COMMENT ON COLUMN pipeline.undelivered.alertname IS 'What kind of alert.';
COMMENT ON COLUMN pipeline.undelivered.severity IS 'How bad.';
COMMENT ON COLUMN pipeline.undelivered.channel IS 'Channel that was not reached.';
COMMENT ON COLUMN pipeline.undelivered.route IS 'Route that sent it there; NULL: the default route.';
COMMENT ON COLUMN pipeline.undelivered.problem IS 'nobody told, not told yet, given up, or pending too long.';
COMMENT ON COLUMN pipeline.undelivered.error IS 'What was wrong with the last attempt.';
COMMENT ON COLUMN pipeline.undelivered.since IS 'Since when.';
COMMENT ON COLUMN pipeline.undelivered.summary IS 'One line for people.';
COMMENT ON COLUMN pipeline.undelivered.owner IS 'Owner of the alert.';
