/*
 * fact_write.c
 *	  Write the rows of a load: append, merge, or replace an interval.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "scd/fact_load.h"

/* "r.s1 = t.key AND ..." */
static char *
key_join(const FactLoad *load, const char *rows, const char *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < list_length(load->fact->fact_key); i++)
	{
		const char *column = list_nth(load->fact->fact_key, i);
		int			n = pipeline_source_column(load->source, column, "source");

		if (load->columns[n - 1].operator == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("column \"%s\" cannot be a fact key", column),
					 errdetail("Its type, %s, has no default equality.", format_type_be(load->columns[n - 1].type))));
		appendStringInfo(&sql, "%s%s.s%d %s %s.%s", i ? " AND " : "", rows, n,
						 load->columns[n - 1].operator, table, quote_identifier(column));
	}
	return sql.data;
}

static char *
key_columns(const FactLoad *load)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < list_length(load->fact->fact_key); i++)
		appendStringInfo(&sql, "%sr.s%d", i ? ", " : "",
						 pipeline_source_column(load->source, list_nth(load->fact->fact_key, i), "source"));
	return sql.data;
}

/* One row for each key; two different ones are an error. */
static void
check_keys(FactLoad *load)
{
	if (load->fact->fact_key == NIL)
		return;
	if (pipeline_sql_generated(psprintf("SELECT (ROW(%s))::pg_catalog.text FROM (SELECT r.*, ROW(%s)::pg_catalog.text AS k, pg_catalog.to_jsonb(r.*)"
										" OPERATOR(pg_catalog.-) 'n'::pg_catalog.text AS doc FROM " FACT_ROWS " r WHERE r.reason IS NULL) r"
										" GROUP BY %s HAVING pg_catalog.count(DISTINCT r.doc) OPERATOR(pg_catalog.>) 1 LIMIT 1",
										key_columns(load), key_columns(load), key_columns(load)), SPI_OK_SELECT, false) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("two different rows for one key in the source of fact %s", load->fact->name),
				 errdetail("Key (%s)=%s.", pipeline_list_join(load->fact->fact_key, ", "), pipeline_sql_text(0, 1)),
				 errhint("Make the source return one row per key.")));
}

/* "t.c differs from r.s", NULL-safe. */
void
pipeline_scd_append_differs(StringInfo sql, const char *a, const char *b, const char *operator)
{
	if (operator == NULL)
		appendStringInfo(sql, "(%s::pg_catalog.text OPERATOR(pg_catalog.=) %s::pg_catalog.text) IS NOT TRUE", a, b);
	else
		appendStringInfo(sql, "(%s %s %s) IS NOT TRUE", a, operator, b);
	appendStringInfo(sql, " AND NOT (%s IS NOT DISTINCT FROM NULL AND %s IS NOT DISTINCT FROM NULL)", a, b);
}

static void
update_rows(FactLoad *load)
{
	StringInfoData set;
	StringInfoData differs;

	initStringInfo(&set);
	initStringInfo(&differs);
	for (int i = 0; i < load->ncolumns; i++)
	{
		const char *column = quote_identifier(load->columns[i].name);

		if (pipeline_list_has(load->fact->fact_key, load->columns[i].name))
			continue;
		appendStringInfo(&set, ", %s = r.s%d", column, i + 1);
		appendStringInfo(&differs, "%s(", differs.len ? " OR " : "");
		pipeline_scd_append_differs(&differs, psprintf("t.%s", column), psprintf("r.s%d", i + 1), load->columns[i].operator);
		appendStringInfoChar(&differs, ')');
	}
	for (int i = 0; i < load->nlookups; i++)
	{
		const char *column = quote_identifier(((Lookup *) list_nth(load->fact->lookups, i))->column);

		appendStringInfo(&set, ", %s = r.k%d", column, i + 1);
		appendStringInfo(&differs, "%s(", differs.len ? " OR " : "");
		pipeline_scd_append_differs(&differs, psprintf("t.%s", column), psprintf("r.k%d", i + 1), "OPERATOR(pg_catalog.=)");
		appendStringInfoChar(&differs, ')');
	}
	if (differs.len == 0)
		return;
	load->updated = (int64) pipeline_sql_generated(psprintf("UPDATE %s AS t SET " FACT_LOAD " = %lld%s FROM " FACT_ROWS " r WHERE r.reason IS NULL AND %s AND (%s)",
									   load->fact->name, (long long) load->load_id, set.data,
									   key_join(load, "r", "t"), differs.data), SPI_OK_UPDATE, false);
}

