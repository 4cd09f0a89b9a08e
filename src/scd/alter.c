/*
 * alter.c
 *	  alter_dimension() and alter_fact(): the stored definition with changes,
 *	  given to create_X(..., or_replace => true), which checks it all again.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "scd/scd.h"

PG_FUNCTION_INFO_V1(pipeline_alter_dimension);
PG_FUNCTION_INFO_V1(pipeline_alter_fact);

/* An argument of create_X: its name, and how its value is spelled in SQL. */
typedef struct AlterKey
{
	const char *name;
	bool		is_array;
} AlterKey;

static const AlterKey dimension_keys[] = {
	{"source"}, {"business_key", true}, {"feed"}, {"type2", true}, {"type1", true},
	{"type0", true}, {"type3", true}, {"type6", true}, {"hard_deletes"},
	{"effective_at"}, {"operation"}, {"sequence_by"}, {"on_tie"}, {"scope", true},
	{"unknown_member"}, {"initial_valid_from"}, {"on_new_column"}, {"open_end"},
	{"names"}, {"max_delete_fraction"}, {"max_rejected_fraction"}, {"exact"},
	{"current_index"}, {"temporal_key"}, {"labels"}, {"description"}, {NULL}
};

static const AlterKey fact_keys[] = {
	{"source"}, {"lookups"}, {"fact_key", true}, {"mode"}, {"event_time"},
	{"labels"}, {"description"}, {NULL}
};

static JsonbValue *
find_key(const Jsonb *object, const char *key, JsonbValue *buf)
{
	return getKeyJsonValueFromContainer((JsonbContainer *) &object->root,
										key, strlen(key), buf);
}

/* SQL of a value. */
static char *
value_sql(const AlterKey *key, const Jsonb *object, JsonbValue *v)
{
	StringInfoData sql;

	if (key->is_array)
	{
		ListCell   *lc;
		List	   *strings = pipeline_jsonb_strings(object, "changes", key->name);

		initStringInfo(&sql);
		appendStringInfoString(&sql, "ARRAY[");
		foreach(lc, strings)
			appendStringInfo(&sql, "%s%s", lc == list_head(strings) ? "" : ", ",
							 quote_literal_cstr(lfirst(lc)));
		appendStringInfoString(&sql, "]::pg_catalog.text[]");
		return sql.data;
	}
	if (v->type == jbvString)
		return quote_literal_cstr(pnstrdup(v->val.string.val, v->val.string.len));
	else
	{
		Jsonb	   *json = JsonbValueToJsonb(v);

		return quote_literal_cstr(JsonbToCString(NULL, &json->root, VARSIZE(json)));
	}
}

/* Columns that move to another list leave type2. */
static char *
rest_of_type2(const Jsonb *row, const Jsonb *changes)
{
	static const char *const others[] = {"business_key", "type0", "type1", "type3", "type6"};
	JsonbValue	buf;
	List	   *columns = pipeline_jsonb_strings(row, "changes", "type2");
	List	   *rest = NIL;
	StringInfoData sql;
	ListCell   *lc;

	foreach(lc, columns)
	{
		bool		moved = false;

		for (int i = 0; i < lengthof(others); i++)
		{
			JsonbValue *v = find_key(changes, others[i], &buf);

			if (v != NULL && v->type != jbvNull)
				moved = moved || pipeline_list_has(pipeline_jsonb_strings(changes, "changes", others[i]), lfirst(lc));
		}
		if (!moved)
			rest = lappend(rest, lfirst(lc));
	}
	initStringInfo(&sql);
	foreach(lc, rest)
		appendStringInfo(&sql, "%s%s", lc == list_head(rest) ? "" : ", ", quote_literal_cstr(lfirst(lc)));
	return psprintf("ARRAY[%s]::pg_catalog.text[]", sql.data);
}

static void
check_known(const Jsonb *changes, const AlterKey *keys)
{
	const char *known[lengthof(dimension_keys)];
	int			n = 0;

	for (const AlterKey *key = keys; key->name; key++)
		known[n++] = key->name;
	known[n] = NULL;
	pipeline_check_keys(changes, "changes", known);
}

/* SQL of the call that defines the object anew. */
static char *
create_call(const char *function, Oid relid, const AlterKey *keys,
			const Jsonb *row, const Jsonb *changes)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pipeline.%s(%s, or_replace => true", function,
					 quote_literal_cstr(pipeline_qualified_name(relid)));
	for (const AlterKey *key = keys; key->name; key++)
	{
		JsonbValue	buf;
		JsonbValue *v = find_key(changes, key->name, &buf);
		bool		changed = v != NULL;

		if (!changed)
			v = find_key(row, key->name, &buf);
		if (changed && v->type == jbvNull)
			continue;			/* the default */
		if (!changed && strcmp(key->name, "type2") == 0)
			appendStringInfo(&sql, ", type2 => %s", rest_of_type2(row, changes));
		else if (v == NULL || v->type == jbvNull)
			appendStringInfo(&sql, ", %s => NULL", key->name);
		else
			appendStringInfo(&sql, ", %s => %s", key->name, value_sql(key, changed ? changes : row, v));
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/*
 * Define it anew, recorded as done by alter_X().  A source that stays is read
 * with the search_path that it was defined with, a new one with the caller's.
 */
static void
alter(FunctionCallInfo fcinfo, const char *kind, const AlterKey *keys,
	  const Jsonb *row, const char *search_path)
{
	Jsonb	   *changes = PG_GETARG_JSONB_P(1);
	JsonbValue	buf;
	int			level = NewGUCNestLevel();

	check_known(changes, keys);
	if (find_key(changes, "source", &buf) == NULL)
		(void) set_config_option("search_path", search_path, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	pipeline_change_action(psprintf("alter_%s", kind));
	PG_TRY();
	{
		(void) pipeline_sql_generated(create_call(psprintf("create_%s", kind), PG_GETARG_OID(0),
												  keys, row, changes),
									  SPI_OK_SELECT, false);
	}
	PG_FINALLY();
	{
		pipeline_change_action(NULL);
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
}

/* SQL: alter_dimension(dimension regclass, changes jsonb). */
Datum
pipeline_alter_dimension(PG_FUNCTION_ARGS)
{
	Dimension  *dimension;

	pipeline_not_null(fcinfo, 0, "dimension");
	pipeline_not_null(fcinfo, 1, "changes");
	SPI_connect();
	dimension = pipeline_scd_find(PG_GETARG_OID(0), false);
	pipeline_check_owner(dimension->owner, "dimension", dimension->name);
	alter(fcinfo, "dimension", dimension_keys,
		  pipeline_scd_jsonb(dimension->relid), dimension->search_path);
	SPI_finish();
	PG_RETURN_OID(PG_GETARG_OID(0));
}

/* SQL: alter_fact(fact regclass, changes jsonb). */
Datum
pipeline_alter_fact(PG_FUNCTION_ARGS)
{
	Fact	   *fact;

	pipeline_not_null(fcinfo, 0, "fact");
	pipeline_not_null(fcinfo, 1, "changes");
	SPI_connect();
	fact = pipeline_scd_find_fact(PG_GETARG_OID(0), false);
	pipeline_check_owner(fact->owner, "fact", fact->name);
	alter(fcinfo, "fact", fact_keys, pipeline_scd_fact_jsonb(fact->relid), fact->search_path);
	SPI_finish();
	PG_RETURN_OID(PG_GETARG_OID(0));
}
