/*
 * expectation_types.c
 *	  The types of expectations and their kwargs: names, defaults and NULL
 *	  rules are those of Great Expectations.
 *
 * kwargs are checked when an expectation is defined, as far as that can be
 * done without the table: keys, types of values, patterns.  Whether a column
 * exists and a value fits its type is known only at validation.  A kwarg that
 * is null counts as absent.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "expect/check.h"

#define COLUMN {"column", KWARG_COLUMN, true}
#define MOSTLY {"mostly", KWARG_FRACTION, false}
#define DATETIMES {"parse_strings_as_datetimes", KWARG_BOOLEAN, false}
#define STRICT {"strict_min", KWARG_BOOLEAN, false}, {"strict_max", KWARG_BOOLEAN, false}
#define INTEGERS {"min_value", KWARG_INTEGER, false}, {"max_value", KWARG_INTEGER, false}, STRICT

static const ExpectationType types[] = {
	{"expect_column_values_to_not_be_null", CHECK_NULL, true, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_null", CHECK_NULL, false, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_unique", CHECK_UNIQUE, false, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_between", CHECK_RANGE, false, true, true,
		{COLUMN, MOSTLY, {"min_value", KWARG_BOUND, false}, {"max_value", KWARG_BOUND, false},
	STRICT, DATETIMES, {"allow_cross_type_comparisons", KWARG_BOOLEAN, false}}},
	{"expect_column_values_to_be_in_set", CHECK_SET, false, true, false,
	{COLUMN, MOSTLY, {"value_set", KWARG_VALUES, false}, DATETIMES}},
	{"expect_column_values_to_not_be_in_set", CHECK_SET, true, true, false,
	{COLUMN, MOSTLY, {"value_set", KWARG_VALUES, true}, DATETIMES}},
	{"expect_column_values_to_match_regex", CHECK_REGEX, false, true, false,
	{COLUMN, MOSTLY, {"regex", KWARG_REGEX, true}}},
	{"expect_column_values_to_not_match_regex", CHECK_REGEX, true, true, false,
	{COLUMN, MOSTLY, {"regex", KWARG_REGEX, true}}},
	{"expect_column_value_lengths_to_be_between", CHECK_LENGTH, false, true, true,
	{COLUMN, MOSTLY, INTEGERS}},
	{"expect_table_row_count_to_be_between", CHECK_COUNT, false, false, false,
	{INTEGERS}},
	{"expect_table_row_count_to_equal", CHECK_COUNT, false, false, false,
	{{"value", KWARG_INTEGER, true}}},
	{"expect_column_to_exist", CHECK_EXISTS, false, false, false,
	{COLUMN, {"column_index", KWARG_INTEGER, false}}},
	{"expect_column_values_to_be_of_type", CHECK_TYPE, false, false, false,
	{COLUMN, {"type_", KWARG_TEXT, true}}},
};

/* Find a type by name; 22023 with the names there are if there is none. */
const ExpectationType *
pipeline_expectation_type(const char *name)
{
	StringInfoData all;

	initStringInfo(&all);
	for (int i = 0; i < lengthof(types); i++)
	{
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
		appendStringInfo(&all, "%s%s", i ? ", " : "", types[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown type of expectation \"%s\"", name),
			 errhint("Available types: %s.", all.data)));
	return NULL;
}

/* A kwarg's value, or NULL when it is absent or null. */
JsonbValue *
pipeline_kwarg(const Jsonb *kwargs, const char *name, JsonbValue *buf)
{
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &kwargs->root,
												 name, strlen(name), buf);

	return v == NULL || v->type == jbvNull ? NULL : v;
}

/* A kwarg as text, or NULL. */
char *
pipeline_kwarg_text(const Jsonb *kwargs, const char *name)
{
	return pipeline_jsonb_key(kwargs, name);
}

/* A boolean kwarg; absent is false. */
bool
pipeline_kwarg_bool(const Jsonb *kwargs, const char *name)
{
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, name, &buf);

	return v != NULL && v->type == jbvBool && v->val.boolean;
}

/* The fraction of the non-missing values that must be as expected. */
double
pipeline_kwarg_mostly(const Jsonb *kwargs)
{
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, "mostly", &buf);

	if (v == NULL || v->type != jbvNumeric)
		return 1.0;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8,
											  NumericGetDatum(v->val.numeric)));
}

/* An integer kwarg; false when it is absent. */
bool
pipeline_kwarg_int(const Jsonb *kwargs, const char *name, int64 *value)
{
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, name, &buf);

	if (v == NULL || v->type != jbvNumeric)
		return false;
	*value = DatumGetInt64(DirectFunctionCall1(numeric_int8,
											   NumericGetDatum(v->val.numeric)));
	return true;
}

