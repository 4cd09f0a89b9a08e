/*
 * alert_interval.c
 *	  create_time_interval, drop_time_interval: what a time interval says.
 *
 * The fields are Alertmanager's: a list of spans, each of times, weekdays,
 * days_of_month, months, years and location; a time is in the interval if it
 * is in one of the spans, and in a span if it is in one range of every field
 * that the span has.
 */
#include "postgres.h"

#include <ctype.h>

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "alert/alert_interval.h"

static const AlertObject interval_object = {
	.kind = "time interval",
	.action = "create_time_interval",
	.lock = "SELECT owner::oid, to_jsonb(i) FROM pipeline.time_intervals i WHERE name = $1 FOR UPDATE",
	.remove = "DELETE FROM pipeline.time_intervals WHERE name = $1",
	.missing_hint = "The table pipeline.time_intervals lists yours.",
	.drop_action = "drop_time_interval"
};

static const char *const weekday_names[] = {
	"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", NULL
};
static const char *const month_names[] = {
	"", "january", "february", "march", "april", "may", "june", "july", "august",
	"september", "october", "november", "december", NULL
};

/* ---- ranges ------------------------------------------------------------------------ */

static void
bad_range(const char *field, const char *text, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for \"%s\" in argument \"times\": \"%s\"", field, text),
			 errhint("%s", hint)));
}

/* A number, or a name from a list where it has that place. */
static bool
read_member(const char *text, const char *const *names, bool numbers, int *value)
{
	char	   *end;
	long		number;

	for (int i = 0; names && names[i]; i++)
	{
		if (names[i][0] != '\0' && pg_strcasecmp(names[i], text) == 0)
		{
			*value = i;
			return true;
		}
	}
	number = strtol(text, &end, 10);
	*value = (int) number;
	return numbers && end != text && *end == '\0' && number > -100000 && number < 100000;
}

/* "from:to", or one member alone. */
static NumberRange *
read_range(const char *field, const char *text, const char *const *names,
		   bool numbers, int least, int most, const char *hint)
{
	NumberRange *range = palloc_object(NumberRange);
	char	   *from = pstrdup(text);
	char	   *to = strchr(from, ':');

	if (to)
		*to++ = '\0';
	if (!read_member(from, names, numbers, &range->from) ||
		!read_member(to ? to : from, names, numbers, &range->to) ||
		range->from < least || range->to > most || range->from > most || range->to < least)
		bad_range(field, text, hint);
	return range;
}

static void
check_order(const NumberRange *range, const char *field, const char *text)
{
	if (range->from > range->to)
		bad_range(field, text, "The end of a range is not before its beginning; for one that goes on to the next begin another.");
}

static NumberRange *
read_weekdays(const char *text)
{
	NumberRange *range = read_range("weekdays", text, weekday_names, false, 0, 6,
									"A day such as monday, or a range such as monday:friday; a week begins on sunday.");

	check_order(range, "weekdays", text);
	return range;
}

static NumberRange *
read_months(const char *text)
{
	NumberRange *range = read_range("months", text, month_names, true, 1, 12,
									"A month such as january or 1, or a range such as january:march.");

	check_order(range, "months", text);
	return range;
}

static NumberRange *
read_years(const char *text)
{
	NumberRange *range = read_range("years", text, NULL, true, 1, 9999,
									"A year such as 2026, or a range such as 2026:2028.");

	check_order(range, "years", text);
	return range;
}

/* Days may count from the end, -1 being the last. */
static NumberRange *
read_days(const char *text)
{
	static const char *const hint = "A day from 1 to 31, or from the end of the month from -1 to -31, or a range such as 1:7 or -3:-1.";
	NumberRange *range = read_range("days_of_month", text, NULL, true, -31, 31, hint);
	int			from = range->from < 0 ? 28 + range->from : range->from;
	int			to = range->to < 0 ? 28 + range->to : range->to;

	/* A range that no month has, of 28 days or more, is a mistake. */
	if (range->from == 0 || range->to == 0 || (range->from < 0 && range->to > 0) || from > to)
		bad_range("days_of_month", text, hint);
	return range;
}

