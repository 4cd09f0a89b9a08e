/*
 * check_columns.c
 *	  Checks that need the columns of the target only: no row is read.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "expect/check.h"

static void
column_exists(const ScanTarget *target, Check *check)
{
	TupleDesc	columns = target->source->columns;
	char	   *column = pipeline_kwarg_text(check->kwargs, "column");
	int64		index;

	for (int i = 0; i < columns->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(columns, i)->attname), column) != 0)
			continue;
		check->result.success = check->result.success ||
			!pipeline_kwarg_int(check->kwargs, "column_index", &index) || index == i;
		check->result.observed = pipeline_jsonb_from(psprintf("%d", i));
	}
}

/* The name that SQLAlchemy, and so Great Expectations, has for a type. */
static char *
sqlalchemy_name(Oid typid)
{
	static const struct
	{
		Oid			typid;
		const char *name;
	}			names[] = {
		{BOOLOID, "BOOLEAN"}, {INT2OID, "SMALLINT"}, {INT4OID, "INTEGER"},
		{INT8OID, "BIGINT"}, {FLOAT4OID, "REAL"}, {FLOAT8OID, "DOUBLE_PRECISION"},
		{NUMERICOID, "NUMERIC"}, {TEXTOID, "TEXT"}, {VARCHAROID, "VARCHAR"},
		{BPCHAROID, "CHAR"}, {DATEOID, "DATE"}, {TIMEOID, "TIME"},
		{TIMETZOID, "TIME"}, {TIMESTAMPOID, "TIMESTAMP"},
		{TIMESTAMPTZOID, "TIMESTAMP"}, {INTERVALOID, "INTERVAL"},
		{BYTEAOID, "BYTEA"}, {UUIDOID, "UUID"}, {JSONOID, "JSON"},
		{JSONBOID, "JSONB"}, {BITOID, "BIT"}, {OIDOID, "OID"},
		{INETOID, "INET"}, {CIDROID, "CIDR"}, {MACADDROID, "MACADDR"},
		{MONEYOID, "MONEY"}
	};

	for (int i = 0; i < lengthof(names); i++)
		if (names[i].typid == typid)
			return pstrdup(names[i].name);
	return OidIsValid(get_element_type(typid)) ? pstrdup("ARRAY") : format_type_be(typid);
}

/* Without a list of types every type will do. */
static void
column_type(const ScanTarget *target, Check *check)
{
	Form_pg_attribute att = pipeline_column_attribute(target, pipeline_kwarg_text(check->kwargs, "column"));
	char	   *wanted = pipeline_kwarg_text(check->kwargs, "type_");
	List	   *list = wanted ? list_make1(wanted) : pipeline_kwarg_list(check->kwargs, "type_list");
	JsonbValue	buf;
	char	   *name = sqlalchemy_name(att->atttypid);
	char	   *full = format_type_with_typemod(att->atttypid, att->atttypmod);
	const char *key = "type";
	StringInfoData observed;

	check->result.success = pipeline_list_has(list, name) || pipeline_list_has(list, full) ||
		pipeline_list_has(list, format_type_be(att->atttypid)) ||
		(wanted == NULL && pipeline_kwarg(check->kwargs, "type_list", &buf) == NULL);
	initStringInfo(&observed);
	escape_json(&observed, name);
	check->result.observed = pipeline_jsonb_from(observed.data);
	check->result.details = pipeline_jsonb_object(1, &key, (const char *const *) &full);
}

static void
column_count(const ScanTarget *target, Check *check)
{
	int64		count = target->source->columns->natts;
	int64		value;

	check->result.observed = pipeline_jsonb_from(psprintf(INT64_FORMAT, count));
	check->result.success = pipeline_kwarg_int(check->kwargs, "value", &value) ? count == value :
		pipeline_bounds_hold(check->kwargs, Int64GetDatum(count), INT8OID);
}

static List *
column_names(const ScanTarget *target)
{
	List	   *names = NIL;

	for (int i = 0; i < target->source->columns->natts; i++)
		names = lappend(names, NameStr(TupleDescAttr(target->source->columns, i)->attname));
	return names;
}

