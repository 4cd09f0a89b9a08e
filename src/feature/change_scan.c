/*
 * change_scan.c
 *	  What has changed in the sources of a set since its last refresh.
 *
 * A refresh notes its snapshot, the watermark, and how many rows of each table
 * it saw.  The next one counts the rows that the watermark saw again: when they
 * are as many, they are the very same rows, for none can have been added to
 * them; every change since is then a row that the watermark did not see.  When
 * they are not as many, rows were deleted or updated, and where they had been
 * is not known: all is computed.  Rows that the transaction of the refresh
 * wrote itself cannot be told from those that it writes later: after them,
 * there is no watermark.
 *
 * Blocks that were not written since need not be read for that; see
 * block_ranges.c.
 *
 * That holds for tables that are read directly, by expressions that depend on
 * nothing but the row.  A new event reaches the rows of the spine around it;
 * per entity, the least and the greatest time of a row reached are kept.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "common/int.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "feature/changes.h"
#include "feature/direct_scan.h"
#include "feature/progress.h"

/* A time moved, but not past the infinities. */
static int64
moved(int64 time, int64 distance, int sign)
{
	int64		result;

	if (TIMESTAMP_NOT_FINITE(time))
		return time;
	if (distance == PG_INT64_MAX ||
		(sign > 0 ? pg_add_s64_overflow(time, distance, &result) :
		 pg_sub_s64_overflow(time, distance, &result)))
		return sign > 0 ? PG_INT64_MAX : PG_INT64_MIN;
	return result;
}

/* Note the rows of the spine that a new event reaches. */
static void
note_event(ChangeSearch *search, DirectScan *scan, HeapTuple tuple, Buffer buffer)
{
	const FeaturePlan *plan = search->plan;
	const Stream *stream = scan->receiver->stream;
	bool		same_axis = plan->local == stream->local;
	bool		isnull;
	int64		time;
	uint32		hash;

	if (scan->any_expression)
		ExecStoreBufferHeapTuple(tuple, scan->slot, buffer);
	if (scan->qual != NULL && !ExecQual(scan->qual, scan->econtext))
		return;
	direct_deform(scan, tuple->t_data, scan->natts_early);
	for (int i = 0; i < plan->nkeys; i++)
	{
		scan->keys[i] = direct_output(scan, scan->time - plan->nkeys + i, &isnull);
		if (isnull)
			return;
	}
	time = DatumGetInt64(direct_output(scan, scan->time, &isnull));
	if (isnull)
		return;
	(void) key_table_words(search->reached, scan->keys, true, scan->words, &hash);
	key_table_add(search->reached, scan->words, hash,
				  same_axis ? moved(time, stream->ahead, -1) : PG_INT64_MIN);
	key_table_add(search->reached, scan->words, hash,
				  same_axis ? moved(time, stream->back, 1) : PG_INT64_MAX);
}

/* The first of the columns that decide whether a row has its place in time. */
static int
first_decisive(const DirectScan *scan)
{
	/* A row of the spine without an entity is counted wherever it is. */
	return scan->receiver->stream == NULL ? scan->receiver->first : scan->time;
}

/* The column of the times, if what decides is as stored; else -1. */
static int
time_column(const DirectScan *scan)
{
	for (int i = first_decisive(scan); i <= scan->time; i++)
	{
		if (scan->outputs[i].kind == OUTPUT_EXPRESSION)
			return -1;
	}
	return scan->outputs[scan->time].att;
}

/*
 * Let the range have the row.  One that has no place in time makes it a range
 * of all times.
 */
static void
add_row(BlockRange *range, DirectScan *scan, HeapTupleHeader tuple, bool times)
{
	bool		known = times;
	bool		isnull;
	int64		time = 0;

	range->rows++;
	if (times)
	{
		direct_deform(scan, tuple, scan->natts_early);
		for (int i = first_decisive(scan); i <= scan->time; i++)
			known &= !scan->nulls[scan->outputs[i].att];
	}
	if (known)
		time = DatumGetInt64(direct_output(scan, scan->time, &isnull));
	if (!known || TIMESTAMP_NOT_FINITE(time))
	{
		range->least = PG_INT64_MIN;
		range->greatest = PG_INT64_MAX;
		return;
	}
	range->least = Min(range->least, time);
	range->greatest = Max(range->greatest, time);
}

/* Count the old rows of the blocks, and note the new ones if they are events. */
static void
search_blocks(ChangeSearch *search, DirectScan *scan, TableScanDesc heap,
			  TableMark *mark, BlockRange *range)
{
	const bool	compares = TransactionIdIsValid(search->since.xmin);
	const bool	times = time_column(scan) >= 0;
	HeapTuple	tuple;
	uint32		n = 0;

	*range = (BlockRange) {0, PG_INT64_MAX, PG_INT64_MIN, false};
	while ((tuple = heap_getnext(heap, ForwardScanDirection)) != NULL)
	{
		if ((++n & 1023) == 0)
			CHECK_FOR_INTERRUPTS();
		add_row(range, scan, tuple->t_data, times);
		if (tuple_is_older(tuple->t_data, &search->now))
			mark->older_now++;
		else
			search->has_own = true;
		if (!compares)
			continue;
		if (tuple_is_older(tuple->t_data, &search->since))
			mark->older_since++;
		else if (scan->receiver->stream != NULL)
		{
			note_event(search, scan, tuple, ((HeapScanDesc) heap)->rs_cbuf);
			ResetExprContext(scan->econtext);
		}
	}
}

