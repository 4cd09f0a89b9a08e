/*
 * progress.c
 *	  How far computations are.
 *
 * The numbers stand where PostgreSQL keeps those of its own commands, in the
 * backend's status in shared memory, under a command number of ours, which no
 * view of PostgreSQL shows; the transaction's end clears them.  They are not
 * kept while another command reports there, COPY or CREATE INDEX.  A task's
 * progress is told to base, too.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "feature/progress.h"

/* Far from PostgreSQL's own. */
#define FEATURES_COMMAND ((ProgressCommandType) 1179992148)

/* Units of a phase between two words to the task. */
#define TASK_STEP 1024

enum
{
	PARAM_PHASE,
	PARAM_DONE,
	PARAM_TOTAL,
	PARAM_SET,					/* hash of its name; 0: none */
	NPARAMS
};

static const char *const phase_names[] = {
	"starting", "searching for changes", "reading the spine", "reading events",
	"computing", "writing"
};

static int64 done;
static int64 total;
static ProgressPhase phase;

static bool
is_ours(void)
{
	return MyBEEntry != NULL && MyBEEntry->st_progress_command == FEATURES_COMMAND;
}

/*
 * Start to report, for a set or none; false: something reports already, and
 * ends it.
 */
bool
progress_begin(const char *set)
{
	uint32		hash = set == NULL ? 0 :
		hash_bytes((const unsigned char *) set, (int) strlen(set));

	if (MyBEEntry == NULL || MyBEEntry->st_progress_command != PROGRESS_COMMAND_INVALID)
		return false;
	pgstat_progress_start_command(FEATURES_COMMAND, InvalidOid);
	pgstat_progress_update_param(PARAM_SET, set ? (int64) hash + 1 : 0);
	progress_phase(PROGRESS_STARTING, 0);
	return true;
}

/* What was begun is over. */
void
progress_end(void)
{
	if (is_ours())
		pgstat_progress_end_command();
}

static void
tell(void)
{
	if (is_ours())
	{
		const int	params[] = {PARAM_PHASE, PARAM_DONE, PARAM_TOTAL};
		const int64 values[] = {phase, done, total};

		pgstat_progress_update_multi_param(3, params, values);
	}
	pipeline_note_progress((double) done, total > 0 ? (double) Max(total, done) : NAN,
						   phase_names[phase]);
}

/* Another phase starts, of so many units; 0: it is not known how many. */
void
progress_phase(ProgressPhase next, int64 units)
{
	phase = next;
	done = 0;
	total = units;
	tell();
}

/* So many units more are done. */
void
progress_advance(int64 by)
{
	done += by;
	if (done / TASK_STEP != (done - by) / TASK_STEP)
		tell();
	else if (is_ours())
		pgstat_progress_update_param(PARAM_DONE, done);
}

/* May the caller see what a backend of that role does? */
static bool
may_see(Oid role)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		has_privs_of_role(GetUserId(), role);
}

PG_FUNCTION_INFO_V1(pipeline_feature_backends);

/* SQL: feature_backends(): pid, role, hash of the set, phase, done, total. */
Datum
pipeline_feature_backends(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 1; i <= pgstat_fetch_stat_numbackends(); i++)
	{
		const LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(i);
		const PgBackendStatus *entry = local == NULL ? NULL : &local->backendStatus;
		const int64 *params;
		Datum		values[6];
		bool		nulls[6] = {false};

		if (entry == NULL || entry->st_databaseid != MyDatabaseId ||
			entry->st_progress_command != FEATURES_COMMAND || !may_see(entry->st_userid))
			continue;
		params = entry->st_progress_param;
		values[0] = Int32GetDatum(entry->st_procpid);
		values[1] = ObjectIdGetDatum(entry->st_userid);
		values[2] = Int64GetDatum(params[PARAM_SET] - 1);
		nulls[2] = params[PARAM_SET] == 0;
		values[3] = CStringGetTextDatum(phase_names[params[PARAM_PHASE]]);
		values[4] = Int64GetDatum(params[PARAM_DONE]);
		values[5] = Int64GetDatum(params[PARAM_TOTAL]);
		nulls[5] = params[PARAM_TOTAL] == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(pipeline_feature_name_hash);

/* SQL: feature_name_hash(name): as feature_backends() gives it. */
Datum
pipeline_feature_name_hash(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT64(hash_bytes((const unsigned char *) VARDATA_ANY(name),
							   VARSIZE_ANY_EXHDR(name)));
}
