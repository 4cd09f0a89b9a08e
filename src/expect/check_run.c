/*
 * check_run.c
 *	  From definitions to results.
 *
 * First each check is prepared by itself: its column, its kwargs against the
 * column's type, its condition.  Then all that look at rows share one scan.
 * If that errs (a condition that divides by zero, say) they run again half by
 * half, until only the check at fault has no verdict.  Uniqueness is a query
 * of its own that sorts the values, and two more if it finds duplicates: how
 * many rows have them, and a sample.  Whatever can err runs in a
 * subtransaction.  All statements see one snapshot.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "expect/check.h"

typedef struct Run
{
	const ScanTarget *target;
	MemoryContext context;		/* of the results */
} Run;

typedef void (*Attempt) (Run *run, void *arg);

/* Is it an error that says nothing of the check? */
static bool
must_propagate(int sqlstate)
{
	int			class = ERRCODE_TO_CATEGORY(sqlstate);

	return class == ERRCODE_OPERATOR_INTERVENTION ||
		class == ERRCODE_INSUFFICIENT_RESOURCES ||
		class == ERRCODE_TRANSACTION_ROLLBACK ||
		class == ERRCODE_SYSTEM_ERROR ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* Call a function in a subtransaction; returns the error's text, or NULL. */
static char *
attempt(Attempt function, Run *run, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		function(run, arg);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* Only now: a subtransaction left open would outlive the statement. */
		if (must_propagate(edata->sqlerrcode))
			ReThrowError(edata);
		error = MemoryContextStrdup(run->context,
									psprintf("%s (%s)", edata->message,
											 unpack_sql_state(edata->sqlerrcode)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	return error;
}

static void
set_error(Check *check, char *error)
{
	memset(&check->result, 0, sizeof(CheckResult));
	check->result.done = true;
	check->result.error = error;
}

/* ---- checks that need the columns only ------------------------------------- */

static void
column_exists(Run *run, Check *check)
{
	TupleDesc	columns = run->target->source->columns;
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	int64		index;

	check->result.done = true;
	for (int i = 0; i < columns->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(columns, i)->attname), column) != 0)
			continue;
		check->result.success = check->result.success ||
			!pipeline_kwarg_int(check->kwargs, "column_index", &index) || index == i;
		check->result.observed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																	 CStringGetDatum(psprintf("%d", i))));
	}
}

/* The name that SQLAlchemy, and so Great Expectations, has for a type. */
static char *
sqlalchemy_name(Oid typid)
{
	static const struct
	{
		Oid			typid;
		const char *name;
	}			names[] = {
		{BOOLOID, "BOOLEAN"}, {INT2OID, "SMALLINT"}, {INT4OID, "INTEGER"},
		{INT8OID, "BIGINT"}, {FLOAT4OID, "REAL"}, {FLOAT8OID, "DOUBLE_PRECISION"},
		{NUMERICOID, "NUMERIC"}, {TEXTOID, "TEXT"}, {VARCHAROID, "VARCHAR"},
		{BPCHAROID, "CHAR"}, {DATEOID, "DATE"}, {TIMEOID, "TIME"},
		{TIMETZOID, "TIME"}, {TIMESTAMPOID, "TIMESTAMP"},
		{TIMESTAMPTZOID, "TIMESTAMP"}, {INTERVALOID, "INTERVAL"},
		{BYTEAOID, "BYTEA"}, {UUIDOID, "UUID"}, {JSONOID, "JSON"},
		{JSONBOID, "JSONB"}, {BITOID, "BIT"}, {OIDOID, "OID"},
		{INETOID, "INET"}, {CIDROID, "CIDR"}, {MACADDROID, "MACADDR"},
		{MONEYOID, "MONEY"}
	};

	for (int i = 0; i < lengthof(names); i++)
		if (names[i].typid == typid)
			return pstrdup(names[i].name);
	return OidIsValid(get_element_type(typid)) ? pstrdup("ARRAY") : format_type_be(typid);
}

