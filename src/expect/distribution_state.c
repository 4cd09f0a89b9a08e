/*
 * distribution_state.c
 *	  The state of the aggregate _distribution on its way: combined with others,
 *	  sent to another process.
 *
 * A worker sends its counts of bins, or each distinct value with how often it was
 * there, those of its sort too.  That pays where values are few; who makes the
 * statement sees to it (check_run.c).  What is more than MAX_STATE_BYTES is an
 * error of its own, and the caller scans again in one process.
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "expect/sketch.h"

#define MAX_STATE_BYTES (512 * 1024 * 1024)

PG_FUNCTION_INFO_V1(pipeline_distribution_combine);

typedef struct Receiver
{
	Distribution *d;
} Receiver;

static void
take_value(void *arg, Datum value, int64 count)
{
	pipeline_distribution_add(((Receiver *) arg)->d, value, count);
}

/* An empty state with the plan of another one. */
static Distribution *
empty_like(const Distribution *other, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Distribution *d = palloc0(sizeof(Distribution));

	pipeline_distribution_begin(d, other->typid, other->plan);
	MemoryContextSwitchTo(old);
	return d;
}

/* Combine two states; the second is of no use afterwards. */
Datum
pipeline_distribution_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = pipeline_aggregate_context(fcinfo, "_distribution");
	Distribution *a = PG_ARGISNULL(0) ? NULL : (Distribution *) PG_GETARG_POINTER(0);
	Distribution *b = PG_ARGISNULL(1) ? NULL : (Distribution *) PG_GETARG_POINTER(1);
	Receiver	receiver;

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
	{
		a = empty_like(b, context);
		pipeline_distribution_register(fcinfo, a);
	}
	a->elements += b->elements;
	a->missing += b->missing;
	for (int i = 0; i < a->nchecks; i++)
	{
		a->checks[i].below += b->checks[i].below;
		a->checks[i].above += b->checks[i].above;
		for (int bin = 0; bin < a->checks[i].nbins; bin++)
			a->checks[i].counts[bin] += b->checks[i].counts[bin];
	}
	receiver.d = a;
	pipeline_distribution_runs(b, take_value, &receiver);
	/* It is in memory that goes before the aggregate ends. */
	if (b->sort)
		tuplesort_end(b->sort);
	b->sort = NULL;
	PG_RETURN_POINTER(a);
}

typedef struct Sender
{
	Distribution *d;
	StringInfoData buf;
	int64		n;
} Sender;

static void
send_value(void *arg, Datum value, int64 count)
{
	Sender	   *s = arg;

	if (s->buf.len > MAX_STATE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the distinct values of a column are too many for a parallel scan"),
				 errhint("Analyze the table, so that the number of its distinct values is known, or set max_parallel_workers_per_gather to 0.")));
	pipeline_datum_send(&s->buf, value, s->d->typlen, s->d->typbyval);
	pq_sendint64(&s->buf, count);
	s->n++;
}

PG_FUNCTION_INFO_V1(pipeline_distribution_serialize);

Datum
pipeline_distribution_serialize(PG_FUNCTION_ARGS)
{
	Sender		s = {0};
	Distribution *d;
	int			at;
	uint64		n;

	pipeline_aggregate_context(fcinfo, "_distribution");
	d = s.d = (Distribution *) PG_GETARG_POINTER(0);
	pq_begintypsend(&s.buf);
	pq_sendint32(&s.buf, d->typid);
	pq_sendint32(&s.buf, VARSIZE(d->plan));
	appendBinaryStringInfo(&s.buf, (char *) d->plan, VARSIZE(d->plan));
	pq_sendint64(&s.buf, d->elements);
	pq_sendint64(&s.buf, d->missing);
	for (int i = 0; i < d->nchecks && d->binned; i++)
	{
		pq_sendint64(&s.buf, d->checks[i].below);
		pq_sendint64(&s.buf, d->checks[i].above);
		for (int bin = 0; bin < d->checks[i].nbins; bin++)
			pq_sendint64(&s.buf, d->checks[i].counts[bin]);
	}
	at = s.buf.len;
	pq_sendint64(&s.buf, 0);
	pipeline_distribution_runs(d, send_value, &s);
	n = pg_hton64((uint64) s.n);
	memcpy(s.buf.data + at, &n, sizeof(n));
	PG_RETURN_BYTEA_P(pq_endtypsend(&s.buf));
}

PG_FUNCTION_INFO_V1(pipeline_distribution_deserialize);

/* The reverse, into the current context: the caller keeps it for one call. */
Datum
pipeline_distribution_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	StringInfoData buf;
	Distribution like = {0};
	Distribution *d;
	int			size;

	pipeline_aggregate_context(fcinfo, "_distribution");
	bytes = PG_GETARG_BYTEA_PP(0);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	like.typid = (Oid) pq_getmsgint(&buf, 4);
	size = pq_getmsgint(&buf, 4);
	like.plan = palloc(size);
	memcpy(like.plan, pq_getmsgbytes(&buf, size), size);
	d = empty_like(&like, CurrentMemoryContext);
	d->elements = pq_getmsgint64(&buf);
	d->missing = pq_getmsgint64(&buf);
	for (int i = 0; i < d->nchecks && d->binned; i++)
	{
		d->checks[i].below = pq_getmsgint64(&buf);
		d->checks[i].above = pq_getmsgint64(&buf);
		for (int bin = 0; bin < d->checks[i].nbins; bin++)
			d->checks[i].counts[bin] = pq_getmsgint64(&buf);
	}
	for (int64 n = pq_getmsgint64(&buf); n > 0; n--)
	{
		Datum		value = pipeline_datum_receive(&buf, d->typlen, d->typbyval);

		pipeline_distribution_add(d, value, pq_getmsgint64(&buf));
	}
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(d);
}
