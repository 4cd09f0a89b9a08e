/*
 * check_aggregate.c
 *	  pipeline._check(plan, arguments...): many checks in one scan.
 *
 * The plan is a constant: {"keys": [{"name", "arg"}, ...], "checks": [{"type",
 * "kwargs", "limit", "arg", "condition", "collation"}, ...]}, where an argument
 * is a number from 0 among those that follow the plan.  A check that is an
 * expression has, in place of kwargs, "shown": the columns of its samples, as
 * "keys" has them, and "object": whether these are an object or an array.  Each
 * process compiles the plan when it sees its first row.  The result is an array
 * with one object per check: elements, missing, unexpected, values, keys.
 *
 * The state that travels between processes holds counts and samples only, and
 * as many of them as there are checks, so that it can be combined without the
 * plan.  A sample is kept as JSON text.
 *
 * Anyone may call the aggregate, since it must run with the rights of whoever
 * reads the table: the plan is checked and nothing in it is trusted.  Which
 * type an argument has comes from the call, not from the plan.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "expect/check.h"

#define MAX_SAMPLES 10000
#define MAX_CHECKS 10000

typedef struct Counts
{
	int64		elements;
	int64		missing;
	int64		unexpected;
	int			limit;
	int			nsamples;
	char	  **values;			/* JSON texts */
	char	  **keys;			/* the same, or NULL */
} Counts;

typedef struct KeyColumn
{
	char	   *name;
	int			arg;
} KeyColumn;

/* What the samples of a check that is an expression show. */
typedef struct Shown
{
	int			n;
	KeyColumn  *columns;
	bool		object;
} Shown;

typedef struct RowScan
{
	int			nargs;			/* arguments after the plan */
	FmgrInfo   *to_json;		/* per argument */
	int			nchecks;
	int		   *limits;			/* samples, per check */
	CompiledCheck *checks;
	Shown	   *shown;
	int			nkeys;
	KeyColumn  *keys;
} RowScan;

typedef struct CheckState
{
	RowScan	   *scan;			/* NULL in a state that was received */
	int			nchecks;
	Counts	   *counts;
} CheckState;

static void
bad_plan(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed plan of checks: %s", what)));
}

/* An integer member of a plan's object; default_value when it is not there. */
static int
plan_int(const Jsonb *object, const char *key, int default_value, int low, int high)
{
	int64		value;

	if (!pipeline_kwarg_int(object, key, &value))
		return default_value;
	if (value < low || value > high)
		bad_plan(key);
	return (int) value;
}

static Jsonb *
plan_member(const Jsonb *object, const char *key, bool array)
{
	JsonbValue	buf;
	JsonbValue *v;

	if (!JB_ROOT_IS_OBJECT(object))
		bad_plan("not an object");
	v = pipeline_kwarg(object, key, &buf);
	if (v == NULL || v->type != jbvBinary ||
		(array ? !JsonContainerIsArray(v->val.binary.data) :
		 !JsonContainerIsObject(v->val.binary.data)))
		bad_plan(key);
	return JsonbValueToJsonb(v);
}

static Jsonb *
plan_element(const Jsonb *array, int i)
{
	JsonbValue *v = getIthJsonbValueFromContainer((JsonbContainer *) &array->root, i);

	if (v == NULL || v->type != jbvBinary)
		bad_plan("an element is no object");
	return JsonbValueToJsonb(v);
}

static int
compile_columns(RowScan *scan, const Jsonb *list, KeyColumn **columns)
{
	int			n = JB_ROOT_COUNT(list);

	*columns = palloc_array(KeyColumn, n + 1);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *column = plan_element(list, i);

		(*columns)[i].name = pipeline_jsonb_key(column, "name");
		(*columns)[i].arg = plan_int(column, "arg", -1, 0, scan->nargs - 1);
		if ((*columns)[i].name == NULL || (*columns)[i].arg < 0)
			bad_plan("columns");
	}
	return n;
}

