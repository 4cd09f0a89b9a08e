/*
 * notifier_claim.c
 *	  Which notifications are sent next.
 *
 * Of each channel the oldest that are due, as many as it may have; and of one
 * group one at a time, in order, so that a peer never hears that something is
 * over before it has heard of it.  Channels of kinds notify and log need no
 * peer: theirs are told in this transaction.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/memutils.h"

#include "alert/notifier.h"

/* Notifications of a channel of kind notify or log in one transaction. */
#define LOCAL_BATCH 200
/* After one of those could not be told; and when that is said again. */
#define LOCAL_AGAIN_MS 2000
#define SAY_AGAIN_MS 60000

/* A channel with something pending. */
typedef struct Due
{
	char	   *name;
	char	   *kind;			/* NULL: it was dropped */
	Jsonb	   *config;
	Oid			owner;
	char	   *secret_ref;
	int			rate;
	int			max_attempts;
	int64		version;		/* another one when it was replaced */
} Due;

/* ---- what a dead notifier has left --------------------------------------------------- */

/*
 * Take back the notifications that were being sent when the last notifier
 * ended: they may have arrived, and are sent again.
 */
void
notifier_recover(void)
{
	uint64		n;
	List	   *dead = NIL;

	n = pipeline_sql("WITH lost AS ("
					 "  UPDATE pipeline.notifications n SET next_attempt_at = clock_timestamp(),"
					 "   last_error = 'the notifier ended during the attempt',"
					 "   state = CASE WHEN attempts - attempts_before >= coalesce((SELECT max_attempts"
					 "     FROM pipeline.channels c WHERE c.name = n.channel), 1) THEN 'dead' ELSE 'pending' END"
					 "  WHERE state = 'sending' RETURNING *),"
					 " noted AS ("
					 "  INSERT INTO pipeline.deliveries (notification_id, owner, channel, attempt, started_at, ms, outcome, error)"
					 "  SELECT notification_id, owner, channel, attempts, clock_timestamp(), 0, 'lost', last_error FROM lost)"
					 " SELECT notification_id, channel, owner::oid FROM lost WHERE state = 'dead'",
					 SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Sending    *s = palloc0_object(Sending);

		s->notification_id = pipeline_sql_int8(i, 1);
		s->channel = pipeline_sql_text(i, 2);
		s->owner = DatumGetObjectId(pipeline_sql_datum(i, 3, &isnull));
		dead = lappend(dead, s);
	}
	for (int i = 0; i < list_length(dead); i++)
	{
		Sending    *s = list_nth(dead, i);

		notifier_undeliverable(s->owner, s->channel, s->notification_id,
							   "the notifier ended during the last attempt");
	}
}

/* ---- notify and log -------------------------------------------------------------------- */

/* One message of a channel of kind notify or log. */
static void
tell_local(const Due *c, const char *payload, const char *line)
{
	pipeline_channel_send(c->kind, c->config, payload, line);
}

/*
 * Tell a channel of kind notify or log what is due: the same transaction says
 * that it was, so they are told exactly once.
 */
static uint64
send_local(const Due *c)
{
	char	  **payloads;
	char	  **lines;
	uint64		n;

	n = pipeline_sql("WITH due AS (SELECT notification_id FROM pipeline.notifications"
					 "   WHERE channel = $1 AND state = 'pending' AND next_attempt_at <= clock_timestamp()"
					 "   ORDER BY next_attempt_at, notification_id LIMIT $2 FOR UPDATE SKIP LOCKED),"
					 " sent AS (UPDATE pipeline.notifications SET state = 'sent', sent_at = clock_timestamp(), attempts = attempts + 1"
					 "   WHERE notification_id = ANY (ARRAY(SELECT notification_id FROM due)) RETURNING *),"
					 " noted AS (INSERT INTO pipeline.deliveries (notification_id, owner, channel, attempt, started_at, ms, outcome)"
					 "   SELECT notification_id, owner, channel, attempts, sent_at, 0, 'sent' FROM sent)"
					 " SELECT (CASE WHEN octet_length(message::text) < 7600"
					 "    THEN jsonb_build_object('notification_id', notification_id, 'event', event) || message"
					 "    ELSE jsonb_build_object('notification_id', notification_id, 'event', event, 'status', message -> 'status',"
					 "      'title', left(message ->> 'title', 300), 'severity', message -> 'severity', 'truncated', true,"
					 "      'alert_ids', to_jsonb(alert_ids[1:100])) END)::text,"
					 "  format('%s%s: %s [%s]', event, ' ' || nullif(message ->> 'status', event), message ->> 'title', message ->> 'severity')"
					 " FROM sent ORDER BY notification_id", SPI_OK_SELECT,
					 sql_text(c->name), sql_int8(LOCAL_BATCH));
	payloads = palloc_array(char *, n + 1);
	lines = palloc_array(char *, n + 1);
	for (uint64 i = 0; i < n; i++)
	{
		payloads[i] = pipeline_sql_text(i, 1);
		lines[i] = pipeline_sql_text(i, 2);
	}
	for (uint64 i = 0; i < n; i++)
		tell_local(c, payloads[i], lines[i]);
	return n;
}

