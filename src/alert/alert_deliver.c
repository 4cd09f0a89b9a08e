/*
 * alert_deliver.c
 *	  Who is told of an event, and how.
 *
 * A channel hears the alerts of its owner; a channel of an administrator hears
 * all.  Both kinds act at commit and never for what rolled back: NOTIFY by its
 * nature, the log by a list that lives until the end of the transaction and
 * that follows its subtransactions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "common/string.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "alert/alert_object.h"

/* NOTIFY takes less than 8000 bytes; the rest is a margin. */
#define MAX_PAYLOAD 7900
#define MAX_LINE 1000

typedef struct PendingLine
{
	SubTransactionId subid;
	int			level;
	char	   *text;
} PendingLine;

/* Lines for the log at commit; in TopTransactionContext. */
static List *pending_lines = NIL;

/* Keep a line for the commit, on one line and not endless. */
static void
add_line(int level, const char *text)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	PendingLine *line = palloc(sizeof(PendingLine));
	int			len = strlen(text);

	if (len > MAX_LINE)
		len = pg_mbcliplen(text, len, MAX_LINE);
	line->subid = GetCurrentSubTransactionId();
	line->level = level;
	line->text = pnstrdup(text, len);
	for (char *c = line->text; *c; c++)
	{
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
	pending_lines = lappend(pending_lines, line);
	MemoryContextSwitchTo(old);
}

/*
 * Write a line, after the commit.  An error would now bring the server down,
 * and a client whose encoding lacks a character of the line would cause one:
 * such a client is not sent it.
 */
static void
write_line(const PendingLine *line)
{
	int			client_level = client_min_messages;

	if (pg_get_client_encoding() != GetDatabaseEncoding() && !pg_is_ascii(line->text))
		client_min_messages = ERROR;
	ereport(line->level,
			(errmsg_internal("%s", line->text),
			 errhidestmt(true), errhidecontext(true)));
	client_min_messages = client_level;
}

/* At commit write the lines; at abort forget them. */
static void
at_end_of_transaction(XactEvent event, void *arg)
{
	List	   *lines = pending_lines;
	ListCell   *lc;

	if (lines == NIL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has told a channel of kind \"log\"")));
			break;
		case XACT_EVENT_COMMIT:
			pending_lines = NIL;
			foreach(lc, lines)
				write_line(lfirst(lc));
			break;
		case XACT_EVENT_ABORT:
			pending_lines = NIL;
			break;
		default:
			break;
	}
}

