/*
 * value_order.c
 *	  The order of an input's values, and what follows from it: events in the
 *	  order of their values, ranks, arrays of values.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "feature/feature.h"

typedef struct Sorting
{
	const Stream *stream;
	const Input *input;
} Sorting;

/* Does the order of the Datums, as signed integers, order the values? */
bool
input_orders_as_integer(const Input *input)
{
	switch (input->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* Datums of signed integers are sign-extended. */
			return input->typbyval && sizeof(Datum) == sizeof(int64);
	}
	return false;
}

/* Make the order of an input's values, in the current context. */
ValueOrder *
value_order_create(const Input *input)
{
	ValueOrder *order = palloc0(sizeof(ValueOrder));

	order->integer = input_orders_as_integer(input);
	order->collation = input->collation;
	fmgr_info(lookup_type_cache(input->type, TYPECACHE_CMP_PROC)->cmp_proc,
			  &order->compare);
	return order;
}

/* Compare two values: negative, 0 or positive. */
int
value_order_compare(ValueOrder *order, Datum a, Datum b)
{
	if (order->integer)
		return (int64) a < (int64) b ? -1 : (int64) a > (int64) b;
	return DatumGetInt32(FunctionCall2Coll(&order->compare, order->collation,
										   a, b));
}

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
 * Return those of the events [from, to) that count, in the order of their
 * values, in the current context.
 */
int *
events_by_value(const Input *input, int index, const Stream *stream, int from,
				int to, int *nevents)
{
	int		   *sorted = MemoryContextAllocHuge(CurrentMemoryContext,
												((Size) (to - from) + 1) * sizeof(int));
	Sorting		sorting = {stream, input};
	int			n = 0;

	for (int i = from; i < to; i++)
	{
		if (record_has(stream->events[i], index))
			sorted[n++] = i;
	}
	qsort_arg(sorted, n, sizeof(int), compare_events, &sorting);
	CHECK_FOR_INTERRUPTS();
	*nevents = n;
	return sorted;
}

/* Rank the values of a new entity, from 0, equal ones alike. */
void
ranks_start(Input *input, int index, const Stream *stream)
{
	Sorting		sorting = {stream, input};
	int			n;
	int		   *sorted = events_by_value(input, index, stream, 0,
										 stream->nevents, &n);

	input->ranks = MemoryContextAllocHuge(CurrentMemoryContext,
										  ((Size) stream->nevents + 1) * sizeof(int));
	for (int i = 0; i < stream->nevents; i++)
		input->ranks[i] = -1;
	/* The samples take the place of the events sorted: there are no more. */
	input->samples = sorted;
	input->nranks = 0;
	for (int i = 0; i < n; i++)
	{
		int			event = sorted[i];

		if (input->nranks == 0 ||
			value_order_compare(input->order,
								event_value(&sorting, sorted[input->nranks - 1]),
								event_value(&sorting, event)) != 0)
			sorted[input->nranks++] = event;
		input->ranks[event] = input->nranks - 1;
	}
}

/* An array of values of the input. */
Datum
input_array(const Input *input, Datum *values, int n)
{
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(input->type, &len, &byval, &align);
	return PointerGetDatum(construct_array(values, n, input->type, len, byval,
										   align));
}

/*
 * Put the events of a new entity that count in order of time, those of one
 * time in order of their values: no end of a window lies between those.
 */
void
sequence_start(Input *input, int index, const Stream *stream)
{
	int			n = 0;
	int			to;

	input->sequence = MemoryContextAllocHuge(CurrentMemoryContext,
											 ((Size) stream->nevents + 1) * sizeof(int));
	for (int from = 0; from < stream->nevents; from = to)
	{
		int			count;
		int		   *sorted;

		for (to = from + 1; to < stream->nevents && stream->times[to] == stream->times[from];)
			to++;
		sorted = events_by_value(input, index, stream, from, to, &count);
		memcpy(&input->sequence[n], sorted, count * sizeof(int));
		n += count;
		pfree(sorted);
	}
}

/*
 * The last k values of the events [lo, hi), as an array, the latest first; of
 * one time, the greatest first.
 */
Datum
sequence_last(const Input *input, const Stream *stream, int lo, int hi, int k)
{
	int			end = input->counts[hi];
	int			n = Min(k, end - (int) input->counts[lo]);
	Datum	   *values = palloc_array(Datum, n);

	for (int i = 0; i < n; i++)
		values[i] = record_value(stream->events[input->sequence[end - 1 - i]],
								 stream, input);
	return input_array(input, values, n);
}
