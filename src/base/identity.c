/*
 * identity.c
 *	  Is this database the one that was set up, or a copy of it?
 *
 * Background work acts only where the one row of pipeline.identity equals
 * (system identifier, database oid).  The row is never dumped, so a restored
 * or templated copy runs nothing and pages nobody until someone says so.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"

#include "base/base.h"

/* Does the row match?  Inside an SPI connection. */
bool
pipeline_identity_matches(void)
{
	UserScope	scope;
	bool		matches;

	pipeline_extension_begin(&scope);
	matches = pipeline_sql("SELECT 1 FROM pipeline.identity"
						   " WHERE system_identifier = $1 AND database = $2",
						   SPI_OK_SELECT,
						   sql_int8((int64) GetSystemIdentifier()),
						   sql_datum(OIDOID, ObjectIdGetDatum(MyDatabaseId), false)) > 0;
	pipeline_scope_end(&scope);
	return matches;
}

/* Make this database the one that acts.  Inside an SPI connection. */
void
pipeline_identity_claim(void)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.identity", SPI_OK_DELETE);
	pipeline_sql("INSERT INTO pipeline.identity (system_identifier, database) VALUES ($1, $2)",
				 SPI_OK_INSERT,
				 sql_int8((int64) GetSystemIdentifier()),
				 sql_datum(OIDOID, ObjectIdGetDatum(MyDatabaseId), false));
	pipeline_scope_end(&scope);
}
