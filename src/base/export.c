/*
 * export.c
 *	  export(): what exists, as calls of the create functions or as the
 *	  document that apply() takes.
 *
 * One argument a line, only those that differ from their defaults, in an order
 * that depends on nothing but the definitions: the text diffs well.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"

#include "base/kinds.h"

/*
 * A kind's objects: those that the caller could also make, or, where one
 * pipeline is asked for, what of that he may see.
 */
static List *
exported_objects(Kind *kind, const char *pipeline)
{
	Object	   *one;

	if (pipeline == NULL)
	{
		List	   *objects = kind_list(kind, true);
		ListCell   *lc;

		foreach(lc, objects)
		{
			if (!pipeline_is_owner(GetUserId(), ((Object *) lfirst(lc))->owner))
				objects = foreach_delete_current(objects, lc);
		}
		return objects_in_order(objects);
	}
	if (!kind->object->of_pipeline)
		return NIL;
	one = kind_find(kind, NULL, pipeline, true);
	return one ? list_make1(one) : NIL;
}

/* ---- as SQL ------------------------------------------------------------------- */

static void
append_call(StringInfo buf, const Object *object)
{
	const Kind *kind = object->kind;
	const char *separator = "";

	appendStringInfo(buf, "SELECT pipeline.%s(", quote_identifier(kind->object->create));
	for (int i = 0; i < kind->nargs; i++)
	{
		if (i != kind->parent_arg && i != kind->replace_arg && !object_shows(object, i))
			continue;
		appendStringInfo(buf, "%s%s => ", separator, quote_identifier(kind->args[i].name));
		append_value_sql(buf, kind->args[i].type,
						 i == kind->replace_arg ? "true" : object->values[i]);
		separator = i == kind->parent_arg && kind->parent_arg < kind->name_arg ? ", " : ",\n  ";
	}
	appendStringInfoString(buf, ");\n");
}

/* Have the objects that follow store this search_path. */
static void
append_path(StringInfo buf, const Object *object, char **path)
{
	if (object->search_path == NULL || !object->kind->object->has_path ||
		(*path && strcmp(*path, object->search_path) == 0))
		return;
	*path = object->search_path;
	appendStringInfo(buf, "SELECT pg_catalog.set_config('search_path', %s, false);\n",
					 quote_literal_cstr(*path));
}

/*
 * Append an object and its children.  A create function that cannot replace
 * makes a child whose parent's, which can, has taken the old one away.
 */
static void
append_sql(StringInfo buf, const Object *object, char **path)
{
	ListCell   *lc;

	if (object->owner != GetUserId() && object->parent == NULL)
		appendStringInfo(buf, "-- of role %s\n",
						 GetUserNameFromId(object->owner, true) ? GetUserNameFromId(object->owner, true) : "(dropped)");
	append_path(buf, object, path);
	append_call(buf, object);
	foreach(lc, object->kind->children)
	{
		List	   *children = objects_in_order(kind_list_children(lfirst(lc), object->name, true));
		ListCell   *lc2;

		foreach(lc2, children)
			append_sql(buf, lfirst(lc2), path);
	}
}

static char *
export_sql(List *roots, const char *pipeline, bool *any)
{
	StringInfoData buf;
	char	   *path = NULL;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, roots)
	{
		ListCell   *lc2;

		foreach(lc2, exported_objects(lfirst(lc), pipeline))
		{
			if (*any)
				appendStringInfoChar(&buf, '\n');
			append_sql(&buf, lfirst(lc2), &path);
			*any = true;
		}
	}
	if (path)
		appendStringInfoString(&buf, "\nRESET search_path;\n");
	return buf.data;
}

/* ---- as JSON ------------------------------------------------------------------- */

static void append_list(StringInfo buf, Kind *kind, List *objects);

static void
append_object(StringInfo buf, const Object *object)
{
	ListCell   *lc;

	appendStringInfoChar(buf, '{');
	object_append_json(buf, object);
	foreach(lc, object->kind->children)
	{
		List	   *children = objects_in_order(kind_list_children(lfirst(lc), object->name, true));

		if (children == NIL)
			continue;
		appendStringInfoString(buf, ", ");
		append_list(buf, lfirst(lc), children);
	}
	appendStringInfoChar(buf, '}');
}

static void
append_list(StringInfo buf, Kind *kind, List *objects)
{
	ListCell   *lc;

	escape_json(buf, kind->object->key);
	appendStringInfoString(buf, ": [");
	foreach(lc, objects)
	{
		if (lc != list_head(objects))
			appendStringInfoString(buf, ", ");
		append_object(buf, lfirst(lc));
	}
	appendStringInfoChar(buf, ']');
}

static char *
export_json(List *roots, const char *pipeline, bool *any)
{
	StringInfoData buf;
	ListCell   *lc;
	Jsonb	   *json;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	foreach(lc, roots)
	{
		List	   *objects = exported_objects(lfirst(lc), pipeline);

		if (objects == NIL)
			continue;
		if (*any)
			appendStringInfoString(&buf, ", ");
		append_list(&buf, lfirst(lc), objects);
		*any = true;
	}
	appendStringInfoChar(&buf, '}');
	json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
	return JsonbToCStringIndent(NULL, &json->root, VARSIZE(json) * 2);
}

PG_FUNCTION_INFO_V1(pipeline_export);

/* SQL: export(pipeline, format) */
Datum
pipeline_export(PG_FUNCTION_ARGS)
{
	static const char *const formats[] = {"sql", "jsonb", NULL};
	char	   *pipeline = pipeline_arg_text(fcinfo, 0);
	char	   *format;
	char	   *definitions;
	List	   *roots;
	bool		any = false;
	int			level;
	text	   *result;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;

	pipeline_not_null(fcinfo, 1, "format");
	format = pipeline_arg_text(fcinfo, 1);
	pipeline_check_choice("format", format, formats);
	SPI_connect();
	level = kind_settings_begin();
	roots = kinds_load();
	definitions = strcmp(format, "sql") == 0 ? export_sql(roots, pipeline, &any) :
		export_json(roots, pipeline, &any);
	AtEOXact_GUC(false, level);
	if (pipeline && !any)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", pipeline),
				 errhint("Table pipeline.pipelines lists those that you may see.")));
	old = MemoryContextSwitchTo(context);
	result = cstring_to_text(definitions);
	MemoryContextSwitchTo(old);
	SPI_finish();
	PG_RETURN_TEXT_P(result);
}
