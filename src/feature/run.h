/*
 * run.h
 *	  The whole computation: what is read, what is counted, what comes out.
 */
#ifndef PIPELINE_FEATURE_RUN_H
#define PIPELINE_FEATURE_RUN_H

#include "access/htup.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "feature/key_table.h"
#include "feature/plan.h"
#include "feature/record.h"

typedef struct FeatureCounts
{
	int64		rows_read;		/* = the four below */
	int64		rows_computed;
	int64		rows_rejected;
	int64		rows_beyond_as_of;
	int64		rows_unchanged;
	int64		rows_reached;	/* of those computed: not new */
	int64		events_read;	/* = used + the four below */
	int64		events_used;
	int64		events_rejected;
	int64		events_unknown;
	int64		events_unreached;
	int64		events_filtered;
	int64		spilled_bytes;
	double		read_ms;
	double		compute_ms;
} FeatureCounts;

/* How one source was read. */
typedef struct ScanReport
{
	const Stream *stream;		/* NULL: the spine */
	const char *way;
	int64		rows_read;
	int64		rows_kept;
	double		ms;
} ScanReport;

/* How a computation went, for people. */
typedef struct FeatureReport
{
	MemoryContext context;		/* of what is in it */
	List	   *scans;			/* of ScanReport */
	uint32		entities;
	int64		sorted_again;	/* runs of events that were not in order of time */
} FeatureReport;

/* Which part of the spine, and of the past; NULL: no limit. */
typedef struct FeatureRange
{
	const TimestampTz *from_time;
	const TimestampTz *to_time;
	const TimestampTz *as_of;
	const List *entity;			/* the values of the only entity; NIL: any */
	FeatureReport *report;		/* to be filled in, or NULL */
} FeatureRange;

/* Which transactions a snapshot did not see. */
typedef struct SnapshotMark
{
	TransactionId xmin;			/* all before it are over; invalid: no mark */
	TransactionId xmax;			/* none from it on has ended */
	int			nrunning;		/* between the two */
	TransactionId *running;
} SnapshotMark;

/* Which rows of the spine are computed: those that can have changed. */
typedef struct SpineChanges
{
	SnapshotMark since;			/* rows that it did not see are new */
	KeyTable   *reached;		/* by new events: rows between its times */
	List	   *marks;			/* of TableMark: what else is known of the tables */
	int64		reached_from;	/* all that are reached are between these times */
	int64		reached_to;
} SpineChanges;

typedef struct FeatureRun
{
	FeaturePlan *plan;
	const FeatureRange *range;
	const SpineChanges *changes;	/* NULL: all rows */
	KeyTable   *keys;
	uint32		nkeys;			/* entities that this process computes */
	struct PlannedStmt *spine_stmt;
	RecordStore *store;
	struct Exchange *exchange;	/* NULL: this process does it all */
	struct ParallelRun *parallel;	/* of the process that others help */
	Tuplestorestate *output;
	struct RowParcel *output_parcel;	/* instead of it, of those that help */
	FeatureStatistic *statistics;	/* by feature, or NULL */
	MemoryContext scratch;		/* reset for every row read */
	int64		least_time;
	int64		greatest_time;
	FeatureCounts counts;
} FeatureRun;

extern char *feature_spine_sql(const FeaturePlan *plan,
							   const FeatureRange *range);
extern char *feature_stream_sql(const FeaturePlan *plan, const Stream *stream,
								const FeatureRange *range, bool bounded);
extern char *feature_lookup_sql(const FeaturePlan *plan, const Stream *stream,
								const FeatureRange *range);
extern void features_run(FeaturePlan *plan, const FeatureRange *range,
						 const SpineChanges *changes, Tuplestorestate *output,
						 FeatureCounts *counts, FeatureStatistic *statistics);
extern void feature_counts_add(FeatureCounts *sum, const FeatureCounts *counts);

extern int64 feature_epoch(TimestampTz time, bool up);
extern void feature_read(FeatureRun *run);
extern void feature_compute(FeatureRun *run);

/* ---- row_writer.c: rows of the result -------------------------------------------- */

typedef struct RowWriter RowWriter;

extern RowWriter *row_writer_create(TupleDesc desc, int nspine,
									Tuplestorestate *output, struct RowParcel *parcel);
extern void row_writer_put(RowWriter *writer, MinimalTuple row,
						   const Datum *values, const bool *nulls);
extern void row_writer_end(RowWriter *writer);

#endif							/* PIPELINE_FEATURE_RUN_H */
