/*
 * alert_incident.c
 *	  What people do with an incident:
 *
 *		open -> acknowledged -> mitigated -> resolved -> reviewed
 *
 * Any of the first three can be resolved, or merged into another; what is
 * resolved can be reopened.  Each function locks the row, changes it, writes a
 * row of the timeline and one of the change log, and looks at the SLA.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "alert/alert_incident.h"
#include "alert/alert_notify.h"

static const char *const severities[] = {"info", "warning", "error", "critical", NULL};

/* ---- reading and writing one ------------------------------------------------------ */

static Jsonb *
definition(int64 incident_id)
{
	bool		isnull;

	pipeline_sql("SELECT to_jsonb(i) FROM pipeline.incidents i WHERE incident_id = $1",
				 SPI_OK_SELECT, sql_int8(incident_id));
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

/*
 * Lock an incident.  Raises 42704 when there is none, 42501 when it is someone
 * else's, 55000 when it was merged.
 */
Incident *
pipeline_incident_lock(int64 incident_id)
{
	Incident   *incident = palloc0_object(Incident);
	UserScope	scope;
	bool		isnull;
	char	   *merged_into;

	incident->incident_id = incident_id;
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, state, merged_into::text, to_jsonb(i) FROM pipeline.incidents i"
					 " WHERE incident_id = $1 FOR NO KEY UPDATE", SPI_OK_SELECT, sql_int8(incident_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("incident " INT64_FORMAT " does not exist", incident_id),
				 errhint("The table pipeline.incidents lists yours.")));
	incident->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	incident->state = pipeline_sql_text(0, 2);
	merged_into = pipeline_sql_text(0, 3);
	incident->before = DatumGetJsonbPCopy(pipeline_sql_datum(0, 4, &isnull));
	pipeline_scope_end(&scope);
	pipeline_check_owner(incident->owner, "incident", psprintf(INT64_FORMAT, incident_id));
	if (merged_into != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("incident " INT64_FORMAT " was merged into incident %s", incident_id, merged_into),
				 errhint("Do it with that one.")));
	return incident;
}

bool
pipeline_incident_is_open(const Incident *incident)
{
	return strcmp(incident->state, "resolved") != 0 && strcmp(incident->state, "reviewed") != 0;
}

/* Raise 55000 for one that is over. */
void
pipeline_incident_check_open(const Incident *incident)
{
	if (pipeline_incident_is_open(incident))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("incident " INT64_FORMAT " is %s", incident->incident_id, incident->state),
			 errhint("Should it not be over, pipeline.reopen_incident() says so.")));
}

/*
 * After a change of the row: the timeline, the change log, the SLA.  In the
 * scope of the extension.
 */
void
pipeline_incident_changed(const Incident *incident, const char *action,
						  const char *event, const char *note,
						  const Jsonb *detail)
{
	pipeline_incident_event(incident->incident_id, event, GetSessionUserId(), note, detail);
	pipeline_incident_check_sla(incident->incident_id);
	pipeline_record_change_of(incident->owner, action, "incident",
							  psprintf(INT64_FORMAT, incident->incident_id),
							  incident->before, definition(incident->incident_id), note);
	/* It may be due at another time now. */
	pipeline_notifier_wake_at_commit();
}

/* ---- its alerts --------------------------------------------------------------------- */

/* Take a bigint[] apart; NULL elements are an error that names the argument. */
int
pipeline_incident_ids(ArrayType *array, const char *argument, int64 **ids)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE, &elements, &nulls, &n);
	*ids = palloc_array(int64, n + 1);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", argument)));
		(*ids)[i] = DatumGetInt64(elements[i]);
	}
	return n;
}

/*
 * Raise an error unless all of these are alerts of the caller's that belong to
 * no open incident but this (0: a new one).  In the scope of the caller.
 */
