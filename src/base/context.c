/*
 * context.c
 *	  The task that this session is running, if any.
 *
 * The runner sets it; the rooms beside it read it, so that an alert or a
 * validation knows its pipeline and task although those rooms do not know the
 * runner.
 */
#include "postgres.h"

#include "base/base.h"

static const TaskContext *current = NULL;
static ProgressSink progress_sink = NULL;

/* Remember the running task; NULL when it is over.  The caller keeps it. */
void
pipeline_set_task_context(const TaskContext *context)
{
	current = context;
}

/* Return the running task, or NULL outside one. */
const TaskContext *
pipeline_task_context(void)
{
	return current;
}

/* Let this function be told how far tasks are. */
void
pipeline_set_progress_sink(ProgressSink sink)
{
	progress_sink = sink;
}

/* Say how far the running task is, if there is one. */
void
pipeline_note_progress(double done, double total, const char *message)
{
	if (current != NULL && progress_sink != NULL)
		progress_sink(done, total, message);
}
