/*
 * direct_scan.c
 *	  Read the spine or a stream from the pages of its table, past the
 *	  executor, where the planner would scan the table from end to end.
 *
 * A tuple costs as little as what is asked of it: its time is looked at
 * first, then its entity; what is aggregated is taken out only of those events
 * that some row reaches.  Tuples wait in batches, on one page that is kept
 * pinned, while the places of their entities come into the cache.
 *
 * The plan says what is to be computed from a tuple: columns are taken out of
 * it here, other expressions and conditions are evaluated as the executor
 * would.  base decides whether the executor may be passed by.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/tupmacs.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "feature/direct_scan.h"
#include "feature/exchange.h"
#include "feature/progress.h"

/* ---- out of a tuple ------------------------------------------------------------- */

/* Take the first `natts` columns out of a tuple. */
void
direct_deform(DirectScan *scan, HeapTupleHeader tuple, int natts)
{
	bool		has_nulls = (tuple->t_infomask & HEAP_HASNULL) != 0;
	char	   *data = (char *) tuple + tuple->t_hoff;
	int			stored = Min(natts, HeapTupleHeaderGetNatts(tuple));
	uint32		at = 0;
	int			i;

	for (i = 0; i < stored; i++)
	{
		const DirectAttribute *att = &scan->atts[i];

		scan->nulls[i] = has_nulls && att_isnull(i, tuple->t_bits);
		if (scan->nulls[i])
			continue;
		if (att->len == -1)
			at = att_align_pointer(at, att->align, -1, data + at);
		else
			at = att_align_nominal(at, att->align);
		scan->values[i] = fetch_att(data + at, att->byval, att->len);
		at = att_addlength_pointer(at, att->len, data + at);
	}
	/* Columns that were added later. */
	for (; i < natts; i++)
		scan->values[i] = getmissingattr(RelationGetDescr(scan->rel), i + 1,
										 &scan->nulls[i]);
}

static int64
date_to_time(DateADT date)
{
	if (DATE_IS_NOBEGIN(date))
		return DT_NOBEGIN;
	if (DATE_IS_NOEND(date))
		return DT_NOEND;
	if (date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("date out of range for timestamp")));
	return (int64) date * USECS_PER_DAY;
}

/* A column of the scan, of the tuple that was deformed and is in the slot. */
Datum
direct_output(DirectScan *scan, int number, bool *isnull)
{
	const Output *output = &scan->outputs[number];

	if (output->kind == OUTPUT_EXPRESSION)
		return ExecEvalExpr(output->expr, scan->econtext, isnull);
	*isnull = scan->nulls[output->att];
	if (output->kind == OUTPUT_DATE && !*isnull)
		return Int64GetDatum(date_to_time(DatumGetDateADT(scan->values[output->att])));
	return scan->values[output->att];
}

/* ---- rows that waited ------------------------------------------------------------- */

static void
flush_spine_row(DirectScan *scan, DirectRow *row, const Datum *words)
{
	FeatureRun *run = scan->run;
	Size		header = MAXALIGN(sizeof(Record));
	uint32		key = key_table_add(run->keys, words, row->hash, row->time);
	MinimalTuple tuple = NULL;
	Size		length;
	Record	   *record;

	if (scan->whole_tuples &&
		HeapTupleHeaderGetNatts(row->tuple.t_data) == RelationGetDescr(scan->rel)->natts)
		length = row->tuple.t_len - MINIMAL_TUPLE_OFFSET;
	else
	{
		if (scan->any_expression)
			ExecStoreBufferHeapTuple(&row->tuple, scan->slot, scan->buffer);
		direct_deform(scan, row->tuple.t_data, scan->natts_late);
		for (int i = 0; i < run->plan->spine->columns->natts; i++)
			scan->out_values[i] = direct_output(scan, i, &scan->out_nulls[i]);
		tuple = heap_form_minimal_tuple(run->plan->spine->columns,
										scan->out_values, scan->out_nulls, 0);
		length = tuple->t_len;
	}
	record = exchange_reserve(run, key, header + MAXALIGN(length));
	record->time = row->time;
	record->stream = 0;
	record->present = 0;
	if (tuple != NULL)
		memcpy((char *) record + header, tuple, length);
	else
	{
		MinimalTuple copy = (MinimalTuple) ((char *) record + header);

		memcpy(copy, (char *) row->tuple.t_data + MINIMAL_TUPLE_OFFSET, length);
		copy->t_len = length;
	}
	exchange_append(run);
}

