/*
 * cron.c
 *	  Cron text: five fields, parsed exactly, and evaluated in a time zone.
 *
 * A cron expression names wall-clock minutes.  Each wall-clock minute becomes
 * one instant: the first one that shows it; or, where the clocks skip it, the
 * instant of the change.  So a job in a skipped hour runs once, as soon as the
 * clocks have moved, and a job in a repeated hour runs once, the first time.
 * That mapping never decreases, which is what the search below relies on.
 *
 * "N seconds" is pg_cron's: due at each instant whose seconds since 1970 are a
 * multiple of N, whatever the clocks show.
 *
 * As in Vixie cron, when both day fields are restricted (neither begins with a
 * star) a day that fits either one matches.
 */
#include "postgres.h"

#include <ctype.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "runner/runner.h"

/* A day that never comes within one cycle of the calendar never comes. */
#define SEARCH_DAYS (366 * 28)

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
	"nov", "dec", NULL
};
static const char *const weekday_names[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL
};

typedef struct CronField
{
	const char *name;
	int			least;
	int			greatest;
	const char *const *names;
	int			names_from;
} CronField;

static const CronField cron_fields[] = {
	{"minute", 0, 59, NULL, 0},
	{"hour", 0, 23, NULL, 0},
	{"day of month", 1, 31, NULL, 0},
	{"month", 1, 12, month_names, 1},
	{"day of week", 0, 7, weekday_names, 0},
};

static const char *const shorthands[][2] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

static void
bad_cron(const char *text, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cron text \"%s\"", text),
			 errdetail_internal("%s", detail),
			 errhint("Give five fields (minute, hour, day of month, month, day of week), such as \"30 4 * * 1-5\", or \"30 seconds\", @hourly, @daily, @weekly, @monthly, @yearly.")));
}

/* Read a number or a name of the field; move the cursor behind it. */
static int
read_value(const char **cursor, const CronField *field, const char *text)
{
	const char *start = *cursor;
	int			value = -1;

	if (isdigit((unsigned char) *start))
	{
		value = 0;
		while (isdigit((unsigned char) **cursor) && value < 1000)
			value = value * 10 + *(*cursor)++ - '0';
	}
	else
	{
		while (isalpha((unsigned char) **cursor))
			(*cursor)++;
		for (int i = 0; field->names && field->names[i]; i++)
			if (*cursor - start == 3 &&
				pg_strncasecmp(start, field->names[i], 3) == 0)
				value = field->names_from + i;
		if (value < 0)
			bad_cron(text, psprintf("\"%s\" is not a value of field \"%s\".",
									start, field->name));
	}
	if (value < field->least || value > field->greatest)
		bad_cron(text, psprintf("%d is out of range %d-%d of field \"%s\".",
								value, field->least, field->greatest, field->name));
	return value;
}

/* Parse one field into a bit mask; "L" and "$" set *last. */
static uint64
parse_field(char *token, const CronField *field, const char *text, bool *last)
{
	uint64		mask = 0;
	char	   *saved = NULL;
	const char *end = token + strlen(token);

	if (*token == ',' || end[-1] == ',' || strstr(token, ",,"))
		bad_cron(text, psprintf("Field \"%s\" has an empty list item.", field->name));
	for (char *item = strtok_r(token, ",", &saved); item;
		 item = strtok_r(NULL, ",", &saved))
	{
		const char *c = item;
		int			from = field->least;
		int			to = field->greatest;
		int			step = 1;
		bool		range = true;

		if (last && (strcmp(item, "$") == 0 || pg_strcasecmp(item, "L") == 0))
		{
			*last = true;
			continue;
		}
		if (*c == '*')
			c++;
		else
		{
			from = to = read_value(&c, field, text);
			range = *c == '-';
			if (range)
			{
				c++;
				to = read_value(&c, field, text);
			}
			if (to < from)
				bad_cron(text, psprintf("Range %d-%d of field \"%s\" is backwards.",
										from, to, field->name));
		}
		if (*c == '/')
		{
			if (!range)
				bad_cron(text, psprintf("A step in field \"%s\" needs a range or a star before it.",
										field->name));
			c++;
			if (!isdigit((unsigned char) *c))
				bad_cron(text, psprintf("Field \"%s\" has a step that is not a number.", field->name));
			step = 0;
			while (isdigit((unsigned char) *c) && step < 1000)
				step = step * 10 + *c++ - '0';
			if (step < 1 || step > field->greatest)
				bad_cron(text, psprintf("Step %d of field \"%s\" is out of range 1-%d.",
										step, field->name, field->greatest));
		}
		if (*c != '\0')
			bad_cron(text, psprintf("\"%s\" in field \"%s\" is not understood.",
									item, field->name));
		for (int i = from; i <= to; i += step)
			mask |= UINT64CONST(1) << i;
	}
	return mask;
}

