/*
 * distribution_walk.c
 *	  Over the distinct values of a column, in order, once for all its checks.
 *
 * For each check the result is an object: elements, missing, distinct, and
 * unique: unexpected, values; sets: hits, misses, size, values (value and count
 * of each), others; most common: values, hits; median: value; quantiles:
 * values; partitions: counts, below, above, others.  Lists of values end after
 * MAX_LISTED of them.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "expect/distribution.h"

#define MAX_LISTED 1000

typedef struct Walk
{
	Distribution *d;
	int64		present;		/* rows that are not missing */
	int64		before;			/* rows before the value at hand */
	int64		distinct;
} Walk;

static char *
value_json(Distribution *d, Datum value)
{
	return pipeline_value_json(&d->to_json, value, false, d->typid);
}

static void
list_value(Walk *w, DistributionCheck *check, Datum value, int64 count, int limit)
{
	if (check->nlisted >= limit)
		return;
	appendStringInfo(&check->list, "%s{\"value\": %s, \"count\": " INT64_FORMAT "}",
					 check->nlisted++ ? ", " : "", value_json(w->d, value), count);
}

/* ---- one value, for one check ---------------------------------------------------- */

static void
visit_unique(Walk *w, DistributionCheck *check, Datum value, int64 count)
{
	char	   *json = NULL;

	if (count == 1)
		return;
	check->duplicated += count;
	for (int64 i = 0; i < count && check->nlisted < check->limit; i++)
	{
		if (json == NULL)
			json = value_json(w->d, value);
		appendStringInfo(&check->list, "%s%s", check->nlisted++ ? ", " : "", json);
	}
}

static void
visit_set(Walk *w, DistributionCheck *check, Datum value, int64 count)
{
	list_value(w, check, value, count, MAX_LISTED);
	if (pipeline_set_is_all(check->set) || pipeline_set_has(check->set, value))
		check->hits++;
	else if (check->misses++ < Max(check->limit, 1))
		appendStringInfo(&check->others, "%s%s", check->misses > 1 ? ", " : "", value_json(w->d, value));
}

static void
visit_most_common(Walk *w, DistributionCheck *check, Datum value, int64 count)
{
	if (count < check->most)
		return;
	if (count > check->most)
	{
		check->most = count;
		check->nlisted = 0;
		check->hits = check->misses = 0;
		resetStringInfo(&check->list);
	}
	if (check->set && !pipeline_set_is_all(check->set) && pipeline_set_has(check->set, value))
		check->hits++;
	check->misses++;			/* values that tie */
	if (check->nlisted < MAX_LISTED)
		appendStringInfo(&check->list, "%s%s", check->nlisted++ ? ", " : "", value_json(w->d, value));
}

/* Is the n-th row (from 0) among those of the value at hand? */
static bool
has_row(const Walk *w, int64 count, int64 n)
{
	return n >= w->before && n < w->before + count;
}

/* The middle, or the mean of the two in the middle where that means something. */
static void
visit_median(Walk *w, DistributionCheck *check, Datum value, int64 count)
{
	Distribution *d = w->d;
	int64		low = (w->present - 1) / 2;
	int64		high = w->present / 2;

	if (check->values == NULL)
	{
		check->values = palloc0_array(char *, 1);
		check->edges = palloc0_array(double, 2);
	}
	if (!pipeline_is_number_type(d->base))
	{
		if (has_row(w, count, low))
			check->values[0] = value_json(d, value);
		return;
	}
	if (has_row(w, count, low))
		check->edges[0] = pipeline_value_double(d->base, value);
	if (has_row(w, count, high))
	{
		check->edges[1] = pipeline_value_double(d->base, value);
		if (low == high || check->edges[0] == check->edges[1])
			check->values[0] = value_json(d, value);
		else
			check->values[0] = psprintf("%s%s%s", isfinite(check->edges[0] + check->edges[1]) ? "" : "\"",
										float8out_internal(check->edges[0] + (check->edges[1] - check->edges[0]) / 2),
										isfinite(check->edges[0] + check->edges[1]) ? "" : "\"");
	}
}

/* The least value that at least that part of the rows does not exceed. */
static void
visit_quantiles(Walk *w, DistributionCheck *check, Datum value, int64 count)
{
	for (int i = 0; i < check->nquantiles; i++)
	{
		int64		row = (int64) ceil(check->quantiles[i] * (double) w->present) - 1;

		if (has_row(w, count, Max(row, 0)))
			check->values[i] = value_json(w->d, value);
	}
}

