/*
 * read.h
 *	  What reading the spine and the streams has in common, however a row
 *	  comes: from the executor (receive.c), or from the pages of a table
 *	  (direct_scan.c).
 */
#ifndef PIPELINE_FEATURE_READ_H
#define PIPELINE_FEATURE_READ_H

#include "nodes/plannodes.h"
#include "tcop/dest.h"

#include "feature/feature.h"

#define BATCH_ROWS 64

/* A row that waits for its entity to be looked up. */
typedef struct Waiting
{
	uint32		hash;
	bool		wanted;			/* false: no input wants the event */
	Size		at;				/* of its record in the batch */
} Waiting;

typedef struct Batch
{
	int			nrows;
	int			capacity;
	Waiting		rows[BATCH_ROWS];
	Datum	   *words;			/* nkeys a row */
	char	   *records;
	Size		used;
	Size		size;
} Batch;

typedef struct FeatureReceiver
{
	DestReceiver pub;
	FeatureRun *run;
	FeaturePlan *plan;
	MemoryContext context;
	Stream	   *stream;			/* NULL for the spine */
	uint32		number;			/* of the record's stream */
	int			first;			/* column of the first of our own */
	int			nkeys;			/* columns of the entity and of times */
	Datum	   *values;			/* of the event at hand, by input */
	Size	   *sizes;			/* of those by reference */
	Batch		batch;
} FeatureReceiver;

/* The part of a source that is read, in microseconds of its own axis. */
typedef struct ScanBounds
{
	Oid			type;			/* of from and to as parameters */
	const TimestampTz *from;	/* NULL: no limit */
	const TimestampTz *to;
	bool		to_counts;		/* an event at `to` is read */
	const TimestampTz *as_of;
} ScanBounds;

/* One read of the spine (stream NULL) or of a stream. */
typedef struct StreamScan
{
	Stream	   *stream;
	int			number;
	char	   *sql;
	PlannedStmt *stmt;
	ScanBounds	bounds;
	int64		from;			/* room for the bounds */
	int64		to;
	int64		as_of;
	bool		lookup;			/* of the spine's entities alone */
	struct ParallelTableScanDescData **shared;	/* by table; NULL: alone */
} StreamScan;

/* Parameters of every statement that reads: the bounds of the time, and as_of. */
#define SCAN_PARAMS 3

/* read.c */
extern ParamListInfo scan_params(const ScanBounds *bounds, int more);
extern void stream_scan_run(FeatureRun *run, const StreamScan *scan);
extern PlannedStmt *scan_plan(const char *sql, ParamListInfo params, bool whole);

/* lookup.c */
extern void lookup_instead(FeatureRun *run, StreamScan *scan);

/* receive.c */
extern void receiver_init(FeatureReceiver *receiver, FeatureRun *run,
						  Stream *stream, int number);
extern void receiver_finish(FeatureReceiver *receiver);
extern bool event_out_of_reach(const FeatureReceiver *receiver, uint32 key,
							   int64 time);
extern bool event_take_inputs(FeatureReceiver *receiver, const Datum *values,
							  const bool *nulls, uint32 *bits, Size *size);
extern void event_put_inputs(FeatureReceiver *receiver, Record *record,
							 const uint32 *bits);

/* direct_scan.c */
extern bool direct_scan(FeatureReceiver *receiver, const PlannedStmt *stmt,
						const ScanBounds *bounds,
						struct ParallelTableScanDescData **shared);

#endif							/* PIPELINE_FEATURE_READ_H */
