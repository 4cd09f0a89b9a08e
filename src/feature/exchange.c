/*
 * exchange.c
 *	  Records on their way to the process that computes their entity: see
 *	  exchange.h.
 */
#include "postgres.h"

#include <fcntl.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "feature/exchange.h"
#include "feature/feature.h"

#define CHUNK (64 * 1024)

/* What is written for another process, in chunks that say their length. */
typedef struct Parcel
{
	BufFile    *file;
	char	   *chunk;
	Size		size;
	Size		used;
} Parcel;

struct Exchange
{
	MemoryContext context;
	SharedFileSet *files;
	int			nprocesses;
	int			me;
	int			to;				/* of the record that is reserved */
	Record	   *pending;
	Parcel	   *parcels;		/* by process */
};

/* Process `me` of so many begins, in the current context. */
Exchange *
exchange_create(SharedFileSet *files, int nprocesses, int me)
{
	Exchange   *exchange = palloc0_object(Exchange);

	exchange->context = CurrentMemoryContext;
	exchange->files = files;
	exchange->nprocesses = nprocesses;
	exchange->me = me;
	exchange->parcels = palloc0_array(Parcel, nprocesses);
	return exchange;
}

static char *
file_name(int from, int to)
{
	return psprintf("records.%d.%d", from, to);
}

static void
write_chunk(Parcel *parcel)
{
	if (parcel->used == 0)
		return;
	BufFileWrite(parcel->file, &parcel->used, sizeof(Size));
	BufFileWrite(parcel->file, parcel->chunk, parcel->used);
	parcel->used = 0;
}

static Record *
parcel_reserve(Exchange *exchange, Parcel *parcel, Size size)
{
	MemoryContext before = MemoryContextSwitchTo(exchange->context);
	Record	   *record;

	if (parcel->file == NULL)
	{
		parcel->file = BufFileCreateFileSet(&exchange->files->fs,
											file_name(exchange->me, exchange->to));
		parcel->size = CHUNK;
		parcel->chunk = palloc(parcel->size);
	}
	if (parcel->used + size > parcel->size)
		write_chunk(parcel);
	if (size > parcel->size)
	{
		pfree(parcel->chunk);
		parcel->size = size;
		parcel->chunk = MemoryContextAllocHuge(exchange->context, size);
	}
	MemoryContextSwitchTo(before);
	record = (Record *) (parcel->chunk + parcel->used);
	record->size = (uint32) size;
	return record;
}

/*
 * Return room for a record of an entity, of that size, a multiple of 8, with
 * both set; to be filled and appended.  It goes to the store or to another
 * process.
 */
Record *
exchange_reserve(FeatureRun *run, uint32 key, Size size)
{
	Exchange   *exchange = run->exchange;
	Record	   *record;

	if (exchange == NULL)
	{
		record = record_store_reserve(run->store, size);
		record->key = key;
		return record;
	}
	exchange->to = key % exchange->nprocesses;
	record = exchange->to == exchange->me ? record_store_reserve(run->store, size) :
		parcel_reserve(exchange, &exchange->parcels[exchange->to], size);
	record->key = key / exchange->nprocesses;
	exchange->pending = record;
	return record;
}

/* Append the record that was reserved last. */
void
exchange_append(FeatureRun *run)
{
	Exchange   *exchange = run->exchange;

	if (exchange == NULL || exchange->to == exchange->me)
		record_store_append(run->store);
	else
		exchange->parcels[exchange->to].used += exchange->pending->size;
}

static void
exchange_one(const Record *record, void *arg)
{
	FeatureRun *run = arg;
	Record	   *copy = exchange_reserve(run, record->key, record->size);
	uint32		key = copy->key;

	memcpy(copy, record, record->size);
	copy->key = key;
	exchange_append(run);
}

/* Send on what was stored before there was an exchange. */
void
exchange_all(FeatureRun *run)
{
	RecordStore *old = run->store;

	run->counts.spilled_bytes += (int64) record_store_spilled(old);
	run->store = record_store_create(get_hash_memory_limit());
	record_store_drain(old, exchange_one, run);
}

/* No more records of others come from this process. */
void
exchange_send(FeatureRun *run)
{
	Exchange   *exchange = run->exchange;

	for (int i = 0; i < exchange->nprocesses; i++)
	{
		Parcel	   *parcel = &exchange->parcels[i];

		if (parcel->file == NULL)
			continue;
		write_chunk(parcel);
		BufFileExportFileSet(parcel->file);
		BufFileClose(parcel->file);
		parcel->file = NULL;
		pfree(parcel->chunk);
	}
}

static void
receive_file(FeatureRun *run, BufFile *file)
{
	Size		length;
	Size		room = 0;
	char	   *chunk = NULL;

	while (BufFileRead(file, &length, sizeof(Size)) == sizeof(Size))
	{
		CHECK_FOR_INTERRUPTS();
		if (length > room)
		{
			if (chunk != NULL)
				pfree(chunk);
			room = Max(length, CHUNK);
			chunk = MemoryContextAllocHuge(CurrentMemoryContext, room);
		}
		if (BufFileRead(file, chunk, length) != length)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read from a temporary file of features")));
		for (Size at = 0; at < length;)
		{
			const Record *record = (const Record *) (chunk + at);
			Record	   *stored = record_store_reserve(run->store, record->size);

			memcpy(stored, record, record->size);
			record_store_append(run->store);
			at += record->size;
		}
	}
	if (chunk != NULL)
		pfree(chunk);
}

/* All have sent: take what they sent to this process. */
void
exchange_receive(FeatureRun *run)
{
	Exchange   *exchange = run->exchange;

	for (int i = 0; i < exchange->nprocesses; i++)
	{
		BufFile    *file;

		if (i == exchange->me)
			continue;
		file = BufFileOpenFileSet(&exchange->files->fs, file_name(i, exchange->me),
								  O_RDONLY, true);
		if (file == NULL)
			continue;
		receive_file(run, file);
		BufFileClose(file);
	}
}