/*
 * Parse "N seconds"; false when the text is not of that form, so that its fields
 * are to be read.
 */
static bool
parse_seconds(const char *text, CronExpr *expr)
{
	const char *c = text + strspn(text, " \t\n");
	const char *number = c;
	int			seconds = 0;
	size_t		length;

	while (isdigit((unsigned char) *c) && seconds < 1000)
		seconds = seconds * 10 + *c++ - '0';
	if (c == number)
		return false;
	c += strspn(c, " \t\n");
	if (pg_strncasecmp(c, "second", 6) != 0)
		return false;
	length = pg_strncasecmp(c, "seconds", 7) == 0 ? 7 : 6;
	if (c[length + strspn(c + length, " \t\n")] != '\0')
		bad_cron(text, psprintf("Nothing may follow \"%s\".", pnstrdup(c, length)));
	if (seconds < 1 || seconds > 59)
		bad_cron(text, psprintf("%d seconds are out of range 1-59.", seconds));
	expr->seconds = seconds;
	return true;
}

/* The first multiple of so many seconds after a time. */
static TimestampTz
next_second(int seconds, TimestampTz after)
{
	const int64 epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	const int64 step = seconds * USECS_PER_SEC;
	int64		past = (after % step + epoch % step) % step;

	return after - (past < 0 ? past + step : past) + step;
}

/* Parse cron text; raises 22023 with what is wrong, also if it never fires. */
void
runner_cron_parse(const char *text, CronExpr *expr)
{
	char	   *copy = pstrdup(text);
	char	   *saved = NULL;
	char	   *token;
	uint64		masks[5] = {0};
	int			n = 0;
	TimestampTz next;

	memset(expr, 0, sizeof(CronExpr));
	if (parse_seconds(text, expr))
		return;
	token = strtok_r(copy, " \t\n", &saved);
	for (int i = 0; token && *token == '@' && i < lengthof(shorthands); i++)
	{
		if (pg_strcasecmp(token, shorthands[i][0]) != 0)
			continue;
		if (strtok_r(NULL, " \t\n", &saved) != NULL)
			bad_cron(text, psprintf("Nothing may follow \"%s\".", token));
		token = strtok_r(pstrdup(shorthands[i][1]), " ", &saved);
	}
	if (token && *token == '@')
		bad_cron(text, psprintf("\"%s\" is not a known shorthand.", token));

	for (; token; token = strtok_r(NULL, " \t\n", &saved))
	{
		if (n >= 5)
			bad_cron(text, "It has more than five fields.");
		if (n == 2)
			expr->any_day = *token == '*';
		if (n == 4)
			expr->any_weekday = *token == '*';
		masks[n] = parse_field(token, &cron_fields[n], text,
							   n == 2 ? &expr->last_day : NULL);
		n++;
	}
	if (n < 5)
		bad_cron(text, psprintf("It has %d field%s, not five.", n, n == 1 ? "" : "s"));

	expr->minutes = masks[0];
	expr->hours = masks[1];
	expr->days = masks[2];
	expr->months = masks[3];
	/* Sunday is 0 and 7. */
	expr->weekdays = (masks[4] | (masks[4] >> 7 & 1)) & 0x7f;
	if (!runner_cron_next(expr, pg_tzset("UTC"), 0, &next))
		bad_cron(text, "No day of any year fits it.");
}

