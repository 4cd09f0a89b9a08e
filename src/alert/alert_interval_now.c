/*
 * alert_interval_now.c
 *	  Is a time in an interval, and when does a mute end?
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/datetime.h"

#include "alert/alert_interval.h"

/* A mute is looked at again after that long, whatever comes. */
#define LOOK_AHEAD (USECS_PER_DAY)

typedef struct Reading
{
	Jsonb	   *times;
	char	   *timezone;
	List	   *spans;
} Reading;

static bool
read_spans(void *arg)
{
	Reading    *reading = arg;

	reading->spans = pipeline_interval_parse(reading->times, reading->timezone);
	return true;
}

/*
 * Read all time intervals.  One that cannot be read any more, because its time
 * zone is gone, is left out: it must not stop the alerts of everybody.
 */
List *
pipeline_intervals_load(void)
{
	List	   *intervals = NIL;
	uint64		n = pipeline_sql("SELECT name, owner::oid, times, timezone FROM pipeline.time_intervals ORDER BY name COLLATE \"C\"",
								 SPI_OK_SELECT);
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 i = 0; i < n; i++)
	{
		TimeInterval *interval = palloc0(sizeof(TimeInterval));
		Reading		reading = {0};
		ErrorData  *error;
		bool		isnull;

		SPI_tuptable = rows;
		interval->name = pipeline_sql_text(i, 1);
		interval->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		reading.times = DatumGetJsonbPCopy(pipeline_sql_datum(i, 3, &isnull));
		reading.timezone = pipeline_sql_text(i, 4);
		error = pipeline_try(read_spans, &reading);
		if (error)
			ereport(LOG,
					(errmsg("time interval \"%s\" cannot be read: %s", interval->name, error->message)));
		interval->spans = reading.spans;
		if (interval->spans)
			intervals = lappend(intervals, interval);
	}
	return intervals;
}

/* Those of these names that what belongs to `owner` may use. */
List *
pipeline_intervals_find(const List *intervals, const List *names, Oid owner)
{
	List	   *found = NIL;
	const ListCell *lc;

	foreach(lc, intervals)
	{
		TimeInterval *interval = lfirst(lc);

		if (pipeline_list_has(names, interval->name) &&
			pipeline_interval_is_usable(owner, interval->owner))
			found = lappend(found, interval);
	}
	return found;
}

static bool
in_ranges(const List *ranges, int value)
{
	const ListCell *lc;

	foreach(lc, ranges)
	{
		const NumberRange *range = lfirst(lc);

		if (value >= range->from && value <= range->to)
			return true;
	}
	return ranges == NIL;
}

static bool
in_days(const List *ranges, int day, int last)
{
	const ListCell *lc;

	foreach(lc, ranges)
	{
		const NumberRange *range = lfirst(lc);
		int			from = range->from < 0 ? last + range->from + 1 : range->from;
		int			to = range->to < 0 ? last + range->to + 1 : range->to;

		/* Days that the month does not have are not its last one. */
		if (from <= last && day >= from && day <= Min(to, last))
			return true;
	}
	return ranges == NIL;
}

static bool
span_contains(const TimeSpan *span, TimestampTz at)
{
	pg_time_t	wall = pipeline_instant_to_wall(timestamptz_to_time_t(at), span->tz);
	int			julian = UNIX_EPOCH_JDATE + (int) (wall >= 0 ? wall / SECS_PER_DAY : -((-wall + SECS_PER_DAY - 1) / SECS_PER_DAY));
	int			minute = (int) ((wall - ((pg_time_t) julian - UNIX_EPOCH_JDATE) * SECS_PER_DAY) / SECS_PER_MINUTE);
	bool		in_time = span->times == NIL;
	int			year;
	int			month;
	int			day;
	ListCell   *lc;

	j2date(julian, &year, &month, &day);
	foreach(lc, span->times)
	{
		const NumberRange *range = lfirst(lc);

		in_time = in_time || (minute >= range->from && minute < range->to);
	}
	return in_time && in_ranges(span->weekdays, j2day(julian)) &&
		in_days(span->days_of_month, day, day_tab[isleap(year)][month - 1]) &&
		in_ranges(span->months, month) && in_ranges(span->years, year);
}

bool
pipeline_interval_contains(const TimeInterval *interval, TimestampTz at)
{
	ListCell   *lc;

	foreach(lc, interval->spans)
	{
		if (span_contains(lfirst(lc), at))
			return true;
	}
	return false;
}

