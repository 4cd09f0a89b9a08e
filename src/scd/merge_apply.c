/*
 * merge_apply.c
 *	  Write the deltas: close, overwrite, open.
 *
 * Rows are found by their place (ctid), which nothing can have moved since
 * they were read: the lock keeps other writers out.  Closes come before
 * opens, so that constraints on the table see no overlap.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "scd/scd.h"

/* To fetch a row by its place costs as much as to scan so many, about. */
#define PLACE_COST 2

/* Updates of this transaction that touched no index, so far. */
int64
pipeline_scd_hot_updates(const MergePlan *plan)
{
	List	   *leaves;
	ListCell   *lc;
	int64		n = 0;

	if (!plan->has_leaves)
		return DatumGetInt64(DirectFunctionCall1(pg_stat_get_xact_tuples_hot_updated,
												 ObjectIdGetDatum(plan->dimension->relid)));
	leaves = find_all_inheritors(plan->dimension->relid, NoLock, NULL);
	foreach(lc, leaves)
		n += DatumGetInt64(DirectFunctionCall1(pg_stat_get_xact_tuples_hot_updated,
											   ObjectIdGetDatum(lfirst_oid(lc))));
	return n;
}

/* Has the table no version yet, but for the unknown member? */
bool
pipeline_scd_is_empty(const MergePlan *plan)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT 1 FROM %s t", plan->dimension->name);
	if (plan->dimension->unknown_member)
		appendStringInfo(&sql, " WHERE t.%s OPERATOR(pg_catalog.<>) %d",
						 plan->meta[META_SURROGATE_KEY], UNKNOWN_MEMBER);
	appendStringInfoString(&sql, " LIMIT 1");
	return pipeline_sql_generated(sql.data, SPI_OK_SELECT, false) == 0;
}

/* How many versions the table has, as far as the catalogue knows. */
static double
count_tuples(const MergePlan *plan)
{
	double		tuples = 0;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(plan->dimension->relid, NoLock, NULL))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		/* Of what has leaves it is the sum of theirs. */
		if (((Form_pg_class) GETSTRUCT(tuple))->relkind != RELKIND_PARTITIONED_TABLE)
			tuples += Max(((Form_pg_class) GETSTRUCT(tuple))->reltuples, 0);
		ReleaseSysCache(tuple);
	}
	return tuples;
}

/*
 * Rows in several relations are found by their places in each of them.  The
 * planner would rather hash the places of the whole table, since it knows
 * neither that a place is one row nor how few there are; where they are few it
 * is told.
 */
static void
choose_places(const MergePlan *plan, int64 rows)
{
	int			leaves = list_length(find_all_inheritors(plan->dimension->relid, NoLock, NULL));

	if ((double) rows * leaves * PLACE_COST > count_tuples(plan))
		return;
	(void) set_config_option("enable_hashjoin", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_mergejoin", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Run one write and check that it wrote what it should. */
void
pipeline_scd_write(const MergePlan *plan, const char *sql, int expected_code,
		   int64 expected_rows, TimestampTz from, bool has_to, TimestampTz to)
{
	Oid			types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[3] = {TimestampTzGetDatum(from), TimestampTzGetDatum(to),
		Int64GetDatum(plan->merge_id)
	};
	char		nulls[4] = {' ', has_to ? ' ' : 'n', ' ', '\0'};
	int			level = NewGUCNestLevel();
	int			rc;

	if (plan->has_leaves && expected_code != SPI_OK_INSERT)
		choose_places(plan, expected_rows);
	rc = SPI_execute_with_args(sql, 3, types, values, nulls, false, 0);
	AtEOXact_GUC(false, level);

	if (rc != expected_code && rc != SPI_OK_REWRITTEN)
		elog(ERROR, "generated statement returned %s: %s",
			 SPI_result_code_string(rc), sql);
	if (rc == SPI_OK_REWRITTEN || SPI_processed != expected_rows)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("writing dimension %s did not write every row",
						plan->dimension->name),
				 errdetail("%lld of %lld rows were written.",
						   rc == SPI_OK_REWRITTEN ? 0LL : (long long) SPI_processed,
						   (long long) expected_rows),
				 errhint("A trigger or a rule of the table skips rows.")));
}

static void
append_place(StringInfo sql, const MergePlan *plan)
{
	appendStringInfoString(sql, " d WHERE t.ctid OPERATOR(pg_catalog.=) d.tid");
	if (plan->has_leaves)
		appendStringInfoString(sql, " AND t.tableoid OPERATOR(pg_catalog.=) d.rel");
}

/* ", column = value" for each of the columns that this table has. */
static void
append_set(StringInfo sql, const MergePlan *plan, MetaColumn meta, const char *value)
{
	if (plan->meta[meta] != NULL)
		appendStringInfo(sql, ", %s = %s", plan->meta[meta], value);
}

