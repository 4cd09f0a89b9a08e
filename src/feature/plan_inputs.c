/*
 * plan_inputs.c
 *	  The expressions of a feature: what is aggregated, of which events, spread
 *	  over what.
 *
 * Equal (value, filter) of a stream become one input, one column of its scan.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "feature/analysis.h"

/* Follow FROM in statements in which user expressions are evaluated. */
static char *
from_clause(const Source *source)
{
	return OidIsValid(source->relid) ? source->from :
		psprintf("%s AS source", source->from);
}

/* Is there a FOR UPDATE or the like anywhere? */
static bool
locks_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return ((Query *) node)->rowMarks != NIL ||
			query_tree_walker((Query *) node, locks_rows, context, 0);
	return expression_tree_walker(node, locks_rows, context);
}

/*
 * Analyse one expression over a stream's source: return it ready for pasting,
 * and as it was analysed.  An aggregate is none, unless it is the one that is
 * put around the expression: its quoted name, and what follows the expression
 * in the call.
 */
static char *
analyse(FeatureContext *context, const Stream *stream, const char *text,
		const char *argument, const char *aggregate, const char *more, Expr **result)
{
	char	   *expression;
	RawStmt    *raw;
	Query	   *query;
	TargetEntry *entry;
	char	   *sql;

	context->argument = argument;
	expression = pipeline_expression(text, argument);
	sql = aggregate ?
		psprintf("SELECT %s(%s%s) FROM %s", aggregate, expression, more,
				 from_clause(stream->source)) :
		psprintf("SELECT %s FROM %s", expression, from_clause(stream->source));
	context->sql = sql;
	raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	query = parse_analyze_fixedparams(raw, sql, NULL, 0, NULL);
	context->sql = NULL;
	if (list_length(query->targetList) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is not one expression", argument),
				 errdetail("It is: %s", text),
				 errhint("Give one SQL expression over the source's columns, without an alias.")));
	if (locks_rows((Node *) query, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not lock rows", argument),
				 errdetail("It is: %s", text)));
	if ((query->hasAggs && aggregate == NULL) || query->hasWindowFuncs || query->hasTargetSRFs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must give one value a row: it has %s",
						argument,
						query->hasAggs && aggregate == NULL ? "an aggregate" :
						query->hasWindowFuncs ? "a window function" :
						"a set-returning function"),
				 errdetail("It is: %s", text),
				 errhint("Do that in a query as the source.")));
	entry = linitial_node(TargetEntry, query->targetList);
	*result = entry->expr;
	context->argument = NULL;
	return expression;
}

/* The same of an expression that stands alone. */
char *
plan_expression(FeatureContext *context, const Stream *stream,
				const char *text, const char *argument, Expr **result)
{
	return analyse(context, stream, text, argument, NULL, NULL, result);
}

static bool
is_number(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
			return true;
	}
	return false;
}

/* Cast the value of an input to another type. */
static void
cast_input(Input *input, char **value, Oid type)
{
	if (type == input->type)
		return;
	*value = psprintf("(%s::%s)", *value,
					  format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
										   FORMAT_TYPE_FORCE_QUALIFY));
	input->type = type;
}

/* The expression of an input as the aggregate function wants it. */
static void
adapt_input(Input *input, char **value, const TargetEntry *wanted)
{
	Node	   *expr = (Node *) wanted->expr;

	if (exprType(expr) != input->type)
		cast_input(input, value, exprType(expr));
	input->collation = exprCollation(expr);
}

/* The call of the aggregate function of that name, analysed. */
static Aggref *
analyse_call(FeatureContext *context, const Stream *stream, const FeatureSpec *spec)
{
	StringInfoData more;
	Expr	   *expr;
	ListCell   *lc;

	initStringInfo(&more);
	foreach(lc, spec->arguments)
		appendStringInfo(&more, ", %s", plan_expression(context, stream, lfirst(lc), "args", &expr));
	(void) analyse(context, stream, spec->value, "value",
				   other_aggregate_name(spec->aggregate_name), more.data, &expr);
	while (IsA(expr, RelabelType))
		expr = ((RelabelType *) expr)->arg;
	if (!IsA(expr, Aggref))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"aggregate\": \"%s\" is not an aggregate function",
						spec->aggregate_name)));
	return (Aggref *) expr;
}

/* The value as the aggregate function wants it. */
static void
plan_other(FeatureContext *context, const Stream *stream, Feature *feature,
		   Input *input, char **value)
{
	Aggref	   *aggref = analyse_call(context, stream, feature->spec);

	feature->other = other_aggregate_create(aggref);
	if (feature->other == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("aggregate function %s cannot be used over a sliding window",
						format_procedure(aggref->aggfnoid)),
				 errhint("It needs a combine function, or an inverse transition function and a final function that leaves the state as it is, and is neither variadic nor an ordered-set aggregate.")));
	feature->value_type = aggref->aggtype;
	feature->result_collation = aggref->aggcollid;
	feature->call = aggref;
	adapt_input(input, value, linitial_node(TargetEntry, aggref->args));
}

