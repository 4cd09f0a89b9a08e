/*
 * merge_direct.c
 *	  Classify past the executor: scan the table once into a compact table of
 *	  fingerprints (live.h), stream the source past it once.
 *
 * A row whose fingerprint is that of a current version is unchanged, and that
 * is all that happens to it.  Only for the others the version is fetched, keys
 * and values are compared by their types' equality, and the classifier is
 * asked what to write, as it is for the executor's join.
 *
 * A source that is a plain table is scanned directly too; any other streams
 * from the executor.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/bloomfilter.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/settings.h"
#include "scd/classify.h"
#include "scd/live.h"

#define BATCH 64

/* A key with this mark is new in the source. */
#define MARK_NEW CLASS_NEW

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
	Relation	table;
	Snapshot	snapshot;
	TupleTableSlot *version;	/* a version that is fetched */
	AttrNumber *table_map;		/* places of the columns in the table */
	AttrNumber *table_key_map;
	int			at_from;
	int			at_current;
	int			at_merge;		/* or -1 */
	int			at_sk;			/* or -1 */
	Relation	source;			/* NULL: it streams */
	TupleTableSlot *row;		/* a source row that is fetched again */
	AttrNumber *source_map;
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

/* ---- may it be done? ------------------------------------------------------------- */

static AttrNumber *
key_and_attributes(const MergePlan *plan, Oid relid, int *n)
{
	AttrNumber *columns = palloc_array(AttrNumber, plan->ncolumns + META_COLUMNS);

	*n = 0;
	for (int i = 0; i < plan->ncolumns; i++)
		columns[(*n)++] = get_attnum(relid, plan->columns[i].name);
	return columns;
}

/* What rules the compact table out, whatever the table is. */
static const char *
definition_obstacle(const MergePlan *plan)
{
	if (!pipeline_direct_access)
		return "pipeline.direct_access is off";
	if (plan->meta_type[META_VALID_FROM] != TIMESTAMPTZOID ||
		plan->meta_type[META_VALID_TO] != TIMESTAMPTZOID)
		return "valid_from or valid_to is no timestamptz";
	if (plan->meta_type[META_IS_CURRENT] != BOOLOID)
		return "it has no boolean is_current";
	for (int i = 0; i < plan->nkeys; i++)
	{
		if (!plan->columns[i].image_equality && !plan->columns[i].has_hash)
			return psprintf("key column \"%s\" has a type without a hash function",
							plan->columns[i].name);
	}
	return NULL;
}

/*
 * Why the table cannot be scanned directly; NULL when it can.  As the role
 * that merges.
 */
const char *
pipeline_scd_read_obstacle(const MergePlan *plan)
{
	const char *obstacle = definition_obstacle(plan);
	Oid			relid = plan->dimension->relid;
	Relation	rel;
	AttrNumber *columns;
	int			n;

	if (obstacle != NULL)
		return obstacle;
	rel = table_open(relid, AccessShareLock);
	columns = key_and_attributes(plan, relid, &n);
	for (int m = 0; m < META_COLUMNS; m++)
	{
		if (plan->meta[m] != NULL)
			columns[n++] = get_attnum(relid, plan->dimension->names[m]);
	}
	obstacle = pipeline_direct_read_obstacle(rel, columns, n);
	table_close(rel, NoLock);
	return obstacle;
}

/* Why the source cannot be scanned directly; NULL when it can. */
static const char *
source_obstacle(const MergePlan *plan)
{
	Relation	rel;
	AttrNumber *columns;
	int			n;
	const char *obstacle = NULL;

	if (!OidIsValid(plan->source->relid))
		return "it is a query";
	for (int i = 0; i < plan->ncolumns; i++)
	{
		if (!plan->columns[i].plain)
			return psprintf("column \"%s\" is coerced", plan->columns[i].name);
	}
	rel = table_open(plan->source->relid, AccessShareLock);
	columns = key_and_attributes(plan, plan->source->relid, &n);
	obstacle = pipeline_direct_read_obstacle(rel, columns, n);
	table_close(rel, NoLock);
	return obstacle;
}

