/*
 * adopt.c
 *	  Does a table that exists fit the definition of a dimension, and is its
 *	  history one that a merge could have written?
 *
 * Other tools' tables fit as they stand: valid_from and valid_to can be
 * timestamps without a time zone or dates, is_current a number or not there
 * at all, and there need be no surrogate key.
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

/* May the column for `meta` have this type? */
static bool
meta_type_fits(MetaColumn meta, Oid type)
{
	switch (meta)
	{
		case META_VALID_FROM:
		case META_VALID_TO:
		case META_UPDATED_AT:
			return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
		case META_IS_CURRENT:
		case META_IS_DELETED:
			return type == BOOLOID || type == INT2OID || type == INT4OID || type == INT8OID;
		case META_SURROGATE_KEY:
			return type == INT8OID || type == INT4OID || type == INT2OID;
		case META_MERGE_ID:
			return type == INT8OID;
		default:
			return type == TEXTOID || type == VARCHAROID;
	}
}

/* Check one of the columns that we write. */
static void
check_meta_column(const Dimension *dimension, Relation rel, MetaColumn meta)
{
	static const Oid types[META_COLUMNS] = {
		INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, TEXTOID, INT8OID,
		BOOLOID, TEXTOID, TIMESTAMPTZOID
	};
	const char *name = dimension->names[meta];
	Form_pg_attribute att;

	if (name == NULL)
		return;
	att = find_column(rel, name);
	if (att == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table %s has no column \"%s\"", dimension->name, name),
				 errdetail("It is the column for \"%s\".", pipeline_meta_names[meta]),
				 errhint("Add it: ALTER TABLE %s ADD COLUMN %s %s%s, or say by argument \"names\" which column it is%s.",
						 dimension->name, quote_identifier(name),
						 format_type_be(types[meta]),
						 meta == META_SURROGATE_KEY ? " GENERATED ALWAYS AS IDENTITY" : "",
						 meta == META_VALID_FROM || meta == META_VALID_TO ? "" :
						 ", or by null that there is none")));
	if (!meta_type_fits(meta, att->atttypid))
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

/* Is it one of the columns that we write beside a type 3 or type 6 column? */
static bool
is_companion(const Dimension *dimension, const char *name)
{
	return (strncmp(name, PREVIOUS_PREFIX, strlen(PREVIOUS_PREFIX)) == 0 &&
			pipeline_list_has(dimension->type3, name + strlen(PREVIOUS_PREFIX))) ||
		(strncmp(name, CURRENT_PREFIX, strlen(CURRENT_PREFIX)) == 0 &&
		 pipeline_list_has(dimension->type6, name + strlen(CURRENT_PREFIX)));
}

/* The column that goes with a type 3 or type 6 column must be there. */
static void
check_companion(const Dimension *dimension, Relation rel, const List *list,
				const char *name)
{
	char	   *companion;

	if (list != dimension->type3 && list != dimension->type6)
		return;
	companion = pipeline_scd_companion(list == dimension->type3 ? PREVIOUS_PREFIX : CURRENT_PREFIX, name);
	if (find_column(rel, companion) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table %s has no column \"%s\"", dimension->name, companion),
				 errdetail("It goes with column \"%s\" of type %d.", name,
						   list == dimension->type3 ? 3 : 6),
				 errhint("Add it, with the type of \"%s\".", name)));
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
			meta = meta || (dimension->names[m] != NULL &&
							strcmp(dimension->names[m], NameStr(att->attname)) == 0);
		if (meta || is_companion(dimension, NameStr(att->attname)))
			continue;
		if (pipeline_scd_listed(dimension, NameStr(att->attname)))
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
	List	   *lists[] = {dimension->business_key, dimension->type1, dimension->type2,
	dimension->type0, dimension->type3, dimension->type6};

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a table", dimension->name),
				 errhint("A dimension is a table or a partitioned table.")));
	for (int m = 0; m < META_COLUMNS; m++)
		check_meta_column(dimension, rel, m);
	for (int i = 0; i < lengthof(lists); i++)
	{
		ListCell   *lc;

		foreach(lc, lists[i])
		{
			check_companion(dimension, rel, lists[i], lfirst(lc));
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
	const char *current = dimension->names[META_IS_CURRENT];
	char	   *is_open = dimension->open_end_null ? "h.\"pipeline to\" IS NULL" :
		psprintf("(h.\"pipeline to\" OPERATOR(pg_catalog.=) %s::pg_catalog.timestamptz)",
				 quote_literal_cstr(timestamptz_to_str(dimension->open_end)));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT pg_catalog.count(*) FILTER (WHERE false");
	foreach(lc, dimension->business_key)
		appendStringInfo(&sql, " OR h.%s IS NOT DISTINCT FROM NULL", quote_identifier(lfirst(lc)));
	appendStringInfo(&sql, "), pg_catalog.count(*) FILTER (WHERE (h.\"pipeline from\" OPERATOR(pg_catalog.<) h.\"pipeline to\") IS NOT TRUE");
	if (dimension->open_end_null)
		appendStringInfoString(&sql, " AND (h.\"pipeline from\" IS NULL OR h.\"pipeline to\" IS NOT NULL)");
	appendStringInfoChar(&sql, ')');
	appendStringInfo(&sql, ", pg_catalog.count(*) FILTER (WHERE (%s IS TRUE) OPERATOR(pg_catalog.<>) (%s))",
					 is_open, current == NULL ? psprintf("%s IS TRUE", is_open) :
					 psprintf("h.%s::pg_catalog.%s IS TRUE", quote_identifier(current),
							  get_atttype(dimension->relid, get_attnum(dimension->relid, current)) == BOOLOID ?
							  "bool" : "int4::pg_catalog.bool"));
	appendStringInfoString(&sql, ", pg_catalog.count(*) FILTER (WHERE h.\"pipeline from\" OPERATOR(pg_catalog.<) COALESCE(h.\"pipeline previous\", 'infinity'))");
	appendStringInfo(&sql, " FROM (SELECT t.*, t.%s::pg_catalog.timestamptz AS \"pipeline from\", t.%s::pg_catalog.timestamptz AS \"pipeline to\","
					 " CASE WHEN pg_catalog.row_number() OVER w OPERATOR(pg_catalog.>) 1"
					 " THEN COALESCE(pg_catalog.lag(t.%s::pg_catalog.timestamptz) OVER w, 'infinity') ELSE '-infinity' END AS \"pipeline previous\""
					 " FROM %s t", from, to, to, dimension->name);
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
