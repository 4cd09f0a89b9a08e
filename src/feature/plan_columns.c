/*
 * plan_columns.c
 *	  The columns that every source must have: the entity and the event time.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "feature/feature.h"

/* Return the description of a column of a source. */
Form_pg_attribute
plan_source_attribute(const Source *source, const char *column, const char *argument)
{
	return TupleDescAttr(source->columns,
						 pipeline_source_column(source, column, argument) - 1);
}

/*
 * Check that a column can be an event time, or a time of knowledge; return
 * whether it is one without a time zone.
 */
bool
plan_time_is_local(const Source *source, const char *column,
				   const char *argument)
{
	Oid			type = plan_source_attribute(source, column, argument)->atttypid;

	switch (getBaseType(type))
	{
		case TIMESTAMPTZOID:
		case INT8OID:
			return false;
		case TIMESTAMPOID:
		case DATEOID:
			return true;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" cannot be %s: it is of type %s", column,
					strcmp(argument, "event_time") == 0 ? "an event time" : "a time of knowledge",
					format_type_be(type)),
			 errdetail("The source is: %s", source->text),
			 errhint("Event times are timestamp with or without time zone, date, or bigint in seconds since 1970; cast it in a query, such as SELECT *, to_timestamp(ms / 1000.0) AS event_time.")));
	return false;
}

/* Is it a number of seconds since 1970? */
bool
plan_time_is_epoch(const Source *source, const char *column,
				   const char *argument)
{
	return getBaseType(plan_source_attribute(source, column, argument)->atttypid) == INT8OID;
}

/* Can the column be NULL?  Only a table with a constraint says no. */
bool
plan_column_is_nullable(const Source *source, const char *column)
{
	Relation	rel;
	TupleDesc	desc;
	bool		nullable = true;

	if (!OidIsValid(source->relid))
		return true;
	/* Who may not read it has no lock on it. */
	rel = relation_open(source->relid, AccessShareLock);
	desc = RelationGetDescr(rel);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), column) == 0)
			nullable = !att->attnotnull ||
				(rel->rd_rel->relkind != RELKIND_RELATION &&
				 rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE);
	}
	relation_close(rel, AccessShareLock);
	return nullable;
}

/* Widen the common type of each column of the entity to take the source's. */
void
plan_merge_key_types(FeaturePlan *plan, const Source *source, const List *entity)
{
	for (int i = 0; i < plan->nkeys; i++)
	{
		const char *column = list_nth(entity, i);
		Oid			type = getBaseType(plan_source_attribute(source, column, "entity")->atttypid);
		Oid			common = plan->key_types[i];

		if (type == common || can_coerce_type(1, &type, &common, COERCION_IMPLICIT))
			continue;
		if (can_coerce_type(1, &common, &type, COERCION_IMPLICIT))
		{
			plan->key_types[i] = type;
			continue;
		}
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be compared with the spine's \"%s\" of type %s",
						column, format_type_be(type),
						(char *) list_nth(plan->entity, i), format_type_be(common)),
				 errdetail("The source is: %s", source->text),
				 errhint("Cast it in a query: SELECT ..., %s::%s AS %s.",
						 quote_identifier(column), format_type_be(common),
						 quote_identifier(column))));
	}
}

/* Can values of the type be looked up by equality? */
void
plan_check_hashable(const char *column, Oid type)
{
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_HASH_PROC |
											  TYPECACHE_EQ_OPR);

	if (!OidIsValid(cache->hash_proc) || !OidIsValid(cache->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" cannot be part of an entity: type %s has no hash equality",
						column, format_type_be(type))));
}

/* Check the entity's types, and settle the collations to hash and compare by. */
void
plan_check_key_types(FeaturePlan *plan)
{
	plan->key_collations = palloc0_array(Oid, plan->nkeys);
	for (int i = 0; i < plan->nkeys; i++)
	{
		const char *column = list_nth(plan->entity, i);
		Oid			type = plan->key_types[i];
		Form_pg_attribute att = plan_source_attribute(plan->spine, column, "entity");

		plan_check_hashable(column, type);
		if (OidIsValid(get_typcollation(type)))
			plan->key_collations[i] = OidIsValid(att->attcollation) ?
				att->attcollation : DEFAULT_COLLATION_OID;
	}
}
