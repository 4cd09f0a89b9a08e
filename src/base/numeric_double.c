/*
 * numeric_double.c
 *	  A numeric as the nearest double, fast.
 *
 * The server's own conversion prints the number and parses it again.  Most
 * numbers in tables have few digits: as an integer below 2^53 with a power of
 * ten up to 10^22 beside it, both of them exact in a double, they need one
 * multiplication or division, which rounds correctly (Clinger 1990).  The layout
 * read here is that on disk, which pg_upgrade keeps: base 10000 digits after a
 * header of two or four bytes.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/base.h"

#define KIND_MASK 0xC000
#define KIND_SHORT 0x8000
#define KIND_SPECIAL 0xC000
#define SHORT_NEGATIVE 0x2000
#define SHORT_WEIGHT_NEGATIVE 0x0040
#define SHORT_WEIGHT_MASK 0x003F
#define LONG_NEGATIVE 0x4000
#define EXACT_DIGITS 4			/* of base 10000, below 2^53 */

static const double powers[] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
};

/* What a numeric is made of, but for the digits that it shows. */
typedef struct Parts
{
	bool		special;		/* NaN or infinite */
	bool		negative;
	int16		weight;			/* of the first digit */
	int			ndigits;
	const char *digits;			/* int16 each, not aligned */
} Parts;

static Parts
take_apart(const struct varlena *number)
{
	Parts		parts = {0};
	uint16		header;

	parts.digits = VARDATA_ANY(number);
	parts.ndigits = VARSIZE_ANY_EXHDR(number);
	memcpy(&header, parts.digits, sizeof(uint16));
	parts.special = (header & KIND_MASK) == KIND_SPECIAL;
	if ((header & KIND_MASK) == KIND_SHORT)
	{
		parts.weight = (int16) (header & SHORT_WEIGHT_MASK);
		if (header & SHORT_WEIGHT_NEGATIVE)
			parts.weight |= ~SHORT_WEIGHT_MASK;
		parts.negative = (header & SHORT_NEGATIVE) != 0;
		parts.digits += sizeof(uint16);
		parts.ndigits = (parts.ndigits - 2) / 2;
	}
	else if (!parts.special)
	{
		memcpy(&parts.weight, parts.digits + sizeof(uint16), sizeof(int16));
		parts.negative = (header & KIND_MASK) == LONG_NEGATIVE;
		parts.digits += 2 * sizeof(uint16);
		parts.ndigits = (parts.ndigits - 4) / 2;
	}
	return parts;
}

/* The nearest double; infinite where there is none.  A short header will do. */
double
pipeline_numeric_double(const struct varlena *number)
{
	Parts		parts = take_apart(number);
	int			exponent = 4 * (parts.weight - parts.ndigits + 1);
	int64		integer = 0;

	for (int i = 0; i < Min(parts.ndigits, EXACT_DIGITS); i++)
	{
		int16		digit;

		memcpy(&digit, parts.digits + i * sizeof(int16), sizeof(int16));
		integer = integer * 10000 + digit;
	}
	if (parts.special || parts.ndigits > EXACT_DIGITS || integer > (INT64CONST(1) << 53) ||
		exponent <= -(int) lengthof(powers) || exponent >= (int) lengthof(powers))
		return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, PointerGetDatum(number)));
	return (parts.negative ? -1.0 : 1.0) *
		(exponent < 0 ? (double) integer / powers[-exponent] : (double) integer * powers[exponent]);
}

/* A hash of 64 bits; equal numbers have equal ones, whatever digits they show. */
uint64
pipeline_numeric_hash(const struct varlena *number)
{
	Parts		parts = take_apart(number);

	if (parts.special)
		return hash_bytes_extended((const unsigned char *) VARDATA_ANY(number), sizeof(uint16), 1);
	return hash_bytes_extended((const unsigned char *) parts.digits, parts.ndigits * (int) sizeof(int16),
							   parts.ndigits == 0 ? 2 : ((uint64) (uint16) parts.weight << 2) | parts.negative);
}
