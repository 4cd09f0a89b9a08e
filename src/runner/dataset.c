/*
 * dataset.c
 *	  Datasets: published by tasks, and what starts pipelines on them.
 *
 * publish() only adds a row to dataset_events, in the transaction of whoever
 * publishes, so that publishers wait for nobody and a publication that is
 * rolled back never was.  The scheduler reads the new rows and notes them for
 * each pipeline that starts on the dataset; one for which none is missing gets
 * a run.  While a dataset run of it is queued it gets no second: that one will
 * see the data.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "runner/process.h"
#include "runner/runner.h"

typedef struct Dataset
{
	Oid			owner;
	ArrayType  *publishers;
	ArrayType  *subscribers;
	Jsonb	   *definition;
} Dataset;

/* Load a dataset, as the owner of the extension; false when there is none. */
static bool
load_dataset(const char *name, Dataset *d)
{
	bool		isnull;

	if (pipeline_sql("SELECT owner::oid, publishers, subscribers, to_jsonb(d) - '{created_at,last_event,stale_at}'::text[]"
					 " FROM pipeline.datasets d WHERE dataset = $1",
					 SPI_OK_SELECT, sql_text(name)) == 0)
		return false;
	d->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	d->publishers = DatumGetArrayTypePCopy(pipeline_sql_datum(0, 2, &isnull));
	d->subscribers = DatumGetArrayTypePCopy(pipeline_sql_datum(0, 3, &isnull));
	d->definition = DatumGetJsonbPCopy(pipeline_sql_datum(0, 4, &isnull));
	return true;
}

static void
no_such_dataset(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("dataset \"%s\" does not exist", name),
			 errhint("Make it with pipeline.create_dataset(); table pipeline.datasets lists those that you may see.")));
}

static bool
may_use(Oid role, const Dataset *d, const ArrayType *roles)
{
	return pipeline_is_owner(role, d->owner) || runner_is_among(roles, role);
}

/*
 * Raise 42704 unless the datasets exist and 42501 unless a pipeline of that
 * owner may start on them.  Acts as the owner of the extension already.
 */
void
runner_check_datasets(const List *datasets, Oid owner)
{
	ListCell   *lc;

	foreach(lc, datasets)
	{
		Dataset		d;

		if (!load_dataset(lfirst(lc), &d))
			no_such_dataset(lfirst(lc));
		if (!may_use(owner, &d, d.subscribers))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to start on dataset \"%s\"", (char *) lfirst(lc)),
					 errdetail("Role \"%s\", which owns the pipeline, is not among its subscribers.",
							   GetUserNameFromId(owner, false)),
					 errhint("Its owner can add the role to \"subscribers\".")));
	}
}

PG_FUNCTION_INFO_V1(pipeline_create_dataset);

/* SQL: create_dataset(dataset, publishers, subscribers, or_replace, description, stale_after) */
Datum
pipeline_create_dataset(PG_FUNCTION_ARGS)
{
	static const char *const required[] = {"dataset", "publishers", "subscribers", "or_replace"};
	char	   *name;
	ArrayType  *publishers;
	ArrayType  *subscribers;
	Dataset		before = {.owner = GetUserId()};
	Dataset		after;
	UserScope	scope;
	bool		exists;
	Interval	zero = {0};
	Interval   *stale_after = PG_ARGISNULL(5) ? NULL : PG_GETARG_INTERVAL_P(5);

	for (int i = 0; i < lengthof(required); i++)
		pipeline_not_null(fcinfo, i, required[i]);
	name = pipeline_arg_text(fcinfo, 0);
	pipeline_check_name("dataset", name);
	publishers = runner_role_array(PG_GETARG_ARRAYTYPE_P(1), "publishers");
	subscribers = runner_role_array(PG_GETARG_ARRAYTYPE_P(2), "subscribers");
	if (stale_after && pipeline_compare_intervals(stale_after, &zero) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"stale_after\" is not above zero"),
				 errhint("Leave it out to go by how often the dataset was published.")));

	SPI_connect();
	pipeline_extension_begin(&scope);
	exists = load_dataset(name, &before);
	pipeline_scope_end(&scope);
	if (exists && !PG_GETARG_BOOL(3))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("dataset \"%s\" already exists", name),
				 errhint("With or_replace => true its definition is replaced.")));
	pipeline_check_owner(before.owner, "dataset", name);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("INSERT INTO pipeline.datasets AS d (dataset, owner, publishers, subscribers, description, stale_after)"
					 " VALUES ($1, $2, $3, $4, $5, $7)"
					 " ON CONFLICT (dataset) DO UPDATE SET publishers = $3, subscribers = $4, description = $5, stale_after = $7,"
					 "   last_event = NULL WHERE $6",
					 SPI_OK_INSERT, sql_text(name), sql_role(before.owner),
					 sql_datum(REGROLEARRAYOID, PointerGetDatum(publishers), false),
					 sql_datum(REGROLEARRAYOID, PointerGetDatum(subscribers), false),
					 sql_text(pipeline_arg_text(fcinfo, 4)), sql_bool(exists), sql_interval(stale_after)) == 0 ||
		!load_dataset(name, &after))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("dataset \"%s\" already exists", name),
				 errhint("Another session has just created it.")));
	pipeline_record_change("create_dataset", "dataset", name,
						   exists ? before.definition : NULL, after.definition, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	/* When it will be stale is to be computed. */
	runner_at_commit_wake();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_drop_dataset);

