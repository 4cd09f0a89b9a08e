/*
 * partial_tree.c
 *	  Aggregates that cannot be subtracted from, over events that come and go in
 *	  any order; see partial.h.
 *
 * A complete binary tree over the events of an entity keeps for each that is
 * there its partial aggregate; an inner node keeps its children's, combined.
 * An event that comes or goes changes one path, and the root is the whole.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "feature/partial.h"

struct PartialTree
{
	PartialMethod method;
	int			leaves;			/* a power of two */
	Partial    *nodes;			/* 1 is the root; leaves are at the end */
};

/* Make the empty tree of a new entity, in the current context. */
PartialTree *
partial_tree_create(const FeatureSpec *spec, const Input *input, int index,
					int nevents)
{
	PartialTree *tree = palloc(sizeof(PartialTree));

	partial_method(&tree->method, spec, input, index);
	tree->leaves = 1;
	while (tree->leaves < nevents)
		tree->leaves *= 2;
	tree->nodes = palloc_extended((Size) tree->leaves * 2 * sizeof(Partial),
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	return tree;
}

static void
set_leaf(PartialTree *tree, int event, Partial value)
{
	int			node = tree->leaves + event;

	tree->nodes[node] = value;
	for (node /= 2; node > 0; node /= 2)
		tree->nodes[node] = partial_combine(&tree->method, tree->nodes[node * 2],
											tree->nodes[node * 2 + 1]);
}

/* An event comes, that counts. */
void
partial_tree_enter(PartialTree *tree, const Stream *stream, int event)
{
	set_leaf(tree, event, partial_of(&tree->method, stream, event));
}

/* It goes. */
void
partial_tree_leave(PartialTree *tree, int event)
{
	set_leaf(tree, event, (Partial) {false});
}

/* The value of the feature over those that are there: `count`, at least one. */
Datum
partial_tree_result(const PartialTree *tree, const Feature *feature,
					int64 count, int64 time, bool *isnull)
{
	return partial_result(&tree->method, feature, tree->nodes[1], count, time, isnull);
}
