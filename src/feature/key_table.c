/*
 * key_table.c
 *	  The entities of the spine, numbered from 0 in order of appearance, with
 *	  the least and greatest time of each.
 *
 * Open addressing over 32-bit hashes; the values of the keys lie apart, one
 * row of Datums an entity.  Columns are hashed and compared by their type's
 * own functions, with short cuts for integers and for strings whose collation
 * is deterministic.  The table is the one thing that is never spilled: it
 * needs about 40 bytes an entity, and the values that are not by value.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_locale.h"
#include "utils/typcache.h"

#include "feature/feature.h"

typedef enum KeyKind
{
	KEY_INT,					/* by value; equal if the Datums are */
	KEY_STRING,					/* varlena; equal if the bytes are */
	KEY_GENERIC
} KeyKind;

typedef struct KeyColumn
{
	KeyKind		kind;
	int16		typlen;
	bool		typbyval;
	Oid			collation;
	FmgrInfo	hash;
	FmgrInfo	equal;
} KeyColumn;

typedef struct Bucket
{
	uint32		hash;
	uint32		key;			/* number + 1; 0 is free */
} Bucket;

struct KeyTable
{
	MemoryContext context;
	int			ncolumns;
	KeyColumn  *columns;
	uint32		nkeys;
	uint32		capacity;		/* of the arrays by key */
	Datum	   *values;
	int64	   *least;
	int64	   *greatest;
	Bucket	   *buckets;
	uint32		mask;
};

static void
column_init(KeyColumn *column, Oid type, Oid collation)
{
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_HASH_PROC |
											  TYPECACHE_EQ_OPR);

	get_typlenbyval(type, &column->typlen, &column->typbyval);
	column->collation = collation;
	fmgr_info(cache->hash_proc, &column->hash);
	fmgr_info(get_opcode(cache->eq_opr), &column->equal);
	column->kind = KEY_GENERIC;
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case BOOLOID:
		case OIDOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (column->typbyval)
				column->kind = KEY_INT;
			break;
		case BYTEAOID:
			column->kind = KEY_STRING;
			break;
		case TEXTOID:
		case VARCHAROID:
			if (get_collation_isdeterministic(collation))
				column->kind = KEY_STRING;
			break;
	}
}

/* Make an empty table for the plan's entity, in the current context. */
KeyTable *
key_table_create(const FeaturePlan *plan)
{
	KeyTable   *table = palloc0(sizeof(KeyTable));

	table->context = CurrentMemoryContext;
	table->ncolumns = plan->nkeys;
	table->columns = palloc0_array(KeyColumn, plan->nkeys);
	for (int i = 0; i < plan->nkeys; i++)
		column_init(&table->columns[i], plan->key_types[i],
					plan->key_collations[i]);
	table->capacity = 64;
	table->values = palloc_array(Datum, table->capacity * table->ncolumns);
	table->least = palloc_array(int64, table->capacity);
	table->greatest = palloc_array(int64, table->capacity);
	table->mask = 255;
	table->buckets = palloc0_array(Bucket, table->mask + 1);
	return table;
}

/* Mix the bits of an integer: multiply, fold, multiply. */
static inline uint32
hash_int(uint64 value)
{
	value *= UINT64CONST(0x9E3779B97F4A7C15);
	value ^= value >> 32;
	value *= UINT64CONST(0xD6E8FEB86659FD93);
	return (uint32) (value >> 32);
}

static uint32
key_hash(KeyTable *table, const Datum *key)
{
	uint32		hash = 0;

	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];
		uint32		h;

		switch (column->kind)
		{
			case KEY_INT:
				h = hash_int((uint64) key[i]);
				break;
			case KEY_STRING:
				{
					struct varlena *v = PG_DETOAST_DATUM_PACKED(key[i]);

					h = hash_bytes((unsigned char *) VARDATA_ANY(v),
								   VARSIZE_ANY_EXHDR(v));
					break;
				}
			default:
				h = DatumGetUInt32(FunctionCall1Coll(&column->hash,
													 column->collation, key[i]));
		}
		hash = hash_combine(hash, h);
	}
	return hash;
}

