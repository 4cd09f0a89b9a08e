/*
 * direct_scan.h
 *	  One scan of one table, past the executor: what it takes out of a tuple
 *	  (direct_plan.c), and the tuples that wait (direct_scan.c, change_scan.c).
 */
#ifndef PIPELINE_FEATURE_DIRECT_SCAN_H
#define PIPELINE_FEATURE_DIRECT_SCAN_H

#include "access/htup_details.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"

#include "feature/changes.h"
#include "feature/read.h"

#define DIRECT_BATCH 128

typedef enum OutputKind
{
	OUTPUT_COLUMN,				/* as it is stored */
	OUTPUT_DATE,				/* a date's midnight */
	OUTPUT_EXPRESSION
} OutputKind;

/* One column of the scan. */
typedef struct Output
{
	OutputKind	kind;
	int			att;			/* from 0 */
	ExprState  *expr;
} Output;

/* What taking a column out of a tuple needs to know. */
typedef struct DirectAttribute
{
	int16		len;
	bool		byval;
	char		align;
} DirectAttribute;

/* A tuple of the page at hand that waits for its entity to be looked up. */
typedef struct DirectRow
{
	HeapTupleData tuple;
	uint32		hash;
	int64		time;
	int64		known;
} DirectRow;

typedef struct DirectScan
{
	FeatureReceiver *receiver;
	FeatureRun *run;
	const ScanBounds *bounds;
	Relation	rel;
	Output	   *outputs;
	int			noutputs;
	int			time;			/* place among the outputs; keys lie before it */
	int			natts_early;	/* to take out for the time and the entity */
	int			natts_late;		/* and for all the rest */
	bool		simple;			/* bounds are compared here */
	bool		any_expression;
	bool		keys_expression;	/* or condition: before the entity is known */
	bool		whole_tuples;	/* of the spine: they are copied as they are */
	ExprState  *qual;			/* or NULL */
	ExprContext *econtext;
	TupleTableSlot *slot;
	DirectAttribute *atts;
	Datum	   *values;			/* of the tuple at hand */
	bool	   *nulls;
	Datum	   *out_values;		/* by output */
	bool	   *out_nulls;
	Datum	   *keys;			/* of the tuple at hand */
	Datum	   *words;			/* of the entities of rows, nkeys each */
	int			nrows;
	Buffer		buffer;			/* pinned while rows wait */
	DirectRow	rows[DIRECT_BATCH];
} DirectScan;

/* direct_plan.c */
extern List *direct_plain_scans(const PlannedStmt *stmt);
extern DirectScan *direct_scan_open(FeatureReceiver *receiver,
									const PlannedStmt *stmt, const Plan *plan,
									const ScanBounds *bounds);
extern void direct_scan_close(DirectScan *scan);

/* direct_scan.c */
extern void direct_deform(DirectScan *scan, HeapTupleHeader tuple, int natts);
extern Datum direct_output(DirectScan *scan, int number, bool *isnull);

/* Was the tuple, which is visible, written before the watermark's snapshot? */
static inline bool
tuple_is_older(HeapTupleHeader tuple, const SnapshotMark *mark)
{
	return snapshot_saw(mark, HeapTupleHeaderGetRawXmin(tuple));
}

#endif							/* PIPELINE_FEATURE_DIRECT_SCAN_H */
