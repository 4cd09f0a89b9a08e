/*
 * check_window.c
 *	  Row-level checks that look at more than their row: order, compound keys,
 *	  foreign keys, functional dependencies.
 *
 * A foreign key is an expression of the first scan where referenced keys fit into
 * a hash, and whether a compound key is there twice is seen in it (key_twice.c).
 * Otherwise each has a statement of its own, over a query that puts the verdict of
 * each row beside the columns that the samples need; it names those columns as the
 * target does.  A value that is missing in a key counts as a value of its own
 * for compound keys and dependencies, as GROUP BY has it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "expect/check.h"

#define VERDICT "\"?pipeline verdict\""
#define NUMBER "\"?pipeline number\""

static List *
references(const ScanTarget *target, const List *columns)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, columns)
		list = lappend(list, pipeline_column_reference(target, lfirst(lc)));
	return list;
}

static void
add_columns(List **columns, const List *more)
{
	ListCell   *lc;

	foreach(lc, more)
		if (!pipeline_list_has(*columns, lfirst(lc)))
			*columns = lappend(*columns, lfirst(lc));
}

/* The columns that a query must hand up: those shown, and the key. */
static char *
handed_up(const ScanTarget *target, const Check *check, const List *also)
{
	List	   *columns = NIL;

	add_columns(&columns, check->shown);
	add_columns(&columns, target->row_key);
	add_columns(&columns, also);
	return pipeline_list_join(references(target, columns), ", ");
}

/* A partition of a window that keeps the rows of a condition to themselves. */
static char *
within(const char *condition, const char *columns)
{
	return condition ? psprintf("%s, %s", condition, columns) : pstrdup(columns);
}

/* Rows whose value is alone; NULL where there is none. */
static char *
unique(const ScanTarget *target, const Check *check)
{
	char	   *column = pipeline_check_argument(target, check);

	return psprintf("CASE WHEN pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0 THEN"
					" pg_catalog.count(*) OVER (PARTITION BY %s) OPERATOR(pg_catalog.=) 1 END",
					column, column);
}

/* `condition`: rows that it is not true for are of no account; or NULL. */
static char *
compound(const ScanTarget *target, const Check *check, const char *condition)
{
	List	   *columns = references(target, pipeline_kwarg_list(check->kwargs, "column_list"));
	char	   *rule = pipeline_kwarg_text(check->kwargs, "ignore_row_if");
	char	   *nulls = pipeline_num_nulls(columns);
	char	   *all = psprintf("pg_catalog.count(*) OVER (PARTITION BY %s) OPERATOR(pg_catalog.=) 1",
							   within(condition, pipeline_list_join(columns, ", ")));

	if (rule != NULL && strcmp(rule, "never") == 0)
		return all;
	if (rule != NULL && strcmp(rule, "any_value_is_missing") == 0)
		return psprintf("CASE WHEN %s OPERATOR(pg_catalog.=) 0 THEN %s END", nulls, all);
	return psprintf("CASE WHEN %s OPERATOR(pg_catalog.<) %d THEN %s END", nulls, list_length(columns), all);
}

/* As many rows have the determinant's values as have the dependent's too. */
static char *
dependency(const ScanTarget *target, const Check *check, const char *condition)
{
	char	   *determinant = pipeline_list_join(references(target, pipeline_kwarg_list(check->kwargs, "determinant")), ", ");
	char	   *dependent = pipeline_list_join(references(target, pipeline_kwarg_list(check->kwargs, "dependent")), ", ");

	return psprintf("pg_catalog.count(*) OVER (PARTITION BY %s) OPERATOR(pg_catalog.=)"
					" pg_catalog.count(*) OVER (PARTITION BY %s, %s)",
					within(condition, determinant), within(condition, determinant), dependent);
}

