/*
 * block_ranges.c
 *	  What a table has been like, range of blocks by range of blocks, so that
 *	  what did not change since the last refresh is not read again.
 *
 * With its watermark a refresh keeps, for each table, how many rows each of
 * some hundred ranges of blocks has, and between which times they are; and a
 * place in the log up to which every page is settled: no row on a page that
 * was last written before it was inserted, deleted or updated by a transaction
 * that the watermark did not see.  A page that still was not written past that
 * place has the same rows, and the next watermark sees them all.
 *
 * Whether it was written is told by its LSN, or without reading it: its bit in
 * the visibility map is set, and no bit of that page of the map was set past
 * that place (bits are cleared without a trace, but set with one).  Tables
 * whose changes are not logged are always read.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/visibilitymap.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "feature/changes.h"

#define MIN_WIDTH 8
#define MAX_RANGES 1024

/* ---- kept ------------------------------------------------------------------------------ */

/* The ranges as text: their width, then rows and times of each. */
static char *
blocks_text(const BlockRanges *blocks)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%u", blocks->width);
	for (int i = 0; i < blocks->nranges; i++)
	{
		const BlockRange *range = &blocks->ranges[i];

		appendStringInfo(&text, " %lld %lld %lld", (long long) range->rows,
						 (long long) range->least, (long long) range->greatest);
	}
	return text.data;
}

static void
add_range(BlockRange *to, const BlockRange *range)
{
	if (range->rows == 0)
		return;
	if (to->rows == 0)
	{
		*to = *range;
		return;
	}
	to->rows += range->rows;
	to->least = Min(to->least, range->least);
	to->greatest = Max(to->greatest, range->greatest);
}

/* The same, read; ranges of half the width that is wanted are put together. */
static BlockRanges *
blocks_parse(char *text)
{
	BlockRanges *blocks = palloc0(sizeof(BlockRanges));
	int			capacity = MAX_RANGES;

	blocks->ranges = palloc0_array(BlockRange, capacity);
	blocks->width = (uint32) strtoul(text, &text, 10);
	while (*text == ' ')
	{
		BlockRange *range;

		if (blocks->nranges == capacity)
		{
			capacity *= 2;
			blocks->ranges = repalloc_array(blocks->ranges, BlockRange, capacity);
		}
		range = &blocks->ranges[blocks->nranges++];
		memset(range, 0, sizeof(BlockRange));
		range->rows = strtoll(text, &text, 10);
		range->least = strtoll(text, &text, 10);
		range->greatest = strtoll(text, &text, 10);
	}
	return blocks;
}

static void
widen(BlockRanges *blocks)
{
	for (int i = 0; i < blocks->nranges; i++)
	{
		if (i % 2 != 0)
			add_range(&blocks->ranges[i / 2], &blocks->ranges[i]);
		else
			blocks->ranges[i / 2] = blocks->ranges[i];
	}
	blocks->nranges = (blocks->nranges + 1) / 2;
	blocks->width *= 2;
}

/*
 * What is known of a table from the last time, to be made true for its blocks
 * as they are now.  `time_att` is the column of its times, or -1.
 */
BlockRanges *
block_ranges_start(const ChangeSearch *search, Relation rel, bool spine,
				   int time_att, BlockNumber nblocks)
{
	char	   *key = psprintf("%s %u %u %d", spine ? "spine" : "events",
							   RelationGetRelid(rel), rel->rd_rel->relfilenode, time_att);
	char	   *text = search->blocks == NULL ? NULL :
		pipeline_jsonb_key(search->blocks, key);
	BlockRanges *blocks = text ? blocks_parse(text) : palloc0(sizeof(BlockRanges));
	int			n;

	blocks->key = key;
	if (blocks->width == 0)
		blocks->width = MIN_WIDTH;
	while (nblocks > 0 && (nblocks - 1) / blocks->width >= MAX_RANGES)
		widen(blocks);
	blocks->known = blocks->nranges;
	n = Max(blocks->known, (int) (((uint64) nblocks + blocks->width - 1) / blocks->width));
	if (blocks->ranges == NULL)
		blocks->ranges = palloc0_array(BlockRange, n + 1);
	else
		blocks->ranges = repalloc_array(blocks->ranges, BlockRange, n + 1);
	memset(&blocks->ranges[blocks->known], 0,
		   (n + 1 - blocks->known) * sizeof(BlockRange));
	blocks->nranges = n;
	return blocks;
}

