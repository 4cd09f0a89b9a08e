/* alert: escalations and on-call schedules. */

CREATE TABLE pipeline.on_calls (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  rotation jsonb NOT NULL,
  timezone text NOT NULL,
  channels text[] NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX on_calls_channels ON pipeline.on_calls USING gin (channels);
COMMENT ON TABLE pipeline.on_calls IS 'On-call schedules: people who take turns, and by which channels they are told.';
COMMENT ON COLUMN pipeline.on_calls.name IS 'Name of the schedule, unique in the database.';
COMMENT ON COLUMN pipeline.on_calls.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.on_calls.rotation IS 'Who takes turns: people with their channels, the length of a shift, and when the first begins.';
COMMENT ON COLUMN pipeline.on_calls.timezone IS 'Time zone whose clock the shifts go by.';
COMMENT ON COLUMN pipeline.on_calls.channels IS 'The channels of all the people.';
COMMENT ON COLUMN pipeline.on_calls.labels IS 'Labels of the schedule, strings by name.';
COMMENT ON COLUMN pipeline.on_calls.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.on_calls.created_at IS 'When it was made.';

CREATE TABLE pipeline.on_call_overrides (
  override_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  on_call text NOT NULL REFERENCES pipeline.on_calls ON DELETE CASCADE,
  owner regrole NOT NULL,
  person text NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  created_by regrole NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (starts_at < ends_at)
);
CREATE INDEX on_call_overrides_on_call ON pipeline.on_call_overrides (on_call, ends_at);
COMMENT ON TABLE pipeline.on_call_overrides IS 'Who is on call instead of whose turn it is. Of two for the same time the later made holds.';
COMMENT ON COLUMN pipeline.on_call_overrides.override_id IS 'Number of the override.';
COMMENT ON COLUMN pipeline.on_call_overrides.on_call IS 'The schedule.';
COMMENT ON COLUMN pipeline.on_call_overrides.owner IS 'Owner of the schedule.';
COMMENT ON COLUMN pipeline.on_call_overrides.person IS 'Who is on call.';
COMMENT ON COLUMN pipeline.on_call_overrides.starts_at IS 'From when.';
COMMENT ON COLUMN pipeline.on_call_overrides.ends_at IS 'Until when.';
COMMENT ON COLUMN pipeline.on_call_overrides.created_by IS 'The session''s role when it was made.';
COMMENT ON COLUMN pipeline.on_call_overrides.created_at IS 'When it was made.';

CREATE TABLE pipeline.escalations (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  steps jsonb NOT NULL,
  repeats integer NOT NULL CHECK (repeats >= 0),
  channels text[] NOT NULL,
  on_calls text[] NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX escalations_channels ON pipeline.escalations USING gin (channels);
COMMENT ON TABLE pipeline.escalations IS 'Escalations (PagerDuty''s escalation policies): who is told, one after the other, until someone acknowledges.';
COMMENT ON COLUMN pipeline.escalations.name IS 'Name of the escalation, unique in the database.';
COMMENT ON COLUMN pipeline.escalations.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.escalations.steps IS 'The steps: channels, an on-call schedule, or both, and how long to wait for an acknowledgement.';
COMMENT ON COLUMN pipeline.escalations.repeats IS 'How often it begins again after its last step.';
COMMENT ON COLUMN pipeline.escalations.channels IS 'The channels that the steps name.';
COMMENT ON COLUMN pipeline.escalations.on_calls IS 'The on-call schedules that the steps name.';
COMMENT ON COLUMN pipeline.escalations.labels IS 'Labels of the escalation, strings by name.';
COMMENT ON COLUMN pipeline.escalations.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.escalations.created_at IS 'When it was made.';

CREATE TABLE pipeline.on_call_grants (
  on_call text NOT NULL REFERENCES pipeline.on_calls ON DELETE CASCADE ON UPDATE CASCADE,
  owner regrole NOT NULL,
  role regrole NOT NULL,
  granted_by regrole NOT NULL,
  granted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (on_call, role)
);
COMMENT ON TABLE pipeline.on_call_grants IS
'Who but its owner may name an on-call schedule in an escalation: one row per schedule and role. Made by grant_on_call().';
COMMENT ON COLUMN pipeline.on_call_grants.on_call IS 'The schedule.';
COMMENT ON COLUMN pipeline.on_call_grants.owner IS 'Owner of the schedule.';
COMMENT ON COLUMN pipeline.on_call_grants.role IS 'The role, with all its members.';
COMMENT ON COLUMN pipeline.on_call_grants.granted_by IS 'Who granted it.';
COMMENT ON COLUMN pipeline.on_call_grants.granted_at IS 'When.';

CREATE TABLE pipeline.escalation_grants (
  escalation text NOT NULL REFERENCES pipeline.escalations ON DELETE CASCADE ON UPDATE CASCADE,
  owner regrole NOT NULL,
  role regrole NOT NULL,
  granted_by regrole NOT NULL,
  granted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (escalation, role)
);
COMMENT ON TABLE pipeline.escalation_grants IS
'Who but its owner may name an escalation in a route: one row per escalation and role. Made by grant_escalation().';
COMMENT ON COLUMN pipeline.escalation_grants.escalation IS 'The escalation.';
COMMENT ON COLUMN pipeline.escalation_grants.owner IS 'Owner of the escalation.';
COMMENT ON COLUMN pipeline.escalation_grants.role IS 'The role, with all its members.';
COMMENT ON COLUMN pipeline.escalation_grants.granted_by IS 'Who granted it.';
COMMENT ON COLUMN pipeline.escalation_grants.granted_at IS 'When.';

ALTER TABLE pipeline.on_calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.on_call_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.escalations ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.on_calls', '');
SELECT pg_extension_config_dump('pipeline.on_call_overrides', '');
SELECT pg_extension_config_dump('pipeline.on_call_overrides_override_id_seq', '');
SELECT pg_extension_config_dump('pipeline.escalations', '');
ALTER TABLE pipeline.on_call_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.escalation_grants ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.on_call_grants', '');
SELECT pg_extension_config_dump('pipeline.escalation_grants', '');