static char *
interval_names(const List *intervals, const char *what)
{
	List	   *names = NIL;
	const ListCell *lc;

	foreach(lc, intervals)
		names = lappend(names, ((TimeInterval *) lfirst(lc))->name);
	return psprintf("%s %s", what, pipeline_list_join(names, ", "));
}

/*
 * What holds a route back at a time: the intervals that mute it, or those
 * that it is active in when it is in none; NULL if nothing does.
 */
char *
pipeline_intervals_mute(const List *mute, const List *active, TimestampTz at)
{
	List	   *muting = NIL;
	bool		is_active = active == NIL;
	const ListCell *lc;

	foreach(lc, active)
		is_active = is_active || pipeline_interval_contains(lfirst(lc), at);
	if (!is_active)
		return interval_names(active, "outside of");
	foreach(lc, mute)
	{
		if (pipeline_interval_contains(lfirst(lc), at))
			muting = lappend(muting, lfirst(lc));
	}
	return muting ? interval_names(muting, "within") : NULL;
}

/* Keep a time at which something may change, if it is the first that ends the mute. */
static void
consider(TimestampTz *end, const List *mute, const List *active,
		 TimestampTz at, pg_time_t instant)
{
	TimestampTz time = time_t_to_timestamptz(instant);

	if (time > at && time < *end && pipeline_intervals_mute(mute, active, time) == NULL)
		*end = time;
}

/* All times of a span within the next days at which it may begin or end. */
static void
consider_span(TimestampTz *end, const List *mute, const List *active,
			  TimestampTz at, const TimeSpan *span)
{
	pg_time_t	from = timestamptz_to_time_t(at);
	pg_time_t	wall = pipeline_instant_to_wall(from, span->tz);
	pg_time_t	midnight = wall - ((wall % SECS_PER_DAY) + SECS_PER_DAY) % SECS_PER_DAY;
	long		before,
				after;
	int			before_isdst,
				after_isdst;
	pg_time_t	boundary;

	for (int day = 0; day <= 2; day++, midnight += SECS_PER_DAY)
	{
		ListCell   *lc;

		consider(end, mute, active, at, pipeline_wall_to_instant(midnight, span->tz));
		foreach(lc, span->times)
		{
			const NumberRange *range = lfirst(lc);

			consider(end, mute, active, at,
					 pipeline_wall_to_instant(midnight + range->from * SECS_PER_MINUTE, span->tz));
			consider(end, mute, active, at,
					 pipeline_wall_to_instant(midnight + range->to * SECS_PER_MINUTE, span->tz));
		}
	}
	/* When the clock is changed it may jump into a range, or out of one. */
	if (pg_next_dst_boundary(&from, &before, &before_isdst, &boundary, &after, &after_isdst, span->tz) > 0)
		consider(end, mute, active, at, boundary);
}

/* When a mute that holds at a time ends, or is to be looked at again. */
TimestampTz
pipeline_intervals_end(const List *mute, const List *active, TimestampTz at)
{
	TimestampTz end = at + LOOK_AHEAD;
	const ListCell *lc;
	ListCell   *ls;

	foreach(lc, mute)
		foreach(ls, ((TimeInterval *) lfirst(lc))->spans)
			consider_span(&end, mute, active, at, lfirst(ls));
	foreach(lc, active)
		foreach(ls, ((TimeInterval *) lfirst(lc))->spans)
			consider_span(&end, mute, active, at, lfirst(ls));
	return end;
}

PG_FUNCTION_INFO_V1(pipeline_in_time_interval);

/* SQL: in_time_interval(name, at) */
Datum
pipeline_in_time_interval(PG_FUNCTION_ARGS)
{
	char	   *name;
	UserScope	scope;
	List	   *found;
	ListCell   *lc;
	TimeInterval *interval = NULL;
	bool		within;

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "at_time");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	found = pipeline_intervals_load();
	pipeline_scope_end(&scope);
	foreach(lc, found)
	{
		if (strcmp(((TimeInterval *) lfirst(lc))->name, name) == 0)
			interval = lfirst(lc);
	}
	if (interval == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("time interval \"%s\" does not exist", name),
				 errhint("The table pipeline.time_intervals lists those that you may use.")));
	if (!pipeline_interval_is_usable(GetUserId(), interval->owner))
		pipeline_check_owner(interval->owner, "time interval", name);
	within = pipeline_interval_contains(interval, PG_GETARG_TIMESTAMPTZ(1));
	SPI_finish();
	PG_RETURN_BOOL(within);
}
