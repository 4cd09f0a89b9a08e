/*
 * alert_render.h
 *	  What makes a kind of channel over the network: one ChannelKind.
 *
 * A kind checks the config of a channel when it is made, builds the requests of
 * a notification, and judges the answers.  It sends nothing itself: the
 * notifier checks the host, speaks to it, waits, tries again and keeps the
 * records (notifier.c).
 *
 * request() and judge() are called inside a transaction, with an SPI connection
 * and the scope of the extension, so that they may read our tables by constant
 * SQL; nothing is sent before that transaction has committed.  CurrentMemoryContext
 * is sending->context, which lives until the notification is settled, so what
 * they allocate stays for the next step.  An error that they raise makes the
 * notification dead, with its message as the reason: a notification that cannot
 * be written will not be written better the next time.
 *
 * A kind that takes several requests returns VERDICT_NEXT from judge(): then
 * request() is called again, with step one higher.  What it has learned it keeps
 * in sending->state.  An attempt that is lost, or that is tried again, begins at
 * step 0 with state NULL: a sequence must find out what is there already.  What
 * an attempt that was not lost has done can be in sending->progress, which is
 * kept with the notification until that is sent.
 *
 * Strings are in the server's encoding, but what goes into a request must be
 * UTF-8: pass it through pipeline_utf8().
 */
#ifndef PIPELINE_ALERT_RENDER_H
#define PIPELINE_ALERT_RENDER_H

#include "lib/stringinfo.h"

#include "alert/alert_notify.h"

/* ---- what is to be told: alert_message.c -------------------------------------- */

typedef struct MessageAlert
{
	int64		alert_id;
	char	   *fingerprint;
	char	   *alertname;
	char	   *severity;
	char	   *state;			/* firing, acknowledged, resolved */
	char	   *summary;
	char	   *source;			/* or NULL */
	char	   *note;			/* or NULL */
	char	   *owner;
	Jsonb	   *labels;
	Jsonb	   *detail;
	int64		occurrences;
	char	   *started_at;		/* RFC 3339 */
	char	   *resolved_at;	/* or NULL */
} MessageAlert;

typedef struct Message
{
	Jsonb	   *jsonb;			/* all of it, as it stands in the table */
	bool		firing;
	char	   *title;
	char	   *severity;
	Jsonb	   *group_labels;
	Jsonb	   *common_labels;
	List	   *alerts;			/* of MessageAlert * */
	int			omitted;		/* alerts that are not in the list */
	char	   *escalation;		/* "step 2, to ..." or NULL */
	char	   *incident_id;	/* or NULL */
	char	   *incident;		/* its title, or NULL */
	char	   *muted_since;	/* of a digest, or NULL */
	bool		test;
	bool		heartbeat;
} Message;

extern Message *pipeline_message_read(Jsonb *jsonb);

/* The message in less, from size 0, which is all of it; NULL: no smaller one. */
extern Jsonb *pipeline_message_smaller(const Jsonb *message, int size);

/* How many alerts it tells of, with those that are not in the list. */
extern int	pipeline_message_count(const Message *m);

/* ---- one notification on its way ------------------------------------------------ */

typedef struct ChannelKind ChannelKind;

typedef enum Verdict
{
	VERDICT_NEXT,				/* there is another request: step + 1 */
	VERDICT_SENT,
	VERDICT_RETRY,				/* it may work another time */
	VERDICT_DEAD				/* it will not */
} Verdict;

/* What request() fills in; it begins with zeros and method "POST". */
typedef struct Request
{
	char	   *url;
	const char *method;
	List	   *headers;		/* of char *: see pipeline_request_header() */
	StringInfo	body;			/* UTF-8; of a mail all of it */
	const char *username;		/* HTTP Basic, AUTH of SMTP; or NULL */
	const char *password;
	bool		starttls;
	bool		fresh;			/* it must not arrive twice: see transport.h */
	int			max_answer;		/* bytes of the answer that are needed; 0: as usual */
	char	   *mail_from;
	List	   *mail_to;		/* of char * */
} Request;

