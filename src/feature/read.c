/*
 * read.c
 *	  Read the spine once, then each stream once.
 *
 * The spine's least and greatest time bound every stream's scan, in its WHERE
 * clause, on the bare column, so that indexes and partitions serve.  The
 * planner chooses how to read: what it would scan from end to end is scanned
 * by direct_scan.c, everything else by the executor into receive.c; see also
 * lookup.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "nodes/params.h"
#include "optimizer/cost.h"
#include "parser/parser.h"
#include "portability/instr_time.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "feature/parallel.h"
#include "feature/progress.h"
#include "feature/read.h"

static void
set_param(ParamListInfo params, int number, Oid type, const TimestampTz *time)
{
	ParamExternData *param = &params->params[number - 1];

	param->ptype = type;
	param->pflags = PARAM_FLAG_CONST;
	param->isnull = time == NULL;
	param->value = time ? TimestampTzGetDatum(*time) : (Datum) 0;
}

/*
 * Plan one SELECT for the very values of its parameters; if `whole`, to read
 * tables from end to end, whatever indexes there are.
 */
PlannedStmt *
scan_plan(const char *sql, ParamListInfo params, bool whole)
{
	Oid		   *types = NULL;
	int			ntypes = params ? params->numParams : 0;
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	Query	   *query;
	PlannedStmt *stmt = NULL;
	const bool	index = enable_indexscan;
	const bool	only = enable_indexonlyscan;
	const bool	bitmap = enable_bitmapscan;

	if (params != NULL)
		types = palloc_array(Oid, ntypes);
	for (int i = 0; i < ntypes; i++)
		types[i] = params->params[i].ptype;
	query = linitial_node(Query, pg_analyze_and_rewrite_fixedparams(raw, sql, types,
																	 ntypes, NULL));
	if (!whole)
		return pg_plan_query(query, sql, 0, params, NULL);
	PG_TRY();
	{
		enable_indexscan = enable_indexonlyscan = enable_bitmapscan = false;
		stmt = pg_plan_query(query, sql, 0, params, NULL);
	}
	PG_FINALLY();
	{
		enable_indexscan = index;
		enable_indexonlyscan = only;
		enable_bitmapscan = bitmap;
	}
	PG_END_TRY();
	return stmt;
}

/* What EXPLAIN calls the top of a plan, for those that are usual. */
static const char *
plan_name(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
			return "Seq Scan";
		case T_IndexScan:
			return "Index Scan";
		case T_IndexOnlyScan:
			return "Index Only Scan";
		case T_BitmapHeapScan:
			return "Bitmap Heap Scan";
		case T_ForeignScan:
			return "Foreign Scan";
		case T_Append:
			return "Append";
		case T_Result:
			return "Result";
		case T_SubqueryScan:
			return "Subquery Scan";
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			return "Join";
		default:
			return "Query";
	}
}

/* Say how a source was read, if somebody asks. */
static void
report_scan(const FeatureReceiver *receiver, const char *way,
			const FeatureCounts *before, instr_time start)
{
	FeatureReport *report = receiver->run->range->report;
	const FeatureCounts *counts = &receiver->run->counts;
	ScanReport *scan;
	instr_time	end;
	MemoryContext context;

	if (report == NULL)
		return;
	context = MemoryContextSwitchTo(report->context);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	scan = palloc0(sizeof(ScanReport));
	scan->stream = receiver->stream;
	scan->way = pstrdup(way);
	scan->ms = INSTR_TIME_GET_MILLISEC(end);
	if (receiver->stream != NULL)
	{
		scan->rows_read = counts->events_read - before->events_read;
		scan->rows_kept = counts->events_used - before->events_used;
	}
	else
	{
		scan->rows_read = counts->rows_read;
		scan->rows_kept = counts->rows_read - counts->rows_rejected -
			counts->rows_beyond_as_of - counts->rows_unchanged;
	}
	report->scans = lappend(report->scans, scan);
	report->entities = key_table_size(receiver->run->keys);
	MemoryContextSwitchTo(context);
}

/* The parameters of a statement that reads, with room for more. */
ParamListInfo
scan_params(const ScanBounds *bounds, int more)
{
	ParamListInfo params = makeParamList(SCAN_PARAMS + more);

	set_param(params, 1, bounds->type, bounds->from);
	set_param(params, 2, bounds->type, bounds->to);
	set_param(params, 3, TIMESTAMPTZOID, bounds->as_of);
	return params;
}

