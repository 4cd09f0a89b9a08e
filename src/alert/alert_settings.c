/*
 * alert_settings.c
 *	  Settings of the alerts: where they may be sent, and how hard it is tried.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "alert/alert_notify.h"

char	   *pipeline_allowed_hosts = NULL;
char	   *pipeline_secrets_dir = NULL;
char	   *pipeline_ca_file = NULL;
int			pipeline_notifier_connections = 32;
int			pipeline_notification_timeout = 15000;
int			pipeline_notification_retry_delay = 10000;
int			pipeline_notification_max_age = 86400;
int			pipeline_notification_days = 90;
int			pipeline_alert_days = 0;

static bool
check_path(char **newval, void **extra, GucSource source)
{
	if ((*newval)[0] == '\0' || is_absolute_path(*newval))
		return true;
	GUC_check_errdetail("It must be empty or an absolute path.");
	return false;
}

static bool
check_hosts(char **newval, void **extra, GucSource source)
{
	return pipeline_hosts_check_hook(newval, extra, source);
}

/* Define them; called once, when the library is loaded. */
void
pipeline_alert_define_settings(void)
{
	DefineCustomStringVariable("pipeline.allowed_hosts",
							   "Hosts that notifications may be sent to.",
							   "Comma-separated: host, host:port or *.domain, spoken to over TLS only; http://host:port or smtp://host:port where plain text is meant; an address or network (10.0.0.0/8) that is not public and may be spoken to all the same.",
							   &pipeline_allowed_hosts,
							   "",
							   PGC_SIGHUP,
							   0,
							   check_hosts, NULL, NULL);
	DefineCustomStringVariable("pipeline.ca_file",
							   "File of the certificate authorities that peers are checked against.",
							   "Empty: those of the system.",
							   &pipeline_ca_file,
							   "",
							   PGC_SIGHUP,
							   0,
							   check_path, NULL, NULL);
	DefineCustomIntVariable("pipeline.alert_days",
							"Days for which resolved alerts are kept, unless an incident has them.",
							"0: for ever.",
							&pipeline_alert_days,
							0, 0, 36500, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.notification_days",
							"Days for which notifications that were sent or given up are kept, and silences and on-call overrides that are over.",
							"0: for ever.",
							&pipeline_notification_days,
							90, 0, 36500, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.notification_max_age",
							"Age after which a notification that could not be sent is given up.",
							NULL,
							&pipeline_notification_max_age,
							86400, 1, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.notification_retry_delay",
							"Longest wait before the second attempt; each further one waits up to twice as long.",
							NULL,
							&pipeline_notification_retry_delay,
							10000, 1, 3600000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.notification_timeout",
							"Time that one exchange with a peer may take.",
							NULL,
							&pipeline_notification_timeout,
							15000, 100, 300000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.notifier_connections",
							"Exchanges that the notifier of a database may have under way at once.",
							"One channel gets a quarter of them, one owner half.",
							&pipeline_notifier_connections,
							32, 1, 256, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pipeline.secrets_dir",
							   "Directory of the secrets of channels: a folder per owner, a file per secret.",
							   "Empty: no channel can have a secret.",
							   &pipeline_secrets_dir,
							   "",
							   PGC_SIGHUP,
							   0,
							   check_path, NULL, NULL);
}
