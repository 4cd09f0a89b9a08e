/* alert: matchers. */

CREATE OR REPLACE FUNCTION pipeline.match_labels(matchers text, labels jsonb) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_match_labels';
COMMENT ON FUNCTION pipeline.match_labels(text, jsonb) IS
'Are all matchers true of these labels? matchers: in Alertmanager''s syntax, any number, parted by commas, in braces or not: {severity=~"error|critical", team!="payments"}; = and != compare, =~ and !~ match a regular expression that is anchored at both ends; a label that is not there is empty. labels: strings by name, as alerts have them. To try what a route, a silence or an inhibition would match. NULL for NULL; 22023 for matchers or labels that cannot be read.';

CREATE OR REPLACE FUNCTION pipeline._read_matchers(matchers text, reader text) RETURNS text[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_read_matchers';
COMMENT ON FUNCTION pipeline._read_matchers(text, text) IS
'Internal: how matchers are read, label, operator and value of each, by the reader classic or utf8 (NULL: not at all), or by both together.';
REVOKE ALL ON FUNCTION pipeline._read_matchers(text, text) FROM PUBLIC;

/* alert: routes. */

DROP POLICY IF EXISTS routes_read ON pipeline.routes;
CREATE POLICY routes_read ON pipeline.routes FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS alert_groups_read ON pipeline.alert_groups;
CREATE POLICY alert_groups_read ON pipeline.alert_groups FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS alert_group_members_read ON pipeline.alert_group_members;
CREATE POLICY alert_group_members_read ON pipeline.alert_group_members FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS alert_group_channels_read ON pipeline.alert_group_channels;
CREATE POLICY alert_group_channels_read ON pipeline.alert_group_channels FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS route_changes_read ON pipeline.route_changes;
CREATE POLICY route_changes_read ON pipeline.route_changes FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.routes, pipeline.alert_groups, pipeline.alert_group_members,
  pipeline.alert_group_channels, pipeline.route_changes TO PUBLIC;

CREATE OR REPLACE VIEW pipeline.route_tree WITH (security_invoker = true) AS
WITH RECURSIVE tree AS (
  SELECT name, owner, parent, priority, 0 AS depth, ARRAY[lpad((priority::bigint + 2147483648)::text, 10, '0') || ' ' || name] AS place,
    matchers, channels, continue_matching, coalesce(group_by, '{pipeline}') AS group_by,
    coalesce(group_wait, '30 seconds') AS group_wait, coalesce(group_interval, '5 minutes') AS group_interval,
    coalesce(repeat_interval, '4 hours') AS repeat_interval, coalesce(send_resolved, true) AS send_resolved,
    mute_time_intervals, active_time_intervals, escalation, opens_incident
  FROM pipeline.routes WHERE parent IS NULL
  UNION ALL
  SELECT r.name, r.owner, r.parent, r.priority, t.depth + 1, t.place || (lpad((r.priority::bigint + 2147483648)::text, 10, '0') || ' ' || r.name),
    r.matchers, CASE WHEN r.channels = '{}' AND r.escalation IS NULL THEN t.channels ELSE r.channels END, r.continue_matching,
    coalesce(r.group_by, t.group_by), coalesce(r.group_wait, t.group_wait), coalesce(r.group_interval, t.group_interval),
    coalesce(r.repeat_interval, t.repeat_interval), coalesce(r.send_resolved, t.send_resolved),
    r.mute_time_intervals, r.active_time_intervals,
    CASE WHEN r.channels = '{}' AND r.escalation IS NULL THEN t.escalation ELSE r.escalation END, r.opens_incident
  FROM tree t JOIN pipeline.routes r ON r.parent = t.name AND r.owner = t.owner)
SELECT name, owner, parent, priority, depth, repeat('  ', depth) || name AS route, matchers, channels, continue_matching, group_by, group_wait, group_interval,
  repeat_interval, send_resolved, mute_time_intervals, active_time_intervals, escalation, opens_incident, place
FROM tree;
GRANT SELECT ON pipeline.route_tree TO PUBLIC;
COMMENT ON VIEW pipeline.route_tree IS 'The routes with what they have from their parents. ORDER BY owner, place gives the order in which they are asked.';
COMMENT ON COLUMN pipeline.route_tree.name IS 'Name of the route.';
COMMENT ON COLUMN pipeline.route_tree.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.route_tree.parent IS 'Route that it belongs to.';
COMMENT ON COLUMN pipeline.route_tree.priority IS 'Place among its siblings: lower ones are asked first.';
COMMENT ON COLUMN pipeline.route_tree.depth IS 'How many routes are above it.';
COMMENT ON COLUMN pipeline.route_tree.route IS 'The name, indented by the depth.';
COMMENT ON COLUMN pipeline.route_tree.matchers IS 'Matchers of the route alone; those of its parents must be true too.';
COMMENT ON COLUMN pipeline.route_tree.channels IS 'Channels that are told.';
COMMENT ON COLUMN pipeline.route_tree.continue_matching IS 'Are the routes after it asked too when it matches?';
COMMENT ON COLUMN pipeline.route_tree.group_by IS 'Labels by which alerts are grouped.';
COMMENT ON COLUMN pipeline.route_tree.group_wait IS 'How long a new group waits for more alerts.';
COMMENT ON COLUMN pipeline.route_tree.group_interval IS 'How long a group waits between two looks at what has changed.';
COMMENT ON COLUMN pipeline.route_tree.repeat_interval IS 'After how long a group in which nothing changes is told again.';
COMMENT ON COLUMN pipeline.route_tree.send_resolved IS 'Are the channels told of what is resolved?';
COMMENT ON COLUMN pipeline.route_tree.mute_time_intervals IS 'Time intervals in which nothing is sent.';
COMMENT ON COLUMN pipeline.route_tree.active_time_intervals IS 'Time intervals outside of which nothing is sent.';
COMMENT ON COLUMN pipeline.route_tree.escalation IS 'Escalation that a group goes through.';
COMMENT ON COLUMN pipeline.route_tree.opens_incident IS 'Does a group open an incident?';
COMMENT ON COLUMN pipeline.route_tree.place IS 'To order by.';

CREATE OR REPLACE FUNCTION pipeline.create_route(
  name text, matchers text[], channels text[] DEFAULT '{}', parent text DEFAULT NULL,
  priority integer DEFAULT 0, continue_matching boolean DEFAULT false,
  group_by text[] DEFAULT NULL, group_wait interval DEFAULT NULL,
  group_interval interval DEFAULT NULL, repeat_interval interval DEFAULT NULL,
  send_resolved boolean DEFAULT NULL, mute_time_intervals text[] DEFAULT '{}',
  active_time_intervals text[] DEFAULT '{}', escalation text DEFAULT NULL,
  opens_incident boolean DEFAULT false, labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false, description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_create_route';
COMMENT ON FUNCTION pipeline.create_route(text, text[], text[], text, integer, boolean, text[], interval, interval, interval, boolean, text[], text[], text, boolean, jsonb, boolean, text) IS
'Create a route (Alertmanager''s term): say which alerts of the current user go to which channels; an administrator''s routes take everybody''s. matchers: in Alertmanager''s syntax, each text any number, all must be true; {} matches all alerts. channels: names of channels of the owner, or that he may use; empty: those of the parent, with its escalation. parent: route of the same owner that must match first. priority: among the routes of a parent lower ones are asked first, equal ones by name; the first that matches takes the alert, and those after it are asked only with continue_matching. group_by: labels whose values alerts of one message have in common, "..." for all; group_wait: how long a new group waits for more, at least 0; group_interval: how long until what changed in it is told, at least a second; repeat_interval: after how long it is told again when nothing changes; send_resolved: tell what is resolved; of these NULL means as the parent has it, and without a parent {pipeline}, 30 seconds, 5 minutes, 4 hours, true. mute_time_intervals, active_time_intervals: time intervals in which nothing, or only in which something, is sent. escalation: name of one. opens_incident: open an incident for each group. labels, description: for you. Open alerts are routed again by the new routes. Errors: 42710 for one that exists, unless or_replace; 22023 for matchers that cannot be read and for a route that would be its own parent; 42704 for a parent or channel that does not exist; 42501 for one that may not be used.';

CREATE OR REPLACE FUNCTION pipeline.alter_route(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_route(text, jsonb) IS
'Change some of the definition of a route. changes: a JSON object whose keys are arguments of create_route(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_route().';

CREATE OR REPLACE FUNCTION pipeline.drop_route(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_route';
COMMENT ON FUNCTION pipeline.drop_route(text) IS
'Drop a route. Its open alerts are routed again by those that are left; channels that were told of them are told that this is over. Errors: 2BP01 while it is the parent of another; 42704 for an unknown one; 42501 for someone else''s.';

CREATE OR REPLACE FUNCTION pipeline._dispatch_alerts(at timestamptz) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_dispatch_alerts';
COMMENT ON FUNCTION pipeline._dispatch_alerts(timestamptz) IS
'Internal: what the notifier does before it sends, as if it were that time: take up the events of alerts, flush the groups that are due, write notifications. Returns the milliseconds until something is due again, 0 if there is more to do at once, -1 if nothing is.';
REVOKE ALL ON FUNCTION pipeline._dispatch_alerts(timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pipeline._trim_alerts(batch integer, days integer, alert_days integer) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_trim_alerts';
COMMENT ON FUNCTION pipeline._trim_alerts(integer, integer, integer) IS
'Internal: what the notifier does every minute: delete silences and on-call overrides that have been over for so many days, and alerts that have been resolved for so many (pipeline.notification_days, pipeline.alert_days), a batch of each. Returns how many rows.';
REVOKE ALL ON FUNCTION pipeline._trim_alerts(integer, integer, integer) FROM PUBLIC;
