/*
 * report.c
 *	  validation_report and import_suite: Great Expectations' JSON, out and in.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "expect/check.h"

PG_FUNCTION_INFO_V1(pipeline_validation_report);

/* SQL: validation_report(validation_id, version) */
Datum
pipeline_validation_report(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *version;
	bool		old;
	bool		isnull;
	Jsonb	   *report;
	Oid			owner;
	char	   *suite;
	int64		id;

	pipeline_not_null(fcinfo, 0, "validation_id");
	pipeline_not_null(fcinfo, 1, "version");
	version = pipeline_arg_text(fcinfo, 1);
	old = strncmp(version, "0.18", 4) == 0;
	if (!old && strncmp(version, "1.", 2) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"version\" must be 0.18 or 1.x"),
				 errdetail("It is \"%s\".", version)));
	id = PG_GETARG_INT64(0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT v.owner::oid, v.suite, jsonb_build_object('success', v.success,"
					 " 'statistics', jsonb_build_object('evaluated_expectations', v.evaluated + v.errored,"
					 "  'successful_expectations', x.passed, 'unsuccessful_expectations', v.evaluated + v.errored - x.passed,"
					 "  'success_percent', 100.0 * x.passed / nullif(v.evaluated + v.errored, 0)),"
					 " 'meta', jsonb_build_object('great_expectations_version', CASE WHEN $2 THEN '0.18.21' ELSE '1.2.0' END,"
					 "  'expectation_suite_name', v.suite, 'validation_id', v.validation_id::text, 'validation_time', v.started_at, 'run_id', jsonb_build_object('run_name', v.run_id::text,"
					 "  'run_time', v.started_at)),"
					 " 'results', coalesce(x.results, '[]'))"
					 " || CASE WHEN $2 THEN jsonb_build_object('evaluation_parameters', coalesce(v.parameters, '{}'))"
					 "    ELSE jsonb_build_object('suite_parameters', coalesce(v.parameters, '{}'), 'suite_name', v.suite) END"
					 " FROM pipeline.validations v, LATERAL (SELECT count(*) FILTER (WHERE r.success) AS passed,"
					 "  jsonb_agg(jsonb_build_object('success', coalesce(r.success, false),"
					 "   'expectation_config', jsonb_build_object(CASE WHEN $2 THEN 'expectation_type' ELSE 'type' END, r.type,"
					 "     'kwargs', r.kwargs || CASE WHEN r.row_condition IS NULL OR r.kwargs ? 'row_condition' THEN '{}'"
					 "       ELSE jsonb_build_object('row_condition', r.row_condition, 'condition_parser', 'spark') END,"
					 "     'meta', jsonb_build_object('pipeline', jsonb_build_object('name', r.name, 'severity', r.severity))),"
					 "   'result', pipeline._result_json(r), 'meta', '{}'::jsonb,"
					 "   'exception_info', jsonb_build_object('raised_exception', r.error IS NOT NULL, 'exception_message', r.error,"
					 "     'exception_traceback', NULL)) ORDER BY r.ordinal) AS results"
					 "  FROM pipeline.expectation_results r WHERE r.validation_id = v.validation_id) AS x"
					 " WHERE v.validation_id = $1", SPI_OK_SELECT, sql_int8(id), sql_bool(old)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("validation %lld does not exist", (long long) id),
				 errhint("The table pipeline.validations lists yours.")));
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	suite = pipeline_sql_text(0, 2);
	report = DatumGetJsonbP(pipeline_sql_datum(0, 3, &isnull));
	report = (Jsonb *) memcpy(SPI_palloc(VARSIZE(report)), report, VARSIZE(report));
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "suite", suite);
	SPI_finish();
	PG_RETURN_JSONB_P(report);
}

/* ---- import ---------------------------------------------------------------------- */

/* Keys of kwargs that tell the tool how to run, not what to expect. */
static const char *const running_keys[] = {"batch_id", "catch_exceptions", "include_config", "auto",
	"profiler_config", "meta", "notes", "id", "description", "rendered_content", "windows", "severity",
"expectation_context", "table", "domain_kwargs"};

typedef struct Import
{
	const char *suite;
	List	   *names;			/* given so far */
	int			number;			/* of the expectation at hand */
} Import;

static char *
json_text(const Jsonb *value)
{
	return JsonbToCString(NULL, (JsonbContainer *) &value->root, VARSIZE(value));
}

/* The kwargs without what only runs the tool. */
static Jsonb *
imported_kwargs(const Jsonb *kwargs)
{
	StringInfoData buf;
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &kwargs->root);
	JsonbValue	key;
	JsonbIteratorToken token;

	initStringInfo(&buf);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;
		Jsonb	   *value;
		bool		skip = false;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		for (int i = 0; i < lengthof(running_keys); i++)
			skip = skip || strcmp(name, running_keys[i]) == 0;
		value = pipeline_kwarg_json(kwargs, name);
		if (skip || value == NULL)
			continue;
		appendStringInfo(&buf, "%s", buf.len ? ", " : "");
		escape_json(&buf, name);
		appendStringInfo(&buf, ": %s", json_text(value));
	}
	return pipeline_jsonb_from(psprintf("{%s}", buf.data));
}

