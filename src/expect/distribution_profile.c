/*
 * distribution_profile.c
 *	  All there is to say of a column, from its distinct values in order.
 *
 * The least and the greatest value, quantiles, mean and deviation, lengths,
 * the most common values, and the patterns that texts have: each letter a or A,
 * each digit 9, runs of one shortened with + where they are long.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/json.h"

#include "expect/distribution.h"

#define TOP_VALUES 10
#define PATTERNS 8				/* shown */
#define MAX_PATTERNS 256		/* counted: later ones are not */
#define MAX_PATTERN 64			/* bytes */

static const double quantiles[] = {0.05, 0.25, 0.5, 0.75, 0.95};

typedef struct Counted
{
	char	   *text;			/* JSON of a value, or a pattern */
	int64		count;
} Counted;

struct Profile
{
	char	   *min;
	char	   *max;
	char	   *quantile[lengthof(quantiles)];
	int64		numbers;
	double		mean;
	double		m2;				/* sum of squared distances from it */
	int64		min_length;
	int64		max_length;
	int			ntop;
	Counted		top[TOP_VALUES];
	int			npatterns;
	Counted		patterns[MAX_PATTERNS];
};

struct Profile *
pipeline_profile_begin(void)
{
	return palloc0(sizeof(struct Profile));
}

/* Add some rows of one number to the moments. */
static void
add_number(struct Profile *p, double value, int64 count)
{
	double		delta = value - p->mean;
	int64		n = p->numbers + count;

	p->mean += delta * count / n;
	p->m2 += delta * delta * p->numbers * count / n;
	p->numbers = n;
}

/* The shape of a text. */
static char *
pattern_of(const char *data, int len)
{
	char	   *out = palloc(MAX_PATTERN + 4);
	int			n = 0;
	int			run = 0;

	for (int i = 0; i < len && n < MAX_PATTERN - 4; i++)
	{
		unsigned char c = data[i];
		char		shape = IS_HIGHBIT_SET(c) ? 'a' : isdigit(c) ? '9' : isupper(c) ? 'A' : islower(c) ? 'a' : c;

		if (IS_HIGHBIT_SET(c))
			i += pg_mblen(data + i) - 1;
		run = n > 0 && (out[n - 1] == shape || (out[n - 1] == '+' && n > 1 && out[n - 2] == shape)) ? run + 1 : 1;
		/* Long runs of letters differ in their length only. */
		if (run > 3 && (shape == 'a' || shape == 'A'))
		{
			if (out[n - 1] != '+')
			{
				n -= 2;
				out[n - 1] = shape;
				out[n++] = '+';
			}
			continue;
		}
		out[n++] = shape;
	}
	if (n >= MAX_PATTERN - 4)
		out[n++] = '*';
	out[n] = '\0';
	return out;
}

static void
add_pattern(struct Profile *p, char *pattern, int64 count)
{
	for (int i = 0; i < p->npatterns; i++)
	{
		if (strcmp(p->patterns[i].text, pattern) == 0)
		{
			p->patterns[i].count += count;
			pfree(pattern);
			return;
		}
	}
	if (p->npatterns < MAX_PATTERNS)
		p->patterns[p->npatterns++] = (Counted) {pattern, count};
}

static void
add_text(struct Profile *p, Datum value, int64 count)
{
	const char *data = VARDATA_ANY(DatumGetPointer(value));
	int			len = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
	int64		chars = pg_mbstrlen_with_len(data, len);

	p->min_length = p->max == NULL && p->min == NULL ? chars : Min(p->min_length, chars);
	p->max_length = Max(p->max_length, chars);
	add_pattern(p, pattern_of(data, len), count);
}

/* Keep the value if it is among the most common. */
static void
add_top(Distribution *d, struct Profile *p, Datum value, int64 count)
{
	int			at;

	if (p->ntop == TOP_VALUES && p->top[TOP_VALUES - 1].count >= count)
		return;
	if (p->ntop < TOP_VALUES)
		p->ntop++;
	for (at = p->ntop - 1; at > 0 && p->top[at - 1].count < count; at--)
		p->top[at] = p->top[at - 1];
	p->top[at] = (Counted) {pipeline_value_json(&d->to_json, value, false, d->typid), count};
}

/* One distinct value, of which there are some rows after those before it. */
void
pipeline_profile_visit(Distribution *d, struct Profile *p, Datum value,
					   int64 count, int64 before, int64 present)
{
	if (pipeline_is_text_type(d->base))
		add_text(p, value, count);
	else if (pipeline_is_number_type(d->base))
	{
		double		number = pipeline_value_double(d->base, value);

		if (isfinite(number))
			add_number(p, number, count);
	}
	if (OidIsValid(d->less))
	{
		if (before == 0)
			p->min = pipeline_value_json(&d->to_json, value, false, d->typid);
		if (before + count == present)
			p->max = pipeline_value_json(&d->to_json, value, false, d->typid);
		for (int i = 0; i < lengthof(quantiles); i++)
		{
			int64		row = Max((int64) ceil(quantiles[i] * (double) present) - 1, 0);

			if (row >= before && row < before + count)
				p->quantile[i] = pipeline_value_json(&d->to_json, value, false, d->typid);
		}
	}
	add_top(d, p, value, count);
}

static int
by_count(const void *a, const void *b)
{
	const Counted *x = a;
	const Counted *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->text, y->text);
}

static void
append_number(StringInfo buf, const char *name, double value)
{
	if (isfinite(value))
		appendStringInfo(buf, ", \"%s\": %s", name, float8out_internal(value));
}

/* What was found, as members of the object of the check. */
void
pipeline_profile_append(StringInfo buf, Distribution *d, struct Profile *p)
{
	appendStringInfo(buf, ", \"min\": %s, \"max\": %s", p->min ? p->min : "null", p->max ? p->max : "null");
	if (p->numbers > 0)
	{
		append_number(buf, "mean", p->mean);
		if (p->numbers > 1)
			append_number(buf, "stddev", sqrt(p->m2 / (p->numbers - 1)));
	}
	if (p->npatterns > 0)
		appendStringInfo(buf, ", \"min_length\": " INT64_FORMAT ", \"max_length\": " INT64_FORMAT,
						 p->min_length, p->max_length);
	if (p->quantile[0] != NULL)
	{
		appendStringInfoString(buf, ", \"quantiles\": {");
		for (int i = 0; i < lengthof(quantiles); i++)
			appendStringInfo(buf, "%s\"%g\": %s", i ? ", " : "", quantiles[i], p->quantile[i]);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoString(buf, ", \"top_values\": [");
	for (int i = 0; i < p->ntop; i++)
		appendStringInfo(buf, "%s{\"value\": %s, \"count\": " INT64_FORMAT "}", i ? ", " : "",
						 p->top[i].text, p->top[i].count);
	appendStringInfoString(buf, "], \"patterns\": [");
	qsort(p->patterns, p->npatterns, sizeof(Counted), by_count);
	for (int i = 0; i < Min(p->npatterns, PATTERNS); i++)
	{
		appendStringInfoString(buf, i ? ", {\"pattern\": " : "{\"pattern\": ");
		escape_json(buf, p->patterns[i].text);
		appendStringInfo(buf, ", \"count\": " INT64_FORMAT "}", p->patterns[i].count);
	}
	appendStringInfoChar(buf, ']');
}
