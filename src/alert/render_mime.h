/*
 * render_mime.h
 *	  Writing a mail: headers (RFC 5322, 2047) and parts (RFC 2045).
 *
 * Texts come in UTF-8 and leave in ASCII.  Whatever is in them, a header stays
 * one header: control characters become blanks before anything else.
 */
#ifndef PIPELINE_RENDER_MIME_H
#define PIPELINE_RENDER_MIME_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* A mailbox: "Name <local@domain>" or the address alone. */
typedef struct Mailbox
{
	char	   *name;			/* or NULL */
	char	   *address;
} Mailbox;

/* Why the text is no mailbox, or NULL. */
extern char *mime_mailbox(const char *text, Mailbox *mailbox);

extern void mime_header(StringInfo mail, const char *name, const char *text);
extern void mime_mailboxes(StringInfo mail, const char *name, List *mailboxes);
extern void mime_date(StringInfo mail, const char *name, pg_time_t at);
extern void mime_part(StringInfo mail, const char *boundary,
					  const char *type, const char *text);

#endif							/* PIPELINE_RENDER_MIME_H */
