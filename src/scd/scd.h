/*
 * scd.h
 *	  The door of the scd room, and what its files share.
 *
 * A merge goes through five phases, one file each:
 *
 *	options.c			arguments into a Dimension; what is not available is refused
 *	merge_plan.c		source x table into a MergePlan: columns, equality, SQL
 *	merge_classify.c	one pass over both sides into counts and three deltas
 *	merge_delta.c		duplicates, conflicts and reopened keys among the deltas
 *	merge_apply.c		close, overwrite, open
 *
 * Where times, orders or types ask for more than the current version, the
 * history of each key that the batch names is replayed instead: events.h.
 *
 * merge.c leads them: entry points, rights, lock, guards.  result.c and
 * reject.c keep what happened.  dimension.c and table.c create, adopt and
 * drop (columns.c, adopt.c); definition.c is the row in pipeline.dimensions.
 */
#ifndef PIPELINE_SCD_H
#define PIPELINE_SCD_H

#include "base/base.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/primnodes.h"
#include "portability/instr_time.h"
#include "tcop/dest.h"
#include "utils/tuplestore.h"

/* The columns that we write, by their place in Dimension.names. */
typedef enum MetaColumn
{
	META_SURROGATE_KEY,
	META_VALID_FROM,
	META_VALID_TO,
	META_IS_CURRENT,
	META_CLOSE_REASON,
	META_MERGE_ID,
	META_IS_DELETED,			/* only with hard_deletes => 'new_record' */
	META_SCD_ID,				/* dbt's; only where "names" gives them a name */
	META_UPDATED_AT,
	META_COLUMNS
} MetaColumn;

/* Columns of the table of events, beside the key and the attributes. */
#define EVENTS_AT "pipeline_at"
#define EVENTS_SEQUENCE "pipeline_sequence"
#define EVENTS_DELETE "pipeline_delete"
#define EVENTS_MERGE "pipeline_merge"

/* Before these columns stand the names of type 3 and type 6 columns. */
#define PREVIOUS_PREFIX "previous_"
#define CURRENT_PREFIX "current_"

extern const char *const pipeline_meta_names[META_COLUMNS + 1];

/* The surrogate key of the unknown member. */
#define UNKNOWN_MEMBER (-1)

/* A definition: a row of pipeline.dimensions, or the arguments of one call. */
typedef struct Dimension
{
	Oid			relid;
	char	   *name;			/* qualified and quoted, for messages and SQL */
	Oid			owner;
	char	   *search_path;
	char	   *source;
	List	   *business_key;
	List	   *type2;			/* NIL and type2_rest: all other columns */
	bool		type2_rest;
	List	   *type1;
	List	   *type0;
	List	   *type3;
	List	   *type6;
	List	   *added;			/* columns that this merge added to the table */
	char	   *feed;
	char	   *hard_deletes;
	char	   *effective_at;	/* columns of the source, or NULL */
	char	   *operation;		/* that, or JSON; see options.c */
	char	   *operation_column;
	List	   *operation_deletes;	/* mapped values, or NIL */
	List	   *operation_upserts;
	char	   *sequence_by;
	char	   *on_tie;
	List	   *scope;
	bool		current_index;
	bool		temporal_key;
	Oid			events;			/* table of events beside a cdc dimension */
	bool		unknown_member;
	bool		has_initial;
	TimestampTz initial_valid_from;
	char	   *on_new_column;
	bool		open_end_null;
	TimestampTz open_end;
	char	   *names[META_COLUMNS];	/* NULL: there is no such column */
	double		max_delete_fraction;
	double		max_rejected_fraction;
	bool		exact;
	Jsonb	   *labels;			/* registered ones only */
	char	   *description;
} Dimension;

#define DIMENSION_IS_SNAPSHOT(d) \
	(strcmp((d)->feed, "snapshot") == 0 || DIMENSION_IS_SCOPED(d))
#define DIMENSION_IS_SCOPED(d) (strcmp((d)->feed, "scoped_snapshot") == 0)
#define DIMENSION_IS_CDC(d) (strcmp((d)->feed, "cdc") == 0)
#define DIMENSION_INVALIDATES(d) (strcmp((d)->hard_deletes, "ignore") != 0)
#define DIMENSION_NEW_RECORD(d) (strcmp((d)->hard_deletes, "new_record") == 0)
#define DIMENSION_KEEPS_TIES(d) (strcmp((d)->on_tie, "keep") == 0)

