/*
 * alert_state.c
 *	  The transitions of an alert:
 *
 *		raise ->  firing  <->  acknowledged  ->  resolved
 *
 * At most one row per (owner, fingerprint) is not resolved: the partial unique
 * index alerts_open says so, and raise builds on it.  Two sessions that raise
 * the same alert wait for each other, by the index or by the row lock; neither
 * errors (under READ COMMITTED).  Every transition writes its event and tells
 * the channels in its own transaction.
 *
 * The functions here check no rights; the caller has.  Each opens an SPI
 * connection of its own, so that a caller may be reading a result of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "alert/alert_notify.h"
#include "base/rows.h"

static const char *const severities[] = {"info", "warning", "error", "critical", NULL};

/* Write the event of a transition and tell the channels of it. */
static void
record_event(int64 alert_id, Oid owner, const char *event, const char *note)
{
	List	   *told = pipeline_alert_tell(alert_id, owner, event, note);

	pipeline_sql("INSERT INTO pipeline.alert_events (alert_id, owner, event, state, severity, role, note, channels)"
				 " SELECT alert_id, owner, $2, state, severity, $3, $4, $5"
				 " FROM pipeline.alerts WHERE alert_id = $1", SPI_OK_INSERT,
				 sql_int8(alert_id), sql_text(event),
				 sql_role(GetSessionUserId()), sql_text(note),
				 sql_array(pipeline_list_array(told)));
	pipeline_notifier_wake_at_commit();
}

/*
 * Make a new alert, unless one is open.  Waits for a transaction that is just
 * making or resolving one.  Returns its id, or 0.
 */
static int64
insert_alert(const AlertSpec *spec, const Jsonb *labels, const char *fingerprint)
{
	if (pipeline_sql("INSERT INTO pipeline.alerts (owner, fingerprint, alertname, severity, summary, source, labels, detail)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, '{}'))"
					 " ON CONFLICT (owner, fingerprint) WHERE state <> 'resolved' DO NOTHING"
					 " RETURNING alert_id", SPI_OK_INSERT_RETURNING,
					 sql_role(spec->owner), sql_text(fingerprint),
					 sql_text(spec->alertname), sql_text(spec->severity),
					 sql_text(spec->summary), sql_text(spec->source),
					 sql_jsonb(labels), sql_jsonb(spec->detail)) == 0)
		return 0;
	return pipeline_sql_int8(0, 1);
}

/*
 * Count an occurrence of the open alert; what it is called stays, also where
 * the fingerprint was given.  Returns its id, or 0 if none is.
 */
static int64
count_occurrence(const AlertSpec *spec, const char *fingerprint)
{
	int64		alert_id;
	bool		refire;
	char	   *before;

	if (pipeline_sql("SELECT alert_id, severity::text,"
					 " state = 'acknowledged' AND acknowledged_until <= clock_timestamp()"
					 " FROM pipeline.alerts WHERE owner = $1 AND fingerprint = $2 AND state <> 'resolved'"
					 " FOR NO KEY UPDATE", SPI_OK_SELECT,
					 sql_role(spec->owner), sql_text(fingerprint)) == 0)
		return 0;
	alert_id = pipeline_sql_int8(0, 1);
	before = pipeline_sql_text(0, 2);
	refire = pipeline_sql_bool(0, 3);

	pipeline_sql("UPDATE pipeline.alerts SET occurrences = occurrences + 1, last_seen = clock_timestamp(),"
				 " severity = $2, summary = $3, labels = labels || jsonb_build_object('severity', $2),"
				 " detail = coalesce($4, '{}'), state = CASE WHEN $5 THEN 'firing' ELSE state END"
				 " WHERE alert_id = $1", SPI_OK_UPDATE,
				 sql_int8(alert_id), sql_text(spec->severity),
				 sql_text(spec->summary), sql_jsonb(spec->detail),
				 sql_bool(refire));
	if (strcmp(before, spec->severity) != 0)
		record_event(alert_id, spec->owner, "severity_changed",
					 psprintf("%s -> %s", before, spec->severity));
	if (refire)
		record_event(alert_id, spec->owner, "refired", NULL);
	return alert_id;
}

