/*
 * alert_matchers.c
 *	  Parse matchers, and ask them of labels.
 *
 * Where Alertmanager's two readers disagree, or only one of them can read a
 * text, it does what its fallback mode does: the classic one wins a
 * disagreement, and what only one can read is what that one reads.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "alert/alert_matchers.h"

/* ---- parsing ------------------------------------------------------------------- */

static char *
compile_all(List *matchers)
{
	ListCell   *lc;

	foreach(lc, matchers)
	{
		Matcher    *matcher = lfirst(lc);
		char	   *why = NULL;

		if (matcher->type == MATCH_REGEX || matcher->type == MATCH_NOT_REGEX)
			why = pipeline_matcher_compile(matcher);
		if (why)
			return why;
	}
	return NULL;
}

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

/* The last text of a call site, parsed; its memory is its own. */
typedef struct ParsedMatchers
{
	MemoryContext context;
	char	   *text;
	List	   *matchers;
} ParsedMatchers;

/*
 * Parse, but the same text for every row of a query once.  A parameter may have
 * another value at the next call, however stable it is said to be.
 */
static List *
parse_once(FmgrInfo *flinfo, const char *text)
{
	ParsedMatchers *parsed = flinfo->fn_extra;
	MemoryContext context;
	MemoryContext old;

	if (parsed != NULL && strcmp(parsed->text, text) == 0)
		return parsed->matchers;
	if (parsed != NULL)
	{
		flinfo->fn_extra = NULL;
		MemoryContextDelete(parsed->context);
	}
	context = AllocSetContextCreate(flinfo->fn_mcxt, "matchers", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	parsed = palloc_object(ParsedMatchers);
	parsed->context = context;
	parsed->text = pstrdup(text);
	parsed->matchers = pipeline_matchers_parse(text, "matchers");
	MemoryContextSwitchTo(old);
	flinfo->fn_extra = parsed;
	return parsed->matchers;
}

PG_FUNCTION_INFO_V1(pipeline_match_labels);

/* SQL: match_labels(matchers, labels) */
Datum
pipeline_match_labels(PG_FUNCTION_ARGS)
{
	Jsonb	   *labels = PG_GETARG_JSONB_P(1);

	pipeline_check_labels(labels, "labels");
	PG_RETURN_BOOL(pipeline_matchers_match(parse_once(fcinfo->flinfo, text_to_cstring(PG_GETARG_TEXT_PP(0))),
										   labels));
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
