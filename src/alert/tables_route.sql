/* alert: routes, and the groups of alerts that they make. */

CREATE TABLE pipeline.routes (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  parent text,
  priority integer NOT NULL,
  matchers text[] NOT NULL,
  channels text[] NOT NULL,
  continue_matching boolean NOT NULL,
  group_by text[],
  group_wait interval,
  group_interval interval,
  repeat_interval interval,
  send_resolved boolean,
  mute_time_intervals text[] NOT NULL,
  active_time_intervals text[] NOT NULL,
  escalation text,
  opens_incident boolean NOT NULL,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX routes_parent ON pipeline.routes (parent);
CREATE INDEX routes_channels ON pipeline.routes USING gin (channels);
COMMENT ON TABLE pipeline.routes IS
'Routes (Alertmanager''s term): which alerts go to which channels, and how they are grouped. They form trees. A route takes the alerts of its owner; one of an administrator everybody''s.';
COMMENT ON COLUMN pipeline.routes.name IS 'Name of the route, unique in the database.';
COMMENT ON COLUMN pipeline.routes.owner IS 'Role that made it.';
COMMENT ON COLUMN pipeline.routes.parent IS 'Route that it belongs to: it is asked only for alerts that the parent matches. NULL: none.';
COMMENT ON COLUMN pipeline.routes.priority IS 'Place among the routes of the same parent: lower ones are asked first, equal ones by name.';
COMMENT ON COLUMN pipeline.routes.matchers IS 'Matchers, all of which must be true of an alert''s labels.';
COMMENT ON COLUMN pipeline.routes.channels IS 'Channels that are told. Empty: those of the parent, unless the route has an escalation.';
COMMENT ON COLUMN pipeline.routes.continue_matching IS 'Are the routes after it asked too when it matches? Alertmanager''s continue.';
COMMENT ON COLUMN pipeline.routes.group_by IS 'Labels by which alerts are grouped; "..." stands for all. NULL: those of the parent, or {pipeline}.';
COMMENT ON COLUMN pipeline.routes.group_wait IS 'How long a new group waits for more alerts. NULL: as the parent, or 30 seconds.';
COMMENT ON COLUMN pipeline.routes.group_interval IS 'How long a group waits between two looks at what has changed. NULL: as the parent, or 5 minutes.';
COMMENT ON COLUMN pipeline.routes.repeat_interval IS 'After how long a group in which nothing changes is told again. NULL: as the parent, or 4 hours.';
COMMENT ON COLUMN pipeline.routes.send_resolved IS 'Are the channels told of what is resolved? NULL: as the parent, or true.';
COMMENT ON COLUMN pipeline.routes.mute_time_intervals IS 'Time intervals in which nothing is sent.';
COMMENT ON COLUMN pipeline.routes.active_time_intervals IS 'Time intervals outside of which nothing is sent. Empty: always.';
COMMENT ON COLUMN pipeline.routes.escalation IS 'Escalation that a group goes through until someone acknowledges.';
COMMENT ON COLUMN pipeline.routes.opens_incident IS 'Does a group open an incident when it is first told?';
COMMENT ON COLUMN pipeline.routes.labels IS 'Labels of the route, strings by name.';
COMMENT ON COLUMN pipeline.routes.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.routes.created_at IS 'When it was made.';

CREATE TABLE pipeline.alert_groups (
  group_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  group_key text NOT NULL DEFAULT gen_random_uuid()::text,
  owner regrole NOT NULL,
  route text,
  channel text,
  group_labels jsonb NOT NULL,
  lookup text,
  opened_at timestamptz NOT NULL,
  flushed_at timestamptz,
  next_flush_at timestamptz,
  muted_since timestamptz,
  muted_by text,
  digest boolean NOT NULL DEFAULT false,
  escalation_step integer,
  escalation_repeat integer NOT NULL DEFAULT 0,
  escalate_at timestamptz,
  escalated bigint[] NOT NULL DEFAULT '{}',
  CHECK ((route IS NULL) = (channel IS NOT NULL))
);
CREATE UNIQUE INDEX alert_groups_lookup ON pipeline.alert_groups (lookup) WHERE lookup IS NOT NULL;
CREATE INDEX alert_groups_flush ON pipeline.alert_groups (next_flush_at) WHERE next_flush_at IS NOT NULL;
CREATE INDEX alert_groups_escalate ON pipeline.alert_groups (escalate_at) WHERE escalate_at IS NOT NULL;
COMMENT ON TABLE pipeline.alert_groups IS
'Groups of alerts that are open: what a route tells of in one message (Alertmanager''s aggregation groups). Written by the notifier only. A group ends when all of its alerts are resolved and that was told.';
COMMENT ON COLUMN pipeline.alert_groups.group_id IS 'Number of the group.';
COMMENT ON COLUMN pipeline.alert_groups.group_key IS 'What notifications of the group carry as group_key.';
COMMENT ON COLUMN pipeline.alert_groups.owner IS 'Owner of the route, or of the channel of the default route.';
COMMENT ON COLUMN pipeline.alert_groups.route IS 'The route; NULL: the default route.';
COMMENT ON COLUMN pipeline.alert_groups.channel IS 'Channel that the default route tells; NULL for other routes.';
COMMENT ON COLUMN pipeline.alert_groups.group_labels IS 'The labels that its alerts have in common, those of group_by.';
COMMENT ON COLUMN pipeline.alert_groups.lookup IS 'Hash of route, channel and group_labels, by which a new alert finds its group; NULL for a digest, which takes no new ones.';
COMMENT ON COLUMN pipeline.alert_groups.opened_at IS 'When its first alert came.';
COMMENT ON COLUMN pipeline.alert_groups.flushed_at IS 'When it was last looked at; NULL: not yet.';
COMMENT ON COLUMN pipeline.alert_groups.next_flush_at IS 'When it is looked at next; NULL: when an alert changes.';
COMMENT ON COLUMN pipeline.alert_groups.muted_since IS 'Since when a time interval has held it back; NULL: none does.';
COMMENT ON COLUMN pipeline.alert_groups.muted_by IS 'Which time intervals hold it back.';
COMMENT ON COLUMN pipeline.alert_groups.digest IS 'Was it made at the end of a mute, of what had been held back?';
COMMENT ON COLUMN pipeline.alert_groups.escalation_step IS 'Last step of the escalation that was taken, from 1; NULL: none was, or someone acknowledged.';
COMMENT ON COLUMN pipeline.alert_groups.escalation_repeat IS 'How often the escalation has begun again.';
COMMENT ON COLUMN pipeline.alert_groups.escalate_at IS 'When the next step is due; NULL: the escalation does not run, or has come to its end.';
COMMENT ON COLUMN pipeline.alert_groups.escalated IS 'Keys of the alerts for which the escalation has come to its end.';

CREATE TABLE pipeline.alert_group_members (
  group_id bigint NOT NULL REFERENCES pipeline.alert_groups ON DELETE CASCADE,
  owner regrole NOT NULL,
  fingerprint text NOT NULL,
  alert_id bigint NOT NULL REFERENCES pipeline.alerts ON DELETE CASCADE,
  key bigint NOT NULL,
  joined_at timestamptz NOT NULL,
  left_at timestamptz,
  told_at timestamptz,
  suppressed_by text,
  PRIMARY KEY (group_id, owner, fingerprint)
);
CREATE INDEX alert_group_members_alert ON pipeline.alert_group_members (alert_id, group_id);
COMMENT ON TABLE pipeline.alert_group_members IS 'Alerts in groups. An alert is in a group of each route that takes it.';
COMMENT ON COLUMN pipeline.alert_group_members.group_id IS 'The group.';
COMMENT ON COLUMN pipeline.alert_group_members.owner IS 'Owner of the alert.';
COMMENT ON COLUMN pipeline.alert_group_members.fingerprint IS 'Fingerprint of the alert: one that fires again between two looks is the same to those who are told.';
COMMENT ON COLUMN pipeline.alert_group_members.alert_id IS 'The alert.';
COMMENT ON COLUMN pipeline.alert_group_members.key IS 'What makes it new to those who are told: a hash of owner, fingerprint, severity and the last time that it fired again after an acknowledgement.';
COMMENT ON COLUMN pipeline.alert_group_members.joined_at IS 'When it came into the group.';
COMMENT ON COLUMN pipeline.alert_group_members.left_at IS 'When another group took it instead: its labels or the routes changed.';
COMMENT ON COLUMN pipeline.alert_group_members.told_at IS 'When a notification of the group first told of it, or of an earlier alert that is the same to those who are told; NULL: none has.';
COMMENT ON COLUMN pipeline.alert_group_members.suppressed_by IS 'What kept it from being told at the last look: a silence, an inhibition or a time interval, in words; NULL: nothing.';

CREATE TABLE pipeline.alert_group_channels (
  group_id bigint NOT NULL REFERENCES pipeline.alert_groups ON DELETE CASCADE,
  channel text NOT NULL,
  escalation boolean NOT NULL,
  owner regrole NOT NULL,
  at timestamptz NOT NULL,
  firing bigint[] NOT NULL,
  resolved bigint[] NOT NULL,
  PRIMARY KEY (group_id, channel)
);
COMMENT ON TABLE pipeline.alert_group_channels IS 'What each channel was last told of a group (Alertmanager''s notification log).';
COMMENT ON COLUMN pipeline.alert_group_channels.group_id IS 'The group.';
COMMENT ON COLUMN pipeline.alert_group_channels.channel IS 'The channel.';
COMMENT ON COLUMN pipeline.alert_group_channels.escalation IS 'Was it told as a step of an escalation, not by the route?';
COMMENT ON COLUMN pipeline.alert_group_channels.owner IS 'Owner of the group.';
COMMENT ON COLUMN pipeline.alert_group_channels.at IS 'When.';
COMMENT ON COLUMN pipeline.alert_group_channels.firing IS 'Keys of the alerts that it was told are firing.';
COMMENT ON COLUMN pipeline.alert_group_channels.resolved IS 'Keys of those that it was told are resolved.';

CREATE TABLE pipeline.route_changes (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner regrole NOT NULL
);
COMMENT ON TABLE pipeline.route_changes IS 'Owners whose open alerts the notifier has to route again, because their routes or time intervals changed.';
COMMENT ON COLUMN pipeline.route_changes.change_id IS 'Number of the change.';
COMMENT ON COLUMN pipeline.route_changes.owner IS 'Owner of what changed.';

ALTER TABLE pipeline.routes ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.alert_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.alert_group_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.alert_group_channels ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.route_changes ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.routes', '');
SELECT pg_extension_config_dump('pipeline.alert_groups', '');
SELECT pg_extension_config_dump('pipeline.alert_groups_group_id_seq', '');
SELECT pg_extension_config_dump('pipeline.alert_group_members', '');
SELECT pg_extension_config_dump('pipeline.alert_group_channels', '');
SELECT pg_extension_config_dump('pipeline.route_changes', '');
SELECT pg_extension_config_dump('pipeline.route_changes_change_id_seq', '');

/* What was told of an alert, for explain_alert(). */
CREATE INDEX notifications_alerts ON pipeline.notifications USING gin (alert_ids);
