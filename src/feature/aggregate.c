/*
 * aggregate.c
 *	  What a window holds, exactly as PostgreSQL's own aggregates say it.
 *
 * Counts and exact sums are differences of prefixes (prefix.c).  What cannot
 * be subtracted is on two stacks; see also distinct.c, first_last.c and
 * moments.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "feature/partial.h"

/*
 * The value of a feature that sums exactly, of `count` events, by their sum.
 */
Datum
exact_sum_result(const Feature *feature, Numeric sum, int64 count)
{
	if (feature->spec->aggregate == AGGREGATE_AVG)
		return DirectFunctionCall2(numeric_div, NumericGetDatum(sum),
								   NumericGetDatum(int64_to_numeric(count)));
	return NumericGetDatum(sum);
}

static Datum
sum_result(const Feature *feature, const Input *input, int lo, int hi,
		   int64 count)
{
	if (feature->value_type == INT8OID)
		return Int64GetDatum((int64) ((uint64) input->sums[hi] -
									  (uint64) input->sums[lo]));
	return exact_sum_result(feature, input_sum(input, lo, hi), count);
}

/* Events per unit of time: what the window has, by its length. */
Datum
rate_result(const Feature *feature, const Window *window, int64 count,
			bool *isnull)
{
	double		length = (double) window->to - (double) window->from;

	*isnull = length <= 0 || TIMESTAMP_NOT_FINITE(window->to) ||
		TIMESTAMP_NOT_FINITE(window->from);
	return *isnull ? (Datum) 0 :
		Float8GetDatum((double) count * (double) feature->spec->per / length);
}

/* The value of a window of which no event counts. */
Datum
empty_window_result(const Feature *feature, const Window *window, bool *isnull)
{
	/* It is no key of a map. */
	*isnull = true;
	if (feature->by >= 0)
		return (Datum) 0;
	if (!feature->has_default && feature->spec->aggregate == AGGREGATE_RATE)
		return rate_result(feature, window, 0, isnull);
	return feature_empty_result(feature, isnull);
}

/* The value of a feature that has no event; of a map, one without keys. */
Datum
feature_empty_result(const Feature *feature, bool *isnull)
{
	*isnull = false;
	if (feature->has_default)
		return feature->default_value;
	if (feature->spec->aggregate == AGGREGATE_COUNT ||
		feature->spec->aggregate == AGGREGATE_COUNT_DISTINCT ||
		feature->spec->aggregate == AGGREGATE_APPROX_COUNT_DISTINCT)
		return Int64GetDatum(0);
	if (feature->spec->aggregate == AGGREGATE_EXISTS)
		return BoolGetDatum(false);
	*isnull = true;
	return (Datum) 0;
}

/*
 * The value of a feature for the row at which its window stands; `input` is
 * the feature's, or NULL where every event counts, and time is counted from
 * `time`.
 */
Datum
feature_result(const Feature *feature, FeatureState *state, const Input *input,
			   const Stream *stream, const Window *window, int64 time,
			   bool *isnull)
{
	int			lo = window->lo;
	int			hi = window->hi;
	int64		count;

	if (hi <= lo)
		return empty_window_result(feature, window, isnull);
	count = input ? input->counts[hi] - input->counts[lo] : hi - lo;
	if (count == 0)
		return empty_window_result(feature, window, isnull);
	*isnull = false;
	if (state->stacks != NULL)
		return two_stacks_result(state->stacks, feature, stream, lo, hi, count,
								 time, isnull);
	switch (feature->spec->aggregate)
	{
		case AGGREGATE_COUNT:
			return Int64GetDatum(count);
		case AGGREGATE_EXISTS:
			return BoolGetDatum(true);
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
			return sum_result(feature, input, lo, hi, count);
		case AGGREGATE_COUNT_DISTINCT:
			return Int64GetDatum(distinct_count(&state->distinct, input, lo, hi));
		case AGGREGATE_FIRST:
		case AGGREGATE_LAST:
			return first_last_value(feature, input, stream, lo, hi);
		case AGGREGATE_TIME_SINCE_FIRST:
		case AGGREGATE_TIME_SINCE_LAST:
			return first_last_time_since(feature, input, stream, lo, hi,
										 count, time);
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			return moments_result(feature, input, lo, hi, count, isnull);
		case AGGREGATE_RATE:
			return rate_result(feature, window, count, isnull);
		case AGGREGATE_LAST_K:
			return sequence_last(input, stream, lo, hi, feature->spec->k);
		case AGGREGATE_TOP_K:
			rank_tree_move(state->tree, lo, hi);
			return rank_tree_top(state->tree, feature->spec->k, input, stream);
		case AGGREGATE_PERCENTILE:
			rank_tree_move(state->tree, lo, hi);
			return rank_tree_percentile(state->tree, feature->spec, input,
										stream, count);
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			return Int64GetDatum(sketch_count(state->sketch, input,
											  feature->input, stream, lo, hi));
		case AGGREGATE_OTHER:
			return other_aggregate_result(state->other, lo, hi, isnull);
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
		case AGGREGATE_DECAYED_SUM:
			break;				/* on two stacks */
	}
	pg_unreachable();
}
