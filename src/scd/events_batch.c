/*
 * events_batch.c
 *	  The batch as it is read: each row an event with its time, order and
 *	  operation, or a reject.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "scd/events.h"

/* Is the value among these words, whatever their case? */
static bool
is_word(const char *value, const char *const *words)
{
	for (; *words; words++)
	{
		if (pg_strcasecmp(value, *words) == 0)
			return true;
	}
	return false;
}

/* Does the operation say delete?  NULL when it is fine, else why not. */
static const char *
read_operation(Replay *r, Datum value, bool isnull, bool *is_delete)
{
	static const char *const deletes[] = {"d", "delete", "true", "t", NULL};
	static const char *const upserts[] = {
		"i", "u", "c", "r", "insert", "update", "upsert", "create", "read",
		"false", "f", NULL
	};
	const Dimension *d = r->plan->dimension;
	char	   *word;

	*is_delete = false;
	if (isnull)
		return psprintf("operation column \"%s\" is null", d->operation_column);
	word = TextDatumGetCString(value);
	if (d->operation_deletes != NIL)
	{
		*is_delete = pipeline_list_has(d->operation_deletes, word);
		if (*is_delete || d->operation_upserts == NIL ||
			pipeline_list_has(d->operation_upserts, word))
			return NULL;
	}
	else
	{
		*is_delete = is_word(word, deletes);
		if (*is_delete || is_word(word, upserts))
			return NULL;
	}
	return psprintf("unknown operation \"%s\"", word);
}

/* Why the time of a row cannot be used: NULL if it can. */
static const char *
check_time(Replay *r, TimestampTz at)
{
	const Dimension *d = r->plan->dimension;

	if (TIMESTAMP_NOT_FINITE(at))
		return psprintf("\"%s\" is not a point in time", d->effective_at);
	if (!d->open_end_null && at >= d->open_end)
		return psprintf("\"%s\" is not before the open end of the dimension", d->effective_at);
	return NULL;
}

static const char *
read_event(Replay *r, const Datum *values, const bool *nulls,
		   Datum *out, bool *outnull)
{
	MergePlan  *plan = r->plan;
	const char *reason = pipeline_scd_null_key(plan, nulls);
	int			in = plan->ncolumns;
	bool		is_delete = false;

	if (reason != NULL)
		return reason;
	out[BATCH_AT] = TimestampTzGetDatum(plan->effective);
	outnull[BATCH_SEQUENCE] = true;
	if (plan->event[EVENT_AT] != NULL)
	{
		if (nulls[in])
			return psprintf("\"%s\" is null", plan->event[EVENT_AT]->name);
		reason = check_time(r, DatumGetTimestampTz(values[in]));
		if (reason != NULL)
			return reason;
		out[BATCH_AT] = TimestampTzGetDatum(pipeline_scd_granular(plan, DatumGetTimestampTz(values[in++])));
	}
	if (plan->event[EVENT_SEQUENCE] != NULL)
	{
		if (nulls[in])
			return psprintf("\"%s\" is null", plan->event[EVENT_SEQUENCE]->name);
		outnull[BATCH_SEQUENCE] = false;
		out[BATCH_SEQUENCE] = values[in++];
	}
	if (plan->event[EVENT_OPERATION] != NULL)
	{
		reason = read_operation(r, values[in], nulls[in], &is_delete);
		if (reason != NULL)
			return reason;
	}
	out[BATCH_DELETE] = BoolGetDatum(is_delete);
	return NULL;
}

static bool
receive_batch(TupleTableSlot *slot, DestReceiver *self)
{
	ReplayReceiver *receiver = (ReplayReceiver *) self;
	Replay	   *r = receiver->r;
	MergePlan  *plan = r->plan;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);
	Datum	   *out = palloc0_array(Datum, BATCH_FIRST + plan->ncolumns);
	bool	   *outnull = palloc0_array(bool, BATCH_FIRST + plan->ncolumns);
	const char *reason;

	slot_getallattrs(slot);
	r->counts->rows_read++;
	if (plan->batch_id != NULL)
		pipeline_scd_add_content(plan, slot->tts_values, slot->tts_isnull, r->delta->content);
	reason = read_event(r, slot->tts_values, slot->tts_isnull, out, outnull);
	if (reason != NULL)
	{
		r->counts->rejected++;
		pipeline_scd_reject(plan, r->delta, slot->tts_values, slot->tts_isnull, reason);
	}
	else
	{
		out[BATCH_N] = Int64GetDatum(++r->row);
		memcpy(out + BATCH_FIRST, slot->tts_values, plan->ncolumns * sizeof(Datum));
		memcpy(outnull + BATCH_FIRST, slot->tts_isnull, plan->ncolumns * sizeof(bool));
		tuplestore_putvalues(r->batch_rows, r->batch_desc, out, outnull);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->row_context);
	return true;
}

/* Read the batch. */
void
pipeline_scd_read_batch(Replay *r)
{
	ReplayReceiver receiver = {.r = r};

	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext, "pipeline event row",
												 ALLOCSET_DEFAULT_SIZES);
	pipeline_scd_receiver(&receiver.pub, receive_batch);
	pipeline_scd_stream(pipeline_scd_content_sql(r->plan), &receiver.pub);
	MemoryContextDelete(receiver.row_context);
}
