/*
 * key_table_layout.h
 *	  What a table of entities is made of: for key_table.c, and for
 *	  key_table_share.c, which hands it to other processes.
 */
#ifndef PIPELINE_FEATURE_KEY_TABLE_LAYOUT_H
#define PIPELINE_FEATURE_KEY_TABLE_LAYOUT_H

#include "feature/key_table.h"

typedef enum KeyKind
{
	KEY_INT,					/* by value; equal if the Datums are */
	KEY_STRING,					/* by reference; equal if the bytes are */
	KEY_GENERIC
} KeyKind;

typedef struct KeyString
{
	uint32		hash;
	uint32		code;			/* from 1; 0 is free */
	Size		length;
	char	   *bytes;
} KeyString;

/* The distinct strings of a column of the spine's entity. */
typedef struct Dictionary
{
	uint32		nstrings;
	uint32		mask;
	KeyString  *strings;
} Dictionary;

typedef struct KeyColumn
{
	KeyKind		kind;
	int16		typlen;
	bool		typbyval;
	Oid			collation;
	FmgrInfo	hash;
	FmgrInfo	equal;
	Dictionary	dictionary;
} KeyColumn;

typedef struct Bucket
{
	uint32		hash;
	uint32		key;			/* number + 1; 0 is free */
} Bucket;

typedef struct KeyEntry
{
	int64		least;
	int64		greatest;
	Datum		words[FLEXIBLE_ARRAY_MEMBER];
} KeyEntry;

struct KeyTable
{
	MemoryContext context;
	int			ncolumns;
	KeyColumn  *columns;
	uint32		nkeys;
	uint32		capacity;
	Size		entry_size;
	char	   *entries;
	Bucket	   *buckets;
	uint32		mask;
	uint64	   *first;			/* see key_table_seal() */
	uint64		first_mask;
};

static inline KeyEntry *
key_entry(const KeyTable *table, uint32 number)
{
	return (KeyEntry *) (table->entries + number * table->entry_size);
}

#endif							/* PIPELINE_FEATURE_KEY_TABLE_LAYOUT_H */
