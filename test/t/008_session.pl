# What a task's session is: its plans are parallel, its owner is the one of the
# run, and a new owner is the next run's.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('session', "shared_preload_libraries = 'pipeline, auto_explain'", 'auto_explain.log_min_duration = 0',
	'auto_explain.log_analyze = on', 'max_parallel_workers = 4', 'min_parallel_table_scan_size = 0',
	'parallel_setup_cost = 0', 'parallel_tuple_cost = 0');
install($node, 'postgres');

# Plans of both modes are parallel, and the workers are there.
alice($node, q{
	CREATE TABLE alice.big AS SELECT n, n % 7 AS k FROM generate_series(1, 50000) n;
	ANALYZE alice.big;
	SELECT pipeline.create_pipeline('parallel');
	SELECT pipeline.create_task('parallel', 'atomic', $$INSERT INTO alice.log VALUES ('first'); SELECT count(*) AS atomic_rows FROM alice.big WHERE k = 3$$);
	SELECT pipeline.create_task('parallel', 'autocommit', 'SELECT count(*) AS autocommit_rows FROM alice.big WHERE k = 4', mode => 'autocommit', depends_on => '{atomic}');
	SELECT pipeline.create_task('parallel', 'made', 'CREATE TABLE alice.made AS SELECT k, count(*) AS made_rows FROM alice.big GROUP BY k', depends_on => '{autocommit}');
});
my $offset = -s $node->logfile;
my $run = run_pipeline($node, 'parallel');
wait_run($node, $run, 'succeeded', 'the run');
my $log = slurp_file($node->logfile, $offset);
for my $what (qw(atomic_rows autocommit_rows made_rows))
{
	my @plans = $log =~ /(Query Text: [^\n]*$what.*?)(?=\n\d{4}-)/sg;
	is(scalar(grep { /Workers Launched: [1-9]/ } @plans), 1, "$what: its plan was parallel and workers came");
}
is($node->safe_psql('postgres', "SELECT result FROM pipeline.attempts WHERE run_id = $run AND task = 'atomic'"), '{"atomic_rows": 7143}', 'with the right answer');

# A new owner, while a run is open.
$node->safe_psql('postgres', q{
	CREATE ROLE bob LOGIN;
	GRANT USAGE ON SCHEMA pipeline TO bob;
	GRANT USAGE ON SCHEMA alice TO bob;
});
alice($node, q{
	SELECT pipeline.create_pipeline('moves');
	SELECT pipeline.create_task('moves', 'gate', 'SELECT session_user AS who, pg_advisory_xact_lock(1)');
	SELECT pipeline.create_task('moves', 'after', 'SELECT session_user AS who', depends_on => '{gate}');
	SELECT pipeline.create_task('moves', 'fails', 'SELECT 1 / 0', depends_on => '{after}');
});
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
$run = run_pipeline($node, 'moves');
wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1', 'the gate is waiting');
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT pipeline.alter_pipeline('moves', '{"run_as": "bob"}')}, extra_params => [ '-U', 'alice' ]);
like($err, qr/must be able to SET ROLE "bob"/, 'alice cannot make bob run what she wrote');
$node->safe_psql('postgres', q{SELECT pipeline.alter_pipeline('moves', '{"run_as": "bob"}')});
$gate->quit;
wait_run($node, $run, 'failed', 'the open run ends');
is($node->safe_psql('postgres', "SELECT string_agg(task || ' ' || (result ->> 'who'), ', ' ORDER BY attempt_id) FROM pipeline.attempts WHERE run_id = $run AND result IS NOT NULL"),
	'gate alice, after alice', 'as the owner that it had');
is(alice($node, "SELECT count(*) FROM pipeline.runs WHERE run_id = $run"), '1', 'who still sees it');
($rc, $out, $err) = $node->psql('postgres', "SELECT pipeline.retry($run)", extra_params => [ '-U', 'alice' ]);
like($err, qr/must be owner of run/, 'but no longer operates it');
$node->safe_psql('postgres', "SELECT pipeline.clear($run, 'after')", extra_params => [ '-U', 'bob' ]);
wait_run($node, $run, 'failed', 'the new owner has it run again');
is($node->safe_psql('postgres', "SELECT result ->> 'who' FROM pipeline.attempts WHERE run_id = $run AND task = 'after' AND attempt = 2"), 'bob', 'as the new owner');
$run = $node->safe_psql('postgres', "SELECT pipeline.run('moves')", extra_params => [ '-U', 'bob' ]);
wait_run($node, $run, 'failed', 'the next run');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT owner::text, ',') FROM pipeline.attempts WHERE run_id = $run"), 'bob', 'is the new owner\'s');
is(alice($node, "SELECT count(*) FROM pipeline.runs WHERE run_id = $run"), '0', 'and not the old one\'s');

# BEGIN and COMMIT that a command makes up at run time.
alice($node, q{
	SELECT pipeline.create_pipeline('control');
	SELECT pipeline.create_task('control', 'do', $$DO $d$ BEGIN INSERT INTO alice.log VALUES ('control'); COMMIT; END $d$ $$);
	SELECT pipeline.create_task('control', 'execute', $$DO $d$ BEGIN EXECUTE 'COMMIT'; END $d$ $$);
});
$run = run_pipeline($node, 'control');
wait_run($node, $run, 'failed', 'transaction control inside DO fails');
is($node->safe_psql('postgres', "SELECT string_agg(task || ' ' || sqlstate || ' ' || (error_hint LIKE '%autocommit%' OR sqlstate = '0A000'), ', ' ORDER BY task) FROM pipeline.attempts WHERE run_id = $run"),
	'do 2D000 true, execute 0A000 true', 'each with its reason');
is($node->safe_psql('postgres', "SELECT count(*) FROM alice.log WHERE line = 'control'"), '0', 'and nothing is left of it');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline worker'") > 0, 1, 'the worker lives');
unlike(slurp_file($node->logfile), qr/FATAL/, 'nothing was fatal');
$node->stop;
done_testing();
