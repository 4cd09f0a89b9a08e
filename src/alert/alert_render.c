/*
 * alert_render.c
 *	  What the kinds of channels have in common: the list of them, texts,
 *	  config, and the judgement of an answer of HTTP.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

static const ChannelKind *const kinds[] = {
	&pipeline_kind_alertmanager,
	&pipeline_kind_email,
	&pipeline_kind_pagerduty,
	&pipeline_kind_slack,
	&pipeline_kind_teams,
	&pipeline_kind_ticket,
	&pipeline_kind_webhook,
};

/* The kind of that name, or NULL: none over the network. */
const ChannelKind *
pipeline_channel_kind(const char *name)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	}
	return NULL;
}

/* The lines that the secret of a kind may have, in words. */
char *
pipeline_secret_lines(const ChannelKind *kind)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *const *s = kind->secrets; s && *s; s++)
		appendStringInfo(&buf, "%s\"%s = ...\"", buf.len > 0 ? ", " : "", *s);
	return buf.data;
}

/* ---- answers ------------------------------------------------------------------------ */

/* Judge by the status alone.  See alert_render.h. */
Verdict
pipeline_judge_http(Sending *sending, const TransportResult *result)
{
	int			status = result->status;

	if (status >= 200 && status < 300)
		return VERDICT_SENT;
	if (status >= 300 && status < 400)
		sending->error = psprintf("the peer answered %d: redirects are not followed", status);
	else
		sending->error = psprintf("the peer answered %d", status);
	if (status == 408 || status == 425 || status == 429 || status >= 500)
		return VERDICT_RETRY;
	return VERDICT_DEAD;
}

/* ---- requests ----------------------------------------------------------------------- */

/* See alert_render.h. */
void
pipeline_request_header(Request *request, const char *name, const char *value)
{
	request->headers = lappend(request->headers,
							   psprintf("%s: %s", name, pipeline_one_line(value)));
}

/* The value in the secret; an error when it is not there. */
const char *
pipeline_sending_secret(const Sending *sending, const char *name)
{
	const char *value = pipeline_secret_get(sending->secret, name);

	if (value == NULL || value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("secret \"%s\" has no \"%s\"",
						sending->secret_ref ? sending->secret_ref : "", name)));
	return value;
}

/* Set the body to this JSON, in UTF-8, and its Content-Type. */
void
pipeline_request_json(Request *request, const char *json)
{
	request->body = makeStringInfo();
	appendStringInfoString(request->body, pipeline_utf8(json));
	pipeline_request_header(request, "Content-Type", "application/json; charset=utf-8");
}

/* ---- texts -------------------------------------------------------------------------- */

static bool
convert_text(void *arg)
{
	char	  **text = arg;

	*text = pg_server_to_any(*text, strlen(*text), PG_UTF8);
	return true;
}

/*
 * The text in UTF-8.  In a database without an encoding it may be anything, and
 * what is no UTF-8 then loses all that is not ASCII.
 */
char *
pipeline_utf8(const char *text)
{
	char	   *out = (char *) text;

	if (GetDatabaseEncoding() == PG_UTF8)
		return out;
	if (GetDatabaseEncoding() != PG_SQL_ASCII && pipeline_try(convert_text, &out) == NULL)
		return out;
	if (GetDatabaseEncoding() == PG_SQL_ASCII &&
		pg_verify_mbstr(PG_UTF8, text, strlen(text), true))
		return out;
	out = pstrdup(text);
	for (char *c = out; *c; c++)
	{
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	}
	return out;
}

/* At most `max` characters. */
char *
pipeline_cut(const char *text, int max)
{
	int			len = strlen(text);

	if (pg_mbstrlen_with_len(text, len) <= max)
		return pstrdup(text);
	len = pg_mbcharcliplen(text, len, max - 3);
	return psprintf("%.*s...", len, text);
}

/* A time as RFC 3339. */
char *
pipeline_time_text(TimestampTz at)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, NULL);
	return pstrdup(text);
}

/* Control characters made spaces. */
char *
pipeline_one_line(const char *text)
{
	char	   *out = pstrdup(text);

	for (char *c = out; *c; c++)
	{
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
	return out;
}

/* A label's value, or NULL. */
char *
pipeline_label(const Jsonb *labels, const char *name)
{
	return pipeline_jsonb_key(labels, name);
}

/* Labels as a line of text, but alertname and severity, which say themselves. */
char *
pipeline_labels_text(const Jsonb *labels)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &labels->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	StringInfoData buf;
	char	   *name = NULL;

	initStringInfo(&buf);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && v.type == jbvString &&
				 strcmp(name, "alertname") != 0 && strcmp(name, "severity") != 0)
			appendStringInfo(&buf, "%s%s=%.*s", buf.len > 0 ? ", " : "", name,
							 v.val.string.len, v.val.string.val);
	}
	return buf.data;
}

/* ---- config ------------------------------------------------------------------------- */

/* The string under a key of the config, or NULL; anything else is an error. */
char *
pipeline_config_string(const Jsonb *config, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root,
												 key, strlen(key), &buf);
	char	   *value;

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" in argument \"config\" is not a string", key)));
	value = pnstrdup(v->val.string.val, v->val.string.len);
	if (strcmp(value, pipeline_one_line(value)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" in argument \"config\" has a control character", key)));
	return value;
}

/* The URL under a key, or NULL; one that may not be spoken to is an error. */
static char *
config_url(const Jsonb *config, const char *key, bool mail, bool tls)
{
	char	   *url = pipeline_config_string(config, key);
	UrlParts	parts = {0};
	const char *why;

	if (url == NULL)
		return NULL;
	why = pipeline_url_objection(url, tls, &parts);
	if (why == NULL && pipeline_url_is_mail(&parts) != mail)
		why = mail ? "it does not begin with smtps:// or smtp://" : "it does not begin with https:// or http://";
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot send to the URL under key \"%s\" in argument \"config\"", key),
				 parts.host && strstr(why, parts.host) ? errdetail("%s.", why) : errdetail("%s: %s.", url, why),
				 errhint("A superuser decides by the setting pipeline.allowed_hosts where notifications may be sent.")));
	return url;
}

char *
pipeline_config_url(const Jsonb *config, const char *key)
{
	return config_url(config, key, false, false);
}

char *
pipeline_config_mail_url(const Jsonb *config, const char *key, bool tls)
{
	return config_url(config, key, true, tls);
}

/* The config with a key set to a string, unless it has it. */
Jsonb *
pipeline_config_default(const Jsonb *config, const char *key, const char *value)
{
	Jsonb	   *defaults = pipeline_jsonb_object(1, &key, &value);

	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(defaults),
											  JsonbPGetDatum(config)));
}

/* Raise 22023: the config of this kind lacks the key. */
void
pipeline_config_missing(const char *kind, const char *key, const char *or_secret)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a channel of kind \"%s\" needs key \"%s\" in argument \"config\"", kind, key),
			 or_secret ? errhint("Or a line \"%s = ...\" in the secret that secret_ref names.", or_secret) : 0));
}
