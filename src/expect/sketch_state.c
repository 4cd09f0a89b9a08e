/*
 * sketch_state.c
 *	  The state of the aggregate _sketch on its way: combined with others, sent
 *	  to another process, and told in the end.
 *
 * A worker sends the values it still counts and what its sketches hold, with the
 * type and the plan in front, since the process that combines may not have seen
 * a row.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "expect/sketch.h"

/* ---- combine ------------------------------------------------------------------------ */

PG_FUNCTION_INFO_V1(pipeline_sketch_combine);

/* Combine two states; the second is of no use afterwards. */
Datum
pipeline_sketch_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_sketch");
	Sketch	   *a = PG_ARGISNULL(0) ? NULL : (Sketch *) PG_GETARG_POINTER(0);
	Sketch	   *b = PG_ARGISNULL(1) ? NULL : (Sketch *) PG_GETARG_POINTER(1);

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
		a = pipeline_sketch_begin(context, b->d.typid, b->d.plan);
	a->d.elements += b->d.elements;
	a->d.missing += b->d.missing;
	a->offset += b->offset;
	a->exact = a->exact && b->exact;
	for (Size i = 0; i < a->distinct.arrSize; i++)
		a->distinct.hashesArr[i] = Max(a->distinct.hashesArr[i], b->distinct.hashesArr[i]);
	if (b->has_ends)
	{
		pipeline_sketch_end_value(a, b->min);
		pipeline_sketch_end_value(a, b->max);
	}
	if (a->quantiles)
		pipeline_quantiles_merge(a->quantiles, b->quantiles);
	for (int i = 0; i < a->d.nchecks; i++)
		if (a->d.checks[i].sub == SUB_PROFILE)
			pipeline_profile_merge(a->d.checks[i].profile, b->d.checks[i].profile);
	for (uint32 i = 0; i < b->nvalues; i++)
	{
		SketchSlot *slot = &b->slots[i];

		pipeline_sketch_count(a, slot->hash, slot->value, slot->count, slot->pending, slot->known);
	}
	PG_RETURN_POINTER(a);
}

PG_FUNCTION_INFO_V1(pipeline_sketch_serialize);

Datum
pipeline_sketch_serialize(PG_FUNCTION_ARGS)
{
	Sketch	   *s;
	StringInfoData buf;

	pipeline_aggregate_context(fcinfo, "_sketch");
	s = (Sketch *) PG_GETARG_POINTER(0);
	pq_begintypsend(&buf);
	pq_sendint32(&buf, s->d.typid);
	pq_sendint32(&buf, VARSIZE(s->d.plan));
	appendBinaryStringInfo(&buf, (char *) s->d.plan, VARSIZE(s->d.plan));
	pq_sendint64(&buf, s->d.elements);
	pq_sendint64(&buf, s->d.missing);
	pq_sendint64(&buf, s->offset);
	pq_sendint8(&buf, s->exact);
	appendBinaryStringInfo(&buf, (char *) s->distinct.hashesArr, s->distinct.arrSize);
	pq_sendint8(&buf, s->has_ends);
	if (s->has_ends)
	{
		pipeline_datum_send(&buf, s->min, s->d.typlen, s->d.typbyval);
		pipeline_datum_send(&buf, s->max, s->d.typlen, s->d.typbyval);
	}
	if (s->quantiles)
		pipeline_quantiles_send(&buf, s->quantiles);
	for (int i = 0; i < s->d.nchecks; i++)
		if (s->d.checks[i].sub == SUB_PROFILE)
			pipeline_profile_send(&buf, s->d.checks[i].profile);
	pq_sendint32(&buf, s->nvalues);
	for (uint32 i = 0; i < s->nvalues; i++)
	{
		SketchSlot *slot = &s->slots[i];

		pq_sendint64(&buf, (int64) slot->hash);
		pq_sendint64(&buf, slot->count);
		pq_sendint64(&buf, slot->pending);
		pq_sendint8(&buf, slot->known);
		pipeline_datum_send(&buf, slot->value, s->d.typlen, s->d.typbyval);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(pipeline_sketch_deserialize);

/* The reverse, into the current context: the caller keeps it for one call. */
Datum
pipeline_sketch_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	StringInfoData buf;
	Sketch	   *s;
	Oid			typid;
	int			size;
	Jsonb	   *plan;

	pipeline_aggregate_context(fcinfo, "_sketch");
	bytes = PG_GETARG_BYTEA_PP(0);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	typid = (Oid) pq_getmsgint(&buf, 4);
	size = pq_getmsgint(&buf, 4);
	plan = palloc(size);
	memcpy(plan, pq_getmsgbytes(&buf, size), size);
	s = pipeline_sketch_begin(CurrentMemoryContext, typid, plan);
	s->d.elements = pq_getmsgint64(&buf);
	s->d.missing = pq_getmsgint64(&buf);
	s->offset = pq_getmsgint64(&buf);
	s->exact = pq_getmsgint(&buf, 1) != 0;
	memcpy(s->distinct.hashesArr, pq_getmsgbytes(&buf, s->distinct.arrSize), s->distinct.arrSize);
	if (pq_getmsgint(&buf, 1) != 0)
	{
		pipeline_sketch_end_value(s, pipeline_datum_receive(&buf, s->d.typlen, s->d.typbyval));
		pipeline_sketch_end_value(s, pipeline_datum_receive(&buf, s->d.typlen, s->d.typbyval));
	}
	if (s->quantiles)
		pipeline_quantiles_receive(&buf, s->quantiles);
	for (int i = 0; i < s->d.nchecks; i++)
		if (s->d.checks[i].sub == SUB_PROFILE)
			pipeline_profile_receive(&buf, s->d.checks[i].profile);
	for (int n = pq_getmsgint(&buf, 4); n > 0; n--)
	{
		uint64		hash = (uint64) pq_getmsgint64(&buf);
		int64		count = pq_getmsgint64(&buf);
		int64		pending = pq_getmsgint64(&buf);
		bool		known = pq_getmsgint(&buf, 1) != 0;

		pipeline_sketch_count(s, hash, pipeline_datum_receive(&buf, s->d.typlen, s->d.typbyval),
							  count, pending, known);
	}
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(s);
}

/* ---- what was found ------------------------------------------------------------------ */

/* All values are in the slots: say it as _distribution does. */
static Jsonb *
exact_result(Sketch *s)
{
	s->d.slots = palloc0_array(HashSlot, s->nvalues + 1);
	s->d.nslots = s->d.nvalues = s->nvalues;
	for (uint32 i = 0; i < s->nvalues; i++)
		s->d.slots[i] = (HashSlot) {.hash = (uint32) s->slots[i].hash, .used = true,
			.count = s->slots[i].count, .value = s->slots[i].value};
	return pipeline_distribution_walk(&s->d);
}

/* Is no value there twice? */
static bool
all_differ(Sketch *s)
{
	Datum		value;
	bool		isnull;
	int64		last = 0;
	bool		first = true;

	if (!s->wants_unique || !s->unique || s->hashes == NULL)
		return false;
	tuplesort_performsort(s->hashes);
	while (tuplesort_getdatum(s->hashes, true, false, &value, &isnull, NULL))
	{
		if (!first && DatumGetInt64(value) == last)
			return false;
		last = DatumGetInt64(value);
		first = false;
	}
	return true;
}

static int64
distinct_values(Sketch *s)
{
	int64		present = s->d.elements - s->d.missing;

	if (all_differ(s))
		return present;
	/* Who asks for it is told that some value is there twice. */
	if (s->wants_unique)
		present--;
	return (int64) Min(rint(pipeline_distinct_estimate(&s->distinct)), (double) present);
}

static void
append_found(StringInfo buf, Sketch *s, const double *fractions, int n)
{
	Datum	   *values = palloc_array(Datum, n + 1);
	bool		found = s->quantiles && pipeline_quantiles_find(s->quantiles, fractions, n, values);

	if (!found && s->d.elements > s->d.missing)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("quantiles of values of more than %d bytes, or without an order, cannot be estimated", MAX_ITEM_BYTES),
				 errhint("Leave allow_relative_error out.")));
	appendStringInfoString(buf, ", \"values\": [");
	for (int i = 0; i < n; i++)
	{
		if (found && fractions[i] <= 0)
			values[i] = s->min;
		if (found && fractions[i] >= 1)
			values[i] = s->max;
		appendStringInfo(buf, "%s%s", i ? ", " : "",
						 found ? pipeline_value_json(&s->d.to_json, values[i], false, s->d.typid) : "null");
	}
	appendStringInfoChar(buf, ']');
}

