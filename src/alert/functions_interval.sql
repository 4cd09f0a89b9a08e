/* alert: time intervals. */

/* Everybody may name an administrator's. */
DROP POLICY IF EXISTS time_intervals_read ON pipeline.time_intervals;
CREATE POLICY time_intervals_read ON pipeline.time_intervals FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline.is_administrator(owner));
GRANT SELECT ON pipeline.time_intervals TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.create_time_interval(
  name text, times jsonb, timezone text DEFAULT 'UTC', labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false, description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_time_interval';
COMMENT ON FUNCTION pipeline.create_time_interval(text, jsonb, text, jsonb, boolean, text) IS
'Create a time interval (Alertmanager''s term) of the current user, for mute_time_intervals and active_time_intervals of routes. times: one span of time or an array of them, each an object with any of the fields times (array of {"start_time": "09:00", "end_time": "17:00"}, the end not included, up to 24:00), weekdays ("monday:friday"), days_of_month ("1:7", from the end "-3:-1"), months ("january:march" or 1), years ("2026:2028"), each an array or a single value, and location (a time zone). A time is in the interval if it is in one of the spans, and in a span if it is in one of the ranges of every field that the span has. timezone: of spans without location. labels, description: for you. Errors: 42710 for one that exists, unless or_replace; 22023 for what cannot be read.';

CREATE OR REPLACE FUNCTION pipeline.alter_time_interval(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_time_interval(text, jsonb) IS
'Change some of the definition of a time interval; what it holds back is looked at anew. changes: a JSON object whose keys are arguments of create_time_interval(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_time_interval().';

CREATE OR REPLACE FUNCTION pipeline.drop_time_interval(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_time_interval';
COMMENT ON FUNCTION pipeline.drop_time_interval(text) IS
'Drop a time interval. Errors: 2BP01 while a route names it; 42704 for an unknown one; 42501 for someone else''s.';

CREATE OR REPLACE FUNCTION pipeline.in_time_interval(
  name text, at_time timestamptz DEFAULT now()) RETURNS boolean
  LANGUAGE c STABLE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_in_time_interval';
COMMENT ON FUNCTION pipeline.in_time_interval(text, timestamptz) IS
'Is a time, by default now, in a time interval? To try one before a route names it. Errors: 42704 for an unknown one; 42501 for one that may not be used.';
