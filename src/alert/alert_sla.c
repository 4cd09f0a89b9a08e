/*
 * alert_sla.c
 *	  How soon incidents are due, and what is said when they are late.
 *
 * An incident takes over the SLA target of its severity when it is opened or
 * its severity changes: what is promised does not change under it.  The view
 * incident_sla says what is still to be kept, and how it stands; sla_due is
 * the next time at which that changes by itself.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "alert/alert_incident.h"

/* Incidents are looked at no more often than this. */
#define LOOK_MS 1000

/*
 * The target for the incidents of an owner: his own, or the first of an
 * administrator; NULL if there is none.
 */
static char *
find_target(Oid owner, const char *severity)
{
	uint64		n = pipeline_sql("SELECT name, owner::oid FROM pipeline.sla_targets WHERE severity = $2"
								 " ORDER BY owner <> $1, name COLLATE \"C\"", SPI_OK_SELECT,
								 sql_role(owner), sql_text(severity));

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Oid			target_owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));

		if (target_owner == owner || pipeline_is_admin(target_owner))
			return pipeline_sql_text(i, 1);
	}
	return NULL;
}

/* Give an incident the times of the target of its severity, or none. */
void
pipeline_incident_set_target(int64 incident_id)
{
	bool		isnull;

	pipeline_sql("SELECT owner::oid, severity FROM pipeline.incidents WHERE incident_id = $1",
				 SPI_OK_SELECT, sql_int8(incident_id));
	pipeline_sql("UPDATE pipeline.incidents i SET acknowledge_due = i.started_at + t.acknowledge_within,"
				 "   resolve_due = i.started_at + t.resolve_within, review_within = t.review_within,"
				 "   warn_at = coalesce(t.warn_at, 1)"
				 " FROM (SELECT 1) x LEFT JOIN pipeline.sla_targets t ON t.name = $2"
				 " WHERE i.incident_id = $1", SPI_OK_UPDATE, sql_int8(incident_id),
				 sql_text(find_target(DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull)),
									  pipeline_sql_text(0, 2))));
}

/* ---- what is late ------------------------------------------------------------ */

/* Is an alert open that says just this? */
static bool
is_said(Oid owner, const char *fingerprint, const char *summary)
{
	return pipeline_sql("SELECT 1 FROM pipeline.alerts WHERE owner = $1 AND fingerprint = $2"
						" AND state <> 'resolved' AND summary = $3", SPI_OK_SELECT,
						sql_role(owner), sql_text(fingerprint), sql_text(summary)) > 0;
}

/*
 * Raise the alert that parts of the target are near or missed, or resolve it:
 * there are none.
 */
static void
say(int64 incident_id, bool missed, AlertSpec *spec, const char *title,
	const char *what)
{
	char	   *fingerprint;

	spec->alertname = missed ? "IncidentSlaMissed" : "IncidentSlaNear";
	spec->source = psprintf("incident " INT64_FORMAT, incident_id);
	spec->numbered = true;
	if (what == NULL)
	{
		(void) pipeline_resolve_alerts(spec->owner, spec->alertname, spec->source);
		return;
	}
	spec->summary = psprintf("%s \"%s\" %s %s", spec->source, title,
							 missed ? "is late: it should have been" : "is near to being late: it must be", what);
	/* Not the hash: whatever task this session runs, it is one alert. */
	fingerprint = psprintf("%s: %s", spec->alertname, spec->source);
	if (is_said(spec->owner, fingerprint, spec->summary))
		return;
	(void) pipeline_alert_raise(spec, fingerprint);
	pipeline_incident_event(incident_id, missed ? "sla_missed" : "sla_near", InvalidOid,
							psprintf(missed ? "should have been %s" : "must be %s", what), NULL);
}

/*
 * Say what an incident is late with, or near to being, and note when that
 * changes next.  For when something has changed, and when sla_due is over.
 */
