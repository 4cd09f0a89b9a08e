/*
 * alert_on_call.c
 *	  On-call schedules: who is on call at a time, and who instead.
 *
 * Shifts go by the clock on the wall: a handover at nine is at nine in summer
 * and winter, and the shift in which the clock is changed is an hour shorter
 * or longer.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "alert/alert_escalation.h"

static const AlertObject on_call_object = {
	.kind = "on-call schedule",
	.action = "create_on_call",
	.lock = "SELECT owner::oid, to_jsonb(o) FROM pipeline.on_calls o WHERE name = $1 FOR UPDATE",
	.remove = "DELETE FROM pipeline.on_calls WHERE name = $1",
	.missing_hint = "The table pipeline.on_calls lists yours.",
	.drop_action = "drop_on_call"
};

/* ---- the rotation ---------------------------------------------------------------------- */

static void
bad_rotation(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s in argument \"rotation\"", what),
			 errhint("%s", hint)));
}

static Person *
read_person(const Jsonb *json)
{
	static const char *const keys[] = {"name", "channels", NULL};
	Person	   *person = palloc0(sizeof(Person));

	if (!JB_ROOT_IS_OBJECT(json))
		bad_rotation(psprintf("a person who is %s", JsonbToCString(NULL, unconstify(JsonbContainer *, &json->root), VARSIZE(json))),
					 "People are {\"name\": ..., \"channels\": [...]}, so that it is known how each is told.");
	pipeline_check_keys(json, "rotation", keys);
	person->name = pipeline_jsonb_key(json, "name");
	if (person->name == NULL)
		bad_rotation("a person without a name", "People are {\"name\": ..., \"channels\": [...]}.");
	pipeline_check_name("person", person->name);
	person->channels = pipeline_jsonb_strings(json, "rotation", "channels");
	if (person->channels == NIL)
		bad_rotation(psprintf("person \"%s\" has no channels", person->name),
					 "Name the channels by which everybody is told.");
	return person;
}

static List *
read_people(const Jsonb *rotation)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &rotation->root), "people", 6, &buf);
	List	   *people = NIL;
	List	   *names = NIL;

	if (v && v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data))
	{
		for (uint32 i = 0; i < JsonContainerSize(v->val.binary.data); i++)
		{
			Person	   *person = read_person(JsonbValueToJsonb(getIthJsonbValueFromContainer(v->val.binary.data, i)));

			if (pipeline_list_has(names, person->name))
				bad_rotation(psprintf("person \"%s\" appears more than once", person->name),
							 "Everybody takes one turn in a round.");
			names = lappend(names, person->name);
			people = lappend(people, person);
		}
	}
	if (people == NIL)
		bad_rotation("no people", "people is an array of {\"name\": ..., \"channels\": [...]}.");
	return people;
}

