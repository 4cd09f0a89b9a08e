/*
 * rollup.h
 *	  A rollup: aggregates over windows of time, kept in a table.
 *
 *	  rollup.c			definitions: create, drop, load
 *	  rollup_sql.c		the statements that a definition means
 *	  rollup_refresh.c	the table made equal to them; late rows
 */
#ifndef PIPELINE_FEATURE_ROLLUP_H
#define PIPELINE_FEATURE_ROLLUP_H

#include "feature/feature.h"

typedef enum RollupKind
{
	ROLLUP_TUMBLING,
	ROLLUP_HOPPING,
	ROLLUP_SESSION
} RollupKind;

typedef struct Rollup
{
	char	   *name;
	Oid			owner;
	char	   *source;
	char	   *event_time;
	char	   *kind_name;
	RollupKind	kind;
	const Jsonb *aggregates;	/* column: expression */
	Interval   *width;			/* NULL: a session */
	Interval   *slide;			/* NULL: not hopping */
	Interval   *gap;			/* NULL: no session */
	List	   *group_by;		/* expressions, with AS where they have no name */
	List	   *group_names;	/* of their columns, once analysed */
	Interval   *allowed_lateness;
	char	   *target;			/* qualified and quoted */
	char	   *timezone;
	char	   *search_path;

	/* state */
	char	   *watermark;		/* timestamptz, or NULL */
	char	   *closed_before;	/* the same; NULL: nothing is closed */
	char	   *snapshot;		/* of the last refresh, or NULL */
	bool		has_target;
} Rollup;

/* rollup.c */
extern Rollup *rollup_load(const char *name);
extern void rollup_begin(const Rollup *rollup, UserScope *scope);
extern TupleDesc rollup_analyse(Rollup *rollup, Source **source);

/* rollup_sql.c */
extern char *rollup_groups_sql(const Rollup *rollup, const Source *source);
extern char *rollup_windows_sql(const Rollup *rollup, const Source *source);
extern char *rollup_times_sql(const Rollup *rollup, const Source *source);
extern char *rollup_late_sql(const Rollup *rollup, const Source *source);
extern bool rollup_tells_late_rows(const Source *source);

/* change_scan.c */
extern char *snapshot_as_text(void);

#endif							/* PIPELINE_FEATURE_ROLLUP_H */
