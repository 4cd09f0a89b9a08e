/*
 * known.c
 *	  What was known: with a knowledge time, an event counts for a row at time
 *	  t only if it was known by t, in windows that do not look ahead.
 *
 * At most rows every event of the window, and before it, is known: one
 * comparison says so, and the window is computed as any other.  Where one is
 * not, the events of the window that are known are gathered, and the feature
 * is computed over them alone, by the same functions.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "feature/feature.h"

/* Note, for a new entity, when the last of the first i events was known. */
void
known_start(Stream *stream)
{
	stream->known = MemoryContextAllocHuge(CurrentMemoryContext,
										   ((Size) stream->nevents + 1) * sizeof(int64));
	stream->known[0] = PG_INT64_MIN;
	for (int i = 0; i < stream->nevents; i++)
		stream->known[i + 1] = Max(stream->known[i],
								   record_known(stream->events[i], stream));
}

/* Was it known by that time, or before it where the right end is open? */
static inline bool
is_known(const Window *window, int64 known, int64 time)
{
	return window->closed_right ? known <= time : known < time;
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
known_result(const Feature *feature, FeatureState *state, const Input *input,
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
				FeatureState *known, const Input *input, const Stream *stream,
				const Window *window, int64 known_by, int64 time, bool *isnull)
{
	if (is_partial(stream, window, known_by))
		return known_result(feature, known, input, stream, window, known_by,
							time, isnull);
	return feature_result(feature, state, input, stream, window, time, isnull);
}
