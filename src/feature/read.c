/*
 * read.c
 *	  Read the spine once, then each stream once, through the executor into
 *	  receivers of our own.
 *
 * The spine's least and greatest time bound every stream's scan, in its WHERE
 * clause, on the bare column, so that indexes and partitions serve.  An event
 * that no row can reach is dropped as it arrives; the rest become records.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "feature/feature.h"

typedef struct FeatureReceiver
{
	DestReceiver pub;
	FeatureRun *run;
	FeaturePlan *plan;
	Stream	   *stream;			/* NULL for the spine */
	uint32		number;			/* of the record's stream */
	int			first;			/* column of the first of our own */
	Datum	   *values;			/* of the event at hand, by input */
	Size	   *sizes;			/* of those by reference */
} FeatureReceiver;

/* ---- statements ------------------------------------------------------------------ */

static char *
qualified_type(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
								FORMAT_TYPE_FORCE_QUALIFY);
}

static void
append_keys(StringInfo sql, const FeaturePlan *plan, const List *columns,
			const char *prefix)
{
	for (int i = 0; i < plan->nkeys; i++)
		appendStringInfo(sql, "%s%s::%s, ", prefix,
						 quote_identifier(list_nth(columns, i)),
						 qualified_type(plan->key_types[i]));
}

static const char *
axis_type(bool local)
{
	return local ? "pg_catalog.timestamp" : "pg_catalog.timestamptz";
}

/* Spine: its columns, the entity, the time, and whether it is before as_of. */
static char *
spine_sql(const FeaturePlan *plan, const FeatureRange *range)
{
	StringInfoData sql;
	const char *time = quote_identifier(plan->event_time);

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT spine.*, ");
	append_keys(&sql, plan, plan->entity, "spine.");
	appendStringInfo(&sql, "spine.%s::%s", time, axis_type(plan->local));
	if (range->as_of)
		appendStringInfo(&sql, ", spine.%s OPERATOR(pg_catalog.<) $3", time);
	appendStringInfo(&sql, " FROM %s AS spine", plan->spine->from);
	if (range->from_time || range->to_time)
	{
		appendStringInfoString(&sql, " WHERE (true");
		if (range->from_time)
			appendStringInfo(&sql, " AND spine.%s OPERATOR(pg_catalog.>=) $1", time);
		if (range->to_time)
			appendStringInfo(&sql, " AND spine.%s OPERATOR(pg_catalog.<) $2", time);
		appendStringInfoChar(&sql, ')');
		/* Rows without a time belong to no interval: they are reported. */
		if (plan->nullable_time)
			appendStringInfo(&sql, " OR spine.%s IS NULL", time);
	}
	return sql.data;
}

/* Stream: the entity, the time, and every input. */
static char *
stream_sql(const FeaturePlan *plan, const Stream *stream,
		   const FeatureRange *range)
{
	StringInfoData sql;
	const char *time = quote_identifier(stream->event_time);
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_keys(&sql, plan, stream->entity, "");
	appendStringInfo(&sql, "%s::%s", time, axis_type(stream->local));
	foreach(lc, stream->inputs)
		appendStringInfo(&sql, ", %s", ((Input *) lfirst(lc))->sql);
	appendStringInfo(&sql, " FROM %s%s", stream->source->from,
					 OidIsValid(stream->source->relid) ? "" : " AS source");
	appendStringInfo(&sql, " WHERE (%s OPERATOR(pg_catalog.>=) $1 AND %s OPERATOR(pg_catalog.<=) $2",
					 time, time);
	if (range->as_of)
		appendStringInfo(&sql, " AND %s OPERATOR(pg_catalog.<) $3", time);
	appendStringInfoChar(&sql, ')');
	if (stream->nullable_time)
		appendStringInfo(&sql, " OR %s IS NULL", time);
	return sql.data;
}

/* ---- receivers --------------------------------------------------------------------- */

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
receiver_end(DestReceiver *self)
{
}

/* Does the row have a NULL among the entity and the time? */
static bool
has_null_key(const FeatureReceiver *receiver, const TupleTableSlot *slot)
{
	for (int i = 0; i <= receiver->plan->nkeys; i++)
	{
		if (slot->tts_isnull[receiver->first + i])
			return true;
	}
	return false;
}

