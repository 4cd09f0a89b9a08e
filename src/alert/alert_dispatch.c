/*
 * alert_dispatch.c
 *	  From events to groups.
 *
 * The transaction that raises an alert writes its event and nothing else, so
 * that it neither waits for another nor pays for the routing; the notifier
 * takes the events up in a transaction of its own:
 *
 *	events -> which routes take the alert -> groups -> what is due of them is
 *	flushed (alert_flush.c) -> notifications
 *
 * Only the dispatch writes groups, and one at a time, by a lock.  It works on
 * many alerts in few statements: the routing is done in memory, its result
 * goes back as arrays.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "alert/alert_dispatch.h"

/* Alerts whose places are written by the same statements. */
#define PLACED_TOGETHER 500

/* An alert that something happened to. */
typedef struct Changed
{
	int64		alert_id;
	Oid			owner;
	char	   *fingerprint;
	char	   *severity;
	Jsonb	   *labels;
	bool		resolved;
	bool		route;			/* its place may have changed */
	bool		acknowledged;	/* and that is to be told */
	int64		refired;		/* last event of that kind, or 0 */
	TimestampTz started_at;
} Changed;

/* ---- arrays for statements ---------------------------------------------------------- */

/* Append a value to a column; its memory is the current context's. */
void
column_add(Column *column, Datum value, bool isnull)
{
	column->state = accumArrayResult(column->state, value, isnull, column->type,
									 CurrentMemoryContext);
}

/* The column as an array, empty if nothing was added; it may be asked again. */
SqlArg
column_arg(Column *column)
{
	int			dims[1] = {column->state ? column->state->nelems : 0};
	int			bounds[1] = {1};
	Datum		array = column->state == NULL ? PointerGetDatum(construct_empty_array(column->type)) :
		makeMdArrayResult(column->state, 1, dims, bounds, CurrentMemoryContext, false);
	Oid			type = column->type == INT8OID ? INT8ARRAYOID :
		column->type == TEXTOID ? TEXTARRAYOID :
		column->type == OIDOID ? OIDARRAYOID :
		column->type == JSONBOID ? JSONBARRAYOID :
		column->type == TIMESTAMPTZOID ? TIMESTAMPTZARRAYOID : BOOLARRAYOID;

	return sql_datum(type, array, false);
}

static void
column_add_text(Column *column, const char *text)
{
	column_add(column, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

/*
 * A hash that nobody can hit on purpose: with the same key one alert would
 * pass for another, or one owner's group for another's.
 */
static void
hash_text(const char *string, uint8 *digest)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) string, strlen(string)) < 0 ||
		pg_cryptohash_final(context, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a hash");
	pg_cryptohash_free(context);
}

/* What makes an alert new to those who are told. */
static int64
alert_key(const Changed *alert)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	int64		key;

	hash_text(psprintf("%u %s " INT64_FORMAT " %s", alert->owner, alert->severity,
					   alert->refired, alert->fingerprint), digest);
	memcpy(&key, digest, sizeof(key));
	return key;
}

/* By what an alert finds its group. */
static char *
group_lookup(const Route *route, const Jsonb *labels)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char		hex[33];

	hash_text(psprintf("%u %s %s %s", route->owner, route->name ? "route" : "channel",
					   route->name ? route->name : (char *) linitial(route->channels),
					   JsonbToCString(NULL, unconstify(JsonbContainer *, &labels->root), VARSIZE(labels))),
			  digest);
	for (int i = 0; i < 16; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
	return pstrdup(hex);
}

/* The labels of an alert that its group has in common. */
static Jsonb *
group_labels(const Route *route, Jsonb *labels)
{
	int			n = list_length(route->group_by);
	const char **keys = palloc_array(const char *, n + 1);
	const char **values = palloc_array(const char *, n + 1);

	if (pipeline_list_has(route->group_by, "..."))
		return labels;
	for (int i = 0; i < n; i++)
	{
		keys[i] = list_nth(route->group_by, i);
		values[i] = pipeline_jsonb_key(labels, keys[i]);
	}
	return pipeline_jsonb_object(n, keys, values);
}

/* ---- what happened ------------------------------------------------------------------- */

