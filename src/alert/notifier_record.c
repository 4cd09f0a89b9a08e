/*
 * notifier_record.c
 *	  From a claimed notification to a request, and from an answer to the
 *	  record of it.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "alert/notifier.h"

/* Bytes of an answer that are kept. */
#define EXCERPT 1000
/* And of its beginning, in which secrets are looked for. */
#define LOOKED_AT 65536
/* No wait between two attempts is longer. */
#define MAX_DELAY_MS 3600000
#define UNDELIVERABLE "NotificationUndeliverable"

/* ---- texts of peers ------------------------------------------------------------------- */

static bool
convert_answer(void *arg)
{
	char	  **text = arg;

	*text = pg_any_to_server(*text, strlen(*text), PG_UTF8);
	return true;
}

/*
 * What a peer or libcurl said, fit for a table: secrets left out, without
 * control characters, in the server's encoding, and not endless.
 */
static char *
presentable(const Secret *secret, const char *text, size_t length)
{
	char	   *out;
	bool		utf8;

	length = Min(length, LOOKED_AT);
	out = palloc(length + 1);
	memcpy(out, text, length);
	out[length] = '\0';
	for (size_t i = 0; i < length; i++)
	{
		if ((unsigned char) out[i] < 0x20 || out[i] == 0x7f)
			out[i] = ' ';
	}
	out = pipeline_redact(secret, out);
	/* What is far behind is not kept and shall spoil nothing. */
	length = strlen(out);
	if (length > 4 * EXCERPT)
		out[pg_encoding_mbcliplen(PG_UTF8, out, length, 4 * EXCERPT)] = '\0';
	utf8 = pg_verify_mbstr(PG_UTF8, out, strlen(out), true);
	if (!utf8 || pipeline_try(convert_answer, &out) != NULL)
	{
		for (char *c = out; *c; c++)
		{
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
		}
	}
	length = strlen(out);
	if (length > EXCERPT)
		out[pg_mbcliplen(out, length, EXCERPT)] = '\0';
	return out;
}

/* ---- settling --------------------------------------------------------------------------- */

/* Decide what becomes of it; the error is copied, without secrets. */
void
notifier_settle(Sending *s, Verdict verdict, const char *error)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);

	s->settled = true;
	s->verdict = verdict;
	s->request = NULL;
	s->error = error ? pipeline_redact(s->secret, error) : NULL;
	MemoryContextSwitchTo(old);
}

/* Free it. */
void
notifier_forget(Sending *s)
{
	notifier_release_result(s);
	MemoryContextDelete(s->context);
}

/* ---- building ---------------------------------------------------------------------------- */

/* How many of the alerts say that the channel does not work? */
static int
tells_of(const Message *m, const char *channel)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, m->alerts)
	{
		MessageAlert *a = lfirst(lc);
		char	   *of = pipeline_label(a->labels, "channel");

		n += strcmp(a->alertname, UNDELIVERABLE) == 0 && of != NULL && strcmp(of, channel) == 0;
	}
	return n;
}

static bool
tells_only_of(const Message *m, const char *channel)
{
	return m->alerts != NIL && tells_of(m, channel) == list_length(m->alerts);
}

/*
 * That a channel does not work is told on another: one of the same owner that
 * works as far as is known.  Where that one hears of the alert by a group of its
 * own, or was told the same along with this one (by its route; or by us, before we
 * died), it is not told again.  Returns the name of that channel, NULL when there
 * is none.
 */
