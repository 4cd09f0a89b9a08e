/*
 * compute.c
 *	  From records to rows: group them by entity, put each entity's spine rows
 *	  and events in order of time, slide the windows, emit.
 *
 * Grouping is a counting sort over (entity, stream), so the order read is
 * kept; logs are nearly in order of time, and only the runs that are not are
 * sorted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "feature/feature.h"
#include "feature/progress.h"

#define PREFETCH_ENTITIES 4
#define PREFETCH_RECORDS 16
#define PROGRESS_ENTITIES 64		/* a power of two */

/*
 * One distinct end of windows: how many events are before it, for the row at
 * hand.
 */
typedef struct Edge
{
	const Stream *stream;
	int			shift;
	bool		or_equal;		/* and those at its time */
	bool		convert;		/* its time, to an instant */
	int64		time;
	int			at;
} Edge;

/* Features that are a difference of two prefixes and nothing else. */
typedef enum QuickFeature
{
	QUICK_NOT,
	QUICK_COUNT,
	QUICK_SUM
} QuickFeature;

/* A feature and what it is computed from. */
typedef struct FeatureView
{
	Feature    *feature;
	Stream	   *stream;
	Input	   *input;			/* NULL: every event counts */
	Window	   *window;
	const Edge *start;			/* of the window */
	const Edge *end;
	QuickFeature quick;
} FeatureView;

/* The same of a window; some feature that is not quick looks at it. */
typedef struct WindowView
{
	Window	   *window;
	const Edge *start;
	const Edge *end;
} WindowView;

typedef struct Computation
{
	FeatureRun *run;
	FeaturePlan *plan;
	int			nfeatures;
	FeatureView *features;
	int			nwindows;
	WindowView *windows;
	int			nedges;
	Edge	   *edges;
	int			nstreams;
	int			nshifts;
	const Shift **shifts;
	int64	   *ends;			/* of windows of the row at hand, by shift */
	RowWriter  *writer;
	Datum	   *values;			/* of the features of the row at hand */
	bool	   *nulls;
	MemoryContext entity_context;
	MemoryContext row_context;
} Computation;

/* The input of a feature, or NULL where every event counts. */
static inline Input *
feature_input(const Feature *feature, const Stream *stream)
{
	return feature->input < 0 ? NULL : list_nth(stream->inputs, feature->input);
}

/* ---- order ----------------------------------------------------------------------- */

static int
compare_times(const void *a, const void *b)
{
	int64		x = (*(Record *const *) a)->time;
	int64		y = (*(Record *const *) b)->time;

	return x < y ? -1 : x > y;
}

/* Merge two sorted parts of a run: what two processes have read of it. */
static void
merge_by_time(Record **records, uint32 middle, uint32 n)
{
	Record	  **first = palloc_array(Record *, middle);
	uint32		i = 0;
	uint32		j = middle;
	uint32		to = 0;

	memcpy(first, records, middle * sizeof(Record *));
	while (i < middle)
		records[to++] = j < n && records[j]->time < first[i]->time ? records[j++] : first[i++];
	pfree(first);
}

/* The end of the sorted records from `from` on. */
static uint32
sorted_until(Record *const *records, uint32 from, uint32 n)
{
	uint32		i = from + 1;

	while (i < n && records[i - 1]->time <= records[i]->time)
		i++;
	return i;
}

/* Sort a run of records by time, if it is not sorted. */
static void
order_by_time(const FeatureRun *run, Record **records, uint32 n)
{
	uint32		middle = sorted_until(records, 0, n);

	if (middle >= n)
		return;
	if (sorted_until(records, middle, n) >= n)
	{
		merge_by_time(records, middle, n);
		return;
	}
	if (run->range->report != NULL)
		run->range->report->sorted_again++;
	qsort(records, n, sizeof(Record *), compare_times);
}

/* The groups of records: one for each entity and stream. */
typedef struct Grouping
{
	uint32		divisor;
	uint32		groups;			/* of an entity */
	uint32	   *at;
} Grouping;

/* The place from which the group of the record starts to be placed. */
static inline uint32 *
group_start(const Grouping *g, const Record *record)
{
	return &g->at[(uint64) (record->key / g->divisor) * g->groups +
				  record->stream + 1];
}

