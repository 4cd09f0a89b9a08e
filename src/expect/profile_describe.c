/*
 * profile_describe.c
 *	  describe: a profile as a person reads it, a narrow line for each column.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "expect/sketch.h"

#define DESCRIBED_COLUMNS 8
#define VALUE_CHARS 24
#define COMMON_CHARS 60

/* A text, cut if it is long. */
static char *
cut(const char *text, int chars)
{
	int			len = strlen(text);
	int			clip = pg_mbcharcliplen(text, len, chars);

	return clip == len ? pstrdup(text) : psprintf("%s...", pnstrdup(text, pg_mbcharcliplen(text, len, chars - 3)));
}

/* A whole number, in groups of three digits. */
static char *
grouped(int64 n)
{
	char	   *digits = psprintf(INT64_FORMAT, n);
	StringInfoData buf;
	int			len = strlen(digits);

	initStringInfo(&buf);
	for (int i = 0; i < len; i++)
		appendStringInfo(&buf, "%s%c", i > 0 && (len - i) % 3 == 0 ? "," : "", digits[i]);
	return buf.data;
}

/* A percentage: nothing that is there is nothing, nor all but one all. */
static char *
percent(double part)
{
	if (part > 0 && part < 0.1)
		return pstrdup("< 0.1 %");
	if (part > 99.9 && part < 100)
		return pstrdup("> 99.9 %");
	return psprintf(part >= 10 || part == rint(part) ? "%.0f %%" : "%.1f %%", part);
}

static char *
text_of(const Datum *values, const bool *nulls, int i)
{
	return nulls[i] ? NULL : TextDatumGetCString(values[i]);
}

/* How many distinct values there are. */
static char *
distinct_text(const Datum *values, const bool *nulls)
{
	int64		rows = DatumGetInt64(values[3]);
	int64		distinct;
	bool		exact = DatumGetBool(values[15]);

	if (nulls[5])
		return NULL;
	distinct = DatumGetInt64(values[5]);
	if (exact && distinct == rows && rows > 1)
		return pstrdup("all differ");
	return psprintf("%s%s", exact ? "" : "~ ", grouped(distinct));
}

static char *
median_text(const Datum *values, const bool *nulls)
{
	char	   *median = nulls[10] ? NULL : pipeline_jsonb_key(DatumGetJsonbP(values[10]), "0.5");

	return median ? cut(median, VALUE_CHARS) : NULL;
}

/* The commonest values with their shares, or what all texts look like. */
static char *
common_text(const Datum *values, const bool *nulls)
{
	double		rows = (double) DatumGetInt64(values[3]);
	Jsonb	   *top = nulls[13] ? NULL : DatumGetJsonbP(values[13]);
	Jsonb	   *patterns = nulls[14] ? NULL : DatumGetJsonbP(values[14]);
	int			n = top ? JB_ROOT_COUNT(top) : 0;
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *entry = JsonbValueToJsonb(getIthJsonbValueFromContainer(&top->root, i));
		double		share = 100 * pipeline_kwarg_number(entry, "count", 0) / rows;
		char	   *value = pipeline_jsonb_key(entry, "value");
		char	   *next = psprintf("%s%s %s", buf.len ? ", " : "", value ? cut(value, VALUE_CHARS) : "null", percent(share));

		/* A value that is there once or twice is not common. */
		if (pipeline_kwarg_number(entry, "count", 0) <= 2 ||
			pg_mbstrlen(buf.data) + pg_mbstrlen(next) > COMMON_CHARS)
			break;
		appendStringInfoString(&buf, next);
	}
	if (buf.len == 0 && patterns != NULL && JB_ROOT_COUNT(patterns) > 0)
	{
		Jsonb	   *entry = JsonbValueToJsonb(getIthJsonbValueFromContainer(&patterns->root, 0));

		appendStringInfo(&buf, "like %s %s", cut(pipeline_jsonb_key(entry, "pattern"), COMMON_CHARS - 14),
						 percent(100 * pipeline_kwarg_number(entry, "count", 0) / rows));
	}
	return buf.len ? buf.data : NULL;
}

static void
put_line(void *arg, Datum *values, bool *nulls)
{
	ReturnSetInfo *rsinfo = arg;
	char	   *min = text_of(values, nulls, 6);
	char	   *max = text_of(values, nulls, 7);
	char	   *line[DESCRIBED_COLUMNS] = {
		text_of(values, nulls, 1), text_of(values, nulls, 2),
		nulls[4] || DatumGetFloat8(values[4]) == 0 ? "" : percent(DatumGetFloat8(values[4])),
		distinct_text(values, nulls), min ? cut(min, VALUE_CHARS) : NULL, median_text(values, nulls),
		max ? cut(max, VALUE_CHARS) : NULL, DatumGetInt64(values[3]) > 0 ? common_text(values, nulls) : NULL
	};
	Datum		out[DESCRIBED_COLUMNS];
	bool		out_nulls[DESCRIBED_COLUMNS] = {0};

	for (int i = 0; i < DESCRIBED_COLUMNS; i++)
		out[i] = CStringGetTextDatum(line[i] ? line[i] : "");
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, out, out_nulls);
}

PG_FUNCTION_INFO_V1(pipeline_describe);

/* SQL: describe(target, exact) */
Datum
pipeline_describe(PG_FUNCTION_ARGS)
{
	return pipeline_profile_set(fcinfo, put_line);
}
