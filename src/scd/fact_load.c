/*
 * fact_load.c
 *	  load_fact() and repair_fact().
 *
 * A load reads the source once into a delta, makes inferred members, looks
 * every member up at the time of the fact, and writes by the mode.  It holds
 * ShareRowExclusiveLock on the fact: loads of one fact follow each other.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/leaves.h"
#include "scd/fact_load.h"

PG_FUNCTION_INFO_V1(pipeline_load_fact);
PG_FUNCTION_INFO_V1(pipeline_repair_fact);

/* ---- making ready --------------------------------------------------------------- */

/* SQL of a column of the source in the delta that the lookups read. */
char *
pipeline_scd_delta_column(void *arg, const char *column)
{
	FactLoad   *load = arg;

	return psprintf("f.s%d", pipeline_source_column(load->source, column, "source"));
}

/* SQL of a column of the source in the fact itself. */
static char *
table_column(void *arg, const char *column)
{
	return psprintf("f.%s", quote_identifier(column));
}

static void
init_load(FactLoad *load)
{
	TupleDesc	columns = load->source->columns;

	load->ncolumns = columns->natts;
	load->nlookups = list_length(load->fact->lookups);
	load->columns = palloc0_array(MergeColumn, load->ncolumns);
	load->source_desc = CreateTemplateTupleDesc(load->ncolumns);
	load->desc = CreateTemplateTupleDesc(3 + load->ncolumns + load->nlookups);
	TupleDescInitEntry(load->desc, 1, "n", INT8OID, -1, 0);
	TupleDescInitEntry(load->desc, 2, "reason", TEXTOID, -1, 0);
	TupleDescInitEntry(load->desc, 3, "unknown", INT4OID, -1, 0);
	for (int i = 0; i < load->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(columns, i);
		MergeColumn *c = &load->columns[i];

		c->name = pstrdup(NameStr(att->attname));
		c->type = att->atttypid;
		c->collation = att->attcollation;
		pipeline_scd_column_init(c);
		TupleDescInitEntry(load->source_desc, i + 1, psprintf("s%d", i + 1), att->atttypid, att->atttypmod, 0);
		TupleDescInitEntryCollation(load->source_desc, i + 1, att->attcollation);
		TupleDescInitEntry(load->desc, 4 + i, psprintf("s%d", i + 1), att->atttypid, att->atttypmod, 0);
		TupleDescInitEntryCollation(load->desc, 4 + i, att->attcollation);
	}
	for (int i = 0; i < load->nlookups; i++)
		TupleDescInitEntry(load->desc, 4 + load->ncolumns + i, psprintf("k%d", i + 1), INT8OID, -1, 0);
	TupleDescFinalize(load->source_desc);
	TupleDescFinalize(load->desc);
}

/* Run a query into a delta. */
static Tuplestorestate *
stream_rows(const char *sql)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *receiver = CreateTuplestoreDestReceiver();

	SetTuplestoreDestReceiverParams(receiver, store, CurrentMemoryContext, true, NULL, NULL);
	pipeline_scd_stream(sql, receiver);
	return store;
}

/* ---- reading --------------------------------------------------------------------- */

/* Read the source, and fingerprint it where it is a batch. */
static void
read_source(FactLoad *load, bool batch)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < load->ncolumns; i++)
		appendStringInfo(&sql, "%s x.%s", i ? "," : "SELECT", quote_identifier(load->columns[i].name));
	appendStringInfo(&sql, " FROM %s AS x", load->source->from);
	load->source_rows = stream_rows(sql.data);
	load->rows_read = tuplestore_tuple_count(load->source_rows);
	pipeline_scd_delta_register(SOURCE_ROWS, load->source_desc, load->source_rows);
	if (!batch)
		return;
	(void) pipeline_sql_generated("SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(f::pg_catalog.text, 0)::pg_catalog.numeric))"
								  " FROM " SOURCE_ROWS " f", SPI_OK_SELECT, false);
	load->content = pipeline_sql_text(0, 1);
}

