/*
 * notifier.c
 *	  The process that empties the outbox of one database.
 *
 * It turns events into notifications (alert_dispatch.c), and sends those that
 * are due:
 *
 *		claim, build the requests		one transaction; the rows are "sending"
 *		commit
 *		speak to the peers				no transaction
 *		judge the answers, record		one transaction; with the next claims
 *		commit
 *
 * So at least once: if it dies between, the rows are found "sending" by the
 * next notifier, which notes the attempt as lost and sends them again under the
 * same idempotency key.  There is at most one notifier in a database.
 *
 * It runs constant SQL and waits for nobody: a lock that somebody holds fails a
 * piece of its work, which is tried again.  Peers are spoken to by a library of
 * their own (transport/), many at a time.  SIGTERM lets what is under way end,
 * for a moment, so that an ordinary restart sends nothing twice.
 *
 * Files: notifier_claim.c what is due; notifier_talk.c the peers;
 * notifier_record.c what became of it; notifier_channel.c rate, circuit and
 * heartbeats of the channels.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "alert/alert_incident.h"
#include "alert/alert_rule.h"
#include "alert/notifier.h"

/* A look without any reason. */
#define LOOK_MS 60000
/* The soonest one while a transaction is prepared, whose commit wakes nobody. */
#define LOOK_SOON_MS 200
/* After a piece of the work has failed. */
#define RETRY_MS 2000
/* How long the end of the process waits for what is under way. */
#define GRACE_MS 2000
/* How often a look that does not end asks whether the process shall. */
#define STUCK_MS 5000

/* A piece of the work that has a time of its own. */
typedef struct Part
{
	const char *what;			/* for the log: "could not ..." */
	long		(*mind) (void); /* ms until the next time, or -1 */
	bool		when_woken;		/* also when somebody wakes the notifier */
	bool		always;			/* with everything that is done */
	TimestampTz next;			/* 0: never */
	char	   *last_error;
} Part;

static long
dispatch_alerts(void)
{
	return pipeline_alert_dispatch(GetCurrentTimestamp());
}

static Part parts[] = {
	{"dispatch alerts", dispatch_alerts, true, false},
	{"mind incidents", pipeline_incident_mind, true, false},
	{"mind rules", pipeline_rules_mind, true, false},
	{"write heartbeats", notifier_heartbeats, true, false},
	{"note how channels fare", notifier_write_health, true, true},
	{"delete old notifications", notifier_trim, false, false},
};

static MemoryContext notifier_context;
static List *sendings = NIL;	/* of Sending *, under way */
static TimestampTz next_claim = 0;	/* 0: when woken */
static TimestampTz next_record = 0; /* 0: at once, if there is anything to record */
static long look_ms = LOOK_MS;	/* until the next look */
static bool recovered = false;
static TimeoutId stuck;

