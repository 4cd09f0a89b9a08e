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
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "storage/bufmgr.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "feature/read.h"

#define DIRECT_BATCH 128

typedef enum OutputKind
{
	OUTPUT_COLUMN,				/* as it is stored */
	OUTPUT_DATE,				/* a date's midnight */
	OUTPUT_EXPRESSION
} OutputKind;

/* One column of the scan. */
typedef struct Output
{
	OutputKind	kind;
	int			att;			/* from 0 */
	ExprState  *expr;
} Output;

/* What taking a column out of a tuple needs to know. */
typedef struct DirectAttribute
{
	int16		len;
	bool		byval;
	char		align;
} DirectAttribute;

/* A tuple of the page at hand that waits for its entity to be looked up. */
typedef struct DirectRow
{
	HeapTupleData tuple;
	uint32		hash;
	int64		time;
	int64		known;
} DirectRow;

typedef struct DirectScan
{
	FeatureReceiver *receiver;
	FeatureRun *run;
	const ScanBounds *bounds;
	Relation	rel;
	Output	   *outputs;
	int			noutputs;
	int			time;			/* place among the outputs; keys lie before it */
	int			natts_early;	/* to take out for the time and the entity */
	int			natts_late;		/* and for all the rest */
	bool		simple;			/* bounds are compared here */
	bool		any_expression;
	bool		keys_expression;	/* or condition: before the entity is known */
	bool		whole_tuples;	/* of the spine: they are copied as they are */
	ExprState  *qual;			/* or NULL */
	ExprContext *econtext;
	TupleTableSlot *slot;
	DirectAttribute *atts;
	Datum	   *values;			/* of the tuple at hand */
	bool	   *nulls;
	Datum	   *out_values;		/* by output */
	bool	   *out_nulls;
	Datum	   *keys;			/* of the tuple at hand */
	Datum	   *words;			/* of the entities of rows, nkeys each */
	int			nrows;
	Buffer		buffer;			/* pinned while rows wait */
	DirectRow	rows[DIRECT_BATCH];
} DirectScan;

/* ---- out of a tuple ------------------------------------------------------------- */

/* Take the first `natts` columns out of a tuple. */
static void
deform(DirectScan *scan, HeapTupleHeader tuple, int natts)
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
static inline Datum
output_value(DirectScan *scan, int number, bool *isnull)
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
		deform(scan, row->tuple.t_data, scan->natts_late);
		for (int i = 0; i < run->plan->spine->columns->natts; i++)
			scan->out_values[i] = output_value(scan, i, &scan->out_nulls[i]);
		tuple = heap_form_minimal_tuple(run->plan->spine->columns,
										scan->out_values, scan->out_nulls, 0);
		length = tuple->t_len;
	}
	record = record_store_reserve(run->store, header + MAXALIGN(length));
	record->time = row->time;
	record->key = key;
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
	record_store_append(run->store);
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
		deform(scan, row->tuple.t_data, scan->natts_late);
		for (int i = 0; i < ninputs; i++)
			scan->out_values[i] = output_value(scan, receiver->nkeys + i,
											   &scan->out_nulls[i]);
		if (!event_take_inputs(receiver, scan->out_values, scan->out_nulls, bits,
							   &size))
		{
			scan->run->counts.events_filtered++;
			return;
		}
	}
	record = record_store_reserve(scan->run->store, size);
	record->time = row->time;
	record->key = key;
	record->stream = receiver->number;
	if (stream->knowledge_time != NULL)
		*(int64 *) ((char *) record + record_known_offset(stream)) = row->known;
	event_put_inputs(receiver, record, bits);
	record_store_append(scan->run->store);
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

