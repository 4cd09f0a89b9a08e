/*
 * transfer.c
 *	  One exchange with a peer, as a handle of libcurl with everything that
 *	  may not be left to its defaults.
 */
#include "postgres.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "alert/transport/transfer.h"

/* Bytes of headers after which a peer is not listened to any more. */
#define MAX_HEADERS 65536
/* An answer is read no farther than this beyond what is kept. */
#define MAX_DISCARD 65536
/* Room for an answer at first. */
#define FIRST_ROOM 4096

struct Transfer
{
	CURL	   *easy;
	struct curl_slist *headers;
	struct curl_slist *mail_to;
	char	   *body;
	size_t		length;
	size_t		sent;			/* of a mail */
	bool		mail;
	TransportNetwork *networks;
	int			nnetworks;
	char		host[256];

	char	   *answer;
	size_t		room;			/* of it, without the zero at the end */
	size_t		kept;
	size_t		max_answer;
	size_t		discarded;
	size_t		header_bytes;
	bool		cut;			/* we stopped reading */
	bool		opened;			/* a socket */
	char		refused[64];	/* last address that may not be spoken to */
	char		error[CURL_ERROR_SIZE];
	ResultNode *node;
};

/* ---- callbacks ---------------------------------------------------------------- */

/* Open a socket, if the address may be spoken to. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	Transfer   *x = arg;
	char		text[64];
	int			type = address->socktype;

	if (purpose != CURLSOCKTYPE_IPCXN ||
		!transport_address_allowed(&address->addr, x->networks, x->nnetworks,
								   text, sizeof(text)))
	{
		strlcpy(x->refused, text, sizeof(x->refused));
		return CURL_SOCKET_BAD;
	}
	x->opened = true;
#ifdef SOCK_CLOEXEC
	type |= SOCK_CLOEXEC;
#endif
	return socket(address->family, type, address->protocol);
}

/* Make room for so much more of the answer, if that is wanted and can be. */
static void
make_room(Transfer *x, size_t size)
{
	size_t		room = x->room;
	char	   *more;

	while (room < x->kept + size && room < x->max_answer)
		room = room * 2 < x->max_answer ? room * 2 : x->max_answer;
	more = room > x->room ? realloc(x->answer, room + 1) : NULL;
	if (more == NULL)
		return;
	x->answer = more;
	x->room = room;
}

/* Keep as much of the answer as is wanted. */
static void
keep(Transfer *x, const char *data, size_t size)
{
	size_t		room;
	size_t		n;

	make_room(x, size);
	room = x->room - x->kept;
	n = size < room ? size : room;

	memcpy(x->answer + x->kept, data, n);
	x->kept += n;
	x->discarded += size - n;
}

static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *x = arg;

	keep(x, data, size * count);
	if (x->discarded <= MAX_DISCARD)
		return size * count;
	x->cut = true;
	return 0;
}

/* Of SMTP these lines are all the answer there is. */
static size_t
take_header(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *x = arg;

	x->header_bytes += size * count;
	if (x->header_bytes > MAX_HEADERS)
		return 0;
	if (x->mail)
		keep(x, data, size * count);
	return size * count;
}

static size_t
give_mail(char *buffer, size_t size, size_t count, void *arg)
{
	Transfer   *x = arg;
	size_t		n = x->length - x->sent;

	if (n > size * count)
		n = size * count;
	memcpy(buffer, x->body + x->sent, n);
	x->sent += n;
	return n;
}

/* ---- checks ----------------------------------------------------------------------- */