static char *
names_json(const List *names)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, names)
	{
		appendStringInfoString(&buf, buf.len ? ", " : "[");
		escape_json(&buf, lfirst(lc));
	}
	return psprintf("%s]", buf.len ? buf.data : "[");
}

/* Those of the first list that the second has not. */
static List *
without(const List *names, const List *others)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, names)
		if (!pipeline_list_has(others, lfirst(lc)))
			list = lappend(list, lfirst(lc));
	return list;
}

static void
column_list(const ScanTarget *target, Check *check)
{
	List	   *names = column_names(target);
	List	   *wanted = pipeline_kwarg_list(check->kwargs, "column_list");
	JsonbValue	buf;
	bool		same = list_length(names) == list_length(wanted);
	StringInfoData mismatched;

	initStringInfo(&mismatched);
	for (int i = 0; i < Max(list_length(names), list_length(wanted)); i++)
	{
		char	   *is = i < list_length(names) ? list_nth(names, i) : NULL;
		char	   *should = i < list_length(wanted) ? list_nth(wanted, i) : NULL;

		if (is && should && strcmp(is, should) == 0)
			continue;
		same = false;
		appendStringInfo(&mismatched, "%s{\"Expected Column Position\": %d, \"Expected\": ", mismatched.len ? ", " : "", i);
		if (should)
			escape_json(&mismatched, should);
		else
			appendStringInfoString(&mismatched, "null");
		appendStringInfoString(&mismatched, ", \"Found\": ");
		if (is)
			escape_json(&mismatched, is);
		else
			appendStringInfoString(&mismatched, "null");
		appendStringInfoChar(&mismatched, '}');
	}
	check->result.observed = pipeline_jsonb_from(names_json(names));
	check->result.success = same || pipeline_kwarg(check->kwargs, "column_list", &buf) == NULL;
	if (!check->result.success)
		check->result.details = pipeline_jsonb_from(psprintf("{\"mismatched\": [%s]}", mismatched.data));
}

static void
column_set(const ScanTarget *target, Check *check)
{
	List	   *names = column_names(target);
	List	   *wanted = pipeline_kwarg_list(check->kwargs, "column_set");
	List	   *unexpected = without(names, wanted);
	List	   *missing = without(wanted, names);
	JsonbValue	buf;
	bool		exact = pipeline_kwarg(check->kwargs, "exact_match", &buf) == NULL ||
		pipeline_kwarg_bool(check->kwargs, "exact_match");
	StringInfoData mismatched;

	initStringInfo(&mismatched);
	if (unexpected)
		appendStringInfo(&mismatched, "\"unexpected\": %s", names_json(unexpected));
	if (missing)
		appendStringInfo(&mismatched, "%s\"missing\": %s", mismatched.len ? ", " : "", names_json(missing));
	check->result.observed = pipeline_jsonb_from(names_json(names));
	check->result.details = pipeline_jsonb_from(psprintf("{\"mismatched\": {%s}}", mismatched.data));
	check->result.success = missing == NIL && (unexpected == NIL || !exact);
}

/* ---- the schema against the one before ------------------------------------------------- */

static Jsonb *
schema_of(const ScanTarget *target)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"columns\": {");
	for (int i = 0; i < target->source->columns->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(target->source->columns, i);

		appendStringInfoString(&buf, i ? ", " : "");
		escape_json(&buf, NameStr(att->attname));
		appendStringInfoString(&buf, ": ");
		escape_json(&buf, format_type_with_typemod(att->atttypid, att->atttypmod));
	}
	appendStringInfoString(&buf, "}}");
	return pipeline_jsonb_from(buf.data);
}