/* Least, greatest, quantiles and the common values, for the profile. */
static void
complete_profile(Sketch *s, struct Profile *profile)
{
	Datum		values[PROFILE_QUANTILES];

	if (s->has_ends)
		pipeline_profile_ends(&s->d, profile, s->min, s->max);
	if (s->quantiles && pipeline_quantiles_find(s->quantiles, pipeline_profile_quantiles, PROFILE_QUANTILES, values))
		pipeline_profile_set_quantiles(&s->d, profile, values);
	for (uint32 i = 0; i < s->nvalues; i++)
		if (s->slots[i].count > s->offset)
			pipeline_profile_top(&s->d, profile, s->slots[i].value, s->slots[i].count);
}

static Jsonb *
sketched_result(Sketch *s)
{
	StringInfoData buf;
	int64		distinct;

	pipeline_sketch_flush(s);
	distinct = distinct_values(s);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < s->d.nchecks; i++)
	{
		DistributionCheck *check = &s->d.checks[i];
		double		half = 0.5;

		appendStringInfo(&buf, "%s{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT ", \"distinct\": " INT64_FORMAT ", \"approximate\": true",
						 i ? ", " : "", s->d.elements, s->d.missing, distinct);
		if (check->sub == SUB_MEDIAN)
			append_found(&buf, s, &half, 1);
		else if (check->sub == SUB_QUANTILES)
			append_found(&buf, s, check->quantiles, check->nquantiles);
		else if (check->sub == SUB_PROFILE)
		{
			complete_profile(s, check->profile);
			pipeline_profile_append(&buf, &s->d, check->profile);
		}
		appendStringInfoChar(&buf, '}');
	}
	appendStringInfoChar(&buf, ']');
	return pipeline_jsonb_from(buf.data);
}

PG_FUNCTION_INFO_V1(pipeline_sketch_final);

/* What the checks want to know, as JSON; NULL when no row came. */
Datum
pipeline_sketch_final(PG_FUNCTION_ARGS)
{
	Sketch	   *s;

	pipeline_aggregate_context(fcinfo, "_sketch");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	s = (Sketch *) PG_GETARG_POINTER(0);
	PG_RETURN_JSONB_P(s->exact ? exact_result(s) : sketched_result(s));
}
