/*
 * notifier_channel.c
 *	  What the notifier remembers of each channel: how many it may send now.
 *
 * Rate: a bucket of rate_per_minute tokens, which fills up in a minute.
 *
 * Circuit: after CIRCUIT_FAILURES failures in a row nothing is sent for a while;
 * then one attempt tries whether it works again.  Each time that it does not,
 * the while is twice as long.  A pause that the peer asks for (Retry-After)
 * counts as well.
 *
 * Share: a channel has a quarter of the connections at most, and an owner half,
 * so that a peer that does not answer holds up its own only.
 *
 * The table channel_health has it for people, and for the next notifier.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/memutils.h"

#include "alert/notifier.h"

#define MAX_PAUSE_MS 600000
#define MAX_RETRY_AFTER 3600
/* How often the time of the last success is written while all is well. */
#define WRITE_MS 5000

static MemoryContext context = NULL;
static List *channels = NIL;	/* of ChannelState * */

/* ---- finding ------------------------------------------------------------------------ */

/* Take over what the notifier before us knew. */
static void
read_health(ChannelState *c)
{
	bool		isnull;
	int64		recent;

	if (pipeline_sql("SELECT failures, paused_until, paused_for = 'circuit' FROM pipeline.channel_health WHERE channel = $1",
					 SPI_OK_SELECT, sql_text(c->name)) > 0)
	{
		c->failures = (int) pipeline_sql_int8(0, 1);
		c->paused_until = DatumGetTimestampTz(pipeline_sql_datum(0, 2, &isnull));
		if (isnull)
			c->paused_until = 0;
		c->probing = pipeline_sql_bool(0, 3) && c->failures >= CIRCUIT_FAILURES;
		c->paused_for = c->probing ? "circuit" : "retry_after";
		c->openings = c->probing ? 1 : 0;
	}
	if (c->rate == 0)
		return;
	pipeline_sql("SELECT count(*) FROM (SELECT started_at FROM pipeline.deliveries WHERE channel = $1"
				 " ORDER BY delivery_id DESC LIMIT $2) d WHERE started_at > clock_timestamp() - interval '1 minute'",
				 SPI_OK_SELECT, sql_text(c->name), sql_int8(c->rate));
	recent = pipeline_sql_int8(0, 1);
	c->tokens = c->rate - recent;
}

/* It is another one now: what was wrong with the old one says nothing of it. */
static void
forget_failures(ChannelState *c)
{
	c->failures = c->openings = 0;
	c->paused_until = 0;
	c->probing = false;
	c->alerted = true;
	c->last_success_at = c->last_failure_at = 0;
	if (c->last_error != NULL)
		pfree(c->last_error);
	c->last_error = NULL;
	c->changed = false;
}

/*
 * What is known of a channel.  `version` is another one when it was replaced.
 * Inside an SPI connection and the scope of the extension.
 */
ChannelState *
notifier_channel(const char *name, int64 version, Oid owner, int rate)
{
	ChannelState *c = NULL;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, channels)
	{
		if (strcmp(((ChannelState *) lfirst(lc))->name, name) == 0)
			c = lfirst(lc);
	}
	if (c != NULL)
	{
		if (c->version != version)
			forget_failures(c);
		if (c->rate != rate)
			c->tokens = rate;
		c->version = version;
		c->owner = owner;
		c->rate = rate;
		return c;
	}
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "pipeline notifier channels",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	c = palloc0_object(ChannelState);
	c->name = pstrdup(name);
	MemoryContextSwitchTo(old);
	c->version = version;
	c->owner = owner;
	c->rate = rate;
	c->tokens_at = GetCurrentTimestamp();
	c->alerted = true;
	read_health(c);
	old = MemoryContextSwitchTo(context);
	channels = lappend(channels, c);
	MemoryContextSwitchTo(old);
	return c;
}

/* ---- how many ------------------------------------------------------------------------ */

static void
fill_bucket(ChannelState *c, TimestampTz now)
{
	double		seconds = (now - c->tokens_at) / (double) USECS_PER_SEC;

	if (seconds > 0)
		c->tokens = Min((double) c->rate, c->tokens + seconds * c->rate / 60.0);
	c->tokens_at = now;
}

