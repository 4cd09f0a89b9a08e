/*
 * check_way.c
 *	  Which way a check of a distribution takes: a sketch, counts of bins, or the
 *	  values themselves, which are few or not.
 *
 * Values themselves are held back until the end of the scan; a worker of a
 * parallel one then has to send them.  That pays if they are few, which only
 * statistics can tell before: without them, or where they are many, such checks
 * have a scan of their own in one process (check_run.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_statistic.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "expect/sketch.h"

#define SLOT_BYTES 64			/* of a value in a hash, beside its own */

/*
 * May the verdict come from a sketch?  Of quantiles the rank is then off by one
 * percent of the rows, the number of distinct values by 2.5 percent of itself:
 * who allows less gets what is exact.
 */
bool
pipeline_is_sketched(const ScanTarget *target, const Check *check)
{
	JsonbValue	buf;
	JsonbValue *v = check->type->kind == CHECK_DISTRIBUTION ?
		pipeline_kwarg(check->kwargs, "allow_relative_error", &buf) : NULL;
	bool		ranks = check->type->sub == SUB_MEDIAN || check->type->sub == SUB_QUANTILES;

	if (v == NULL || (v->type == jbvBool && !v->val.boolean) || v->type == jbvString ||
		(v->type == jbvNumeric && pipeline_json_number(v) < (ranks ? SKETCH_RANK_ERROR : SKETCH_DISTINCT_ERROR)))
		return false;
	return pipeline_is_sketchable(pipeline_column_attribute(target, pipeline_kwarg_text(check->kwargs, "column"))->atttypid);
}

/* Are only counts of bins wanted of it? */
bool
pipeline_is_binned(const Check *check)
{
	const Jsonb *kwargs = check->reference ? check->reference : check->kwargs;
	Jsonb	   *partition = check->type->sub == SUB_KL || check->type->sub == SUB_DRIFT ?
		pipeline_kwarg_json(kwargs, "partition_object") : NULL;

	return partition != NULL && pipeline_kwarg_json(partition, "bins") != NULL;
}

/* Has the column, by its statistics, so few values that they fit into a hash with room to spare? */
bool
pipeline_has_few_values(const ScanTarget *target, const char *column)
{
	Relation	rel = relation_open(target->source->relid, NoLock);
	double		rows = rel->rd_rel->reltuples;
	AttrNumber	attnum = get_attnum(target->source->relid, column);
	bool		children = rel->rd_rel->relhassubclass;
	HeapTuple	tuple = SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(target->source->relid),
										Int16GetDatum(attnum), BoolGetDatum(children));
	bool		few = false;

	relation_close(rel, NoLock);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_statistic statistics = (Form_pg_statistic) GETSTRUCT(tuple);
		double		distinct = statistics->stadistinct < 0 ? -statistics->stadistinct * rows : statistics->stadistinct;

		few = rows > 0 && distinct <= rows / 10 &&
			distinct * (statistics->stawidth + SLOT_BYTES) <= work_mem * 1024.0 / 4;
		ReleaseSysCache(tuple);
	}
	return few;
}
