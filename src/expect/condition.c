/*
 * condition.c
 *	  The kwargs row_condition, condition_parser and result_format.
 *
 * Great Expectations writes conditions in languages of its own: col("a") > 5,
 * col("a").notNull(), the query strings of pandas, Spark's SQL.  They are
 * translated token by token into SQL, which is then parsed like any other user
 * text: a token that has no meaning here is an error, never passed on.  Spark's
 * SQL and ours are passed on as they are, save Spark's quotes.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "expect/check.h"

#define COMPLETE_LIMIT 10000

typedef struct Reader
{
	const char *text;			/* all of it */
	const char *at;
	bool		spark;			/* what is not quoted is SQL */
	StringInfoData sql;
} Reader;

static void
refuse(const Reader *r, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("kwarg \"row_condition\" cannot be translated: %s", what),
			 errdetail("It is: %s", r->text),
			 errhint("Write it as an SQL condition, without condition_parser.")));
}

/* The text up to the closing quote, at which the reader stands behind. */
static char *
quoted(Reader *r)
{
	char		quote = *r->at++;
	StringInfoData buf;

	initStringInfo(&buf);
	while (*r->at && *r->at != quote)
	{
		if (*r->at == '\\' && r->at[1] && !r->spark)
			r->at++;
		appendStringInfoChar(&buf, *r->at++);
	}
	if (*r->at == '\0')
		refuse(r, "a quote is not closed");
	r->at++;
	return buf.data;
}

static void
skip_blanks(Reader *r)
{
	while (isspace((unsigned char) *r->at))
		r->at++;
}

/* If the text goes on with `word`, pass it. */
static bool
pass(Reader *r, const char *word)
{
	size_t		len = strlen(word);

	if (pg_strncasecmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

/* The quoted argument of col( or date(, up to the parenthesis. */
static char *
argument(Reader *r)
{
	char	   *value;

	skip_blanks(r);
	if (*r->at != '"' && *r->at != '\'')
		refuse(r, "col and date take a string");
	value = quoted(r);
	skip_blanks(r);
	if (*r->at++ != ')')
		refuse(r, "a parenthesis is not closed");
	return value;
}

/* What may follow a column. */
static void
method(Reader *r)
{
	if (pass(r, ".notnull()"))
		appendStringInfoString(&r->sql, " IS NOT NULL");
	else if (pass(r, ".isnull()"))
		appendStringInfoString(&r->sql, " IS NULL");
}

/* A word that is not quoted: an operator, a constant, a column of pandas. */
static void
word(Reader *r)
{
	static const struct
	{
		const char *word;
		const char *sql;
	}			words[] = {
		{"and", "AND"}, {"or", "OR"}, {"not", "NOT"}, {"in", "IN"},
		{"True", "true"}, {"False", "false"}, {"None", "NULL"}
	};
	const char *start = r->at;
	char	   *name;

	while (isalnum((unsigned char) *r->at) || *r->at == '_' || IS_HIGHBIT_SET(*r->at))
		r->at++;
	name = pnstrdup(start, r->at - start);
	for (int i = 0; i < lengthof(words); i++)
	{
		if (pg_strcasecmp(words[i].word, name) == 0)
		{
			appendStringInfo(&r->sql, " %s ", words[i].sql);
			return;
		}
	}
	if (strcmp(name, "col") == 0 && *r->at == '(')
	{
		r->at++;
		appendStringInfoString(&r->sql, quote_identifier(argument(r)));
	}
	else if (strcmp(name, "date") == 0 && *r->at == '(')
	{
		r->at++;
		appendStringInfo(&r->sql, "%s::pg_catalog.date", quote_literal_cstr(argument(r)));
		return;
	}
	else
		appendStringInfoString(&r->sql, quote_identifier(name));
	method(r);
}

static void
operator(Reader *r)
{
	static const struct
	{
		const char *token;
		const char *sql;
	}			tokens[] = {
		{"==", " = "}, {"!=", " <> "}, {"<>", " <> "}, {"<=", " <= "}, {">=", " >= "},
		{"&&", " AND "}, {"||", " OR "}, {"&", " AND "}, {"|", " OR "}, {"~", " NOT "},
		{"<", " < "}, {">", " > "}, {"=", " = "}, {"(", "("}, {")", ")"}, {"[", "("},
		{"]", ")"}, {",", ", "}, {"+", " + "}, {"-", " - "}, {"*", " * "}, {"/", " / "},
		{"%", " % "}
	};

	for (int i = 0; i < lengthof(tokens); i++)
	{
		if (pass(r, tokens[i].token))
		{
			appendStringInfoString(&r->sql, tokens[i].sql);
			return;
		}
	}
	refuse(r, psprintf("unexpected \"%.10s\"", r->at));
}

static void
token(Reader *r)
{
	if (*r->at == '`')
	{
		appendStringInfoString(&r->sql, quote_identifier(quoted(r)));
		method(r);
	}
	else if (*r->at == '"' || *r->at == '\'')
		appendStringInfoString(&r->sql, quote_literal_cstr(quoted(r)));
	else if (r->spark)
	{
		if (!pass(r, "=="))
			appendStringInfoChar(&r->sql, *r->at++);
		else
			appendStringInfoChar(&r->sql, '=');
	}
	else if (isspace((unsigned char) *r->at))
		appendStringInfoChar(&r->sql, *r->at++);
	else if (isdigit((unsigned char) *r->at))
	{
		while (isalnum((unsigned char) *r->at) || *r->at == '.')
			appendStringInfoChar(&r->sql, *r->at++);
	}
	else if (isalpha((unsigned char) *r->at) || *r->at == '_' || IS_HIGHBIT_SET(*r->at))
		word(r);
	else
		operator(r);
}

/*
 * The condition of an expectation as SQL text of the user's: the argument
 * row_condition, or the kwarg of that name, or NULL.
 */
char *
pipeline_row_condition(const Jsonb *kwargs, const char *given)
{
	char	   *condition = pipeline_kwarg_text(kwargs, "row_condition");
	char	   *parser = pipeline_kwarg_text(kwargs, "condition_parser");
	Reader		r = {.text = condition, .at = condition};

	if (condition == NULL || *condition == '\0')
		return given ? pstrdup(given) : NULL;
	if (given)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"row_condition\" and kwarg \"row_condition\" cannot be both there")));
	if (parser == NULL || strcmp(parser, "sql") == 0)
		return condition;
	r.spark = strcmp(parser, "spark") == 0;
	initStringInfo(&r.sql);
	while (*r.at)
		token(&r);
	return r.sql.data;
}

