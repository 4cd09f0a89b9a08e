/*
 * alert_suppressed.c
 *	  suppressions(): what nobody is told of, and why.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "alert/alert_suppress.h"

#define COLUMNS 7

static Datum
text_or_null(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value ? CStringGetTextDatum(value) : (Datum) 0;
}

/* A row: alert_id, kind, name, by_alert, until_time, comment, route. */
static void
put_row(ReturnSetInfo *rsinfo, int64 alert_id, const char *kind, const char *name,
		int64 by_alert, TimestampTz until, const char *comment, const char *route)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};

	values[0] = Int64GetDatum(alert_id);
	values[1] = CStringGetTextDatum(kind);
	values[2] = text_or_null(name, &nulls[2]);
	values[3] = Int64GetDatum(by_alert);
	nulls[3] = by_alert == 0;
	values[4] = TimestampTzGetDatum(until);
	nulls[4] = TIMESTAMP_NOT_FINITE(until);
	values[5] = text_or_null(comment, &nulls[5]);
	values[6] = text_or_null(route, &nulls[6]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* What time intervals hold back, of alerts that the role may see. */
static void
put_muted(ReturnSetInfo *rsinfo, Oid role)
{
	uint64		n = pipeline_sql("SELECT m.alert_id, m.owner::oid, g.muted_by, g.next_flush_at, g.route"
								 " FROM pipeline.alert_groups g JOIN pipeline.alert_group_members m USING (group_id)"
								 " JOIN pipeline.alerts a USING (alert_id)"
								 " WHERE g.muted_since IS NOT NULL AND a.state <> 'resolved' AND m.left_at IS NULL"
								 " ORDER BY m.alert_id, g.route", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		TimestampTz until = DatumGetTimestampTz(pipeline_sql_datum(i, 4, &isnull));

		if (pipeline_is_owner(role, DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull))))
			put_row(rsinfo, pipeline_sql_int8(i, 1), "time interval", pipeline_sql_text(i, 3), 0,
					until, NULL, pipeline_sql_text(i, 5));
	}
}

PG_FUNCTION_INFO_V1(pipeline_suppressions);

/* SQL: suppressions(): of the alerts that the caller may see. */
Datum
pipeline_suppressions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	UserScope	scope;
	Suppression *suppression;
	ListCell   *la;
	ListCell   *ls;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	suppression = pipeline_suppression_load(GetCurrentTimestamp());
	foreach(la, pipeline_open_alerts(suppression))
	{
		OpenAlert  *alert = lfirst(la);

		if (!pipeline_is_owner(scope.userid, alert->owner))
			continue;
		foreach(ls, pipeline_suppressors(suppression, alert))
		{
			const Suppressor *s = lfirst(ls);

			put_row(rsinfo, alert->alert_id, s->kind, s->name, s->by_alert, s->until, s->comment, NULL);
		}
	}
	put_muted(rsinfo, scope.userid);
	pipeline_scope_end(&scope);
	SPI_finish();
	return (Datum) 0;
}