/* Bins are closed below and open above, save the last, which is closed. */
void
pipeline_distribution_bin(DistributionCheck *check, double v, int64 count)
{
	int			low = 0;
	int			high = check->nbins;

	if (v < check->edges[0])
		check->below += count;
	else if (v > check->edges[check->nbins] || isnan(v))
		check->above += count;
	else
	{
		/* The last edge that is not above the value. */
		while (high - low > 1)
		{
			int			mid = (low + high) / 2;

			if (check->edges[mid] <= v)
				low = mid;
			else
				high = mid;
		}
		check->counts[low] += count;
	}
}

static void
visit_members(Walk *w, DistributionCheck *check, Datum value, int64 count)
{
	for (int i = 0; i < check->nmembers; i++)
	{
		if (pipeline_values_equal(w->d, check->members[i], value))
		{
			check->counts[i] += count;
			return;
		}
	}
	check->above += count;
	if (check->misses++ < MAX_LISTED)
		appendStringInfo(&check->others, "%s{\"value\": %s, \"count\": " INT64_FORMAT "}",
						 check->misses > 1 ? ", " : "", value_json(w->d, value), count);
}

static void
visit(void *arg, Datum value, int64 count)
{
	Walk	   *w = arg;

	w->distinct++;
	for (int i = 0; i < w->d->nchecks; i++)
	{
		DistributionCheck *check = &w->d->checks[i];

		switch (check->sub)
		{
			case SUB_UNIQUE:
				visit_unique(w, check, value, count);
				break;
			case SUB_DISTINCT_IN:
			case SUB_DISTINCT_CONTAIN:
			case SUB_DISTINCT_EQUAL:
				visit_set(w, check, value, count);
				break;
			case SUB_MOST_COMMON:
				visit_most_common(w, check, value, count);
				break;
			case SUB_MEDIAN:
				visit_median(w, check, value, count);
				break;
			case SUB_QUANTILES:
				visit_quantiles(w, check, value, count);
				break;
			case SUB_PROFILE:
				pipeline_profile_visit(w->d, check->profile, value, count, w->before, w->present);
				break;
			case SUB_KL:
			case SUB_DRIFT:
				if (check->nbins > 0)
					pipeline_distribution_bin(check, pipeline_value_double(w->d->base, value), count);
				else
					visit_members(w, check, value, count);
				break;
			default:
				break;
		}
	}
	w->before += count;
}

/* ---- all values -------------------------------------------------------------------- */

static int
compare_slots(const void *a, const void *b, void *arg)
{
	return ApplySortComparator(((const HashSlot *) a)->value, false,
							   ((const HashSlot *) b)->value, false, (SortSupport) arg);
}

/* The used slots of the hash, packed; sorted if values have an order. */
static void
pack_slots(Distribution *d, SortSupport sort)
{
	uint32		n = 0;

	for (uint32 i = 0; i < d->nslots; i++)
		if (d->slots[i].used)
			d->slots[n++] = d->slots[i];
	if (n > 1 && sort->comparator != NULL)
		qsort_arg(d->slots, n, sizeof(HashSlot), compare_slots, sort);
}

/* The values of the sort, one run of equals at a time. */
typedef struct Runs
{
	Distribution *d;
	bool		has_next;		/* a value waits in `next` */
	Datum		next;
	Datum		value;			/* of the run at hand */
	int64		count;			/* 0: there are no more */
} Runs;

static bool
fetch(Runs *r, Datum *value)
{
	bool		isnull;

	return tuplesort_getdatum(r->d->sort, true, true, value, &isnull, NULL);
}

