/*
 * plan_sizes.c
 *	  Plan our own statements as for large tables of which nothing is known.
 *
 * A plan of ours is made once and kept, maybe while the tables are empty or
 * after an ANALYZE of a quiet night, and has to be good when ten thousand
 * alerts come at once: for an empty table reading all of an index inside of a
 * loop costs no more than one look-up, and then takes minutes.  So the planner
 * is given the same sizes whatever the tables hold, and no statistics but
 * one: an index with a condition is there for few rows.  A statement always
 * has the same plan, and that goes by the indexes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_statistic.h"
#include "nodes/pathnodes.h"
#include "optimizer/pathnode.h"
#include "optimizer/plancat.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "base/base.h"
#include "base/plan_sizes.h"
#include "compat.h"

/* Rows of a table, and how many a page of it, or of an index, holds. */
#define TABLE_ROWS 100000.0
#define TABLE_PAGE_ROWS 50
#define INDEX_PAGE_ROWS 200
/* The part of the rows that an index with a condition holds. */
#define FEW 0.01

bool		pipeline_plan_sizes_fixed = false;

static build_simple_rel_hook_type previous_rel_hook = NULL;
static get_relation_stats_hook_type previous_stats_hook = NULL;

/* Is it a table of ours, in a statement of ours? */
static bool
is_own_table(const RangeTblEntry *rte)
{
	return pipeline_plan_sizes_fixed && rte->rtekind == RTE_RELATION &&
		rte->relkind == RELKIND_RELATION &&
		get_rel_namespace(rte->relid) == get_namespace_oid("pipeline", true);
}

/* Give the planner the sizes of a table and its indexes. */
static void
fix_sizes(BUILD_SIMPLE_REL_PARAMETERS)
{
	ListCell   *lc;

	if (previous_rel_hook)
		previous_rel_hook(BUILD_SIMPLE_REL_ARGUMENTS);
	if (!is_own_table(planner_rt_fetch(rel->relid, root)))
		return;
	rel->tuples = TABLE_ROWS;
	rel->pages = TABLE_ROWS / TABLE_PAGE_ROWS;
	rel->allvisfrac = 0;
	foreach(lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst(lc);

		index->tuples = index->indpred == NIL ? TABLE_ROWS : TABLE_ROWS * FEW;
		index->pages = index->tuples / INDEX_PAGE_ROWS;
		index->tree_height = 2;
	}
}

/* Is there an index of the rows in which this column is not null? */
static bool
has_index_of_values(const RelOptInfo *rel, AttrNumber attnum)
{
	ListCell   *li;
	ListCell   *lp;

	foreach(li, rel->indexlist)
	{
		foreach(lp, ((IndexOptInfo *) lfirst(li))->indpred)
		{
			const NullTest *test = lfirst(lp);

			if (IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL &&
				IsA(test->arg, Var) && ((Var *) test->arg)->varattno == attnum)
				return true;
		}
	}
	return false;
}

/* Statistics of a column that is nearly always null. */
static HeapTuple
mostly_null(Oid relid, AttrNumber attnum)
{
	Relation	statistics = table_open(StatisticRelationId, AccessShareLock);
	Datum		values[Natts_pg_statistic] = {0};
	bool		nulls[Natts_pg_statistic] = {0};
	HeapTuple	tuple;

	values[Anum_pg_statistic_starelid - 1] = ObjectIdGetDatum(relid);
	values[Anum_pg_statistic_staattnum - 1] = Int16GetDatum(attnum);
	values[Anum_pg_statistic_stanullfrac - 1] = Float4GetDatum(1 - FEW);
	for (int i = 0; i < STATISTIC_NUM_SLOTS; i++)
	{
		nulls[Anum_pg_statistic_stanumbers1 - 1 + i] = true;
		nulls[Anum_pg_statistic_stavalues1 - 1 + i] = true;
	}
	tuple = heap_form_tuple(RelationGetDescr(statistics), values, nulls);
	table_close(statistics, AccessShareLock);
	return tuple;
}

/* Withhold the statistics of a column, or make some up. */
static bool
withhold_stats(PlannerInfo *root, RangeTblEntry *rte, AttrNumber attnum,
			   VariableStatData *vardata)
{
	if (!is_own_table(rte))
		return previous_stats_hook && previous_stats_hook(root, rte, attnum, vardata);
	vardata->statsTuple = NULL;
	vardata->freefunc = heap_freetuple;
	if (vardata->rel && has_index_of_values(vardata->rel, attnum))
		vardata->statsTuple = mostly_null(rte->relid, attnum);
	return true;
}

/* Register the hooks; they do nothing but for statements of ours. */
void
pipeline_plan_sizes_init(void)
{
	previous_rel_hook = build_simple_rel_hook;
	build_simple_rel_hook = fix_sizes;
	previous_stats_hook = get_relation_stats_hook;
	get_relation_stats_hook = withhold_stats;
}
