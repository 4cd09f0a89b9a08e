/*
 * alert_incident.h
 *	  Incidents, for the files of the alert room.
 *
 * All functions act in the current transaction and open an SPI connection and
 * the scope of the extension of their own; the callers have checked the rights
 * of whoever asked.
 */
#ifndef PIPELINE_ALERT_INCIDENT_H
#define PIPELINE_ALERT_INCIDENT_H

#include "alert/alert_state.h"

/*
 * Have an incident for alerts that were routed: for the dispatch of a route
 * with opens_incident.
 *
 * The alerts (alert_ids: bigint[], all of that owner) join the open incident
 * that one of them belongs to, which takes over the severity if it is worse;
 * only if there is none is one opened, with that title and severity.  An alert
 * opens an incident once: when it belonged to one that is over, it opens no
 * other; and the alerts that an incident is late open none.
 *
 * Returns the number of the open incident, or 0 if there is none.  Calling it
 * again with the same alerts changes nothing, so that it may be called at
 * every flush of a group.  It waits for a session that just now opens an
 * incident with one of them, or changes theirs: within a lock_timeout.
 */
extern int64 pipeline_incident_open_for(Oid owner, const ArrayType *alert_ids,
										const char *title,
										const char *severity);

/*
 * Mind the incidents: note that their alerts were acknowledged or are all
 * resolved, and raise alerts for those that are near to being late, or late.
 * For the notifier; returns the milliseconds until the next is due, or -1.
 */
extern long pipeline_incident_mind(void);

/* What the files of incidents share. */
typedef struct NewIncident
{
	Oid			owner;
	Oid			opened_by;		/* InvalidOid: a route */
	const char *title;
	const char *severity;
	const char *assignee;		/* may be NULL */
	const char *note;			/* may be NULL */
	const Jsonb *labels;		/* may be NULL */
	const ArrayType *alert_ids;
	TimestampTz started_at;		/* if has_start */
	bool		has_start;
} NewIncident;

extern int64 pipeline_incident_open(const NewIncident *incident, int *added);
extern int	pipeline_incident_add(int64 incident_id, const ArrayType *alert_ids,
								  Oid by);
extern void pipeline_incident_claim_alerts(int64 incident_id);
extern void pipeline_incident_event(int64 incident_id, const char *event,
									Oid role, const char *note,
									const Jsonb *detail);

/* alert_incident.c: an incident that somebody changes. */
typedef struct Incident
{
	int64		incident_id;
	Oid			owner;
	char	   *state;
	Jsonb	   *before;
} Incident;

extern Incident *pipeline_incident_lock(int64 incident_id);
extern bool pipeline_incident_is_open(const Incident *incident);
extern void pipeline_incident_check_open(const Incident *incident);
extern void pipeline_incident_changed(const Incident *incident,
									  const char *action, const char *event,
									  const char *note, const Jsonb *detail);
extern int	pipeline_incident_ids(ArrayType *array, const char *argument,
								  int64 **ids);

/* alert_sla.c: how soon it is due. */
extern void pipeline_incident_set_target(int64 incident_id);
extern void pipeline_incident_check_sla(int64 incident_id);

#endif							/* PIPELINE_ALERT_INCIDENT_H */
