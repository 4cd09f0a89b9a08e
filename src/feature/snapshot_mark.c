/*
 * snapshot_mark.c
 *	  A snapshot kept for later: which transactions it did not see.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "feature/changes.h"
#include "feature/rollup.h"

/* Past this many transactions, a mark is not compared with any more. */
#define MAX_AGE (UINT64CONST(1) << 30)

/*
 * Note which transactions the snapshot does not see, and our own; false: they
 * are too many.
 */
bool
snapshot_mark(SnapshotMark *mark, Snapshot snapshot)
{
	mark->xmin = snapshot->xmin;
	mark->xmax = snapshot->xmax;
	mark->nrunning = 0;
	mark->running = palloc_array(TransactionId, snapshot->xcnt + snapshot->subxcnt + 2);
	if (snapshot->suboverflowed || snapshot->takenDuringRecovery)
		return false;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		mark->running[mark->nrunning++] = snapshot->xip[i];
	for (int32 i = 0; i < snapshot->subxcnt; i++)
		mark->running[mark->nrunning++] = snapshot->subxip[i];
	mark->running[mark->nrunning++] = GetTopTransactionId();
	mark->running[mark->nrunning++] = GetCurrentTransactionId();
	if (TransactionIdPrecedes(GetTopTransactionId(), mark->xmin))
		mark->xmin = GetTopTransactionId();
	return true;
}

/* The whole number of a running transaction, its epoch included. */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return ((uint64) epoch << 32) | xid;
}

/* The mark as text: its xmin with its epoch, its xmax, those running between. */
char *
snapshot_text(const SnapshotMark *mark)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%llu %u", (unsigned long long) full_xid(mark->xmin),
					 mark->xmax);
	for (int i = 0; i < mark->nrunning; i++)
		appendStringInfo(&text, " %u", mark->running[i]);
	return text.data;
}

/* The same, read; without xmin if it is too old. */
void
snapshot_parse(SnapshotMark *mark, char *text)
{
	uint64		xmin = strtoull(text, &text, 10);

	mark->xmax = (TransactionId) strtoul(text, &text, 10);
	mark->running = palloc_array(TransactionId, strlen(text) / 2 + 1);
	while (text[0] == ' ' && text[1] >= '0' && text[1] <= '9')
		mark->running[mark->nrunning++] = (TransactionId) strtoul(text, &text, 10);
	if (U64FromFullTransactionId(ReadNextFullTransactionId()) - xmin < MAX_AGE)
		mark->xmin = (TransactionId) xmin;
}

/*
 * The active snapshot as text for not_seen_by(): the mark, then our own
 * transaction and the command from which on what it writes is not seen.
 * NULL: too many transactions are running.
 */
char *
snapshot_as_text(void)
{
	SnapshotMark mark = {0};

	if (!snapshot_mark(&mark, GetActiveSnapshot()))
		return NULL;
	return psprintf("%s own %u %u %u", snapshot_text(&mark), GetTopTransactionId(),
					GetCurrentTransactionId(), GetActiveSnapshot()->curcid);
}

/* A text for not_seen_by(), parsed. */
typedef struct ParsedMark
{
	text	   *source;
	SnapshotMark mark;
	TransactionId top;
	TransactionId current;
	CommandId	command;
} ParsedMark;

static ParsedMark *
parse_mark(FunctionCallInfo fcinfo, text *source)
{
	ParsedMark *parsed = fcinfo->flinfo->fn_extra;
	MemoryContext before;
	char	   *own;

	if (parsed != NULL && VARSIZE(parsed->source) == VARSIZE(source) &&
		memcmp(parsed->source, source, VARSIZE(source)) == 0)
		return parsed;
	before = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	parsed = palloc0(sizeof(ParsedMark));
	parsed->source = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(source));
	own = strstr(text_to_cstring(source), " own ");
	if (own == NULL || sscanf(own, " own %u %u %u", &parsed->top, &parsed->current,
							  &parsed->command) != 3)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"snapshot\" is not one that a refresh kept"),
				 errdetail("It is: %s", text_to_cstring(source))));
	snapshot_parse(&parsed->mark, text_to_cstring(source));
	fcinfo->flinfo->fn_extra = parsed;
	MemoryContextSwitchTo(before);
	return parsed;
}

PG_FUNCTION_INFO_V1(pipeline_not_seen_by);

/* SQL: not_seen_by(xmin, cmin, snapshot). */
Datum
pipeline_not_seen_by(PG_FUNCTION_ARGS)
{
	TransactionId xid = PG_GETARG_TRANSACTIONID(0);
	CommandId	command = DatumGetCommandId(PG_GETARG_DATUM(1));
	ParsedMark *parsed = parse_mark(fcinfo, PG_GETARG_TEXT_P(2));

	if (TransactionIdIsNormal(xid) && (xid == parsed->top || xid == parsed->current))
		PG_RETURN_BOOL(command >= parsed->command);
	/* Of a mark that is too old everything that can be seen was seen. */
	PG_RETURN_BOOL(TransactionIdIsNormal(parsed->mark.xmin) &&
				   !snapshot_saw(&parsed->mark, xid));
}