static int
in_flight_of(Oid owner)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, channels)
	{
		if (((ChannelState *) lfirst(lc))->owner == owner)
			n += ((ChannelState *) lfirst(lc))->in_flight;
	}
	return n;
}

/*
 * Count what is under way, in all and of each channel: all that is not recorded.
 * Before each claim, so that nothing can be counted for ever.
 */
int
notifier_count(List *sendings)
{
	ListCell   *lc;
	int			n = 0;

	foreach(lc, channels)
		((ChannelState *) lfirst(lc))->in_flight = 0;
	foreach(lc, sendings)
	{
		Sending    *s = lfirst(lc);

		if (s->settled && s->verdict == VERDICT_NEXT)
			continue;
		s->channel_state->in_flight++;
		n++;
	}
	return n;
}

static void
wait_until(long *wait, TimestampTz now, TimestampTz until)
{
	long		ms = TimestampDifferenceMilliseconds(now, until) + 1;

	if (*wait < 0 || ms < *wait)
		*wait = ms;
}

/*
 * How many notifications the channel may be sent now.  When that is none for a
 * time that is known, *wait is made no longer than that.
 */
int
notifier_allowance(ChannelState *c, TimestampTz now, long *wait)
{
	int			n = Max(1, pipeline_notifier_connections / 4) - c->in_flight;

	n = Min(n, Max(1, pipeline_notifier_connections / 2) - in_flight_of(c->owner));
	if (c->paused_until > now)
	{
		wait_until(wait, now, c->paused_until);
		return 0;
	}
	if (c->probing)
		n = Min(n, 1 - c->in_flight);
	if (n <= 0 || c->rate == 0)
		return Max(n, 0);
	fill_bucket(c, now);
	if (c->tokens < 1)
	{
		wait_until(wait, now, now + (TimestampTz) ((1 - c->tokens) * USECS_PER_MINUTE / c->rate));
		return 0;
	}
	return Min(n, (int) c->tokens);
}

/* So many of them have been taken. */
void
notifier_claimed(ChannelState *c, int n)
{
	c->in_flight += n;
	if (c->rate > 0)
		c->tokens -= n;
}

/* ---- how it went --------------------------------------------------------------------- */

/* It took one. */
void
notifier_succeeded(ChannelState *c)
{
	c->changed |= c->failures > 0 || c->paused_until != 0 || c->last_success_at == 0;
	c->failures = c->openings = 0;
	c->paused_until = 0;
	c->probing = false;
	c->last_success_at = GetCurrentTimestamp();
}

/* Leave it alone for a while. */
static void
open_circuit(ChannelState *c, TimestampTz now)
{
	int64		ms = (int64) pipeline_notification_retry_delay * 3 << Min(c->openings, 12);

	c->openings++;
	c->probing = true;
	c->paused_for = "circuit";
	c->paused_until = TimestampTzPlusMilliseconds(now, Min(ms, MAX_PAUSE_MS));
	ereport(LOG,
			(errmsg("channel \"%s\" is left alone for %lld ms: %d attempts in a row have failed",
					c->name, (long long) Min(ms, MAX_PAUSE_MS), c->failures)));
}

/*
 * An attempt failed.  With `counts`, the channel may be what is wrong and not
 * the message.
 */
void
notifier_failed(ChannelState *c, const char *error, long retry_after, bool counts)
{
	TimestampTz now = GetCurrentTimestamp();

	if (c->last_error != NULL)
		pfree(c->last_error);
	c->last_error = MemoryContextStrdup(context, error ? error : "");
	c->last_failure_at = now;
	c->changed = true;
	if (retry_after > 0)
	{
		c->paused_until = Max(c->paused_until,
							  TimestampTzPlusMilliseconds(now, Min(retry_after, MAX_RETRY_AFTER) * 1000L));
		c->paused_for = "retry_after";
	}
	if (!counts)
		return;
	c->failures++;
	/* Those that were under way when it opened say nothing new. */
	if (c->failures >= CIRCUIT_FAILURES && c->paused_until <= now)
		open_circuit(c, now);
}

/* ---- the table ------------------------------------------------------------------------- */

