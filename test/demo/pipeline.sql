-- The pipeline "carousel", as the analyst defines it.
-- psql -v dir=DIRECTORY -f pipeline.sql
\set ON_ERROR_STOP on
SET SESSION AUTHORIZATION analyst;
\o /dev/null

-- Whom to tell: everybody who LISTENs, and the server's log.
SELECT pipeline.create_channel('demo', 'notify', '{"channel": "alerts"}');
SELECT pipeline.create_channel('demo_log', 'log', '{"level": "warning"}');

-- What must hold of the sources.
SELECT pipeline.create_suite('events', 'SELECT ''print'' AS kind, * FROM app.prints UNION ALL SELECT ''tap'', * FROM app.taps');
SELECT pipeline.expect('events', 'expect_table_row_count_to_be_between', '{"min_value": 1}');
SELECT pipeline.expect('events', 'expect_column_values_to_not_be_null', '{"column": "user_id"}');
SELECT pipeline.expect('events', 'expect_column_values_to_not_be_null', '{"column": "value_prop"}');
SELECT pipeline.expect('events', 'expect_column_values_to_be_between', '{"column": "position", "min_value": 0, "max_value": 3}');
SELECT pipeline.create_suite('pays', 'app.pays', row_key => '{delivery,user_id}');
SELECT pipeline.expect('pays', 'expect_column_values_to_not_be_null', '{"column": "total"}');
SELECT pipeline.expect('pays', 'expect_column_values_to_be_between', '{"column": "total", "min_value": 0, "strict_min": true}');
SELECT pipeline.expect('pays', 'expect_column_values_to_be_in_set',
  '{"column": "value_prop", "value_set": ["cellphone_recharge", "credits_consumer", "link_cobro", "point", "prepaid", "send_money", "transport"]}');
SELECT pipeline.create_suite('customers', 'app.customers');
SELECT pipeline.expect('customers', 'expect_column_values_to_be_unique', '{"column": "customer_id"}', 'critical');
SELECT pipeline.expect('customers', 'expect_column_values_to_match_regex', '{"column": "name", "regex": "^[[:alpha:]]+ [[:alpha:]]+$", "mostly": 0.99}', 'warning');

-- The customer dimension: a new version when the city or the segment changes.
SELECT pipeline.create_dimension('dim.customer', 'app.customers', '{customer_id}', 'snapshot',
  type1 => '{name}', hard_deletes => 'invalidate');

-- For each print of the last full week: what that user did with that value
-- proposition in the three weeks before.
SELECT pipeline.create_feature_set('carousel', 'app.last_week', '{user_id,value_prop}', 'day', 'mart.carousel');
SELECT pipeline.add_feature('carousel', 'views', 'app.prints', 'count', '21 days');
SELECT pipeline.add_feature('carousel', 'taps', 'app.taps', 'count', '21 days');
SELECT pipeline.add_feature('carousel', 'payments', 'app.pays', 'count', '21 days', event_time => 'pay_date');
SELECT pipeline.add_feature('carousel', 'amount', 'app.pays', 'sum', '21 days', value => 'total', event_time => 'pay_date', default_value => '0');

-- The first refresh, of nothing yet, makes the target; what must hold of it.
SELECT pipeline.refresh_features('carousel');
SELECT pipeline.create_suite('carousel', 'mart.carousel');
SELECT pipeline.expect('carousel', 'expect_column_values_to_not_be_null', '{"column": "tapped"}');
SELECT pipeline.expect('carousel', 'expect_column_values_to_be_between', '{"column": "views", "min_value": 0}');
SELECT pipeline.expect('carousel', 'expect_column_values_to_be_between', '{"column": "amount", "min_value": 0}');

-- The pipeline: which delivery, and in which order.
SELECT pipeline.create_pipeline('carousel', params => jsonb_build_object('delivery', '2020-11-29', 'dir', :'dir'));
SELECT pipeline.create_task('carousel', 'load_prints',
  $$SELECT app.load_events('app.prints', pipeline.param('delivery')::date, format('%s/%s/prints.jsonl', pipeline.param('dir'), pipeline.param('delivery')))$$);
SELECT pipeline.create_task('carousel', 'load_taps',
  $$SELECT app.load_events('app.taps', pipeline.param('delivery')::date, format('%s/%s/taps.jsonl', pipeline.param('dir'), pipeline.param('delivery')))$$);
SELECT pipeline.create_task('carousel', 'load_pays',
  $$SELECT app.load_pays(pipeline.param('delivery')::date, format('%s/%s/pays.csv', pipeline.param('dir'), pipeline.param('delivery')))$$);
SELECT pipeline.create_task('carousel', 'load_customers',
  $$SELECT app.load_customers(format('%s/%s/customers.csv', pipeline.param('dir'), pipeline.param('delivery')))$$);
SELECT pipeline.create_task('carousel', 'check_events', $$SELECT pipeline.validate('events')$$, '{load_prints,load_taps}');
SELECT pipeline.create_task('carousel', 'check_pays', $$SELECT pipeline.validate('pays')$$, '{load_pays}');
SELECT pipeline.create_task('carousel', 'check_customers', $$SELECT pipeline.validate('customers')$$, '{load_customers}');
SELECT pipeline.create_task('carousel', 'merge_customers',
  $$SELECT pipeline.merge_dimension('dim.customer', batch_id => pipeline.param('delivery'))$$, '{check_customers}');
SELECT pipeline.create_task('carousel', 'build_features', $$SELECT pipeline.refresh_features('carousel')$$, '{check_events,check_pays}');
SELECT pipeline.create_task('carousel', 'check_features', $$SELECT pipeline.validate('carousel')$$, '{build_features}');
SELECT pipeline.create_task('carousel', 'publish', $$
  CREATE TABLE IF NOT EXISTS mart.published AS
    SELECT f.*, c.segment, c.city FROM mart.carousel f, dim.customer c WHERE false;
  TRUNCATE mart.published;
  INSERT INTO mart.published
    SELECT f.*, c.segment, c.city FROM mart.carousel f
    LEFT JOIN dim.customer c ON c.customer_id = f.user_id AND c.is_current$$, '{check_features,merge_customers}');
\o
