/*
 * rank_tree.c
 *	  The values of a sliding window by rank: the n-th of them in order, and
 *	  those that occur most often.
 *
 * The values of an entity are ranked once for all windows (value_order.c).  A
 * complete binary tree over the ranks keeps how often each value is in the
 * window; an inner node keeps the sum of its children, or the greater of
 * them.  An event that enters or leaves changes one path, so the window may
 * move to either side.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "feature/feature.h"

struct RankTree
{
	bool		maxima;			/* of the children, not sums */
	const int  *ranks;			/* of events; -1: does not count */
	int			leaves;			/* a power of two */
	int		   *nodes;			/* 1 is the root; leaves are at the end */
	int			lo;				/* the events in it */
	int			hi;
};

/*
 * Make the empty tree of a new entity, whose events have these ranks, in the
 * current context.
 */
RankTree *
rank_tree_create(const int *ranks, int nranks, bool maxima)
{
	RankTree   *tree = palloc(sizeof(RankTree));

	tree->maxima = maxima;
	tree->ranks = ranks;
	tree->leaves = 1;
	while (tree->leaves < nranks)
		tree->leaves *= 2;
	tree->nodes = palloc_extended((Size) tree->leaves * 2 * sizeof(int),
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	tree->lo = tree->hi = 0;
	return tree;
}

/* An event enters (1) or leaves (-1). */
void
rank_tree_change(RankTree *tree, int event, int change)
{
	int		   *nodes = tree->nodes;
	int			node = tree->leaves + tree->ranks[event];

	if (tree->ranks[event] < 0)
		return;
	nodes[node] += change;
	for (node /= 2; node > 0; node /= 2)
		nodes[node] = tree->maxima ? Max(nodes[node * 2], nodes[node * 2 + 1]) :
			nodes[node] + change;
}

/* Move the window to the events [lo, hi). */
void
rank_tree_move(RankTree *tree, int lo, int hi)
{
	if (lo >= tree->hi || hi <= tree->lo)
	{
		for (; tree->lo < tree->hi; tree->lo++)
			rank_tree_change(tree, tree->lo, -1);
		tree->lo = tree->hi = lo;
	}
	for (; tree->hi < hi; tree->hi++)
		rank_tree_change(tree, tree->hi, 1);
	for (; tree->lo > lo; tree->lo--)
		rank_tree_change(tree, tree->lo - 1, 1);
	for (; tree->hi > hi; tree->hi--)
		rank_tree_change(tree, tree->hi - 1, -1);
	for (; tree->lo < lo; tree->lo++)
		rank_tree_change(tree, tree->lo, -1);
}

/* The rank of the n-th value that is there, n from 0, in order. */
int
rank_tree_nth(const RankTree *tree, int64 n)
{
	int			node = 1;

	while (node < tree->leaves)
	{
		node *= 2;
		if (n >= tree->nodes[node])
			n -= tree->nodes[node++];
	}
	return node - tree->leaves;
}

static Datum
rank_value(const Input *input, const Stream *stream, int rank)
{
	return record_value(stream->events[input->samples[rank]], stream, input);
}

/* The value so far between two of them, as percentile_cont() says it. */
static Datum
between(const Input *input, Datum low, Datum high, double part)
{
	Datum		step;

	if (input->type == FLOAT8OID)
		return Float8GetDatum(DatumGetFloat8(low) +
							  part * (DatumGetFloat8(high) - DatumGetFloat8(low)));
	step = DirectFunctionCall2(interval_mul, DirectFunctionCall2(interval_mi, high, low),
							   Float8GetDatum(part));
	return DirectFunctionCall2(interval_pl, step, low);
}

/*
 * The percentile of the values that are there, `count` of them: as
 * percentile_cont() and percentile_disc() say it.
 */
Datum
rank_tree_percentile(RankTree *tree, const FeatureSpec *spec,
					 const Input *input, const Stream *stream, int64 count)
{
	double		at;
	Datum		low;

	if (!spec->continuous)
	{
		int64		row = (int64) ceil(spec->fraction * count);

		return rank_value(input, stream, rank_tree_nth(tree, Max(row, 1) - 1));
	}
	at = spec->fraction * (count - 1);
	low = rank_value(input, stream, rank_tree_nth(tree, (int64) floor(at)));
	if (floor(at) == ceil(at))
		return low;
	return between(input, low, rank_value(input, stream, rank_tree_nth(tree, (int64) ceil(at))),
				   at - floor(at));
}

/* Take the most frequent value, of several the least, out of the tree. */
static int
take_greatest(RankTree *tree, int *count)
{
	int		   *nodes = tree->nodes;
	int			node = 1;

	*count = nodes[1];
	while (node < tree->leaves)
	{
		node *= 2;
		if (nodes[node] != *count)
			node++;
	}
	nodes[node] = 0;
	for (int up = node / 2; up > 0; up /= 2)
		nodes[up] = Max(nodes[up * 2], nodes[up * 2 + 1]);
	return node - tree->leaves;
}

static void
put_back(RankTree *tree, int rank, int count)
{
	int			node = tree->leaves + rank;

	tree->nodes[node] = count;
	for (node /= 2; node > 0; node /= 2)
		tree->nodes[node] = Max(tree->nodes[node], count);
}

/* The k most frequent values that are there, as an array. */
Datum
rank_tree_top(RankTree *tree, int k, const Input *input, const Stream *stream)
{
	int			most = Min(k, input->nranks);
	int		   *ranks = palloc_array(int, most);
	int		   *counts = palloc_array(int, most);
	Datum	   *values = palloc_array(Datum, most);
	int			n = 0;

	while (n < most && tree->nodes[1] > 0)
	{
		ranks[n] = take_greatest(tree, &counts[n]);
		values[n] = rank_value(input, stream, ranks[n]);
		n++;
	}
	for (int i = 0; i < n; i++)
		put_back(tree, ranks[i], counts[i]);
	return input_array(input, values, n);
}
