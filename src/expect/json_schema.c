/*
 * json_schema.c
 *	  Does a JSON value follow a JSON schema?
 *
 * The keywords of draft 7 that judge a value are known, with $ref to places in
 * the same schema; a schema that uses another one is refused when the
 * expectation is defined, since to skip it would be to pass what it forbids.
 * Keywords that only describe (title, format, ...) judge nothing, as in the
 * standard.  Patterns are PostgreSQL's regular expressions.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "expect/check.h"

#define MAX_REF_DEPTH 64

static const char *const judging[] = {
	"type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
	"multipleOf", "minLength", "maxLength", "pattern", "items", "additionalItems", "minItems",
	"maxItems", "uniqueItems", "contains", "properties", "patternProperties",
	"additionalProperties", "required", "minProperties", "maxProperties", "propertyNames",
	"dependencies", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref"
};
static const char *const describing[] = {
	"title", "description", "default", "examples", "format", "$schema", "$id", "id", "$comment",
	"definitions", "$defs", "readOnly", "writeOnly", "contentEncoding", "contentMediaType",
	"deprecated"
};

typedef struct Validator
{
	JsonbContainer *root;
	int			depth;
} Validator;

static bool validate(Validator *v, const JsonbValue *schema, const JsonbValue *value);

static bool
is_object(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
}

static bool
is_array(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data) &&
		!JsonContainerIsScalar(v->val.binary.data);
}

static JsonbValue *
member(const JsonbValue *object, const char *key)
{
	return getKeyJsonValueFromContainer(object->val.binary.data, key, strlen(key), NULL);
}

static char *
string_of(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

static bool
same(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == jbvBinary)
		return compareJsonbContainers(a->val.binary.data, b->val.binary.data) == 0;
	return compareJsonbContainers(&JsonbValueToJsonb((JsonbValue *) a)->root,
								  &JsonbValueToJsonb((JsonbValue *) b)->root) == 0;
}

static bool
matches(const JsonbValue *pattern, const char *text, int len)
{
	return pipeline_regex_matches(pipeline_regex_compile(string_of(pattern), DEFAULT_COLLATION_OID),
								  text, len);
}

static bool
is_type(const JsonbValue *name, const JsonbValue *value)
{
	char	   *type = name->type == jbvString ? string_of(name) : "";

	if (strcmp(type, "null") == 0)
		return value->type == jbvNull;
	if (strcmp(type, "boolean") == 0)
		return value->type == jbvBool;
	if (strcmp(type, "string") == 0)
		return value->type == jbvString;
	if (strcmp(type, "number") == 0)
		return value->type == jbvNumeric;
	if (strcmp(type, "integer") == 0)
		return value->type == jbvNumeric &&
			pipeline_json_number(value) == floor(pipeline_json_number(value));
	if (strcmp(type, "array") == 0)
		return is_array(value);
	return strcmp(type, "object") == 0 && is_object(value);
}

static bool
any_type(const JsonbValue *types, const JsonbValue *value)
{
	if (!is_array(types))
		return is_type(types, value);
	for (int i = 0; i < JsonContainerSize(types->val.binary.data); i++)
		if (is_type(getIthJsonbValueFromContainer(types->val.binary.data, i), value))
			return true;
	return false;
}

/* How many of the schemas of an array does the value follow? */
static int
count_valid(Validator *v, const JsonbValue *schemas, const JsonbValue *value)
{
	int			n = 0;

	for (int i = 0; i < JsonContainerSize(schemas->val.binary.data); i++)
		n += validate(v, getIthJsonbValueFromContainer(schemas->val.binary.data, i), value);
	return n;
}

static bool
one_of_values(const JsonbValue *values, const JsonbValue *value)
{
	for (int i = 0; i < JsonContainerSize(values->val.binary.data); i++)
		if (same(getIthJsonbValueFromContainer(values->val.binary.data, i), value))
			return true;
	return false;
}

