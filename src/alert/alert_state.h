/*
 * alert_state.h
 *	  What the files of the alert room share.
 */
#ifndef PIPELINE_ALERT_STATE_H
#define PIPELINE_ALERT_STATE_H

#include "alert/alert.h"

/* alert_state.c: the transitions. */
extern int64 pipeline_alert_raise(const AlertSpec *spec,
								  const char *fingerprint);
extern bool pipeline_alert_resolve(int64 alert_id);
extern bool pipeline_alert_acknowledge(int64 alert_id, const char *note,
									   TimestampTz until, bool has_until);

/* alert_functions.c: arguments and rights. */
extern void pipeline_alert_check(int64 alert_id);

/* alert_labels.c: what an alert is called by. */
extern void pipeline_alert_identify(const AlertSpec *spec,
									const char *fingerprint,
									Jsonb **labels, char **identity);

/* alert_deliver.c: who is told, and how. */
extern List *pipeline_alert_tell(int64 alert_id, Oid owner, const char *event,
								 const char *note);
extern void pipeline_alert_deliver_init(void);
extern void pipeline_channel_send(const char *kind, const Jsonb *config,
								  const char *payload, const char *line);

/* alert_grants.c: who may name a channel in a route or an escalation. */
extern bool pipeline_channel_usable_by(const char *channel, Oid role);

/* alert_dispatch.c: from events to notifications. */
/* Events that one dispatch takes up, so that its transaction stays short. */
#define MAX_DISPATCHED 5000

extern long pipeline_alert_dispatch(TimestampTz now);
extern long pipeline_alert_dispatch_at(TimestampTz now, int most);

/* alert_doctor.c: what is missing or unwise here. */
extern void pipeline_alert_look(void);

/* alert_kinds.c: for apply() and export(). */
extern void pipeline_alert_register_kinds(void);
extern void pipeline_alert_register_route_kinds(void);

#endif							/* PIPELINE_ALERT_STATE_H */