/* Count a row of the spine; false: it is left out. */
static bool
count_spine_row(DirectScan *scan, bool has_null, int64 time)
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
		  DatumGetBool(output_value(scan, scan->time + 1, &isnull))))
	{
		run->counts.rows_beyond_as_of++;
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

	deform(scan, tuple->t_data, scan->natts_early);
	if (scan->simple)
	{
		value = output_value(scan, scan->time, &isnull);
		if (!isnull && !within_bounds(scan, DatumGetInt64(value)))
			return false;
	}
	if (scan->keys_expression)
	{
		ExecStoreBufferHeapTuple(tuple, scan->slot, buffer);
		if (scan->qual != NULL && !ExecQual(scan->qual, scan->econtext))
			return false;
	}
	value = output_value(scan, scan->time, &has_null);
	row->time = has_null ? 0 : DatumGetInt64(value);
	if (receiver->stream != NULL && receiver->stream->knowledge_time != NULL)
	{
		value = output_value(scan, scan->time + 1, &isnull);
		if (!isnull && scan->simple && scan->bounds->as_of != NULL &&
			DatumGetInt64(value) >= *scan->bounds->as_of)
			return false;
		row->known = isnull ? 0 : DatumGetInt64(value);
		has_null |= isnull;
	}
	for (int i = 0; i < plan->nkeys; i++)
	{
		scan->keys[i] = output_value(scan, scan->time - plan->nkeys + i, &isnull);
		has_null |= isnull;
	}
	if (receiver->stream == NULL ? !count_spine_row(scan, has_null, row->time) :
		!count_event(scan, has_null))
		return false;
	if (!key_table_words(scan->run->keys, scan->keys, receiver->stream == NULL,
						 &scan->words[scan->nrows * plan->nkeys], &row->hash))
	{
		scan->run->counts.events_unknown++;
		return false;
	}
	row->tuple = *tuple;
	key_table_prefetch_bucket(scan->run->keys, row->hash);
	return true;
}

/* Read one table. */
static void
scan_table(DirectScan *scan)
{
	TableScanDesc heap = table_beginscan(scan->rel, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;
	MemoryContext before;

	/* What is made of tuples lasts while they wait. */
	before = MemoryContextSwitchTo(scan->econtext->ecxt_per_tuple_memory);
	while ((tuple = heap_getnext(heap, ForwardScanDirection)) != NULL)
	{
		Buffer		buffer = ((HeapScanDesc) heap)->rs_cbuf;

		if (buffer != scan->buffer)
		{
			flush_rows(scan);
			CHECK_FOR_INTERRUPTS();
		}
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
	table_endscan(heap);
}

/* ---- may it be done, and how ------------------------------------------------------------ */

/* Is there anything that only an executor's own state can evaluate? */
static bool
needs_executor(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) || IsA(node, Param))
		return true;
	if (IsA(node, Var) && ((Var *) node)->varattno <= 0)
		return true;
	return expression_tree_walker(node, needs_executor, context);
}

/* Can the plan's scan of one table be done here? */
static bool
is_plain_scan(const PlannedStmt *stmt, const Plan *plan)
{
	RangeTblEntry *rte;
	Relation	rel;
	Bitmapset  *read = NULL;
	AttrNumber *columns;
	int			ncolumns = 0;
	int			member = -1;
	const char *obstacle;

	if (!IsA(plan, SeqScan) || plan->initPlan != NIL ||
		needs_executor((Node *) plan->targetlist, NULL) ||
		needs_executor((Node *) plan->qual, NULL))
		return false;
	rte = rt_fetch(((const Scan *) plan)->scanrelid, stmt->rtable);
	pull_varattnos((Node *) plan->targetlist, ((const Scan *) plan)->scanrelid, &read);
	pull_varattnos((Node *) plan->qual, ((const Scan *) plan)->scanrelid, &read);
	columns = palloc_array(AttrNumber, bms_num_members(read) + 1);
	while ((member = bms_next_member(read, member)) >= 0)
		columns[ncolumns++] = member + FirstLowInvalidHeapAttributeNumber;
	rel = table_open(rte->relid, NoLock);
	obstacle = pipeline_direct_read_obstacle(rel, columns, ncolumns);
	table_close(rel, NoLock);
	return obstacle == NULL;
}

