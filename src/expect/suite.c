/*
 * suite.c
 *	  create_suite, drop_suite, and reading a suite back.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "alert/alert.h"
#include "expect/check.h"

#define MAX_ROW_KEY 32
#define MAX_SAMPLE_LIMIT 10000

/*
 * Read a suite and check that the current user has its owner's rights.  NULL
 * if there is none and that is fine.  `lock` it to change it; validations of
 * one suite may run side by side.  Inside an SPI connection.
 */
Suite *
pipeline_suite(const char *name, bool missing_ok, bool lock)
{
	UserScope	scope;
	Suite	   *suite = NULL;
	bool		isnull;
	Datum		value;

	pipeline_extension_begin(&scope);
	if (lock)
		pipeline_sql("SELECT FROM pipeline.suites WHERE name = $1 FOR UPDATE",
					 SPI_OK_SELECT, sql_text(name));
	if (pipeline_sql("SELECT owner::oid, target, search_path, sample_limit, row_key, labels, to_jsonb(s), quarantine, watermark, parameters"
					 " FROM pipeline.suites s WHERE name = $1", SPI_OK_SELECT,
					 sql_text(name)) > 0)
	{
		suite = palloc0(sizeof(Suite));
		suite->name = pstrdup(name);
		suite->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
		suite->target = pipeline_sql_text(0, 2);
		suite->search_path = pipeline_sql_text(0, 3);
		suite->sample_limit = (int) pipeline_sql_int8(0, 4);
		value = pipeline_sql_datum(0, 5, &isnull);
		if (!isnull)
			suite->row_key = pipeline_array_list(DatumGetArrayTypeP(value), "row_key");
		suite->labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 6, &isnull));
		suite->definition = DatumGetJsonbPCopy(pipeline_sql_datum(0, 7, &isnull));
		suite->quarantine = pipeline_sql_text(0, 8);
		suite->watermark = pipeline_sql_text(0, 9);
		suite->parameters = DatumGetJsonbPCopy(pipeline_sql_datum(0, 10, &isnull));
	}
	pipeline_scope_end(&scope);
	if (suite != NULL)
		pipeline_check_owner(suite->owner, "suite", name);
	else if (!missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("suite \"%s\" does not exist", name),
				 errhint("The table pipeline.suites lists yours; create_suite() makes one.")));
	return suite;
}

/* Open the target and look for the columns of the key. */
static void
check_target(const char *target, const ArrayType *row_key, const char *quarantine,
			 const char *watermark)
{
	static const char *const choices[] = {"none", "copy", "move", NULL};
	Source	   *source = pipeline_source(target, "target");
	List	   *columns = pipeline_array_list(row_key, "row_key");
	ListCell   *lc;

	if (list_length(columns) > MAX_ROW_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"row_key\" has more than %d columns", MAX_ROW_KEY)));
	foreach(lc, columns)
		(void) pipeline_source_column(source, lfirst(lc), "row_key");
	pipeline_check_choice("quarantine", quarantine, choices);
	pipeline_quarantine_check(source, quarantine);
	if (watermark)
		(void) pipeline_source_column(source, watermark, "watermark");
}

/* The alerts of a check have the source "suite/check": it must say which. */
static void
check_suite_name(const char *name)
{
	pipeline_check_name("suite", name);
	if (strchr(name, '/') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a suite: \"%s\"", name),
				 errdetail("Its alerts have the source \"suite/check\"."),
				 errhint("Use a name without a slash.")));
}

