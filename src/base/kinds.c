/*
 * kinds.c
 *	  The registry of the kinds of objects that can be defined, and reading
 *	  back what exists.
 *
 * Each room registers, when the library is loaded, how its objects are
 * created, dropped and listed; nothing here knows a room.  What arguments a
 * kind has, with their types and defaults, is asked of the catalogue, so that
 * a new argument of a create function is covered by being there.
 *
 * Lists are read as the caller, under row security.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/kinds.h"

#define MAX_KINDS 32

typedef struct Registered
{
	const ObjectKind *object;
	const char *list_all;
	const char *list_children;
	const char *list_one;
} Registered;

static Registered registered[MAX_KINDS];
static int	nregistered = 0;

/*
 * Register a kind of object; at load of the library.  Its parent, if it has
 * one, comes before it, and so do kinds that its objects refer to.
 */
void
pipeline_register_kind(const ObjectKind *kind)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Registered *r = &registered[nregistered];

	if (nregistered == MAX_KINDS)
		elog(ERROR, "too many kinds of objects");
	r->object = kind;
	/* The texts stay where they are: their addresses are keys of saved plans. */
	r->list_all = pstrdup(kind->list);
	r->list_children = psprintf("SELECT * FROM (%s) o WHERE parent = $1", kind->list);
	r->list_one = kind->parent ?
		psprintf("SELECT * FROM (%s) o WHERE name = $1 AND parent = $2", kind->list) :
		psprintf("SELECT * FROM (%s) o WHERE name = $1", kind->list);
	nregistered++;
	MemoryContextSwitchTo(old);
}

/* ---- the create function ------------------------------------------------------- */

/* Find the one function of that name in our schema. */
static HeapTuple
find_function(const char *name)
{
	Oid			schema = get_namespace_oid("pipeline", false);
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	HeapTuple	found = NULL;

	for (int i = 0; i < list->n_members; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;

		if (((Form_pg_proc) GETSTRUCT(tuple))->pronamespace == schema)
			found = heap_copytuple(tuple);
	}
	ReleaseSysCacheList(list);
	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function pipeline.%s does not exist", name),
				 errhint("The library is newer than the extension: run ALTER EXTENSION pipeline UPDATE.")));
	return found;
}

/* The default of an argument, as text. */
static char *
default_text(Node *expr, Oid type)
{
	EState	   *estate = CreateExecutorState();
	ExprState  *state = ExecPrepareExpr((Expr *) expr, estate);
	bool		isnull;
	Datum		value = ExecEvalExpr(state, GetPerTupleExprContext(estate), &isnull);
	char	   *text = isnull ? NULL : kind_value_from_datum(type, value);

	FreeExecutorState(estate);
	return text;
}

static int
argument_number(const Kind *kind, const char *name)
{
	for (int i = 0; name && i < kind->nargs; i++)
	{
		if (strcmp(kind->args[i].name, name) == 0)
			return i;
	}
	return -1;
}

static void
load_arguments(Kind *kind)
{
	HeapTuple	tuple = find_function(kind->object->create);
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	Oid		   *types;
	char	  **names;
	char	   *modes;
	bool		isnull;
	Datum		nodes = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargdefaults, &isnull);
	List	   *defaults = isnull ? NIL : (List *) stringToNode(TextDatumGetCString(nodes));

	kind->nargs = get_func_arg_info(tuple, &types, &names, &modes);
	if (kind->nargs != form->pronargs || names == NULL)
		elog(ERROR, "function pipeline.%s has unnamed or output arguments", kind->object->create);
	kind->args = palloc0_array(KindArgument, kind->nargs);
	for (int i = 0; i < kind->nargs; i++)
	{
		int			n = i - (kind->nargs - list_length(defaults));

		kind->args[i].name = names[i];
		kind->args[i].type = types[i];
		kind->args[i].required = n < 0;
		if (n >= 0)
			kind->args[i].initial = default_text(list_nth(defaults, n), types[i]);
	}
	kind->name_arg = argument_number(kind, kind->object->name_argument);
	kind->parent_arg = argument_number(kind, kind->object->parent_argument);
	kind->after_arg = argument_number(kind, kind->object->after_argument);
	kind->replace_arg = argument_number(kind, "or_replace");
	if (kind->name_arg < 0)
		elog(ERROR, "function pipeline.%s has no argument \"%s\"",
			 kind->object->create, kind->object->name_argument);
}

