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
schedule: cron text of five fields, or @hourly and the like, read in timezone; NULL: no schedule. interval_align: unit (hour, day, week, month, quarter, year) that a scheduled run''s interval is widened to. max_active_runs: runs at once. catchup: which missed due times run later: none, last, all. params: JSON object of declared parameters with their defaults. run_as: the role that its tasks run as and that owns it; by default the current user, or the owner it has when it is replaced; never a superuser. paused: create it paused. labels: JSON object; its alerts carry it. or_replace: replace the definition of an existing one; one that is paused stays so until resume().
deadline, deadline_warning, on_datasets are not supported yet and must keep their defaults.
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
command: one or more statements. If any row that they return has a boolean column "success" that is not true, the task fails but its writes stay. mode: atomic (all statements and the record of success in one transaction) or autocommit (each statement in its own, for VACUUM, CREATE INDEX CONCURRENTLY, procedures that commit). depends_on: tasks of the same pipeline that come before. trigger_rule: what must have become of them, by Airflow''s names: all_success, all_failed, all_done, one_success, one_failed, one_done, none_failed, none_failed_min_one_success, none_skipped, all_skipped, always. condition: SQL boolean expression, evaluated as the owner when the task is about to run; unless it is true the task is skipped. wait_for: SQL boolean expression that must become true before; asked every poke_interval, in a worker, which it does not keep in between. wait_timeout: how long that may take; on_wait_timeout: what then becomes of the task, fail (for good) or skip. retries: attempts after the first. retry_delay, retry_backoff: wait before the first retry, and the factor that each further one multiplies it by, up to a day. retry_on: error, or any (also a false "success"). timeout: longest time of one attempt. allow_failure: its failure leaves the run succeeded, as degraded. priority: the highest ready task runs first. labels: over those of the pipeline. or_replace: replace an existing task; runs that have begun keep the old one.
The other arguments are not supported yet and must keep their defaults.
Errors: 42704 for an unknown pipeline or predecessor, 42710 when it exists, 22023 for a bad argument or a cycle, 42601 when the command does not parse, 0A000 for what a task may not do.';

CREATE OR REPLACE FUNCTION pipeline._trigger_state(trigger_rule text, pending int, succeeded int, failed int, skipped int) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE trigger_rule
  WHEN 'all_success' THEN
    CASE WHEN failed > 0 THEN 'upstream_failed' WHEN pending > 0 THEN 'waiting' WHEN skipped > 0 THEN 'skipped' ELSE 'ready' END
  WHEN 'all_failed' THEN
    CASE WHEN succeeded > 0 OR skipped > 0 THEN 'skipped' WHEN pending = 0 THEN 'ready' ELSE 'waiting' END
  WHEN 'all_done' THEN
    CASE WHEN pending = 0 THEN 'ready' ELSE 'waiting' END
  WHEN 'one_success' THEN
    CASE WHEN succeeded > 0 THEN 'ready' WHEN pending > 0 THEN 'waiting' WHEN failed > 0 THEN 'upstream_failed' ELSE 'skipped' END
  WHEN 'one_failed' THEN
    CASE WHEN failed > 0 THEN 'ready' WHEN pending > 0 THEN 'waiting' ELSE 'skipped' END
  WHEN 'one_done' THEN
    CASE WHEN succeeded > 0 OR failed > 0 THEN 'ready' WHEN pending > 0 THEN 'waiting' ELSE 'skipped' END
  WHEN 'none_failed' THEN
    CASE WHEN failed > 0 THEN 'upstream_failed' WHEN pending = 0 THEN 'ready' ELSE 'waiting' END
  WHEN 'none_failed_min_one_success' THEN
    CASE WHEN failed > 0 THEN 'upstream_failed' WHEN pending > 0 THEN 'waiting' WHEN succeeded > 0 THEN 'ready' ELSE 'skipped' END
  WHEN 'none_skipped' THEN
    CASE WHEN skipped > 0 THEN 'skipped' WHEN pending = 0 THEN 'ready' ELSE 'waiting' END
  WHEN 'all_skipped' THEN
    CASE WHEN succeeded > 0 OR failed > 0 THEN 'skipped' WHEN pending = 0 THEN 'ready' ELSE 'waiting' END
  WHEN 'always' THEN 'ready'
