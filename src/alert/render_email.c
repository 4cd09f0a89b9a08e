/*
 * render_email.c
 *	  Channels of kind email: one mail per notification, as text and as HTML,
 *	  by SMTP.
 *
 * Config: url (smtps://host, or smtp://host with STARTTLS unless starttls is
 * false), from, to, subject_prefix.  Secret: username and password for AUTH.
 *
 * All mails of one group refer to the same thread, which no mail has as its own
 * id: so programs that show threads put them together, whichever came first.
 */
#include "postgres.h"

#include <time.h>

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "common/string.h"
#include "mb/pg_wchar.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

#define MAX_SUBJECT 200			/* characters */
#define MAX_ADDRESS 254			/* RFC 5321 */
#define MAX_RECIPIENTS 50
/* Bytes of UTF-8 in one encoded word, which has at most 75 characters. */
#define WORD_BYTES 42
#define LINE_BYTES 57			/* of base64 in a line of 76 */

/* ---- config ------------------------------------------------------------------------- */

/* Can it stand between the angle brackets of MAIL FROM and RCPT TO? */
static bool
is_address(const char *address)
{
	const char *at = strrchr(address, '@');

	if (at == NULL || at == address || at[1] == '\0' || strlen(address) > MAX_ADDRESS ||
		!pg_is_ascii(address))
		return false;
	for (const char *c = address; *c; c++)
	{
		if ((unsigned char) *c <= 0x20 || *c == 0x7f || strchr("<>()[]\\,;:\"", *c) ||
			(*c == '@' && c != at))
			return false;
	}
	return true;
}

static void
check_address(const char *key, const char *address)
{
	if (!is_address(address))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid address under key \"%s\" in argument \"config\": \"%s\"", key, address),
				 errhint("An address is like ops@example.org: without a name, in ASCII.")));
}

/* Who gets the mails: a string, or an array of them. */
static List *
recipients(const Jsonb *config)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root, "to", 2, &buf);

	if (v != NULL && v->type == jbvString)
		return list_make1(pnstrdup(v->val.string.val, v->val.string.len));
	return pipeline_jsonb_strings(config, "config", "to");
}

static bool
wants_starttls(const Jsonb *config)
{
	const char *url = pipeline_config_string(config, "url");
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root, "starttls", 8, &buf);

	if (v != NULL && v->type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"starttls\" in argument \"config\" is not true or false")));
	return url != NULL && pg_strncasecmp(url, "smtp:", 5) == 0 && (v == NULL || v->val.boolean);
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	char	   *from = pipeline_config_string(config, "from");
	char	   *url = pipeline_config_string(config, "url");
	List	   *to = recipients(config);
	ListCell   *lc;

	if (url == NULL)
		pipeline_config_missing("email", "url", NULL);
	if (pg_strncasecmp(url, "smtp", 4) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"url\" in argument \"config\" of a channel of kind \"email\" is no smtp:// or smtps://"),
				 errdetail("It is %s.", url)));
	(void) pipeline_config_url(config, "url", wants_starttls(config));
	if (from == NULL)
		pipeline_config_missing("email", "from", NULL);
	if (to == NIL)
		pipeline_config_missing("email", "to", NULL);
	check_address("from", from);
	foreach(lc, to)
		check_address("to", lfirst(lc));
	if (list_length(to) > MAX_RECIPIENTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"to\" in argument \"config\" has %d addresses", list_length(to)),
				 errhint("The limit is %d: use a mailing list.", MAX_RECIPIENTS)));
	(void) pipeline_config_string(config, "subject_prefix");
	return (Jsonb *) config;
}

/* ---- headers ------------------------------------------------------------------------- */

static char *
base64(const char *data, int length)
{
	int			room = pg_b64_enc_len(length);
	char	   *out = palloc0(room + 1);

	if (pg_b64_encode((const uint8 *) data, length, out, room) < 0)
		elog(ERROR, "could not encode a mail");
	return out;
}

