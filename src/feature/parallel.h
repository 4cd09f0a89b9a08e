/*
 * parallel.h
 *	  A computation that other processes help with.
 *
 * The spine is read by the process that was asked.  Then all scan the sources
 * together, each block of a table once; records go to the process that their
 * entity falls to (exchange.h); each computes its entities; the rows of those
 * that helped come back in files.
 *
 *	parallel.c			does it pay, and may it be; the process that was asked
 *	parallel_plan.c		a computation in words that other processes read
 *	parallel_worker.c	those that help
 */
#ifndef PIPELINE_FEATURE_PARALLEL_H
#define PIPELINE_FEATURE_PARALLEL_H

#include "access/parallel.h"
#include "storage/barrier.h"
#include "storage/condition_variable.h"
#include "storage/sharedfileset.h"
#include "storage/spin.h"

#include "feature/read.h"

/* Keys of what is in the shared memory. */
enum
{
	SHARED_HEAD = 1,
	SHARED_PLAN,
	SHARED_SCANS,
	SHARED_KEYS,
	SHARED_TABLES,
	SHARED_COUNTS,
	SHARED_READS,
	SHARED_STATISTICS
};

typedef struct ParallelHead
{
	slock_t		mutex;
	int			nprocesses;		/* 0: not known yet */
	bool		has_as_of;
	bool		has_statistics;
	TimestampTz as_of;
	ConditionVariable begun;
	Barrier		barrier;
	SharedFileSet files;
} ParallelHead;

/* What one process has counted. */
typedef struct ParallelCounts
{
	FeatureCounts counts;
	int64		sorted_again;
} ParallelCounts;

/* What one process has read of one stream. */
typedef struct ParallelRead
{
	int64		rows_read;
	int64		rows_kept;
} ParallelRead;

/* parallel.c */
extern void parallel_begin(FeatureRun *run, List *scans);
extern void parallel_exchange(FeatureRun *run);
extern void parallel_end(FeatureRun *run);

/* parallel_plan.c */
extern char *parallel_write_plan(const FeaturePlan *plan);
extern FeaturePlan *parallel_read_plan(const char *text);
extern char *parallel_write_scans(List *scans);
extern List *parallel_read_scans(const char *text, FeaturePlan *plan);
extern Oid	parallel_scan_relid(const StreamScan *scan, int number);
extern bool parallel_is_safe(const FeatureRun *run, List *scans);
extern bool parallel_scan_is_safe(const StreamScan *scan);

/* parallel_worker.c */
extern char *parallel_output_name(int process);

#endif							/* PIPELINE_FEATURE_PARALLEL_H */
