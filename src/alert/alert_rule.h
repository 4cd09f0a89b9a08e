/*
 * alert_rule.h
 *	  Rules, for the files of the alert room.
 */
#ifndef PIPELINE_ALERT_RULE_H
#define PIPELINE_ALERT_RULE_H

#include "alert/alert_state.h"

/* Rules that may have more alerts are no rules. */
#define RULE_MOST_ALERTS 1000

/* A rule as it is evaluated. */
typedef struct Rule
{
	char	   *name;
	Oid			owner;
	char	   *query;
	char	   *search_path;
	char	   *severity;		/* or {{column}} */
	Jsonb	   *annotations;
	ArrayType  *label_columns;
	Jsonb	   *labels;
	int			max_alerts;
	int64		timeout_ms;
	TimestampTz changed_at;
} Rule;

/* What the columns of a rule say is selected so, in this order. */
#define RULE_COLUMNS \
	"r.name, r.owner::oid, r.query, r.search_path, r.severity, r.annotations, r.label_columns, r.labels," \
	" r.max_alerts, (extract(epoch FROM r.timeout) * 1000)::bigint, r.changed_at"

/* One that it found. */
typedef struct RuleAlert
{
	Jsonb	   *labels;			/* of the rule and of the row */
	Jsonb	   *row;			/* the columns, as text */
	Jsonb	   *annotations;
	char	   *severity;
	char	   *summary;
} RuleAlert;

/* alert_rule.c */
extern Rule *pipeline_rule_of_row(uint64 row);

/* alert_rule_template.c: {{column}} in texts. */
extern char *pipeline_template_expand(const char *text, TupleDesc columns,
									  char *const *values);
extern void pipeline_template_check(const char *text, TupleDesc columns,
									const char *what);

/* alert_rule_eval.c: the rows of a rule's query as alerts. */
extern List *pipeline_rule_evaluate(const Rule *rule);
extern void pipeline_rule_check_query(const Rule *rule);

/* alert_rule_record.c: what becomes of them. */
extern void pipeline_rule_record(const Rule *rule, const List *alerts,
								 TimestampTz at, double ms);
extern void pipeline_rule_failed(const char *rule, const char *error,
								 double ms);
extern void pipeline_rule_forget_alerts(const char *rule);

/*
 * Mind the rules: start workers for those that are due.  For the notifier:
 * inside its transaction, an SPI connection and the scope of the extension.
 * Returns milliseconds until it is to be called again, unless its latch is
 * set before: it is, when a worker ends; or -1.
 */
extern long pipeline_rules_mind(void);

extern PGDLLEXPORT void pipeline_rule_worker_main(Datum arg);

#endif							/* PIPELINE_ALERT_RULE_H */