/* The same for explain_merge(). */
const char *
pipeline_scd_source_obstacle(const MergePlan *plan)
{
	return source_obstacle(plan);
}

/* ---- versions -------------------------------------------------------------------- */

/* Fetch the version of an entry. */
static void
fetch_version(DirectMerge *d, const LiveEntry *entry)
{
	ItemPointerSet(&d->pair_tid, entry->block, entry->offset);
	if (!table_tuple_fetch_row_version(d->table, &d->pair_tid, d->snapshot, d->version))
		elog(ERROR, "could not fetch version (%u,%u) of dimension %s",
			 entry->block, entry->offset, d->plan->dimension->name);
	slot_getallattrs(d->version);
}

/* Is the key of the fetched version that of the values? */
static bool
same_key(DirectMerge *d, const Datum *values, const bool *nulls, const AttrNumber *map)
{
	for (int i = 0; i < d->plan->nkeys; i++)
	{
		int			ours = map ? map[i] : i;
		int			theirs = d->table_map[i];

		if (!pipeline_scd_equal(&d->plan->columns[i], values[ours], nulls[ours],
								d->version->tts_values[theirs], d->version->tts_isnull[theirs]))
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
		values[i] = d->version->tts_values[d->table_map[i]];
		nulls[i] = d->version->tts_isnull[d->table_map[i]];
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
		bool		same;

		if (live->buckets[b].hash != hash || live->buckets[b].entry == number + 1)
			continue;
		fetch_version(d, live_entry(live, live->buckets[b].entry - 1));
		first = MakeSingleTupleTableSlot(RelationGetDescr(d->table), &TTSOpsHeapTuple);
		ExecCopySlot(first, d->version);
		slot_getallattrs(first);
		fetch_version(d, live_entry(live, number));
		same = same_key(d, first->tts_values, first->tts_isnull, d->table_map);
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
static void
link_waiting(DirectMerge *d)
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
static void
wait_for_link(DirectMerge *d, uint32 hash, const LiveEntry *entry)
{
	d->waiting[d->nwaiting] = hash;
	d->waiting_number[d->nwaiting++] = live_add(d->live, entry);
	__builtin_prefetch(&d->live->buckets[live_bucket(d->live, hash)], 1);
	if (d->nwaiting == BATCH)
		link_waiting(d);
}

static void
add_version(DirectMerge *d, uint32 hash, const LiveEntry *entry, double scanned)
{
	if (d->live->nparts == 0 && live_is_full(d->live))
	{
		link_waiting(d);
		live_spill(d->live, d->live->nentries / Max(scanned, 0.01));
	}
	if (d->live->nparts > 0)
		live_write_entry(d->live, hash, entry);
	else
		wait_for_link(d, hash, entry);
}

/* A version of the table: current, closed, or the unknown member. */
static void
take_version(DirectMerge *d, TupleTableSlot *slot, double scanned)
{
	LiveEntry	entry;
	uint32		hash;

	if (d->at_sk >= 0 && !slot->tts_isnull[d->at_sk] &&
		(int64) slot->tts_values[d->at_sk] == UNKNOWN_MEMBER)
		return;
	hash = live_key_hash(&d->keys, d->plan, slot->tts_values, slot->tts_isnull, d->table_map);
	if (slot->tts_isnull[d->at_current] || !DatumGetBool(slot->tts_values[d->at_current]))
	{
		bloom_add_element(d->closed, (unsigned char *) &hash, sizeof(hash));
		return;
	}
	entry.fingerprint = live_fingerprint(&d->keys, d->plan, slot->tts_values,
										 slot->tts_isnull, d->table_map);
	entry.block = ItemPointerGetBlockNumber(&slot->tts_tid);
	entry.offset = ItemPointerGetOffsetNumber(&slot->tts_tid);
	entry.mark = 0;
	add_version(d, hash, &entry, scanned);
}

/* Scan the table. */
static void
read_table(DirectMerge *d)
{
	TupleTableSlot *slot = table_slot_create(d->table, NULL);
	BlockNumber blocks = RelationGetNumberOfBlocks(d->table);
	TableScanDesc scan = table_beginscan(d->table, d->snapshot, 0, NULL, 0);
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
	int			last = Max(d->at_sk, d->at_current);
	int64		rows = 0;

	for (int i = 0; i < d->plan->ncolumns; i++)
		last = Max(last, d->table_map[i]);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getsomeattrs(slot, last + 1);
		take_version(d, slot, blocks == 0 ? 1 :
					 (double) (ItemPointerGetBlockNumber(&slot->tts_tid) + 1) / blocks);
		if ((++rows & 1023) == 0)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(d->c.row_context);
		}
	}
	link_waiting(d);
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->c.row_context);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* ---- rows of the source ------------------------------------------------------------ */

