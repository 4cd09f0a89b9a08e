/*
 * incremental.c
 *	  A verdict on the whole target from the rows that are new.
 *
 * What a check has found in some rows is a state: counts, and for aggregates
 * the value with what it takes to go on from it.  States of disjoint sets of
 * rows can be merged.  The table validation_states keeps one for each slice of
 * a suite; the slice '' is that of the watermark and grows, any other is one
 * that the caller names, with the condition that its rows meet, and is replaced
 * when it is validated again.  Checks whose states cannot be merged (distinct
 * values, medians, keys, queries) look at all of the target each time.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "expect/distribution.h"

/* Can what the check finds in two sets of rows be put together? */
bool
pipeline_check_is_mergeable(const ScanTarget *target, const Check *check)
{
	Oid			typid;

	/* Findings under other values of its parameters say nothing. */
	if (check->bound)
		return false;
	switch (check->type->kind)
	{
		case CHECK_COUNT:
		case CHECK_NULL:
		case CHECK_RANGE:
		case CHECK_SET:
		case CHECK_REGEX:
		case CHECK_LENGTH:
		case CHECK_PARSE:
		case CHECK_EXPRESSION:
			return true;
		case CHECK_AGGREGATE:
			break;
		default:
			return false;
	}
	if (check->type->sub == SUB_MIN || check->type->sub == SUB_MAX)
		return true;
	for (int i = 0; i < target->source->columns->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(target->source->columns, i);

		typid = getBaseType(att->atttypid);
		if (strcmp(NameStr(att->attname), pipeline_kwarg_text(check->kwargs, "column")) == 0)
			return check->type->sub != SUB_FRESHNESS && pipeline_is_number_type(typid);
	}
	return false;
}

/* ---- states ------------------------------------------------------------------------ */

static char *
json_string(const Jsonb *value)
{
	return JsonbToCString(NULL, (JsonbContainer *) &value->root, VARSIZE(value));
}

/* What the state was made for: another definition has another one. */
static char *
definition(const Check *check)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"type\": ");
	escape_json(&buf, check->type->name);
	appendStringInfo(&buf, ", \"kwargs\": %s, \"row_condition\": ", json_string(check->kwargs));
	if (check->row_condition)
		escape_json(&buf, check->row_condition);
	else
		appendStringInfoString(&buf, "null");
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* The state of a check that has been evaluated, as JSON. */
static char *
state_of(const Check *check)
{
	const CheckResult *r = &check->result;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"definition\": %s, \"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT
					 ", \"unexpected\": " INT64_FORMAT, definition(check), r->elements, r->missing, r->unexpected);
	if (check->type->kind == CHECK_AGGREGATE)
	{
		if (r->observed)
			appendStringInfo(&buf, ", \"value\": %s", json_string(r->observed));
		appendStringInfo(&buf, ", \"mean\": \"%s\"", float8out_internal(check->parameters[0]));
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* The states of all checks, by name. */
static Jsonb *
states_of(const List *checks)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, checks)
	{
		Check	   *check = lfirst(lc);

		if (check->result.error)
			continue;
		appendStringInfoString(&buf, buf.len ? ", " : "");
		escape_json(&buf, check->name);
		appendStringInfo(&buf, ": %s", state_of(check));
	}
	return pipeline_jsonb_from(psprintf("{%s}", buf.data));
}

/* The state of a check among those of a slice; NULL if it is of another definition. */
static Jsonb *
find_state(const Jsonb *states, const Check *check)
{
	Jsonb	   *state = pipeline_kwarg_json(states, check->name);

	if (state == NULL ||
		compareJsonbContainers(&pipeline_kwarg_json(state, "definition")->root,
							   &pipeline_jsonb_from(definition(check))->root) != 0)
		return NULL;
	return state;
}

static int64
count_in(const Jsonb *state, const char *key)
{
	int64		value = 0;

	pipeline_kwarg_int(state, key, &value);
	return value;
}

/* ---- merging ------------------------------------------------------------------------- */

static JsonbValue *
first_value(Jsonb *scalar)
{
	return JB_ROOT_IS_SCALAR(scalar) ? getIthJsonbValueFromContainer(&scalar->root, 0) : NULL;
}

