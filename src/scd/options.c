/*
 * options.c
 *	  The arguments that create_dimension() and merge_scd2() share, into a
 *	  Dimension.
 *
 * Both functions take them at the same places, so they are read once, here.
 * A value that this version cannot do is refused by name; none is ignored.
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
	"close_reason", "merge_id", NULL
};

static void
refuse(const char *argument, const char *value, const char *available)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("argument \"%s\" => %s is not available in this version",
					argument, value),
			 errhint("Available: %s.", available)));
}

/* Refuse a list argument that must be empty. */
static void
refuse_list(FunctionCallInfo fcinfo, int argument, const char *name)
{
	List	   *list = pipeline_array_list(pipeline_arg_array(fcinfo, argument), name);

	if (list != NIL)
		refuse(name, psprintf("{%s}", pipeline_list_join(list, ",")), "'{}'");
}

/* Refuse a text argument that must be NULL. */
static void
refuse_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	char	   *value = pipeline_arg_text(fcinfo, argument);

	if (value != NULL)
		refuse(name, quote_literal_cstr(value), "NULL");
}

static void
refuse_true(FunctionCallInfo fcinfo, int argument, const char *name)
{
	pipeline_not_null(fcinfo, argument, name);
	if (PG_GETARG_BOOL(argument))
		refuse(name, "true", "false");
}

/*
 * Read a choice: a word that no version knows is an invalid value, one that
 * this version does not do yet is refused.
 */
static char *
choice(FunctionCallInfo fcinfo, int argument, const char *name,
	   const char *const *known, const char *const *available)
{
	char	   *value;
	List	   *list = NIL;

	pipeline_not_null(fcinfo, argument, name);
	value = pipeline_arg_text(fcinfo, argument);
	pipeline_check_choice(name, value, known);
	for (const char *const *a = available; *a; a++)
		list = lappend(list, quote_literal_cstr(*a));
	for (const char *const *a = available; *a; a++)
	{
		if (strcmp(*a, value) == 0)
			return value;
	}
	refuse(name, quote_literal_cstr(value), pipeline_list_join(list, ", "));
	return NULL;
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

/* Read the names of the columns that we write. */
void
pipeline_scd_names(Dimension *dimension, const Jsonb *names)
{
	static const char *const known[] = {
		"surrogate_key", "valid_from", "valid_to", "is_current",
		"close_reason", "merge_id", "is_deleted", NULL
	};

	pipeline_check_keys(names, "names", known);
	if (pipeline_jsonb_key(names, "is_deleted") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("key \"is_deleted\" of argument \"names\" is not available in this version"),
				 errhint("Available: %s.", "surrogate_key, valid_from, valid_to, is_current, close_reason, merge_id")));
	for (int i = 0; i < META_COLUMNS; i++)
	{
		const char *key = pipeline_meta_names[i];
		JsonbValue	buf;
		JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &names->root,
													 key, strlen(key), &buf);
		char	   *name;

		if (v != NULL && v->type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" of argument \"names\" must be a string", key),
					 errhint("It is the name of a column.")));
		name = v ? pnstrdup(v->val.string.val, v->val.string.len) : pstrdup(key);
		if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("key \"%s\" of argument \"names\" is not a column name: \"%s\"", key, name),
					 errhint("A column name has 1 to %d bytes.", NAMEDATALEN - 1)));
		for (int j = 0; j < i; j++)
		{
			if (strcmp(dimension->names[j], name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("argument \"names\" gives two columns the name \"%s\"", name),
						 errdetail("They are %s and %s.", pipeline_meta_names[j], key)));
		}
		dimension->names[i] = name;
	}
}