/* Search one range of blocks, or take over what is known of it. */
static void
search_range(ChangeSearch *search, DirectScan *scan, TableScanDesc heap,
			 TableMark *mark, int number)
{
	HeapScanDesc pages = (HeapScanDesc) heap;
	BlockRange *range = &mark->blocks->ranges[number];
	BlockNumber first = (BlockNumber) number * mark->blocks->width;
	BlockNumber end = Min(pages->rs_nblocks, first + mark->blocks->width);

	if (first >= end)
	{
		/* Blocks that are no more: their rows, if any, are missed. */
		range->rows = 0;
		return;
	}
	if (TransactionIdIsValid(search->since.xmin) && number < mark->blocks->known &&
		block_range_is_unchanged(scan->rel, first, end, search->unchanged_to,
								 pages->rs_strategy))
	{
		range->unchanged = true;
		mark->older_since += range->rows;
		mark->older_now += range->rows;
		return;
	}
	heap_rescan(heap, NULL, false, false, false, false);
	heap_setscanlimits(heap, first, end - first);
	search_blocks(search, scan, heap, mark, range);
	search->next_unchanged_to = Min(search->next_unchanged_to,
									block_range_settled(search, scan->rel, first, end,
														pages->rs_strategy));
}

/* Search one table. */
static void
search_table(ChangeSearch *search, DirectScan *scan, int stream)
{
	TableScanDesc heap = table_beginscan_strat(scan->rel, GetActiveSnapshot(), 0,
											   NULL, true, false);
	TableMark  *mark = palloc0(sizeof(TableMark));
	MemoryContext before;

	mark->relid = RelationGetRelid(scan->rel);
	mark->file = scan->rel->rd_rel->relfilenode;
	mark->natts = RelationGetDescr(scan->rel)->natts;
	mark->stream = stream;
	mark->blocks = block_ranges_start(search, scan->rel, stream < 0, time_column(scan),
									  ((HeapScanDesc) heap)->rs_nblocks);
	before = MemoryContextSwitchTo(scan->econtext->ecxt_per_tuple_memory);
	progress_phase(PROGRESS_SEARCHING, ((HeapScanDesc) heap)->rs_nblocks);
	for (int i = 0; i < mark->blocks->nranges; i++)
	{
		search_range(search, scan, heap, mark, i);
		progress_advance(mark->blocks->width);
	}
	MemoryContextSwitchTo(before);
	if (scan->any_expression)
		ExecClearTuple(scan->slot);
	table_endscan(heap);
	search->marks = lappend(search->marks, mark);
}

/*
 * Does the function depend on more than its arguments?  What depends on the
 * time zone does not count: that is the set's.
 */
static bool
is_mutable(Oid function, void *context)
{
	switch (function)
	{
		case F_TIMESTAMPTZ_DATE:
		case F_TIMESTAMPTZ_TIMESTAMP:
		case F_TIMESTAMP_TIMESTAMPTZ:
		case F_DATE_TIMESTAMPTZ:
			return false;
	}
	return func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/* Does the expression depend on more than the row? */
static bool
depends_on_more(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction) || IsA(node, NextValueExpr) ||
		check_functions_in_node(node, is_mutable, NULL))
		return true;
	return expression_tree_walker(node, depends_on_more, context);
}

/* Search one source; false: changes to it cannot be told. */
static bool
search_source(ChangeSearch *search, Stream *stream, int number)
{
	static const FeatureRange whole = {NULL, NULL, NULL};
	static const ScanBounds unbounded = {InvalidOid, NULL, NULL, false, NULL};
	FeatureRun	run = {0};
	FeatureReceiver receiver;
	PlannedStmt *stmt;
	List	   *scans;
	ListCell   *lc;

	stmt = scan_plan(stream == NULL ? feature_spine_sql(search->plan, &whole) :
					 feature_stream_sql(search->plan, stream, &whole, false),
					 NULL, true);
	scans = direct_plain_scans(stmt);
	foreach(lc, scans)
	{
		const Plan *plan = lfirst(lc);

		if (depends_on_more((Node *) plan->targetlist, NULL) ||
			depends_on_more((Node *) plan->qual, NULL))
			return false;
	}
	run.plan = search->plan;
	run.range = &whole;
	run.keys = search->reached;
	receiver_init(&receiver, &run, stream, 0);
	foreach(lc, scans)
	{
		DirectScan *scan = direct_scan_open(&receiver, stmt, lfirst(lc), &unbounded);

		search_table(search, scan, number);
		direct_scan_close(scan);
	}
	return scans != NIL;
}

/*
 * Search the spine and every stream of the plan, under the active snapshot;
 * return whether all changes to them can be told.  Without `since`, rows are
 * only counted, for the next time.
 */
bool
change_search(ChangeSearch *search)
{
	ListCell   *lc;

	if (!snapshot_mark(&search->now, GetActiveSnapshot()))
		return false;
	block_ranges_lsn(search);
	search->reached = key_table_create(search->plan);
	if (!search_source(search, NULL, -1))
		return false;
	foreach(lc, search->plan->streams)
	{
		if (!search_source(search, lfirst(lc), foreach_current_index(lc)))
			return false;
	}
	return true;
}

/* Nothing that was there before depends on the stream: let it not be compared. */
void
change_search_forget(ChangeSearch *search, int stream)
{
	ListCell   *lc;

	foreach(lc, search->marks)
	{
		TableMark  *mark = lfirst(lc);

		if (mark->stream == stream)
			mark->is_new = true;
	}
}
