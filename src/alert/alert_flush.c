/*
 * alert_flush.c
 *	  Flush the groups that are due: who has to be told what.
 *
 * A group is flushed when its group_wait is over and then every
 * group_interval, as Alertmanager does it, unless a time interval holds it back
 * (alert_mute.c); what is told is decided per channel
 * from what it was told last:
 *
 *	 something fires that it does not know	-> firing
 *	 nothing fires of what it knows			-> resolved
 *	 something is resolved, others fire		-> firing, the resolved ones with it
 *	 repeat_interval has passed				-> repeat
 *
 * After a flush the group forgets what is resolved; one without alerts ends.
 * A tick at which nothing can have changed is left out: when no alert changed
 * and none is suppressed, the next is that of the repetition.
 *
 * What is silenced or inhibited is left out of it (alert_suppress.c).
 *
 * Three things are not Alertmanager's: a group whose alerts are all acknowledged
 * is not repeated; an alert that moves to another group, because its severity
 * or the routes changed, counts as resolved in the one that it left; and that
 * something is over is told even if it is silenced by now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "alert/alert_dispatch.h"

/* Groups of one dispatch, so that its transaction stays short. */
#define MAX_GROUPS 1000

typedef enum Reason
{
	NOTHING, NEWS, ALL_RESOLVED, SOME_RESOLVED, REPETITION
} Reason;

/* What the flushes of one dispatch write at its end. */
typedef struct Flush
{
	Dispatch   *dispatch;
	TimestampTz now;
	Column		flushed;		/* groups, when they are due again, */
	Column		next;
	Column		muted_since;	/* and what holds them back */
	Column		muted_by;
	Column		ended;			/* groups */
	Column		gone_groups;	/* members */
	Column		gone_alerts;
	Column		told_groups;	/* members told for the first time */
	Column		told_alerts;
	Column		suppressed_groups;	/* members whose suppression changed */
	Column		suppressed_alerts;
	Column		suppressed_by;
} Flush;

/* ---- sets of keys -------------------------------------------------------------------- */

static int
compare_keys(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

static void
key_set_add(KeySet *set, int64 key)
{
	/* Room is made in powers of two. */
	if ((set->n & (set->n - 1)) == 0)
	{
		int			size = set->n == 0 ? 1 : 2 * set->n;

		set->keys = set->n == 0 ? palloc_array(int64, size) :
			repalloc_huge(set->keys, size * sizeof(int64));
	}
	set->keys[set->n++] = key;
}

static void
key_set_sort(KeySet *set)
{
	int			n = 0;

	if (set->n == 0)
		return;
	qsort(set->keys, set->n, sizeof(int64), compare_keys);
	for (int i = 1; i < set->n; i++)
	{
		if (set->keys[i] != set->keys[n])
			set->keys[++n] = set->keys[i];
	}
	set->n = n + 1;
}

bool
pipeline_key_set_has(const KeySet *set, int64 key)
{
	return set->n > 0 &&
		bsearch(&key, set->keys, set->n, sizeof(int64), compare_keys) != NULL;
}

static bool
is_subset(const KeySet *part, const KeySet *whole)
{
	for (int i = 0; i < part->n; i++)
	{
		if (!pipeline_key_set_has(whole, part->keys[i]))
			return false;
	}
	return true;
}

static SqlArg
key_set_arg(const KeySet *set)
{
	Column		column = {INT8OID};

	for (int i = 0; i < set->n; i++)
		column_add(&column, Int64GetDatum(set->keys[i]), false);
	return column_arg(&column);
}

static KeySet
read_keys(uint64 row, int column)
{
	bool		isnull;
	ArrayType  *array = DatumGetArrayTypePCopy(pipeline_sql_datum(row, column, &isnull));
	KeySet		set = {ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), (int64 *) ARR_DATA_PTR(array)};

	return set;
}

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
		told->firing = read_keys(i, 5);
		told->resolved = read_keys(i, 6);
		group->told = lappend(group->told, told);
	}
}

