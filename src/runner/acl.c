/*
 * acl.c
 *	  Roles that may use what another role owns: pools and datasets.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "runner/runner.h"

/*
 * Turn an array of role names into one of roles; "public" is everybody, as
 * role 0.  Raises 42704 for a role that does not exist.
 */
ArrayType *
runner_role_array(const ArrayType *names, const char *argument)
{
	List	   *list = pipeline_array_list(names, argument);
	Datum	   *roles = palloc_array(Datum, list_length(list) + 1);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, list)
	{
		const char *name = lfirst(lc);

		roles[n++] = ObjectIdGetDatum(strcmp(name, "public") == 0 ? InvalidOid :
									  get_role_oid(name, false));
	}
	return construct_array(roles, n, REGROLEOID, sizeof(Oid), true, TYPALIGN_INT);
}

/* Has the role the rights of one of these? */
bool
runner_is_among(const ArrayType *roles, Oid role)
{
	Datum	   *elements;
	int			n;

	deconstruct_array((ArrayType *) roles, REGROLEOID, sizeof(Oid), true, TYPALIGN_INT,
					  &elements, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		Oid			one = DatumGetObjectId(elements[i]);

		if (!OidIsValid(one) || has_privs_of_role(role, one))
			return true;
	}
	return false;
}

PG_FUNCTION_INFO_V1(pipeline_is_among);

/* SQL: is_among(roles) */
Datum
pipeline_is_among(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(runner_is_among(PG_GETARG_ARRAYTYPE_P(0), GetUserId()));
}
