/*
 * alert_rule_worker.c
 *	  The processes that evaluate rules.
 *
 * The notifier starts a worker for an owner who has rules that are due.  The
 * worker connects as that role: the session is the role, so that nothing a
 * query does can be more than the role may.  It takes one rule after the
 * other, in three transactions: one claims it, one runs the query, read-only,
 * and is rolled back, one records what was found.  It ends when none is due,
 * or when it has had its time: others wait.
 *
 * What hangs is cancelled after the rule's timeout.  A claim says when the
 * rule is due next, so that one that takes the worker down with it does not do
 * so at once again, and after MOST_UNFINISHED times not at all.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "alert/alert_rule.h"

#define MOST_UNFINISHED 5
#define MOST_WORKERS 8			/* at once, in one database */
#define MOST_OF_OWNER 3			/* of these, of one owner */
#define PATIENCE_MS 1000		/* a rule waits so long for a busy worker */
#define MOST_START_FAILURES 3
#define WORKER_MS 60000			/* after which a worker makes room */
#define RETRY_MS 1000

typedef struct RuleWorkerStart
{
	Oid			database;
	Oid			role;
} RuleWorkerStart;

/* ---- the worker ------------------------------------------------------------------- */

static TimeoutId query_timeout;
static volatile sig_atomic_t timed_out = false;

static void
on_query_timeout(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
set_option(const char *name, const char *value, GucAction action)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, action, true, 0, false);
}

/*
 * Begin a transaction, whatever the role has set for its own; ends the process
 * when the extension is gone.
 */
static void
begin(const char *activity, bool read_only)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactReadOnly = read_only;
	XactIsoLevel = XACT_READ_COMMITTED;
	pgstat_report_activity(STATE_RUNNING, activity);
	if (!read_only)
		set_option("lock_timeout", "5s", GUC_ACTION_LOCAL);
	if (OidIsValid(pipeline_extension_owner(true)))
		return;
	AbortCurrentTransaction();
	proc_exit(0);
}

/* Take the rule that has waited longest, or NULL; in `context`. */
static Rule *
claim_rule(Oid role, MemoryContext context)
{
	Rule	   *rule = NULL;
	UserScope	scope;

	begin("pipeline: claim a rule", false);
	MemoryContextSwitchTo(context);
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (pipeline_role_problem(role, "rules") == NULL)
	{
		pipeline_extension_begin(&scope);
		if (pipeline_sql("UPDATE pipeline.rule_states s SET started_at = clock_timestamp(), pid = $3, unfinished = s.unfinished + 1,"
						 "   next_at = CASE WHEN s.next_at + r.evaluation_interval > clock_timestamp() THEN s.next_at ELSE clock_timestamp() END"
						 "     + r.evaluation_interval"
						 " FROM pipeline.rules r, (SELECT d.rule FROM pipeline.rule_states d"
						 "   WHERE d.owner = $1 AND d.next_at <= clock_timestamp() AND d.pid IS NULL AND d.unfinished < $2"
						 "   ORDER BY d.next_at LIMIT 1 FOR UPDATE SKIP LOCKED) due"
						 " WHERE s.rule = due.rule AND r.name = due.rule"
						 " RETURNING " RULE_COLUMNS, SPI_OK_UPDATE_RETURNING,
						 sql_role(role), sql_int4(MOST_UNFINISHED), sql_int4(MyProcPid)) > 0)
			rule = pipeline_rule_of_row(0);
		pipeline_scope_end(&scope);
	}
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	return rule;
}

/*
 * Run the query in a transaction that leaves nothing behind.  Returns the
 * alerts in `context`, or sets *error.
 */
