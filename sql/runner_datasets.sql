-- Datasets: published by tasks, started on by pipelines.
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.create_dataset('orders'), pipeline.create_dataset('prices', publishers => '{pipeline_bob}', subscribers => '{pipeline_bob}', description => 'from the ERP');
SELECT pipeline.create_dataset('orders');
SELECT pipeline.create_dataset('x', subscribers => '{nobody_of_that_name}');
SELECT dataset, owner, publishers, subscribers, description FROM pipeline.datasets ORDER BY dataset;
SELECT pipeline.create_pipeline('mart', on_datasets => '{orders,prices}', params => '{"p": 1}');
SELECT pipeline.create_task('mart', 'build', 'SELECT pipeline.param(''p'') AS p');
SELECT pipeline.create_pipeline('mart bad', on_datasets => '{no dataset}');
SELECT pipeline.create_pipeline('load');
SELECT pipeline.create_task('load', 'load', 'SELECT pipeline.publish(''orders'', ''day 1'') > 0 AS published');
SELECT pipeline.create_task('load', 'fails', 'SELECT pipeline.publish(''prices'', ''never''); SELECT 1/0', allow_failure => true);
-- One of two does not start it; a publication that is rolled back never was.
SELECT pipeline.run('load') AS run \gset
SELECT pipeline.wait_for_run(:run, '30 s');
CALL public.wait_until('SELECT count(*) = 1 FROM pipeline.dataset_updates WHERE pipeline = ''mart''');
SELECT dataset, version FROM pipeline.dataset_updates WHERE pipeline = 'mart';
SELECT dataset, version, role, run_id = :run AS by_run, task, dispatched FROM pipeline.dataset_events ORDER BY event_id;
SELECT count(*) FROM pipeline.runs WHERE pipeline = 'mart';
-- Twice the same is one; then the other comes, from outside a task, by one who may.
SELECT pipeline.publish('orders', 'day 2') > 0 AS published;
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.publish('orders');
SELECT pipeline.publish('no dataset');
BEGIN;
SELECT pipeline.publish('prices', 'v7') > 0 AS published;
SELECT count(*) FROM pipeline.runs WHERE pipeline = 'mart';
COMMIT;
SET SESSION AUTHORIZATION pipeline_alice;
CALL public.wait_until('SELECT count(*) = 1 FROM pipeline.runs WHERE pipeline = ''mart'' AND state = ''succeeded''');
SELECT run_type, state, params, datasets, interval_start = interval_end AS no_interval FROM pipeline.runs WHERE pipeline = 'mart';
SELECT count(*) FROM pipeline.dataset_updates;
-- While paused, one run waits, however often they are published.
SELECT pipeline.pause('mart', 'holidays');
SELECT count(pipeline.publish(d)) FROM unnest('{orders,prices,orders,prices}'::text[]) d;
CALL public.wait_until('SELECT count(*) = 2 FROM pipeline.runs WHERE pipeline = ''mart''');
SELECT count(pipeline.publish(d)) FROM unnest('{orders,prices}'::text[]) d;
CALL public.wait_until('SELECT count(*) = 2 FROM pipeline.dataset_updates WHERE pipeline = ''mart''');
SELECT state, count(*) FROM pipeline.runs WHERE pipeline = 'mart' GROUP BY state ORDER BY state;
SELECT pipeline.resume('mart');
CALL public.wait_until('SELECT count(*) = 3 FROM pipeline.runs WHERE pipeline = ''mart'' AND state = ''succeeded''');
-- Another's: who may start on it, who may not.
SET SESSION AUTHORIZATION pipeline_bob;
SELECT dataset FROM pipeline.datasets;
SELECT pipeline.create_pipeline('mart of bob', on_datasets => '{orders}');
SELECT pipeline.create_pipeline('mart of bob', on_datasets => '{prices}');
SELECT pipeline.create_task('mart of bob', 'a', 'SELECT session_user AS me');
SELECT pipeline.create_dataset('prices', or_replace => true);
SELECT pipeline.drop_dataset('prices');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.publish('prices') > 0 AS published;
SET SESSION AUTHORIZATION pipeline_bob;
CALL public.wait_until('SELECT count(*) = 1 FROM pipeline.runs WHERE pipeline = ''mart of bob'' AND state = ''succeeded''');
SELECT result FROM pipeline.task_status WHERE pipeline = 'mart of bob';
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_dataset('prices');
SELECT pipeline.drop_pipeline('mart'), pipeline.drop_pipeline('load');
SET SESSION AUTHORIZATION pipeline_bob;
SELECT pipeline.drop_pipeline('mart of bob');
SET SESSION AUTHORIZATION pipeline_alice;
SELECT pipeline.drop_dataset('prices'), pipeline.drop_dataset('orders');
SELECT pipeline.drop_dataset('orders');
SELECT count(*) FROM pipeline.dataset_events;
