# What the TAP tests share: a server with the library preloaded, a database
# with the extension, an ordinary role, and waiting for conditions.
package PipelineTest;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

our @EXPORT = qw(new_node install wait_for alice run_pipeline wait_run state_of server_pids);

# Make and start a server; more lines of configuration may follow.
sub new_node
{
	my ($name, @config) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--locale=C.UTF-8', '-E', 'UTF8' ]);
	$node->append_conf('postgresql.conf', join("\n",
		"shared_preload_libraries = 'pipeline'", "max_worker_processes = 16",
		"pipeline.worker_idle_timeout = 1s", "fsync = off",
		"log_line_prefix = '%m [%p] %b %q%a '", "restart_after_crash = on",
		"autovacuum = off", @config) . "\n");
	$node->start;
	return $node;
}

# Install the extension in a database, with the role alice and her schema.
sub install
{
	my ($node, $db) = @_;
	$node->safe_psql($db, q{
		CREATE EXTENSION pipeline;
		DO $$ BEGIN CREATE ROLE alice LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
		GRANT USAGE ON SCHEMA pipeline TO alice;
		CREATE SCHEMA alice AUTHORIZATION alice;
		CREATE TABLE alice.log (line text, at timestamptz DEFAULT clock_timestamp());
		ALTER TABLE alice.log OWNER TO alice;
	});
	return;
}

# Run SQL as alice.
sub alice
{
	my ($node, $sql, $db) = @_;
	return $node->safe_psql($db // 'postgres', $sql, extra_params => [ '-U', 'alice' ]);
}

# Wait until a query gives an answer; the test fails when it does not.
sub wait_for
{
	my ($node, $query, $expected, $what, $db) = @_;
	my $until = time() + 60;
	my $got = '';
	while (time() < $until)
	{
		my ($rc, $out) = $node->psql($db // 'postgres', $query);
		$got = $out // '';
		return pass($what) if defined $rc && $rc == 0 && $got eq $expected;
		usleep(20_000);
	}
	is($got, $expected, $what);
	diag($node->safe_psql($db // 'postgres', 'SELECT * FROM pipeline.attempts'));
	return 0;
}

# Start a run of a pipeline and return its id.
sub run_pipeline
{
	my ($node, $pipeline, $db) = @_;
	return alice($node, "SELECT pipeline.run('$pipeline')", $db);
}

# Wait for the state of a run.
sub wait_run
{
	my ($node, $run, $state, $what, $db) = @_;
	return wait_for($node, "SELECT state FROM pipeline.runs WHERE run_id = $run",
		$state, $what, $db);
}

# States of a run's tasks, one word each.
sub state_of
{
	my ($node, $run, $db) = @_;
	return $node->safe_psql($db // 'postgres',
		"SELECT string_agg(task || ':' || state, ' ' ORDER BY task) FROM pipeline.task_runs WHERE run_id = $run");
}

# Processes of the extension in a database.
sub server_pids
{
	my ($node, $type, $db) = @_;
	return split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'pipeline $type'"
		. ($db ? " AND datname = '$db'" : ''));
}

1;