END;
COMMENT ON FUNCTION pipeline._trigger_state(text, int, int, int, int) IS
'State of a waiting task by its trigger rule, with so many predecessors that have not ended, and that ended succeeded, failed (or upstream_failed) and skipped. Rules as in Airflow''s trigger_rule_dep; but all_success skips only when every predecessor has ended, so that the outcome does not depend on their order.';
REVOKE ALL ON FUNCTION pipeline._trigger_state(text, int, int, int, int) FROM PUBLIC;

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
'Have a task of a run run again, whatever became of it, with its current definition; with downstream also everything after it. only_failed: of these only what failed, was held back or was cancelled. An ended run is queued again. note: kept in changes. map_key is not supported yet. Returns how many tasks were cleared (Airflow: clear). Errors: 42704, 42501, 55006 when one of them is running.';

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
'Run a task here and now, in this session, in the context of a task, and take it back, whatever came of it. params, interval_start: as for the run; interval_start NULL: the last complete interval. given: a JSON object of rows by the name of a table or view: while the command runs a temporary table with those rows stands in its place, for names in the command and for names without a schema everywhere; columns that a row lacks are NULL. expected: the rows that the command must return, in any order (a JSON array of objects, or one object), at most 100. Returns outcome: succeeded, failed (a "success" that is not true, or not what was expected), skipped (its condition is not true) or waiting (its wait_for is not true); what it returned and how many rows its statements returned or changed, as in attempts; and difference: rows missing and unexpected, NULL if there are none. An error of the command is raised. It runs as the owner of the pipeline, for members of that role only; if you are another role it cannot make temporary tables. Sequences do not go back. run_id() is 0, and tasks before it have neither state nor result. map_key is not supported yet. Errors: 42704, 42501, 22023, 28000, and those of the command.';

CREATE OR REPLACE FUNCTION pipeline.run_due(pipeline text DEFAULT NULL) RETURNS SETOF bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_run_due';
COMMENT ON FUNCTION pipeline.run_due(text) IS
'Create every scheduled run that is due now and was not created yet, of one pipeline or of all that the caller may operate; returns their run_ids. What the pg_cron job of enable_schedules() calls each minute; calling it more often changes nothing.';

CREATE OR REPLACE FUNCTION pipeline.cron_next(expr text, after timestamptz DEFAULT now(), timezone text DEFAULT 'UTC', n int DEFAULT 1) RETURNS SETOF timestamptz
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_cron_next';
COMMENT ON FUNCTION pipeline.cron_next(text, timestamptz, text, int) IS
'The next n due times of cron text after a time, in a time zone. A time that a change of clocks skips is due at the change; one that it repeats is due the first time only. Errors: 22023 with the field that is wrong.';

CREATE OR REPLACE FUNCTION pipeline.resume_schedules() RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_resume_schedules';
COMMENT ON FUNCTION pipeline.resume_schedules() IS
'Let a copy of a database (a restored dump, a template''s copy) run its pipelines: ends the runs that the original had open as cancelled, returning how many, and makes this database the one that acts. Nothing in the database that acts already. For superusers and the admin role.';

CREATE OR REPLACE FUNCTION pipeline.schedule_job() RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_schedule_job';
COMMENT ON FUNCTION pipeline.schedule_job() IS
'Name of the pg_cron job of this database. Errors: 42501 for those who may not change it, 55000 when pg_cron is not there, with what to do.';

CREATE OR REPLACE FUNCTION pipeline.enable_schedules() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  job_id bigint;
BEGIN
  EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job_id
    USING pipeline.schedule_job(), '* * * * *', 'SELECT pipeline.run_due()';
  RETURN job_id;
END
$$;
COMMENT ON FUNCTION pipeline.enable_schedules() IS
'Make the one pg_cron job of this database, which calls run_due() each minute as the current user; returns its id. Again: changes nothing. For superusers and the admin role. Errors: 55000 when pg_cron is not there, with what to do.';

CREATE OR REPLACE FUNCTION pipeline.drop_schedules() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  job text := pipeline.schedule_job();
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

CREATE OR REPLACE VIEW pipeline.run_status WITH (security_invoker = true) AS
SELECT r.run_id, r.pipeline, r.run_type, r.state, r.degraded,
       r.interval_start, r.interval_end, r.queued_at, r.started_at, r.finished_at,
       coalesce(r.finished_at, CASE WHEN r.state = 'running' THEN pg_catalog.clock_timestamp() END) - r.started_at AS duration,
       t.tasks, t.succeeded, t.failed, t.held_back, t.running,
       r.params, r.owner, r.triggered_by