/* ---- the kinds -------------------------------------------------------------------- */

static Kind *
find_kind(List *kinds, const char *name)
{
	ListCell   *lc;

	foreach(lc, kinds)
	{
		if (strcmp(((Kind *) lfirst(lc))->object->kind, name) == 0)
			return lfirst(lc);
	}
	return NULL;
}

/*
 * Load all kinds; returns those without a parent, in the order of their
 * registration.  Under kind_settings_begin().
 */
List *
kinds_load(void)
{
	List	   *all = NIL;
	List	   *roots = NIL;

	for (int i = 0; i < nregistered; i++)
	{
		Kind	   *kind = palloc0_object(Kind);

		kind->object = registered[i].object;
		kind->list_all = registered[i].list_all;
		kind->list_children = registered[i].list_children;
		kind->list_one = registered[i].list_one;
		load_arguments(kind);
		all = lappend(all, kind);
		if (kind->object->parent == NULL)
		{
			roots = lappend(roots, kind);
			continue;
		}
		kind->parent = find_kind(all, kind->object->parent);
		if (kind->parent == NULL)
			elog(ERROR, "kind \"%s\" has an unknown parent", kind->object->kind);
		kind->parent->children = lappend(kind->parent->children, kind);
	}
	return roots;
}

/* Find the kind, or kind of children, that has this key in a document. */
Kind *
kind_by_key(List *roots, const char *key)
{
	ListCell   *lc;

	foreach(lc, roots)
	{
		Kind	   *kind = lfirst(lc);
		Kind	   *child;

		if (strcmp(kind->object->key, key) == 0)
			return kind;
		child = kind_by_key(kind->children, key);
		if (child)
			return child;
	}
	return NULL;
}

/* List the keys of these kinds, of `all` levels or of the first. */
char *
kind_keys(List *roots, bool all)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, roots)
	{
		Kind	   *kind = lfirst(lc);

		appendStringInfo(&buf, "%s%s", buf.len ? ", " : "", kind->object->key);
		if (all && kind->children)
			appendStringInfo(&buf, ", %s", kind_keys(kind->children, true));
	}
	return buf.data;
}

/* What an object is called for people: "pipeline/task". */
char *
object_path(const Object *object)
{
	return object->parent ? psprintf("%s/%s", object->parent, object->name) :
		pstrdup(object->name);
}

/* ---- what exists ------------------------------------------------------------------- */

/*
 * Values read, compared and written alike, whatever the session's settings:
 * take back with AtEOXact_GUC(false, level).  The search_path stays.
 */
