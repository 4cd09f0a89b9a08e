/*
 * direct.h
 *	  What the files of the direct merge share.
 *
 *	merge_direct.c		may it be done, and the whole of it
 *	direct_versions.c	the scan of the table into the compact table
 *	direct_rows.c		the source streamed past it
 */
#ifndef PIPELINE_SCD_DIRECT_H
#define PIPELINE_SCD_DIRECT_H

#include "access/attnum.h"
#include "base/leaves.h"
#include "lib/bloomfilter.h"
#include "scd/classify.h"
#include "scd/live.h"
#include "utils/snapshot.h"

#define BATCH 64

/* A key with this mark is new in the source. */
#define MARK_NEW CLASS_NEW

/* Where a table, or a partition, has the columns of ours that are read. */
typedef struct VersionPlaces
{
	int			from;
	int			current;
	int			merge;			/* or -1 */
	int			surrogate_key;	/* or -1 */
	int			last;			/* the last that the scan reads */
} VersionPlaces;

typedef struct DirectMerge
{
	DestReceiver pub;			/* of a source that streams */
	Classifier	c;
	MergePlan  *plan;
	MergeDelta *delta;
	MergeCounts *counts;
	LiveTable  *live;
	LiveKeys	keys;
	bloom_filter *closed;		/* hashes of keys of closed versions */
	TableLeaves *table;			/* each with its VersionPlaces */
	TableLeaf  *leaf;			/* of the version that was fetched last */
	Snapshot	snapshot;
	TableLeaves *source;		/* NULL: it streams */
	TupleTableSlot *pair;		/* for the classifier */
	ItemPointerData pair_tid;
	Tuplestorestate **rows;		/* of a stream, by partition */
	TupleDesc	rows_desc;
	int64		nrows;
	bool		new_seen;		/* a new key may have closed versions */
	Probe		batch[BATCH];
	int			nbatch;
	uint32		waiting[BATCH]; /* entries to be linked: hash, number */
	uint32		waiting_number[BATCH];
	int			nwaiting;
	double		estimate;
} DirectMerge;

/* direct_versions.c */
extern void pipeline_scd_read_versions(DirectMerge *d);
extern void pipeline_scd_take_missing(DirectMerge *d);
extern void pipeline_scd_fetch_version(DirectMerge *d, const LiveEntry *entry);
extern bool pipeline_scd_same_key(DirectMerge *d, const Datum *values,
								  const bool *nulls, const AttrNumber *map);
extern void pipeline_scd_wait_for_link(DirectMerge *d, uint32 hash,
									   const LiveEntry *entry);
extern void pipeline_scd_link_waiting(DirectMerge *d);
extern void pipeline_scd_set_row(DirectMerge *d, int64 n, const Datum *values,
								 const bool *nulls, const AttrNumber *map);
extern void pipeline_scd_set_version(DirectMerge *d);

/* direct_rows.c */
extern void pipeline_scd_read_rows(DirectMerge *d, bool direct);
extern void pipeline_scd_take_parts(DirectMerge *d);

#endif							/* PIPELINE_SCD_DIRECT_H */
