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

/* How a type is evaluated. */
typedef enum CheckKind
{
	/* row by row, by the aggregate _check */
	CHECK_COUNT,				/* how many rows */
	CHECK_NULL,					/* is (negated: is not) NULL */
	CHECK_RANGE,
	CHECK_SET,
	CHECK_REGEX,				/* one pattern or a list of them */
	CHECK_LENGTH,
	CHECK_PARSE,				/* is the text JSON, a date, ...? */
	CHECK_EXPRESSION,			/* an SQL expression: true is expected, NULL missing */
	/* in the same scan, by an aggregate of the server */
	CHECK_AGGREGATE,
	/* in the same scan, from the sorted values of a column: _distribution */
	CHECK_DISTRIBUTION,
	/* a row-level expression with constants that come from a first scan */
	CHECK_DEVIATION,
	/* a row-level expression over windows: a statement of its own */
	CHECK_WINDOW,
	/* from the columns alone */
	CHECK_COLUMNS,
	/* queries of its own */
	CHECK_QUERY
} CheckKind;

/* Which one of its kind. */
typedef enum CheckSub
{
	SUB_NONE,
	/* CHECK_PARSE */
	SUB_JSON, SUB_DATE, SUB_STRFTIME, SUB_JSON_SCHEMA,
	/* CHECK_EXPRESSION */
	SUB_LIKE, SUB_PAIR_EQUAL, SUB_PAIR_GREATER, SUB_PAIR_SET, SUB_SUM, SUB_WITHIN_RECORD,
	/* CHECK_AGGREGATE */
	SUB_MIN, SUB_MAX, SUB_TOTAL, SUB_MEAN, SUB_STDEV, SUB_FRESHNESS,
	/* CHECK_DISTRIBUTION */
	SUB_UNIQUE, SUB_DISTINCT_IN, SUB_DISTINCT_CONTAIN, SUB_DISTINCT_EQUAL, SUB_UNIQUE_COUNT,
	SUB_PROPORTION, SUB_MOST_COMMON, SUB_MEDIAN, SUB_QUANTILES, SUB_KL, SUB_DRIFT, SUB_PROFILE,
	/* CHECK_DEVIATION */
	SUB_Z_SCORE, SUB_OUTLIERS,
	/* CHECK_WINDOW */
	SUB_ORDER, SUB_COMPOUND, SUB_DEPENDENCY, SUB_FOREIGN_KEY,
	/* CHECK_COLUMNS */
	SUB_EXISTS, SUB_TYPE, SUB_COLUMN_COUNT, SUB_COLUMN_LIST, SUB_COLUMN_SET, SUB_SCHEMA,
	/* CHECK_QUERY */
	SUB_OTHER_COUNT, SUB_ROWS, SUB_SQL, SUB_RECONCILE, SUB_NEAR_HISTORY, SUB_ANOMALY, SUB_CRAMER
} CheckSub;

typedef enum KwargKind
{
	KWARG_COLUMN,				/* a name */
	KWARG_COLUMNS,				/* an array of names */
	KWARG_TEXT,
	KWARG_TEXTS,
	KWARG_INTEGER,
	KWARG_NUMBER,
	KWARG_BOOLEAN,
	KWARG_FRACTION,				/* 0 to 1 */
	KWARG_BOUND,				/* a number, or the text of a value */
	KWARG_VALUES,				/* an array of numbers, strings, booleans */
	KWARG_PAIRS,				/* an array of arrays of two of them */
	KWARG_REGEX,
	KWARG_REGEXES,
	KWARG_MATCH_ON,				/* any, all */
	KWARG_IGNORE,				/* ignore_row_if */
	KWARG_INTERVAL,
	KWARG_SOURCE,				/* a table or a query */
	KWARG_CHOICE,				/* one of the words of the type */
	KWARG_QUANTILES,
	KWARG_PARTITION,
	KWARG_SCHEMA,				/* a JSON schema */
	KWARG_STRFTIME,
	KWARG_SEASON,				/* weekday, hour */
	KWARG_RELATIVE				/* allow_relative_error */
} KwargKind;

typedef struct Kwarg
{
	const char *name;
	KwargKind	kind;
	bool		required;
} Kwarg;

#define MAX_KWARGS 12

