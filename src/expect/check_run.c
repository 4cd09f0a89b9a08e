/*
 * check_run.c
 *	  From definitions to results.
 *
 * First each check is prepared by itself (check_prepare.c).  Then all that look
 * at single rows or at single columns share one scan (two, where the table is
 * big enough for a parallel one and a column has too many values for workers to
 * send; see check_way.c).  If that errs (a condition that divides by
 * zero, say) they run again half by half, until only the check at fault has no
 * verdict.  Checks of deviations share a second scan, with the constants of the
 * first; the keys of duplicates, checks over windows and queries have statements
 * of their own.  Whatever can err runs in a subtransaction.  All statements see
 * one snapshot.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/paths.h"
#include "storage/bufmgr.h"
#include "utils/elog.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "expect/check.h"
#include "expect/check_places.h"

typedef struct Run
{
	const ScanTarget *target;
	MemoryContext context;		/* of the results */
	int64		rows;			/* of the target; -1: not known */
	int			sqlstate;		/* of the last error */
	bool		serial;			/* no parallel scan any more */
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

typedef struct Call
{
	Attempt		function;
	Run		   *run;
	void	   *arg;
} Call;

static bool
make_call(void *arg)
{
	Call	   *call = arg;

	call->function(call->run, call->arg);
	return true;
}

/* Call a function in a subtransaction; returns the error's text, or NULL. */
static char *
attempt(Attempt function, Run *run, void *arg)
{
	Call		call = {function, run, arg};
	ErrorData  *edata = pipeline_try(make_call, &call);
	char	   *error;

	if (edata == NULL)
		return NULL;
	if (must_propagate(edata->sqlerrcode))
		ReThrowError(edata);
	run->sqlstate = edata->sqlerrcode;
	error = MemoryContextStrdup(run->context,
								psprintf("%s (%s)", edata->message,
										 unpack_sql_state(edata->sqlerrcode)));
	FreeErrorData(edata);
	return error;
}

static void
set_error(Check *check, char *error)
{
	memset(&check->result, 0, sizeof(CheckResult));
	check->result.done = true;
	check->result.error = error;
}

/* Prepare one check; see check_prepare.c. */
static void
prepare(Run *run, void *arg)
{
	pipeline_check_prepare(run->target, run->context, arg);
}

/* ---- statements ------------------------------------------------------------------ */

/* A verdict in the making. */
typedef struct Verdict
{
	Check	   *check;
	Jsonb	   *found;			/* NULL: no rows */
	Oid			typid;			/* of the column of a distribution */
} Verdict;

/* The object of the i-th check of a call, or NULL when there were no rows. */
static Jsonb *
call_object(int column, int i)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);
	Jsonb	   *array;

	if (isnull)
		return NULL;
	array = DatumGetJsonbP(value);
	return JsonbValueToJsonb(getIthJsonbValueFromContainer(&array->root, i));
}

/* Take over where the rows lie that fail, from what a call has found. */
static void
keep_places(Run *run, int column, int nchecks)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);
	JsonbValue *places;

	if (isnull)
		return;
	places = getIthJsonbValueFromContainer(&DatumGetJsonbP(value)->root, nchecks);
	if (places == NULL || places->type != jbvString)
		elog(ERROR, "the scan did not tell the places of rows");
	pipeline_places_parse(run->target->places,
						  pnstrdup(places->val.string.val, places->val.string.len), run->context);
}

static void
decide(Run *run, void *arg)
{
	Verdict    *v = arg;
	MemoryContext old = MemoryContextSwitchTo(run->context);

	if (v->check->type->kind == CHECK_AGGREGATE)
		pipeline_aggregate_verdict(v->check);
	else if (v->check->type->kind == CHECK_DISTRIBUTION && v->check->type->sub != SUB_UNIQUE)
		pipeline_distribution_verdict(v->check, v->found, v->typid);
	else
		pipeline_check_counted(v->check, v->found, run->target->row_key != NIL);
	MemoryContextSwitchTo(old);
}

static void
set_verdict(Run *run, Check *check, Jsonb *found)
{
	Verdict		v = {.check = check, .found = found};
	char	   *error;

	if (check->type->kind == CHECK_DISTRIBUTION && check->type->sub != SUB_UNIQUE)
		v.typid = pipeline_column_attribute(run->target, pipeline_kwarg_text(check->kwargs, "column"))->atttypid;
	else if (check->type->kind != CHECK_AGGREGATE)
	{
		/* Counts cannot err. */
		decide(run, &v);
		return;
	}
	error = attempt(decide, run, &v);
	if (error)
		set_error(check, error);
}

/* What the first scan found for a check of deviations. */
static void
keep_parameters(Check *check)
{
	check->has_parameters = true;
	for (int i = 0; i < list_length(check->aggregates); i++)
	{
		bool		isnull;
		Datum		value = pipeline_sql_datum(0, check->columns[i], &isnull);

		check->parameters[i] = DatumGetFloat8(value);
		check->has_parameters = check->has_parameters && !isnull;
	}
}

