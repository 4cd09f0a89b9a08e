/*
 * expectation_kwargs.c
 *	  Reading kwargs, and checking them when an expectation is defined.
 *
 * They are checked as far as that can be done without the table: keys, types
 * of values, patterns.  Whether a column exists and a value fits its type is
 * known only at validation.  A kwarg that is null counts as absent.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/varlena.h"

#include "expect/check.h"

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

/* A number as a double. */
double
pipeline_json_number(const JsonbValue *v)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(v->val.numeric)));
}

/* A kwarg that is a number, or the default. */
double
pipeline_kwarg_number(const Jsonb *kwargs, const char *name, double otherwise)
{
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, name, &buf);

	return v != NULL && v->type == jbvNumeric ? pipeline_json_number(v) : otherwise;
}

/* The strings of a kwarg that is an array, or NIL. */
List *
pipeline_kwarg_list(const Jsonb *kwargs, const char *name)
{
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, name, &buf);
	List	   *list = NIL;

	if (v == NULL || v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		return NIL;
	for (int i = 0; i < JsonContainerSize(v->val.binary.data); i++)
	{
		JsonbValue *e = getIthJsonbValueFromContainer(v->val.binary.data, i);

		if (e->type == jbvString)
			list = lappend(list, pnstrdup(e->val.string.val, e->val.string.len));
	}
	return list;
}

/* A kwarg that is an object or an array, as jsonb of its own, or NULL. */
Jsonb *
pipeline_kwarg_json(const Jsonb *kwargs, const char *name)
{
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, name, &buf);

	return v == NULL ? NULL : JsonbValueToJsonb(v);
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

static JsonbContainer *
as_array(const JsonbValue *v)
{
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data) ||
		JsonContainerIsScalar(v->val.binary.data))
		return NULL;
	return v->val.binary.data;
}

/* An array of scalars, nulls among them? */
static bool
is_value_set(const JsonbValue *v)
{
	JsonbContainer *array = as_array(v);

	for (int i = 0; array && i < JsonContainerSize(array); i++)
		if (getIthJsonbValueFromContainer(array, i)->type == jbvBinary)
			return false;
	return array != NULL;
}

/* An array of strings that are not empty? */
static bool
is_string_list(const JsonbValue *v)
{
	JsonbContainer *array = as_array(v);

	for (int i = 0; array && i < JsonContainerSize(array); i++)
		if (getIthJsonbValueFromContainer(array, i)->type != jbvString)
			return false;
	return array != NULL;
}

/* An array of arrays of two scalars? */
static bool
is_pair_list(const JsonbValue *v)
{
	JsonbContainer *array = as_array(v);

	for (int i = 0; array && i < JsonContainerSize(array); i++)
	{
		JsonbValue *pair = getIthJsonbValueFromContainer(array, i);

		if (!is_value_set(pair) || JsonContainerSize(pair->val.binary.data) != 2)
			return false;
	}
	return array != NULL;
}

static bool
is_choice(const char *choices, const JsonbValue *v)
{
	char	   *word;
	char	   *copy = pstrdup(choices);

	if (v->type != jbvString)
		return false;
	for (word = strtok(copy, "|"); word; word = strtok(NULL, "|"))
		if (strlen(word) == v->val.string.len &&
			memcmp(word, v->val.string.val, v->val.string.len) == 0)
			return true;
	return false;
}

static void
check_choice(const Jsonb *kwargs, const Kwarg *kwarg, const JsonbValue *v, const char *choices)
{
	if (!is_choice(choices, v))
		bad_kwarg(kwargs, kwarg->name, psprintf("one of %s", choices));
}

/* The patterns of a kwarg must compile. */
static void
check_regexes(const Jsonb *kwargs, const Kwarg *kwarg, const JsonbValue *v)
{
	List	   *patterns = NIL;
	ListCell   *lc;

	if (kwarg->kind == KWARG_REGEX && v->type != jbvString)
		bad_kwarg(kwargs, kwarg->name, "a string");
	if (kwarg->kind == KWARG_REGEXES && (!is_string_list(v) || JsonContainerSize(v->val.binary.data) == 0))
		bad_kwarg(kwargs, kwarg->name, "an array of patterns that is not empty");
	patterns = kwarg->kind == KWARG_REGEX ?
		list_make1(pnstrdup(v->val.string.val, v->val.string.len)) :
		pipeline_kwarg_list(kwargs, kwarg->name);
	foreach(lc, patterns)
		pipeline_regex_compile(lfirst(lc), DEFAULT_COLLATION_OID);
}

