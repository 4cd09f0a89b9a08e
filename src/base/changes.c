/*
 * changes.c
 *	  The change log: who did what to which object.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"

#include "base/base.h"

static const char *acting_as = NULL;

/*
 * Record changes as made by this function until it is set back to NULL:
 * alter_X() works through create_X().  A caller that can fail resets it in
 * PG_FINALLY.
 */
void
pipeline_change_action(const char *action)
{
	acting_as = action;
}

/*
 * Add a row to pipeline.changes, under the session's role.  `before`,
 * `after` and `note` may be NULL.  Inside an SPI connection.
 */
void
pipeline_record_change(const char *action, const char *kind, const char *name,
					   const Jsonb *before, const Jsonb *after,
					   const char *note)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.changes (role, action, kind, name, before, after, note)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7)", SPI_OK_INSERT,
				 sql_role(GetSessionUserId()), sql_text(acting_as ? acting_as : action), sql_text(kind),
				 sql_text(name), sql_jsonb(before), sql_jsonb(after),
				 sql_text(note));
	pipeline_scope_end(&scope);
}