static double
number(Jsonb *scalar)
{
	JsonbValue *v = first_value(scalar);

	if (v->type == jbvNumeric)
		return pipeline_json_number(v);
	return DatumGetFloat8(DirectFunctionCall1(float8in,
											  CStringGetDatum(pnstrdup(v->val.string.val, v->val.string.len))));
}

/* Is the first value of a column less than the second? */
static bool
is_less(Jsonb *a, Jsonb *b, Oid typid)
{
	TypeCacheEntry *type = lookup_type_cache(getBaseType(typid), TYPECACHE_CMP_PROC_FINFO);
	bool		never;

	return DatumGetInt32(FunctionCall2Coll(&type->cmp_proc_finfo, get_typcollation(typid),
										   pipeline_kwarg_datum(first_value(a), getBaseType(typid), false, "state", &never),
										   pipeline_kwarg_datum(first_value(b), getBaseType(typid), false, "state", &never))) < 0;
}

static Jsonb *
json_double(double value)
{
	return pipeline_jsonb_from(psprintf(isfinite(value) ? "%s" : "\"%s\"", float8out_internal(value)));
}

/* The sum of squared distances from the mean that a deviation stands for. */
static double
squares(Jsonb *deviation, double n)
{
	return deviation == NULL || n < 2 ? 0 : number(deviation) * number(deviation) * (n - 1);
}

/* Deviations of two sets of rows; of one value there is none, but a distance. */
static void
merge_deviation(Check *check, const Jsonb *state, double n1, double n2)
{
	CheckResult *r = &check->result;
	double		mean = number(pipeline_kwarg_json(state, "mean"));
	double		delta = mean - check->parameters[0];
	double		m2;

	if (n2 == 0)
		return;
	m2 = squares(r->observed, n1) + squares(pipeline_kwarg_json(state, "value"), n2) +
		(n1 > 0 ? delta * delta * n1 * n2 / (n1 + n2) : 0);
	check->parameters[0] = n1 > 0 ? check->parameters[0] + delta * n2 / (n1 + n2) : mean;
	r->observed = n1 + n2 > 1 ? json_double(sqrt(m2 / (n1 + n2 - 1))) : NULL;
}

/* The sum of two values; numerics stay exact. */
static Jsonb *
add(Jsonb *a, Jsonb *b)
{
	if (first_value(a)->type != jbvNumeric || first_value(b)->type != jbvNumeric)
		return json_double(number(a) + number(b));
	return pipeline_jsonb_from(DatumGetCString(DirectFunctionCall1(numeric_out,
																   DirectFunctionCall2(numeric_add,
																					   NumericGetDatum(first_value(a)->val.numeric),
																					   NumericGetDatum(first_value(b)->val.numeric)))));
}

/* Put the state of an aggregate to what the check has found so far. */
static void
merge_aggregate(Check *check, const Jsonb *state, Oid typid)
{
	CheckResult *r = &check->result;
	Jsonb	   *value = pipeline_kwarg_json(state, "value");
	double		n1 = r->elements - r->missing;
	double		n2 = count_in(state, "elements") - count_in(state, "missing");

	if (check->type->sub == SUB_STDEV)
		merge_deviation(check, state, n1, n2);
	else if (value == NULL)
		return;
	else if (r->observed == NULL)
		r->observed = value;
	else if (check->type->sub == SUB_MIN)
		r->observed = is_less(value, r->observed, typid) ? value : r->observed;
	else if (check->type->sub == SUB_MAX)
		r->observed = is_less(r->observed, value, typid) ? value : r->observed;
	else if (check->type->sub == SUB_TOTAL)
		r->observed = add(value, r->observed);
	else
		r->observed = json_double((number(r->observed) * n1 + number(value) * n2) / (n1 + n2));
}

