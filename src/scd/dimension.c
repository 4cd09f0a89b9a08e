/*
 * dimension.c
 *	  create_dimension() and drop_dimension().
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "alert/alert.h"
#include "scd/scd.h"

enum
{
	ARG_LABELS = 25,
	ARG_OR_REPLACE,
	ARG_DESCRIPTION
};

PG_FUNCTION_INFO_V1(pipeline_create_dimension);
PG_FUNCTION_INFO_V1(pipeline_drop_dimension);

/* Find the schema in which a missing table is to be made. */
static Oid
creation_schema(RangeVar *rv)
{
	Oid			schema = RangeVarGetCreationNamespace(rv);
	AclResult	result;

	if (isAnyTempNamespace(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("a registered dimension cannot be temporary"),
				 errhint("Name a schema, or merge into a temporary table by merge_scd2().")));
	result = object_aclcheck(NamespaceRelationId, schema, GetUserId(), ACL_CREATE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, get_namespace_name(schema));
	return schema;
}

/* Before the table is locked: does the caller own it? */
void
pipeline_scd_check_owns(const RangeVar *rv, Oid relid, Oid old_relid, void *arg)
{
	char		relkind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

	if (relkind != '\0' && !object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(relkind),
					   pipeline_qualified_name(relid));
}

/* The table exists and is locked: is it registered, and may it be? */
static void
check_existing(Dimension *dimension, bool or_replace, Dimension **before)
{
	if (get_rel_persistence(dimension->relid) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("a registered dimension cannot be temporary"),
				 errhint("Merge into a temporary table by merge_scd2().")));
	*before = pipeline_scd_find(dimension->relid, true);
	if (*before == NULL)
		return;
	if (!or_replace)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("dimension %s already exists", dimension->name),
				 errhint("Use or_replace => true to change its definition.")));
	if (!has_privs_of_role(GetUserId(), (*before)->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of dimension %s", dimension->name),
				 errhint("Its source is read as its owner; membership in that role counts.")));
	dimension->owner = (*before)->owner;
}

/* Say that merges will be slow where nothing indexes the key. */
static void
notice_missing_index(const Dimension *dimension)
{
	StringInfoData sql;
	ListCell   *lc;
	UserScope	scope;
	uint64		n;

	initStringInfo(&sql);
	foreach(lc, dimension->business_key)
		appendStringInfo(&sql, "%s, ", quote_identifier(lfirst(lc)));
	/* Not by the owner's search_path, which may have operators of its own. */
	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisunique"
				 " AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = $3 + 1"
				 " AND (SELECT pg_catalog.bool_or(a.attname = $4) AND pg_catalog.count(*) FILTER (WHERE a.attname = ANY ($2)) = $3"
				 " FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]))",
				 SPI_OK_SELECT, sql_regclass(dimension->relid),
				 sql_array(pipeline_list_array(dimension->business_key)),
				 sql_int8(list_length(dimension->business_key)),
				 sql_text(dimension->names[META_VALID_FROM]));
	pipeline_scope_end(&scope);
	if (n == 0)
		ereport(NOTICE,
				(errmsg("table %s has no unique index on its key and valid_from", dimension->name),
				 errhint("CREATE UNIQUE INDEX ON %s (%s%s);", dimension->name, sql.data,
						 quote_identifier(dimension->names[META_VALID_FROM]))));
}

/* Does a definition read the history as the one before it did? */
static bool
same_history(const Dimension *a, const Dimension *b)
{
	for (int m = 0; m < META_COLUMNS; m++)
	{
		if ((a->names[m] == NULL) != (b->names[m] == NULL) ||
			(a->names[m] != NULL && strcmp(a->names[m], b->names[m]) != 0))
			return false;
	}
	return a->unknown_member == b->unknown_member &&
		a->open_end_null == b->open_end_null &&
		(a->open_end_null || a->open_end == b->open_end) &&
		strcmp(pipeline_list_join(a->business_key, "\n"),
			   pipeline_list_join(b->business_key, "\n")) == 0;
}

/*
 * Check that the table fits, and its history unless merges made it under the
 * same rules.
 */
static void
adopt(Dimension *dimension, Source *source, const Dimension *before)
{
	pipeline_scd_check_table(dimension);
	(void) pipeline_scd_plan(dimension, source);
	if (before == NULL || !same_history(dimension, before))
		pipeline_scd_check_history(dimension);
	notice_missing_index(dimension);
}

