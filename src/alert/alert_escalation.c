/*
 * alert_escalation.c
 *	  create_escalation, drop_escalation: what an escalation says.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "alert/alert_escalation.h"

static const AlertObject escalation_object = {
	.kind = "escalation",
	.action = "create_escalation",
	.lock = "SELECT owner::oid, to_jsonb(e) FROM pipeline.escalations e WHERE name = $1 FOR UPDATE",
	.remove = "DELETE FROM pipeline.escalations WHERE name = $1",
	.missing_hint = "The table pipeline.escalations lists yours.",
	.drop_action = "drop_escalation"
};

/* ---- steps ------------------------------------------------------------------------------ */

static EscalationStep *
read_step(const Jsonb *json)
{
	static const char *const keys[] = {"channels", "on_call", "wait", NULL};
	EscalationStep *step = palloc0(sizeof(EscalationStep));
	char	   *wait;
	Interval   *interval;

	pipeline_check_keys(json, "steps", keys);
	step->channels = pipeline_jsonb_strings(json, "steps", "channels");
	step->on_call = pipeline_jsonb_key(json, "on_call");
	if (step->channels == NIL && step->on_call == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a step in argument \"steps\" tells nobody"),
				 errhint("A step has channels, on_call (the name of an on-call schedule), or both.")));
	wait = pipeline_jsonb_key(json, "wait");
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(wait ? wait : "15 minutes"),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	step->wait = interval->time + ((int64) interval->month * DAYS_PER_MONTH + interval->day) * USECS_PER_DAY;
	if (step->wait < USECS_PER_SEC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"wait\" in argument \"steps\" must be at least a second"),
				 errdetail("It is %s.", wait),
				 errhint("It says how long to wait for an acknowledgement before the next step; tell several at once in one step.")));
	return step;
}

/* Read steps, of EscalationStep; 22023 if they cannot be read. */
List *
pipeline_steps_parse(const Jsonb *steps)
{
	List	   *list = NIL;

	if (JB_ROOT_IS_ARRAY(steps) && !JB_ROOT_IS_SCALAR(steps))
	{
		for (uint32 i = 0; i < JB_ROOT_COUNT(steps); i++)
			list = lappend(list, read_step(JsonbValueToJsonb(getIthJsonbValueFromContainer(unconstify(JsonbContainer *, &steps->root), i))));
	}
	if (list == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"steps\" must be a JSON array with at least one step"),
				 errhint("For example: [{\"on_call\": \"primary\", \"wait\": \"10 minutes\"}, {\"channels\": [\"manager\"]}].")));
	return list;
}

/* The channels, or the on-call schedules, that steps name, each once. */
static List *
named_in(const List *steps, bool channels)
{
	List	   *names = NIL;
	const ListCell *ls;
	ListCell   *lc;

	foreach(ls, steps)
	{
		const EscalationStep *step = lfirst(ls);

		if (channels)
			foreach(lc, step->channels)
			{
				if (!pipeline_list_has(names, lfirst(lc)))
					names = lappend(names, lfirst(lc));
			}
		else if (step->on_call && !pipeline_list_has(names, step->on_call))
			names = lappend(names, step->on_call);
	}
	return names;
}

/* ---- use -------------------------------------------------------------------------------- */

/* Raise 42704 or 42501 unless `owner` may name an object of that kind. */
static void
check_named(bool found, bool usable, const char *kind, const char *name, Oid owner,
			const char *grant)
{
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s \"%s\" does not exist", kind, name),
				 errhint("Create it first.")));
	if (!usable)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for %s \"%s\"", kind, name),
				 errdetail("Role \"%s\" neither owns it nor was granted it.", GetUserNameFromId(owner, false)),
				 errhint("Its owner can grant it: pipeline.%s().", grant)));
}

/* Raise 42704 or 42501 unless a route of `owner` may name the escalation. */
void
pipeline_check_escalation(const char *name, Oid owner)
{
	UserScope	scope;
	bool		found;

	pipeline_extension_begin(&scope);
	found = pipeline_sql("SELECT 1 FROM pipeline.escalations WHERE name = $1 FOR KEY SHARE",
						 SPI_OK_SELECT, sql_text(name)) > 0;
	check_named(found, found && pipeline_escalation_usable_by(name, owner), "escalation", name, owner,
				"grant_escalation");
	pipeline_scope_end(&scope);
}

