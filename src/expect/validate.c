/*
 * validate.c
 *	  validate and check_now: read the definitions, run them, report.
 *
 * The target is read as the suite's owner, with the search_path stored in the
 * suite; what is written is written afterwards, by constant SQL.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "alert/alert.h"
#include "expect/check.h"
#include "expect/check_places.h"

#define NOW_SAMPLE_LIMIT 20
#define MAX_REPORTED 20

static const char *const severities[] = {"info", "warning", "error", "critical", NULL};

typedef struct Tally
{
	int			evaluated;
	int			failed;
	int			warned;
	int			errored;
	int64		rows;			/* -1: not known */
	bool		success;
} Tally;

/* Open the target of a suite, or of check_now. */
ScanTarget *
pipeline_open_target(const char *text, const char *where)
{
	ScanTarget *target = palloc0(sizeof(ScanTarget));

	target->source = pipeline_source(text, "target");
	target->alias = OidIsValid(target->source->relid) ?
		pstrdup(quote_identifier(get_rel_name(target->source->relid))) : pstrdup("target");
	target->where = where ? pipeline_expression(where, "where_clause") : NULL;
	target->where_text = where ? pstrdup(where) : NULL;
	target->sample_limit = NOW_SAMPLE_LIMIT;
	return target;
}

static bool
is_failure(const Check *check)
{
	return check->result.error != NULL || !check->result.success;
}

/* Does a failure of this check fail the validation? */
bool
pipeline_check_is_grave(const Check *check)
{
	return strcmp(check->severity, "error") == 0 || strcmp(check->severity, "critical") == 0;
}

static Tally
count_up(const List *checks, int64 rows)
{
	Tally		tally = {.rows = rows};
	ListCell   *lc;

	foreach(lc, checks)
	{
		const Check *check = lfirst(lc);

		if (check->result.error)
		{
			tally.errored++;
			continue;
		}
		tally.evaluated++;
		if (check->result.success)
			continue;
		if (pipeline_check_is_grave(check))
			tally.failed++;
		else
			tally.warned++;
	}
	tally.success = tally.failed == 0 && tally.errored == 0;
	return tally;
}

/*
 * The expectations of a suite, by name, with the values of parameters; `strict`:
 * raise 22023 for a value that none of them asks for.
 */
List *
pipeline_suite_checks(const Suite *suite, const Jsonb *parameters, bool strict)
{
	UserScope	scope;
	List	   *checks = NIL;
	uint64		n;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT name, type, kwargs, severity, row_condition FROM pipeline.expectations"
					 " WHERE suite = $1 ORDER BY name COLLATE \"C\"", SPI_OK_SELECT, sql_text(suite->name));
	for (uint64 i = 0; i < n; i++)
	{
		Check	   *check = palloc0(sizeof(Check));
		bool		isnull;

		check->name = pipeline_sql_text(i, 1);
		check->type = pipeline_expectation_type(pipeline_sql_text(i, 2));
		check->kwargs = DatumGetJsonbPCopy(pipeline_sql_datum(i, 3, &isnull));
		check->severity = pipeline_sql_text(i, 4);
		check->row_condition = pipeline_row_condition(check->kwargs, pipeline_sql_text(i, 5));
		checks = lappend(checks, check);
	}
	pipeline_scope_end(&scope);
	pipeline_bind_checks(suite, checks, parameters, strict);
	if (checks == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("suite \"%s\" has no expectations", suite->name),
				 errhint("Add some with pipeline.expect().")));
	return checks;
}

