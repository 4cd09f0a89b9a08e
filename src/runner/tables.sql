/* runner: pipelines, tasks, runs, attempts. */

CREATE TABLE pipeline.pipelines (
  pipeline text PRIMARY KEY,
  owner regrole NOT NULL,
  schedule text,
  timezone text NOT NULL,
  interval_align text,
  max_active_runs int NOT NULL CHECK (max_active_runs > 0),
  catchup text NOT NULL CHECK (catchup IN ('none', 'last', 'all')),
  deadline interval,
  deadline_warning interval,
  on_datasets text[] NOT NULL,
  params jsonb NOT NULL,
  labels jsonb NOT NULL,
  description text,
  paused boolean NOT NULL,
  paused_reason text,
  scheduled_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE pipeline.pipelines IS
'One row per pipeline: a named set of tasks with dependencies, run as its owner. Made by create_pipeline(). Airflow calls it a DAG.';
COMMENT ON COLUMN pipeline.pipelines.pipeline IS 'Name of the pipeline.';
COMMENT ON COLUMN pipeline.pipelines.owner IS 'The role that its tasks run as, from a session that is that role.';
COMMENT ON COLUMN pipeline.pipelines.schedule IS 'Cron text, in the pipeline''s time zone; NULL: run by hand only.';
COMMENT ON COLUMN pipeline.pipelines.timezone IS 'Time zone of the schedule, and TimeZone of the tasks'' sessions.';
COMMENT ON COLUMN pipeline.pipelines.interval_align IS 'Unit that a scheduled run''s interval is widened to: hour, day, week, month, quarter or year; NULL: from one due time to the next.';
COMMENT ON COLUMN pipeline.pipelines.max_active_runs IS 'How many runs may be running at once; more wait as queued.';
COMMENT ON COLUMN pipeline.pipelines.catchup IS 'Which missed due times run later: none, last (only the latest) or all.';
COMMENT ON COLUMN pipeline.pipelines.deadline IS 'How long after the end of its interval (of a manual or dataset run: after it was queued) a run must have ended, or an alert says so; NULL: no deadline.';
COMMENT ON COLUMN pipeline.pipelines.deadline_warning IS 'How long before the deadline an alert warns of it; NULL: not.';
COMMENT ON COLUMN pipeline.pipelines.on_datasets IS 'Datasets that start a run once all of them have been published since the last such run.';
COMMENT ON COLUMN pipeline.pipelines.params IS 'Declared parameters with their defaults.';
COMMENT ON COLUMN pipeline.pipelines.labels IS 'Labels of the pipeline; its alerts carry them.';
COMMENT ON COLUMN pipeline.pipelines.description IS 'What it is for.';
COMMENT ON COLUMN pipeline.pipelines.paused IS 'Paused pipelines start no runs and no tasks; running tasks finish.';
COMMENT ON COLUMN pipeline.pipelines.paused_reason IS 'Why it is paused: what the user said, or what the scheduler found.';
COMMENT ON COLUMN pipeline.pipelines.scheduled_since IS 'Due times at or before this do not count as missed: creation, change of schedule, or resume with catchup none.';
COMMENT ON COLUMN pipeline.pipelines.created_at IS 'When it was created.';

CREATE TABLE pipeline.pipeline_grants (
  pipeline text NOT NULL REFERENCES pipeline.pipelines ON DELETE CASCADE ON UPDATE CASCADE,
  owner regrole NOT NULL,
  role regrole NOT NULL,
  privilege text NOT NULL CHECK (privilege IN ('view', 'operate')),
  granted_by regrole NOT NULL,
  granted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (pipeline, role)
);
COMMENT ON TABLE pipeline.pipeline_grants IS
'Who else may see or operate a pipeline: one row per pipeline and role. Made by grant_pipeline().';
COMMENT ON COLUMN pipeline.pipeline_grants.pipeline IS 'The pipeline.';
COMMENT ON COLUMN pipeline.pipeline_grants.owner IS 'Owner of the pipeline.';
COMMENT ON COLUMN pipeline.pipeline_grants.role IS 'The role, with all its members.';
COMMENT ON COLUMN pipeline.pipeline_grants.privilege IS 'view: see the pipeline, its tasks and its runs. operate: also run, wait for, cancel, retry, clear, mark, pause, resume and backfill it.';
COMMENT ON COLUMN pipeline.pipeline_grants.granted_by IS 'Who granted it.';
COMMENT ON COLUMN pipeline.pipeline_grants.granted_at IS 'When.';

CREATE TABLE pipeline.tasks (
  pipeline text NOT NULL REFERENCES pipeline.pipelines ON DELETE CASCADE ON UPDATE CASCADE,
  task text NOT NULL,
  owner regrole NOT NULL,
  command text NOT NULL,
  depends_on text[] NOT NULL,
  mode text NOT NULL CHECK (mode IN ('atomic', 'autocommit')),
  trigger_rule text NOT NULL,
  condition text,
  wait_for text,
  poke_interval interval NOT NULL,
  wait_timeout interval,
  on_wait_timeout text NOT NULL CHECK (on_wait_timeout IN ('fail', 'skip')),
  retries int NOT NULL CHECK (retries >= 0),
  retry_delay interval NOT NULL,
  retry_backoff float8 NOT NULL,
  retry_on text NOT NULL CHECK (retry_on IN ('error', 'any')),
  timeout interval,
  allow_failure boolean NOT NULL,
  pool text NOT NULL,
  pool_slots int NOT NULL CHECK (pool_slots > 0),
  priority int NOT NULL,
  deadline interval,
  on_deadline text NOT NULL CHECK (on_deadline IN ('alert', 'fail')),
  foreach text,
  map_key text,
  max_active_mapped int CHECK (max_active_mapped > 0),
  min_success float8 NOT NULL CHECK (min_success BETWEEN 0 AND 1),
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (pipeline, task)
);
COMMENT ON TABLE pipeline.tasks IS
'One row per task of a pipeline: SQL to run when the tasks it depends on have succeeded. Made by create_task().';
COMMENT ON COLUMN pipeline.tasks.pipeline IS 'The pipeline.';
COMMENT ON COLUMN pipeline.tasks.task IS 'Name of the task, unique in its pipeline.';
COMMENT ON COLUMN pipeline.tasks.owner IS 'Owner of the pipeline.';
COMMENT ON COLUMN pipeline.tasks.command IS 'SQL: one or more statements.';
COMMENT ON COLUMN pipeline.tasks.depends_on IS 'Tasks that must end before, as trigger_rule says.';
COMMENT ON COLUMN pipeline.tasks.trigger_rule IS 'What must have become of the tasks that it depends on: a rule of Airflow''s, by its name.';
COMMENT ON COLUMN pipeline.tasks.condition IS 'SQL boolean expression, evaluated when the task is about to run; unless it is true the task is skipped.';
COMMENT ON COLUMN pipeline.tasks.wait_for IS 'SQL boolean expression that must become true before the task runs (Airflow: a sensor).';
COMMENT ON COLUMN pipeline.tasks.poke_interval IS 'How long after an answer that was not true it is asked again.';
COMMENT ON COLUMN pipeline.tasks.wait_timeout IS 'How long it may take to become true; NULL: for ever.';
COMMENT ON COLUMN pipeline.tasks.on_wait_timeout IS 'What becomes of the task when it takes longer: fail or skip.';
COMMENT ON COLUMN pipeline.tasks.mode IS 'atomic: all statements, the result and the successors'' release in one transaction. autocommit: each statement in its own.';
COMMENT ON COLUMN pipeline.tasks.retries IS 'How many times a failed attempt is tried again.';
COMMENT ON COLUMN pipeline.tasks.retry_delay IS 'Wait before the first retry.';
COMMENT ON COLUMN pipeline.tasks.retry_backoff IS 'Factor by which the wait grows with each retry; a wait is never above one day.';
COMMENT ON COLUMN pipeline.tasks.retry_on IS 'error: SQL errors, timeouts. any: also a false "success".';
COMMENT ON COLUMN pipeline.tasks.timeout IS 'How long an attempt may run; NULL: for ever.';
COMMENT ON COLUMN pipeline.tasks.allow_failure IS 'If it fails, the run may still succeed, as degraded.';
COMMENT ON COLUMN pipeline.tasks.pool IS 'The pool whose slots it takes while it runs; default: none but the workers themselves (Airflow: pool).';
COMMENT ON COLUMN pipeline.tasks.pool_slots IS 'How many slots of the pool it takes.';
COMMENT ON COLUMN pipeline.tasks.priority IS 'Among ready tasks of one owner the highest runs first; one point is worth pipeline.priority_ageing of waiting.';
COMMENT ON COLUMN pipeline.tasks.deadline IS 'How long after the end of the run''s interval (of a manual or dataset run: after it was queued) it must have ended; NULL: no deadline.';
COMMENT ON COLUMN pipeline.tasks.on_deadline IS 'What a missed deadline does: alert, or fail: an alert, and the task fails.';
COMMENT ON COLUMN pipeline.tasks.foreach IS 'Query: the task runs once for each of its rows (Airflow: dynamic task mapping); NULL: it runs once.';
COMMENT ON COLUMN pipeline.tasks.map_key IS 'Column of foreach that tells its rows apart.';
COMMENT ON COLUMN pipeline.tasks.max_active_mapped IS 'How many of its mapped runs may be ready or running at once; NULL: all.';
COMMENT ON COLUMN pipeline.tasks.min_success IS 'Share of its mapped runs, from 0 to 1, that must succeed for it to succeed.';
COMMENT ON COLUMN pipeline.tasks.labels IS 'Labels of the task, over those of the pipeline.';
COMMENT ON COLUMN pipeline.tasks.description IS 'What it is for.';
COMMENT ON COLUMN pipeline.tasks.created_at IS 'When it was created.';

CREATE TABLE pipeline.runs (
  run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline text NOT NULL REFERENCES pipeline.pipelines ON DELETE CASCADE ON UPDATE CASCADE,
  owner regrole NOT NULL,
  run_type text NOT NULL CHECK (run_type IN ('manual', 'scheduled', 'dataset', 'backfill')),
  state text NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  params jsonb NOT NULL,
  interval_start timestamptz NOT NULL,
  interval_end timestamptz NOT NULL,
  queued_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  degraded boolean NOT NULL DEFAULT false,
  cancel_requested_at timestamptz,
  deadline_at timestamptz,
  deadline_due timestamptz,
  deadline_missed boolean NOT NULL DEFAULT false,
  datasets jsonb,
  triggered_by regrole NOT NULL,
  backfill bigint,
  max_active_runs int
) WITH (fillfactor = 80);
COMMENT ON TABLE pipeline.runs IS 'One row per run of a pipeline.';
COMMENT ON COLUMN pipeline.runs.run_id IS 'Number of the run.';
COMMENT ON COLUMN pipeline.runs.pipeline IS 'The pipeline.';
COMMENT ON COLUMN pipeline.runs.owner IS 'Owner of the pipeline when the run was created; its tasks run as that role.';
COMMENT ON COLUMN pipeline.runs.run_type IS 'manual, scheduled, dataset (datasets were published) or backfill.';
COMMENT ON COLUMN pipeline.runs.state IS 'queued, running, succeeded, failed or cancelled.';
COMMENT ON COLUMN pipeline.runs.params IS 'Declared parameters with this run''s values.';
COMMENT ON COLUMN pipeline.runs.interval_start IS 'Start of the logical interval, inclusive (Airflow: data_interval_start).';
COMMENT ON COLUMN pipeline.runs.interval_end IS 'End of the logical interval, exclusive (Airflow: data_interval_end).';
COMMENT ON COLUMN pipeline.runs.queued_at IS 'When the run was created.';
COMMENT ON COLUMN pipeline.runs.started_at IS 'When it left the queue.';
COMMENT ON COLUMN pipeline.runs.finished_at IS 'When its last task ended.';
COMMENT ON COLUMN pipeline.runs.degraded IS 'It succeeded although a task with allow_failure failed.';
COMMENT ON COLUMN pipeline.runs.cancel_requested_at IS 'When cancel() was called; running tasks are being stopped.';
COMMENT ON COLUMN pipeline.runs.deadline_at IS 'When it must have ended; NULL: no deadline.';
COMMENT ON COLUMN pipeline.runs.deadline_due IS 'When its deadline is looked at next, for the warning or for the deadline; NULL: never again.';
COMMENT ON COLUMN pipeline.runs.deadline_missed IS 'It had not ended by its deadline.';
COMMENT ON COLUMN pipeline.runs.datasets IS 'Of a dataset run: the datasets that were published, each with its version.';
COMMENT ON COLUMN pipeline.runs.triggered_by IS 'Role of the session that created the run.';
COMMENT ON COLUMN pipeline.runs.backfill IS 'Number of the first run of the backfill() that created the run, or ran it again; NULL: none did.';
COMMENT ON COLUMN pipeline.runs.max_active_runs IS 'How many runs of that backfill may be running at once, apart from the others of the pipeline; NULL: it counts among those.';
CREATE UNIQUE INDEX runs_scheduled ON pipeline.runs (pipeline, interval_end, interval_start)
  WHERE run_type = 'scheduled';
CREATE INDEX runs_open ON pipeline.runs (pipeline, run_id) WHERE state IN ('queued', 'running');
CREATE INDEX runs_pipeline ON pipeline.runs (pipeline, run_id);
CREATE INDEX runs_deadline ON pipeline.runs (deadline_due) WHERE deadline_due IS NOT NULL;

CREATE TABLE pipeline.task_runs (
  run_id bigint NOT NULL REFERENCES pipeline.runs ON DELETE CASCADE,
  task text NOT NULL,
  pipeline text NOT NULL,
  owner regrole NOT NULL,
  state text NOT NULL DEFAULT 'waiting'
    CHECK (state IN ('waiting', 'ready', 'running', 'up_for_retry', 'succeeded',
                     'failed', 'upstream_failed', 'skipped', 'cancelled')),
  pending int NOT NULL,
  up_succeeded int NOT NULL DEFAULT 0,
  up_failed int NOT NULL DEFAULT 0,
  up_skipped int NOT NULL DEFAULT 0,
  attempts int NOT NULL DEFAULT 0,
  failures int NOT NULL DEFAULT 0,
  lost int NOT NULL DEFAULT 0,
  next_attempt_at timestamptz,
  ready_at timestamptz,
  rank timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  error text,
  level int NOT NULL,
  successors text[] NOT NULL,
  command text NOT NULL,
  depends_on text[] NOT NULL,
  mode text NOT NULL,
  trigger_rule text NOT NULL,
  condition text,
  wait_for text,
  poke_interval interval NOT NULL,
  wait_timeout interval,
  on_wait_timeout text NOT NULL,
  waiting_since timestamptz,
  retries int NOT NULL,
  retry_delay interval NOT NULL,
  retry_backoff float8 NOT NULL,
  retry_on text NOT NULL,
  timeout interval,
  allow_failure boolean NOT NULL,
  pool text NOT NULL,
  pool_slots int NOT NULL,
  priority int NOT NULL,
  deadline_at timestamptz,
  deadline_due timestamptz,
  deadline_missed boolean NOT NULL DEFAULT false,
  on_deadline text NOT NULL,
  foreach text,
  map_column text,
  max_active_mapped int,
  min_success float8 NOT NULL,
  expanded boolean NOT NULL DEFAULT false,
  mapped_task text,
  map_key text,
  item jsonb,
  labels jsonb NOT NULL,
  PRIMARY KEY (run_id, task)
) WITH (fillfactor = 70);
COMMENT ON TABLE pipeline.task_runs IS
'One row per task of a run, with the definition that the run took when it was created (Airflow: task instance).';
COMMENT ON COLUMN pipeline.task_runs.run_id IS 'The run.';
COMMENT ON COLUMN pipeline.task_runs.task IS 'The task; of a mapped run, task[key].';
COMMENT ON COLUMN pipeline.task_runs.pipeline IS 'The pipeline.';
COMMENT ON COLUMN pipeline.task_runs.owner IS 'The role that the task runs as.';
COMMENT ON COLUMN pipeline.task_runs.state IS 'waiting, ready, running, up_for_retry, succeeded, failed, upstream_failed, skipped or cancelled.';
COMMENT ON COLUMN pipeline.task_runs.pending IS 'Predecessors that have not ended yet; once it is expanded, mapped runs that have not.';
COMMENT ON COLUMN pipeline.task_runs.up_succeeded IS 'Predecessors that succeeded.';
COMMENT ON COLUMN pipeline.task_runs.up_failed IS 'Predecessors that ended failed, upstream_failed or cancelled.';
COMMENT ON COLUMN pipeline.task_runs.up_skipped IS 'Predecessors that were skipped.';
COMMENT ON COLUMN pipeline.task_runs.attempts IS 'Attempts so far.';
COMMENT ON COLUMN pipeline.task_runs.failures IS 'Attempts that used up a retry.';
COMMENT ON COLUMN pipeline.task_runs.lost IS 'Attempts whose worker died without a word.';
COMMENT ON COLUMN pipeline.task_runs.next_attempt_at IS 'When a task that is up_for_retry, or waits for its wait_for, becomes ready.';
COMMENT ON COLUMN pipeline.task_runs.ready_at IS 'When it last became ready.';
COMMENT ON COLUMN pipeline.task_runs.rank IS 'Order among ready tasks, the least first: ready_at less pipeline.priority_ageing for each point of priority.';
COMMENT ON COLUMN pipeline.task_runs.started_at IS 'Start of the last attempt.';
COMMENT ON COLUMN pipeline.task_runs.finished_at IS 'End of the last attempt.';
COMMENT ON COLUMN pipeline.task_runs.error IS 'Message of the last failed attempt, until one succeeds.';
COMMENT ON COLUMN pipeline.task_runs.level IS 'Length of the longest path of dependencies that leads to it.';
COMMENT ON COLUMN pipeline.task_runs.successors IS 'Tasks of the run that depend on it.';
COMMENT ON COLUMN pipeline.task_runs.command IS 'As tasks.command.';
COMMENT ON COLUMN pipeline.task_runs.depends_on IS 'As tasks.depends_on.';
COMMENT ON COLUMN pipeline.task_runs.mode IS 'As tasks.mode.';
COMMENT ON COLUMN pipeline.task_runs.trigger_rule IS 'As tasks.trigger_rule.';
COMMENT ON COLUMN pipeline.task_runs.condition IS 'As tasks.condition.';
COMMENT ON COLUMN pipeline.task_runs.wait_for IS 'As tasks.wait_for.';
COMMENT ON COLUMN pipeline.task_runs.poke_interval IS 'As tasks.poke_interval.';
COMMENT ON COLUMN pipeline.task_runs.wait_timeout IS 'As tasks.wait_timeout.';
COMMENT ON COLUMN pipeline.task_runs.on_wait_timeout IS 'As tasks.on_wait_timeout.';
COMMENT ON COLUMN pipeline.task_runs.waiting_since IS 'When wait_for was first asked.';
COMMENT ON COLUMN pipeline.task_runs.retries IS 'As tasks.retries.';
COMMENT ON COLUMN pipeline.task_runs.retry_delay IS 'As tasks.retry_delay.';
COMMENT ON COLUMN pipeline.task_runs.retry_backoff IS 'As tasks.retry_backoff.';
COMMENT ON COLUMN pipeline.task_runs.retry_on IS 'As tasks.retry_on.';
COMMENT ON COLUMN pipeline.task_runs.timeout IS 'As tasks.timeout.';
COMMENT ON COLUMN pipeline.task_runs.allow_failure IS 'As tasks.allow_failure.';
COMMENT ON COLUMN pipeline.task_runs.pool IS 'As tasks.pool.';
COMMENT ON COLUMN pipeline.task_runs.pool_slots IS 'As tasks.pool_slots.';
COMMENT ON COLUMN pipeline.task_runs.priority IS 'As tasks.priority.';
COMMENT ON COLUMN pipeline.task_runs.deadline_at IS 'When it must have ended; NULL: no deadline.';
COMMENT ON COLUMN pipeline.task_runs.deadline_due IS 'When its deadline is looked at; NULL: it was, or it has ended.';
COMMENT ON COLUMN pipeline.task_runs.deadline_missed IS 'It had not ended by its deadline.';
COMMENT ON COLUMN pipeline.task_runs.on_deadline IS 'As tasks.on_deadline.';
COMMENT ON COLUMN pipeline.task_runs.foreach IS 'As tasks.foreach.';
COMMENT ON COLUMN pipeline.task_runs.map_column IS 'As tasks.map_key.';
COMMENT ON COLUMN pipeline.task_runs.max_active_mapped IS 'As tasks.max_active_mapped.';
COMMENT ON COLUMN pipeline.task_runs.min_success IS 'As tasks.min_success.';
COMMENT ON COLUMN pipeline.task_runs.expanded IS 'foreach has run, and its mapped runs are rows of their own.';
COMMENT ON COLUMN pipeline.task_runs.mapped_task IS 'Of a mapped run: the task that it is a run of.';
COMMENT ON COLUMN pipeline.task_runs.map_key IS 'Of a mapped run: its key.';
COMMENT ON COLUMN pipeline.task_runs.item IS 'Of a mapped run: its row of foreach.';
COMMENT ON COLUMN pipeline.task_runs.labels IS 'Labels of pipeline and task together.';
CREATE INDEX task_runs_ready ON pipeline.task_runs (owner, pool, rank, run_id) WHERE state = 'ready';
CREATE INDEX task_runs_running ON pipeline.task_runs (pool) WHERE state = 'running';
CREATE INDEX task_runs_deadline ON pipeline.task_runs (deadline_due) WHERE deadline_due IS NOT NULL;
CREATE INDEX task_runs_mapped ON pipeline.task_runs (run_id, mapped_task, state) WHERE mapped_task IS NOT NULL;
CREATE INDEX task_runs_next ON pipeline.task_runs (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE pipeline.attempts (
  attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id bigint NOT NULL,
  task text NOT NULL,
  attempt int NOT NULL,
  owner regrole NOT NULL,
  state text NOT NULL DEFAULT 'running'
    CHECK (state IN ('running', 'succeeded', 'failed', 'skipped', 'lost', 'cancelled')),
  pid int NOT NULL,
  started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finished_at timestamptz,
  timeout interval,
  command text NOT NULL,
  params jsonb NOT NULL,
  result jsonb,
  rows bigint,
  wal_bytes numeric,
  notices text[],
  sqlstate text,
  error text,
  error_detail text,
  error_hint text,
  error_context text,
  statement text,
  slow_since timestamptz,
  UNIQUE (run_id, task, attempt),
  FOREIGN KEY (run_id, task) REFERENCES pipeline.task_runs ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX attempts_slow ON pipeline.attempts (attempt_id) WHERE slow_since IS NOT NULL;
COMMENT ON TABLE pipeline.attempts IS 'One row per attempt at a task of a run: what ran, what came of it, what went wrong.';
COMMENT ON COLUMN pipeline.attempts.attempt_id IS 'Number of the attempt in the database.';
COMMENT ON COLUMN pipeline.attempts.run_id IS 'The run.';
COMMENT ON COLUMN pipeline.attempts.task IS 'The task.';
COMMENT ON COLUMN pipeline.attempts.attempt IS 'Number of the attempt at this task in this run, from 1.';
COMMENT ON COLUMN pipeline.attempts.owner IS 'The role that it ran as.';
COMMENT ON COLUMN pipeline.attempts.state IS 'running, succeeded, failed, skipped (its condition was not true), lost (its worker died without a word) or cancelled.';
COMMENT ON COLUMN pipeline.attempts.slow_since IS 'When it was seen to run longer than usual and the alert TaskSlow was raised; NULL: it was not, or it is resolved.';
COMMENT ON COLUMN pipeline.attempts.pid IS 'Process ID of its worker.';
COMMENT ON COLUMN pipeline.attempts.started_at IS 'When the worker took it.';
COMMENT ON COLUMN pipeline.attempts.finished_at IS 'When it ended.';
COMMENT ON COLUMN pipeline.attempts.timeout IS 'How long it may run.';
COMMENT ON COLUMN pipeline.attempts.command IS 'The SQL that it ran.';
COMMENT ON COLUMN pipeline.attempts.params IS 'The run''s parameters.';
COMMENT ON COLUMN pipeline.attempts.result IS 'What its last row-returning statement returned: an object for one row, an array for several; at most 100 rows and 64 kB, NULL when the first row alone has more.';
COMMENT ON COLUMN pipeline.attempts.rows IS 'Rows that its statements returned or changed.';
COMMENT ON COLUMN pipeline.attempts.wal_bytes IS 'WAL that it wrote, in bytes.';
COMMENT ON COLUMN pipeline.attempts.notices IS 'The first 100 messages of level notice and above that it raised.';
COMMENT ON COLUMN pipeline.attempts.sqlstate IS 'SQLSTATE of the error.';
COMMENT ON COLUMN pipeline.attempts.error IS 'Message of the error.';
COMMENT ON COLUMN pipeline.attempts.error_detail IS 'DETAIL of the error.';
COMMENT ON COLUMN pipeline.attempts.error_hint IS 'HINT of the error.';
COMMENT ON COLUMN pipeline.attempts.error_context IS 'CONTEXT of the error.';
COMMENT ON COLUMN pipeline.attempts.statement IS 'The statement of the command that failed.';
/* None on the state: an attempt ends in place (HOT). What runs is found by task_runs_running. */

CREATE TABLE pipeline.pools (
  pool text PRIMARY KEY,
  pool_id int GENERATED ALWAYS AS IDENTITY,
  owner regrole NOT NULL,
  slots int NOT NULL CHECK (slots >= 0),
  users regrole[] NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE pipeline.pools IS 'One row per pool: slots that tasks of any pipeline share, so that no more than so many run at once (Airflow: pool). Made by create_pool(). The pool "default" is no row: it has as many slots as there are workers.';
COMMENT ON COLUMN pipeline.pools.pool IS 'Name of the pool.';
COMMENT ON COLUMN pipeline.pools.pool_id IS 'Number of the pool, for its lock.';
COMMENT ON COLUMN pipeline.pools.owner IS 'The role that made it and may change it.';
COMMENT ON COLUMN pipeline.pools.slots IS 'How many slots it has; 0 stops its tasks.';
COMMENT ON COLUMN pipeline.pools.users IS 'Roles whose members may put tasks into it, beside the owner; "-" is everybody.';
COMMENT ON COLUMN pipeline.pools.description IS 'What it protects.';
COMMENT ON COLUMN pipeline.pools.created_at IS 'When it was created.';

CREATE TABLE pipeline.datasets (
  dataset text PRIMARY KEY,
  owner regrole NOT NULL,
  publishers regrole[] NOT NULL,
  subscribers regrole[] NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  stale_after interval,
  last_event bigint,
  stale_at timestamptz
);
CREATE INDEX datasets_stale ON pipeline.datasets (stale_at) WHERE stale_at IS NOT NULL;
COMMENT ON TABLE pipeline.datasets IS 'One row per dataset: a name for data that one pipeline publishes and that others start on (Airflow: dataset, asset). Made by create_dataset().';
COMMENT ON COLUMN pipeline.datasets.dataset IS 'Name of the dataset.';
COMMENT ON COLUMN pipeline.datasets.owner IS 'The role that made it and may change it.';
COMMENT ON COLUMN pipeline.datasets.publishers IS 'Roles whose members may publish it, beside the owner; "-" is everybody.';
COMMENT ON COLUMN pipeline.datasets.subscribers IS 'Roles whose pipelines may start on it, beside the owner''s; "-" is everybody.';
COMMENT ON COLUMN pipeline.datasets.description IS 'What it is.';
COMMENT ON COLUMN pipeline.datasets.created_at IS 'When it was created.';
COMMENT ON COLUMN pipeline.datasets.stale_after IS 'How long it may be not published; NULL: as its history says.';
COMMENT ON COLUMN pipeline.datasets.last_event IS 'Its latest event when stale_at was computed; 0: none; NULL: to be computed.';
COMMENT ON COLUMN pipeline.datasets.stale_at IS 'When it will be stale, if it is not published before; infinity: it is; NULL: its history does not say.';

CREATE TABLE pipeline.dataset_events (
  event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dataset text NOT NULL REFERENCES pipeline.datasets ON DELETE CASCADE,
  owner regrole NOT NULL,
  version text,
  published_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  role regrole NOT NULL,
  run_id bigint,
  task text,
  dispatched boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE pipeline.dataset_events IS 'One row per call of publish() (Airflow: asset event).';
COMMENT ON COLUMN pipeline.dataset_events.event_id IS 'Number of the event.';
COMMENT ON COLUMN pipeline.dataset_events.dataset IS 'The dataset.';
COMMENT ON COLUMN pipeline.dataset_events.owner IS 'Owner of the dataset.';
COMMENT ON COLUMN pipeline.dataset_events.version IS 'What the publisher called this state of it.';
COMMENT ON COLUMN pipeline.dataset_events.published_at IS 'When publish() was called.';
COMMENT ON COLUMN pipeline.dataset_events.role IS 'The role that published it.';
COMMENT ON COLUMN pipeline.dataset_events.run_id IS 'The run whose task published it; NULL outside a task.';
COMMENT ON COLUMN pipeline.dataset_events.task IS 'The task that published it; NULL outside a task.';
COMMENT ON COLUMN pipeline.dataset_events.dispatched IS 'The pipelines that start on it have been told.';
CREATE INDEX dataset_events_new ON pipeline.dataset_events (event_id) WHERE NOT dispatched;
CREATE INDEX dataset_events_dataset ON pipeline.dataset_events (dataset, event_id);

CREATE TABLE pipeline.dataset_updates (
  pipeline text NOT NULL REFERENCES pipeline.pipelines ON DELETE CASCADE ON UPDATE CASCADE,
  dataset text NOT NULL REFERENCES pipeline.datasets ON DELETE CASCADE,
  event_id bigint NOT NULL,
  version text,
  owner regrole NOT NULL,
  PRIMARY KEY (pipeline, dataset)
);
COMMENT ON TABLE pipeline.dataset_updates IS 'Per pipeline the datasets that have been published since its last dataset run; when none is missing a run starts and they are forgotten.';
COMMENT ON COLUMN pipeline.dataset_updates.pipeline IS 'The pipeline that starts on it.';
COMMENT ON COLUMN pipeline.dataset_updates.dataset IS 'The dataset.';
COMMENT ON COLUMN pipeline.dataset_updates.event_id IS 'Its latest event.';
COMMENT ON COLUMN pipeline.dataset_updates.version IS 'The version of that.';
COMMENT ON COLUMN pipeline.dataset_updates.owner IS 'Owner of the pipeline.';

ALTER TABLE pipeline.pools ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.datasets ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.dataset_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.dataset_updates ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.pipelines ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.pipeline_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.task_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.attempts ENABLE ROW LEVEL SECURITY;

SELECT pg_extension_config_dump('pipeline.pipelines', '');
SELECT pg_extension_config_dump('pipeline.pipeline_grants', '');
SELECT pg_extension_config_dump('pipeline.tasks', '');
SELECT pg_extension_config_dump('pipeline.pools', '');
SELECT pg_extension_config_dump('pipeline.pools_pool_id_seq', '');
SELECT pg_extension_config_dump('pipeline.datasets', '');
SELECT pg_extension_config_dump('pipeline.dataset_events', '');
SELECT pg_extension_config_dump('pipeline.dataset_events_event_id_seq', '');
SELECT pg_extension_config_dump('pipeline.dataset_updates', '');
SELECT pg_extension_config_dump('pipeline.runs', '');
SELECT pg_extension_config_dump('pipeline.runs_run_id_seq', '');
SELECT pg_extension_config_dump('pipeline.task_runs', '');
SELECT pg_extension_config_dump('pipeline.attempts', '');
SELECT pg_extension_config_dump('pipeline.attempts_attempt_id_seq', '');
