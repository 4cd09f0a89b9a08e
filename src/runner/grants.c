/*
 * grants.c
 *	  Who may see and operate the pipelines of others: grant_pipeline(),
 *	  revoke_pipeline(), and the question itself.
 *
 * The rights of the owner are membership's; a grant gives one role less than
 * that on one pipeline: to view it and its runs, or also to operate it.  What
 * a row may be read by asks the same of the table, in functions.sql.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "runner/runner.h"

/*
 * May the current user see the pipeline, or with `operate` operate it?  Inside
 * an SPI connection.
 */
bool
runner_may(Oid owner, const char *pipeline, bool operate)
{
	UserScope	scope;
	Oid			user = GetUserId();
	uint64		n;
	bool		may = false;

	if (pipeline_is_owner(user, owner))
		return true;
	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT g.role::oid FROM pipeline.pipeline_grants g JOIN pg_roles r ON r.oid = g.role"
					 " WHERE g.pipeline = $1 AND (NOT $2 OR g.privilege = 'operate')",
					 SPI_OK_SELECT, sql_text(pipeline), sql_bool(operate));
	for (uint64 i = 0; i < n && !may; i++)
	{
		bool		isnull;

		may = has_privs_of_role(user, DatumGetObjectId(pipeline_sql_datum(i, 1, &isnull)));
	}
	pipeline_scope_end(&scope);
	return may;
}

/* Raise 42501 unless the current user may operate the pipeline. */
void
runner_check_operator(Oid owner, const char *pipeline)
{
	if (runner_may(owner, pipeline, true))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of pipeline \"%s\"", pipeline),
			 errhint("Membership in the owning role, or in the role named by \"pipeline.admin_role\", counts; the owner can let you operate it with pipeline.grant_pipeline().")));
}

static Jsonb *
grant_jsonb(const char *pipeline, Oid role)
{
	bool		isnull;

	if (pipeline_sql("SELECT jsonb_build_object('role', g.role, 'privilege', g.privilege)"
					 " FROM pipeline.pipeline_grants g WHERE g.pipeline = $1 AND g.role = $2",
					 SPI_OK_SELECT, sql_text(pipeline), sql_role(role)) == 0)
		return NULL;
	return DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
}

PG_FUNCTION_INFO_V1(pipeline_grant_pipeline);

/* SQL: grant_pipeline(pipeline, role, privilege) */
Datum
pipeline_grant_pipeline(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"pipeline", "role", "privilege"};
	static const char *const privileges[] = {"view", "operate", NULL};
	char	   *pipeline;
	char	   *privilege;
	Oid			role;
	PipelineDef *def;
	UserScope	scope;
	Jsonb	   *before;

	for (int i = 0; i < lengthof(names); i++)
		pipeline_not_null(fcinfo, i, names[i]);
	pipeline = pipeline_arg_text(fcinfo, 0);
	role = PG_GETARG_OID(1);
	privilege = pipeline_arg_text(fcinfo, 2);
	pipeline_check_choice("privilege", privilege, privileges);
	if (GetUserNameFromId(role, true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	SPI_connect();
	def = runner_lock_pipeline(pipeline);
	pipeline_extension_begin(&scope);
	before = grant_jsonb(pipeline, role);
	pipeline_sql("INSERT INTO pipeline.pipeline_grants (pipeline, owner, role, privilege, granted_by)"
				 " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (pipeline, role) DO UPDATE"
				 " SET privilege = $4, granted_by = $5, granted_at = now()"
				 " WHERE pipeline_grants.privilege <> $4",
				 SPI_OK_INSERT, sql_text(pipeline), sql_role(def->owner), sql_role(role),
				 sql_text(privilege), sql_role(GetSessionUserId()));
	pipeline_record_change_of(def->owner, "grant_pipeline", "pipeline", pipeline, before,
						   grant_jsonb(pipeline, role), NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_revoke_pipeline);

/* SQL: revoke_pipeline(pipeline, role); false when nothing was granted. */
Datum
pipeline_revoke_pipeline(PG_FUNCTION_ARGS)
{
	char	   *pipeline;
	Oid			role;
	UserScope	scope;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "pipeline");
	pipeline_not_null(fcinfo, 1, "role");
	pipeline = pipeline_arg_text(fcinfo, 0);
	role = PG_GETARG_OID(1);
	SPI_connect();
	(void) runner_lock_pipeline(pipeline);
	pipeline_extension_begin(&scope);
	before = grant_jsonb(pipeline, role);
	if (before)
	{
		pipeline_sql("DELETE FROM pipeline.pipeline_grants WHERE pipeline = $1 AND role = $2",
					 SPI_OK_DELETE, sql_text(pipeline), sql_role(role));
		runner_record_change(pipeline, "revoke_pipeline", "pipeline", pipeline, before, NULL, NULL);
	}
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_BOOL(before != NULL);
}