/* Raise what failed, if it is to be raised. */
static void
raise_failure(const Suite *suite, const List *checks, const Tally *tally)
{
	StringInfoData detail;
	int			left = MAX_REPORTED;
	ListCell   *lc;

	initStringInfo(&detail);
	foreach(lc, checks)
	{
		const Check *check = lfirst(lc);

		if (!is_failure(check) || !(check->result.error || pipeline_check_is_grave(check)) || left-- <= 0)
			continue;
		appendStringInfo(&detail, "%s%s", detail.len ? "\n" : "", pipeline_result_summary(check));
	}
	if (left < 0)
		appendStringInfo(&detail, "\nand %d more", -left);
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("suite \"%s\" failed: %d of %d expectations failed, %d could not be evaluated",
					suite->name, tally->failed, list_length((List *) checks), tally->errored),
			 errdetail_internal("%s", detail.data)));
}

/* Write the row of the validation; returns its id. */
static int64
store_validation(const Suite *suite, const char *where, const Jsonb *parameters,
				 TimestampTz started, const Tally *tally, double total_ms)
{
	const TaskContext *task = pipeline_task_context();

	pipeline_sql("INSERT INTO pipeline.validations (suite, owner, role, started_at, where_clause, success, evaluated,"
				 " failed, warned, errored, rows, quarantined, total_ms, run_id, pipeline, task, attempt, parameters)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, $15, $16, $17)"
				 " RETURNING validation_id", SPI_OK_INSERT_RETURNING,
				 sql_text(suite->name), sql_role(suite->owner), sql_role(GetSessionUserId()),
				 sql_time(started), sql_text(where), sql_bool(tally->success),
				 sql_int4(tally->evaluated), sql_int4(tally->failed), sql_int4(tally->warned),
				 sql_int4(tally->errored),
				 sql_datum(INT8OID, Int64GetDatum(tally->rows), tally->rows < 0),
				 sql_float8(total_ms),
				 sql_datum(INT8OID, Int64GetDatum(task ? task->run_id : 0), task == NULL),
				 sql_text(task ? task->pipeline : NULL), sql_text(task ? task->task : NULL),
				 sql_datum(INT4OID, Int32GetDatum(task ? task->attempt : 0), task == NULL), sql_jsonb(parameters));
	return pipeline_sql_int8(0, 1);
}

static void
store_result(int64 validation_id, int ordinal, const Suite *suite, const Check *check)
{
	static const Oid types[RESULT_COLUMNS] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, JSONBOID,
		INT8OID, INT8OID, INT8OID, FLOAT8OID, FLOAT8OID, JSONBOID, JSONBOID, JSONBOID,
	BOOLOID, TEXTOID};
	Datum		values[RESULT_COLUMNS];
	bool		nulls[RESULT_COLUMNS];
	SqlArg		args[RESULT_COLUMNS + 6];

	pipeline_result_values(check, values, nulls);
	args[0] = sql_int8(validation_id);
	args[1] = sql_int4(ordinal);
	args[2] = sql_role(suite->owner);
	args[3] = sql_text(check->name);
	for (int i = 0; i < RESULT_COLUMNS; i++)
		args[i + 4] = sql_datum(types[i], values[i], nulls[i]);
	args[RESULT_COLUMNS + 4] = sql_jsonb(check->kwargs);
	args[RESULT_COLUMNS + 5] = sql_text(check->row_condition);
	pipeline_sql_run("INSERT INTO pipeline.expectation_results (validation_id, ordinal, owner, name, type, \"column\","
					 " severity, success, observed_value, element_count, missing_count, unexpected_count,"
					 " unexpected_percent, unexpected_percent_total, partial_unexpected_list,"
					 " partial_unexpected_keys, details, proved, error, kwargs, row_condition)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
					 SPI_OK_INSERT, false, lengthof(args), args);
}

/* The labels of an alert of a check: the suite's, and the fixed ones. */
static Jsonb *
alert_labels(const Suite *suite, const Check *check, const char *dataset)
{
	const char *const keys[] = {"suite", "expectation", "dataset"};
	const char *values[] = {suite->name, check->name, dataset};
	UserScope	scope;
	Jsonb	   *labels;
	bool		isnull;

	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT $1::jsonb || $2::jsonb", SPI_OK_SELECT, sql_jsonb(suite->labels),
				 sql_jsonb(pipeline_jsonb_object(3, keys, values)));
	labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return labels;
}