/* Read a rotation; 22023 if it is none. */
Rotation *
pipeline_rotation_parse(const Jsonb *rotation, const char *timezone)
{
	static const char *const keys[] = {"people", "shift", "start", NULL};
	Rotation   *r = palloc0(sizeof(Rotation));
	char	   *start;
	char	   *shift;
	Interval   *interval;
	Timestamp	first;

	pipeline_check_keys(rotation, "rotation", keys);
	r->tz = pipeline_timezone(timezone);
	r->people = read_people(rotation);
	start = pipeline_jsonb_key(rotation, "start");
	if (start == NULL)
		bad_rotation("key \"start\" is missing", "It says when the first shift begins, by the clock of the time zone: \"2026-01-05 09:00\".");
	first = DatumGetTimestamp(DirectFunctionCall3(timestamp_in, CStringGetDatum(start),
												  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(first))
		bad_rotation("key \"start\" is no point in time", "It says when the first shift begins.");
	r->start = first / USECS_PER_SEC + ((pg_time_t) POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	shift = pipeline_jsonb_key(rotation, "shift");
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(shift ? shift : "7 days"),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	r->shift = interval->time / USECS_PER_SEC + (int64) interval->day * SECS_PER_DAY;
	if (interval->month != 0 || r->shift < SECS_PER_MINUTE)
		bad_rotation(psprintf("a shift of \"%s\"", shift), "A shift has a fixed length of at least a minute, such as \"7 days\" or \"12 hours\".");
	return r;
}

/* When a shift begins: of two such times on the wall the first. */
static TimestampTz
shift_start(const Rotation *r, int64 number)
{
	return time_t_to_timestamptz(pipeline_wall_to_instant(r->start + number * r->shift, r->tz));
}

/* Whose turn it is at a time, and of what shift. */
static Person *
whose_turn(const Rotation *r, TimestampTz at, TimestampTz *since, TimestampTz *until)
{
	int			n = list_length(r->people);
	pg_time_t	passed = pipeline_instant_to_wall(timestamptz_to_time_t(at), r->tz) - r->start;
	int64		number = passed >= 0 ? passed / r->shift : -((-passed + r->shift - 1) / r->shift);

	/* A changed clock may put the time on the wall before or behind. */
	while (shift_start(r, number) > at)
		number--;
	while (shift_start(r, number + 1) <= at)
		number++;
	*since = shift_start(r, number);
	*until = shift_start(r, number + 1);
	return list_nth(r->people, (int) (((number % n) + n) % n));
}

static Person *
person_by_name(const Rotation *r, const char *name)
{
	ListCell   *lc;

	foreach(lc, r->people)
	{
		if (strcmp(((Person *) lfirst(lc))->name, name) == 0)
			return lfirst(lc);
	}
	return NULL;
}

/* The override that holds at a time, if it names somebody of the rotation. */
static Person *
override_at(const char *name, const Rotation *r, TimestampTz at,
			TimestampTz *since, TimestampTz *until)
{
	uint64		n = pipeline_sql("SELECT person, starts_at, ends_at FROM pipeline.on_call_overrides"
								 " WHERE on_call = $1 AND starts_at <= $2 AND ends_at > $2 ORDER BY override_id DESC",
								 SPI_OK_SELECT, sql_text(name), sql_time(at));

	for (uint64 i = 0; i < n; i++)
	{
		Person	   *person = person_by_name(r, pipeline_sql_text(i, 1));
		bool		isnull;

		if (person == NULL)
			continue;
		*since = DatumGetTimestampTz(pipeline_sql_datum(i, 2, &isnull));
		*until = DatumGetTimestampTz(pipeline_sql_datum(i, 3, &isnull));
		return person;
	}
	return NULL;
}

/*
 * Who is on call at a time; NULL if there is no such schedule, or `user` may
 * not use it.  Inside the scope of the extension.
 */
Person *
pipeline_on_call_at(const char *name, Oid user, TimestampTz at,
					TimestampTz *since, TimestampTz *until, bool *override)
{
	Rotation   *r;
	Person	   *person;
	Oid			owner;
	bool		isnull;

	if (!pipeline_on_call_usable_by(name, user) ||
		pipeline_sql("SELECT owner::oid, rotation, timezone FROM pipeline.on_calls WHERE name = $1",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		return NULL;
	owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	r = pipeline_rotation_parse(DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull)),
								pipeline_sql_text(0, 3));
	person = override_at(name, r, at, since, until);
	*override = person != NULL;
	if (person == NULL)
		person = whose_turn(r, at, since, until);
	person->of = owner;
	return person;
}

/* ---- SQL ------------------------------------------------------------------------------- */

/* The channels of all people, each once. */
static List *
all_channels(const Rotation *r)
{
	List	   *channels = NIL;
	ListCell   *lp;
	ListCell   *lc;

	foreach(lp, r->people)
	{
		foreach(lc, ((Person *) lfirst(lp))->channels)
		{
			if (!pipeline_list_has(channels, lfirst(lc)))
				channels = lappend(channels, lfirst(lc));
		}
	}
	return channels;
}

PG_FUNCTION_INFO_V1(pipeline_create_on_call);

/* SQL: create_on_call(name, rotation, timezone, labels, or_replace, description) */
Datum
pipeline_create_on_call(PG_FUNCTION_ARGS)
{
	char	   *name;
	Rotation   *rotation;
	Jsonb	   *before = NULL;
	Oid			owner = GetUserId();

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "rotation");
	pipeline_not_null(fcinfo, 2, "timezone");
	pipeline_not_null(fcinfo, 4, "or_replace");
	name = pipeline_arg_text(fcinfo, 0);
	pipeline_check_name("on-call schedule", name);
	rotation = pipeline_rotation_parse(PG_GETARG_JSONB_P(1), pipeline_arg_text(fcinfo, 2));
	pipeline_check_labels(pipeline_arg_jsonb(fcinfo, 3), "labels");

	SPI_connect();
	if (PG_GETARG_BOOL(4))
		before = pipeline_object_lock(&on_call_object, name, false, &owner);
	pipeline_check_channels(all_channels(rotation), owner, "rotation");
	{
		const SqlArg args[] = {
			sql_text(name), sql_role(owner), sql_jsonb(PG_GETARG_JSONB_P(1)),
			sql_text(pipeline_arg_text(fcinfo, 2)),
			sql_array(pipeline_list_array(all_channels(rotation))),
			sql_jsonb(pipeline_arg_jsonb(fcinfo, 3)), sql_text(pipeline_arg_text(fcinfo, 5))
		};

		pipeline_object_write(&on_call_object, name, before,
							  "INSERT INTO pipeline.on_calls AS o (name, owner, rotation, timezone, channels, labels, description)"
							  " VALUES ($1, $2, $3, $4, $5, coalesce($6, '{}'), $7)"
							  " ON CONFLICT (name) DO UPDATE SET (rotation, timezone, channels, labels, description) ="
							  "  (excluded.rotation, excluded.timezone, excluded.channels, excluded.labels, excluded.description)"
							  " WHERE $8 RETURNING to_jsonb(o)", lengthof(args), args);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_on_call);

/* SQL: drop_on_call(name) */
Datum
pipeline_drop_on_call(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;

	pipeline_not_null(fcinfo, 0, "name");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	(void) pipeline_object_lock(&on_call_object, name, true, NULL);
	pipeline_extension_begin(&scope);
	pipeline_check_unnamed(pipeline_sql("SELECT 'escalation', name, owner::oid FROM pipeline.escalations WHERE $1 = ANY (on_calls) ORDER BY name",
										SPI_OK_SELECT, sql_text(name)),
						   &on_call_object, name, scope.userid, pipeline_on_call_usable_by, "revoke_on_call");
	pipeline_scope_end(&scope);
	(void) pipeline_object_drop(&on_call_object, name);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_override_on_call);

/* SQL: override_on_call(name, person, starts_at, ends_at) */
Datum
pipeline_override_on_call(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "person", "starts_at", "ends_at"};
	UserScope	scope;
	char	   *name;
	char	   *person;
	Jsonb	   *definition;
	Jsonb	   *after;
	JsonbValue	rotation;
	int64		override_id;
	bool		isnull;
	Oid			owner;

	for (int i = 0; i < 4; i++)
		pipeline_not_null(fcinfo, i, names[i]);
	name = pipeline_arg_text(fcinfo, 0);
	person = pipeline_arg_text(fcinfo, 1);
	if (PG_GETARG_TIMESTAMPTZ(2) >= PG_GETARG_TIMESTAMPTZ(3) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)) ||
		TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(3)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"ends_at\" is not after \"starts_at\"")));
	SPI_connect();
	definition = pipeline_object_lock(&on_call_object, name, true, &owner);
	getKeyJsonValueFromContainer(&definition->root, "rotation", 8, &rotation);
	if (person_by_name(pipeline_rotation_parse(JsonbValueToJsonb(&rotation), pipeline_jsonb_key(definition, "timezone")),
					   person) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("on-call schedule \"%s\" has no person \"%s\"", name, person),
				 errhint("Who is on call has channels there: see the column rotation of pipeline.on_calls.")));
	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.on_call_overrides AS o (on_call, owner, person, starts_at, ends_at, created_by)"
				 " VALUES ($1, $2, $3, $4, $5, $6) RETURNING override_id, to_jsonb(o)", SPI_OK_INSERT_RETURNING,
				 sql_text(name), sql_role(owner), sql_text(person), sql_time(PG_GETARG_TIMESTAMPTZ(2)),
				 sql_time(PG_GETARG_TIMESTAMPTZ(3)), sql_role(GetSessionUserId()));
	override_id = pipeline_sql_int8(0, 1);
	after = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	pipeline_scope_end(&scope);
	pipeline_record_change("override_on_call", on_call_object.kind, name, NULL, after, NULL);
	SPI_finish();
	PG_RETURN_INT64(override_id);
}

