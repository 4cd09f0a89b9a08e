/*
 * refresh.c
 *	  refresh_features(): compute a set over an interval of its spine and
 *	  replace the target's rows of that interval.
 *
 * The row of the set is updated first, so that refreshes of one set follow
 * one another, and under REPEATABLE READ the second fails instead of writing
 * what it cannot see.  Then a new snapshot is taken; the rows are computed
 * into a tuplestore, and one DELETE and one INSERT, as the owner, make the
 * target equal to it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "feature/feature.h"

#define ROWS "pipeline feature rows"

typedef struct Refresh
{
	FeatureSet *set;
	FeaturePlan *plan;
	FeatureRange range;
	FeatureCounts counts;
	Tuplestorestate *rows;
	TimestampTz started_at;
	int64		refresh_id;
	int64		deleted;
	double		write_ms;
	double		total_ms;
} Refresh;

static double
milliseconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* ---- the target ------------------------------------------------------------------- */

static char *
column_name(const Refresh *refresh, int i)
{
	return NameStr(TupleDescAttr(refresh->plan->result, i)->attname);
}

static Oid
target_oid(const FeatureSet *set)
{
	List	   *names = NIL;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(set->target), '.', &names))
		elog(ERROR, "invalid target \"%s\"", set->target);
	foreach(lc, names)
		lfirst(lc) = makeString(pstrdup(lfirst(lc)));
	return RangeVarGetRelid(makeRangeVarFromNameList(names), RowExclusiveLock, true);
}

static void
create_target(const Refresh *refresh)
{
	const FeaturePlan *plan = refresh->plan;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", refresh->set->target);
	for (int i = 0; i < plan->result->natts; i++)
	{
		const char *name = column_name(refresh, i);

		appendStringInfo(&sql, "%s %s%s, ", quote_identifier(name),
						 feature_column_type(plan->result, i),
						 strcmp(name, plan->event_time) == 0 ||
						 pipeline_list_has(plan->entity, name) ? " NOT NULL" : "");
	}
	appendStringInfoString(&sql, "as_of pg_catalog.timestamptz)");
	pipeline_sql_generated(sql.data, SPI_OK_UTILITY, false);
	pipeline_sql_generated(psprintf("COMMENT ON TABLE %s IS %s", refresh->set->target,
									quote_literal_cstr(psprintf("Kept by pipeline.refresh_features() for feature set \"%s\".",
																refresh->set->name))),
						   SPI_OK_UTILITY, false);
}

/* The type of a column of the target, or InvalidOid. */
static Oid
target_column_type(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->atttypid;
	}
	return InvalidOid;
}

static void
check_target_column(const Refresh *refresh, TupleDesc desc, const char *name,
					Oid type)
{
	Oid			found = target_column_type(desc, name);

	if (found == type)
		return;
	ereport(ERROR,
			(errcode(OidIsValid(found) ? ERRCODE_DATATYPE_MISMATCH : ERRCODE_UNDEFINED_COLUMN),
			 OidIsValid(found) ?
			 errmsg("column \"%s\" of target %s is of type %s, not %s", name,
					refresh->set->target, format_type_be(found), format_type_be(type)) :
			 errmsg("column \"%s\" of target %s does not exist", name,
					refresh->set->target),
			 errhint("Alter the table, or drop it: a full refresh makes it again.")));
}

/* A full refresh adds the features that the target lacks; return how. */
static char *
missing_columns(const Refresh *refresh, TupleDesc desc)
{
	StringInfoData sql;
	bool		full = !refresh->range.from_time && !refresh->range.to_time;

	initStringInfo(&sql);
	for (int i = refresh->plan->spine->columns->natts; i < refresh->plan->result->natts; i++)
	{
		const char *name = column_name(refresh, i);

		if (OidIsValid(target_column_type(desc, name)))
			continue;
		if (!full)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("target %s has no column for feature \"%s\"",
							refresh->set->target, name),
					 errdetail("A partial refresh would leave it empty outside its interval."),
					 errhint("Refresh the set once without from_time and to_time: that adds the column.")));
		appendStringInfo(&sql, "%sADD COLUMN %s %s", sql.len ? ", " : "",
						 quote_identifier(name),
						 feature_column_type(refresh->plan->result, i));
	}
	return sql.len ? psprintf("ALTER TABLE %s %s", refresh->set->target, sql.data) : NULL;
}

static void
check_target(const Refresh *refresh, Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(rel));
	char		kind = rel->rd_rel->relkind;
	char	   *alter;

	relation_close(rel, NoLock);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target %s is not a table", refresh->set->target)));
	for (int i = 0; i < refresh->plan->result->natts; i++)
	{
		if (i < refresh->plan->spine->columns->natts ||
			OidIsValid(target_column_type(desc, column_name(refresh, i))))
			check_target_column(refresh, desc, column_name(refresh, i),
								TupleDescAttr(refresh->plan->result, i)->atttypid);
	}
	check_target_column(refresh, desc, "as_of", TIMESTAMPTZOID);
	alter = missing_columns(refresh, desc);
	if (alter != NULL)
		pipeline_sql_generated(alter, SPI_OK_UTILITY, false);
}

