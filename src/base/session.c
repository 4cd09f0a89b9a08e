/*
 * session.c
 *	  Background workers that are a user: who they may be, and how one user
 *	  text leaves no trace for the next.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/base.h"

/*
 * Say why what users wrote (`what`: "tasks") cannot run as this role in this
 * database, or return NULL.  Asked when it is defined, when its owner changes
 * and before each start of a worker.
 */
char *
pipeline_role_problem(Oid role, const char *what)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;
	char	   *problem = NULL;

	if (!HeapTupleIsValid(tuple))
		return psprintf("role with OID %u does not exist", role);
	form = (Form_pg_authid) GETSTRUCT(tuple);
	if (form->rolsuper)
		problem = psprintf("role \"%s\" is a superuser, and %s never run as one",
						   NameStr(form->rolname), what);
	else if (PIPELINE_WORKER_NEEDS_LOGIN && !form->rolcanlogin)
		problem = psprintf("role \"%s\" may not log in, which a worker needs before PostgreSQL 17",
						   NameStr(form->rolname));
	else if (object_aclcheck(DatabaseRelationId, MyDatabaseId, role, ACL_CONNECT) != ACLCHECK_OK)
		problem = psprintf("role \"%s\" has no CONNECT privilege on this database",
						   NameStr(form->rolname));
	ReleaseSysCache(tuple);
	return problem;
}

/*
 * Take back what user text has done to the session of a worker: what DISCARD
 * ALL does.  Outside a transaction.
 */
void
pipeline_reset_session(void)
{
	StartTransactionCommand();
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	/* Rows of the catalogs are deleted, and what they keep out of line. */
	PushActiveSnapshot(GetTransactionSnapshot());
	ResetTempTableNamespace();
	PopActiveSnapshot();
	ResetSequenceCaches();
	CommitTransactionCommand();
}
