/*
 * merge_write.c
 *	  Write the deltas past the executor: versions are closed and overwritten
 *	  by their places, new ones inserted many at a time.
 *
 * What the executor does for such rows is done here: defaults, identity and
 * generated columns, constraints, indexes.  base/direct.c has seen to it that
 * there is nothing else to do.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/settings.h"
#include "scd/write.h"

/* Rows are inserted when there are so many of them, or bytes. */
#define MAX_ROWS 1000
#define MAX_BYTES 65535

/* ---- may it be done? ------------------------------------------------------------- */

/*
 * Why the table cannot be written directly; NULL when it can.  As the role
 * that merges.  A replay of events writes every column.
 */
const char *
pipeline_scd_write_obstacle(const MergePlan *plan, bool replays)
{
	Oid			relid = plan->dimension->relid;
	AttrNumber *inserted = palloc_array(AttrNumber, 2 * plan->ncolumns + META_COLUMNS);
	AttrNumber *updated = palloc_array(AttrNumber, 2 * plan->ncolumns + META_COLUMNS);
	int			ninserted = 0;
	int			nupdated = 0;
	Relation	rel;
	const char *obstacle;

	if (!pipeline_direct_access)
		return "pipeline.direct_access is off";
	if (plan->meta_type[META_VALID_FROM] != TIMESTAMPTZOID ||
		plan->meta_type[META_VALID_TO] != TIMESTAMPTZOID)
		return "valid_from or valid_to is no timestamptz";
	if (plan->meta_type[META_IS_CURRENT] != BOOLOID)
		return "it has no boolean is_current";
	if (plan->meta[META_SCD_ID] != NULL)
		return "it has a column for scd_id";
	if ((plan->meta[META_UPDATED_AT] != NULL && !(replays && plan->meta_type[META_UPDATED_AT] == TIMESTAMPTZOID)) ||
		(plan->meta[META_IS_DELETED] != NULL && !(replays && plan->meta_type[META_IS_DELETED] == BOOLOID)))
		return "it has columns for updated_at or is_deleted";
	for (int m = META_VALID_FROM; m < META_COLUMNS; m++)
	{
		if (plan->meta[m] == NULL)
			continue;
		inserted[ninserted++] = get_attnum(relid, plan->dimension->names[m]);
		if (replays || m != META_VALID_FROM)
			updated[nupdated++] = get_attnum(relid, plan->dimension->names[m]);
	}
	for (int i = 0; i < plan->ncolumns; i++)
	{
		inserted[ninserted++] = get_attnum(relid, plan->columns[i].name);
		if (replays || plan->columns[i].is_type1)
			updated[nupdated++] = get_attnum(relid, plan->columns[i].name);
		if (plan->columns[i].companion == NULL)
			continue;
		inserted[ninserted++] = updated[nupdated++] = get_attnum(relid, plan->columns[i].companion);
	}
	rel = table_open(relid, AccessShareLock);
	obstacle = pipeline_direct_write_obstacle(rel, inserted, ninserted, updated, nupdated);
	table_close(rel, NoLock);
	return obstacle;
}

/* ---- making ready ---------------------------------------------------------------- */

static bool
is_written(const Writer *w, int place)
{
	for (int m = META_VALID_FROM; m < META_COLUMNS; m++)
	{
		if (w->meta[m] == place)
			return true;
	}
	for (int i = 0; i < w->plan->ncolumns; i++)
	{
		if (w->map[i] == place)
			return true;
	}
	return false;
}

/* Find the defaults of the columns that a merge does not write. */
static void
init_defaults(Writer *w)
{
	TupleDesc	desc = RelationGetDescr(w->rel);

	w->defaults = palloc0_array(ExprState *, desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Expr	   *expr;

		if (att->attisdropped)
			continue;
		if (att->attgenerated != '\0')
		{
			w->has_generated = true;
			continue;
		}
		if (is_written(w, i))
			continue;
		expr = (Expr *) build_column_default(w->rel, i + 1);
		if (expr != NULL)
			w->defaults[i] = ExecInitExpr(expression_planner(expr), NULL);
	}
}

