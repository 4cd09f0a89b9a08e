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
}

/* Lock a notification, check that it is the user's, and return its state. */
static char *
lock_notification(int64 id)
{
	bool		isnull;
	Oid			owner;
	char	   *state;
	UserScope	scope;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, state FROM pipeline.notifications WHERE notification_id = $1 FOR UPDATE",
					 SPI_OK_SELECT, sql_int8(id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("notification %lld does not exist", (long long) id),
				 errhint("The table pipeline.notifications lists yours.")));
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	state = pipeline_sql_text(0, 2);
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "notification", psprintf("%lld", (long long) id));
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
	if (pipeline_sql("UPDATE pipeline.notifications n SET state = 'pending', sent_at = NULL, attempts_before = attempts,"
					 " queued_at = clock_timestamp(), next_attempt_at = clock_timestamp()"
					 " FROM pipeline.channels c WHERE c.name = n.channel AND notification_id = $1",
					 SPI_OK_UPDATE, sql_int8(id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the channel of notification %lld does not exist any more", (long long) id),
				 errhint("Create a channel of that name again.")));
	pipeline_scope_end(&scope);
	pipeline_record_change("redeliver", "notification", psprintf("%lld", (long long) id),
						   NULL, NULL, NULL);
	SPI_finish();
	pipeline_notifier_wake_at_commit();
	PG_RETURN_VOID();
}
