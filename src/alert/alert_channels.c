/*
 * alert_channels.c
 *	  create_channel, drop_channel, test_channel.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "alert/alert_object.h"
#include "alert/alert_render.h"
#include "base/rows.h"

static void
not_for_kind(const char *argument, const char *value, const char *kind)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("argument \"%s\" cannot be \"%s\" for a channel of kind \"%s\"",
					argument, value, kind),
			 errdetail("Channels of kinds notify and log tell at commit, once: they need no secret and have neither rate nor attempts."),
			 errhint("Leave the argument out.")));
}

static void
check_kind(const char *kind)
{
	static const char *const kinds[] = {"notify", "log", "alertmanager", "email",
	"pagerduty", "slack", "teams", "ticket", "webhook", NULL};

	pipeline_check_choice("kind", kind, kinds);
}

/* Check the config of notify or log and return it with its defaults filled in. */
static Jsonb *
checked_local_config(const char *kind, const Jsonb *config)
{
	static const char *const notify_keys[] = {"channel", NULL};
	static const char *const log_keys[] = {"level", NULL};
	static const char *const levels[] = {"log", "warning", NULL};
	bool		notify = strcmp(kind, "notify") == 0;
	const char *key = notify ? "channel" : "level";
	const char *value;

	pipeline_check_keys(config, "config", notify ? notify_keys : log_keys);
	value = pipeline_config_string(config, key);
	if (value == NULL)
		value = notify ? "pipeline_alerts" : "log";
	if (!notify)
		pipeline_check_choice("config.level", value, levels);
	else if (value[0] == '\0' || strlen(value) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a notification channel: \"%s\"", value),
				 errhint("The name for LISTEN has 1 to %d bytes.", NAMEDATALEN - 1)));
	return pipeline_jsonb_object(1, &key, &value);
}

/* Raise 22023 unless the config's heartbeat is an interval that makes sense. */
static void
check_heartbeat(const Jsonb *config)
{
	char	   *text = pipeline_config_string(config, "heartbeat");
	Interval   *interval;

	if (text == NULL)
		return;
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (interval->month != 0 || interval->day < 0 || interval->day > 31 ||
		interval->time + interval->day * USECS_PER_DAY < USECS_PER_SEC ||
		interval->time > 31 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid heartbeat of a channel: \"%s\"", text),
				 errhint("It is an interval from 1 second to 31 days.")));
}

/* Check the config of a kind over the network, and its secret. */
static Jsonb *
checked_network_config(const ChannelKind *kind, const Jsonb *config,
					   const char *secret_ref)
{
	const char *keys[ROW_COLUMNS];
	int			n = 0;

	if (secret_ref != NULL && kind->secrets == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a channel of kind \"%s\" takes no secret", kind->name)));
	if (secret_ref == NULL && kind->needs_secret)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a channel of kind \"%s\" needs argument \"secret_ref\"", kind->name),
				 errhint("It names a file in the folder of the channel's owner under pipeline.secrets_dir, with a line %s.",
						 pipeline_secret_lines(kind))));
	if (secret_ref != NULL)
		pipeline_check_secret_ref(secret_ref);
	for (const char *const *k = kind->keys; *k; k++)
		keys[n++] = *k;
	if (kind->heartbeat)
		keys[n++] = "heartbeat";
	keys[n] = NULL;
	pipeline_check_keys(config, "config", keys);
	check_heartbeat(config);
	return kind->check_config(config, secret_ref != NULL);
}

/*
 * The definition of a channel as JSON, or NULL if there is none; raises 42501
 * if the current user is not its owner.
 */
static Jsonb *
own_channel(const char *name)
{
	UserScope	scope;
	bool		isnull;
	Oid			owner;
	Jsonb	   *definition;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, to_jsonb(c) FROM pipeline.channels c WHERE name = $1 FOR UPDATE",
					 SPI_OK_SELECT, sql_text(name)) == 0)
	{
		pipeline_scope_end(&scope);
		return NULL;
	}
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	definition = DatumGetJsonbP(pipeline_sql_datum(0, 2, &isnull));
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "channel", name);
	return definition;
}

static Jsonb *
own_channel_must_exist(const char *name)
{
	Jsonb	   *definition = own_channel(name);

	if (definition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("channel \"%s\" does not exist", name),
				 errhint("The table pipeline.channels lists yours.")));
	return definition;
}

