/*
 * prefix.c
 *	  Counts and exact sums as differences of prefixes: per input and entity,
 *	  prefix i is over the first i events, so [lo, hi) is prefix hi less prefix
 *	  lo, for any number of windows and however their cursors move.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
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

/* Call a function of two numerics. */
Numeric
call_numeric(PGFunction function, Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(function, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

/* The digits after the point that the number is shown with. */
int32
numeric_display_scale(Numeric number)
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

/* Is it above 0, infinite or not? */
bool
numeric_is_positive(Numeric number)
{
	return DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(number),
											NumericGetDatum(int64_to_numeric(0))));
}

static void
numeric_add_to(NumericPrefix *next, Numeric value)
{
	if (numeric_is_nan(value))
		next->nans++;
	else if (numeric_is_inf(value))
	{
		if (numeric_is_positive(value))
			next->plus++;
		else
			next->minus++;
	}
	else
	{
		next->scale = numeric_display_scale(value);
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

/* ---- differences ------------------------------------------------------------------- */

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
 * The greatest display scale of the events [lo, hi): that of their sum.  A
 * difference of prefixes may have more, from values outside.
 */
static int32
scale_between(const NumericPrefix *prefix, int lo, int hi)
{
	int32		scale = 0;

	/* From wider to wider: as many steps as there are scales at most. */
	for (int i = hi; i > lo; i = prefix[i].wider)
		scale = Max(scale, prefix[i].scale);
	return scale;
}

/* A number that is not finite. */
Numeric
special_numeric(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/*
 * The sum of numerics: the finite ones have that sum and display scale, and
 * so many are not finite.
 */
Numeric
numeric_total(Numeric sum, int32 scale, int64 nans, int64 plus, int64 minus)
{
	if (nans > 0 || (plus > 0 && minus > 0))
		return special_numeric("NaN");
	if (plus > 0)
		return special_numeric("Infinity");
	if (minus > 0)
		return special_numeric("-Infinity");
	if (numeric_display_scale(sum) == scale)
		return sum;
	return DatumGetNumeric(DirectFunctionCall2(numeric_round,
											   NumericGetDatum(sum),
											   Int32GetDatum(scale)));
}

/* The sum of the events [lo, hi) of an input that is summed exactly. */
Numeric
input_sum(const Input *input, int lo, int hi)
{
	const NumericPrefix *from = input->numerics + lo;
	const NumericPrefix *to = input->numerics + hi;

	switch (input->sum_method)
	{
		case SUM_INT64:
			return int64_to_numeric((int64) ((uint64) input->sums[hi] -
											 (uint64) input->sums[lo]));
		case SUM_INT128:
			return int128_to_numeric(input->wide_sums[hi] - input->wide_sums[lo]);
		default:
			Assert(input->sum_method == SUM_NUMERIC);
			return numeric_total(call_numeric(numeric_sub, to->sum, from->sum),
								 scale_between(input->numerics, lo, hi),
								 to->nans - from->nans, to->plus - from->plus,
								 to->minus - from->minus);
	}
}
