/*
 * alert_sla_targets.c
 *	  create_sla_target and drop_sla_target.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "alert/alert_state.h"

/* The definition of a target, or NULL; raises 42501 for someone else's. */
static Jsonb *
own_target(const char *name)
{
	UserScope	scope;
	bool		isnull;
	Oid			owner;
	Jsonb	   *definition;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, to_jsonb(t) FROM pipeline.sla_targets t WHERE name = $1 FOR UPDATE",
					 SPI_OK_SELECT, sql_text(name)) == 0)
	{
		pipeline_scope_end(&scope);
		return NULL;
	}
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	definition = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "SLA target", name);
	return definition;
}

static void
already_exists(const char *name, Oid owner, const char *severity)
{
	char	   *other = NULL;

	if (pipeline_sql("SELECT name FROM pipeline.sla_targets WHERE owner = $1 AND severity = $2 AND name <> $3",
					 SPI_OK_SELECT, sql_role(owner), sql_text(severity), sql_text(name)) > 0)
		other = pipeline_sql_text(0, 1);
	if (other)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("there is an SLA target for severity \"%s\" already: \"%s\"", severity, other),
				 errhint("Alter or drop that one.")));
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("SLA target \"%s\" already exists", name),
			 errhint("Use or_replace => true to replace it, if it is yours.")));
}

/* One of the times, checked; NULL if it is not given. */
static Interval *
positive_interval(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Interval	zero = {0};
	Interval   *interval;

	if (PG_ARGISNULL(argument))
		return NULL;
	interval = PG_GETARG_INTERVAL_P(argument);
	if (pipeline_compare_intervals(interval, &zero) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is not above zero", name),
				 errdetail("It is %s.", DatumGetCString(DirectFunctionCall1(interval_out,
																			 IntervalPGetDatum(interval)))),
				 errhint("NULL promises nothing.")));
	return interval;
}

PG_FUNCTION_INFO_V1(pipeline_create_sla_target);

/* SQL: create_sla_target(...) */
Datum
pipeline_create_sla_target(PG_FUNCTION_ARGS)
{
	static const char *const severities[] = {"info", "warning", "error", "critical", NULL};
	static const char *const names[] = {"acknowledge_within", "resolve_within", "review_within"};
	char	   *name;
	char	   *severity;
	Interval   *within[3];
	double		warn_at;
	UserScope	scope;
	Jsonb	   *before;
	uint64		n;
	bool		isnull;
	Oid			owner = GetUserId();

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "severity");
	pipeline_not_null(fcinfo, 5, "warn_at");
	pipeline_not_null(fcinfo, 7, "or_replace");
	name = pipeline_arg_text(fcinfo, 0);
	severity = pipeline_arg_text(fcinfo, 1);
	warn_at = PG_GETARG_FLOAT8(5);
	pipeline_check_name("SLA target", name);
	pipeline_check_choice("severity", severity, severities);
	for (int i = 0; i < 3; i++)
		within[i] = positive_interval(fcinfo, i + 2, names[i]);
	if (!within[0] && !within[1] && !within[2])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("SLA target \"%s\" promises nothing", name),
				 errhint("Give at least one of the arguments acknowledge_within, resolve_within and review_within.")));
	if (!(warn_at > 0 && warn_at <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"warn_at\": %g", warn_at),
				 errhint("Give the part of the time after which it is near: above 0, at most 1.")));
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 6), "labels");

	SPI_connect();
	before = PG_GETARG_BOOL(7) ? own_target(name) : NULL;
	pipeline_extension_begin(&scope);
	if (before != NULL)
	{
		owner = get_role_oid(pipeline_jsonb_key(before, "owner"), false);
		if (pipeline_sql("SELECT 1 FROM pipeline.sla_targets WHERE owner = $1 AND severity = $2 AND name <> $3",
						 SPI_OK_SELECT, sql_role(owner), sql_text(severity), sql_text(name)) > 0)
			already_exists(name, owner, severity);
		n = pipeline_sql("UPDATE pipeline.sla_targets t SET severity = $2, acknowledge_within = $3, resolve_within = $4,"
						 "   review_within = $5, warn_at = $6, labels = coalesce($7, '{}'), description = $8"
						 " WHERE name = $1 RETURNING to_jsonb(t)", SPI_OK_UPDATE_RETURNING,
						 sql_text(name), sql_text(severity), sql_interval(within[0]), sql_interval(within[1]),
						 sql_interval(within[2]), sql_float8(warn_at), sql_jsonb(pipeline_arg_jsonb(fcinfo, 6)),
						 sql_text(pipeline_arg_text(fcinfo, 8)));
	}
	else
		n = pipeline_sql("INSERT INTO pipeline.sla_targets AS t (name, severity, acknowledge_within, resolve_within,"
						 "   review_within, warn_at, labels, description, owner)"
						 " VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, '{}'), $8, $9)"
						 " ON CONFLICT DO NOTHING RETURNING to_jsonb(t)", SPI_OK_INSERT_RETURNING,
						 sql_text(name), sql_text(severity), sql_interval(within[0]), sql_interval(within[1]),
						 sql_interval(within[2]), sql_float8(warn_at), sql_jsonb(pipeline_arg_jsonb(fcinfo, 6)),
						 sql_text(pipeline_arg_text(fcinfo, 8)), sql_role(owner));
	if (n == 0)
		already_exists(name, owner, severity);
	pipeline_record_change("create_sla_target", "sla_target", name, before,
						   DatumGetJsonbP(pipeline_sql_datum(0, 1, &isnull)), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_sla_target);

/* SQL: drop_sla_target(name) */
Datum
pipeline_drop_sla_target(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	before = own_target(name);
	if (before == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SLA target \"%s\" does not exist", name),
				 errhint("The table pipeline.sla_targets lists yours.")));
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.sla_targets WHERE name = $1", SPI_OK_DELETE, sql_text(name));
	pipeline_record_change("drop_sla_target", "sla_target", name, before, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}
