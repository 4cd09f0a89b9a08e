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

#include "alert/alert_object.h"

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

/* Kinds that the design names and that are not there yet get their own error. */
static void
check_kind(const char *kind)
{
	static const char *const kinds[] = {"notify", "log", NULL};
	static const char *const later[] = {"slack", "teams", "webhook", "pagerduty",
	"alertmanager", "email", "ticket", NULL};

	for (const char *const *k = later; *k; k++)
		if (strcmp(*k, kind) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("argument \"kind\" cannot be \"%s\" yet", kind),
					 errhint("Available values: notify, log.")));
	pipeline_check_choice("kind", kind, kinds);
}

/* The string under a key of the config; anything but a string is an error. */
static char *
config_string(const Jsonb *config, const char *key, const char *default_value)
{
	JsonbValue	buf;
	JsonbValue *v;

	v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root, key,
									 strlen(key), &buf);
	if (v == NULL)
		return pstrdup(default_value);
	if (v->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" in argument \"config\" is not a string", key)));
	return pnstrdup(v->val.string.val, v->val.string.len);
}

/* Check the config of the kind and return it with its defaults filled in. */
static Jsonb *
checked_config(const char *kind, const Jsonb *config)
{
	static const char *const notify_keys[] = {"channel", NULL};
	static const char *const log_keys[] = {"level", NULL};
	static const char *const levels[] = {"log", "warning", NULL};
	bool		notify = strcmp(kind, "notify") == 0;
	const char *key = notify ? "channel" : "level";
	const char *value;

	pipeline_check_keys(config, "config", notify ? notify_keys : log_keys);
	value = config_string(config, key, notify ? "pipeline_alerts" : "log");
	if (!notify)
		pipeline_check_choice("config.level", value, levels);
	else if (value[0] == '\0' || strlen(value) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a notification channel: \"%s\"", value),
				 errhint("The name for LISTEN has 1 to %d bytes.", NAMEDATALEN - 1)));
	return pipeline_jsonb_object(1, &key, &value);
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

/* Insert or replace the row; returns the definition of before and after. */
static void
write_channel(const char *name, Oid owner, const char *kind,
			  const Jsonb *config, const Jsonb *labels,
			  const char *description, bool or_replace)
{
	UserScope	scope;
	Jsonb	   *before = or_replace ? own_channel(name) : NULL;
	Jsonb	   *after;
	bool		isnull;
	uint64		n;

	pipeline_extension_begin(&scope);
	if (before != NULL)
		n = pipeline_sql("UPDATE pipeline.channels c SET kind = $2, config = $3, labels = coalesce($4, '{}'), description = $5"
						 " WHERE name = $1 RETURNING to_jsonb(c)", SPI_OK_UPDATE_RETURNING,
						 sql_text(name), sql_text(kind), sql_jsonb(config),
						 sql_jsonb(labels), sql_text(description));
	else
		n = pipeline_sql("INSERT INTO pipeline.channels AS c (name, owner, kind, config, labels, description)"
						 " VALUES ($1, $2, $3, $4, coalesce($5, '{}'), $6)"
						 " ON CONFLICT DO NOTHING RETURNING to_jsonb(c)", SPI_OK_INSERT_RETURNING,
						 sql_text(name), sql_role(owner), sql_text(kind),
						 sql_jsonb(config), sql_jsonb(labels), sql_text(description));
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("channel \"%s\" already exists", name),
				 errhint("Use or_replace => true to replace it, if it is yours.")));
	after = DatumGetJsonbP(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	pipeline_record_change("create_channel", "channel", name, before, after, NULL);
}

PG_FUNCTION_INFO_V1(pipeline_create_channel);

/* SQL: create_channel(...) */
Datum
pipeline_create_channel(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "kind", "config"};
	char	   *name;
	char	   *kind;
	Jsonb	   *config;

	for (int i = 0; i < 3; i++)
		pipeline_not_null(fcinfo, i, names[i]);
	pipeline_not_null(fcinfo, 4, "rate_per_minute");
	pipeline_not_null(fcinfo, 5, "max_attempts");
	pipeline_not_null(fcinfo, 7, "or_replace");
	name = pipeline_arg_text(fcinfo, 0);
	kind = pipeline_arg_text(fcinfo, 1);
	pipeline_check_name("channel", name);
	check_kind(kind);
	if (!PG_ARGISNULL(3))
		not_for_kind("secret_ref", pipeline_arg_text(fcinfo, 3), kind);
	if (PG_GETARG_INT32(4) != 30)
		not_for_kind("rate_per_minute", psprintf("%d", PG_GETARG_INT32(4)), kind);
	if (PG_GETARG_INT32(5) != 8)
		not_for_kind("max_attempts", psprintf("%d", PG_GETARG_INT32(5)), kind);
	config = checked_config(kind, pipeline_arg_jsonb(fcinfo, 2));
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 6), "labels");

	SPI_connect();
	write_channel(name, GetUserId(), kind, config, pipeline_arg_jsonb(fcinfo, 6),
				  pipeline_arg_text(fcinfo, 8), PG_GETARG_BOOL(7));
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
	pipeline_sql("DELETE FROM pipeline.channels WHERE name = $1", SPI_OK_DELETE,
				 sql_text(name));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_channel", "channel", name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_test_channel);

/* SQL: test_channel(name) */
Datum
pipeline_test_channel(PG_FUNCTION_ARGS)
{
	static const char *const keys[] = {"event", "channel"};
	const char *values[2];
	char	   *name;
	Jsonb	   *definition;
	Jsonb	   *payload;
	JsonbValue	config;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	definition = own_channel_must_exist(name);
	values[0] = "test";
	values[1] = name;
	payload = pipeline_jsonb_object(2, keys, values);
	getKeyJsonValueFromContainer(&definition->root, "config", 6, &config);
	pipeline_channel_send(pipeline_jsonb_key(definition, "kind"),
						  JsonbValueToJsonb(&config),
						  JsonbToCString(NULL, &payload->root, VARSIZE(payload)),
						  psprintf("test of channel \"%s\"", name));
	SPI_finish();
	PG_RETURN_VOID();
}
