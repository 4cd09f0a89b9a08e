/*
 * export.c
 *	  Feature sets, their features, and rollups as kinds of objects for
 *	  apply(), export() and alter_X().
 */
#include "postgres.h"

#include "base/base.h"
#include "pipeline.h"

static void
lock_set(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.feature_sets WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_rollup(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.rollups WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

/* Say what there is to define; at load of the library. */
void
pipeline_feature_init(void)
{
	static const ObjectKind sets = {
		.kind = "feature set",
		.key = "feature_sets",
		.create = "create_feature_set",
		.drop = "drop_feature_set",
		.name_argument = "name",
		.has_path = true,
		.list = "SELECT NULL::text AS parent, s.name, s.owner::oid AS owner, s.search_path,"
		" to_jsonb(s) AS arguments FROM pipeline.feature_sets s ORDER BY s.name COLLATE \"C\"",
		.lock = lock_set
	};
	/* In the order of their columns in the target. */
	static const ObjectKind features = {
		.kind = "feature",
		.key = "features",
		.parent = "feature set",
		.create = "add_feature",
		.drop = "drop_feature",
		.name_argument = "feature",
		.parent_argument = "set",
		.list = "SELECT f.feature_set AS parent, f.feature AS name, f.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(f) AS arguments FROM pipeline.features f ORDER BY f.feature_set COLLATE \"C\", f.position"
	};

	static const ObjectKind rollups = {
		.kind = "rollup",
		.key = "rollups",
		.create = "create_rollup",
		.drop = "drop_rollup",
		.name_argument = "name",
		.has_path = true,
		.list = "SELECT NULL::text AS parent, r.name, r.owner::oid AS owner, r.search_path,"
		" to_jsonb(r) AS arguments FROM pipeline.rollups r ORDER BY r.name COLLATE \"C\"",
		.lock = lock_rollup
	};

	pipeline_register_kind(&sets);
	pipeline_register_kind(&features);
	pipeline_register_kind(&rollups);
}
