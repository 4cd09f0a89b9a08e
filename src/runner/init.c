/*
 * init.c
 *	  What the runner does when the library is loaded.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "alert/alert.h"
#include "pipeline.h"
#include "runner/runner.h"

static bool
any_pipelines(void)
{
	return pipeline_sql("SELECT 1 FROM pipeline.pipelines LIMIT 1", SPI_OK_SELECT) > 0;
}

/*
 * Define settings; when preloaded, also ask for shared memory and register the
 * launcher.  Loaded later, everything but running works.
 */
void
pipeline_runner_init(void)
{
	runner_define_settings();
	runner_register_kinds();
	pipeline_register_doctor(runner_look);
	runner_install_progress();
	pipeline_identity_register(any_pipelines);
	if (!process_shared_preload_libraries_in_progress)
		return;
	runner_shmem_install();
	runner_register_launcher();
	runner_install_database_hook();
	pipeline_notifier_absent_hook = runner_wake_scheduler;
}
