/*
 * alert_functions.c
 *	  raise_alert, resolve_alert and acknowledge: arguments and rights.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "alert/alert_state.h"

/* Raise 22023 if the labels hold what is an argument of its own. */
static void
check_no_label(const Jsonb *labels, const char *name)
{
	if (labels != NULL && pipeline_jsonb_key(labels, name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label \"%s\" cannot be given in argument \"labels\"", name),
				 errhint("It is set from the argument \"%s\".", name)));
}

/* Raise 42704 or 42501 unless the current user may act on the alert. */
void
pipeline_alert_check(int64 alert_id)
{
	UserScope	scope;
	Oid			owner = InvalidOid;
	bool		isnull;

	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid FROM pipeline.alerts WHERE alert_id = $1",
					 SPI_OK_SELECT, sql_int8(alert_id)) > 0)
		owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	SPI_finish();
	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("alert %lld does not exist", (long long) alert_id),
				 errhint("The view pipeline.firing_alerts lists the open ones.")));
	pipeline_check_owner(owner, "alert", psprintf("%lld", (long long) alert_id));
}

PG_FUNCTION_INFO_V1(pipeline_raise_alert_sql);

/* SQL: raise_alert(...) */
Datum
pipeline_raise_alert_sql(PG_FUNCTION_ARGS)
{
	AlertSpec	spec = {.owner = GetUserId()};
	char	   *fingerprint;

	pipeline_not_null(fcinfo, 0, "alertname");
	pipeline_not_null(fcinfo, 1, "summary");
	pipeline_not_null(fcinfo, 2, "severity");
	spec.alertname = pipeline_arg_text(fcinfo, 0);
	spec.summary = pipeline_arg_text(fcinfo, 1);
	spec.severity = pipeline_arg_text(fcinfo, 2);
	spec.labels = pipeline_arg_jsonb(fcinfo, 3);
	spec.source = pipeline_arg_text(fcinfo, 4);
	spec.detail = pipeline_arg_jsonb(fcinfo, 5);
	fingerprint = pipeline_arg_text(fcinfo, 6);

	if (fingerprint != NULL)
		pipeline_check_name("fingerprint", fingerprint);
	pipeline_check_labels(spec.labels, "labels");
	check_no_label(spec.labels, "alertname");
	check_no_label(spec.labels, "severity");
	PG_RETURN_INT64(pipeline_alert_raise(&spec, fingerprint));
}

PG_FUNCTION_INFO_V1(pipeline_resolve_alert_id);

/* SQL: resolve_alert(alert_id) */
Datum
pipeline_resolve_alert_id(PG_FUNCTION_ARGS)
{
	pipeline_not_null(fcinfo, 0, "alert_id");
	pipeline_alert_check(PG_GETARG_INT64(0));
	PG_RETURN_BOOL(pipeline_alert_resolve(PG_GETARG_INT64(0)));
}

PG_FUNCTION_INFO_V1(pipeline_resolve_alert_fingerprint);

/* SQL: resolve_alert(fingerprint): of the current user. */
Datum
pipeline_resolve_alert_fingerprint(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	Oid			owner = GetUserId();
	int64		alert_id = 0;

	pipeline_not_null(fcinfo, 0, "fingerprint");
	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT alert_id FROM pipeline.alerts"
					 " WHERE owner = $1 AND fingerprint = $2 AND state <> 'resolved'",
					 SPI_OK_SELECT, sql_role(owner),
					 sql_text(pipeline_arg_text(fcinfo, 0))) > 0)
		alert_id = pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_BOOL(alert_id != 0 && pipeline_alert_resolve(alert_id));
}

PG_FUNCTION_INFO_V1(pipeline_acknowledge);

/* SQL: acknowledge(alert_id, note, until_time) */
Datum
pipeline_acknowledge(PG_FUNCTION_ARGS)
{
	TimestampTz until = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);

	pipeline_not_null(fcinfo, 0, "alert_id");
	pipeline_alert_check(PG_GETARG_INT64(0));
	if (!PG_ARGISNULL(2) && until <= GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"until_time\" is not in the future"),
				 errdetail("It is %s.", timestamptz_to_str(until)),
				 errhint("Leave it out to acknowledge until the alert is resolved.")));
	PG_RETURN_BOOL(pipeline_alert_acknowledge(PG_GETARG_INT64(0),
											  pipeline_arg_text(fcinfo, 1),
											  until, !PG_ARGISNULL(2)));
}
