/*
 * alert_message.c
 *	  The message of a notification, from jsonb to a struct that the kinds of
 *	  channels write from.
 */
#include "postgres.h"

#include "alert/alert_render.h"

static const char *
or_else(char *value, const char *other)
{
	return value ? value : other;
}

/* The object under a key; an empty one when there is none. */
static Jsonb *
object_key(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 key, strlen(key), &buf);

	if (v == NULL || v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return pipeline_jsonb_object(0, NULL, NULL);
	return JsonbValueToJsonb(v);
}

static int64
number_key(const Jsonb *object, const char *key)
{
	char	   *text = pipeline_jsonb_key(object, key);

	return text ? strtoll(text, NULL, 10) : 0;
}

static bool
true_key(const Jsonb *object, const char *key)
{
	char	   *text = pipeline_jsonb_key(object, key);

	return text != NULL && strcmp(text, "true") == 0;
}

static MessageAlert *
read_alert(Jsonb *object)
{
	MessageAlert *a = palloc0_object(MessageAlert);

	a->alert_id = number_key(object, "alert_id");
	a->fingerprint = pstrdup(or_else(pipeline_jsonb_key(object, "fingerprint"), ""));
	a->alertname = pstrdup(or_else(pipeline_jsonb_key(object, "alertname"), "Alert"));
	a->severity = pstrdup(or_else(pipeline_jsonb_key(object, "severity"), "error"));
	a->state = pstrdup(or_else(pipeline_jsonb_key(object, "state"), "firing"));
	a->summary = pstrdup(or_else(pipeline_jsonb_key(object, "summary"), ""));
	a->source = pipeline_jsonb_key(object, "source");
	a->note = pipeline_jsonb_key(object, "note");
	a->owner = pstrdup(or_else(pipeline_jsonb_key(object, "owner"), ""));
	a->labels = object_key(object, "labels");
	a->detail = object_key(object, "detail");
	a->occurrences = number_key(object, "occurrences");
	a->started_at = pipeline_jsonb_key(object, "started_at");
	a->resolved_at = pipeline_jsonb_key(object, "resolved_at");
	return a;
}

static List *
read_alerts(const Jsonb *object)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 "alerts", 6, &buf);
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;
	List	   *alerts = NIL;

	if (v == NULL || v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		return NIL;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && element.type == jbvBinary &&
			JsonContainerIsObject(element.val.binary.data))
			alerts = lappend(alerts, read_alert(JsonbValueToJsonb(&element)));
	}
	return alerts;
}

static char *
escalation_text(const Jsonb *object)
{
	Jsonb	   *escalation = object_key(object, "escalation");
	char	   *step = pipeline_jsonb_key(escalation, "step");
	char	   *to = pipeline_jsonb_key(escalation, "to");

	if (step == NULL)
		return NULL;
	return psprintf("escalation step %s%s%s", step, to ? " to " : "", to ? to : "");
}

/*
 * Read a message, in the current memory context.  What is not of the form that
 * the contract names has a harmless value.
 */
Message *
pipeline_message_read(Jsonb *jsonb)
{
	Message    *m = palloc0_object(Message);
	Jsonb	   *incident = object_key(jsonb, "incident");

	m->jsonb = jsonb;
	m->firing = strcmp(or_else(pipeline_jsonb_key(jsonb, "status"), "firing"), "resolved") != 0;
	m->title = pstrdup(or_else(pipeline_jsonb_key(jsonb, "title"), ""));
	m->severity = pstrdup(or_else(pipeline_jsonb_key(jsonb, "severity"), "error"));
	m->group_labels = object_key(jsonb, "group_labels");
	m->common_labels = object_key(jsonb, "common_labels");
	m->alerts = read_alerts(jsonb);
	m->omitted = (int) number_key(jsonb, "omitted");
	m->escalation = escalation_text(jsonb);
	m->incident_id = pipeline_jsonb_key(incident, "incident_id");
	m->incident = pipeline_jsonb_key(incident, "title");
	m->muted_since = pipeline_jsonb_key(object_key(jsonb, "digest"), "muted_since");
	m->test = true_key(jsonb, "test");
	m->heartbeat = true_key(jsonb, "heartbeat");
	return m;
}

