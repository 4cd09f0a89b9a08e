/*
 * fact_lookup.c
 *	  The SQL that looks members up: for each lookup a join with the versions
 *	  of its dimension, at the time of the fact.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "scd/scd.h"

typedef char *(*ColumnSql) (void *arg, const char *column);

/* "d.key = f.column AND ...", each in the type of the dimension's key. */
char *
pipeline_scd_lookup_key(const Lookup *lookup, const char *alias, ColumnSql column, void *arg)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < list_length(lookup->keys); i++)
	{
		const char *key = list_nth(lookup->keys, i);
		MergeColumn c = {0};
		int32		typmod;

		get_atttypetypmodcoll(lookup->dimension->relid,
							  get_attnum(lookup->dimension->relid, key),
							  &c.type, &typmod, &c.collation);
		c.name = unconstify(char *, key);
		c.is_key = true;
		pipeline_scd_column_init(&c);
		appendStringInfo(&sql, "%s%s.%s %s %s::%s", i ? " AND " : "", alias,
						 quote_identifier(key), c.operator,
						 column(arg, list_nth(lookup->columns, i)),
						 pipeline_scd_type_name(c.type, -1));
	}
	if (lookup->dimension->unknown_member)
		appendStringInfo(&sql, " AND %s.%s OPERATOR(pg_catalog.<>) %d", alias,
						 quote_identifier(lookup->dimension->names[META_SURROGATE_KEY]),
						 UNKNOWN_MEMBER);
	return sql.data;
}

/* The condition that a version is the one of the fact's time. */
static char *
at_time(const Lookup *lookup, const char *alias, ColumnSql column, void *arg)
{
	const Dimension *d = lookup->dimension;
	const char *from = quote_identifier(d->names[META_VALID_FROM]);
	const char *to = quote_identifier(d->names[META_VALID_TO]);
	char	   *at;

	if (lookup->at == NULL)
		return d->open_end_null ? psprintf("%s.%s IS NULL", alias, to) :
			psprintf("%s.%s::pg_catalog.timestamptz OPERATOR(pg_catalog.=) %s", alias, to,
					 quote_literal_cstr(timestamptz_to_str(d->open_end)));
	at = psprintf("%s::pg_catalog.timestamptz", column(arg, lookup->at));
	return psprintf("%s.%s OPERATOR(pg_catalog.<=) %s AND (%s.%s OPERATOR(pg_catalog.>) %s%s)",
					alias, from, at, alias, to, at,
					d->open_end_null ? psprintf(" OR %s.%s IS NULL", alias, to) : "");
}

/* The joins of all lookups: "d1", "d2", ..., and "b1", ... for first versions. */
char *
pipeline_scd_lookup_joins(const List *lookups, ColumnSql column, void *arg)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < list_length(lookups); i++)
	{
		const Lookup *lookup = list_nth(lookups, i);
		const Dimension *d = lookup->dimension;
		const char *sk = quote_identifier(d->names[META_SURROGATE_KEY]);
		const char *from = quote_identifier(d->names[META_VALID_FROM]);
		char	   *alias = psprintf("d%d", i + 1);

		appendStringInfo(&sql, " LEFT JOIN %s %s ON %s AND %s", d->name, alias,
						 pipeline_scd_lookup_key(lookup, alias, column, arg),
						 at_time(lookup, alias, column, arg));
		if (!LOOKUP_FIRST(lookup) || lookup->at == NULL)
			continue;
		appendStringInfo(&sql, " LEFT JOIN LATERAL (SELECT CASE WHEN x.%s OPERATOR(pg_catalog.>) %s::pg_catalog.timestamptz THEN x.%s END AS sk"
						 " FROM %s x WHERE %s.%s IS NULL AND %s ORDER BY x.%s LIMIT 1) b%d ON true",
						 from, column(arg, lookup->at), sk, d->name, alias, sk,
						 pipeline_scd_lookup_key(lookup, "x", column, arg), from, i + 1);
	}
	return sql.data;
}

/* The surrogate key that a lookup found, or NULL. */
char *
pipeline_scd_lookup_value(const Lookup *lookup, int n)
{
	const char *sk = quote_identifier(lookup->dimension->names[META_SURROGATE_KEY]);

	if (LOOKUP_FIRST(lookup) && lookup->at != NULL)
		return psprintf("COALESCE(d%d.%s, b%d.sk)::pg_catalog.int8", n + 1, sk, n + 1);
	return psprintf("d%d.%s::pg_catalog.int8", n + 1, sk);
}
