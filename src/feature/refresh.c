/*
 * refresh.c
 *	  refresh_features() and materialize_features(): compute a set over its
 *	  spine, or another, and make a table equal to it.
 *
 * The row of the set is updated first, so that refreshes of one set follow
 * one another, and under REPEATABLE READ the second fails instead of writing
 * what it cannot see.  Then a new snapshot is taken; the rows are computed
 * into a tuplestore, and few statements, as the owner, make the target equal
 * to it.
 *
 * With a key of the spine, a refresh is incremental where all changes since the
 * last can be told (change_scan.c): rows that are new, or that a new event
 * reaches, are computed with all features; features that were added or
 * replaced are computed for every row, and only they.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "feature/changes.h"
#include "feature/progress.h"
#include "feature/refresh.h"

static double
milliseconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* ---- compute --------------------------------------------------------------------------- */

static FeaturePlan *
plan_set(const FeatureSet *set, List *specs)
{
	return feature_plan(set->spine, set->entity, set->event_time,
						set->knowledge_time, specs);
}

/* Compute the rows of a plan; return them. */
static Tuplestorestate *
compute(Refresh *refresh, FeaturePlan *plan, const SpineChanges *changes,
		FeatureStatistic **statistics)
{
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	FeatureCounts counts = {0};

	*statistics = palloc0_array(FeatureStatistic, list_length(plan->features));
	features_run(plan, &refresh->range, changes, rows, &counts, *statistics);
	feature_counts_add(&refresh->counts, &counts);
	return rows;
}

/* Are all the features of a stream among those that were changed? */
static bool
stream_is_new(const FeaturePlan *plan, int stream, const List *changed)
{
	ListCell   *lc;

	foreach(lc, plan->features)
	{
		Feature    *feature = lfirst(lc);

		if (feature->stream == stream &&
			!list_member_ptr(changed, feature->spec->whole ? feature->spec->whole : feature->spec))
			return false;
	}
	return true;
}

/*
 * Look for what has changed since the last refresh; return whether that is
 * enough to know.  `changed` are the features that are to be computed for
 * every row.
 */
static bool
find_changes(Refresh *refresh, Oid target, ChangeSearch *search, bool *counted,
			 List **changed)
{
	Watermark	mark;

	*counted = false;
	*changed = NIL;
	search->plan = refresh->plan;
	if (refresh->range.as_of)
		return false;
	watermark_load(&mark, refresh->set, target);
	if (refresh->range.from_time || refresh->range.to_time)
	{
		/* Rows of an interval are newer than the watermark: it stays good. */
		if (mark.json != NULL && watermark_changed_specs(&mark, refresh->set) == NIL)
		{
			refresh->watermark = mark.json;
			refresh->blocks = mark.blocks;
		}
		return false;
	}
	search->since = mark.snapshot;
	search->blocks = mark.blocks;
	*counted = change_search(search);
	if (!*counted || !TransactionIdIsValid(search->since.xmin))
	{
		*counted = *counted && !search->has_own;
		return false;
	}
	*counted = !search->has_own;
	*changed = watermark_changed_specs(&mark, refresh->set);
	for (int i = 0; i < list_length(refresh->plan->streams); i++)
	{
		if (stream_is_new(refresh->plan, i, *changed))
			change_search_forget(search, i);
	}
	return watermark_agrees(&mark, search) &&
		list_length(*changed) < list_length(refresh->set->specs);
}

/* Compute what a set with a key of its spine needs. */
static void
compute_keyed(Refresh *refresh, Oid target, ChangeSearch *search, bool *counted)
{
	List	   *changed;
	SpineChanges changes;

	refresh->incremental = find_changes(refresh, target, search, counted, &changed);
	changes.since = search->since;
	changes.reached = search->reached;
	changes.marks = search->marks;
	changes.reached_from = PG_INT64_MAX;
	changes.reached_to = PG_INT64_MIN;
	for (uint32 i = 0; refresh->incremental && i < key_table_size(search->reached); i++)
	{
		int64		least;
		int64		greatest;

		key_table_times(search->reached, i, &least, &greatest);
		changes.reached_from = Min(changes.reached_from, least);
		changes.reached_to = Max(changes.reached_to, greatest);
	}
	refresh->rows = compute(refresh, refresh->plan,
							refresh->incremental ? &changes : NULL,
							&refresh->statistics);
	refresh->rows_reached = refresh->counts.rows_reached;
	if (!refresh->incremental || changed == NIL)
		return;
	refresh->columns_plan = plan_set(refresh->set, changed);
	refresh->columns = compute(refresh, refresh->columns_plan, NULL,
							   &refresh->column_statistics);
}

