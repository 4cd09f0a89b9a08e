/*
 * settings.c
 *	  Settings that belong to no one room.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "base/base.h"
#include "base/plan_sizes.h"
#include "base/settings.h"
#include "pipeline.h"

char	   *pipeline_admin_role = NULL;
bool		pipeline_direct_access = true;
bool		pipeline_is_preloaded = false;

/* Define the settings of the ground floor. */
void
pipeline_base_init(void)
{
	pipeline_is_preloaded = process_shared_preload_libraries_in_progress;
	pipeline_plan_sizes_init();
	pipeline_register_doctor(pipeline_look_at_server);
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
