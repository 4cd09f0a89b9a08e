/*
 * notices.c
 *	  Catch what a task's SQL says with RAISE NOTICE and WARNING.
 *
 * A background worker has no client.  While a command runs it gets one: a
 * message sink in place of the wire, which keeps the text of notices and drops
 * everything else.
 */
#include "postgres.h"

#include "libpq/libpq.h"
#include "libpq/pqformat.h"
#include "libpq/pqmq.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"
#include "utils/elog.h"

#include "runner/runner.h"

#define NOTICES_KEPT 100

static const PQcommMethods *saved_methods;
static MemoryContext keep_context;
static List **kept;

static void
sink_comm_reset(void)
{
}

static int
sink_flush(void)
{
	return 0;
}

static int
sink_flush_if_writable(void)
{
	return 0;
}

static bool
sink_is_send_pending(void)
{
	return false;
}

static int
sink_putmessage(char type, const char *s, size_t len)
{
	ErrorData	edata;
	StringInfoData msg;
	MemoryContext old;

	if (type != 'N' || list_length(*kept) >= NOTICES_KEPT)
		return 0;
	old = MemoryContextSwitchTo(keep_context);
	msg.data = (char *) s;
	msg.len = msg.maxlen = len;
	msg.cursor = 0;
	pq_parse_errornotice(&msg, &edata);
	*kept = lappend(*kept, psprintf("%s: %s", _(error_severity(edata.elevel)),
									edata.message));
	MemoryContextSwitchTo(old);
	return 0;
}

static void
sink_putmessage_noblock(char type, const char *s, size_t len)
{
	(void) sink_putmessage(type, s, len);
}

static const PQcommMethods sink_methods = {
	.comm_reset = sink_comm_reset,
	.flush = sink_flush,
	.flush_if_writable = sink_flush_if_writable,
	.is_send_pending = sink_is_send_pending,
	.putmessage = sink_putmessage,
	.putmessage_noblock = sink_putmessage_noblock
};

/* Begin to keep notices, in `context`, in `*notices`. */
void
runner_capture_notices(MemoryContext context, List **notices)
{
	keep_context = context;
	kept = notices;
	saved_methods = PqCommMethods;
	PqCommMethods = &sink_methods;
	whereToSendOutput = DestRemote;
	FrontendProtocol = PG_PROTOCOL_LATEST;
}

/* Stop; also after an error. */
void
runner_release_notices(void)
{
	if (whereToSendOutput != DestRemote)
		return;
	whereToSendOutput = DestNone;
	PqCommMethods = saved_methods;
}
