/*
 * proof.c
 *	  Checks that constraints prove, so that no row need be looked at.
 *
 * Only what the server itself keeps true at every moment counts: a column that
 * is declared NOT NULL, a valid, immediate unique index of one whole column.
 * Tables with children by inheritance prove nothing, as an index does not reach
 * them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "expect/check.h"

/* Is there a unique index of just this column? */
static bool
has_unique_index(Relation rel, AttrNumber attnum)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	bool		found = false;

	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		found = found || (index->indisunique && index->indisvalid && index->indisready &&
						  index->indimmediate && index->indnkeyatts == 1 &&
						  index->indkey.values[0] == attnum &&
						  heap_attisnull(tuple, Anum_pg_index_indpred, NULL));
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

/* Is the check's column in a state that only a broken server could break? */
static bool
is_kept_true(Relation rel, const Check *check, AttrNumber attnum)
{
	if (check->type->kind == CHECK_NULL)
		return check->type->negate && attribute_is_not_null(RelationGetDescr(rel), attnum - 1);
	return check->type->sub == SUB_UNIQUE && has_unique_index(rel, attnum);
}

/*
 * Do the constraints of the target prove that no row fails the check?  Rows
 * that a condition leaves out make no difference, but are not counted either:
 * such a check is evaluated.
 */
bool
pipeline_is_proved(const ScanTarget *target, const Check *check)
{
	Relation	rel;
	AttrNumber	attnum;
	bool		proved = false;

	if (!OidIsValid(target->source->relid) || check->row_condition != NULL ||
		(check->type->kind != CHECK_NULL && check->type->sub != SUB_UNIQUE))
		return false;
	attnum = get_attnum(target->source->relid, pipeline_kwarg_text(check->kwargs, "column"));
	if (attnum <= 0)
		return false;
	rel = relation_open(target->source->relid, NoLock);
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
		(rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relhassubclass))
		proved = is_kept_true(rel, check, attnum);
	relation_close(rel, NoLock);
	return proved;
}
