/*
 * record_store.c
 *	  Spine rows and events, kept in memory while they fit and in files, split
 *	  by entity, when they do not; handed back by entity.
 *
 * In memory, records lie one after the other in blocks, in the order read.
 * Once their size passes the budget, all go to temporary files: entity n to
 * file n % FANOUT.  Each file is later read as a whole, if it fits, or split
 * again by (n / FANOUT) % FANOUT, and so on; only the records of one single
 * entity have to fit in memory, whatever the budget.
 *
 * A part (a file, or the memory) has the entities that agree in the digits
 * below `divisor`; key / divisor numbers them from 0 without gaps.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "feature/feature.h"

#define FIRST_BLOCK (16 * 1024)
#define LAST_BLOCK (4 * 1024 * 1024)
#define MAX_FANOUT 64

typedef struct RecordBlock
{
	struct RecordBlock *next;
	Size		size;
	Size		used;
	char	   *data;
} RecordBlock;

/* The records of the entities key % (divisor * fanout) == one number. */
typedef struct Part
{
	BufFile    *file;
	uint64		nrecords;
	uint64		bytes;
} Part;

struct RecordStore
{
	MemoryContext context;
	MemoryContext blocks_context;
	Size		budget;
	uint32		fanout;
	RecordBlock	   *first;
	RecordBlock	   *last;
	uint64		nrecords;		/* in the blocks */
	uint64		bytes;			/* in the blocks */
	Part	   *parts;			/* NULL while all is in memory */
	uint64		spilled;
	Record	   *pending;		/* reserved, not yet appended */
	char	   *pending_space;	/* for it, once spilled */
	Size		pending_size;
};

/* What records cost: themselves, and a pointer to each to group them. */
static inline uint64
record_cost(uint64 nrecords, uint64 bytes)
{
	return bytes + nrecords * sizeof(Record *);
}

/* What grouping them costs beyond that. */
static inline uint64
slots_cost(uint64 nslots, uint32 groups)
{
	return nslots * groups * sizeof(uint32);
}

/* Make an empty store in the current context. */
RecordStore *
record_store_create(Size budget)
{
	RecordStore *store = palloc0(sizeof(RecordStore));

	store->context = CurrentMemoryContext;
	store->blocks_context = AllocSetContextCreate(CurrentMemoryContext,
												  "pipeline records",
												  ALLOCSET_DEFAULT_SIZES);
	store->budget = budget;
	/* The buffers of the files come out of the budget too. */
	store->fanout = Min(MAX_FANOUT, Max(4, budget / (4 * BLCKSZ)));
	return store;
}

/* ---- spilling ---------------------------------------------------------------- */

static Part *
parts_create(RecordStore *store)
{
	MemoryContext before = MemoryContextSwitchTo(store->context);
	Part	   *parts = palloc0_array(Part, store->fanout);

	MemoryContextSwitchTo(before);
	return parts;
}

static void
part_write(RecordStore *store, Part *part, const Record *record)
{
	if (part->file == NULL)
	{
		MemoryContext before = MemoryContextSwitchTo(store->context);

		part->file = BufFileCreateTemp(false);
		MemoryContextSwitchTo(before);
	}
	BufFileWrite(part->file, (void *) record, record->size);
	part->nrecords++;
	part->bytes += record->size;
	store->spilled += record->size;
}

static void
spill_blocks(RecordStore *store)
{
	store->parts = parts_create(store);
	for (RecordBlock *block = store->first; block; block = block->next)
	{
		for (Size at = 0; at < block->used;)
		{
			Record	   *record = (Record *) (block->data + at);

			CHECK_FOR_INTERRUPTS();
			part_write(store, &store->parts[record->key % store->fanout], record);
			at += record->size;
		}
	}
	store->first = store->last = NULL;
	store->nrecords = store->bytes = 0;
	MemoryContextReset(store->blocks_context);
}

/* ---- appending ----------------------------------------------------------------- */

