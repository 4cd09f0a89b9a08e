# Places for workers run out; roles that workers cannot be; what one sees of
# the processes.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('workers', 'max_worker_processes = 5', 'pipeline.max_workers = 8');
install($node, 'postgres');
alice($node, q{
	SELECT pipeline.create_pipeline('wide');
	SELECT pipeline.create_task('wide', 't' || n, 'SELECT pg_sleep(0.2)') FROM generate_series(1, 12) n;
});
my $offset = -s $node->logfile;
my $run = run_pipeline($node, 'wide');
wait_run($node, $run, 'succeeded', 'more tasks than places for workers: all run');
my $log = slurp_file($node->logfile, $offset);
my $warnings = () = $log =~ /no place for a pipeline worker/g;
is($warnings, 1, 'and it is said once');
$node->stop;

# More slots than tasks; processes carry names.
$node->append_conf('postgresql.conf', "max_worker_processes = 16\npipeline.max_workers = 3\n");
$node->start;
alice($node, q{
	SELECT pipeline.create_pipeline('names');
	SELECT pipeline.create_task('names', 'sleep', 'SELECT pg_sleep(600)');
});
$run = run_pipeline($node, 'names');
wait_for($node, "SELECT usename || ' ' || application_name || ' ' || backend_type || ' ' || query FROM pg_stat_activity WHERE application_name LIKE 'pipeline: %'",
	"alice pipeline: names/sleep $run pipeline worker SELECT pg_sleep(600)", 'pg_stat_activity shows the task');
alice($node, "SELECT pipeline.cancel($run)");
wait_run($node, $run, 'cancelled', 'cancelled');

# Another role's idle workers make room.
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET pipeline.worker_idle_timeout = '1h';
	SELECT pg_reload_conf();
	CREATE ROLE bob LOGIN;
	GRANT USAGE ON SCHEMA pipeline TO bob;
	SELECT pipeline.create_pipeline('bobs', run_as => 'bob');
	SELECT pipeline.create_task('bobs', 'who', 'SELECT session_user AS who');
});
$run = run_pipeline($node, 'wide');
wait_run($node, $run, 'succeeded', 'three slots, twelve tasks');
$run = $node->safe_psql('postgres', "SELECT pipeline.run('bobs')");
wait_run($node, $run, 'succeeded', 'idle workers of another role make room');
is($node->safe_psql('postgres', "SELECT result ->> 'who' FROM pipeline.attempts WHERE run_id = $run"), 'bob', 'the session is the owner');

# A worker cannot gain rights: the session is the role.
$node->safe_psql('postgres', q{
	SELECT pipeline.create_pipeline('escape', run_as => 'bob');
	SELECT pipeline.create_task('escape', 'reset role', 'RESET ROLE; RESET SESSION AUTHORIZATION; SELECT current_user AS me, session_user AS also');
	SELECT pipeline.create_task('escape', 'set role', 'SET ROLE postgres');
	SELECT pipeline.create_task('escape', 'forge', $$UPDATE pipeline.task_runs SET state = 'succeeded'$$);
	SELECT pipeline.create_task('escape', 'read', 'SELECT * FROM alice.log');
	SELECT pipeline.create_task('escape', 'set', $$SET pipeline.admin_role = 'bob'$$);
	SELECT pipeline.create_task('escape', 'file', $$COPY (SELECT 1) TO PROGRAM 'true'$$);
});
$run = $node->safe_psql('postgres', "SELECT pipeline.run('escape')");
wait_run($node, $run, 'failed', 'attempts to escape fail');
is($node->safe_psql('postgres', "SELECT string_agg(task || ' ' || coalesce(sqlstate, result::text), '; ' ORDER BY task) FROM pipeline.attempts WHERE run_id = $run"),
	'file 42501; forge 42501; read 42501; reset role {"me": "bob", "also": "bob"}; set 55P02; set role 42501', 'each for its reason');