/* "HH:MM" in minutes; -1 if it is none. */
static int
read_minutes(const char *text)
{
	int			minutes;

	if (strlen(text) != 5 || text[2] != ':' || !isdigit((unsigned char) text[0]) ||
		!isdigit((unsigned char) text[1]) || !isdigit((unsigned char) text[3]) ||
		!isdigit((unsigned char) text[4]) || text[3] > '5')
		return -1;
	minutes = ((text[0] - '0') * 10 + text[1] - '0') * 60 + (text[3] - '0') * 10 + text[4] - '0';
	return minutes <= 24 * 60 ? minutes : -1;
}

static NumberRange *
read_times(const Jsonb *object)
{
	static const char *const keys[] = {"start_time", "end_time", NULL};
	static const char *const hint = "Two times from 00:00 to 24:00, the first before the second, such as {\"start_time\": \"09:00\", \"end_time\": \"17:30\"}; for a night give two.";
	NumberRange *range = palloc_object(NumberRange);
	char	   *from;
	char	   *to;

	pipeline_check_keys(object, "times", keys);
	from = pipeline_jsonb_key(object, "start_time");
	to = pipeline_jsonb_key(object, "end_time");
	range->from = from ? read_minutes(from) : -1;
	range->to = to ? read_minutes(to) : -1;
	if (range->from < 0 || range->to < 0 || range->from >= range->to)
		bad_range("times", JsonbToCString(NULL, unconstify(JsonbContainer *, &object->root), VARSIZE(object)), hint);
	return range;
}

/* ---- fields -------------------------------------------------------------------------- */

/* The elements of a field, an array or a single one; NIL when it is missing. */
static List *
field_elements(const Jsonb *span, const char *field)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &span->root), field,
												 strlen(field), &buf);
	List	   *elements = NIL;

	if (v == NULL || v->type == jbvNull)
		return NIL;
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		return list_make1(JsonbValueToJsonb(v));
	for (uint32 i = 0; i < JsonContainerSize(v->val.binary.data); i++)
		elements = lappend(elements, JsonbValueToJsonb(getIthJsonbValueFromContainer(v->val.binary.data, i)));
	if (elements == NIL)
		bad_range(field, "[]", "Leave a field out where anything will do.");
	return elements;
}

/* A scalar as text. */
static char *
element_text(const Jsonb *element, const char *field)
{
	JsonbValue	v;

	if (JB_ROOT_IS_SCALAR(element) && JsonbExtractScalar(unconstify(JsonbContainer *, &element->root), &v))
	{
		if (v.type == jbvString)
			return pnstrdup(v.val.string.val, v.val.string.len);
		if (v.type == jbvNumeric)
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v.val.numeric)));
	}
	bad_range(field, JsonbToCString(NULL, unconstify(JsonbContainer *, &element->root), VARSIZE(element)),
			  "Ranges are strings such as \"1:5\", or numbers.");
	return NULL;
}

static List *
read_field(const Jsonb *span, const char *field, NumberRange *(*read) (const char *text))
{
	List	   *ranges = NIL;
	ListCell   *lc;

	foreach(lc, field_elements(span, field))
		ranges = lappend(ranges, read(element_text(lfirst(lc), field)));
	return ranges;
}

static TimeSpan *
read_span(const Jsonb *json, const char *timezone)
{
	static const char *const keys[] = {
		"times", "weekdays", "days_of_month", "months", "years", "location", NULL
	};
	TimeSpan   *span = palloc0(sizeof(TimeSpan));
	char	   *location;
	ListCell   *lc;

	pipeline_check_keys(json, "times", keys);
	location = pipeline_jsonb_key(json, "location");
	span->tz = pipeline_timezone(location ? location : timezone);
	foreach(lc, field_elements(json, "times"))
		span->times = lappend(span->times, read_times(lfirst(lc)));
	span->weekdays = read_field(json, "weekdays", read_weekdays);
	span->days_of_month = read_field(json, "days_of_month", read_days);
	span->months = read_field(json, "months", read_months);
	span->years = read_field(json, "years", read_years);
	return span;
}

/* The spans of an interval; 22023 if they cannot be read. */
List *
pipeline_interval_parse(const Jsonb *times, const char *timezone)
{
	List	   *spans = NIL;

	(void) pipeline_timezone(timezone);
	if (JB_ROOT_IS_OBJECT(times))
		return list_make1(read_span(times, timezone));
	if (JB_ROOT_IS_ARRAY(times) && !JB_ROOT_IS_SCALAR(times))
	{
		for (uint32 i = 0; i < JB_ROOT_COUNT(times); i++)
			spans = lappend(spans, read_span(JsonbValueToJsonb(getIthJsonbValueFromContainer(unconstify(JsonbContainer *, &times->root), i)),
											 timezone));
	}
	if (spans == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"times\" must be a JSON object, or an array of such"),
				 errhint("For example: {\"weekdays\": [\"saturday\", \"sunday\"]}.")));
	return spans;
}

