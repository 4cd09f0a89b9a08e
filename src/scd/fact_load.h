/*
 * fact_load.h
 *	  What the files of a load of a fact share: fact_load.c reads, looks up and
 *	  records; fact_write.c writes by the mode.
 */
#ifndef PIPELINE_SCD_FACT_LOAD_H
#define PIPELINE_SCD_FACT_LOAD_H

#include "portability/instr_time.h"
#include "scd/scd.h"

#define SOURCE_ROWS "pipeline_fact_source"
#define FACT_ROWS "pipeline_fact_rows"

typedef struct FactLoad
{
	Fact	   *fact;
	Source	   *source;
	int			ncolumns;		/* of the source */
	int			nlookups;
	MergeColumn *columns;
	int64		load_id;
	Tuplestorestate *source_rows;
	TupleDesc	source_desc;
	Tuplestorestate *rows;		/* n, reason, unknown, s1.., k1.. */
	TupleDesc	desc;
	int64		rows_read;
	int64		inserted;
	int64		updated;
	int64		unchanged;
	int64		duplicate;
	int64		rejected;
	int64		unknown;
	int64		inferred;
	int64		removed;
	char	   *content;
	instr_time	start;
	TimestampTz started;
} FactLoad;

extern char *pipeline_scd_delta_column(void *load, const char *column);
extern void pipeline_scd_write_facts(FactLoad *load);
extern void pipeline_scd_append_differs(StringInfo sql, const char *a,
										const char *b, const char *operator);

#endif							/* PIPELINE_SCD_FACT_LOAD_H */
