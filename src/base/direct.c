/*
 * direct.c
 *	  May a table be read or written through its access method, past the
 *	  executor?
 *
 * The executor does more than fetch and store tuples: it checks rights and
 * row security, fires triggers and rules, routes rows, expands views and
 * children, and lets extensions take part.  Whoever goes past it must know
 * that none of this applies.  The rules are here, once, for every room.
 *
 * Each function returns NULL when the direct way is open to the current user,
 * or else the reason why not, in words, to be shown to people.  A reason is
 * no error: the executor's way gives the same result, or the error that is
 * due.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "base/base.h"

PG_FUNCTION_INFO_V1(pipeline_direct_obstacles);

/* Citus keeps the rows of its tables elsewhere; the shell is an empty heap. */
static bool
is_distributed(Relation rel)
{
	Oid			catalog = get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE);
	AttrNumber	column;
	Relation	partitions;
	SysScanDesc scan;
	ScanKeyData key;
	bool		found;

	if (!OidIsValid(catalog))
		return false;
	column = get_attnum(catalog, "logicalrelid");
	if (column == InvalidAttrNumber)
		return true;
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(rel)));
	partitions = table_open(catalog, AccessShareLock);
	scan = systable_beginscan(partitions, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(partitions, AccessShareLock);
	return found;
}

/* Has the current user the right on the table, or on each of the columns? */
static bool
has_right(Relation rel, AclMode right, const AttrNumber *columns, int ncolumns)
{
	Oid			relid = RelationGetRelid(rel);

	if (pg_class_aclcheck(relid, GetUserId(), right) == ACLCHECK_OK)
		return true;
	for (int i = 0; i < ncolumns; i++)
	{
		if (columns[i] <= 0 ||
			pg_attribute_aclcheck(relid, columns[i], GetUserId(), right) != ACLCHECK_OK)
			return false;
	}
	return ncolumns > 0;
}

/* What rules out both ways, by where the rows are. */
static const char *
storage_obstacle(Relation rel)
{
	if (rel->rd_tableam != GetHeapamTableAmRoutine())
		return "its access method is not heap";
	if (RELATION_IS_OTHER_TEMP(rel))
		return "it is a temporary table of another session";
	if (rel->rd_rel->relhassubclass &&
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		return "other tables inherit from it";
	if (is_distributed(rel))
		return "its rows are distributed by Citus";
	return NULL;
}

/* What rules out both ways, by who may see them. */
static const char *
policy_obstacle(Relation rel)
{
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		return "row security is in force on it";
	if (ExecutorCheckPerms_hook != NULL)
		return "an extension checks permissions in the executor";
	return NULL;
}

/* What rules out both ways. */
static const char *
common_obstacle(Relation rel)
{
	const char *obstacle = storage_obstacle(rel);

	return obstacle != NULL ? obstacle : policy_obstacle(rel);
}

/* Why the kind of the relation has no tuples of its own. */
static const char *
kind_obstacle(Relation rel)
{
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_MATVIEW:
			return NULL;
		case RELKIND_PARTITIONED_TABLE:
			return "it is a partitioned table";
		case RELKIND_VIEW:
			return "it is a view";
		case RELKIND_FOREIGN_TABLE:
			return "it is a foreign table";
		default:
			return "it is not a table";
	}
}

/* May the current user read the columns, and is there something to read? */
static const char *
columns_obstacle(Relation rel, const AttrNumber *columns, int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		char		generated = columns[i] <= 0 ? '\0' :
			TupleDescAttr(RelationGetDescr(rel), columns[i] - 1)->attgenerated;

		if (generated != '\0' && generated != ATTRIBUTE_GENERATED_STORED)
			return "a column of it is generated when it is read";
	}
	if (!has_right(rel, ACL_SELECT, columns, ncolumns))
		return "the role may not read it";
	return NULL;
}

/*
 * May these columns of the relation be read by table_beginscan() and the
 * like?  Columns that are computed when they are read have nothing stored.
 */
const char *
pipeline_direct_read_obstacle(Relation rel, const AttrNumber *columns,
							  int ncolumns)
{
	const char *obstacle = kind_obstacle(rel);

	if (obstacle == NULL)
		obstacle = common_obstacle(rel);
	if (obstacle != NULL)
		return obstacle;
	if (!RelationIsPopulated(rel))
		return "it is a materialized view that was not populated";
	return columns_obstacle(rel, columns, ncolumns);
}

/* The same of a partition that is read as a part of its table. */
const char *
pipeline_direct_leaf_obstacle(Relation leaf)
{
	const char *obstacle = kind_obstacle(leaf);

	return obstacle != NULL ? obstacle : storage_obstacle(leaf);
}

