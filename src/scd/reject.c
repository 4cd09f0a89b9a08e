/*
 * reject.c
 *	  Rows that cannot be used, kept with their reason.
 *
 * They are made into JSON as the owner, since that may call casts of the
 * user's types, and written as the extension.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "scd/scd.h"

/* Describe the rejects: the columns of the source, and the reason. */
void
pipeline_scd_reject_init(const MergePlan *plan, MergeDelta *delta)
{
	AttrNumber	n = 0;
	int			most = plan->ncolumns + EVENT_COLUMNS + 1;
	TupleDesc	desc = CreateTemplateTupleDesc(most);

	for (int i = 0; i < plan->ncolumns; i++)
	{
		TupleDescInitEntry(desc, ++n, plan->columns[i].name,
						   plan->columns[i].type, plan->columns[i].typmod, 0);
		TupleDescInitEntryCollation(desc, n, plan->columns[i].collation);
	}
	for (int i = 0; i < EVENT_COLUMNS; i++)
	{
		const MergeColumn *column = plan->event[i];

		/* Its name may be that of an attribute, too. */
		TupleDescInitEntry(desc, ++n, column == NULL ? psprintf("pipeline event %d", i) :
						   pipeline_scd_listed(plan->dimension, column->name) ?
						   psprintf("%s (event)", column->name) : column->name,
						   column ? column->type : TEXTOID, column ? column->typmod : -1, 0);
		TupleDescInitEntryCollation(desc, n, column ? column->collation : DEFAULT_COLLATION_OID);
	}
	TupleDescInitEntry(desc, ++n, REJECT_REASON, TEXTOID, -1, 0);
	TupleDescFinalize(desc);
	delta->reject_desc = desc;
	delta->reject = tuplestore_begin_heap(false, false, work_mem);
}

/*
 * Keep a row that cannot be used: values of the key and the attributes, then
 * those of the event columns that the plan has.
 */
void
pipeline_scd_reject(const MergePlan *plan, MergeDelta *delta,
					const Datum *values, const bool *nulls, const char *reason)
{
	int			natts = delta->reject_desc->natts;
	Datum	   *row = palloc0_array(Datum, natts);
	bool	   *isnull = palloc_array(bool, natts);
	int			in = plan->ncolumns;

	memcpy(row, values, plan->ncolumns * sizeof(Datum));
	memcpy(isnull, nulls, plan->ncolumns * sizeof(bool));
	for (int i = 0; i < EVENT_COLUMNS; i++)
	{
		isnull[plan->ncolumns + i] = plan->event[i] == NULL || nulls[in];
		if (plan->event[i] != NULL)
			row[plan->ncolumns + i] = values[in++];
	}
	row[natts - 1] = CStringGetTextDatum(reason);
	isnull[natts - 1] = false;
	tuplestore_putvalues(delta->reject, delta->reject_desc, row, isnull);
}

/* Why a row with these keys cannot be used: NULL if it can. */
const char *
pipeline_scd_null_key(const MergePlan *plan, const bool *nulls)
{
	for (int i = 0; i < plan->nkeys; i++)
	{
		if (nulls[i])
			return psprintf("business key column \"%s\" is null", plan->columns[i].name);
	}
	return NULL;
}

/* Make the rejects into JSON, each with its reason.  As the owner. */
void
pipeline_scd_rejects_to_json(const MergePlan *plan, MergeDelta *delta)
{
	DestReceiver *receiver;

	delta->reject_json = tuplestore_begin_heap(false, false, work_mem);
	if (tuplestore_tuple_count(delta->reject) == 0)
		return;
	pipeline_scd_delta_register(REJECT_ROWS, delta->reject_desc, delta->reject);
	receiver = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(receiver, delta->reject_json,
									CurrentMemoryContext, true, NULL, NULL);
	pipeline_scd_stream("SELECT pg_catalog.to_jsonb(r.*) OPERATOR(pg_catalog.-)"
						" '{" REJECT_REASON ",pipeline event 0,pipeline event 1,pipeline event 2}'::pg_catalog.text[],"
						" r.\"" REJECT_REASON "\" FROM " REJECT_ROWS " r", receiver);
	(void) SPI_unregister_relation(REJECT_ROWS);
}

/* Write rows (document, reason), after the row of their merge. */
void
pipeline_scd_keep_reject_rows(int64 merge_id, Oid relid, Oid owner,
							  Tuplestorestate *rows)
{
	UserScope	scope;
	TupleDesc	desc;

	if (tuplestore_tuple_count(rows) == 0)
		return;
	desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(desc, 1, "content", JSONBOID, -1, 0);
	TupleDescInitEntry(desc, 2, "reason", TEXTOID, -1, 0);
	TupleDescFinalize(desc);
	pipeline_scd_delta_register(REJECT_JSON, desc, rows);
	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.rejects (merge_id, dimension, owner, row, reason)"
				 " SELECT $1, $2, $3, r.content, r.reason FROM " REJECT_JSON " r",
				 SPI_OK_INSERT, sql_int8(merge_id), sql_regclass(relid), sql_role(owner));
	pipeline_scope_end(&scope);
}

/* Write those of a merge. */
void
pipeline_scd_keep_rejects(const MergePlan *plan, const MergeDelta *delta,
						  Oid owner)
{
	pipeline_scd_keep_reject_rows(plan->merge_id, plan->dimension->relid, owner,
								  delta->reject_json);
}
