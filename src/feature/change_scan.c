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

/* Count the old rows of a table, and note the new ones if they are events. */
static void
search_table(ChangeSearch *search, DirectScan *scan, int stream)
{
	TableScanDesc heap = table_beginscan(scan->rel, GetActiveSnapshot(), 0, NULL, 0);
	TableMark  *mark = palloc0(sizeof(TableMark));
	HeapTuple	tuple;
	uint32		n = 0;
	MemoryContext before;

	mark->relid = RelationGetRelid(scan->rel);
	mark->file = scan->rel->rd_rel->relfilenode;
	mark->natts = RelationGetDescr(scan->rel)->natts;
	mark->stream = stream;
	before = MemoryContextSwitchTo(scan->econtext->ecxt_per_tuple_memory);
	while ((tuple = heap_getnext(heap, ForwardScanDirection)) != NULL)
	{
		if ((++n & 1023) == 0)
			CHECK_FOR_INTERRUPTS();
		if (tuple_is_older(tuple->t_data, &search->now))
			mark->older_now++;
		else
			search->has_own = true;
		if (!TransactionIdIsValid(search->since.xmin))
			continue;
		if (tuple_is_older(tuple->t_data, &search->since))
			mark->older_since++;
		else if (scan->receiver->stream != NULL)
		{
			note_event(search, scan, tuple, ((HeapScanDesc) heap)->rs_cbuf);
			ResetExprContext(scan->econtext);
		}
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
