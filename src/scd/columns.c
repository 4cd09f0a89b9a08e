/*
 * columns.c
 *	  The columns of a dimension and those of its source, brought together.
 *
 * Each column of the source is part of the business key, has one type, or
 * tells of an event (when, in which order, what).
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

/* Is it a column of the key or an attribute? */
bool
pipeline_scd_listed(const Dimension *dimension, const char *name)
{
	return pipeline_list_has(dimension->business_key, name) ||
		pipeline_list_has(dimension->type1, name) ||
		pipeline_list_has(dimension->type2, name) ||
		pipeline_list_has(dimension->type0, name) ||
		pipeline_list_has(dimension->type3, name) ||
		pipeline_list_has(dimension->type6, name);
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
				 errhint("Leave them out of the source, or use on_new_column => 'add' or 'ignore'.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("columns of the source are in no list of columns"),
			 errdetail("Columns: %s.", pipeline_list_join(names, ", ")),
			 errhint("List them, leave \"type2\" out, or select fewer columns in the source.")));
}

/* Is it a column that tells of the event, and no attribute? */
static bool
is_event_column(const Dimension *d, const char *name)
{
	return (d->effective_at != NULL && strcmp(d->effective_at, name) == 0) ||
		(d->sequence_by != NULL && strcmp(d->sequence_by, name) == 0) ||
		(d->operation_column != NULL && strcmp(d->operation_column, name) == 0);
}

/* Raise 42701 if the name is that of a column that we write. */
static void
check_not_ours(const Dimension *dimension, const char *name)
{
	for (int m = 0; m < META_COLUMNS; m++)
	{
		if (dimension->names[m] != NULL && strcmp(name, dimension->names[m]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" of the source has the name of a column that pipeline writes", name),
					 errhint("Rename one of them: argument \"names\" takes another name for \"%s\".",
							 pipeline_meta_names[m])));
	}
	for (int i = 0; i < 2; i++)
	{
		const List *list = i ? dimension->type6 : dimension->type3;
		const char *prefix = i ? CURRENT_PREFIX : PREVIOUS_PREFIX;

		if (strncmp(name, prefix, strlen(prefix)) == 0 &&
			pipeline_list_has(list, name + strlen(prefix)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" of the source has the name of a column that pipeline writes", name),
					 errdetail("It goes with column \"%s\" of type %d.", name + strlen(prefix), i ? 6 : 3),
					 errhint("Rename it in the source.")));
	}
}

/* The columns that a scoped snapshot is complete for must be known. */
static void
check_scope(const Dimension *dimension)
{
	ListCell   *lc;

	foreach(lc, dimension->scope)
	{
		if (!pipeline_scd_listed(dimension, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of argument \"scope\" is no column of dimension %s",
							(char *) lfirst(lc), dimension->name),
					 errhint("It is a column of the business key or an attribute.")));
	}
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
	missing = missing_columns(source, dimension->type0, missing);
	missing = missing_columns(source, dimension->type3, missing);
	missing = missing_columns(source, dimension->type6, missing);
	if (dimension->effective_at != NULL)
		missing = missing_columns(source, list_make1(dimension->effective_at), missing);
	if (dimension->sequence_by != NULL)
		missing = missing_columns(source, list_make1(dimension->sequence_by), missing);
	if (dimension->operation_column != NULL)
		missing = missing_columns(source, list_make1(dimension->operation_column), missing);
	if (missing != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the source lacks columns of dimension %s", dimension->name),
				 errdetail("Missing columns: %s.", pipeline_list_join(missing, ", ")),
				 errhint("The source must return the business key and every attribute.")));
	for (int i = 0; i < source->columns->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(source->columns, i)->attname);

		(void) pipeline_source_column(source, name, "source");
		if (pipeline_scd_listed(dimension, name) || !is_event_column(dimension, name))
			check_not_ours(dimension, name);
		if (pipeline_scd_listed(dimension, name) || is_event_column(dimension, name))
			continue;
		if (dimension->type2_rest)
			dimension->type2 = lappend(dimension->type2, pstrdup(name));
		else
			extra = lappend(extra, name);
	}
	if (extra != NIL && strcmp(dimension->on_new_column, "fail") == 0)
		refuse_new_columns(dimension, extra);
	if (strcmp(dimension->on_new_column, "add") == 0)
		dimension->added = extra;
	check_scope(dimension);
	dimension->type2_rest = false;
}
