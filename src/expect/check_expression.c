/*
 * check_expression.c
 *	  The SQL of single checks: conditions, row-level expressions, aggregates.
 *
 * A row-level expression is true for a row that is as expected, false for one
 * that is not, and NULL for one that is missing, which is not judged.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "expect/check.h"

/* Lists of columns: as many as a table has. */
#define MAX_COLUMN_LIST MaxHeapAttributeNumber
/* Of a list that is longer, expressions are made otherwise. */
#define LONG_LIST 40

/* The attribute of a column; 42703 if the target has none of that name. */
Form_pg_attribute
pipeline_column_attribute(const ScanTarget *target, const char *column)
{
	int			number = pipeline_source_column(target->source, column, "kwargs");

	return TupleDescAttr(target->source->columns, number - 1);
}

char *
pipeline_column_reference(const ScanTarget *target, const char *column)
{
	return psprintf("%s.%s", target->alias,
					quote_identifier(NameStr(pipeline_column_attribute(target, column)->attname)));
}

/* A scalar of JSON as an SQL literal. */
char *
pipeline_json_literal(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return pstrdup("NULL");
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvNumeric:
			return psprintf("(%s)", DatumGetCString(DirectFunctionCall1(numeric_out,
																		NumericGetDatum(value->val.numeric))));
		default:
			return quote_literal_cstr(pnstrdup(value->val.string.val, value->val.string.len));
	}
}

/* The row condition of a check, ready for pasting, or NULL. */
char *
pipeline_check_condition(const Check *check)
{
	if (check->row_condition == NULL)
		return NULL;
	return psprintf("%s::pg_catalog.bool",
					pipeline_expression(check->row_condition, "row_condition"));
}

/* FROM and WHERE of a query of its own. */
char *
pipeline_from_where(const ScanTarget *target, const char *condition)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "FROM %s AS %s", target->source->from, target->alias);
	if (target->where || condition)
		appendStringInfo(&buf, " WHERE %s%s%s", target->where ? target->where : "",
						 target->where && condition ? " AND " : "",
						 condition ? condition : "");
	return buf.data;
}

/*
 * What a check of one column looks at: the column; as text if it is of a type
 * like citext and the check wants characters, or of any type and the check
 * parses texts.
 */
char *
pipeline_check_argument(const ScanTarget *target, const Check *check)
{
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	Oid			typid = getBaseType(pipeline_column_attribute(target, column)->atttypid);
	char	   *reference = pipeline_column_reference(target, column);
	char		category;
	bool		preferred;

	get_type_category_preferred(typid, &category, &preferred);
	if (check->type->kind == CHECK_PARSE)
		return pipeline_is_text_type(typid) ? reference : psprintf("%s::pg_catalog.text", reference);
	if ((check->type->kind == CHECK_REGEX || check->type->kind == CHECK_LENGTH ||
		 check->type->sub == SUB_LIKE) &&
		category == TYPCATEGORY_STRING && !pipeline_is_text_type(typid))
		return psprintf("%s::pg_catalog.text", reference);
	return reference;
}

/* Columns of the kwarg, quoted; at most MAX_COLUMN_LIST. */
static List *
references(const ScanTarget *target, const List *columns)
{
	List	   *list = NIL;
	ListCell   *lc;

	if (list_length(columns) > MAX_COLUMN_LIST)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("key \"column_list\" in argument \"kwargs\" holds more than %d columns", MAX_COLUMN_LIST)));
	foreach(lc, columns)
		list = lappend(list, pipeline_column_reference(target, lfirst(lc)));
	return list;
}

/*
 * Pattern by pattern.  A backslash escapes, as it does for LIKE: a pattern
 * that ends with one is that check's error.
 */
static char *
like(const ScanTarget *target, const Check *check)
{
	char	   *pattern = pipeline_kwarg_text(check->kwargs, "like_pattern");
	char	   *match_on = pipeline_kwarg_text(check->kwargs, "match_on");
	List	   *patterns = pattern ? list_make1(pattern) : pipeline_kwarg_list(check->kwargs, "like_pattern_list");
	bool		all = match_on != NULL && strcmp(match_on, "all") == 0;
	StringInfoData buf;
	ListCell   *lc;

	if (patterns == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"like_pattern_list\" in argument \"kwargs\" is empty")));
	initStringInfo(&buf);
	appendStringInfoString(&buf, check->type->negate ? "NOT (" : "(");
	foreach(lc, patterns)
		appendStringInfo(&buf, "%s%s OPERATOR(pg_catalog.~~) %s",
						 foreach_current_index(lc) == 0 ? "" : all ? " AND " : " OR ",
						 pipeline_check_argument(target, check), quote_literal_cstr(lfirst(lc)));
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* When a row is not judged: SQL, or NULL when every row is. */
static char *
ignored(const Check *check, const List *columns)
{
	char	   *rule = pipeline_kwarg_text(check->kwargs, "ignore_row_if");
	bool		any = rule != NULL && (strcmp(rule, "either_value_is_missing") == 0 ||
									   strcmp(rule, "any_value_is_missing") == 0);

	if (rule != NULL && (strcmp(rule, "never") == 0 || strcmp(rule, "neither") == 0))
		return NULL;
	return psprintf("(%s IS NULL)", pipeline_list_join(columns, any ? " IS NULL OR " : " IS NULL AND "));
}

