/*
 * progress.h
 *	  How far a computation is: for pipeline.feature_progress, and for the task
 *	  that it is part of.
 */
#ifndef PIPELINE_FEATURE_PROGRESS_H
#define PIPELINE_FEATURE_PROGRESS_H

#include "postgres.h"

typedef enum ProgressPhase
{
	PROGRESS_STARTING,
	PROGRESS_SEARCHING,			/* blocks */
	PROGRESS_SPINE,				/* blocks; rows by the executor */
	PROGRESS_EVENTS,			/* the same */
	PROGRESS_COMPUTING,			/* entities */
	PROGRESS_WRITING			/* rows */
} ProgressPhase;

extern bool progress_begin(const char *set);
extern void progress_end(void);
extern void progress_phase(ProgressPhase phase, int64 total);
extern void progress_advance(int64 by);

#endif							/* PIPELINE_FEATURE_PROGRESS_H */
