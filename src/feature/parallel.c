/*
 * parallel.c
 *	  The process that was asked for features, and asks others to help.
 *
 * Whether others help is decided as the planner decides it of a parallel scan:
 * by the size of the tables, min_parallel_table_scan_size,
 * max_parallel_workers_per_gather and max_parallel_workers, and by whether what
 * is evaluated is parallel safe.  The start of a process costs some milliseconds,
 * so tables must be a little larger than for a scan.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/paths.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "feature/direct_scan.h"
#include "feature/exchange.h"
#include "feature/feature.h"
#include "feature/parallel.h"
#include "feature/parcel.h"

#define SIZES 4					/* times the least size of a parallel scan */

typedef struct ParallelRun
{
	ParallelContext *context;
	ParallelHead *head;
	int			nprocesses;
	ParallelCounts *counts;		/* by process, that of worker i at i */
	ParallelRead *reads;		/* the same, all streams of one together */
	FeatureStatistic *statistics;	/* the same, all features of one together */
} ParallelRun;

/* A table of a scan that others take part in. */
typedef struct SharedTable
{
	StreamScan *scan;
	int			number;			/* among those of the scan */
	Oid			relid;
	Size		size;			/* of what is shared of its scan */
} SharedTable;

/* ---- does it pay? ----------------------------------------------------------------- */

/* The tables of those scans that others can take part in. */
static List *
shared_tables(List *scans, uint64 *blocks)
{
	List	   *tables = NIL;
	ListCell   *lc;

	*blocks = 0;
	foreach(lc, scans)
	{
		StreamScan *scan = lfirst(lc);
		int			n = list_length(direct_plain_scans(scan->stmt));

		if (!parallel_scan_is_safe(scan))
			continue;
		for (int i = 0; i < n; i++)
		{
			SharedTable *table = palloc_object(SharedTable);
			Relation	rel;

			table->scan = scan;
			table->number = i;
			table->relid = parallel_scan_relid(scan, table->number);
			rel = table_open(table->relid, NoLock);
			table->size = table_parallelscan_estimate(rel, GetActiveSnapshot());
			*blocks += RelationGetNumberOfBlocks(rel);
			table_close(rel, NoLock);
			tables = lappend(tables, table);
		}
	}
	return tables;
}

/* How many helpers so many blocks are worth: one more for three times as many. */
static int
wanted_workers(uint64 blocks)
{
	double		size = Max(min_parallel_table_scan_size, 1) * (double) SIZES;
	int			workers = 0;

	if (min_parallel_table_scan_size == 0)
		return max_parallel_workers_per_gather;
	for (; (double) blocks >= size && workers < max_parallel_workers_per_gather; size *= 3)
		workers++;
	return workers;
}

/* May it be now? */
static bool
is_possible(const FeatureRun *run)
{
	return max_parallel_workers_per_gather > 0 && !IsInParallelMode() &&
		!IsParallelWorker() && run->changes == NULL && run->range->entity == NIL &&
		run->nkeys > 1;
}

/* ---- shared memory --------------------------------------------------------------------- */

static void
share_text(shm_toc *toc, int key, const char *text)
{
	char	   *to = shm_toc_allocate(toc, strlen(text) + 1);

	strcpy(to, text);
	shm_toc_insert(toc, key, to);
}

static void *
share_zeros(shm_toc *toc, int key, Size size)
{
	char	   *to = shm_toc_allocate(toc, size);

	memset(to, 0, size);
	shm_toc_insert(toc, key, to);
	return to;
}

static void
share_tables(shm_toc *toc, List *tables, List *scans)
{
	Size		total = 0;
	char	   *to;
	ListCell   *lc;

	foreach(lc, scans)
	{
		StreamScan *scan = lfirst(lc);
		int			n = list_length(direct_plain_scans(scan->stmt));

		scan->shared = palloc0_array(ParallelTableScanDesc, n);
	}
	foreach(lc, tables)
		total += MAXALIGN(((SharedTable *) lfirst(lc))->size);
	to = shm_toc_allocate(toc, total);
	shm_toc_insert(toc, SHARED_TABLES, to);
	foreach(lc, tables)
	{
		const SharedTable *table = lfirst(lc);
		Relation	rel = table_open(table->relid, NoLock);

		table->scan->shared[table->number] = (ParallelTableScanDesc) to;
		table_parallelscan_initialize(rel, (ParallelTableScanDesc) to, GetActiveSnapshot());
		table_close(rel, NoLock);
		to += MAXALIGN(table->size);
	}
}

