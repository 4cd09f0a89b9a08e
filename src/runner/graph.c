/*
 * graph.c
 *	  The graph of a run's tasks: who follows whom, and at which level.
 *
 * Computed when a run is created and again when a repair takes new
 * definitions, so that the end of a task need not look for its successors.
 * The level of a task is the length of the longest path that leads to it; the
 * order of (level, task) is that in which rows of successors are locked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"

#include "runner/runner.h"
#include "runner/tables.h"

typedef struct TaskNode
{
	const char *name;			/* hash key */
	List	   *depends_on;		/* names; not all need be in the graph */
	List	   *successors;		/* Nodes */
	int			pending;		/* predecessors in the graph */
	int			left;			/* of them, not yet placed */
	int			level;
	HeapTuple	row;			/* of pipeline.tasks, when a run is created */
} TaskNode;

static uint32
hash_name(const void *key, Size size)
{
	const char *name = *(const char *const *) key;

	return hash_bytes((const unsigned char *) name, (int) strlen(name));
}

static int
match_name(const void *a, const void *b, Size size)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static HTAB *
make_graph(void)
{
	HASHCTL		ctl = {.keysize = sizeof(char *), .entrysize = sizeof(TaskNode),
		.hash = hash_name, .match = match_name,
	.hcxt = CurrentMemoryContext};

	return hash_create("pipeline tasks", 64, &ctl,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

static TaskNode *
add_node(HTAB *graph, const char *name, List *depends_on)
{
	bool		found;
	TaskNode	   *node = hash_search(graph, &name, HASH_ENTER, &found);

	node->depends_on = depends_on;
	node->successors = NIL;
	node->pending = node->left = node->level = 0;
	node->row = NULL;
	return node;
}

static int
compare_nodes(const ListCell *a, const ListCell *b)
{
	const TaskNode *x = lfirst(a);
	const TaskNode *y = lfirst(b);

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Link the nodes and give each its level; the list is in that order. */
static List *
arrange(HTAB *graph, List *nodes)
{
	List	   *queue = NIL;
	ListCell   *lc;
	ListCell   *d;
	int			placed = 0;

	foreach(lc, nodes)
	{
		TaskNode	   *node = lfirst(lc);

		foreach(d, node->depends_on)
		{
			TaskNode	   *before = hash_search(graph, &lfirst(d), HASH_FIND, NULL);

			if (before == NULL)
				continue;
			before->successors = lappend(before->successors, node);
			node->pending++;
		}
		node->left = node->pending;
		if (node->left == 0)
			queue = lappend(queue, node);
	}
	while (placed < list_length(queue))
	{
		TaskNode	   *node = list_nth(queue, placed++);

		foreach(lc, node->successors)
		{
			TaskNode	   *after = lfirst(lc);

			after->level = Max(after->level, node->level + 1);
			if (--after->left == 0)
				queue = lappend(queue, after);
		}
	}
	/*
	 * Definitions of different times can close a circle: a repaired task that
	 * now depends on one that depended on it when the run began.  One of them
	 * has ended, so that any order will do.
	 */
	foreach(lc, nodes)
	{
		TaskNode	   *node = lfirst(lc);

		if (node->left > 0)
		{
			node->level = list_length(nodes);
			queue = lappend(queue, node);
		}
	}
	foreach(lc, nodes)
		list_sort(((TaskNode *) lfirst(lc))->successors, compare_nodes);
	list_sort(queue, compare_nodes);
	return queue;
}

static Datum
successor_names(const TaskNode *node)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, node->successors)
		names = lappend(names, (char *) ((TaskNode *) lfirst(lc))->name);
	return PointerGetDatum(pipeline_list_array(names));
}

/* ---- the tasks of a new run ---------------------------------------------------- */

/* The tasks of a pipeline, or those of them that `only` names. */
static List *
read_tasks(HTAB *graph, const char *pipeline, const List *only)
{
	RowTable   *t = &runner_tasks;
	Datum		key[] = {CStringGetTextDatum(pipeline)};
	RowScan		scan;
	List	   *nodes = NIL;
	bool		isnull;

	pipeline_rows_begin(t, &scan, "tasks_pkey", 1, key);
	while (pipeline_rows_next(t, &scan))
	{
		char	   *name = pipeline_row_text(t, TASK_task);
		TaskNode	   *node;

		if (only != NIL && !pipeline_list_has(only, name))
			continue;
		node = add_node(graph, name,
						pipeline_array_list(DatumGetArrayTypeP(pipeline_row_get(t, TASK_depends_on, &isnull)),
											"depends_on"));
		node->row = ExecCopySlotHeapTuple(t->row);
		nodes = lappend(nodes, node);
	}
	pipeline_rows_end(t, &scan);
	return nodes;
}

#define DEFINITION_PAIR(c) {TASK_##c, TR_##c},

/* Write the row of one task of a run; the task's row is the current one. */
static void
write_task_run(int64 run_id, const TaskNode *node, const Jsonb *labels,
			   TimestampTz deadline_from)
{
	static const struct
	{
		int			task;
		int			task_run;
	}			same[] = {TASK_DEFINITION_COLUMNS(DEFINITION_PAIR)};
	RowTable   *t = &runner_tasks;
	RowTable   *r = &runner_task_runs;
	bool		always;
	bool		isnull;
	Datum		value;

	ExecForceStoreHeapTuple(node->row, t->row, false);
	always = pipeline_row_is(t, TASK_trigger_rule, "always");
	pipeline_row_new(r);
	for (int i = 0; i < lengthof(same); i++)
	{
		value = pipeline_row_get(t, same[i].task, &isnull);
		pipeline_row_set(r, same[i].task_run, value, isnull);
	}
	pipeline_row_set(r, TR_run_id, Int64GetDatum(run_id), false);
	pipeline_row_set(r, TR_task, pipeline_row_get(t, TASK_task, &isnull), false);
	pipeline_row_set(r, TR_pipeline, pipeline_row_get(t, TASK_pipeline, &isnull), false);
	pipeline_row_set(r, TR_owner, pipeline_row_get(t, TASK_owner, &isnull), false);
	pipeline_row_set_text(r, TR_state, "waiting");
	pipeline_row_set(r, TR_pending, Int32GetDatum(always ? 0 : node->pending), false);
	pipeline_row_set(r, TR_up_succeeded, Int32GetDatum(0), false);
	pipeline_row_set(r, TR_up_failed, Int32GetDatum(0), false);
	pipeline_row_set(r, TR_up_skipped, Int32GetDatum(0), false);
	pipeline_row_set(r, TR_attempts, Int32GetDatum(0), false);
	pipeline_row_set(r, TR_failures, Int32GetDatum(0), false);
	pipeline_row_set(r, TR_lost, Int32GetDatum(0), false);
	pipeline_row_set(r, TR_level, Int32GetDatum(node->level), false);
	pipeline_row_set(r, TR_successors, successor_names(node), false);
	pipeline_row_set(r, TR_expanded, BoolGetDatum(false), false);
	pipeline_row_set(r, TR_deadline_missed, BoolGetDatum(false), false);
	value = pipeline_row_get(t, TASK_map_key, &isnull);
	pipeline_row_set(r, TR_map_column, value, isnull);
	value = pipeline_row_get(t, TASK_deadline, &isnull);
	if (!isnull)
	{
		value = DirectFunctionCall2(timestamptz_pl_interval,
									TimestampTzGetDatum(deadline_from), value);
		pipeline_row_set(r, TR_deadline_at, value, false);
		pipeline_row_set(r, TR_deadline_due, value, false);
	}
	value = pipeline_row_get(t, TASK_labels, &isnull);
	pipeline_row_set(r, TR_labels,
					 DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(labels), value), false);
	pipeline_row_insert(r);
}