/* The ranges of all tables of the search, by table, file and column of times. */
Jsonb *
block_ranges_json(const ChangeSearch *search)
{
	int			n = 1;
	const char **keys = palloc_array(const char *, list_length(search->marks) + 1);
	const char **values = palloc_array(const char *, list_length(search->marks) + 1);
	ListCell   *lc;

	keys[0] = "lsn";
	values[0] = psprintf("%llu", (unsigned long long) search->next_unchanged_to);
	foreach(lc, search->marks)
	{
		const TableMark *mark = lfirst(lc);
		char	   *key = mark->blocks->key;
		bool		twice = false;

		for (int i = 1; i < n; i++)
			twice |= strcmp(keys[i], key) == 0;
		if (twice)
			continue;
		keys[n] = key;
		values[n++] = blocks_text(mark->blocks);
	}
	return pipeline_jsonb_object(n, keys, values);
}

/* Take over up to where pages were settled, and start from where the log is. */
void
block_ranges_lsn(ChangeSearch *search)
{
	char	   *text = search->blocks == NULL ? NULL :
		pipeline_jsonb_key(search->blocks, "lsn");

	search->unchanged_to = text ? strtoull(text, NULL, 10) : InvalidXLogRecPtr;
	search->next_unchanged_to = GetXLogInsertRecPtr();
}

/* ---- looked at -------------------------------------------------------------------------- */

/* Can rows between those times not be in the range? */
bool
block_range_beyond(const BlockRange *range, int64 from, int64 to)
{
	return range->rows == 0 || range->greatest < from || range->least > to;
}

/*
 * The place in the log of the last change to a page.  Under its lock: the two
 * halves of it may else be those of two changes.
 */
static XLogRecPtr
last_written(Buffer buffer)
{
	XLogRecPtr	lsn;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lsn = PageGetLSN(BufferGetPage(buffer));
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return lsn;
}

/* Is it known, without reading the block, that it was not written? */
static bool
map_says_unchanged(Relation rel, BlockNumber block, XLogRecPtr unchanged_to,
				   Buffer *map)
{
	return (visibilitymap_get_status(rel, block, map) & VISIBILITYMAP_ALL_VISIBLE) != 0 &&
		last_written(*map) <= unchanged_to;
}

/*
 * Was none of the blocks from `first` on, before `end`, written past that
 * place in the log?
 */
bool
block_range_is_unchanged(Relation rel, BlockNumber first, BlockNumber end,
						 XLogRecPtr unchanged_to, BufferAccessStrategy strategy)
{
	Buffer		map = InvalidBuffer;
	bool		unchanged = !XLogRecPtrIsInvalid(unchanged_to) && RelationNeedsWAL(rel);

	for (BlockNumber block = first; block < end && unchanged; block++)
	{
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		if (map_says_unchanged(rel, block, unchanged_to, &map))
			continue;
		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
		unchanged = last_written(buffer) <= unchanged_to;
		ReleaseBuffer(buffer);
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	return unchanged;
}

/* Was some row of the page written by a transaction that is not seen? */
static bool
has_unseen(Page page, const SnapshotMark *mark)
{
	OffsetNumber last = PageGetMaxOffsetNumber(page);

	if (PageIsAllVisible(page))
		return false;
	for (OffsetNumber i = FirstOffsetNumber; i <= last; i++)
	{
		ItemId		item = PageGetItemId(page, i);
		HeapTupleHeader tuple;

		if (!ItemIdIsNormal(item))
			continue;
		tuple = (HeapTupleHeader) PageGetItem(page, item);
		if (!snapshot_saw(mark, HeapTupleHeaderGetXmin(tuple)))
			return true;
		if (!(tuple->t_infomask & HEAP_XMAX_INVALID) &&
			!HEAP_XMAX_IS_LOCKED_ONLY(tuple->t_infomask) &&
			!snapshot_saw(mark, HeapTupleHeaderGetUpdateXid(tuple)))
			return true;
	}
	return false;
}

/*
 * Up to which place in the log are these blocks settled for the new
 * watermark?  Before the last change to any on which something is not.
 */
XLogRecPtr
block_range_settled(const ChangeSearch *search, Relation rel, BlockNumber first,
					BlockNumber end, BufferAccessStrategy strategy)
{
	XLogRecPtr	settled = search->next_unchanged_to;

	for (BlockNumber block = first; block < end; block++)
	{
		Buffer		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL,
												strategy);
		Page		page;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page) && has_unseen(page, &search->now))
			settled = Min(settled, PageGetLSN(page) - 1);
		UnlockReleaseBuffer(buffer);
	}
	return settled;
}