static void
compile_one(RowScan *scan, int i, const Jsonb *plan, FmgrInfo *flinfo)
{
	CompiledCheck *check = &scan->checks[i];
	Shown	   *shown = &scan->shown[i];
	JsonbValue	buf;
	char	   *name = pipeline_jsonb_key(plan, "type");
	const ExpectationType *type = pipeline_expectation_type(name ? name : "");
	int			arg = plan_int(plan, "arg", -1, 0, scan->nargs - 1);
	int			condition = plan_int(plan, "condition", -1, 0, scan->nargs - 1);
	Jsonb	   *kwargs = NULL;
	int64		collation = InvalidOid;

	scan->limits[i] = plan_int(plan, "limit", 0, 0, MAX_SAMPLES);
	if (pipeline_kwarg(plan, "shown", &buf) != NULL)
	{
		shown->n = compile_columns(scan, plan_member(plan, "shown", true), &shown->columns);
		shown->object = pipeline_kwarg_bool(plan, "object");
	}
	else
	{
		kwargs = plan_member(plan, "kwargs", false);
		pipeline_check_kwargs(type, kwargs);
	}
	if (type->kind != CHECK_COUNT && arg < 0)
		bad_plan("arg");
	if (condition >= 0 && get_fn_expr_argtype(flinfo, condition + 2) != BOOLOID)
		bad_plan("condition");
	pipeline_kwarg_int(plan, "collation", &collation);
	pipeline_check_compile(check, type, kwargs,
						   arg < 0 ? InvalidOid : get_fn_expr_argtype(flinfo, arg + 2),
						   (Oid) collation);
	check->arg = arg;
	check->condition = condition;
}

static void
init_counts(CheckState *state, int nchecks, const int *limits)
{
	state->nchecks = nchecks;
	state->counts = palloc0_array(Counts, nchecks + 1);
	for (int i = 0; i < nchecks; i++)
		state->counts[i].limit = limits[i];
}

/* Room for samples, made when there is the first one. */
static void
init_samples(Counts *counts, MemoryContext context)
{
	if (counts->values != NULL)
		return;
	counts->values = MemoryContextAlloc(context, sizeof(char *) * (counts->limit + 1));
	counts->keys = MemoryContextAlloc(context, sizeof(char *) * (counts->limit + 1));
}

/* Compile a plan, in the current context. */
static RowScan *
compile_scan(FunctionCallInfo fcinfo)
{
	RowScan	   *scan = palloc0(sizeof(RowScan));
	Jsonb	   *plan;
	Jsonb	   *checks;

	if (PG_ARGISNULL(1))
		bad_plan("it is null");
	plan = PG_GETARG_JSONB_P_COPY(1);
	scan->nargs = PG_NARGS() - 2;
	scan->to_json = palloc0_array(FmgrInfo, scan->nargs + 1);
	for (int i = 0; i < scan->nargs; i++)
		pipeline_prepare_to_json(&scan->to_json[i], get_fn_expr_argtype(fcinfo->flinfo, i + 2));
	checks = plan_member(plan, "checks", true);
	scan->nchecks = JB_ROOT_COUNT(checks);
	if (scan->nchecks > MAX_CHECKS)
		bad_plan("checks");
	scan->limits = palloc0_array(int, scan->nchecks + 1);
	scan->checks = palloc0_array(CompiledCheck, scan->nchecks + 1);
	scan->shown = palloc0_array(Shown, scan->nchecks + 1);
	for (int i = 0; i < scan->nchecks; i++)
		compile_one(scan, i, plan_element(checks, i), fcinfo->flinfo);
	scan->nkeys = compile_columns(scan, plan_member(plan, "keys", true), &scan->keys);
	return scan;
}

/* Compile the plan into a new state, in the aggregate's context. */
static CheckState *
start(FunctionCallInfo fcinfo)
{
	CheckState *state = palloc0(sizeof(CheckState));

	state->scan = compile_scan(fcinfo);
	init_counts(state, state->scan->nchecks, state->scan->limits);
	return state;
}

/* An argument as JSON. */
static char *
json_text(RowScan *scan, FunctionCallInfo fcinfo, int arg)
{
	return pipeline_value_json(&scan->to_json[arg], PG_GETARG_DATUM(arg + 2), PG_ARGISNULL(arg + 2),
							   get_fn_expr_argtype(fcinfo->flinfo, arg + 2));
}

/* Some arguments as a JSON object, or as an array of their values. */
static char *
columns_text(RowScan *scan, FunctionCallInfo fcinfo, const KeyColumn *columns, int n, bool object)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, object ? '{' : '[');
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(&buf, i ? ", " : "");
		if (object)
		{
			escape_json(&buf, columns[i].name);
			appendStringInfoString(&buf, ": ");
		}
		appendStringInfoString(&buf, json_text(scan, fcinfo, columns[i].arg));
	}
	appendStringInfoChar(&buf, object ? '}' : ']');
	return buf.data;
}

/* Keep an unexpected value, and the key of its row. */
static pg_noinline void
keep_sample(CheckState *state, int i, FunctionCallInfo fcinfo, MemoryContext context)
{
	RowScan	   *scan = state->scan;
	Counts	   *counts = &state->counts[i];
	Shown	   *shown = &scan->shown[i];
	char	   *value;
	char	   *key = scan->nkeys ? columns_text(scan, fcinfo, scan->keys, scan->nkeys, true) : NULL;

	if (shown->n == 0)
		value = json_text(scan, fcinfo, scan->checks[i].arg);
	else if (shown->n == 1 && !shown->object)
		value = json_text(scan, fcinfo, shown->columns[0].arg);
	else
		value = columns_text(scan, fcinfo, shown->columns, shown->n, shown->object);
	init_samples(counts, context);
	counts->values[counts->nsamples] = MemoryContextStrdup(context, value);
	counts->keys[counts->nsamples] = key ? MemoryContextStrdup(context, key) : NULL;
	counts->nsamples++;
}