static void
check_interval(const Jsonb *kwargs, const Kwarg *kwarg, const JsonbValue *v)
{
	if (v->type != jbvString)
		bad_kwarg(kwargs, kwarg->name, "the text of an interval");
	(void) DirectFunctionCall3(interval_in, CStringGetDatum(pnstrdup(v->val.string.val, v->val.string.len)),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* Quantiles from 0 to 1, and as many pairs of bounds in order. */
static void
check_quantiles(const Jsonb *kwargs, const Kwarg *kwarg, const JsonbValue *v)
{
	Jsonb	   *object;
	JsonbValue	qbuf;
	JsonbValue	rbuf;
	JsonbValue *q;
	JsonbValue *r;

	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		bad_kwarg(kwargs, kwarg->name, "an object with the keys \"quantiles\" and \"value_ranges\"");
	object = pipeline_kwarg_json(kwargs, kwarg->name);
	q = pipeline_kwarg(object, "quantiles", &qbuf);
	r = pipeline_kwarg(object, "value_ranges", &rbuf);
	if (q == NULL || r == NULL || !as_array(q) || !is_pair_list(r) ||
		JsonContainerSize(q->val.binary.data) != JsonContainerSize(r->val.binary.data))
		bad_kwarg(kwargs, kwarg->name, "an object of \"quantiles\" and as many pairs in \"value_ranges\"");
	for (int i = 0; i < JsonContainerSize(q->val.binary.data); i++)
	{
		JsonbContainer *pair = getIthJsonbValueFromContainer(r->val.binary.data, i)->val.binary.data;
		JsonbValue *low = getIthJsonbValueFromContainer(pair, 0);
		JsonbValue *high = getIthJsonbValueFromContainer(pair, 1);

		if (!is_fraction(getIthJsonbValueFromContainer(q->val.binary.data, i)))
			bad_kwarg(kwargs, kwarg->name, "an object whose \"quantiles\" are numbers from 0 to 1");
		if (low->type == jbvNumeric && high->type == jbvNumeric &&
			pipeline_json_number(low) > pipeline_json_number(high))
			bad_kwarg(kwargs, kwarg->name, "an object whose \"value_ranges\" are ordered pairs");
	}
}

/* Check the value of one kwarg that is there. */
static void
check_value(const ExpectationType *type, const Kwarg *kwarg, const Jsonb *kwargs, const JsonbValue *v)
{
	switch (kwarg->kind)
	{
		case KWARG_COLUMN:
		case KWARG_TEXT:
		case KWARG_SOURCE:
			if (v->type != jbvString || v->val.string.len == 0)
				bad_kwarg(kwargs, kwarg->name, "a string that is not empty");
			break;
		case KWARG_COLUMNS:
			if (!is_string_list(v) || JsonContainerSize(v->val.binary.data) == 0)
				bad_kwarg(kwargs, kwarg->name, "an array of names of columns that is not empty");
			break;
		case KWARG_TEXTS:
			if (!is_string_list(v))
				bad_kwarg(kwargs, kwarg->name, "an array of strings");
			break;
		case KWARG_INTEGER:
			if (!is_integer(v))
				bad_kwarg(kwargs, kwarg->name, "an integer");
			break;
		case KWARG_NUMBER:
			if (v->type != jbvNumeric)
				bad_kwarg(kwargs, kwarg->name, "a number");
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
		case KWARG_PAIRS:
			if (!is_pair_list(v))
				bad_kwarg(kwargs, kwarg->name, "an array of pairs of values");
			break;
		case KWARG_REGEX:
		case KWARG_REGEXES:
			check_regexes(kwargs, kwarg, v);
			break;
		case KWARG_MATCH_ON:
			check_choice(kwargs, kwarg, v, "any|all");
			break;
		case KWARG_IGNORE:
			check_choice(kwargs, kwarg, v, type->kwargs[0].kind == KWARG_COLUMN ?
						 "both_values_are_missing|either_value_is_missing|neither|never" :
						 "all_values_are_missing|any_value_is_missing|never");
			break;
		case KWARG_CHOICE:
			check_choice(kwargs, kwarg, v, type->choices);
			break;
		case KWARG_SEASON:
			check_choice(kwargs, kwarg, v, "weekday|hour");
			break;
		case KWARG_INTERVAL:
			check_interval(kwargs, kwarg, v);
			break;
		case KWARG_QUANTILES:
			check_quantiles(kwargs, kwarg, v);
			break;
		case KWARG_PARTITION:
			pipeline_partition_check(kwargs);
			break;
		case KWARG_SCHEMA:
			pipeline_json_schema_check(pipeline_kwarg_json(kwargs, kwarg->name));
			break;
		case KWARG_STRFTIME:
			if (v->type != jbvString)
				bad_kwarg(kwargs, kwarg->name, "a string");
			pipeline_strftime_check(pnstrdup(v->val.string.val, v->val.string.len));
			break;
		case KWARG_RELATIVE:
			if (v->type != jbvBool && v->type != jbvString && v->type != jbvNumeric)
				bad_kwarg(kwargs, kwarg->name, "true, false, a number or the name of a method");
			if (v->type == jbvNumeric && !(pipeline_json_number(v) >= 0 && pipeline_json_number(v) <= 1))
				bad_kwarg(kwargs, kwarg->name, "a number between 0 and 1");
			break;
	}
}

/* The kwargs that every type takes. */
static void
check_common(const Jsonb *kwargs)
{
	JsonbValue	buf;
	JsonbValue *v;
	Kwarg		parser = {"condition_parser", KWARG_CHOICE, false};

	if ((v = pipeline_kwarg(kwargs, "row_condition", &buf)) != NULL && v->type != jbvString)
		bad_kwarg(kwargs, "row_condition", "a string");
	if ((v = pipeline_kwarg(kwargs, "condition_parser", &buf)) != NULL)
		check_choice(kwargs, &parser, v, PIPELINE_CONDITION_PARSERS);
	pipeline_result_format(kwargs, 0);
}

static bool
bound_is_greater(const JsonbValue *a, const JsonbValue *b)
{
	return a != NULL && b != NULL && a->type == jbvNumeric && b->type == jbvNumeric &&
		DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->val.numeric),
										  NumericGetDatum(b->val.numeric))) > 0;
}

