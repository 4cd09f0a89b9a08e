/*
 * partial.h
 *	  Aggregates of a part of a window that cannot be subtracted from, only
 *	  combined with those of other parts: least and greatest values, and sums
 *	  and variances of floats (to subtract what was added is not to have it as
 *	  it was).
 */
#ifndef PIPELINE_FEATURE_PARTIAL_H
#define PIPELINE_FEATURE_PARTIAL_H

#include <math.h>

#include "utils/float.h"

#include "feature/feature.h"

typedef enum PartialMode
{
	PARTIAL_SUM,				/* of floats, in double precision */
	PARTIAL_MOMENTS,				/* of floats: for the variance */
	PARTIAL_DECAY,				/* sums of floats, each worth less with time */
	PARTIAL_INT,					/* least by (int64) Datum */
	PARTIAL_FLOAT,				/* least by float8 order */
	PARTIAL_GENERIC				/* least by the type's comparison */
} PartialMode;

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

typedef struct Partial
{
	bool		any;			/* false: no event counts */
	union
	{
		Datum		datum;
		double		number;
		Moments		moments;
		Decayed		decayed;
	}			v;
} Partial;

/* How the events of a feature become partial aggregates, and these one. */
typedef struct PartialMethod
{
	PartialMode mode;
	int			sign;			/* 1: least, -1: greatest */
	int64		half_life;
	const Input *input;
	int			index;			/* of the input in its stream */
	FmgrInfo	compare;
} PartialMethod;

extern bool partial_applies(const FeatureSpec *spec, const Input *input);
extern void partial_method(PartialMethod *method, const FeatureSpec *spec,
						   const Input *input, int index);
extern Datum partial_result(const PartialMethod *method, const Feature *feature,
							Partial whole, int64 count, int64 time, bool *isnull);

/* Of one event. */
static inline Partial
partial_of(const PartialMethod *method, const Stream *stream, int event)
{
	Record	   *record = stream->events[event];
	Partial		value;
	Datum		datum;

	value.any = record_has(record, method->index);
	if (!value.any)
		return value;
	datum = record_value(record, stream, method->input);
	if (method->mode == PARTIAL_INT || method->mode == PARTIAL_GENERIC)
		value.v.datum = datum;
	else
	{
		double		number = method->input->type == FLOAT4OID ?
			DatumGetFloat4(datum) : DatumGetFloat8(datum);

		if (method->mode == PARTIAL_MOMENTS)
			value.v.moments = (Moments) {
				1, number, isfinite(number) ? 0 : get_float8_nan()
			};
		else if (method->mode == PARTIAL_DECAY)
			value.v.decayed = (Decayed) {
				number, record->time
			};
		else
			value.v.number = number;
	}
	return value;
}

static inline double
add_floats(double a, double b)
{
	double		sum = a + b;

	if (isinf(sum) && !isinf(a) && !isinf(b))
		float_overflow_error();
	return sum;
}

/* By Youngs and Cramer, as PostgreSQL combines partial aggregates. */
static inline Moments
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
static inline double
decay(double sum, int64 from, int64 to, int64 half_life)
{
	if (from == to || sum == 0 || !isfinite(sum))
		return sum;
	if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to))
		return 0;
	return sum * exp2(-((double) to - (double) from) / (double) half_life);
}

static inline Decayed
add_decayed(Decayed a, Decayed b, int64 half_life)
{
	if (a.time > b.time)
		return add_decayed(b, a, half_life);
	return (Decayed) {
		add_floats(decay(a.sum, a.time, b.time, half_life), b.sum), b.time
	};
}

static inline Partial
partial_combine(PartialMethod *method, Partial a, Partial b)
{
	int			order = 0;

	if (!a.any)
		return b;
	if (!b.any)
		return a;
	switch (method->mode)
	{
		case PARTIAL_SUM:
			a.v.number = add_floats(a.v.number, b.v.number);
			return a;
		case PARTIAL_MOMENTS:
			a.v.moments = add_moments(a.v.moments, b.v.moments);
			return a;
		case PARTIAL_DECAY:
			a.v.decayed = add_decayed(a.v.decayed, b.v.decayed, method->half_life);
			return a;
		case PARTIAL_INT:
			order = (int64) a.v.datum < (int64) b.v.datum ? -1 : 1;
			break;
		case PARTIAL_FLOAT:
			order = float8_cmp_internal(a.v.number, b.v.number);
			break;
		case PARTIAL_GENERIC:
			order = DatumGetInt32(FunctionCall2Coll(&method->compare,
													method->input->collation,
													a.v.datum, b.v.datum));
			break;
	}
	return (order < 0) == (method->sign > 0) ? a : b;
}

/* ---- two_stacks.c: of a window that slides over events in order -------------------- */

extern TwoStacks *two_stacks_create(const FeatureSpec *spec, const Input *input,
									int index);
extern void two_stacks_start(TwoStacks *stacks, int nevents);
extern Datum two_stacks_result(TwoStacks *stacks, const Feature *feature,
							   const Stream *stream, int lo, int hi, int64 count,
							   int64 time, bool *isnull);

/* ---- partial_tree.c: of events that come and go in any order ------------------------ */

typedef struct PartialTree PartialTree;

extern PartialTree *partial_tree_create(const FeatureSpec *spec,
										const Input *input, int index, int nevents);
extern void partial_tree_enter(PartialTree *tree, const Stream *stream, int event);
extern void partial_tree_leave(PartialTree *tree, int event);
extern Datum partial_tree_result(const PartialTree *tree, const Feature *feature,
								 int64 count, int64 time, bool *isnull);

#endif							/* PIPELINE_FEATURE_PARTIAL_H */
