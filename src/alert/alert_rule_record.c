/*
 * alert_rule_record.c
 *	  What becomes of what a rule has found:
 *
 *		(no row) -> pending -> firing <-> keep_firing -> (no row)
 *
 * A row of rule_alerts is pending until it has been found for for_interval;
 * then its alert is raised, and again each time, so that it says what is so
 * now and fires again when its acknowledgement has run out.  When it is found
 * no more the alert is resolved, at once or after keep_firing_for.
 *
 * An evaluation that failed says nothing about anything: all stays as it is,
 * but for the alert RuleFailed.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "alert/alert_rule.h"

/* One that takes longer than its interval pauses for as long all the same. */
#define NOT_AT_ONCE \
	"next_at = CASE WHEN s.next_at > clock_timestamp() THEN s.next_at ELSE clock_timestamp() + r.evaluation_interval END"

static char *
source_of(const char *rule)
{
	return psprintf("rule/%s", rule);
}

/*
 * Lock a rule if it still is as it was evaluated (changed_at 0: at all).
 * Dropping and replacing it waits until we are done.
 */
static bool
lock_rule(const char *rule, TimestampTz changed_at)
{
	return pipeline_sql("SELECT 1 FROM pipeline.rules WHERE name = $1 AND ($2 IS NULL OR changed_at = $2) FOR NO KEY UPDATE",
						SPI_OK_SELECT, sql_text(rule),
						sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(changed_at), changed_at == 0)) > 0;
}

/* Raise the alert of one; returns its id. */
static int64
fire(const Rule *rule, const RuleAlert *alert, const char *fingerprint)
{
	AlertSpec	spec = {
		.owner = rule->owner,
		.alertname = rule->name,
		.summary = alert->summary,
		.severity = alert->severity,
		.source = source_of(rule->name),
		.labels = alert->labels
	};
	bool		isnull;

	pipeline_sql("SELECT jsonb_build_object('annotations', $1::jsonb, 'row', $2::jsonb)", SPI_OK_SELECT,
				 sql_jsonb(alert->annotations), sql_jsonb(alert->row));
	spec.detail = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	return pipeline_alert_raise(&spec, fingerprint);
}

/* One that the query returned at `at`. */
static void
found(const Rule *rule, const RuleAlert *alert, TimestampTz at)
{
	char	   *fingerprint;
	bool		firing;

	pipeline_sql("INSERT INTO pipeline.rule_alerts AS a (rule, fingerprint, owner, labels, state, since, last_seen, summary)"
				 " VALUES ($1, left(encode(sha256(convert_to(jsonb_build_array($1, $3::jsonb)::text, getdatabaseencoding())), 'hex'), 32),"
				 "   $2, $3, 'pending', $4, $4, $5)"
				 " ON CONFLICT (rule, fingerprint) DO UPDATE SET last_seen = $4, summary = $5,"
				 "   state = CASE a.state WHEN 'keep_firing' THEN 'firing' ELSE a.state END"
				 " RETURNING a.fingerprint, a.state <> 'pending' OR a.since + (SELECT r.for_interval FROM pipeline.rules r WHERE r.name = $1) <= $4",
				 SPI_OK_INSERT_RETURNING, sql_text(rule->name), sql_role(rule->owner),
				 sql_jsonb(alert->labels), sql_time(at), sql_text(alert->summary));
	fingerprint = pipeline_sql_text(0, 1);
	firing = pipeline_sql_bool(0, 2);
	if (firing)
		pipeline_sql("UPDATE pipeline.rule_alerts SET state = 'firing', alert_id = $3"
					 " WHERE rule = $1 AND fingerprint = $2", SPI_OK_UPDATE,
					 sql_text(rule->name), sql_text(fingerprint),
					 sql_int8(fire(rule, alert, fingerprint)));
}

/* Resolve the alerts in column 1 of the last result. */
static void
resolve_result(uint64 n)
{
	int64	   *ids = palloc_array(int64, n + 1);

	for (uint64 i = 0; i < n; i++)
		ids[i] = pipeline_sql_int8(i, 1);
	for (uint64 i = 0; i < n; i++)
		(void) pipeline_alert_resolve(ids[i]);
}