static char *
tell_other(const Sending *s)
{
	pipeline_sql("WITH other AS MATERIALIZED ("
				 "  SELECT c.name FROM pipeline.channels c LEFT JOIN pipeline.channel_health h ON h.channel = c.name"
				 "   WHERE c.owner = $2 AND c.name <> $3 AND c.kind NOT IN ('notify', 'log') AND NOT c.config ? 'heartbeat'"
				 "   ORDER BY coalesce(h.failures, 0), h.last_success_at IS NULL, c.name LIMIT 1),"
				 " told AS ("
				 "  INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)"
				 "  SELECT n.owner, o.name, n.event, n.group_key, n.alert_ids, n.message"
				 "  FROM pipeline.notifications n, other o"
				 "  WHERE n.notification_id = $1"
				 "  AND NOT EXISTS (SELECT FROM pipeline.alert_group_members m JOIN pipeline.alert_groups g USING (group_id)"
				 "    LEFT JOIN pipeline.routes r ON r.name = g.route"
				 "    WHERE m.alert_id = ANY (n.alert_ids) AND m.left_at IS NULL AND (g.channel = o.name OR r.channels @> ARRAY[o.name]))"
				 "  AND NOT EXISTS (SELECT FROM pipeline.notifications x"
				 "    WHERE x.channel = o.name AND x.event = n.event AND x.alert_ids && n.alert_ids"
				 "    AND (x.notification_id > n.notification_id OR x.created_at > n.created_at - interval '5 seconds')))"
				 " SELECT (SELECT name FROM other)", SPI_OK_SELECT, sql_int8(s->notification_id),
				 sql_role(s->channel_owner), sql_text(s->channel));
	return pipeline_sql_text(0, 1);
}

static bool
redirect(void *arg)
{
	static const char *const key[] = {"told_on"};
	Sending    *s = arg;
	const char *other = tell_other(s);

	if (other)
		s->progress = pipeline_jsonb_object(1, key, &other);
	notifier_settle(s, VERDICT_DEAD, other ?
					psprintf("it tells that this channel does not work, and is told on channel \"%s\"", other) :
					"it tells that this channel does not work, and its owner has no other");
	return true;
}

static bool
build(void *arg)
{
	Sending    *s = arg;
	Request    *r = palloc0_object(Request);
	char	   *why = NULL;

	if (s->secret == NULL && s->secret_ref != NULL)
	{
		s->secret = pipeline_secret_read(s->channel_owner, s->secret_ref, &why);
		if (s->secret == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FILE),
					 errmsg("%s", why)));
	}
	r->method = "POST";
	s->kind->request(s, r);
	s->request = r;
	return true;
}

/*
 * Build the request of a step.  A notification that cannot be written is dead.
 * Inside the transaction that claims it, or that judged the answer before.
 */
void
notifier_build(Sending *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	ErrorData  *edata;

	if (s->step == 0 && tells_only_of(s->message, s->channel))
		edata = pipeline_try(redirect, s);
	else
		edata = pipeline_try(build, s);
	if (edata != NULL)
		notifier_settle(s, VERDICT_DEAD, edata->message);
	MemoryContextSwitchTo(old);
}

/* ---- judging ------------------------------------------------------------------------------ */

static bool
judge(void *arg)
{
	Sending    *s = arg;
	const TransportResult *r = s->result;

	s->verdict = s->kind->judge ? s->kind->judge(s, r) : pipeline_judge_http(s, r);
	return true;
}

/* A kind judges what was answered; what was not, we. */
static void
judge_result(Sending *s)
{
	const TransportResult *r = s->result;
	ErrorData  *edata;

	s->status = r->status;
	s->retry_after = r->retry_after;
	s->answer = r->length > 0 ? presentable(s->secret, r->answer, r->length) : NULL;
	s->error = NULL;
	if (r->outcome != TRANSPORT_ANSWERED)
	{
		char	   *error = r->error ? r->error : pstrdup("no answer");

		notifier_settle(s, r->outcome == TRANSPORT_REFUSED ? VERDICT_DEAD : VERDICT_RETRY,
						presentable(s->secret, error, strlen(error)));
		return;
	}
	edata = pipeline_try(judge, s);
	if (edata != NULL)
		notifier_settle(s, VERDICT_DEAD, edata->message);
	else if (s->verdict != VERDICT_NEXT)
		notifier_settle(s, s->verdict, s->error);
}