/* Read groups with their members and what was told of them. */
List *
pipeline_groups_read(Routing *routing, ArrayType *group_ids)
{
	List	   *groups = NIL;
	uint64		n = pipeline_sql("SELECT group_id, group_key, owner::oid, route, channel, group_labels, flushed_at, muted_since"
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

/* ---- what a channel is told -------------------------------------------------------------- */

static bool
is_over(const Member *member)
{
	return member->resolved || member->left;
}

static bool
is_acknowledged(const Member *member, TimestampTz now)
{
	return member->acknowledged &&
		(member->acknowledged_until == 0 || member->acknowledged_until > now);
}

/* Does it fire, and may that be told? */
static bool
fires(const Member *member)
{
	return !is_over(member) && member->suppressed == NULL;
}

/* What fires in the group, as keys. */
static KeySet
firing_keys(const AlertGroup *group)
{
	KeySet		set = {0};
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (fires(member))
			key_set_add(&set, member->key);
	}
	key_set_sort(&set);
	return set;
}

/*
 * Is a member that is over something to tell a channel?  Of what came and went
 * within a mute, or in silence, nobody is told.  The end of what a channel knows to fire is
 * told, silenced or not: else its incident would stay open for ever.
 */
static bool
tells_end(const AlertGroup *group, const Member *member, const Told *told)
{
	if (!is_over(member) ||
		(!member->told && (group->muted_since != 0 || member->was_suppressed)))
		return false;
	return (!member->left && member->suppressed == NULL) ||
		(told && pipeline_key_set_has(&told->firing, member->key));
}

static KeySet
resolved_keys(const AlertGroup *group, const Told *told)
{
	KeySet		set = {0};
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (tells_end(group, member, told))
			key_set_add(&set, member->key);
	}
	key_set_sort(&set);
	return set;
}

static bool
all_acknowledged(const AlertGroup *group, TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (fires(member) && !is_acknowledged(member, now))
			return false;
	}
	return true;
}

/* Why a channel has to be told, if it has. */
static Reason
find_reason(const AlertGroup *group, const Told *told, const KeySet *firing,
			const KeySet *resolved, TimestampTz now)
{
	if (told == NULL)
		return firing->n > 0 ? NEWS : NOTHING;
	if (!is_subset(firing, &told->firing))
		return NEWS;
	if (firing->n == 0)
		return told->firing.n > 0 ? ALL_RESOLVED : NOTHING;
	if (group->route->send_resolved && !is_subset(resolved, &told->resolved))
		return SOME_RESOLVED;
	if (told->at + group->route->repeat_interval <= now && !all_acknowledged(group, now))
		return REPETITION;
	return NOTHING;
}

/* The members that a message tells of, and mark them as told. */
static List *
members_to_tell(AlertGroup *group, const Told *told, bool send_resolved)
{
	List	   *members = NIL;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		Member	   *member = lfirst(lc);

		if (!fires(member) && !(send_resolved && tells_end(group, member, told)))
			continue;
		member->telling = true;
		members = lappend(members, member);
	}
	return members;
}

static void
write_told(AlertGroup *group, const char *channel, Told *told, const KeySet *firing,
		   const KeySet *resolved, TimestampTz now)
{
	pipeline_sql("INSERT INTO pipeline.alert_group_channels (group_id, channel, escalation, owner, at, firing, resolved)"
				 " VALUES ($1, $2, false, $3, $4, $5, $6)"
				 " ON CONFLICT (group_id, channel) DO UPDATE SET at = excluded.at, firing = excluded.firing,"
				 "  resolved = excluded.resolved", SPI_OK_INSERT,
				 sql_int8(group->group_id), sql_text(channel), sql_role(group->owner),
				 sql_time(now), key_set_arg(firing), key_set_arg(resolved));
	if (told == NULL)
	{
		told = palloc0(sizeof(Told));
		told->channel = pstrdup(channel);
		group->told = lappend(group->told, told);
	}
	told->at = now;
	told->firing = *firing;
	told->resolved = *resolved;
}

