/*
 * export.c
 *	  Suites and their expectations as kinds of objects for apply(), export()
 *	  and alter_X().
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#include "expect/check.h"
#include "pipeline.h"

/* The name that expect() gives: the one it is given, or type and column. */
static char *
listed_name(const Jsonb *arguments)
{
	char	   *name = pipeline_jsonb_key(arguments, "name");
	char	   *type = pipeline_jsonb_key(arguments, "type");
	char	   *kwargs = pipeline_jsonb_key(arguments, "kwargs");

	if (name)
		return name;
	return pipeline_expectation_name(type, kwargs == NULL ? NULL :
									 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(kwargs))));
}

static void
lock_suite(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.suites WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

/* pipeline.validation_days */
int			pipeline_validation_days = 0;

/* Say what there is to define, and to set; at load of the library. */
void
pipeline_expect_init(void)
{
	static const ObjectKind suites = {
		.kind = "suite",
		.key = "suites",
		.create = "create_suite",
		.drop = "drop_suite",
		.name_argument = "name",
		.has_path = true,
		.list = "SELECT NULL::text AS parent, s.name, s.owner::oid AS owner, s.search_path,"
		" to_jsonb(s) AS arguments FROM pipeline.suites s ORDER BY s.name COLLATE \"C\"",
		.lock = lock_suite
	};
	static const ObjectKind expectations = {
		.kind = "expectation",
		.key = "expectations",
		.parent = "suite",
		.create = "expect",
		.drop = "drop_expectation",
		.name_argument = "name",
		.parent_argument = "suite",
		.replaces = true,
		.list = "SELECT e.suite AS parent, e.name, e.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(e) AS arguments FROM pipeline.expectations e"
		" ORDER BY e.suite COLLATE \"C\", e.name COLLATE \"C\"",
		.listed_name = listed_name
	};

	DefineCustomIntVariable("pipeline.validation_days",
							"How many days validations are kept; 0: all of them.",
							"Older ones of a suite go when it is validated, with their results and the rows that they quarantined, unless rows are still held.",
							&pipeline_validation_days, 0, 0, 36500, PGC_SUSET, 0, NULL, NULL, NULL);
	pipeline_register_kind(&suites);
	pipeline_register_kind(&expectations);
}
