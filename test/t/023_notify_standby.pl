# A standby tells nobody; promoted, it sends what is queued, once.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('primary', "pipeline.notification_retry_delay = '50ms'", 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby = on');
install($node, 'postgres');
my $peer = start_peer($node, 'sink');
$node->append_conf('postgresql.conf', "pipeline.allowed_hosts = 'http://127.0.0.1:$peer->{port}'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.allowed_hosts') <> ''") or die;
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;

# A queue that cannot be emptied: a peer that is down, and a rule and a heartbeat besides.
append_to_file("$peer->{log}.down", '');
alice($node, "SELECT pipeline.create_channel('sink', 'webhook', '{\"url\": \"http://127.0.0.1:$peer->{port}/down\"}', rate_per_minute => 0, max_attempts => 100);
	SELECT pipeline.create_channel('beat', 'webhook', '{\"url\": \"http://127.0.0.1:$peer->{port}/beat\", \"heartbeat\": \"1 day\"}');
	SELECT pipeline.create_rule('always', 'SELECT 1', evaluation_interval => '1 hour');
	SELECT count(pipeline.test_channel('sink')) FROM generate_series(1, 50)");
wait_for($node, "SELECT count(*) FROM pipeline.firing_alerts", '1', 'a rule fires');
wait_for($node, "SELECT state FROM pipeline.notifications WHERE event = 'heartbeat'", 'sent', 'a heartbeat is sent');
wait_for($node, "SELECT paused_for FROM pipeline.channel_health WHERE channel = 'sink'", 'circuit', 'a queue waits');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT count(*) > 40 FROM pipeline.notifications WHERE state = 'pending'"), 't', 'the standby has it, too');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pipeline%'"), '0', 'but no process of ours');
is($standby->safe_psql('postgres', "SELECT string_agg(finding, ' ') FROM pipeline.doctor() WHERE finding IN ('standby', 'look_failed', 'notifier_not_running', 'scheduler_not_running')"), 'standby', 'doctor() says why');
for my $call ("test_channel('sink')", "raise_alert('X', 'x')", 'redeliver(1)', "drop_channel('sink')")
{
	my ($rc, $out, $err) = $standby->psql('postgres', "SELECT pipeline.$call", extra_params => [ '-U', 'alice' ]);
	like($err, qr/in a read-only transaction|during recovery/, "$call is refused there");
}

$node->stop('fast');
unlink "$peer->{log}.down";
my $before = requests($peer);
my @asked = $standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pipeline%'");
my $pending = $standby->safe_psql('postgres', "SELECT string_agg(idempotency_key::text, ' ' ORDER BY notification_id) FROM pipeline.notifications WHERE state = 'pending'");
select(undef, undef, undef, 0.3);
is("@asked " . (requests($peer) - $before), '0 0', 'the primary is gone, and the standby still sends nothing');
unlike(slurp_file($standby->logfile), qr/pipeline.*(ERROR|WARNING)|WARNING.*pipeline/, 'nor complains');

$standby->promote;
wait_for($standby, "SELECT count(*) FROM pipeline.notifications WHERE state <> 'sent'", '0', 'promoted, it sends the queue');
my %times;
$times{ $_->{headers}{'webhook-id'} }++ for splice @{ [ requests($peer) ] }, $before;
is(join(' ', map { $_ . ':' . ($times{$_} // 0) } split / /, $pending), join(' ', map { "$_:1" } split / /, $pending), 'each once');
alice($standby, "SELECT pipeline.test_channel('sink')");
wait_for($standby, "SELECT count(*) FROM pipeline.notifications WHERE state = 'sent' AND event = 'test'", '51', 'and what is new');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pipeline.deliveries WHERE outcome = 'lost'"), '0', 'nothing was lost on the way');
$standby->stop;
stop_peer($peer);
done_testing();
