/*
 * alert_rule.c
 *	  create_rule, drop_rule and test_rule.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "alert/alert_notify.h"
#include "alert/alert_rule.h"

/* ---- reading one ----------------------------------------------------------------- */

static struct varlena *
copy_out(uint64 row, int column)
{
	bool		isnull;
	struct varlena *value = PG_DETOAST_DATUM(pipeline_sql_datum(row, column, &isnull));
	struct varlena *copy = SPI_palloc(VARSIZE(value));

	memcpy(copy, value, VARSIZE(value));
	return copy;
}

/*
 * A rule of a result that selects RULE_COLUMNS; it is the caller's: allocated
 * in the context of before SPI_connect().
 */
Rule *
pipeline_rule_of_row(uint64 row)
{
	Rule	   *rule = SPI_palloc(sizeof(Rule));
	bool		isnull;

	rule->name = pipeline_sql_text(row, 1);
	rule->owner = DatumGetObjectId(pipeline_sql_datum(row, 2, &isnull));
	rule->query = pipeline_sql_text(row, 3);
	rule->search_path = pipeline_sql_text(row, 4);
	rule->severity = pipeline_sql_text(row, 5);
	rule->annotations = (Jsonb *) copy_out(row, 6);
	rule->label_columns = (ArrayType *) copy_out(row, 7);
	rule->labels = (Jsonb *) copy_out(row, 8);
	rule->max_alerts = (int) pipeline_sql_int8(row, 9);
	rule->timeout_ms = pipeline_sql_int8(row, 10);
	rule->changed_at = DatumGetTimestampTz(pipeline_sql_datum(row, 11, &isnull));
	return rule;
}

/* The definition of a rule, or NULL; raises 42501 for someone else's. */
static Jsonb *
own_rule(const char *name, Oid *owner)
{
	UserScope	scope;
	bool		isnull;
	Jsonb	   *definition;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, to_jsonb(r) - 'changed_at' FROM pipeline.rules r WHERE name = $1 FOR UPDATE",
					 SPI_OK_SELECT, sql_text(name)) == 0)
	{
		pipeline_scope_end(&scope);
		return NULL;
	}
	*owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	definition = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	pipeline_scope_end(&scope);
	pipeline_check_owner(*owner, "rule", name);
	return definition;
}

static Jsonb *
own_rule_must_exist(const char *name, Oid *owner)
{
	Jsonb	   *definition = own_rule(name, owner);

	if (definition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rule \"%s\" does not exist", name),
				 errhint("The table pipeline.rules lists yours.")));
	return definition;
}

/* ---- create_rule --------------------------------------------------------------------- */

/* Raise 22023 unless the interval is between two numbers of seconds. */
static Interval *
checked_interval(FunctionCallInfo fcinfo, int argument, const char *name,
				 int64 least, int64 most)
{
	Interval   *interval = PG_GETARG_INTERVAL_P(argument);
	Interval	low = {.time = least * USECS_PER_SEC};
	Interval	high = {.time = most * USECS_PER_SEC};

	if (pipeline_compare_intervals(interval, &low) < 0 || pipeline_compare_intervals(interval, &high) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"%s\": %s", name,
						DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)))),
				 errhint("It is at least %lld and at most %lld seconds.", (long long) least, (long long) most)));
	return interval;
}

static void
check_labels(const Jsonb *labels)
{
	static const char *const ours[] = {"alertname", "severity"};

	pipeline_check_labels(labels, "labels");
	for (int i = 0; i < lengthof(ours); i++)
	{
		if (pipeline_jsonb_key(labels, ours[i]) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("label \"%s\" cannot be given in argument \"labels\"", ours[i]),
					 errhint("It is set from the rule.")));
	}
}

/* Rules run as their owner, and somebody must be able to. */
static void
check_owner_can_run(Oid owner)
{
	char	   *problem = pipeline_role_problem(owner, "rules");

	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("a rule cannot run as role \"%s\"", GetUserNameFromId(owner, false)),
				 errdetail_internal("The %s.", problem),
				 errhint("Create it as another role, with SET ROLE.")));
}

PG_FUNCTION_INFO_V1(pipeline_create_rule);