/* Run one statement for some checks, over the target or `from`. */
static void
run_statement(Run *run, List *checks, const char *from)
{
	List	   *columns;
	ListCell   *lc;
	char	   *sql = pipeline_scan_statement(run->target, from, checks, &columns);
	SPITupleTable *table;

	pipeline_sql_generated(sql, SPI_OK_SELECT, true);
	table = SPI_tuptable;
	foreach(lc, columns)
	{
		ScanColumn *column = lfirst(lc);
		int			number = foreach_current_index(lc) + 1;
		ListCell   *lc2;

		foreach(lc2, column->checks)
		{
			Jsonb	   *found = call_object(number, foreach_current_index(lc2));
			JsonbValue	buf;

			/* Some key is there twice: its rows are looked for later. */
			if (column->kind == 'k' && found != NULL && pipeline_kwarg(found, "unexpected", &buf) == NULL)
				continue;
			set_verdict(run, lfirst(lc2), found);
			SPI_tuptable = table;
		}
		if (from == NULL && column->kind == 'c' && run->target->places)
			keep_places(run, number, list_length(column->checks));
	}
	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (check->type->kind == CHECK_AGGREGATE)
			set_verdict(run, check, NULL);
		else if (check->type->kind == CHECK_DEVIATION && check->expression == NULL)
			keep_parameters(check);
		SPI_tuptable = table;
	}
	SPI_freetuptable(table);
}

static void
scan(Run *run, void *arg)
{
	int			guc_level = NewGUCNestLevel();

	if (run->serial)
		(void) set_config_option("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	run_statement(run, arg, NULL);
	AtEOXact_GUC(true, guc_level);
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
	char	   *error;

	if (checks == NIL)
		return;
	error = attempt(scan, run, checks);
	if (error == NULL)
		return;
	CHECK_FOR_INTERRUPTS();
	foreach(lc, checks)
		memset(&((Check *) lfirst(lc))->result, 0, sizeof(CheckResult));
	/* More distinct values than workers can send: see distribution_state.c. */
	if (run->sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED && !run->serial)
	{
		run->serial = true;
		scan_shared(run, checks);
		return;
	}
	if (half == 0)
	{
		set_error(linitial(checks), error);
		return;
	}
	scan_shared(run, list_truncate(list_copy(checks), half));
	scan_shared(run, list_copy_tail(checks, half));
}

/* Would the planner think of a parallel scan? */
static bool
is_big(const ScanTarget *target)
{
	Relation	rel;
	bool		big;

	if (!OidIsValid(target->source->relid) || max_parallel_workers_per_gather == 0)
		return false;
	rel = relation_open(target->source->relid, NoLock);
	big = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
		((rel->rd_rel->relkind == RELKIND_RELATION || rel->rd_rel->relkind == RELKIND_MATVIEW) &&
		 RelationGetNumberOfBlocks(rel) >= min_parallel_table_scan_size);
	relation_close(rel, NoLock);
	return big;
}

/*
 * Does it hold more values back until the end than a worker of a parallel scan
 * should send?
 */
static bool
sorts(const ScanTarget *target, const Check *check)
{
	if (check->type->kind == CHECK_DISTRIBUTION && check->expression == NULL)
		return !pipeline_is_sketched(target, check) && !pipeline_is_binned(check) &&
			!pipeline_has_few_values(target, pipeline_kwarg_text(check->kwargs, "column"));
	return check->keyed || check->type->sub == SUB_OUTLIERS;
}

/* Columns that a check may add to a statement. */
static int
statement_columns(const Check *check)
{
	return list_length(check->aggregates) + (check->type->kind == CHECK_DISTRIBUTION) + check->keyed;
}

/* Scan for the checks, as many at a time as a statement has columns. */
static void
scan_in_chunks(Run *run, const List *checks)
{
	List	   *chunk = NIL;
	int			columns = 0;
	ListCell   *lc;

	foreach(lc, checks)
	{
		columns += statement_columns(lfirst(lc));
		if (columns > MAX_SCAN_COLUMNS)
		{
			scan_shared(run, chunk);
			chunk = NIL;
			columns = statement_columns(lfirst(lc));
		}
		chunk = lappend(chunk, lfirst(lc));
	}
	scan_shared(run, chunk);
}

/* The first scan, or two where one can be parallel and the other cannot. */
static void
scan_target(Run *run, const List *checks)
{
	List	   *sorting = NIL;
	List	   *others = NIL;
	ListCell   *lc;

	if (!is_big(run->target))
	{
		scan_in_chunks(run, checks);
		return;
	}
	foreach(lc, checks)
	{
		if (sorts(run->target, lfirst(lc)))
			sorting = lappend(sorting, lfirst(lc));
		else
			others = lappend(others, lfirst(lc));
	}
	scan_in_chunks(run, others);
	scan_in_chunks(run, sorting);
}

/* The second scan's expression; see check_deviation.c. */
static void
prepare_deviation(Run *run, void *arg)
{
	pipeline_prepare_deviation(run->target, run->context, arg);
}

/* ---- windows and queries -------------------------------------------------------- */

/* A check over windows, or the keys of a column's duplicates. */
static void
window(Run *run, void *arg)
{
	Check	   *check = arg;
	int			guc_level = NewGUCNestLevel();

	/* Rows come in the order of the table, where that is what counts. */
	if (check->type->sub == SUB_ORDER)
	{
		(void) set_config_option("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("synchronize_seqscans", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	if (check->type->sub != SUB_COMPOUND || check->keyed || !pipeline_no_compound_twice(run->target, run->context, check))
		run_statement(run, list_make1(check), pipeline_window_from(run->target, check));
	AtEOXact_GUC(true, guc_level);
}

static void
query(Run *run, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);

	pipeline_query_verdict(run->target, arg, run->rows);
	MemoryContextSwitchTo(old);
}

/* Try something for each check of a kind that has no result yet. */
static void
attempt_each(Run *run, const List *checks, CheckKind kind, Attempt function)
{
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);
		char	   *error;

		if (check->type->kind != kind || check->result.done)
			continue;
		CHECK_FOR_INTERRUPTS();
		error = attempt(function, run, check);
		if (error)
			set_error(check, error);
	}
}

