/*
 * spec.h
 *	  One feature as the user gave it, its options checked.
 */
#ifndef PIPELINE_FEATURE_SPEC_H
#define PIPELINE_FEATURE_SPEC_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

typedef enum AggregateKind
{
	AGGREGATE_COUNT,
	AGGREGATE_SUM,
	AGGREGATE_MIN,
	AGGREGATE_MAX,
	AGGREGATE_AVG,
	AGGREGATE_EXISTS,
	AGGREGATE_COUNT_DISTINCT,
	AGGREGATE_FIRST,
	AGGREGATE_LAST,
	AGGREGATE_TIME_SINCE_FIRST,
	AGGREGATE_TIME_SINCE_LAST,
	AGGREGATE_STDDEV,
	AGGREGATE_VARIANCE,
	AGGREGATE_LAST_K,
	AGGREGATE_TOP_K,
	AGGREGATE_RATE,
	AGGREGATE_PERCENTILE,
	AGGREGATE_DECAYED_SUM,
	AGGREGATE_APPROX_COUNT_DISTINCT,
	AGGREGATE_OTHER				/* an aggregate function by name */
} AggregateKind;

typedef struct FeatureSpec
{
	char	   *name;
	char	   *source;
	AggregateKind aggregate;
	char	   *aggregate_name;
	Interval   *lookback;
	Interval   *lookahead;
	bool		looks_ahead;	/* past the row's time */
	char	   *closed;
	bool		closed_left;
	bool		closed_right;
	char	   *align;			/* a unit of date_trunc(), or NULL */
	char	   *value;			/* NULL: rows, not values */
	char	   *filter;			/* NULL: every row */
	List	   *entity;			/* NIL: as in the spine */
	char	   *event_time;		/* NULL: as in the spine */
	char	   *default_value;	/* NULL: none */
	const struct FeatureSpec *whole;	/* that this is one column of, or NULL */
	char	   *by;				/* expression whose values it is spread over */
	List	   *values;			/* of it that become columns; NIL: a map */
	const Jsonb *args;			/* as given, or NULL; what it says: */
	int			k;
	int64		per;			/* of a rate, in microseconds */
	int64		half_life;		/* in microseconds */
	double		fraction;		/* of a percentile, */
	bool		continuous;		/* which is interpolated */
	int			precision;		/* of a sketch, in bits */
	List	   *arguments;		/* expressions that follow the value in a call */
} FeatureSpec;

/* The texts of one feature, before they are checked. */
typedef struct FeatureText
{
	char	   *name;
	char	   *source;
	char	   *aggregate;
	Interval   *lookback;
	Interval   *lookahead;
	char	   *value;
	char	   *closed;
	char	   *filter;
	List	   *entity;
	char	   *event_time;
	char	   *align;
	char	   *by;
	const Jsonb *args;
	char	   *default_value;
} FeatureText;

/* Does the aggregate look at values, or only at which events count? */
static inline bool
aggregate_needs_value(AggregateKind kind)
{
	return kind != AGGREGATE_COUNT && kind != AGGREGATE_EXISTS &&
		kind != AGGREGATE_TIME_SINCE_FIRST && kind != AGGREGATE_TIME_SINCE_LAST &&
		kind != AGGREGATE_RATE;
}

extern FeatureSpec *feature_spec(const FeatureText *text);
extern List *feature_specs_from_jsonb(const Jsonb *features);
extern void feature_spec_args(FeatureSpec *spec);

#endif							/* PIPELINE_FEATURE_SPEC_H */
