/*
 * parallel_plan.c
 *	  A computation in words that other processes read; and whether they may.
 *
 * A plan is made again by each process from what it was made of: the texts of
 * the spine and of the features, in the same transaction, as the same user,
 * with the same settings.  Statements go over as the planner left them, since
 * a table may have grown meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "feature/direct_scan.h"
#include "feature/feature.h"
#include "feature/parallel.h"

/* ---- texts ------------------------------------------------------------------------ */

static Node *
text_node(const char *text)
{
	return text == NULL ? NULL : (Node *) makeString(pstrdup(text));
}

static char *
node_text(Node *node)
{
	return node == NULL ? NULL : strVal(node);
}

static Node *
list_node(const List *texts)
{
	List	   *nodes = NIL;
	ListCell   *lc;

	foreach(lc, texts)
		nodes = lappend(nodes, text_node(lfirst(lc)));
	return (Node *) nodes;
}

static List *
node_list(Node *node)
{
	List	   *texts = NIL;
	ListCell   *lc;

	foreach(lc, (List *) node)
		texts = lappend(texts, node_text(lfirst(lc)));
	return texts;
}

/* Exactly, whatever the style of intervals is. */
static Node *
interval_node(const Interval *interval)
{
	return interval == NULL ? NULL :
		text_node(psprintf(INT64_FORMAT " %d %d", interval->time, interval->day,
						   interval->month));
}

static Interval *
node_interval(Node *node)
{
	Interval   *interval;
	char	   *at;

	if (node == NULL)
		return NULL;
	interval = palloc_object(Interval);
	interval->time = strtoi64(strVal(node), &at, 10);
	interval->day = (int32) strtol(at, &at, 10);
	interval->month = (int32) strtol(at, &at, 10);
	return interval;
}

/* ---- plans --------------------------------------------------------------------------- */

/* The texts of a feature, in an order of our own. */
static Node *
spec_node(const FeatureSpec *spec)
{
	List	   *node = NIL;

	node = lappend(node, text_node(spec->name));
	node = lappend(node, text_node(spec->source));
	node = lappend(node, text_node(spec->aggregate_name));
	node = lappend(node, interval_node(spec->lookback));
	node = lappend(node, interval_node(spec->lookahead));
	node = lappend(node, text_node(spec->value));
	node = lappend(node, text_node(spec->closed));
	node = lappend(node, text_node(spec->filter));
	node = lappend(node, list_node(spec->entity));
	node = lappend(node, text_node(spec->event_time));
	node = lappend(node, text_node(spec->align));
	node = lappend(node, text_node(spec->by));
	node = lappend(node, spec->args == NULL ? NULL :
				   text_node(JsonbToCString(NULL, unconstify(JsonbContainer *, &spec->args->root),
											VARSIZE(spec->args))));
	node = lappend(node, text_node(spec->default_value));
	return (Node *) node;
}

static FeatureSpec *
node_spec(const List *node)
{
	FeatureText text = {0};
	int			n = 0;
	char	   *args;

	text.name = node_text(list_nth(node, n++));
	text.source = node_text(list_nth(node, n++));
	text.aggregate = node_text(list_nth(node, n++));
	text.lookback = node_interval(list_nth(node, n++));
	text.lookahead = node_interval(list_nth(node, n++));
	text.value = node_text(list_nth(node, n++));
	text.closed = node_text(list_nth(node, n++));
	text.filter = node_text(list_nth(node, n++));
	text.entity = node_list(list_nth(node, n++));
	text.event_time = node_text(list_nth(node, n++));
	text.align = node_text(list_nth(node, n++));
	text.by = node_text(list_nth(node, n++));
	args = node_text(list_nth(node, n++));
	if (args != NULL)
		text.args = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(args)));
	text.default_value = node_text(list_nth(node, n++));
	return feature_spec(&text);
}

/* Put in words what a plan was made of. */
char *
parallel_write_plan(const FeaturePlan *plan)
{
	List	   *node = NIL;
	List	   *specs = NIL;
	ListCell   *lc;

	foreach(lc, plan->specs)
		specs = lappend(specs, spec_node(lfirst(lc)));
	node = lappend(node, text_node(plan->spine->text));
	node = lappend(node, list_node(plan->entity));
	node = lappend(node, text_node(plan->event_time));
	node = lappend(node, text_node(plan->knowledge_time));
	node = lappend(node, specs);
	return nodeToString(node);
}

/* Make the plan again. */
FeaturePlan *
parallel_read_plan(const char *text)
{
	List	   *node = stringToNode(text);
	List	   *specs = NIL;
	ListCell   *lc;

	foreach(lc, (List *) list_nth(node, 4))
		specs = lappend(specs, node_spec(lfirst(lc)));
	return feature_plan(node_text(linitial(node)), node_list(lsecond(node)),
						node_text(lthird(node)), node_text(lfourth(node)), specs);
}

