/*
 * kind_values.c
 *	  Values of arguments: from JSON, as canonical text, and back as JSON and
 *	  SQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "base/kinds.h"

/* The text of a value, as its type writes it. */
char *
kind_value_from_datum(Oid type, Datum value)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(type, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

/* The same text as its type writes it: "20 min" becomes "00:20:00". */
char *
kind_value_canonical(const Kind *kind, int arg, const char *text)
{
	Oid			type = kind->args[arg].type;
	Oid			input;
	Oid			param;

	getTypeInputInfo(type, &input, &param);
	return kind_value_from_datum(type, OidInputFunctionCall(input, unconstify(char *, text),
															param, -1));
}

/* ---- from JSON ------------------------------------------------------------------ */

static void
bad_value(const Kind *kind, int arg, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" of a %s cannot be %s", kind->args[arg].name,
					kind->object->kind, what),
			 errhint("It is argument \"%s\" of pipeline.%s(), of type %s.",
					 kind->args[arg].name, kind->object->create,
					 format_type_be(kind->args[arg].type))));
}

static char *
json_text(JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(value);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

static char *
scalar_text(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return json_text(value);
	}
}

/* A JSON array as the text of an array of the argument's type. */
static char *
array_text(const Kind *kind, int arg, JsonbValue *value)
{
	Oid			type = kind->args[arg].type;
	Oid			element = get_element_type(type);
	JsonbContainer *container = value->val.binary.data;
	int			n = JsonContainerSize(container);
	Datum	   *datums = palloc_array(Datum, n + 1);
	bool	   *nulls = palloc0_array(bool, n + 1);
	int			dims[1] = {n};
	int			bounds[1] = {1};
	Oid			input;
	Oid			param;
	int16		len;
	bool		byval;
	char		align;

	getTypeInputInfo(element, &input, &param);
	get_typlenbyvalalign(element, &len, &byval, &align);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer(container, i);

		if (v->type == jbvBinary)
			bad_value(kind, arg, "an array of arrays or objects");
		nulls[i] = v->type == jbvNull;
		if (!nulls[i])
			datums[i] = OidInputFunctionCall(input, scalar_text(v), param, -1);
	}
	return kind_value_from_datum(type, n == 0 ? PointerGetDatum(construct_empty_array(element)) :
								 PointerGetDatum(construct_md_array(datums, nulls, 1, dims, bounds, element,
																	len, byval, align)));
}

/*
 * The canonical text of a JSON value for an argument; NULL for null.  Raises
 * 22023, and what the type raises.
 */
char *
kind_value_from_json(const Kind *kind, int arg, JsonbValue *value)
{
	Oid			type = kind->args[arg].type;

	if (value->type == jbvNull)
		return NULL;
	if (type == JSONBOID || type == JSONOID)
		return kind_value_canonical(kind, arg, json_text(value));
	if (value->type == jbvBinary)
	{
		if (JsonContainerIsObject(value->val.binary.data))
			bad_value(kind, arg, "an object");
		if (!OidIsValid(get_element_type(type)))
			bad_value(kind, arg, "an array");
		return array_text(kind, arg, value);
	}
	return kind_value_canonical(kind, arg, scalar_text(value));
}

/* ---- to JSON and SQL ---------------------------------------------------------------- */

