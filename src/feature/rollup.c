/*
 * rollup.c
 *	  Rollups defined: create, drop; and load, for the refresh.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "feature/rollup.h"

#define KIND "rollup"

static const char *const kinds[] = {"tumbling", "hopping", "session", NULL};

/* ---- from arguments --------------------------------------------------------------------------- */

/* A definition as given. */
typedef struct RollupText
{
	Rollup		rollup;
	char	   *target;
	const Jsonb *labels;
	char	   *description;
} RollupText;

static void
required(const void *value, const char *argument)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", argument)));
}

static Interval *
interval_from(const char *text)
{
	return text == NULL ? NULL :
		DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
											  ObjectIdGetDatum(InvalidOid),
											  Int32GetDatum(-1)));
}

static const Jsonb *
jsonb_member(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
												 key, strlen(key), &buf);

	return v == NULL || v->type == jbvNull ? NULL : JsonbValueToJsonb(v);
}

static List *
strings_member(const Jsonb *object, const char *key)
{
	const Jsonb *array = jsonb_member(object, key);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	List	   *list = NIL;

	if (array == NULL)
		return NIL;
	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of a rollup must be an array of strings", key)));
	it = JsonbIteratorInit((JsonbContainer *) &array->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && v.type == jbvString)
			list = lappend(list, pnstrdup(v.val.string.val, v.val.string.len));
	}
	return list;
}

static Jsonb *
empty_object(void)
{
	return pipeline_jsonb_object(0, NULL, NULL);
}

/* A definition from an object with the keys of create_rollup()'s arguments. */
static void
text_from_jsonb(RollupText *text, const Jsonb *object)
{
	Rollup	   *r = &text->rollup;
	char	   *lateness = pipeline_jsonb_key(object, "allowed_lateness");
	char	   *timezone = pipeline_jsonb_key(object, "timezone");

	r->source = pipeline_jsonb_key(object, "source");
	r->event_time = pipeline_jsonb_key(object, "event_time");
	r->kind_name = pipeline_jsonb_key(object, "kind");
	r->aggregates = jsonb_member(object, "aggregates");
	r->width = interval_from(pipeline_jsonb_key(object, "width"));
	r->slide = interval_from(pipeline_jsonb_key(object, "slide"));
	r->gap = interval_from(pipeline_jsonb_key(object, "gap"));
	r->group_by = strings_member(object, "group_by");
	r->allowed_lateness = interval_from(lateness ? lateness : "0");
	r->timezone = timezone ? timezone : pstrdup("UTC");
	text->target = pipeline_jsonb_key(object, "target");
	text->labels = jsonb_member(object, "labels");
	if (text->labels == NULL)
		text->labels = empty_object();
	text->description = pipeline_jsonb_key(object, "description");
}

static Interval *
interval_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_INTERVAL_P(argument);
}

static void
text_from_arguments(RollupText *text, FunctionCallInfo fcinfo)
{
	Rollup	   *r = &text->rollup;

	r->source = pipeline_arg_text(fcinfo, 1);
	r->event_time = pipeline_arg_text(fcinfo, 2);
	r->kind_name = pipeline_arg_text(fcinfo, 3);
	r->aggregates = pipeline_arg_jsonb(fcinfo, 4);
	r->width = interval_argument(fcinfo, 5);
	r->slide = interval_argument(fcinfo, 6);
	r->gap = interval_argument(fcinfo, 7);
	r->group_by = pipeline_array_list(pipeline_arg_array(fcinfo, 8), "group_by");
	r->allowed_lateness = interval_argument(fcinfo, 9);
	text->target = pipeline_arg_text(fcinfo, 10);
	r->timezone = pipeline_arg_text(fcinfo, 11);
	text->labels = pipeline_arg_jsonb(fcinfo, 12);
	text->description = pipeline_arg_text(fcinfo, 14);
}

/* ---- checks ------------------------------------------------------------------------------- */

static void
check_interval(const Interval *interval, const char *argument, bool wanted,
			   const char *kind)
{
	Interval	zero = {0};

	if ((interval != NULL) != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(wanted ? "a %s rollup needs argument \"%s\"" :
						"a %s rollup takes no argument \"%s\"", kind, argument),
				 errhint("A tumbling rollup has a width, a hopping one a width and a slide, one of sessions a gap.")));
	if (wanted && (pipeline_compare_intervals(interval, &zero) <= 0 ||
				   (interval->month != 0) + (interval->day != 0) + (interval->time != 0) != 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be positive, in months, in days, or in hours and less", argument),
				 errdetail("It is %s.", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)))),
				 errhint("Windows must have one place on the calendar: a day is not 24 hours, a month is not 30 days.")));
}