/* Judge the answer that is there, and build the next request if there is one. */
void
notifier_judge(Sending *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);

	judge_result(s);
	notifier_release_result(s);
	MemoryContextSwitchTo(old);
	if (s->settled)
		return;
	s->step++;
	notifier_build(s);
}

/* ---- recording ---------------------------------------------------------------------------- */

/* Full jitter: anything up to a wait that doubles with each try. */
static int64
retry_delay_ms(const Sending *s)
{
	double		most = (double) pipeline_notification_retry_delay * (1 << Min(s->tries - 1, 20));
	int64		ms = (int64) (pg_prng_double(&pg_global_prng_state) * Min(most, MAX_DELAY_MS));

	return Max(ms, Min(s->retry_after, MAX_DELAY_MS / 1000) * 1000);
}

/* Why a failed attempt was the last, or NULL. */
static const char *
last_attempt(const Sending *s)
{
	if (strcmp(s->event, "heartbeat") == 0)
		return "a heartbeat is not tried again";
	if (s->tries >= s->max_attempts)
		return psprintf("given up after %d %s", s->tries, s->tries == 1 ? "attempt" : "attempts");
	if (TimestampDifferenceExceeds(s->queued_at, GetCurrentTimestamp(), 0) &&
		GetCurrentTimestamp() - s->queued_at >
		(int64) pipeline_notification_max_age * USECS_PER_SEC)
		return "given up for its age";
	return NULL;
}

/*
 * Write the new state; false when it is not ours any more.  A channel of the
 * same name may by now be somebody else's: that is not told what is left.
 */
static bool
write_state(Sending *s, const char *state, const char *error, int64 delay_ms)
{
	Datum		key = DirectFunctionCall1(uuid_in, CStringGetDatum(s->idempotency_key));

	return pipeline_sql("UPDATE pipeline.notifications n SET state = u.state,"
						" last_error = CASE WHEN u.state <> $3 THEN 'the channel was dropped' ELSE $4 END,"
						" sent_at = CASE WHEN u.state = 'sent' THEN clock_timestamp() END,"
						" next_attempt_at = CASE WHEN u.state = 'pending' THEN clock_timestamp() + $5 * interval '1 ms' ELSE n.next_attempt_at END,"
						" progress = CASE WHEN u.state <> 'sent' THEN $7 END"
						" FROM (SELECT CASE WHEN $3 = 'pending' AND NOT EXISTS (SELECT FROM pipeline.channels c"
						"    WHERE c.name = $6 AND c.owner = $8) THEN 'dead' ELSE $3 END AS state) u"
						" WHERE n.notification_id = $1 AND n.idempotency_key = $2 AND n.state = 'sending'",
						SPI_OK_UPDATE, sql_int8(s->notification_id),
						sql_datum(UUIDOID, key, false), sql_text(state), sql_text(error),
						sql_int8(delay_ms), sql_text(s->channel), sql_jsonb(s->progress),
						sql_role(s->channel_owner)) > 0;
}

static void
write_delivery(const Sending *s, const char *outcome, const char *error)
{
	TimestampTz started = s->started_at ? s->started_at : GetCurrentTimestamp();

	pipeline_sql("INSERT INTO pipeline.deliveries (notification_id, owner, channel, attempt, started_at, ms, outcome, status, error, answer)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", SPI_OK_INSERT,
				 sql_int8(s->notification_id), sql_role(s->owner), sql_text(s->channel),
				 sql_int4(s->attempt), sql_time(started), sql_float8(s->ms), sql_text(outcome),
				 sql_datum(INT4OID, Int32GetDatum(s->status), s->status == 0),
				 sql_text(error), sql_text(s->answer));
}

/* A channel that was said not to work does. */
static void
note_success(Sending *s)
{
	notifier_succeeded(s->channel_state);
	if (s->channel_state->alerted)
		(void) pipeline_resolve_alerts(s->channel_owner, UNDELIVERABLE, s->channel);
	s->channel_state->alerted = false;
}

/*
 * Raise the alert that a channel's notifications do not arrive; its own reach
 * another channel, see redirect().
 */
