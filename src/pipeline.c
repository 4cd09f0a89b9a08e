/*
 * pipeline.c
 *	  Module magic and _PG_init.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "pipeline.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "pipeline", .version = PIPELINE_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);

/* Register each room's settings, hooks and workers, lower floors first. */
void
_PG_init(void)
{
	pipeline_base_init();
	pipeline_alert_init();
	pipeline_scd_init();
	pipeline_feature_init();
	pipeline_expect_init();
	pipeline_runner_init();
	MarkGUCPrefixReserved("pipeline");
}