static void
check_definition(RollupText *text)
{
	Rollup	   *r = &text->rollup;
	Interval	zero = {0};

	required(r->source, "source");
	required(r->event_time, "event_time");
	required(r->kind_name, "kind");
	required(r->aggregates, "aggregates");
	required(r->allowed_lateness, "allowed_lateness");
	required(r->timezone, "timezone");
	required(text->labels, "labels");
	pipeline_check_choice("kind", r->kind_name, kinds);
	for (int i = 0; kinds[i]; i++)
	{
		if (strcmp(kinds[i], r->kind_name) == 0)
			r->kind = (RollupKind) i;
	}
	check_interval(r->width, "width", r->kind != ROLLUP_SESSION, r->kind_name);
	check_interval(r->slide, "slide", r->kind == ROLLUP_HOPPING, r->kind_name);
	check_interval(r->gap, "gap", r->kind == ROLLUP_SESSION, r->kind_name);
	if (pipeline_compare_intervals(r->allowed_lateness, &zero) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"allowed_lateness\" must not be negative")));
	if (!JB_ROOT_IS_OBJECT(r->aggregates) || JB_ROOT_COUNT(r->aggregates) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"aggregates\" must be a JSON object of at least one aggregate"),
				 errhint("Say, for one: '{\"events\": \"count(*)\", \"players\": \"count(DISTINCT player_id)\"}'.")));
	if (!JB_ROOT_IS_OBJECT(text->labels))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"labels\" must be a JSON object")));
	feature_check_timezone(r->timezone);
}

/* Act as the owner, with the definition's search_path and time zone. */
void
rollup_begin(const Rollup *rollup, UserScope *scope)
{
	FeatureSet	set = {0};

	set.owner = rollup->owner;
	set.search_path = rollup->search_path;
	set.timezone = rollup->timezone;
	feature_set_begin(&set, scope);
}

static void
check_column(const char *name)
{
	if (strcmp(name, "?column?") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an expression of argument \"group_by\" has no name"),
				 errhint("Give it one: payload->>'map' AS map.")));
	if (pipeline_list_has(list_make3("window_start", "window_end", "complete"), name))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("column \"%s\" would appear twice in the target", name),
				 errhint("Give the group or the aggregate another name.")));
}

/*
 * Analyse a rollup as the current user: return the columns of its windows,
 * and its source; note the names of the groups.
 */
TupleDesc
rollup_analyse(Rollup *rollup, Source **source)
{
	TupleDesc	desc;

	*source = pipeline_source(rollup->source, "source");
	(void) plan_time_is_local(*source, rollup->event_time, "event_time");
	rollup->group_names = NIL;
	if (rollup->group_by != NIL)
	{
		desc = pipeline_query_columns(rollup_groups_sql(rollup, *source));
		for (int i = 0; i < desc->natts; i++)
			rollup->group_names = lappend(rollup->group_names,
										  pstrdup(NameStr(TupleDescAttr(desc, i)->attname)));
	}
	desc = pipeline_query_columns(rollup_windows_sql(rollup, *source));
	for (int i = 2; i < desc->natts; i++)
	{
		check_column(NameStr(TupleDescAttr(desc, i)->attname));
		for (int j = 2; j < i; j++)
		{
			if (strcmp(NameStr(TupleDescAttr(desc, i)->attname),
					   NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" would appear twice in the target",
								NameStr(TupleDescAttr(desc, i)->attname))));
		}
	}
	return desc;
}

/* ---- store and load ----------------------------------------------------------------------- */

static Jsonb *
rollup_as_jsonb(const char *name)
{
	UserScope	scope;
	Jsonb	   *json = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT to_jsonb(r) - '{created_at,refreshed_at,watermark,closed_before,snapshot}'::text[]"
					 " FROM pipeline.rollups r WHERE name = $1", SPI_OK_SELECT,
					 sql_text(name)) > 0)
		json = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return json;
}

/*
 * Load a rollup and check that the current user has the rights of its owner.
 * Inside an SPI connection.
 */
Rollup *
rollup_load(const char *name)
{
	RollupText *text = palloc0(sizeof(RollupText));
	Rollup	   *r = &text->rollup;
	Jsonb	   *json;
	UserScope	scope;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner, search_path, target, watermark, closed_before, snapshot FROM pipeline.rollups WHERE name = $1",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s \"%s\" does not exist", KIND, name),
				 errhint("pipeline.rollups lists those that you may see; pipeline.create_rollup() makes one.")));
	r->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	r->search_path = pipeline_sql_text(0, 2);
	r->target = pipeline_sql_text(0, 3);
	r->watermark = pipeline_sql_text(0, 4);
	r->closed_before = pipeline_sql_text(0, 5);
	r->snapshot = pipeline_sql_text(0, 6);
	pipeline_scope_end(&scope);
	pipeline_check_owner(r->owner, KIND, name);
	json = rollup_as_jsonb(name);
	text_from_jsonb(text, json);
	check_definition(text);
	r->name = pstrdup(name);
	return r;
}

