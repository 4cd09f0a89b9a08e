# What doctor() finds that can only be provoked on a server of one's own, and what
# happens then: the library with libcurl is missing, transactions are prepared,
# pg_cron lives elsewhere or is old, a look fails.
use strict;
use warnings;
use File::Basename;
use File::Path qw(make_path);
use PipelineTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A copy of the server's programs, with links to all it needs but one library.
my $copy = PostgreSQL::Test::Utils::tempdir();
my %dir = map { chomp(my $path = `pg_config --$_`); $_ => $path } qw(bindir pkglibdir sharedir);
make_path(map { "$copy$_" } $dir{bindir}, $dir{pkglibdir}, dirname($dir{sharedir}));
system_or_bail('cp', (map { "$dir{bindir}/$_" } qw(postgres initdb pg_ctl psql pg_config pg_isready)), "$copy$dir{bindir}/");
symlink $_, "$copy$dir{pkglibdir}/" . basename($_) for grep { !m{/pipeline_transport\.} } glob("$dir{pkglibdir}/*");
symlink $dir{sharedir}, "$copy$dir{sharedir}";
my ($library) = glob("$dir{pkglibdir}/pipeline_transport.*");
my $place = "$copy$library";

my $node = PostgreSQL::Test::Cluster->new('doctor', install_path => "$copy" . dirname($dir{bindir}));
$node->init(extra => [ '--locale=C.UTF-8', '-E', 'UTF8' ]);
$node->append_conf('postgresql.conf', join("\n", "shared_preload_libraries = 'pipeline'", 'max_worker_processes = 16', 'max_prepared_transactions = 5',
	"cron.database_name = 'elsewhere'", 'fsync = off', 'autovacuum = off') . "\n");
