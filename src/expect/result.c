/*
 * result.c
 *	  From counts to verdicts, and the forms in which they leave.
 *
 * The counts follow Great Expectations: element_count holds every row, NULLs
 * among them; a NULL is missing and never unexpected, save for the two types
 * that are about NULL, which have no missing_count; success means that the
 * fraction of the non-missing values that are as expected reaches mostly; no
 * non-missing value means success.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "expect/check.h"

static int64
count_of(const Jsonb *counts, const char *key)
{
	int64		value = 0;

	pipeline_kwarg_int(counts, key, &value);
	return value;
}

/*
 * Take over what the aggregate says of a check: its object, or NULL when there
 * were no rows.  In the context that keeps the result.
 */
void
pipeline_check_counted(Check *check, const Jsonb *counts, bool has_keys)
{
	CheckResult *r = &check->result;
	char	   *values = counts ? pipeline_jsonb_key(counts, "values") : NULL;
	char	   *keys = counts ? pipeline_jsonb_key(counts, "keys") : NULL;

	r->done = true;
	r->elements = counts ? count_of(counts, "elements") : 0;
	r->missing = counts ? count_of(counts, "missing") : 0;
	r->unexpected = counts ? count_of(counts, "unexpected") : 0;
	r->has_counts = r->has_unexpected = check->type->per_row;
	r->has_missing = check->type->per_row && check->type->kind != CHECK_NULL;
	if (check->type->per_row)
	{
		r->values = pipeline_jsonb_from(values ? values : "[]");
		r->keys = has_keys ? pipeline_jsonb_from(keys ? keys : "[]") : NULL;
	}
	pipeline_check_verdict(check);
}

/* The row count against its bounds. */
static bool
count_fits(const Check *check, int64 count)
{
	int64		bound;

	if (pipeline_kwarg_int(check->kwargs, "value", &bound))
		return count == bound;
	if (pipeline_kwarg_int(check->kwargs, "min_value", &bound) &&
		count < bound + pipeline_kwarg_bool(check->kwargs, "strict_min"))
		return false;
	if (pipeline_kwarg_int(check->kwargs, "max_value", &bound) &&
		count > bound - pipeline_kwarg_bool(check->kwargs, "strict_max"))
		return false;
	return true;
}

/* Decide, from the counts. */
void
pipeline_check_verdict(Check *check)
{
	CheckResult *r = &check->result;
	int64		present = r->elements - r->missing;

	Assert(r->unexpected <= present);
	if (check->type->kind == CHECK_COUNT)
	{
		r->success = count_fits(check, r->elements);
		r->observed = pipeline_jsonb_from(psprintf(INT64_FORMAT, r->elements));
		return;
	}
	r->success = r->unexpected == 0 ||
		(double) (present - r->unexpected) / (double) present >=
		pipeline_kwarg_mostly(check->kwargs);
}

static void
set_int8(Datum *values, bool *nulls, int column, bool isnull, int64 value)
{
	nulls[column] = isnull;
	values[column] = Int64GetDatum(value);
}

static void
set_percent(Datum *values, bool *nulls, int column, bool has, int64 part, int64 whole)
{
	nulls[column] = !has || whole == 0;
	values[column] = Float8GetDatum(nulls[column] ? 0 : 100.0 * part / whole);
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	values[column] = text ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
set_jsonb(Datum *values, bool *nulls, int column, const Jsonb *value)
{
	nulls[column] = value == NULL;
	values[column] = PointerGetDatum(value);
}

/* The columns of the composite type expectation_result. */
void
pipeline_result_values(const Check *check, Datum *values, bool *nulls)
{
	const CheckResult *r = &check->result;
	bool		counts = r->has_counts && r->error == NULL;
	bool		unexpected = r->has_unexpected && r->error == NULL;

	set_text(values, nulls, 0, check->type->name);
	set_text(values, nulls, 1, pipeline_check_columns_text(check->kwargs));
	set_text(values, nulls, 2, check->severity);
	nulls[3] = r->error != NULL;
	values[3] = BoolGetDatum(r->success);
	set_jsonb(values, nulls, 4, r->observed);
	set_int8(values, nulls, 5, !counts, r->elements);
	set_int8(values, nulls, 6, !counts || !r->has_missing, r->missing);
	set_int8(values, nulls, 7, !unexpected, r->unexpected);
	set_percent(values, nulls, 8, counts && unexpected, r->unexpected, r->elements - r->missing);
	set_percent(values, nulls, 9, counts && unexpected, r->unexpected, r->elements);
	set_jsonb(values, nulls, 10, r->values);
	set_jsonb(values, nulls, 11, r->keys);
	set_jsonb(values, nulls, 12, r->details);
	nulls[13] = false;
	values[13] = BoolGetDatum(check->proved && r->error == NULL);
	set_text(values, nulls, 14, r->error);
}

static void
append_json(StringInfo buf, const char *name, const Jsonb *value)
{
	if (value)
		appendStringInfo(buf, ", \"%s\": %s", name,
						 JsonbToCString(NULL, (JsonbContainer *) &value->root, VARSIZE(value)));
}

/* The result as JSON, for the detail of an alert. */
Jsonb *
pipeline_result_json(const Check *check)
{
	const CheckResult *r = &check->result;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"type\": ");
	escape_json(&buf, check->type->name);
	append_json(&buf, "kwargs", check->kwargs);
	if (check->row_condition)
	{
		appendStringInfoString(&buf, ", \"row_condition\": ");
		escape_json(&buf, check->row_condition);
	}
	if (r->error)
	{
		appendStringInfoString(&buf, ", \"error\": ");
		escape_json(&buf, r->error);
	}
	else if (r->has_counts && r->has_unexpected)
		appendStringInfo(&buf, ", \"element_count\": " INT64_FORMAT ", \"unexpected_count\": " INT64_FORMAT,
						 r->elements, r->unexpected);
	append_json(&buf, "observed_value", r->observed);
	append_json(&buf, "partial_unexpected_list", r->values);
	append_json(&buf, "partial_unexpected_keys", r->keys);
	append_json(&buf, "details", r->details);
	appendStringInfoChar(&buf, '}');
	return pipeline_jsonb_from(buf.data);
}

