/*
 * events_apply.c
 *	  Write what the replay of events found: rows that are gone, versions that
 *	  changed, versions that are new, events to be kept.
 *
 * Versions that shrink are written before those that grow, and those before
 * the new ones, so that a constraint on the table sees no overlap.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "scd/events.h"

static void
delete_rows(Replay *r, const char *table, bool events, int64 rows)
{
	if (rows == 0)
		return;
	pipeline_scd_write(r->plan,
					   psprintf("DELETE FROM %s AS t USING " GONE_ROWS " d WHERE t.ctid OPERATOR(pg_catalog.=) d.tid"
								" AND t.tableoid OPERATOR(pg_catalog.=) d.rel AND %sd.event",
								table, events ? "" : "NOT "),
					   SPI_OK_DELETE, rows, r->plan->effective, false, 0);
}

/* The columns that a version row fills: names, and their values in SQL. */
typedef void (*EachColumn) (StringInfo a, StringInfo b, const char *name, const char *value);

static void
each_column(const Replay *r, EachColumn each, StringInfo a, StringInfo b)
{
	const MergePlan *plan = r->plan;
	int			p = 0;

	each(a, b, plan->meta[META_VALID_FROM], "d.valid_from");
	each(a, b, plan->meta[META_VALID_TO], "d.valid_to");
	each(a, b, plan->meta[META_IS_CURRENT], pipeline_scd_bool(plan, META_IS_CURRENT, "d.open"));
	each(a, b, plan->meta[META_IS_DELETED], pipeline_scd_bool(plan, META_IS_DELETED, "d.deleted"));
	each(a, b, plan->meta[META_CLOSE_REASON], "d.reason");
	each(a, b, plan->meta[META_MERGE_ID], "$3");
	each(a, b, plan->meta[META_UPDATED_AT], "d.updated");
	for (int i = 0; i < plan->ncolumns; i++)
	{
		each(a, b, quote_identifier(plan->columns[i].name), psprintf("d.c%d", i + 1));
		if (plan->columns[i].companion != NULL)
			each(a, b, quote_identifier(plan->columns[i].companion), psprintf("d.p%d", ++p));
	}
}

static void
add_set(StringInfo set, StringInfo unused, const char *name, const char *value)
{
	if (name != NULL)
		appendStringInfo(set, "%s%s = %s", set->len ? ", " : "", name, value);
}

static void
change_versions(Replay *r, bool shrinking, int64 rows)
{
	StringInfoData set;

	if (rows == 0)
		return;
	initStringInfo(&set);
	each_column(r, add_set, &set, NULL);
	pipeline_scd_write(r->plan,
					   psprintf("UPDATE %s AS t SET %s FROM " CHANGED_ROWS " d WHERE t.ctid OPERATOR(pg_catalog.=) d.tid"
								" AND t.tableoid OPERATOR(pg_catalog.=) d.rel AND %sd.shrinks",
								r->plan->dimension->name, set.data, shrinking ? "" : "NOT "),
					   SPI_OK_UPDATE, rows, r->plan->effective, false, 0);
}

static void
open_versions(Replay *r, int64 rows)
{
	StringInfoData names;
	StringInfoData values;

	if (rows == 0)
		return;
	initStringInfo(&names);
	initStringInfo(&values);
	each_column(r, pipeline_scd_append_insert, &names, &values);
	pipeline_scd_append_insert(&names, &values, r->plan->meta[META_SCD_ID],
			   pipeline_scd_scd_id(r->plan, "d", "d.valid_from"));
	pipeline_scd_write(r->plan,
					   psprintf("INSERT INTO %s (%s) SELECT %s FROM " OPENED_ROWS " d ORDER BY d.valid_from",
								r->plan->dimension->name, names.data, values.data),
					   SPI_OK_INSERT, rows, r->plan->effective, false, 0);
}

static void
keep_events(Replay *r, int64 rows)
{
	const MergePlan *plan = r->plan;
	StringInfoData names;
	StringInfoData values;

	if (rows == 0)
		return;
	initStringInfo(&names);
	initStringInfo(&values);
	pipeline_scd_append_insert(&names, &values, EVENTS_AT, "d.at");
	pipeline_scd_append_insert(&names, &values, EVENTS_DELETE, "d.del");
	pipeline_scd_append_insert(&names, &values, EVENTS_MERGE, "$3");
	if (plan->event[EVENT_SEQUENCE] != NULL)
		pipeline_scd_append_insert(&names, &values, EVENTS_SEQUENCE, "d.seq");
	for (int i = 0; i < plan->ncolumns; i++)
		pipeline_scd_append_insert(&names, &values, quote_identifier(plan->columns[i].name), psprintf("d.c%d", i + 1));
	pipeline_scd_write(plan, psprintf("INSERT INTO %s (%s) SELECT %s FROM " REMEMBER_ROWS " d",
									  pipeline_qualified_name(plan->dimension->events),
									  names.data, values.data),
					   SPI_OK_INSERT, rows, plan->effective, false, 0);
}

/* Write it all.  Inside an SPI connection, as the owner. */
void
pipeline_scd_apply_events(MergePlan *plan, MergeDelta *delta, MergeCounts *counts)
{
	Replay	   *r = delta->replay;
	int64		changed = tuplestore_tuple_count(r->changed);
	int64		hot_before = pipeline_scd_hot_updates(plan);

	pipeline_scd_delta_register(GONE_ROWS, r->gone_desc, r->gone);
	pipeline_scd_delta_register(CHANGED_ROWS, r->version_desc, r->changed);
	pipeline_scd_delta_register(OPENED_ROWS, r->version_desc, r->opened);
	pipeline_scd_delta_register(REMEMBER_ROWS, r->event_desc, r->remember);
	delete_rows(r, plan->dimension->name, false, r->gone_versions);
	if (pipeline_scd_write_obstacle(plan, true) == NULL)
		pipeline_scd_write_events(r);
	else
	{
		change_versions(r, true, r->shrinking);
		change_versions(r, false, changed - r->shrinking);
		open_versions(r, tuplestore_tuple_count(r->opened));
	}
	if (r->keeps_events)
	{
		delete_rows(r, pipeline_qualified_name(plan->dimension->events), true, r->gone_events);
		keep_events(r, tuplestore_tuple_count(r->remember));
	}
	counts->hot_updates = pipeline_scd_hot_updates(plan) - hot_before;
}
