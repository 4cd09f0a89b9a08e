/*
 * changes.h
 *	  What a refresh notes about its sources, and what the next one finds:
 *	  change_scan.c, block_ranges.c, snapshot_mark.c, watermark.c.
 */
#ifndef PIPELINE_FEATURE_CHANGES_H
#define PIPELINE_FEATURE_CHANGES_H

#include "access/transam.h"
#include "storage/block.h"
#include "storage/bufmgr.h"
#include "utils/snapshot.h"

#include "feature/feature.h"

/* Some blocks of a table, one after the other. */
typedef struct BlockRange
{
	int64		rows;			/* that the snapshot saw */
	int64		least;			/* time of them; nothing is known of a range in */
	int64		greatest;		/* which one has no finite time, or no entity */
	bool		unchanged;		/* since the last watermark */
} BlockRange;

/* All blocks of a table; see block_ranges.c. */
typedef struct BlockRanges
{
	char	   *key;			/* under which they are kept */
	int			known;			/* ranges that were kept */
	uint32		width;			/* blocks of a range */
	int			nranges;
	BlockRange *ranges;
} BlockRanges;

/* One table as a refresh saw it. */
typedef struct TableMark
{
	Oid			relid;
	Oid			file;			/* rewritten, it has another */
	int			natts;			/* columns, dropped ones included */
	int			stream;			/* of the plan; -1: the spine */
	BlockRanges *blocks;
	bool		is_new;			/* no feature of the last refresh read it */
	int64		older_since;	/* rows that the last watermark saw */
	int64		older_now;		/* and the new one */
} TableMark;

typedef struct ChangeSearch
{
	FeaturePlan *plan;
	SnapshotMark since;			/* the last watermark; without xmin: none */
	SnapshotMark now;			/* the new one */
	const Jsonb *blocks;		/* of the last watermark, or NULL */
	XLogRecPtr	unchanged_to;	/* what was not written since is as it was */
	XLogRecPtr	next_unchanged_to;
	List	   *marks;			/* of TableMark */
	KeyTable   *reached;		/* by new events */
	bool		has_own;		/* there are rows that the new one cannot see */
} ChangeSearch;

/* snapshot_mark.c */
extern bool snapshot_mark(SnapshotMark *mark, Snapshot snapshot);
extern char *snapshot_text(const SnapshotMark *mark);
extern void snapshot_parse(SnapshotMark *mark, char *text);

/* Did the snapshot see what that transaction wrote, if it committed? */
static inline bool
snapshot_saw(const SnapshotMark *mark, TransactionId xid)
{
	if (!TransactionIdIsNormal(xid) || TransactionIdPrecedes(xid, mark->xmin))
		return true;
	if (TransactionIdFollowsOrEquals(xid, mark->xmax))
		return false;
	for (int i = 0; i < mark->nrunning; i++)
	{
		if (mark->running[i] == xid)
			return false;
	}
	return true;
}

/* change_scan.c */
extern bool change_search(ChangeSearch *search);
extern void change_search_forget(ChangeSearch *search, int stream);

/* block_ranges.c */
extern BlockRanges *block_ranges_start(const ChangeSearch *search, Relation rel,
									   bool spine, int time_att,
									   BlockNumber nblocks);
extern bool block_range_is_unchanged(Relation rel, BlockNumber first,
									 BlockNumber end, XLogRecPtr unchanged_to,
									 BufferAccessStrategy strategy);
extern bool block_range_beyond(const BlockRange *range, int64 from, int64 to);
extern XLogRecPtr block_range_settled(const ChangeSearch *search, Relation rel,
									  BlockNumber first, BlockNumber end,
									  BufferAccessStrategy strategy);
extern Jsonb *block_ranges_json(const ChangeSearch *search);
extern void block_ranges_lsn(ChangeSearch *search);

/* watermark.c */
typedef struct Watermark
{
	Jsonb	   *json;			/* NULL: none */
	Jsonb	   *blocks;			/* NULL: none */
	SnapshotMark snapshot;		/* without xmin: too old to compare with */
} Watermark;

extern void watermark_load(Watermark *mark, const FeatureSet *set, Oid target);
extern bool watermark_agrees(const Watermark *mark, const ChangeSearch *search);
extern List *watermark_changed_specs(const Watermark *mark, const FeatureSet *set);
extern Jsonb *watermark_make(const FeatureSet *set, Oid target,
							 const ChangeSearch *search);

#endif							/* PIPELINE_FEATURE_CHANGES_H */
