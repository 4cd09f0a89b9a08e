/*
 * spec.c
 *	  One feature as the user gave it: arguments of add_feature(), or an
 *	  element of the jsonb of features().  Options are checked here; names of
 *	  columns and expressions are for plan.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "feature/feature.h"

/* In the order of AggregateKind. */
static const char *const aggregates[] = {
	"count", "sum", "min", "max", "avg", "exists", "count_distinct", "first",
	"last", "time_since_first", "time_since_last", "stddev", "variance",
	"last_k", "top_k", "rate", "percentile", "decayed_sum",
	"approx_count_distinct", NULL
};

static const char *const closed_choices[] = {
	"left", "right", "both", "none", NULL
};

static const char *const align_choices[] = {
	"second", "minute", "hour", "day", "week", "month", "quarter", "year", NULL
};

static const char *const feature_keys[] = {
	"feature", "source", "aggregate", "lookback", "lookahead", "value",
	"closed", "filter", "entity", "event_time", "align", "by", "args",
	"default_value", NULL
};

static char *
interval_text(const Interval *interval)
{
	return DatumGetCString(DirectFunctionCall1(interval_out,
											   IntervalPGetDatum(interval)));
}

/* Where a window starts and ends; all intervals are allowed that leave one. */
static void
check_window(const FeatureSpec *spec)
{
	Interval	zero = {0};
	Interval   *least;

	if (pipeline_compare_intervals(spec->lookback, &zero) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"lookback\" must not be negative"),
				 errdetail("It is %s.", interval_text(spec->lookback)),
				 errhint("It says how far before the row's time the window starts; \"lookahead\" says how far after it the window ends.")));
	least = DatumGetIntervalP(DirectFunctionCall1(interval_um,
												  IntervalPGetDatum(spec->lookback)));
	if (pipeline_compare_intervals(spec->lookahead, least) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the window would end before it starts"),
				 errdetail("The lookback is %s, the lookahead %s.",
						   interval_text(spec->lookback), interval_text(spec->lookahead)),
				 errhint("A negative lookahead leaves a gap before the row's time: it must be shorter than the lookback.")));
}

/* Is the interval a whole number of units, wherever it starts? */
static bool
is_whole(const Interval *interval, const char *unit)
{
	static const struct
	{
		const char *unit;
		int64		usecs;		/* 0: none of that field is allowed */
		int			days;
		int			months;
	}			units[] = {
		{"second", USECS_PER_SEC, 1, 1},
		{"minute", USECS_PER_MINUTE, 1, 1},
		{"hour", USECS_PER_HOUR, 1, 1},
		{"day", 0, 1, 1},
		{"week", 0, 7, 0},
		{"month", 0, 0, 1},
		{"quarter", 0, 0, 3},
		{"year", 0, 0, 12}
	};

	for (int i = 0; i < lengthof(units); i++)
	{
		if (strcmp(units[i].unit, unit) == 0)
			return (units[i].usecs ? interval->time % units[i].usecs : interval->time) == 0 &&
				(units[i].days ? interval->day % units[i].days : interval->day) == 0 &&
				(units[i].months ? interval->month % units[i].months : interval->month) == 0;
	}
	return false;
}

static void
check_whole(const Interval *interval, const char *argument, const char *unit)
{
	if (is_whole(interval, unit))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" must be whole units of \"%s\", as argument \"align\" says",
					argument, unit),
			 errdetail("It is %s.", interval_text(interval)),
			 errhint("Weeks are whole in days, quarters and years in months; a day is not 24 hours.")));
}

static void
check_align(const FeatureSpec *spec)
{
	if (spec->align == NULL)
		return;
	pipeline_check_choice("align", spec->align, align_choices);
	check_whole(spec->lookback, "lookback", spec->align);
	check_whole(spec->lookahead, "lookahead", spec->align);
}

static void
check_required(const void *value, const char *argument)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", argument)));
}

/* One of ours, or else the name of an aggregate function. */
static AggregateKind
aggregate_kind(const char *name)
{
	for (int i = 0; aggregates[i]; i++)
	{
		if (strcmp(aggregates[i], name) == 0)
			return (AggregateKind) i;
	}
	if (other_aggregate_name(name) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"aggregate\": \"%s\"", name),
				 errhint("Available: count, exists, rate, sum, avg, min, max, stddev, variance, percentile, count_distinct, approx_count_distinct, first, last, last_k, top_k, time_since_first, time_since_last, decayed_sum, and the name of an aggregate function.")));
	return AGGREGATE_OTHER;
}