static bool
key_equal(KeyTable *table, uint32 number, const Datum *key)
{
	const Datum *stored = &table->values[(uint64) number * table->ncolumns];

	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];

		switch (column->kind)
		{
			case KEY_INT:
				if (stored[i] != key[i])
					return false;
				break;
			case KEY_STRING:
				{
					struct varlena *a = (struct varlena *) DatumGetPointer(stored[i]);
					struct varlena *b = PG_DETOAST_DATUM_PACKED(key[i]);
					Size		len = VARSIZE_ANY_EXHDR(a);

					if (len != VARSIZE_ANY_EXHDR(b) ||
						memcmp(VARDATA_ANY(a), VARDATA_ANY(b), len) != 0)
						return false;
					break;
				}
			default:
				if (!DatumGetBool(FunctionCall2Coll(&column->equal,
													column->collation,
													stored[i], key[i])))
					return false;
		}
	}
	return true;
}

/* Find the bucket of the key: its own, or the free one to put it in. */
static Bucket *
key_bucket(KeyTable *table, const Datum *key, uint32 hash)
{
	uint32		i = hash & table->mask;

	for (;;)
	{
		Bucket	   *bucket = &table->buckets[i];

		if (bucket->key == 0 ||
			(bucket->hash == hash && key_equal(table, bucket->key - 1, key)))
			return bucket;
		i = (i + 1) & table->mask;
	}
}

static void
grow_buckets(KeyTable *table)
{
	Bucket	   *old = table->buckets;
	uint32		old_mask = table->mask;
	MemoryContext before = MemoryContextSwitchTo(table->context);

	table->mask = old_mask * 2 + 1;
	table->buckets = palloc_extended(((Size) table->mask + 1) * sizeof(Bucket),
									 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint64 i = 0; i <= old_mask; i++)
	{
		uint32		to = old[i].hash & table->mask;

		if (old[i].key == 0)
			continue;
		while (table->buckets[to].key != 0)
			to = (to + 1) & table->mask;
		table->buckets[to] = old[i];
	}
	pfree(old);
	MemoryContextSwitchTo(before);
}

static void
grow_arrays(KeyTable *table)
{
	Size		capacity = (Size) table->capacity * 2;

	if (capacity >= PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the spine has too many entities"),
				 errhint("The limit is 1073741824 in one computation: split it by from_time and to_time.")));
	table->values = repalloc_huge(table->values,
								  capacity * table->ncolumns * sizeof(Datum));
	table->least = repalloc_huge(table->least, capacity * sizeof(int64));
	table->greatest = repalloc_huge(table->greatest, capacity * sizeof(int64));
	table->capacity = capacity;
}

static uint32
insert_key(KeyTable *table, Bucket *bucket, const Datum *key, uint32 hash)
{
	uint32		number = table->nkeys++;
	Datum	   *stored;
	MemoryContext before;

	bucket->hash = hash;
	bucket->key = number + 1;
	if (table->nkeys > table->capacity)
		grow_arrays(table);
	stored = &table->values[(uint64) number * table->ncolumns];
	before = MemoryContextSwitchTo(table->context);
	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];
		Datum		value = key[i];

		if (column->typlen == -1)
			value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		else
			value = datumCopy(value, column->typbyval, column->typlen);
		stored[i] = value;
	}
	MemoryContextSwitchTo(before);
	table->least[number] = PG_INT64_MAX;
	table->greatest[number] = PG_INT64_MIN;
	if (table->nkeys > table->mask / 2)
		grow_buckets(table);
	return number;
}

/* Return the number of an entity, or -1 if the spine does not have it. */
int64
key_table_find(KeyTable *table, const Datum *key)
{
	return (int64) key_bucket(table, key, key_hash(table, key))->key - 1;
}

/* Return the number of the entity of a spine row, new or known. */
uint32
key_table_add(KeyTable *table, const Datum *key, int64 time)
{
	uint32		hash = key_hash(table, key);
	Bucket	   *bucket = key_bucket(table, key, hash);
	uint32		number = bucket->key != 0 ? bucket->key - 1 :
		insert_key(table, bucket, key, hash);

	table->least[number] = Min(table->least[number], time);
	table->greatest[number] = Max(table->greatest[number], time);
	return number;
}

/* How many entities there are. */
uint32
key_table_size(const KeyTable *table)
{
	return table->nkeys;
}

/* The least and greatest time of an entity's spine rows. */
void
key_table_times(const KeyTable *table, uint32 key, int64 *least,
				int64 *greatest)
{
	*least = table->least[key];
	*greatest = table->greatest[key];
}
