/*
 * rank.c
 *	  The order of ready tasks.
 *
 * All ready tasks grow older at the same pace, so priority with ageing needs no
 * clock: whoever has the least (ready_at - priority * ageing) goes first, now
 * and later.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "runner/runner.h"

/* The rank of a task that is ready since then. */
TimestampTz
runner_rank(TimestampTz ready_at, int priority)
{
	return ready_at - (int64) priority * pipeline_priority_ageing * USECS_PER_SEC;
}

PG_FUNCTION_INFO_V1(pipeline_rank);

/* SQL: _rank(priority): of a task that becomes ready now. */
Datum
pipeline_rank(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(runner_rank(GetCurrentTimestamp(), PG_GETARG_INT32(0)));
}