void
notifier_undeliverable(Oid owner, const char *channel, int64 notification_id,
					   const char *error)
{
	static const char *const label_keys[] = {"channel"};
	static const char *const detail_keys[] = {"notification_id", "error"};
	const char *details[] = {psprintf("%lld", (long long) notification_id), error};
	AlertSpec	spec = {
		.owner = owner,
		.alertname = UNDELIVERABLE,
		.severity = "error",
		.source = channel,
		.summary = psprintf("channel \"%s\" could not be told: %s", channel, error),
		.labels = pipeline_jsonb_object(1, label_keys, &channel),
		.detail = pipeline_jsonb_object(2, detail_keys, details)
	};

	ereport(WARNING,
			(errmsg("notification %lld to channel \"%s\" was given up: %s",
					(long long) notification_id, channel, error)));
	(void) pipeline_raise_alert(&spec);
}

static void
note_failure(Sending *s, bool dead, const char *error)
{
	bool		counts = s->verdict == VERDICT_RETRY && s->status != 429;

	/* Told on another channel: this one was not tried. */
	if (tells_only_of(s->message, s->channel))
		return;
	notifier_failed(s->channel_state, error,
					s->verdict == VERDICT_RETRY ? s->retry_after : 0, counts);
	if (!dead || s->message->test || s->message->heartbeat)
		return;
	s->channel_state->alerted = true;
	if (tells_of(s->message, s->channel) > 0)
		(void) tell_other(s);
	notifier_undeliverable(s->channel_owner, s->channel, s->notification_id, error);
}

/*
 * Record a sending that is settled.  Inside a subtransaction; an error there
 * leaves it as it was.
 */
bool
notifier_record(Sending *s)
{
	const char *last = s->verdict == VERDICT_RETRY ? last_attempt(s) : NULL;
	bool		dead = s->verdict == VERDICT_DEAD || last != NULL;
	const char *state = dead ? "dead" : s->verdict == VERDICT_SENT ? "sent" : "pending";
	const char *error = last ? psprintf("%s (%s)", s->error ? s->error : "no answer", last) : s->error;

	if (!write_state(s, state, error, retry_delay_ms(s)))
		return true;
	write_delivery(s, s->verdict == VERDICT_SENT ? "sent" : dead ? "dead" : "retry", error);
	if (s->verdict == VERDICT_SENT)
		note_success(s);
	else
		note_failure(s, dead, error);
	return true;
}

/* ---- old ones ------------------------------------------------------------------------------ */

#define TRIM_BATCH 500
#define TRIM_AGAIN_MS 200
#define TRIM_PAUSE_MS 60000

/*
 * Delete a batch of notifications that are over and old, and heartbeats after a
 * day; as part of each look.  See notifier.c.
 */
long
notifier_trim(void)
{
	uint64		n = 0;

	n += pipeline_sql("DELETE FROM pipeline.notifications WHERE notification_id IN (SELECT notification_id FROM pipeline.notifications"
					  "  WHERE event = 'heartbeat' AND state IN ('sent', 'dead') AND created_at < now() - interval '1 day'"
					  "  ORDER BY notification_id LIMIT $1 FOR UPDATE SKIP LOCKED)", SPI_OK_DELETE,
					  sql_int8(TRIM_BATCH));
	if (pipeline_notification_days > 0)
		n += pipeline_sql("DELETE FROM pipeline.notifications WHERE notification_id IN (SELECT notification_id FROM"
						  "  (SELECT * FROM pipeline.notifications ORDER BY notification_id LIMIT $1) o"
						  "  WHERE state IN ('sent', 'dead') AND created_at < now() - make_interval(days => $2))", SPI_OK_DELETE,
						  sql_int8(TRIM_BATCH), sql_int4(pipeline_notification_days));
	n += pipeline_alert_trim(TRIM_BATCH, pipeline_notification_days, pipeline_alert_days);
	return n >= TRIM_BATCH ? TRIM_AGAIN_MS : TRIM_PAUSE_MS;
}
