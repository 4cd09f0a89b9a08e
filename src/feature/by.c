/*
 * by.c
 *	  One feature, spread over the values of a column: a jsonb object with a
 *	  key for each value that the window has.
 *
 * The events of an entity are grouped by that value; each group is a stream of
 * its own, with its own window, and the feature is computed over it by the
 * same functions as over a whole stream.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "feature/feature.h"

typedef struct ByGroup
{
	char	   *key;			/* as JSON */
	Stream		stream;			/* its events */
	Input		input;
	Window		window;
	FeatureState state;
	FeatureState known;
} ByGroup;

struct ByGroups
{
	int			ngroups;
	ByGroup    *groups;
};

static text *
group_key(const Stream *stream, const Input *by, int event)
{
	return DatumGetTextPP(record_value(stream->events[event], stream, by));
}

static void
add_event(ByGroup *group, const Stream *stream, int event)
{
	group->stream.events[group->stream.nevents++] = stream->events[event];
}

static void
start_group(ByGroup *group, const Feature *feature, const Stream *stream)
{
	const Input *input = feature->input < 0 ? NULL :
		list_nth(stream->inputs, feature->input);

	stream_times(&group->stream);
	if (stream->knowledge_time != NULL)
		known_start(&group->stream);
	if (input != NULL)
	{
		group->input = *input;
		input_start(&group->input, feature->input, &group->stream);
		input = &group->input;
	}
	feature_state_create(&group->state, feature, input);
	feature_state_start(&group->state, feature, input, &group->stream);
	if (stream->knowledge_time != NULL && !known_set_applies(feature))
		feature_state_create(&group->known, feature, input);
}

/* Group the events of a new entity, in the current context. */
void
by_start(Feature *feature, const Stream *stream)
{
	const Input *by = list_nth(stream->inputs, feature->by);
	ByGroups   *groups = palloc0(sizeof(ByGroups));
	int			n;
	int		   *sorted = events_by_value(by, feature->by, stream, 0,
										 stream->nevents, &n);
	int			to;

	feature->groups = groups;
	groups->groups = palloc0_array(ByGroup, n + 1);
	for (int from = 0; from < n; from = to)
	{
		ByGroup    *group = &groups->groups[groups->ngroups];
		Datum		value = record_value(stream->events[sorted[from]], stream, by);
		StringInfoData key;

		CHECK_FOR_INTERRUPTS();
		for (to = from + 1; to < n &&
			 value_order_compare(by->order, value,
								 record_value(stream->events[sorted[to]], stream, by)) == 0;)
			to++;
		initStringInfo(&key);
		escape_json(&key, text_to_cstring(group_key(stream, by, sorted[from])));
		group->key = key.data;
		group->stream = *stream;
		group->stream.nevents = 0;
		group->stream.events = palloc_array(Record *, to - from + 1);
		/* Equal values are in order of the events. */
		for (int i = from; i < to; i++)
		{
			if (feature->input < 0 || record_has(stream->events[sorted[i]], feature->input))
				add_event(group, stream, sorted[i]);
		}
		if (group->stream.nevents == 0)
			continue;
		start_group(group, feature, stream);
		groups->ngroups++;
	}
	pfree(sorted);
}

/* How values of the feature become JSON. */
void
by_plan(Feature *feature)
{
	FuncExpr   *expr = makeFuncExpr(F_TO_JSON, JSONOID,
									list_make1(makeNullConst(feature->value_type, -1,
															 feature->result_collation)),
									InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);

	fmgr_info(F_TO_JSON, &feature->to_json);
	fmgr_info_set_expr((Node *) expr, &feature->to_json);
}

/* The object over the window of the row at hand; NULL if it has no key. */
Datum
by_result(Feature *feature, const Window *window, int64 known_by, int64 time,
		  bool *isnull)
{
	StringInfoData json;
	bool		any = false;

	initStringInfo(&json);
	for (int i = 0; i < feature->groups->ngroups; i++)
	{
		ByGroup    *group = &feature->groups->groups[i];
		Window	   *own = &group->window;
		Datum		value;
		bool		null;
		int			lo = own->lo;
		int			hi = own->hi;

		*own = *window;
		own->lo = lo;
		own->hi = hi;
		window_move(own, &group->stream, window->from, window->to);
		value = windowed_result(feature, &group->state, &group->known,
								feature->input < 0 ? NULL : &group->input,
								&group->stream, own, known_by, time, &null);
		if (own->hi <= own->lo || null)
			continue;
		appendStringInfo(&json, "%s%s:", any ? "," : "{", group->key);
		appendStringInfoString(&json, TextDatumGetCString(FunctionCall1(&feature->to_json, value)));
		any = true;
	}
	*isnull = !any;
	if (!any)
		return (Datum) 0;
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
