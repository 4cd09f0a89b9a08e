-- Trigger rules and conditions.  The oracle is Airflow's table of rules,
-- written out per outcome of two predecessors.
SET SESSION AUTHORIZATION pipeline_alice;
-- Two predecessors, each of which succeeds, fails or is skipped; one task per
-- rule after them, and one that follows each of those.
SELECT pipeline.create_pipeline('trigger', params => '{"a": "", "b": ""}', max_active_runs => 9);
SELECT pipeline.create_task('trigger', p, format('SELECT 1 / (pipeline.param(%1$L) <> ''fails'')::int', p),
  condition => format('pipeline.param(%L) <> ''skipped''', p))
FROM unnest(ARRAY['a', 'b']) p;
SELECT pipeline.create_task('trigger', rule, 'SELECT 1', ARRAY['a', 'b'], trigger_rule => rule)
FROM unnest(ARRAY['all_success', 'all_failed', 'all_done', 'one_success', 'one_failed', 'one_done', 'none_failed',
                  'none_failed_min_one_success', 'none_skipped', 'all_skipped', 'always']) rule;
SELECT pipeline.create_task('trigger', 'after ' || rule, 'SELECT 1', ARRAY[rule])
FROM unnest(ARRAY['all_success', 'one_failed', 'none_skipped']) rule;
CREATE TABLE alice.trigger_runs AS
SELECT a, b, pipeline.run('trigger', jsonb_build_object('a', a, 'b', b)) AS run_id
FROM unnest(ARRAY['succeeds', 'fails', 'skipped']) a, unnest(ARRAY['succeeds', 'fails', 'skipped']) b WHERE a >= b;
SELECT a, b, pipeline.wait_for_run(run_id, '60 s') FROM alice.trigger_runs ORDER BY a, b;
SELECT t.task, string_agg(format('%s/%s %s', left(r.a, 1), left(r.b, 1), t.state), ', ' ORDER BY r.a, r.b) AS states
FROM pipeline.task_runs t JOIN alice.trigger_runs r USING (run_id) GROUP BY t.task ORDER BY t.task;
-- What the rules say, from the numbers alone.
SELECT rule, bool_and(state = expected) AS good, string_agg(DISTINCT format('%s %s/%s/%s: %s, not %s', rule, s, f, k, state, expected), '; ') FILTER (WHERE state <> expected) AS bad
FROM (
  SELECT rule, s, f, k, t.state, CASE
    WHEN rule = 'all_success' THEN CASE WHEN f > 0 THEN 'upstream_failed' WHEN k > 0 THEN 'skipped' ELSE 'succeeded' END
    WHEN rule = 'all_failed' THEN CASE WHEN f = 2 THEN 'succeeded' ELSE 'skipped' END
    WHEN rule IN ('all_done', 'always') THEN 'succeeded'
    WHEN rule = 'one_success' THEN CASE WHEN s > 0 THEN 'succeeded' WHEN f > 0 THEN 'upstream_failed' ELSE 'skipped' END
    WHEN rule = 'one_failed' THEN CASE WHEN f > 0 THEN 'succeeded' ELSE 'skipped' END
    WHEN rule = 'one_done' THEN CASE WHEN k < 2 THEN 'succeeded' ELSE 'skipped' END
    WHEN rule = 'none_failed' THEN CASE WHEN f > 0 THEN 'upstream_failed' ELSE 'succeeded' END
    WHEN rule = 'none_failed_min_one_success' THEN CASE WHEN f > 0 THEN 'upstream_failed' WHEN s > 0 THEN 'succeeded' ELSE 'skipped' END
    WHEN rule = 'none_skipped' THEN CASE WHEN k > 0 THEN 'skipped' ELSE 'succeeded' END
    WHEN rule = 'all_skipped' THEN CASE WHEN k = 2 THEN 'succeeded' ELSE 'skipped' END END AS expected
  FROM (SELECT run_id, (a = 'succeeds')::int + (b = 'succeeds')::int AS s, (a = 'fails')::int + (b = 'fails')::int AS f,
               (a = 'skipped')::int + (b = 'skipped')::int AS k FROM alice.trigger_runs) r
  JOIN pipeline.task_runs t USING (run_id), LATERAL (SELECT t.trigger_rule AS rule) x
  WHERE t.task = t.trigger_rule) c
GROUP BY rule ORDER BY rule;
-- Attempts of skipped tasks; counters; the run.
SELECT state, count(*) > 0 AS some FROM pipeline.attempts a JOIN alice.trigger_runs USING (run_id) WHERE a.state = 'skipped' GROUP BY 1;
SELECT bool_and(state NOT IN ('waiting', 'ready', 'running', 'up_for_retry')) AS all_ended FROM pipeline.task_runs JOIN alice.trigger_runs USING (run_id);
-- Retry: a task that ran on failure stays as it is; what failed runs again.
SELECT run_id AS run FROM alice.trigger_runs WHERE a = 'succeeds' AND b = 'fails' \gset
SELECT pipeline.create_task('trigger', 'b', 'SELECT 2', or_replace => true);
SELECT pipeline.retry(:run);
SELECT pipeline.wait_for_run(:run, '60 s');
SELECT task, state, attempts FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
-- Conditions: NULL is not true; an error is a failure; autocommit too.
SELECT pipeline.create_pipeline('trigger condition');
SELECT pipeline.create_task('trigger condition', 'true', 'SELECT 1 AS ran', condition => 'EXISTS (SELECT FROM alice.trigger_runs) -- yes');
SELECT pipeline.create_task('trigger condition', 'false', 'SELECT 1 AS ran', condition => 'pipeline.attempt() > 5');
SELECT pipeline.create_task('trigger condition', 'null', 'SELECT 1 AS ran', condition => 'NULL');
SELECT pipeline.create_task('trigger condition', 'error', 'SELECT 1 AS ran', condition => '1 / 0 = 1');
SELECT pipeline.create_task('trigger condition', 'not boolean', 'SELECT 1 AS ran', condition => '42');
SELECT pipeline.create_task('trigger condition', 'auto true', 'SELECT 1 AS ran', mode => 'autocommit', condition => 'true');
SELECT pipeline.create_task('trigger condition', 'auto false', 'SELECT 1 AS ran', mode => 'autocommit', condition => 'false');
SELECT pipeline.create_task('trigger condition', 'x', 'SELECT 1', condition => 'true) OR (true');
SELECT pipeline.create_task('trigger condition', 'x', 'SELECT 1', condition => '');
SELECT pipeline.create_task('trigger condition', 'x', 'SELECT 1', trigger_rule => 'some_success');
SELECT pipeline.run('trigger condition') AS run \gset
SELECT pipeline.wait_for_run(:run, '60 s');
SELECT task, a.state, result, error, statement FROM pipeline.attempts a WHERE run_id = :run ORDER BY task;
-- Every task skipped: the run succeeds.
SELECT pipeline.create_pipeline('trigger nothing');
SELECT pipeline.create_task('trigger nothing', 'a', 'SELECT 1', condition => 'false');
SELECT pipeline.create_task('trigger nothing', 'b', 'SELECT 1', '{a}');
SELECT pipeline.create_task('trigger nothing', 'c', 'SELECT 1', '{b}');
SELECT pipeline.run('trigger nothing') AS run \gset
SELECT pipeline.wait_for_run(:run, '60 s');
SELECT task, state FROM pipeline.task_runs WHERE run_id = :run ORDER BY task;
SELECT pipeline.drop_pipeline(pipeline) FROM pipeline.pipelines WHERE pipeline LIKE 'trigger%';
DROP TABLE alice.trigger_runs;
