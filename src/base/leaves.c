/*
 * leaves.c
 *	  The tables that hold the rows of a table: itself, or the leaves of a
 *	  partitioned one.
 *
 * Who reads past the executor reads the leaves one after another, as one table
 * whose blocks follow each other: so a place in it is a block number and an
 * offset, however many leaves there are.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/leaves.h"

/*
 * The oids of the leaves of a relation that the caller has locked; each is
 * locked for reading.  A relation that is not partitioned is its own.
 */
static List *
leaf_oids(Relation rel)
{
	List	   *leaves = NIL;
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(RelationGetRelid(rel));
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
			leaves = lappend_oid(leaves, lfirst_oid(lc));
	}
	return leaves;
}

/*
 * pipeline_direct_read_obstacle() for a table that may be partitioned: then
 * rights and row security are those of the table that is named, as in the
 * executor, and each leaf must be a heap of this session's server.
 */
const char *
pipeline_leaves_obstacle(Relation rel, const AttrNumber *columns, int ncolumns)
{
	uint64		blocks = 0;
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return pipeline_direct_read_obstacle(rel, columns, ncolumns);
	foreach(lc, leaf_oids(rel))
	{
		Relation	leaf = table_open(lfirst_oid(lc), NoLock);
		const char *obstacle = pipeline_direct_leaf_obstacle(leaf);

		if (obstacle == NULL)
			blocks += RelationGetNumberOfBlocks(leaf);
		table_close(leaf, NoLock);
		if (obstacle != NULL)
			return psprintf("%s (partition \"%s\")", obstacle, get_rel_name(lfirst_oid(lc)));
	}
	if (blocks >= MaxBlockNumber)
		return "its partitions have too many blocks together";
	return pipeline_direct_root_obstacle(rel, columns, ncolumns);
}

/*
 * Open the leaves of a table that pipeline_leaves_obstacle() has passed, after
 * the snapshot was taken that they are read with: rows that it can see are not
 * in blocks that come later.
 */
TableLeaves *
pipeline_leaves_open(Relation rel)
{
	TableLeaves *leaves = palloc0_object(TableLeaves);
	List	   *oids = leaf_oids(rel);
	uint64		blocks = 0;
	ListCell   *lc;

	leaves->leaf = palloc0_array(TableLeaf, list_length(oids) + 1);
	foreach(lc, oids)
	{
		TableLeaf  *leaf = &leaves->leaf[leaves->n++];

		leaf->rel = table_open(lfirst_oid(lc), AccessShareLock);
		leaf->first = (BlockNumber) blocks;
		leaf->blocks = RelationGetNumberOfBlocks(leaf->rel);
		leaf->slot = table_slot_create(leaf->rel, NULL);
		blocks += leaf->blocks;
		if (blocks >= MaxBlockNumber)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the partitions of \"%s\" have too many blocks together",
							RelationGetRelationName(rel))));
	}
	leaves->blocks = (BlockNumber) blocks;
	return leaves;
}

/* Close them; the locks stay. */
void
pipeline_leaves_close(TableLeaves *leaves)
{
	for (int i = 0; i < leaves->n; i++)
	{
		ExecDropSingleTupleTableSlot(leaves->leaf[i].slot);
		table_close(leaves->leaf[i].rel, NoLock);
	}
	pfree(leaves->leaf);
	pfree(leaves);
}

/*
 * The place of a tuple of a leaf among all of them.  A block that was not
 * there when the leaves were opened has none: the snapshot sees nothing in it.
 */
void
pipeline_leaf_place(const TableLeaf *leaf, const ItemPointerData *tid, ItemPointer place)
{
	BlockNumber block = ItemPointerGetBlockNumber(tid);

	if (block >= leaf->blocks)
		elog(ERROR, "table \"%s\" has a row in block %u of %u",
			 RelationGetRelationName(leaf->rel), block, leaf->blocks);
	ItemPointerSet(place, leaf->first + block, ItemPointerGetOffsetNumber(tid));
}

/* The leaf of a place, and the place in it. */
TableLeaf *
pipeline_leaf_at(TableLeaves *leaves, const ItemPointerData *place, ItemPointer tid)
{
	BlockNumber block = ItemPointerGetBlockNumber(place);
	int			low = 0;
	int			high = leaves->n - 1;

	/* The last that begins at or before it: those before it may be empty. */
	while (low < high)
	{
		int			middle = (low + high + 1) / 2;

		if (leaves->leaf[middle].first <= block)
			low = middle;
		else
			high = middle - 1;
	}
	ItemPointerSet(tid, block - leaves->leaf[low].first, ItemPointerGetOffsetNumber(place));
	return &leaves->leaf[low];
}

/*
 * Fetch the tuple at a place into the slot of its leaf, which is returned;
 * NULL when the snapshot does not see it.
 */
TableLeaf *
pipeline_leaf_fetch(TableLeaves *leaves, const ItemPointerData *place,
					ItemPointer tid, Snapshot snapshot)
{
	TableLeaf  *leaf = pipeline_leaf_at(leaves, place, tid);

	if (!table_tuple_fetch_row_version(leaf->rel, tid, snapshot, leaf->slot))
		return NULL;
	slot_getallattrs(leaf->slot);
	return leaf;
}

/*
 * Lock a table and, where it is partitioned, its partitions, as LOCK TABLE
 * does: one who writes to a partition by its name does not lock the table.
 */
void
pipeline_lock_with_partitions(Oid relid, LOCKMODE mode)
{
	LockRelationOid(relid, mode);
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		list_free(find_all_inheritors(relid, mode, NULL));
}
