/*
 * render_email.c
 *	  Channels of kind email: SMTP with TLS from the beginning (smtps://) or by
 *	  STARTTLS (smtp://), AUTH, and a mail of plain text and HTML.
 *
 * Config: url, from, to, reply_to, subject_prefix, starttls (false: plain text,
 * where pipeline.allowed_hosts says so).  Secret: username and password.
 *
 * Message-ID is made of the idempotency key, so that a repeated delivery can be
 * known as one; In-Reply-To and References name the group of alerts, so that
 * what is said of it is one thread.
 *
 * A server refuses a mail as a whole when it refuses one of its recipients.  Then
 * nobody has got it, and it is sent to each of them alone: one who has left, or
 * whose mailbox is full, does not keep the others from being told.  Who has got
 * it is kept (progress), so that later attempts are for the others only.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"
#include "alert/render_text.h"
#include "alert/render_mime.h"

#define MAX_RECIPIENTS 50
#define MAX_SUBJECT 200

/* What is known between the requests of one notification. */
typedef struct EmailState
{
	List	   *to;				/* of Mailbox: who has not got it yet */
	int			all;			/* recipients of the mail */
	bool		apart;			/* they are written to one by one */
	int			next;			/* then: which of them */
	List	   *delivered;		/* addresses: who has got it, also by earlier attempts */
	bool		again;			/* one of them may be delivered another time */
	StringInfo	refused;
} EmailState;

/* ---- config ------------------------------------------------------------------------- */

static Mailbox *
config_mailbox(const char *key, const char *text)
{
	Mailbox    *mailbox = palloc(sizeof(Mailbox));
	char	   *why = mime_mailbox(text, mailbox);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid address under key \"%s\" in argument \"config\": \"%s\"", key, text),
				 errdetail("It cannot be used: %s.", why),
				 errhint("Give \"ann@example.com\" or \"Ann <ann@example.com>\".")));
	mailbox->name = mailbox->name ? pipeline_utf8(mailbox->name) : NULL;
	return mailbox;
}

/* The mailboxes under a key: a string, or an array of strings. */
static List *
config_mailboxes(const Jsonb *config, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root, key, strlen(key), &buf);
	List	   *texts = NIL;
	List	   *mailboxes = NIL;
	ListCell   *lc;

	if (v == NULL)
		return NIL;
	texts = v->type == jbvString ? list_make1(pnstrdup(v->val.string.val, v->val.string.len)) :
		pipeline_jsonb_strings(config, "config", key);
	foreach(lc, texts)
		mailboxes = lappend(mailboxes, config_mailbox(key, lfirst(lc)));
	return mailboxes;
}

/* Is TLS begun by STARTTLS?  With smtp:// it is, unless that is switched off. */
static bool
wants_starttls(const Jsonb *config)
{
	char	   *url = pipeline_config_string(config, "url");
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root, "starttls", 8, &buf);

	if (v != NULL && v->type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"starttls\" in argument \"config\" is not true or false")));
	return pg_strncasecmp(url, "smtp:", 5) == 0 && (v == NULL || v->val.boolean);
}

static void
check_url(const Jsonb *config, bool has_secret)
{
	char	   *url = pipeline_config_string(config, "url");

	if (url == NULL)
		pipeline_config_missing("email", "url", NULL);
	if (pg_strncasecmp(url, "smtp://", 7) != 0 && pg_strncasecmp(url, "smtps://", 8) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"url\" in argument \"config\" of a channel of kind \"email\" is no smtp:// or smtps://"),
				 errdetail("It is %s.", url)));
	(void) pipeline_config_mail_url(config, "url", wants_starttls(config));
	if (has_secret && !wants_starttls(config) && pg_strncasecmp(url, "smtp:", 5) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a channel with a password cannot have \"starttls\": false in argument \"config\""),
				 errdetail("The password would be sent in plain text.")));
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	int			n = list_length(config_mailboxes(config, "to"));

	check_url(config, has_secret);
	if (list_length(config_mailboxes(config, "from")) != 1)
		pipeline_config_missing("email", "from", NULL);
	if (n == 0)
		pipeline_config_missing("email", "to", NULL);
	if (n > MAX_RECIPIENTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"to\" in argument \"config\" has %d addresses", n),
				 errhint("The limit is %d: use a mailing list.", MAX_RECIPIENTS)));
	(void) config_mailboxes(config, "reply_to");
	(void) pipeline_config_string(config, "subject_prefix");
	return (Jsonb *) config;
}

