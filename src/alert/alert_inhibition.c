/*
 * alert_inhibition.c
 *	  create_inhibition, drop_inhibition.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/jsonb.h"

#include "alert/alert_matchers.h"
#include "alert/alert_object.h"
#include "alert/alert_suppress.h"

static const AlertObject inhibition_object = {
	.kind = "inhibition",
	.action = "create_inhibition",
	.lock = "SELECT owner::oid, to_jsonb(i) FROM pipeline.inhibitions i WHERE name = $1 FOR UPDATE",
	.remove = "DELETE FROM pipeline.inhibitions WHERE name = $1",
	.missing_hint = "The table pipeline.inhibitions lists yours.",
	.drop_action = "drop_inhibition"
};

/* What an inhibition is called that was given no name. */
char *
pipeline_inhibition_name(const Jsonb *arguments)
{
	char	   *name = pipeline_jsonb_key(arguments, "name");

	return name ? name : psprintf("%s -> %s", pipeline_jsonb_key(arguments, "source_matchers"),
								  pipeline_jsonb_key(arguments, "target_matchers"));
}

static void
check_not_predefined(const Jsonb *definition, const char *name)
{
	if (definition && strcmp(pipeline_jsonb_key(definition, "predefined"), "true") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("inhibition \"%s\" is predefined", name),
				 errdetail("It comes with the extension and cannot be changed.")));
}

/* Raise 22023 unless they match something in particular, and are labels. */
static void
check_sides(const char *source, const char *target, const List *equal)
{
	const ListCell *lc;

	if (pipeline_matchers_parse(source, "source_matchers") == NIL ||
		pipeline_matchers_parse(target, "target_matchers") == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an inhibition needs matchers on both sides"),
				 errhint("source_matchers say which alerts mute, target_matchers which are muted.")));
	foreach(lc, equal)
	{
		char	   *of_source;
		char	   *of_target;
		const char *one = "x";

		pipeline_equal_labels(lfirst(lc), &of_source, &of_target);
		pipeline_check_labels(pipeline_jsonb_object(1, (const char *const *) &of_source, &one), "equal_labels");
		pipeline_check_labels(pipeline_jsonb_object(1, (const char *const *) &of_target, &one), "equal_labels");
	}
}

PG_FUNCTION_INFO_V1(pipeline_create_inhibition);

/*
 * SQL: create_inhibition(source_matchers, target_matchers, equal_labels, name,
 * labels, or_replace, description)
 */
Datum
pipeline_create_inhibition(PG_FUNCTION_ARGS)
{
	static const char *const keys[] = {"name", "source_matchers", "target_matchers"};
	const char *values[3];
	char	   *name;
	List	   *equal;
	Jsonb	   *before = NULL;
	Oid			owner = GetUserId();

	pipeline_not_null(fcinfo, 0, "source_matchers");
	pipeline_not_null(fcinfo, 1, "target_matchers");
	pipeline_not_null(fcinfo, 5, "or_replace");
	values[0] = pipeline_arg_text(fcinfo, 3);
	values[1] = pipeline_arg_text(fcinfo, 0);
	values[2] = pipeline_arg_text(fcinfo, 1);
	name = pipeline_inhibition_name(pipeline_jsonb_object(3, keys, values));
	pipeline_check_name("inhibition", name);
	equal = pipeline_array_list(pipeline_arg_array(fcinfo, 2), "equal_labels");
	check_sides(values[1], values[2], equal);
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 4), "labels");

	SPI_connect();
	if (PG_GETARG_BOOL(5))
		before = pipeline_object_lock(&inhibition_object, name, false, &owner);
	check_not_predefined(before, name);
	{
		const SqlArg args[] = {
			sql_text(name), sql_role(owner), sql_text(values[1]), sql_text(values[2]),
			sql_array(pipeline_list_array(equal)), sql_jsonb(pipeline_arg_jsonb(fcinfo, 4)),
			sql_text(pipeline_arg_text(fcinfo, 6))
		};

		pipeline_object_write(&inhibition_object, name, before,
							  "INSERT INTO pipeline.inhibitions AS i (name, owner, source_matchers, target_matchers, equal_labels,"
							  "   labels, description) VALUES ($1, $2, $3, $4, $5, coalesce($6, '{}'), $7)"
							  " ON CONFLICT (name) DO UPDATE SET (source_matchers, target_matchers, equal_labels, labels, description) ="
							  "  (excluded.source_matchers, excluded.target_matchers, excluded.equal_labels, excluded.labels,"
							  "   excluded.description)"
							  " WHERE $8 RETURNING to_jsonb(i)", lengthof(args), args);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_inhibition);

/* SQL: drop_inhibition(name) */
Datum
pipeline_drop_inhibition(PG_FUNCTION_ARGS)
{
	char	   *name;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	check_not_predefined(pipeline_object_lock(&inhibition_object, name, true, NULL), name);
	(void) pipeline_object_drop(&inhibition_object, name);
	SPI_finish();
	PG_RETURN_VOID();
}
