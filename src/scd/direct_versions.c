/*
 * direct_versions.c
 *	  The scan of the table: current versions into the compact table, closed
 *	  ones into a filter of their keys; and the versions that nothing met.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "scd/direct.h"

/* Lay a source row into the pair; NULLs for the version. */
void
pipeline_scd_set_row(DirectMerge *d, int64 n, const Datum *values, const bool *nulls,
		const AttrNumber *map)
{
	TupleTableSlot *pair = d->pair;
	MergePlan  *plan = d->plan;

	pair->tts_values[0] = Int64GetDatum(n);
	pair->tts_isnull[0] = false;
	for (int i = 0; i < plan->ncolumns; i++)
	{
		int			at = map ? map[i] : i;

		pair->tts_values[OUT_COLUMNS + i] = values[at];
		pair->tts_isnull[OUT_COLUMNS + i] = nulls[at];
	}
	pair->tts_values[OUT_REL(plan)] = ObjectIdGetDatum(InvalidOid);
	pair->tts_isnull[OUT_REL(plan)] = false;
	pair->tts_isnull[OUT_TID(plan)] = true;
	pair->tts_values[OUT_MERGE(plan)] = (Datum) 0;
	pair->tts_isnull[OUT_MERGE(plan)] = true;
}

/* Lay the fetched version into the pair. */
void
pipeline_scd_set_version(DirectMerge *d)
{
	TupleTableSlot *pair = d->pair;
	MergePlan  *plan = d->plan;
	const VersionPlaces *at = d->leaf->extra;
	const Datum *values = d->leaf->slot->tts_values;
	const bool *nulls = d->leaf->slot->tts_isnull;

	pair->tts_values[OUT_REL(plan)] = ObjectIdGetDatum(RelationGetRelid(d->leaf->rel));
	pair->tts_values[OUT_TID(plan)] = PointerGetDatum(&d->pair_tid);
	pair->tts_isnull[OUT_TID(plan)] = false;
	pair->tts_values[OUT_OPENED(plan)] = values[at->from];
	pair->tts_isnull[OUT_OPENED(plan)] = nulls[at->from];
	if (at->merge >= 0)
	{
		pair->tts_values[OUT_MERGE(plan)] = values[at->merge];
		pair->tts_isnull[OUT_MERGE(plan)] = nulls[at->merge];
	}
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		pair->tts_values[OUT_LIVE(plan) + i - plan->nkeys] = values[d->leaf->map[i]];
		pair->tts_isnull[OUT_LIVE(plan) + i - plan->nkeys] = nulls[d->leaf->map[i]];
	}
}

/* Fetch the version of an entry. */
void
pipeline_scd_fetch_version(DirectMerge *d, const LiveEntry *entry)
{
	ItemPointerData place;

	ItemPointerSet(&place, entry->block, entry->offset);
	d->leaf = pipeline_leaf_fetch(d->table, &place, &d->pair_tid, d->snapshot);
	if (d->leaf == NULL)
		elog(ERROR, "could not fetch version (%u,%u) of dimension %s",
			 entry->block, entry->offset, d->plan->dimension->name);
}

/* Is the key of the fetched version that of the values? */
bool
pipeline_scd_same_key(DirectMerge *d, const Datum *values, const bool *nulls, const AttrNumber *map)
{
	for (int i = 0; i < d->plan->nkeys; i++)
	{
		int			ours = map ? map[i] : i;
		int			theirs = d->leaf->map[i];

		if (!pipeline_scd_equal(&d->plan->columns[i], values[ours], nulls[ours],
								d->leaf->slot->tts_values[theirs], d->leaf->slot->tts_isnull[theirs]))
			return false;
	}
	return true;
}

static void
raise_two_current(DirectMerge *d)
{
	Datum	   *values = palloc_array(Datum, d->plan->nkeys);
	bool	   *nulls = palloc_array(bool, d->plan->nkeys);

	for (int i = 0; i < d->plan->nkeys; i++)
	{
		values[i] = d->leaf->slot->tts_values[d->leaf->map[i]];
		nulls[i] = d->leaf->slot->tts_isnull[d->leaf->map[i]];
	}
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("a key of dimension %s has more than one current version",
					d->plan->dimension->name),
			 errdetail("Key %s.", pipeline_scd_key_text(d->plan, values, nulls)),
			 errhint("Somebody else wrote to the table: close all but one version of each key.")));
}

/* Two current versions whose keys hash alike: is it one key? */
static void
check_one_current(DirectMerge *d, uint32 hash, uint32 number)
{
	LiveTable  *live = d->live;
	uint32		mask = ((uint32) 1 << live->bits) - 1;

	for (uint32 b = live_bucket(live, hash); live->buckets[b].entry != 0; b = (b + 1) & mask)
	{
		TupleTableSlot *first;
		AttrNumber *map;
		bool		same;

		if (live->buckets[b].hash != hash || live->buckets[b].entry == number + 1)
			continue;
		pipeline_scd_fetch_version(d, live_entry(live, live->buckets[b].entry - 1));
		map = d->leaf->map;
		first = MakeSingleTupleTableSlot(RelationGetDescr(d->leaf->rel), &TTSOpsHeapTuple);
		ExecCopySlot(first, d->leaf->slot);
		slot_getallattrs(first);
		pipeline_scd_fetch_version(d, live_entry(live, number));
		same = pipeline_scd_same_key(d, first->tts_values, first->tts_isnull, map);
		ExecDropSingleTupleTableSlot(first);
		if (same)
			raise_two_current(d);
	}
}

