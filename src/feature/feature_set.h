/*
 * feature_set.h
 *	  A registered definition: a spine, and features over it.
 */
#ifndef PIPELINE_FEATURE_FEATURE_SET_H
#define PIPELINE_FEATURE_FEATURE_SET_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/base.h"

typedef struct FeatureSet
{
	char	   *name;
	Oid			owner;
	char	   *spine;
	List	   *entity;
	char	   *event_time;
	char	   *knowledge_time; /* or NULL */
	char	   *target;			/* qualified and quoted */
	char	   *timezone;
	char	   *search_path;
	List	   *spine_key;		/* columns, or NIL */
	List	   *specs;			/* of FeatureSpec */
} FeatureSet;

extern FeatureSet *feature_set_load(const char *name);
extern char *feature_target_name(const char *target, const char *set);
extern void feature_check_timezone(const char *timezone);
extern void feature_set_over(FeatureSet *set, const char *spine,
							 const char *target);
extern void feature_set_begin(const FeatureSet *set, UserScope *scope);

#endif							/* PIPELINE_FEATURE_FEATURE_SET_H */
