/*
 * partition.c
 *	  How far is a distribution from the one that is expected?
 *
 * A partition is a JSON object as Great Expectations has it: "values" with
 * their "weights", or "bins" (edges) with the "weights" between them and
 * perhaps "tail_weights" below and above.  What is measured is told by the
 * check: the Kullback-Leibler divergence (observed against expected), the
 * population stability index, the distance of Kolmogorov and Smirnov at the
 * edges, or Pearson's chi-square per row.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "expect/check.h"

/* What stands for a share of nothing in an index that divides by it. */
#define LEAST_SHARE 0.0001

/* A list of parts: the observed share of each, and the expected one. */
typedef struct Shares
{
	int			n;
	double	   *observed;
	double	   *expected;
} Shares;

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"partition_object\" in argument \"kwargs\" %s", what),
			 errhint("It is an object of \"values\" and as many \"weights\", or of \"bins\" and one weight fewer; the weights sum to 1.")));
}

static double *
numbers(const Jsonb *array, int *n)
{
	double	   *list;

	*n = array ? JB_ROOT_COUNT(array) : 0;
	list = palloc0_array(double, *n + 1);
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer((JsonbContainer *) &array->root, i);

		if (v->type == jbvNumeric)
			list[i] = pipeline_json_number(v);
		else
			/* The ends of bins may be infinite. */
			list[i] = i == 0 ? -get_float8_infinity() : get_float8_infinity();
	}
	return list;
}

static double
total(const double *list, int n)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += list[i];
	return sum;
}

static void
check_fraction(const Jsonb *kwargs, const char *name)
{
	double		value = pipeline_kwarg_number(kwargs, name, 0);

	if (!(value >= 0 && value <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" in argument \"kwargs\" must be from 0 to 1", name),
				 errdetail("It is %g.", value)));
}

static void
check_bins(const Jsonb *kwargs, const Jsonb *partition)
{
	int			nbins;
	int			nweights;
	double	   *bins = numbers(pipeline_kwarg_json(partition, "bins"), &nbins);
	bool		tails = pipeline_kwarg_json(partition, "tail_weights") != NULL;

	(void) numbers(pipeline_kwarg_json(partition, "weights"), &nweights);
	if (nbins != nweights + 1 || nbins < 2)
		refuse("has not one weight for each bin");
	for (int i = 1; i < nbins; i++)
		if (!(bins[i] > bins[i - 1]))
			refuse("has bins that do not increase");
	if (isinf(bins[0]) && isinf(bins[nbins - 1]) && pipeline_kwarg_number(kwargs, "tail_weight_holdout", 0) > 0)
		refuse("ends at infinity, so that \"tail_weight_holdout\" means nothing");
	if (tails && (isinf(bins[0]) || isinf(bins[nbins - 1])))
		refuse("ends at infinity, so that \"tail_weights\" means nothing");
}

/* Raise 22023 unless the kwargs of a divergence go together. */
void
pipeline_partition_check(const Jsonb *kwargs)
{
	Jsonb	   *partition = pipeline_kwarg_json(kwargs, "partition_object");
	Jsonb	   *weights;
	Jsonb	   *tails;
	int			n;
	int			ntails;
	double	   *parts;
	double		sum;

	if (pipeline_kwarg_number(kwargs, "threshold", 0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"threshold\" in argument \"kwargs\" must not be negative")));
	check_fraction(kwargs, "tail_weight_holdout");
	check_fraction(kwargs, "internal_weight_holdout");
	if (partition == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(partition) || (weights = pipeline_kwarg_json(partition, "weights")) == NULL)
		refuse("has no \"weights\"");
	tails = pipeline_kwarg_json(partition, "tail_weights");
	parts = numbers(weights, &n);
	sum = total(parts, n);
	parts = numbers(tails, &ntails);
	sum += total(parts, ntails);
	if (fabs(sum - 1) > 1e-5)
		refuse("has weights that do not sum to 1");
	if (tails && pipeline_kwarg_number(kwargs, "tail_weight_holdout", 0) != 0)
		refuse("has \"tail_weights\", so that \"tail_weight_holdout\" means nothing");
	if (pipeline_kwarg_json(partition, "bins") != NULL)
		check_bins(kwargs, partition);
	else
	{
		Jsonb	   *values = pipeline_kwarg_json(partition, "values");

		if (values == NULL || JB_ROOT_COUNT(values) != n)
			refuse("has not one weight for each value");
		if (pipeline_kwarg_number(kwargs, "internal_weight_holdout", 0) > 0)
			refuse("is of values, so that \"internal_weight_holdout\" means nothing");
	}
}

/* ---- measures --------------------------------------------------------------------- */

static void
normalise(double *list, int n)
{
	double		sum = total(list, n);

	for (int i = 0; i < n; i++)
		list[i] /= sum;
}

/* Infinite where something was observed that cannot be. */
static double
kl_divergence(const Shares *s)
{
	double		sum = 0;

	normalise(s->observed, s->n);
	normalise(s->expected, s->n);
	for (int i = 0; i < s->n; i++)
	{
		if (s->observed[i] == 0)
			continue;
		if (s->expected[i] == 0)
			return get_float8_infinity();
		sum += s->observed[i] * log(s->observed[i] / s->expected[i]);
	}
	return sum;
}

