/*
 * check_places.c
 *	  Where the rows lie that fail a check, found by the scan that judges them:
 *	  so that the quarantine need not look for them again.
 *
 * Past a limit they are forgotten: so many rows are as well found by a second
 * scan.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/memutils.h"

#include "expect/check_places.h"

/* Room for one more; false: there are too many. */
static bool
make_room(Places *places, MemoryContext context)
{
	if (places->overflow)
		return false;
	if (places->n == MAX_PLACES)
	{
		places->overflow = true;
		return false;
	}
	if (places->list == NULL)
	{
		places->room = 64;
		places->list = MemoryContextAlloc(context, places->room * sizeof(Place));
	}
	else if (places->n == places->room)
	{
		places->room *= 2;
		places->list = repalloc(places->list, places->room * sizeof(Place));
	}
	return true;
}

/* Add a place; the list lives in the context. */
void
pipeline_places_add(Places *places, Oid table, ItemPointer tid, MemoryContext context)
{
	if (!make_room(places, context))
		return;
	places->list[places->n].table = table;
	places->list[places->n++].tid = *tid;
}

/* Add those of another list. */
void
pipeline_places_combine(Places *places, const Places *other, MemoryContext context)
{
	places->overflow |= other->overflow;
	for (int i = 0; i < other->n; i++)
		pipeline_places_add(places, other->list[i].table, &other->list[i].tid, context);
}

/* To and from another process. */
void
pipeline_places_send(StringInfo buf, const Places *places)
{
	pq_sendint32(buf, places->overflow);
	pq_sendint32(buf, places->n);
	for (int i = 0; i < places->n; i++)
	{
		pq_sendint32(buf, places->list[i].table);
		pq_sendint32(buf, ItemPointerGetBlockNumberNoCheck(&places->list[i].tid));
		pq_sendint16(buf, ItemPointerGetOffsetNumberNoCheck(&places->list[i].tid));
	}
}

void
pipeline_places_receive(StringInfo buf, Places *places)
{
	int			n;

	places->overflow = pq_getmsgint(buf, 4) != 0;
	n = pq_getmsgint(buf, 4);
	for (int i = 0; i < n; i++)
	{
		Oid			table = pq_getmsgint(buf, 4);
		BlockNumber block = pq_getmsgint(buf, 4);
		ItemPointerData tid;

		ItemPointerSet(&tid, block, pq_getmsgint(buf, 2));
		pipeline_places_add(places, table, &tid, CurrentMemoryContext);
	}
}

/* As a JSON string of hexadecimal digits: 20 for each, or "overflow". */
void
pipeline_places_json(StringInfo buf, const Places *places)
{
	if (places->overflow)
	{
		appendStringInfoString(buf, "\"overflow\"");
		return;
	}
	appendStringInfoChar(buf, '"');
	for (int i = 0; i < places->n; i++)
		appendStringInfo(buf, "%08x%08x%04x", places->list[i].table,
						 ItemPointerGetBlockNumberNoCheck(&places->list[i].tid),
						 ItemPointerGetOffsetNumberNoCheck(&places->list[i].tid));
	appendStringInfoChar(buf, '"');
}

/* Add those of such a string. */
void
pipeline_places_parse(Places *places, const char *text, MemoryContext context)
{
	if (strcmp(text, "overflow") == 0)
	{
		places->overflow = true;
		return;
	}
	for (; *text; text += 20)
	{
		unsigned int table;
		unsigned int block;
		unsigned int offset;
		ItemPointerData tid;

		if (sscanf(text, "%8x%8x%4x", &table, &block, &offset) != 3)
			elog(ERROR, "malformed places of rows");
		ItemPointerSet(&tid, block, (OffsetNumber) offset);
		pipeline_places_add(places, table, &tid, context);
	}
}

static int
compare_places(const void *a, const void *b)
{
	const Place *x = a;
	const Place *y = b;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return ItemPointerCompare(unconstify(ItemPointerData *, &x->tid),
							  unconstify(ItemPointerData *, &y->tid));
}

/* Put them in order, each once. */
void
pipeline_places_sort(Places *places)
{
	int			n = 0;

	if (places->n == 0)
		return;
	qsort(places->list, places->n, sizeof(Place), compare_places);
	for (int i = 1; i < places->n; i++)
	{
		if (compare_places(&places->list[n], &places->list[i]) != 0)
			places->list[++n] = places->list[i];
	}
	places->n = n + 1;
}