static void
bad_kwarg(const Jsonb *kwargs, const char *name, const char *must)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" in argument \"kwargs\" must be %s", name, must),
			 errdetail("It is %s.", pipeline_jsonb_key(kwargs, name))));
}

static bool
is_integer(const JsonbValue *v)
{
	double		d;

	if (v->type != jbvNumeric)
		return false;
	d = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
										   NumericGetDatum(v->val.numeric)));
	return d == floor(d) && fabs(d) < 9e18;
}

static bool
is_fraction(const JsonbValue *v)
{
	double		d;

	if (v->type != jbvNumeric)
		return false;
	d = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
										   NumericGetDatum(v->val.numeric)));
	return d >= 0 && d <= 1;
}

/* An array of scalars, nulls among them? */
static bool
is_value_set(const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbValue	e;
	JsonbIteratorToken token;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data) ||
		JsonContainerIsScalar(v->val.binary.data))
		return false;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && e.type == jbvBinary)
			return false;
	}
	return true;
}

/* Check the value of one kwarg that is there. */
static void
check_value(const Kwarg *kwarg, const Jsonb *kwargs, const JsonbValue *v)
{
	switch (kwarg->kind)
	{
		case KWARG_COLUMN:
		case KWARG_TEXT:
			if (v->type != jbvString || v->val.string.len == 0)
				bad_kwarg(kwargs, kwarg->name, "a string that is not empty");
			break;
		case KWARG_INTEGER:
			if (!is_integer(v))
				bad_kwarg(kwargs, kwarg->name, "an integer");
			break;
		case KWARG_BOOLEAN:
			if (v->type != jbvBool)
				bad_kwarg(kwargs, kwarg->name, "true or false");
			break;
		case KWARG_FRACTION:
			if (!is_fraction(v))
				bad_kwarg(kwargs, kwarg->name, "a number from 0 to 1");
			break;
		case KWARG_BOUND:
			if (v->type != jbvNumeric && v->type != jbvString)
				bad_kwarg(kwargs, kwarg->name, "a number or a string");
			break;
		case KWARG_VALUES:
			if (!is_value_set(v))
				bad_kwarg(kwargs, kwarg->name, "an array of numbers, strings or booleans");
			break;
		case KWARG_REGEX:
			if (v->type != jbvString)
				bad_kwarg(kwargs, kwarg->name, "a string");
			pipeline_regex_compile(pnstrdup(v->val.string.val, v->val.string.len),
								   DEFAULT_COLLATION_OID);
			break;
	}
}

/* Two numeric bounds the wrong way round leave nothing to expect. */
static void
check_bounds(const ExpectationType *type, const Jsonb *kwargs)
{
	JsonbValue	min_buf;
	JsonbValue	max_buf;
	JsonbValue *min = pipeline_kwarg(kwargs, "min_value", &min_buf);
	JsonbValue *max = pipeline_kwarg(kwargs, "max_value", &max_buf);

	if (min == NULL && max == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"kwargs\" of %s has neither \"min_value\" nor \"max_value\"",
						type->name),
				 errhint("Give at least one of them.")));
	if (type->kind == CHECK_RANGE && min != NULL && max != NULL &&
		min->type == jbvNumeric && max->type == jbvNumeric &&
		DatumGetInt32(DirectFunctionCall2(numeric_cmp,
										  NumericGetDatum(min->val.numeric),
										  NumericGetDatum(max->val.numeric))) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"min_value\" is greater than \"max_value\" in argument \"kwargs\""),
				 errdetail("They are %s and %s.", pipeline_jsonb_key(kwargs, "min_value"),
						   pipeline_jsonb_key(kwargs, "max_value"))));
}

/*
 * Check the kwargs of an expectation as far as that can be done without the
 * table.  Raises 22023 naming the key, 2201B for a bad pattern.
 */
void
pipeline_check_kwargs(const ExpectationType *type, const Jsonb *kwargs)
{
	const char *allowed[MAX_KWARGS + 1] = {0};

	for (int i = 0; i < MAX_KWARGS && type->kwargs[i].name; i++)
		allowed[i] = type->kwargs[i].name;
	pipeline_check_keys(kwargs, "kwargs", allowed);
	for (int i = 0; i < MAX_KWARGS && type->kwargs[i].name; i++)
	{
		const Kwarg *kwarg = &type->kwargs[i];
		JsonbValue	buf;
		JsonbValue *v = pipeline_kwarg(kwargs, kwarg->name, &buf);

		if (v != NULL)
			check_value(kwarg, kwargs, v);
		else if (kwarg->required)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"kwargs\" of %s lacks the key \"%s\"",
							type->name, kwarg->name),
					 errdetail("It is %s.", JsonbToCString(NULL, (JsonbContainer *) &kwargs->root,
														   VARSIZE(kwargs)))));
	}
	if (type->needs_bound)
		check_bounds(type, kwargs);
}
