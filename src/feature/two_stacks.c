/*
 * two_stacks.c
 *	  Aggregates over a sliding window that cannot be subtracted from: least
 *	  and greatest values, and sums and variances of floats (to subtract what
 *	  was added is not to have it as it was).
 *
 * The window [lo, hi) is kept as two stacks that meet at mid: for each i in
 * [lo, mid) the aggregate of [i, mid), and one aggregate of [mid, hi).  An
 * event that enters joins the latter; one that leaves is forgotten.  When lo
 * passes mid, the stack is built again over the whole window, with mid = hi;
 * so each event is added twice, whatever the window.  When a cursor steps
 * back, the window is added anew.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "feature/feature.h"

typedef enum StackMode
{
	STACK_SUM,					/* of floats, in double precision */
	STACK_MOMENTS,				/* of floats: for the variance */
	STACK_DECAY,				/* sums of floats, each worth less with time */
	STACK_INT,					/* least by (int64) Datum */
	STACK_FLOAT,				/* least by float8 order */
	STACK_GENERIC				/* least by the type's comparison */
} StackMode;

/* Count, sum, and sum of squares of the differences from the mean. */
typedef struct Moments
{
	double		n;
	double		x;
	double		xx;
} Moments;

/* What the events are worth at the time of the last of them. */
typedef struct Decayed
{
	double		sum;
	int64		time;
} Decayed;

typedef struct StackValue
{
	bool		any;			/* false: no event counts */
	union
	{
		Datum		datum;
		double		number;
		Moments		moments;
		Decayed		decayed;
	}			v;
} StackValue;

struct TwoStacks
{
	StackMode	mode;
	int			sign;			/* 1: least, -1: greatest */
	int64		half_life;
	const Input *input;
	int			index;			/* of the input in its stream */
	FmgrInfo	compare;
	MemoryContext context;
	int			lo;
	int			mid;
	int			hi;
	StackValue	front;			/* [mid, hi) */
	StackValue *back;			/* back[i]: [i, mid) */
	int			capacity;
};

/* Make the stacks of a feature, in the current context. */
TwoStacks *
two_stacks_create(const FeatureSpec *spec, const Input *input, int index)
{
	AggregateKind kind = spec->aggregate;
	TwoStacks  *stacks = palloc0(sizeof(TwoStacks));

	stacks->context = CurrentMemoryContext;
	stacks->input = input;
	stacks->index = index;
	stacks->half_life = spec->half_life;
	stacks->sign = kind == AGGREGATE_MAX ? -1 : 1;
	if (kind == AGGREGATE_STDDEV || kind == AGGREGATE_VARIANCE)
		stacks->mode = STACK_MOMENTS;
	else if (kind == AGGREGATE_DECAYED_SUM)
		stacks->mode = STACK_DECAY;
	else if (kind != AGGREGATE_MIN && kind != AGGREGATE_MAX)
		stacks->mode = STACK_SUM;
	else
	{
		stacks->mode = STACK_GENERIC;
		fmgr_info(lookup_type_cache(input->type, TYPECACHE_CMP_PROC)->cmp_proc,
				  &stacks->compare);
		if (input_orders_as_integer(input))
			stacks->mode = STACK_INT;
		switch (input->type)
		{
			case FLOAT4OID:
			case FLOAT8OID:
				stacks->mode = STACK_FLOAT;
				break;
		}
	}
	return stacks;
}

/* Forget the last entity; the new one has that many events. */
void
two_stacks_start(TwoStacks *stacks, int nevents)
{
	stacks->lo = stacks->mid = stacks->hi = 0;
	stacks->front.any = false;
	if (nevents > stacks->capacity)
	{
		if (stacks->back != NULL)
			pfree(stacks->back);
		stacks->capacity = Max(nevents, Min((int64) stacks->capacity * 2,
											PG_INT32_MAX));
		stacks->back = MemoryContextAllocHuge(stacks->context,
											  (Size) stacks->capacity * sizeof(StackValue));
	}
}

static inline StackValue
stack_value(const TwoStacks *stacks, const Stream *stream, int event)
{
	Record	   *record = stream->events[event];
	StackValue	value;
	Datum		datum;

	value.any = record_has(record, stacks->index);
	if (!value.any)
		return value;
	datum = record_value(record, stream, stacks->input);
	if (stacks->mode == STACK_INT || stacks->mode == STACK_GENERIC)
		value.v.datum = datum;
	else
	{
		double		number = stacks->input->type == FLOAT4OID ?
			DatumGetFloat4(datum) : DatumGetFloat8(datum);

		if (stacks->mode == STACK_MOMENTS)
			value.v.moments = (Moments) {
				1, number, isfinite(number) ? 0 : get_float8_nan()
			};
		else if (stacks->mode == STACK_DECAY)
			value.v.decayed = (Decayed) {
				number, record->time
			};
		else
			value.v.number = number;
	}
	return value;
}

static double
add_floats(double a, double b)
{
	double		sum = a + b;

	if (isinf(sum) && !isinf(a) && !isinf(b))
		float_overflow_error();
	return sum;
}