/* Compared with the value of the row before, among those that have one. */
static char *
in_order(const ScanTarget *target, const Check *check)
{
	char	   *column = pipeline_column_reference(target, linitial(check->shown));
	List	   *order = pipeline_kwarg_list(check->kwargs, "order_by");
	const char *operator = pipeline_kwarg_bool(check->kwargs, "strictly") ?
		(check->type->negate ? "<" : ">") : (check->type->negate ? "<=" : ">=");
	char	   *by = order ? pipeline_list_join(references(target, order), ", ") :
		psprintf("%s." NUMBER, target->alias);
	char	   *cast = pipeline_kwarg_bool(check->kwargs, "parse_strings_as_datetimes") ?
		"::pg_catalog.timestamp" : "";

	return psprintf("CASE WHEN pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0 THEN"
					" coalesce(%s%s %s pg_catalog.lag(%s%s) OVER (PARTITION BY pg_catalog.num_nulls(%s) ORDER BY %s), true) END",
					column, column, cast, operator, column, cast, column, by);
}

/* The table that a foreign key refers to, and the condition of the join. */
static char *
foreign_key_from(const ScanTarget *target, const Check *check, char **verdict)
{
	Source	   *other = pipeline_source(pipeline_kwarg_text(check->kwargs, "references"), "references");
	List	   *names = pipeline_kwarg_list(check->kwargs, "referenced_columns");
	List	   *columns = references(target, check->shown);
	StringInfoData distinct;
	StringInfoData on;

	if (names == NIL)
		names = check->shown;
	if (list_length(names) != list_length(columns))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keys \"column_list\" and \"referenced_columns\" in argument \"kwargs\" are not as long as each other")));
	initStringInfo(&distinct);
	initStringInfo(&on);
	for (int i = 0; i < list_length(names); i++)
	{
		(void) pipeline_source_column(other, list_nth(names, i), "references");
		appendStringInfo(&distinct, "%s AS \"?%d\", ", quote_identifier(list_nth(names, i)), i);
		appendStringInfo(&on, "%s\"?other\".\"?%d\" = %s", i ? " AND " : "", i, (char *) list_nth(columns, i));
	}
	*verdict = psprintf("CASE WHEN %s OPERATOR(pg_catalog.=) 0 THEN \"?other\".\"?found\" IS NOT NULL END",
						pipeline_num_nulls(columns));
	return psprintf("%s AS %s LEFT JOIN (SELECT DISTINCT %strue AS \"?found\" FROM %s AS \"?t\") AS \"?other\" ON %s",
					target->source->from, target->alias, distinct.data, other->from, on.data);
}

/* What a check over windows shows; its expression is the verdict's column. */
void
pipeline_prepare_window(const ScanTarget *target, Check *check)
{
	List	   *columns = NIL;

	switch (check->type->sub)
	{
		case SUB_ORDER:
			columns = list_make1(pipeline_kwarg_text(check->kwargs, "column"));
			break;
		case SUB_DEPENDENCY:
			add_columns(&columns, pipeline_kwarg_list(check->kwargs, "determinant"));
			add_columns(&columns, pipeline_kwarg_list(check->kwargs, "dependent"));
			break;
		default:
			columns = pipeline_kwarg_list(check->kwargs, "column_list");
	}
	check->shown = columns;
	check->shown_as_object = check->type->sub != SUB_ORDER;
	check->expression = psprintf("%s." VERDICT, target->alias);
}

/*
 * What follows FROM in the statement of such a check: a query with the verdict
 * of each row that the check looks at, under the target's alias.
 */
