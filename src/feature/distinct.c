/*
 * distinct.c
 *	  How many different values a window has.
 *
 * Each event that counts is linked, once for all windows, to the event before
 * and after it that has an equal value.  An event at the end of a window adds
 * a value unless the one before it is inside, and one at its start takes a
 * value away unless the one after it is inside; so the count follows the
 * cursors, to either side.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "feature/feature.h"

/*
 * Link the events of a new entity, in the current context.  An event that
 * does not count gets links that never add or take away.
 */
void
distinct_start(Input *input, int index, const Stream *stream)
{
	int			n = stream->nevents;
	Size		size = ((Size) n + 1) * sizeof(int);
	int			nsorted;
	int		   *sorted = events_by_value(input, index, stream, 0, n, &nsorted);

	input->before = MemoryContextAllocHuge(CurrentMemoryContext, size);
	input->after = MemoryContextAllocHuge(CurrentMemoryContext, size);
	for (int i = 0; i < n; i++)
	{
		bool		counts = record_has(stream->events[i], index);

		input->before[i] = counts ? -1 : n;
		input->after[i] = counts ? n : -1;
	}
	for (int i = 1; i < nsorted; i++)
	{
		if (value_order_compare(input->order,
								record_value(stream->events[sorted[i - 1]], stream, input),
								record_value(stream->events[sorted[i]], stream, input)) != 0)
			continue;
		input->before[sorted[i]] = sorted[i - 1];
		input->after[sorted[i - 1]] = sorted[i];
	}
	pfree(sorted);
}

/* Move the feature's window to the events [lo, hi); return its count. */
int64
distinct_count(DistinctCount *c, const Input *input, int lo, int hi)
{
	if (lo > c->hi || hi < c->lo)
	{
		c->lo = c->hi = lo;
		c->count = 0;
	}
	for (; c->hi < hi; c->hi++)
		c->count += input->before[c->hi] < c->lo;
	for (; c->lo > lo; c->lo--)
		c->count += input->after[c->lo - 1] >= c->hi;
	for (; c->hi > hi; c->hi--)
		c->count -= input->before[c->hi - 1] < c->lo;
	for (; c->lo < lo; c->lo++)
		c->count -= input->after[c->lo] >= c->hi;
	return c->count;
}
