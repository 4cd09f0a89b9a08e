/* base: what every room shares. */

COMMENT ON SCHEMA pipeline IS
'Objects of the extension pipeline: pipelines and runs, dimensions, features, expectation checks, alerts. GRANT USAGE lets a role create and run its own.';

CREATE DOMAIN pipeline.severity AS text
  CHECK (VALUE IN ('info', 'warning', 'error', 'critical'));
COMMENT ON DOMAIN pipeline.severity IS
'How bad: info, warning, error or critical, in rising order; the same scale for expectations, alerts and rules.';

CREATE TABLE pipeline.identity (
  system_identifier bigint NOT NULL,
  database oid NOT NULL
);
COMMENT ON TABLE pipeline.identity IS
'At most one row: the cluster and database in which background work acts. Never dumped, so that a copy idles until resume_schedules().';
COMMENT ON COLUMN pipeline.identity.system_identifier IS
'System identifier of the cluster (pg_control_system()).';
COMMENT ON COLUMN pipeline.identity.database IS
'OID of the database.';
ALTER TABLE pipeline.identity ENABLE ROW LEVEL SECURITY;

CREATE TABLE pipeline.changes (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  role regrole NOT NULL,
  owner regrole NOT NULL,
  action text NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  before jsonb,
  after jsonb,
  note text
);
COMMENT ON TABLE pipeline.changes IS
'The change log: who did what to which object. One row per change, written in the transaction that made it.';
COMMENT ON COLUMN pipeline.changes.change_id IS 'Number of the change.';
COMMENT ON COLUMN pipeline.changes.at IS 'When it was made.';
COMMENT ON COLUMN pipeline.changes.role IS 'The session''s role: who made it.';
COMMENT ON COLUMN pipeline.changes.owner IS 'Role that owned the object before the change, or since it; sees it as well.';
COMMENT ON COLUMN pipeline.changes.action IS
'What was done: the name of the function, such as create_pipeline or cancel.';
COMMENT ON COLUMN pipeline.changes.kind IS
'Kind of the object: pipeline, task, run, suite, dimension, ...';
COMMENT ON COLUMN pipeline.changes.name IS 'Name of the object.';
COMMENT ON COLUMN pipeline.changes.before IS
'The definition before the change; NULL when it was created.';
COMMENT ON COLUMN pipeline.changes.after IS
'The definition after the change; NULL when it was dropped.';
COMMENT ON COLUMN pipeline.changes.note IS 'What the user said of it.';
CREATE INDEX changes_object ON pipeline.changes (kind, name, change_id);
ALTER TABLE pipeline.changes ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.changes', '');
SELECT pg_extension_config_dump('pipeline.changes_change_id_seq', '');
