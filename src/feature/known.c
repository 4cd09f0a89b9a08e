/*
 * known.c
 *	  What was known: with a knowledge time, an event counts for a row at time
 *	  t only if it was known by t, in windows that do not look ahead.
 *
 * Where every event of the window, and before it, is known, one comparison says
 * so, and the window is computed as any other.  Where one is not, those that
 * count come and go in an order of their own: known_set.c follows them.
 * Sketches and aggregate functions by name have nothing of that kind: for them
 * the events that are known are gathered, row by row, and the feature is computed
 * over them alone, by the same functions.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "feature/feature.h"

/*
 * Note, for a new entity, when the last of the first i events was known; in the
 * current context, which lives as long as the entity.
 */
void
known_start(Stream *stream)
{
	stream->context = CurrentMemoryContext;
	stream->by_known = NULL;
	stream->known = MemoryContextAllocHuge(CurrentMemoryContext,
										   ((Size) stream->nevents + 1) * sizeof(int64));
	stream->known[0] = PG_INT64_MIN;
	for (int i = 0; i < stream->nevents; i++)
		stream->known[i + 1] = Max(stream->known[i],
								   record_known(stream->events[i], stream));
}

static int
compare_known(const void *a, const void *b, void *arg)
{
	const Stream *stream = arg;
	int64		x = record_known(stream->events[*(const int *) a], stream);
	int64		y = record_known(stream->events[*(const int *) b], stream);

	return x < y ? -1 : x > y;
}

/* The events of the entity in the order in which they became known. */
const int *
known_order(Stream *stream)
{
	if (stream->by_known != NULL)
		return stream->by_known;
	stream->by_known = MemoryContextAllocHuge(stream->context,
											  ((Size) stream->nevents + 1) * sizeof(int));
	for (int i = 0; i < stream->nevents; i++)
		stream->by_known[i] = i;
	qsort_arg(stream->by_known, stream->nevents, sizeof(int), compare_known, stream);
	CHECK_FOR_INTERRUPTS();
	return stream->by_known;
}

/* Is some event of the window, or before it, not known at that time? */
static bool
is_partial(const Stream *stream, const Window *window, int64 time)
{
	return window->only_known && window->hi > window->lo &&
		!is_known(window, stream->known[window->hi], time);
}

/*
 * The value of a feature over those events of its window that were known by
 * `known_by`; the rest as feature_result(), in the context of the row.
 */
static Datum
gathered_result(const Feature *feature, FeatureState *state, const Input *input,
				const Stream *stream, const Window *window, int64 known_by,
				int64 time, bool *isnull)
{
	int			n = window->hi - window->lo;
	Stream		visible = *stream;
	Window		whole = *window;
	Input		copy;

	visible.nevents = 0;
	visible.events = MemoryContextAllocHuge(CurrentMemoryContext,
											(Size) n * sizeof(Record *));
	for (int i = window->lo; i < window->hi; i++)
	{
		if (!is_known(window, record_known(stream->events[i], stream), known_by))
			continue;
		visible.events[visible.nevents++] = stream->events[i];
	}
	stream_times(&visible);
	CHECK_FOR_INTERRUPTS();
	whole.lo = 0;
	whole.hi = visible.nevents;
	if (input != NULL)
	{
		copy = *input;
		input_start(&copy, feature->input, &visible);
		input = &copy;
	}
	feature_state_start(state, feature, input, &visible);
	return feature_result(feature, state, input, &visible, &whole, time, isnull);
}

/*
 * The value of a feature for the row at which its window stands: over the
 * whole window, or over what was known by `known_by`, if that is less.
 */
Datum
windowed_result(const Feature *feature, FeatureState *state,
				FeatureState *known, const Input *input, Stream *stream,
				const Window *window, int64 known_by, int64 time, bool *isnull)
{
	if (!is_partial(stream, window, known_by))
		return feature_result(feature, state, input, stream, window, time, isnull);
	if (!known_set_applies(feature))
		return gathered_result(feature, known, input, stream, window, known_by,
							   time, isnull);
	if (known->set == NULL)
		known->set = known_set_create(feature, input, stream);
	return known_set_result(known->set, window, known_by, time, isnull);
}