/* The name of an expectation: its own, or one that no other has yet. */
static char *
free_name(Import *im, const char *given, const char *type, const Jsonb *kwargs)
{
	char	   *base = given ? pstrdup(given) : pipeline_expectation_name(type, kwargs);
	char	   *name = base;

	for (int i = 2; pipeline_list_has(im->names, name); i++)
		name = psprintf("%s %d", base, i);
	im->names = lappend(im->names, name);
	return name;
}

/* Run a call of one of our functions as the caller. */
static void
call(const char *sql, int nargs, SqlArg *args)
{
	Oid			types[8];
	Datum		values[8];
	char		nulls[9];

	for (int i = 0; i < nargs; i++)
	{
		types[i] = args[i].type;
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	nulls[nargs] = '\0';
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "statement failed: %s", sql);
}

/* An error says where in the JSON it is. */
static void
import_context(void *arg)
{
	errcontext("expectation %d of the suite", ((Import *) arg)->number);
}

/* Define one expectation of the JSON. */
static void
import_one(Import *im, const Jsonb *config)
{
	char	   *type = pipeline_jsonb_key(config, "type");
	Jsonb	   *kwargs = pipeline_kwarg_json(config, "kwargs");
	Jsonb	   *meta = pipeline_kwarg_json(config, "meta");
	Jsonb	   *ours = meta && JB_ROOT_IS_OBJECT(meta) ? pipeline_kwarg_json(meta, "pipeline") : NULL;
	char	   *severity = ours ? pipeline_jsonb_key(ours, "severity") : pipeline_jsonb_key(config, "severity");
	char	   *condition = ours ? pipeline_jsonb_key(ours, "row_condition") : NULL;
	SqlArg		args[6];
	ErrorContextCallback context = {.callback = import_context, .arg = im, .previous = error_context_stack};

	error_context_stack = &context;
	if (type == NULL)
		type = pipeline_jsonb_key(config, "expectation_type");
	if (type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expectation %d of the suite has no type", im->number)));
	kwargs = kwargs ? imported_kwargs(kwargs) : pipeline_jsonb_object(0, NULL, NULL);
	/* What export_suite() wrote for the tool it wrote for us as well. */
	if (condition)
	{
		args[0] = sql_jsonb(kwargs);
		call("SELECT $1 OPERATOR(pg_catalog.-) '{row_condition,condition_parser}'::pg_catalog.text[]", 1, args);
		{
			bool		isnull;

			kwargs = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
		}
	}
	args[0] = sql_text(im->suite);
	args[1] = sql_text(type);
	args[2] = sql_jsonb(kwargs);
	args[3] = sql_text(severity ? severity : "error");
	args[4] = sql_text(free_name(im, ours ? pipeline_jsonb_key(ours, "name") : NULL, type, kwargs));
	args[5] = sql_text(condition);
	call("SELECT pipeline.expect($1, $2, $3, $4, $5, $6)", 6, args);
	error_context_stack = context.previous;
}

/* Make the suite anew: an old one of that name goes, if it may. */
static void
make_suite(const char *name, const char *target, bool or_replace, const Jsonb *parameters)
{
	SqlArg		args[3];

	if (or_replace && pipeline_suite(name, true, true) != NULL)
	{
		args[0] = sql_text(name);
		call("SELECT pipeline.drop_expectation(e.suite, e.name) FROM pipeline.expectations AS e"
			 " WHERE e.suite OPERATOR(pg_catalog.=) $1", 1, args);
	}
	args[0] = sql_text(name);
	args[1] = sql_text(target);
	args[2] = sql_jsonb(parameters);
	call(or_replace ? "SELECT pipeline.create_suite($1, $2, parameters => $3, or_replace => true)" :
		 "SELECT pipeline.create_suite($1, $2, parameters => $3)", 3, args);
}

PG_FUNCTION_INFO_V1(pipeline_import_suite);

/* SQL: import_suite(name, target, suite, or_replace) */
Datum
pipeline_import_suite(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "target", "suite", "or_replace"};
	Import		im = {0};
	Jsonb	   *suite;
	Jsonb	   *list;
	Jsonb	   *parameters;

	for (int i = 0; i < lengthof(names); i++)
		pipeline_not_null(fcinfo, i, names[i]);
	suite = pipeline_arg_jsonb(fcinfo, 2);
	list = JB_ROOT_IS_OBJECT(suite) ? pipeline_kwarg_json(suite, "expectations") : NULL;
	if (list == NULL || !JB_ROOT_IS_ARRAY(list) || JB_ROOT_IS_SCALAR(list))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"suite\" is not the JSON of a suite"),
				 errdetail("It has no array \"expectations\".")));
	im.suite = pipeline_arg_text(fcinfo, 0);
	parameters = pipeline_kwarg_json(suite, "suite_parameters");
	if (parameters == NULL)
		parameters = pipeline_kwarg_json(suite, "evaluation_parameters");
	SPI_connect();
	make_suite(im.suite, pipeline_arg_text(fcinfo, 1), PG_GETARG_BOOL(3), parameters);
	for (int i = 0; i < JB_ROOT_COUNT(list); i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer(&list->root, i);

		im.number = i + 1;
		if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("expectation %d of the suite is not an object", im.number)));
		import_one(&im, JsonbValueToJsonb(v));
	}
	SPI_finish();
	PG_RETURN_INT32(im.number);
}
