/*
 * serve.c
 *	  SQL: latest_features() and current_features(), one entity's features as
 *	  they are stored, and as they are now.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "feature/refresh.h"

/* The values of an entity, in the order of the set's columns. */
static List *
entity_values(const FeatureSet *set, const Jsonb *entity)
{
	const char **allowed = palloc0_array(const char *, list_length(set->entity) + 1);
	List	   *values = NIL;
	ListCell   *lc;

	foreach(lc, set->entity)
		allowed[foreach_current_index(lc)] = lfirst(lc);
	pipeline_check_keys(entity, "entity", allowed);
	foreach(lc, set->entity)
	{
		char	   *value = pipeline_jsonb_key(entity, lfirst(lc));

		if (value == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"entity\" has no key \"%s\"", (char *) lfirst(lc)),
					 errdetail("The entity of feature set \"%s\" is: %s.", set->name,
							   pipeline_list_join(set->entity, ", "))));
		values = lappend(values, value);
	}
	return values;
}

/* A value of a column of that relation, as a literal. */
static char *
literal_of(const char *value, Oid type)
{
	return psprintf("%s::%s", quote_literal_cstr(value),
					format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY));
}

static void
load_arguments(FunctionCallInfo fcinfo, FeatureSet **set, List **values)
{
	pipeline_not_null(fcinfo, 0, "set");
	pipeline_not_null(fcinfo, 1, "entity");
	*set = feature_set_load(pipeline_arg_text(fcinfo, 0));
	*values = entity_values(*set, pipeline_arg_jsonb(fcinfo, 1));
}

/* The one jsonb that a generated statement returns, or NULL. */
static Jsonb *
one_jsonb(const char *sql, MemoryContext context)
{
	Jsonb	   *result = NULL;
	Datum		value;
	bool		isnull;

	if (pipeline_sql_generated(sql, SPI_OK_SELECT, true) > 0)
	{
		value = pipeline_sql_datum(0, 1, &isnull);
		context = MemoryContextSwitchTo(context);
		if (!isnull)
			result = DatumGetJsonbPCopy(value);
		MemoryContextSwitchTo(context);
	}
	return result;
}

/* ---- latest_features ------------------------------------------------------------------- */

static char *
latest_sql(const FeatureSet *set, const List *values)
{
	Oid			relid = target_oid(set);
	StringInfoData sql;
	ListCell   *lc;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("target %s of feature set \"%s\" does not exist", set->target, set->name),
				 errhint("pipeline.refresh_features() makes it.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pg_catalog.to_jsonb(latest) FROM (SELECT target.* FROM %s AS target WHERE true", set->target);
	foreach(lc, set->entity)
	{
		AttrNumber	column = get_attnum(relid, lfirst(lc));

		if (column == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of target %s does not exist",
							(char *) lfirst(lc), set->target)));
		appendStringInfo(&sql, " AND target.%s OPERATOR(pg_catalog.=) %s",
						 quote_identifier(lfirst(lc)),
						 literal_of(list_nth(values, foreach_current_index(lc)),
									get_atttype(relid, column)));
	}
	appendStringInfo(&sql, " ORDER BY target.%s DESC LIMIT 1) latest",
					 quote_identifier(set->event_time));
	return sql.data;
}

PG_FUNCTION_INFO_V1(pipeline_latest_features);

/* SQL: latest_features(set, entity): the last row of an entity in the target. */
Datum
pipeline_latest_features(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	FeatureSet *set;
	List	   *values;
	UserScope	scope;
	Jsonb	   *result;

	SPI_connect();
	load_arguments(fcinfo, &set, &values);
	feature_set_begin(set, &scope);
	result = one_jsonb(latest_sql(set, values), context);
	pipeline_scope_end(&scope);
	SPI_finish();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

/* ---- current_features ---------------------------------------------------------------------- */

/* A spine of one row: the entity, at that time. */
static char *
one_row_spine(const FeatureSet *set, const List *values, TimestampTz at)
{
	Source	   *spine = pipeline_source(set->spine, "spine");
	Oid			type = plan_source_attribute(spine, set->event_time, "event_time")->atttypid;
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	foreach(lc, set->entity)
		appendStringInfo(&sql, "%s AS %s, ",
						 literal_of(list_nth(values, foreach_current_index(lc)),
									getBaseType(plan_source_attribute(spine, lfirst(lc), "entity")->atttypid)),
						 quote_identifier(lfirst(lc)));
	if (getBaseType(type) == INT8OID)
		appendStringInfo(&sql, "'%lld'::pg_catalog.int8", (long long) feature_epoch(at, false));
	else
		appendStringInfo(&sql, "%s::pg_catalog.timestamptz::%s",
						 quote_literal_cstr(timestamptz_to_str(at)),
						 format_type_extended(getBaseType(type), -1, FORMAT_TYPE_FORCE_QUALIFY));
	appendStringInfo(&sql, " AS %s", quote_identifier(set->event_time));
	return sql.data;
}

static Jsonb *
current_values(const FeatureSet *set, const List *values, TimestampTz at,
			   MemoryContext context)
{
	FeaturePlan *plan;
	FeatureRange range = {.entity = values};
	FeatureCounts counts;
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	Jsonb	   *result;

	plan = feature_plan(one_row_spine(set, values, at), set->entity, set->event_time,
						set->knowledge_time, set->specs);
	features_run(plan, &range, NULL, rows, &counts, NULL);
	target_register_rows(plan->result, rows);
	result = one_jsonb(psprintf("SELECT pg_catalog.to_jsonb(x) FROM (SELECT %s FROM \"%s\" AS rows) x",
								target_column_list(plan->result, plan->spine->columns->natts, "rows."),
								TARGET_ROWS), context);
	SPI_unregister_relation(TARGET_ROWS);
	tuplestore_end(rows);
	return result;
}

PG_FUNCTION_INFO_V1(pipeline_current_features);

/* SQL: current_features(set, entity, at_time): computed for that time. */
Datum
pipeline_current_features(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	FeatureSet *set;
	List	   *values;
	UserScope	scope;
	Jsonb	   *result;

	pipeline_not_null(fcinfo, 2, "at_time");
	SPI_connect();
	load_arguments(fcinfo, &set, &values);
	if (set->specs == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("feature set \"%s\" has no features", set->name),
				 errhint("Add one with pipeline.add_feature().")));
	feature_set_begin(set, &scope);
	PushActiveSnapshot(GetTransactionSnapshot());
	result = current_values(set, values, PG_GETARG_TIMESTAMPTZ(2), context);
	PopActiveSnapshot();
	pipeline_scope_end(&scope);
	SPI_finish();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}
