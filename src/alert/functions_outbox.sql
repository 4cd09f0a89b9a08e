/* alert: who may read the outbox. */

DROP POLICY IF EXISTS notifications_read ON pipeline.notifications;
CREATE POLICY notifications_read ON pipeline.notifications FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS deliveries_read ON pipeline.deliveries;
CREATE POLICY deliveries_read ON pipeline.deliveries FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.notifications, pipeline.deliveries TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.redeliver(notification_id bigint) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_redeliver';
COMMENT ON FUNCTION pipeline.redeliver(bigint) IS
'Send a notification again that was sent or given up, with all its attempts before it; under the same idempotency key, so that a receiver that has it already knows. Unknown, or its channel dropped: 42704; someone else''s, or its channel not for its owner any more: 42501; one that is pending or being sent: 55000.';
