/*
 * check_compile.c
 *	  From kwargs and the type of a column to the form that a scan evaluates.
 *
 * JSON numbers stand for values of numeric columns, strings for the text of a
 * value of any type, booleans for booleans.  A number against a text column is
 * an error, as it is in SQL.  Integers, dates and timestamps are compared as
 * 64-bit integers, floats as doubles, the rest by the type's own comparison.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "expect/check.h"

/* May the type's bytes be taken as characters? */
bool
pipeline_is_text_type(Oid typid)
{
	return typid == TEXTOID || typid == VARCHAROID || typid == BPCHAROID;
}

/* Is the type compared as a 64-bit integer? */
static bool
is_int_like(Oid typid)
{
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
	}
	return false;
}

static bool
is_integer_type(Oid typid)
{
	return typid == INT2OID || typid == INT4OID || typid == INT8OID;
}

static int64
int_like(Datum value, int typlen)
{
	return typlen == 2 ? DatumGetInt16(value) :
		typlen == 4 ? DatumGetInt32(value) : DatumGetInt64(value);
}

static void
does_not_fit(const char *kwarg, const char *what, Oid typid)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("key \"%s\" in argument \"kwargs\" holds a %s, but the column is of type %s",
					kwarg, what, format_type_be(typid)),
			 errhint("Write the value as the column's type has it, in quotes.")));
}

static Datum
numeric_of(int64 value)
{
	return DirectFunctionCall1(int8_numeric, Int64GetDatum(value));
}

static int
compare_numeric(Datum a, Datum b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, a, b));
}

/* An integer of the type that equals the number; `never` if none does. */
static Datum
number_to_int(Datum number, Oid typid, bool *never)
{
	Datum		whole = DirectFunctionCall1(numeric_ceil, number);
	int64		limit = typid == INT2OID ? PG_INT16_MAX :
		typid == INT4OID ? PG_INT32_MAX : PG_INT64_MAX;
	int64		value;

	*never = compare_numeric(whole, number) != 0 ||
		compare_numeric(number, numeric_of(limit)) > 0 ||
		compare_numeric(number, numeric_of(-limit - 1)) < 0;
	if (*never)
		return (Datum) 0;
	value = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	return typid == INT2OID ? Int16GetDatum((int16) value) :
		typid == INT4OID ? Int32GetDatum((int32) value) : Int64GetDatum(value);
}

/*
 * Turn a JSON value into a value of the (base) type.  `never` is set when no
 * value of the type can equal it, such as 1.5 for an integer.  A timestamp
 * ignores a zone in its text, as PostgreSQL has it; with `datetimes` (the kwarg
 * parse_strings_as_datetimes) the zone counts.
 */
Datum
pipeline_kwarg_datum(const JsonbValue *value, Oid typid, bool datetimes,
					 const char *kwarg, bool *never)
{
	*never = false;
	if (value->type == jbvString)
	{
		char	   *text = pnstrdup(value->val.string.val, value->val.string.len);
		Oid			input;
		Oid			ioparam;

		if (datetimes && typid == TIMESTAMPOID)
			return DirectFunctionCall1(timestamptz_timestamp,
									   DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
														   ObjectIdGetDatum(InvalidOid),
														   Int32GetDatum(-1)));
		getTypeInputInfo(typid, &input, &ioparam);
		return OidInputFunctionCall(input, text, ioparam, -1);
	}
	if (value->type == jbvBool)
	{
		if (typid != BOOLOID)
			does_not_fit(kwarg, "boolean", typid);
		return BoolGetDatum(value->val.boolean);
	}
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return number_to_int(NumericGetDatum(value->val.numeric), typid, never);
		case FLOAT4OID:
			return DirectFunctionCall1(numeric_float4, NumericGetDatum(value->val.numeric));
		case FLOAT8OID:
			return DirectFunctionCall1(numeric_float8, NumericGetDatum(value->val.numeric));
		case NUMERICOID:
			return NumericGetDatum(value->val.numeric);
	}
	does_not_fit(kwarg, "number", typid);
	return (Datum) 0;
}

/* The least integer that passes; *empty when none does. */
static int64
int_lower(const CompiledCheck *check, const JsonbValue *v, bool strict, bool *empty)
{
	bool		whole = true;
	int64		value;

	if (v->type == jbvNumeric && is_integer_type(check->typid))
	{
		Datum		number = NumericGetDatum(v->val.numeric);
		Datum		up = DirectFunctionCall1(numeric_ceil, number);

		if (compare_numeric(up, numeric_of(PG_INT64_MIN)) < 0)
			return PG_INT64_MIN;
		if (compare_numeric(up, numeric_of(PG_INT64_MAX)) > 0)
		{
			*empty = true;
			return 0;
		}
		whole = compare_numeric(up, number) == 0;
		value = DatumGetInt64(DirectFunctionCall1(numeric_int8, up));
	}
	else
	{
		bool		never;

		value = int_like(pipeline_kwarg_datum(v, check->typid, check->datetimes,
										  "min_value", &never), check->typlen);
	}
	if (!strict || !whole)
		return value;
	*empty = *empty || value == PG_INT64_MAX;
	return *empty ? 0 : value + 1;
}

