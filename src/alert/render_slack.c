/*
 * render_slack.c
 *	  Channels of kind slack: an incoming webhook, a message of blocks.
 *
 * Its URL is the secret (url).  Slack takes 50 blocks, 150 characters in a
 * header and 3000 in a text; of a text & < > are escaped, which also keeps an
 * alert from calling everybody, and nothing in it becomes a link or a mention.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

#define MAX_HEADER 150
#define MAX_TEXT 3000
/* Alerts shown: with header, context and rest far below 50 blocks. */
#define MAX_ALERTS 20

/* ---- texts --------------------------------------------------------------------------- */

static const char *
escape_of(char c)
{
	return c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : NULL;
}

/*
 * Append a text, escaped, of which at most `max` characters remain after that;
 * returns how many it appended.
 */
static int
append_escaped(StringInfo buf, const char *text, int max)
{
	int			n = 0;

	while (*text)
	{
		const char *escape = escape_of(*text);
		int			len = pg_mblen(text);
		int			more = escape ? strlen(escape) : 1;

		if (n + more > max - 3 && (n + more > max || text[len] != '\0'))
		{
			appendStringInfoString(buf, "...");
			return n + 3;
		}
		if (escape)
			appendStringInfoString(buf, escape);
		else
			appendBinaryStringInfo(buf, text, len);
		n += more;
		text += len;
	}
	return n;
}

static char *
escaped(const char *text, int max)
{
	StringInfoData buf;

	initStringInfo(&buf);
	(void) append_escaped(&buf, text, max);
	return buf.data;
}

/* ---- blocks --------------------------------------------------------------------------- */

static void
header_block(StringInfo buf, const char *text)
{
	json_open(buf, '{');
	json_pair(buf, "type", "header");
	json_key(buf, "text");
	json_open(buf, '{');
	json_pair(buf, "type", "plain_text");
	json_pair(buf, "text", escaped(text, MAX_HEADER));
	json_key(buf, "emoji");
	json_bool(buf, false);
	json_close(buf, '}');
	json_close(buf, '}');
}

/* A text in Slack's markup; escaped already. */
static void
markup(StringInfo buf, const char *text)
{
	json_open(buf, '{');
	json_pair(buf, "type", "mrkdwn");
	json_pair(buf, "text", text);
	json_key(buf, "verbatim");
	json_bool(buf, true);
	json_close(buf, '}');
}

static void
section_block(StringInfo buf, const char *text)
{
	json_open(buf, '{');
	json_pair(buf, "type", "section");
	json_key(buf, "text");
	markup(buf, text);
	json_close(buf, '}');
}

static void
context_block(StringInfo buf, const char *text)
{
	json_open(buf, '{');
	json_pair(buf, "type", "context");
	json_key(buf, "elements");
	json_open(buf, '[');
	markup(buf, escaped(text, MAX_TEXT));
	json_close(buf, ']');
	json_close(buf, '}');
}

/* What is said of one alert: far below MAX_TEXT however long its parts are. */
static char *
alert_text(const MessageAlert *a)
{
	StringInfoData buf;
	char	   *labels = pipeline_labels_text(a->labels);

	initStringInfo(&buf);
	appendStringInfo(&buf, "*%s* %s, %s", escaped(a->alertname, 200), escaped(a->severity, 20),
					 escaped(a->state, 20));
	if (a->occurrences > 1)
		appendStringInfo(&buf, ", " INT64_FORMAT " times", a->occurrences);
	appendStringInfo(&buf, "\n%s", escaped(a->summary, 1000));
	if (a->source)
		appendStringInfo(&buf, "\nsource: %s", escaped(a->source, 300));
	if (labels[0])
		appendStringInfo(&buf, "\n%s", escaped(labels, 700));
	if (a->note)
		appendStringInfo(&buf, "\nnote: %s", escaped(a->note, 500));
	return buf.data;
}

/* ---- the request ------------------------------------------------------------------------ */

static void
blocks(StringInfo buf, const Sending *s)
{
	char	   *context = pipeline_message_context(s);
	int			shown = 0;
	ListCell   *lc;

	json_open(buf, '[');
	header_block(buf, pipeline_message_headline(s));
	if (context)
		context_block(buf, context);
	foreach(lc, s->message->alerts)
	{
		if (shown == MAX_ALERTS)
			break;
		section_block(buf, alert_text(lfirst(lc)));
		shown++;
	}
	if (pipeline_message_count(s->message) > shown)
		context_block(buf, psprintf("and %d more", pipeline_message_count(s->message) - shown));
	json_close(buf, ']');
}

static void
build_request(Sending *s, Request *request)
{
	StringInfo	buf = makeStringInfo();

	request->url = pstrdup(pipeline_sending_secret(s, "url"));
	json_open(buf, '{');
	json_pair(buf, "text", escaped(pipeline_message_headline(s), MAX_TEXT));
	json_key(buf, "blocks");
	blocks(buf, s);
	json_close(buf, '}');
	pipeline_request_json(request, buf->data);
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	return (Jsonb *) config;
}

static const char *const keys[] = {NULL};
static const char *const secrets[] = {"url", NULL};

const ChannelKind pipeline_kind_slack = {
	.name = "slack",
	.keys = keys,
	.secrets = secrets,
	.needs_secret = true,
	.check_config = check_config,
	.request = build_request
};
