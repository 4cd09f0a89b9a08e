/*
 * plan.c
 *	  Analyse features against the spine and their sources, as the current
 *	  user with the current search_path.
 *
 * Equal (value, filter) of a stream become one input; see plan_windows.c for
 * the rest.  The entity's columns get one type each, common to the
 * spine and every stream, by implicit casts only, so that no value of either
 * side can fail to be cast.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "feature/feature.h"

/* What an error during the analysis of a feature is about. */
typedef struct FeatureContext
{
	const char *feature;
	const char *argument;		/* NULL: the feature as such */
	const char *sql;			/* NULL, or the statement under analysis */
	ErrorContextCallback callback;
} FeatureContext;

static void
feature_context(void *arg)
{
	FeatureContext *context = arg;
	int			position = geterrposition();

	if (context->sql != NULL && position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->sql);
	}
	if (context->argument != NULL)
		errcontext("argument \"%s\" of feature \"%s\"", context->argument,
				   context->feature);
	else
		errcontext("feature \"%s\"", context->feature);
}

static void
context_begin(FeatureContext *context, const char *feature)
{
	context->feature = feature;
	context->argument = NULL;
	context->sql = NULL;
	context->callback.callback = feature_context;
	context->callback.arg = context;
	context->callback.previous = error_context_stack;
	error_context_stack = &context->callback;
}

static void
context_end(FeatureContext *context)
{
	error_context_stack = context->callback.previous;
}

/* ---- the spine ------------------------------------------------------------- */

static void
plan_spine(FeaturePlan *plan, const char *spine, List *entity,
		   const char *event_time)
{
	ListCell   *lc;
	int			i = 0;

	plan->spine = pipeline_source(spine, "spine");
	if (entity == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"entity\" must name at least one column")));
	plan->entity = entity;
	plan->event_time = pstrdup(event_time);
	plan->nkeys = list_length(entity);
	plan->key_types = palloc_array(Oid, plan->nkeys);
	foreach(lc, entity)
	{
		Oid			type = plan_source_attribute(plan->spine, lfirst(lc), "entity")->atttypid;

		plan->key_types[i] = getBaseType(type);
		plan_check_hashable(lfirst(lc), plan->key_types[i++]);
	}
	plan->local = plan_time_is_local(plan->spine, event_time, "event_time");
	plan->nullable_time = plan_column_is_nullable(plan->spine, event_time);
}

/* ---- expressions ------------------------------------------------------------- */

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
 * and its type and collation.
 */
static char *
analyse_expression(FeatureContext *context, const Stream *stream,
				   const char *text, const char *argument,
				   Oid *type, Oid *collation)
{
	char	   *expression;
	RawStmt    *raw;
	Query	   *query;
	TargetEntry *entry;
	char	   *sql;

	context->argument = argument;
	expression = pipeline_expression(text, argument);
	sql = psprintf("SELECT %s FROM %s", expression, from_clause(stream->source));
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
	if (query->hasAggs || query->hasWindowFuncs || query->hasTargetSRFs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must give one value a row: it has %s",
						argument,
						query->hasAggs ? "an aggregate" :
						query->hasWindowFuncs ? "a window function" :
						"a set-returning function"),
				 errdetail("It is: %s", text),
				 errhint("Do that in a query as the source.")));
	entry = linitial_node(TargetEntry, query->targetList);
	*type = getBaseType(exprType((Node *) entry->expr));
	*collation = exprCollation((Node *) entry->expr);
	context->argument = NULL;
	return expression;
}

/*
 * Find or make the input of a feature: the column of the scan that is its
 * value where the filter holds and NULL elsewhere; or, for a feature that
 * only asks whether rows count, true where they do.
 */
static int
input_for(FeatureContext *context, Stream *stream, const FeatureSpec *spec)
{
	Input	   *input = palloc0(sizeof(Input));
	char	   *value = NULL;
	char	   *filter = NULL;
	Oid			type;
	Oid			collation;
	ListCell   *lc;

	if (spec->filter != NULL)
	{
		filter = analyse_expression(context, stream, spec->filter, "filter",
									&type, &collation);
		if (type != BOOLOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("argument \"filter\" must be of type boolean, not type %s",
							format_type_be(type)),
					 errdetail("It is: %s", spec->filter)));
	}
	if (spec->value != NULL)
		value = analyse_expression(context, stream, spec->value, "value",
								   &input->type, &input->collation);
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

