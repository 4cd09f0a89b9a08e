/*
 * notifier.h
 *	  What the files of the notifier share.  See notifier.c.
 */
#ifndef PIPELINE_NOTIFIER_H
#define PIPELINE_NOTIFIER_H

#include "alert/alert_render.h"

/* Failures in a row after which a channel is left alone for a while. */
#define CIRCUIT_FAILURES 5

/* What the notifier remembers of a channel.  See notifier_channel.c. */
typedef struct ChannelState
{
	char	   *name;
	int64		version;		/* of its definition */
	Oid			owner;
	int			rate;			/* notifications a minute; 0: any */
	double		tokens;
	TimestampTz tokens_at;
	int			in_flight;
	int			failures;		/* in a row */
	int			openings;		/* of the circuit, in a row */
	TimestampTz paused_until;	/* 0: not */
	const char *paused_for;
	bool		probing;		/* the circuit was open: one at a time */
	bool		alerted;		/* there may be an alert that it does not work */
	TimestampTz last_success_at;	/* 0: none */
	TimestampTz last_failure_at;
	char	   *last_error;
	bool		changed;		/* not in the table yet */
	TimestampTz written_at;
} ChannelState;

/* ---- notifier_channel.c -------------------------------------------------------- */

extern ChannelState *notifier_channel(const char *name, int64 version,
									  Oid owner, int rate);
extern int	notifier_count(List *sendings);
extern int	notifier_allowance(ChannelState *c, TimestampTz now, long *wait);
extern void notifier_claimed(ChannelState *c, int n);
extern void notifier_succeeded(ChannelState *c);
extern void notifier_failed(ChannelState *c, const char *error,
							long retry_after, bool counts);
extern long notifier_write_health(void);
extern long notifier_heartbeats(void);

/* ---- notifier_claim.c ----------------------------------------------------------- */

extern void notifier_recover(void);
extern List *notifier_claim(int room, long *wait);

/* ---- notifier_record.c ---------------------------------------------------------- */

extern void notifier_judge(Sending *s);
extern void notifier_build(Sending *s);
extern bool notifier_record(Sending *s);
extern void notifier_undeliverable(Oid owner, const char *channel,
								   int64 notification_id, const char *error);
extern void notifier_settle(Sending *s, Verdict verdict, const char *error);
extern void notifier_forget(Sending *s);
extern long notifier_trim(void);

/* ---- notifier_talk.c ------------------------------------------------------------- */

extern bool notifier_can_talk(void);
extern void notifier_say(Sending *s);
extern bool notifier_wait(long timeout);
extern bool notifier_hear(void);
extern void notifier_reconnect(void);
extern void notifier_release_result(Sending *s);

#endif							/* PIPELINE_NOTIFIER_H */