/* ---- the mail ------------------------------------------------------------------------- */

static char *
domain_of(const Mailbox *mailbox)
{
	return strchr(mailbox->address, '@') + 1;
}

/* A hash that is fit for an identifier. */
static char *
hash_text(const char *text)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc0(33);
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) text, strlen(text)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	hex_encode((char *) digest, 16, hex);
	return hex;
}

static void
headers(StringInfo mail, const Sending *s, const Mailbox *from)
{
	List	   *reply_to = config_mailboxes(s->config, "reply_to");
	char	   *prefix = pipeline_config_string(s->config, "subject_prefix");
	char	   *subject = pipeline_message_headline(s);
	char	   *thread = psprintf("<%s@%s>", hash_text(s->group_key), domain_of(from));

	mime_date(mail, "Date", timestamptz_to_time_t(s->queued_at));
	mime_mailboxes(mail, "From", list_make1((void *) from));
	mime_mailboxes(mail, "To", config_mailboxes(s->config, "to"));
	if (reply_to)
		mime_mailboxes(mail, "Reply-To", reply_to);
	if (prefix)
		subject = psprintf("%s %s", prefix, subject);
	mime_header(mail, "Subject", pipeline_utf8(pipeline_cut(subject, MAX_SUBJECT)));
	mime_header(mail, "Message-ID", psprintf("<%s@%s>", s->idempotency_key, domain_of(from)));
	mime_header(mail, "In-Reply-To", thread);
	mime_header(mail, "References", thread);
	/* A machine wrote it: nobody answers that he is on holiday. */
	mime_header(mail, "Auto-Submitted", "auto-generated");
	mime_header(mail, "X-Auto-Response-Suppress", "All");
	mime_header(mail, "X-Pipeline-Event", s->event);
	mime_header(mail, "X-Pipeline-Severity", s->message->severity);
	if (s->message->firing && strcmp(s->message->severity, "critical") == 0)
		mime_header(mail, "Importance", "high");
}

static StringInfo
write_mail(const Sending *s, const Mailbox *from)
{
	StringInfo	mail = makeStringInfo();
	/* Base64 has no hyphen, so that this is in no part. */
	char	   *boundary = psprintf("=-%s", s->idempotency_key);

	headers(mail, s, from);
	appendStringInfo(mail, "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n", boundary);
	mime_part(mail, boundary, "text/plain", pipeline_utf8(pipeline_message_text(s)));
	mime_part(mail, boundary, "text/html", pipeline_utf8(pipeline_message_html(s)));
	appendStringInfo(mail, "--%s--\r\n", boundary);
	return mail;
}

/* Who is still to get it. */
static EmailState *
first_state(const Sending *s)
{
	EmailState *state = palloc0_object(EmailState);
	List	   *to = config_mailboxes(s->config, "to");
	ListCell   *lc;

	state->all = list_length(to);
	state->refused = makeStringInfo();
	if (s->progress)
		state->delivered = pipeline_jsonb_strings(s->progress, "progress", "delivered");
	foreach(lc, to)
	{
		if (!pipeline_list_has(state->delivered, ((Mailbox *) lfirst(lc))->address))
			state->to = lappend(state->to, lfirst(lc));
	}
	state->apart = state->delivered != NIL;
	if (state->to == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("all recipients that the channel has now have got it before")));
	return state;
}