static void
check_alerts(ArrayType *alert_ids, int64 incident_id)
{
	int64	   *ids;
	int			n = pipeline_incident_ids(alert_ids, "alert_ids", &ids);

	for (int i = 0; i < n; i++)
	{
		UserScope	scope;
		bool		isnull;
		Oid			owner = InvalidOid;
		char	   *other = NULL;

		pipeline_extension_begin(&scope);
		if (pipeline_sql("SELECT a.owner::oid, (SELECT m.incident_id::text FROM pipeline.incident_alerts m"
						 "   WHERE m.alert_id = a.alert_id AND m.is_open AND m.incident_id <> $2)"
						 " FROM pipeline.alerts a WHERE a.alert_id = $1", SPI_OK_SELECT,
						 sql_int8(ids[i]), sql_int8(incident_id)) > 0)
		{
			owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
			other = pipeline_sql_text(0, 2);
		}
		pipeline_scope_end(&scope);
		if (!OidIsValid(owner))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("alert " INT64_FORMAT " does not exist", ids[i]),
					 errhint("The view pipeline.firing_alerts lists the open ones.")));
		pipeline_check_owner(owner, "alert", psprintf(INT64_FORMAT, ids[i]));
		if (other != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("alert " INT64_FORMAT " belongs to open incident %s", ids[i], other),
					 errhint("pipeline.merge_incidents() makes one of two incidents.")));
	}
}

/* Raise 40001 if others have opened an incident with one of the alerts since. */
static void
check_added(int64 incident_id, const ArrayType *alert_ids)
{
	if (pipeline_sql("SELECT 1 FROM unnest($2) x WHERE NOT EXISTS (SELECT FROM pipeline.incident_alerts m"
					 "  WHERE m.incident_id = $1 AND m.alert_id = x) LIMIT 1", SPI_OK_SELECT,
					 sql_int8(incident_id), sql_datum(INT8ARRAYOID, PointerGetDatum(alert_ids), false)) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("another session has just opened an incident with one of the alerts"),
			 errhint("Try again: it is then among pipeline.incidents.")));
}

PG_FUNCTION_INFO_V1(pipeline_open_incident);

/* SQL: open_incident(...) */
Datum
pipeline_open_incident(PG_FUNCTION_ARGS)
{
	NewIncident new = {.owner = GetUserId(), .opened_by = GetSessionUserId()};
	UserScope	scope;
	int64		incident_id;
	int			added;

	pipeline_not_null(fcinfo, 0, "title");
	pipeline_not_null(fcinfo, 1, "severity");
	pipeline_not_null(fcinfo, 2, "alert_ids");
	new.title = pipeline_arg_text(fcinfo, 0);
	new.severity = pipeline_arg_text(fcinfo, 1);
	new.alert_ids = PG_GETARG_ARRAYTYPE_P(2);
	new.labels = pipeline_arg_jsonb(fcinfo, 3);
	new.has_start = !PG_ARGISNULL(4);
	new.started_at = new.has_start ? PG_GETARG_TIMESTAMPTZ(4) : 0;
	new.assignee = pipeline_arg_text(fcinfo, 5);
	new.note = pipeline_arg_text(fcinfo, 6);
	pipeline_check_name("incident", new.title);
	pipeline_check_choice("severity", new.severity, severities);
	pipeline_check_labels(new.labels, "labels");
	if (new.assignee)
		pipeline_check_name("person", new.assignee);
	if (new.has_start && (TIMESTAMP_NOT_FINITE(new.started_at) || new.started_at > GetCurrentTimestamp()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"started_at\" is not in the past"),
				 errdetail("It is %s.", timestamptz_to_str(new.started_at))));

	SPI_connect();
	check_alerts((ArrayType *) new.alert_ids, 0);
	pipeline_extension_begin(&scope);
	incident_id = pipeline_incident_open(&new, &added);
	check_added(incident_id, new.alert_ids);
	pipeline_record_change_of(new.owner, "open_incident", "incident", psprintf(INT64_FORMAT, incident_id),
							  NULL, definition(incident_id), new.note);
	pipeline_notifier_wake_at_commit();
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT64(incident_id);
}

