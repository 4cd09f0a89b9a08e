/*
 * alert_route_kinds.c
 *	  Routes, and what they refer to, as kinds of objects for apply(), export()
 *	  and alter_X(): each after those that it names.
 */
#include "postgres.h"

#include "alert/alert_object.h"

static void
lock_interval(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.time_intervals WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_inhibition(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.inhibitions WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_on_call(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.on_calls WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_escalation(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.escalations WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_route(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.routes WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

/* Say what there is to define; at load of the library, after the channels. */
void
pipeline_alert_register_route_kinds(void)
{
	static const ObjectKind intervals = {
		.kind = "time interval",
		.key = "time_intervals",
		.create = "create_time_interval",
		.drop = "drop_time_interval",
		.name_argument = "name",
		.list = "SELECT NULL::text AS parent, i.name, i.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(i) AS arguments FROM pipeline.time_intervals i ORDER BY i.name COLLATE \"C\"",
		.lock = lock_interval
	};
	static const ObjectKind on_calls = {
		.kind = "on call",
		.key = "on_calls",
		.create = "create_on_call",
		.drop = "drop_on_call",
		.name_argument = "name",
		.list = "SELECT NULL::text AS parent, o.name, o.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(o) AS arguments FROM pipeline.on_calls o ORDER BY o.name COLLATE \"C\"",
		.lock = lock_on_call
	};
	static const ObjectKind escalations = {
		.kind = "escalation",
		.key = "escalations",
		.create = "create_escalation",
		.drop = "drop_escalation",
		.name_argument = "name",
		.list = "SELECT NULL::text AS parent, e.name, e.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(e) AS arguments FROM pipeline.escalations e ORDER BY e.name COLLATE \"C\"",
		.lock = lock_escalation
	};
	static const ObjectKind routes = {
		.kind = "route",
		.key = "routes",
		.create = "create_route",
		.drop = "drop_route",
		.name_argument = "name",
		.after_argument = "parent",
		.list = "SELECT NULL::text AS parent, r.name, r.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(r) AS arguments FROM pipeline.routes r ORDER BY r.name COLLATE \"C\"",
		.lock = lock_route
	};
	static const ObjectKind inhibitions = {
		.kind = "inhibition",
		.key = "inhibitions",
		.create = "create_inhibition",
		.drop = "drop_inhibition",
		.name_argument = "name",
		.list = "SELECT NULL::text AS parent, i.name, i.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(i) AS arguments FROM pipeline.inhibitions i WHERE NOT i.predefined ORDER BY i.name COLLATE \"C\"",
		.listed_name = pipeline_inhibition_name,
		.lock = lock_inhibition
	};

	pipeline_register_kind(&intervals);
	pipeline_register_kind(&on_calls);
	pipeline_register_kind(&escalations);
	pipeline_register_kind(&routes);
	pipeline_register_kind(&inhibitions);
}