typedef struct ChannelArgs
{
	char	   *name;
	Oid			owner;			/* of a new one */
	char	   *kind;
	Jsonb	   *config;
	char	   *secret_ref;
	int			rate_per_minute;
	int			max_attempts;
	Jsonb	   *labels;
	char	   *description;
} ChannelArgs;

/* Replace the row of one's own; returns how many there were. */
static uint64
update_channel(const ChannelArgs *a)
{
	return pipeline_sql("UPDATE pipeline.channels c SET kind = $2, config = $3, secret_ref = $4, rate_per_minute = $5,"
						" max_attempts = $6, labels = coalesce($7, '{}'), description = $8"
						" WHERE name = $1 RETURNING to_jsonb(c)", SPI_OK_UPDATE_RETURNING,
						sql_text(a->name), sql_text(a->kind), sql_jsonb(a->config),
						sql_text(a->secret_ref), sql_int4(a->rate_per_minute),
						sql_int4(a->max_attempts), sql_jsonb(a->labels),
						sql_text(a->description));
}

static uint64
insert_channel(const ChannelArgs *a)
{
	return pipeline_sql("INSERT INTO pipeline.channels AS c (name, owner, kind, config, secret_ref, rate_per_minute,"
						"   max_attempts, labels, description)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, '{}'), $9)"
						" ON CONFLICT DO NOTHING RETURNING to_jsonb(c)", SPI_OK_INSERT_RETURNING,
						sql_text(a->name), sql_role(a->owner), sql_text(a->kind),
						sql_jsonb(a->config), sql_text(a->secret_ref),
						sql_int4(a->rate_per_minute), sql_int4(a->max_attempts),
						sql_jsonb(a->labels), sql_text(a->description));
}

/*
 * Whoever replaces a channel decides where the secret of its owner goes, so to
 * administer is not enough for that.
 */
static void
check_replace(const Jsonb *before, const ChannelArgs *a)
{
	char	   *owner = pipeline_jsonb_key(before, "owner");

	if (a->secret_ref == NULL)
		return;
	pipeline_check_author(DatumGetObjectId(DirectFunctionCall1(regrolein, CStringGetDatum(owner))),
						  "channel", a->name, "secret_ref");
}

/* Insert or replace the row, and note the change. */
static void
write_channel(const ChannelArgs *a, bool or_replace)
{
	UserScope	scope;
	Jsonb	   *before = or_replace ? own_channel(a->name) : NULL;
	Jsonb	   *after;
	bool		isnull;
	uint64		n;

	if (before != NULL)
		check_replace(before, a);
	pipeline_identity_mind();
	pipeline_extension_begin(&scope);
	n = before != NULL ? update_channel(a) : insert_channel(a);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("channel \"%s\" already exists", a->name),
				 errhint("Use or_replace => true to replace it, if it is yours.")));
	after = DatumGetJsonbP(pipeline_sql_datum(0, 1, &isnull));
	/* What was wrong with the old one says nothing of the new: what waits is tried at once. */
	if (before != NULL)
	{
		pipeline_sql("DELETE FROM pipeline.channel_health WHERE channel = $1", SPI_OK_DELETE,
					 sql_text(a->name));
		pipeline_sql("UPDATE pipeline.notifications SET next_attempt_at = clock_timestamp()"
					 " WHERE channel = $1 AND state = 'pending' AND next_attempt_at > clock_timestamp()",
					 SPI_OK_UPDATE, sql_text(a->name));
	}
	pipeline_scope_end(&scope);
	pipeline_record_change("create_channel", "channel", a->name, before, after, NULL);
	pipeline_notifier_wake_at_commit();
}

static void
check_range(const char *argument, int value, int least, int most)
{
	if (value < least || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"%s\": %d", argument, value),
				 errhint("It is a number from %d to %d.", least, most)));
}

