/*
 * render_webhook.c
 *	  Channels of kind webhook: CloudEvents 1.0 in structured mode, signed as
 *	  Standard Webhooks says.
 *
 * Secret: signing_secret (whsec_ and base64, or any text; several, separated by
 * spaces, while one is replaced by another), bearer_token, and url where that
 * itself is the secret.
 */
#include "postgres.h"

#include <time.h>

#include "access/xlog.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

/* Receivers need not take more than this; details go first. */
#define MAX_BODY (256 * 1024)
#define WHSEC "whsec_"

/* ---- config ------------------------------------------------------------------------- */

static bool
is_token(const char *name)
{
	for (const char *c = name; *c; c++)
	{
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			  (*c >= '0' && *c <= '9') || strchr("!#$%&'*+-.^_`|~", *c)))
			return false;
	}
	return name[0] != '\0';
}

/* Headers that we write, or that would change what a request means. */
static bool
is_ours(const char *name)
{
	static const char *const ours[] = {"host", "content-length", "content-type",
		"transfer-encoding", "connection", "authorization", "expect", "te",
	"upgrade", "trailer", "proxy-authorization", "cookie", NULL};

	for (int i = 0; ours[i]; i++)
	{
		if (pg_strcasecmp(name, ours[i]) == 0)
			return true;
	}
	return pg_strncasecmp(name, "webhook-", 8) == 0;
}

/* The names of the headers of the config, which are checked. */
static List *
config_headers(const Jsonb *config, Jsonb **headers)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root,
												 "headers", 7, &buf);
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;
	List	   *names = NIL;

	if (v == NULL)
		return NIL;
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"headers\" in argument \"config\" is not an object")));
	*headers = JsonbValueToJsonb(v);
	it = JsonbIteratorInit(&(*headers)->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			names = lappend(names, pnstrdup(element.val.string.val, element.val.string.len));
	}
	return names;
}

static void
check_headers(const Jsonb *config)
{
	Jsonb	   *headers = NULL;
	List	   *names = config_headers(config, &headers);
	ListCell   *lc;

	foreach(lc, names)
	{
		char	   *name = lfirst(lc);

		if (!is_token(name) || is_ours(name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot set header \"%s\" in argument \"config\"", name),
					 is_ours(name) ? errhint("It is written by the notifier; a token belongs into the secret, as bearer_token.") :
					 errhint("The name of a header has letters, digits and hyphens.")));
		if (pipeline_config_string(headers, name) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("header \"%s\" in argument \"config\" has no value", name)));
	}
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	if (pipeline_config_url(config, "url") == NULL && !has_secret)
		pipeline_config_missing("webhook", "url", "url");
	check_headers(config);
	return (Jsonb *) config;
}

/* ---- the body ------------------------------------------------------------------------ */

/* Where the event comes from: this database of this cluster. */
static char *
webhook_source(void)
{
	char	   *name = get_database_name(MyDatabaseId);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "urn:postgresql:" UINT64_FORMAT ":", GetSystemIdentifier());
	for (const char *c = pipeline_utf8(name ? name : ""); *c; c++)
	{
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			(*c >= '0' && *c <= '9') || *c == '_' || *c == '-' || *c == '.')
			appendStringInfoChar(&buf, *c);
		else
			appendStringInfo(&buf, "%%%02X", (unsigned char) *c);
	}
	return buf.data;
}

static StringInfo
cloud_event(const Sending *s, const Jsonb *data)
{
	StringInfo	buf = makeStringInfo();
	StringInfo	body = makeStringInfo();

	json_open(buf, '{');
	json_pair(buf, "specversion", "1.0");
	json_pair(buf, "id", s->idempotency_key);
	json_pair(buf, "source", webhook_source());
	json_pair(buf, "type", psprintf("pipeline.alert.%s", s->event));
	if (s->group_key[0] != '\0')
		json_pair(buf, "subject", s->group_key);
	json_pair(buf, "time", s->created_at);
	json_pair(buf, "datacontenttype", "application/json");
	json_key(buf, "data");
	json_value(buf, data);
	json_close(buf, '}');
	appendStringInfoString(body, pipeline_utf8(buf->data));
	return body;
}

