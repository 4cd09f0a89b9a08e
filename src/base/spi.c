/*
 * spi.c
 *	  Constant SQL with parameters, through saved plans, with the result code
 *	  checked.
 *
 * The entry point calls SPI_connect() and SPI_finish() once.  Plans are saved
 * by the address of the statement's literal, so a statement is parsed once a
 * session; the plan cache of the server keeps them valid.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "optimizer/cost.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/plan_sizes.h"

typedef struct SavedPlan
{
	const char *sql;			/* hash key: the literal's address */
	SPIPlanPtr	plan;
} SavedPlan;

static HTAB *saved_plans = NULL;

SqlArg
sql_datum(Oid type, Datum value, bool isnull)
{
	return (SqlArg) {.type = type, .value = value, .isnull = isnull};
}

SqlArg
sql_text(const char *value)
{
	return sql_datum(TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0,
					 value == NULL);
}

SqlArg
sql_jsonb(const Jsonb *value)
{
	return sql_datum(JSONBOID, PointerGetDatum(value), value == NULL);
}

SqlArg
sql_array(const ArrayType *value)
{
	return sql_datum(TEXTARRAYOID, PointerGetDatum(value), value == NULL);
}

SqlArg
sql_bool(bool value)
{
	return sql_datum(BOOLOID, BoolGetDatum(value), false);
}

SqlArg
sql_int4(int32 value)
{
	return sql_datum(INT4OID, Int32GetDatum(value), false);
}

SqlArg
sql_int8(int64 value)
{
	return sql_datum(INT8OID, Int64GetDatum(value), false);
}

SqlArg
sql_float8(double value)
{
	return sql_datum(FLOAT8OID, Float8GetDatum(value), false);
}

SqlArg
sql_role(Oid role)
{
	return sql_datum(REGROLEOID, ObjectIdGetDatum(role), !OidIsValid(role));
}

SqlArg
sql_regclass(Oid relid)
{
	return sql_datum(REGCLASSOID, ObjectIdGetDatum(relid), !OidIsValid(relid));
}

SqlArg
sql_time(TimestampTz value)
{
	return sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(value), false);
}

SqlArg
sql_interval(const Interval *value)
{
	return sql_datum(INTERVALOID, PointerGetDatum(value), value == NULL);
}

static SPIPlanPtr
saved_plan(const char *sql, int nargs, Oid *types)
{
	SavedPlan  *entry;
	SPIPlanPtr	plan;

	if (saved_plans == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(char *),
			.entrysize = sizeof(SavedPlan),
		.hcxt = TopMemoryContext};

		saved_plans = hash_create("pipeline plans", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(saved_plans, &sql, HASH_FIND, NULL);
	if (entry != NULL && SPI_plan_is_valid(entry->plan))
		return entry->plan;

	/* Never planned for its parameters: that would cost more than it runs. */
	plan = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	if (entry != NULL)
		SPI_freeplan(entry->plan);
	else
		entry = hash_search(saved_plans, &sql, HASH_ENTER, NULL);
	entry->plan = plan;
	return plan;
}

/*
 * Run a constant statement; see pipeline_sql() and pipeline_sql_read().
 * Returns the number of rows; SPI_tuptable holds them.
 */
uint64
pipeline_sql_run(const char *sql, int expected, bool read_only,
				 int nargs, const SqlArg *args)
{
	Oid			types[FUNC_MAX_ARGS];
	Datum		values[FUNC_MAX_ARGS];
	char		nulls[FUNC_MAX_ARGS + 1];
	bool		jit = jit_enabled;
	bool		seqscan = enable_seqscan;
	bool		fixed = pipeline_plan_sizes_fixed;
	MemoryContext context = CurrentMemoryContext;
	int			rc;

	for (int i = 0; i < nargs; i++)
	{
		types[i] = args[i].type;
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	nulls[nargs] = '\0';
	/*
	 * The plan is made once, maybe while the tables are empty, and kept while
	 * they grow: it goes by the indexes, see plan_sizes.c.  And it is not
	 * worth compiling.
	 */
	jit_enabled = false;
	enable_seqscan = false;
	pipeline_plan_sizes_fixed = true;
	PG_TRY();
	{
		rc = SPI_execute_plan(saved_plan(sql, nargs, types), values, nulls,
							  read_only, 0);
	}
	PG_FINALLY();
	{
		jit_enabled = jit;
		enable_seqscan = seqscan;
		pipeline_plan_sizes_fixed = fixed;
	}
	PG_END_TRY();
	/* SPI leaves us in its own, which goes with the connection. */
	MemoryContextSwitchTo(context);
	if (rc != expected)
		elog(ERROR, "statement returned %s, not %s: %s",
			 SPI_result_code_string(rc), SPI_result_code_string(expected), sql);
	return SPI_processed;
}

/*
 * Run one generated statement as the current user.  Every name in it is
 * quoted by the caller; values that users gave are literals made by
 * quote_literal_cstr(), or went through pipeline_expression().
 */
uint64
pipeline_sql_generated(const char *sql, int expected, bool read_only)
{
	int			rc = SPI_execute(sql, read_only, 0);

	if (rc != expected)
		elog(ERROR, "generated statement returned %s, not %s: %s",
			 SPI_result_code_string(rc), SPI_result_code_string(expected), sql);
	return SPI_processed;
}

/*
 * Column `column` (from 1) of row `row` of the last result.  By-reference
 * values live until SPI_finish().
 */
Datum
pipeline_sql_datum(uint64 row, int column, bool *isnull)
{
	if (row >= SPI_tuptable->numvals)
		elog(ERROR, "row %llu of a result of %llu",
			 (unsigned long long) row,
			 (unsigned long long) SPI_tuptable->numvals);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/*
 * The same as text, or NULL; it is the caller's: allocated in the context of
 * before SPI_connect().
 */
char *
pipeline_sql_text(uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row],
									 SPI_tuptable->tupdesc, column);
	char	   *copy;

	if (value == NULL)
		return NULL;
	copy = SPI_palloc(strlen(value) + 1);
	strcpy(copy, value);
	pfree(value);
	return copy;
}

/* The same as bigint; NULL is an internal error. */
int64
pipeline_sql_int8(uint64 row, int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(row, column, &isnull);
	Oid			type = SPI_gettypeid(SPI_tuptable->tupdesc, column);

	if (isnull)
		elog(ERROR, "unexpected NULL in column %d", column);
	return type == INT8OID ? DatumGetInt64(value) : DatumGetInt32(value);
}

/* The same as boolean; NULL is false. */
bool
pipeline_sql_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}