static void
next_run(Runs *r)
{
	Datum		value;
	Distribution *d = r->d;

	if (r->count > 0 && !d->typbyval)
		pfree(DatumGetPointer(r->value));
	r->count = 0;
	if (!r->has_next)
		return;
	r->value = r->next;
	r->count = 1;
	r->has_next = false;
	while (fetch(r, &value))
	{
		if (!pipeline_values_equal(d, r->value, value))
		{
			r->next = value;
			r->has_next = true;
			return;
		}
		r->count++;
		if (!d->typbyval)
			pfree(DatumGetPointer(value));
		if (r->count % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
}

/* Visit the values in order: those of the hash merged with those of the sort. */
void
pipeline_distribution_runs(Distribution *d, void (*visit_value) (void *arg, Datum value, int64 count), void *arg)
{
	SortSupportData sort = {0};
	Runs		runs = {.d = d};
	uint32		i = 0;

	sort.ssup_cxt = CurrentMemoryContext;
	sort.ssup_collation = d->collation;
	if (OidIsValid(d->less))
		PrepareSortSupportFromOrderingOp(d->less, &sort);
	pack_slots(d, &sort);
	if (d->sort)
	{
		tuplesort_performsort(d->sort);
		runs.has_next = fetch(&runs, &runs.next);
		next_run(&runs);
	}
	while (i < d->nvalues || runs.count > 0)
	{
		int			order = i == d->nvalues ? 1 : runs.count == 0 ? -1 :
			ApplySortComparator(d->slots[i].value, false, runs.value, false, &sort);

		CHECK_FOR_INTERRUPTS();
		/* Equal to the hash's and yet sorted: the hash was not asked. */
		if (order == 0 && pipeline_values_equal(d, d->slots[i].value, runs.value))
		{
			visit_value(arg, d->slots[i].value, d->slots[i].count + runs.count);
			i++;
			next_run(&runs);
		}
		else if (order <= 0)
		{
			visit_value(arg, d->slots[i].value, d->slots[i].count);
			i++;
		}
		else
		{
			visit_value(arg, runs.value, runs.count);
			next_run(&runs);
		}
	}
}

static void
append_counts(StringInfo buf, const DistributionCheck *check)
{
	int			n = check->nbins > 0 ? check->nbins : check->nmembers;

	appendStringInfoString(buf, ", \"counts\": [");
	for (int i = 0; i < n; i++)
		appendStringInfo(buf, "%s" INT64_FORMAT, i ? ", " : "", check->counts[i]);
	appendStringInfo(buf, "], \"below\": " INT64_FORMAT ", \"above\": " INT64_FORMAT ", \"others\": [%s]",
					 check->below, check->above, check->others.data);
}

static void
append_values(StringInfo buf, const DistributionCheck *check, int n)
{
	appendStringInfoString(buf, ", \"values\": [");
	for (int i = 0; i < n; i++)
		appendStringInfo(buf, "%s%s", i ? ", " : "",
						 check->values && check->values[i] ? check->values[i] : "null");
	appendStringInfoChar(buf, ']');
}

/* The result of one check. */
static void
append_check(StringInfo buf, const Walk *w, const DistributionCheck *check)
{
	appendStringInfo(buf, "{\"elements\": " INT64_FORMAT ", \"missing\": " INT64_FORMAT ", \"distinct\": " INT64_FORMAT,
					 w->d->elements, w->d->missing, w->distinct);
	switch (check->sub)
	{
		case SUB_UNIQUE:
			appendStringInfo(buf, ", \"unexpected\": " INT64_FORMAT ", \"values\": [%s]",
							 check->duplicated, check->list.data);
			break;
		case SUB_DISTINCT_IN:
		case SUB_DISTINCT_CONTAIN:
		case SUB_DISTINCT_EQUAL:
			appendStringInfo(buf, ", \"hits\": " INT64_FORMAT ", \"misses\": " INT64_FORMAT ", \"size\": " INT64_FORMAT
							 ", \"all\": %s, \"values\": [%s], \"others\": [%s]",
							 check->hits, check->misses, pipeline_set_size(check->set),
							 pipeline_set_is_all(check->set) ? "true" : "false",
							 check->list.data, check->others.data);
			break;
		case SUB_MOST_COMMON:
			appendStringInfo(buf, ", \"hits\": " INT64_FORMAT ", \"ties\": " INT64_FORMAT ", \"count\": " INT64_FORMAT ", \"values\": [%s]",
							 check->hits, check->misses, check->most, check->list.data);
			break;
		case SUB_MEDIAN:
			append_values(buf, check, 1);
			break;
		case SUB_QUANTILES:
			append_values(buf, check, check->nquantiles);
			break;
		case SUB_PROFILE:
			pipeline_profile_append(buf, w->d, check->profile);
			break;
		case SUB_KL:
		case SUB_DRIFT:
			append_counts(buf, check);
			break;
		default:
			break;
	}
	appendStringInfoChar(buf, '}');
}

/* Walk over the values and say what each check wants to know, as an array. */
Jsonb *
pipeline_distribution_walk(Distribution *d)
{
	Walk		w = {.d = d, .present = d->elements - d->missing};
	StringInfoData buf;

	pipeline_distribution_runs(d, visit, &w);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < d->nchecks; i++)
	{
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		append_check(&buf, &w, &d->checks[i]);
	}
	appendStringInfoChar(&buf, ']');
	return pipeline_jsonb_from(buf.data);
}