static List *
evaluate(const Rule *rule, MemoryContext context, char **error)
{
	List	   *volatile alerts = NIL;

	PG_TRY();
	{
		begin(rule->query, true);
		set_option("search_path", rule->search_path, GUC_ACTION_LOCAL);
		timed_out = false;
		enable_timeout_every(query_timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), rule->timeout_ms),
							 1000);
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(context);
		alerts = pipeline_rule_evaluate(rule);
		disable_timeout(query_timeout, false);
		QueryCancelPending = false;
		AbortCurrentTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		disable_timeout(query_timeout, false);
		QueryCancelPending = false;
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		PortalErrorCleanup();
		jit_reset_after_error();
		if (timed_out && edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			*error = psprintf("it took longer than its timeout of " INT64_FORMAT " ms", rule->timeout_ms);
		else
			*error = edata->message;
		ereport(LOG, (errmsg("rule \"%s\" could not be evaluated: %s", rule->name, *error)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return alerts;
}

typedef struct Outcome
{
	const Rule *rule;
	List	   *alerts;
	char	   *error;
	TimestampTz at;
	double		ms;
} Outcome;

/* Record it, in a transaction; returns the error if that cannot be done. */
static char *
record(const Outcome *o, MemoryContext context)
{
	char	   *volatile error = NULL;

	PG_TRY();
	{
		begin("pipeline: record a rule", false);
		PushActiveSnapshot(GetTransactionSnapshot());
		if (o->error)
			pipeline_rule_failed(o->rule->name, o->error, o->ms);
		else
			pipeline_rule_record(o->rule, o->alerts, o->at, o->ms);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = psprintf("what it has found could not be recorded: %s", CopyErrorData()->message);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return error;
}

/* Evaluate one rule that is due; false when there is none. */
static bool
work(Oid role)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pipeline rule", ALLOCSET_DEFAULT_SIZES);
	Rule	   *rule = claim_rule(role, context);
	Outcome		o = {.rule = rule};
	instr_time	begun;
	instr_time	ended;
	char	   *error;

	if (rule)
	{
		SetConfigOption("application_name", psprintf("pipeline rule: %s", rule->name), PGC_USERSET, PGC_S_SESSION);
		o.at = GetCurrentTimestamp();
		INSTR_TIME_SET_CURRENT(begun);
		o.alerts = evaluate(rule, context, &o.error);
		INSTR_TIME_SET_CURRENT(ended);
		INSTR_TIME_SUBTRACT(ended, begun);
		o.ms = INSTR_TIME_GET_MILLISEC(ended);
		pipeline_reset_session();
		if ((error = record(&o, context)) != NULL)
		{
			o.error = error;
			(void) record(&o, context);
		}
	}
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return rule != NULL;
}

/* Entry point; bgw_extra is a RuleWorkerStart. */
void
pipeline_rule_worker_main(Datum arg)
{
	RuleWorkerStart start;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WORKER_MS);

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start.database, start.role, PIPELINE_WORKER_FLAGS);
	query_timeout = RegisterTimeout(USER_TIMEOUT, on_query_timeout);
	do
		CHECK_FOR_INTERRUPTS();
	while (GetCurrentTimestamp() < until && work(start.role));
	proc_exit(0);
}

/* ---- the notifier's part ------------------------------------------------------------- */

/* A worker that this process has started. */
typedef struct StartedWorker
{
	BackgroundWorkerHandle *handle;
	Oid			role;
	TimestampTz at;
} StartedWorker;

/* A role whose last workers have done nothing. */
typedef struct Failures
{
	Oid			role;
	int			count;
	TimestampTz not_before;
} Failures;

static List *workers = NIL;		/* of StartedWorker, in TopMemoryContext */
static List *failures = NIL;	/* of Failures, likewise */

/* Workers of a notifier that leaves the database leave it, too. */
static void
stop_workers(int code, Datum arg)
{
	ListCell   *lc;

	foreach(lc, workers)
		TerminateBackgroundWorker(((StartedWorker *) lfirst(lc))->handle);
}

static Failures *
find_failures(Oid role)
{
	ListCell   *lc;

	foreach(lc, failures)
	{
		if (((Failures *) lfirst(lc))->role == role)
			return lfirst(lc);
	}
	return NULL;
}

static void
forget_failures(Oid role)
{
	Failures   *f = find_failures(role);

	if (f)
		failures = list_delete_ptr(failures, f);
}

static void
note_failure(Oid role)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Failures   *f = find_failures(role);

	if (f == NULL)
	{
		f = palloc0_object(Failures);
		f->role = role;
		failures = lappend(failures, f);
	}
	MemoryContextSwitchTo(old);
	f->count++;
	f->not_before = GetCurrentTimestamp() + (INT64CONST(50000) << Min(f->count, 10));
}

/* What a worker that is gone was evaluating is due as if it had ended. */
static void
release_rules(void)
{
	pipeline_sql("UPDATE pipeline.rule_states s SET pid = NULL WHERE pid IS NOT NULL AND NOT EXISTS ("
				 "  SELECT FROM pg_stat_activity a WHERE a.pid = s.pid AND a.backend_type = 'pipeline rules')", SPI_OK_UPDATE);
}

