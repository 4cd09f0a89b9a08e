/*
 * alert_regex.c
 *	  Regular expressions of matchers: Go's (RE2), said in the server's own.
 *
 * They mean what they mean in Alertmanager: the whole value has to match, "."
 * is no line feed, "^" and "$" are the ends of the value, letters and digits are
 * those of ASCII.  What RE2 refuses because its time would not be linear,
 * references back and looking around, is refused, and so is what is not
 * translated: classes of Unicode (\p) and the flag m.  Nothing is passed on
 * unread: what the server reads otherwise would match otherwise.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_collation.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "alert/alert_matchers.h"

/* No label is that long, and each costs the notifier time. */
#define MAX_PATTERN 1000

/* Flags in force, inside one group. */
typedef struct Flags
{
	bool		icase;
	bool		dotall;
} Flags;

typedef struct Translation
{
	const char *s;				/* what is left */
	StringInfoData out;
	Flags		flags[MAX_PATTERN + 1];	/* of the groups that are open */
	int			depth;
	char	   *why;			/* NULL: good so far */
} Translation;

static void
refuse(Translation *t, const char *why)
{
	if (t->why == NULL)
		t->why = pstrdup(why);
}

/* ---- characters -------------------------------------------------------------------- */

/* Append a character as itself; in brackets without those around it. */
static void
put_literal(Translation *t, pg_wchar c)
{
	if (c >= 0x80)
		appendStringInfo(&t->out, "\\U%08X", c);
	else if (isalnum((unsigned char) c))
		appendStringInfoChar(&t->out, c);
	else if (c < 0x20 || c == 0x7F)
		appendStringInfo(&t->out, "\\u%04X", c);
	else
		appendStringInfo(&t->out, "\\%c", c);
}

/* The other case of a letter of ASCII; 0: it is none. */
static pg_wchar
other_case(pg_wchar c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 'A';
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	return 0;
}

/* Append a character outside of brackets. */
static void
put_character(Translation *t, pg_wchar c)
{
	bool		both = t->flags[t->depth].icase && other_case(c);

	if (both)
		appendStringInfoChar(&t->out, '[');
	put_literal(t, c);
	if (both)
	{
		put_literal(t, other_case(c));
		appendStringInfoChar(&t->out, ']');
	}
}

/* Append a range to a bracket, with the other case of its letters. */
static void
put_range(Translation *t, pg_wchar low, pg_wchar high)
{
	if (low > high)
	{
		refuse(t, "a range ends before it begins");
		return;
	}
	put_literal(t, low);
	if (high != low)
	{
		appendStringInfoChar(&t->out, '-');
		put_literal(t, high);
	}
	if (!t->flags[t->depth].icase)
		return;
	for (pg_wchar c = Max(low, 'A'); c <= Min(high, 'z'); c++)
	{
		if (other_case(c))
			put_literal(t, other_case(c));
	}
}

/* The character of our encoding at s, and behind it. */
static pg_wchar
next_character(Translation *t)
{
	pg_wchar	wide[2];
	int			len = pg_mblen(t->s);

	(void) pg_mb2wchar_with_len(t->s, wide, len);
	t->s += len;
	return wide[0];
}

/* Behind \x: two hexadecimal digits, or any number of them in braces. */
static pg_wchar
read_hex(Translation *t)
{
	bool		braces = *t->s == '{';
	const char *digits = t->s + (braces ? 1 : 0);
	int			n = strspn(digits, "0123456789abcdefABCDEF");
	unsigned long c;

	if (!braces)
		n = Min(n, 2);
	if (n == 0 || n > 8 || (braces ? digits[n] != '}' : n != 2))
	{
		refuse(t, "\\x is followed by two hexadecimal digits, or more in braces");
		return 1;
	}
	c = strtoul(pnstrdup(digits, n), NULL, 16);
	t->s = digits + n + (braces ? 1 : 0);
	if (c == 0 || c > 0x10FFFF)
		refuse(t, "\\x is no character");
	return (pg_wchar) c;
}

/* Behind a backslash: a single character; false if it is something else. */
static bool
read_escaped(Translation *t, pg_wchar *c)
{
	static const char names[] = "afnrtv";
	static const char values[] = "\a\f\n\r\t\v";
	char		e = *t->s;

	if (e == 'x')
	{
		t->s++;
		*c = read_hex(t);
		return true;
	}
	if (e != '\0' && strchr(names, e))
	{
		*c = values[strchr(names, e) - names];
		t->s++;
		return true;
	}
	if (e > 0 && !isalnum((unsigned char) e))
	{
		*c = e;
		t->s++;
		return true;
	}
	return false;
}

