/*
 * merge_classify.c
 *	  One pass over both sides: count, and keep what must be written.
 *
 * The rows of the classifying query stream past a DestReceiver.  Unchanged
 * rows are counted and gone; what must be opened, overwritten, closed or
 * rejected goes into tuplestores, which spill past work_mem.  A table of
 * marks, a byte for each current version met, tells a second row for
 * the same key from the first: exactly, since a current version is one key.
 * Repeated new keys are left for merge_delta.c: they all are in `open`.
 *
 * Problems are kept, not raised, until the pass is over: too many rejects
 * come first.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "scd/classify.h"

/* The mark of a current version; made as 0 when it is met first. */
static char *
mark_of(Classifier *c, Oid rel, ItemPointer tid)
{
	MarkKey		key;
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
	MarkEntry  *entry;
	bool		found;

	memset(&key, 0, sizeof(key));
	key.rel = rel;
	key.block = ItemPointerGetBlockNumberNoCheck(tid);
	key.part = offset / MARKS;
	if (c->last_mark != NULL && memcmp(&key, &c->last_mark->key, sizeof(key)) == 0)
		return &c->last_mark->marks[offset % MARKS];
	entry = hash_search(c->marks, &key, HASH_ENTER, &found);
	if (!found)
		memset(entry->marks, 0, MARKS);
	c->last_mark = entry;
	return &entry->marks[offset % MARKS];
}

/* "Key (id)=(1)" and the rest, to be kept. */
char *
pipeline_scd_key_detail(Classifier *c, TupleTableSlot *slot, const char *rest)
{
	MemoryContext old = MemoryContextSwitchTo(c->result_context);
	char	   *detail;

	detail = psprintf("Key %s%s",
					  pipeline_scd_key_text(c->plan, slot->tts_values + OUT_COLUMNS,
											slot->tts_isnull + OUT_COLUMNS), rest);
	MemoryContextSwitchTo(old);
	return detail;
}

/* Remember the first change that does not come after stored history. */
static void
check_opened(Classifier *c, TupleTableSlot *slot)
{
	TimestampTz opened;

	if (c->delta->stale != NULL || slot->tts_isnull[OUT_OPENED(c->plan)])
		return;
	opened = DatumGetTimestampTz(slot->tts_values[OUT_OPENED(c->plan)]);
	if (c->plan->effective > opened)
		return;
	c->delta->stale = pipeline_scd_key_detail(c, slot,
								 psprintf(" has a version valid from %s.",
										  timestamptz_to_str(opened)));
}

/* How does a source row differ from the current version? */
static char
compare_row(Classifier *c, TupleTableSlot *slot)
{
	MergePlan  *plan = c->plan;
	char		class = CLASS_UNCHANGED;

	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		int			ours = OUT_COLUMNS + i;
		int			theirs = OUT_LIVE(plan) + i - plan->nkeys;

		if (class != CLASS_UNCHANGED && plan->columns[i].is_type1)
			continue;
		if (pipeline_scd_equal(&plan->columns[i],
							   slot->tts_values[ours], slot->tts_isnull[ours],
							   slot->tts_values[theirs], slot->tts_isnull[theirs]))
			continue;
		if (!plan->columns[i].is_type1)
			return CLASS_VERSION;
		class = CLASS_OVERWRITE;
	}
	return class;
}

static void
put_row(Classifier *c, TupleTableSlot *slot, char class, Tuplestorestate *store)
{
	MergePlan  *plan = c->plan;

	c->values[DELTA_SEQ] = slot->tts_values[0];
	c->values[DELTA_CLASS] = CharGetDatum(class);
	c->values[DELTA_REL] = slot->tts_values[OUT_REL(plan)];
	c->values[DELTA_TID] = slot->tts_values[OUT_TID(plan)];
	c->values[DELTA_MERGE] = slot->tts_values[OUT_MERGE(plan)];
	c->nulls[DELTA_MERGE] = slot->tts_isnull[OUT_MERGE(plan)];
	c->nulls[DELTA_SEQ] = c->nulls[DELTA_CLASS] = false;
	c->nulls[DELTA_REL] = c->nulls[DELTA_TID] = class == CLASS_NEW;
	memcpy(c->values + DELTA_COLUMNS, slot->tts_values + OUT_COLUMNS,
		   plan->ncolumns * sizeof(Datum));
	memcpy(c->nulls + DELTA_COLUMNS, slot->tts_isnull + OUT_COLUMNS,
		   plan->ncolumns * sizeof(bool));
	tuplestore_putvalues(store, c->delta->row_desc, c->values, c->nulls);
}

