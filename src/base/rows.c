/*
 * rows.c
 *	  Our own tables, row by row, without the executor.
 *
 * For the transitions that happen many times a second: a statement costs the
 * executor ten times what the row itself costs.  It is for constant C on
 * tables of the extension only: no rights, row security, constraints or
 * triggers are looked at, so the caller answers for what they would have said
 * (a foreign key holds because the caller has locked the row it points to).
 * Indexes are kept up, and logical decoding sees the changes.
 *
 * Columns are found by name when a session first uses a table, so that a
 * library newer than the installed script says what is missing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/rows.h"

static Oid
find_relation(const char *name)
{
	Oid			oid = get_relname_relid(name, get_namespace_oid("pipeline", false));

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"pipeline.%s\" does not exist", name),
				 errhint("Run ALTER EXTENSION pipeline UPDATE: the library is newer than the objects of the extension.")));
	return oid;
}

/* Learn where the columns are, once for each relation OID. */
static void
learn_columns(RowTable *t, Oid relid)
{
	t->relid = InvalidOid;
	for (int i = 0; i < t->ncolumns; i++)
	{
		t->attnums[i] = get_attnum(relid, t->columns[i]);
		if (t->attnums[i] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of \"pipeline.%s\" does not exist", t->columns[i], t->name),
					 errhint("Run ALTER EXTENSION pipeline UPDATE: the library is newer than the objects of the extension.")));
	}
	t->relid = relid;
}

/* Open a table for reading and writing; until pipeline_rows_close(). */
void
pipeline_rows_open(RowTable *t)
{
	Oid			relid = find_relation(t->name);

	Assert(t->ncolumns <= ROW_COLUMNS);
	t->rel = table_open(relid, RowExclusiveLock);
	if (t->relid != relid)
		learn_columns(t, relid);
	t->estate = CreateExecutorState();
	t->info = NULL;
	t->row = table_slot_create(t->rel, NULL);
	t->changed = MakeSingleTupleTableSlot(RelationGetDescr(t->rel), &TTSOpsVirtual);
	t->is_changed = false;
}

/* Close it; its locks stay until the transaction ends. */
void
pipeline_rows_close(RowTable *t)
{
	ExecDropSingleTupleTableSlot(t->row);
	ExecDropSingleTupleTableSlot(t->changed);
	if (t->info)
		ExecCloseIndices(t->info);
	FreeExecutorState(t->estate);
	table_close(t->rel, NoLock);
	t->rel = NULL;
}

static void
begin_scan(RowTable *t, RowScan *scan, const char *index, int nkeys,
		   const Datum *keys, bool from)
{
	ScanKeyData skeys[ROW_KEYS];

	Assert(nkeys <= ROW_KEYS);
	scan->index = index_open(find_relation(index), AccessShareLock);
	for (int i = 0; i < nkeys; i++)
	{
		Oid			opclass_type = scan->index->rd_opcintype[i];
		StrategyNumber strategy = from && i == nkeys - 1 ?
			BTGreaterEqualStrategyNumber : BTEqualStrategyNumber;
		Oid			opr = get_opfamily_member(scan->index->rd_opfamily[i],
											  opclass_type, opclass_type,
											  strategy);

		ScanKeyEntryInitialize(&skeys[i], 0, i + 1, strategy,
							   opclass_type, scan->index->rd_indcollation[i],
							   get_opcode(opr), keys[i]);
	}
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan->desc = index_beginscan(t->rel, scan->index, scan->snapshot, NULL, nkeys, 0, 0);
	index_rescan(scan->desc, skeys, nkeys, NULL, 0);
}

/*
 * Begin to read an index: the rows whose first columns equal the keys, in the
 * order of the index, as they are now.
 */
void
pipeline_rows_begin(RowTable *t, RowScan *scan, const char *index, int nkeys,
					const Datum *keys)
{
	begin_scan(t, scan, index, nkeys, keys, false);
}

/* The same, but the last key is the least that its column may be. */
void
pipeline_rows_begin_from(RowTable *t, RowScan *scan, const char *index,
						 int nkeys, const Datum *keys)
{
	begin_scan(t, scan, index, nkeys, keys, true);
}

/* The next row becomes the current one; false when there is none. */
bool
pipeline_rows_next(RowTable *t, RowScan *scan)
{
	t->is_changed = false;
	return index_getnext_slot(scan->desc, ForwardScanDirection, t->row);
}

/* End the reading; the current row stays. */
void
pipeline_rows_end(RowTable *t, RowScan *scan)
{
	if (!TTS_EMPTY(t->row))
		ExecMaterializeSlot(t->row);
	index_endscan(scan->desc);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, NoLock);
}

/*
 * Lock the current row and read it anew.  False when it is gone, or, if
 * `skip`, when somebody else has it.
 */
bool
pipeline_row_lock(RowTable *t, bool skip)
{
	ItemPointerData tid = t->row->tts_tid;
	TM_FailureData tmfd;
	TM_Result	result;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	result = table_tuple_lock(t->rel, &tid, snapshot, t->row,
							  GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive,
							  skip ? LockWaitSkip : LockWaitBlock,
							  skip ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							  &tmfd);
	UnregisterSnapshot(snapshot);
	t->is_changed = false;
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_Deleted:
			return false;
		case TM_Updated:
		case TM_WouldBlock:
			if (skip)
				return false;
			break;
		default:
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not lock a row of \"pipeline.%s\": another transaction changed it", t->name)));
	return false;
}

