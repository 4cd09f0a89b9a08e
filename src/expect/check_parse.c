/*
 * check_parse.c
 *	  Is a text JSON, a date, or of a form that strftime would write?
 *
 * None of them raises: what does not parse is unexpected.  "Parseable by
 * dateutil" is here what the server takes for a timestamp.  The directives of
 * strftime are those of Python's strptime, in the C locale.
 */
#include "postgres.h"

#include <ctype.h>

#include "utils/datetime.h"

#include "expect/check.h"

/* Would the server take the text for a point in time? */
bool
pipeline_is_datetime(const char *data, int len)
{
	char		text[MAXDATELEN + 1];
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf;
	int			dtype;
	int			tz;
	struct pg_tm tm;
	fsec_t		fsec;
	DateTimeErrorExtra extra pg_attribute_unused();

	if (len == 0 || len > MAXDATELEN)
		return false;
	memcpy(text, data, len);
	text[len] = '\0';
	if (strlen(text) != len ||
		ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf) != 0)
		return false;
	return DecodeDateTime(field, ftype, nf, &dtype, &tm, &fsec, &tz, &extra) == 0;
}

/* ---- strftime --------------------------------------------------------------- */

typedef struct Reading
{
	const char *at;
	const char *end;
	int			year;
	int			month;
	int			day;
	int			day_of_year;
} Reading;

static const char *const month_names[] = {"January", "February", "March", "April", "May", "June",
"July", "August", "September", "October", "November", "December"};
static const char *const day_names[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
"Saturday", "Sunday"};

/* A number of at most `digits` digits, within bounds. */
static bool
number(Reading *s, int digits, int low, int high, int *value)
{
	int			n = 0;
	int			v = 0;

	while (n < digits && s->at < s->end && isdigit((unsigned char) *s->at))
	{
		v = v * 10 + (*s->at++ - '0');
		n++;
	}
	if (n == 0 || v < low || v > high)
		return false;
	if (value)
		*value = v;
	return true;
}

/* One of some names, whole or its first three letters, in any case. */
static bool
name(Reading *s, const char *const *names, int n, bool whole, int *value)
{
	for (int i = 0; i < n; i++)
	{
		int			len = whole ? strlen(names[i]) : 3;

		if (s->end - s->at >= len && pg_strncasecmp(s->at, names[i], len) == 0)
		{
			s->at += len;
			if (value)
				*value = i + 1;
			return true;
		}
	}
	return false;
}

/* An offset from UTC: Z, +hhmm or +hh:mm, with seconds and fractions. */
static bool
zone_offset(Reading *s)
{
	int			groups = 0;

	if (s->at < s->end && *s->at == 'Z')
	{
		s->at++;
		return true;
	}
	if (s->at == s->end || (*s->at != '+' && *s->at != '-'))
		return false;
	s->at++;
	while (groups < 3)
	{
		const char *before = s->at;

		if (groups > 0 && s->at < s->end && *s->at == ':')
			s->at++;
		if (s->end - s->at < 2 || !isdigit((unsigned char) s->at[0]) || !isdigit((unsigned char) s->at[1]) ||
			(groups > 0 && s->at[0] > '5'))
		{
			s->at = before;
			break;
		}
		s->at += 2;
		groups++;
	}
	return groups >= 2;
}

static bool directive(Reading *s, char c);

static bool
follow_format(Reading *s, const char *format)
{
	for (; *format; format++)
	{
		if (isspace((unsigned char) *format))
		{
			if (s->at == s->end || !isspace((unsigned char) *s->at))
				return false;
			while (s->at < s->end && isspace((unsigned char) *s->at))
				s->at++;
		}
		else if (*format == '%')
		{
			if (!directive(s, *++format))
				return false;
		}
		else if (s->at == s->end || *s->at++ != *format)
			return false;
	}
	return true;
}

static bool
directive(Reading *s, char c)
{
	const char *start = s->at;

	switch (c)
	{
		case '%':
			return s->at < s->end && *s->at++ == '%';
		case 'Y':
			return number(s, 4, 0, 9999, &s->year) && s->at - start == 4;
		case 'y':
			if (!number(s, 2, 0, 99, &s->year) || s->at - start != 2)
				return false;
			s->year += s->year < 69 ? 2000 : 1900;
			return true;
		case 'm':
			return number(s, 2, 1, 12, &s->month);
		case 'd':
			return number(s, 2, 1, 31, &s->day);
		case 'j':
			return number(s, 3, 1, 366, &s->day_of_year);
		case 'H':
			return number(s, 2, 0, 23, NULL);
		case 'I':
			return number(s, 2, 1, 12, NULL);
		case 'M':
			return number(s, 2, 0, 59, NULL);
		case 'S':
			return number(s, 2, 0, 61, NULL);
		case 'f':
			return number(s, 6, 0, 999999, NULL);
		case 'U':
		case 'W':
			return number(s, 2, 0, 53, NULL);
		case 'w':
			return number(s, 1, 0, 6, NULL);
		case 'u':
			return number(s, 1, 1, 7, NULL);
		case 'p':
			return s->end - s->at >= 2 &&
				(pg_strncasecmp(s->at, "AM", 2) == 0 || pg_strncasecmp(s->at, "PM", 2) == 0) &&
				(s->at += 2, true);
		case 'B':
			return name(s, month_names, 12, true, &s->month);
		case 'b':
			return name(s, month_names, 12, false, &s->month);
		case 'A':
			return name(s, day_names, 7, true, NULL);
		case 'a':
			return name(s, day_names, 7, false, NULL);
		case 'z':
			return zone_offset(s);
		case 'Z':
			while (s->at < s->end && isalpha((unsigned char) *s->at))
				s->at++;
			return true;
		case 'x':
			return follow_format(s, "%m/%d/%y");
		case 'X':
			return follow_format(s, "%H:%M:%S");
		case 'c':
			return follow_format(s, "%a %b %d %H:%M:%S %Y");
	}
	return false;
}

/* Raise 22023 unless the directives of the format are known. */
void
pipeline_strftime_check(const char *format)
{
	for (const char *c = format; *c; c++)
	{
		if (*c != '%')
			continue;
		if (c[1] == '\0' || strchr("%YymdjHIMSfUWwupBbAazZxXc", c[1]) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown directive \"%%%.1s\" in key \"strftime_format\" of argument \"kwargs\"", c + 1),
					 errdetail("The format is \"%s\".", format)));
		c++;
	}
}

/* Is all of the text what the format would make of some point in time? */
bool
pipeline_matches_strftime(const char *format, const char *data, int len)
{
	Reading		s = {.at = data, .end = data + len, .year = 1900, .month = 1, .day = 1};

	if (!follow_format(&s, format) || s.at != s.end || s.year < 1)
		return false;
	return s.day <= day_tab[isleap(s.year)][s.month - 1] &&
		(s.day_of_year < 366 || isleap(s.year));
}