static double
stability_index(const Shares *s)
{
	double		sum = 0;

	for (int i = 0; i < s->n; i++)
	{
		double		o = Max(s->observed[i], LEAST_SHARE);
		double		e = Max(s->expected[i], LEAST_SHARE);

		sum += (o - e) * log(o / e);
	}
	return sum;
}

static double
kolmogorov_smirnov(const Shares *s)
{
	double		observed = 0;
	double		expected = 0;
	double		most = 0;

	for (int i = 0; i < s->n; i++)
	{
		observed += s->observed[i];
		expected += s->expected[i];
		most = Max(most, fabs(observed - expected));
	}
	return most;
}

static double
chi_square(const Shares *s)
{
	double		sum = 0;

	for (int i = 0; i < s->n; i++)
	{
		double		e = Max(s->expected[i], LEAST_SHARE);

		/* A part that neither has tells nothing. */
		if (s->observed[i] == 0 && s->expected[i] == 0)
			continue;
		sum += (s->observed[i] - e) * (s->observed[i] - e) / e;
	}
	return sum;
}

/* ---- from counts to shares ----------------------------------------------------------- */

static int64
member_count(const Jsonb *found, const char *key)
{
	int64		value = 0;

	pipeline_kwarg_int(found, key, &value);
	return value;
}

static void
append_numbers(StringInfo buf, const double *list, int n)
{
	appendStringInfoChar(buf, '[');
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(buf, i ? ", " : "");
		if (isinf(list[i]))
			appendStringInfoString(buf, list[i] < 0 ? "\"-Infinity\"" : "\"Infinity\"");
		else
			appendStringInfoString(buf, float8out_internal(list[i]));
	}
	appendStringInfoChar(buf, ']');
}

/* One side of the details of a partition by bins. */
static void
append_bins(StringInfo buf, const char *name, const double *edges, const double *shares, int n)
{
	bool		low = isinf(edges[0]) != 0;
	bool		high = isinf(edges[n]) != 0;
	double		tails[2];

	/* shares: below, n bins, above; an infinite bin is the tail itself. */
	tails[0] = low ? shares[1] : shares[0];
	tails[1] = high ? shares[n] : shares[n + 1];
	appendStringInfo(buf, "\"%s\": {\"bins\": ", name);
	append_numbers(buf, edges + low, n + 1 - low - high);
	appendStringInfoString(buf, ", \"weights\": ");
	append_numbers(buf, shares + 1 + low, n - low - high);
	appendStringInfoString(buf, ", \"tail_weights\": ");
	append_numbers(buf, tails, 2);
	appendStringInfoChar(buf, '}');
}

/* Shares below, in and above the bins, with the holdouts of the check. */
static Shares
bin_shares(const Jsonb *kwargs, const Jsonb *partition, const Jsonb *found, StringInfo details)
{
	Shares		s;
	int			n;
	int			nedges;
	int			ntails;
	int			zeros = 0;
	double		tail = pipeline_kwarg_number(kwargs, "tail_weight_holdout", 0);
	double		internal = pipeline_kwarg_number(kwargs, "internal_weight_holdout", 0);
	double	   *edges = numbers(pipeline_kwarg_json(partition, "bins"), &nedges);
	double	   *weights = numbers(pipeline_kwarg_json(partition, "weights"), &n);
	double	   *tails = numbers(pipeline_kwarg_json(partition, "tail_weights"), &ntails);
	double	   *counts = numbers(pipeline_kwarg_json(found, "counts"), &n);
	double		rows = member_count(found, "elements") - member_count(found, "missing");

	s.n = n + 2;
	s.observed = palloc0_array(double, s.n);
	s.expected = palloc0_array(double, s.n);
	s.observed[0] = member_count(found, "below") / rows;
	s.observed[n + 1] = member_count(found, "above") / rows;
	for (int i = 0; i < n; i++)
	{
		s.observed[i + 1] = counts[i] / rows;
		s.expected[i + 1] = weights[i] * (1 - tail - internal);
		zeros += s.expected[i + 1] == 0;
	}
	for (int i = 1; internal > 0 && i <= n; i++)
		if (s.expected[i] == 0)
			s.expected[i] = internal / zeros;
	if (ntails == 2)
	{
		s.expected[0] = tails[0];
		s.expected[n + 1] = tails[1];
	}
	else if (isinf(edges[0]))
		s.expected[n + 1] = tail;
	else if (isinf(edges[n]))
		s.expected[0] = tail;
	else
		s.expected[0] = s.expected[n + 1] = tail / 2;
	append_bins(details, "observed_partition", edges, s.observed, n);
	appendStringInfoString(details, ", ");
	append_bins(details, "expected_partition", edges, s.expected, n);
	return s;
}

