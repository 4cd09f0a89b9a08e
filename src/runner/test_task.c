/*
 * test_task.c
 *	  test_task(): run a task's command here and now, and take it back.
 *
 * The command is its owner's.  So that whoever tests it does not run it with
 * rights that its owner has not, it runs as the owner; and only for members of
 * that role, so that nobody gains rights by testing.  When caller and owner
 * are not the same, what runs is security-restricted like any function of
 * somebody else: it cannot leave traps in the session.
 *
 * Data that is given is laid over relations: a temporary table of the same
 * name and columns, which names without a schema find first, and names with
 * one are pointed to when the command is parsed.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

typedef struct Overlay
{
	Oid			relid;			/* of what is overlaid */
	char	   *name;			/* of it and of the temporary table */
	char	   *table;			/* pg_temp.name, quoted */
	char	   *rows;			/* JSON array */
} Overlay;

typedef struct TaskTest
{
	PipelineDef *def;
	Claim		claim;
	List	   *overlays;
	char	   *map_key;		/* of the mapped run; NULL: the task itself */
	MemoryContext context;
	CommandResult result;
} TaskTest;

/* What the statements are pointed to; a test does not nest. */
static List *current_overlays = NIL;

/* ---- what is given ------------------------------------------------------------- */

static void
check_rows(JsonbValue *value, const char *key, const Source *source)
{
	JsonbContainer *array = value->val.binary.data;

	if (value->type != jbvBinary || !JsonContainerIsArray(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of argument \"given\" must be an array of objects", key),
				 errhint("Each object is a row, by column name.")));
	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *row = getIthJsonbValueFromContainer(array, i);
		JsonbIterator *it;
		JsonbValue	v;
		JsonbIteratorToken token;

		if (row->type != jbvBinary || !JsonContainerIsObject(row->val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" of argument \"given\" must be an array of objects", key),
					 errhint("Each object is a row, by column name.")));
		it = JsonbIteratorInit(row->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		{
			if (token == WJB_KEY)
				(void) pipeline_source_column(source, pnstrdup(v.val.string.val, v.val.string.len), "given");
		}
	}
}

static Overlay *
read_overlay(const char *key, JsonbValue *value)
{
	Overlay    *overlay = palloc0_object(Overlay);
	Source	   *source = pipeline_source(key, "given");
	Jsonb	   *rows;

	if (!OidIsValid(source->relid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of argument \"given\" is not a table or view", key)));
	check_rows(value, key, source);
	overlay->relid = source->relid;
	overlay->name = get_rel_name(source->relid);
	overlay->table = quote_qualified_identifier("pg_temp", overlay->name);
	rows = JsonbValueToJsonb(value);
	overlay->rows = JsonbToCString(NULL, &rows->root, VARSIZE(rows));
	return overlay;
}

static List *
read_overlays(const Jsonb *given)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *key = NULL;
	List	   *overlays = NIL;
	List	   *names = NIL;

	if (given == NULL)
		return NIL;
	if (!JB_ROOT_IS_OBJECT(given))
		pipeline_check_keys(given, "given", NULL);
	it = JsonbIteratorInit((JsonbContainer *) &given->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		Overlay    *overlay;

		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		if (token != WJB_VALUE)
			continue;
		overlay = read_overlay(key, &v);
		if (pipeline_list_has(names, overlay->name))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("argument \"given\" has two relations named \"%s\"", overlay->name),
					 errhint("They become temporary tables of that name, of which there can be one.")));
		names = lappend(names, overlay->name);
		overlays = lappend(overlays, overlay);
	}
	return overlays;
}

/* Make the tables as the caller: an owner may not be allowed to. */
static void
make_tables(const TaskTest *test)
{
	ListCell   *lc;

	foreach(lc, test->overlays)
	{
		Overlay    *overlay = lfirst(lc);

		/* No row is read and nothing of the relation's is evaluated. */
		(void) pipeline_sql_generated(psprintf("CREATE TEMPORARY TABLE %s AS SELECT * FROM %s WITH NO DATA",
											   overlay->table, pipeline_qualified_name(overlay->relid)),
									  SPI_OK_UTILITY, false);
		if (test->def->owner != GetUserId())
			(void) pipeline_sql_generated(psprintf("GRANT ALL ON %s TO %s", overlay->table,
												   quote_identifier(GetUserNameFromId(test->def->owner, false))),
										  SPI_OK_UTILITY, false);
	}
}

