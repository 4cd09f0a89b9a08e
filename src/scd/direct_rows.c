/*
 * direct_rows.c
 *	  The source, streamed past the compact table.
 *
 * A source that is scanned directly is looked up in batches, whose memory is
 * prefetched; its rows are fetched again by their places only where something
 * must be written.  A row that streams from the executor is looked up at once.
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

/* The row of a probe: of a stream it is in the pair already. */
static void
fetch_row(DirectMerge *d, Probe *probe)
{
	ItemPointerData tid;
	TableLeaf  *leaf;

	if (d->source == NULL)
		return;
	leaf = pipeline_leaf_fetch(d->source, &probe->tid, &tid, d->snapshot);
	if (leaf == NULL)
		elog(ERROR, "could not fetch row (%u,%u) of the source",
			 ItemPointerGetBlockNumber(&probe->tid), ItemPointerGetOffsetNumber(&probe->tid));
	pipeline_scd_set_row(d, probe->n, leaf->slot->tts_values, leaf->slot->tts_isnull, leaf->map);
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
		pipeline_scd_fetch_version(d, entry);
		if (!pipeline_scd_same_key(d, d->pair->tts_values + OUT_COLUMNS, d->pair->tts_isnull + OUT_COLUMNS, NULL))
			continue;
		pipeline_scd_set_version(d);
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
		pipeline_scd_set_row(d, probe->n, values, nulls, map);
		pipeline_scd_reject_row(&d->c, d->pair,
								pipeline_scd_null_key(plan, d->pair->tts_isnull + OUT_COLUMNS));
		return false;
	}
	probe->hash = live_key_hash(&d->keys, plan, values, nulls, map);
	probe->fingerprint = live_fingerprint(&d->keys, plan, values, nulls, map);
	return true;
}

/* Scan a source that is a table, or a partition of one. */
static void
read_leaf(DirectMerge *d, TableLeaf *leaf)
{
	TupleTableSlot *slot = table_slot_create(leaf->rel, NULL);
	TableScanDesc scan = table_beginscan(leaf->rel, d->snapshot, 0, NULL, 0);
	MemoryContext old = MemoryContextSwitchTo(d->c.row_context);
	int			last = 0;

	for (int i = 0; i < d->plan->ncolumns; i++)
		last = Max(last, leaf->map[i]);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Probe	   *probe = &d->batch[d->nbatch];

		slot_getsomeattrs(slot, last + 1);
		if (d->plan->batch_id != NULL)
		{
			pipeline_scd_set_row(d, 0, slot->tts_values, slot->tts_isnull, leaf->map);
			pipeline_scd_add_content(d->plan, d->pair->tts_values + OUT_COLUMNS,
									 d->pair->tts_isnull + OUT_COLUMNS, d->delta->content);
		}
		if (!make_probe(d, probe, slot->tts_values, slot->tts_isnull, leaf->map))
			continue;
		pipeline_leaf_place(leaf, &slot->tts_tid, &probe->tid);
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
		pipeline_scd_set_row(d, probe.n, slot->tts_values + ROW_FIRST, slot->tts_isnull + ROW_FIRST, NULL);
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
		pipeline_scd_set_row(d, probe.n, slot->tts_values, slot->tts_isnull, NULL);
		if (d->live->nparts > 0)
			spill_row(d, &probe);
		else
			take_probe(d, &probe);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->c.row_context);
	return true;
}

/* Work off the partitions. */
void
pipeline_scd_take_parts(DirectMerge *d)
{
	for (int part = 0; part < d->live->nparts; part++)
	{
		SpilledEntry spilled;

		live_begin_part(d->live, part);
		while (live_read_entry(d->live, part, &spilled))
		{
			CHECK_FOR_INTERRUPTS();
			pipeline_scd_wait_for_link(d, spilled.hash, &spilled.entry);
		}
		pipeline_scd_link_waiting(d);
		if (d->rows != NULL)
			take_rows(d, part);
		while (d->rows == NULL && live_read_probe(d->live, part, &d->batch[d->nbatch]))
		{
			CHECK_FOR_INTERRUPTS();
			if (++d->nbatch == BATCH)
				take_batch(d);
		}
		take_batch(d);
		pipeline_scd_take_missing(d);
	}
}


/* Read the source once, directly or from the executor. */
void
pipeline_scd_read_rows(DirectMerge *d, bool direct)
{
	if (direct)
	{
		for (int i = 0; i < d->source->n; i++)
			read_leaf(d, &d->source->leaf[i]);
		take_batch(d);
		return;
	}
	if (d->live->nparts > 0)
		init_rows(d);
	pipeline_scd_receiver(&d->pub, receive_row);
	pipeline_scd_stream(pipeline_scd_content_sql(d->plan), &d->pub);
}
