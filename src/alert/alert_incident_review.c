/*
 * alert_incident_review.c
 *	  What is done with incidents afterwards: the post-mortem, and making one
 *	  of several that were the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"

#include "alert/alert_incident.h"

/* ---- the post-mortem ----------------------------------------------------------- */

static void
bad_action(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for argument \"actions\": %s", what),
			 errhint("Give a JSON array of strings, or of objects such as {\"action\": \"check the extract\", \"assignee\": \"ann\", \"due\": \"2030-01-31\", \"done\": false}.")));
}

static void
check_action(JsonbValue *action)
{
	static const char *const keys[] = {"action", "assignee", "due", "done", NULL};
	Jsonb	   *object;
	char	   *due;

	if (action->type == jbvString)
		return;
	if (action->type != jbvBinary || !JsonContainerIsObject(action->val.binary.data))
		bad_action("an element is neither a string nor an object");
	object = JsonbValueToJsonb(action);
	pipeline_check_keys(object, "actions", keys);
	if (pipeline_jsonb_key(object, "action") == NULL)
		bad_action("an object has no key \"action\"");
	due = pipeline_jsonb_key(object, "due");
	if (due != NULL)
		(void) DirectFunctionCall1(date_in, CStringGetDatum(due));
}

static void
check_actions(const Jsonb *actions)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_ARRAY(actions) || JB_ROOT_IS_SCALAR(actions))
		bad_action("it is no array");
	it = JsonbIteratorInit((JsonbContainer *) &actions->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			check_action(&v);
	}
}

PG_FUNCTION_INFO_V1(pipeline_review_incident);

/* SQL: review_incident(incident_id, cause, actions, impact, note) */
Datum
pipeline_review_incident(PG_FUNCTION_ARGS)
{
	Incident   *incident;
	UserScope	scope;
	bool		first;
	char	   *cause = pipeline_arg_text(fcinfo, 1);
	char	   *impact = pipeline_arg_text(fcinfo, 3);

	pipeline_not_null(fcinfo, 0, "incident_id");
	pipeline_not_null(fcinfo, 1, "cause");
	pipeline_not_null(fcinfo, 2, "actions");
	check_actions(PG_GETARG_JSONB_P(2));
	SPI_connect();
	incident = pipeline_incident_lock(PG_GETARG_INT64(0));
	if (pipeline_incident_is_open(incident))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("incident " INT64_FORMAT " is not resolved", incident->incident_id),
				 errdetail("It is %s.", incident->state),
				 errhint("Resolve it first, with pipeline.resolve_incident().")));
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.incidents SET state = 'reviewed', reviewed_at = coalesce(reviewed_at, clock_timestamp()),"
				 "   cause = $2, actions = $3, impact = coalesce($4, impact)"
				 " WHERE incident_id = $1", SPI_OK_UPDATE, sql_int8(incident->incident_id),
				 sql_text(cause), sql_jsonb(PG_GETARG_JSONB_P(2)), sql_text(impact));
	pipeline_incident_changed(incident, "review_incident", "reviewed", pipeline_arg_text(fcinfo, 4),
							  pipeline_jsonb_object(2, (const char *[]) {"cause", "impact"},
													(const char *[]) {cause, impact}));
	pipeline_scope_end(&scope);
	first = strcmp(incident->state, "reviewed") != 0;
	SPI_finish();
	PG_RETURN_BOOL(first);
}

