/*
 * alert_rule_template.c
 *	  Texts in which {{column}} stands for what a row says.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "parser/scansup.h"

#include "alert/alert_rule.h"

/* An expanded text is for people: no longer than this, in bytes. */
#define MOST_TEXT 4000

/*
 * The next {{name}} in the text: where it begins, *end after it, *name without
 * the blanks around it.  NULL: there is none.  A {{ without }} is just text.
 */
static const char *
next_placeholder(const char *text, const char **end, char **name)
{
	const char *begin = strstr(text, "{{");
	const char *close = begin ? strstr(begin, "}}") : NULL;
	const char *first;
	const char *last;

	if (close == NULL)
		return NULL;
	for (first = begin + 2; first < close && scanner_isspace(*first); first++)
		;
	for (last = close; last > first && scanner_isspace(last[-1]); last--)
		;
	*name = pnstrdup(first, last - first);
	*end = close + 2;
	return begin;
}

static int
column_number(TupleDesc columns, const char *name)
{
	for (int i = 0; i < columns->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(columns, i)->attname), name) == 0)
			return i;
	}
	return -1;
}

/* Put the values of a row, as text, into a text; NULL reads "null". */
char *
pipeline_template_expand(const char *text, TupleDesc columns,
						 char *const *values)
{
	StringInfoData buf;
	const char *begin;
	const char *end;
	char	   *name;

	initStringInfo(&buf);
	while ((begin = next_placeholder(text, &end, &name)) != NULL)
	{
		int			column = column_number(columns, name);

		appendBinaryStringInfo(&buf, text, begin - text);
		if (column < 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" does not exist in the query of the rule", name)));
		appendStringInfoString(&buf, values[column] ? values[column] : "null");
		text = end;
	}
	appendStringInfoString(&buf, text);
	if (buf.len > MOST_TEXT)
		buf.data[pg_mbcliplen(buf.data, buf.len, MOST_TEXT)] = '\0';
	return buf.data;
}

/* Raise 22023 if the text has a {{column}} that is none. */
void
pipeline_template_check(const char *text, TupleDesc columns, const char *what)
{
	const char *end;
	char	   *name;
	StringInfoData all;

	for (; next_placeholder(text, &end, &name) != NULL; text = end)
	{
		if (column_number(columns, name) >= 0)
			continue;
		initStringInfo(&all);
		for (int i = 0; i < columns->natts; i++)
			appendStringInfo(&all, "%s%s", i ? ", " : "", NameStr(TupleDescAttr(columns, i)->attname));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"{{%s}}\" in %s is not a column of the query", name, what),
				 errdetail("Its columns are: %s.", all.data)));
	}
}