/* ---- the signature ------------------------------------------------------------------- */

/* The bytes of a signing secret: base64 after whsec_, else the text itself. */
static uint8 *
signing_key(const char *secret, int *len)
{
	uint8	   *key;

	if (strncmp(secret, WHSEC, strlen(WHSEC)) != 0)
	{
		*len = strlen(secret);
		return (uint8 *) pstrdup(secret);
	}
	secret += strlen(WHSEC);
	key = palloc(pg_b64_dec_len(strlen(secret)) + 1);
	*len = pg_b64_decode(secret, strlen(secret), key,
						 pg_b64_dec_len(strlen(secret)));
	if (*len < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("signing_secret in the secret is not base64 after \"whsec_\"")));
	return key;
}

static char *
signature(const char *secret, const char *content, int length)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	int			len;
	uint8	   *key = signing_key(secret, &len);
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);
	int			room = pg_b64_enc_len(sizeof(digest));
	char	   *out = palloc0(room + 1);

	if (pg_hmac_init(ctx, key, len) < 0 ||
		pg_hmac_update(ctx, (const uint8 *) content, length) < 0 ||
		pg_hmac_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not sign: %s", pg_hmac_error(ctx));
	pg_hmac_free(ctx);
	if (pg_b64_encode(digest, sizeof(digest), out, room) < 0)
		elog(ERROR, "could not encode a signature");
	return out;
}

/* webhook-id, webhook-timestamp and webhook-signature. */
static void
sign(const Sending *s, Request *request)
{
	const char *secrets = pipeline_secret_get(s->secret, "signing_secret");
	char	   *now = psprintf("%lld", (long long) time(NULL));
	StringInfoData content;
	StringInfoData signatures;
	char	   *list;

	pipeline_request_header(request, "webhook-id", s->idempotency_key);
	pipeline_request_header(request, "webhook-timestamp", now);
	if (secrets == NULL)
		return;
	initStringInfo(&content);
	appendStringInfo(&content, "%s.%s.", s->idempotency_key, now);
	appendBinaryStringInfo(&content, request->body->data, request->body->len);
	initStringInfo(&signatures);
	list = pstrdup(secrets);
	for (char *secret = strtok(list, " "); secret; secret = strtok(NULL, " "))
		appendStringInfo(&signatures, "%sv1,%s", signatures.len > 0 ? " " : "",
						 signature(secret, content.data, content.len));
	pipeline_request_header(request, "webhook-signature", signatures.data);
}

/* ---- the request --------------------------------------------------------------------- */

static void
build_request(Sending *s, Request *request)
{
	const char *url = pipeline_secret_get(s->secret, "url");
	const char *token = pipeline_secret_get(s->secret, "bearer_token");
	Jsonb	   *headers = NULL;
	List	   *names = config_headers(s->config, &headers);
	ListCell   *lc;

	request->url = url ? pstrdup(url) : pipeline_config_string(s->config, "url");
	if (request->url == NULL)
		(void) pipeline_sending_secret(s, "url");
	for (int size = 0; request->body == NULL || request->body->len > MAX_BODY; size++)
	{
		Jsonb	   *data = pipeline_message_smaller(s->message->jsonb, size);

		if (data == NULL)
			break;
		request->body = cloud_event(s, data);
	}
	pipeline_request_header(request, "Content-Type", "application/cloudevents+json; charset=utf-8");
	foreach(lc, names)
		pipeline_request_header(request, lfirst(lc),
								pipeline_utf8(pipeline_config_string(headers, lfirst(lc))));
	if (token)
		pipeline_request_header(request, "Authorization", psprintf("Bearer %s", token));
	sign(s, request);
}

static const char *const keys[] = {"url", "headers", NULL};
static const char *const secrets[] = {"url", "signing_secret", "bearer_token", NULL};

const ChannelKind pipeline_kind_webhook = {
	.name = "webhook",
	.keys = keys,
	.secrets = secrets,
	.heartbeat = true,
	.check_config = check_config,
	.request = build_request
};
