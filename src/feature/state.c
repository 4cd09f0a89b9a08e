/*
 * state.c
 *	  What a feature keeps while its window slides over one entity.
 */
#include "postgres.h"

#include "feature/feature.h"

static bool
sums_floats(const Input *input)
{
	return input->sum_method == SUM_FLOAT4 || input->sum_method == SUM_FLOAT8;
}

/* Make what is kept from entity to entity, in the current context. */
void
feature_state_create(FeatureState *state, const Feature *feature,
					 const Input *input)
{
	memset(state, 0, sizeof(FeatureState));
	switch (feature->spec->aggregate)
	{
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			if (!sums_floats(input))
				break;
			/* FALLTHROUGH */
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
		case AGGREGATE_DECAYED_SUM:
			state->stacks = two_stacks_create(feature->spec, input, feature->input);
			break;
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			state->sketch = sketch_create(feature->spec->precision);
			break;
		default:
			break;
	}
}

/* Forget the last entity, and make what the new one needs, in the current context. */
void
feature_state_start(FeatureState *state, const Feature *feature,
					const Input *input, const Stream *stream)
{
	AggregateKind kind = feature->spec->aggregate;

	memset(&state->distinct, 0, sizeof(DistinctCount));
	if (state->stacks != NULL)
		two_stacks_start(state->stacks, stream->nevents);
	if (state->sketch != NULL)
		sketch_start(state->sketch, stream->nevents);
	if (kind == AGGREGATE_PERCENTILE || kind == AGGREGATE_TOP_K)
		state->tree = rank_tree_create(input, kind == AGGREGATE_TOP_K);
	if (kind == AGGREGATE_OTHER)
		state->other = other_state_create(feature->other, stream->nevents);
}
