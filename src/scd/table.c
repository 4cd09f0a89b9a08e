/*
 * table.c
 *	  The table of a dimension: made when it is missing, checked when it
 *	  exists.
 *
 * A table that we make:
 *
 *	surrogate_key	bigint identity, primary key
 *	the business key and the attributes, in the source's types and collations
 *	valid_from, valid_to, is_current, close_reason, merge_id
 *	unique (business key, valid_from), which is also the index on the key
 *	fillfactor 90, and no index on what a close changes: closes are HOT
 *
 * A table that exists must have the same columns; its history must be one
 * that a merge could have written.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
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

/* ---- columns of the source ---------------------------------------------- */

static List *
missing_columns(const Source *source, const List *wanted, List *missing)
{
	ListCell   *lc;

	foreach(lc, wanted)
	{
		bool		found = false;

		for (int i = 0; i < source->columns->natts && !found; i++)
			found = strcmp(NameStr(TupleDescAttr(source->columns, i)->attname),
						   lfirst(lc)) == 0;
		if (!found)
			missing = lappend(missing, lfirst(lc));
	}
	return missing;
}

static bool
is_listed(const Dimension *dimension, const char *name)
{
	return pipeline_list_has(dimension->business_key, name) ||
		pipeline_list_has(dimension->type1, name) ||
		pipeline_list_has(dimension->type2, name);
}

static void
refuse_new_columns(const Dimension *dimension, const List *names)
{
	if (OidIsValid(dimension->owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the source has columns that dimension %s does not have",
						dimension->name),
				 errdetail("New columns: %s.", pipeline_list_join(names, ", ")),
				 errhint("Leave them out of the source, or add them to the table and call create_dimension(..., or_replace => true).")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("columns of the source are in none of \"business_key\", \"type1\" and \"type2\""),
			 errdetail("Columns: %s.", pipeline_list_join(names, ", ")),
			 errhint("List them, leave \"type2\" out, or select fewer columns in the source.")));
}

/* Raise 54011 if the classifying query would have too many columns. */
static void
check_width(const Dimension *dimension, const Source *source)
{
	int			nkeys = list_length(dimension->business_key);
	int			most = (MaxTupleAttributeNumber - CLASSIFY_COLUMNS + nkeys) / 2;

	if (source->columns->natts > most)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("the source has too many columns for dimension %s", dimension->name),
				 errdetail("It has %d; a merge reads both sides at once, %d columns of each at most.",
						   source->columns->natts, most),
				 errhint("Split the attributes over two dimensions.")));
}

/*
 * Bring the lists of columns and the columns of the source together: each
 * listed column must be in the source, and each column of the source in a
 * list.  A type2 of "all others" is filled in.
 */
void
pipeline_scd_resolve(Dimension *dimension, Source *source)
{
	List	   *missing = NIL;
	List	   *extra = NIL;

	missing = missing_columns(source, dimension->business_key, missing);
	missing = missing_columns(source, dimension->type1, missing);
	missing = missing_columns(source, dimension->type2, missing);
	if (missing != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the source lacks columns of dimension %s", dimension->name),
				 errdetail("Missing columns: %s.", pipeline_list_join(missing, ", ")),
				 errhint("The source must return the business key and every type 1 and type 2 column.")));
	for (int i = 0; i < source->columns->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(source->columns, i)->attname);

		(void) pipeline_source_column(source, name, "source");
		for (int m = 0; m < META_COLUMNS; m++)
		{
			if (strcmp(name, dimension->names[m]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" of the source has the name of a column that pipeline writes", name),
						 errhint("Rename one of them: argument \"names\" takes another name for \"%s\".",
								 pipeline_meta_names[m])));
		}
		if (is_listed(dimension, name))
			continue;
		if (dimension->type2_rest)
			dimension->type2 = lappend(dimension->type2, pstrdup(name));
		else
			extra = lappend(extra, name);
	}
	if (extra != NIL)
		refuse_new_columns(dimension, extra);
	check_width(dimension, source);
	dimension->type2_rest = false;
}

/* ---- making it ---------------------------------------------------------- */

