/*
 * check_aggregate.c
 *	  pipeline._check(plan, arguments...): many checks in one scan.
 *
 * The plan is a constant: {"limit": n, "keys": [[name, argument], ...],
 * "checks": [{"type", "kwargs", "arg", "condition", "collation"}, ...]}, where
 * an argument is a number from 0 among those that follow the plan.  Each
 * process compiles it when it sees its first row.  The result is an array with
 * one object per check: elements, missing, unexpected, values, keys.
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
	int			nsamples;
	char	  **values;			/* JSON texts */
	char	  **keys;			/* the same, or NULL */
} Counts;

typedef struct KeyColumn
{
	char	   *name;
	int			arg;
} KeyColumn;

typedef struct RowScan
{
	int			nargs;			/* arguments after the plan */
	FmgrInfo   *to_json;		/* per argument */
	CompiledCheck *checks;
	int			nkeys;
	KeyColumn  *keys;
} RowScan;

typedef struct CheckState
{
	RowScan	   *scan;			/* NULL in a state that was received */
	int			nchecks;
	int			limit;
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

/* Prepare to_json() for values of a type known only now. */
static void
prepare_to_json(FmgrInfo *flinfo, Oid typid)
{
	Node	   *arg = (Node *) makeNullConst(typid, -1, InvalidOid);

	fmgr_info(F_TO_JSON, flinfo);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, list_make1(arg),
											 InvalidOid, InvalidOid,
											 COERCE_EXPLICIT_CALL), flinfo);
}

