/*
 * alert_interval.h
 *	  Time intervals: when a route is muted, or active.
 */
#ifndef PIPELINE_ALERT_INTERVAL_H
#define PIPELINE_ALERT_INTERVAL_H

#include "alert/alert_object.h"

/* From one number to another, both included. */
typedef struct NumberRange
{
	int			from;
	int			to;
} NumberRange;

/* Lists of NumberRange; NIL: any. */
typedef struct TimeSpan
{
	pg_tz	   *tz;
	List	   *times;			/* in minutes of the day, without the last */
	List	   *weekdays;		/* 0: Sunday */
	List	   *days_of_month;	/* from the end below 0 */
	List	   *months;
	List	   *years;
} TimeSpan;

typedef struct TimeInterval
{
	char	   *name;
	Oid			owner;
	List	   *spans;			/* of TimeSpan; it is in one of them */
} TimeInterval;

/* alert_interval.c */
extern List *pipeline_interval_parse(const Jsonb *times, const char *timezone);
extern void pipeline_check_intervals(const List *names, Oid owner,
									 const char *argument);
extern bool pipeline_interval_is_usable(Oid owner, Oid interval_owner);

/* alert_interval_now.c: lists of TimeInterval. */
extern List *pipeline_intervals_load(void);
extern List *pipeline_intervals_find(const List *intervals, const List *names,
									 Oid owner);
extern bool pipeline_interval_contains(const TimeInterval *interval,
									   TimestampTz at);
extern char *pipeline_intervals_mute(const List *mute, const List *active,
									 TimestampTz at);
extern TimestampTz pipeline_intervals_end(const List *mute, const List *active,
										  TimestampTz at);

#endif							/* PIPELINE_ALERT_INTERVAL_H */
