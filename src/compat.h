/*
 * compat.h
 *	  The only file that tests PG_VERSION_NUM.
 *
 * The newest name wins: code is written for the newest server, and older ones
 * get the shim here.
 */
#ifndef PIPELINE_COMPAT_H
#define PIPELINE_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "common/base64.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/tuplesort.h"

#if PG_VERSION_NUM < 150000
#error "pipeline needs PostgreSQL 15 or newer"
#endif

/* 18: pg_noreturn stands before what does not return. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16: object_aclcheck() replaced the per-kind functions. */
#if PG_VERSION_NUM < 160000
static inline AclResult
object_aclcheck(Oid classid, Oid objectid, Oid roleid, AclMode mode)
{
	switch (classid)
	{
		case DatabaseRelationId:
			return pg_database_aclcheck(objectid, roleid, mode);
		case NamespaceRelationId:
			return pg_namespace_aclcheck(objectid, roleid, mode);
		case ProcedureRelationId:
			return pg_proc_aclcheck(objectid, roleid, mode);
		case TypeRelationId:
			return pg_type_aclcheck(objectid, roleid, mode);
	}
	elog(ERROR, "unsupported catalog %u", classid);
	return ACLCHECK_NO_PRIV;
}

static inline bool
object_ownercheck(Oid classid, Oid objectid, Oid roleid)
{
	switch (classid)
	{
		case DatabaseRelationId:
			return pg_database_ownercheck(objectid, roleid);
		case RelationRelationId:
			return pg_class_ownercheck(objectid, roleid);
		case NamespaceRelationId:
			return pg_namespace_ownercheck(objectid, roleid);
	}
	elog(ERROR, "unsupported catalog %u", classid);
	return false;
}
#endif

/* 16: membership that allows SET ROLE has a name of its own. */
#if PG_VERSION_NUM < 160000
#define member_can_set_role(member, role) is_member_of_role(member, role)
#endif

/* 17: a worker may be a role that may not log in. */
#if PG_VERSION_NUM < 170000
#define PIPELINE_WORKER_NEEDS_LOGIN 1
#define PIPELINE_WORKER_FLAGS 0
#else
#define PIPELINE_WORKER_NEEDS_LOGIN 0
#define PIPELINE_WORKER_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#endif

/* 17: wait events of extensions have names. */
#if PG_VERSION_NUM < 170000
#define WaitEventExtensionNew(name) ((uint32) PG_WAIT_EXTENSION)
#endif

/* 18: a portal runs once or not at all; nobody asks any more. */
#if PG_VERSION_NUM < 180000
#define PortalRunAll(portal, toplevel, dest, qc) \
	PortalRun(portal, FETCH_ALL, toplevel, true, dest, dest, qc)
#else
#define PortalRunAll(portal, toplevel, dest, qc) \
	PortalRun(portal, FETCH_ALL, toplevel, dest, dest, qc)
#endif

/* 18: nor does the executor. */
#if PG_VERSION_NUM < 180000
#define ExecutorRun(desc, direction, count) \
	ExecutorRun(desc, direction, count, true)
#endif

/* 19: EXPLAIN may look into the planner. */
#if PG_VERSION_NUM < 190000
#define pg_plan_query(query, string, options, params, es) \
	pg_plan_query(query, string, options, params)
#endif

/* 16: rights are checked on a list apart from the range table. */
#if PG_VERSION_NUM < 160000
#define CheckPlanPermissions(stmt) \
	ExecCheckRTPerms((stmt)->rtable, true)
#else
#define CheckPlanPermissions(stmt) \
	ExecCheckPermissions((stmt)->rtable, (stmt)->permInfos, true)
#endif

/* 18: a minimal tuple can have room before it. */
#if PG_VERSION_NUM < 180000
#define heap_form_minimal_tuple(desc, values, isnull, extra) \
	heap_form_minimal_tuple(desc, values, isnull)
#endif

/* 19: a tuple descriptor made by hand is finished by a call. */
#if PG_VERSION_NUM < 190000
#define TupleDescFinalize(desc) ((void) 0)
#endif

/* 19: log_min_messages has a value per kind of process. */
#if PG_VERSION_NUM < 190000
#define my_log_min_messages log_min_messages
#else
#define my_log_min_messages (log_min_messages[MyBackendType])
#endif

/* 16: an update can touch summarizing indexes only; before, it was a bool. */
#if PG_VERSION_NUM < 160000
typedef int TU_UpdateIndexes;
#define TU_None 0
#define TU_All 1
#define TU_Summarizing 2		/* never */
static inline void
pipeline_simple_table_tuple_update(Relation rel, ItemPointer otid,
								   TupleTableSlot *slot, Snapshot snapshot,
								   TU_UpdateIndexes *indexes)
{
	bool		all;

	simple_table_tuple_update(rel, otid, slot, snapshot, &all);
	*indexes = all ? TU_All : TU_None;
}
#define simple_table_tuple_update pipeline_simple_table_tuple_update
#endif

/* 19: ExecInsertIndexTuples() takes flags; 16 had one more argument. */
#if PG_VERSION_NUM < 190000
#define EIIT_IS_UPDATE (1 << 0)
#define EIIT_ONLY_SUMMARIZING (1 << 2)
#if PG_VERSION_NUM < 160000
#define ExecInsertIndexTuples(info, estate, flags, slot, arbiters, conflict) \
	ExecInsertIndexTuples(info, slot, estate, ((flags) & EIIT_IS_UPDATE) != 0, \
						  false, conflict, arbiters)
