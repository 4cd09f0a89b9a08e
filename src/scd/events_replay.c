/*
 * events_replay.c
 *	  Replay the events of one key, one for each instant, into versions.
 */
#include "postgres.h"

#include "scd/events.h"

static bool
same_column(Replay *r, int i, const Version *v, const Event *e)
{
	return pipeline_scd_equal(&r->plan->columns[i], v->values[i], v->nulls[i],
							  e->values[i], e->nulls[i]);
}

static Version *
open_version(Replay *r, Event *event, const Version *before, bool is_deleted)
{
	MergePlan  *plan = r->plan;
	Version    *v = palloc0(sizeof(Version));
	bool		told = event->told_by != NULL && !r->keeps_events;
	const Datum *values = is_deleted && before ? before->values : event->values;
	const bool *nulls = is_deleted && before ? before->nulls : event->nulls;

	v->from = v->updated_at = event->at;
	v->open = true;
	v->is_deleted = is_deleted;
	event->opened = v;
	v->values = palloc_array(Datum, plan->ncolumns);
	v->nulls = palloc_array(bool, plan->ncolumns);
	memcpy(v->values, values, plan->ncolumns * sizeof(Datum));
	memcpy(v->nulls, nulls, plan->ncolumns * sizeof(bool));
	v->companions = palloc0_array(Datum, plan->ncolumns);
	v->no_companion = palloc_array(bool, plan->ncolumns);
	memset(v->no_companion, true, plan->ncolumns * sizeof(bool));
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		if (plan->columns[i].role == ROLE_TYPE0 && r->versions != NIL)
		{
			Version    *first = linitial(r->versions);

			v->values[i] = first->values[i];
			v->nulls[i] = first->nulls[i];
		}
		if (plan->columns[i].role != ROLE_TYPE3)
			continue;
		if (told)
		{
			v->companions[i] = event->told_by->companions[i];
			v->no_companion[i] = event->told_by->no_companion[i];
		}
		else if (before != NULL)
		{
			bool		same = is_deleted || same_column(r, i, before, event);

			v->companions[i] = same ? before->companions[i] : before->values[i];
			v->no_companion[i] = same ? before->no_companion[i] : before->nulls[i];
		}
	}
	r->versions = lappend(r->versions, v);
	return v;
}

static void
close_version(Version *v, TimestampTz at, const char *reason)
{
	v->open = false;
	v->to = at;
	v->reason = reason;
}

/* Does the event differ in a column whose change makes a version? */
static bool
makes_version(Replay *r, const Version *v, const Event *event)
{
	MergePlan  *plan = r->plan;

	/* Versions of before are not judged again by other rules. */
	if (event->told_by != NULL && !r->keeps_events)
		return true;
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		char		role = plan->columns[i].role;

		if ((role == ROLE_TYPE2 || role == ROLE_TYPE6) && !same_column(r, i, v, event))
			return true;
	}
	return false;
}

/* Overwrite what is overwritten; return whether anything was. */
static bool
overwrite(Replay *r, Version *v, const Event *event)
{
	MergePlan  *plan = r->plan;
	bool		any = false;

	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		char		role = plan->columns[i].role;

		if ((role != ROLE_TYPE1 && role != ROLE_TYPE3) || same_column(r, i, v, event))
			continue;
		if (role == ROLE_TYPE3)
		{
			v->companions[i] = v->values[i];
			v->no_companion[i] = v->nulls[i];
		}
		v->values[i] = event->values[i];
		v->nulls[i] = event->nulls[i];
		any = true;
	}
	v->updated_at = event->at;
	return any;
}

static Version *
replay_delete(Replay *r, Version *current, Event *event)
{
	if (current == NULL || current->is_deleted)
		return current;
	event->action = ACTION_DELETE;
	close_version(current, event->at, event->reason ? event->reason : CLOSED_DELETED);
	if (DIMENSION_NEW_RECORD(r->plan->dimension))
		return open_version(r, event, current, true);
	return NULL;
}

static Version *
replay_upsert(Replay *r, Version *current, Event *event)
{
	if (current == NULL || current->is_deleted)
	{
		Version    *last = r->versions == NIL ? NULL : llast(r->versions);

		if (current != NULL)
			close_version(current, event->at, CLOSED_VERSIONED);
		event->action = last == NULL ? ACTION_INSERT : ACTION_REOPEN;
		return open_version(r, event, last, false);
	}
	if (makes_version(r, current, event))
	{
		close_version(current, event->at, CLOSED_VERSIONED);
		event->action = ACTION_VERSION;
		return open_version(r, event, current, false);
	}
	if (overwrite(r, current, event))
		event->action = ACTION_OVERWRITE;
	return current;
}

/* All versions know the last value of a type 6 column. */
static void
spread_current(Replay *r)
{
	MergePlan  *plan = r->plan;
	Version    *last;
	ListCell   *lc;

	if (r->versions == NIL)
		return;
	last = llast(r->versions);
	for (int i = plan->nkeys; i < plan->ncolumns; i++)
	{
		if (plan->columns[i].role != ROLE_TYPE6)
			continue;
		foreach(lc, r->versions)
		{
			Version    *v = lfirst(lc);

			v->companions[i] = last->values[i];
			v->no_companion[i] = last->nulls[i];
		}
	}
}

void
pipeline_scd_replay(Replay *r)
{
	Version    *current = NULL;

	r->versions = NIL;
	for (int i = 0; i < r->nevents; i++)
	{
		Event	   *event = r->events[i];

		if (event->dropped)
			continue;
		current = event->is_delete ? replay_delete(r, current, event) :
			replay_upsert(r, current, event);
	}
	spread_current(r);
}