/* The names and types of {"columns": {...}}, alternating. */
static List *
schema_columns(const Jsonb *schema)
{
	Jsonb	   *columns = pipeline_kwarg_json(schema, "columns");
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	List	   *list = NIL;

	if (columns == NULL || !JB_ROOT_IS_OBJECT(columns))
		return NIL;
	it = JsonbIteratorInit(&columns->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if ((token == WJB_KEY || token == WJB_VALUE) && v.type == jbvString)
			list = lappend(list, pnstrdup(v.val.string.val, v.val.string.len));
	return list;
}

static char *
type_in(const List *columns, const char *name)
{
	for (int i = 0; i + 1 < list_length(columns); i += 2)
		if (strcmp(list_nth(columns, i), name) == 0)
			return list_nth(columns, i + 1);
	return NULL;
}

static void
append_change(StringInfo buf, const char *column, const char *change, const char *before, const char *after)
{
	appendStringInfo(buf, "%s{\"column\": ", buf->len ? ", " : "");
	escape_json(buf, column);
	appendStringInfo(buf, ", \"change\": \"%s\"", change);
	if (before)
	{
		appendStringInfoString(buf, ", \"before\": ");
		escape_json(buf, before);
	}
	if (after)
	{
		appendStringInfoString(buf, ", \"after\": ");
		escape_json(buf, after);
	}
	appendStringInfoChar(buf, '}');
}

/*
 * Compare the columns with those of the validation before, or with those that
 * kwarg "columns" lists as "name type".  The first time there is nothing to
 * compare with, and it passes.
 */
static void
schema_unchanged(const ScanTarget *target, Check *check)
{
	CheckResult *r = &check->result;
	List	   *now = schema_columns(schema_of(target));
	List	   *declared = pipeline_kwarg_list(check->kwargs, "columns");
	Jsonb	   *previous = declared ? NULL : pipeline_previous_details(target, check);
	List	   *before = previous ? schema_columns(previous) : NIL;
	Jsonb	   *baseline = NULL;
	bool		compare = previous != NULL || declared != NIL;
	bool		success = true;
	StringInfoData changes;
	ListCell   *lc;

	foreach(lc, declared)
	{
		char	   *name = pstrdup(lfirst(lc));
		char	   *space = strchr(name, ' ');

		if (space)
			*space++ = '\0';
		before = lappend(lappend(before, name), space ? space : type_in(now, name) ? type_in(now, name) : "?");
	}
	initStringInfo(&changes);
	for (int i = 0; compare && i + 1 < list_length(before); i += 2)
	{
		char	   *type = type_in(now, list_nth(before, i));

		if (type != NULL && strcmp(type, list_nth(before, i + 1)) == 0)
			continue;
		success = false;
		append_change(&changes, list_nth(before, i), type ? "type changed" : "dropped", list_nth(before, i + 1), type);
	}
	for (int i = 0; compare && i + 1 < list_length(now); i += 2)
	{
		if (type_in(before, list_nth(now, i)))
			continue;
		success = success && pipeline_kwarg_bool(check->kwargs, "allow_new_columns");
		append_change(&changes, list_nth(now, i), "added", NULL, list_nth(now, i + 1));
	}
	/* What was agreed on stays the baseline until a change is accepted. */
	baseline = success || previous == NULL ? schema_of(target) : previous;
	r->success = success;
	r->observed = pipeline_jsonb_from(psprintf("%d", changes.len ? JB_ROOT_COUNT(pipeline_jsonb_from(psprintf("[%s]", changes.data))) : 0));
	r->details = pipeline_jsonb_from(psprintf("{\"changes\": [%s], \"columns\": %s}", changes.data,
											  JsonbToCString(NULL, &pipeline_kwarg_json(baseline, "columns")->root, 100)));
}

/* The verdict of a check of the columns.  In the context that keeps the result. */
void
pipeline_columns_verdict(const ScanTarget *target, Check *check)
{
	check->result.done = true;
	switch (check->type->sub)
	{
		case SUB_EXISTS:
			column_exists(target, check);
			break;
		case SUB_TYPE:
			column_type(target, check);
			break;
		case SUB_COLUMN_COUNT:
			column_count(target, check);
			break;
		case SUB_COLUMN_LIST:
			column_list(target, check);
			break;
		case SUB_COLUMN_SET:
			column_set(target, check);
			break;
		default:
			schema_unchanged(target, check);
	}
}
