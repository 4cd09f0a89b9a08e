/*
 * leaves.h
 *	  Reading a table past the executor, or the leaves of a partitioned one as
 *	  if they were one table.
 */
#ifndef PIPELINE_BASE_LEAVES_H
#define PIPELINE_BASE_LEAVES_H

#include "base/base.h"

#include "storage/block.h"
#include "storage/itemptr.h"
#include "storage/lockdefs.h"
#include "utils/snapshot.h"

typedef struct TableLeaf
{
	Relation	rel;
	BlockNumber first;			/* number of its first block among all */
	BlockNumber blocks;			/* when it was opened */
	struct TupleTableSlot *slot;	/* of tuples that are fetched */
	AttrNumber *map;			/* for the caller: places of its columns */
	void	   *extra;			/* for the caller */
} TableLeaf;

typedef struct TableLeaves
{
	int			n;
	TableLeaf  *leaf;
	BlockNumber blocks;			/* of all */
} TableLeaves;

extern const char *pipeline_leaves_obstacle(Relation rel, const AttrNumber *columns,
											int ncolumns);
extern TableLeaves *pipeline_leaves_open(Relation rel);
extern void pipeline_leaves_close(TableLeaves *leaves);
extern void pipeline_leaf_place(const TableLeaf *leaf, const ItemPointerData *tid,
								ItemPointer place);
extern TableLeaf *pipeline_leaf_at(TableLeaves *leaves, const ItemPointerData *place,
								   ItemPointer tid);
extern TableLeaf *pipeline_leaf_fetch(TableLeaves *leaves, const ItemPointerData *place,
									  ItemPointer tid, Snapshot snapshot);
extern void pipeline_lock_with_partitions(Oid relid, LOCKMODE mode);

#endif							/* PIPELINE_BASE_LEAVES_H */
