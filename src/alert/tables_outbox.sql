/* alert: the outbox, and what became of each attempt to empty it. */

CREATE TABLE pipeline.notifications (
  notification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner regrole NOT NULL,
  channel text NOT NULL,
  route text,
  event text NOT NULL,
  group_key text NOT NULL,
  alert_ids bigint[] NOT NULL,
  message jsonb NOT NULL,
  idempotency_key uuid NOT NULL DEFAULT gen_random_uuid(),
  state text NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'sending', 'sent', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  attempts_before integer NOT NULL DEFAULT 0,
  queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at timestamptz,
  last_error text,
  progress jsonb,
  CHECK ((state = 'sent') = (sent_at IS NOT NULL))
);
CREATE INDEX notifications_due ON pipeline.notifications (channel, next_attempt_at, notification_id)
  WHERE state = 'pending';
CREATE INDEX notifications_sending ON pipeline.notifications (notification_id)
  WHERE state = 'sending';
CREATE INDEX notifications_open ON pipeline.notifications (channel, group_key, notification_id)
  WHERE state IN ('pending', 'sending');
CREATE INDEX notifications_channel ON pipeline.notifications (channel, notification_id);
CREATE INDEX notifications_group ON pipeline.notifications (group_key, notification_id);
COMMENT ON TABLE pipeline.notifications IS
'The outbox: one row per message to one channel, written in the transaction that decides it and sent by the notifier at least once.';
COMMENT ON COLUMN pipeline.notifications.notification_id IS 'Number of the notification: what redeliver() takes.';
COMMENT ON COLUMN pipeline.notifications.owner IS 'Owner of the route that sent it, or of the channel of the default route: an administrator''s tells of alerts of others too.';
COMMENT ON COLUMN pipeline.notifications.channel IS 'Name of the channel that it goes to.';
COMMENT ON COLUMN pipeline.notifications.route IS 'Route that sent it; NULL: the default route, or not by a route.';
COMMENT ON COLUMN pipeline.notifications.event IS
'Why it is sent: firing, resolved, acknowledged, repeat, digest, escalation, heartbeat or test.';
COMMENT ON COLUMN pipeline.notifications.group_key IS
'What it is about, the same for all messages of one group of alerts while it is open: peers use it to thread and to close.';
COMMENT ON COLUMN pipeline.notifications.alert_ids IS 'The alerts that it tells of.';
COMMENT ON COLUMN pipeline.notifications.message IS 'What it says, in a form that every kind of channel can write from.';
COMMENT ON COLUMN pipeline.notifications.idempotency_key IS
'The same for all attempts: webhook-id, Message-ID and the like, by which a receiver knows a repeated delivery.';
COMMENT ON COLUMN pipeline.notifications.state IS
'pending: due at next_attempt_at; sending: the notifier has it in hand; sent; dead: given up, see last_error.';
COMMENT ON COLUMN pipeline.notifications.attempts IS 'How often it was tried.';
COMMENT ON COLUMN pipeline.notifications.attempts_before IS 'How many of the attempts were before the last redeliver().';
COMMENT ON COLUMN pipeline.notifications.queued_at IS 'Since when it is to be sent: written, or last redelivered.';
COMMENT ON COLUMN pipeline.notifications.created_at IS 'When it was written.';
COMMENT ON COLUMN pipeline.notifications.next_attempt_at IS 'When it is tried (again), at the earliest.';
COMMENT ON COLUMN pipeline.notifications.sent_at IS 'When the peer took it.';
COMMENT ON COLUMN pipeline.notifications.last_error IS 'What was wrong with the last attempt, secrets left out.';
COMMENT ON COLUMN pipeline.notifications.progress IS
'What has been done of it already: delivered, the recipients of a mail who have got it; told_on, the channel that was told instead, for one that tells that its own does not work.';

CREATE TABLE pipeline.deliveries (
  delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  notification_id bigint NOT NULL REFERENCES pipeline.notifications ON DELETE CASCADE,
  owner regrole NOT NULL,
  channel text NOT NULL,
  attempt integer NOT NULL,
  started_at timestamptz NOT NULL,
  ms double precision NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('sent', 'retry', 'dead', 'lost')),
  status integer,
  error text,
  answer text
);
CREATE INDEX deliveries_notification ON pipeline.deliveries (notification_id, delivery_id);
COMMENT ON TABLE pipeline.deliveries IS 'Attempts to deliver notifications: one row each.';
COMMENT ON COLUMN pipeline.deliveries.delivery_id IS 'Number of the attempt.';
COMMENT ON COLUMN pipeline.deliveries.notification_id IS 'The notification.';
COMMENT ON COLUMN pipeline.deliveries.owner IS 'Owner of the notification.';
COMMENT ON COLUMN pipeline.deliveries.channel IS 'Channel that was tried.';
COMMENT ON COLUMN pipeline.deliveries.attempt IS 'Which attempt of the notification it was, from 1.';
COMMENT ON COLUMN pipeline.deliveries.started_at IS 'When it began.';
COMMENT ON COLUMN pipeline.deliveries.ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN pipeline.deliveries.outcome IS
'sent; retry: it will be tried again; dead: given up; lost: the notifier died during it, and it may have arrived.';
COMMENT ON COLUMN pipeline.deliveries.status IS 'Status of HTTP or reply code of SMTP; NULL when there was no answer.';
COMMENT ON COLUMN pipeline.deliveries.error IS 'What was wrong, secrets left out.';
COMMENT ON COLUMN pipeline.deliveries.answer IS 'Beginning of the answer, secrets left out.';

ALTER TABLE pipeline.notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.deliveries ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.notifications', '');
SELECT pg_extension_config_dump('pipeline.notifications_notification_id_seq', '');
SELECT pg_extension_config_dump('pipeline.deliveries', '');
SELECT pg_extension_config_dump('pipeline.deliveries_delivery_id_seq', '');
