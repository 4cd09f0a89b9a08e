/*
 * distribution.h
 *	  The aggregate _distribution: what is kept of a column, and the walk over
 *	  its values in order.
 */
#ifndef PIPELINE_DISTRIBUTION_H
#define PIPELINE_DISTRIBUTION_H

#include "expect/check.h"
#include "utils/sortsupport.h"
#include "utils/tuplesort.h"

/* One check of a distribution, and what the walk has found for it. */
typedef struct DistributionCheck
{
	CheckSub	sub;
	int			limit;			/* of samples */
	ValueSet   *set;			/* NULL: none */
	int64		hits;			/* distinct values in the set */
	int64		misses;			/* distinct values not in it */
	int64		duplicated;		/* rows whose value is not alone */
	int64		most;			/* rows of the most common value */
	int			nquantiles;
	double	   *quantiles;
	char	  **values;			/* of the quantiles, as JSON */
	int			nbins;			/* edges of bins are one more */
	double	   *edges;
	int64	   *counts;			/* of the bins, or of the members of the set */
	int64		below;
	int64		above;
	int			nmembers;		/* of a partition by values */
	Datum	   *members;
	StringInfoData list;		/* JSON of the values that are kept */
	int			nlisted;
	StringInfoData others;		/* JSON of what is in no part of a partition */
	struct Profile *profile;	/* NULL: none is asked for */
} DistributionCheck;

typedef struct HashSlot
{
	uint32		hash;
	bool		used;
	int64		count;
	Datum		value;
} HashSlot;

/*
 * Values of a column.  Few distinct ones are counted in a hash; once it is
 * full, or does not pay, new ones go to a sort.  The walk merges the two.
 */
typedef struct Distribution
{
	Jsonb	   *plan;
	Oid			typid;			/* of the argument */
	Oid			base;			/* its base type */
	int16		typlen;
	bool		typbyval;
	bool		by_bits;		/* equal values have equal Datums */
	bool		by_bytes;		/* equal values have equal bytes */
	Oid			collation;
	Oid			less;			/* ordering operator; InvalidOid: none */
	FmgrInfo	eq;
	FmgrInfo	hash;
	bool		has_hash;
	FmgrInfo	to_json;
	MemoryContext context;		/* of the values in the hash */
	HashSlot   *slots;
	uint32		nslots;			/* a power of two */
	uint32		nvalues;
	Size		bytes;
	bool		binned;			/* its checks want counts of bins only: no value is kept */
	bool		frozen;			/* no new values in the hash */
	bool		unused;			/* nor is it asked */
	int64		probes;
	int64		hits;
	Tuplesortstate *sort;		/* NULL until there is one */
	bool		sorted;
	int64		elements;
	int64		missing;
	int			nchecks;
	DistributionCheck *checks;
} Distribution;

/* distribution_profile.c: all there is to say of a column */
#define PROFILE_QUANTILES 5

extern const double pipeline_profile_quantiles[PROFILE_QUANTILES];
extern struct Profile *pipeline_profile_begin(void);
extern void pipeline_profile_visit(Distribution *d, struct Profile *profile, Datum value,
								   int64 count, int64 before, int64 present);
extern void pipeline_profile_value(Distribution *d, struct Profile *profile, Datum value, int64 count);
extern void pipeline_profile_top(Distribution *d, struct Profile *profile, Datum value, int64 count);
extern void pipeline_profile_ends(Distribution *d, struct Profile *profile, Datum min, Datum max);
extern void pipeline_profile_set_quantiles(Distribution *d, struct Profile *profile, const Datum *values);
extern void pipeline_profile_append(StringInfo buf, Distribution *d, struct Profile *profile);
extern void pipeline_profile_merge(struct Profile *profile, const struct Profile *other);
extern void pipeline_profile_send(StringInfo buf, const struct Profile *profile);
extern void pipeline_profile_receive(StringInfo buf, struct Profile *profile);

extern void pipeline_distribution_begin(Distribution *d, Oid typid, const Jsonb *plan);
extern void pipeline_distribution_add(Distribution *d, Datum value, int64 count);
extern void pipeline_distribution_register(FunctionCallInfo fcinfo, Distribution *d);
extern void pipeline_distribution_bin(DistributionCheck *check, double value, int64 count);
extern void pipeline_distribution_runs(Distribution *d, void (*visit) (void *arg, Datum value, int64 count), void *arg);

extern bool pipeline_values_equal(Distribution *d, Datum a, Datum b);
extern Jsonb *pipeline_distribution_walk(Distribution *d);
extern double pipeline_value_double(Oid typid, Datum value);
extern bool pipeline_is_number_type(Oid typid);

#endif							/* PIPELINE_DISTRIBUTION_H */
