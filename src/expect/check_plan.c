/*
 * check_plan.c
 *	  The statement of the shared scan.
 *
 * SELECT pipeline._check(plan, columns and conditions...), ...,
 *        pipeline._distribution(plan, column, condition), ..., avg(column), ...
 * FROM target
 *
 * A call of _check takes at most MAX_CHECK_ARGS arguments, so the checks are
 * dealt out to as many calls as they need; a column or condition that several
 * checks use is one argument.  The columns of the row key ride along raw: their
 * JSON is made for the sampled rows only.  Checks of one column's distribution
 * under one condition share one call, and with it one sort; aggregates that are
 * the same are one.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "expect/check.h"

#define MAX_SHOWN 40			/* columns of a sample that are arguments of their own */

/* One _check call in the making. */
typedef struct Call
{
	List	   *args;			/* texts of the arguments */
	StringInfoData keys;
	StringInfoData checks;
	int			nchecks;
	List	   *members;		/* the checks */
	bool		places;			/* it tells where rows lie that fail */
	int			place;			/* argument with the table; the next has the place in it */
} Call;

/* The statement in the making. */
typedef struct Statement
{
	const ScanTarget *target;
	StringInfoData list;		/* what is selected */
	List	   *texts;			/* of the aggregates of the server */
	List	   *columns;		/* ScanColumn */
} Statement;

