/*
 * other_aggregate.c
 *	  Any aggregate function of PostgreSQL, or of the user, over a sliding
 *	  window: those that can combine states are on two stacks, as in
 *	  two_stacks.c; those that have an inverse transition take back what leaves.
 *
 * A state may be of type internal, and a transition or a combination may change
 * its first argument in place: so what is combined is first combined into an
 * empty state, which makes a copy.  Functions are told that they run as a window
 * aggregate, whose context is where the state at hand lives.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_agg.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "feature/feature.h"

/* A state of the aggregate. */
typedef struct AggregateValue
{
	Datum		value;
	bool		isnull;
	bool		started;		/* false: a strict transition waits for its first */
} AggregateValue;

struct OtherAggregate
{
	int			narguments;
	Oid			collation;
	Oid			trans_type;
	int16		trans_len;
	bool		trans_byval;
	bool		init_isnull;
	Datum		init;
	int			final_arguments;
	bool		combines;		/* or else inverts */
	FmgrInfo	trans;
	FmgrInfo	combine;
	FmgrInfo	inverse;
	bool		has_final;
	FmgrInfo	final;
};

struct OtherState
{
	const OtherAggregate *aggregate;
	const Stream *stream;
	const Input **inputs;		/* of the arguments */
	int		   *indexes;		/* of the inputs in their stream */
	WindowAggState *window;		/* what functions see of us */
	MemoryContext back_context;
	MemoryContext front_context;
	int			lo;
	int			mid;
	int			hi;
	int64		count;			/* in the front, of those that count */
	AggregateValue front;		/* [mid, hi), or [lo, hi) that inverts */
	AggregateValue *back;		/* back[i]: [i, mid) */
};

/* ---- plan -------------------------------------------------------------------------- */

/*
 * Return the quoted name of an aggregate function as the user gave it; NULL
 * if there is none of that name anywhere.
 */
char *
other_aggregate_name(const char *text)
{
	List	   *names = NIL;
	CatCList   *list;
	bool		found = false;
	StringInfoData quoted;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(text), '.', &names) ||
		list_length(names) < 1 || list_length(names) > 2)
		return NULL;
	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum((char *) llast(names)));
	for (int i = 0; i < list->n_members; i++)
		found |= ((Form_pg_proc) GETSTRUCT(&list->members[i]->tuple))->prokind ==
			PROKIND_AGGREGATE;
	ReleaseSysCacheList(list);
	if (!found)
		return NULL;
	initStringInfo(&quoted);
	foreach(lc, names)
		appendStringInfo(&quoted, "%s%s", foreach_current_index(lc) ? "." : "",
						 quote_identifier(lfirst(lc)));
	return quoted.data;
}

static bool
is_safe(const FmgrInfo *function)
{
	return !OidIsValid(function->fn_oid) ||
		func_parallel(function->fn_oid) == PROPARALLEL_SAFE;
}

/* May it run in a process that helps another? */
bool
other_aggregate_is_safe(const OtherAggregate *other)
{
	return is_safe(&other->trans) && is_safe(&other->combine) &&
		is_safe(&other->inverse) && is_safe(&other->final);
}

static void
check_execute(Oid function, Oid role)
{
	AclResult	result = object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, get_func_name(function));
}

static Datum
initial_value(HeapTuple tuple, AttrNumber column, Oid type, bool *isnull)
{
	Datum		written = SysCacheGetAttr(AGGFNOID, tuple, column, isnull);
	Oid			infunc;
	Oid			ioparam;

	if (*isnull)
		return (Datum) 0;
	getTypeInputInfo(type, &infunc, &ioparam);
	return OidInputFunctionCall(infunc, TextDatumGetCString(written), ioparam, -1);
}

