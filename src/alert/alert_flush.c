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
#include "utils/builtins.h"

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

/* ---- what a channel is told -------------------------------------------------------------- */

/* What fires in the group, as keys. */
static KeySet
firing_keys(const AlertGroup *group)
{
	KeySet		set = {0};
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (pipeline_member_fires(member))
			pipeline_key_set_add(&set, member->key);
	}
	pipeline_key_set_sort(&set);
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
	if (!pipeline_member_over(member) ||
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
			pipeline_key_set_add(&set, member->key);
	}
	pipeline_key_set_sort(&set);
	return set;
}

static bool
all_acknowledged(const AlertGroup *group, TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (pipeline_member_fires(member) && !pipeline_member_acknowledged(member, now))
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
	if (!pipeline_key_set_subset(firing, &told->firing))
		return NEWS;
	/* What it knows to fire may be silenced, and not over. */
	if (firing->n == 0)
		return told->firing.n > 0 && resolved->n > 0 ? ALL_RESOLVED : NOTHING;
	if (group->route->send_resolved && !pipeline_key_set_subset(resolved, &told->resolved))
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

		if (!pipeline_member_fires(member) && !(send_resolved && tells_end(group, member, told)))
			continue;
		member->telling = true;
		members = lappend(members, member);
	}
	return members;
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
		.group = group, .channel = channel, .at = flush->now, .firing = firing->n > 0,
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
	pipeline_group_write_told(group, channel, false, firing, &resolved, flush->now);
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
		.group = group, .channel = told->channel, .at = flush->now, .event = "resolved"
	};

	if (firing->n > 0 || told->firing.n == 0 || resolved.n == 0)
		return;
	message.members = members_to_tell(group, told, true);
	if (group->route == NULL || group->route->send_resolved)
		(void) pipeline_message_write(&message);
	pipeline_group_write_told(group, told->channel, told->escalation, firing, &resolved, flush->now);
}

/* ---- a flush ------------------------------------------------------------------------------ */

/* The first acknowledgement that will run out; 0: none will. */
static TimestampTz
first_lapse(const AlertGroup *group, TimestampTz now)
{
	TimestampTz until = 0;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (pipeline_member_fires(member) && member->acknowledged && member->acknowledged_until > now &&
			(until == 0 || member->acknowledged_until < until))
			until = member->acknowledged_until;
	}
	return until;
}

/* When the route's channels are told again if nothing changes; 0: never. */
static TimestampTz
next_repetition(const AlertGroup *group)
{
	TimestampTz next = 0;
	ListCell   *lc;

	foreach(lc, group->told)
	{
		const Told *told = lfirst(lc);

		if (!told->escalation && (next == 0 || told->at + group->route->repeat_interval < next))
			next = told->at + group->route->repeat_interval;
	}
	return next;
}

/* When the group has to be looked at next though no alert changes; 0: never. */
static TimestampTz
next_flush(const Flush *flush, const AlertGroup *group)
{
	TimestampTz next = next_repetition(group);
	TimestampTz lapse = first_lapse(group, flush->now);
	ListCell   *lc;

	/* When a suppression ends, no alert changes. */
	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (!pipeline_member_over(member) && member->suppressed)
			return pipeline_group_tick(group, flush->now);
	}
	/* What is all acknowledged is not repeated before one of them runs out. */
	if (all_acknowledged(group, flush->now))
		next = lapse == 0 || next == 0 ? 0 : Max(next, lapse);
	/* Then the escalation begins again. */
	if (group->route->escalation && lapse != 0)
		next = next == 0 ? lapse : Min(next, lapse);
	return next == 0 ? 0 : pipeline_group_tick(group, next);
}

/* Note what keeps a member from being told, if that is something else now. */
static void
note_suppressed(Flush *flush, const AlertGroup *group, const Member *member, const char *by)
{
	if (by == NULL ? member->was_suppressed == NULL :
		member->was_suppressed != NULL && strcmp(by, member->was_suppressed) == 0)
		return;
	column_add(&flush->suppressed_groups, Int64GetDatum(group->group_id), false);
	column_add(&flush->suppressed_alerts, Int64GetDatum(member->alert_id), false);
	column_add(&flush->suppressed_by, by ? CStringGetTextDatum(by) : (Datum) 0, by == NULL);
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

		if (pipeline_member_over(member))
		{
			column_add(&flush->gone_groups, Int64GetDatum(group->group_id), false);
			column_add(&flush->gone_alerts, Int64GetDatum(member->alert_id), false);
			continue;
		}
		any = true;
		note_suppressed(flush, group, member, member->suppressed);
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

		if (pipeline_member_over(member) && !member->told)
		{
			column_add(&flush->gone_groups, Int64GetDatum(group->group_id), false);
			column_add(&flush->gone_alerts, Int64GetDatum(member->alert_id), false);
			continue;
		}
		any = true;
		note_suppressed(flush, group, member, member->suppressed ? member->suppressed :
						psprintf("muted: %s", muted_by));
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
			(told->escalation ||
			 pipeline_routing_may_send(dispatch_routing(flush->dispatch), group->owner, told->channel)))
			tell_end(flush, group, told, &firing);
	}
	group->flushed_at = flush->now;
	pipeline_group_escalate(flush->dispatch, group);
	if (!note_members(flush, group) || group->route == NULL)
	{
		column_add(&flush->ended, Int64GetDatum(group->group_id), false);
		return;
	}
	next = next_flush(flush, group);
	if (group->route->opens_incident && !pipeline_group_open_incidents(group))
		next = pipeline_group_tick(group, flush->now);
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

/* Milliseconds until a group is due for anything, rounded up; -1: none is. */
static long
next_due(TimestampTz now)
{
	bool		isnull;
	TimestampTz next;

	pipeline_sql("SELECT least((SELECT min(next_flush_at) FROM pipeline.alert_groups),"
				 "  (SELECT min(escalate_at) FROM pipeline.alert_groups))", SPI_OK_SELECT);
	next = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	if (isnull)
		return -1;
	return next <= now ? 0 : (long) Min((next - now + 999) / 1000, INT_MAX);
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
			pipeline_find_suppressed(dispatch, lfirst(lc));
		foreach(lc, pipeline_make_digests(dispatch, groups))
		{
			CHECK_FOR_INTERRUPTS();
			flush_group(&flush, lfirst(lc));
		}
		write_flush(&flush);
	}
	pipeline_dispatch_escalate(dispatch);
	return next_due(dispatch->now);
}
