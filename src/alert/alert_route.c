/*
 * alert_route.c
 *	  create_route, drop_route: what a route may say.
 *
 * A route names only what its owner may use, whoever changes it; the notifier
 * asks again before it sends, for rights can be taken away.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "alert/alert_escalation.h"
#include "alert/alert_interval.h"
#include "alert/alert_matchers.h"

enum
{
	ARG_NAME, ARG_MATCHERS, ARG_CHANNELS, ARG_PARENT, ARG_PRIORITY,
	ARG_CONTINUE, ARG_GROUP_BY, ARG_GROUP_WAIT, ARG_GROUP_INTERVAL,
	ARG_REPEAT_INTERVAL, ARG_SEND_RESOLVED, ARG_MUTE, ARG_ACTIVE,
	ARG_ESCALATION, ARG_OPENS_INCIDENT, ARG_LABELS, ARG_OR_REPLACE,
	ARG_DESCRIPTION
};

static const AlertObject route_object = {
	.kind = "route",
	.action = "create_route",
	.lock = "SELECT owner::oid, to_jsonb(r) FROM pipeline.routes r WHERE name = $1 FOR UPDATE",
	.remove = "DELETE FROM pipeline.routes WHERE name = $1",
	.missing_hint = "The table pipeline.routes lists yours.",
	.drop_action = "drop_route"
};

/* ---- channels -------------------------------------------------------------------- */

/* Raise 42704 or 42501 unless `owner` may name all of these channels. */
void
pipeline_check_channels(const List *channels, Oid owner, const char *argument)
{
	const ListCell *lc;

	foreach(lc, channels)
	{
		UserScope	scope;
		const char *name = lfirst(lc);
		bool		exists;
		bool		usable;

		pipeline_extension_begin(&scope);
		exists = pipeline_sql("SELECT 1 FROM pipeline.channels WHERE name = $1 FOR KEY SHARE",
							  SPI_OK_SELECT, sql_text(name)) > 0;
		usable = exists && pipeline_channel_usable_by(name, owner);
		pipeline_scope_end(&scope);
		if (!exists)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("channel \"%s\" in argument \"%s\" does not exist", name, argument),
					 errhint("The table pipeline.channels lists yours.")));
		if (!usable)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for channel \"%s\"", name),
					 errdetail("Role \"%s\" may not send through it.", GetUserNameFromId(owner, false)),
					 errhint("Its owner can grant it: pipeline.grant_channel().")));
	}
}

/* Raise 2BP01 if something names the channel; it is being dropped. */
void
pipeline_check_channel_unused(const char *channel)
{
	const AlertObject object = {.kind = "channel"};
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_check_unnamed(pipeline_sql("SELECT 'route', name, owner::oid FROM pipeline.routes WHERE channels @> ARRAY[$1]"
										" UNION ALL SELECT 'escalation', name, owner::oid FROM pipeline.escalations WHERE channels @> ARRAY[$1]"
										" UNION ALL SELECT 'on-call schedule', name, owner::oid FROM pipeline.on_calls WHERE channels @> ARRAY[$1]"
										" ORDER BY 1, 2", SPI_OK_SELECT, sql_text(channel)),
						   &object, channel, scope.userid, pipeline_channel_usable_by, "revoke_channel");
	pipeline_scope_end(&scope);
}

/* ---- checks ---------------------------------------------------------------------- */

