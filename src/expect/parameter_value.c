/*
 * parameter_value.c
 *	  The values of the language of parameters: numbers, times and spans of time,
 *	  what can be done with them, and its functions; see parameter.c.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "expect/parameter.h"

pg_noreturn static void
bad_operands(const Expression *e, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("parameter \"%s\": %s", e->text, what)));
}

/* Refuse a number that no value holds. */
void
parameter_out_of_range(const Expression *e)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("parameter \"%s\" is out of range", e->text)));
}

/* ---- values ----------------------------------------------------------------------- */

/* A whole number. */
Value
parameter_whole(int64 v)
{
	return (Value) {.kind = VALUE_WHOLE, .whole = v, .number = (double) v};
}

/* A float, which must be finite. */
Value
parameter_float(const Expression *e, double v)
{
	if (!isfinite(v))
		parameter_out_of_range(e);
	return (Value) {.kind = VALUE_FLOAT, .number = v};
}

/* Microseconds, of a time or of a span. */
static Value
microseconds(const Expression *e, ValueKind kind, double v)
{
	if (!(fabs(v) < 9.2e18))
		parameter_out_of_range(e);
	return (Value) {.kind = kind, .whole = (int64) rint(v)};
}

static bool
is_number(Value v)
{
	return v.kind == VALUE_WHOLE || v.kind == VALUE_FLOAT;
}

static double
as_number(const Expression *e, Value v)
{
	if (!is_number(v))
		bad_operands(e, "a number is needed where there is a time");
	return v.number;
}

/* A time as text, or false if it is none. */
static bool
parse_time(const char *text, int64 *time)
{
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf;
	int			dtype;
	int			tz;
	struct pg_tm tm;
	fsec_t		fsec;
	DateTimeErrorExtra extra pg_attribute_unused();

	return strlen(text) <= MAXDATELEN &&
		ParseDateTime(text, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS, &nf) == 0 &&
		DecodeDateTime(field, ftype, nf, &dtype, &tm, &fsec, &tz, &extra) == 0 &&
		dtype == DTK_DATE && tm2timestamp(&tm, fsec, NULL, time) == 0;
}

/* The value of a name in an expression, from its text. */
Value
parameter_named(Expression *e, const char *name)
{
	JsonbValue	buf;
	JsonbValue *v;
	char	   *text;
	char	   *end;
	int64		time;

	e->names = lappend(e->names, pstrdup(name));
	if (e->values == NULL)
		return parameter_whole(1);
	v = pipeline_kwarg(e->values, name, &buf);
	if (v == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" has no value", name),
				 errhint("Give it one: validate(..., parameters => '{\"%s\": ...}'), or create_suite(..., parameters).", name)));
	if (v->type != jbvString && v->type != jbvNumeric)
		bad_operands(e, psprintf("the value of \"%s\" is neither a number nor a time", name));
	text = v->type == jbvString ? pnstrdup(v->val.string.val, v->val.string.len) :
		DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
	errno = 0;
	if (*text != '\0' && strspn(text, "+-0123456789") == strlen(text))
	{
		int64		i = strtoi64(text, &end, 10);

		if (*end == '\0' && errno == 0)
			return parameter_whole(i);
	}
	errno = 0;
	if (*text != '\0')
	{
		double		d = strtod(text, &end);

		if (*end == '\0' && errno == 0)
			return parameter_float(e, d);
	}
	if (parse_time(text, &time))
		return (Value) {.kind = VALUE_TIME, .whole = time};
	bad_operands(e, psprintf("the value of \"%s\" is neither a number nor a time", name));
}

/* ---- operators ---------------------------------------------------------------------- */

/* The value with its sign changed. */
Value
parameter_negative(Expression *e, Value v)
{
	if (e->values == NULL)
		return v;
	if (v.kind == VALUE_TIME)
		bad_operands(e, "a time has no sign");
	if (v.kind == VALUE_FLOAT)
		return parameter_float(e, -v.number);
	if (v.whole == PG_INT64_MIN)
		parameter_out_of_range(e);
	if (v.kind == VALUE_WHOLE)
		return parameter_whole(-v.whole);
	return (Value) {.kind = VALUE_SPAN, .whole = -v.whole};
}

/* Times and spans: what can be added and subtracted. */
static Value
add_times(Expression *e, Value a, Value b, char op)
{
	ValueKind	kind;
	int64		sum;

	if (is_number(a) || is_number(b) || (a.kind == VALUE_TIME && b.kind == VALUE_TIME && op == '+') ||
		(a.kind == VALUE_SPAN && b.kind == VALUE_TIME && op == '-'))
		bad_operands(e, "a time goes with a timedelta, or less another time");
	kind = a.kind == b.kind ? VALUE_SPAN : VALUE_TIME;
	if (op == '+' ? pg_add_s64_overflow(a.whole, b.whole, &sum) : pg_sub_s64_overflow(a.whole, b.whole, &sum))
		parameter_out_of_range(e);
	return (Value) {.kind = kind, .whole = sum};
}

