/*
 * check_set.c
 *	  Membership in a set of values.
 *
 * Integers go by binary search, text under a deterministic collation by a hash
 * of its bytes, any other type by its own hash and equality, or by equality
 * alone where it has no hash.  A NULL in the set is no member.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "expect/check.h"

/* So few are compared one by one: that is done sooner than a hash. */
#define FEW_MEMBERS 8

typedef enum SetKind
{
	SET_ALL,					/* no set was given: everything is a member */
	SET_INT,
	SET_BYTES,
	SET_HASH,
	SET_LINEAR
} SetKind;

struct ValueSet
{
	SetKind		kind;
	int			typlen;
	Oid			collation;
	int			n;
	int			never;			/* members that no value can equal */
	Datum	   *values;
	int64	   *ints;
	uint32	   *hashes;
	uint32		mask;
	int		   *slots;			/* 0: free; else index + 1 */
	FmgrInfo	eq;
	FmgrInfo	hash;
};

static int
compare_ints(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static int64
int_of(const ValueSet *set, Datum value)
{
	return set->typlen == 2 ? DatumGetInt16(value) :
		set->typlen == 4 ? DatumGetInt32(value) : DatumGetInt64(value);
}

static uint32
hash_of(ValueSet *set, Datum value)
{
	if (set->kind == SET_BYTES)
		return hash_bytes((unsigned char *) VARDATA_ANY(DatumGetPointer(value)),
						  VARSIZE_ANY_EXHDR(DatumGetPointer(value)));
	return DatumGetUInt32(FunctionCall1Coll(&set->hash, set->collation, value));
}

static inline bool
same_value(ValueSet *set, Datum a, Datum b)
{
	if (set->kind == SET_BYTES)
	{
		Size		len = VARSIZE_ANY_EXHDR(DatumGetPointer(a));

		return len == VARSIZE_ANY_EXHDR(DatumGetPointer(b)) &&
			memcmp(VARDATA_ANY(DatumGetPointer(a)), VARDATA_ANY(DatumGetPointer(b)), len) == 0;
	}
	return DatumGetBool(FunctionCall2Coll(&set->eq, set->collation, a, b));
}

/* Choose how members of this type are found. */
static void
choose_kind(ValueSet *set, Oid typid)
{
	TypeCacheEntry *type;

	if (typid == INT2OID || typid == INT4OID || typid == INT8OID ||
		typid == DATEOID || typid == TIMESTAMPOID || typid == TIMESTAMPTZOID)
	{
		set->kind = SET_INT;
		return;
	}
	if ((typid == TEXTOID || typid == VARCHAROID) &&
		(!OidIsValid(set->collation) || get_collation_isdeterministic(set->collation)))
	{
		set->kind = SET_BYTES;
		return;
	}
	type = lookup_type_cache(typid, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);
	if (!OidIsValid(type->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of type %s have no equality", format_type_be(typid))));
	fmgr_info(get_opcode(type->eq_opr), &set->eq);
	set->kind = OidIsValid(type->hash_proc) ? SET_HASH : SET_LINEAR;
	if (set->kind == SET_HASH)
		fmgr_info(type->hash_proc, &set->hash);
}

static void
build_hash(ValueSet *set)
{
	uint32		size = 8;

	while (size < 2 * (uint32) set->n)
		size *= 2;
	set->mask = size - 1;
	set->slots = palloc0_array(int, size);
	set->hashes = palloc_array(uint32, set->n + 1);
	for (int i = 0; i < set->n; i++)
	{
		uint32		slot;

		set->hashes[i] = hash_of(set, set->values[i]);
		slot = set->hashes[i] & set->mask;
		while (set->slots[slot] != 0)
			slot = (slot + 1) & set->mask;
		set->slots[slot] = i + 1;
	}
}

static void
build_ints(ValueSet *set)
{
	set->ints = palloc_array(int64, set->n + 1);
	for (int i = 0; i < set->n; i++)
		set->ints[i] = int_of(set, set->values[i]);
	qsort(set->ints, set->n, sizeof(int64), compare_ints);
}

/* Make the set of the kwarg value_set, for values of the (base) type. */
ValueSet *
pipeline_set_compile(const Jsonb *kwargs, Oid typid, bool datetimes,
					 Oid collation)
{
	ValueSet   *set = palloc0(sizeof(ValueSet));
	JsonbValue	buf;
	JsonbValue	e;
	JsonbValue *array = pipeline_kwarg(kwargs, "value_set", &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;

	set->collation = collation;
	set->typlen = get_typlen(typid);
	if (array == NULL || array->type != jbvBinary)
		return set;
	choose_kind(set, typid);
	set->values = palloc_array(Datum, JsonContainerSize(array->val.binary.data) + 1);
	it = JsonbIteratorInit(array->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		bool		never;
		Datum		value;

		if (token != WJB_ELEM || e.type == jbvNull)
			continue;
		if (e.type == jbvBinary)
			elog(ERROR, "value_set holds what is not a scalar");
		value = pipeline_kwarg_datum(&e, typid, datetimes, "value_set", &never);
		if (never)
			set->never++;
		else
			set->values[set->n++] = value;
	}
	if (set->kind == SET_INT)
		build_ints(set);
	else if (set->kind != SET_LINEAR)
		build_hash(set);
	return set;
}

static bool
has_int(const ValueSet *set, int64 value)
{
	int			low = 0;
	int			high = set->n - 1;

	if (set->n <= 8)
	{
		for (int i = 0; i < set->n; i++)
			if (set->ints[i] == value)
				return true;
		return false;
	}
	while (low <= high)
	{
		int			mid = (low + high) / 2;

		if (set->ints[mid] == value)
			return true;
		if (set->ints[mid] < value)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return false;
}

/* Is the value, not NULL and detoasted if it is text, in the set? */
bool
pipeline_set_has(ValueSet *set, Datum value)
{
	uint32		hash;

	switch (set->kind)
	{
		case SET_ALL:
			return true;
		case SET_INT:
			return has_int(set, int_of(set, value));
		case SET_LINEAR:
			for (int i = 0; i < set->n; i++)
				if (same_value(set, set->values[i], value))
					return true;
			return false;
		default:
			break;
	}
	if (set->n == 0)
		return false;
	if (set->kind == SET_BYTES && set->n <= FEW_MEMBERS)
	{
		for (int i = 0; i < set->n; i++)
			if (same_value(set, set->values[i], value))
				return true;
		return false;
	}
	hash = hash_of(set, value);
	for (uint32 slot = hash & set->mask; set->slots[slot] != 0;
		 slot = (slot + 1) & set->mask)
	{
		int			i = set->slots[slot] - 1;

		if (set->hashes[i] == hash && same_value(set, set->values[i], value))
			return true;
	}
	return false;
}

/* Was no set given, so that everything is in it? */
bool
pipeline_set_is_all(const ValueSet *set)
{
	return set->kind == SET_ALL;
}

/* How many members has it, each counted once? */
int64
pipeline_set_size(const ValueSet *set)
{
	int64		size = set->never;

	for (int i = 0; i < set->n; i++)
	{
		int			same = 0;

		if (set->kind == SET_INT)
			size += i == 0 || set->ints[i] != set->ints[i - 1];
		else
		{
			while (same < i && !same_value((ValueSet *) set, set->values[i], set->values[same]))
				same++;
			size += same == i;
		}
	}
	return size;
}
