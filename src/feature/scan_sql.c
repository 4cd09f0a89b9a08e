/*
 * scan_sql.c
 *	  The statements that read the spine and the streams.
 *
 * $1 and $2 bound the time, $3 is as_of (SCAN_PARAMS).  Bounds are on the bare column, so
 * that indexes and partitions serve.  Names are quoted; sources and
 * expressions were parsed alone.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/regproc.h"

#include "feature/read.h"

static char *
qualified_type(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
								FORMAT_TYPE_FORCE_QUALIFY);
}

static char *
qualified_collation(Oid collation)
{
	return DatumGetCString(DirectFunctionCall1(regcollationout, ObjectIdGetDatum(collation)));
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

/* A column with a time, on the axis on which times are compared. */
static char *
time_value(const char *column, bool local, bool epoch)
{
	if (epoch)
		return psprintf("pg_catalog.to_timestamp(%s::pg_catalog.float8)", column);
	return psprintf("%s::%s", column,
					local ? "pg_catalog.timestamp" : "pg_catalog.timestamptz");
}

/* What is before as_of. */
static char *
before_as_of(const char *column, bool epoch, const FeatureRange *range)
{
	if (epoch)
		return psprintf("%s OPERATOR(pg_catalog.<) '%lld'::pg_catalog.int8", column,
						(long long) feature_epoch(*range->as_of, true));
	return psprintf("%s OPERATOR(pg_catalog.<) $3", column);
}

/* Spine: its columns, the entity, the time, and whether it is before as_of. */
char *
feature_spine_sql(const FeaturePlan *plan, const FeatureRange *range)
{
	StringInfoData sql;
	const char *time = psprintf("spine.%s", quote_identifier(plan->event_time));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT spine.*, ");
	append_keys(&sql, plan, plan->entity, "spine.");
	appendStringInfoString(&sql, time_value(time, plan->local, plan->epoch));
	if (range->as_of)
		appendStringInfo(&sql, ", %s", before_as_of(time, plan->epoch, range));
	appendStringInfo(&sql, " FROM %s AS spine", plan->spine->from);
	if (range->from_time || range->to_time)
	{
		appendStringInfoString(&sql, " WHERE (true");
		if (range->from_time)
			appendStringInfo(&sql, " AND %s OPERATOR(pg_catalog.>=) $1", time);
		if (range->to_time)
			appendStringInfo(&sql, " AND %s OPERATOR(pg_catalog.<) $2", time);
		appendStringInfoChar(&sql, ')');
		/* Rows without a time belong to no interval: they are reported. */
		if (plan->nullable_time)
			appendStringInfo(&sql, " OR %s IS NULL", time);
	}
	return sql.data;
}

/* Only events of one entity, so that an index can serve. */
static void
append_entity(StringInfo sql, const FeaturePlan *plan, const Stream *stream,
			  const List *values)
{
	for (int i = 0; i < plan->nkeys; i++)
	{
		const char *column = quote_identifier(list_nth(stream->entity, i));
		const char *type = qualified_type(plan->key_types[i]);
		Oid			own = plan_source_attribute(stream->source, list_nth(stream->entity, i),
												"entity")->atttypid;

		/* A cast would keep an index from serving. */
		appendStringInfo(sql, " AND %s%s%s OPERATOR(pg_catalog.=) %s::%s", column,
						 own == plan->key_types[i] ? "" : "::",
						 own == plan->key_types[i] ? "" : type,
						 quote_literal_cstr(list_nth(values, i)), type);
	}
}

static char *
stream_sql(const FeaturePlan *plan, const Stream *stream,
		   const FeatureRange *range, bool bounded, bool lookup)
{
	StringInfoData sql;
	const char *time = quote_identifier(stream->event_time);
	const char *known = stream->knowledge_time ?
		quote_identifier(stream->knowledge_time) : NULL;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_keys(&sql, plan, stream->entity, "");
	appendStringInfoString(&sql, time_value(time, stream->local, stream->epoch));
	if (known != NULL)
		appendStringInfo(&sql, ", %s",
						 time_value(known, stream->known_local, stream->known_epoch));
	foreach(lc, stream->inputs)
		appendStringInfo(&sql, ", %s", ((Input *) lfirst(lc))->sql);
	appendStringInfo(&sql, " FROM %s%s", stream->source->from,
					 OidIsValid(stream->source->relid) ? "" : " AS source");
	if (!bounded)
		return sql.data;
	appendStringInfo(&sql, " WHERE (%s OPERATOR(pg_catalog.>=) $1 AND %s OPERATOR(pg_catalog.<=) $2",
					 time, time);
	if (range->as_of)
		appendStringInfo(&sql, " AND %s", before_as_of(time, stream->epoch, range));
	/* Events without a time of knowledge are reported. */
	if (range->as_of && known != NULL)
		appendStringInfo(&sql, " AND (%s OR %s IS NULL)",
						 before_as_of(known, stream->known_epoch, range), known);
	appendStringInfoChar(&sql, ')');
	if (range->entity != NIL)
		append_entity(&sql, plan, stream, range->entity);
	else if (stream->nullable_time && !lookup)
		appendStringInfo(&sql, " OR %s IS NULL", time);
	return sql.data;
}

/* Stream: the entity, the times, and every input; of all events, or within bounds. */
char *
feature_stream_sql(const FeaturePlan *plan, const Stream *stream,
				   const FeatureRange *range, bool bounded)
{
	return stream_sql(plan, stream, range, bounded, false);
}

/* How the columns of the arrays begin: as no column that they are compared with. */
static const char *
key_prefix(const Stream *stream)
{
	char	   *prefix = "pipeline_key";
	ListCell   *lc = list_head(stream->entity);

	while (lc != NULL)
	{
		if (strncmp(lfirst(lc), prefix, strlen(prefix)) == 0)
		{
			prefix = psprintf("%s_", prefix);
			lc = list_head(stream->entity);
		}
		else
			lc = lnext(stream->entity, lc);
	}
	return prefix;
}

/*
 * The same within bounds, and of the entities only whose columns are the arrays
 * $4, $5, ...; see lookup.c.
 */
char *
feature_lookup_sql(const FeaturePlan *plan, const Stream *stream,
				   const FeatureRange *range)
{
	StringInfoData sql;
	const char *separator = "";
	const char *prefix = key_prefix(stream);

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s AND EXISTS (SELECT FROM ROWS FROM (",
					 stream_sql(plan, stream, range, true, true));
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, "%spg_catalog.unnest($%d)", i ? ", " : "",
						 SCAN_PARAMS + i + 1);
	appendStringInfoString(&sql, ") AS pipeline_keys (");
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, "%s%s%d", i ? ", " : "", prefix, i);
	appendStringInfoString(&sql, ") WHERE ");
	for (int i = 0; i < plan->nkeys; i++)
	{
		const char *column = list_nth(stream->entity, i);
		Oid			collation = plan_source_attribute(stream->source, column, "entity")->attcollation;

		/* As the column's own, that an index has. */
		appendStringInfo(&sql, "%s%s OPERATOR(pg_catalog.=) pipeline_keys.%s%d",
						 separator, quote_identifier(column), prefix, i);
		if (OidIsValid(collation))
			appendStringInfo(&sql, " COLLATE %s", qualified_collation(collation));
		separator = " AND ";
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}
