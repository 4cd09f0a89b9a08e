/*
 * alert_incident_open.c
 *	  How incidents begin, and which alerts belong to them.
 *
 * An alert belongs to at most one incident that is not over: the partial
 * unique index incident_alerts_open says so, and whoever adds one builds on
 * it.  Two that open an incident for the same alert at once wait for each
 * other; the second joins the incident of the first.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "alert/alert_incident.h"

/* The alerts that an incident is late: about one, so they open none. */
#define NOT_OF_SLA "alertname NOT IN ('IncidentSlaNear', 'IncidentSlaMissed')"

static SqlArg
sql_ids(const ArrayType *ids)
{
	return sql_datum(INT8ARRAYOID, PointerGetDatum(ids), ids == NULL);
}

/* Add a row to the timeline of an incident. */
void
pipeline_incident_event(int64 incident_id, const char *event, Oid role,
						const char *note, const Jsonb *detail)
{
	pipeline_sql("INSERT INTO pipeline.incident_events (incident_id, owner, event, role, note, detail)"
				 " SELECT incident_id, owner, $2, $3, $4, coalesce($5, '{}') FROM pipeline.incidents"
				 " WHERE incident_id = $1", SPI_OK_INSERT,
				 sql_int8(incident_id), sql_text(event), sql_role(role),
				 sql_text(note), sql_jsonb(detail));
}

/*
 * Add alerts to an incident that is not over; those that belong to another
 * such incident, by now, stay there.  The row of the incident is locked, or
 * new.  Returns how many were added.
 */
int
pipeline_incident_add(int64 incident_id, const ArrayType *alert_ids, Oid by)
{
	uint64		n;
	bool		isnull;

	n = pipeline_sql("WITH added AS ("
					 "  INSERT INTO pipeline.incident_alerts (incident_id, alert_id, owner)"
					 "  SELECT $1, a.alert_id, a.owner FROM pipeline.alerts a WHERE a.alert_id = ANY ($2)"
					 "  ORDER BY a.alert_id"
					 "  ON CONFLICT DO NOTHING RETURNING alert_id)"
					 " SELECT count(*), jsonb_build_object('alert_ids', jsonb_agg(alert_id ORDER BY alert_id))"
					 " FROM added HAVING count(*) > 0", SPI_OK_SELECT,
					 sql_int8(incident_id), sql_ids(alert_ids));
	if (n == 0)
		return 0;
	n = pipeline_sql_int8(0, 1);
	pipeline_incident_event(incident_id, "alerts_added", by, NULL,
							DatumGetJsonbP(pipeline_sql_datum(0, 2, &isnull)));
	pipeline_sql("UPDATE pipeline.incidents SET alerts_resolved_at = NULL"
				 " WHERE incident_id = $1 AND alerts_resolved_at IS NOT NULL"
				 " AND EXISTS (SELECT FROM pipeline.alerts a WHERE a.alert_id = ANY ($2) AND a.state <> 'resolved')",
				 SPI_OK_UPDATE, sql_int8(incident_id), sql_ids(alert_ids));
	return (int) n;
}

static bool
claim_alerts(void *arg)
{
	pipeline_sql("UPDATE pipeline.incident_alerts m SET is_open = true WHERE incident_id = $1 AND NOT is_open AND NOT EXISTS ("
				 "  SELECT FROM pipeline.incident_alerts o WHERE o.alert_id = m.alert_id AND o.is_open)",
				 SPI_OK_UPDATE, sql_int8(*(int64 *) arg));
	return true;
}

/*
 * Let an incident that is open (again) have its alerts, but those that belong to
 * another such incident.  One that another session has just taken is seen to be
 * taken at the next try.
 */
void
pipeline_incident_claim_alerts(int64 incident_id)
{
	for (int tries = 1;; tries++)
	{
		ErrorData  *error = pipeline_try(claim_alerts, &incident_id);

		if (error == NULL)
			return;
		if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION || tries == 10)
			ReThrowError(error);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Open an incident.  What is not given comes from the alerts: when it began,
 * the labels that they have in common, the pipeline of the first.  *added is
 * how many of the alerts belong to no other.
 */
int64
pipeline_incident_open(const NewIncident *incident, int *added)
{
	UserScope	scope;
	int64		incident_id;

	SPI_connect();
	pipeline_extension_begin(&scope);
	pipeline_sql("WITH a AS (SELECT * FROM pipeline.alerts WHERE alert_id = ANY ($6)),"
				 " common AS (SELECT l.key, min(l.value) AS value FROM a, jsonb_each_text(a.labels) l"
				 "   WHERE l.key <> 'severity' GROUP BY l.key"
				 "   HAVING count(*) = (SELECT count(*) FROM a) AND min(l.value) = max(l.value)),"
				 " l AS (SELECT coalesce((SELECT jsonb_object_agg(key, value) FROM common), '{}')"
				 "   || coalesce($5, '{}') AS labels)"
				 " INSERT INTO pipeline.incidents (owner, opened_by, title, severity, labels, pipeline, assignee,"
				 "   state, acknowledged_at, started_at)"
				 " SELECT $1, $2, left(regexp_replace($3, '[[:cntrl:]]+', ' ', 'g'), 200), $4, l.labels,"
				 "   coalesce(l.labels ->> 'pipeline', (SELECT a.labels ->> 'pipeline' FROM a"
				 "     WHERE a.labels ? 'pipeline' ORDER BY a.started_at, a.alert_id LIMIT 1)), $7,"
				 "   CASE WHEN $7 IS NULL THEN 'open' ELSE 'acknowledged' END,"
				 "   CASE WHEN $7 IS NOT NULL THEN clock_timestamp() END,"
				 "   coalesce($8, (SELECT min(a.started_at) FROM a), clock_timestamp())"
				 " FROM l RETURNING incident_id", SPI_OK_INSERT_RETURNING,
				 sql_role(incident->owner), sql_role(incident->opened_by),
				 sql_text(incident->title), sql_text(incident->severity),
				 sql_jsonb(incident->labels), sql_ids(incident->alert_ids),
				 sql_text(incident->assignee),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(incident->started_at), !incident->has_start));
	incident_id = pipeline_sql_int8(0, 1);
	pipeline_incident_event(incident_id, "opened", incident->opened_by, incident->note,
							pipeline_jsonb_object(3, (const char *[]) {"title", "severity", "assignee"},
												  (const char *[]) {incident->title, incident->severity,
												  incident->assignee}));
	*added = incident->alert_ids == NULL ? 0 :
		pipeline_incident_add(incident_id, incident->alert_ids, incident->opened_by);
	pipeline_incident_set_target(incident_id);
	pipeline_incident_check_sla(incident_id);
	pipeline_scope_end(&scope);
	SPI_finish();
	return incident_id;
}

