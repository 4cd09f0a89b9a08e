# What the TAP tests share: a server with the library preloaded, a database
# with the extension, an ordinary role, and waiting for conditions.
package PipelineTest;
use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

our @EXPORT = qw(new_node install wait_for alice run_pipeline wait_run state_of server_pids
  start_peer stop_peer requests free_port persistent_answer kill_server);

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

# Ask until the server lets somebody in; returns the answer.
sub persistent_answer
{
	my ($node, $query) = @_;
	my $until = time() + 60;
	while (time() < $until)
	{
		my ($rc, $out) = $node->psql('postgres', $query);
		return $out if defined $rc && $rc == 0;
		usleep(10_000);
	}
	die "the server does not come back: $query";
}

# Kill the server and all its processes, as when the machine stops, and start it
# again.  False: it is not running just now.
sub kill_server
{
	my ($node) = @_;
	open my $f, '<', $node->data_dir . '/postmaster.pid' or return 0;
	my $pid = <$f>;
	close $f;
	return 0 unless defined $pid && $pid =~ /^(\d+)$/;
	$pid = $1;
	# While it is stopped it starts none; and one that waits for what another held
	# when it was killed never ends by itself.
	kill 'STOP', $pid;
	my @all = ($pid);
	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open my $stat, '<', $file or next;
		push @all, $1 if (<$stat> // '') =~ /^(\d+) \(.*\) \S+ $pid /;
	}
	kill 'KILL', @all;
	usleep(10_000) while kill(0, $pid);
	$node->{_pid} = undef;
	# The memory may be held for another moment.
	for (1 .. 500)
	{
		return 1 if $node->start(fail_ok => 1);
		usleep(20_000);
	}
	die 'the server does not start';
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

# Start a peer of test/peers, by default that of HTTP, listening on loopback on a
# port of the kernel's; returns what stop_peer() takes: port, log, pid.
my @peers;
sub start_peer
{
	my ($node, $name, %more) = @_;
	my $dir = $node->basedir;
	my $script = dirname(__FILE__) . '/../peers/' . ($more{script} // 'http_peer.py');
	my %peer = (log => "$dir/$name.log", portfile => "$dir/$name.port");
	my @args = ($peer{portfile}, $peer{log}, @{ $more{args} // [] });
	push @args, '--port', $more{port} if $more{port};
	push @args, '--tls', certificate($dir) if $more{tls};
	unlink $peer{portfile};
	$peer{pid} = fork();
	if ($peer{pid} == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', "$dir/$name.err";
		exec 'python3', $script, @args;
	}
	push @peers, $peer{pid};
	for (1 .. 500)
	{
		last if -s $peer{portfile};
		usleep(20_000);
	}
	die "peer $name does not start: " . (-e "$dir/$name.err" ? slurp_file("$dir/$name.err") : '') unless -s $peer{portfile};
	$peer{port} = slurp_file($peer{portfile});
	return \%peer;
}

# Stop it, at once.
sub stop_peer
{
	my ($peer) = @_;
	kill 'KILL', $peer->{pid};
	waitpid $peer->{pid}, 0;
	@peers = grep { $_ != $peer->{pid} } @peers;
	return;
}

END { my $status = $?; kill 'KILL', @peers if @peers; $? = $status; }

# What a peer got, in order.
sub requests
{
	my ($peer) = @_;
	return () unless -e $peer->{log};
	return map { decode_json($_) } split /\n/, slurp_file($peer->{log});
}

# A certificate for loopback and its key, signed by itself.
sub certificate
{
	my ($dir) = @_;
	my @files = ("$dir/peer.crt", "$dir/peer.key");
	system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
		'-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
		'-out', $files[0], '-keyout', $files[1]) unless -e $files[0];
	return @files;
}

# A port on loopback where nobody listens.
sub free_port
{
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
	return $socket->sockport;
}

1;
