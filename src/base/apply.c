/*
 * apply.c
 *	  apply(): make what exists equal to one document.
 *
 * A document is a JSON object: for each kind a list of objects, whose keys are
 * the arguments of the create function; children stand in their parent.  An
 * object that is equal to what exists is left alone.  Else its create function
 * is called, in a subtransaction, and what then exists is read back: when that
 * is what was there before (the document left to a default what had been
 * filled in), the subtransaction is rolled back, so that applying a document
 * again leaves no trace.
 *
 * A dry run is all of that in one subtransaction that is rolled back.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/tuplestore.h"

#include "base/kinds.h"

/* One row of the result. */
typedef struct Applied
{
	const char *kind;
	char	   *name;
	const char *action;
	Jsonb	   *before;
	Jsonb	   *after;
} Applied;

typedef struct Document
{
	List	   *roots;			/* of Kind */
	List	   *objects;		/* of Object, without a parent */
	List	   *prune;			/* keys of kinds */
	List	   *applied;		/* of Applied */
} Document;

/* ---- reading the document ------------------------------------------------------ */

static void
unknown_key(const char *key, const char *where, const char *available)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown key \"%s\" in %s", key, where),
			 errhint("Available keys: %s.", available)));
}

/* The keys that an object of a kind may have. */
static char *
object_keys(const Kind *kind)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < kind->nargs; i++)
	{
		if (kind_is_argument(kind, i) && i != kind->parent_arg)
			appendStringInfo(&buf, "%s%s", buf.len ? ", " : "", kind->args[i].name);
	}
	if (kind->object->has_path)
		appendStringInfoString(&buf, ", search_path");
	if (kind->children)
		appendStringInfo(&buf, ", %s", kind_keys(kind->children, false));
	return buf.data;
}

static int
argument_of_key(const Kind *kind, const char *key)
{
	for (int i = 0; i < kind->nargs; i++)
	{
		if (strcmp(kind->args[i].name, key) == 0 &&
			kind_is_argument(kind, i) && i != kind->parent_arg)
			return i;
	}
	return -1;
}

/* The name of an object of the document, for messages, from what is known. */
static char *
place(const Kind *kind, const char *parent, JsonbContainer *json)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer(json, kind->args[kind->name_arg].name,
												 strlen(kind->args[kind->name_arg].name), &buf);
	const char *name = v && v->type == jbvString ?
		pnstrdup(v->val.string.val, v->val.string.len) : NULL;

	if (name == NULL)
		return psprintf("a %s", kind->object->kind);
	return psprintf("%s \"%s%s%s\"", kind->object->kind, parent ? parent : "",
					parent ? "/" : "", name);
}

/* Its name as it will be listed; the arguments' defaults may make one. */
static void
name_object(Object *object, const char *where)
{
	const Kind *kind = object->kind;
	char	   *given = object->values[kind->name_arg];

	if (given == NULL && (kind->args[kind->name_arg].required || kind->object->listed_name == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" is missing in %s", kind->args[kind->name_arg].name, where)));
	object->name = kind->object->listed_name ?
		object_listed_name(object, true) : given;
}

static List *read_objects(Kind *kind, const char *parent, JsonbValue *value);

/* One key of an object: an argument, its children, or its search_path. */
static List *
read_key(Object *object, const char *key, JsonbValue *value, const char *where)
{
	Kind	   *kind = object->kind;
	int			arg = argument_of_key(kind, key);
	Kind	   *child;

	if (arg >= 0)
	{
		object->values[arg] = kind_value_from_json(kind, arg, value);
		object->given[arg] = true;
		return NIL;
	}
	if (kind->object->has_path && strcmp(key, "search_path") == 0 && value->type == jbvString)
	{
		object->search_path = pnstrdup(value->val.string.val, value->val.string.len);
		return NIL;
	}
	child = kind_by_key(kind->children, key);
	if (child == NULL || child->parent != kind)
		unknown_key(key, where, object_keys(kind));
	return list_make2(child, value);
}

static void
check_required(const Object *object, const char *where)
{
	const Kind *kind = object->kind;

	for (int i = 0; i < kind->nargs; i++)
	{
		if (kind->args[i].required && i != kind->parent_arg && !object->given[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" is missing in %s", kind->args[i].name, where)));
	}
}

static Object *
read_object(Kind *kind, const char *parent, JsonbValue *value)
{
	Object	   *object = palloc0_object(Object);
	JsonbContainer *json = value->val.binary.data;
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *key = NULL;
	char	   *where = place(kind, parent, json);
	List	   *children = NIL; /* of (kind, value) */
	ListCell   *lc;

	object->kind = kind;
	object->parent = parent ? pstrdup(parent) : NULL;
	object->values = palloc0_array(char *, kind->nargs + 1);
	object->given = palloc0_array(bool, kind->nargs + 1);
	if (kind->object->has_path)
		object->search_path = pipeline_search_path();
	for (int i = 0; i < kind->nargs; i++)
		object->values[i] = kind->args[i].initial;
	if (kind->parent_arg >= 0)
		object->values[kind->parent_arg] = object->parent;
	it = JsonbIteratorInit(json);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
		{
			JsonbValue *copy = palloc_object(JsonbValue);
			List	   *pair;

			*copy = v;
			pair = read_key(object, key, copy, where);
			if (pair)
				children = lappend(children, pair);
		}
	}
	check_required(object, where);
	name_object(object, where);
	foreach(lc, children)
		object->children = list_concat(object->children,
									   read_objects(linitial(lfirst(lc)), object->name, lsecond(lfirst(lc))));
	return object;
}