/* The names as a JSON object, to be stored. */
Jsonb *
pipeline_scd_names_jsonb(const Dimension *dimension)
{
	return pipeline_jsonb_object(META_COLUMNS, pipeline_meta_names,
								 (const char *const *) dimension->names);
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

/* Read the columns: the key, type 1 and type 2. */
static void
read_columns(FunctionCallInfo fcinfo, Dimension *dimension)
{
	pipeline_not_null(fcinfo, ARG_BUSINESS_KEY, "business_key");
	pipeline_not_null(fcinfo, ARG_TYPE1, "type1");
	dimension->business_key =
		pipeline_array_list(pipeline_arg_array(fcinfo, ARG_BUSINESS_KEY), "business_key");
	dimension->type1 = pipeline_array_list(pipeline_arg_array(fcinfo, ARG_TYPE1), "type1");
	dimension->type2_rest = PG_ARGISNULL(ARG_TYPE2);
	dimension->type2 = pipeline_array_list(pipeline_arg_array(fcinfo, ARG_TYPE2), "type2");
	if (dimension->business_key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"business_key\" must not be empty"),
				 errhint("Name the columns that identify a member in the source.")));
	check_disjoint(dimension->type1, "type1", dimension->business_key, "business_key");
	check_disjoint(dimension->type2, "type2", dimension->business_key, "business_key");
	check_disjoint(dimension->type2, "type2", dimension->type1, "type1");
	refuse_list(fcinfo, ARG_TYPE0, "type0");
	refuse_list(fcinfo, ARG_TYPE3, "type3");
	refuse_list(fcinfo, ARG_TYPE6, "type6");
}

/* Read the shared arguments, all but the first. */
Dimension *
pipeline_scd_options(FunctionCallInfo fcinfo)
{
	static const char *const feeds[] = {"snapshot", "scoped_snapshot", "delta", "cdc", NULL};
	static const char *const feeds_now[] = {"snapshot", "delta", NULL};
	static const char *const deletes[] = {"ignore", "invalidate", "new_record", NULL};
	static const char *const deletes_now[] = {"ignore", "invalidate", NULL};
	static const char *const ties[] = {"error", "keep", NULL};
	static const char *const ties_now[] = {"error", NULL};
	static const char *const fail_only[] = {"fail", NULL};
	static const char *const on_new[] = {"fail", "add", "ignore", NULL};
	Dimension  *dimension = palloc0(sizeof(Dimension));

	pipeline_not_null(fcinfo, ARG_SOURCE, "source");
	dimension->source = pipeline_arg_text(fcinfo, ARG_SOURCE);
	read_columns(fcinfo, dimension);
	dimension->feed = choice(fcinfo, ARG_FEED, "feed", feeds, feeds_now);
	dimension->hard_deletes = choice(fcinfo, ARG_HARD_DELETES, "hard_deletes",
									 deletes, deletes_now);
	(void) choice(fcinfo, ARG_ON_TIE, "on_tie", ties, ties_now);
	dimension->on_new_column = choice(fcinfo, ARG_ON_NEW_COLUMN, "on_new_column",
									  on_new, fail_only);
	if (DIMENSION_INVALIDATES(dimension) && !DIMENSION_IS_SNAPSHOT(dimension))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"hard_deletes\" => 'invalidate' needs a snapshot"),
				 errdetail("In a %s, a key that is absent means nothing.", dimension->feed),
				 errhint("Use feed => 'snapshot', or hard_deletes => 'ignore'.")));
	refuse_text(fcinfo, ARG_EFFECTIVE_AT, "effective_at");
	refuse_text(fcinfo, ARG_OPERATION, "operation");
	refuse_text(fcinfo, ARG_SEQUENCE_BY, "sequence_by");
	refuse_list(fcinfo, ARG_SCOPE, "scope");
	refuse_true(fcinfo, ARG_CURRENT_INDEX, "current_index");
	refuse_true(fcinfo, ARG_TEMPORAL_KEY, "temporal_key");
	pipeline_not_null(fcinfo, ARG_UNKNOWN_MEMBER, "unknown_member");
	dimension->unknown_member = PG_GETARG_BOOL(ARG_UNKNOWN_MEMBER);
	dimension->has_initial = !PG_ARGISNULL(ARG_INITIAL_VALID_FROM);
	if (dimension->has_initial)
		dimension->initial_valid_from = PG_GETARG_TIMESTAMPTZ(ARG_INITIAL_VALID_FROM);
	open_end(dimension, pipeline_arg_text(fcinfo, ARG_OPEN_END));
	pipeline_not_null(fcinfo, ARG_NAMES, "names");
	pipeline_scd_names(dimension, pipeline_arg_jsonb(fcinfo, ARG_NAMES));
	dimension->max_delete_fraction = fraction(fcinfo, ARG_MAX_DELETE_FRACTION,
											  "max_delete_fraction");
	dimension->max_rejected_fraction = fraction(fcinfo, ARG_MAX_REJECTED_FRACTION,
												"max_rejected_fraction");
	/* This engine compares values whatever `exact` says. */
	pipeline_not_null(fcinfo, ARG_EXACT, "exact");
	dimension->exact = PG_GETARG_BOOL(ARG_EXACT);
	return dimension;
}
