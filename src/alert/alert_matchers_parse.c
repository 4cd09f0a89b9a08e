/*
 * alert_matchers_parse.c
 *	  Read matchers as Alertmanager reads them.
 *
 * It has two readers.  The classic one is lenient: a value goes on to the next
 * comma, quotes around it are optional, and only \n, \" and \\ are escapes.
 * The newer one knows tokens: what is not in double quotes holds no reserved
 * character, what is has the escapes of a Go string, and the name of a label
 * may be quoted too.  alert_matchers.c decides between the two.
 *
 * Both return NULL with a reason, or a list that may be empty; as NIL is NULL,
 * the reason tells.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "alert/alert_matchers.h"

Matcher *
pipeline_matcher_make(MatcherType type, const char *name, int name_len,
					  const char *value)
{
	Matcher    *matcher = palloc0(sizeof(Matcher));

	matcher->type = type;
	matcher->name = pnstrdup(name, name_len);
	matcher->value = pstrdup(value);
	matcher->value_len = strlen(value);
	return matcher;
}

/* Read an operator; its length, or 0.  The longer ones come first. */
static int
read_operator(const char *s, MatcherType *type)
{
	static const struct
	{
		const char *text;
		MatcherType type;
	}			operators[] = {
		{"=~", MATCH_REGEX}, {"!~", MATCH_NOT_REGEX},
		{"!=", MATCH_NOT_EQUAL}, {"=", MATCH_EQUAL}
	};

	for (int i = 0; i < lengthof(operators); i++)
	{
		int			len = strlen(operators[i].text);

		if (strncmp(s, operators[i].text, len) == 0)
		{
			*type = operators[i].type;
			return len;
		}
	}
	return 0;
}

/* The bytes of the white space that a text begins with: 0 for none. */
static int
space_len(const char *s)
{
	static const char *const wide[] = {
		"\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
		"\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
		"\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
		"\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"
	};

	if (*s == ' ' || (*s >= '\t' && *s <= '\r'))
		return 1;
	if (!IS_HIGHBIT_SET(*s) || GetDatabaseEncoding() != PG_UTF8)
		return 0;
	for (int i = 0; i < lengthof(wide); i++)
	{
		if (strncmp(s, wide[i], strlen(wide[i])) == 0)
			return strlen(wide[i]);
	}
	return 0;
}

/* ---- the classic reader ------------------------------------------------------- */

static bool
is_classic_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static const char *
skip_classic_space(const char *s)
{
	while (is_classic_space(*s))
		s++;
	return s;
}

static bool
is_name_char(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
		(!first && c >= '0' && c <= '9');
}

/* Undo the quotes and escapes of a value; NULL when a quote stands wrong. */
static char *
classic_value(const char *s, int len)
{
	StringInfoData value;
	bool		quoted = len > 0 && *s == '"';

	initStringInfo(&value);
	if (quoted)
		s++, len--;
	for (int i = 0; i < len; i++)
	{
		if (s[i] == '\\' && i < len - 1)
		{
			i++;
			if (s[i] == 'n')
				appendStringInfoChar(&value, '\n');
			else if (s[i] == '"' || s[i] == '\\')
				appendStringInfoChar(&value, s[i]);
			else
				/* No escape: the backslash means itself. */
				appendBinaryStringInfo(&value, s + i - 1, 2);
		}
		else if (s[i] == '"')
		{
			if (!quoted || i < len - 1)
				return NULL;
			quoted = false;
		}
		else
			appendStringInfoChar(&value, s[i]);
	}
	return quoted ? NULL : value.data;
}

/* One matcher; NULL with the reason. */
static Matcher *
read_classic_matcher(const char *text, char **why)
{
	const char *name = skip_classic_space(text);
	const char *end = name;
	const char *s;
	MatcherType type;
	int			len;
	char	   *value;

	while (is_name_char(*end, end == name))
		end++;
	s = skip_classic_space(end);
	len = read_operator(s, &type);
	if (end == name || len == 0)
	{
		*why = psprintf("\"%s\" is no matcher.", text);
		return NULL;
	}
	s = skip_classic_space(s + len);
	len = strlen(s);
	while (len > 0 && is_classic_space(s[len - 1]))
		len--;
	value = classic_value(s, len);
	if (value == NULL)
	{
		*why = psprintf("The value %.*s has an unescaped double quote.", len, s);
		return NULL;
	}
	return pipeline_matcher_make(type, name, end - name, value);
}

