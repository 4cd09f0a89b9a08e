/*
 * known_set.c
 *	  The events of a window that are known, for one feature, as they come and
 *	  go.
 *
 * An event comes when it has entered the window and has become known, and goes
 * when it leaves the window: so events do not go in the order in which they
 * came.  Counts and exact sums are added to and taken from; distinct counts,
 * percentiles and the like count by rank; for the first and the last a tree
 * says which of the events are there; and what cannot be taken back is on the
 * tree of partial_tree.c.  Each costs at most the logarithm of the number of
 * events, for each event that comes or goes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "feature/partial.h"

struct KnownSet
{
	const Feature *feature;
	Stream	   *stream;
	Input	   *input;			/* with what this entity needs; NULL: all count */
	MemoryContext context;		/* of the entity */

	/* events [lo, hi) that were known by then are there, if they count */
	int			lo;
	int			hi;
	int64		known_by;
	int			nknown;			/* of all events, in the order of knowledge */

	int64		count;
	int128		sum;			/* of integers, and of the squares of short ones */
	int128		square;
	Numeric		total;			/* of finite numerics */
	Numeric		squares;		/* of numerics and of bigints */
	int64		nans;
	int64		plus;
	int64		minus;
	int		   *scales;			/* how many have which display scale */
	int			scale;			/* none has a greater one */
	int		   *counts;			/* how many have which rank */
	int64		distinct;
	RankTree   *tree;			/* by rank, or by place in the order of time */
	int		   *places;			/* in that order */
	PartialTree *partials;
};

/* Is there a way to follow the feature's events, one by one? */
bool
known_set_applies(const Feature *feature)
{
	return feature->spec->aggregate != AGGREGATE_OTHER &&
		feature->spec->aggregate != AGGREGATE_APPROX_COUNT_DISTINCT;
}

/* ---- create --------------------------------------------------------------------------- */

static void
create_sums(KnownSet *set)
{
	int			scale = 0;

	set->total = int64_to_numeric(0);
	set->squares = int64_to_numeric(0);
	if (set->input->sum_method != SUM_NUMERIC)
		return;
	for (int i = 0; i < set->stream->nevents; i++)
	{
		Record	   *record = set->stream->events[i];
		Numeric		value;

		if (!record_has(record, set->feature->input))
			continue;
		value = DatumGetNumeric(record_value(record, set->stream, set->input));
		if (!numeric_is_nan(value) && !numeric_is_inf(value))
			scale = Max(scale, numeric_display_scale(value));
	}
	set->scales = palloc0_array(int, scale + 1);
}