static void
put_close(Classifier *c, TupleTableSlot *slot, const char *reason)
{
	Datum		values[3] = {slot->tts_values[OUT_REL(c->plan)],
		slot->tts_values[OUT_TID(c->plan)],
		CStringGetTextDatum(reason)
	};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(c->delta->close, c->delta->close_desc, values, nulls);
}

/* A second row for a key that has a current version. */
static void
repeat_row(Classifier *c, TupleTableSlot *slot, char first, char class)
{
	if (first != class)
	{
		if (c->delta->conflict == NULL)
			c->delta->conflict = pipeline_scd_key_detail(c, slot, ".");
	}
	else if (class == CLASS_UNCHANGED)
		c->counts->duplicate++;
	else
	{
		put_row(c, slot, class, class == CLASS_VERSION ? c->delta->open : c->delta->overwrite);
		c->delta->repeats = true;
	}
}

/* A source row whose key has a current version, with the mark of that. */
void
pipeline_scd_match_row(Classifier *c, TupleTableSlot *slot, char *mark)
{
	char		class = compare_row(c, slot);

	if (*mark != 0)
	{
		repeat_row(c, slot, *mark, class);
		return;
	}
	*mark = class;
	c->delta->live_keys++;
	if (class == CLASS_UNCHANGED)
	{
		c->counts->unchanged++;
		return;
	}
	check_opened(c, slot);
	if (class == CLASS_OVERWRITE)
		put_row(c, slot, class, c->delta->overwrite);
	else
	{
		put_row(c, slot, class, c->delta->open);
		put_close(c, slot, CLOSED_VERSIONED);
	}
}

/* A current version whose key the snapshot lacks. */
void
pipeline_scd_miss_row(Classifier *c, TupleTableSlot *slot)
{
	c->counts->missing++;
	c->delta->live_keys++;
	if (!DIMENSION_INVALIDATES(c->plan->dimension))
		return;
	check_opened(c, slot);
	put_close(c, slot, CLOSED_MISSING);
}

/* Add a source row to the fingerprint of the batch: a sum, so in any order. */
void
pipeline_scd_add_content(MergePlan *plan, const Datum *values,
						 const bool *nulls, uint64 content[2])
{
	for (int s = 0; s < 2; s++)
	{
		uint64		hash = s + 1;
		int			in = plan->ncolumns;

		for (int i = 0; i < plan->ncolumns; i++)
		{
			if (!nulls[i])
				hash = pipeline_scd_hash(&plan->columns[i], values[i], hash);
			/* NULL, and values that hash to their seed, count by place. */
			hash = (hash ^ (2 * i + nulls[i] + 1)) * UINT64CONST(0x9E3779B97F4A7C15);
		}
		for (int i = 0; i < EVENT_COLUMNS; i++)
		{
			if (plan->event[i] == NULL)
				continue;
			if (!nulls[in])
				hash = pipeline_scd_hash(plan->event[i], values[in], hash);
			hash = (hash ^ (2 * in + nulls[in] + 1)) * UINT64CONST(0x9E3779B97F4A7C15);
			in++;
		}
		content[s] += hash;
	}
}

/* A source row that cannot be used. */
void
pipeline_scd_reject_row(Classifier *c, TupleTableSlot *slot, const char *reason)
{
	c->counts->rejected++;
	pipeline_scd_reject(c->plan, c->delta, slot->tts_values + OUT_COLUMNS,
						slot->tts_isnull + OUT_COLUMNS, reason);
}