static void
insert_rows(FactLoad *load)
{
	StringInfoData names;
	StringInfoData values;
	char	   *from = FACT_ROWS " r WHERE r.reason IS NULL";

	initStringInfo(&names);
	initStringInfo(&values);
	appendStringInfoString(&names, FACT_LOAD);
	appendStringInfo(&values, "%lld", (long long) load->load_id);
	for (int i = 0; i < load->ncolumns; i++)
	{
		appendStringInfo(&names, ", %s", quote_identifier(load->columns[i].name));
		appendStringInfo(&values, ", r.s%d", i + 1);
	}
	for (int i = 0; i < load->nlookups; i++)
	{
		appendStringInfo(&names, ", %s", quote_identifier(((Lookup *) list_nth(load->fact->lookups, i))->column));
		appendStringInfo(&values, ", r.k%d", i + 1);
	}
	if (load->fact->fact_key != NIL)
		from = psprintf("(SELECT r.*, pg_catalog.row_number() OVER (PARTITION BY %s ORDER BY r.n) AS copy FROM " FACT_ROWS " r WHERE r.reason IS NULL) r"
						" WHERE r.copy OPERATOR(pg_catalog.=) 1 AND NOT EXISTS (SELECT 1 FROM %s t WHERE %s)",
						key_columns(load), load->fact->name, key_join(load, "r", "t"));
	load->inserted = (int64) pipeline_sql_generated(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", load->fact->name,
										names.data, values.data, from), SPI_OK_INSERT, false);
}

/* Rows of the batch beyond the first of each key. */
static int64
count_copies(FactLoad *load)
{
	if (load->fact->fact_key == NIL)
		return 0;
	(void) pipeline_sql_generated(psprintf("SELECT COALESCE(pg_catalog.sum(c.n OPERATOR(pg_catalog.-) 1), 0)::pg_catalog.int8 FROM (SELECT pg_catalog.count(*) AS n FROM " FACT_ROWS " r"
										   " WHERE r.reason IS NULL GROUP BY %s) c", key_columns(load)), SPI_OK_SELECT, false);
	return pipeline_sql_int8(0, 1);
}

/* Write by the mode. */
void
pipeline_scd_write_facts(FactLoad *load)
{
	const Fact *fact = load->fact;
	int64		usable = load->rows_read - load->rejected;

	check_keys(load);
	load->duplicate = count_copies(load);
	if (strcmp(fact->mode, "replace_interval") == 0)
	{
		const char *time = quote_identifier(fact->event_time);
		char	   *row_time = pipeline_scd_delta_column(load, fact->event_time);
		char	   *r = psprintf("r%s", row_time + 1);

		load->removed = (int64) pipeline_sql_generated(psprintf("DELETE FROM %s t USING (SELECT pg_catalog.min(%s) AS low, pg_catalog.max(%s) AS high FROM " FACT_ROWS " r WHERE r.reason IS NULL) i"
										   " WHERE t.%s OPERATOR(pg_catalog.>=) i.low AND t.%s OPERATOR(pg_catalog.<=) i.high",
										   fact->name, r, r, time, time), SPI_OK_DELETE, false);
	}
	if (strcmp(fact->mode, "merge") == 0)
		update_rows(load);
	insert_rows(load);
	if (strcmp(fact->mode, "append") == 0)
		load->duplicate = usable - load->inserted;
	else
		load->unchanged = usable - load->inserted - load->updated - load->duplicate;
}
