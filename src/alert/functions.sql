/* alert: raise, acknowledge, resolve; channels. */

DROP POLICY IF EXISTS alerts_read ON pipeline.alerts;
CREATE POLICY alerts_read ON pipeline.alerts FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS alert_events_read ON pipeline.alert_events;
CREATE POLICY alert_events_read ON pipeline.alert_events FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.channels, pipeline.alerts, pipeline.alert_events TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.raise_alert(
  alertname text, summary text, severity text DEFAULT 'error',
  labels jsonb DEFAULT '{}', source text DEFAULT NULL,
  detail jsonb DEFAULT '{}', fingerprint text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_raise_alert_sql';
COMMENT ON FUNCTION pipeline.raise_alert(text, text, text, jsonb, text, jsonb, text) IS
'Raise an alert of the current user and return its alert_id. If one with the same fingerprint is open, count an occurrence and take over summary, severity and detail; otherwise a new one fires and the channels are told. alertname: what kind (Alertmanager''s term); summary: one line for people; severity: info, warning, error, critical; labels: strings by name; source: what it is about; detail: any JSON; fingerprint: what makes two raises the same alert, by default a hash of alertname, labels without severity, and source. The labels alertname, severity and source are added, inside a task pipeline and task.';

CREATE OR REPLACE FUNCTION pipeline.resolve_alert(alert_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_resolve_alert_id';
COMMENT ON FUNCTION pipeline.resolve_alert(bigint) IS
'Resolve an alert: the condition is over; the channels are told. True if it was open, false if it was resolved before. Unknown alert: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline.resolve_alert(fingerprint text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_resolve_alert_fingerprint';
COMMENT ON FUNCTION pipeline.resolve_alert(text) IS
'Resolve the open alert of the current user with this fingerprint. True if there was one, false if not.';

CREATE OR REPLACE FUNCTION pipeline.acknowledge(
  alert_id bigint, note text DEFAULT NULL,
  until_time timestamptz DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_acknowledge';
COMMENT ON FUNCTION pipeline.acknowledge(bigint, text, timestamptz) IS
'Say that someone looks after an alert (PagerDuty''s term): it stays open, and the channels are told. until_time: raised again after that, it fires again; NULL: until it is resolved. True if it was firing, false if it was acknowledged before and this replaces it. A resolved alert: 55000; unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline.create_channel(
  name text, kind text, config jsonb DEFAULT '{}', secret_ref text DEFAULT NULL,
  rate_per_minute integer DEFAULT 30, max_attempts integer DEFAULT 8,
  labels jsonb DEFAULT '{}', or_replace boolean DEFAULT false,
  description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_channel';
COMMENT ON FUNCTION pipeline.create_channel(text, text, jsonb, text, integer, integer, jsonb, boolean, text) IS
'Create a channel of the current user. kind notify: config {"channel": name for LISTEN}, by default "pipeline_alerts"; kind log: config {"level": "log" | "warning"}, by default log. Both tell at commit of the transition, once; so secret_ref, rate_per_minute and max_attempts cannot be set for them. Over the network, by the notifier: kind webhook (CloudEvents 1.0): config {"url", "headers": {}}; slack: {}; teams: {}; pagerduty: {"url"}; email: {"url", "from", "to", "reply_to", "subject_prefix", "starttls"}; ticket: {"system": "github" | "jira" | "trello", "url", "labels", "repository" | "project", "issue_type", "done", "cloud" | "board", "list"}; alertmanager: {"url", "ends_after"}. secret_ref: name of the file with its secrets, in pipeline.secrets_dir/OWNER/. rate_per_minute: how many notifications at most, after a quiet minute at once, else one every 60/rate seconds; 0: any number. max_attempts: after how many a notification is given up. config may have "heartbeat": an interval after which it is sent a sign of life, for peers that warn when there is none. Hosts must be in pipeline.allowed_hosts: 22023. A channel that exists: 42710, unless or_replace.';

CREATE OR REPLACE FUNCTION pipeline.drop_channel(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_channel';
COMMENT ON FUNCTION pipeline.drop_channel(text) IS
'Drop a channel. What it was told stays in alert_events. Unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline.test_channel(name text) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_test_channel';
COMMENT ON FUNCTION pipeline.test_channel(text) IS
'Send a test message (event "test") through a channel when the transaction commits. No alert is made. Returns the number of its notification, whose fate stands in the tables notifications and deliveries; NULL for channels of kinds notify and log, which are told at once. Unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE VIEW pipeline.firing_alerts WITH (security_invoker = true) AS
SELECT alert_id, alertname, severity, state, summary, source, labels,
       occurrences, started_at, last_seen, acknowledged_by,
       acknowledged_until, owner
FROM pipeline.alerts
WHERE state <> 'resolved';
GRANT SELECT ON pipeline.firing_alerts TO PUBLIC;
COMMENT ON VIEW pipeline.firing_alerts IS
'The alerts that are not resolved, acknowledged ones among them (see state).';
COMMENT ON COLUMN pipeline.firing_alerts.alert_id IS 'Number of the alert: what acknowledge() and resolve_alert() take.';
COMMENT ON COLUMN pipeline.firing_alerts.alertname IS 'What kind of alert.';
COMMENT ON COLUMN pipeline.firing_alerts.severity IS 'How bad, as last raised.';
COMMENT ON COLUMN pipeline.firing_alerts.state IS 'firing or acknowledged.';
COMMENT ON COLUMN pipeline.firing_alerts.summary IS 'One line for people.';
COMMENT ON COLUMN pipeline.firing_alerts.source IS 'What it is about.';
COMMENT ON COLUMN pipeline.firing_alerts.labels IS 'Labels, strings by name.';
COMMENT ON COLUMN pipeline.firing_alerts.occurrences IS 'How often it was raised.';
COMMENT ON COLUMN pipeline.firing_alerts.started_at IS 'When it was first raised.';
COMMENT ON COLUMN pipeline.firing_alerts.last_seen IS 'When it was last raised.';
COMMENT ON COLUMN pipeline.firing_alerts.acknowledged_by IS 'Who last acknowledged it.';
COMMENT ON COLUMN pipeline.firing_alerts.acknowledged_until IS 'Until when the acknowledgement holds.';
COMMENT ON COLUMN pipeline.firing_alerts.owner IS 'Role whose alert it is.';

CREATE OR REPLACE FUNCTION pipeline.alter_channel(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_channel(text, jsonb) IS
'Change some of the definition of a channel. changes: a JSON object whose keys are arguments of create_channel(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_channel().';
