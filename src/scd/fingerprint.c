/*
 * fingerprint.c
 *	  Fingerprints of rows, and hashes of keys.
 *
 * The fingerprint is of the binary images of key and attributes, detoasted:
 * rows with equal fingerprints are equal, and rows with different ones are
 * compared, since 1.0 is 1.00.  It is seeded by secrets that are new in each
 * merge, so that nobody can make two rows of one fingerprint.
 *
 * Keys that are equal must hash alike whatever their image: where equality is
 * not that of the image (the server knows for which types it is), the type's
 * own hash function hashes them.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "scd/live.h"

/* Make the secrets of a merge. */
void
live_keys_init(LiveKeys *keys)
{
	if (!pg_strong_random(keys, sizeof(LiveKeys)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < 4; i++)
		keys->k[i] |= 1;
}

/* Both halves of the product of two words. */
static inline uint64
mum(uint64 x, uint64 y)
{
#ifdef HAVE_INT128
	uint128		product = (uint128) x * y;

	return (uint64) product ^ (uint64) (product >> 64);
#else
	uint64		low = x * y;
	uint64		high = (x >> 32) * (y >> 32) + (((x >> 32) * (uint32) y) >> 32) +
		(((uint64) (uint32) x * (y >> 32)) >> 32);

	return low ^ high;
#endif
}

static inline void
mix(const LiveKeys *keys, Fingerprint *f, uint64 word)
{
	f->a = mum(f->a ^ word, keys->k[0]) + keys->k[2];
	f->b = mum(f->b ^ word, keys->k[1]) + keys->k[3];
}

static inline void
mix_bytes(const LiveKeys *keys, Fingerprint *f, const char *data, Size len)
{
	uint64		word;

	mix(keys, f, len);
	for (; len >= sizeof(word); len -= sizeof(word), data += sizeof(word))
	{
		memcpy(&word, data, sizeof(word));
		mix(keys, f, word);
	}
	if (len > 0)
	{
		word = 0;
		memcpy(&word, data, len);
		mix(keys, f, word);
	}
}

static inline void
mix_value(const LiveKeys *keys, Fingerprint *f, const MergeColumn *column,
		  Datum value)
{
	if (column->byval)
	{
		/* What lies beyond the length is of no account. */
		uint64		word = column->len == 8 ? (uint64) value :
			column->len == 4 ? (uint64) (uint32) value :
			column->len == 2 ? (uint64) (uint16) value : (uint64) (uint8) value;

		mix(keys, f, word);
	}
	else if (column->len == -1)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		mix_bytes(keys, f, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
		if ((Pointer) v != DatumGetPointer(value))
			pfree(v);
	}
	else
		mix_bytes(keys, f, DatumGetPointer(value),
				  datumGetSize(value, false, column->len));
}

/* The fingerprint of a row; column i is at map[i], or at i. */
Fingerprint
live_fingerprint(const LiveKeys *keys, const MergePlan *plan,
				 const Datum *values, const bool *nulls,
				 const AttrNumber *map)
{
	Fingerprint f = {keys->k[2], keys->k[3]};

	for (int i = 0; i < plan->ncolumns; i++)
	{
		int			at = map ? map[i] : i;

		if (nulls[at])
			mix(keys, &f, keys->k[2] + i);
		else
			mix_value(keys, &f, &plan->columns[i], values[at]);
	}
	return f;
}

/* The hash of a key without NULLs. */
uint32
live_key_hash(const LiveKeys *keys, const MergePlan *plan,
			  const Datum *values, const bool *nulls, const AttrNumber *map)
{
	Fingerprint f = {keys->k[0], keys->k[1]};

	for (int i = 0; i < plan->nkeys; i++)
	{
		MergeColumn *column = &plan->columns[i];
		int			at = map ? map[i] : i;

		if (nulls[at])
			mix(keys, &f, keys->k[3] + i);
		else if (column->image_equality)
			mix_value(keys, &f, column, values[at]);
		else
			mix(keys, &f, pipeline_scd_hash(column, values[at], keys->k[3]));
	}
	return (uint32) (f.a >> 32) ^ (uint32) f.a;
}

/* Is the default equality of a column's type that of the image? */
bool
pipeline_scd_image_equality(const MergeColumn *column)
{
	TypeCacheEntry *type = lookup_type_cache(column->type, TYPECACHE_BTREE_OPFAMILY);
	Oid			proc;

	/* Blanks at the end are of no account. */
	if (column->type == BPCHAROID || !OidIsValid(type->btree_opf))
		return false;
	proc = get_opfamily_proc(type->btree_opf, type->btree_opintype,
							 type->btree_opintype, BTEQUALIMAGE_PROC);
	return OidIsValid(proc) &&
		DatumGetBool(OidFunctionCall1Coll(proc, column->collation,
										  ObjectIdGetDatum(type->btree_opintype)));
}
