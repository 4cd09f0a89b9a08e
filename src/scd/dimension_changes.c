/*
 * dimension_changes.c
 *	  dimension_changes(): what happened to the members of a dimension between
 *	  two instants, read from its versions.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "executor/tstoreReceiver.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "scd/scd.h"

PG_FUNCTION_INFO_V1(pipeline_dimension_changes);

/* "'name', t.name, ..." of a list of columns. */
static void
append_pairs(StringInfo sql, const List *names)
{
	ListCell   *lc;

	foreach(lc, names)
		appendStringInfo(sql, "%s%s, t.%s", lc == list_head(names) ? "" : ", ",
						 quote_literal_cstr(lfirst(lc)), quote_identifier(lfirst(lc)));
}

/* The attributes as a JSON object, in parts: a function takes 100 arguments. */
static void
append_object(StringInfo sql, const List *names)
{
	int			n = list_length(names);

	appendStringInfoString(sql, "'{}'::pg_catalog.jsonb");
	for (int from = 0; from < n; from += 50)
	{
		List	   *part = NIL;

		for (int i = from; i < n && i < from + 50; i++)
			part = lappend(part, list_nth(names, i));
		appendStringInfoString(sql, " OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(");
		append_pairs(sql, part);
		appendStringInfoChar(sql, ')');
	}
}

static char *
changes_sql(const Dimension *d, const char *since, const char *until)
{
	StringInfoData sql;
	List	   *attributes = NIL;
	const char *from = quote_identifier(d->names[META_VALID_FROM]);
	const char *to = quote_identifier(d->names[META_VALID_TO]);
	ListCell   *lc;

	attributes = list_concat(attributes, d->type0);
	attributes = list_concat(attributes, d->type1);
	attributes = list_concat(attributes, d->type2);
	attributes = list_concat(attributes, d->type3);
	attributes = list_concat(attributes, d->type6);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH v AS (SELECT ");
	append_object(&sql, d->business_key);
	appendStringInfoString(&sql, " AS key, ");
	append_object(&sql, attributes);
	appendStringInfo(&sql, " AS doc, t.%s::pg_catalog.timestamptz AS valid_from, t.%s::pg_catalog.timestamptz AS valid_to, %s AS del",
					 from, to, d->names[META_IS_DELETED] ?
					 psprintf("t.%s::pg_catalog.bool", quote_identifier(d->names[META_IS_DELETED])) : "false");
	appendStringInfo(&sql, ", pg_catalog.row_number() OVER w AS number, pg_catalog.lag(t.%s::pg_catalog.timestamptz) OVER w AS last_to, pg_catalog.lead(t.%s::pg_catalog.timestamptz) OVER w AS next_from",
					 to, from);
	appendStringInfo(&sql, " FROM %s t", d->name);
	if (d->unknown_member)
		appendStringInfo(&sql, " WHERE t.%s OPERATOR(pg_catalog.<>) %d",
						 quote_identifier(d->names[META_SURROGATE_KEY]), UNKNOWN_MEMBER);
	appendStringInfoString(&sql, " WINDOW w AS (PARTITION BY ");
	foreach(lc, d->business_key)
		appendStringInfo(&sql, "t.%s%s", quote_identifier(lfirst(lc)),
						 lnext(d->business_key, lc) ? ", " : "");
	appendStringInfo(&sql, " ORDER BY t.%s)), p AS (SELECT v.*, pg_catalog.lag(v.doc) OVER (PARTITION BY v.key ORDER BY v.valid_from) AS old, pg_catalog.lag(v.del) OVER (PARTITION BY v.key ORDER BY v.valid_from) AS old_del FROM v)", from);
	appendStringInfo(&sql, " SELECT p.key, CASE WHEN p.number OPERATOR(pg_catalog.=) 1 THEN 'inserted' WHEN p.del THEN 'deleted'"
					 " WHEN p.old_del OR (p.last_to OPERATOR(pg_catalog.=) p.valid_from) IS NOT TRUE THEN 'reopened' ELSE 'versioned' END AS change,"
					 " p.valid_from, p.valid_to, ARRAY(SELECT e.key FROM pg_catalog.jsonb_each(p.doc) e"
					 " WHERE p.number OPERATOR(pg_catalog.>) 1 AND (e.value OPERATOR(pg_catalog.=) (p.old OPERATOR(pg_catalog.->) e.key)) IS NOT TRUE ORDER BY e.key),"
					 " p.old, p.doc FROM p WHERE p.valid_from OPERATOR(pg_catalog.>=) %s AND p.valid_from OPERATOR(pg_catalog.<) %s"
					 " UNION ALL SELECT p.key, 'deleted', p.valid_to, p.next_from, '{}', p.doc, NULL FROM p"
					 " WHERE (p.next_from OPERATOR(pg_catalog.=) p.valid_to) IS NOT TRUE AND p.valid_to OPERATOR(pg_catalog.>=) %s AND p.valid_to OPERATOR(pg_catalog.<) %s%s"
					 " ORDER BY 3, 1, 2",
					 since, until, since, until,
					 d->open_end_null ? "" :
					 psprintf(" AND p.valid_to OPERATOR(pg_catalog.<>) %s", quote_literal_cstr(timestamptz_to_str(d->open_end))));
	return sql.data;
}

/*
 * SQL: dimension_changes(dimension, since, until_time).  Reads the table as
 * the caller.
 */
Datum
pipeline_dimension_changes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Dimension  *dimension;
	DestReceiver *receiver;
	char	   *bounds[2];

	pipeline_not_null(fcinfo, 0, "dimension");
	pipeline_not_null(fcinfo, 1, "since");
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < 2; i++)
		bounds[i] = psprintf("%s::pg_catalog.timestamptz",
							 quote_literal_cstr(PG_ARGISNULL(i + 1) ? "infinity" :
												timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(i + 1))));
	SPI_connect();
	dimension = pipeline_scd_find(PG_GETARG_OID(0), false);
	receiver = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(receiver, rsinfo->setResult, CurrentMemoryContext, true, NULL, NULL);
	pipeline_scd_stream(changes_sql(dimension, bounds[0], bounds[1]), receiver);
	SPI_finish();
	return (Datum) 0;
}
