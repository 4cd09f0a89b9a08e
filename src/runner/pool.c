/*
 * pool.c
 *	  Pools: slots that tasks share, so that no more than so many run at once.
 *
 * What runs is counted when a task is claimed (claim.c); here are the
 * definitions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "runner/runner.h"

static Jsonb *
pool_as_jsonb(const char *pool, Oid *owner)
{
	bool		isnull;

	if (pipeline_sql("SELECT to_jsonb(p) - 'created_at' - 'pool_id', owner::oid FROM pipeline.pools p WHERE pool = $1",
					 SPI_OK_SELECT, sql_text(pool)) == 0)
		return NULL;
	*owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

static void
no_such_pool(const char *pool)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("pool \"%s\" does not exist", pool),
			 errhint("Make it with pipeline.create_pool(); table pipeline.pools lists those that you may see.")));
}

/*
 * Raise 42704 unless the pool exists, 42501 unless the owner of a pipeline may
 * use it, and 22023 when it could never give so many slots.  Acts as the owner
 * of the extension already.
 */
void
runner_check_pool(const char *pool, int slots, Oid owner)
{
	Oid			pool_owner;
	int			total;
	bool		isnull;
	ArrayType  *users;

	if (strcmp(pool, "default") == 0)
	{
		if (slots != 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"pool_slots\" needs a pool"),
					 errhint("The pool \"default\" is the workers themselves: a task takes one.")));
		return;
	}
	if (pipeline_sql("SELECT owner::oid, slots, users FROM pipeline.pools WHERE pool = $1",
					 SPI_OK_SELECT, sql_text(pool)) == 0)
		no_such_pool(pool);
	pool_owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	total = (int) pipeline_sql_int8(0, 2);
	users = DatumGetArrayTypePCopy(pipeline_sql_datum(0, 3, &isnull));
	if (!pipeline_is_owner(owner, pool_owner) && !runner_is_among(users, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for pool \"%s\"", pool),
				 errdetail("Role \"%s\", which the task would run as, is not among its users.",
						   GetUserNameFromId(owner, false)),
				 errhint("Its owner can add the role to \"users\".")));
	if (slots > total && total > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"pool_slots\": %d", slots),
				 errdetail("Pool \"%s\" has %d slots, so that the task would wait for ever.", pool, total)));
}

PG_FUNCTION_INFO_V1(pipeline_create_pool);

/* SQL: create_pool(pool, slots, users, or_replace, description) */
Datum
pipeline_create_pool(PG_FUNCTION_ARGS)
{
	static const char *const required[] = {"pool", "slots", "users", "or_replace"};
	char	   *pool;
	UserScope	scope;
	ArrayType  *users;
	Jsonb	   *before;
	Oid			owner = GetUserId();
	int			slots;

	for (int i = 0; i < lengthof(required); i++)
		pipeline_not_null(fcinfo, i, required[i]);
	pool = pipeline_arg_text(fcinfo, 0);
	slots = PG_GETARG_INT32(1);
	pipeline_check_name("pool", pool);
	if (strcmp(pool, "default") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("pool name \"default\" is reserved"),
				 errhint("It is the pool of all workers; pipeline.max_workers is its size.")));
	if (slots < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"slots\": %d", slots),
				 errhint("Give a number of at least zero; zero stops its tasks.")));
	users = runner_role_array(PG_GETARG_ARRAYTYPE_P(2), "users");

	SPI_connect();
	pipeline_extension_begin(&scope);
	before = pool_as_jsonb(pool, &owner);
	pipeline_scope_end(&scope);
	if (before && !PG_GETARG_BOOL(3))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pool \"%s\" already exists", pool),
				 errhint("With or_replace => true its definition is replaced.")));
	pipeline_check_owner(owner, "pool", pool);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("INSERT INTO pipeline.pools AS p (pool, owner, slots, users, description) VALUES ($1, $2, $3, $4, $5)"
					 " ON CONFLICT (pool) DO UPDATE SET slots = $3, users = $4, description = $5 WHERE $6",
					 SPI_OK_INSERT, sql_text(pool), sql_role(owner), sql_int4(slots),
					 sql_datum(REGROLEARRAYOID, PointerGetDatum(users), false),
					 sql_text(pipeline_arg_text(fcinfo, 4)), sql_bool(before != NULL)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pool \"%s\" already exists", pool),
				 errhint("Another session has just created it.")));
	pipeline_record_change("create_pool", "pool", pool, before,
						   pool_as_jsonb(pool, &owner), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	/* There may be more slots now. */
	runner_at_commit_wake();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_pool);

