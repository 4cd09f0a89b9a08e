/*
 * plan.c
 *	  Analyse features against the spine and their sources, as the current
 *	  user with the current search_path: see plan_inputs.c, plan_results.c and
 *	  plan_windows.c for the parts of a feature.
 *
 * The entity's columns get one type each, common to the
 * spine and every stream, by implicit casts only, so that no value of either
 * side can fail to be cast.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "feature/analysis.h"

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
	plan->epoch = plan_time_is_epoch(plan->spine, event_time, "event_time");
	plan->nullable_time = plan_column_is_nullable(plan->spine, event_time);
}

/* Plan one feature, which is one column of the result. */
static void
plan_column(FeatureContext *context, FeaturePlan *plan, const FeatureSpec *spec,
			const char *by)
{
	Feature    *feature = palloc0(sizeof(Feature));
	Stream	   *stream;
	Interval	zero = {0};

	feature->spec = spec;
	feature->stream = plan_stream(plan, spec);
	stream = list_nth(plan->streams, feature->stream);
	feature->input = plan_input(context, stream, feature);
	feature->window = plan_window(plan, feature->stream, spec);
	feature->at = plan_shift(plan, spec->align, &zero, false);
	feature->by = by ? plan_by(context, stream, spec) : -1;
	plan_result(context, feature, stream);
	plan_default(context, feature);
	plan->features = lappend(plan->features, feature);
}

/* A feature over the events of one value of `by`, in a column of its own. */
static FeatureSpec *
spec_of_value(FeatureContext *context, FeaturePlan *plan,
			  const FeatureSpec *spec, const char *value)
{
	FeatureSpec *one = palloc(sizeof(FeatureSpec));
	Stream	   *stream = list_nth(plan->streams, plan_stream(plan, spec));
	Expr	   *expr;
	char	   *by = plan_expression(context, stream, spec->by, "by", &expr);

	*one = *spec;
	one->whole = spec;
	one->name = psprintf("%s_%s", spec->name, value);
	if (strlen(one->name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of a column is too long: \"%s\"", one->name),
				 errhint("It is the feature's name and the value of \"by\": at most %d bytes. Name the value shorter in the expression, such as CASE WHEN ... THEN 'short' END.",
						 NAMEDATALEN - 1)));
	one->filter = psprintf("%s%s%s::pg_catalog.text OPERATOR(pg_catalog.=) %s",
						   spec->filter ? pipeline_expression(spec->filter, "filter") : "",
						   spec->filter ? " AND " : "", by, quote_literal_cstr(value));
	return one;
}

static void
plan_feature(FeaturePlan *plan, const FeatureSpec *spec)
{
	FeatureContext context;
	ListCell   *lc;

	context_begin(&context, spec->name);
	if (spec->values == NIL)
		plan_column(&context, plan, spec, spec->by);
	foreach(lc, spec->values)
		plan_column(&context, plan, spec_of_value(&context, plan, spec, lfirst(lc)),
					NULL);
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
	plan->specs = specs;
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
