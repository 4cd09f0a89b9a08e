/*
 * notifier_talk.c
 *	  The notifier and the library that speaks to peers.
 *
 * The library is loaded when the first notification is to go over the network:
 * where libcurl is missing everything else works, and the log says what does
 * not.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "alert/notifier.h"

/* Bytes of an answer that are read; what is kept in a table is less. */
#define MAX_ANSWER 65536
#define MAX_SOCKETS 1024
/* After the library could not be loaded. */
#define RELOAD_MS 60000

static const TransportApi *api = NULL;
static Transport *transport = NULL;
static TimestampTz not_before = 0;

/* ---- the library ------------------------------------------------------------------ */

/* Threads of the library must not outlive the process. */
static void
end_library(int code, Datum arg)
{
	api->end(transport);
}

static bool
load(void *arg)
{
	TransportApiFunction function;

	function = (TransportApiFunction) load_external_function(TRANSPORT_LIBRARY,
															 TRANSPORT_FUNCTION, true, NULL);
	api = function();
	if (api->version != TRANSPORT_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("library pipeline_transport is of another version"),
				 errhint("Install both libraries of one version and restart the server.")));
	transport = api->open(pipeline_notifier_connections);
	if (transport == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("libcurl cannot be used")));
	before_shmem_exit(end_library, (Datum) 0);
	return true;
}

/*
 * Load the library unless it is.  False when that cannot be; it is said once
 * and tried again later.  Inside a transaction.
 */
bool
notifier_can_talk(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ErrorData  *edata;

	if (transport != NULL)
		return true;
	if (now < not_before)
		return false;
	edata = pipeline_try(load, NULL);
	if (edata == NULL)
		return true;
	if (not_before == 0)
		ereport(WARNING,
				(errmsg("notifications cannot be sent over the network: %s", edata->message),
				 edata->hint ? errhint("%s", edata->hint) : 0));
	transport = NULL;
	not_before = TimestampTzPlusMilliseconds(now, RELOAD_MS);
	return false;
}

/* Settings have changed: who was allowed may not be any more. */
void
notifier_reconnect(void)
{
	if (transport != NULL)
		api->forget(transport);
}

/* ---- speaking --------------------------------------------------------------------- */

static const char **
string_array(List *list)
{
	const char **array = palloc0(sizeof(char *) * (list_length(list) + 1));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, list)
		array[n++] = lfirst(lc);
	return array;
}

static void
begin_exchange(Sending *s, const UrlParts *parts)
{
	Request    *r = s->request;
	TransportRequest t = {0};

	t.tag = s;
	t.url = r->url;
	t.scheme = parts->scheme;
	t.host = parts->host;
	t.port = parts->port;
	t.networks = pipeline_allowed_networks(&t.nnetworks);
	t.method = r->method;
	t.headers = string_array(r->headers);
	t.body = r->body ? r->body->data : NULL;
	t.length = r->body ? r->body->len : 0;
	t.username = r->username;
	t.password = r->password;
	t.starttls = r->starttls;
	t.fresh = r->fresh;
	t.mail_from = r->mail_from;
	t.mail_to = string_array(r->mail_to);
	t.ca_file = pipeline_ca_file[0] ? pipeline_ca_file : NULL;
	t.timeout_ms = pipeline_notification_timeout;
	t.max_answer = r->max_answer > 0 ? r->max_answer : MAX_ANSWER;
	s->request = NULL;
	if (s->started_at == 0)
		s->started_at = GetCurrentTimestamp();
	if (!api->start(transport, &t))
		notifier_settle(s, VERDICT_RETRY, "out of memory");
}

/* Send the request that was built, if its host may be spoken to. */
void
notifier_say(Sending *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	UrlParts	parts;
	const char *why = pipeline_url_objection(s->request->url, s->request->starttls, &parts);

	/* A URL in a secret is seen here for the first time. */
	if (why == NULL && pipeline_url_is_mail(&parts) != (s->request->mail_from != NULL))
		why = psprintf("its URL is of %s", parts.scheme);
	if (why != NULL)
		notifier_settle(s, VERDICT_DEAD, why);
	else
		begin_exchange(s, &parts);
	MemoryContextSwitchTo(old);
}

/* ---- hearing ---------------------------------------------------------------------- */

/* Give each sending its result; true when there was any. */
bool
notifier_hear(void)
{
	TransportResult *result;
	bool		any = false;

	if (transport == NULL)
		return false;
	while ((result = api->take(transport)) != NULL)
	{
		Sending    *s = result->tag;

		s->result = result;
		s->ms += result->ms;
		any = true;
	}
	return any;
}

/* Give the result back to the library. */
void
notifier_release_result(Sending *s)
{
	if (s->result != NULL)
		api->release(s->result);
	s->result = NULL;
}

/* ---- waiting ---------------------------------------------------------------------- */

/* Let the library go on with the sockets that are ready. */
static bool
act(const WaitEvent *events, int n)
{
	TransportSocket ready[MAX_SOCKETS];
	int			nready = 0;
	bool		woken = false;

	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			woken = true;
		}
		if ((events[i].events & WL_SOCKET_MASK) == 0)
			continue;
		ready[nready].fd = events[i].fd;
		ready[nready].read = (events[i].events & WL_SOCKET_READABLE) != 0;
		ready[nready].write = (events[i].events & WL_SOCKET_WRITEABLE) != 0;
		nready++;
	}
	if (transport != NULL)
		api->act(transport, ready, nready);
	return woken;
}

/*
 * Wait until somebody wakes us (true), a peer has something to say, or time is
 * up.
 */
bool
notifier_wait(long timeout)
{
	static uint32 event = 0;
	TransportSocket sockets[MAX_SOCKETS];
	WaitEvent	events[MAX_SOCKETS];
	int			n = transport ? api->sockets(transport, sockets, MAX_SOCKETS - 2) : 0;
	long		due = transport ? api->timeout(transport) : -1;
	WaitEventSet *set;

	if (event == 0)
		event = WaitEventExtensionNew("PipelineNotifierMain");
	if (due >= 0 && due < timeout)
		timeout = due;
	set = CreateWaitEventSet(NULL, n + 2);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < n; i++)
		AddWaitEventToSet(set, (sockets[i].read ? WL_SOCKET_READABLE : 0) |
						  (sockets[i].write ? WL_SOCKET_WRITEABLE : 0),
						  sockets[i].fd, NULL, NULL);
	n = WaitEventSetWait(set, timeout, events, n + 2, event);
	FreeWaitEventSet(set);
	return act(events, n);
}
