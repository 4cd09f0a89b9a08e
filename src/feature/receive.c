/*
 * receive.c
 *	  Rows of the spine and events, as the executor sends them, become records.
 *
 * An event that no row can reach is dropped as it arrives.  Rows are taken in
 * batches: a row becomes a record beside the store, and the place of its
 * entity is prefetched; when the batch is full, entities are looked up with
 * their cache lines at hand, and records go to the store.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/int.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "feature/exchange.h"
#include "feature/progress.h"
#include "feature/read.h"

#define BATCH_BYTES (64 * 1024)

/* ---- receivers --------------------------------------------------------------------- */

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
receiver_end(DestReceiver *self)
{
}

/* Does the row have a NULL among the entity and the times? */
static bool
has_null_key(const FeatureReceiver *receiver, const TupleTableSlot *slot)
{
	for (int i = 0; i < receiver->nkeys; i++)
	{
		if (slot->tts_isnull[receiver->first + i])
			return true;
	}
	return false;
}

/* ---- batches ------------------------------------------------------------------------ */

static void flush_spine(FeatureReceiver *receiver);
static void flush_events(FeatureReceiver *receiver);

/* Look up the entities of the batch and move its records to the store. */
static void
flush_batch(FeatureReceiver *receiver)
{
	Batch	   *batch = &receiver->batch;

	for (int i = 0; i < batch->nrows; i++)
		key_table_prefetch_entry(receiver->run->keys, batch->rows[i].hash);
	if (receiver->stream != NULL)
		flush_events(receiver);
	else
		flush_spine(receiver);
	progress_advance(batch->nrows);
	batch->nrows = 0;
	batch->used = 0;
}

