/*
 * feature_set.c
 *	  Registered definitions: create, replace, add to, drop; and load, for the
 *	  refresh.
 *
 * A definition is analysed whole, as its owner, before any of it is stored.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "feature/feature.h"

#define KIND "feature set"

/* ---- scope -------------------------------------------------------------------- */

static void
set_locally(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Act as the set's owner, with its search_path and time zone, until
 * pipeline_scope_end().  Dates and intervals in a definition are read and
 * written in one style, whatever the style of the session: a definition means
 * the same to whoever refreshes it.
 */
void
feature_set_begin(const FeatureSet *set, UserScope *scope)
{
	pipeline_user_begin(scope, set->owner, set->search_path);
	set_locally("TimeZone", set->timezone);
	set_locally("DateStyle", "ISO, YMD");
	set_locally("IntervalStyle", "postgres");
}

/* ---- load ---------------------------------------------------------------------- */

static Interval *
result_interval(uint64 row, int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(row, column, &isnull);
	Interval   *copy = SPI_palloc(sizeof(Interval));

	memcpy(copy, DatumGetIntervalP(value), sizeof(Interval));
	return copy;
}

static const Jsonb *
result_jsonb(uint64 row, int column)
{
	bool		isnull;
	Jsonb	   *json = DatumGetJsonbP(pipeline_sql_datum(row, column, &isnull));
	Jsonb	   *copy = SPI_palloc(VARSIZE(json));

	memcpy(copy, json, VARSIZE(json));
	return copy;
}

static List *
result_list(uint64 row, int column, const char *argument)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(row, column, &isnull);

	return isnull ? NIL :
		pipeline_array_list(DatumGetArrayTypeP(value), argument);
}

static void
load_features(FeatureSet *set)
{
	uint64		n = pipeline_sql("SELECT feature, source, aggregate, lookback, value, closed,"
								 " filter, entity, event_time, default_value, lookahead, align, by, args"
								 " FROM pipeline.features WHERE feature_set = $1"
								 " ORDER BY position", SPI_OK_SELECT,
								 sql_text(set->name));

	for (uint64 i = 0; i < n; i++)
	{
		FeatureText text = {0};

		text.name = pipeline_sql_text(i, 1);
		text.source = pipeline_sql_text(i, 2);
		text.aggregate = pipeline_sql_text(i, 3);
		text.lookback = result_interval(i, 4);
		text.value = pipeline_sql_text(i, 5);
		text.closed = pipeline_sql_text(i, 6);
		text.filter = pipeline_sql_text(i, 7);
		text.entity = result_list(i, 8, "entity");
		text.event_time = pipeline_sql_text(i, 9);
		text.default_value = pipeline_sql_text(i, 10);
		text.lookahead = result_interval(i, 11);
		text.align = pipeline_sql_text(i, 12);
		text.by = pipeline_sql_text(i, 13);
		text.args = result_jsonb(i, 14);
		set->specs = lappend(set->specs, feature_spec(&text));
	}
}

/*
 * Load a set with its features and check that the current user has the
 * rights of its owner.  Inside an SPI connection.
 */
FeatureSet *
feature_set_load(const char *name)
{
	FeatureSet *set = palloc0(sizeof(FeatureSet));
	UserScope	scope;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner, spine, entity, event_time, target, timezone, search_path, knowledge_time, spine_key"
					 " FROM pipeline.feature_sets WHERE name = $1", SPI_OK_SELECT,
					 sql_text(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s \"%s\" does not exist", KIND, name),
				 errhint("pipeline.feature_sets lists those that you may see; pipeline.create_feature_set() makes one.")));
	set->name = pstrdup(name);
	set->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	set->spine = pipeline_sql_text(0, 2);
	set->entity = result_list(0, 3, "entity");
	set->event_time = pipeline_sql_text(0, 4);
	set->target = pipeline_sql_text(0, 5);
	set->timezone = pipeline_sql_text(0, 6);
	set->search_path = pipeline_sql_text(0, 7);
	set->knowledge_time = pipeline_sql_text(0, 8);
	set->spine_key = result_list(0, 9, "spine_key");
	load_features(set);
	pipeline_scope_end(&scope);
	pipeline_check_owner(set->owner, KIND, name);
	return set;
}

/*
 * The same, after waiting for other changes and refreshes of the set, and
 * keeping them waiting until the end of the transaction.
 */
static FeatureSet *
lock_and_load(const char *name)
{
	UserScope	scope;

	(void) feature_set_load(name);	/* who may not change it may not lock it */
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT 1 FROM pipeline.feature_sets WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
	pipeline_scope_end(&scope);
	return feature_set_load(name);
}

