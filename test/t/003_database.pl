# Databases come and go under the workers; copies run nothing; standbys idle.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('database', 'wal_level = replica', 'max_wal_senders = 4');
sub fill
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	install($node, $db);
	alice($node, q{
		SELECT pipeline.create_pipeline('p');
		SELECT pipeline.create_task('p', 'a', $$INSERT INTO alice.log VALUES ('a')$$);
		SELECT pipeline.create_pipeline('sleep');
		SELECT pipeline.create_task('sleep', 'a', 'SELECT pg_sleep(600)');
	}, $db);
	my $run = run_pipeline($node, 'p', $db);
	wait_run($node, $run, 'succeeded', "$db: a run", $db);
	return;
}

# The scheduler and an idle worker are there, and a busy one.
fill('dropped');
run_pipeline($node, 'sleep', 'dropped');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE state = 'running'", '1', 'a task is running', 'dropped');
# Whoever may not drop it changes nothing.
my ($rc) = $node->psql('postgres', 'DROP DATABASE dropped', extra_params => [ '-U', 'alice' ]);
isnt($rc, 0, 'alice may not drop the database');
is($node->safe_psql('dropped', "SELECT count(*) FROM pipeline.attempts WHERE state = 'running'"), '1', 'and her try stopped nothing');
is(scalar(server_pids($node, 'scheduler', 'dropped')), 1, 'the scheduler is still there');
# A session of somebody else makes it fail, and our processes come back.
my $session = $node->background_psql('dropped');
my ($rc2, $out, $err) = $node->psql('postgres', 'DROP DATABASE dropped');
isnt($rc2, 0, 'DROP DATABASE fails while somebody else is connected');
like($err, qr/There is 1 other session/, 'and counts only the other');
$session->quit;
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler' AND datname = 'dropped'", '1', 'the scheduler comes back after the failure');
wait_for($node, "SELECT string_agg(state, ' ' ORDER BY attempt) FROM pipeline.attempts WHERE task = 'a' AND run_id = 2", 'lost running', 'the task runs again', 'dropped');
$node->safe_psql('postgres', 'DROP DATABASE dropped');
pass('DROP DATABASE while workers are busy and waiting');

fill('named');
$node->safe_psql('postgres', 'ALTER DATABASE named RENAME TO renamed');
my $run = run_pipeline($node, 'p', 'renamed');
wait_run($node, $run, 'succeeded', 'runs go on after a rename', 'renamed');

# A template's copy runs nothing until it is told to.
$run = run_pipeline($node, 'sleep', 'renamed');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE state = 'running'", '1', 'a task is running', 'renamed');
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE renamed');
pass('CREATE DATABASE TEMPLATE while workers are busy');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline worker' AND datname = 'renamed'", '1', 'the original goes on', 'renamed');
# Shown over a restart, which starts a scheduler in each.
$node->restart;
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler' AND datname IN ('copied', 'renamed')", '2', 'schedulers in both');
my ($rc3, $out3, $err3) = $node->psql('copied', "SELECT pipeline.create_pipeline('new', run_as => 'alice')");
like($err3, qr/nothing runs in this database: it is a copy/, 'create_pipeline() warns in the copy');
$run = run_pipeline($node, 'p', 'copied');
is(alice($node, "SELECT pipeline.wait_for_run($run, '0.5 s')", 'copied'), 'queued', 'a run in the copy stays queued');
is($node->safe_psql('copied', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline worker' AND datname = 'copied'"), '0', 'no worker there');
my ($rc4, $out4, $err4) = $node->psql('copied', 'SELECT pipeline.resume_schedules()', extra_params => [ '-U', 'alice' ]);
like($err4, qr/permission denied for function resume_schedules/, 'only an administrator may let it');
cmp_ok($node->safe_psql('copied', 'SELECT pipeline.resume_schedules()'), '>=', 2, 'resume_schedules() ends what was open');
is($node->safe_psql('copied', "SELECT count(*) FROM pipeline.runs WHERE state IN ('queued', 'running')"), '0', 'nothing is open');
$run = run_pipeline($node, 'p', 'copied');
wait_run($node, $run, 'succeeded', 'and then it runs', 'copied');
is($node->safe_psql('copied', 'SELECT pipeline.resume_schedules()'), '0', 'again: nothing');

# A dump restored elsewhere: definitions and history come back, nothing runs.
alice($node, q{
	SELECT pipeline.grant_pipeline('p', 'postgres', 'operate');
	SELECT count(*) FROM pipeline.backfill('p', '2024-01-01', '2024-01-02', max_active_runs => 2);
}, 'renamed');
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE run_type = 'backfill' AND state = 'succeeded'", '1', 'a backfilled run', 'renamed');
alice($node, q{SELECT pipeline.pause('p', 'kept'), pipeline.run('p')}, 'renamed');
my $export = alice($node, 'SELECT pipeline.export()', 'renamed');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('renamed') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-q', '-X', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restore');
for my $table (qw(pipelines pipeline_grants tasks runs task_runs attempts changes alerts))
{
	my $count = "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM pipeline.$table t";
	next if $table =~ /runs|attempts/;    # the original goes on
	is($node->safe_psql('restored', $count), $node->safe_psql('renamed', $count), "$table came back");
}
is($node->safe_psql('restored', 'SELECT count(*) FROM pipeline.identity'), '0', 'the restored copy has no identity');
is(alice($node, 'SELECT pipeline.export()', 'restored'), $export, 'the definitions are the same');
is($node->safe_psql('restored', 'SELECT backfill = run_id, max_active_runs FROM pipeline.runs WHERE backfill IS NOT NULL'), 't|2', 'so is what a backfill left');
my $attempts = $node->safe_psql('restored', 'SELECT count(*), max(attempt_id) FROM pipeline.attempts');
my $lines = $node->safe_psql('restored', 'SELECT count(*) FROM alice.log');
$run = run_pipeline($node, 'p', 'restored');
is(alice($node, "SELECT pipeline.wait_for_run($run, '0.5 s')", 'restored'), 'queued', 'so it runs nothing');
is($node->safe_psql('restored', 'SELECT count(*), max(attempt_id) FROM pipeline.attempts'), $attempts, 'no attempt was made');
my $open = $node->safe_psql('restored', "SELECT count(*) FROM pipeline.runs WHERE state IN ('queued', 'running')");
cmp_ok($open, '>=', 3, 'runs that the original had open are open');
is($node->safe_psql('restored', 'SELECT pipeline.resume_schedules()'), $open, 'and end when it is told to run');
alice($node, q{SELECT pipeline.resume('p')}, 'restored');
$run = run_pipeline($node, 'p', 'restored');
wait_run($node, $run, 'succeeded', 'then it runs', 'restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM alice.log'), $lines + 1, 'this run only: none of the original\'s was started twice');
is($node->safe_psql('restored', "SELECT count(*) FROM pipeline.runs WHERE state = 'cancelled'"), $open, 'those are cancelled');
alice($node, q{SELECT pipeline.resume('p')}, 'renamed');