/* SQL: create_rule(...); the query is looked at with the caller's search_path. */
Datum
pipeline_create_rule(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "query", "for_interval", "severity", "annotations", "label_columns",
		"evaluation_interval", "timeout", "keep_firing_for", "max_alerts", "enabled", "labels",
	"or_replace"};
	Rule		rule = {0};
	Interval   *for_interval;
	Interval   *evaluation_interval;
	Interval   *timeout;
	Interval   *keep_firing_for;
	UserScope	scope;
	Jsonb	   *before = NULL;
	Jsonb	   *after;
	uint64		n;
	bool		isnull;

	for (int i = 0; i < lengthof(names); i++)
		pipeline_not_null(fcinfo, i, names[i]);
	rule.name = pipeline_arg_text(fcinfo, 0);
	rule.query = pipeline_arg_text(fcinfo, 1);
	rule.severity = pipeline_arg_text(fcinfo, 3);
	rule.annotations = PG_GETARG_JSONB_P(4);
	rule.label_columns = PG_GETARG_ARRAYTYPE_P(5);
	rule.max_alerts = PG_GETARG_INT32(9);
	rule.labels = PG_GETARG_JSONB_P(11);
	pipeline_check_name("rule", rule.name);
	for_interval = checked_interval(fcinfo, 2, names[2], 0, 366 * SECS_PER_DAY);
	evaluation_interval = checked_interval(fcinfo, 6, names[6], 1, 366 * SECS_PER_DAY);
	timeout = checked_interval(fcinfo, 7, names[7], 1, 600);
	keep_firing_for = checked_interval(fcinfo, 8, names[8], 0, 366 * SECS_PER_DAY);
	if (rule.max_alerts < 1 || rule.max_alerts > RULE_MOST_ALERTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"max_alerts\": %d", rule.max_alerts),
				 errhint("It is at least 1 and at most %d.", RULE_MOST_ALERTS)));
	check_labels(rule.labels);

	SPI_connect();
	rule.owner = GetUserId();
	if (PG_GETARG_BOOL(12))
		before = own_rule(rule.name, &rule.owner);
	pipeline_check_author(rule.owner, "rule", rule.name, "query");
	check_owner_can_run(rule.owner);
	pipeline_rule_check_query(&rule);

	rule.search_path = pipeline_search_path();
	pipeline_identity_mind();
	pipeline_extension_begin(&scope);
	if (before != NULL)
		n = pipeline_sql("UPDATE pipeline.rules r SET query = $2, search_path = $3, for_interval = $4, severity = $5, annotations = $6,"
						 "   label_columns = $7, evaluation_interval = $8, timeout = $9, keep_firing_for = $10, max_alerts = $11,"
						 "   enabled = $12, labels = $13, description = $14, changed_at = clock_timestamp()"
						 " WHERE name = $1 RETURNING to_jsonb(r) - 'changed_at'", SPI_OK_UPDATE_RETURNING,
						 sql_text(rule.name), sql_text(rule.query), sql_text(rule.search_path), sql_interval(for_interval),
						 sql_text(rule.severity), sql_jsonb(rule.annotations), sql_array(rule.label_columns),
						 sql_interval(evaluation_interval), sql_interval(timeout), sql_interval(keep_firing_for),
						 sql_int4(rule.max_alerts), sql_bool(PG_GETARG_BOOL(10)), sql_jsonb(rule.labels),
						 sql_text(pipeline_arg_text(fcinfo, 13)));
	else
		n = pipeline_sql("INSERT INTO pipeline.rules AS r (name, query, search_path, for_interval, severity, annotations,"
						 "   label_columns, evaluation_interval, timeout, keep_firing_for, max_alerts, enabled, labels, description, owner)"
						 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
						 " ON CONFLICT DO NOTHING RETURNING to_jsonb(r) - 'changed_at'", SPI_OK_INSERT_RETURNING,
						 sql_text(rule.name), sql_text(rule.query), sql_text(rule.search_path), sql_interval(for_interval),
						 sql_text(rule.severity), sql_jsonb(rule.annotations), sql_array(rule.label_columns),
						 sql_interval(evaluation_interval), sql_interval(timeout), sql_interval(keep_firing_for),
						 sql_int4(rule.max_alerts), sql_bool(PG_GETARG_BOOL(10)), sql_jsonb(rule.labels),
						 sql_text(pipeline_arg_text(fcinfo, 13)), sql_role(rule.owner));
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("rule \"%s\" already exists", rule.name),
				 errhint("Use or_replace => true to replace it, if it is yours.")));
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	/* Defined anew it is due, whatever went wrong before. */
	pipeline_sql("INSERT INTO pipeline.rule_states (rule, owner, next_at)"
				 " VALUES ($1, $2, CASE WHEN $3 THEN clock_timestamp() ELSE 'infinity' END)"
				 " ON CONFLICT (rule) DO UPDATE SET next_at = EXCLUDED.next_at, pid = NULL, unfinished = 0", SPI_OK_INSERT,
				 sql_text(rule.name), sql_role(rule.owner), sql_bool(PG_GETARG_BOOL(10)));
	if (!PG_GETARG_BOOL(10))
		pipeline_rule_forget_alerts(rule.name);
	pipeline_scope_end(&scope);
	pipeline_record_change("create_rule", "rule", rule.name, before, after, NULL);
	pipeline_notifier_wake_at_commit();
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_rule);