/* Does the number satisfy this keyword? */
static bool
number_keyword(const char *key, const JsonbValue *limit, double value)
{
	double		bound = limit->type == jbvNumeric ? pipeline_json_number(limit) : 0;

	if (strcmp(key, "minimum") == 0)
		return value >= bound;
	if (strcmp(key, "maximum") == 0)
		return value <= bound;
	if (strcmp(key, "exclusiveMinimum") == 0)
		return value > bound;
	if (strcmp(key, "exclusiveMaximum") == 0)
		return value < bound;
	if (strcmp(key, "multipleOf") == 0)
		return bound > 0 && fabs(value / bound - rint(value / bound)) < 1e-9;
	return true;
}

static bool
string_keyword(const char *key, const JsonbValue *limit, const JsonbValue *value)
{
	int			length = pg_mbstrlen_with_len(value->val.string.val, value->val.string.len);

	if (strcmp(key, "minLength") == 0)
		return length >= pipeline_json_number(limit);
	if (strcmp(key, "maxLength") == 0)
		return length <= pipeline_json_number(limit);
	if (strcmp(key, "pattern") == 0)
		return matches(limit, value->val.string.val, value->val.string.len);
	return true;
}

static bool
unique_items(const JsonbContainer *array)
{
	for (int i = 0; i < JsonContainerSize(array); i++)
		for (int j = 0; j < i; j++)
			if (same(getIthJsonbValueFromContainer((JsonbContainer *) array, i),
					 getIthJsonbValueFromContainer((JsonbContainer *) array, j)))
				return false;
	return true;
}

/* The items of an array against "items" (and "additionalItems"). */
static bool
items(Validator *v, const JsonbValue *schema, const JsonbValue *keyword, const JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	JsonbValue *more = member(schema, "additionalItems");

	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array, i);

		if (!is_array(keyword))
		{
			if (!validate(v, keyword, item))
				return false;
		}
		else if (i < JsonContainerSize(keyword->val.binary.data))
		{
			if (!validate(v, getIthJsonbValueFromContainer(keyword->val.binary.data, i), item))
				return false;
		}
		else if (more != NULL && !validate(v, more, item))
			return false;
	}
	return true;
}

static bool
array_keyword(Validator *v, const char *key, const JsonbValue *schema,
			  const JsonbValue *limit, const JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;

	if (strcmp(key, "items") == 0)
		return items(v, schema, limit, value);
	if (strcmp(key, "minItems") == 0)
		return JsonContainerSize(array) >= pipeline_json_number(limit);
	if (strcmp(key, "maxItems") == 0)
		return JsonContainerSize(array) <= pipeline_json_number(limit);
	if (strcmp(key, "uniqueItems") == 0)
		return limit->type != jbvBool || !limit->val.boolean || unique_items(array);
	if (strcmp(key, "contains") == 0)
	{
		for (int i = 0; i < JsonContainerSize(array); i++)
			if (validate(v, limit, getIthJsonbValueFromContainer(array, i)))
				return true;
		return false;
	}
	return true;
}

