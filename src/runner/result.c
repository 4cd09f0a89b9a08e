/*
 * result.c
 *	  Where the rows of a task's statements go.
 *
 * The runner reads one column name, "success".  A single column of a composite
 * type is expanded first, so that SELECT f() and SELECT * FROM f() mean the
 * same.  The rows of the last row-returning statement, up to a limit, become
 * the result of the attempt.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "runner/runner.h"

#define RESULT_ROWS 100
#define RESULT_BYTES (64 * 1024)

typedef struct ResultReceiver
{
	DestReceiver pub;
	MemoryContext context;		/* of the attempt */
	MemoryContext row_context;	/* reset for each row */
	CommandResult *result;
	TupleDesc	desc;			/* of the statement, blessed */
	int			success;		/* column "success", or 0 */
	bool		composite;		/* one column, a composite: look inside */
	StringInfoData json;		/* rows so far, comma-separated */
	int			rows;
	bool		full;
} ResultReceiver;

/* Find the column "success"; any type but boolean is an error. */
static int
success_column(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), "success") != 0)
			continue;
		if (getBaseType(att->atttypid) != BOOLOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"success\" of the command's result is of type %s, not boolean",
							format_type_be(att->atttypid)),
					 errhint("The runner reads a column of that name as the task's verdict; give another column another name.")));
		return i + 1;
	}
	return 0;
}

static bool
is_composite(Oid type)
{
	return type_is_rowtype(type) || type == RECORDOID;
}

static void
result_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	ResultReceiver *r = (ResultReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	r->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	r->composite = desc->natts == 1 &&
		is_composite(TupleDescAttr(desc, 0)->atttypid);
	r->success = r->composite ? 0 : success_column(desc);
	initStringInfo(&r->json);
	r->rows = 0;
	r->full = false;
	MemoryContextSwitchTo(old);
}

/* Is some column alone, detoasted, more than a result may be? */
static bool
is_too_big(TupleDesc desc, const Datum *values, const bool *nulls)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (!nulls[i] && TupleDescAttr(desc, i)->attlen == -1 &&
			toast_raw_datum_size(values[i]) > RESULT_BYTES)
			return true;
	}
	return false;
}

/* Keep the row, given as a composite value, as JSON. */
static void
keep_row(ResultReceiver *r, Datum row)
{
	text	   *json;

	if (r->full)
		return;
	json = DatumGetTextPP(DirectFunctionCall1(row_to_json, row));
	if (r->rows >= RESULT_ROWS ||
		r->json.len + VARSIZE_ANY_EXHDR(json) > RESULT_BYTES)
	{
		r->full = true;
		return;
	}
	if (r->rows > 0)
		appendStringInfoChar(&r->json, ',');
	appendBinaryStringInfo(&r->json, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	r->rows++;
}

/* The same for the columns of a composite value. */
static bool
composite_is_too_big(HeapTupleHeader header, TupleDesc desc)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	Datum	   *values = palloc_array(Datum, desc->natts);
	bool	   *nulls = palloc_array(bool, desc->natts);

	heap_deform_tuple(&tuple, desc, values, nulls);
	return is_too_big(desc, values, nulls);
}

/* The verdict of a composite value; a NULL one is no success. */
static void
composite_row(ResultReceiver *r, Datum value, bool isnull)
{
	HeapTupleHeader header;
	TupleDesc	desc;
	HeapTupleData tuple;
	int			column;

	if (isnull)
	{
		/* Without a row the declared type alone says what was asked. */
		Oid			type = TupleDescAttr(r->desc, 0)->atttypid;

		desc = type == RECORDOID ? NULL :
			lookup_rowtype_tupdesc_domain(type, -1, true);
		if (desc != NULL)
		{
			if (success_column(desc) > 0)
				r->result->success = false;
			ReleaseTupleDesc(desc);
		}
		return;
	}
	header = DatumGetHeapTupleHeader(value);
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
								  HeapTupleHeaderGetTypMod(header));
	column = success_column(desc);
	if (column > 0)
	{
		bool		null;
		Datum		success;

		tuple.t_len = HeapTupleHeaderGetDatumLength(header);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = header;
		success = heap_getattr(&tuple, column, desc, &null);
		if (null || !DatumGetBool(success))
			r->result->success = false;
	}
	if (!r->full)
		r->full = composite_is_too_big(header, desc);
	ReleaseTupleDesc(desc);
	keep_row(r, PointerGetDatum(header));
}

static bool
result_receive(TupleTableSlot *slot, DestReceiver *self)
{
	ResultReceiver *r = (ResultReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->row_context);

	slot_getallattrs(slot);
	if (r->composite)
		composite_row(r, slot->tts_values[0], slot->tts_isnull[0]);
	else
	{
		if (r->success > 0 &&
			(slot->tts_isnull[r->success - 1] ||
			 !DatumGetBool(slot->tts_values[r->success - 1])))
			r->result->success = false;
		if (!r->full)
			r->full = is_too_big(r->desc, slot->tts_values, slot->tts_isnull);
		if (!r->full)
			keep_row(r, HeapTupleGetDatum(heap_form_tuple(r->desc,
														  slot->tts_values,
														  slot->tts_isnull)));
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
}

typedef struct Parse
{
	const char *json;
	Jsonb	   *jsonb;
} Parse;

static bool
parse_json(void *arg)
{
	Parse	   *parse = arg;

	parse->jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(parse->json)));
	return true;
}

/*
 * Turn JSON into jsonb; as a string when jsonb cannot hold what type json
 * can, such as \u0000.  A task does not fail for what it returns.
 */
static Jsonb *
to_jsonb_or_string(const char *json)
{
	Parse		parse = {.json = json};
	StringInfoData string;

	if (pipeline_try(parse_json, &parse) == NULL)
		return parse.jsonb;
	initStringInfo(&string);
	escape_json(&string, json);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string.data)));
}

/* Turn the kept rows into the result; the last such statement wins. */
static void
result_shutdown(DestReceiver *self)
{
	ResultReceiver *r = (ResultReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	/* An empty array would say that there was no row. */
	if (r->rows == 0 && r->full)
		r->result->result = NULL;
	else
		r->result->result = to_jsonb_or_string(r->rows == 1 && !r->full ? r->json.data :
											   psprintf("[%s]", r->json.data));
	MemoryContextSwitchTo(old);
}

static void
result_destroy(DestReceiver *self)
{
	MemoryContextDelete(((ResultReceiver *) self)->row_context);
	pfree(self);
}

/*
 * Make a receiver for the statements of one attempt.  It writes `success` and
 * `result` of `result`, in `context`.
 */
DestReceiver *
runner_result_receiver(MemoryContext context, CommandResult *result)
{
	ResultReceiver *r = MemoryContextAllocZero(context, sizeof(ResultReceiver));

	r->pub.receiveSlot = result_receive;
	r->pub.rStartup = result_startup;
	r->pub.rShutdown = result_shutdown;
	r->pub.rDestroy = result_destroy;
	r->pub.mydest = DestNone;
	r->context = context;
	r->row_context = AllocSetContextCreate(context, "pipeline result row",
										   ALLOCSET_DEFAULT_SIZES);
	r->result = result;
	return (DestReceiver *) r;
}