static bool
has_control(const char *s)
{
	for (; s && *s; s++)
	{
		if ((unsigned char) *s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

static bool
any_control(const char *const *list)
{
	for (; list && *list; list++)
	{
		if (has_control(*list))
			return true;
	}
	return false;
}

/* Does libcurl find in the URL what the caller has found there and allowed? */
static bool
url_agrees(const TransportRequest *r)
{
	CURLU	   *url = curl_url();
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *port = NULL;
	char	   *user = NULL;
	char	   *password = NULL;
	bool		agrees = false;

	if (url == NULL)
		return false;
	if (curl_url_set(url, CURLUPART_URL, r->url, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
	{
		(void) curl_url_get(url, CURLUPART_USER, &user, 0);
		(void) curl_url_get(url, CURLUPART_PASSWORD, &password, 0);
		agrees = strcasecmp(scheme, r->scheme) == 0 &&
			strcasecmp(host, r->host) == 0 && atoi(port) == r->port &&
			user == NULL && password == NULL;
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	curl_free(password);
	curl_url_cleanup(url);
	return agrees;
}

/* Why the request may not be sent, or NULL. */
static const char *
objection(const TransportRequest *r)
{
	static const char *const schemes[] = {"http", "https", "smtp", "smtps", NULL};
	bool		known = false;

	for (int i = 0; schemes[i]; i++)
		known |= strcmp(r->scheme, schemes[i]) == 0;
	if (!known)
		return "the protocol is none of http, https, smtp, smtps";
	if (has_control(r->url) || has_control(r->method) ||
		has_control(r->username) || has_control(r->password) ||
		has_control(r->mail_from) || any_control(r->mail_to) ||
		any_control(r->headers))
		return "a control character in what is no text";
	if (!url_agrees(r))
		return "the URL is not what it seems";
	return NULL;
}

/* ---- setting up ---------------------------------------------------------------------- */

static bool
copy_list(struct curl_slist **list, const char *const *strings)
{
	for (; strings && *strings; strings++)
	{
		struct curl_slist *longer = curl_slist_append(*list, *strings);

		if (longer == NULL)
			return false;
		*list = longer;
	}
	return true;
}

/* What holds for every exchange. */
static void
set_safety(Transfer *x, const TransportRequest *r, bool fresh)
{
	CURL	   *e = x->easy;

	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(e, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, r->scheme);
	curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "https");
#else
	curl_easy_setopt(e, CURLOPT_PROTOCOLS,
					 strcmp(r->scheme, "http") == 0 ? CURLPROTO_HTTP :
					 strcmp(r->scheme, "https") == 0 ? CURLPROTO_HTTPS :
					 strcmp(r->scheme, "smtp") == 0 ? CURLPROTO_SMTP : CURLPROTO_SMTPS);
	curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTPS);
#endif
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, x);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (r->ca_file)
	{
		curl_easy_setopt(e, CURLOPT_CAINFO, r->ca_file);
		/* The system's directory counts as well, unless it is taken away. */
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	}
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, r->timeout_ms);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, r->timeout_ms * 2 / 3);
	curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, fresh || r->fresh ? 1L : 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* A name that does not resolve must not be waited for at the end. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->error);
	curl_easy_setopt(e, CURLOPT_PRIVATE, x);
}

static bool
set_http(Transfer *x, const TransportRequest *r)
{
	CURL	   *e = x->easy;
	const char *method = r->method ? r->method : "POST";

	/* Do not ask before sending the body. */
	if (!copy_list(&x->headers, r->headers) ||
		!copy_list(&x->headers, (const char *const[]) {"Expect:", NULL}))
		return false;
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->headers);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "pipeline-notifier");
	if (r->username)
	{
		curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
		curl_easy_setopt(e, CURLOPT_USERNAME, r->username);
		curl_easy_setopt(e, CURLOPT_PASSWORD, r->password ? r->password : "");
	}
	if (r->body)
	{
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) x->length);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, x->body);
	}
	if (r->body == NULL && strcmp(method, "GET") == 0)
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
	else
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
	return true;
}

static bool
set_mail(Transfer *x, const TransportRequest *r)
{
	CURL	   *e = x->easy;

	if (!copy_list(&x->mail_to, r->mail_to))
		return false;
	/*
	 * Say goodbye as part of the exchange: what is left for later is said by a
	 * handle of libcurl's own, which waits for two minutes whatever happens.
	 */
	curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(e, CURLOPT_SERVER_RESPONSE_TIMEOUT, (r->timeout_ms + 999) / 1000);
	curl_easy_setopt(e, CURLOPT_MAIL_FROM, r->mail_from);
	curl_easy_setopt(e, CURLOPT_MAIL_RCPT, x->mail_to);
	curl_easy_setopt(e, CURLOPT_USE_SSL, r->starttls ? (long) CURLUSESSL_ALL :
					 (long) CURLUSESSL_NONE);
	if (r->username)
	{
		curl_easy_setopt(e, CURLOPT_USERNAME, r->username);
		curl_easy_setopt(e, CURLOPT_PASSWORD, r->password ? r->password : "");
	}
	curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(e, CURLOPT_READFUNCTION, give_mail);
	curl_easy_setopt(e, CURLOPT_READDATA, x);
	curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t) x->length);
	return true;
}