static RecordBlock *
add_block(RecordStore *store, Size size)
{
	MemoryContext before = MemoryContextSwitchTo(store->blocks_context);
	RecordBlock	   *block = palloc(sizeof(RecordBlock));
	Size		wanted = store->last ? Min(store->last->size * 2, LAST_BLOCK) :
		FIRST_BLOCK;

	/* A small budget shall not be overrun by a block. */
	wanted = Min(wanted, Max(store->budget / 4, FIRST_BLOCK / 2));
	block->next = NULL;
	block->size = Max(wanted, size);
	block->used = 0;
	block->data = MemoryContextAllocHuge(store->blocks_context, block->size);
	if (store->last)
		store->last->next = block;
	else
		store->first = block;
	store->last = block;
	MemoryContextSwitchTo(before);
	return block;
}

/* Return room for one record on its way to or from a file. */
static Record *
pending_space(RecordStore *store, Size size)
{
	if (store->pending_size < size)
	{
		if (store->pending_space != NULL)
			pfree(store->pending_space);
		store->pending_size = Max(size, 1024);
		store->pending_space = MemoryContextAllocHuge(store->context,
													  store->pending_size);
	}
	return (Record *) store->pending_space;
}

/*
 * Return room for a record of that size, a multiple of 8, to be filled and
 * then appended.
 */
Record *
record_store_reserve(RecordStore *store, Size size)
{
	RecordBlock	   *block;

	Assert(size <= PG_INT32_MAX);
	if (store->parts == NULL &&
		store->nrecords > 0 &&
		record_cost(store->nrecords + 1, store->bytes + size) > store->budget)
		spill_blocks(store);
	if (store->parts != NULL)
		store->pending = pending_space(store, size);
	else
	{
		block = store->last;
		if (block == NULL || block->size - block->used < size)
			block = add_block(store, size);
		store->pending = (Record *) (block->data + block->used);
	}
	store->pending->size = (uint32) size;
	return store->pending;
}

/* Append the record that was reserved last. */
void
record_store_append(RecordStore *store)
{
	Record	   *record = store->pending;

	if (store->parts != NULL)
	{
		part_write(store, &store->parts[record->key % store->fanout], record);
		return;
	}
	store->last->used += record->size;
	store->nrecords++;
	store->bytes += record->size;
}

/* Append so many records that lie one after the other. */
void
record_store_append_all(RecordStore *store, const char *records, Size length,
						uint64 nrecords)
{
	if (store->parts == NULL &&
		record_cost(store->nrecords + nrecords, store->bytes + length) <= store->budget)
	{
		RecordBlock *block = store->last;

		if (block == NULL || block->size - block->used < length)
			block = add_block(store, length);
		memcpy(block->data + block->used, records, length);
		block->used += length;
		store->nrecords += nrecords;
		store->bytes += length;
		return;
	}
	for (Size at = 0; at < length;)
	{
		const Record *record = (const Record *) (records + at);
		Record	   *copy = record_store_reserve(store, record->size);

		memcpy(copy, record, record->size);
		record_store_append(store);
		at += record->size;
	}
}

/* How much was written to files, in bytes. */
uint64
record_store_spilled(const RecordStore *store)
{
	return store->spilled;
}

/* ---- handing back ------------------------------------------------------------------ */

