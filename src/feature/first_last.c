/*
 * first_last.c
 *	  The first and the last event of a window, their values and their times.
 *
 * Ends of windows lie between times, never within: so all events of one time
 * are in a window, or none.  Of those that have one time, the first is the
 * one with the least value and the last the one with the greatest: the result
 * does not depend on the order in which they are read.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "feature/feature.h"

/*
 * Of the events [from, to), which have one time, return the one with the
 * least value (sign 1) or the greatest (-1); -1 if none counts.
 */
static int
pick_event(const Input *input, int index, const Stream *stream, int from,
		   int to, int sign)
{
	int			best = -1;

	for (int i = from; i < to; i++)
	{
		if (!record_has(stream->events[i], index))
			continue;
		if (best < 0 ||
			sign * value_order_compare(input->order,
									   record_value(stream->events[i], stream, input),
									   record_value(stream->events[best], stream, input)) < 0)
			best = i;
	}
	return best;
}

/*
 * For a new entity, note for every place at which a window can start the
 * first event, and for every place at which it can end the last.
 */
void
first_last_start(Input *input, int index, const Stream *stream)
{
	int			n = stream->nevents;
	Size		size = ((Size) n + 1) * sizeof(int);
	int			from;
	int			to;

	input->first = MemoryContextAllocHuge(CurrentMemoryContext, size);
	input->last = MemoryContextAllocHuge(CurrentMemoryContext, size);
	input->first[n] = -1;
	for (to = n; to > 0; to = from)
	{
		int			best;

		CHECK_FOR_INTERRUPTS();
		for (from = to - 1; from > 0 && stream->times[from - 1] == stream->times[to - 1];)
			from--;
		best = pick_event(input, index, stream, from, to, 1);
		input->first[from] = best >= 0 ? best : input->first[to];
	}
	input->last[0] = -1;
	for (from = 0; from < n; from = to)
	{
		int			best;

		CHECK_FOR_INTERRUPTS();
		for (to = from + 1; to < n && stream->times[to] == stream->times[from];)
			to++;
		best = pick_event(input, index, stream, from, to, -1);
		input->last[to] = best >= 0 ? best : input->last[from];
	}
}

/* The value of the first or last of the events [lo, hi); one of them counts. */
Datum
first_last_value(const Feature *feature, const Input *input,
				 const Stream *stream, int lo, int hi)
{
	int			event = feature->spec->aggregate == AGGREGATE_FIRST ?
		input->first[lo] : input->last[hi];

	Assert(event >= lo && event < hi);
	return record_value(stream->events[event], stream, input);
}

/* The place of the n-th event that counts, n from 1, after [0, lo). */
static int
nth_event(const Input *input, int lo, int hi, uint32 n)
{
	uint32		wanted = input->counts[lo] + n;

	while (hi - lo > 1)
	{
		int			middle = lo + (hi - lo) / 2;

		if (input->counts[middle] >= wanted)
			hi = middle;
		else
			lo = middle;
	}
	return lo;
}

/*
 * The time from the first or last of the events [lo, hi), of which `count`
 * count, to `time`.
 */
Datum
first_last_time_since(const Feature *feature, const Input *input,
					  const Stream *stream, int lo, int hi, int64 count,
					  int64 time)
{
	bool		first = feature->spec->aggregate == AGGREGATE_TIME_SINCE_FIRST;
	int			event;

	if (input == NULL)
		event = first ? lo : hi - 1;
	else
		event = nth_event(input, lo, hi, first ? 1 : (uint32) count);
	return DirectFunctionCall2(timestamp_mi, Int64GetDatum(time),
							   Int64GetDatum(stream->times[event]));
}
