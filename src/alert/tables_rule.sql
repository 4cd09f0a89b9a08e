/* alert: rules, and what became of them when they were last looked at. */

CREATE TABLE pipeline.rules (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  query text NOT NULL,
  search_path text NOT NULL,
  for_interval interval NOT NULL,
  severity text NOT NULL,
  annotations jsonb NOT NULL,
  label_columns text[] NOT NULL,
  evaluation_interval interval NOT NULL,
  timeout interval NOT NULL,
  keep_firing_for interval NOT NULL,
  max_alerts integer NOT NULL,
  enabled boolean NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX rules_owner ON pipeline.rules (owner);
COMMENT ON TABLE pipeline.rules IS
'Rules: queries whose rows are alerts. A worker that is the owner evaluates them, one after the other.';
COMMENT ON COLUMN pipeline.rules.name IS 'Name of the rule, unique in the database, and of the alerts that it raises.';
COMMENT ON COLUMN pipeline.rules.owner IS 'Role that made it, as which it is evaluated and whose its alerts are.';
COMMENT ON COLUMN pipeline.rules.query IS 'Name of a table or view, or a query: while it returns rows, something is wrong.';
COMMENT ON COLUMN pipeline.rules.search_path IS 'The search_path of its definition, with which it is evaluated.';
COMMENT ON COLUMN pipeline.rules.for_interval IS 'How long a row must be returned before its alert fires; until then it is pending.';
COMMENT ON COLUMN pipeline.rules.severity IS 'Severity of the alerts, or {{column}}: what that column of the row says.';
COMMENT ON COLUMN pipeline.rules.annotations IS 'Texts by name, in which {{column}} stands for what the row says; summary is the summary of the alert.';
COMMENT ON COLUMN pipeline.rules.label_columns IS 'Columns that are labels of the alerts: each combination of their values is an alert. None: the rule has one alert.';
COMMENT ON COLUMN pipeline.rules.evaluation_interval IS 'How often it is evaluated.';
COMMENT ON COLUMN pipeline.rules.timeout IS 'After how long the query is cancelled.';
COMMENT ON COLUMN pipeline.rules.keep_firing_for IS 'How long an alert goes on firing after its row was last returned.';
COMMENT ON COLUMN pipeline.rules.max_alerts IS 'Alerts that it may have: when the query returns more rows, that is an error of the rule.';
COMMENT ON COLUMN pipeline.rules.enabled IS 'Is it evaluated?';
COMMENT ON COLUMN pipeline.rules.labels IS 'Labels of its alerts, strings by name.';
COMMENT ON COLUMN pipeline.rules.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.rules.created_at IS 'When it was made.';
COMMENT ON COLUMN pipeline.rules.changed_at IS 'When it was last defined.';

CREATE TABLE pipeline.rule_states (
  rule text PRIMARY KEY REFERENCES pipeline.rules ON DELETE CASCADE,
  owner regrole NOT NULL,
  next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  pid integer,
  started_at timestamptz,
  evaluated_at timestamptz,
  ms double precision,
  alerts integer,
  error text,
  failures integer NOT NULL DEFAULT 0,
  unfinished integer NOT NULL DEFAULT 0
);
CREATE INDEX rule_states_due ON pipeline.rule_states (next_at);
COMMENT ON TABLE pipeline.rule_states IS 'How the last evaluation of each rule went; the view rule_status shows it.';
COMMENT ON COLUMN pipeline.rule_states.rule IS 'The rule.';
COMMENT ON COLUMN pipeline.rule_states.owner IS 'Owner of the rule.';
COMMENT ON COLUMN pipeline.rule_states.next_at IS 'When it is evaluated next; infinity: not.';
COMMENT ON COLUMN pipeline.rule_states.pid IS 'Process that evaluates it just now; NULL: none.';
COMMENT ON COLUMN pipeline.rule_states.started_at IS 'When its last evaluation began.';
COMMENT ON COLUMN pipeline.rule_states.evaluated_at IS 'When its last evaluation ended.';
COMMENT ON COLUMN pipeline.rule_states.ms IS 'How long the query took then, in milliseconds.';
COMMENT ON COLUMN pipeline.rule_states.alerts IS 'How many alerts the query said there are, when it last succeeded.';
COMMENT ON COLUMN pipeline.rule_states.error IS 'Why it could not be evaluated; NULL: it could.';
COMMENT ON COLUMN pipeline.rule_states.failures IS 'How often in a row it could not be.';
COMMENT ON COLUMN pipeline.rule_states.unfinished IS 'How often in a row its worker ended in the middle of an evaluation: it, or the server, went down.';

CREATE TABLE pipeline.rule_alerts (
  rule text NOT NULL REFERENCES pipeline.rules ON DELETE CASCADE,
  fingerprint text NOT NULL,
  owner regrole NOT NULL,
  labels jsonb NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'firing', 'keep_firing')),
  since timestamptz NOT NULL,
  last_seen timestamptz NOT NULL,
  summary text NOT NULL,
  alert_id bigint,
  PRIMARY KEY (rule, fingerprint)
);
COMMENT ON TABLE pipeline.rule_alerts IS
'What each rule has found: conditions that are pending, and those that fire as alerts.';
COMMENT ON COLUMN pipeline.rule_alerts.rule IS 'The rule.';
COMMENT ON COLUMN pipeline.rule_alerts.fingerprint IS 'Fingerprint of the alert: a hash of the rule and the labels.';
COMMENT ON COLUMN pipeline.rule_alerts.owner IS 'Owner of the rule.';
COMMENT ON COLUMN pipeline.rule_alerts.labels IS 'Labels: of the rule and of the row.';
COMMENT ON COLUMN pipeline.rule_alerts.state IS
'pending: not for for_interval yet; firing: there is an alert; keep_firing: there is one, although the row is gone, for keep_firing_for (Prometheus'' terms).';
COMMENT ON COLUMN pipeline.rule_alerts.since IS 'Since when the query returns it.';
COMMENT ON COLUMN pipeline.rule_alerts.last_seen IS 'When the query last returned it.';
COMMENT ON COLUMN pipeline.rule_alerts.summary IS 'What the alert says.';
COMMENT ON COLUMN pipeline.rule_alerts.alert_id IS 'The alert; NULL while pending.';

ALTER TABLE pipeline.rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.rule_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.rule_alerts ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.rules', '');
SELECT pg_extension_config_dump('pipeline.rule_states', '');
SELECT pg_extension_config_dump('pipeline.rule_alerts', '');
