/*
 * alert.h
 *	  The door of the alert room: raise and resolve, for the rooms above.
 *
 * An alert is state, not a message: raising one that is open counts another
 * occurrence.  Both functions act in the current transaction, inside the
 * caller's SPI connection, with the rights of the extension: the caller has
 * checked that `owner` is the right one.
 */
#ifndef PIPELINE_ALERT_H
#define PIPELINE_ALERT_H

#include "base/base.h"

typedef struct AlertSpec
{
	Oid			owner;
	const char *alertname;		/* TaskFailed, RunFailed, CheckFailed, ... */
	const char *summary;		/* one line for people */
	const char *severity;		/* info, warning, error, critical */
	const char *source;			/* what it is about: "pipeline/task", ... */
	bool		numbered;		/* the source has a number, and is no label */
	const Jsonb *labels;		/* may be NULL; alertname and severity are added */
	const Jsonb *detail;		/* may be NULL */
} AlertSpec;

extern int64 pipeline_raise_alert(const AlertSpec *spec);

/* Resolve every open alert of that owner, name and source; returns how many. */
extern int	pipeline_resolve_alerts(Oid owner, const char *alertname,
									const char *source);

/*
 * Raise 22023 unless `labels` (may be NULL) is an object of strings whose keys
 * are label names; the message names the argument.
 */
extern void pipeline_check_labels(const Jsonb *labels, const char *argument);

/* ---- the notifier, for the runner's scheduler and its database hook ---------- */

/* Is there anything for a notifier to do?  Inside a look of the scheduler. */
extern bool pipeline_notifier_needed(void);
extern long pipeline_notifier_start(void);
extern bool pipeline_notifier_runs(Oid database);
extern bool pipeline_notifier_hold(Oid database, bool held);
/* In a copy that shall act from now on: nothing of the original's is sent. */
extern void pipeline_notifier_drop_unsent(const char *reason);

/* Set by the runner: a database with something to tell has no notifier. */
extern void (*pipeline_notifier_absent_hook) (Oid database);

#endif							/* PIPELINE_ALERT_H */
