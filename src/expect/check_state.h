/*
 * check_state.h
 *	  The state of the aggregate _check: counts, samples and places.
 */
#ifndef PIPELINE_CHECK_STATE_H
#define PIPELINE_CHECK_STATE_H

#include "postgres.h"

#include "fmgr.h"

#include "expect/check_places.h"

typedef struct Counts
{
	int64		elements;
	int64		missing;
	int64		unexpected;
	int			limit;
	int			nsamples;
	char	  **values;			/* JSON texts */
	char	  **keys;			/* the same, or NULL */
} Counts;

typedef struct CheckState
{
	struct RowScan *scan;			/* NULL in a state that was received */
	int			nchecks;
	Counts	   *counts;
	bool		has_places;
	Places		places;
} CheckState;

extern void pipeline_check_init_counts(CheckState *state, int nchecks, const int *limits);
extern void pipeline_check_init_samples(Counts *counts, MemoryContext context);

#endif							/* PIPELINE_CHECK_STATE_H */