/* Is the property covered by "properties" or "patternProperties"? */
static bool
is_declared(const JsonbValue *schema, const JsonbValue *name)
{
	JsonbValue *properties = member(schema, "properties");
	JsonbValue *patterns = member(schema, "patternProperties");
	JsonbIterator *it;
	JsonbValue	key;
	JsonbIteratorToken token;

	if (properties != NULL && is_object(properties) && member(properties, string_of(name)) != NULL)
		return true;
	if (patterns == NULL || !is_object(patterns))
		return false;
	it = JsonbIteratorInit(patterns->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
		if (token == WJB_KEY && matches(&key, name->val.string.val, name->val.string.len))
			return true;
	return false;
}

/* One property of the value against one keyword. */
static bool
property(Validator *v, const char *keyword, const JsonbValue *schema, const JsonbValue *limit,
		 const JsonbValue *name, const JsonbValue *value)
{
	JsonbValue *sub;

	if (strcmp(keyword, "properties") == 0)
		return (sub = member(limit, string_of(name))) == NULL || validate(v, sub, value);
	if (strcmp(keyword, "propertyNames") == 0)
		return validate(v, limit, name);
	if (strcmp(keyword, "additionalProperties") == 0)
		return is_declared(schema, name) || validate(v, limit, value);
	if (strcmp(keyword, "patternProperties") == 0)
	{
		JsonbIterator *it = JsonbIteratorInit(limit->val.binary.data);
		JsonbValue	pattern;
		JsonbIteratorToken token;

		while ((token = JsonbIteratorNext(&it, &pattern, true)) != WJB_DONE)
			if (token == WJB_KEY && matches(&pattern, name->val.string.val, name->val.string.len) &&
				!validate(v, member(limit, string_of(&pattern)), value))
				return false;
	}
	return true;
}

static bool
has_all(const JsonbValue *object, const JsonbValue *names)
{
	for (int i = 0; i < JsonContainerSize(names->val.binary.data); i++)
	{
		JsonbValue *name = getIthJsonbValueFromContainer(names->val.binary.data, i);

		if (name->type == jbvString && member(object, string_of(name)) == NULL)
			return false;
	}
	return true;
}

/* "dependencies": what must be there, or hold, if a property is there. */
static bool
dependencies(Validator *v, const JsonbValue *limit, const JsonbValue *value)
{
	JsonbIterator *it = JsonbIteratorInit(limit->val.binary.data);
	JsonbValue	key;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		JsonbValue *needs;

		if (token != WJB_KEY || member(value, string_of(&key)) == NULL)
			continue;
		needs = member(limit, string_of(&key));
		if (is_array(needs) ? !has_all(value, needs) : !validate(v, needs, value))
			return false;
	}
	return true;
}

static bool
object_keyword(Validator *v, const char *key, const JsonbValue *schema,
			   const JsonbValue *limit, const JsonbValue *value)
{
	JsonbContainer *object = value->val.binary.data;
	JsonbIterator *it;
	JsonbValue	name;
	JsonbIteratorToken token;

	if (strcmp(key, "required") == 0)
		return !is_array(limit) || has_all(value, limit);
	if (strcmp(key, "minProperties") == 0)
		return JsonContainerSize(object) >= pipeline_json_number(limit);
	if (strcmp(key, "maxProperties") == 0)
		return JsonContainerSize(object) <= pipeline_json_number(limit);
	if (strcmp(key, "dependencies") == 0)
		return dependencies(v, limit, value);
	it = JsonbIteratorInit(object);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
		if (token == WJB_KEY &&
			!property(v, key, schema, limit, &name, member(value, string_of(&name))))
			return false;
	return true;
}

/* The place in the schema that "#/a/b" means. */
static bool
reference(Validator *v, const JsonbValue *pointer, const JsonbValue *value)
{
	JsonbValue	at = {.type = jbvBinary};
	char	   *path = pointer->type == jbvString ? string_of(pointer) : "";
	bool		valid;

	if (path[0] != '#' || v->depth >= MAX_REF_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("JSON schema refers to \"%s\", which cannot be followed", path)));
	at.val.binary.data = v->root;
	for (char *part = strtok(path + 1, "/"); part; part = strtok(NULL, "/"))
	{
		JsonbValue *next = is_object(&at) ? member(&at, part) : NULL;

		if (next == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("JSON schema refers to \"%s\", which is not there", string_of(pointer))));
		at = *next;
	}
	v->depth++;
	valid = validate(v, &at, value);
	v->depth--;
	return valid;
}