/* The functions that keep the state, and may take part in the caller's name. */
static void
load_functions(OtherAggregate *other, Form_pg_aggregate form, const Aggref *aggref,
			   Oid *input_types, Oid owner)
{
	Oid			trans = other->combines ? form->aggtransfn : form->aggmtransfn;
	Oid			final = other->combines ? form->aggfinalfn : form->aggmfinalfn;
	bool		extra = other->combines ? form->aggfinalextra : form->aggmfinalextra;
	Expr	   *expr;

	check_execute(aggref->aggfnoid, GetUserId());
	check_execute(trans, owner);
	fmgr_info(trans, &other->trans);
	build_aggregate_transfn_expr(input_types, other->narguments, 0, false, other->trans_type,
								 aggref->inputcollid, trans, InvalidOid, &expr, NULL);
	fmgr_info_set_expr((Node *) expr, &other->trans);
	if (other->combines)
	{
		check_execute(form->aggcombinefn, owner);
		fmgr_info(form->aggcombinefn, &other->combine);
		build_aggregate_transfn_expr(&other->trans_type, 1, 0, false, other->trans_type,
									 aggref->inputcollid, form->aggcombinefn,
									 InvalidOid, &expr, NULL);
		fmgr_info_set_expr((Node *) expr, &other->combine);
	}
	else
	{
		check_execute(form->aggminvtransfn, owner);
		fmgr_info(form->aggminvtransfn, &other->inverse);
		fmgr_info_set_expr((Node *) expr, &other->inverse);
	}
	other->has_final = OidIsValid(final);
	other->final_arguments = extra ? other->narguments + 1 : 1;
	if (!other->has_final)
		return;
	check_execute(final, owner);
	fmgr_info(final, &other->final);
	build_aggregate_finalfn_expr(input_types, other->final_arguments,
								 other->trans_type, aggref->aggtype,
								 aggref->inputcollid, final, &expr);
	fmgr_info_set_expr((Node *) expr, &other->final);
}

static Oid
owner_of(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Get ready to run an aggregate as it was analysed.  NULL: it can neither
 * combine states nor take a value back from one that its final function leaves
 * as it is, or is not called as plainly as that.
 */
OtherAggregate *
other_aggregate_create(const Aggref *aggref)
{
	OtherAggregate *other = palloc0(sizeof(OtherAggregate));
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggref->aggfnoid));
	Form_pg_aggregate form;
	Oid			input_types[FUNC_MAX_ARGS];

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggref->aggfnoid);
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	other->combines = OidIsValid(form->aggcombinefn);
	if (form->aggkind != AGGKIND_NORMAL || aggref->args == NIL ||
		aggref->aggvariadic || aggref->aggdistinct != NIL || aggref->aggorder != NIL ||
		aggref->aggfilter != NULL ||
		(!other->combines && (!OidIsValid(form->aggminvtransfn) ||
							  form->aggmfinalmodify != AGGMODIFY_READ_ONLY)))
	{
		ReleaseSysCache(tuple);
		return NULL;
	}
	other->narguments = get_aggregate_argtypes(unconstify(Aggref *, aggref), input_types);
	other->collation = aggref->inputcollid;
	other->trans_type = resolve_aggregate_transtype(aggref->aggfnoid,
													other->combines ? form->aggtranstype : form->aggmtranstype,
													input_types, other->narguments);
	get_typlenbyval(other->trans_type, &other->trans_len, &other->trans_byval);
	other->init = initial_value(tuple, other->combines ? Anum_pg_aggregate_agginitval :
								Anum_pg_aggregate_aggminitval, other->trans_type,
								&other->init_isnull);
	load_functions(other, form, aggref, input_types, owner_of(aggref->aggfnoid));
	ReleaseSysCache(tuple);
	return other;
}

/* ---- states ---------------------------------------------------------------------------- */

/*
 * Make the empty state of a feature for a new entity, in the current context;
 * `input` is that of its value.
 */