/* SQL: drop_pool(pool) */
Datum
pipeline_drop_pool(PG_FUNCTION_ARGS)
{
	char	   *pool;
	UserScope	scope;
	Jsonb	   *before;
	Oid			owner = InvalidOid;

	pipeline_not_null(fcinfo, 0, "pool");
	pool = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	before = pool_as_jsonb(pool, &owner);
	pipeline_scope_end(&scope);
	if (before == NULL)
		no_such_pool(pool);
	pipeline_check_owner(owner, "pool", pool);
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT 1 FROM pipeline.pools WHERE pool = $1 FOR UPDATE", SPI_OK_SELECT, sql_text(pool));
	if (pipeline_sql("SELECT string_agg(format('%s/%s', pipeline, task), ', ' ORDER BY pipeline, task) FROM ("
					 " SELECT pipeline, task FROM pipeline.tasks WHERE pool = $1 UNION"
					 " SELECT pipeline, task FROM pipeline.task_runs WHERE pool = $1"
					 "   AND state IN ('waiting', 'ready', 'running', 'up_for_retry')) t HAVING count(*) > 0",
					 SPI_OK_SELECT, sql_text(pool)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("tasks use pool \"%s\"", pool),
				 errdetail("They are: %s.", pipeline_sql_text(0, 1)),
				 errhint("Give them another pool first.")));
	pipeline_sql("DELETE FROM pipeline.pools WHERE pool = $1", SPI_OK_DELETE, sql_text(pool));
	pipeline_record_change("drop_pool", "pool", pool, before, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_pool_status);

/*
 * SQL: pool_status(pool).  Counts what everybody runs there, but names only
 * what the caller may see.
 */
Datum
pipeline_pool_status(PG_FUNCTION_ARGS)
{
	char	   *pool = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			caller = GetUserId();
	TupleDesc	desc;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};
	UserScope	scope;
	StringInfoData holders;
	int			slots = 0;
	int			used = 0;
	int			hidden = 0;
	bool		visible = false;
	bool		isnull;
	uint64		n;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	initStringInfo(&holders);
	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT slots, owner::oid, users FROM pipeline.pools WHERE pool = $1",
					 SPI_OK_SELECT, sql_text(pool)) > 0)
	{
		slots = (int) pipeline_sql_int8(0, 1);
		visible = pipeline_is_owner(caller, DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull))) ||
			runner_is_among(DatumGetArrayTypeP(pipeline_sql_datum(0, 3, &isnull)), caller);
	}
	n = pipeline_sql("SELECT pipeline, task, run_id, pool_slots, owner::oid FROM pipeline.task_runs"
					 " WHERE pool = $1 AND pool <> 'default' AND state = 'running' ORDER BY started_at, task",
					 SPI_OK_SELECT, sql_text(pool));
	for (uint64 i = 0; i < n; i++)
	{
		used += (int) pipeline_sql_int8(i, 4);
		if (!pipeline_is_owner(caller, DatumGetObjectId(pipeline_sql_datum(i, 5, &isnull))))
			hidden++;
		else
			appendStringInfo(&holders, "%s%s/%s (run " INT64_FORMAT ")", holders.len ? ", " : "",
							 pipeline_sql_text(i, 1), pipeline_sql_text(i, 2), pipeline_sql_int8(i, 3));
	}
	if (hidden > 0)
		appendStringInfo(&holders, "%s%d task%s of other owners", holders.len ? " and " : "",
						 hidden, hidden == 1 ? "" : "s");
	pipeline_scope_end(&scope);
	SPI_finish();
	if (visible)
	{
		values[0] = Int32GetDatum(slots);
		values[1] = Int32GetDatum(used);
		values[2] = Int32GetDatum(slots - used);
		values[3] = CStringGetTextDatum(holders.data);
		nulls[0] = nulls[1] = nulls[2] = false;
		nulls[3] = holders.len == 0;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
