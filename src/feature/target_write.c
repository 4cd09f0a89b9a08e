/*
 * target_write.c
 *	  Make the target equal to what was computed.
 *
 * Without a key of the spine, the rows of the interval are deleted and written.
 * With one, rows that are the same, to the byte, stay as they are: what is
 * no more, or is another, is deleted, and what is missing is inserted.  After
 * an incremental computation, rows that were not computed stay too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/queryenvironment.h"

#include "feature/refresh.h"

#define ROWS TARGET_ROWS

static int64
run_with_times(const char *sql, int expected, const FeatureRange *range)
{
	const TimestampTz *times[3] = {range->from_time, range->to_time, range->as_of};
	Oid			types[3];
	Datum		values[3];
	char		nulls[4] = "   ";
	int			rc;

	for (int i = 0; i < 3; i++)
	{
		types[i] = TIMESTAMPTZOID;
		values[i] = times[i] ? TimestampTzGetDatum(*times[i]) : (Datum) 0;
		nulls[i] = times[i] ? ' ' : 'n';
	}
	rc = SPI_execute_with_args(sql, 3, types, values, nulls, false, 0);

	if (rc != expected)
		elog(ERROR, "statement for a target returned %s", SPI_result_code_string(rc));
	return (int64) SPI_processed;
}

static void
append_bound(StringInfo sql, const Refresh *refresh, const char *time,
			 const char *operator, const TimestampTz *bound, int parameter)
{
	appendStringInfo(sql, " AND target.%s OPERATOR(pg_catalog.%s) ", time, operator);
	if (refresh->plan->epoch)
		appendStringInfo(sql, "'%lld'::pg_catalog.int8",
						 (long long) feature_epoch(*bound, true));
	else
		appendStringInfo(sql, "$%d", parameter);
}

/* Let statements read the rows, under the name of ROWS. */
void
target_register_rows(TupleDesc desc, Tuplestorestate *rows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = ROWS;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) tuplestore_tuple_count(rows);
	relation->reldata = rows;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows of a refresh");
}

/* The columns from `first` on, with a prefix, in a list. */
char *
target_column_list(TupleDesc desc, int first, const char *prefix)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = first; i < desc->natts; i++)
		appendStringInfo(&columns, "%s%s%s", i > first ? ", " : "", prefix,
						 quote_identifier(NameStr(TupleDescAttr(desc, i)->attname)));
	return columns.data;
}

/* Is it the same row of the spine? */
static char *
same_key(const Refresh *refresh)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, refresh->set->spine_key)
	{
		const char *name = quote_identifier(lfirst(lc));

		appendStringInfo(&sql, "%starget.%s OPERATOR(pg_catalog.=) rows.%s",
						 foreach_current_index(lc) ? " AND " : "", name, name);
	}
	return sql.data;
}

/* And is it the same in all columns? */
static char *
same_row(TupleDesc desc, int first)
{
	return psprintf("pg_catalog.record_image_eq(ROW(%s, target.as_of), ROW(%s, $3))",
					target_column_list(desc, first, "target."),
					target_column_list(desc, first, "rows."));
}

/* The rows of the target in the refreshed interval. */
static char *
in_range(const Refresh *refresh)
{
	const char *time = quote_identifier(refresh->plan->event_time);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "(true");
	if (refresh->range.from_time)
		append_bound(&sql, refresh, time, ">=", refresh->range.from_time, 1);
	if (refresh->range.to_time)
		append_bound(&sql, refresh, time, "<", refresh->range.to_time, 2);
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

static int64
delete_rows(const Refresh *refresh)
{
	const char *target = refresh->set->target;
	TupleDesc	desc = refresh->plan->result;
	char	   *sql;

	if (refresh->set->spine_key == NIL)
		sql = psprintf("DELETE FROM %s AS target WHERE %s", target, in_range(refresh));
	else if (refresh->incremental)
		sql = psprintf("DELETE FROM %s AS target USING \"%s\" AS rows WHERE %s AND NOT (%s)",
					   target, ROWS, same_key(refresh), same_row(desc, 0));
	else
		sql = psprintf("DELETE FROM %s AS target WHERE (%s OR EXISTS (SELECT FROM \"%s\" AS rows WHERE %s))"
					   " AND NOT EXISTS (SELECT FROM \"%s\" AS rows WHERE %s AND %s)",
					   target, in_range(refresh), ROWS, same_key(refresh), ROWS,
					   same_key(refresh), same_row(desc, 0));
	return run_with_times(sql, SPI_OK_DELETE, &refresh->range);
}