/* Copy what must outlive the request, and set the handle up. */
static bool
set_up(Transfer *x, const TransportRequest *r, bool fresh)
{
	x->easy = curl_easy_init();
	x->body = malloc(r->length + 1);
	x->max_answer = r->max_answer;
	x->room = r->max_answer < FIRST_ROOM ? r->max_answer : FIRST_ROOM;
	x->answer = malloc(x->room + 1);
	x->networks = malloc(sizeof(TransportNetwork) * (r->nnetworks + 1));
	if (!x->easy || !x->body || !x->answer || !x->networks)
		return false;
	if (r->body)
		memcpy(x->body, r->body, r->length);
	x->length = r->body ? r->length : 0;
	if (r->nnetworks > 0)
		memcpy(x->networks, r->networks, sizeof(TransportNetwork) * r->nnetworks);
	x->nnetworks = r->nnetworks;
	strlcpy(x->host, r->host, sizeof(x->host));
	x->mail = strncmp(r->scheme, "smtp", 4) == 0;
	set_safety(x, r, fresh);
	if (curl_easy_setopt(x->easy, CURLOPT_URL, r->url) != CURLE_OK)
		return false;
	return x->mail ? set_mail(x, r) : set_http(x, r);
}

/* Make an exchange of a request.  See transfer.h. */
Transfer *
transport_transfer_new(const TransportRequest *request, bool fresh, CURL **easy)
{
	Transfer   *x = calloc(1, sizeof(Transfer));
	const char *why = objection(request);

	*easy = NULL;
	if (x == NULL)
		return NULL;
	x->node = calloc(1, sizeof(ResultNode));
	if (x->node == NULL)
	{
		free(x);
		return NULL;
	}
	x->node->result.tag = request->tag;
	if (why != NULL)
	{
		x->node->result.outcome = TRANSPORT_REFUSED;
		x->node->result.error = strdup(why);
		return x;
	}
	if (!set_up(x, request, fresh))
	{
		transport_transfer_free(x);
		return NULL;
	}
	*easy = x->easy;
	return x;
}

/* ---- the result ---------------------------------------------------------------------- */

static char *
describe(Transfer *x, TransportOutcome outcome, CURLcode code)
{
	char		text[CURL_ERROR_SIZE + 400];

	if (outcome == TRANSPORT_REFUSED)
		snprintf(text, sizeof(text), "address %s of host %s is not public and not in pipeline.allowed_hosts",
				 x->refused, x->host);
	else if (code == CURLE_ABORTED_BY_CALLBACK)
		snprintf(text, sizeof(text), "the exchange timed out");
	else
		snprintf(text, sizeof(text), "%s", x->error[0] ? x->error : curl_easy_strerror(code));
	return strdup(text);
}

/* The result of an exchange that is over; the caller frees that. */
ResultNode *
transport_transfer_result(Transfer *x, CURLcode code)
{
	ResultNode *node = x->node;
	TransportResult *result = &node->result;
	long		status = 0;
	curl_off_t	us = 0;
	curl_off_t	retry_after = 0;

	if (x->easy != NULL)
	{
		curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(x->easy, CURLINFO_TOTAL_TIME_T, &us);
		curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &retry_after);
		result->status = (int) status;
		result->ms = us / 1000.0;
		result->retry_after = (long) retry_after;
		result->complete = code == CURLE_OK;
		/*
		 * A status is an answer, however the rest went.  SMTP has one all the
		 * time: there it is the answer if the exchange went through, or if it is
		 * what went wrong.
		 */
		if (code == CURLE_OK || (status != 0 && (!x->mail || status >= 400)))
			result->outcome = TRANSPORT_ANSWERED;
		else if (x->refused[0] && !x->opened)
			result->outcome = TRANSPORT_REFUSED;
		else
			result->outcome = TRANSPORT_FAILED;
		if (code != CURLE_OK && !x->cut)
			result->error = describe(x, result->outcome, code);
		result->answer = x->answer;
		result->length = x->kept;
		result->answer[x->kept] = '\0';
		x->answer = NULL;
	}
	x->node = NULL;
	return node;
}

/* Free it, whatever its state; its handle is in no multi handle any more. */
void
transport_transfer_free(Transfer *x)
{
	if (x->easy)
		curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	curl_slist_free_all(x->mail_to);
	free(x->body);
	free(x->networks);
	free(x->answer);
	free(x->node);
	free(x);
}