/* The scans of single tables that the plan is made of, or NIL. */
static List *
plain_scans(const PlannedStmt *stmt)
{
	Plan	   *top = stmt->planTree;
	List	   *scans;
	ListCell   *lc;

	if (stmt->subplans != NIL || stmt->rowMarks != NIL || !CheckPlanPermissions(stmt))
		return NIL;
	if (IsA(top, Append) && ((Append *) top)->part_prune_info == NULL &&
		top->qual == NIL)
		scans = ((Append *) top)->appendplans;
	else
		scans = list_make1(top);
	foreach(lc, scans)
	{
		if (list_length(((Plan *) lfirst(lc))->targetlist) != list_length(top->targetlist) ||
			!is_plain_scan(stmt, lfirst(lc)))
			return NIL;
	}
	/* Row security of what the tables were reached through. */
	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (OidIsValid(rte->relid) &&
			check_enable_rls(rte->relid, InvalidOid, true) == RLS_ENABLED)
			return NIL;
	}
	return scans;
}

static void
output_init(DirectScan *scan, Output *output, Node *expr, int *natts)
{
	Node	   *bare = expr;
	Node	   *argument;

	while (IsA(bare, RelabelType))
		bare = (Node *) ((RelabelType *) bare)->arg;
	output->kind = OUTPUT_EXPRESSION;
	if (IsA(bare, FuncExpr) && list_length(((FuncExpr *) bare)->args) == 1)
	{
		argument = linitial(((FuncExpr *) bare)->args);
		switch (((FuncExpr *) bare)->funcid)
		{
			case F_INT8_INT4:
			case F_INT8_INT2:
			case F_INT4_INT2:
				/* Datums of integers are sign-extended: they are the same. */
				if (IsA(argument, Var))
					bare = argument;
				break;
			case F_TIMESTAMP_DATE:
				if (IsA(argument, Var))
				{
					bare = argument;
					output->kind = OUTPUT_DATE;
				}
				break;
		}
	}
	if (IsA(bare, Var))
	{
		if (output->kind == OUTPUT_EXPRESSION)
			output->kind = OUTPUT_COLUMN;
		output->att = ((Var *) bare)->varattno - 1;
		*natts = Max(*natts, output->att + 1);
		return;
	}
	output->expr = ExecInitExpr((Expr *) expr, NULL);
	scan->any_expression = true;
}

/* Are the bounds mere comparisons of what is stored as it is compared? */
static bool
bounds_are_simple(const DirectScan *scan, List *targetlist)
{
	const ScanBounds *bounds = scan->bounds;
	const Stream *stream = scan->receiver->stream;
	TargetEntry *time = list_nth_node(TargetEntry, targetlist, scan->time);

	if (scan->outputs[scan->time].kind == OUTPUT_EXPRESSION)
		return false;
	if ((bounds->from || bounds->to) && exprType((Node *) time->expr) != bounds->type)
		return false;
	if (bounds->as_of == NULL)
		return true;
	if (exprType((Node *) time->expr) != TIMESTAMPTZOID)
		return false;
	if (stream == NULL || stream->knowledge_time == NULL)
		return true;
	time = list_nth_node(TargetEntry, targetlist, scan->time + 1);
	return scan->outputs[scan->time + 1].kind == OUTPUT_COLUMN &&
		exprType((Node *) time->expr) == TIMESTAMPTZOID;
}

/* Does the plan ask no more than our bounds? */
static bool
only_bounds(const DirectScan *scan)
{
	const FeatureReceiver *receiver = scan->receiver;
	Oid			relid = receiver->stream ? receiver->stream->source->relid :
		receiver->plan->spine->relid;

	return OidIsValid(relid) &&
		(relid == RelationGetRelid(scan->rel) ||
		 get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE);
}