/* Is an argument unexpected?  *missing when it is not judged. */
static inline bool
unexpected_argument(CompiledCheck *check, FunctionCallInfo fcinfo, bool *missing)
{
	*missing = false;
	if (check->op == OP_NOT_NULL || check->op == OP_NULL)
		return PG_ARGISNULL(check->arg + 2) == (check->op == OP_NOT_NULL);
	*missing = PG_ARGISNULL(check->arg + 2);
	if (check->op == OP_INT_RANGE && !*missing)
	{
		Datum		value = PG_GETARG_DATUM(check->arg + 2);
		int64		v = check->typlen == 8 ? DatumGetInt64(value) :
			check->typlen == 4 ? DatumGetInt32(value) : DatumGetInt16(value);

		return v < check->int_min || v > check->int_max;
	}
	if (check->op == OP_EXPRESSION)
		return !*missing && !DatumGetBool(PG_GETARG_DATUM(check->arg + 2));
	return !*missing && pipeline_check_unexpected(check, PG_GETARG_DATUM(check->arg + 2));
}

/* Does the condition of a check leave this row out? */
static inline bool
is_left_out(const CompiledCheck *check, FunctionCallInfo fcinfo)
{
	return check->condition >= 0 &&
		(PG_ARGISNULL(check->condition + 2) ||
		 !DatumGetBool(PG_GETARG_DATUM(check->condition + 2)));
}

/* One check on one row. */
static inline void
check_row(CheckState *state, int i, FunctionCallInfo fcinfo, MemoryContext context)
{
	CompiledCheck *check = &state->scan->checks[i];
	Counts	   *counts = &state->counts[i];
	bool		missing;

	if (is_left_out(check, fcinfo))
		return;
	counts->elements++;
	if (check->op == OP_COUNT)
		return;
	if (unexpected_argument(check, fcinfo, &missing))
	{
		counts->unexpected++;
		if (counts->nsamples < counts->limit)
			keep_sample(state, i, fcinfo, context);
	}
	counts->missing += missing;
}

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function is called by the aggregate pipeline._check only")));
	return context;
}

PG_FUNCTION_INFO_V1(pipeline_check_step);

/* Transition: every check on one row. */
Datum
pipeline_check_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	CheckState *state;

	if (PG_ARGISNULL(0))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		state = start(fcinfo);
		MemoryContextSwitchTo(old);
	}
	else
		state = (CheckState *) PG_GETARG_POINTER(0);
	for (int i = 0; i < state->nchecks; i++)
		check_row(state, i, fcinfo, context);
	PG_RETURN_POINTER(state);
}

/* Add the samples of one state to another, up to the limit. */
static void
combine_samples(Counts *a, const Counts *b, MemoryContext context)
{
	for (int i = 0; i < b->nsamples && a->nsamples < a->limit; i++)
	{
		init_samples(a, context);
		a->values[a->nsamples] = MemoryContextStrdup(context, b->values[i]);
		a->keys[a->nsamples] = b->keys[i] ? MemoryContextStrdup(context, b->keys[i]) : NULL;
		a->nsamples++;
	}
}

PG_FUNCTION_INFO_V1(pipeline_check_combine);

/* Combine two states; the second stays as it is. */
Datum
pipeline_check_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	CheckState *a = PG_ARGISNULL(0) ? NULL : (CheckState *) PG_GETARG_POINTER(0);
	CheckState *b = PG_ARGISNULL(1) ? NULL : (CheckState *) PG_GETARG_POINTER(1);

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		int		   *limits = palloc_array(int, b->nchecks + 1);

		for (int i = 0; i < b->nchecks; i++)
			limits[i] = b->counts[i].limit;
		a = palloc0(sizeof(CheckState));
		init_counts(a, b->nchecks, limits);
		MemoryContextSwitchTo(old);
	}
	if (a->nchecks != b->nchecks)
		elog(ERROR, "states of different plans");
	for (int i = 0; i < a->nchecks; i++)
	{
		a->counts[i].elements += b->counts[i].elements;
		a->counts[i].missing += b->counts[i].missing;
		a->counts[i].unexpected += b->counts[i].unexpected;
		combine_samples(&a->counts[i], &b->counts[i], context);
	}
	PG_RETURN_POINTER(a);
}