/* SQL: why a row cannot be used; NULL if it can. */
static char *
reason_sql(const FactLoad *load)
{
	StringInfoData sql;
	bool		any = false;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "CASE");
	for (int i = 0; i < list_length(load->fact->fact_key); i++)
	{
		const char *column = list_nth(load->fact->fact_key, i);

		appendStringInfo(&sql, " WHEN %s IS NOT DISTINCT FROM NULL THEN %s",
						 pipeline_scd_delta_column(unconstify(FactLoad *, load), column),
						 quote_literal_cstr(psprintf("fact key column \"%s\" is null", column)));
		any = true;
	}
	if (load->fact->event_time != NULL && strcmp(load->fact->mode, "replace_interval") == 0)
	{
		appendStringInfo(&sql, " WHEN %s IS NULL THEN %s",
						 pipeline_scd_delta_column(unconstify(FactLoad *, load), load->fact->event_time),
						 quote_literal_cstr(psprintf("event time \"%s\" is null", load->fact->event_time)));
		any = true;
	}
	for (int i = 0; i < load->nlookups; i++)
	{
		const Lookup *lookup = list_nth(load->fact->lookups, i);

		if (!LOOKUP_REJECTS(lookup))
			continue;
		appendStringInfo(&sql, " WHEN %s IS NULL THEN %s", pipeline_scd_lookup_value(lookup, i),
						 quote_literal_cstr(psprintf("no member of dimension %s for \"%s\"",
													 lookup->dimension->name, lookup->column)));
		any = true;
	}
	appendStringInfoString(&sql, " END");
	return any ? sql.data : "NULL::pg_catalog.text";
}

/* SQL: the surrogate key to store. */
static char *
stored_key(const Lookup *lookup, int n)
{
	return lookup->dimension->unknown_member ?
		psprintf("COALESCE(%s, %d)", pipeline_scd_lookup_value(lookup, n), UNKNOWN_MEMBER) :
		pipeline_scd_lookup_value(lookup, n);
}

/* Make inferred members, then look every member up. */
static void
look_up(FactLoad *load)
{
	StringInfoData sql;
	StringInfoData unknown;

	for (int i = 0; i < load->nlookups; i++)
	{
		const Lookup *lookup = list_nth(load->fact->lookups, i);

		if (LOOKUP_INFERS(lookup))
			pipeline_scd_infer(lookup, i, SOURCE_ROWS, pipeline_scd_delta_column, load, load->load_id, &load->inferred);
	}
	initStringInfo(&sql);
	initStringInfo(&unknown);
	for (int i = 0; i < load->nlookups; i++)
		appendStringInfo(&unknown, "%s(%s IS NULL)::pg_catalog.int4", i ? " OPERATOR(pg_catalog.+) " : "",
						 pipeline_scd_lookup_value(list_nth(load->fact->lookups, i), i));
	appendStringInfo(&sql, "SELECT f.n, %s, %s", reason_sql(load),
					 load->nlookups ? unknown.data : "0");
	for (int i = 0; i < load->ncolumns; i++)
		appendStringInfo(&sql, ", f.s%d", i + 1);
	for (int i = 0; i < load->nlookups; i++)
		appendStringInfo(&sql, ", %s", stored_key(list_nth(load->fact->lookups, i), i));
	appendStringInfo(&sql, " FROM (SELECT pg_catalog.row_number() OVER () AS n, r.* FROM " SOURCE_ROWS " r) f%s",
					 pipeline_scd_lookup_joins(load->fact->lookups, pipeline_scd_delta_column, load));
	load->rows = stream_rows(sql.data);
	pipeline_scd_delta_register(FACT_ROWS, load->desc, load->rows);
	if (tuplestore_tuple_count(load->rows) != load->rows_read)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("a fact met two versions of one member"),
				 errdetail("%lld rows of the source of fact %s became %lld.", (long long) load->rows_read,
						   load->fact->name, (long long) tuplestore_tuple_count(load->rows)),
				 errhint("Versions of one key overlap: somebody else wrote to the dimension.")));
	(void) pipeline_sql_generated("SELECT pg_catalog.count(r.reason), COALESCE(pg_catalog.sum(r.unknown) FILTER (WHERE r.reason IS NULL), 0) FROM " FACT_ROWS " r",
								  SPI_OK_SELECT, false);
	load->rejected = pipeline_sql_int8(0, 1);
	load->unknown = pipeline_sql_int8(0, 2);
}