/* SQL: drop_rule(name) */
Datum
pipeline_drop_rule(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	Oid			owner;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	before = own_rule_must_exist(name, &owner);
	pipeline_extension_begin(&scope);
	pipeline_rule_forget_alerts(name);
	pipeline_sql("DELETE FROM pipeline.rules WHERE name = $1", SPI_OK_DELETE, sql_text(name));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_rule", "rule", name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- test_rule ------------------------------------------------------------------------ */

/* The rule, read as the extension; it outlives the SPI connection. */
static Rule *
load_rule(const char *name)
{
	UserScope	scope;
	Rule	   *rule;
	Oid			owner;

	SPI_connect();
	(void) own_rule_must_exist(name, &owner);
	pipeline_check_author(owner, "rule", name, "name");
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT " RULE_COLUMNS " FROM pipeline.rules r WHERE name = $1", SPI_OK_SELECT, sql_text(name));
	rule = pipeline_rule_of_row(0);
	pipeline_scope_end(&scope);
	SPI_finish();
	return rule;
}

PG_FUNCTION_INFO_V1(pipeline_test_rule);

/* SQL: test_rule(name) */
Datum
pipeline_test_rule(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	UserScope	scope;
	Rule	   *rule;
	List	   *alerts;
	ListCell   *lc;

	pipeline_not_null(fcinfo, 0, "name");
	InitMaterializedSRF(fcinfo, 0);
	rule = load_rule(pipeline_arg_text(fcinfo, 0));
	pipeline_user_begin(&scope, rule->owner, rule->search_path);
	alerts = pipeline_rule_evaluate(rule);
	pipeline_scope_end(&scope);

	foreach(lc, alerts)
	{
		RuleAlert  *alert = lfirst(lc);
		Datum		values[6];
		bool		nulls[6] = {0};
		MemoryContext context = CurrentMemoryContext;

		values[0] = JsonbPGetDatum(alert->labels);
		values[1] = CStringGetTextDatum(alert->severity);
		values[2] = CStringGetTextDatum(alert->summary);
		values[3] = JsonbPGetDatum(alert->annotations);
		nulls[4] = nulls[5] = true;
		SPI_connect();
		pipeline_extension_begin(&scope);
		if (pipeline_sql_read("SELECT state, since FROM pipeline.rule_alerts WHERE rule = $1 AND labels = $2",
							  sql_text(rule->name), sql_jsonb(alert->labels)) > 0)
		{
			char	   *state = pipeline_sql_text(0, 1);

			values[5] = pipeline_sql_datum(0, 2, &nulls[5]);
			MemoryContextSwitchTo(context);
			values[4] = CStringGetTextDatum(state);
			nulls[4] = false;
		}
		pipeline_scope_end(&scope);
		SPI_finish();
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	PG_RETURN_VOID();
}
