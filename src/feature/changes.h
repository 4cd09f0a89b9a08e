/*
 * changes.h
 *	  What a refresh notes about its sources, and what the next one finds.
 */
#ifndef PIPELINE_FEATURE_CHANGES_H
#define PIPELINE_FEATURE_CHANGES_H

#include "access/transam.h"
#include "utils/snapshot.h"

#include "feature/feature.h"

/* One table as a refresh saw it. */
typedef struct TableMark
{
	Oid			relid;
	Oid			file;			/* rewritten, it has another */
	int			natts;			/* columns, dropped ones included */
	int			stream;			/* of the plan; -1: the spine */
	bool		is_new;			/* no feature of the last refresh read it */
	int64		older_since;	/* rows that the last watermark saw */
	int64		older_now;		/* and the new one */
} TableMark;

typedef struct ChangeSearch
{
	FeaturePlan *plan;
	SnapshotMark since;			/* the last watermark; without xmin: none */
	SnapshotMark now;			/* the new one */
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

/* watermark.c */
typedef struct Watermark
{
	Jsonb	   *json;			/* NULL: none */
	SnapshotMark snapshot;		/* without xmin: too old to compare with */
} Watermark;

extern void watermark_load(Watermark *mark, const FeatureSet *set, Oid target);
extern bool watermark_agrees(const Watermark *mark, const ChangeSearch *search);
extern List *watermark_changed_specs(const Watermark *mark, const FeatureSet *set);
extern Jsonb *watermark_make(const FeatureSet *set, Oid target,
							 const ChangeSearch *search);

#endif							/* PIPELINE_FEATURE_CHANGES_H */
