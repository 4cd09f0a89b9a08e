/*
 * events.h
 *	  What the files of the replay of events share.
 *
 * The history of a key is a function of its events: times, order, values,
 * deletes.  A merge of events reads, for each key that the batch names, the
 * versions and the events that the versions do not tell (kept in a table
 * beside the dimension), makes the events of them all, replays them in order,
 * and writes what differs from the versions that are there.  So the order in
 * which events arrive cannot matter.
 *
 *	events.c			both sides, ordered by key, and the whole of it
 *	events_batch.c		the batch, row by row
 *	events_resolve.c	order, duplicates, ties, late rows of one key
 *	events_replay.c		events of one key into versions
 *	events_diff.c		what must be written, and what is counted
 *	events_apply.c		write it, by SQL
 *	events_write.c		or past the executor
 *
 * Which events a version tells: the upsert that opened it, if the version
 * still holds exactly its values; the delete that closed it, if a gap
 * follows.  All others are kept: repeats, values overwritten later, deletes of
 * what was not there, and every event that has a sequence.
 */
#ifndef PIPELINE_SCD_EVENTS_H
#define PIPELINE_SCD_EVENTS_H

#include "scd/scd.h"

#include "storage/itemptr.h"

/* What an event did. */
typedef enum EventAction
{
	ACTION_NONE,
	ACTION_INSERT,
	ACTION_REOPEN,
	ACTION_VERSION,
	ACTION_OVERWRITE,
	ACTION_DELETE
} EventAction;

/* Where an event comes from, in the order in which equals win. */
typedef enum EventOrigin
{
	ORIGIN_VERSION,				/* told by a version */
	ORIGIN_KEPT,				/* a row of the events table */
	ORIGIN_BATCH,
	ORIGIN_MISSING				/* a key that a snapshot lacks */
} EventOrigin;

typedef struct Version Version;

typedef struct Event
{
	EventOrigin origin;
	int64		n;				/* number of the source row */
	TimestampTz at;
	Datum		sequence;
	bool		no_sequence;
	bool		is_delete;
	const char *reason;			/* of a delete */
	Datum	   *values;			/* of all columns, the key too */
	bool	   *nulls;
	ItemPointerData tid;		/* ORIGIN_KEPT: its row */
	Version    *told_by;		/* ORIGIN_VERSION: its version */
	EventAction action;
	Version    *opened;			/* the wanted version that it opened */
	bool		dropped;		/* duplicate, superseded, or of no account */
	bool		keep;			/* to be in the events table */
} Event;

struct Version
{
	TimestampTz from;
	TimestampTz to;
	bool		open;
	bool		is_deleted;
	const char *reason;			/* why it is closed */
	TimestampTz updated_at;		/* of the last event in it */
	Datum	   *values;
	bool	   *nulls;
	Datum	   *companions;		/* by column: previous or current value */
	bool	   *no_companion;
	/* Of those that are stored. */
	Oid			rel;
	ItemPointerData tid;
	bool		matched;
};

typedef struct Replay
{
	MergePlan  *plan;
	MergeDelta *delta;
	MergeCounts *counts;
	MemoryContext result_context;
	MemoryContext key_context;	/* reset for each key */
	bool		initial;		/* the table was empty */
	bool		snapshot;
	bool		keeps_events;	/* a cdc dimension */
	bool		by_time;		/* rows have times of their own */
	FmgrInfo	sequence_compare;
	Oid			sequence_collation;
	/* The key at hand. */
	bool		has_key;
	List	   *stored;			/* of Version, by time */
	List	   *kept;			/* of Event */
	List	   *batch;			/* of Event */
	Event	  **events;			/* all of them, in order */
	int			nevents;
	TimestampTz last_stored;	/* time of the last stored event */
	bool		has_stored;
	Version    *alive;			/* the stored current version, or NULL */
	List	   *versions;		/* as they should be */
	/* What is to be written. */
	Tuplestorestate *batch_rows;
	Tuplestorestate *missing_rows;
	Tuplestorestate *changed;
	Tuplestorestate *opened;
	Tuplestorestate *gone;
	Tuplestorestate *remember;
	TupleDesc	batch_desc;
	TupleDesc	version_desc;
	TupleDesc	gone_desc;
	TupleDesc	event_desc;
	int64		shrinking;		/* of `changed` */
	int64		gone_versions;
	int64		gone_events;
	/* The batch as it is read. */
	int64		row;
} Replay;

typedef struct ReplayReceiver
{
	DestReceiver pub;
	Replay	   *r;
	MemoryContext row_context;
} ReplayReceiver;

/* The names under which SQL reads them. */
#define BATCH_ROWS "pipeline_batch"
#define MISSING_ROWS "pipeline_missing"
#define CHANGED_ROWS "pipeline_changed"
#define OPENED_ROWS "pipeline_opened"
#define GONE_ROWS "pipeline_gone"
#define REMEMBER_ROWS "pipeline_remember"

/* Layout of batch and missing rows; columns c1, c2, ... follow. */
enum
{
	BATCH_N,
	BATCH_AT,
	BATCH_SEQUENCE,
	BATCH_DELETE,
	BATCH_FIRST
};

/* Layout of version rows; columns c1, ... and companions p1, ... follow. */
enum
{
	VERSION_REL,
	VERSION_TID,
	VERSION_FROM,
	VERSION_TO,
	VERSION_OPEN,
	VERSION_DELETED,
	VERSION_REASON,
	VERSION_UPDATED,
	VERSION_SHRINKS,
	VERSION_FIRST
};

/* Layout of remembered events; columns c1, ... follow. */
enum
{
	EVENT_ROW_AT,
	EVENT_ROW_SEQUENCE,
	EVENT_ROW_DELETE,
	EVENT_ROW_FIRST
};

/* events_rows.c */
extern void pipeline_scd_event_descs(Replay *r);

/* events_batch.c */
extern void pipeline_scd_read_batch(Replay *r);

/* events.c: for events_missing.c. */
extern void pipeline_scd_append_known(StringInfo sql, const MergePlan *plan);
extern void pipeline_scd_append_key_join(StringInfo sql, const MergePlan *plan,
										 const char *table, const char *rows);
extern void pipeline_scd_stream_both(const Replay *r, int64 named, const char *sql,
									 DestReceiver *receiver);

/* events_missing.c */
extern void pipeline_scd_find_missing(Replay *r);

/* events_resolve.c */
extern void pipeline_scd_resolve_events(Replay *r);

/* events_replay.c */
extern void pipeline_scd_replay(Replay *r);

/* events_diff.c */
extern void pipeline_scd_diff(Replay *r);
extern void pipeline_scd_count_events(Replay *r);

/* events_write.c */
extern void pipeline_scd_write_events(Replay *r);

/* The values of two rows that count: all columns but the key. */
extern bool pipeline_scd_same_values(Replay *r, const Datum *a, const bool *anull,
									 const Datum *b, const bool *bnull);

#endif							/* PIPELINE_SCD_EVENTS_H */
