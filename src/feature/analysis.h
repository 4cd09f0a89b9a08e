/*
 * analysis.h
 *	  What the files that plan one feature share.
 */
#ifndef PIPELINE_FEATURE_ANALYSIS_H
#define PIPELINE_FEATURE_ANALYSIS_H

#include "feature/feature.h"

/* What an error during the analysis of a feature is about. */
typedef struct FeatureContext
{
	const char *feature;
	const char *argument;		/* NULL: the feature as such */
	const char *sql;			/* NULL, or the statement under analysis */
	ErrorContextCallback callback;
} FeatureContext;

/* plan_inputs.c */
extern char *plan_expression(FeatureContext *context, const Stream *stream,
							 const char *text, const char *argument,
							 struct Expr **result);
extern int	plan_input(FeatureContext *context, Stream *stream,
					   Feature *feature);
extern int	plan_by(FeatureContext *context, Stream *stream,
					const FeatureSpec *spec);

/* plan_results.c */
extern void plan_result(FeatureContext *context, Feature *feature,
						Stream *stream);
extern void plan_default(FeatureContext *context, Feature *feature);

#endif							/* PIPELINE_FEATURE_ANALYSIS_H */
