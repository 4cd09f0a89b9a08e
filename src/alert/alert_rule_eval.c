/*
 * alert_rule_eval.c
 *	  The rows of a rule's query as alerts.
 *
 * All of it is done as whoever may run the query, in the current transaction
 * and with the search_path of the rule set by the caller; nothing of ours is
 * written here.  Values are taken as their types write them, and clipped:
 * they are for people and for labels.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "alert/alert_rule.h"

/* Bytes of a value that are kept. */
#define MOST_VALUE 1000
#define MOST_LABEL 200

static const char *const severities[] = {"info", "warning", "error", "critical", NULL};

static char *
clip(char *text, int limit)
{
	int			len = strlen(text);

	if (len > limit)
		text[pg_mbcliplen(text, len, limit)] = '\0';
	return text;
}

/* The values of row `row` of the last result, as text. */
static char **
row_values(uint64 row, TupleDesc columns)
{
	char	  **values = palloc0_array(char *, columns->natts + 1);

	for (int i = 0; i < columns->natts; i++)
	{
		values[i] = SPI_getvalue(SPI_tuptable->vals[row], columns, i + 1);
		if (values[i])
			clip(values[i], MOST_VALUE);
	}
	return values;
}

static Jsonb *
row_jsonb(TupleDesc columns, char **values)
{
	const char **keys = palloc_array(const char *, columns->natts + 1);

	for (int i = 0; i < columns->natts; i++)
		keys[i] = NameStr(TupleDescAttr(columns, i)->attname);
	return pipeline_jsonb_object(columns->natts, keys, (const char *const *) values);
}

/* The labels of a row over those of the rule; a NULL is a label that is not there. */
static Jsonb *
row_labels(const Rule *rule, TupleDesc columns, char **values)
{
	List	   *names = pipeline_array_list(rule->label_columns, "label_columns");
	int			n = list_length(names);
	const char **keys = palloc_array(const char *, n + 1);
	const char **texts = palloc_array(const char *, n + 1);

	for (int i = 0; i < n; i++)
	{
		int			column = SPI_fnumber(columns, list_nth(names, i));

		if (column <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" does not exist in the query of the rule",
							(char *) list_nth(names, i))));
		keys[i] = list_nth(names, i);
		texts[i] = values[column - 1] ? clip(pstrdup(values[column - 1]), MOST_LABEL) : NULL;
	}
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(rule->labels),
											  JsonbPGetDatum(pipeline_jsonb_object(n, keys, texts))));
}

static Jsonb *
expand_annotations(const Jsonb *annotations, TupleDesc columns, char **values)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &annotations->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	List	   *keys = NIL;
	List	   *texts = NIL;
	const char **key_array;
	const char **text_array;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			keys = lappend(keys, pnstrdup(v.val.string.val, v.val.string.len));
		else if (token == WJB_VALUE)
			texts = lappend(texts, pipeline_template_expand(pnstrdup(v.val.string.val, v.val.string.len),
															columns, values));
	}
	key_array = palloc_array(const char *, list_length(keys) + 1);
	text_array = palloc_array(const char *, list_length(keys) + 1);
	for (int i = 0; i < list_length(keys); i++)
	{
		key_array[i] = list_nth(keys, i);
		text_array[i] = list_nth(texts, i);
	}
	return pipeline_jsonb_object(list_length(keys), key_array, text_array);
}

