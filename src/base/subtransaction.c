/*
 * subtransaction.c
 *	  Work that is taken back, or may be.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/base.h"

/*
 * Do some work in a subtransaction, which is kept if the work returns true.
 * Returns the error that rolled it back, in the current memory context, or
 * NULL.  What the work allocates in that context stays.
 */
ErrorData *
pipeline_try(bool (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (work(arg))
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return edata;
}

/*
 * The same, but an error is raised again when the subtransaction is gone, so
 * that whoever catches it need not know that there was one.
 */
void
pipeline_subtransaction(bool (*work) (void *arg), void *arg)
{
	ErrorData  *edata = pipeline_try(work, arg);

	if (edata != NULL)
		ReThrowError(edata);
}
