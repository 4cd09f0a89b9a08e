/*
 * compare.c
 *	  When are two values of a column the same?
 *
 * By the default equality of the type, NULL-safe, under the collation of the
 * dimension's column.  Where the type has none (json, point, arrays of them)
 * the binary image decides.  Equal images are equal values, which spares most
 * calls of the operator.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_operator.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "scd/scd.h"

/* SQL of an operator, whatever the search_path. */
static char *
operator_sql(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *sql;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	sql = psprintf("OPERATOR(%s.%s)",
				   quote_identifier(get_namespace_name(form->oprnamespace)),
				   NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return sql;
}

/*
 * Find how values of a column are compared and hashed.  A key must be able
 * to be joined and indexed, or 42883 is raised.
 */
void
pipeline_scd_column_init(MergeColumn *column)
{
	TypeCacheEntry *type = lookup_type_cache(column->type,
											 TYPECACHE_EQ_OPR |
											 TYPECACHE_EQ_OPR_FINFO |
											 TYPECACHE_LT_OPR |
											 TYPECACHE_HASH_EXTENDED_PROC_FINFO);

	column->len = type->typlen;
	column->byval = type->typbyval;
	column->has_equality = OidIsValid(type->eq_opr) &&
		OidIsValid(type->eq_opr_finfo.fn_oid);
	if (column->has_equality)
		fmgr_info_copy(&column->equality, &type->eq_opr_finfo, CurrentMemoryContext);
	column->has_hash = OidIsValid(type->hash_extended_proc_finfo.fn_oid);
	if (column->has_hash)
		fmgr_info_copy(&column->hash, &type->hash_extended_proc_finfo, CurrentMemoryContext);
	if (column->has_equality)
		column->operator = operator_sql(type->eq_opr);
	if (!column->is_key)
		return;
	if (!column->has_equality || !OidIsValid(type->lt_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" cannot be a business key or a sequence", column->name),
				 errdetail("Its type, %s, has no default equality and order.",
						   format_type_be(column->type)),
				 errhint("Cast it in the source, for example to text.")));
}

/* Are two values of the column the same? */
bool
pipeline_scd_equal(MergeColumn *column, Datum a, bool anull,
				   Datum b, bool bnull)
{
	if (anull || bnull)
		return anull && bnull;
	if (datum_image_eq(a, b, column->byval, column->len))
		return true;
	return column->has_equality &&
		DatumGetBool(FunctionCall2Coll(&column->equality, column->collation, a, b));
}

/* Hash a value so that equal values hash alike. */
uint64
pipeline_scd_hash(MergeColumn *column, Datum value, uint64 seed)
{
	if (column->has_hash)
		return DatumGetUInt64(FunctionCall2Coll(&column->hash, column->collation,
												value, UInt64GetDatum(seed)));
	if (column->byval)
		return DatumGetUInt64(hash_any_extended((unsigned char *) &value,
												sizeof(value), seed));
	if (column->len == -1)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		return DatumGetUInt64(hash_any_extended((unsigned char *) VARDATA_ANY(v),
												VARSIZE_ANY_EXHDR(v), seed));
	}
	return DatumGetUInt64(hash_any_extended((unsigned char *) DatumGetPointer(value),
											datumGetSize(value, false, column->len),
											seed));
}

/* "(a, b)=(1, x)": the key of a row, for a DETAIL. */
char *
pipeline_scd_key_text(const MergePlan *plan, const Datum *values,
					  const bool *nulls)
{
	StringInfoData names;
	StringInfoData text;

	initStringInfo(&names);
	initStringInfo(&text);
	for (int i = 0; i < plan->nkeys; i++)
	{
		Oid			output;
		bool		is_varlena;

		getTypeOutputInfo(plan->columns[i].type, &output, &is_varlena);
		appendStringInfo(&names, "%s%s", i ? ", " : "", plan->columns[i].name);
		appendStringInfo(&text, "%s%s", i ? ", " : "",
						 nulls[i] ? "null" : OidOutputFunctionCall(output, values[i]));
	}
	return psprintf("(%s)=(%s)", names.data, text.data);
}
