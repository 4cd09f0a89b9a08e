/*
 * alter.c
 *	  alter_X(): change some arguments of an object's definition.
 *
 * It is the create function called again, with what the object has and what is
 * given laid over it; so it checks what that checks and needs the rights that
 * that needs.  One C function serves all kinds: the name of the SQL function
 * tells which, alter_task() being for the kind "task".
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/kinds.h"

/* The kind whose alter function has this name. */
static Kind *
kind_of_function(List *kinds, const char *name)
{
	ListCell   *lc;

	foreach(lc, kinds)
	{
		Kind	   *kind = lfirst(lc);
		char	   *function = psprintf("alter_%s", kind->object->kind);
		Kind	   *child;

		for (char *c = function; *c; c++)
			if (*c == ' ')
				*c = '_';
		if (strcmp(function, name) == 0)
			return kind;
		child = kind_of_function(kind->children, name);
		if (child)
			return child;
	}
	return NULL;
}

static void
refuse_key(const Object *object, const char *key, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("argument \"%s\" of %s \"%s\" cannot be altered", key,
					object->kind->object->kind, object_path(object)),
			 errhint("%s", hint)));
}

/* Lay one change over the object; a new name is put aside. */
static void
change_argument(Object *object, const char *key, JsonbValue *value, char **new_name)
{
	Kind	   *kind = object->kind;
	int			arg = 0;
	StringInfoData keys;

	while (arg < kind->nargs && (strcmp(kind->args[arg].name, key) != 0 ||
								 !kind_is_argument(kind, arg) || arg == kind->parent_arg))
		arg++;
	if (arg == kind->nargs)
	{
		initStringInfo(&keys);
		for (int i = 0; i < kind->nargs; i++)
			if (kind_is_argument(kind, i) && i != kind->parent_arg)
				appendStringInfo(&keys, "%s%s", keys.len ? ", " : "", kind->args[i].name);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown key \"%s\" in argument \"changes\"", key),
				 errhint("Available keys: %s.", keys.data)));
	}
	if (kind->object->separate && strcmp(kind->object->separate, key) == 0)
		refuse_key(object, key, kind->object->separate_hint);
	if (arg == kind->name_arg)
	{
		*new_name = kind_value_from_json(kind, arg, value);
		if (kind->object->rename == NULL)
			refuse_key(object, key, "Create another one and drop this one.");
		if (*new_name == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" in argument \"changes\" must not be null", key)));
		return;
	}
	if (value->type == jbvNull && kind->args[arg].required)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" in argument \"changes\" must not be null", key),
				 errhint("The argument has no default to go back to.")));
	object->values[arg] = value->type == jbvNull ? kind->args[arg].initial :
		kind_value_from_json(kind, arg, value);
	object->given[arg] = value->type != jbvNull;
}

/* All of them; returns the new name, or NULL. */
static char *
change_arguments(Object *object, const Jsonb *changes)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *key = NULL;
	char	   *new_name = NULL;

	if (!JB_ROOT_IS_OBJECT(changes))
		pipeline_check_keys(changes, "changes", NULL);
	it = JsonbIteratorInit((JsonbContainer *) &changes->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
			change_argument(object, key, &v, &new_name);
	}
	return new_name;
}

/* Replace the object, keeping its children, and rename it. */
static void
replace_object(Object *object, const char *new_name, bool replace)
{
	List	   *children = NIL;
	ListCell   *lc;

	foreach(lc, object->kind->children)
		children = list_concat(children, kind_list_children(lfirst(lc), object->name, false));
	if (replace)
		object_create(object, true);
	objects_restore(children);
	if (new_name && strcmp(new_name, object->name) != 0)
		object->kind->object->rename(object->parent, object->name, new_name);
}

/* The same, recorded as done by the alter function. */
static void
alter_as(const char *function, Object *object, const char *new_name, bool replace)
{
	pipeline_change_action(function);
	PG_TRY();
	{
		replace_object(object, new_name, replace);
	}
	PG_FINALLY();
	{
		pipeline_change_action(NULL);
	}
	PG_END_TRY();
}

/* An argument that names an object: text, or a regclass made to text. */
static char *
name_argument(FunctionCallInfo fcinfo, int arg)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, arg);

	if (type == REGCLASSOID)
		return pipeline_qualified_name(PG_GETARG_OID(arg));
	return pipeline_arg_text(fcinfo, arg);
}

PG_FUNCTION_INFO_V1(pipeline_alter_object);

/* SQL: alter_X([parent,] name, changes) */
Datum
pipeline_alter_object(PG_FUNCTION_ARGS)
{
	char	   *function = get_func_name(fcinfo->flinfo->fn_oid);
	int			nnames = PG_NARGS() - 1;
	char	   *parent = NULL;
	char	   *name;
	char	   *new_name;
	Kind	   *kind;
	Object	   *object;
	Object	   *before;
	int			level;

	for (int i = 0; i < PG_NARGS(); i++)
		pipeline_not_null(fcinfo, i, i == nnames ? "changes" : "name");
	name = name_argument(fcinfo, nnames - 1);
	if (nnames == 2)
		parent = name_argument(fcinfo, 0);
	SPI_connect();
	level = kind_settings_begin();
	kind = kind_of_function(kinds_load(), function);
	if (kind == NULL || (kind->parent != NULL) != (nnames == 2))
		elog(ERROR, "no kind of object for function %s", function);
	kind_lock(kind, parent, name);
	object = kind_find(kind, parent, name, false);
	before = kind_find(kind, parent, name, false);
	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s \"%s\" does not exist", kind->object->kind,
						parent ? psprintf("%s/%s", parent, name) : name),
				 errhint("pipeline.export() shows what you may see.")));
	new_name = change_arguments(object, PG_GETARG_JSONB_P(nnames));
	alter_as(function, object, new_name, !objects_equal(object, before));
	AtEOXact_GUC(false, level);
	SPI_finish();
	PG_RETURN_VOID();
}
