/*
 * aggregate.h
 *	  Where a window stands over the events of an entity, and what it holds.
 */
#ifndef PIPELINE_FEATURE_AGGREGATE_H
#define PIPELINE_FEATURE_AGGREGATE_H

#include "feature/plan.h"
#include "feature/record.h"

/* ---- window.c: bounds and cursors --------------------------------------------- */

extern void shift_prepare(Shift *shift, bool local);
extern int64 shift_time(const Shift *shift, bool local, int64 time);
extern int64 shift_limit(const Shift *shift, int sign);
extern int64 local_to_instant(int64 time);
extern int	times_before(const int64 *times, int n, int at, int64 time,
						 bool or_equal);
extern void stream_times(Stream *stream);
extern void window_move(Window *window, const Stream *stream,
						int64 from, int64 to);

/* ---- prefix.c: counts and exact sums --------------------------------------------- */

extern void input_start(Input *input, int index, const Stream *stream);
extern struct NumericData *input_sum(const Input *input, int lo, int hi);
extern struct NumericData *int128_to_numeric(int128 value);
extern struct NumericData *call_numeric(PGFunction function, struct NumericData *a,
										struct NumericData *b);
extern struct NumericData *special_numeric(const char *text);
extern int32 numeric_display_scale(struct NumericData *number);
extern bool numeric_is_positive(struct NumericData *number);
extern struct NumericData *numeric_total(struct NumericData *sum, int32 scale,
										 int64 nans, int64 plus, int64 minus);

/* ---- aggregate.c: what is in a window -------------------------------------------- */

extern Datum feature_result(const Feature *feature, FeatureState *state,
							const Input *input, const Stream *stream,
							const Window *window, int64 time, bool *isnull);
extern Datum exact_sum_result(const Feature *feature, struct NumericData *sum,
							  int64 count);
extern Datum rate_result(const Feature *feature, const Window *window,
						 int64 count, bool *isnull);
extern Datum empty_window_result(const Feature *feature, const Window *window,
								 bool *isnull);
extern Datum feature_empty_result(const Feature *feature, bool *isnull);

/* ---- state.c, statistics.c, by.c ----------------------------------------------------------------------- */

extern void feature_state_create(FeatureState *state, const Feature *feature,
								 const Input *input);
extern void feature_state_start(FeatureState *state, const Feature *feature,
								const Input *input, const Stream *stream);
extern void statistic_add(FeatureStatistic *s, const Feature *feature,
						  Datum value, bool isnull);
extern void statistic_merge(FeatureStatistic *s, const FeatureStatistic *other);
extern void by_plan(Feature *feature);
extern void by_start(Feature *feature, const Stream *stream);
extern Datum by_result(Feature *feature, const Window *window, int64 known_by,
					   int64 time, bool *isnull);

/* ---- known.c, known_set.c: what was known ----------------------------------------------- */

/* Was it known by that time, or before it where the right end is open? */
static inline bool
is_known(const Window *window, int64 known, int64 time)
{
	return window->closed_right ? known <= time : known < time;
}

extern void known_start(Stream *stream);
extern const int *known_order(Stream *stream);
extern bool known_set_applies(const Feature *feature);
extern KnownSet *known_set_create(const Feature *feature, const Input *input,
								  Stream *stream);
extern Datum known_set_result(KnownSet *set, const Window *window,
							  int64 known_by, int64 time, bool *isnull);
extern Datum windowed_result(const Feature *feature, FeatureState *state,
							 FeatureState *known, const Input *input,
							 Stream *stream, const Window *window,
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
extern Datum moments_of(const Feature *feature, int64 count,
						struct NumericData *sum, struct NumericData *squares,
						bool *isnull);
extern Datum moments_result(const Feature *feature, const Input *input, int lo,
							int hi, int64 count, bool *isnull);

extern RankTree *rank_tree_create(const int *ranks, int nranks, bool maxima);
extern void rank_tree_move(RankTree *tree, int lo, int hi);
extern void rank_tree_change(RankTree *tree, int event, int change);
extern int	rank_tree_nth(const RankTree *tree, int64 n);
extern Datum rank_tree_percentile(RankTree *tree, const FeatureSpec *spec,
								  const Input *input, const Stream *stream,
								  int64 count);
extern Datum rank_tree_top(RankTree *tree, int k, const Input *input,
						   const Stream *stream);
extern Sketch *sketch_create(int width);
extern void sketch_start(Sketch *sketch, int nevents);
extern void sketch_hashes(Input *input, int index, const Stream *stream);
extern int64 sketch_count(Sketch *sketch, const Input *input, int index,
						  const Stream *stream, int lo, int hi);

/* ---- other_aggregate.c: aggregate functions by name ------------------------------------ */

extern char *other_aggregate_name(const char *text);
extern bool other_aggregate_is_safe(const OtherAggregate *other);
extern OtherAggregate *other_aggregate_create(const struct Aggref *aggref);
extern OtherState *other_state_create(const Feature *feature,
									  const Input *input, const Stream *stream);
extern Datum other_aggregate_result(OtherState *state, int lo, int hi, bool *isnull);

#endif							/* PIPELINE_FEATURE_AGGREGATE_H */