static void
append_clipped(StringInfo buf, const Jsonb *value)
{
	char	   *text = JsonbToCString(NULL, (JsonbContainer *) &value->root, VARSIZE(value));
	int			len = strlen(text);

	if (len > 200)
	{
		text[pg_mbcliplen(text, len, 200)] = '\0';
		appendStringInfo(buf, "%s...", text);
	}
	else
		appendStringInfoString(buf, text);
}

static void
append_examples(StringInfo buf, const CheckResult *r)
{
	if (r->values == NULL || JB_ROOT_COUNT(r->values) == 0)
		return;
	appendStringInfoString(buf, ", such as ");
	append_clipped(buf, r->keys ? r->keys : r->values);
}

/* What went wrong, in one line: what was expected, how many, some of them. */
char *
pipeline_result_summary(const Check *check)
{
	const CheckResult *r = &check->result;
	char	   *column = pipeline_check_columns_text(check->kwargs);
	StringInfoData buf;

	initStringInfo(&buf);
	if (check->name)
		appendStringInfo(&buf, "%s: ", check->name);
	else
		appendStringInfo(&buf, column ? "%s(%s): " : "%s: ", check->type->name, column);
	if (r->error)
		appendStringInfo(&buf, "could not be evaluated: %s", r->error);
	else if (r->has_counts && r->has_unexpected)
	{
		appendStringInfo(&buf, INT64_FORMAT " of " INT64_FORMAT " %s unexpected", r->unexpected,
						 r->elements - r->missing, r->elements - r->missing == 1 ? "value" : "values");
		append_examples(&buf, r);
	}
	else if (r->observed)
	{
		appendStringInfoString(&buf, "observed ");
		append_clipped(&buf, r->observed);
		append_examples(&buf, r);
	}
	else if (check->type->sub == SUB_EXISTS)
		appendStringInfoString(&buf, "no such column");
	else if (check->limit < 0)
		appendStringInfoString(&buf, "failed");
	else
		appendStringInfoString(&buf, "there is no value");
	return buf.data;
}

/* BOOLEAN_ONLY: nothing but the verdict. */
void
pipeline_check_trim(Check *check)
{
	CheckResult *r = &check->result;

	if (check->limit >= 0 || r->error)
		return;
	r->has_counts = r->has_missing = r->has_unexpected = false;
	r->observed = r->values = r->keys = r->details = NULL;
}

/* The columns that a check names, or NULL. */
char *
pipeline_check_columns_text(const Jsonb *kwargs)
{
	static const char *const lists[] = {"column_list", "determinant", "key_columns"};
	char	   *column = pipeline_kwarg_text(kwargs, "column");
	List	   *list = NIL;

	if (column)
		return column;
	if ((column = pipeline_kwarg_text(kwargs, "column_A")) != NULL)
		return psprintf("%s, %s", column, pipeline_kwarg_text(kwargs, "column_B"));
	for (int i = 0; i < lengthof(lists) && list == NIL; i++)
		list = pipeline_kwarg_list(kwargs, lists[i]);
	return list ? pipeline_list_join(list, ", ") : NULL;
}