/* ---- over the network ------------------------------------------------------------------ */

static char *
copy_text(uint64 row, int column)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text;
}

/* Make a sending of a row that was claimed. */
static Sending *
make_sending(const Due *c, ChannelState *state, uint64 row)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pipeline notification",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Sending    *s = palloc0_object(Sending);
	Datum		progress;
	bool		isnull;

	s->context = context;
	s->notification_id = pipeline_sql_int8(row, 1);
	s->idempotency_key = copy_text(row, 2);
	s->event = copy_text(row, 3);
	s->group_key = copy_text(row, 4);
	s->owner = DatumGetObjectId(pipeline_sql_datum(row, 5, &isnull));
	s->created_at = copy_text(row, 6);
	s->attempt = (int) pipeline_sql_int8(row, 7);
	s->tries = (int) pipeline_sql_int8(row, 8);
	s->queued_at = DatumGetTimestampTz(pipeline_sql_datum(row, 9, &isnull));
	s->message = pipeline_message_read(DatumGetJsonbPCopy(pipeline_sql_datum(row, 10, &isnull)));
	progress = pipeline_sql_datum(row, 11, &isnull);
	s->progress = isnull ? NULL : DatumGetJsonbPCopy(progress);
	s->channel = pstrdup(c->name);
	s->channel_owner = c->owner;
	s->kind = pipeline_channel_kind(c->kind);
	s->config = DatumGetJsonbPCopy(JsonbPGetDatum(c->config));
	s->secret_ref = c->secret_ref ? pstrdup(c->secret_ref) : NULL;
	s->max_attempts = c->max_attempts;
	s->channel_state = state;
	MemoryContextSwitchTo(old);
	return s;
}

/* Claim as many of a channel as may be, `most` at most. */
static List *
claim_of_channel(const Due *c, ChannelState *state, int most)
{
	List	   *claimed = NIL;
	uint64		n;

	/*
	 * Written so that there is but one way to run it, by the indexes: the plan
	 * is made while the table is small.
	 */
	n = pipeline_sql("WITH due AS (SELECT notification_id FROM pipeline.notifications n"
					 "   WHERE channel = $1 AND state = 'pending' AND next_attempt_at <= clock_timestamp()"
					 "   AND notification_id = (SELECT min(e.notification_id) FROM pipeline.notifications e"
					 "     WHERE e.channel = $1 AND e.group_key = n.group_key AND e.state IN ('pending', 'sending'))"
					 "   ORDER BY next_attempt_at, notification_id LIMIT $2 FOR UPDATE SKIP LOCKED),"
					 " claimed AS (UPDATE pipeline.notifications SET state = 'sending', attempts = attempts + 1"
					 "   WHERE notification_id = ANY (ARRAY(SELECT notification_id FROM due)) RETURNING *)"
					 " SELECT notification_id, idempotency_key, event, group_key, owner::oid,"
					 "   to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
					 "   attempts, attempts - attempts_before, queued_at, message, progress"
					 " FROM claimed ORDER BY notification_id", SPI_OK_SELECT,
					 sql_text(c->name), sql_int8(most));
	for (uint64 i = 0; i < n; i++)
		claimed = lappend(claimed, make_sending(c, state, i));
	notifier_claimed(state, (int) n);
	return claimed;
}

/* When more of this channel are due that were not yet; *wait in ms. */
static void
wait_for_next(const Due *c, long *wait)
{
	bool		isnull;
	TimestampTz next;
	TimestampTz now = GetCurrentTimestamp();
	long		ms;

	pipeline_sql("SELECT min(next_attempt_at) FROM pipeline.notifications"
				 " WHERE channel = $1 AND state = 'pending' AND next_attempt_at > $2",
				 SPI_OK_SELECT, sql_text(c->name), sql_time(now));
	next = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	if (isnull)
		return;
	ms = TimestampDifferenceMilliseconds(now, next) + 1;
	if (*wait < 0 || ms < *wait)
		*wait = ms;
}