/* Raise an alert; `fingerprint` NULL means the hash.  Returns its id. */
int64
pipeline_alert_raise(const AlertSpec *spec, const char *fingerprint)
{
	UserScope	scope;
	Jsonb	   *labels;
	char	   *identity;
	int64		alert_id;

	pipeline_check_name("kind of alert", spec->alertname);
	if (spec->summary[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"summary\" is empty"),
				 errhint("Say in one line what is wrong.")));
	pipeline_check_choice("severity", spec->severity, severities);
	pipeline_check_labels(spec->labels, "labels");

	SPI_connect();
	pipeline_extension_begin(&scope);
	pipeline_alert_identify(spec, fingerprint, &labels, &identity);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		alert_id = insert_alert(spec, labels, identity);
		if (alert_id != 0)
		{
			record_event(alert_id, spec->owner, "fired", NULL);
			break;
		}
		/* None here means that it was resolved in between: try again. */
		alert_id = count_occurrence(spec, identity);
		if (alert_id != 0)
			break;
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	return alert_id;
}

/* Resolve an alert.  False if it is resolved already. */
bool
pipeline_alert_resolve(int64 alert_id)
{
	UserScope	scope;
	bool		open;

	SPI_connect();
	pipeline_extension_begin(&scope);
	open = pipeline_sql("UPDATE pipeline.alerts SET state = 'resolved', resolved_at = clock_timestamp()"
						" WHERE alert_id = $1 AND state <> 'resolved' RETURNING owner::oid",
						SPI_OK_UPDATE_RETURNING, sql_int8(alert_id)) > 0;
	if (open)
	{
		bool		isnull;
		Oid			owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));

		record_event(alert_id, owner, "resolved", NULL);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	return open;
}

/*
 * Acknowledge an open alert.  True if it was firing, false if this replaces an
 * acknowledgement.  A resolved alert is an error.
 */
bool
pipeline_alert_acknowledge(int64 alert_id, const char *note,
						   TimestampTz until, bool has_until)
{
	UserScope	scope;
	bool		firing;
	bool		isnull;
	Oid			owner;

	SPI_connect();
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT state, owner::oid FROM pipeline.alerts WHERE alert_id = $1 FOR NO KEY UPDATE",
				 SPI_OK_SELECT, sql_int8(alert_id));
	firing = strcmp(pipeline_sql_text(0, 1), "firing") == 0;
	if (strcmp(pipeline_sql_text(0, 1), "resolved") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("alert %lld is resolved", (long long) alert_id),
				 errdetail("Only an alert that is firing or acknowledged can be acknowledged."),
				 errhint("If it is raised again it gets a new alert_id; see pipeline.firing_alerts.")));
	owner = DatumGetObjectId(pipeline_sql_datum(0, 2, &isnull));
	pipeline_sql("UPDATE pipeline.alerts SET state = 'acknowledged', acknowledged_at = clock_timestamp(),"
				 " acknowledged_by = $2, acknowledged_until = $3 WHERE alert_id = $1",
				 SPI_OK_UPDATE, sql_int8(alert_id), sql_role(GetSessionUserId()),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(until), !has_until));
	record_event(alert_id, owner, "acknowledged", note);
	pipeline_scope_end(&scope);
	SPI_finish();
	return firing;
}

/* The door: raise an alert for a room above.  See alert.h. */
int64
pipeline_raise_alert(const AlertSpec *spec)
{
	return pipeline_alert_raise(spec, NULL);
}

/*
 * Is an alert of that name and source open?  Every task that succeeds asks, and
 * the answer is nearly always no.
 */
static bool
any_open(Oid owner, const char *alertname, const char *source)
{
	static RowTable alerts = {.name = "alerts"};
	Datum		key[] = {ObjectIdGetDatum(owner), CStringGetTextDatum(alertname),
	CStringGetTextDatum(source)};
	bool		found;

	pipeline_rows_open(&alerts);
	found = pipeline_row_find(&alerts, "alerts_open_source", 3, key);
	pipeline_rows_close(&alerts);
	return found;
}

/* The door: resolve by name and source.  See alert.h. */
int
pipeline_resolve_alerts(Oid owner, const char *alertname, const char *source)
{
	UserScope	scope;
	uint64		n;
	int64	   *ids;
	int			resolved = 0;

	if (source != NULL && !any_open(owner, alertname, source))
		return 0;
	SPI_connect();
	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT alert_id FROM pipeline.alerts"
					 " WHERE owner = $1 AND alertname = $2 AND source IS NOT DISTINCT FROM $3"
					 " AND state <> 'resolved' ORDER BY alert_id", SPI_OK_SELECT,
					 sql_role(owner), sql_text(alertname), sql_text(source));
	ids = palloc_array(int64, n + 1);
	for (uint64 i = 0; i < n; i++)
		ids[i] = pipeline_sql_int8(i, 1);
	for (uint64 i = 0; i < n; i++)
		resolved += pipeline_alert_resolve(ids[i]);
	pipeline_scope_end(&scope);
	SPI_finish();
	return resolved;
}
