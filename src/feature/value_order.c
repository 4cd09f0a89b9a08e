/*
 * value_order.c
 *	  The order of an input's values, for aggregates that need one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/typcache.h"

#include "feature/feature.h"

/* Does the order of the Datums, as signed integers, order the values? */
bool
input_orders_as_integer(const Input *input)
{
	switch (input->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* Datums of signed integers are sign-extended. */
			return input->typbyval && sizeof(Datum) == sizeof(int64);
	}
	return false;
}

/* Make the order of an input's values, in the current context. */
ValueOrder *
value_order_create(const Input *input)
{
	ValueOrder *order = palloc0(sizeof(ValueOrder));

	order->integer = input_orders_as_integer(input);
	order->collation = input->collation;
	fmgr_info(lookup_type_cache(input->type, TYPECACHE_CMP_PROC)->cmp_proc,
			  &order->compare);
	return order;
}

/* Compare two values: negative, 0 or positive. */
int
value_order_compare(ValueOrder *order, Datum a, Datum b)
{
	if (order->integer)
		return (int64) a < (int64) b ? -1 : (int64) a > (int64) b;
	return DatumGetInt32(FunctionCall2Coll(&order->compare, order->collation,
										   a, b));
}