/* ---- all channels ----------------------------------------------------------------------- */

/* The channels that have something pending. */
static Due *
due_channels(uint64 *n)
{
	Due		   *list;

	*n = pipeline_sql("WITH RECURSIVE pending AS ("
					  "  (SELECT channel FROM pipeline.notifications WHERE state = 'pending' ORDER BY channel LIMIT 1)"
					  "  UNION ALL"
					  "  SELECT n.channel FROM pending p, LATERAL (SELECT channel FROM pipeline.notifications"
					  "    WHERE state = 'pending' AND channel > p.channel ORDER BY channel LIMIT 1) n)"
					  " SELECT p.channel, c.kind, c.config, c.owner::oid, c.secret_ref, c.rate_per_minute, c.max_attempts, c.xmin::text::bigint"
					  " FROM pending p LEFT JOIN pipeline.channels c ON c.name = p.channel", SPI_OK_SELECT);
	list = palloc0_array(Due, *n + 1);
	for (uint64 i = 0; i < *n; i++)
	{
		Due		   *c = &list[i];
		bool		isnull;

		c->name = pipeline_sql_text(i, 1);
		c->kind = pipeline_sql_text(i, 2);
		if (c->kind == NULL)
			continue;
		c->config = DatumGetJsonbPCopy(pipeline_sql_datum(i, 3, &isnull));
		c->owner = DatumGetObjectId(pipeline_sql_datum(i, 4, &isnull));
		c->secret_ref = pipeline_sql_text(i, 5);
		c->rate = (int) pipeline_sql_int8(i, 6);
		c->max_attempts = (int) pipeline_sql_int8(i, 7);
		c->version = pipeline_sql_int8(i, 8);
	}
	return list;
}

typedef struct LocalWork
{
	const Due  *c;
	uint64		n;
} LocalWork;

static bool
try_local(void *arg)
{
	LocalWork  *work = arg;

	work->n = send_local(work->c);
	return true;
}

/*
 * Tell a channel of kind notify or log.  What fails there, such as a queue of
 * notifications that is full because somebody does not listen, is not to hold
 * up the others.
 */
static void
claim_local(const Due *c, long *wait)
{
	static TimestampTz said = 0;
	TimestampTz now = GetCurrentTimestamp();
	LocalWork	work = {.c = c};
	ErrorData  *edata = pipeline_try(try_local, &work);

	if (edata != NULL)
	{
		if (said == 0 || TimestampDifferenceExceeds(said, now, SAY_AGAIN_MS))
			ereport(LOG,
					(errmsg("notifier could not tell channel \"%s\": %s", c->name, edata->message)));
		said = now;
		if (*wait < 0 || *wait > LOCAL_AGAIN_MS)
			*wait = LOCAL_AGAIN_MS;
		return;
	}
	if (work.n == LOCAL_BATCH)
		*wait = 0;
	wait_for_next(c, wait);
}

/* Claim of one channel; returns what was claimed. */
static List *
claim_channel(const Due *c, int room, long *wait)
{
	ChannelState *state;
	List	   *claimed;
	int			most;

	if (c->kind == NULL)
	{
		pipeline_sql("UPDATE pipeline.notifications SET state = 'dead', last_error = 'the channel was dropped'"
					 " WHERE channel = $1 AND state = 'pending'", SPI_OK_UPDATE, sql_text(c->name));
		return NIL;
	}
	if (pipeline_channel_kind(c->kind) == NULL)
	{
		claim_local(c, wait);
		return NIL;
	}
	if (!notifier_can_talk())
		return NIL;
	state = notifier_channel(c->name, c->version, c->owner, c->rate);
	most = Min(room, notifier_allowance(state, GetCurrentTimestamp(), wait));
	if (most <= 0)
		return NIL;
	claimed = claim_of_channel(c, state, most);
	if (list_length(claimed) < most)
		wait_for_next(c, wait);
	else if (list_length(claimed) > 0 && list_length(claimed) < room)
		(void) notifier_allowance(state, GetCurrentTimestamp(), wait);
	return claimed;
}

/*
 * Claim at most `room` notifications that are due.  *wait becomes in how many
 * milliseconds there may be more that no event announces; -1: never.  Channels
 * take turns in being the first.
 */
List *
notifier_claim(int room, long *wait)
{
	static uint64 turn = 0;
	uint64		n;
	Due		   *list = due_channels(&n);
	List	   *claimed = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		List	   *more = claim_channel(&list[(i + turn) % n], room, wait);

		room -= list_length(more);
		claimed = list_concat(claimed, more);
	}
	turn++;
	return claimed;
}
