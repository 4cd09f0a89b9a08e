/*
 * kinds.h
 *	  What apply(), export() and alter_X() share: kinds of objects, the
 *	  functions that create them, and objects as the arguments that made them.
 *
 * An object is a text per argument of its create function: the value as its
 * type writes it, under the settings of kind_settings_begin(), so that two
 * objects are equal when their texts are.
 */
#ifndef PIPELINE_BASE_KINDS_H
#define PIPELINE_BASE_KINDS_H

#include "base/base.h"

/* A create function's argument. */
typedef struct KindArgument
{
	char	   *name;
	Oid			type;
	bool		required;		/* it has no default */
	char	   *initial;		/* the default; NULL is NULL */
} KindArgument;

typedef struct Kind
{
	const ObjectKind *object;
	struct Kind *parent;		/* or NULL */
	List	   *children;		/* of Kind, in order of registration */
	/* Queries made from object->list, see kinds.c. */
	const char *list_all;
	const char *list_children;
	const char *list_one;
	/* Of the create function. */
	int			nargs;
	KindArgument *args;
	int			name_arg;
	int			parent_arg;		/* or -1 */
	int			replace_arg;	/* or -1 */
	int			after_arg;		/* or -1 */
} Kind;

typedef struct Object
{
	Kind	   *kind;
	char	   *parent;			/* name of the parent, or NULL */
	char	   *name;
	Oid			owner;			/* of one that exists */
	char	   *search_path;	/* or NULL */
	char	  **values;			/* per argument; NULL is NULL */
	bool	   *given;			/* per argument: in the document */
	List	   *children;		/* of Object; of a document's object */
} Object;

/* kinds.c */
extern List *kinds_load(void);
extern Kind *kind_by_key(List *roots, const char *key);
extern char *kind_keys(List *roots, bool all);
extern char *object_path(const Object *object);
extern List *kind_list(Kind *kind, bool read_only);
extern List *kind_list_children(Kind *kind, const char *parent, bool read_only);
extern Object *kind_find(Kind *kind, const char *parent, const char *name,
						 bool read_only);
extern void kind_lock(Kind *kind, const char *parent, const char *name);
extern List *objects_in_order(List *objects);
extern int	kind_settings_begin(void);

/* kind_values.c */
extern char *kind_value_from_json(const Kind *kind, int arg, JsonbValue *value);
extern char *kind_value_from_datum(Oid type, Datum value);
extern char *kind_value_canonical(const Kind *kind, int arg, const char *text);
extern void append_value_json(StringInfo buf, Oid type, const char *text);
extern void append_value_sql(StringInfo buf, Oid type, const char *text);
extern char *object_listed_name(const Object *object, bool with_name);
extern bool object_shows(const Object *object, int arg);
extern Jsonb *object_jsonb(const Object *object);
extern void object_append_json(StringInfo buf, const Object *object);

/* kind_calls.c */
extern bool kind_is_argument(const Kind *kind, int arg);
extern void object_create(const Object *object, bool replace);
extern void object_drop(const Object *object);
extern bool objects_equal(const Object *a, const Object *b);
extern void objects_restore(List *objects);

#endif							/* PIPELINE_BASE_KINDS_H */