/* The list under the key of a kind. */
static List *
read_objects(Kind *kind, const char *parent, JsonbValue *value)
{
	List	   *objects = NIL;
	List	   *names = NIL;
	JsonbContainer *array;

	if (value->type == jbvNull)
		return NIL;
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" must be an array of objects", kind->object->key)));
	array = value->val.binary.data;
	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer(array, i);
		Object	   *object;

		if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" must be an array of objects", kind->object->key)));
		object = read_object(kind, parent, v);
		if (pipeline_list_has(names, object->name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s \"%s\" appears more than once", kind->object->kind, object_path(object))));
		names = lappend(names, object->name);
		objects = lappend(objects, object);
	}
	return objects_in_order(objects);
}

static void
read_document(Document *document, const Jsonb *spec)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	ListCell   *lc;

	if (!JB_ROOT_IS_OBJECT(spec))
		pipeline_check_keys(spec, "spec", NULL);
	it = JsonbIteratorInit((JsonbContainer *) &spec->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		Kind	   *kind;
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		kind = kind_by_key(document->roots, key);
		if (kind == NULL || kind->parent != NULL)
			unknown_key(key, "argument \"spec\"", kind_keys(document->roots, false));
	}
	/* In the order of the kinds: objects name those of kinds before theirs. */
	foreach(lc, document->roots)
	{
		Kind	   *kind = lfirst(lc);
		JsonbValue	buf;
		JsonbValue *value = getKeyJsonValueFromContainer((JsonbContainer *) &spec->root, kind->object->key,
														 strlen(kind->object->key), &buf);

		if (value)
			document->objects = list_concat(document->objects, read_objects(kind, NULL, value));
	}
	foreach(lc, document->prune)
	{
		if (kind_by_key(document->roots, lfirst(lc)) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for argument \"prune\": \"%s\"", (char *) lfirst(lc)),
					 errhint("Available values: %s.", kind_keys(document->roots, true))));
	}
}

/* ---- applying it ------------------------------------------------------------------ */

static void
report(Document *document, const Object *object, const char *action,
	   const Object *before, const Object *after)
{
	Applied    *row = palloc_object(Applied);

	row->kind = object->kind->object->kind;
	row->name = object_path(object);
	row->action = action;
	row->before = object_jsonb(before);
	row->after = object_jsonb(after);
	document->applied = lappend(document->applied, row);
}

typedef struct Making
{
	const Object *object;
	const Object *before;		/* or NULL */
	bool		exists;
	Object	   *after;
} Making;

/* Create or replace; keep it unless it is what was there. */
static bool
make(void *arg)
{
	Making	   *making = arg;
	const Object *object = making->object;

	object_create(object, making->exists);
	making->after = kind_find(object->kind, object->parent, object->name, false);
	if (making->after == NULL)
		elog(ERROR, "%s \"%s\" is not listed", object->kind->object->kind, object_path(object));
	return !making->exists || !objects_equal(making->after, making->before);
}

/*
 * Create or replace one object; returns what then exists, or NULL when that
 * is what was there.  `before` is what was there when apply() began, which may
 * be gone by now, with its parent.
 */
static Object *
make_object(const Object *object, const Object *before)
{
	Making		making = {.object = object, .before = before};

	making.exists = before != NULL &&
		kind_find(object->kind, object->parent, object->name, false) != NULL;
	if (making.exists && objects_equal(object, before))
		return NULL;
	pipeline_subtransaction(make, &making);
	return before && objects_equal(making.after, before) ? NULL : making.after;
}

static Object *
find_object(List *objects, const Kind *kind, const char *name)
{
	ListCell   *lc;

	foreach(lc, objects)
	{
		Object	   *object = lfirst(lc);

		if (object->kind == kind && strcmp(object->name, name) == 0)
			return object;
	}
	return NULL;
}

/* May, and shall, an object that the document does not have be dropped? */
static bool
is_pruned(const Document *document, const Object *object)
{
	return pipeline_list_has(document->prune, object->kind->object->key) &&
		has_privs_of_role(GetUserId(), object->owner);
}

/* Drop, last first, those of `existing` that the document does not have. */
static void
prune_objects(Document *document, List *existing, List *wanted)
{
	List	   *ordered = objects_in_order(existing);

	for (int i = list_length(ordered) - 1; i >= 0; i--)
	{
		Object	   *object = list_nth(ordered, i);

		if (find_object(wanted, object->kind, object->name) || !is_pruned(document, object))
			continue;
		if (kind_find(object->kind, object->parent, object->name, false))
			object_drop(object);
		report(document, object, "drop", object, NULL);
	}
}