/* a + b or a - b, of numbers, times and spans. */
Value
parameter_add(Expression *e, Value a, Value b, char op)
{
	int64		sum;

	if (e->values == NULL)
		return a;
	if (!is_number(a) || !is_number(b))
		return add_times(e, a, b, op);
	if (a.kind == VALUE_FLOAT || b.kind == VALUE_FLOAT)
		return parameter_float(e, op == '+' ? a.number + b.number : a.number - b.number);
	if (op == '+' ? pg_add_s64_overflow(a.whole, b.whole, &sum) : pg_sub_s64_overflow(a.whole, b.whole, &sum))
		parameter_out_of_range(e);
	return parameter_whole(sum);
}

/* a * b or a / b. */
Value
parameter_multiply(Expression *e, Value a, Value b, char op)
{
	int64		product;

	if (e->values == NULL)
		return a;
	if (op == '/' && is_number(b) && b.number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DIVISION_BY_ZERO),
				 errmsg("parameter \"%s\" divides by zero", e->text)));
	if (a.kind == VALUE_SPAN && b.kind == VALUE_SPAN && op == '/' && b.whole != 0)
		return parameter_float(e, (double) a.whole / (double) b.whole);
	if (a.kind == VALUE_SPAN && is_number(b))
		return microseconds(e, VALUE_SPAN, op == '*' ? (double) a.whole * b.number : (double) a.whole / b.number);
	if (b.kind == VALUE_SPAN && is_number(a) && op == '*')
		return microseconds(e, VALUE_SPAN, a.number * (double) b.whole);
	if (!is_number(a) || !is_number(b))
		bad_operands(e, "a time can be neither multiplied nor divided");
	if (op == '/')
		return parameter_float(e, a.number / b.number);
	if (a.kind == VALUE_FLOAT || b.kind == VALUE_FLOAT)
		return parameter_float(e, a.number * b.number);
	if (pg_mul_s64_overflow(a.whole, b.whole, &product))
		parameter_out_of_range(e);
	return parameter_whole(product);
}

/* a ^ b. */
Value
parameter_power(Expression *e, Value a, Value b)
{
	double		base = is_number(a) ? a.number : 0;
	double		exponent = is_number(b) ? b.number : 0;

	if (e->values == NULL)
		return a;
	if (!is_number(a) || !is_number(b))
		bad_operands(e, "a number is needed where there is a time");
	if (a.kind == VALUE_WHOLE && b.kind == VALUE_WHOLE && b.whole >= 0)
	{
		int64		product = 1;

		for (int64 i = 0; i < b.whole && a.whole != 0 && a.whole != 1; i++)
		{
			if (a.whole == -1)
				return parameter_whole(b.whole % 2 == 0 ? 1 : -1);
			if (pg_mul_s64_overflow(product, a.whole, &product))
				parameter_out_of_range(e);
		}
		return parameter_whole(a.whole == 0 && b.whole > 0 ? 0 : product);
	}
	if (base == 0 && exponent < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DIVISION_BY_ZERO),
				 errmsg("parameter \"%s\" divides by zero", e->text)));
	return parameter_float(e, pow(base, exponent));
}

/* ---- functions ------------------------------------------------------------------------- */

static Value
round_to(Expression *e, Value v, bool has_digits, Value digits)
{
	double		d = as_number(e, v);

	if (!has_digits)
	{
		if (v.kind == VALUE_WHOLE)
			return v;
		d = rint(d);
		if (!(fabs(d) < 9.2e18))
			parameter_out_of_range(e);
		return parameter_whole((int64) d);
	}
	if (digits.kind != VALUE_WHOLE || digits.whole < -18 || digits.whole > 300)
		bad_operands(e, "round() takes a whole number of digits, from -18 to 300");
	if (digits.whole >= 0)
		return v.kind == VALUE_WHOLE ? v : parameter_float(e, strtod(psprintf("%.*f", (int) digits.whole, d), NULL));
	d = rint(d / pow(10, (double) -digits.whole)) * pow(10, (double) -digits.whole);
	return v.kind == VALUE_WHOLE ? parameter_whole((int64) d) : parameter_float(e, d);
}

/* Days, seconds, microseconds, milliseconds, minutes, hours, weeks. */
static Value
timedelta(Expression *e, const Argument *args, int n)
{
	static const struct
	{
		const char *name;
		double		microseconds;
	}			units[] = {
		{"days", 86400e6}, {"seconds", 1e6}, {"microseconds", 1}, {"milliseconds", 1e3},
		{"minutes", 60e6}, {"hours", 3600e6}, {"weeks", 7 * 86400e6}
	};
	double		sum = 0;

	for (int i = 0; i < n; i++)
	{
		int			unit = i;

		for (int u = 0; args[i].name != NULL && u <= lengthof(units); u++)
		{
			if (u == lengthof(units))
				bad_operands(e, psprintf("timedelta() has no argument \"%s\"", args[i].name));
			unit = u;
			if (strcmp(args[i].name, units[u].name) == 0)
				break;
		}
		if (unit >= lengthof(units))
			bad_operands(e, "timedelta() has too many arguments");
		sum += as_number(e, args[i].value) * units[unit].microseconds;
	}
	return microseconds(e, VALUE_SPAN, sum);
}

