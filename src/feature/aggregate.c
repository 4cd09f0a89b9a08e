/*
 * aggregate.c
 *	  What a window holds, exactly as PostgreSQL's own aggregates say it.
 *
 * Counts and exact sums are differences of prefixes: per input and entity,
 * prefix i is over the first i events, so [lo, hi) is prefix hi less prefix
 * lo, for any number of windows and however their cursors move.  What cannot
 * be subtracted is on two stacks; see also distinct.c, first_last.c and
 * moments.c.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/numeric.h"

#include "feature/feature.h"

/* Sums of numerics: finite ones apart from those that cannot be subtracted. */
typedef struct NumericPrefix
{
	Numeric		sum;
	uint32		nans;
	uint32		plus;			/* Infinity */
	uint32		minus;			/* -Infinity */
	int32		scale;			/* of the event before it; -1: does not count */
	int32		wider;			/* the last prefix before it whose event has a
								 * greater scale; 0: none */
} NumericPrefix;

static Numeric
call_numeric(PGFunction function, Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(function, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

static int32
scale_of(Numeric number)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale,
											 NumericGetDatum(number)));
}

/* ---- prefixes ------------------------------------------------------------------ */

static void
count_prefix(Input *input, int index, const Stream *stream)
{
	uint32		count = 0;

	input->counts = MemoryContextAllocHuge(CurrentMemoryContext,
										   ((Size) stream->nevents + 1) * sizeof(uint32));
	input->counts[0] = 0;
	for (int i = 0; i < stream->nevents; i++)
	{
		count += record_has(stream->events[i], index);
		input->counts[i + 1] = count;
	}
}

/* Sums wrap around; the difference of two does not, if it fits. */
static void
int64_prefix(Input *input, int index, const Stream *stream)
{
	uint64		sum = 0;

	input->sums = MemoryContextAllocHuge(CurrentMemoryContext,
										 ((Size) stream->nevents + 1) * sizeof(int64));
	input->sums[0] = 0;
	for (int i = 0; i < stream->nevents; i++)
	{
		Record	   *record = stream->events[i];

		if (record_has(record, index))
		{
			Datum		value = record_value(record, stream, input);

			sum += (uint64) (int64) (input->type == INT2OID ?
									 DatumGetInt16(value) : DatumGetInt32(value));
		}
		input->sums[i + 1] = (int64) sum;
	}
}

static void
int128_prefix(Input *input, int index, const Stream *stream)
{
	int128		sum = 0;

	input->wide_sums = MemoryContextAllocHuge(CurrentMemoryContext,
											  ((Size) stream->nevents + 1) * sizeof(int128));
	input->wide_sums[0] = 0;
	for (int i = 0; i < stream->nevents; i++)
	{
		Record	   *record = stream->events[i];

		if (record_has(record, index))
			sum += DatumGetInt64(record_value(record, stream, input));
		input->wide_sums[i + 1] = sum;
	}
}

static void
numeric_add_to(NumericPrefix *next, Numeric value)
{
	if (numeric_is_nan(value))
		next->nans++;
	else if (numeric_is_inf(value))
	{
		Numeric		zero = int64_to_numeric(0);

		if (DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(value),
											 NumericGetDatum(zero))))
			next->plus++;
		else
			next->minus++;
	}
	else
	{
		next->scale = scale_of(value);
		next->sum = call_numeric(numeric_add, next->sum, value);
	}
}

static void
numeric_prefix(Input *input, int index, const Stream *stream)
{
	NumericPrefix *prefix;

	prefix = MemoryContextAllocHuge(CurrentMemoryContext,
									((Size) stream->nevents + 1) * sizeof(NumericPrefix));
	memset(&prefix[0], 0, sizeof(NumericPrefix));
	prefix[0].sum = int64_to_numeric(0);
	prefix[0].scale = -1;
	for (int i = 0; i < stream->nevents; i++)
	{
		Record	   *record = stream->events[i];

		CHECK_FOR_INTERRUPTS();
		prefix[i + 1] = prefix[i];
		prefix[i + 1].scale = -1;
		if (record_has(record, index))
			numeric_add_to(&prefix[i + 1],
						   DatumGetNumeric(record_value(record, stream, input)));
		prefix[i + 1].wider = i;
		while (prefix[i + 1].wider > 0 &&
			   prefix[prefix[i + 1].wider].scale <= prefix[i + 1].scale)
			prefix[i + 1].wider = prefix[prefix[i + 1].wider].wider;
	}
	input->numerics = prefix;
}