FROM pipeline.runs r
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*) AS tasks,
         pg_catalog.count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
         pg_catalog.count(*) FILTER (WHERE state = 'failed') AS failed,
         pg_catalog.count(*) FILTER (WHERE state = 'upstream_failed') AS held_back,
         pg_catalog.count(*) FILTER (WHERE state = 'running') AS running
  FROM pipeline.task_runs WHERE run_id = r.run_id) t;
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
COMMENT ON COLUMN pipeline.run_status.params IS 'As runs.params.';
COMMENT ON COLUMN pipeline.run_status.owner IS 'As runs.owner.';
COMMENT ON COLUMN pipeline.run_status.triggered_by IS 'As runs.triggered_by.';

CREATE OR REPLACE VIEW pipeline.task_status WITH (security_invoker = true) AS
SELECT t.run_id, t.pipeline, t.task, t.state, t.depends_on, t.attempts,
       t.started_at, t.finished_at,
       coalesce(t.finished_at, CASE WHEN t.state = 'running' THEN pg_catalog.clock_timestamp() END) - t.started_at AS duration,
       t.next_attempt_at, t.error, a.result, a.rows
FROM pipeline.task_runs t
LEFT JOIN pipeline.attempts a ON a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempts;
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
COMMENT ON COLUMN pipeline.task_status.next_attempt_at IS 'As task_runs.next_attempt_at.';
COMMENT ON COLUMN pipeline.task_status.error IS 'As task_runs.error.';
COMMENT ON COLUMN pipeline.task_status.result IS 'As attempts.result, of the last attempt.';
COMMENT ON COLUMN pipeline.task_status.rows IS 'As attempts.rows, of the last attempt.';

CREATE OR REPLACE FUNCTION pipeline.task_state(task text) RETURNS text
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_task_state';
COMMENT ON FUNCTION pipeline.task_state(text) IS
'Inside a task: state of a task of the same run, as task_runs.state. Errors: 55000 outside a task, 22023 for a task that the run does not have.';

CREATE OR REPLACE FUNCTION pipeline.task_result(task text, map_key text DEFAULT NULL) RETURNS jsonb
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pipeline_task_result';
COMMENT ON FUNCTION pipeline.task_result(text, text) IS
'Inside a task: what a task of the same run returned, as attempts.result of its last attempt (Airflow: XCom); NULL when it has not ended, was skipped or returned no rows. map_key is not supported yet. Errors: 55000 outside a task, 22023 for a task that the run does not have.';

CREATE OR REPLACE FUNCTION pipeline.worker_status(
  OUT acts boolean, OUT workers int, OUT busy int, OUT idle int, OUT starting int) RETURNS record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'pipeline_worker_status';
COMMENT ON FUNCTION pipeline.worker_status() IS
'What the workers of the server do. acts: does this database run its pipelines (false in a copy until resume_schedules(), and when the library is not preloaded)? workers: how many there may be (pipeline.max_workers), in all databases; busy, idle, starting: how many are.';

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
         WHEN t.state = 'waiting' THEN
           (SELECT 'for ' || pg_catalog.string_agg(pg_catalog.format('%s (%s)', d.task, d.state), ', ' ORDER BY d.task)
            FROM pipeline.task_runs d WHERE d.run_id = t.run_id AND d.task = ANY (t.depends_on)
            AND d.state NOT IN ('succeeded', 'failed', 'upstream_failed', 'skipped', 'cancelled'))
           || CASE t.trigger_rule WHEN 'all_success' THEN '' ELSE '; its trigger rule is ' || t.trigger_rule END
         WHEN t.state = 'up_for_retry' THEN
           pg_catalog.format('attempt %s failed (%s); it is tried again at %s', t.attempts, t.error, t.next_attempt_at)
         WHEN w.busy >= w.workers THEN
           pg_catalog.format('for a worker: all %s are busy (pipeline.max_workers)', w.workers)
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
GRANT SELECT ON pipeline.pipelines, pipeline.pipeline_grants, pipeline.tasks, pipeline.runs, pipeline.task_runs,
  pipeline.attempts, pipeline.run_status, pipeline.task_status, pipeline.waiting, pipeline.failures,
  pipeline.schedules TO PUBLIC;