/* Open the table, to be written by the current user. */
void
pipeline_scd_writer_init(Writer *w, MergePlan *plan, MergeCounts *counts)
{
	const Dimension *dimension = plan->dimension;

	memset(w, 0, sizeof(Writer));
	w->plan = plan;
	w->counts = counts;
	w->rel = table_open(dimension->relid, RowExclusiveLock);
	w->estate = CreateExecutorState();
	w->result = makeNode(ResultRelInfo);
	InitResultRelInfo(w->result, w->rel, 0, NULL, 0);
	ExecOpenIndices(w->result, false);
	w->cid = GetCurrentCommandId(true);
	w->estate->es_output_cid = w->cid;
	w->estate->es_snapshot = GetActiveSnapshot();
	w->old = table_slot_create(w->rel, NULL);
	w->new = table_slot_create(w->rel, NULL);
	for (int m = 0; m < META_COLUMNS; m++)
		w->meta[m] = dimension->names[m] == NULL ? -1 :
			get_attnum(dimension->relid, dimension->names[m]) - 1;
	w->map = palloc_array(AttrNumber, plan->ncolumns);
	for (int i = 0; i < plan->ncolumns; i++)
		w->map[i] = get_attnum(dimension->relid, plan->columns[i].name) - 1;
	init_defaults(w);
}

void
pipeline_scd_writer_end(Writer *w)
{
	for (int i = 0; w->slots != NULL && i < MAX_ROWS; i++)
	{
		if (w->slots[i] != NULL)
			ExecDropSingleTupleTableSlot(w->slots[i]);
	}
	ExecDropSingleTupleTableSlot(w->old);
	ExecDropSingleTupleTableSlot(w->new);
	ExecCloseIndices(w->result);
	FreeExecutorState(w->estate);
	table_close(w->rel, NoLock);
	CommandCounterIncrement();
}

/* What the executor does before it stores a row. */
static void
finish_row(Writer *w, TupleTableSlot *slot)
{
	/* "INSERT" computes every generated column, which an update may need too. */
	if (w->has_generated)
		ExecComputeStoredGenerated(w->result, w->estate, slot, CMD_INSERT);
	if (w->rel->rd_att->constr != NULL)
		ExecConstraints(w->result, slot, w->estate);
}

/* ---- versions that are there ------------------------------------------------------ */

/* Fetch a version and copy it to where it is changed. */
void
pipeline_scd_begin_update(Writer *w, ItemPointer tid)
{
	int			natts = RelationGetDescr(w->rel)->natts;

	if (!table_tuple_fetch_row_version(w->rel, tid, w->estate->es_snapshot, w->old))
		elog(ERROR, "could not fetch version (%u,%u) of dimension %s",
			 ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
			 w->plan->dimension->name);
	slot_getallattrs(w->old);
	ExecClearTuple(w->new);
	memcpy(w->new->tts_values, w->old->tts_values, natts * sizeof(Datum));
	memcpy(w->new->tts_isnull, w->old->tts_isnull, natts * sizeof(bool));
}

/* Set a column that we write, where the table has it. */
void
pipeline_scd_set_meta(Writer *w, TupleTableSlot *slot, MetaColumn meta, Datum value, bool isnull)
{
	if (w->meta[meta] < 0)
		return;
	slot->tts_values[w->meta[meta]] = value;
	slot->tts_isnull[w->meta[meta]] = isnull;
}

