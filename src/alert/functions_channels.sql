/* alert: who else may use a channel, and how each fares. */

DROP POLICY IF EXISTS channel_grants_read ON pipeline.channel_grants;
CREATE POLICY channel_grants_read ON pipeline.channel_grants FOR SELECT
  USING (pipeline.is_owner(owner) OR pg_catalog.pg_has_role(role, 'USAGE'));
DROP POLICY IF EXISTS channel_health_read ON pipeline.channel_health;
CREATE POLICY channel_health_read ON pipeline.channel_health FOR SELECT
  USING (pipeline.is_owner(owner) OR EXISTS (SELECT FROM pipeline.channel_grants g WHERE g.channel = channel_health.channel));
-- Whom it was granted to sees it as well.
DROP POLICY IF EXISTS channels_read ON pipeline.channels;
CREATE POLICY channels_read ON pipeline.channels FOR SELECT
  USING (pipeline.is_owner(owner) OR EXISTS (SELECT FROM pipeline.channel_grants g WHERE g.channel = channels.name));
GRANT SELECT ON pipeline.channel_grants, pipeline.channel_health TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.grant_channel(channel text, role regrole) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_grant_channel';
COMMENT ON FUNCTION pipeline.grant_channel(text, regrole) IS
'Let a role, with its members, name a channel of yours in routes and escalations, and see it; never change or test it. Errors: 42704, 42501 for those who do not own it.';

CREATE OR REPLACE FUNCTION pipeline.revoke_channel(channel text, role regrole) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_revoke_channel';
COMMENT ON FUNCTION pipeline.revoke_channel(text, regrole) IS
'Take back what grant_channel() gave a role: its routes do not reach the channel any more. false when it had been given nothing. Errors: 42704, 42501 for those who do not own it.';

CREATE OR REPLACE VIEW pipeline.channel_status WITH (security_invoker = true) AS
SELECT c.name, c.kind, c.owner,
       CASE WHEN c.kind IN ('notify', 'log') THEN 'told at commit'
            WHEN h.paused_until > now() AND h.paused_for = 'circuit'
              THEN 'paused: ' || h.failures || ' attempts in a row have failed'
            WHEN h.paused_until > now() THEN 'paused: the peer asked for it'
            WHEN h.failures > 0 THEN 'failing'
            WHEN h.last_success_at IS NULL AND h.last_failure_at IS NULL THEN 'never used'
            WHEN h.last_success_at IS NULL OR h.last_failure_at > h.last_success_at THEN 'failing'
            ELSE 'working' END AS state,
       h.paused_until, h.failures, h.last_success_at, h.last_failure_at, h.last_error,
       p.pending, p.oldest_pending
FROM pipeline.channels c
LEFT JOIN pipeline.channel_health h ON h.channel = c.name
CROSS JOIN LATERAL (
  SELECT count(*) AS pending, min(n.created_at) AS oldest_pending
  FROM pipeline.notifications n
  WHERE n.channel = c.name AND n.state IN ('pending', 'sending')) p;
GRANT SELECT ON pipeline.channel_status TO PUBLIC;
COMMENT ON VIEW pipeline.channel_status IS
'How each channel fares: does it take notifications, and how many wait for it.';
COMMENT ON COLUMN pipeline.channel_status.name IS 'Name of the channel.';
COMMENT ON COLUMN pipeline.channel_status.kind IS 'How it tells.';
COMMENT ON COLUMN pipeline.channel_status.owner IS 'Its owner.';
COMMENT ON COLUMN pipeline.channel_status.state IS
'working; failing: the last attempts failed; paused: nothing is sent until paused_until; never used: see test_channel(); told at commit: kinds notify and log need no notifier.';
COMMENT ON COLUMN pipeline.channel_status.paused_until IS 'Until when nothing is sent to it.';
COMMENT ON COLUMN pipeline.channel_status.failures IS 'How many attempts in a row have failed.';
COMMENT ON COLUMN pipeline.channel_status.last_success_at IS 'When it last took something.';
COMMENT ON COLUMN pipeline.channel_status.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN pipeline.channel_status.last_error IS 'What was wrong then, secrets left out.';
COMMENT ON COLUMN pipeline.channel_status.pending IS 'How many notifications of yours wait for it.';
COMMENT ON COLUMN pipeline.channel_status.oldest_pending IS 'When the oldest of them was written.';
