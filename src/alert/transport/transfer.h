/*
 * transfer.h
 *	  What the files of the transport library share.
 */
#ifndef PIPELINE_TRANSFER_H
#define PIPELINE_TRANSFER_H

#include <curl/curl.h>
#include <sys/socket.h>

#include "alert/transport/transport.h"

/* ---- address.c ------------------------------------------------------------ */

/* May a socket be opened to it?  If not, `text` says which address it is. */
extern bool transport_address_allowed(const struct sockaddr *address,
									  const TransportNetwork *networks,
									  int nnetworks, char *text,
									  size_t size);

/* ---- transfer.c: one exchange --------------------------------------------- */

typedef struct Transfer Transfer;

/* A result in a list; made with the exchange, so that its end needs no memory. */
typedef struct ResultNode
{
	TransportResult result;		/* first: one stands for the other */
	struct ResultNode *next;
} ResultNode;

/* NULL: no memory.  Otherwise *easy is the handle to add, or NULL: it is over. */
extern Transfer *transport_transfer_new(const TransportRequest *request,
										bool fresh, CURL **easy);
extern ResultNode *transport_transfer_result(Transfer *x, CURLcode code);
extern void transport_transfer_free(Transfer *x);

/* ---- transport.c ------------------------------------------------------------- */

/* The monotonic clock. */
extern long long transport_now_ms(void);

/* ---- mail.c: mails, each in a thread ---------------------------------------- */

typedef struct Mails Mails;

extern Mails *transport_mail_open(void);
extern bool transport_mail_start(Mails *mails, Transfer *transfer, CURL *easy,
								 long timeout_ms);
extern int	transport_mail_socket(const Mails *mails);
extern ResultNode *transport_mail_take(Mails *mails);
extern void transport_mail_end(Mails *mails);

#endif							/* PIPELINE_TRANSFER_H */
