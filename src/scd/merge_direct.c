/*
 * merge_direct.c
 *	  Classify past the executor: scan the table once into a compact table of
 *	  fingerprints (live.h), stream the source past it once.
 *
 * A row whose fingerprint is that of a current version is unchanged, and that
 * is all that happens to it.  Only for the others the version is fetched, keys
 * and values are compared by their types' equality, and the classifier is
 * asked what to write, as it is for the executor's join.
 *
 * A source that is a plain table is scanned directly too; any other streams
 * from the executor.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/settings.h"
#include "scd/direct.h"

/* ---- may it be done? ------------------------------------------------------------- */

static AttrNumber *
key_and_attributes(const MergePlan *plan, Oid relid, int *n)
{
	AttrNumber *columns = palloc_array(AttrNumber, plan->ncolumns + META_COLUMNS);

	*n = 0;
	for (int i = 0; i < plan->ncolumns; i++)
		columns[(*n)++] = get_attnum(relid, plan->columns[i].name);
	return columns;
}

/* What rules the compact table out, whatever the table is. */
static const char *
definition_obstacle(const MergePlan *plan)
{
	if (!pipeline_direct_access)
		return "pipeline.direct_access is off";
	if (plan->meta_type[META_VALID_FROM] != TIMESTAMPTZOID ||
		plan->meta_type[META_VALID_TO] != TIMESTAMPTZOID)
		return "valid_from or valid_to is no timestamptz";
	if (plan->meta_type[META_IS_CURRENT] != BOOLOID)
		return "it has no boolean is_current";
	for (int i = 0; i < plan->nkeys; i++)
	{
		if (!plan->columns[i].image_equality && !plan->columns[i].has_hash)
			return psprintf("key column \"%s\" has a type without a hash function",
							plan->columns[i].name);
	}
	return NULL;
}

/*
 * Why the table cannot be scanned directly; NULL when it can.  As the role
 * that merges.
 */
const char *
pipeline_scd_read_obstacle(const MergePlan *plan)
{
	const char *obstacle = definition_obstacle(plan);
	Oid			relid = plan->dimension->relid;
	Relation	rel;
	AttrNumber *columns;
	int			n;

	if (obstacle != NULL)
		return obstacle;
	rel = table_open(relid, AccessShareLock);
	columns = key_and_attributes(plan, relid, &n);
	for (int m = 0; m < META_COLUMNS; m++)
	{
		if (plan->meta[m] != NULL)
			columns[n++] = get_attnum(relid, plan->dimension->names[m]);
	}
	obstacle = pipeline_leaves_obstacle(rel, columns, n);
	table_close(rel, NoLock);
	return obstacle;
}

/* Why the source cannot be scanned directly; NULL when it can. */
static const char *
source_obstacle(const MergePlan *plan)
{
	Relation	rel;
	AttrNumber *columns;
	int			n;
	const char *obstacle = NULL;

	if (!OidIsValid(plan->source->relid))
		return "it is a query";
	for (int i = 0; i < plan->ncolumns; i++)
	{
		if (!plan->columns[i].plain)
			return psprintf("column \"%s\" is coerced", plan->columns[i].name);
	}
	rel = table_open(plan->source->relid, AccessShareLock);
	columns = key_and_attributes(plan, plan->source->relid, &n);
	obstacle = pipeline_leaves_obstacle(rel, columns, n);
	table_close(rel, NoLock);
	return obstacle;
}

/* The same for explain_merge(). */
const char *
pipeline_scd_source_obstacle(const MergePlan *plan)
{
	return source_obstacle(plan);
}

/* ---- the whole ---------------------------------------------------------------------- */

static int
place(Oid relid, const char *name)
{
	return name == NULL ? -1 : get_attnum(relid, name) - 1;
}

static AttrNumber *
make_map(const MergePlan *plan, Oid relid)
{
	AttrNumber *map = palloc_array(AttrNumber, plan->ncolumns);

	for (int i = 0; i < plan->ncolumns; i++)
		map[i] = get_attnum(relid, plan->columns[i].name) - 1;
	return map;
}