/* Is there anything but white space? */
static bool
is_blank(const char *s)
{
	while (*s)
	{
		int			len = space_len(s);

		if (len == 0)
			return false;
		s += len;
	}
	return true;
}

/* Cut a text at the commas that are not in quotes. */
static List *
split_classic(const char *s, int len)
{
	List	   *tokens = NIL;
	StringInfoData token;
	bool		quoted = false;
	bool		escaped = false;

	initStringInfo(&token);
	for (int i = 0; i < len; i++)
	{
		if (s[i] == ',' && !quoted)
		{
			tokens = lappend(tokens, pstrdup(token.data));
			resetStringInfo(&token);
			continue;
		}
		if (s[i] == '"' && !escaped)
			quoted = !quoted;
		if (s[i] != ',')
			escaped = s[i] == '\\' && !escaped;
		appendStringInfoChar(&token, s[i]);
	}
	/* What follows the last comma may be nothing. */
	if (!is_blank(token.data))
		tokens = lappend(tokens, token.data);
	return tokens;
}

List *
pipeline_matchers_read_classic(const char *text, char **why)
{
	int			len = strlen(text);
	List	   *matchers = NIL;
	ListCell   *lc;

	*why = NULL;
	if (len > 0 && *text == '{')
		text++, len--;
	if (len > 0 && text[len - 1] == '}')
		len--;
	foreach(lc, split_classic(text, len))
	{
		Matcher    *matcher = read_classic_matcher(lfirst(lc), why);

		if (matcher == NULL)
			return NULL;
		matchers = lappend(matchers, matcher);
	}
	return matchers;
}

/* ---- the reader of tokens ------------------------------------------------------ */

typedef enum TokenKind
{
	TOKEN_END, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_COMMA, TOKEN_OPERATOR,
	TOKEN_WORD, TOKEN_BAD
} TokenKind;

typedef struct Token
{
	TokenKind	kind;
	const char *end;			/* where the next begins */
	char	   *text;			/* of a word, quotes and escapes undone */
	MatcherType type;			/* of an operator */
} Token;

static bool
is_reserved(const char *s)
{
	return strchr("{}!=~,\\\"'`", *s) != NULL || space_len(s) > 0;
}

/* Read n digits of a base; -1 when they are not there. */
static long
read_digits(const char *s, int n, int base)
{
	long		value = 0;

	for (int i = 0; i < n; i++)
	{
		int			digit = s[i] >= '0' && s[i] <= '9' ? s[i] - '0' :
		s[i] >= 'a' && s[i] <= 'f' ? s[i] - 'a' + 10 :
		s[i] >= 'A' && s[i] <= 'F' ? s[i] - 'A' + 10 : 99;

		if (digit >= base)
			return -1;
		value = value * base + digit;
	}
	return value;
}