/* A source row whose key has no current version. */
void
pipeline_scd_new_row(Classifier *c, TupleTableSlot *slot)
{
	c->delta->new_rows++;
	put_row(c, slot, CLASS_NEW, c->delta->open);
}

static void
classify_row(Classifier *c, TupleTableSlot *slot)
{
	MergePlan  *plan = c->plan;
	const char *null_key;

	if (slot->tts_isnull[0])
	{
		pipeline_scd_miss_row(c, slot);
		return;
	}
	c->matched++;
	c->last_row = Max(c->last_row, DatumGetInt64(slot->tts_values[0]));
	if (plan->batch_id != NULL)
		pipeline_scd_add_content(plan, slot->tts_values + OUT_COLUMNS,
								 slot->tts_isnull + OUT_COLUMNS, c->delta->content);
	null_key = pipeline_scd_null_key(plan, slot->tts_isnull + OUT_COLUMNS);
	if (null_key != NULL)
		pipeline_scd_reject_row(c, slot, null_key);
	else if (slot->tts_isnull[OUT_TID(plan)])
		pipeline_scd_new_row(c, slot);
	else
		pipeline_scd_match_row(c, slot,
							   mark_of(c, DatumGetObjectId(slot->tts_values[OUT_REL(plan)]),
									   (ItemPointer) DatumGetPointer(slot->tts_values[OUT_TID(plan)])));
}

static bool
receive_slot(TupleTableSlot *slot, DestReceiver *self)
{
	Classifier *c = (Classifier *) self;
	MemoryContext old;

	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(c->row_context);
	classify_row(c, slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(c->row_context);
	return true;
}

static void
receiver_noop_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
receiver_noop(DestReceiver *self)
{
}

/* Make a receiver of a function. */
void
pipeline_scd_receiver(DestReceiver *pub,
					  bool (*receive) (TupleTableSlot *, DestReceiver *))
{
	pub->receiveSlot = receive;
	pub->rStartup = receiver_noop_startup;
	pub->rShutdown = receiver_noop;
	pub->rDestroy = receiver_noop;
	pub->mydest = DestTuplestore;
}

/* Run a query into a receiver, as the current user. */
void
pipeline_scd_stream(const char *sql, DestReceiver *receiver)
{
	SPIExecuteOptions options = {.dest = receiver};
	int			rc = SPI_execute_extended(sql, &options);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "generated statement returned %s: %s",
			 SPI_result_code_string(rc), sql);
}

/* Describe the rows of the deltas. */
static void
init_delta(const MergePlan *plan, MergeDelta *delta)
{
	delta->row_desc = CreateTemplateTupleDesc(DELTA_COLUMNS + plan->ncolumns);
	TupleDescInitEntry(delta->row_desc, DELTA_SEQ + 1, "seq", INT8OID, -1, 0);
	TupleDescInitEntry(delta->row_desc, DELTA_CLASS + 1, "class", CHAROID, -1, 0);
	TupleDescInitEntry(delta->row_desc, DELTA_REL + 1, "rel", OIDOID, -1, 0);
	TupleDescInitEntry(delta->row_desc, DELTA_TID + 1, "tid", TIDOID, -1, 0);
	TupleDescInitEntry(delta->row_desc, DELTA_MERGE + 1, "merge", INT8OID, -1, 0);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		MergeColumn *column = &plan->columns[i];
		AttrNumber	n = DELTA_COLUMNS + i + 1;

		TupleDescInitEntry(delta->row_desc, n, psprintf("c%d", i + 1),
						   column->type, column->typmod, 0);
		TupleDescInitEntryCollation(delta->row_desc, n, column->collation);
	}
	delta->close_desc = CreateTemplateTupleDesc(3);
	TupleDescInitEntry(delta->close_desc, 1, "rel", OIDOID, -1, 0);
	TupleDescInitEntry(delta->close_desc, 2, "tid", TIDOID, -1, 0);
	TupleDescInitEntry(delta->close_desc, 3, "reason", TEXTOID, -1, 0);
	TupleDescFinalize(delta->row_desc);
	TupleDescFinalize(delta->close_desc);
	delta->open = tuplestore_begin_heap(false, false, work_mem);
	delta->overwrite = tuplestore_begin_heap(false, false, work_mem);
	delta->close = tuplestore_begin_heap(false, false, work_mem);
	pipeline_scd_reject_init(plan, delta);
}