static char *
pair_set(const Check *check, const char *a, const char *b)
{
	Jsonb	   *pairs = pipeline_kwarg_json(check->kwargs, "value_pairs_set");
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "(false");
	for (int i = 0; i < JB_ROOT_COUNT(pairs); i++)
	{
		JsonbContainer *pair = getIthJsonbValueFromContainer(&pairs->root, i)->val.binary.data;

		appendStringInfoString(&buf, " OR (");
		for (int j = 0; j < 2; j++)
		{
			JsonbValue *v = getIthJsonbValueFromContainer(pair, j);

			appendStringInfo(&buf, v->type == jbvNull ? "%s%s IS NULL" : "%s%s = ",
							 j ? " AND " : "", j ? b : a);
			if (v->type != jbvNull)
				appendStringInfoString(&buf, pipeline_json_literal(v));
		}
		appendStringInfoChar(&buf, ')');
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* a > b; the texts of points in time are compared as such, if asked. */
static char *
pair_greater(const ScanTarget *target, const Check *check, char *a, char *b)
{
	if (pipeline_kwarg_bool(check->kwargs, "parse_strings_as_datetimes"))
	{
		a = psprintf("%s::pg_catalog.timestamp", a);
		b = psprintf("%s::pg_catalog.timestamp", b);
	}
	return psprintf("%s %s %s", a, pipeline_kwarg_bool(check->kwargs, "or_equal") ? ">=" : ">", b);
}

/* How many of the columns are NULL: a function takes no more than a hundred. */
char *
pipeline_num_nulls(const List *columns)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
	{
		if (foreach_current_index(lc) % MAX_CHECK_ARGS == 0)
			appendStringInfoString(&buf, buf.len ? ") OPERATOR(pg_catalog.+) pg_catalog.num_nulls(" : "(pg_catalog.num_nulls(");
		else
			appendStringInfoString(&buf, ", ");
		appendStringInfoString(&buf, lfirst(lc));
	}
	appendStringInfoString(&buf, "))");
	return buf.data;
}

