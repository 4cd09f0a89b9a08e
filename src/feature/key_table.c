/*
 * key_table.c
 *	  The entities of the spine, numbered from 0 in order of appearance, with
 *	  the least and greatest time of each.
 *
 * Open addressing over 32-bit hashes; what is known of an entity lies in one
 * piece, so that a probe costs two cache misses: its bucket and its entry.
 * Columns become words: integers as they are, strings (whose collation is
 * deterministic) as codes of a dictionary, other types as Datums that are
 * hashed and compared by their type's own functions.  The table is the one
 * thing that is never spilled: it needs about 40 bytes an entity and 8 a
 * column, and the distinct strings.
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
#include "feature/key_table_layout.h"

#define FIRST_MASK 255
#define MAX_SEALED (32 * 1024)	/* entities: the bits of more leave the cache */

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
		case UUIDOID:
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
	{
		KeyColumn  *column = &table->columns[i];

		column_init(column, plan->key_types[i], plan->key_collations[i]);
		column->dictionary.mask = FIRST_MASK;
		if (column->kind == KEY_STRING)
			column->dictionary.strings = palloc0_array(KeyString, FIRST_MASK + 1);
	}
	table->capacity = 64;
	table->entry_size = offsetof(KeyEntry, words) + plan->nkeys * sizeof(Datum);
	table->entries = palloc(table->capacity * table->entry_size);
	table->mask = FIRST_MASK;
	table->buckets = palloc0_array(Bucket, FIRST_MASK + 1);
	return table;
}

/* ---- strings ------------------------------------------------------------------- */

static void
grow_dictionary(KeyTable *table, Dictionary *dictionary)
{
	KeyString  *old = dictionary->strings;
	uint32		old_mask = dictionary->mask;

	dictionary->mask = old_mask * 2 + 1;
	dictionary->strings = MemoryContextAllocExtended(table->context,
													 ((Size) dictionary->mask + 1) * sizeof(KeyString),
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint64 i = 0; i <= old_mask; i++)
	{
		uint32		to = old[i].hash & dictionary->mask;

		if (old[i].code == 0)
			continue;
		while (dictionary->strings[to].code != 0)
			to = (to + 1) & dictionary->mask;
		dictionary->strings[to] = old[i];
	}
	pfree(old);
}

/* Return the code of a string; 0 if it has none and shall not get one. */
static uint32
string_code(KeyTable *table, KeyColumn *column, Datum value, bool insert)
{
	Dictionary *dictionary = &column->dictionary;
	char	   *bytes = DatumGetPointer(value);
	Size		length = column->typlen;
	uint32		hash;
	uint32		i;
	KeyString  *s;

	if (column->typlen == -1)
	{
		struct varlena *string = PG_DETOAST_DATUM_PACKED(value);

		bytes = VARDATA_ANY(string);
		length = VARSIZE_ANY_EXHDR(string);
	}
	hash = hash_bytes((unsigned char *) bytes, length);
	i = hash & dictionary->mask;
	for (;; i = (i + 1) & dictionary->mask)
	{
		s = &dictionary->strings[i];
		if (s->code == 0)
			break;
		if (s->hash == hash && s->length == length &&
			memcmp(s->bytes, bytes, length) == 0)
			return s->code;
	}
	if (!insert)
		return 0;
	s->hash = hash;
	s->length = length;
	s->bytes = MemoryContextAlloc(table->context, length + 1);
	memcpy(s->bytes, bytes, length);
	s->code = ++dictionary->nstrings;
	if (dictionary->nstrings > dictionary->mask / 2)
		grow_dictionary(table, dictionary);
	return dictionary->nstrings;
}

/* ---- keys ------------------------------------------------------------------------ */

/*
 * Turn the columns of a key into words, and hash them.  False: the key has a
 * string that the spine has nowhere, and is not to get one.  Words may point
 * into the key; see key_table_keeps_words().
 */
bool
key_table_words(KeyTable *table, const Datum *key, bool insert, Datum *words,
				uint32 *result)
{
	uint64		hash = 0;

	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];
		uint64		h;

		words[i] = key[i];
		switch (column->kind)
		{
			case KEY_INT:
				words[i] = canonical_datum(key[i], column->typlen);
				h = (uint64) words[i];
				break;
			case KEY_STRING:
				h = string_code(table, column, key[i], insert);
				if (h == 0)
					return false;
				words[i] = (Datum) h;
				break;
			default:
				h = DatumGetUInt32(FunctionCall1Coll(&column->hash,
													 column->collation, key[i]));
		}
		/* Mix the bits: multiply, fold, multiply. */
		hash = (hash ^ h) * UINT64CONST(0x9E3779B97F4A7C15);
		hash ^= hash >> 32;
	}
	*result = (uint32) ((hash * UINT64CONST(0xD6E8FEB86659FD93)) >> 32);
	return true;
}

/* Are words good for longer than the key that they were made of? */
bool
key_table_keeps_words(const KeyTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].kind == KEY_GENERIC && !table->columns[i].typbyval)
			return false;
	}
	return true;
}