/* ---- result types --------------------------------------------------------------- */

static void
refuse_type(const Feature *feature, Oid type, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("aggregate \"%s\" is not available for type %s",
					feature->spec->aggregate_name, format_type_be(type)),
			 errdetail("The value is: %s", feature->spec->value),
			 errhint("%s", hint)));
}

static void
plan_sum(Feature *feature, Input *input)
{
	bool		avg = feature->spec->aggregate == AGGREGATE_AVG;

	switch (input->type)
	{
		case INT2OID:
		case INT4OID:
			input->sum_method = SUM_INT64;
			feature->result_type = avg ? NUMERICOID : INT8OID;
			break;
		case INT8OID:
			input->sum_method = SUM_INT128;
			feature->result_type = NUMERICOID;
			break;
		case NUMERICOID:
			input->sum_method = SUM_NUMERIC;
			feature->result_type = NUMERICOID;
			break;
		case FLOAT4OID:
			input->sum_method = SUM_FLOAT4;
			feature->result_type = avg ? FLOAT8OID : FLOAT4OID;
			break;
		case FLOAT8OID:
			input->sum_method = SUM_FLOAT8;
			feature->result_type = FLOAT8OID;
			break;
		default:
			refuse_type(feature, input->type,
						"It takes smallint, integer, bigint, numeric, real and double precision: cast the value to one of them.");
	}
}

/* The value must have an order: give the input its comparison. */
static void
plan_order(Feature *feature, Input *input)
{
	if (!OidIsValid(lookup_type_cache(input->type, TYPECACHE_CMP_PROC)->cmp_proc) ||
		input->typlen == -2)
		refuse_type(feature, input->type, "It takes any type with an order.");
	if (OidIsValid(get_typcollation(input->type)) &&
		!OidIsValid(input->collation))
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_COLLATION),
				 errmsg("could not determine which collation to use for aggregate \"%s\"",
						feature->spec->aggregate_name),
				 errdetail("The value is: %s", feature->spec->value),
				 errhint("Use the COLLATE clause to set the collation explicitly.")));
	if (input->order == NULL)
		input->order = value_order_create(input);
}

static void
plan_result(Feature *feature, Stream *stream)
{
	Input	   *input = feature->input < 0 ? NULL :
		list_nth(stream->inputs, feature->input);

	if (input != NULL)
		input->needs_count = true;
	else
		stream->wants_all = true;
	switch (feature->spec->aggregate)
	{
		case AGGREGATE_COUNT:
			feature->result_type = INT8OID;
			break;
		case AGGREGATE_EXISTS:
			feature->result_type = BOOLOID;
			break;
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
			plan_sum(feature, input);
			break;
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
			plan_order(feature, input);
			feature->result_type = input->type;
			feature->result_collation = input->collation;
			break;
		case AGGREGATE_FIRST:
		case AGGREGATE_LAST:
			plan_order(feature, input);
			input->needs_ends = true;
			feature->result_type = input->type;
			feature->result_collation = input->collation;
			break;
		case AGGREGATE_COUNT_DISTINCT:
			plan_order(feature, input);
			input->needs_links = true;
			feature->result_type = INT8OID;
			break;
		case AGGREGATE_TIME_SINCE_FIRST:
		case AGGREGATE_TIME_SINCE_LAST:
			feature->result_type = INTERVALOID;
			break;
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			plan_sum(feature, input);
			input->needs_squares = input->sum_method != SUM_FLOAT4 &&
				input->sum_method != SUM_FLOAT8;
			feature->result_type = input->needs_squares ? NUMERICOID : FLOAT8OID;
			break;
	}
}

static void
plan_default(FeatureContext *context, Feature *feature)
{
	Oid			infunc;
	Oid			ioparam;

	if (feature->spec->default_value == NULL)
		return;
	context->argument = "default_value";
	getTypeInputInfo(feature->result_type, &infunc, &ioparam);
	feature->default_value = OidInputFunctionCall(infunc,
												  feature->spec->default_value,
												  ioparam, -1);
	feature->has_default = true;
	context->argument = NULL;
}

