/*
 * options.c
 *	  The arguments that create_dimension() and merge_scd2() share, into a
 *	  Dimension.
 *
 * Both functions take them at the same places, so they are read once, here.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "scd/scd.h"

enum
{
	ARG_SOURCE = 1,
	ARG_BUSINESS_KEY,
	ARG_FEED,
	ARG_TYPE2,
	ARG_TYPE1,
	ARG_TYPE0,
	ARG_TYPE3,
	ARG_TYPE6,
	ARG_HARD_DELETES,
	ARG_EFFECTIVE_AT,
	ARG_OPERATION,
	ARG_SEQUENCE_BY,
	ARG_ON_TIE,
	ARG_SCOPE,
	ARG_UNKNOWN_MEMBER,
	ARG_INITIAL_VALID_FROM,
	ARG_ON_NEW_COLUMN,
	ARG_OPEN_END,
	ARG_NAMES,
	ARG_MAX_DELETE_FRACTION,
	ARG_MAX_REJECTED_FRACTION,
	ARG_EXACT,
	ARG_CURRENT_INDEX,
	ARG_TEMPORAL_KEY
};

const char *const pipeline_meta_names[META_COLUMNS + 1] = {
	"surrogate_key", "valid_from", "valid_to", "is_current",
	"close_reason", "merge_id", "is_deleted", "scd_id", "updated_at", NULL
};

/* Read a choice. */
static char *
choice(FunctionCallInfo fcinfo, int argument, const char *name,
	   const char *const *known)
{
	char	   *value;

	pipeline_not_null(fcinfo, argument, name);
	value = pipeline_arg_text(fcinfo, argument);
	pipeline_check_choice(name, value, known);
	return value;
}

/* Read a list; '{}' is none, NULL is an error. */
static List *
list(FunctionCallInfo fcinfo, int argument, const char *name)
{
	pipeline_not_null(fcinfo, argument, name);
	return pipeline_array_list(pipeline_arg_array(fcinfo, argument), name);
}

static bool
boolean(FunctionCallInfo fcinfo, int argument, const char *name)
{
	pipeline_not_null(fcinfo, argument, name);
	return PG_GETARG_BOOL(argument);
}

/* Raise 22023 unless 0 <= value <= 1; NaN is neither. */
void
pipeline_scd_fraction(const char *argument, double value)
{
	if (!(value >= 0 && value <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"%s\": %g", argument, value),
				 errhint("It is a fraction, from 0 to 1.")));
}

static double
fraction(FunctionCallInfo fcinfo, int argument, const char *name)
{
	pipeline_not_null(fcinfo, argument, name);
	pipeline_scd_fraction(name, PG_GETARG_FLOAT8(argument));
	return PG_GETARG_FLOAT8(argument);
}

/* Read one name; a JSON null says that there is no such column. */
static char *
one_name(const Jsonb *names, MetaColumn meta)
{
	const char *key = pipeline_meta_names[meta];
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &names->root,
												 key, strlen(key), &buf);
	char	   *name;

	if (v == NULL)
		return meta >= META_IS_DELETED ? NULL : pstrdup(key);
	if (v->type == jbvNull && meta != META_VALID_FROM && meta != META_VALID_TO)
		return NULL;
	if (v->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of argument \"names\" must be a string", key),
				 errhint("It is the name of a column; valid_from and valid_to cannot be left out.")));
	name = pnstrdup(v->val.string.val, v->val.string.len);
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("key \"%s\" of argument \"names\" is not a column name: \"%s\"", key, name),
				 errhint("A column name has 1 to %d bytes.", NAMEDATALEN - 1)));
	return name;
}

/* Read the names of the columns that we write. */
void
pipeline_scd_names(Dimension *dimension, const Jsonb *names)
{
	pipeline_check_keys(names, "names", pipeline_meta_names);
	for (int i = 0; i < META_COLUMNS; i++)
	{
		char	   *name = one_name(names, i);

		for (int j = 0; name != NULL && j < i; j++)
		{
			if (dimension->names[j] != NULL && strcmp(dimension->names[j], name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("argument \"names\" gives two columns the name \"%s\"", name),
						 errdetail("They are %s and %s.", pipeline_meta_names[j],
								   pipeline_meta_names[i])));
		}
		dimension->names[i] = name;
	}
}

