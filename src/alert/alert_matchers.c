/*
 * alert_matchers.c
 *	  Parse matchers, and ask them of labels.
 *
 * Where Alertmanager's two readers disagree, or only one of them can read a
 * text, it does what its fallback mode does: the classic one wins a
 * disagreement, and what only one can read is what that one reads.
 *
 * Regular expressions are Go's (RE2) there and the server's own here, made to
 * behave alike: anchored at both ends, "." is no line feed, \b is the edge of
 * a word; what RE2 refuses because its time would not be linear, references
 * back and looking around, is refused.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "alert/alert_matchers.h"

/* No label is that long, and each costs the notifier time. */
#define MAX_PATTERN 1000

/* ---- regular expressions ------------------------------------------------------- */

static void
free_regex(void *arg)
{
	pg_regfree((regex_t *) arg);
}

/* Flags at the beginning, as in (?i)error; returns what follows them. */
static const char *
read_flags(const char *s, int *cflags)
{
	const char *end;

	if (strncmp(s, "(?", 2) != 0)
		return s;
	end = s + 2 + strspn(s + 2, "is");
	if (*end != ')' || end == s + 2)
		return s;
	for (const char *c = s + 2; c < end; c++)
	{
		if (*c == 'i')
			*cflags |= REG_ICASE;
		else
			*cflags &= ~REG_NLSTOP;
	}
	return end + 1;
}

/* Say in the server's syntax what RE2 writes otherwise. */
static char *
server_pattern(const char *s, int *cflags)
{
	StringInfoData buf;
	bool		bracket = false;

	*cflags = REG_ADVANCED | REG_NOSUB | REG_NLSTOP;
	s = read_flags(s, cflags);
	initStringInfo(&buf);
	appendStringInfoString(&buf, "^(?:");
	for (; *s; s++)
	{
		if (*s != '\\' || s[1] == '\0')
		{
			if (*s == '[')
				bracket = true;
			else if (*s == ']')
				bracket = false;
			appendStringInfoChar(&buf, *s);
			continue;
		}
		s++;
		if (*s == 'b' && !bracket)
			appendStringInfoString(&buf, "\\y");
		else if (*s == 'B' && !bracket)
			appendStringInfoString(&buf, "\\Y");
		else if (*s == 'z' && !bracket)
			appendStringInfoString(&buf, "\\Z");
		else
		{
			appendStringInfoChar(&buf, '\\');
			appendStringInfoChar(&buf, *s);
		}
	}
	appendStringInfoString(&buf, ")$");
	return buf.data;
}

/* Compile a matcher's regular expression; the reason when it cannot be. */
static char *
compile_regex(Matcher *matcher)
{
	int			cflags;
	char	   *pattern = server_pattern(matcher->value, &cflags);
	int			len = strlen(pattern);
	pg_wchar   *wide = palloc_array(pg_wchar, len + 1);
	regex_t    *re = palloc0(sizeof(regex_t));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	int			code;

	if (matcher->value_len > MAX_PATTERN)
		return psprintf("A regular expression has at most %d bytes, this has %d.",
						MAX_PATTERN, matcher->value_len);
	len = pg_mb2wchar_with_len(pattern, wide, len);
	code = pg_regcomp(re, wide, len, cflags, C_COLLATION_OID);
	if (code != REG_OKAY)
	{
		char		message[100];

		pg_regerror(code, re, message, sizeof(message));
		return psprintf("The regular expression \"%s\" is invalid: %s.", matcher->value, message);
	}
	callback->func = free_regex;
	callback->arg = re;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	if (re->re_info & (REG_UBACKREF | REG_ULOOKAROUND))
		return psprintf("The regular expression \"%s\" looks around or refers back, which Alertmanager's do not.",
						matcher->value);
	matcher->re = re;
	pfree(wide);
	return NULL;
}

static char *
compile_all(List *matchers)
{
	ListCell   *lc;

	foreach(lc, matchers)
	{
		Matcher    *matcher = lfirst(lc);
		char	   *why = NULL;

		if (matcher->type == MATCH_REGEX || matcher->type == MATCH_NOT_REGEX)
			why = compile_regex(matcher);
		if (why)
			return why;
	}
	return NULL;
}

/* ---- parsing ------------------------------------------------------------------- */

static bool
same_matchers(const List *a, const List *b)
{
	const ListCell *la;
	const ListCell *lb;

	if (list_length(a) != list_length(b))
		return false;
	forboth(la, a, lb, b)
	{
		const Matcher *x = lfirst(la);
		const Matcher *y = lfirst(lb);

		if (x->type != y->type || strcmp(x->name, y->name) != 0 ||
			strcmp(x->value, y->value) != 0)
			return false;
	}
	return true;
}

/*
 * Parse a text of any number of matchers into the current memory context; NIL
 * with the reason if it cannot be read.
 */
List *
pipeline_matchers_try(const char *text, char **why)
{
	char	   *classic_why;
	List	   *matchers = pipeline_matchers_read_utf8(text, why);
	List	   *classic = pipeline_matchers_read_classic(text, &classic_why);

	if (classic_why == NULL && (*why != NULL || !same_matchers(matchers, classic)))
	{
		classic_why = compile_all(classic);
		if (classic_why == NULL)
		{
			*why = NULL;
			return classic;
		}
	}
	if (*why == NULL)
		*why = compile_all(matchers);
	if (*why == NULL)
		return matchers;
	if (classic_why)
		*why = classic_why;
	return NIL;
}

