/*
 * alert_grants.c
 *	  Who may use a channel, an on-call schedule or an escalation that is not
 *	  their own: grant_X() and revoke_X().
 *
 * A grant lets a role name it, so that a team's alerts reach a channel whose
 * secret another holds, or go through another's escalation.  It gives no right
 * to change or test it.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "alert/alert_escalation.h"
#include "alert/alert_state.h"

/* Something that can be granted. */
typedef struct Grantable
{
	AlertObject object;
	const char *argument;		/* of the functions: its name */
	const char *grant_action;
	const char *revoke_action;
	const char *users;			/* SELECT of roles that may use $1 */
	const char *insert;			/* ($1 name, $2 owner, $3 role, $4 by whom) */
	const char *remove;			/* ($1 name, $2 role) */
} Grantable;

/* The texts of a kind, whose table of grants is named after it. */
#define GRANTABLE(what, table, words) { \
	.object = { \
		.kind = words, \
		.lock = "SELECT owner::oid, to_jsonb(o) FROM pipeline." table " o WHERE name = $1 FOR NO KEY UPDATE", \
		.missing_hint = "The table pipeline." table " lists yours." \
	}, \
	.argument = what, \
	.grant_action = "grant_" what, \
	.revoke_action = "revoke_" what, \
	.users = "SELECT owner::oid FROM pipeline." table " WHERE name = $1" \
	" UNION ALL SELECT g.role::oid FROM pipeline." what "_grants g JOIN pg_roles r ON r.oid = g.role" \
	" WHERE g." what " = $1", \
	.insert = "INSERT INTO pipeline." what "_grants (" what ", owner, role, granted_by)" \
	" VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", \
	.remove = "DELETE FROM pipeline." what "_grants WHERE " what " = $1 AND role = $2" \
}

static const Grantable channels = GRANTABLE("channel", "channels", "channel");
static const Grantable on_calls = GRANTABLE("on_call", "on_calls", "on-call schedule");
static const Grantable escalations = GRANTABLE("escalation", "escalations", "escalation");

/* ---- use -------------------------------------------------------------------------------- */

/*
 * May the role name it: is it the owner, a member of it or of a role that it was
 * granted to, or an administrator?  False also when there is none.
 */
static bool
usable_by(const Grantable *what, const char *name, Oid role)
{
	const SqlArg args[] = {sql_text(name)};
	bool		isnull;
	uint64		n = pipeline_sql_run(what->users, SPI_OK_SELECT, false, lengthof(args), args);
	bool		usable = n > 0 && pipeline_is_admin(role);

	for (uint64 i = 0; i < n && !usable; i++)
		usable = has_privs_of_role(role, DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull)));
	return usable;
}

/*
 * The same for each kind.  Inside an SPI connection and the scope of the
 * extension.
 */
bool
pipeline_channel_usable_by(const char *channel, Oid role)
{
	return usable_by(&channels, channel, role);
}

bool
pipeline_on_call_usable_by(const char *on_call, Oid role)
{
	return usable_by(&on_calls, on_call, role);
}

bool
pipeline_escalation_usable_by(const char *escalation, Oid role)
{
	return usable_by(&escalations, escalation, role);
}

/* ---- SQL -------------------------------------------------------------------------------- */

static Jsonb *
grant_jsonb(Oid role)
{
	static const char *const keys[] = {"role"};
	const char *name = GetUserNameFromId(role, true);
	const char *values[] = {name ? name : psprintf("%u", role)};

	return pipeline_jsonb_object(1, keys, values);
}

static void
grant_use(FunctionCallInfo fcinfo, const Grantable *what)
{
	UserScope	scope;
	char	   *name;
	Oid			role;
	Oid			owner;

	pipeline_not_null(fcinfo, 0, what->argument);
	pipeline_not_null(fcinfo, 1, "role");
	name = pipeline_arg_text(fcinfo, 0);
	role = PG_GETARG_OID(1);
	if (GetUserNameFromId(role, true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	SPI_connect();
	(void) pipeline_object_lock(&what->object, name, true, &owner);
	pipeline_extension_begin(&scope);
	{
		const SqlArg args[] = {
			sql_text(name), sql_role(owner), sql_role(role), sql_role(GetSessionUserId())
		};

		if (pipeline_sql_run(what->insert, SPI_OK_INSERT, false, lengthof(args), args) > 0)
			pipeline_record_change_of(owner, what->grant_action, what->object.kind, name, NULL,
									  grant_jsonb(role), NULL);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
}

static bool
revoke_use(FunctionCallInfo fcinfo, const Grantable *what)
{
	UserScope	scope;
	char	   *name;
	Oid			role;
	Oid			owner;
	bool		granted;

	pipeline_not_null(fcinfo, 0, what->argument);
	pipeline_not_null(fcinfo, 1, "role");
	name = pipeline_arg_text(fcinfo, 0);
	role = PG_GETARG_OID(1);
	SPI_connect();
	(void) pipeline_object_lock(&what->object, name, true, &owner);
	pipeline_extension_begin(&scope);
	{
		const SqlArg args[] = {sql_text(name), sql_role(role)};

		granted = pipeline_sql_run(what->remove, SPI_OK_DELETE, false, lengthof(args), args) > 0;
	}
	if (granted)
		pipeline_record_change_of(owner, what->revoke_action, what->object.kind, name,
								  grant_jsonb(role), NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	return granted;
}

/* SQL: grant_X(name, role); and revoke_X(name, role): false when nothing was granted. */
#define GRANT_FUNCTIONS(what, grantable) \
PG_FUNCTION_INFO_V1(pipeline_grant_##what); \
Datum \
pipeline_grant_##what(PG_FUNCTION_ARGS) \
{ \
	grant_use(fcinfo, &grantable); \
	PG_RETURN_VOID(); \
} \
PG_FUNCTION_INFO_V1(pipeline_revoke_##what); \
Datum \
pipeline_revoke_##what(PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_BOOL(revoke_use(fcinfo, &grantable)); \
}

GRANT_FUNCTIONS(channel, channels)
GRANT_FUNCTIONS(on_call, on_calls)
GRANT_FUNCTIONS(escalation, escalations)