/* The definition as jsonb, for the change log; NULL if there is none. */
static Jsonb *
set_as_jsonb(const char *name)
{
	UserScope	scope;
	Jsonb	   *json = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT to_jsonb(s) - 'created_at' - 'refreshed_at' || jsonb_build_object('features',"
					 " coalesce((SELECT jsonb_agg(to_jsonb(f) - '{feature_set,owner,position,created_at}'::text[] ORDER BY f.position)"
					 " FROM pipeline.features f WHERE f.feature_set = s.name), '[]'))"
					 " FROM pipeline.feature_sets s WHERE s.name = $1", SPI_OK_SELECT,
					 sql_text(name)) > 0)
		json = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return json;
}

/* ---- create_feature_set ---------------------------------------------------------- */

/*
 * Return the qualified, quoted name of the target: as given, or like the set,
 * in the first schema of the search_path.
 */
char *
feature_target_name(const char *target, const char *set)
{
	List	   *names = NIL;
	RangeVar   *rv;
	ListCell   *lc;

	if (target == NULL)
		names = list_make1(pstrdup(set));
	else if (!SplitIdentifierString(pstrdup(target), '.', &names) ||
			 list_length(names) < 1 || list_length(names) > 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("argument \"target\" is not the name of a table: \"%s\"", target),
				 errhint("Quote identifiers as in SQL: schema.\"My Table\".")));
	if (strlen(llast(names)) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("the name of the target is too long: \"%s\"", (char *) llast(names)),
				 errhint("Give argument \"target\" at most %d bytes.", NAMEDATALEN - 1)));
	foreach(lc, names)
		lfirst(lc) = makeString(pstrdup(lfirst(lc)));
	rv = makeRangeVarFromNameList(names);
	if (rv->schemaname != NULL)
		(void) get_namespace_oid(rv->schemaname, false);
	else
		rv->schemaname = get_namespace_name(RangeVarGetCreationNamespace(rv));
	return quote_qualified_identifier(rv->schemaname, rv->relname);
}

/* Raise 22023 unless the server knows the time zone. */
void
feature_check_timezone(const char *timezone)
{
	if (pg_tzset(timezone) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", timezone),
				 errhint("pg_timezone_names lists those available.")));
}

/* The target has a column of its own. */
static void
check_set_columns(const FeaturePlan *plan)
{
	for (int i = 0; i < plan->result->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(plan->result, i)->attname), "as_of") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"as_of\" would appear twice in the target"),
					 errhint("The target keeps the as_of of the refresh there: give the column of the spine, or the feature, another name.")));
	}
}

/*
 * Return the definition of that name, which is to be replaced, as it was;
 * NULL if there is none.
 */
static Jsonb *
replaced_set(const char *name, bool or_replace, FeatureSet *set)
{
	Jsonb	   *before = set_as_jsonb(name);

	if (before == NULL)
		return NULL;
	if (!or_replace)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("%s \"%s\" already exists", KIND, name),
				 errhint("Use or_replace => true to replace it, its features included.")));
	set->owner = lock_and_load(name)->owner;
	pipeline_check_author(set->owner, KIND, name, "spine");
	return before;
}

/* Analyse the new definition as its owner, and name its target. */
static void
check_set(FeatureSet *set, const char *target)
{
	UserScope	scope;
	FeaturePlan *plan;
	ListCell   *lc;

	feature_set_begin(set, &scope);
	plan = feature_plan(set->spine, set->entity, set->event_time,
						set->knowledge_time, NIL);
	check_set_columns(plan);
	foreach(lc, set->spine_key)
		(void) pipeline_source_column(plan->spine, lfirst(lc), "spine_key");
	set->target = feature_target_name(target, set->name);
	pipeline_scope_end(&scope);
}

/* A refresh empties the target: it must be this set's alone. */
static void
check_target_free(const FeatureSet *set, bool its_own)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT 1 FROM pipeline.feature_sets WHERE target = $1 AND (name <> $2 OR $3)",
					 SPI_OK_SELECT, sql_text(set->target), sql_text(set->name), sql_bool(its_own)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("target %s is kept by %s %s", set->target, its_own ? "a" : "another", KIND),
				 errhint("A refresh replaces the rows of its target: give argument \"target\" a table of its own.")));
	pipeline_scope_end(&scope);
}

/*
 * Turn a set that was loaded into one over another spine, with another target:
 * the same features of other rows.
 */
void
feature_set_over(FeatureSet *set, const char *spine, const char *target)
{
	set->spine = pstrdup(spine);
	set->spine_key = NIL;
	check_set(set, target);
	check_target_free(set, true);
}

