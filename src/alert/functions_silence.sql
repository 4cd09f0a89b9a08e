/* alert: silences, inhibitions, and what they suppress. */

DROP POLICY IF EXISTS silences_read ON pipeline.silences;
CREATE POLICY silences_read ON pipeline.silences FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS inhibitions_read ON pipeline.inhibitions;
CREATE POLICY inhibitions_read ON pipeline.inhibitions FOR SELECT
  USING (predefined OR pipeline.is_owner(owner));
GRANT SELECT ON pipeline.silences, pipeline.inhibitions TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.create_silence(
  matchers text, starts_at timestamptz DEFAULT now(), ends_at timestamptz DEFAULT NULL,
  comment text DEFAULT NULL, until_resolved boolean DEFAULT false) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_silence';
COMMENT ON FUNCTION pipeline.create_silence(text, timestamptz, timestamptz, text, boolean) IS
'Create a silence (Alertmanager''s term) and return its silence_id: nobody is told of alerts of the current user that it matches, from starts_at to ends_at; of everybody''s, if that is an administrator. matchers: in Alertmanager''s syntax; at least one must ask for something. until_resolved: it ends as soon as all open alerts that it matches are resolved; then ends_at may be left out. comment: why. That an alert is over is told to those who know that it fires, silent or not. A notice says so when it matches nothing. Errors: 22023 for matchers that cannot be read or match everything, and for times that are not in order; 55000 for until_resolved when no open alert matches.';

