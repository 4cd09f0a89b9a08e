/*
 * scan_sql.c
 *	  The statements that read the spine and the streams.
 *
 * $1 and $2 bound the time, $3 is as_of.  Bounds are on the bare column, so
 * that indexes and partitions serve.  Names are quoted; sources and
 * expressions were parsed alone.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "feature/feature.h"

static char *
qualified_type(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
								FORMAT_TYPE_FORCE_QUALIFY);
}

static void
append_keys(StringInfo sql, const FeaturePlan *plan, const List *columns,
			const char *prefix)
{
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(sql, "%s%s::%s, ", prefix,
						 quote_identifier(list_nth(columns, i)),
						 qualified_type(plan->key_types[i]));
}

static const char *
axis_type(bool local)
{
	return local ? "pg_catalog.timestamp" : "pg_catalog.timestamptz";
}

/* Spine: its columns, the entity, the time, and whether it is before as_of. */
char *
feature_spine_sql(const FeaturePlan *plan, const FeatureRange *range)
{
	StringInfoData sql;
	const char *time = quote_identifier(plan->event_time);

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT spine.*, ");
	append_keys(&sql, plan, plan->entity, "spine.");
	appendStringInfo(&sql, "spine.%s::%s", time, axis_type(plan->local));
	if (range->as_of)
		appendStringInfo(&sql, ", spine.%s OPERATOR(pg_catalog.<) $3", time);
	appendStringInfo(&sql, " FROM %s AS spine", plan->spine->from);
	if (range->from_time || range->to_time)
	{
		appendStringInfoString(&sql, " WHERE (true");
		if (range->from_time)
			appendStringInfo(&sql, " AND spine.%s OPERATOR(pg_catalog.>=) $1", time);
		if (range->to_time)
			appendStringInfo(&sql, " AND spine.%s OPERATOR(pg_catalog.<) $2", time);
		appendStringInfoChar(&sql, ')');
		/* Rows without a time belong to no interval: they are reported. */
		if (plan->nullable_time)
			appendStringInfo(&sql, " OR spine.%s IS NULL", time);
	}
	return sql.data;
}

/* Stream: the entity, the times, and every input. */
char *
feature_stream_sql(const FeaturePlan *plan, const Stream *stream,
				   const FeatureRange *range)
{
	StringInfoData sql;
	const char *time = quote_identifier(stream->event_time);
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_keys(&sql, plan, stream->entity, "");
	appendStringInfo(&sql, "%s::%s", time, axis_type(stream->local));
	if (stream->knowledge_time != NULL)
		appendStringInfo(&sql, ", %s::%s", quote_identifier(stream->knowledge_time),
						 axis_type(stream->known_local));
	foreach(lc, stream->inputs)
		appendStringInfo(&sql, ", %s", ((Input *) lfirst(lc))->sql);
	appendStringInfo(&sql, " FROM %s%s", stream->source->from,
					 OidIsValid(stream->source->relid) ? "" : " AS source");
	appendStringInfo(&sql, " WHERE (%s OPERATOR(pg_catalog.>=) $1 AND %s OPERATOR(pg_catalog.<=) $2",
					 time, time);
	if (range->as_of)
		appendStringInfo(&sql, " AND %s OPERATOR(pg_catalog.<) $3", time);
	/* Events without a time of knowledge are reported. */
	if (range->as_of && stream->knowledge_time != NULL)
		appendStringInfo(&sql, " AND (%s OPERATOR(pg_catalog.<) $3 OR %s IS NULL)",
						 quote_identifier(stream->knowledge_time),
						 quote_identifier(stream->knowledge_time));
	appendStringInfoChar(&sql, ')');
	if (stream->nullable_time)
		appendStringInfo(&sql, " OR %s IS NULL", time);
	return sql.data;
}