/* What a digest says of the mute that it ends. */
static Jsonb *
digest_of(const AlertGroup *group)
{
	bool		isnull;

	pipeline_sql("SELECT jsonb_build_object('digest', jsonb_build_object('muted_since', $1))",
				 SPI_OK_SELECT, sql_time(group->muted_since));
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

/* Tell one channel what it has to be told. */
static void
tell_channel(Flush *flush, AlertGroup *group, const char *channel, const KeySet *firing)
{
	Told	   *told = pipeline_group_told(group, channel);
	KeySet		resolved = resolved_keys(group, told);
	Reason		reason = find_reason(group, told, firing, &resolved, flush->now);
	Message		message = {
		.group = group, .channel = channel, .firing = firing->n > 0,
		.event = reason == REPETITION ? "repeat" : firing->n == 0 ? "resolved" :
		group->digest ? "digest" : "firing",
		.extra = group->digest ? digest_of(group) : NULL
	};

	if (reason == NOTHING)
		return;
	/* Not told of what is resolved, it still has to forget what it knew. */
	if (reason != ALL_RESOLVED || group->route->send_resolved)
	{
		message.members = members_to_tell(group, told, group->route->send_resolved);
		(void) pipeline_message_write(&message);
	}
	write_told(group, channel, told, firing, &resolved, flush->now);
}

/*
 * Tell a channel that the route does not name, or no longer, that all is over:
 * it was told by an escalation, or before the route changed.
 */
static void
tell_end(Flush *flush, AlertGroup *group, Told *told, const KeySet *firing)
{
	KeySet		resolved = resolved_keys(group, told);
	Message		message = {
		.group = group, .channel = told->channel, .event = "resolved"
	};

	if (firing->n > 0 || told->firing.n == 0)
		return;
	message.members = members_to_tell(group, told, true);
	if (message.members != NIL && (group->route == NULL || group->route->send_resolved))
		(void) pipeline_message_write(&message);
	write_told(group, told->channel, told, firing, &resolved, flush->now);
}

/* ---- a flush ------------------------------------------------------------------------------ */

/* When the group has to be looked at next though no alert changes; 0: never. */
static TimestampTz
next_flush(const Flush *flush, const AlertGroup *group)
{
	TimestampTz next = 0;
	TimestampTz until = 0;
	ListCell   *lc;

	/* When a suppression ends, no alert changes. */
	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (!is_over(member) && member->suppressed)
			return pipeline_group_tick(group, flush->now);
	}
	foreach(lc, group->told)
	{
		const Told *told = lfirst(lc);

		if (!told->escalation && (next == 0 || told->at + group->route->repeat_interval < next))
			next = told->at + group->route->repeat_interval;
	}
	if (next == 0 || !all_acknowledged(group, flush->now))
		return next == 0 ? 0 : pipeline_group_tick(group, next);
	/* The first acknowledgement that runs out makes it repeat again. */
	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (fires(member) && member->acknowledged_until != 0 &&
			(until == 0 || member->acknowledged_until < until))
			until = member->acknowledged_until;
	}
	return until == 0 ? 0 : pipeline_group_tick(group, Max(next, until));
}

/* Note what became of the members; is any of them left? */
static bool
note_members(Flush *flush, const AlertGroup *group)
{
	bool		any = false;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (is_over(member))
		{
			column_add(&flush->gone_groups, Int64GetDatum(group->group_id), false);
			column_add(&flush->gone_alerts, Int64GetDatum(member->alert_id), false);
			continue;
		}
		any = true;
		if (member->suppressed == NULL ? member->was_suppressed != NULL :
			member->was_suppressed == NULL || strcmp(member->suppressed, member->was_suppressed) != 0)
		{
			column_add(&flush->suppressed_groups, Int64GetDatum(group->group_id), false);
			column_add(&flush->suppressed_alerts, Int64GetDatum(member->alert_id), false);
			column_add(&flush->suppressed_by, member->suppressed ? CStringGetTextDatum(member->suppressed) : (Datum) 0,
					   member->suppressed == NULL);
		}
		if (member->telling && !member->told)
		{
			column_add(&flush->told_groups, Int64GetDatum(group->group_id), false);
			column_add(&flush->told_alerts, Int64GetDatum(member->alert_id), false);
		}
	}
	return any;
}