/*
 * Raise an alert for every check that failed and resolve those of the others,
 * in the order of the names, so that two validations cannot wait for each
 * other.
 */
static void
tell(const Suite *suite, const List *checks, const char *dataset)
{
	ListCell   *lc;

	foreach(lc, checks)
	{
		const Check *check = lfirst(lc);
		char	   *source = psprintf("%s/%s", suite->name, check->name);
		AlertSpec	spec = {.owner = suite->owner,
			.alertname = "CheckFailed",
			.severity = check->severity,
			.source = source
		};

		if (!is_failure(check))
		{
			pipeline_resolve_alerts(suite->owner, "CheckFailed", source);
			continue;
		}
		spec.summary = pipeline_result_summary(check);
		spec.labels = alert_labels(suite, check, dataset);
		spec.detail = pipeline_result_json(check);
		pipeline_raise_alert(&spec);
	}
}

/* Evaluate as the owner of the suite, and leave the target for what follows. */
static int64
evaluate(const Suite *suite, const char *where, bool incremental, const char *slice,
		 List *checks, ScanTarget **target)
{
	UserScope	scope;
	int64		rows;

	pipeline_user_begin(&scope, suite->owner, suite->search_path);
	*target = pipeline_open_target(suite->target, where);
	(*target)->sample_limit = suite->sample_limit;
	(*target)->row_key = suite->row_key;
	(*target)->suite = suite;
	if (pipeline_quarantine_wants_places(suite, *target))
		(*target)->places = palloc0(sizeof(Places));
	if (incremental)
		rows = pipeline_validate_new(suite, *target, checks);
	else if (slice)
		rows = pipeline_validate_slice(suite, *target, checks, slice);
	else
		rows = pipeline_checks_run(*target, checks);
	pipeline_scope_end(&scope);
	return rows;
}

/* Put the rows that failed into the quarantine, as the owner of the suite. */
static int64
put_aside(const Suite *suite, ScanTarget *target, List *checks, int64 validation_id)
{
	UserScope	scope;
	int64		rows;

	pipeline_user_begin(&scope, suite->owner, suite->search_path);
	rows = pipeline_quarantine(suite, target, checks, validation_id);
	pipeline_scope_end(&scope);
	if (rows > 0)
	{
		pipeline_extension_begin(&scope);
		pipeline_sql("UPDATE pipeline.validations SET quarantined = $2 WHERE validation_id = $1", SPI_OK_UPDATE,
					 sql_int8(validation_id), sql_int8(rows));
		pipeline_scope_end(&scope);
	}
	return rows;
}

/*
 * Forget validations of the suite that are older than the setting allows, a
 * few at a time; those whose rows are still held in the quarantine stay.
 */
static void
forget_old(const Suite *suite, int64 validation_id)
{
	UserScope	scope;

	if (pipeline_validation_days == 0)
		return;
	pipeline_extension_begin(&scope);
	pipeline_sql("WITH old AS (SELECT v.validation_id FROM pipeline.validations v WHERE v.suite = $1 AND v.owner = $2"
				 "  AND v.validation_id < $3 AND v.started_at < now() - make_interval(days => $4)"
				 "  AND NOT EXISTS (SELECT FROM pipeline.quarantined_rows q WHERE q.validation_id = v.validation_id AND q.released_at IS NULL)"
				 "  ORDER BY v.validation_id LIMIT 1000)"
				 " DELETE FROM pipeline.quarantined_rows q USING old WHERE q.validation_id = old.validation_id",
				 SPI_OK_DELETE, sql_text(suite->name), sql_role(suite->owner), sql_int8(validation_id),
				 sql_int4(pipeline_validation_days));
	pipeline_sql("DELETE FROM pipeline.validations WHERE validation_id IN (SELECT v.validation_id FROM pipeline.validations v"
				 "  WHERE v.suite = $1 AND v.owner = $2"
				 "  AND v.validation_id < $3 AND v.started_at < now() - make_interval(days => $4)"
				 "  AND NOT EXISTS (SELECT FROM pipeline.quarantined_rows q WHERE q.validation_id = v.validation_id)"
				 "  ORDER BY v.validation_id LIMIT 1000)",
				 SPI_OK_DELETE, sql_text(suite->name), sql_role(suite->owner), sql_int8(validation_id),
				 sql_int4(pipeline_validation_days));
	pipeline_scope_end(&scope);
}

