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
 * With "places", the number of an argument of type oid that a tid follows, the
 * array gets one more element: where the rows lie that fail a check which is
 * "placed"; see check_places.c.
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
#include "expect/check_state.h"

#define MAX_SAMPLES 10000
#define MAX_CHECKS 10000

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
	int			place;			/* argument of the table; the tid is next; -1: none */
	bool	   *placed;			/* per check */
} RowScan;

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
	scan->placed[i] = scan->place >= 0 && pipeline_kwarg_bool(plan, "placed");
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
	scan->placed = palloc0_array(bool, scan->nchecks + 1);
	scan->place = plan_int(plan, "places", -1, 0, scan->nargs - 2);
	if (scan->place >= 0 && (get_fn_expr_argtype(fcinfo->flinfo, scan->place + 2) != OIDOID ||
							 get_fn_expr_argtype(fcinfo->flinfo, scan->place + 3) != TIDOID))
		bad_plan("places");
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
	pipeline_check_init_counts(state, state->scan->nchecks, state->scan->limits);
	state->has_places = state->scan->place >= 0;
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
	pipeline_check_init_samples(counts, context);
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

/* One check on one row; returns whether its place is to be kept. */
static inline bool
check_row(CheckState *state, int i, FunctionCallInfo fcinfo, MemoryContext context)
{
	CompiledCheck *check = &state->scan->checks[i];
	Counts	   *counts = &state->counts[i];
	bool		missing;

	if (is_left_out(check, fcinfo))
		return false;
	counts->elements++;
	if (check->op == OP_COUNT)
		return false;
	if (unexpected_argument(check, fcinfo, &missing))
	{
		counts->unexpected++;
		if (counts->nsamples < counts->limit)
			keep_sample(state, i, fcinfo, context);
		return state->scan->placed[i];
	}
	counts->missing += missing;
	return false;
}

/* Keep where the row lies. */
static pg_noinline void
keep_place(CheckState *state, FunctionCallInfo fcinfo, MemoryContext context)
{
	int			place = state->scan->place + 2;

	if (PG_ARGISNULL(place) || PG_ARGISNULL(place + 1))
		state->places.overflow = true;
	else
		pipeline_places_add(&state->places, PG_GETARG_OID(place),
							(ItemPointer) PG_GETARG_POINTER(place + 1), context);
}

PG_FUNCTION_INFO_V1(pipeline_check_step);

/* Transition: every check on one row. */
Datum
pipeline_check_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_check");
	CheckState *state;
	bool		fails = false;

	if (PG_ARGISNULL(0))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		state = start(fcinfo);
		MemoryContextSwitchTo(old);
	}
	else
		state = (CheckState *) PG_GETARG_POINTER(0);
	for (int i = 0; i < state->nchecks; i++)
		fails |= check_row(state, i, fcinfo, context);
	if (fails)
		keep_place(state, fcinfo, context);
	PG_RETURN_POINTER(state);
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
