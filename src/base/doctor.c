/*
 * doctor.c
 *	  doctor(): what is missing or unwise in this server, with the fix.
 *
 * Each room looks for what it knows of, by a function that it registers; so do
 * we, for the server itself.  A look changes nothing, and one that fails is a
 * finding, too.  What is found of somebody's objects only he sees, and those
 * who administer.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/base.h"
#include "base/settings.h"

#define MAX_LOOKS 8

typedef struct Finding
{
	int			rank;			/* the worst first */
	const char *severity;
	char	   *finding;
	char	   *detail;
	char	   *fix;
} Finding;

static void (*looks[MAX_LOOKS]) (void);
static int	nlooks = 0;

static List *findings = NIL;	/* of the call that is under way */
static MemoryContext context;
static Oid	caller;

/* Let a room look for what is wrong there; at load of the library. */
void
pipeline_register_doctor(void (*look) (void))
{
	if (nlooks == MAX_LOOKS)
		elog(ERROR, "too many rooms with a look");
	looks[nlooks++] = look;
}

/*
 * Report a finding, within a look: a word for what it is, a sentence with the
 * particulars, and what to do.  `owner` is whose objects it tells of, or
 * InvalidOid when it is about the server.
 */
void
pipeline_finding(Oid owner, const char *severity, const char *finding,
				 const char *detail, const char *fix)
{
	static const char *const ranks[] = {"critical", "error", "warning", "info"};
	MemoryContext old;
	Finding    *f;

	if (OidIsValid(owner) && !pipeline_is_owner(caller, owner))
		return;
	old = MemoryContextSwitchTo(context);
	f = palloc0_object(Finding);
	while (f->rank < lengthof(ranks) - 1 && strcmp(ranks[f->rank], severity) != 0)
		f->rank++;
	f->severity = ranks[f->rank];
	f->finding = pstrdup(finding);
	f->detail = pstrdup(detail);
	f->fix = pstrdup(fix);
	findings = lappend(findings, f);
	MemoryContextSwitchTo(old);
}

/* ---- the server -------------------------------------------------------------------- */

static void
look_at_library(void)
{
	const char *version;

	if (!pipeline_is_preloaded)
		pipeline_finding(InvalidOid, "critical", "not_preloaded",
						 "The library is not in shared_preload_libraries: no task runs, and nobody is notified.",
						 "Add pipeline to shared_preload_libraries in postgresql.conf and restart the server.");
	pipeline_sql("SELECT extversion FROM pg_extension WHERE extname = 'pipeline'", SPI_OK_SELECT);
	version = pipeline_sql_text(0, 1);
	if (strcmp(version, PIPELINE_VERSION) != 0)
		pipeline_finding(InvalidOid, "error", "version_mismatch",
						 psprintf("The extension is of version %s, the library that is loaded of version %s.",
								  version, PIPELINE_VERSION),
						 "Run ALTER EXTENSION pipeline UPDATE; where that is done, restart the server.");
	if (RecoveryInProgress())
		pipeline_finding(InvalidOid, "info", "standby",
						 "This server is a standby: nothing runs here and nobody is notified until it is promoted.",
						 "Look at the primary.");
	else if (!pipeline_identity_matches() && pipeline_anything_defined())
		pipeline_finding(InvalidOid, "error", "copy_not_resumed",
						 "This database is a copy of the one that was set up (a restored dump, a template's copy): nothing runs here and nobody is notified.",
						 "If it shall take over: SELECT pipeline.resume_schedules();");
}

