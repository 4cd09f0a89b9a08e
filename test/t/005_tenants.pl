# What one role or database does, or leaves open, does not reach the others.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('tenants', 'max_prepared_transactions = 2', 'pipeline.max_workers = 3',
	'log_min_messages = log');
install($node, 'postgres');
$node->safe_psql('postgres', q{
	CREATE ROLE bob LOGIN;
	GRANT USAGE ON SCHEMA pipeline TO bob;
	SELECT pipeline.create_pipeline('bobs', run_as => 'bob');
	SELECT pipeline.create_task('bobs', 'a', 'SELECT 1');
	SELECT pipeline.create_pipeline('bobs clock', '* * * * *', catchup => 'all', run_as => 'bob');
	SELECT pipeline.create_task('bobs clock', 'a', 'SELECT 1');
});
alice($node, q{
	SELECT pipeline.create_pipeline('p', '* * * * *', catchup => 'last');
	SELECT pipeline.create_task('p', 'a', $$DO $do$BEGIN RAISE NOTICE 'said'; END$do$ $$);
	SELECT pipeline.create_pipeline('sleep');
	SELECT pipeline.create_task('sleep', 'a', 'SELECT pg_sleep(600)');
});

sub as_bob
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'bob' ]);
}

# Two databases number their attempts alike; cancel() and the search for lost
# attempts keep them apart.
$node->safe_psql('postgres', 'CREATE DATABASE other');
install($node, 'other');
alice($node, q{
	SELECT pipeline.create_pipeline('sleep');
	SELECT pipeline.create_task('sleep', 'a', 'SELECT pg_sleep(600)');
}, 'other');
my $first = run_pipeline($node, 'sleep');
wait_for($node, "SELECT attempt_id FROM pipeline.attempts WHERE state = 'running'", '1', 'attempt 1 is running');
my $second = run_pipeline($node, 'sleep', 'other');
wait_for($node, "SELECT attempt_id FROM pipeline.attempts WHERE state = 'running'", '1', 'so is attempt 1 of another database', 'other');
alice($node, "SELECT pipeline.cancel($second)", 'other');
wait_run($node, $second, 'cancelled', 'cancel() reaches its own', 'other');
is($node->safe_psql('postgres', "SELECT state FROM pipeline.attempts WHERE run_id = $first"), 'running', 'and not the other');
alice($node, "SELECT pipeline.retry($second)", 'other');
wait_for($node, "SELECT attempt_id FROM pipeline.attempts WHERE state = 'running'", '2', 'attempt 2 is running', 'other');
alice($node, "SELECT pipeline.cancel($first)");
wait_run($node, $first, 'cancelled', 'the first is cancelled');
$first = run_pipeline($node, 'sleep');
wait_for($node, "SELECT attempt_id FROM pipeline.attempts WHERE state = 'running'", '2', 'attempt 2 runs in both');
$node->safe_psql('other', "SELECT pg_terminate_backend(pid) FROM pipeline.attempts WHERE state = 'running'");
wait_for($node, "SELECT state FROM pipeline.attempts WHERE attempt_id = 2", 'lost', 'an attempt is lost though its namesake lives', 'other');
alice($node, "SELECT pipeline.cancel($second)", 'other');
wait_run($node, $second, 'cancelled', 'cancelled', 'other');
alice($node, "SELECT pipeline.cancel($first)");
wait_run($node, $first, 'cancelled', 'cancelled');

# The same role's idle workers of another database make room, too.
$node->safe_psql('postgres', "ALTER SYSTEM SET pipeline.worker_idle_timeout = '1h'");
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
alice($node, q{
	SELECT pipeline.create_pipeline('wide');
	SELECT pipeline.create_task('wide', 't' || n, 'SELECT pg_sleep(0.2)') FROM generate_series(1, 6) n;
}, 'other');
my $run = run_pipeline($node, 'wide', 'other');
wait_run($node, $run, 'succeeded', 'all slots are taken by idle workers there', 'other');
$run = run_pipeline($node, 'p');
wait_run($node, $run, 'succeeded', 'a run here gets a place');
is($node->safe_psql('postgres', "SELECT notices FROM pipeline.attempts WHERE run_id = $run"), '{"NOTICE: said"}', 'notices are kept when log_min_messages is log');