PG_FUNCTION_INFO_V1(pipeline_add_to_incident);

/* SQL: add_to_incident(incident_id, alert_ids, note) */
Datum
pipeline_add_to_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	char	   *note = pipeline_arg_text(fcinfo, 2);
	int			added;

	pipeline_not_null(fcinfo, 0, "incident_id");
	pipeline_not_null(fcinfo, 1, "alert_ids");
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	pipeline_incident_check_open(incident);
	check_alerts(PG_GETARG_ARRAYTYPE_P(1), incident->incident_id);
	pipeline_extension_begin(&scope);
	added = pipeline_incident_add(incident->incident_id, PG_GETARG_ARRAYTYPE_P(1), GetSessionUserId());
	check_added(incident->incident_id, PG_GETARG_ARRAYTYPE_P(1));
	if (note != NULL)
		pipeline_incident_event(incident->incident_id, "noted", GetSessionUserId(), note, NULL);
	pipeline_record_change_of(incident->owner, "add_to_incident", "incident",
							  psprintf(INT64_FORMAT, incident->incident_id),
							  incident->before, definition(incident->incident_id), note);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT32(added);
}

/* ---- transitions ------------------------------------------------------------------------ */

PG_FUNCTION_INFO_V1(pipeline_assign_incident);

/* SQL: assign_incident(incident_id, assignee, note) */
Datum
pipeline_assign_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	char	   *assignee = PG_ARGISNULL(1) ? GetUserNameFromId(GetSessionUserId(), false) :
		pipeline_arg_text(fcinfo, 1);
	bool		done;

	pipeline_not_null(fcinfo, 0, "incident_id");
	pipeline_check_name("person", assignee);
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	pipeline_extension_begin(&scope);
	done = pipeline_sql("UPDATE pipeline.incidents SET assignee = $2,"
						"   acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),"
						"   state = CASE state WHEN 'open' THEN 'acknowledged' ELSE state END"
						" WHERE incident_id = $1 AND (assignee IS DISTINCT FROM $2 OR state = 'open')",
						SPI_OK_UPDATE, sql_int8(incident->incident_id), sql_text(assignee)) > 0;
	if (done)
		pipeline_incident_changed(incident, "assign_incident", "assigned", pipeline_arg_text(fcinfo, 2),
				pipeline_jsonb_object(1, (const char *[]) {"assignee"}, (const char *[]) {assignee}));
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_BOOL(done);
}

PG_FUNCTION_INFO_V1(pipeline_note_incident);

/* SQL: note_incident(incident_id, note) */
Datum
pipeline_note_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "incident_id");
	pipeline_not_null(fcinfo, 1, "note");
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	pipeline_extension_begin(&scope);
	/* The timeline is the record of notes: nothing else has changed. */
	pipeline_incident_event(incident->incident_id, "noted", GetSessionUserId(),
							pipeline_arg_text(fcinfo, 1), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_alter_incident);

/* SQL: alter_incident(incident_id, title, severity, note) */
Datum
pipeline_alter_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	char	   *title = pipeline_arg_text(fcinfo, 1);
	char	   *severity = pipeline_arg_text(fcinfo, 2);
	bool		done;

	pipeline_not_null(fcinfo, 0, "incident_id");
	if (title)
		pipeline_check_name("incident", title);
	if (severity)
		pipeline_check_choice("severity", severity, severities);
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	pipeline_extension_begin(&scope);
	done = pipeline_sql("UPDATE pipeline.incidents SET title = coalesce($2, title), severity = coalesce($3, severity)"
						" WHERE incident_id = $1 AND (title IS DISTINCT FROM coalesce($2, title)"
						"   OR severity::text IS DISTINCT FROM coalesce($3, severity))", SPI_OK_UPDATE,
						sql_int8(incident->incident_id), sql_text(title), sql_text(severity)) > 0;
	if (done)
	{
		if (severity && strcmp(severity, pipeline_jsonb_key(incident->before, "severity")) != 0)
			pipeline_incident_set_target(incident->incident_id);
		pipeline_incident_changed(incident, "alter_incident", "changed", pipeline_arg_text(fcinfo, 3),
				pipeline_jsonb_object(2, (const char *[]) {"title", "severity"},
									  (const char *[]) {title, severity}));
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_BOOL(done);
}