static void
column_type(Run *run, Check *check)
{
	int			column = pipeline_source_column(run->target->source,
												pipeline_kwarg_text(check->kwargs, "column"),
												"kwargs");
	Form_pg_attribute att = TupleDescAttr(run->target->source->columns, column - 1);
	char	   *wanted = pipeline_kwarg_text(check->kwargs, "type_");
	char	   *name = sqlalchemy_name(att->atttypid);
	char	   *full = format_type_with_typemod(att->atttypid, att->atttypmod);
	const char *key = "type";
	StringInfoData buf;

	check->result.done = true;
	check->result.success = strcmp(wanted, name) == 0 || strcmp(wanted, full) == 0 ||
		strcmp(wanted, format_type_be(att->atttypid)) == 0;
	initStringInfo(&buf);
	escape_json(&buf, name);
	check->result.observed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																 CStringGetDatum(buf.data)));
	check->result.details = pipeline_jsonb_object(1, &key, (const char *const *) &full);
}

/* ---- preparation ------------------------------------------------------------- */

/* Raise whatever is wrong with a condition over the target. */
static void
check_condition(const ScanTarget *target, const char *condition)
{
	(void) pipeline_query_columns(psprintf("SELECT FROM %s AS %s WHERE %s",
										   target->source->from, target->alias, condition));
}

/* Find out all that can be known of a check before the scan. */
static void
prepare(Run *run, void *arg)
{
	Check	   *check = arg;
	MemoryContext old;
	char	   *condition;
	TupleDesc	columns;
	CompiledCheck compiled;

	old = MemoryContextSwitchTo(run->context);
	if (check->type->kind == CHECK_EXISTS)
		column_exists(run, check);
	else if (check->type->kind == CHECK_TYPE)
		column_type(run, check);
	MemoryContextSwitchTo(old);
	if (check->result.done)
		return;
	condition = pipeline_check_condition(check);
	if (condition)
		check_condition(run->target, condition);
	if (check->type->kind == CHECK_COUNT || check->type->kind == CHECK_UNIQUE)
	{
		if (check->type->kind == CHECK_UNIQUE)
			(void) pipeline_check_argument(run->target, check);
		return;
	}
	columns = pipeline_query_columns(psprintf("SELECT %s FROM %s AS %s",
											  pipeline_check_argument(run->target, check),
											  run->target->source->from, run->target->alias));
	pipeline_check_compile(&compiled, check->type, check->kwargs,
						   TupleDescAttr(columns, 0)->atttypid,
						   TupleDescAttr(columns, 0)->attcollation);
}

/* ---- the shared scan ---------------------------------------------------------- */

/* The object of the i-th check of a call, or NULL when there were no rows. */
static Jsonb *
call_counts(int column, int i)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);
	Jsonb	   *array;

	if (isnull)
		return NULL;
	array = DatumGetJsonbP(value);
	return JsonbValueToJsonb(getIthJsonbValueFromContainer(&array->root, i));
}

/* Run the shared scan of a list of checks. */
static void
scan(Run *run, void *arg)
{
	List	   *calls;
	ListCell   *lc;
	char	   *sql = pipeline_scan_statement(run->target, arg, &calls);

	pipeline_sql_generated(sql, SPI_OK_SELECT, true);
	foreach(lc, calls)
	{
		List	   *checks = lfirst(lc);
		int			column = foreach_current_index(lc) + 1;
		ListCell   *lc2;

		foreach(lc2, checks)
		{
			Jsonb	   *counts = call_counts(column, foreach_current_index(lc2));
			MemoryContext old = MemoryContextSwitchTo(run->context);

			pipeline_check_counted(lfirst(lc2), counts, run->target->row_key != NIL);
			MemoryContextSwitchTo(old);
		}
	}
	SPI_freetuptable(SPI_tuptable);
}

/* ---- uniqueness ---------------------------------------------------------------- */

