/*
 * plan.h
 *	  All features analysed against the spine and the sources.
 *
 *	  A "stream" is one distinct (source, entity, event time): it is scanned once,
 *	  whatever the number of windows and features over it.  An "input" is one
 *	  distinct (value, filter) of a stream: one column of its scan.
 */
#ifndef PIPELINE_FEATURE_PLAN_H
#define PIPELINE_FEATURE_PLAN_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "fmgr.h"
#include "nodes/pg_list.h"

#include "base/base.h"
#include "feature/spec.h"

typedef enum SumMethod
{
	SUM_NONE,
	SUM_INT64,					/* int2, int4: exact in 64 bits */
	SUM_INT128,					/* int8 */
	SUM_NUMERIC,
	SUM_FLOAT4,
	SUM_FLOAT8
} SumMethod;

/* The order of values of a type. */
typedef struct ValueOrder
{
	bool		integer;		/* of the Datums as signed integers */
	Oid			collation;
	FmgrInfo	compare;
} ValueOrder;

typedef struct Input
{
	char	   *sql;			/* the column of the scan; NULL where absent */
	bool		presence;		/* only whether it counts, no value */
	int			slot;			/* index of its value in a record, or -1 */
	Oid			type;
	int16		typlen;
	bool		typbyval;
	Oid			collation;
	SumMethod	sum_method;		/* NONE unless a feature sums it exactly */
	bool		needs_count;	/* some feature asks how many */
	bool		needs_links;	/* how many different ones */
	bool		needs_ends;		/* for the first or last */
	bool		needs_squares;	/* for the variance, exactly */
	bool		needs_ranks;	/* see value_order.c */
	bool		needs_sequence;
	bool		needs_hashes;	/* see sketch.c */
	ValueOrder *order;			/* if some of these need it */

	/* for the entity at hand: prefix i is over the events before the i-th */
	uint32	   *counts;
	int64	   *sums;
	int128	   *wide_sums;
	struct NumericPrefix *numerics;
	int128	   *wide_squares;
	struct NumericData **squares;
	int		   *before;			/* events of an equal value; see distinct.c */
	int		   *after;
	int		   *first;			/* see first_last.c */
	int		   *last;
	int		   *ranks;			/* of the events' values; -1: does not count */
	int		   *samples;		/* an event of each rank */
	int			nranks;
	int		   *sequence;		/* the events that count, by time and value */
	uint32	   *hashes;
} Input;

typedef struct Stream
{
	Source	   *source;
	List	   *entity;			/* column names */
	char	   *event_time;		/* column name */
	char	   *knowledge_time; /* column name, or NULL */
	bool		local;			/* timestamps without time zone, compared so */
	bool		known_local;	/* the same of the time of knowledge */
	bool		epoch;			/* seconds since 1970, as bigint */
	bool		known_epoch;
	bool		nullable_time;
	List	   *inputs;			/* of Input */
	int			nvalues;		/* inputs that have a value */
	int			nwords;			/* words of 32 presence bits in a record */
	bool		wants_all;		/* a feature counts every row */
	int64		back;			/* no window starts further before its row, */
	int64		ahead;			/* or ends further after it, in usecs;
								 * PG_INT64_MAX: unknown */

	/* for the entity at hand */
	int			nevents;
	struct Record **events;
	int64	   *times;			/* TIMES_PADDING more than there are events */
	int64	   *known;			/* see known.c */
	int		   *by_known;
	MemoryContext context;		/* of these, with a knowledge time */
} Stream;

#define TIMES_PADDING 4

/*
 * One distinct distance from a row's time, or from the start of the unit that
 * it is in, to the start or end of a window.
 */
typedef struct Shift
{
	const char *align;			/* the unit, or NULL */
	Datum		unit;			/* the same, as text */
	Interval	interval;		/* to add: a lookback is negated */
	bool		fixed;			/* a number of microseconds at any time */
	int64		usecs;			/* that number */
} Shift;

/* One distinct (stream, start, end, closed), and its cursors. */
typedef struct Window
{
	int			stream;
	int			start;			/* shifts */
	int			end;
	bool		only_known;		/* events not known by the row's time do not
								 * count */
	bool		closed_left;
	bool		closed_right;

	/* between the times of the row at hand; ends that compare with events */
	int64		from;
	int64		to;
	/* events [lo, hi) of the entity at hand are in the window */
	int			lo;
	int			hi;
} Window;