static Datum
validation_result(FunctionCallInfo fcinfo, const Tally *tally, int64 validation_id,
				  int64 quarantined, double total_ms)
{
	TupleDesc	desc;
	Datum		values[9];
	bool		nulls[9] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(tally->success);
	values[1] = Int32GetDatum(tally->evaluated);
	values[2] = Int32GetDatum(tally->failed);
	values[3] = Int32GetDatum(tally->warned);
	values[4] = Int32GetDatum(tally->errored);
	values[5] = Int64GetDatum(tally->rows);
	nulls[5] = tally->rows < 0;
	values[6] = Int64GetDatum(quarantined);
	values[7] = Int64GetDatum(validation_id);
	values[8] = Float8GetDatum(total_ms);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Raise 22023 unless the arguments of an incremental validation go together. */
static void
check_increment(const Suite *suite, const char *where, bool incremental, const char *slice)
{
	if (incremental && (where || slice))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"incremental\" goes with neither \"where_clause\" nor \"slice\"")));
	if (incremental && suite->watermark == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("suite \"%s\" has no watermark", suite->name),
				 errhint("Name a column that grows from row to row: create_suite(..., watermark => 'id'), or alter_suite().")));
	if (slice && (where == NULL || *slice == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"slice\" needs a name, and \"where_clause\" to tell its rows")));
}

PG_FUNCTION_INFO_V1(pipeline_validate);

/* SQL: validate(suite, where_clause, raise_on_failure, incremental, slice, parameters) */
Datum
pipeline_validate(PG_FUNCTION_ARGS)
{
	char	   *where = pipeline_arg_text(fcinfo, 1);
	Jsonb	   *parameters = pipeline_arg_jsonb(fcinfo, 5);
	TimestampTz started = GetCurrentTimestamp();
	instr_time	start;
	instr_time	now;
	UserScope	scope;
	Suite	   *suite;
	List	   *checks;
	ListCell   *lc;
	ScanTarget *target;
	int64		rows;
	int64		quarantined;
	Tally		tally;
	int64		validation_id;

	pipeline_not_null(fcinfo, 0, "suite");
	pipeline_not_null(fcinfo, 2, "raise_on_failure");
	pipeline_not_null(fcinfo, 3, "incremental");
	if (parameters && !JB_ROOT_IS_OBJECT(parameters))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"parameters\" must be a JSON object")));
	INSTR_TIME_SET_CURRENT(start);
	SPI_connect();
	suite = pipeline_suite(pipeline_arg_text(fcinfo, 0), false, false);
	if (where)
		pipeline_check_author(suite->owner, "suite", suite->name, "where_clause");
	check_increment(suite, where, PG_GETARG_BOOL(3), pipeline_arg_text(fcinfo, 4));
	checks = pipeline_suite_checks(suite, parameters, true);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	rows = evaluate(suite, where, PG_GETARG_BOOL(3), pipeline_arg_text(fcinfo, 4), checks, &target);
	pipeline_quarantine_held(suite, checks);
	tally = count_up(checks, rows);
	if (PG_GETARG_BOOL(2) && !tally.success)
		raise_failure(suite, checks, &tally);

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	pipeline_extension_begin(&scope);
	validation_id = store_validation(suite, where, parameters, started, &tally, INSTR_TIME_GET_MILLISEC(now));
	foreach(lc, checks)
		store_result(validation_id, foreach_current_index(lc) + 1, suite, lfirst(lc));
	pipeline_scope_end(&scope);
	quarantined = put_aside(suite, target, checks, validation_id);
	forget_old(suite, validation_id);
	PopActiveSnapshot();
	tell(suite, checks, OidIsValid(target->source->relid) ?
		 pipeline_qualified_name(target->source->relid) : NULL);
	SPI_finish();
	PG_RETURN_DATUM(validation_result(fcinfo, &tally, validation_id, quarantined, INSTR_TIME_GET_MILLISEC(now)));
}

