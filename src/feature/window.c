/*
 * window.c
 *	  Where a window starts and ends, and the cursors that follow it.
 *
 * The window of a row at time t, or at the start of the unit that t is in,
 * is from t - lookback to t + lookahead by
 * PostgreSQL's own arithmetic, in the session's time zone.  Rows come in order
 * of time, but the ends of their windows do not always: in months (31 March
 * and 1 March less a month), and where clocks are set back.  So a cursor may
 * step back.
 */
#include "postgres.h"

#include "common/int.h"
#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "feature/feature.h"

/*
 * Find out whether the shift is the same number of microseconds at any time:
 * a day is, without a time zone and in zones that never change.
 */
void
shift_prepare(Shift *shift, bool local)
{
	const Interval *interval = &shift->interval;
	long		offset;
	int64		days = (int64) interval->day * USECS_PER_DAY;

	shift->fixed = shift->align == NULL && interval->month == 0 &&
		(interval->day == 0 || local ||
		 pg_get_timezone_offset(session_timezone, &offset)) &&
		!pg_add_s64_overflow(days, interval->time, &shift->usecs);
}

/*
 * An upper limit, in microseconds, of how far the shift goes to later times
 * (sign 1) or to earlier ones (-1): 0 if not at all, PG_INT64_MAX if too far.
 */
int64
shift_limit(const Shift *shift, int sign)
{
	const Interval *interval = &shift->interval;
	int64		days;
	int64		limit;

	if (shift->fixed)
		return shift->usecs == PG_INT64_MIN ? PG_INT64_MAX :
			Max(sign * shift->usecs, 0);
	if (interval->time == PG_INT64_MIN)
		return PG_INT64_MAX;
	/* Ends of months and changes of clocks move a time by less than 4 days. */
	days = Max((int64) sign * interval->month, 0) * 31 +
		Max((int64) sign * interval->day, 0) + 4;
	/* No unit is longer than a year; a window ends in it at its start. */
	if (shift->align != NULL && sign < 0)
		days += 366;
	if (days > PG_INT64_MAX / USECS_PER_DAY ||
		pg_add_s64_overflow(days * USECS_PER_DAY,
							Max(sign * interval->time, 0), &limit))
		return PG_INT64_MAX;
	return limit;
}

/* Where a window starts or ends, for a row at that time. */
int64
shift_time(const Shift *shift, bool local, int64 time)
{
	int64		shifted;

	if (shift->fixed)
	{
		if (TIMESTAMP_NOT_FINITE(time))
			return time;
		if (pg_add_s64_overflow(time, shift->usecs, &shifted) ||
			!IS_VALID_TIMESTAMP(shifted))
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("timestamp out of range")));
		return shifted;
	}
	if (shift->align != NULL)
		time = DatumGetInt64(DirectFunctionCall2(local ? timestamp_trunc :
												 timestamptz_trunc,
												 shift->unit,
												 Int64GetDatum(time)));
	return DatumGetInt64(DirectFunctionCall2(local ? timestamp_pl_interval :
											 timestamptz_pl_interval,
											 Int64GetDatum(time),
											 IntervalPGetDatum(&shift->interval)));
}

/* A timestamp without time zone as an instant, in the session's zone. */
int64
local_to_instant(int64 time)
{
	return DatumGetInt64(DirectFunctionCall1(timestamp_timestamptz,
											 Int64GetDatum(time)));
}

/*
 * How many of the events are before the time, or not after it; `at` is a guess,
 * the better the nearer.  The times are followed by TIMES_PADDING that are never
 * before any.
 */
int
times_before(const int64 *times, int n, int at, int64 time, bool or_equal)
{
	int			passed;

	if (or_equal)
	{
		if (time == PG_INT64_MAX)
			return n;
		time++;
	}
	/* Steps are short: a few at once cost less than to guess when to stop. */
	do
	{
		passed = 0;
		for (int i = 0; i < TIMES_PADDING; i++)
			passed += times[at + i] < time;
		at += passed;
	} while (passed == TIMES_PADDING);
	while (at > 0 && times[at - 1] >= time)
		at--;
	return at;
}

/* Make the times of a stream's events, in the current context. */
void
stream_times(Stream *stream)
{
	int			n = stream->nevents;

	stream->times = MemoryContextAllocHuge(CurrentMemoryContext,
										   ((Size) n + TIMES_PADDING) * sizeof(int64));
	for (int i = 0; i < n; i++)
		stream->times[i] = stream->events[i]->time;
	for (int i = n; i < n + TIMES_PADDING; i++)
		stream->times[i] = PG_INT64_MAX;
}

/*
 * Move a window over the events [lo, hi) of the stream that lie between the
 * two times, ends counted as the window is closed.  lo past hi: no event.
 */
void
window_move(Window *window, const Stream *stream, int64 from, int64 to)
{
	window->from = from;
	window->to = to;
	window->lo = times_before(stream->times, stream->nevents, window->lo, from,
							  !window->closed_left);
	window->hi = times_before(stream->times, stream->nevents, window->hi, to,
							  window->closed_right);
}
