/*
 * distribution.c
 *	  pipeline._distribution(plan, value, condition): the checks that need the
 *	  values of a column counted or in order, with one hash and one sort for all.
 *
 * The plan is a constant: [{"type", "kwargs", "limit", "collation"}, ...].  The
 * result is an array with one object per check; see distribution_walk.c.
 *
 * Values are counted in a hash while they are few.  When every other value is
 * new, or the hash has outgrown its share of work_mem, what is not in it goes
 * to a tuplesort, which spills to disk; a hash that answers next to nothing is
 * not asked any more.  Where only bins are to be counted, no value is kept.  On
 * its way from a worker (distribution_state.c) a sort is a list of its values,
 * so that a parallel scan pays for columns of few values, and for bins.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "expect/distribution.h"

#define FIRST_SLOTS 1024
#define TRIAL 8192				/* values after which the hash must have paid */

static void
bad_plan(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed plan of a distribution")));
}

/* ---- types -------------------------------------------------------------------- */

/* Can values of the type be taken as doubles? */
bool
pipeline_is_number_type(Oid typid)
{
	return typid == INT2OID || typid == INT4OID || typid == INT8OID ||
		typid == FLOAT4OID || typid == FLOAT8OID || typid == NUMERICOID;
}

double
pipeline_value_double(Oid typid, Datum value)
{
	switch (typid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		default:
			return pipeline_numeric_double((struct varlena *) DatumGetPointer(value));
	}
}

/* Find out how values of the type are compared. */
static void
prepare_type(Distribution *d, Oid typid, Oid collation)
{
	TypeCacheEntry *type;

	d->typid = typid;
	d->base = getBaseType(typid);
	d->collation = collation;
	get_typlenbyval(d->base, &d->typlen, &d->typbyval);
	type = lookup_type_cache(d->base, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC | TYPECACHE_LT_OPR);
	if (!OidIsValid(type->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of type %s have no equality", format_type_be(typid))));
	fmgr_info(get_opcode(type->eq_opr), &d->eq);
	d->less = type->lt_opr;
	d->by_bits = d->typbyval && d->base != FLOAT4OID && d->base != FLOAT8OID &&
		(d->base < FirstNormalObjectId || get_typtype(d->base) == TYPTYPE_ENUM);
	d->by_bytes = (d->base == TEXTOID || d->base == VARCHAROID) &&
		(!OidIsValid(collation) || get_collation_isdeterministic(collation));
	d->has_hash = d->by_bits || d->by_bytes || OidIsValid(type->hash_proc);
	if (OidIsValid(type->hash_proc))
		fmgr_info(type->hash_proc, &d->hash);
	if (!d->has_hash && !OidIsValid(d->less))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of type %s can be neither hashed nor sorted", format_type_be(typid))));
	pipeline_prepare_to_json(&d->to_json, typid);
}

static inline uint32
hash_value(Distribution *d, Datum value)
{
	if (d->by_bits)
		return (uint32) (((uint64) value * UINT64CONST(0x9E3779B97F4A7C15)) >> 32);
	if (d->by_bytes)
		return hash_bytes((unsigned char *) VARDATA_ANY(DatumGetPointer(value)),
						  VARSIZE_ANY_EXHDR(DatumGetPointer(value)));
	return DatumGetUInt32(FunctionCall1Coll(&d->hash, d->collation, value));
}

bool
pipeline_values_equal(Distribution *d, Datum a, Datum b)
{
	if (d->by_bits)
		return a == b;
	if (d->by_bytes)
	{
		Size		len = VARSIZE_ANY_EXHDR(DatumGetPointer(a));

		return len == VARSIZE_ANY_EXHDR(DatumGetPointer(b)) &&
			memcmp(VARDATA_ANY(DatumGetPointer(a)), VARDATA_ANY(DatumGetPointer(b)), len) == 0;
	}
	return DatumGetBool(FunctionCall2Coll(&d->eq, d->collation, a, b));
}

/* ---- the plan ------------------------------------------------------------------- */

/* A partition by bins or by values, from the kwarg. */
static void
compile_partition(Distribution *d, DistributionCheck *check, const Jsonb *kwargs)
{
	Jsonb	   *partition = pipeline_kwarg_json(kwargs, "partition_object");
	Jsonb	   *list;

	if (partition == NULL)
		return;
	list = pipeline_kwarg_json(partition, "bins");
	if (list != NULL)
	{
		if (!pipeline_is_number_type(d->base))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("a partition by bins needs a column of numbers, and this one is of type %s",
							format_type_be(d->typid))));
		check->nbins = JB_ROOT_COUNT(list) - 1;
		check->edges = palloc_array(double, JB_ROOT_COUNT(list) + 1);
		check->counts = palloc0_array(int64, check->nbins + 1);
		for (int i = 0; i <= check->nbins; i++)
		{
			JsonbValue *v = getIthJsonbValueFromContainer(&list->root, i);

			check->edges[i] = v->type == jbvNumeric ? pipeline_json_number(v) :
				i == 0 ? -get_float8_infinity() : get_float8_infinity();
		}
		return;
	}
	list = pipeline_kwarg_json(partition, "values");
	check->nmembers = JB_ROOT_COUNT(list);
	check->members = palloc_array(Datum, check->nmembers + 1);
	check->counts = palloc0_array(int64, check->nmembers + 1);
	for (int i = 0; i < check->nmembers; i++)
	{
		bool		never;

		check->members[i] = pipeline_kwarg_datum(getIthJsonbValueFromContainer(&list->root, i),
												 d->base, false, "partition_object", &never);
	}
}