static TimestampTz
in_ms(long ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

/* ---- prepared transactions --------------------------------------------------------- */

/*
 * How soon to look again: while a transaction of this database is prepared, after
 * an eighth of the time for which the youngest has been, so that most are seen soon
 * and one that is forgotten costs little.  Before the look itself, which then sees
 * what was committed until now.
 */
static bool
mind_prepared(void *arg)
{
	look_ms = LOOK_MS;
	if (!pipeline_notifier_note_prepared(false))
		return true;
	if (pipeline_sql("SELECT (extract(epoch FROM min(clock_timestamp() - prepared)) * 1000)::bigint"
					 " FROM pg_prepared_xacts WHERE database = current_database() HAVING count(*) > 0", SPI_OK_SELECT) == 0)
		return true;
	(void) pipeline_notifier_note_prepared(true);
	look_ms = Max(LOOK_SOON_MS, Min(pipeline_sql_int8(0, 1) / 8, LOOK_MS));
	return true;
}

/* ---- pieces of the work ---------------------------------------------------------- */

static bool
run_part(void *arg)
{
	Part	   *part = arg;
	long		ms = part->mind();

	part->next = ms < 0 ? 0 : in_ms(ms);
	return true;
}

/* Run a part if it is time; an error is logged once, and tried again. */
static void
mind_part(Part *part, bool woken)
{
	ErrorData  *edata;

	if (!part->always && !(woken && part->when_woken) &&
		(part->next == 0 || part->next > GetCurrentTimestamp()))
		return;
	edata = pipeline_try(run_part, part);
	if (edata == NULL)
	{
		part->last_error = NULL;
		return;
	}
	part->next = in_ms(RETRY_MS);
	if (part->last_error == NULL || strcmp(part->last_error, edata->message) != 0)
		ereport(LOG,
				(errmsg("notifier could not %s: %s", part->what, edata->message),
				 edata->detail ? errdetail_internal("%s", edata->detail) : 0));
	part->last_error = MemoryContextStrdup(notifier_context, edata->message);
}

static bool
record_one(void *arg)
{
	return notifier_record(arg);
}

/* Judge what was answered, build what comes next, record what is settled. */
static void
settle_all(void)
{
	ListCell   *lc;

	next_record = 0;
	foreach(lc, sendings)
	{
		Sending    *s = lfirst(lc);
		ErrorData  *edata;

		if (s->result != NULL)
			notifier_judge(s);
		if (!s->settled)
			continue;
		edata = pipeline_try(record_one, s);
		if (edata == NULL)
		{
			s->verdict = VERDICT_NEXT;	/* recorded, once this commits */
			continue;
		}
		next_record = in_ms(RETRY_MS);
		ereport(LOG,
				(errmsg("notifier could not record the delivery of notification %lld: %s",
						(long long) s->notification_id, edata->message)));
	}
}

static bool
claim_some(void *arg)
{
	List	  **claimed = arg;
	long		wait = -1;
	int			under_way = notifier_count(sendings);
	MemoryContext old;

	*claimed = notifier_claim(pipeline_notifier_connections - under_way, &wait);
	next_claim = wait < 0 ? 0 : in_ms(wait);
	old = MemoryContextSwitchTo(notifier_context);
	sendings = list_concat(sendings, *claimed);
	MemoryContextSwitchTo(old);
	return true;
}

/* Claim what is due and may go now. */
static void
claim(void)
{
	List	   *claimed = NIL;
	ErrorData  *edata = pipeline_try(claim_some, &claimed);
	ListCell   *lc;

	if (edata != NULL)
	{
		next_claim = in_ms(RETRY_MS);
		ereport(LOG, (errmsg("notifier could not claim notifications: %s", edata->message)));
		return;
	}
	foreach(lc, claimed)
		notifier_build(lfirst(lc));
}

/* Forget what was recorded in the transaction that has committed. */
static void
forget_recorded(void)
{
	ListCell   *lc;

	foreach(lc, sendings)
	{
		Sending    *s = lfirst(lc);

		if (!s->settled || s->verdict != VERDICT_NEXT)
			continue;
		sendings = foreach_delete_current(sendings, lc);
		notifier_forget(s);
	}
}

/* All of the work on tables, in the scope of the extension. */
static void
work_on_tables(bool woken)
{
	if (!recovered)
		notifier_recover();
	recovered = true;
	if (woken && pipeline_try(mind_prepared, NULL) != NULL)
		look_ms = RETRY_MS;
	settle_all();
	for (int i = 0; i < lengthof(parts); i++)
		mind_part(&parts[i], woken);
	if (!ShutdownRequestPending)
		claim();
}

/*
 * One transaction.  False when there is nothing to be done here any more: the
 * extension is gone, or this database is a copy.
 */
static bool
work(bool woken)
{
	UserScope	scope;
	bool		there;

	enable_timeout_every(stuck, in_ms(STUCK_MS), STUCK_MS);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	pgstat_report_activity(STATE_RUNNING, "pipeline: notify");
	there = OidIsValid(pipeline_extension_owner(true));
	if (there)
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		there = pipeline_identity_matches();
		if (there)
		{
			pipeline_extension_begin(&scope);
			(void) set_config_option("lock_timeout", "200ms", PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
			work_on_tables(woken);
			pipeline_scope_end(&scope);
		}
		PopActiveSnapshot();
		SPI_finish();
	}
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	disable_timeout(stuck, false);
	forget_recorded();
	return there;
}

/* ---- the loop ----------------------------------------------------------------------- */

static void
sooner(TimestampTz *least, TimestampTz t)
{
	if (t != 0 && t < *least)
		*least = t;
}

/* When there is something to do that nobody announces. */
static TimestampTz
next_work(TimestampTz next_look)
{
	TimestampTz least = next_look;
	ListCell   *lc;

	sooner(&least, next_claim);
	for (int i = 0; i < lengthof(parts); i++)
		sooner(&least, parts[i].next);
	foreach(lc, sendings)
	{
		Sending    *s = lfirst(lc);

		if (s->settled)
			sooner(&least, next_record ? next_record : GetCurrentTimestamp());
	}
	return least;
}

/*
 * A look still runs, and the process has been told to end: end now, as die()
 * does.
 */
static void
end_if_stuck(void)
{
	if (!ShutdownRequestPending)
		return;
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
}

static void
start(Oid database)
{
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!pipeline_notifier_take(database))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	SetConfigOption("application_name", "pipeline notifier", PGC_USERSET, PGC_S_SESSION);
	/* Times in messages are in one zone, whoever reads them. */
	SetConfigOption("timezone", "UTC", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("datestyle", "ISO", PGC_USERSET, PGC_S_SESSION);
	notifier_context = AllocSetContextCreate(TopMemoryContext, "pipeline notifier",
											 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < lengthof(parts); i++)
		parts[i].next = GetCurrentTimestamp();
	stuck = RegisterTimeout(USER_TIMEOUT, end_if_stuck);
}

/* Has it been told to end, and is nothing under way, or has that taken too long? */
static bool
may_end(TimestampTz *grace)
{
	if (!ShutdownRequestPending)
		return false;
	if (*grace == 0)
		*grace = in_ms(GRACE_MS);
	return sendings == NIL || GetCurrentTimestamp() >= *grace;
}

/* Say what was built in the transaction that has committed. */
static void
say_all(void)
{
	ListCell   *lc;

	foreach(lc, sendings)
	{
		Sending    *s = lfirst(lc);

		if (s->request != NULL && !s->settled)
			notifier_say(s);
	}
}

/* Entry point; the argument is the database. */
void
pipeline_notifier_main(Datum arg)
{
	bool		woken = true;
	TimestampTz next_look = 0;
	TimestampTz grace = 0;

	start(DatumGetObjectId(arg));
	for (;;)
	{
		MemoryContext context = AllocSetContextCreate(notifier_context, "pipeline notifier look",
													  ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		bool		heard = notifier_hear();
		TimestampTz now = GetCurrentTimestamp();
		long		ms;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			notifier_reconnect();
			woken = true;
		}
		if (woken || heard || now >= next_work(next_look))
		{
			bool		look = woken || now >= next_look;

			if (!work(look))
				break;
			if (look)
				next_look = in_ms(look_ms);
			say_all();
		}
		if (may_end(&grace))
			break;
		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_work(next_look));
		if (grace != 0)
			ms = Min(ms, 50);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		woken = notifier_wait(ms);
	}
	proc_exit(0);
}
