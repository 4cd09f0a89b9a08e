-- What a task learns of the tasks before it.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_pipeline('results');
SELECT pipeline.create_task('results', 'one', $$SELECT 7 AS n, 'ñ' AS s$$);
SELECT pipeline.create_task('results', 'many', 'SELECT n FROM generate_series(1, 3) n');
SELECT pipeline.create_task('results', 'nothing', 'DO $$BEGIN END$$');
SELECT pipeline.create_task('results', 'fails', 'SELECT 1 AS n, false AS success');
SELECT pipeline.create_task('results', 'skipped', 'SELECT 1', condition => 'false');
SELECT pipeline.create_task('results', 'sum', $$
  SELECT (pipeline.task_result('one') ->> 'n')::int
       + (SELECT sum((r ->> 'n')::int) FROM jsonb_array_elements(pipeline.task_result('many')) r) AS sum,
    pipeline.task_result('nothing') IS NULL AS nothing, pipeline.task_result('skipped') IS NULL AS skipped,
    pipeline.task_result('fails') AS fails, pipeline.task_result('sum') IS NULL AS itself,
    (SELECT jsonb_object_agg(t, pipeline.task_state(t)) FROM unnest(ARRAY['one', 'fails', 'skipped', 'sum', 'later']) t) AS states$$,
  '{one,many,nothing,fails,skipped}', trigger_rule => 'all_done');
SELECT pipeline.create_task('results', 'later', $$SELECT pipeline.task_result('sum') -> 'sum' AS sum$$, '{sum}');
SELECT pipeline.create_task('results', 'unknown', $$SELECT pipeline.task_result('nobody')$$);
SELECT pipeline.create_task('results', 'map', $$SELECT pipeline.task_result('one', 'k')$$);
SELECT pipeline.run('results') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
SELECT task, state, result FROM pipeline.task_status WHERE run_id = :run AND task IN ('sum', 'later') ORDER BY task;
SELECT task, sqlstate, error, error_hint FROM pipeline.attempts WHERE run_id = :run AND task IN ('unknown', 'map') ORDER BY task;
SELECT pipeline.task_result('one');
SELECT pipeline.task_state('one');
SELECT pipeline.drop_pipeline('results');
