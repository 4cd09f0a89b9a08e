/*
 * write.h
 *	  Writing versions past the executor: what merge_write.c, for the deltas of
 *	  a merge, and events_write.c, for those of a replay, share.
 */
#ifndef PIPELINE_SCD_WRITE_H
#define PIPELINE_SCD_WRITE_H

#include "access/heapam.h"
#include "nodes/execnodes.h"
#include "scd/scd.h"

typedef struct Writer
{
	MergePlan  *plan;
	MergeCounts *counts;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	CommandId	cid;
	TupleTableSlot *old;
	TupleTableSlot *new;
	int			meta[META_COLUMNS]; /* places, or -1 */
	AttrNumber *map;			/* places of the plan's columns */
	ExprState **defaults;		/* of the columns that a merge does not write */
	bool		has_generated;
	/* Of the inserts. */
	BulkInsertState bulk;
	TupleTableSlot **slots;
	int			nslots;
	Size		bytes;
} Writer;

/* merge_write.c */
extern void pipeline_scd_writer_init(Writer *w, MergePlan *plan, MergeCounts *counts);
extern void pipeline_scd_writer_end(Writer *w);
extern void pipeline_scd_begin_update(Writer *w, ItemPointer tid);
extern void pipeline_scd_finish_update(Writer *w, ItemPointer tid);
extern void pipeline_scd_set_meta(Writer *w, TupleTableSlot *slot, MetaColumn meta,
								  Datum value, bool isnull);
extern void pipeline_scd_begin_inserts(Writer *w);
extern TupleTableSlot *pipeline_scd_begin_insert(Writer *w);
extern void pipeline_scd_finish_insert(Writer *w, TupleTableSlot *slot, Size bytes);
extern void pipeline_scd_end_inserts(Writer *w);

#endif							/* PIPELINE_SCD_WRITE_H */
