/*
 * events_resolve.c
 *	  The events of one key, in order: what its versions tell, what was kept,
 *	  what the batch brings; duplicates, ties and rows that come too late are
 *	  settled here, so that the replay has one event for each instant.
 *
 * At one instant the last event by sequence counts; the others of that
 * instant never were the truth for any length of time.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "scd/events.h"

bool
pipeline_scd_same_values(Replay *r, const Datum *a, const bool *anull,
						 const Datum *b, const bool *bnull)
{
	MergePlan  *plan = r->plan;

	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		if (!pipeline_scd_equal(&plan->columns[i], a[i], anull[i], b[i], bnull[i]))
			return false;
	}
	return true;
}

static Event *
new_event(EventOrigin origin, TimestampTz at, bool is_delete,
		  Datum *values, bool *nulls)
{
	Event	   *event = palloc0(sizeof(Event));

	event->origin = origin;
	event->at = at;
	event->is_delete = is_delete;
	event->values = values;
	event->nulls = nulls;
	event->no_sequence = true;
	return event;
}

/* Is there a kept event of this time?  They are in the order of time. */
static bool
kept_at(Replay *r, TimestampTz at)
{
	int			low = 0;
	int			high = list_length(r->kept);

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		Event	   *event = list_nth(r->kept, middle);

		if (event->at == at)
			return true;
		if (event->at < at)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* The events that a version tells, unless the kept ones know better. */
static List *
told_by_version(Replay *r, List *events, int i)
{
	Version    *v = list_nth(r->stored, i);
	Version    *next = i + 1 < list_length(r->stored) ? list_nth(r->stored, i + 1) : NULL;

	if (!kept_at(r, v->from))
	{
		Event	   *event = new_event(ORIGIN_VERSION, v->from, v->is_deleted,
									  v->values, v->nulls);

		event->told_by = v;
		event->reason = CLOSED_DELETED;
		events = lappend(events, event);
	}
	if (!v->open && (next == NULL || next->from != v->to) && !kept_at(r, v->to))
	{
		Event	   *event = new_event(ORIGIN_VERSION, v->to, true, v->values, v->nulls);

		event->reason = v->reason ? v->reason : CLOSED_DELETED;
		events = lappend(events, event);
	}
	return events;
}

/* A snapshot says what is now: a member that was gone is back as of now. */
static void
move_reappeared(Replay *r)
{
	Event	   *last = NULL;
	ListCell   *lc;

	if (!r->snapshot || !r->by_time || r->stored == NIL ||
		(r->alive != NULL && !r->alive->is_deleted))
		return;
	foreach(lc, r->batch)
	{
		Event	   *event = lfirst(lc);

		if (event->origin == ORIGIN_BATCH && (last == NULL || event->at >= last->at))
			last = event;
	}
	if (last != NULL && last->at <= r->last_stored && r->plan->effective > r->last_stored)
		last->at = r->plan->effective;
}

static int
compare_sequences(const Replay *r, const Event *a, const Event *b)
{
	if (a->no_sequence || b->no_sequence)
		return b->no_sequence - a->no_sequence;
	return DatumGetInt32(FunctionCall2Coll((FmgrInfo *) &r->sequence_compare,
										   r->sequence_collation,
										   a->sequence, b->sequence));
}

static int
compare_events(const void *pa, const void *pb, void *arg)
{
	const Event *a = *(Event *const *) pa;
	const Event *b = *(Event *const *) pb;
	int			cmp;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	cmp = compare_sequences(arg, a, b);
	if (cmp != 0)
		return cmp;
	if (a->origin != b->origin)
		return a->origin < b->origin ? -1 : 1;
	return a->n < b->n ? -1 : a->n > b->n;
}

static void
conflict(Replay *r, const Event *event)
{
	MemoryContext old;

	if (r->delta->conflict != NULL)
		return;
	old = MemoryContextSwitchTo(r->result_context);
	r->delta->conflict = psprintf("Key %s at %s.",
								  pipeline_scd_key_text(r->plan, event->values, event->nulls),
								  timestamptz_to_str(event->at));
	MemoryContextSwitchTo(old);
}

/*
 * Two events of one instant and sequence, `first` before `second`: which one
 * counts?
 */
static Event *
settle_tie(Replay *r, Event *first, Event *second)
{
	bool		in_batch = second->origin == ORIGIN_BATCH;
	bool		first_stored = first->origin <= ORIGIN_KEPT;

	if (first->is_delete == second->is_delete &&
		(first->is_delete ||
		 pipeline_scd_same_values(r, first->values, first->nulls,
								  second->values, second->nulls)))
	{
		if (in_batch && (!first_stored || r->keeps_events))
			r->counts->duplicate++;
		else if (in_batch)
			r->counts->unchanged++;
		second->dropped = true;
		return first;
	}
	if (r->plan->replace && second->origin >= ORIGIN_BATCH && first_stored)
	{
		first->dropped = true;
		return second;
	}
	if (!DIMENSION_KEEPS_TIES(r->plan->dimension))
		conflict(r, second);
	if (second->is_delete && !first->is_delete)
	{
		r->counts->unchanged += first->origin == ORIGIN_BATCH;
		first->dropped = true;
		return second;
	}
	r->counts->unchanged += in_batch;
	second->dropped = true;
	return first;
}

/* Leave one event for each instant. */
static void
settle_instants(Replay *r)
{
	Event	   *winner = NULL;

	for (int i = 0; i < r->nevents; i++)
	{
		Event	   *event = r->events[i];

		if (event->dropped)
			continue;
		if (winner == NULL || winner->at != event->at)
			winner = event;
		else if (compare_sequences(r, winner, event) == 0)
			winner = settle_tie(r, winner, event);
		else
		{
			r->counts->unchanged += winner->origin == ORIGIN_BATCH;
			winner->dropped = true;
			winner = event;
		}
	}
}

/*
 * Where nothing but versions is stored, rows must come after them.  What only
 * says again what is current is dropped here, whatever its time.
 */
static void
drop_stale(Replay *r)
{
	for (int i = 0; i < r->nevents; i++)
	{
		Event	   *event = r->events[i];

		if (event->dropped || event->origin < ORIGIN_BATCH || event->at > r->last_stored)
			continue;
		if (event->origin == ORIGIN_BATCH && !event->is_delete && r->alive != NULL &&
			!r->alive->is_deleted &&
			pipeline_scd_same_values(r, event->values, event->nulls,
									 r->alive->values, r->alive->nulls))
		{
			event->dropped = true;
			r->counts->unchanged++;
		}
		else if (event->at == r->last_stored &&
				 (r->plan->replace || DIMENSION_KEEPS_TIES(r->plan->dimension)))
			continue;			/* settled with what is stored */
		else if (r->delta->stale == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(r->result_context);

			r->delta->stale = psprintf("Key %s has history up to %s; the row is of %s.",
									   pipeline_scd_key_text(r->plan, event->values, event->nulls),
									   timestamptz_to_str(r->last_stored),
									   timestamptz_to_str(event->at));
			MemoryContextSwitchTo(old);
		}
	}
}

/* Make the events of the key at hand. */
void
pipeline_scd_resolve_events(Replay *r)
{
	List	   *events = NIL;
	ListCell   *lc;

	r->has_stored = false;
	r->alive = NULL;
	if (!r->plan->rebuild)
	{
		for (int i = 0; i < list_length(r->stored); i++)
			events = told_by_version(r, events, i);
		events = list_concat(events, r->kept);	/* copies the cells */
		if (r->stored != NIL && ((Version *) llast(r->stored))->open)
			r->alive = llast(r->stored);
	}
	foreach(lc, events)
	{
		Event	   *event = lfirst(lc);

		if (!r->has_stored || event->at > r->last_stored)
			r->last_stored = event->at;
		r->has_stored = true;
	}
	move_reappeared(r);
	if (r->initial && !r->has_stored && r->plan->dimension->has_initial)
	{
		Event	   *first = linitial(r->batch);

		foreach(lc, r->batch)
		{
			if (((Event *) lfirst(lc))->at < first->at)
				first = lfirst(lc);
		}
		if (r->plan->dimension->initial_valid_from < first->at)
		{
			TimestampTz at = first->at;

			foreach(lc, r->batch)
			{
				Event	   *event = lfirst(lc);

				if (event->at == at)
					event->at = r->plan->dimension->initial_valid_from;
			}
		}
	}
	events = list_concat(events, r->batch);
	r->nevents = list_length(events);
	r->events = palloc_array(Event *, r->nevents + 1);
	r->nevents = 0;
	foreach(lc, events)
		r->events[r->nevents++] = lfirst(lc);
	qsort_arg(r->events, r->nevents, sizeof(Event *), compare_events, r);
	if (r->has_stored && !r->keeps_events)
		drop_stale(r);
	settle_instants(r);
}