/* Look which workers have ended, and whether they did anything. */
static void
reap_workers(void)
{
	/* Also those of a notifier before us. */
	static bool any = true;
	ListCell   *lc;

	foreach(lc, workers)
	{
		StartedWorker *w = lfirst(lc);
		pid_t		pid;

		if (GetBackgroundWorkerPid(w->handle, &pid) != BGWH_STOPPED)
			continue;
		if (pipeline_sql("SELECT 1 FROM pipeline.rule_states WHERE owner = $1 AND started_at >= $2 LIMIT 1",
						 SPI_OK_SELECT, sql_role(w->role), sql_time(w->at)) > 0 ||
			pipeline_sql("SELECT 1 FROM pipeline.rule_states WHERE owner = $1 AND next_at <= $2 AND pid IS NULL LIMIT 1",
						 SPI_OK_SELECT, sql_role(w->role), sql_time(w->at)) == 0)
			forget_failures(w->role);
		else
			note_failure(w->role);
		pfree(w->handle);
		pfree(w);
		workers = foreach_delete_current(workers, lc);
		any = true;
	}
	if (any)
		release_rules();
	any = false;
}

static int
workers_of(Oid role)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, workers)
		n += ((StartedWorker *) lfirst(lc))->role == role;
	return n;
}

/* Start one; false when the server has no place for it. */
static bool
start_worker(Oid role)
{
	static bool warned = false;
	static bool registered = false;
	BackgroundWorker worker = {0};
	RuleWorkerStart start = {.database = MyDatabaseId, .role = role};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	StartedWorker *w = palloc0_object(StartedWorker);
	bool		started;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pipeline", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pipeline_rule_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pipeline rules", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pipeline rules", BGW_MAXLEN);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &start, sizeof(start));
	w->role = role;
	w->at = GetCurrentTimestamp();
	started = RegisterDynamicBackgroundWorker(&worker, &w->handle);
	if (started)
		workers = lappend(workers, w);
	else
		pfree(w);
	MemoryContextSwitchTo(old);
	if (!started && !warned)
		ereport(WARNING,
				(errmsg("no place for a worker for rules: max_worker_processes (%d) is reached",
						max_worker_processes),
				 errdetail("Rules that are due wait; it is tried again every second."),
				 errhint("Raise max_worker_processes and restart the server.")));
	warned = !started;
	if (!registered)
		before_shmem_exit(stop_workers, (Datum) 0);
	registered = true;
	return started;
}

/* ---- rules that cannot be evaluated ------------------------------------------------------ */

typedef struct Hopeless
{
	char	   *rule;
	char	   *error;
} Hopeless;

static bool
fail_rule(void *arg)
{
	Hopeless   *h = arg;

	set_option("lock_timeout", "200ms", GUC_ACTION_LOCAL);
	pipeline_sql("UPDATE pipeline.rule_states s SET next_at = CASE WHEN s.unfinished >= $2 THEN 'infinity' ELSE"
				 "   clock_timestamp() + r.evaluation_interval END"
				 " FROM pipeline.rules r WHERE s.rule = $1 AND r.name = $1", SPI_OK_UPDATE,
				 sql_text(h->rule), sql_int4(MOST_UNFINISHED));
	pipeline_rule_failed(h->rule, h->error, 0);
	return true;
}

/* Say of the rules in column 1 of the last result that they cannot be evaluated. */
static void
fail_rules(uint64 n, char *error)
{
	List	   *names = NIL;
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
		names = lappend(names, pipeline_sql_text(i, 1));
	foreach(lc, names)
	{
		Hopeless	h = {.rule = lfirst(lc),.error = error};
		ErrorData  *edata = pipeline_try(fail_rule, &h);

		if (edata != NULL)
			ereport(LOG, (errmsg("could not say that rule \"%s\" failed: %s", h.rule, edata->message)));
	}
}

/* The rules of an owner that are due and cannot be evaluated as him. */
static void
fail_owner(Oid role, const char *problem)
{
	fail_rules(pipeline_sql("SELECT rule FROM pipeline.rule_states WHERE owner = $1 AND next_at <= clock_timestamp()"
							" ORDER BY rule FOR UPDATE SKIP LOCKED", SPI_OK_SELECT, sql_role(role)),
			   psprintf("it cannot run as its owner: %s", problem));
}

