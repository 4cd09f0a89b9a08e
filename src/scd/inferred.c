/*
 * inferred.c
 *	  Members that a fact names before their dimension knows them.
 *
 * An inferred member (Kimball's word) is a version with a key and nothing
 * else, valid since ever.  pipeline.inferred_members remembers it.  When a
 * merge brings the member, its attributes go into that version, so that the
 * facts which point there are right at once.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "scd/scd.h"

/* Remember the members that the last statement returned. */
static void
remember(const Lookup *lookup, int64 *inferred)
{
	uint64		n = SPI_processed;
	int64	   *keys = palloc_array(int64, n + 1);
	UserScope	scope;

	for (uint64 i = 0; i < n; i++)
		keys[i] = pipeline_sql_int8(i, 1);
	pipeline_extension_begin(&scope);
	for (uint64 i = 0; i < n; i++)
		pipeline_sql("INSERT INTO pipeline.inferred_members (dimension, surrogate_key) VALUES ($1, $2)",
					 SPI_OK_INSERT, sql_regclass(lookup->dimension->relid), sql_int8(keys[i]));
	pipeline_scope_end(&scope);
	*inferred += n;
}

/*
 * Make the members that the rows name and the dimension does not have.  As
 * the owner of the fact.
 */
void
pipeline_scd_infer(const Lookup *lookup, int n, const char *rows,
				   char *(*column) (void *, const char *), void *arg,
				   int64 load_id, int64 *inferred)
{
	const Dimension *d = lookup->dimension;
	StringInfoData names;
	StringInfoData values;
	StringInfoData known;

	initStringInfo(&names);
	initStringInfo(&values);
	initStringInfo(&known);
	for (int i = 0; i < list_length(lookup->keys); i++)
	{
		const char *key = list_nth(lookup->keys, i);
		char	   *value = column(arg, list_nth(lookup->columns, i));

		appendStringInfo(&names, "%s, ", quote_identifier(key));
		appendStringInfo(&values, "%s::%s, ", value,
						 pipeline_scd_type_name(get_atttype(d->relid, get_attnum(d->relid, key)), -1));
		appendStringInfo(&known, "%s IS NOT NULL AND ", value);
	}
	appendStringInfo(&names, "%s, %s", quote_identifier(d->names[META_VALID_FROM]),
					 quote_identifier(d->names[META_VALID_TO]));
	appendStringInfo(&values, "'-infinity'::pg_catalog.timestamptz, %s::pg_catalog.timestamptz",
					 d->open_end_null ? "NULL" : quote_literal_cstr(timestamptz_to_str(d->open_end)));
	if (d->names[META_IS_CURRENT] != NULL)
	{
		appendStringInfo(&names, ", %s", quote_identifier(d->names[META_IS_CURRENT]));
		appendStringInfoString(&values, get_atttype(d->relid, get_attnum(d->relid, d->names[META_IS_CURRENT])) == BOOLOID ?
							   ", true" : ", 1");
	}
	if (d->names[META_MERGE_ID] != NULL)
	{
		appendStringInfo(&names, ", %s", quote_identifier(d->names[META_MERGE_ID]));
		appendStringInfo(&values, ", %lld::pg_catalog.int8", (long long) load_id);
	}
	(void) pipeline_sql_generated(psprintf("INSERT INTO %s (%s) SELECT DISTINCT %s FROM %s f WHERE %sNOT EXISTS (SELECT 1 FROM %s x WHERE %s) RETURNING %s::pg_catalog.int8",
										   d->name, names.data, values.data, rows, known.data, d->name,
										   pipeline_scd_lookup_key(lookup, "x", column, arg),
										   quote_identifier(d->names[META_SURROGATE_KEY])),
								  SPI_OK_INSERT_RETURNING, false);
	if (SPI_processed > 0)
		remember(lookup, inferred);
}

/* Has the dimension inferred members?  They are put into a delta. */
static bool
has_inferred(const MergePlan *plan, char **keys)
{
	UserScope	scope;
	uint64		n;
	StringInfoData list;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT surrogate_key FROM pipeline.inferred_members WHERE dimension = $1",
					 SPI_OK_SELECT, sql_regclass(plan->dimension->relid));
	initStringInfo(&list);
	for (uint64 i = 0; i < n; i++)
		appendStringInfo(&list, "%s%lld", i ? "," : "", (long long) pipeline_sql_int8(i, 1));
	pipeline_scope_end(&scope);
	*keys = list.data;
	return n > 0;
}

/* Forget those that have become real. */
static void
forget(const MergePlan *plan, const char *keys)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.inferred_members WHERE dimension = $1"
				 " AND surrogate_key = ANY (pg_catalog.string_to_array($2, ',')::bigint[])",
				 SPI_OK_DELETE, sql_regclass(plan->dimension->relid), sql_text(keys));
	pipeline_scope_end(&scope);
}

/*
 * After a merge: an inferred version that it closed takes the attributes and
 * the time of the version that follows it, and that one goes.  As the owner.
 */
void
pipeline_scd_fill_inferred(const MergePlan *plan)
{
	const Dimension *d = plan->dimension;
	StringInfoData set;
	StringInfoData join;
	StringInfoData done;
	char	   *keys;
	uint64		n;

	if (d->names[META_SURROGATE_KEY] == NULL || !has_inferred(plan, &keys))
		return;
	initStringInfo(&set);
	initStringInfo(&join);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const MergeColumn *c = &plan->columns[i];

		if (c->is_key)
			appendStringInfo(&join, " AND n.%s %s t.%s", quote_identifier(c->name), c->operator,
							 quote_identifier(c->name));
		else
			appendStringInfo(&set, ", %s = n.%s", quote_identifier(c->name), quote_identifier(c->name));
		if (c->companion != NULL)
			appendStringInfo(&set, ", %s = n.%s", quote_identifier(c->companion), quote_identifier(c->companion));
	}
	for (int m = META_IS_CURRENT; m < META_COLUMNS; m++)
	{
		if (plan->meta[m] != NULL)
			appendStringInfo(&set, ", %s = n.%s", plan->meta[m], plan->meta[m]);
	}
	n = pipeline_sql_generated(psprintf("WITH n AS (DELETE FROM %s n USING %s t WHERE t.%s OPERATOR(pg_catalog.=) ANY ('{%s}'::pg_catalog.int8[])%s"
										" AND n.%s OPERATOR(pg_catalog.=) t.%s RETURNING n.*, t.%s::pg_catalog.int8 AS \"pipeline inferred\")"
										" UPDATE %s t SET %s = n.%s%s FROM n WHERE t.%s OPERATOR(pg_catalog.=) n.\"pipeline inferred\""
										" RETURNING t.%s::pg_catalog.int8",
										d->name, d->name, plan->meta[META_SURROGATE_KEY], keys, join.data,
										plan->meta[META_VALID_FROM], plan->meta[META_VALID_TO],
										plan->meta[META_SURROGATE_KEY],
										d->name, plan->meta[META_VALID_TO], plan->meta[META_VALID_TO], set.data,
										plan->meta[META_SURROGATE_KEY], plan->meta[META_SURROGATE_KEY]),
							   SPI_OK_UPDATE_RETURNING, false);
	if (n == 0)
		return;
	initStringInfo(&done);
	for (uint64 i = 0; i < n; i++)
		appendStringInfo(&done, "%s%lld", i ? "," : "", (long long) pipeline_sql_int8(i, 1));
	forget(plan, done.data);
}
