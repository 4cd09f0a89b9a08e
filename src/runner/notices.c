/*
 * notices.c
 *	  Catch what a task's SQL says with RAISE NOTICE and WARNING.
 *
 * A background worker has no client, so such messages would only reach the
 * server's log, if that.  While a command runs every message from INFO up is
 * sent on its way to the log, kept by the hook there, and stopped unless the
 * log was to have it anyway.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "runner/runner.h"

#define NOTICES_KEPT 100
/* Bytes of one message. */
#define TEXT_KEPT 8192

static emit_log_hook_type previous_hook = NULL;
static bool installed = false;
static bool capturing = false;
static int	saved_level;
static MemoryContext keep_context;
static List **kept;

static void
keep_notice(ErrorData *edata)
{
	if (capturing && edata->elevel >= INFO && edata->elevel <= WARNING)
	{
		if (list_length(*kept) < NOTICES_KEPT && edata->message)
		{
			MemoryContext old = MemoryContextSwitchTo(keep_context);

			*kept = lappend(*kept, psprintf("%s: %s", error_severity(edata->elevel),
											runner_clip(edata->message)));
			MemoryContextSwitchTo(old);
		}
		if (edata->elevel < saved_level || saved_level == LOG)
			edata->output_to_server = false;
	}
	if (previous_hook)
		previous_hook(edata);
}

/* The text, or its first part when it is too long to be kept. */
char *
runner_clip(const char *text)
{
	size_t		len = strlen(text);

	if (len <= TEXT_KEPT)
		return pstrdup(text);
	return psprintf("%.*s...", pg_mbcliplen(text, TEXT_KEPT + 1, TEXT_KEPT), text);
}

/* Begin to keep notices, in `context`, in `*notices`. */
void
runner_capture_notices(MemoryContext context, List **notices)
{
	if (!installed)
	{
		previous_hook = emit_log_hook;
		emit_log_hook = keep_notice;
		installed = true;
	}
	keep_context = context;
	kept = notices;
	saved_level = my_log_min_messages;
	/* LOG stands below INFO by number, but as a level lets less through. */
	if (saved_level >= LOG)
		my_log_min_messages = INFO;
	capturing = true;
}

/* Stop; also after an error, and when nothing was begun. */
void
runner_release_notices(void)
{
	if (!capturing)
		return;
	capturing = false;
	my_log_min_messages = saved_level;
}