/* ---- what is kept ----------------------------------------------------------------- */

/* The row of the load among the merges. */
static void
record_load(const FactLoad *load, const char *feed, const char *batch_id)
{
	const TaskContext *task = pipeline_task_context();
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.merges (merge_id, dimension, owner, source, feed, path, effective,"
				 " batch_id, content, started_at, success, rows_read, inserted, versioned, updated_type1,"
				 " reopened, late, deleted, unchanged, duplicate, rejected, closed, missing, hot_updates,"
				 " read_ms, write_ms, total_ms, pipeline, task, run_id) OVERRIDING SYSTEM VALUE"
				 " VALUES ($1, $2, $3, $4, $5, 'executor', $6, $7, $8, $6, true, $9, $10, 0, $11, 0, 0, 0,"
				 " $12, $13, $14, 0, 0, 0, 0, 0, $15, $16, $17, $18)", SPI_OK_INSERT,
				 sql_int8(load->load_id), sql_regclass(load->fact->relid), sql_role(load->fact->owner),
				 sql_text(load->fact->source), sql_text(feed), sql_time(load->started),
				 sql_text(batch_id), sql_text(load->content), sql_int8(load->rows_read),
				 sql_int8(load->inserted), sql_int8(load->updated), sql_int8(load->unchanged),
				 sql_int8(load->duplicate), sql_int8(load->rejected), sql_float8(pipeline_scd_elapsed_ms(load->start)),
				 sql_text(task ? task->pipeline : NULL), sql_text(task ? task->task : NULL),
				 sql_datum(INT8OID, Int64GetDatum(task ? task->run_id : 0), task == NULL));
	pipeline_scope_end(&scope);
}

/* Make the rejects into JSON, as the owner. */
static Tuplestorestate *
reject_rows(const FactLoad *load)
{
	StringInfoData sql;

	if (load->rejected == 0)
		return NULL;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT pg_catalog.to_jsonb(x.*) OPERATOR(pg_catalog.-) '" REJECT_REASON "'::pg_catalog.text, x.\"" REJECT_REASON "\" FROM (SELECT ");
	for (int i = 0; i < load->ncolumns; i++)
		appendStringInfo(&sql, "r.s%d AS %s, ", i + 1, quote_identifier(load->columns[i].name));
	appendStringInfoString(&sql, "r.reason AS \"" REJECT_REASON "\" FROM " FACT_ROWS " r WHERE r.reason IS NOT NULL) x");
	return stream_rows(sql.data);
}

