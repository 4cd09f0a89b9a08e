/* alert: escalations and on-call schedules. */

DROP POLICY IF EXISTS on_call_grants_read ON pipeline.on_call_grants;
CREATE POLICY on_call_grants_read ON pipeline.on_call_grants FOR SELECT
  USING (pipeline.is_owner(owner) OR pg_catalog.pg_has_role(role, 'USAGE'));
DROP POLICY IF EXISTS escalation_grants_read ON pipeline.escalation_grants;
CREATE POLICY escalation_grants_read ON pipeline.escalation_grants FOR SELECT
  USING (pipeline.is_owner(owner) OR pg_catalog.pg_has_role(role, 'USAGE'));
-- Whom it was granted to sees it as well.
DROP POLICY IF EXISTS on_calls_read ON pipeline.on_calls;
CREATE POLICY on_calls_read ON pipeline.on_calls FOR SELECT
  USING (pipeline.is_owner(owner) OR EXISTS (SELECT FROM pipeline.on_call_grants g WHERE g.on_call = on_calls.name));
DROP POLICY IF EXISTS on_call_overrides_read ON pipeline.on_call_overrides;
CREATE POLICY on_call_overrides_read ON pipeline.on_call_overrides FOR SELECT
  USING (pipeline.is_owner(owner) OR EXISTS (SELECT FROM pipeline.on_call_grants g WHERE g.on_call = on_call_overrides.on_call));
DROP POLICY IF EXISTS escalations_read ON pipeline.escalations;
CREATE POLICY escalations_read ON pipeline.escalations FOR SELECT
  USING (pipeline.is_owner(owner) OR EXISTS (SELECT FROM pipeline.escalation_grants g WHERE g.escalation = escalations.name));
GRANT SELECT ON pipeline.on_calls, pipeline.on_call_overrides, pipeline.escalations, pipeline.on_call_grants, pipeline.escalation_grants TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.create_on_call(
  name text, rotation jsonb, timezone text DEFAULT 'UTC', labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false, description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_on_call';
COMMENT ON FUNCTION pipeline.create_on_call(text, jsonb, text, jsonb, boolean, text) IS
'Create an on-call schedule of the current user: people who take turns. rotation: an object with people (an array of {"name": ..., "channels": [...]}, in the order of their turns), start (when the first of them begins, by the clock of the time zone, such as "2026-01-05 09:00") and shift (the length of a turn, by default "7 days"). timezone: whose clock the shifts go by; a handover at nine stays at nine when the clock is changed. labels, description: for you. Errors: 42710 for one that exists, unless or_replace; 22023 for a rotation that cannot be read; 42704 for a channel that does not exist, 42501 for one that may not be used.';

CREATE OR REPLACE FUNCTION pipeline.alter_on_call(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_on_call(text, jsonb) IS
'Change some of the definition of an on-call schedule; its overrides stay. changes: a JSON object whose keys are arguments of create_on_call(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_on_call().';

CREATE OR REPLACE FUNCTION pipeline.drop_on_call(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_on_call';
COMMENT ON FUNCTION pipeline.drop_on_call(text) IS
'Drop an on-call schedule with its overrides. Errors: 2BP01 while an escalation names it; 42704 for an unknown one; 42501 for someone else''s.';

CREATE OR REPLACE FUNCTION pipeline.override_on_call(
  name text, person text, starts_at timestamptz, ends_at timestamptz) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_override_on_call';
COMMENT ON FUNCTION pipeline.override_on_call(text, text, timestamptz, timestamptz) IS
'Put somebody of an on-call schedule on call from starts_at to ends_at, whoever''s turn it is; returns the override_id. Of two overrides for the same time the later made holds. Errors: 42704 for an unknown schedule or person; 42501 for someone else''s; 22023 when ends_at is not after starts_at.';

CREATE OR REPLACE FUNCTION pipeline.drop_on_call_override(override_id bigint) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_on_call_override';
COMMENT ON FUNCTION pipeline.drop_on_call_override(bigint) IS
'Take an override back. Errors: 42704 for an unknown one; 42501 for one of someone else''s schedule.';

CREATE OR REPLACE FUNCTION pipeline.who_is_on_call(
  name text, at_time timestamptz DEFAULT now(),
  OUT person text, OUT channels text[], OUT since timestamptz, OUT until_time timestamptz, OUT override boolean)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_who_is_on_call';
COMMENT ON FUNCTION pipeline.who_is_on_call(text, timestamptz) IS
'Who is on call at a time, by default now: the person, the channels, from when until when, and whether by an override. Errors: 42704 for an unknown schedule; 42501 for someone else''s.';

CREATE OR REPLACE FUNCTION pipeline.create_escalation(
  name text, steps jsonb, repeats integer DEFAULT 0, labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false, description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_escalation';
COMMENT ON FUNCTION pipeline.create_escalation(text, jsonb, integer, jsonb, boolean, text) IS
'Create an escalation of the current user (PagerDuty''s escalation policy), for the argument escalation of routes. steps: an array of steps, each with channels (an array of names), on_call (the name of an on-call schedule; whoever is on call then is told), or both, and wait (by default "15 minutes"): how long until the next step, if nobody acknowledges. The first step is taken as soon as the route tells of a group. repeats: how often it begins again after the last step, from 0 to 100. It stops when all that fires is acknowledged, and ends when it is resolved; those who were told are told of both. labels, description: for you. Errors: 42710 for one that exists, unless or_replace; 22023 for steps that cannot be read; 42704 for a channel or schedule that does not exist, 42501 for one that may not be used.';

CREATE OR REPLACE FUNCTION pipeline.alter_escalation(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_escalation(text, jsonb) IS
'Change some of the definition of an escalation; one that runs goes on with the new steps. changes: a JSON object whose keys are arguments of create_escalation(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_escalation().';

CREATE OR REPLACE FUNCTION pipeline.drop_escalation(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_escalation';
COMMENT ON FUNCTION pipeline.drop_escalation(text) IS
'Drop an escalation. Errors: 2BP01 while a route names it; 42704 for an unknown one; 42501 for someone else''s.';

CREATE OR REPLACE FUNCTION pipeline.grant_on_call(on_call text, role regrole) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_grant_on_call';
COMMENT ON FUNCTION pipeline.grant_on_call(text, regrole) IS
'Let a role, with its members, name an on-call schedule of yours in escalations, and see it and who is on call; never change it. Whom it tells is told by the channels that you may use. Errors: 42704, 42501 for those who do not own it.';

CREATE OR REPLACE FUNCTION pipeline.revoke_on_call(on_call text, role regrole) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_revoke_on_call';
COMMENT ON FUNCTION pipeline.revoke_on_call(text, regrole) IS
'Take back what grant_on_call() gave a role: what names it tells nobody by it any more. false when it had been given nothing. Errors: 42704, 42501 for those who do not own it.';

CREATE OR REPLACE FUNCTION pipeline.grant_escalation(escalation text, role regrole) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_grant_escalation';
COMMENT ON FUNCTION pipeline.grant_escalation(text, regrole) IS
'Let a role, with its members, name an escalation of yours in routes, and see it; never change it. Whom it tells is told by the channels that you may use. Errors: 42704, 42501 for those who do not own it.';

CREATE OR REPLACE FUNCTION pipeline.revoke_escalation(escalation text, role regrole) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_revoke_escalation';
COMMENT ON FUNCTION pipeline.revoke_escalation(text, regrole) IS
'Take back what grant_escalation() gave a role: what names it tells nobody by it any more. false when it had been given nothing. Errors: 42704, 42501 for those who do not own it.';