/* Compute and write, as the owner. */
static void
refresh_as_owner(Refresh *refresh)
{
	FeatureSet *set = refresh->set;
	UserScope	scope;
	Oid			target;
	ChangeSearch search = {0};
	bool		counted = false;
	instr_time	start;

	feature_set_begin(set, &scope);
	refresh->plan = plan_set(set, set->specs);
	target = target_oid(set);
	if (OidIsValid(target))
		target_check(refresh, target);
	else
		target_create(refresh);

	/* See what the last refresh committed while we waited for it. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (set->spine_key != NIL)
		compute_keyed(refresh, target, &search, &counted);
	else
		refresh->rows = compute(refresh, refresh->plan, NULL, &refresh->statistics);
	PopActiveSnapshot();

	INSTR_TIME_SET_CURRENT(start);
	progress_phase(PROGRESS_WRITING, tuplestore_tuple_count(refresh->rows));
	target_write(refresh, !OidIsValid(target));
	if (!OidIsValid(target))
		target_create_index(refresh);
	tuplestore_end(refresh->rows);
	if (counted)
	{
		refresh->watermark = watermark_make(set, target_oid(set), &search);
		refresh->blocks = block_ranges_json(&search);
	}
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

/* What the values of the plan's features were like. */
static void
record_statistics(const Refresh *refresh, const FeaturePlan *plan,
				  const FeatureStatistic *statistics)
{
	UserScope	scope;
	ListCell   *lc;

	pipeline_extension_begin(&scope);
	foreach(lc, plan->features)
	{
		const Feature *feature = lfirst(lc);
		const FeatureStatistic *s = &statistics[foreach_current_index(lc)];
		SqlArg		none = sql_datum(FLOAT8OID, (Datum) 0, true);

		pipeline_sql("INSERT INTO pipeline.feature_statistics (refresh_id, feature_set, owner, feature, column_name, rows, nulls, mean, stddev)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
					 " ON CONFLICT (refresh_id, column_name) DO UPDATE SET rows = excluded.rows,"
					 " nulls = excluded.nulls, mean = excluded.mean, stddev = excluded.stddev",
					 SPI_OK_INSERT,
					 sql_int8(refresh->refresh_id), sql_text(refresh->set->name),
					 sql_role(refresh->set->owner),
					 sql_text(feature->spec->whole ? feature->spec->whole->name : feature->spec->name),
					 sql_text(feature->spec->name),
					 sql_int8(s->rows), sql_int8(s->nulls),
					 s->numbers > 0 ? sql_float8(s->mean) : none,
					 s->numbers > 1 ? sql_float8(sqrt(s->squares / (s->numbers - 1))) : none);
	}
	pipeline_scope_end(&scope);
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
				 " spilled_bytes, read_ms, compute_ms, write_ms, total_ms,"
				 " target, incremental, rows_unchanged, rows_inserted, rows_updated, watermark, blocks)"
				 " VALUES ($1, $2, $3, $4, clock_timestamp(), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
				 " $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31) RETURNING refresh_id",
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
				 sql_float8(refresh->write_ms), sql_float8(refresh->total_ms),
				 sql_text(refresh->set->target), sql_bool(refresh->incremental),
				 sql_int8(c->rows_unchanged), sql_int8(refresh->inserted),
				 sql_int8(refresh->updated), sql_jsonb(refresh->watermark),
				 sql_jsonb(refresh->blocks));
	refresh->refresh_id = pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
	/* Only the last one is of use, and it is large. */
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.feature_refreshes SET blocks = NULL"
				 " WHERE feature_set = $1 AND target = $2 AND refresh_id < $3 AND blocks IS NOT NULL",
				 SPI_OK_UPDATE, sql_text(refresh->set->name),
				 sql_text(refresh->set->target), sql_int8(refresh->refresh_id));
	pipeline_scope_end(&scope);
	record_statistics(refresh, refresh->plan, refresh->statistics);
	if (refresh->columns_plan != NULL)
		record_statistics(refresh, refresh->columns_plan, refresh->column_statistics);
}

