/*
 * alert_explain.c
 *	  explain_alert(): who was told of an alert, who was not, and why.
 *
 * What happened is read from the history and the outbox; why somebody was not
 * told is found by going through the routes again, as they are now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "alert/alert_dispatch.h"
#include "alert/alert_escalation.h"

#define COLUMNS 7

/* An alert that is explained, and to whom. */
typedef struct Explained
{
	ReturnSetInfo *rsinfo;
	Oid			role;
	int64		alert_id;
	Oid			owner;
	Jsonb	   *labels;
	bool		resolved;
	char	   *acknowledged_by;	/* NULL: nobody */
	Dispatch	dispatch;
	List	   *groups;			/* of AlertGroup: those that it is in */
} Explained;

/* A row of the result; at 0: NULL. */
static void
put_row(Explained *e, const char *route, const char *channel, int step,
		const char *event, bool told, TimestampTz at, const char *reason)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	const char *texts[] = {route, channel, event, reason};
	static const int places[] = {0, 1, 3, 6};

	for (int i = 0; i < 4; i++)
	{
		nulls[places[i]] = texts[i] == NULL;
		if (texts[i])
			values[places[i]] = CStringGetTextDatum(texts[i]);
	}
	values[2] = Int32GetDatum(step);
	nulls[2] = step == 0;
	values[4] = BoolGetDatum(told);
	values[5] = TimestampTzGetDatum(at);
	nulls[5] = at == 0;
	tuplestore_putvalues(e->rsinfo->setResult, e->rsinfo->setDesc, values, nulls);
}

static char *
until(TimestampTz time)
{
	return TIMESTAMP_NOT_FINITE(time) ? pstrdup("it is resolved") : pstrdup(timestamptz_to_str(time));
}

/* ---- what happened ------------------------------------------------------------------------ */

/* Channels that were told directly, and events that wait to be taken up. */
static void
explain_events(Explained *e)
{
	uint64		n = pipeline_sql("SELECT c, e.event, e.at, e.dispatched_at IS NULL FROM pipeline.alert_events e"
								 " LEFT JOIN unnest(e.channels) c ON true WHERE e.alert_id = $1 ORDER BY e.event_id, c",
								 SPI_OK_SELECT, sql_int8(e->alert_id));

	for (uint64 i = 0; i < n; i++)
	{
		char	   *channel = pipeline_sql_text(i, 1);
		char	   *event = pipeline_sql_text(i, 2);
		bool		isnull;

		if (channel)
			put_row(e, NULL, channel, 0, event, true, DatumGetTimestampTz(pipeline_sql_datum(i, 3, &isnull)),
					"told directly: no route names the channel");
		if (pipeline_sql_bool(i, 4))
			put_row(e, NULL, NULL, 0, event, false, 0,
					"the notifier has not taken it up yet: see pg_stat_activity for one, and pipeline.doctor()");
	}
}

/* The notifications that tell of it; errors only to those who may read them. */
static void
explain_notifications(Explained *e)
{
	uint64		n = pipeline_sql("SELECT route, channel, event, state, coalesce(sent_at, next_attempt_at), last_error, owner::oid, attempts,"
								 "  coalesce((message #>> '{escalation,step}')::integer, 0), message #>> '{escalation,to}'"
								 " FROM pipeline.notifications WHERE alert_ids @> ARRAY[$1] ORDER BY notification_id",
								 SPI_OK_SELECT, sql_int8(e->alert_id));

	for (uint64 i = 0; i < n; i++)
	{
		char	   *state = pipeline_sql_text(i, 4);
		char	   *error = pipeline_sql_text(i, 6);
		char	   *to = pipeline_sql_text(i, 10);
		bool		sent = strcmp(state, "sent") == 0;
		bool		isnull;
		TimestampTz at = DatumGetTimestampTz(pipeline_sql_datum(i, 5, &isnull));
		char	   *reason;

		if (error && !pipeline_is_owner(e->role, DatumGetObjectId(pipeline_sql_datum(i, 7, &isnull))))
			error = NULL;
		if (sent)
			reason = to ? psprintf("escalated to %s", to) : NULL;
		else if (strcmp(state, "dead") == 0)
			reason = psprintf("given up after %d attempts%s%s", (int) pipeline_sql_int8(i, 8),
							  error ? ": " : "", error ? error : "");
		else
			reason = psprintf("%s, attempt %d%s%s", state, (int) pipeline_sql_int8(i, 8) + 1,
							  error ? ", after: " : "", error ? error : "");
		put_row(e, pipeline_sql_text(i, 1), pipeline_sql_text(i, 2), (int) pipeline_sql_int8(i, 9),
				pipeline_sql_text(i, 3), sent, at, reason);
	}
}

/* ---- why not ------------------------------------------------------------------------------- */