/* Two numeric bounds the wrong way round leave nothing to expect. */
static void
check_bounds(const ExpectationType *type, const Jsonb *kwargs)
{
	JsonbValue	min_buf;
	JsonbValue	max_buf;
	JsonbValue *min = pipeline_kwarg(kwargs, "min_value", &min_buf);
	JsonbValue *max = pipeline_kwarg(kwargs, "max_value", &max_buf);

	if (type->needs_bound && min == NULL && max == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"kwargs\" of %s has neither \"min_value\" nor \"max_value\"",
						type->name),
				 errhint("Give at least one of them.")));
	if (bound_is_greater(min, max) && type->kind != CHECK_LENGTH && type->kind != CHECK_COUNT &&
		type->kind != CHECK_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"min_value\" is greater than \"max_value\" in argument \"kwargs\""),
				 errdetail("They are %s and %s.", pipeline_jsonb_key(kwargs, "min_value"),
						   pipeline_jsonb_key(kwargs, "max_value"))));
}

/* What several kwargs must be together. */
static void
check_together(const ExpectationType *type, const Jsonb *kwargs)
{
	check_bounds(type, kwargs);
	if (type->sub == SUB_KL)
		pipeline_partition_check(kwargs);
	if ((type->sub == SUB_WITHIN_RECORD || type->sub == SUB_COMPOUND) &&
		list_length(pipeline_kwarg_list(kwargs, "column_list")) < 2)
		bad_kwarg(kwargs, "column_list", "an array of two columns or more");
	if (type->sub == SUB_ROWS || type->sub == SUB_SQL)
		pipeline_check_query_kwarg(type, kwargs);
}

/* Raise 22023 for a key that the type does not know. */
void
pipeline_check_kwarg_names(const ExpectationType *type, const Jsonb *kwargs)
{
	const char *allowed[MAX_KWARGS + 4] = {"row_condition", "condition_parser", "result_format"};

	for (int i = 0; i < MAX_KWARGS && type->kwargs[i].name; i++)
		allowed[i + 3] = type->kwargs[i].name;
	pipeline_check_keys(kwargs, "kwargs", allowed);
}

/*
 * Check the kwargs of an expectation as far as that can be done without the
 * table.  Raises 22023 naming the key, 2201B for a bad pattern.
 */
void
pipeline_check_kwargs(const ExpectationType *type, const Jsonb *kwargs)
{
	pipeline_check_kwarg_names(type, kwargs);
	for (int i = 0; i < MAX_KWARGS && type->kwargs[i].name; i++)
	{
		const Kwarg *kwarg = &type->kwargs[i];
		JsonbValue	buf;
		JsonbValue *v = pipeline_kwarg(kwargs, kwarg->name, &buf);

		if (v != NULL)
			check_value(type, kwarg, kwargs, v);
		else if (kwarg->required)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"kwargs\" of %s lacks the key \"%s\"",
							type->name, kwarg->name),
					 errdetail("It is %s.", JsonbToCString(NULL, (JsonbContainer *) &kwargs->root,
														   VARSIZE(kwargs)))));
	}
	check_common(kwargs);
	check_together(type, kwargs);
}
