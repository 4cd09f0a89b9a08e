/*
 * sketch_distinct.c
 *	  How many distinct values have been told to a HyperLogLog?
 *
 * The server's estimate is too high by one to two percent around 2.5 values for
 * a register, where it changes from counting empty registers to the harmonic
 * mean.  This is the estimator of Ertl (2017), from how many registers have
 * which value; it has no such bend, and its standard error is 1.04 / sqrt(m):
 * 0.8 % for 2^14 registers.
 */
#include "postgres.h"

#include <math.h>

#include "expect/sketch.h"

#define HASH_BITS 32

/* What empty registers add. */
static double
sigma(double x)
{
	double		y = 1;
	double		z = x;
	double		before;

	if (x == 1)
		return INFINITY;
	do
	{
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z != before);
	return z;
}

/* What full registers add. */
static double
tau(double x)
{
	double		y = 1;
	double		z = 1 - x;
	double		before;

	if (x == 0 || x == 1)
		return 0;
	do
	{
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z != before);
	return z / 3;
}

/* The estimate. */
double
pipeline_distinct_estimate(const hyperLogLogState *h)
{
	int			counts[HASH_BITS + 2] = {0};
	int			most = HASH_BITS - h->registerWidth;
	double		m = (double) h->nRegisters;
	double		z;

	for (Size i = 0; i < h->nRegisters; i++)
		counts[Min(h->hashesArr[i], most + 1)]++;
	z = m * tau(1 - counts[most + 1] / m);
	for (int k = most; k >= 1; k--)
		z = 0.5 * (z + counts[k]);
	z += m * sigma(counts[0] / m);
	return m * m / (2 * log(2)) / z;
}