/* One business key or attribute column. */
typedef struct MergeColumn
{
	char	   *name;			/* the same in source and table */
	Oid			type;			/* type, typmod and collation of the table's */
	int32		typmod;
	Oid			collation;
	int16		len;
	bool		byval;
	bool		is_key;
	bool		is_type1;
	char		role;			/* ROLE_ */
	char	   *companion;		/* previous_ or current_ column, or NULL */
	char	   *value;			/* SQL: its value in the source, as assigned */
	bool		has_equality;	/* else the binary image decides */
	FmgrInfo	equality;
	char	   *operator;		/* SQL of that operator */
	bool		image_equality; /* it is that of the binary image; keys only */
	bool		plain;			/* `value` is the column, nothing done to it */
	bool		has_hash;
	FmgrInfo	hash;
} MergeColumn;

/* What a column does when it changes. */
#define ROLE_KEY 'k'
#define ROLE_TYPE0 '0'			/* keeps its first value */
#define ROLE_TYPE1 '1'			/* is overwritten */
#define ROLE_TYPE2 '2'			/* makes a version */
#define ROLE_TYPE3 '3'			/* is overwritten, and the value before it kept */
#define ROLE_TYPE6 '6'			/* makes a version; all versions know the last value */

/* What an event tells beside key and attributes. */
enum
{
	EVENT_AT,
	EVENT_SEQUENCE,
	EVENT_OPERATION,
	EVENT_COLUMNS
};

typedef struct MergePlan
{
	Dimension  *dimension;
	Source	   *source;
	char	   *alias;			/* of the source in the SQL */
	char	   *meta[META_COLUMNS]; /* quoted names, or NULL */
	Oid			meta_type[META_COLUMNS];
	bool		has_leaves;		/* rows live in more than one relation */
	int			nkeys;			/* keys come first in columns */
	int			ncolumns;
	MergeColumn *columns;
	MergeColumn *event[EVENT_COLUMNS];	/* of the source, or NULL */
	const char *path;			/* which engine, for pipeline.merges */
	bool		replace;		/* this batch wins over what is stored */
	bool		rebuild;		/* it is all there is */
	TimestampTz effective;
	int64		merge_id;
	const char *batch_id;
	double		max_delete_fraction;
} MergePlan;

typedef struct MergeCounts
{
	int64		rows_read;
	int64		inserted;
	int64		versioned;
	int64		updated_type1;
	int64		reopened;
	int64		late;
	int64		deleted;
	int64		unchanged;
	int64		duplicate;
	int64		rejected;
	int64		closed;
	int64		missing;
	int64		hot_updates;
	double		read_ms;
	double		write_ms;
	double		total_ms;
} MergeCounts;

/*
 * What a pass leaves behind.  `open` and `overwrite` hold rows of the layout
 * below; `close` holds (relation, tuple, reason); `reject` the source columns
 * by their names.
 */
typedef struct MergeDelta
{
	Tuplestorestate *open;		/* versions to open: new keys and changed ones */
	Tuplestorestate *overwrite; /* type 1 changes */
	Tuplestorestate *close;		/* versions to close */
	Tuplestorestate *reject;
	TupleDesc	row_desc;
	TupleDesc	close_desc;
	TupleDesc	reject_desc;
	int64		new_rows;		/* rows of `open` whose key has no current version */
	int64		live_keys;		/* current keys, the unknown member aside */
	bool		repeats;		/* one current version was changed twice */
	bool		new_unique;		/* new keys are known not to repeat */
	bool		new_unseen;		/* new keys are known to have no versions */
	Tuplestorestate *reject_json;	/* (row, reason) */
	char	   *conflict;		/* DETAIL of two different rows for one key */
	char	   *stale;			/* DETAIL of a change not after stored history */
	uint64		content[2];		/* fingerprint of the batch */
	struct Replay *replay;		/* events.c's own */
} MergeDelta;

/* What the classifying query returns beside the columns of either side. */
#define CLASSIFY_COLUMNS 5

/* Layout of the rows of a delta; the columns follow, named c1, c2, ... */
#define DELTA_SEQ 0				/* int8: number of the source row */
#define DELTA_CLASS 1			/* "char": CLASS_ */
#define DELTA_REL 2				/* oid and tid of the current version */
#define DELTA_TID 3
#define DELTA_MERGE 4			/* int8: the merge that last wrote that version */
#define DELTA_COLUMNS 5

struct Replay;					/* events.h */

/* The names under which SQL reads the deltas. */
#define OPEN_ROWS "pipeline_open"
#define OVERWRITE_ROWS "pipeline_overwrite"
#define CLOSE_ROWS "pipeline_close"
#define REJECT_ROWS "pipeline_reject"
#define REJECT_JSON "pipeline_reject_json"
#define REJECT_REASON "pipeline reason"

#define CLASS_NEW 'n'
#define CLASS_VERSION 'v'
#define CLASS_OVERWRITE 't'
#define CLASS_UNCHANGED 'u'

/* close_reason of a closed version. */
#define CLOSED_VERSIONED "versioned"
#define CLOSED_MISSING "missing"
#define CLOSED_DELETED "deleted"

