/*
 * alert_routing.c
 *	  Routes as trees in memory, and which of them take an alert.
 *
 * An alert goes through two forests that know nothing of each other: the
 * routes of its owner, and those of administrators.  So nobody can take an
 * alert away from the administrators, nor they from its owner.  In each it goes
 * as in Alertmanager: siblings in order, the first that matches unless it says
 * to go on, and within it its children; a route takes an alert when it matches
 * and none of its children does.
 *
 * A forest without a match has its default route: the network channels of the
 * owner, or of administrators, that no route and no escalation names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "alert/alert_dispatch.h"

typedef struct RouteEntry
{
	char		name[NAMEDATALEN * 13];	/* hash key; names have 200 characters */
	Route	   *route;
} RouteEntry;

/* The routes and unnamed channels of one owner, or of all administrators. */
typedef struct Forest
{
	Oid			owner;			/* InvalidOid: of administrators */
	List	   *roots;
	List	   *defaults;
} Forest;

typedef struct ChannelInfo
{
	char	   *name;
	Oid			owner;
	List	   *granted;		/* roles that may use it (list of Oid) */
} ChannelInfo;

struct Routing
{
	HTAB	   *by_name;
	List	   *forests;
	List	   *channels;		/* of ChannelInfo */
	List	   *defaults;		/* of Route: one per unnamed channel */
};

/* ---- reading --------------------------------------------------------------------- */

static int64
microseconds(uint64 row, int column)
{
	bool		isnull;
	Interval   *interval = DatumGetIntervalP(pipeline_sql_datum(row, column, &isnull));

	return interval->time +
		((int64) interval->month * DAYS_PER_MONTH + interval->day) * USECS_PER_DAY;
}

static List *
strings(uint64 row, int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(row, column, &isnull);

	return pipeline_array_list(DatumGetArrayTypePCopy(value), "routes");
}

/* Matchers that were good when the route was made; one must not stop all. */
static void
read_matchers(Route *route, List *texts)
{
	ListCell   *lc;

	foreach(lc, texts)
	{
		char	   *why;
		List	   *matchers = pipeline_matchers_try(lfirst(lc), &why);

		if (why)
		{
			ereport(LOG,
					(errmsg("matchers of route \"%s\" cannot be read: %s", route->name, why)));
			route->unreadable = true;
		}
		route->matchers = list_concat(route->matchers, matchers);
	}
}

static Route *
read_route(uint64 row)
{
	Route	   *route = palloc0(sizeof(Route));
	bool		isnull;

	route->name = pipeline_sql_text(row, 1);
	route->owner = DatumGetObjectId(pipeline_sql_datum(row, 2, &isnull));
	route->parent = pipeline_sql_text(row, 3);
	read_matchers(route, strings(row, 4));
	route->channels = strings(row, 5);
	route->continues = pipeline_sql_bool(row, 6);
	route->group_by = strings(row, 7);
	route->group_wait = microseconds(row, 8);
	route->group_interval = microseconds(row, 9);
	route->repeat_interval = microseconds(row, 10);
	route->send_resolved = pipeline_sql_bool(row, 11);
	route->mute = strings(row, 12);
	route->active = strings(row, 13);
	route->escalation = pipeline_sql_text(row, 14);
	route->opens_incident = pipeline_sql_bool(row, 15);
	return route;
}

/* The forest of an owner; administrators have one together. */
static Forest *
forest_of(Routing *routing, Oid owner)
{
	Forest	   *forest;
	ListCell   *lc;

	if (OidIsValid(owner) && pipeline_is_admin(owner))
		owner = InvalidOid;
	foreach(lc, routing->forests)
	{
		if (((Forest *) lfirst(lc))->owner == owner)
			return lfirst(lc);
	}
	forest = palloc0(sizeof(Forest));
	forest->owner = owner;
	routing->forests = lappend(routing->forests, forest);
	return forest;
}

static Route *
route_by_name(Routing *routing, const char *name)
{
	RouteEntry *entry = hash_search(routing->by_name, name, HASH_FIND, NULL);

	return entry ? entry->route : NULL;
}

