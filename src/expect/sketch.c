/*
 * sketch.c
 *	  pipeline._sketch(plan, value, condition): distinct values, quantiles, the
 *	  most common values and the profile of a column in bounded memory, for whom
 *	  nearly is enough.
 *
 * Plan and result are those of _distribution.  Values are counted in a small
 * hash.  As long as all of them fit, everything is exact, and said by the same
 * walk as there.  When it is full, each of its values is told to the sketches:
 * the distinct ones to HyperLogLog, those in order to quantiles, numbers and
 * texts to the profile; then the median of the counts is taken from every count,
 * and what has none left makes room (Misra and Gries).  So a value that is
 * common stays, and its count is too low by no more than the sum of what was
 * taken: about 1/1500 of the rows.  Equal values that come close together are
 * told once, with how many there are.
 *
 * Whether no value is there twice, which suggest() wants to know for certain, is
 * seen by sorting hashes of 64 bits, until the first that is there twice.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "expect/sketch.h"

#define FIRST_SLOTS 256
#define MAX_SLOTS 4096
#define TAG_MASK 0xFFFF0000		/* bits of the hash in the index */
#define FIRST_ARENA 4096
#define ARENA_BYTES (1024 * 1024)
#define MAX_SLOT_BYTES (64 * 1024)	/* of a value that is counted */
#define REGISTER_BITS 14
#define UNIQUE_REVIEW 64		/* purges between two looks */

/* Is what it asks for to be had from a sketch?  Then values need a good hash. */
bool
pipeline_is_sketchable(Oid typid)
{
	Oid			base = getBaseType(typid);
	TypeCacheEntry *type = lookup_type_cache(base, TYPECACHE_EQ_OPR | TYPECACHE_HASH_EXTENDED_PROC);

	return OidIsValid(type->eq_opr) && get_typlen(base) != -2 &&
		(OidIsValid(type->hash_extended_proc) || get_typtype(base) == TYPTYPE_ENUM);
}

/* Make a state in a context that lives as long as the aggregate. */
Sketch *
pipeline_sketch_begin(MemoryContext context, Oid typid, const Jsonb *plan)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Sketch	   *s = palloc0(sizeof(Sketch));
	TypeCacheEntry *type;

	s->context = context;
	pipeline_distribution_begin(&s->d, typid, plan);
	type = lookup_type_cache(s->d.base, TYPECACHE_HASH_EXTENDED_PROC);
	if (!s->d.by_bits && !s->d.by_bytes)
	{
		if (!OidIsValid(type->hash_extended_proc))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("values of type %s cannot be hashed", format_type_be(typid))));
		fmgr_info(type->hash_extended_proc, &s->hash);
	}
	for (int i = 0; i < s->d.nchecks; i++)
		s->profiled = s->profiled || s->d.checks[i].sub == SUB_PROFILE;
	if (OidIsValid(s->d.less))
	{
		s->order = palloc0(sizeof(SortSupportData));
		s->order->ssup_cxt = context;
		s->order->ssup_collation = s->d.collation;
		PrepareSortSupportFromOrderingOp(s->d.less, s->order);
		s->quantiles = pipeline_quantiles_begin(context, s->order, s->d.typlen, s->d.typbyval,
												pipeline_is_text_type(s->d.base));
	}
	initHyperLogLog(&s->distinct, REGISTER_BITS);
	s->exact = s->unique = true;
	s->capacity = FIRST_SLOTS;
	s->slots = palloc_array(SketchSlot, FIRST_SLOTS);
	s->index = palloc0_array(uint32, FIRST_SLOTS * 2);
	MemoryContextSwitchTo(old);
	return s;
}

