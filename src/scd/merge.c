/*
 * merge.c
 *	  merge_dimension() and merge_scd2(): rights, lock, guards, and the order
 *	  of the phases.
 *
 * Locking.  A merge takes ShareRowExclusiveLock on the table and keeps it to
 * the end of its transaction: merges into one table follow each other, other
 * writers wait, readers never do.  Everything is read by statements that start
 * after the lock is held, each with a new snapshot.  Under REPEATABLE READ and
 * SERIALIZABLE there is no new snapshot: if a merge committed that the
 * transaction cannot see, 40001 is raised.
 *
 * One merge has one time.  Unless it is given, it is the clock's once the
 * lock is held, so that a merge that waited comes after the one it waited for.
 *
 * Users.  The source is read and the table is written as the owner of the
 * definition, with its search_path; by a one-shot merge, as the caller.  Our
 * own tables are written as the extension, by constant SQL.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/leaves.h"
#include "scd/scd.h"

PG_FUNCTION_INFO_V1(pipeline_merge_dimension);
PG_FUNCTION_INFO_V1(pipeline_merge_scd2);
PG_FUNCTION_INFO_V1(pipeline_rebuild_dimension);

/* Below this many current keys, any number may go missing. */
#define DELETE_GUARD_MIN_KEYS 10

/* One call. */
typedef struct MergeCall
{
	Dimension  *dimension;
	Oid			owner;			/* of what is kept */
	bool		registered;
	char	   *search_path;	/* registered: that of the source */
	bool		has_effective;
	TimestampTz effective;
	char	   *batch_id;
	bool		rebuild;		/* the source tells the whole history */
	bool		replay_fails;
	bool		replay_replaces;
	bool		replaces;		/* the batch was seen before and is merged again */
	bool		success;
	int64		merge_id;		/* what is returned */
	MergeCounts counts;
	TimestampTz started;
	instr_time	start;
} MergeCall;

static void
owner_begin(const MergeCall *call, UserScope *scope)
{
	if (call->registered)
		pipeline_user_begin(scope, call->owner, call->search_path);
}

static void
owner_end(const MergeCall *call, UserScope *scope)
{
	if (call->registered)
		pipeline_scope_end(scope);
}

/* ---- before ------------------------------------------------------------- */

/* The effective time: as given, or now that the lock is held. */
static TimestampTz
effective_time(const MergeCall *call)
{
	const Dimension *dimension = call->dimension;
	TimestampTz effective = call->has_effective ? call->effective : GetCurrentTimestamp();

	if (TIMESTAMP_NOT_FINITE(effective))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"effective\": \"%s\"",
						timestamptz_to_str(effective)),
				 errhint("It is a point in time.")));
	if (!dimension->open_end_null && effective >= dimension->open_end)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("effective time %s is not before the open end of dimension %s",
						timestamptz_to_str(effective), dimension->name),
				 errdetail("The open end is %s.", timestamptz_to_str(dimension->open_end)),
				 errhint("Use open_end => 'infinity' or a later timestamp.")));
	if (dimension->has_initial && dimension->initial_valid_from > effective)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("effective time %s is before the \"initial_valid_from\" of dimension %s",
						timestamptz_to_str(effective), dimension->name),
				 errdetail("It is %s.", timestamptz_to_str(dimension->initial_valid_from)),
				 errhint("Use a later effective time.")));
	return effective;
}

/* Bring source and table together, as the owner. */
static MergePlan *
make_plan(const MergeCall *call)
{
	Dimension  *dimension = call->dimension;
	Source	   *source;
	MergePlan  *plan;
	UserScope	scope;

	owner_begin(call, &scope);
	source = pipeline_source(dimension->source, "source");
	pipeline_scd_resolve(dimension, source);
	if (!call->registered)
		pipeline_scd_make_events(dimension, source);
	pipeline_scd_add_columns(dimension, source);
	pipeline_scd_check_table(dimension);
	plan = pipeline_scd_plan(dimension, source);
	owner_end(call, &scope);
	if (dimension->added != NIL && call->registered)
		pipeline_scd_store_type2(dimension);
	plan->batch_id = call->batch_id;
	plan->rebuild = call->rebuild;
	return plan;
}

/* ---- a batch seen before ------------------------------------------------ */

/*
 * If the batch was merged before, say so and merge nothing.  Its content is
 * read and must be the same, unless it is to replace what was merged: then it
 * is merged as of the same time.
 */