/* Decide anew, from all that was found. */
static void
decide(Check *check, Oid typid)
{
	CheckResult *r = &check->result;
	bool		never;
	Oid			type;

	if (check->type->kind != CHECK_AGGREGATE)
	{
		pipeline_check_verdict(check);
		return;
	}
	if (r->observed == NULL)
		return;
	type = check->type->sub == SUB_MIN || check->type->sub == SUB_MAX ? getBaseType(typid) :
		check->type->sub == SUB_TOTAL && first_value(r->observed)->type == jbvNumeric ? NUMERICOID : FLOAT8OID;
	r->success = pipeline_bounds_hold(check->kwargs,
									  pipeline_kwarg_datum(first_value(r->observed), type, false, "state", &never), type);
}

/* Merge the states of a check in some slices into its result; false if one has none. */
static bool
merge(const ScanTarget *target, Check *check, const List *slices)
{
	CheckResult *r = &check->result;
	Oid			typid = InvalidOid;
	int64		elements = r->elements;
	int64		missing = r->missing;
	int64		unexpected = r->unexpected;
	ListCell   *lc;

	foreach(lc, slices)
		if (find_state(lfirst(lc), check) == NULL)
			return false;
	if (check->type->kind == CHECK_AGGREGATE)
		typid = pipeline_column_attribute(target, pipeline_kwarg_text(check->kwargs, "column"))->atttypid;
	foreach(lc, slices)
	{
		Jsonb	   *state = find_state(lfirst(lc), check);

		if (check->type->kind == CHECK_AGGREGATE)
			merge_aggregate(check, state, typid);
		r->elements += count_in(state, "elements");
		r->missing += count_in(state, "missing");
		r->unexpected += count_in(state, "unexpected");
	}
	decide(check, typid);
	r->details = pipeline_jsonb_from(psprintf("{\"increment\": {\"element_count\": " INT64_FORMAT ", \"missing_count\": " INT64_FORMAT
											  ", \"unexpected_count\": " INT64_FORMAT "}, \"slices\": %d}",
											  elements, missing, unexpected, list_length(slices) + 1));
	pipeline_check_trim(check);
	return true;
}

/* ---- the table ------------------------------------------------------------------------- */

/* The states of the slices of a suite but one; their rows are added up. */
static List *
other_slices(const Suite *suite, const char *slice, int64 *rows)
{
	UserScope	scope;
	List	   *list = NIL;
	uint64		n;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT states, rows FROM pipeline.validation_states WHERE suite = $1 AND slice <> $2",
					 SPI_OK_SELECT, sql_text(suite->name), sql_text(slice));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		list = lappend(list, DatumGetJsonbPCopy(pipeline_sql_datum(i, 1, &isnull)));
		*rows += pipeline_sql_int8(i, 2);
	}
	pipeline_scope_end(&scope);
	return list;
}

static void
write_state(const Suite *suite, const char *slice, const char *high, int64 rows, const Jsonb *states)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.validation_states AS s (suite, slice, owner, high, rows, states) VALUES ($1, $2, $3, $4, $5, $6)"
				 " ON CONFLICT (suite, slice) DO UPDATE SET high = coalesce($4, s.high), rows = $5, states = $6, validated_at = now()",
				 SPI_OK_INSERT, sql_text(suite->name), sql_text(slice), sql_role(suite->owner),
				 sql_text(high), sql_int8(rows), sql_jsonb(states));
	pipeline_scope_end(&scope);
}

/* The state of the watermark, and how far it reaches; NULL: from the start. */
static Jsonb *
read_watermark(const Suite *suite, char **high, int64 *rows)
{
	UserScope	scope;
	Jsonb	   *states = NULL;
	bool		isnull;

	*high = NULL;
	*rows = 0;
	pipeline_extension_begin(&scope);
	/* Two at once would both add the same rows. */
	if (pipeline_sql("SELECT states, high, rows FROM pipeline.validation_states WHERE suite = $1 AND slice = '' FOR UPDATE",
					 SPI_OK_SELECT, sql_text(suite->name)) > 0)
	{
		states = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
		*high = pipeline_sql_text(0, 2);
		*rows = pipeline_sql_int8(0, 3);
	}
	pipeline_scope_end(&scope);
	return states;
}

/* ---- two ways to validate -------------------------------------------------------------- */

