/*
 * events_rows.c
 *	  How the rows of a replay look, in the stores between its steps.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"

#include "scd/events.h"

static void
add_entry(TupleDesc desc, int n, const char *name, Oid type, int32 typmod,
		  Oid collation)
{
	TupleDescInitEntry(desc, n + 1, name, type, typmod, 0);
	TupleDescInitEntryCollation(desc, n + 1, collation);
}

/* Columns c1, ... of the plan from place `first` on. */
static void
add_columns(const MergePlan *plan, TupleDesc desc, int first, bool companions)
{
	int			p = 0;

	for (int i = 0; i < plan->ncolumns; i++)
	{
		const MergeColumn *c = &plan->columns[i];

		add_entry(desc, first + i, psprintf("c%d", i + 1), c->type, c->typmod, c->collation);
		if (companions && c->companion != NULL)
		{
			add_entry(desc, first + plan->ncolumns + p, psprintf("p%d", p + 1),
					  c->type, c->typmod, c->collation);
			p++;
		}
	}
	TupleDescFinalize(desc);
}

static void
add_sequence(const MergePlan *plan, TupleDesc desc, int n)
{
	const MergeColumn *c = plan->event[EVENT_SEQUENCE];

	add_entry(desc, n, "seq", c ? c->type : INT8OID, c ? c->typmod : -1,
			  c ? c->collation : InvalidOid);
}

static int
count_companions(const MergePlan *plan)
{
	int			n = 0;

	for (int i = 0; i < plan->ncolumns; i++)
		n += plan->columns[i].companion != NULL;
	return n;
}

/* Set how the rows of the replay's stores look; see the layouts in events.h. */
void
pipeline_scd_event_descs(Replay *r)
{
	MergePlan  *plan = r->plan;

	r->batch_desc = CreateTemplateTupleDesc(BATCH_FIRST + plan->ncolumns);
	add_entry(r->batch_desc, BATCH_N, "n", INT8OID, -1, InvalidOid);
	add_entry(r->batch_desc, BATCH_AT, "at", TIMESTAMPTZOID, -1, InvalidOid);
	add_sequence(plan, r->batch_desc, BATCH_SEQUENCE);
	add_entry(r->batch_desc, BATCH_DELETE, "del", BOOLOID, -1, InvalidOid);
	add_columns(plan, r->batch_desc, BATCH_FIRST, false);

	r->version_desc = CreateTemplateTupleDesc(VERSION_FIRST + plan->ncolumns + count_companions(plan));
	add_entry(r->version_desc, VERSION_REL, "rel", OIDOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_TID, "tid", TIDOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_FROM, "valid_from", TIMESTAMPTZOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_TO, "valid_to", TIMESTAMPTZOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_OPEN, "open", BOOLOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_DELETED, "deleted", BOOLOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_REASON, "reason", TEXTOID, -1, DEFAULT_COLLATION_OID);
	add_entry(r->version_desc, VERSION_UPDATED, "updated", TIMESTAMPTZOID, -1, InvalidOid);
	add_entry(r->version_desc, VERSION_SHRINKS, "shrinks", BOOLOID, -1, InvalidOid);
	add_columns(plan, r->version_desc, VERSION_FIRST, true);

	r->gone_desc = CreateTemplateTupleDesc(3);
	add_entry(r->gone_desc, 0, "rel", OIDOID, -1, InvalidOid);
	add_entry(r->gone_desc, 1, "tid", TIDOID, -1, InvalidOid);
	add_entry(r->gone_desc, 2, "event", BOOLOID, -1, InvalidOid);
	TupleDescFinalize(r->gone_desc);

	r->event_desc = CreateTemplateTupleDesc(EVENT_ROW_FIRST + plan->ncolumns);
	add_entry(r->event_desc, EVENT_ROW_AT, "at", TIMESTAMPTZOID, -1, InvalidOid);
	add_sequence(plan, r->event_desc, EVENT_ROW_SEQUENCE);
	add_entry(r->event_desc, EVENT_ROW_DELETE, "del", BOOLOID, -1, InvalidOid);
	add_columns(plan, r->event_desc, EVENT_ROW_FIRST, false);
}