static void
write_one(ChannelState *c)
{
	SqlArg		paused = sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(c->paused_until),
								   c->paused_until == 0);

	/* A channel that was dropped has no row. */
	pipeline_sql("INSERT INTO pipeline.channel_health AS h (channel, owner, failures, paused_until, paused_for,"
				 "   last_success_at, last_failure_at, last_error)"
				 " SELECT name, owner, $2, $3, $4, $5, $6, $7 FROM pipeline.channels WHERE name = $1"
				 " ON CONFLICT (channel) DO UPDATE SET failures = $2, paused_until = $3, paused_for = $4,"
				 "   last_success_at = coalesce($5, h.last_success_at), last_failure_at = coalesce($6, h.last_failure_at),"
				 "   last_error = coalesce($7, h.last_error)", SPI_OK_INSERT,
				 sql_text(c->name), sql_int4(c->failures), paused,
				 sql_text(c->paused_until == 0 ? NULL : c->paused_for),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(c->last_success_at), c->last_success_at == 0),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(c->last_failure_at), c->last_failure_at == 0),
				 sql_text(c->last_error));
	c->changed = false;
	c->written_at = GetCurrentTimestamp();
}

/* Write what has changed; as part of each look.  See notifier.c. */
long
notifier_write_health(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		again = -1;
	ListCell   *lc;

	foreach(lc, channels)
	{
		ChannelState *c = lfirst(lc);

		if (!c->changed && c->last_success_at <= c->written_at)
			continue;
		if (c->changed || TimestampDifferenceExceeds(c->written_at, now, WRITE_MS))
			write_one(c);
		else
			wait_until(&again, now, TimestampTzPlusMilliseconds(c->written_at, WRITE_MS));
	}
	return again;
}

/* ---- heartbeats ------------------------------------------------------------------------ */

/*
 * Write the heartbeats that are due: for a channel whose config asks for one,
 * so that a peer which hears none knows that something is wrong.  One that is
 * not sent yet is enough.
 */
long
notifier_heartbeats(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		isnull;
	long		wait = -1;
	TimestampTz next;

	pipeline_sql("WITH due AS ("
				 "  INSERT INTO pipeline.channel_health AS h (channel, owner, heartbeat_at)"
				 "  SELECT c.name, c.owner, clock_timestamp() FROM pipeline.channels c"
				 "   LEFT JOIN pipeline.channel_health o ON o.channel = c.name"
				 "   WHERE c.config ? 'heartbeat' AND (o.heartbeat_at IS NULL"
				 "     OR o.heartbeat_at + (c.config ->> 'heartbeat')::interval <= clock_timestamp())"
				 "  ON CONFLICT (channel) DO UPDATE SET heartbeat_at = excluded.heartbeat_at RETURNING channel)"
				 " INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)"
				 " SELECT c.owner, c.name, 'heartbeat', 'heartbeat-' || c.name, '{}',"
				 "  jsonb_build_object('status', 'firing', 'title', 'heartbeat', 'severity', 'info',"
				 "   'group_labels', '{}'::jsonb, 'common_labels', c.labels || '{\"alertname\": \"Heartbeat\", \"severity\": \"info\"}',"
				 "   'alerts', '[]'::jsonb, 'omitted', 0, 'heartbeat', true)"
				 " FROM due JOIN pipeline.channels c ON c.name = due.channel"
				 " WHERE NOT EXISTS (SELECT FROM pipeline.notifications n WHERE n.channel = c.name"
				 "   AND n.group_key = 'heartbeat-' || c.name AND n.state IN ('pending', 'sending'))",
				 SPI_OK_INSERT);
	pipeline_sql("SELECT min(coalesce(h.heartbeat_at, clock_timestamp()) + (c.config ->> 'heartbeat')::interval)"
				 " FROM pipeline.channels c LEFT JOIN pipeline.channel_health h ON h.channel = c.name"
				 " WHERE c.config ? 'heartbeat'", SPI_OK_SELECT);
	next = DatumGetTimestampTz(pipeline_sql_datum(0, 1, &isnull));
	if (!isnull)
		wait_until(&wait, now, next);
	return wait;
}
