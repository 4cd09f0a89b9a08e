/*
 * feature.h
 *	  The shape of a computation of windowed features, from what the user
 *	  said to the rows that come out.
 *
 *	  FeatureSpec	one feature as given, its options checked	(spec.c)
 *	  FeaturePlan	all features analysed against the spine and the sources:
 *					streams, inputs, windows, result columns	(plan.c,
 *					plan_windows.c, plan_columns.c)
 *	  KeyTable		the entities of the spine					(key_table.c)
 *	  RecordStore	spine rows and events, in memory or spilled	(record_store.c)
 *	  read			one scan of the spine, one of every stream	(read.c,
 *					scan_sql.c)
 *	  compute		per entity: order, slide, aggregate, emit	(compute.c,
 *					window.c, aggregate.c, two_stacks.c, distinct.c,
 *					first_last.c, moments.c)
 *
 * A "stream" is one distinct (source, entity, event time): it is scanned once,
 * whatever the number of windows and features over it.  An "input" is one
 * distinct (value, filter) of a stream: one column of its scan.
 */
#ifndef PIPELINE_FEATURE_H
#define PIPELINE_FEATURE_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/buffile.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/base.h"

/* ---- spec.c: one feature as the user gave it ----------------------------- */

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

/* ---- plan.c: everything analysed ------------------------------------------ */

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
	int64	   *times;
	int64	   *known;			/* see known.c */
} Stream;

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
} FeatureState;

