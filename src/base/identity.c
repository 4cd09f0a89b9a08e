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

/* Of the rooms with background work: is anything defined there? */
#define MAX_ROOMS 8
static bool (*defined_in[MAX_ROOMS]) (void);
static int	nrooms = 0;

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

/*
 * Let a room say whether anything is defined there that background work would
 * act on; at load of the library.  `anything` is called as the extension's
 * owner.
 */
void
pipeline_identity_register(bool (*anything) (void))
{
	if (nrooms == MAX_ROOMS)
		elog(ERROR, "too many rooms with background work");
	defined_in[nrooms++] = anything;
}

/* Is anything defined that background work would act on?  Inside an SPI connection. */
bool
pipeline_anything_defined(void)
{
	UserScope	scope;
	bool		any = false;

	pipeline_extension_begin(&scope);
	for (int i = 0; i < nrooms && !any; i++)
		any = defined_in[i] ();
	pipeline_scope_end(&scope);
	return any;
}

/*
 * The first thing that is defined makes this database the one that acts.  Later
 * ones are told when it is a copy.  Call it before the thing is there; inside an
 * SPI connection.
 */
void
pipeline_identity_mind(void)
{
	if (pipeline_identity_matches())
		return;
	if (!pipeline_anything_defined())
		pipeline_identity_claim();
	else
		ereport(WARNING,
				(errmsg("nothing runs in this database: it is a copy of the one that was set up"),
				 errhint("Call pipeline.resume_schedules() to let it run and send.")));
}