/* Is it evaluated by a boolean expression? */
bool
pipeline_is_row_expression(const Check *check)
{
	return check->type->kind == CHECK_EXPRESSION || check->type->kind == CHECK_DEVIATION ||
		check->type->kind == CHECK_WINDOW || check->type->sub == SUB_UNIQUE;
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

/* A call; `places`: it is to tell where rows lie that fail. */
static Call *
new_call(const ScanTarget *target, bool places)
{
	Call	   *call = palloc0(sizeof(Call));
	ListCell   *lc;

	initStringInfo(&call->keys);
	initStringInfo(&call->checks);
	foreach(lc, target->row_key)
	{
		appendStringInfoString(&call->keys, foreach_current_index(lc) ? ", {\"name\": " : "{\"name\": ");
		escape_json(&call->keys, lfirst(lc));
		appendStringInfo(&call->keys, ", \"arg\": %d}",
						 argument(call, pipeline_column_reference(target, lfirst(lc))));
	}
	call->places = places;
	if (places)
	{
		call->place = argument(call, psprintf("%s.tableoid", target->alias));
		(void) argument(call, psprintf("%s.ctid", target->alias));
	}
	return call;
}

/* The collation of a column, or of text made from it. */
static Oid
check_collation(const ScanTarget *target, const Check *check)
{
	return pipeline_column_attribute(target, pipeline_kwarg_text(check->kwargs, "column"))->attcollation;
}

/* The columns that a sample shows. */
static void
add_shown(Call *call, const ScanTarget *target, const Check *check)
{
	StringInfo	buf = &call->checks;
	ListCell   *lc;

	/* Very many columns are one argument, made for the rows that fail. */
	if (list_length(check->shown) > MAX_SHOWN)
	{
		appendStringInfo(buf, ", \"object\": false, \"shown\": [{\"name\": \"\", \"arg\": %d}]",
						 argument(call, psprintf("CASE WHEN (%s) IS FALSE THEN %s END", check->expression,
												 pipeline_shown_object(target, check->shown))));
		return;
	}
	appendStringInfo(buf, ", \"object\": %s, \"shown\": [", check->shown_as_object ? "true" : "false");
	foreach(lc, check->shown)
	{
		appendStringInfoString(buf, foreach_current_index(lc) ? ", {\"name\": " : "{\"name\": ");
		escape_json(buf, lfirst(lc));
		appendStringInfo(buf, ", \"arg\": %d}",
						 argument(call, pipeline_column_reference(target, lfirst(lc))));
	}
	appendStringInfoChar(buf, ']');
}

/* Add a check to a call. */
static void
add_check(Call *call, const ScanTarget *target, Check *check)
{
	StringInfo	buf = &call->checks;
	/* The query under a check over windows has applied the condition. */
	char	   *condition = (check->type->kind == CHECK_WINDOW && !check->in_scan) || check->type->sub == SUB_UNIQUE ? NULL :
		pipeline_check_condition(check);

	call->members = lappend(call->members, check);
	appendStringInfoString(buf, call->nchecks++ ? ", {\"type\": " : "{\"type\": ");
	escape_json(buf, check->type->name);
	appendStringInfo(buf, ", \"limit\": %d", Max(check->limit, 0));
	if (pipeline_is_row_expression(check))
	{
		appendStringInfo(buf, ", \"arg\": %d", argument(call, check->expression));
		add_shown(call, target, check);
	}
	else
		appendStringInfo(buf, ", \"kwargs\": %s",
						 JsonbToCString(NULL, &check->kwargs->root, VARSIZE(check->kwargs)));
	if (check->type->kind != CHECK_COUNT && !pipeline_is_row_expression(check))
		appendStringInfo(buf, ", \"arg\": %d, \"collation\": %u",
						 argument(call, pipeline_check_argument(target, check)),
						 check_collation(target, check));
	if (condition)
		appendStringInfo(buf, ", \"condition\": %d", argument(call, condition));
	check->placed = call->places && check->type->per_row && pipeline_check_is_grave(check);
	if (check->placed)
		appendStringInfoString(buf, ", \"placed\": true");
	appendStringInfoChar(buf, '}');
}

/* `start`: the function, and what comes before the plan. */
static void
append_call(StringInfo sql, const char *start, const Call *call)
{
	ListCell   *lc;
	char	   *places = call->places ? psprintf(", \"places\": %d", call->place) : "";
	char	   *plan = psprintf("{\"keys\": [%s], \"checks\": [%s]%s}", call->keys.data, call->checks.data, places);

	appendStringInfo(sql, "pipeline.%s%s::pg_catalog.jsonb", start, quote_literal_cstr(plan));
	foreach(lc, call->args)
		appendStringInfo(sql, ", %s", (char *) lfirst(lc));
	/* A call that only counts still needs something to follow the plan. */
	if (call->args == NIL)
		appendStringInfoString(sql, ", true");
	appendStringInfoChar(sql, ')');
}

/* Begin a column of the statement; returns its number. */
static int
add_column(Statement *s, char kind, List *checks)
{
	ScanColumn *column = palloc0(sizeof(ScanColumn));

	column->kind = kind;
	column->checks = checks;
	s->columns = lappend(s->columns, column);
	if (list_length(s->columns) > 1)
		appendStringInfoString(&s->list, ", ");
	return list_length(s->columns);
}

/* How many arguments can a check add? */
static int
most_arguments(const Check *check)
{
	return 2 + Min(list_length(check->shown), MAX_SHOWN);
}

/* Deal the row-level checks out to calls of _check. */
static void
add_calls(Statement *s, const List *checks, bool places, bool first)
{
	Call	   *call = NULL;
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (check->aggregates != NIL && check->expression == NULL)
			continue;
		if (check->type->kind == CHECK_DISTRIBUTION && check->expression == NULL)
			continue;
		if (first && check->keyed)
			continue;
		if (call != NULL && list_length(call->args) + most_arguments(check) > MAX_CHECK_ARGS)
		{
			add_column(s, 'c', call->members);
			append_call(&s->list, "_check(", call);
			call = NULL;
		}
		if (call == NULL)
			call = new_call(s->target, places);
		add_check(call, s->target, check);
	}
	if (call != NULL)
	{
		add_column(s, 'c', call->members);
		append_call(&s->list, "_check(", call);
	}
}

static void
add_aggregates(Statement *s, Check *check)
{
	ListCell   *lc;

	foreach(lc, check->aggregates)
	{
		ListCell   *lc2;
		int			number = 0;

		foreach(lc2, s->columns)
		{
			if (((ScanColumn *) lfirst(lc2))->kind == 'a' &&
				strcmp(list_nth(s->texts, foreach_current_index(lc2)), lfirst(lc)) == 0)
				number = foreach_current_index(lc2) + 1;
		}
		if (number == 0)
		{
			number = add_column(s, 'a', NIL);
			appendStringInfoString(&s->list, lfirst(lc));
			s->texts = lappend(s->texts, lfirst(lc));
		}
		check->columns[foreach_current_index(lc)] = number;
	}
}

/* Is a compound key there twice?  The column of each such check. */
static void
add_keys(Statement *s, const List *checks)
{
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);
		char	   *condition = pipeline_check_condition(check);
		char	   *columns;
		int			rule;

		if (!check->keyed)
			continue;
		add_column(s, 'k', list_make1(check));
		columns = pipeline_key_columns(s->target, check, &rule);
		appendStringInfo(&s->list, "pipeline._key_twice(%d, %s, %s)", rule, condition ? condition : "true", columns);
	}
}

