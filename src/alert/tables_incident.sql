/* alert: incidents, their alerts and timelines, and how soon they are due. */

CREATE TABLE pipeline.sla_targets (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  severity pipeline.severity NOT NULL,
  acknowledge_within interval,
  resolve_within interval,
  review_within interval,
  warn_at double precision NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (owner, severity)
);
COMMENT ON TABLE pipeline.sla_targets IS
'SLA targets: how soon incidents of a severity must be acknowledged, resolved and reviewed. They hold for the incidents of their owner; those of a superuser or a member of pipeline.admin_role for everybody''s who has none of his own for that severity.';
COMMENT ON COLUMN pipeline.sla_targets.name IS 'Name of the target, unique in the database.';
COMMENT ON COLUMN pipeline.sla_targets.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.sla_targets.severity IS 'Severity of the incidents that it is for.';
COMMENT ON COLUMN pipeline.sla_targets.acknowledge_within IS 'From the start of the incident until somebody has taken it up; NULL: no target.';
COMMENT ON COLUMN pipeline.sla_targets.resolve_within IS 'From the start of the incident until it is resolved; NULL: no target.';
COMMENT ON COLUMN pipeline.sla_targets.review_within IS 'From the resolution until it is reviewed; NULL: no target.';
COMMENT ON COLUMN pipeline.sla_targets.warn_at IS 'After which part of the time, from 0 to 1, an incident is said to be near to being late.';
COMMENT ON COLUMN pipeline.sla_targets.labels IS 'Labels of the target, strings by name.';
COMMENT ON COLUMN pipeline.sla_targets.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.sla_targets.created_at IS 'When it was made.';

CREATE TABLE pipeline.incidents (
  incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner regrole NOT NULL,
  title text NOT NULL,
  severity pipeline.severity NOT NULL,
  state text NOT NULL DEFAULT 'open' CHECK (state IN
    ('open', 'acknowledged', 'mitigated', 'resolved', 'reviewed', 'merged')),
  pipeline text,
  labels jsonb NOT NULL DEFAULT '{}',
  assignee text,
  started_at timestamptz NOT NULL,
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  opened_by regrole,
  acknowledged_at timestamptz,
  mitigated_at timestamptz,
  resolved_at timestamptz,
  reviewed_at timestamptz,
  alerts_resolved_at timestamptz,
  cause text,
  impact text,
  actions jsonb NOT NULL DEFAULT '[]',
  merged_into bigint,
  acknowledge_due timestamptz,
  resolve_due timestamptz,
  review_within interval,
  warn_at double precision NOT NULL DEFAULT 1,
  sla_due timestamptz,
  CHECK ((state = 'merged') = (merged_into IS NOT NULL)),
  CHECK (state = 'merged' OR (state IN ('resolved', 'reviewed')) = (resolved_at IS NOT NULL)),
  CHECK (state = 'merged' OR (state = 'reviewed') = (reviewed_at IS NOT NULL))
);
CREATE INDEX incidents_open ON pipeline.incidents (incident_id)
  WHERE state IN ('open', 'acknowledged', 'mitigated');
CREATE INDEX incidents_due ON pipeline.incidents (sla_due) WHERE sla_due IS NOT NULL;
CREATE INDEX incidents_root ON pipeline.incidents (coalesce(merged_into, incident_id));
COMMENT ON TABLE pipeline.incidents IS
'Incidents: what people work on until it is over and understood. An incident gathers alerts, has somebody who looks after it, and is due by the SLA target of its severity.';
COMMENT ON COLUMN pipeline.incidents.incident_id IS 'Number of the incident.';
COMMENT ON COLUMN pipeline.incidents.owner IS 'Role whose incident it is: who opened it, or who owns the alerts that did.';
COMMENT ON COLUMN pipeline.incidents.title IS 'What is wrong, in one line.';
COMMENT ON COLUMN pipeline.incidents.severity IS 'How bad.';
COMMENT ON COLUMN pipeline.incidents.state IS
'open; acknowledged: somebody has taken it up; mitigated: the harm has stopped, the cause has not; resolved; reviewed: its post-mortem is written; merged: it is the same as another.';
COMMENT ON COLUMN pipeline.incidents.pipeline IS 'Pipeline that it began with: of its labels, or of its first alert; mtta_mttr counts it there.';
COMMENT ON COLUMN pipeline.incidents.labels IS 'Labels, strings by name: those given, or those that its alerts had in common when it was opened.';
COMMENT ON COLUMN pipeline.incidents.assignee IS 'Who looks after it: the name of a person or a role.';
COMMENT ON COLUMN pipeline.incidents.started_at IS 'When the trouble began: given, or when the first of its alerts was raised. All times are measured from here.';
COMMENT ON COLUMN pipeline.incidents.opened_at IS 'When it was opened.';
COMMENT ON COLUMN pipeline.incidents.opened_by IS 'Role of the session that opened it; NULL: a route did.';
COMMENT ON COLUMN pipeline.incidents.acknowledged_at IS 'When somebody took it up: it was assigned, or one of its alerts was acknowledged, whatever was first.';
COMMENT ON COLUMN pipeline.incidents.mitigated_at IS 'When the harm had stopped.';
COMMENT ON COLUMN pipeline.incidents.resolved_at IS 'When it was over.';
COMMENT ON COLUMN pipeline.incidents.reviewed_at IS 'When its post-mortem was first written.';
COMMENT ON COLUMN pipeline.incidents.alerts_resolved_at IS 'When the last of its alerts was resolved; NULL: one is open, or it has none.';
COMMENT ON COLUMN pipeline.incidents.cause IS 'Why it happened.';
COMMENT ON COLUMN pipeline.incidents.impact IS 'Whom it hurt, and how.';
COMMENT ON COLUMN pipeline.incidents.actions IS 'What is to be done so that it does not happen again: a JSON array of strings, or of objects with the keys action, assignee, due and done.';
COMMENT ON COLUMN pipeline.incidents.merged_into IS 'The incident that it is the same as.';
COMMENT ON COLUMN pipeline.incidents.acknowledge_due IS 'Until when it must be acknowledged, by the SLA target of when it was opened or its severity changed.';
COMMENT ON COLUMN pipeline.incidents.resolve_due IS 'Until when it must be resolved.';
COMMENT ON COLUMN pipeline.incidents.review_within IS 'How soon after its resolution it must be reviewed.';
COMMENT ON COLUMN pipeline.incidents.warn_at IS 'After which part of the time it is near to being late.';
COMMENT ON COLUMN pipeline.incidents.sla_due IS 'When it is next looked at, because it is then near to being late, or late.';