static void
store_set(FunctionCallInfo fcinfo, const FeatureSet *set, bool replace)
{
	const SqlArg args[] = {
		sql_text(set->name), sql_role(set->owner), sql_text(set->spine),
		sql_array(pipeline_arg_array(fcinfo, 2)), sql_text(set->event_time),
		sql_text(set->target), sql_text(set->timezone),
		sql_text(set->search_path), sql_jsonb(pipeline_arg_jsonb(fcinfo, 8)),
		sql_text(pipeline_arg_text(fcinfo, 10)),
		sql_text(set->knowledge_time), sql_array(pipeline_arg_array(fcinfo, 5))
	};
	UserScope	scope;

	pipeline_extension_begin(&scope);
	if (replace)
	{
		pipeline_sql("DELETE FROM pipeline.features WHERE feature_set = $1",
					 SPI_OK_DELETE, sql_text(set->name));
		pipeline_sql_run("UPDATE pipeline.feature_sets SET owner = $2, spine = $3, entity = $4,"
						 " event_time = $5, target = $6, timezone = $7, search_path = $8,"
						 " labels = $9, description = $10, knowledge_time = $11, spine_key = $12 WHERE name = $1",
						 SPI_OK_UPDATE, false, lengthof(args), args);
	}
	else
		pipeline_sql_run("INSERT INTO pipeline.feature_sets (name, owner, spine, entity,"
						 " event_time, target, timezone, search_path, labels, description, knowledge_time, spine_key)"
						 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
						 SPI_OK_INSERT, false, lengthof(args), args);
	pipeline_scope_end(&scope);
}

static void
check_set_arguments(FunctionCallInfo fcinfo)
{
	static const char *const required[] = {"name", "spine", "entity", "event_time"};

	for (int i = 0; i < lengthof(required); i++)
		pipeline_not_null(fcinfo, i, required[i]);
	pipeline_not_null(fcinfo, 7, "timezone");
	pipeline_not_null(fcinfo, 8, "labels");
	pipeline_not_null(fcinfo, 9, "or_replace");
	pipeline_check_name(KIND, pipeline_arg_text(fcinfo, 0));
	feature_check_timezone(pipeline_arg_text(fcinfo, 7));
	if (!JB_ROOT_IS_OBJECT(pipeline_arg_jsonb(fcinfo, 8)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"labels\" must be a JSON object")));
}

PG_FUNCTION_INFO_V1(pipeline_create_feature_set);

