/*
 * feature.h
 *	  The shape of a computation of windowed features, from what the user
 *	  said to the rows that come out.
 *
 *	  FeatureSpec	one feature as given, its options checked	(spec.h)
 *	  FeatureSet	a registered definition: spine and features	(feature_set.h)
 *	  FeaturePlan	all features analysed against the spine and the sources:
 *					streams, inputs, windows, result columns	(plan.h)
 *	  KeyTable		the entities of the spine					(key_table.h)
 *	  RecordStore	spine rows and events, in memory or spilled	(record.h)
 *	  FeatureRun	one scan of the spine, one of every stream; then per
 *					entity: order, slide, aggregate, emit		(run.h)
 *	  aggregates	where windows stand, and what they hold		(aggregate.h)
 */
#ifndef PIPELINE_FEATURE_H
#define PIPELINE_FEATURE_H

#include "postgres.h"

#include "base/base.h"
#include "feature/aggregate.h"
#include "feature/feature_set.h"
#include "feature/key_table.h"
#include "feature/plan.h"
#include "feature/record.h"
#include "feature/run.h"
#include "feature/spec.h"

#endif							/* PIPELINE_FEATURE_H */
