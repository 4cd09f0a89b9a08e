/*
 * row_writer.c
 *	  Rows of the result: the bytes of the spine's row as they are, with the
 *	  values of the features after them.
 *
 * To take a row apart and form it anew would cost more than the features.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "executor/tuptable.h"

#include "feature/feature.h"
#include "feature/parcel.h"

struct RowWriter
{
	TupleDesc	desc;
	int			nspine;			/* columns of the spine */
	bool		words;			/* the others are all of 8 bytes, by value */
	Tuplestorestate *output;
	RowParcel  *parcel;			/* instead of it */
	TupleTableSlot *slot;
	char	   *tuple;			/* room for the row at hand */
	Size		size;
};

/*
 * Make a writer of rows of that type, in the current context, to the output or,
 * if there is one, to the parcel.
 */
RowWriter *
row_writer_create(TupleDesc desc, int nspine, Tuplestorestate *output, RowParcel *parcel)
{
	RowWriter  *writer = palloc0(sizeof(RowWriter));

	writer->desc = desc;
	writer->nspine = nspine;
	writer->words = true;
	for (int i = nspine; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		writer->words &= att->attbyval && att->attlen == sizeof(Datum) &&
			att->attalign == TYPALIGN_DOUBLE;
	}
	writer->output = output;
	writer->parcel = parcel;
	writer->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	writer->size = 1024;
	writer->tuple = palloc(writer->size);
	return writer;
}

/* Let go of it. */
void
row_writer_end(RowWriter *writer)
{
	ExecDropSingleTupleTableSlot(writer->slot);
	pfree(writer->tuple);
}

static void
make_room(RowWriter *writer, Size at, Size more)
{
	if (at + more <= writer->size)
		return;
	writer->size = Max(writer->size * 2, at + more);
	writer->tuple = repalloc_huge(writer->tuple, writer->size);
}

/* Put a value at its place from `at` on; return where it ends. */
static Size
put_value(RowWriter *writer, Size at, Form_pg_attribute att, Datum value)
{
	Size		start;
	Size		length = att->attlen;
	char	   *bytes = NULL;

	if (!att->attbyval)
	{
		bytes = DatumGetPointer(value);
		if (att->attlen == -1)
		{
			if (VARATT_IS_EXTENDED(bytes))
				bytes = (char *) PG_DETOAST_DATUM(value);
			length = VARSIZE(bytes);
		}
	}
	start = att_align_nominal(at, att->attalign);
	make_room(writer, start, length);
	memset(writer->tuple + at, 0, start - at);
	if (att->attbyval)
		store_att_byval(writer->tuple + start, value, att->attlen);
	else
		memcpy(writer->tuple + start, bytes, length);
	return start + length;
}

/* Put the values of all features from `at` on, each a Datum. */
static Size
put_words(RowWriter *writer, Size at, const Datum *values, const bool *nulls)
{
	int			n = writer->desc->natts - writer->nspine;
	Size		start = TYPEALIGN(ALIGNOF_DOUBLE, at);
	Datum	   *to;

	make_room(writer, start, n * sizeof(Datum));
	memset(writer->tuple + at, 0, start - at);
	to = (Datum *) (writer->tuple + start);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			*to++ = values[i];
	}
	/* Without any, nothing is aligned. */
	return to == (Datum *) (writer->tuple + start) ? at : (char *) to - writer->tuple;
}

/* Put them, whatever their types are. */
static Size
put_values(RowWriter *writer, Size at, const Datum *values, const bool *nulls,
		   uint16 *infomask)
{
	for (int i = writer->nspine; i < writer->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(writer->desc, i);

		if (nulls[i - writer->nspine])
			continue;
		at = put_value(writer, at, att, values[i - writer->nspine]);
		if (att->attlen == -1)
			*infomask |= HEAP_HASVARWIDTH;
	}
	return at;
}

/* Does the row have a NULL anywhere? */
static bool
has_null(const RowWriter *writer, MinimalTuple row, const bool *nulls)
{
	if (row->t_infomask & HEAP_HASNULL)
		return true;
	for (int i = 0; i < writer->desc->natts - writer->nspine; i++)
	{
		if (nulls[i])
			return true;
	}
	return false;
}

/*
 * Write a row: the spine's, all of whose columns are stored, and the values of
 * the features.
 */
void
row_writer_put(RowWriter *writer, MinimalTuple row, const Datum *values,
			   const bool *nulls)
{
	int			natts = writer->desc->natts;
	bool		any_null = has_null(writer, row, nulls);
	Size		header = MAXALIGN(SizeofHeapTupleHeader +
								  (any_null ? BITMAPLEN(natts) : 0));
	Size		row_header = row->t_hoff - MINIMAL_TUPLE_OFFSET;
	Size		at = header - MINIMAL_TUPLE_OFFSET;
	uint16		infomask = row->t_infomask & (HEAP_HASVARWIDTH | HEAP_HASEXTERNAL);
	uint8	   *bits;

	make_room(writer, at, row->t_len - row_header);
	memset(writer->tuple, 0, at);
	memcpy(writer->tuple + at, (char *) row + row_header, row->t_len - row_header);
	at += row->t_len - row_header;
	at = writer->words ? put_words(writer, at, values, nulls) :
		put_values(writer, at, values, nulls, &infomask);
	if (any_null)
	{
		infomask |= HEAP_HASNULL;
		bits = ((MinimalTuple) writer->tuple)->t_bits;
		for (int i = 0; i < natts; i++)
		{
			if (i < writer->nspine ?
				!(row->t_infomask & HEAP_HASNULL) || !att_isnull(i, row->t_bits) :
				!nulls[i - writer->nspine])
				bits[i / 8] |= 1 << (i % 8);
		}
	}
	((MinimalTuple) writer->tuple)->t_len = at;
	((MinimalTuple) writer->tuple)->t_infomask = infomask;
	((MinimalTuple) writer->tuple)->t_hoff = header;
	HeapTupleHeaderSetNatts((MinimalTuple) writer->tuple, natts);
	if (writer->parcel != NULL)
	{
		RowParcel  *p = writer->parcel;
		MemoryContext before = MemoryContextSwitchTo(p->context);

		memcpy(parcel_reserve(&p->parcel, p->files, p->name, MAXALIGN(at)), writer->tuple, at);
		parcel_append(&p->parcel, MAXALIGN(at));
		MemoryContextSwitchTo(before);
		return;
	}
	ExecStoreMinimalTuple((MinimalTuple) writer->tuple, writer->slot, false);
	tuplestore_puttupleslot(writer->output, writer->slot);
}