/* The value of a feature: its expression, of the type that is aggregated. */
static char *
plan_value(FeatureContext *context, const Stream *stream, Feature *feature,
		   Input *input)
{
	const FeatureSpec *spec = feature->spec;
	Expr	   *expr;
	char	   *value = plan_expression(context, stream, spec->value, "value", &expr);

	input->type = getBaseType(exprType((Node *) expr));
	input->collation = exprCollation((Node *) expr);
	if (spec->aggregate == AGGREGATE_OTHER)
		plan_other(context, stream, feature, input, &value);
	else if ((spec->aggregate == AGGREGATE_DECAYED_SUM ||
			  (spec->aggregate == AGGREGATE_PERCENTILE && spec->continuous)) &&
			 is_number(input->type))
		cast_input(input, &value, FLOAT8OID);
	return value;
}

static char *
plan_filter(FeatureContext *context, const Stream *stream, const FeatureSpec *spec)
{
	Expr	   *expr;
	char	   *filter = plan_expression(context, stream, spec->filter, "filter", &expr);
	Oid			type = getBaseType(exprType((Node *) expr));

	if (type != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument \"filter\" must be of type boolean, not type %s",
						format_type_be(type)),
				 errdetail("It is: %s", spec->filter)));
	return filter;
}

/* Find or make the input of a stream that is this column of its scan. */
static int
find_input(Stream *stream, Input *input)
{
	ListCell   *lc;

	foreach(lc, stream->inputs)
	{
		Input	   *other = lfirst(lc);

		if (other->presence == input->presence &&
			strcmp(other->sql, input->sql) == 0)
			return foreach_current_index(lc);
	}
	input->slot = -1;
	if (!input->presence)
	{
		get_typlenbyval(input->type, &input->typlen, &input->typbyval);
		input->slot = stream->nvalues++;
	}
	stream->inputs = lappend(stream->inputs, input);
	stream->nwords = (list_length(stream->inputs) + 31) / 32;
	return list_length(stream->inputs) - 1;
}

/*
 * Find or make the inputs of the arguments that follow the value in a call of
 * an aggregate function.  Return the filter, with the condition that none of
 * them is NULL: all are there of an event that counts.
 */
static char *
plan_arguments(FeatureContext *context, Stream *stream, Feature *feature,
			   char *filter)
{
	StringInfoData all;
	ListCell   *lc;

	initStringInfo(&all);
	appendStringInfo(&all, "(%s", filter ? filter : "true");
	foreach(lc, feature->spec->arguments)
	{
		Input	   *input = palloc0(sizeof(Input));
		Expr	   *expr;
		char	   *value = plan_expression(context, stream, lfirst(lc), "args", &expr);

		input->type = getBaseType(exprType((Node *) expr));
		adapt_input(input, &value, list_nth_node(TargetEntry, feature->call->args,
												 foreach_current_index(lc) + 1));
		input->sql = filter ? psprintf("CASE WHEN %s THEN %s END", filter, value) : value;
		feature->more_inputs = lappend_int(feature->more_inputs, find_input(stream, input));
		appendStringInfo(&all, " AND %s IS NOT NULL", value);
	}
	appendStringInfoChar(&all, ')');
	return all.data;
}

/*
 * Find or make the input of a feature: the column of the scan that is its
 * value where the filter holds and NULL elsewhere; or, for a feature that
 * only asks whether rows count, true where they do.
 */
int
plan_input(FeatureContext *context, Stream *stream, Feature *feature)
{
	const FeatureSpec *spec = feature->spec;
	Input	   *input = palloc0(sizeof(Input));
	char	   *value = NULL;
	char	   *filter = NULL;

	if (spec->filter != NULL)
		filter = plan_filter(context, stream, spec);
	if (spec->value != NULL)
		value = plan_value(context, stream, feature, input);
	if (spec->arguments != NIL)
		filter = plan_arguments(context, stream, feature, filter);
	if (value == NULL && filter == NULL)
		return -1;

	input->presence = !aggregate_needs_value(spec->aggregate);
	if (value == NULL)
		input->sql = filter;
	else if (input->presence)
		input->sql = psprintf("(%s IS NOT NULL)", value);
	else
		input->sql = value;
	if (value != NULL && filter != NULL)
		input->sql = psprintf("CASE WHEN %s THEN %s END", filter, input->sql);
	return find_input(stream, input);
}

/* The same of the values that a feature is spread over, as text. */
int
plan_by(FeatureContext *context, Stream *stream, const FeatureSpec *spec)
{
	Input	   *input = palloc0(sizeof(Input));
	Expr	   *expr;
	char	   *by = plan_expression(context, stream, spec->by, "by", &expr);
	int			number;

	input->type = TEXTOID;
	input->collation = C_COLLATION_OID;
	input->sql = psprintf("(%s::pg_catalog.text)", by);
	if (spec->filter != NULL)
		input->sql = psprintf("CASE WHEN %s THEN %s END",
							  plan_filter(context, stream, spec), input->sql);
	input->sql = psprintf("(%s COLLATE pg_catalog.\"C\")", input->sql);
	number = find_input(stream, input);
	input = list_nth(stream->inputs, number);
	if (input->order == NULL)
		input->order = value_order_create(input);
	return number;
}