/* Lay a source row into the pair; NULLs for the version. */
static void
set_row(DirectMerge *d, int64 n, const Datum *values, const bool *nulls,
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
	pair->tts_values[OUT_REL(plan)] = ObjectIdGetDatum(RelationGetRelid(d->table));
	pair->tts_isnull[OUT_REL(plan)] = false;
	pair->tts_isnull[OUT_TID(plan)] = true;
	pair->tts_values[OUT_MERGE(plan)] = (Datum) 0;
	pair->tts_isnull[OUT_MERGE(plan)] = true;
}

/* Lay the fetched version into the pair. */
static void
set_version(DirectMerge *d)
{
	TupleTableSlot *pair = d->pair;
	MergePlan  *plan = d->plan;
	const Datum *values = d->version->tts_values;
	const bool *nulls = d->version->tts_isnull;

	pair->tts_values[OUT_TID(plan)] = PointerGetDatum(&d->pair_tid);
	pair->tts_isnull[OUT_TID(plan)] = false;
	pair->tts_values[OUT_OPENED(plan)] = values[d->at_from];
	pair->tts_isnull[OUT_OPENED(plan)] = nulls[d->at_from];
	if (d->at_merge >= 0)
	{
		pair->tts_values[OUT_MERGE(plan)] = values[d->at_merge];
		pair->tts_isnull[OUT_MERGE(plan)] = nulls[d->at_merge];
	}
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		pair->tts_values[OUT_LIVE(plan) + i - plan->nkeys] = values[d->table_map[i]];
		pair->tts_isnull[OUT_LIVE(plan) + i - plan->nkeys] = nulls[d->table_map[i]];
	}
}

/* The row of a probe: of a stream it is in the pair already. */
static void
fetch_row(DirectMerge *d, Probe *probe)
{
	if (d->source == NULL)
		return;
	if (!table_tuple_fetch_row_version(d->source, &probe->tid, d->snapshot, d->row))
		elog(ERROR, "could not fetch row (%u,%u) of the source",
			 ItemPointerGetBlockNumber(&probe->tid), ItemPointerGetOffsetNumber(&probe->tid));
	slot_getallattrs(d->row);
	set_row(d, probe->n, d->row->tts_values, d->row->tts_isnull, d->source_map);
}

/* A row with a key that has no current version. */
static void
take_new(DirectMerge *d, Probe *probe)
{
	LiveEntry	entry = {.fingerprint = probe->fingerprint,.block = 0,.offset = 0,.mark = MARK_NEW};

	if (!bloom_lacks_element(d->closed, (unsigned char *) &probe->hash, sizeof(probe->hash)))
		d->new_seen = true;
	pipeline_scd_new_row(&d->c, d->pair);
	if (!d->delta->new_unique)
		return;
	if (live_is_full(d->live))
		d->delta->new_unique = false;
	else
		live_link(d->live, probe->hash, live_add(d->live, &entry));
}

/* A row whose fingerprint is that of a current version. */
static void
take_same(DirectMerge *d, Probe *probe, LiveEntry *entry)
{
	if (entry->mark == 0)
	{
		entry->mark = CLASS_UNCHANGED;
		d->delta->live_keys++;
		d->counts->unchanged++;
	}
	else if (entry->mark == CLASS_UNCHANGED)
		d->counts->duplicate++;
	else if (d->delta->conflict == NULL)
	{
		fetch_row(d, probe);
		d->delta->conflict = pipeline_scd_key_detail(&d->c, d->pair, ".");
	}
}

