/*
 * alert_route_doctor.c
 *	  What doctor() looks for in the routing: alerts that the notifier does not
 *	  take up, and names of what somebody may not use any more.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "alert/alert_escalation.h"
#include "alert/alert_notify.h"

/* Findings of one kind that are listed. */
#define MOST 20

/* Nobody is told of anything then: every minute counts. */
static void
look_at_dispatch(void)
{
	char	   *events;
	char	   *oldest;

	pipeline_sql("SELECT count(*)::text, date_trunc('second', clock_timestamp() - min(at))::text FROM pipeline.alert_events"
				 " WHERE dispatched_at IS NULL AND at < clock_timestamp() - interval '1 minute'", SPI_OK_SELECT);
	events = pipeline_sql_text(0, 1);
	oldest = pipeline_sql_text(0, 2);
	if (oldest != NULL && pipeline_identity_matches())
		pipeline_finding(InvalidOid, "critical", "alerts_not_routed",
						 psprintf("%s events of alerts have not been routed, the oldest for %s: nobody is told of them.",
								  events, oldest),
						 "A notifier must run, and dispatch alerts without an error: the server's log says which.");
	pipeline_sql("SELECT count(*)::text, max(error) FROM pipeline.alert_events"
				 " WHERE error IS NOT NULL AND at > clock_timestamp() - interval '7 days'", SPI_OK_SELECT);
	if (strcmp(pipeline_sql_text(0, 1), "0") != 0)
		pipeline_finding(InvalidOid, "critical", "alerts_put_aside",
						 psprintf("%s events of alerts of the last 7 days could not be routed, and nobody is told of them: %s",
								  pipeline_sql_text(0, 1), pipeline_sql_text(0, 2)),
						 "Table pipeline.alert_events has the errors; once they are mended, set dispatched_at and error of those rows to NULL.");
}

/* A name of something, in something of another owner. */
typedef struct Naming
{
	const char *naming;
	const char *name;
	const char *kind;
	const char *named;
	Oid			owner;
} Naming;

static bool
may_use(const Naming *n)
{
	if (strcmp(n->kind, "channel") == 0)
		return pipeline_channel_usable_by(n->named, n->owner);
	if (strcmp(n->kind, "escalation") == 0)
		return pipeline_escalation_usable_by(n->named, n->owner);
	return pipeline_on_call_usable_by(n->named, n->owner);
}

/* What was granted once, or a role that somebody belonged to. */
static void
look_at_grants(void)
{
	uint64		n = pipeline_sql("SELECT x.naming, x.name, x.kind, x.named, x.owner::oid FROM ("
								 " SELECT 'Route' AS naming, r.name, 'channel' AS kind, c.name AS named, r.owner FROM pipeline.routes r, unnest(r.channels) u (channel)"
								 "  JOIN pipeline.channels c ON c.name = u.channel WHERE c.owner <> r.owner"
								 " UNION ALL SELECT 'Route', r.name, 'escalation', e.name, r.owner FROM pipeline.routes r"
								 "  JOIN pipeline.escalations e ON e.name = r.escalation WHERE e.owner <> r.owner"
								 " UNION ALL SELECT 'Escalation', e.name, 'channel', c.name, e.owner FROM pipeline.escalations e, unnest(e.channels) u (channel)"
								 "  JOIN pipeline.channels c ON c.name = u.channel WHERE c.owner <> e.owner"
								 " UNION ALL SELECT 'Escalation', e.name, 'on-call schedule', o.name, e.owner FROM pipeline.escalations e, unnest(e.on_calls) u (on_call)"
								 "  JOIN pipeline.on_calls o ON o.name = u.on_call WHERE o.owner <> e.owner"
								 " UNION ALL SELECT 'On-call schedule', o.name, 'channel', c.name, o.owner FROM pipeline.on_calls o, unnest(o.channels) u (channel)"
								 "  JOIN pipeline.channels c ON c.name = u.channel WHERE c.owner <> o.owner) x"
								 " ORDER BY 1, 2, 3, 4", SPI_OK_SELECT);
	Naming	   *namings = palloc_array(Naming, n + 1);
	int			found = 0;
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		namings[i].naming = pipeline_sql_text(i, 1);
		namings[i].name = pipeline_sql_text(i, 2);
		namings[i].kind = pipeline_sql_text(i, 3);
		namings[i].named = pipeline_sql_text(i, 4);
		namings[i].owner = DatumGetObjectId(pipeline_sql_datum(i, 5, &isnull));
	}
	for (uint64 i = 0; i < n && found < MOST; i++)
	{
		if (may_use(&namings[i]))
			continue;
		found++;
		pipeline_finding(namings[i].owner, "error", "not_usable",
						 psprintf("%s \"%s\" names %s \"%s\", which its owner may not use: nobody is told by it.", namings[i].naming,
								  namings[i].name, namings[i].kind, namings[i].named),
						 "Name another, or ask its owner for a grant.");
	}
}

/* What the routing looks for. */
void
pipeline_alert_look_at_routing(void)
{
	look_at_dispatch();
	look_at_grants();
}