void
pipeline_incident_check_sla(int64 incident_id)
{
	AlertSpec	spec = {0};
	bool		isnull;
	char	   *title;
	char	   *severity;
	char	   *near;
	char	   *missed;

	pipeline_sql("UPDATE pipeline.incidents i SET sla_due = (SELECT min(t.at)"
				 "   FROM pipeline.incident_sla s, LATERAL (VALUES (s.near_at), (s.due_at)) t(at)"
				 "   WHERE s.incident_id = $1 AND t.at > clock_timestamp())"
				 " FROM (SELECT string_agg(w.what, ', and ' ORDER BY w.due_at) FILTER (WHERE w.status = 'near') AS near,"
				 "     string_agg(w.what, ', and ' ORDER BY w.due_at) FILTER (WHERE w.status = 'missed') AS missed"
				 "   FROM (SELECT s.status, s.due_at, format('%sd by %s UTC',"
				 "       CASE s.target WHEN 'resolve' THEN 'resolve' WHEN 'review' THEN 'reviewe' ELSE 'acknowledge' END,"
				 "       to_char(s.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) AS what"
				 "     FROM pipeline.incident_sla s WHERE s.incident_id = $1) w) x"
				 " WHERE i.incident_id = $1"
				 " RETURNING i.owner::oid, i.labels || jsonb_strip_nulls(jsonb_build_object('pipeline', i.pipeline)),"
				 "   i.title, i.severity, x.near, x.missed", SPI_OK_UPDATE_RETURNING, sql_int8(incident_id));
	spec.owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	spec.labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	spec.detail = pipeline_jsonb_object(1, (const char *[]) {"incident_id"},
										(const char *[]) {psprintf(INT64_FORMAT, incident_id)});
	title = pipeline_sql_text(0, 3);
	severity = pipeline_sql_text(0, 4);
	near = pipeline_sql_text(0, 5);
	missed = pipeline_sql_text(0, 6);
	spec.severity = "warning";
	say(incident_id, false, &spec, title, near);
	spec.severity = strcmp(severity, "critical") == 0 ? "critical" : "error";
	say(incident_id, true, &spec, title, missed);
}

/* ---- for the notifier ---------------------------------------------------------- */

/* Take up that alerts of incidents were acknowledged, or are all resolved. */
static void
follow_alerts(void)
{
	pipeline_sql("WITH heard AS ("
				 "   SELECT i.incident_id, f.* FROM pipeline.incidents i, LATERAL ("
				 "     SELECT a.* FROM pipeline.incident_alerts m, LATERAL ("
				 "       SELECT e.event_id, e.at, e.role, e.alert_id, e.note FROM pipeline.alert_events e"
				 "       WHERE e.alert_id = m.alert_id AND e.event = 'acknowledged' ORDER BY e.event_id LIMIT 1) a"
				 "     WHERE m.incident_id = i.incident_id ORDER BY a.event_id LIMIT 1) f"
				 "   WHERE i.state = 'open' FOR NO KEY UPDATE OF i SKIP LOCKED),"
				 " changed AS ("
				 "   UPDATE pipeline.incidents i SET state = 'acknowledged',"
				 "     acknowledged_at = greatest(h.at, i.started_at), assignee = coalesce(i.assignee, h.role::text),"
				 "     sla_due = CASE WHEN i.acknowledge_due IS NOT NULL OR i.sla_due IS NOT NULL THEN clock_timestamp() END"
				 "   FROM heard h WHERE i.incident_id = h.incident_id RETURNING i.incident_id, i.owner, i.assignee)"
				 " INSERT INTO pipeline.incident_events (incident_id, owner, event, role, note, detail)"
				 " SELECT c.incident_id, c.owner, 'acknowledged', h.role, h.note,"
				 "   jsonb_build_object('alert_id', h.alert_id, 'assignee', c.assignee)"
				 " FROM changed c JOIN heard h USING (incident_id)", SPI_OK_INSERT);
	pipeline_sql("WITH over AS ("
				 "   SELECT i.incident_id, (SELECT max(a.resolved_at) FROM pipeline.incident_alerts m"
				 "     JOIN pipeline.alerts a USING (alert_id) WHERE m.incident_id = i.incident_id) AS at"
				 "   FROM pipeline.incidents i"
				 "   WHERE i.state IN ('open', 'acknowledged', 'mitigated') AND i.alerts_resolved_at IS NULL"
				 "   AND EXISTS (SELECT FROM pipeline.incident_alerts m WHERE m.incident_id = i.incident_id)"
				 "   AND NOT EXISTS (SELECT FROM pipeline.incident_alerts m JOIN pipeline.alerts a USING (alert_id)"
				 "     WHERE m.incident_id = i.incident_id AND a.state <> 'resolved')"
				 "   FOR NO KEY UPDATE OF i SKIP LOCKED),"
				 " changed AS ("
				 "   UPDATE pipeline.incidents i SET alerts_resolved_at = o.at"
				 "   FROM over o WHERE i.incident_id = o.incident_id RETURNING i.incident_id, i.owner)"
				 " INSERT INTO pipeline.incident_events (incident_id, owner, event)"
				 " SELECT incident_id, owner, 'alerts_resolved' FROM changed", SPI_OK_INSERT);
}

