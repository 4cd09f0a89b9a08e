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
 * merge.c leads them: entry points, rights, lock, guards.  result.c and
 * reject.c keep what happened.  dimension.c and table.c create, adopt and
 * drop; definition.c is the row in pipeline.dimensions.
 */
#ifndef PIPELINE_SCD_H
#define PIPELINE_SCD_H

#include "base/base.h"

#include "fmgr.h"
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
	META_COLUMNS
} MetaColumn;

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
	char	   *feed;
	char	   *hard_deletes;
	bool		unknown_member;
	bool		has_initial;
	TimestampTz initial_valid_from;
	char	   *on_new_column;
	bool		open_end_null;
	TimestampTz open_end;
	char	   *names[META_COLUMNS];
	double		max_delete_fraction;
	double		max_rejected_fraction;
	bool		exact;
	Jsonb	   *labels;			/* registered ones only */
	char	   *description;
} Dimension;

#define DIMENSION_IS_SNAPSHOT(d) (strcmp((d)->feed, "snapshot") == 0)
#define DIMENSION_INVALIDATES(d) (strcmp((d)->hard_deletes, "invalidate") == 0)

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
	char	   *value;			/* SQL: its value in the source, as assigned */
	bool		has_equality;	/* else the binary image decides */
	FmgrInfo	equality;
	char	   *operator;		/* SQL of that operator; keys only */
	bool		has_hash;
	FmgrInfo	hash;
} MergeColumn;

typedef struct MergePlan
{
	Dimension  *dimension;
	Source	   *source;
	char	   *alias;			/* of the source in the SQL */
	char	   *meta[META_COLUMNS]; /* quoted names */
	bool		has_leaves;		/* rows live in more than one relation */
	int			nkeys;			/* keys come first in columns */
	int			ncolumns;
	MergeColumn *columns;
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
	Tuplestorestate *reject_json;	/* (row, reason) */
	char	   *conflict;		/* DETAIL of two different rows for one key */
	char	   *stale;			/* DETAIL of a change not after stored history */
	uint64		content[2];		/* fingerprint of the batch */
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

/* The names under which SQL reads the deltas. */
#define OPEN_ROWS "pipeline_open"
#define OVERWRITE_ROWS "pipeline_overwrite"
#define CLOSE_ROWS "pipeline_close"
#define REJECT_ROWS "pipeline_reject"
#define REJECT_JSON "pipeline_reject_json"

#define CLASS_NEW 'n'
#define CLASS_VERSION 'v'
#define CLASS_OVERWRITE 't'
#define CLASS_UNCHANGED 'u'

/* close_reason of a closed version. */
#define CLOSED_VERSIONED "versioned"
#define CLOSED_MISSING "missing"

/* options.c */
extern Dimension *pipeline_scd_options(FunctionCallInfo fcinfo);
extern void pipeline_scd_fraction(const char *argument, double value);
extern void pipeline_scd_names(Dimension *dimension, const Jsonb *names);
extern Jsonb *pipeline_scd_names_jsonb(const Dimension *dimension);

/* definition.c */
extern Dimension *pipeline_scd_find(Oid relid, bool missing_ok);
extern void pipeline_scd_store(const Dimension *dimension, bool replace);
extern void pipeline_scd_forget(Oid relid, bool history);
extern Jsonb *pipeline_scd_jsonb(Oid relid);

/* table.c */
extern Oid	pipeline_scd_make_table(Dimension *dimension, Source *source,
									Oid schema, const char *name);
extern void pipeline_scd_resolve(Dimension *dimension, Source *source);
extern void pipeline_scd_check_table(Dimension *dimension);
extern void pipeline_scd_check_history(Dimension *dimension);
extern void pipeline_scd_unknown_member(Dimension *dimension);
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
extern char *pipeline_scd_classify_sql(const MergePlan *plan);
extern char *pipeline_scd_content_sql(const MergePlan *plan);

/* merge_classify.c */
extern void pipeline_scd_classify(MergePlan *plan, MergeDelta *delta,
								  MergeCounts *counts);
extern int64 pipeline_scd_content(MergePlan *plan, uint64 content[2]);
extern void pipeline_scd_stream(const char *sql, DestReceiver *receiver);
extern void pipeline_scd_receiver(DestReceiver *pub,
								  bool (*receive) (TupleTableSlot *, DestReceiver *));
extern void pipeline_scd_delta_register(const char *name, TupleDesc desc,
										Tuplestorestate *rows);

/* merge_delta.c */
extern void pipeline_scd_dedupe(MergePlan *plan, MergeDelta *delta,
								MergeCounts *counts);
extern void pipeline_scd_reopened(MergePlan *plan, MergeDelta *delta,
								  MergeCounts *counts);
extern void pipeline_scd_check_overwrites(MergePlan *plan, MergeDelta *delta);
extern void pipeline_scd_raise_problem(const MergePlan *plan,
									   const MergeDelta *delta);

/* merge_apply.c */
extern bool pipeline_scd_is_empty(const MergePlan *plan);
extern void pipeline_scd_apply(MergePlan *plan, MergeDelta *delta,
							   MergeCounts *counts, bool initial);

/* reject.c */
extern void pipeline_scd_rejects_to_json(const MergePlan *plan,
										 MergeDelta *delta);
extern void pipeline_scd_keep_rejects(const MergePlan *plan,
									  const MergeDelta *delta, Oid owner);

/* result.c */
extern int64 pipeline_scd_next_merge(void);
extern int64 pipeline_scd_last_merge(Oid relid, bool latest);
extern int64 pipeline_scd_seen_batch(Oid relid, const char *batch_id,
									 char **content, int64 *rows_read);
extern void pipeline_scd_record(const MergePlan *plan,
								const MergeCounts *counts, Oid owner,
								bool success, const char *content,
								TimestampTz started);
extern char *pipeline_scd_content_text(const uint64 content[2]);
extern Datum pipeline_scd_result(FunctionCallInfo fcinfo, bool success,
								 int64 merge_id, const MergeCounts *counts);

#endif							/* PIPELINE_SCD_H */