static List *
read_changed(uint64 n)
{
	List	   *alerts = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		Changed    *alert = palloc0(sizeof(Changed));
		bool		isnull;

		alert->alert_id = pipeline_sql_int8(i, 1);
		alert->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		alert->fingerprint = pipeline_sql_text(i, 3);
		alert->severity = pipeline_sql_text(i, 4);
		alert->labels = DatumGetJsonbPCopy(pipeline_sql_datum(i, 5, &isnull));
		alert->resolved = pipeline_sql_bool(i, 6);
		alert->route = pipeline_sql_bool(i, 7) && !alert->resolved;
		alert->acknowledged = pipeline_sql_bool(i, 8);
		alert->refired = pipeline_sql_int8(i, 9);
		alert->started_at = DatumGetTimestampTz(pipeline_sql_datum(i, 10, &isnull));
		alerts = lappend(alerts, alert);
	}
	return alerts;
}

/* Take up events; the alerts that they are about, in the order of the events. */
static List *
take_events(TimestampTz now, int most, bool *more)
{
	uint64		n = pipeline_sql("WITH taken AS MATERIALIZED ("
								 "  UPDATE pipeline.alert_events SET dispatched_at = $1"
								 "  WHERE event_id IN (SELECT event_id FROM pipeline.alert_events WHERE dispatched_at IS NULL"
								 "                     ORDER BY event_id LIMIT $2)"
								 "  RETURNING event_id, alert_id, event),"
								 " happened AS ("
								 "  SELECT alert_id, min(event_id) AS first, count(*) AS events,"
								 "    bool_or(event IN ('fired', 'refired', 'severity_changed')) AS route,"
								 "    bool_or(event = 'acknowledged') AS acknowledged"
								 "  FROM taken GROUP BY alert_id)"
								 " SELECT a.alert_id, a.owner::oid, a.fingerprint, a.severity, a.labels, a.state = 'resolved', h.route,"
								 "   h.acknowledged AND a.state = 'acknowledged',"
								 "   coalesce((SELECT max(e.event_id) FROM pipeline.alert_events e"
								 "             WHERE e.alert_id = a.alert_id AND e.event = 'refired'), 0),"
								 "   a.started_at, (SELECT sum(events) FROM happened)::bigint"
								 " FROM happened h JOIN pipeline.alerts a USING (alert_id) ORDER BY h.first", SPI_OK_SELECT,
								 sql_time(now), sql_int8(most));

	*more = n > 0 && pipeline_sql_int8(0, 11) >= most;
	return read_changed(n);
}

/* Is it an alert of one of these owners?  Then its place may have changed. */
static void
note_route_change(Changed *alert, bool all, List *owners)
{
	if (!alert->resolved && (all || list_member_oid(owners, alert->owner)))
		alert->route = true;
}

/*
 * All open alerts of owners whose routes changed, of everybody for an
 * administrator: those among `taken` are marked, the others returned.
 */
static List *
take_route_changes(List *taken, TimestampTz now)
{
	uint64		n = pipeline_sql("WITH gone AS (DELETE FROM pipeline.route_changes RETURNING owner)"
								 " SELECT DISTINCT owner::oid FROM gone", SPI_OK_SELECT);
	Column		owners = {OIDOID};
	Column		ids = {INT8OID};
	List	   *changed = NIL;
	ListCell   *lc;
	bool		all = false;

	if (n == 0)
		return NIL;
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		owner = pipeline_sql_datum(i, 1, &isnull);

		column_add(&owners, owner, false);
		changed = lappend_oid(changed, DatumGetObjectId(owner));
		all = all || pipeline_is_admin(DatumGetObjectId(owner));
	}
	foreach(lc, taken)
	{
		note_route_change(lfirst(lc), all, changed);
		column_add(&ids, Int64GetDatum(((Changed *) lfirst(lc))->alert_id), false);
	}
	/* A time interval may have changed: look at what one holds back. */
	pipeline_sql("UPDATE pipeline.alert_groups SET next_flush_at = $3"
				 " WHERE muted_since IS NOT NULL AND ($1 OR owner::oid = ANY ($2))", SPI_OK_UPDATE,
				 sql_bool(all), column_arg(&owners), sql_time(now));
	n = pipeline_sql("SELECT a.alert_id, a.owner::oid, a.fingerprint, a.severity, a.labels, false, true, false,"
					 "   coalesce((SELECT max(e.event_id) FROM pipeline.alert_events e"
					 "             WHERE e.alert_id = a.alert_id AND e.event = 'refired'), 0), a.started_at"
					 " FROM pipeline.alerts a WHERE state <> 'resolved' AND ($1 OR owner::oid = ANY ($2))"
					 " AND NOT EXISTS (SELECT FROM pipeline.alert_events e WHERE e.alert_id = a.alert_id AND e.event = 'fired'"
					 "                 AND e.dispatched_at IS NULL)"
					 " AND NOT EXISTS (SELECT FROM unnest($3::bigint[]) t WHERE t = a.alert_id)"
					 " ORDER BY a.alert_id", SPI_OK_SELECT, sql_bool(all), column_arg(&owners), column_arg(&ids));
	return read_changed(n);
}

