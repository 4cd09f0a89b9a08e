/*
 * lookup.c
 *	  Read the events of a few entities by an index, instead of all that lie
 *	  within the time.
 *
 * The entities of the spine are given to the statement as arrays, and the
 * planner says what it would cost to look each of them up: where that is far
 * less than to read the source, it is done so.  Only for columns whose
 * equality is that of their bytes or their integer, and whose own equality
 * takes values of the entity's type: a cast would keep an index from serving.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/params.h"
#include "utils/lsyscache.h"

#include "feature/read.h"

/* Above that, the arrays themselves cost more than they are worth. */
#define MAX_LOOKUPS 10000

/* No lookup is planned for less, in the planner's units. */
#define LEAST_COST 0.25

/* A row of a lookup costs so many times what one of a scan past the executor does. */
#define LOOKUP_COST 4

/* Does an index of one type serve values of the other? */
static bool
is_served(Oid indexed, Oid value)
{
	const bool	integers = (indexed == INT2OID || indexed == INT4OID || indexed == INT8OID) &&
		(value == INT2OID || value == INT4OID || value == INT8OID);
	const bool	strings = (indexed == TEXTOID || indexed == VARCHAROID) &&
		(value == TEXTOID || value == VARCHAROID);

	return indexed == value || integers || strings;
}

static bool
is_possible(const FeatureRun *run, const StreamScan *scan)
{
	const Stream *stream = scan->stream;

	if (run->nkeys > MAX_LOOKUPS || run->range->entity != NIL ||
		!key_table_has_values(run->keys) ||
		scan->stmt->planTree->total_cost < LEAST_COST * LOOKUP_COST * run->nkeys)
		return false;
	for (int i = 0; i < run->plan->nkeys; i++)
	{
		const char *column = list_nth(stream->entity, i);

		if (!is_served(plan_source_attribute(stream->source, column, "entity")->atttypid,
					   run->plan->key_types[i]))
			return false;
	}
	return true;
}

/* Is the plan more than a scan of everything, once for all entities? */
static bool
looks_up(const Plan *plan)
{
	if (plan == NULL)
		return false;
	return IsA(plan, NestLoop) || looks_up(plan->lefttree) || looks_up(plan->righttree) ||
		(IsA(plan, SubqueryScan) && looks_up(((const SubqueryScan *) plan)->subplan));
}

/*
 * Let the stream be read by the entities that the spine has, if that is much
 * cheaper than the plan that the scan has already.
 */
void
lookup_instead(FeatureRun *run, StreamScan *scan)
{
	ParamListInfo params;
	PlannedStmt *stmt;
	char	   *sql;

	if (!is_possible(run, scan))
		return;
	params = scan_params(&scan->bounds, run->plan->nkeys);
	for (int i = 0; i < run->plan->nkeys; i++)
	{
		ParamExternData *param = &params->params[SCAN_PARAMS + i];

		param->ptype = get_array_type(run->plan->key_types[i]);
		param->pflags = PARAM_FLAG_CONST;
		param->isnull = false;
		param->value = key_table_array(run->keys, i, run->plan->key_types[i]);
	}
	sql = feature_lookup_sql(run->plan, scan->stream, run->range);
	stmt = scan_plan(sql, params, false);
	if (!looks_up(stmt->planTree) ||
		stmt->planTree->total_cost * LOOKUP_COST > scan->stmt->planTree->total_cost)
		return;
	scan->sql = sql;
	scan->stmt = stmt;
	scan->lookup = true;
}