/* Make ready to classify rows. */
void
pipeline_scd_classifier_init(Classifier *c, MergePlan *plan, MergeDelta *delta,
							 MergeCounts *counts)
{
	memset(c, 0, sizeof(Classifier));
	c->plan = plan;
	c->delta = delta;
	c->counts = counts;
	init_delta(plan, delta);
	c->result_context = CurrentMemoryContext;
	c->row_context = AllocSetContextCreate(CurrentMemoryContext,
										   "pipeline merge row", ALLOCSET_DEFAULT_SIZES);
	c->values = palloc_array(Datum, DELTA_COLUMNS + plan->ncolumns);
	c->nulls = palloc_array(bool, DELTA_COLUMNS + plan->ncolumns);
}

/*
 * Read both sides once.  Inside an SPI connection, as the owner, under the
 * lock.  Raises 21000 if a key has two current versions.
 */
void
pipeline_scd_classify(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	Classifier	c;
	HASHCTL		ctl = {.keysize = sizeof(MarkKey),.entrysize = sizeof(MarkEntry),
		.hcxt = CurrentMemoryContext
	};

	pipeline_scd_classifier_init(&c, plan, delta, counts);
	pipeline_scd_receiver(&c.pub, receive_slot);
	c.marks = hash_create("pipeline merge marks", 1024, &ctl,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	pipeline_scd_stream(pipeline_scd_classify_sql(plan), &c.pub);
	hash_destroy(c.marks);
	MemoryContextDelete(c.row_context);

	counts->rows_read = c.matched;
	if (c.matched != c.last_row)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("a key of dimension %s has more than one current version",
						plan->dimension->name),
				 errdetail("%lld rows of the source met %lld current versions or none.",
						   (long long) c.last_row, (long long) c.matched),
				 errhint("Somebody else wrote to the table: close all but one version of each key.")));
}

/* ---- the fingerprint alone ---------------------------------------------- */

typedef struct ContentReader
{
	DestReceiver pub;
	MergePlan  *plan;
	uint64	   *content;
	int64		rows;
	MemoryContext row_context;
} ContentReader;

static bool
receive_content(TupleTableSlot *slot, DestReceiver *self)
{
	ContentReader *r = (ContentReader *) self;
	MemoryContext old = MemoryContextSwitchTo(r->row_context);

	slot_getallattrs(slot);
	pipeline_scd_add_content(r->plan, slot->tts_values, slot->tts_isnull, r->content);
	r->rows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
}

/* Read the source alone: its fingerprint and the number of its rows. */
int64
pipeline_scd_content(MergePlan *plan, uint64 content[2])
{
	ContentReader r = {.plan = plan,.content = content};

	content[0] = content[1] = 0;
	pipeline_scd_receiver(&r.pub, receive_content);
	r.row_context = AllocSetContextCreate(CurrentMemoryContext,
										  "pipeline batch row", ALLOCSET_DEFAULT_SIZES);
	pipeline_scd_stream(pipeline_scd_content_sql(plan), &r.pub);
	MemoryContextDelete(r.row_context);
	return r.rows;
}

/* ---- deltas as relations ------------------------------------------------ */

/* Let the SQL of this SPI connection read a delta by name. */
void
pipeline_scd_delta_register(const char *name, TupleDesc desc,
							Tuplestorestate *rows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(rows);
	enr->reldata = rows;
	(void) SPI_unregister_relation(name);
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register delta \"%s\"", name);
}