$node->start;
install($node, 'postgres');
sub finds { my ($finding, $before) = @_; return $node->safe_psql('postgres', ($before // '') . "SELECT severity || ': ' || detail FROM pipeline.doctor() WHERE finding = '$finding'" . ($before ? '; ROLLBACK' : '')); }
my $peer = start_peer($node, 'peer');
my $base = "http://127.0.0.1:$peer->{port}";
$node->append_conf('postgresql.conf', "pipeline.allowed_hosts = '$base'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.allowed_hosts') <> ''") or die;

# ---- without libcurl ------------------------------------------------------------------

is(finds('transport_missing'), '', 'who has no channel over the network does not miss it');
alice($node, "BEGIN; SELECT pipeline.create_channel('hook', 'webhook', '{\"url\": \"$base/hook\"}'); SELECT pipeline.create_channel('lines', 'log'); COMMIT");
like(finds('transport_missing'), qr{^error: The library pipeline_transport cannot be read at .*/pipeline_transport\.\w+: nothing is sent over the network\.$}, 'transport_missing');
my $id = alice($node, "SELECT pipeline.test_channel('hook')");
alice($node, q{SELECT pipeline.create_route('said', '{alertname=Said}', '{lines}', group_wait => '0'); SELECT pipeline.raise_alert('Said', 'this is said')});
wait_for($node, "SELECT state FROM pipeline.notifications WHERE channel = 'lines'", 'sent', 'the rest works');
is($node->safe_psql('postgres', "SELECT state || ' ' || attempts FROM pipeline.notifications WHERE notification_id = $id"), 'pending 0', 'what cannot be sent waits');
my @warnings = slurp_file($node->logfile) =~ /(notifications cannot be sent over the network: .*)/g;
is(scalar(@warnings), 1, 'and the log says so, once') or diag("@warnings");
symlink $library, $place;
is(finds('transport_missing'), '', 'mended');
# Tried again by itself each minute; a new notifier tries at once.
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pipeline notifier'");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $id", 'sent', 'it is sent');

# ---- prepared transactions ------------------------------------------------------------------

# One that told a channel of kind log cannot be prepared.
my ($rc, $out, $err) = $node->psql('postgres', "BEGIN; SELECT pipeline.test_channel('lines'); PREPARE TRANSACTION 'line'", extra_params => [ '-U', 'alice' ]);
like($err, qr/cannot PREPARE a transaction that has told a channel of kind "log"/, 'a line of the log cannot be prepared');
alice($node, "SELECT pipeline.drop_route('said'); SELECT pipeline.drop_channel('lines'); SELECT pipeline.resolve_alert(alert_id) FROM pipeline.firing_alerts");
wait_for($node, "SELECT (SELECT count(*) FROM pipeline.alert_events WHERE dispatched_at IS NULL) + (SELECT count(*) FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead'))", '0', 'nothing is left to tell');
for my $end (qw(COMMIT ROLLBACK))
{
	my $seen = requests($peer);
	my $last = $node->safe_psql('postgres', 'SELECT max(notification_id) FROM pipeline.notifications');
	alice($node, "BEGIN; SELECT pipeline.test_channel('hook'); SELECT pipeline.raise_alert('Prepared', 'prepared, then $end', labels => '{\"pipeline\": \"$end\"}'); PREPARE TRANSACTION 'p'");
	select(undef, undef, undef, 0.5);
	is(requests($peer) - $seen, 0, "$end: nothing is sent of what is only prepared");
	my $since = time();
	$node->safe_psql('postgres', "$end PREPARED 'p'");
	if ($end eq 'COMMIT')
	{
		wait_for($node, "SELECT string_agg(event || ' ' || state, ', ' ORDER BY notification_id) FROM pipeline.notifications WHERE notification_id > $last", 'test sent, firing sent', 'COMMIT: it is sent');
		wait_for($node, "SELECT count(*) FROM pipeline.alert_events WHERE dispatched_at IS NULL", '0', 'COMMIT: and the alert dispatched');
		cmp_ok(time() - $since, '<', 20, 'COMMIT: soon, though nobody wakes the notifier');
		next;
	}
	select(undef, undef, undef, 0.5);
	is(requests($peer) - $seen, 0, 'ROLLBACK: nor of what was rolled back');
}
my $old = "BEGIN; SET LOCAL allow_system_table_mods = on; CREATE OR REPLACE VIEW pg_catalog.pg_prepared_xacts AS
	SELECT p.transaction, p.gid, p.prepared - interval '2 hours' AS prepared, u.rolname AS owner, d.datname AS database
	FROM pg_prepared_xact() p LEFT JOIN pg_authid u ON p.ownerid = u.oid LEFT JOIN pg_database d ON p.dbid = d.oid;";
alice($node, "BEGIN; SELECT 1; PREPARE TRANSACTION 'forgotten'");
is(finds('prepared_transaction'), '', 'a transaction may be prepared for a while');
like(finds('prepared_transaction', $old), qr/^warning: Transaction "forgotten" has been prepared for 02:00:\d\d and not ended: /, 'prepared_transaction');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'forgotten'");
is(finds('prepared_transaction', $old), '', 'ended');

# ---- the clock is another's --------------------------------------------------------------------

is(finds('pg_cron_elsewhere'), '', 'who has no schedule needs no clock');
alice($node, "SELECT pipeline.create_pipeline('p', schedule => '30 seconds'); SELECT pipeline.create_task('p', 't', 'SELECT 1')");
is(finds('pg_cron_elsewhere'), 'info: pg_cron lives in database "elsewhere": whether a job there calls run_due() for this database cannot be seen from here.', 'pg_cron_elsewhere');
my $cron = "BEGIN; INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) VALUES (4000000000, 'pg_cron', 10, 11, false, '%s');";
is(finds('pg_cron_old', sprintf($cron, '1.4-1')), 'warning: Pipelines have schedules in seconds, and pg_cron 1.4-1 knows minutes only: their runs begin each minute.', 'pg_cron_old');
is(finds('pg_cron_old', sprintf($cron, '1.6')), '', 'a newer one is not');
alice($node, "SELECT pipeline.drop_pipeline('p')");

# ---- a look that fails --------------------------------------------------------------------------

is(finds('look_failed'), '', 'no look fails');
is(finds('look_failed', "BEGIN; ALTER TABLE pipeline.silences RENAME ends_at TO ended_at;"), 'warning: A part of the look itself failed: column "ends_at" does not exist', 'look_failed');
is($node->safe_psql('postgres', "BEGIN; ALTER TABLE pipeline.silences RENAME ends_at TO ended_at; SELECT count(*) > 1 FROM pipeline.doctor(); ROLLBACK"), 't', 'the others do not');
# The owner of a channel is gone.
mkdir $node->basedir . '/secrets', 0700;
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '" . $node->basedir . "/secrets'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.secrets_dir') <> ''") or die;
$node->safe_psql('postgres', "CREATE ROLE ghost; GRANT USAGE ON SCHEMA pipeline TO ghost; SET ROLE ghost; SELECT pipeline.create_channel('of ghost', 'slack', secret_ref => 'x')");
like(finds('secret_unusable'), qr{^error: The secret of channel "of ghost" cannot be used: folder .*/secrets/ghost: No such file}, 'a secret that is not there');
$node->safe_psql('postgres', 'REVOKE USAGE ON SCHEMA pipeline FROM ghost; DROP ROLE ghost');
is(finds('secret_unusable'), 'error: The owner of channel "of ghost" does not exist any more: its secret cannot be read.', 'a role that is not there');
is(finds('look_failed'), '', 'is not the end of the look');

$node->stop;
stop_peer($peer);
done_testing();
