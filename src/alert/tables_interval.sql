/* alert: time intervals. */

CREATE TABLE pipeline.time_intervals (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  times jsonb NOT NULL,
  timezone text NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pipeline.time_intervals IS
'Time intervals (Alertmanager''s term) in which routes are muted or active. Those of administrators may be named in everybody''s routes.';
COMMENT ON COLUMN pipeline.time_intervals.name IS 'Name of the interval, unique in the database.';
COMMENT ON COLUMN pipeline.time_intervals.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.time_intervals.times IS 'Spans of time, with Alertmanager''s fields: times, weekdays, days_of_month, months, years, location.';
COMMENT ON COLUMN pipeline.time_intervals.timezone IS 'Time zone of the spans that name no location.';
COMMENT ON COLUMN pipeline.time_intervals.labels IS 'Labels of the interval, strings by name.';
COMMENT ON COLUMN pipeline.time_intervals.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.time_intervals.created_at IS 'When it was made.';

ALTER TABLE pipeline.time_intervals ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.time_intervals', '');