static void
look_at_settings(void)
{
	const char *off[][4] = {
		{"fsync", "off", "critical", "after a crash of the machine runs, alerts and data may be lost or broken"},
		{"full_page_writes", "off", "critical", "after a crash of the machine pages may be broken"},
		{"synchronous_commit", "off", "warning", "after a crash a task that has succeeded may run again, and a notification may be lost"},
		{"autovacuum", "off", "error", "the tables of runs, alerts and notifications grow without end, and slow down"},
		{"track_counts", "off", "error", "autovacuum does not know what to do, so that tables grow without end"},
		{"wal_level", "minimal", "warning", "there can be neither a standby nor an archive: with the disk all history is lost"},
	};

	for (int i = 0; i < lengthof(off); i++)
	{
		/* What sessions set for themselves counts for nobody else. */
		pipeline_sql("SELECT reset_val = $2 FROM pg_settings WHERE name = $1", SPI_OK_SELECT,
					 sql_text(off[i][0]), sql_text(off[i][1]));
		if (pipeline_sql_bool(0, 1))
			pipeline_finding(InvalidOid, off[i][2], "unsafe_setting",
							 psprintf("%s is %s: %s.", off[i][0], off[i][1], off[i][3]),
							 psprintf("ALTER SYSTEM RESET %s; then reload or restart the server.", off[i][0]));
	}
	if (pipeline_admin_role[0] != '\0' && !OidIsValid(get_role_oid(pipeline_admin_role, true)))
		pipeline_finding(InvalidOid, "warning", "admin_role_missing",
						 psprintf("pipeline.admin_role names the role \"%s\", which does not exist.", pipeline_admin_role),
						 "Create the role, or set pipeline.admin_role to one that exists.");
}

static void
look_at_transactions(void)
{
	uint64		n = pipeline_sql("SELECT pid::text, usename, date_trunc('second', clock_timestamp() - xact_start)::text"
								 " FROM pg_stat_activity WHERE xact_start < clock_timestamp() - interval '1 hour'"
								 " AND state LIKE 'idle in transaction%' ORDER BY xact_start LIMIT 5", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
		pipeline_finding(InvalidOid, "warning", "idle_in_transaction",
						 psprintf("Session %s of role \"%s\" has been idle in a transaction for %s: what it has locked waits, and nothing that is newer is vacuumed.",
								  pipeline_sql_text(i, 1), pipeline_sql_text(i, 2), pipeline_sql_text(i, 3)),
						 psprintf("End it, or SELECT pg_terminate_backend(%s); idle_in_transaction_session_timeout prevents it.",
								  pipeline_sql_text(i, 1)));
	n = pipeline_sql("SELECT gid, date_trunc('second', clock_timestamp() - prepared)::text FROM pg_prepared_xacts"
					 " WHERE prepared < clock_timestamp() - interval '1 hour' ORDER BY prepared LIMIT 5", SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
		pipeline_finding(InvalidOid, "warning", "prepared_transaction",
						 psprintf("Transaction \"%s\" has been prepared for %s and not ended: what it has locked waits, and nothing that is newer is vacuumed.",
								  pipeline_sql_text(i, 1), pipeline_sql_text(i, 2)),
						 "COMMIT PREPARED or ROLLBACK PREPARED it.");
}

/* What the ground floor looks for. */
void
pipeline_look_at_server(void)
{
	look_at_library();
	look_at_settings();
	look_at_transactions();
}

/* ---- doctor() ------------------------------------------------------------------------ */

static bool
run_look(void *arg)
{
	(*(void (**) (void)) arg) ();
	return true;
}

static int
worse_first(const ListCell *a, const ListCell *b)
{
	const Finding *x = lfirst(a);
	const Finding *y = lfirst(b);

	if (x->rank != y->rank)
		return x->rank - y->rank;
	if (strcmp(x->finding, y->finding) != 0)
		return strcmp(x->finding, y->finding);
	return strcmp(x->detail, y->detail);
}

static void
look_everywhere(void)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	for (int i = 0; i < nlooks; i++)
	{
		ErrorData  *edata = pipeline_try(run_look, &looks[i]);

		if (edata != NULL)
			pipeline_finding(InvalidOid, "warning", "look_failed",
							 psprintf("A part of the look itself failed: %s", edata->message),
							 "The server's log may tell more.");
	}
	pipeline_scope_end(&scope);
}

PG_FUNCTION_INFO_V1(pipeline_doctor);

/* SQL: doctor() */
Datum
pipeline_doctor(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	findings = NIL;
	context = CurrentMemoryContext;
	caller = GetUserId();
	SPI_connect();
	look_everywhere();
	SPI_finish();
	list_sort(findings, worse_first);
	foreach(lc, findings)
	{
		Finding    *f = lfirst(lc);
		Datum		values[4];
		bool		nulls[4] = {0};

		values[0] = CStringGetTextDatum(f->finding);
		values[1] = CStringGetTextDatum(f->severity);
		values[2] = CStringGetTextDatum(f->detail);
		values[3] = CStringGetTextDatum(f->fix);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	findings = NIL;
	PG_RETURN_VOID();
}
