/*
 * check_eval.c
 *	  Is a value as expected?  The inner loop of every scan.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"

#include "expect/check.h"

static bool
in_int_range(const CompiledCheck *check, Datum value)
{
	int64		v = check->typlen == 8 ? DatumGetInt64(value) :
		check->typlen == 4 ? DatumGetInt32(value) : DatumGetInt16(value);

	return v >= check->int_min && v <= check->int_max;
}

/* With SQL's order of floats: NaN is greater than all. */
static bool
in_float_range(const CompiledCheck *check, Datum value)
{
	double		v = check->typid == FLOAT4OID ? DatumGetFloat4(value) : DatumGetFloat8(value);

	if (check->has_min &&
		(check->strict_min ? float8_le(v, check->float_min) : float8_lt(v, check->float_min)))
		return false;
	if (check->has_max &&
		(check->strict_max ? float8_ge(v, check->float_max) : float8_gt(v, check->float_max)))
		return false;
	return true;
}

static bool
in_range(CompiledCheck *check, Datum value)
{
	int			cmp;

	if (check->has_min)
	{
		cmp = DatumGetInt32(FunctionCall2Coll(&check->cmp, check->collation,
											  value, check->min));
		if (cmp < 0 || (cmp == 0 && check->strict_min))
			return false;
	}
	if (check->has_max)
	{
		cmp = DatumGetInt32(FunctionCall2Coll(&check->cmp, check->collation,
											  value, check->max));
		if (cmp > 0 || (cmp == 0 && check->strict_max))
			return false;
	}
	return true;
}

/* The number of characters; blanks that only pad a char(n) do not count. */
static int
text_length(const CompiledCheck *check, const char *data, int len)
{
	if (check->typid == BPCHAROID)
	{
		while (len > 0 && data[len - 1] == ' ')
			len--;
	}
	if (pg_database_encoding_max_length() == 1)
		return len;
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		int			chars = 0;

		/* Every byte but those that continue a character starts one. */
		for (int i = 0; i < len; i++)
			chars += (data[i] & 0xC0) != 0x80;
		return chars;
	}
	return pg_mbstrlen_with_len(data, len);
}

/* \u0000 is JSON, but jsonb cannot hold it. */
static bool
has_null_escape(const char *data, int len)
{
	for (int i = 0; i + 6 <= len; i++)
		if (memcmp(data + i, "\\u0000", 6) == 0)
			return true;
	return false;
}

static Jsonb *
text_jsonb(const char *data, int len)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(pnstrdup(data, len))));
}

static bool
matches_patterns(const CompiledCheck *check, const char *data, int len)
{
	for (int i = 0; i < check->nregexes; i++)
		if (pipeline_regex_matches(check->regexes[i], data, len) != check->match_all)
			return !check->match_all;
	return check->match_all;
}

/* Does the text parse as what the check wants? */
static bool
parses(const CompiledCheck *check, struct varlena *value, const char *data, int len)
{
	switch (check->sub)
	{
		case SUB_DATE:
			return pipeline_is_datetime(data, len);
		case SUB_STRFTIME:
			return pipeline_matches_strftime(check->format, data, len);
		case SUB_JSON_SCHEMA:
			return json_validate((text *) value, false, false) &&
				!has_null_escape(data, len) &&
				pipeline_json_schema_matches(check->schema, text_jsonb(data, len));
		default:
			return json_validate((text *) value, false, false);
	}
}

static bool
expected_text(CompiledCheck *check, Datum value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);
	char	   *data = VARDATA_ANY(text);
	int			len = VARSIZE_ANY_EXHDR(text);
	int			chars;

	switch (check->op)
	{
		case OP_SET:
			return pipeline_set_has(check->set, PointerGetDatum(text));
		case OP_REGEX:
			return matches_patterns(check, data, len);
		case OP_PARSE:
			return parses(check, text, data, len);
		default:
			chars = text_length(check, data, len);
			return chars >= check->int_min && chars <= check->int_max;
	}
}

/* Is the value, which is not NULL, other than the check expects? */
bool
pipeline_check_unexpected(CompiledCheck *check, Datum value)
{
	bool		expected;

	switch (check->op)
	{
		case OP_EXPRESSION:
			return !DatumGetBool(value);
		case OP_INT_RANGE:
			return !in_int_range(check, value);
		case OP_FLOAT_RANGE:
			return !in_float_range(check, value);
		case OP_RANGE:
			return !in_range(check, value);
		case OP_SET:
			expected = check->typlen == -1 && pipeline_is_text_type(check->typid) ?
				expected_text(check, value) : pipeline_set_has(check->set, value);
			break;
		default:
			expected = expected_text(check, value);
	}
	return expected == check->negate;
}
