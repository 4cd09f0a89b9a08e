/*
 * transport.h
 *	  The contract between the notifier and the library that speaks to peers.
 *
 * The library (pipeline_transport) holds libcurl, so that no ordinary backend
 * loads it.  It knows nothing of the server and of our tables: it takes plain
 * requests and gives plain results, in memory of malloc().  The notifier finds
 * pipeline_transport_api() in it by load_external_function() and calls through
 * the table that this returns; nothing is linked.
 *
 * What it keeps to, whatever a request says: no redirect is followed, no proxy
 * used, no protocol spoken but that of the URL; a socket is opened only to an
 * address that is public or that the request lists; an answer is read only so
 * far and so long; and nothing with a control character in it is sent as an
 * address, a header or a command.
 */
#ifndef PIPELINE_TRANSPORT_H
#define PIPELINE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#define TRANSPORT_VERSION 3
#define TRANSPORT_LIBRARY "$libdir/pipeline_transport"
#define TRANSPORT_FUNCTION "pipeline_transport_api"

/*
 * Addresses that may be spoken to although they are not public.  IPv4 stands
 * as ::ffff:a.b.c.d, so its bits begin at 96.
 */
typedef struct TransportNetwork
{
	unsigned char address[16];
	int			bits;
	int			port;			/* 0: any */
} TransportNetwork;

/*
 * One exchange.  Everything is copied by start(), so it need only live until
 * then.  Strings are UTF-8 and NULL where they do not apply.
 */
typedef struct TransportRequest
{
	void	   *tag;			/* comes back with the result */
	const char *url;			/* http, https, smtp, smtps */
	/* What the caller has found in the URL and allowed; curl must agree. */
	const char *scheme;
	const char *host;			/* an IPv6 address stands in brackets */
	int			port;
	const TransportNetwork *networks;
	int			nnetworks;

	const char *method;			/* of HTTP; NULL: POST */
	const char *const *headers; /* of HTTP: "Name: value", NULL at the end */
	const char *body;			/* of HTTP, or the mail with its headers */
	size_t		length;
	const char *username;		/* HTTP Basic, or AUTH of SMTP */
	const char *password;
	bool		starttls;		/* scheme smtp: nothing is said before TLS */
	const char *mail_from;
	const char *const *mail_to; /* NULL at the end */

	/*
	 * Over a connection of its own.  When one that was used before ends without
	 * a word the request is sent again, over a new one; who cannot bear that it
	 * arrives twice asks for this.
	 */
	bool		fresh;
	const char *ca_file;		/* instead of the system's authorities */
	long		timeout_ms;		/* for all of it */
	size_t		max_answer;		/* bytes that are kept; the rest is not read */
} TransportRequest;

typedef enum TransportOutcome
{
	TRANSPORT_ANSWERED,			/* see status */
	TRANSPORT_FAILED,			/* no answer: another time it may work */
	TRANSPORT_REFUSED			/* not allowed, nothing was sent */
} TransportOutcome;

typedef struct TransportResult
{
	void	   *tag;
	TransportOutcome outcome;
	int			status;			/* of HTTP, or last reply code of SMTP; 0: none */
	bool		complete;		/* all of the answer was read */
	long		retry_after;	/* seconds that the peer asks for; 0: none */
	double		ms;				/* how long it took */
	char	   *error;			/* why not, when not answered; may tell the URL */
	char	   *answer;			/* the answer's body; of SMTP its lines */
	size_t		length;
} TransportResult;

typedef struct TransportSocket
{
	int			fd;
	bool		read;
	bool		write;
} TransportSocket;

typedef struct Transport Transport;

typedef struct TransportApi
{
	int			version;

	/* NULL when there is no memory, or libcurl cannot be used. */
	Transport  *(*open) (int max_connections);

	/*
	 * Begin.  True: take() will give a result, of whatever outcome.  False: no
	 * memory; nothing has happened.
	 */
	bool		(*start) (Transport *t, const TransportRequest *request);

	/*
	 * What to wait for: at most `max` sockets, of which it gives the number;
	 * and for how many milliseconds, -1 for ever.
	 */
	int			(*sockets) (Transport *t, TransportSocket *sockets, int max);
	long		(*timeout) (Transport *t);

	/* Go on, with the sockets that are ready; also when time is up. */
	void		(*act) (Transport *t, const TransportSocket *ready, int nready);

	/* A result that is there, or NULL; give it back with release(). */
	TransportResult *(*take) (Transport *t);
	void		(*release) (TransportResult *result);

	/* Settings have changed: use no connection or name of before. */
	void		(*forget) (Transport *t);

	/* Stop what threads are doing; before the process ends, and nothing after it. */
	void		(*end) (Transport *t);
} TransportApi;

typedef const TransportApi *(*TransportApiFunction) (void);

#endif							/* PIPELINE_TRANSPORT_H */