/* The rows of duplicates have keys: a statement that finds them. */
static void
find_duplicates(Run *run, const List *checks)
{
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);
		char	   *error;

		if (check->type->sub != SUB_UNIQUE || check->result.error || check->result.unexpected == 0 ||
			run->target->row_key == NIL || check->limit <= 0)
			continue;
		check->shown = list_make1(pipeline_kwarg_text(check->kwargs, "column"));
		check->expression = psprintf("%s.\"?pipeline verdict\"", run->target->alias);
		error = attempt(window, run, check);
		if (error)
			set_error(check, error);
	}
}

/* ---- all of it ------------------------------------------------------------------ */

/* NOT NULL is proved for every row: how many there are is all that is asked. */
static bool
is_proved_null(const Check *check)
{
	return check->proved && check->type->kind == CHECK_NULL;
}

/* The verdicts that are proved, once the rows are counted. */
static void
count_proved(Run *run, const List *checks)
{
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (!is_proved_null(check) || check->result.done)
			continue;
		if (run->rows < 0)
			set_error(check, pstrdup("the rows of the target could not be counted (55000)"));
		else
			pipeline_check_counted(check, pipeline_jsonb_from(psprintf("{\"elements\": " INT64_FORMAT "}", run->rows)),
								   run->target->row_key != NIL);
	}
}

/* Those without a result that are in the list of kinds. */
static List *
of_kinds(const List *checks, bool deviations)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (check->result.done || is_proved_null(check) || check->type->kind == CHECK_QUERY ||
			(check->type->kind == CHECK_WINDOW && !check->keyed && !check->in_scan) ||
			(deviations && check->type->kind != CHECK_DEVIATION))
			continue;
		list = lappend(list, check);
	}
	return list;
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

/* Prepare every check; what that leaves behind is freed check by check. */
static void
prepare_all(Run *run, List *checks)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "preparation of a check",
												  ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);
		char	   *error;

		CHECK_FOR_INTERRUPTS();
		/* A parameter without a value, say. */
		if (check->result.done)
			continue;
		check->limit = pipeline_result_format(check->kwargs, run->target->sample_limit);
		MemoryContextSwitchTo(scratch);
		error = attempt(prepare, run, check);
		MemoryContextSwitchTo(run->context);
		MemoryContextReset(scratch);
		if (error)
			set_error(check, error);
	}
	MemoryContextDelete(scratch);
}

/*
 * Evaluate the checks on the target and leave the results in them, allocated
 * in the current context.  Returns the number of rows of the target, or -1 if
 * it cannot be read.  Inside an SPI connection, as the user whose rights
 * count, under the active snapshot.  The condition of the target is checked here: it is the caller's
 * error, not a check's.
 */
int64
pipeline_checks_run(const ScanTarget *target, List *checks)
{
	Run			run = {.target = target, .context = CurrentMemoryContext};
	Check	   *counter = row_counter();
	ListCell   *lc;

	if (target->where)
		pipeline_condition_check(target, target->where);
	prepare_all(&run, checks);
	scan_target(&run, lcons(counter, of_kinds(checks, false)));
	run.rows = counter->result.error ? -1 : counter->result.elements;
	count_proved(&run, checks);
	attempt_each(&run, checks, CHECK_DEVIATION, prepare_deviation);
	scan_in_chunks(&run, of_kinds(checks, true));
	attempt_each(&run, checks, CHECK_WINDOW, window);
	find_duplicates(&run, checks);
	attempt_each(&run, checks, CHECK_QUERY, query);
	foreach(lc, checks)
		pipeline_check_trim(lfirst(lc));
	return run.rows;
}