static void
flush_event(DirectScan *scan, DirectRow *row, uint32 key)
{
	FeatureReceiver *receiver = scan->receiver;
	Stream	   *stream = receiver->stream;
	uint32		bits[(MaxTupleAttributeNumber + 31) / 32];
	int			ninputs = scan->noutputs - receiver->nkeys;
	Record	   *record;
	Size		size;

	if (ninputs == 0)
	{
		bits[0] = 0;
		size = record_values_offset(stream);
	}
	else
	{
		if (scan->any_expression)
			ExecStoreBufferHeapTuple(&row->tuple, scan->slot, scan->buffer);
		direct_deform(scan, row->tuple.t_data, scan->natts_late);
		for (int i = 0; i < ninputs; i++)
			scan->out_values[i] = direct_output(scan, receiver->nkeys + i,
											   &scan->out_nulls[i]);
		if (!event_take_inputs(receiver, scan->out_values, scan->out_nulls, bits,
							   &size))
		{
			scan->run->counts.events_filtered++;
			return;
		}
	}
	record = exchange_reserve(scan->run, key, size);
	record->time = row->time;
	record->stream = receiver->number;
	if (stream->knowledge_time != NULL)
		*(int64 *) ((char *) record + record_known_offset(stream)) = row->known;
	event_put_inputs(receiver, record, bits);
	exchange_append(scan->run);
	scan->run->counts.events_used++;
}

/* Look up the entities of the rows that wait, and make records of the rows. */
static void
flush_rows(DirectScan *scan)
{
	FeatureRun *run = scan->run;
	MemoryContext before;

	if (scan->nrows == 0)
		return;
	for (int i = 0; i < scan->nrows; i++)
		key_table_prefetch_entry(run->keys, scan->rows[i].hash);
	before = MemoryContextSwitchTo(run->scratch);
	for (int i = 0; i < scan->nrows; i++)
	{
		DirectRow  *row = &scan->rows[i];
		const Datum *words = &scan->words[i * run->plan->nkeys];
		int64		key;

		if (scan->receiver->stream == NULL)
			flush_spine_row(scan, row, words);
		else if ((key = key_table_find(run->keys, words, row->hash)) < 0)
			run->counts.events_unknown++;
		else if (event_out_of_reach(scan->receiver, (uint32) key, row->time))
			run->counts.events_unreached++;
		else
			flush_event(scan, row, (uint32) key);
		MemoryContextReset(run->scratch);
	}
	MemoryContextSwitchTo(before);
	scan->nrows = 0;
	if (scan->any_expression)
		ExecClearTuple(scan->slot);
	ReleaseBuffer(scan->buffer);
	scan->buffer = InvalidBuffer;
	ResetExprContext(scan->econtext);
	CHECK_FOR_INTERRUPTS();
}

/* ---- one tuple ----------------------------------------------------------------------- */

/* Is the time within the bounds?  What has none is read, to be counted. */
static inline bool
within_bounds(const DirectScan *scan, int64 time)
{
	const ScanBounds *bounds = scan->bounds;

	if (bounds->from != NULL && time < *bounds->from)
		return false;
	if (bounds->to != NULL &&
		(bounds->to_counts ? time > *bounds->to : time >= *bounds->to))
		return false;
	/* A row of the spine beyond as_of is counted, an event is not there. */
	return bounds->as_of == NULL || scan->receiver->stream == NULL ||
		time < *bounds->as_of;
}

/*
 * Can the row have changed: is it new, or reached by an event that is?  Its
 * entity has been taken out of the tuple.
 */
static bool
is_changed(DirectScan *scan, HeapTupleHeader tuple, int64 time)
{
	const SpineChanges *changes = scan->run->changes;
	Datum	   *words = &scan->words[scan->nrows * scan->receiver->plan->nkeys];
	uint32		hash;
	int64		key;
	int64		least;
	int64		greatest;

	if (!tuple_is_older(tuple, &changes->since))
		return true;
	if (key_table_size(changes->reached) == 0 ||
		!key_table_words(changes->reached, scan->keys, false, words, &hash) ||
		(key = key_table_find(changes->reached, words, hash)) < 0)
		return false;
	key_table_times(changes->reached, (uint32) key, &least, &greatest);
	if (!TIMESTAMP_NOT_FINITE(time) && (time < least || time > greatest))
		return false;
	scan->run->counts.rows_reached++;
	return true;
}