/* Mix the bits of a value (Stafford's variant 13 of the finalizer of murmur). */
static inline uint64
mix(uint64 bits)
{
	bits = (bits ^ (bits >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	bits = (bits ^ (bits >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return bits ^ (bits >> 31);
}

static inline uint64
hash_value(Sketch *s, Datum value)
{
	if (s->d.by_bits)
		return mix((uint64) value);
	if (s->d.by_bytes)
		return hash_bytes_extended((unsigned char *) VARDATA_ANY(DatumGetPointer(value)),
								   VARSIZE_ANY_EXHDR(DatumGetPointer(value)), 0);
	if (s->d.base == NUMERICOID)
		return pipeline_numeric_hash((struct varlena *) DatumGetPointer(value));
	return DatumGetUInt64(FunctionCall2Coll(&s->hash, s->d.collation, value, Int64GetDatum(0)));
}

/* ---- what the sketches get --------------------------------------------------------- */

/* Is a number plainly between the least and the greatest, so that a comparison is saved? */
static bool
is_between(Sketch *s, Datum value)
{
	double		number;

	if (s->d.base != NUMERICOID || !s->has_ends)
		return false;
	number = pipeline_value_double(NUMERICOID, value);
	return number > s->min_number && number < s->max_number;
}

/* Least and greatest. */
void
pipeline_sketch_end_value(Sketch *s, Datum value)
{
	bool		below;
	bool		above;
	MemoryContext old;

	if (is_between(s, value))
		return;
	below = !s->has_ends || ApplySortComparator(value, false, s->min, false, s->order) < 0;
	above = !s->has_ends ||
		(!below && ApplySortComparator(value, false, s->max, false, s->order) > 0);
	if (!below && !above)
		return;
	old = MemoryContextSwitchTo(s->context);
	if (below)
	{
		if (s->has_ends && !s->d.typbyval)
			pfree(DatumGetPointer(s->min));
		s->min = datumCopy(value, s->d.typbyval, s->d.typlen);
	}
	if (above)
	{
		if (s->has_ends && !s->d.typbyval)
			pfree(DatumGetPointer(s->max));
		s->max = datumCopy(value, s->d.typbyval, s->d.typlen);
	}
	s->has_ends = true;
	MemoryContextSwitchTo(old);
	if (s->d.base == NUMERICOID)
	{
		s->min_number = pipeline_value_double(NUMERICOID, s->min);
		s->max_number = pipeline_value_double(NUMERICOID, s->max);
	}
}

static void
stop_looking(Sketch *s)
{
	s->unique = false;
	if (s->hashes)
		tuplesort_end(s->hashes);
	s->hashes = NULL;
}

/* Keep the hash of a value that was met once. */
static void
keep_hash(Sketch *s, uint64 hash)
{
	if (s->hashes == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(s->context);

		s->hashes = tuplesort_begin_datum(INT8OID, lookup_type_cache(INT8OID, TYPECACHE_LT_OPR)->lt_opr,
										  InvalidOid, false, work_mem, NULL, TUPLESORT_NONE);
		MemoryContextSwitchTo(old);
	}
	tuplesort_putdatum(s->hashes, Int64GetDatum((int64) hash), false);
}

/* Tell the sketches of a value, which some rows have. */
static void
tell(Sketch *s, uint64 hash, Datum value, int64 count, bool known)
{
	if (!known)
	{
		addHyperLogLog(&s->distinct, (uint32) (hash >> 32));
		if (s->order)
			pipeline_sketch_end_value(s, value);
		if (s->wants_unique && s->unique)
			keep_hash(s, hash);
	}
	if (s->quantiles)
		pipeline_quantiles_add(s->quantiles, value, count);
	for (int i = 0; s->profiled && i < s->d.nchecks; i++)
		if (s->d.checks[i].sub == SUB_PROFILE)
			pipeline_profile_value(&s->d, s->d.checks[i].profile, value, count);
}

/* Tell the sketches of all that they do not know yet. */
void
pipeline_sketch_flush(Sketch *s)
{
	for (uint32 i = 0; i < s->nvalues; i++)
	{
		SketchSlot *slot = &s->slots[i];

		if (slot->pending == 0)
			continue;
		tell(s, slot->hash, slot->value, slot->pending, slot->known);
		slot->pending = 0;
		slot->known = true;
	}
}

/* ---- the hash ------------------------------------------------------------------------ */

/* Where in the index to begin, and what is to be found there. */
static inline uint32
index_at(Sketch *s, uint64 hash)
{
	return (uint32) hash & (s->capacity * 2 - 1);
}

static inline uint32
tag_of(uint64 hash)
{
	return (uint32) (hash >> 32) & TAG_MASK;
}

/* Add a slot, for which there is room; the caller fills it. */
static inline SketchSlot *
place(Sketch *s, uint64 hash)
{
	uint32		at = index_at(s, hash);
	SketchSlot *slot = &s->slots[s->nvalues++];

	while (s->index[at] != 0)
		at = (at + 1) & (s->capacity * 2 - 1);
	s->index[at] = tag_of(hash) | s->nvalues;
	slot->hash = hash;
	return slot;
}

/* Take room for a value of the slots; false if there is none. */
static bool
keep_value(Sketch *s, Datum *value)
{
	Size		size;
	char	   *at;

	if (s->d.typbyval)
		return true;
	size = datumGetSize(*value, false, s->d.typlen);
	if (s->arena_used + MAXALIGN(size) > s->arena_size)
		return false;
	at = s->arena + s->arena_used;
	memcpy(at, DatumGetPointer(*value), size);
	s->arena_used += MAXALIGN(size);
	*value = PointerGetDatum(at);
	return true;
}

/* Pack the slots that have a count, and their values with them. */
static void
pack(Sketch *s, uint32 capacity, Size arena_size)
{
	uint32		n = s->nvalues;
	char	   *old = s->arena;
	bool		moves = arena_size != s->arena_size;

	if (capacity != s->capacity)
	{
		s->slots = repalloc(s->slots, capacity * sizeof(SketchSlot));
		s->index = repalloc(s->index, capacity * 2 * sizeof(uint32));
		s->capacity = capacity;
	}
	memset(s->index, 0, capacity * 2 * sizeof(uint32));
	s->nvalues = 0;
	if (!s->d.typbyval)
	{
		s->arena = !moves && s->spare ? s->spare : MemoryContextAlloc(s->context, arena_size);
		s->arena_size = arena_size;
		s->arena_used = 0;
	}
	for (uint32 i = 0; i < n; i++)
	{
		SketchSlot	slot = s->slots[i];

		if (slot.count <= 0)
			continue;
		if (!keep_value(s, &slot.value))
			elog(ERROR, "no room for the values of a sketch");
		*place(s, slot.hash) = slot;
	}
	/* The next time the values move back, unless the room was too small. */
	if (moves && s->spare && s->spare != s->arena)
		pfree(s->spare);
	if (moves && old)
		pfree(old);
	s->spare = moves ? NULL : old;
}

static int
compare_counts(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* The median of the counts. */
static int64
median_count(Sketch *s)
{
	int64	   *counts;
	uint32		ones = 0;
	int64		median;

	for (uint32 i = 0; i < s->nvalues; i++)
		ones += s->slots[i].count == 1;
	/* As it is where values hardly ever come again. */
	if (ones * 2 > s->nvalues || s->nvalues == 0)
		return 1;
	counts = palloc_array(int64, s->nvalues);
	for (uint32 i = 0; i < s->nvalues; i++)
		counts[i] = s->slots[i].count;
	qsort(counts, s->nvalues, sizeof(int64), compare_counts);
	median = counts[s->nvalues / 2];
	pfree(counts);
	return median;
}

/* Make room: tell the sketches, and let go of what is rare. */
static void
purge(Sketch *s)
{
	int64		median = median_count(s);

	pipeline_sketch_flush(s);
	s->exact = false;
	s->offset += median;
	for (uint32 i = 0; i < s->nvalues; i++)
		s->slots[i].count = Max(s->slots[i].count - median, 0);
	pack(s, s->capacity, s->arena_size);
	if (s->wants_unique && s->unique && ++s->purges % UNIQUE_REVIEW == 0 &&
		pipeline_distinct_estimate(&s->distinct) < 0.9 * (double) (s->d.elements - s->d.missing))
		stop_looking(s);
}

/* Room for one more value: grow, or purge. */
static bool
make_room(Sketch *s, Datum *value)
{
	for (int i = 0; i < 12; i++)
	{
		bool		full = s->nvalues >= s->capacity;

		if (!full && keep_value(s, value))
			return true;
		if (full && s->capacity < MAX_SLOTS)
			pack(s, s->capacity * 2, Max(s->arena_size, FIRST_ARENA));
		else if (!full && s->arena_size < ARENA_BYTES)
			pack(s, s->capacity, Max(s->arena_size * 2, FIRST_ARENA));
		else
			purge(s);
	}
	return false;
}

/*
 * Count a value that some rows have, `pending` of which the sketches do not
 * know; `known`: they know that it exists.
 */
void
pipeline_sketch_count(Sketch *s, uint64 hash, Datum value, int64 count, int64 pending, bool known)
{
	uint32		at = index_at(s, hash);
	SketchSlot *slot;

	while (s->index[at] != 0)
	{
		slot = &s->slots[(s->index[at] & ~TAG_MASK) - 1];
		if ((s->index[at] & TAG_MASK) == tag_of(hash) && slot->hash == hash)
		{
			slot->count += count;
			slot->pending += pending;
			slot->known = slot->known || known;
			if (s->wants_unique && s->unique)
				stop_looking(s);
			return;
		}
		at = (at + 1) & (s->capacity * 2 - 1);
	}
	if ((!s->d.typbyval && datumGetSize(value, false, s->d.typlen) > MAX_SLOT_BYTES) ||
		!make_room(s, &value))
	{
		s->exact = false;
		if (pending > 0)
			tell(s, hash, value, pending, known);
		return;
	}
	slot = place(s, hash);
	slot->count = count;
	slot->pending = pending;
	slot->known = known;
	slot->value = value;
}

/* ---- the aggregate ------------------------------------------------------------------- */

/* Give back the sort when the aggregate ends, or is left. */
static void
end_sketch(Datum arg)
{
	Sketch	   *s = (Sketch *) DatumGetPointer(arg);

	if (s->hashes)
		tuplesort_end(s->hashes);
	s->hashes = NULL;
}

static Datum
step(FunctionCallInfo fcinfo, bool unique)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_sketch");
	Sketch	   *s;
	Datum		value;

	if (PG_ARGISNULL(0))
	{
		s = pipeline_sketch_begin(context, get_fn_expr_argtype(fcinfo->flinfo, 2),
								  PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
		s->wants_unique = unique;
		AggRegisterCallback(fcinfo, end_sketch, PointerGetDatum(s));
	}
	else
		s = (Sketch *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(3) || !PG_GETARG_BOOL(3))
		PG_RETURN_POINTER(s);
	s->d.elements++;
	if (PG_ARGISNULL(2))
	{
		s->d.missing++;
		PG_RETURN_POINTER(s);
	}
	value = PG_GETARG_DATUM(2);
	if (s->d.typlen == -1 && (VARATT_IS_EXTERNAL(DatumGetPointer(value)) || VARATT_IS_COMPRESSED(DatumGetPointer(value))))
		value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	pipeline_sketch_count(s, hash_value(s, value), value, 1, 1, false);
	PG_RETURN_POINTER(s);
}

PG_FUNCTION_INFO_V1(pipeline_sketch_step);

/* Transition: one value. */
Datum
pipeline_sketch_step(PG_FUNCTION_ARGS)
{
	return step(fcinfo, false);
}

PG_FUNCTION_INFO_V1(pipeline_sketch_unique_step);

/* Transition: one value, and see whether it is there twice. */
Datum
pipeline_sketch_unique_step(PG_FUNCTION_ARGS)
{
	return step(fcinfo, true);
}
