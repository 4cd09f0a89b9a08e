/*
 * target.c
 *	  The table that a feature set keeps: found, made, checked.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "feature/refresh.h"

static char *
column_name(const Refresh *refresh, int i)
{
	return NameStr(TupleDescAttr(refresh->plan->result, i)->attname);
}

/* The target of a set, locked to be written; InvalidOid if there is none. */
Oid
target_oid(const FeatureSet *set)
{
	List	   *names = NIL;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(set->target), '.', &names))
		elog(ERROR, "invalid target \"%s\"", set->target);
	foreach(lc, names)
		lfirst(lc) = makeString(pstrdup(lfirst(lc)));
	return RangeVarGetRelid(makeRangeVarFromNameList(names), RowExclusiveLock, true);
}

/* Make the target, without indexes: it is filled first. */
void
target_create(const Refresh *refresh)
{
	const FeaturePlan *plan = refresh->plan;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", refresh->set->target);
	for (int i = 0; i < plan->result->natts; i++)
	{
		const char *name = column_name(refresh, i);

		appendStringInfo(&sql, "%s %s%s, ", quote_identifier(name),
						 feature_column_type(plan->result, i),
						 strcmp(name, plan->event_time) == 0 ||
						 pipeline_list_has(plan->entity, name) ||
						 pipeline_list_has(refresh->set->spine_key, name) ? " NOT NULL" : "");
	}
	appendStringInfoString(&sql, "as_of pg_catalog.timestamptz)");
	pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
	pipeline_sql_generated(psprintf("COMMENT ON TABLE %s IS %s", refresh->set->target,
									quote_literal_cstr(psprintf("Kept by pipeline.refresh_features() for feature set \"%s\".",
																refresh->set->name))),
						   SPI_OK_UTILITY, false);
}

/* The type of a column of the target, or InvalidOid. */
static Oid
target_column_type(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->atttypid;
	}
	return InvalidOid;
}

static void
check_target_column(const Refresh *refresh, TupleDesc desc, const char *name,
					Oid type)
{
	Oid			found = target_column_type(desc, name);

	if (found == type)
		return;
	ereport(ERROR,
			(errcode(OidIsValid(found) ? ERRCODE_DATATYPE_MISMATCH : ERRCODE_UNDEFINED_COLUMN),
			 OidIsValid(found) ?
			 errmsg("column \"%s\" of target %s is of type %s, not %s", name,
					refresh->set->target, format_type_be(found), format_type_be(type)) :
			 errmsg("column \"%s\" of target %s does not exist", name,
					refresh->set->target),
			 errhint("Alter the table, or drop it: a full refresh makes it again.")));
}

/* A full refresh adds the features that the target lacks; return how. */
static char *
missing_columns(const Refresh *refresh, TupleDesc desc)
{
	StringInfoData sql;
	bool		full = !refresh->range.from_time && !refresh->range.to_time;

	initStringInfo(&sql);
	for (int i = refresh->plan->spine->columns->natts; i < refresh->plan->result->natts; i++)
	{
		const char *name = column_name(refresh, i);

		if (OidIsValid(target_column_type(desc, name)))
			continue;
		if (!full)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("target %s has no column for feature \"%s\"",
							refresh->set->target, name),
					 errdetail("A partial refresh would leave it empty outside its interval."),
					 errhint("Refresh the set once without from_time and to_time: that adds the column.")));
		appendStringInfo(&sql, "%sADD COLUMN %s %s", sql.len ? ", " : "",
						 quote_identifier(name),
						 feature_column_type(refresh->plan->result, i));
	}
	return sql.len ? psprintf("ALTER TABLE %s %s", refresh->set->target, sql.data) : NULL;
}

/* Check that the target can take the rows; add what it lacks. */
void
target_check(const Refresh *refresh, Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(rel));
	char		kind = rel->rd_rel->relkind;
	char	   *alter;

	relation_close(rel, NoLock);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target %s is not a table", refresh->set->target)));
	for (int i = 0; i < refresh->plan->result->natts; i++)
	{
		if (i < refresh->plan->spine->columns->natts ||
			OidIsValid(target_column_type(desc, column_name(refresh, i))))
			check_target_column(refresh, desc, column_name(refresh, i),
								TupleDescAttr(refresh->plan->result, i)->atttypid);
	}
	check_target_column(refresh, desc, "as_of", TIMESTAMPTZOID);
	alter = missing_columns(refresh, desc);
	if (alter != NULL)
		pipeline_sql_generated(alter, SPI_OK_UTILITY, false);
}

/* Can the columns be ordered by a btree? */
static bool
can_be_ordered(const FeaturePlan *plan, const List *columns)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		Oid			type = plan_source_attribute(plan->spine, lfirst(lc), "entity")->atttypid;

		if (!OidIsValid(lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY)->btree_opf))
			return false;
	}
	return true;
}

static void
create_index(const Refresh *refresh, const char *kind, const List *columns)
{
	StringInfoData sql;
	ListCell   *lc;

	if (!can_be_ordered(refresh->plan, columns))
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE %s ON %s (", kind, refresh->set->target);
	foreach(lc, columns)
		appendStringInfo(&sql, "%s%s", foreach_current_index(lc) ? ", " : "",
						 quote_identifier(lfirst(lc)));
	appendStringInfoChar(&sql, ')');
	pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
}

/* Index the target that was made: by its key, and to find an entity's last row. */
void
target_create_index(const Refresh *refresh)
{
	const FeaturePlan *plan = refresh->plan;

	if (refresh->set->spine_key != NIL)
		create_index(refresh, "UNIQUE INDEX", refresh->set->spine_key);
	create_index(refresh, "INDEX", lappend(list_copy(plan->entity), plan->event_time));
}