static ParallelHead *
share_head(ParallelContext *context, const FeatureRun *run)
{
	ParallelHead *head = shm_toc_allocate(context->toc, sizeof(ParallelHead));

	memset(head, 0, sizeof(ParallelHead));
	SpinLockInit(&head->mutex);
	ConditionVariableInit(&head->begun);
	head->has_as_of = run->range->as_of != NULL;
	head->as_of = run->range->as_of ? *run->range->as_of : 0;
	head->has_statistics = run->statistics != NULL;
	SharedFileSetInit(&head->files, context->seg);
	shm_toc_insert(context->toc, SHARED_HEAD, head);
	return head;
}

/* The scans that others take part in, each once. */
static List *
scans_of(List *tables)
{
	List	   *scans = NIL;
	ListCell   *lc;

	foreach(lc, tables)
		scans = list_append_unique_ptr(scans, ((SharedTable *) lfirst(lc))->scan);
	return scans;
}

/* Lay out what the helpers need. */
static void
share(ParallelRun *parallel, FeatureRun *run, int nworkers, List *tables)
{
	ParallelContext *context = parallel->context;
	List	   *scans = scans_of(tables);
	int			nfeatures = list_length(run->plan->features);
	Size		statistics = mul_size(sizeof(FeatureStatistic), (Size) nfeatures * nworkers + 1);
	char	   *plan_text = parallel_write_plan(run->plan);
	char	   *scans_text = parallel_write_scans(scans);
	Size		keys = key_table_shared_size(run->keys);
	Size		scan_size = 0;
	Size		reads = mul_size(sizeof(ParallelRead), (Size) list_length(run->plan->streams) * nworkers);
	char	   *to;
	ListCell   *lc;

	foreach(lc, tables)
		scan_size += MAXALIGN(((SharedTable *) lfirst(lc))->size);
	shm_toc_estimate_chunk(&context->estimator, sizeof(ParallelHead));
	shm_toc_estimate_chunk(&context->estimator, strlen(plan_text) + 1);
	shm_toc_estimate_chunk(&context->estimator, strlen(scans_text) + 1);
	shm_toc_estimate_chunk(&context->estimator, keys);
	shm_toc_estimate_chunk(&context->estimator, scan_size);
	shm_toc_estimate_chunk(&context->estimator, sizeof(ParallelCounts) * nworkers);
	shm_toc_estimate_chunk(&context->estimator, reads);
	shm_toc_estimate_chunk(&context->estimator, statistics);
	shm_toc_estimate_keys(&context->estimator, 8);
	InitializeParallelDSM(context);
	if (context->seg == NULL)
		return;
	parallel->head = share_head(context, run);
	share_text(context->toc, SHARED_PLAN, plan_text);
	share_text(context->toc, SHARED_SCANS, scans_text);
	to = shm_toc_allocate(context->toc, keys);
	key_table_share(run->keys, to);
	shm_toc_insert(context->toc, SHARED_KEYS, to);
	share_tables(context->toc, tables, scans);
	parallel->counts = share_zeros(context->toc, SHARED_COUNTS, sizeof(ParallelCounts) * nworkers);
	parallel->reads = share_zeros(context->toc, SHARED_READS, reads);
	parallel->statistics = share_zeros(context->toc, SHARED_STATISTICS, statistics);
}

/* ---- the process that was asked ---------------------------------------------------------- */

/* Let the helpers that came begin. */
static void
let_begin(ParallelRun *parallel)
{
	ParallelHead *head = parallel->head;

	BarrierInit(&head->barrier, parallel->nprocesses);
	SpinLockAcquire(&head->mutex);
	head->nprocesses = parallel->nprocesses;
	SpinLockRelease(&head->mutex);
	ConditionVariableBroadcast(&head->begun);
}

/* Nobody came: go on alone. */
static void
give_up(ParallelRun *parallel, List *scans)
{
	ListCell   *lc;

	WaitForParallelWorkersToFinish(parallel->context);
	DestroyParallelContext(parallel->context);
	ExitParallelMode();
	pfree(parallel);
	foreach(lc, scans)
		((StreamScan *) lfirst(lc))->shared = NULL;
}