static bool
is_plain(Oid type)
{
	return type == BOOLOID || type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Append the canonical text of a value as JSON. */
void
append_value_json(StringInfo buf, Oid type, const char *text)
{
	Oid			element = get_element_type(type);

	if (text == NULL)
		appendStringInfoString(buf, "null");
	else if (type == BOOLOID)
		appendStringInfoString(buf, *text == 't' ? "true" : "false");
	else if (is_plain(type) || type == JSONBOID || type == JSONOID ||
			 ((type == FLOAT8OID || type == NUMERICOID || type == FLOAT4OID) &&
			  strpbrk(text, "NIn") == NULL))
		appendStringInfoString(buf, text);
	else if (OidIsValid(element))
	{
		Oid			input;
		Oid			param;
		Datum	   *datums;
		bool	   *nulls;
		int			n;
		int16		len;
		bool		byval;
		char		align;

		getTypeInputInfo(type, &input, &param);
		get_typlenbyvalalign(element, &len, &byval, &align);
		deconstruct_array(DatumGetArrayTypeP(OidInputFunctionCall(input, unconstify(char *, text), param, -1)),
						  element, len, byval, align, &datums, &nulls, &n);
		appendStringInfoChar(buf, '[');
		for (int i = 0; i < n; i++)
		{
			if (i > 0)
				appendStringInfoString(buf, ", ");
			append_value_json(buf, element, nulls[i] ? NULL :
							  kind_value_from_datum(element, datums[i]));
		}
		appendStringInfoChar(buf, ']');
	}
	else
		escape_json(buf, text);
}

/* Dollar-quote a text under a tag that does not appear in it. */
static void
append_dollar_quoted(StringInfo buf, const char *text)
{
	char		tag[32] = "$sql$";

	for (int n = 2; strstr(text, tag) != NULL; n++)
		snprintf(tag, sizeof(tag), "$sql%d$", n);
	appendStringInfo(buf, "%s%s%s", tag, text, tag);
}

/* Append the canonical text of a value as an SQL expression. */
void
append_value_sql(StringInfo buf, Oid type, const char *text)
{
	if (text == NULL)
		appendStringInfoString(buf, "NULL");
	else if (type == BOOLOID)
		appendStringInfoString(buf, *text == 't' ? "true" : "false");
	else if (is_plain(type))
		appendStringInfoString(buf, text);
	else if (strpbrk(text, "'\\\n") && text[strlen(text) - 1] != '$')
		append_dollar_quoted(buf, text);
	else
		appendStringInfoString(buf, quote_literal_cstr(text));
}

/* ---- objects -------------------------------------------------------------------------- */

/* The name that its room lists it under, told its name argument or not. */
char *
object_listed_name(const Object *object, bool with_name)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; i < object->kind->nargs; i++)
	{
		if (object->values[i] == NULL || (i == object->kind->name_arg && !with_name))
			continue;
		if (buf.len > 1)
			appendStringInfoString(&buf, ", ");
		escape_json(&buf, object->kind->args[i].name);
		appendStringInfoString(&buf, ": ");
		append_value_json(&buf, object->kind->args[i].type, object->values[i]);
	}
	appendStringInfoChar(&buf, '}');
	return object->kind->object->listed_name(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data))));
}

/* Does an object's value for this argument have to be said? */
bool
object_shows(const Object *object, int arg)
{
	const Kind *kind = object->kind;
	const char *value = object->values[arg];
	const char *initial = kind->args[arg].initial;

	if (!kind_is_argument(kind, arg) || arg == kind->parent_arg)
		return false;
	if (kind->args[arg].required)
		return true;
	if (arg == kind->name_arg && kind->object->listed_name)
	{
		char	   *unsaid = object_listed_name(object, false);

		return unsaid == NULL || strcmp(unsaid, object->name) != 0;
	}
	return value == NULL || initial == NULL ? value != initial :
		strcmp(value, initial) != 0;
}

/* Append an object's arguments, those that differ from their defaults. */
void
object_append_json(StringInfo buf, const Object *object)
{
	bool		first = true;

	for (int i = 0; i < object->kind->nargs; i++)
	{
		if (!object_shows(object, i))
			continue;
		if (!first)
			appendStringInfoString(buf, ", ");
		first = false;
		escape_json(buf, object->kind->args[i].name);
		appendStringInfoString(buf, ": ");
		append_value_json(buf, object->kind->args[i].type, object->values[i]);
	}
	if (object->search_path && object->kind->object->has_path)
	{
		appendStringInfoString(buf, first ? "\"search_path\": " : ", \"search_path\": ");
		escape_json(buf, object->search_path);
	}
}

/* The same as jsonb; NULL for no object. */
Jsonb *
object_jsonb(const Object *object)
{
	StringInfoData buf;

	if (object == NULL)
		return NULL;
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	object_append_json(&buf, object);
	appendStringInfoChar(&buf, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
}
