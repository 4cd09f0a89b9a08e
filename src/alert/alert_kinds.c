/*
 * alert_kinds.c
 *	  Channels as a kind of objects for apply(), export() and alter_channel().
 */
#include "postgres.h"

#include "alert/alert_state.h"

static void
lock_channel(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.channels WHERE name = $1 FOR UPDATE",
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

	pipeline_register_kind(&channels);
}
