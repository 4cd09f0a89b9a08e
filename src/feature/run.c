/*
 * run.c
 *	  One computation from a plan to rows: read, compute, count.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "feature/feature.h"
#include "feature/parallel.h"
#include "feature/progress.h"

static double
milliseconds_since(instr_time *start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, *start);
	INSTR_TIME_SET_CURRENT(*start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* The counts are disjoint classes that add up; anything else is a bug. */
static void
check_counts(const FeatureCounts *c)
{
	if (c->rows_read != c->rows_computed + c->rows_rejected + c->rows_beyond_as_of +
		c->rows_unchanged)
		elog(ERROR, "rows of the spine do not add up");
	if (c->events_read != c->events_used + c->events_rejected +
		c->events_unknown + c->events_unreached + c->events_filtered)
		elog(ERROR, "events do not add up");
}

/* Add the counts of one computation to those of others. */
void
feature_counts_add(FeatureCounts *sum, const FeatureCounts *counts)
{
	sum->rows_read += counts->rows_read;
	sum->rows_computed += counts->rows_computed;
	sum->rows_rejected += counts->rows_rejected;
	sum->rows_beyond_as_of += counts->rows_beyond_as_of;
	sum->rows_unchanged += counts->rows_unchanged;
	sum->rows_reached += counts->rows_reached;
	sum->events_read += counts->events_read;
	sum->events_used += counts->events_used;
	sum->events_rejected += counts->events_rejected;
	sum->events_unknown += counts->events_unknown;
	sum->events_unreached += counts->events_unreached;
	sum->events_filtered += counts->events_filtered;
	sum->spilled_bytes += counts->spilled_bytes;
	sum->read_ms += counts->read_ms;
	sum->compute_ms += counts->compute_ms;
}

/*
 * Compute the features of the plan over the range of its spine, as the
 * current user, under the active snapshot, and put the rows, those of one
 * entity together and in order of time, into the output.  With `changes`, only
 * the rows that can have changed; the spine must be one that is read directly.
 */
void
features_run(FeaturePlan *plan, const FeatureRange *range,
			 const SpineChanges *changes, Tuplestorestate *output,
			 FeatureCounts *counts, FeatureStatistic *statistics)
{
	FeatureRun	run = {0};
	instr_time	start;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pipeline features",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before;

	const bool	begun = progress_begin(NULL);

	INSTR_TIME_SET_CURRENT(start);
	before = MemoryContextSwitchTo(context);
	run.plan = plan;
	run.range = range;
	run.changes = changes;
	run.statistics = statistics;
	run.output = output;
	run.scratch = AllocSetContextCreate(context, "pipeline event",
										ALLOCSET_DEFAULT_SIZES);
	run.keys = key_table_create(plan);
	run.store = record_store_create(get_hash_memory_limit());

	feature_read(&run);
	run.counts.read_ms = milliseconds_since(&start);
	feature_compute(&run);
	parallel_end(&run);
	run.counts.compute_ms = milliseconds_since(&start);
	run.counts.spilled_bytes += (int64) record_store_spilled(run.store);
	check_counts(&run.counts);

	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	if (begun)
		progress_end();
	*counts = run.counts;
}
