/*
 * exchange.c
 *	  Records on their way to the process that computes their entity: see
 *	  exchange.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "feature/exchange.h"
#include "feature/feature.h"
#include "feature/parcel.h"

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

static Record *
reserve_for_other(Exchange *exchange, Size size)
{
	Parcel	   *parcel = &exchange->parcels[exchange->to];
	MemoryContext before = MemoryContextSwitchTo(exchange->context);
	Record	   *record;

	record = (Record *) parcel_reserve(parcel, exchange->files,
									   parcel->file ? NULL : file_name(exchange->me, exchange->to),
									   size);
	record->size = (uint32) size;
	MemoryContextSwitchTo(before);
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
		reserve_for_other(exchange, size);
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
		parcel_append(&exchange->parcels[exchange->to], exchange->pending->size);
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
		parcel_send(&exchange->parcels[i]);
}

/* All have sent: take what they sent to this process. */
void
exchange_receive(FeatureRun *run)
{
	Exchange   *exchange = run->exchange;

	for (int i = 0; i < exchange->nprocesses; i++)
	{
		Parcel		parcel;

		if (i == exchange->me ||
			!parcel_open(&parcel, exchange->files, file_name(i, exchange->me)))
			continue;
		while (parcel_next_chunk(&parcel))
			record_store_append_all(run->store, parcel.chunk, parcel.head.length,
									parcel.head.pieces);
		parcel_close(&parcel);
	}
}