static void
close_versions(const MergePlan *plan, int64 rows)
{
	StringInfoData sql;

	if (rows == 0)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET %s = $1", plan->dimension->name,
					 plan->meta[META_VALID_TO]);
	append_set(&sql, plan, META_IS_CURRENT, pipeline_scd_bool(plan, META_IS_CURRENT, "false"));
	append_set(&sql, plan, META_CLOSE_REASON, "d.reason");
	append_set(&sql, plan, META_MERGE_ID, "$3");
	appendStringInfoString(&sql, " FROM " CLOSE_ROWS);
	append_place(&sql, plan);
	pipeline_scd_write(plan, sql.data, SPI_OK_UPDATE, rows, plan->effective, false, 0);
}

static void
overwrite_versions(const MergePlan *plan, int64 rows)
{
	StringInfoData sql;

	if (rows == 0)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET", plan->dimension->name);
	if (plan->meta[META_MERGE_ID] != NULL)
		appendStringInfo(&sql, " %s = $3", plan->meta[META_MERGE_ID]);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		if (plan->columns[i].is_type1)
			appendStringInfo(&sql, "%s %s = d.c%d", sql.data[sql.len - 1] == 'T' ? "" : ",",
							 quote_identifier(plan->columns[i].name), i + 1);
	}
	appendStringInfoString(&sql, " FROM " OVERWRITE_ROWS);
	append_place(&sql, plan);
	pipeline_scd_write(plan, sql.data, SPI_OK_UPDATE, rows, plan->effective, false, 0);
}

/* SQL: dbt's identifier of a version, from its key and its time. */
char *
pipeline_scd_scd_id(const MergePlan *plan, const char *alias, const char *at)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "pg_catalog.md5(pg_catalog.concat_ws('|'");
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(&sql, ", %s.c%d", alias, i + 1);
	appendStringInfo(&sql, ", %s))", at);
	return sql.data;
}

/* One more column of an INSERT, if the table has it. */
void
pipeline_scd_append_insert(StringInfo names, StringInfo values, const char *name,
			  const char *value)
{
	if (name == NULL)
		return;
	appendStringInfo(names, "%s%s", names->len ? ", " : "", name);
	appendStringInfo(values, "%s%s", values->len ? ", " : "", value);
}

static void
open_versions(const MergePlan *plan, int64 rows, bool initial)
{
	const Dimension *dimension = plan->dimension;
	StringInfoData names;
	StringInfoData values;

	if (rows == 0)
		return;
	initStringInfo(&names);
	initStringInfo(&values);
	pipeline_scd_append_insert(&names, &values, plan->meta[META_VALID_FROM], "$1");
	pipeline_scd_append_insert(&names, &values, plan->meta[META_VALID_TO], "$2");
	pipeline_scd_append_insert(&names, &values, plan->meta[META_IS_CURRENT],
				  pipeline_scd_bool(plan, META_IS_CURRENT, "true"));
	pipeline_scd_append_insert(&names, &values, plan->meta[META_MERGE_ID], "$3");
	pipeline_scd_append_insert(&names, &values, plan->meta[META_SCD_ID],
				  pipeline_scd_scd_id(plan, "d", "$1"));
	pipeline_scd_append_insert(&names, &values, plan->meta[META_UPDATED_AT], "$1");
	for (int i = 0; i < plan->ncolumns; i++)
		pipeline_scd_append_insert(&names, &values, quote_identifier(plan->columns[i].name),
					  psprintf("d.c%d", i + 1));
	pipeline_scd_write(plan, psprintf("INSERT INTO %s (%s) SELECT %s FROM " OPEN_ROWS " d",
							  dimension->name, names.data, values.data),
			   SPI_OK_INSERT, rows,
			   initial && dimension->has_initial ? dimension->initial_valid_from :
			   plan->effective,
			   !dimension->open_end_null, dimension->open_end);
}

/*
 * Write the deltas and count what was written.  Inside an SPI connection, as
 * the owner.  `initial`: the table was empty.
 */
void
pipeline_scd_apply(MergePlan *plan, MergeDelta *delta, MergeCounts *counts,
				   bool initial)
{
	int64		opened = tuplestore_tuple_count(delta->open);
	int64		hot_before = pipeline_scd_hot_updates(plan);

	counts->closed = tuplestore_tuple_count(delta->close);
	counts->updated_type1 = tuplestore_tuple_count(delta->overwrite);
	counts->versioned = opened - delta->new_rows;
	counts->inserted = delta->new_rows - counts->reopened;
	close_versions(plan, counts->closed);
	overwrite_versions(plan, counts->updated_type1);
	open_versions(plan, opened, initial);
	counts->hot_updates = pipeline_scd_hot_updates(plan) - hot_before;
}
