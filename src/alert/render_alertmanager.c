/*
 * render_alertmanager.c
 *	  Channels of kind alertmanager: Prometheus Alertmanager, API v2.
 *
 * Secret, if it asks for one: username and password, or bearer_token.
 *
 * Alertmanager forgets an alert at its endsAt, so one that fires has it far
 * ahead (ends_after): the group's repeats renew it, and if this server is gone
 * for good it ends.  To Alertmanager the severity is part of what an alert is;
 * when it has changed, the alert of the earlier one is ended along with it.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "alert/alert_json.h"
#include "alert/alert_render.h"

#define PATH "/api/v2/alerts"
#define ENDS_AFTER "1 day"

/* ---- times ------------------------------------------------------------------------------ */

static Interval *
interval_of(const char *text)
{
	return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* So long after now. */
static char *
after_now(const char *interval, int times)
{
	Datum		at = TimestampTzGetDatum(GetCurrentTimestamp());

	for (int i = 0; i < times; i++)
		at = DirectFunctionCall2(timestamptz_pl_interval, at,
								 IntervalPGetDatum(interval_of(interval)));
	return pipeline_time_text(DatumGetTimestampTz(at));
}

/* ---- alerts ----------------------------------------------------------------------------- */

/* Labels with the source among them, and of a given severity. */
static void
labels_object(StringInfo buf, const Jsonb *labels, const char *source,
			  const char *severity)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &labels->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *name = NULL;

	json_key(buf, "labels");
	json_open(buf, '{');
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && v.type == jbvString && strcmp(name, "severity") != 0)
			json_pair(buf, name, pnstrdup(v.val.string.val, v.val.string.len));
	}
	json_pair(buf, "severity", severity);
	if (pipeline_label(labels, "source") == NULL)
		json_pair(buf, "source", source);
	json_close(buf, '}');
}

static void
annotations(StringInfo buf, const char *summary, const MessageAlert *a)
{
	json_key(buf, "annotations");
	json_open(buf, '{');
	json_pair(buf, "summary", pipeline_cut(summary, 4000));
	if (a != NULL)
	{
		json_pair(buf, "alert_id", psprintf(INT64_FORMAT, a->alert_id));
		json_pair(buf, "state", a->state);
		json_pair(buf, "occurrences", psprintf(INT64_FORMAT, a->occurrences));
		json_pair(buf, "note", a->note);
		json_pair(buf, "owner", a->owner);
	}
	json_close(buf, '}');
}

static void
one_alert(StringInfo buf, const MessageAlert *a, const char *severity,
		  const char *ends_at)
{
	json_open(buf, '{');
	labels_object(buf, a->labels, a->source, severity);
	annotations(buf, a->summary, a);
	json_pair(buf, "startsAt", a->started_at);
	json_pair(buf, "endsAt", ends_at);
	json_close(buf, '}');
}

/* The severities that it has had before. */
static List *
earlier_severities(const MessageAlert *a)
{
	List	   *severities = NIL;
	uint64		n = pipeline_sql("SELECT DISTINCT severity FROM pipeline.alert_events"
								 " WHERE alert_id = $1 AND severity <> $2 ORDER BY 1",
								 SPI_OK_SELECT, sql_int8(a->alert_id), sql_text(a->severity));

	for (uint64 i = 0; i < n; i++)
		severities = lappend(severities, pipeline_sql_text(i, 1));
	return severities;
}

static void
add_alert(StringInfo buf, const MessageAlert *a, const char *ends_after)
{
	bool		over = a->resolved_at != NULL;
	/* Another group tells of it now; to Alertmanager it is the same alert. */
	bool		elsewhere = !over && strcmp(a->state, "resolved") == 0;
	List	   *earlier = earlier_severities(a);
	ListCell   *lc;

	foreach(lc, earlier)
		one_alert(buf, a, lfirst(lc), over ? a->resolved_at : after_now("0", 0));
	if (!elsewhere)
		one_alert(buf, a, a->severity, over ? a->resolved_at : after_now(ends_after, 1));
}

/* A test or a heartbeat, which is of no alert of ours. */
static void
add_own(StringInfo buf, const Sending *s)
{
	char	   *heartbeat = pipeline_config_string(s->config, "heartbeat");

	json_open(buf, '{');
	labels_object(buf, s->message->common_labels, s->channel, s->message->severity);
	annotations(buf, s->message->title, NULL);
	json_pair(buf, "startsAt", s->created_at);
	json_pair(buf, "endsAt", s->message->heartbeat && heartbeat ? after_now(heartbeat, 3) :
			  after_now("1 minute", 1));
	json_close(buf, '}');
}

/* ---- the request -------------------------------------------------------------------------- */

/* The URL of the config is that of the server. */
static char *
api_url(const Jsonb *config)
{
	char	   *url = pipeline_config_string(config, "url");
	int			len = strlen(url);

	while (len > 0 && url[len - 1] == '/')
		len--;
	return psprintf("%.*s%s", len, url, PATH);
}

static void
build_request(Sending *s, Request *request)
{
	const char *token = pipeline_secret_get(s->secret, "bearer_token");
	char	   *ends_after = pipeline_config_string(s->config, "ends_after");
	StringInfo	buf = makeStringInfo();
	ListCell   *lc;

	json_open(buf, '[');
	if (s->message->test || s->message->heartbeat)
		add_own(buf, s);
	foreach(lc, s->message->alerts)
		add_alert(buf, lfirst(lc), ends_after ? ends_after : ENDS_AFTER);
	json_close(buf, ']');
	request->url = api_url(s->config);
	request->username = pipeline_secret_get(s->secret, "username");
	request->password = pipeline_secret_get(s->secret, "password");
	pipeline_request_json(request, buf->data);
	if (token)
		pipeline_request_header(request, "Authorization", psprintf("Bearer %s", token));
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	Jsonb	   *full = pipeline_config_default(config, "ends_after", ENDS_AFTER);
	Interval   *interval = interval_of(pipeline_config_string(full, "ends_after"));

	if (pipeline_config_url(full, "url") == NULL)
		pipeline_config_missing("alertmanager", "url", NULL);
	if (strpbrk(pipeline_config_string(full, "url"), "?#") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"url\" in argument \"config\" is not that of an Alertmanager"),
				 errhint("Give the URL of the server, such as https://alertmanager.example:9093.")));
	if (interval->month < 0 || interval->day < 0 || interval->time < 0 ||
		(interval->month == 0 && interval->day == 0 && interval->time < USECS_PER_MINUTE))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"ends_after\" in argument \"config\" is less than a minute")));
	return full;
}

static const char *const keys[] = {"url", "ends_after", NULL};
static const char *const secrets[] = {"username", "password", "bearer_token", NULL};

const ChannelKind pipeline_kind_alertmanager = {
	.name = "alertmanager",
	.keys = keys,
	.secrets = secrets,
	.heartbeat = true,
	.check_config = check_config,
	.request = build_request
};