#else
#define ExecInsertIndexTuples(info, estate, flags, slot, arbiters, conflict) \
	ExecInsertIndexTuples(info, slot, estate, ((flags) & EIIT_IS_UPDATE) != 0, \
						  false, conflict, arbiters, \
						  ((flags) & EIIT_ONLY_SUMMARIZING) != 0)
#endif
#endif

/* 18: an index scan can be instrumented; 19: it takes flags. */
#if PG_VERSION_NUM < 180000
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys, flags) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#elif PG_VERSION_NUM < 190000
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys, flags) \
	index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys)
#endif

/* The same for table_tuple_update(); 19: it and scans take options. */
#if PG_VERSION_NUM < 160000
static inline TM_Result
pipeline_table_tuple_update(Relation rel, ItemPointer otid,
							TupleTableSlot *slot, CommandId cid,
							Snapshot snapshot, Snapshot crosscheck, bool wait,
							TM_FailureData *failure, LockTupleMode *lockmode,
							TU_UpdateIndexes *indexes)
{
	bool		all;
	TM_Result	result = table_tuple_update(rel, otid, slot, cid, snapshot,
											crosscheck, wait, failure, lockmode, &all);

	*indexes = all ? TU_All : TU_None;
	return result;
}
#define table_tuple_update(rel, otid, slot, cid, options, snapshot, crosscheck, wait, failure, lockmode, indexes) \
	pipeline_table_tuple_update(rel, otid, slot, cid, snapshot, crosscheck, wait, failure, lockmode, indexes)
#elif PG_VERSION_NUM < 190000
#define table_tuple_update(rel, otid, slot, cid, options, snapshot, crosscheck, wait, failure, lockmode, indexes) \
	table_tuple_update(rel, otid, slot, cid, snapshot, crosscheck, wait, failure, lockmode, indexes)
#endif
#if PG_VERSION_NUM < 190000
#define table_beginscan(rel, snapshot, nkeys, key, flags) \
	table_beginscan(rel, snapshot, nkeys, key)
#define table_beginscan_parallel(rel, scan, flags) \
	table_beginscan_parallel(rel, scan)
#endif

/* 18: NOT NULL can be declared and not yet be true. */
#if PG_VERSION_NUM < 180000
#define attribute_is_not_null(desc, i) (TupleDescAttr(desc, i)->attnotnull)
#else
#define attribute_is_not_null(desc, i) \
	(TupleDescCompactAttr(desc, i)->attnullability == ATTNULLABLE_VALID)
#endif

/* 16: a text that is no JSON need not raise. */
#if PG_VERSION_NUM < 160000
static inline bool
json_validate(text *json, bool check_unique_keys, bool throw_error)
{
	JsonLexContext *lex = makeJsonLexContextCstringLen(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json),
													   GetDatabaseEncoding(), false);

	return pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
}
#endif

/* 16: what is wrong with a date is told apart. */
#if PG_VERSION_NUM < 160000
typedef int DateTimeErrorExtra;
#define DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, extra) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz)
#endif

/* 16: a sort may hand out a value without copying it. */
#if PG_VERSION_NUM < 160000
#define tuplesort_getdatum(state, forward, copy, val, isnull, abbrev) \
	tuplesort_getdatum(state, forward, val, isnull, abbrev)
#endif

/* 18: what is pruned when the statement runs is told by a number. */
#if PG_VERSION_NUM >= 180000
#define append_prunes_late(append) ((append)->part_prune_index >= 0)
#else
#define append_prunes_late(append) ((append)->part_prune_info != NULL)
#endif

/* 18: keys over ranges of time. */
#define HAVE_WITHOUT_OVERLAPS (PG_VERSION_NUM >= 180000)

/* 19: the hook that may change what the planner knows of a relation. */
#if PG_VERSION_NUM < 190000
#define build_simple_rel_hook_type get_relation_info_hook_type
#define build_simple_rel_hook get_relation_info_hook
#define BUILD_SIMPLE_REL_PARAMETERS PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel
#define BUILD_SIMPLE_REL_ARGUMENTS root, relid, inhparent, rel
#else
#define BUILD_SIMPLE_REL_PARAMETERS PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte
#define BUILD_SIMPLE_REL_ARGUMENTS root, rel, rte
#endif

/* 16: the function got another name. */
#if PG_VERSION_NUM < 160000
#define pgstat_get_local_beentry_by_index(index) pgstat_fetch_stat_local_beentry(index)
#endif

/* 17: a set of wait events belongs to a resource owner, not to a context. */
#if PG_VERSION_NUM < 170000
#define CreateWaitEventSet(owner, n) CreateWaitEventSet(CurrentMemoryContext, n)
#endif

/* 18: base64 is of bytes, not of characters. */
#if PG_VERSION_NUM < 180000
#define pg_b64_encode(src, len, dst, dstlen) \
	pg_b64_encode((const char *) (src), len, dst, dstlen)
#define pg_b64_decode(src, len, dst, dstlen) \
	pg_b64_decode(src, len, (char *) (dst), dstlen)
#endif

/* 16: varatt.h left postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#endif							/* PIPELINE_COMPAT_H */