/* Store the changed version. */
void
pipeline_scd_finish_update(Writer *w, ItemPointer tid)
{
	TM_FailureData failure;
	LockTupleMode lockmode;
	TU_UpdateIndexes indexes;
	TM_Result	result;

	ExecStoreVirtualTuple(w->new);
	finish_row(w, w->new);
	result = table_tuple_update(w->rel, tid, w->new, w->cid, 0, w->estate->es_snapshot,
								InvalidSnapshot, true, &failure, &lockmode, &indexes);
	if (result != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not write a version of dimension %s: it was changed meanwhile",
						w->plan->dimension->name)));
	if (indexes != TU_None)
		(void) ExecInsertIndexTuples(w->result, w->estate,
									 EIIT_IS_UPDATE | (indexes == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0),
									 w->new, NIL, NULL);
	else
		w->counts->hot_updates++;
	ResetPerTupleExprContext(w->estate);
	CHECK_FOR_INTERRUPTS();
}

static void
close_versions(Writer *w, MergeDelta *delta)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->close_desc, &TTSOpsMinimalTuple);

	tuplestore_rescan(delta->close);
	while (tuplestore_gettupleslot(delta->close, true, false, slot))
	{
		ItemPointer tid;

		slot_getallattrs(slot);
		tid = (ItemPointer) DatumGetPointer(slot->tts_values[1]);
		pipeline_scd_begin_update(w, tid);
		pipeline_scd_set_meta(w, w->new, META_VALID_TO, TimestampTzGetDatum(w->plan->effective), false);
		pipeline_scd_set_meta(w, w->new, META_IS_CURRENT, BoolGetDatum(false), false);
		pipeline_scd_set_meta(w, w->new, META_CLOSE_REASON, slot->tts_values[2], false);
		pipeline_scd_set_meta(w, w->new, META_MERGE_ID, Int64GetDatum(w->plan->merge_id), false);
		pipeline_scd_finish_update(w, tid);
	}
	ExecDropSingleTupleTableSlot(slot);
}

static void
overwrite_versions(Writer *w, MergeDelta *delta)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->row_desc, &TTSOpsMinimalTuple);

	tuplestore_rescan(delta->overwrite);
	while (tuplestore_gettupleslot(delta->overwrite, true, false, slot))
	{
		ItemPointer tid;

		slot_getallattrs(slot);
		tid = (ItemPointer) DatumGetPointer(slot->tts_values[DELTA_TID]);
		pipeline_scd_begin_update(w, tid);
		for (int i = 0; i < w->plan->ncolumns; i++)
		{
			if (!w->plan->columns[i].is_type1)
				continue;
			w->new->tts_values[w->map[i]] = slot->tts_values[DELTA_COLUMNS + i];
			w->new->tts_isnull[w->map[i]] = slot->tts_isnull[DELTA_COLUMNS + i];
		}
		pipeline_scd_set_meta(w, w->new, META_MERGE_ID, Int64GetDatum(w->plan->merge_id), false);
		pipeline_scd_finish_update(w, tid);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* ---- new versions ----------------------------------------------------------------- */

static void
flush_inserts(Writer *w)
{
	MemoryContext old;

	if (w->nslots == 0)
		return;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(w->estate));
	table_multi_insert(w->rel, w->slots, w->nslots, w->cid, 0, w->bulk);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < w->nslots; i++)
	{
		if (w->result->ri_NumIndices > 0)
			(void) ExecInsertIndexTuples(w->result, w->estate, 0, w->slots[i], NIL, NULL);
		ExecClearTuple(w->slots[i]);
	}
	ResetPerTupleExprContext(w->estate);
	w->nslots = 0;
	w->bytes = 0;
	CHECK_FOR_INTERRUPTS();
}

void
pipeline_scd_begin_inserts(Writer *w)
{
	w->bulk = GetBulkInsertState();
	w->slots = palloc0_array(TupleTableSlot *, MAX_ROWS);
}

/* The slot of the next new version: NULLs and defaults. */
TupleTableSlot *
pipeline_scd_begin_insert(Writer *w)
{
	int			natts = RelationGetDescr(w->rel)->natts;
	ExprContext *context = GetPerTupleExprContext(w->estate);
	TupleTableSlot *slot = w->slots[w->nslots];

	if (slot == NULL)
		slot = w->slots[w->nslots] = table_slot_create(w->rel, NULL);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, natts * sizeof(bool));
	for (int i = 0; i < natts; i++)
	{
		if (w->defaults[i] != NULL)
			slot->tts_values[i] = ExecEvalExprSwitchContext(w->defaults[i], context,
															&slot->tts_isnull[i]);
	}
	return slot;
}

