/*
 * export.c
 *	  Dimensions and facts as kinds of objects for apply() and export().
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "pipeline.h"
#include "scd/scd.h"

/* Dimensions and facts are listed under their tables' qualified names. */
static char *
table_name(char *name)
{
	RangeVar   *rv = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid			relid = RangeVarGetRelid(rv, NoLock, true);

	if (OidIsValid(relid))
		return pipeline_qualified_name(relid);
	return quote_qualified_identifier(get_namespace_name(RangeVarGetCreationNamespace(rv)),
									  rv->relname);
}

static char *
dimension_name(const Jsonb *arguments)
{
	return table_name(pipeline_jsonb_key(arguments, "dimension"));
}

static char *
fact_name(const Jsonb *arguments)
{
	return table_name(pipeline_jsonb_key(arguments, "fact"));
}

/* As create functions, merges and loads do, by the table. */
static void
lock_table(const char *name)
{
	RangeVar   *rv = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));

	(void) RangeVarGetRelid(rv, ShareRowExclusiveLock, true);
}

/* Say what there is to define; at load of the library. */
void
pipeline_scd_init(void)
{
	static const ObjectKind dimensions = {
		.kind = "dimension",
		.key = "dimensions",
		.create = "create_dimension",
		.drop = "drop_dimension",
		.name_argument = "dimension",
		.has_path = true,
		/* A dropped table leaves its row, and no name. */
		.list = "SELECT NULL::text AS parent, format('%I.%I', n.nspname, c.relname) AS name, d.owner::oid AS owner,"
		" d.search_path, to_jsonb(d) || jsonb_build_object('open_end', coalesce(d.open_end::text, 'null'),"
		"   'names', (SELECT coalesce(jsonb_object_agg(k.key, k.value), '{}') FROM jsonb_each_text(d.names) k"
		"             WHERE k.key <> k.value)) AS arguments"
		" FROM pipeline.dimensions d JOIN pg_class c ON c.oid = d.dimension JOIN pg_namespace n ON n.oid = c.relnamespace"
		" ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
		.listed_name = dimension_name,
		.lock = lock_table
	};
	static const ObjectKind facts = {
		.kind = "fact",
		.key = "facts",
		.create = "create_fact",
		.drop = "drop_fact",
		.name_argument = "fact",
		.has_path = true,
		.list = "SELECT NULL::text AS parent, format('%I.%I', n.nspname, c.relname) AS name, f.owner::oid AS owner,"
		" f.search_path, to_jsonb(f) || jsonb_build_object('fact_key', nullif(f.fact_key, '{}')) AS arguments"
		" FROM pipeline.facts f JOIN pg_class c ON c.oid = f.fact JOIN pg_namespace n ON n.oid = c.relnamespace"
		" ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
		.listed_name = fact_name,
		.lock = lock_table
	};

	pipeline_register_kind(&dimensions);
	/* They look up members of dimensions. */
	pipeline_register_kind(&facts);
}
