/*
 * check_state.c
 *	  The state of the aggregate _check on its way: combined with others, sent
 *	  to another process, and told in the end.
 *
 * It holds counts, samples and places only, and as many of them as there are
 * checks, so that it can be combined without the plan.  A sample is kept as
 * JSON text.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "expect/check.h"
#include "expect/check_state.h"

/*
 * Where the state of an aggregate of ours lives; an error when nobody
 * aggregates.  `name` is the aggregate's, without its schema.
 */
MemoryContext
pipeline_aggregate_context(FunctionCallInfo fcinfo, const char *name)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function is called by the aggregate pipeline.%s only", name)));
	return context;
}

/* Make counts for so many checks, each with its limit of samples. */
void
pipeline_check_init_counts(CheckState *state, int nchecks, const int *limits)
{
	state->nchecks = nchecks;
	state->counts = palloc0_array(Counts, nchecks + 1);
	for (int i = 0; i < nchecks; i++)
		state->counts[i].limit = limits[i];
}

/* Room for samples, made when there is the first one. */
void
pipeline_check_init_samples(Counts *counts, MemoryContext context)
{
	if (counts->values != NULL)
		return;
	counts->values = MemoryContextAlloc(context, sizeof(char *) * (counts->limit + 1));
	counts->keys = MemoryContextAlloc(context, sizeof(char *) * (counts->limit + 1));
}

/* Add the samples of one state to another, up to the limit. */
static void
combine_samples(Counts *a, const Counts *b, MemoryContext context)
{
	for (int i = 0; i < b->nsamples && a->nsamples < a->limit; i++)
	{
		pipeline_check_init_samples(a, context);
		a->values[a->nsamples] = MemoryContextStrdup(context, b->values[i]);
		a->keys[a->nsamples] = b->keys[i] ? MemoryContextStrdup(context, b->keys[i]) : NULL;
		a->nsamples++;
	}
}

PG_FUNCTION_INFO_V1(pipeline_check_combine);

/* Combine two states; the second stays as it is. */
Datum
pipeline_check_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_check");
	CheckState *a = PG_ARGISNULL(0) ? NULL : (CheckState *) PG_GETARG_POINTER(0);
	CheckState *b = PG_ARGISNULL(1) ? NULL : (CheckState *) PG_GETARG_POINTER(1);

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		int		   *limits = palloc_array(int, b->nchecks + 1);

		for (int i = 0; i < b->nchecks; i++)
			limits[i] = b->counts[i].limit;
		a = palloc0(sizeof(CheckState));
		pipeline_check_init_counts(a, b->nchecks, limits);
		MemoryContextSwitchTo(old);
	}
	if (a->nchecks != b->nchecks)
		elog(ERROR, "states of different plans");
	for (int i = 0; i < a->nchecks; i++)
	{
		a->counts[i].elements += b->counts[i].elements;
		a->counts[i].missing += b->counts[i].missing;
		a->counts[i].unexpected += b->counts[i].unexpected;
		combine_samples(&a->counts[i], &b->counts[i], context);
	}
	a->has_places |= b->has_places;
	pipeline_places_combine(&a->places, &b->places, context);
	PG_RETURN_POINTER(a);
}

static void
send_text(StringInfo buf, const char *text)
{
	int			len = text ? strlen(text) : -1;

	pq_sendint32(buf, len);
	if (text)
		appendBinaryStringInfo(buf, text, len);
}

static char *
receive_text(StringInfo buf)
{
	int			len = pq_getmsgint(buf, 4);

	return len < 0 ? NULL : pnstrdup(pq_getmsgbytes(buf, len), len);
}

PG_FUNCTION_INFO_V1(pipeline_check_serialize);

/* Serialise a state: counts and samples, each sample with its length. */
Datum
pipeline_check_serialize(PG_FUNCTION_ARGS)
{
	CheckState *state;
	StringInfoData buf;

	pipeline_aggregate_context(fcinfo, "_check");
	state = (CheckState *) PG_GETARG_POINTER(0);
	pq_begintypsend(&buf);
	pq_sendint32(&buf, state->nchecks);
	for (int i = 0; i < state->nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		pq_sendint64(&buf, counts->elements);
		pq_sendint64(&buf, counts->missing);
		pq_sendint64(&buf, counts->unexpected);
		pq_sendint32(&buf, counts->limit);
		pq_sendint32(&buf, counts->nsamples);
		for (int s = 0; s < counts->nsamples; s++)
		{
			send_text(&buf, counts->values[s]);
			send_text(&buf, counts->keys[s]);
		}
	}
	pq_sendint32(&buf, state->has_places);
	pipeline_places_send(&buf, &state->places);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(pipeline_check_deserialize);

/* The reverse, into the current context: the caller keeps it for one call. */
Datum
pipeline_check_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	StringInfoData buf;
	CheckState *state = palloc0(sizeof(CheckState));
	int			nchecks;

	pipeline_aggregate_context(fcinfo, "_check");
	bytes = PG_GETARG_BYTEA_PP(0);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	nchecks = pq_getmsgint(&buf, 4);
	pipeline_check_init_counts(state, nchecks, palloc0_array(int, nchecks + 1));
	for (int i = 0; i < nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		counts->elements = pq_getmsgint64(&buf);
		counts->missing = pq_getmsgint64(&buf);
		counts->unexpected = pq_getmsgint64(&buf);
		counts->limit = pq_getmsgint(&buf, 4);
		counts->nsamples = pq_getmsgint(&buf, 4);
		pipeline_check_init_samples(counts, CurrentMemoryContext);
		for (int s = 0; s < counts->nsamples; s++)
		{
			counts->values[s] = receive_text(&buf);
			counts->keys[s] = receive_text(&buf);
		}
	}
	state->has_places = pq_getmsgint(&buf, 4) != 0;
	pipeline_places_receive(&buf, &state->places);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

static void
append_list(StringInfo buf, const char *name, char **texts, int n)
{
	appendStringInfo(buf, ", \"%s\": [", name);
	for (int i = 0; i < n; i++)
		appendStringInfo(buf, "%s%s", i ? ", " : "", texts[i] ? texts[i] : "null");
	appendStringInfoChar(buf, ']');
}

PG_FUNCTION_INFO_V1(pipeline_check_final);

/* The counts and samples of every check as JSON; NULL when no row came. */
Datum
pipeline_check_final(PG_FUNCTION_ARGS)
{
	CheckState *state;
	StringInfoData buf;

	pipeline_aggregate_context(fcinfo, "_check");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (CheckState *) PG_GETARG_POINTER(0);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < state->nchecks; i++)
	{
		Counts	   *counts = &state->counts[i];

		CHECK_FOR_INTERRUPTS();
		appendStringInfo(&buf, "%s{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT
						 ", \"unexpected\": " INT64_FORMAT, i ? ", " : "",
						 counts->elements, counts->missing, counts->unexpected);
		append_list(&buf, "values", counts->values, counts->nsamples);
		append_list(&buf, "keys", counts->keys, counts->nsamples);
		appendStringInfoChar(&buf, '}');
	}
	if (state->has_places)
	{
		appendStringInfoString(&buf, state->nchecks ? ", " : "");
		pipeline_places_json(&buf, &state->places);
	}
	appendStringInfoChar(&buf, ']');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
}
