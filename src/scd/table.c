/*
 * table.c
 *	  Make the table of a dimension, and what belongs to it.
 *
 *	surrogate_key	bigint identity, primary key
 *	the business key and the attributes, in the source's types and collations;
 *	beside a type 3 column previous_NAME, beside a type 6 column current_NAME
 *	valid_from, valid_to, is_current, close_reason, merge_id
 *	is_deleted		with hard_deletes => 'new_record'
 *	unique (business key, valid_from), which is also the index on the key
 *	fillfactor 90, and no index on what a close changes: closes are HOT
 *
 * A cdc dimension has a second table, NAME_events, of the events that its
 * versions do not tell.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "scd/scd.h"

/* SQL of a type, whatever the search_path. */
char *
pipeline_scd_type_name(Oid type, int32 typmod)
{
	return format_type_extended(type, typmod,
								FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* SQL of a collation. */
char *
pipeline_scd_collation_name(Oid collation)
{
	HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	name = quote_qualified_identifier(get_namespace_name(form->collnamespace),
									  NameStr(form->collname));
	ReleaseSysCache(tuple);
	return name;
}


/* The name of the column that goes with a type 3 or type 6 column. */
char *
pipeline_scd_companion(const char *prefix, const char *name)
{
	char	   *companion = psprintf("%s%s", prefix, name);

	if (strlen(companion) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("the name of column \"%s\" is too long for its type", name),
				 errdetail("A column \"%s\" goes with it.", companion),
				 errhint("Rename it in the source.")));
	return companion;
}

static void
append_column(StringInfo sql, const Source *source, const char *name,
			  const char *as)
{
	int			n = pipeline_source_column(source, name, "source");
	Form_pg_attribute att = TupleDescAttr(source->columns, n - 1);

	appendStringInfo(sql, ", %s %s", quote_identifier(as),
					 pipeline_scd_type_name(att->atttypid, att->atttypmod));
	if (OidIsValid(att->attcollation) &&
		att->attcollation != get_typcollation(att->atttypid))
		appendStringInfo(sql, " COLLATE %s",
						 pipeline_scd_collation_name(att->attcollation));
}

/* A column of the source, and the one that goes with it. */
static void
append_attribute(StringInfo sql, const Dimension *dimension,
				 const Source *source, const char *name)
{
	append_column(sql, source, name, name);
	if (!dimension->unknown_member &&
		pipeline_list_has(dimension->business_key, name))
		appendStringInfoString(sql, " NOT NULL");
	if (pipeline_list_has(dimension->type3, name))
		append_column(sql, source, name, pipeline_scd_companion(PREVIOUS_PREFIX, name));
	if (pipeline_list_has(dimension->type6, name))
		append_column(sql, source, name, pipeline_scd_companion(CURRENT_PREFIX, name));
}

static void
append_key(StringInfo sql, const Dimension *dimension)
{
	ListCell   *lc;

	foreach(lc, dimension->business_key)
		appendStringInfo(sql, "%s, ", quote_identifier(lfirst(lc)));
}

static void
check_key_types(const Dimension *dimension, const Source *source)
{
	ListCell   *lc;

	foreach(lc, dimension->business_key)
	{
		MergeColumn column = {.name = lfirst(lc),.is_key = true};
		int			n = pipeline_source_column(source, column.name, "source");

		column.type = TupleDescAttr(source->columns, n - 1)->atttypid;
		pipeline_scd_column_init(&column);
	}
}

/*
 * May the current user trust the events table?  His, or of whoever he trusts
 * with the dimension itself.
 */
static bool
is_trusted(const Dimension *dimension)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(dimension->events));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", dimension->events);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return has_privs_of_role(GetUserId(), owner) ||
		object_ownercheck(RelationRelationId, dimension->relid, owner);
}

/* An events table that is there must be one of ours. */
static void
check_events_table(const Dimension *dimension, const char *qualified)
{
	List	   *lists[] = {dimension->business_key, dimension->type0, dimension->type1,
	dimension->type2, dimension->type3, dimension->type6};
	bool		fits = get_rel_relkind(dimension->events) == RELKIND_RELATION &&
		is_trusted(dimension) &&
		get_attnum(dimension->events, EVENTS_AT) != InvalidAttrNumber &&
		get_attnum(dimension->events, EVENTS_DELETE) != InvalidAttrNumber &&
		get_attnum(dimension->events, EVENTS_MERGE) != InvalidAttrNumber &&
		(dimension->sequence_by == NULL ||
		 get_attnum(dimension->events, EVENTS_SEQUENCE) != InvalidAttrNumber);

	for (int i = 0; i < lengthof(lists); i++)
	{
		ListCell   *lc;

		foreach(lc, lists[i])
			fits = fits && get_attnum(dimension->events, lfirst(lc)) != InvalidAttrNumber;
	}
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s is in the way", qualified),
				 errdetail("The table of events of dimension %s would have this name.", dimension->name),
				 errhint("Rename or drop it.")));
}

