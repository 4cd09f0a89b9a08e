/*
 * key_table_share.c
 *	  A finished table of entities in shared memory, read by other processes.
 *
 * Entries and buckets are used where they lie; of strings, the slots are
 * copied by each process, since they point to the bytes.
 */
#include "postgres.h"

#include "utils/lsyscache.h"

#include "feature/feature.h"
#include "feature/key_table_layout.h"

typedef struct SharedKeys
{
	uint32		nkeys;
	uint32		mask;
	Size		entries;		/* where each part is, from the start */
	Size		buckets;
	Size		dictionaries;
} SharedKeys;

/* Of one column of strings; its slots follow, then the bytes. */
typedef struct SharedDictionary
{
	uint32		nstrings;
	uint32		mask;
	Size		size;			/* whole */
} SharedDictionary;

static Size
bytes_of(const Dictionary *dictionary)
{
	Size		size = 0;

	for (uint64 i = 0; i <= dictionary->mask; i++)
	{
		if (dictionary->strings[i].code != 0)
			size += dictionary->strings[i].length;
	}
	return size;
}

static Size
dictionary_size(const Dictionary *dictionary)
{
	return MAXALIGN(sizeof(SharedDictionary)) +
		((Size) dictionary->mask + 1) * sizeof(KeyString) +
		MAXALIGN(bytes_of(dictionary));
}

/* May others use it: is all of it values, and are its functions safe there? */
bool
key_table_can_share(const KeyTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const KeyColumn *column = &table->columns[i];

		if (column->kind == KEY_GENERIC &&
			(!column->typbyval ||
			 func_parallel(column->hash.fn_oid) != PROPARALLEL_SAFE ||
			 func_parallel(column->equal.fn_oid) != PROPARALLEL_SAFE))
			return false;
	}
	return true;
}

/* How much room it needs. */
Size
key_table_shared_size(const KeyTable *table)
{
	Size		size = MAXALIGN(sizeof(SharedKeys)) +
		MAXALIGN(table->nkeys * table->entry_size) +
		MAXALIGN(((Size) table->mask + 1) * sizeof(Bucket));

	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].kind == KEY_STRING)
			size += dictionary_size(&table->columns[i].dictionary);
	}
	return size;
}

static void
share_dictionary(const Dictionary *dictionary, char *to)
{
	SharedDictionary *shared = (SharedDictionary *) to;
	KeyString  *strings = (KeyString *) (to + MAXALIGN(sizeof(SharedDictionary)));
	char	   *bytes = (char *) (strings + dictionary->mask + 1);

	shared->nstrings = dictionary->nstrings;
	shared->mask = dictionary->mask;
	shared->size = dictionary_size(dictionary);
	memcpy(strings, dictionary->strings, ((Size) dictionary->mask + 1) * sizeof(KeyString));
	for (uint64 i = 0; i <= dictionary->mask; i++)
	{
		if (strings[i].code == 0)
			continue;
		memcpy(bytes, dictionary->strings[i].bytes, strings[i].length);
		/* As far from the start as a pointer can say. */
		strings[i].bytes = (char *) (uintptr_t) (bytes - to);
		bytes += strings[i].length;
	}
}

/* Copy the table to memory of key_table_shared_size(). */
void
key_table_share(const KeyTable *table, char *to)
{
	SharedKeys *shared = (SharedKeys *) to;
	Size		at = MAXALIGN(sizeof(SharedKeys));

	shared->nkeys = table->nkeys;
	shared->mask = table->mask;
	shared->entries = at;
	memcpy(to + at, table->entries, table->nkeys * table->entry_size);
	at += MAXALIGN(table->nkeys * table->entry_size);
	shared->buckets = at;
	memcpy(to + at, table->buckets, ((Size) table->mask + 1) * sizeof(Bucket));
	at += MAXALIGN(((Size) table->mask + 1) * sizeof(Bucket));
	shared->dictionaries = at;
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].kind != KEY_STRING)
			continue;
		share_dictionary(&table->columns[i].dictionary, to + at);
		at += dictionary_size(&table->columns[i].dictionary);
	}
}

static Size
attach_dictionary(Dictionary *dictionary, char *from)
{
	const SharedDictionary *shared = (const SharedDictionary *) from;
	Size		size = ((Size) shared->mask + 1) * sizeof(KeyString);

	dictionary->nstrings = shared->nstrings;
	dictionary->mask = shared->mask;
	dictionary->strings = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memcpy(dictionary->strings, from + MAXALIGN(sizeof(SharedDictionary)), size);
	for (uint64 i = 0; i <= dictionary->mask; i++)
	{
		if (dictionary->strings[i].code != 0)
			dictionary->strings[i].bytes = from + (uintptr_t) dictionary->strings[i].bytes;
	}
	return shared->size;
}

/* Use a table that another process has put there; nothing may be added. */
KeyTable *
key_table_attach(const FeaturePlan *plan, char *from)
{
	const SharedKeys *shared = (const SharedKeys *) from;
	KeyTable   *table = key_table_create(plan);
	Size		at = shared->dictionaries;

	table->nkeys = table->capacity = shared->nkeys;
	table->mask = shared->mask;
	table->entries = from + shared->entries;
	table->buckets = (Bucket *) (from + shared->buckets);
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].kind == KEY_STRING)
			at += attach_dictionary(&table->columns[i].dictionary, from + at);
	}
	key_table_seal(table);
	return table;
}