/* Read the routes and hang them into their trees, in order. */
static void
load_routes(Routing *routing)
{
	List	   *routes = NIL;
	ListCell   *lc;
	uint64		n = pipeline_sql("SELECT name, owner::oid, parent, matchers, channels, continue_matching, group_by, group_wait,"
								 "  group_interval, repeat_interval, send_resolved, mute_time_intervals, active_time_intervals,"
								 "  escalation, opens_incident"
								 " FROM pipeline.route_tree ORDER BY priority, name COLLATE \"C\"", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		Route	   *route = read_route(i);
		RouteEntry *entry = hash_search(routing->by_name, route->name, HASH_ENTER, NULL);

		entry->route = route;
		routes = lappend(routes, route);
	}
	foreach(lc, routes)
	{
		Route	   *route = lfirst(lc);

		if (route->parent)
		{
			Route	   *parent = route_by_name(routing, route->parent);

			parent->children = lappend(parent->children, route);
		}
		else
		{
			Forest	   *forest = forest_of(routing, route->owner);

			forest->roots = lappend(forest->roots, route);
		}
	}
}

/*
 * The default route of a channel: one pipeline's alerts together, at once, and
 * otherwise as a route that says nothing.
 */
static Route *
default_route(const ChannelInfo *channel)
{
	Route	   *route = palloc0(sizeof(Route));

	route->owner = channel->owner;
	route->channels = list_make1(channel->name);
	route->group_by = list_make1("pipeline");
	route->group_interval = 5 * SECS_PER_MINUTE * USECS_PER_SEC;
	route->repeat_interval = 4 * USECS_PER_HOUR;
	route->send_resolved = true;
	return route;
}

/* Who was granted channels; by name, as the channels are. */
static void
load_grants(Routing *routing)
{
	ListCell   *lc = list_head(routing->channels);
	uint64		n = pipeline_sql("SELECT g.channel, r.oid FROM pipeline.channel_grants g JOIN pg_roles r ON r.oid = g.role"
								 " ORDER BY g.channel COLLATE \"C\"", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *name = pipeline_sql_text(i, 1);
		bool		isnull;
		ChannelInfo *channel;

		while (lc && strcmp(((ChannelInfo *) lfirst(lc))->name, name) != 0)
			lc = lnext(routing->channels, lc);
		if (lc == NULL)
			return;
		channel = lfirst(lc);
		channel->granted = lappend_oid(channel->granted, DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull)));
	}
}

static void
load_channels(Routing *routing)
{
	uint64		n = pipeline_sql("SELECT c.name, c.owner::oid, c.kind NOT IN ('notify', 'log')"
								 "  AND NOT c.config ? 'heartbeat' AND NOT " CHANNEL_IS_NAMED
								 " FROM pipeline.channels c ORDER BY c.name COLLATE \"C\"", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		ChannelInfo *channel = palloc0(sizeof(ChannelInfo));
		bool		isnull;

		channel->name = pipeline_sql_text(i, 1);
		channel->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		routing->channels = lappend(routing->channels, channel);
		if (pipeline_sql_bool(i, 3))
		{
			Route	   *route = default_route(channel);
			Forest	   *forest = forest_of(routing, channel->owner);

			forest->defaults = lappend(forest->defaults, route);
			routing->defaults = lappend(routing->defaults, route);
		}
	}
}