/* The parent is of the same owner, and is not below the route. */
static void
check_parent(const char *name, const char *parent, Oid owner)
{
	UserScope	scope;
	Oid			parent_owner = InvalidOid;
	char	   *cycle = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid FROM pipeline.routes WHERE name = $1",
					 SPI_OK_SELECT, sql_text(parent)) > 0)
		parent_owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	if (pipeline_sql("WITH RECURSIVE up AS ("
					 "  SELECT $2 AS name, ARRAY[$1, $2] AS path UNION ALL"
					 "  SELECT r.parent, u.path || r.parent FROM up u JOIN pipeline.routes r USING (name)"
					 "  WHERE r.parent IS NOT NULL AND u.name <> $1)"
					 " SELECT array_to_string(path, ' -> ') FROM up WHERE name = $1",
					 SPI_OK_SELECT, sql_text(name), sql_text(parent)) > 0)
		cycle = pipeline_sql_text(0, 1);
	pipeline_scope_end(&scope);
	if (cycle)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("route \"%s\" would be its own parent", name),
				 errdetail("The cycle is: %s.", cycle),
				 errhint("An arrow reads \"has the parent\".")));
	if (!OidIsValid(parent_owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("route \"%s\", the parent of route \"%s\", does not exist", parent, name),
				 errhint("Create a route after its parent. The table pipeline.routes lists yours.")));
	if (parent_owner != owner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("route \"%s\" cannot be the parent of route \"%s\"", parent, name),
				 errdetail("They have different owners."),
				 errhint("Routes of one tree have one owner.")));
}

/* Raise 22023 unless the labels can be grouped by: names, or "...". */
static void
check_group_by(const List *labels)
{
	const ListCell *lc;

	foreach(lc, labels)
	{
		const char *label = lfirst(lc);
		const char *one = "x";

		if (strcmp(label, "...") != 0)
			pipeline_check_labels(pipeline_jsonb_object(1, &label, &one), "group_by");
	}
}

