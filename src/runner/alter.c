/*
 * alter.c
 *	  Pipelines, tasks, pools and datasets as kinds of objects for apply(), export() and
 *	  alter_X(), and their renaming.
 */
#include "postgres.h"

#include "executor/spi.h"

#include "runner/runner.h"

static void
refuse_duplicate(const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("%s \"%s\" already exists", kind, name),
			 errhint("Choose another name.")));
}

static void
record_rename(const char *pipeline, const char *action, const char *kind,
			  const char *key, const char *path, const char *from,
			  const char *to)
{
	runner_record_change(pipeline, action, kind, path,
						   pipeline_jsonb_object(1, &key, &from),
						   pipeline_jsonb_object(1, &key, &to), "renamed");
}

/*
 * Rename a pipeline with its history.  Not while a run is open: workers hold
 * its name.
 */
static void
rename_pipeline(const char *parent, const char *name, const char *to)
{
	UserScope	scope;

	runner_check_pipeline_name(to);
	(void) runner_lock_pipeline(name);
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
	if (pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1",
					 SPI_OK_SELECT, sql_text(to)) > 0)
		refuse_duplicate("pipeline", to);
	if (pipeline_sql("SELECT run_id FROM pipeline.runs WHERE pipeline = $1"
					 " AND state IN ('queued', 'running') ORDER BY run_id LIMIT 1",
					 SPI_OK_SELECT, sql_text(name)) > 0)
	{
		int64		run_id = pipeline_sql_int8(0, 1);

		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("pipeline \"%s\" has a run that has not ended", name),
				 errdetail("It is run " INT64_FORMAT ".", run_id),
				 errhint("Wait for it, or call pipeline.cancel(" INT64_FORMAT ").", run_id)));
	}
	/* Its alerts are named by it; what fails again raises them anew. */
	runner_resolve_dropped(name, NULL);
	pipeline_sql("UPDATE pipeline.task_runs SET pipeline = $2 WHERE pipeline = $1",
				 SPI_OK_UPDATE, sql_text(name), sql_text(to));
	pipeline_sql("UPDATE pipeline.pipelines SET pipeline = $2 WHERE pipeline = $1",
				 SPI_OK_UPDATE, sql_text(name), sql_text(to));
	record_rename(to, "alter_pipeline", "pipeline", "name", to, name, to);
	pipeline_scope_end(&scope);
}

/* Rename a task; past and open runs keep it under its old name. */
static void
rename_task(const char *pipeline, const char *name, const char *to)
{
	UserScope	scope;

	runner_check_task_name(to);
	(void) runner_lock_pipeline(pipeline);
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT 1 FROM pipeline.tasks WHERE pipeline = $1 AND task = $2",
					 SPI_OK_SELECT, sql_text(pipeline), sql_text(to)) > 0)
		refuse_duplicate("task", psprintf("%s/%s", pipeline, to));
	runner_resolve_dropped(pipeline, name);
	pipeline_sql("UPDATE pipeline.tasks SET task = $3 WHERE pipeline = $1 AND task = $2",
				 SPI_OK_UPDATE, sql_text(pipeline), sql_text(name), sql_text(to));
	pipeline_sql("UPDATE pipeline.tasks SET depends_on = array_replace(depends_on, $2, $3)"
				 " WHERE pipeline = $1 AND $2 = ANY (depends_on)",
				 SPI_OK_UPDATE, sql_text(pipeline), sql_text(name), sql_text(to));
	record_rename(pipeline, "alter_task", "task", "task", psprintf("%s/%s", pipeline, to), name, to);
	pipeline_scope_end(&scope);
}

/* An array of roles as their names. */
#define ROLE_NAMES(column) \
	"(SELECT coalesce(jsonb_agg(CASE o.r::oid WHEN 0 THEN 'public' ELSE pg_get_userbyid(o.r::oid) END ORDER BY o.n), '[]')" \
	" FROM unnest(" column ") WITH ORDINALITY o(r, n))"

static void
lock_pool(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.pools WHERE pool = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_dataset(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.datasets WHERE dataset = $1 FOR UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

static void
lock_pipeline(const char *name)
{
	pipeline_sql("SELECT 1 FROM pipeline.pipelines WHERE pipeline = $1 FOR NO KEY UPDATE",
				 SPI_OK_SELECT, sql_text(name));
}

/* Say what there is to define; at load of the library. */
void
runner_register_kinds(void)
{
	static const char *const kept[] = {"run_as", "paused", NULL};
	/* Roles are given by name, and everybody as "public". */
	static const ObjectKind pools = {
		.kind = "pool",
		.key = "pools",
		.create = "create_pool",
		.drop = "drop_pool",
		.name_argument = "pool",
		.list = "SELECT NULL::text AS parent, p.pool AS name, p.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(p) || jsonb_build_object('users', " ROLE_NAMES("p.users") ") AS arguments"
		" FROM pipeline.pools p ORDER BY p.pool COLLATE \"C\"",
		.lock = lock_pool
	};
	static const ObjectKind datasets = {
		.kind = "dataset",
		.key = "datasets",
		.create = "create_dataset",
		.drop = "drop_dataset",
		.name_argument = "dataset",
		.list = "SELECT NULL::text AS parent, d.dataset AS name, d.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(d) || jsonb_build_object('publishers', " ROLE_NAMES("d.publishers") ","
		"   'subscribers', " ROLE_NAMES("d.subscribers") ") AS arguments"
		" FROM pipeline.datasets d ORDER BY d.dataset COLLATE \"C\"",
		.lock = lock_dataset
	};
	static const ObjectKind pipelines = {
		.kind = "pipeline",
		.key = "pipelines",
		.create = "create_pipeline",
		.drop = "drop_pipeline",
		.name_argument = "name",
		.kept = kept,
		.separate = "paused",
		.separate_hint = "Call pipeline.pause() or pipeline.resume().",
		.of_pipeline = true,
		.list = "SELECT NULL::text AS parent, p.pipeline AS name, p.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(p) || jsonb_build_object('run_as', CASE WHEN p.owner::oid <> u.oid THEN p.owner END) AS arguments"
		" FROM pipeline.pipelines p, pg_roles u WHERE u.rolname = current_user"
		" ORDER BY p.pipeline COLLATE \"C\"",
		.lock = lock_pipeline,
		.rename = rename_pipeline
	};
	static const ObjectKind tasks = {
		.kind = "task",
		.key = "tasks",
		.parent = "pipeline",
		.create = "create_task",
		.drop = "drop_task",
		.name_argument = "task",
		.parent_argument = "pipeline",
		.after_argument = "depends_on",
		.list = "SELECT t.pipeline AS parent, t.task AS name, t.owner::oid AS owner, NULL::text AS search_path,"
		" to_jsonb(t) AS arguments FROM pipeline.tasks t"
		" ORDER BY t.pipeline COLLATE \"C\", t.task COLLATE \"C\"",
		.rename = rename_task
	};

	pipeline_register_kind(&pools);
	pipeline_register_kind(&datasets);
	pipeline_register_kind(&pipelines);
	pipeline_register_kind(&tasks);
}
