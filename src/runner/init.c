/*
 * init.c
 *	  What the runner does when the library is loaded.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pipeline.h"
#include "runner/runner.h"

/*
 * Define settings; when preloaded, also ask for shared memory and register the
 * launcher.  Loaded later, everything but running works.
 */
void
pipeline_runner_init(void)
{
	runner_define_settings();
	runner_register_kinds();
	runner_install_progress();
	if (!process_shared_preload_libraries_in_progress)
		return;
	runner_shmem_install();
	runner_register_launcher();
	runner_install_database_hook();
}
