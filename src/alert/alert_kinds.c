/*
 * alert_kinds.c
 *	  What can be defined, for apply(), export() and alter_X().
 */
#include "postgres.h"

#include "alert/alert_state.h"

static void
lock_channel(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.channels WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_sla_target(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.sla_targets WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_rule(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.rules WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

/* Say what there is to define; at load of the library. */
void
pipeline_alert_register_kinds(void)
{
	static const ObjectKind channels = {
		.kind = "channel",
		.key = "channels",
		.create = "create_channel",
		.drop = "drop_channel",
		.name_argument = "name",
		.list = "SELECT NULL::text AS parent, c.name, c.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(c) AS arguments FROM pipeline.channels c ORDER BY c.name COLLATE \"C\"",
		.lock = lock_channel
	};

	static const ObjectKind sla_targets = {
		.kind = "sla_target",
		.key = "sla_targets",
		.create = "create_sla_target",
		.drop = "drop_sla_target",
		.name_argument = "name",
		.list = "SELECT NULL::text AS parent, t.name, t.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(t) AS arguments FROM pipeline.sla_targets t ORDER BY t.name COLLATE \"C\"",
		.lock = lock_sla_target
	};

	static const ObjectKind rules = {
		.kind = "rule",
		.key = "rules",
		.create = "create_rule",
		.drop = "drop_rule",
		.name_argument = "name",
		.has_path = true,
		.list = "SELECT NULL::text AS parent, r.name, r.owner::oid AS owner, r.search_path,"
		" to_jsonb(r) AS arguments FROM pipeline.rules r ORDER BY r.name COLLATE \"C\"",
		.lock = lock_rule
	};

	pipeline_register_kind(&channels);
	pipeline_alert_register_route_kinds();
	pipeline_register_kind(&sla_targets);
	pipeline_register_kind(&rules);
}
