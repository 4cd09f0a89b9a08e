/*
 * trigger.c
 *	  Trigger rules: when a task runs, by what became of the tasks before it.
 *
 * The rules are Airflow's (ti_deps/deps/trigger_rule_dep), with one
 * difference: all_success skips only when every predecessor has ended, so that
 * the outcome does not depend on their order.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "runner/runner.h"

const char *const runner_trigger_rules[] = {
	"all_success", "all_failed", "all_done", "one_success", "one_failed",
	"one_done", "none_failed", "none_failed_min_one_success", "none_skipped",
	"all_skipped", "always", NULL
};

/*
 * The state of a waiting task: waiting, ready, upstream_failed or skipped,
 * with so many predecessors that have not ended, and that ended in each way.
 */
const char *
runner_trigger_state(const char *rule, int pending, int succeeded, int failed,
					 int skipped)
{
	if (strcmp(rule, "all_success") == 0)
		return failed > 0 ? "upstream_failed" : pending > 0 ? "waiting" :
			skipped > 0 ? "skipped" : "ready";
	if (strcmp(rule, "all_failed") == 0)
		return succeeded > 0 || skipped > 0 ? "skipped" : pending > 0 ? "waiting" : "ready";
	if (strcmp(rule, "all_done") == 0)
		return pending > 0 ? "waiting" : "ready";
	if (strcmp(rule, "one_success") == 0)
		return succeeded > 0 ? "ready" : pending > 0 ? "waiting" :
			failed > 0 ? "upstream_failed" : "skipped";
	if (strcmp(rule, "one_failed") == 0)
		return failed > 0 ? "ready" : pending > 0 ? "waiting" : "skipped";
	if (strcmp(rule, "one_done") == 0)
		return succeeded > 0 || failed > 0 ? "ready" : pending > 0 ? "waiting" : "skipped";
	if (strcmp(rule, "none_failed") == 0)
		return failed > 0 ? "upstream_failed" : pending > 0 ? "waiting" : "ready";
	if (strcmp(rule, "none_failed_min_one_success") == 0)
		return failed > 0 ? "upstream_failed" : pending > 0 ? "waiting" :
			succeeded > 0 ? "ready" : "skipped";
	if (strcmp(rule, "none_skipped") == 0)
		return skipped > 0 ? "skipped" : pending > 0 ? "waiting" : "ready";
	if (strcmp(rule, "all_skipped") == 0)
		return succeeded > 0 || failed > 0 ? "skipped" : pending > 0 ? "waiting" : "ready";
	if (strcmp(rule, "always") == 0)
		return "ready";
	elog(ERROR, "unknown trigger rule \"%s\"", rule);
	return NULL;
}

/*
 * Can one more success, and nothing else, only leave the task waiting or make
 * it ready?  So it is where every predecessor that has ended has succeeded,
 * but for the rules that a success decides against.
 */
bool
runner_trigger_is_simple(const char *rule, int failed, int skipped)
{
	return failed == 0 && skipped == 0 &&
		strcmp(rule, "all_failed") != 0 && strcmp(rule, "one_failed") != 0 &&
		strcmp(rule, "all_skipped") != 0;
}

PG_FUNCTION_INFO_V1(pipeline_trigger_state);

/* SQL: _trigger_state(trigger_rule, pending, succeeded, failed, skipped) */
Datum
pipeline_trigger_state(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(runner_trigger_state(text_to_cstring(PG_GETARG_TEXT_PP(0)),
														  PG_GETARG_INT32(1), PG_GETARG_INT32(2),
														  PG_GETARG_INT32(3), PG_GETARG_INT32(4))));
}