# Owners that cannot be: their pipelines are paused, with the reason.
for my $case ([ 'ALTER ROLE bob NOLOGIN', 'ALTER ROLE bob LOGIN', qr/may not log in/ ],
	[ 'ALTER ROLE bob SUPERUSER', 'ALTER ROLE bob NOSUPERUSER', qr/is a superuser/ ],
	[ 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO alice', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC', qr/no CONNECT privilege/ ])
{
	my ($break, $mend, $reason) = @$case;
	next if $break =~ /NOLOGIN/ && $node->pg_version >= 17;
	# No worker of bob's may be left that can already do it.
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'bob'");
	$node->safe_psql('postgres', $break);
	$run = $node->safe_psql('postgres', "SELECT pipeline.run('bobs')");
	$node->poll_query_until('postgres', "SELECT paused FROM pipeline.pipelines WHERE pipeline = 'bobs'") or die 'not paused';
	like($node->safe_psql('postgres', "SELECT paused_reason FROM pipeline.pipelines WHERE pipeline = 'bobs'"), $reason, "$break: paused with the reason");
	is($node->safe_psql('postgres', "SELECT paused FROM pipeline.pipelines WHERE pipeline = 'names'"), 'f', 'others are not');
	$node->safe_psql('postgres', $mend);
	$node->safe_psql('postgres', "SELECT pipeline.resume('bobs'), pipeline.resume('escape')");
	wait_run($node, $run, 'succeeded', "$mend: it runs");
}

# A role whose settings would break the bookkeeping.
$node->safe_psql('postgres', q{
	ALTER ROLE bob SET default_transaction_read_only = on;
	ALTER ROLE bob SET default_transaction_isolation = 'serializable';
	ALTER ROLE bob SET search_path = 'nowhere';
	ALTER ROLE bob SET statement_timeout = '1ms';
	ALTER ROLE bob SET row_security = off;
});
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'bob'");
$node->safe_psql('postgres', q{SELECT pipeline.create_task('bobs', 'read only', 'CREATE TABLE public.never (x int)', allow_failure => true)});
$run = $node->safe_psql('postgres', "SELECT pipeline.run('bobs')");
wait_run($node, $run, 'succeeded', 'settings of the role do not reach the bookkeeping');
is($node->safe_psql('postgres', "SELECT sqlstate FROM pipeline.attempts WHERE run_id = $run AND task = 'read only'"), '25006', 'but they do reach its tasks');

# A role that is gone.
$node->safe_psql('postgres', q{
	CREATE ROLE gone LOGIN;
	SELECT pipeline.create_pipeline('orphan', run_as => 'gone');
	SELECT pipeline.create_task('orphan', 'a', 'SELECT 1');
	DROP ROLE gone;
});
$run = $node->safe_psql('postgres', "SELECT pipeline.run('orphan')");
$node->poll_query_until('postgres', "SELECT paused FROM pipeline.pipelines WHERE pipeline = 'orphan'") or die 'not paused';
like($node->safe_psql('postgres', "SELECT paused_reason FROM pipeline.pipelines WHERE pipeline = 'orphan'"),
	qr/role with OID \d+ does not exist/, 'a dropped owner pauses the pipeline');
is($node->safe_psql('postgres', "SELECT pipeline.cancel($run)"), 't', 'its run can be cancelled');
$node->safe_psql('postgres', "SELECT pipeline.drop_pipeline('orphan')");

# No more workers of one role than it may have; the rest says why it waits.
$node->safe_psql('postgres', q{ALTER SYSTEM SET pipeline.max_active_workers_per_role = 1; SELECT pg_reload_conf()});
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'pipeline worker'");
alice($node, q{
	SELECT pipeline.create_pipeline('many');
	SELECT pipeline.create_task('many', 't' || n, 'SELECT pg_sleep(600)') FROM generate_series(1, 3) n;
});
$run = run_pipeline($node, 'many');
wait_for($node, "SELECT state, count(*) FROM pipeline.task_runs WHERE run_id = $run GROUP BY 1 ORDER BY 1", "ready|2\nrunning|1", 'one of three tasks runs');
is($node->safe_psql('postgres', "SELECT pipeline.worker_count('alice')"), '1', 'the role has one worker');
like(alice($node, "SELECT string_agg(DISTINCT why, ';') FROM pipeline.waiting WHERE run_id = $run"),
	qr/^for a worker: its owner has 1 already \(pipeline.max_active_workers_per_role\)\.?$/, 'waiting tells the limit');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET pipeline.max_active_workers_per_role');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
wait_for($node, "SELECT count(*) FROM pipeline.task_runs WHERE run_id = $run AND state = 'running'", '3', 'without the limit all run');
alice($node, "SELECT pipeline.cancel($run)");
wait_run($node, $run, 'cancelled', 'and are cancelled');