# Tasks that became ready while all slots were busy get those that become idle.
alice($node, q{
	SELECT pipeline.create_pipeline('two');
	SELECT pipeline.create_task('two', 't' || n, 'SELECT pg_sleep(1.5)') FROM generate_series(1, 2) n;
}, 'other');
alice($node, q{
	SELECT pipeline.create_pipeline('fan');
	SELECT pipeline.create_task('fan', 'first', 'SELECT pg_sleep(1)');
	SELECT pipeline.create_task('fan', 't' || n, 'SELECT pg_sleep(600)', depends_on => '{first}') FROM generate_series(1, 2) n;
});
$run = run_pipeline($node, 'fan');
wait_for($node, "SELECT state FROM pipeline.task_runs WHERE run_id = $run AND task = 'first'", 'running', 'one slot is busy here');
$second = run_pipeline($node, 'two', 'other');
wait_run($node, $second, 'succeeded', 'and two in the other database', 'other');
wait_for($node, "SELECT count(*) FROM pipeline.task_runs WHERE run_id = $run AND state = 'running'", '2', 'the second task gets one of its places');
alice($node, "SELECT pipeline.cancel($run)");
wait_run($node, $run, 'cancelled', 'cancelled');

# Nobody waits for the end of somebody's long queue.
$node->safe_psql('postgres', q{
	SELECT pipeline.create_pipeline('queue', run_as => 'bob');
	SELECT pipeline.create_task('queue', 't' || n, 'SELECT pg_sleep(0.1)') FROM generate_series(1, 200) n;
});
my $queue = as_bob("SELECT pipeline.run('queue')");
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE run_id = $queue AND state = 'running'", '3', 'bob has all slots');
$run = run_pipeline($node, 'p');
wait_run($node, $run, 'succeeded', 'alice gets one');
is($node->safe_psql('postgres', "SELECT state FROM pipeline.runs WHERE run_id = $queue"), 'running', 'before bob has ended');
as_bob("SELECT pipeline.cancel($queue)");
wait_run($node, $queue, 'cancelled', 'cancelled');

# A transaction that stays open locks its own runs only.
as_bob("SELECT pipeline.pause('bobs', 'test')");
my $bobs = as_bob("SELECT pipeline.run('bobs')");
$node->safe_psql('postgres', "UPDATE pipeline.pipelines SET scheduled_since = now() - interval '3 minutes' WHERE schedule IS NOT NULL");
my $open = $node->background_psql('postgres', extra_params => [ '-U', 'bob' ]);
$open->query_safe('BEGIN');
$open->query_safe("SELECT pipeline.resume('bobs')");
$open->query_safe("SELECT pipeline.create_task('bobs clock', 'b', 'SELECT 1')");
my $other = $node->background_psql('postgres', extra_params => [ '-U', 'bob' ]);
$other->query_safe('BEGIN');
$other->query_safe("SELECT pipeline.cancel($bobs)");
$run = run_pipeline($node, 'p');
wait_run($node, $run, 'succeeded', 'the scheduler passes over what bob has locked');
is($node->safe_psql('postgres', 'SET statement_timeout = 5000; SELECT count(*) FROM pipeline.run_due()'), '1', 'and so does run_due()');
$open->query_safe('COMMIT');
$run = run_pipeline($node, 'p');
wait_run($node, $run, 'succeeded', 'also a run that could begin and is being cancelled');
$other->query_safe('ROLLBACK');
wait_run($node, $bobs, 'succeeded', 'which begins when that is taken back');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM pipeline.run_due()'), '>=', 3, 'and what was due is made');
$_->quit for $open, $other;

