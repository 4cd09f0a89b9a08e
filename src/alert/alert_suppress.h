/*
 * alert_suppress.h
 *	  Which alerts are silenced or inhibited, and by what.
 *
 * Suppression is computed when it is asked for, and is no state of an alert.
 */
#ifndef PIPELINE_ALERT_SUPPRESS_H
#define PIPELINE_ALERT_SUPPRESS_H

#include "alert/alert_matchers.h"
#include "utils/timestamp.h"

typedef struct Suppression Suppression;

/* One reason why nobody is told of an alert. */
typedef struct Suppressor
{
	const char *kind;			/* "silence" or "inhibition" */
	const char *name;			/* its number, or its name */
	int64		by_alert;		/* of an inhibition: the alert that mutes */
	TimestampTz until;			/* of a silence; DT_NOEND */
	const char *comment;		/* of a silence; may be NULL */
} Suppressor;

/* An alert as far as suppression asks. */
typedef struct OpenAlert
{
	int64		alert_id;
	Oid			owner;
	const Jsonb *labels;
} OpenAlert;

extern Suppression *pipeline_suppression_load(TimestampTz at);
extern List *pipeline_suppressors(Suppression *suppression,
								  const OpenAlert *alert);
extern char *pipeline_suppressor_text(const Suppressor *suppressor);
extern List *pipeline_open_alerts(Suppression *suppression);

extern void pipeline_equal_labels(const char *text, char **of_source, char **of_target);

/* alert_silence.c */
extern void pipeline_silences_end(Suppression *suppression, List *resolved,
								  TimestampTz at);

#endif							/* PIPELINE_ALERT_SUPPRESS_H */