static void
compile_quantiles(DistributionCheck *check, const Jsonb *kwargs)
{
	Jsonb	   *list = pipeline_kwarg_json(pipeline_kwarg_json(kwargs, "quantile_ranges"), "quantiles");

	check->nquantiles = JB_ROOT_COUNT(list);
	check->quantiles = palloc_array(double, check->nquantiles + 1);
	check->values = palloc0_array(char *, check->nquantiles + 1);
	for (int i = 0; i < check->nquantiles; i++)
		check->quantiles[i] = pipeline_json_number(getIthJsonbValueFromContainer(&list->root, i));
}

static void
compile_check(Distribution *d, DistributionCheck *check, const Jsonb *plan)
{
	char	   *name = pipeline_jsonb_key(plan, "type");
	const ExpectationType *type;
	Jsonb	   *kwargs = pipeline_kwarg_json(plan, "kwargs");
	int64		limit = 0;

	if (name != NULL && strcmp(name, "profile") == 0)
	{
		check->sub = SUB_PROFILE;
		check->profile = pipeline_profile_begin();
		return;
	}
	type = pipeline_expectation_type(name ? name : "");

	if (kwargs == NULL || !JB_ROOT_IS_OBJECT(kwargs) || type->kind != CHECK_DISTRIBUTION)
		bad_plan();
	pipeline_kwarg_int(plan, "limit", &limit);
	check->sub = type->sub;
	check->limit = (int) Min(Max(limit, 0), 10000);
	initStringInfo(&check->list);
	initStringInfo(&check->others);
	switch (check->sub)
	{
		case SUB_DISTINCT_IN:
		case SUB_DISTINCT_CONTAIN:
		case SUB_DISTINCT_EQUAL:
		case SUB_MOST_COMMON:
			pipeline_check_kwargs(type, kwargs);
			check->set = pipeline_set_compile(kwargs, d->base,
											  pipeline_kwarg_bool(kwargs, "parse_strings_as_datetimes"),
											  d->collation);
			break;
		case SUB_QUANTILES:
			pipeline_check_kwargs(type, kwargs);
			compile_quantiles(check, kwargs);
			break;
		case SUB_KL:
		case SUB_DRIFT:
			pipeline_partition_check(kwargs);
			compile_partition(d, check, kwargs);
			break;
		default:
			break;
	}
}

/* Compile the plan for values of a type, into a new state, in the current context. */
void
pipeline_distribution_begin(Distribution *d, Oid typid, const Jsonb *plan)
{
	int64		collation = InvalidOid;

	if (plan == NULL || !JB_ROOT_IS_ARRAY(plan) || JB_ROOT_IS_SCALAR(plan) || JB_ROOT_COUNT(plan) == 0)
		bad_plan();
	d->plan = palloc(VARSIZE(plan));
	memcpy(d->plan, plan, VARSIZE(plan));
	d->context = CurrentMemoryContext;
	d->nchecks = JB_ROOT_COUNT(plan);
	d->checks = palloc0_array(DistributionCheck, d->nchecks);
	for (int i = 0; i < d->nchecks; i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer(&d->plan->root, i);
		Jsonb	   *check;

		if (v->type != jbvBinary)
			bad_plan();
		check = JsonbValueToJsonb(v);
		if (i == 0)
		{
			pipeline_kwarg_int(check, "collation", &collation);
			prepare_type(d, typid, (Oid) collation);
		}
		compile_check(d, &d->checks[i], check);
	}
	d->binned = true;
	for (int i = 0; i < d->nchecks; i++)
		d->binned = d->binned && d->checks[i].nbins > 0;
}

/* ---- values --------------------------------------------------------------------- */