# Nor does the scheduler wait for a subscriber that somebody is dropping.
alice($node, q{
	SELECT pipeline.create_dataset('news');
	SELECT pipeline.create_pipeline('reader', on_datasets => '{news}');
	SELECT pipeline.create_task('reader', 'a', 'SELECT 1');
});
$open = $node->background_psql('postgres', extra_params => [ '-U', 'alice' ]);
$open->query_safe('BEGIN');
$open->query_safe("SELECT pipeline.drop_pipeline('reader')");
alice($node, "SELECT pipeline.publish('news')");
$bobs = as_bob("SELECT pipeline.run('bobs')");
wait_run($node, $bobs, 'succeeded', 'bob does not wait for a pipeline that is being dropped');
$open->query_safe('ROLLBACK');
wait_for($node, "SELECT state FROM pipeline.runs WHERE pipeline = 'reader'", 'succeeded', 'what was published meanwhile is not lost');

# Nor for an alert that somebody is acknowledging.
alice($node, q{
	SELECT pipeline.create_pipeline('late', deadline => '100 ms', max_active_runs => 2);
	SELECT pipeline.create_task('late', 'a', 'SELECT pg_sleep(600)');
});
$run = run_pipeline($node, 'late');
wait_for($node, "SELECT count(*) FROM pipeline.alerts WHERE alertname = 'DeadlineMissed' AND state = 'firing'", '1', 'a deadline is missed');
$open->query_safe('BEGIN');
$open->query_safe("SELECT pipeline.acknowledge(alert_id) FROM pipeline.alerts WHERE alertname = 'DeadlineMissed'");
$second = run_pipeline($node, 'late');
$node->safe_psql('postgres', 'SELECT pg_sleep(0.3)');
$bobs = as_bob("SELECT pipeline.run('bobs')");
wait_run($node, $bobs, 'succeeded', 'bob does not wait for the alert of another deadline');
$open->query_safe('COMMIT');
$open->quit;
wait_for($node, "SELECT deadline_missed AND deadline_due IS NULL FROM pipeline.runs WHERE run_id = $second", 't', 'which is minded then');
alice($node, "SELECT pipeline.cancel(r) FROM unnest('{$run,$second}'::bigint[]) r");
wait_run($node, $_, 'cancelled', 'cancelled') for $run, $second;

# A lost attempt whose run is locked: others go on, it ends later.
$run = run_pipeline($node, 'sleep');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run AND state = 'running'", '1', 'it is running');
$open = $node->background_psql('postgres', extra_params => [ '-U', 'alice' ]);
$open->query_safe('BEGIN');
$open->query_safe("SELECT pipeline.cancel($run)");
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pipeline.attempts WHERE run_id = $run");
$bobs = as_bob("SELECT pipeline.run('bobs')");
wait_run($node, $bobs, 'succeeded', 'bob does not wait for it');
$open->query_safe('COMMIT');
$open->quit;
wait_run($node, $run, 'cancelled', 'it ends when it can');

# A lost attempt that cannot be ended pauses its own pipeline.
$node->safe_psql('postgres', q{UPDATE pipeline.tasks SET labels = '{"bad": {}}' WHERE pipeline = 'sleep'});
$run = run_pipeline($node, 'sleep');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run AND state = 'running'", '1', 'it is running');
$node->safe_psql('postgres', "ALTER SYSTEM SET pipeline.max_lost_attempts = 0");
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pipeline.attempts WHERE run_id = $run");
wait_for($node, "SELECT paused_reason FROM pipeline.pipelines WHERE pipeline = 'sleep'",
	'the scheduler could not end an attempt at task "a": label "bad" in argument "labels" is not a string', 'a bad run pauses its pipeline');
$bobs = as_bob("SELECT pipeline.run('bobs')");
wait_run($node, $bobs, 'succeeded', 'and nobody else is touched');
$node->safe_psql('postgres', "UPDATE pipeline.task_runs SET labels = '{}' WHERE run_id = $run");
wait_run($node, $run, 'failed', 'mended, it ends');
$node->safe_psql('postgres', "ALTER SYSTEM RESET pipeline.max_lost_attempts");