/* ---- scans ----------------------------------------------------------------------------- */

static Node *
number_node(int64 number)
{
	return text_node(psprintf(INT64_FORMAT, number));
}

static int64
node_number(Node *node)
{
	return strtoi64(strVal(node), NULL, 10);
}

/* Put in words the scans that others take part in. */
char *
parallel_write_scans(List *scans)
{
	List	   *all = NIL;
	ListCell   *lc;

	foreach(lc, scans)
	{
		const StreamScan *scan = lfirst(lc);
		const ScanBounds *bounds = &scan->bounds;
		List	   *node = NIL;

		node = lappend(node, number_node(scan->number));
		node = lappend(node, number_node(bounds->type));
		node = lappend(node, number_node(bounds->to_counts));
		node = lappend(node, bounds->from ? number_node(*bounds->from) : NULL);
		node = lappend(node, bounds->to ? number_node(*bounds->to) : NULL);
		node = lappend(node, bounds->as_of ? number_node(*bounds->as_of) : NULL);
		node = lappend(node, scan->stmt);
		all = lappend(all, node);
	}
	return nodeToString(all);
}

static const TimestampTz *
node_bound(Node *node, int64 *room)
{
	if (node == NULL)
		return NULL;
	*room = node_number(node);
	return room;
}

/* The scans, of streams of the plan. */
List *
parallel_read_scans(const char *text, FeaturePlan *plan)
{
	List	   *scans = NIL;
	ListCell   *lc;

	foreach(lc, (List *) stringToNode(text))
	{
		List	   *node = lfirst(lc);
		StreamScan *scan = palloc0_object(StreamScan);

		scan->number = (int) node_number(list_nth(node, 0));
		scan->stream = list_nth(plan->streams, scan->number - 1);
		scan->bounds.type = (Oid) node_number(list_nth(node, 1));
		scan->bounds.to_counts = node_number(list_nth(node, 2)) != 0;
		scan->bounds.from = node_bound(list_nth(node, 3), &scan->from);
		scan->bounds.to = node_bound(list_nth(node, 4), &scan->to);
		scan->bounds.as_of = node_bound(list_nth(node, 5), &scan->as_of);
		scan->stmt = list_nth(node, 6);
		scans = lappend(scans, scan);
	}
	return scans;
}

/* The table of a scan, by its number among those of the scan. */
Oid
parallel_scan_relid(const StreamScan *scan, int number)
{
	const Scan *plan = list_nth(direct_plain_scans(scan->stmt), number);

	return rt_fetch(plan->scanrelid, scan->stmt->rtable)->relid;
}

/* ---- may it be? ---------------------------------------------------------------------------- */

static bool
is_unsafe_function(Oid function, void *context)
{
	return func_parallel(function) != PROPARALLEL_SAFE;
}

static bool
has_unsafe_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_unsafe_function, context) ||
		expression_tree_walker(node, has_unsafe_function, context);
}

/* May others evaluate what the scan asks of its tables? */
bool
parallel_scan_is_safe(const StreamScan *scan)
{
	List	   *plans = IsA(scan->stmt->planTree, Append) ?
		((Append *) scan->stmt->planTree)->appendplans : list_make1(scan->stmt->planTree);
	ListCell   *lc;

	foreach(lc, plans)
	{
		const Plan *plan = lfirst(lc);

		if (has_unsafe_function((Node *) plan->targetlist, NULL) ||
			has_unsafe_function((Node *) plan->qual, NULL))
			return false;
	}
	return true;
}

/* Does a statement read a temporary table, which only its own session can? */
static bool
reads_temporary(const PlannedStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->relationOids)
	{
		if (get_rel_persistence(lfirst_oid(lc)) == RELPERSISTENCE_TEMP)
			return true;
	}
	return false;
}

/* May others call what computes the feature? */
static bool
feature_is_safe(const Feature *feature, const Stream *stream)
{
	const Input *input = feature->input < 0 ? NULL : list_nth(stream->inputs, feature->input);

	if (feature->other != NULL && !other_aggregate_is_safe(feature->other))
		return false;
	return input == NULL || input->order == NULL || input->order->integer ||
		func_parallel(input->order->compare.fn_oid) == PROPARALLEL_SAFE;
}

/* May others compute the features of entities, which are in the run's table? */
bool
parallel_is_safe(const FeatureRun *run, List *scans)
{
	ListCell   *lc;

	if (!key_table_can_share(run->keys) || reads_temporary(run->spine_stmt))
		return false;
	foreach(lc, scans)
	{
		if (reads_temporary(((StreamScan *) lfirst(lc))->stmt))
			return false;
	}
	foreach(lc, run->plan->features)
	{
		const Feature *feature = lfirst(lc);

		if (!feature_is_safe(feature, list_nth(run->plan->streams, feature->stream)))
			return false;
	}
	return true;
}