/* ---- merging ----------------------------------------------------------------------- */

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* Merge one into another; both are locked.  In the scope of the extension. */
static void
merge(const Incident *into, const Incident *from, const char *note)
{
	char	   *into_id = psprintf(INT64_FORMAT, into->incident_id);

	pipeline_sql("UPDATE pipeline.incidents SET state = 'merged', merged_into = $2, sla_due = NULL"
				 " WHERE incident_id = $1", SPI_OK_UPDATE,
				 sql_int8(from->incident_id), sql_int8(into->incident_id));
	/* Those that it had taken in go on with it: nobody has to follow a chain. */
	pipeline_sql("UPDATE pipeline.incidents SET merged_into = $2"
				 " WHERE coalesce(merged_into, incident_id) = $1 AND merged_into = $1",
				 SPI_OK_UPDATE, sql_int8(from->incident_id), sql_int8(into->incident_id));
	pipeline_sql("UPDATE pipeline.incident_alerts SET is_open = false WHERE incident_id = $1",
				 SPI_OK_UPDATE, sql_int8(from->incident_id));
	pipeline_sql("INSERT INTO pipeline.incident_alerts (incident_id, alert_id, owner)"
				 " SELECT $2, alert_id, owner FROM pipeline.incident_alerts WHERE incident_id = $1"
				 " ORDER BY alert_id ON CONFLICT DO NOTHING", SPI_OK_INSERT,
				 sql_int8(from->incident_id), sql_int8(into->incident_id));
	/* It may have had them before, until the other took them. */
	pipeline_incident_claim_alerts(into->incident_id);
	/* As bad and as old as the worst and the oldest. */
	pipeline_sql("UPDATE pipeline.incidents i SET started_at = least(i.started_at, f.started_at),"
				 "   acknowledged_at = least(i.acknowledged_at, f.acknowledged_at),"
				 "   assignee = coalesce(i.assignee, f.assignee), pipeline = coalesce(i.pipeline, f.pipeline),"
				 "   state = CASE WHEN i.state = 'open' AND f.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE i.state END,"
				 "   severity = CASE WHEN array_position(ARRAY['info', 'warning', 'error', 'critical'], i.severity::text)"
				 "     < array_position(ARRAY['info', 'warning', 'error', 'critical'], f.severity::text)"
				 "     THEN f.severity ELSE i.severity END,"
				 "   alerts_resolved_at = NULL"
				 " FROM pipeline.incidents f WHERE i.incident_id = $2 AND f.incident_id = $1", SPI_OK_UPDATE,
				 sql_int8(from->incident_id), sql_int8(into->incident_id));
	pipeline_incident_changed(from, "merge_incidents", "merged", note,
							  pipeline_jsonb_object(1, (const char *[]) {"into"}, (const char *[]) {into_id}));
}

/* Lock both sides in one order, so that two who merge wait and do not fail. */
static Incident **
lock_all(int64 into, int64 *ids, int n)
{
	Incident  **incidents = palloc0_array(Incident *, n + 1);
	bool		locked = false;

	qsort(ids, n, sizeof(int64), compare_ids);
	for (int i = 0; i <= n; i++)
	{
		if (!locked && (i == n || ids[i] > into))
		{
			incidents[n] = pipeline_incident_lock(into);
			locked = true;
		}
		if (i < n)
			incidents[i] = pipeline_incident_lock(ids[i]);
	}
	return incidents;
}

PG_FUNCTION_INFO_V1(pipeline_merge_incidents);

/* SQL: merge_incidents(incident_id, duplicates, note) */
Datum
pipeline_merge_incidents(PG_FUNCTION_ARGS)
{
	Incident  **incidents;
	UserScope	scope;
	char	   *note = pipeline_arg_text(fcinfo, 2);
	int64		into;
	int64	   *ids;
	int			n;
	int			merged = 0;
	StringInfoData from;

	pipeline_not_null(fcinfo, 0, "incident_id");
	pipeline_not_null(fcinfo, 1, "duplicates");
	into = PG_GETARG_INT64(0);
	n = pipeline_incident_ids(PG_GETARG_ARRAYTYPE_P(1), "duplicates", &ids);
	for (int i = 0; i < n; i++)
	{
		if (ids[i] == into)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot merge incident " INT64_FORMAT " into itself", into),
					 errhint("Leave it out of the argument \"duplicates\".")));
	}
	SPI_connect();
	incidents = lock_all(into, ids, n);
	pipeline_incident_check_open(incidents[n]);
	initStringInfo(&from);
	pipeline_extension_begin(&scope);
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && ids[i] == ids[i - 1])
			continue;
		merge(incidents[n], incidents[i], note);
		appendStringInfo(&from, "%s" INT64_FORMAT, merged++ ? ", " : "", ids[i]);
	}
	if (merged > 0)
	{
		pipeline_incident_set_target(into);
		pipeline_incident_changed(incidents[n], "merge_incidents", "merged", note,
								  DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																	 CStringGetDatum(psprintf("{\"from\": [%s]}", from.data)))));
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_INT32(merged);
}