typedef struct ExpectationType
{
	const char *name;
	CheckKind	kind;
	CheckSub	sub;
	bool		negate;			/* the opposite verdict per row */
	bool		per_row;		/* a map expectation, with mostly */
	bool		needs_bound;	/* min_value or max_value */
	Kwarg		kwargs[MAX_KWARGS];
	const char *choices;		/* of a KWARG_CHOICE: words with | between */
} ExpectationType;

extern const ExpectationType *pipeline_expectation_type(const char *name);
extern void pipeline_check_kwarg_names(const ExpectationType *type,
									   const Jsonb *kwargs);
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
extern double pipeline_kwarg_number(const Jsonb *kwargs, const char *name, double otherwise);
extern double pipeline_json_number(const JsonbValue *v);
extern List *pipeline_kwarg_list(const Jsonb *kwargs, const char *name);
extern Jsonb *pipeline_kwarg_json(const Jsonb *kwargs, const char *name);

/* ---- parameter.c, parameter_bind.c --------------------------------------------- */

struct Suite;
extern Jsonb *pipeline_parameter_value(const char *text, const Jsonb *values);
extern List *pipeline_parameter_names(const char *text);
extern void pipeline_bind_checks(const struct Suite *suite, const List *checks,
								 const Jsonb *given, bool strict);
extern bool pipeline_has_parameters(const Jsonb *kwargs);
extern void pipeline_check_parameter_keys(const ExpectationType *type, const Jsonb *kwargs);
extern Jsonb *pipeline_bind_parameters(const Jsonb *kwargs, const Jsonb *values, List **names);

/* ---- condition.c: row_condition and result_format -------------------------- */

#define PIPELINE_CONDITION_PARSERS "great_expectations|great_expectations__experimental__|spark|pandas|sql"

extern char *pipeline_row_condition(const Jsonb *kwargs, const char *given);
extern const char *pipeline_result_level(const Jsonb *kwargs);
extern int	pipeline_result_format(const Jsonb *kwargs, int limit);

/* ---- result.c: what came out ---------------------------------------------- */

typedef struct CheckResult
{
	bool		done;
	char	   *error;			/* NULL: there is a verdict */
	bool		success;
	bool		has_counts;		/* elements */
	bool		has_missing;
	bool		has_unexpected;
	int64		elements;
	int64		missing;
	int64		unexpected;
	Jsonb	   *observed;		/* the rest may be NULL */
	Jsonb	   *values;
	Jsonb	   *keys;
	Jsonb	   *details;
} CheckResult;

#define MAX_AGGREGATES 6

typedef struct Check
{
	char	   *name;			/* NULL in check_now */
	const ExpectationType *type;
	Jsonb	   *kwargs;
	char	   *severity;
	char	   *row_condition;	/* NULL: every row */
	int			limit;			/* of samples; -1: the verdict alone */

	/* Made by the preparation, for the scan. */
	char	   *expression;		/* SQL: true is expected, NULL missing */
	List	   *shown;			/* columns whose values a sample shows */
	bool		shown_as_object;
	List	   *aggregates;		/* SQL of what the server aggregates */
	int			columns[MAX_AGGREGATES];	/* of the statement, from 1 */
	Jsonb	   *reference;		/* of a drift: the partition to compare with */
	bool		has_parameters;
	double		parameters[MAX_AGGREGATES];	/* of a deviation, from the first scan */

	bool		keyed;			/* a key of several columns: the first scan looks for one twice */
	bool		in_scan;		/* a check over windows whose expression the first scan evaluates */
	bool		bound;			/* parameters stood in its kwargs */
	bool		proved;			/* by constraints: no row can fail */
	bool		placed;			/* the rows that fail are among the target's places */
	CheckResult result;
} Check;

/* The columns of the composite type expectation_result. */
#define RESULT_COLUMNS 15

extern void pipeline_check_counted(Check *check, const Jsonb *counts,
								   bool has_keys);
extern void pipeline_check_verdict(Check *check);
extern void pipeline_check_trim(Check *check);
extern char *pipeline_check_columns_text(const Jsonb *kwargs);
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
	OP_LENGTH,
	OP_PARSE,
	OP_EXPRESSION
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
	Regex	  **regexes;
	int			nregexes;
	bool		match_all;		/* all of the patterns, not any */
	CheckSub	sub;			/* what a text is parsed as */
	char	   *format;
	Jsonb	   *schema;
} CompiledCheck;