/* Those that the query did not return at `at`. */
static void
not_found(const Rule *rule, TimestampTz at)
{
	pipeline_sql("DELETE FROM pipeline.rule_alerts WHERE rule = $1 AND last_seen < $2 AND state = 'pending'",
				 SPI_OK_DELETE, sql_text(rule->name), sql_time(at));
	pipeline_sql("UPDATE pipeline.rule_alerts a SET state = 'keep_firing' FROM pipeline.rules r"
				 " WHERE a.rule = $1 AND r.name = $1 AND a.last_seen < $2 AND a.last_seen + r.keep_firing_for > $2",
				 SPI_OK_UPDATE, sql_text(rule->name), sql_time(at));
	resolve_result(pipeline_sql("DELETE FROM pipeline.rule_alerts a USING pipeline.rules r"
								" WHERE a.rule = $1 AND r.name = $1 AND a.last_seen < $2 AND a.last_seen + r.keep_firing_for <= $2"
								" RETURNING a.alert_id", SPI_OK_DELETE_RETURNING,
								sql_text(rule->name), sql_time(at)));
}

/*
 * Record what an evaluation that began at `at` has found, unless the rule was
 * changed meanwhile.
 */
void
pipeline_rule_record(const Rule *rule, const List *alerts, TimestampTz at,
					 double ms)
{
	UserScope	scope;
	ListCell   *lc;

	SPI_connect();
	pipeline_extension_begin(&scope);
	if (lock_rule(rule->name, rule->changed_at))
	{
		pipeline_sql("UPDATE pipeline.rule_states s SET evaluated_at = clock_timestamp(), ms = $2, alerts = $3,"
					 "   error = NULL, failures = 0, unfinished = 0, pid = NULL, " NOT_AT_ONCE
					 " FROM pipeline.rules r WHERE s.rule = $1 AND r.name = $1", SPI_OK_UPDATE,
					 sql_text(rule->name), sql_float8(ms), sql_int4(list_length(alerts)));
		(void) pipeline_resolve_alerts(rule->owner, "RuleFailed", source_of(rule->name));
		foreach(lc, alerts)
			found(rule, lfirst(lc), at);
		not_found(rule, at);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
}

/* Record that a rule could not be evaluated, and raise its alert. */
void
pipeline_rule_failed(const char *rule, const char *error, double ms)
{
	UserScope	scope;
	AlertSpec	spec = {.alertname = "RuleFailed",.severity = "error",.source = source_of(rule)};
	bool		isnull;

	SPI_connect();
	pipeline_extension_begin(&scope);
	if (lock_rule(rule, 0) &&
		pipeline_sql("UPDATE pipeline.rule_states s SET evaluated_at = clock_timestamp(), ms = $3,"
					 "   error = left($2, 2000), failures = s.failures + 1, unfinished = 0, pid = NULL, " NOT_AT_ONCE
					 " FROM pipeline.rules r WHERE s.rule = $1 AND r.name = $1 RETURNING r.owner::oid, r.labels",
					 SPI_OK_UPDATE_RETURNING, sql_text(rule), sql_text(error), sql_float8(ms)) > 0)
	{
		spec.owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
		spec.labels = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
		spec.summary = psprintf("rule \"%s\" could not be evaluated: %s", rule, error);
		if (strlen(spec.summary) > 1000)
			spec.summary = pnstrdup(spec.summary, pg_mbcliplen(spec.summary, strlen(spec.summary), 1000));
		spec.detail = pipeline_jsonb_object(2, (const char *[]) {"rule", "error"},
											(const char *[]) {rule, error});
		(void) pipeline_alert_raise(&spec, psprintf("RuleFailed: %s", rule));
	}
	pipeline_scope_end(&scope);
	SPI_finish();
}

/* The rule is dropped or disabled: resolve what it has raised. */
void
pipeline_rule_forget_alerts(const char *rule)
{
	bool		isnull;

	resolve_result(pipeline_sql("WITH gone AS (DELETE FROM pipeline.rule_alerts WHERE rule = $1 RETURNING alert_id)"
								" SELECT alert_id FROM gone WHERE alert_id IS NOT NULL ORDER BY 1", SPI_OK_SELECT,
								sql_text(rule)));
	if (pipeline_sql("SELECT owner::oid FROM pipeline.rules WHERE name = $1", SPI_OK_SELECT, sql_text(rule)) > 0)
		(void) pipeline_resolve_alerts(DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull)), "RuleFailed",
									   source_of(rule));
}