static bool
key_equal(KeyTable *table, uint32 number, const Datum *words)
{
	const Datum *stored = key_entry(table, number)->words;

	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];

		if (column->kind == KEY_GENERIC ?
			!DatumGetBool(FunctionCall2Coll(&column->equal, column->collation,
											stored[i], words[i])) :
			stored[i] != words[i])
			return false;
	}
	return true;
}

/* Find the bucket of a key: its own, or the free one to put it in. */
static Bucket *
key_bucket(KeyTable *table, const Datum *words, uint32 hash)
{
	uint32		i = hash & table->mask;

	for (;;)
	{
		Bucket	   *bucket = &table->buckets[i];

		if (bucket->key == 0 ||
			(bucket->hash == hash && key_equal(table, bucket->key - 1, words)))
			return bucket;
		i = (i + 1) & table->mask;
	}
}

/* Ask for the bucket of a key that is looked up soon. */
void
key_table_prefetch_bucket(const KeyTable *table, uint32 hash)
{
	__builtin_prefetch(&table->buckets[hash & table->mask]);
}

/* Ask for what its bucket, which was asked for, most probably points to. */
void
key_table_prefetch_entry(const KeyTable *table, uint32 hash)
{
	uint32		i = hash & table->mask;
	const char *entry;

	while (table->buckets[i].key != 0 && table->buckets[i].hash != hash)
		i = (i + 1) & table->mask;
	if (table->buckets[i].key == 0)
		return;
	entry = (const char *) key_entry(table, table->buckets[i].key - 1);
	__builtin_prefetch(entry);
	__builtin_prefetch(entry + table->entry_size - 1);
}

static void
grow_buckets(KeyTable *table)
{
	Bucket	   *old = table->buckets;
	uint32		old_mask = table->mask;

	table->mask = old_mask * 2 + 1;
	table->buckets = MemoryContextAllocExtended(table->context,
												((Size) table->mask + 1) * sizeof(Bucket),
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
}

static void
grow_entries(KeyTable *table)
{
	Size		capacity = (Size) table->capacity * 2;

	if (capacity >= PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the spine has too many entities"),
				 errhint("The limit is 1073741824 in one computation: split it by from_time and to_time.")));
	table->entries = repalloc_huge(table->entries, capacity * table->entry_size);
	table->capacity = capacity;
}

/* Give a key a number, in the free bucket found for it. */
static uint32
insert_key(KeyTable *table, Bucket *bucket, const Datum *words, uint32 hash)
{
	uint32		number = table->nkeys++;
	KeyEntry   *entry;
	MemoryContext before;

	bucket->hash = hash;
	bucket->key = number + 1;
	if (table->nkeys > table->capacity)
		grow_entries(table);
	entry = key_entry(table, number);
	entry->least = PG_INT64_MAX;
	entry->greatest = PG_INT64_MIN;
	before = MemoryContextSwitchTo(table->context);
	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];

		if (column->kind != KEY_GENERIC)
			entry->words[i] = words[i];
		else if (column->typlen == -1)
			entry->words[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(words[i]));
		else
			entry->words[i] = datumCopy(words[i], column->typbyval,
										column->typlen);
	}
	MemoryContextSwitchTo(before);
	if (table->nkeys > table->mask / 2)
		grow_buckets(table);
	return number;
}

/* Return the number of an entity, or -1 if the spine does not have it. */
int64
key_table_find(KeyTable *table, const Datum *words, uint32 hash)
{
	return (int64) key_bucket(table, words, hash)->key - 1;
}

/* Return the number of the entity of a spine row, new or known. */
uint32
key_table_add(KeyTable *table, const Datum *words, uint32 hash, int64 time)
{
	Bucket	   *bucket = key_bucket(table, words, hash);
	uint32		number = bucket->key != 0 ? bucket->key - 1 :
		insert_key(table, bucket, words, hash);
	KeyEntry   *entry;

	entry = key_entry(table, number);
	entry->least = Min(entry->least, time);
	entry->greatest = Max(entry->greatest, time);
	return number;
}

static inline uint64
first_bit(const KeyTable *table, Datum value)
{
	return (((uint64) value * UINT64CONST(0x9E3779B97F4A7C15)) >> 20) &
		table->first_mask;
}

/*
 * All entities are known: get ready to tell by the first column alone, if it
 * is cheaper than the others, that an event's is none of them.
 */
void
key_table_seal(KeyTable *table)
{
	uint64		bits = 1024;

	if (table->ncolumns == 1 || table->columns[0].kind != KEY_INT ||
		table->nkeys > MAX_SEALED)
		return;
	while (bits < (uint64) table->nkeys * 8)
		bits *= 2;
	table->first_mask = bits - 1;
	table->first = MemoryContextAllocExtended(table->context, bits / 8,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < table->nkeys; i++)
	{
		uint64		bit = first_bit(table, key_entry(table, i)->words[0]);

		table->first[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
}

/* Can there be an entity whose first column has this value? */
bool
key_table_may_have(const KeyTable *table, Datum first)
{
	uint64		bit;

	if (table->first == NULL)
		return true;
	bit = first_bit(table, canonical_datum(first, table->columns[0].typlen));
	return (table->first[bit / 64] >> (bit % 64)) & 1;
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
	const KeyEntry *entry = key_entry(table, key);

	*least = entry->least;
	*greatest = entry->greatest;
}
