/*
 * base.h
 *	  The door of the ground floor: rights, checked SPI, names and options,
 *	  sources, the change log, direct access to tables, the context of the running task.
 *
 * base calls no room.  Errors raised here carry SQLSTATE, DETAIL and HINT.
 */
#ifndef PIPELINE_BASE_H
#define PIPELINE_BASE_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"

/* ---- rights.c: who acts, and who may ------------------------------------ */

/* What a change of user must restore; an error restores it by itself. */
typedef struct UserScope
{
	Oid			userid;
	int			sec_context;
	int			guc_level;
} UserScope;

extern void pipeline_extension_begin(UserScope *scope);
extern void pipeline_user_begin(UserScope *scope, Oid userid,
								const char *search_path);
extern void pipeline_scope_end(UserScope *scope);
extern Oid	pipeline_extension_owner(bool missing_ok);
extern bool pipeline_is_owner(Oid roleid, Oid owner);
extern void pipeline_check_owner(Oid owner, const char *kind,
								 const char *name);
extern void pipeline_check_author(Oid owner, const char *kind,
								  const char *name, const char *argument);
extern bool pipeline_is_admin(Oid roleid);
extern char *pipeline_search_path(void);

/* ---- session.c: workers that are a user ----------------------------------- */

extern char *pipeline_role_problem(Oid role, const char *what);
extern void pipeline_reset_session(void);

/* ---- subtransaction.c: work that may be taken back ------------------------ */

extern ErrorData *pipeline_try(bool (*work) (void *arg), void *arg);
extern void pipeline_subtransaction(bool (*work) (void *arg), void *arg);

/* ---- spi.c: constant SQL, checked ---------------------------------------- */

typedef struct SqlArg
{
	Oid			type;
	Datum		value;
	bool		isnull;
} SqlArg;

extern SqlArg sql_text(const char *value);	/* NULL pointer is NULL */
extern SqlArg sql_jsonb(const Jsonb *value);	/* NULL pointer is NULL */
extern SqlArg sql_array(const ArrayType *value);	/* text[]; NULL is NULL */
extern SqlArg sql_bool(bool value);
extern SqlArg sql_int4(int32 value);
extern SqlArg sql_int8(int64 value);
extern SqlArg sql_float8(double value);
extern SqlArg sql_role(Oid role);	/* regrole; InvalidOid is NULL */
extern SqlArg sql_regclass(Oid relid);	/* InvalidOid is NULL */
extern SqlArg sql_time(TimestampTz value);
extern SqlArg sql_interval(const Interval *value);	/* NULL is NULL */
extern SqlArg sql_datum(Oid type, Datum value, bool isnull);

extern uint64 pipeline_sql_run(const char *sql, int expected, bool read_only,
							   int nargs, const SqlArg *args);
extern uint64 pipeline_sql_generated(const char *sql, int expected,
									 bool read_only);

/*
 * Run one constant statement through a saved plan.  `sql` must be a string
 * literal: its address is the key of the plan.
 */
#define pipeline_sql(sql, expected, ...) \
	pipeline_sql_run("" sql, expected, false, \
					 (int) (sizeof((SqlArg[]) {__VA_ARGS__}) / sizeof(SqlArg)), \
					 (const SqlArg[]) {__VA_ARGS__})
/* The same for STABLE functions: no new snapshot, own changes not seen. */
#define pipeline_sql_read(sql, ...) \
	pipeline_sql_run("" sql, SPI_OK_SELECT, true, \
					 (int) (sizeof((SqlArg[]) {__VA_ARGS__}) / sizeof(SqlArg)), \
					 (const SqlArg[]) {__VA_ARGS__})

extern Datum pipeline_sql_datum(uint64 row, int column, bool *isnull);
extern char *pipeline_sql_text(uint64 row, int column);
extern int64 pipeline_sql_int8(uint64 row, int column);
extern bool pipeline_sql_bool(uint64 row, int column);

/* ---- names.c: names, choices, options, arrays ---------------------------- */

extern void pipeline_check_name(const char *kind, const char *name);
extern void pipeline_check_choice(const char *argument, const char *value,
								  const char *const *choices);
extern void pipeline_check_keys(const Jsonb *object, const char *argument,
								const char *const *allowed);
extern char *pipeline_jsonb_key(const Jsonb *object, const char *key);
extern List *pipeline_jsonb_strings(const Jsonb *object, const char *argument,
									const char *key);
extern void pipeline_not_null(FunctionCallInfo fcinfo, int argument,
							  const char *name);
extern char *pipeline_arg_text(FunctionCallInfo fcinfo, int argument);
extern ArrayType *pipeline_arg_array(FunctionCallInfo fcinfo, int argument);
extern Jsonb *pipeline_arg_jsonb(FunctionCallInfo fcinfo, int argument);
extern List *pipeline_array_list(const ArrayType *array, const char *argument);
extern ArrayType *pipeline_list_array(const List *strings);
extern bool pipeline_list_has(const List *strings, const char *string);
extern char *pipeline_list_join(const List *strings, const char *separator);
extern int	pipeline_compare_intervals(const Interval *a, const Interval *b);
extern char *pipeline_qualified_name(Oid relid);
extern Jsonb *pipeline_jsonb_object(int npairs, const char *const *keys,
									const char *const *values);

/* ---- timezone.c: clocks on walls ------------------------------------------ */

/* numeric_double.c */
extern double pipeline_numeric_double(const struct varlena *number);
extern uint64 pipeline_numeric_hash(const struct varlena *number);

