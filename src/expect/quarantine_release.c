/*
 * quarantine_release.c
 *	  repair_quarantined and release_quarantine.
 *
 * The rows that are held are checked again as if they stood in the target
 * (release_judges.c).  Those that pass are inserted there, if they were moved
 * or a table was named, and count as released; the others stay.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "expect/quarantine_release.h"

/* The suite of a validation, with its owner's rights checked. */
static Suite *
suite_of(int64 validation_id, Jsonb **parameters)
{
	UserScope	scope;
	char	   *name;
	Datum		value;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT suite, parameters FROM pipeline.validations WHERE validation_id = $1", SPI_OK_SELECT,
					 sql_int8(validation_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("validation %lld does not exist", (long long) validation_id),
				 errhint("The table pipeline.validations lists yours.")));
	name = pipeline_sql_text(0, 1);
	value = pipeline_sql_datum(0, 2, &isnull);
	*parameters = isnull ? NULL : DatumGetJsonbPCopy(value);
	pipeline_scope_end(&scope);
	return pipeline_suite(name, false, true);
}

/* The columns of the target as a list to take a row of JSON apart by. */
static char *
record_columns(const Source *source)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < source->columns->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->columns, i);

		appendStringInfo(&buf, "%s%s %s", i ? ", " : "", quote_identifier(NameStr(att->attname)),
						 format_type_with_typemod(att->atttypid, att->atttypmod));
	}
	return buf.data;
}

/* The rows that are held, with their numbers, as a target. */
static char *
held_rows(const Release *r, const ScanTarget *target)
{
	return psprintf("(SELECT q.quarantine_id AS \"?id\", q.moved AS \"?moved\", x.* FROM pipeline.quarantined_rows AS q,"
					" pg_catalog.jsonb_to_record(q.\"row\") AS x(%s)"
					" WHERE q.validation_id OPERATOR(pg_catalog.=) " INT64_FORMAT " AND q.released_at IS NULL)",
					record_columns(target->source), r->validation_id);
}

/* A query of the numbers of the rows that may go. */
static char *
passing(Release *r, const ScanTarget *target, const char *held, const List *checks)
{
	List	   *members;
	List	   *calls = pipeline_unexpected_calls(target, checks, &members);
	StringInfoData columns;
	StringInfoData none;
	ListCell   *lc;

	initStringInfo(&columns);
	initStringInfo(&none);
	foreach(lc, calls)
	{
		appendStringInfo(&columns, ", %s AS \"?f%d\"", (char *) lfirst(lc), foreach_current_index(lc));
		appendStringInfo(&none, " AND s.\"?f%d\" IS NULL", foreach_current_index(lc));
	}
	return psprintf("SELECT s.\"?id\", s.\"?moved\" FROM (SELECT %s.\"?id\", %s.\"?moved\"%s FROM %s AS %s) AS s WHERE true%s",
					target->alias, target->alias, columns.data, held, target->alias, none.data);
}

/* The columns that an INSERT may name. */
static char *
insertable(Oid relid, const Source *source)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < source->columns->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(source->columns, i)->attname);
		AttrNumber	attnum = get_attnum(relid, name);

		if (attnum != InvalidAttrNumber && get_attgenerated(relid, attnum) == '\0')
			appendStringInfo(&buf, "%s%s", buf.len ? ", " : "", quote_identifier(name));
	}
	return buf.data;
}

/* Insert rows by their numbers; returns how many. */
static int64
insert_rows(const Release *r, const ScanTarget *target, const char *held, ArrayType *ids)
{
	Oid			type = INT8ARRAYOID;
	Datum		value = PointerGetDatum(ids);
	char	   *columns = insertable(r->into, target->source);

	if (SPI_execute_with_args(psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS h"
									   " WHERE h.\"?id\" OPERATOR(pg_catalog.=) ANY ($1) ORDER BY h.\"?id\"",
									   pipeline_qualified_name(r->into), columns, columns, held),
							  1, &type, &value, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "rows of the quarantine could not be inserted");
	return SPI_processed;
}

