/*
 * alert_silence.c
 *	  create_silence, alter_silence, expire_silence, drop_silence.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "alert/alert_suppress.h"

/* Does any matcher ask for something?  One for nothing at all is a mistake. */
static void
check_matchers(const char *text)
{
	ListCell   *lc;

	foreach(lc, pipeline_matchers_parse(text, "matchers"))
	{
		if (!pipeline_matcher_matches(lfirst(lc), "", 0))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a silence of all alerts is refused"),
			 errdetail("Each of the matchers %s matches a label that is not there.", text),
			 errhint("Name what is to be silent, for example {pipeline=\"sales\"}, or {alertname=~\".+\"} for all.")));
}

/* How many open alerts of an owner (an administrator: of all) match. */
static int
count_matching(const char *text, Oid owner)
{
	List	   *matchers = pipeline_matchers_parse(text, "matchers");
	Suppression *none = pipeline_suppression_load(GetCurrentTimestamp());
	bool		of_all = pipeline_is_admin(owner);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, pipeline_open_alerts(none))
	{
		const OpenAlert *alert = lfirst(lc);

		if ((of_all || alert->owner == owner) && pipeline_matchers_match(matchers, alert->labels))
			n++;
	}
	return n;
}

static void
check_end(TimestampTz starts_at, TimestampTz ends_at)
{
	if (ends_at <= starts_at || ends_at <= GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"ends_at\" is not after \"starts_at\" and in the future"),
				 errdetail("It is %s.", timestamptz_to_str(ends_at))));
}

/* A silence as JSON, locked; 42704 or 42501 unless the caller may change it. */
static Jsonb *
own_silence(int64 silence_id, bool must_last)
{
	UserScope	scope;
	Jsonb	   *definition;
	Oid			owner;
	bool		isnull;
	bool		over;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, to_jsonb(s), ends_at <= clock_timestamp() FROM pipeline.silences s"
					 " WHERE silence_id = $1 FOR UPDATE", SPI_OK_SELECT, sql_int8(silence_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("silence %lld does not exist", (long long) silence_id),
				 errhint("The table pipeline.silences lists yours.")));
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	definition = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	over = pipeline_sql_bool(0, 3);
	pipeline_scope_end(&scope);
	pipeline_check_owner(owner, "silence", psprintf("%lld", (long long) silence_id));
	if (over && must_last)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("silence %lld is over", (long long) silence_id),
				 errhint("Create another one.")));
	return definition;
}

static void
record(const char *action, int64 silence_id, const Jsonb *before, const Jsonb *after)
{
	pipeline_record_change(action, "silence", psprintf("%lld", (long long) silence_id), before, after, NULL);
}

PG_FUNCTION_INFO_V1(pipeline_create_silence);

/* SQL: create_silence(matchers, starts_at, ends_at, comment, until_resolved) */
Datum
pipeline_create_silence(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	TimestampTz starts_at;
	TimestampTz ends_at;
	char	   *matchers;
	bool		until_resolved;
	bool		isnull;
	int			matching;
	int64		silence_id;
	Jsonb	   *after;

	pipeline_not_null(fcinfo, 0, "matchers");
	pipeline_not_null(fcinfo, 1, "starts_at");
	pipeline_not_null(fcinfo, 4, "until_resolved");
	matchers = pipeline_arg_text(fcinfo, 0);
	starts_at = PG_GETARG_TIMESTAMPTZ(1);
	until_resolved = PG_GETARG_BOOL(4);
	ends_at = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	check_matchers(matchers);
	if (TIMESTAMP_NOT_FINITE(starts_at) || (TIMESTAMP_IS_NOEND(ends_at) && !until_resolved))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a silence without an end is refused"),
				 errhint("Give ends_at, or until_resolved => true for one that ends when the alerts are resolved.")));
	check_end(starts_at, ends_at);

	SPI_connect();
	pipeline_extension_begin(&scope);
	matching = count_matching(matchers, scope.userid);
	if (until_resolved && (matching == 0 || starts_at > GetCurrentTimestamp()))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no alert whose end the silence could last until"),
				 matching == 0 ? errdetail("None of the open alerts that it would cover matches %s.", matchers) :
				 errdetail("It begins in the future."),
				 errhint("See pipeline.firing_alerts; or give ends_at alone.")));
	pipeline_sql("INSERT INTO pipeline.silences AS s (owner, created_by, matchers, starts_at, ends_at, comment, until_resolved)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING silence_id, to_jsonb(s)", SPI_OK_INSERT_RETURNING,
				 sql_role(scope.userid), sql_role(GetSessionUserId()), sql_text(matchers),
				 sql_time(starts_at), sql_time(ends_at), sql_text(pipeline_arg_text(fcinfo, 3)),
				 sql_bool(until_resolved));
	silence_id = pipeline_sql_int8(0, 1);
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	pipeline_scope_end(&scope);
	record("create_silence", silence_id, NULL, after);
	SPI_finish();
	if (matching == 0)
		ereport(NOTICE,
				(errmsg("silence %lld matches no open alert now", (long long) silence_id)));
	PG_RETURN_INT64(silence_id);
}