/* ---- use -------------------------------------------------------------------------------- */

/* May a route of `owner` name an interval of `interval_owner`? */
bool
pipeline_interval_is_usable(Oid owner, Oid interval_owner)
{
	return pipeline_is_owner(owner, interval_owner) || pipeline_is_admin(interval_owner);
}

/* Raise 42704 or 42501 unless a route of `owner` may name these intervals. */
void
pipeline_check_intervals(const List *names, Oid owner, const char *argument)
{
	const ListCell *lc;

	foreach(lc, names)
	{
		UserScope	scope;
		const char *name = lfirst(lc);
		Oid			interval_owner = InvalidOid;
		bool		isnull;

		pipeline_extension_begin(&scope);
		if (pipeline_sql("SELECT owner::oid FROM pipeline.time_intervals WHERE name = $1 FOR KEY SHARE",
						 SPI_OK_SELECT, sql_text(name)) > 0)
			interval_owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
		pipeline_scope_end(&scope);
		if (!OidIsValid(interval_owner))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("time interval \"%s\" in argument \"%s\" does not exist", name, argument),
					 errhint("The table pipeline.time_intervals lists those that you may use.")));
		if (!pipeline_interval_is_usable(owner, interval_owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for time interval \"%s\"", name),
					 errdetail("A route of role \"%s\" may name its own and those of administrators.",
							   GetUserNameFromId(owner, false))));
	}
}

/* ---- SQL --------------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(pipeline_create_time_interval);

/* SQL: create_time_interval(name, times, timezone, labels, or_replace, description) */
Datum
pipeline_create_time_interval(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *timezone;
	Jsonb	   *before = NULL;
	Oid			owner = GetUserId();

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "times");
	pipeline_not_null(fcinfo, 2, "timezone");
	pipeline_not_null(fcinfo, 4, "or_replace");
	name = pipeline_arg_text(fcinfo, 0);
	timezone = pipeline_arg_text(fcinfo, 2);
	pipeline_check_name("time interval", name);
	(void) pipeline_interval_parse(PG_GETARG_JSONB_P(1), timezone);
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 3), "labels");

	SPI_connect();
	if (PG_GETARG_BOOL(4))
		before = pipeline_object_lock(&interval_object, name, false, &owner);
	{
		const SqlArg args[] = {
			sql_text(name), sql_role(owner), sql_jsonb(PG_GETARG_JSONB_P(1)),
			sql_text(timezone), sql_jsonb(pipeline_arg_jsonb(fcinfo, 3)),
			sql_text(pipeline_arg_text(fcinfo, 5))
		};

		pipeline_object_write(&interval_object, name, before,
							  "INSERT INTO pipeline.time_intervals AS i (name, owner, times, timezone, labels, description)"
							  " VALUES ($1, $2, $3, $4, coalesce($5, '{}'), $6)"
							  " ON CONFLICT (name) DO UPDATE SET (times, timezone, labels, description) ="
							  "  (excluded.times, excluded.timezone, excluded.labels, excluded.description)"
							  " WHERE $7 RETURNING to_jsonb(i)", lengthof(args), args);
	}
	if (before)
		pipeline_routes_changed(owner);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_time_interval);

/* SQL: drop_time_interval(name) */
Datum
pipeline_drop_time_interval(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	char	   *route = NULL;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	(void) pipeline_object_lock(&interval_object, name, true, NULL);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT name FROM pipeline.routes WHERE $1 = ANY (mute_time_intervals || active_time_intervals)"
					 " ORDER BY name LIMIT 1", SPI_OK_SELECT, sql_text(name)) > 0)
		route = pipeline_sql_text(0, 1);
	pipeline_scope_end(&scope);
	if (route)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop time interval \"%s\" because route \"%s\" names it", name, route),
				 errhint("Alter or drop that first.")));
	(void) pipeline_object_drop(&interval_object, name);
	SPI_finish();
	PG_RETURN_VOID();
}