/* Look a row up. */
static void
take_probe(DirectMerge *d, Probe *probe)
{
	LiveTable  *live = d->live;
	uint32		mask = ((uint32) 1 << live->bits) - 1;
	bool		fetched = false;

	for (uint32 b = live_bucket(live, probe->hash); live->buckets[b].entry != 0; b = (b + 1) & mask)
	{
		LiveEntry  *entry;

		if (live->buckets[b].hash != probe->hash)
			continue;
		entry = live_entry(live, live->buckets[b].entry - 1);
		if (entry->offset == 0)
		{
			/* Maybe the same new key: merge_delta.c finds out. */
			d->delta->new_unique = false;
			continue;
		}
		if (entry->fingerprint.a == probe->fingerprint.a &&
			entry->fingerprint.b == probe->fingerprint.b && !d->plan->dimension->exact)
		{
			take_same(d, probe, entry);
			return;
		}
		if (!fetched)
			fetch_row(d, probe);
		fetched = true;
		fetch_version(d, entry);
		if (!same_key(d, d->pair->tts_values + OUT_COLUMNS, d->pair->tts_isnull + OUT_COLUMNS, NULL))
			continue;
		set_version(d);
		pipeline_scd_match_row(&d->c, d->pair, &entry->mark);
		return;
	}
	if (!fetched)
		fetch_row(d, probe);
	take_new(d, probe);
}

/* Look up the rows that wait. */
static void
take_batch(DirectMerge *d)
{
	LiveTable  *live = d->live;
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);

	for (int i = 0; i < d->nbatch; i++)
	{
		LiveBucket *bucket = &live->buckets[live_bucket(live, d->batch[i].hash)];

		if (bucket->entry != 0)
			__builtin_prefetch(live_entry(live, bucket->entry - 1), 1);
	}
	for (int i = 0; i < d->nbatch; i++)
		take_probe(d, &d->batch[i]);
	d->nbatch = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->c.row_context);
}

/* A row of the source, by its values.  Returns whether it can be looked up. */
static bool
make_probe(DirectMerge *d, Probe *probe, const Datum *values, const bool *nulls,
		   const AttrNumber *map)
{
	MergePlan  *plan = d->plan;

	probe->n = ++d->nrows;
	for (int i = 0; i < plan->nkeys; i++)
	{
		if (!nulls[map ? map[i] : i])
			continue;
		set_row(d, probe->n, values, nulls, map);
		pipeline_scd_reject_row(&d->c, d->pair,
								pipeline_scd_null_key(plan, d->pair->tts_isnull + OUT_COLUMNS));
		return false;
	}
	probe->hash = live_key_hash(&d->keys, plan, values, nulls, map);
	probe->fingerprint = live_fingerprint(&d->keys, plan, values, nulls, map);
	return true;
}

/* Scan a source that is a table. */
static void
read_source(DirectMerge *d)
{
	TupleTableSlot *slot = table_slot_create(d->source, NULL);
	TableScanDesc scan = table_beginscan(d->source, d->snapshot, 0, NULL, 0);
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
	int			last = 0;

	for (int i = 0; i < d->plan->ncolumns; i++)
		last = Max(last, d->source_map[i]);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Probe	   *probe = &d->batch[d->nbatch];

		slot_getsomeattrs(slot, last + 1);
		if (d->plan->batch_id != NULL)
		{
			set_row(d, 0, slot->tts_values, slot->tts_isnull, d->source_map);
			pipeline_scd_add_content(d->plan, d->pair->tts_values + OUT_COLUMNS,
									 d->pair->tts_isnull + OUT_COLUMNS, d->delta->content);
		}
		if (!make_probe(d, probe, slot->tts_values, slot->tts_isnull, d->source_map))
			continue;
		probe->tid = slot->tts_tid;
		if (d->live->nparts > 0)
			live_write_probe(d->live, probe);
		else
		{
			__builtin_prefetch(&d->live->buckets[live_bucket(d->live, probe->hash)]);
			if (++d->nbatch == BATCH)
				take_batch(d);
		}
		if ((d->nrows & 1023) == 0)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(d->c.row_context);
		}
	}
	MemoryContextSwitchTo(old);
	take_batch(d);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* Columns of a row of a stream on disk, before those of the source. */
