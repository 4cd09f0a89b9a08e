/*
 * rows.h
 *	  Our own tables, row by row; see rows.c.
 *
 * A RowTable is a static variable of a room: a name, the names of the columns
 * that it uses, and room for what is open.  There is one current row.
 */
#ifndef PIPELINE_ROWS_H
#define PIPELINE_ROWS_H

#include "postgres.h"

#include "access/relscan.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "compat.h"

#define ROW_COLUMNS 64
#define ROW_KEYS 4

typedef struct RowTable
{
	const char *name;			/* in schema pipeline */
	const char *const *columns;
	int			ncolumns;
	/* private */
	Oid			relid;			/* that attnums belong to */
	AttrNumber	attnums[ROW_COLUMNS];
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *info;		/* once something was written */
	TupleTableSlot *row;
	TupleTableSlot *changed;
	bool		is_changed;
} RowTable;

typedef struct RowScan
{
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc desc;
} RowScan;

extern void pipeline_rows_open(RowTable *t);
extern void pipeline_rows_close(RowTable *t);
extern void pipeline_rows_begin(RowTable *t, RowScan *scan, const char *index,
								int nkeys, const Datum *keys);
extern void pipeline_rows_begin_from(RowTable *t, RowScan *scan,
									 const char *index, int nkeys,
									 const Datum *keys);
extern bool pipeline_rows_next(RowTable *t, RowScan *scan);
extern void pipeline_rows_end(RowTable *t, RowScan *scan);

extern bool pipeline_row_find(RowTable *t, const char *index, int nkeys,
							  const Datum *keys);
extern bool pipeline_row_lock(RowTable *t, bool skip);
extern Datum pipeline_row_get(RowTable *t, int column, bool *isnull);
extern char *pipeline_row_text(RowTable *t, int column);
extern int32 pipeline_row_int4(RowTable *t, int column);
extern bool pipeline_row_is(RowTable *t, int column, const char *string);
extern void pipeline_row_new(RowTable *t);
extern void pipeline_row_set(RowTable *t, int column, Datum value, bool isnull);
extern void pipeline_row_set_text(RowTable *t, int column, const char *string);
extern void pipeline_row_update(RowTable *t);
extern void pipeline_row_insert(RowTable *t);

#endif							/* PIPELINE_ROWS_H */
