/*
 * alert_trim.c
 *	  Old alerts, silences and overrides of on-call schedules are deleted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"

#include "alert/alert_notify.h"

/*
 * Delete a batch of each of what has been over for some days (0: never): silences
 * and overrides, and resolved alerts that no incident has.  Returns how many
 * rows; for the notifier, inside its transaction and the scope of the extension.
 */
uint64
pipeline_alert_trim(int batch, int days, int alert_days)
{
	uint64		n = 0;

	if (days > 0)
	{
		n += pipeline_sql("DELETE FROM pipeline.silences WHERE silence_id IN (SELECT silence_id FROM pipeline.silences"
						  "  WHERE ends_at < now() - make_interval(days => $2) ORDER BY ends_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
						  SPI_OK_DELETE, sql_int8(batch), sql_int4(days));
		n += pipeline_sql("DELETE FROM pipeline.on_call_overrides WHERE override_id IN (SELECT override_id FROM pipeline.on_call_overrides"
						  "  WHERE ends_at < now() - make_interval(days => $2) ORDER BY ends_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
						  SPI_OK_DELETE, sql_int8(batch), sql_int4(days));
	}
	if (alert_days > 0)
		n += pipeline_sql("DELETE FROM pipeline.alerts WHERE alert_id IN (SELECT alert_id FROM pipeline.alerts a"
						  "  WHERE state = 'resolved' AND resolved_at < now() - make_interval(days => $2)"
						  "  AND NOT EXISTS (SELECT FROM pipeline.incident_alerts m WHERE m.alert_id = a.alert_id)"
						  "  AND NOT EXISTS (SELECT FROM pipeline.alert_group_members m WHERE m.alert_id = a.alert_id)"
						  "  ORDER BY resolved_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
						  SPI_OK_DELETE, sql_int8(batch), sql_int4(alert_days));
	return n;
}

PG_FUNCTION_INFO_V1(pipeline_trim_alerts);

/* SQL: _trim_alerts(batch, days, alert_days): what the notifier does now and then. */
Datum
pipeline_trim_alerts(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	uint64		n;

	pipeline_not_null(fcinfo, 0, "batch");
	pipeline_not_null(fcinfo, 1, "days");
	pipeline_not_null(fcinfo, 2, "alert_days");
	SPI_connect();
	pipeline_extension_begin(&scope);
	n = pipeline_alert_trim(PG_GETARG_INT32(0), PG_GETARG_INT32(1), PG_GETARG_INT32(2));
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT64((int64) n);
}
