/*
 * classify.h
 *	  How a row of the source, beside the current version of its key, is
 *	  classified: shared by the executor's join and the direct scan.
 *
 * Such a pair is a slot of this layout: the number of the source row (NULL for
 * a key that the source lacks), its columns (or the key of that version), and
 * of the current version its place, relation, valid_from, merge and
 * attributes.
 */
#ifndef PIPELINE_SCD_CLASSIFY_H
#define PIPELINE_SCD_CLASSIFY_H

#include "scd/scd.h"

#include "storage/itemptr.h"
#include "utils/hsearch.h"

/* Marks of 64 neighbouring tuples: which class the first row for them had. */
#define MARKS 64

typedef struct MarkKey
{
	Oid			rel;
	BlockNumber block;
	uint32		part;
} MarkKey;

typedef struct MarkEntry
{
	MarkKey		key;
	char		marks[MARKS];	/* 0, or the class */
} MarkEntry;

typedef struct Classifier
{
	DestReceiver pub;
	MergePlan  *plan;
	MergeDelta *delta;
	MergeCounts *counts;
	HTAB	   *marks;
	MarkEntry  *last_mark;		/* rows often come in the order of the table */
	int64		matched;		/* rows out that have a source row */
	int64		last_row;		/* greatest number of a source row */
	MemoryContext row_context;
	MemoryContext result_context;
	Datum	   *values;			/* of a delta row */
	bool	   *nulls;
} Classifier;

#define OUT_COLUMNS 1
#define OUT_TID(plan) (OUT_COLUMNS + (plan)->ncolumns)
#define OUT_REL(plan) (OUT_TID(plan) + 1)
#define OUT_OPENED(plan) (OUT_TID(plan) + 2)
#define OUT_MERGE(plan) (OUT_TID(plan) + 3)
#define OUT_LIVE(plan) (OUT_TID(plan) + 4)

extern void pipeline_scd_classifier_init(Classifier *c, MergePlan *plan,
										 MergeDelta *delta, MergeCounts *counts);
extern void pipeline_scd_reject_row(Classifier *c, TupleTableSlot *slot,
									const char *reason);
extern void pipeline_scd_new_row(Classifier *c, TupleTableSlot *slot);
extern void pipeline_scd_match_row(Classifier *c, TupleTableSlot *slot, char *mark);
extern void pipeline_scd_miss_row(Classifier *c, TupleTableSlot *slot);
extern char *pipeline_scd_key_detail(Classifier *c, TupleTableSlot *slot,
									 const char *rest);

#endif							/* PIPELINE_SCD_CLASSIFY_H */