/* Raise 22023 unless the interval (NULL: not given) is at least so long. */
static void
check_at_least(const Interval *interval, const char *argument, int seconds)
{
	Interval	least = {.time = seconds * USECS_PER_SEC};

	if (interval && pipeline_compare_intervals(interval, &least) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be at least %d seconds", argument, seconds)));
}

static Interval *
interval_arg(FunctionCallInfo fcinfo, int arg, const char *argument, int least)
{
	Interval   *interval = PG_ARGISNULL(arg) ? NULL : PG_GETARG_INTERVAL_P(arg);

	check_at_least(interval, argument, least);
	return interval;
}

/* The array of an argument, NULL made empty, its elements checked. */
static List *
list_arg(FunctionCallInfo fcinfo, int arg, const char *argument)
{
	return pipeline_array_list(pipeline_arg_array(fcinfo, arg), argument);
}

/* ---- SQL ------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(pipeline_create_route);

/* SQL: create_route(...) */
Datum
pipeline_create_route(PG_FUNCTION_ARGS)
{
	char	   *name;
	Jsonb	   *before = NULL;
	List	   *channels;
	Oid			owner = GetUserId();

	pipeline_not_null(fcinfo, ARG_NAME, "name");
	pipeline_not_null(fcinfo, ARG_MATCHERS, "matchers");
	pipeline_not_null(fcinfo, ARG_PRIORITY, "priority");
	pipeline_not_null(fcinfo, ARG_CONTINUE, "continue_matching");
	pipeline_not_null(fcinfo, ARG_OPENS_INCIDENT, "opens_incident");
	pipeline_not_null(fcinfo, ARG_OR_REPLACE, "or_replace");
	name = pipeline_arg_text(fcinfo, ARG_NAME);
	pipeline_check_name("route", name);
	(void) pipeline_matchers_parse_array(PG_GETARG_ARRAYTYPE_P(ARG_MATCHERS), "matchers");
	channels = list_arg(fcinfo, ARG_CHANNELS, "channels");
	if (!PG_ARGISNULL(ARG_GROUP_BY))
		check_group_by(list_arg(fcinfo, ARG_GROUP_BY, "group_by"));
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, ARG_LABELS), "labels");

	SPI_connect();
	/* One change of the routes at a time, or two could close a cycle. */
	pipeline_alert_lock("routes");
	if (PG_GETARG_BOOL(ARG_OR_REPLACE))
		before = pipeline_object_lock(&route_object, name, false, &owner);
	pipeline_check_channels(channels, owner, "channels");
	pipeline_check_intervals(list_arg(fcinfo, ARG_MUTE, "mute_time_intervals"), owner, "mute_time_intervals");
	pipeline_check_intervals(list_arg(fcinfo, ARG_ACTIVE, "active_time_intervals"), owner, "active_time_intervals");
	if (!PG_ARGISNULL(ARG_ESCALATION))
		pipeline_check_escalation(pipeline_arg_text(fcinfo, ARG_ESCALATION), owner);
	if (!PG_ARGISNULL(ARG_PARENT))
		check_parent(name, pipeline_arg_text(fcinfo, ARG_PARENT), owner);
	{
		const SqlArg args[] = {
			sql_text(name), sql_role(owner),
			sql_text(pipeline_arg_text(fcinfo, ARG_PARENT)),
			sql_int4(PG_GETARG_INT32(ARG_PRIORITY)),
			sql_array(PG_GETARG_ARRAYTYPE_P(ARG_MATCHERS)),
			sql_array(pipeline_list_array(channels)),
			sql_bool(PG_GETARG_BOOL(ARG_CONTINUE)),
			sql_array(pipeline_arg_array(fcinfo, ARG_GROUP_BY)),
			sql_interval(interval_arg(fcinfo, ARG_GROUP_WAIT, "group_wait", 0)),
			sql_interval(interval_arg(fcinfo, ARG_GROUP_INTERVAL, "group_interval", 1)),
			sql_interval(interval_arg(fcinfo, ARG_REPEAT_INTERVAL, "repeat_interval", 1)),
			sql_datum(BOOLOID, PG_ARGISNULL(ARG_SEND_RESOLVED) ? (Datum) 0 :
					  PG_GETARG_DATUM(ARG_SEND_RESOLVED), PG_ARGISNULL(ARG_SEND_RESOLVED)),
			sql_array(pipeline_arg_array(fcinfo, ARG_MUTE)),
			sql_array(pipeline_arg_array(fcinfo, ARG_ACTIVE)),
			sql_text(pipeline_arg_text(fcinfo, ARG_ESCALATION)),
			sql_bool(PG_GETARG_BOOL(ARG_OPENS_INCIDENT)),
			sql_jsonb(pipeline_arg_jsonb(fcinfo, ARG_LABELS)),
			sql_text(pipeline_arg_text(fcinfo, ARG_DESCRIPTION))
		};

		pipeline_object_write(&route_object, name, before,
							  "INSERT INTO pipeline.routes AS r (name, owner, parent, priority, matchers, channels,"
							  "   continue_matching, group_by, group_wait, group_interval, repeat_interval, send_resolved,"
							  "   mute_time_intervals, active_time_intervals, escalation, opens_incident, labels, description)"
							  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, coalesce($13, '{}'), coalesce($14, '{}'),"
							  "   $15, $16, coalesce($17, '{}'), $18)"
							  " ON CONFLICT (name) DO UPDATE SET (parent, priority, matchers, channels, continue_matching, group_by,"
							  "   group_wait, group_interval, repeat_interval, send_resolved, mute_time_intervals,"
							  "   active_time_intervals, escalation, opens_incident, labels, description) ="
							  "  (excluded.parent, excluded.priority, excluded.matchers, excluded.channels, excluded.continue_matching,"
							  "   excluded.group_by, excluded.group_wait, excluded.group_interval, excluded.repeat_interval,"
							  "   excluded.send_resolved, excluded.mute_time_intervals, excluded.active_time_intervals,"
							  "   excluded.escalation, excluded.opens_incident, excluded.labels, excluded.description)"
							  " WHERE $19 RETURNING to_jsonb(r)", lengthof(args), args);
	}
	pipeline_routes_changed(owner);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_route);

/* SQL: drop_route(name) */
Datum
pipeline_drop_route(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	char	   *child = NULL;
	Oid			owner;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	pipeline_alert_lock("routes");
	(void) pipeline_object_lock(&route_object, name, true, &owner);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT name FROM pipeline.routes WHERE parent = $1 ORDER BY name LIMIT 1",
					 SPI_OK_SELECT, sql_text(name)) > 0)
		child = pipeline_sql_text(0, 1);
	pipeline_scope_end(&scope);
	if (child)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop route \"%s\" because it is the parent of route \"%s\"", name, child),
				 errhint("Drop that first, or alter its parent.")));
	(void) pipeline_object_drop(&route_object, name);
	pipeline_routes_changed(owner);
	SPI_finish();
	PG_RETURN_VOID();
}