/* SQL: drop_dataset(dataset) */
Datum
pipeline_drop_dataset(PG_FUNCTION_ARGS)
{
	char	   *name;
	Dataset		d = {0};
	UserScope	scope;
	bool		exists;

	pipeline_not_null(fcinfo, 0, "dataset");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	exists = load_dataset(name, &d);
	pipeline_scope_end(&scope);
	if (!exists)
		no_such_dataset(name);
	pipeline_check_owner(d.owner, "dataset", name);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT string_agg(quote_ident(pipeline), ', ' ORDER BY pipeline) FROM pipeline.pipelines"
					 " WHERE $1 = ANY (on_datasets) HAVING count(*) > 0", SPI_OK_SELECT, sql_text(name)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("pipelines start on dataset \"%s\"", name),
				 errdetail("They are: %s.", pipeline_sql_text(0, 1)),
				 errhint("Change their on_datasets first.")));
	runner_resolve_stale(d.owner, name);
	pipeline_sql("DELETE FROM pipeline.datasets WHERE dataset = $1", SPI_OK_DELETE, sql_text(name));
	pipeline_record_change("drop_dataset", "dataset", name, d.definition, NULL, NULL);
	pipeline_scope_end(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(pipeline_publish);

/* SQL: publish(dataset, version) -> event_id */
Datum
pipeline_publish(PG_FUNCTION_ARGS)
{
	const TaskContext *task = pipeline_task_context();
	char	   *name;
	Dataset		d;
	UserScope	scope;
	bool		exists;
	int64		event_id;
	Oid			publisher = GetUserId();

	pipeline_not_null(fcinfo, 0, "dataset");
	name = pipeline_arg_text(fcinfo, 0);
	SPI_connect();
	pipeline_extension_begin(&scope);
	exists = load_dataset(name, &d);
	pipeline_scope_end(&scope);
	if (!exists)
		no_such_dataset(name);
	if (!may_use(publisher, &d, d.publishers))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to publish dataset \"%s\"", name),
				 errhint("Its owner can add the role to \"publishers\".")));
	pipeline_extension_begin(&scope);
	pipeline_sql("INSERT INTO pipeline.dataset_events (dataset, owner, version, role, run_id, task)"
				 " VALUES ($1, $2, $3, $4, $5, $6) RETURNING event_id",
				 SPI_OK_INSERT_RETURNING, sql_text(name), sql_role(d.owner),
				 sql_text(pipeline_arg_text(fcinfo, 1)), sql_role(publisher),
				 sql_datum(INT8OID, Int64GetDatum(task ? task->run_id : 0), task == NULL),
				 sql_text(task ? task->task : NULL));
	event_id = pipeline_sql_int8(0, 1);
	pipeline_scope_end(&scope);
	SPI_finish();
	runner_at_commit_wake();
	PG_RETURN_INT64(event_id);
}

/* ---- the scheduler's part ------------------------------------------------------- */

typedef struct Subscriber
{
	char	   *pipeline;
	Jsonb	   *params;
	Jsonb	   *datasets;
	char	   *schedule;
	char	   *timezone;
	char	   *align;
} Subscriber;

/* The pipelines for which no dataset is missing any more. */
static List *
complete_subscribers(void)
{
	List	   *list = NIL;
	uint64		n;

	n = pipeline_sql("SELECT p.pipeline, p.params, jsonb_object_agg(u.dataset, u.version), p.schedule, p.timezone, p.interval_align"
					 " FROM pipeline.dataset_updates u JOIN pipeline.pipelines p"
					 "   ON p.pipeline = u.pipeline AND u.dataset = ANY (p.on_datasets)"
					 " WHERE EXISTS (SELECT FROM pipeline.tasks t WHERE t.pipeline = p.pipeline)"
					 " AND NOT EXISTS (SELECT FROM pipeline.runs r WHERE r.pipeline = p.pipeline"
					 "   AND r.run_type = 'dataset' AND r.state = 'queued')"
					 " GROUP BY p.pipeline HAVING count(*) = cardinality(p.on_datasets)"
					 " ORDER BY p.pipeline", SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		Subscriber *s = SPI_palloc(sizeof(Subscriber));
		bool		isnull;

		s->pipeline = pipeline_sql_text(i, 1);
		s->params = DatumGetJsonbPCopy(pipeline_sql_datum(i, 2, &isnull));
		s->datasets = DatumGetJsonbPCopy(pipeline_sql_datum(i, 3, &isnull));
		s->schedule = pipeline_sql_text(i, 4);
		s->timezone = pipeline_sql_text(i, 5);
		s->align = pipeline_sql_text(i, 6);
		list = lappend(list, s);
	}
	return list;
}

