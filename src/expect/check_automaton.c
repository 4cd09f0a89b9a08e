/*
 * check_automaton.c
 *	  A byte automaton for regular expressions, over ASCII text.
 *
 * The server compiles a pattern into a compact NFA whose arcs are "colors",
 * classes of characters, and runs it by building a DFA anew for every value.
 * Here the DFA of the search NFA, which answers "is there a match", is built
 * once, as a table from state and byte to state.  It simulates what the
 * server's shortest() does, with the pseudocolors for the two ends of the text,
 * so anchors and newlines mean the same.
 *
 * Patterns with back references or lookaround, and those whose DFA is large,
 * get no automaton; values with bytes beyond ASCII are not its business.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "regex/regex.h"
#include "regex/regguts.h"

#include "expect/check.h"

#define ASCII 128
#define MAX_NFA_STATES 512
#define DEAD 0					/* no match can follow */
#define MATCH 1					/* there is a match, whatever follows */
#define FIRST 2
#define MAX_STATES 256			/* a state is a byte */

struct Automaton
{
	uint8		start;
	int			nstates;
	bool		accepts[MAX_STATES];	/* if the text ends here */
	uint8		next[FLEXIBLE_ARRAY_MEMBER][ASCII];
};

typedef struct Builder
{
	struct cnfa *nfa;
	struct colormap *colors;
	int			words;			/* of a set of NFA states */
	uint64	   *sets;			/* the set of each state of the DFA */
	int			nsets;
	bool		failed;			/* too many states */
} Builder;

static inline bool
has_state(const uint64 *set, int state)
{
	return (set[state / 64] >> (state % 64)) & 1;
}

/*
 * Follow the arcs of a color from a set of states.  Returns the state of the
 * DFA, a new one if need be.
 */
static int
follow(Builder *b, int from, color co)
{
	uint64	   *set = b->sets + from * b->words;
	uint64	   *to = b->sets + b->nsets * b->words;
	bool		pseudo = (b->colors->cd[co].flags & PSEUDO) != 0;
	bool		any = false;

	memset(to, 0, b->words * sizeof(uint64));
	for (int i = 0; i < b->nfa->nstates; i++)
	{
		if (!has_state(set, i))
			continue;
		for (struct carc *arc = b->nfa->states[i]; arc->co != COLORLESS; arc++)
		{
			if (arc->co != co && !(arc->co == RAINBOW && !pseudo))
				continue;
			if (arc->to == b->nfa->post)
				return MATCH;
			to[arc->to / 64] |= UINT64CONST(1) << (arc->to % 64);
			any = true;
		}
	}
	if (!any)
		return DEAD;
	for (int i = FIRST; i < b->nsets; i++)
	{
		if (memcmp(b->sets + i * b->words, to, b->words * sizeof(uint64)) == 0)
			return i;
	}
	if (b->nsets == MAX_STATES - 1)
	{
		b->failed = true;
		return DEAD;
	}
	return b->nsets++;
}

/* Fill the row of a state; bytes of one color go one way. */
static void
fill_row(Builder *b, Automaton *automaton, int state)
{
	for (int c = 0; c < ASCII; c++)
	{
		color		co = GETCOLOR(b->colors, c);
		int			same = 0;

		while (same < c && GETCOLOR(b->colors, same) != co)
			same++;
		automaton->next[state][c] = same < c ? automaton->next[state][same] :
			follow(b, state, co);
	}
}

/*
 * Build the automaton of a compiled pattern in the current memory context, or
 * return NULL if it gets none.
 */
Automaton *
pipeline_automaton_build(void *compiled)
{
	regex_t    *re = compiled;
	struct guts *guts = (struct guts *) re->re_guts;
	Builder		b = {.nfa = &guts->search, .colors = &guts->cmap};
	Automaton  *automaton;

	if ((re->re_info & (REG_UBACKREF | REG_UIMPOSSIBLE)) != 0 ||
		(b.nfa->flags & (HASLACONS | MATCHALL)) != 0 ||
		b.nfa->nstates > MAX_NFA_STATES)
		return NULL;
	b.words = (b.nfa->nstates + 63) / 64;
	b.sets = palloc0(MAX_STATES * b.words * sizeof(uint64));
	automaton = palloc0(offsetof(Automaton, next) + MAX_STATES * ASCII);

	/*
	 * The set of FIRST is where the server starts, before the text; the start
	 * of the text may lead back to it.
	 */
	b.sets[FIRST * b.words + b.nfa->pre / 64] = UINT64CONST(1) << (b.nfa->pre % 64);
	b.nsets = FIRST + 1;
	automaton->start = follow(&b, FIRST, b.nfa->bos[1]);
	memset(automaton->next[MATCH], MATCH, ASCII);
	automaton->accepts[MATCH] = true;
	for (int state = FIRST; state < b.nsets && !b.failed; state++)
	{
		CHECK_FOR_INTERRUPTS();
		fill_row(&b, automaton, state);
		automaton->accepts[state] = follow(&b, state, b.nfa->eos[1]) == MATCH;
	}
	pfree(b.sets);
	if (b.failed)
	{
		pfree(automaton);
		return NULL;
	}
	return automaton;
}

/* Does any part of the text match?  All its bytes are ASCII. */
bool
pipeline_automaton_matches(const Automaton *automaton, const char *data, int len)
{
	uint8		state = automaton->start;

	for (int i = 0; i < len; i++)
	{
		state = automaton->next[state][(unsigned char) data[i]];
		if (state <= MATCH)
			return state == MATCH;
	}
	return automaton->accepts[state];
}