/* By Youngs and Cramer, as PostgreSQL combines partial aggregates. */
static Moments
add_moments(Moments a, Moments b)
{
	Moments		sum;
	double		difference = a.x / a.n - b.x / b.n;

	sum.n = a.n + b.n;
	sum.x = add_floats(a.x, b.x);
	sum.xx = a.xx + b.xx + a.n * b.n * difference * difference / sum.n;
	if (isinf(sum.xx) && !isinf(a.xx) && !isinf(b.xx))
		float_overflow_error();
	return sum;
}

/*
 * What a sum is worth at a later time.  Before an infinite time everything
 * has decayed.
 */
static double
decay(double sum, int64 from, int64 to, int64 half_life)
{
	if (from == to || sum == 0 || !isfinite(sum))
		return sum;
	if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to))
		return 0;
	return sum * exp2(-((double) to - (double) from) / (double) half_life);
}

static Decayed
add_decayed(Decayed a, Decayed b, int64 half_life)
{
	if (a.time > b.time)
		return add_decayed(b, a, half_life);
	return (Decayed) {
		add_floats(decay(a.sum, a.time, b.time, half_life), b.sum), b.time
	};
}

static inline StackValue
combine(TwoStacks *stacks, StackValue a, StackValue b)
{
	int			order = 0;

	if (!a.any)
		return b;
	if (!b.any)
		return a;
	switch (stacks->mode)
	{
		case STACK_SUM:
			a.v.number = add_floats(a.v.number, b.v.number);
			return a;
		case STACK_MOMENTS:
			a.v.moments = add_moments(a.v.moments, b.v.moments);
			return a;
		case STACK_DECAY:
			a.v.decayed = add_decayed(a.v.decayed, b.v.decayed, stacks->half_life);
			return a;
		case STACK_INT:
			order = (int64) a.v.datum < (int64) b.v.datum ? -1 : 1;
			break;
		case STACK_FLOAT:
			order = float8_cmp_internal(a.v.number, b.v.number);
			break;
		case STACK_GENERIC:
			order = DatumGetInt32(FunctionCall2Coll(&stacks->compare,
													stacks->input->collation,
													a.v.datum, b.v.datum));
			break;
	}
	return (order < 0) == (stacks->sign > 0) ? a : b;
}

/* Build the back stack over the whole window. */
static void
turn_over(TwoStacks *stacks, const Stream *stream)
{
	StackValue	value;

	CHECK_FOR_INTERRUPTS();
	value.any = false;
	for (int i = stacks->hi - 1; i >= stacks->lo; i--)
	{
		value = combine(stacks, stack_value(stacks, stream, i), value);
		stacks->back[i] = value;
	}
	stacks->mid = stacks->hi;
	stacks->front.any = false;
}

/* Return the aggregate of the events [lo, hi), at least one. */
static StackValue
two_stacks_slide(TwoStacks *stacks, const Stream *stream, int lo, int hi)
{
	if (lo < stacks->lo || hi < stacks->hi || lo > stacks->hi)
	{
		stacks->mid = stacks->hi = lo;
		stacks->front.any = false;
	}
	stacks->lo = lo;
	for (; stacks->hi < hi; stacks->hi++)
		stacks->front = combine(stacks, stacks->front,
								stack_value(stacks, stream, stacks->hi));
	if (lo > stacks->mid)
		turn_over(stacks, stream);
	if (lo < stacks->mid)
		return combine(stacks, stacks->back[lo], stacks->front);
	return stacks->front;
}

/* The least or greatest value of the events [lo, hi); one of them counts. */
Datum
two_stacks_extreme(TwoStacks *stacks, const Stream *stream, int lo, int hi)
{
	StackValue	value = two_stacks_slide(stacks, stream, lo, hi);

	Assert(value.any);
	if (stacks->mode != STACK_FLOAT)
		return value.v.datum;
	return stacks->input->type == FLOAT4OID ?
		Float4GetDatum((float4) value.v.number) :
		Float8GetDatum(value.v.number);
}

/* The sum of the values of the events [lo, hi); one of them counts. */
double
two_stacks_sum(TwoStacks *stacks, const Stream *stream, int lo, int hi)
{
	StackValue	value = two_stacks_slide(stacks, stream, lo, hi);

	Assert(value.any);
	return value.v.number;
}

/* The variance of the events [lo, hi), of which at least two count. */
double
two_stacks_variance(TwoStacks *stacks, const Stream *stream, int lo, int hi)
{
	StackValue	value = two_stacks_slide(stacks, stream, lo, hi);

	Assert(value.any && value.v.moments.n > 1);
	return value.v.moments.xx / (value.v.moments.n - 1);
}

/* What the values of the events [lo, hi) are worth at `time`. */
double
two_stacks_decayed(TwoStacks *stacks, const Stream *stream, int lo, int hi,
				   int64 time)
{
	StackValue	value = two_stacks_slide(stacks, stream, lo, hi);

	Assert(value.any);
	return decay(value.v.decayed.sum, value.v.decayed.time, time,
				 stacks->half_life);
}