int
kind_settings_begin(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"}, {"extra_float_digits", "1"}, {"bytea_output", "hex"},
		{"row_security", "on"}
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* Row `row` of a list as an object. */
static Object *
listed_object(Kind *kind, uint64 row)
{
	Object	   *object = SPI_palloc(sizeof(Object));
	bool		isnull;
	Datum		arguments = pipeline_sql_datum(row, 5, &isnull);
	Jsonb	   *json = DatumGetJsonbPCopy(arguments);

	memset(object, 0, sizeof(Object));
	object->kind = kind;
	object->parent = pipeline_sql_text(row, 1);
	object->name = pipeline_sql_text(row, 2);
	object->owner = DatumGetObjectId(pipeline_sql_datum(row, 3, &isnull));
	object->search_path = pipeline_sql_text(row, 4);
	object->values = SPI_palloc(sizeof(char *) * (kind->nargs + 1));
	object->given = SPI_palloc(sizeof(bool) * (kind->nargs + 1));
	for (int i = 0; i < kind->nargs; i++)
	{
		JsonbValue	buf;
		JsonbValue *v = getKeyJsonValueFromContainer(&json->root, kind->args[i].name,
													 strlen(kind->args[i].name), &buf);

		object->values[i] = v ? kind_value_from_json(kind, i, v) : kind->args[i].initial;
	}
	object->values[kind->name_arg] = object->name;
	if (kind->parent_arg >= 0)
		object->values[kind->parent_arg] = object->parent;
	for (int i = 0; i < kind->nargs; i++)
		object->given[i] = i == kind->name_arg || object_shows(object, i);
	return object;
}

/* Run one of the kind's queries, as the caller, with a pinned search_path. */
static List *
run_list(Kind *kind, const char *sql, bool read_only, int nargs, const SqlArg *args)
{
	int			level = NewGUCNestLevel();
	List	   *objects = NIL;
	uint64		n;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	n = pipeline_sql_run(sql, SPI_OK_SELECT, read_only, nargs, args);
	for (uint64 i = 0; i < n; i++)
		objects = lappend(objects, listed_object(kind, i));
	SPI_freetuptable(SPI_tuptable);
	AtEOXact_GUC(false, level);
	return objects;
}

/* All objects of a kind that the caller may see. */
List *
kind_list(Kind *kind, bool read_only)
{
	return run_list(kind, kind->list_all, read_only, 0, NULL);
}

/* Those of one parent. */
List *
kind_list_children(Kind *kind, const char *parent, bool read_only)
{
	const SqlArg args[] = {sql_text(parent)};

	return run_list(kind, kind->list_children, read_only, 1, args);
}

/* One, by its name; NULL when there is none. */
Object *
kind_find(Kind *kind, const char *parent, const char *name, bool read_only)
{
	const SqlArg args[] = {sql_text(name), sql_text(parent)};
	List	   *objects = run_list(kind, kind->list_one, read_only,
								   kind->parent ? 2 : 1, args);

	return objects ? linitial(objects) : NULL;
}

/*
 * Lock an object, by its parent if it has one, so that it can be read to be
 * changed.  Not what the caller could not change: nobody locks what is not his.
 */
void
kind_lock(Kind *kind, const char *parent, const char *name)
{
	Kind	   *root = kind->parent ? kind->parent : kind;
	const char *root_name = kind->parent ? parent : name;
	Object	   *object = kind_find(root, NULL, root_name, false);
	UserScope	scope;

	if (object == NULL || root->object->lock == NULL ||
		!pipeline_is_owner(GetUserId(), object->owner))
		return;
	pipeline_extension_begin(&scope);
	root->object->lock(root_name);
	pipeline_scope_end(&scope);
}

/* ---- order ---------------------------------------------------------------------------- */

/* The numbers of the siblings that an object names as coming before it. */
static List *
predecessors(const Object *object, List *siblings)
{
	char	   *text = object->values[object->kind->after_arg];
	Oid			input;
	Oid			param;
	List	   *names;
	List	   *numbers = NIL;
	ListCell   *lc;

	if (text == NULL)
		return NIL;
	getTypeInputInfo(TEXTARRAYOID, &input, &param);
	names = object->kind->args[object->kind->after_arg].type == TEXTOID ? list_make1(text) :
		pipeline_array_list(DatumGetArrayTypeP(OidInputFunctionCall(input, text, param, -1)),
							object->kind->object->after_argument);
	foreach(lc, siblings)
	{
		Object	   *other = lfirst(lc);

		if (other != object && pipeline_list_has(names, other->name))
			numbers = lappend_int(numbers, foreach_current_index(lc));
	}
	return numbers;
}

/* The first that has not its place yet and whose predecessors have theirs. */
static int
next_in_order(int n, List **before, const bool *placed)
{
	int			any = -1;

	for (int i = 0; i < n; i++)
	{
		bool		free = !placed[i];
		ListCell   *lc;

		if (free && any < 0)
			any = i;
		foreach(lc, before[i])
			free = free && placed[lfirst_int(lc)];
		if (free)
			return i;
	}
	return any;
}

/*
 * Put siblings into an order in which each can be created: those that it
 * names come first, else the order stays.  A cycle is left for the create
 * function to refuse.
 */
List *
objects_in_order(List *objects)
{
	int			n = list_length(objects);
	List	  **before = palloc_array(List *, n + 1);
	bool	   *placed = palloc0_array(bool, n + 1);
	List	   *ordered = NIL;

	if (n == 0 || ((Object *) linitial(objects))->kind->after_arg < 0)
		return objects;
	for (int i = 0; i < n; i++)
		before[i] = predecessors(list_nth(objects, i), objects);
	for (int i = 0; i < n; i++)
	{
		int			pick = next_in_order(n, before, placed);

		placed[pick] = true;
		ordered = lappend(ordered, list_nth(objects, pick));
	}
	return ordered;
}
