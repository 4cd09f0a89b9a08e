/* alert: silences and inhibitions. */

CREATE TABLE pipeline.silences (
  silence_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner regrole NOT NULL,
  created_by regrole NOT NULL,
  matchers text NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  until_resolved boolean NOT NULL,
  comment text,
  ended_by text CHECK (ended_by IN ('expired', 'resolved')),
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (starts_at <= ends_at)
);
CREATE INDEX silences_ends_at ON pipeline.silences (ends_at);
CREATE INDEX silences_ends ON pipeline.silences (ends_at);
COMMENT ON TABLE pipeline.silences IS
'Silences (Alertmanager''s term): of alerts that they match nobody is told while they last. A silence covers alerts of its owner, one of an administrator everybody''s. Those that are over stay here.';
COMMENT ON COLUMN pipeline.silences.silence_id IS 'Number of the silence.';
COMMENT ON COLUMN pipeline.silences.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.silences.created_by IS 'The session''s role when it was made.';
COMMENT ON COLUMN pipeline.silences.matchers IS 'Matchers, all of which must be true of an alert''s labels.';
COMMENT ON COLUMN pipeline.silences.starts_at IS 'When it begins.';
COMMENT ON COLUMN pipeline.silences.ends_at IS 'When it ends, or ended; infinity: when the alerts are resolved.';
COMMENT ON COLUMN pipeline.silences.until_resolved IS 'Does it end as soon as all alerts that it matches are resolved?';
COMMENT ON COLUMN pipeline.silences.comment IS 'Why.';
COMMENT ON COLUMN pipeline.silences.ended_by IS 'Why it ended before its time: expired (someone ended it) or resolved; NULL: it did not.';
COMMENT ON COLUMN pipeline.silences.created_at IS 'When it was made.';

CREATE TABLE pipeline.inhibitions (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  source_matchers text NOT NULL,
  target_matchers text NOT NULL,
  equal_labels text[] NOT NULL,
  predefined boolean NOT NULL DEFAULT false,
  labels jsonb NOT NULL DEFAULT '{}',
  description text,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pipeline.inhibitions IS
'Inhibitions (Alertmanager''s term): nobody is told of an alert that matches target_matchers while one is open that matches source_matchers and has the same values of equal_labels. An inhibition covers alerts of its owner; one of an administrator, and the predefined ones, everybody''s; but always both alerts have one owner, or the source is an administrator''s.';
COMMENT ON COLUMN pipeline.inhibitions.name IS 'Name of the inhibition, unique in the database.';
COMMENT ON COLUMN pipeline.inhibitions.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.inhibitions.source_matchers IS 'What the alert has to match that mutes.';
COMMENT ON COLUMN pipeline.inhibitions.target_matchers IS 'What the alert has to match that is muted.';
COMMENT ON COLUMN pipeline.inhibitions.equal_labels IS 'Labels of which both have to have the same value, or both none; "a=b": label a of the source, label b of the target.';
COMMENT ON COLUMN pipeline.inhibitions.predefined IS 'Is it one that comes with the extension?';
COMMENT ON COLUMN pipeline.inhibitions.labels IS 'Labels of the inhibition, strings by name.';
COMMENT ON COLUMN pipeline.inhibitions.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.inhibitions.created_at IS 'When it was made.';

/*
 * A check that fails its task tells more than the task, and that more than the
 * run; what misses its deadline because something before it failed tells least.
 */
INSERT INTO pipeline.inhibitions (name, owner, source_matchers, target_matchers, equal_labels, predefined, description) VALUES
  ('failed check', CURRENT_USER::regrole, '{alertname="CheckFailed", severity=~"error|critical"}', '{alertname="TaskFailed"}',
   '{pipeline,task}', true, 'A failed check mutes the failure of its task.'),
  ('failed task', CURRENT_USER::regrole, '{alertname="TaskFailed"}', '{alertname="RunFailed"}',
   '{pipeline}', true, 'A failed task mutes the failure of its run.'),
  ('failed upstream', CURRENT_USER::regrole, '{alertname=~"TaskFailed|RunFailed"}', '{alertname=~"DeadlineNear|DeadlineMissed|SourceStale", task=""}',
   '{pipeline}', true, 'A failure mutes what it held back: the deadline of its pipeline, and what was not made.'),
  ('failed task, late', CURRENT_USER::regrole, '{alertname="TaskFailed"}', '{alertname="DeadlineMissed", task!=""}',
   '{pipeline,task}', true, 'A failed task mutes that it is late.'),
  ('held back by a task', CURRENT_USER::regrole, '{alertname=~"TaskFailed|DeadlineMissed|TaskSlow", task!=""}', '{alertname="DeadlineMissed", task!="", upstream!=""}',
   '{pipeline,task=upstream}', true, 'A task that has failed, or is late itself, mutes that those that wait for it are late.'),
  ('held back by a pipeline', CURRENT_USER::regrole, '{alertname=~"TaskFailed|RunFailed|SourceStale", pipeline!=""}', '{alertname="SourceStale", upstream!=""}',
   '{pipeline=upstream}', true, 'A pipeline that has failed, or does not publish, mutes what others cannot publish for want of its datasets.');

ALTER TABLE pipeline.silences ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.inhibitions ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.silences', '');
SELECT pg_extension_config_dump('pipeline.silences_silence_id_seq', '');
SELECT pg_extension_config_dump('pipeline.inhibitions', 'WHERE NOT predefined');
