/*
 * alert_keys.c
 *	  Sets of keys of alerts: what a channel knows, what an escalation is done
 *	  with.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "alert/alert_dispatch.h"

static int
compare_keys(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Add a key to a set that is yet to be sorted. */
void
pipeline_key_set_add(KeySet *set, int64 key)
{
	/* Room is made in powers of two. */
	if ((set->n & (set->n - 1)) == 0)
	{
		int			size = set->n == 0 ? 1 : 2 * set->n;

		set->keys = set->n == 0 ? palloc_array(int64, size) :
			repalloc_huge(set->keys, size * sizeof(int64));
	}
	set->keys[set->n++] = key;
}

/* Sort a set, each key once. */
void
pipeline_key_set_sort(KeySet *set)
{
	int			n = 0;

	if (set->n == 0)
		return;
	qsort(set->keys, set->n, sizeof(int64), compare_keys);
	for (int i = 1; i < set->n; i++)
	{
		if (set->keys[i] != set->keys[n])
			set->keys[++n] = set->keys[i];
	}
	set->n = n + 1;
}

bool
pipeline_key_set_has(const KeySet *set, int64 key)
{
	return set->n > 0 &&
		bsearch(&key, set->keys, set->n, sizeof(int64), compare_keys) != NULL;
}

/* Is one set part of the other? */
bool
pipeline_key_set_subset(const KeySet *part, const KeySet *whole)
{
	for (int i = 0; i < part->n; i++)
	{
		if (!pipeline_key_set_has(whole, part->keys[i]))
			return false;
	}
	return true;
}

/* What two sets have in common. */
KeySet
pipeline_key_set_common(const KeySet *a, const KeySet *b)
{
	KeySet		set = {0};

	for (int i = 0; i < a->n; i++)
	{
		if (pipeline_key_set_has(b, a->keys[i]))
			pipeline_key_set_add(&set, a->keys[i]);
	}
	return set;
}

/* A set as bigint[]. */
SqlArg
pipeline_key_set_arg(const KeySet *set)
{
	Column		column = {INT8OID};

	for (int i = 0; i < set->n; i++)
		column_add(&column, Int64GetDatum(set->keys[i]), false);
	return column_arg(&column);
}

/* A set from a bigint[] of the last result. */
KeySet
pipeline_key_set_read(uint64 row, int column)
{
	bool		isnull;
	ArrayType  *array = DatumGetArrayTypePCopy(pipeline_sql_datum(row, column, &isnull));
	KeySet		set = {ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), (int64 *) ARR_DATA_PTR(array)};

	return set;
}
