/*
 * record.h
 *	  Spine rows and events: what they look like (here), and where they are kept
 *	  (record_store.c).
 */
#ifndef PIPELINE_FEATURE_RECORD_H
#define PIPELINE_FEATURE_RECORD_H

#include "feature/plan.h"

/*
 * A record is position-independent: by-reference values lie after its fixed
 * part and are kept as offsets, so that it is the same in memory and in a
 * file.  Stream 0 is the spine (a minimal tuple follows); stream n + 1 is the
 * plan's stream n.
 */
typedef struct Record
{
	int64		time;
	uint32		key;
	uint32		size;			/* whole, a multiple of 8 */
	uint32		stream;
	uint32		present;		/* bits of the first 32 inputs */
} Record;

typedef struct RecordStore RecordStore;

/* Records that lie one after the other. */
typedef struct RecordRun
{
	char	   *data;
	Size		used;
} RecordRun;

/* Called with the records of some entities, every one of them complete. */
typedef void (*RecordConsumer) (const RecordRun *runs, int nruns,
								uint64 nrecords, uint32 divisor, uint32 nslots,
								void *arg);

extern RecordStore *record_store_create(Size budget);
extern Record *record_store_reserve(RecordStore *store, Size size);
extern void record_store_append(RecordStore *store);
extern void record_store_append_all(RecordStore *store, const char *records,
									Size length, uint64 nrecords);
extern void record_store_finish(RecordStore *store, uint32 nkeys,
								uint32 groups, RecordConsumer consumer, void *arg);
extern void record_store_drain(RecordStore *store,
							   void (*take) (const Record *record, void *arg),
							   void *arg);
extern uint64 record_store_spilled(const RecordStore *store);

/* ---- records of events ---------------------------------------------------- */

/* Where the event's time of knowledge is, if the stream has one. */
static inline Size
record_known_offset(const Stream *stream)
{
	Size		extra = stream->nwords > 1 ? stream->nwords - 1 : 0;

	return MAXALIGN(sizeof(Record) + extra * sizeof(uint32));
}

/* Where the values of an event of this stream start. */
static inline Size
record_values_offset(const Stream *stream)
{
	return record_known_offset(stream) +
		(stream->knowledge_time ? sizeof(int64) : 0);
}

/* When the event became known. */
static inline int64
record_known(const Record *record, const Stream *stream)
{
	return *(const int64 *) ((const char *) record + record_known_offset(stream));
}

/* The word of presence bits that has the input's. */
static inline uint32 *
record_word(Record *record, int input)
{
	return input < 32 ? &record->present :
		(uint32 *) ((char *) record + sizeof(Record)) + input / 32 - 1;
}

/* Does the event count for the input? */
static inline bool
record_has(Record *record, int input)
{
	return (*record_word(record, input) >> (input % 32)) & 1;
}

/* The event's value for an input that has one. */
static inline Datum
record_value(Record *record, const Stream *stream, const Input *input)
{
	Datum		value = ((Datum *) ((char *) record + record_values_offset(stream)))[input->slot];

	return input->typbyval ? value : PointerGetDatum((char *) record + value);
}

#endif							/* PIPELINE_FEATURE_RECORD_H */