/* Separate the checks by whether their states can be merged. */
static void
separate(const ScanTarget *target, const List *checks, List **mergeable, List **others)
{
	ListCell   *lc;

	*mergeable = *others = NIL;
	foreach(lc, checks)
	{
		if (pipeline_check_is_mergeable(target, lfirst(lc)))
			*mergeable = lappend(*mergeable, lfirst(lc));
		else
			*others = lappend(*others, lfirst(lc));
	}
}

/* The target without its condition. */
static ScanTarget *
whole(const ScanTarget *target)
{
	ScanTarget *copy = palloc(sizeof(ScanTarget));

	*copy = *target;
	copy->where = copy->where_text = NULL;
	return copy;
}

static void
no_state(Check *check)
{
	memset(&check->result, 0, sizeof(CheckResult));
	check->result.done = true;
	check->result.error = pstrdup("other slices were validated before it was defined: validate them again (55000)");
}

/*
 * Validate one slice of the target, whose rows target->where tells, and judge
 * by all slices.  As the suite's owner.  Returns the rows of all slices.
 */
int64
pipeline_validate_slice(const Suite *suite, const ScanTarget *target, List *checks, const char *slice)
{
	List	   *mergeable;
	List	   *others;
	List	   *slices;
	ListCell   *lc;
	int64		rows;
	int64		all;

	separate(target, checks, &mergeable, &others);
	rows = all = pipeline_checks_run(target, mergeable);
	if (others != NIL)
		(void) pipeline_checks_run(whole(target), others);
	if (rows < 0)
		return rows;
	write_state(suite, slice, NULL, rows, states_of(mergeable));
	slices = other_slices(suite, slice, &all);
	foreach(lc, mergeable)
		if (((Check *) lfirst(lc))->result.error == NULL && !merge(target, lfirst(lc), slices))
			no_state(lfirst(lc));
	return all;
}

/* The greatest watermark beyond the last one; NULL if there is none. */
static char *
next_high(const ScanTarget *target, const char *column, const char *type, const char *high)
{
	char	   *value;

	pipeline_sql_generated(psprintf("SELECT pg_catalog.max(%s)::pg_catalog.text FROM %s AS %s%s", column,
									target->source->from, target->alias,
									high ? psprintf(" WHERE %s > %s::%s", column, quote_literal_cstr(high), type) : ""),
						   SPI_OK_SELECT, true);
	value = pipeline_sql_text(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return value;
}

/*
 * Validate the rows beyond the watermark, and judge by them and all before.
 * *target is confined to them.  If there is no state of a check yet, all rows
 * up to the new watermark are looked at.  As the suite's owner.
 */
int64
pipeline_validate_new(const Suite *suite, ScanTarget *target, List *checks)
{
	List	   *mergeable;
	List	   *others;
	List	   *before;
	ListCell   *lc;
	char	   *column = pipeline_column_reference(target, suite->watermark);
	Form_pg_attribute att = pipeline_column_attribute(target, suite->watermark);
	char	   *type = format_type_with_typemod(att->atttypid, att->atttypmod);
	char	   *high;
	char	   *next;
	int64		rows_before;
	int64		rows;
	Jsonb	   *states = read_watermark(suite, &high, &rows_before);
	StringInfoData where;

	separate(target, checks, &mergeable, &others);
	foreach(lc, mergeable)
		if (states && find_state(states, lfirst(lc)) == NULL)
			states = NULL;
	if (states == NULL)
		high = NULL;
	next = next_high(target, column, type, high);
	initStringInfo(&where);
	if (next)
		appendStringInfo(&where, "(%s <= %s::%s)", column, quote_literal_cstr(next), type);
	else
		appendStringInfoString(&where, "false");
	if (high)
		appendStringInfo(&where, " AND (%s > %s::%s)", column, quote_literal_cstr(high), type);
	target->where = where.data;
	rows = pipeline_checks_run(target, mergeable);
	if (others != NIL)
		(void) pipeline_checks_run(whole(target), others);
	if (rows < 0)
		return rows;
	before = states ? list_make1(states) : NIL;
	foreach(lc, mergeable)
		if (((Check *) lfirst(lc))->result.error == NULL)
			(void) merge(target, lfirst(lc), before);
	rows += states ? rows_before : 0;
	write_state(suite, "", next, rows, states_of(mergeable));
	return rows;
}