/*
 * Make the prefixes of an input over the events of a new entity, in the
 * current context, which lives as long as the entity.
 */
void
input_start(Input *input, int index, const Stream *stream)
{
	if (input->needs_count)
		count_prefix(input, index, stream);
	if (input->needs_links)
		distinct_start(input, index, stream);
	if (input->needs_ends)
		first_last_start(input, index, stream);
	if (input->needs_squares)
		moments_start(input, index, stream);
	if (input->needs_ranks)
		ranks_start(input, index, stream);
	if (input->needs_sequence)
		sequence_start(input, index, stream);
	if (input->needs_hashes)
		sketch_hashes(input, index, stream);
	switch (input->sum_method)
	{
		case SUM_INT64:
			int64_prefix(input, index, stream);
			break;
		case SUM_INT128:
			int128_prefix(input, index, stream);
			break;
		case SUM_NUMERIC:
			numeric_prefix(input, index, stream);
			break;
		default:
			break;
	}
}

/* ---- results --------------------------------------------------------------------- */

/* The number as numeric. */
Numeric
int128_to_numeric(int128 value)
{
	const int64 unit = INT64CONST(1000000000000000000);

	if (value >= PG_INT64_MIN && value <= PG_INT64_MAX)
		return int64_to_numeric((int64) value);
	/* The sum of 2^31 bigints is below 2^63 units. */
	return call_numeric(numeric_add,
						call_numeric(numeric_mul,
									 int64_to_numeric((int64) (value / unit)),
									 int64_to_numeric(unit)),
						int64_to_numeric((int64) (value % unit)));
}

/*
 * The display scale of a sum is the greatest among its values; a difference
 * of prefixes may have more, from values outside the window.
 */
static Numeric
with_scale_of(Numeric sum, const NumericPrefix *prefix, int lo, int hi)
{
	int32		scale = 0;

	/* From wider to wider: as many steps as there are scales at most. */
	for (int i = hi; i > lo; i = prefix[i].wider)
		scale = Max(scale, prefix[i].scale);
	if (scale_of(sum) == scale)
		return sum;
	return DatumGetNumeric(DirectFunctionCall2(numeric_round,
											   NumericGetDatum(sum),
											   Int32GetDatum(scale)));
}