static void
build_request(Sending *s, Request *request)
{
	Mailbox    *from = linitial(config_mailboxes(s->config, "from"));
	EmailState *state = s->state;
	ListCell   *lc;

	if (s->secret != NULL)
	{
		request->username = (char *) pipeline_sending_secret(s, "username");
		request->password = (char *) pipeline_sending_secret(s, "password");
	}
	request->url = pipeline_config_string(s->config, "url");
	request->starttls = wants_starttls(s->config);
	request->mail_from = from->address;
	if (state == NULL)
		s->state = state = first_state(s);
	foreach(lc, state->apart ? list_make1(list_nth(state->to, state->next)) : state->to)
		request->mail_to = lappend(request->mail_to, ((Mailbox *) lfirst(lc))->address);
	request->body = write_mail(s, from);
}

/* ---- the answer ------------------------------------------------------------------------- */

/* What one answer means. */
static Verdict
judge_one(Sending *s, const TransportResult *result)
{
	if (result->complete && result->status < 400)
		return VERDICT_SENT;
	s->error = psprintf("the mail server answered %d", result->status);
	return result->status >= 500 ? VERDICT_DEAD : VERDICT_RETRY;
}

/* Keep who has got it. */
static void
note_delivered(Sending *s, EmailState *state)
{
	StringInfoData buf;
	ListCell   *lc;

	state->delivered = lappend(state->delivered, ((Mailbox *) list_nth(state->to, state->next))->address);
	initStringInfo(&buf);
	json_open(&buf, '{');
	json_key(&buf, "delivered");
	json_open(&buf, '[');
	foreach(lc, state->delivered)
		json_string(&buf, lfirst(lc));
	json_close(&buf, ']');
	json_close(&buf, '}');
	s->progress = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
}

/* Is it about the connection, or who we are, and so the same for all recipients? */
static bool
is_of_all(int status)
{
	static const int codes[] = {421, 432, 454, 530, 534, 535, 538};

	for (int i = 0; i < lengthof(codes); i++)
	{
		if (status == codes[i])
			return true;
	}
	return false;
}

/* Go on with the recipients one by one, and say at the end how that went. */
static Verdict
judge_next(Sending *s, Verdict verdict, int status)
{
	EmailState *state = s->state;
	const char *who = ((Mailbox *) list_nth(state->to, state->next))->address;

	if (verdict == VERDICT_SENT)
		note_delivered(s, state);
	else
	{
		/* The others would hear the same. */
		if (is_of_all(status))
			state->next = list_length(state->to) - 1;
		state->again |= verdict == VERDICT_RETRY;
		appendStringInfo(state->refused, "%s%s: %s", state->refused->len > 0 ? ", " : "",
						 who, s->error);
	}
	if (++state->next < list_length(state->to))
		return VERDICT_NEXT;
	if (state->refused->len == 0)
		return VERDICT_SENT;
	s->error = psprintf("delivered to %d of %d; %s", list_length(state->delivered), state->all, state->refused->data);
	return state->again ? VERDICT_RETRY : VERDICT_DEAD;
}

static Verdict
judge(Sending *s, const TransportResult *result)
{
	Verdict		verdict = judge_one(s, result);
	EmailState *state = s->state;

	if (state->apart)
		return judge_next(s, verdict, result->status);
	if (verdict == VERDICT_SENT || is_of_all(result->status) || list_length(state->to) == 1)
		return verdict;
	/* Nobody has got it yet: try each. */
	state->apart = true;
	return VERDICT_NEXT;
}

static const char *const keys[] = {"url", "from", "to", "reply_to", "subject_prefix", "starttls", NULL};
static const char *const secrets[] = {"username", "password", NULL};

const ChannelKind pipeline_kind_email = {
	.name = "email",
	.keys = keys,
	.secrets = secrets,
	.check_config = check_config,
	.request = build_request,
	.judge = judge
};