/*
 * Go through the records of a run in their order: count them, or place them.
 * What a record needs comes into the cache while those before it are done.
 */
static void
walk_run(const Grouping *g, const RecordRun *run, Record **grouped)
{
	Size		ahead = 0;
	int			distance = 0;

	CHECK_FOR_INTERRUPTS();
	for (Size i = 0; i < run->used;)
	{
		Record	   *record = (Record *) (run->data + i);
		uint32	   *start;

		for (; distance < PREFETCH_RECORDS && ahead < run->used; distance++)
		{
			const Record *next = (const Record *) (run->data + ahead);

			__builtin_prefetch(group_start(g, next));
			ahead += next->size;
		}
		distance--;
		start = group_start(g, record);
		/* Count two ahead: after placing, at[g + 1] has become the end of g. */
		if (grouped == NULL)
			start[1]++;
		else
			grouped[(*start)++] = record;
		i += record->size;
	}
}

/*
 * Sort records by (entity, stream), stably; offsets[entity * groups + stream]
 * is where a group starts, and the next is where it ends.
 */
static Record **
group_records(const RecordRun *runs, int nruns, uint32 n, uint32 divisor,
			  uint32 nslots, uint32 groups, uint32 **offsets)
{
	uint64		ngroups = (uint64) nslots * groups;
	Grouping	g = {divisor, groups,
	palloc_extended((ngroups + 2) * sizeof(uint32), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO)};
	Record	  **grouped = palloc_extended(((Size) n + 1) * sizeof(Record *),
										  MCXT_ALLOC_HUGE);

	for (int r = 0; r < nruns; r++)
		walk_run(&g, &runs[r], NULL);
	for (uint64 i = 2; i < ngroups + 2; i++)
		g.at[i] += g.at[i - 1];
	for (int r = 0; r < nruns; r++)
		walk_run(&g, &runs[r], grouped);
	*offsets = g.at;
	return grouped;
}

/* ---- one entity -------------------------------------------------------------------- */

static void
start_streams(Computation *c, Record **grouped, const uint32 *offsets)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, c->plan->streams)
	{
		Stream	   *stream = lfirst(lc);
		int			s = foreach_current_index(lc) + 1;

		stream->events = &grouped[offsets[s]];
		stream->nevents = (int) (offsets[s + 1] - offsets[s]);
		order_by_time(c->run, stream->events, stream->nevents);
		stream_times(stream);
		if (stream->knowledge_time != NULL)
			known_start(stream);
		foreach(lc2, stream->inputs)
			input_start(lfirst(lc2), foreach_current_index(lc2), stream);
	}
	for (int i = 0; i < c->nedges; i++)
		c->edges[i].at = 0;
	foreach(lc, c->plan->features)
	{
		Feature    *feature = lfirst(lc);
		Stream	   *stream = list_nth(c->plan->streams, feature->stream);

		feature->known.set = NULL;
		if (feature->by >= 0)
			by_start(feature, stream);
		else
			feature_state_start(&feature->state, feature,
								feature_input(feature, stream), stream);
	}
}

static void
move_windows(Computation *c, int64 time)
{
	for (int i = 0; i < c->nshifts; i++)
		c->ends[i] = shift_time(c->shifts[i], c->plan->local, time);
	for (int i = 0; i < c->nedges; i++)
	{
		Edge	   *edge = &c->edges[i];

		edge->time = c->ends[edge->shift];
		if (edge->convert)
			edge->time = local_to_instant(edge->time);
		edge->at = times_before(edge->stream->times, edge->stream->nevents,
								edge->at, edge->time, edge->or_equal);
	}
	for (int i = 0; i < c->nwindows; i++)
	{
		const WindowView *view = &c->windows[i];

		view->window->from = view->start->time;
		view->window->to = view->end->time;
		view->window->lo = view->start->at;
		view->window->hi = view->end->at;
	}
}

/* The row's time, or the start of its unit, to be compared with others. */
static int64
comparable_time(const Computation *c, const Feature *feature, bool local)
{
	int64		time = c->ends[feature->at];

	return c->plan->local && !local ? local_to_instant(time) : time;
}