# DROP EXTENSION with a run in flight: workers notice and leave.
run_pipeline($node, 'sleep', 'restored');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE state = 'running'", '1', 'a task is running', 'restored');
$node->safe_psql('restored', 'DROP EXTENSION pipeline');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pipeline worker' AND datname = 'restored'");
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline worker' AND datname = 'restored'", '0', 'the worker leaves when its task ends');

# A standby runs nothing, and refuses to.
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pipeline%'"), '0', 'no process of ours on a standby');
my ($rc5, $out5, $err5) = $standby->psql('renamed', "SELECT pipeline.run('p')", extra_params => [ '-U', 'alice' ]);
like($err5, qr/read-only transaction/, 'run() is refused there');
is($standby->safe_psql('renamed', "SELECT count(*) > 0 FROM pipeline.run_status"), 't', 'views can be read');
is($standby->safe_psql('renamed', "SELECT length(pipeline.export()) > 0"), 't', 'and definitions exported');
alice($node, q{SELECT pipeline.cancel(run_id) FROM pipeline.runs WHERE state IN ('queued', 'running')}, 'renamed');
wait_for($node, "SELECT count(*) FROM pipeline.runs WHERE state IN ('queued', 'running')", '0', 'nothing is open', 'renamed');
run_pipeline($node, 'sleep', 'renamed');
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE state = 'running'", '1', 'a new task is running', 'renamed');
$node->wait_for_catchup($standby);

# Without preload all but running works, and says so.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
my ($rc6, $out6, $err6) = $node->psql('renamed', "SELECT pipeline.create_pipeline('idle', run_as => 'alice')");
is($rc6, 0, 'create_pipeline() works without preload');
like($err6, qr/not in shared_preload_libraries/, 'with a warning');
($rc6, $out6, $err6) = $node->psql('renamed', "SELECT pipeline.run('p')", extra_params => [ '-U', 'alice' ]);
like($err6, qr/not in shared_preload_libraries/, 'run() raises');

# The server is lost with a task running; the standby, promoted, goes on with it.
$node->wait_for_catchup($standby);
$node->stop('immediate');
# Its scheduler may have seen the worker go before it went itself.
is($standby->safe_psql('renamed', "SELECT string_agg(state, ' ') FROM pipeline.runs WHERE state IN ('queued', 'running')"), 'running', 'a run was open');
$standby->promote;
wait_for($standby, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline scheduler' AND datname = 'renamed'", '1', 'promoted: a scheduler starts');
wait_for($standby, "SELECT string_agg(a.state, ' ' ORDER BY attempt_id DESC) FROM (SELECT * FROM pipeline.attempts ORDER BY attempt_id DESC LIMIT 2) a JOIN pipeline.runs r USING (run_id) WHERE r.state = 'running'",
	'running lost', 'what was running runs again', 'renamed');
$run = run_pipeline($standby, 'p', 'renamed');
wait_run($standby, $run, 'succeeded', 'and new runs are made', 'renamed');
$standby->stop;
done_testing();