/* One keyword of the schema. */
static bool
keyword(Validator *v, const char *key, const JsonbValue *schema,
		const JsonbValue *limit, const JsonbValue *value)
{
	if (strcmp(key, "type") == 0)
		return any_type(limit, value);
	if (strcmp(key, "enum") == 0)
		return one_of_values(limit, value);
	if (strcmp(key, "const") == 0)
		return same(limit, value);
	if (strcmp(key, "$ref") == 0)
		return reference(v, limit, value);
	if (strcmp(key, "allOf") == 0)
		return count_valid(v, limit, value) == JsonContainerSize(limit->val.binary.data);
	if (strcmp(key, "anyOf") == 0)
		return count_valid(v, limit, value) > 0;
	if (strcmp(key, "oneOf") == 0)
		return count_valid(v, limit, value) == 1;
	if (strcmp(key, "not") == 0)
		return !validate(v, limit, value);
	if (strcmp(key, "if") == 0)
	{
		JsonbValue *then = member(schema, validate(v, limit, value) ? "then" : "else");

		return then == NULL || validate(v, then, value);
	}
	if (value->type == jbvNumeric)
		return number_keyword(key, limit, pipeline_json_number(value));
	if (value->type == jbvString)
		return string_keyword(key, limit, value);
	if (is_array(value))
		return array_keyword(v, key, schema, limit, value);
	return !is_object(value) || object_keyword(v, key, schema, limit, value);
}

/* Is the keyword one that judges, rather than describes? */
static bool
in_list(const char *key, const char *const *list, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(key, list[i]) == 0)
			return true;
	return false;
}

static bool
validate(Validator *v, const JsonbValue *schema, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbIteratorToken token;

	check_stack_depth();
	if (schema->type == jbvBool)
		return schema->val.boolean;
	if (!is_object(schema))
		return true;
	it = JsonbIteratorInit(schema->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = string_of(&key);
		if (in_list(name, judging, lengthof(judging)) &&
			!keyword(v, name, schema, member(schema, name), value))
			return false;
	}
	return true;
}

/* Check a schema, or the values of an object of schemas, for unknown keywords. */
static void
check_schema(const JsonbValue *schema, bool of_names)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbIteratorToken token;

	check_stack_depth();
	if (is_array(schema))
	{
		for (int i = 0; i < JsonContainerSize(schema->val.binary.data); i++)
			check_schema(getIthJsonbValueFromContainer(schema->val.binary.data, i), false);
		return;
	}
	if (!is_object(schema))
		return;
	it = JsonbIteratorInit(schema->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = string_of(&key);
		if (of_names)
			check_schema(member(schema, name), false);
		else if (strcmp(name, "properties") == 0 || strcmp(name, "patternProperties") == 0 ||
				 strcmp(name, "definitions") == 0 || strcmp(name, "$defs") == 0 ||
				 strcmp(name, "dependencies") == 0)
			check_schema(member(schema, name), true);
		else if (strcmp(name, "enum") == 0 || strcmp(name, "const") == 0 ||
				 in_list(name, describing, lengthof(describing)))
			continue;
		else if (in_list(name, judging, lengthof(judging)))
			check_schema(member(schema, name), false);
		else
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("keyword \"%s\" of JSON schemas is not supported", name),
					 errhint("Those of draft 7 are.")));
	}
}

/* Raise 22023 or 0A000 unless it is a schema whose keywords are all known. */
void
pipeline_json_schema_check(const Jsonb *schema)
{
	JsonbValue	root = {.type = jbvBinary};

	if (!JB_ROOT_IS_OBJECT(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"json_schema\" in argument \"kwargs\" must be an object")));
	root.val.binary.data = (JsonbContainer *) &schema->root;
	check_schema(&root, false);
}

/* Does the value follow the schema? */
bool
pipeline_json_schema_matches(const Jsonb *schema, const Jsonb *value)
{
	Validator	v = {.root = (JsonbContainer *) &schema->root};
	JsonbValue	root = {.type = jbvBinary};
	JsonbValue	top = {.type = jbvBinary};

	root.val.binary.data = v.root;
	if (JB_ROOT_IS_SCALAR(value))
		top = *getIthJsonbValueFromContainer((JsonbContainer *) &value->root, 0);
	else
		top.val.binary.data = (JsonbContainer *) &value->root;
	return validate(&v, &root, &top);
}