extern void pipeline_check_compile(CompiledCheck *check,
								   const ExpectationType *type,
								   const Jsonb *kwargs, Oid typid,
								   Oid collation);
extern Datum pipeline_kwarg_datum(const JsonbValue *value, Oid typid,
								  bool datetimes, const char *kwarg,
								  bool *never);
extern bool pipeline_is_text_type(Oid typid);
extern void pipeline_bounds_check(const Jsonb *kwargs, Oid typid);
extern bool pipeline_bounds_hold(const Jsonb *kwargs, Datum value, Oid typid);

extern ValueSet *pipeline_set_compile(const Jsonb *kwargs, Oid typid,
									  bool datetimes, Oid collation);
extern bool pipeline_set_has(ValueSet *set, Datum value);
extern bool pipeline_set_is_all(const ValueSet *set);
extern int64 pipeline_set_size(const ValueSet *set);

/* ---- check_parse.c, json_schema.c: texts of a form ---------------------------- */

extern bool pipeline_is_datetime(const char *data, int len);
extern void pipeline_strftime_check(const char *format);
extern bool pipeline_matches_strftime(const char *format, const char *data, int len);
extern void pipeline_json_schema_check(const Jsonb *schema);
extern bool pipeline_json_schema_matches(const Jsonb *schema, const Jsonb *value);

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

/* ---- value_text.c: values as JSON --------------------------------------------- */

extern void pipeline_prepare_to_json(FmgrInfo *flinfo, Oid typid);
extern char *pipeline_value_json(FmgrInfo *to_json, Datum value, bool isnull, Oid typid);
extern Jsonb *pipeline_jsonb_from(const char *text);

/* ---- check_expression.c: SQL of single checks ---------------------------------- */

typedef struct ScanTarget
{
	Source	   *source;
	char	   *alias;			/* quoted */
	char	   *where;			/* ready for pasting, or NULL */
	char	   *where_text;		/* as the user gave it, or NULL */
	int			sample_limit;
	List	   *row_key;		/* column names */
	const struct Suite *suite;	/* NULL in check_now */
	struct Places *places;		/* of rows for the quarantine; NULL: not asked for */
} ScanTarget;

extern char *pipeline_column_reference(const ScanTarget *target, const char *column);
extern Form_pg_attribute pipeline_column_attribute(const ScanTarget *target, const char *column);
extern char *pipeline_json_literal(const JsonbValue *value);
extern char *pipeline_check_condition(const Check *check);
extern char *pipeline_check_argument(const ScanTarget *target, const Check *check);
extern void pipeline_prepare_expression(const ScanTarget *target, Check *check);
extern void pipeline_prepare_aggregates(const ScanTarget *target, Check *check);
extern char *pipeline_num_nulls(const List *columns);
extern char *pipeline_shown_object(const ScanTarget *target, const List *names);
extern char *pipeline_from_where(const ScanTarget *target, const char *condition);

/* check_window.c */
extern void pipeline_prepare_window(const ScanTarget *target, Check *check);
extern bool pipeline_foreign_key_in_scan(const ScanTarget *target, Check *check);
extern char *pipeline_key_columns(const ScanTarget *target, const Check *check, int *rule);
extern char *pipeline_window_from(const ScanTarget *target, const Check *check);
extern MemoryContext pipeline_aggregate_context(FunctionCallInfo fcinfo, const char *name);
extern bool pipeline_no_compound_twice(const ScanTarget *target, MemoryContext context, Check *check);
extern char *pipeline_row_expression(const ScanTarget *target, const Check *check);

/* key_twice.c */
extern bool pipeline_has_key_hash(const ScanTarget *target, const List *columns);

/* ---- proof.c: what constraints prove --------------------------------------------- */

extern bool pipeline_is_proved(const ScanTarget *target, const Check *check);

/* ---- check_plan.c: the statement of the shared scan ------------------------ */

/* Of FUNC_MAX_ARGS one is the state and one the plan. */
#define MAX_CHECK_ARGS (FUNC_MAX_ARGS - 2)
/* Columns of a statement; the server's limit is higher. */
#define MAX_SCAN_COLUMNS 1000