/* What the table needs beyond its columns to keep its promises. */
static void
append_constraints(StringInfo sql, const Dimension *dimension,
				   const char *const *meta)
{
	appendStringInfoString(sql, ", UNIQUE (");
	append_key(sql, dimension);
	appendStringInfo(sql, "%s), CHECK (%s OPERATOR(pg_catalog.<) %s)",
					 meta[META_VALID_FROM], meta[META_VALID_FROM], meta[META_VALID_TO]);
	if (!dimension->temporal_key)
		return;
	if (!OidIsValid(get_extension_oid("btree_gist", true)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("argument \"temporal_key\" needs the extension btree_gist"),
				 errhint("CREATE EXTENSION btree_gist;")));
	appendStringInfo(sql, ", valid_period pg_catalog.tstzrange GENERATED ALWAYS AS"
					 " (pg_catalog.tstzrange(%s, %s)) STORED, ",
					 meta[META_VALID_FROM], meta[META_VALID_TO]);
	if (HAVE_WITHOUT_OVERLAPS)
	{
		appendStringInfoString(sql, "UNIQUE (");
		append_key(sql, dimension);
		appendStringInfoString(sql, "valid_period WITHOUT OVERLAPS)");
		return;
	}
	appendStringInfoString(sql, "EXCLUDE USING gist (");
	for (int i = 0; i < list_length(dimension->business_key); i++)
		appendStringInfo(sql, "%s WITH OPERATOR(pg_catalog.=), ",
						 quote_identifier(list_nth(dimension->business_key, i)));
	appendStringInfoString(sql, "valid_period WITH OPERATOR(pg_catalog.&&))");
}

/*
 * Make the table, as the current user, with columns in the order of the
 * source.  Inside an SPI connection.
 */
