/*
 * alert_outbox.c
 *	  The outbox from outside the notifier: is there anything for it, send again,
 *	  send nothing of another database's.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "alert/alert_notify.h"

/*
 * Is there anything for a notifier to do?  One that runs stays.  See alert.h.
 */
bool
pipeline_notifier_needed(void)
{
	pipeline_sql("SELECT EXISTS (SELECT FROM pipeline.channels WHERE kind NOT IN ('notify', 'log'))"
				 " OR EXISTS (SELECT FROM pipeline.alert_events WHERE dispatched_at IS NULL)"
				 " OR EXISTS (SELECT FROM pipeline.notifications WHERE state = 'pending')"
				 " OR EXISTS (SELECT FROM pipeline.notifications WHERE state = 'sending')"
				 " OR EXISTS (SELECT FROM pipeline.rule_states WHERE next_at < 'infinity')"
				 " OR EXISTS (SELECT FROM pipeline.incidents WHERE sla_due IS NOT NULL)",
				 SPI_OK_SELECT);
	return pipeline_sql_bool(0, 1);
}

/* Give up what another database had not sent yet.  See alert.h. */
void
pipeline_notifier_drop_unsent(const char *reason)
{
	pipeline_sql("UPDATE pipeline.notifications SET state = 'dead', last_error = $1"
				 " WHERE state IN ('pending', 'sending')", SPI_OK_UPDATE, sql_text(reason));
	pipeline_sql("UPDATE pipeline.alert_events SET dispatched_at = clock_timestamp()"
				 " WHERE dispatched_at IS NULL", SPI_OK_UPDATE);
	/* Nor told later: a group would be repeated, or escalated. */
	pipeline_sql("DELETE FROM pipeline.alert_groups", SPI_OK_DELETE);
}

/*
 * Lock a notification, check that it is the user's and that its channel is still
 * for its owner, for another role may have made one of that name; return its
 * state.
 */
static char *
lock_notification(int64 id)
{
	bool		isnull;
	Oid			owner;
	char	   *state;
	char	   *channel;
	bool		exists;
	bool		usable;
	UserScope	scope;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, state, channel, EXISTS (SELECT FROM pipeline.channels c WHERE c.name = n.channel)"
					 " FROM pipeline.notifications n WHERE notification_id = $1 FOR UPDATE",
					 SPI_OK_SELECT, sql_int8(id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("notification %lld does not exist", (long long) id),
				 errhint("The table pipeline.notifications lists yours.")));
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	state = pipeline_sql_text(0, 2);
	channel = pipeline_sql_text(0, 3);
	exists = pipeline_sql_bool(0, 4);
	usable = exists && pipeline_channel_usable_by(channel, owner);
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "notification", psprintf("%lld", (long long) id));
	if (!exists)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the channel of notification %lld does not exist any more", (long long) id),
				 errhint("Create a channel \"%s\" again.", channel)));
	if (!usable)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("channel \"%s\" is not for the owner of notification %lld any more", channel, (long long) id),
				 errhint("Its owner can grant it: pipeline.grant_channel().")));
	return state;
}

PG_FUNCTION_INFO_V1(pipeline_redeliver);

/* SQL: redeliver(notification_id) */
Datum
pipeline_redeliver(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	int64		id;
	char	   *state;

	pipeline_not_null(fcinfo, 0, "notification_id");
	id = PG_GETARG_INT64(0);
	SPI_connect();
	state = lock_notification(id);
	if (strcmp(state, "pending") == 0 || strcmp(state, "sending") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("notification %lld is %s", (long long) id, state),
				 errdetail("Only one that was sent or given up can be delivered again."),
				 errhint("pipeline.notifications.next_attempt_at says when it is tried next; pipeline.channel_status whether its channel is paused.")));
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.notifications SET state = 'pending', sent_at = NULL, attempts_before = attempts,"
				 " queued_at = clock_timestamp(), next_attempt_at = clock_timestamp() WHERE notification_id = $1",
				 SPI_OK_UPDATE, sql_int8(id));
	pipeline_scope_end(&scope);
	pipeline_record_change("redeliver", "notification", psprintf("%lld", (long long) id),
						   NULL, NULL, NULL);
	SPI_finish();
	pipeline_notifier_wake_at_commit();
	PG_RETURN_VOID();
}
