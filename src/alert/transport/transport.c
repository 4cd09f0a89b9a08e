/*
 * transport.c
 *	  Many exchanges at once, by the multi interface of libcurl, mails by threads
 *	  (mail.c); the library's entry.
 *
 * libcurl resolves names in threads.  A thread must take no signal that is
 * meant for the server's process, so all are blocked while libcurl is at work:
 * its threads inherit that, and our own signals wait for the few microseconds.
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fmgr.h"

#include "alert/transport/transfer.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "pipeline_transport");
#else
PG_MODULE_MAGIC;
#endif

struct Transport
{
	CURLM	   *multi;
	Mails	   *mails;
	int			max_connections;
	int			active;
	bool		stale;			/* the multi handle goes when it is idle */
	long long	due;			/* ms of the monotonic clock; -1: never */
	TransportSocket *sockets;
	int			nsockets;
	int			room;
	ResultNode *first;			/* over, and not taken yet */
	ResultNode *last;
};

PGDLLEXPORT const TransportApi *pipeline_transport_api(void);

static void
block_signals(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

static void
unblock_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

long long
transport_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long long) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- what libcurl wants to wait for ------------------------------------------ */

static int
note_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	Transport  *t = arg;
	int			i;

	for (i = 0; i < t->nsockets && t->sockets[i].fd != fd; i++)
		;
	if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE)
	{
		if (i < t->nsockets)
			t->sockets[i] = t->sockets[--t->nsockets];
		return 0;
	}
	if (i == t->room)
	{
		int			room = t->room * 2 + 16;
		TransportSocket *more = realloc(t->sockets, sizeof(TransportSocket) * room);

		if (more == NULL)
			return -1;
		t->sockets = more;
		t->room = room;
	}
	if (i == t->nsockets)
		t->nsockets++;
	t->sockets[i].fd = fd;
	t->sockets[i].read = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
	t->sockets[i].write = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
	return 0;
}

/* libcurl wants to go on then; never sooner, though our clock counts in ms. */
static int
note_timer(CURLM *multi, long ms, void *arg)
{
	Transport  *t = arg;

	t->due = ms <= 0 ? (ms < 0 ? -1 : transport_now_ms()) : transport_now_ms() + ms + 1;
	return 0;
}

/*
 * Ask when it wants to go on, if we know of nothing.  It says a time only once:
 * had we come a moment too soon, it would not say it again, and an exchange
 * would hang until another one moves.
 */
static void
ask_timer(Transport *t)
{
	long		ms = -1;

	if (t->due < 0 && curl_multi_timeout(t->multi, &ms) == CURLM_OK)
		(void) note_timer(t->multi, ms, t);
}

static CURLM *
new_multi(Transport *t)
{
	CURLM	   *multi = curl_multi_init();

	if (multi == NULL)
		return NULL;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, note_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, note_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, t);
	curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) t->max_connections);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) t->max_connections);
	t->nsockets = 0;
	t->due = -1;
	return multi;
}

/* ---- results ------------------------------------------------------------------- */

/* Keep a result until it is taken. */
static void
keep_result(Transport *t, ResultNode *node)
{
	if (t->last)
		t->last->next = node;
	else
		t->first = node;
	t->last = node;
}

static void
finish(Transport *t, Transfer *x, CURLcode code)
{
	keep_result(t, transport_transfer_result(x, code));
	transport_transfer_free(x);
}