/* A foreign key of a fact, found by looking a member up. */
typedef struct Lookup
{
	char	   *column;			/* of the fact */
	Dimension  *dimension;
	List	   *keys;			/* of the dimension */
	List	   *columns;		/* of the source, for each of them */
	char	   *at;				/* column of the source; NULL: the current version */
	char	   *on_missing;
	char	   *before_first;
} Lookup;

#define LOOKUP_INFERS(l) (strcmp((l)->on_missing, "inferred") == 0)
#define LOOKUP_REJECTS(l) (strcmp((l)->on_missing, "reject") == 0)
#define LOOKUP_FIRST(l) (strcmp((l)->before_first, "first_version") == 0)

/* A definition: a row of pipeline.facts. */
typedef struct Fact
{
	Oid			relid;
	char	   *name;
	Oid			owner;
	char	   *search_path;
	char	   *source;
	Jsonb	   *lookups_json;
	List	   *lookups;		/* of Lookup */
	List	   *fact_key;
	char	   *mode;
	char	   *event_time;
	Jsonb	   *labels;
	char	   *description;
} Fact;

/* The column of a fact that says which load wrote the row. */
#define FACT_LOAD "load_id"

/* options.c */
extern Dimension *pipeline_scd_options(FunctionCallInfo fcinfo);
extern void pipeline_scd_operation(Dimension *dimension, char *text);
extern void pipeline_scd_fraction(const char *argument, double value);
extern void pipeline_scd_names(Dimension *dimension, const Jsonb *names);
extern Jsonb *pipeline_scd_names_jsonb(const Dimension *dimension);

/* definition.c */
extern Dimension *pipeline_scd_find(Oid relid, bool missing_ok);
extern void pipeline_scd_store(const Dimension *dimension, bool replace);
extern void pipeline_scd_store_type2(const Dimension *dimension);
extern void pipeline_scd_forget(Oid relid, bool history);
extern Jsonb *pipeline_scd_jsonb(Oid relid);

/* columns.c */
extern void pipeline_scd_resolve(Dimension *dimension, Source *source);
extern bool pipeline_scd_listed(const Dimension *dimension, const char *name);

/* dimension.c */
extern void pipeline_scd_check_owns(const RangeVar *rv, Oid relid,
									Oid old_relid, void *arg);

/* table.c */
extern char *pipeline_scd_companion(const char *prefix, const char *name);
extern void pipeline_scd_add_columns(Dimension *dimension, Source *source);
extern void pipeline_scd_make_events(Dimension *dimension, Source *source);
extern void pipeline_scd_extra_indexes(const Dimension *dimension);
extern Oid	pipeline_scd_make_table(Dimension *dimension, Source *source,
									Oid schema, const char *name);
extern void pipeline_scd_unknown_member(Dimension *dimension);

/* adopt.c */
extern void pipeline_scd_check_table(Dimension *dimension);
extern void pipeline_scd_check_history(Dimension *dimension);
extern char *pipeline_scd_type_name(Oid type, int32 typmod);
extern char *pipeline_scd_collation_name(Oid collation);

/* compare.c */
extern void pipeline_scd_column_init(MergeColumn *column);
extern bool pipeline_scd_equal(MergeColumn *column, Datum a, bool anull,
							   Datum b, bool bnull);
extern uint64 pipeline_scd_hash(MergeColumn *column, Datum value, uint64 seed);
extern char *pipeline_scd_key_text(const MergePlan *plan, const Datum *values,
								   const bool *nulls);

/* merge_plan.c */
extern MergePlan *pipeline_scd_plan(Dimension *dimension, Source *source);
extern const char *pipeline_scd_events_reason(const Dimension *dimension);
extern char *pipeline_scd_live_condition(const MergePlan *plan, const char *alias);
extern char *pipeline_scd_meta_time(const MergePlan *plan, MetaColumn meta,
									const char *alias);
extern TimestampTz pipeline_scd_granular(const MergePlan *plan, TimestampTz at);
extern char *pipeline_scd_bool(const MergePlan *plan, MetaColumn meta, const char *value);
extern char *pipeline_scd_classify_sql(const MergePlan *plan);
extern char *pipeline_scd_content_sql(const MergePlan *plan);

/* merge_classify.c */
extern void pipeline_scd_classify(MergePlan *plan, MergeDelta *delta,
								  MergeCounts *counts);
extern void pipeline_scd_add_content(MergePlan *plan, const Datum *values,
									 const bool *nulls, uint64 content[2]);
extern int64 pipeline_scd_content(MergePlan *plan, uint64 content[2]);
extern void pipeline_scd_stream(const char *sql, DestReceiver *receiver);
extern void pipeline_scd_receiver(DestReceiver *pub,
								  bool (*receive) (TupleTableSlot *, DestReceiver *));
extern void pipeline_scd_delta_register(const char *name, TupleDesc desc,
										Tuplestorestate *rows);

