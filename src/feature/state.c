/*
 * state.c
 *	  What a feature keeps while its window slides over one entity.
 */
#include "postgres.h"

#include "feature/partial.h"

/* Make what is kept from entity to entity, in the current context. */
void
feature_state_create(FeatureState *state, const Feature *feature,
					 const Input *input)
{
	memset(state, 0, sizeof(FeatureState));
	if (partial_applies(feature->spec, input))
		state->stacks = two_stacks_create(feature->spec, input, feature->input);
	if (feature->spec->aggregate == AGGREGATE_APPROX_COUNT_DISTINCT)
		state->sketch = sketch_create(feature->spec->precision);
}

/* Forget the last entity, and make what the new one needs, in the current context. */
void
feature_state_start(FeatureState *state, const Feature *feature,
					const Input *input, const Stream *stream)
{
	AggregateKind kind = feature->spec->aggregate;

	memset(&state->distinct, 0, sizeof(DistinctCount));
	state->set = NULL;
	if (state->stacks != NULL)
		two_stacks_start(state->stacks, stream->nevents);
	if (state->sketch != NULL)
		sketch_start(state->sketch, stream->nevents);
	if (kind == AGGREGATE_PERCENTILE || kind == AGGREGATE_TOP_K)
		state->tree = rank_tree_create(input->ranks, input->nranks, kind == AGGREGATE_TOP_K);
	if (kind == AGGREGATE_OTHER)
		state->other = other_state_create(feature, input, stream);
}