static void
send_text(StringInfo buf, const char *text)
{
	int			len = text ? strlen(text) : -1;

	pq_sendint32(buf, len);
	if (text)
		appendBinaryStringInfo(buf, text, len);
}

static char *
receive_text(StringInfo buf)
{
	int			len = pq_getmsgint(buf, 4);

	return len < 0 ? NULL : pnstrdup(pq_getmsgbytes(buf, len), len);
}

PG_FUNCTION_INFO_V1(pipeline_check_serialize);

/* Serialise a state: counts and samples, each sample with its length. */
Datum
pipeline_check_serialize(PG_FUNCTION_ARGS)
{
	CheckState *state;
	StringInfoData buf;

	aggregate_context(fcinfo);
	state = (CheckState *) PG_GETARG_POINTER(0);
	pq_begintypsend(&buf);
	pq_sendint32(&buf, state->nchecks);
	for (int i = 0; i < state->nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		pq_sendint64(&buf, counts->elements);
		pq_sendint64(&buf, counts->missing);
		pq_sendint64(&buf, counts->unexpected);
		pq_sendint32(&buf, counts->limit);
		pq_sendint32(&buf, counts->nsamples);
		for (int s = 0; s < counts->nsamples; s++)
		{
			send_text(&buf, counts->values[s]);
			send_text(&buf, counts->keys[s]);
		}
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(pipeline_check_deserialize);

/* The reverse, into the current context: the caller keeps it for one call. */
Datum
pipeline_check_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	StringInfoData buf;
	CheckState *state = palloc0(sizeof(CheckState));
	int			nchecks;

	aggregate_context(fcinfo);
	bytes = PG_GETARG_BYTEA_PP(0);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	nchecks = pq_getmsgint(&buf, 4);
	init_counts(state, nchecks, palloc0_array(int, nchecks + 1));
	for (int i = 0; i < nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		counts->elements = pq_getmsgint64(&buf);
		counts->missing = pq_getmsgint64(&buf);
		counts->unexpected = pq_getmsgint64(&buf);
		counts->limit = pq_getmsgint(&buf, 4);
		counts->nsamples = pq_getmsgint(&buf, 4);
		init_samples(counts, CurrentMemoryContext);
		for (int s = 0; s < counts->nsamples; s++)
		{
			counts->values[s] = receive_text(&buf);
			counts->keys[s] = receive_text(&buf);
		}
	}
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

static void
append_list(StringInfo buf, const char *name, char **texts, int n)
{
	appendStringInfo(buf, ", \"%s\": [", name);
	for (int i = 0; i < n; i++)
		appendStringInfo(buf, "%s%s", i ? ", " : "", texts[i] ? texts[i] : "null");
	appendStringInfoChar(buf, ']');
}

PG_FUNCTION_INFO_V1(pipeline_check_final);

/* The counts and samples of every check as JSON; NULL when no row came. */
Datum
pipeline_check_final(PG_FUNCTION_ARGS)
{
	CheckState *state;
	StringInfoData buf;

	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (CheckState *) PG_GETARG_POINTER(0);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < state->nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		CHECK_FOR_INTERRUPTS();
		appendStringInfo(&buf, "%s{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT
						 ", \"unexpected\": " INT64_FORMAT, i ? ", " : "",
						 counts->elements, counts->missing, counts->unexpected);
		append_list(&buf, "values", counts->values, counts->nsamples);
		append_list(&buf, "keys", counts->keys, counts->nsamples);
		appendStringInfoChar(&buf, '}');
	}
	appendStringInfoChar(&buf, ']');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
}

/* ---- one row --------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(pipeline_unexpected);

/*
 * SQL: _unexpected(NULL, plan, arguments...): the numbers, from 1, of the checks
 * that the row fails, or NULL when it fails none.  The first argument holds the
 * place that the state has in the aggregate.
 */
Datum
pipeline_unexpected(PG_FUNCTION_ARGS)
{
	RowScan	   *scan = fcinfo->flinfo->fn_extra;
	Datum	   *failed;
	int			n = 0;

	if (scan == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		scan = compile_scan(fcinfo);
		fcinfo->flinfo->fn_extra = scan;
		MemoryContextSwitchTo(old);
	}
	failed = palloc_array(Datum, scan->nchecks + 1);
	for (int i = 0; i < scan->nchecks; i++)
	{
		bool		missing;

		if (!is_left_out(&scan->checks[i], fcinfo) && scan->checks[i].op != OP_COUNT &&
			unexpected_argument(&scan->checks[i], fcinfo, &missing))
			failed[n++] = Int32GetDatum(i + 1);
	}
	if (n == 0)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(construct_array(failed, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}
