/*
 * render_pagerduty.c
 *	  Channels of kind pagerduty: Events API v2.
 *
 * Secret: routing_key, that of an integration.  A group of alerts is one
 * PagerDuty alert, by its dedup_key: triggered, acknowledged and resolved as the
 * group is.  A test is triggered and resolved again, so that nobody has to.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

#define ENQUEUE "https://events.pagerduty.com/v2/enqueue"
#define MAX_DEDUP_KEY 255
#define MAX_SUMMARY 1024
#define MAX_BODY (512 * 1024)

/* The key of the group; a hash of it where it is too long. */
static char *
dedup_key(const Sending *s)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char		hex[PG_SHA256_DIGEST_LENGTH * 2 + 1];
	pg_cryptohash_ctx *ctx;

	if (strlen(s->group_key) <= MAX_DEDUP_KEY)
		return s->group_key;
	ctx = pg_cryptohash_create(PG_SHA256);
	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) s->group_key, strlen(s->group_key)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	hex_encode((char *) digest, sizeof(digest), hex);
	hex[sizeof(hex) - 1] = '\0';
	return pstrdup(hex);
}

static const char *
action(const Sending *s)
{
	if (s->message->test && s->step > 0)
		return "resolve";
	if (strcmp(s->event, "acknowledged") == 0)
		return "acknowledge";
	return s->message->firing ? "trigger" : "resolve";
}

static char *
short_label(const Jsonb *labels, const char *name)
{
	char	   *value = pipeline_label(labels, name);

	return value ? pipeline_cut(value, 255) : NULL;
}

/* What the PagerDuty alert says; `details` is custom_details. */
static void
payload(StringInfo buf, const Sending *s, const Jsonb *details)
{
	const Message *m = s->message;
	MessageAlert *first = m->alerts ? linitial(m->alerts) : NULL;

	json_key(buf, "payload");
	json_open(buf, '{');
	json_pair(buf, "summary", pipeline_cut(m->title[0] ? m->title : "alert", MAX_SUMMARY));
	json_pair(buf, "severity", m->severity);
	json_pair(buf, "source", first && first->source && first->source[0] ?
			  pipeline_cut(first->source, 255) : "pipeline");
	if (first)
	{
		json_pair(buf, "timestamp", first->started_at);
		json_pair(buf, "class", pipeline_cut(first->alertname, 255));
	}
	json_pair(buf, "component", short_label(m->common_labels, "task"));
	json_pair(buf, "group", short_label(m->common_labels, "pipeline"));
	json_key(buf, "custom_details");
	json_value(buf, details);
	json_close(buf, '}');
}

static char *
event(const Sending *s, const Jsonb *details)
{
	StringInfoData buf;

	initStringInfo(&buf);
	json_open(&buf, '{');
	json_pair(&buf, "routing_key", pipeline_sending_secret(s, "routing_key"));
	json_pair(&buf, "event_action", action(s));
	json_pair(&buf, "dedup_key", dedup_key(s));
	if (strcmp(action(s), "trigger") == 0)
	{
		json_pair(&buf, "client", "pipeline");
		payload(&buf, s, details);
	}
	json_close(&buf, '}');
	return buf.data;
}

static void
build_request(Sending *s, Request *request)
{
	request->url = pipeline_config_string(s->config, "url");
	for (int size = 0; request->body == NULL || request->body->len > MAX_BODY; size++)
	{
		Jsonb	   *details = pipeline_message_smaller(s->message->jsonb, size);

		if (details == NULL)
			break;
		request->headers = NIL;
		pipeline_request_json(request, event(s, details));
	}
}

static Verdict
judge(Sending *s, const TransportResult *result)
{
	Verdict		verdict = pipeline_judge_http(s, result);

	if (verdict == VERDICT_SENT && s->message->test && s->step == 0)
		return VERDICT_NEXT;
	return verdict;
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	Jsonb	   *full = pipeline_config_default(config, "url", ENQUEUE);

	(void) pipeline_config_url(full, "url");
	return full;
}

static const char *const keys[] = {"url", NULL};
static const char *const secrets[] = {"routing_key", NULL};

const ChannelKind pipeline_kind_pagerduty = {
	.name = "pagerduty",
	.keys = keys,
	.secrets = secrets,
	.needs_secret = true,
	.check_config = check_config,
	.request = build_request,
	.judge = judge
};
