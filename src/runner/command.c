/*
 * command.c
 *	  Parse, check and run the SQL of a task.
 *
 * The statements go through the server's own path, as if a client had sent
 * them: analysed, planned (parallel plans allowed) and run in a portal, one by
 * one.  In an atomic task all of them share the caller's transaction; in an
 * autocommit task each has its own, at top level, so that VACUUM and CALL with
 * COMMIT work.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/scansup.h"
#include "pgstat.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "runner/runner.h"

static void
refuse_statement(const char *task, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not allowed in the command of task \"%s\"", what, task),
			 errhint("%s", hint)));
}

/*
 * Does it set a property of the transaction?  By name only the isolation level
 * matters to us: what a task makes read-only is made writable after it.
 */
static bool
sets_transaction(const VariableSetStmt *stmt)
{
	if (stmt->kind == VAR_SET_MULTI)
		return strcmp(stmt->name, "SESSION CHARACTERISTICS") != 0;
	return stmt->name != NULL && pg_strcasecmp(stmt->name, "transaction_isolation") == 0;
}

/* Refuse what would end our transaction or talk to a client. */
static void
check_statement(Node *stmt, bool atomic, const char *task)
{
	if (IsA(stmt, TransactionStmt))
		refuse_statement(task, "transaction control", atomic ?
						 "An atomic task is one transaction already; with mode => 'autocommit' each statement is one." :
						 "In an autocommit task each statement is a transaction; put statements that belong together into a procedure or a DO block.");
	if (atomic && IsA(stmt, VariableSetStmt) &&
		sets_transaction((VariableSetStmt *) stmt))
		refuse_statement(task, "SET TRANSACTION",
						 "Tasks run at READ COMMITTED, in a transaction that the runner begins.");
	if (IsA(stmt, CopyStmt) && ((CopyStmt *) stmt)->filename == NULL)
		refuse_statement(task, "COPY from or to the client",
						 "A worker has no client; use COPY with a file or PROGRAM, or a query.");
}

/*
 * Parse a command and refuse what no task may do.  `task` is for messages.
 * Returns the raw statements; raises 42601 and the like, and 0A000.
 */
List *
runner_parse_command(const char *command, bool atomic, const char *task)
{
	List	   *raw = raw_parser(command, RAW_PARSE_DEFAULT);
	ListCell   *lc;

	if (raw == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the command of task \"%s\" is empty", task),
				 errhint("A command is one or more SQL statements.")));
	foreach(lc, raw)
		check_statement(lfirst_node(RawStmt, lc)->stmt, atomic, task);
	return raw;
}

/* The text of one statement of the command. */
static char *
statement_text(const char *command, const RawStmt *raw)
{
	const char *start = command + raw->stmt_location;
	int			len = raw->stmt_len > 0 ? raw->stmt_len : (int) strlen(start);

	for (; len > 0 && scanner_isspace(*start); len--)
		start++;
	return pnstrdup(start, len);
}

static void (*rewrite) (RawStmt *stmt) = NULL;

/* Have each statement changed before it is analysed; see test_task.c. */
void
runner_set_rewriter(void (*rewriter) (RawStmt *stmt))
{
	rewrite = rewriter;
}

/* Run one parsed statement in the current transaction. */
static void
run_statement(RawStmt *raw, const char *command, bool toplevel,
			  DestReceiver *receiver, CommandResult *result)
{
	List	   *queries;
	List	   *plans;
	Portal		portal;
	QueryCompletion qc;
	bool		snapshot = false;

	if (rewrite)
		rewrite(raw);
	if (analyze_requires_snapshot(raw))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot = true;
	}
	queries = pg_analyze_and_rewrite_fixedparams(raw, command, NULL, 0, NULL);
	plans = pg_plan_queries(queries, command, CURSOR_OPT_PARALLEL_OK, NULL);
	if (snapshot)
		PopActiveSnapshot();
	CHECK_FOR_INTERRUPTS();

	InitializeQueryCompletion(&qc);
	/* The unnamed one may be the session's own, in test_task(). */
	portal = CreateNewPortal();
	portal->visible = false;
	PortalDefineQuery(portal, NULL, command, CreateCommandTag(raw->stmt),
					  plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) PortalRunAll(portal, toplevel, receiver, &qc);
	PortalDrop(portal, false);
	result->rows += qc.nprocessed;
}

/*
 * Is an expression of the task true?  As the task's role, in the task's
 * transaction or, for autocommit, in one of its own.
 */
static bool
holds(const char *what, const char *expression, bool atomic,
	  MemoryContext context, CommandResult *result)
{
	CommandResult rows = {0};
	char	   *sql;

	result->statement = psprintf("%s: %s", what, expression);
	pgstat_report_activity(STATE_RUNNING, result->statement);
	if (!atomic)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	sql = psprintf("SELECT 1 WHERE %s", pipeline_expression(expression, what));
	run_statement(linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT)),
				  sql, false, None_Receiver, &rows);
	if (!atomic)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return rows.rows > 0;
}

/*
 * Run the command of a claim, unless it must wait or its condition is not
 * true.  Atomic: in the caller's transaction, deferred constraints checked at
 * the end.  Otherwise the caller is outside a transaction and so is it
 * afterwards; `context` must outlive both.  Errors go through, leaving the
 * text of the statement in result->statement.
 */
void
runner_run_command(const Claim *claim, MemoryContext context,
				   CommandResult *result)
{
	const char *command = claim->command;
	bool		atomic = claim->atomic;
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *raw = NIL;
	DestReceiver *receiver;
	WalUsage	wal = pgWalUsage;
	ListCell   *lc;

	result->success = true;
	result->waiting = claim->wait_for != NULL &&
		!holds("wait_for", claim->wait_for, atomic, context, result);
	result->skipped = !result->waiting && claim->condition != NULL &&
		!holds("condition", claim->condition, atomic, context, result);
	if (!result->waiting && !result->skipped)
	{
		if (claim->foreach)
			command = psprintf("SELECT * FROM %s AS foreach", pipeline_query(claim->foreach, "foreach"));
		raw = runner_parse_command(command, atomic, "this");
		if (atomic)
			raw = list_concat(raw, raw_parser("SET CONSTRAINTS ALL IMMEDIATE",
											  RAW_PARSE_DEFAULT));
	}
	receiver = claim->foreach ? runner_map_receiver(context, claim->map_column, result) :
		runner_result_receiver(context, result);
	foreach(lc, raw)
	{
		RawStmt    *stmt = lfirst_node(RawStmt, lc);
		bool		constraints = atomic && lnext(raw, lc) == NULL;

		result->statement = constraints ? "SET CONSTRAINTS ALL IMMEDIATE" :
			statement_text(command, stmt);
		pgstat_report_activity(STATE_RUNNING, result->statement);
		SetCurrentStatementStartTimestamp();
		if (!atomic)
			StartTransactionCommand();
		MemoryContextSwitchTo(context);
		run_statement(stmt, constraints ? result->statement : command,
					  !atomic, constraints ? None_Receiver : receiver, result);
		if (atomic)
			CommandCounterIncrement();
		else
			CommitTransactionCommand();
		MemoryContextSwitchTo(context);
		CHECK_FOR_INTERRUPTS();
	}
	receiver->rDestroy(receiver);
	if (claim->foreach)
		result->result = pipeline_jsonb_object(1, (const char *[]) {"mapped"},
											   (const char *[]) {psprintf("%d", list_length(result->mapped))});
	result->statement = NULL;
	result->wal_bytes = pgWalUsage.wal_bytes - wal.wal_bytes;
	MemoryContextSwitchTo(old);
}
