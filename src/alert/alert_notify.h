/*
 * alert_notify.h
 *	  What the files share that deal with channels over the network: settings,
 *	  allowed hosts, secrets, and the notifier.
 */
#ifndef PIPELINE_ALERT_NOTIFY_H
#define PIPELINE_ALERT_NOTIFY_H

#include "alert/alert_state.h"
#include "alert/transport/transport.h"

/* ---- alert_settings.c ------------------------------------------------------- */

extern char *pipeline_allowed_hosts;
extern char *pipeline_secrets_dir;
extern char *pipeline_ca_file;
extern int	pipeline_notifier_connections;
extern int	pipeline_notification_timeout;	/* ms */
extern int	pipeline_notification_retry_delay;	/* ms */
extern int	pipeline_notification_max_age;	/* s */
extern int	pipeline_notification_days;
extern int	pipeline_alert_days;
extern void pipeline_alert_define_settings(void);

/* ---- alert_hosts.c: who may be spoken to ------------------------------------ */

typedef struct UrlParts
{
	char	   *scheme;
	char	   *host;			/* an IPv6 address stands in brackets */
	int			port;
} UrlParts;

extern char *pipeline_url_objection(const char *url, bool tls, UrlParts *parts);
extern bool pipeline_url_is_mail(const UrlParts *parts);
extern TransportNetwork *pipeline_allowed_networks(int *n);
extern bool pipeline_hosts_check_hook(char **newval, void **extra, int source);

/* ---- alert_secret.c: what no table holds ------------------------------------- */

typedef struct Secret
{
	List	   *names;			/* of char * */
	List	   *values;			/* of char *, in the same order */
	List	   *hidden;			/* of char *: what must not be written anywhere */
} Secret;

extern void pipeline_check_secret_ref(const char *ref);
extern Secret *pipeline_secret_read(Oid owner, const char *ref, char **why);
extern const char *pipeline_secret_get(const Secret *secret, const char *name);
extern void pipeline_secret_hide(Secret *secret, const char *text);
extern char *pipeline_redact(const Secret *secret, const char *text);

/* ---- alert_shmem.c: one notifier per database, and how to wake it ------------ */

extern void pipeline_notifier_shmem_install(void);
extern bool pipeline_notifier_is_preloaded(void);
extern bool pipeline_notifier_take(Oid database);
extern void pipeline_notifier_wake(Oid database);
extern void pipeline_notifier_wake_at_commit(void);
extern bool pipeline_notifier_note_prepared(bool prepared);
extern void pipeline_notifier_wake_init(void);

extern PGDLLEXPORT void pipeline_notifier_main(Datum arg);

/* alert_route_doctor.c */
extern void pipeline_alert_look_at_routing(void);

/* alert_trim.c */
extern uint64 pipeline_alert_trim(int batch, int days, int alert_days);

#endif							/* PIPELINE_ALERT_NOTIFY_H */