/* The slot is filled, by a row of so many bytes that may go away now. */
void
pipeline_scd_finish_insert(Writer *w, TupleTableSlot *slot, Size bytes)
{
	ExecStoreVirtualTuple(slot);
	finish_row(w, slot);
	ExecMaterializeSlot(slot);
	w->bytes += bytes;
	if (++w->nslots == MAX_ROWS || w->bytes > MAX_BYTES)
		flush_inserts(w);
}

void
pipeline_scd_end_inserts(Writer *w)
{
	flush_inserts(w);
	FreeBulkInsertState(w->bulk);
	table_finish_bulk_insert(w->rel, 0);
}

/* Fill a slot with a new version. */
static void
fill_version(Writer *w, TupleTableSlot *slot, TupleTableSlot *row, TimestampTz from)
{
	const Dimension *dimension = w->plan->dimension;

	pipeline_scd_set_meta(w, slot, META_VALID_FROM, TimestampTzGetDatum(from), false);
	pipeline_scd_set_meta(w, slot, META_VALID_TO, TimestampTzGetDatum(dimension->open_end), dimension->open_end_null);
	pipeline_scd_set_meta(w, slot, META_IS_CURRENT, BoolGetDatum(true), false);
	pipeline_scd_set_meta(w, slot, META_MERGE_ID, Int64GetDatum(w->plan->merge_id), false);
	for (int i = 0; i < w->plan->ncolumns; i++)
	{
		slot->tts_values[w->map[i]] = row->tts_values[DELTA_COLUMNS + i];
		slot->tts_isnull[w->map[i]] = row->tts_isnull[DELTA_COLUMNS + i];
	}
}

static void
open_versions(Writer *w, MergeDelta *delta, TimestampTz from)
{
	TupleTableSlot *row = MakeSingleTupleTableSlot(delta->row_desc, &TTSOpsMinimalTuple);

	pipeline_scd_begin_inserts(w);
	tuplestore_rescan(delta->open);
	while (tuplestore_gettupleslot(delta->open, true, false, row))
	{
		TupleTableSlot *slot = pipeline_scd_begin_insert(w);

		slot_getallattrs(row);
		fill_version(w, slot, row, from);
		pipeline_scd_finish_insert(w, slot, ((MinimalTupleTableSlot *) row)->mintuple->t_len);
	}
	pipeline_scd_end_inserts(w);
	ExecDropSingleTupleTableSlot(row);
}

/*
 * Write the deltas and count what was written.  Inside an SPI connection, as
 * the owner, where pipeline_scd_write_obstacle() sees none.  `initial`: the
 * table was empty.
 */
void
pipeline_scd_write_direct(MergePlan *plan, MergeDelta *delta,
						  MergeCounts *counts, bool initial)
{
	const Dimension *dimension = plan->dimension;
	int64		opened = tuplestore_tuple_count(delta->open);
	Writer		w;

	counts->closed = tuplestore_tuple_count(delta->close);
	counts->updated_type1 = tuplestore_tuple_count(delta->overwrite);
	counts->versioned = opened - delta->new_rows;
	counts->inserted = delta->new_rows - counts->reopened;
	if (opened + counts->closed + counts->updated_type1 == 0)
		return;
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	pipeline_scd_writer_init(&w, plan, counts);
	close_versions(&w, delta);
	overwrite_versions(&w, delta);
	if (opened > 0)
		open_versions(&w, delta, initial && dimension->has_initial ?
					  dimension->initial_valid_from : plan->effective);
	pipeline_scd_writer_end(&w);
	PopActiveSnapshot();
}
