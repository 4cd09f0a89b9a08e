/* alert: alerts, their history, the channels that are told. */

CREATE TABLE pipeline.channels (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  kind text NOT NULL,
  config jsonb NOT NULL,
  secret_ref text,
  rate_per_minute integer NOT NULL,
  max_attempts integer NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pipeline.channels IS
'Channels: where alerts are told. A channel hears the alerts of its owner; one whose owner is a superuser or belongs to pipeline.admin_role hears all.';
COMMENT ON COLUMN pipeline.channels.name IS 'Name of the channel, unique in the database.';
COMMENT ON COLUMN pipeline.channels.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.channels.kind IS 'How it tells: notify (LISTEN/NOTIFY), log (the server''s log), or over the network: webhook, slack, teams, pagerduty, alertmanager, email, ticket.';
COMMENT ON COLUMN pipeline.channels.config IS
'Settings of the kind, see create_channel(). It is no secret: whoever sees the channel sees it.';
COMMENT ON COLUMN pipeline.channels.secret_ref IS
'Name of the file with its secrets, in pipeline.secrets_dir/OWNER/; only the notifier reads it.';
COMMENT ON COLUMN pipeline.channels.rate_per_minute IS
'How many notifications it takes in a minute; 0: any number.';
COMMENT ON COLUMN pipeline.channels.max_attempts IS 'After how many attempts a notification is given up.';
COMMENT ON COLUMN pipeline.channels.labels IS 'Labels of the channel, strings by name.';
COMMENT ON COLUMN pipeline.channels.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.channels.created_at IS 'When it was made.';

CREATE TABLE pipeline.alerts (
  alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner regrole NOT NULL,
  fingerprint text NOT NULL,
  alertname text NOT NULL,
  severity pipeline.severity NOT NULL,
  state text NOT NULL DEFAULT 'firing'
    CHECK (state IN ('firing', 'acknowledged', 'resolved')),
  summary text NOT NULL,
  source text,
  labels jsonb NOT NULL,
  detail jsonb NOT NULL,
  occurrences bigint NOT NULL DEFAULT 1,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  acknowledged_at timestamptz,
  acknowledged_by regrole,
  acknowledged_until timestamptz,
  resolved_at timestamptz,
  CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX alerts_open ON pipeline.alerts (owner, fingerprint)
  WHERE state <> 'resolved';
CREATE INDEX alerts_open_source ON pipeline.alerts (owner, alertname, source)
  WHERE state <> 'resolved';
CREATE INDEX alerts_resolved ON pipeline.alerts (resolved_at) WHERE state = 'resolved';
COMMENT ON TABLE pipeline.alerts IS
'Alerts: a row is a condition, not a message. There is at most one row that is not resolved per owner and fingerprint; raising it again counts an occurrence.';
COMMENT ON COLUMN pipeline.alerts.alert_id IS 'Number of the alert.';
COMMENT ON COLUMN pipeline.alerts.owner IS 'Role whose alert it is: who raised it, or who owns the task or suite that did.';
COMMENT ON COLUMN pipeline.alerts.fingerprint IS
'What makes two raises the same alert: given, or a hash of the name, the labels other than severity, and the source.';
COMMENT ON COLUMN pipeline.alerts.alertname IS 'What kind of alert: TaskFailed, CheckFailed, ... (Alertmanager''s term).';
COMMENT ON COLUMN pipeline.alerts.severity IS 'How bad, as last raised.';
COMMENT ON COLUMN pipeline.alerts.state IS
'firing; acknowledged: someone looks after it; resolved: over (PagerDuty''s terms).';
COMMENT ON COLUMN pipeline.alerts.summary IS 'One line for people, as last raised.';
COMMENT ON COLUMN pipeline.alerts.source IS 'What it is about: pipeline/task, suite/expectation, or what the caller said.';
COMMENT ON COLUMN pipeline.alerts.labels IS 'Labels, strings by name: alertname, severity, source, pipeline, task and those given.';
COMMENT ON COLUMN pipeline.alerts.detail IS 'Details of any form, as last raised.';
COMMENT ON COLUMN pipeline.alerts.occurrences IS 'How often it was raised.';
COMMENT ON COLUMN pipeline.alerts.started_at IS 'When it was first raised.';
COMMENT ON COLUMN pipeline.alerts.last_seen IS 'When it was last raised.';
COMMENT ON COLUMN pipeline.alerts.acknowledged_at IS 'When it was last acknowledged.';
COMMENT ON COLUMN pipeline.alerts.acknowledged_by IS 'Who last acknowledged it.';
COMMENT ON COLUMN pipeline.alerts.acknowledged_until IS
'Until when the acknowledgement holds: raised again after that, it fires again. NULL: until it is resolved.';
COMMENT ON COLUMN pipeline.alerts.resolved_at IS 'When it was resolved.';

CREATE TABLE pipeline.alert_events (
  event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  alert_id bigint NOT NULL REFERENCES pipeline.alerts ON DELETE CASCADE,
  owner regrole NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  event text NOT NULL CHECK (event IN
    ('fired', 'refired', 'severity_changed', 'acknowledged', 'resolved')),
  state text NOT NULL,
  severity pipeline.severity NOT NULL,
  role regrole NOT NULL,
  note text,
  channels text[] NOT NULL,
  dispatched_at timestamptz,
  error text
);
CREATE INDEX alert_events_alert ON pipeline.alert_events (alert_id, event_id);
CREATE INDEX alert_events_undispatched ON pipeline.alert_events (event_id)
  WHERE dispatched_at IS NULL;
CREATE INDEX alert_events_error ON pipeline.alert_events (at) WHERE error IS NOT NULL;
COMMENT ON TABLE pipeline.alert_events IS
'History of the alerts: one row per transition, written in its transaction. Occurrences that change nothing are only counted, in alerts.';
COMMENT ON COLUMN pipeline.alert_events.event_id IS 'Number of the event.';
COMMENT ON COLUMN pipeline.alert_events.alert_id IS 'The alert.';
COMMENT ON COLUMN pipeline.alert_events.owner IS 'Owner of the alert.';
COMMENT ON COLUMN pipeline.alert_events.at IS 'When it happened.';
COMMENT ON COLUMN pipeline.alert_events.event IS
'fired: raised while none was open; refired: raised after its acknowledgement ran out; severity_changed; acknowledged; resolved.';
COMMENT ON COLUMN pipeline.alert_events.state IS 'State of the alert after it.';
COMMENT ON COLUMN pipeline.alert_events.severity IS 'Severity of the alert after it.';
COMMENT ON COLUMN pipeline.alert_events.role IS 'The session''s role: who did it.';
COMMENT ON COLUMN pipeline.alert_events.note IS 'What was said: the note of acknowledge(), or the change of severity.';
COMMENT ON COLUMN pipeline.alert_events.channels IS 'Names of the channels of kinds notify and log that were told in the same transaction.';
COMMENT ON COLUMN pipeline.alert_events.dispatched_at IS
'When the notifier took it up and decided which routes it goes by. NULL: not yet.';
COMMENT ON COLUMN pipeline.alert_events.error IS
'Why it could not be taken up, and was put aside so that others can be told. NULL: it was.';

ALTER TABLE pipeline.channels ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.alert_events ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.channels', '');
SELECT pg_extension_config_dump('pipeline.alerts', '');
SELECT pg_extension_config_dump('pipeline.alerts_alert_id_seq', '');
SELECT pg_extension_config_dump('pipeline.alert_events', '');
SELECT pg_extension_config_dump('pipeline.alert_events_event_id_seq', '');