/* Set what is not NULL of an own silence. */
static void
change_silence(const char *action, int64 silence_id, const Jsonb *before,
			   SqlArg ends_at, SqlArg comment, SqlArg ended_by)
{
	UserScope	scope;
	Jsonb	   *after;
	bool		isnull;

	pipeline_extension_begin(&scope);
	/* One that is ended before it begins never was. */
	pipeline_sql("UPDATE pipeline.silences s SET starts_at = least(starts_at, coalesce($2, ends_at)),"
				 "  ends_at = coalesce($2, ends_at), comment = coalesce($3, comment), ended_by = $4 WHERE silence_id = $1 RETURNING to_jsonb(s)", SPI_OK_UPDATE_RETURNING,
				 sql_int8(silence_id), ends_at, comment, ended_by);
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	record(action, silence_id, before, after);
}

static TimestampTz
read_time(const char *text)
{
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
												   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

PG_FUNCTION_INFO_V1(pipeline_alter_silence);

/* SQL: alter_silence(silence_id, changes) */
Datum
pipeline_alter_silence(PG_FUNCTION_ARGS)
{
	static const char *const keys[] = {"ends_at", "comment", NULL};
	int64		silence_id;
	Jsonb	   *changes;
	Jsonb	   *before;
	char	   *ends_at;
	TimestampTz end = 0;

	pipeline_not_null(fcinfo, 0, "silence_id");
	pipeline_not_null(fcinfo, 1, "changes");
	silence_id = PG_GETARG_INT64(0);
	changes = PG_GETARG_JSONB_P(1);
	pipeline_check_keys(changes, "changes", keys);
	ends_at = pipeline_jsonb_key(changes, "ends_at");
	SPI_connect();
	before = own_silence(silence_id, true);
	if (ends_at)
	{
		end = read_time(ends_at);
		check_end(read_time(pipeline_jsonb_key(before, "starts_at")), end);
	}
	if (end != 0 && TIMESTAMP_IS_NOEND(end) && strcmp(pipeline_jsonb_key(before, "until_resolved"), "true") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a silence without an end is refused"),
				 errhint("Only one that lasts until the alerts are resolved needs none.")));
	change_silence("alter_silence", silence_id, before,
				   sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(end), ends_at == NULL),
				   sql_text(pipeline_jsonb_key(changes, "comment")), sql_text(NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_expire_silence);

/* SQL: expire_silence(silence_id) */
Datum
pipeline_expire_silence(PG_FUNCTION_ARGS)
{
	int64		silence_id;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "silence_id");
	silence_id = PG_GETARG_INT64(0);
	SPI_connect();
	before = own_silence(silence_id, true);
	change_silence("expire_silence", silence_id, before, sql_time(GetCurrentTimestamp()),
				   sql_text(NULL), sql_text("expired"));
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_silence);

/* SQL: drop_silence(silence_id) */
Datum
pipeline_drop_silence(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	int64		silence_id;
	Jsonb	   *before;

	pipeline_not_null(fcinfo, 0, "silence_id");
	silence_id = PG_GETARG_INT64(0);
	SPI_connect();
	before = own_silence(silence_id, false);
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.silences WHERE silence_id = $1", SPI_OK_DELETE,
				 sql_int8(silence_id));
	pipeline_scope_end(&scope);
	record("drop_silence", silence_id, before, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