/* Rules that have taken their workers down too often. */
static void
fail_unfinished(void)
{
	fail_rules(pipeline_sql("SELECT s.rule FROM pipeline.rule_states s"
							" WHERE s.next_at <= clock_timestamp() AND s.pid IS NULL AND s.unfinished >= $1"
							" ORDER BY s.rule FOR UPDATE SKIP LOCKED", SPI_OK_SELECT, sql_int4(MOST_UNFINISHED)),
			   psprintf("its worker, or the server, went down %d times in a row while it was evaluated; it is not tried again until it is altered",
						MOST_UNFINISHED));
}

/* ---- the look --------------------------------------------------------------------------------- */

static void
sooner(long *again, long ms)
{
	if (*again < 0 || ms < *again)
		*again = ms;
}

/*
 * An owner with rules that are due, the first since `due`: see that they are
 * evaluated.  One worker does it, unless it is busy for so long that one of its
 * rules may hang.
 */
static void
serve(Oid role, TimestampTz due, long *again)
{
	Failures   *f = find_failures(role);
	TimestampTz now = GetCurrentTimestamp();
	char	   *problem;

	if (workers_of(role) > 0)
	{
		TimestampTz patience = TimestampTzPlusMilliseconds(due, PATIENCE_MS * workers_of(role));

		if (workers_of(role) >= MOST_OF_OWNER)
			return;
		if (patience > now)
		{
			sooner(again, TimestampDifferenceMilliseconds(now, patience) + 1);
			return;
		}
	}
	problem = pipeline_role_problem(role, "rules");
	if (problem == NULL && f && f->count >= MOST_START_FAILURES)
		problem = "its workers could not start; the server's log has the reason";
	if (problem != NULL)
	{
		fail_owner(role, problem);
		forget_failures(role);
		sooner(again, RETRY_MS);
	}
	else if (f && f->not_before > now)
		sooner(again, TimestampDifferenceMilliseconds(now, f->not_before) + 1);
	/* With no place here, the next worker that ends wakes us. */
	else if (list_length(workers) < MOST_WORKERS && !start_worker(role))
		sooner(again, RETRY_MS);
}

/* Mind the rules.  See alert_rule.h. */
long
pipeline_rules_mind(void)
{
	uint64		n;
	Oid		   *roles;
	TimestampTz *since;
	long		again = -1;

	reap_workers();
	if (pipeline_sql("SELECT least(greatest(ceil(extract(epoch FROM min(next_at) - clock_timestamp()) * 1000), -1), 86400000)::bigint"
					 " FROM pipeline.rule_states WHERE next_at < 'infinity' AND pid IS NULL HAVING count(*) > 0", SPI_OK_SELECT) == 0)
		return -1;
	if (pipeline_sql_int8(0, 1) > 0)
		return (long) pipeline_sql_int8(0, 1);

	fail_unfinished();
	/* Who waits longest first. */
	n = pipeline_sql("SELECT owner::oid, min(next_at) FROM pipeline.rule_states WHERE next_at <= clock_timestamp() AND pid IS NULL"
					 " GROUP BY owner ORDER BY min(next_at)", SPI_OK_SELECT);
	roles = palloc_array(Oid, n + 1);
	since = palloc_array(TimestampTz, n + 1);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		roles[i] = DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull));
		since[i] = DatumGetTimestampTz(pipeline_sql_datum(i, 2, &isnull));
	}
	for (uint64 i = 0; i < n; i++)
		serve(roles[i], since[i], &again);
	if (pipeline_sql("SELECT least(ceil(extract(epoch FROM min(next_at) - clock_timestamp()) * 1000), 86400000)::bigint"
					 " FROM pipeline.rule_states WHERE next_at > clock_timestamp() AND next_at < 'infinity' AND pid IS NULL"
					 " HAVING count(*) > 0", SPI_OK_SELECT) > 0)
		sooner(&again, (long) Max(pipeline_sql_int8(0, 1), 1));
	return again;
}

PG_FUNCTION_INFO_V1(pipeline_mind_rules);

/* SQL: _mind_rules() */
Datum
pipeline_mind_rules(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	long		again;

	SPI_connect();
	pipeline_extension_begin(&scope);
	again = pipeline_rules_mind();
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT32((int32) again);
}
