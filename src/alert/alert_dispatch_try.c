/*
 * alert_dispatch_try.c
 *	  One event that cannot be dispatched must not keep all others from being
 *	  told.
 *
 * A dispatch takes up many events at once.  Where that fails, nothing but what
 * is due anyhow is tried; if that goes, it is some event, and they are taken up
 * one by one: the one that fails by itself is put aside, with the error, for
 * doctor() to show, and the others go on.  Errors that pass by themselves, as a
 * lock that somebody holds, put nothing aside.
 */
#include "postgres.h"

#include "executor/spi.h"

#include "alert/alert_state.h"

/* Events that are taken up one by one before all are tried again. */
#define SINGLY 200
/* Until the next try, where something is in the way that passes. */
#define RETRY_MS 1000

typedef struct Attempt
{
	TimestampTz now;
	int			most;			/* events */
	long		next;
} Attempt;

typedef struct Aside
{
	int64		event_id;
	const char *error;
} Aside;

static bool
attempt(void *arg)
{
	Attempt    *a = arg;

	a->next = pipeline_alert_dispatch_at(a->now, a->most);
	return true;
}

/* Does it depend on others, or on the machine, and not on the event? */
static bool
passes(const ErrorData *edata)
{
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
			return true;
	}
	return edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* The next event to be taken up, or 0. */
static int64
next_event(void)
{
	return pipeline_sql("SELECT event_id FROM pipeline.alert_events WHERE dispatched_at IS NULL"
						" ORDER BY event_id LIMIT 1", SPI_OK_SELECT) == 0 ? 0 : pipeline_sql_int8(0, 1);
}

static bool
put_aside(void *arg)
{
	const Aside *aside = arg;

	if (pipeline_sql("UPDATE pipeline.alert_events SET dispatched_at = clock_timestamp(), error = $2"
					 " WHERE event_id = $1 AND dispatched_at IS NULL RETURNING alert_id",
					 SPI_OK_UPDATE_RETURNING, sql_int8(aside->event_id), sql_text(aside->error)) > 0)
		ereport(LOG,
				(errmsg("event %lld of alert %lld could not be dispatched: %s",
						(long long) aside->event_id, (long long) pipeline_sql_int8(0, 1),
						aside->error)));
	return true;
}

/* Take up events one by one; returns when to go on, in milliseconds. */
static long
dispatch_singly(Attempt *a)
{
	a->most = 1;
	for (int i = 0; i < SINGLY; i++)
	{
		int64		event = next_event();
		ErrorData  *edata = event ? pipeline_try(attempt, a) : NULL;
		Aside		aside = {event};

		if (event == 0)
			break;
		if (edata == NULL)
			continue;
		if (passes(edata))
			return RETRY_MS;
		aside.error = edata->message;
		/* One with a lower number may have been committed meanwhile. */
		if (next_event() == event && pipeline_try(put_aside, &aside) != NULL)
			return RETRY_MS;
	}
	return 0;
}

/*
 * Turn the events that nobody has taken up yet into notifications, and do what
 * is due, as if it were `now`.  For the notifier: inside its transaction, an SPI
 * connection and the scope of the extension.  Returns in how many milliseconds
 * there may be something to do again that no event announces, 0: at once, or -1.
 */
long
pipeline_alert_dispatch(TimestampTz now)
{
	Attempt		a = {now, MAX_DISPATCHED};
	ErrorData  *edata = pipeline_try(attempt, &a);

	if (edata == NULL)
		return a.next;
	a.most = 0;
	if (passes(edata) || next_event() == 0 || pipeline_try(attempt, &a) != NULL)
		ReThrowError(edata);
	return dispatch_singly(&a);
}