/* Find the one row with a key of a unique index; false when there is none. */
bool
pipeline_row_find(RowTable *t, const char *index, int nkeys, const Datum *keys)
{
	RowScan		scan;
	bool		found;

	pipeline_rows_begin(t, &scan, index, nkeys, keys);
	found = pipeline_rows_next(t, &scan);
	pipeline_rows_end(t, &scan);
	return found;
}

/* A column of the current row; by reference until the row changes. */
Datum
pipeline_row_get(RowTable *t, int column, bool *isnull)
{
	return slot_getattr(t->row, t->attnums[column], isnull);
}

/* The same as text, copied; NULL is NULL. */
char *
pipeline_row_text(RowTable *t, int column)
{
	bool		isnull;
	Datum		value = pipeline_row_get(t, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* The same as int4; NULL is an internal error. */
int32
pipeline_row_int4(RowTable *t, int column)
{
	bool		isnull;
	Datum		value = pipeline_row_get(t, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column \"%s\" of \"pipeline.%s\"", t->columns[column], t->name);
	return DatumGetInt32(value);
}

/* Is the text column this string? */
bool
pipeline_row_is(RowTable *t, int column, const char *string)
{
	bool		isnull;
	Datum		value = pipeline_row_get(t, column, &isnull);
	text	   *packed;
	bool		same;

	if (isnull)
		return false;
	packed = DatumGetTextPP(value);
	same = VARSIZE_ANY_EXHDR(packed) == strlen(string) &&
		memcmp(VARDATA_ANY(packed), string, strlen(string)) == 0;
	if ((Pointer) packed != DatumGetPointer(value))
		pfree(packed);
	return same;
}

/* Begin a new row: all NULL, for pipeline_row_set() and _insert(). */
void
pipeline_row_new(RowTable *t)
{
	ExecClearTuple(t->row);
	ExecStoreAllNullTuple(t->changed);
	t->is_changed = true;
}

/* Set a column of the current row, for pipeline_row_update() or _insert(). */
void
pipeline_row_set(RowTable *t, int column, Datum value, bool isnull)
{
	int			i = t->attnums[column] - 1;

	if (!t->is_changed)
	{
		int			natts = RelationGetDescr(t->rel)->natts;

		slot_getallattrs(t->row);
		ExecClearTuple(t->changed);
		memcpy(t->changed->tts_values, t->row->tts_values, natts * sizeof(Datum));
		memcpy(t->changed->tts_isnull, t->row->tts_isnull, natts * sizeof(bool));
		ExecStoreVirtualTuple(t->changed);
		t->is_changed = true;
	}
	t->changed->tts_values[i] = value;
	t->changed->tts_isnull[i] = isnull;
}

/* A text column; the string may be NULL. */
void
pipeline_row_set_text(RowTable *t, int column, const char *string)
{
	pipeline_row_set(t, column, string ? CStringGetTextDatum(string) : (Datum) 0,
					 string == NULL);
}

static void
open_indexes(RowTable *t)
{
	if (t->info)
		return;
	t->info = makeNode(ResultRelInfo);
	/* It is in no range table: nothing asks which columns change. */
	InitResultRelInfo(t->info, t->rel, 0, NULL, 0);
	t->info->ri_TrigDesc = NULL;
	ExecOpenIndices(t->info, false);
}

/* What the next look sees. */
static void
after_change(RowTable *t)
{
	ResetPerTupleExprContext(t->estate);
	t->is_changed = false;
	CommandCounterIncrement();
}

/* Write the changed current row, which is locked; it stays the current one. */
void
pipeline_row_update(RowTable *t)
{
	TU_UpdateIndexes indexes;
	TupleTableSlot *slot = t->row;
	ItemPointerData tid = t->row->tts_tid;
	HeapTuple	tuple;

	open_indexes(t);
	/* The values may point into the row that is replaced. */
	tuple = ExecCopySlotHeapTuple(t->changed);
	ExecForceStoreHeapTuple(tuple, slot, true);
	slot->tts_tableOid = RelationGetRelid(t->rel);
	simple_table_tuple_update(t->rel, &tid, slot, InvalidSnapshot, &indexes);
	if (indexes != TU_None)
		(void) ExecInsertIndexTuples(t->info, t->estate,
									 EIIT_IS_UPDATE | (indexes == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0),
									 slot, NIL, NULL);
	after_change(t);
}

/* Write the new row; it becomes the current one. */
void
pipeline_row_insert(RowTable *t)
{
	HeapTuple	tuple = ExecCopySlotHeapTuple(t->changed);

	open_indexes(t);
	ExecForceStoreHeapTuple(tuple, t->row, true);
	t->row->tts_tableOid = RelationGetRelid(t->rel);
	simple_table_tuple_insert(t->rel, t->row);
	(void) ExecInsertIndexTuples(t->info, t->estate, 0, t->row, NIL, NULL);
	after_change(t);
}
