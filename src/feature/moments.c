/*
 * moments.c
 *	  Variance and standard deviation of the sample, as PostgreSQL computes
 *	  them: of integers and numerics exactly, from the count, the sum and the
 *	  sum of squares.
 *
 * The sums are differences of prefixes, as in aggregate.c; what is here are
 * the prefixes of squares, and PostgreSQL's last step.  Variances of floats are
 * on two stacks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "feature/feature.h"

static Numeric
round_numeric(Numeric number, int32 scale)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round,
											   NumericGetDatum(number),
											   Int32GetDatum(scale)));
}

static void
narrow_squares(Input *input, int index, const Stream *stream)
{
	int128		sum = 0;

	input->wide_squares = MemoryContextAllocHuge(CurrentMemoryContext,
												 ((Size) stream->nevents + 1) * sizeof(int128));
	input->wide_squares[0] = 0;
	for (int i = 0; i < stream->nevents; i++)
	{
		Record	   *record = stream->events[i];

		if (record_has(record, index))
		{
			Datum		value = record_value(record, stream, input);
			int64		number = input->type == INT2OID ?
				DatumGetInt16(value) : DatumGetInt32(value);

			sum += number * number;
		}
		input->wide_squares[i + 1] = sum;
	}
}

/* What is not finite is left out: no result is made of it. */
static void
numeric_squares(Input *input, int index, const Stream *stream)
{
	Numeric    *squares = MemoryContextAllocHuge(CurrentMemoryContext,
												 ((Size) stream->nevents + 1) * sizeof(Numeric));

	squares[0] = int64_to_numeric(0);
	for (int i = 0; i < stream->nevents; i++)
	{
		Record	   *record = stream->events[i];
		Numeric		number;

		CHECK_FOR_INTERRUPTS();
		squares[i + 1] = squares[i];
		if (!record_has(record, index))
			continue;
		number = input->type == INT8OID ?
			int64_to_numeric(DatumGetInt64(record_value(record, stream, input))) :
			DatumGetNumeric(record_value(record, stream, input));
		if (!numeric_is_nan(number) && !numeric_is_inf(number))
			squares[i + 1] = call_numeric(numeric_add, squares[i],
										  call_numeric(numeric_mul, number, number));
	}
	input->squares = squares;
}

/* Make the prefixes of squares of an input over a new entity's events. */
void
moments_start(Input *input, int index, const Stream *stream)
{
	if (input->sum_method == SUM_INT64)
		narrow_squares(input, index, stream);
	else
		numeric_squares(input, index, stream);
}

/*
 * PostgreSQL rounds the root to the scale of the variance.  numeric_sqrt()
 * chooses a scale by itself, so it is asked for many more digits: none of
 * the digits that stay is rounded twice.
 */
static Numeric
root(Numeric variance)
{
	int32		scale = DatumGetInt32(DirectFunctionCall1(numeric_scale,
														  NumericGetDatum(variance)));
	Numeric		wide = round_numeric(variance, scale + 25);

	return round_numeric(DatumGetNumeric(DirectFunctionCall1(numeric_sqrt,
															 NumericGetDatum(wide))),
						 scale);
}

/*
 * Variance or deviation of `count` values by their sum, which is not finite if
 * one of them is not, and the sum of their squares.
 */
Datum
moments_of(const Feature *feature, int64 count, Numeric sum, Numeric squares,
		   bool *isnull)
{
	Numeric		n = int64_to_numeric(count);
	Numeric		zero = int64_to_numeric(0);
	Numeric		spread;
	Numeric		variance;

	/* Of one value there is none. */
	*isnull = count < 2;
	if (*isnull)
		return (Datum) 0;
	if (numeric_is_nan(sum) || numeric_is_inf(sum))
		return NumericGetDatum(special_numeric("NaN"));
	/* What was subtracted may have had more digits. */
	squares = round_numeric(squares, 2 * numeric_display_scale(sum));
	spread = call_numeric(numeric_sub, call_numeric(numeric_mul, n, squares),
						  call_numeric(numeric_mul, sum, sum));
	if (DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(spread),
										 NumericGetDatum(zero))))
		return NumericGetDatum(zero);
	variance = call_numeric(numeric_div, spread,
							call_numeric(numeric_mul, n, int64_to_numeric(count - 1)));
	return NumericGetDatum(feature->spec->aggregate == AGGREGATE_VARIANCE ?
						   variance : root(variance));
}

/* Variance or deviation of the events [lo, hi), of which `count` count. */
Datum
moments_result(const Feature *feature, const Input *input, int lo, int hi,
			   int64 count, bool *isnull)
{
	Numeric		squares = input->sum_method == SUM_INT64 ?
		int128_to_numeric(input->wide_squares[hi] - input->wide_squares[lo]) :
		call_numeric(numeric_sub, input->squares[hi], input->squares[lo]);

	return moments_of(feature, count, input_sum(input, lo, hi), squares, isnull);
}
