/*
 * kind_calls.c
 *	  Create, drop and compare objects of registered kinds, by calling the
 *	  public functions of their rooms as the caller.
 *
 * Rights, checks, locks and the record of the change are those functions'.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/kinds.h"

/* Is it an argument that describes the object, not the call? */
bool
kind_is_argument(const Kind *kind, int arg)
{
	return arg != kind->replace_arg;
}

static void
object_context(void *arg)
{
	const Object *object = arg;

	errcontext("%s \"%s\"", object->kind->object->kind, object_path(object));
}

/* One argument of a call, from its text. */
static Datum
call_value(Oid type, const char *text, char *null)
{
	Oid			input;
	Oid			param;

	*null = text ? ' ' : 'n';
	if (text == NULL)
		return (Datum) 0;
	getTypeInputInfo(type, &input, &param);
	return OidInputFunctionCall(input, unconstify(char *, text), param, -1);
}

static void
call(const Object *object, const char *sql, int n, Oid *types, Datum *values,
	 const char *nulls)
{
	ErrorContextCallback context = {
		.callback = object_context,
		.arg = unconstify(Object *, object),
		.previous = error_context_stack
	};
	int			level = NewGUCNestLevel();
	int			rc;

	if (object->search_path && object->kind->object->has_path)
		(void) set_config_option("search_path", object->search_path, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	error_context_stack = &context;
	rc = SPI_execute_with_args(sql, n, types, values, nulls, false, 0);
	error_context_stack = context.previous;
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "call returned %s: %s", SPI_result_code_string(rc), sql);
	/* A document can be thousands of calls. */
	SPI_freetuptable(SPI_tuptable);
	AtEOXact_GUC(false, level);
}

/*
 * Call the object's create function with the arguments that it gives.  With
 * `replace` one exists; where the function cannot replace it is dropped first.
 */
void
object_create(const Object *object, bool replace)
{
	const Kind *kind = object->kind;
	Oid			types[FUNC_MAX_ARGS];
	Datum		values[FUNC_MAX_ARGS];
	char		nulls[FUNC_MAX_ARGS];
	int			n = 0;
	StringInfoData sql;

	if (replace && kind->replace_arg < 0 && !kind->object->replaces)
		object_drop(object);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pipeline.%s(", quote_identifier(kind->object->create));
	for (int i = 0; i < kind->nargs; i++)
	{
		bool		replace_arg = i == kind->replace_arg && replace;

		if (!replace_arg && !object->given[i] && i != kind->parent_arg)
			continue;
		types[n] = kind->args[i].type;
		values[n] = call_value(types[n], replace_arg ? "true" : object->values[i], &nulls[n]);
		n++;
		appendStringInfo(&sql, "%s%s => $%d", n > 1 ? ", " : "",
						 quote_identifier(kind->args[i].name), n);
	}
	appendStringInfoChar(&sql, ')');
	call(object, sql.data, n, types, values, nulls);
}

/* Call the object's drop function. */
void
object_drop(const Object *object)
{
	StringInfoData sql;

	initStringInfo(&sql);
	/* Literals of unknown type: a function may want a regclass. */
	appendStringInfo(&sql, "SELECT pipeline.%s(", quote_identifier(object->kind->object->drop));
	if (object->parent)
		appendStringInfo(&sql, "%s, ", quote_literal_cstr(object->parent));
	appendStringInfo(&sql, "%s)", quote_literal_cstr(object->name));
	call(object, sql.data, 0, NULL, NULL, NULL);
}

/*
 * Do two objects say the same?  What `a` does not give and its kind keeps is
 * taken from `b`.
 */
bool
objects_equal(const Object *a, const Object *b)
{
	const Kind *kind = a->kind;

	for (int i = 0; i < kind->nargs; i++)
	{
		bool		kept = false;

		for (const char *const *k = kind->object->kept; k && *k && !a->given[i]; k++)
			kept = kept || strcmp(*k, kind->args[i].name) == 0;
		if (kept || !kind_is_argument(kind, i) || i == kind->name_arg)
			continue;
		if (a->values[i] == NULL || b->values[i] == NULL ?
			a->values[i] != b->values[i] : strcmp(a->values[i], b->values[i]) != 0)
			return false;
	}
	return !kind->object->has_path || a->search_path == NULL ||
		b->search_path == NULL || strcmp(a->search_path, b->search_path) == 0;
}

/*
 * Make again what a replaced parent has taken with it: objects that were there
 * and are gone.
 */
void
objects_restore(List *objects)
{
	ListCell   *lc;

	foreach(lc, objects)
	{
		Object	   *object = lfirst(lc);

		if (kind_find(object->kind, object->parent, object->name, false) == NULL)
			object_create(object, false);
	}
}
