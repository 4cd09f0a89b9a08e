/*
 * live.h
 *	  The compact table of current versions, past which a source is streamed.
 *
 * An entry is 24 bytes: a fingerprint of key and attributes, the place of the
 * version, and a mark.  Buckets hold 32 bits of the key's hash and the number
 * of the entry.  So 5 million keys take about 190 MB, and a row that did not
 * change costs two memory accesses, both prefetched.
 *
 * Past the memory limit entries and rows go to partitions on disk by the
 * key's hash, and partitions are worked off one by one.
 */
#ifndef PIPELINE_SCD_LIVE_H
#define PIPELINE_SCD_LIVE_H

#include "scd/scd.h"

#include "storage/block.h"
#include "storage/buffile.h"
#include "storage/itemptr.h"

typedef struct Fingerprint
{
	uint64		a;
	uint64		b;
} Fingerprint;

typedef struct LiveEntry
{
	Fingerprint fingerprint;
	BlockNumber block;
	uint16		offset;			/* 0: a key that is new in the source */
	char		mark;			/* 0, or the class of the first row that met it */
} LiveEntry;

typedef struct LiveBucket
{
	uint32		hash;
	uint32		entry;			/* its number plus one; 0: empty */
} LiveBucket;

/* A row of the source that waits to be looked up. */
typedef struct Probe
{
	uint32		hash;
	Fingerprint fingerprint;
	int64		n;				/* number of the row */
	ItemPointerData tid;		/* where the source has it */
} Probe;

/* What goes to disk for an entry. */
typedef struct SpilledEntry
{
	uint32		hash;
	LiveEntry	entry;
} SpilledEntry;

#define LIVE_CHUNK 4096		/* entries */

typedef struct LiveTable
{
	MemoryContext parent;
	MemoryContext context;
	LiveEntry **chunks;
	int			nchunks;
	int			chunks_room;
	uint32		nentries;
	LiveBucket *buckets;
	int			bits;
	Size		limit;			/* bytes */
	int			nparts;			/* 0: all in memory */
	double	   *part_entries;	/* how many were written to each */
	BufFile   **entry_files;
	BufFile   **probe_files;
} LiveTable;

/* Secrets of a merge's fingerprints and hashes. */
typedef struct LiveKeys
{
	uint64		k[4];
} LiveKeys;

static inline LiveEntry *
live_entry(const LiveTable *table, uint32 number)
{
	return &table->chunks[number / LIVE_CHUNK][number % LIVE_CHUNK];
}

static inline uint32
live_bucket(const LiveTable *table, uint32 hash)
{
	return hash >> (32 - table->bits);
}

extern LiveTable *live_create(double estimate);
extern void live_reset(LiveTable *table, double estimate);
extern void live_free(LiveTable *table);
extern uint32 live_add(LiveTable *table, const LiveEntry *entry);
extern void live_link(LiveTable *table, uint32 hash, uint32 number);
extern bool live_is_full(const LiveTable *table);
extern void live_spill(LiveTable *table, double estimate);
extern void live_write_entry(LiveTable *table, uint32 hash, const LiveEntry *entry);
extern void live_write_probe(LiveTable *table, const Probe *probe);
extern void live_begin_part(LiveTable *table, int part);
extern bool live_read_entry(LiveTable *table, int part, SpilledEntry *entry);
extern bool live_read_probe(LiveTable *table, int part, Probe *probe);

extern void live_keys_init(LiveKeys *keys);
extern Fingerprint live_fingerprint(const LiveKeys *keys, const MergePlan *plan,
									const Datum *values, const bool *nulls,
									const AttrNumber *map);
extern uint32 live_key_hash(const LiveKeys *keys, const MergePlan *plan,
							const Datum *values, const bool *nulls,
							const AttrNumber *map);

#endif							/* PIPELINE_SCD_LIVE_H */
