/*
 * merge_plan.c
 *	  Bring the source and the table together: which columns, how they are
 *	  compared, and the SQL that reads both sides once.
 *
 * The classifying query is one outer join of the source with the current
 * versions, on the business key.  It is FULL for a snapshot, so that keys the
 * source lacks come out too, and LEFT for a delta.  It returns rows, not
 * classes: merge_classify.c compares the values itself, since the default
 * equality of a type cannot be spelled for every type, and since it is
 * faster.  Source rows are numbered, so that a row that meets two current
 * versions is noticed.
 */
#include "postgres.h"

#include "access/relation.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "scd/scd.h"

static void
refuse_type(const MergePlan *plan, const MergeColumn *column,
			Form_pg_attribute in_source)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of the source does not have the type of dimension %s",
					column->name, plan->dimension->name),
			 errdetail("It has type %s, not %s.",
					   format_type_with_typemod(in_source->atttypid, in_source->atttypmod),
					   format_type_with_typemod(column->type, column->typmod)),
			 errhint("Cast it in the source: %s::%s.",
					 quote_identifier(column->name),
					 format_type_with_typemod(column->type, column->typmod))));
}

/*
 * SQL of a source column as an INSERT would store it: in the length and
 * precision of the table's column (rounded, or refused when too long, as by
 * assignment), and under its collation.  Otherwise a numeric(10,2) would
 * differ for ever from the value that was rounded into it.
 */
static char *
source_value(const MergePlan *plan, const MergeColumn *column,
			 Form_pg_attribute in_source)
{
	char	   *value = psprintf("%s.%s", plan->alias, quote_identifier(column->name));

	if (column->typmod >= 0 && column->typmod != in_source->atttypmod)
	{
		Oid			function;

		if (find_typmod_coercion_function(column->type, &function) != COERCION_PATH_FUNC)
			refuse_type(plan, column, in_source);
		value = psprintf("%s(%s, %d%s)",
						 quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
													get_func_name(function)),
						 value, column->typmod,
						 get_func_nargs(function) == 3 ? ", false" : "");
	}
	if (OidIsValid(column->collation) && column->collation != in_source->attcollation)
		value = psprintf("(%s COLLATE %s)", value,
						 pipeline_scd_collation_name(column->collation));
	return value;
}

static void
add_column(MergePlan *plan, TupleDesc table, const char *name,
		   bool is_key, bool is_type1)
{
	MergeColumn *column = &plan->columns[plan->ncolumns++];
	int			n = pipeline_source_column(plan->source, name, "source");
	Form_pg_attribute in_source = TupleDescAttr(plan->source->columns, n - 1);

	column->name = pstrdup(name);
	column->is_key = is_key;
	column->is_type1 = is_type1;
	for (int i = 0; i < table->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(table, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->collation = att->attcollation;
	}
	if (column->type != in_source->atttypid)
		refuse_type(plan, column, in_source);
	pipeline_scd_column_init(column);
	column->value = source_value(plan, column, in_source);
}

/* An alias for the source that is no column of it. */
static char *
source_alias(const Source *source)
{
	char	   *alias = "x";

	for (int i = 0; i < source->columns->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(source->columns, i)->attname), alias) != 0)
			continue;
		alias = psprintf("%sx", alias);
		i = -1;
	}
	return alias;
}

/*
 * Make the plan.  The lists of columns are resolved and the table is checked.
 * Raises 42804 where a column of the source has another type.
 */
MergePlan *
pipeline_scd_plan(Dimension *dimension, Source *source)
{
	MergePlan  *plan = palloc0(sizeof(MergePlan));
	Relation	rel = relation_open(dimension->relid, AccessShareLock);
	TupleDesc	table = RelationGetDescr(rel);
	ListCell   *lc;

	plan->dimension = dimension;
	plan->source = source;
	plan->alias = source_alias(source);
	plan->has_leaves = rel->rd_rel->relhassubclass ||
		rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	for (int m = 0; m < META_COLUMNS; m++)
		plan->meta[m] = pstrdup(quote_identifier(dimension->names[m]));
	plan->nkeys = list_length(dimension->business_key);
	plan->columns = palloc0_array(MergeColumn, source->columns->natts);
	foreach(lc, dimension->business_key)
		add_column(plan, table, lfirst(lc), true, false);
	foreach(lc, dimension->type1)
		add_column(plan, table, lfirst(lc), false, true);
	foreach(lc, dimension->type2)
		add_column(plan, table, lfirst(lc), false, false);
	plan->max_delete_fraction = dimension->max_delete_fraction;
	relation_close(rel, NoLock);
	return plan;
}

static void
append_live_side(StringInfo sql, const MergePlan *plan)
{
	appendStringInfo(sql, "(SELECT t.ctid AS tid, t.tableoid AS rel, t.%s AS opened, t.%s AS merge",
					 plan->meta[META_VALID_FROM], plan->meta[META_MERGE_ID]);
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(sql, ", t.%s AS c%d",
						 quote_identifier(plan->columns[i].name), i + 1);
	appendStringInfo(sql, " FROM %s t WHERE t.%s", plan->dimension->name,
					 plan->meta[META_IS_CURRENT]);
	if (plan->dimension->unknown_member)
		appendStringInfo(sql, " AND t.%s OPERATOR(pg_catalog.<>) %d",
						 plan->meta[META_SURROGATE_KEY], UNKNOWN_MEMBER);
	appendStringInfoString(sql, ") l");
}

/*
 * The classifying query: the source row's number (NULL for a missing key),
 * its columns (the key of either side), and of the current version its
 * place, valid_from, merge and attributes.
 */
char *
pipeline_scd_classify_sql(const MergePlan *plan)
{
	bool		full = DIMENSION_IS_SNAPSHOT(plan->dimension);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT s.n");
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(&sql, full && plan->columns[i].is_key ?
						 ", COALESCE(s.c%d, l.c%d)" : ", s.c%d", i + 1, i + 1);
	appendStringInfoString(&sql, ", l.tid, l.rel, l.opened, l.merge");
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
		appendStringInfo(&sql, ", l.c%d", i + 1);
	appendStringInfoString(&sql, " FROM (SELECT pg_catalog.row_number() OVER () AS n");
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(&sql, ", %s AS c%d", plan->columns[i].value, i + 1);
	appendStringInfo(&sql, " FROM %s AS %s) s %s JOIN ", plan->source->from,
					 plan->alias, full ? "FULL" : "LEFT");
	append_live_side(&sql, plan);
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, " %s s.c%d %s l.c%d", i ? "AND" : "ON",
						 i + 1, plan->columns[i].operator, i + 1);
	return sql.data;
}

/* The columns of the source alone, to fingerprint a batch. */
char *
pipeline_scd_content_sql(const MergePlan *plan)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(&sql, "%s%s", i ? ", " : "SELECT ", plan->columns[i].value);
	appendStringInfo(&sql, " FROM %s AS %s", plan->source->from, plan->alias);
	return sql.data;
}
