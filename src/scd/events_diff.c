/*
 * events_diff.c
 *	  What the replay of a key asks to be written, and how its events count.
 *
 * Versions that are there keep their surrogate keys: a wanted version is the
 * stored one that starts when it does, else a stored one that it overlaps.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "scd/events.h"

/* ---- counts -------------------------------------------------------------------- */

static void
count_event(Replay *r, const Event *event)
{
	MergeCounts *counts = r->counts;

	if (event->action == ACTION_NONE)
		counts->unchanged++;
	else if (r->has_stored && event->at <= r->last_stored)
		counts->late++;
	else
	{
		switch (event->action)
		{
			case ACTION_INSERT:
				counts->inserted++;
				break;
			case ACTION_REOPEN:
				counts->reopened++;
				break;
			case ACTION_VERSION:
				counts->versioned++;
				break;
			case ACTION_OVERWRITE:
				counts->updated_type1++;
				break;
			default:
				counts->deleted++;
				break;
		}
	}
}

/* Count the events of the batch that were not dropped. */
void
pipeline_scd_count_events(Replay *r)
{
	for (int i = 0; i < r->nevents; i++)
	{
		if (r->events[i]->origin == ORIGIN_BATCH && !r->events[i]->dropped)
			count_event(r, r->events[i]);
	}
}

/* ---- versions ------------------------------------------------------------------ */

/* Is nothing of the stored version different from the wanted one? */
static bool
same_version(Replay *r, const Version *a, const Version *b)
{
	MergePlan  *plan = r->plan;

	if (a->from != b->from || a->open != b->open || (!a->open && a->to != b->to) ||
		a->is_deleted != b->is_deleted)
		return false;
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		if (!pipeline_scd_equal(&plan->columns[i], a->values[i], a->nulls[i],
								b->values[i], b->nulls[i]))
			return false;
		if (plan->columns[i].companion != NULL &&
			!pipeline_scd_equal(&plan->columns[i], a->companions[i], a->no_companion[i],
								b->companions[i], b->no_companion[i]))
			return false;
	}
	return true;
}

static bool
overlaps(const Version *a, const Version *b)
{
	return (a->open || a->to > b->from) && (b->open || b->to > a->from);
}

/* Does the interval of `b` lie within that of `a`? */
static bool
shrinks(const Version *a, const Version *b)
{
	return b->from >= a->from && (a->open || (!b->open && b->to <= a->to));
}

static void
put_version(Replay *r, const Version *v, const Version *stored,
			Tuplestorestate *store)
{
	MergePlan  *plan = r->plan;
	const Dimension *d = plan->dimension;
	int			natts = r->version_desc->natts;
	Datum	   *values = palloc0_array(Datum, natts);
	bool	   *nulls = palloc0_array(bool, natts);
	int			p = VERSION_FIRST + plan->ncolumns;

	nulls[VERSION_REL] = nulls[VERSION_TID] = stored == NULL;
	if (stored != NULL)
	{
		values[VERSION_REL] = ObjectIdGetDatum(stored->rel);
		values[VERSION_TID] = PointerGetDatum(&stored->tid);
	}
	values[VERSION_FROM] = TimestampTzGetDatum(v->from);
	nulls[VERSION_TO] = v->open && d->open_end_null;
	values[VERSION_TO] = TimestampTzGetDatum(v->open ? d->open_end : v->to);
	values[VERSION_OPEN] = BoolGetDatum(v->open);
	values[VERSION_DELETED] = BoolGetDatum(v->is_deleted);
	nulls[VERSION_REASON] = v->open || v->reason == NULL;
	if (!nulls[VERSION_REASON])
		values[VERSION_REASON] = CStringGetTextDatum(v->reason);
	values[VERSION_UPDATED] = TimestampTzGetDatum(v->updated_at);
	values[VERSION_SHRINKS] = BoolGetDatum(stored != NULL && shrinks(stored, v));
	r->shrinking += stored != NULL && shrinks(stored, v);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		values[VERSION_FIRST + i] = v->values[i];
		nulls[VERSION_FIRST + i] = v->nulls[i];
		if (plan->columns[i].companion == NULL)
			continue;
		values[p] = v->companions[i];
		nulls[p++] = v->no_companion[i];
	}
	tuplestore_putvalues(store, r->version_desc, values, nulls);
}