static void
grow(Distribution *d)
{
	HashSlot   *old = d->slots;
	uint32		nold = d->nslots;

	d->nslots = nold ? nold * 2 : FIRST_SLOTS;
	d->slots = MemoryContextAllocHuge(d->context, d->nslots * sizeof(HashSlot));
	memset(d->slots, 0, d->nslots * sizeof(HashSlot));
	for (uint32 i = 0; i < nold; i++)
	{
		uint32		at;

		if (!old[i].used)
			continue;
		at = old[i].hash & (d->nslots - 1);
		while (d->slots[at].used)
			at = (at + 1) & (d->nslots - 1);
		d->slots[at] = old[i];
	}
	if (old)
		pfree(old);
}

static void
add_to_sort(Distribution *d, Datum value, int64 count)
{
	if (d->sort == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(d->context);

		d->sort = tuplesort_begin_datum(d->base, d->less, d->collation, false,
										work_mem, NULL, TUPLESORT_NONE);
		MemoryContextSwitchTo(old);
	}
	for (int64 i = 0; i < count; i++)
		tuplesort_putdatum(d->sort, value, false);
}

/* Is the hash worth its while?  Asked after every TRIAL rows. */
static void
review(Distribution *d)
{
	if (OidIsValid(d->less) && d->hits * 2 < d->probes)
		d->frozen = d->unused = true;
	d->probes = d->hits = 0;
}

/* Count a value that some rows have. */
void
pipeline_distribution_add(Distribution *d, Datum value, int64 count)
{
	uint32		hash;
	uint32		at;

	if (d->unused || !d->has_hash)
	{
		add_to_sort(d, value, count);
		return;
	}
	if (d->nvalues * 4 >= d->nslots * 3)
		grow(d);
	hash = hash_value(d, value);
	at = hash & (d->nslots - 1);
	while (d->slots[at].used)
	{
		if (d->slots[at].hash == hash && pipeline_values_equal(d, d->slots[at].value, value))
		{
			d->slots[at].count += count;
			d->hits++;
			return;
		}
		at = (at + 1) & (d->nslots - 1);
	}
	if (!d->frozen && OidIsValid(d->less))
		d->frozen = d->bytes + d->nslots * sizeof(HashSlot) > work_mem * (Size) 1024 / 2;
	if (d->frozen)
	{
		add_to_sort(d, value, count);
		return;
	}
	if (!d->typbyval)
	{
		MemoryContext old = MemoryContextSwitchTo(d->context);

		d->bytes += datumGetSize(value, false, d->typlen) + 16;
		value = datumCopy(value, false, d->typlen);
		MemoryContextSwitchTo(old);
	}
	d->slots[at] = (HashSlot) {.hash = hash, .used = true, .count = count, .value = value};
	d->nvalues++;
}

/* Count a value: in its bin, or for itself. */
static inline void
add_value(Distribution *d, Datum value)
{
	if (d->binned)
	{
		double		number = pipeline_value_double(d->base, value);

		for (int i = 0; i < d->nchecks; i++)
			pipeline_distribution_bin(&d->checks[i], number, 1);
	}
	else
	{
		pipeline_distribution_add(d, value, 1);
		if (++d->probes >= TRIAL)
			review(d);
	}
}

/* Give back the sort when the aggregate ends, or is left. */
static void
end_sort(Datum arg)
{
	Distribution *d = (Distribution *) DatumGetPointer(arg);

	if (d->sort)
		tuplesort_end(d->sort);
	d->sort = NULL;
}

void
pipeline_distribution_register(FunctionCallInfo fcinfo, Distribution *d)
{
	AggRegisterCallback(fcinfo, end_sort, PointerGetDatum(d));
}

PG_FUNCTION_INFO_V1(pipeline_distribution_step);

/* Transition: one value. */
Datum
pipeline_distribution_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_distribution");
	Distribution *d;

	if (PG_ARGISNULL(0))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		d = palloc0(sizeof(Distribution));
		pipeline_distribution_begin(d, get_fn_expr_argtype(fcinfo->flinfo, 2),
									PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
		MemoryContextSwitchTo(old);
		pipeline_distribution_register(fcinfo, d);
	}
	else
		d = (Distribution *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(3) || !PG_GETARG_BOOL(3))
		PG_RETURN_POINTER(d);
	d->elements++;
	if (PG_ARGISNULL(2))
		d->missing++;
	else if (d->typlen == -1)
		add_value(d, PointerGetDatum(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(2))));
	else
		add_value(d, PG_GETARG_DATUM(2));
	PG_RETURN_POINTER(d);
}

PG_FUNCTION_INFO_V1(pipeline_distribution_final);

/* What the checks want to know, as JSON; NULL when no row came. */
Datum
pipeline_distribution_final(PG_FUNCTION_ARGS)
{
	pipeline_aggregate_context(fcinfo, "_distribution");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(pipeline_distribution_walk((Distribution *) PG_GETARG_POINTER(0)));
}
