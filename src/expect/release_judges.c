/*
 * release_judges.c
 *	  The checks of a suite as they judge a row of the quarantine on its way back.
 *
 * What a row says of itself is judged as in a validation.  What it says together
 * with others is judged with those that are held and those that are in the table
 * into which it goes: a key must be free there, what it determines must be the
 * same, a deviation is from the center of the target as it is now, and a value in
 * order fits between its neighbours.  A row that was copied is still in its
 * table: its key may be there once.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "expect/quarantine_release.h"

/* The columns of a row of the quarantine, by number, for a subquery. */
static char *
own_values(const ScanTarget *target, const List *columns)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
		appendStringInfo(&buf, "%s%s AS \"?%d\"", buf.len ? ", " : "",
						 pipeline_column_reference(target, lfirst(lc)), foreach_current_index(lc));
	return psprintf("(SELECT %s) AS \"?own\"", buf.data);
}

/* Columns from the first-th on that are as those of the row, or not all as those. */
static char *
the_same(const ScanTarget *target, const List *columns, int first)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < list_length(columns); i++)
		appendStringInfo(&buf, "%s%s IS NOT DISTINCT FROM \"?own\".\"?%d\"", i ? " AND " : "",
						 pipeline_column_reference(target, list_nth(columns, i)), first + i);
	return buf.data;
}

/* Rows of the table into which it goes that the check looks at, and a condition. */
static char *
from_table(const Release *r, const ScanTarget *target, const Check *check,
		   const List *columns, const char *condition)
{
	char	   *looked_at = pipeline_check_condition(check);

	return psprintf("FROM %s, %s AS %s WHERE %s%s%s", own_values(target, columns),
					pipeline_qualified_name(r->into), target->alias,
					looked_at ? looked_at : "", looked_at ? " AND " : "", condition);
}

/* Neither twice among the rows that are held nor in the table already. */
static char *
key_is_free(const Release *r, const ScanTarget *target, const Check *check)
{
	List	   *names = check->type->sub == SUB_UNIQUE ?
		list_make1(pipeline_kwarg_text(check->kwargs, "column")) :
		pipeline_kwarg_list(check->kwargs, "column_list");
	char	   *alone = pipeline_row_expression(target, check);
	char	   *rows;
	char	   *goes;

	if (!OidIsValid(r->into))
		return alone;
	rows = from_table(r, target, check, names, the_same(target, names, 0));
	goes = psprintf("CASE WHEN (%s) IS NULL THEN NULL ELSE (%s) AND NOT EXISTS (SELECT %s) END", alone, alone, rows);
	return r->everything ? goes :
		psprintf("CASE WHEN %s.\"?moved\" THEN %s WHEN (%s) IS NOT NULL THEN (SELECT pg_catalog.count(*) OPERATOR(pg_catalog.<=) 1 FROM (SELECT %s LIMIT 2) AS \"?twice\") END",
				 target->alias, goes, alone, rows);
}

/* Rows with the same determinant, held or in the table, have the same dependent. */
static char *
agrees(const Release *r, const ScanTarget *target, const Check *check)
{
	List	   *determinant = pipeline_kwarg_list(check->kwargs, "determinant");
	List	   *dependent = pipeline_kwarg_list(check->kwargs, "dependent");
	char	   *among = pipeline_row_expression(target, check);
	char	   *others;

	if (!OidIsValid(r->into))
		return among;
	others = from_table(r, target, check, list_concat_copy(determinant, dependent),
						psprintf("%s AND NOT (%s)", the_same(target, determinant, 0),
								 the_same(target, dependent, list_length(determinant))));
	return psprintf("CASE WHEN (%s) IS NULL THEN NULL ELSE (%s) AND NOT EXISTS (SELECT %s) END", among, among, others);
}

/* A neighbour's value by the order of the check: before, or behind. */
static char *
neighbour(const Release *r, const ScanTarget *target, const Check *check, bool before)
{
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	List	   *order = pipeline_kwarg_list(check->kwargs, "order_by");
	StringInfoData theirs;
	StringInfoData own;
	StringInfoData by;
	ListCell   *lc;

	initStringInfo(&theirs);
	initStringInfo(&own);
	initStringInfo(&by);
	foreach(lc, order)
	{
		const char *comma = foreach_current_index(lc) ? ", " : "";

		appendStringInfo(&theirs, "%s%s", comma, pipeline_column_reference(target, lfirst(lc)));
		appendStringInfo(&own, "%s\"?own\".\"?%d\"", comma, foreach_current_index(lc));
		appendStringInfo(&by, "%s%s %s", comma, pipeline_column_reference(target, lfirst(lc)), before ? "DESC" : "ASC");
	}
	return psprintf("(SELECT %s %s ORDER BY %s LIMIT 1)", pipeline_column_reference(target, column),
					from_table(r, target, check, order,
							   psprintf("(%s) %s (%s) AND pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0", theirs.data,
										before ? "<" : ">", own.data, pipeline_column_reference(target, column))),
					by.data);
}