static void
check_on_calls(const List *names, Oid owner)
{
	UserScope	scope;
	const ListCell *lc;

	pipeline_extension_begin(&scope);
	foreach(lc, names)
	{
		bool		found = pipeline_sql("SELECT 1 FROM pipeline.on_calls WHERE name = $1 FOR KEY SHARE",
										 SPI_OK_SELECT, sql_text(lfirst(lc))) > 0;

		check_named(found, found && pipeline_on_call_usable_by(lfirst(lc), owner), "on-call schedule",
					lfirst(lc), owner, "grant_on_call");
	}
	pipeline_scope_end(&scope);
}

/*
 * An escalation that what belongs to `user` may use; NULL if there is none.
 * Inside the scope of the extension.
 */
Escalation *
pipeline_escalation_find(const char *name, Oid user)
{
	Escalation *escalation = palloc0(sizeof(Escalation));
	bool		isnull;

	if (!pipeline_escalation_usable_by(name, user) ||
		pipeline_sql("SELECT owner::oid, steps, repeats FROM pipeline.escalations WHERE name = $1",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		return NULL;
	escalation->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	escalation->name = pstrdup(name);
	escalation->steps = pipeline_steps_parse(DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull)));
	escalation->repeats = (int) pipeline_sql_int8(0, 3);
	return escalation;
}

/* ---- SQL -------------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(pipeline_create_escalation);

/* SQL: create_escalation(name, steps, repeats, labels, or_replace, description) */
Datum
pipeline_create_escalation(PG_FUNCTION_ARGS)
{
	char	   *name;
	List	   *steps;
	Jsonb	   *before = NULL;
	Oid			owner = GetUserId();

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "steps");
	pipeline_not_null(fcinfo, 2, "repeats");
	pipeline_not_null(fcinfo, 4, "or_replace");
	name = pipeline_arg_text(fcinfo, 0);
	pipeline_check_name("escalation", name);
	steps = pipeline_steps_parse(PG_GETARG_JSONB_P(1));
	if (PG_GETARG_INT32(2) < 0 || PG_GETARG_INT32(2) > 100)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"repeats\" must be from 0 to 100"),
				 errdetail("It is %d.", PG_GETARG_INT32(2))));
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 3), "labels");

	SPI_connect();
	if (PG_GETARG_BOOL(4))
		before = pipeline_object_lock(&escalation_object, name, false, &owner);
	pipeline_check_channels(named_in(steps, true), owner, "steps");
	check_on_calls(named_in(steps, false), owner);
	{
		const SqlArg args[] = {
			sql_text(name), sql_role(owner), sql_jsonb(PG_GETARG_JSONB_P(1)),
			sql_int4(PG_GETARG_INT32(2)), sql_array(pipeline_list_array(named_in(steps, true))),
			sql_array(pipeline_list_array(named_in(steps, false))),
			sql_jsonb(pipeline_arg_jsonb(fcinfo, 3)), sql_text(pipeline_arg_text(fcinfo, 5))
		};

		pipeline_object_write(&escalation_object, name, before,
							  "INSERT INTO pipeline.escalations AS e (name, owner, steps, repeats, channels, on_calls, labels, description)"
							  " VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, '{}'), $8)"
							  " ON CONFLICT (name) DO UPDATE SET (steps, repeats, channels, on_calls, labels, description) ="
							  "  (excluded.steps, excluded.repeats, excluded.channels, excluded.on_calls, excluded.labels,"
							  "   excluded.description)"
							  " WHERE $9 RETURNING to_jsonb(e)", lengthof(args), args);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_escalation);

/* SQL: drop_escalation(name) */
Datum
pipeline_drop_escalation(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	(void) pipeline_object_lock(&escalation_object, name, true, NULL);
	pipeline_extension_begin(&scope);
	pipeline_check_unnamed(pipeline_sql("SELECT 'route', name, owner::oid FROM pipeline.routes WHERE escalation = $1 ORDER BY name",
										SPI_OK_SELECT, sql_text(name)),
						   &escalation_object, name, scope.userid, pipeline_escalation_usable_by, "revoke_escalation");
	pipeline_scope_end(&scope);
	(void) pipeline_object_drop(&escalation_object, name);
	SPI_finish();
	PG_RETURN_VOID();
}
