/*
 * alert_object.c
 *	  What the definitions of routes, time intervals, inhibitions, escalations
 *	  and on-call schedules have in common: rights, replacing, dropping, and
 *	  the record of the change.
 *
 * All are called inside an SPI connection, as the caller.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"

#include "alert/alert_notify.h"
#include "alert/alert_object.h"

/*
 * Lock an object of that name and return its definition; NULL if there is
 * none, or 42704 if it must exist.  42501 if the caller is not its owner.
 * *owner is whose it is, or the caller when it is yet to be made.
 */
Jsonb *
pipeline_object_lock(const AlertObject *object, const char *name,
					 bool must_exist, Oid *owner)
{
	UserScope	scope;
	const SqlArg args[] = {sql_text(name)};
	Jsonb	   *definition = NULL;
	Oid			found = GetUserId();
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql_run(object->lock, SPI_OK_SELECT, false, 1, args) > 0)
	{
		found = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
		definition = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	}
	pipeline_scope_end(&scope);
	if (definition != NULL)
		pipeline_check_owner(found, object->kind, name);
	else if (must_exist)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s \"%s\" does not exist", object->kind, name),
				 errhint("%s", object->missing_hint)));
	if (owner)
		*owner = found;
	return definition;
}

/*
 * Raise 2BP01 if one of the rows of the last result, (kind, name, owner), names
 * the object that `user` drops.  What its owner may not use any more is as if it
 * did not: nobody can keep another's by having named it once.  In the scope of
 * the extension.
 */
void
pipeline_check_unnamed(uint64 n, const AlertObject *object, const char *name, Oid user,
					   bool (*usable) (const char *name, Oid role), const char *revoke)
{
	typedef struct Naming
	{
		char	   *kind;
		char	   *name;
		Oid			owner;
	} Naming;
	Naming	   *naming = palloc_array(Naming, n + 1);
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		naming[i].kind = pipeline_sql_text(i, 1);
		naming[i].name = pipeline_sql_text(i, 2);
		naming[i].owner = DatumGetObjectId(pipeline_sql_datum(i, 3, &isnull));
	}
	for (uint64 i = 0; i < n; i++)
	{
		if (!usable(name, naming[i].owner))
			continue;
		if (pipeline_is_owner(user, naming[i].owner))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop %s \"%s\" because %s \"%s\" names it", object->kind, name,
							naming[i].kind, naming[i].name),
					 errhint("Alter or drop that first.")));
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop %s \"%s\" because role \"%s\" uses it", object->kind, name,
						GetUserNameFromId(naming[i].owner, true)),
				 errhint("That role can alter what names it, or pipeline.%s() takes back what it was granted.", revoke)));
	}
}

/*
 * Write an object by a statement that inserts it or, if its last parameter is
 * true, replaces the one of that name, and returns it as JSON.  `before` is
 * what pipeline_object_lock() returned: only what was locked is replaced.
 */
void
pipeline_object_write(const AlertObject *object, const char *name,
					  const Jsonb *before, const char *sql, int nargs,
					  const SqlArg *args)
{
	UserScope	scope;
	SqlArg		all[FUNC_MAX_ARGS];
	Jsonb	   *after;
	bool		isnull;

	memcpy(all, args, nargs * sizeof(SqlArg));
	all[nargs] = sql_bool(before != NULL);
	pipeline_extension_begin(&scope);
	if (pipeline_sql_run(sql, SPI_OK_INSERT_RETURNING, false, nargs + 1, all) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("%s \"%s\" already exists", object->kind, name),
				 errhint("Use or_replace => true to replace it, if it is yours.")));
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	pipeline_record_change(object->action, object->kind, name, before, after, NULL);
}

/* Drop an object of the caller's; returns what it was. */
Jsonb *
pipeline_object_drop(const AlertObject *object, const char *name)
{
	UserScope	scope;
	const SqlArg args[] = {sql_text(name)};
	Jsonb	   *before = pipeline_object_lock(object, name, true, NULL);

	pipeline_extension_begin(&scope);
	(void) pipeline_sql_run(object->remove, SPI_OK_DELETE, false, 1, args);
	pipeline_scope_end(&scope);
	pipeline_record_change(object->drop_action, object->kind, name, before, NULL, NULL);
	return before;
}

/*
 * Let one transaction at a time do what this stands for: change the routes, or
 * dispatch.  A lock of the lock manager that nobody takes otherwise.
 */
void
pipeline_alert_lock(const char *table)
{
	LOCKTAG		tag;
	Oid			relid = get_relname_relid(table, get_namespace_oid("pipeline", false));

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, relid, 0, 0);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Have the notifier route the open alerts of an owner again. */
void
pipeline_routes_changed(Oid owner)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.route_changes (owner) VALUES ($1)", SPI_OK_INSERT,
				 sql_role(owner));
	pipeline_scope_end(&scope);
	pipeline_notifier_wake_at_commit();
}