static void
read_groups(Explained *e)
{
	Column		ids = {INT8OID};
	uint64		n = pipeline_sql("SELECT group_id FROM pipeline.alert_group_members WHERE alert_id = $1",
								 SPI_OK_SELECT, sql_int8(e->alert_id));

	for (uint64 i = 0; i < n; i++)
		column_add(&ids, Int64GetDatum(pipeline_sql_int8(i, 1)), false);
	if (n > 0)
		e->groups = pipeline_groups_read(dispatch_routing(&e->dispatch), DatumGetArrayTypeP(column_arg(&ids).value));
}

/* The group by which a route, or the default route of a channel, tells of it. */
static AlertGroup *
group_of(Explained *e, const Route *route)
{
	ListCell   *lc;

	foreach(lc, e->groups)
	{
		if (((AlertGroup *) lfirst(lc))->route == route)
			return lfirst(lc);
	}
	return NULL;
}

static Member *
member_of(Explained *e, const AlertGroup *group)
{
	ListCell   *lc;

	foreach(lc, group->members)
	{
		if (((Member *) lfirst(lc))->alert_id == e->alert_id)
			return lfirst(lc);
	}
	return NULL;
}

/* Everything that suppresses it now, in words; NULL if nothing does. */
static char *
suppressed_by(Explained *e)
{
	OpenAlert	alert = {e->alert_id, e->owner, e->labels};
	List	   *texts = NIL;
	ListCell   *lc;

	foreach(lc, pipeline_suppressors(dispatch_suppression(&e->dispatch), &alert))
	{
		const Suppressor *s = lfirst(lc);

		texts = lappend(texts, s->by_alert ? pipeline_suppressor_text(s) :
						psprintf("%s until %s", pipeline_suppressor_text(s), until(s->until)));
	}
	return texts ? pipeline_list_join(texts, "; ") : NULL;
}

/* Why a channel that the route tells does not know that the alert fires. */
static char *
why_not_told(Explained *e, const Route *route, const AlertGroup *group, const char *channel)
{
	TimestampTz end;
	char	   *why;
	bool		isnull;

	if (!pipeline_routing_may_send(dispatch_routing(&e->dispatch), route->owner, channel))
		return psprintf("role \"%s\", the owner of the route, may not send through the channel",
						GetUserNameFromId(route->owner, true));
	why = suppressed_by(e);
	if (why)
		return why;
	why = pipeline_route_mute(&e->dispatch, route, &end);
	if (why)
		return psprintf("the route is muted, %s, until %s", why, until(end));
	if (group == NULL)
		return pstrdup("the notifier has not routed it by the routes as they are now");
	pipeline_sql("SELECT next_flush_at FROM pipeline.alert_groups WHERE group_id = $1", SPI_OK_SELECT,
				 sql_int8(group->group_id));
	end = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	return psprintf("waits for %s until %s", group->flushed_at == 0 ? "group_wait" : "group_interval",
					isnull ? "something changes" : until(end));
}

/* A channel of a route that takes the alert. */
static void
explain_channel(Explained *e, Route *route, AlertGroup *group, const char *channel)
{
	Member	   *member = group ? member_of(e, group) : NULL;
	Told	   *told = group ? pipeline_group_told(group, channel) : NULL;

	if (member && told && pipeline_key_set_has(&told->firing, member->key))
	{
		/* What was told is told above. */
		if (pipeline_sql("SELECT 1 FROM pipeline.notifications WHERE group_key = $1 AND channel = $2 AND alert_ids @> ARRAY[$3] LIMIT 1",
						 SPI_OK_SELECT, sql_text(group->group_key), sql_text(channel), sql_int8(e->alert_id)) == 0)
			put_row(e, route->name, channel, 0, NULL, false, 0,
					"no news to the channel: an alert with the same fingerprint fired there, and its end was not told");
		return;
	}
	put_row(e, route->name, channel, 0, NULL, false, 0, why_not_told(e, route, group, channel));
}

/* The escalation of a route that takes the alert. */
static void
explain_escalation(Explained *e, Route *route, AlertGroup *group)
{
	Escalation *escalation = pipeline_escalation_find(route->escalation, route->owner);
	char	   *why;

	if (escalation == NULL)
		why = psprintf("escalation \"%s\" does not exist, or is not the route owner's to use", route->escalation);
	else if (e->acknowledged_by)
		why = psprintf("the escalation has stopped: acknowledged by %s", e->acknowledged_by);
	else if (group && group->escalate_at != 0)
		why = psprintf("step %d of escalation \"%s\" is due at %s", group->step % list_length(escalation->steps) + 1,
					   escalation->name, until(group->escalate_at));
	else if (group && group->step > 0)
		why = psprintf("escalation \"%s\" has come to its end", escalation->name);
	else
		why = psprintf("escalation \"%s\" begins when the group is looked at", escalation->name);
	put_row(e, route->name, NULL, 0, NULL, false, 0, why);
}

static void
explain_taken(Explained *e, Route *route)
{
	AlertGroup *group = group_of(e, route);
	ListCell   *lc;

	foreach(lc, route->channels)
		explain_channel(e, route, group, lfirst(lc));
	if (route->escalation)
		explain_escalation(e, route, group);
	else if (route->channels == NIL)
		put_row(e, route->name, NULL, 0, NULL, false, 0, "the route takes the alert and names no channel");
}

