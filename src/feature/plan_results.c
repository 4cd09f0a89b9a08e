/*
 * plan_results.c
 *	  The type of each feature's column, and what its input must keep for it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "feature/analysis.h"

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
			feature->value_type = avg ? NUMERICOID : INT8OID;
			break;
		case INT8OID:
			input->sum_method = SUM_INT128;
			feature->value_type = NUMERICOID;
			break;
		case NUMERICOID:
			input->sum_method = SUM_NUMERIC;
			feature->value_type = NUMERICOID;
			break;
		case FLOAT4OID:
			input->sum_method = SUM_FLOAT4;
			feature->value_type = avg ? FLOAT8OID : FLOAT4OID;
			break;
		case FLOAT8OID:
			input->sum_method = SUM_FLOAT8;
			feature->value_type = FLOAT8OID;
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

/* The value must be hashed. */
static void
plan_hash(Feature *feature, Input *input)
{
	if (!OidIsValid(lookup_type_cache(input->type, TYPECACHE_HASH_PROC)->hash_proc) ||
		input->typlen == -2)
		refuse_type(feature, input->type, "It takes any type with a hash function.");
	input->needs_hashes = true;
}

/* The result is an array of values. */
static void
plan_array(Feature *feature, Input *input)
{
	plan_order(feature, input);
	feature->value_type = get_array_type(input->type);
	if (!OidIsValid(feature->value_type))
		refuse_type(feature, input->type, "It takes any type of which there are arrays.");
	feature->result_collation = input->collation;
}

static void
plan_percentile(Feature *feature, Input *input)
{
	if (feature->spec->continuous && input->type != FLOAT8OID &&
		input->type != INTERVALOID)
		refuse_type(feature, input->type,
					"Numbers and intervals are interpolated; of other values args {\"method\": \"disc\"} takes the one that is there.");
	plan_order(feature, input);
	input->needs_ranks = true;
	feature->value_type = input->type;
	feature->result_collation = input->collation;
}

/* Find the type of the aggregate's value; note what the input must keep. */
static void
plan_value_type(Feature *feature, Input *input)
{
	switch (feature->spec->aggregate)
	{
		case AGGREGATE_COUNT:
			feature->value_type = INT8OID;
			break;
		case AGGREGATE_EXISTS:
			feature->value_type = BOOLOID;
			break;
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
			plan_sum(feature, input);
			break;
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
			plan_order(feature, input);
			feature->value_type = input->type;
			feature->result_collation = input->collation;
			break;
		case AGGREGATE_FIRST:
		case AGGREGATE_LAST:
			plan_order(feature, input);
			input->needs_ends = true;
			feature->value_type = input->type;
			feature->result_collation = input->collation;
			break;
		case AGGREGATE_COUNT_DISTINCT:
			plan_order(feature, input);
			input->needs_links = true;
			feature->value_type = INT8OID;
			break;
		case AGGREGATE_TIME_SINCE_FIRST:
		case AGGREGATE_TIME_SINCE_LAST:
			feature->value_type = INTERVALOID;
			break;
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			plan_sum(feature, input);
			input->needs_squares = input->sum_method != SUM_FLOAT4 &&
				input->sum_method != SUM_FLOAT8;
			feature->value_type = input->needs_squares ? NUMERICOID : FLOAT8OID;
			break;
		case AGGREGATE_LAST_K:
			plan_array(feature, input);
			input->needs_sequence = true;
			break;
		case AGGREGATE_TOP_K:
			plan_array(feature, input);
			input->needs_ranks = true;
			break;
		case AGGREGATE_RATE:
			feature->value_type = FLOAT8OID;
			break;
		case AGGREGATE_PERCENTILE:
			plan_percentile(feature, input);
			break;
		case AGGREGATE_DECAYED_SUM:
			if (input->type != FLOAT8OID)
				refuse_type(feature, input->type, "It takes numbers.");
			feature->value_type = FLOAT8OID;
			break;
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			plan_hash(feature, input);
			feature->value_type = INT8OID;
			break;
		case AGGREGATE_OTHER:
			/* plan_inputs.c has found it. */
			break;
	}
}

/* Find the type of the column. */
void
plan_result(FeatureContext *context, Feature *feature, Stream *stream)
{
	Input	   *input = feature->input < 0 ? NULL :
		list_nth(stream->inputs, feature->input);

	if (input != NULL)
		input->needs_count = true;
	else
		stream->wants_all = true;
	plan_value_type(feature, input);
	feature->result_type = feature->value_type;
	if (feature->by < 0)
		return;
	by_plan(feature);
	feature->result_type = JSONBOID;
	feature->result_collation = InvalidOid;
}

/* The value of an empty window: as given, or that of the aggregate. */
void
plan_default(FeatureContext *context, Feature *feature)
{
	Oid			infunc;
	Oid			ioparam;

	const char *text = feature->spec->default_value;

	/* A map of no value has no keys. */
	if (text == NULL && feature->by >= 0)
		text = "{}";
	if (text == NULL)
		return;
	context->argument = "default_value";
	getTypeInputInfo(feature->result_type, &infunc, &ioparam);
	feature->default_value = OidInputFunctionCall(infunc, unconstify(char *, text),
												  ioparam, -1);
	feature->has_default = true;
	context->argument = NULL;
}

