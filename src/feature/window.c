/*
 * window.c
 *	  Where a window starts, and the cursors that follow it.
 *
 * The start of the window of a row at time t is t - lookback by PostgreSQL's
 * own arithmetic, in the session's time zone.  Rows come in order of time,
 * but starts do not always: in months (31 March and 1 March less a month),
 * and where clocks are set back.  So a cursor may step back.
 */
#include "postgres.h"

#include "common/int.h"
#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "feature/feature.h"

/*
 * Find out whether the lookback is the same number of microseconds at any
 * time: a day is, without a time zone and in zones that never change.
 */
void
span_prepare(Span *span, bool local)
{
	const Interval *lookback = &span->lookback;
	long		offset;
	int64		days = (int64) lookback->day * USECS_PER_DAY;

	span->fixed = lookback->month == 0 &&
		(lookback->day == 0 || local ||
		 pg_get_timezone_offset(session_timezone, &offset)) &&
		!pg_add_s64_overflow(days, lookback->time, &span->usecs);
}

/* An upper limit of a lookback in microseconds; PG_INT64_MAX: too far. */
int64
span_limit(const Interval *lookback)
{
	int64		days = (int64) Max(lookback->month, 0) * 31 +
		Max(lookback->day, 0);
	int64		limit;

	/* Ends of months and changes of clocks move a start by less than that. */
	days += 4;
	if (days > PG_INT64_MAX / USECS_PER_DAY ||
		pg_add_s64_overflow(days * USECS_PER_DAY, Max(lookback->time, 0), &limit))
		return PG_INT64_MAX;
	return limit;
}

/* The start of the window of a row at that time. */
int64
span_start(const Span *span, bool local, int64 time)
{
	int64		start;

	if (span->fixed)
	{
		if (TIMESTAMP_NOT_FINITE(time))
			return time;
		if (pg_sub_s64_overflow(time, span->usecs, &start) ||
			!IS_VALID_TIMESTAMP(start))
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("timestamp out of range")));
		return start;
	}
	return DatumGetInt64(DirectFunctionCall2(local ? timestamp_mi_interval :
											 timestamptz_mi_interval,
											 Int64GetDatum(time),
											 IntervalPGetDatum(&span->lookback)));
}

/* A timestamp without time zone as an instant, in the session's zone. */
int64
local_to_instant(int64 time)
{
	return DatumGetInt64(DirectFunctionCall1(timestamp_timestamptz,
											 Int64GetDatum(time)));
}

/* Set the cursors to the first event of a new entity. */
void
window_start(Window *window)
{
	window->lo = 0;
	window->hi = 0;
}

/*
 * Move the cursors so that events [lo, hi) lie between the two times, ends
 * counted as the window is closed.  lo past hi: no event.
 */
void
window_move(Window *window, const Stream *stream, int64 from, int64 to)
{
	const int64 *times = stream->times;
	int			n = stream->nevents;
	int			lo = window->lo;
	int			hi = window->hi;

	/* An open left end and a closed right one pass over equal times. */
	if (window->closed_left)
	{
		while (lo < n && times[lo] < from)
			lo++;
		while (lo > 0 && times[lo - 1] >= from)
			lo--;
	}
	else
	{
		while (lo < n && times[lo] <= from)
			lo++;
		while (lo > 0 && times[lo - 1] > from)
			lo--;
	}
	if (window->closed_right)
	{
		while (hi < n && times[hi] <= to)
			hi++;
		while (hi > 0 && times[hi - 1] > to)
			hi--;
	}
	else
	{
		while (hi < n && times[hi] < to)
			hi++;
		while (hi > 0 && times[hi - 1] >= to)
			hi--;
	}
	window->lo = lo;
	window->hi = hi;
}