/* The same of a partitioned table whose partitions have been asked. */
const char *
pipeline_direct_root_obstacle(Relation rel, const AttrNumber *columns,
							  int ncolumns)
{
	const char *obstacle = is_distributed(rel) ?
		"its rows are distributed by Citus" : policy_obstacle(rel);

	return obstacle != NULL ? obstacle : columns_obstacle(rel, columns, ncolumns);
}

/*
 * Does an update of these columns fire the check of a foreign key that
 * refers to this table?  It does only when it touches the key.
 */
static bool
touches_referenced_key(const Trigger *trigger, const AttrNumber *updated,
					   int nupdated)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(trigger->tgconstraint));
	Datum		value;
	bool		isnull;
	ArrayType  *array;
	int16	   *key;
	bool		touches = false;

	if (!HeapTupleIsValid(tuple))
		return true;
	value = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_confkey, &isnull);
	if (isnull)
	{
		ReleaseSysCache(tuple);
		return true;
	}
	array = DatumGetArrayTypeP(value);
	key = (int16 *) ARR_DATA_PTR(array);
	for (int k = 0; k < ARR_DIMS(array)[0]; k++)
	{
		for (int i = 0; i < nupdated; i++)
			touches = touches || key[k] == updated[i];
	}
	ReleaseSysCache(tuple);
	return touches;
}

static const char *
trigger_obstacle(Relation rel, const AttrNumber *updated, int nupdated)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgenabled == TRIGGER_DISABLED ||
			!(TRIGGER_FOR_INSERT(trigger->tgtype) || TRIGGER_FOR_UPDATE(trigger->tgtype)))
			continue;
		switch (RI_FKey_trigger_type(trigger->tgfoid))
		{
			case RI_TRIGGER_FK:
				return "it has a foreign key";
			case RI_TRIGGER_PK:
				if (touches_referenced_key(trigger, updated, nupdated))
					return "a foreign key refers to a column that is written";
				break;
			default:
				if (trigger->tgisinternal)
					return "it has a deferrable constraint";
				return "it has triggers";
		}
	}
	return NULL;
}

/*
 * May rows be inserted with these columns, and these columns be updated, by
 * table_multi_insert() and table_tuple_update()?  Defaults, generated columns,
 * constraints and indexes are the business of whoever writes.  Raises, as the
 * executor does, when a publication needs a replica identity that the table
 * lacks.
 */
const char *
pipeline_direct_write_obstacle(Relation rel,
							   const AttrNumber *inserted, int ninserted,
							   const AttrNumber *updated, int nupdated)
{
	const char *obstacle = kind_obstacle(rel);

	if (obstacle == NULL && rel->rd_rel->relkind != RELKIND_RELATION)
		obstacle = "it is a materialized view";
	if (obstacle == NULL)
		obstacle = common_obstacle(rel);
	if (obstacle == NULL && IsCatalogRelation(rel))
		obstacle = "it is a system catalog";
	if (obstacle == NULL && rel->rd_rel->relispartition)
		obstacle = "it is a partition";
	if (obstacle == NULL && rel->rd_rules != NULL)
		obstacle = "it has rules";
	if (obstacle == NULL)
		obstacle = trigger_obstacle(rel, updated, nupdated);
	if (obstacle == NULL && !has_right(rel, ACL_INSERT, inserted, ninserted))
		obstacle = "the role may not insert into it";
	if (obstacle == NULL && nupdated > 0 &&
		!has_right(rel, ACL_UPDATE, updated, nupdated))
		obstacle = "the role may not update it";
	if (obstacle != NULL)
		return obstacle;
	CheckCmdReplicaIdentity(rel, CMD_INSERT);
	if (nupdated > 0)
		CheckCmdReplicaIdentity(rel, CMD_UPDATE);
	return NULL;
}

/*
 * SQL: _direct_obstacles(relation regclass, columns text[]): both answers for
 * the current user, for the tests; NULL means that the way is open.
 */
Datum
pipeline_direct_obstacles(PG_FUNCTION_ARGS)
{
	Relation	rel = relation_open(PG_GETARG_OID(0), AccessShareLock);
	List	   *names = pipeline_array_list(PG_GETARG_ARRAYTYPE_P(1), "columns");
	AttrNumber *columns = palloc_array(AttrNumber, list_length(names) + 1);
	const char *reasons[2];
	Datum		values[2];
	bool		nulls[2];
	TupleDesc	desc;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, names)
	{
		columns[n] = get_attnum(RelationGetRelid(rel), lfirst(lc));
		if (columns[n++] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" does not exist", (char *) lfirst(lc))));
	}
	reasons[0] = pipeline_direct_read_obstacle(rel, columns, n);
	reasons[1] = pipeline_direct_write_obstacle(rel, columns, n, columns, n);
	relation_close(rel, NoLock);
	for (int i = 0; i < 2; i++)
	{
		nulls[i] = reasons[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(reasons[i]);
	}
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
