/*
 * rights.c
 *	  Who acts, and who may.
 *
 * No role has rights on our tables beyond SELECT under row security.  A C
 * function checks the caller's rights, then acts for a moment as the owner of
 * the extension, with a pinned search_path, and runs constant SQL only.  User
 * text is never run in that scope: it runs as its definer, in a scope opened
 * by pipeline_user_begin().
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "base/settings.h"

/* Return the owner of the extension, or InvalidOid when it is not there. */
Oid
pipeline_extension_owner(bool missing_ok)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key[0], Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("pipeline"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (!OidIsValid(owner) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"pipeline\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION pipeline.")));
	return owner;
}

static void
scope_begin(UserScope *scope, Oid userid, int flags, const char *search_path)
{
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	scope->guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(userid, scope->sec_context | flags);
	(void) set_config_option("search_path", search_path, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Act as the owner of the extension, until pipeline_scope_end().  For
 * constant SQL on our own tables only.
 */
void
pipeline_extension_begin(UserScope *scope)
{
	scope_begin(scope, pipeline_extension_owner(false),
				SECURITY_LOCAL_USERID_CHANGE, "pg_catalog, pg_temp");
}

/*
 * Act as `userid` with the search_path that was stored with its definition,
 * until pipeline_scope_end().  The caller has checked that the current user
 * may.  When it is another user, what it runs is security-restricted, so that
 * it cannot leave traps behind in the session of the caller.
 */
void
pipeline_user_begin(UserScope *scope, Oid userid, const char *search_path)
{
	int			flags = SECURITY_LOCAL_USERID_CHANGE;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(userid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the owner, role with OID %u, does not exist", userid),
				 errhint("Create the object again under another owner.")));
	if (userid != GetUserId())
		flags |= SECURITY_RESTRICTED_OPERATION;
	scope_begin(scope, userid, flags, search_path);
}

/* Go back to the user and settings of before the matching begin. */
void
pipeline_scope_end(UserScope *scope)
{
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->userid, scope->sec_context);
}

/* Does the role administer all of pipeline? */
bool
pipeline_is_admin(Oid roleid)
{
	Oid			admin;

	if (superuser_arg(roleid))
		return true;
	if (pipeline_admin_role == NULL || pipeline_admin_role[0] == '\0')
		return false;
	admin = get_role_oid(pipeline_admin_role, true);
	return OidIsValid(admin) && has_privs_of_role(roleid, admin);
}

/* Does the role have the rights of this owner, by membership or as admin? */
bool
pipeline_is_owner(Oid roleid, Oid owner)
{
	return has_privs_of_role(roleid, owner) || pipeline_is_admin(roleid);
}

/* Raise 42501 unless the current user has the rights of the owner. */
void
pipeline_check_owner(Oid owner, const char *kind, const char *name)
{
	if (pipeline_is_owner(GetUserId(), owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of %s \"%s\"", kind, name),
			 errhint("Membership in the owning role, or in the role named by \"pipeline.admin_role\", counts.")));
}

/*
 * Raise 42501 unless the current user has the rights of the owner as a member
 * of that role.  The argument is SQL that will run as the owner, so whoever
 * only administers may not give it.
 */
void
pipeline_check_author(Oid owner, const char *kind, const char *name,
					  const char *argument)
{
	if (has_privs_of_role(GetUserId(), owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be a member of the role that owns %s \"%s\" to give argument \"%s\"",
					kind, name, argument),
			 errhint("It is read with the rights of that role.")));
}

/* Return the caller's search_path, to be stored with what it defines. */
char *
pipeline_search_path(void)
{
	return pstrdup(namespace_search_path);
}

PG_FUNCTION_INFO_V1(pipeline_is_owner_sql);

/* SQL: is_owner(owner regrole); what every row security policy asks. */
Datum
pipeline_is_owner_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pipeline_is_owner(GetUserId(), PG_GETARG_OID(0)));
}

PG_FUNCTION_INFO_V1(pipeline_is_administrator_sql);

/* SQL: is_administrator(role regrole) */
Datum
pipeline_is_administrator_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pipeline_is_admin(PG_GETARG_OID(0)));
}