static Datum
refresh_result(FunctionCallInfo fcinfo, const Refresh *refresh)
{
	const FeatureCounts *c = &refresh->counts;
	const int64 numbers[] = {
		c->rows_read, c->rows_computed, c->rows_rejected, c->rows_beyond_as_of,
		c->rows_unchanged, refresh->deleted, refresh->inserted, refresh->updated,
		c->events_read, c->events_used, c->events_rejected,
		c->events_unknown, c->events_unreached, c->events_filtered,
		c->spilled_bytes
	};
	const TimestampTz *times[] = {
		refresh->range.from_time, refresh->range.to_time, refresh->range.as_of
	};
	const double durations[] = {
		c->read_ms, c->compute_ms, refresh->write_ms, refresh->total_ms
	};
	Datum		values[27];
	bool		nulls[27] = {false};
	TupleDesc	desc;
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "unexpected result type of a refresh");
	values[n++] = Int64GetDatum(refresh->refresh_id);
	values[n++] = CStringGetTextDatum(refresh->set->name);
	values[n++] = CStringGetTextDatum(refresh->set->target);
	values[n++] = Int32GetDatum(list_length(refresh->plan->features));
	values[n++] = BoolGetDatum(refresh->incremental);
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

/* The arguments with times, from `first` on; what is NULL is no limit. */
static void
take_times(FunctionCallInfo fcinfo, int first, int n, TimestampTz *times,
		   const TimestampTz ***ranges)
{
	for (int i = 0; i < n; i++)
	{
		if (PG_ARGISNULL(first + i))
			continue;
		times[i] = PG_GETARG_TIMESTAMPTZ(first + i);
		*ranges[i] = &times[i];
	}
}

/* Carry out a refresh whose set is loaded; return its result. */
static Datum
run_refresh(FunctionCallInfo fcinfo, Refresh *refresh, MemoryContext context)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	progress_begin(refresh->set->name);
	check_range(refresh);
	refresh_as_owner(refresh);
	refresh->total_ms = milliseconds_since(start);
	record_refresh(refresh);
	progress_end();
	MemoryContextSwitchTo(context);
	return refresh_result(fcinfo, refresh);
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
	Datum		result;

	pipeline_not_null(fcinfo, 0, "set");
	take_times(fcinfo, 1, 3, times, ranges);
	SPI_connect();
	refresh.started_at = GetCurrentTimestamp();
	refresh.set = lock_and_load(pipeline_arg_text(fcinfo, 0));
	result = run_refresh(fcinfo, &refresh, context);
	SPI_finish();
	return result;
}

PG_FUNCTION_INFO_V1(pipeline_materialize_features);

/* SQL: materialize_features(set, spine, target, as_of). */
Datum
pipeline_materialize_features(PG_FUNCTION_ARGS)
{
	Refresh		refresh = {0};
	TimestampTz times[1];
	const TimestampTz **ranges[1] = {&refresh.range.as_of};
	MemoryContext context = CurrentMemoryContext;
	Datum		result;

	pipeline_not_null(fcinfo, 0, "set");
	pipeline_not_null(fcinfo, 1, "spine");
	pipeline_not_null(fcinfo, 2, "target");
	take_times(fcinfo, 3, 1, times, ranges);
	SPI_connect();
	refresh.started_at = GetCurrentTimestamp();
	refresh.set = feature_set_load(pipeline_arg_text(fcinfo, 0));
	pipeline_check_author(refresh.set->owner, "feature set", refresh.set->name, "spine");
	feature_set_over(refresh.set, pipeline_arg_text(fcinfo, 1),
					 pipeline_arg_text(fcinfo, 2));
	result = run_refresh(fcinfo, &refresh, context);
	SPI_finish();
	return result;
}