PG_FUNCTION_INFO_V1(pipeline_mitigate_incident);

/* SQL: mitigate_incident(incident_id, note) */
Datum
pipeline_mitigate_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	bool		done;

	pipeline_not_null(fcinfo, 0, "incident_id");
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	pipeline_incident_check_open(incident);
	done = strcmp(incident->state, "mitigated") != 0;
	if (done)
	{
		pipeline_extension_begin(&scope);
		pipeline_sql("UPDATE pipeline.incidents SET state = 'mitigated', mitigated_at = clock_timestamp(),"
					 "   acknowledged_at = coalesce(acknowledged_at, clock_timestamp())"
					 " WHERE incident_id = $1", SPI_OK_UPDATE, sql_int8(incident->incident_id));
		pipeline_incident_changed(incident, "mitigate_incident", "mitigated", pipeline_arg_text(fcinfo, 1), NULL);
		pipeline_scope_end(&scope);
	}
	SPI_finish();
	PG_RETURN_BOOL(done);
}

PG_FUNCTION_INFO_V1(pipeline_resolve_incident);

/* SQL: resolve_incident(incident_id, cause, note) */
Datum
pipeline_resolve_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	char	   *cause = pipeline_arg_text(fcinfo, 1);
	bool		done;

	pipeline_not_null(fcinfo, 0, "incident_id");
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	done = pipeline_incident_is_open(incident);
	if (done)
	{
		pipeline_extension_begin(&scope);
		pipeline_sql("UPDATE pipeline.incidents SET state = 'resolved', resolved_at = clock_timestamp(),"
					 "   acknowledged_at = coalesce(acknowledged_at, clock_timestamp()), cause = coalesce($2, cause)"
					 " WHERE incident_id = $1", SPI_OK_UPDATE, sql_int8(incident->incident_id), sql_text(cause));
		pipeline_sql("UPDATE pipeline.incident_alerts SET is_open = false WHERE incident_id = $1",
					 SPI_OK_UPDATE, sql_int8(incident->incident_id));
		pipeline_incident_changed(incident, "resolve_incident", "resolved", pipeline_arg_text(fcinfo, 2),
				pipeline_jsonb_object(1, (const char *[]) {"cause"}, (const char *[]) {cause}));
		pipeline_scope_end(&scope);
	}
	SPI_finish();
	PG_RETURN_BOOL(done);
}

PG_FUNCTION_INFO_V1(pipeline_reopen_incident);

/* SQL: reopen_incident(incident_id, note) */
Datum
pipeline_reopen_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	bool		done;

	pipeline_not_null(fcinfo, 0, "incident_id");
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	done = !pipeline_incident_is_open(incident);
	if (done)
	{
		pipeline_extension_begin(&scope);
		pipeline_sql("UPDATE pipeline.incidents SET state = 'acknowledged', resolved_at = NULL, reviewed_at = NULL,"
					 "   mitigated_at = NULL, alerts_resolved_at = NULL"
					 " WHERE incident_id = $1", SPI_OK_UPDATE, sql_int8(incident->incident_id));
		pipeline_incident_claim_alerts(incident->incident_id);
		pipeline_incident_changed(incident, "reopen_incident", "reopened", pipeline_arg_text(fcinfo, 1), NULL);
		pipeline_scope_end(&scope);
	}
	SPI_finish();
	PG_RETURN_BOOL(done);
}
