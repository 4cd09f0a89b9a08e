/* runner: functions, views and policies. */

CREATE OR REPLACE FUNCTION pipeline.create_pipeline(
  name text,
  schedule text DEFAULT NULL,
  timezone text DEFAULT 'UTC',
  interval_align text DEFAULT NULL,
  max_active_runs int DEFAULT 1,
  catchup text DEFAULT 'last',
  deadline interval DEFAULT NULL,
  deadline_warning interval DEFAULT NULL,
  on_datasets text[] DEFAULT '{}',
  params jsonb DEFAULT '{}',
  run_as regrole DEFAULT NULL,
  paused boolean DEFAULT false,
  labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false,
  description text DEFAULT NULL
) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_pipeline';
COMMENT ON FUNCTION pipeline.create_pipeline(text, text, text, text, int, text, interval, interval, text[], jsonb, regrole, boolean, jsonb, boolean, text) IS
'Create a pipeline: a named set of tasks that run in the order of their dependencies (Airflow: DAG).
schedule: cron text of five fields, or @hourly and the like, read in timezone; NULL: no schedule. interval_align: unit (hour, day, week, month, quarter, year) that a scheduled run''s interval is widened to. max_active_runs: runs at once. catchup: which missed due times run later: none, last, all. params: JSON object of declared parameters with their defaults. run_as: the role that its tasks run as and that owns it; by default the current user, or the owner it has when it is replaced; never a superuser. paused: create it paused. deadline: how long after the end of its interval (of a manual, dataset or backfill run: after it was queued) a run must have ended; else the alert DeadlineMissed fires, also for a run that never started. deadline_warning: how long before that DeadlineNear warns. on_datasets: datasets that start a run once all of them have been published since the last such run. labels: JSON object; its alerts carry it. or_replace: replace the definition of an existing one; one that is paused stays so until resume().
Errors: 42710 when it exists, 22023 for a bad argument, 28000 for a role that tasks cannot run as, 42501 without the right to SET ROLE to it.';

