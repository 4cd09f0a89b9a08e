/*
 * worker_status.c
 *	  What shared memory knows, for people: whether this database runs
 *	  anything, and what the workers do.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"

#include "runner/runner.h"

PG_FUNCTION_INFO_V1(pipeline_worker_status);

/* SQL: worker_status() */
Datum
pipeline_worker_status(PG_FUNCTION_ARGS)
{
	int			counts[SLOT_BUSY + 1] = {0};
	bool		preloaded = runner_is_preloaded();
	bool		acts;
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	SPI_connect();
	acts = preloaded && pipeline_identity_matches();
	SPI_finish();
	if (preloaded)
	{
		LWLockAcquire(runner_shared->lock, LW_SHARED);
		for (int i = 0; i < runner_shared->nslots; i++)
			counts[runner_shared->slots[i].state]++;
		LWLockRelease(runner_shared->lock);
	}
	values[0] = BoolGetDatum(acts);
	values[1] = Int32GetDatum(preloaded ? pipeline_max_workers : 0);
	values[2] = Int32GetDatum(counts[SLOT_BUSY]);
	values[3] = Int32GetDatum(counts[SLOT_IDLE]);
	values[4] = Int32GetDatum(counts[SLOT_STARTING]);
	values[5] = Int32GetDatum(pipeline_max_active_workers_per_role);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(pipeline_worker_count);

/* SQL: worker_count(owner) */
Datum
pipeline_worker_count(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(runner_is_preloaded() ? runner_count_workers(PG_GETARG_OID(0)) : 0);
}