/* Check what depends on the kind, and fill in the config's defaults. */
static void
check_arguments(ChannelArgs *a)
{
	const ChannelKind *kind;

	check_kind(a->kind);
	kind = pipeline_channel_kind(a->kind);
	if (kind != NULL)
	{
		check_range("rate_per_minute", a->rate_per_minute, 0, 1000000);
		check_range("max_attempts", a->max_attempts, 1, 100);
		a->config = checked_network_config(kind, a->config, a->secret_ref);
		return;
	}
	if (a->secret_ref != NULL)
		not_for_kind("secret_ref", a->secret_ref, a->kind);
	if (a->rate_per_minute != 30)
		not_for_kind("rate_per_minute", psprintf("%d", a->rate_per_minute), a->kind);
	if (a->max_attempts != 8)
		not_for_kind("max_attempts", psprintf("%d", a->max_attempts), a->kind);
	a->config = checked_local_config(a->kind, a->config);
}

PG_FUNCTION_INFO_V1(pipeline_create_channel);

/* SQL: create_channel(...) */
Datum
pipeline_create_channel(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "kind", "config"};
	ChannelArgs a;

	for (int i = 0; i < 3; i++)
		pipeline_not_null(fcinfo, i, names[i]);
	pipeline_not_null(fcinfo, 4, "rate_per_minute");
	pipeline_not_null(fcinfo, 5, "max_attempts");
	pipeline_not_null(fcinfo, 7, "or_replace");
	a.name = pipeline_arg_text(fcinfo, 0);
	a.owner = GetUserId();
	a.kind = pipeline_arg_text(fcinfo, 1);
	a.config = pipeline_arg_jsonb(fcinfo, 2);
	a.secret_ref = pipeline_arg_text(fcinfo, 3);
	a.rate_per_minute = PG_GETARG_INT32(4);
	a.max_attempts = PG_GETARG_INT32(5);
	a.labels = pipeline_arg_jsonb(fcinfo, 6);
	a.description = pipeline_arg_text(fcinfo, 8);
	pipeline_check_name("channel", a.name);
	check_arguments(&a);
	pipeline_check_labels(a.labels, "labels");

	SPI_connect();
	write_channel(&a, PG_GETARG_BOOL(7));
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_channel);

/* SQL: drop_channel(name) */
Datum
pipeline_drop_channel(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	before = own_channel_must_exist(name);
	pipeline_check_channel_unused(name);
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.notifications SET state = 'dead', last_error = 'the channel was dropped'"
				 " WHERE channel = $1 AND state = 'pending'", SPI_OK_UPDATE, sql_text(name));
	pipeline_sql("DELETE FROM pipeline.channels WHERE name = $1", SPI_OK_DELETE,
				 sql_text(name));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_channel", "channel", name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}

/* Write a test message into the outbox; returns its number. */
static int64
enqueue_test(const char *name, const Jsonb *definition)
{
	UserScope	scope;
	int64		id;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)"
				 " SELECT c.owner, c.name, 'test', 'test-' || gen_random_uuid(), '{}',"
				 "  jsonb_build_object('status', 'firing', 'title', format('test of channel \"%s\"', c.name),"
				 "   'severity', 'info', 'group_labels', '{}'::jsonb, 'common_labels',"
				 "   jsonb_build_object('alertname', 'ChannelTest', 'severity', 'info'), 'alerts', '[]'::jsonb,"
				 "   'omitted', 0, 'test', true)"
				 " FROM pipeline.channels c WHERE c.name = $1 RETURNING notification_id",
				 SPI_OK_INSERT_RETURNING, sql_text(name));
	id = pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
	pipeline_notifier_wake_at_commit();
	return id;
}

PG_FUNCTION_INFO_V1(pipeline_test_channel);

/* SQL: test_channel(name): number of the notification, or NULL. */
Datum
pipeline_test_channel(PG_FUNCTION_ARGS)
{
	static const char *const keys[] = {"event", "channel"};
	const char *values[2];
	char	   *name;
	char	   *kind;
	Jsonb	   *definition;
	Jsonb	   *payload;
	JsonbValue	config;
	int64		id = 0;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	definition = own_channel_must_exist(name);
	kind = pipeline_jsonb_key(definition, "kind");
	if (pipeline_channel_kind(kind) != NULL)
		id = enqueue_test(name, definition);
	else
	{
		values[0] = "test";
		values[1] = name;
		payload = pipeline_jsonb_object(2, keys, values);
		getKeyJsonValueFromContainer(&definition->root, "config", 6, &config);
		pipeline_channel_send(kind, JsonbValueToJsonb(&config),
							  JsonbToCString(NULL, &payload->root, VARSIZE(payload)),
							  psprintf("test of channel \"%s\"", name));
	}
	SPI_finish();
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}