/* The same without the details of its alerts and the ends of long texts. */
static Jsonb *
without_details(const Jsonb *message)
{
	bool		isnull;

	pipeline_sql("SELECT $1 || jsonb_build_object('truncated', true, 'alerts',"
				 " (SELECT coalesce(jsonb_agg(a - 'detail' || jsonb_build_object('summary', left(a ->> 'summary', 500),"
				 "    'note', left(a ->> 'note', 500)) ORDER BY n), '[]') FROM jsonb_array_elements($1 -> 'alerts') WITH ORDINALITY e(a, n)))",
				 SPI_OK_SELECT, sql_jsonb(message));
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

/* Of labels the first 20, cut. */
#define SHORT_LABELS(labels) \
	"(SELECT coalesce(jsonb_object_agg(left(key, 100), left(value, 200)), '{}')" \
	"  FROM (SELECT * FROM jsonb_each_text(" labels ") LIMIT 20) l)"

/* The first alerts only, and of labels those that are not endless. */
static Jsonb *
first_alerts(const Jsonb *message, int most)
{
	bool		isnull;

	pipeline_sql("SELECT $1 || jsonb_build_object('group_labels', " SHORT_LABELS("$1 -> 'group_labels'") ","
				 " 'common_labels', " SHORT_LABELS("$1 -> 'common_labels'") ","
				 " 'omitted', coalesce(($1 ->> 'omitted')::int, 0) + greatest(0, jsonb_array_length($1 -> 'alerts') - $2),"
				 " 'alerts', (SELECT coalesce(jsonb_agg(a || jsonb_build_object('labels', " SHORT_LABELS("a -> 'labels'") ","
				 "    'source', left(a ->> 'source', 200), 'fingerprint', left(a ->> 'fingerprint', 200)) ORDER BY n), '[]')"
				 "   FROM jsonb_array_elements($1 -> 'alerts') WITH ORDINALITY e(a, n) WHERE n <= $2))",
				 SPI_OK_SELECT, sql_jsonb(message), sql_int4(most));
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

/*
 * The message in less: without details, then the first 10 alerts.  A kind that
 * has a limit goes through the sizes until it fits; NULL: there is no smaller.
 */
Jsonb *
pipeline_message_smaller(const Jsonb *message, int size)
{
	if (size == 0)
		return (Jsonb *) message;
	if (size == 1)
		return without_details(message);
	return size == 2 ? first_alerts(without_details(message), 10) : NULL;
}

/* How many alerts it tells of, with those that are not in the list. */
int
pipeline_message_count(const Message *m)
{
	return list_length(m->alerts) + m->omitted;
}

static const char *
event_word(const Sending *s)
{
	static const char *const words[][2] = {
		{"acknowledged", "ACKNOWLEDGED"}, {"digest", "DIGEST"},
		{"escalation", "ESCALATION"}, {"heartbeat", "HEARTBEAT"}, {"test", "TEST"},
	};

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(s->event, words[i][0]) == 0)
			return words[i][1];
	}
	return s->message->firing ? "FIRING" : "RESOLVED";
}

/* One line: "[FIRING:3] title". */
char *
pipeline_message_headline(const Sending *s)
{
	int			n = pipeline_message_count(s->message);

	return pipeline_one_line(psprintf("[%s%s] %s", event_word(s), n > 1 ? psprintf(":%d", n) : "",
									  s->message->title));
}

/* What else is to be said of all of it, on one line; or NULL. */
char *
pipeline_message_context(const Sending *s)
{
	const Message *m = s->message;
	List	   *parts = NIL;
	char	   *group = pipeline_labels_text(m->group_labels);

	if (group[0])
		parts = lappend(parts, group);
	if (m->escalation)
		parts = lappend(parts, m->escalation);
	if (m->incident)
		parts = lappend(parts, psprintf("incident %s: %s", m->incident_id ? m->incident_id : "", m->incident));
	if (m->muted_since)
		parts = lappend(parts, psprintf("held back since %s", m->muted_since));
	return parts ? pipeline_one_line(pipeline_list_join(parts, " | ")) : NULL;
}
