# A worker killed at each step of a task, a scheduler and a launcher killed, a
# server restarted in mid-run: the run finishes by itself, and what is
# recorded as done was done exactly once.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('crash');
install($node, 'postgres');

# first leaves a mark; slow waits until it may go on; last counts marks.
alice($node, q{
	SELECT pipeline.create_pipeline('p');
	SELECT pipeline.create_task('p', 'first', $$INSERT INTO alice.log VALUES ('first')$$);
	SELECT pipeline.create_task('p', 'slow', $$INSERT INTO alice.log VALUES ('slow');
		SELECT pg_advisory_xact_lock(1)$$, '{first}');
	SELECT pipeline.create_task('p', 'last', $$INSERT INTO alice.log VALUES ('last')$$, '{slow}');
});

# Kill the process that runs slow, in the way that is asked.
sub kill_slow
{
	my ($how, $signal) = @_;
	alice($node, 'TRUNCATE alice.log');
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = run_pipeline($node, 'p');
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1',
		"$how: slow is in the middle");
	my $pid = $node->safe_psql('postgres',
		"SELECT pid FROM pipeline.attempts WHERE run_id = $run AND state = 'running'");
	kill $signal, $pid;
	my $t = time();
	eval { $gate->quit; };
	wait_run($node, $run, 'succeeded', "$how: the run finishes by itself");
	note(sprintf('%s: %.2f s', $how, time() - $t));
	is($node->safe_psql('postgres', "SELECT string_agg(line, ' ' ORDER BY at) FROM alice.log"),
		'first slow last', "$how: each task left its mark once");
	is($node->safe_psql('postgres', "SELECT string_agg(state, ' ' ORDER BY attempt) FROM pipeline.attempts
		WHERE run_id = $run AND task = 'slow'"), 'lost succeeded', "$how: one attempt was lost");
	is($node->safe_psql('postgres', "SELECT failures FROM pipeline.task_runs WHERE run_id = $run AND task = 'slow'"),
		'0', "$how: it used up no retry");
	return;
}

kill_slow('SIGKILL', 'KILL');
kill_slow('SIGSEGV', 'SEGV');
kill_slow('SIGTERM', 'TERM');

# The other steps: claiming, ending, idle.  A lock that the worker needs holds
# it there.  In the claim:
{
	alice($node, q{TRUNCATE alice.log; SELECT pipeline.pause('p', 'test')});
	my $run = run_pipeline($node, 'p');
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('BEGIN; LOCK TABLE pipeline.attempts IN SHARE MODE');
	alice($node, q{SELECT pipeline.resume('p')});
	my $claiming = "backend_type = 'pipeline worker' AND wait_event_type = 'Lock' AND query = 'pipeline: claim'";
	wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE $claiming", 't', 'claim: a worker is about to claim');
	kill 'KILL', $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $claiming LIMIT 1");
	eval { $gate->quit; };
	wait_run($node, $run, 'succeeded', 'claim: the run finishes by itself');
	is($node->safe_psql('postgres', "SELECT string_agg(line, ' ' ORDER BY at) FROM alice.log"), 'first slow last', 'claim: each task once');
	is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run"), '3', 'claim: nothing was claimed, so nothing was lost');
}

# Between the writes of the first task and the commit that records them.
{
	alice($node, 'TRUNCATE alice.log');
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = run_pipeline($node, 'p');
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1', 'commit: slow is in the middle');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; SELECT 1 FROM pipeline.task_runs WHERE run_id = $run AND task = 'slow' FOR UPDATE");
	$gate->quit;
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline worker' AND wait_event_type = 'Lock' AND query = 'pipeline: end of task'", '1', 'commit: slow has written and is about to record it');
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pipeline.attempts WHERE run_id = $run AND state = 'running'");
	kill 'KILL', $pid;
	eval { $holder->quit; };
	wait_run($node, $run, 'succeeded', 'commit: the run finishes by itself');
	is($node->safe_psql('postgres', "SELECT string_agg(line, ' ' ORDER BY at) FROM alice.log"), 'first slow last', 'commit: the writes of the lost attempt are gone');
	is($node->safe_psql('postgres', "SELECT string_agg(state, ' ' ORDER BY attempt) FROM pipeline.attempts WHERE run_id = $run AND task = 'slow'"), 'lost succeeded', 'commit: it ran again');
}

# Idle, when everything is done.
{
	wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'pipeline worker' AND state = 'idle'", 't', 'idle: a worker waits');
	my ($pid) = server_pids($node, 'worker');
	kill 'KILL', $pid;
	$node->poll_query_until('postgres', 'SELECT true');
	my $run = run_pipeline($node, 'p');
	wait_run($node, $run, 'succeeded', 'idle: the next run is as any other');
	is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run"), '3', 'idle: nothing was lost');
}

# A fast restart in the middle: the same.
{
	alice($node, 'TRUNCATE alice.log');
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = run_pipeline($node, 'p');
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1', 'restart: slow is in the middle');
	$node->restart;
	my $t = time();
	eval { $gate->quit; };
	wait_run($node, $run, 'succeeded', 'restart: the run finishes by itself');
	cmp_ok(time() - $t, '<', 10, 'restart: at once');
	is($node->safe_psql('postgres', "SELECT string_agg(line, ' ' ORDER BY at) FROM alice.log"), 'first slow last', 'restart: each task once');
	$gate = $node->background_psql('postgres');
	alice($node, 'TRUNCATE alice.log');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	$run = run_pipeline($node, 'p');
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1', 'immediate: slow is in the middle');
	$node->stop('immediate');
	$node->start;
	eval { $gate->quit; };
	wait_run($node, $run, 'succeeded', 'immediate: the run finishes by itself');
	is($node->safe_psql('postgres', "SELECT string_agg(line, ' ' ORDER BY at) FROM alice.log"), 'first slow last', 'immediate: each task once');
}

# A task that takes its worker down each time fails in the end.
alice($node, q{
	SELECT pipeline.create_pipeline('suicide');
	SELECT pipeline.create_task('suicide', 'die', 'SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10)');
	SELECT pipeline.create_task('suicide', 'next', 'SELECT 1', '{die}');
	SELECT pipeline.create_pipeline('suicide slowly');
	SELECT pipeline.create_task('suicide slowly', 'die', $$INSERT INTO alice.log VALUES ('auto'); SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10)$$, mode => 'autocommit');
});
my $run = run_pipeline($node, 'suicide');
wait_run($node, $run, 'failed', 'a task that ends its worker fails in the end');
is(state_of($node, $run), 'die:failed next:upstream_failed', 'and holds back what follows');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run AND state = 'lost'"), '3',
	'after max_lost_attempts and one more');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.firing_alerts WHERE alertname = 'TaskFailed' AND labels ->> 'pipeline' = 'suicide'"), '1', 'with an alert');
