/*
 * key_twice.c
 *	  pipeline._key_twice(rule, condition, columns...): is a key of several columns
 *	  there twice?
 *
 * Equal keys have equal hashes.  A hash of 64 bits of each key goes to a sort; if
 * no two are equal, no key is there twice, and that is known for certain and
 * without keeping one of them.  If two are, the keys are looked at themselves
 * (check_run.c): nearly always there is one twice.  A small table of the last
 * hashes notices soon what is there very often, and saves the sort.
 *
 * rule: 0, every row counts; 1, rows in which all columns are NULL do not; 2, nor
 * those in which one is.  A NULL in a key is a value of its own.  Texts are equal
 * if their bytes are.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "expect/check.h"

#define FIRST_COLUMN 3			/* argument */
#define LAST_HASHES 4096

typedef struct KeyColumn
{
	int16		typlen;
	Oid			collation;
	bool		is_numeric;
	FmgrInfo	hash;
} KeyColumn;

typedef struct Keys
{
	int			rule;
	int			ncolumns;
	KeyColumn  *columns;
	int64		elements;
	int64		missing;
	bool		twice;			/* as far as is known */
	uint64	   *last;
	Tuplesortstate *sort;
} Keys;

/*
 * Can keys of these columns be told apart by a hash?  Not where a collation takes
 * different texts for equal: the aggregate does not know of the collation.
 */
bool
pipeline_has_key_hash(const ScanTarget *target, const List *columns)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		Form_pg_attribute att = pipeline_column_attribute(target, lfirst(lc));

		if (!OidIsValid(lookup_type_cache(getBaseType(att->atttypid), TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc) ||
			(OidIsValid(att->attcollation) && !get_collation_isdeterministic(att->attcollation)))
			return false;
	}
	return list_length(columns) <= FUNC_MAX_ARGS - FIRST_COLUMN;
}

static void
end_sort(Datum arg)
{
	Keys	   *k = (Keys *) DatumGetPointer(arg);

	if (k->sort)
		tuplesort_end(k->sort);
	k->sort = NULL;
}

/* Make the state, in the current context. */
static Keys *
start(FunctionCallInfo fcinfo)
{
	Keys	   *k = palloc0(sizeof(Keys));

	k->rule = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	k->ncolumns = PG_NARGS() - FIRST_COLUMN;
	k->columns = palloc0_array(KeyColumn, k->ncolumns);
	for (int i = 0; i < k->ncolumns; i++)
	{
		Oid			base = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, i + FIRST_COLUMN));
		TypeCacheEntry *type = lookup_type_cache(base, TYPECACHE_HASH_EXTENDED_PROC);

		if (!OidIsValid(type->hash_extended_proc))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("values of type %s cannot be hashed", format_type_be(base))));
		k->columns[i].typlen = get_typlen(base);
		k->columns[i].collation = get_typcollation(base);
		k->columns[i].is_numeric = base == NUMERICOID;
		fmgr_info(type->hash_extended_proc, &k->columns[i].hash);
	}
	k->last = palloc0_array(uint64, LAST_HASHES);
	k->sort = tuplesort_begin_datum(INT8OID, lookup_type_cache(INT8OID, TYPECACHE_LT_OPR)->lt_opr,
									InvalidOid, false, work_mem, NULL, TUPLESORT_NONE);
	AggRegisterCallback(fcinfo, end_sort, PointerGetDatum(k));
	return k;
}

/* The hash of the key of a row; *nulls: how many of its columns are NULL. */
static uint64
hash_key(Keys *k, FunctionCallInfo fcinfo, int *nulls)
{
	uint64		hash = 0;

	*nulls = 0;
	for (int i = 0; i < k->ncolumns; i++)
	{
		KeyColumn  *c = &k->columns[i];
		uint64		h = 0x5bd1e995;

		if (PG_ARGISNULL(i + FIRST_COLUMN))
			(*nulls)++;
		else
		{
			Datum		value = PG_GETARG_DATUM(i + FIRST_COLUMN);

			if (c->typlen == -1)
				value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
			h = c->is_numeric ? pipeline_numeric_hash((struct varlena *) DatumGetPointer(value)) :
				DatumGetUInt64(FunctionCall2Coll(&c->hash, c->collation, value, Int64GetDatum(0)));
		}
		hash = hash_combine64(hash, h);
	}
	return hash;
}

PG_FUNCTION_INFO_V1(pipeline_key_twice_step);

/* Transition: the key of one row. */
Datum
pipeline_key_twice_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_key_twice");
	Keys	   *k;
	uint64		hash;
	int			nulls;

	if (PG_ARGISNULL(0))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		k = start(fcinfo);
		MemoryContextSwitchTo(old);
	}
	else
		k = (Keys *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(2) || !PG_GETARG_BOOL(2))
		PG_RETURN_POINTER(k);
	k->elements++;
	hash = hash_key(k, fcinfo, &nulls);
	if ((k->rule == 1 && nulls == k->ncolumns) || (k->rule == 2 && nulls > 0))
	{
		k->missing++;
		PG_RETURN_POINTER(k);
	}
	if (k->twice)
		PG_RETURN_POINTER(k);
	/* An empty place holds 0, which a hash may be as well: then the sort tells. */
	k->twice = hash != 0 && k->last[hash % LAST_HASHES] == hash;
	k->last[hash % LAST_HASHES] = hash;
	if (k->twice)
		end_sort(PointerGetDatum(k));
	else
		tuplesort_putdatum(k->sort, Int64GetDatum((int64) hash), false);
	PG_RETURN_POINTER(k);
}

PG_FUNCTION_INFO_V1(pipeline_key_twice_final);

/* {"elements", "missing", "unexpected": 0}, without the last where two hashes are equal. */
Datum
pipeline_key_twice_final(PG_FUNCTION_ARGS)
{
	Keys	   *k;
	Datum		value;
	bool		isnull;
	uint64		last = 0;
	bool		first = true;

	pipeline_aggregate_context(fcinfo, "_key_twice");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	k = (Keys *) PG_GETARG_POINTER(0);
	if (!k->twice)
		tuplesort_performsort(k->sort);
	while (!k->twice && tuplesort_getdatum(k->sort, true, false, &value, &isnull, NULL))
	{
		k->twice = !first && (uint64) DatumGetInt64(value) == last;
		last = (uint64) DatumGetInt64(value);
		first = false;
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_JSONB_P(pipeline_jsonb_from(psprintf("[{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT "%s}]",
												   k->elements, k->missing, k->twice ? "" : ", \"unexpected\": 0")));
}