/* The names as a JSON object, to be stored: null where there is no column. */
Jsonb *
pipeline_scd_names_jsonb(const Dimension *dimension)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < META_COLUMNS; i++)
	{
		JsonbValue	v = {.type = jbvString};

		v.val.string.val = unconstify(char *, pipeline_meta_names[i]);
		v.val.string.len = strlen(pipeline_meta_names[i]);
		pushJsonbValue(&state, WJB_KEY, &v);
		v.type = dimension->names[i] ? jbvString : jbvNull;
		if (dimension->names[i])
		{
			v.val.string.val = dimension->names[i];
			v.val.string.len = strlen(dimension->names[i]);
		}
		pushJsonbValue(&state, WJB_VALUE, &v);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Read open_end: infinity, NULL (as a value or a word) or a timestamp. */
static void
open_end(Dimension *dimension, const char *text)
{
	dimension->open_end_null = text == NULL || pg_strcasecmp(text, "null") == 0;
	if (dimension->open_end_null)
		return;
	dimension->open_end =
		DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
												CStringGetDatum(text),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1)));
	if (TIMESTAMP_IS_NOBEGIN(dimension->open_end))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"open_end\": \"%s\"", text),
				 errhint("It is infinity, NULL or a timestamp after every change.")));
}

/* Raise 22023 if a column stands in two of the lists. */
static void
check_disjoint(const List *a, const char *aname, const List *b, const char *bname)
{
	ListCell   *lc;

	foreach(lc, a)
	{
		if (pipeline_list_has(b, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is in both \"%s\" and \"%s\"",
							(char *) lfirst(lc), aname, bname),
					 errhint("A column has one type.")));
	}
}

/* Read the columns: the key and the types. */
static void
read_columns(FunctionCallInfo fcinfo, Dimension *dimension)
{
	static const char *const names[] = {
		"business_key", "type1", "type2", "type0", "type3", "type6"
	};
	List	   *lists[lengthof(names)];

	dimension->business_key = list(fcinfo, ARG_BUSINESS_KEY, "business_key");
	dimension->type1 = list(fcinfo, ARG_TYPE1, "type1");
	dimension->type0 = list(fcinfo, ARG_TYPE0, "type0");
	dimension->type3 = list(fcinfo, ARG_TYPE3, "type3");
	dimension->type6 = list(fcinfo, ARG_TYPE6, "type6");
	dimension->type2_rest = PG_ARGISNULL(ARG_TYPE2);
	dimension->type2 = pipeline_array_list(pipeline_arg_array(fcinfo, ARG_TYPE2), "type2");
	if (dimension->business_key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"business_key\" must not be empty"),
				 errhint("Name the columns that identify a member in the source.")));
	lists[0] = dimension->business_key;
	lists[1] = dimension->type1;
	lists[2] = dimension->type2;
	lists[3] = dimension->type0;
	lists[4] = dimension->type3;
	lists[5] = dimension->type6;
	for (int i = 1; i < lengthof(names); i++)
	{
		for (int j = 0; j < i; j++)
			check_disjoint(lists[i], names[i], lists[j], names[j]);
	}
}

/*
 * Read `operation`: the name of a column, or a JSON object with that name and
 * the values that mean delete and upsert.
 */
void
pipeline_scd_operation(Dimension *dimension, char *text)
{
	static const char *const known[] = {"column", "delete", "upsert", NULL};
	Jsonb	   *object;

	dimension->operation = text;
	dimension->operation_column = text;
	if (text == NULL || text[strspn(text, " \t\n\r")] != '{')
		return;
	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	pipeline_check_keys(object, "operation", known);
	dimension->operation_column = pipeline_jsonb_key(object, "column");
	dimension->operation_deletes = pipeline_jsonb_strings(object, "operation", "delete");
	dimension->operation_upserts = pipeline_jsonb_strings(object, "operation", "upsert");
	if (dimension->operation_column == NULL || dimension->operation_deletes == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"operation\" lacks a key"),
				 errdetail("It is %s.", text),
				 errhint("For example: {\"column\": \"op\", \"delete\": [\"D\"], \"upsert\": [\"I\", \"U\"]}.")));
}

static void
refuse_combination(const char *what, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", what), errdetail("%s", detail), errhint("%s", hint)));
}