# The limit holds in all databases together; what one has the other gets next.
$node->safe_psql('postgres', q{ALTER SYSTEM SET pipeline.max_active_workers_per_role = 1; SELECT pg_reload_conf()});
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'pipeline worker'");
$node->safe_psql('postgres', 'CREATE DATABASE other');
install($node, 'other');
for my $db ('postgres', 'other')
{
	alice($node, q{
		SELECT pipeline.create_pipeline('turns');
		SELECT pipeline.create_task('turns', 'a', 'SELECT pg_sleep(0.5)'), pipeline.create_task('turns', 'b', 'SELECT 1', depends_on => '{a}');
	}, $db);
}
$run = run_pipeline($node, 'turns');
wait_run($node, $run, 'succeeded', 'its only worker is here');
$run = run_pipeline($node, 'turns', 'other');
wait_run($node, $run, 'succeeded', 'leaves, being idle, for the other database', 'other');
$run = run_pipeline($node, 'turns');
my $other = run_pipeline($node, 'turns', 'other');
wait_run($node, $run, 'succeeded', 'both at once: one database');
wait_run($node, $other, 'succeeded', 'and the other', 'other');
is($node->safe_psql('postgres', "SELECT pipeline.worker_count('alice')"), '1', 'one worker in all');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET pipeline.max_active_workers_per_role');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');

# A run whose pipeline has got another owner meanwhile.
$node->safe_psql('postgres', q{
	SELECT pipeline.create_pipeline('handed', run_as => 'alice');
	SELECT pipeline.create_task('handed', 'a', 'SELECT pg_sleep(1)');
	SELECT pipeline.create_task('handed', 'b', 'SELECT 1', depends_on => '{a}');
});
$run = $node->safe_psql('postgres', "SELECT pipeline.run('handed')");
wait_for($node, "SELECT state FROM pipeline.task_runs WHERE run_id = $run AND task = 'a'", 'running', 'the first task runs as its owner');
$node->safe_psql('postgres', "SELECT pipeline.create_pipeline('handed', run_as => 'bob', or_replace => true), pipeline.clear($run, 'b')");
wait_run($node, $run, 'succeeded', 'one of the new owner follows it, while the worker of the old one stays');

# A run that began under an owner who is gone, too, pauses the pipeline.
$node->safe_psql('postgres', q{
	CREATE ROLE gone LOGIN;
	SELECT pipeline.create_pipeline('left', run_as => 'gone', paused => true);
	SELECT pipeline.create_task('left', 'a', 'SELECT 1');
});
$run = $node->safe_psql('postgres', "SELECT pipeline.run('left')");
$node->safe_psql('postgres', "BEGIN; SELECT pipeline.create_pipeline('left', run_as => 'bob', or_replace => true), pipeline.resume('left'); DROP ROLE gone; COMMIT");
$node->poll_query_until('postgres', "SELECT paused FROM pipeline.pipelines WHERE pipeline = 'left'") or die 'not paused';
like($node->safe_psql('postgres', "SELECT why FROM pipeline.waiting WHERE run_id = $run"),
	qr/the pipeline is paused: tasks cannot run as their owner: role with OID \d+ does not exist/, 'and waiting says so');
$node->safe_psql('postgres', "SELECT pipeline.cancel($run), pipeline.resume('left')");
$node->safe_psql('postgres', "SELECT pipeline.retry($run)");
wait_run($node, $run, 'succeeded', 'cancelled and retried, it runs as the new owner');

# A due time for which nobody made a run: whoever calls run_due() does not.
alice($node, q{SELECT pipeline.create_pipeline('unheard', '@hourly', deadline => '1 second'), pipeline.create_task('unheard', 'a', 'SELECT 1')});
$node->safe_psql('postgres', "UPDATE pipeline.pipelines SET scheduled_since = now() - interval '2 hours' WHERE pipeline = 'unheard'");
# A new scheduler looks at once.
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler'");
my $alert = "SELECT state FROM pipeline.alerts WHERE alertname = 'DeadlineMissed' AND labels ->> 'pipeline' = 'unheard'";
wait_for($node, $alert, 'firing', 'a due time without a run is an alert');
like(alice($node, "SELECT summary FROM pipeline.alerts WHERE alertname = 'DeadlineMissed' AND labels ->> 'pipeline' = 'unheard'"),
	qr/no run was created for the due time .*: nothing calls pipeline.run_due\(\)/, 'that says why');
$run = alice($node, "SELECT pipeline.run_due('unheard')");
wait_run($node, $run, 'succeeded', 'run_due() makes it');
wait_for($node, $alert, 'resolved', 'and a run that succeeds resolves it');

$node->stop;
done_testing();
