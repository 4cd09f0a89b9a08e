/*
 * events_write.c
 *	  Write the versions that a replay changed or opened, past the executor.
 *
 * As events_apply.c does by SQL, and in the same order: versions that shrink,
 * versions that grow, new ones.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "scd/events.h"
#include "scd/write.h"

/* Set a column; a value that is there already stays, with its TOAST. */
static void
set_column(Writer *w, TupleTableSlot *slot, int place, TupleTableSlot *row, int n)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(w->rel), place);

	if (slot == w->new && !slot->tts_isnull[place] && !row->tts_isnull[n] &&
		datum_image_eq(slot->tts_values[place], row->tts_values[n], att->attbyval, att->attlen))
		return;
	slot->tts_values[place] = row->tts_values[n];
	slot->tts_isnull[place] = row->tts_isnull[n];
}

/* Lay a row of a version over a slot. */
static void
set_version(Writer *w, const AttrNumber *companions, TupleTableSlot *slot, TupleTableSlot *row)
{
	static const struct
	{
		MetaColumn	meta;
		int			n;
	}			from[] = {
		{META_VALID_FROM, VERSION_FROM}, {META_VALID_TO, VERSION_TO},
		{META_IS_CURRENT, VERSION_OPEN}, {META_IS_DELETED, VERSION_DELETED},
		{META_CLOSE_REASON, VERSION_REASON}, {META_UPDATED_AT, VERSION_UPDATED}
	};
	int			p = VERSION_FIRST + w->plan->ncolumns;

	for (int i = 0; i < lengthof(from); i++)
		pipeline_scd_set_meta(w, slot, from[i].meta, row->tts_values[from[i].n],
							  row->tts_isnull[from[i].n]);
	pipeline_scd_set_meta(w, slot, META_MERGE_ID, Int64GetDatum(w->plan->merge_id), false);
	for (int i = 0; i < w->plan->ncolumns; i++)
	{
		set_column(w, slot, w->map[i], row, VERSION_FIRST + i);
		if (w->plan->columns[i].companion != NULL)
			set_column(w, slot, companions[i], row, p++);
	}
}

static void
change_versions(Writer *w, const AttrNumber *companions, Replay *r,
				TupleTableSlot *row, bool shrinking)
{
	tuplestore_rescan(r->changed);
	while (tuplestore_gettupleslot(r->changed, true, false, row))
	{
		ItemPointer tid;

		slot_getallattrs(row);
		if (DatumGetBool(row->tts_values[VERSION_SHRINKS]) != shrinking)
			continue;
		tid = (ItemPointer) DatumGetPointer(row->tts_values[VERSION_TID]);
		pipeline_scd_begin_update(w, tid);
		set_version(w, companions, w->new, row);
		pipeline_scd_finish_update(w, tid);
	}
}

static void
open_versions(Writer *w, const AttrNumber *companions, Replay *r, TupleTableSlot *row)
{
	pipeline_scd_begin_inserts(w);
	tuplestore_rescan(r->opened);
	while (tuplestore_gettupleslot(r->opened, true, false, row))
	{
		TupleTableSlot *slot = pipeline_scd_begin_insert(w);

		slot_getallattrs(row);
		set_version(w, companions, slot, row);
		pipeline_scd_finish_insert(w, slot, ((MinimalTupleTableSlot *) row)->mintuple->t_len);
	}
	pipeline_scd_end_inserts(w);
}

/*
 * Write what changed and what is new.  Inside an SPI connection, as the
 * owner, where pipeline_scd_write_obstacle() sees none; rows that are gone
 * have been deleted.
 */
void
pipeline_scd_write_events(Replay *r)
{
	MergePlan  *plan = r->plan;
	AttrNumber *companions = palloc0_array(AttrNumber, plan->ncolumns + 1);
	TupleTableSlot *row;
	Writer		w;

	if (tuplestore_tuple_count(r->changed) + tuplestore_tuple_count(r->opened) == 0)
		return;
	for (int i = 0; i < plan->ncolumns; i++)
	{
		if (plan->columns[i].companion != NULL)
			companions[i] = get_attnum(plan->dimension->relid, plan->columns[i].companion) - 1;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	pipeline_scd_writer_init(&w, plan, r->counts);
	row = MakeSingleTupleTableSlot(r->version_desc, &TTSOpsMinimalTuple);
	change_versions(&w, companions, r, row, true);
	change_versions(&w, companions, r, row, false);
	if (tuplestore_tuple_count(r->opened) > 0)
		open_versions(&w, companions, r, row);
	ExecDropSingleTupleTableSlot(row);
	pipeline_scd_writer_end(&w);
	PopActiveSnapshot();
}