/* Say why something behind a backslash is not read. */
static void
refuse_escape(Translation *t)
{
	if (*t->s == 'p' || *t->s == 'P')
		refuse(t, "classes of Unicode such as \\p{L} are not supported; write the characters in brackets");
	else if (*t->s >= '0' && *t->s <= '9')
		refuse(t, "it refers back, which Alertmanager's do not");
	else if (*t->s == '\0')
		refuse(t, "it ends with a backslash");
	else
		refuse(t, psprintf("\\%.*s means nothing", pg_mblen(t->s), t->s));
}

/* ---- brackets ---------------------------------------------------------------------- */

/* A class such as [:alpha:]; false if it is none. */
static bool
put_named_class(Translation *t)
{
	static const char *const names[] = {"alnum", "alpha", "blank", "cntrl", "digit", "graph",
		"lower", "print", "punct", "space", "upper", "word", "xdigit", NULL
	};
	const char *end = strstr(t->s, ":]");

	if (strncmp(t->s, "[:", 2) != 0 || end == NULL)
		return false;
	for (int i = 0; names[i]; i++)
	{
		int			len = strlen(names[i]);

		if (end - t->s - 2 != len || strncmp(t->s + 2, names[i], len) != 0)
			continue;
		appendStringInfo(&t->out, "[:%s:]", names[i]);
		if (t->flags[t->depth].icase && (strcmp(names[i], "lower") == 0 || strcmp(names[i], "upper") == 0))
			appendStringInfoString(&t->out, "[:alpha:]");
		t->s = end + 2;
		return true;
	}
	refuse(t, psprintf("\"%s\" is no class", pnstrdup(t->s, end + 2 - t->s)));
	t->s = end + 2;
	return true;
}

/* One end of a range, or \d and the like, which is appended: then false. */
static bool
read_bracket_item(Translation *t, pg_wchar *c)
{
	if (*t->s != '\\')
	{
		*c = next_character(t);
		return true;
	}
	t->s++;
	if (read_escaped(t, c))
		return true;
	if (*t->s == 's')
		appendStringInfoString(&t->out, "\\t\\n\\f\\r ");
	else if (*t->s != '\0' && strchr("dDwW", *t->s))
		appendStringInfo(&t->out, "\\%c", *t->s);
	else if (*t->s == 'S')
		refuse(t, "\\S in brackets is not supported");
	else
		refuse_escape(t);
	if (*t->s)
		t->s++;
	return false;
}

static void
translate_bracket(Translation *t)
{
	bool		first = true;

	appendStringInfoChar(&t->out, '[');
	t->s++;
	if (*t->s == '^')
	{
		appendStringInfoChar(&t->out, '^');
		t->s++;
	}
	for (; t->why == NULL && (*t->s != ']' || first); first = false)
	{
		pg_wchar	low;
		pg_wchar	high;

		if (*t->s == '\0')
		{
			refuse(t, "a bracket is not closed");
			return;
		}
		if (put_named_class(t) || !read_bracket_item(t, &low))
			continue;
		high = low;
		if (t->s[0] == '-' && t->s[1] != ']' && t->s[1] != '\0')
		{
			t->s++;
			if (!read_bracket_item(t, &high))
				refuse(t, "a range has no end");
		}
		put_range(t, low, high);
	}
	appendStringInfoChar(&t->out, ']');
	if (t->why == NULL)
		t->s++;
}

/* ---- groups ------------------------------------------------------------------------- */

/* A name as of (?P<name>...), whose end is returned; NULL: it is none. */
static const char *
group_name_end(const char *s)
{
	int			n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return n > 0 && s[n] == '>' ? s + n + 1 : NULL;
}

static void
open_group(Translation *t)
{
	appendStringInfoString(&t->out, "(?:");
	t->flags[t->depth + 1] = t->flags[t->depth];
	t->depth++;
}

/* Flags: (?i) holds for the rest of the group that it stands in, (?i:...) inside. */
static void
translate_flags(Translation *t)
{
	Flags		flags = t->flags[t->depth];
	bool		on = true;

	for (; *t->s && *t->s != ')' && *t->s != ':'; t->s++)
	{
		if (*t->s == 'i')
			flags.icase = on;
		else if (*t->s == 's')
			flags.dotall = on;
		else if (*t->s == '-' && on)
			on = false;
		else if (*t->s == 'm')
			refuse(t, "the flag m is not supported");
		/* Greedy or not: either the whole value matches or it does not. */
		else if (*t->s != 'U')
			refuse(t, "it looks around, or has flags, which Alertmanager's do not");
	}
	if (*t->s == ':')
		open_group(t);
	else if (*t->s == '\0')
		refuse(t, "a group is not closed");
	t->flags[t->depth] = flags;
	if (*t->s)
		t->s++;
}