/* ---- into groups --------------------------------------------------------------------- */

/* What the routing decided, a row per alert and route. */
typedef struct Places
{
	Column		alerts;
	Column		keys;
	Column		routes;
	Column		channels;
	Column		owners;
	Column		labels;
	Column		lookups;
	Column		waits;			/* when a new group is flushed */
	Column		routed;			/* the alerts, each once, taken or not */
} Places;

static void
add_place(Places *places, const Changed *alert, const Route *route,
		  TimestampTz now)
{
	Jsonb	   *labels = group_labels(route, alert->labels);
	bool		old = alert->started_at + route->group_wait < now;

	column_add(&places->alerts, Int64GetDatum(alert->alert_id), false);
	column_add_text(&places->routes, route->name);
	column_add_text(&places->channels, route->name ? NULL : linitial(route->channels));
	column_add(&places->owners, ObjectIdGetDatum(route->owner), false);
	column_add(&places->labels, JsonbPGetDatum(labels), false);
	column_add_text(&places->lookups, group_lookup(route, labels));
	column_add(&places->waits, TimestampTzGetDatum(old ? now : now + route->group_wait), false);
	column_add(&places->keys, Int64GetDatum(alert_key(alert)), false);
}

/*
 * Write the places.  An alert that a digest holds stays there as long as the
 * route of the digest takes it.
 */
static void
write_places(Places *places, TimestampTz now)
{
	/* A new group for a place that has none. */
	pipeline_sql("INSERT INTO pipeline.alert_groups (owner, route, channel, group_labels, lookup, opened_at, next_flush_at)"
				 " SELECT DISTINCT ON (p.lookup) p.owner::regrole, p.route, p.channel, p.labels, p.lookup, $8, p.flush"
				 " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::oid[], $5::jsonb[], $6::text[], $7::timestamptz[])"
				 "  WITH ORDINALITY p (alert_id, route, channel, owner, labels, lookup, flush, n)"
				 " WHERE NOT EXISTS (SELECT FROM pipeline.alert_group_members m JOIN pipeline.alert_groups g USING (group_id)"
				 "   WHERE m.alert_id = p.alert_id AND m.left_at IS NULL AND g.digest AND g.lookup IS NULL"
				 "   AND g.route = p.route AND g.owner::oid = p.owner)"
				 " ORDER BY p.lookup, p.n"
				 " ON CONFLICT (lookup) WHERE lookup IS NOT NULL DO NOTHING", SPI_OK_INSERT,
				 column_arg(&places->alerts), column_arg(&places->routes),
				 column_arg(&places->channels), column_arg(&places->owners),
				 column_arg(&places->labels), column_arg(&places->lookups),
				 column_arg(&places->waits), sql_time(now));
	/* What is no longer its place. */
	pipeline_sql("UPDATE pipeline.alert_group_members m SET left_at = $6 FROM pipeline.alert_groups g"
				 " WHERE g.group_id = m.group_id AND m.alert_id = ANY ($1) AND m.left_at IS NULL"
				 " AND NOT EXISTS (SELECT FROM unnest($2::bigint[], $3::text[], $4::oid[], $5::text[]) p (alert_id, route, owner, lookup)"
				 "   WHERE p.alert_id = m.alert_id"
				 "   AND (p.lookup = g.lookup OR (g.lookup IS NULL AND p.route = g.route AND p.owner = g.owner::oid)))",
				 SPI_OK_UPDATE, column_arg(&places->routed), column_arg(&places->alerts),
				 column_arg(&places->routes), column_arg(&places->owners),
				 column_arg(&places->lookups), sql_time(now));
	/* Where it stays it may be new all the same, by its severity. */
	pipeline_sql("UPDATE pipeline.alert_group_members m SET key = p.key"
				 " FROM (SELECT DISTINCT alert_id, key FROM unnest($1::bigint[], $2::bigint[]) u (alert_id, key)) p"
				 " WHERE m.alert_id = p.alert_id AND m.left_at IS NULL AND m.key <> p.key", SPI_OK_UPDATE,
				 column_arg(&places->alerts), column_arg(&places->keys));
	pipeline_sql("INSERT INTO pipeline.alert_group_members AS m (group_id, owner, fingerprint, alert_id, key, joined_at)"
				 " SELECT g.group_id, a.owner, a.fingerprint, a.alert_id, p.key, $6"
				 " FROM unnest($1::bigint[], $2::text[], $3::oid[], $4::text[], $5::bigint[]) WITH ORDINALITY"
				 "  p (alert_id, route, owner, lookup, key, n)"
				 " JOIN pipeline.alerts a USING (alert_id) JOIN pipeline.alert_groups g ON g.lookup = p.lookup"
				 " WHERE NOT EXISTS (SELECT FROM pipeline.alert_group_members d JOIN pipeline.alert_groups dg USING (group_id)"
				 "   WHERE d.alert_id = p.alert_id AND d.left_at IS NULL AND dg.lookup IS NULL"
				 "   AND dg.route = p.route AND dg.owner::oid = p.owner)"
				 " ORDER BY p.n"
				 " ON CONFLICT (group_id, owner, fingerprint) DO UPDATE SET alert_id = excluded.alert_id, key = excluded.key,"
				 "  left_at = NULL, joined_at = CASE WHEN m.alert_id = excluded.alert_id THEN m.joined_at ELSE excluded.joined_at END"
				 " WHERE m.alert_id <> excluded.alert_id OR m.key <> excluded.key OR m.left_at IS NOT NULL",
				 SPI_OK_INSERT, column_arg(&places->alerts), column_arg(&places->routes),
				 column_arg(&places->owners), column_arg(&places->lookups),
				 column_arg(&places->keys), sql_time(now));
}