static bool
day_matches(const CronExpr *expr, int julian)
{
	int			y,
				m,
				d,
				y2,
				m2,
				d2;
	bool		day,
				weekday;

	j2date(julian, &y, &m, &d);
	if (!(expr->months & (1 << m)))
		return false;
	day = (expr->days & (UINT32_C(1) << d)) != 0;
	if (expr->last_day && !day)
	{
		j2date(julian + 1, &y2, &m2, &d2);
		day = d2 == 1;
	}
	weekday = (expr->weekdays & (1 << j2day(julian))) != 0;
	if (expr->any_day || expr->any_weekday)
		return day && weekday;
	return day || weekday;
}

/*
 * Find the first due time after `after`.  False when there is none in sight.
 */
bool
runner_cron_next(const CronExpr *expr, pg_tz *tz, TimestampTz after,
				 TimestampTz *next)
{
	pg_time_t	start = timestamptz_to_time_t(after);
	struct pg_tm *tm = pg_localtime(&start, tz);
	int			julian;
	int			minute;

	if (tm == NULL)
		return false;
	if (expr->seconds > 0)
	{
		*next = next_second(expr->seconds, after);
		return IS_VALID_TIMESTAMP(*next);
	}
	julian = date2j(tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday);
	minute = tm->tm_hour * 60 + tm->tm_min;
	for (int day = 0; day < SEARCH_DAYS; day++, julian++, minute = 0)
	{
		if (day % 64 == 63)
			CHECK_FOR_INTERRUPTS();
		if (!day_matches(expr, julian))
			continue;
		for (; minute < 24 * 60; minute++)
		{
			pg_time_t	wall;

			if (!(expr->hours & (UINT32_C(1) << minute / 60)))
			{
				minute += 59 - minute % 60;
				continue;
			}
			if (!(expr->minutes & (UINT64CONST(1) << minute % 60)))
				continue;
			wall = ((pg_time_t) julian - UNIX_EPOCH_JDATE) * SECS_PER_DAY + minute * 60;
			*next = time_t_to_timestamptz(pipeline_wall_to_instant(wall, tz));
			if (*next > after)
				return IS_VALID_TIMESTAMP(*next);
		}
	}
	return false;
}

/* Find the latest due time at or before `at`.  False when none is in sight. */
bool
runner_cron_last(const CronExpr *expr, pg_tz *tz, TimestampTz at,
				 TimestampTz *last)
{
	const int64 most = (int64) SEARCH_DAYS * SECS_PER_DAY;

	if (expr->seconds > 0)
	{
		*last = next_second(expr->seconds, at) - expr->seconds * USECS_PER_SEC;
		return IS_VALID_TIMESTAMP(*last);
	}
	/* Look back further and further, then walk forward to the last one. */
	for (int64 back = 2 * SECS_PER_MINUTE;; back = Min(back * 6, most))
	{
		TimestampTz t = at - back * USECS_PER_SEC;
		bool		found = false;

		while (runner_cron_next(expr, tz, t, &t) && t <= at)
		{
			*last = t;
			found = true;
		}
		if (found || back == most)
			return found;
	}
}

PG_FUNCTION_INFO_V1(pipeline_cron_next);

/* SQL: cron_next(expr, after, timezone, n) */
Datum
pipeline_cron_next(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CronExpr	expr;
	TimestampTz t = PG_GETARG_TIMESTAMPTZ(1);
	pg_tz	   *tz;
	int			n = PG_GETARG_INT32(3);

	if (n < 0 || n > 100000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"n\": %d", n),
				 errhint("Give a number from 0 to 100000.")));
	if (TIMESTAMP_NOT_FINITE(t))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"after\" must be finite")));
	runner_cron_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &expr);
	tz = pipeline_timezone(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < n && runner_cron_next(&expr, tz, t, &t); i++)
	{
		Datum		value = TimestampTzGetDatum(t);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}