/* Read the routes of everybody. */
Routing *
pipeline_routing_load(void)
{
	Routing    *routing = palloc0(sizeof(Routing));
	HASHCTL		ctl = {
		.keysize = sizeof(((RouteEntry *) NULL)->name),
		.entrysize = sizeof(RouteEntry),
		.hcxt = CurrentMemoryContext
	};

	routing->by_name = hash_create("pipeline routes", 64, &ctl,
								   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	load_routes(routing);
	load_channels(routing);
	load_grants(routing);
	return routing;
}

/* ---- matching ---------------------------------------------------------------------- */

/* Append what of this route and those below takes the alert; did anything? */
static bool
match_route(Route *route, const Jsonb *labels, List **taken)
{
	bool		below = false;
	ListCell   *lc;

	if (route->unreadable || !pipeline_matchers_match(route->matchers, labels))
		return false;
	foreach(lc, route->children)
	{
		Route	   *child = lfirst(lc);

		if (match_route(child, labels, taken))
		{
			below = true;
			if (!child->continues)
				break;
		}
	}
	if (!below)
		*taken = lappend(*taken, route);
	return true;
}

static List *
match_forest(Forest *forest, const Jsonb *labels)
{
	List	   *taken = NIL;
	ListCell   *lc;

	foreach(lc, forest->roots)
	{
		Route	   *route = lfirst(lc);

		if (match_route(route, labels, &taken) && !route->continues)
			break;
	}
	return taken ? taken : list_copy(forest->defaults);
}

/* The routes that take an alert of that owner, default routes among them. */
List *
pipeline_routing_match(Routing *routing, Oid owner, const Jsonb *labels)
{
	Forest	   *own = forest_of(routing, owner);
	Forest	   *admin = forest_of(routing, InvalidOid);
	List	   *taken = match_forest(own, labels);

	return own == admin ? taken : list_concat(taken, match_forest(admin, labels));
}

/* ---- explaining ---------------------------------------------------------------------- */

static List *
add_verdict(List *verdicts, Route *route, char *why)
{
	Verdict    *verdict = palloc_object(Verdict);

	verdict->route = route;
	verdict->why = why;
	return lappend(verdicts, verdict);
}

/* match_route(), with a verdict for each route that it comes by. */
static bool
explain_route(Route *route, const Jsonb *labels, List **verdicts)
{
	const Matcher *failed = route->unreadable ? NULL :
		pipeline_matchers_fail(route->matchers, labels);
	const char *taken_by = NULL;
	bool		below = false;
	ListCell   *lc;

	if (route->unreadable || failed)
	{
		*verdicts = add_verdict(*verdicts, route, route->unreadable ? pstrdup("its matchers cannot be read") :
								psprintf("not true: %s", pipeline_matcher_text(failed)));
		return false;
	}
	foreach(lc, route->children)
	{
		Route	   *child = lfirst(lc);

		if (taken_by)
			*verdicts = add_verdict(*verdicts, child, psprintf("not asked: route \"%s\" took the alert before", taken_by));
		else if (explain_route(child, labels, verdicts))
		{
			below = true;
			if (!child->continues)
				taken_by = child->name;
		}
	}
	*verdicts = add_verdict(*verdicts, route, below ? pstrdup("a route below it takes the alert") : NULL);
	return true;
}

/*
 * How an alert goes through the routes of its owner, or of administrators: a
 * Verdict for each route that is asked or passed over, those below another
 * before it.  NIL for an owner who is one, for his routes are theirs.
 */
List *
pipeline_routing_explain(Routing *routing, Oid owner, bool of_admins, const Jsonb *labels)
{
	Forest	   *forest = forest_of(routing, of_admins ? InvalidOid : owner);
	List	   *verdicts = NIL;
	const char *taken_by = NULL;
	ListCell   *lc;

	if (!of_admins && !OidIsValid(forest->owner))
		return NIL;
	foreach(lc, forest->roots)
	{
		Route	   *route = lfirst(lc);

		if (taken_by)
			verdicts = add_verdict(verdicts, route, psprintf("not asked: route \"%s\" took the alert before", taken_by));
		else if (explain_route(route, labels, &verdicts) && !route->continues)
			taken_by = route->name;
	}
	return verdicts;
}

/* The default routes of an owner, or of administrators. */
List *
pipeline_routing_defaults(Routing *routing, Oid owner, bool of_admins)
{
	return forest_of(routing, of_admins ? InvalidOid : owner)->defaults;
}

/* A route by its name, or the default route of a channel; NULL: there is none. */
Route *
pipeline_routing_find(Routing *routing, const char *name, const char *channel)
{
	ListCell   *lc;

	if (name)
		return route_by_name(routing, name);
	foreach(lc, routing->defaults)
	{
		Route	   *route = lfirst(lc);

		if (strcmp(linitial(route->channels), channel) == 0)
			return route;
	}
	return NULL;
}

/* May what belongs to `owner` be sent to that channel, if it exists? */
bool
pipeline_routing_may_send(Routing *routing, Oid owner, const char *channel)
{
	ListCell   *lc;
	ListCell   *lg;

	foreach(lc, routing->channels)
	{
		ChannelInfo *info = lfirst(lc);

		if (strcmp(info->name, channel) != 0)
			continue;
		if (pipeline_is_owner(owner, info->owner))
			return true;
		foreach(lg, info->granted)
		{
			if (has_privs_of_role(owner, lfirst_oid(lg)))
				return true;
		}
	}
	return false;
}