/*
 * Find the places of alerts and write them, some at a time: the statements
 * compare each alert's places with all of those that they are given.
 */
static void
place_alerts(Routing *routing, List *alerts, TimestampTz now)
{
	const Places none = {
		.alerts = {INT8OID}, .keys = {INT8OID}, .routes = {TEXTOID}, .channels = {TEXTOID},
		.owners = {OIDOID}, .labels = {JSONBOID}, .lookups = {TEXTOID},
		.waits = {TIMESTAMPTZOID}, .routed = {INT8OID}
	};
	Places		places = none;
	int			n = 0;
	ListCell   *lc;
	ListCell   *lr;

	foreach(lc, alerts)
	{
		Changed    *alert = lfirst(lc);

		if (!alert->route)
			continue;
		CHECK_FOR_INTERRUPTS();
		column_add(&places.routed, Int64GetDatum(alert->alert_id), false);
		foreach(lr, pipeline_routing_match(routing, alert->owner, alert->labels))
			add_place(&places, alert, lfirst(lr), now);
		if (++n % PLACED_TOGETHER == 0)
		{
			write_places(&places, now);
			places = none;
		}
	}
	if (n % PLACED_TOGETHER != 0)
		write_places(&places, now);
}

/*
 * Have the groups of changed alerts flushed at their next tick.  One that was
 * never flushed waits for its group_wait, one that is muted for the end of that.
 */
static void
wake_groups(Routing *routing, List *alerts, TimestampTz now)
{
	Column		ids = {INT8OID};
	Column		groups = {INT8OID};
	Column		ticks = {TIMESTAMPTZOID};
	ListCell   *lc;
	uint64		n;

	foreach(lc, alerts)
		column_add(&ids, Int64GetDatum(((Changed *) lfirst(lc))->alert_id), false);
	n = pipeline_sql("SELECT DISTINCT g.group_id, g.route, g.channel, g.flushed_at"
					 " FROM pipeline.alert_group_members m JOIN pipeline.alert_groups g USING (group_id)"
					 " WHERE m.alert_id = ANY ($1) AND g.flushed_at IS NOT NULL AND g.muted_since IS NULL",
					 SPI_OK_SELECT, column_arg(&ids));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		char	   *route = pipeline_sql_text(i, 2);
		char	   *channel = pipeline_sql_text(i, 3);
		AlertGroup	group = {
			.route = pipeline_routing_find(routing, route, channel),
			.flushed_at = DatumGetTimestampTz(pipeline_sql_datum(i, 4, &isnull))
		};

		column_add(&groups, Int64GetDatum(pipeline_sql_int8(i, 1)), false);
		column_add(&ticks, TimestampTzGetDatum(pipeline_group_tick(&group, now)), false);
	}
	if (n > 0)
		pipeline_sql("UPDATE pipeline.alert_groups g SET next_flush_at = least(g.next_flush_at, u.tick)"
					 " FROM unnest($1::bigint[], $2::timestamptz[]) u (group_id, tick)"
					 " WHERE g.group_id = u.group_id AND g.next_flush_at IS DISTINCT FROM least(g.next_flush_at, u.tick)",
					 SPI_OK_UPDATE, column_arg(&groups), column_arg(&ticks));
}

/* ---- acknowledgements ------------------------------------------------------------------ */