/* The same; 22023, naming the argument, if it cannot be read. */
List *
pipeline_matchers_parse(const char *text, const char *argument)
{
	char	   *why;
	List	   *matchers = pipeline_matchers_try(text, &why);

	if (why)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid matchers in argument \"%s\": %s", argument, text),
				 errdetail_internal("%s", why),
				 errhint("A matcher is a label, one of =, !=, =~, !~, and a value, best in double quotes; commas part them: severity=~\"error|critical\", team=\"payments\".")));
	return matchers;
}

/* The matchers of all texts of an array (NULL: none). */
List *
pipeline_matchers_parse_array(const ArrayType *texts, const char *argument)
{
	List	   *matchers = NIL;
	ListCell   *lc;

	foreach(lc, pipeline_array_list(texts, argument))
		matchers = list_concat(matchers, pipeline_matchers_parse(lfirst(lc), argument));
	return matchers;
}

/* ---- matching ------------------------------------------------------------------ */

static bool
regex_matches(regex_t *re, const char *value, int len)
{
	pg_wchar	small[128];
	pg_wchar   *wide = len < lengthof(small) ? small : palloc_array(pg_wchar, len + 1);
	int			wide_len = pg_mb2wchar_with_len(value, wide, len);
	int			code = pg_regexec(re, wide, wide_len, 0, NULL, 0, NULL, 0);

	if (wide != small)
		pfree(wide);
	/* One that runs out of memory must not stop the routing of all alerts. */
	if (code != REG_OKAY && code != REG_NOMATCH)
	{
		char		message[100];

		CHECK_FOR_INTERRUPTS();
		pg_regerror(code, re, message, sizeof(message));
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				 errmsg("regular expression failed: %s", message)));
	}
	return code == REG_OKAY;
}

/* Is a matcher true of the value of its label?  One that is not there: "". */
bool
pipeline_matcher_matches(const Matcher *matcher, const char *value, int len)
{
	switch (matcher->type)
	{
		case MATCH_EQUAL:
		case MATCH_NOT_EQUAL:
			return (len == matcher->value_len &&
					memcmp(value, matcher->value, len) == 0) ==
				(matcher->type == MATCH_EQUAL);
		default:
			return regex_matches(matcher->re, value, len) ==
				(matcher->type == MATCH_REGEX);
	}
}

/* The first matcher that is not true of these labels; NULL: all are. */
const Matcher *
pipeline_matchers_fail(const List *matchers, const Jsonb *labels)
{
	const ListCell *lc;

	foreach(lc, matchers)
	{
		const Matcher *matcher = lfirst(lc);
		JsonbValue	buf;
		JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &labels->root,
													 matcher->name, strlen(matcher->name), &buf);
		bool		there = v != NULL && v->type == jbvString;

		if (!pipeline_matcher_matches(matcher, there ? v->val.string.val : "",
									  there ? v->val.string.len : 0))
			return matcher;
	}
	return NULL;
}

/* Are all matchers true of these labels? */
bool
pipeline_matchers_match(const List *matchers, const Jsonb *labels)
{
	return pipeline_matchers_fail(matchers, labels) == NULL;
}

/* A matcher as it can be read again. */
char *
pipeline_matcher_text(const Matcher *matcher)
{
	static const char *const operators[] = {"=", "!=", "=~", "!~"};
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s%s\"", matcher->name, operators[matcher->type]);
	for (const char *c = matcher->value; *c; c++)
	{
		if (*c == '\n')
			appendStringInfoString(&buf, "\\n");
		else
		{
			if (*c == '"' || *c == '\\')
				appendStringInfoChar(&buf, '\\');
			appendStringInfoChar(&buf, *c);
		}
	}
	appendStringInfoChar(&buf, '"');
	return buf.data;
}

/* ---- SQL ----------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(pipeline_match_labels);

/* SQL: match_labels(matchers, labels) */
Datum
pipeline_match_labels(PG_FUNCTION_ARGS)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "matchers",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old;
	List	  **cache = fcinfo->flinfo->fn_extra;
	Jsonb	   *labels = PG_GETARG_JSONB_P(1);
	bool		result;

	pipeline_check_labels(labels, "labels");
	/* The same text for every row of a query is parsed once. */
	if (cache == NULL && get_fn_expr_arg_stable(fcinfo->flinfo, 0))
	{
		old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		cache = palloc_object(List *);
		*cache = pipeline_matchers_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), "matchers");
		fcinfo->flinfo->fn_extra = cache;
		MemoryContextSwitchTo(old);
	}
	old = MemoryContextSwitchTo(context);
	result = pipeline_matchers_match(cache ? *cache :
									 pipeline_matchers_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), "matchers"),
									 labels);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_BOOL(result);
}

PG_FUNCTION_INFO_V1(pipeline_read_matchers);

/*
 * SQL: _read_matchers(matchers, reader): label, operator and value of each, as
 * one of the readers reads them, or both; NULL when it cannot.
 */
Datum
pipeline_read_matchers(PG_FUNCTION_ARGS)
{
	static const char *const operators[] = {"=", "!=", "=~", "!~"};
	char	   *matchers_text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *reader = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *why = NULL;
	List	   *matchers;
	List	   *texts = NIL;
	ListCell   *lc;

	if (strcmp(reader, "utf8") == 0)
		matchers = pipeline_matchers_read_utf8(matchers_text, &why);
	else if (strcmp(reader, "classic") == 0)
		matchers = pipeline_matchers_read_classic(matchers_text, &why);
	else
		matchers = pipeline_matchers_parse(matchers_text, "matchers");
	if (why != NULL)
		PG_RETURN_NULL();
	foreach(lc, matchers)
	{
		const Matcher *matcher = lfirst(lc);

		texts = lappend(texts, psprintf("%s%s%s", matcher->name, operators[matcher->type],
										matcher->value));
	}
	PG_RETURN_ARRAYTYPE_P(pipeline_list_array(texts));
}