/* The arguments of create_suite that have defaults and take no NULL. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const struct
	{
		int			argument;
		const char *name;
	}			required[] = {
		{0, "name"}, {1, "target"}, {2, "sample_limit"}, {4, "quarantine"}, {6, "or_replace"}
	};

	for (int i = 0; i < lengthof(required); i++)
		pipeline_not_null(fcinfo, required[i].argument, required[i].name);
	check_suite_name(pipeline_arg_text(fcinfo, 0));
	if (PG_GETARG_INT32(2) < 0 || PG_GETARG_INT32(2) > MAX_SAMPLE_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"sample_limit\" must be from 0 to %d", MAX_SAMPLE_LIMIT),
				 errdetail("It is %d.", PG_GETARG_INT32(2))));
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 5), "labels");
	if (!PG_ARGISNULL(9) && !JB_ROOT_IS_OBJECT(pipeline_arg_jsonb(fcinfo, 9)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"parameters\" must be a JSON object")));
	check_target(pipeline_arg_text(fcinfo, 1), pipeline_arg_array(fcinfo, 3),
				 pipeline_arg_text(fcinfo, 4), pipeline_arg_text(fcinfo, 8));
}

/* Write the row of a suite; returns its definition. */
static Jsonb *
write_suite(FunctionCallInfo fcinfo, const Suite *before, const char *search_path)
{
	UserScope	scope;
	Oid			owner = before ? before->owner : GetUserId();
	char	   *name = pipeline_arg_text(fcinfo, 0);
	ArrayType  *row_key = pipeline_arg_array(fcinfo, 3);
	Jsonb	   *after;
	bool		isnull;

	if (row_key != NULL && ArrayGetNItems(ARR_NDIM(row_key), ARR_DIMS(row_key)) == 0)
		row_key = NULL;
	pipeline_extension_begin(&scope);
	if (before == NULL &&
		pipeline_sql("INSERT INTO pipeline.suites (name, owner, target, search_path, sample_limit, quarantine, labels)"
					 " VALUES ($1, $2, '', '', 0, 'none', '{}') ON CONFLICT DO NOTHING", SPI_OK_INSERT,
					 sql_text(name), sql_role(owner)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("suite \"%s\" already exists", name),
				 errhint("Use or_replace => true to replace it, if it is yours.")));
	pipeline_sql("UPDATE pipeline.suites s SET target = $2, search_path = $3, sample_limit = $4, row_key = $5,"
				 " quarantine = $6, labels = coalesce($7, '{}'), description = $8, watermark = $9, parameters = coalesce($10, '{}')"
				 " WHERE name = $1 RETURNING to_jsonb(s)", SPI_OK_UPDATE_RETURNING,
				 sql_text(name), sql_text(pipeline_arg_text(fcinfo, 1)), sql_text(search_path),
				 sql_int4(PG_GETARG_INT32(2)), sql_array(row_key),
				 sql_text(pipeline_arg_text(fcinfo, 4)), sql_jsonb(pipeline_arg_jsonb(fcinfo, 5)),
				 sql_text(pipeline_arg_text(fcinfo, 7)), sql_text(pipeline_arg_text(fcinfo, 8)),
				 sql_jsonb(pipeline_arg_jsonb(fcinfo, 9)));
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return after;
}

/* States of another target, or another watermark, say nothing any more. */
static void
forget_states(const Suite *before, FunctionCallInfo fcinfo)
{
	UserScope	scope;
	char	   *watermark = pipeline_arg_text(fcinfo, 8);

	if (strcmp(before->target, pipeline_arg_text(fcinfo, 1)) == 0 &&
		(before->watermark == NULL) == (watermark == NULL) &&
		(watermark == NULL || strcmp(before->watermark, watermark) == 0))
		return;
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.validation_states WHERE suite = $1", SPI_OK_DELETE, sql_text(before->name));
	pipeline_scope_end(&scope);
}

PG_FUNCTION_INFO_V1(pipeline_create_suite);

/* SQL: create_suite(...) */
Datum
pipeline_create_suite(PG_FUNCTION_ARGS)
{
	char	   *search_path = pipeline_search_path();
	Suite	   *before;
	Jsonb	   *after;

	check_arguments(fcinfo);
	SPI_connect();
	before = PG_GETARG_BOOL(6) ? pipeline_suite(pipeline_arg_text(fcinfo, 0), true, true) : NULL;
	if (before)
		pipeline_check_author(before->owner, "suite", before->name, "target");
	after = write_suite(fcinfo, before, search_path);
	if (before)
		forget_states(before, fcinfo);
	pipeline_record_change("create_suite", "suite", pipeline_arg_text(fcinfo, 0),
						   before ? before->definition : NULL, after, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_suite);

/* SQL: drop_suite(name) */
Datum
pipeline_drop_suite(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	Suite	   *suite;
	uint64		n;
	char	  **names;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	suite = pipeline_suite(name, false, true);
	pipeline_extension_begin(&scope);
	n = pipeline_sql("DELETE FROM pipeline.expectations WHERE suite = $1 RETURNING name",
					 SPI_OK_DELETE_RETURNING, sql_text(name));
	names = palloc_array(char *, n + 1);
	for (uint64 i = 0; i < n; i++)
		names[i] = pipeline_sql_text(i, 1);
	pipeline_sql("DELETE FROM pipeline.suites WHERE name = $1", SPI_OK_DELETE, sql_text(name));
	pipeline_scope_end(&scope);
	for (uint64 i = 0; i < n; i++)
		pipeline_resolve_alerts(suite->owner, "CheckFailed", psprintf("%s/%s", name, names[i]));
	pipeline_record_change("drop_suite", "suite", name, suite->definition, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
