/*
 * refresh.h
 *	  One refresh: what is computed (refresh.c), and the table that is made
 *	  equal to it (target.c, target_write.c).
 */
#ifndef PIPELINE_FEATURE_REFRESH_H
#define PIPELINE_FEATURE_REFRESH_H

#include "feature/feature.h"

typedef struct Refresh
{
	FeatureSet *set;
	FeaturePlan *plan;
	FeatureRange range;
	FeatureCounts counts;
	FeatureStatistic *statistics;	/* of the plan's features */
	Tuplestorestate *rows;		/* of the plan's result */
	bool		incremental;	/* only rows that can have changed */
	int64		rows_reached;	/* of those computed: not new */
	FeaturePlan *columns_plan;	/* of the features that were changed, or NULL */
	Tuplestorestate *columns;	/* of its result, for every row */
	FeatureStatistic *column_statistics;
	Jsonb	   *watermark;		/* for the next refresh, or NULL */
	Jsonb	   *blocks;			/* the same */
	TimestampTz started_at;
	int64		refresh_id;
	int64		deleted;
	int64		inserted;
	int64		updated;
	double		write_ms;
	double		total_ms;
} Refresh;

/* target.c */
extern Oid	target_oid(const FeatureSet *set);
extern void target_create(const Refresh *refresh);
extern void target_create_index(const Refresh *refresh);
extern void target_check(const Refresh *refresh, Oid relid);

/* target_write.c */
#define TARGET_ROWS "pipeline feature rows"
extern void target_register_rows(TupleDesc desc, Tuplestorestate *rows);
extern char *target_column_list(TupleDesc desc, int first, const char *prefix);
extern void target_write(Refresh *refresh, bool is_new);

#endif							/* PIPELINE_FEATURE_REFRESH_H */