static Datum
fact_result(FunctionCallInfo fcinfo, const FactLoad *load, int64 load_id)
{
	Datum		values[] = {
		BoolGetDatum(true), Int64GetDatum(load_id), Int64GetDatum(load->rows_read),
		Int64GetDatum(load->inserted), Int64GetDatum(load->updated),
		Int64GetDatum(load->unchanged), Int64GetDatum(load->duplicate),
		Int64GetDatum(load->rejected), Int64GetDatum(load->unknown),
		Int64GetDatum(load->inferred), Int64GetDatum(load->removed),
		Float8GetDatum(pipeline_scd_elapsed_ms(load->start))
	};
	bool		nulls[lengthof(values)] = {false};
	TupleDesc	desc;

	if (load->rows_read != load->inserted + load->updated + load->unchanged + load->duplicate + load->rejected)
		elog(ERROR, "the counts of a load do not add up: %lld rows", (long long) load->rows_read);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ---- entry points ----------------------------------------------------------------- */

/* Find the definition, lock the table, and find it again. */
static void
open_load(FactLoad *load, Oid relid)
{
	INSTR_TIME_SET_CURRENT(load->start);
	load->fact = pipeline_scd_find_fact(relid, false);
	pipeline_check_owner(load->fact->owner, "fact", load->fact->name);
	pipeline_lock_with_partitions(relid, ShareRowExclusiveLock);
	load->fact = pipeline_scd_find_fact(relid, false);
	pipeline_check_owner(load->fact->owner, "fact", load->fact->name);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table of fact %s does not exist", load->fact->name),
				 errhint("It was dropped; use drop_fact('%u').", relid)));
	pipeline_scd_check_snapshot(relid, "fact", load->fact->name);
	load->started = GetCurrentTimestamp();
}

/* Was the batch loaded before?  Other content is an error. */
static int64
seen_before(const FactLoad *load, const char *batch_id)
{
	char	   *content;
	int64		rows;
	TimestampTz effective;
	int64		seen = pipeline_scd_seen_batch(load->fact->relid, batch_id, &content, &rows, &effective);

	if (seen != 0 && strcmp(content, load->content) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("batch \"%s\" was loaded into fact %s before, with other content",
						batch_id, load->fact->name),
				 errdetail("It was load %lld, with %lld rows; now it has %lld rows.",
						   (long long) seen, (long long) rows, (long long) load->rows_read),
				 errhint("Give the new content a batch_id of its own.")));
	return seen;
}

/* SQL: load_fact(fact regclass, batch_id text). */
Datum
pipeline_load_fact(PG_FUNCTION_ARGS)
{
	FactLoad	load = {0};
	char	   *batch_id = pipeline_arg_text(fcinfo, 1);
	int64		seen = 0;
	Tuplestorestate *rejects;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "fact");
	if (batch_id != NULL)
		pipeline_check_name("batch", batch_id);
	SPI_connect();
	open_load(&load, PG_GETARG_OID(0));
	if (strcmp(load.fact->mode, "append") == 0 && load.fact->fact_key == NIL && batch_id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fact %s has no \"fact_key\": a load needs argument \"batch_id\"", load.fact->name),
				 errhint("Without either, loading the same rows again would add them again.")));
	pipeline_user_begin(&scope, load.fact->owner, load.fact->search_path);
	load.source = pipeline_source(load.fact->source, "source");
	load.fact->lookups = pipeline_scd_lookups(load.fact->lookups_json);
	pipeline_scd_check_lookups(load.fact, load.source);
	init_load(&load);
	read_source(&load, batch_id != NULL);
	pipeline_scope_end(&scope);
	if (batch_id != NULL)
		seen = seen_before(&load, batch_id);
	if (seen != 0)
	{
		ereport(NOTICE,
				(errmsg("batch \"%s\" was loaded into fact %s before, as load %lld: skipped",
						batch_id, load.fact->name, (long long) seen)));
		load.duplicate = load.rows_read;
		tuplestore_end(load.source_rows);
		SPI_finish();
		return fact_result(fcinfo, &load, seen);
	}
	load.load_id = pipeline_scd_next_merge();
	pipeline_user_begin(&scope, load.fact->owner, load.fact->search_path);
	look_up(&load);
	pipeline_scd_write_facts(&load);
	rejects = reject_rows(&load);
	pipeline_scope_end(&scope);
	record_load(&load, "fact", batch_id);
	if (rejects != NULL)
	{
		pipeline_scd_keep_reject_rows(load.load_id, load.fact->relid, load.fact->owner, rejects);
		tuplestore_end(rejects);
	}
	tuplestore_end(load.source_rows);
	tuplestore_end(load.rows);
	SPI_finish();
	return fact_result(fcinfo, &load, load.load_id);
}

