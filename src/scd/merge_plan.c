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
#include "catalog/pg_collation.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
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
add_column(MergePlan *plan, TupleDesc table, const char *name, char role)
{
	MergeColumn *column = &plan->columns[plan->ncolumns++];
	int			n = pipeline_source_column(plan->source, name, "source");
	Form_pg_attribute in_source = TupleDescAttr(plan->source->columns, n - 1);

	column->name = pstrdup(name);
	column->role = role;
	column->is_key = role == ROLE_KEY;
	/* A column that is new fills the versions that are there. */
	column->is_type1 = role == ROLE_TYPE1 ||
		pipeline_list_has(plan->dimension->added, name);
	if (column->is_type1)
		column->role = ROLE_TYPE1;
	if (role == ROLE_TYPE3)
		column->companion = pipeline_scd_companion(PREVIOUS_PREFIX, name);
	if (role == ROLE_TYPE6)
		column->companion = pipeline_scd_companion(CURRENT_PREFIX, name);
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
	column->plain = strcmp(column->value, psprintf("%s.%s", plan->alias, quote_identifier(column->name))) == 0;
	if (column->is_key)
		column->image_equality = pipeline_scd_image_equality(column);
}

static void
add_columns(MergePlan *plan, TupleDesc table, const List *names, char role)
{
	ListCell   *lc;

	foreach(lc, names)
		add_column(plan, table, lfirst(lc), role);
}

/* A column of the source that tells of the event. */
static MergeColumn *
event_column(MergePlan *plan, int which, const char *name)
{
	MergeColumn *column;
	Form_pg_attribute att;
	Oid			type;

	if (name == NULL)
		return NULL;
	column = palloc0(sizeof(MergeColumn));
	att = TupleDescAttr(plan->source->columns,
						pipeline_source_column(plan->source, name, "source") - 1);
	column->name = pstrdup(name);
	column->type = type = att->atttypid;
	column->typmod = att->atttypmod;
	column->collation = att->attcollation;
	column->value = psprintf("%s.%s", plan->alias, quote_identifier(name));
	if (which == EVENT_AT)
	{
		if (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of the source cannot be \"effective_at\"", name),
					 errdetail("It has type %s.", format_type_be(type)),
					 errhint("Cast it in the source to timestamptz.")));
		column->type = TIMESTAMPTZOID;
		column->typmod = -1;
		column->value = psprintf("%s::pg_catalog.timestamptz", column->value);
	}
	if (which == EVENT_OPERATION)
	{
		column->type = TEXTOID;
		column->typmod = -1;
		column->collation = DEFAULT_COLLATION_OID;
		column->value = psprintf("%s::pg_catalog.text", column->value);
	}
	/* The order of a sequence is the default one of its type, as a key's is. */
	column->is_key = which == EVENT_SEQUENCE;
	pipeline_scd_column_init(column);
	return column;
}

/* Find the types of the columns that we write, and quote their names. */
static void
plan_meta(MergePlan *plan)
{
	const Dimension *dimension = plan->dimension;

	for (int m = 0; m < META_COLUMNS; m++)
	{
		AttrNumber	n;

		if (dimension->names[m] == NULL)
			continue;
		plan->meta[m] = pstrdup(quote_identifier(dimension->names[m]));
		n = get_attnum(dimension->relid, dimension->names[m]);
		if (n != InvalidAttrNumber)
			plan->meta_type[m] = get_atttype(dimension->relid, n);
	}
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

	plan->dimension = dimension;
	plan->source = source;
	plan->alias = source_alias(source);
	plan->has_leaves = rel->rd_rel->relhassubclass ||
		rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	plan_meta(plan);
	plan->path = "executor";
	plan->nkeys = list_length(dimension->business_key);
	plan->columns = palloc0_array(MergeColumn, source->columns->natts + 1);
	add_columns(plan, table, dimension->business_key, ROLE_KEY);
	add_columns(plan, table, dimension->type1, ROLE_TYPE1);
	add_columns(plan, table, dimension->type0, ROLE_TYPE0);
	add_columns(plan, table, dimension->type3, ROLE_TYPE3);
	add_columns(plan, table, dimension->type2, ROLE_TYPE2);
	add_columns(plan, table, dimension->type6, ROLE_TYPE6);
	plan->event[EVENT_AT] = event_column(plan, EVENT_AT, dimension->effective_at);
	plan->event[EVENT_SEQUENCE] = event_column(plan, EVENT_SEQUENCE, dimension->sequence_by);
	plan->event[EVENT_OPERATION] = event_column(plan, EVENT_OPERATION, dimension->operation_column);
	plan->max_delete_fraction = dimension->max_delete_fraction;
	relation_close(rel, NoLock);
	return plan;
}