static void
translate_group(Translation *t)
{
	const char *end = NULL;

	if (t->s[1] != '?')
	{
		open_group(t);
		t->s++;
		return;
	}
	/* What a group has matched is never asked: a name for it means nothing. */
	if (strncmp(t->s, "(?P<", 4) == 0)
		end = group_name_end(t->s + 4);
	else if (strncmp(t->s, "(?<", 3) == 0)
		end = group_name_end(t->s + 3);
	if (end)
	{
		open_group(t);
		t->s = end;
		return;
	}
	t->s += 2;
	translate_flags(t);
}

/* ---- all of it ------------------------------------------------------------------------ */

static void
translate_escape(Translation *t)
{
	pg_wchar	c;

	t->s++;
	if (read_escaped(t, &c))
	{
		put_character(t, c);
		return;
	}
	if (*t->s == 'Q')
	{
		for (t->s++; *t->s && strncmp(t->s, "\\E", 2) != 0;)
			put_character(t, next_character(t));
		t->s += *t->s ? 2 : 0;
		return;
	}
	switch (*t->s)
	{
		case 'b':
			appendStringInfoString(&t->out, "\\y");
			break;
		case 'B':
			appendStringInfoString(&t->out, "\\Y");
			break;
		case 'A':
			appendStringInfoChar(&t->out, '^');
			break;
		case 'z':
			appendStringInfoChar(&t->out, '$');
			break;
		case 's':
			appendStringInfoString(&t->out, "[\\t\\n\\f\\r ]");
			break;
		case 'S':
			appendStringInfoString(&t->out, "[^\\t\\n\\f\\r ]");
			break;
		case 'd':
		case 'D':
		case 'w':
		case 'W':
			appendStringInfo(&t->out, "\\%c", *t->s);
			break;
		default:
			refuse_escape(t);
			return;
	}
	t->s++;
}

static void
translate_one(Translation *t)
{
	switch (*t->s)
	{
		case '\\':
			translate_escape(t);
			break;
		case '[':
			translate_bracket(t);
			break;
		case '(':
			translate_group(t);
			break;
		case ')':
			if (t->depth == 0)
				refuse(t, "a group is closed that is not open");
			else
				t->depth--;
			appendStringInfoChar(&t->out, *t->s++);
			break;
		case '.':
			appendStringInfoString(&t->out, t->flags[t->depth].dotall ? "." : "[^\\n]");
			t->s++;
			break;
		case '^':
		case '$':
		case '|':
		case '*':
		case '+':
		case '?':
			appendStringInfoChar(&t->out, *t->s++);
			break;
		case '{':
			/* Else it is itself. */
			if (isdigit((unsigned char) t->s[1]))
			{
				int			n = strcspn(t->s, "}");

				appendBinaryStringInfo(&t->out, t->s, n + (t->s[n] ? 1 : 0));
				t->s += n + (t->s[n] ? 1 : 0);
				break;
			}
			/* FALLTHROUGH */
		default:
			put_character(t, next_character(t));
	}
}

static void
free_regex(void *arg)
{
	pg_regfree((regex_t *) arg);
}

/* Compile what is already said in the server's syntax; the reason if it cannot be. */
static char *
compile(const char *pattern, regex_t **compiled)
{
	int			len = strlen(pattern);
	pg_wchar   *wide = palloc_array(pg_wchar, len + 1);
	regex_t    *re = palloc0(sizeof(regex_t));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	int			code;

	len = pg_mb2wchar_with_len(pattern, wide, len);
	code = pg_regcomp(re, wide, len, REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);
	if (code != REG_OKAY)
	{
		char		message[100];

		pg_regerror(code, re, message, sizeof(message));
		return pstrdup(message);
	}
	callback->func = free_regex;
	callback->arg = re;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	*compiled = re;
	pfree(wide);
	return NULL;
}

/* Compile a matcher's regular expression; the reason when it cannot be. */
char *
pipeline_matcher_compile(Matcher *matcher)
{
	Translation *t;
	char	   *why;

	if (matcher->value_len > MAX_PATTERN)
		return psprintf("A regular expression has at most %d bytes, this has %d.",
						MAX_PATTERN, matcher->value_len);
	t = palloc0(sizeof(Translation));
	t->s = matcher->value;
	initStringInfo(&t->out);
	appendStringInfoString(&t->out, "^(?:");
	while (*t->s && t->why == NULL)
		translate_one(t);
	if (t->depth > 0)
		refuse(t, "a group is not closed");
	appendStringInfoString(&t->out, ")$");
	why = t->why ? t->why : compile(t->out.data, &matcher->re);
	if (why)
		why = psprintf("The regular expression \"%s\" is invalid: %s.", matcher->value, why);
	pfree(t->out.data);
	pfree(t);
	return why;
}