CREATE OR REPLACE FUNCTION pipeline.alter_silence(silence_id bigint, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_alter_silence';
COMMENT ON FUNCTION pipeline.alter_silence(bigint, jsonb) IS
'Change a silence that is not over. changes: a JSON object with ends_at, comment or both. Errors: 42704 for an unknown one, 42501 for someone else''s, 55000 for one that is over, 22023 for what cannot be.';

CREATE OR REPLACE FUNCTION pipeline.expire_silence(silence_id bigint) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_expire_silence';
COMMENT ON FUNCTION pipeline.expire_silence(bigint) IS
'End a silence now (Alertmanager''s term); it stays in the table. Errors: 42704 for an unknown one, 42501 for someone else''s, 55000 for one that is over.';

CREATE OR REPLACE FUNCTION pipeline.drop_silence(silence_id bigint) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_silence';
COMMENT ON FUNCTION pipeline.drop_silence(bigint) IS
'Drop a silence, over or not, with all trace of it but in changes. Errors: 42704 for an unknown one, 42501 for someone else''s.';

CREATE OR REPLACE VIEW pipeline.silence_status WITH (security_invoker = true) AS
SELECT silence_id, CASE WHEN ends_at <= clock_timestamp() THEN 'expired' WHEN starts_at > clock_timestamp() THEN 'pending' ELSE 'active' END AS state,
  matchers, starts_at, ends_at, until_resolved, comment, owner, created_by
FROM pipeline.silences;
GRANT SELECT ON pipeline.silence_status TO PUBLIC;
COMMENT ON VIEW pipeline.silence_status IS 'The silences and whether they are in force.';
COMMENT ON COLUMN pipeline.silence_status.silence_id IS 'Number of the silence.';
COMMENT ON COLUMN pipeline.silence_status.state IS 'pending, active or expired (Alertmanager''s terms).';
COMMENT ON COLUMN pipeline.silence_status.matchers IS 'Which alerts it covers.';
COMMENT ON COLUMN pipeline.silence_status.starts_at IS 'When it begins.';
COMMENT ON COLUMN pipeline.silence_status.ends_at IS 'When it ends; infinity: when the alerts are resolved.';
COMMENT ON COLUMN pipeline.silence_status.until_resolved IS 'Does it end as soon as all alerts that it matches are resolved?';
COMMENT ON COLUMN pipeline.silence_status.comment IS 'Why.';
COMMENT ON COLUMN pipeline.silence_status.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.silence_status.created_by IS 'The session''s role when it was made.';

CREATE OR REPLACE FUNCTION pipeline.create_inhibition(
  source_matchers text, target_matchers text, equal_labels text[] DEFAULT '{}',
  name text DEFAULT NULL, labels jsonb DEFAULT '{}', or_replace boolean DEFAULT false,
  description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_inhibition';
COMMENT ON FUNCTION pipeline.create_inhibition(text, text, text[], text, jsonb, boolean, text) IS
'Create an inhibition (Alertmanager''s term): nobody is told of an alert of the current user that matches target_matchers while another is open that matches source_matchers and has the same values of equal_labels (a label that is not there is empty; an element "a=b" compares label a of the source with label b of the target). One of an administrator covers everybody''s alerts, but the alert that mutes belongs to the same owner or to an administrator. An alert that matches both sides is not muted by one that does too. name: by default the two sides with an arrow. Errors: 42710 for one that exists, unless or_replace; 22023 for matchers that cannot be read or match everything.';

CREATE OR REPLACE FUNCTION pipeline.alter_inhibition(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_inhibition(text, jsonb) IS
'Change some of the definition of an inhibition. changes: a JSON object whose keys are arguments of create_inhibition(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_inhibition().';

CREATE OR REPLACE FUNCTION pipeline.drop_inhibition(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_inhibition';
COMMENT ON FUNCTION pipeline.drop_inhibition(text) IS
'Drop an inhibition. Errors: 42704 for an unknown one; 42501 for someone else''s; 55000 for a predefined one.';

CREATE OR REPLACE FUNCTION pipeline.suppressions(
  OUT alert_id bigint, OUT kind text, OUT name text, OUT by_alert bigint,
  OUT until_time timestamptz, OUT comment text, OUT route text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_suppressions';
COMMENT ON FUNCTION pipeline.suppressions() IS
'What keeps open alerts that the caller may see from being told, a row for each reason: what the view suppressed_alerts shows.';

CREATE OR REPLACE VIEW pipeline.suppressed_alerts WITH (security_invoker = true) AS
SELECT a.alert_id, a.alertname, a.severity, a.summary, s.kind, s.name, s.by_alert, s.until_time, s.comment, s.route, a.labels, a.owner
FROM pipeline.suppressions() s JOIN pipeline.alerts a USING (alert_id);
GRANT SELECT ON pipeline.suppressed_alerts TO PUBLIC;
COMMENT ON VIEW pipeline.suppressed_alerts IS 'Open alerts of which nobody is told, or not by some route, and why: a row for each reason.';
COMMENT ON COLUMN pipeline.suppressed_alerts.alert_id IS 'Number of the alert.';
COMMENT ON COLUMN pipeline.suppressed_alerts.alertname IS 'What kind of alert.';
COMMENT ON COLUMN pipeline.suppressed_alerts.severity IS 'How bad.';
COMMENT ON COLUMN pipeline.suppressed_alerts.summary IS 'One line for people.';
COMMENT ON COLUMN pipeline.suppressed_alerts.kind IS 'What suppresses it: silence, inhibition or time interval.';
COMMENT ON COLUMN pipeline.suppressed_alerts.name IS 'Number of the silence, name of the inhibition, names of the time intervals.';
COMMENT ON COLUMN pipeline.suppressed_alerts.by_alert IS 'Alert that inhibits it.';
COMMENT ON COLUMN pipeline.suppressed_alerts.until_time IS 'Until when, as far as that is known.';
COMMENT ON COLUMN pipeline.suppressed_alerts.comment IS 'Why, as the silence says.';
COMMENT ON COLUMN pipeline.suppressed_alerts.route IS 'Route that a time interval holds back; NULL: all.';
COMMENT ON COLUMN pipeline.suppressed_alerts.labels IS 'Labels, strings by name.';
COMMENT ON COLUMN pipeline.suppressed_alerts.owner IS 'Role whose alert it is.';