static Datum
compute_feature(Computation *c, const FeatureView *view, bool *isnull)
{
	Feature    *feature = view->feature;
	Stream	   *stream = view->stream;
	const Window *window = view->window;
	int64		time = comparable_time(c, feature, stream->local);
	int64		known_by = window->only_known ?
		comparable_time(c, feature, stream->known_local) : 0;
	Datum		map;

	if (feature->by < 0)
		return windowed_result(feature, &feature->state, &feature->known,
							   view->input, stream, window, known_by, time, isnull);
	map = by_result(feature, window, known_by, time, isnull);
	return *isnull ? feature_empty_result(feature, isnull) : map;
}

/* What compute_feature() would return of a feature that is quick. */
static inline Datum
quick_result(const FeatureView *view, bool *isnull)
{
	const Input *input = view->input;
	int			lo = view->start->at;
	int			hi = view->end->at;
	int64		count = hi <= lo ? 0 :
		input ? input->counts[hi] - input->counts[lo] : hi - lo;

	*isnull = count == 0 && view->quick == QUICK_SUM;
	if (view->quick == QUICK_COUNT)
		return Int64GetDatum(count);
	return count == 0 ? (Datum) 0 :
		Int64GetDatum((int64) ((uint64) input->sums[hi] - (uint64) input->sums[lo]));
}

static void
emit_row(Computation *c, Record *row)
{
	MemoryContext before = MemoryContextSwitchTo(c->row_context);

	move_windows(c, row->time);
	for (int i = 0; i < c->nfeatures; i++)
	{
		const FeatureView *view = &c->features[i];

		c->values[i] = view->quick != QUICK_NOT ? quick_result(view, &c->nulls[i]) :
			compute_feature(c, view, &c->nulls[i]);
		if (c->run->statistics != NULL)
			statistic_add(&c->run->statistics[i], c->features[i].feature,
						  c->values[i], c->nulls[i]);
	}
	row_writer_put(c->writer, (MinimalTuple) ((char *) row + MAXALIGN(sizeof(Record))),
				   c->values, c->nulls);
	MemoryContextSwitchTo(before);
	MemoryContextReset(c->row_context);
}

static void
compute_entity(Computation *c, Record **grouped, const uint32 *offsets)
{
	uint32		nrows = offsets[1] - offsets[0];
	Record	  **rows = &grouped[offsets[0]];
	MemoryContext before;

	if (nrows == 0)
		return;
	before = MemoryContextSwitchTo(c->entity_context);
	order_by_time(c->run, rows, nrows);
	start_streams(c, grouped, offsets);
	for (uint32 i = 0; i < nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		emit_row(c, rows[i]);
	}
	c->run->counts.rows_computed += nrows;
	MemoryContextSwitchTo(before);
	MemoryContextReset(c->entity_context);
}

/* ---- all of them ---------------------------------------------------------------------- */

/* Ask for the records of an entity that is computed soon. */
static void
prefetch_entity(Record **grouped, const uint32 *offsets, uint32 groups)
{
	for (uint32 i = offsets[0]; i < offsets[groups]; i++)
		__builtin_prefetch(grouped[i]);
}

/* Compute the entities whose records these are; see record_store_finish(). */
static void
compute_part(const RecordRun *runs, int nruns, uint64 nrecords, uint32 divisor,
			 uint32 nslots, void *arg)
{
	Computation *c = arg;
	uint32		groups = c->nstreams + 1;
	uint32	   *offsets;
	Record	  **grouped;

	if (nrecords >= PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events and rows at once: %llu",
						(unsigned long long) nrecords),
				 errhint("Lower work_mem, or split the computation by from_time and to_time.")));
	grouped = group_records(runs, nruns, (uint32) nrecords, divisor, nslots,
							groups, &offsets);
	for (uint32 slot = 0; slot < nslots; slot++)
	{
		if (nslots - slot > PREFETCH_ENTITIES)
			prefetch_entity(grouped,
							&offsets[(uint64) (slot + PREFETCH_ENTITIES) * groups],
							groups);
		compute_entity(c, grouped, &offsets[(uint64) slot * groups]);
		if ((slot & (PROGRESS_ENTITIES - 1)) == 0)
			progress_advance(Min(PROGRESS_ENTITIES, nslots - slot));
	}
	pfree(grouped);
	pfree(offsets);
}

