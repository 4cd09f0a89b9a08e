/*
 * key_table_values.c
 *	  The entities of a table as values of their types, for statements.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/lsyscache.h"

#include "feature/feature.h"
#include "feature/key_table_layout.h"

/* Are two entities different wherever their integers or bytes are? */
bool
key_table_has_values(const KeyTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].kind == KEY_GENERIC)
			return false;
	}
	return true;
}

/* The strings of a dictionary, as Datums, by code. */
static Datum *
strings_by_code(const KeyColumn *column)
{
	const Dictionary *dictionary = &column->dictionary;
	Datum	   *values = MemoryContextAllocHuge(CurrentMemoryContext,
												((Size) dictionary->nstrings + 1) * sizeof(Datum));

	for (uint64 i = 0; i <= dictionary->mask; i++)
	{
		const KeyString *string = &dictionary->strings[i];
		char	   *bytes = string->bytes;

		if (string->code == 0)
			continue;
		if (column->typlen == -1)
		{
			bytes = palloc(string->length + VARHDRSZ);
			SET_VARSIZE(bytes, string->length + VARHDRSZ);
			memcpy(VARDATA(bytes), string->bytes, string->length);
		}
		values[string->code] = PointerGetDatum(bytes);
	}
	return values;
}

/*
 * That column of all entities, by number, as an array; `type` is the column's.
 * The table must have values.
 */
Datum
key_table_array(const KeyTable *table, int column, Oid type)
{
	const KeyColumn *c = &table->columns[column];
	Datum	   *strings = c->kind == KEY_STRING ? strings_by_code(c) : NULL;
	Datum	   *values = palloc_array(Datum, table->nkeys);
	int16		len;
	bool		byval;
	char		align;

	for (uint32 i = 0; i < table->nkeys; i++)
	{
		Datum		word = key_entry(table, i)->words[column];

		values[i] = strings ? strings[word] : word;
	}
	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_array(values, table->nkeys, type, len, byval, align));
}