/* A column of the statement: an aggregate's, and whose. */
typedef struct ScanColumn
{
	char		kind;			/* 'c': _check, 'd': _distribution, 'k': _key_twice, 'a': of the server */
	List	   *checks;
} ScanColumn;

extern char *pipeline_scan_statement(const ScanTarget *target, const char *from,
									 const List *checks, List **columns);
extern List *pipeline_unexpected_calls(const ScanTarget *target, const List *checks,
									   List **members);
extern bool pipeline_is_row_expression(const Check *check);
extern bool pipeline_is_binned(const Check *check);
extern bool pipeline_has_few_values(const ScanTarget *target, const char *column);
extern bool pipeline_is_sketched(const ScanTarget *target, const Check *check);

/* ---- partition.c: distributions against what is expected ---------------------- */

extern void pipeline_partition_check(const Jsonb *kwargs);
extern void pipeline_divergence_verdict(Check *check, const Jsonb *found);

/* ---- check_ks.c --------------------------------------------------------------- */

extern bool pipeline_is_exact_ks(const Check *check);
extern void pipeline_exact_ks(const ScanTarget *target, Check *check);

/* ---- check_verdict.c -------------------------------------------------------------- */

extern void pipeline_aggregate_verdict(Check *check);
extern void pipeline_distribution_verdict(Check *check, const Jsonb *found, Oid typid);

/* ---- check_columns.c, check_query.c, check_history.c --------------------------------- */

extern void pipeline_columns_verdict(const ScanTarget *target, Check *check);
extern void pipeline_check_query_kwarg(const ExpectationType *type, const Jsonb *kwargs);
extern void pipeline_query_verdict(const ScanTarget *target, Check *check, int64 rows);
extern void pipeline_reconcile(const ScanTarget *target, Check *check);
extern void pipeline_near_history(const ScanTarget *target, Check *check, int64 rows);
extern void pipeline_anomaly(const ScanTarget *target, Check *check, int64 rows);
extern Jsonb *pipeline_previous_details(const ScanTarget *target, const Check *check);
extern Jsonb *pipeline_drift_reference(const ScanTarget *target, const Check *check);

/* ---- check_prepare.c: what can be known before the scan -------------------- */

extern void pipeline_condition_check(const ScanTarget *target,
									 const char *condition);
extern void pipeline_check_prepare(const ScanTarget *target,
								   MemoryContext context, Check *check);

/* ---- check_deviation.c: how far values lie from their center --------------- */

extern void pipeline_prepare_deviation(const ScanTarget *target,
									   MemoryContext context, Check *check);

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
	char	   *quarantine;		/* none, copy, move */
	char	   *watermark;		/* column that grows, or NULL */
	Jsonb	   *labels;
	Jsonb	   *parameters;		/* values by name */
	Jsonb	   *definition;		/* the row, for the change log */
} Suite;

/* ---- incremental.c -------------------------------------------------------------------- */

extern bool pipeline_check_is_mergeable(const ScanTarget *target, const Check *check);
extern int64 pipeline_validate_slice(const Suite *suite, const ScanTarget *target, List *checks,
									 const char *slice);
extern int64 pipeline_validate_new(const Suite *suite, ScanTarget *target, List *checks);

/* export.c: the setting pipeline.validation_days */
extern int	pipeline_validation_days;

/* ---- validate.c -------------------------------------------------------------------- */

extern ScanTarget *pipeline_open_target(const char *text, const char *where);
extern List *pipeline_suite_checks(const Suite *suite, const Jsonb *parameters, bool strict);
extern bool pipeline_check_is_grave(const Check *check);

/* ---- quarantine.c, quarantine_release.c --------------------------------------------- */

extern bool pipeline_quarantine_wants_places(const Suite *suite, const ScanTarget *target);
extern int64 pipeline_quarantine(const Suite *suite, const ScanTarget *target, List *checks,
								 int64 validation_id);
extern void pipeline_quarantine_held(const Suite *suite, List *checks);
extern void pipeline_quarantine_check(const Source *source, const char *quarantine);

extern Suite *pipeline_suite(const char *name, bool missing_ok, bool lock);

#endif							/* PIPELINE_CHECK_H */