/* Fill them as the owner: to read a value can run what its type says. */
static void
fill_tables(const TaskTest *test)
{
	ListCell   *lc;

	foreach(lc, test->overlays)
	{
		Overlay    *overlay = lfirst(lc);

		(void) pipeline_sql_generated(psprintf("INSERT INTO %s SELECT * FROM pg_catalog.jsonb_populate_recordset(NULL::%s, %s)",
											   overlay->table, overlay->table,
											   quote_literal_cstr(overlay->rows)),
									  SPI_OK_INSERT, false);
	}
}

/* ---- pointing the command to it --------------------------------------------------- */

static bool
point_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar) && ((RangeVar *) node)->schemaname != NULL)
	{
		RangeVar   *rv = (RangeVar *) node;
		Oid			relid = RangeVarGetRelid(rv, NoLock, true);
		ListCell   *lc;

		foreach(lc, current_overlays)
		{
			if (((Overlay *) lfirst(lc))->relid != relid)
				continue;
			rv->catalogname = NULL;
			rv->schemaname = pstrdup("pg_temp");
		}
		return false;
	}
	return raw_expression_tree_walker(node, point_walker, context);
}

/* Point the names with a schema in one statement to the tables. */
static void
point_statement(RawStmt *raw)
{
	Node	   *stmt = raw->stmt;

	if (IsA(stmt, CreateTableAsStmt))
		stmt = ((CreateTableAsStmt *) stmt)->query;
	switch (nodeTag(stmt))
	{
		case T_SelectStmt:
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
		case T_MergeStmt:
			(void) point_walker(stmt, NULL);
			break;
		default:
			break;
	}
}

/* ---- the run ------------------------------------------------------------------------ */

/* Set, or with NULL leave, the context of the task. */
static void
set_context(const TaskTest *test)
{
	current_overlays = test ? test->overlays : NIL;
	runner_set_claim(test ? &test->claim : NULL);
	runner_set_rewriter(current_overlays ? point_statement : NULL);
}

/* Turn the claim of a task whose foreach has run into that of one mapped run. */
static void
map_claim(TaskTest *test)
{
	ListCell   *lc;

	foreach(lc, test->result.mapped)
	{
		MappedRow  *row = lfirst(lc);

		if (strcmp(row->key, test->map_key) != 0)
			continue;
		test->claim.foreach = test->claim.condition = test->claim.wait_for = NULL;
		test->claim.mapped_task = test->claim.task;
		test->claim.item = row->item;
		memset(&test->result, 0, sizeof(CommandResult));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("foreach of task \"%s\" returns no row with key \"%s\"", test->claim.task, test->map_key)));
}

/* The command, or for a mapped run foreach and then the command. */
static void
run_parts(TaskTest *test)
{
	runner_run_command(&test->claim, test->context, &test->result);
	if (test->map_key == NULL || test->result.waiting || test->result.skipped)
		return;
	map_claim(test);
	runner_run_command(&test->claim, test->context, &test->result);
}

/* Run the command in its context, which is never left behind. */
static void
run_command(TaskTest *test)
{
	set_context(test);
	PG_TRY();
	{
		run_parts(test);
	}
	PG_CATCH();
	{
		set_context(NULL);
		PG_RE_THROW();
	}
	PG_END_TRY();
	set_context(NULL);
}

/* All of it, to be taken back. */
static bool
try_command(void *arg)
{
	TaskTest   *test = arg;
	UserScope	scope;

	make_tables(test);
	pipeline_user_begin(&scope, test->def->owner, pipeline_search_path());
	(void) set_config_option("TimeZone", test->def->timezone, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	fill_tables(test);
	run_command(test);
	pipeline_scope_end(&scope);
	return false;
}

static void
load_task(TaskTest *test, const char *task)
{
	UserScope	scope;
	bool		isnull;
	Claim	   *claim = &test->claim;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT t.command, t.condition, t.wait_for, p.labels || t.labels, t.foreach, t.map_key"
					 " FROM pipeline.tasks t JOIN pipeline.pipelines p USING (pipeline)"
					 " WHERE t.pipeline = $1 AND t.task = $2",
					 SPI_OK_SELECT, sql_text(test->def->name), sql_text(task)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" of pipeline \"%s\" does not exist", task, test->def->name),
				 errhint("Table pipeline.tasks lists a pipeline's tasks.")));
	claim->attempt = 1;
	claim->owner = test->def->owner;
	claim->pipeline = test->def->name;
	claim->task = pstrdup(task);
	claim->command = pipeline_sql_text(0, 1);
	claim->condition = pipeline_sql_text(0, 2);
	claim->wait_for = pipeline_sql_text(0, 3);
	claim->labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 4, &isnull));
	claim->foreach = pipeline_sql_text(0, 5);
	claim->map_column = pipeline_sql_text(0, 6);
	if (test->map_key && claim->foreach == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task \"%s\" of pipeline \"%s\" has no foreach", task, test->def->name),
				 errhint("Leave map_key null.")));
	/* Whatever its mode: what cannot be taken back cannot be tested. */
	claim->atomic = true;
	claim->timezone = test->def->timezone;
	pipeline_scope_end(&scope);
}

