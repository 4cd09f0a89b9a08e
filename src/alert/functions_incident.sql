/* alert: incidents. */

DROP POLICY IF EXISTS sla_targets_read ON pipeline.sla_targets;
CREATE POLICY sla_targets_read ON pipeline.sla_targets FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS incidents_read ON pipeline.incidents;
CREATE POLICY incidents_read ON pipeline.incidents FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS incident_alerts_read ON pipeline.incident_alerts;
CREATE POLICY incident_alerts_read ON pipeline.incident_alerts FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS incident_events_read ON pipeline.incident_events;
CREATE POLICY incident_events_read ON pipeline.incident_events FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.sla_targets, pipeline.incidents, pipeline.incident_alerts, pipeline.incident_events TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.open_incident(
  title text, severity text DEFAULT 'error', alert_ids bigint[] DEFAULT '{}',
  labels jsonb DEFAULT '{}', started_at timestamptz DEFAULT NULL,
  assignee text DEFAULT NULL, note text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_open_incident';
COMMENT ON FUNCTION pipeline.open_incident(text, text, bigint[], jsonb, timestamptz, text, text) IS
'Open an incident of the current user and return its incident_id. title: what is wrong, in one line; severity: info, warning, error, critical; alert_ids: its alerts, which must be the caller''s and belong to no other open incident; labels: strings by name, over those that the alerts have in common; started_at: when the trouble began, by default when the first of the alerts was raised, or now; assignee: who looks after it, which acknowledges it (see assign_incident()). Its SLA target is that of its severity. Errors: 42704 for an unknown alert, 42501 for someone else''s, 55000 when one belongs to another open incident. Routes with opens_incident open incidents of themselves.';

CREATE OR REPLACE FUNCTION pipeline.add_to_incident(
  incident_id bigint, alert_ids bigint[], note text DEFAULT NULL) RETURNS integer
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_add_to_incident';
COMMENT ON FUNCTION pipeline.add_to_incident(bigint, bigint[], text) IS
'Add alerts to an incident that is not over; returns how many were new to it. Errors: 42704 for an unknown incident or alert, 42501 for someone else''s, 55000 for an incident that is over and for an alert that belongs to another open one.';

CREATE OR REPLACE FUNCTION pipeline.assign_incident(
  incident_id bigint, assignee text DEFAULT NULL, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_assign_incident';
COMMENT ON FUNCTION pipeline.assign_incident(bigint, text, text) IS
'Say who looks after an incident: the name of a person or a role, by default the session''s role. One that was open is acknowledged from now on. True unless it was assigned so before. Errors: 42704, 42501; 55000 when it was merged.';

CREATE OR REPLACE FUNCTION pipeline.note_incident(
  incident_id bigint, note text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_note_incident';
COMMENT ON FUNCTION pipeline.note_incident(bigint, text) IS
'Add a note to the timeline of an incident, in whatever state it is. Errors: 42704, 42501; 55000 when it was merged.';

CREATE OR REPLACE FUNCTION pipeline.alter_incident(
  incident_id bigint, title text DEFAULT NULL, severity text DEFAULT NULL,
  note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_alter_incident';
COMMENT ON FUNCTION pipeline.alter_incident(bigint, text, text, text) IS
'Change the title or the severity of an incident; what is NULL stays. With another severity it is due by the SLA target of that one. True unless nothing changed. Errors: 42704, 42501; 55000 when it was merged.';

CREATE OR REPLACE FUNCTION pipeline.mitigate_incident(
  incident_id bigint, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_mitigate_incident';
COMMENT ON FUNCTION pipeline.mitigate_incident(bigint, text) IS
'Say that the harm of an incident has stopped while its cause has not been removed. True unless it was mitigated before. Errors: 42704, 42501; 55000 when it is resolved or was merged.';

CREATE OR REPLACE FUNCTION pipeline.resolve_incident(
  incident_id bigint, cause text DEFAULT NULL, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_resolve_incident';
COMMENT ON FUNCTION pipeline.resolve_incident(bigint, text, text) IS
'Say that an incident is over. cause: why it happened, as far as it is known by now. Its alerts stay as they are: one that still fires resolves when its condition ends, and opens no other incident. True unless it was resolved before. Errors: 42704, 42501; 55000 when it was merged.';

CREATE OR REPLACE FUNCTION pipeline.reopen_incident(
  incident_id bigint, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_reopen_incident';
COMMENT ON FUNCTION pipeline.reopen_incident(bigint, text) IS
'Say that an incident was not over after all: it is acknowledged again, and due as before. Alerts that belong to another open incident by now stay there. True unless it was open. Errors: 42704, 42501; 55000 when it was merged.';

CREATE OR REPLACE FUNCTION pipeline.review_incident(
  incident_id bigint, cause text, actions jsonb DEFAULT '[]',
  impact text DEFAULT NULL, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_review_incident';
COMMENT ON FUNCTION pipeline.review_incident(bigint, text, jsonb, text, text) IS
'Write the post-mortem of an incident that is resolved, or write it anew. cause: why it happened; actions: what is to be done so that it does not happen again, a JSON array of strings, or of objects with the keys action (required), assignee, due and done; impact: whom it hurt, and how. True when it had not been reviewed before. Errors: 42704, 42501; 22023 for actions of another form; 55000 when it is not resolved, or was merged.';

CREATE OR REPLACE FUNCTION pipeline.merge_incidents(
  incident_id bigint, duplicates bigint[], note text DEFAULT NULL) RETURNS integer
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_merge_incidents';
COMMENT ON FUNCTION pipeline.merge_incidents(bigint, bigint[], text) IS
'Say that other incidents are the same as one that is not over: their alerts become its alerts, it is as bad and as old as the worst and the oldest of them, and incident_timeline shows all their timelines as one; they are merged, for good. Returns how many were. Errors: 42704, 42501; 22023 for an incident into itself; 55000 when the first is over, or one was merged into another.';

CREATE OR REPLACE FUNCTION pipeline.create_sla_target(
  name text, severity text, acknowledge_within interval DEFAULT NULL,
  resolve_within interval DEFAULT NULL, review_within interval DEFAULT NULL,
  warn_at double precision DEFAULT 0.8, labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false, description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_sla_target';
COMMENT ON FUNCTION pipeline.create_sla_target(text, text, interval, interval, interval, double precision, jsonb, boolean, text) IS
'Promise how soon incidents of a severity are acknowledged and resolved, both from their start, and reviewed, from their resolution. It holds for incidents of the current user that are opened, or change their severity, from now on; that of an administrator for those of everybody who has none of his own for the severity. warn_at: the part of the time, above 0 and at most 1, after which an incident is near to being late: the alert IncidentSlaNear (warning) is raised, and at the end of the time IncidentSlaMissed (error, or critical for a critical incident). Errors: 42710 when one of that name, or of the owner for that severity, exists; 22023 when no time is given, or one is not above zero.';

CREATE OR REPLACE FUNCTION pipeline.alter_sla_target(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_sla_target(text, jsonb) IS
'Change some of the definition of an SLA target. changes: a JSON object whose keys are arguments of create_sla_target(); null sets one back to its default, what is not named stays. Incidents that are open stay due as they are. Errors: 42704 when there is none, 22023 for unknown keys, and those of create_sla_target().';

CREATE OR REPLACE FUNCTION pipeline.drop_sla_target(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_sla_target';
COMMENT ON FUNCTION pipeline.drop_sla_target(text) IS
'Drop an SLA target. Incidents that are open stay due as they are. Unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline._mind_incidents() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_mind_incidents';
COMMENT ON FUNCTION pipeline._mind_incidents() IS
'Internal: what the notifier does for incidents, at once.';
REVOKE ALL ON FUNCTION pipeline._mind_incidents() FROM PUBLIC;

CREATE OR REPLACE FUNCTION pipeline._open_incident_for(
  owner regrole, alert_ids bigint[], title text, severity text) RETURNS bigint
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_open_incident_for';
COMMENT ON FUNCTION pipeline._open_incident_for(regrole, bigint[], text, text) IS
'Internal: what a route with opens_incident does with its alerts; returns the incident, or 0.';
REVOKE ALL ON FUNCTION pipeline._open_incident_for(regrole, bigint[], text, text) FROM PUBLIC;

CREATE OR REPLACE VIEW pipeline.incident_sla WITH (security_invoker = true) AS
SELECT i.incident_id, i.title, i.severity, i.state, i.assignee, i.pipeline, t.target,
       t.due_at, n.near_at,
       CASE WHEN clock_timestamp() >= t.due_at THEN 'missed'
            WHEN clock_timestamp() >= n.near_at THEN 'near'
            ELSE 'ok' END AS status,
       t.due_at - clock_timestamp() AS remaining, i.owner
FROM pipeline.incidents i,
  LATERAL (
    SELECT 'acknowledge' AS target, i.started_at AS since, i.acknowledge_due AS due_at WHERE i.state = 'open'
    UNION ALL
    SELECT 'resolve', i.started_at, i.resolve_due WHERE i.state IN ('open', 'acknowledged', 'mitigated')
    UNION ALL
    SELECT 'review', i.resolved_at, i.resolved_at + i.review_within WHERE i.state = 'resolved') t,
  LATERAL (SELECT t.since + (t.due_at - t.since) * i.warn_at AS near_at) n
WHERE t.due_at IS NOT NULL;
GRANT SELECT ON pipeline.incident_sla TO PUBLIC;
COMMENT ON VIEW pipeline.incident_sla IS
'What incidents still owe to their SLA targets: which are late, and which are about to be. One row per incident and target that is not fulfilled; ORDER BY due_at is the order of work.';
COMMENT ON COLUMN pipeline.incident_sla.incident_id IS 'Number of the incident.';
COMMENT ON COLUMN pipeline.incident_sla.title IS 'What is wrong.';
COMMENT ON COLUMN pipeline.incident_sla.severity IS 'How bad.';
COMMENT ON COLUMN pipeline.incident_sla.state IS 'State of the incident.';
COMMENT ON COLUMN pipeline.incident_sla.assignee IS 'Who looks after it.';
COMMENT ON COLUMN pipeline.incident_sla.pipeline IS 'Pipeline that it began with.';
COMMENT ON COLUMN pipeline.incident_sla.target IS 'What is to be done: acknowledge, resolve or review.';
COMMENT ON COLUMN pipeline.incident_sla.due_at IS 'Until when.';
COMMENT ON COLUMN pipeline.incident_sla.near_at IS 'From when on it is near to being late.';
COMMENT ON COLUMN pipeline.incident_sla.status IS 'ok, near: about to be late, or missed: late.';
COMMENT ON COLUMN pipeline.incident_sla.remaining IS 'Time that is left; negative: how late it is.';
COMMENT ON COLUMN pipeline.incident_sla.owner IS 'Role whose incident it is.';

CREATE OR REPLACE VIEW pipeline.mtta_mttr WITH (security_invoker = true) AS
SELECT i.pipeline, date_trunc('month', i.started_at)::date AS month,
       count(*) AS incidents,
       count(i.acknowledged_at) AS acknowledged,
       count(i.resolved_at) AS resolved,
       avg(i.acknowledged_at - i.started_at) AS mtta,
       avg(i.resolved_at - i.started_at) AS mttr,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY i.acknowledged_at - i.started_at) AS median_tta,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY i.resolved_at - i.started_at) AS median_ttr,
       count(*) FILTER (WHERE coalesce(i.acknowledged_at, clock_timestamp()) > i.acknowledge_due) AS acknowledged_late,
       count(*) FILTER (WHERE coalesce(i.resolved_at, clock_timestamp()) > i.resolve_due) AS resolved_late
FROM pipeline.incidents i
WHERE i.state <> 'merged'
GROUP BY 1, 2;
GRANT SELECT ON pipeline.mtta_mttr TO PUBLIC;
COMMENT ON VIEW pipeline.mtta_mttr IS
'Mean time to acknowledge and to resolve (MTTA and MTTR, the terms of PagerDuty and ITIL) of the incidents that began in a month, by pipeline. Merged incidents count once, as the one that they were merged into; those that are not acknowledged or resolved yet are in no mean.';
COMMENT ON COLUMN pipeline.mtta_mttr.pipeline IS 'Pipeline that the incidents began with; NULL: none.';
COMMENT ON COLUMN pipeline.mtta_mttr.month IS 'First day of the month, in the time zone of the session.';
COMMENT ON COLUMN pipeline.mtta_mttr.incidents IS 'Incidents that began in it.';
COMMENT ON COLUMN pipeline.mtta_mttr.acknowledged IS 'Of these, acknowledged by now.';
COMMENT ON COLUMN pipeline.mtta_mttr.resolved IS 'Of these, resolved by now.';
COMMENT ON COLUMN pipeline.mtta_mttr.mtta IS 'Mean time from the start to the acknowledgement.';
COMMENT ON COLUMN pipeline.mtta_mttr.mttr IS 'Mean time from the start to the resolution.';
COMMENT ON COLUMN pipeline.mtta_mttr.median_tta IS 'Median of the time to acknowledge.';
COMMENT ON COLUMN pipeline.mtta_mttr.median_ttr IS 'Median of the time to resolve.';
COMMENT ON COLUMN pipeline.mtta_mttr.acknowledged_late IS 'How many were acknowledged later than their SLA target, or are late by now.';
COMMENT ON COLUMN pipeline.mtta_mttr.resolved_late IS 'How many were resolved later than their SLA target, or are late by now.';

CREATE OR REPLACE VIEW pipeline.incident_timeline WITH (security_invoker = true) AS
SELECT coalesce(i.merged_into, i.incident_id) AS incident_id, e.at, e.event, e.role, e.note,
       NULL::bigint AS alert_id, e.detail, e.incident_id AS origin, e.event_id
FROM pipeline.incidents i
JOIN pipeline.incident_events e ON e.incident_id = i.incident_id
UNION ALL
SELECT i.incident_id, e.at, 'alert_' || e.event, e.role, concat_ws(': ', a.alertname, a.summary, e.note),
       a.alert_id, jsonb_build_object('severity', e.severity, 'source', a.source), i.incident_id, e.event_id
FROM pipeline.incidents i
JOIN pipeline.incident_alerts m ON m.incident_id = i.incident_id
JOIN pipeline.alerts a ON a.alert_id = m.alert_id
JOIN pipeline.alert_events e ON e.alert_id = m.alert_id
WHERE i.merged_into IS NULL;
GRANT SELECT ON pipeline.incident_timeline TO PUBLIC;
COMMENT ON VIEW pipeline.incident_timeline IS
'Timelines of incidents: their own events, those of the incidents that were merged into them, and the transitions of their alerts. ORDER BY at, event_id.';
COMMENT ON COLUMN pipeline.incident_timeline.incident_id IS 'Number of the incident; of one that was merged: of the one that it was merged into.';
COMMENT ON COLUMN pipeline.incident_timeline.at IS 'When it happened.';
COMMENT ON COLUMN pipeline.incident_timeline.event IS 'What happened: see incident_events.event; with alert_ before it, see alert_events.event.';
COMMENT ON COLUMN pipeline.incident_timeline.role IS 'Who did it; NULL: the notifier.';
COMMENT ON COLUMN pipeline.incident_timeline.note IS 'What was said; of an alert: its name and what it says.';
COMMENT ON COLUMN pipeline.incident_timeline.alert_id IS 'The alert, if it is about one.';
COMMENT ON COLUMN pipeline.incident_timeline.detail IS 'Details: see incident_events.detail; of an alert: severity and source.';
COMMENT ON COLUMN pipeline.incident_timeline.origin IS 'The incident that it happened to: one that was merged, or the same as incident_id.';
COMMENT ON COLUMN pipeline.incident_timeline.event_id IS 'Number of the event in incident_events or alert_events.';
