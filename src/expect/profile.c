/*
 * profile.c
 *	  profile and suggest: what a table holds, and what to expect of it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "expect/sketch.h"

/* Can values of the type be told apart, so that they can be counted? */
static bool
is_countable(Oid typid)
{
	TypeCacheEntry *type = lookup_type_cache(typid, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC | TYPECACHE_LT_OPR);

	return OidIsValid(type->eq_opr) && (OidIsValid(type->hash_proc) || OidIsValid(type->lt_opr));
}

/* The aggregate for a column, or NULL if its values cannot be counted. */
static const char *
aggregate_of(Oid typid, ProfileMode mode)
{
	if (!is_countable(typid))
		return NULL;
	if (mode == PROFILE_EXACT || !pipeline_is_sketchable(typid))
		return "_distribution";
	return mode == PROFILE_UNIQUE ? "_sketch_unique" : "_sketch";
}

/* One statement for all columns: an aggregate each, in one scan. */
static char *
profile_statement(const ScanTarget *target, ProfileMode mode)
{
	TupleDesc	columns = target->source->columns;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT pg_catalog.count(*)");
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(columns, i);
		char	   *column = psprintf("%s.%s", target->alias, quote_identifier(NameStr(att->attname)));
		const char *aggregate = aggregate_of(att->atttypid, mode);

		if (aggregate)
			appendStringInfo(&sql, ", pipeline.%s('[{\"type\": \"profile\", \"kwargs\": {}, \"collation\": %u}]'::pg_catalog.jsonb, %s, true)",
							 aggregate, att->attcollation, column);
		else
			appendStringInfo(&sql, ", pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('elements', pg_catalog.count(*),"
							 " 'missing', pg_catalog.count(*) OPERATOR(pg_catalog.-) pg_catalog.count(%s)))", column);
	}
	appendStringInfo(&sql, " %s", pipeline_from_where(target, NULL));
	return sql.data;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text)
		values[column] = CStringGetTextDatum(text);
}

static void
set_number(Datum *values, bool *nulls, int column, const Jsonb *found, const char *key)
{
	JsonbValue	buf;

	nulls[column] = found == NULL || pipeline_kwarg(found, key, &buf) == NULL;
	if (!nulls[column])
		values[column] = Float8GetDatum(pipeline_kwarg_number(found, key, 0));
}

static void
set_count(Datum *values, bool *nulls, int column, const Jsonb *found, const char *key)
{
	int64		value = 0;

	nulls[column] = found == NULL || !pipeline_kwarg_int(found, key, &value);
	values[column] = Int64GetDatum(value);
}

static void
set_json(Datum *values, bool *nulls, int column, const Jsonb *found, const char *key)
{
	Jsonb	   *value = found ? pipeline_kwarg_json(found, key) : NULL;

	nulls[column] = value == NULL;
	values[column] = PointerGetDatum(value);
}

/* A row of the profile. */
static void
profile_row(Form_pg_attribute att, int number, int64 rows, const Jsonb *found,
			Datum *values, bool *nulls)
{
	int64		missing = 0;

	memset(nulls, 0, PROFILE_COLUMNS * sizeof(bool));
	values[0] = Int32GetDatum(number);
	set_text(values, nulls, 1, NameStr(att->attname));
	set_text(values, nulls, 2, format_type_with_typemod(att->atttypid, att->atttypmod));
	values[3] = Int64GetDatum(rows);
	if (found)
		pipeline_kwarg_int(found, "missing", &missing);
	values[4] = Float8GetDatum(rows ? 100.0 * missing / rows : 0);
	nulls[4] = rows == 0;
	set_count(values, nulls, 5, found, "distinct");
	set_text(values, nulls, 6, found ? pipeline_jsonb_key(found, "min") : NULL);
	set_text(values, nulls, 7, found ? pipeline_jsonb_key(found, "max") : NULL);
	set_number(values, nulls, 8, found, "mean");
	set_number(values, nulls, 9, found, "stddev");
	set_json(values, nulls, 10, found, "quantiles");
	set_count(values, nulls, 11, found, "min_length");
	set_count(values, nulls, 12, found, "max_length");
	set_json(values, nulls, 13, found, "top_values");
	set_json(values, nulls, 14, found, "patterns");
	values[15] = BoolGetDatum(found == NULL || !pipeline_kwarg_bool(found, "approximate"));
}