# A task that does not mind its timeout has timed out; it is not lost.
alice($node, q{
	SELECT pipeline.create_pipeline('deaf');
	SELECT pipeline.create_task('deaf', 'a', 'DO $$BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END$$', timeout => '0.2 s');
});
$run = run_pipeline($node, 'deaf');
wait_run($node, $run, 'failed', 'a deaf task fails at its timeout');
is($node->safe_psql('postgres', "SELECT string_agg(state || ' ' || sqlstate, ',') FROM pipeline.attempts WHERE run_id = $run"), 'failed 57014', 'in one attempt');

# A living worker stops when its role may not run tasks any more.
$run = run_pipeline($node, 'p');
wait_run($node, $run, 'succeeded', 'alice has a worker');
$node->safe_psql('postgres', 'ALTER ROLE alice SUPERUSER');
$run = run_pipeline($node, 'p');
wait_for($node, "SELECT paused FROM pipeline.pipelines WHERE pipeline = 'p'", 't', 'a superuser\'s pipeline is paused');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run"), '0', 'and no idle worker has run it');
$node->safe_psql('postgres', 'ALTER ROLE alice NOSUPERUSER');
alice($node, "SELECT pipeline.resume('p')");
wait_run($node, $run, 'succeeded', 'resumed');

# Two phases would wake nobody.
my ($rc, $out, $err) = $node->psql('postgres', "BEGIN; SELECT pipeline.run('p'); PREPARE TRANSACTION 'x'", extra_params => [ '-U', 'alice' ]);
like($err, qr/cannot PREPARE a transaction that has started/, 'PREPARE TRANSACTION is refused');

# A scheduler that a former launcher started is not started twice.
my ($launcher) = server_pids($node, 'launcher');
$node->safe_psql('postgres', "ALTER SYSTEM SET log_min_messages = debug1");
$node->safe_psql('postgres', 'SELECT pg_reload_conf(), pg_sleep(0.5)');
my $log = -s $node->logfile;
kill 'TERM', $launcher;
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline launcher' AND pid <> $launcher", '1', 'another launcher');
$node->safe_psql('postgres', 'SELECT pg_sleep(2)');
my $registered = () = slurp_file($node->logfile, $log) =~ /registering background worker "pipeline scheduler of database/g;
cmp_ok($registered, '<=', 2, 'no scheduler comes and goes');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET log_min_messages');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');

# Nor does a role's impatience for locks reach the bookkeeping.
$node->safe_psql('postgres', q{
	ALTER ROLE bob SET lock_timeout = '10ms';
	SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'bob';
	SELECT pipeline.create_pipeline('impatient', run_as => 'bob');
	SELECT pipeline.create_task('impatient', 'a', $$SELECT current_setting('lock_timeout') AS is, pg_sleep(1)$$);
	SELECT pipeline.create_task('impatient', 'b', $$SET lock_timeout = '5ms'; SELECT pg_sleep(1)$$);
});
$run = as_bob("SELECT pipeline.run('impatient')");
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE run_id = $run AND state = 'running'", '2', 'impatient tasks are running');
$open = $node->background_psql('postgres');
$open->query_safe('BEGIN');
$open->query_safe("SELECT FROM pipeline.runs WHERE run_id = $run FOR UPDATE");
$node->safe_psql('postgres', 'SELECT pg_sleep(1.5)');
$open->query_safe('COMMIT');
$open->quit;
wait_run($node, $run, 'succeeded', 'a lock on the run is waited for');
is($node->safe_psql('postgres', "SELECT result ->> 'is' FROM pipeline.attempts WHERE run_id = $run AND task = 'a'"), '10ms', 'though the task has its setting');

# CREATE DATABASE copies template1 although a scheduler is there.
$node->safe_psql('template1', 'CREATE EXTENSION pipeline; GRANT USAGE ON SCHEMA pipeline TO bob');
$node->safe_psql('template1', "SELECT pipeline.create_pipeline('t', run_as => 'bob')");
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler' AND datname = 'template1'", '1', 'a scheduler in template1');
$node->safe_psql('postgres', 'CREATE DATABASE from_template');
$node->safe_psql('template1', 'CREATE DATABASE from_here');
pass('CREATE DATABASE');

$node->stop;
done_testing();