typedef struct Sending
{
	MemoryContext context;
	/* The notification. */
	int64		notification_id;
	char	   *idempotency_key;	/* uuid, the same for all attempts */
	char	   *event;			/* firing, resolved, acknowledged, repeat, ... */
	char	   *group_key;
	Oid			owner;
	char	   *created_at;		/* RFC 3339 */
	int			attempt;		/* from 1 */
	int			tries;			/* the same since the last redeliver() */
	TimestampTz queued_at;
	Message    *message;
	Jsonb	   *progress;		/* what an earlier attempt has done; or NULL */
	/* The channel. */
	char	   *channel;
	Oid			channel_owner;
	const ChannelKind *kind;
	Jsonb	   *config;
	char	   *secret_ref;		/* or NULL */
	int			max_attempts;
	Secret	   *secret;			/* or NULL */
	/* Where it stands. */
	int			step;
	void	   *state;			/* of the kind, NULL at first */
	char	   *error;			/* set by judge(): what is wrong */
	/* The notifier's own. */
	struct ChannelState *channel_state;
	TimestampTz started_at;
	double		ms;
	Request    *request;		/* to be sent when the transaction has committed */
	TransportResult *result;	/* of the last request, to be judged */
	bool		settled;		/* verdict stands; to be recorded */
	Verdict		verdict;
	int			status;
	long		retry_after;	/* s */
	char	   *answer;
} Sending;

/* One line: "[FIRING:3] title". */
extern char *pipeline_message_headline(const Sending *sending);

/* What else is to be said of all of it, on one line; or NULL. */
extern char *pipeline_message_context(const Sending *sending);

/* ---- a kind ----------------------------------------------------------------------- */

struct ChannelKind
{
	const char *name;

	/* Keys of the config; NULL-terminated. */
	const char *const *keys;

	/* Names in the secret's file; NULL-terminated, NULL: it takes none. */
	const char *const *secrets;
	bool		needs_secret;

	/* May the config ask for a heartbeat? */
	bool		heartbeat;

	/*
	 * Check the config, whose keys are known ones; raise 22023 for what is
	 * wrong.  Returns it with the defaults filled in.
	 */
	Jsonb	   *(*check_config) (const Jsonb *config, bool has_secret);

	/* Build the request of sending->step. */
	void		(*request) (Sending *sending, Request *request);

	/*
	 * Judge the answer (outcome TRANSPORT_ANSWERED); set sending->error unless
	 * it is sent or goes on.  NULL: pipeline_judge_http().
	 */
	Verdict		(*judge) (Sending *sending, const TransportResult *result);
};

extern const ChannelKind *pipeline_channel_kind(const char *name);	/* or NULL */
extern char *pipeline_secret_lines(const ChannelKind *kind);	/* "url = ..., ..." */
extern const ChannelKind pipeline_kind_alertmanager;
extern const ChannelKind pipeline_kind_email;
extern const ChannelKind pipeline_kind_pagerduty;
extern const ChannelKind pipeline_kind_slack;
extern const ChannelKind pipeline_kind_teams;
extern const ChannelKind pipeline_kind_ticket;
extern const ChannelKind pipeline_kind_webhook;

/* ---- for the kinds: render.c -------------------------------------------------------- */

/* The status decides: 2xx is sent; 408, 425, 429 and 5xx are tried again. */
extern Verdict pipeline_judge_http(Sending *sending,
								   const TransportResult *result);

/* Add "Name: value", control characters of the value made spaces. */
extern void pipeline_request_header(Request *request, const char *name,
									const char *value);

/* Set the body to this JSON, in UTF-8, and its Content-Type. */
extern void pipeline_request_json(Request *request, const char *json);

/* A time as RFC 3339. */
extern char *pipeline_time_text(TimestampTz at);

/* The text in UTF-8; what cannot be converted becomes '?'. */
extern char *pipeline_utf8(const char *text);

/* At most `max` characters of it, the last three dots when it was longer. */
extern char *pipeline_cut(const char *text, int max);

/* Control characters made spaces, so that it is one line. */
extern char *pipeline_one_line(const char *text);

/* "pipeline=x, team=y" */
extern char *pipeline_labels_text(const Jsonb *labels);

/* A label's value, or NULL. */
extern char *pipeline_label(const Jsonb *labels, const char *name);

/* Keys of the config.  A string: NULL when it is not there. */
extern char *pipeline_config_string(const Jsonb *config, const char *key);
/* The URL of HTTP under a key, checked against pipeline.allowed_hosts; or NULL. */
extern char *pipeline_config_url(const Jsonb *config, const char *key);
/* The same of a mail server; with `tls`, nothing is said before STARTTLS. */
extern char *pipeline_config_mail_url(const Jsonb *config, const char *key, bool tls);
/* The config with a key set to a string, unless it has it. */
extern Jsonb *pipeline_config_default(const Jsonb *config, const char *key,
									  const char *value);
/* Raise 22023: the config of this kind lacks the key. */
extern void pipeline_config_missing(const char *kind, const char *key,
									const char *or_secret);

/* The value in the secret; an error when it is not there. */
extern const char *pipeline_sending_secret(const Sending *sending,
										   const char *name);

#endif							/* PIPELINE_ALERT_RENDER_H */