/* Run the statement in the executor, into the receiver. */
static void
executor_scan(FeatureReceiver *receiver, const StreamScan *scan)
{
	QueryDesc  *query;

	progress_phase(receiver->stream ? PROGRESS_EVENTS : PROGRESS_SPINE, 0);
	query = CreateQueryDesc(scan->stmt, scan->sql, GetActiveSnapshot(), InvalidSnapshot,
							&receiver->pub, scan_params(&scan->bounds, 0), NULL, 0);
	ExecutorStart(query, 0);
	ExecutorRun(query, ForwardScanDirection, 0);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

/*
 * Read the spine (NULL) or a stream into the run's store, under the snapshot of
 * the caller: the spine and all streams are read at one moment.
 */
void
stream_scan_run(FeatureRun *run, const StreamScan *scan)
{
	FeatureReceiver receiver;
	const FeatureCounts before = run->counts;
	const char *way = scan->shared ? "parallel direct scan" : "direct scan";
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	receiver_init(&receiver, run, scan->stream, scan->number);
	if (!direct_scan(&receiver, scan->stmt, &scan->bounds, scan->shared))
	{
		way = scan->lookup ? "executor: lookup of each entity" :
			psprintf("executor: %s", plan_name(scan->stmt->planTree));
		if (scan->shared != NULL || (scan->stream == NULL && run->changes != NULL))
			elog(ERROR, "a source cannot be read directly");
		executor_scan(&receiver, scan);
	}
	receiver_finish(&receiver);
	report_scan(&receiver, way, &before, start);
}

static int64
shift_days(int64 time, int days)
{
	int64		shifted;

	if (TIMESTAMP_NOT_FINITE(time))
		return time;
	if (pg_add_s64_overflow(time, days * USECS_PER_DAY, &shifted) ||
		!IS_VALID_TIMESTAMP(shifted))
		return days < 0 ? DT_NOBEGIN : DT_NOEND;
	return shifted;
}

/*
 * The least and greatest time of an event of the stream that some row may
 * reach: never too narrow, where the calendar interferes a little too wide.
 */
static void
stream_bounds(FeatureRun *run, int number, int64 *from, int64 *to)
{
	FeaturePlan *plan = run->plan;
	Stream	   *stream = list_nth(plan->streams, number);
	bool		convert = plan->local && !stream->local;
	ListCell   *lc;

	*from = PG_INT64_MAX;
	*to = PG_INT64_MIN;
	foreach(lc, plan->windows)
	{
		Window	   *window = lfirst(lc);
		Shift	   *start = list_nth(plan->shifts, window->start);
		Shift	   *end = list_nth(plan->shifts, window->end);

		if (window->stream != number)
			continue;
		*from = Min(*from, shift_days(shift_time(start, plan->local, run->least_time),
									  start->fixed ? 0 : -4));
		*to = Max(*to, shift_days(shift_time(end, plan->local, run->greatest_time),
								  end->fixed ? 0 : 4));
	}
	if (convert)
	{
		*from = shift_days(local_to_instant(*from), -1);
		*to = shift_days(local_to_instant(*to), 1);
	}
}

/*
 * A time as seconds since 1970, for columns that are; what lies between two
 * is rounded up or down.
 */
int64
feature_epoch(TimestampTz time, bool up)
{
	const int64 offset = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	int64		seconds = time / USECS_PER_SEC;

	if (TIMESTAMP_IS_NOBEGIN(time))
		return PG_INT64_MIN;
	if (TIMESTAMP_IS_NOEND(time))
		return PG_INT64_MAX;
	if (time % USECS_PER_SEC != 0 && (time > 0) == up)
		seconds += up ? 1 : -1;
	return seconds + offset;
}

/* The same of the bounds of a scan. */
static void
bounds_in_seconds(StreamScan *scan)
{
	ScanBounds *bounds = &scan->bounds;

	bounds->type = INT8OID;
	if (bounds->from != NULL)
		scan->from = feature_epoch(*bounds->from, !bounds->to_counts);
	if (bounds->to != NULL)
		scan->to = feature_epoch(*bounds->to, true);
	bounds->from = bounds->from ? &scan->from : NULL;
	bounds->to = bounds->to ? &scan->to : NULL;
}

static void
read_spine(FeatureRun *run)
{
	FeaturePlan *plan = run->plan;
	StreamScan	scan = {.bounds = {TIMESTAMPTZOID, run->range->from_time,
	run->range->to_time, false, run->range->as_of}};

	run->least_time = PG_INT64_MAX;
	run->greatest_time = PG_INT64_MIN;
	if (plan->epoch)
		bounds_in_seconds(&scan);
	scan.sql = feature_spine_sql(plan, run->range);
	scan.stmt = scan_plan(scan.sql, scan_params(&scan.bounds, 0), run->changes != NULL);
	stream_scan_run(run, &scan);
	run->spine_stmt = scan.stmt;
}

static StreamScan *
prepare_stream(FeatureRun *run, Stream *stream, int number)
{
	StreamScan *scan = palloc0_object(StreamScan);

	scan->stream = stream;
	scan->number = number + 1;
	stream_bounds(run, number, &scan->from, &scan->to);
	scan->bounds.type = stream->local ? TIMESTAMPOID : TIMESTAMPTZOID;
	scan->bounds.from = &scan->from;
	scan->bounds.to = &scan->to;
	scan->bounds.to_counts = true;
	scan->bounds.as_of = run->range->as_of;
	if (stream->epoch)
		bounds_in_seconds(scan);
	scan->sql = feature_stream_sql(run->plan, stream, run->range, true);
	scan->stmt = scan_plan(scan->sql, scan_params(&scan->bounds, 0), false);
	lookup_instead(run, scan);
	return scan;
}

/*
 * Read the spine, then every stream, into the run's store, with the help of
 * other processes where that pays.
 */
void
feature_read(FeatureRun *run)
{
	List	   *scans = NIL;
	ListCell   *lc;

	read_spine(run);
	run->nkeys = key_table_size(run->keys);
	if (run->nkeys == 0)
		return;
	key_table_seal(run->keys);
	foreach(lc, run->plan->streams)
		scans = lappend(scans, prepare_stream(run, lfirst(lc), foreach_current_index(lc)));
	parallel_begin(run, scans);
	/* First what others cannot read: they are at the rest meanwhile. */
	foreach(lc, scans)
	{
		if (((StreamScan *) lfirst(lc))->shared == NULL)
			stream_scan_run(run, lfirst(lc));
	}
	foreach(lc, scans)
	{
		if (((StreamScan *) lfirst(lc))->shared != NULL)
			stream_scan_run(run, lfirst(lc));
	}
	parallel_exchange(run);
}
