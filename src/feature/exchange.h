/*
 * exchange.h
 *	  Records on their way to the process that computes their entity.
 *
 * With n processes at work, entity k is computed by process k % n, where its
 * number is k / n.  A process that reads a record of another's writes it to a
 * file that the two share; once all have read, each takes what is its own.
 */
#ifndef PIPELINE_FEATURE_EXCHANGE_H
#define PIPELINE_FEATURE_EXCHANGE_H

#include "storage/sharedfileset.h"

#include "feature/run.h"

typedef struct Exchange Exchange;

extern Exchange *exchange_create(SharedFileSet *files, int nprocesses, int me);
extern Record *exchange_reserve(FeatureRun *run, uint32 key, Size size);
extern void exchange_append(FeatureRun *run);
extern void exchange_all(FeatureRun *run);
extern void exchange_send(FeatureRun *run);
extern void exchange_receive(FeatureRun *run);

/* How many of the entities are this process's own. */
static inline uint32
exchange_share(uint32 nkeys, int nprocesses, int me)
{
	return nkeys > (uint32) me ? (nkeys - me - 1) / nprocesses + 1 : 0;
}

#endif							/* PIPELINE_FEATURE_EXCHANGE_H */