/*
 * Tell at once of an acknowledgement, whoever was told that the alert fires:
 * that someone is at work is worth more now than in five minutes, but does not
 * break a mute.
 */
static void
tell_acknowledged(Dispatch *dispatch, const Changed *alert)
{
	Routing    *routing = dispatch_routing(dispatch);
	uint64		n = pipeline_sql("SELECT group_id FROM pipeline.alert_group_members WHERE alert_id = $1 AND left_at IS NULL"
								 " ORDER BY group_id", SPI_OK_SELECT, sql_int8(alert->alert_id));
	Column		ids = {INT8OID};
	ListCell   *lg;
	ListCell   *lt;
	ListCell   *lm;

	for (uint64 i = 0; i < n; i++)
		column_add(&ids, Int64GetDatum(pipeline_sql_int8(i, 1)), false);
	if (n == 0)
		return;
	foreach(lg, pipeline_groups_read(routing, DatumGetArrayTypeP(column_arg(&ids).value)))
	{
		AlertGroup *group = lfirst(lg);
		Member	   *member = NULL;

		if (group->route && pipeline_route_mute(dispatch, group->route, NULL))
			continue;
		foreach(lm, group->members)
		{
			if (((Member *) lfirst(lm))->alert_id == alert->alert_id)
				member = lfirst(lm);
		}
		foreach(lt, group->told)
		{
			Told	   *told = lfirst(lt);
			Message		message = {
				.group = group, .channel = told->channel, .event = "acknowledged",
				.firing = true, .members = list_make1(member)
			};

			if (member && pipeline_key_set_has(&told->firing, member->key) &&
				(told->escalation || pipeline_routing_may_send(routing, group->owner, told->channel)))
				(void) pipeline_message_write(&message);
		}
	}
}

/* ---- silences until the alerts are resolved ------------------------------------------------ */

/* End those whose last alert is resolved, before anything is flushed. */
static void
end_silences(Dispatch *dispatch, List *alerts)
{
	List	   *resolved = NIL;
	ListCell   *lc;

	foreach(lc, alerts)
	{
		const Changed *alert = lfirst(lc);
		OpenAlert  *open = palloc_object(OpenAlert);

		open->alert_id = alert->alert_id;
		open->owner = alert->owner;
		open->labels = alert->labels;
		if (alert->resolved)
			resolved = lappend(resolved, open);
	}
	if (resolved)
		pipeline_silences_end(dispatch_suppression(dispatch), resolved, dispatch->now);
}

/* ---- all of it -------------------------------------------------------------------------- */

/* The routes, read once for a dispatch. */
Routing *
dispatch_routing(Dispatch *dispatch)
{
	if (dispatch->routing == NULL)
		dispatch->routing = pipeline_routing_load();
	return dispatch->routing;
}

/* Silences and inhibitions, read once for a dispatch. */
Suppression *
dispatch_suppression(Dispatch *dispatch)
{
	if (dispatch->suppression == NULL)
		dispatch->suppression = pipeline_suppression_load(dispatch->now);
	return dispatch->suppression;
}

/*
 * Dispatch as if it were `now`, so many events at most; returns the milliseconds
 * until a timer is due, 0 if there is more to do at once, -1 if there is none.
 * Inside a transaction, an SPI connection and the scope of the extension.
 */
long
pipeline_alert_dispatch_at(TimestampTz now, int most)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "alert dispatch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		more;
	List	   *alerts;
	Dispatch	dispatch = {.now = now};
	Routing    *routing;
	ListCell   *lc;
	long		next;

	pipeline_alert_lock("alert_groups");
	alerts = take_events(now, most, &more);
	alerts = list_concat(alerts, take_route_changes(alerts, now));
	if (alerts)
	{
		routing = dispatch_routing(&dispatch);
		end_silences(&dispatch, alerts);
		place_alerts(routing, alerts, now);
		wake_groups(routing, alerts, now);
		foreach(lc, alerts)
		{
			if (((Changed *) lfirst(lc))->acknowledged)
				tell_acknowledged(&dispatch, lfirst(lc));
		}
	}
	next = pipeline_dispatch_flush(&dispatch);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return more ? 0 : next;
}

PG_FUNCTION_INFO_V1(pipeline_dispatch_alerts);

/* SQL: _dispatch_alerts(at): the same as if it were that time. */
Datum
pipeline_dispatch_alerts(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	long		next;

	pipeline_not_null(fcinfo, 0, "at");
	SPI_connect();
	pipeline_extension_begin(&scope);
	next = pipeline_alert_dispatch(PG_GETARG_TIMESTAMPTZ(0));
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT64(next);
}
