/*
 * plan_windows.c
 *	  Streams, shifts and windows: what features have in common is planned
 *	  once.
 *
 * Equal (source, entity, event time) become one stream, equal lookbacks and
 * lookaheads one shift, equal (stream, shifts, closed) one window.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "feature/feature.h"

static bool
same_strings(const List *a, const List *b)
{
	if (list_length(a) != list_length(b))
		return false;
	for (int i = 0; i < list_length(a); i++)
	{
		if (strcmp(list_nth(a, i), list_nth(b, i)) != 0)
			return false;
	}
	return true;
}

/* Find or make the stream of a feature; its entity widens the plan's types. */
int
plan_stream(FeaturePlan *plan, const FeatureSpec *spec)
{
	Stream	   *stream = palloc0(sizeof(Stream));
	const char *time = spec->event_time ? spec->event_time : plan->event_time;
	List	   *entity = spec->entity ? spec->entity : plan->entity;
	ListCell   *lc;

	stream->source = pipeline_source(spec->source, "source");
	if (list_length(entity) != plan->nkeys)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"entity\" names %d columns, the spine's entity has %d",
						list_length(entity), plan->nkeys),
				 errdetail("The spine's entity is: %s.",
						   pipeline_list_join(plan->entity, ", "))));
	foreach(lc, plan->streams)
	{
		Stream	   *other = lfirst(lc);

		if (strcmp(other->source->from, stream->source->from) == 0 &&
			strcmp(other->event_time, time) == 0 &&
			same_strings(other->entity, entity))
			return foreach_current_index(lc);
	}
	stream->entity = entity;
	stream->event_time = pstrdup(time);
	stream->local = plan_time_is_local(stream->source, time, "event_time") &&
		plan->local;
	stream->epoch = plan_time_is_epoch(stream->source, time, "event_time");
	if (plan->knowledge_time != NULL)
	{
		stream->knowledge_time = pstrdup(plan->knowledge_time);
		stream->known_local = plan_time_is_local(stream->source, plan->knowledge_time,
												 "knowledge_time") && plan->local;
		stream->known_epoch = plan_time_is_epoch(stream->source, plan->knowledge_time,
												 "knowledge_time");
	}
	stream->nullable_time = plan_column_is_nullable(stream->source, time);
	plan_merge_key_types(plan, stream->source, entity);
	plan->streams = lappend(plan->streams, stream);
	return list_length(plan->streams) - 1;
}

/* Find or make the shift by an interval, or by its negation. */
int
plan_shift(FeaturePlan *plan, const char *align, const Interval *interval,
		   bool negate)
{
	Shift	   *shift = palloc0(sizeof(Shift));
	ListCell   *lc;

	if (negate)
		interval = DatumGetIntervalP(DirectFunctionCall1(interval_um,
														 IntervalPGetDatum(interval)));
	foreach(lc, plan->shifts)
	{
		const Shift *known = lfirst(lc);
		const Interval *other = &known->interval;

		if (other->month == interval->month && other->day == interval->day &&
			other->time == interval->time &&
			(align ? known->align && strcmp(known->align, align) == 0 :
			 known->align == NULL))
			return foreach_current_index(lc);
	}
	if (align != NULL)
	{
		shift->align = align;
		shift->unit = CStringGetTextDatum(align);
	}
	shift->interval = *interval;
	shift_prepare(shift, plan->local);
	plan->shifts = lappend(plan->shifts, shift);
	return list_length(plan->shifts) - 1;
}

/* Find or make the feature's window; note how far its stream is reached. */
int
plan_window(FeaturePlan *plan, int number, const FeatureSpec *spec)
{
	Window	   *window = palloc0(sizeof(Window));
	Stream	   *stream = list_nth(plan->streams, number);
	ListCell   *lc;

	window->stream = number;
	window->start = plan_shift(plan, spec->align, spec->lookback, true);
	window->end = plan_shift(plan, spec->align, spec->lookahead, false);
	window->only_known = plan->knowledge_time != NULL && !spec->looks_ahead;
	window->closed_left = spec->closed_left;
	window->closed_right = spec->closed_right;
	foreach(lc, plan->windows)
	{
		Window	   *other = lfirst(lc);

		if (other->stream == number && other->start == window->start &&
			other->end == window->end &&
			other->closed_left == window->closed_left &&
			other->closed_right == window->closed_right)
			return foreach_current_index(lc);
	}
	stream->back = Max(stream->back,
					   shift_limit(list_nth(plan->shifts, window->start), -1));
	stream->ahead = Max(stream->ahead,
						shift_limit(list_nth(plan->shifts, window->end), 1));
	plan->windows = lappend(plan->windows, window);
	return list_length(plan->windows) - 1;
}