static void
create_states(FeaturePlan *plan)
{
	ListCell   *lc;

	foreach(lc, plan->features)
	{
		Feature    *feature = lfirst(lc);
		Stream	   *stream = list_nth(plan->streams, feature->stream);

		if (feature->by >= 0)
			continue;
		feature_state_create(&feature->state, feature,
							 feature_input(feature, stream));
		if (stream->knowledge_time != NULL && !known_set_applies(feature))
			feature_state_create(&feature->known, feature,
								 feature_input(feature, stream));
	}
}

static QuickFeature
quick_feature(const FeatureView *view)
{
	const Feature *feature = view->feature;

	if (feature->by >= 0 || feature->has_default || view->window->only_known)
		return QUICK_NOT;
	if (feature->spec->aggregate == AGGREGATE_COUNT)
		return QUICK_COUNT;
	return feature->spec->aggregate == AGGREGATE_SUM && view->input != NULL &&
		view->input->sum_method == SUM_INT64 && feature->value_type == INT8OID ?
		QUICK_SUM : QUICK_NOT;
}

/* Find or make an end of windows over the stream. */
static const Edge *
find_edge(Computation *c, const Stream *stream, int shift, bool or_equal)
{
	for (int i = 0; i < c->nedges; i++)
	{
		if (c->edges[i].stream == stream && c->edges[i].shift == shift &&
			c->edges[i].or_equal == or_equal)
			return &c->edges[i];
	}
	c->edges[c->nedges] = (Edge)
	{
		stream, shift, or_equal, c->plan->local && !stream->local
	};
	return &c->edges[c->nedges++];
}

static void
create_feature_view(Computation *c, Feature *feature)
{
	FeatureView *view = &c->features[c->nfeatures++];
	Window	   *window = list_nth(c->plan->windows, feature->window);

	view->feature = feature;
	view->stream = list_nth(c->plan->streams, feature->stream);
	view->input = feature_input(feature, view->stream);
	view->window = window;
	/* Events at an open start are before the window. */
	view->start = find_edge(c, view->stream, window->start, !window->closed_left);
	view->end = find_edge(c, view->stream, window->end, window->closed_right);
	view->quick = quick_feature(view);
	if (view->quick != QUICK_NOT)
		return;
	for (int i = 0; i < c->nwindows; i++)
	{
		if (c->windows[i].window == window)
			return;
	}
	c->windows[c->nwindows++] = (WindowView)
	{
		window, view->start, view->end
	};
}

/* Look up once what every row needs. */
static void
create_views(Computation *c)
{
	FeaturePlan *plan = c->plan;
	ListCell   *lc;

	c->features = palloc0_array(FeatureView, list_length(plan->features) + 1);
	c->edges = palloc0_array(Edge, 2 * list_length(plan->windows) + 1);
	c->windows = palloc0_array(WindowView, list_length(plan->windows) + 1);
	c->shifts = palloc0_array(const Shift *, c->nshifts + 1);
	foreach(lc, plan->shifts)
		c->shifts[foreach_current_index(lc)] = lfirst(lc);
	foreach(lc, plan->features)
		create_feature_view(c, lfirst(lc));
}

/* Compute every row of the run's store and put it into its output. */
void
feature_compute(FeatureRun *run)
{
	Computation c = {0};

	c.run = run;
	c.plan = run->plan;
	c.nstreams = list_length(run->plan->streams);
	c.nshifts = list_length(run->plan->shifts);
	c.ends = palloc0_array(int64, c.nshifts + 1);
	c.writer = row_writer_create(run->plan->result,
								 run->plan->spine->columns->natts, run->output,
								 run->output_parcel);
	c.values = palloc0_array(Datum, run->plan->result->natts);
	c.nulls = palloc0_array(bool, run->plan->result->natts);
	c.entity_context = AllocSetContextCreate(CurrentMemoryContext,
											 "pipeline entity",
											 ALLOCSET_DEFAULT_SIZES);
	c.row_context = AllocSetContextCreate(CurrentMemoryContext,
										  "pipeline feature row",
										  ALLOCSET_DEFAULT_SIZES);
	create_views(&c);
	create_states(run->plan);
	progress_phase(PROGRESS_COMPUTING, run->nkeys);
	if (run->nkeys > 0)
		record_store_finish(run->store, run->nkeys,
							c.nstreams + 1, compute_part, &c);
	row_writer_end(c.writer);
}
