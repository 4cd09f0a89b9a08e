/*
 * alert_grants.c
 *	  Who may use a channel that is not their own: grant_channel() and
 *	  revoke_channel().
 *
 * A grant lets a role name the channel in its routes and escalations, so that a
 * team's alerts reach a channel whose secret another holds.  It gives no right
 * to change or test it.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "alert/alert_state.h"

/*
 * May the role name the channel in a route or an escalation: is it the owner, a
 * member of it or of a role that it was granted to, or an administrator?  False
 * also when there is no such channel.  Inside an SPI connection and the scope of
 * the extension.
 */
bool
pipeline_channel_usable_by(const char *channel, Oid role)
{
	bool		isnull;
	uint64		n = pipeline_sql("SELECT owner::oid FROM pipeline.channels WHERE name = $1"
								 " UNION ALL SELECT g.role::oid FROM pipeline.channel_grants g JOIN pg_roles r ON r.oid = g.role"
								 " WHERE g.channel = $1", SPI_OK_SELECT, sql_text(channel));
	bool		usable = n > 0 && pipeline_is_admin(role);

	for (uint64 i = 0; i < n && !usable; i++)
		usable = has_privs_of_role(role, DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull)));
	return usable;
}

/* Lock the channel and check that it is the user's; returns its owner. */
static Oid
lock_channel(const char *name)
{
	UserScope	scope;
	bool		isnull;
	Oid			owner;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid FROM pipeline.channels WHERE name = $1 FOR NO KEY UPDATE",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("channel \"%s\" does not exist", name),
				 errhint("The table pipeline.channels lists yours.")));
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "channel", name);
	return owner;
}

static Jsonb *
grant_jsonb(Oid role)
{
	static const char *const keys[] = {"role"};
	const char *name = GetUserNameFromId(role, true);
	const char *values[] = {name ? name : psprintf("%u", role)};

	return pipeline_jsonb_object(1, keys, values);
}

PG_FUNCTION_INFO_V1(pipeline_grant_channel);

/* SQL: grant_channel(channel, role) */
Datum
pipeline_grant_channel(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *channel;
	Oid			role;
	Oid			owner;

	pipeline_not_null(fcinfo, 0, "channel");
	pipeline_not_null(fcinfo, 1, "role");
	channel = pipeline_arg_text(fcinfo, 0);
	role = PG_GETARG_OID(1);
	if (GetUserNameFromId(role, true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	SPI_connect();
	owner = lock_channel(channel);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("INSERT INTO pipeline.channel_grants (channel, owner, role, granted_by)"
					 " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", SPI_OK_INSERT,
					 sql_text(channel), sql_role(owner), sql_role(role),
					 sql_role(GetSessionUserId())) > 0)
		pipeline_record_change_of(owner, "grant_channel", "channel", channel, NULL,
								  grant_jsonb(role), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_revoke_channel);

/* SQL: revoke_channel(channel, role); false when nothing was granted. */
Datum
pipeline_revoke_channel(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *channel;
	Oid			role;
	Oid			owner;
	bool		granted;

	pipeline_not_null(fcinfo, 0, "channel");
	pipeline_not_null(fcinfo, 1, "role");
	channel = pipeline_arg_text(fcinfo, 0);
	role = PG_GETARG_OID(1);
	SPI_connect();
	owner = lock_channel(channel);
	pipeline_extension_begin(&scope);
	granted = pipeline_sql("DELETE FROM pipeline.channel_grants WHERE channel = $1 AND role = $2",
						   SPI_OK_DELETE, sql_text(channel), sql_role(role)) > 0;
	if (granted)
		pipeline_record_change_of(owner, "revoke_channel", "channel", channel,
								  grant_jsonb(role), NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_BOOL(granted);
}
