/*
 * alert_escalation.h
 *	  Escalations and on-call schedules, for the files that define and use them.
 */
#ifndef PIPELINE_ALERT_ESCALATION_H
#define PIPELINE_ALERT_ESCALATION_H

#include "alert/alert_object.h"

typedef struct Person
{
	char	   *name;
	List	   *channels;
	Oid			of;				/* owner of the schedule, once asked who is on call */
} Person;

/* Who takes turns, by the clock on the wall of a time zone. */
typedef struct Rotation
{
	pg_tz	   *tz;
	List	   *people;			/* of Person */
	pg_time_t	start;			/* of the first's first shift, wall clock */
	int64		shift;			/* seconds */
} Rotation;

typedef struct EscalationStep
{
	List	   *channels;
	char	   *on_call;		/* or NULL */
	int64		wait;			/* microseconds */
} EscalationStep;

typedef struct Escalation
{
	char	   *name;
	Oid			owner;
	List	   *steps;			/* of EscalationStep */
	int			repeats;
} Escalation;

/* alert_on_call.c */
extern Rotation *pipeline_rotation_parse(const Jsonb *rotation,
										 const char *timezone);
extern Person *pipeline_on_call_at(const char *name, Oid user, TimestampTz at,
								   TimestampTz *since, TimestampTz *until,
								   bool *override);

/* alert_grants.c */
extern bool pipeline_on_call_usable_by(const char *on_call, Oid role);
extern bool pipeline_escalation_usable_by(const char *escalation, Oid role);

/* alert_escalation.c */
extern List *pipeline_steps_parse(const Jsonb *steps);
extern void pipeline_check_escalation(const char *name, Oid owner);
extern Escalation *pipeline_escalation_find(const char *name, Oid user);

#endif							/* PIPELINE_ALERT_ESCALATION_H */
