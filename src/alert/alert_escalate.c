/*
 * alert_escalate.c
 *	  Take groups through their escalations.
 *
 * An escalation begins when a group is flushed that has something firing,
 * told or not by the route itself, that nobody has acknowledged; its first
 * step is taken at once, each other when the step before has waited in vain.
 * It stops when everything is acknowledged, ends with the alerts, and comes to
 * its end with its last step: then it begins again only for what is new.  While
 * all of it is silenced or inhibited, or a time interval mutes the route, it
 * waits where it is.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "alert/alert_dispatch.h"
#include "alert/alert_escalation.h"

/* ---- who is told --------------------------------------------------------------------------- */

/* One that a step tells, and as whom. */
typedef struct Recipient
{
	char	   *channel;
	char	   *to;
} Recipient;

/* Asking who is on call, so that an error does not stop the alerts of all. */
typedef struct Asking
{
	const char *on_call;
	Oid			user;
	TimestampTz at;
	Person	   *person;
} Asking;

static bool
ask_on_call(void *arg)
{
	Asking	   *asking = arg;
	TimestampTz since;
	TimestampTz until;
	bool		override;

	asking->person = pipeline_on_call_at(asking->on_call, asking->user, asking->at, &since, &until, &override);
	return true;
}

static List *
add_recipient(List *recipients, Dispatch *dispatch, Oid owner, char *channel, char *to)
{
	Recipient  *recipient;
	ListCell   *lc;

	foreach(lc, recipients)
	{
		if (strcmp(((Recipient *) lfirst(lc))->channel, channel) == 0)
			return recipients;
	}
	if (!pipeline_routing_may_send(dispatch_routing(dispatch), owner, channel))
		return recipients;
	recipient = palloc_object(Recipient);
	recipient->channel = channel;
	recipient->to = to;
	return lappend(recipients, recipient);
}

/* Whom a step tells now: its channels, and those of who is on call. */
static List *
step_recipients(Dispatch *dispatch, const Escalation *escalation, const EscalationStep *step)
{
	List	   *recipients = NIL;
	ListCell   *lc;

	if (step->on_call)
	{
		Asking		asking = {step->on_call, escalation->owner, dispatch->now, NULL};
		ErrorData  *error = pipeline_try(ask_on_call, &asking);

		if (error)
			ereport(LOG,
					(errmsg("on-call schedule \"%s\" cannot be read: %s", step->on_call, error->message)));
		else if (asking.person)
			foreach(lc, asking.person->channels)
				recipients = add_recipient(recipients, dispatch, asking.person->of, lfirst(lc),
										   asking.person->name);
	}
	foreach(lc, step->channels)
		recipients = add_recipient(recipients, dispatch, escalation->owner, lfirst(lc), lfirst(lc));
	return recipients;
}

static Jsonb *
step_extra(int step, int repeat, const char *to)
{
	bool		isnull;

	pipeline_sql("SELECT jsonb_build_object('escalation', jsonb_build_object('step', $1, 'repeat', $2, 'to', $3))",
				 SPI_OK_SELECT, sql_int4(step), sql_int4(repeat), sql_text(to));
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

/* ---- what has to be acknowledged -------------------------------------------------------------- */

/* The members that are not over and that nobody has acknowledged; those that fire, or all. */
static List *
unacknowledged(const AlertGroup *group, TimestampTz now, bool firing)
{
	List	   *members = NIL;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		Member	   *member = lfirst(lc);

		if (!pipeline_member_over(member) && !pipeline_member_acknowledged(member, now) &&
			(!firing || pipeline_member_fires(member)))
			members = lappend(members, member);
	}
	return members;
}

static KeySet
keys_of(const List *members)
{
	KeySet		set = {0};
	const ListCell *lc;

	foreach(lc, members)
		pipeline_key_set_add(&set, ((Member *) lfirst(lc))->key);
	pipeline_key_set_sort(&set);
	return set;
}

/* ---- steps ------------------------------------------------------------------------------------- */

static void
write_state(AlertGroup *group)
{
	pipeline_sql("UPDATE pipeline.alert_groups SET escalation_step = $2, escalation_repeat = $3, escalate_at = $4, escalated = $5"
				 " WHERE group_id = $1", SPI_OK_UPDATE, sql_int8(group->group_id),
				 sql_datum(INT4OID, Int32GetDatum(group->step), group->step == 0),
				 sql_int4(group->step_repeat),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(group->escalate_at), group->escalate_at == 0),
				 pipeline_key_set_arg(&group->escalated));
}

/* Tell the recipients of a step of what is not acknowledged. */
static void
tell_step(Dispatch *dispatch, AlertGroup *group, List *recipients, List *members)
{
	ListCell   *lc;

	foreach(lc, recipients)
	{
		const Recipient *recipient = lfirst(lc);
		Message		message = {
			.group = group, .channel = recipient->channel, .at = dispatch->now, .event = "escalation", .firing = true,
			.members = members, .extra = step_extra(group->step, group->step_repeat, recipient->to)
		};

		(void) pipeline_message_write(&message);
		pipeline_group_note_told(group, recipient->channel, true, members, dispatch->now);
	}
	foreach(lc, members)
		((Member *) lfirst(lc))->telling = true;
}

