/*
 * parallel_worker.c
 *	  A process that helps with a computation of features.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "feature/direct_scan.h"
#include "feature/exchange.h"
#include "feature/feature.h"
#include "feature/parallel.h"
#include "feature/parcel.h"

extern PGDLLEXPORT void pipeline_feature_worker(dsm_segment *segment, shm_toc *toc);

/* The file of the rows that a process has computed. */
char *
parallel_output_name(int process)
{
	return psprintf("rows.%d", process);
}

/* Wait until it is known how many we are. */
static int
wait_to_begin(ParallelHead *head)
{
	int			nprocesses;

	ConditionVariablePrepareToSleep(&head->begun);
	for (;;)
	{
		SpinLockAcquire(&head->mutex);
		nprocesses = head->nprocesses;
		SpinLockRelease(&head->mutex);
		if (nprocesses > 0)
			break;
		ConditionVariableSleep(&head->begun, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return nprocesses;
}

/*
 * Lock what the plan reads, partitions too: the leader has it locked, but each
 * process answers for what it opens.
 */
static void
lock_tables(const PlannedStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->relationOids)
		LockRelationOid(lfirst_oid(lc), AccessShareLock);
}

/* Find the shared scans of the tables, in the order in which they were laid. */
static void
attach_tables(List *scans, char *from)
{
	ListCell   *lc;

	foreach(lc, scans)
	{
		StreamScan *scan = lfirst(lc);
		int			n;

		lock_tables(scan->stmt);
		n = list_length(direct_plain_scans(scan->stmt));
		scan->shared = palloc_array(ParallelTableScanDesc, n);
		for (int i = 0; i < n; i++)
		{
			Relation	rel;

			scan->shared[i] = (ParallelTableScanDesc) from;
			rel = table_open(parallel_scan_relid(scan, i), NoLock);
			from += MAXALIGN(table_parallelscan_estimate(rel, GetActiveSnapshot()));
			table_close(rel, NoLock);
		}
	}
}

/* Take part in the scans, and compute what falls to this process. */
static void
help(FeatureRun *run, List *scans, ParallelHead *head, ParallelRead *reads, int me)
{
	RowParcel	rows = {.files = &head->files,.name = parallel_output_name(me),
		.context = CurrentMemoryContext
	};
	ListCell   *lc;

	foreach(lc, scans)
	{
		const StreamScan *scan = lfirst(lc);
		const FeatureCounts before = run->counts;

		stream_scan_run(run, scan);
		reads[scan->number - 1].rows_read = run->counts.events_read - before.events_read;
		reads[scan->number - 1].rows_kept = run->counts.events_used - before.events_used;
	}
	exchange_send(run);
	BarrierArriveAndWait(&head->barrier, PG_WAIT_EXTENSION);
	exchange_receive(run);
	run->output_parcel = &rows;
	feature_compute(run);
	parcel_send(&rows.parcel);
}

/* Entry point, called by PostgreSQL's parallel machinery. */
void
pipeline_feature_worker(dsm_segment *segment, shm_toc *toc)
{
	ParallelHead *head = shm_toc_lookup(toc, SHARED_HEAD, false);
	ParallelCounts *counts = shm_toc_lookup(toc, SHARED_COUNTS, false);
	ParallelRead *reads = shm_toc_lookup(toc, SHARED_READS, false);
	FeatureStatistic *statistics = shm_toc_lookup(toc, SHARED_STATISTICS, false);
	FeaturePlan *plan;
	FeatureRun	run = {0};
	FeatureReport report = {.context = CurrentMemoryContext};
	FeatureRange range = {.report = &report};
	List	   *scans;
	int			me = ParallelWorkerNumber + 1;
	int			nprocesses;

	SharedFileSetAttach(&head->files, segment);
	plan = parallel_read_plan(shm_toc_lookup(toc, SHARED_PLAN, false));
	scans = parallel_read_scans(shm_toc_lookup(toc, SHARED_SCANS, false), plan);
	attach_tables(scans, shm_toc_lookup(toc, SHARED_TABLES, false));
	range.as_of = head->has_as_of ? &head->as_of : NULL;
	run.plan = plan;
	run.range = &range;
	run.keys = key_table_attach(plan, shm_toc_lookup(toc, SHARED_KEYS, false));
	run.scratch = AllocSetContextCreate(CurrentMemoryContext, "pipeline event",
										ALLOCSET_DEFAULT_SIZES);
	run.store = record_store_create(get_hash_memory_limit());
	if (head->has_statistics)
		run.statistics = statistics + (Size) (me - 1) * list_length(plan->features);
	nprocesses = wait_to_begin(head);
	run.nkeys = exchange_share(key_table_size(run.keys), nprocesses, me);
	run.exchange = exchange_create(&head->files, nprocesses, me);
	help(&run, scans, head, reads + (Size) (me - 1) * list_length(plan->streams), me);
	run.counts.spilled_bytes = (int64) record_store_spilled(run.store);
	counts[me - 1].counts = run.counts;
	counts[me - 1].sorted_again = report.sorted_again;
}
