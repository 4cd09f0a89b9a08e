/*
 * settings.c
 *	  Settings that belong to no one room.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/settings.h"
#include "pipeline.h"

char	   *pipeline_admin_role = NULL;
bool		pipeline_direct_access = true;

/* Define the settings of the ground floor. */
void
pipeline_base_init(void)
{
	DefineCustomStringVariable("pipeline.admin_role",
							   "Role whose members administer every pipeline.",
							   "Empty: superusers only.",
							   &pipeline_admin_role,
							   "",
							   PGC_SIGHUP,
							   0,
							   NULL, NULL, NULL);
	DefineCustomBoolVariable("pipeline.direct_access",
							 "Read and write plain tables past the executor where that gives the same result.",
							 "Off: everything goes through the executor, which is slower.",
							 &pipeline_direct_access,
							 true,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
}