/* ---- replacing rows ------------------------------------------------------------------ */

static int64
run_with_times(const char *sql, int expected, const TimestampTz *a,
			   const TimestampTz *b)
{
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[2] = {a ? TimestampTzGetDatum(*a) : (Datum) 0,
	b ? TimestampTzGetDatum(*b) : (Datum) 0};
	char		nulls[3] = {a ? ' ' : 'n', b ? ' ' : 'n', '\0'};
	int			rc = SPI_execute_with_args(sql, 2, types, values, nulls, false, 0);

	if (rc != expected)
		elog(ERROR, "statement for a target returned %s", SPI_result_code_string(rc));
	return (int64) SPI_processed;
}

static void
append_bound(StringInfo sql, const Refresh *refresh, const char *time,
			 const char *operator, const TimestampTz *bound, int parameter)
{
	appendStringInfo(sql, " AND target.%s OPERATOR(pg_catalog.%s) ", time, operator);
	if (refresh->plan->epoch)
		appendStringInfo(sql, "'%lld'::pg_catalog.int8",
						 (long long) feature_epoch(*bound, true));
	else
		appendStringInfo(sql, "$%d", parameter);
}

static void
delete_rows(Refresh *refresh)
{
	const char *time = quote_identifier(refresh->plan->event_time);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s AS target", refresh->set->target);
	if (refresh->range.from_time || refresh->range.to_time)
		appendStringInfoString(&sql, " WHERE true");
	if (refresh->range.from_time)
		append_bound(&sql, refresh, time, ">=", refresh->range.from_time, 1);
	if (refresh->range.to_time)
		append_bound(&sql, refresh, time, "<", refresh->range.to_time, 2);
	refresh->deleted = run_with_times(sql.data, SPI_OK_DELETE,
									  refresh->range.from_time,
									  refresh->range.to_time);
}

static void
insert_rows(Refresh *refresh)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	StringInfoData columns;

	relation->md.name = ROWS;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = refresh->plan->result;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) refresh->counts.rows_computed;
	relation->reldata = refresh->rows;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows of a refresh");
	initStringInfo(&columns);
	for (int i = 0; i < refresh->plan->result->natts; i++)
		appendStringInfo(&columns, "%s, ", quote_identifier(column_name(refresh, i)));
	run_with_times(psprintf("INSERT INTO %s (%sas_of) SELECT %s$1 FROM \"%s\"",
							refresh->set->target, columns.data, columns.data, ROWS),
				   SPI_OK_INSERT, refresh->range.as_of, NULL);
	SPI_unregister_relation(ROWS);
}

