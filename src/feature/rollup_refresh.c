/*
 * rollup_refresh.c
 *	  SQL: refresh_rollup(): compute the windows that are not closed, make the
 *	  target equal to them, keep the rows that came too late.
 *
 * The watermark is the latest time seen.  A window is complete once it ended by
 * the watermark, and closed once it ended by the watermark less the allowed
 * lateness: what comes for it afterwards is late.  Everything is read under one
 * snapshot, by which the next refresh tells the rows that this one did not see.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "feature/refresh.h"
#include "feature/rollup.h"

typedef struct RollupRefresh
{
	Rollup	   *rollup;
	Source	   *source;
	TupleDesc	desc;			/* of windows: start, end, groups, aggregates */
	Tuplestorestate *windows;
	TupleDesc	late_desc;
	Tuplestorestate *late;		/* NULL: cannot be told */
	char	   *latest;			/* time, or NULL */
	int64		rows_read;
	int64		rows_rejected;
	int64		late_rows;
	int64		computed;
	int64		deleted;
	int64		inserted;
	char	   *watermark;
	char	   *closed_before;
	char	   *snapshot;
} RollupRefresh;

/* ---- read ----------------------------------------------------------------------------------- */

/* Run a SELECT under the active snapshot into a tuplestore. */
static Tuplestorestate *
select_into_store(const char *sql, int64 *rows)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	SPIExecuteOptions options = {0};
	int			rc;

	options.params = makeParamList(0);
	options.read_only = true;
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, store, CurrentMemoryContext, false, NULL, NULL);
	rc = SPI_execute_extended(sql, &options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "a rollup returned %s", SPI_result_code_string(rc));
	*rows = tuplestore_tuple_count(store);
	return store;
}

static void
read_source(RollupRefresh *refresh)
{
	Rollup	   *rollup = refresh->rollup;

	pipeline_sql_generated(rollup_times_sql(rollup, refresh->source), SPI_OK_SELECT, true);
	refresh->latest = pipeline_sql_text(0, 1);
	refresh->rows_read = pipeline_sql_int8(0, 2);
	refresh->rows_rejected = pipeline_sql_int8(0, 3);
	refresh->windows = select_into_store(rollup_windows_sql(rollup, refresh->source),
										 &refresh->computed);
	if (!rollup_tells_late_rows(refresh->source))
		return;
	refresh->snapshot = snapshot_as_text();
	if (rollup->closed_before != NULL && rollup->snapshot != NULL)
		refresh->late = select_into_store(rollup_late_sql(rollup, refresh->source),
										  &refresh->late_rows);
}

/* ---- the target -------------------------------------------------------------------------------- */

static Oid
find_target(const Rollup *rollup)
{
	FeatureSet	set = {0};

	set.target = rollup->target;
	return target_oid(&set);
}

static void
create_target(const RollupRefresh *refresh)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (window_start pg_catalog.timestamptz NOT NULL,"
					 " window_end pg_catalog.timestamptz NOT NULL, complete boolean NOT NULL", refresh->rollup->target);
	for (int i = 2; i < refresh->desc->natts; i++)
		appendStringInfo(&sql, ", %s %s",
						 quote_identifier(NameStr(TupleDescAttr(refresh->desc, i)->attname)),
						 feature_column_type(refresh->desc, i));
	appendStringInfoChar(&sql, ')');
	pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
	pipeline_sql_generated(psprintf("CREATE INDEX ON %s (window_start)", refresh->rollup->target),
						   SPI_OK_UTILITY, false);
	pipeline_sql_generated(psprintf("COMMENT ON TABLE %s IS %s", refresh->rollup->target,
									quote_literal_cstr(psprintf("Kept by pipeline.refresh_rollup() for rollup \"%s\".",
																refresh->rollup->name))),
						   SPI_OK_UTILITY, false);
}

/* The target must have the columns, of their types. */
static void
check_target(const RollupRefresh *refresh, Oid target)
{
	for (int i = 0; i < refresh->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(refresh->desc, i);
		AttrNumber	column = get_attnum(target, NameStr(att->attname));

		if (column == InvalidAttrNumber || get_atttype(target, column) != att->atttypid)
			ereport(ERROR,
					(errcode(column == InvalidAttrNumber ? ERRCODE_UNDEFINED_COLUMN : ERRCODE_DATATYPE_MISMATCH),
					 errmsg("target %s has no column \"%s\" of type %s", refresh->rollup->target,
							NameStr(att->attname), format_type_be(att->atttypid)),
					 errhint("Alter the table, or drop it: a refresh makes it again.")));
	}
}

/* Write the windows that differ. */
static void
write_windows(RollupRefresh *refresh)
{
	const char *target = refresh->rollup->target;
	char	   *columns = target_column_list(refresh->desc, 0, "");
	char	   *complete = refresh->watermark ?
		psprintf("rows.window_end <= %s::pg_catalog.timestamptz", quote_literal_cstr(refresh->watermark)) :
		pstrdup("false");
	char	   *same = psprintf("target.window_start = rows.window_start AND pg_catalog.record_image_eq(ROW(%s, target.complete), ROW(%s, %s))",
								target_column_list(refresh->desc, 0, "target."),
								target_column_list(refresh->desc, 0, "rows."), complete);

	target_register_rows(refresh->desc, refresh->windows);
	refresh->deleted = (int64)
		pipeline_sql_generated(psprintf("DELETE FROM %s AS target WHERE %s AND NOT EXISTS (SELECT FROM \"%s\" AS rows WHERE %s)",
										target, refresh->rollup->closed_before ?
										psprintf("target.window_end > %s::pg_catalog.timestamptz",
												 quote_literal_cstr(refresh->rollup->closed_before)) : "true",
										TARGET_ROWS, same), SPI_OK_DELETE, false);
	refresh->inserted = (int64)
		pipeline_sql_generated(psprintf("INSERT INTO %s (%s, complete) SELECT %s, %s FROM \"%s\" AS rows"
										" WHERE NOT EXISTS (SELECT FROM %s AS target WHERE %s)",
										target, columns, columns, complete, TARGET_ROWS, target, same),
							   SPI_OK_INSERT, false);
	SPI_unregister_relation(TARGET_ROWS);
}

