/*
 * alert_group.c
 *	  Groups of alerts: read them, and note what was told of them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "alert/alert_dispatch.h"

/* ---- reading groups -------------------------------------------------------------------- */

static TimestampTz
read_time(uint64 row, int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* The group of that number; they and what belongs to them come in one order. */
static AlertGroup *
next_group(List *groups, int *at, int64 group_id)
{
	while (((AlertGroup *) list_nth(groups, *at))->group_id != group_id)
		(*at)++;
	return list_nth(groups, *at);
}

static void
read_members(List *groups, ArrayType *group_ids)
{
	int			at = 0;
	uint64		n = pipeline_sql("SELECT m.group_id, m.alert_id, m.owner::oid, m.key, a.labels, a.state = 'resolved',"
								 "  m.left_at IS NOT NULL, a.state = 'acknowledged', a.acknowledged_until, m.told_at IS NOT NULL,"
								 "  m.suppressed_by"
								 " FROM pipeline.alert_group_members m JOIN pipeline.alerts a USING (alert_id)"
								 " WHERE m.group_id = ANY ($1) ORDER BY m.group_id, m.joined_at, m.alert_id", SPI_OK_SELECT,
								 sql_datum(INT8ARRAYOID, PointerGetDatum(group_ids), false));

	for (uint64 i = 0; i < n; i++)
	{
		AlertGroup *group = next_group(groups, &at, pipeline_sql_int8(i, 1));
		Member	   *member = palloc0(sizeof(Member));
		bool		isnull;

		member->alert_id = pipeline_sql_int8(i, 2);
		member->owner = DatumGetObjectId(pipeline_sql_datum(i, 3, &isnull));
		member->key = pipeline_sql_int8(i, 4);
		member->labels = DatumGetJsonbPCopy(pipeline_sql_datum(i, 5, &isnull));
		member->resolved = pipeline_sql_bool(i, 6);
		member->left = pipeline_sql_bool(i, 7);
		member->acknowledged = pipeline_sql_bool(i, 8);
		member->acknowledged_until = read_time(i, 9);
		if (TIMESTAMP_NOT_FINITE(member->acknowledged_until))
			member->acknowledged_until = 0;
		member->told = pipeline_sql_bool(i, 10);
		member->was_suppressed = pipeline_sql_text(i, 11);
		group->members = lappend(group->members, member);
	}
}

static void
read_told(List *groups, ArrayType *group_ids)
{
	int			at = 0;
	uint64		n = pipeline_sql("SELECT group_id, channel, escalation, at, firing, resolved FROM pipeline.alert_group_channels"
								 " WHERE group_id = ANY ($1) ORDER BY group_id, channel COLLATE \"C\"", SPI_OK_SELECT,
								 sql_datum(INT8ARRAYOID, PointerGetDatum(group_ids), false));

	for (uint64 i = 0; i < n; i++)
	{
		AlertGroup *group = next_group(groups, &at, pipeline_sql_int8(i, 1));
		Told	   *told = palloc0(sizeof(Told));

		told->channel = pipeline_sql_text(i, 2);
		told->escalation = pipeline_sql_bool(i, 3);
		told->at = read_time(i, 4);
		told->firing = pipeline_key_set_read(i, 5);
		told->resolved = pipeline_key_set_read(i, 6);
		group->told = lappend(group->told, told);
	}
}

/* Read groups with their members and what was told of them. */
List *
pipeline_groups_read(Routing *routing, ArrayType *group_ids)
{
	List	   *groups = NIL;
	uint64		n = pipeline_sql("SELECT group_id, group_key, owner::oid, route, channel, group_labels, flushed_at, muted_since,"
								 "  escalation_step, escalation_repeat, escalate_at, escalated"
								 " FROM pipeline.alert_groups WHERE group_id = ANY ($1) ORDER BY group_id", SPI_OK_SELECT,
								 sql_datum(INT8ARRAYOID, PointerGetDatum(group_ids), false));

	for (uint64 i = 0; i < n; i++)
	{
		AlertGroup *group = palloc0(sizeof(AlertGroup));
		char	   *route = pipeline_sql_text(i, 4);
		char	   *channel = pipeline_sql_text(i, 5);
		bool		isnull;

		group->group_id = pipeline_sql_int8(i, 1);
		group->group_key = pipeline_sql_text(i, 2);
		group->owner = DatumGetObjectId(pipeline_sql_datum(i, 3, &isnull));
		group->route = pipeline_routing_find(routing, route, channel);
		/* Another owner may have made a route of that name since. */
		if (group->route && group->route->owner != group->owner)
			group->route = NULL;
		group->labels = DatumGetJsonbPCopy(pipeline_sql_datum(i, 6, &isnull));
		group->flushed_at = read_time(i, 7);
		group->muted_since = read_time(i, 8);
		group->step = DatumGetInt32(pipeline_sql_datum(i, 9, &isnull));
		group->step_repeat = (int) pipeline_sql_int8(i, 10);
		group->escalate_at = read_time(i, 11);
		group->escalated = pipeline_key_set_read(i, 12);
		groups = lappend(groups, group);
	}
	if (groups)
	{
		read_members(groups, group_ids);
		read_told(groups, group_ids);
	}
	return groups;
}

Told *
pipeline_group_told(AlertGroup *group, const char *channel)
{
	ListCell   *lc;

	foreach(lc, group->told)
	{
		if (strcmp(((Told *) lfirst(lc))->channel, channel) == 0)
			return lfirst(lc);
	}
	return NULL;
}

/* The first tick of the group that is not before `after`. */
TimestampTz
pipeline_group_tick(const AlertGroup *group, TimestampTz after)
{
	int64		interval = group->route ? group->route->group_interval : 1;
	int64		passed = after - group->flushed_at;

	if (passed <= interval)
		return group->flushed_at + interval;
	return group->flushed_at + (passed + interval - 1) / interval * interval;
}

/* ---- members ------------------------------------------------------------------------ */

/* Is it over, here at least? */
bool
pipeline_member_over(const Member *member)
{
	return member->resolved || member->left;
}

/* Does it fire, and may that be told? */
bool
pipeline_member_fires(const Member *member)
{
	return !pipeline_member_over(member) && member->suppressed == NULL;
}

/* Does somebody look after it?  An acknowledgement can run out. */
bool
pipeline_member_acknowledged(const Member *member, TimestampTz now)
{
	return member->acknowledged &&
		(member->acknowledged_until == 0 || member->acknowledged_until > now);
}

/* Note what suppresses the members of a group. */
void
pipeline_find_suppressed(Dispatch *dispatch, AlertGroup *group)
{
	ListCell   *lc;

	foreach(lc, group->members)
	{
		Member	   *member = lfirst(lc);
		OpenAlert	alert = {member->alert_id, member->owner, member->labels};
		List	   *suppressors;

		if (member->left)
			continue;
		suppressors = pipeline_suppressors(dispatch_suppression(dispatch), &alert);
		if (suppressors)
			member->suppressed = pipeline_suppressor_text(linitial(suppressors));
	}
}

/* ---- what was told ------------------------------------------------------------------- */

/* Note what a channel now knows of a group. */
void
pipeline_group_write_told(AlertGroup *group, const char *channel, bool escalation,
						  const KeySet *firing, const KeySet *resolved, TimestampTz now)
{
	Told	   *told = pipeline_group_told(group, channel);

	pipeline_sql("INSERT INTO pipeline.alert_group_channels (group_id, channel, escalation, owner, at, firing, resolved)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7)"
				 " ON CONFLICT (group_id, channel) DO UPDATE SET at = excluded.at, firing = excluded.firing,"
				 "  resolved = excluded.resolved", SPI_OK_INSERT,
				 sql_int8(group->group_id), sql_text(channel), sql_bool(escalation),
				 sql_role(group->owner), sql_time(now), pipeline_key_set_arg(firing),
				 pipeline_key_set_arg(resolved));
	if (told == NULL)
	{
		told = palloc0(sizeof(Told));
		told->channel = pstrdup(channel);
		told->escalation = escalation;
		group->told = lappend(group->told, told);
	}
	told->at = now;
	told->firing = *firing;
	told->resolved = *resolved;
}

/*
 * Note that a step of an escalation told a channel of these members.  One that
 * the route tells anyway keeps its own account.
 */
void
pipeline_group_note_told(AlertGroup *group, const char *channel, bool escalation,
						 const List *members, TimestampTz now)
{
	KeySet		firing = {0};
	KeySet		none = {0};
	const ListCell *lc;

	if (pipeline_list_has(group->route->channels, channel))
		return;
	foreach(lc, members)
		pipeline_key_set_add(&firing, ((Member *) lfirst(lc))->key);
	pipeline_key_set_sort(&firing);
	pipeline_group_write_told(group, channel, escalation, &firing, &none, now);
}

/* Note which members were told for the first time. */
void
pipeline_group_mark_told(const AlertGroup *group, TimestampTz now)
{
	Column		alerts = {INT8OID};
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (member->telling && !member->told)
			column_add(&alerts, Int64GetDatum(member->alert_id), false);
	}
	if (alerts.state)
		pipeline_sql("UPDATE pipeline.alert_group_members SET told_at = $3 WHERE group_id = $1 AND alert_id = ANY ($2)",
					 SPI_OK_UPDATE, sql_int8(group->group_id), column_arg(&alerts), sql_time(now));
}