/* FROM and WHERE of a query of its own. */
static char *
from_where(const ScanTarget *target, const char *condition)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "FROM %s AS %s", target->source->from, target->alias);
	if (target->where || condition)
		appendStringInfo(&buf, " WHERE %s%s%s", target->where ? target->where : "",
						 target->where && condition ? " AND " : "",
						 condition ? condition : "");
	return buf.data;
}

/*
 * Sample the rows whose value occurs more than once, in the order of the
 * values.  Grouping, not an operator of ours, decides what is equal; values
 * that cannot be sorted (xid) are grouped by their text here.
 */
static void
sample_duplicates(Run *run, Check *check, const char *column, const char *from,
				  bool sortable)
{
	bool		has_key = run->target->row_key != NIL;
	bool		isnull;
	MemoryContext old;

	pipeline_sql_generated(psprintf("SELECT pg_catalog.jsonb_agg(CASE WHEN pg_catalog.octet_length(s.v::pg_catalog.text) OPERATOR(pg_catalog.>) %d"
									" THEN pg_catalog.to_jsonb(pg_catalog.left(s.v::pg_catalog.text, %d) OPERATOR(pg_catalog.||) '...'::pg_catalog.text)"
									" ELSE pg_catalog.to_jsonb(s.v) END), pg_catalog.jsonb_agg(s.k) FROM ("
									"SELECT d.v, d.k FROM ("
									"SELECT %s AS v, %s AS k, pg_catalog.count(*) OVER (PARTITION BY %s%s) AS n %s) AS d"
									" WHERE d.n OPERATOR(pg_catalog.>) 1 AND pg_catalog.num_nulls(d.v) OPERATOR(pg_catalog.=) 0"
									" LIMIT %d) AS s",
									MAX_SAMPLE_BYTES, MAX_SAMPLE_BYTES / 4, column,
									has_key ? pipeline_key_expression(run->target) : "NULL::pg_catalog.jsonb",
									column, sortable ? "" : "::pg_catalog.text", from,
									run->target->sample_limit),
						   SPI_OK_SELECT, true);
	old = MemoryContextSwitchTo(run->context);
	for (int i = 1; i <= (has_key ? 2 : 1); i++)
	{
		Datum		value = pipeline_sql_datum(0, i, &isnull);

		if (isnull)
			continue;
		*(i == 1 ? &check->result.values : &check->result.keys) =
			(Jsonb *) PG_DETOAST_DATUM_COPY(value);
	}
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
}

/* Can the values of a column be sorted? */
static bool
is_sortable(const ScanTarget *target, const Check *check)
{
	int			column = pipeline_source_column(target->source,
												pipeline_kwarg_text(check->kwargs, "column"),
												"kwargs");

	return OidIsValid(lookup_type_cache(TupleDescAttr(target->source->columns, column - 1)->atttypid,
										TYPECACHE_LT_OPR)->lt_opr);
}