/* A row as one value of JSON, where a sample shows very many columns of it. */
char *
pipeline_shown_object(const ScanTarget *target, const List *names)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, names)
	{
		if (foreach_current_index(lc) % LONG_LIST == 0)
			appendStringInfoString(&buf, buf.len ? ") OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(" : "pg_catalog.jsonb_build_object(");
		else
			appendStringInfoString(&buf, ", ");
		appendStringInfo(&buf, "%s::pg_catalog.text, %s", quote_literal_cstr(lfirst(lc)),
						 pipeline_column_reference(target, lfirst(lc)));
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* The sum, which nests no deeper than it must. */
static char *
sum_of(const List *columns)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
	{
		int			i = foreach_current_index(lc);

		appendStringInfo(&buf, "%s%s", i == 0 ? "(" : i % LONG_LIST == 0 ? ") + (" : " + ", (char *) lfirst(lc));
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* No two of the values are equal. */
static char *
all_different(const List *columns)
{
	StringInfoData buf;

	/* Pairs of very many would be a million. */
	if (list_length(columns) > LONG_LIST)
		return psprintf("(SELECT pg_catalog.count(v) OPERATOR(pg_catalog.=) pg_catalog.count(DISTINCT v) FROM pg_catalog.unnest(ARRAY[%s]) AS v)",
						pipeline_list_join(columns, ", "));
	initStringInfo(&buf);
	for (int i = 0; i < list_length(columns); i++)
		for (int j = 0; j < i; j++)
			appendStringInfo(&buf, "%s(%s = %s) IS NOT TRUE", buf.len ? " AND " : "",
							 (char *) list_nth(columns, j), (char *) list_nth(columns, i));
	return buf.data;
}

/* The expression of a check that is one, and what its samples show. */
void
pipeline_prepare_expression(const ScanTarget *target, Check *check)
{
	const Jsonb *kwargs = check->kwargs;
	List	   *columns;
	char	   *expected;
	char	   *skip;
	JsonbValue	buf;

	if (check->type->sub == SUB_LIKE)
	{
		check->shown = list_make1(pipeline_kwarg_text(kwargs, "column"));
		check->expression = like(target, check);
		return;
	}
	check->shown_as_object = check->type->kwargs[0].kind == KWARG_COLUMNS;
	check->shown = check->shown_as_object ? pipeline_kwarg_list(kwargs, "column_list") :
		list_make2(pipeline_kwarg_text(kwargs, "column_A"), pipeline_kwarg_text(kwargs, "column_B"));
	columns = references(target, check->shown);
	switch (check->type->sub)
	{
		case SUB_PAIR_EQUAL:
			expected = psprintf("%s = %s", (char *) linitial(columns), (char *) lsecond(columns));
			break;
		case SUB_PAIR_GREATER:
			expected = pair_greater(target, check, linitial(columns), lsecond(columns));
			break;
		case SUB_PAIR_SET:
			expected = pair_set(check, linitial(columns), lsecond(columns));
			break;
		case SUB_SUM:
			expected = psprintf("%s = %s", sum_of(columns),
								pipeline_json_literal(pipeline_kwarg(kwargs, "sum_total", &buf)));
			break;
		default:
			expected = all_different(columns);
	}
	skip = ignored(check, columns);
	if (skip)
		check->expression = psprintf("CASE WHEN %s THEN NULL ELSE (%s) IS TRUE END", skip, expected);
	else
		check->expression = psprintf("(%s) IS TRUE", expected);
}

/* ---- aggregates ------------------------------------------------------------------ */

/* Of exact numbers the mean and the deviation are doubles, as tools have them. */
static char *
as_double(const char *aggregate, Oid typid)
{
	bool		number = typid == INT2OID || typid == INT4OID || typid == INT8OID || typid == NUMERICOID;

	return psprintf(number ? "(%s)::pg_catalog.float8" : "%s", aggregate);
}

/* Add an aggregate of a check. */
static void
add_aggregate(Check *check, char *text)
{
	check->aggregates = lappend(check->aggregates, text);
}

/*
 * What the server aggregates for a check: the value, how many rows, how many
 * of them not NULL.  For a deviation: mean and standard deviation, or
 * quartiles.
 */
void
pipeline_prepare_aggregates(const ScanTarget *target, Check *check)
{
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	char	   *reference = pipeline_column_reference(target, column);
	Oid			typid = getBaseType(pipeline_column_attribute(target, column)->atttypid);
	char	   *condition = pipeline_check_condition(check);
	char	   *filter = condition ? psprintf(" FILTER (WHERE %s)", condition) : "";
	char	   *method = pipeline_kwarg_text(check->kwargs, "method");
	static const struct
	{
		CheckSub	sub;
		const char *function;
	}			functions[] = {
		{SUB_MIN, "min"}, {SUB_MAX, "max"}, {SUB_FRESHNESS, "max"}, {SUB_TOTAL, "sum"},
		{SUB_MEAN, "avg"}, {SUB_STDEV, "stddev_samp"}
	};

	if (check->type->sub == SUB_Z_SCORE || (check->type->sub == SUB_OUTLIERS && method && strcmp(method, "z_score") == 0))
	{
		add_aggregate(check, psprintf("pg_catalog.avg(%s::pg_catalog.float8)%s", reference, filter));
		add_aggregate(check, psprintf("pg_catalog.stddev_samp(%s::pg_catalog.float8)%s", reference, filter));
		return;
	}
	if (check->type->sub == SUB_OUTLIERS)
	{
		static const char *const quartiles[] = {"0.25", "0.75", "0.5"};

		for (int i = 0; i < lengthof(quartiles); i++)
			add_aggregate(check, psprintf("pg_catalog.percentile_cont(%s) WITHIN GROUP (ORDER BY %s::pg_catalog.float8)%s",
										  quartiles[i], reference, filter));
		return;
	}
	for (int i = 0; i < lengthof(functions); i++)
	{
		char	   *text;

		if (functions[i].sub != check->type->sub)
			continue;
		/* Aggregates of the user's types have no fixed schema. */
		text = psprintf("%s(%s)%s", functions[i].function, reference, filter);
		add_aggregate(check, check->type->sub == SUB_MEAN || check->type->sub == SUB_STDEV ?
					  as_double(text, typid) : text);
	}
	add_aggregate(check, psprintf("pg_catalog.count(*)%s", filter));
	add_aggregate(check, psprintf("pg_catalog.count(%s)%s", reference, filter));
	/* To merge deviations it takes the means. */
	if (check->type->sub == SUB_STDEV)
		add_aggregate(check, psprintf("(pg_catalog.avg(%s)%s)::pg_catalog.float8", reference, filter));
}