/* Check one feature's options and make its specification. */
FeatureSpec *
feature_spec(const FeatureText *text)
{
	FeatureSpec *spec = palloc0(sizeof(FeatureSpec));
	Interval	zero = {0};

	check_required(text->name, "feature");
	pipeline_check_name("feature", text->name);
	if (strlen(text->name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of a feature is too long: \"%s\"", text->name),
				 errhint("It becomes a column: at most %d bytes.", NAMEDATALEN - 1)));
	check_required(text->source, "source");
	check_required(text->aggregate, "aggregate");
	check_required(text->lookback, "lookback");

	spec->name = text->name;
	spec->source = text->source;
	spec->aggregate = aggregate_kind(text->aggregate);
	spec->aggregate_name = text->aggregate;
	spec->lookback = text->lookback;
	spec->lookahead = text->lookahead ? text->lookahead : palloc0(sizeof(Interval));
	spec->looks_ahead = pipeline_compare_intervals(spec->lookahead, &zero) > 0;
	check_window(spec);
	spec->align = text->align;
	check_align(spec);
	spec->closed = text->closed ? text->closed : "left";
	pipeline_check_choice("closed", spec->closed, closed_choices);
	spec->closed_left = strcmp(spec->closed, "left") == 0 ||
		strcmp(spec->closed, "both") == 0;
	spec->closed_right = strcmp(spec->closed, "right") == 0 ||
		strcmp(spec->closed, "both") == 0;
	spec->value = text->value;
	spec->filter = text->filter;
	spec->entity = text->entity;
	spec->event_time = text->event_time;
	spec->default_value = text->default_value;
	spec->by = text->by;
	spec->args = text->args;
	feature_spec_args(spec);
	if (spec->value == NULL && aggregate_needs_value(spec->aggregate))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate \"%s\" needs argument \"value\"",
						spec->aggregate_name),
				 errhint("Give an expression over the source's columns, such as the name of one.")));
	return spec;
}

/* ---- from jsonb ------------------------------------------------------------ */

static void
element_context(void *arg)
{
	const char *name = *(char **) arg;

	if (name != NULL)
		errcontext("feature \"%s\"", name);
}

/* A text option: it must be a JSON string, or absent. */
static char *
string_key(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 key, strlen(key), &buf);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of argument \"features\" must be a JSON string", key),
				 errdetail("It is %s.", pipeline_jsonb_key(object, key))));
	return pnstrdup(v->val.string.val, v->val.string.len);
}

static Interval *
interval_key(const Jsonb *object, const char *key)
{
	char	   *text = string_key(object, key);

	if (text == NULL)
		return NULL;
	return DatumGetIntervalP(DirectFunctionCall3(interval_in,
												 CStringGetDatum(text),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1)));
}

/* An array of strings, or one string. */
static List *
list_key(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 key, strlen(key), &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	List	   *list = NIL;
	bool		good = true;

	if (v == NULL || v->type == jbvNull)
		return NIL;
	if (v->type == jbvString)
		return list_make1(pnstrdup(v->val.string.val, v->val.string.len));
	good = v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
	if (good)
	{
		it = JsonbIteratorInit(v->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			good = good && element.type == jbvString;
			if (element.type == jbvString)
				list = lappend(list, pnstrdup(element.val.string.val,
											  element.val.string.len));
		}
	}
	if (!good || list == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of argument \"features\" must be an array of strings", key),
				 errdetail("It is %s.", pipeline_jsonb_key(object, key))));
	return list;
}

/* The "args" of an element, as jsonb, or NULL. */
static const Jsonb *
jsonb_key(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 key, strlen(key), &buf);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	return JsonbValueToJsonb(v);
}

static FeatureSpec *
spec_from_object(const Jsonb *object)
{
	FeatureText text = {0};
	FeatureSpec *spec;
	ErrorContextCallback context;

	text.name = NULL;
	context.callback = element_context;
	context.arg = &text.name;
	context.previous = error_context_stack;
	error_context_stack = &context;

	if (JB_ROOT_IS_OBJECT(object))
		text.name = string_key(object, "feature");
	pipeline_check_keys(object, "features", feature_keys);
	text.source = string_key(object, "source");
	text.aggregate = string_key(object, "aggregate");
	text.lookback = interval_key(object, "lookback");
	text.lookahead = interval_key(object, "lookahead");
	text.value = string_key(object, "value");
	text.closed = string_key(object, "closed");
	text.filter = string_key(object, "filter");
	text.entity = list_key(object, "entity");
	text.event_time = string_key(object, "event_time");
	text.align = string_key(object, "align");
	text.by = string_key(object, "by");
	text.args = jsonb_key(object, "args");
	text.default_value = pipeline_jsonb_key(object, "default_value");
	spec = feature_spec(&text);

	error_context_stack = context.previous;
	return spec;
}

/*
 * Turn the argument of features(), an array of objects with the keys of
 * add_feature(), into specifications.
 */
List *
feature_specs_from_jsonb(const Jsonb *features)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	List	   *specs = NIL;

	if (!JB_ROOT_IS_ARRAY(features) || JB_ROOT_IS_SCALAR(features) ||
		JB_ROOT_COUNT(features) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"features\" must be a JSON array of at least one feature"),
				 errdetail("It is %s.",
						   JsonbToCString(NULL, (JsonbContainer *) &features->root,
										  VARSIZE(features))),
				 errhint("Say, for one: '[{\"feature\": \"taps_21d\", \"source\": \"taps\", \"aggregate\": \"count\", \"lookback\": \"21 days\"}]'.")));
	it = JsonbIteratorInit((JsonbContainer *) &features->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			specs = lappend(specs, spec_from_object(JsonbValueToJsonb(&v)));
	}
	return specs;
}
