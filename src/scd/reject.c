/*
 * reject.c
 *	  Rows that cannot be used, kept with their reason.
 *
 * They are made into JSON as the owner, since that may call casts of the
 * user's types, and written as the extension.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "scd/scd.h"

/* Make the rejects into JSON, each with its reason.  As the owner. */
void
pipeline_scd_rejects_to_json(const MergePlan *plan, MergeDelta *delta)
{
	StringInfoData sql;
	DestReceiver *receiver;

	delta->reject_json = tuplestore_begin_heap(false, false, work_mem);
	if (tuplestore_tuple_count(delta->reject) == 0)
		return;
	pipeline_scd_delta_register(REJECT_ROWS, delta->reject_desc, delta->reject);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT pg_catalog.to_jsonb(r.*), CASE");
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, " WHEN r.%s IS NOT DISTINCT FROM NULL THEN %s",
						 quote_identifier(plan->columns[i].name),
						 quote_literal_cstr(psprintf("business key column \"%s\" is null",
													 plan->columns[i].name)));
	appendStringInfoString(&sql, " END::pg_catalog.text FROM " REJECT_ROWS " r");
	receiver = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(receiver, delta->reject_json,
									CurrentMemoryContext, true, NULL, NULL);
	pipeline_scd_stream(sql.data, receiver);
	(void) SPI_unregister_relation(REJECT_ROWS);
}

/* Write them, after the row of their merge. */
void
pipeline_scd_keep_rejects(const MergePlan *plan, const MergeDelta *delta,
						  Oid owner)
{
	UserScope	scope;
	TupleDesc	desc;

	if (tuplestore_tuple_count(delta->reject_json) == 0)
		return;
	desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(desc, 1, "content", JSONBOID, -1, 0);
	TupleDescInitEntry(desc, 2, "reason", TEXTOID, -1, 0);
	TupleDescFinalize(desc);
	pipeline_scd_delta_register(REJECT_JSON, desc, delta->reject_json);
	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.rejects (merge_id, dimension, owner, row, reason)"
				 " SELECT $1, $2, $3, r.content, r.reason FROM " REJECT_JSON " r",
				 SPI_OK_INSERT, sql_int8(plan->merge_id),
				 sql_regclass(plan->dimension->relid), sql_role(owner));
	pipeline_scope_end(&scope);
}
