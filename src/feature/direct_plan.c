/*
 * direct_plan.c
 *	  May a plan be carried out past the executor, and how?
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "feature/direct_scan.h"

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

/*
 * The scans of single tables that the plan is made of; NIL if it is more than
 * that, or some table needs the executor.
 */
List *
direct_plain_scans(const PlannedStmt *stmt)
{
	Plan	   *top = stmt->planTree;
	List	   *scans;
	ListCell   *lc;

	if (stmt->subplans != NIL || stmt->rowMarks != NIL || !CheckPlanPermissions(stmt))
		return NIL;
	if (IsA(top, Append) && !append_prunes_late((Append *) top) &&
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

/* Open the table of one of the plan's scans, which was found to be plain. */
DirectScan *
direct_scan_open(FeatureReceiver *receiver, const PlannedStmt *stmt,
				 const Plan *plan, const ScanBounds *bounds)
{
	DirectScan *scan = palloc0(sizeof(DirectScan));

	scan->receiver = receiver;
	scan->run = receiver->run;
	scan->bounds = bounds;
	scan->rel = table_open(rt_fetch(((const Scan *) plan)->scanrelid, stmt->rtable)->relid,
						   NoLock);
	scan_init(scan, plan);
	return scan;
}

/* Let go of it. */
void
direct_scan_close(DirectScan *scan)
{
	if (scan->any_expression)
		ExecDropSingleTupleTableSlot(scan->slot);
	FreeExprContext(scan->econtext, true);
	table_close(scan->rel, NoLock);
	pfree(scan);
}