typedef struct Feature
{
	const FeatureSpec *spec;
	int			stream;
	int			input;			/* -1: every row of the source counts */
	int			window;
	int			at;				/* the shift from which time is counted */
	Oid			value_type;		/* of the aggregate */
	Oid			result_type;	/* of the column: the same, or a map of them */
	Oid			result_collation;
	bool		has_default;
	Datum		default_value;
	OtherAggregate *other;
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

/* ---- key_table.c: entities to numbers -------------------------------------- */

typedef struct KeyTable KeyTable;

extern KeyTable *key_table_create(const FeaturePlan *plan);
extern bool key_table_words(KeyTable *table, const Datum *key, bool insert,
							Datum *words, uint32 *result);
extern bool key_table_keeps_words(const KeyTable *table);
extern void key_table_prefetch_bucket(const KeyTable *table, uint32 hash);
extern void key_table_prefetch_entry(const KeyTable *table, uint32 hash);
extern int64 key_table_find(KeyTable *table, const Datum *words, uint32 hash);
extern uint32 key_table_add(KeyTable *table, const Datum *words, uint32 hash,
							int64 time);
extern uint32 key_table_size(const KeyTable *table);
extern void key_table_times(const KeyTable *table, uint32 key,
							int64 *least, int64 *greatest);

/* ---- record_store.c: spine rows and events ---------------------------------- */

/*
 * A record is position-independent: by-reference values lie after its fixed
 * part and are kept as offsets, so that it is the same in memory and in a
 * file.  Stream 0 is the spine (a minimal tuple follows); stream n + 1 is the
 * plan's stream n.
 */
typedef struct Record
{
	int64		time;
	uint32		key;
	uint32		size;			/* whole, a multiple of 8 */
	uint32		stream;
	uint32		present;		/* bits of the first 32 inputs */
} Record;

typedef struct RecordStore RecordStore;

/* Records that lie one after the other. */
typedef struct RecordRun
{
	char	   *data;
	Size		used;
} RecordRun;

/* Called with the records of some entities, every one of them complete. */
typedef void (*RecordConsumer) (const RecordRun *runs, int nruns,
								uint64 nrecords, uint32 divisor, uint32 nslots,
								void *arg);

extern RecordStore *record_store_create(Size budget);
extern Record *record_store_reserve(RecordStore *store, Size size);
extern void record_store_append(RecordStore *store);
extern void record_store_finish(RecordStore *store, uint32 nkeys,
								uint32 groups, RecordConsumer consumer, void *arg);
extern uint64 record_store_spilled(const RecordStore *store);

/* ---- row_writer.c: rows of the result -------------------------------------------- */

typedef struct RowWriter RowWriter;

extern RowWriter *row_writer_create(TupleDesc desc, int nspine,
									Tuplestorestate *output);
extern void row_writer_put(RowWriter *writer, MinimalTuple row,
						   const Datum *values, const bool *nulls);
extern void row_writer_end(RowWriter *writer);

/* ---- window.c: bounds and cursors --------------------------------------------- */

extern void shift_prepare(Shift *shift, bool local);
extern int64 shift_time(const Shift *shift, bool local, int64 time);
extern int64 shift_limit(const Shift *shift, int sign);
extern int64 local_to_instant(int64 time);
extern void window_start(Window *window);
extern void window_move(Window *window, const Stream *stream,
						int64 from, int64 to);

/* ---- aggregate.c: what is in a window -------------------------------------------- */

extern void input_start(Input *input, int index, const Stream *stream);
extern struct NumericData *int128_to_numeric(int128 value);
extern Datum feature_result(const Feature *feature, FeatureState *state,
							const Input *input, const Stream *stream,
							const Window *window, int64 time, bool *isnull);
extern Datum feature_empty_result(const Feature *feature, bool *isnull);

/* ---- state.c, statistics.c, by.c ----------------------------------------------------------------------- */

extern void feature_state_create(FeatureState *state, const Feature *feature,
								 const Input *input);
extern void feature_state_start(FeatureState *state, const Feature *feature,
								const Input *input, const Stream *stream);
extern void statistic_add(FeatureStatistic *s, const Feature *feature,
						  Datum value, bool isnull);
extern void by_plan(Feature *feature);
extern void by_start(Feature *feature, const Stream *stream);
extern Datum by_result(Feature *feature, const Window *window, int64 known_by,
					   int64 time, bool *isnull);

/* ---- known.c: what was known ----------------------------------------------------------- */

extern void known_start(Stream *stream);
extern Datum windowed_result(const Feature *feature, FeatureState *state,
							 FeatureState *known, const Input *input,
							 const Stream *stream, const Window *window,
							 int64 known_by, int64 time, bool *isnull);

/* ---- value_order.c, distinct.c, first_last.c, moments.c, rank_tree.c, sketch.c -------- */

extern bool input_orders_as_integer(const Input *input);
extern ValueOrder *value_order_create(const Input *input);
extern int	value_order_compare(ValueOrder *order, Datum a, Datum b);
extern int *events_by_value(const Input *input, int index, const Stream *stream,
							int from, int to, int *nevents);
extern void ranks_start(Input *input, int index, const Stream *stream);
extern void sequence_start(Input *input, int index, const Stream *stream);
extern Datum sequence_last(const Input *input, const Stream *stream, int lo,
						   int hi, int k);
extern Datum input_array(const Input *input, Datum *values, int n);
extern void distinct_start(Input *input, int index, const Stream *stream);
extern int64 distinct_count(DistinctCount *c, const Input *input, int lo, int hi);
extern void first_last_start(Input *input, int index, const Stream *stream);
extern Datum first_last_value(const Feature *feature, const Input *input,
							  const Stream *stream, int lo, int hi);
extern Datum first_last_time_since(const Feature *feature, const Input *input,
								   const Stream *stream, int lo, int hi,
								   int64 count, int64 time);
extern void moments_start(Input *input, int index, const Stream *stream);
extern struct NumericData *moments_result(const Feature *feature,
										  const Input *input, int lo, int hi,
										  int64 count, struct NumericData *sum);

extern RankTree *rank_tree_create(const Input *input, bool maxima);
extern Datum rank_tree_percentile(RankTree *tree, const FeatureSpec *spec,
								  const Input *input, const Stream *stream,
								  int lo, int hi, int64 count);
extern Datum rank_tree_top(RankTree *tree, int k, const Input *input,
						   const Stream *stream, int lo, int hi);
extern Sketch *sketch_create(int width);
extern void sketch_start(Sketch *sketch, int nevents);
extern void sketch_hashes(Input *input, int index, const Stream *stream);
extern int64 sketch_count(Sketch *sketch, const Input *input, int index,
						  const Stream *stream, int lo, int hi);

/* ---- other_aggregate.c: aggregate functions by name ------------------------------------ */

extern char *other_aggregate_name(const char *text);
extern OtherAggregate *other_aggregate_create(const struct Aggref *aggref);
extern OtherState *other_state_create(const OtherAggregate *aggregate,
									  int nevents);
extern Datum other_aggregate_result(OtherState *state, const Input *input,
									int index, const Stream *stream, int lo,
									int hi, bool *isnull);

/* ---- two_stacks.c: what cannot be subtracted --------------------------------------- */

extern TwoStacks *two_stacks_create(const FeatureSpec *spec, const Input *input,
									int index);
extern void two_stacks_start(TwoStacks *stacks, int nevents);
extern Datum two_stacks_extreme(TwoStacks *stacks, const Stream *stream,
								int lo, int hi);
extern double two_stacks_sum(TwoStacks *stacks, const Stream *stream,
							 int lo, int hi);
extern double two_stacks_variance(TwoStacks *stacks, const Stream *stream,
								  int lo, int hi);
extern double two_stacks_decayed(TwoStacks *stacks, const Stream *stream,
								 int lo, int hi, int64 time);

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

/* ---- records of events ------------------------------------------------------------- */

/* Where the event's time of knowledge is, if the stream has one. */
static inline Size
record_known_offset(const Stream *stream)
{
	Size		extra = stream->nwords > 1 ? stream->nwords - 1 : 0;

	return MAXALIGN(sizeof(Record) + extra * sizeof(uint32));
}

/* Where the values of an event of this stream start. */
static inline Size
record_values_offset(const Stream *stream)
{
	return record_known_offset(stream) +
		(stream->knowledge_time ? sizeof(int64) : 0);
}

/* When the event became known. */
static inline int64
record_known(const Record *record, const Stream *stream)
{
	return *(const int64 *) ((const char *) record + record_known_offset(stream));
}

/* The word of presence bits that has the input's. */
static inline uint32 *
record_word(Record *record, int input)
{
	return input < 32 ? &record->present :
		(uint32 *) ((char *) record + sizeof(Record)) + input / 32 - 1;
}

/* Does the event count for the input? */
static inline bool
record_has(Record *record, int input)
{
	return (*record_word(record, input) >> (input % 32)) & 1;
}

/* The event's value for an input that has one. */
static inline Datum
record_value(Record *record, const Stream *stream, const Input *input)
{
	Datum		value = ((Datum *) ((char *) record + record_values_offset(stream)))[input->slot];

	return input->typbyval ? value : PointerGetDatum((char *) record + value);
}

/* ---- run.c: the whole computation -------------------------------------------------- */

typedef struct FeatureCounts
{
	int64		rows_read;		/* = the four below */
	int64		rows_computed;
	int64		rows_rejected;
	int64		rows_beyond_as_of;
	int64		rows_unchanged;
	int64		rows_reached;	/* of those computed: not new */
	int64		events_read;	/* = used + the four below */
	int64		events_used;
	int64		events_rejected;
	int64		events_unknown;
	int64		events_unreached;
	int64		events_filtered;
	int64		spilled_bytes;
	double		read_ms;
	double		compute_ms;
} FeatureCounts;

/* How one source was read. */
typedef struct ScanReport
{
	const Stream *stream;		/* NULL: the spine */
	const char *way;
	int64		rows_read;
	int64		rows_kept;
	double		ms;
} ScanReport;

/* How a computation went, for people. */
typedef struct FeatureReport
{
	MemoryContext context;		/* of what is in it */
	List	   *scans;			/* of ScanReport */
	uint32		entities;
	int64		sorted_again;	/* runs of events that were not in order of time */
} FeatureReport;

/* Which part of the spine, and of the past; NULL: no limit. */
typedef struct FeatureRange
{
	const TimestampTz *from_time;
	const TimestampTz *to_time;
	const TimestampTz *as_of;
	const List *entity;			/* the values of the only entity; NIL: any */
	FeatureReport *report;		/* to be filled in, or NULL */
} FeatureRange;

/* Which transactions a snapshot did not see. */
typedef struct SnapshotMark
{
	TransactionId xmin;			/* all before it are over; invalid: no mark */
	TransactionId xmax;			/* none from it on has ended */
	int			nrunning;		/* between the two */
	TransactionId *running;
} SnapshotMark;

/* Which rows of the spine are computed: those that can have changed. */
typedef struct SpineChanges
{
	SnapshotMark since;			/* rows that it did not see are new */
	KeyTable   *reached;		/* by new events: rows between its times */
} SpineChanges;

typedef struct FeatureRun
{
	FeaturePlan *plan;
	const FeatureRange *range;
	const SpineChanges *changes;	/* NULL: all rows */
	KeyTable   *keys;
	RecordStore *store;
	Tuplestorestate *output;
	FeatureStatistic *statistics;	/* by feature, or NULL */
	MemoryContext scratch;		/* reset for every row read */
	int64		least_time;
	int64		greatest_time;
	FeatureCounts counts;
} FeatureRun;

extern char *feature_spine_sql(const FeaturePlan *plan,
							   const FeatureRange *range);
extern char *feature_stream_sql(const FeaturePlan *plan, const Stream *stream,
								const FeatureRange *range, bool bounded);
extern void features_run(FeaturePlan *plan, const FeatureRange *range,
						 const SpineChanges *changes, Tuplestorestate *output,
						 FeatureCounts *counts, FeatureStatistic *statistics);
extern void feature_counts_add(FeatureCounts *sum, const FeatureCounts *counts);

extern int64 feature_epoch(TimestampTz time, bool up);
extern void feature_read(FeatureRun *run);
extern void feature_compute(FeatureRun *run);

/* ---- feature_set.c: registered definitions ------------------------------------------- */

typedef struct FeatureSet
{
	char	   *name;
	Oid			owner;
	char	   *spine;
	List	   *entity;
	char	   *event_time;
	char	   *knowledge_time; /* or NULL */
	char	   *target;			/* qualified and quoted */
	char	   *timezone;
	char	   *search_path;
	List	   *spine_key;		/* columns, or NIL */
	List	   *specs;			/* of FeatureSpec */
} FeatureSet;

extern FeatureSet *feature_set_load(const char *name);
extern char *feature_target_name(const char *target, const char *set);
extern void feature_check_timezone(const char *timezone);
extern void feature_set_over(FeatureSet *set, const char *spine,
							 const char *target);
extern void feature_set_begin(const FeatureSet *set, UserScope *scope);

#endif							/* PIPELINE_FEATURE_H */
