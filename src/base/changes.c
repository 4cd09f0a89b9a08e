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
 * Add a row to pipeline.changes, made by the session's role to an object of
 * `owner`, who sees it too.  `before`, `after` and `note` may be NULL.  Inside an
 * SPI connection.
 */
void
pipeline_record_change_of(Oid owner, const char *action, const char *kind,
						  const char *name, const Jsonb *before,
						  const Jsonb *after, const char *note)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	/* A definition names its owner. */
	pipeline_sql("INSERT INTO pipeline.changes (role, owner, action, kind, name, before, after, note)"
				 " VALUES ($1, coalesce($2, to_regrole(quote_ident($6 ->> 'owner')),"
				 "   to_regrole(quote_ident($7 ->> 'owner')), $1), $3, $4, $5, $6, $7, $8)", SPI_OK_INSERT,
				 sql_role(GetSessionUserId()), sql_role(owner),
				 sql_text(acting_as ? acting_as : action), sql_text(kind),
				 sql_text(name), sql_jsonb(before), sql_jsonb(after),
				 sql_text(note));
	pipeline_scope_end(&scope);
}

/*
 * The same where the owner is that of the definition before, or else after, or
 * else the session's role.
 */
void
pipeline_record_change(const char *action, const char *kind, const char *name,
					   const Jsonb *before, const Jsonb *after,
					   const char *note)
{
	pipeline_record_change_of(InvalidOid, action, kind, name, before, after, note);
}