/* Note when a group that goes on is due again. */
static void
note_next(Flush *flush, const AlertGroup *group, TimestampTz next, const char *muted_by)
{
	column_add(&flush->flushed, Int64GetDatum(group->group_id), false);
	column_add(&flush->next, TimestampTzGetDatum(next), next == 0);
	column_add(&flush->muted_since, TimestampTzGetDatum(group->muted_since), muted_by == NULL);
	column_add(&flush->muted_by, muted_by ? CStringGetTextDatum(muted_by) : (Datum) 0,
			   muted_by == NULL);
}

/*
 * Hold a group back until its mute ends.  What was not told and is over is
 * forgotten; what was told and is over is told then.
 */
static void
hold_group(Flush *flush, AlertGroup *group, const char *muted_by, TimestampTz end)
{
	bool		any = false;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (is_over(member) && !member->told)
		{
			column_add(&flush->gone_groups, Int64GetDatum(group->group_id), false);
			column_add(&flush->gone_alerts, Int64GetDatum(member->alert_id), false);
		}
		else
			any = true;
	}
	if (!any)
	{
		column_add(&flush->ended, Int64GetDatum(group->group_id), false);
		return;
	}
	if (group->muted_since == 0)
		group->muted_since = flush->now;
	note_next(flush, group, end, muted_by);
}

static void
flush_group(Flush *flush, AlertGroup *group)
{
	KeySet		firing = firing_keys(group);
	char	   *muted_by = NULL;
	TimestampTz next;
	ListCell   *lc;

	if (group->route)
		muted_by = pipeline_route_mute(flush->dispatch, group->route, &next);
	if (muted_by)
	{
		hold_group(flush, group, muted_by, next);
		return;
	}
	if (group->route)
	{
		foreach(lc, group->route->channels)
		{
			if (pipeline_routing_may_send(dispatch_routing(flush->dispatch), group->owner, lfirst(lc)))
				tell_channel(flush, group, lfirst(lc), &firing);
		}
	}
	foreach(lc, group->told)
	{
		Told	   *told = lfirst(lc);

		if ((group->route == NULL || !pipeline_list_has(group->route->channels, told->channel)) &&
			pipeline_routing_may_send(dispatch_routing(flush->dispatch), group->owner, told->channel))
			tell_end(flush, group, told, &firing);
	}
	group->flushed_at = flush->now;
	if (!note_members(flush, group) || group->route == NULL)
	{
		column_add(&flush->ended, Int64GetDatum(group->group_id), false);
		return;
	}
	next = next_flush(flush, group);
	note_next(flush, group, next, NULL);
}

