/*
 * live.c
 *	  The compact table of current versions: entries, buckets, partitions.
 *	  live.h tells its layout.
 */
#include "postgres.h"

#include "executor/nodeHash.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "scd/live.h"

#define MAX_PARTS 512

static int
bits_for(double entries)
{
	int			bits = 10;

	/* At most three buckets of four are taken. */
	while (bits < 31 && entries * 4 > ((double) ((int64) 1 << bits)) * 3)
		bits++;
	return bits;
}

static void
make_buckets(LiveTable *table, int bits)
{
	table->bits = bits;
	table->buckets = MemoryContextAllocExtended(table->context,
												((Size) 1 << bits) * sizeof(LiveBucket),
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* Make a table for about so many entries. */
LiveTable *
live_create(double estimate)
{
	LiveTable  *table = palloc0(sizeof(LiveTable));

	table->parent = CurrentMemoryContext;
	table->context = AllocSetContextCreate(CurrentMemoryContext, "pipeline live versions",
										   ALLOCSET_DEFAULT_SIZES);
	table->limit = get_hash_memory_limit();
	live_reset(table, estimate);
	return table;
}

static void
start_empty(LiveTable *table, double entries)
{
	MemoryContextReset(table->context);
	table->nentries = 0;
	table->nchunks = 0;
	table->chunks_room = 64;
	table->chunks = MemoryContextAlloc(table->context,
									   table->chunks_room * sizeof(LiveEntry *));
	make_buckets(table, bits_for(entries));
}

/* Empty it, for about so many entries, of which no more may come than fit. */
void
live_reset(LiveTable *table, double estimate)
{
	double		most = (double) table->limit / (sizeof(LiveEntry) + 2 * sizeof(LiveBucket));

	start_empty(table, Min(estimate, most));
}

void
live_free(LiveTable *table)
{
	for (int i = 0; i < table->nparts; i++)
	{
		BufFileClose(table->entry_files[i]);
		BufFileClose(table->probe_files[i]);
	}
	MemoryContextDelete(table->context);
	pfree(table);
}

/* Append an entry; it is found once it is linked. */
uint32
live_add(LiveTable *table, const LiveEntry *entry)
{
	uint32		number = table->nentries++;

	if (table->nentries == PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many current versions in one partition")));
	if (number % LIVE_CHUNK == 0)
	{
		if (table->nchunks == table->chunks_room)
		{
			table->chunks_room *= 2;
			table->chunks = repalloc(table->chunks, table->chunks_room * sizeof(LiveEntry *));
		}
		table->chunks[table->nchunks++] =
			MemoryContextAlloc(table->context, LIVE_CHUNK * sizeof(LiveEntry));
	}
	*live_entry(table, number) = *entry;
	return number;
}

static void
put_bucket(LiveTable *table, uint32 hash, uint32 entry)
{
	uint32		mask = ((uint32) 1 << table->bits) - 1;
	uint32		b = live_bucket(table, hash);

	while (table->buckets[b].entry != 0)
		b = (b + 1) & mask;
	table->buckets[b].hash = hash;
	table->buckets[b].entry = entry;
}

/* Let an entry be found by its hash. */
void
live_link(LiveTable *table, uint32 hash, uint32 number)
{
	if ((uint64) table->nentries * 4 > ((uint64) 3 << table->bits))
	{
		LiveBucket *old = table->buckets;
		int64		n = (int64) 1 << table->bits;

		make_buckets(table, table->bits + 1);
		for (int64 i = 0; i < n; i++)
		{
			if (old[i].entry != 0)
				put_bucket(table, old[i].hash, old[i].entry);
		}
		pfree(old);
	}
	put_bucket(table, hash, number + 1);
}

/* Would more entries pass the limit? */
bool
live_is_full(const LiveTable *table)
{
	return (Size) table->nchunks * LIVE_CHUNK * sizeof(LiveEntry) +
		((Size) sizeof(LiveBucket) << table->bits) > table->limit &&
		table->nentries % LIVE_CHUNK == 0 && table->nentries > 0;
}

/* ---- partitions ---------------------------------------------------------------- */

void
live_write_entry(LiveTable *table, uint32 hash, const LiveEntry *entry)
{
	SpilledEntry spilled;

	memset(&spilled, 0, sizeof(spilled));
	spilled.hash = hash;
	spilled.entry = *entry;
	BufFileWrite(table->entry_files[hash % table->nparts], &spilled, sizeof(spilled));
	table->part_entries[hash % table->nparts]++;
}

void
live_write_probe(LiveTable *table, const Probe *probe)
{
	BufFileWrite(table->probe_files[probe->hash % table->nparts],
				 unconstify(Probe *, probe), sizeof(Probe));
}

/*
 * Move all entries to partitions on disk.  `estimate`: how many entries there
 * will be.
 */
void
live_spill(LiveTable *table, double estimate)
{
	double		fit = (double) table->limit / (sizeof(LiveEntry) + 2 * sizeof(LiveBucket));
	int			nparts = 2;
	int64		n = (int64) 1 << table->bits;
	MemoryContext old = MemoryContextSwitchTo(table->parent);

	while (nparts < MAX_PARTS && estimate / nparts > fit)
		nparts *= 2;
	table->part_entries = palloc0_array(double, nparts);
	table->entry_files = palloc_array(BufFile *, nparts);
	table->probe_files = palloc_array(BufFile *, nparts);
	for (int i = 0; i < nparts; i++)
	{
		table->entry_files[i] = BufFileCreateTemp(false);
		table->probe_files[i] = BufFileCreateTemp(false);
	}
	MemoryContextSwitchTo(old);
	table->nparts = nparts;
	for (int64 i = 0; i < n; i++)
	{
		if (table->buckets[i].entry != 0)
			live_write_entry(table, table->buckets[i].hash,
							 live_entry(table, table->buckets[i].entry - 1));
	}
	live_reset(table, 0);
}

static bool
read_exact(BufFile *file, void *data, size_t size)
{
	size_t		got = BufFileRead(file, data, size);

	if (got != 0 && got != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from a temporary file: read only %zu of %zu bytes",
						got, size)));
	return got == size;
}

/*
 * Begin with a partition.  Entries were spilled in the order of their buckets,
 * so they come back in it, and a table that grew as they come would pile all
 * of them up in its first buckets: it has its size from the start.
 */
void
live_begin_part(LiveTable *table, int part)
{
	start_empty(table, table->part_entries[part]);
	if (BufFileSeek(table->entry_files[part], 0, 0, SEEK_SET) != 0 ||
		BufFileSeek(table->probe_files[part], 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file")));
}

bool
live_read_entry(LiveTable *table, int part, SpilledEntry *entry)
{
	return read_exact(table->entry_files[part], entry, sizeof(SpilledEntry));
}

bool
live_read_probe(LiveTable *table, int part, Probe *probe)
{
	return read_exact(table->probe_files[part], probe, sizeof(Probe));
}
