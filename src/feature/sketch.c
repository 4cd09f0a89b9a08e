/*
 * sketch.c
 *	  About how many different values a window has: HyperLogLog, with the
 *	  registers and the estimate of PostgreSQL's own (lib/hyperloglog), over a
 *	  window that slides.
 *
 * A register holds the greatest "rho" of the events that fall to it.  For
 * each, the events of the window that may still become its greatest are
 * chained, falling in rho, rising in time: one that enters drops those before
 * it that are not greater, and one that leaves can only be the first.  The
 * sum of the estimate is over powers of two, so it is kept exactly while
 * registers change.  When a cursor steps back, the window is added anew.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "lib/hyperloglog.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/typcache.h"

#include "feature/feature.h"

struct Sketch
{
	int			width;			/* bits that choose a register */
	int			nregisters;
	double		alpha;			/* alpha * m ^ 2 */
	int		   *first;			/* of the chain of each register, or -1 */
	int		   *last;
	uint32	   *stamps;			/* the register is empty unless it is `stamp` */
	uint32		stamp;
	double		sum;			/* of 2 ^ -register */
	int			zeros;			/* empty registers */
	int			lo;
	int			hi;
	int		   *before;			/* in the chains, by event of the entity */
	int		   *after;
};

/* Make the sketch of a feature, in the current context. */
Sketch *
sketch_create(int width)
{
	Sketch	   *sketch = palloc0(sizeof(Sketch));
	hyperLogLogState state;

	initHyperLogLog(&state, width);
	sketch->width = width;
	sketch->nregisters = state.nRegisters;
	sketch->alpha = state.alphaMM;
	freeHyperLogLog(&state);
	sketch->first = palloc_array(int, sketch->nregisters);
	sketch->last = palloc_array(int, sketch->nregisters);
	sketch->stamps = palloc0_array(uint32, sketch->nregisters);
	return sketch;
}

/* Forget every event; the window is empty at `at`. */
static void
clear(Sketch *sketch, int at)
{
	if (++sketch->stamp == 0)
	{
		memset(sketch->stamps, 0, sketch->nregisters * sizeof(uint32));
		sketch->stamp = 1;
	}
	sketch->sum = sketch->nregisters;
	sketch->zeros = sketch->nregisters;
	sketch->lo = sketch->hi = at;
}

/* Forget the last entity; the new one has that many events. */
void
sketch_start(Sketch *sketch, int nevents)
{
	Size		size = ((Size) nevents + 1) * sizeof(int);

	sketch->before = MemoryContextAllocHuge(CurrentMemoryContext, size);
	sketch->after = MemoryContextAllocHuge(CurrentMemoryContext, size);
	clear(sketch, 0);
}

/* Hash the values of a new entity, in the current context. */
void
sketch_hashes(Input *input, int index, const Stream *stream)
{
	TypeCacheEntry *cache = lookup_type_cache(input->type, TYPECACHE_HASH_PROC_FINFO);

	input->hashes = MemoryContextAllocHuge(CurrentMemoryContext,
										   ((Size) stream->nevents + 1) * sizeof(uint32));
	for (int i = 0; i < stream->nevents; i++)
	{
		if (!record_has(stream->events[i], index))
			continue;
		input->hashes[i] =
			murmurhash32(DatumGetUInt32(FunctionCall1Coll(&cache->hash_proc_finfo,
														  input->collation,
														  record_value(stream->events[i], stream, input))));
	}
}

/* The place of the first bit that is set after those of the register. */
static inline int
rho(const Sketch *sketch, uint32 hash)
{
	uint32		rest = hash << sketch->width;

	return rest == 0 ? 32 - sketch->width + 1 : 32 - pg_leftmost_one_pos32(rest);
}

static inline int
register_of(const Sketch *sketch, uint32 hash)
{
	return hash >> (32 - sketch->width);
}

/* The register's greatest rho changed: keep the sums. */
static inline void
change(Sketch *sketch, int from, int to)
{
	sketch->sum += ldexp(1, -to) - ldexp(1, -from);
	sketch->zeros += (to == 0) - (from == 0);
}

static void
add(Sketch *sketch, const Input *input, int event)
{
	uint32		hash = input->hashes[event];
	int			r = register_of(sketch, hash);
	int			value = rho(sketch, hash);
	int			last;
	int			greatest;

	if (sketch->stamps[r] != sketch->stamp)
	{
		sketch->stamps[r] = sketch->stamp;
		sketch->first[r] = sketch->last[r] = -1;
	}
	greatest = sketch->first[r] < 0 ? 0 :
		rho(sketch, input->hashes[sketch->first[r]]);
	last = sketch->last[r];
	while (last >= 0 && rho(sketch, input->hashes[last]) <= value)
		last = sketch->before[last];
	sketch->before[event] = last;
	sketch->after[event] = -1;
	if (last >= 0)
		sketch->after[last] = event;
	else
		sketch->first[r] = event;
	sketch->last[r] = event;
	if (value > greatest)
		change(sketch, greatest, value);
}

static void
drop(Sketch *sketch, const Input *input, int event)
{
	uint32		hash = input->hashes[event];
	int			r = register_of(sketch, hash);
	int			next = sketch->after[event];

	if (sketch->first[r] != event)
		return;
	sketch->first[r] = next;
	if (next >= 0)
		sketch->before[next] = -1;
	else
		sketch->last[r] = -1;
	change(sketch, rho(sketch, hash),
		   next < 0 ? 0 : rho(sketch, input->hashes[next]));
}

static double
estimate(const Sketch *sketch)
{
	const double all = 4294967296.0;
	double		result = sketch->alpha / sketch->sum;

	if (result <= 2.5 * sketch->nregisters)
	{
		if (sketch->zeros > 0)
			result = sketch->nregisters *
				log((double) sketch->nregisters / sketch->zeros);
	}
	else if (result > all / 30)
		result = -all * log(1.0 - result / all);
	return result;
}

/* Move the window to the events [lo, hi); return about how many values. */
int64
sketch_count(Sketch *sketch, const Input *input, int index,
			 const Stream *stream, int lo, int hi)
{
	if (lo < sketch->lo || hi < sketch->hi || lo > sketch->hi)
		clear(sketch, lo);
	for (; sketch->hi < hi; sketch->hi++)
	{
		if (record_has(stream->events[sketch->hi], index))
			add(sketch, input, sketch->hi);
	}
	for (; sketch->lo < lo; sketch->lo++)
	{
		if (record_has(stream->events[sketch->lo], index))
			drop(sketch, input, sketch->lo);
	}
	return (int64) rint(estimate(sketch));
}