char *
pipeline_window_from(const ScanTarget *target, const Check *check)
{
	char	   *condition = pipeline_check_condition(check);
	char	   *where = "";
	char	   *from = psprintf("%s AS %s", target->source->from, target->alias);
	char	   *verdict;
	List	   *order = pipeline_kwarg_list(check->kwargs, "order_by");

	if (target->where || condition)
		where = psprintf(" WHERE %s%s%s", target->where ? target->where : "",
						 target->where && condition ? " AND " : "", condition ? condition : "");
	switch (check->type->sub)
	{
		case SUB_UNIQUE:
			verdict = unique(target, check);
			break;
		case SUB_COMPOUND:
			verdict = compound(target, check, NULL);
			break;
		case SUB_DEPENDENCY:
			verdict = dependency(target, check, NULL);
			break;
		case SUB_FOREIGN_KEY:
			from = foreign_key_from(target, check, &verdict);
			break;
		default:
			verdict = in_order(target, check);
			/* Without an order the rows are numbered as they are read. */
			if (order == NIL)
			{
				from = psprintf("(SELECT %s, pg_catalog.row_number() OVER () AS " NUMBER " FROM %s%s) AS %s",
								handed_up(target, check, NIL), from, where, target->alias);
				where = "";
			}
	}
	return psprintf("(SELECT %s, %s AS " VERDICT " FROM %s%s) AS %s",
					handed_up(target, check, NIL), verdict, from, where, target->alias);
}

/*
 * Make a foreign key an expression of the first scan, if the planner would look
 * keys up in a hash of all referenced ones; false if it would not (they are too
 * many for its memory, or have no hash): then a join finds the orphans.
 */
bool
pipeline_foreign_key_in_scan(const ScanTarget *target, Check *check)
{
	Source	   *other = pipeline_source(pipeline_kwarg_text(check->kwargs, "references"), "references");
	List	   *names = pipeline_kwarg_list(check->kwargs, "referenced_columns");
	char	   *columns = pipeline_list_join(references(target, check->shown), ", ");
	List	   *keys = NIL;
	ListCell   *lc;
	char	   *expression;
	bool		hashed = false;

	foreach(lc, names ? names : check->shown)
		keys = lappend(keys, psprintf("\"?other\".%s", quote_identifier(lfirst(lc))));
	expression = psprintf("CASE WHEN %s OPERATOR(pg_catalog.=) 0 THEN"
						  " (%s) IN (SELECT %s FROM %s AS \"?other\" WHERE %s OPERATOR(pg_catalog.=) 0) END",
						  pipeline_num_nulls(references(target, check->shown)), columns,
						  pipeline_list_join(keys, ", "), other->from, pipeline_num_nulls(keys));
	pipeline_sql_generated(psprintf("EXPLAIN (VERBOSE, COSTS off) SELECT %s FROM %s AS %s", expression,
									target->source->from, target->alias), SPI_OK_UTILITY, false);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *line = pipeline_sql_text(i, 1);

		if (strstr(line, "(SubPlan ") != NULL)
		{
			hashed = false;
			break;
		}
		hashed = hashed || strstr(line, "(hashed SubPlan ") != NULL;
	}
	SPI_freetuptable(SPI_tuptable);
	if (hashed)
		check->expression = expression;
	return hashed;
}

/* The columns of a compound key, and the rule of _key_twice. */
char *
pipeline_key_columns(const ScanTarget *target, const Check *check, int *rule)
{
	char	   *ignored = pipeline_kwarg_text(check->kwargs, "ignore_row_if");

	*rule = ignored == NULL ? 1 : strcmp(ignored, "never") == 0 ? 0 : strcmp(ignored, "any_value_is_missing") == 0 ? 2 : 1;
	return pipeline_list_join(references(target, check->shown), ", ");
}

/* Is there a row in the other table? */
static char *
foreign_key_exists(const ScanTarget *target, const Check *check)
{
	Source	   *other = pipeline_source(pipeline_kwarg_text(check->kwargs, "references"), "references");
	List	   *names = pipeline_kwarg_list(check->kwargs, "referenced_columns");
	List	   *own = pipeline_kwarg_list(check->kwargs, "column_list");
	List	   *columns = references(target, own);
	StringInfoData on;

	if (names == NIL)
		names = own;
	initStringInfo(&on);
	for (int i = 0; i < list_length(names); i++)
		appendStringInfo(&on, "%s\"?other\".%s = %s", i ? " AND " : "",
						 quote_identifier(list_nth(names, i)), (char *) list_nth(columns, i));
	return psprintf("CASE WHEN %s OPERATOR(pg_catalog.=) 0 THEN"
					" EXISTS (SELECT FROM %s AS \"?other\" WHERE %s) END",
					pipeline_num_nulls(columns), other->from, on.data);
}