/* ---- check_now -------------------------------------------------------------- */

/* Read one element of check_now's argument. */
static Check *
now_check(const JsonbValue *element, int number)
{
	static const char *const keys[] = {"type", "kwargs", "severity", "row_condition", NULL};
	Check	   *check = palloc0(sizeof(Check));
	Jsonb	   *object;
	JsonbValue	buf;
	JsonbValue *v;
	char	   *type;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("element %d of argument \"expectations\" is not an object", number)));
	object = JsonbValueToJsonb((JsonbValue *) element);
	pipeline_check_keys(object, "expectations", keys);
	type = pipeline_jsonb_key(object, "type");
	if (type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("element %d of argument \"expectations\" lacks the key \"type\"", number)));
	check->type = pipeline_expectation_type(type);
	v = pipeline_kwarg(object, "kwargs", &buf);
	check->kwargs = v ? JsonbValueToJsonb(v) : pipeline_jsonb_object(0, NULL, NULL);
	if (pipeline_has_parameters(check->kwargs))
	{
		pipeline_check_parameter_keys(check->type, check->kwargs);
		check->kwargs = pipeline_bind_parameters(check->kwargs, pipeline_jsonb_object(0, NULL, NULL), NULL);
	}
	pipeline_check_kwargs(check->type, check->kwargs);
	check->severity = pipeline_jsonb_key(object, "severity");
	if (check->severity == NULL)
		check->severity = pstrdup("error");
	pipeline_check_choice("severity", check->severity, severities);
	check->row_condition = pipeline_row_condition(check->kwargs, pipeline_jsonb_key(object, "row_condition"));
	if (check->row_condition)
		(void) pipeline_expression(check->row_condition, "row_condition");
	return check;
}

static List *
now_checks(const Jsonb *expectations)
{
	List	   *checks = NIL;
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_ARRAY(expectations) || JB_ROOT_IS_SCALAR(expectations) ||
		JB_ROOT_COUNT(expectations) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"expectations\" must be a JSON array that is not empty"),
				 errhint("Its elements are objects, such as {\"type\": \"expect_column_to_exist\", \"kwargs\": {\"column\": \"id\"}}.")));
	it = JsonbIteratorInit((JsonbContainer *) &expectations->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			checks = lappend(checks, now_check(&v, list_length(checks) + 1));
	}
	return checks;
}

PG_FUNCTION_INFO_V1(pipeline_check_now);

/* SQL: check_now(target, expectations) */
Datum
pipeline_check_now(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ScanTarget *target;
	List	   *checks;
	ListCell   *lc;

	pipeline_not_null(fcinfo, 0, "target");
	pipeline_not_null(fcinfo, 1, "expectations");
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	checks = now_checks(pipeline_arg_jsonb(fcinfo, 1));
	target = pipeline_open_target(pipeline_arg_text(fcinfo, 0), NULL);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) pipeline_checks_run(target, checks);
	PopActiveSnapshot();
	foreach(lc, checks)
	{
		Datum		values[RESULT_COLUMNS];
		bool		nulls[RESULT_COLUMNS];

		pipeline_result_values(lfirst(lc), values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