Oid
pipeline_scd_make_table(Dimension *dimension, Source *source,
						Oid schema, const char *name)
{
	StringInfoData sql;
	const char *meta[META_COLUMNS] = {NULL};

	check_key_types(dimension, source);
	for (int i = 0; i < META_COLUMNS; i++)
	{
		if (dimension->names[i] != NULL)
			meta[i] = quote_identifier(dimension->names[i]);
	}
	initStringInfo(&sql);
	if (meta[META_SURROGATE_KEY] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
						 meta[META_SURROGATE_KEY]);
	for (int i = 0; i < source->columns->natts; i++)
	{
		char	   *column = NameStr(TupleDescAttr(source->columns, i)->attname);

		if (pipeline_scd_listed(dimension, column))
			append_attribute(&sql, dimension, source, column);
	}
	appendStringInfo(&sql, ", %s pg_catalog.timestamptz NOT NULL, %s pg_catalog.timestamptz%s",
					 meta[META_VALID_FROM], meta[META_VALID_TO],
					 dimension->open_end_null ? "" : " NOT NULL");
	if (meta[META_IS_CURRENT] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.bool NOT NULL", meta[META_IS_CURRENT]);
	if (meta[META_CLOSE_REASON] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.text", meta[META_CLOSE_REASON]);
	if (meta[META_MERGE_ID] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.int8", meta[META_MERGE_ID]);
	if (meta[META_IS_DELETED] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.bool NOT NULL DEFAULT false", meta[META_IS_DELETED]);
	if (meta[META_SCD_ID] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.text", meta[META_SCD_ID]);
	if (meta[META_UPDATED_AT] != NULL)
		appendStringInfo(&sql, ", %s pg_catalog.timestamptz", meta[META_UPDATED_AT]);
	append_constraints(&sql, dimension, meta);
	/* Each column has ", " before it, the first one too. */
	(void) pipeline_sql_generated(psprintf("CREATE TABLE %s (%s) WITH (fillfactor = 90)",
										   dimension->name, sql.data + 2),
								  SPI_OK_UTILITY, false);
	return get_relname_relid(name, schema);
}

/* Add the index that `current_index` asks for.  As the owner. */
void
pipeline_scd_extra_indexes(const Dimension *dimension)
{
	StringInfoData sql;
	bool		first = true;
	ListCell   *lc;

	if (!dimension->current_index)
		return;
	if (dimension->names[META_IS_CURRENT] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"current_index\" needs the column \"is_current\""),
				 errhint("Argument \"names\" says that there is none.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE UNIQUE INDEX ON %s (", dimension->name);
	foreach(lc, dimension->business_key)
	{
		appendStringInfo(&sql, "%s%s", first ? "" : ", ", quote_identifier(lfirst(lc)));
		first = false;
	}
	appendStringInfo(&sql, ") WHERE %s", quote_identifier(dimension->names[META_IS_CURRENT]));
	(void) pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
}

/*
 * Make the table of events beside the table of a cdc dimension, or find it
 * where an earlier definition or merge left it.  As the owner; for a one-shot
 * merge as the caller.
 */
void
pipeline_scd_make_events(Dimension *dimension, Source *source)
{
	Oid			schema = get_rel_namespace(dimension->relid);
	char	   *base = get_rel_name(dimension->relid);
	char	   *name = psprintf("%.*s_events",
								pg_mbcliplen(base, strlen(base), NAMEDATALEN - 8), base);
	char	   *qualified = quote_qualified_identifier(get_namespace_name(schema), name);
	StringInfoData sql;

	if (!DIMENSION_IS_CDC(dimension) || OidIsValid(dimension->events))
		return;
	dimension->events = get_relname_relid(name, schema);
	if (OidIsValid(dimension->events))
	{
		check_events_table(dimension, qualified);
		return;
	}
	initStringInfo(&sql);
	for (int i = 0; i < source->columns->natts; i++)
	{
		char	   *column = NameStr(TupleDescAttr(source->columns, i)->attname);

		if (pipeline_scd_listed(dimension, column))
			append_column(&sql, source, column, column);
	}
	appendStringInfoString(&sql, ", " EVENTS_AT " pg_catalog.timestamptz NOT NULL, "
						   EVENTS_DELETE " pg_catalog.bool NOT NULL, " EVENTS_MERGE " pg_catalog.int8");
	if (dimension->sequence_by != NULL)
		append_column(&sql, source, dimension->sequence_by, EVENTS_SEQUENCE);
	(void) pipeline_sql_generated(psprintf("CREATE TABLE %s (%s)", qualified, sql.data + 2),
								  SPI_OK_UTILITY, false);
	resetStringInfo(&sql);
	appendStringInfo(&sql, "CREATE INDEX ON %s (", qualified);
	append_key(&sql, dimension);
	appendStringInfoString(&sql, EVENTS_AT ")");
	(void) pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
	(void) pipeline_sql_generated(psprintf("COMMENT ON TABLE %s IS %s", qualified,
										   quote_literal_cstr(psprintf("Events of dimension %s that its versions do not tell; kept by pipeline.", dimension->name))),
								  SPI_OK_UTILITY, false);
	dimension->events = get_relname_relid(name, schema);
}

/* Add the columns that are new in the source to the table, as the owner. */
void
pipeline_scd_add_columns(Dimension *dimension, Source *source)
{
	ListCell   *lc;
	Oid			tables[2] = {dimension->relid, dimension->events};

	foreach(lc, dimension->added)
	{
		for (int t = 0; t < 2; t++)
		{
			StringInfoData sql;

			if (!OidIsValid(tables[t]) ||
				get_attnum(tables[t], lfirst(lc)) != InvalidAttrNumber)
				continue;
			initStringInfo(&sql);
			append_column(&sql, source, lfirst(lc), lfirst(lc));
			(void) pipeline_sql_generated(psprintf("ALTER TABLE %s ADD COLUMN %s",
												   pipeline_qualified_name(tables[t]),
												   sql.data + 2),
										  SPI_OK_UTILITY, false);
		}
		dimension->type2 = lappend(dimension->type2, lfirst(lc));
	}
}

/* Is the type a domain that takes no NULL? */
static bool
refuses_null(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		refuses;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	refuses = ((Form_pg_type) GETSTRUCT(tuple))->typnotnull;
	ReleaseSysCache(tuple);
	return refuses;
}

/* A column that must not be NULL leaves no room for the unknown member. */
static void
check_room_for_unknown(const Dimension *dimension)
{
	Relation	rel = relation_open(dimension->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !att->atthasdef &&
			(att->attnotnull || refuses_null(att->atttypid)) &&
			pipeline_scd_listed(dimension, NameStr(att->attname)))
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("cannot add the unknown member to table %s: column \"%s\" must not be null",
							dimension->name, NameStr(att->attname)),
					 errhint("Insert a row of your own with \"%s\" %d, or use unknown_member => false.",
							 dimension->names[META_SURROGATE_KEY], UNKNOWN_MEMBER)));
	}
	relation_close(rel, NoLock);
}

/*
 * Add the unknown member to a table that lacks it.  Inside an SPI connection,
 * as the owner.
 */
void
pipeline_scd_unknown_member(Dimension *dimension)
{
	const char *sk;
	const char *current = dimension->names[META_IS_CURRENT];
	char	   *end = dimension->open_end_null ? "NULL" :
		quote_literal_cstr(timestamptz_to_str(dimension->open_end));

	if (!dimension->unknown_member)
		return;
	sk = quote_identifier(dimension->names[META_SURROGATE_KEY]);
	if (pipeline_sql_generated(psprintf("SELECT 1 FROM %s WHERE %s OPERATOR(pg_catalog.=) %d",
										dimension->name, sk, UNKNOWN_MEMBER),
							   SPI_OK_SELECT, false) > 0)
		return;
	check_room_for_unknown(dimension);
	(void) pipeline_sql_generated(psprintf("INSERT INTO %s (%s, %s, %s%s%s) OVERRIDING SYSTEM VALUE"
										   " VALUES (%d, '-infinity', %s%s)",
										   dimension->name, sk,
										   quote_identifier(dimension->names[META_VALID_FROM]),
										   quote_identifier(dimension->names[META_VALID_TO]),
										   current ? ", " : "",
										   current ? quote_identifier(current) : "",
										   UNKNOWN_MEMBER, end,
										   current == NULL ? "" :
										   get_atttype(dimension->relid, get_attnum(dimension->relid, current)) == BOOLOID ?
										   ", true" : ", 1"),
								  SPI_OK_INSERT, false);
}