/* Compute and write, as the owner. */
static void
refresh_as_owner(Refresh *refresh)
{
	FeatureSet *set = refresh->set;
	UserScope	scope;
	Oid			target;
	instr_time	start;

	feature_set_begin(set, &scope);
	refresh->plan = feature_plan(set->spine, set->entity, set->event_time,
								 set->knowledge_time, set->specs);
	target = target_oid(set);
	if (OidIsValid(target))
		check_target(refresh, target);
	else
		create_target(refresh);

	/* See what the last refresh committed while we waited for it. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	refresh->rows = tuplestore_begin_heap(false, false, work_mem);
	features_run(refresh->plan, &refresh->range, refresh->rows, &refresh->counts);
	PopActiveSnapshot();

	INSTR_TIME_SET_CURRENT(start);
	if (OidIsValid(target))
		delete_rows(refresh);
	insert_rows(refresh);
	tuplestore_end(refresh->rows);
	refresh->write_ms = milliseconds_since(start);
	pipeline_scope_end(&scope);
}

/* ---- records of refreshes --------------------------------------------------------------- */

static SqlArg
sql_time_or_null(const TimestampTz *time)
{
	return sql_datum(TIMESTAMPTZOID, time ? TimestampTzGetDatum(*time) : (Datum) 0,
					 time == NULL);
}

static void
record_refresh(Refresh *refresh)
{
	const FeatureCounts *c = &refresh->counts;
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.feature_refreshes (feature_set, owner, role, started_at, finished_at,"
				 " from_time, to_time, as_of, features,"
				 " rows_read, rows_computed, rows_rejected, rows_beyond_as_of, rows_deleted,"
				 " events_read, events_used, events_rejected, events_unknown, events_unreached, events_filtered,"
				 " spilled_bytes, read_ms, compute_ms, write_ms, total_ms)"
				 " VALUES ($1, $2, $3, $4, clock_timestamp(), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
				 " $16, $17, $18, $19, $20, $21, $22, $23, $24) RETURNING refresh_id",
				 SPI_OK_INSERT_RETURNING,
				 sql_text(refresh->set->name), sql_role(refresh->set->owner),
				 sql_role(GetSessionUserId()), sql_time(refresh->started_at),
				 sql_time_or_null(refresh->range.from_time),
				 sql_time_or_null(refresh->range.to_time),
				 sql_time_or_null(refresh->range.as_of),
				 sql_int4(list_length(refresh->plan->features)),
				 sql_int8(c->rows_read), sql_int8(c->rows_computed),
				 sql_int8(c->rows_rejected), sql_int8(c->rows_beyond_as_of),
				 sql_int8(refresh->deleted), sql_int8(c->events_read),
				 sql_int8(c->events_used), sql_int8(c->events_rejected),
				 sql_int8(c->events_unknown), sql_int8(c->events_unreached),
				 sql_int8(c->events_filtered), sql_int8(c->spilled_bytes),
				 sql_float8(c->read_ms), sql_float8(c->compute_ms),
				 sql_float8(refresh->write_ms), sql_float8(refresh->total_ms));
	refresh->refresh_id = pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
}

static Datum
refresh_result(FunctionCallInfo fcinfo, const Refresh *refresh)
{
	const FeatureCounts *c = &refresh->counts;
	const int64 numbers[] = {
		c->rows_read, c->rows_computed, c->rows_rejected, c->rows_beyond_as_of,
		refresh->deleted, c->events_read, c->events_used, c->events_rejected,
		c->events_unknown, c->events_unreached, c->events_filtered,
		c->spilled_bytes
	};
	const TimestampTz *times[] = {
		refresh->range.from_time, refresh->range.to_time, refresh->range.as_of
	};
	const double durations[] = {
		c->read_ms, c->compute_ms, refresh->write_ms, refresh->total_ms
	};
	Datum		values[23];
	bool		nulls[23] = {false};
	TupleDesc	desc;
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "unexpected result type of a refresh");
	values[n++] = Int64GetDatum(refresh->refresh_id);
	values[n++] = CStringGetTextDatum(refresh->set->name);
	values[n++] = CStringGetTextDatum(refresh->set->target);
	values[n++] = Int32GetDatum(list_length(refresh->plan->features));
	for (int i = 0; i < lengthof(numbers); i++)
		values[n++] = Int64GetDatum(numbers[i]);
	for (int i = 0; i < lengthof(times); i++)
	{
		nulls[n] = times[i] == NULL;
		values[n++] = times[i] ? TimestampTzGetDatum(*times[i]) : (Datum) 0;
	}
	for (int i = 0; i < lengthof(durations); i++)
		values[n++] = Float8GetDatum(durations[i]);
	Assert(n == lengthof(values));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ---- refresh_features ---------------------------------------------------------------------- */

static void
check_range(const Refresh *refresh)
{
	if (refresh->range.from_time && refresh->range.to_time &&
		*refresh->range.to_time <= *refresh->range.from_time)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"to_time\" must be after argument \"from_time\""),
				 errdetail("The interval is from %s to %s.",
						   pstrdup(timestamptz_to_str(*refresh->range.from_time)),
						   timestamptz_to_str(*refresh->range.to_time))));
	if (refresh->set->specs == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("feature set \"%s\" has no features", refresh->set->name),
				 errhint("Add one with pipeline.add_feature().")));
}

/* Wait for other refreshes of the set; then load it as it is now. */
static FeatureSet *
lock_and_load(const char *name)
{
	UserScope	scope;

	(void) feature_set_load(name);
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.feature_sets SET refreshed_at = clock_timestamp() WHERE name = $1",
				 SPI_OK_UPDATE, sql_text(name));
	pipeline_scope_end(&scope);
	return feature_set_load(name);
}

PG_FUNCTION_INFO_V1(pipeline_refresh_features);

/* SQL: refresh_features(set, from_time, to_time, as_of). */
Datum
pipeline_refresh_features(PG_FUNCTION_ARGS)
{
	Refresh		refresh = {0};
	TimestampTz times[3];
	const TimestampTz **ranges[3] = {
		&refresh.range.from_time, &refresh.range.to_time, &refresh.range.as_of
	};
	MemoryContext context = CurrentMemoryContext;
	instr_time	start;
	Datum		result;

	INSTR_TIME_SET_CURRENT(start);
	pipeline_not_null(fcinfo, 0, "set");
	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i + 1))
			continue;
		times[i] = PG_GETARG_TIMESTAMPTZ(i + 1);
		*ranges[i] = &times[i];
	}
	SPI_connect();
	refresh.started_at = GetCurrentTimestamp();
	refresh.set = lock_and_load(pipeline_arg_text(fcinfo, 0));
	check_range(&refresh);
	refresh_as_owner(&refresh);
	refresh.total_ms = milliseconds_since(start);
	record_refresh(&refresh);
	MemoryContextSwitchTo(context);
	result = refresh_result(fcinfo, &refresh);
	SPI_finish();
	return result;
}