/*
 * The spine has been read: get others to help, if it pays and may be.  Marks
 * the scans that they take part in, and passes them the rows of the spine that
 * fall to them.
 */
void
parallel_begin(FeatureRun *run, List *scans)
{
	ParallelRun *parallel;
	List	   *tables;
	uint64		blocks;
	int			nworkers;

	if (!is_possible(run))
		return;
	tables = shared_tables(scans, &blocks);
	nworkers = tables == NIL ? 0 : wanted_workers(blocks);
	if (nworkers == 0 || !parallel_is_safe(run, scans))
		return;
	EnterParallelMode();
	parallel = palloc0_object(ParallelRun);
	parallel->context = CreateParallelContext("pipeline", "pipeline_feature_worker", nworkers);
	share(parallel, run, nworkers, tables);
	if (parallel->head != NULL)
		LaunchParallelWorkers(parallel->context);
	if (parallel->head == NULL || parallel->context->nworkers_launched == 0)
	{
		give_up(parallel, scans);
		return;
	}
	WaitForParallelWorkersToAttach(parallel->context);
	parallel->nprocesses = parallel->context->nworkers_launched + 1;
	let_begin(parallel);
	run->parallel = parallel;
	run->nkeys = exchange_share(key_table_size(run->keys), parallel->nprocesses, 0);
	run->exchange = exchange_create(&parallel->head->files, parallel->nprocesses, 0);
	exchange_all(run);
}

/* Everything has been read: let each have what falls to it. */
void
parallel_exchange(FeatureRun *run)
{
	if (run->parallel == NULL)
		return;
	exchange_send(run);
	BarrierArriveAndWait(&run->parallel->head->barrier, PG_WAIT_EXTENSION);
	exchange_receive(run);
}

/* Take over the rows that a helper has computed. */
static void
take_output(FeatureRun *run, int process)
{
	TupleTableSlot *slot;
	Parcel		parcel;

	if (!parcel_open(&parcel, &run->parallel->head->files, parallel_output_name(process)))
		return;
	slot = MakeSingleTupleTableSlot(run->plan->result, &TTSOpsMinimalTuple);
	while (parcel_next_chunk(&parcel))
	{
		for (Size at = 0; at < parcel.head.length;)
		{
			MinimalTuple tuple = (MinimalTuple) (parcel.chunk + at);

			ExecStoreMinimalTuple(tuple, slot, false);
			tuplestore_puttupleslot(run->output, slot);
			at += MAXALIGN(tuple->t_len);
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	parcel_close(&parcel);
}

/* Add to the report what a helper has read. */
static void
report_reads(const FeatureRun *run, const ParallelRead *reads, int64 sorted_again)
{
	FeatureReport *report = run->range->report;
	ListCell   *lc;
	ListCell   *lc2;

	if (report == NULL)
		return;
	report->sorted_again += sorted_again;
	foreach(lc, report->scans)
	{
		ScanReport *scan = lfirst(lc);

		foreach(lc2, run->plan->streams)
		{
			if (lfirst(lc2) != scan->stream)
				continue;
			scan->rows_read += reads[foreach_current_index(lc2)].rows_read;
			scan->rows_kept += reads[foreach_current_index(lc2)].rows_kept;
		}
	}
}

/* This process has computed what falls to it: wait for the others. */
void
parallel_end(FeatureRun *run)
{
	ParallelRun *parallel = run->parallel;
	int			nfeatures = list_length(run->plan->features);

	if (parallel == NULL)
		return;
	WaitForParallelWorkersToFinish(parallel->context);
	for (int i = 0; i < parallel->nprocesses - 1; i++)
	{
		take_output(run, i + 1);
		feature_counts_add(&run->counts, &parallel->counts[i].counts);
		report_reads(run, &parallel->reads[(Size) i * list_length(run->plan->streams)],
					 parallel->counts[i].sorted_again);
		for (int f = 0; run->statistics != NULL && f < nfeatures; f++)
			statistic_merge(&run->statistics[f], &parallel->statistics[(Size) i * nfeatures + f]);
	}
	DestroyParallelContext(parallel->context);
	ExitParallelMode();
	run->parallel = NULL;
}