/* Hand the lines of a subtransaction to its parent, or forget them. */
static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId subid,
						 SubTransactionId parent, void *arg)
{
	ListCell   *lc;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach(lc, pending_lines)
	{
		PendingLine *line = lfirst(lc);

		if (line->subid != subid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			line->subid = parent;
		else
			pending_lines = foreach_delete_current(pending_lines, lc);
	}
}

/* Register what the end of a transaction must do; at load of the library. */
void
pipeline_alert_deliver_init(void)
{
	RegisterXactCallback(at_end_of_transaction, NULL);
	RegisterSubXactCallback(at_end_of_subtransaction, NULL);
}

/*
 * Send a message through a channel at commit: the payload as a notification,
 * or the line to the log.
 */
void
pipeline_channel_send(const char *kind, const Jsonb *config,
					  const char *payload, const char *line)
{
	if (strcmp(kind, "notify") == 0)
		Async_Notify(pipeline_jsonb_key(config, "channel"), payload);
	else
		add_line(strcmp(pipeline_jsonb_key(config, "level"), "warning") == 0 ?
				 WARNING : LOG, line);
}

/*
 * Make the message of an event: JSON of at most MAX_PAYLOAD bytes.  What is
 * too long goes first: the detail, then the labels, then the ends of the
 * texts; "truncated" says so.
 */
static char *
make_payload(int64 alert_id, const char *event, const char *note)
{
	char	   *payload = NULL;

	for (int cut = 0; cut < 4; cut++)
	{
		pipeline_sql("SELECT (jsonb_build_object('event', $2::text, 'alert_id', alert_id,"
					 " 'alertname', alertname, 'state', state, 'severity', severity,"
					 " 'fingerprint', fingerprint, 'owner', owner, 'occurrences', occurrences,"
					 " 'started_at', started_at, 'at', clock_timestamp(),"
					 " 'summary', CASE WHEN $4 < 3 THEN summary ELSE left(summary, 150) END,"
					 " 'source', CASE WHEN $4 < 3 THEN source ELSE left(source, 150) END,"
					 " 'note', CASE WHEN $4 < 3 THEN $3::text ELSE left($3, 150) END,"
					 " 'labels', CASE WHEN $4 < 2 THEN labels ELSE '{}' END,"
					 " 'detail', CASE WHEN $4 < 1 THEN detail ELSE '{}' END,"
					 " 'truncated', $4 > 0))::text"
					 " FROM pipeline.alerts WHERE alert_id = $1", SPI_OK_SELECT,
					 sql_int8(alert_id), sql_text(event), sql_text(note),
					 sql_int4(cut));
		payload = pipeline_sql_text(0, 1);
		if (strlen(payload) <= MAX_PAYLOAD)
			return payload;
	}
	elog(ERROR, "message of alert %lld has %zu bytes", (long long) alert_id,
		 strlen(payload));
	return NULL;
}

/* Make the line of an event for the log. */
static char *
make_line(int64 alert_id, const char *event, const char *note)
{
	pipeline_sql("SELECT format('alert %s %s: %s [%s]%s: %s%s', alert_id, $2::text, alertname, severity,"
				 " ' ' || source, summary, ' (' || $3::text || ')')"
				 " FROM pipeline.alerts WHERE alert_id = $1", SPI_OK_SELECT,
				 sql_int8(alert_id), sql_text(event), sql_text(note));
	return pipeline_sql_text(0, 1);
}

typedef struct Channel
{
	char	   *name;
	char	   *kind;
	Jsonb	   *config;
} Channel;

/*
 * The channels that hear the alerts of this owner by themselves, by name: not
 * those that a route names, for they hear what it sends.
 */
static List *
channels_of(Oid owner)
{
	List	   *channels = NIL;
	uint64		n = pipeline_sql("SELECT name, kind, config, owner::oid FROM pipeline.channels c"
								 " WHERE kind IN ('notify', 'log')"
								 " AND NOT " CHANNEL_IS_NAMED
								 " ORDER BY name", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Oid			channel_owner = DatumGetObjectId(pipeline_sql_datum(i, 4, &isnull));
		Channel    *channel;

		if (channel_owner != owner && !pipeline_is_admin(channel_owner))
			continue;
		channel = palloc(sizeof(Channel));
		channel->name = pipeline_sql_text(i, 1);
		channel->kind = pipeline_sql_text(i, 2);
		channel->config = DatumGetJsonbP(pipeline_sql_datum(i, 3, &isnull));
		channels = lappend(channels, channel);
	}
	return channels;
}

/*
 * Tell every channel that hears this owner's alerts of an event.  Returns
 * their names.  Inside an SPI connection and the scope of the extension.
 */
List *
pipeline_alert_tell(int64 alert_id, Oid owner, const char *event,
					const char *note)
{
	List	   *channels = channels_of(owner);
	List	   *told = NIL;
	char	   *payload;
	char	   *line;
	ListCell   *lc;

	if (channels == NIL)
		return NIL;
	payload = make_payload(alert_id, event, note);
	line = make_line(alert_id, event, note);
	foreach(lc, channels)
	{
		Channel    *channel = lfirst(lc);

		pipeline_channel_send(channel->kind, channel->config, payload, line);
		told = lappend(told, channel->name);
	}
	return told;
}