/* Shares of the expected values, and of those that were not expected. */
static Shares
value_shares(const Jsonb *kwargs, const Jsonb *partition, const Jsonb *found, StringInfo details)
{
	Shares		s;
	int			n;
	double		holdout = pipeline_kwarg_number(kwargs, "tail_weight_holdout", 0);
	Jsonb	   *values = pipeline_kwarg_json(partition, "values");
	Jsonb	   *others = pipeline_kwarg_json(found, "others");
	double	   *weights = numbers(pipeline_kwarg_json(partition, "weights"), &n);
	double	   *counts = numbers(pipeline_kwarg_json(found, "counts"), &n);
	int			nothers = JB_ROOT_COUNT(others);
	double		rows = member_count(found, "elements") - member_count(found, "missing");
	StringInfoData names;

	s.n = n + nothers;
	s.observed = palloc0_array(double, s.n + 1);
	s.expected = palloc0_array(double, s.n + 1);
	initStringInfo(&names);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *value = JsonbValueToJsonb(getIthJsonbValueFromContainer(&values->root, i));

		s.observed[i] = counts[i] / rows;
		s.expected[i] = weights[i] * (nothers > 0 ? 1 - holdout : 1);
		appendStringInfo(&names, "%s%s", i ? ", " : "", JsonbToCString(NULL, &value->root, VARSIZE(value)));
	}
	for (int i = 0; i < nothers; i++)
	{
		Jsonb	   *other = JsonbValueToJsonb(getIthJsonbValueFromContainer(&others->root, i));
		Jsonb	   *value = pipeline_kwarg_json(other, "value");

		s.observed[n + i] = member_count(other, "count") / rows;
		s.expected[n + i] = holdout / nothers;
		appendStringInfo(&names, "%s%s", n + i ? ", " : "", JsonbToCString(NULL, &value->root, VARSIZE(value)));
	}
	appendStringInfo(details, "\"observed_partition\": {\"values\": [%s], \"weights\": ", names.data);
	append_numbers(details, s.observed, s.n);
	appendStringInfo(details, "}, \"expected_partition\": {\"values\": [%s], \"weights\": ", names.data);
	append_numbers(details, s.expected, s.n);
	appendStringInfoChar(details, '}');
	return s;
}

/*
 * The partition that the next validation compares with: the same parts, with
 * what was observed now.  What fits none of them is left out.
 */
static void
append_baseline(StringInfo details, const Jsonb *partition, const Shares *s)
{
	bool		bins = pipeline_kwarg_json(partition, "bins") != NULL;
	Jsonb	   *parts = pipeline_kwarg_json(partition, bins ? "bins" : "values");
	int			n = JB_ROOT_COUNT(parts) - bins;
	double	   *weights = palloc_array(double, n + 1);

	memcpy(weights, s->observed + bins, n * sizeof(double));
	if (total(weights, n) == 0)
		return;
	normalise(weights, n);
	appendStringInfo(details, ", \"partition\": {\"%s\": %s, \"weights\": ", bins ? "bins" : "values",
					 JsonbToCString(NULL, &parts->root, VARSIZE(parts)));
	append_numbers(details, weights, n);
	appendStringInfoChar(details, '}');
}

/* Nothing to compare with, or nothing to compare. */
static bool
nothing_to_compare(Check *check, const Jsonb *partition, const Jsonb *found)
{
	CheckResult *r = &check->result;

	if (partition != NULL && found != NULL && member_count(found, "elements") > member_count(found, "missing"))
		return false;
	r->success = partition == NULL;
	if (partition == NULL && check->type->sub == SUB_KL)
		r->observed = pipeline_jsonb_from("0");
	return true;
}

/* The verdict of a divergence, from what the walk over the values found. */
void
pipeline_divergence_verdict(Check *check, const Jsonb *found)
{
	CheckResult *r = &check->result;
	const Jsonb *kwargs = check->reference ? check->reference : check->kwargs;
	Jsonb	   *partition = pipeline_kwarg_json(kwargs, "partition_object");
	char	   *method = check->type->sub == SUB_KL ? "kl" : pipeline_kwarg_text(check->kwargs, "method");
	JsonbValue	buf;
	StringInfoData details;
	Shares		s;
	double		distance;

	if (nothing_to_compare(check, partition, found))
		return;
	initStringInfo(&details);
	appendStringInfoChar(&details, '{');
	if (pipeline_kwarg_json(partition, "bins") != NULL)
		s = bin_shares(kwargs, partition, found, &details);
	else
		s = value_shares(kwargs, partition, found, &details);
	if (check->type->sub == SUB_DRIFT)
		append_baseline(&details, partition, &s);
	appendStringInfoChar(&details, '}');
	r->details = pipeline_jsonb_from(details.data);
	if (method == NULL || strcmp(method, "psi") == 0)
		distance = stability_index(&s);
	else if (strcmp(method, "ks") == 0)
		distance = kolmogorov_smirnov(&s);
	else if (strcmp(method, "chi_square") == 0)
		distance = chi_square(&s);
	else
		distance = kl_divergence(&s);
	if (!isinf(distance) && !isnan(distance))
		r->observed = pipeline_jsonb_from(float8out_internal(distance));
	r->success = pipeline_kwarg(check->kwargs, "threshold", &buf) == NULL ||
		distance <= pipeline_kwarg_number(check->kwargs, "threshold", 0);
}