/*
 * The verdict of a check over windows as an expression over the target itself,
 * for the quarantine; NULL when it says nothing of single rows (order).
 */
char *
pipeline_row_expression(const ScanTarget *target, const Check *check)
{
	char	   *condition = pipeline_check_condition(check);
	char	   *columns;
	char	   *verdict;

	switch (check->type->sub)
	{
		case SUB_UNIQUE:
			columns = pipeline_check_argument(target, check);
			verdict = psprintf("CASE WHEN pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0 THEN"
							   " pg_catalog.count(*) OVER (PARTITION BY %s) OPERATOR(pg_catalog.=) 1 END",
							   columns, within(condition, columns));
			break;
		case SUB_COMPOUND:
			verdict = compound(target, check, condition);
			break;
		case SUB_DEPENDENCY:
			verdict = dependency(target, check, condition);
			break;
		case SUB_FOREIGN_KEY:
			verdict = foreign_key_exists(target, check);
			break;
		default:
			return NULL;
	}
	return condition ? psprintf("CASE WHEN %s THEN %s END", condition, verdict) : verdict;
}

/*
 * Without a compound key twice there is no need to look at the rows: then give
 * the check its verdict, in the context of the results.
 */
bool
pipeline_no_compound_twice(const ScanTarget *target, MemoryContext context, Check *check)
{
	StringInfoData columns;
	char	   *rule = pipeline_kwarg_text(check->kwargs, "ignore_row_if");
	const char *ignored = rule != NULL && strcmp(rule, "never") == 0 ? "false" :
		rule != NULL && strcmp(rule, "any_value_is_missing") == 0 ? "g.nulls OPERATOR(pg_catalog.>) 0" :
		psprintf("g.nulls OPERATOR(pg_catalog.=) %d", list_length(check->shown));
	int64		counts[3];
	List	   *references = NIL;
	ListCell   *lc;
	MemoryContext old;

	initStringInfo(&columns);
	foreach(lc, check->shown)
	{
		references = lappend(references, pipeline_column_reference(target, lfirst(lc)));
		appendStringInfo(&columns, "%s%s", columns.len ? ", " : "", (char *) llast(references));
	}
	pipeline_sql_generated(psprintf("SELECT pg_catalog.sum(g.n)::pg_catalog.int8, pg_catalog.sum(g.n) FILTER (WHERE %s)::pg_catalog.int8,"
									" pg_catalog.sum(g.n) FILTER (WHERE g.n OPERATOR(pg_catalog.>) 1 AND NOT (%s))::pg_catalog.int8"
									" FROM (SELECT pg_catalog.count(*) AS n, %s AS nulls %s GROUP BY %s) AS g",
									ignored, ignored, pipeline_num_nulls(references),
									pipeline_from_where(target, pipeline_check_condition(check)), columns.data),
						   SPI_OK_SELECT, true);
	for (int i = 0; i < 3; i++)
	{
		bool		isnull;
		Datum		value = pipeline_sql_datum(0, i + 1, &isnull);

		counts[i] = isnull ? 0 : DatumGetInt64(value);
	}
	SPI_freetuptable(SPI_tuptable);
	if (counts[2] > 0)
		return false;
	old = MemoryContextSwitchTo(context);
	pipeline_check_counted(check, pipeline_jsonb_from(psprintf("{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT ", \"unexpected\": 0}",
															   counts[0], counts[1])), target->row_key != NIL);
	MemoryContextSwitchTo(old);
	return true;
}