/* Return room for a record of the next row of the batch. */
static Record *
batch_record(FeatureReceiver *receiver, Size size)
{
	Batch	   *batch = &receiver->batch;
	Record	   *record;

	if (size > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a row is too large: %zu bytes", size)));
	if (batch->used + size > batch->size)
	{
		batch->size = Max(batch->used + size, BATCH_BYTES);
		if (batch->records == NULL)
			batch->records = MemoryContextAllocHuge(receiver->context, batch->size);
		else
			batch->records = repalloc_huge(batch->records, batch->size);
	}
	record = (Record *) (batch->records + batch->used);
	record->size = (uint32) size;
	return record;
}

/* The row's record is complete: let it wait, or flush the batch. */
static void
batch_append(FeatureReceiver *receiver, const Record *record, uint32 hash,
			 bool wanted)
{
	Batch	   *batch = &receiver->batch;
	Waiting    *row = &batch->rows[batch->nrows++];

	row->hash = hash;
	row->wanted = wanted;
	row->at = batch->used;
	batch->used += record->size;
	if (batch->nrows == batch->capacity || batch->used >= BATCH_BYTES)
		flush_batch(receiver);
	else
		key_table_prefetch_bucket(receiver->run->keys, hash);
}

static inline Datum *
batch_words(FeatureReceiver *receiver, int row)
{
	return receiver->batch.words + row * receiver->plan->nkeys;
}

/* Copy a record of the batch, whose entity is known now, into the store. */
static void
store_record(FeatureReceiver *receiver, Record *record, uint32 key)
{
	Record	   *stored;

	stored = exchange_reserve(receiver->run, key, record->size);
	record->key = stored->key;
	memcpy(stored, record, record->size);
	exchange_append(receiver->run);
}

/* ---- the spine ------------------------------------------------------------------------ */

static void
flush_spine(FeatureReceiver *receiver)
{
	Batch	   *batch = &receiver->batch;

	for (int i = 0; i < batch->nrows; i++)
	{
		Record	   *record = (Record *) (batch->records + batch->rows[i].at);

		store_record(receiver, record,
					 key_table_add(receiver->run->keys, batch_words(receiver, i),
								   batch->rows[i].hash, record->time));
	}
}

static void
take_row(FeatureReceiver *receiver, const TupleTableSlot *slot, int64 time)
{
	Size		header = MAXALIGN(sizeof(Record));
	MinimalTuple tuple;
	Record	   *record;
	uint32		hash;

	tuple = heap_form_minimal_tuple(receiver->plan->spine->columns,
									slot->tts_values, slot->tts_isnull, 0);
	(void) key_table_words(receiver->run->keys, &slot->tts_values[receiver->first],
						   true, batch_words(receiver, receiver->batch.nrows),
						   &hash);
	record = batch_record(receiver, header + MAXALIGN(tuple->t_len));
	record->time = time;
	record->stream = 0;
	record->present = 0;
	memcpy((char *) record + header, tuple, tuple->t_len);
	batch_append(receiver, record, hash, true);
}

static bool
receive_spine(TupleTableSlot *slot, DestReceiver *self)
{
	FeatureReceiver *receiver = (FeatureReceiver *) self;
	FeatureRun *run = receiver->run;
	int			time_column = receiver->first + receiver->plan->nkeys;
	int64		time;
	MemoryContext before;

	slot_getallattrs(slot);
	run->counts.rows_read++;
	if (has_null_key(receiver, slot))
	{
		run->counts.rows_rejected++;
		return true;
	}
	if (run->range->as_of && !DatumGetBool(slot->tts_values[time_column + 1]))
	{
		run->counts.rows_beyond_as_of++;
		return true;
	}
	time = DatumGetInt64(slot->tts_values[time_column]);
	run->least_time = Min(run->least_time, time);
	run->greatest_time = Max(run->greatest_time, time);
	before = MemoryContextSwitchTo(run->scratch);
	take_row(receiver, slot, time);
	MemoryContextSwitchTo(before);
	MemoryContextReset(run->scratch);
	return true;
}

/* ---- events --------------------------------------------------------------------------- */

/* Can no row of the entity reach an event of that time? */
bool
event_out_of_reach(const FeatureReceiver *receiver, uint32 key, int64 time)
{
	const Stream *stream = receiver->stream;
	int64		least;
	int64		greatest;
	int64		limit;

	/* Without a time zone on one side only, the two do not compare. */
	if (receiver->plan->local != stream->local)
		return false;
	key_table_times(receiver->run->keys, key, &least, &greatest);
	if (stream->ahead != PG_INT64_MAX && !TIMESTAMP_NOT_FINITE(greatest) &&
		!pg_add_s64_overflow(greatest, stream->ahead, &limit) && time > limit)
		return true;
	return stream->back != PG_INT64_MAX && !TIMESTAMP_NOT_FINITE(least) &&
		!pg_sub_s64_overflow(least, stream->back, &limit) && time < limit;
}

/*
 * Note the inputs for which the event counts, and the size of their values;
 * return whether there is any.
 */
bool
event_take_inputs(FeatureReceiver *receiver, const Datum *values,
				  const bool *nulls, uint32 *bits, Size *size)
{
	Stream	   *stream = receiver->stream;
	bool		any = stream->wants_all;
	ListCell   *lc;

	*size = record_values_offset(stream) + stream->nvalues * sizeof(Datum);
	memset(bits, 0, Max(stream->nwords, 1) * sizeof(uint32));
	foreach(lc, stream->inputs)
	{
		Input	   *input = lfirst(lc);
		int			i = foreach_current_index(lc);
		Datum		value = values[i];

		receiver->values[i] = (Datum) 0;
		if (nulls[i] ||
			(input->presence && !DatumGetBool(value)))
			continue;
		any = true;
		bits[i / 32] |= (uint32) 1 << (i % 32);
		if (input->presence)
			continue;
		if (!input->typbyval)
		{
			if (input->typlen == -1)
				value = PointerGetDatum(PG_DETOAST_DATUM(value));
			receiver->sizes[i] = input->typlen == -1 ?
				VARSIZE(DatumGetPointer(value)) : input->typlen;
			*size += MAXALIGN(receiver->sizes[i]);
		}
		else
			value = canonical_datum(value, input->typlen);
		receiver->values[i] = value;
	}
	return any;
}

/* Put the values noted by event_take_inputs() into the record. */
void
event_put_inputs(FeatureReceiver *receiver, Record *record, const uint32 *bits)
{
	Stream	   *stream = receiver->stream;
	Datum	   *values = (Datum *) ((char *) record + record_values_offset(stream));
	Size		at = record_values_offset(stream) + stream->nvalues * sizeof(Datum);
	ListCell   *lc;

	record->present = bits[0];
	if (stream->nwords > 1)
		memcpy((char *) record + sizeof(Record), &bits[1],
			   (stream->nwords - 1) * sizeof(uint32));
	foreach(lc, stream->inputs)
	{
		Input	   *input = lfirst(lc);
		int			i = foreach_current_index(lc);

		if (input->presence)
			continue;
		values[input->slot] = receiver->values[i];
		if (input->typbyval || !((bits[i / 32] >> (i % 32)) & 1))
			continue;
		memcpy((char *) record + at, DatumGetPointer(receiver->values[i]),
			   receiver->sizes[i]);
		values[input->slot] = (Datum) at;
		at += MAXALIGN(receiver->sizes[i]);
	}
}

static void
flush_events(FeatureReceiver *receiver)
{
	FeatureRun *run = receiver->run;
	Batch	   *batch = &receiver->batch;

	for (int i = 0; i < batch->nrows; i++)
	{
		Record	   *record = (Record *) (batch->records + batch->rows[i].at);
		int64		key = key_table_find(run->keys, batch_words(receiver, i),
										 batch->rows[i].hash);

		if (key < 0)
			run->counts.events_unknown++;
		else if (event_out_of_reach(receiver, (uint32) key, record->time))
			run->counts.events_unreached++;
		else if (!batch->rows[i].wanted)
			run->counts.events_filtered++;
		else
		{
			store_record(receiver, record, (uint32) key);
			run->counts.events_used++;
		}
	}
}

/* Take one event whose entity and times are not NULL. */
static void
take_event(FeatureReceiver *receiver, const TupleTableSlot *slot)
{
	uint32		bits[(MaxTupleAttributeNumber + 31) / 32];
	Record	   *record;
	uint32		hash;
	Size		size;
	bool		wanted;

	if (!key_table_words(receiver->run->keys, slot->tts_values, false,
						 batch_words(receiver, receiver->batch.nrows), &hash))
	{
		receiver->run->counts.events_unknown++;
		return;
	}
	wanted = event_take_inputs(receiver, &slot->tts_values[receiver->nkeys],
							   &slot->tts_isnull[receiver->nkeys], bits, &size);
	record = batch_record(receiver, size);
	record->time = DatumGetInt64(slot->tts_values[receiver->plan->nkeys]);
	record->stream = receiver->number;
	if (receiver->stream->knowledge_time != NULL)
		*(int64 *) ((char *) record + record_known_offset(receiver->stream)) =
			DatumGetInt64(slot->tts_values[receiver->plan->nkeys + 1]);
	event_put_inputs(receiver, record, bits);
	batch_append(receiver, record, hash, wanted);
}

static bool
receive_event(TupleTableSlot *slot, DestReceiver *self)
{
	FeatureReceiver *receiver = (FeatureReceiver *) self;
	FeatureRun *run = receiver->run;
	MemoryContext before;

	slot_getallattrs(slot);
	run->counts.events_read++;
	if (has_null_key(receiver, slot))
	{
		run->counts.events_rejected++;
		return true;
	}
	before = MemoryContextSwitchTo(run->scratch);
	take_event(receiver, slot);
	MemoryContextSwitchTo(before);
	MemoryContextReset(run->scratch);
	return true;
}

/* ---- beginning and end ---------------------------------------------------------------- */

/* Get ready for the rows of the spine (NULL), or of a stream. */
void
receiver_init(FeatureReceiver *receiver, FeatureRun *run, Stream *stream,
			  int number)
{
	memset(receiver, 0, sizeof(FeatureReceiver));
	receiver->pub.receiveSlot = stream ? receive_event : receive_spine;
	receiver->pub.rStartup = receiver_startup;
	receiver->pub.rShutdown = receiver_end;
	receiver->pub.rDestroy = receiver_end;
	receiver->pub.mydest = DestTuplestore;
	receiver->run = run;
	receiver->plan = run->plan;
	receiver->context = CurrentMemoryContext;
	receiver->stream = stream;
	receiver->number = number;
	receiver->nkeys = run->plan->nkeys + 1 +
		(stream != NULL && stream->knowledge_time != NULL);
	receiver->batch.capacity = key_table_keeps_words(run->keys) ? BATCH_ROWS : 1;
	receiver->batch.words = palloc_array(Datum, BATCH_ROWS * run->plan->nkeys);
	if (stream == NULL)
		receiver->first = run->plan->spine->columns->natts;
	else
	{
		receiver->values = palloc0_array(Datum, list_length(stream->inputs) + 1);
		receiver->sizes = palloc0_array(Size, list_length(stream->inputs) + 1);
	}
}

/* No more rows come. */
void
receiver_finish(FeatureReceiver *receiver)
{
	flush_batch(receiver);
	if (receiver->batch.records != NULL)
		pfree(receiver->batch.records);
}