static void
read_exactly(BufFile *file, void *to, Size size)
{
	if (BufFileRead(file, to, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from a temporary file of features")));
}

/* Read the next record of a part's file. */
static Record *
read_record(RecordStore *store, Part *part)
{
	Record		header;
	Record	   *record;

	CHECK_FOR_INTERRUPTS();
	read_exactly(part->file, &header, sizeof(Record));
	record = pending_space(store, header.size);
	*record = header;
	read_exactly(part->file, (char *) record + sizeof(Record),
				 header.size - sizeof(Record));
	return record;
}

static void
rewind_part(Part *part)
{
	if (BufFileSeek(part->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file of features")));
}

/* Read a part whole and hand it over. */
static void
consume_file(Part *part, uint64 divisor, uint32 nslots,
			 RecordConsumer consumer, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pipeline part",
												  ALLOCSET_DEFAULT_SIZES);
	RecordRun	run = {MemoryContextAllocHuge(context, part->bytes), part->bytes};

	read_exactly(part->file, run.data, part->bytes);
	BufFileClose(part->file);
	part->file = NULL;
	/* Past all numbers, any divisor says the same. */
	consumer(&run, 1, part->nrecords, (uint32) Min(divisor, PG_UINT32_MAX),
			 nslots, arg);
	MemoryContextDelete(context);
}

/* Split a part by the next digit of its entities' numbers. */
static Part *
split_file(RecordStore *store, Part *part, uint64 divisor)
{
	Part	   *parts = parts_create(store);

	for (uint64 i = 0; i < part->nrecords; i++)
	{
		Record	   *record = read_record(store, part);

		part_write(store, &parts[(record->key / divisor) % store->fanout],
				   record);
	}
	BufFileClose(part->file);
	part->file = NULL;
	return parts;
}

/*
 * Hand over the parts, in each of which the entities agree in the digits
 * below `divisor`; split those that do not fit.
 */
static void
consume_parts(RecordStore *store, Part *parts, uint64 divisor, uint32 nkeys,
			  uint32 groups, RecordConsumer consumer, void *arg)
{
	check_stack_depth();
	for (uint32 i = 0; i < store->fanout; i++)
	{
		Part	   *part = &parts[i];
		uint32		nslots = (uint32) (nkeys / divisor) + 1;

		if (part->file == NULL)
			continue;
		rewind_part(part);
		if (nslots > 1 &&
			record_cost(part->nrecords, part->bytes) +
			slots_cost(nslots, groups) > store->budget)
		{
			Part	   *finer = split_file(store, part, divisor);

			consume_parts(store, finer, divisor * store->fanout, nkeys, groups,
						  consumer, arg);
			pfree(finer);
		}
		else
			consume_file(part, divisor, nslots, consumer, arg);
	}
}

/*
 * Hand all records to the consumer, those of one entity in one call; it will
 * group them by entity and by `groups` streams.  The records of a call belong
 * to the entities whose numbers differ only in key / divisor, which is below
 * nslots.
 */
void
record_store_finish(RecordStore *store, uint32 nkeys, uint32 groups,
					RecordConsumer consumer, void *arg)
{
	RecordRun  *runs;
	int			nruns = 0;

	if (store->parts == NULL && nkeys > 1 &&
		record_cost(store->nrecords, store->bytes) +
		slots_cost(nkeys, groups) > store->budget)
		spill_blocks(store);
	if (store->parts != NULL)
	{
		consume_parts(store, store->parts, store->fanout, nkeys, groups,
					  consumer, arg);
		return;
	}
	for (RecordBlock *block = store->first; block; block = block->next)
		nruns++;
	runs = palloc_array(RecordRun, nruns + 1);
	nruns = 0;
	for (RecordBlock *block = store->first; block; block = block->next)
	{
		runs[nruns].data = block->data;
		runs[nruns++].used = block->used;
	}
	consumer(runs, nruns, store->nrecords, 1, nkeys, arg);
	pfree(runs);
}

/* ---- moving on ------------------------------------------------------------------------ */

static void
drain_parts(RecordStore *store, void (*take) (const Record *record, void *arg), void *arg)
{
	for (uint32 i = 0; i < store->fanout; i++)
	{
		Part	   *part = &store->parts[i];

		if (part->file == NULL)
			continue;
		rewind_part(part);
		for (uint64 n = 0; n < part->nrecords; n++)
			take(read_record(store, part), arg);
		BufFileClose(part->file);
	}
	pfree(store->parts);
}

/*
 * Give each record, those of one entity in the order read, to a function, and
 * let go of the store.
 */
void
record_store_drain(RecordStore *store, void (*take) (const Record *record, void *arg),
				   void *arg)
{
	RecordBlock *block = store->first;

	if (store->parts != NULL)
		drain_parts(store, take, arg);
	while (block != NULL)
	{
		RecordBlock *next = block->next;

		CHECK_FOR_INTERRUPTS();
		for (Size at = 0; at < block->used;)
		{
			const Record *record = (const Record *) (block->data + at);

			take(record, arg);
			at += record->size;
		}
		pfree(block->data);
		block = next;
	}
	MemoryContextDelete(store->blocks_context);
	if (store->pending_space != NULL)
		pfree(store->pending_space);
	pfree(store);
}
