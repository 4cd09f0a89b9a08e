/*
 * alert_dispatch.c
 *	  From events to notifications: the default route.
 *
 * The transaction that raises an alert writes its event and nothing else, so
 * that it neither waits for another nor pays for the routing; the notifier
 * takes the events up in a transaction of its own.
 */
#include "postgres.h"

#include "executor/spi.h"

#include "alert/alert_state.h"

/*
 * Turn the events that nobody has taken up yet into notifications.  For the
 * notifier, the only one that does: inside its transaction, an SPI connection
 * and the scope of the extension.  Returns in how many milliseconds there may
 * be something to do again that no event announces, or -1.
 */
long
pipeline_alert_dispatch(void)
{
	pipeline_sql("WITH taken AS ("
				 "  UPDATE pipeline.alert_events SET dispatched_at = clock_timestamp()"
				 "  WHERE dispatched_at IS NULL RETURNING *)"
				 " INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)"
				 " SELECT t.owner, c.name, CASE WHEN t.event IN ('acknowledged', 'resolved') THEN t.event ELSE 'firing' END,"
				 "   a.fingerprint || '-' || a.alert_id, ARRAY[a.alert_id],"
				 "   jsonb_build_object('status', CASE t.state WHEN 'resolved' THEN 'resolved' ELSE 'firing' END,"
				 "     'title', a.summary, 'severity', t.severity, 'group_labels', '{}'::jsonb,"
				 "     'common_labels', a.labels, 'omitted', 0, 'alerts', jsonb_build_array(jsonb_build_object("
				 "       'alert_id', a.alert_id, 'fingerprint', a.fingerprint, 'alertname', a.alertname,"
				 "       'severity', t.severity, 'state', t.state, 'summary', a.summary, 'source', a.source,"
				 "       'labels', a.labels, 'detail', a.detail, 'occurrences', a.occurrences,"
				 "       'started_at', a.started_at, 'resolved_at', a.resolved_at, 'note', t.note, 'owner', a.owner)))"
				 " FROM taken t JOIN pipeline.alerts a USING (alert_id)"
				 " JOIN pipeline.channels c ON c.kind NOT IN ('notify', 'log')"
				 "  AND (c.owner = t.owner OR pg_has_role(c.owner, t.owner, 'USAGE'))"
				 " ORDER BY t.event_id, c.name", SPI_OK_INSERT);
	return -1;
}