static int64
insert_rows(const Refresh *refresh, bool all)
{
	const char *target = refresh->set->target;
	char	   *columns = target_column_list(refresh->plan->result, 0, "");
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (%s, as_of) SELECT %s, $3 FROM \"%s\" AS rows",
					 target, columns, columns, ROWS);
	if (!all)
		appendStringInfo(&sql, " WHERE NOT EXISTS (SELECT FROM %s AS target WHERE %s)",
						 target, same_key(refresh));
	return run_with_times(sql.data, SPI_OK_INSERT, &refresh->range);
}

static void
refuse_key(const Refresh *refresh, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("spine_key of feature set \"%s\" does not identify a row of the spine",
					refresh->set->name),
			 errdetail("%s", detail),
			 errhint("Name the columns that do, or take the duplicates out in a query as the spine.")));
}

/* No two rows computed may have one key: one of them would be lost. */
static void
check_key(const Refresh *refresh)
{
	const List *key = refresh->set->spine_key;
	char	   *columns = pipeline_list_join(key, ", ");
	StringInfoData quoted;
	ListCell   *lc;

	initStringInfo(&quoted);
	foreach(lc, key)
		appendStringInfo(&quoted, "%s%s", foreach_current_index(lc) ? ", " : "",
						 quote_identifier(lfirst(lc)));
	if (run_with_times(psprintf("SELECT pg_catalog.concat_ws(', ', %s) FROM \"%s\" AS rows GROUP BY %s"
								" HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 LIMIT 1",
								quoted.data, ROWS, quoted.data),
					   SPI_OK_SELECT, &refresh->range) > 0)
		refuse_key(refresh, psprintf("Key (%s)=(%s) is there more than once.", columns,
									 pipeline_sql_text(0, 1)));
}

/*
 * After an incremental computation, a new row must not have the key of one
 * that was there: only rows that were reached may match rows of the target.
 */
static void
check_matches(const Refresh *refresh)
{
	run_with_times(psprintf("SELECT pg_catalog.count(*) FROM %s AS target, \"%s\" AS rows WHERE %s",
							refresh->set->target, ROWS, same_key(refresh)),
				   SPI_OK_SELECT, &refresh->range);
	if (pipeline_sql_int8(0, 1) != refresh->rows_reached)
		refuse_key(refresh, psprintf("A new row has the key (%s) of one that was there.",
									 pipeline_list_join(refresh->set->spine_key, ", ")));
}

/* Put the changed features into the rows that are there. */
static int64
update_columns(const Refresh *refresh)
{
	TupleDesc	desc = refresh->columns_plan->result;
	int			first = refresh->columns_plan->spine->columns->natts;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS target SET ", refresh->set->target);
	for (int i = first; i < desc->natts; i++)
	{
		const char *name = quote_identifier(NameStr(TupleDescAttr(desc, i)->attname));

		appendStringInfo(&sql, "%s%s = rows.%s", i > first ? ", " : "", name, name);
	}
	appendStringInfo(&sql, " FROM \"%s\" AS rows WHERE %s AND NOT (%s)", ROWS,
					 same_key(refresh), same_row(desc, first));
	return run_with_times(sql.data, SPI_OK_UPDATE, &refresh->range);
}

/* Write what was computed, into a target that is empty if it is new. */
void
target_write(Refresh *refresh, bool is_new)
{
	bool		only_new;

	target_register_rows(refresh->plan->result, refresh->rows);
	if (refresh->set->spine_key != NIL)
		check_key(refresh);
	if (refresh->incremental)
		check_matches(refresh);
	/* None of the rows is there: that was just checked. */
	only_new = is_new || (refresh->incremental && refresh->rows_reached == 0);
	if (!only_new)
		refresh->deleted = delete_rows(refresh);
	refresh->inserted = insert_rows(refresh, only_new || refresh->set->spine_key == NIL);
	SPI_unregister_relation(ROWS);
	if (refresh->columns_plan == NULL)
		return;
	target_register_rows(refresh->columns_plan->result, refresh->columns);
	refresh->updated = update_columns(refresh);
	SPI_unregister_relation(ROWS);
}