alice($node, 'TRUNCATE alice.log');
$run = run_pipeline($node, 'suicide slowly');
wait_run($node, $run, 'failed', 'a lost autocommit task runs again only while retries last');
is($node->safe_psql('postgres', "SELECT count(*) FROM alice.log"), '1', 'here: never');

# The processes that mind it are themselves minded.
for my $type ('scheduler', 'launcher')
{
	my ($pid) = server_pids($node, $type);
	kill 'TERM', $pid;
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline $type' AND pid <> $pid", '1', "the $type comes back");
	$run = run_pipeline($node, 'p');
	wait_run($node, $run, 'succeeded', "and runs go on after the $type was ended");
}

# Cancel while the worker is busy, and the worker goes on with other work.
alice($node, q{
	SELECT pipeline.create_pipeline('sleep');
	SELECT pipeline.create_task('sleep', 'a', 'SELECT pg_sleep(600)');
	SELECT pipeline.create_task('sleep', 'b', 'DO $$BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END$$');
});
$run = run_pipeline($node, 'sleep');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run AND state = 'running'", '2', 'both tasks are running');
is(alice($node, "SELECT pipeline.cancel($run)"), 't', 'cancel');
wait_run($node, $run, 'cancelled', 'the run ends cancelled, also the task that swallows cancels');
is(state_of($node, $run), 'a:cancelled b:cancelled', 'and so do its tasks');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.firing_alerts WHERE labels ->> 'pipeline' = 'sleep'"), '0', 'without an alert');

# State and data: the mark and the record are there together or not at all,
# however often the server dies.
alice($node, q{
	TRUNCATE alice.log;
	SELECT pipeline.create_pipeline('chain', max_active_runs => 10);
	SELECT pipeline.create_task('chain', 't1', $$INSERT INTO alice.log VALUES (pipeline.run_id() || '/' || pipeline.task_name())$$);
	SELECT pipeline.create_task('chain', 't' || n, $$INSERT INTO alice.log VALUES (pipeline.run_id() || '/' || pipeline.task_name())$$, ARRAY['t' || n - 1])
	FROM generate_series(2, 30) n;
	SELECT count(pipeline.run('chain')) FROM generate_series(1, 8);
});
for my $round (1 .. 4)
{
	my ($pid) = server_pids($node, 'worker');
	if ($pid) { kill 'KILL', $pid; }
	$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM pg_stat_activity') or die;
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM alice.log');
	$node->poll_query_until('postgres', "SELECT count(*) >= least($before + 20, 240) FROM alice.log");
}
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE pipeline = 'chain' AND state = 'succeeded'", '8', 'all chains end');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT line) FROM alice.log'), '240|240', 'each task of each left one mark');

$node->stop;
done_testing();