/*
 * Why the history of each key that a batch names is read and replayed, rather
 * than the current versions alone compared; NULL where they are.
 */
const char *
pipeline_scd_events_reason(const Dimension *d)
{
	if (DIMENSION_IS_CDC(d))
		return "the feed is cdc";
	if (DIMENSION_IS_SCOPED(d))
		return "the feed is scoped_snapshot";
	if (d->effective_at != NULL)
		return "rows have times of their own (effective_at)";
	if (d->sequence_by != NULL)
		return "rows of one key have an order (sequence_by)";
	if (DIMENSION_KEEPS_TIES(d))
		return "ties are kept (on_tie)";
	if (d->type0 != NIL || d->type3 != NIL || d->type6 != NIL)
		return "it has columns of type 0, 3 or 6";
	if (DIMENSION_NEW_RECORD(d))
		return "deletes make versions (hard_deletes)";
	return NULL;
}

/* SQL: the condition that a version is current. */
char *
pipeline_scd_live_condition(const MergePlan *plan, const char *alias)
{
	const Dimension *d = plan->dimension;

	if (plan->meta[META_IS_CURRENT] == NULL)
		return d->open_end_null ?
			psprintf("%s.%s IS NULL", alias, plan->meta[META_VALID_TO]) :
			psprintf("%s OPERATOR(pg_catalog.=) %s",
					 pipeline_scd_meta_time(plan, META_VALID_TO, alias),
					 quote_literal_cstr(timestamptz_to_str(d->open_end)));
	if (plan->meta_type[META_IS_CURRENT] == BOOLOID)
		return psprintf("%s.%s", alias, plan->meta[META_IS_CURRENT]);
	return psprintf("%s.%s OPERATOR(pg_catalog.=) 1", alias, plan->meta[META_IS_CURRENT]);
}

/* SQL: a time that we write, as timestamptz. */
char *
pipeline_scd_meta_time(const MergePlan *plan, MetaColumn meta, const char *alias)
{
	return psprintf("%s.%s%s", alias, plan->meta[meta],
					plan->meta_type[meta] == TIMESTAMPTZOID ? "" : "::pg_catalog.timestamptz");
}

/* A time as valid_from holds it: a day where that is a date. */
TimestampTz
pipeline_scd_granular(const MergePlan *plan, TimestampTz at)
{
	if (plan->meta_type[META_VALID_FROM] != DATEOID || TIMESTAMP_NOT_FINITE(at))
		return at;
	return DatumGetTimestampTz(DirectFunctionCall1(date_timestamptz,
												   DirectFunctionCall1(timestamptz_date,
																	   TimestampTzGetDatum(at))));
}

/* SQL: a boolean as the type of a column that we write. */
char *
pipeline_scd_bool(const MergePlan *plan, MetaColumn meta, const char *value)
{
	if (plan->meta_type[meta] == BOOLOID)
		return pstrdup(value);
	return psprintf("(%s)::pg_catalog.int4", value);
}

static void
append_live_side(StringInfo sql, const MergePlan *plan)
{
	appendStringInfo(sql, "(SELECT t.ctid AS tid, t.tableoid AS rel, %s AS opened, %s AS merge",
					 pipeline_scd_meta_time(plan, META_VALID_FROM, "t"),
					 plan->meta[META_MERGE_ID] ? psprintf("t.%s", plan->meta[META_MERGE_ID]) :
					 "NULL::pg_catalog.int8");
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(sql, ", t.%s AS c%d",
						 quote_identifier(plan->columns[i].name), i + 1);
	appendStringInfo(sql, " FROM %s t WHERE %s", plan->dimension->name,
					 pipeline_scd_live_condition(plan, "t"));
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
	int			most = (MaxTupleAttributeNumber - CLASSIFY_COLUMNS + plan->nkeys) / 2;
	StringInfoData sql;

	if (plan->ncolumns > most)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("the source has too many columns for dimension %s", plan->dimension->name),
				 errdetail("It has %d; the executor reads both sides at once, %d columns of each at most.",
						   plan->ncolumns, most),
				 errhint("explain_merge() tells what keeps the merge from reading them directly; or split the attributes over two dimensions.")));
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

/* The columns of the source alone, to fingerprint a batch or to read events. */
char *
pipeline_scd_content_sql(const MergePlan *plan)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < plan->ncolumns; i++)
		appendStringInfo(&sql, "%s%s", i ? ", " : "SELECT ", plan->columns[i].value);
	for (int i = 0; i < EVENT_COLUMNS; i++)
	{
		if (plan->event[i] != NULL)
			appendStringInfo(&sql, ", %s", plan->event[i]->value);
	}
	appendStringInfo(&sql, " FROM %s AS %s", plan->source->from, plan->alias);
	return sql.data;
}