/* Release what passes, as the owner of the suite. */
static ArrayType *
release(Release *r)
{
	UserScope	scope;
	ScanTarget *target;
	char	   *held;
	char	   *sql;
	Datum	   *all;
	Datum	   *go;
	int			n = 0;
	ArrayType  *ids;
	List	   *checks = r->recheck ? pipeline_suite_checks(r->suite, r->parameters, false) : NIL;

	pipeline_user_begin(&scope, r->suite->owner, r->suite->search_path);
	target = pipeline_open_target(r->suite->target, NULL);
	/* What was moved goes back to where it was. */
	if (!r->everything)
		r->into = target->source->relid;
	held = held_rows(r, target);
	sql = r->recheck ? passing(r, target, held, pipeline_release_judges(r, target, checks, held)) :
		psprintf("SELECT h.\"?id\", h.\"?moved\" FROM %s AS h", held);
	pipeline_sql_generated(sql, SPI_OK_SELECT, false);
	r->released = SPI_processed;
	all = palloc_array(Datum, SPI_processed + 1);
	go = palloc_array(Datum, SPI_processed + 1);
	for (uint64 i = 0; i < r->released; i++)
	{
		all[i] = Int64GetDatum(pipeline_sql_int8(i, 1));
		if (r->everything || pipeline_sql_bool(i, 2))
			go[n++] = all[i];
	}
	SPI_freetuptable(SPI_tuptable);
	ids = construct_array(all, (int) r->released, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	if (OidIsValid(r->into) && n > 0)
		r->inserted = insert_rows(r, target, held,
								  construct_array(go, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	pipeline_scope_end(&scope);
	return ids;
}

PG_FUNCTION_INFO_V1(pipeline_release_quarantine);

/* SQL: release_quarantine(validation_id, into_table, recheck) */
Datum
pipeline_release_quarantine(PG_FUNCTION_ARGS)
{
	Release		r = {0};
	UserScope	scope;
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {0};
	ArrayType  *ids;
	instr_time	start;
	instr_time	now;

	pipeline_not_null(fcinfo, 0, "validation_id");
	pipeline_not_null(fcinfo, 2, "recheck");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	INSTR_TIME_SET_CURRENT(start);
	r.validation_id = PG_GETARG_INT64(0);
	r.into = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
	r.recheck = PG_GETARG_BOOL(2);
	SPI_connect();
	r.suite = suite_of(r.validation_id, &r.parameters);
	r.everything = !PG_ARGISNULL(1);
	ids = release(&r);
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.quarantined_rows SET released_at = clock_timestamp(),"
				 " released_into = CASE WHEN moved OR $3 THEN $2::regclass::text END WHERE quarantine_id = ANY ($1)",
				 SPI_OK_UPDATE, sql_datum(INT8ARRAYOID, PointerGetDatum(ids), false), sql_regclass(r.into),
				 sql_bool(!PG_ARGISNULL(1)));
	pipeline_sql("SELECT count(*) FROM pipeline.quarantined_rows WHERE validation_id = $1 AND released_at IS NULL",
				 SPI_OK_SELECT, sql_int8(r.validation_id));
	values[1] = Int64GetDatum(pipeline_sql_int8(0, 1));
	pipeline_scope_end(&scope);
	SPI_finish();
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	values[0] = Int64GetDatum(r.released);
	values[2] = Int64GetDatum(r.inserted);
	values[3] = Float8GetDatum(INSTR_TIME_GET_MILLISEC(now));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(pipeline_repair_quarantined);

/* SQL: repair_quarantined(quarantine_id, changes) */
Datum
pipeline_repair_quarantined(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	Jsonb	   *changes;
	Jsonb	   *before;
	Jsonb	   *after;
	char	   *suite;
	bool		isnull;
	int64		id;

	pipeline_not_null(fcinfo, 0, "quarantine_id");
	pipeline_not_null(fcinfo, 1, "changes");
	id = PG_GETARG_INT64(0);
	changes = pipeline_arg_jsonb(fcinfo, 1);
	if (!JB_ROOT_IS_OBJECT(changes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"changes\" must be a JSON object")));
	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT suite, \"row\", \"row\" || $2, (SELECT string_agg(k, ', ') FROM jsonb_object_keys($2) AS k WHERE NOT \"row\" ? k)"
					 " FROM pipeline.quarantined_rows WHERE quarantine_id = $1 AND released_at IS NULL FOR UPDATE",
					 SPI_OK_SELECT, sql_int8(id), sql_jsonb(changes)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no row %lld is held in the quarantine", (long long) id),
				 errhint("The table pipeline.quarantined_rows lists yours.")));
	suite = pipeline_sql_text(0, 1);
	before = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 3, &isnull));
	if (pipeline_sql_text(0, 4) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the row has no column %s", pipeline_sql_text(0, 4)),
				 errhint("The keys of argument \"changes\" are columns of the target.")));
	pipeline_scope_end(&scope);
	(void) pipeline_suite(suite, false, false);
	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.quarantined_rows SET \"row\" = $2, repaired_at = clock_timestamp() WHERE quarantine_id = $1",
				 SPI_OK_UPDATE, sql_int8(id), sql_jsonb(after));
	pipeline_scope_end(&scope);
	pipeline_record_change("repair_quarantined", "quarantined row", psprintf("%s/%lld", suite, (long long) id),
						   before, after, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