/* Profile a target, row by row into a sink; inside an SPI connection. */
void
pipeline_profile_rows(const char *text, ProfileMode mode, ProfileSink sink, void *arg)
{
	ScanTarget *target = pipeline_open_target(text, NULL);
	SPITupleTable *table;
	int64		rows;

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	pipeline_sql_generated(profile_statement(target, mode), SPI_OK_SELECT, true);
	PopActiveSnapshot();
	table = SPI_tuptable;
	rows = pipeline_sql_int8(0, 1);
	for (int i = 0; i < target->source->columns->natts; i++)
	{
		Datum		values[PROFILE_COLUMNS];
		bool		nulls[PROFILE_COLUMNS];
		bool		isnull;
		Datum		value = pipeline_sql_datum(0, i + 2, &isnull);
		Jsonb	   *found = NULL;

		if (!isnull)
		{
			Jsonb	   *list = DatumGetJsonbP(value);

			found = JsonbValueToJsonb(getIthJsonbValueFromContainer(&list->root, 0));
		}
		profile_row(TupleDescAttr(target->source->columns, i), i + 1, rows, found, values, nulls);
		sink(arg, values, nulls);
		SPI_tuptable = table;
	}
}

static void
put_row(void *arg, Datum *values, bool *nulls)
{
	ReturnSetInfo *rsinfo = arg;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * A function of (target, exact) that returns a set: the statistics of each column,
 * as the sink puts them into its ReturnSetInfo.
 */
Datum
pipeline_profile_set(FunctionCallInfo fcinfo, ProfileSink sink)
{
	pipeline_not_null(fcinfo, 0, "target");
	pipeline_not_null(fcinfo, 1, "exact");
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	pipeline_profile_rows(pipeline_arg_text(fcinfo, 0), PG_GETARG_BOOL(1) ? PROFILE_EXACT : PROFILE_SKETCHED,
						  sink, fcinfo->resultinfo);
	SPI_finish();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(pipeline_profile);

/* SQL: profile(target, exact) */
Datum
pipeline_profile(PG_FUNCTION_ARGS)
{
	return pipeline_profile_set(fcinfo, put_row);
}

/* ---- suggest ---------------------------------------------------------------------- */

/* Rows of a profile as an array of JSON objects, in the making. */
typedef struct RowList
{
	TupleDesc	columns;
	FmgrInfo	to_json;
	StringInfoData json;
} RowList;

static void
list_row(void *arg, Datum *values, bool *nulls)
{
	RowList    *list = arg;
	Datum		row = heap_copy_tuple_as_datum(heap_form_tuple(list->columns, values, nulls), list->columns);

	appendStringInfo(&list->json, "%s%s", list->json.len > 1 ? ", " : "",
					 TextDatumGetCString(FunctionCall1(&list->to_json, row)));
}

PG_FUNCTION_INFO_V1(pipeline_suggest);

/* SQL: suggest(target, exact): from the profile, by rules that the table meets today. */
Datum
pipeline_suggest(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	RowList		rows;
	Oid			type;
	Jsonb	   *suite;
	bool		isnull;

	pipeline_not_null(fcinfo, 0, "target");
	pipeline_not_null(fcinfo, 1, "exact");
	type = DatumGetObjectId(DirectFunctionCall1(regtypein, CStringGetDatum("pipeline.column_profile")));
	rows.columns = lookup_rowtype_tupdesc_copy(type, -1);
	pipeline_prepare_to_json(&rows.to_json, type);
	initStringInfo(&rows.json);
	appendStringInfoChar(&rows.json, '[');
	SPI_connect();
	pipeline_profile_rows(pipeline_arg_text(fcinfo, 0), PG_GETARG_BOOL(1) ? PROFILE_EXACT : PROFILE_UNIQUE,
						  list_row, &rows);
	appendStringInfoChar(&rows.json, ']');
	pipeline_extension_begin(&scope);
	pipeline_sql("WITH p AS (SELECT * FROM jsonb_to_recordset(coalesce($1, '[]')) AS x(ordinal int, \"column\" text, type text, rows bigint,"
				 " null_percent float8, distinct_count bigint, min text, max text, mean float8, stddev float8, quantiles jsonb,"
				 " min_length bigint, max_length bigint, top_values jsonb, patterns jsonb)),"
				 " e AS ("
				 " SELECT ordinal, 1 AS n, 'expect_column_to_exist' AS t, '{}'::jsonb AS k FROM p"
				 " UNION ALL SELECT ordinal, 2, 'expect_column_values_to_be_of_type', jsonb_build_object('type_', type) FROM p"
				 " UNION ALL SELECT ordinal, 3, 'expect_column_values_to_not_be_null', '{}' FROM p WHERE rows > 0 AND null_percent = 0"
				 " UNION ALL SELECT ordinal, 3, 'expect_column_values_to_not_be_null', jsonb_build_object('mostly', round((0.99 - null_percent / 100)::numeric, 2))"
				 "  FROM p WHERE null_percent > 0 AND null_percent <= 20"
				 " UNION ALL SELECT ordinal, 4, 'expect_column_values_to_be_unique', '{}' FROM p WHERE rows >= 20 AND distinct_count = rows"
				 " UNION ALL SELECT ordinal, 5, 'expect_column_values_to_be_in_set', jsonb_build_object('value_set', (SELECT jsonb_agg(v -> 'value' ORDER BY v -> 'value') FROM jsonb_array_elements(top_values) v))"
				 "  FROM p WHERE distinct_count BETWEEN 1 AND 10 AND rows >= 10 * distinct_count AND max_length IS DISTINCT FROM 0 AND type !~ '^(json|boolean)'"
				 " UNION ALL SELECT ordinal, 6, 'expect_column_values_to_be_between', jsonb_build_object('min_value', to_jsonb(min::numeric), 'max_value', to_jsonb(max::numeric))"
				 "  FROM p WHERE mean IS NOT NULL AND distinct_count > 10 AND min ~ '^-?[0-9.]+(e.*)?$' AND max ~ '^-?[0-9.]+(e.*)?$'"
				 " UNION ALL SELECT ordinal, 6, 'expect_column_values_to_be_between', jsonb_build_object('min_value', min)"
				 "  FROM p WHERE type ~ '^(date|timestamp)' AND min IS NOT NULL"
				 " UNION ALL SELECT ordinal, 7, 'expect_column_value_lengths_to_be_between', jsonb_build_object('min_value', min_length, 'max_value', max_length)"
				 "  FROM p WHERE max_length IS NOT NULL AND distinct_count > 10"
				 " UNION ALL SELECT ordinal, 8, 'expect_column_values_to_match_regex', jsonb_build_object('regex', '^'"
				 "  || replace(replace(replace(regexp_replace(regexp_replace(patterns -> 0 ->> 'pattern', '([][().*?|{}^$\\\\])', '\\\\\\1', 'g'), '9', '[0-9]', 'g'), 'a', '[[:lower:]]'), 'A', '[[:upper:]]'), '[[:upper:]]+', '[[:upper:]]+') || '$')"
				 "  FROM p WHERE distinct_count > 10 AND jsonb_array_length(patterns) = 1 AND patterns -> 0 ->> 'pattern' ~ '^[9A-]+$')"
				 " SELECT jsonb_build_object('name', 'suggested', 'meta', jsonb_build_object('great_expectations_version', '1.2.0'),"
				 " 'expectations', coalesce((SELECT jsonb_agg(jsonb_build_object('type', e.t, 'kwargs', jsonb_build_object('column', p.\"column\") || e.k) ORDER BY e.ordinal, e.n)"
				 " FROM e JOIN p USING (ordinal)), '[]') || jsonb_build_array(jsonb_build_object('type', 'expect_table_row_count_to_be_between',"
				 " 'kwargs', jsonb_build_object('min_value', coalesce((SELECT (max(rows) * 0.5)::bigint FROM p), 0)))))",
				 SPI_OK_SELECT, sql_jsonb(pipeline_jsonb_from(rows.json.data)));
	suite = DatumGetJsonbP(pipeline_sql_datum(0, 1, &isnull));
	suite = (Jsonb *) memcpy(SPI_palloc(VARSIZE(suite)), suite, VARSIZE(suite));
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_JSONB_P(suite);
}