static void
compile_one(RowScan *scan, CompiledCheck *check, const Jsonb *plan, FmgrInfo *flinfo)
{
	char	   *name = pipeline_jsonb_key(plan, "type");
	const ExpectationType *type = pipeline_expectation_type(name ? name : "");
	Jsonb	   *kwargs = plan_member(plan, "kwargs", false);
	int			arg = plan_int(plan, "arg", -1, 0, scan->nargs - 1);
	int			condition = plan_int(plan, "condition", -1, 0, scan->nargs - 1);
	int64		collation = InvalidOid;

	pipeline_check_kwargs(type, kwargs);
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
compile_keys(RowScan *scan, const Jsonb *plan)
{
	Jsonb	   *keys = plan_member(plan, "keys", true);

	scan->nkeys = JB_ROOT_COUNT(keys);
	scan->keys = palloc_array(KeyColumn, scan->nkeys + 1);
	for (int i = 0; i < scan->nkeys; i++)
	{
		Jsonb	   *key = plan_element(keys, i);

		scan->keys[i].name = pipeline_jsonb_key(key, "name");
		scan->keys[i].arg = plan_int(key, "arg", -1, 0, scan->nargs - 1);
		if (scan->keys[i].name == NULL || scan->keys[i].arg < 0)
			bad_plan("keys");
	}
}

static void
init_counts(CheckState *state, int nchecks, int limit)
{
	state->nchecks = nchecks;
	state->limit = limit;
	state->counts = palloc0_array(Counts, nchecks + 1);
	for (int i = 0; i < nchecks; i++)
	{
		state->counts[i].values = palloc_array(char *, limit + 1);
		state->counts[i].keys = palloc_array(char *, limit + 1);
	}
}

/* Compile the plan into a new state, in the aggregate's context. */
static CheckState *
start(FunctionCallInfo fcinfo)
{
	CheckState *state = palloc0(sizeof(CheckState));
	RowScan	   *scan = palloc0(sizeof(RowScan));
	Jsonb	   *plan;
	Jsonb	   *checks;

	if (PG_ARGISNULL(1))
		bad_plan("it is null");
	plan = PG_GETARG_JSONB_P_COPY(1);
	state->scan = scan;
	scan->nargs = PG_NARGS() - 2;
	scan->to_json = palloc0_array(FmgrInfo, scan->nargs + 1);
	for (int i = 0; i < scan->nargs; i++)
		prepare_to_json(&scan->to_json[i], get_fn_expr_argtype(fcinfo->flinfo, i + 2));
	checks = plan_member(plan, "checks", true);
	if (JB_ROOT_COUNT(checks) > MAX_CHECKS)
		bad_plan("checks");
	init_counts(state, JB_ROOT_COUNT(checks),
				plan_int(plan, "limit", 0, 0, MAX_SAMPLES));
	scan->checks = palloc0_array(CompiledCheck, state->nchecks + 1);
	for (int i = 0; i < state->nchecks; i++)
		compile_one(scan, &scan->checks[i], plan_element(checks, i), fcinfo->flinfo);
	compile_keys(scan, plan);
	return state;
}

/* Text as a JSON string; what is too long is cut. */
static char *
quoted_text(char *text)
{
	StringInfoData buf;
	int			len = strlen(text);

	if (len > MAX_SAMPLE_BYTES)
	{
		text[pg_mbcliplen(text, len, MAX_SAMPLE_BYTES)] = '\0';
		text = psprintf("%s...", text);
	}
	initStringInfo(&buf);
	escape_json(&buf, text);
	return buf.data;
}

/*
 * An argument as JSON.  It ends up in jsonb among others, so that a value of
 * many megabytes is a string of its beginning, and json with an escape, which
 * jsonb may refuse (\u0000), is a string of all of it.
 */
static char *
json_text(RowScan *scan, FunctionCallInfo fcinfo, int arg)
{
	Oid			typid = get_fn_expr_argtype(fcinfo->flinfo, arg + 2);
	Datum		value = PG_GETARG_DATUM(arg + 2);
	Oid			output;
	bool		is_varlena;
	char	   *json;

	if (PG_ARGISNULL(arg + 2))
		return "null";
	getTypeOutputInfo(typid, &output, &is_varlena);
	if (is_varlena && get_typlen(typid) == -1 &&
		toast_raw_datum_size(value) > MAX_SAMPLE_BYTES)
		return quoted_text(OidOutputFunctionCall(output, value));
	json = TextDatumGetCString(FunctionCall1(&scan->to_json[arg], value));
	return getBaseType(typid) == JSONOID && strstr(json, "\\u") ? quoted_text(json) : json;
}

/* The key of the row as a JSON object. */
static char *
key_text(RowScan *scan, FunctionCallInfo fcinfo)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < scan->nkeys; i++)
	{
		appendStringInfoString(&buf, i ? ", " : "{");
		escape_json(&buf, scan->keys[i].name);
		appendStringInfo(&buf, ": %s", json_text(scan, fcinfo, scan->keys[i].arg));
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* Keep an unexpected value, and the key of its row. */
static pg_noinline void
keep_sample(CheckState *state, Counts *counts, FunctionCallInfo fcinfo,
			int arg, MemoryContext context)
{
	char	   *value = json_text(state->scan, fcinfo, arg);
	char	   *key = state->scan->nkeys ? key_text(state->scan, fcinfo) : NULL;

	counts->values[counts->nsamples] = MemoryContextStrdup(context, value);
	counts->keys[counts->nsamples] = key ? MemoryContextStrdup(context, key) : NULL;
	counts->nsamples++;
}

/* One check on one row. */
static inline void
check_row(CheckState *state, int i, FunctionCallInfo fcinfo, MemoryContext context)
{
	CompiledCheck *check = &state->scan->checks[i];
	Counts	   *counts = &state->counts[i];
	bool		unexpected;

	if (check->condition >= 0 &&
		(PG_ARGISNULL(check->condition + 2) ||
		 !DatumGetBool(PG_GETARG_DATUM(check->condition + 2))))
		return;
	counts->elements++;
	if (check->op == OP_COUNT)
		return;
	if (check->op == OP_NOT_NULL || check->op == OP_NULL)
		unexpected = PG_ARGISNULL(check->arg + 2) == (check->op == OP_NOT_NULL);
	else if (PG_ARGISNULL(check->arg + 2))
	{
		counts->missing++;
		return;
	}
	else
		unexpected = pipeline_check_unexpected(check, PG_GETARG_DATUM(check->arg + 2));
	if (!unexpected)
		return;
	counts->unexpected++;
	if (counts->nsamples < state->limit)
		keep_sample(state, counts, fcinfo, check->arg, context);
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
combine_samples(CheckState *to, Counts *a, const Counts *b, MemoryContext context)
{
	for (int i = 0; i < b->nsamples && a->nsamples < to->limit; i++)
	{
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

		a = palloc0(sizeof(CheckState));
		init_counts(a, b->nchecks, b->limit);
		MemoryContextSwitchTo(old);
	}
	if (a->nchecks != b->nchecks)
		elog(ERROR, "states of different plans");
	for (int i = 0; i < a->nchecks; i++)
	{
		a->counts[i].elements += b->counts[i].elements;
		a->counts[i].missing += b->counts[i].missing;
		a->counts[i].unexpected += b->counts[i].unexpected;
		combine_samples(a, &a->counts[i], &b->counts[i], context);
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
	pq_sendint32(&buf, state->limit);
	for (int i = 0; i < state->nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		pq_sendint64(&buf, counts->elements);
		pq_sendint64(&buf, counts->missing);
		pq_sendint64(&buf, counts->unexpected);
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
	init_counts(state, nchecks, pq_getmsgint(&buf, 4));
	for (int i = 0; i < nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		counts->elements = pq_getmsgint64(&buf);
		counts->missing = pq_getmsgint64(&buf);
		counts->unexpected = pq_getmsgint64(&buf);
		counts->nsamples = pq_getmsgint(&buf, 4);
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
