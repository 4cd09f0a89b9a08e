/*
 * check_places.h
 *	  Where the rows lie that fail a check.
 */
#ifndef PIPELINE_CHECK_PLACES_H
#define PIPELINE_CHECK_PLACES_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/itemptr.h"

#define MAX_PLACES 100000

typedef struct Place
{
	Oid			table;			/* of a partitioned one, the partition */
	ItemPointerData tid;
} Place;

typedef struct Places
{
	bool		overflow;		/* there are more, and it is not known where */
	int			n;
	int			room;
	Place	   *list;
} Places;

extern void pipeline_places_add(Places *places, Oid table, ItemPointer tid,
								MemoryContext context);
extern void pipeline_places_combine(Places *places, const Places *other,
									MemoryContext context);
extern void pipeline_places_send(StringInfo buf, const Places *places);
extern void pipeline_places_receive(StringInfo buf, Places *places);
extern void pipeline_places_json(StringInfo buf, const Places *places);
extern void pipeline_places_parse(Places *places, const char *text,
								  MemoryContext context);
extern void pipeline_places_sort(Places *places);

#endif							/* PIPELINE_CHECK_PLACES_H */