static bool
skip_replay(MergeCall *call, MergePlan *plan)
{
	char	   *content = NULL;
	int64		rows = 0;
	TimestampTz effective;
	uint64		now[2];
	int64		rows_now;
	char	   *text;
	int64		seen;
	UserScope	scope;

	if (call->batch_id == NULL)
		return false;
	seen = pipeline_scd_seen_batch(call->dimension->relid, call->batch_id, &content, &rows,
								   &effective);
	if (seen == 0)
		return false;
	if (call->replay_fails)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("batch \"%s\" was merged into dimension %s before",
						call->batch_id, call->dimension->name),
				 errdetail("It was merge %lld.", (long long) seen),
				 errhint("Use on_replay => 'skip' to skip it.")));
	owner_begin(call, &scope);
	rows_now = pipeline_scd_content(plan, now);
	owner_end(call, &scope);
	text = pipeline_scd_content_text(now);
	if (rows_now != rows ||
		(strncmp(text, content, strcspn(text, ":") + 1) == 0 && strcmp(text, content) != 0))
	{
		if (call->replay_replaces)
		{
			call->replaces = plan->replace = true;
			if (!call->has_effective)
				call->effective = effective;
			call->has_effective = true;
			return false;
		}
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("batch \"%s\" was merged into dimension %s before, with other content",
						call->batch_id, call->dimension->name),
				 errdetail("It was merge %lld, with %lld rows; now it has %lld rows.",
						   (long long) seen, (long long) rows, (long long) rows_now),
				 errhint("Give the new content a batch_id of its own, or use on_replay => 'replace'.")));
	}
	call->merge_id = seen;
	call->success = true;
	call->counts.rows_read = call->counts.duplicate = rows_now;
	ereport(NOTICE,
			(errmsg("batch \"%s\" was merged into dimension %s before, as merge %lld: skipped",
					call->batch_id, call->dimension->name, (long long) seen)));
	return true;
}

/* ---- guards ------------------------------------------------------------- */

static void
check_missing(const MergePlan *plan, const MergeDelta *delta,
			  const MergeCounts *counts)
{
	if (!DIMENSION_INVALIDATES(plan->dimension) ||
		delta->live_keys < DELETE_GUARD_MIN_KEYS ||
		(double) counts->missing / delta->live_keys <= plan->max_delete_fraction)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("too many keys of dimension %s are missing from the source",
					plan->dimension->name),
			 errdetail("The merge would close %lld of %lld current keys; \"max_delete_fraction\" is %g.",
					   (long long) counts->missing, (long long) delta->live_keys,
					   plan->max_delete_fraction),
			 errhint("If the source is complete, pass max_delete_fraction => 1 for this merge.")));
}

static bool
too_many_rejects(const MergePlan *plan, const MergeCounts *counts)
{
	return counts->rejected > 0 &&
		(double) counts->rejected / counts->rows_read >
		plan->dimension->max_rejected_fraction;
}

/* The classes are disjoint and none is missing. */
static void
assert_counts(const MergeCounts *c)
{
	if (c->rows_read != c->inserted + c->versioned + c->updated_type1 +
		c->reopened + c->late + c->deleted + c->unchanged + c->duplicate +
		c->rejected)
		elog(ERROR, "the counts of a merge do not add up: %lld rows, inserted %lld, versioned %lld, updated %lld, reopened %lld, unchanged %lld, duplicate %lld, rejected %lld",
			 (long long) c->rows_read, (long long) c->inserted,
			 (long long) c->versioned, (long long) c->updated_type1,
			 (long long) c->reopened, (long long) c->unchanged,
			 (long long) c->duplicate, (long long) c->rejected);
}

/* ---- the merge ---------------------------------------------------------- */

/* Nothing is applied: what was not rejected changed nothing. */
static void
give_up(MergeCall *call, MergePlan *plan, MergeDelta *delta)
{
	MergeCounts *counts = &call->counts;

	counts->unchanged = counts->rows_read - counts->rejected;
	counts->duplicate = counts->missing = 0;
	pipeline_scd_rejects_to_json(plan, delta);
}

