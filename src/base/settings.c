/*
 * settings.c
 *	  Settings that belong to no one room.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/settings.h"
#include "pipeline.h"

char	   *pipeline_admin_role = NULL;

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
}
