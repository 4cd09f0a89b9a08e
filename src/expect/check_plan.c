/*
 * check_plan.c
 *	  The statement of the shared scan.
 *
 * SELECT pipeline._check(plan, columns and conditions...), ... FROM target
 *
 * A call takes at most MAX_CHECK_ARGS arguments, so the checks are dealt out
 * to as many calls as they need; a column or condition that several checks
 * use is one argument.  The columns of the row key ride along raw: their JSON
 * is made for the sampled rows only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "expect/check.h"

/* One _check call in the making. */
typedef struct Call
{
	List	   *args;			/* texts of the arguments */
	StringInfoData keys;
	StringInfoData checks;
	int			nchecks;
} Call;

static char *
column_reference(const ScanTarget *target, int column)
{
	const char *name = NameStr(TupleDescAttr(target->source->columns, column - 1)->attname);

	return psprintf("%s.%s", target->alias, quote_identifier(name));
}

/* The column of a check, from 1; 42703 if the target has none of that name. */
static int
check_column(const ScanTarget *target, const Check *check)
{
	return pipeline_source_column(target->source,
								  pipeline_kwarg_text(check->kwargs, "column"),
								  "kwargs");
}

/*
 * What a check looks at: its column; as text if it is of a type like citext
 * and the check wants characters.
 */
char *
pipeline_check_argument(const ScanTarget *target, const Check *check)
{
	int			column = check_column(target, check);
	Oid			typid = getBaseType(TupleDescAttr(target->source->columns, column - 1)->atttypid);
	char	   *reference = column_reference(target, column);
	char		category;
	bool		preferred;

	if (check->type->kind != CHECK_REGEX && check->type->kind != CHECK_LENGTH)
		return reference;
	get_type_category_preferred(typid, &category, &preferred);
	if (category == TYPCATEGORY_STRING && !pipeline_is_text_type(typid))
		return psprintf("%s::pg_catalog.text", reference);
	return reference;
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

/* An expression of type jsonb for the key of a row. */
char *
pipeline_key_expression(const ScanTarget *target)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "pg_catalog.jsonb_build_object(");
	foreach(lc, target->row_key)
	{
		int			column = pipeline_source_column(target->source, lfirst(lc), "row_key");

		appendStringInfo(&buf, "%s%s::pg_catalog.text, %s", foreach_current_index(lc) ? ", " : "",
						 quote_literal_cstr(lfirst(lc)), column_reference(target, column));
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* The position of an argument in a call; it is added if it is new. */
static int
argument(Call *call, const char *text)
{
	ListCell   *lc;

	foreach(lc, call->args)
	{
		if (strcmp(lfirst(lc), text) == 0)
			return foreach_current_index(lc);
	}
	call->args = lappend(call->args, pstrdup(text));
	return list_length(call->args) - 1;
}

static Call *
new_call(const ScanTarget *target)
{
	Call	   *call = palloc0(sizeof(Call));
	ListCell   *lc;

	initStringInfo(&call->keys);
	initStringInfo(&call->checks);
	foreach(lc, target->row_key)
	{
		int			column = pipeline_source_column(target->source, lfirst(lc), "row_key");

		appendStringInfoString(&call->keys, foreach_current_index(lc) ? ", {\"name\": " : "{\"name\": ");
		escape_json(&call->keys, lfirst(lc));
		appendStringInfo(&call->keys, ", \"arg\": %d}",
						 argument(call, column_reference(target, column)));
	}
	return call;
}

/* The collation of a column, or of text made from it. */
static Oid
check_collation(const ScanTarget *target, const Check *check)
{
	return TupleDescAttr(target->source->columns, check_column(target, check) - 1)->attcollation;
}

/* Add a check to a call. */
static void
add_check(Call *call, const ScanTarget *target, const Check *check)
{
	StringInfo	buf = &call->checks;
	char	   *condition = pipeline_check_condition(check);

	appendStringInfoString(buf, call->nchecks++ ? ", {\"type\": " : "{\"type\": ");
	escape_json(buf, check->type->name);
	appendStringInfo(buf, ", \"kwargs\": %s",
					 JsonbToCString(NULL, &check->kwargs->root, VARSIZE(check->kwargs)));
	if (check->type->kind != CHECK_COUNT)
		appendStringInfo(buf, ", \"arg\": %d, \"collation\": %u",
						 argument(call, pipeline_check_argument(target, check)),
						 check_collation(target, check));
	if (condition)
		appendStringInfo(buf, ", \"condition\": %d", argument(call, condition));
	appendStringInfoChar(buf, '}');
}

static void
append_call(StringInfo sql, const Call *call, const ScanTarget *target)
{
	ListCell   *lc;
	char	   *plan = psprintf("{\"limit\": %d, \"keys\": [%s], \"checks\": [%s]}",
								target->sample_limit, call->keys.data, call->checks.data);

	appendStringInfo(sql, "pipeline._check(%s::pg_catalog.jsonb", quote_literal_cstr(plan));
	foreach(lc, call->args)
		appendStringInfo(sql, ", %s", (char *) lfirst(lc));
	/* A call that only counts still needs something to follow the plan. */
	if (call->args == NIL)
		appendStringInfoString(sql, ", true");
	appendStringInfoChar(sql, ')');
}

/*
 * Make the statement that evaluates the checks.  *calls gets, for each column
 * of its result, the list of the checks that are in it, in order.
 */
char *
pipeline_scan_statement(const ScanTarget *target, const List *checks, List **calls)
{
	StringInfoData sql;
	Call	   *call = new_call(target);
	List	   *in_call = NIL;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	*calls = NIL;
	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		/* A check adds at most two arguments. */
		if (list_length(call->args) > MAX_CHECK_ARGS - 2 && in_call != NIL)
		{
			append_call(&sql, call, target);
			appendStringInfoString(&sql, ", ");
			*calls = lappend(*calls, in_call);
			call = new_call(target);
			in_call = NIL;
		}
		add_check(call, target, check);
		in_call = lappend(in_call, check);
	}
	append_call(&sql, call, target);
	*calls = lappend(*calls, in_call);
	appendStringInfo(&sql, " FROM %s AS %s", target->source->from, target->alias);
	if (target->where)
		appendStringInfo(&sql, " WHERE %s", target->where);
	return sql.data;
}