static bool
check_sla(void *arg)
{
	pipeline_incident_check_sla(*(int64 *) arg);
	return true;
}

/* Look at the incidents that are due; one that cannot be comes a minute later. */
static void
check_due(void)
{
	uint64		n = pipeline_sql("SELECT incident_id FROM pipeline.incidents WHERE sla_due <= clock_timestamp()"
								 " ORDER BY sla_due LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED", SPI_OK_SELECT);
	int64	   *ids = palloc_array(int64, n + 1);

	for (uint64 i = 0; i < n; i++)
		ids[i] = pipeline_sql_int8(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		ErrorData  *edata = pipeline_try(check_sla, &ids[i]);

		if (edata == NULL)
			continue;
		ereport(LOG, (errmsg("could not look at incident " INT64_FORMAT ": %s", ids[i], edata->message)));
		pipeline_sql("UPDATE pipeline.incidents SET sla_due = clock_timestamp() + interval '1 minute'"
					 " WHERE incident_id = $1", SPI_OK_UPDATE, sql_int8(ids[i]));
	}
}

/* Mind the incidents.  See alert_incident.h. */
long
pipeline_incident_mind(void)
{
	static TimestampTz next_look = 0;
	TimestampTz now = GetCurrentTimestamp();
	UserScope	scope;
	long		again = -1;

	if (now < next_look)
		return TimestampDifferenceMilliseconds(now, next_look) + 1;
	next_look = TimestampTzPlusMilliseconds(now, LOOK_MS);
	SPI_connect();
	pipeline_extension_begin(&scope);
	follow_alerts();
	check_due();
	if (pipeline_sql("SELECT greatest(0, ceil(extract(epoch FROM min(sla_due) - clock_timestamp()) * 1000))::bigint"
					 " FROM pipeline.incidents WHERE sla_due IS NOT NULL HAVING min(sla_due) IS NOT NULL",
					 SPI_OK_SELECT) > 0)
		again = (long) Max(Min(pipeline_sql_int8(0, 1), (int64) SECS_PER_DAY * 1000), LOOK_MS);
	pipeline_scope_end(&scope);
	SPI_finish();
	return again;
}

PG_FUNCTION_INFO_V1(pipeline_mind_incidents);

/* SQL: _mind_incidents(): what the notifier does, at once. */
Datum
pipeline_mind_incidents(PG_FUNCTION_ARGS)
{
	UserScope	scope;

	SPI_connect();
	pipeline_extension_begin(&scope);
	follow_alerts();
	check_due();
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}
