/*
 * statistics.c
 *	  What the values of a feature are like: how many are NULL, and of numbers
 *	  the mean and the spread, by which the catalogue tells drift.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "feature/feature.h"

/* The value as a number; false: it is none. */
static bool
as_number(Oid type, Datum value, double *number)
{
	switch (type)
	{
		case BOOLOID:
			*number = DatumGetBool(value);
			break;
		case INT2OID:
			*number = DatumGetInt16(value);
			break;
		case INT4OID:
			*number = DatumGetInt32(value);
			break;
		case INT8OID:
			*number = (double) DatumGetInt64(value);
			break;
		case FLOAT4OID:
			*number = DatumGetFloat4(value);
			break;
		case FLOAT8OID:
			*number = DatumGetFloat8(value);
			break;
		case NUMERICOID:
			*number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
			break;
		default:
			return false;
	}
	return isfinite(*number);
}

/* Add the value of a row, by Welford. */
void
statistic_add(FeatureStatistic *s, const Feature *feature, Datum value,
			  bool isnull)
{
	double		number;
	double		difference;

	s->rows++;
	if (isnull)
	{
		s->nulls++;
		return;
	}
	if (!as_number(feature->result_type, value, &number))
		return;
	difference = number - s->mean;
	s->mean += difference / (double) ++s->numbers;
	s->squares += difference * (number - s->mean);
}

/* Add what another process has seen, by Chan. */
void
statistic_merge(FeatureStatistic *s, const FeatureStatistic *other)
{
	double		numbers = (double) (s->numbers + other->numbers);
	double		difference = other->mean - s->mean;

	s->rows += other->rows;
	s->nulls += other->nulls;
	if (other->numbers == 0)
		return;
	s->squares += other->squares +
		difference * difference * (double) s->numbers * (double) other->numbers / numbers;
	s->mean += difference * (double) other->numbers / numbers;
	s->numbers += other->numbers;
}