/* Append a code point; false if it is none. */
static bool
append_code_point(StringInfo buf, long code)
{
	unsigned char utf8[8] = {0};

	if (code <= 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return false;
	unicode_to_utf8((pg_wchar) code, utf8);
	appendStringInfoString(buf, pg_any_to_server((char *) utf8, pg_utf_mblen(utf8), PG_UTF8));
	return true;
}

/*
 * Undo an escape of a Go string; `s` points behind the backslash.  Returns its
 * length, or 0 if it is none.
 */
static int
read_escape(StringInfo buf, const char *s)
{
	static const char simple[][2] = {
		{'a', '\a'}, {'b', '\b'}, {'f', '\f'}, {'n', '\n'}, {'r', '\r'},
		{'t', '\t'}, {'v', '\v'}, {'\\', '\\'}, {'"', '"'}
	};
	int			digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
	long		code;

	for (int i = 0; i < lengthof(simple); i++)
	{
		if (*s == simple[i][0])
		{
			appendStringInfoChar(buf, simple[i][1]);
			return 1;
		}
	}
	if (digits > 0)
	{
		code = read_digits(s + 1, digits, 16);
		if (digits > 2)
			return append_code_point(buf, code) ? 1 + digits : 0;
		digits++;
	}
	else
	{
		digits = 3;
		code = read_digits(s, 3, 8);
	}
	/* A byte; several may be a character. */
	if (code <= 0 || code > 255)
		return 0;
	appendStringInfoChar(buf, (char) code);
	return digits;
}

static Token
read_quoted(const char *s)
{
	Token		token = {.kind = TOKEN_WORD};
	StringInfoData buf;

	initStringInfo(&buf);
	for (s++; *s && *s != '"'; s++)
	{
		int			len;

		if (*s == '\n')
			break;
		if (*s != '\\')
		{
			appendStringInfoChar(&buf, *s);
			continue;
		}
		len = read_escape(&buf, s + 1);
		if (len == 0)
			break;
		s += len;
	}
	if (*s != '"' || !pg_verifymbstr(buf.data, buf.len, true))
		token.kind = TOKEN_BAD;
	token.end = s + 1;
	token.text = buf.data;
	return token;
}

static Token
read_token(const char *s)
{
	Token		token = {.kind = TOKEN_BAD};
	const char *begin;
	int			len;

	while ((len = space_len(s)) > 0)
		s += len;
	token.end = s + 1;
	len = read_operator(s, &token.type);
	if (*s == '\0')
		token.kind = TOKEN_END;
	else if (*s == '{')
		token.kind = TOKEN_OPEN;
	else if (*s == '}')
		token.kind = TOKEN_CLOSE;
	else if (*s == ',')
		token.kind = TOKEN_COMMA;
	else if (*s == '"')
		return read_quoted(s);
	else if (len > 0)
	{
		token.kind = TOKEN_OPERATOR;
		token.end = s + len;
	}
	else if (!is_reserved(s))
	{
		begin = s;
		while (*s && !is_reserved(s))
			s += pg_mblen(s);
		token.kind = TOKEN_WORD;
		token.text = pnstrdup(begin, s - begin);
		token.end = s;
	}
	return token;
}

/* One matcher at *s, which moves behind it; NULL with the reason. */
static Matcher *
read_matcher(const char **s, char **why)
{
	Token		name = read_token(*s);
	Token		operator;
	Token		value;

	if (name.kind != TOKEN_WORD)
	{
		*why = psprintf("A label name is expected at \"%s\".", *s);
		return NULL;
	}
	operator = read_token(name.end);
	if (operator.kind != TOKEN_OPERATOR)
	{
		*why = psprintf("One of =, !=, =~, !~ is expected at \"%s\".", name.end);
		return NULL;
	}
	value = read_token(operator.end);
	if (value.kind != TOKEN_WORD)
	{
		*why = psprintf("A value is expected at \"%s\".", operator.end);
		return NULL;
	}
	*s = value.end;
	return pipeline_matcher_make(operator.type, name.text, strlen(name.text), value.text);
}

List *
pipeline_matchers_read_utf8(const char *text, char **why)
{
	const char *s = text;
	Token		token = read_token(s);
	bool		open = token.kind == TOKEN_OPEN;
	List	   *matchers = NIL;

	*why = NULL;
	if (open)
		s = token.end;
	token = read_token(s);
	while (token.kind != TOKEN_END && token.kind != TOKEN_CLOSE)
	{
		Matcher    *matcher = read_matcher(&s, why);

		if (matcher == NULL)
			return NULL;
		matchers = lappend(matchers, matcher);
		token = read_token(s);
		if (token.kind == TOKEN_COMMA)
		{
			s = token.end;
			token = read_token(s);
		}
		else if (token.kind != TOKEN_END && token.kind != TOKEN_CLOSE)
		{
			*why = psprintf("A comma is expected at \"%s\".", s);
			return NULL;
		}
	}
	if ((token.kind == TOKEN_CLOSE) != open)
		*why = psprintf("There is no %s brace.", open ? "closing" : "opening");
	else if (open && read_token(token.end).kind != TOKEN_END)
		*why = psprintf("Nothing is expected after the brace, at \"%s\".", token.end);
	return *why ? NULL : matchers;
}