/* ---- result_format ------------------------------------------------------------ */

static void
refuse_format(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"result_format\" in argument \"kwargs\" %s", what),
			 errhint("It is BOOLEAN_ONLY, BASIC, SUMMARY or COMPLETE, or an object with the key \"result_format\".")));
}

/*
 * The level of detail that the kwarg result_format asks for, SUMMARY by
 * default.
 */
const char *
pipeline_result_level(const Jsonb *kwargs)
{
	static const char *const levels[] = {"BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"};
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, "result_format", &buf);
	char	   *level;

	if (v == NULL)
		return "SUMMARY";
	if (v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data))
		level = pipeline_kwarg_text(JsonbValueToJsonb(v), "result_format");
	else
		level = v->type == jbvString ? pnstrdup(v->val.string.val, v->val.string.len) : NULL;
	for (int i = 0; level && i < lengthof(levels); i++)
		if (pg_strcasecmp(levels[i], level) == 0)
			return levels[i];
	refuse_format("is not one of the four");
	return NULL;
}

/*
 * How many unexpected values to keep: what result_format asks for, or the
 * suite's limit; -1 for BOOLEAN_ONLY, which keeps the verdict alone.
 */
int
pipeline_result_format(const Jsonb *kwargs, int limit)
{
	static const char *const keys[] = {"result_format", "partial_unexpected_count",
		"unexpected_index_column_names", "include_unexpected_rows", "return_unexpected_index_query",
	"exclude_unexpected_values", NULL};
	JsonbValue	buf;
	JsonbValue *v = pipeline_kwarg(kwargs, "result_format", &buf);
	const char *level = pipeline_result_level(kwargs);
	int64		count = limit;

	if (strcmp(level, "BOOLEAN_ONLY") == 0)
		return -1;
	if (v != NULL && v->type == jbvBinary)
	{
		Jsonb	   *format = JsonbValueToJsonb(v);

		pipeline_check_keys(format, "result_format", keys);
		if (pipeline_kwarg_bool(format, "exclude_unexpected_values"))
			return 0;
		if (pipeline_kwarg_int(format, "partial_unexpected_count", &count) &&
			(count < 0 || count > COMPLETE_LIMIT))
			refuse_format("has a \"partial_unexpected_count\" that is not from 0 to 10000");
	}
	return strcmp(level, "COMPLETE") == 0 ? COMPLETE_LIMIT : (int) count;
}
