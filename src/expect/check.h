/*
 * check.h
 *	  What the files of the expect room share.
 *
 * A check goes through four shapes: its definition (Check, from a row of
 * pipeline.expectations or an element of check_now's argument), its entry in
 * the plan of the shared scan (jsonb), its compiled form (CompiledCheck, made
 * once per process that scans), and its result (CheckResult).
 */
#ifndef PIPELINE_CHECK_H
#define PIPELINE_CHECK_H

#include "base/base.h"
#include "utils/jsonb.h"

/* ---- expectation_types.c: the types and their kwargs --------------------- */

typedef enum CheckKind
{
	CHECK_COUNT,				/* how many rows */
	CHECK_NULL,					/* is (negated: is not) NULL */
	CHECK_RANGE,
	CHECK_SET,
	CHECK_REGEX,
	CHECK_LENGTH,
	CHECK_UNIQUE,				/* a query of its own */
	CHECK_EXISTS,				/* from the columns alone */
	CHECK_TYPE					/* from the columns alone */
} CheckKind;

typedef enum KwargKind
{
	KWARG_COLUMN,				/* a name */
	KWARG_TEXT,
	KWARG_INTEGER,
	KWARG_BOOLEAN,
	KWARG_FRACTION,				/* 0 to 1 */
	KWARG_BOUND,				/* a number, or the text of a value */
	KWARG_VALUES,				/* an array of numbers, strings, booleans */
	KWARG_REGEX
} KwargKind;

typedef struct Kwarg
{
	const char *name;
	KwargKind	kind;
	bool		required;
} Kwarg;

#define MAX_KWARGS 8

typedef struct ExpectationType
{
	const char *name;
	CheckKind	kind;
	bool		negate;			/* the opposite verdict per row */
	bool		per_row;		/* a column map expectation, with mostly */
	bool		needs_bound;	/* min_value or max_value */
	Kwarg		kwargs[MAX_KWARGS];
} ExpectationType;

extern const ExpectationType *pipeline_expectation_type(const char *name);
extern void pipeline_check_kwargs(const ExpectationType *type,
								  const Jsonb *kwargs);
extern JsonbValue *pipeline_kwarg(const Jsonb *kwargs, const char *name,
								  JsonbValue *buf);
/* expectation.c */
extern char *pipeline_expectation_name(const char *type, const Jsonb *kwargs);
extern char *pipeline_kwarg_text(const Jsonb *kwargs, const char *name);
extern bool pipeline_kwarg_bool(const Jsonb *kwargs, const char *name);
extern double pipeline_kwarg_mostly(const Jsonb *kwargs);
extern bool pipeline_kwarg_int(const Jsonb *kwargs, const char *name,
							   int64 *value);

/* ---- result.c: what came out ---------------------------------------------- */

typedef struct CheckResult
{
	bool		done;
	char	   *error;			/* NULL: there is a verdict */
	bool		success;
	bool		has_counts;
	bool		has_missing;
	int64		elements;
	int64		missing;
	int64		unexpected;
	Jsonb	   *observed;		/* the rest may be NULL */
	Jsonb	   *values;
	Jsonb	   *keys;
	Jsonb	   *details;
} CheckResult;

typedef struct Check
{
	char	   *name;			/* NULL in check_now */
	const ExpectationType *type;
	Jsonb	   *kwargs;
	char	   *severity;
	char	   *row_condition;	/* NULL: every row */
	CheckResult result;
} Check;

/* The columns of the composite type expectation_result. */
#define RESULT_COLUMNS 15

extern void pipeline_check_counted(Check *check, const Jsonb *counts,
								   bool has_keys);
extern void pipeline_check_verdict(Check *check);
extern void pipeline_result_values(const Check *check, Datum *values,
								   bool *nulls);
extern Jsonb *pipeline_result_json(const Check *check);
extern char *pipeline_result_summary(const Check *check);

/* ---- check_compile.c, check_set.c, check_regex.c --------------------------- */

typedef enum CheckOp
{
	OP_COUNT,
	OP_NULL,
	OP_NOT_NULL,
	OP_INT_RANGE,
	OP_FLOAT_RANGE,
	OP_RANGE,
	OP_SET,
	OP_REGEX,
	OP_LENGTH
} CheckOp;

typedef struct ValueSet ValueSet;
typedef struct Regex Regex;

typedef struct CompiledCheck
{
	CheckOp		op;
	bool		negate;
	int			arg;			/* which argument; -1: none */
	int			condition;		/* which argument; -1: every row */
	Oid			typid;			/* base type of the argument */
	int			typlen;
	Oid			collation;
	bool		datetimes;		/* a zone in the text of a timestamp counts */
	/* ranges and lengths; integers are inclusive, min > max means nothing */
	bool		has_min;
	bool		has_max;
	bool		strict_min;
	bool		strict_max;
	int64		int_min;
	int64		int_max;
	double		float_min;
	double		float_max;
	Datum		min;
	Datum		max;
	FmgrInfo	cmp;
	ValueSet   *set;
	Regex	   *regex;
} CompiledCheck;

extern void pipeline_check_compile(CompiledCheck *check,
								   const ExpectationType *type,
								   const Jsonb *kwargs, Oid typid,
								   Oid collation);
extern Datum pipeline_kwarg_datum(const JsonbValue *value, Oid typid,
								  bool datetimes, const char *kwarg,
								  bool *never);
extern bool pipeline_is_text_type(Oid typid);

extern ValueSet *pipeline_set_compile(const Jsonb *kwargs, Oid typid,
									  bool datetimes, Oid collation);
extern bool pipeline_set_has(ValueSet *set, Datum value);

extern Regex *pipeline_regex_compile(const char *pattern, Oid collation);
extern bool pipeline_regex_matches(Regex *regex, const char *data, int len);

/* ---- check_automaton.c: patterns over ASCII -------------------------------- */

typedef struct Automaton Automaton;

extern Automaton *pipeline_automaton_build(void *compiled);
extern bool pipeline_automaton_matches(const Automaton *automaton,
									   const char *data, int len);

/* ---- check_eval.c: one value ----------------------------------------------- */

extern bool pipeline_check_unexpected(CompiledCheck *check, Datum value);

/* A value of more bytes is kept as a string of its beginning. */
#define MAX_SAMPLE_BYTES 20000

/* ---- check_plan.c: the statement of the shared scan ------------------------ */

typedef struct ScanTarget
{
	Source	   *source;
	char	   *alias;			/* quoted */
	char	   *where;			/* ready for pasting, or NULL */
	int			sample_limit;
	List	   *row_key;		/* column names */
} ScanTarget;

/* Of FUNC_MAX_ARGS one is the state and one the plan. */
#define MAX_CHECK_ARGS (FUNC_MAX_ARGS - 2)

extern char *pipeline_check_argument(const ScanTarget *target,
									 const Check *check);
extern char *pipeline_check_condition(const Check *check);
extern char *pipeline_key_expression(const ScanTarget *target);
extern char *pipeline_scan_statement(const ScanTarget *target,
									 const List *checks, List **calls);

/* ---- check_run.c: from definitions to results ------------------------------ */

extern int64 pipeline_checks_run(const ScanTarget *target, List *checks);

/* ---- suite.c --------------------------------------------------------------- */

typedef struct Suite
{
	char	   *name;
	Oid			owner;
	char	   *target;
	char	   *search_path;
	int			sample_limit;
	List	   *row_key;
	Jsonb	   *labels;
	Jsonb	   *definition;		/* the row, for the change log */
} Suite;

extern Suite *pipeline_suite(const char *name, bool missing_ok, bool lock);

#endif							/* PIPELINE_CHECK_H */