/* The greatest integer that passes; *empty when none does. */
static int64
int_upper(const CompiledCheck *check, const JsonbValue *v, bool strict, bool *empty)
{
	bool		whole = true;
	int64		value;

	if (v->type == jbvNumeric && is_integer_type(check->typid))
	{
		Datum		number = NumericGetDatum(v->val.numeric);
		Datum		down = DirectFunctionCall1(numeric_floor, number);

		if (compare_numeric(down, numeric_of(PG_INT64_MAX)) > 0)
			return PG_INT64_MAX;
		if (compare_numeric(down, numeric_of(PG_INT64_MIN)) < 0)
		{
			*empty = true;
			return 0;
		}
		whole = compare_numeric(down, number) == 0;
		value = DatumGetInt64(DirectFunctionCall1(numeric_int8, down));
	}
	else
	{
		bool		never;

		value = int_like(pipeline_kwarg_datum(v, check->typid, check->datetimes,
										  "max_value", &never), check->typlen);
	}
	if (!strict || !whole)
		return value;
	*empty = *empty || value == PG_INT64_MIN;
	return *empty ? 0 : value - 1;
}

static void
wrong_way_round(const Jsonb *kwargs)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"min_value\" is greater than \"max_value\" in argument \"kwargs\""),
			 errdetail("They are %s and %s.", pipeline_jsonb_key(kwargs, "min_value"),
					   pipeline_jsonb_key(kwargs, "max_value"))));
}

static void
compile_int_range(CompiledCheck *check, const Jsonb *kwargs,
				  const JsonbValue *min, const JsonbValue *max)
{
	bool		empty = false;

	check->op = OP_INT_RANGE;
	check->int_min = PG_INT64_MIN;
	check->int_max = PG_INT64_MAX;
	if (min && max && (min->type == jbvString || max->type == jbvString))
	{
		bool		ignored = false;

		if (int_lower(check, min, false, &ignored) >
			int_upper(check, max, false, &ignored))
			wrong_way_round(kwargs);
	}
	if (min)
		check->int_min = int_lower(check, min, check->strict_min, &empty);
	if (max)
		check->int_max = int_upper(check, max, check->strict_max, &empty);
	if (empty)
	{
		check->int_min = 1;
		check->int_max = 0;
	}
}

static double
float_bound(const JsonbValue *v, const char *kwarg)
{
	bool		never;

	return DatumGetFloat8(pipeline_kwarg_datum(v, FLOAT8OID, false, kwarg, &never));
}

static void
compile_float_range(CompiledCheck *check, const Jsonb *kwargs,
					const JsonbValue *min, const JsonbValue *max)
{
	check->op = OP_FLOAT_RANGE;
	if (min)
		check->float_min = float_bound(min, "min_value");
	if (max)
		check->float_max = float_bound(max, "max_value");
	if (min && max && float8_gt(check->float_min, check->float_max))
		wrong_way_round(kwargs);
}

static void
compile_other_range(CompiledCheck *check, const Jsonb *kwargs,
					const JsonbValue *min, const JsonbValue *max)
{
	TypeCacheEntry *type = lookup_type_cache(check->typid, TYPECACHE_CMP_PROC);
	bool		never;

	if (!OidIsValid(type->cmp_proc))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of type %s have no order", format_type_be(check->typid))));
	check->op = OP_RANGE;
	fmgr_info(type->cmp_proc, &check->cmp);
	if (min)
		check->min = pipeline_kwarg_datum(min, check->typid, false, "min_value", &never);
	if (max)
		check->max = pipeline_kwarg_datum(max, check->typid, false, "max_value", &never);
	if (min && max &&
		DatumGetInt32(FunctionCall2Coll(&check->cmp, check->collation,
										check->min, check->max)) > 0)
		wrong_way_round(kwargs);
}

static void
compile_range(CompiledCheck *check, const Jsonb *kwargs)
{
	JsonbValue	min_buf;
	JsonbValue	max_buf;
	JsonbValue *min = pipeline_kwarg(kwargs, "min_value", &min_buf);
	JsonbValue *max = pipeline_kwarg(kwargs, "max_value", &max_buf);

	check->has_min = min != NULL;
	check->has_max = max != NULL;
	check->strict_min = pipeline_kwarg_bool(kwargs, "strict_min");
	check->strict_max = pipeline_kwarg_bool(kwargs, "strict_max");
	if (is_int_like(check->typid))
		compile_int_range(check, kwargs, min, max);
	else if (check->typid == FLOAT4OID || check->typid == FLOAT8OID)
		compile_float_range(check, kwargs, min, max);
	else
		compile_other_range(check, kwargs, min, max);
}

/* Bounds of lengths are small integers: strictness is one more or less. */
static void
compile_length(CompiledCheck *check, const Jsonb *kwargs)
{
	int64		value;

	check->op = OP_LENGTH;
	check->int_min = PG_INT64_MIN;
	check->int_max = PG_INT64_MAX;
	if (pipeline_kwarg_int(kwargs, "min_value", &value))
		check->int_min = value + pipeline_kwarg_bool(kwargs, "strict_min");
	if (pipeline_kwarg_int(kwargs, "max_value", &value))
		check->int_max = value - pipeline_kwarg_bool(kwargs, "strict_max");
	if (pipeline_kwarg_int(kwargs, "value", &value))
		check->int_min = check->int_max = value;
}

