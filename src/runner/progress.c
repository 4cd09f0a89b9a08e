/*
 * progress.c
 *	  What a running task says of how far it is.
 *
 * It stands in the worker's slot in shared memory, so that others see it at
 * once and not when the task commits.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

/* Put it into the worker's slot. */
static void
note(double done, double total, const char *message)
{
	Progress	p = {.at = GetCurrentTimestamp(), .done = done, .total = total};

	if (message)
		memcpy(p.message, message, pg_mbcliplen(message, strlen(message), PROGRESS_MESSAGE - 1));
	runner_note_progress(&p);
}

/* What other rooms say of the task that they work for, too. */
void
runner_install_progress(void)
{
	pipeline_set_progress_sink(note);
}

PG_FUNCTION_INFO_V1(pipeline_report_progress);

/* SQL: report_progress(done, total, message) */
Datum
pipeline_report_progress(PG_FUNCTION_ARGS)
{
	Progress	p = {.total = NAN};
	char	   *message = pipeline_arg_text(fcinfo, 2);

	runner_require_task("report_progress");
	pipeline_not_null(fcinfo, 0, "done");
	p.done = PG_GETARG_FLOAT8(0);
	if (!PG_ARGISNULL(1))
		p.total = PG_GETARG_FLOAT8(1);
	if (isnan(p.done) || isinf(p.done) || p.done < 0 || p.total <= 0 || isinf(p.total))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid progress: %g of %g", p.done, p.total),
				 errhint("\"done\" is at least zero and \"total\" above zero, or null when it is not known.")));
	note(p.done, p.total, message);
	PG_RETURN_VOID();
}

/*
 * May the current user see the attempt?  Row security of the table says so, as
 * for everything else about it.
 */
static bool
may_see(int64 attempt_id)
{
	bool		visible;

	SPI_connect();
	visible = pipeline_sql_read("SELECT 1 FROM pipeline.attempts WHERE attempt_id OPERATOR(pg_catalog.=) $1",
								sql_int8(attempt_id)) > 0;
	SPI_finish();
	return visible;
}

PG_FUNCTION_INFO_V1(pipeline_progress);

/* SQL: progress(attempt_id): one row, all NULL when nothing was said. */
Datum
pipeline_progress(PG_FUNCTION_ARGS)
{
	Progress	p;
	TupleDesc	desc;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!PG_ARGISNULL(0) && runner_is_preloaded() &&
		runner_read_progress(PG_GETARG_INT64(0), &p) && may_see(PG_GETARG_INT64(0)))
	{
		values[0] = Float8GetDatum(p.done);
		values[1] = Float8GetDatum(p.total);
		values[2] = CStringGetTextDatum(p.message);
		values[3] = TimestampTzGetDatum(p.at);
		nulls[0] = nulls[3] = false;
		nulls[1] = isnan(p.total);
		nulls[2] = p.message[0] == '\0';
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