/* Compare with the current versions, and write. */
static void
merge_versions(MergeCall *call, MergePlan *plan, MergeDelta *delta)
{
	MergeCounts *counts = &call->counts;
	instr_time	phase;
	bool		initial;

	INSTR_TIME_SET_CURRENT(phase);
	if (pipeline_scd_read_obstacle(plan) == NULL)
	{
		plan->path = "direct";
		pipeline_scd_classify_direct(plan, delta, counts);
	}
	else
		pipeline_scd_classify(plan, delta, counts);
	call->success = !too_many_rejects(plan, counts);
	counts->read_ms = pipeline_scd_elapsed_ms(phase);
	if (!call->success)
	{
		give_up(call, plan, delta);
		return;
	}
	pipeline_scd_dedupe(plan, delta, counts);
	initial = pipeline_scd_is_empty(plan);
	if (!initial)
		pipeline_scd_reopened(plan, delta, counts);
	pipeline_scd_check_overwrites(plan, delta);
	pipeline_scd_raise_problem(plan, delta);
	check_missing(plan, delta, counts);
	counts->read_ms = pipeline_scd_elapsed_ms(phase);

	INSTR_TIME_SET_CURRENT(phase);
	if (pipeline_scd_write_obstacle(plan, false) == NULL)
		pipeline_scd_write_direct(plan, delta, counts, initial);
	else
	{
		if (strcmp(plan->path, "direct") == 0)
			plan->path = "direct read";
		pipeline_scd_apply(plan, delta, counts, initial);
	}
	pipeline_scd_fill_inferred(plan);
	pipeline_scd_rejects_to_json(plan, delta);
	counts->write_ms = pipeline_scd_elapsed_ms(phase);
}

/* Replay the history of the keys that the batch names, and write. */
static void
merge_events(MergeCall *call, MergePlan *plan, MergeDelta *delta)
{
	MergeCounts *counts = &call->counts;
	instr_time	phase;

	INSTR_TIME_SET_CURRENT(phase);
	plan->path = "events";
	pipeline_scd_merge_events(plan, delta, counts);
	call->success = !too_many_rejects(plan, counts);
	counts->read_ms = pipeline_scd_elapsed_ms(phase);
	if (!call->success)
	{
		give_up(call, plan, delta);
		return;
	}
	pipeline_scd_raise_problem(plan, delta);
	check_missing(plan, delta, counts);

	INSTR_TIME_SET_CURRENT(phase);
	pipeline_scd_apply_events(plan, delta, counts);
	pipeline_scd_fill_inferred(plan);
	pipeline_scd_rejects_to_json(plan, delta);
	counts->write_ms = pipeline_scd_elapsed_ms(phase);
}

/* Read, check and write, as the owner. */
static void
read_and_write(MergeCall *call, MergePlan *plan, MergeDelta *delta)
{
	UserScope	scope;

	owner_begin(call, &scope);
	if (plan->replace || plan->rebuild ||
		pipeline_scd_events_reason(plan->dimension) != NULL)
		merge_events(call, plan, delta);
	else
		merge_versions(call, plan, delta);
	owner_end(call, &scope);
}

static void
end_store(Tuplestorestate *store)
{
	if (store != NULL)
		tuplestore_end(store);
}

/* Merge, under the lock. */
static void
merge(MergeCall *call)
{
	MergeDelta	delta = {0};
	MergePlan  *plan = make_plan(call);

	if (!skip_replay(call, plan))
	{
		plan->effective = pipeline_scd_granular(plan, effective_time(call));
		plan->merge_id = call->merge_id = pipeline_scd_next_merge();
		read_and_write(call, plan, &delta);
		assert_counts(&call->counts);
		call->counts.total_ms = pipeline_scd_elapsed_ms(call->start);
		if (call->replaces && call->success)
			pipeline_scd_forget_batch(call->dimension->relid, call->batch_id);
		pipeline_scd_record(plan, &call->counts, call->owner, call->success,
							call->batch_id ? pipeline_scd_content_text(delta.content) : NULL,
							call->started);
		pipeline_scd_keep_rejects(plan, &delta, call->owner);
		end_store(delta.open);
		end_store(delta.overwrite);
		end_store(delta.close);
		end_store(delta.reject);
		end_store(delta.reject_json);
		pipeline_scd_end_events(delta.replay);
	}
	call->counts.total_ms = pipeline_scd_elapsed_ms(call->start);
}

/* ---- entry points ------------------------------------------------------- */

/* Read the arguments that say how to merge, at the places given. */
static void
read_call(FunctionCallInfo fcinfo, MergeCall *call, int effective,
		  int batch_id, int on_replay)
{
	static const char *const known[] = {"skip", "error", "replace", NULL};
	char	   *replay;

	INSTR_TIME_SET_CURRENT(call->start);
	call->started = GetCurrentTimestamp();
	call->has_effective = !PG_ARGISNULL(effective);
	if (call->has_effective)
		call->effective = PG_GETARG_TIMESTAMPTZ(effective);
	call->batch_id = pipeline_arg_text(fcinfo, batch_id);
	if (call->batch_id != NULL)
		pipeline_check_name("batch", call->batch_id);
	pipeline_not_null(fcinfo, on_replay, "on_replay");
	replay = pipeline_arg_text(fcinfo, on_replay);
	pipeline_check_choice("on_replay", replay, known);
	call->replay_replaces = strcmp(replay, "replace") == 0;
	call->replay_fails = strcmp(replay, "error") == 0;
}

