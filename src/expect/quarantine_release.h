/*
 * quarantine_release.h
 *	  What the two files of the release share.
 */
#ifndef PIPELINE_QUARANTINE_RELEASE_H
#define PIPELINE_QUARANTINE_RELEASE_H

#include "expect/check.h"

typedef struct Release
{
	int64		validation_id;
	Jsonb	   *parameters;		/* of the validation */
	Suite	   *suite;
	bool		everything;		/* rows that were copied go into the table, too */
	Oid			into;			/* InvalidOid: none */
	bool		recheck;
	int64		released;
	int64		inserted;
} Release;

extern List *pipeline_release_judges(const Release *r, const ScanTarget *target,
									 const List *checks, const char *held);

#endif							/* PIPELINE_QUARANTINE_RELEASE_H */
