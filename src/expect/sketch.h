/*
 * sketch.h
 *	  The aggregate _sketch: what is known of a column's values without keeping
 *	  them all.
 */
#ifndef PIPELINE_SKETCH_H
#define PIPELINE_SKETCH_H

#include "common/pg_prng.h"
#include "expect/distribution.h"
#include "lib/hyperloglog.h"
#include "lib/stringinfo.h"
#include "utils/sortsupport.h"

/* ---- sketch_quantile.c: values in order, in bounded memory ------------------- */

#define QUANTILE_LEVELS 48
#define MAX_ITEM_BYTES 1024		/* of a value that is kept; texts are cut */

typedef struct QuantileLevel
{
	int			n;
	Datum	   *items;			/* each stands for 2^level rows; NULL: none yet */
} QuantileLevel;

typedef struct Quantiles
{
	MemoryContext context;		/* of the items */
	SortSupport order;
	int16		typlen;
	bool		typbyval;
	bool		is_text;
	bool		unknown;		/* a value was too long to be kept */
	int			bottom;			/* level that takes new items */
	int			top;			/* the highest one in use */
	uint64		at;				/* row of the block at hand, of 2^bottom rows */
	uint64		chosen;			/* which of them is taken */
	pg_prng_state random;
	QuantileLevel levels[QUANTILE_LEVELS];
} Quantiles;

extern Quantiles *pipeline_quantiles_begin(MemoryContext context, SortSupport order,
										   int16 typlen, bool typbyval, bool is_text);
extern void pipeline_quantiles_add(Quantiles *q, Datum value, int64 count);
extern void pipeline_quantiles_merge(Quantiles *q, Quantiles *other);
extern bool pipeline_quantiles_find(Quantiles *q, const double *fractions, int n, Datum *values);
extern void pipeline_quantiles_send(StringInfo buf, const Quantiles *q);
extern void pipeline_quantiles_receive(StringInfo buf, Quantiles *q);
extern void pipeline_datum_send(StringInfo buf, Datum value, int16 typlen, bool typbyval);
extern Datum pipeline_datum_receive(StringInfo buf, int16 typlen, bool typbyval);

/* How far an estimate may be off: the rank of a quantile, a part of the rows; the
 * number of distinct values, a part of itself. */
#define SKETCH_RANK_ERROR 0.01
#define SKETCH_DISTINCT_ERROR 0.025

/* ---- sketch_distinct.c ----------------------------------------------------------- */

extern double pipeline_distinct_estimate(const hyperLogLogState *h);

/* ---- sketch.c ------------------------------------------------------------------ */

/* A value that is counted one by one. */
typedef struct SketchSlot
{
	uint64		hash;
	int64		count;
	int64		pending;		/* of them, rows that the sketches do not know */
	bool		known;			/* the sketches know the value */
	Datum		value;
} SketchSlot;

typedef struct Sketch
{
	Distribution d;				/* type, counts and checks; its hash and sort are not used */
	MemoryContext context;
	FmgrInfo	hash;
	bool		profiled;		/* a profile is asked for */
	SortSupport order;			/* NULL: values have no order */
	uint32		capacity;		/* of the slots; a power of two */
	uint32		nvalues;
	SketchSlot *slots;			/* packed */
	uint32	   *index;			/* of hashes, twice as long: a slot's number from 1, and bits of the hash */
	char	   *arena;			/* values of the slots, when they are no Datums */
	char	   *spare;
	Size		arena_used;
	Size		arena_size;
	bool		exact;			/* nothing was left out: the slots hold all values */
	int64		offset;			/* by how much a count may be too low */
	hyperLogLogState distinct;
	Quantiles  *quantiles;		/* NULL: no order */
	bool		has_ends;
	Datum		min;
	Datum		max;
	double		min_number;		/* the same of numeric, as doubles */
	double		max_number;
	bool		wants_unique;	/* is no value there twice?  Asked by suggest(). */
	bool		unique;			/* as far as is known */
	Tuplesortstate *hashes;
	int64		purges;
} Sketch;

extern Sketch *pipeline_sketch_begin(MemoryContext context, Oid typid, const Jsonb *plan);
extern void pipeline_sketch_flush(Sketch *s);
extern void pipeline_sketch_count(Sketch *s, uint64 hash, Datum value, int64 count,
								  int64 pending, bool known);
extern void pipeline_sketch_end_value(Sketch *s, Datum value);
extern bool pipeline_is_sketchable(Oid typid);

/* ---- profile.c, profile_describe.c ----------------------------------------------- */

#define PROFILE_COLUMNS 16		/* of the type column_profile */

/* How a table is looked at. */
typedef enum ProfileMode
{
	PROFILE_SKETCHED,			/* nearly, and fast */
	PROFILE_UNIQUE,				/* the same, but know which columns are unique */
	PROFILE_EXACT
} ProfileMode;

typedef void (*ProfileSink) (void *arg, Datum *values, bool *nulls);

extern Datum pipeline_profile_set(FunctionCallInfo fcinfo, ProfileSink sink);
extern void pipeline_profile_rows(const char *text, ProfileMode mode, ProfileSink sink, void *arg);

#endif							/* PIPELINE_SKETCH_H */
