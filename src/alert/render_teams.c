/*
 * render_teams.c
 *	  Channels of kind teams: a webhook of Power Automate's workflows, an
 *	  adaptive card.
 *
 * Its URL is the secret (url).  A message may have 28 KB: alerts are left out
 * until it fits.  All texts are runs of RichTextBlocks, in which nothing is
 * markup, so that an alert cannot make links.
 *
 * A workflow answers 202.  The older connectors answer 200 also when Teams would
 * not take the message, and say so in words.
 */
#include "postgres.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

#define MAX_BODY (27 * 1024)
#define MAX_ALERTS 20

static const char *
style(const Message *m)
{
	if (!m->firing)
		return "good";
	if (strcmp(m->severity, "info") == 0)
		return "accent";
	return strcmp(m->severity, "warning") == 0 ? "warning" : "attention";
}

/* A line of text. */
static void
line(StringInfo buf, const char *text, const char *weight, const char *size,
	 bool subtle)
{
	json_open(buf, '{');
	json_pair(buf, "type", "RichTextBlock");
	json_key(buf, "inlines");
	json_open(buf, '[');
	json_open(buf, '{');
	json_pair(buf, "type", "TextRun");
	json_pair(buf, "text", text);
	json_pair(buf, "weight", weight);
	json_pair(buf, "size", size);
	if (subtle)
	{
		json_key(buf, "isSubtle");
		json_bool(buf, true);
	}
	json_close(buf, '}');
	json_close(buf, ']');
	json_close(buf, '}');
}

static void
headline(StringInfo buf, const Sending *s)
{
	char	   *context = pipeline_message_context(s);

	json_open(buf, '{');
	json_pair(buf, "type", "Container");
	json_pair(buf, "style", style(s->message));
	json_key(buf, "items");
	json_open(buf, '[');
	line(buf, pipeline_cut(pipeline_message_headline(s), 500), "Bolder", "Medium", false);
	if (context)
		line(buf, pipeline_cut(context, 500), NULL, NULL, true);
	json_close(buf, ']');
	json_close(buf, '}');
}

static void
alert_container(StringInfo buf, const MessageAlert *a)
{
	char	   *labels = pipeline_labels_text(a->labels);
	char	   *times = a->occurrences > 1 ? psprintf(", " INT64_FORMAT " times", a->occurrences) : "";

	json_open(buf, '{');
	json_pair(buf, "type", "Container");
	json_key(buf, "separator");
	json_bool(buf, true);
	json_key(buf, "items");
	json_open(buf, '[');
	line(buf, psprintf("%s (%s, %s%s)", pipeline_cut(a->alertname, 200), a->severity,
					   a->state, times), "Bolder", NULL, false);
	line(buf, pipeline_cut(a->summary, 1000), NULL, NULL, false);
	if (a->source)
		line(buf, psprintf("source: %s", pipeline_cut(a->source, 300)), NULL, NULL, true);
	if (labels[0])
		line(buf, pipeline_cut(labels, 700), NULL, NULL, true);
	if (a->note)
		line(buf, psprintf("note: %s", pipeline_cut(a->note, 500)), NULL, NULL, false);
	json_close(buf, ']');
	json_close(buf, '}');
}

static void
card(StringInfo buf, const Sending *s, int most)
{
	int			shown = 0;
	ListCell   *lc;

	json_open(buf, '{');
	json_pair(buf, "$schema", "http://adaptivecards.io/schemas/adaptive-card.json");
	json_pair(buf, "type", "AdaptiveCard");
	json_pair(buf, "version", "1.4");
	json_pair(buf, "fallbackText", pipeline_cut(pipeline_message_headline(s), 500));
	json_key(buf, "msteams");
	json_open(buf, '{');
	json_pair(buf, "width", "Full");
	json_close(buf, '}');
	json_key(buf, "body");
	json_open(buf, '[');
	headline(buf, s);
	foreach(lc, s->message->alerts)
	{
		if (shown == most)
			break;
		alert_container(buf, lfirst(lc));
		shown++;
	}
	if (pipeline_message_count(s->message) > shown)
		line(buf, psprintf("and %d more", pipeline_message_count(s->message) - shown),
			 NULL, NULL, true);
	json_close(buf, ']');
	json_close(buf, '}');
}

/* The message with so many alerts. */
static char *
message(const Sending *s, int most)
{
	StringInfoData buf;

	initStringInfo(&buf);
	json_open(&buf, '{');
	json_pair(&buf, "type", "message");
	json_key(&buf, "attachments");
	json_open(&buf, '[');
	json_open(&buf, '{');
	json_pair(&buf, "contentType", "application/vnd.microsoft.card.adaptive");
	json_key(&buf, "contentUrl");
	json_string(&buf, NULL);
	json_key(&buf, "content");
	card(&buf, s, most);
	json_close(&buf, '}');
	json_close(&buf, ']');
	json_close(&buf, '}');
	return buf.data;
}

static void
build_request(Sending *s, Request *request)
{
	request->url = pstrdup(pipeline_sending_secret(s, "url"));
	for (int most = MAX_ALERTS;; most = most / 2)
	{
		pipeline_request_json(request, message(s, most));
		if (request->body->len <= MAX_BODY || most == 0)
			return;
		request->headers = NIL;
	}
}

/* The status in "... returned HTTP error 429 ...", or 0. */
static int
status_in_words(const TransportResult *result)
{
	static const char *const words = "HTTP error ";
	char	   *text = pnstrdup(result->answer, result->length);
	char	   *at = strstr(text, words);

	return at ? atoi(at + strlen(words)) : 0;
}

static Verdict
judge(Sending *s, const TransportResult *result)
{
	TransportResult said = *result;

	if (result->status == 200 && status_in_words(result) != 0)
		said.status = status_in_words(result);
	return pipeline_judge_http(s, &said);
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	return (Jsonb *) config;
}

static const char *const keys[] = {NULL};
static const char *const secrets[] = {"url", NULL};

const ChannelKind pipeline_kind_teams = {
	.name = "teams",
	.keys = keys,
	.secrets = secrets,
	.needs_secret = true,
	.check_config = check_config,
	.request = build_request,
	.judge = judge
};