static bool
hash_is_taken(const LiveTable *live, uint32 hash)
{
	uint32		mask = ((uint32) 1 << live->bits) - 1;

	for (uint32 b = live_bucket(live, hash); live->buckets[b].entry != 0; b = (b + 1) & mask)
	{
		if (live->buckets[b].hash == hash)
			return true;
	}
	return false;
}

/* Link the entries that wait, their buckets being at hand by now. */
void
pipeline_scd_link_waiting(DirectMerge *d)
{
	for (int i = 0; i < d->nwaiting; i++)
	{
		bool		taken = hash_is_taken(d->live, d->waiting[i]);

		live_link(d->live, d->waiting[i], d->waiting_number[i]);
		if (taken)
			check_one_current(d, d->waiting[i], d->waiting_number[i]);
	}
	d->nwaiting = 0;
}

/* Add an entry; it is linked when its bucket is at hand. */
void
pipeline_scd_wait_for_link(DirectMerge *d, uint32 hash, const LiveEntry *entry)
{
	d->waiting[d->nwaiting] = hash;
	d->waiting_number[d->nwaiting++] = live_add(d->live, entry);
	__builtin_prefetch(&d->live->buckets[live_bucket(d->live, hash)], 1);
	if (d->nwaiting == BATCH)
		pipeline_scd_link_waiting(d);
}

static void
add_version(DirectMerge *d, uint32 hash, const LiveEntry *entry, double scanned)
{
	if (d->live->nparts == 0 && live_is_full(d->live))
	{
		pipeline_scd_link_waiting(d);
		live_spill(d->live, Max(d->live->nentries / Max(scanned, 0.01), d->estimate));
	}
	if (d->live->nparts > 0)
		live_write_entry(d->live, hash, entry);
	else
		pipeline_scd_wait_for_link(d, hash, entry);
}

/* A version of the table: current, closed, or the unknown member. */
static void
take_version(DirectMerge *d, const TableLeaf *leaf, TupleTableSlot *slot)
{
	const VersionPlaces *at = leaf->extra;
	ItemPointerData place;
	LiveEntry	entry;
	uint32		hash;

	if (at->surrogate_key >= 0 && !slot->tts_isnull[at->surrogate_key] &&
		(int64) slot->tts_values[at->surrogate_key] == UNKNOWN_MEMBER)
		return;
	hash = live_key_hash(&d->keys, d->plan, slot->tts_values, slot->tts_isnull, leaf->map);
	if (slot->tts_isnull[at->current] || !DatumGetBool(slot->tts_values[at->current]))
	{
		bloom_add_element(d->closed, (unsigned char *) &hash, sizeof(hash));
		return;
	}
	entry.fingerprint = live_fingerprint(&d->keys, d->plan, slot->tts_values,
										 slot->tts_isnull, leaf->map);
	pipeline_leaf_place(leaf, &slot->tts_tid, &place);
	entry.block = ItemPointerGetBlockNumber(&place);
	entry.offset = ItemPointerGetOffsetNumber(&place);
	entry.mark = 0;
	add_version(d, hash, &entry, (double) (entry.block + 1) / d->table->blocks);
}

static void
read_leaf(DirectMerge *d, TableLeaf *leaf)
{
	const VersionPlaces *at = leaf->extra;
	TupleTableSlot *slot = table_slot_create(leaf->rel, NULL);
	TableScanDesc scan = table_beginscan(leaf->rel, d->snapshot, 0, NULL, 0);
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
	int64		rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getsomeattrs(slot, at->last + 1);
		take_version(d, leaf, slot);
		if ((++rows & 1023) == 0)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(d->c.row_context);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->c.row_context);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* Scan the table, its partitions one after another. */
void
pipeline_scd_read_versions(DirectMerge *d)
{
	MemoryContext old;

	for (int i = 0; i < d->table->n; i++)
		read_leaf(d, &d->table->leaf[i]);
	old = MemoryContextSwitchTo(d->c.row_context);
	pipeline_scd_link_waiting(d);
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->c.row_context);
}

/* ---- keys that the source lacks ----------------------------------------------------- */

void
pipeline_scd_take_missing(DirectMerge *d)
{
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
	bool		close = DIMENSION_INVALIDATES(d->plan->dimension);

	if (!DIMENSION_IS_SNAPSHOT(d->plan->dimension))
	{
		MemoryContextSwitchTo(old);
		return;
	}
	for (uint32 i = 0; i < d->live->nentries; i++)
	{
		LiveEntry  *entry = live_entry(d->live, i);

		if (entry->mark != 0)
			continue;
		if (!close)
		{
			d->counts->missing++;
			d->delta->live_keys++;
			continue;
		}
		CHECK_FOR_INTERRUPTS();
		pipeline_scd_fetch_version(d, entry);
		pipeline_scd_set_row(d, 0, d->leaf->slot->tts_values, d->leaf->slot->tts_isnull, d->leaf->map);
		pipeline_scd_set_version(d);
		pipeline_scd_miss_row(&d->c, d->pair);
		MemoryContextReset(d->c.row_context);
	}
	MemoryContextSwitchTo(old);
}