static void
write_flush(Flush *flush)
{
	pipeline_sql("UPDATE pipeline.alert_groups g SET flushed_at = $5, next_flush_at = u.next,"
				 "  muted_since = u.since, muted_by = u.by"
				 " FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::text[]) u (group_id, next, since, by)"
				 " WHERE g.group_id = u.group_id", SPI_OK_UPDATE,
				 column_arg(&flush->flushed), column_arg(&flush->next),
				 column_arg(&flush->muted_since), column_arg(&flush->muted_by), sql_time(flush->now));
	if (flush->told_groups.state)
		pipeline_sql("UPDATE pipeline.alert_group_members m SET told_at = $3"
					 " FROM unnest($1::bigint[], $2::bigint[]) u (group_id, alert_id)"
					 " WHERE m.group_id = u.group_id AND m.alert_id = u.alert_id", SPI_OK_UPDATE,
					 column_arg(&flush->told_groups), column_arg(&flush->told_alerts), sql_time(flush->now));
	if (flush->suppressed_groups.state)
		pipeline_sql("UPDATE pipeline.alert_group_members m SET suppressed_by = u.by"
					 " FROM unnest($1::bigint[], $2::bigint[], $3::text[]) u (group_id, alert_id, by)"
					 " WHERE m.group_id = u.group_id AND m.alert_id = u.alert_id", SPI_OK_UPDATE,
					 column_arg(&flush->suppressed_groups), column_arg(&flush->suppressed_alerts),
					 column_arg(&flush->suppressed_by));
	if (flush->gone_groups.state)
		pipeline_sql("DELETE FROM pipeline.alert_group_members m"
					 " USING unnest($1::bigint[], $2::bigint[]) u (group_id, alert_id)"
					 " WHERE m.group_id = u.group_id AND m.alert_id = u.alert_id", SPI_OK_DELETE,
					 column_arg(&flush->gone_groups), column_arg(&flush->gone_alerts));
	if (flush->ended.state)
		pipeline_sql("DELETE FROM pipeline.alert_groups WHERE group_id = ANY ($1)", SPI_OK_DELETE,
					 column_arg(&flush->ended));
}

/* Milliseconds from now until a time, rounded up; 0 if it has come. */
static long
milliseconds_until(TimestampTz now, TimestampTz time)
{
	return time <= now ? 0 : (long) Min((time - now + 999) / 1000, INT_MAX);
}

/* Note what suppresses the members of a group. */
static void
find_suppressed(Dispatch *dispatch, AlertGroup *group)
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

/* The groups that are due; muted ones all, for what they hold is told together. */
static List *
due_groups(Dispatch *dispatch)
{
	uint64		n = pipeline_sql("(SELECT group_id FROM pipeline.alert_groups WHERE next_flush_at <= $1 AND muted_since IS NULL"
								 "  ORDER BY next_flush_at, group_id LIMIT $2)"
								 " UNION ALL SELECT group_id FROM pipeline.alert_groups WHERE next_flush_at <= $1"
								 "  AND muted_since IS NOT NULL", SPI_OK_SELECT,
								 sql_time(dispatch->now), sql_int8(MAX_GROUPS));
	Column		ids = {INT8OID};

	for (uint64 i = 0; i < n; i++)
		column_add(&ids, Int64GetDatum(pipeline_sql_int8(i, 1)), false);
	return n == 0 ? NIL :
		pipeline_groups_read(dispatch_routing(dispatch), DatumGetArrayTypeP(column_arg(&ids).value));
}

/* Flush the groups that are due.  Returns the milliseconds until the next is, or -1. */
long
pipeline_dispatch_flush(Dispatch *dispatch)
{
	Flush		flush = {
		.dispatch = dispatch, .now = dispatch->now, .flushed = {INT8OID}, .next = {TIMESTAMPTZOID},
		.muted_since = {TIMESTAMPTZOID}, .muted_by = {TEXTOID},
		.ended = {INT8OID}, .gone_groups = {INT8OID}, .gone_alerts = {INT8OID},
		.told_groups = {INT8OID}, .told_alerts = {INT8OID},
		.suppressed_groups = {INT8OID}, .suppressed_alerts = {INT8OID}, .suppressed_by = {TEXTOID}
	};
	List	   *groups = due_groups(dispatch);
	ListCell   *lc;

	if (groups)
	{
		foreach(lc, groups)
			find_suppressed(dispatch, lfirst(lc));
		foreach(lc, pipeline_make_digests(dispatch, groups))
		{
			CHECK_FOR_INTERRUPTS();
			flush_group(&flush, lfirst(lc));
		}
		write_flush(&flush);
	}
	if (pipeline_sql("SELECT next_flush_at FROM pipeline.alert_groups WHERE next_flush_at IS NOT NULL"
					 " ORDER BY next_flush_at LIMIT 1", SPI_OK_SELECT) == 0)
		return -1;
	return milliseconds_until(dispatch->now, read_time(0, 1));
}