static void
append_column(StringInfo sql, const Dimension *dimension,
			  const Source *source, const char *name)
{
	int			n = pipeline_source_column(source, name, "source");
	Form_pg_attribute att = TupleDescAttr(source->columns, n - 1);

	appendStringInfo(sql, ", %s %s", quote_identifier(name),
					 pipeline_scd_type_name(att->atttypid, att->atttypmod));
	if (OidIsValid(att->attcollation) &&
		att->attcollation != get_typcollation(att->atttypid))
		appendStringInfo(sql, " COLLATE %s",
						 pipeline_scd_collation_name(att->attcollation));
	if (!dimension->unknown_member &&
		pipeline_list_has(dimension->business_key, name))
		appendStringInfoString(sql, " NOT NULL");
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
 * Make the table, as the current user, with columns in the order of the
 * source.  Inside an SPI connection.
 */
Oid
pipeline_scd_make_table(Dimension *dimension, Source *source,
						Oid schema, const char *name)
{
	StringInfoData sql;
	const char *meta[META_COLUMNS];

	check_key_types(dimension, source);
	for (int i = 0; i < META_COLUMNS; i++)
		meta[i] = quote_identifier(dimension->names[i]);
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (%s pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
					 dimension->name, meta[META_SURROGATE_KEY]);
	for (int i = 0; i < source->columns->natts; i++)
		append_column(&sql, dimension, source,
					  NameStr(TupleDescAttr(source->columns, i)->attname));
	appendStringInfo(&sql, ", %s pg_catalog.timestamptz NOT NULL, %s pg_catalog.timestamptz%s",
					 meta[META_VALID_FROM], meta[META_VALID_TO],
					 dimension->open_end_null ? "" : " NOT NULL");
	appendStringInfo(&sql, ", %s pg_catalog.bool NOT NULL, %s pg_catalog.text, %s pg_catalog.int8, UNIQUE (",
					 meta[META_IS_CURRENT], meta[META_CLOSE_REASON],
					 meta[META_MERGE_ID]);
	append_key(&sql, dimension);
	appendStringInfo(&sql, "%s), CHECK (%s OPERATOR(pg_catalog.<) %s)) WITH (fillfactor = 90)",
					 meta[META_VALID_FROM], meta[META_VALID_FROM], meta[META_VALID_TO]);
	(void) pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
	return get_relname_relid(name, schema);
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
			is_listed(dimension, NameStr(att->attname)))
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
	const char *sk = quote_identifier(dimension->names[META_SURROGATE_KEY]);
	char	   *end = dimension->open_end_null ? "NULL" :
		quote_literal_cstr(timestamptz_to_str(dimension->open_end));

	if (!dimension->unknown_member ||
		pipeline_sql_generated(psprintf("SELECT 1 FROM %s WHERE %s OPERATOR(pg_catalog.=) %d",
										dimension->name, sk, UNKNOWN_MEMBER),
							   SPI_OK_SELECT, false) > 0)
		return;
	check_room_for_unknown(dimension);
	(void) pipeline_sql_generated(psprintf("INSERT INTO %s (%s, %s, %s, %s) OVERRIDING SYSTEM VALUE"
										   " VALUES (%d, '-infinity', %s, true)",
										   dimension->name, sk,
										   quote_identifier(dimension->names[META_VALID_FROM]),
										   quote_identifier(dimension->names[META_VALID_TO]),
										   quote_identifier(dimension->names[META_IS_CURRENT]),
										   UNKNOWN_MEMBER, end),
								  SPI_OK_INSERT, false);
}

/* ---- checking it -------------------------------------------------------- */

static Form_pg_attribute
find_column(Relation rel, const char *name)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att;
	}
	return NULL;
}

static bool
fills_itself(Form_pg_attribute att)
{
	return att->atthasdef || att->attidentity != '\0' || att->attgenerated != '\0';
}

/* Check one of the columns that we write. */
static void
check_meta_column(const Dimension *dimension, Relation rel, MetaColumn meta)
{
	static const Oid types[META_COLUMNS] = {
		INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, TEXTOID, INT8OID
	};
	const char *name = dimension->names[meta];
	Form_pg_attribute att = find_column(rel, name);
	bool		fits;

	if (att == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table %s has no column \"%s\"", dimension->name, name),
				 errdetail("It is the column for \"%s\".", pipeline_meta_names[meta]),
				 errhint("Add it: ALTER TABLE %s ADD COLUMN %s %s%s, or say by argument \"names\" which column it is.",
						 dimension->name, quote_identifier(name),
						 format_type_be(types[meta]),
						 meta == META_SURROGATE_KEY ? " GENERATED ALWAYS AS IDENTITY" : "")));
	fits = att->atttypid == types[meta] ||
		(meta == META_SURROGATE_KEY &&
		 (att->atttypid == INT4OID || att->atttypid == INT2OID));
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s has type %s", name,
						dimension->name, format_type_be(att->atttypid)),
				 errdetail("The column for \"%s\" must have type %s.",
						   pipeline_meta_names[meta], format_type_be(types[meta])),
				 errhint("Alter its type, or say by argument \"names\" which column it is.")));
	if (meta == META_SURROGATE_KEY ? !fills_itself(att) || att->attgenerated != '\0'
		: att->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table %s cannot be the column for \"%s\"",
						name, dimension->name, pipeline_meta_names[meta]),
				 errdetail("%s", meta == META_SURROGATE_KEY ?
						   "It is neither an identity column nor has it a default." :
						   "It is a generated column."),
				 errhint("Alter it, or say by argument \"names\" which column it is.")));
}

/* Every column that a merge does not write must fill itself. */
static void
check_other_columns(const Dimension *dimension, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		meta = false;

		if (att->attisdropped)
			continue;
		for (int m = 0; m < META_COLUMNS; m++)
			meta = meta || strcmp(dimension->names[m], NameStr(att->attname)) == 0;
		if (meta)
			continue;
		if (is_listed(dimension, NameStr(att->attname)))
		{
			if (att->attgenerated != '\0')
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						 errmsg("column \"%s\" of table %s is generated",
								NameStr(att->attname), dimension->name),
						 errhint("Leave it out of the source.")));
			continue;
		}
		if (!fills_itself(att))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the source lacks columns of dimension %s", dimension->name),
					 errdetail("Missing columns: %s.", NameStr(att->attname)),
					 errhint("Add it to the source, or give the table's column a default: new versions would not know its value.")));
	}
}

