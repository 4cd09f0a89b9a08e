/*
 * parameter.c
 *	  Expressions of parameters, such as "upstream_rows * 1.1", as Great
 *	  Expectations has them.
 *
 * Their small language, evaluated here and never as SQL:
 *
 *	  expr   := term { (+ | -) term }
 *	  term   := factor { (* | /) factor }
 *	  factor := atom [ ^ factor ]
 *	  atom   := { + | - } ( number | PI | E | name | name(arguments) | ( expr ) )
 *
 * with sin, cos, tan, exp, abs, trunc, round, sgn, now(), datetime() and
 * timedelta().  As there, a sign binds more tightly than ^, whole numbers stay
 * whole but for /, and a name alone gives its value whatever that is, while in an
 * expression its text must be a number or a time.  A whole number has 64 bits.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "utils/float.h"

#include "expect/parameter.h"

#define MAX_ARGUMENTS 8
#define URN "urn:great_expectations:"

static Value expression(Expression *e);

pg_noreturn static void
bad_syntax(const Expression *e, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" is not an expression: %s expected at character %d",
					e->text, expected, (int) (e->at - e->text) + 1)));
}

/* ---- the grammar ------------------------------------------------------------------------- */

static char
next(Expression *e)
{
	while (isspace((unsigned char) *e->at))
		e->at++;
	return *e->at;
}

static bool
accept(Expression *e, char c)
{
	if (next(e) != c)
		return false;
	e->at++;
	return true;
}

static char *
read_name(Expression *e)
{
	const char *start = e->at;

	if (strncmp(start, URN, strlen(URN)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("parameter \"%s\" asks another validation or store of Great Expectations for its value", e->text),
				 errhint("Give its value by name: {\"$PARAMETER\": \"rows\"}, and validate(..., parameters => '{\"rows\": 100}').")));
	while (isalnum((unsigned char) *e->at) || *e->at == '_' || *e->at == '$')
		e->at++;
	return pnstrdup(start, e->at - start);
}

static Value
read_number(Expression *e)
{
	char	   *end;
	double		d = strtod(e->at, &end);
	char	   *text = pnstrdup(e->at, end - e->at);
	int64		i;

	if (strspn(text, "0123456789.eE+-") != strlen(text))
		bad_syntax(e, "a decimal number");
	e->at = end;
	if (strpbrk(text, ".eE") != NULL)
		return parameter_float(e, d);
	errno = 0;
	i = strtoi64(text, &end, 10);
	if (errno != 0)
		parameter_out_of_range(e);
	return parameter_whole(i);
}

static Value
read_call(Expression *e, const char *name)
{
	Argument	args[MAX_ARGUMENTS];
	int			n = 0;

	if (!accept(e, ')'))
	{
		do
		{
			const char *start;

			if (n == MAX_ARGUMENTS)
				bad_syntax(e, "fewer arguments");
			(void) next(e);
			start = e->at;
			args[n].name = NULL;
			if (isalpha((unsigned char) *e->at) || *e->at == '_')
			{
				char	   *word = read_name(e);

				if (accept(e, '='))
					args[n].name = word;
				else
					e->at = start;
			}
			args[n++].value = expression(e);
		} while (accept(e, ','));
		if (!accept(e, ')'))
			bad_syntax(e, "\")\"");
	}
	/* What it comes to is seen when there are values. */
	return e->values == NULL ? parameter_whole(1) : parameter_call(e, name, args, n);
}

static Value
atom(Expression *e)
{
	bool		minus = false;
	Value		v;

	check_stack_depth();
	while (next(e) == '+' || *e->at == '-')
		minus ^= *e->at++ == '-';
	if (accept(e, '('))
	{
		v = expression(e);
		if (!accept(e, ')'))
			bad_syntax(e, "\")\"");
	}
	else if (isdigit((unsigned char) *e->at) || *e->at == '.')
		v = read_number(e);
	else if (isalpha((unsigned char) *e->at))
	{
		char	   *name = read_name(e);

		if (accept(e, '('))
			v = read_call(e, name);
		else if (pg_strcasecmp(name, "pi") == 0)
			v = parameter_float(e, M_PI);
		else if (pg_strcasecmp(name, "e") == 0)
			v = parameter_float(e, exp(1));
		else
			v = parameter_named(e, name);
	}
	else
		bad_syntax(e, "a value");
	return minus ? parameter_negative(e, v) : v;
}

static Value
factor(Expression *e)
{
	Value		v = atom(e);

	return accept(e, '^') ? parameter_power(e, v, factor(e)) : v;
}

static Value
term(Expression *e)
{
	Value		v = factor(e);

	while (next(e) == '*' || *e->at == '/')
	{
		char		op = *e->at++;

		v = parameter_multiply(e, v, factor(e), op);
	}
	return v;
}

static Value
expression(Expression *e)
{
	Value		v = term(e);

	while (next(e) == '+' || *e->at == '-')
	{
		char		op = *e->at++;

		v = parameter_add(e, v, term(e), op);
	}
	return v;
}

/* ---- the door ---------------------------------------------------------------------------- */

/* Is a whole text a name alone? */
static bool
is_name(const char *text)
{
	if (!isalpha((unsigned char) *text) || pg_strcasecmp(text, "pi") == 0 || pg_strcasecmp(text, "e") == 0)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char) *text) && *text != '_' && *text != '$')
			return false;
	return true;
}

/* The value of one parameter, with those of the names in it. */
Jsonb *
pipeline_parameter_value(const char *text, const Jsonb *values)
{
	Expression	e = {.text = text, .at = text, .values = values};
	Jsonb	   *value;

	if (is_name(text))
	{
		value = pipeline_kwarg_json(values, text);
		if (value == NULL)
			(void) parameter_named(&e, text);
		return value;
	}
	{
		Value		v = expression(&e);

		if (next(&e) != '\0')
			bad_syntax(&e, "an operator");
		return pipeline_jsonb_from(parameter_text(&e, v));
	}
}

/* Look at the syntax of one: the names that it asks for. */
List *
pipeline_parameter_names(const char *text)
{
	Expression	e = {.text = text, .at = text};

	(void) expression(&e);
	if (next(&e) != '\0')
		bad_syntax(&e, "an operator");
	return e.names;
}