/* Run a query of three counts: elements, missing, unexpected. */
static void
count_values(const char *sql, int64 counts[3])
{
	pipeline_sql_generated(sql, SPI_OK_SELECT, true);
	for (int i = 0; i < 3; i++)
	{
		bool		isnull;
		Datum		value = pipeline_sql_datum(0, i + 1, &isnull);

		counts[i] = isnull ? 0 : DatumGetInt64(value);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Evaluate uniqueness: every row whose value is not alone is unexpected.  As a
 * rule there is none, and sorting the values finds that out several times
 * sooner than grouping the rows, which is left for when there are some.
 */
static void
unique(Run *run, void *arg)
{
	Check	   *check = arg;
	char	   *column = pipeline_check_argument(run->target, check);
	char	   *from = from_where(run->target, pipeline_check_condition(check));
	bool		sortable = is_sortable(run->target, check);
	int64		counts[3] = {0};
	char	   *json;
	MemoryContext old;

	if (sortable)
		count_values(psprintf("SELECT pg_catalog.count(*), pg_catalog.count(*) OPERATOR(pg_catalog.-) pg_catalog.count(%s),"
							  " pg_catalog.count(%s) OPERATOR(pg_catalog.-) pg_catalog.count(DISTINCT %s) %s",
							  column, column, column, from), counts);
	if (!sortable || counts[2] > 0)
		count_values(psprintf("SELECT pg_catalog.sum(g.n)::pg_catalog.int8,"
							  " pg_catalog.sum(g.n) FILTER (WHERE pg_catalog.num_nulls(g.v) OPERATOR(pg_catalog.=) 1)::pg_catalog.int8,"
							  " pg_catalog.sum(g.n) FILTER (WHERE pg_catalog.num_nulls(g.v) OPERATOR(pg_catalog.=) 0"
							  " AND g.n OPERATOR(pg_catalog.>) 1)::pg_catalog.int8"
							  " FROM (SELECT %s AS v, pg_catalog.count(*) AS n %s GROUP BY 1) AS g",
							  column, from), counts);
	json = psprintf("{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT ", \"unexpected\": " INT64_FORMAT "}",
					counts[0], counts[1], counts[2]);

	old = MemoryContextSwitchTo(run->context);
	pipeline_check_counted(check,
						   DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json))),
						   run->target->row_key != NIL);
	MemoryContextSwitchTo(old);
	if (counts[2] > 0 && run->target->sample_limit > 0)
		sample_duplicates(run, check, column, from, sortable);
}

/* ---- all of it ------------------------------------------------------------------ */

/* Those that share the scan: prepared, without a result, not uniqueness. */
static List *
scanned(const List *checks)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (!check->result.done && check->type->kind != CHECK_UNIQUE)
			list = lappend(list, check);
	}
	return list;
}

/*
 * Run the shared scan of some checks.  If it errs, scan for each half of them:
 * a few checks at fault among many cost a few scans, not one for each check.
 */
static void
scan_shared(Run *run, List *checks)
{
	int			half = list_length(checks) / 2;
	ListCell   *lc;
	char	   *error = attempt(scan, run, checks);

	if (error == NULL)
		return;
	CHECK_FOR_INTERRUPTS();
	foreach(lc, checks)
		memset(&((Check *) lfirst(lc))->result, 0, sizeof(CheckResult));
	if (half == 0)
	{
		set_error(linitial(checks), error);
		return;
	}
	scan_shared(run, list_truncate(list_copy(checks), half));
	scan_shared(run, list_copy_tail(checks, half));
}

/* A check that counts the rows of the target. */
static Check *
row_counter(void)
{
	Check	   *check = palloc0(sizeof(Check));

	check->type = pipeline_expectation_type("expect_table_row_count_to_be_between");
	check->kwargs = pipeline_jsonb_object(0, NULL, NULL);
	check->severity = "info";
	return check;
}

/*
 * Evaluate the checks on the target and leave the results in them, allocated
 * in the current context.  Returns the number of rows of the target, or -1 if
 * it cannot be read.  Inside an SPI connection, as the user whose rights
 * count.  The condition of the target is checked here: it is the caller's
 * error, not a check's.
 */
int64
pipeline_checks_run(const ScanTarget *target, List *checks)
{
	Run			run = {.target = target, .context = CurrentMemoryContext};
	Check	   *counter = row_counter();
	ListCell   *lc;

	if (target->where)
		check_condition(target, target->where);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(lc, checks)
	{
		char	   *error = attempt(prepare, &run, lfirst(lc));

		if (error)
			set_error(lfirst(lc), error);
	}
	scan_shared(&run, lcons(counter, scanned(checks)));
	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);
		char	   *error = check->result.done ? NULL : attempt(unique, &run, check);

		if (error)
			set_error(check, error);
	}
	PopActiveSnapshot();
	return counter->result.error ? -1 : counter->result.elements;
}
