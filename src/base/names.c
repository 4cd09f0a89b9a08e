/*
 * names.c
 *	  Names, choices, options and arrays of text: the checks that every
 *	  function with user arguments makes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/base.h"

/*
 * Raise 22023 unless the name is one to 200 characters without control
 * characters.  Such names reach labels, logs and process titles.
 */
void
pipeline_check_name(const char *kind, const char *name)
{
	bool		bad = name[0] == '\0' || pg_mbstrlen(name) > 200;

	for (const char *c = name; *c; c++)
		bad = bad || (unsigned char) *c < 0x20 || *c == 0x7f;
	if (bad)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of %s %s: \"%s\"", strchr("aeiou", *kind) ? "an" : "a",
						kind, name),
				 errhint("A name has 1 to 200 characters and no control characters.")));
}

static char *
join_choices(const char *const *choices)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *const *c = choices; *c; c++)
		appendStringInfo(&buf, "%s%s", c == choices ? "" : ", ", *c);
	return buf.data;
}

/* Raise 22023 unless the value is one of the NULL-terminated choices. */
void
pipeline_check_choice(const char *argument, const char *value,
					  const char *const *choices)
{
	for (const char *const *c = choices; *c; c++)
		if (strcmp(*c, value) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for argument \"%s\": \"%s\"", argument, value),
			 errhint("Available values: %s.", join_choices(choices))));
}

/*
 * Raise 22023 unless the jsonb is an object whose keys are all among the
 * NULL-terminated `allowed`; the message names the first that is not.
 */
void
pipeline_check_keys(const Jsonb *object, const char *argument,
					const char *const *allowed)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be a JSON object", argument),
				 errdetail("It is %s.",
						   JsonbToCString(NULL, (JsonbContainer *) &object->root,
										  VARSIZE(object)))));
	it = JsonbIteratorInit((JsonbContainer *) &object->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;
		bool		found = false;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		for (const char *const *a = allowed; *a && !found; a++)
			found = strcmp(*a, key) == 0;
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown key \"%s\" in argument \"%s\"", key, argument),
					 *allowed ? errhint("Available keys: %s.", join_choices(allowed)) :
					 errhint("It takes no keys.")));
	}
}

/*
 * Return the value of a key of a JSON object as text (strings without their
 * quotes), or NULL when the key is not there or is null.
 */
char *
pipeline_jsonb_key(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v;
	Jsonb	   *out;

	v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
									 key, strlen(key), &buf);
	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type == jbvString)
		return pnstrdup(v->val.string.val, v->val.string.len);
	out = JsonbValueToJsonb(v);
	return JsonbToCString(NULL, &out->root, VARSIZE(out));
}

/*
 * Return the strings of an array in a JSON object, NIL when the key is not
 * there; raises 22023, naming the argument, when it is anything else.
 */
List *
pipeline_jsonb_strings(const Jsonb *object, const char *argument,
					   const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 key, strlen(key), &buf);
	List	   *strings = NIL;
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;

	if (v == NULL)
		return NIL;
	if (v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data))
	{
		it = JsonbIteratorInit(v->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		{
			if (token == WJB_ELEM && element.type != jbvString)
				break;
			if (token == WJB_ELEM)
				strings = lappend(strings, pnstrdup(element.val.string.val,
													element.val.string.len));
		}
		if (token == WJB_DONE)
			return strings;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" of argument \"%s\" must be an array of strings",
					key, argument)));
	return NIL;
}

/* Raise 22004 if the argument, named for the user, is NULL. */
void
pipeline_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

/* The argument as a C string, or NULL. */
char *
pipeline_arg_text(FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return NULL;
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* The argument as an array, or NULL. */
ArrayType *
pipeline_arg_array(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_ARRAYTYPE_P(argument);
}

/* The argument as jsonb, or NULL. */
Jsonb *
pipeline_arg_jsonb(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_JSONB_P(argument);
}

/*
 * Turn a text[] (NULL: no elements) into a list of strings.  NULL elements
 * and duplicates are errors that name the argument.
 */
List *
pipeline_array_list(const ArrayType *array, const char *argument)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *list = NIL;

	if (array == NULL)
		return NIL;
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"%s\" must be a one-dimensional array", argument)));
	deconstruct_array((ArrayType *) array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *element;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", argument)));
		element = TextDatumGetCString(elements[i]);
		if (pipeline_list_has(list, element))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" appears more than once in argument \"%s\"",
							element, argument)));
		list = lappend(list, element);
	}
	return list;
}

/* Turn a list of strings into a text[]. */
ArrayType *
pipeline_list_array(const List *strings)
{
	int			n = list_length(strings);
	Datum	   *elements = palloc_array(Datum, n + 1);

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum((char *) list_nth(strings, i));
	return construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* Is the string in the list? */
bool
pipeline_list_has(const List *strings, const char *string)
{
	ListCell   *lc;

	foreach(lc, strings)
	{
		if (strcmp(lfirst(lc), string) == 0)
			return true;
	}
	return false;
}

/* Join a list of strings. */
char *
pipeline_list_join(const List *strings, const char *separator)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, strings)
		appendStringInfo(&buf, "%s%s", lc == list_head(strings) ? "" : separator,
						 (char *) lfirst(lc));
	return buf.data;
}

/* Compare two intervals as SQL does: below, at or above zero. */
int
pipeline_compare_intervals(const Interval *a, const Interval *b)
{
	return DatumGetInt32(DirectFunctionCall2(interval_cmp,
											 IntervalPGetDatum(a),
											 IntervalPGetDatum(b)));
}

/* Return the schema-qualified, quoted name of a relation. */
char *
pipeline_qualified_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  name);
}

/* Make a flat JSON object of strings; a pair with a NULL value is left out. */
Jsonb *
pipeline_jsonb_object(int npairs, const char *const *keys,
					  const char *const *values)
{
	StringInfoData buf;
	bool		first = true;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; i < npairs; i++)
	{
		if (values[i] == NULL)
			continue;
		if (!first)
			appendStringInfoChar(&buf, ',');
		first = false;
		escape_json(&buf, keys[i]);
		appendStringInfoChar(&buf, ':');
		escape_json(&buf, values[i]);
	}
	appendStringInfoChar(&buf, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(buf.data)));
}
