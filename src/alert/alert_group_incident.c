/*
 * alert_group_incident.c
 *	  Groups of a route with opens_incident: an incident for what fires.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"

#include "alert/alert_dispatch.h"
#include "alert/alert_incident.h"

/* Opening an incident, so that an error does not stop the alerts of all. */
typedef struct Opening
{
	Oid			owner;
	Column		alerts;
	const char *title;
	const char *severity;
} Opening;

static bool
open_one(void *arg)
{
	Opening    *opening = arg;

	(void) pipeline_incident_open_for(opening->owner, DatumGetArrayTypeP(column_arg(&opening->alerts).value),
									  opening->title, opening->severity);
	return true;
}

/* Have an incident for what fires of one owner; false if it is to be tried again. */
static bool
open_for_owner(const AlertGroup *group, Oid owner)
{
	Opening		opening = {.owner = owner, .alerts = {INT8OID}};
	ErrorData  *error;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (member->owner == owner && pipeline_member_fires(member))
			column_add(&opening.alerts, Int64GetDatum(member->alert_id), false);
	}
	pipeline_sql("SELECT summary, severity FROM pipeline.alerts WHERE alert_id = ANY ($1)"
				 " ORDER BY array_position('{critical,error,warning,info}', severity::text), alert_id LIMIT 1",
				 SPI_OK_SELECT, column_arg(&opening.alerts));
	opening.title = pipeline_sql_text(0, 1);
	opening.severity = pipeline_sql_text(0, 2);
	error = pipeline_try(open_one, &opening);
	if (error)
		ereport(LOG,
				(errmsg("route \"%s\" could not open an incident: %s", group->route->name, error->message)));
	return error == NULL;
}

/*
 * Have incidents for what fires in a group, one for each owner; false if it is
 * to be tried again.
 */
bool
pipeline_group_open_incidents(const AlertGroup *group)
{
	List	   *owners = NIL;
	bool		done = true;
	ListCell   *lc;

	foreach(lc, group->members)
	{
		const Member *member = lfirst(lc);

		if (pipeline_member_fires(member))
			owners = list_append_unique_oid(owners, member->owner);
	}
	foreach(lc, owners)
		done = open_for_owner(group, lfirst_oid(lc)) && done;
	return done;
}
