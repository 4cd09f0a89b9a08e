/* alert: who else may use a channel, and how each fares. */

CREATE TABLE pipeline.channel_grants (
  channel text NOT NULL REFERENCES pipeline.channels ON DELETE CASCADE ON UPDATE CASCADE,
  owner regrole NOT NULL,
  role regrole NOT NULL,
  granted_by regrole NOT NULL,
  granted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (channel, role)
);
COMMENT ON TABLE pipeline.channel_grants IS
'Who but its owner may name a channel in a route or an escalation: one row per channel and role. Made by grant_channel().';
COMMENT ON COLUMN pipeline.channel_grants.channel IS 'The channel.';
COMMENT ON COLUMN pipeline.channel_grants.owner IS 'Owner of the channel.';
COMMENT ON COLUMN pipeline.channel_grants.role IS 'The role, with all its members.';
COMMENT ON COLUMN pipeline.channel_grants.granted_by IS 'Who granted it.';
COMMENT ON COLUMN pipeline.channel_grants.granted_at IS 'When.';

CREATE TABLE pipeline.channel_health (
  channel text PRIMARY KEY REFERENCES pipeline.channels ON DELETE CASCADE ON UPDATE CASCADE,
  owner regrole NOT NULL,
  failures integer NOT NULL DEFAULT 0,
  paused_until timestamptz,
  paused_for text,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_error text,
  heartbeat_at timestamptz
);
COMMENT ON TABLE pipeline.channel_health IS
'How the channels fare, as the notifier last noted it: at each change and else every few seconds. The view channel_status says it in words.';
COMMENT ON COLUMN pipeline.channel_health.channel IS 'The channel.';
COMMENT ON COLUMN pipeline.channel_health.owner IS 'Owner of the channel.';
COMMENT ON COLUMN pipeline.channel_health.failures IS 'How many attempts in a row have failed.';
COMMENT ON COLUMN pipeline.channel_health.paused_until IS 'Until when nothing is sent to it.';
COMMENT ON COLUMN pipeline.channel_health.paused_for IS
'Why: circuit (too many failures in a row: then one attempt tries whether it works again) or retry_after (the peer asked for it).';
COMMENT ON COLUMN pipeline.channel_health.last_success_at IS 'When it last took something.';
COMMENT ON COLUMN pipeline.channel_health.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN pipeline.channel_health.last_error IS 'What was wrong then, secrets left out.';
COMMENT ON COLUMN pipeline.channel_health.heartbeat_at IS 'When its last heartbeat was written.';

ALTER TABLE pipeline.channel_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.channel_health ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.channel_grants', '');
SELECT pg_extension_config_dump('pipeline.channel_health', '');