/* Count a row of the spine; false: it is left out. */
static bool
count_spine_row(DirectScan *scan, HeapTupleHeader tuple, bool has_null,
				int64 time)
{
	FeatureRun *run = scan->run;
	bool		isnull;

	run->counts.rows_read++;
	if (has_null)
	{
		run->counts.rows_rejected++;
		return false;
	}
	if (scan->bounds->as_of != NULL &&
		!(scan->simple ? time < *scan->bounds->as_of :
		  DatumGetBool(direct_output(scan, scan->time + 1, &isnull))))
	{
		run->counts.rows_beyond_as_of++;
		return false;
	}
	if (run->changes != NULL && !is_changed(scan, tuple, time))
	{
		run->counts.rows_unchanged++;
		return false;
	}
	run->least_time = Min(run->least_time, time);
	run->greatest_time = Max(run->greatest_time, time);
	return true;
}

/* Count an event; false: it is left out. */
static bool
count_event(DirectScan *scan, bool has_null)
{
	scan->run->counts.events_read++;
	if (has_null)
		scan->run->counts.events_rejected++;
	return !has_null;
}

/*
 * Evaluate what is needed to know whether the tuple is read, and whose it
 * is, into the next row; false: the row is not to wait.
 */
static bool
take_tuple(DirectScan *scan, HeapTuple tuple, Buffer buffer)
{
	FeatureReceiver *receiver = scan->receiver;
	FeaturePlan *plan = receiver->plan;
	DirectRow  *row = &scan->rows[scan->nrows];
	bool		has_null = false;
	bool		isnull;
	Datum		value;

	direct_deform(scan, tuple->t_data, scan->natts_early);
	if (scan->simple)
	{
		value = direct_output(scan, scan->time, &isnull);
		if (!isnull && !within_bounds(scan, DatumGetInt64(value)))
			return false;
	}
	if (scan->keys_expression)
	{
		ExecStoreBufferHeapTuple(tuple, scan->slot, buffer);
		if (scan->qual != NULL && !ExecQual(scan->qual, scan->econtext))
			return false;
	}
	value = direct_output(scan, scan->time, &has_null);
	row->time = has_null ? 0 : DatumGetInt64(value);
	if (receiver->stream != NULL && receiver->stream->knowledge_time != NULL)
	{
		value = direct_output(scan, scan->time + 1, &isnull);
		if (!isnull && scan->simple && scan->bounds->as_of != NULL &&
			DatumGetInt64(value) >= *scan->bounds->as_of)
			return false;
		row->known = isnull ? 0 : DatumGetInt64(value);
		has_null |= isnull;
	}
	for (int i = 0; i < plan->nkeys; i++)
	{
		scan->keys[i] = direct_output(scan, scan->time - plan->nkeys + i, &isnull);
		has_null |= isnull;
	}
	if (receiver->stream == NULL ? !count_spine_row(scan, tuple->t_data, has_null, row->time) :
		!count_event(scan, has_null))
		return false;
	if ((receiver->stream != NULL &&
		 !key_table_may_have(scan->run->keys, scan->keys[0])) ||
		!key_table_words(scan->run->keys, scan->keys, receiver->stream == NULL,
						 &scan->words[scan->nrows * plan->nkeys], &row->hash))
	{
		scan->run->counts.events_unknown++;
		return false;
	}
	row->tuple = *tuple;
	key_table_prefetch_bucket(scan->run->keys, row->hash);
	return true;
}

/* Read the tuples of a scan. */
static void
scan_tuples(DirectScan *scan, TableScanDesc heap)
{
	BlockNumber block = InvalidBlockNumber;
	HeapTuple	tuple;
	MemoryContext before;

	/* What is made of tuples lasts while they wait. */
	before = MemoryContextSwitchTo(scan->econtext->ecxt_per_tuple_memory);
	while ((tuple = heap_getnext(heap, ForwardScanDirection)) != NULL)
	{
		Buffer		buffer = ((HeapScanDesc) heap)->rs_cbuf;

		if (((HeapScanDesc) heap)->rs_cblock != block)
		{
			block = ((HeapScanDesc) heap)->rs_cblock;
			progress_advance(1);
			CHECK_FOR_INTERRUPTS();
		}
		if (buffer != scan->buffer)
			flush_rows(scan);
		if (!take_tuple(scan, tuple, buffer))
		{
			if (scan->nrows == 0)
				ResetExprContext(scan->econtext);
			continue;
		}
		if (scan->nrows++ == 0)
		{
			IncrBufferRefCount(buffer);
			scan->buffer = buffer;
		}
		if (scan->nrows == DIRECT_BATCH)
			flush_rows(scan);
	}
	flush_rows(scan);
	MemoryContextSwitchTo(before);
}