CREATE OR REPLACE FUNCTION pipeline.drop_pipeline(pipeline text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_pipeline';
COMMENT ON FUNCTION pipeline.drop_pipeline(text) IS
'Drop a pipeline with its tasks and its whole history. Errors: 42704 when there is none, 42501 for those who do not own it, 55006 while a run has not ended.';

CREATE OR REPLACE FUNCTION pipeline.pause(pipeline text, reason text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_pause';
COMMENT ON FUNCTION pipeline.pause(text, text) IS
'Pause a pipeline: no run and no task of it starts until resume(); running tasks finish. reason is shown wherever somebody asks why it does not run.';

CREATE OR REPLACE FUNCTION pipeline.resume(pipeline text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_resume';
COMMENT ON FUNCTION pipeline.resume(text) IS
'Let a paused pipeline run again. Due times that passed meanwhile run according to its catchup.';

CREATE OR REPLACE FUNCTION pipeline.grant_pipeline(pipeline text, role regrole, privilege text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_grant_pipeline';
COMMENT ON FUNCTION pipeline.grant_pipeline(text, regrole, text) IS
'Let a role, with its members, see a pipeline of yours with its tasks and runs (privilege view), or also operate it (operate): run, run_due, execute, wait_for_run, cancel, retry, clear, mark, pause, resume, backfill. Never change its definition: that takes membership in the owner. It replaces what the role was granted before, and stays when the owner changes. Errors: 42704, 42501 for those who do not own it, 22023.';

CREATE OR REPLACE FUNCTION pipeline.revoke_pipeline(pipeline text, role regrole) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_revoke_pipeline';
COMMENT ON FUNCTION pipeline.revoke_pipeline(text, regrole) IS
'Take back what grant_pipeline() gave a role. false when it had been given nothing. Errors: 42704, 42501 for those who do not own it.';

CREATE OR REPLACE FUNCTION pipeline.create_task(
  pipeline text,
  task text,
  command text,
  depends_on text[] DEFAULT '{}',
  mode text DEFAULT 'atomic',
  trigger_rule text DEFAULT 'all_success',
  condition text DEFAULT NULL,
  retries int DEFAULT 0,
  retry_delay interval DEFAULT '30 seconds',
  retry_backoff float8 DEFAULT 2,
  retry_on text DEFAULT 'error',
  timeout interval DEFAULT NULL,
  allow_failure boolean DEFAULT false,
  pool text DEFAULT 'default',
  pool_slots int DEFAULT 1,
  priority int DEFAULT 0,
  wait_for text DEFAULT NULL,
  poke_interval interval DEFAULT '1 minute',
  wait_timeout interval DEFAULT NULL,
  on_wait_timeout text DEFAULT 'fail',
  deadline interval DEFAULT NULL,
  on_deadline text DEFAULT 'alert',
  foreach text DEFAULT NULL,
  map_key text DEFAULT NULL,
  max_active_mapped int DEFAULT NULL,
  min_success float8 DEFAULT 1.0,
  labels jsonb DEFAULT '{}',
  or_replace boolean DEFAULT false,
  description text DEFAULT NULL
) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_task';
COMMENT ON FUNCTION pipeline.create_task(text, text, text, text[], text, text, text, int, interval, float8, text, interval, boolean, text, int, int, text, interval, interval, text, interval, text, text, text, int, float8, jsonb, boolean, text) IS
'Add a task to a pipeline: SQL that runs when the tasks it depends on have succeeded.
command: one or more statements. If any row that they return has a boolean column "success" that is not true, the task fails but its writes stay. mode: atomic (all statements and the record of success in one transaction) or autocommit (each statement in its own, for VACUUM, CREATE INDEX CONCURRENTLY, procedures that commit). depends_on: tasks of the same pipeline that come before. trigger_rule: what must have become of them, by Airflow''s names: all_success, all_failed, all_done, one_success, one_failed, one_done, none_failed, none_failed_min_one_success, none_skipped, all_skipped, always. condition: SQL boolean expression, evaluated as the owner when the task is about to run; unless it is true the task is skipped. wait_for: SQL boolean expression that must become true before; asked every poke_interval, in a worker, which it does not keep in between. wait_timeout: how long that may take; on_wait_timeout: what then becomes of the task, fail (for good) or skip. retries: attempts after the first. retry_delay, retry_backoff: wait before the first retry, and the factor that each further one multiplies it by, up to a day. retry_on: error, or any (also a false "success"). timeout: longest time of one attempt. allow_failure: its failure leaves the run succeeded, as degraded. pool, pool_slots: the pool whose slots it takes while it runs, and how many (Airflow: pool). priority: from -32768 to 32767; among ready tasks of one owner the highest runs first, but a point is worth only pipeline.priority_ageing of waiting. deadline: as that of a pipeline, for this task; on_deadline: alert, or fail (an alert, and the task is stopped and fails). foreach: a query; the task runs once for each of its rows, as mapped runs task[key] that run, fail and are retried each for itself (Airflow: dynamic task mapping); without rows it is skipped. The command asks item(column) for its row. map_key: the column that tells the rows apart. max_active_mapped: mapped runs at once. min_success: share of them that must succeed, from 0 to 1; while it holds, failures give one warning that names the keys. labels: over those of the pipeline. or_replace: replace an existing task; runs that have begun keep the old one.
Errors: 42704 for an unknown pipeline, predecessor or pool, 42501 for a pool of others, 42710 when it exists, 22023 for a bad argument or a cycle, 42601 when the command does not parse, 0A000 for what a task may not do.';

CREATE OR REPLACE FUNCTION pipeline._trigger_state(trigger_rule text, pending int, succeeded int, failed int, skipped int) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_trigger_state';
COMMENT ON FUNCTION pipeline._trigger_state(text, int, int, int, int) IS
'State of a waiting task by its trigger rule, with so many predecessors that have not ended, and that ended succeeded, failed (or upstream_failed) and skipped. Rules as in Airflow''s trigger_rule_dep; but all_success skips only when every predecessor has ended, so that the outcome does not depend on their order.';
REVOKE ALL ON FUNCTION pipeline._trigger_state(text, int, int, int, int) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pipeline._rank(priority int) RETURNS timestamptz
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_rank';
COMMENT ON FUNCTION pipeline._rank(int) IS
'task_runs.rank of a task that becomes ready now.';
REVOKE ALL ON FUNCTION pipeline._rank(int) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.is_among(roles regrole[]) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_is_among';
COMMENT ON FUNCTION pipeline.is_among(regrole[]) IS
'Has the current user the rights of one of these roles? "-" is everybody. Row security of pools and datasets asks it.';

CREATE OR REPLACE FUNCTION pipeline.create_pool(pool text, slots int, users text[] DEFAULT '{}', or_replace boolean DEFAULT false, description text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_pool';
COMMENT ON FUNCTION pipeline.create_pool(text, int, text[], boolean, text) IS
'Create a pool: slots that tasks of any pipeline share, so that no more than so many run at once (Airflow: pool). slots: how many; 0 stops its tasks. users: roles whose pipelines may use it beside the owner''s, by name; public is everybody. or_replace: replace the definition of an existing one. Errors: 42710, 42501, 22023, 42704 for an unknown role.';

CREATE OR REPLACE FUNCTION pipeline.drop_pool(pool text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_pool';
COMMENT ON FUNCTION pipeline.drop_pool(text) IS
'Drop a pool. Errors: 42704, 42501, 2BP01 while tasks use it.';

CREATE OR REPLACE FUNCTION pipeline.create_dataset(dataset text, publishers text[] DEFAULT '{}', subscribers text[] DEFAULT '{}', or_replace boolean DEFAULT false, description text DEFAULT NULL, stale_after interval DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_dataset';
COMMENT ON FUNCTION pipeline.create_dataset(text, text[], text[], boolean, text, interval) IS
'Create a dataset: a name for data that tasks publish() and on which pipelines start with on_datasets (Airflow: dataset, asset). publishers, subscribers: roles that may do so beside the owner, by name; public is everybody. or_replace: replace the definition of an existing one. stale_after: not published for that long it raises the alert SourceStale (error); NULL: for pipeline.stale_dataset_factor times the longest of its last 30 pauses (warning), once it has 10. Errors: 42710, 42501, 42704 for an unknown role, 22023.';

CREATE OR REPLACE FUNCTION pipeline.drop_dataset(dataset text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_dataset';
COMMENT ON FUNCTION pipeline.drop_dataset(text) IS
'Drop a dataset with its history. Errors: 42704, 42501, 2BP01 while pipelines start on it.';

CREATE OR REPLACE FUNCTION pipeline.alter_pool(pool text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_pool(text, jsonb) IS
'Change some of the definition of a pool. changes: a JSON object whose keys are arguments of create_pool(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_pool().';

CREATE OR REPLACE FUNCTION pipeline.alter_dataset(dataset text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_dataset(text, jsonb) IS
'Change some of the definition of a dataset. changes: a JSON object whose keys are arguments of create_dataset(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_dataset().';

CREATE OR REPLACE FUNCTION pipeline.publish(dataset text, version text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_publish';
COMMENT ON FUNCTION pipeline.publish(text, text) IS
'Say that a dataset has new data, in a task or outside; returns the number of the event. When this transaction commits, pipelines whose on_datasets have now all been published since their last dataset run get one. version: what to call this state of it, kept in dataset_events and runs.datasets. Errors: 42704, 42501.';

CREATE OR REPLACE FUNCTION pipeline.drop_task(pipeline text, task text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_task';
COMMENT ON FUNCTION pipeline.drop_task(text, text) IS
'Drop a task; past runs keep their record of it. Errors: 42704 when there is none, 2BP01 while other tasks depend on it.';

CREATE OR REPLACE FUNCTION pipeline.alter_pipeline(pipeline text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_pipeline(text, jsonb) IS
'Change some of the definition of a pipeline. changes: a JSON object whose keys are arguments of create_pipeline(); null sets one back to its default, what is not named stays. paused is left to pause() and resume(). name: it is renamed with its history, while no run of it is open; its open alerts are resolved. run_as: it gets another owner, under the rules of create_pipeline(). Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_pipeline().';

CREATE OR REPLACE FUNCTION pipeline.alter_task(pipeline text, task text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_task(text, text, jsonb) IS
'Change some of the definition of a task. changes: a JSON object whose keys are arguments of create_task(); null sets one back to its default, what is not named stays. task: it is renamed, also where others depend on it; past and open runs keep the old name. Runs that have begun keep the old definition. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_task().';

CREATE OR REPLACE FUNCTION pipeline.run(
  pipeline text,
  params jsonb DEFAULT '{}',
  interval_start timestamptz DEFAULT NULL,
  interval_end timestamptz DEFAULT NULL
) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_run';
COMMENT ON FUNCTION pipeline.run(text, jsonb, timestamptz, timestamptz) IS
'Create a run of a pipeline and return its run_id. It begins when this transaction commits. params: values for declared parameters. interval_start, interval_end: its logical interval; by default the last complete one of the schedule, or [now, now) without a schedule. Errors: 42704, 42501, 22023 for an undeclared parameter, 55000 when the pipeline has no tasks.';

CREATE OR REPLACE PROCEDURE pipeline.execute(
  pipeline text,
  params jsonb DEFAULT '{}',
  timeout interval DEFAULT NULL
)
  LANGUAGE c
  AS 'MODULE_PATHNAME', 'pipeline_execute';
COMMENT ON PROCEDURE pipeline.execute(text, jsonb, interval) IS
'Run a pipeline, print the states of its tasks as they change, wait for its end, and raise 38000 if it failed or was cancelled. timeout: how long to wait; the run goes on after it. CALL it outside a transaction block.';

CREATE OR REPLACE FUNCTION pipeline.wait_for_run(run_id bigint, timeout interval DEFAULT NULL) RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_wait_for_run';
COMMENT ON FUNCTION pipeline.wait_for_run(bigint, interval) IS
'Wait until a run has ended, timeout at most, and return its state: succeeded, failed or cancelled; queued or running when the time was over. The calling query holds its snapshot meanwhile: CREATE INDEX CONCURRENTLY in the run waits for it; CALL execute() does not have that fault. Errors: 42704, 42501, 55000 for a run of the current transaction or above READ COMMITTED.';

CREATE OR REPLACE FUNCTION pipeline.cancel(run_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_cancel';
COMMENT ON FUNCTION pipeline.cancel(bigint) IS
'Cancel a run: what has not started never will, what is running is stopped. false when the run had ended already.';

CREATE OR REPLACE FUNCTION pipeline.retry(run_id bigint) RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_retry';
COMMENT ON FUNCTION pipeline.retry(bigint) IS
'Run the tasks of an ended run again that failed, were held back or were cancelled, with their current definitions; what succeeded is not repeated. Returns how many.';

CREATE OR REPLACE FUNCTION pipeline.clear(
  run_id bigint,
  task text,
  downstream boolean DEFAULT true,
  only_failed boolean DEFAULT false,
  map_key text DEFAULT NULL,
  note text DEFAULT NULL
) RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_clear';
COMMENT ON FUNCTION pipeline.clear(bigint, text, boolean, boolean, text, text) IS
'Have a task of a run run again, whatever became of it, with its current definition; with downstream also everything after it. only_failed: of these only what failed, was held back or was cancelled. An ended run is queued again. note: kept in changes. map_key: of a mapped task only the run with that key; without it foreach is asked again. Returns how many tasks were cleared (Airflow: clear). Errors: 42704, 42501, 55006 when one of them is running.';

CREATE OR REPLACE FUNCTION pipeline.mark(run_id bigint, task text, state text, note text DEFAULT NULL) RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_mark';
COMMENT ON FUNCTION pipeline.mark(bigint, text, text, text) IS
'Say by hand what became of a task of a run: succeeded, failed or skipped. What was held back because of it is decided anew and may run; an ended run is queued again for that. note: why, kept in changes. Returns how many tasks wait to run because of it. Errors: 42704, 42501, 22023, 55006 when the task is running.';

CREATE OR REPLACE FUNCTION pipeline.backfill(
  pipeline text,
  from_time timestamptz,
  to_time timestamptz,
  reprocess text DEFAULT 'none',
  tasks text[] DEFAULT NULL,
  params jsonb DEFAULT '{}',
  max_active_runs int DEFAULT NULL,
  run_backwards boolean DEFAULT false,
  merge_intervals boolean DEFAULT false,
  dry_run boolean DEFAULT false,
  OUT interval_start timestamptz, OUT interval_end timestamptz, OUT run_id bigint, OUT action text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
  AS 'MODULE_PATHNAME', 'pipeline_backfill';
COMMENT ON FUNCTION pipeline.backfill(text, timestamptz, timestamptz, text, text[], jsonb, int, boolean, boolean, boolean) IS
'Run a pipeline for each interval of its schedule that lies whole in [from_time, to_time) and is complete by now; without a schedule, once for [from_time, to_time). reprocess: what becomes of an interval that has a run already: none (it is left alone), failed (what failed, was held back or was cancelled in it runs again), completed (all of it runs again, also when it succeeded); one that has not ended is left alone. tasks: only these run, as if the pipeline had no others; NULL: all. params: values for declared parameters, also in runs that are run again. max_active_runs: how many of these runs may be running at once, beside the others of the pipeline; NULL: they share the pipeline''s own number. run_backwards: latest interval first. merge_intervals: one run over all the intervals. dry_run: only say what would be done. Returns a row per interval, in order: its run (NULL: none yet) and create, retry, clear or skip (Airflow: backfill). Errors: 42704, 42501, 22023, 54000 for more than 10,000 runs.';

CREATE OR REPLACE FUNCTION pipeline.plan(
  pipeline text,
  params jsonb DEFAULT '{}',
  interval_start timestamptz DEFAULT NULL,
  OUT level int, OUT task text, OUT command text, OUT why text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
  AS 'MODULE_PATHNAME', 'pipeline_plan';
COMMENT ON FUNCTION pipeline.plan(text, jsonb, timestamptz) IS
'What a run of a pipeline would do; nothing is run. params, interval_start: as for the run; they are checked. One row per task: level 1 for those that wait for nothing, else one more than the highest of those before it; the command; and why it would run, in words: after what, when and under which condition. Errors: 42704, 42501, 22023 for an undeclared parameter or when no interval of the schedule starts there.';

CREATE OR REPLACE FUNCTION pipeline.test_task(
  pipeline text,
  task text,
  params jsonb DEFAULT '{}',
  interval_start timestamptz DEFAULT NULL,
  map_key text DEFAULT NULL,
  given jsonb DEFAULT NULL,
  expected jsonb DEFAULT NULL,
  OUT outcome text, OUT result jsonb, OUT rows bigint, OUT difference jsonb) RETURNS record
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_test_task';
COMMENT ON FUNCTION pipeline.test_task(text, text, jsonb, timestamptz, text, jsonb, jsonb) IS
'Run a task here and now, in this session, in the context of a task, and take it back, whatever came of it. params, interval_start: as for the run; interval_start NULL: the last complete interval. given: a JSON object of rows by the name of a table or view: while the command runs a temporary table with those rows stands in its place, for names in the command and for names without a schema everywhere; columns that a row lacks are NULL. expected: the rows that the command must return, in any order (a JSON array of objects, or one object), at most 100. Returns outcome: succeeded, failed (a "success" that is not true, or not what was expected), skipped (its condition is not true) or waiting (its wait_for is not true); what it returned and how many rows its statements returned or changed, as in attempts; and difference: rows missing and unexpected, NULL if there are none. An error of the command is raised. It runs as the owner of the pipeline, for members of that role only; if you are another role it cannot make temporary tables. Sequences do not go back. run_id() is 0, and tasks before it have neither state nor result. map_key: of a task with foreach, the run with that key; without it foreach is run and its rows are counted. Errors: 42704, 42501, 22023, 28000, and those of the command.';

CREATE OR REPLACE FUNCTION pipeline.run_due(pipeline text DEFAULT NULL) RETURNS SETOF bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_run_due';
COMMENT ON FUNCTION pipeline.run_due(text) IS
'Create every scheduled run that is due now and was not created yet, of one pipeline or of all that the caller may operate; returns their run_ids. What the pg_cron job of enable_schedules() calls each minute; calling it more often changes nothing.';

CREATE OR REPLACE FUNCTION pipeline.cron_next(expr text, after timestamptz DEFAULT now(), timezone text DEFAULT 'UTC', n int DEFAULT 1) RETURNS SETOF timestamptz
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_cron_next';
COMMENT ON FUNCTION pipeline.cron_next(text, timestamptz, text, int) IS
'The next n due times of cron text (or "N seconds", N from 1 to 59) after a time, in a time zone. A time that a change of clocks skips is due at the change; one that it repeats is due the first time only. Errors: 22023 with the field that is wrong.';

CREATE OR REPLACE FUNCTION pipeline.resume_schedules() RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_resume_schedules';
COMMENT ON FUNCTION pipeline.resume_schedules() IS
'Let a copy of a database (a restored dump, a template''s copy) run its pipelines: ends the runs that the original had open as cancelled, returning how many, and makes this database the one that acts. Nothing in the database that acts already. For superusers and the admin role.';

CREATE OR REPLACE FUNCTION pipeline.schedule_job(quiet boolean DEFAULT false, OUT job text, OUT schedule text) RETURNS record
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_schedule_job';
COMMENT ON FUNCTION pipeline.schedule_job(boolean) IS
'Name of the pg_cron job of this database, and the schedule that it needs: each minute, or as many seconds as the schedules in seconds have in common where pg_cron is 1.5 or later; a warning where it is not, unless quiet. Errors: 42501 for those who may not change it, 55000 when pg_cron is not there, with what to do.';

CREATE OR REPLACE FUNCTION pipeline.enable_schedules() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  job record;
  job_id bigint;
BEGIN
  SELECT j.job AS name, j.schedule INTO job FROM pipeline.schedule_job() j;
  EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job_id
    USING job.name, job.schedule, 'SELECT pipeline.run_due()';
  RETURN job_id;
END
$$;
COMMENT ON FUNCTION pipeline.enable_schedules() IS
'Make the one pg_cron job of this database, which calls run_due() as the current user each minute, or more often where pipelines have schedules in seconds and pg_cron is 1.5 or later; returns its id. Again: sees how often that is now. For superusers and the admin role. Errors: 55000 when pg_cron is not there, with what to do.';

CREATE OR REPLACE FUNCTION pipeline.drop_schedules() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  job text := (SELECT j.job FROM pipeline.schedule_job(true) j);
  found_job boolean;
BEGIN
  EXECUTE 'SELECT EXISTS (SELECT FROM cron.job WHERE jobname = $1 AND username = current_user)'
    INTO found_job USING job;
  IF found_job THEN
    EXECUTE 'SELECT cron.unschedule($1)' USING job;
  END IF;
  RETURN found_job;
END
$$;
COMMENT ON FUNCTION pipeline.drop_schedules() IS
'Remove the pg_cron job that enable_schedules() made for the current user; false when there was none.';

CREATE OR REPLACE FUNCTION pipeline.run_id() RETURNS bigint
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_run_id';
COMMENT ON FUNCTION pipeline.run_id() IS
'Inside a task: number of its run. Error: 55000 outside a task.';

CREATE OR REPLACE FUNCTION pipeline.task_name() RETURNS text
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_task_name';
COMMENT ON FUNCTION pipeline.task_name() IS
'Inside a task: its name. Error: 55000 outside a task.';

CREATE OR REPLACE FUNCTION pipeline.attempt() RETURNS int
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_attempt';
COMMENT ON FUNCTION pipeline.attempt() IS
'Inside a task: number of this attempt, from 1. Error: 55000 outside a task.';

CREATE OR REPLACE FUNCTION pipeline.interval_start() RETURNS timestamptz
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_interval_start';
COMMENT ON FUNCTION pipeline.interval_start() IS
'Inside a task: start of its run''s logical interval, inclusive (Airflow: data_interval_start). Error: 55000 outside a task.';

CREATE OR REPLACE FUNCTION pipeline.interval_end() RETURNS timestamptz
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_interval_end';
COMMENT ON FUNCTION pipeline.interval_end() IS
'Inside a task: end of its run''s logical interval, exclusive (Airflow: data_interval_end). Error: 55000 outside a task.';

CREATE OR REPLACE FUNCTION pipeline.param(name text, default_value text DEFAULT NULL) RETURNS text
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_param';
COMMENT ON FUNCTION pipeline.param(text, text) IS
'Inside a task: value of a parameter of its run, as text; default_value when it is null. Errors: 55000 outside a task, 22023 for a parameter that the pipeline does not declare.';

CREATE OR REPLACE FUNCTION pipeline.task_state(task text) RETURNS text
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_task_state';
COMMENT ON FUNCTION pipeline.task_state(text) IS
'Inside a task: state of a task of the same run, as task_runs.state. Errors: 55000 outside a task, 22023 for a task that the run does not have.';

CREATE OR REPLACE FUNCTION pipeline.task_result(task text, map_key text DEFAULT NULL) RETURNS jsonb
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_task_result';
COMMENT ON FUNCTION pipeline.task_result(text, text) IS
'Inside a task: what a task of the same run returned, as attempts.result of its last attempt (Airflow: XCom); NULL when it has not ended, was skipped or returned no rows. Of a mapped task: counts of its mapped runs and the keys of those that failed; with map_key what that one returned. Errors: 55000 outside a task, 22023 for a task that the run does not have.';

CREATE OR REPLACE FUNCTION pipeline.mapped_results(task text, OUT map_key text, OUT state text, OUT result jsonb) RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_mapped_results';
COMMENT ON FUNCTION pipeline.mapped_results(text) IS
'Inside a task: the mapped runs of a task of the same run, with their keys, states and results, in the order of the keys. Errors: 55000 outside a task, 22023 for a task that the run does not have.';

CREATE OR REPLACE FUNCTION pipeline.item(name text) RETURNS text
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_item';
COMMENT ON FUNCTION pipeline.item(text) IS
'Inside a mapped run: a column of its row of foreach, as text. Errors: 55000 outside a mapped run, 22023 for a column that foreach does not return.';

CREATE OR REPLACE FUNCTION pipeline.report_progress(done float8, total float8 DEFAULT NULL, message text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_report_progress';
COMMENT ON FUNCTION pipeline.report_progress(float8, float8, text) IS
'Inside a task: say how far it is, in any unit: done of total (NULL: unknown), and in words, of which 199 bytes are kept. Others see it at once, in task_status and run_status, not only when the task commits. Errors: 55000 outside a task, 22023.';

CREATE OR REPLACE FUNCTION pipeline.progress(attempt_id bigint, OUT done float8, OUT total float8, OUT message text, OUT reported_at timestamptz) RETURNS record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_progress';
COMMENT ON FUNCTION pipeline.progress(bigint) IS
'What a running attempt last said with report_progress(); NULLs when it said nothing, has ended, or is not the caller''s to see.';

CREATE OR REPLACE FUNCTION pipeline.worker_status(
  OUT acts boolean, OUT workers int, OUT busy int, OUT idle int, OUT starting int, OUT most_of_owner int) RETURNS record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'pipeline_worker_status';
COMMENT ON FUNCTION pipeline.worker_status() IS
'What the workers of the server do. acts: does this database run its pipelines (false in a copy until resume_schedules(), and when the library is not preloaded)? workers: how many there may be (pipeline.max_workers), in all databases; busy, idle, starting: how many are. most_of_owner: how many one role may have (pipeline.max_active_workers_per_role); 0: all.';

CREATE OR REPLACE FUNCTION pipeline.worker_count(owner regrole) RETURNS int
  LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'pipeline_worker_count';
COMMENT ON FUNCTION pipeline.worker_count(regrole) IS
'How many workers run as a role now, in all databases of the server.';

CREATE OR REPLACE FUNCTION pipeline.pool_status(pool text, OUT slots int, OUT used int, OUT free int, OUT holders text) RETURNS record
  LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'pipeline_pool_status';
COMMENT ON FUNCTION pipeline.pool_status(text) IS
'Slots of a pool, how many are used and free, and which tasks hold them: by name where the caller may see them, else as how many of others. slots is NULL when there is no such pool, or the caller may neither see it nor has a task in it.';

CREATE OR REPLACE VIEW pipeline.run_status WITH (security_invoker = true) AS
SELECT r.run_id, r.pipeline, r.run_type, r.state, r.degraded,
       r.interval_start, r.interval_end, r.queued_at, r.started_at, r.finished_at,
       coalesce(r.finished_at, CASE WHEN r.state = 'running' THEN pg_catalog.clock_timestamp() END) - r.started_at AS duration,
       t.tasks, t.succeeded, t.failed, t.held_back, t.running,
       (SELECT pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY u.finished_at - u.started_at)
        FROM (SELECT u.finished_at, u.started_at FROM pipeline.runs u
              WHERE u.pipeline = r.pipeline AND u.run_id <> r.run_id AND u.state = 'succeeded'
              ORDER BY u.run_id DESC LIMIT 20) u) AS usual_duration,
       CASE WHEN r.state = 'running' THEN
         (SELECT greatest(r.started_at + pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY u.finished_at - u.started_at), pg_catalog.clock_timestamp())
          FROM (SELECT u.finished_at, u.started_at FROM pipeline.runs u
                WHERE u.pipeline = r.pipeline AND u.run_id <> r.run_id AND u.state = 'succeeded'
                ORDER BY u.run_id DESC LIMIT 20) u HAVING pg_catalog.count(*) > 0) END AS eta,
       CASE WHEN r.state = 'running' THEN
         (SELECT pg_catalog.string_agg(pg_catalog.format('%s: %s%s', a.task,
                   CASE WHEN p.total IS NULL THEN p.done::text ELSE pg_catalog.format('%s of %s', p.done, p.total) END,
                   coalesce(', ' || p.message, '')), '; ' ORDER BY a.task)
          FROM pipeline.attempts a, pipeline.progress(a.attempt_id) p
          WHERE a.run_id = r.run_id AND a.state = 'running' AND p.reported_at IS NOT NULL) END AS progress,
       r.deadline_at, r.deadline_missed, r.datasets,
       r.params, r.owner, r.triggered_by
FROM pipeline.runs r
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*) AS tasks,
         pg_catalog.count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
         pg_catalog.count(*) FILTER (WHERE state = 'failed') AS failed,
         pg_catalog.count(*) FILTER (WHERE state = 'upstream_failed') AS held_back,
         pg_catalog.count(*) FILTER (WHERE state = 'running') AS running
  FROM pipeline.task_runs WHERE run_id = r.run_id AND mapped_task IS NULL) t;
COMMENT ON VIEW pipeline.run_status IS 'One row per run: its state and how far it is.';
COMMENT ON COLUMN pipeline.run_status.run_id IS 'As runs.run_id.';
COMMENT ON COLUMN pipeline.run_status.pipeline IS 'As runs.pipeline.';
COMMENT ON COLUMN pipeline.run_status.run_type IS 'As runs.run_type.';
COMMENT ON COLUMN pipeline.run_status.state IS 'As runs.state.';
COMMENT ON COLUMN pipeline.run_status.degraded IS 'As runs.degraded.';
COMMENT ON COLUMN pipeline.run_status.interval_start IS 'As runs.interval_start.';
COMMENT ON COLUMN pipeline.run_status.interval_end IS 'As runs.interval_end.';
COMMENT ON COLUMN pipeline.run_status.queued_at IS 'As runs.queued_at.';
COMMENT ON COLUMN pipeline.run_status.started_at IS 'As runs.started_at.';
COMMENT ON COLUMN pipeline.run_status.finished_at IS 'As runs.finished_at.';
COMMENT ON COLUMN pipeline.run_status.duration IS 'From start to end, or until now while it is running.';
COMMENT ON COLUMN pipeline.run_status.tasks IS 'Tasks of the run.';
COMMENT ON COLUMN pipeline.run_status.succeeded IS 'Tasks that succeeded.';
COMMENT ON COLUMN pipeline.run_status.failed IS 'Tasks that failed.';
COMMENT ON COLUMN pipeline.run_status.held_back IS 'Tasks that did not run because one before them failed.';
COMMENT ON COLUMN pipeline.run_status.running IS 'Tasks that are running.';
COMMENT ON COLUMN pipeline.run_status.usual_duration IS 'Median duration of the last 20 runs of the pipeline that succeeded, without this one.';
COMMENT ON COLUMN pipeline.run_status.eta IS 'When it will have ended if it takes as long as usual; now, if it has already taken longer.';
COMMENT ON COLUMN pipeline.run_status.progress IS 'What its running tasks say with report_progress().';
COMMENT ON COLUMN pipeline.run_status.deadline_at IS 'As runs.deadline_at.';
COMMENT ON COLUMN pipeline.run_status.deadline_missed IS 'As runs.deadline_missed.';
COMMENT ON COLUMN pipeline.run_status.datasets IS 'As runs.datasets.';
COMMENT ON COLUMN pipeline.run_status.params IS 'As runs.params.';
COMMENT ON COLUMN pipeline.run_status.owner IS 'As runs.owner.';
COMMENT ON COLUMN pipeline.run_status.triggered_by IS 'As runs.triggered_by.';

CREATE OR REPLACE VIEW pipeline.task_status WITH (security_invoker = true) AS
SELECT t.run_id, t.pipeline, t.task, t.state, t.depends_on, t.attempts,
       t.started_at, t.finished_at,
       coalesce(t.finished_at, CASE WHEN t.state = 'running' THEN pg_catalog.clock_timestamp() END) - t.started_at AS duration,
       (SELECT pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY u.duration)
        FROM (SELECT x.finished_at - x.started_at AS duration
              FROM (SELECT l.run_id FROM pipeline.runs l WHERE l.pipeline = t.pipeline AND l.run_id <> t.run_id
                    ORDER BY l.run_id DESC LIMIT 100) l
              JOIN pipeline.task_runs x ON x.run_id = l.run_id AND x.task = t.task
              WHERE x.state = 'succeeded' ORDER BY l.run_id DESC LIMIT 20) u) AS usual_duration,
       t.next_attempt_at, t.error, a.result, a.rows,
       p.done AS progress_done, p.total AS progress_total, p.message AS progress_message, p.reported_at,
       t.mapped_task, t.map_key, t.deadline_at, t.deadline_missed
FROM pipeline.task_runs t
LEFT JOIN pipeline.attempts a ON a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempts
LEFT JOIN LATERAL pipeline.progress(CASE WHEN a.state = 'running' THEN a.attempt_id END) p ON true;
COMMENT ON VIEW pipeline.task_status IS 'One row per task of a run: its state, and what its last attempt returned.';
COMMENT ON COLUMN pipeline.task_status.run_id IS 'As task_runs.run_id.';
COMMENT ON COLUMN pipeline.task_status.pipeline IS 'As task_runs.pipeline.';
COMMENT ON COLUMN pipeline.task_status.task IS 'As task_runs.task.';
COMMENT ON COLUMN pipeline.task_status.state IS 'As task_runs.state.';
COMMENT ON COLUMN pipeline.task_status.depends_on IS 'As task_runs.depends_on.';
COMMENT ON COLUMN pipeline.task_status.attempts IS 'As task_runs.attempts.';
COMMENT ON COLUMN pipeline.task_status.started_at IS 'As task_runs.started_at.';
COMMENT ON COLUMN pipeline.task_status.finished_at IS 'As task_runs.finished_at.';
COMMENT ON COLUMN pipeline.task_status.duration IS 'Length of the last attempt, until now while it is running.';
COMMENT ON COLUMN pipeline.task_status.usual_duration IS 'Median duration of its last 20 successes in other runs, so that slowness shows.';
COMMENT ON COLUMN pipeline.task_status.progress_done IS 'What it said last with report_progress(), while it runs.';
COMMENT ON COLUMN pipeline.task_status.progress_total IS 'Of how much.';
COMMENT ON COLUMN pipeline.task_status.progress_message IS 'In its words.';
COMMENT ON COLUMN pipeline.task_status.reported_at IS 'When it said so.';
COMMENT ON COLUMN pipeline.task_status.mapped_task IS 'As task_runs.mapped_task.';
COMMENT ON COLUMN pipeline.task_status.map_key IS 'As task_runs.map_key.';
COMMENT ON COLUMN pipeline.task_status.deadline_at IS 'As task_runs.deadline_at.';
COMMENT ON COLUMN pipeline.task_status.deadline_missed IS 'As task_runs.deadline_missed.';
COMMENT ON COLUMN pipeline.task_status.next_attempt_at IS 'As task_runs.next_attempt_at.';
COMMENT ON COLUMN pipeline.task_status.error IS 'As task_runs.error.';
COMMENT ON COLUMN pipeline.task_status.result IS 'As attempts.result, of the last attempt.';
COMMENT ON COLUMN pipeline.task_status.rows IS 'As attempts.rows, of the last attempt.';

CREATE OR REPLACE VIEW pipeline.mapped_status WITH (security_invoker = true) AS
SELECT t.run_id, t.pipeline, t.task, t.state,
       pg_catalog.count(m.task) AS mapped,
       pg_catalog.count(*) FILTER (WHERE m.state IN ('waiting', 'ready', 'up_for_retry')) AS waiting,
       pg_catalog.count(*) FILTER (WHERE m.state = 'running') AS running,
       pg_catalog.count(*) FILTER (WHERE m.state = 'succeeded') AS succeeded,
       pg_catalog.count(*) FILTER (WHERE m.state = 'failed') AS failed,
       pg_catalog.count(*) FILTER (WHERE m.state = 'cancelled') AS cancelled,
       t.min_success,
       pg_catalog.array_agg(m.map_key ORDER BY m.map_key) FILTER (WHERE m.state = 'failed') AS failed_keys
FROM pipeline.task_runs t
LEFT JOIN pipeline.task_runs m ON m.run_id = t.run_id AND m.mapped_task = t.task AND m.item IS NOT NULL
WHERE t.foreach IS NOT NULL
GROUP BY t.run_id, t.task;
COMMENT ON VIEW pipeline.mapped_status IS 'One row per task with foreach of a run: how many mapped runs it has, and what became of them.';
COMMENT ON COLUMN pipeline.mapped_status.run_id IS 'As task_runs.run_id.';
COMMENT ON COLUMN pipeline.mapped_status.pipeline IS 'As task_runs.pipeline.';
COMMENT ON COLUMN pipeline.mapped_status.task IS 'As task_runs.task.';
COMMENT ON COLUMN pipeline.mapped_status.state IS 'As task_runs.state.';
COMMENT ON COLUMN pipeline.mapped_status.mapped IS 'Mapped runs; 0 until foreach has run.';
COMMENT ON COLUMN pipeline.mapped_status.waiting IS 'Of them: not begun, or between attempts.';
COMMENT ON COLUMN pipeline.mapped_status.running IS 'Of them: running.';
COMMENT ON COLUMN pipeline.mapped_status.succeeded IS 'Of them: succeeded.';
COMMENT ON COLUMN pipeline.mapped_status.failed IS 'Of them: failed for good.';
COMMENT ON COLUMN pipeline.mapped_status.cancelled IS 'Of them: cancelled.';
COMMENT ON COLUMN pipeline.mapped_status.min_success IS 'As task_runs.min_success.';
COMMENT ON COLUMN pipeline.mapped_status.failed_keys IS 'Keys of those that failed.';

CREATE OR REPLACE VIEW pipeline.waiting WITH (security_invoker = true) AS
SELECT t.run_id, t.pipeline, t.task, t.state,
       coalesce(t.ready_at, CASE WHEN t.state = 'up_for_retry' THEN t.finished_at END, t.waiting_since, r.queued_at) AS since,
       CASE
         WHEN NOT w.acts THEN 'nothing runs in this database: it is a copy, or the library is not preloaded; see pipeline.resume_schedules()'
         WHEN p.paused THEN 'the pipeline is paused' || coalesce(': ' || p.paused_reason, '')
         WHEN r.state = 'queued' AND a.runs >= coalesce(r.max_active_runs, p.max_active_runs) THEN
           pg_catalog.format('for run %s of the pipeline to end: max_active_runs is %s', a.run_ids, coalesce(r.max_active_runs, p.max_active_runs))
         WHEN r.state = 'queued' THEN 'for the scheduler to begin the run'
         WHEN t.state = 'waiting' AND t.next_attempt_at IS NOT NULL THEN
           pg_catalog.format('for its wait_for to become true; it is asked again at %s', t.next_attempt_at)
           || coalesce(', until ' || (t.waiting_since + t.wait_timeout)::text, '')
         WHEN t.state = 'waiting' AND t.mapped_task IS NOT NULL THEN
           (SELECT pg_catalog.format('for another mapped run of %s to end: max_active_mapped is %s', m.task, m.max_active_mapped)
            FROM pipeline.task_runs m WHERE m.run_id = t.run_id AND m.task = t.mapped_task)
         WHEN t.state = 'waiting' THEN
           (SELECT 'for ' || pg_catalog.string_agg(pg_catalog.format('%s (%s)', d.task, d.state), ', ' ORDER BY d.task)
            FROM pipeline.task_runs d WHERE d.run_id = t.run_id AND d.task = ANY (t.depends_on)
            AND d.state NOT IN ('succeeded', 'failed', 'upstream_failed', 'skipped', 'cancelled'))
           || CASE t.trigger_rule WHEN 'all_success' THEN '' ELSE '; its trigger rule is ' || t.trigger_rule END
         WHEN t.state = 'up_for_retry' THEN
           pg_catalog.format('attempt %s failed (%s); it is tried again at %s', t.attempts, t.error, t.next_attempt_at)
         WHEN t.pool <> 'default' AND coalesce(u.free < t.pool_slots, true) THEN
           CASE WHEN u.slots IS NULL THEN pg_catalog.format('for pool %s, which does not exist', t.pool)
                WHEN u.slots < t.pool_slots AND u.slots > 0 THEN
                  pg_catalog.format('for %s slots of pool %s, which has only %s: for ever, unless one of the two is changed', t.pool_slots, t.pool, u.slots)
                ELSE pg_catalog.format('for %s of pool %s, which has %s of %s free%s',
                       CASE t.pool_slots WHEN 1 THEN 'a slot' ELSE pg_catalog.format('%s slots', t.pool_slots) END, t.pool, u.free, u.slots,
                       coalesce('; they are held by ' || u.holders, '')) END
         WHEN t.pool <> 'default' AND u.ahead IS NOT NULL THEN
           pg_catalog.format('for its turn in pool %s, behind %s', t.pool, u.ahead)
         WHEN w.busy >= w.workers THEN
           pg_catalog.format('for a worker: all %s are busy (pipeline.max_workers)', w.workers)
         WHEN w.most_of_owner > 0 AND w.busy >= w.most_of_owner AND pipeline.worker_count(t.owner) >= w.most_of_owner THEN
           pg_catalog.format('for a worker: its owner has %s already (pipeline.max_active_workers_per_role)', w.most_of_owner)
         WHEN w.idle + w.starting = 0 THEN 'for a worker, and none is idle or starting: max_worker_processes may be reached, the server''s log says so'
         ELSE 'for a worker, which is on its way'
       END AS why
FROM pipeline.task_runs t
JOIN pipeline.runs r USING (run_id)
JOIN pipeline.pipelines p ON p.pipeline = t.pipeline
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*) AS runs, pg_catalog.string_agg(x.run_id::text, ', ' ORDER BY x.run_id) AS run_ids
  FROM pipeline.runs x WHERE x.pipeline = t.pipeline AND x.state = 'running'
  AND CASE WHEN r.max_active_runs IS NULL THEN x.max_active_runs IS NULL
    ELSE x.max_active_runs IS NOT NULL AND x.backfill = r.backfill END) a
LEFT JOIN LATERAL (
  SELECT o.slots, o.free, o.holders,
         (SELECT pg_catalog.format('%s/%s', b.pipeline, b.task) FROM pipeline.task_runs b
          WHERE b.pool = t.pool AND b.owner = t.owner AND b.state = 'ready' AND b.rank < t.rank AND b.pool_slots <= o.slots
          ORDER BY b.rank LIMIT 1) AS ahead
  FROM pipeline.pool_status(t.pool) o) u ON t.state = 'ready' AND t.pool <> 'default'
CROSS JOIN pipeline.worker_status() w
WHERE t.state IN ('waiting', 'ready', 'up_for_retry') AND r.state IN ('queued', 'running');
COMMENT ON VIEW pipeline.waiting IS 'One row per task that has not begun though its run has not ended, and why it waits, in words.';
COMMENT ON COLUMN pipeline.waiting.run_id IS 'As task_runs.run_id.';
COMMENT ON COLUMN pipeline.waiting.pipeline IS 'As task_runs.pipeline.';
COMMENT ON COLUMN pipeline.waiting.task IS 'As task_runs.task.';
COMMENT ON COLUMN pipeline.waiting.state IS 'waiting, ready or up_for_retry.';
COMMENT ON COLUMN pipeline.waiting.since IS 'Since when: ready or failed at, or the run queued at.';
COMMENT ON COLUMN pipeline.waiting.why IS 'What it waits for.';

CREATE OR REPLACE VIEW pipeline.failures WITH (security_invoker = true) AS
SELECT a.run_id, t.pipeline, a.task, a.attempt, a.state, a.finished_at AS failed_at, a.finished_at - a.started_at AS duration,
       a.sqlstate, a.error, a.error_detail, a.error_hint, a.error_context, a.statement, a.result, a.notices,
       t.state AS task_state, t.next_attempt_at, r.state AS run_state,
       (SELECT pg_catalog.array_agg(h.task ORDER BY h.task) FROM pipeline.task_runs h
        WHERE h.run_id = a.run_id AND h.state = 'upstream_failed') AS held_back,
       r.interval_start, r.interval_end, a.params, a.command, a.owner
FROM pipeline.attempts a
JOIN pipeline.task_runs t USING (run_id, task)
JOIN pipeline.runs r USING (run_id)
WHERE a.state IN ('failed', 'lost');
COMMENT ON VIEW pipeline.failures IS 'One row per attempt that failed or was lost, with everything needed to understand it; the latest with ORDER BY failed_at DESC.';
COMMENT ON COLUMN pipeline.failures.run_id IS 'As attempts.run_id.';
COMMENT ON COLUMN pipeline.failures.pipeline IS 'As runs.pipeline.';
COMMENT ON COLUMN pipeline.failures.task IS 'As attempts.task.';
COMMENT ON COLUMN pipeline.failures.attempt IS 'As attempts.attempt.';
COMMENT ON COLUMN pipeline.failures.state IS 'failed or lost.';
COMMENT ON COLUMN pipeline.failures.failed_at IS 'When it ended.';
COMMENT ON COLUMN pipeline.failures.duration IS 'How long it ran.';
COMMENT ON COLUMN pipeline.failures.sqlstate IS 'As attempts.sqlstate; NULL when the command returned a "success" that was not true.';
COMMENT ON COLUMN pipeline.failures.error IS 'As attempts.error.';
COMMENT ON COLUMN pipeline.failures.error_detail IS 'As attempts.error_detail.';
COMMENT ON COLUMN pipeline.failures.error_hint IS 'As attempts.error_hint.';
COMMENT ON COLUMN pipeline.failures.error_context IS 'As attempts.error_context.';
COMMENT ON COLUMN pipeline.failures.statement IS 'The statement of the command that failed.';
COMMENT ON COLUMN pipeline.failures.result IS 'What the command returned: of a failed check, its counts.';
COMMENT ON COLUMN pipeline.failures.notices IS 'As attempts.notices.';
COMMENT ON COLUMN pipeline.failures.task_state IS 'What became of the task: up_for_retry, succeeded, failed, ...';
COMMENT ON COLUMN pipeline.failures.next_attempt_at IS 'When it is tried again.';
COMMENT ON COLUMN pipeline.failures.run_state IS 'What became of the run.';
COMMENT ON COLUMN pipeline.failures.held_back IS 'Tasks of the run that did not run because one before them failed.';
COMMENT ON COLUMN pipeline.failures.interval_start IS 'As runs.interval_start.';
COMMENT ON COLUMN pipeline.failures.interval_end IS 'As runs.interval_end.';
COMMENT ON COLUMN pipeline.failures.params IS 'Parameters of the run.';
COMMENT ON COLUMN pipeline.failures.command IS 'The SQL that ran.';
COMMENT ON COLUMN pipeline.failures.owner IS 'The role that it ran as.';

CREATE OR REPLACE VIEW pipeline.schedules WITH (security_invoker = true) AS
SELECT p.pipeline, p.schedule, p.timezone,
       CASE WHEN NOT p.paused THEN
         (SELECT n FROM pipeline.cron_next(p.schedule, pg_catalog.now(), p.timezone) AS n) END AS next_due,
       (SELECT pg_catalog.max(r.interval_end) FROM pipeline.runs r
        WHERE r.pipeline = p.pipeline AND r.run_type = 'scheduled') AS last_interval_end,
       p.catchup, p.paused, p.paused_reason, p.owner
FROM pipeline.pipelines p
WHERE p.schedule IS NOT NULL;
COMMENT ON VIEW pipeline.schedules IS 'One row per scheduled pipeline: when it is due next, and why it is paused if it is.';
COMMENT ON COLUMN pipeline.schedules.pipeline IS 'As pipelines.pipeline.';
COMMENT ON COLUMN pipeline.schedules.schedule IS 'As pipelines.schedule.';
COMMENT ON COLUMN pipeline.schedules.timezone IS 'As pipelines.timezone.';
COMMENT ON COLUMN pipeline.schedules.next_due IS 'The next due time; NULL while it is paused.';
COMMENT ON COLUMN pipeline.schedules.last_interval_end IS 'End of the latest interval that has a scheduled run.';
COMMENT ON COLUMN pipeline.schedules.catchup IS 'As pipelines.catchup.';
COMMENT ON COLUMN pipeline.schedules.paused IS 'As pipelines.paused.';
COMMENT ON COLUMN pipeline.schedules.paused_reason IS 'As pipelines.paused_reason.';
COMMENT ON COLUMN pipeline.schedules.owner IS 'As pipelines.owner.';

/* What is granted on a pipeline is asked only of rows that are not one's own. */
DROP POLICY IF EXISTS pipeline_grants_read ON pipeline.pipeline_grants;
CREATE POLICY pipeline_grants_read ON pipeline.pipeline_grants FOR SELECT
  USING (pipeline.is_owner(owner) OR pg_has_role(role::oid, 'USAGE'));
DROP POLICY IF EXISTS pools_read ON pipeline.pools;
CREATE POLICY pools_read ON pipeline.pools FOR SELECT USING (pipeline.is_owner(owner) OR pipeline.is_among(users));
DROP POLICY IF EXISTS datasets_read ON pipeline.datasets;
CREATE POLICY datasets_read ON pipeline.datasets FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline.is_among(publishers) OR pipeline.is_among(subscribers));
DROP POLICY IF EXISTS dataset_events_read ON pipeline.dataset_events;
CREATE POLICY dataset_events_read ON pipeline.dataset_events FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline.is_owner(role));
DROP POLICY IF EXISTS dataset_updates_read ON pipeline.dataset_updates;
CREATE POLICY dataset_updates_read ON pipeline.dataset_updates FOR SELECT USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS pipelines_read ON pipeline.pipelines;
CREATE POLICY pipelines_read ON pipeline.pipelines FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline IN (SELECT g.pipeline FROM pipeline.pipeline_grants g WHERE pg_has_role(g.role::oid, 'USAGE')));
DROP POLICY IF EXISTS tasks_read ON pipeline.tasks;
CREATE POLICY tasks_read ON pipeline.tasks FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline IN (SELECT g.pipeline FROM pipeline.pipeline_grants g WHERE pg_has_role(g.role::oid, 'USAGE')));
DROP POLICY IF EXISTS runs_read ON pipeline.runs;
CREATE POLICY runs_read ON pipeline.runs FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline IN (SELECT g.pipeline FROM pipeline.pipeline_grants g WHERE pg_has_role(g.role::oid, 'USAGE')));
DROP POLICY IF EXISTS task_runs_read ON pipeline.task_runs;
CREATE POLICY task_runs_read ON pipeline.task_runs FOR SELECT
  USING (pipeline.is_owner(owner) OR pipeline IN (SELECT g.pipeline FROM pipeline.pipeline_grants g WHERE pg_has_role(g.role::oid, 'USAGE')));
DROP POLICY IF EXISTS attempts_read ON pipeline.attempts;
CREATE POLICY attempts_read ON pipeline.attempts FOR SELECT
  USING (pipeline.is_owner(owner) OR EXISTS (SELECT FROM pipeline.runs r WHERE r.run_id = attempts.run_id));
GRANT SELECT ON pipeline.pools, pipeline.datasets, pipeline.dataset_events, pipeline.dataset_updates,
  pipeline.mapped_status, pipeline.pipelines, pipeline.pipeline_grants, pipeline.tasks, pipeline.runs, pipeline.task_runs,
  pipeline.attempts, pipeline.run_status, pipeline.task_status, pipeline.waiting, pipeline.failures,
  pipeline.schedules TO PUBLIC;
