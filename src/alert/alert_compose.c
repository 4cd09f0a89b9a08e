/*
 * alert_compose.c
 *	  What a notification says: one message of a group's alerts, in the form
 *	  that the renderers of all kinds of channels write from.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "alert/alert_dispatch.h"

/* Is it shown as acknowledged?  One that has run out is as good as none. */
static bool
shown_acknowledged(const Member *member, TimestampTz at)
{
	return at == 0 ? member->acknowledged : pipeline_member_acknowledged(member, at);
}

/*
 * Put a message into the outbox; returns its number.  A member that left the
 * group is shown as resolved, for here it is.
 */
int64
pipeline_message_write(const Message *message)
{
	const AlertGroup *group = message->group;
	Column		ids = {INT8OID};
	Column		states = {TEXTOID};
	ListCell   *lc;

	foreach(lc, message->members)
	{
		const Member *member = lfirst(lc);

		column_add(&ids, Int64GetDatum(member->alert_id), false);
		column_add(&states, CStringGetTextDatum(member->left ? "left" :
												member->resolved ? "resolved" :
												shown_acknowledged(member, message->at) ? "acknowledged" : "firing"),
				   false);
	}
	pipeline_sql("WITH told AS MATERIALIZED ("
				 "  SELECT a.*, u.n, array_position('{info,warning,error,critical}', a.severity::text) AS rank, u.state = 'left' AS gone, CASE u.state WHEN 'left' THEN 'resolved' ELSE u.state END AS shown"
				 "  FROM unnest($6::bigint[], $7::text[]) WITH ORDINALITY u (alert_id, state, n)"
				 "  JOIN pipeline.alerts a USING (alert_id)),"
				 " shown AS (SELECT * FROM told ORDER BY shown = 'resolved', rank DESC, n LIMIT 100)"
				 " INSERT INTO pipeline.notifications (owner, channel, route, event, group_key, alert_ids, message)"
				 " SELECT $1, $2, $3, $4, $5, $6, jsonb_build_object("
				 "   'status', CASE WHEN $8 THEN 'firing' ELSE 'resolved' END,"
				 "   'title', (SELECT left(regexp_replace(CASE t.n WHEN 1 THEN s.summary"
				 "       ELSE format('%s alerts%s: %s', t.n, t.pipeline, s.summary) END, '[[:space:]]+', ' ', 'g'), 300)"
				 "     FROM (SELECT count(*) AS n, CASE WHEN count(DISTINCT labels ->> 'pipeline') = 1 AND count(labels ->> 'pipeline') = count(*)"
				 "             THEN ' of pipeline ' || min(labels ->> 'pipeline') ELSE '' END AS pipeline FROM told) t,"
				 "       (SELECT summary FROM shown LIMIT 1) s),"
				 "   'severity', (SELECT severity FROM shown LIMIT 1),"
				 "   'group_labels', $9::jsonb,"
				 "   'common_labels', (SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}') FROM ("
				 "     SELECT key, min(value) AS value FROM told, jsonb_each_text(labels)"
				 "     GROUP BY key HAVING count(*) = (SELECT count(*) FROM told) AND min(value) = max(value)) l),"
				 "   'alerts', (SELECT jsonb_agg(jsonb_build_object("
				 "     'alert_id', alert_id, 'fingerprint', fingerprint, 'alertname', alertname, 'severity', severity,"
				 "     'state', shown, 'summary', summary, 'source', source, 'labels', labels,"
				 "     'detail', CASE WHEN octet_length(detail::text) <= 8000 THEN detail ELSE '{\"omitted\": true}' END,"
				 "     'occurrences', occurrences, 'started_at', started_at, 'resolved_at', resolved_at, 'owner', owner,"
				 "     'note', CASE WHEN gone THEN 'still firing, but no longer sent here' ELSE"
				 "       (SELECT note FROM pipeline.alert_events e WHERE e.alert_id = shown.alert_id AND note IS NOT NULL"
				 "        ORDER BY event_id DESC LIMIT 1) END)"
				 "     ORDER BY shown = 'resolved', rank DESC, n) FROM shown),"
				 "   'omitted', greatest(0, cardinality($6) - 100)) || coalesce($10, '{}')"
				 " RETURNING notification_id", SPI_OK_INSERT_RETURNING,
				 sql_role(group->owner), sql_text(message->channel),
				 sql_text(group->route ? group->route->name : NULL),
				 sql_text(message->event), sql_text(group->group_key),
				 column_arg(&ids), column_arg(&states), sql_bool(message->firing),
				 sql_jsonb(group->labels), sql_jsonb(message->extra));
	return pipeline_sql_int8(0, 1);
}