/* What belongs to an object now. */
static List *
existing_children(const Object *object)
{
	List	   *existing = NIL;
	ListCell   *lc;

	foreach(lc, object->kind->children)
		existing = list_concat(existing, kind_list_children(lfirst(lc), object->name, false));
	return existing;
}

/*
 * Is there nothing to do about an object and what belongs to it?  Reports that,
 * then; so nothing is locked where nothing changes.
 */
static bool
is_there(Document *document, const Object *object)
{
	const Object *before = kind_find(object->kind, object->parent, object->name, false);
	List	   *existing = existing_children(object);
	ListCell   *lc;

	if (before == NULL || !objects_equal(object, before))
		return false;
	foreach(lc, object->children)
	{
		const Object *child = lfirst(lc);
		const Object *was = find_object(existing, child->kind, child->name);

		if (was == NULL || !objects_equal(child, was))
			return false;
	}
	foreach(lc, existing)
	{
		const Object *was = lfirst(lc);

		if (find_object(object->children, was->kind, was->name) == NULL && is_pruned(document, was))
			return false;
	}
	report(document, object, "unchanged", before, before);
	foreach(lc, object->children)
	{
		const Object *child = lfirst(lc);
		const Object *was = find_object(existing, child->kind, child->name);

		report(document, child, "unchanged", was, was);
	}
	return true;
}

static void
apply_object(Document *document, Object *object)
{
	Object	   *before;
	Object	   *after;
	ListCell   *lc;
	List	   *existing;

	if (is_there(document, object))
		return;
	kind_lock(object->kind, object->parent, object->name);
	before = kind_find(object->kind, object->parent, object->name, false);
	/* Before it is replaced, which may take them with it. */
	existing = existing_children(object);
	after = make_object(object, before);
	report(document, object, after == NULL ? "unchanged" : before ? "update" : "create",
		   before, after ? after : before);
	foreach(lc, object->children)
	{
		Object	   *child = lfirst(lc);
		Object	   *was = find_object(existing, child->kind, child->name);

		after = make_object(child, was);
		report(document, child, after == NULL ? "unchanged" : was ? "update" : "create",
			   was, after ? after : was);
	}
	foreach(lc, existing)
	{
		Object	   *child = lfirst(lc);

		if (find_object(object->children, child->kind, child->name) == NULL &&
			!is_pruned(document, child))
			objects_restore(list_make1(child));
	}
	foreach(lc, object->kind->children)
	{
		List	   *siblings = NIL;
		ListCell   *lc2;

		foreach(lc2, existing)
		{
			if (((Object *) lfirst(lc2))->kind == lfirst(lc))
				siblings = lappend(siblings, lfirst(lc2));
		}
		prune_objects(document, siblings, object->children);
	}
}

/* Make it so; true. */
static bool
apply_document(void *arg)
{
	Document   *document = arg;
	ListCell   *lc;

	foreach(lc, document->objects)
		apply_object(document, lfirst(lc));
	for (int i = list_length(document->roots) - 1; i >= 0; i--)
	{
		Kind	   *kind = list_nth(document->roots, i);

		if (pipeline_list_has(document->prune, kind->object->key))
			prune_objects(document, kind_list(kind, false), document->objects);
	}
	return true;
}

/* The same, to be taken back. */
static bool
try_document(void *arg)
{
	return !apply_document(arg);
}

static void
return_rows(const Document *document, ReturnSetInfo *rsinfo)
{
	ListCell   *lc;

	foreach(lc, document->applied)
	{
		Applied    *row = lfirst(lc);
		Datum		values[5] = {
			CStringGetTextDatum(row->kind), CStringGetTextDatum(row->name),
			CStringGetTextDatum(row->action), JsonbPGetDatum(row->before),
			JsonbPGetDatum(row->after)
		};
		bool		nulls[5] = {false, false, false, row->before == NULL, row->after == NULL};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(pipeline_apply);

/* SQL: apply(spec, prune, dry_run) */
Datum
pipeline_apply(PG_FUNCTION_ARGS)
{
	Document	document = {0};
	Jsonb	   *spec;
	bool		dry_run;
	int			level;

	pipeline_not_null(fcinfo, 0, "spec");
	pipeline_not_null(fcinfo, 1, "prune");
	pipeline_not_null(fcinfo, 2, "dry_run");
	spec = PG_GETARG_JSONB_P(0);
	dry_run = PG_GETARG_BOOL(2);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	level = kind_settings_begin();
	document.prune = pipeline_array_list(PG_GETARG_ARRAYTYPE_P(1), "prune");
	document.roots = kinds_load();
	read_document(&document, spec);
	if (dry_run)
		pipeline_subtransaction(try_document, &document);
	else
		apply_document(&document);
	AtEOXact_GUC(false, level);
	return_rows(&document, (ReturnSetInfo *) fcinfo->resultinfo);
	SPI_finish();
	return (Datum) 0;
}