static bool
receive_spine(TupleTableSlot *slot, DestReceiver *self)
{
	FeatureReceiver *receiver = (FeatureReceiver *) self;
	FeatureRun *run = receiver->run;
	int			time_column = receiver->first + receiver->plan->nkeys;
	int64		time;
	MinimalTuple tuple;
	Record	   *record;
	MemoryContext before;
	Size		header = MAXALIGN(sizeof(Record));
	uint32		key;

	slot_getallattrs(slot);
	run->counts.rows_read++;
	if (has_null_key(receiver, slot))
	{
		run->counts.rows_rejected++;
		return true;
	}
	if (run->range->as_of && !DatumGetBool(slot->tts_values[time_column + 1]))
	{
		run->counts.rows_beyond_as_of++;
		return true;
	}
	time = DatumGetInt64(slot->tts_values[time_column]);
	run->least_time = Min(run->least_time, time);
	run->greatest_time = Max(run->greatest_time, time);

	before = MemoryContextSwitchTo(run->scratch);
	tuple = heap_form_minimal_tuple(receiver->plan->spine->columns,
									slot->tts_values, slot->tts_isnull, 0);
	key = key_table_add(run->keys, &slot->tts_values[receiver->first], time);
	record = record_store_reserve(run->store, header + MAXALIGN(tuple->t_len));
	record->time = time;
	record->stream = 0;
	record->present = 0;
	record->key = key;
	memcpy((char *) record + header, tuple, tuple->t_len);
	record_store_append(run->store);
	MemoryContextSwitchTo(before);
	MemoryContextReset(run->scratch);
	return true;
}

/* Can no row of the entity reach an event of that time? */
static bool
out_of_reach(const FeatureReceiver *receiver, uint32 key, int64 time)
{
	int64		least;
	int64		greatest;
	int64		start;

	/* Without a time zone on one side only, the two do not compare. */
	if (receiver->plan->local != receiver->stream->local)
		return false;
	key_table_times(receiver->run->keys, key, &least, &greatest);
	if (time > greatest)
		return true;
	if (receiver->stream->reach == PG_INT64_MAX ||
		TIMESTAMP_NOT_FINITE(least) ||
		pg_sub_s64_overflow(least, receiver->stream->reach, &start))
		return false;
	return time < start;
}

/*
 * Note the inputs for which the event counts, and the size of their values;
 * return whether there is any.
 */
static bool
take_inputs(FeatureReceiver *receiver, const TupleTableSlot *slot,
			uint32 *bits, Size *size)
{
	Stream	   *stream = receiver->stream;
	int			column = receiver->plan->nkeys + 1;
	bool		any = stream->wants_all;
	ListCell   *lc;

	*size = record_values_offset(stream) + stream->nvalues * sizeof(Datum);
	memset(bits, 0, Max(stream->nwords, 1) * sizeof(uint32));
	foreach(lc, stream->inputs)
	{
		Input	   *input = lfirst(lc);
		int			i = foreach_current_index(lc);
		Datum		value = slot->tts_values[column + i];

		receiver->values[i] = (Datum) 0;
		if (slot->tts_isnull[column + i] ||
			(input->presence && !DatumGetBool(value)))
			continue;
		any = true;
		bits[i / 32] |= (uint32) 1 << (i % 32);
		if (input->presence)
			continue;
		if (!input->typbyval)
		{
			if (input->typlen == -1)
				value = PointerGetDatum(PG_DETOAST_DATUM(value));
			receiver->sizes[i] = input->typlen == -1 ?
				VARSIZE(DatumGetPointer(value)) : input->typlen;
			*size += MAXALIGN(receiver->sizes[i]);
		}
		receiver->values[i] = value;
	}
	return any;
}

/* Put the values noted by take_inputs() into the record. */
static void
put_inputs(FeatureReceiver *receiver, Record *record, const uint32 *bits)
{
	Stream	   *stream = receiver->stream;
	Datum	   *values = (Datum *) ((char *) record + record_values_offset(stream));
	Size		at = record_values_offset(stream) + stream->nvalues * sizeof(Datum);
	ListCell   *lc;

	record->present = bits[0];
	if (stream->nwords > 1)
		memcpy((char *) record + sizeof(Record), &bits[1],
			   (stream->nwords - 1) * sizeof(uint32));
	foreach(lc, stream->inputs)
	{
		Input	   *input = lfirst(lc);
		int			i = foreach_current_index(lc);

		if (input->presence)
			continue;
		values[input->slot] = receiver->values[i];
		if (input->typbyval || !((bits[i / 32] >> (i % 32)) & 1))
			continue;
		memcpy((char *) record + at, DatumGetPointer(receiver->values[i]),
			   receiver->sizes[i]);
		values[input->slot] = (Datum) at;
		at += MAXALIGN(receiver->sizes[i]);
	}
}

/* Take one event whose entity and time are not NULL. */
static void
take_event(FeatureReceiver *receiver, const TupleTableSlot *slot)
{
	FeatureRun *run = receiver->run;
	int64		key = key_table_find(run->keys, slot->tts_values);
	int64		time = DatumGetInt64(slot->tts_values[receiver->plan->nkeys]);
	uint32		bits[(MaxTupleAttributeNumber + 31) / 32];
	Size		size;
	Record	   *record;

	if (key < 0)
		run->counts.events_unknown++;
	else if (out_of_reach(receiver, (uint32) key, time))
		run->counts.events_unreached++;
	else if (!take_inputs(receiver, slot, bits, &size))
		run->counts.events_filtered++;
	else
	{
		record = record_store_reserve(run->store, size);
		record->time = time;
		record->key = (uint32) key;
		record->stream = receiver->number;
		put_inputs(receiver, record, bits);
		record_store_append(run->store);
		run->counts.events_used++;
	}
}

