/*
 * distribution_profile.c
 *	  All there is to say of a column, from its values.
 *
 * The least and the greatest value, quantiles, mean and deviation, lengths,
 * the most common values, and the patterns that texts have: each letter a or A,
 * each digit 9, runs of one shortened with + where they are long.  Patterns of
 * which there are more than MAX_PATTERNS are counted as long as those that are
 * known cover half of the texts; then the column has none.
 *
 * Values come either as distinct ones in order (pipeline_profile_visit) or in any
 * order (pipeline_profile_value), and then what needs order is told in the end.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/json.h"

#include "expect/distribution.h"

#define TOP_VALUES 10
#define PATTERNS 8				/* shown */
#define MAX_PATTERNS 256		/* counted: later ones are not */
#define PATTERN_SLOTS 1024
#define PATTERN_TRIAL 8192		/* texts after which patterns must have paid */
#define MAX_PATTERN 64			/* bytes */

const double pipeline_profile_quantiles[PROFILE_QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

typedef struct Counted
{
	char	   *text;			/* JSON of a value, or a pattern */
	int			len;			/* of a pattern */
	int64		count;
} Counted;

struct Profile
{
	MemoryContext context;
	char	   *min;
	char	   *max;
	char	   *quantile[PROFILE_QUANTILES];
	int64		numbers;
	double		mean;
	double		m2;				/* sum of squared distances from it */
	int64		texts;
	int64		min_length;
	int64		max_length;
	int			ntop;
	Counted		top[TOP_VALUES];
	bool		shapeless;		/* patterns are not counted any more */
	int64		asked;			/* texts since the last look */
	int64		found;			/* of them, texts of a pattern that is known */
	int			npatterns;
	Counted		patterns[MAX_PATTERNS];
	uint16		slots[PATTERN_SLOTS];	/* hash of the patterns: number from 1 */
};

struct Profile *
pipeline_profile_begin(void)
{
	struct Profile *p = palloc0(sizeof(struct Profile));

	p->context = CurrentMemoryContext;
	return p;
}

/* Add some numbers of that mean and sum of squared distances to the moments. */
static void
add_numbers(struct Profile *p, int64 count, double mean, double m2)
{
	double		delta = mean - p->mean;
	int64		n = p->numbers + count;

	if (count == 0)
		return;
	p->mean += delta * count / n;
	p->m2 += m2 + delta * delta * p->numbers * count / n;
	p->numbers = n;
}

/* ---- patterns ------------------------------------------------------------------- */

/* The shape of a byte: of letters beyond ASCII it is a, whatever they are. */
static inline char
shape_of(unsigned char c)
{
	if (c >= 'a' && c <= 'z')
		return 'a';
	if (c >= '0' && c <= '9')
		return '9';
	if (c >= 'A' && c <= 'Z')
		return 'A';
	return IS_HIGHBIT_SET(c) ? 'a' : (char) c;
}

/* The shape of a text; returns its length. */
static int
pattern_of(const char *data, int len, char *out)
{
	int			n = 0;
	int			run = 0;
	char		last = '\0';

	for (int i = 0; i < len && n < MAX_PATTERN - 4; i++)
	{
		char		shape = shape_of(data[i]);

		if (IS_HIGHBIT_SET(data[i]))
			i += pg_mblen(data + i) - 1;
		run = shape == last && n > 0 ? run + 1 : 1;
		last = shape;
		/* Long runs of letters differ in their length only. */
		if (run > 3 && (shape == 'a' || shape == 'A'))
		{
			if (run == 4)
			{
				n -= 2;
				out[n++] = '+';
			}
			continue;
		}
		out[n++] = shape;
	}
	if (n >= MAX_PATTERN - 4)
		out[n++] = '*';
	out[n] = '\0';
	return n;
}

/* Do the patterns that are known cover half of the texts? */
static void
review_patterns(struct Profile *p)
{
	if (p->npatterns == MAX_PATTERNS && p->found * 2 < p->asked)
	{
		p->shapeless = true;
		p->npatterns = 0;
	}
	p->asked = p->found = 0;
}

static void
add_pattern(struct Profile *p, const char *pattern, int len, int64 count)
{
	uint32		at = hash_bytes((const unsigned char *) pattern, len) & (PATTERN_SLOTS - 1);

	p->asked += count;
	while (p->slots[at] != 0)
	{
		Counted    *known = &p->patterns[p->slots[at] - 1];

		if (known->len == len && memcmp(known->text, pattern, len) == 0)
		{
			known->count += count;
			p->found += count;
			break;
		}
		at = (at + 1) & (PATTERN_SLOTS - 1);
	}
	if (p->slots[at] == 0 && p->npatterns < MAX_PATTERNS)
	{
		p->patterns[p->npatterns++] = (Counted) {MemoryContextStrdup(p->context, pattern), len, count};
		p->slots[at] = p->npatterns;
	}
	if (p->asked >= PATTERN_TRIAL)
		review_patterns(p);
}

/* Characters of a text: as many as bytes, where it is all ASCII. */
static int64
length_of(const char *data, int len)
{
	int			i = 0;

	for (; i + 8 <= len; i += 8)
	{
		uint64		chunk;

		memcpy(&chunk, data + i, 8);
		if (chunk & UINT64CONST(0x8080808080808080))
			return pg_mbstrlen_with_len(data, len);
	}
	for (; i < len; i++)
		if (IS_HIGHBIT_SET(data[i]))
			return pg_mbstrlen_with_len(data, len);
	return len;
}

static void
add_text(struct Profile *p, Datum value, int64 count)
{
	const char *data = VARDATA_ANY(DatumGetPointer(value));
	int			len = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
	int64		chars = length_of(data, len);
	char		pattern[MAX_PATTERN + 4];

	p->min_length = p->texts == 0 ? chars : Min(p->min_length, chars);
	p->max_length = Max(p->max_length, chars);
	p->texts += count;
	if (p->shapeless)
		return;
	len = pattern_of(data, len, pattern);
	add_pattern(p, pattern, len, count);
}

/* ---- values ------------------------------------------------------------------------- */

static char *
kept_json(Distribution *d, struct Profile *p, Datum value)
{
	MemoryContext old = MemoryContextSwitchTo(p->context);
	char	   *json = pipeline_value_json(&d->to_json, value, false, d->typid);

	MemoryContextSwitchTo(old);
	return json;
}

/* Keep the value if it is among the most common. */
void
pipeline_profile_top(Distribution *d, struct Profile *p, Datum value, int64 count)
{
	int			at;

	if (p->ntop == TOP_VALUES && p->top[TOP_VALUES - 1].count >= count)
		return;
	if (p->ntop < TOP_VALUES)
		p->ntop++;
	for (at = p->ntop - 1; at > 0 && p->top[at - 1].count < count; at--)
		p->top[at] = p->top[at - 1];
	p->top[at] = (Counted) {.text = kept_json(d, p, value), .count = count};
}

/* A value that some rows have: what does not depend on order. */
void
pipeline_profile_value(Distribution *d, struct Profile *p, Datum value, int64 count)
{
	if (pipeline_is_text_type(d->base))
		add_text(p, value, count);
	else if (pipeline_is_number_type(d->base))
	{
		double		number = pipeline_value_double(d->base, value);

		if (isfinite(number))
			add_numbers(p, count, number, 0);
	}
}

void
pipeline_profile_ends(Distribution *d, struct Profile *p, Datum min, Datum max)
{
	p->min = kept_json(d, p, min);
	p->max = kept_json(d, p, max);
}

void
pipeline_profile_set_quantiles(Distribution *d, struct Profile *p, const Datum *values)
{
	for (int i = 0; i < PROFILE_QUANTILES; i++)
		p->quantile[i] = kept_json(d, p, values[i]);
}

/* One distinct value, of which there are some rows after those before it. */
void
pipeline_profile_visit(Distribution *d, struct Profile *p, Datum value,
					   int64 count, int64 before, int64 present)
{
	pipeline_profile_value(d, p, value, count);
	if (OidIsValid(d->less))
	{
		if (before == 0)
			p->min = kept_json(d, p, value);
		if (before + count == present)
			p->max = kept_json(d, p, value);
		for (int i = 0; i < PROFILE_QUANTILES; i++)
		{
			int64		row = Max((int64) ceil(pipeline_profile_quantiles[i] * (double) present) - 1, 0);

			if (row >= before && row < before + count)
				p->quantile[i] = kept_json(d, p, value);
		}
	}
	pipeline_profile_top(d, p, value, count);
}

/* ---- several of them ------------------------------------------------------------------ */

/* Take over what another one has of unordered values. */
void
pipeline_profile_merge(struct Profile *p, const struct Profile *other)
{
	add_numbers(p, other->numbers, other->mean, other->m2);
	if (other->texts > 0)
	{
		p->min_length = p->texts == 0 ? other->min_length : Min(p->min_length, other->min_length);
		p->max_length = Max(p->max_length, other->max_length);
		p->texts += other->texts;
	}
	p->shapeless = p->shapeless || other->shapeless;
	if (p->shapeless)
		p->npatterns = 0;
	for (int i = 0; i < other->npatterns && !p->shapeless; i++)
		add_pattern(p, other->patterns[i].text, strlen(other->patterns[i].text), other->patterns[i].count);
}

void
pipeline_profile_send(StringInfo buf, const struct Profile *p)
{
	pq_sendint64(buf, p->numbers);
	pq_sendfloat8(buf, p->mean);
	pq_sendfloat8(buf, p->m2);
	pq_sendint64(buf, p->texts);
	pq_sendint64(buf, p->min_length);
	pq_sendint64(buf, p->max_length);
	pq_sendint8(buf, p->shapeless);
	pq_sendint32(buf, p->npatterns);
	for (int i = 0; i < p->npatterns; i++)
	{
		int			len = strlen(p->patterns[i].text);

		pq_sendint32(buf, len);
		appendBinaryStringInfo(buf, p->patterns[i].text, len);
		pq_sendint64(buf, p->patterns[i].count);
	}
}

/* Into an empty one. */
void
pipeline_profile_receive(StringInfo buf, struct Profile *p)
{
	p->numbers = pq_getmsgint64(buf);
	p->mean = pq_getmsgfloat8(buf);
	p->m2 = pq_getmsgfloat8(buf);
	p->texts = pq_getmsgint64(buf);
	p->min_length = pq_getmsgint64(buf);
	p->max_length = pq_getmsgint64(buf);
	p->shapeless = pq_getmsgint(buf, 1) != 0;
	for (int n = pq_getmsgint(buf, 4); n > 0; n--)
	{
		int			len = pq_getmsgint(buf, 4);
		char	   *text = pnstrdup(pq_getmsgbytes(buf, len), len);

		add_pattern(p, text, len, pq_getmsgint64(buf));
	}
	p->asked = p->found = 0;
}

/* ---- the result ----------------------------------------------------------------------------- */

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
	if (p->texts > 0)
		appendStringInfo(buf, ", \"min_length\": " INT64_FORMAT ", \"max_length\": " INT64_FORMAT,
						 p->min_length, p->max_length);
	if (p->quantile[0] != NULL)
	{
		appendStringInfoString(buf, ", \"quantiles\": {");
		for (int i = 0; i < PROFILE_QUANTILES; i++)
			appendStringInfo(buf, "%s\"%g\": %s", i ? ", " : "", pipeline_profile_quantiles[i], p->quantile[i]);
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