/* What goes with which feed. */
static void
check_feed(const Dimension *d)
{
	if (DIMENSION_IS_CDC(d) && d->effective_at == NULL)
		refuse_combination("feed => 'cdc' needs argument \"effective_at\"",
						   "Events are ordered by the time at which they happened.",
						   "Name the source column that holds it.");
	if (d->operation != NULL && !DIMENSION_IS_CDC(d))
		refuse_combination("argument \"operation\" needs feed => 'cdc'",
						   psprintf("The feed is %s.", d->feed),
						   "Leave it out, or use feed => 'cdc'.");
	if (DIMENSION_IS_CDC(d) && d->has_initial)
		refuse_combination("argument \"initial_valid_from\" does not go with feed => 'cdc'",
						   "The first event of a key says since when.",
						   "Leave it out.");
	if (DIMENSION_INVALIDATES(d) && strcmp(d->feed, "delta") == 0)
		refuse_combination(psprintf("argument \"hard_deletes\" => '%s' needs a snapshot", d->hard_deletes),
						   "In a delta, a key that is absent means nothing.",
						   "Use feed => 'snapshot', or hard_deletes => 'ignore'.");
	if (DIMENSION_IS_SCOPED(d) != (d->scope != NIL))
		refuse_combination("feed => 'scoped_snapshot' and argument \"scope\" go together",
						   psprintf("The feed is %s, scope is {%s}.", d->feed,
									pipeline_list_join(d->scope, ",")),
						   "scope names the columns whose values a batch is complete for.");
}

/* Read the shared arguments, all but the first. */
Dimension *
pipeline_scd_options(FunctionCallInfo fcinfo)
{
	static const char *const feeds[] = {"snapshot", "scoped_snapshot", "delta", "cdc", NULL};
	static const char *const deletes[] = {"ignore", "invalidate", "new_record", NULL};
	static const char *const ties[] = {"error", "keep", NULL};
	static const char *const on_new[] = {"fail", "add", "ignore", NULL};
	Dimension  *dimension = palloc0(sizeof(Dimension));

	pipeline_not_null(fcinfo, ARG_SOURCE, "source");
	dimension->source = pipeline_arg_text(fcinfo, ARG_SOURCE);
	read_columns(fcinfo, dimension);
	dimension->feed = choice(fcinfo, ARG_FEED, "feed", feeds);
	dimension->hard_deletes = choice(fcinfo, ARG_HARD_DELETES, "hard_deletes", deletes);
	dimension->on_tie = choice(fcinfo, ARG_ON_TIE, "on_tie", ties);
	dimension->on_new_column = choice(fcinfo, ARG_ON_NEW_COLUMN, "on_new_column", on_new);
	dimension->effective_at = pipeline_arg_text(fcinfo, ARG_EFFECTIVE_AT);
	pipeline_scd_operation(dimension, pipeline_arg_text(fcinfo, ARG_OPERATION));
	dimension->sequence_by = pipeline_arg_text(fcinfo, ARG_SEQUENCE_BY);
	dimension->scope = list(fcinfo, ARG_SCOPE, "scope");
	dimension->current_index = boolean(fcinfo, ARG_CURRENT_INDEX, "current_index");
	dimension->temporal_key = boolean(fcinfo, ARG_TEMPORAL_KEY, "temporal_key");
	dimension->unknown_member = boolean(fcinfo, ARG_UNKNOWN_MEMBER, "unknown_member");
	dimension->has_initial = !PG_ARGISNULL(ARG_INITIAL_VALID_FROM);
	if (dimension->has_initial)
		dimension->initial_valid_from = PG_GETARG_TIMESTAMPTZ(ARG_INITIAL_VALID_FROM);
	open_end(dimension, pipeline_arg_text(fcinfo, ARG_OPEN_END));
	pipeline_not_null(fcinfo, ARG_NAMES, "names");
	pipeline_scd_names(dimension, pipeline_arg_jsonb(fcinfo, ARG_NAMES));
	if (DIMENSION_NEW_RECORD(dimension) && dimension->names[META_IS_DELETED] == NULL)
		dimension->names[META_IS_DELETED] = pstrdup(pipeline_meta_names[META_IS_DELETED]);
	if (dimension->names[META_SURROGATE_KEY] == NULL && dimension->unknown_member)
		refuse_combination("argument \"unknown_member\" needs a surrogate key",
						   "Argument \"names\" says that there is no such column.",
						   "Use unknown_member => false.");
	check_feed(dimension);
	dimension->max_delete_fraction = fraction(fcinfo, ARG_MAX_DELETE_FRACTION,
											  "max_delete_fraction");
	dimension->max_rejected_fraction = fraction(fcinfo, ARG_MAX_REJECTED_FRACTION,
												"max_rejected_fraction");
	dimension->exact = boolean(fcinfo, ARG_EXACT, "exact");
	return dimension;
}