OtherState *
other_state_create(const Feature *feature, const Input *input,
				   const Stream *stream)
{
	const OtherAggregate *aggregate = feature->other;
	OtherState *state = palloc0(sizeof(OtherState));
	ListCell   *lc;

	state->aggregate = aggregate;
	state->stream = stream;
	state->inputs = palloc_array(const Input *, aggregate->narguments);
	state->indexes = palloc_array(int, aggregate->narguments);
	state->inputs[0] = input;
	state->indexes[0] = feature->input;
	foreach(lc, feature->more_inputs)
	{
		int			i = foreach_current_index(lc) + 1;

		state->inputs[i] = list_nth(stream->inputs, lfirst_int(lc));
		state->indexes[i] = lfirst_int(lc);
	}
	state->window = makeNode(WindowAggState);
	state->front_context = AllocSetContextCreate(CurrentMemoryContext,
												 "pipeline aggregate",
												 ALLOCSET_SMALL_SIZES);
	if (aggregate->combines)
	{
		state->back_context = AllocSetContextCreate(CurrentMemoryContext,
													"pipeline aggregates",
													ALLOCSET_SMALL_SIZES);
		state->back = MemoryContextAllocHuge(CurrentMemoryContext,
											 ((Size) stream->nevents + 1) * sizeof(AggregateValue));
	}
	return state;
}

/* An empty state, in the current context. */
static AggregateValue
empty_value(const OtherAggregate *aggregate)
{
	AggregateValue value = {(Datum) 0, aggregate->init_isnull, !aggregate->init_isnull};

	if (!aggregate->init_isnull)
		value.value = datumCopy(aggregate->init, aggregate->trans_byval,
								aggregate->trans_len);
	return value;
}

/*
 * A state for a function that must leave it as it is: it would take over an
 * array that it may write to.
 */
static NullableDatum
read_only(const OtherAggregate *aggregate, const AggregateValue *value)
{
	return (NullableDatum) {
		MakeExpandedObjectReadOnly(value->value, value->isnull, aggregate->trans_len),
		value->isnull
	};
}

/*
 * Change a state by a function of it and other values, the first of which has
 * that length; what it becomes lives in the current context.
 */
static void
call(OtherState *state, const FmgrInfo *function, AggregateValue *value,
	 const NullableDatum *arguments, int narguments, int16 len, bool byval)
{
	LOCAL_FCINFO(fcinfo, FUNC_MAX_ARGS);

	if (function->fn_strict)
	{
		if (arguments[0].isnull)
			return;
		if (value->isnull && value->started)
			return;
		if (!value->started)
		{
			value->value = datumCopy(arguments[0].value, byval, len);
			value->isnull = false;
			value->started = true;
			return;
		}
	}
	state->window->curaggcontext = CurrentMemoryContext;
	InitFunctionCallInfoData(*fcinfo, unconstify(FmgrInfo *, function), narguments + 1,
							 state->aggregate->collation, (Node *) state->window, NULL);
	fcinfo->args[0].value = value->value;
	fcinfo->args[0].isnull = value->isnull;
	memcpy(&fcinfo->args[1], arguments, narguments * sizeof(NullableDatum));
	value->value = FunctionCallInvoke(fcinfo);
	value->isnull = fcinfo->isnull;
	value->started = true;
}

static void
combine(OtherState *state, AggregateValue *into, const AggregateValue *from)
{
	const OtherAggregate *aggregate = state->aggregate;
	NullableDatum argument = read_only(aggregate, from);

	call(state, &aggregate->combine, into, &argument, 1,
		 aggregate->trans_len, aggregate->trans_byval);
}

/* Change a state by an event: with the transition, or its inverse. */
static void
change(OtherState *state, const FmgrInfo *function, AggregateValue *value, int event)
{
	NullableDatum arguments[FUNC_MAX_ARGS];
	int			n = state->aggregate->narguments;

	for (int i = 0; i < n; i++)
	{
		arguments[i].value = record_value(state->stream->events[event],
										  state->stream, state->inputs[i]);
		arguments[i].isnull = false;
	}
	call(state, function, value, arguments, n, state->inputs[0]->typlen,
		 state->inputs[0]->typbyval);
}

/*
 * Are all arguments there?  Where the first is, so are the others, but for
 * volatile expressions, which are not the same twice.
 */
static bool
counts(const OtherState *state, int event)
{
	for (int i = 0; i < state->aggregate->narguments; i++)
	{
		if (!record_has(state->stream->events[event], state->indexes[i]))
			return false;
	}
	return true;
}

static void
clear_front(OtherState *state)
{
	MemoryContext before;

	MemoryContextReset(state->front_context);
	before = MemoryContextSwitchTo(state->front_context);
	state->front = empty_value(state->aggregate);
	state->count = 0;
	MemoryContextSwitchTo(before);
}