/* Create the run of one of them. */
static bool
start_subscriber(void *arg)
{
	Subscriber *s = arg;
	RunSpec		spec = {.pipeline = s->pipeline, .run_type = "dataset",
		.params = s->params, .datasets = s->datasets,
	.interval_start = GetCurrentTimestamp()};

	/* One that somebody is changing or dropping waits for the next look. */
	if (pipeline_sql("SELECT FROM pipeline.pipelines WHERE pipeline = $1 FOR NO KEY UPDATE SKIP LOCKED",
					 SPI_OK_SELECT, sql_text(s->pipeline)) == 0)
	{
		runner_pass_over();
		return true;
	}
	spec.interval_end = spec.interval_start;
	if (s->schedule)
		runner_last_interval(s->schedule, s->timezone, s->align, spec.interval_end,
							 &spec.interval_start, &spec.interval_end);
	pipeline_sql("DELETE FROM pipeline.dataset_updates WHERE pipeline = $1",
				 SPI_OK_DELETE, sql_text(s->pipeline));
	(void) runner_create_run(&spec);
	return true;
}

/*
 * Note what was published for the pipelines that start on it.  An event stays
 * new as long as some transaction is changing or dropping one of them.
 */
static bool
dispatch_events(void *arg)
{
	pipeline_sql("WITH new AS MATERIALIZED (SELECT event_id, dataset, version FROM pipeline.dataset_events"
				 "   WHERE NOT dispatched FOR NO KEY UPDATE SKIP LOCKED),"
				 " free AS MATERIALIZED (SELECT p.pipeline, p.on_datasets, p.owner FROM pipeline.pipelines p"
				 "   WHERE p.on_datasets && ARRAY(SELECT dataset FROM new) FOR NO KEY UPDATE SKIP LOCKED),"
				 " told AS (UPDATE pipeline.dataset_events e SET dispatched = true FROM new n"
				 "   WHERE e.event_id = n.event_id AND NOT EXISTS (SELECT FROM pipeline.pipelines p"
				 "     WHERE n.dataset = ANY (p.on_datasets) AND p.pipeline NOT IN (SELECT f.pipeline FROM free f))"
				 "   RETURNING n.dataset, n.event_id, n.version),"
				 " noted AS (INSERT INTO pipeline.dataset_updates (pipeline, dataset, event_id, version, owner)"
				 "   SELECT DISTINCT ON (f.pipeline, t.dataset) f.pipeline, t.dataset, t.event_id, t.version, f.owner"
				 "   FROM told t JOIN free f ON t.dataset = ANY (f.on_datasets)"
				 "   ORDER BY f.pipeline, t.dataset, t.event_id DESC"
				 "   ON CONFLICT (pipeline, dataset) DO UPDATE SET event_id = excluded.event_id, version = excluded.version)"
				 " SELECT count(*) FROM told", SPI_OK_SELECT);
	if (pipeline_sql_int8(0, 1) > 0)
		runner_note_dispatched();
	if (pipeline_sql("SELECT FROM pipeline.dataset_events WHERE NOT dispatched LIMIT 1", SPI_OK_SELECT) > 0)
		runner_pass_over();
	return true;
}

/*
 * Tell the pipelines that start on what was published, and let those run for
 * which all has come; inside the scheduler's transaction.
 */
void
runner_dispatch_datasets(void)
{
	ListCell   *lc;
	ErrorData  *edata = runner_try_briefly(dispatch_events, NULL);

	if (edata != NULL)
	{
		runner_pass_over();
		ereport(LOG,
				(errmsg("could not dispatch what was published: %s", edata->message)));
	}
	foreach(lc, complete_subscribers())
	{
		edata = runner_try_briefly(start_subscriber, lfirst(lc));
		if (edata != NULL && edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
			runner_pass_over();
		else if (edata != NULL)
			runner_pause_pipeline(((Subscriber *) lfirst(lc))->pipeline,
								  psprintf("its datasets were published, but no run could be created: %s", edata->message));
	}
}