/* ---- state --------------------------------------------------------------------------------------- */

/* The new watermark, and before when windows are closed: neither goes back. */
static void
move_watermark(RollupRefresh *refresh)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT w, greatest($4::timestamptz, w - $3) FROM (SELECT greatest($1::timestamptz, $2::timestamptz) AS w) x",
				 SPI_OK_SELECT, sql_text(refresh->rollup->watermark), sql_text(refresh->latest),
				 sql_interval(refresh->rollup->allowed_lateness),
				 sql_text(refresh->rollup->closed_before));
	refresh->watermark = pipeline_sql_text(0, 1);
	refresh->closed_before = pipeline_sql_text(0, 2);
	pipeline_scope_end(&scope);
}

static void
record_state(const RollupRefresh *refresh)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.rollups SET watermark = $2::timestamptz, closed_before = $3::timestamptz, snapshot = $4 WHERE name = $1",
				 SPI_OK_UPDATE, sql_text(refresh->rollup->name), sql_text(refresh->watermark),
				 sql_text(refresh->closed_before), sql_text(refresh->snapshot));
	if (refresh->late_rows > 0)
	{
		target_register_rows(refresh->late_desc, refresh->late);
		pipeline_sql_generated(psprintf("INSERT INTO pipeline.late_rows (rollup, owner, event_time, row)"
										" SELECT %s, %u::regrole, event_time, row FROM \"%s\"",
										quote_literal_cstr(refresh->rollup->name), refresh->rollup->owner,
										TARGET_ROWS), SPI_OK_INSERT, false);
		SPI_unregister_relation(TARGET_ROWS);
	}
	pipeline_scope_end(&scope);
}

static Datum
refresh_result(FunctionCallInfo fcinfo, const RollupRefresh *refresh, double ms)
{
	Datum		values[11];
	bool		nulls[11] = {false};
	TupleDesc	desc;
	const char *times[] = {refresh->watermark, refresh->closed_before};
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "unexpected result type of a rollup's refresh");
	values[n++] = CStringGetTextDatum(refresh->rollup->name);
	values[n++] = CStringGetTextDatum(refresh->rollup->target);
	values[n++] = Int64GetDatum(refresh->rows_read);
	values[n++] = Int64GetDatum(refresh->rows_rejected);
	nulls[n] = refresh->snapshot == NULL;
	values[n++] = Int64GetDatum(refresh->late_rows);
	values[n++] = Int64GetDatum(refresh->computed);
	values[n++] = Int64GetDatum(refresh->deleted);
	values[n++] = Int64GetDatum(refresh->inserted);
	for (int i = 0; i < lengthof(times); i++)
	{
		nulls[n] = times[i] == NULL;
		if (times[i] != NULL)
			values[n] = DirectFunctionCall3(timestamptz_in, CStringGetDatum(times[i]),
											ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		n++;
	}
	values[n++] = Float8GetDatum(ms);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Read and write, as the owner. */
static void
refresh_as_owner(RollupRefresh *refresh)
{
	Rollup	   *rollup = refresh->rollup;
	UserScope	scope;
	Oid			target;

	rollup_begin(rollup, &scope);
	target = find_target(rollup);
	rollup->has_target = OidIsValid(target);
	refresh->desc = rollup_analyse(rollup, &refresh->source);
	if (rollup->has_target)
		check_target(refresh, target);
	else
	{
		create_target(refresh);
		rollup->closed_before = rollup->snapshot = rollup->watermark = NULL;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	read_source(refresh);
	PopActiveSnapshot();
	if (refresh->late != NULL)
		refresh->late_desc = pipeline_query_columns(rollup_late_sql(rollup, refresh->source));
	move_watermark(refresh);
	write_windows(refresh);
	pipeline_scope_end(&scope);
}

PG_FUNCTION_INFO_V1(pipeline_refresh_rollup);

/* SQL: refresh_rollup(name). */
Datum
pipeline_refresh_rollup(PG_FUNCTION_ARGS)
{
	RollupRefresh refresh = {0};
	MemoryContext context = CurrentMemoryContext;
	UserScope	scope;
	char	   *name;
	instr_time	start;
	instr_time	end;
	Datum		result;

	INSTR_TIME_SET_CURRENT(start);
	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	(void) rollup_load(name);
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.rollups SET refreshed_at = clock_timestamp() WHERE name = $1",
				 SPI_OK_UPDATE, sql_text(name));
	pipeline_scope_end(&scope);
	refresh.rollup = rollup_load(name);
	refresh_as_owner(&refresh);
	record_state(&refresh);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	MemoryContextSwitchTo(context);
	result = refresh_result(fcinfo, &refresh, INSTR_TIME_GET_MILLISEC(end));
	SPI_finish();
	return result;
}