#define ROW_FIRST 4

/* Make the places of the rows of a stream, by partition. */
static void
init_rows(DirectMerge *d)
{
	MergePlan  *plan = d->plan;

	d->rows_desc = CreateTemplateTupleDesc(ROW_FIRST + plan->ncolumns);
	for (int i = 0; i < ROW_FIRST; i++)
		TupleDescInitEntry(d->rows_desc, i + 1, NULL, INT8OID, -1, 0);
	for (int i = 0; i < plan->ncolumns; i++)
		TupleDescInitEntry(d->rows_desc, ROW_FIRST + i + 1, NULL, plan->columns[i].type,
						   plan->columns[i].typmod, 0);
	TupleDescFinalize(d->rows_desc);
	d->rows = palloc_array(Tuplestorestate *, d->live->nparts);
	for (int i = 0; i < d->live->nparts; i++)
		d->rows[i] = tuplestore_begin_heap(false, false,
										   Max(work_mem / d->live->nparts, 64));
}

/* Write the row in the pair to its partition. */
static void
spill_row(DirectMerge *d, const Probe *probe)
{
	int			n = ROW_FIRST + d->plan->ncolumns;
	Datum	   *values = palloc_array(Datum, n);
	bool	   *nulls = palloc0_array(bool, n);

	values[0] = Int64GetDatum(probe->n);
	values[1] = Int64GetDatum(probe->hash);
	values[2] = Int64GetDatum((int64) probe->fingerprint.a);
	values[3] = Int64GetDatum((int64) probe->fingerprint.b);
	memcpy(values + ROW_FIRST, d->pair->tts_values + OUT_COLUMNS, d->plan->ncolumns * sizeof(Datum));
	memcpy(nulls + ROW_FIRST, d->pair->tts_isnull + OUT_COLUMNS, d->plan->ncolumns * sizeof(bool));
	tuplestore_putvalues(d->rows[probe->hash % d->live->nparts], d->rows_desc, values, nulls);
}

/* Look up the rows of a stream in a partition. */
static void
take_rows(DirectMerge *d, int part)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(d->rows_desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(d->rows[part], true, false, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
		Probe		probe = {0};

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		probe.n = DatumGetInt64(slot->tts_values[0]);
		probe.hash = (uint32) DatumGetInt64(slot->tts_values[1]);
		probe.fingerprint.a = (uint64) DatumGetInt64(slot->tts_values[2]);
		probe.fingerprint.b = (uint64) DatumGetInt64(slot->tts_values[3]);
		set_row(d, probe.n, slot->tts_values + ROW_FIRST, slot->tts_isnull + ROW_FIRST, NULL);
		take_probe(d, &probe);
		MemoryContextSwitchTo(old);
		MemoryContextReset(d->c.row_context);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(d->rows[part]);
}

/* A row of a source that streams. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	DirectMerge *d = (DirectMerge *) self;
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
	Probe		probe;

	slot_getallattrs(slot);
	if (d->plan->batch_id != NULL)
		pipeline_scd_add_content(d->plan, slot->tts_values, slot->tts_isnull, d->delta->content);
	if (make_probe(d, &probe, slot->tts_values, slot->tts_isnull, NULL))
	{
		set_row(d, probe.n, slot->tts_values, slot->tts_isnull, NULL);
		if (d->live->nparts > 0)
			spill_row(d, &probe);
		else
			take_probe(d, &probe);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->c.row_context);
	return true;
}

/* ---- keys that the source lacks ----------------------------------------------------- */

static void
take_missing(DirectMerge *d)
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
		fetch_version(d, entry);
		set_row(d, 0, d->version->tts_values, d->version->tts_isnull, d->table_map);
		set_version(d);
		pipeline_scd_miss_row(&d->c, d->pair);
		MemoryContextReset(d->c.row_context);
	}
	MemoryContextSwitchTo(old);
}