/* "AND one of the members was written by a merge from `since` on" */
static char *
since_condition(const FactLoad *load, int64 since)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < load->nlookups; i++)
	{
		const Lookup *lookup = list_nth(load->fact->lookups, i);

		if (lookup->dimension->names[META_MERGE_ID] == NULL)
			return "";
		appendStringInfo(&sql, "%sEXISTS (SELECT 1 FROM %s x WHERE %s AND x.%s OPERATOR(pg_catalog.>=) %lld)",
						 i ? " OR " : "", lookup->dimension->name,
						 pipeline_scd_lookup_key(lookup, "x", table_column, NULL),
						 quote_identifier(lookup->dimension->names[META_MERGE_ID]), (long long) since);
	}
	return psprintf(" AND (%s)", sql.data);
}

/* SQL: repair_fact(fact regclass, since_merge bigint). */
Datum
pipeline_repair_fact(PG_FUNCTION_ARGS)
{
	FactLoad	load = {0};
	StringInfoData found;
	StringInfoData set;
	StringInfoData differs;
	char	   *since;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "fact");
	SPI_connect();
	open_load(&load, PG_GETARG_OID(0));
	load.load_id = pipeline_scd_next_merge();
	pipeline_user_begin(&scope, load.fact->owner, load.fact->search_path);
	load.source = pipeline_source(load.fact->source, "source");
	load.fact->lookups = pipeline_scd_lookups(load.fact->lookups_json);
	pipeline_scd_check_lookups(load.fact, load.source);
	init_load(&load);
	initStringInfo(&found);
	initStringInfo(&set);
	initStringInfo(&differs);
	for (int i = 0; i < load.nlookups; i++)
	{
		const Lookup *lookup = list_nth(load.fact->lookups, i);
		const char *column = quote_identifier(lookup->column);

		appendStringInfo(&found, ", %s AS k%d", LOOKUP_REJECTS(lookup) ?
						 psprintf("COALESCE(%s, f.%s)", pipeline_scd_lookup_value(lookup, i), column) :
						 stored_key(lookup, i), i + 1);
		appendStringInfo(&set, "%s%s = r.k%d", i ? ", " : "", column, i + 1);
		appendStringInfo(&differs, "%s(", i ? " OR " : "");
		pipeline_scd_append_differs(&differs, psprintf("t.%s", column), psprintf("r.k%d", i + 1), "OPERATOR(pg_catalog.=)");
		appendStringInfoChar(&differs, ')');
	}
	if (load.nlookups > 0)
	{
		since = PG_ARGISNULL(1) ? "" : since_condition(&load, PG_GETARG_INT64(1));
		(void) pipeline_sql_generated(psprintf("SELECT pg_catalog.count(*) FROM %s f WHERE true%s", load.fact->name, since),
									  SPI_OK_SELECT, false);
		load.rows_read = pipeline_sql_int8(0, 1);
		load.updated = (int64) pipeline_sql_generated(psprintf("UPDATE %s AS t SET %s FROM (SELECT f.ctid AS tid, f.tableoid AS rel%s FROM %s f%s WHERE true%s) r"
										  " WHERE t.ctid OPERATOR(pg_catalog.=) r.tid AND t.tableoid OPERATOR(pg_catalog.=) r.rel AND (%s)",
										  load.fact->name, set.data, found.data, load.fact->name,
										  pipeline_scd_lookup_joins(load.fact->lookups, table_column, NULL),
										  since, differs.data), SPI_OK_UPDATE, false);
		load.unchanged = load.rows_read - load.updated;
	}
	pipeline_scope_end(&scope);
	record_load(&load, "repair", NULL);
	SPI_finish();
	return fact_result(fcinfo, &load, load.load_id);
}
