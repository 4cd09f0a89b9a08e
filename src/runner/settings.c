/*
 * settings.c
 *	  The runner's settings.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "runner/runner.h"

int			pipeline_max_workers = 8;
int			pipeline_max_lost_attempts = 2;
int			pipeline_worker_idle_timeout = 5000;
int			pipeline_schedule_grace = 300;
int			pipeline_history_days = 0;
int			pipeline_history_runs = 0;
int			pipeline_priority_ageing = 60;
int			pipeline_max_active_workers_per_role = 0;
double		pipeline_slow_task_factor = 3;
int			pipeline_slow_task_minimum = 60;
double		pipeline_stale_dataset_factor = 2;

/* Define them; called once, when the library is loaded. */
void
runner_define_settings(void)
{
	DefineCustomIntVariable("pipeline.history_days",
							"Days for which ended runs and the change log are kept.",
							"0: for ever.",
							&pipeline_history_days,
							0, 0, 36500, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.history_runs",
							"Ended runs that are kept of each pipeline.",
							"0: all.",
							&pipeline_history_runs,
							0, 0, INT_MAX / 2, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.max_active_workers_per_role",
							"Workers that one role may have at once, in all databases.",
							"0: as many as there are.",
							&pipeline_max_active_workers_per_role,
							0, 0, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.max_lost_attempts",
							"Lost attempts after which a task fails.",
							"A task that takes its server down must not do so for ever.",
							&pipeline_max_lost_attempts,
							2, 0, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.priority_ageing",
							"How long a ready task must wait longer than another to make up for one point of priority.",
							NULL,
							&pipeline_priority_ageing,
							60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.schedule_grace",
							"How late a due time may still start a run of a pipeline with catchup none.",
							NULL,
							&pipeline_schedule_grace,
							300, 1, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("pipeline.slow_task_factor",
							 "How many times the median of its last successes a task may run before the alert TaskSlow.",
							 "0: there is no such alert.",
							 &pipeline_slow_task_factor,
							 3, 0, 1e6, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.slow_task_minimum",
							"How much longer than the median a task must run at least to be slow.",
							NULL,
							&pipeline_slow_task_minimum,
							60, 0, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("pipeline.stale_dataset_factor",
							 "How many times the longest of its last pauses a dataset may be not published before the alert SourceStale.",
							 "0: only stale_after of a dataset counts.",
							 &pipeline_stale_dataset_factor,
							 2, 0, 1e6, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pipeline.worker_idle_timeout",
							"How long a worker without a task waits for one.",
							NULL,
							&pipeline_worker_idle_timeout,
							5000, 0, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	/* It sizes shared memory, so that it can only be set at server start. */
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomIntVariable("pipeline.max_workers",
							"Workers that may run tasks at once, in all databases.",
							"They come out of max_worker_processes.",
							&pipeline_max_workers,
							8, 1, 1024, PGC_POSTMASTER, 0, NULL, NULL, NULL);
}