/*
 * Take the next step that tells anybody.  Without one, or after the last, the
 * escalation has come to its end.
 */
static void
next_step(Dispatch *dispatch, AlertGroup *group, const Escalation *escalation, List *members)
{
	int			nsteps = list_length(escalation->steps);
	ListCell   *lc;

	for (int tries = 0; tries < nsteps; tries++)
	{
		const EscalationStep *step;
		List	   *recipients;

		if (group->step >= nsteps)
		{
			if (group->step_repeat >= escalation->repeats)
				break;
			group->step_repeat++;
			group->step = 0;
		}
		step = list_nth(escalation->steps, group->step++);
		recipients = step_recipients(dispatch, escalation, step);
		if (recipients == NIL)
			continue;
		tell_step(dispatch, group, recipients, members);
		if (group->step < nsteps || group->step_repeat < escalation->repeats)
		{
			group->escalate_at = dispatch->now + step->wait;
			return;
		}
		break;
	}
	group->escalate_at = 0;
	foreach(lc, members)
		pipeline_key_set_add(&group->escalated, ((Member *) lfirst(lc))->key);
	pipeline_key_set_sort(&group->escalated);
}

/*
 * Begin, go on with or stop the escalation of a group, at a flush or when a
 * step is due.
 */
void
pipeline_group_escalate(Dispatch *dispatch, AlertGroup *group)
{
	List	   *members;
	KeySet		keys;
	KeySet		before = group->escalated;
	bool		running = group->escalate_at != 0;
	bool		due = running && group->escalate_at <= dispatch->now;
	bool		changed;
	Escalation *escalation;

	if (group->route == NULL || (group->route->escalation == NULL && !running && group->step == 0))
		return;
	escalation = group->route->escalation == NULL ? NULL :
		pipeline_escalation_find(group->route->escalation, group->owner);
	/* What was acknowledged, or is over, begins anew if it comes back. */
	keys = keys_of(escalation ? unacknowledged(group, dispatch->now, false) : NIL);
	group->escalated = pipeline_key_set_common(&group->escalated, &keys);
	changed = before.n != group->escalated.n;
	if (keys.n == 0)
	{
		changed = changed || running || group->step != 0;
		group->step = group->step_repeat = 0;
		group->escalate_at = 0;
		if (changed)
			write_state(group);
		return;
	}
	members = unacknowledged(group, dispatch->now, true);
	keys = keys_of(members);
	if (members == NIL && due)
	{
		/* What is silent waits where it is. */
		group->escalate_at = pipeline_group_tick(group, dispatch->now + 1);
		changed = true;
	}
	else if (due || (!running && !pipeline_key_set_subset(&keys, &group->escalated)))
	{
		if (!running)
			group->step = group->step_repeat = 0;
		next_step(dispatch, group, escalation, members);
		changed = true;
	}
	if (changed)
		write_state(group);
}

/* Wait with the escalation of a muted group, if it runs, until the mute ends. */
static bool
wait_for_mute(Dispatch *dispatch, AlertGroup *group)
{
	TimestampTz end;

	if (group->route == NULL || pipeline_route_mute(dispatch, group->route, &end) == NULL)
		return false;
	group->escalate_at = end;
	write_state(group);
	return true;
}

/*
 * Have a group looked at soon that has something silent: when that ends, it may
 * be new to an escalation that has come to its end.
 */
static void
mind_silent(const AlertGroup *group, TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (pipeline_member_over(member) || member->suppressed == NULL)
			continue;
		pipeline_sql("UPDATE pipeline.alert_groups SET next_flush_at = least(next_flush_at, $2) WHERE group_id = $1",
					 SPI_OK_UPDATE, sql_int8(group->group_id), sql_time(pipeline_group_tick(group, now + 1)));
		return;
	}
}

/* Take the steps that are due. */
void
pipeline_dispatch_escalate(Dispatch *dispatch)
{
	uint64		n = pipeline_sql("SELECT group_id FROM pipeline.alert_groups WHERE escalate_at <= $1"
								 " ORDER BY escalate_at, group_id", SPI_OK_SELECT, sql_time(dispatch->now));
	Column		ids = {INT8OID};
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
		column_add(&ids, Int64GetDatum(pipeline_sql_int8(i, 1)), false);
	if (n == 0)
		return;
	foreach(lc, pipeline_groups_read(dispatch_routing(dispatch), DatumGetArrayTypeP(column_arg(&ids).value)))
	{
		AlertGroup *group = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (wait_for_mute(dispatch, group))
			continue;
		pipeline_find_suppressed(dispatch, group);
		pipeline_group_escalate(dispatch, group);
		pipeline_group_mark_told(group, dispatch->now);
		mind_silent(group, dispatch->now);
	}
}
