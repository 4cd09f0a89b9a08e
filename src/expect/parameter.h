/*
 * parameter.h
 *	  The language of parameters: the grammar (parameter.c) over its values
 *	  (parameter_value.c).
 */
#ifndef PIPELINE_EXPECT_PARAMETER_H
#define PIPELINE_EXPECT_PARAMETER_H

#include "expect/check.h"

typedef enum ValueKind
{
	VALUE_WHOLE,
	VALUE_FLOAT,
	VALUE_TIME,					/* without a zone, as Python's naive ones */
	VALUE_SPAN					/* a timedelta */
} ValueKind;

typedef struct Value
{
	ValueKind	kind;
	int64		whole;			/* or microseconds */
	double		number;
} Value;

typedef struct Expression
{
	const char *text;
	const char *at;
	const Jsonb *values;		/* of the parameters; NULL: look at the syntax only */
	List	   *names;			/* of those that it asks for */
} Expression;

/* An argument of a function; a NULL name: by its place. */
typedef struct Argument
{
	char	   *name;
	Value		value;
} Argument;

pg_noreturn extern void parameter_out_of_range(const Expression *e);
extern Value parameter_whole(int64 v);
extern Value parameter_float(const Expression *e, double v);
extern Value parameter_named(Expression *e, const char *name);
extern Value parameter_negative(Expression *e, Value v);
extern Value parameter_add(Expression *e, Value a, Value b, char op);
extern Value parameter_multiply(Expression *e, Value a, Value b, char op);
extern Value parameter_power(Expression *e, Value a, Value b);
extern Value parameter_call(Expression *e, const char *name, const Argument *args, int n);
extern char *parameter_text(const Expression *e, Value v);

#endif							/* PIPELINE_EXPECT_PARAMETER_H */
