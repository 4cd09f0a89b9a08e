/*
 * result.c
 *	  What a merge did: its row in pipeline.merges, and what is returned.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "scd/scd.h"

/* Milliseconds since then. */
double
pipeline_scd_elapsed_ms(instr_time since)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, since);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* Take the number of a merge. */
int64
pipeline_scd_next_merge(void)
{
	UserScope	scope;
	int64		id;

	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT pg_catalog.nextval('pipeline.merges_merge_id_seq')", SPI_OK_SELECT);
	id = pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
	return id;
}

/*
 * The number of the last merge into a table, 0 for none: as this transaction
 * sees it, or (`latest`) as a transaction that began now would.
 */
int64
pipeline_scd_last_merge(Oid relid, bool latest)
{
	UserScope	scope;
	int64		id;

	pipeline_extension_begin(&scope);
	if (latest)
		PushActiveSnapshot(GetLatestSnapshot());
	else
		PushActiveSnapshot(GetTransactionSnapshot());
	pipeline_sql_read("SELECT COALESCE(max(merge_id), 0) FROM pipeline.merges WHERE dimension = $1",
					  sql_regclass(relid));
	id = pipeline_sql_int8(0, 1);
	PopActiveSnapshot();
	pipeline_scope_end(&scope);
	return id;
}

/* Under a fixed snapshot, the last merge must be in it: else 40001. */
void
pipeline_scd_check_snapshot(Oid relid, const char *kind, const char *name)
{
	if (!IsolationUsesXactSnapshot())
		return;
	if (pipeline_scd_last_merge(relid, false) != pipeline_scd_last_merge(relid, true))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to %s %s due to a concurrent merge",
						kind, name),
				 errhint("The transaction might succeed if retried.")));
}

/*
 * The successful merge of a batch, 0 for none, with the fingerprint and the
 * number of its rows.
 */
int64
pipeline_scd_seen_batch(Oid relid, const char *batch_id, char **content,
						int64 *rows_read, TimestampTz *effective)
{
	UserScope	scope;
	int64		id = 0;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT merge_id, content, rows_read, effective FROM pipeline.merges"
					 " WHERE dimension = $1 AND batch_id = $2 AND success",
					 SPI_OK_SELECT, sql_regclass(relid), sql_text(batch_id)) > 0)
	{
		id = pipeline_sql_int8(0, 1);
		*content = pipeline_sql_text(0, 2);
		*rows_read = pipeline_sql_int8(0, 3);
		*effective = DatumGetTimestampTz(pipeline_sql_datum(0, 4, &isnull));
	}
	pipeline_scope_end(&scope);
	return id;
}

/*
 * A fingerprint as text.  Hash functions may change with the server's major
 * version, so that is part of it.
 */
char *
pipeline_scd_content_text(const uint64 content[2])
{
	return psprintf("%s:%016llx%016llx", PG_MAJORVERSION,
					(unsigned long long) content[0],
					(unsigned long long) content[1]);
}

/* The merge that a batch is remembered by gives way to one that replaces it. */
void
pipeline_scd_forget_batch(Oid relid, const char *batch_id)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.merges SET batch_id = NULL WHERE dimension = $1"
				 " AND batch_id = $2 AND success", SPI_OK_UPDATE,
				 sql_regclass(relid), sql_text(batch_id));
	pipeline_scope_end(&scope);
}

/* Write the row of the merge. */
void
pipeline_scd_record(const MergePlan *plan, const MergeCounts *c, Oid owner,
					bool success, const char *content, TimestampTz started)
{
	const TaskContext *task = pipeline_task_context();
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.merges (merge_id, dimension, owner, source, feed, path,"
				 " effective, batch_id, content, started_at, success, rows_read, inserted,"
				 " versioned, updated_type1, reopened, late, deleted, unchanged, duplicate,"
				 " rejected, closed, missing, hot_updates, read_ms, write_ms, total_ms,"
				 " pipeline, task, run_id) OVERRIDING SYSTEM VALUE"
				 " VALUES ($1, $2, $3, $4, $5, $30, $6, $7, $8, $9, $10, $11, $12, $13,"
				 " $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)",
				 SPI_OK_INSERT,
				 sql_int8(plan->merge_id), sql_regclass(plan->dimension->relid),
				 sql_role(owner), sql_text(plan->source->text),
				 sql_text(plan->dimension->feed), sql_time(plan->effective),
				 sql_text(plan->batch_id), sql_text(content), sql_time(started),
				 sql_bool(success), sql_int8(c->rows_read), sql_int8(c->inserted),
				 sql_int8(c->versioned), sql_int8(c->updated_type1),
				 sql_int8(c->reopened), sql_int8(c->late), sql_int8(c->deleted),
				 sql_int8(c->unchanged), sql_int8(c->duplicate),
				 sql_int8(c->rejected), sql_int8(c->closed), sql_int8(c->missing),
				 sql_int8(c->hot_updates), sql_float8(c->read_ms),
				 sql_float8(c->write_ms), sql_float8(c->total_ms),
				 sql_text(task ? task->pipeline : NULL),
				 sql_text(task ? task->task : NULL),
				 sql_datum(INT8OID, Int64GetDatum(task ? task->run_id : 0), task == NULL),
				 sql_text(plan->path));
	pipeline_scope_end(&scope);
}

/* Make the composite that the merge functions return. */
Datum
pipeline_scd_result(FunctionCallInfo fcinfo, bool success, int64 merge_id,
					const MergeCounts *c)
{
	Datum		values[] = {
		BoolGetDatum(success), Int64GetDatum(merge_id),
		Int64GetDatum(c->rows_read), Int64GetDatum(c->inserted),
		Int64GetDatum(c->versioned), Int64GetDatum(c->updated_type1),
		Int64GetDatum(c->reopened), Int64GetDatum(c->late),
		Int64GetDatum(c->deleted), Int64GetDatum(c->unchanged),
		Int64GetDatum(c->duplicate), Int64GetDatum(c->rejected),
		Int64GetDatum(c->closed), Int64GetDatum(c->missing),
		Int64GetDatum(c->hot_updates), Float8GetDatum(c->read_ms),
		Float8GetDatum(c->write_ms), Float8GetDatum(c->total_ms)
	};
	bool		nulls[lengthof(values)] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