/*
 * Another source for this once.  It is the caller's text, so whoever only
 * administers may not have it run as the owner.
 */
static void
use_other_source(MergeCall *call, char *source)
{
	if (source == NULL)
		return;
	pipeline_check_author(call->owner, "dimension", call->dimension->name, "source");
	call->dimension->source = source;
	call->search_path = pipeline_search_path();
}

/* Find the definition, lock its table, and find it again. */
static void
open_call(MergeCall *call, Oid relid)
{
	call->dimension = pipeline_scd_find(relid, false);
	pipeline_check_owner(call->dimension->owner, "dimension", call->dimension->name);
	pipeline_lock_with_partitions(relid, ShareRowExclusiveLock);
	call->dimension = pipeline_scd_find(relid, false);
	pipeline_check_owner(call->dimension->owner, "dimension", call->dimension->name);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table of dimension %s does not exist", call->dimension->name),
				 errhint("It was dropped; use drop_dimension('%u').", relid)));
	pipeline_scd_check_snapshot(relid, "dimension", call->dimension->name);
	call->owner = call->dimension->owner;
	call->search_path = call->dimension->search_path;
}

/* SQL: merge_dimension(dimension, effective, batch_id, source, on_replay, max_delete_fraction). */
Datum
pipeline_merge_dimension(PG_FUNCTION_ARGS)
{
	MergeCall	call = {.registered = true};

	pipeline_not_null(fcinfo, 0, "dimension");
	read_call(fcinfo, &call, 1, 2, 4);
	if (!PG_ARGISNULL(5))
		pipeline_scd_fraction("max_delete_fraction", PG_GETARG_FLOAT8(5));

	SPI_connect();
	open_call(&call, PG_GETARG_OID(0));
	if (!PG_ARGISNULL(5))
		call.dimension->max_delete_fraction = PG_GETARG_FLOAT8(5);
	use_other_source(&call, pipeline_arg_text(fcinfo, 3));
	merge(&call);
	SPI_finish();
	return pipeline_scd_result(fcinfo, call.success, call.merge_id, &call.counts);
}

/*
 * SQL: rebuild_dimension(dimension, events).  The history becomes what the
 * events tell; versions that stay keep their surrogate keys.
 */
Datum
pipeline_rebuild_dimension(PG_FUNCTION_ARGS)
{
	MergeCall	call = {.registered = true,.rebuild = true};

	pipeline_not_null(fcinfo, 0, "dimension");
	pipeline_not_null(fcinfo, 1, "events");
	INSTR_TIME_SET_CURRENT(call.start);
	call.started = GetCurrentTimestamp();

	SPI_connect();
	open_call(&call, PG_GETARG_OID(0));
	if (call.dimension->effective_at == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimension %s cannot be rebuilt", call.dimension->name),
				 errdetail("It has no \"effective_at\", so events would have no time."),
				 errhint("Set it by alter_dimension(), or use feed => 'cdc'.")));
	use_other_source(&call, pipeline_arg_text(fcinfo, 1));
	merge(&call);
	SPI_finish();
	return pipeline_scd_result(fcinfo, call.success, call.merge_id, &call.counts);
}

/* SQL: merge_scd2(target, ...); see options.c for the shared arguments. */
Datum
pipeline_merge_scd2(PG_FUNCTION_ARGS)
{
	MergeCall	call = {.registered = false};
	const AclMode rights = ACL_SELECT | ACL_INSERT | ACL_UPDATE;
	Oid			relid;
	AclResult	acl;

	pipeline_not_null(fcinfo, 0, "target");
	relid = PG_GETARG_OID(0);
	read_call(fcinfo, &call, 25, 26, 27);
	call.dimension = pipeline_scd_options(fcinfo);
	call.dimension->relid = relid;
	call.dimension->name = pipeline_qualified_name(relid);
	call.owner = GetUserId();
	acl = pg_class_aclmask(relid, GetUserId(), rights, ACLMASK_ALL) == rights ?
		ACLCHECK_OK : ACLCHECK_NO_PRIV;
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));

	SPI_connect();
	pipeline_lock_with_partitions(relid, ShareRowExclusiveLock);
	call.dimension->name = pipeline_qualified_name(relid);
	pipeline_scd_check_snapshot(relid, "dimension", call.dimension->name);
	merge(&call);
	SPI_finish();
	return pipeline_scd_result(fcinfo, call.success, call.merge_id, &call.counts);
}