/*
 * Make the rows of a run's tasks, of those that `only` names or of all;
 * returns how many.  Deadlines count from `deadline_from`; `labels` are the
 * pipeline's.
 */
int
runner_create_task_runs(int64 run_id, const char *pipeline, const List *only,
						const Jsonb *labels, TimestampTz deadline_from)
{
	HTAB	   *graph = make_graph();
	List	   *nodes;
	ListCell   *lc;

	pipeline_rows_open(&runner_tasks);
	pipeline_rows_open(&runner_task_runs);
	nodes = arrange(graph, read_tasks(graph, pipeline, only));
	foreach(lc, nodes)
		write_task_run(run_id, lfirst(lc), labels, deadline_from);
	pipeline_rows_close(&runner_task_runs);
	pipeline_rows_close(&runner_tasks);
	hash_destroy(graph);
	return list_length(nodes);
}

/* ---- after a repair -------------------------------------------------------------- */

/*
 * Compute the graph of a run anew, some of whose tasks have taken new
 * definitions.  The caller holds the run alone.
 */
void
runner_rearrange_run(int64 run_id)
{
	HTAB	   *graph = make_graph();
	RowTable   *t = &runner_task_runs;
	Datum		key[] = {Int64GetDatum(run_id)};
	List	   *nodes = NIL;
	ListCell   *lc;
	RowScan		scan;
	bool		isnull;

	pipeline_rows_open(t);
	pipeline_rows_begin(t, &scan, "task_runs_pkey", 1, key);
	while (pipeline_rows_next(t, &scan))
	{
		Datum		depends_on = pipeline_row_get(t, TR_depends_on, &isnull);

		if (pipeline_row_text(t, TR_mapped_task) == NULL)
			nodes = lappend(nodes, add_node(graph, pipeline_row_text(t, TR_task),
											pipeline_array_list(DatumGetArrayTypePCopy(depends_on), "depends_on")));
	}
	pipeline_rows_end(t, &scan);
	foreach(lc, arrange(graph, nodes))
	{
		TaskNode	   *node = lfirst(lc);
		Datum		names = successor_names(node);

		if (!runner_find_task_run(run_id, node->name))
			continue;
		if (node->level == pipeline_row_int4(t, TR_level) &&
			datum_image_eq(names, pipeline_row_get(t, TR_successors, &isnull), false, -1))
			continue;
		if (!pipeline_row_lock(t, false))
			continue;
		pipeline_row_set(t, TR_level, Int32GetDatum(node->level), false);
		pipeline_row_set(t, TR_successors, names, false);
		pipeline_row_update(t);
	}
	pipeline_rows_close(t);
	hash_destroy(graph);
}
