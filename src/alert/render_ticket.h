/*
 * render_ticket.h
 *	  Channels of kind ticket: what a system of tickets must be able to do.
 *
 * A group of alerts is one ticket, found by a label that is made of the group's
 * key.  See render_ticket.c for the order of the phases.
 */
#ifndef PIPELINE_RENDER_TICKET_H
#define PIPELINE_RENDER_TICKET_H

#include "alert/alert_render.h"

typedef enum TicketPhase
{
	TICKET_FIND_LABEL,			/* where labels are things of their own */
	TICKET_CREATE_LABEL,
	TICKET_FIND,
	TICKET_FIND_COMMENT,		/* did an attempt that was lost tell it? */
	TICKET_CREATE,
	TICKET_COMMENT,
	TICKET_FIND_TRANSITION,
	TICKET_CLOSE,
	TICKET_DROP_LABEL,
	TICKET_DONE
} TicketPhase;

/* What has been learned; of one attempt. */
typedef struct Ticket
{
	TicketPhase phase;
	char	   *label;			/* the name of ours */
	char	   *label_id;		/* or NULL */
	char	   *id;				/* of the ticket, or NULL: there is none */
	bool		open;
	bool		told;			/* it says already what this notification says */
	char	   *transition;
} Ticket;

typedef struct TicketSystem
{
	const char *name;
	const char *url;			/* where it is by default, or NULL */
	const char *secret;			/* the lines that it wants, in words */
	bool		labels;			/* labels must be made before they are used */
	bool		transitions;	/* closing goes by one that must be found */
	/* Keys of the config beside those of all; the required ones first. */
	const char *const *keys;
	int			nrequired;
	void		(*check) (const Jsonb *config);
	void		(*authorize) (const Sending *s, Request *request);
	/* Fill in path, method and body of a phase. */
	void		(*request) (const Sending *s, const Ticket *t, Request *request);
	/* Learn from an answer of 2xx; an error is one of form. */
	void		(*learn) (const Sending *s, Ticket *t, const Jsonb *answer);
	/* How a text is shown as it is, without markup. */
	char	   *(*verbatim) (const char *text);
} TicketSystem;

extern const TicketSystem pipeline_ticket_github;
extern const TicketSystem pipeline_ticket_jira;
extern const TicketSystem pipeline_ticket_trello;

/* ---- for the systems: render_ticket.c ----------------------------------------- */

extern void ticket_url(const Sending *s, Request *request, const char *method,
					   const char *path);
extern char *ticket_title(const Sending *s);
extern char *ticket_body(const Sending *s);
extern List *ticket_labels(const Sending *s, const Ticket *t);
extern void ticket_check_pattern(const Jsonb *config, const char *key,
								 const char *more, int least, int most);
extern char *ticket_fenced(const char *text);

/* Of answers: NULL where there is no such thing, or it is of another type. */
extern const Jsonb *ticket_get(const Jsonb *object, const char *key);
extern const Jsonb *ticket_element(const Jsonb *array, int i);
extern char *ticket_word(const Jsonb *object, const char *key);
extern bool ticket_mentions(const Sending *s, const Jsonb *answer);

#endif							/* PIPELINE_RENDER_TICKET_H */