/* The summary on one line: of the annotations, or made of the labels. */
static char *
summary_of(const Rule *rule, RuleAlert *alert)
{
	char	   *summary = pipeline_jsonb_key(alert->annotations, "summary");

	if (summary == NULL || summary[0] == '\0')
	{
		summary = psprintf("rule \"%s\"", rule->name);
		if (ARR_NDIM(rule->label_columns) > 0)
			summary = psprintf("%s: %s", summary,
							   JsonbToCString(NULL, &alert->labels->root, VARSIZE(alert->labels)));
	}
	for (char *c = summary; *c; c++)
	{
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
	return clip(summary, MOST_VALUE);
}

/* What a row of the query means; allocated in the current context. */
static RuleAlert *
alert_of_row(const Rule *rule, uint64 row, TupleDesc columns)
{
	RuleAlert  *alert = palloc0_object(RuleAlert);
	char	  **values = row_values(row, columns);

	alert->labels = row_labels(rule, columns, values);
	alert->row = row_jsonb(columns, values);
	alert->annotations = expand_annotations(rule->annotations, columns, values);
	alert->severity = pipeline_template_expand(rule->severity, columns, values);
	alert->summary = summary_of(rule, alert);
	pipeline_check_choice("severity", alert->severity, severities);
	return alert;
}

static bool
same_labels(const List *alerts, const RuleAlert *alert)
{
	ListCell   *lc;

	foreach(lc, alerts)
	{
		if (compareJsonbContainers(&((RuleAlert *) lfirst(lc))->labels->root, &alert->labels->root) == 0)
			return true;
	}
	return false;
}

/*
 * Run the query of a rule; returns a list of RuleAlert, in the context of the
 * caller.  Rows with the labels of an earlier one say nothing new.  Raises
 * 54000 when there are more than the rule may have, and whatever the query
 * raises.  Opens an SPI connection.
 */
List *
pipeline_rule_evaluate(const Rule *rule)
{
	MemoryContext context = CurrentMemoryContext;
	bool		one = ARR_NDIM(rule->label_columns) == 0;
	List	   *alerts = NIL;
	Source	   *source;
	char	   *sql;
	uint64		n;

	SPI_connect();
	source = pipeline_source(rule->query, "query");
	/* LIMIT and not a count: so that the plan may be parallel. */
	sql = psprintf("SELECT * FROM %s AS rule LIMIT %d", source->from, one ? 1 : rule->max_alerts + 1);
	n = pipeline_sql_generated(sql, SPI_OK_SELECT, true);
	if (!one && n > (uint64) rule->max_alerts)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the query returned more than %d rows", rule->max_alerts),
				 errdetail("Each would be an alert."),
				 errhint("Group them in the query, or raise max_alerts.")));
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		RuleAlert  *alert = alert_of_row(rule, i, SPI_tuptable->tupdesc);

		if (!same_labels(alerts, alert))
			alerts = lappend(alerts, alert);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return alerts;
}

/* ---- at definition ------------------------------------------------------------- */

static void
check_annotations(const Rule *rule, TupleDesc columns)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(rule->annotations))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"annotations\" must be a JSON object"),
				 errhint("Annotations are strings by name, such as {\"summary\": \"only {{boxes}} boxes in {{branch}}\"}.")));
	it = JsonbIteratorInit((JsonbContainer *) &rule->annotations->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && v.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("annotation \"%s\" is not a string", key)));
		else if (token == WJB_VALUE)
			pipeline_template_check(pnstrdup(v.val.string.val, v.val.string.len), columns,
									psprintf("annotation \"%s\"", key));
	}
}

/* Label columns are columns of the query, and their names those of labels. */
static void
check_label_columns(const Rule *rule, const Source *source)
{
	List	   *names = pipeline_array_list(rule->label_columns, "label_columns");
	ListCell   *lc;

	foreach(lc, names)
	{
		const char *name = lfirst(lc);

		(void) pipeline_source_column(source, name, "label_columns");
		pipeline_check_labels(pipeline_jsonb_object(1, &name, (const char *[]) {""}), "label_columns");
		if (strcmp(name, "alertname") == 0 || strcmp(name, "severity") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot be in argument \"label_columns\"", name),
					 errhint("The label alertname is the name of the rule; severity => '{{%s}}' takes the severity from a column.", name)));
	}
}

/*
 * Raise an error unless the query is a source and what the rule says of its
 * columns is so; as the current user and with his search_path.
 */
void
pipeline_rule_check_query(const Rule *rule)
{
	Source	   *source = pipeline_source(rule->query, "query");

	check_label_columns(rule, source);
	check_annotations(rule, source->columns);
	if (strstr(rule->severity, "{{") == NULL)
		pipeline_check_choice("severity", rule->severity, severities);
	else
		pipeline_template_check(rule->severity, source->columns, "argument \"severity\"");
}