/* fingerprint.c */
extern bool pipeline_scd_image_equality(const MergeColumn *column);

/* merge_direct.c */
extern const char *pipeline_scd_read_obstacle(const MergePlan *plan);
extern const char *pipeline_scd_source_obstacle(const MergePlan *plan);
extern void pipeline_scd_classify_direct(MergePlan *plan, MergeDelta *delta,
										 MergeCounts *counts);

/* merge_write.c */
extern const char *pipeline_scd_write_obstacle(const MergePlan *plan, bool replays);
extern void pipeline_scd_write_direct(MergePlan *plan, MergeDelta *delta,
									  MergeCounts *counts, bool initial);

/* merge_delta.c */
extern void pipeline_scd_dedupe(MergePlan *plan, MergeDelta *delta,
								MergeCounts *counts);
extern void pipeline_scd_reopened(MergePlan *plan, MergeDelta *delta,
								  MergeCounts *counts);
extern void pipeline_scd_check_overwrites(MergePlan *plan, MergeDelta *delta);
extern void pipeline_scd_raise_problem(const MergePlan *plan,
									   const MergeDelta *delta);

/* merge_apply.c */
extern int64 pipeline_scd_hot_updates(const MergePlan *plan);
extern char *pipeline_scd_scd_id(const MergePlan *plan, const char *alias,
								 const char *at);
extern void pipeline_scd_write(const MergePlan *plan, const char *sql,
							   int expected_code, int64 expected_rows,
							   TimestampTz from, bool has_to, TimestampTz to);
extern void pipeline_scd_append_insert(StringInfo names, StringInfo values,
									   const char *name, const char *value);
extern bool pipeline_scd_is_empty(const MergePlan *plan);
extern void pipeline_scd_apply(MergePlan *plan, MergeDelta *delta,
							   MergeCounts *counts, bool initial);

/* events.c */
extern void pipeline_scd_merge_events(MergePlan *plan, MergeDelta *delta,
									  MergeCounts *counts);
extern void pipeline_scd_end_events(struct Replay *replay);
extern void pipeline_scd_apply_events(MergePlan *plan, MergeDelta *delta,
									  MergeCounts *counts);

/* reject.c */
extern void pipeline_scd_reject_init(const MergePlan *plan, MergeDelta *delta);
extern void pipeline_scd_reject(const MergePlan *plan, MergeDelta *delta,
								const Datum *values, const bool *nulls,
								const char *reason);
extern const char *pipeline_scd_null_key(const MergePlan *plan, const bool *nulls);
extern void pipeline_scd_rejects_to_json(const MergePlan *plan,
										 MergeDelta *delta);
extern void pipeline_scd_keep_reject_rows(int64 merge_id, Oid relid, Oid owner,
										  Tuplestorestate *rows);
extern void pipeline_scd_keep_rejects(const MergePlan *plan,
									  const MergeDelta *delta, Oid owner);

/* fact.c */
extern Fact *pipeline_scd_find_fact(Oid relid, bool missing_ok);
extern Jsonb *pipeline_scd_fact_jsonb(Oid relid);
extern List *pipeline_scd_lookups(const Jsonb *lookups);
extern void pipeline_scd_check_lookups(Fact *fact, const Source *source);

/* fact_lookup.c */
extern char *pipeline_scd_lookup_joins(const List *lookups, char *(*column) (void *, const char *), void *arg);
extern char *pipeline_scd_lookup_key(const Lookup *lookup, const char *alias, char *(*column) (void *, const char *), void *arg);
extern char *pipeline_scd_lookup_value(const Lookup *lookup, int n);

/* inferred.c */
extern void pipeline_scd_infer(const Lookup *lookup, int n, const char *rows,
							   char *(*column) (void *, const char *), void *arg,
							   int64 load_id, int64 *inferred);
extern void pipeline_scd_fill_inferred(const MergePlan *plan);

/* result.c */
extern double pipeline_scd_elapsed_ms(instr_time since);
extern int64 pipeline_scd_next_merge(void);
extern int64 pipeline_scd_last_merge(Oid relid, bool latest);
extern void pipeline_scd_check_snapshot(Oid relid, const char *kind, const char *name);
extern int64 pipeline_scd_seen_batch(Oid relid, const char *batch_id,
									 char **content, int64 *rows_read,
									 TimestampTz *effective);
extern void pipeline_scd_forget_batch(Oid relid, const char *batch_id);
extern void pipeline_scd_record(const MergePlan *plan,
								const MergeCounts *counts, Oid owner,
								bool success, const char *content,
								TimestampTz started);
extern char *pipeline_scd_content_text(const uint64 content[2]);
extern Datum pipeline_scd_result(FunctionCallInfo fcinfo, bool success,
								 int64 merge_id, const MergeCounts *counts);

#endif							/* PIPELINE_SCD_H */
