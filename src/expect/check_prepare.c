/*
 * check_prepare.c
 *	  What can be known of a check before the scan: its column, its kwargs against
 *	  the column's type, its condition.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "expect/check.h"

/* Raise whatever is wrong with a condition over the target. */
void
pipeline_condition_check(const ScanTarget *target, const char *condition)
{
	(void) pipeline_query_columns(psprintf("SELECT FROM %s AS %s WHERE %s",
										   target->source->from, target->alias, condition));
}

/* The set of a check of distinct values must fit the column. */
static void
check_set(const ScanTarget *target, const Check *check)
{
	Form_pg_attribute att = pipeline_column_attribute(target, pipeline_kwarg_text(check->kwargs, "column"));

	(void) pipeline_set_compile(check->kwargs, getBaseType(att->atttypid),
								pipeline_kwarg_bool(check->kwargs, "parse_strings_as_datetimes"),
								att->attcollation);
}

/* The type of an expression over the target, or over what stands for it. */
static Form_pg_attribute
expression_type(const ScanTarget *target, const char *expression, const char *from)
{
	TupleDesc	columns = pipeline_query_columns(from == NULL ?
												 psprintf("SELECT %s FROM %s AS %s", expression,
														  target->source->from, target->alias) :
												 psprintf("SELECT %s FROM %s", expression, from));

	return TupleDescAttr(columns, 0);
}

static void
prepare_aggregate(const ScanTarget *target, MemoryContext context, Check *check)
{
	Form_pg_attribute type;
	MemoryContext old = MemoryContextSwitchTo(context);

	pipeline_prepare_aggregates(target, check);
	MemoryContextSwitchTo(old);
	type = expression_type(target, pipeline_list_join(check->aggregates, ", "), NULL);
	if (check->type->sub != SUB_FRESHNESS && check->type->kind == CHECK_AGGREGATE)
		pipeline_bounds_check(check->kwargs, type->atttypid);
}

static void
prepare_row_check(const ScanTarget *target, Check *check)
{
	Form_pg_attribute type = expression_type(target, pipeline_check_argument(target, check), NULL);
	CompiledCheck compiled;

	pipeline_check_compile(&compiled, check->type, check->kwargs, type->atttypid, type->attcollation);
}

/* Run a preparation whose results stay. */
static void
prepare_kept(const ScanTarget *target, MemoryContext context, Check *check,
			 void (*function) (const ScanTarget *, Check *))
{
	MemoryContext old = MemoryContextSwitchTo(context);

	function(target, check);
	MemoryContextSwitchTo(old);
}

static void
refer_to_past(const ScanTarget *target, Check *check)
{
	check->reference = pipeline_drift_reference(target, check);
}

/*
 * A check that is proved wants its rows counted, those that are NULL apart.
 * Uniqueness is then a row-level expression that nothing can make false.
 */
static void
count_only(const ScanTarget *target, Check *check)
{
	if (check->type->sub != SUB_UNIQUE)
		return;
	check->shown = list_make1(pipeline_kwarg_text(check->kwargs, "column"));
	check->expression = psprintf("(pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0 OR NULL::pg_catalog.bool)",
								 pipeline_check_argument(target, check));
}

static void
look_up_in_scan(const ScanTarget *target, Check *check)
{
	check->in_scan = pipeline_foreign_key_in_scan(target, check);
}

/*
 * Find out all that can be known of a check before the scan.  The current context
 * may be short-lived: what the scan needs is allocated in `context`.  Raises
 * whatever is wrong with the check.
 */
void
pipeline_check_prepare(const ScanTarget *target, MemoryContext context,
					   Check *check)
{
	char	   *condition = pipeline_check_condition(check);

	if (condition)
		pipeline_condition_check(target, condition);
	check->proved = pipeline_is_proved(target, check);
	if (check->proved)
	{
		prepare_kept(target, context, check, count_only);
		return;
	}
	switch (check->type->kind)
	{
		case CHECK_COLUMNS:
			prepare_kept(target, context, check, pipeline_columns_verdict);
			break;
		case CHECK_COUNT:
		case CHECK_QUERY:
			break;
		case CHECK_AGGREGATE:
		case CHECK_DEVIATION:
			prepare_aggregate(target, context, check);
			break;
		case CHECK_DISTRIBUTION:
			(void) pipeline_check_argument(target, check);
			if (pipeline_is_exact_ks(check))
				prepare_kept(target, context, check, pipeline_exact_ks);
			else if (check->type->sub == SUB_DRIFT)
				prepare_kept(target, context, check, refer_to_past);
			else if (check->type->sub != SUB_UNIQUE)
				check_set(target, check);
			break;
		case CHECK_EXPRESSION:
			prepare_kept(target, context, check, pipeline_prepare_expression);
			(void) expression_type(target, check->expression, NULL);
			break;
		case CHECK_WINDOW:
			prepare_kept(target, context, check, pipeline_prepare_window);
			(void) expression_type(target, check->expression, pipeline_window_from(target, check));
			if (check->type->sub == SUB_COMPOUND)
				check->keyed = pipeline_has_key_hash(target, check->shown);
			else if (check->type->sub == SUB_FOREIGN_KEY)
				prepare_kept(target, context, check, look_up_in_scan);
			break;
		default:
			prepare_row_check(target, check);
	}
}
