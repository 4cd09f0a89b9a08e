/*
 * alert_labels.c
 *	  Labels and fingerprints: what an alert is called by.
 *
 * Labels are strings by name, as in Alertmanager.  An alert's labels are those
 * of the running task, then those given, then the fixed ones that nobody can
 * fake: pipeline and task of the running task, alertname, severity.  The
 * fingerprint is a hash of everything but the severity, so that an alert that
 * gets worse stays the same alert.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/jsonb.h"

#include "alert/alert_state.h"

/* Is it a label name of Prometheus: a letter or _, then letters, digits, _? */
static bool
is_label_name(const char *name, int len)
{
	for (int i = 0; i < len; i++)
	{
		char		c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			  (i > 0 && c >= '0' && c <= '9')))
			return false;
	}
	return len > 0 && len <= 200;
}

static void
check_label(const char *argument, const char *name, int len, bool is_string)
{
	if (!is_label_name(name, len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid label name \"%.*s\" in argument \"%s\"",
						len, name, argument),
				 errhint("A label name is a letter or underscore, then letters, digits and underscores.")));
	if (!is_string)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label \"%.*s\" in argument \"%s\" is not a string",
						len, name, argument),
				 errhint("The value of a label is a JSON string.")));
}

/*
 * Raise 22023 unless `labels` (may be NULL) is an object of strings whose keys
 * are label names; the message names the argument.
 */
void
pipeline_check_labels(const Jsonb *labels, const char *argument)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *name = NULL;
	int			len = 0;

	if (labels == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(labels))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be a JSON object", argument),
				 errhint("Labels are strings by name, such as {\"team\": \"payments\"}.")));
	it = JsonbIteratorInit((JsonbContainer *) &labels->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = v.val.string.val;
			len = v.val.string.len;
		}
		else if (token == WJB_VALUE)
			check_label(argument, name, len, v.type == jbvString);
	}
}

/*
 * Return all labels of an alert and its identity: the fingerprint given, or
 * the hash.  Inside an SPI connection and the scope of the extension.
 */
void
pipeline_alert_identify(const AlertSpec *spec, const char *fingerprint,
						Jsonb **labels, char **identity)
{
	const TaskContext *task = pipeline_task_context();
	bool		isnull;

	pipeline_sql("SELECT l.labels, coalesce($8, left(encode(sha256(convert_to("
				 "   jsonb_build_array($1::text, l.labels - 'severity', $2::text)::text,"
				 "   getdatabaseencoding())), 'hex'), 32))"
				 " FROM (SELECT coalesce($3::jsonb, '{}') || coalesce($4::jsonb, '{}')"
				 "  || jsonb_strip_nulls(jsonb_build_object('pipeline', $5::text, 'task', $6::text, 'source', $9::text))"
				 "  || jsonb_build_object('alertname', $1::text, 'severity', $7::text)) AS l(labels)",
				 SPI_OK_SELECT,
				 sql_text(spec->alertname), sql_text(spec->source),
				 sql_jsonb(task ? task->labels : NULL), sql_jsonb(spec->labels),
				 sql_text(task ? task->pipeline : NULL),
				 sql_text(task ? task->task : NULL),
				 sql_text(spec->severity), sql_text(fingerprint),
				 sql_text(spec->numbered ? NULL : spec->source));
	*labels = DatumGetJsonbP(pipeline_sql_datum(0, 1, &isnull));
	*identity = pipeline_sql_text(0, 2);
}