static void
put_gone(Replay *r, Oid rel, ItemPointer tid, bool is_event)
{
	Datum		values[3] = {ObjectIdGetDatum(rel), PointerGetDatum(tid), BoolGetDatum(is_event)};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(r->gone, r->gone_desc, values, nulls);
	if (is_event)
		r->gone_events++;
	else
		r->gone_versions++;
}

static void
write_matched(Replay *r, Version *wanted, Version *stored)
{
	stored->matched = wanted->matched = true;
	if (same_version(r, stored, wanted))
		return;
	if (!wanted->open && !stored->open && stored->to == wanted->to)
		wanted->reason = stored->reason;
	r->counts->closed += stored->open && !wanted->open;
	put_version(r, wanted, stored, r->changed);
}

/* Match the versions that start at the same time; both are in that order. */
static void
match_starts(Replay *r)
{
	int			s = 0;
	ListCell   *w;

	foreach(w, r->versions)
	{
		Version    *wanted = lfirst(w);

		while (s < list_length(r->stored) &&
			   ((Version *) list_nth(r->stored, s))->from < wanted->from)
			s++;
		if (s < list_length(r->stored) &&
			((Version *) list_nth(r->stored, s))->from == wanted->from)
			write_matched(r, wanted, list_nth(r->stored, s++));
	}
}

static List *
unmatched(const List *versions)
{
	List	   *rest = NIL;
	ListCell   *lc;

	foreach(lc, versions)
	{
		if (!((Version *) lfirst(lc))->matched)
			rest = lappend(rest, lfirst(lc));
	}
	return rest;
}

static void
diff_versions(Replay *r)
{
	List	   *stored;
	List	   *wanted;
	ListCell   *w;
	ListCell   *s;

	match_starts(r);
	stored = unmatched(r->stored);
	wanted = unmatched(r->versions);
	foreach(w, wanted)
	{
		Version    *v = lfirst(w);

		foreach(s, stored)
		{
			Version    *old = lfirst(s);

			if (!old->matched && overlaps(old, v))
			{
				write_matched(r, v, old);
				break;
			}
		}
		if (v->matched)
			continue;
		r->counts->closed += !v->open;
		put_version(r, v, NULL, r->opened);
	}
	foreach(s, stored)
	{
		Version    *old = lfirst(s);

		if (!old->matched)
			put_gone(r, old->rel, &old->tid, false);
	}
}

/* ---- events to keep ------------------------------------------------------------ */

/* Does a wanted version tell this event? */
static bool
is_told(Replay *r, const Event *event)
{
	if (!event->no_sequence)
		return false;
	if (event->is_delete)
		return event->action == ACTION_DELETE;
	return event->opened != NULL &&
		pipeline_scd_same_values(r, event->opened->values, event->opened->nulls,
								 event->values, event->nulls);
}

static void
put_event(Replay *r, const Event *event)
{
	MergePlan  *plan = r->plan;
	int			natts = r->event_desc->natts;
	Datum	   *values = palloc0_array(Datum, natts);
	bool	   *nulls = palloc0_array(bool, natts);

	values[EVENT_ROW_AT] = TimestampTzGetDatum(event->at);
	values[EVENT_ROW_SEQUENCE] = event->sequence;
	nulls[EVENT_ROW_SEQUENCE] = event->no_sequence;
	values[EVENT_ROW_DELETE] = BoolGetDatum(event->is_delete);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		/* What a delete says of the attributes is of no account. */
		values[EVENT_ROW_FIRST + i] = event->values[i];
		nulls[EVENT_ROW_FIRST + i] = event->nulls[i] ||
			(event->is_delete && i >= plan->nkeys);
	}
	tuplestore_putvalues(r->remember, r->event_desc, values, nulls);
}

static void
diff_events(Replay *r)
{
	for (int i = 0; i < r->nevents; i++)
	{
		Event	   *event = r->events[i];

		event->keep = !event->dropped && !is_told(r, event);
		if (event->keep && event->origin != ORIGIN_KEPT)
			put_event(r, event);
	}
	for (int i = 0; i < list_length(r->kept); i++)
	{
		Event	   *event = list_nth(r->kept, i);

		if (!event->keep)
			put_gone(r, r->plan->dimension->events, &event->tid, true);
	}
}

/* Find what differs from what is stored. */
void
pipeline_scd_diff(Replay *r)
{
	diff_versions(r);
	if (r->keeps_events)
		diff_events(r);
}