/* What tells the calls of _distribution apart. */
static char *
distribution_arguments(const ScanTarget *target, const Check *check)
{
	char	   *condition = pipeline_check_condition(check);

	return psprintf("%s, %s", pipeline_check_argument(target, check), condition ? condition : "true");
}

/* A check of a distribution, and the arguments of its call. */
typedef struct Member
{
	Check	   *check;
	char	   *arguments;
	bool		sketched;		/* nearly is enough */
	bool		done;
} Member;

/* One call for the members of the same arguments, from the i-th on. */
static void
add_distribution(Statement *s, Member *members, int n, int i)
{
	StringInfoData plan;
	List	   *checks = NIL;
	const char *arguments = members[i].arguments;
	bool		sketched = members[i].sketched;

	initStringInfo(&plan);
	for (; i < n; i++)
	{
		Check	   *check = members[i].check;
		Jsonb	   *kwargs = check->reference ? check->reference : check->kwargs;

		if (members[i].done || members[i].sketched != sketched || strcmp(members[i].arguments, arguments) != 0)
			continue;
		members[i].done = true;
		appendStringInfoString(&plan, checks ? ", {\"type\": " : "{\"type\": ");
		escape_json(&plan, check->type->name);
		appendStringInfo(&plan, ", \"limit\": %d, \"collation\": %u, \"kwargs\": %s}", Max(check->limit, 0),
						 check_collation(s->target, check),
						 JsonbToCString(NULL, &kwargs->root, VARSIZE(kwargs)));
		checks = lappend(checks, check);
	}
	add_column(s, 'd', checks);
	appendStringInfo(&s->list, "pipeline.%s(%s::pg_catalog.jsonb, %s)", sketched ? "_sketch" : "_distribution",
					 quote_literal_cstr(psprintf("[%s]", plan.data)), arguments);
}

static void
add_distributions(Statement *s, const List *checks)
{
	Member	   *members = palloc0_array(Member, list_length(checks) + 1);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (check->type->kind != CHECK_DISTRIBUTION || check->expression != NULL)
			continue;
		members[n].check = check;
		members[n].sketched = pipeline_is_sketched(s->target, check);
		members[n++].arguments = distribution_arguments(s->target, check);
	}
	/* Where the values are sorted anyway, what is exact costs no more. */
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			if (!members[j].sketched && strcmp(members[i].arguments, members[j].arguments) == 0)
				members[i].sketched = false;
	for (int i = 0; i < n; i++)
		if (!members[i].done)
			add_distribution(s, members, n, i);
}

/*
 * Make the statement that evaluates the checks, over the target or over `from`
 * in its place.  *columns gets a ScanColumn for each column of its result.
 */
char *
pipeline_scan_statement(const ScanTarget *target, const char *from,
						const List *checks, List **columns)
{
	Statement	s = {.target = target};
	ListCell   *lc;

	initStringInfo(&s.list);
	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (check->expression == NULL)
			add_aggregates(&s, check);
	}
	add_calls(&s, checks, from == NULL && target->places != NULL, from == NULL);
	if (from == NULL)
		add_keys(&s, checks);
	add_distributions(&s, checks);
	*columns = s.columns;
	if (from)
		return psprintf("SELECT %s FROM %s", s.list.data, from);
	return psprintf("SELECT %s %s", s.list.data, pipeline_from_where(target, NULL));
}

/*
 * Calls of _unexpected that tell for a row of the target which of the checks it
 * fails.  *members gets, for each call, the checks that its numbers mean.
 */
List *
pipeline_unexpected_calls(const ScanTarget *target, const List *checks, List **members)
{
	List	   *calls = NIL;
	Call	   *call = NULL;

	*members = NIL;
	for (int i = 0; i <= list_length(checks); i++)
	{
		Check	   *check = i < list_length(checks) ? list_nth(checks, i) : NULL;

		if (call != NULL && (check == NULL ||
							 list_length(call->args) + most_arguments(check) > MAX_CHECK_ARGS))
		{
			StringInfoData sql;

			initStringInfo(&sql);
			append_call(&sql, "_unexpected(NULL::pg_catalog.int4, ", call);
			calls = lappend(calls, sql.data);
			*members = lappend(*members, call->members);
			call = NULL;
		}
		if (check == NULL)
			break;
		if (call == NULL)
		{
			call = new_call(target, false);
			/* Samples and their keys are not asked for. */
			call->args = NIL;
			resetStringInfo(&call->keys);
		}
		add_check(call, target, check);
	}
	return calls;
}