/* "Name: value", in encoded words where it is not ASCII (RFC 2047). */
static void
append_header(StringInfo mail, const char *name, const char *value)
{
	const char *text = pipeline_utf8(pipeline_one_line(value));

	appendStringInfo(mail, "%s:", name);
	if (pg_is_ascii(text))
		appendStringInfo(mail, " %s", text);
	else
	{
		for (const char *next = text; *next;)
		{
			int			length = pg_encoding_mbcliplen(PG_UTF8, next, strlen(next), WORD_BYTES);

			appendStringInfo(mail, "%s =?UTF-8?B?%s?=", next == text ? "" : "\r\n", base64(next, length));
			next += length;
		}
	}
	appendStringInfoString(mail, "\r\n");
}

/* The time as mails have it, in English whatever the locale. */
static char *
mail_date(void)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
	"Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t		now = time(NULL);
	struct tm	tm;

	gmtime_r(&now, &tm);
	return psprintf("%s, %02d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
					months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The thread of a group: a digest of its key, which may have any characters. */
static char *
thread_id(const char *group_key, const char *domain)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	StringInfoData id;

	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) group_key, strlen(group_key)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not digest a key: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	initStringInfo(&id);
	appendStringInfoString(&id, "<group.");
	for (int i = 0; i < 16; i++)
		appendStringInfo(&id, "%02x", digest[i]);
	appendStringInfo(&id, "@%s>", domain);
	return id.data;
}

static void
append_headers(const Sending *s, StringInfo mail, const char *boundary)
{
	const char *from = pipeline_config_string(s->config, "from");
	const char *domain = strrchr(from, '@') + 1;
	const char *prefix = pipeline_config_string(s->config, "subject_prefix");
	char	   *headline = pipeline_message_headline(s);
	StringInfoData to;
	ListCell   *lc;

	initStringInfo(&to);
	foreach(lc, recipients(s->config))
		appendStringInfo(&to, "%s%s", to.len ? ",\r\n " : "", (char *) lfirst(lc));
	appendStringInfo(mail, "From: %s\r\nTo: %s\r\nDate: %s\r\n", from, to.data, mail_date());
	append_header(mail, "Subject", pipeline_cut(prefix ? psprintf("%s %s", prefix, headline) : headline, MAX_SUBJECT));
	appendStringInfo(mail, "Message-ID: <%s@%s>\r\n", s->idempotency_key, domain);
	if (s->group_key[0] != '\0')
	{
		char	   *thread = thread_id(s->group_key, domain);

		appendStringInfo(mail, "References: %s\r\nIn-Reply-To: %s\r\n", thread, thread);
	}
	/* Nobody's absence is to answer it (RFC 3834). */
	appendStringInfo(mail, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
					 "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n", boundary);
}

/* ---- the body ------------------------------------------------------------------------ */

/* Append text to HTML. */
static void
append_escaped(StringInfo html, const char *text)
{
	for (const char *c = text; *c; c++)
	{
		switch (*c)
		{
			case '&':
				appendStringInfoString(html, "&amp;");
				break;
			case '<':
				appendStringInfoString(html, "&lt;");
				break;
			case '>':
				appendStringInfoString(html, "&gt;");
				break;
			case '"':
				appendStringInfoString(html, "&quot;");
				break;
			default:
				appendStringInfoChar(html, (unsigned char) *c < 0x20 && *c != '\n' ? ' ' : *c);
		}
	}
}

/* A line of an alert, in both forms; nothing of NULL. */
static void
append_line(StringInfo text, StringInfo html, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	appendStringInfo(text, "  %s: %s\n", name, value);
	appendStringInfo(html, "<tr><td style=\"color:#666;padding-right:1em\">%s</td><td>", name);
	append_escaped(html, value);
	appendStringInfoString(html, "</td></tr>\n");
}

static const char *
color(const MessageAlert *a)
{
	if (strcmp(a->state, "resolved") == 0)
		return "#2e7d32";
	return strcmp(a->severity, "critical") == 0 || strcmp(a->severity, "error") == 0 ? "#c62828" :
		strcmp(a->severity, "warning") == 0 ? "#ef6c00" : "#1565c0";
}