static bool
receive_event(TupleTableSlot *slot, DestReceiver *self)
{
	FeatureReceiver *receiver = (FeatureReceiver *) self;
	FeatureRun *run = receiver->run;
	MemoryContext before;

	slot_getallattrs(slot);
	run->counts.events_read++;
	if (has_null_key(receiver, slot))
	{
		run->counts.events_rejected++;
		return true;
	}
	before = MemoryContextSwitchTo(run->scratch);
	take_event(receiver, slot);
	MemoryContextSwitchTo(before);
	MemoryContextReset(run->scratch);
	return true;
}

/* ---- scans ----------------------------------------------------------------------------- */

static void
set_param(ParamListInfo params, int number, Oid type, const TimestampTz *time)
{
	ParamExternData *param = &params->params[number - 1];

	param->ptype = type;
	param->pflags = PARAM_FLAG_CONST;
	param->isnull = time == NULL;
	param->value = time ? TimestampTzGetDatum(*time) : (Datum) 0;
}

/*
 * Run one SELECT into the receiver, under the snapshot of the caller: the
 * spine and all streams are read at one moment.
 */
static void
scan(FeatureReceiver *receiver, const char *sql, Oid bound_type,
	 const TimestampTz *from, const TimestampTz *to)
{
	SPIExecuteOptions options = {0};
	int			rc;

	options.params = makeParamList(3);
	set_param(options.params, 1, bound_type, from);
	set_param(options.params, 2, bound_type, to);
	set_param(options.params, 3, TIMESTAMPTZOID, receiver->run->range->as_of);
	options.read_only = true;
	options.dest = &receiver->pub;
	rc = SPI_execute_extended(sql, &options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "scan for features returned %s", SPI_result_code_string(rc));
}

static void
receiver_init(FeatureReceiver *receiver, FeatureRun *run, Stream *stream)
{
	memset(receiver, 0, sizeof(FeatureReceiver));
	receiver->pub.receiveSlot = stream ? receive_event : receive_spine;
	receiver->pub.rStartup = receiver_startup;
	receiver->pub.rShutdown = receiver_end;
	receiver->pub.rDestroy = receiver_end;
	/* SPI takes DestNone for a result that nobody wants. */
	receiver->pub.mydest = DestTuplestore;
	receiver->run = run;
	receiver->plan = run->plan;
	receiver->stream = stream;
	if (stream == NULL)
		receiver->first = run->plan->spine->columns->natts;
	else
	{
		receiver->values = palloc0_array(Datum, list_length(stream->inputs) + 1);
		receiver->sizes = palloc0_array(Size, list_length(stream->inputs) + 1);
	}
}

static int64
shift_days(int64 time, int days)
{
	int64		shifted;

	if (TIMESTAMP_NOT_FINITE(time))
		return time;
	if (pg_add_s64_overflow(time, days * USECS_PER_DAY, &shifted) ||
		!IS_VALID_TIMESTAMP(shifted))
		return days < 0 ? DT_NOBEGIN : DT_NOEND;
	return shifted;
}

/*
 * The least and greatest time of an event of the stream that some row may
 * reach: never too narrow, where the calendar interferes a little too wide.
 */
static void
stream_bounds(FeatureRun *run, int number, int64 *from, int64 *to)
{
	FeaturePlan *plan = run->plan;
	Stream	   *stream = list_nth(plan->streams, number);
	bool		convert = plan->local && !stream->local;
	ListCell   *lc;

	*from = run->least_time;
	foreach(lc, plan->windows)
	{
		Window	   *window = lfirst(lc);
		Span	   *span = list_nth(plan->spans, window->span);
		int64		start;

		if (window->stream != number)
			continue;
		start = span_start(span, plan->local, run->least_time);
		if (!span->fixed)
			start = shift_days(start, -4);
		*from = Min(*from, start);
	}
	*to = run->greatest_time;
	if (convert)
	{
		*from = shift_days(local_to_instant(*from), -1);
		*to = shift_days(local_to_instant(*to), 1);
	}
}

/* Read the spine, then every stream, into the run's store. */
void
feature_read(FeatureRun *run)
{
	FeaturePlan *plan = run->plan;
	FeatureReceiver receiver;
	ListCell   *lc;

	run->least_time = PG_INT64_MAX;
	run->greatest_time = PG_INT64_MIN;
	receiver_init(&receiver, run, NULL);
	scan(&receiver, spine_sql(plan, run->range), TIMESTAMPTZOID,
		 run->range->from_time, run->range->to_time);
	if (key_table_size(run->keys) == 0)
		return;
	foreach(lc, plan->streams)
	{
		Stream	   *stream = lfirst(lc);
		int64		from;
		int64		to;

		stream_bounds(run, foreach_current_index(lc), &from, &to);
		receiver_init(&receiver, run, stream);
		receiver.number = foreach_current_index(lc) + 1;
		scan(&receiver, stream_sql(plan, stream, run->range),
			 stream->local ? TIMESTAMPOID : TIMESTAMPTZOID, &from, &to);
	}
}