/* How an open alert goes through the routes of its owner, or of administrators. */
static void
explain_forest(Explained *e, bool of_admins)
{
	Routing    *routing = dispatch_routing(&e->dispatch);
	List	   *verdicts = pipeline_routing_explain(routing, e->owner, of_admins, e->labels);
	bool		visible = !of_admins || pipeline_is_admin(e->role);
	bool		taken = false;
	ListCell   *lc;

	if (!of_admins && pipeline_is_admin(e->owner))
		return;
	foreach(lc, verdicts)
	{
		const Verdict *verdict = lfirst(lc);

		taken = taken || verdict->why == NULL;
		if (verdict->why == NULL)
			explain_taken(e, verdict->route);
		else if (visible)
			put_row(e, verdict->route->name, NULL, 0, NULL, false, 0, verdict->why);
	}
	if (taken)
		return;
	foreach(lc, pipeline_routing_defaults(routing, e->owner, of_admins))
		explain_taken(e, lfirst(lc));
	if (pipeline_routing_defaults(routing, e->owner, of_admins) == NIL && visible)
		put_row(e, NULL, NULL, 0, NULL, false, 0, of_admins ?
				"no route of an administrator takes it, and no channel over the network is left for their default route" :
				"no route of its owner takes it, and no channel over the network is left for the default route");
}

/* Who knows of a resolved alert that it fires, and has not been told that it is over. */
static void
explain_end(Explained *e)
{
	uint64		n = pipeline_sql("SELECT n.route, n.channel, r.send_resolved, g.next_flush_at"
								 " FROM (SELECT DISTINCT ON (channel, group_key) * FROM pipeline.notifications"
								 "   WHERE alert_ids @> ARRAY[$1] ORDER BY channel, group_key, notification_id DESC) n"
								 " LEFT JOIN pipeline.route_tree r ON r.name = n.route LEFT JOIN pipeline.alert_groups g USING (group_key)"
								 " WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(n.message -> 'alerts') a"
								 "   WHERE a ->> 'alert_id' = $1::text AND a ->> 'state' = 'resolved')"
								 " ORDER BY n.notification_id", SPI_OK_SELECT, sql_int8(e->alert_id));

	for (uint64 i = 0; i < n; i++)
	{
		char	   *route = pipeline_sql_text(i, 1);
		bool		isnull;
		bool		gone;
		TimestampTz next = DatumGetTimestampTz(pipeline_sql_datum(i, 4, &gone));
		bool		unknown;

		(void) pipeline_sql_datum(i, 3, &unknown);
		isnull = unknown;
		put_row(e, route, pipeline_sql_text(i, 2), 0, "resolved", false, 0,
				!isnull && !pipeline_sql_bool(i, 3) ? pstrdup("send_resolved is false") :
				!gone ? psprintf("its end waits for group_interval until %s", until(next)) :
				pstrdup("its end was told in a message that leaves it out, or fired again before"));
	}
	if (pipeline_sql("SELECT 1 FROM pipeline.notifications WHERE alert_ids @> ARRAY[$1]"
					 " UNION ALL SELECT 1 FROM pipeline.alert_events WHERE alert_id = $1 AND (channels <> '{}' OR dispatched_at IS NULL) LIMIT 1",
					 SPI_OK_SELECT, sql_int8(e->alert_id)) == 0)
		put_row(e, NULL, NULL, 0, NULL, false, 0, "it was resolved before anybody was told, or no route took it");
}

/* ---- SQL ------------------------------------------------------------------------------------- */

static void
read_alert(Explained *e)
{
	bool		isnull;

	pipeline_sql("SELECT owner::oid, labels, state = 'resolved',"
				 "  CASE WHEN state = 'acknowledged' AND coalesce(acknowledged_until, 'infinity') > clock_timestamp() THEN acknowledged_by::text END"
				 " FROM pipeline.alerts WHERE alert_id = $1", SPI_OK_SELECT, sql_int8(e->alert_id));
	e->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	e->labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	e->resolved = pipeline_sql_bool(0, 3);
	e->acknowledged_by = pipeline_sql_text(0, 4);
}

PG_FUNCTION_INFO_V1(pipeline_explain_alert);

/* SQL: explain_alert(alert_id) */
Datum
pipeline_explain_alert(PG_FUNCTION_ARGS)
{
	Explained	e = {
		.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo,
		.role = GetUserId(),
		.dispatch = {.now = GetCurrentTimestamp()}
	};
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "alert_id");
	e.alert_id = PG_GETARG_INT64(0);
	pipeline_alert_check(e.alert_id);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	read_alert(&e);
	explain_events(&e);
	explain_notifications(&e);
	read_groups(&e);
	if (e.resolved)
		explain_end(&e);
	else
	{
		explain_forest(&e, false);
		explain_forest(&e, true);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	return (Datum) 0;
}