/* What the search for changes learned of the table's blocks, or NULL. */
static const BlockRanges *
known_blocks(const DirectScan *scan)
{
	int			stream = (int) scan->receiver->number - 1;
	ListCell   *lc;

	if (scan->run->changes == NULL ||
		(scan->receiver->stream == NULL ? scan->qual != NULL : !scan->simple))
		return NULL;
	foreach(lc, scan->run->changes->marks)
	{
		const TableMark *mark = lfirst(lc);

		if (mark->stream == stream && mark->relid == RelationGetRelid(scan->rel))
			return mark->blocks;
	}
	return NULL;
}

/*
 * Need these blocks not be read?  Those of a stream, when no time of theirs is
 * within the bounds; those of the spine, when they are as they were and no new
 * event reaches a row of theirs.
 */
static bool
can_skip(DirectScan *scan, const BlockRange *range)
{
	const SpineChanges *changes = scan->run->changes;
	const ScanBounds *bounds = scan->bounds;

	if (scan->receiver->stream != NULL)
		return block_range_beyond(range, bounds->from ? *bounds->from : PG_INT64_MIN,
								  bounds->to ? *bounds->to : PG_INT64_MAX);
	/* Rows without a time or an entity are counted apart. */
	if (!range->unchanged || range->least == PG_INT64_MIN || (changes->reached_from <= changes->reached_to &&
							  !block_range_beyond(range, changes->reached_from,
												  changes->reached_to)))
		return false;
	scan->run->counts.rows_read += range->rows;
	scan->run->counts.rows_unchanged += range->rows;
	return true;
}

/* Read those blocks of a table that matter, of which something is known. */
static void
scan_blocks(DirectScan *scan, const BlockRanges *blocks)
{
	TableScanDesc heap = table_beginscan_strat(scan->rel, GetActiveSnapshot(), 0,
											   NULL, true, false);
	const BlockNumber nblocks = ((HeapScanDesc) heap)->rs_nblocks;

	for (int i = 0; i < blocks->nranges; i++)
	{
		BlockNumber first = (BlockNumber) i * blocks->width;

		if (first >= nblocks || can_skip(scan, &blocks->ranges[i]))
		{
			progress_advance(blocks->width);
			continue;
		}
		heap_rescan(heap, NULL, false, false, false, false);
		heap_setscanlimits(heap, first, Min(blocks->width, nblocks - first));
		scan_tuples(scan, heap);
	}
	table_endscan(heap);
}

/* Read one table, or what falls to this process of one that several read. */
static void
scan_table(DirectScan *scan, ParallelTableScanDesc shared)
{
	const BlockRanges *blocks = known_blocks(scan);
	TableScanDesc heap;

	progress_phase(scan->receiver->stream ? PROGRESS_EVENTS : PROGRESS_SPINE,
				   RelationGetNumberOfBlocks(scan->rel));
	if (blocks != NULL)
	{
		scan_blocks(scan, blocks);
		return;
	}
	heap = shared != NULL ? table_beginscan_parallel(scan->rel, shared, 0) :
		table_beginscan(scan->rel, GetActiveSnapshot(), 0, NULL, 0);
	scan_tuples(scan, heap);
	table_endscan(heap);
}

/*
 * Read what the plan reads into the run's store, if it only scans tables and
 * none needs the executor; return whether it was done.  `shared`: by table, of
 * scans that other processes take part in; or NULL.
 */
bool
direct_scan(FeatureReceiver *receiver, const PlannedStmt *stmt,
			const ScanBounds *bounds, ParallelTableScanDesc *shared)
{
	List	   *scans = direct_plain_scans(stmt);
	ListCell   *lc;

	foreach(lc, scans)
	{
		DirectScan *scan = direct_scan_open(receiver, stmt, lfirst(lc), bounds);

		scan_table(scan, shared ? shared[foreach_current_index(lc)] : NULL);
		direct_scan_close(scan);
	}
	return scans != NIL;
}