static void
plan_feature(FeaturePlan *plan, const FeatureSpec *spec)
{
	Feature    *feature = palloc0(sizeof(Feature));
	FeatureContext context;
	Stream	   *stream;
	Interval	zero = {0};

	context_begin(&context, spec->name);
	feature->spec = spec;
	feature->stream = plan_stream(plan, spec);
	stream = list_nth(plan->streams, feature->stream);
	feature->input = input_for(&context, stream, spec);
	feature->window = plan_window(plan, feature->stream, spec);
	feature->at = plan_shift(plan, spec->align, &zero, false);
	plan_result(feature, stream);
	plan_default(&context, feature);
	plan->features = lappend(plan->features, feature);
	context_end(&context);
}

/* ---- the result -------------------------------------------------------------------- */

static void
check_column_names(const TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		for (int j = 0; j < i; j++)
		{
			const char *name = NameStr(TupleDescAttr(desc, i)->attname);

			if (strcmp(name, NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" would appear twice in the result", name),
						 errhint("Each column of the spine and each feature needs a name of its own.")));
		}
	}
}

static void
plan_columns(FeaturePlan *plan)
{
	int			nspine = plan->spine->columns->natts;
	int			natts = nspine + list_length(plan->features);
	ListCell   *lc;

	if (natts >= MaxHeapAttributeNumber)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("the spine's columns and the features are too many: %d", natts),
				 errhint("The limit is %d.", MaxHeapAttributeNumber - 1)));
	plan->result = CreateTemplateTupleDesc(natts);
	for (int i = 0; i < nspine; i++)
		TupleDescCopyEntry(plan->result, i + 1, plan->spine->columns, i + 1);
	foreach(lc, plan->features)
	{
		Feature    *feature = lfirst(lc);
		int			attno = nspine + foreach_current_index(lc) + 1;

		TupleDescInitEntry(plan->result, attno, feature->spec->name,
						   feature->result_type, -1, 0);
		if (OidIsValid(feature->result_collation))
			TupleDescInitEntryCollation(plan->result, attno,
										feature->result_collation);
	}
	TupleDescFinalize(plan->result);
	check_column_names(plan->result);
}

/*
 * Analyse the features over a spine.  `specs` is a list of FeatureSpec; with
 * none, only the spine is analysed.  `knowledge_time` is a column of every
 * source, or NULL.  The time zone is the session's.
 */
FeaturePlan *
feature_plan(const char *spine, List *entity, const char *event_time,
			 const char *knowledge_time, List *specs)
{
	FeaturePlan *plan = palloc0(sizeof(FeaturePlan));
	ListCell   *lc;

	plan->knowledge_time = knowledge_time;

	plan_spine(plan, spine, entity, event_time);
	foreach(lc, specs)
		plan_feature(plan, lfirst(lc));
	/* A type may have widened after an earlier stream was merged. */
	foreach(lc, plan->streams)
	{
		Stream	   *stream = lfirst(lc);

		plan_merge_key_types(plan, stream->source, stream->entity);
	}
	plan_check_key_types(plan);
	plan_columns(plan);
	return plan;
}

/*
 * Type of a column for a definition: qualified, with its modifier, and with
 * its collation where that is not the type's own.
 */
char *
feature_column_type(TupleDesc desc, int column)
{
	Form_pg_attribute att = TupleDescAttr(desc, column);
	char	   *type = format_type_extended(att->atttypid, att->atttypmod,
											FORMAT_TYPE_TYPEMOD_GIVEN |
											FORMAT_TYPE_FORCE_QUALIFY);
	Oid			collation = att->attcollation;

	if (OidIsValid(collation) && collation != get_typcollation(att->atttypid))
		type = psprintf("%s COLLATE %s", type,
						DatumGetCString(DirectFunctionCall1(regcollationout,
															ObjectIdGetDatum(collation))));
	return type;
}

/* The column definition list to follow AS. */
char *
feature_column_list(const FeaturePlan *plan)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < plan->result->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(plan->result, i);

		appendStringInfo(&buf, "%s%s %s", i ? ", " : "",
						 quote_identifier(NameStr(att->attname)),
						 format_type_with_typemod(att->atttypid, att->atttypmod));
	}
	return buf.data;
}