/* May the caller run what the owner wrote, and may it run at all? */
static void
check_caller(const PipelineDef *def)
{
	char	   *problem = pipeline_role_problem(def->owner, "tasks");

	if (!has_privs_of_role(GetUserId(), def->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be a member of the role that owns pipeline \"%s\" to test its tasks", def->name),
				 errhint("Their commands run with the rights of that role.")));
	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("the tasks of pipeline \"%s\" cannot run", def->name),
				 errdetail_internal("The %s.", problem)));
	if (pipeline_task_context() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("test_task() cannot be called inside a task")));
}

/*
 * How the result differs from what was expected, as {"missing": rows,
 * "unexpected": rows}; NULL when it does not.  The order of rows does not
 * matter.
 */
static Jsonb *
difference(const Jsonb *result, const Jsonb *expected)
{
	bool		isnull;

	if (pipeline_sql("WITH x AS (SELECT CASE jsonb_typeof($1) WHEN 'array' THEN $1 ELSE jsonb_build_array($1) END AS expected,"
					 "   CASE jsonb_typeof($2) WHEN 'array' THEN $2 WHEN 'object' THEN jsonb_build_array($2) ELSE '[]' END AS result),"
					 " d AS (SELECT coalesce((SELECT jsonb_agg(m) FROM (SELECT jsonb_array_elements(expected) AS m"
					 "     EXCEPT ALL SELECT jsonb_array_elements(result)) m), '[]') AS missing,"
					 "   coalesce((SELECT jsonb_agg(u) FROM (SELECT jsonb_array_elements(result) AS u"
					 "     EXCEPT ALL SELECT jsonb_array_elements(expected)) u), '[]') AS unexpected FROM x)"
					 " SELECT jsonb_build_object('missing', missing, 'unexpected', unexpected) FROM d"
					 " WHERE missing <> '[]' OR unexpected <> '[]'",
					 SPI_OK_SELECT, sql_jsonb(expected), sql_jsonb(result)) == 0)
		return NULL;
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

PG_FUNCTION_INFO_V1(pipeline_test_task);

/* SQL: test_task(pipeline, task, params, interval_start, map_key, given, expected) */
Datum
pipeline_test_task(PG_FUNCTION_ARGS)
{
	TaskTest	test = {0};
	TimestampTz start;
	Jsonb	   *differs = NULL;
	const char *outcome;
	TupleDesc	desc;
	Datum		values[4] = {0};
	bool		nulls[4] = {false};
	Datum		row;
	MemoryContext context = CurrentMemoryContext;

	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "task");
	pipeline_not_null(fcinfo, 2, "params");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	test.map_key = pipeline_arg_text(fcinfo, 4);
	SPI_connect();
	test.def = runner_load_pipeline(pipeline_arg_text(fcinfo, 0));
	check_caller(test.def);
	load_task(&test, pipeline_arg_text(fcinfo, 1));
	test.claim.params = runner_merge_params(test.def, PG_GETARG_JSONB_P(2));
	if (!PG_ARGISNULL(3))
		start = PG_GETARG_TIMESTAMPTZ(3);
	runner_interval_from(test.def, PG_ARGISNULL(3) ? NULL : &start,
						 &test.claim.interval_start, &test.claim.interval_end);
	test.overlays = read_overlays(pipeline_arg_jsonb(fcinfo, 5));
	test.context = AllocSetContextCreate(CurrentMemoryContext, "pipeline test of a task",
										 ALLOCSET_DEFAULT_SIZES);
	pipeline_subtransaction(try_command, &test);

	if (!PG_ARGISNULL(6) && !test.result.waiting && !test.result.skipped)
		differs = difference(test.result.result, PG_GETARG_JSONB_P(6));
	outcome = test.result.waiting ? "waiting" : test.result.skipped ? "skipped" :
		test.result.success && differs == NULL ? "succeeded" : "failed";
	values[0] = CStringGetTextDatum(outcome);
	values[1] = JsonbPGetDatum(test.result.result);
	nulls[1] = test.result.result == NULL;
	values[2] = Int64GetDatum((int64) test.result.rows);
	values[3] = JsonbPGetDatum(differs);
	nulls[3] = differs == NULL;
	MemoryContextSwitchTo(context);
	row = HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
	SPI_finish();
	PG_RETURN_DATUM(row);
}