static void
extend_front(OtherState *state, int hi)
{
	MemoryContext before = MemoryContextSwitchTo(state->front_context);

	for (; state->hi < hi; state->hi++)
	{
		if (!counts(state, state->hi))
			continue;
		change(state, &state->aggregate->trans, &state->front, state->hi);
		state->count++;
	}
	MemoryContextSwitchTo(before);
}

/* ---- with combinations -------------------------------------------------------------------- */

/* Build the back over the whole window. */
static void
turn_over(OtherState *state)
{
	AggregateValue tail;
	MemoryContext before;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(state->back_context);
	before = MemoryContextSwitchTo(state->back_context);
	tail = empty_value(state->aggregate);
	for (int i = state->hi - 1; i >= state->lo; i--)
	{
		if (counts(state, i))
		{
			AggregateValue one = empty_value(state->aggregate);
			AggregateValue sum = empty_value(state->aggregate);

			change(state, &state->aggregate->trans, &one, i);
			combine(state, &sum, &one);
			combine(state, &sum, &tail);
			tail = sum;
		}
		state->back[i] = tail;
	}
	MemoryContextSwitchTo(before);
	state->mid = state->hi;
	clear_front(state);
}

static AggregateValue
slide_combining(OtherState *state, int lo, int hi)
{
	AggregateValue sum;

	if (state->hi == 0 || lo < state->lo || hi < state->hi || lo > state->hi)
	{
		state->mid = state->hi = lo;
		clear_front(state);
	}
	state->lo = lo;
	extend_front(state, hi);
	if (lo > state->mid)
		turn_over(state);
	sum = empty_value(state->aggregate);
	if (lo < state->mid)
		combine(state, &sum, &state->back[lo]);
	combine(state, &sum, &state->front);
	return sum;
}

/* ---- with an inverse ------------------------------------------------------------------------ */

static AggregateValue
slide_inverting(OtherState *state, int lo, int hi)
{
	const OtherAggregate *aggregate = state->aggregate;
	bool		anew = state->hi == 0 || lo < state->lo || hi < state->hi ||
		lo >= state->hi;
	MemoryContext before;

	for (; !anew && state->lo < lo; state->lo++)
	{
		if (!counts(state, state->lo))
			continue;
		/* Nothing is left: that is an empty state. */
		if (--state->count == 0)
		{
			clear_front(state);
			continue;
		}
		before = MemoryContextSwitchTo(state->front_context);
		change(state, &aggregate->inverse, &state->front, state->lo);
		MemoryContextSwitchTo(before);
		/* It may say that it cannot. */
		anew = state->front.isnull;
	}
	if (anew)
	{
		clear_front(state);
		state->hi = lo;
	}
	state->lo = lo;
	extend_front(state, hi);
	return state->front;
}

/* The value of the aggregate over the events [lo, hi), of which one counts. */
Datum
other_aggregate_result(OtherState *state, int lo, int hi, bool *isnull)
{
	const OtherAggregate *aggregate = state->aggregate;
	AggregateValue value = aggregate->combines ?
		slide_combining(state, lo, hi) : slide_inverting(state, lo, hi);
	LOCAL_FCINFO(fcinfo, FUNC_MAX_ARGS + 1);

	*isnull = value.isnull;
	if (!aggregate->has_final)
		return value.value;
	if (aggregate->final.fn_strict &&
		(value.isnull || aggregate->final_arguments > 1))
	{
		*isnull = true;
		return (Datum) 0;
	}
	state->window->curaggcontext = CurrentMemoryContext;
	InitFunctionCallInfoData(*fcinfo, unconstify(FmgrInfo *, &aggregate->final),
							 aggregate->final_arguments, aggregate->collation,
							 (Node *) state->window, NULL);
	fcinfo->args[0] = read_only(aggregate, &value);
	for (int i = 1; i < aggregate->final_arguments; i++)
	{
		fcinfo->args[i].value = (Datum) 0;
		fcinfo->args[i].isnull = true;
	}
	value.value = FunctionCallInvoke(fcinfo);
	*isnull = fcinfo->isnull;
	return value.value;
}
