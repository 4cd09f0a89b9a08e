/*
 * partial.c
 *	  How the events of a feature are combined, and what is made of it; the
 *	  combining itself is in partial.h, since it is done for every event.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/typcache.h"

#include "feature/partial.h"

/* Does the feature combine, instead of taking back what leaves its window? */
bool
partial_applies(const FeatureSpec *spec, const Input *input)
{
	switch (spec->aggregate)
	{
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			return input->sum_method == SUM_FLOAT4 || input->sum_method == SUM_FLOAT8;
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
		case AGGREGATE_DECAYED_SUM:
			return true;
		default:
			return false;
	}
}

static PartialMode
extreme_mode(const Input *input)
{
	if (input_orders_as_integer(input))
		return PARTIAL_INT;
	return input->type == FLOAT4OID || input->type == FLOAT8OID ?
		PARTIAL_FLOAT : PARTIAL_GENERIC;
}

/* Find out how the events of a feature that combines are combined. */
void
partial_method(PartialMethod *method, const FeatureSpec *spec,
			   const Input *input, int index)
{
	memset(method, 0, sizeof(PartialMethod));
	method->input = input;
	method->index = index;
	method->half_life = spec->half_life;
	method->sign = spec->aggregate == AGGREGATE_MAX ? -1 : 1;
	switch (spec->aggregate)
	{
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			method->mode = PARTIAL_MOMENTS;
			break;
		case AGGREGATE_DECAYED_SUM:
			method->mode = PARTIAL_DECAY;
			break;
		case AGGREGATE_MIN:
		case AGGREGATE_MAX:
			method->mode = extreme_mode(input);
			fmgr_info(lookup_type_cache(input->type, TYPECACHE_CMP_PROC)->cmp_proc,
					  &method->compare);
			break;
		default:
			method->mode = PARTIAL_SUM;
			break;
	}
}

static Datum
float_sum(const Feature *feature, double sum, int64 count)
{
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

/* Variance and deviation of a sample: of one value there is none. */
static Datum
float_variance(const Feature *feature, Moments moments, bool *isnull)
{
	double		variance = moments.xx / (moments.n - 1);

	*isnull = moments.n < 2;
	if (*isnull)
		return (Datum) 0;
	return Float8GetDatum(feature->spec->aggregate == AGGREGATE_VARIANCE ?
						  variance : sqrt(variance));
}

/*
 * The value of a feature whose window, of which `count` events count, at least
 * one, is combined in `whole`; what decays is worth it at `time`.
 */
Datum
partial_result(const PartialMethod *method, const Feature *feature,
			   Partial whole, int64 count, int64 time, bool *isnull)
{
	Assert(whole.any);
	*isnull = false;
	switch (method->mode)
	{
		case PARTIAL_SUM:
			return float_sum(feature, whole.v.number, count);
		case PARTIAL_MOMENTS:
			return float_variance(feature, whole.v.moments, isnull);
		case PARTIAL_DECAY:
			return Float8GetDatum(decay(whole.v.decayed.sum, whole.v.decayed.time,
										time, method->half_life));
		case PARTIAL_FLOAT:
			return method->input->type == FLOAT4OID ?
				Float4GetDatum((float4) whole.v.number) :
				Float8GetDatum(whole.v.number);
		case PARTIAL_INT:
		case PARTIAL_GENERIC:
			return whole.v.datum;
	}
	pg_unreachable();
}