typedef struct TwoStacks TwoStacks;
typedef struct RankTree RankTree;
typedef struct Sketch Sketch;
typedef struct OtherAggregate OtherAggregate;
typedef struct OtherState OtherState;
typedef struct ByGroups ByGroups;
typedef struct KnownSet KnownSet;

/* A window whose different values were counted. */
typedef struct DistinctCount
{
	int			lo;
	int			hi;
	int64		count;
} DistinctCount;

/* What a feature keeps while its window slides over an entity. */
typedef struct FeatureState
{
	TwoStacks  *stacks;			/* min, max, sums of floats, decayed sums */
	Sketch	   *sketch;
	DistinctCount distinct;
	RankTree   *tree;			/* percentiles, top k */
	OtherState *other;
	KnownSet   *set;			/* of what is known */
} FeatureState;

typedef struct Feature
{
	const FeatureSpec *spec;
	int			stream;
	int			input;			/* -1: every row of the source counts */
	List	   *more_inputs;	/* of the arguments after the value */
	int			window;
	int			at;				/* the shift from which time is counted */
	Oid			value_type;		/* of the aggregate */
	Oid			result_type;	/* of the column: the same, or a map of them */
	Oid			result_collation;
	bool		has_default;
	Datum		default_value;
	OtherAggregate *other;
	const struct Aggref *call;	/* of it */
	FeatureState state;
	FeatureState known;			/* the same, over what is known */
	int			by;				/* input of the values it is spread over, or -1 */
	FmgrInfo	to_json;		/* of the aggregate's values */
	ByGroups   *groups;			/* of the entity at hand */
} Feature;

/* What the values of a feature were like. */
typedef struct FeatureStatistic
{
	int64		rows;
	int64		nulls;
	int64		numbers;		/* that have a mean: not NULL, and finite */
	double		mean;
	double		squares;		/* sum of squares of differences from it */
} FeatureStatistic;

typedef struct FeaturePlan
{
	Source	   *spine;
	List	   *entity;
	char	   *event_time;
	const char *knowledge_time; /* of every source, or NULL */
	const List *specs;			/* that it was made of */
	int			nkeys;			/* columns of the entity */
	Oid		   *key_types;		/* common to the spine and every stream */
	Oid		   *key_collations;
	bool		local;			/* the spine's time has no time zone */
	bool		epoch;			/* or it is seconds since 1970, as bigint */
	bool		nullable_time;

	List	   *streams;
	List	   *shifts;
	List	   *windows;
	List	   *features;
	TupleDesc	result;			/* the spine's columns, then the features' */
} FeaturePlan;

extern FeaturePlan *feature_plan(const char *spine, List *entity,
								 const char *event_time,
								 const char *knowledge_time, List *specs);
extern char *feature_column_list(const FeaturePlan *plan);
extern char *feature_column_type(TupleDesc desc, int column);

/*
 * Some functions return an integer without extending its sign to the whole
 * Datum: so it is done here, before Datums are compared as integers.
 */
static inline Datum
canonical_datum(Datum value, int16 typlen)
{
	switch (typlen)
	{
		case 1:
			return CharGetDatum(DatumGetChar(value));
		case 2:
			return Int16GetDatum(DatumGetInt16(value));
		case 4:
			return Int32GetDatum(DatumGetInt32(value));
	}
	return value;
}

/* ---- plan_columns.c: the entity and the event time ------------------------------ */

extern Form_pg_attribute plan_source_attribute(const Source *source,
											   const char *column,
											   const char *argument);
extern bool plan_time_is_epoch(const Source *source, const char *column,
							   const char *argument);
extern bool plan_time_is_local(const Source *source, const char *column,
							   const char *argument);
extern bool plan_column_is_nullable(const Source *source, const char *column);
extern void plan_check_hashable(const char *column, Oid type);
extern void plan_merge_key_types(FeaturePlan *plan, const Source *source,
								 const List *entity);
extern void plan_check_key_types(FeaturePlan *plan);

/* ---- plan_windows.c: what features have in common --------------------------------- */

extern int	plan_stream(FeaturePlan *plan, const FeatureSpec *spec);
extern int	plan_shift(FeaturePlan *plan, const char *align,
					   const Interval *interval, bool negate);
extern int	plan_window(FeaturePlan *plan, int number, const FeatureSpec *spec);

#endif							/* PIPELINE_FEATURE_PLAN_H */
