/* alert: who may read the outbox. */

DROP POLICY IF EXISTS notifications_read ON pipeline.notifications;
CREATE POLICY notifications_read ON pipeline.notifications FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS deliveries_read ON pipeline.deliveries;
CREATE POLICY deliveries_read ON pipeline.deliveries FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.notifications, pipeline.deliveries TO PUBLIC;