/* One pattern, or a list of which any or all must match. */
static void
compile_regexes(CompiledCheck *check, const Jsonb *kwargs)
{
	char	   *pattern = pipeline_kwarg_text(kwargs, "regex");
	char	   *match_on = pipeline_kwarg_text(kwargs, "match_on");
	List	   *patterns = pattern ? list_make1(pattern) : pipeline_kwarg_list(kwargs, "regex_list");
	ListCell   *lc;

	check->op = OP_REGEX;
	check->match_all = match_on != NULL && strcmp(match_on, "all") == 0;
	check->regexes = palloc_array(Regex *, list_length(patterns) + 1);
	foreach(lc, patterns)
		check->regexes[check->nregexes++] = pipeline_regex_compile(lfirst(lc), check->collation);
}

static void
compile_parse(CompiledCheck *check, const ExpectationType *type, const Jsonb *kwargs)
{
	check->op = OP_PARSE;
	check->sub = type->sub;
	if (type->sub == SUB_STRFTIME)
		check->format = pipeline_kwarg_text(kwargs, "strftime_format");
	if (type->sub == SUB_JSON_SCHEMA)
		check->schema = pipeline_kwarg_json(kwargs, "json_schema");
}

static void
check_column_type(const ExpectationType *type, const Jsonb *kwargs, Oid typid)
{
	if ((type->kind == CHECK_REGEX || type->kind == CHECK_LENGTH || type->kind == CHECK_PARSE) &&
		!pipeline_is_text_type(typid))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s needs a column of text, and this one is of type %s",
						type->name, format_type_be(typid))));
	if (pipeline_kwarg_bool(kwargs, "parse_strings_as_datetimes") &&
		typid != DATEOID && typid != TIMESTAMPOID && typid != TIMESTAMPTZOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"parse_strings_as_datetimes\" needs a column of dates or timestamps, and this one is of type %s",
						format_type_be(typid))));
}

/*
 * Compile a check of a per-row type, or of the row count, in the current
 * memory context.  The arguments `arg` and `condition` are the caller's to
 * set.  Raises whatever is wrong with the kwargs for this type of column.
 */
void
pipeline_check_compile(CompiledCheck *check, const ExpectationType *type,
					   const Jsonb *kwargs, Oid typid, Oid collation)
{
	memset(check, 0, sizeof(*check));
	check->negate = type->negate;
	check->arg = check->condition = -1;
	check->op = OP_COUNT;
	if (type->kind == CHECK_COUNT)
		return;
	if (type->kind == CHECK_EXPRESSION || type->kind == CHECK_DEVIATION ||
		type->kind == CHECK_WINDOW || type->sub == SUB_UNIQUE)
	{
		if (typid != BOOLOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("%s is evaluated by a boolean", type->name)));
		check->op = OP_EXPRESSION;
		check->negate = false;
		return;
	}
	check->typid = getBaseType(typid);
	check->typlen = get_typlen(check->typid);
	check->collation = collation;
	check->datetimes = pipeline_kwarg_bool(kwargs, "parse_strings_as_datetimes");
	check_column_type(type, kwargs, check->typid);
	switch (type->kind)
	{
		case CHECK_NULL:
			check->op = type->negate ? OP_NOT_NULL : OP_NULL;
			break;
		case CHECK_RANGE:
			compile_range(check, kwargs);
			break;
		case CHECK_SET:
			check->op = OP_SET;
			check->set = pipeline_set_compile(kwargs, check->typid,
											  check->datetimes, collation);
			break;
		case CHECK_REGEX:
			compile_regexes(check, kwargs);
			break;
		case CHECK_PARSE:
			compile_parse(check, type, kwargs);
			break;
		case CHECK_LENGTH:
			compile_length(check, kwargs);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s is not evaluated row by row", type->name)));
	}
}

static void
compile_bounds(CompiledCheck *check, const Jsonb *kwargs, Oid typid)
{
	memset(check, 0, sizeof(*check));
	check->arg = check->condition = -1;
	check->typid = getBaseType(typid);
	check->typlen = get_typlen(check->typid);
	check->collation = get_typcollation(check->typid);
	check->datetimes = pipeline_kwarg_bool(kwargs, "parse_strings_as_datetimes");
	compile_range(check, kwargs);
}

/* Raise what is wrong with min_value and max_value for values of a type. */
void
pipeline_bounds_check(const Jsonb *kwargs, Oid typid)
{
	CompiledCheck check;

	compile_bounds(&check, kwargs, typid);
}

/* Is a value within min_value and max_value? */
bool
pipeline_bounds_hold(const Jsonb *kwargs, Datum value, Oid typid)
{
	CompiledCheck check;

	compile_bounds(&check, kwargs, typid);
	return !pipeline_check_unexpected(&check, value);
}