static void
check_target_free(const Rollup *rollup)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT 1 FROM pipeline.rollups WHERE target = $1 AND name <> $2"
					 " UNION ALL SELECT 1 FROM pipeline.feature_sets WHERE target = $1",
					 SPI_OK_SELECT, sql_text(rollup->target), sql_text(rollup->name)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("target %s is kept by another %s or feature set", rollup->target, KIND),
				 errhint("A refresh replaces the rows of its target: give argument \"target\" a table of its own.")));
	pipeline_scope_end(&scope);
}

static void
store_rollup(const RollupText *text)
{
	const Rollup *r = &text->rollup;
	const SqlArg args[] = {
		sql_text(r->name), sql_role(r->owner), sql_text(r->source),
		sql_text(r->event_time), sql_text(r->kind_name), sql_jsonb(r->aggregates),
		sql_interval(r->width), sql_interval(r->slide), sql_interval(r->gap),
		sql_array(pipeline_list_array(r->group_by)), sql_interval(r->allowed_lateness),
		sql_text(r->target), sql_text(r->timezone), sql_text(r->search_path),
		sql_jsonb(text->labels), sql_text(text->description)
	};
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql_run("INSERT INTO pipeline.rollups AS r (name, owner, source, event_time, kind, aggregates, width, slide, gap,"
					 " group_by, allowed_lateness, target, timezone, search_path, labels, description)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, '{}'), $11, $12, $13, $14, $15, $16)"
					 " ON CONFLICT (name) DO UPDATE SET source = excluded.source, event_time = excluded.event_time,"
					 " kind = excluded.kind, aggregates = excluded.aggregates, width = excluded.width, slide = excluded.slide,"
					 " gap = excluded.gap, group_by = excluded.group_by, allowed_lateness = excluded.allowed_lateness,"
					 " target = excluded.target, timezone = excluded.timezone, search_path = excluded.search_path,"
					 " labels = excluded.labels, description = excluded.description,"
					 /* Another definition starts anew. */
					 " watermark = NULL, closed_before = NULL, snapshot = NULL", SPI_OK_INSERT, false, lengthof(args), args);
	pipeline_scope_end(&scope);
}

/* Check a definition whole, as its owner, and store it. */
static void
define_rollup(RollupText *text, const Jsonb *before)
{
	Rollup	   *r = &text->rollup;
	Source	   *source;
	UserScope	scope;

	check_definition(text);
	rollup_begin(r, &scope);
	(void) rollup_analyse(r, &source);
	r->target = feature_target_name(text->target, r->name);
	pipeline_scope_end(&scope);
	check_target_free(r);
	store_rollup(text);
	pipeline_record_change("create_rollup", KIND, r->name, before, rollup_as_jsonb(r->name), NULL);
}

/* Wait for refreshes and other changes of it. */
static void
lock_rollup(const char *name)
{
	UserScope	scope;

	(void) rollup_load(name);	/* who may not change it may not lock it */
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT 1 FROM pipeline.rollups WHERE name = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
	pipeline_scope_end(&scope);
}

PG_FUNCTION_INFO_V1(pipeline_create_rollup);

/* SQL: create_rollup(name, source, event_time, kind, aggregates, ...). */
Datum
pipeline_create_rollup(PG_FUNCTION_ARGS)
{
	RollupText	text = {0};
	Rollup	   *r = &text.rollup;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 13, "or_replace");
	r->name = pipeline_arg_text(fcinfo, 0);
	pipeline_check_name(KIND, r->name);
	text_from_arguments(&text, fcinfo);
	r->owner = GetUserId();
	r->search_path = pipeline_search_path();
	SPI_connect();
	before = rollup_as_jsonb(r->name);
	if (before != NULL && !PG_GETARG_BOOL(13))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("%s \"%s\" already exists", KIND, r->name),
				 errhint("Use or_replace => true to replace it, or pipeline.alter_rollup().")));
	if (before != NULL)
	{
		lock_rollup(r->name);
		r->owner = rollup_load(r->name)->owner;
		pipeline_check_author(r->owner, KIND, r->name, "source");
	}
	define_rollup(&text, before);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_rollup);

/* SQL: drop_rollup(name, drop_target). */
Datum
pipeline_drop_rollup(PG_FUNCTION_ARGS)
{
	Rollup	   *rollup;
	Jsonb	   *before;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "drop_target");
	SPI_connect();
	lock_rollup(pipeline_arg_text(fcinfo, 0));
	rollup = rollup_load(pipeline_arg_text(fcinfo, 0));
	before = rollup_as_jsonb(rollup->name);
	if (PG_GETARG_BOOL(1))
	{
		rollup_begin(rollup, &scope);
		pipeline_sql_generated(psprintf("DROP TABLE IF EXISTS %s", rollup->target),
							   SPI_OK_UTILITY, false);
		pipeline_scope_end(&scope);
	}
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.rollups WHERE name = $1", SPI_OK_DELETE,
				 sql_text(rollup->name));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_rollup", KIND, rollup->name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
