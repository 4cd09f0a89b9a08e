# Old runs go, by age and by number, in the background; what is open, the
# newest run and the newest scheduled one stay.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('history');
install($node, 'postgres');
alice($node, q{
	SELECT pipeline.create_pipeline('p', '@daily', max_active_runs => 10);
	SELECT pipeline.create_task('p', 'a', 'SELECT 1');
	SELECT pipeline.create_task('p', 'b', 'SELECT 1', '{a}');
	SELECT pipeline.create_pipeline('q');
	SELECT pipeline.create_task('q', 'a', 'SELECT 1');
	SELECT pipeline.create_pipeline('sleep');
	SELECT pipeline.create_task('sleep', 'a', 'SELECT pg_sleep(600)');
	SELECT count(pipeline.run('p')) FROM generate_series(1, 10);
	SELECT count(pipeline.run('q')) FROM generate_series(1, 3);
});
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE state = 'succeeded'", '13', 'thirteen runs');
my $open = run_pipeline($node, 'sleep');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE run_id = $open AND state = 'running'", '1', 'and one that runs');
# Many more, of long ago, one of them scheduled.
$node->safe_psql('postgres', q{
	UPDATE pipeline.runs SET run_type = 'scheduled' WHERE run_id = 2;
	SELECT pipeline.create_pipeline('old', run_as => 'alice');
	INSERT INTO pipeline.runs (pipeline, owner, run_type, state, params, interval_start, interval_end, queued_at, started_at, finished_at, triggered_by)
	SELECT 'old', 'alice', 'manual', 'failed', '{}', at, at, at, at, at, 'alice'
	FROM (SELECT now() - interval '100 days' + n * interval '1 hour' AS at FROM generate_series(1, 1000) n) x;
	INSERT INTO pipeline.task_runs SELECT (jsonb_populate_record(t, jsonb_build_object('run_id', r.run_id, 'pipeline', 'old'))).*
	FROM pipeline.runs r, pipeline.task_runs t WHERE r.pipeline = 'old' AND t.run_id = 1 AND t.task = 'a';
	INSERT INTO pipeline.attempts (run_id, task, attempt, owner, state, pid, command, params)
	SELECT run_id, task, 1, 'alice', 'failed', 0, '', '{}' FROM pipeline.task_runs WHERE pipeline = 'old';
	SELECT pipeline.create_dataset('d'), pipeline.create_dataset('e');
	SELECT count(pipeline.create_dataset('once ' || n)) FROM generate_series(1, 300) n;
	SELECT count(pipeline.publish('once ' || n)) FROM generate_series(1, 300) n;
	SELECT count(pipeline.publish('d')), count(pipeline.publish('e')) FROM generate_series(1, 5);
	UPDATE pipeline.dataset_events SET dispatched = true, published_at = now() - interval '100 days';
	UPDATE pipeline.changes SET at = now() - interval '100 days' WHERE change_id <= 3;
});
my $newest = $node->safe_psql('postgres', "SELECT max(run_id) FROM pipeline.runs WHERE pipeline = 'old'");

sub set
{
	my (%settings) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET pipeline.$_ = $settings{$_}") for keys %settings;
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	# The next look is at the next thing that happens.
	alice($node, q{SELECT pipeline.pause('q', 'look'), pipeline.resume('q')});
	return;
}

# Somebody looks at one of them, for update, and somebody reads all of them.
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT 1 FROM pipeline.runs WHERE run_id = $newest - 5 FOR UPDATE");
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM pipeline.attempts, pipeline.task_runs WHERE false; LOCK TABLE pipeline.runs IN ROW EXCLUSIVE MODE');
set(history_days => 30);
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE pipeline = 'old'", '2', 'by age: batch after batch, all but the newest and the locked one');
is($node->safe_psql('postgres', "SELECT string_agg(run_id::text, ' ' ORDER BY run_id) FROM pipeline.runs WHERE pipeline = 'old'"), ($newest - 5) . " $newest", 'these');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.task_runs t WHERE NOT EXISTS (SELECT FROM pipeline.runs r WHERE r.run_id = t.run_id)"), '0', 'with their tasks');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.attempts WHERE command = ''"), '2', 'and attempts');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.runs WHERE pipeline <> 'old'"), '14', 'younger ones stay');
is($node->safe_psql('postgres', 'SELECT min(change_id) > 3, count(*) > 5 FROM pipeline.changes'), 't|t', 'old changes are gone, too');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT dataset) FROM pipeline.dataset_events'), '302|302', 'and old events of datasets, but the latest of each, however many');
$_->quit for $holder, $reader;

# The newest, that of the schedule, and what runs stay whatever their age.
$node->safe_psql('postgres', "UPDATE pipeline.runs SET finished_at = finished_at - interval '50 days', started_at = started_at - interval '50 days'");
set(history_days => 31);
wait_for($node, "SELECT string_agg(pipeline || ' ' || run_id, ', ' ORDER BY run_id) FROM pipeline.runs WHERE pipeline <> 'old'",
	"p 2, p 10, q 13, sleep $open", 'by age: the newest of each pipeline, the newest scheduled and the open one stay');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pipeline.run_due()'), '0', 'so that nothing is due again');

# By number.
set(history_days => 0);
alice($node, q{SELECT count(pipeline.run('p')) FROM generate_series(1, 10)});
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE pipeline = 'p' AND state = 'succeeded'", '12', 'ten more');
set(history_runs => 4);
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE pipeline = 'p'", '5', 'by number: four stay, and the scheduled one');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.runs WHERE pipeline = 'p' AND run_id > (SELECT max(run_id) - 4 FROM pipeline.runs WHERE pipeline = 'p')"), '4', 'the newest');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.runs WHERE run_id = $open AND state = 'running'"), '1', 'what runs stays');
alice($node, "SELECT pipeline.cancel($open)");
wait_run($node, $open, 'cancelled', 'and ends');
my $run = run_pipeline($node, 'p');
wait_run($node, $run, 'succeeded', 'runs go on');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler'"), '1', 'by the same scheduler');
unlike(slurp_file($node->logfile), qr/could not delete old runs/, 'nothing went wrong');
$node->stop;
done_testing();