/* Work off the partitions. */
static void
take_parts(DirectMerge *d)
{
	for (int part = 0; part < d->live->nparts; part++)
	{
		SpilledEntry spilled;

		live_begin_part(d->live, part);
		while (live_read_entry(d->live, part, &spilled))
		{
			CHECK_FOR_INTERRUPTS();
			wait_for_link(d, spilled.hash, &spilled.entry);
		}
		link_waiting(d);
		if (d->rows != NULL)
			take_rows(d, part);
		while (d->rows == NULL && live_read_probe(d->live, part, &d->batch[d->nbatch]))
		{
			CHECK_FOR_INTERRUPTS();
			if (++d->nbatch == BATCH)
				take_batch(d);
		}
		take_batch(d);
		take_missing(d);
	}
}

/* ---- the whole ---------------------------------------------------------------------- */

static int
place(Oid relid, const char *name)
{
	return name == NULL ? -1 : get_attnum(relid, name) - 1;
}

static AttrNumber *
make_map(const MergePlan *plan, Oid relid)
{
	AttrNumber *map = palloc_array(AttrNumber, plan->ncolumns);

	for (int i = 0; i < plan->ncolumns; i++)
		map[i] = get_attnum(relid, plan->columns[i].name) - 1;
	return map;
}

static void
init_direct(DirectMerge *d, MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	const Dimension *dimension = plan->dimension;

	memset(d, 0, sizeof(DirectMerge));
	pipeline_scd_classifier_init(&d->c, plan, delta, counts);
	d->plan = plan;
	d->delta = delta;
	d->counts = counts;
	d->table = table_open(dimension->relid, NoLock);
	d->snapshot = GetActiveSnapshot();
	d->version = table_slot_create(d->table, NULL);
	d->table_map = make_map(plan, dimension->relid);
	d->at_from = place(dimension->relid, dimension->names[META_VALID_FROM]);
	d->at_current = place(dimension->relid, dimension->names[META_IS_CURRENT]);
	d->at_merge = place(dimension->relid, dimension->names[META_MERGE_ID]);
	d->at_sk = dimension->unknown_member ?
		place(dimension->relid, dimension->names[META_SURROGATE_KEY]) : -1;
	d->estimate = Max(d->table->rd_rel->reltuples, 1000);
	d->pair = MakeSingleTupleTableSlot(CreateTemplateTupleDesc(OUT_LIVE(plan) + plan->ncolumns),
									   &TTSOpsVirtual);
	d->live = live_create(d->estimate);
	live_keys_init(&d->keys);
	d->closed = bloom_create((int64) d->estimate, Max(Min(work_mem, 16384), 1024), d->keys.k[0]);
	delta->new_unique = true;
}

static void
end_direct(DirectMerge *d)
{
	if (d->source != NULL)
	{
		ExecDropSingleTupleTableSlot(d->row);
		table_close(d->source, NoLock);
	}
	bloom_free(d->closed);
	live_free(d->live);
	ExecDropSingleTupleTableSlot(d->pair);
	ExecDropSingleTupleTableSlot(d->version);
	table_close(d->table, NoLock);
	MemoryContextDelete(d->c.row_context);
}

/*
 * Read both sides once.  Inside an SPI connection, as the owner, under the
 * lock, where pipeline_scd_read_obstacle() sees none.
 */
void
pipeline_scd_classify_direct(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	DirectMerge d;

	/* A snapshot of after the lock, that sees what this transaction did. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	init_direct(&d, plan, delta, counts);
	read_table(&d);
	if (source_obstacle(plan) == NULL)
	{
		d.source = table_open(plan->source->relid, AccessShareLock);
		d.row = table_slot_create(d.source, NULL);
		d.source_map = make_map(plan, plan->source->relid);
		read_source(&d);
	}
	else
	{
		if (d.live->nparts > 0)
			init_rows(&d);
		pipeline_scd_receiver(&d.pub, receive_row);
		pipeline_scd_stream(pipeline_scd_content_sql(plan), &d.pub);
	}
	if (d.live->nparts > 0)
		take_parts(&d);
	else
		take_missing(&d);
	counts->rows_read = d.nrows;
	delta->new_unseen = !d.new_seen;
	end_direct(&d);
	PopActiveSnapshot();
}
