/*
 * alert_object.h
 *	  Things that are defined by name: routes and what they refer to.
 */
#ifndef PIPELINE_ALERT_OBJECT_H
#define PIPELINE_ALERT_OBJECT_H

#include "alert/alert_state.h"

/* A table of ours whose key is a name. */
typedef struct AlertObject
{
	const char *kind;			/* for people: "route" */
	const char *action;			/* of a change: "create_route" */
	const char *lock;			/* SELECT owner::oid, to_jsonb(...) by name, FOR UPDATE */
	const char *remove;			/* DELETE by name */
	const char *missing_hint;
	const char *drop_action;
} AlertObject;

extern Jsonb *pipeline_object_lock(const AlertObject *object, const char *name,
								   bool must_exist, Oid *owner);
extern void pipeline_object_write(const AlertObject *object, const char *name,
								  const Jsonb *before, const char *sql, int nargs,
								  const SqlArg *args);
extern Jsonb *pipeline_object_drop(const AlertObject *object, const char *name);
extern void pipeline_check_unnamed(uint64 n, const AlertObject *object, const char *name, Oid user,
								   bool (*usable) (const char *name, Oid role), const char *revoke);
extern void pipeline_alert_lock(const char *table);
extern void pipeline_routes_changed(Oid owner);

/* alert_route.c: may a route of `owner` name it?  42704 and 42501 if not. */
extern void pipeline_check_channels(const List *channels, Oid owner,
									const char *argument);
extern void pipeline_check_channel_unused(const char *channel);

/*
 * Of a row c of channels, in SQL: does a route, an escalation or an on-call
 * schedule name it?  Those of its owner and of administrators count, or others
 * could keep from it what it is told by itself.
 */
#define CHANNEL_IS_NAMED \
	"EXISTS (SELECT FROM pipeline.routes n WHERE n.channels @> ARRAY[c.name]" \
	"   AND (n.owner = c.owner OR pipeline.is_administrator(n.owner))" \
	"  UNION ALL SELECT FROM pipeline.escalations n WHERE n.channels @> ARRAY[c.name]" \
	"   AND (n.owner = c.owner OR pipeline.is_administrator(n.owner))" \
	"  UNION ALL SELECT FROM pipeline.on_calls n WHERE n.channels @> ARRAY[c.name]" \
	"   AND (n.owner = c.owner OR pipeline.is_administrator(n.owner)))"

/* alert_inhibition.c: what apply() lists one under. */
extern char *pipeline_inhibition_name(const Jsonb *arguments);

#endif							/* PIPELINE_ALERT_OBJECT_H */
