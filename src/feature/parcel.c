/*
 * parcel.c
 *	  Pieces of data on their way from one process to another: see parcel.h.
 */
#include "postgres.h"

#include <fcntl.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "feature/parcel.h"

#define CHUNK (128 * 1024)

static void
write_chunk(Parcel *parcel)
{
	if (parcel->head.pieces == 0)
		return;
	BufFileWrite(parcel->file, &parcel->head, sizeof(ChunkHead));
	BufFileWrite(parcel->file, parcel->chunk, parcel->head.length);
	parcel->head.pieces = 0;
	parcel->head.length = 0;
}

static void
make_room(Parcel *parcel, Size size)
{
	if (parcel->room >= size)
		return;
	if (parcel->chunk != NULL)
		pfree(parcel->chunk);
	parcel->room = Max(size, CHUNK);
	parcel->chunk = MemoryContextAllocHuge(CurrentMemoryContext, parcel->room);
}

/*
 * Return room for a piece, to be filled and appended; the file of that name is
 * made for the first, in the current context, which must be the same for all.
 * A piece whose size is a multiple of 8 is aligned.
 */
char *
parcel_reserve(Parcel *parcel, SharedFileSet *files, const char *name, Size size)
{
	if (parcel->file == NULL)
		parcel->file = BufFileCreateFileSet(&files->fs, name);
	if (parcel->head.length + size > parcel->room)
	{
		write_chunk(parcel);
		make_room(parcel, size);
	}
	return parcel->chunk + parcel->head.length;
}

/* Nothing more is put in: others may open it. */
void
parcel_send(Parcel *parcel)
{
	if (parcel->file == NULL)
		return;
	write_chunk(parcel);
	BufFileExportFileSet(parcel->file);
	parcel_close(parcel);
}

/* Open what another has sent; false: it has put nothing in. */
bool
parcel_open(Parcel *parcel, SharedFileSet *files, const char *name)
{
	memset(parcel, 0, sizeof(Parcel));
	parcel->file = BufFileOpenFileSet(&files->fs, name, O_RDONLY, true);
	return parcel->file != NULL;
}

/* Read the next chunk into `chunk`; false: that was all. */
bool
parcel_next_chunk(Parcel *parcel)
{
	size_t		got = BufFileRead(parcel->file, &parcel->head, sizeof(ChunkHead));

	CHECK_FOR_INTERRUPTS();
	if (got == 0)
		return false;
	if (got == sizeof(ChunkHead))
	{
		make_room(parcel, parcel->head.length);
		got = BufFileRead(parcel->file, parcel->chunk, parcel->head.length);
	}
	if (got != parcel->head.length)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from a temporary file of features")));
	return true;
}

void
parcel_close(Parcel *parcel)
{
	BufFileClose(parcel->file);
	parcel->file = NULL;
	if (parcel->chunk != NULL)
		pfree(parcel->chunk);
	parcel->chunk = NULL;
	parcel->room = 0;
}