static void
create(Dimension *dimension, RangeVar *rv, bool or_replace)
{
	Dimension  *before = NULL;
	Jsonb	   *before_row = NULL;
	Oid			schema = InvalidOid;
	Oid			owner = GetUserId();
	Source	   *source;
	UserScope	scope;

	/* Whoever renames or drops the table meanwhile: the name is looked up again. */
	dimension->relid = RangeVarGetRelidExtended(rv, ShareRowExclusiveLock,
												RVR_MISSING_OK, pipeline_scd_check_owns, NULL);
	if (OidIsValid(dimension->relid))
	{
		dimension->name = pipeline_qualified_name(dimension->relid);
		check_existing(dimension, or_replace, &before);
		before_row = pipeline_scd_jsonb(dimension->relid);
		if (before != NULL)
		{
			owner = before->owner;
			dimension->events = before->events;
		}
	}
	else
	{
		schema = creation_schema(rv);
		dimension->name = quote_qualified_identifier(get_namespace_name(schema),
													 rv->relname);
	}

	dimension->owner = InvalidOid;	/* its columns are being defined */
	pipeline_user_begin(&scope, owner, dimension->search_path);
	source = pipeline_source(dimension->source, "source");
	pipeline_scd_resolve(dimension, source);
	/* Reads nothing, but checks the right to. */
	(void) pipeline_sql_generated(psprintf("SELECT pipeline_source.* FROM %s AS pipeline_source WHERE false",
										   source->from), SPI_OK_SELECT, false);
	if (OidIsValid(dimension->relid))
		adopt(dimension, source, before);
	else
	{
		dimension->relid = pipeline_scd_make_table(dimension, source, schema,
												   rv->relname);
		(void) pipeline_scd_plan(dimension, source);
		pipeline_scd_extra_indexes(dimension);
	}
	pipeline_scd_make_events(dimension, source);
	pipeline_scd_unknown_member(dimension);
	pipeline_scope_end(&scope);

	dimension->owner = owner;
	pipeline_scd_store(dimension, before != NULL);
	pipeline_record_change("create_dimension", "dimension", dimension->name,
						   before_row, pipeline_scd_jsonb(dimension->relid),
						   dimension->description);
}

/* SQL: create_dimension(...); see options.c for the shared arguments. */
Datum
pipeline_create_dimension(PG_FUNCTION_ARGS)
{
	Dimension  *dimension;
	RangeVar   *rv;

	pipeline_not_null(fcinfo, 0, "dimension");
	pipeline_not_null(fcinfo, ARG_LABELS, "labels");
	pipeline_not_null(fcinfo, ARG_OR_REPLACE, "or_replace");
	dimension = pipeline_scd_options(fcinfo);
	dimension->labels = pipeline_arg_jsonb(fcinfo, ARG_LABELS);
	dimension->description = pipeline_arg_text(fcinfo, ARG_DESCRIPTION);
	dimension->search_path = pipeline_search_path();
	pipeline_check_labels(dimension->labels, "labels");
	rv = makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(0)));

	SPI_connect();
	create(dimension, rv, PG_GETARG_BOOL(ARG_OR_REPLACE));
	SPI_finish();
	PG_RETURN_OID(dimension->relid);
}

/* SQL: drop_dimension(dimension regclass, drop_table boolean). */
Datum
pipeline_drop_dimension(PG_FUNCTION_ARGS)
{
	Oid			relid;
	bool		drop_table;
	bool		exists;
	Dimension  *dimension;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "dimension");
	pipeline_not_null(fcinfo, 1, "drop_table");
	relid = PG_GETARG_OID(0);
	drop_table = PG_GETARG_BOOL(1);

	SPI_connect();
	dimension = pipeline_scd_find(relid, false);
	pipeline_check_owner(dimension->owner, "dimension", dimension->name);
	LockRelationOid(relid, ShareRowExclusiveLock);
	dimension = pipeline_scd_find(relid, false);
	before = pipeline_scd_jsonb(relid);
	exists = get_rel_name(relid) != NULL;
	pipeline_scd_forget(relid, drop_table || !exists);
	if (drop_table && exists)
	{
		UserScope	scope;

		pipeline_user_begin(&scope, dimension->owner, dimension->search_path);
		(void) pipeline_sql_generated(psprintf("DROP TABLE %s", dimension->name),
									  SPI_OK_UTILITY, false);
		if (OidIsValid(dimension->events) && get_rel_name(dimension->events) != NULL)
			(void) pipeline_sql_generated(psprintf("DROP TABLE %s",
												   pipeline_qualified_name(dimension->events)),
										  SPI_OK_UTILITY, false);
		pipeline_scope_end(&scope);
	}
	pipeline_record_change("drop_dimension", "dimension", dimension->name,
						   before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