/* Places in the order of time, and of values where events have one time. */
static void
create_places(KnownSet *set, bool values)
{
	int			n = set->stream->nevents;

	set->places = palloc_extended(((Size) n + 1) * sizeof(int), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
		set->places[i] = i;
	if (values)
	{
		int			at = 0;

		sequence_start(set->input, set->feature->input, set->stream);
		for (int i = 0; i < n; i++)
		{
			if (record_has(set->stream->events[i], set->feature->input))
				set->places[set->input->sequence[at]] = at;
			at += record_has(set->stream->events[i], set->feature->input);
		}
	}
	set->tree = rank_tree_create(set->places, n, false);
}

static void
create_content(KnownSet *set)
{
	const Feature *feature = set->feature;
	AggregateKind kind = feature->spec->aggregate;

	switch (kind)
	{
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			create_sums(set);
			break;
		case AGGREGATE_COUNT_DISTINCT:
		case AGGREGATE_TOP_K:
		case AGGREGATE_PERCENTILE:
			ranks_start(set->input, feature->input, set->stream);
			if (kind == AGGREGATE_COUNT_DISTINCT)
				set->counts = palloc0_array(int, set->input->nranks + 1);
			else
				set->tree = rank_tree_create(set->input->ranks, set->input->nranks,
											 kind == AGGREGATE_TOP_K);
			break;
		case AGGREGATE_FIRST:
		case AGGREGATE_LAST:
		case AGGREGATE_LAST_K:
			create_places(set, true);
			break;
		case AGGREGATE_TIME_SINCE_FIRST:
		case AGGREGATE_TIME_SINCE_LAST:
			create_places(set, false);
			break;
		default:
			break;
	}
}

/*
 * Make the empty set of the feature for the entity whose events the stream has,
 * in the context of the entity.
 */
KnownSet *
known_set_create(const Feature *feature, const Input *input, Stream *stream)
{
	MemoryContext before = MemoryContextSwitchTo(stream->context);
	KnownSet   *set = palloc0(sizeof(KnownSet));

	set->feature = feature;
	set->stream = stream;
	set->context = stream->context;
	set->known_by = PG_INT64_MIN;
	if (input != NULL)
	{
		set->input = palloc(sizeof(Input));
		*set->input = *input;
	}
	if (partial_applies(feature->spec, input))
		set->partials = partial_tree_create(feature->spec, set->input,
											feature->input, stream->nevents);
	else
		create_content(set);
	MemoryContextSwitchTo(before);
	return set;
}

/* ---- events come and go ------------------------------------------------------------------ */

static Numeric
change_numeric(Numeric sum, Numeric value, int sign)
{
	Numeric		changed = call_numeric(sign > 0 ? numeric_add : numeric_sub, sum, value);

	pfree(sum);
	return changed;
}

static void
change_squares(KnownSet *set, Numeric value, int sign)
{
	Numeric		square = call_numeric(numeric_mul, value, value);

	set->squares = change_numeric(set->squares, square, sign);
	pfree(square);
}

static void
change_total(KnownSet *set, Numeric value, int sign)
{
	int32		scale;

	if (numeric_is_nan(value))
		set->nans += sign;
	else if (numeric_is_inf(value))
	{
		if (numeric_is_positive(value))
			set->plus += sign;
		else
			set->minus += sign;
	}
	else
	{
		scale = numeric_display_scale(value);
		set->scales[scale] += sign;
		set->scale = Max(set->scale, scale);
		set->total = change_numeric(set->total, value, sign);
		if (set->input->needs_squares)
			change_squares(set, value, sign);
	}
}

static void
change_sums(KnownSet *set, Datum value, int sign)
{
	int64		number;

	switch (set->input->sum_method)
	{
		case SUM_INT64:
			number = set->input->type == INT2OID ? DatumGetInt16(value) :
				DatumGetInt32(value);
			set->sum += sign * number;
			set->square += sign * (int128) (number * number);
			break;
		case SUM_INT128:
			set->sum += sign * (int128) DatumGetInt64(value);
			if (set->input->needs_squares)
				change_squares(set, int64_to_numeric(DatumGetInt64(value)), sign);
			break;
		default:
			change_total(set, DatumGetNumeric(value), sign);
			break;
	}
}

static void
change_distinct(KnownSet *set, int event, int sign)
{
	int		   *count = &set->counts[set->input->ranks[event]];

	*count += sign;
	set->distinct += sign > 0 ? *count == 1 : -(*count == 0);
}

/* An event of the window that is known comes (1) or goes (-1). */
static void
change(KnownSet *set, int event, int sign)
{
	Record	   *record = set->stream->events[event];

	if (set->input != NULL && !record_has(record, set->feature->input))
		return;
	set->count += sign;
	if (set->partials != NULL && sign > 0)
		partial_tree_enter(set->partials, set->stream, event);
	else if (set->partials != NULL)
		partial_tree_leave(set->partials, event);
	else if (set->counts != NULL)
		change_distinct(set, event, sign);
	else if (set->tree != NULL)
		rank_tree_change(set->tree, event, sign);
	else if (set->total != NULL)
		change_sums(set, record_value(record, set->stream, set->input), sign);
}

static bool
event_is_known(const KnownSet *set, const Window *window, int event)
{
	return is_known(window, record_known(set->stream->events[event], set->stream),
					set->known_by);
}

/* The same, if it is known. */
static void
change_known(KnownSet *set, const Window *window, int event, int sign)
{
	if (event_is_known(set, window, event))
		change(set, event, sign);
}

/* More is known, or less: of the events between lo and hi, those come or go. */
static void
know(KnownSet *set, const Window *window, int64 known_by)
{
	const int  *order = known_order(set->stream);

	set->known_by = known_by;
	for (; set->nknown < set->stream->nevents &&
		 event_is_known(set, window, order[set->nknown]); set->nknown++)
	{
		int			event = order[set->nknown];

		if (event >= set->lo && event < set->hi)
			change(set, event, 1);
	}
	/* Clocks are set back. */
	for (; set->nknown > 0 && !event_is_known(set, window, order[set->nknown - 1]);
		 set->nknown--)
	{
		int			event = order[set->nknown - 1];

		if (event >= set->lo && event < set->hi)
			change(set, event, -1);
	}
}

/* Move to the window, as it is known then; what goes goes first. */
static void
move(KnownSet *set, const Window *window, int64 known_by)
{
	int			lo = window->lo;
	int			hi = Max(window->hi, window->lo);

	for (; set->lo < lo && set->lo < set->hi; set->lo++)
		change_known(set, window, set->lo, -1);
	if (set->lo < lo)
		set->lo = set->hi = lo;
	for (; set->hi > hi && set->hi > set->lo; set->hi--)
		change_known(set, window, set->hi - 1, -1);
	if (set->hi > hi)
		set->lo = set->hi = hi;
	know(set, window, known_by);
	for (; set->lo > lo; set->lo--)
		change_known(set, window, set->lo - 1, 1);
	for (; set->hi < hi; set->hi++)
		change_known(set, window, set->hi, 1);
	CHECK_FOR_INTERRUPTS();
}

/* ---- results -------------------------------------------------------------------------------- */

static Numeric
total_of(KnownSet *set)
{
	if (set->input->sum_method != SUM_NUMERIC)
		return int128_to_numeric(set->sum);
	while (set->scale > 0 && set->scales[set->scale] == 0)
		set->scale--;
	return numeric_total(set->total, set->scale, set->nans, set->plus, set->minus);
}

static Datum
value_at(const KnownSet *set, int64 n)
{
	int			event = set->input->sequence[rank_tree_nth(set->tree, n)];

	return record_value(set->stream->events[event], set->stream, set->input);
}

static Datum
last_values(const KnownSet *set, int k)
{
	int			n = Min(k, set->count);
	Datum	   *values = palloc_array(Datum, n);

	for (int i = 0; i < n; i++)
		values[i] = value_at(set, set->count - 1 - i);
	return input_array(set->input, values, n);
}

static Datum
time_since(const KnownSet *set, int64 n, int64 time)
{
	return DirectFunctionCall2(timestamp_mi, Int64GetDatum(time),
							   Int64GetDatum(set->stream->times[rank_tree_nth(set->tree, n)]));
}

/*
 * The value of the feature over the events of the window that were known by
 * `known_by`; time is counted from `time`.
 */
Datum
known_set_result(KnownSet *set, const Window *window, int64 known_by,
				 int64 time, bool *isnull)
{
	const Feature *feature = set->feature;
	MemoryContext before = MemoryContextSwitchTo(set->context);

	move(set, window, known_by);
	MemoryContextSwitchTo(before);
	if (set->count == 0)
		return empty_window_result(feature, window, isnull);
	if (set->partials != NULL)
		return partial_tree_result(set->partials, feature, set->count, time, isnull);
	*isnull = false;
	switch (feature->spec->aggregate)
	{
		case AGGREGATE_COUNT:
			return Int64GetDatum(set->count);
		case AGGREGATE_EXISTS:
			return BoolGetDatum(true);
		case AGGREGATE_RATE:
			return rate_result(feature, window, set->count, isnull);
		case AGGREGATE_SUM:
		case AGGREGATE_AVG:
			if (feature->value_type == INT8OID)
				return Int64GetDatum((int64) set->sum);
			return exact_sum_result(feature, total_of(set), set->count);
		case AGGREGATE_STDDEV:
		case AGGREGATE_VARIANCE:
			return moments_of(feature, set->count, total_of(set),
							  set->input->sum_method == SUM_INT64 ?
							  int128_to_numeric(set->square) : set->squares, isnull);
		case AGGREGATE_COUNT_DISTINCT:
			return Int64GetDatum(set->distinct);
		case AGGREGATE_TOP_K:
			return rank_tree_top(set->tree, feature->spec->k, set->input, set->stream);
		case AGGREGATE_PERCENTILE:
			return rank_tree_percentile(set->tree, feature->spec, set->input,
										set->stream, set->count);
		case AGGREGATE_FIRST:
			return value_at(set, 0);
		case AGGREGATE_LAST:
			return value_at(set, set->count - 1);
		case AGGREGATE_LAST_K:
			return last_values(set, feature->spec->k);
		case AGGREGATE_TIME_SINCE_FIRST:
			return time_since(set, 0, time);
		case AGGREGATE_TIME_SINCE_LAST:
			return time_since(set, set->count - 1, time);
		default:
			break;
	}
	pg_unreachable();
}