/* Year, month, day, hour, minute, second, microsecond. */
static Value
make_datetime(Expression *e, const Argument *args, int n)
{
	static const char *const parts[] = {"year", "month", "day", "hour", "minute", "second", "microsecond"};
	int64		given[lengthof(parts)] = {-1, -1, -1, 0, 0, 0, 0};
	struct pg_tm tm = {0};
	Timestamp	time;

	for (int i = 0; i < n; i++)
	{
		int			part = i;

		for (part = 0; args[i].name != NULL && part < lengthof(parts); part++)
			if (strcmp(args[i].name, parts[part]) == 0)
				break;
		if (args[i].name == NULL)
			part = i;
		if (part >= lengthof(parts) || args[i].value.kind != VALUE_WHOLE)
			bad_operands(e, "datetime() takes year, month, day, hour, minute, second and microsecond, whole numbers");
		given[part] = args[i].value.whole;
	}
	tm.tm_year = (int) given[0];
	tm.tm_mon = (int) given[1];
	tm.tm_mday = (int) given[2];
	tm.tm_hour = (int) given[3];
	tm.tm_min = (int) given[4];
	tm.tm_sec = (int) given[5];
	if (given[0] < 1 || given[0] > 9999 || given[1] < 1 || given[1] > 12 || given[2] < 1 ||
		given[2] > day_tab[isleap(given[0])][given[1] - 1] || given[3] < 0 || given[3] > 23 || given[4] < 0 || given[4] > 59 ||
		given[5] < 0 || given[5] > 59 || given[6] < 0 || given[6] > 999999 ||
		tm2timestamp(&tm, (fsec_t) given[6], NULL, &time) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
				 errmsg("parameter \"%s\" has no such datetime", e->text)));
	return (Value) {.kind = VALUE_TIME, .whole = time};
}

/* The value of a function that has these arguments. */
Value
parameter_call(Expression *e, const char *name, const Argument *args, int n)
{
	static const struct
	{
		const char *name;
		double		(*function) (double);
	}			functions[] = {{"sin", sin}, {"cos", cos}, {"tan", tan}, {"exp", exp}};
	Value		v = n > 0 ? args[0].value : parameter_whole(0);

	if (strcmp(name, "now") == 0 && n == 0)
		return (Value) {.kind = VALUE_TIME,
		.whole = DatumGetTimestamp(DirectFunctionCall1(timestamptz_timestamp, TimestampTzGetDatum(GetCurrentStatementStartTimestamp())))};
	if (strcmp(name, "timedelta") == 0)
		return timedelta(e, args, n);
	if (strcmp(name, "datetime") == 0)
		return make_datetime(e, args, n);
	if (strcmp(name, "round") == 0 && (n == 1 || n == 2) && args[0].name == NULL)
		return round_to(e, v, n == 2, n == 2 ? args[1].value : v);
	if (n == 1 && args[0].name == NULL)
	{
		for (int i = 0; i < lengthof(functions); i++)
			if (strcmp(name, functions[i].name) == 0)
				return parameter_float(e, functions[i].function(as_number(e, v)));
		if (strcmp(name, "abs") == 0)
			return v.kind == VALUE_FLOAT ? parameter_float(e, fabs(v.number)) : v.whole < 0 ? parameter_negative(e, v) : v;
		if (strcmp(name, "trunc") == 0)
			return v.kind == VALUE_WHOLE ? v : round_to(e, parameter_float(e, trunc(as_number(e, v))), false, v);
		if (strcmp(name, "sgn") == 0)
			return parameter_whole(as_number(e, v) < -1e-12 ? -1 : as_number(e, v) > 1e-12 ? 1 : 0);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\": there is no function %s() of %d arguments", e->text, name, n),
			 errhint("There are sin, cos, tan, exp, abs, trunc, round, sgn, now, datetime and timedelta.")));
}

/* The value as JSON. */
char *
parameter_text(const Expression *e, Value v)
{
	char		time[MAXDATELEN + 1];

	switch (v.kind)
	{
		case VALUE_WHOLE:
			return psprintf(INT64_FORMAT, v.whole);
		case VALUE_FLOAT:
			return float8out_internal(v.number);
		case VALUE_TIME:
			return psprintf("\"%s\"", JsonEncodeDateTime(time, TimestampGetDatum(v.whole), TIMESTAMPOID, NULL));
		default:
			bad_operands(e, "a timedelta alone is no value");
	}
}