static void
append_alert(StringInfo text, StringInfo html, const MessageAlert *a)
{
	appendStringInfo(text, "\n%s %s (%s)\n", a->state, a->alertname, a->severity);
	appendStringInfo(html, "<h3 style=\"color:%s;margin-bottom:0\">", color(a));
	append_escaped(html, psprintf("%s %s (%s)", a->state, a->alertname, a->severity));
	appendStringInfoString(html, "</h3>\n<table>\n");
	append_line(text, html, "summary", a->summary);
	append_line(text, html, "source", a->source);
	append_line(text, html, "labels", pipeline_labels_text(a->labels));
	append_line(text, html, "started", a->started_at);
	append_line(text, html, "resolved", a->resolved_at);
	append_line(text, html, "note", a->note);
	if (a->occurrences > 1)
		append_line(text, html, "occurrences", psprintf("%lld", (long long) a->occurrences));
	if (a->alert_id > 0)
		append_line(text, html, "alert_id", psprintf("%lld", (long long) a->alert_id));
	appendStringInfoString(html, "</table>\n");
}

/* The message as text and as HTML. */
static void
write_body(const Sending *s, StringInfo text, StringInfo html)
{
	const Message *m = s->message;
	char	   *headline = pipeline_message_headline(s);
	char	   *context = pipeline_message_context(s);
	ListCell   *lc;

	appendStringInfo(text, "%s\n", headline);
	appendStringInfoString(html, "<html><body style=\"font-family:sans-serif\">\n<h2>");
	append_escaped(html, headline);
	appendStringInfoString(html, "</h2>\n");
	if (context != NULL)
	{
		appendStringInfo(text, "%s\n", context);
		appendStringInfoString(html, "<p>");
		append_escaped(html, context);
		appendStringInfoString(html, "</p>\n");
	}
	foreach(lc, m->alerts)
		append_alert(text, html, lfirst(lc));
	if (m->omitted > 0)
	{
		appendStringInfo(text, "\nand %d more\n", m->omitted);
		appendStringInfo(html, "<p>and %d more</p>\n", m->omitted);
	}
	appendStringInfoString(html, "</body></html>\n");
}

/* A part of the mail, in lines of base64: no line is too long, no byte is lost. */
static void
append_part(StringInfo mail, const char *boundary, const char *type, const char *content)
{
	const char *utf8 = pipeline_utf8(content);
	int			length = strlen(utf8);

	appendStringInfo(mail, "--%s\r\nContent-Type: text/%s; charset=utf-8\r\n"
					 "Content-Transfer-Encoding: base64\r\n\r\n", boundary, type);
	for (int at = 0; at < length; at += LINE_BYTES)
		appendStringInfo(mail, "%s\r\n", base64(utf8 + at, Min(LINE_BYTES, length - at)));
}

/* ---- the request ----------------------------------------------------------------------- */

static void
build_request(Sending *s, Request *request)
{
	char	   *boundary = psprintf("pipeline.%s", s->idempotency_key);
	StringInfoData text;
	StringInfoData html;

	request->url = pipeline_config_string(s->config, "url");
	request->starttls = wants_starttls(s->config);
	request->username = pipeline_secret_get(s->secret, "username");
	request->password = pipeline_secret_get(s->secret, "password");
	request->mail_from = pipeline_config_string(s->config, "from");
	request->mail_to = recipients(s->config);
	request->body = makeStringInfo();
	initStringInfo(&text);
	initStringInfo(&html);
	write_body(s, &text, &html);
	append_headers(s, request->body, boundary);
	append_part(request->body, boundary, "plain", text.data);
	append_part(request->body, boundary, "html", html.data);
	appendStringInfo(request->body, "--%s--\r\n", boundary);
}

/* 4xx may pass, 5xx will not (RFC 5321, 4.2.1). */
static Verdict
judge(Sending *s, const TransportResult *result)
{
	if (result->status >= 200 && result->status < 300)
		return VERDICT_SENT;
	s->error = psprintf("the mail server answered %d", result->status);
	return result->status >= 500 ? VERDICT_DEAD : VERDICT_RETRY;
}

static const char *const keys[] = {"url", "from", "to", "subject_prefix", "starttls", NULL};
static const char *const secrets[] = {"username", "password", NULL};

const ChannelKind pipeline_kind_email = {
	.name = "email",
	.keys = keys,
	.secrets = secrets,
	.check_config = check_config,
	.request = build_request,
	.judge = judge
};