/*
 * A value fits between those of its neighbours.  Where a check has no order_by,
 * the order is that in which rows lie, and nobody knows where one will.
 */
static char *
fits_in_order(const Release *r, const ScanTarget *target, const Check *check, const char *held)
{
	char	   *column = pipeline_column_reference(target, pipeline_kwarg_text(check->kwargs, "column"));
	char	   *condition = pipeline_check_condition(check);
	const char *operator = pipeline_kwarg_bool(check->kwargs, "strictly") ?
		(check->type->negate ? "<" : ">") : (check->type->negate ? "<=" : ">=");
	const char *cast = pipeline_kwarg_bool(check->kwargs, "parse_strings_as_datetimes") ? "::pg_catalog.timestamp" : "";

	if (!OidIsValid(r->into))
		return NULL;
	if (pipeline_kwarg_list(check->kwargs, "order_by") == NIL)
	{
		pipeline_sql_generated(psprintf("SELECT 1 FROM %s AS h WHERE h.\"?moved\" OR %s LIMIT 1", held,
										r->everything ? "true" : "false"), SPI_OK_SELECT, true);
		if (SPI_processed == 0)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rows cannot be released: expectation \"%s\" is about the order in which rows lie", check->name),
				 errdetail("Where in the table a row comes to lie is not known before."),
				 errhint("Give the expectation \"order_by\", or release with recheck => false.")));
	}
	return psprintf("CASE WHEN %s AND pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0 AND (%s.\"?moved\" OR %s) THEN"
					" coalesce(%s%s %s %s%s, true) AND coalesce(%s%s %s %s%s, true) END",
					condition ? condition : "true", column, target->alias, r->everything ? "true" : "false",
					column, cast, operator, neighbour(r, target, check, true), cast,
					neighbour(r, target, check, false), cast, operator, column, cast);
}

/* How far from the center of the target, as it is now. */
static void
prepare_deviation(const ScanTarget *target, Check *check)
{
	pipeline_prepare_aggregates(target, check);
	pipeline_sql_generated(psprintf("SELECT %s %s", pipeline_list_join(check->aggregates, ", "),
									pipeline_from_where(target, NULL)), SPI_OK_SELECT, true);
	check->has_parameters = true;
	for (int i = 0; i < list_length(check->aggregates); i++)
	{
		bool		isnull;
		Datum		value = pipeline_sql_datum(0, i + 1, &isnull);

		check->parameters[i] = isnull ? 0 : DatumGetFloat8(value);
		check->has_parameters = check->has_parameters && !isnull;
	}
	SPI_freetuptable(SPI_tuptable);
	pipeline_prepare_deviation(target, CurrentMemoryContext, check);
}

/* The expression of a check that looks at more than its row; NULL: it says nothing. */
static char *
together(const Release *r, const ScanTarget *target, const Check *check, const char *held)
{
	switch (check->type->sub)
	{
		case SUB_UNIQUE:
		case SUB_COMPOUND:
			return key_is_free(r, target, check);
		case SUB_DEPENDENCY:
			return agrees(r, target, check);
		case SUB_ORDER:
			return fits_in_order(r, target, check, held);
		default:
			return pipeline_row_expression(target, check);
	}
}

/*
 * The checks of severity error and critical, made so that they judge the rows that
 * are held.  As the owner of the suite, inside an SPI connection.
 */
List *
pipeline_release_judges(const Release *r, const ScanTarget *target, const List *checks,
						const char *held)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (!check->type->per_row || !pipeline_check_is_grave(check))
			continue;
		if (check->result.error)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("rows cannot be released: expectation \"%s\" cannot be evaluated", check->name),
					 errdetail("%s", check->result.error),
					 errhint("Mend it, or release with recheck => false.")));
		if (check->type->kind == CHECK_EXPRESSION)
			pipeline_prepare_expression(target, check);
		else if (check->type->kind == CHECK_DEVIATION)
			prepare_deviation(target, check);
		else if (check->type->kind == CHECK_WINDOW || check->type->kind == CHECK_DISTRIBUTION)
		{
			check->expression = together(r, target, check, held);
			if (check->expression == NULL)
				continue;
		}
		check->shown = NIL;
		list = lappend(list, check);
	}
	return list;
}
