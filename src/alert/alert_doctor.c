/*
 * alert_doctor.c
 *	  What doctor() looks for in the alert room: why somebody might not be told
 *	  at night.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "alert/alert_render.h"

/* Findings of one kind that are listed; the rest is counted. */
#define MOST 20

static Oid
owner_of(uint64 row, int column)
{
	bool		isnull;

	return DatumGetObjectId(pipeline_sql_datum(row, column, &isnull));
}

/* ---- the notifier -------------------------------------------------------------------- */

/* Is there a notifier, or one that is just being started? */
static bool
notifier_runs(void)
{
	for (int i = 0; i < 20; i++)
	{
		if (pipeline_notifier_runs(MyDatabaseId))
			return true;
		pg_usleep(100000);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

static void
look_at_notifier(void)
{
	char		path[MAXPGPATH];
	bool		network;

	pipeline_sql("SELECT EXISTS (SELECT FROM pipeline.channels WHERE kind NOT IN ('notify', 'log'))", SPI_OK_SELECT);
	network = pipeline_sql_bool(0, 1);
	if (network)
	{
		snprintf(path, sizeof(path), "%s/pipeline_transport%s", pkglib_path, DLSUFFIX);
		if (access(path, R_OK) != 0)
			pipeline_finding(InvalidOid, "error", "transport_missing",
							 psprintf("The library pipeline_transport cannot be read at %s: nothing is sent over the network.", path),
							 "Install it, and libcurl, as docs/alert_channels.md says.");
	}
	if (pipeline_is_preloaded && !RecoveryInProgress() && pipeline_identity_matches() &&
		pipeline_notifier_needed() && !notifier_runs())
		pipeline_finding(InvalidOid, "error", "notifier_not_running",
						 "No notifier runs in this database, and there is something to tell or to evaluate.",
						 "The scheduler starts one: see the server's log, and max_worker_processes.");
}

static void
look_at_outbox(void)
{
	uint64		n = pipeline_sql("SELECT channel, owner::oid, count(*)::text, date_trunc('second', clock_timestamp() - min(created_at))::text"
								 " FROM pipeline.notifications WHERE state IN ('pending', 'sending')"
								 " AND created_at < clock_timestamp() - interval '10 minutes'"
								 " GROUP BY channel, owner ORDER BY min(created_at) LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));

	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "error", "notifications_wait",
						 psprintf("%s notifications for channel \"%s\" wait, the oldest for %s.", pipeline_sql_text(i, 3),
								  pipeline_sql_text(i, 1), pipeline_sql_text(i, 4)),
						 "See the views channel_status and the column last_error of notifications.");
	n = pipeline_sql("SELECT channel, owner::oid, count(*)::text, max(last_error) FROM pipeline.notifications"
					 " WHERE state = 'dead' AND created_at > clock_timestamp() - interval '1 day' AND event NOT IN ('test', 'heartbeat')"
					 " AND progress -> 'told_on' IS NULL"
					 " GROUP BY channel, owner ORDER BY channel LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));
	for (uint64 i = 0; i < n; i++)
	{
		char	   *error = pipeline_sql_text(i, 4);

		pipeline_finding(owner_of(i, 2), "error", "notifications_dead",
						 psprintf("%s notifications of the last day for channel \"%s\" were given up: %s", pipeline_sql_text(i, 3),
								  pipeline_sql_text(i, 1), error ? error : "see deliveries"),
						 "Mend the channel, then SELECT pipeline.redeliver(notification_id) for those that still matter.");
	}
}

/* ---- channels ----------------------------------------------------------------------------- */

static void
look_at_hosts(void)
{
	uint64		n = pipeline_sql("SELECT name, owner::oid, config ->> 'url', kind = 'email' FROM pipeline.channels"
								 " WHERE config ? 'url' ORDER BY name LIMIT 1000", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		UrlParts	parts;
		char	   *why = pipeline_url_objection(pipeline_sql_text(i, 3), pipeline_sql_bool(i, 4), &parts);

		if (why != NULL)
			pipeline_finding(owner_of(i, 2), "error", "host_not_allowed",
							 psprintf("Channel \"%s\" cannot send: %s.", pipeline_sql_text(i, 1), why),
							 "A superuser adds the host to pipeline.allowed_hosts; or drop the channel.");
	}
	if (pipeline_allowed_hosts[0] == '\0' &&
		pipeline_sql("SELECT 1 FROM pipeline.channels WHERE kind NOT IN ('notify', 'log') LIMIT 1", SPI_OK_SELECT) > 0)
		pipeline_finding(InvalidOid, "error", "no_allowed_hosts",
						 "pipeline.allowed_hosts is empty: no channel may send over the network.",
						 "ALTER SYSTEM SET pipeline.allowed_hosts = 'host, ...'; SELECT pg_reload_conf();");
	if (strstr(pipeline_allowed_hosts, "http://") || strstr(pipeline_allowed_hosts, "smtp://"))
		pipeline_finding(InvalidOid, "info", "plain_text_host",
						 "pipeline.allowed_hosts allows plain text to some hosts: whoever is on the way reads alerts and secrets.",
						 "Use https and smtps, unless the host is this machine.");
}

/* In words; what was refused at once counts for none. */
static const char *
in_a_row(const char *n)
{
	return strcmp(n, "0") == 0 ? "" : psprintf(": %s attempts in a row have failed", n);
}

static void
look_at_use(void)
{
	uint64		n = pipeline_sql("SELECT c.name, c.owner::oid, h.last_success_at IS NULL AND h.last_failure_at IS NULL, h.failures::text, h.last_error"
								 " FROM pipeline.channels c LEFT JOIN pipeline.channel_health h ON h.channel = c.name"
								 " WHERE c.kind NOT IN ('notify', 'log') AND (h.last_success_at IS NULL OR h.failures > 0)"
								 " ORDER BY c.name LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));

	for (uint64 i = 0; i < n; i++)
	{
		char	   *name = pipeline_sql_text(i, 1);
		char	   *error = pipeline_sql_text(i, 5);

		if (pipeline_sql_bool(i, 3))
			pipeline_finding(owner_of(i, 2), "warning", "channel_never_tested",
							 psprintf("Channel \"%s\" has never sent anything: nobody knows whether it works.", name),
							 psprintf("SELECT pipeline.test_channel(%s);", quote_literal_cstr(name)));
		else
			pipeline_finding(owner_of(i, 2), "error", "channel_failing",
							 psprintf("Channel \"%s\" does not work%s: %s", name, in_a_row(pipeline_sql_text(i, 4)), error ? error : ""),
							 psprintf("Mend it, then SELECT pipeline.test_channel(%s);", quote_literal_cstr(name)));
	}
	if (pipeline_sql("SELECT 1 WHERE EXISTS (SELECT FROM pipeline.channels WHERE kind NOT IN ('notify', 'log'))"
					 " AND NOT EXISTS (SELECT FROM pipeline.channels WHERE config ? 'heartbeat')", SPI_OK_SELECT) > 0)
		pipeline_finding(InvalidOid, "info", "no_heartbeat",
						 "No channel has a heartbeat: should the server or its notifier be down, nobody is told.",
						 "Give a webhook channel of a dead man's switch the config key heartbeat, such as \"1 minute\".");
}

/* Owners of alerts that fire, whom no channel tells. */
static void
look_at_listeners(void)
{
	uint64		n = pipeline_sql("SELECT a.owner::oid, count(*)::text, a.owner::text FROM pipeline.alerts a WHERE a.state <> 'resolved'"
								 " GROUP BY a.owner ORDER BY a.owner::text LIMIT 1000", SPI_OK_SELECT);
	Oid		   *owners = palloc_array(Oid, n + 1);
	char	  **counts = palloc_array(char *, n + 1);
	char	  **names = palloc_array(char *, n + 1);

	for (uint64 i = 0; i < n; i++)
	{
		owners[i] = owner_of(i, 1);
		counts[i] = pipeline_sql_text(i, 2);
		names[i] = pipeline_sql_text(i, 3);
	}
	for (uint64 i = 0; i < n; i++)
	{
		bool		heard = false;
		uint64		m = pipeline_sql("SELECT DISTINCT owner::oid FROM pipeline.channels", SPI_OK_SELECT);

		for (uint64 j = 0; j < m && !heard; j++)
			heard = owner_of(j, 1) == owners[i] || pipeline_is_admin(owner_of(j, 1));
		if (!heard)
			pipeline_finding(owners[i], "error", "alerts_unheard",
							 psprintf("%s alerts of role %s fire, and there is no channel that hears them.", counts[i], names[i]),
							 "SELECT pipeline.create_channel(...), as that role or as an administrator.");
	}
}

/* ---- routes ------------------------------------------------------------------------------- */

/* Routes, schedules and silences by which nobody is told. */
static void
look_at_routes(void)
{
	uint64		n = pipeline_sql("SELECT r.name, r.owner::oid FROM pipeline.routes r WHERE r.channels = '{}' AND r.escalation IS NULL"
								 " AND NOT r.opens_incident AND NOT EXISTS (SELECT FROM pipeline.routes c WHERE c.parent = r.name)"
								 " ORDER BY r.name LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));

	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "warning", "route_to_nobody",
						 psprintf("Route \"%s\" takes alerts and tells nobody: it has no channel, no escalation and no route below it.", pipeline_sql_text(i, 1)),
						 psprintf("SELECT pipeline.alter_route(%s, '{\"channels\": [...]}'); or drop it.", quote_literal_cstr(pipeline_sql_text(i, 1))));
	n = pipeline_sql("SELECT 'Route', r.name, r.owner::oid, u.channel FROM pipeline.routes r, unnest(r.channels) u(channel)"
					 " WHERE NOT EXISTS (SELECT FROM pipeline.channels c WHERE c.name = u.channel)"
					 " UNION ALL"
					 " SELECT 'Escalation', e.name, e.owner::oid, u.channel FROM pipeline.escalations e, unnest(e.channels) u(channel)"
					 " WHERE NOT EXISTS (SELECT FROM pipeline.channels c WHERE c.name = u.channel)"
					 " ORDER BY 1, 2, 4 LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));
	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 3), "error", "channel_missing",
						 psprintf("%s \"%s\" names channel \"%s\", which does not exist.", pipeline_sql_text(i, 1),
								  pipeline_sql_text(i, 2), pipeline_sql_text(i, 4)),
						 "Create the channel, or name another.");
	n = pipeline_sql("SELECT silence_id::text, owner::oid, ends_at::date::text FROM pipeline.silences"
					 " WHERE ended_by IS NULL AND ends_at > clock_timestamp() + interval '30 days' ORDER BY silence_id LIMIT $1", SPI_OK_SELECT,
					 sql_int4(MOST));
	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "warning", "long_silence",
						 psprintf("Silence %s keeps alerts from being told until %s.", pipeline_sql_text(i, 1), pipeline_sql_text(i, 3)),
						 "End it when its reason is over.");
}

/* ---- secrets -------------------------------------------------------------------------------- */

/* What is wrong with a folder of secrets, or NULL. */
static char *
folder_problem(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return psprintf("%m");
	if (!S_ISDIR(st.st_mode))
		return pstrdup("it is not a directory");
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return pstrdup("it belongs to another user");
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return psprintf("its mode is %04o: others may look into it", (unsigned) (st.st_mode & 07777));
	return NULL;
}

static void
look_at_secret(Oid owner, const char *channel, const char *ref)
{
	const char *role = GetUserNameFromId(owner, true);
	char	   *folder = psprintf("%s/%s", pipeline_secrets_dir, role ? role : "");
	char	   *path = psprintf("%s/%s", folder, ref);
	struct stat st;
	char	   *why = folder_problem(folder);

	if (role == NULL)
	{
		pipeline_finding(InvalidOid, "error", "secret_unusable",
						 psprintf("The owner of channel \"%s\" does not exist any more: its secret cannot be read.", channel),
						 psprintf("SELECT pipeline.drop_channel(%s); and make one of a role that exists.", quote_literal_cstr(channel)));
		return;
	}

	if (why != NULL)
		why = psprintf("folder %s: %s", folder, why);
	else if (lstat(path, &st) != 0)
		why = psprintf("file %s: %m", path);
	else if (!S_ISREG(st.st_mode))
		why = psprintf("file %s: it is not a plain file", path);
	else if (st.st_uid != geteuid())
		why = psprintf("file %s: it belongs to another user than the server's", path);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		why = psprintf("file %s: its mode is %04o", path, (unsigned) (st.st_mode & 07777));
	if (why != NULL)
		pipeline_finding(owner, "error", "secret_unusable",
						 psprintf("The secret of channel \"%s\" cannot be used: %s.", channel, why),
						 psprintf("mkdir -p -m 0700 %s; put the secret into %s with mode 0600, as the server's user.", folder, path));
}

static void
look_at_secrets(void)
{
	uint64		n = pipeline_sql("SELECT name, owner::oid, secret_ref FROM pipeline.channels WHERE secret_ref IS NOT NULL"
								 " ORDER BY name LIMIT 1000", SPI_OK_SELECT);
	char	   *why;

	if (pipeline_secrets_dir[0] == '\0')
	{
		if (n > 0)
			pipeline_finding(InvalidOid, "error", "no_secrets_dir",
							 "Channels have secrets, and pipeline.secrets_dir is not set: they cannot send.",
							 "ALTER SYSTEM SET pipeline.secrets_dir = '/path'; SELECT pg_reload_conf();");
		return;
	}
	why = folder_problem(pipeline_secrets_dir);
	if (why != NULL)
		pipeline_finding(InvalidOid, "error", "secrets_dir_unsafe",
						 psprintf("pipeline.secrets_dir, %s: %s.", pipeline_secrets_dir, why),
						 "It must be a directory of the server's user with mode 0700.");
	for (uint64 i = 0; i < n; i++)
		look_at_secret(owner_of(i, 2), pipeline_sql_text(i, 1), pipeline_sql_text(i, 3));
}

/* ---- rules ------------------------------------------------------------------------------------ */

static void
look_at_rules(void)
{
	uint64		n = pipeline_sql("SELECT s.rule, s.owner::oid, s.error FROM pipeline.rule_states s JOIN pipeline.rules r ON r.name = s.rule"
								 " WHERE r.enabled AND s.error IS NOT NULL ORDER BY s.rule LIMIT $1", SPI_OK_SELECT,
								 sql_int4(MOST));

	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "error", "rule_failing",
						 psprintf("Rule \"%s\" cannot be evaluated: %s", pipeline_sql_text(i, 1), pipeline_sql_text(i, 3)),
						 psprintf("SELECT * FROM pipeline.test_rule(%s); shows it to its owner.",
								  quote_literal_cstr(pipeline_sql_text(i, 1))));
	n = pipeline_sql("SELECT s.rule, s.owner::oid, date_trunc('second', clock_timestamp() - s.next_at)::text"
					 " FROM pipeline.rule_states s JOIN pipeline.rules r ON r.name = s.rule"
					 " WHERE r.enabled AND s.next_at < clock_timestamp() - greatest(interval '10 minutes', 3 * r.evaluation_interval)"
					 " ORDER BY s.next_at LIMIT $1", SPI_OK_SELECT, sql_int4(MOST));
	for (uint64 i = 0; i < n; i++)
		pipeline_finding(owner_of(i, 2), "error", "rule_overdue",
						 psprintf("Rule \"%s\" should have been evaluated %s ago.", pipeline_sql_text(i, 1), pipeline_sql_text(i, 3)),
						 "A notifier must run and find a place for a worker: see max_worker_processes, and the server's log.");
}

/* What the alert room looks for. */
void
pipeline_alert_look(void)
{
	look_at_notifier();
	look_at_outbox();
	look_at_hosts();
	look_at_use();
	look_at_listeners();
	look_at_routes();
	look_at_secrets();
	look_at_rules();
}
