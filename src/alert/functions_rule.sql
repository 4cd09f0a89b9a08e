/* alert: rules. */

DROP POLICY IF EXISTS rules_read ON pipeline.rules;
CREATE POLICY rules_read ON pipeline.rules FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS rule_states_read ON pipeline.rule_states;
CREATE POLICY rule_states_read ON pipeline.rule_states FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS rule_alerts_read ON pipeline.rule_alerts;
CREATE POLICY rule_alerts_read ON pipeline.rule_alerts FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.rules, pipeline.rule_states, pipeline.rule_alerts TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.create_rule(
  name text, query text, for_interval interval DEFAULT '0',
  severity text DEFAULT 'error', annotations jsonb DEFAULT '{}',
  label_columns text[] DEFAULT '{}',
  evaluation_interval interval DEFAULT '1 minute',
  timeout interval DEFAULT '30 seconds', keep_firing_for interval DEFAULT '0',
  max_alerts integer DEFAULT 100, enabled boolean DEFAULT true,
  labels jsonb DEFAULT '{}', or_replace boolean DEFAULT false,
  description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_rule';
COMMENT ON FUNCTION pipeline.create_rule(text, text, interval, text, jsonb, text[], interval, interval, interval, integer, boolean, jsonb, boolean, text) IS
'Create an alerting rule (Prometheus'' term). query: name of a table or view, or one read-only query; while it returns rows, something is wrong. label_columns: each combination of their values is an alert, with these labels; none: the rule has one alert, and only the first row counts. for_interval: how long a row must be returned before its alert fires. severity: info, warning, error or critical, or {{column}}: what the row says. annotations: texts by name, in which {{column}} stands for what the row says; summary is that of the alert, the others are in its detail. evaluation_interval: how often, at least 1 second; timeout: of the query, at most 10 minutes; keep_firing_for: how long an alert goes on when its row is gone; max_alerts: the query may return no more rows, at most 1000; enabled: false stops it and resolves its alerts; labels: of its alerts. It is evaluated in a worker that is the owner, in a read-only transaction, with the search_path of the definition. What goes wrong there is an alert itself, RuleFailed, and leaves the others as they are. Errors: 42710, 42501; 22023 for what is no source, no label or no column of the query; 28000 when rules cannot run as the current user.';

CREATE OR REPLACE FUNCTION pipeline.alter_rule(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_rule(text, jsonb) IS
'Change some of the definition of a rule. changes: a JSON object whose keys are arguments of create_rule(); null sets one back to its default, what is not named stays. It is evaluated again at once. Errors: 42704 when there is none, 22023 for unknown keys, and those of create_rule().';

CREATE OR REPLACE FUNCTION pipeline.drop_rule(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_rule';
COMMENT ON FUNCTION pipeline.drop_rule(text) IS
'Drop a rule; its alerts are resolved. Unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline.test_rule(
  name text, OUT labels jsonb, OUT severity text, OUT summary text,
  OUT annotations jsonb, OUT state text, OUT since timestamptz) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
  AS 'MODULE_PATHNAME', 'pipeline_test_rule';
COMMENT ON FUNCTION pipeline.test_rule(text) IS
'Evaluate a rule now, in this session with the rights of its owner, and show the alerts that it would have; it changes nothing. state: pending or firing, as of now, NULL for what the rule has not seen yet; since: since when. For members of the role that owns it. Errors: 42704, 42501, 54000 for more than max_alerts rows, and whatever the query raises.';

CREATE OR REPLACE FUNCTION pipeline._mind_rules() RETURNS integer
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_mind_rules';
COMMENT ON FUNCTION pipeline._mind_rules() IS
'Internal: what the notifier does for rules: starts workers for those that are due. Returns milliseconds until it should be called again, or -1.';
REVOKE ALL ON FUNCTION pipeline._mind_rules() FROM PUBLIC;

CREATE OR REPLACE VIEW pipeline.rule_status WITH (security_invoker = true) AS
SELECT r.name AS rule, r.owner,
       CASE WHEN NOT r.enabled THEN 'disabled'
            WHEN s.error IS NOT NULL THEN 'failed'
            WHEN s.evaluated_at IS NULL THEN 'new'
            WHEN coalesce(a.firing, 0) > 0 THEN 'firing'
            WHEN coalesce(a.pending, 0) > 0 THEN 'pending'
            ELSE 'ok' END AS state,
       coalesce(a.firing, 0) AS firing, coalesce(a.pending, 0) AS pending,
       s.evaluated_at, s.ms, s.next_at, s.error, s.failures
FROM pipeline.rules r
JOIN pipeline.rule_states s ON s.rule = r.name
LEFT JOIN (SELECT rule, count(*) FILTER (WHERE state <> 'pending') AS firing,
                  count(*) FILTER (WHERE state = 'pending') AS pending
           FROM pipeline.rule_alerts GROUP BY rule) a ON a.rule = r.name;
GRANT SELECT ON pipeline.rule_status TO PUBLIC;
COMMENT ON VIEW pipeline.rule_status IS 'How each rule is doing.';
COMMENT ON COLUMN pipeline.rule_status.rule IS 'Name of the rule.';
COMMENT ON COLUMN pipeline.rule_status.owner IS 'Role as which it is evaluated.';
COMMENT ON COLUMN pipeline.rule_status.state IS
'disabled; failed: it could not be evaluated, see error; new: it has not been yet; firing, pending: it has such alerts; ok: it has none.';
COMMENT ON COLUMN pipeline.rule_status.firing IS 'How many of its alerts fire.';
COMMENT ON COLUMN pipeline.rule_status.pending IS 'How many are pending.';
COMMENT ON COLUMN pipeline.rule_status.evaluated_at IS 'When its last evaluation ended.';
COMMENT ON COLUMN pipeline.rule_status.ms IS 'How long the query took then, in milliseconds.';
COMMENT ON COLUMN pipeline.rule_status.next_at IS 'When it is evaluated next.';
COMMENT ON COLUMN pipeline.rule_status.error IS 'Why it could not be evaluated.';
COMMENT ON COLUMN pipeline.rule_status.failures IS 'How often in a row it could not be.';