/* SQL: create_feature_set(name, spine, entity, event_time, ...). */
Datum
pipeline_create_feature_set(PG_FUNCTION_ARGS)
{
	FeatureSet	set = {0};
	Jsonb	   *before;

	check_set_arguments(fcinfo);
	set.name = pipeline_arg_text(fcinfo, 0);
	set.owner = GetUserId();
	set.spine = pipeline_arg_text(fcinfo, 1);
	set.entity = pipeline_array_list(pipeline_arg_array(fcinfo, 2), "entity");
	set.event_time = pipeline_arg_text(fcinfo, 3);
	set.spine_key = pipeline_array_list(pipeline_arg_array(fcinfo, 5), "spine_key");
	set.knowledge_time = pipeline_arg_text(fcinfo, 6);
	set.timezone = pipeline_arg_text(fcinfo, 7);
	set.search_path = pipeline_search_path();

	SPI_connect();
	before = replaced_set(set.name, PG_GETARG_BOOL(9), &set);
	check_set(&set, pipeline_arg_text(fcinfo, 4));
	check_target_free(&set, false);
	store_set(fcinfo, &set, before != NULL);
	pipeline_record_change("create_feature_set", KIND, set.name, before,
						   set_as_jsonb(set.name), NULL);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- add_feature, drop_feature ------------------------------------------------------ */

static FeatureSpec *
spec_from_arguments(FunctionCallInfo fcinfo)
{
	FeatureText text = {0};

	text.name = pipeline_arg_text(fcinfo, 1);
	text.source = pipeline_arg_text(fcinfo, 2);
	text.aggregate = pipeline_arg_text(fcinfo, 3);
	text.lookback = PG_ARGISNULL(4) ? NULL : PG_GETARG_INTERVAL_P(4);
	text.lookahead = PG_ARGISNULL(5) ? NULL : PG_GETARG_INTERVAL_P(5);
	text.value = pipeline_arg_text(fcinfo, 6);
	text.closed = pipeline_arg_text(fcinfo, 7);
	text.filter = pipeline_arg_text(fcinfo, 8);
	text.entity = pipeline_array_list(pipeline_arg_array(fcinfo, 9), "entity");
	text.event_time = pipeline_arg_text(fcinfo, 10);
	text.align = pipeline_arg_text(fcinfo, 11);
	text.by = pipeline_arg_text(fcinfo, 12);
	text.args = pipeline_arg_jsonb(fcinfo, 13);
	text.default_value = pipeline_arg_text(fcinfo, 14);
	return feature_spec(&text);
}

static FeatureSpec *
find_spec(const FeatureSet *set, const char *feature)
{
	ListCell   *lc;

	foreach(lc, set->specs)
	{
		FeatureSpec *spec = lfirst(lc);

		if (strcmp(spec->name, feature) == 0)
			return spec;
	}
	return NULL;
}

/* Analyse the set with its features as its owner; return the last one's type. */
static char *
check_features(const FeatureSet *set)
{
	UserScope	scope;
	FeaturePlan *plan;
	char	   *type;

	feature_set_begin(set, &scope);
	plan = feature_plan(set->spine, set->entity, set->event_time,
						set->knowledge_time, set->specs);
	check_set_columns(plan);
	type = pstrdup(format_type_be(((Feature *) llast(plan->features))->result_type));
	pipeline_scope_end(&scope);
	return type;
}

PG_FUNCTION_INFO_V1(pipeline_add_feature);

/* SQL: add_feature(set, feature, source, aggregate, lookback, ...). */
Datum
pipeline_add_feature(PG_FUNCTION_ARGS)
{
	char	   *name;
	FeatureSpec *spec;
	FeatureSet *set;
	Jsonb	   *before;
	char	   *type;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "set");
	name = pipeline_arg_text(fcinfo, 0);
	spec = spec_from_arguments(fcinfo);

	SPI_connect();
	set = lock_and_load(name);
	pipeline_check_author(set->owner, KIND, name, "source");
	if (find_spec(set, spec->name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("feature \"%s\" of %s \"%s\" already exists",
						spec->name, KIND, name),
				 errhint("Drop it first with pipeline.drop_feature().")));
	before = set_as_jsonb(name);
	set->specs = lappend(set->specs, spec);
	type = check_features(set);
	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.features (feature_set, feature, position, owner, source, aggregate,"
				 " lookback, value, closed, filter, entity, event_time, default_value, result_type, lookahead, align, by, args)"
				 " SELECT $1, $2, coalesce(max(position), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, coalesce($17, '{}')"
				 " FROM pipeline.features WHERE feature_set = $1", SPI_OK_INSERT,
				 sql_text(name), sql_text(spec->name), sql_role(set->owner),
				 sql_text(spec->source), sql_text(spec->aggregate_name),
				 sql_interval(spec->lookback), sql_text(spec->value),
				 sql_text(spec->closed), sql_text(spec->filter),
				 sql_array(pipeline_arg_array(fcinfo, 9)),
				 sql_text(spec->event_time), sql_text(spec->default_value),
				 sql_text(type), sql_interval(spec->lookahead),
				 sql_text(spec->align), sql_text(spec->by), sql_jsonb(spec->args));
	pipeline_scope_end(&scope);
	pipeline_record_change("add_feature", KIND, name, before,
						   set_as_jsonb(name), spec->name);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_feature);

/* SQL: drop_feature(set, feature). */
Datum
pipeline_drop_feature(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *feature;
	FeatureSet *set;
	Jsonb	   *before;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "set");
	pipeline_not_null(fcinfo, 1, "feature");
	name = pipeline_arg_text(fcinfo, 0);
	feature = pipeline_arg_text(fcinfo, 1);

	SPI_connect();
	set = lock_and_load(name);
	if (find_spec(set, feature) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("feature \"%s\" of %s \"%s\" does not exist",
						feature, KIND, name),
				 errhint("pipeline.feature_catalog lists those that you may see.")));
	before = set_as_jsonb(name);
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.features WHERE feature_set = $1 AND feature = $2",
				 SPI_OK_DELETE, sql_text(name), sql_text(feature));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_feature", KIND, name, before,
						   set_as_jsonb(name), feature);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- drop_feature_set ------------------------------------------------------------------ */

PG_FUNCTION_INFO_V1(pipeline_drop_feature_set);

/* SQL: drop_feature_set(set, drop_target). */
Datum
pipeline_drop_feature_set(PG_FUNCTION_ARGS)
{
	char	   *name;
	FeatureSet *set;
	Jsonb	   *before;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "set");
	pipeline_not_null(fcinfo, 1, "drop_target");
	name = pipeline_arg_text(fcinfo, 0);

	SPI_connect();
	set = lock_and_load(name);
	before = set_as_jsonb(name);
	if (PG_GETARG_BOOL(1))
	{
		feature_set_begin(set, &scope);
		pipeline_sql_generated(psprintf("DROP TABLE IF EXISTS %s", set->target),
							   SPI_OK_UTILITY, false);
		pipeline_scope_end(&scope);
	}
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.feature_sets WHERE name = $1",
				 SPI_OK_DELETE, sql_text(name));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_feature_set", KIND, name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
