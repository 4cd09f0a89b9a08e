/*
 * check_regex.c
 *	  Matching of PostgreSQL's regular expressions, compiled once.
 *
 * The server's own cache would be asked, and its pattern compared, for every
 * row; and it holds 32 patterns.  Values in ASCII are answered by an automaton
 * where the pattern has one.  Of the rest, those of few distinct forms (codes,
 * states) are answered from a small table of verdicts; it is dropped when it
 * does not pay.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/memutils.h"

#include "expect/check.h"

#define CACHE_SLOTS 1024
#define CACHE_BYTES 31			/* longest value that is remembered */
#define CACHE_TRIAL 8192		/* lookups after which it must have paid */

typedef struct Verdict
{
	uint8		len;			/* 0: free; else length + 1 */
	bool		matches;
	char		data[CACHE_BYTES];
} Verdict;

struct Regex
{
	regex_t		re;
	MemoryContext context;
	bool		tried;			/* to build the automaton */
	Automaton  *automaton;		/* NULL: there is none */
	pg_wchar   *wide;
	int			wide_size;
	Verdict    *cache;			/* NULL: given up */
	uint32		lookups;
	uint32		hits;
};

/* The compiled form may live outside of our memory contexts. */
static void
free_regex(void *arg)
{
	pg_regfree(&((Regex *) arg)->re);
}

static void
regex_failed(int code, regex_t *re)
{
	char		message[100];

	/* The matcher gives up when it is to be cancelled: that is no fault. */
	CHECK_FOR_INTERRUPTS();
	pg_regerror(code, re, message, sizeof(message));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
			 errmsg("invalid regular expression: %s", message)));
}

/*
 * Compile a pattern, an "advanced" regular expression as for the operator ~,
 * into the current memory context.  2201B if it is none.
 */
Regex *
pipeline_regex_compile(const char *pattern, Oid collation)
{
	Regex	   *regex = palloc0(sizeof(Regex));
	int			len = strlen(pattern);
	pg_wchar   *wide = palloc_array(pg_wchar, len + 1);
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	int			code;

	len = pg_mb2wchar_with_len(pattern, wide, len);
	code = pg_regcomp(&regex->re, wide, len, REG_ADVANCED | REG_NOSUB,
					  OidIsValid(collation) ? collation : DEFAULT_COLLATION_OID);
	pfree(wide);
	if (code != REG_OKAY)
		regex_failed(code, &regex->re);
	callback->func = free_regex;
	callback->arg = regex;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	regex->context = CurrentMemoryContext;
	regex->wide_size = 256;
	regex->wide = palloc_array(pg_wchar, regex->wide_size);
	regex->cache = palloc0_array(Verdict, CACHE_SLOTS);
	return regex;
}

static bool
match(Regex *regex, const char *data, int len)
{
	int			wide_len;
	int			code;

	if (len >= regex->wide_size)
	{
		regex->wide_size = len + 1 + len / 2;
		regex->wide = repalloc_huge(regex->wide, regex->wide_size * sizeof(pg_wchar));
	}
	wide_len = pg_mb2wchar_with_len(data, regex->wide, len);
	code = pg_regexec(&regex->re, regex->wide, wide_len, 0, NULL, 0, NULL, 0);
	if (code != REG_OKAY && code != REG_NOMATCH)
		regex_failed(code, &regex->re);
	return code == REG_OKAY;
}

/* Can the automaton tell?  It is built for the first value. */
static bool
for_automaton(Regex *regex, const char *data, int len)
{
	uint64		high = 0;
	int			i = 0;

	if (!regex->tried)
	{
		MemoryContext old = MemoryContextSwitchTo(regex->context);

		regex->tried = true;
		regex->automaton = pipeline_automaton_build(&regex->re);
		MemoryContextSwitchTo(old);
	}
	if (regex->automaton == NULL)
		return false;
	for (; i + 8 <= len; i += 8)
	{
		uint64		bytes;

		memcpy(&bytes, data + i, 8);
		high |= bytes;
	}
	for (; i < len; i++)
		high |= (unsigned char) data[i];
	return (high & UINT64CONST(0x8080808080808080)) == 0;
}

/* Does any part of the text match? */
bool
pipeline_regex_matches(Regex *regex, const char *data, int len)
{
	Verdict    *slot;

	if (for_automaton(regex, data, len))
		return pipeline_automaton_matches(regex->automaton, data, len);
	if (regex->cache == NULL || len > CACHE_BYTES)
		return match(regex, data, len);
	slot = &regex->cache[hash_bytes((const unsigned char *) data, len) % CACHE_SLOTS];
	regex->lookups++;
	if (slot->len == len + 1 && memcmp(slot->data, data, len) == 0)
	{
		regex->hits++;
		return slot->matches;
	}
	slot->matches = match(regex, data, len);
	slot->len = len + 1;
	memcpy(slot->data, data, len);
	if (regex->lookups >= CACHE_TRIAL && regex->hits < regex->lookups / 4)
		regex->cache = NULL;
	return slot->matches;
}