/* Collect the exchanges that are over. */
static void
collect(Transport *t)
{
	CURLMsg    *message;
	ResultNode *node;
	int			left;

	while ((node = transport_mail_take(t->mails)) != NULL)
		keep_result(t, node);

	while ((message = curl_multi_info_read(t->multi, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		CURLcode	code = message->data.result;
		char	   *x = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &x);
		curl_multi_remove_handle(t->multi, easy);
		t->active--;
		finish(t, (Transfer *) x, code);
	}
	if (t->stale && t->active == 0)
	{
		CURLM	   *multi = new_multi(t);

		if (multi != NULL)
		{
			curl_multi_cleanup(t->multi);
			t->multi = multi;
			t->nsockets = 0;
			t->due = -1;
			t->stale = false;
		}
	}
}

/* ---- the table of functions ------------------------------------------------------ */

static Transport *
transport_open(int max_connections)
{
	Transport  *t = calloc(1, sizeof(Transport));
	sigset_t	before;

	if (t == NULL)
		return NULL;
	t->max_connections = max_connections;
	block_signals(&before);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		t->multi = new_multi(t);
	unblock_signals(&before);
	t->mails = transport_mail_open();
	if (t->multi == NULL || t->mails == NULL)
	{
		free(t);
		return NULL;
	}
	return t;
}

static bool
transport_start(Transport *t, const TransportRequest *request)
{
	Transfer   *x;
	CURL	   *easy;
	sigset_t	before;

	block_signals(&before);
	x = transport_transfer_new(request, t->stale, &easy);
	if (x != NULL && easy == NULL)
		finish(t, x, CURLE_OK);
	else if (x != NULL && strncmp(request->scheme, "smtp", 4) == 0)
	{
		if (!transport_mail_start(t->mails, x, easy, request->timeout_ms))
		{
			transport_transfer_free(x);
			x = NULL;
		}
	}
	else if (x != NULL && curl_multi_add_handle(t->multi, easy) == CURLM_OK)
		t->active++;
	else if (x != NULL)
	{
		transport_transfer_free(x);
		x = NULL;
	}
	unblock_signals(&before);
	return x != NULL;
}

static int
transport_sockets(Transport *t, TransportSocket *sockets, int max)
{
	int			mails = transport_mail_socket(t->mails);
	int			n = 0;

	if (mails >= 0 && max > 0)
		sockets[n++] = (TransportSocket) {.fd = mails, .read = true};
	for (int i = 0; i < t->nsockets && n < max; i++)
		sockets[n++] = t->sockets[i];
	return n;
}

static long
transport_timeout(Transport *t)
{
	long long	ms;

	if (t->first != NULL)
		return 0;
	if (t->due < 0)
		return -1;
	ms = t->due - transport_now_ms();
	return ms < 0 ? 0 : (long) ms;
}

static void
transport_act(Transport *t, const TransportSocket *ready, int nready)
{
	sigset_t	before;
	int			running;

	block_signals(&before);
	for (int i = 0; i < nready; i++)
	{
		if (ready[i].fd != transport_mail_socket(t->mails))
			curl_multi_socket_action(t->multi, ready[i].fd,
									 (ready[i].read ? CURL_CSELECT_IN : 0) |
									 (ready[i].write ? CURL_CSELECT_OUT : 0), &running);
	}
	if (t->due >= 0 && t->due <= transport_now_ms())
	{
		t->due = -1;
		curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	collect(t);
	ask_timer(t);
	unblock_signals(&before);
}

static TransportResult *
transport_take(Transport *t)
{
	ResultNode *node = t->first;

	if (node == NULL)
		return NULL;
	t->first = node->next;
	if (t->first == NULL)
		t->last = NULL;
	return &node->result;
}

static void
transport_release(TransportResult *result)
{
	free(result->error);
	free(result->answer);
	free(result);
}

static void
transport_forget(Transport *t)
{
	sigset_t	before;

	block_signals(&before);
	t->stale = true;
	collect(t);
	unblock_signals(&before);
}

static void
transport_end(Transport *t)
{
	sigset_t	before;

	block_signals(&before);
	transport_mail_end(t->mails);
	unblock_signals(&before);
}

/* Entry point of the library. */
const TransportApi *
pipeline_transport_api(void)
{
	static const TransportApi api = {
		.version = TRANSPORT_VERSION,
		.open = transport_open,
		.start = transport_start,
		.sockets = transport_sockets,
		.timeout = transport_timeout,
		.act = transport_act,
		.take = transport_take,
		.release = transport_release,
		.forget = transport_forget,
		.end = transport_end
	};

	return &api;
}