PG_FUNCTION_INFO_V1(pipeline_drop_on_call_override);

/* SQL: drop_on_call_override(override_id) */
Datum
pipeline_drop_on_call_override(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	int64		override_id;
	char	   *name = NULL;
	Jsonb	   *before = NULL;
	bool		isnull;

	pipeline_not_null(fcinfo, 0, "override_id");
	override_id = PG_GETARG_INT64(0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT on_call, to_jsonb(o) FROM pipeline.on_call_overrides o WHERE override_id = $1",
					 SPI_OK_SELECT, sql_int8(override_id)) > 0)
	{
		name = pipeline_sql_text(0, 1);
		before = DatumGetJsonbPCopy(pipeline_sql_datum(0, 2, &isnull));
	}
	pipeline_scope_end(&scope);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("override %lld does not exist", (long long) override_id),
				 errhint("The table pipeline.on_call_overrides lists yours.")));
	(void) pipeline_object_lock(&on_call_object, name, true, NULL);
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.on_call_overrides WHERE override_id = $1", SPI_OK_DELETE,
				 sql_int8(override_id));
	pipeline_scope_end(&scope);
	pipeline_record_change("drop_on_call_override", on_call_object.kind, name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_who_is_on_call);

/* SQL: who_is_on_call(name, at_time) */
Datum
pipeline_who_is_on_call(PG_FUNCTION_ARGS)
{
	UserScope	scope;
	char	   *name;
	Person	   *person;
	TimestampTz since;
	TimestampTz until;
	bool		override;
	Datum		values[5];
	bool		nulls[5] = {0};
	TupleDesc	desc;
	MemoryContext context = CurrentMemoryContext;

	pipeline_not_null(fcinfo, 0, "name");
	pipeline_not_null(fcinfo, 1, "at_time");
	name = pipeline_arg_text(fcinfo, 0);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	SPI_connect();
	MemoryContextSwitchTo(context);
	pipeline_extension_begin(&scope);
	person = pipeline_on_call_at(name, scope.userid, PG_GETARG_TIMESTAMPTZ(1), &since, &until, &override);
	pipeline_scope_end(&scope);
	if (person == NULL)
	{
		/* There is none, or it is not the caller's: the lock tells which. */
		(void) pipeline_object_lock(&on_call_object, name, true, NULL);
		elog(ERROR, "on-call schedule \"%s\" cannot be read", name);
	}
	SPI_finish();
	values[0] = CStringGetTextDatum(person->name);
	values[1] = PointerGetDatum(pipeline_list_array(person->channels));
	values[2] = TimestampTzGetDatum(since);
	values[3] = TimestampTzGetDatum(until);
	values[4] = BoolGetDatum(override);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
