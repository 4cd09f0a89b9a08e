/*
 * expectation.c
 *	  expect and drop_expectation.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "alert/alert.h"
#include "expect/check.h"

static const char *const severities[] = {"info", "warning", "error", "critical", NULL};

/* The name of an expectation that was given none. */
char *
pipeline_expectation_name(const char *type, const Jsonb *kwargs)
{
	char	   *column = kwargs != NULL && JB_ROOT_IS_OBJECT(kwargs) ?
		pipeline_check_columns_text(kwargs) : NULL;

	return column ? psprintf("%s(%s)", type, column) : pstrdup(type);
}

/* The definition of an expectation as JSON, or NULL. */
static Jsonb *
definition(const char *suite, const char *name)
{
	UserScope	scope;
	Jsonb	   *before = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT to_jsonb(e) FROM pipeline.expectations e WHERE suite = $1 AND name = $2",
					 SPI_OK_SELECT, sql_text(suite), sql_text(name)) > 0)
		before = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return before;
}

/* Insert or replace; returns the expectation_id. */
static int64
write_expectation(const Suite *suite, const ExpectationType *type,
				  const Jsonb *kwargs, const char *severity, const char *name,
				  const char *row_condition)
{
	UserScope	scope;
	Jsonb	   *before = definition(suite->name, name);
	Jsonb	   *after;
	int64		id;
	bool		isnull;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.expectations AS e (suite, name, owner, type, kwargs, severity, row_condition)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (suite, name) DO UPDATE"
				 " SET type = $4, kwargs = $5, severity = $6, row_condition = $7, defined_at = now()"
				 " RETURNING expectation_id, to_jsonb(e)", SPI_OK_INSERT_RETURNING,
				 sql_text(suite->name), sql_text(name), sql_role(suite->owner),
				 sql_text(type->name), sql_jsonb(kwargs), sql_text(severity),
				 sql_text(row_condition));
	id = pipeline_sql_int8(0, 1);
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	pipeline_scope_end(&scope);
	pipeline_record_change("expect", "expectation", psprintf("%s/%s", suite->name, name),
						   before, after, NULL);
	return id;
}

PG_FUNCTION_INFO_V1(pipeline_expect);

/* SQL: expect(suite, type, kwargs, severity, name, row_condition) */
Datum
pipeline_expect(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"suite", "type", "kwargs", "severity"};
	const ExpectationType *type;
	Jsonb	   *kwargs;
	char	   *severity;
	char	   *name;
	char	   *row_condition;
	char	   *condition;
	Suite	   *suite;
	int64		id;

	for (int i = 0; i < 4; i++)
		pipeline_not_null(fcinfo, i, names[i]);
	type = pipeline_expectation_type(pipeline_arg_text(fcinfo, 1));
	kwargs = pipeline_arg_jsonb(fcinfo, 2);
	if (pipeline_has_parameters(kwargs))
	{
		/* Values are checked when there are some, at validation. */
		pipeline_check_kwarg_names(type, kwargs);
		pipeline_check_parameter_keys(type, kwargs);
		(void) pipeline_bind_parameters(kwargs, NULL, NULL);
	}
	else
		pipeline_check_kwargs(type, kwargs);
	severity = pipeline_arg_text(fcinfo, 3);
	pipeline_check_choice("severity", severity, severities);
	name = PG_ARGISNULL(4) ? pipeline_expectation_name(type->name, kwargs) : pipeline_arg_text(fcinfo, 4);
	pipeline_check_name("check", name);
	row_condition = pipeline_arg_text(fcinfo, 5);
	condition = pipeline_row_condition(kwargs, row_condition);
	if (condition)
		(void) pipeline_expression(condition, "row_condition");

	SPI_connect();
	suite = pipeline_suite(pipeline_arg_text(fcinfo, 0), false, true);
	if (condition)
		pipeline_check_author(suite->owner, "suite", suite->name, "row_condition");
	if (type->kind == CHECK_QUERY || type->kind == CHECK_WINDOW || type->sub == SUB_DRIFT)
		pipeline_check_author(suite->owner, "suite", suite->name, "kwargs");
	id = write_expectation(suite, type, kwargs, severity, name, row_condition);
	SPI_finish();
	PG_RETURN_INT64(id);
}

PG_FUNCTION_INFO_V1(pipeline_drop_expectation);

/* SQL: drop_expectation(suite, name) */
Datum
pipeline_drop_expectation(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	Suite	   *suite;
	char	   *name;
	char	   *path;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "suite");
	pipeline_not_null(fcinfo, 1, "name");
	name = pipeline_arg_text(fcinfo, 1);
	SPI_connect();
	suite = pipeline_suite(pipeline_arg_text(fcinfo, 0), false, true);
	before = definition(suite->name, name);
	if (before == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("expectation \"%s\" of suite \"%s\" does not exist", name, suite->name),
				 errhint("The table pipeline.expectations lists them.")));
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.expectations WHERE suite = $1 AND name = $2", SPI_OK_DELETE,
				 sql_text(suite->name), sql_text(name));
	pipeline_scope_end(&scope);
	path = psprintf("%s/%s", suite->name, name);
	pipeline_resolve_alerts(suite->owner, "CheckFailed", path);
	pipeline_record_change("drop_expectation", "expectation", path, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
