/*
 * alert_dispatch.h
 *	  What the files of the dispatch share: routes in memory, groups, messages.
 *
 * All of it runs in the notifier, inside one transaction, an SPI connection and
 * the scope of the extension.  What one dispatch needs lives until its end.
 */
#ifndef PIPELINE_ALERT_DISPATCH_H
#define PIPELINE_ALERT_DISPATCH_H

#include "alert/alert_matchers.h"
#include "alert/alert_object.h"
#include "alert/alert_suppress.h"
#include "utils/timestamp.h"

/* ---- alert_routing.c: the trees ------------------------------------------------- */

/* A route with what it has from its parents; or the default route of a channel. */
typedef struct Route
{
	char	   *name;			/* NULL: the default route of channels[0] */
	Oid			owner;
	char	   *parent;
	List	   *matchers;
	bool		unreadable;		/* its matchers cannot be read: it matches nothing */
	bool		continues;
	List	   *children;		/* of Route, in order */
	List	   *channels;		/* names */
	List	   *group_by;		/* names; "...": all */
	int64		group_wait;		/* these in microseconds */
	int64		group_interval;
	int64		repeat_interval;
	bool		send_resolved;
	List	   *mute;			/* names of time intervals */
	List	   *active;
	char	   *escalation;
	bool		opens_incident;
} Route;

typedef struct Routing Routing;

extern Routing *pipeline_routing_load(void);
extern List *pipeline_routing_match(Routing *routing, Oid owner,
									const Jsonb *labels);
/* What became of an alert at a route that was asked, or passed over. */
typedef struct Verdict
{
	Route	   *route;
	char	   *why;			/* NULL: the route takes the alert */
} Verdict;

extern List *pipeline_routing_explain(Routing *routing, Oid owner, bool of_admins,
									  const Jsonb *labels);
extern List *pipeline_routing_defaults(Routing *routing, Oid owner, bool of_admins);
extern Route *pipeline_routing_find(Routing *routing, const char *name,
									const char *channel);
extern bool pipeline_routing_may_send(Routing *routing, Oid owner,
									  const char *channel);

/* ---- arrays for set-based statements --------------------------------------------- */

typedef struct Column
{
	Oid			type;
	ArrayBuildState *state;
} Column;

extern void column_add(Column *column, Datum value, bool isnull);
extern SqlArg column_arg(Column *column);

/* ---- one dispatch -------------------------------------------------------------------- */

/* Its time, and what it reads when something first needs it. */
typedef struct Dispatch
{
	TimestampTz now;
	Routing    *routing;
	Suppression *suppression;
	bool		intervals_loaded;
	List	   *intervals;
} Dispatch;

extern Routing *dispatch_routing(Dispatch *dispatch);
extern Suppression *dispatch_suppression(Dispatch *dispatch);

/* ---- alert_group.c, alert_flush.c: groups ---------------------------------------------------------------------- */

typedef struct Member
{
	int64		alert_id;
	Oid			owner;			/* of the alert */
	int64		key;
	const Jsonb *labels;
	bool		resolved;
	bool		left;			/* told elsewhere now: here it is over */
	bool		acknowledged;
	TimestampTz acknowledged_until;	/* 0: no end */
	bool		told;			/* before this flush */
	const char *suppressed;		/* by what; NULL: it is not */
	const char *was_suppressed;	/* at the last flush */
	bool		telling;		/* in this one */
} Member;

/* A set of keys: sorted, each once. */
typedef struct KeySet
{
	int			n;
	int64	   *keys;
} KeySet;

/* What a channel was last told. */
typedef struct Told
{
	char	   *channel;
	bool		escalation;
	TimestampTz at;
	KeySet		firing;
	KeySet		resolved;
} Told;

typedef struct AlertGroup
{
	int64		group_id;
	char	   *group_key;
	Oid			owner;
	Jsonb	   *labels;
	Route	   *route;			/* NULL: gone */
	TimestampTz flushed_at;		/* 0: never */
	TimestampTz muted_since;	/* 0: it was not */
	bool		digest;			/* what a mute held back is told as one */
	int			step;			/* of the escalation, the last taken; 0: none */
	int			step_repeat;
	TimestampTz escalate_at;	/* 0: it does not run */
	KeySet		escalated;		/* for which it came to its end */
	List	   *members;		/* of Member */
	List	   *told;			/* of Told */
} AlertGroup;

extern long pipeline_dispatch_flush(Dispatch *dispatch);
extern List *pipeline_groups_read(Routing *routing, ArrayType *group_ids);
extern Told *pipeline_group_told(AlertGroup *group, const char *channel);
extern void pipeline_group_write_told(AlertGroup *group, const char *channel,
									  bool escalation, const KeySet *firing,
									  const KeySet *resolved, TimestampTz now);
extern void pipeline_group_note_told(AlertGroup *group, const char *channel,
									 bool escalation, const List *members,
									 TimestampTz now);
extern bool pipeline_member_over(const Member *member);
extern void pipeline_group_mark_told(const AlertGroup *group, TimestampTz now);
extern void pipeline_find_suppressed(Dispatch *dispatch, AlertGroup *group);
extern bool pipeline_member_fires(const Member *member);
extern bool pipeline_member_acknowledged(const Member *member, TimestampTz now);
extern TimestampTz pipeline_group_tick(const AlertGroup *group, TimestampTz after);

/* alert_group_incident.c */
extern bool pipeline_group_open_incidents(const AlertGroup *group);

/* alert_keys.c */
extern void pipeline_key_set_add(KeySet *set, int64 key);
extern void pipeline_key_set_sort(KeySet *set);
extern bool pipeline_key_set_has(const KeySet *set, int64 key);
extern bool pipeline_key_set_subset(const KeySet *part, const KeySet *whole);
extern KeySet pipeline_key_set_common(const KeySet *a, const KeySet *b);
extern SqlArg pipeline_key_set_arg(const KeySet *set);
extern KeySet pipeline_key_set_read(uint64 row, int column);

/* ---- alert_escalate.c: steps until somebody acknowledges ----------------------------- */

extern void pipeline_group_escalate(Dispatch *dispatch, AlertGroup *group);
extern void pipeline_dispatch_escalate(Dispatch *dispatch);

/* ---- alert_mute.c: time intervals -------------------------------------------------- */

extern char *pipeline_route_mute(Dispatch *dispatch, const Route *route,
								 TimestampTz *end);
extern List *pipeline_make_digests(Dispatch *dispatch, List *groups);

/* ---- alert_compose.c: into the outbox --------------------------------------------- */

typedef struct Message
{
	const AlertGroup *group;
	const char *channel;
	TimestampTz at;				/* when it is written; 0: it tells of an acknowledgement */
	const char *event;			/* firing, resolved, repeat, ... */
	bool		firing;			/* the status: does anything fire? */
	List	   *members;		/* of Member: what it tells of */
	const Jsonb *extra;			/* more keys, or NULL */
} Message;

extern int64 pipeline_message_write(const Message *message);

#endif							/* PIPELINE_ALERT_DISPATCH_H */