/*
 * Check that the table has the columns of the dimension, as far as that does
 * not depend on the source.
 */
void
pipeline_scd_check_table(Dimension *dimension)
{
	Relation	rel = relation_open(dimension->relid, AccessShareLock);
	List	   *lists[] = {dimension->business_key, dimension->type1, dimension->type2};

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a table", dimension->name),
				 errhint("A dimension is a table or a partitioned table.")));
	for (int m = 0; m < META_COLUMNS; m++)
		check_meta_column(dimension, rel, m);
	for (int i = 0; i < 3; i++)
	{
		ListCell   *lc;

		foreach(lc, lists[i])
		{
			if (find_column(rel, lfirst(lc)) == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_COLUMN),
						 errmsg("table %s has no column \"%s\"",
								dimension->name, (char *) lfirst(lc)),
						 errdetail("The source has it."),
						 errhint("Add it to the table, or leave it out of the source.")));
		}
	}
	check_other_columns(dimension, rel);
	if (check_enable_rls(dimension->relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security is in force on %s for role \"%s\"",
						dimension->name, GetUserNameFromId(GetUserId(), false)),
				 errdetail("A merge must see every version."),
				 errhint("Let a role that bypasses the policies own the dimension.")));
	relation_close(rel, NoLock);
}

/* SQL of a list of columns, each with a prefix. */
static char *
column_list(const List *names, const char *prefix)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, names)
		appendStringInfo(&sql, "%s%s%s", lc == list_head(names) ? "" : ", ",
						 prefix, quote_identifier(lfirst(lc)));
	return sql.data;
}

/*
 * Check the history of a table that is adopted, in one pass: no NULL keys,
 * valid_from before valid_to, current exactly where the end is open, no
 * overlaps.  Inside an SPI connection, as the owner.
 */
void
pipeline_scd_check_history(Dimension *dimension)
{
	static const char *const faults[] = {
		"a business key is null",
		"valid_from is null or not before valid_to",
		"is_current does not agree with valid_to",
		"versions of one key overlap"
	};
	StringInfoData sql;
	ListCell   *lc;
	const char *from = quote_identifier(dimension->names[META_VALID_FROM]);
	const char *to = quote_identifier(dimension->names[META_VALID_TO]);
	char	   *end = dimension->open_end_null ? "NULL::pg_catalog.timestamptz" :
		psprintf("%s::pg_catalog.timestamptz",
				 quote_literal_cstr(timestamptz_to_str(dimension->open_end)));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT pg_catalog.count(*) FILTER (WHERE false");
	foreach(lc, dimension->business_key)
		appendStringInfo(&sql, " OR h.%s IS NOT DISTINCT FROM NULL", quote_identifier(lfirst(lc)));
	appendStringInfo(&sql, "), pg_catalog.count(*) FILTER (WHERE (h.%s OPERATOR(pg_catalog.<) h.%s) IS NOT TRUE",
					 from, to);
	if (dimension->open_end_null)
		appendStringInfo(&sql, " AND (h.%s IS NULL OR h.%s IS NOT NULL)", from, to);
	appendStringInfoChar(&sql, ')');
	appendStringInfo(&sql, ", pg_catalog.count(*) FILTER (WHERE (h.%s IS NOT DISTINCT FROM %s) IS DISTINCT FROM h.%s)",
					 to, end, quote_identifier(dimension->names[META_IS_CURRENT]));
	appendStringInfo(&sql, ", pg_catalog.count(*) FILTER (WHERE h.%s OPERATOR(pg_catalog.<) COALESCE(h.\"pipeline previous\", 'infinity'))",
					 from);
	appendStringInfo(&sql, " FROM (SELECT t.*, CASE WHEN pg_catalog.row_number() OVER w OPERATOR(pg_catalog.>) 1"
					 " THEN COALESCE(pg_catalog.lag(t.%s) OVER w, 'infinity') ELSE '-infinity' END AS \"pipeline previous\""
					 " FROM %s t", to, dimension->name);
	if (dimension->unknown_member)
		appendStringInfo(&sql, " WHERE t.%s OPERATOR(pg_catalog.<>) %d",
						 quote_identifier(dimension->names[META_SURROGATE_KEY]), UNKNOWN_MEMBER);
	appendStringInfo(&sql, " WINDOW w AS (PARTITION BY %s ORDER BY t.%s)) h",
					 column_list(dimension->business_key, "t."), from);
	(void) pipeline_sql_generated(sql.data, SPI_OK_SELECT, false);
	for (int i = 0; i < lengthof(faults); i++)
	{
		int64		n = pipeline_sql_int8(0, i + 1);

		if (n > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table %s cannot be adopted: %s", dimension->name, faults[i]),
					 errdetail("Rows at fault: %lld.", (long long) n),
					 errhint("Repair the history first.")));
	}
}
