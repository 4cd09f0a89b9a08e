/*
 * alert_mute.c
 *	  Routes that a time interval holds back, and what is told when it ends.
 *
 * A group that is due within a mute is looked at again when the mute ends.
 * What then still fires and was not told goes out as one digest per route:
 * with several groups it becomes a group of its own, so that what happens to
 * its alerts later is told in the same thread.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "alert/alert_dispatch.h"
#include "alert/alert_interval.h"

/*
 * What holds a route back now, and until when; NULL if nothing does.
 * Names of intervals that are gone, or are not the owner's to use, count for
 * nothing: rather one message too many.
 */
char *
pipeline_route_mute(Dispatch *dispatch, const Route *route, TimestampTz *end)
{
	List	   *mute;
	List	   *active;
	char	   *muted_by;

	if (route->mute == NIL && route->active == NIL)
		return NULL;
	if (!dispatch->intervals_loaded)
		dispatch->intervals = pipeline_intervals_load();
	dispatch->intervals_loaded = true;
	mute = pipeline_intervals_find(dispatch->intervals, route->mute, route->owner);
	active = pipeline_intervals_find(dispatch->intervals, route->active, route->owner);
	muted_by = pipeline_intervals_mute(mute, active, dispatch->now);
	if (muted_by && end)
		*end = pipeline_intervals_end(mute, active, dispatch->now);
	return muted_by;
}

/* Was the member held back by the mute, and does it fire? */
static bool
is_held(const Member *member)
{
	return !member->resolved && !member->left && !member->told && member->suppressed == NULL;
}

static bool
holds_any(const AlertGroup *group)
{
	ListCell   *lc;

	foreach(lc, group->members)
	{
		if (is_held(lfirst(lc)))
			return true;
	}
	return false;
}

/* The groups of a route, whose mute is over, that have something to tell. */
static List *
held_groups(List *groups, const Route *route)
{
	List	   *held = NIL;
	ListCell   *lc;

	foreach(lc, groups)
	{
		AlertGroup *group = lfirst(lc);

		if (group->route == route && group->muted_since != 0 && !group->digest &&
			holds_any(group))
			held = lappend(held, group);
	}
	return held;
}

/* Make a group of what these hold back, and take it from them. */
static AlertGroup *
make_digest(List *held, TimestampTz now)
{
	AlertGroup *digest = palloc0(sizeof(AlertGroup));
	AlertGroup *first = linitial(held);
	Column		groups = {INT8OID};
	Column		alerts = {INT8OID};
	ListCell   *lg;
	ListCell   *lm;

	digest->owner = first->owner;
	digest->route = first->route;
	digest->digest = true;
	digest->labels = pipeline_jsonb_object(0, NULL, NULL);
	digest->muted_since = first->muted_since;
	pipeline_sql("INSERT INTO pipeline.alert_groups (owner, route, group_labels, digest, opened_at) VALUES ($1, $2, '{}', true, $3)"
				 " RETURNING group_id, group_key", SPI_OK_INSERT_RETURNING,
				 sql_role(digest->owner), sql_text(digest->route->name), sql_time(now));
	digest->group_id = pipeline_sql_int8(0, 1);
	digest->group_key = pipeline_sql_text(0, 2);
	foreach(lg, held)
	{
		AlertGroup *group = lfirst(lg);

		digest->muted_since = Min(digest->muted_since, group->muted_since);
		foreach(lm, group->members)
		{
			Member	   *member = lfirst(lm);

			if (!is_held(member))
				continue;
			column_add(&groups, Int64GetDatum(group->group_id), false);
			column_add(&alerts, Int64GetDatum(member->alert_id), false);
			digest->members = lappend(digest->members, member);
			group->members = foreach_delete_current(group->members, lm);
		}
	}
	pipeline_sql("UPDATE pipeline.alert_group_members m SET group_id = $3"
				 " FROM unnest($1::bigint[], $2::bigint[]) u (group_id, alert_id)"
				 " WHERE m.group_id = u.group_id AND m.alert_id = u.alert_id", SPI_OK_UPDATE,
				 column_arg(&groups), column_arg(&alerts), sql_int8(digest->group_id));
	return digest;
}

/* Put what mutes that are over held back into digests; returns all groups. */
List *
pipeline_make_digests(Dispatch *dispatch, List *groups)
{
	List	   *all = list_copy(groups);
	ListCell   *lc;

	foreach(lc, groups)
	{
		AlertGroup *group = lfirst(lc);
		List	   *held;

		if (group->route == NULL || group->muted_since == 0 || group->digest ||
			!holds_any(group) || pipeline_route_mute(dispatch, group->route, NULL))
			continue;
		held = held_groups(groups, group->route);
		if (list_length(held) > 1)
			all = lappend(all, make_digest(held, dispatch->now));
		else
			group->digest = true;
	}
	return all;
}
