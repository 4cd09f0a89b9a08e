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

typedef struct Sorting
{
	const Stream *stream;
	const Input *input;
} Sorting;

static Datum
event_value(const Sorting *sorting, int event)
{
	return record_value(sorting->stream->events[event], sorting->stream,
						sorting->input);
}

/* By value, then in order of the events. */
static int
compare_events(const void *a, const void *b, void *arg)
{
	const Sorting *sorting = arg;
	int			x = *(const int *) a;
	int			y = *(const int *) b;
	int			order;

	CHECK_FOR_INTERRUPTS();
	order = value_order_compare(sorting->input->order, event_value(sorting, x),
								event_value(sorting, y));
	return order != 0 ? order : x < y ? -1 : x > y;
}

/*
 * Link the events of a new entity, in the current context.  An event that
 * does not count gets links that never add or take away.
 */
void
distinct_start(Input *input, int index, const Stream *stream)
{
	int			n = stream->nevents;
	Size		size = ((Size) n + 1) * sizeof(int);
	int		   *sorted = MemoryContextAllocHuge(CurrentMemoryContext, size);
	int			nsorted = 0;
	Sorting		sorting = {stream, input};

	input->before = MemoryContextAllocHuge(CurrentMemoryContext, size);
	input->after = MemoryContextAllocHuge(CurrentMemoryContext, size);
	for (int i = 0; i < n; i++)
	{
		bool		counts = record_has(stream->events[i], index);

		input->before[i] = counts ? -1 : n;
		input->after[i] = counts ? n : -1;
		if (counts)
			sorted[nsorted++] = i;
	}
	qsort_arg(sorted, nsorted, sizeof(int), compare_events, &sorting);
	CHECK_FOR_INTERRUPTS();
	for (int i = 1; i < nsorted; i++)
	{
		if (value_order_compare(input->order, event_value(&sorting, sorted[i - 1]),
								event_value(&sorting, sorted[i])) != 0)
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
