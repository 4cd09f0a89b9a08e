/*
 * two_stacks.c
 *	  Aggregates over a sliding window that cannot be subtracted from; see
 *	  partial.h.
 *
 * The window [lo, hi) is kept as two stacks that meet at mid: for each i in
 * [lo, mid) the aggregate of [i, mid), and one aggregate of [mid, hi).  An
 * event that enters joins the latter; one that leaves is forgotten.  When lo
 * passes mid, the stack is built again over the whole window, with mid = hi;
 * so each event is added twice, whatever the window.  When a cursor steps
 * back, the window is added anew.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "feature/partial.h"

struct TwoStacks
{
	PartialMethod method;
	MemoryContext context;
	int			lo;
	int			mid;
	int			hi;
	Partial		front;			/* [mid, hi) */
	Partial    *back;			/* back[i]: [i, mid) */
	int			capacity;
};

/* Make the stacks of a feature, in the current context. */
TwoStacks *
two_stacks_create(const FeatureSpec *spec, const Input *input, int index)
{
	TwoStacks  *stacks = palloc0(sizeof(TwoStacks));

	stacks->context = CurrentMemoryContext;
	partial_method(&stacks->method, spec, input, index);
	return stacks;
}

/* Forget the last entity; the new one has that many events. */
void
two_stacks_start(TwoStacks *stacks, int nevents)
{
	stacks->lo = stacks->mid = stacks->hi = 0;
	stacks->front.any = false;
	if (nevents > stacks->capacity)
	{
		if (stacks->back != NULL)
			pfree(stacks->back);
		stacks->capacity = Max(nevents, Min((int64) stacks->capacity * 2,
											PG_INT32_MAX));
		stacks->back = MemoryContextAllocHuge(stacks->context,
											  (Size) stacks->capacity * sizeof(Partial));
	}
}

/* Build the back stack over the whole window. */
static void
turn_over(TwoStacks *stacks, const Stream *stream)
{
	Partial		value;

	CHECK_FOR_INTERRUPTS();
	value.any = false;
	for (int i = stacks->hi - 1; i >= stacks->lo; i--)
	{
		value = partial_combine(&stacks->method, partial_of(&stacks->method, stream, i), value);
		stacks->back[i] = value;
	}
	stacks->mid = stacks->hi;
	stacks->front.any = false;
}

/* Return the aggregate of the events [lo, hi), at least one. */
static Partial
two_stacks_slide(TwoStacks *stacks, const Stream *stream, int lo, int hi)
{
	if (lo < stacks->lo || hi < stacks->hi || lo > stacks->hi)
	{
		stacks->mid = stacks->hi = lo;
		stacks->front.any = false;
	}
	stacks->lo = lo;
	for (; stacks->hi < hi; stacks->hi++)
		stacks->front = partial_combine(&stacks->method, stacks->front,
								partial_of(&stacks->method, stream, stacks->hi));
	if (lo > stacks->mid)
		turn_over(stacks, stream);
	if (lo < stacks->mid)
		return partial_combine(&stacks->method, stacks->back[lo], stacks->front);
	return stacks->front;
}

/* The value of the feature over the events [lo, hi), of which `count` count. */
Datum
two_stacks_result(TwoStacks *stacks, const Feature *feature,
				  const Stream *stream, int lo, int hi, int64 count, int64 time,
				  bool *isnull)
{
	return partial_result(&stacks->method, feature,
						  two_stacks_slide(stacks, stream, lo, hi), count, time, isnull);
}
