/*
 * parcel.h
 *	  Pieces of data on their way from one process to another, in a file of
 *	  chunks: each says how many pieces it has, and how long it is.
 */
#ifndef PIPELINE_FEATURE_PARCEL_H
#define PIPELINE_FEATURE_PARCEL_H

#include "nodes/memnodes.h"
#include "storage/buffile.h"
#include "storage/sharedfileset.h"

typedef struct ChunkHead
{
	uint64		pieces;
	Size		length;
} ChunkHead;

typedef struct Parcel
{
	BufFile    *file;			/* NULL: nothing was put in yet */
	ChunkHead	head;			/* of the chunk at hand */
	char	   *chunk;
	Size		room;
} Parcel;

/* Rows of the result on their way; each takes a multiple of 8 bytes. */
typedef struct RowParcel
{
	Parcel		parcel;
	SharedFileSet *files;
	const char *name;
	MemoryContext context;
} RowParcel;

extern char *parcel_reserve(Parcel *parcel, SharedFileSet *files, const char *name,
							Size size);
extern void parcel_send(Parcel *parcel);
extern bool parcel_open(Parcel *parcel, SharedFileSet *files, const char *name);
extern bool parcel_next_chunk(Parcel *parcel);
extern void parcel_close(Parcel *parcel);

/* Put in what was reserved last, of which so much is used. */
static inline void
parcel_append(Parcel *parcel, Size size)
{
	parcel->head.length += size;
	parcel->head.pieces++;
}

#endif							/* PIPELINE_FEATURE_PARCEL_H */
