/*
 * alert_init.c
 *	  What the alert room does when the library is loaded.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "alert/alert_notify.h"
#include "pipeline.h"

static bool
any_channels_or_rules(void)
{
	return pipeline_sql("SELECT 1 WHERE EXISTS (SELECT FROM pipeline.channels) OR EXISTS (SELECT FROM pipeline.rules)",
						SPI_OK_SELECT) > 0;
}

/*
 * Define settings and kinds; when preloaded, also ask for shared memory.
 * Loaded later, everything works but sending over the network.
 */
void
pipeline_alert_init(void)
{
	pipeline_alert_define_settings();
	pipeline_alert_deliver_init();
	pipeline_notifier_wake_init();
	pipeline_alert_register_kinds();
	pipeline_register_doctor(pipeline_alert_look);
	pipeline_register_doctor(pipeline_alert_look_at_routing);
	pipeline_identity_register(any_channels_or_rules);
	if (process_shared_preload_libraries_in_progress)
		pipeline_notifier_shmem_install();
}