static Numeric
special_numeric(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

static Numeric
exact_sum(const Input *input, int lo, int hi)
{
	const NumericPrefix *prefix = input->numerics;
	uint32		plus = prefix[hi].plus - prefix[lo].plus;
	uint32		minus = prefix[hi].minus - prefix[lo].minus;

	if (prefix[hi].nans > prefix[lo].nans || (plus > 0 && minus > 0))
		return special_numeric("NaN");
	if (plus > 0)
		return special_numeric("Infinity");
	if (minus > 0)
		return special_numeric("-Infinity");
	return with_scale_of(call_numeric(numeric_sub, prefix[hi].sum, prefix[lo].sum),
						 prefix, lo, hi);
}

static Datum
float_sum(const Feature *feature, FeatureState *state, const Stream *stream,
		  int lo, int hi, int64 count)
{
	double		sum = two_stacks_sum(state->stacks, stream, lo, hi);
	float4		single;

	if (feature->spec->aggregate == AGGREGATE_AVG)
		return Float8GetDatum(sum / (double) count);
	if (feature->value_type == FLOAT8OID)
		return Float8GetDatum(sum);
	single = (float4) sum;
	if (isinf(single) && !isinf(sum))
		float_overflow_error();
	return Float4GetDatum(single);
}

/* The sum of the events [lo, hi) of an input that is summed exactly. */
static Numeric
input_sum(const Input *input, int lo, int hi)
{
	switch (input->sum_method)
	{
		case SUM_INT64:
			return int64_to_numeric((int64) ((uint64) input->sums[hi] -
											 (uint64) input->sums[lo]));
		case SUM_INT128:
			return int128_to_numeric(input->wide_sums[hi] - input->wide_sums[lo]);
		default:
			Assert(input->sum_method == SUM_NUMERIC);
			return exact_sum(input, lo, hi);
	}
}

static bool
sums_floats(const Input *input)
{
	return input->sum_method == SUM_FLOAT4 || input->sum_method == SUM_FLOAT8;
}

static Datum
sum_result(const Feature *feature, FeatureState *state, const Input *input,
		   const Stream *stream, int lo, int hi, int64 count)
{
	Numeric		sum;

	if (sums_floats(input))
		return float_sum(feature, state, stream, lo, hi, count);
	if (feature->value_type == INT8OID)
		return Int64GetDatum((int64) ((uint64) input->sums[hi] -
									  (uint64) input->sums[lo]));
	sum = input_sum(input, lo, hi);
	if (feature->spec->aggregate == AGGREGATE_AVG)
		sum = call_numeric(numeric_div, sum, int64_to_numeric(count));
	return NumericGetDatum(sum);
}

/* Variance and deviation of a sample: of one value there is none. */
static Datum
variance_result(const Feature *feature, FeatureState *state,
				const Input *input, const Stream *stream, int lo, int hi, int64 count,
				bool *isnull)
{
	double		variance;

	*isnull = count < 2;
	if (count < 2)
		return (Datum) 0;
	if (!sums_floats(input))
		return NumericGetDatum(moments_result(feature, input, lo, hi, count,
											  input_sum(input, lo, hi)));
	variance = two_stacks_variance(state->stacks, stream, lo, hi);
	return Float8GetDatum(feature->spec->aggregate == AGGREGATE_VARIANCE ?
						  variance : sqrt(variance));
}

/* Events per unit of time: what the window has, by its length. */
static Datum
rate_result(const Feature *feature, const Window *window, int64 count,
			bool *isnull)
{
	double		length = (double) window->to - (double) window->from;

	*isnull = length <= 0 || TIMESTAMP_NOT_FINITE(window->to) ||
		TIMESTAMP_NOT_FINITE(window->from);
	return *isnull ? (Datum) 0 :
		Float8GetDatum((double) count * (double) feature->spec->per / length);
}

/* The value of an empty window. */
static Datum
empty_window(const Feature *feature, const Window *window, bool *isnull)
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
		return empty_window(feature, window, isnull);
	count = input ? input->counts[hi] - input->counts[lo] : hi - lo;
	if (count == 0)
		return empty_window(feature, window, isnull);
	*isnull = false;
	switch (feature->spec->aggregate)
	{
		case AGGREGATE_COUNT:
			return Int64GetDatum(count);
		case AGGREGATE_EXISTS:
			return BoolGetDatum(true);
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
			return two_stacks_extreme(state->stacks, stream, lo, hi);
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
			return sum_result(feature, state, input, stream, lo, hi, count);
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
			return variance_result(feature, state, input, stream, lo, hi,
								   count, isnull);
		case AGGREGATE_RATE:
			return rate_result(feature, window, count, isnull);
		case AGGREGATE_LAST_K:
			return sequence_last(input, stream, lo, hi, feature->spec->k);
		case AGGREGATE_TOP_K:
			return rank_tree_top(state->tree, feature->spec->k, input, stream,
								 lo, hi);
		case AGGREGATE_PERCENTILE:
			return rank_tree_percentile(state->tree, feature->spec, input,
										stream, lo, hi, count);
		case AGGREGATE_DECAYED_SUM:
			return Float8GetDatum(two_stacks_decayed(state->stacks, stream, lo,
													 hi, time));
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			return Int64GetDatum(sketch_count(state->sketch, input,
											  feature->input, stream, lo, hi));
		case AGGREGATE_OTHER:
			return other_aggregate_result(state->other, input, feature->input,
										  stream, lo, hi, isnull);
	}
	pg_unreachable();
}