/* A slot for the classifier; its types are of no account. */
static TupleTableSlot *
make_pair(int natts)
{
	TupleDesc	desc = CreateTemplateTupleDesc(natts);

	for (int i = 0; i < natts; i++)
		TupleDescInitEntry(desc, i + 1, NULL, INT8OID, -1, 0);
	TupleDescFinalize(desc);
	return MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
}

/* Where a leaf of the table has what is read. */
static VersionPlaces *
version_places(const MergePlan *plan, const TableLeaf *leaf)
{
	const Dimension *dimension = plan->dimension;
	Oid			relid = RelationGetRelid(leaf->rel);
	VersionPlaces *at = palloc_object(VersionPlaces);

	at->from = place(relid, dimension->names[META_VALID_FROM]);
	at->current = place(relid, dimension->names[META_IS_CURRENT]);
	at->merge = place(relid, dimension->names[META_MERGE_ID]);
	at->surrogate_key = dimension->unknown_member ?
		place(relid, dimension->names[META_SURROGATE_KEY]) : -1;
	at->last = Max(at->surrogate_key, at->current);
	for (int i = 0; i < plan->ncolumns; i++)
		at->last = Max(at->last, leaf->map[i]);
	return at;
}

/* Open the leaves of a table, each with the places of the plan's columns. */
static TableLeaves *
open_leaves(const MergePlan *plan, Oid relid, bool versions)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TableLeaves *leaves = pipeline_leaves_open(rel);

	for (int i = 0; i < leaves->n; i++)
	{
		TableLeaf  *leaf = &leaves->leaf[i];

		leaf->map = make_map(plan, RelationGetRelid(leaf->rel));
		if (versions)
			leaf->extra = version_places(plan, leaf);
	}
	table_close(rel, NoLock);
	return leaves;
}

/* How many rows there may be. */
static double
estimate_rows(const TableLeaves *leaves)
{
	double		rows = 0;

	for (int i = 0; i < leaves->n; i++)
		rows += Max(leaves->leaf[i].rel->rd_rel->reltuples, 0);
	return Max(rows, 1000);
}

static void
init_direct(DirectMerge *d, MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	memset(d, 0, sizeof(DirectMerge));
	pipeline_scd_classifier_init(&d->c, plan, delta, counts);
	d->plan = plan;
	d->delta = delta;
	d->counts = counts;
	d->snapshot = GetActiveSnapshot();
	d->table = open_leaves(plan, plan->dimension->relid, true);
	d->estimate = estimate_rows(d->table);
	d->pair = make_pair(OUT_LIVE(plan) + plan->ncolumns);
	d->live = live_create(d->estimate);
	live_keys_init(&d->keys);
	d->closed = bloom_create((int64) d->estimate, Max(Min(work_mem, 16384), 1024), d->keys.k[0]);
	delta->new_unique = true;
}

static void
end_direct(DirectMerge *d)
{
	if (d->source != NULL)
		pipeline_leaves_close(d->source);
	bloom_free(d->closed);
	live_free(d->live);
	ExecDropSingleTupleTableSlot(d->pair);
	pipeline_leaves_close(d->table);
	MemoryContextDelete(d->c.row_context);
}

/*
 * Read both sides once.  Inside an SPI connection, as the owner, under the
 * lock, where pipeline_scd_read_obstacle() sees none.
 */
void
pipeline_scd_classify_direct(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	DirectMerge d;

	/* A snapshot of after the lock, that sees what this transaction did. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	init_direct(&d, plan, delta, counts);
	pipeline_scd_read_versions(&d);
	if (source_obstacle(plan) == NULL)
		d.source = open_leaves(plan, plan->source->relid, false);
	pipeline_scd_read_rows(&d, d.source != NULL);
	if (d.live->nparts > 0)
		pipeline_scd_take_parts(&d);
	else
		pipeline_scd_take_missing(&d);
	counts->rows_read = d.nrows;
	delta->new_unseen = !d.new_seen;
	end_direct(&d);
	PopActiveSnapshot();
}