extern pg_tz *pipeline_timezone(const char *name);
extern pg_time_t pipeline_wall_to_instant(pg_time_t wall, pg_tz *tz);
extern pg_time_t pipeline_instant_to_wall(pg_time_t instant, pg_tz *tz);

/* ---- source.c: user text is parsed, never pasted blind ------------------- */

typedef struct Source
{
	char	   *text;			/* as given */
	char	   *from;			/* to follow FROM: a quoted name or (query) */
	Oid			relid;			/* InvalidOid for a query */
	TupleDesc	columns;		/* of the result; no dropped columns */
} Source;

extern Source *pipeline_source(const char *text, const char *argument);
extern int	pipeline_source_column(const Source *source, const char *column,
								   const char *argument);
extern char *pipeline_expression(const char *text, const char *argument);
extern char *pipeline_query(const char *text, const char *argument);
extern TupleDesc pipeline_query_columns(const char *sql);

/* ---- changes.c: who did what --------------------------------------------- */

extern void pipeline_record_change(const char *action, const char *kind,
								   const char *name, const Jsonb *before,
								   const Jsonb *after, const char *note);
extern void pipeline_record_change_of(Oid owner, const char *action,
									  const char *kind, const char *name,
									  const Jsonb *before, const Jsonb *after,
									  const char *note);

/* Until set back to NULL, changes are recorded as made by this function. */
extern void pipeline_change_action(const char *action);

/* ---- kinds.c: what apply(), export() and alter_X() know of a room ---------- */

typedef struct ObjectKind
{
	const char *kind;			/* "task": the word of errors and of changes */
	const char *key;			/* "tasks": its key in a document */
	const char *parent;			/* kind that it belongs to, or NULL */
	const char *create;			/* function of our schema that makes it */
	const char *drop;			/* function that drops it: ([parent,] name) */
	const char *name_argument;	/* of create: its name */
	const char *parent_argument;	/* of create: its parent; or NULL */
	/* Of create: the sibling, or siblings, that come first; or NULL. */
	const char *after_argument;
	/* Arguments of create that stay as they are unless given; NULL-terminated. */
	const char *const *kept;
	/* An argument that alter_X() leaves to other functions, and which. */
	const char *separate;
	const char *separate_hint;
	bool		replaces;		/* create replaces, without an or_replace */
	bool		has_path;		/* create stores the caller's search_path */
	bool		of_pipeline;	/* export(pipeline) shows it */

	/*
	 * Query of what exists and the caller may see: columns parent, name, owner
	 * (oid), search_path (NULL: none) and arguments: a JSON object in which
	 * those of create are found by name; other keys do not matter, and one that
	 * is missing has its default.  Run as the caller; qualify our tables only.
	 */
	const char *list;
	/* Name under which it is listed; NULL: as the name argument says. */
	char	   *(*listed_name) (const Jsonb *arguments);
	/*
	 * Keep others from changing it, and what belongs to it, until the end of
	 * the transaction; of a kind without a parent.  As the extension's owner:
	 * the caller has the rights of the object's.
	 */
	void		(*lock) (const char *name);
	/* Give it another name; NULL: it cannot have one.  In the caller's SPI. */
	void		(*rename) (const char *parent, const char *name, const char *to);
} ObjectKind;

extern void pipeline_register_kind(const ObjectKind *kind);

/* ---- identity.c: is this database the one that was set up? ---------------- */

extern bool pipeline_identity_matches(void);
extern void pipeline_identity_claim(void);
extern void pipeline_identity_register(bool (*anything) (void));
extern void pipeline_identity_mind(void);
extern bool pipeline_anything_defined(void);

/* ---- doctor.c: what is missing or unwise ----------------------------------- */

extern void pipeline_register_doctor(void (*look) (void));
extern void pipeline_finding(Oid owner, const char *severity,
							 const char *finding, const char *detail,
							 const char *fix);
extern bool pipeline_is_preloaded;
extern void pipeline_look_at_server(void);

/* ---- direct.c: past the executor? ------------------------------------------ */

extern const char *pipeline_direct_read_obstacle(Relation rel,
												 const AttrNumber *columns,
												 int ncolumns);
extern const char *pipeline_direct_leaf_obstacle(Relation leaf);
extern const char *pipeline_direct_root_obstacle(Relation rel,
												 const AttrNumber *columns,
												 int ncolumns);
extern const char *pipeline_direct_write_obstacle(Relation rel,
												  const AttrNumber *inserted,
												  int ninserted,
												  const AttrNumber *updated,
												  int nupdated);

/* ---- context.c: the task that this session is running --------------------- */

/* Set by the runner around a task; rooms read it for labels and history. */
typedef struct TaskContext
{
	int64		run_id;
	int			attempt;
	const char *pipeline;
	const char *task;
	const Jsonb *labels;		/* may be NULL */
} TaskContext;

extern void pipeline_set_task_context(const TaskContext *context);
extern const TaskContext *pipeline_task_context(void);

/*
 * Who is told how far a task is: the runner sets it, rooms call it, at most
 * some times a second.  total is NAN when it is not known; nothing happens
 * outside a task.
 */
typedef void (*ProgressSink) (double done, double total, const char *message);

extern void pipeline_set_progress_sink(ProgressSink sink);
extern void pipeline_note_progress(double done, double total,
								   const char *message);

#endif							/* PIPELINE_BASE_H */
