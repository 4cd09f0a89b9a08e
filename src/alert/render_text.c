/*
 * render_text.c
 *	  What a notification says, in full, to people: as plain text and as HTML.
 *
 * Texts of alerts are users': in HTML everything that could be markup is
 * escaped, and nothing becomes a link.
 */
#include "postgres.h"

#include "alert/render_text.h"

#define MAX_ALERTS 50
#define MAX_TEXT 1000

/* The color of a severity, and of what is over. */
static const char *
color_of(bool firing, const char *severity)
{
	if (!firing)
		return "#2e7d32";
	if (strcmp(severity, "critical") == 0)
		return "#b71c1c";
	if (strcmp(severity, "error") == 0)
		return "#d84315";
	return strcmp(severity, "warning") == 0 ? "#f9a825" : "#1565c0";
}

static char *
annotation(const MessageAlert *a, const char *name)
{
	char	   *text = pipeline_jsonb_key(a->detail, "annotations");
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &a->detail->root, "annotations", 11, &buf);

	if (text == NULL || v == NULL || v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return NULL;
	return pipeline_jsonb_key(JsonbValueToJsonb(v), name);
}

/* The lines of an alert: what, and its value; NULL values are left out. */
static List *
lines_of(const MessageAlert *a)
{
	char	   *labels = pipeline_labels_text(a->labels);
	const char *pairs[][2] = {
		{"source", pipeline_jsonb_key(a->labels, "source") ? NULL : a->source},
		{"labels", labels[0] ? labels : NULL},
		{"started", a->started_at},
		{"resolved", a->resolved_at},
		{"occurrences", a->occurrences > 1 ? psprintf(INT64_FORMAT, a->occurrences) : NULL},
		{"note", a->note},
		{"runbook", annotation(a, "runbook") ? annotation(a, "runbook") : annotation(a, "runbook_url")},
		{"description", annotation(a, "description")},
		{"alert", psprintf(INT64_FORMAT, a->alert_id)},
	};
	List	   *lines = NIL;

	for (int i = 0; i < lengthof(pairs); i++)
	{
		if (pairs[i][1] != NULL)
			lines = lappend(lappend(lines, (void *) pairs[i][0]),
							pipeline_one_line(pipeline_cut(pairs[i][1], MAX_TEXT)));
	}
	return lines;
}

/* How many alerts are not shown. */
static int
not_shown(const Message *m)
{
	return pipeline_message_count(m) - Min(list_length(m->alerts), MAX_ALERTS);
}

/* The plain text. */
char *
pipeline_message_text(const Sending *s)
{
	StringInfoData buf;
	char	   *context = pipeline_message_context(s);

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s\n", pipeline_message_headline(s));
	if (context)
		appendStringInfo(&buf, "%s\n", context);
	for (int i = 0; i < Min(list_length(s->message->alerts), MAX_ALERTS); i++)
	{
		MessageAlert *a = list_nth(s->message->alerts, i);
		List	   *lines = lines_of(a);

		appendStringInfo(&buf, "\n[%s, %s] %s\n%s\n", a->severity, a->state, pipeline_one_line(a->alertname),
						 pipeline_cut(a->summary, MAX_TEXT));
		for (int j = 0; j < list_length(lines); j += 2)
			appendStringInfo(&buf, "  %s: %s\n", (char *) list_nth(lines, j), (char *) list_nth(lines, j + 1));
	}
	if (not_shown(s->message) > 0)
		appendStringInfo(&buf, "\nand %d more\n", not_shown(s->message));
	return buf.data;
}

static void
append_html(StringInfo buf, const char *text)
{
	for (const char *c = text; *c; c++)
	{
		switch (*c)
		{
			case '&':
				appendStringInfoString(buf, "&amp;");
				break;
			case '<':
				appendStringInfoString(buf, "&lt;");
				break;
			case '>':
				appendStringInfoString(buf, "&gt;");
				break;
			case '"':
				appendStringInfoString(buf, "&quot;");
				break;
			case '\'':
				appendStringInfoString(buf, "&#39;");
				break;
			case '\n':
				appendStringInfoString(buf, "<br>\n");
				break;
			default:
				appendStringInfoChar(buf, *c);
		}
	}
}

static void
alert_html(StringInfo buf, const MessageAlert *a)
{
	List	   *lines = lines_of(a);

	appendStringInfo(buf, "<div style=\"border-left:4px solid %s;padding:4px 12px;margin:12px 0\">\n<b>",
					 color_of(strcmp(a->state, "resolved") != 0, a->severity));
	append_html(buf, pipeline_one_line(a->alertname));
	appendStringInfoString(buf, "</b> (");
	append_html(buf, a->severity);
	appendStringInfoString(buf, ", ");
	append_html(buf, a->state);
	appendStringInfoString(buf, ")<br>\n");
	append_html(buf, pipeline_cut(a->summary, MAX_TEXT));
	appendStringInfoString(buf, "\n<table style=\"color:#555;font-size:90%\">\n");
	for (int j = 0; j < list_length(lines); j += 2)
	{
		appendStringInfo(buf, "<tr><td>%s</td><td>", (char *) list_nth(lines, j));
		append_html(buf, list_nth(lines, j + 1));
		appendStringInfoString(buf, "</td></tr>\n");
	}
	appendStringInfoString(buf, "</table>\n</div>\n");
}

/* The HTML. */
char *
pipeline_message_html(const Sending *s)
{
	StringInfoData buf;
	char	   *context = pipeline_message_context(s);

	initStringInfo(&buf);
	appendStringInfo(&buf, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n"
					 "<body style=\"font-family:sans-serif\">\n<h3 style=\"color:%s\">",
					 color_of(s->message->firing, s->message->severity));
	append_html(&buf, pipeline_message_headline(s));
	appendStringInfoString(&buf, "</h3>\n");
	if (context)
	{
		appendStringInfoString(&buf, "<p>");
		append_html(&buf, context);
		appendStringInfoString(&buf, "</p>\n");
	}
	for (int i = 0; i < Min(list_length(s->message->alerts), MAX_ALERTS); i++)
		alert_html(&buf, list_nth(s->message->alerts, i));
	if (not_shown(s->message) > 0)
		appendStringInfo(&buf, "<p>and %d more</p>\n", not_shown(s->message));
	appendStringInfoString(&buf, "</body></html>\n");
	return buf.data;
}