static void
init_columns(DirectScan *scan)
{
	TupleDesc	desc = RelationGetDescr(scan->rel);

	scan->atts = palloc_array(DirectAttribute, desc->natts + 1);
	scan->values = palloc0_array(Datum, desc->natts + 1);
	scan->nulls = palloc0_array(bool, desc->natts + 1);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		scan->atts[i].len = att->attlen;
		scan->atts[i].byval = att->attbyval;
		scan->atts[i].align = att->attalign;
	}
}

/* Are the spine's columns those of the table, one by one? */
static bool
copies_tuples(const DirectScan *scan)
{
	int			natts = scan->receiver->plan->spine->columns->natts;

	if (scan->receiver->stream != NULL ||
		natts != RelationGetDescr(scan->rel)->natts)
		return false;
	for (int i = 0; i < natts; i++)
	{
		if (scan->outputs[i].kind != OUTPUT_COLUMN || scan->outputs[i].att != i)
			return false;
	}
	return true;
}

/* Get ready to do what the plan of one table says. */
static void
scan_init(DirectScan *scan, const Plan *plan)
{
	const FeatureReceiver *receiver = scan->receiver;
	int			early_end;
	ListCell   *lc;

	init_columns(scan);
	scan->noutputs = list_length(plan->targetlist);
	scan->outputs = palloc0_array(Output, scan->noutputs);
	scan->out_values = palloc0_array(Datum, scan->noutputs);
	scan->out_nulls = palloc0_array(bool, scan->noutputs);
	scan->keys = palloc_array(Datum, receiver->plan->nkeys);
	scan->words = palloc_array(Datum, DIRECT_BATCH * receiver->plan->nkeys);
	scan->time = receiver->first + receiver->plan->nkeys;
	early_end = receiver->first + receiver->nkeys;
	foreach(lc, plan->targetlist)
	{
		int			i = foreach_current_index(lc);
		bool		early = i >= receiver->first && i < early_end;

		output_init(scan, &scan->outputs[i],
					(Node *) lfirst_node(TargetEntry, lc)->expr,
					early ? &scan->natts_early : &scan->natts_late);
		if (early && scan->outputs[i].kind == OUTPUT_EXPRESSION)
			scan->keys_expression = true;
	}
	scan->natts_late = Max(scan->natts_late, scan->natts_early);
	scan->simple = bounds_are_simple(scan, plan->targetlist);
	if (plan->qual != NIL && !(scan->simple && only_bounds(scan)))
		scan->qual = ExecInitQual(plan->qual, NULL);
	/* The spine's last column says whether the row is before as_of. */
	if (scan->qual != NULL || (receiver->stream == NULL && !scan->simple))
		scan->keys_expression = true;
	scan->any_expression |= scan->keys_expression;
	scan->whole_tuples = copies_tuples(scan);
	scan->econtext = CreateStandaloneExprContext();
	if (scan->any_expression)
	{
		scan->slot = MakeSingleTupleTableSlot(RelationGetDescr(scan->rel),
											  &TTSOpsBufferHeapTuple);
		scan->econtext->ecxt_scantuple = scan->slot;
	}
}

/*
 * Read what the plan reads into the run's store, if it only scans tables and
 * none needs the executor; return whether it was done.
 */
bool
direct_scan(FeatureReceiver *receiver, const PlannedStmt *stmt,
			const ScanBounds *bounds)
{
	List	   *scans = plain_scans(stmt);
	ListCell   *lc;

	foreach(lc, scans)
	{
		const Plan *plan = lfirst(lc);
		DirectScan *scan = palloc0(sizeof(DirectScan));
		RangeTblEntry *rte = rt_fetch(((const Scan *) plan)->scanrelid, stmt->rtable);

		scan->receiver = receiver;
		scan->run = receiver->run;
		scan->bounds = bounds;
		scan->rel = table_open(rte->relid, NoLock);
		scan_init(scan, plan);
		scan_table(scan);
		if (scan->any_expression)
			ExecDropSingleTupleTableSlot(scan->slot);
		FreeExprContext(scan->econtext, true);
		table_close(scan->rel, NoLock);
		pfree(scan);
	}
	return scans != NIL;
}