CREATE TABLE pipeline.incident_alerts (
  incident_id bigint NOT NULL REFERENCES pipeline.incidents ON DELETE CASCADE,
  alert_id bigint NOT NULL REFERENCES pipeline.alerts ON DELETE CASCADE,
  owner regrole NOT NULL,
  is_open boolean NOT NULL DEFAULT true,
  added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (incident_id, alert_id)
);
CREATE UNIQUE INDEX incident_alerts_open ON pipeline.incident_alerts (alert_id) WHERE is_open;
CREATE INDEX incident_alerts_alert ON pipeline.incident_alerts (alert_id);
COMMENT ON TABLE pipeline.incident_alerts IS
'Which alerts belong to which incident. An alert belongs to at most one incident that is not over.';
COMMENT ON COLUMN pipeline.incident_alerts.incident_id IS 'The incident.';
COMMENT ON COLUMN pipeline.incident_alerts.alert_id IS 'The alert.';
COMMENT ON COLUMN pipeline.incident_alerts.owner IS 'Owner of the alert.';
COMMENT ON COLUMN pipeline.incident_alerts.is_open IS 'Is the incident neither resolved nor merged?';
COMMENT ON COLUMN pipeline.incident_alerts.added_at IS 'When the alert came to the incident.';

CREATE TABLE pipeline.incident_events (
  event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  incident_id bigint NOT NULL REFERENCES pipeline.incidents ON DELETE CASCADE,
  owner regrole NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  event text NOT NULL CHECK (event IN
    ('opened', 'alerts_added', 'alerts_resolved', 'acknowledged', 'assigned',
     'noted', 'changed', 'mitigated', 'resolved', 'reopened', 'reviewed',
     'merged', 'sla_near', 'sla_missed')),
  role regrole,
  note text,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX incident_events_incident ON pipeline.incident_events (incident_id, event_id);
COMMENT ON TABLE pipeline.incident_events IS
'What happened to incidents: one row each. The view incident_timeline shows it together with what happened to their alerts.';
COMMENT ON COLUMN pipeline.incident_events.event_id IS 'Number of the event.';
COMMENT ON COLUMN pipeline.incident_events.incident_id IS 'The incident.';
COMMENT ON COLUMN pipeline.incident_events.owner IS 'Owner of the incident.';
COMMENT ON COLUMN pipeline.incident_events.at IS 'When it happened.';
COMMENT ON COLUMN pipeline.incident_events.event IS
'opened; alerts_added; alerts_resolved: the last of its alerts is over; acknowledged; assigned; noted; changed: its title or severity; mitigated; resolved; reopened; reviewed; merged: with another; sla_near, sla_missed: near to being late, or late.';
COMMENT ON COLUMN pipeline.incident_events.role IS 'Role of the session that did it; NULL: the notifier did.';
COMMENT ON COLUMN pipeline.incident_events.note IS 'What was said.';
COMMENT ON COLUMN pipeline.incident_events.detail IS 'What the event is about: alert_ids, assignee, severity, cause, the other incident, ...';

ALTER TABLE pipeline.sla_targets ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.incidents ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.incident_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.incident_events ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.sla_targets', '');
SELECT pg_extension_config_dump('pipeline.incidents', '');
SELECT pg_extension_config_dump('pipeline.incidents_incident_id_seq', '');
SELECT pg_extension_config_dump('pipeline.incident_alerts', '');
SELECT pg_extension_config_dump('pipeline.incident_events', '');
SELECT pg_extension_config_dump('pipeline.incident_events_event_id_seq', '');
