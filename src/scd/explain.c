/*
 * explain.c
 *	  explain_merge(): which way a merge would take, and why.
 */
#include "postgres.h"

#include <math.h>

#include "executor/nodeHash.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "scd/live.h"

PG_FUNCTION_INFO_V1(pipeline_explain_merge);

static void
put_line(ReturnSetInfo *rsinfo, const char *line)
{
	Datum		value = CStringGetTextDatum(line);
	bool		isnull = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
}

static void
put_way(ReturnSetInfo *rsinfo, const char *what, const char *obstacle)
{
	put_line(rsinfo, obstacle == NULL ? psprintf("%s: directly", what) :
			 psprintf("%s: by the executor, since %s", what, obstacle));
}

/* How much memory the current versions would take. */
static char *
memory_line(const MergePlan *plan)
{
	double		rows = 0;
	double		limit = get_hash_memory_limit();
	double		bytes;
	double		buckets = 1024;

	(void) pipeline_sql_generated(psprintf("SELECT reltuples::pg_catalog.float8"
										   " FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) %u",
										   plan->dimension->relid), SPI_OK_SELECT, true);
	{
		bool		isnull;

		rows = Max(DatumGetFloat8(pipeline_sql_datum(0, 1, &isnull)), 0);
	}
	while (rows * 4 > buckets * 3)
		buckets *= 2;
	bytes = rows * sizeof(LiveEntry) + buckets * sizeof(LiveBucket);
	return psprintf("memory: about %.0f MB for %.0f versions, limit %.0f MB (work_mem x hash_mem_multiplier): %s",
					ceil(bytes / 1048576), rows, limit / 1048576,
					bytes <= limit ? "all in memory" : "in partitions on disk");
}

static void
explain(ReturnSetInfo *rsinfo, const MergePlan *plan)
{
	const char *events = pipeline_scd_events_reason(plan->dimension);
	const char *read = pipeline_scd_read_obstacle(plan);
	const char *write = pipeline_scd_write_obstacle(plan, events != NULL);

	if (events != NULL)
	{
		put_line(rsinfo, "path: events");
		put_line(rsinfo, psprintf("why: %s", events));
		put_line(rsinfo, "table read: by the executor, the history of each key that the batch names");
		put_way(rsinfo, "table written", write);
		put_line(rsinfo, "source: by the executor");
		return;
	}
	put_line(rsinfo, psprintf("path: %s", read != NULL ? "executor" :
							  write != NULL ? "direct read" : "direct"));
	put_way(rsinfo, "table read", read);
	put_way(rsinfo, "table written", write);
	put_way(rsinfo, "source", read != NULL ? "the table is read by it" :
			pipeline_scd_source_obstacle(plan));
	if (read == NULL)
		put_line(rsinfo, memory_line(plan));
}

/*
 * SQL: explain_merge(dimension regclass).  Reads definitions and catalogues,
 * never the source; changes nothing.
 */
Datum
pipeline_explain_merge(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid;
	Dimension  *dimension;
	Source	   *source;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "dimension");
	relid = PG_GETARG_OID(0);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	dimension = pipeline_scd_find(relid, false);
	pipeline_check_owner(dimension->owner, "dimension", dimension->name);
	LockRelationOid(relid, AccessShareLock);
	pipeline_user_begin(&scope, dimension->owner, dimension->search_path);
	source = pipeline_source(dimension->source, "source");
	pipeline_scd_resolve(dimension, source);
	dimension->added = NIL;
	pipeline_scd_check_table(dimension);
	explain(rsinfo, pipeline_scd_plan(dimension, source));
	pipeline_scope_end(&scope);
	SPI_finish();
	return (Datum) 0;
}