/*
 * The alerts among these, of the owner, that may open an incident: they are
 * not about an incident and belonged to none that is over.
 */
static ArrayType *
eligible(Oid owner, const ArrayType *alert_ids)
{
	bool		isnull;
	Datum		ids;

	pipeline_sql("SELECT array_agg(a.alert_id ORDER BY a.alert_id) FROM pipeline.alerts a"
				 " WHERE a.alert_id = ANY ($2) AND a.owner = $1 AND a." NOT_OF_SLA
				 " AND NOT EXISTS (SELECT FROM pipeline.incident_alerts i WHERE i.alert_id = a.alert_id AND NOT i.is_open)",
				 SPI_OK_SELECT, sql_role(owner), sql_ids(alert_ids));
	ids = pipeline_sql_datum(0, 1, &isnull);
	return isnull ? NULL : DatumGetArrayTypePCopy(ids);
}

/* The open incident that one of these alerts belongs to, locked; or 0. */
static int64
open_incident_of(const ArrayType *alert_ids)
{
	if (pipeline_sql("SELECT i.incident_id FROM pipeline.incidents i"
					 " WHERE i.state IN ('open', 'acknowledged', 'mitigated') AND i.incident_id ="
					 "   (SELECT min(incident_id) FROM pipeline.incident_alerts WHERE alert_id = ANY ($1) AND is_open)"
					 " FOR UPDATE", SPI_OK_SELECT, sql_ids(alert_ids)) == 0)
		return 0;
	return pipeline_sql_int8(0, 1);
}

/* Let alerts join an incident, and make it as bad as they are. */
static void
join(int64 incident_id, const ArrayType *alert_ids, const char *severity)
{
	(void) pipeline_incident_add(incident_id, alert_ids, InvalidOid);
	if (pipeline_sql("UPDATE pipeline.incidents SET severity = $2 WHERE incident_id = $1"
					 " AND array_position(ARRAY['info', 'warning', 'error', 'critical'], severity::text)"
					 "   < array_position(ARRAY['info', 'warning', 'error', 'critical'], $2)",
					 SPI_OK_UPDATE, sql_int8(incident_id), sql_text(severity)) == 0)
		return;
	pipeline_incident_event(incident_id, "changed", InvalidOid, NULL,
							pipeline_jsonb_object(1, (const char *[]) {"severity"},
												  (const char *[]) {severity}));
	pipeline_incident_set_target(incident_id);
	pipeline_incident_check_sla(incident_id);
}

typedef struct Attempt
{
	NewIncident incident;
	int64		incident_id;
	int			added;
} Attempt;

/* Open an incident, unless others have taken all of its alerts by now. */
static bool
try_to_open(void *arg)
{
	Attempt    *attempt = arg;

	attempt->incident_id = pipeline_incident_open(&attempt->incident, &attempt->added);
	return attempt->added > 0;
}

/* Have an incident for alerts that a route took up.  See alert_incident.h. */
int64
pipeline_incident_open_for(Oid owner, const ArrayType *alert_ids,
						   const char *title, const char *severity)
{
	UserScope	scope;
	Attempt		attempt = {.incident = {.owner = owner, .title = title, .severity = severity}};
	int64		incident_id = 0;

	SPI_connect();
	pipeline_extension_begin(&scope);
	attempt.incident.alert_ids = eligible(owner, alert_ids);
	while (attempt.incident.alert_ids != NULL && incident_id == 0)
	{
		incident_id = open_incident_of(attempt.incident.alert_ids);
		if (incident_id != 0)
			join(incident_id, attempt.incident.alert_ids, severity);
		else
		{
			pipeline_subtransaction(try_to_open, &attempt);
			if (attempt.added > 0)
				incident_id = attempt.incident_id;
			else
				attempt.incident.alert_ids = eligible(owner, alert_ids);
		}
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	return incident_id;
}

PG_FUNCTION_INFO_V1(pipeline_open_incident_for);

/* SQL: _open_incident_for(owner, alert_ids, title, severity) */
Datum
pipeline_open_incident_for(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(pipeline_incident_open_for(PG_GETARG_OID(0), PG_GETARG_ARRAYTYPE_P(1),
											   pipeline_arg_text(fcinfo, 2),
											   pipeline_arg_text(fcinfo, 3)));
}
